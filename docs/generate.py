"""Write the parts of the documentation that the code knows best: `python docs/generate.py`. A test holds them current."""

import sys
from collections.abc import Iterator
from pathlib import Path
from types import UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from ktx.agents.reference import render_reference as agents_reference
from ktx.config.block import Block, Inert, Secret, documented_key, marks
from ktx.config.connections import SourceConnection, WarehouseConnection
from ktx.config.model import KtxConfig, ModelChoice
from ktx.mcp.reference import render_reference, render_surface
from ktx.semantic.format import (
    ColumnEntry,
    ColumnOverride,
    JoinEntry,
    MeasureEntry,
    NonAdditiveEntry,
    SegmentEntry,
    SourceEntry,
)

HERE = Path(__file__).parent
HEAD = """\
# ktx.yaml

Written by `docs/generate.py` from the types that read the file; do not edit. `ktx admin schema` prints the same as JSON Schema.

Every key is read in snake_case and in camelCase. Any text may be a reference: `env:NAME` reads an environment variable, `file:path` a
file, relative to the project or to `~`. References are resolved when the value is needed; a missing one is an error that names it.
An unknown key is a warning with the nearest known key; a bad value is an error with its line.
"""


def config_reference() -> str:
    """Render the reference of ktx.yaml."""
    parts = [HEAD]
    for name, field in KtxConfig.model_fields.items():
        block = block_of(field.annotation)
        if block is not None:
            parts += [f"## `{name}`", "", field.description or "", "", *table(block), ""]
    parts += [
        "## `connections`",
        "",
        "Warehouses and context sources, by id: letters, digits, `_` and `-`.",
        "",
    ]
    for connection in (*get_args(WarehouseConnection), *get_args(SourceConnection)):
        (driver,) = get_args(connection.model_fields["driver"].annotation)
        parts += [
            f"### `driver: {driver}`",
            "",
            (connection.__doc__ or "").strip(),
            "",
            *table(connection),
            "",
        ]
    return "\n".join(parts).rstrip("\n") + "\n"


def table(block: type[Block]) -> Iterator[str]:
    """Render one block and the blocks in it as a Markdown table."""
    yield "| Key | Value | Default | |"
    yield "|---|---|---|---|"
    yield from rows(block, "")


def rows(block: type[Block], prefix: str) -> Iterator[str]:
    """Render the rows of one block; the keys of inner blocks are dotted."""
    for name, field in block.model_fields.items():
        if name == "driver":
            continue
        key = prefix + documented_key(block, name)
        inner = block_of(field.annotation)
        if inner is not None and not any(isinstance(mark, Inert) for mark in marks(field)):
            yield from rows(inner, f"{key}.")
            continue
        cells = (f"`{key}`", value_of(field), default_of(field), description_of(field))
        yield "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def block_of(annotation: Any) -> type[Block] | None:
    """Give the block that an annotation holds, when that is all it holds (or nothing)."""
    if isinstance(annotation, type) and issubclass(annotation, Block):
        return annotation
    if get_origin(annotation) in (Union, UnionType, Annotated):
        options = [option for option in get_args(annotation) if option is not type(None)]
        if get_origin(annotation) is Annotated or len(options) == 1:
            return block_of(options[0])
    return None


def value_of(field: FieldInfo) -> str:
    """Name the kind of value in plain words."""
    if any(isinstance(mark, Secret) for mark in marks(field)):
        return "secret text"
    return " or ".join(dict.fromkeys(words(field.annotation)))


def words(annotation: Any) -> Iterator[str]:
    """Name each form that a value may take."""
    origin = get_origin(annotation)
    if origin is Annotated:
        yield from words(get_args(annotation)[0])
    elif origin in (Union, UnionType):
        for option in get_args(annotation):
            yield from words(option)
    elif origin is Literal:
        yield from (f"`{choice}`" for choice in get_args(annotation))
    elif origin is tuple:
        inner = get_args(annotation)[0]
        yield (
            "model, `{backend, model}`, or a list"
            if inner is ModelChoice
            else f"list of {' or '.join(words(inner))}"
        )
    elif annotation is type(None):
        return
    elif isinstance(annotation, type) and issubclass(annotation, Block):
        yield f"`{{{', '.join(documented_key(annotation, name) for name in annotation.model_fields)}}}`"
    else:
        yield {str: "text", int: "whole number", float: "number", bool: "true or false"}.get(
            annotation, "mapping"
        )


def default_of(field: FieldInfo) -> str:
    """Show the default; what is absent by default shows nothing."""
    if field.is_required():
        return "required"
    default = field.default
    if default is PydanticUndefined or default is None or default in ((), ""):
        return ""
    if isinstance(default, bool):
        return f"`{str(default).lower()}`"
    return f"`{', '.join(default) if isinstance(default, tuple) else default}`"


