"""The text of ktx.yaml as plain data, with the line of everything in it.

The parser is the pure-Python one: the faster C parser refuses `{api_key: env:NAME}`, which YAML 1.2 allows.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, TypeAlias, cast

from ruamel.yaml import YAML
from ruamel.yaml.constructor import DuplicateKeyError
from ruamel.yaml.error import MarkedYAMLError, YAMLError

from ktx.findings import Finding, Place

Path: TypeAlias = tuple[str | int, ...]
"""Keys and list positions from the top of the document."""


# ruamel.yaml ships no types; these are the parts of it that are used here.
class _Mark(Protocol):
    line: int


class _Error(Protocol):
    context: str | None
    context_mark: _Mark | None
    problem: str | None
    problem_mark: _Mark | None


class _Node(Protocol):
    id: str
    value: object
    start_mark: _Mark


@dataclass(frozen=True, kw_only=True)
class Document:
    """Parsed YAML. `data` is a mapping, empty for an empty file."""

    file: str
    text: str
    data: dict[object, object]

    def place(self, path: Sequence[str | int]) -> Place:
        """Give the place of `path`, or of its nearest ancestor that is written down."""
        return Place(
            file=self.file, line=_line(self.text, path), path=".".join(str(part) for part in path) or None
        )


def parse_document(text: str, *, file: str) -> Document | Finding:
    """Parse YAML text whose top is a mapping, or give the finding that says why it is none."""
    try:
        data: object = YAML(typ="safe", pure=True).load(text.lstrip("\ufeff"))  # pyright: ignore[reportUnknownMemberType]
    except MarkedYAMLError as error:
        return _invalid(cast("_Error", error), file=file, is_duplicate=isinstance(error, DuplicateKeyError))
    except (YAMLError, RecursionError, ValueError) as error:
        detail = next(iter(str(error).splitlines()), type(error).__name__)
        return _broken(f"This is not valid YAML: {detail}.", file=file, line=None)
    if data is None:
        data = {}
    if not isinstance(data, dict):
        return _broken("The file must hold keys with values, such as `connections:`.", file=file, line=1)
    return Document(file=file, text=text, data=cast("dict[object, object]", data))


def _broken(message: str, *, file: str, line: int | None, fix: str | None = None) -> Finding:
    return Finding(
        level="error", code="config-yaml", message=message, where=Place(file=file, line=line), fix=fix
    )


def _invalid(error: _Error, *, file: str, is_duplicate: bool) -> Finding:
    mark = error.problem_mark or error.context_mark
    line = mark.line + 1 if mark else None
    if is_duplicate:
        found = re.search(
            r'duplicate key "([^"]*)"', error.problem or ""
        )  # the rest of it repeats the values
        key = f" `{found[1]}`" if found else ""
        return _broken(f"The key{key} is given twice.", file=file, line=line, fix="Keep one of them.")
    detail = ", ".join(part for part in (error.context, error.problem) if part)
    return _broken(f"This is not valid YAML: {detail}.", file=file, line=line)


def _line(text: str, path: Sequence[str | int]) -> int | None:
    node = cast("_Node | None", YAML(typ="safe", pure=True).compose(text.lstrip("\ufeff")))  # pyright: ignore[reportUnknownMemberType]
    line: int | None = None
    for part in path:
        found = _child(node, part)
        if found is None:
            break
        line, node = found
    return line


def _child(node: _Node | None, part: str | int) -> tuple[int, _Node] | None:
    if node is None:
        return None
    if node.id == "mapping":
        for key, value in cast("list[tuple[_Node, _Node]]", node.value):
            if key.id == "scalar" and str(key.value) == str(part):
                return key.start_mark.line + 1, value
    if node.id == "sequence" and isinstance(part, int):
        items = cast("list[_Node]", node.value)
        if part < len(items):
            return items[part].start_mark.line + 1, items[part]
    return None
