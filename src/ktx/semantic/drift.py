"""What of a layer no longer fits its warehouse: `check_drift`.

Tables and columns that are gone are found in the catalog. What depends on them is found by the compiler itself: everything is
tried again over a layer that has only what the warehouse still has.
"""

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field, replace

from sqlglot import exp
from sqlglot.errors import SqlglotError
from sqlglot.optimizer.scope import Scope, traverse_scope

from ktx.catalog import Catalog, Table, TableRef
from ktx.errors import QueryError
from ktx.findings import Finding, Place
from ktx.semantic.check import check_joins, check_layer, find_table
from ktx.semantic.compiles import refused_parts
from ktx.semantic.expressions import parse_select
from ktx.semantic.source import Join, Layer, Source
from ktx.semantic.tableref import parse_table_ref
from ktx.suggest import did_you_mean

_SHOWN = 8


@dataclass(frozen=True, kw_only=True)
class Drift:
    """The findings of a layer, and what they leave unusable: whole sources, and names within the others."""

    findings: tuple[Finding, ...]
    lost_sources: frozenset[str] = frozenset()
    lost_parts: Mapping[str, frozenset[str]] = field(default_factory=dict[str, frozenset[str]])


def check_drift(layer: Layer, catalog: Catalog) -> Drift:
    """Check a layer against a catalog and name everything that the difference breaks, down to derived measures and joins."""
    found = list(check_layer(layer, catalog))
    lost: dict[str, str] = {}
    missing: dict[str, frozenset[str]] = {}
    for name, source in layer.sources.items():
        table = _table(source, catalog)
        if source.table is not None and table is None:
            lost[name] = f"`{source.table}`, which the warehouse does not have"
        elif table is not None:
            columns = {column.name.casefold() for column in table.columns}
            missing[name] = frozenset(
                column.name
                for column in source.columns
                if column.expr is None and column.name.casefold() not in columns
            )
        elif source.sql is not None:
            for problem in _check_sql(source, source.sql, catalog):
                found.append(problem)
                lost[name] = "its `sql`, which the warehouse cannot run any more"
    gone = {name: columns for name, columns in missing.items() if columns}
    found += _unknown_tables(layer, catalog)
    if not lost and not gone:
        return Drift(findings=tuple(found))
    said = {(one.code, one.message) for one in found}
    for name in sorted(lost):
        found += _lost_definitions(layer.sources[name], lost[name])
    left, broken_joins = _left(layer, lost.keys(), gone, catalog.dialect)
    found += [one for one in broken_joins if (one.code, one.message) not in said]
    parts = dict(gone)
    for name, source in left.sources.items():
        implicit = {measure.name for measure in source.measures if measure.is_implicit}
        refused = refused_parts(left, source, dialect=catalog.dialect, has_implicit=name in gone)
        for part, finding in refused:
            parts[name] = parts.get(name, frozenset()) | {part}
            if part not in implicit and (finding.code, finding.message) not in said:
                found.append(finding)
    return Drift(findings=tuple(found), lost_sources=frozenset(lost), lost_parts=parts)


def _table(source: Source, catalog: Catalog) -> Table | None:
    ref = parse_table_ref(source.table) if source.table is not None else None
    return find_table(catalog, ref) if ref is not None else None


def _left(
    layer: Layer, lost: Collection[str], gone: Mapping[str, frozenset[str]], dialect: str
) -> tuple[Layer, list[Finding]]:
    """Give the layer without what is gone, and what that does to its joins; a join that is broken is left out as well."""
    sources = {
        name: replace(
            source,
            columns=tuple(one for one in source.columns if one.name not in gone.get(name, frozenset())),
        )
        for name, source in layer.sources.items()
        if name not in lost
    }
    found: list[Finding] = []
    left = replace(layer, sources=sources)
    for name, source in sources.items():
        sound: list[Join] = []
        for join in source.joins:
            if join.to in lost:
                problems = [_lost_join(name, join)]
            else:
                tried = replace(source, joins=(join,))
                problems = [one for one in check_joins(left, tried, dialect) if one.level == "error"]
            found += problems
            if not problems:
                sound.append(join)
        if len(sound) < len(source.joins):
            sources[name] = replace(source, joins=tuple(sound))
    return replace(layer, sources=sources), found


