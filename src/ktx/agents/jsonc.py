"""Small edits of JSON files that leave every other byte alone; comments and trailing commas are understood.

An edit is one splice: `before` was at `start`, `after` is there now. Putting `before` back undoes it exactly.
"""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import cast

_BLANK = re.compile(r"(?:[ \t\r\n\ufeff]|//[^\n]*|/\*.*?\*/)*", re.DOTALL)
_SCALAR = re.compile(r"-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][+-]?\d+)?|true|false|null")
_DECODER = json.JSONDecoder()
_MAX_DEPTH = 200


class MalformedError(ValueError):
    """The text is not JSON, or not of the form that an edit needs; `line` is where."""

    def __init__(self, reason: str, *, line: int) -> None:
        super().__init__(reason)
        self.reason = reason
        self.line = line


@dataclass(frozen=True, kw_only=True)
class Edit:
    """A text after one splice, and the splice."""

    text: str
    before: str
    after: str


@dataclass(frozen=True, kw_only=True)
class _Node:
    """A value and where it stands; `members` is None for anything but an object."""

    start: int
    end: int
    value: object
    members: "tuple[_Member, ...] | None" = None


@dataclass(frozen=True, kw_only=True)
class _Member:
    key: str
    start: int
    node: _Node
    comma: int | None


def value_at(text: str, keys: Sequence[str]) -> object | None:
    """Give the value under a path of keys, or None when there is none.

    Raises:
        MalformedError: the text is not JSON.
    """
    node: _Node | None = _root(text)
    for key in keys:
        node = None if node is None else _member_node(node, key)
    return None if node is None else node.value


def with_key(text: str, keys: Sequence[str], value: object) -> Edit:
    """Set the value under a path of keys; objects on the way are made.

    Raises:
        MalformedError: the text is not JSON, or something on the way is no object.
    """
    newline = "\r\n" if "\r\n" in text else "\n"
    if not text.strip().strip("\ufeff"):
        made = json.dumps(_nested(keys, value), indent=2, ensure_ascii=False) + "\n"
        return Edit(text=made, before=text, after=made)
    node = _root(text)
    for depth, key in enumerate(keys):
        if node.members is None:
            way = ".".join(keys[:depth])
            raise MalformedError(
                f"{f'`{way}`' if way else 'the whole'} is no object", line=_line(text, node.start)
            )
        found = _member_node(node, key)
        if found is None:
            edit = _inserted(text, node, key, _nested(keys[depth + 1 :], value), newline)
            return _verified(text, edit, keys, value)
        node = found
    rendered = _rendered(value, _indent_at(text, node.start), _unit(text), newline)
    edit = _spliced(text, node.start, node.end, rendered)
    return _verified(text, edit, keys, value)


def without_key(text: str, keys: Sequence[str], *, keep: int) -> str:
    """Take a key out, and the objects above it that are empty then, down to a path of `keep` keys.

    Raises:
        MalformedError: the text is not JSON.
    """
    for depth in range(len(keys), keep, -1):
        path = keys[:depth]
        found = value_at(text, path)
        if found is None or (depth < len(keys) and found != {}):
            break
        node: _Node | None = _root(text)
        for key in path[:-1]:
            node = None if node is None else _member_node(node, key)
        if node is None or node.members is None:
            break
        text = _cut(text, node, path[-1])
    return text


# -- splices --------------------------------------------------------------------------------------------------------


def _spliced(text: str, start: int, end: int, after: str) -> Edit:
    return Edit(text=text[:start] + after + text[end:], before=text[start:end], after=after)


def _inserted(text: str, node: _Node, key: str, value: object, newline: str) -> Edit:
    unit = _unit(text)
    members = node.members or ()
    outer = _indent_at(text, node.start)
    inside = text[node.start + 1 : node.end - 1]
    if members and "\n" not in text[node.start : members[0].start]:
        member = f"{_name(key)}: {json.dumps(value, ensure_ascii=False)}"
        return _beside(text, node, members, f", {member}", f"{member}, ")
    indent = _indent_at(text, members[0].start) if members else outer + unit
    member = f"{indent}{_name(key)}: {_rendered(value, indent, unit, newline)}"
    if members:
        return _beside(text, node, members, f",{newline}{member}", f"{newline}{member},")
    tail = "" if "\n" in inside else newline + outer
    return _spliced(text, node.start + 1, node.start + 1, f"{newline}{member}{tail}")


def _beside(text: str, node: _Node, members: tuple[_Member, ...], last: str, first: str) -> Edit:
    """Put a member at the end, or at the start where a comma or a comment follows the last one."""
    at = members[-1].node.end
    rest = text[at : node.end - 1]
    if rest.strip() == "" and members[-1].comma is None:
        return _spliced(text, at, at, last)
    start = node.start + 1 if first.startswith(("\n", "\r")) else members[0].start
    return _spliced(text, start, start, first)


