"""The SQL of LookML fields, with its references followed: `${TABLE}.x`, `${field}`, `${view.field}`.

References are inlined as text between parentheses, the views behind them stand as marker names until sqlglot has parsed the
whole; then own columns lose the marker and those of other views take the name of their definition or join.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Final

import sqlglot
from sqlglot import exp
from sqlglot.errors import SqlglotError

from ktx.catalog import Table
from ktx.sources.looker.wire import FieldInfo
from ktx.sources.placing import Unsayable, column_of, column_sql

_REFERENCE: Final = re.compile(r"\$\{([^}]*)\}")
_TEMPLATE: Final = re.compile(r"\{%|\{\{|@\{")
_MARK: Final = "_ktx_view_"
_MAX_DEPTH: Final = 25
_MAX_CHARS: Final = 100_000
_RAW: Final = frozenset({"date_raw", "date_time"})


@dataclass(frozen=True, kw_only=True)
class ViewPlace:
    """A view as an explore calls it (`alias`), on its table. `name` is what its definition is called, or its join where
    that brings it in as a role under a name of its own.
    """

    alias: str
    table: Table
    name: str


@dataclass(frozen=True, kw_only=True)
class FieldSql:
    """The fields of one explore, and how to write them for a definition of one of its views."""

    dialect: str
    views: Mapping[str, ViewPlace]
    problems: Mapping[str, Unsayable]
    dimensions: Mapping[str, FieldInfo]
    measures: Mapping[str, FieldInfo]
    measure_name: Callable[[FieldInfo], str]
    _marks: dict[str, str] = field(default_factory=dict[str, str])

    def dimension(self, info: FieldInfo) -> exp.Expr:
        """Give a dimension as SQL of its own view's definition.

        Raises:
            Unsayable: it has a template, or refers to something that is not known.
        """
        return self.tree(self._dimension(info, 0), info.view)

    def tree(self, text: str, own: str, *, qualify_own: str | None = None) -> exp.Expr:
        """Parse resolved text; columns of the view `own` become bare, or qualified by `qualify_own`.

        Raises:
            Unsayable: it is no expression, or names a column that a table does not have.
        """
        try:
            found = [one for one in sqlglot.parse(text, dialect=self.dialect) if one is not None]
        except (SqlglotError, RecursionError):
            raise Unsayable("parse_error", f"`{_shown(text)}` cannot be read as {self.dialect}.") from None
        if len(found) != 1 or not isinstance(found[0], exp.Condition):
            raise Unsayable("parse_error", f"`{_shown(text)}` is not one expression.")
        tree = found[0]
        if tree.find(exp.Query, exp.Subquery) is not None:
            raise Unsayable("expression_not_supported", "It holds a sub-select.")
        marks = {mark: alias for alias, mark in self._marks.items()}
        for column in list(tree.find_all(exp.Column)):
            self._settle(column, own, qualify_own, marks)
        return _bare(tree)

    def resolve(self, sql: str, view: str, depth: int = 0) -> str:
        """Follow the references in SQL of a view.

        Raises:
            Unsayable: it has a template, or refers to something that is not known.
        """
        if depth > _MAX_DEPTH:
            raise Unsayable("unresolved_reference", f"A field of `{view}` refers to itself.")
        if _TEMPLATE.search(sql):
            raise Unsayable("looker_template_unresolved", f"`{_shown(sql)}` is a template.")
        text = _REFERENCE.sub(lambda match: self._referred(match.group(1).strip(), view, depth), sql)
        if len(text) > _MAX_CHARS:
            raise Unsayable(
                "expression_not_supported", "It grows too large when its references are followed."
            )
        return text

    def mark(self, alias: str) -> str:
        """Give the name under which a view stands in text."""
        problem = self.problems.get(alias)
        if problem is not None:
            raise Unsayable(problem.reason, problem.detail)
        if alias not in self.views:
            raise Unsayable("unresolved_reference", f"There is no view `{alias}`.")
        return self._marks.setdefault(alias, f"{_MARK}{len(self._marks)}")

    def _referred(self, name: str, view: str, depth: int) -> str:
        if name == "TABLE":
            return self.mark(view)
        if name.endswith("SQL_TABLE_NAME"):
            raise Unsayable("derived_table_not_supported", f"It reads the derived table `{name}`.")
        full = name if "." in name else f"{view}.{name}"
        measure = self.measures.get(full)
        if measure is not None:
            if measure.view != view:
                detail = f"It combines `{full}` with measures of `{view}`, which Looker does over their joined rows."
                raise Unsayable("expression_not_supported", detail)
            column = column_sql(self.measure_name(measure), self.dialect, of=self.mark(measure.view))
            return column.sql(dialect=self.dialect)
        info = self.dimensions.get(full)
        if info is None:
            raise Unsayable("unresolved_reference", f"There is no field `{full}`.")
        return f"({self._dimension(info, depth + 1)})"

    def _dimension(self, info: FieldInfo, depth: int) -> str:
        if info.sql_case:
            return self._cases(info, depth)
        sql = info.sql if info.sql is not None else f"${{TABLE}}.{info.short}"
        text = self.resolve(sql.strip().removesuffix(";;").strip(), info.view, depth)
        kind = info.type
        if kind in (
            "string",
            "number",
            "yesno",
            "zipcode",
            "date_raw",
            "date_time",
            "time",
            "date",
            "int",
            "unquoted",
        ):
            return text
        if kind == "date_date":
            return f"CAST({text} AS DATE)"
        raise Unsayable("expression_not_supported", f"A dimension of the type `{kind}` has no translation.")

    def _cases(self, info: FieldInfo, depth: int) -> str:
        parts: list[str] = []
        otherwise = ""
        for one in info.sql_case:
            value = exp.Literal.string(one.value).sql(dialect=self.dialect)
            if one.condition:
                parts.append(f"WHEN {self.resolve(one.condition, info.view, depth)} THEN {value}")
            else:
                otherwise = f" ELSE {value}"
        if not parts:
            raise Unsayable("parse_error", f"The cases of `{info.name}` have no conditions.")
        return f"CASE {' '.join(parts)}{otherwise} END"

    def group(self, info: FieldInfo) -> exp.Expr:
        """Give the column or expression behind a field of time, whatever its granularity.

        Raises:
            Unsayable: as for a dimension.
        """
        sql = info.sql if info.sql is not None else f"${{TABLE}}.{info.short}"
        return self.tree(self.resolve(sql, info.view), info.view)

    def _settle(
        self, column: exp.Column, own: str, qualify_own: str | None, marks: Mapping[str, str]
    ) -> None:
        if column.args.get("db") is not None or column.args.get("catalog") is not None:
            raise Unsayable("expression_not_supported", "It looks into a nested column.")
        if isinstance(column.this, exp.Star):
            raise Unsayable("expression_not_supported", "It takes all columns of a table.")
        alias = marks.get(column.table, own if not column.table else "")
        if alias not in self.views:
            raise Unsayable("unresolved_reference", f"There is no table `{column.table}`.")
        place = self.views[alias]
        known = column_of(place.table, column.name)
        name = known.name if known is not None else column.name
        if known is None and f"{alias}.{column.name}" not in self._measure_columns(alias):
            raise Unsayable("unresolved_reference", f"`{place.table.ref}` has no column `{column.name}`.")
        of = (qualify_own if alias == own else None) or (None if alias == own else place.name)
        fresh = column_sql(name, self.dialect, of=of)
        column.set("this", fresh.this)
        column.set("table", fresh.args.get("table"))

    def _measure_columns(self, alias: str) -> frozenset[str]:
        return frozenset(
            f"{alias}.{self.measure_name(one)}" for one in self.measures.values() if one.view == alias
        )


def _bare(tree: exp.Expr) -> exp.Expr:
    """Take off parentheses that hold the whole, or only one column."""
    while isinstance(tree, exp.Paren):
        tree = tree.this
    for paren in list(tree.find_all(exp.Paren)):
        if isinstance(paren.this, exp.Column | exp.Literal | exp.Paren):
            paren.replace(paren.this)
    return tree


def _shown(text: str) -> str:
    return " ".join(text.replace(_MARK, "view ").replace("`", "'").split())[:80]
