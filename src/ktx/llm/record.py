"""Full requests and replies on disk, for debugging only: off unless `KTX_LLM_RECORD` names a folder, and with secrets blotted out."""

import json
import re
from dataclasses import asdict, fields, is_dataclass
from pathlib import Path
from typing import Final, cast

from ktx.errors import ConfigError, ModelError
from ktx.files import write_text
from ktx.llm.backend import Reply, Request

_SECRETS: Final = re.compile(
    r"""
      (?P<token> \b(?:sk|pk|rk|ghp|gho|ghs|xox[abprs]|glpat|eyJ)[-_A-Za-z0-9.]{12,} | \bAKIA[0-9A-Z]{16}\b )
    | (?P<lead> (?:authorization|api[-_ ]?key|secret|passwo?r?d|pwd|token)["']?\s*[:=]\s*["']?(?:bearer\s+)? ) (?P<value> [^\s"',;}]{4,} )
    | (?P<url> [a-z][a-z0-9+]*://[^\s:/@]+: ) (?P<pass> [^\s@/]+ ) (?=@)
    | -----BEGIN[ A-Z]+PRIVATE[ ]KEY-----.*?-----END[ A-Z]+PRIVATE[ ]KEY-----
    """,
    re.IGNORECASE | re.VERBOSE | re.DOTALL,
)


class Recorder:
    """Writes one JSON file per request, numbered in order, readable by its owner only."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._number = 0
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise ConfigError(
                f"`KTX_LLM_RECORD` names `{folder}`, which cannot be written: {error.strerror}."
            ) from error

    def write(
        self, request: Request, answer: Reply | ModelError | None, *, role: str, task: str, backend: str
    ) -> Path:
        """Write a request and what came of it; None stands for a cancelled call."""
        self._number += 1
        path = self._folder / f"{self._number:06}-{backend}-{role}.json"
        told = {
            "backend": backend,
            "role": role,
            "task": task,
            "request": _plain(request),
            "answer": _answer(answer),
        }
        text = json.dumps(told, indent=2, ensure_ascii=False, default=str)
        write_text(path, redacted(text), mode=0o600)
        return path


def redacted(text: str) -> str:
    """Blot out what looks like a secret: keys by their prefix, values by their name, passwords in addresses, private keys.

    >>> redacted("postgres://me:hunter2@db/x api_key=abcdef123")
    'postgres://me:[redacted]@db/x api_key=[redacted]'
    """
    return _SECRETS.sub(_blot, text)


def _blot(found: re.Match[str]) -> str:
    kept = found.group("lead") or found.group("url") or ""
    return f"{kept}[redacted]"


def _answer(answer: Reply | ModelError | None) -> object:
    if answer is None:
        return "cancelled"
    if isinstance(answer, Reply):
        return asdict(answer)
    return {"kind": answer.kind, "message": answer.message, "request_id": answer.request_id}


def _plain(request: Request) -> dict[str, object]:
    """Turn a request into plain values, leaving out its callbacks."""
    out: dict[str, object] = {}
    for place in fields(request):
        value = cast("object", getattr(request, place.name))
        if callable(value) and not is_dataclass(value):
            continue
        out[place.name] = _value(value)
    return out


def _value(value: object) -> object:
    if is_dataclass(value) and not isinstance(value, type):
        kind = type(value).__name__
        return {"kind": kind, **{place.name: _value(getattr(value, place.name)) for place in fields(value)}}
    if isinstance(value, tuple | list | frozenset | set):
        return [_value(member) for member in cast("tuple[object, ...]", value)]
    return value
