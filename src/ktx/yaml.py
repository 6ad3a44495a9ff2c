"""YAML 1.2 text as plain values, fast, with the line of any spot on request.

The layer's own reader: scalars follow the YAML 1.2 core schema (`on`, `yes` and `12:30` are text, `010` is ten), a key
may occur once, there is one document per file, and no tag can make anything but plain values. Depth, and what aliases
repeat, are bounded, so that no text can exhaust the stack or the memory of who walks its value.
"""

import importlib
import math
import re
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, Final, cast

from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, YAMLError

try:
    _cyaml: Any = importlib.import_module("ruamel.yaml.cyaml")
except ImportError:
    _cyaml = None

Path = tuple[str | int, ...]
"""Where a value sits: mapping keys and sequence positions, outermost first."""

MAX_DEPTH: Final = 100
_MAX_REPEATED: Final = 100_000
"""Most values that aliases may stand for."""
_NUMBER_START = frozenset("+-.0123456789")
_WORDS: dict[str, object] = {
    **dict.fromkeys(("", "~", "null", "Null", "NULL")),
    **dict.fromkeys(("true", "True", "TRUE"), True),
    **dict.fromkeys(("false", "False", "FALSE"), False),
}
_INT = re.compile(r"[-+]?[0-9]+")
_RADIX = re.compile(r"0o[0-7]+|0x[0-9a-fA-F]+")
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?")
_STR_TAGS = frozenset({"tag:yaml.org,2002:str", "!"})


