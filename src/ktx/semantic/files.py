"""The files of one connection's layer: found, read, and parsed one by one, each problem with its line.

Nothing here looks across files; that is `ktx.semantic.compose`. A file that cannot be used becomes findings, and never
keeps the others from loading.
"""

import pathlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, cast

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from ktx.files import leads_out, read_text
from ktx.findings import Finding, Place
from ktx.names import source_file_stem
from ktx.semantic.format import (
    ColumnEntry,
    ColumnOverride,
    JoinEntry,
    MeasureEntry,
    SegmentEntry,
    SourceEntry,
)
from ktx.semantic.kinds import column_kind
from ktx.semantic.manifest import Shard, ShardTable
from ktx.suggest import nearest
from ktx.yaml import Path, YamlError, parse_yaml_with_lines

MANIFEST_FOLDER = "_schema"
_DEPTH_OF_COLUMNS = 4
"""How deep the lines of a manifest go that was found to be right: `tables`, a name, `columns`, a position."""
_ENDINGS = (".yaml", ".yml")
_ENTRY_BY_LIST: dict[str, type[BaseModel]] = {
    "columns": ColumnEntry,
    "measures": MeasureEntry,
    "segments": SegmentEntry,
    "joins": JoinEntry,
    "column_overrides": ColumnOverride,
}
_NOUN_BY_LIST = {
    "columns": "a column",
    "measures": "a measure",
    "segments": "a segment",
    "joins": "a join",
    "column_overrides": "a column override",
}


@dataclass(frozen=True, kw_only=True)
class LayerFile:
    """One file of a layer. `file` is the path that findings show; `text` is None when it could not be read as UTF-8."""

    file: str
    is_manifest: bool
    text: str | None


@dataclass(frozen=True, kw_only=True)
class Spots:
    """A parsed file's path and lines, to point into it."""

    file: str
    lines: Mapping[Path, int] = field(default_factory=dict[Path, int])

    def place(self, *path: str | int) -> Place:
        """Point at a spot in the file, with the line of it or of what encloses it."""
        known = path
        while known and known not in self.lines:
            known = known[:-1]
        return Place(file=self.file, line=self.lines.get(known), path=_dotted(path) or None)


@dataclass(frozen=True, kw_only=True)
class SourceFile:
    """A parsed source file. `entry` is None when it cannot be used; `name` is then the best guess at whom it was about."""

    file: Spots
    name: str
    entry: SourceEntry | None
    findings: tuple[Finding, ...] = ()


@dataclass(frozen=True, kw_only=True)
class ManifestTable:
    """A parsed table of a manifest shard; `table` is None when it cannot be used."""

    file: Spots
    name: str
    table: ShardTable | None
    findings: tuple[Finding, ...] = ()


def layer_paths(folder: pathlib.Path) -> tuple[pathlib.Path, ...]:
    """Give every layer file under a connection's folder, sorted; hidden files and folders are not part of a layer.

    Nor are links that lead out of the project, or to a folder: `refused_links` names those.
    """
    root = folder.parent.parent
    return tuple(sorted(path for path in _walk(folder) if not leads_out(path, root)))


def refused_links(folder: pathlib.Path) -> tuple[Finding, ...]:
    """Name the links under a connection's folder that are not followed."""
    root = folder.parent.parent
    return tuple(
        Finding(
            level="error",
            code="layer-link",
            message=f"The link `{path.name}` is not followed: it leads out of the project, or to a folder.",
            where=Place(file=path.relative_to(root).as_posix()),
            fix="Put the file itself there.",
        )
        for path in sorted(_walk(folder))
        if leads_out(path, root)
    )


def read_layer_file(path: pathlib.Path, *, folder: pathlib.Path) -> LayerFile:
    """Read one file under `folder`, the connection's folder inside the layer."""
    inside = path.relative_to(folder)
    try:
        text = read_text(path)
    except UnicodeDecodeError:
        text = None
    return LayerFile(
        file="/".join((folder.parent.name, folder.name, *inside.parts)),
        is_manifest=inside.parts[0] == MANIFEST_FOLDER,
        text=text,
    )


def parse_source_file(file: LayerFile) -> SourceFile | None:
    """Parse a source or overlay; None for a file with nothing in it."""
    stem = pathlib.PurePosixPath(file.file).stem
    data, spots, problem = _parse(file)
    if problem is not None:
        return SourceFile(file=spots, name=stem, entry=None, findings=(problem,))
    if data is None:
        return None
    if not isinstance(data, dict):
        return SourceFile(file=spots, name=stem, entry=None, findings=(_not_a_mapping(spots, "a source"),))
    mapping = cast("dict[str, Any]", data)
    try:
        entry = SourceEntry.model_validate(mapping)
    except ValidationError as error:
        entry, findings = _second_look(spots, mapping, error)
        if entry is None:
            name = mapping.get("name")
            known = name if isinstance(name, str) and name.strip() else stem
            return SourceFile(file=spots, name=known, entry=None, findings=findings)
    return SourceFile(file=spots, name=entry.name, entry=entry)


