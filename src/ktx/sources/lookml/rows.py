"""Where the rows of a view come from: a table of a warehouse, or the SELECT of a derived table."""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

import sqlglot
from sqlglot import exp
from sqlglot.errors import SqlglotError

from ktx.catalog import ColumnKind, Table, TableRef
from ktx.sources.lookml.parse import Block, block_of, text_of
from ktx.sources.lookml.unsayable import Unsayable, ensure_plain
from ktx.sources.source import Target, owners

_TABLE_OF = re.compile(r"\$\{\s*([A-Za-z0-9_]+)\.SQL_TABLE_NAME\s*\}")
_PLACE: Final = "ktx_table_of_"


@dataclass(frozen=True, kw_only=True)
class Rows:
    """A table or a SELECT on one warehouse. `columns` maps folded names to spellings; None when only the SELECT knows them."""

    target: Target
    table: TableRef | None = None
    sql: str | None = None
    columns: Mapping[str, str] | None = None
    kinds: Mapping[str, ColumnKind] = field(default_factory=dict[str, ColumnKind])

    @property
    def dialect(self) -> str:
        """The warehouse's dialect, by sqlglot's name."""
        return self.target.dialect


def find_rows(name: str, block: Block, *, targets: Sequence[Target], other: Callable[[str], Rows]) -> Rows:
    """Find what a view stands for. `other` gives the rows of another view of the model.

    Raises:
        Unsayable: it is a template, not in a warehouse, or a derived table that is not a SELECT.
    """
    derived = block_of(block, "derived_table")
    told = text_of(block, "sql_table_name")
    if derived is not None:
        return _derived(derived, targets, other)
    if told is None:
        return _table(TableRef(name=name), targets, name)
    ensure_plain(told, "`sql_table_name`")
    reference = _TABLE_OF.fullmatch(told.strip())
    if reference is not None:
        return other(reference[1])
    if told.lstrip().startswith("("):
        return _select(told.strip()[1:-1], targets, other)
    return _table(_parsed_name(told, targets), targets, told.strip())


def _table(ref: TableRef, targets: Sequence[Target], shown: str) -> Rows:
    found = owners(targets, ref)
    if not found:
        unscanned = [target.connection_id for target in targets if target.catalog is None]
        why = f" `{unscanned[0]}` has not been scanned." if unscanned else ""
        raise Unsayable("missing_target_table", f"No warehouse has its table `{shown}`.{why}")
    target, table = found[0]
    if len(found) > 1:
        places = ", ".join(f"`{target.connection_id}`: `{table.ref}`" for target, table in found)
        raise Unsayable("multiple_table_references", f"Its table `{shown}` may be any of {places}.")
    return Rows(target=target, table=table.ref, columns=_columns(table), kinds=_kinds(table))


def _columns(table: Table) -> dict[str, str]:
    first = {column.name.casefold(): column.name for column in reversed(table.columns)}
    return dict(reversed(first.items()))


def _kinds(table: Table) -> dict[str, ColumnKind]:
    return {column.name: column.kind for column in table.columns}


def _parsed_name(text: str, targets: Sequence[Target]) -> TableRef:
    for dialect in sorted({target.dialect for target in targets}):
        try:
            found = sqlglot.Dialect.get_or_raise(dialect).parse_into(exp.Table, text.strip())
        except (SqlglotError, RecursionError):
            continue
        one = found[0] if len(found) == 1 else None
        if isinstance(one, exp.Table) and isinstance(one.this, exp.Identifier):
            return TableRef(catalog=one.catalog or None, schema=one.db or None, name=one.name)
    raise Unsayable("parse_error", f"Its `sql_table_name` is not one table: `{text.strip()}`.")


