"""Sources and overlays written back to their files: stable when new, small diffs and kept comments when edited."""

import io
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, cast

from pydantic import BaseModel, ValidationError
from ruamel.yaml import YAML
from ruamel.yaml.scalarstring import DoubleQuotedScalarString, SingleQuotedScalarString

from ktx.errors import LayerError
from ktx.files import read_text, write_text
from ktx.findings import Finding
from ktx.semantic.files import Spots, describe_problems, file_for, layer_paths, read_layer_file
from ktx.semantic.format import (
    ColumnEntry,
    ColumnOverride,
    JoinEntry,
    MeasureEntry,
    SegmentEntry,
    SourceEntry,
)
from ktx.yaml import YamlError, parse_yaml

_MODEL_BY_LIST: Mapping[str, type[BaseModel]] = {
    "columns": ColumnEntry,
    "measures": MeasureEntry,
    "segments": SegmentEntry,
    "joins": JoinEntry,
    "column_overrides": ColumnOverride,
}
_LIST_UNDER_KEY = re.compile(
    r"^( *)(?:- )?[^\s#][^\n]*:[ \t]*(?:#[^\n]*)?\n(?:[ \t]*#[^\n]*\n|[ \t]*\n)*( *)- ", re.MULTILINE
)


def render_source(data: Mapping[str, object]) -> str:
    """Render a source or overlay as a new file: keys in documented order, empty ones left out.

    >>> print(render_source({"measures": [{"expr": "count(*)", "name": "n"}], "name": "orders"}), end="")
    name: orders
    measures:
      - name: n
        expr: count(*)

    Raises:
        LayerError: when it is not a source, with one finding per problem.
    """
    _ensure_source(data, file="the source")
    return _dump(_ordered(data, SourceEntry), _yaml(offset=2))


def edit_source(text: str, data: Mapping[str, object], *, file: str = "the source") -> str:
    """Give a file's text changed so that it says `data`; comments, order and quotes of what stays are kept.

    Entries of lists are recognised by name, joins by target, alias and condition. A text that already says so comes back as
    it is.

    Raises:
        LayerError: when `data` is no source, or the text is not YAML.
    """
    _ensure_source(data, file=file)
    try:
        before = parse_yaml(text)
    except YamlError as error:
        raise LayerError(
            f"`{file}` cannot be edited, because it is not valid YAML: {error.message}.",
            hint=f"Correct line {error.line} first." if error.line else None,
        ) from error
    ordered = _ordered(data, SourceEntry)
    if before == ordered:
        return text
    if not isinstance(before, dict):
        return _dump(ordered, _yaml(offset=2))
    writer = _yaml(offset=_list_offset(text))
    tree: Any = writer.load(text)
    _merge_mapping(tree, ordered)
    return _dump(tree, writer)


def find_source_file(folder: Path, name: str) -> Path | None:
    """Give the file in a connection's folder that describes `name`, whatever it is called; manifest shards do not count."""
    expected = folder / file_for(name)
    candidates = [expected] if expected.is_file() else []
    for path in [*candidates, *(path for path in layer_paths(folder) if path != expected)]:
        file = read_layer_file(path, folder=folder)
        if file.is_manifest or file.text is None:
            continue
        try:
            data = parse_yaml(file.text)
        except YamlError:
            continue
        if isinstance(data, dict) and cast("dict[str, object]", data).get("name") == name:
            return path
    return None


def save_source(folder: Path, data: Mapping[str, object]) -> tuple[Path, bool]:
    """Write a source or overlay into a connection's folder; give its file and whether that changed.

    An existing file of the same `name` is edited, wherever it lies; a new one is named after the source.

    Raises:
        LayerError: when `data` is no source, or its present file cannot be edited.
    """
    _ensure_source(data, file="the source")
    name = str(data["name"])
    present = find_source_file(folder, name)
    if present is None:
        path = folder / file_for(name)
        return path, write_text(path, render_source(data))
    return present, write_text(present, edit_source(read_text(present), data, file=present.name))


