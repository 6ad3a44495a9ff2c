"""From pydantic's errors to findings: one sentence per place, with the value and the way out."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import cast

from pydantic import ValidationError

from ktx.config.connections import DRIVERS
from ktx.config.document import Document, Path
from ktx.findings import Finding
from ktx.suggest import did_you_mean, nearest

_SECRET_KEY = re.compile(r"(?i)pass|secret|token|key|credential|url")
_WANTED = {
    "int_type": "a whole number",
    "int_parsing": "a whole number",
    "int_from_float": "a whole number",
    "float_type": "a number",
    "float_parsing": "a number",
    "bool_type": "true or false",
    "bool_parsing": "true or false",
    "string_type": "text",
    "string_too_short": "text that is not empty",
    "string_pattern_mismatch": "text of the form `Name <mail>`",
    "model_type": "a block of keys",
    "model_attributes_type": "a block of keys",
    "dict_type": "a block of keys",
    "mapping_type": "a block of keys",
    "tuple_type": "a list",
    "list_type": "a list",
}
_BOUNDS = {
    "greater_than": ("more than", "gt"),
    "greater_than_equal": ("at least", "ge"),
    "less_than": ("less than", "lt"),
    "less_than_equal": ("at most", "le"),
}


@dataclass(frozen=True, kw_only=True)
class _Problem:
    kind: str
    path: Path
    context: Mapping[str, object]
    message: str


def explain(error: ValidationError, document: Document) -> tuple[Finding, ...]:
    """Give one error finding per place that `error` complains about, in the order of the file."""
    by_path: dict[Path, list[_Problem]] = {}
    for details in error.errors(include_url=False, include_input=False):
        path = _real_path(details["loc"], details["type"], document.data)
        problem = _Problem(
            kind=details["type"], path=path, context=details.get("ctx", {}), message=details["msg"]
        )
        by_path.setdefault(path, []).append(problem)
    findings = [_finding(problems, document) for problems in by_path.values()]
    return tuple(sorted(findings, key=lambda finding: finding.where.line or 0))


def _real_path(location: Sequence[str | int], kind: str, data: object) -> Path:
    """Drop from pydantic's location what is not in the file: union branches and positions in wrapped values."""
    path: list[str | int] = []
    for index, part in enumerate(location):
        inside = child(data, part)
        is_absent_key = kind == "missing" and index == len(location) - 1
        if inside is None and not is_absent_key:
            continue
        path.append(part)
        data = None if inside is None else inside[0]
    return tuple(path)


def child(data: object, part: str | int) -> tuple[object] | None:
    """Give what `data` holds under a key or position, wrapped; None when there is nothing."""
    if isinstance(data, Mapping):
        mapping = cast("Mapping[object, object]", data)
        return (mapping[part],) if part in mapping else None
    if isinstance(data, list) and isinstance(part, int):
        items = cast("list[object]", data)
        return (items[part],) if part < len(items) else None
    return None


def _finding(problems: Sequence[_Problem], document: Document) -> Finding:
    first = problems[0]
    where = document.place(first.path)
    value = _value_at(document.data, first.path)
    key = str(first.path[-1]) if first.path else "the file"
    match first.kind:
        case "missing":
            return _missing(first, document)
        case "union_tag_not_found":
            return Finding(
                level="error",
                code="config-driver",
                message=f"Connection `{key}` names no `driver`.",
                where=where,
                fix=f"Add `driver:` with one of: {', '.join(DRIVERS)}.",
            )
        case "union_tag_invalid":
            drivers = re.findall(r"'([^']+)'", str(first.context.get("expected_tags", "")))
            tag = str(first.context.get("tag", ""))
            found = nearest(tag, drivers)
            return Finding(
                level="error",
                code="config-driver",
                message=f"Connection `{key}` has the unknown driver `{tag}`.",
                where=document.place((*first.path, "driver")),
                fix=f"Write `{found}`." if found else f"Known drivers: {', '.join(drivers)}.",
            )
        case "invalid_key":
            message = f"The key `{key}` must be text."
            return Finding(
                level="error", code="config-key", message=message, where=where, fix="Put it in quotes."
            )
        case _:
            wanted = " or ".join(dict.fromkeys(_wanted(problem) for problem in problems))
            return Finding(
                level="error",
                code="config-value",
                message=f"`{key}` must be {wanted}, not {_shown(value, key)}.",
                where=where,
                fix=_fix(problems, value),
            )


def _missing(problem: _Problem, document: Document) -> Finding:
    *parents, key = problem.path
    siblings = _value_at(document.data, parents)
    written = (
        [str(name) for name in cast("Mapping[object, object]", siblings)]
        if isinstance(siblings, Mapping)
        else []
    )
    misspelt = nearest(str(key), written)
    return Finding(
        level="error",
        code="config-missing",
        message=f"`{'.'.join(str(part) for part in parents)}` needs `{key}`.",
        where=document.place(problem.path),
        fix=f"Rename `{misspelt}` to `{key}`, if that is what it means." if misspelt else f"Add `{key}:`.",
    )


def _wanted(problem: _Problem) -> str:
    if problem.kind == "literal_error":
        choices = [f"`{choice}`" for choice in _choices(problem)]
        return choices[0] if len(choices) == 1 else f"one of {', '.join(choices)}"
    if problem.kind in _BOUNDS:
        word, bound = _BOUNDS[problem.kind]
        return f"{word} {problem.context.get(bound)}"
    return _WANTED.get(problem.kind) or problem.message[:1].lower() + problem.message[1:]


def _choices(problem: _Problem) -> list[str]:
    return re.findall(r"'([^']*)'", str(problem.context.get("expected", "")))


def _fix(problems: Sequence[_Problem], value: object) -> str | None:
    kinds = {problem.kind for problem in problems}
    if "string_type" in kinds and not isinstance(value, Mapping | list):
        return "Put the value in quotes."
    choices = [
        choice for problem in problems if problem.kind == "literal_error" for choice in _choices(problem)
    ]
    if isinstance(value, str) and choices:
        return did_you_mean(value, choices).strip() or f"Write one of: {', '.join(choices)}."
    return None


def _value_at(data: object, path: Sequence[str | int]) -> object:
    for part in path:
        inside = child(data, part)
        if inside is None:
            return None
        data = inside[0]
    return data


def _shown(value: object, key: str) -> str:
    if isinstance(value, Mapping):
        return "a block of keys"
    if isinstance(value, list):
        return "a list"
    if value is None:
        return "empty"
    if _SECRET_KEY.search(key):
        return "what is there"
    text = str(value).lower() if isinstance(value, bool) else str(value)
    return f"`{text if len(text) <= 60 else text[:57] + '…'}`"
