"""The dimensions and measures of one view in the layer's words, each translated when it is first asked for."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Final, Protocol

from sqlglot import exp

from ktx.catalog import ColumnKind
from ktx.sources.lookml import filters
from ktx.sources.lookml.expression import OWN, column_of, enclosed, parse_piece
from ktx.sources.lookml.filters import FieldKind
from ktx.sources.lookml.frames import frame_expression, frame_filter, is_time_type, split_frame, tier
from ktx.sources.lookml.parse import (
    Block,
    block_of,
    blocks_of,
    is_yes,
    named_blocks,
    text_of,
    texts_of,
    unquoted,
    words_of,
)
from ktx.sources.lookml.project import Part
from ktx.sources.lookml.rows import Rows
from ktx.sources.lookml.unsayable import Unsayable

_COLUMN_KINDS: Final[Mapping[FieldKind, ColumnKind]] = {
    "string": "string", "number": "number", "yesno": "boolean", "time": "time",
}  # fmt: skip
_AGGREGATES: Final[Mapping[str, type[exp.Expr]]] = {
    "sum": exp.Sum, "average": exp.Avg, "min": exp.Min, "max": exp.Max, "median": exp.Median, "count_distinct": exp.Count,
}  # fmt: skip
_PLAIN_OF: Final = {
    "sum_distinct": "sum", "average_distinct": "average", "median_distinct": "median", "percentile_distinct": "percentile",
}  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Dimension:
    """A dimension, or a dimension group as a time. `expr` has own columns bare and others under their view's name.

    `column` is the physical column where it is no more than that; `entity` is its name in the layer.
    """

    name: str
    block: Block
    kind: FieldKind
    expr: exp.Expr
    entity: str
    column: str | None = None
    labels: tuple[str, ...] = ()
    is_group: bool = False

    @property
    def column_kind(self) -> ColumnKind:
        """Its type in the layer."""
        return _COLUMN_KINDS[self.kind]


class Around(Protocol):
    """What a view's fields know of the other views of their model."""

    def fields(self, view: str) -> "Fields":
        """Give the fields of a view by the name that expressions use; Unsayable when there is none."""
        ...

    def qualifier(self, view: str) -> str:
        """Give the name that qualifies a view's columns."""
        ...


