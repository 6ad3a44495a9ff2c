"""Read one past query against a catalog: the tables it touches, and what it filters, groups and joins them by."""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase

from sqlglot import exp
from sqlglot.errors import SqlglotError
from sqlglot.optimizer.normalize_identifiers import normalize_identifiers
from sqlglot.optimizer.qualify import qualify
from sqlglot.optimizer.scope import Scope, traverse_scope
from sqlglot.schema import MappingSchema

from ktx.catalog import Catalog, Table, TableRef
from ktx.scan.templates import template_text

_LONGEST = 120
_DEFAULT_SCHEMAS = {"postgres": "public", "redshift": "public", "duckdb": "main", "tsql": "dbo"}
Join = tuple[TableRef, tuple[str, ...], TableRef, tuple[str, ...]]


@dataclass(frozen=True, kw_only=True)
class ObservedJoin:
    """Two tables that past queries joined on these columns, in pairs, so many times."""

    left: TableRef
    left_columns: tuple[str, ...]
    right: TableRef
    right_columns: tuple[str, ...]
    executions: int


@dataclass(frozen=True, kw_only=True)
class Reading:
    """What a query does with tables of the catalog. Texts hold columns, operators and `?`, and no value.

    A join names its lesser side first, its columns in pairs. `is_qualified` is False when columns without a table in front
    could not all be attributed.
    """

    tables: tuple[TableRef, ...] = ()
    filters: tuple[tuple[TableRef, str], ...] = ()
    group_bys: tuple[tuple[TableRef, str], ...] = ()
    joins: tuple[Join, ...] = ()
    is_qualified: bool = True


class TableIndex:
    """The tables in scope, found by the names that a query may call them.

    `tables` and `schemas` are patterns that bound it further; a bare name that two schemas have is nobody's.
    """

    def __init__(self, catalog: Catalog, *, tables: Sequence[str] = (), schemas: Sequence[str] = ()) -> None:
        self.dialect = catalog.dialect
        self.tables: Mapping[TableRef, Table] = {
            table.ref: table for table in catalog.tables if _is_in_scope(table.ref, tables, schemas)
        }
        names: defaultdict[tuple[str, ...], list[TableRef]] = defaultdict(list)
        for ref in self.tables:
            for start in range(len(ref.parts)):
                names[ref.parts[start:]].append(ref)
        self._names = names

    def find(self, table: exp.Table, *, schema: str | None) -> TableRef | None:
        """Give the table that a name means, in a session whose default schema is `schema`."""
        parts = tuple(part for part in (table.catalog, table.db, table.name) if part)
        default = schema or _DEFAULT_SCHEMAS.get(self.dialect)
        tries = [parts]
        if len(parts) == 1 and default:
            tries.insert(0, (default, *parts))
        tries.extend(parts[start:] for start in range(1, len(parts) - 1))
        for names in tries:
            found = self._names.get(names, [])
            if len(found) == 1:
                return found[0]
        return None


def _is_in_scope(ref: TableRef, tables: Sequence[str], schemas: Sequence[str]) -> bool:
    if schemas and "*" not in schemas and ref.schema not in schemas:
        return False
    return not tables or any(
        fnmatchcase(".".join(ref.parts[start:]), pattern)
        for pattern in tables
        for start in range(len(ref.parts))
    )


def read_statement(tree: exp.Query, index: TableIndex, *, schema: str | None) -> Reading:
    """Read a query; tables that are not in the index are left out, with what concerns them."""
    ready = normalize_identifiers(tree.copy(), dialect=index.dialect)
    refs = _rename_tables(ready, index, schema=schema)
    if not refs:
        return Reading()
    try:
        qualified = _qualified(ready.copy(), refs, index)
        is_qualified = True
    except (SqlglotError, RecursionError, KeyError):
        qualified, is_qualified = ready, False
    try:
        scopes = traverse_scope(qualified)
    except (SqlglotError, RecursionError):
        scopes = []
    reader = _Reader(refs, index)
    return Reading(
        tables=tuple(sorted(set(refs.values()))),
        filters=tuple(dict.fromkeys(found for scope in scopes for found in reader.filters(scope))),
        group_bys=tuple(dict.fromkeys(found for scope in scopes for found in reader.group_bys(scope))),
        joins=tuple(dict.fromkeys(found for scope in scopes for found in reader.joins(scope))),
        is_qualified=is_qualified,
    )


def _rename_tables(tree: exp.Query, index: TableIndex, *, schema: str | None) -> dict[str, TableRef]:
    """Give each known table a plain name of its own, its alias kept, so that no quoting or schema is in the way."""
    inner = {cte.alias for cte in tree.find_all(exp.CTE)}
    names: dict[str, TableRef] = {}
    known: dict[TableRef, str] = {}
    for table in list(tree.find_all(exp.Table)):
        if not isinstance(table.this, exp.Identifier) or (table.name in inner and not table.db):
            continue
        ref = index.find(table, schema=schema)
        if ref is None:
            continue
        name = known.setdefault(ref, f"ktx_table_{len(known)}")
        names[name] = ref
        alias = table.alias_or_name
        table.set("this", exp.to_identifier(name, quoted=True))
        table.set("db", None)
        table.set("catalog", None)
        if not table.alias:
            table.set("alias", exp.TableAlias(this=exp.to_identifier(alias, quoted=True)))
    return names