def _cut(text: str, node: _Node, key: str) -> str:
    members = node.members or ()
    index = max(place for place, member in enumerate(members) if member.key == key)
    member = members[index]
    if index + 1 < len(members):
        return text[: member.start] + text[members[index + 1].start :]
    if index:
        return text[: members[index - 1].node.end] + text[member.node.end :]
    end = member.node.end if member.comma is None else member.comma + 1
    left, right = text[node.start + 1 : member.start], text[end : node.end - 1]
    kept = left + right if (left + right).strip() else ""
    return text[: node.start + 1] + kept + text[node.end - 1 :]


def _verified(text: str, edit: Edit, keys: Sequence[str], value: object) -> Edit:
    if _root(edit.text).value != _with_value(_root(text).value, keys, value):
        raise MalformedError("the layout is unusual", line=1)
    return edit


def _with_value(data: object, keys: Sequence[str], value: object) -> object:
    if not keys:
        return value
    known = cast("Mapping[str, object]", data) if isinstance(data, Mapping) else dict[str, object]()
    return {**known, keys[0]: _with_value(known.get(keys[0]), keys[1:], value)}


def _nested(keys: Sequence[str], value: object) -> object:
    for key in reversed(keys):
        value = {key: value}
    return value


def _name(key: str) -> str:
    return json.dumps(key, ensure_ascii=False)


def _rendered(value: object, indent: str, unit: str, newline: str) -> str:
    lines = json.dumps(value, indent=unit, ensure_ascii=False).split("\n")
    return f"{newline}{indent}".join(lines)


def _indent_at(text: str, index: int) -> str:
    line = text[text.rfind("\n", 0, index) + 1 : index]
    return line[: len(line) - len(line.lstrip(" \t"))]


def _unit(text: str) -> str:
    found = re.search(r"\n([ \t]+)\S", text)
    return found[1] if found else "  "


def _line(text: str, index: int) -> int:
    return text.count("\n", 0, index) + 1


# -- reading --------------------------------------------------------------------------------------------------------


def _root(text: str) -> _Node:
    node = _read(text, _skip(text, 0), 0)
    end = _skip(text, node.end)
    if end != len(text):
        raise MalformedError("something follows the end of the document", line=_line(text, end))
    return node


def _member_node(node: _Node, key: str) -> _Node | None:
    found = [member.node for member in node.members or () if member.key == key]
    return found[-1] if found else None


def _skip(text: str, index: int) -> int:
    match = _BLANK.match(text, index)
    return match.end() if match else index


def _read(text: str, index: int, depth: int) -> _Node:
    if depth > _MAX_DEPTH:
        raise MalformedError("it is nested too deeply", line=_line(text, index))
    match text[index : index + 1]:
        case "{":
            return _read_object(text, index, depth)
        case "[":
            return _read_list(text, index, depth)
        case '"':
            value, end = _read_string(text, index)
            return _Node(start=index, end=end, value=value)
        case _:
            found = _SCALAR.match(text, index)
            if found is None:
                raise _unexpected(text, index, "a value")
            return _Node(start=index, end=found.end(), value=json.loads(found[0]))


def _read_object(text: str, index: int, depth: int) -> _Node:
    members: list[_Member] = []
    at = _skip(text, index + 1)
    while text[at : at + 1] != "}":
        if members and members[-1].comma is None:
            raise _unexpected(text, at, "`,` or `}`")
        if text[at : at + 1] != '"':
            raise _unexpected(text, at, "a key in double quotes" if not members else "a key, or `}`")
        key, end = _read_string(text, at)
        colon = _skip(text, end)
        if text[colon : colon + 1] != ":":
            raise _unexpected(text, colon, f"`:` after the key `{key}`")
        node = _read(text, _skip(text, colon + 1), depth + 1)
        after = _skip(text, node.end)
        comma = after if text[after : after + 1] == "," else None
        members.append(_Member(key=key, start=at, node=node, comma=comma))
        at = after if comma is None else _skip(text, after + 1)
    value = {member.key: member.node.value for member in members}
    return _Node(start=index, end=at + 1, value=value, members=tuple(members))


def _read_list(text: str, index: int, depth: int) -> _Node:
    values: list[object] = []
    at = _skip(text, index + 1)
    has_comma = True
    while text[at : at + 1] != "]":
        if not has_comma:
            raise _unexpected(text, at, "`,` or `]`")
        node = _read(text, at, depth + 1)
        values.append(node.value)
        at = _skip(text, node.end)
        has_comma = text[at : at + 1] == ","
        at = _skip(text, at + 1) if has_comma else at
    return _Node(start=index, end=at + 1, value=values)


def _read_string(text: str, index: int) -> tuple[str, int]:
    try:
        value, end = cast("tuple[str, int]", _DECODER.raw_decode(text, index))
    except json.JSONDecodeError as error:
        raise MalformedError(error.msg.lower(), line=_line(text, error.pos)) from error
    return value, end


def _unexpected(text: str, index: int, wanted: str) -> MalformedError:
    found = f"`{text[index]}`" if index < len(text) else "the end of the file"
    return MalformedError(f"{wanted} was expected, not {found}", line=_line(text, index))