@dataclass(kw_only=True)
class Fields:
    """The fields of a view over its rows."""

    part: Part
    rows: Rows
    around: Around
    used: set[str] = field(default_factory=set[str])
    """Columns of the rows that some expression needs."""
    _done: dict[str, Dimension | Unsayable] = field(default_factory=dict[str, Dimension | Unsayable])
    _open: list[str] = field(default_factory=list[str])

    @cached_property
    def dimensions(self) -> Mapping[str, Block]:
        """Dimensions as written."""
        return named_blocks(self.part.block, "dimensions")

    @cached_property
    def groups(self) -> Mapping[str, Block]:
        """Dimension groups as written."""
        return named_blocks(self.part.block, "dimension_groups")

    @cached_property
    def measures(self) -> Mapping[str, Block]:
        """Measures as written."""
        return named_blocks(self.part.block, "measures")

    @cached_property
    def asked(self) -> frozenset[str]:
        """Names of what a user fills in: parameters, and fields that only filter."""
        return frozenset(named_blocks(self.part.block, "parameters")) | frozenset(
            named_blocks(self.part.block, "filters")
        )

    def dimension(self, name: str) -> Dimension:
        """Give a dimension or a dimension group.

        Raises:
            Unsayable: there is none of the name, or the layer cannot hold it.
        """
        known = self._done.get(name)
        if known is None:
            if name in self._open:
                raise Unsayable("unresolved_reference", f"`{self.part.name}.{name}` is defined by itself.")
            self._open.append(name)
            try:
                known = self._built(name)
            except Unsayable as problem:
                known = problem
            finally:
                self._open.pop()
            self._done[name] = known
        if isinstance(known, Unsayable):
            raise Unsayable(known.reason, known.detail)
        return known

    def value(self, name: str, *, inline: bool = False) -> exp.Expr:
        """Give what `${name}` stands for, with this view's columns bare.

        A computed dimension is named rather than repeated, unless `inline` is set.
        """
        group = split_frame(name, set(self.groups)) if name not in self.dimensions else None
        found = self.dimension(group[0] if group else name)
        if found.column is not None:
            subject = self._own(found.column)
        else:
            subject = self._inlined(found) if inline else self._named(found)
        return frame_expression(subject, group[1]) if group else subject

    def comparison(self, name: str) -> tuple[exp.Expr, FieldKind]:
        """Give what a filter on a field compares, and as what."""
        if name in self.asked:
            raise Unsayable("looker_template_unresolved", f"`{name}` is filled in by whoever asks.")
        if name in self.measures:
            raise Unsayable("expression_not_supported", f"It filters on the measure `{name}`.")
        group = split_frame(name, set(self.groups)) if name not in self.dimensions else None
        if group:
            return frame_filter(self.value(group[0]), group[1])
        return self.value(name), self.dimension(name).kind

    def condition(
        self, pairs: tuple[tuple[str, str], ...], *, inline_view: str | None = None
    ) -> exp.Expr | None:
        """Give the condition of Looker filters, by field and filter expression; None when nothing is left out."""
        found: list[exp.Expr] = []
        for name, value in pairs:
            view, _, short = name.rpartition(".")
            is_own = view in ("", self.part.name, inline_view)
            owner = self if is_own else self.around.fields(view)
            subject, kind = owner.comparison(short)
            if not is_own:
                subject = qualified(subject, self.around.qualifier(view), owner.rows.dialect)
            one = filters.condition(value, subject, kind)
            if one is not None:
                found.append(one)
        if not found:
            return None
        return found[0] if len(found) == 1 else exp.and_(*found)

    def measure(self, name: str) -> exp.Expr:
        """Give the aggregate of a measure, without its filters.

        Raises:
            Unsayable: the layer cannot hold it.
        """
        block = self.measures[name]
        told = text_of(block, "type") or "string"
        kind = self._home_grain(block, told)
        if kind == "count":
            return exp.Count(this=exp.Star())
        if kind not in _AGGREGATES and kind not in {"number", "percentile"}:
            raise Unsayable("expression_not_supported", f"The layer has no measure of type `{told}`.")
        sql = text_of(block, "sql")
        if sql is None:
            raise Unsayable("parse_error", f"It is a measure of type `{kind}` without `sql`.")
        if kind == "number":
            return self._derived(sql)
        inner = self._piece(sql, what="`sql`")
        if inner.find(exp.AggFunc) is not None:
            raise Unsayable("expression_not_supported", f"It puts `{kind}` around an aggregate.")
        if kind == "percentile":
            return _percentile(inner, text_of(block, "percentile"), self.rows.dialect)
        if kind == "count_distinct":
            return exp.Count(this=exp.Distinct(expressions=[inner]))
        return _AGGREGATES[kind](this=inner)

    def _home_grain(self, block: Block, told: str) -> str:
        """Give the plain type of a `…_distinct` measure whose key is the view's own primary key."""
        plain = _PLAIN_OF.get(told)
        if plain is None:
            return told
        key = text_of(block, "sql_distinct_key")
        if key is not None:
            own = [
                self.value(each, inline=True)
                for each in self.dimensions
                if is_yes(self.dimensions[each], "primary_key")
            ]
            if self._piece(key, what="`sql_distinct_key`", inline=True) not in own:
                raise Unsayable(
                    "expression_not_supported",
                    f"It is a `{told}` whose key is not the primary key of its view.",
                )
        return plain

    def _derived(self, sql: str) -> exp.Expr:
        measures: list[exp.Expr] = []

        def given(name: str) -> exp.Expr:
            view, _, short = name.rpartition(".")
            owner = self if view in ("", self.part.name) else self.around.fields(view)
            if short not in owner.measures:
                return self._field(name, inline=False)
            table = None if owner is self else self.around.qualifier(view)
            found = column_of(short, self.rows.dialect, table=table)
            found.meta["is_measure"] = True
            measures.append(found)
            return found

        tree = parse_piece(sql, self.rows.dialect, what="`sql`", field=given, column=self._written)
        for column in tree.find_all(exp.Column):
            inside = column.find_ancestor(exp.AggFunc, exp.WithinGroup, exp.Filter) is not None
            if bool(column.meta.get("is_measure")) == inside:
                raise Unsayable(
                    "expression_not_supported",
                    "It aggregates a measure again."
                    if inside
                    else f"It uses `{column.name}` outside an aggregate.",
                )
        if not measures and tree.find(exp.AggFunc) is None:
            raise Unsayable("expression_not_supported", "It is a measure without an aggregate.")
        return tree

    def _built(self, name: str) -> Dimension:
        block = self.groups.get(name) or self.dimensions.get(name)
        if block is None:
            if name in self.asked:
                raise Unsayable(
                    "looker_template_unresolved", f"`{self.part.name}.{name}` is filled in by whoever asks."
                )
            if name in self.measures:
                raise Unsayable(
                    "expression_not_supported", f"It uses the measure `{self.part.name}.{name}` as a column."
                )
            raise Unsayable("unresolved_reference", f"The view `{self.part.name}` has no field `{name}`.")
        is_group = name in self.groups
        told = text_of(block, "type") or ("time" if is_group else "string")
        kind, expr, labels = self._typed(name, block, told)
        is_physical = isinstance(expr, exp.Column) and not expr.table and not expr.meta.get("is_computed")
        column = expr.name if is_physical else None
        columns = self.rows.columns
        entity = column if column is not None else name
        if column is None and columns is not None and name.casefold() in columns:
            entity = f"{name}_in_looker"
        return Dimension(
            name=name, block=block, kind=kind, expr=expr, entity=entity, column=column, labels=labels, is_group=is_group
        )  # fmt: skip

    def _typed(self, name: str, block: Block, told: str) -> tuple[FieldKind, exp.Expr, tuple[str, ...]]:
        case = block_of(block, "case")
        if case is not None:
            return "string", *self._case(case)
        if told == "location" or told == "distance" or told == "bin" or told.startswith("duration"):
            raise Unsayable("expression_not_supported", f"The layer has no column of type `{told}`.")
        if "sql_case" in block:
            raise Unsayable("expression_not_supported", "It uses the old `sql_case`.")
        expr = self._piece(text_of(block, "sql") or f"${{TABLE}}.{name}", what="`sql`")
        if expr.find(exp.AggFunc) is not None:
            raise Unsayable("expression_not_supported", "It is a dimension over an aggregate.")
        if told == "tier":
            tree, labels = tier(
                enclosed(expr), texts_of(block, "tiers"), text_of(block, "style") or "classic"
            )
            return "string", tree, labels
        if is_time_type(told):
            self._ensure_time(expr, block)
            return "time", expr, ()
        if told == "yesno" and isinstance(expr, exp.Column) and self.rows.kinds.get(expr.name) == "number":
            return "yesno", exp.NEQ(this=expr, expression=exp.Literal.number(0)), ()
        kinds: Mapping[str, FieldKind] = {"number": "number", "int": "number", "yesno": "yesno"}
        return kinds.get(told, "string"), expr, ()

    def _ensure_time(self, expr: exp.Expr, block: Block) -> None:
        stored = text_of(block, "datatype") or "datetime"
        if stored in {"epoch", "yyyymmdd"}:
            raise Unsayable("expression_not_supported", f"Its column holds a time as `{stored}`.")
        known = self.rows.kinds.get(expr.name) if isinstance(expr, exp.Column) and not expr.table else None
        if known not in (None, "time"):
            raise Unsayable(
                "expression_not_supported",
                f"Its column `{expr.name}` is a {known} in the warehouse, not a time.",
            )

    def _case(self, case: Block) -> tuple[exp.Expr, tuple[str, ...]]:
        whens = [(text_of(each, "sql"), words_of(each, "label")) for each in blocks_of(case, "whens")]
        if not whens or any(sql is None or label is None for sql, label in whens):
            raise Unsayable("parse_error", "Its `case` has a `when` without `sql` or `label`.")
        ifs = [
            exp.If(this=self._piece(sql or "", what="`case`"), true=exp.Literal.string(label or ""))
            for sql, label in whens
        ]
        other = words_of(case, "else")
        default = None if other is None else exp.Literal.string(other)
        labels = [label or "" for _, label in whens] + ([other] if other is not None else [])
        return exp.Case(ifs=ifs, default=default), tuple(dict.fromkeys(labels))

    def _named(self, found: Dimension) -> exp.Expr:
        column = column_of(found.entity, self.rows.dialect)
        column.meta["is_computed"] = True
        return column

    def _inlined(self, found: Dimension) -> exp.Expr:
        told = text_of(found.block, "sql")
        if "case" in found.block or text_of(found.block, "type") == "tier" or told is None:
            if any(column.meta.get("is_computed") for column in found.expr.find_all(exp.Column)):
                raise Unsayable(
                    "expression_not_supported", f"It needs the computed dimension `{found.name}` in place."
                )
            return enclosed(found.expr.copy())
        return enclosed(self._piece(told, what="`sql`", inline=True))

    def _piece(self, text: str, *, what: str, inline: bool = False) -> exp.Expr:
        return parse_piece(
            text,
            self.rows.dialect,
            what=what,
            field=lambda name: self._field(name, inline=inline),
            column=self._written,
        )

    def _field(self, name: str, *, inline: bool) -> exp.Expr:
        view, _, short = name.rpartition(".")
        if short == "SQL_TABLE_NAME" or "::" in name:
            raise Unsayable("expression_not_supported", f"It uses `${{{name}}}` inside an expression.")
        if view in ("", self.part.name):
            return self.value(short, inline=inline)
        owner = self.around.fields(view)
        if owner.rows.target.connection_id != self.rows.target.connection_id:
            raise Unsayable("unresolved_reference", f"It uses `{name}`, which lies on another warehouse.")
        return qualified(owner.value(short, inline=inline), self.around.qualifier(view), self.rows.dialect)

    def _written(self, parts: tuple[str, ...]) -> exp.Expr:
        """Give what a column means that is written out, without `${…}` around its name."""
        first, *rest = parts
        if first in (OWN, self.part.name) and rest:
            return _dotted(self._own(rest[0]), rest[1:])
        if first == OWN:
            raise Unsayable("expression_not_supported", "It uses `${TABLE}` without a column.")
        columns = self.rows.columns
        if not rest or (columns is not None and first.casefold() in columns):
            return _dotted(self._own(first), rest)
        owner = self.around.fields(first)
        return _dotted(
            qualified(owner.physical(rest[0]), self.around.qualifier(first), self.rows.dialect), rest[1:]
        )

    def physical(self, name: str) -> exp.Expr:
        """Give a column of the view's rows by the name that SQL uses."""
        return self._own(name)

    def _own(self, name: str) -> exp.Column:
        columns = self.rows.columns
        if columns is None:
            self.used.add(name)
            return column_of(name, self.rows.dialect)
        spelled = columns.get(name.casefold())
        if spelled is None:
            where = f"`{self.rows.table}`" if self.rows.table is not None else "its derived table"
            raise Unsayable(
                "unresolved_reference", f"It needs the column `{name}`, which {where} does not have."
            )
        self.used.add(spelled)
        return column_of(spelled, self.rows.dialect)