def _qualified(tree: exp.Query, refs: Mapping[str, TableRef], index: TableIndex) -> exp.Expr:
    schema = MappingSchema(dialect=index.dialect, normalize=False)
    for name, ref in refs.items():
        columns = {column.name: "text" for column in index.tables[ref].columns}
        schema.add_table(exp.Table(this=exp.to_identifier(name, quoted=True)), columns, match_depth=False)
    return qualify(
        tree,
        dialect=index.dialect,
        schema=schema,
        expand_stars=False,
        validate_qualify_columns=False,
        quote_identifiers=False,
    )


class _Reader:
    """Follows the columns of a query's scopes to the tables that they come from."""

    def __init__(self, refs: Mapping[str, TableRef], index: TableIndex) -> None:
        self._refs = refs
        self._index = index

    def filters(self, scope: Scope) -> Iterator[tuple[TableRef, str]]:
        """Give each condition of WHERE that concerns one table."""
        where = scope.expression.args.get("where")
        if isinstance(where, exp.Where):
            for condition in _conjuncts(where.this):
                if _pair(condition) is None:
                    yield from self._of_one_table(scope, condition)

    def group_bys(self, scope: Scope) -> Iterator[tuple[TableRef, str]]:
        """Give each expression of GROUP BY that concerns one table."""
        group = scope.expression.args.get("group")
        if isinstance(group, exp.Group):
            for item in group.expressions:
                yield from self._of_one_table(scope, item)

    def joins(self, scope: Scope) -> Iterator[Join]:
        """Give the column pairs that two tables are joined on, in ON or in WHERE."""
        pairs: defaultdict[tuple[str, str], set[tuple[str, TableRef, str, TableRef]]] = defaultdict(set)
        for condition in _join_conditions(scope.expression):
            sides = _pair(condition)
            if sides is None:
                continue
            own, other = self._origin(scope, sides[0]), self._origin(scope, sides[1])
            if own is not None and other is not None:
                near, far = (sides[0].table, own), (sides[1].table, other)
                if (own, near[0]) > (other, far[0]):
                    near, far = far, near
                pairs[near[0], far[0]].add((near[1][1], near[1][0], far[1][1], far[1][0]))
        for found in pairs.values():
            by_tables: defaultdict[tuple[TableRef, TableRef], list[tuple[str, str]]] = defaultdict(list)
            for own_column, own_ref, other_column, other_ref in found:
                by_tables[own_ref, other_ref].append((own_column, other_column))
            for (own_ref, other_ref), columns in sorted(by_tables.items()):
                ordered = sorted(columns)
                yield own_ref, tuple(one for one, _ in ordered), other_ref, tuple(two for _, two in ordered)

    def _of_one_table(self, scope: Scope, part: exp.Expr) -> Iterator[tuple[TableRef, str]]:
        if part.find(exp.Query) is not None:
            return
        columns = list(part.find_all(exp.Column))
        origins = [self._origin(scope, column) for column in columns]
        refs = {origin[0] for origin in origins if origin is not None}
        if not columns or None in origins or len(refs) != 1:
            return
        text = _text(part, self._index.dialect)
        if len(text) <= _LONGEST:
            yield refs.pop(), text

    def _origin(self, scope: Scope, column: exp.Column, *, depth: int = 0) -> tuple[TableRef, str] | None:
        """Follow a column through subqueries and CTEs to a table; None when it is computed or ambiguous."""
        source = scope.sources.get(column.table) if column.table else _only_source(scope)
        if isinstance(source, exp.Table):
            ref = self._refs.get(source.name)
            known = ref is not None and self._index.tables[ref].column(column.name) is not None
            return (ref, column.name) if ref is not None and known else None
        if not isinstance(source, Scope) or depth > 20:
            return None
        inner = source.expression
        if not isinstance(inner, exp.Select):
            return None
        for item in inner.expressions:
            if item.alias_or_name == column.name and isinstance(item.unalias(), exp.Column):
                return self._origin(source, item.unalias(), depth=depth + 1)
        return None


def _only_source(scope: Scope) -> exp.Table | Scope | None:
    sources = list(scope.selected_sources.values())
    return sources[0][1] if len(sources) == 1 else None


def _conjuncts(condition: exp.Expr) -> Iterable[exp.Expr]:
    plain = condition.unnest()
    if isinstance(plain, exp.And):
        for part in plain.flatten():
            yield from _conjuncts(part)
    else:
        yield plain


def _join_conditions(select: exp.Expr) -> Iterator[exp.Expr]:
    for join in select.args.get("joins") or ():
        on = join.args.get("on")
        if isinstance(on, exp.Expr):
            yield from _conjuncts(on)
    where = select.args.get("where")
    if isinstance(where, exp.Where):
        yield from _conjuncts(where.this)


def _pair(condition: exp.Expr) -> tuple[exp.Column, exp.Column] | None:
    """Give the two sides of an equality between columns of two different tables."""
    if not isinstance(condition, exp.EQ):
        return None
    left, right = condition.left, condition.right
    if isinstance(left, exp.Column) and isinstance(right, exp.Column) and left.table != right.table:
        return left, right
    return None


def _text(part: exp.Expr, dialect: str) -> str:
    """Print an expression with bare columns and without its values."""
    if isinstance(part, exp.Column):
        return template_text(exp.column(exp.to_identifier(part.name)), dialect)
    bare = part.copy()
    for column in list(bare.find_all(exp.Column)):
        column.replace(exp.column(exp.to_identifier(column.name)))
    return template_text(bare, dialect)
