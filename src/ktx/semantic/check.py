"""Every rule that a layer must keep, as findings with file, line and the way out: `check_layer`.

The rules that one file can break alone are found while loading; here are those that need the whole layer, the compiler,
or the warehouse's catalog.
"""

from collections.abc import Iterable, Iterator, Mapping

import sqlglot
from sqlglot import exp
from sqlglot.errors import SqlglotError

from ktx.catalog import Catalog, Table, TableRef
from ktx.findings import Finding, Level, Place
from ktx.semantic.compiles import check_source_compiles
from ktx.semantic.source import Column, Join, Layer, Source
from ktx.semantic.tableref import parse_table_ref
from ktx.suggest import did_you_mean, nearest


def check_layer(
    layer: Layer,
    catalog: Catalog | None = None,
    *,
    dialect: str | None = None,
    names: Iterable[str] | None = None,
) -> tuple[Finding, ...]:
    """Check a loaded layer; with a catalog also against the warehouse itself.

    `dialect` is sqlglot's name for the warehouse, taken from the catalog when that is given. `names` keeps the checks to
    these sources. Findings from loading come first.
    """
    spoken = dialect or (catalog.dialect if catalog is not None else None)
    chosen = (
        sorted(layer.sources) if names is None else sorted({name for name in names if name in layer.sources})
    )
    loading = layer.findings if names is None else _about(layer, set(names))
    found: list[Finding] = []
    for name in chosen:
        source = layer.sources[name]
        found += check_joins(layer, source, spoken)
        if spoken is not None:
            found += check_source_compiles(layer, source, dialect=spoken)
        if catalog is not None:
            found += _check_table(source, catalog)
    if names is None:
        found += _check_islands(layer)
    return (*loading, *found)


def _about(layer: Layer, names: set[str]) -> tuple[Finding, ...]:
    files = {layer.sources[name].place.file for name in names if name in layer.sources}
    broken = {id(finding) for name in names for finding in layer.broken.get(name, ())}
    return tuple(f for f in layer.findings if f.where.file in files or id(f) in broken)


def _say(level: Level, code: str, message: str, where: Place, fix: str | None = None) -> Finding:
    return Finding(level=level, code=code, message=message, where=where, fix=fix)


# -- joins ----------------------------------------------------------------------------------------------------------


def check_joins(layer: Layer, source: Source, dialect: str | None) -> Iterator[Finding]:
    """Check that each join of a source leads to a source, over columns that the two have."""
    for join in source.joins:
        target = layer.sources.get(join.to)
        if target is None:
            yield _missing_target(layer, source, join)
            continue
        try:
            tree = sqlglot.parse_one(join.on, into=exp.Condition, dialect=dialect)
        except SqlglotError as error:
            reason = str(error).splitlines()[0]
            yield _say(
                "error",
                "join-unreadable",
                f"The `on` of `{source.name}` to `{join.to}` cannot be read: {reason}",
                join.place,
            )
            continue
        problems = list(_check_on(source, target, join, tree))
        yield from problems
        if not problems:
            yield from _check_relationship(source, target, join, tree)


def _missing_target(layer: Layer, source: Source, join: Join) -> Finding:
    if join.to in layer.broken:
        return _say(
            "error",
            "join-target-broken",
            f"`{source.name}` joins `{join.to}`, whose file cannot be used.",
            join.place,
            layer.broken[join.to][0].message,
        )
    return _say(
        "error",
        "join-target-unknown",
        f"`{source.name}` joins `{join.to}`, which is no source.",
        join.place,
        did_you_mean(join.to, layer.sources).strip()
        or "Name a source exactly as its `name` says, or remove the join.",
    )


def _check_on(source: Source, target: Source, join: Join, tree: exp.Condition) -> Iterator[Finding]:
    """Check that each column of the condition belongs to one of the two sides."""
    for column in tree.find_all(exp.Column):
        side = _side(source, target, join, column)
        if isinstance(side, str):
            yield _say(
                "error", "join-qualifier-unknown", side, join.place, f"Use `{source.name}` and `{join.name}`."
            )
            continue
        if not any(_declares(one, column.name) for one in side):
            owner = side[0].name if len(side) == 1 else f"{source.name}` or `{target.name}"
            known = [known.name for one in side for known in one.columns]
            yield _say(
                "error",
                "join-column-unknown",
                f"The join of `{source.name}` to `{join.name}` uses `{column.name}`, which is no column of `{owner}`."
                f"{did_you_mean(column.name, known)}",
                join.place,
                "Correct the column, or declare it.",
            )


def _side(source: Source, target: Source, join: Join, column: exp.Column) -> tuple[Source, ...] | str:
    """Give the sources that a column of the condition may belong to, or what is wrong with its qualifier."""
    qualifier = column.table
    if not qualifier:
        return (source, target)
    if qualifier == source.name and qualifier == join.name:
        return (source,)
    if qualifier == source.name:
        return (source,)
    if qualifier in {join.name, join.to}:
        return (target,)
    return f"The join of `{source.name}` to `{join.name}` names `{qualifier}`, which is neither side."


def _declares(source: Source, name: str) -> bool:
    folded = name.casefold()
    return any(column.name.casefold() == folded for column in source.columns)