def qualified(tree: exp.Expr, table: str, dialect: str) -> exp.Expr:
    """Give a tree whose bare columns belong to `table`."""

    def change(node: exp.Expr) -> exp.Expr:
        if not isinstance(node, exp.Column) or node.table:
            return node
        found = column_of(node.name, dialect, table=table)
        found.meta.update(node.meta)
        return found

    return tree.copy().transform(change)


def description_of(name: str, block: Block) -> str | None:
    """Give what people wrote about a field: its label where that says more than its name, its description, its tags."""
    label, text = words_of(block, "label"), words_of(block, "description")
    if label is not None and (_plain(label) == _plain(name) or "{{" in label or "{%" in label):
        label = None
    if label is not None and text is not None and _plain(label) in _plain(text):
        label = None
    told = ": ".join(part for part in (label, text) if part)
    tags = ", ".join(unquoted(tag) for tag in texts_of(block, "tags"))
    if told and tags and not told.endswith((".", "!", "?")):
        told += "."
    return " ".join(part for part in (told, f"Tags: {tags}." if tags else "") if part) or None


def _plain(text: str) -> str:
    return "".join(letter for letter in text.casefold() if letter.isalnum())


def _dotted(tree: exp.Expr, rest: list[str]) -> exp.Expr:
    for part in rest:
        tree = exp.Dot(this=tree, expression=exp.to_identifier(part))
    return tree


def _percentile(inner: exp.Expr, told: str | None, dialect: str) -> exp.Expr:
    try:
        share = float(told or "")
    except ValueError:
        raise Unsayable("parse_error", "Its `percentile` is not a number.") from None
    if not 0 <= share <= 100:
        raise Unsayable("parse_error", "Its `percentile` is not between 0 and 100.")
    digits = f"{share / 100:.6f}".rstrip("0").rstrip(".") or "0"
    if dialect in {"databricks", "spark"}:
        return exp.Quantile(
            this=inner, quantile=exp.Literal.number(digits)
        )  # `WITHIN GROUP` would become an estimate
    return exp.WithinGroup(
        this=exp.PercentileCont(this=exp.Literal.number(digits)),
        expression=exp.Order(expressions=[exp.Ordered(this=inner, nulls_first=False)]),
    )
