"""Small edits of ktx.yaml that leave everything else as a person wrote it, byte for byte.

An edit is a splice of the text at the place that the parser names. The result is parsed again and compared with what the
edit was to give; nothing is written when they differ.
"""

import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final, Protocol, TypeAlias, cast

from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from ktx.config.load import parse_config
from ktx.errors import ConfigError
from ktx.files import write_text
from ktx.findings import Finding

KeyPath: TypeAlias = tuple[str, ...]


class _Remove:
    """The type of `REMOVE`."""


REMOVE: Final = _Remove()
"""As the value of a change: take the key out."""


# ruamel.yaml ships no types; these are the parts of it that are used here.
class _Mark(Protocol):
    index: int
    column: int


class _Node(Protocol):
    id: str
    value: object
    flow_style: bool | None
    start_mark: _Mark
    end_mark: _Mark


class _Yaml(Protocol):
    width: int
    default_flow_style: bool | None

    def load(self, stream: str) -> object: ...
    def compose(self, stream: str) -> object: ...
    def dump(self, data: object, stream: io.StringIO) -> None: ...


_Pair: TypeAlias = tuple[_Node, _Node]


def edit_config(path: Path, changes: Mapping[KeyPath, object]) -> bool:
    """Set or remove keys of a ktx.yaml and give whether the file changed.

    A value is a scalar, a list or a mapping, and replaces what was there; `REMOVE` takes a key out. Missing blocks on the
    way are made. A key that is there in its other spelling is used as it stands.

    Raises:
        ConfigError: the file is not valid, would not be valid afterwards, or is written in a way that this cannot edit.
    """
    raw = path.read_bytes().decode("utf-8")
    mark = "\ufeff" if raw.startswith("\ufeff") else ""
    newline = "\r\n" if "\r\n" in raw else "\n"
    text = raw.removeprefix(mark).replace("\r\n", "\n")
    _ensure_valid(text, path)
    for key_path, value in changes.items():
        text = edit_text(text, key_path, value)
    _ensure_valid(text, path)
    return write_text(path, mark + text.replace("\n", newline))


def edit_text(text: str, key_path: KeyPath, value: object) -> str:
    """Give YAML text with one key set or removed.

    Raises:
        ConfigError: the text is written in a way that a splice cannot edit, for instance with anchors.
    """
    root = _as_mapping(_parser().load(text))
    written = _written_path(root, key_path)
    expected = _changed(root, written, value)
    if expected == root:
        return text
    edited = _spliced(text, written, value)
    if text.endswith("\n") and not edited.endswith("\n"):
        edited += "\n"
    if _loaded(edited) != expected:
        raise ConfigError(
            f"`{'.'.join(key_path)}` in ktx.yaml cannot be changed without touching the rest.",
            hint="Change it by hand: anchors, aliases and unusual layouts are left to people.",
        )
    return edited


def _ensure_valid(text: str, path: Path) -> None:
    config, findings = parse_config(text, file=path.name)
    if config is None:
        errors: Sequence[Finding] = [finding for finding in findings if finding.level == "error"]
        raise ConfigError(f"`{path}` was not changed.", hint="Correct it first.", findings=errors)


def _parser() -> _Yaml:
    return cast("_Yaml", YAML(typ="safe", pure=True))


def _loaded(text: str) -> object:
    try:
        return _parser().load(text) or {}
    except YAMLError:
        return None


def _as_mapping(value: object) -> Mapping[str, object]:
    return cast("Mapping[str, object]", value) if isinstance(value, Mapping) else {}


def _written_path(data: object, key_path: KeyPath) -> KeyPath:
    """Give the path in the spelling that the file has; connection ids have one spelling only."""
    written: list[str] = []
    for key in key_path:
        mapping = _as_mapping(data)
        chosen = key
        if key not in mapping and written != ["connections"]:
            chosen = next((other for other in mapping if _folded(other) == _folded(key)), key)
        written.append(chosen)
        data = mapping.get(chosen)
    return tuple(written)


def _folded(key: object) -> str:
    return str(key).replace("_", "").lower()


def _changed(data: Mapping[str, object], key_path: KeyPath, value: object) -> dict[str, object]:
    key, *rest = key_path
    result = dict(data)
    if not rest:
        if value is REMOVE:
            result.pop(key, None)
        else:
            result[key] = value
        return result
    if value is REMOVE and not _as_mapping(data.get(key)):
        return result
    result[key] = _changed(_as_mapping(data.get(key)), tuple(rest), value)
    return result


def _spliced(text: str, key_path: KeyPath, value: object) -> str:
    node = cast("_Node | None", _parser().compose(text))
    owner: _Pair | None = None
    for depth, key in enumerate(key_path):
        pair = _find(node, key)
        if pair is None:
            return _with_new_key(text, owner, node, _nested(key_path[depth:], value))
        if depth == len(key_path) - 1:
            mapping = cast("_Node", node)
            if value is REMOVE:
                return _without(text, mapping, pair, owner)
            return _with_value(text, mapping, pair, {key: value})
        owner, node = pair, pair[1]
    return text


