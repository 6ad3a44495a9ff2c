"""Plain values as block-style YAML: the text that ruamel.yaml writes, many times faster, so that a manifest of ten thousand
tables is written in seconds and without a tree of nodes in memory.

What is plainly plain is written here; every other key or scalar is written by ruamel.yaml itself.
"""

import io
import re
from collections.abc import Iterator, Mapping
from functools import lru_cache
from typing import cast

from ruamel.yaml import YAML

_PLAIN = re.compile(r"[A-Za-z][A-Za-z0-9_.,;()/%+=~^$-]*(?: [A-Za-z0-9_.,;()/%+=~^$'\"&*!?<>-]+)*")
"""Text that YAML reads as itself wherever it stands in block style: no colon, no hash, no leading indicator."""
_ODD_BREAKS = re.compile("[\x85\u2028\u2029]")
"""Line breaks whose layout ruamel.yaml chooses by what stands before them."""
_WORDS = frozenset({"true", "false", "null"})
_LONGEST_PLAIN = 1_000
_LONGEST_KEY = 100


def render_block(value: Mapping[str, object]) -> str:
    """Give the text of a mapping of strings, numbers, truth values, lists and mappings, in their order.

    >>> print(render_block({"name": "orders", "columns": [{"name": "id", "pk": True}]}), end="")
    name: orders
    columns:
      - name: id
        pk: true
    """
    if not value:
        return _by_ruamel(value)
    try:
        return "".join(f"{line}\n" for line in _mapping(value, 0))
    except _OddBreakError:
        return _by_ruamel(value)


class _OddBreakError(Exception):
    """A text can only be laid out together with all that stands before it."""


def _mapping(mapping: Mapping[str, object], depth: int) -> Iterator[str]:
    pad = "  " * depth
    for key, value in mapping.items():
        if not _is_plain(key) or len(key) > _LONGEST_KEY:
            yield from _slowly({key: value}, depth)
            continue
        text = _scalar(value)
        if text is not None:
            yield f"{pad}{key}: {text}"
        elif isinstance(value, dict) and value:
            yield f"{pad}{key}:"
            yield from _mapping(cast("dict[str, object]", value), depth + 1)
        elif isinstance(value, list) and value:
            yield f"{pad}{key}:"
            yield from _sequence(cast("list[object]", value), depth + 1)
        else:
            yield from _slowly({key: cast("object", value)}, depth)


def _sequence(items: list[object], depth: int) -> Iterator[str]:
    pad = "  " * depth
    for item in items:
        text = _scalar(item)
        if text is not None:
            yield f"{pad}- {text}"
        elif isinstance(item, dict) and item:
            lines = _mapping(cast("dict[str, object]", item), depth + 1)
            yield f"{pad}- {next(lines)[len(pad) + 2 :]}"
            yield from lines
        else:
            yield from _slowly([cast("object", item)], depth)


def _scalar(value: object) -> str | None:
    """Write a value that needs no thought; None for every other."""
    if value is True:
        return "true"
    if value is False:
        return "false"
    if isinstance(value, str):
        return value if _is_plain(value) else _quoted(value)
    return None


def _is_plain(text: object) -> bool:
    return (
        isinstance(text, str)
        and len(text) <= _LONGEST_PLAIN
        and _PLAIN.fullmatch(text) is not None
        and text.lower() not in _WORDS
    )


@lru_cache(maxsize=4096)
def _quoted(text: str) -> str | None:
    """Write a text as ruamel.yaml does, when that is one line."""
    lines = _lines({"k": text})
    return lines[0].removeprefix("k: ") if len(lines) == 1 and len(text) <= _LONGEST_PLAIN else None


def _slowly(value: object, depth: int) -> list[str]:
    """Give the lines of a value as they stand at a depth, from ruamel.yaml."""
    for _ in range(depth):
        value = {"k": value}
    return _lines(value)[depth:]


def _by_ruamel(value: object) -> str:
    writer = YAML(typ="rt")
    writer.width = 4096
    writer.indent(mapping=2, sequence=4, offset=2)
    stream = io.StringIO()
    writer.dump(value, stream)  # pyright: ignore[reportUnknownMemberType]
    return stream.getvalue()


def _lines(value: object) -> list[str]:
    text = _by_ruamel(value)
    if _ODD_BREAKS.search(text):
        raise _OddBreakError
    return text.split("\n")[:-1]
