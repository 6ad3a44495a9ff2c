"""Small edits of TOML files that leave every other byte alone: one table is added, rewritten or taken out, as text.

Whether the result says what was meant is checked by parsing it: a file that writes the table in another form is refused.
"""

import json
import re
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import cast

from ktx.agents.jsonc import Edit, MalformedError

_HEADER = re.compile(r"^[ \t]*\[(?!\[)[ \t]*(?P<name>[^\]\n]+?)[ \t]*\]", re.MULTILINE)
_ANY_HEADER = re.compile(r"^[ \t]*\[", re.MULTILINE)
_LONG_STRING = re.compile(r'"""(?:\\.|[^\\])*?"""(?!")|\'\'\'.*?\'\'\'(?!\')', re.DOTALL)
_SHORT = re.compile(r'#[^\n]*|"""|\'\'\'|"(?:\\.|[^"\\\n])*"|\'[^\'\n]*\'')
_BARE = re.compile(r"[A-Za-z0-9_-]+")
_LINE = re.compile(r"at line (\d+)")


def value_at(text: str, keys: Sequence[str]) -> object | None:
    """Give the value under a path of keys, or None when there is none.

    Raises:
        MalformedError: the text is not TOML.
    """
    found: object = _parsed(text)
    for key in keys:
        if not isinstance(found, Mapping):
            return None
        found = cast("Mapping[str, object]", found).get(key)
    return found


def with_table(text: str, keys: Sequence[str], value: Mapping[str, object]) -> Edit:
    """Set a table whole. Tables under it that are written apart, such as `[mcp_servers.ktx.tools]`, stay.

    Raises:
        MalformedError: the text is not TOML, or writes the table in a form that a splice cannot edit.
    """
    newline = "\r\n" if "\r\n" in text else "\n"
    spans = list(_tables(text))
    own = next((span for span in spans if span.keys == tuple(keys)), None)
    apart = {span.keys[len(keys)] for span in spans if span.keys[: len(keys)] == tuple(keys) != span.keys}
    lines = [f"[{'.'.join(map(_key, keys))}]"]
    lines += [f"{_key(name)} = {_value(one)}" for name, one in value.items() if name not in apart]
    block = newline.join(lines)
    if own is not None:
        edit = Edit(
            text=text[: own.start] + block + text[own.end :], before=text[own.start : own.end], after=block
        )
    else:
        gap = "" if not text else newline if text.endswith("\n") else newline * 2
        after = f"{gap}{block}{newline}"
        edit = Edit(text=text + after, before="", after=after)
    expected = _with_value(_parsed(text), keys, value)
    try:
        is_right = _parsed(edit.text) == expected
    except MalformedError:
        is_right = False
    if not is_right:
        raise MalformedError(
            f"`{'.'.join(keys)}` is written in a form that only a person can edit", line=_line(text, keys)
        )
    return edit


def without_table(text: str, keys: Sequence[str]) -> str:
    """Take a table out, with the tables under it.

    Raises:
        MalformedError: the text is not TOML, or writes the table in a form that a splice cannot edit.
    """
    for span in reversed(list(_tables(text))):
        if span.keys[: len(keys)] == tuple(keys):
            end = span.end + len(text[span.end :]) - len(text[span.end :].lstrip("\r\n"))
            text = text[: span.start] + text[end:]
    if value_at(text, keys) is not None:
        raise MalformedError(
            f"`{'.'.join(keys)}` is written in a form that only a person can edit", line=_line(text, keys)
        )
    return text


@dataclass(frozen=True, kw_only=True)
class _Span:
    """One `[table]`: from its header to the end of its last line that says something."""

    keys: tuple[str, ...]
    start: int
    end: int


def _tables(text: str) -> Iterator[_Span]:
    """Give every plain table with its place; what looks like a header inside a string or a comment is none."""
    _parsed(text)
    masked = _masked(text)
    starts = [match.start() for match in _ANY_HEADER.finditer(masked)] + [len(text)]
    for match in _HEADER.finditer(masked):
        until = next(start for start in starts if start > match.start())
        body = text[match.start() : until]
        lines = body.split("\n")
        while len(lines) > 1 and (not lines[-1].strip() or lines[-1].lstrip().startswith("#")):
            lines.pop()
        end = match.start() + len("\n".join(lines).rstrip("\r"))
        yield _Span(keys=_split(text[match.start("name") : match.end("name")]), start=match.start(), end=end)


def _masked(text: str) -> str:
    """Give the text with strings of several lines and comments blanked out, at the same length."""
    parts: list[str] = []
    at = 0
    while (found := _SHORT.search(text, at)) is not None:
        parts.append(text[at : found.start()])
        end = found.end()
        if found[0] in ('"""', "'''") and (whole := _LONG_STRING.match(text, found.start())):
            end = whole.end()
        shown = text[found.start() : end]
        is_kept = not shown.startswith("#") and "\n" not in shown
        parts.append(shown if is_kept else "".join("\n" if letter == "\n" else "." for letter in shown))
        at = end
    return "".join(parts) + text[at:]


def _split(name: str) -> tuple[str, ...]:
    """Split a header's dotted name as TOML does."""
    keys: list[str] = []
    found: object = tomllib.loads(f"{name} = 0")
    while isinstance(found, Mapping):
        ((key, found),) = cast("Mapping[str, object]", found).items()
        keys.append(key)
    return tuple(keys)


def _parsed(text: str) -> dict[str, object]:
    try:
        return tomllib.loads(text.removeprefix("\ufeff"))
    except tomllib.TOMLDecodeError as error:
        found = _LINE.search(str(error))
        reason = str(error).partition(" (at ")[0].lower()
        raise MalformedError(reason, line=int(found[1]) if found else text.count("\n") + 1) from error


def _with_value(data: Mapping[str, object], keys: Sequence[str], value: Mapping[str, object]) -> object:
    below = cast("object", data.get(keys[0]))
    if len(keys) == 1:
        return {**data, keys[0]: value}
    inner = cast("Mapping[str, object]", below) if isinstance(below, Mapping) else dict[str, object]()
    return {**data, keys[0]: _with_value(inner, keys[1:], value)}


def _line(text: str, keys: Sequence[str]) -> int:
    found = re.search(rf"^.*\b{re.escape(keys[0])}\b", _masked(text), re.MULTILINE)
    return text.count("\n", 0, found.start()) + 1 if found else 1


def _key(name: str) -> str:
    return name if _BARE.fullmatch(name) else json.dumps(name, ensure_ascii=False)


def _value(value: object) -> str:
    match value:
        case bool():
            return "true" if value else "false"
        case list():
            return f"[{', '.join(map(_value, cast('list[object]', value)))}]"
        case dict():
            pairs = cast("dict[str, object]", value).items()
            return "{ " + ", ".join(f"{_key(name)} = {_value(one)}" for name, one in pairs) + " }"
        case str():  # a JSON string is a TOML string, but for the letter DEL
            return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
        case _:
            return str(value)