class YamlError(ValueError):
    """The text is not YAML that the layer can use; `line` is 1-based and may be unknown."""

    def __init__(self, message: str, *, line: int | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.line = line


def parse_yaml(text: str) -> object:
    """Give the value of a one-document YAML text; an empty text gives None.

    >>> parse_yaml("joins: [{to: b, on: a.x = b.y}]")
    {'joins': [{'to': 'b', 'on': 'a.x = b.y'}]}

    Raises:
        YamlError: the text is not well-formed, repeats a key, holds a second document, or is nested too deeply.
    """
    return _build(text, None)


def parse_yaml_with_lines(text: str, *, depth: int | None = None) -> tuple[object, dict[Path, int]]:
    """Give the value, and the 1-based line of every key and every item of a list, down to `depth` steps.

    Raises:
        YamlError: as `parse_yaml`.
    """
    lines: dict[Path, int] = {}
    return _build(text, lines, depth=sys.maxsize if depth is None else depth), lines


@dataclass
class _Frame:
    """One collection that is being filled."""

    value: Any
    path: Path
    anchor: str | None
    since: int = 0
    """How many values the document had before this one."""
    key: str | None = None
    position: int = 0
    seen: set[str] = field(default_factory=set[str])


def _build(text: str, lines: dict[Path, int] | None, *, depth: int = sys.maxsize) -> object:
    try:
        return _assemble(_events(text.removeprefix("\ufeff")), lines, depth)
    except MarkedYAMLError as broken:
        facts: Any = broken
        mark = facts.problem_mark or facts.context_mark
        raise YamlError(
            str(facts.problem or facts.context or "not well-formed"),
            line=None if mark is None else int(mark.line) + 1,
        ) from broken
    except (YAMLError, ValueError) as broken:
        if isinstance(broken, YamlError):
            raise
        raise YamlError(str(broken).splitlines()[0] if str(broken) else "not well-formed") from broken


def _assemble(events: Iterator[tuple[str, Any]], all_lines: dict[Path, int] | None, depth: int) -> object:
    stack: list[_Frame] = []
    anchors: dict[str, tuple[object, int]] = {}
    result: object = None
    documents = count = repeated = 0
    for kind, event in events:
        count += 1
        if kind == "ScalarEvent":
            value: object = _scalar(event)
            if event.anchor is not None:
                anchors[event.anchor] = (value, 1)
        elif kind == "MappingStartEvent" or kind == "SequenceStartEvent":
            if len(stack) >= MAX_DEPTH:
                raise YamlError("it is nested too deeply", line=int(event.start_mark.line) + 1)
            lines = all_lines if len(stack) <= depth else None
            here = _path(stack) if lines is not None else ()
            _ensure_plain(event)
            stack.append(
                _Frame(
                    value={} if kind == "MappingStartEvent" else [],
                    path=here,
                    anchor=event.anchor,
                    since=count + repeated,
                )
            )
            if lines is not None:
                lines.setdefault(here, int(event.start_mark.line) + 1)
            continue
        elif kind == "MappingEndEvent" or kind == "SequenceEndEvent":
            frame = stack.pop()
            value = frame.value
            if frame.anchor is not None:
                anchors[frame.anchor] = (value, count + repeated - frame.since)
        elif kind == "AliasEvent":
            value, size = _anchored(event, anchors, repeated)
            repeated += size
        elif kind == "DocumentStartEvent":
            documents += 1
            if documents > 1:
                raise YamlError(
                    "a second document starts here; keep one per file", line=int(event.start_mark.line) + 1
                )
            continue
        else:
            continue
        if not stack:
            result = value
            continue
        _put(stack[-1], value, event, all_lines if len(stack) <= depth else None)
    return result


def _anchored(event: Any, anchors: dict[str, tuple[object, int]], repeated: int) -> tuple[object, int]:
    """Give what an alias stands for, and how many values that is."""
    line = int(event.start_mark.line) + 1
    if event.anchor not in anchors:
        raise YamlError(f"`*{event.anchor}` names no anchor above it", line=line)
    value, size = anchors[event.anchor]
    if repeated + size > _MAX_REPEATED:
        raise YamlError("its aliases stand for too much", line=line)
    return value, size


def _put(frame: _Frame, value: object, event: Any, lines: dict[Path, int] | None) -> None:
    if isinstance(frame.value, list):
        cast("list[object]", frame.value).append(value)  # pyright: ignore[reportUnknownMemberType]
        if lines is not None:
            lines.setdefault((*frame.path, frame.position), int(event.start_mark.line) + 1)
        frame.position += 1
        return
    if frame.key is None:
        line = int(event.start_mark.line) + 1
        if value is None or isinstance(value, dict | list):
            raise YamlError("a key must be plain text", line=line)
        key = str(event.value)
        if key in frame.seen:
            raise YamlError(f"the key `{key}` occurs twice", line=line)
        frame.seen.add(key)
        frame.key = key
        if lines is not None:
            lines[(*frame.path, key)] = line
        return
    cast("dict[str, object]", frame.value)[frame.key] = value
    frame.key = None


def _path(stack: list[_Frame]) -> Path:
    if not stack:
        return ()
    frame = stack[-1]
    if isinstance(frame.value, list):
        return (*frame.path, frame.position)
    return (*frame.path, frame.key or "")


def _ensure_plain(event: Any) -> None:
    if event.tag is not None and not str(event.tag).endswith((":map", ":seq")):
        raise YamlError(
            f"the tag `{event.tag}` is not used in the layer", line=int(event.start_mark.line) + 1
        )


def _scalar(event: Any) -> object:
    text = cast("str", event.value)
    if not event.implicit[0]:
        tag = event.tag
        if tag is not None and tag not in _STR_TAGS:
            raise YamlError(f"the tag `{tag}` is not used in the layer", line=int(event.start_mark.line) + 1)
        return text
    if text in _WORDS:
        return _WORDS[text]
    if text[0] in _NUMBER_START:
        return _number(text)
    return text


def _number(text: str) -> object:
    if _INT.fullmatch(text):
        return int(text) if len(text) < 400 else text
    if _FLOAT.fullmatch(text):
        return float(text)
    if _RADIX.fullmatch(text):
        return int(text[2:], 8 if text[1] == "o" else 16)
    if text.lower() in {".inf", "+.inf"}:
        return math.inf
    if text.lower() == "-.inf":
        return -math.inf
    return math.nan if text.lower() == ".nan" else text


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
    if _cyaml is None:
        return None
    return cast("Callable[[], Any]", _cyaml.CParser(text).get_event)