def parse_manifest_file(file: LayerFile) -> tuple[tuple[ManifestTable, ...], tuple[Finding, ...]]:
    """Parse a shard table by table; findings that belong to no table come second."""
    data, spots, problem = _parse(file, depth=_DEPTH_OF_COLUMNS)
    if problem is not None:
        return (), (problem,)
    if data is None:
        return (), ()
    tables = cast("dict[str, Any]", data).get("tables") if isinstance(data, dict) else None
    if tables is None and isinstance(data, dict):
        return (), ()
    if not isinstance(tables, dict):
        return (), (_not_a_mapping(spots, "a manifest with `tables`"),)
    mapping = cast("dict[str, Any]", tables)
    for table in mapping.values():
        _plain_types(table)
    try:
        shard = Shard.model_validate(data)
    except ValidationError:
        spots = _parse(file)[1]
        return tuple(_manifest_table(spots, name, table) for name, table in mapping.items()), ()
    return tuple(
        ManifestTable(file=spots, name=name, table=table) for name, table in shard.tables.items()
    ), ()


def file_for(name: str) -> str:
    """Give the file name that a new source called `name` gets."""
    return f"{source_file_stem(name)}.yaml"


def _walk(folder: pathlib.Path) -> Iterator[pathlib.Path]:
    """Give every file with a YAML ending and every link to a folder, refused ones included; a folder that is one gives itself."""
    if folder.is_symlink():
        yield folder
        return
    try:
        children = list(folder.iterdir())
    except (FileNotFoundError, NotADirectoryError):
        return
    for child in children:
        if child.name.startswith("."):
            continue
        if child.is_dir():
            yield from _walk(child)
        elif child.suffix in _ENDINGS and child.is_file():
            yield child


def _parse(file: LayerFile, *, depth: int | None = None) -> tuple[object, Spots, Finding | None]:
    nowhere = Spots(file=file.file)
    if file.text is None:
        problem = Finding(
            level="error",
            code="not-utf8",
            message="The file is not UTF-8 text.",
            where=Place(file=file.file),
            fix="Save it as UTF-8.",
        )
        return None, nowhere, problem
    try:
        data, lines = parse_yaml_with_lines(file.text, depth=depth)
    except YamlError as broken:
        problem = Finding(
            level="error",
            code="yaml-invalid",
            message=f"The file is not valid YAML: {broken.message}.",
            where=Place(file=file.file, line=broken.line),
            fix="Correct the line; the rest of the layer is loaded without this file.",
        )
        return None, nowhere, problem
    return data, Spots(file=file.file, lines=lines), None


def _not_a_mapping(file: Spots, what: str) -> Finding:
    return Finding(
        level="error",
        code="not-a-source",
        message=f"The file does not hold {what}.",
        where=Place(file=file.file, line=1),
        fix="Start it with `name:`, or move it out of the layer.",
    )


def _manifest_table(file: Spots, name: str, table: object) -> ManifestTable:
    try:
        return ManifestTable(file=file, name=name, table=ShardTable.model_validate(table))
    except ValidationError as error:
        findings = tuple(
            _finding(file, ("tables", name, *detail["loc"]), detail, known=()) for detail in _details(error)
        )
        return ManifestTable(file=file, name=name, table=None, findings=findings)


def _plain_types(table: object) -> None:
    """Turn a database's own type names into the layer's four, in place; blank ones go by way of `string`."""
    columns = cast("dict[str, Any]", table).get("columns") if isinstance(table, dict) else None
    if not isinstance(columns, list):
        return
    for column in cast("list[object]", columns):
        if isinstance(column, dict):
            facts = cast("dict[str, Any]", column)
            native = facts.get("type")
            if native is None or (isinstance(native, str) and native not in _KINDS):
                facts["type"] = column_kind(native or "")


_KINDS = frozenset({"string", "number", "time", "boolean"})


def _second_look(
    file: Spots, data: dict[str, Any], error: ValidationError
) -> tuple[SourceEntry | None, tuple[Finding, ...]]:
    """Validate once more with blank values left out (`measures:` with nothing after it says nothing), else explain."""
    details = _details(error)
    blanks = [
        detail["loc"]
        for detail in details
        if detail["input"] is None and detail["type"] not in {"extra_forbidden", "missing"}
    ]
    if blanks:
        plain = _without(data, blanks)
        try:
            return SourceEntry.model_validate(plain), ()
        except ValidationError as again:
            details = _details(again)
    return None, _described(file, data, details)