def description_of(field: FieldInfo) -> str:
    """Give the description, and why a key without effect has none."""
    inert = [f" Has no effect: {mark.reason}." for mark in marks(field) if isinstance(mark, Inert)]
    return (field.description or "") + "".join(inert)


FILES_HEAD = """\
# Files of the semantic layer

Written by `docs/generate.py` from the types that read the files; do not edit.

A connection's layer is every `.yaml` and `.yml` file under `semantic-layer/<connection>/`, in any folder; names that start with a dot
are left out. A file holds one source, and `name` is its identity: the file's own name does not matter, though ktx writes
`<name>.yaml` where the name is plain. Two files of one name are an error. `_schema/` holds the manifest, which `ktx ingest` writes.

A file with `table` or `sql` is a **standalone source**. A file with neither is an **overlay** on the manifest table of the same name:

- `measures` and `joins` add to what is there; `segments` replace; `descriptions` merge by author, and for showing one, `user` comes
  before `dbt`, `ai` and `db`.
- `columns` adds computed columns, each with an `expr` and a new name; `column_overrides` says more about existing ones.
- `exclude_columns` takes columns away; one that a key or a join needs stays, hidden. `disable_joins` takes a manifest join out on both
  of its sides.
- An overlay on a table that the manifest does not have is left out with a warning.

Files are YAML 1.2: `on`, `yes` and `no` are text, a key occurs once, there is one document per file. An unknown key is an error with its
line and the nearest known key. A file that cannot be used never hides another one: its source is left out, and a question about it is
refused with the reason. `ktx sl validate` lists every problem of a layer with file, line and the way out.

A manifest table also has measures that nobody wrote: `row_count`, and `sum_<column>` and `avg_<column>` of numbers that add up by their
name; keys, codes, dates and places have neither, rates and ratings have no sum. A declared measure of such a name takes its place.

A manifest table without a primary key has an unknown grain. Its rows can be counted and added up; where a question would need to tell
them apart, give it a `grain` in an overlay.
"""
_FILE_PARTS = {
    "A source or overlay": SourceEntry,
    "Entries of `columns`": ColumnEntry,
    "Entries of `measures`": MeasureEntry,
    "`non_additive` of a measure": NonAdditiveEntry,
    "Entries of `segments`": SegmentEntry,
    "Entries of `joins`": JoinEntry,
    "Entries of `column_overrides`": ColumnOverride,
}


def files_reference() -> str:
    """Render the reference of the semantic layer's files."""
    parts = [FILES_HEAD]
    for title, model in _FILE_PARTS.items():
        parts += [
            f"## {title}",
            "",
            (model.__doc__ or "").strip(),
            "",
            "| Key | Value | Default | |",
            "|---|---|---|---|",
        ]
        for name, field in model.model_fields.items():
            cells = (
                f"`{name}`",
                " or ".join(dict.fromkeys(file_words(field.annotation))),
                file_default(field),
                field.description or "",
            )
            parts.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |")
        parts.append("")
    return "\n".join(parts).rstrip("\n") + "\n"


def file_words(annotation: Any) -> Iterator[str]:
    """Name each form that a value of a layer file may take."""
    origin, inner = get_origin(annotation), get_args(annotation)
    if origin in (Union, UnionType):
        for option in inner:
            if option is not type(None):
                yield from file_words(option)
    elif origin is Literal:
        yield from (f"`{choice}`" for choice in inner)
    elif origin is list:
        yield f"list of {' or '.join(dict.fromkeys(file_words(inner[0])))}"
    elif origin is dict:
        yield f"mapping to {' or '.join(dict.fromkeys(file_words(inner[1])))}"
    elif isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield "mapping"
    else:
        yield {str: "text", bool: "`true` or `false`", int: "number", float: "number"}.get(
            annotation, "anything"
        )


def file_default(field: FieldInfo) -> str:
    """Say what holds when the key is not there."""
    if field.is_required():
        return "needed"
    default = field.get_default(call_default_factory=True)
    return "" if default is None or default in ([], {}) else f"`{default}`"


PAGES = {
    HERE / "reference" / "semantic-files.md": files_reference,
    HERE / "reference" / "config.md": config_reference,
    HERE / "reference" / "agents.md": agents_reference,
    HERE / "reference" / "mcp-tools.md": render_reference,
    HERE.parent / "tests" / "mcp" / "surface.json": render_surface,
}


def main() -> None:
    """Write every page that is not current."""
    for path, render in PAGES.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(render(), encoding="utf-8")
        sys.stdout.write(f"{path.relative_to(HERE.parent)}\n")


if __name__ == "__main__":
    main()
