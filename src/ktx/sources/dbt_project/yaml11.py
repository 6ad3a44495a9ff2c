"""YAML as dbt reads it, which is YAML 1.1: `yes` is true, `010` is eight, `<<` merges, the last of two equal keys counts.

Only plain values come out; dates stay text. What grows without bound (aliases, depth) is refused.
"""

import importlib
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, Final, cast

from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, YAMLError

try:
    _cyaml: Any = importlib.import_module("ruamel.yaml.cyaml")
except ImportError:
    _cyaml = None

_MAX_DEPTH: Final = 100
_MAX_VALUES: Final = 500_000
_MERGE: Final = "<<"
_WORDS: Final[dict[str, object]] = {
    **dict.fromkeys(("", "~", "null", "Null", "NULL")),
    **{spelled: True for word in ("true", "yes", "on") for spelled in (word, word.title(), word.upper())},
    **{spelled: False for word in ("false", "no", "off") for spelled in (word, word.title(), word.upper())},
}
_INT = re.compile(r"[-+]?(0b[01_]+|0x[0-9a-fA-F_]+|0[0-7_]+|0|[1-9][0-9_]*)")
_SEXAGESIMAL = re.compile(r"[-+]?[1-9][0-9_]*(:[0-5]?[0-9])+")
_FLOAT = re.compile(r"[-+]?([0-9][0-9_]*\.[0-9_]*|\.[0-9_]+)([eE][-+][0-9]+)?")


class YamlError(ValueError):
    """The text is not YAML that can be used; `line` is 1-based and may be unknown."""

    def __init__(self, message: str, *, line: int | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.line = line


@dataclass
class _Frame:
    """One collection that is being filled; `size` counts its values, those behind aliases included."""

    value: Any
    anchor: str | None
    size: int = 1
    key: str | None = None
    merged: list[object] = field(default_factory=list[object])


def parse_yaml(text: str) -> object:
    """Give the value of a one-document text; an empty text gives None.

    >>> parse_yaml("a: &x {on: yes}\\nb: {<<: *x, c: 010}")
    {'a': {'on': True}, 'b': {'on': True, 'c': 8}}

    Raises:
        YamlError: not well-formed, a second document, a tag, nested too deeply, or too large once aliases are followed.
    """
    try:
        return _assemble(_events(text.removeprefix("\ufeff")))
    except MarkedYAMLError as broken:
        facts: Any = broken
        mark = facts.problem_mark or facts.context_mark
        raise YamlError(
            str(facts.problem or facts.context or "not well-formed"),
            line=None if mark is None else int(mark.line) + 1,
        ) from broken
    except (YAMLError, RecursionError, UnicodeError) as broken:
        reason = str(broken).splitlines()[0] if str(broken) else "not well-formed"
        raise YamlError(reason) from broken


def _assemble(events: Iterator[tuple[str, Any]]) -> object:
    stack: list[_Frame] = []
    anchors: dict[str, tuple[object, int]] = {}
    result: object = None
    documents = 0
    for kind, event in events:
        size = 1
        if kind == "ScalarEvent":
            value: object = _scalar(event)
            if event.anchor is not None:
                anchors[event.anchor] = (value, 1)
        elif kind in {"MappingStartEvent", "SequenceStartEvent"}:
            if len(stack) >= _MAX_DEPTH:
                raise YamlError("nested too deeply", line=_line(event))
            _ensure_plain(event)
            stack.append(_Frame(value={} if kind == "MappingStartEvent" else [], anchor=event.anchor))
            continue
        elif kind in {"MappingEndEvent", "SequenceEndEvent"}:
            frame = stack.pop()
            value, size = _finished(frame), frame.size
            if frame.anchor is not None:
                anchors[frame.anchor] = (value, size)
        elif kind == "AliasEvent":
            if event.anchor not in anchors:
                raise YamlError(f"`*{event.anchor}` names no anchor above it", line=_line(event))
            value, size = anchors[event.anchor]
        elif kind == "DocumentStartEvent":
            documents += 1
            if documents > 1:
                raise YamlError("a second document starts here", line=_line(event))
            continue
        else:
            continue
        if not stack:
            result = value
            continue
        stack[-1].size += size
        if stack[-1].size > _MAX_VALUES:
            raise YamlError("too large once its aliases are followed", line=_line(event))
        _put(stack[-1], value, event)
    return result


def _put(frame: _Frame, value: object, event: Any) -> None:
    if isinstance(frame.value, list):
        cast("list[object]", frame.value).append(value)  # pyright: ignore[reportUnknownMemberType]
    elif frame.key is None:
        if isinstance(value, dict | list):
            raise YamlError("a key must be plain text", line=_line(event))
        frame.key = str(getattr(event, "value", value))
    else:
        if frame.key == _MERGE:
            frame.merged.append(value)
        else:
            cast("dict[str, object]", frame.value)[frame.key] = value
        frame.key = None


def _finished(frame: _Frame) -> object:
    """Give the collection, with what it merges behind its own keys' values."""
    if not frame.merged:
        return frame.value
    result: dict[str, object] = {}
    for one in frame.merged:
        parts = cast("list[object]", one) if isinstance(one, list) else [one]
        for part in reversed(parts):
            if isinstance(part, dict):
                result.update(cast("dict[str, object]", part))
    result.update(frame.value)
    return result


def _line(event: Any) -> int:
    return int(event.start_mark.line) + 1


def _ensure_plain(event: Any) -> None:
    if event.tag is not None and not str(event.tag).endswith((":map", ":seq")):
        raise YamlError(f"the tag `{event.tag}` is not used by dbt", line=_line(event))


def _scalar(event: Any) -> object:
    text = cast("str", event.value)
    if not event.implicit[0]:
        if event.tag is not None and event.tag not in {"tag:yaml.org,2002:str", "!"}:
            raise YamlError(f"the tag `{event.tag}` is not used by dbt", line=_line(event))
        return text
    if text in _WORDS:
        return _WORDS[text]
    return _number(text) if text[0] in "+-.0123456789" else text


def _number(text: str) -> object:
    if len(text) > 300:
        return text
    plain = text.replace("_", "")
    if _INT.fullmatch(text):
        sign, digits = (-1 if plain[0] == "-" else 1), plain.lstrip("+-").lower()
        base = 2 if digits.startswith("0b") else 16 if digits.startswith("0x") else 10
        if base == 10 and digits.startswith("0") and digits != "0":
            base = 8
        try:
            return sign * int(digits, base)
        except ValueError:
            return text
    if _SEXAGESIMAL.fullmatch(text):
        total = 0
        for part in plain.lstrip("+-").split(":"):
            total = total * 60 + int(part)
        return -total if plain[0] == "-" else total
    return float(plain) if _FLOAT.fullmatch(text) and plain.strip("+-") != "." else text


def _events(text: str) -> Iterator[tuple[str, Any]]:
    get_event = _c_parser(text)
    if get_event is None:
        pure: Any = YAML(typ="safe", pure=True)
        for event in cast("Iterator[Any]", pure.parse(text)):
            yield type(event).__name__, event
        return
    while True:
        event = get_event()
        kind = type(event).__name__
        yield kind, event
        if kind == "StreamEndEvent":
            return


def _c_parser(text: str) -> Callable[[], Any] | None:
    """Give the C parser's event function; where C is missing, the pure one answers the same, many times slower."""
    return None if _cyaml is None else cast("Callable[[], Any]", _cyaml.CParser(text).get_event)