def _derived(block: Block, targets: Sequence[Target], other: Callable[[str], Rows]) -> Rows:
    sql = text_of(block, "sql")
    if sql is None:
        kind = next(
            (each for each in ("explore_source", "sql_create", "create_process") if each in block), "nothing"
        )
        raise Unsayable(
            "derived_table_not_supported", f"Its derived table is built by `{kind}`, not by a SELECT."
        )
    return _select(sql, targets, other)


def _select(sql: str, targets: Sequence[Target], other: Callable[[str], Rows]) -> Rows:
    ensure_plain(sql, "derived table")
    views: list[str] = []

    def placed(match: "re.Match[str]") -> str:
        views.append(match[1])
        return f"{_PLACE}{len(views) - 1}"

    text = _TABLE_OF.sub(placed, sql)
    if "${" in text:
        raise Unsayable(
            "unresolved_reference", "Its derived table uses `${…}` for something else than a table."
        )
    behind = [other(view) for view in views]
    problems: list[Unsayable] = []
    for target in targets:
        try:
            return _select_on(target, text, sql, list(zip(views, behind, strict=True)))
        except Unsayable as problem:
            problems.append(problem)
    raise problems[0] if problems else Unsayable("missing_target_table", "No warehouse is mapped to it.")


def _select_on(target: Target, text: str, original: str, behind: list[tuple[str, Rows]]) -> Rows:
    try:
        trees = [tree for tree in sqlglot.parse(text, dialect=target.dialect) if tree is not None]
    except (SqlglotError, RecursionError) as error:
        raise Unsayable("parse_error", f"Its derived table cannot be read as {target.dialect}.") from error
    trees = [tree for tree in trees if not isinstance(tree, exp.Semicolon)]
    if len(trees) != 1 or not isinstance(trees[0], exp.Query):
        raise Unsayable("derived_table_not_supported", "Its derived table is not one SELECT.")
    tree = trees[0]
    tables = list(tree.find_all(exp.Table))
    names = {cte.alias.casefold() for cte in tree.find_all(exp.CTE)}
    for table in tables:
        if table.name.startswith(_PLACE):
            view, rows = behind[int(table.name.removeprefix(_PLACE))]
            if rows.target != target:
                raise Unsayable(
                    "multiple_table_references", f"Its derived table reads `{view}` of another warehouse."
                )
            table.replace(_in_place(table, view, rows))
        elif table.db or table.name.casefold() not in names:
            _ensure_known(target, table)
    selected = tree.named_selects
    is_listed = bool(selected) and _lists_all(tree)
    return Rows(
        target=target,
        sql=tree.sql(dialect=target.dialect, pretty=True)
        if behind
        else original.strip().rstrip(";").rstrip(),
        columns={name.casefold(): name for name in reversed(selected)} if is_listed else None,
    )


def _lists_all(tree: exp.Query) -> bool:
    """Tell whether the outermost SELECT names every column it gives."""
    return all(not each.is_star and each.output_name for each in tree.selects)


def _in_place(table: exp.Table, view: str, rows: Rows) -> exp.Expr:
    alias = table.alias
    if rows.table is not None:
        found = exp.Table(
            this=exp.to_identifier(rows.table.name),
            db=exp.to_identifier(rows.table.schema) if rows.table.schema else None,
            catalog=exp.to_identifier(rows.table.catalog) if rows.table.catalog else None,
        )
        return exp.alias_(found, alias, table=True) if alias else found
    inner = sqlglot.parse_one(rows.sql or "", dialect=rows.dialect)
    return exp.Subquery(this=inner, alias=exp.TableAlias(this=exp.to_identifier(alias or view)))


def _ensure_known(target: Target, table: exp.Table) -> None:
    if target.catalog is None or not isinstance(table.this, exp.Identifier):
        return  # a function that gives rows has no entry in a catalog
    ref = TableRef(catalog=table.catalog or None, schema=table.db or None, name=table.name)
    if not target.find(ref):
        raise Unsayable(
            "missing_target_table", f"Its derived table reads `{ref}`, which `{target.connection_id}` lacks."
        )