def _find(node: _Node | None, key: str) -> _Pair | None:
    if node is None or node.id != "mapping":
        return None
    return next((pair for pair in cast("list[_Pair]", node.value) if str(pair[0].value) == key), None)


def _nested(path: Sequence[str], value: object) -> dict[str, object]:
    key, *rest = path
    return {key: _nested(rest, value) if rest else value}


def _with_new_key(text: str, owner: _Pair | None, node: _Node | None, entry: dict[str, object]) -> str:
    if node is not None and node.id == "mapping" and cast("list[_Pair]", node.value):
        last = cast("list[_Pair]", node.value)[-1]
        if node.flow_style:
            at = _content_end(text, last)
            return f"{text[:at]}, {_flow(entry)[1:-1]}{text[at:]}"
        return _insert_line(text, _line_end(text, _content_end(text, last)), entry, node.start_mark.column)
    if owner is None:  # nothing but comments
        if node is not None and node.id == "mapping":  # `{}`
            text = text[: node.start_mark.index] + text[node.end_mark.index :].lstrip("\n")
        separator = "" if not text or text.endswith("\n") else "\n"
        return f"{text}{separator}{_block(entry, 0)}\n"
    key, empty = owner  # `key:` or `key: {}`
    start = _after_colon(text, key)
    is_written = text[empty.start_mark.index : empty.end_mark.index].strip() != ""
    tail = text[empty.end_mark.index :] if is_written else text[start:]
    return _insert_line(
        text[:start] + tail, _line_end(text[:start] + tail, start), entry, key.start_mark.column + 2
    )


def _with_value(text: str, mapping: _Node, pair: _Pair, entry: dict[str, object]) -> str:
    key, old = pair
    (value,) = entry.values()
    is_block = bool(_as_mapping(value)) and not mapping.flow_style
    is_plain_old = (old.id == "scalar" or bool(old.flow_style)) and "\n" not in text[
        old.start_mark.index : old.end_mark.index
    ]
    if is_plain_old and not is_block:
        start = (
            _after_colon(text, key) if old.start_mark.index == old.end_mark.index else old.start_mark.index
        )
        gap = " " if old.start_mark.index == old.end_mark.index else ""
        return f"{text[:start]}{gap}{_flow(value)}{text[max(start, old.end_mark.index) :]}"
    if mapping.flow_style:
        return f"{text[: old.start_mark.index]}{_flow(value)}{text[old.end_mark.index :]}"
    end = _line_end(text, _content_end(text, pair))
    return f"{text[: key.start_mark.index]}{_block(entry, key.start_mark.column).lstrip()}{text[end:]}"


def _without(text: str, mapping: _Node, pair: _Pair, owner: _Pair | None) -> str:
    pairs = cast("list[_Pair]", mapping.value)
    index = next(number for number, other in enumerate(pairs) if other[0] is pair[0])
    if mapping.flow_style:
        start, end = pair[0].start_mark.index, _content_end(text, pair)
        if index + 1 < len(pairs):
            end = pairs[index + 1][0].start_mark.index
        elif index:
            start = _content_end(text, pairs[index - 1])
        return text[:start] + text[end:]
    start = text.rfind("\n", 0, pair[0].start_mark.index) + 1
    end = min(_line_end(text, _content_end(text, pair)) + 1, len(text))
    if len(pairs) == 1 and owner is not None:
        at = _after_colon(text, owner[0])
        return f"{text[:at]} {{}}{text[at:start]}{text[end:]}"
    return text[:start] + text[end:]


def _after_colon(text: str, key: _Node) -> int:
    return text.index(":", key.end_mark.index) + 1


def _content_end(text: str, pair: _Pair) -> int:
    """Give where the last written character of a pair ends; what follows are blanks and comments."""
    key, value = pair
    children = cast("list[object]", value.value) if value.id != "scalar" and not value.flow_style else []
    if children:
        last = children[-1]
        if value.id == "mapping":
            return _content_end(text, cast("_Pair", last))
        return _content_end(text, (key, cast("_Node", last)))
    end = max(value.end_mark.index, _after_colon(text, key))
    return len(text[:end].rstrip())


def _line_end(text: str, index: int) -> int:
    end = text.find("\n", index)
    return len(text) if end < 0 else end


def _insert_line(text: str, at: int, entry: dict[str, object], column: int) -> str:
    return f"{text[:at]}\n{_block(entry, column)}{text[at:]}"


def _block(entry: object, column: int) -> str:
    lines = _dumped(entry, is_flow=False).rstrip("\n").split("\n")
    return "\n".join(" " * column + line if line else line for line in lines)


def _flow(value: object) -> str:
    return _dumped(value, is_flow=True).removesuffix("...\n").strip()


def _dumped(value: object, *, is_flow: bool) -> str:
    yaml = cast("_Yaml", YAML(typ="rt", pure=True))
    yaml.width = 4096
    yaml.default_flow_style = is_flow
    stream = io.StringIO()
    yaml.dump(value, stream)
    return stream.getvalue()
