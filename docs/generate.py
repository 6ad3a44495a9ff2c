"""Write the parts of the documentation that the code knows best: `python docs/generate.py`. A test holds them current."""

import sys
from collections.abc import Iterator
from pathlib import Path
from types import UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from ktx.config.block import Block, Inert, Secret, documented_key, marks
from ktx.config.connections import SourceConnection, WarehouseConnection
from ktx.config.model import KtxConfig, ModelChoice
from ktx.mcp.reference import render_reference, render_surface

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


PAGES = {
    HERE / "reference" / "config.md": config_reference,
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
