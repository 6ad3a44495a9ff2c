"""Small folders and catalogs for tests of sources that are read from files."""

from pathlib import Path
from textwrap import dedent

from ktx.catalog import Catalog, Column, ColumnKind, Table, TableRef
from ktx.sources.source import Target
from ktx.sources.tree import OpenTree, Tree

_NATIVE: dict[str, str] = {
    "number": "INTEGER",
    "string": "VARCHAR",
    "time": "TIMESTAMP",
    "boolean": "BOOLEAN",
}


def write_tree(root: Path, **files: str) -> OpenTree:
    """Write files (`__` in a name is `/`, the last `_` before an ending a dot) and give how to open the folder."""
    for name, text in files.items():
        stem, _, ending = name.rpartition("_")
        write_file(root, f"{stem.replace('__', '/')}.{ending}", text)
    return lambda: Tree(root=root)


def write_file(root: Path, path: str, text: str) -> None:
    """Write one file, its common indentation taken off."""
    file = root / path
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(dedent(text).lstrip("\n"), encoding="utf-8")


def make_target(
    tables: dict[str, dict[str, ColumnKind]], *, connection_id: str = "wh", dialect: str = "duckdb"
) -> Target:
    """Give a target that has these tables: `schema.name` to columns and their kinds."""
    made = [
        Table(
            ref=TableRef(schema=name.rpartition(".")[0] or None, name=name.rpartition(".")[2]),
            columns=tuple(
                Column(name=column, native_type=_NATIVE[kind], kind=kind) for column, kind in columns.items()
            ),
        )
        for name, columns in tables.items()
    ]
    return Target(
        connection_id=connection_id,
        dialect=dialect,
        catalog=Catalog(
            connection_id=connection_id,
            dialect=dialect,
            tables=tuple(sorted(made, key=lambda table: table.ref.parts)),
        ),
    )
