"""Small LookML projects written in a test, over a catalog written in a test."""

from pathlib import Path

from ktx.catalog import Catalog, Column, ColumnKind, Table, TableRef
from ktx.events import ignore
from ktx.sources.definition import Definition
from ktx.sources.evidence import Snapshot
from ktx.sources.lookml.source import LookmlSource
from ktx.sources.source import Interpretation, Target
from ktx.sources.tree import Tree

SHOP = {
    "orders": "id:number user_id:number status amount:number created_at:time is_test:boolean flag:number",
    "users": "id:number name country age:number boss_id:number",
    "items": "id:number order_id:number price:number",
}


def catalog_of(tables: dict[str, str], *, connection_id: str = "wh", dialect: str = "duckdb") -> Catalog:
    """Make a catalog from lines like `id:number name`; a name may hold a schema."""
    return Catalog(
        connection_id=connection_id,
        dialect=dialect,
        tables=tuple(
            Table(ref=ref(name), columns=tuple(column(each) for each in columns.split()))
            for name, columns in sorted(tables.items())
        ),
    )


def ref(name: str) -> TableRef:
    schema, _, short = name.rpartition(".")
    return TableRef(schema=schema or "main", name=short)


def column(text: str) -> Column:
    name, _, kind = text.partition(":")
    kinds: dict[str, ColumnKind] = {"": "string", "number": "number", "time": "time", "boolean": "boolean"}
    return Column(name=name, native_type=kind or "text", kind=kinds[kind])


def write(folder: Path, files: dict[str, str]) -> Path:
    for path, text in files.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text(text)
    return folder


def read(folder: Path, files: dict[str, str], **settings: object) -> tuple[LookmlSource, Snapshot]:
    source = LookmlSource(
        open_tree=lambda: Tree(root=write(folder, files)), connection_id="looker", **settings
    )
    return source, source.fetch(emit=ignore)


def interpreted(
    folder: Path,
    files: dict[str, str],
    tables: dict[str, str] | None = None,
    *,
    dialect: str = "duckdb",
    **settings: object,
) -> Interpretation:
    source, snapshot = read(folder, files, **settings)
    catalog = catalog_of(SHOP if tables is None else tables, dialect=dialect)
    return source.interpret(snapshot, [Target(connection_id="wh", dialect=dialect, catalog=catalog)])


def model(*parts: str) -> dict[str, str]:
    """A project of one model file that holds everything."""
    return {"m.model.lkml": 'connection: "c"\n' + "\n".join(parts)}


def definition(found: Interpretation, name: str) -> Definition:
    return next(one for one in found.definitions if one.name == name)


def measures(found: Interpretation, name: str) -> dict[str, str]:
    """Measures as `expr` or `expr where filter`."""
    return {
        one.name: one.expr + (f" where {one.filter}" if one.filter else "")
        for one in definition(found, name).measures
    }


def computed(found: Interpretation, name: str) -> dict[str, str]:
    return {one.name: one.expr for one in definition(found, name).columns if one.expr}


def joins(found: Interpretation, name: str) -> dict[str, str]:
    return {one.alias or one.to: f"{one.relationship}: {one.on}" for one in definition(found, name).joins}


def problems(found: Interpretation) -> dict[str, str]:
    """What found no place, with its reason."""
    return {one.what: one.reason for one in found.unmapped}


def detail(found: Interpretation, what: str) -> str:
    return next(one.detail for one in found.unmapped if one.what == what)
