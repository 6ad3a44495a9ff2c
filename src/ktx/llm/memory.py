"""Paid answers of work that is not finished yet: a run that is killed and started again gets them back for nothing."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Protocol

from pydantic import TypeAdapter, ValidationError

from ktx.files import digest
from ktx.llm.backend import Reply, Request
from ktx.llm.messages import Usage

_REPLY = TypeAdapter(Reply)


class Kept(Protocol):
    """Somewhere to keep texts by key."""

    def get(self, key: str) -> str | None:
        """Give what is kept under `key`."""
        ...

    def put(self, key: str, text: str) -> None:
        """Keep a text; it lasts once this returns."""
        ...


@dataclass(frozen=True, kw_only=True)
class ReplyMemory:
    """Answers by the request that was paid for. Only the same request, to the byte of what it says, gives one back."""

    kept: Kept
    on_recall: Callable[[], None] = lambda: None

    def recall(self, request: Request, *, backend: str) -> Reply | None:
        """Give the answer that was paid for before, as one that costs nothing now."""
        text = self.kept.get(_key(request, backend))
        if text is None:
            return None
        try:
            reply = _REPLY.validate_json(text)
        except ValidationError:
            return None
        self.on_recall()
        return replace(reply, usage=Usage(), cost_usd=None, limits=None)

    def keep(self, request: Request, reply: Reply, *, backend: str) -> None:
        """Keep an answer."""
        self.kept.put(_key(request, backend), _REPLY.dump_json(reply).decode())


def _key(request: Request, backend: str) -> str:
    said: Mapping[str, object] = {
        "backend": backend,
        "model": request.model,
        "system": request.system,
        "messages": request.messages,
        "tools": request.tools,
        "schema": request.schema,
        "forced_tool": request.forced_tool,
        "effort": request.effort,
        "max_output_tokens": request.max_output_tokens,
    }
    return digest(repr(sorted(said.items())))