def describe_problems(file: Spots, data: dict[str, Any], error: ValidationError) -> tuple[Finding, ...]:
    """Give one finding per problem of a source that does not validate, by line."""
    return _described(file, data, _details(error))


def _described(file: Spots, data: dict[str, Any], details: list[ErrorDetails]) -> tuple[Finding, ...]:
    findings = [
        _finding(file, _real_path(data, detail["loc"]), detail, known=_known_keys(detail["loc"]))
        for detail in details
    ]
    return tuple(sorted(dict.fromkeys(findings), key=lambda one: one.where.line or 0))


def _details(error: ValidationError) -> list[ErrorDetails]:
    return error.errors(include_url=False, include_context=True)


def _without(data: dict[str, Any], spots: list[Path]) -> dict[str, Any]:
    """Copy `data` without the keys at `spots`."""
    drop = set(spots)

    def copy(value: object, path: Path) -> object:
        if isinstance(value, dict):
            items = cast("dict[str, object]", value).items()
            return {
                key: copy(inner, (*path, key))
                for key, inner in items
                if not (inner is None and _hits(path, key))
            }
        if isinstance(value, list):
            return [copy(inner, (*path, at)) for at, inner in enumerate(cast("list[object]", value))]
        return value

    def _hits(path: Path, key: str) -> bool:
        here = (*path, key)
        return any(spot[: len(here)] == here for spot in drop)

    return cast("dict[str, Any]", copy(data, ()))


def _real_path(data: object, loc: Path) -> Path:
    """Drop the union branches that pydantic puts into a location."""
    path: list[str | int] = []
    value = data
    for part in loc:
        if isinstance(value, dict):
            mapping = cast("dict[str | int, object]", value)
            if part in mapping:
                path.append(part)
                value = mapping[part]
                continue
            if not path or part == loc[-1]:
                path.append(part)
                break
        elif isinstance(value, list) and isinstance(part, int) and part < len(cast("list[object]", value)):
            path.append(part)
            value = cast("list[object]", value)[part]
    return tuple(path)


def _known_keys(loc: Path) -> tuple[str, ...]:
    model: type[BaseModel] = SourceEntry
    if len(loc) > 2 and isinstance(loc[0], str):
        model = _ENTRY_BY_LIST.get(loc[0], SourceEntry)
    if len(loc) > 3:
        return ()
    return tuple(model.model_fields)


def _finding(file: Spots, path: Path, detail: ErrorDetails, *, known: tuple[str, ...]) -> Finding:
    key = str(path[-1]) if path else ""
    where = file.place(*path)
    owner = _NOUN_BY_LIST.get(str(path[0]), "this part") if len(path) > 1 else "a source"
    match detail["type"]:
        case "extra_forbidden":
            near = nearest(key, known)
            return Finding(
                level="error",
                code="unknown-key",
                message=f"`{key}` is not a key of {owner}.",
                where=where,
                fix=f"Did you mean `{near}`?"
                if near
                else f"Remove it; known keys: {', '.join(known)}."
                if known
                else "Remove it.",
            )
        case "missing":
            return Finding(
                level="error",
                code="missing-key",
                message=f"{owner[0].upper()}{owner[1:]} needs `{key}`.",
                where=where,
                fix=f"Add `{key}:`.",
            )
        case "literal_error":
            expected = str(cast("Mapping[str, object]", detail.get("ctx", {})).get("expected", ""))
            near = nearest(
                str(detail["input"]), [word.strip("'") for word in expected.replace(" or ", ", ").split(", ")]
            )
            return Finding(
                level="error",
                code="bad-value",
                message=f"`{key}` is {_short(detail['input'])}; it may be {expected}.",
                where=where,
                fix=f"Did you mean `{near}`?" if near else None,
            )
        case _:
            return Finding(
                level="error",
                code="bad-value",
                message=f"`{key}` is {_short(detail['input'])}: {_plain_message(detail)}.",
                where=where,
            )


def _plain_message(detail: ErrorDetails) -> str:
    words = {
        "string_type": "text is expected",
        "list_type": "a list is expected",
        "dict_type": "a mapping is expected",
        "model_type": "a mapping is expected",
        "bool_type": "true or false is expected",
        "bool_parsing": "true or false is expected",
    }
    return words.get(detail["type"], detail["msg"].removeprefix("Value error, ").lower())


def _short(value: object) -> str:
    if value is None:
        return "blank"
    if isinstance(value, dict):
        return "a mapping"
    if isinstance(value, list):
        return "a list"
    text = str(value).splitlines()[0] if str(value) else ""
    return f"`{text[:57]}…`" if len(text) > 60 else f"`{text}`"


def _dotted(path: Path) -> str:
    out = ""
    for part in path:
        out += f"[{part}]" if isinstance(part, int) else f".{part}" if out else part
    return out