def _lost_join(name: str, join: Join) -> Finding:
    return Finding(
        level="error",
        code="join-lost",
        message=f"`{name}` joins `{join.name}`, whose source `{join.to}` no longer has what it stands on.",
        where=join.place,
        fix=f"Mend `{join.to}` first, or remove the join.",
    )


def _lost_definitions(source: Source, reason: str) -> Iterator[Finding]:
    """Name what a person had defined on a source that is lost; derived measures go without saying."""
    own = [("measure", one.name, one.place) for one in source.measures if not one.is_implicit]
    own += [("segment", one.name, one.place) for one in source.segments]
    own += [("column", one.name, one.place) for one in source.columns if one.expr is not None]
    for kind, name, place in own:
        yield Finding(
            level="error",
            code=f"{kind}-lost",
            message=f"The {kind} `{source.name}.{name}` stands on {reason}.",
            where=place,
            fix=f"Mend `{source.name}`, or remove the {kind}.",
        )


def _check_sql(source: Source, sql: str, catalog: Catalog) -> Iterator[Finding]:
    """Look up the tables of a query and the columns that it plainly takes from them; what is not plain is not judged."""
    try:
        scopes = traverse_scope(parse_select(sql, catalog.dialect).copy())
    except (QueryError, SqlglotError):
        return  # said by the checks of the layer
    for scope in scopes:
        tables = {name: one for name, one in scope.sources.items() if isinstance(one, exp.Table)}
        found = {name: find_table(catalog, _ref(table)) for name, table in tables.items() if table.name}
        for name, table in found.items():
            if table is None:
                ref = str(_ref(tables[name]))
                yield _sql_finding(
                    source, "table", f"`{ref}`, which the warehouse does not have.{_near(ref, catalog)}"
                )
        yield from _check_sql_columns(source, scope, {name: one for name, one in found.items() if one})


def _check_sql_columns(source: Source, scope: Scope, tables: Mapping[str, Table]) -> Iterator[Finding]:
    only = next(iter(tables.values())) if len(tables) == 1 and len(scope.sources) == 1 else None
    selected = scope.expression.named_selects if isinstance(scope.expression, exp.Query) else []
    named = {name.casefold() for name in selected}
    told: set[str] = set()
    for column in scope.columns:
        table = tables.get(column.table) if column.table else only
        if table is None or (not column.table and column.name.casefold() in named):
            continue
        known = [one.name for one in table.columns]
        name = f"{table.ref}.{column.name}"
        if column.name.casefold() in {one.casefold() for one in known} or name in told:
            continue
        told.add(name)
        yield _sql_finding(
            source, "column", f"`{name}`, which is not there.{did_you_mean(column.name, known)}"
        )


def _sql_finding(source: Source, what: str, reason: str) -> Finding:
    return Finding(
        level="error",
        code=f"sql-{what}-missing",
        message=f"`{source.name}` reads in its `sql` {reason}",
        where=source.place,
        fix="Correct the `sql`.",
    )


def _ref(table: exp.Table) -> TableRef:
    return TableRef(catalog=table.catalog or None, schema=table.db or None, name=table.name)


def _near(ref: str, catalog: Catalog) -> str:
    return did_you_mean(ref, [str(table.ref) for table in catalog.tables])


def _unknown_tables(layer: Layer, catalog: Catalog) -> Iterator[Finding]:
    """Note the tables that no source stands on, in one line."""
    known = {table.ref for source in layer.sources.values() if (table := _table(source, catalog)) is not None}
    apart = [str(table.ref) for table in catalog.tables if table.ref not in known]
    if apart:
        shown = ", ".join(f"`{name}`" for name in apart[:_SHOWN]) + (" …" if len(apart) > _SHOWN else "")
        yield Finding(
            level="note",
            code="tables-without-source",
            message=f"{len(apart)} of {len(catalog.tables)} tables of `{catalog.connection_id}` have no source: {shown}.",
            where=Place(),
            fix="`ktx ingest` makes sources of them.",
        )