def _ensure_source(data: Mapping[str, object], *, file: str) -> None:
    try:
        SourceEntry.model_validate(dict(data))
    except ValidationError as error:
        findings: tuple[Finding, ...] = describe_problems(Spots(file=file), dict(data), error)
        raise LayerError(
            f"`{data.get('name', '')}` is not a source that the layer can hold: {findings[0].message}",
            hint=findings[0].fix,
            findings=findings,
        ) from error


def _ordered(data: Mapping[str, object], model: type[BaseModel]) -> dict[str, object]:
    """Put keys into the order of the model, at every level that has one, and leave out what says nothing."""
    result: dict[str, object] = {}
    fields = sorted(model.model_fields, key=lambda key: key != "name")
    for key in [
        *(key for key in fields if key in data),
        *(key for key in data if key not in model.model_fields),
    ]:
        value = data[key]
        if value is None or (isinstance(value, list | dict) and not value and key != "segments"):
            continue
        inner = _MODEL_BY_LIST.get(key)
        if inner is not None and isinstance(value, Sequence) and not isinstance(value, str):
            value = [
                _ordered(cast("Mapping[str, object]", one), inner) if isinstance(one, Mapping) else one
                for one in cast("Sequence[object]", value)
            ]
        result[key] = value
    return result


def _merge_mapping(tree: Any, wanted: Mapping[str, object]) -> None:
    """Change a round-trip mapping in place until it equals `wanted`, touching only what differs."""
    for key in [key for key in tree if key not in wanted]:
        del tree[key]
    for key, value in wanted.items():
        if key not in tree:
            tree[key] = value
        elif isinstance(value, Mapping) and isinstance(tree[key], dict):
            _merge_mapping(tree[key], cast("Mapping[str, object]", value))
        elif isinstance(value, list) and isinstance(tree[key], list):
            _merge_list(tree[key], cast("list[object]", value))
        elif tree[key] != value:
            tree[key] = _in_style(tree[key], cast("object", value))


def _in_style(old: object, value: object) -> object:
    """Write new text in the quotes of the old one."""
    if isinstance(old, DoubleQuotedScalarString | SingleQuotedScalarString) and isinstance(value, str):
        return type(old)(value)
    return value


def _merge_list(tree: Any, wanted: list[object]) -> None:
    """Change a round-trip list in place: keep equal entries, edit those of the same identity, add and remove the others."""
    if list(tree) == wanted:
        return
    keys = [_identity(one) for one in wanted]
    for at in range(len(tree) - 1, -1, -1):
        if _identity(tree[at]) not in keys:
            del tree[at]
    for at, value in enumerate(wanted):
        key = keys[at]
        there = next((spot for spot in range(at, len(tree)) if _identity(tree[spot]) == key), None)
        if there is None:
            tree.insert(at, value)
            continue
        if there != at:
            tree.insert(at, tree.pop(there))
        if isinstance(value, Mapping) and isinstance(tree[at], dict):
            _merge_mapping(tree[at], cast("Mapping[str, object]", value))
        elif tree[at] != value:
            tree[at] = value
    del tree[len(wanted) :]


def _identity(entry: object) -> object:
    if not isinstance(entry, Mapping):
        return entry if isinstance(entry, str | int | float | bool) else repr(entry)
    facts = cast("Mapping[str, object]", entry)
    if "name" in facts:
        return ("name", facts["name"])
    return ("join", facts.get("to"), facts.get("alias"), facts.get("on"))


def _list_offset(text: str) -> int:
    """Give how far the file indents lists under their key."""
    found = _LIST_UNDER_KEY.search(text)
    return max(len(found.group(2)) - len(found.group(1)), 0) if found else 2


def _yaml(*, offset: int) -> Any:
    writer: Any = YAML(typ="rt")
    writer.width = 4096
    writer.preserve_quotes = True
    writer.indent(mapping=2, sequence=offset + 2, offset=offset)
    return writer


def _dump(data: object, writer: Any) -> str:
    stream = io.StringIO()
    writer.dump(data, stream)
    return stream.getvalue()