def _check_relationship(source: Source, target: Source, join: Join, tree: exp.Condition) -> Iterator[Finding]:
    """Warn where the promised side is not unique by the equalities of the condition."""
    own, other = _equal_columns(source, join, tree)
    promised: list[tuple[Source, set[str]]] = []
    if join.relationship in {"many_to_one", "one_to_one"}:
        promised.append((target, other))
    if join.relationship in {"one_to_many", "one_to_one"}:
        promised.append((source, own))
    for side, columns in promised:
        if not side.grain:
            yield _say(
                "warning",
                "join-uniqueness-unknown",
                f"`{join.relationship}` from `{source.name}` to `{join.name}` cannot be proven: the grain of `{side.name}` "
                "is unknown.",
                join.place,
                f"Give `{side.name}` a `grain`, if its rows are unique by it.",
            )
        elif not {name.casefold() for name in side.grain} <= columns:
            yield _say(
                "warning",
                "join-uniqueness-unproven",
                f"`{join.relationship}` from `{source.name}` to `{join.name}` is not proven: the condition does not fix the "
                f"grain of `{side.name}` ({', '.join(f'`{name}`' for name in side.grain)}).",
                join.place,
                "Join on the whole grain, or make sure that the condition picks one row.",
            )


def _equal_columns(source: Source, join: Join, tree: exp.Condition) -> tuple[set[str], set[str]]:
    """Give the columns of each side that the condition equates with the other side or with a constant."""
    own: set[str] = set()
    other: set[str] = set()
    parts = list(tree.flatten()) if isinstance(tree, exp.And) else [tree]
    for part in parts:
        inner = part.unnest() if isinstance(part, exp.Paren) else part
        if not isinstance(inner, exp.EQ):
            continue
        for position, side in enumerate((inner.this, inner.expression)):
            if isinstance(side, exp.Column):
                is_self = source.name == join.name
                belongs_here = position == 0 if is_self else side.table == source.name
                (own if belongs_here else other).add(side.name.casefold())
    return own, other


# -- the catalog ----------------------------------------------------------------------------------------------------


def _check_table(source: Source, catalog: Catalog) -> Iterator[Finding]:
    """Check a table source against the warehouse: the table, its columns, and their types."""
    ref = parse_table_ref(source.table) if source.table is not None else None
    if ref is None:
        return
    table = find_table(catalog, ref)
    if table is None:
        known = [str(one.ref) for one in catalog.tables]
        yield _say(
            "error",
            "table-missing",
            f"`{source.name}` stands on `{ref}`, which the warehouse does not have.",
            source.place,
            did_you_mean(str(ref), known).strip()
            or "Correct `table`, or run `ktx ingest` after the warehouse changed.",
        )
        return
    physical = {column.name.casefold(): column for column in table.columns}
    for column in source.columns:
        if column.expr is not None:
            continue
        there = physical.get(column.name.casefold())
        if there is None:
            near = nearest(column.name, [one.name for one in table.columns])
            yield _say(
                "error",
                "column-missing",
                f"`{source.name}.{column.name}` is no column of `{ref}`.",
                column.place,
                f"Did you mean `{near}`?" if near else "Remove it, or give it an `expr`.",
            )
        elif _disagrees(column, there.kind):
            yield _say(
                "warning",
                "type-differs",
                f"`{source.name}.{column.name}` is declared {column.kind}, and the warehouse has `{there.native_type}`.",
                column.place,
                f"Declare `type: {there.kind}`, or convert it in a computed column.",
            )


def find_table(catalog: Catalog, ref: TableRef) -> Table | None:
    """Give the table that a reference means: exactly, else the only one whose last parts agree, ignoring case."""
    exact = catalog.table(ref)
    if exact is not None:
        return exact
    wanted = [part.casefold() for part in ref.parts]
    found = [
        table
        for table in catalog.tables
        if _ends_alike([part.casefold() for part in table.ref.parts], wanted)
    ]
    return found[0] if len(found) == 1 else None


def _ends_alike(one: list[str], other: list[str]) -> bool:
    shared = min(len(one), len(other))
    return one[-shared:] == other[-shared:]


def _disagrees(column: Column, physical: str) -> bool:
    """Tell whether a declared type contradicts the physical one; `string` claims nothing, text may hold times."""
    return column.kind not in {"string", physical} and not (column.kind == "time" and physical == "string")


# -- the whole ------------------------------------------------------------------------------------------------------


def _check_islands(layer: Layer) -> Iterator[Finding]:
    """Note sources that no join connects to the largest group."""
    neighbours: dict[str, set[str]] = {name: set() for name in layer.sources}
    for name, source in layer.sources.items():
        for join in source.joins:
            if join.to in neighbours:
                neighbours[name].add(join.to)
                neighbours[join.to].add(name)
    groups = _groups(neighbours)
    if len(groups) > 1 and len(groups[0]) > 1:
        apart = [name for group in groups[1:] for name in group]
        shown = ", ".join(f"`{name}`" for name in apart[:8]) + (" …" if len(apart) > 8 else "")
        yield _say(
            "note",
            "sources-apart",
            f"{len(apart)} of {len(layer.sources)} sources have no join to the largest group: {shown}.",
            layer.sources[apart[0]].place,
            "Add joins where questions should reach across.",
        )


def _groups(neighbours: Mapping[str, set[str]]) -> list[list[str]]:
    seen: set[str] = set()
    groups: list[list[str]] = []
    for start in neighbours:
        if start in seen:
            continue
        group: list[str] = []
        queue = [start]
        seen.add(start)
        while queue:
            name = queue.pop()
            group.append(name)
            fresh = neighbours[name] - seen
            seen |= fresh
            queue.extend(fresh)
        groups.append(sorted(group))
    return sorted(groups, key=len, reverse=True)
