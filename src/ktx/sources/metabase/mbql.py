"""Metabase's query language in its two forms, the older nested one and MBQL 5's stages, read into one.

A clause is `[op, …]`. MBQL 5 puts its options second (`["field", {…}, 12]`), the older form last (`["field", 12, {…}]`).
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeAlias, cast

from ktx.sources.loose import as_list, as_mapping
from ktx.sources.placing import Unsayable

_MAX_DEPTH = 60

Argument: TypeAlias = "Clause | str | int | float | bool | tuple[Argument, ...] | None"


@dataclass(frozen=True, kw_only=True)
class Clause:
    """An operator with its options and arguments."""

    op: str
    options: Mapping[str, object] = field(default_factory=dict[str, object])
    args: tuple[Argument, ...] = ()

    def clauses(self) -> Iterator["Clause"]:
        """Give this clause and all within it."""
        yield self
        for argument in self.args:
            yield from _clauses(argument)


@dataclass(frozen=True, kw_only=True)
class Join:
    """A join that a query makes by hand; exactly one of `table` and `card` is set where it is plain."""

    alias: str
    strategy: str
    table: int | None
    card: int | None
    conditions: tuple[Argument, ...]


@dataclass(frozen=True, kw_only=True)
class Stage:
    """One level of a query: rows of a table, a card, or of the stage before; or SQL (`native`)."""

    table: int | None = None
    card: int | None = None
    native: str | None = None
    tags: Mapping[str, object] = field(default_factory=dict[str, object])
    filters: tuple[Argument, ...] = ()
    aggregations: tuple[Argument, ...] = ()
    breakouts: tuple[Argument, ...] = ()
    expressions: Mapping[str, Argument] = field(default_factory=dict[str, "Argument"])
    joins: tuple[Join, ...] = ()
    has_order: bool = False
    has_limit: bool = False
    has_fields: bool = False


@dataclass(frozen=True, kw_only=True)
class MbqlQuery:
    """A query as stages, the innermost first."""

    stages: tuple[Stage, ...]

    @property
    def native(self) -> Stage | None:
        """The stage of SQL, where the query is nothing else."""
        return self.stages[0] if len(self.stages) == 1 and self.stages[0].native is not None else None

    def cards(self) -> tuple[int, ...]:
        """Give the ids of the cards that the query is made of, metrics included, sorted."""
        found: set[int] = set()
        for stage in self.stages:
            found |= {join.card for join in stage.joins if join.card is not None}
            if stage.card is not None:
                found.add(stage.card)
            for tag in stage.tags.values():
                card = as_mapping(tag).get("card-id")
                if isinstance(card, int):
                    found.add(card)
            for argument in (*stage.aggregations, *stage.filters, *stage.expressions.values()):
                found |= {
                    clause.args[0]
                    for clause in _clauses(argument)
                    if clause.op == "metric" and clause.args and isinstance(clause.args[0], int)
                }
        return tuple(sorted(found))


def parse_query(data: Mapping[str, object]) -> MbqlQuery:
    """Read a `dataset_query` of either form.

    Raises:
        Unsayable: it has neither form, or is nested too deeply.
    """
    if data.get("lib/type") == "mbql/query" or isinstance(data.get("stages"), Sequence):
        stages = data.get("stages")
        if not isinstance(stages, Sequence) or isinstance(stages, str) or not stages:
            raise Unsayable("parse_error", "The query has no stages.")
        return MbqlQuery(stages=tuple(_stage(_mapping(one)) for one in cast("Sequence[object]", stages)))
    kind = data.get("type")
    if kind == "native":
        return MbqlQuery(stages=(_native(_mapping(data.get("native"))),))
    if kind == "query":
        return MbqlQuery(stages=tuple(_nested(_mapping(data.get("query")), 0)))
    raise Unsayable("parse_error", "The query has a form that is not known.")


def parse_inner(data: Mapping[str, object]) -> MbqlQuery:
    """Read the definition of a segment or an older metric, which is the inside of a query, or a whole one.

    Raises:
        Unsayable: it cannot be read.
    """
    if "stages" in data or "type" in data:
        return parse_query(data)
    return MbqlQuery(stages=tuple(_nested(data, 0)))


def join_ends(join: Join) -> tuple[int, int]:
    """Give the fields of a join: ours, and the one of the joined table.

    Raises:
        Unsayable: it is more than a left join of a table on one equality, which keeps our rows as they are.
    """
    condition = join.conditions[0] if len(join.conditions) == 1 else None
    if (
        join.strategy != "left-join"
        or join.table is None
        or not isinstance(condition, Clause)
        or condition.op != "="
        or len(condition.args) != 2
    ):
        raise Unsayable(
            "expression_not_supported",
            f"The join `{join.alias}` is more than a left join of a table on one equality.",
        )
    ours: list[int] = []
    theirs: list[int] = []
    for side in condition.args:
        if (
            not isinstance(side, Clause)
            or side.op != "field"
            or not side.args
            or not isinstance(side.args[0], int)
        ):
            raise Unsayable(
                "expression_not_supported", f"The join `{join.alias}` does not compare two fields."
            )
        alias = side.options.get("join-alias")
        if alias not in (None, join.alias) or side.options.get("source-field"):
            raise Unsayable("expression_not_supported", f"The join `{join.alias}` starts from another join.")
        (theirs if alias == join.alias else ours).append(side.args[0])
    if len(ours) != 1:
        raise Unsayable("expression_not_supported", f"The join `{join.alias}` does not compare both sides.")
    return ours[0], theirs[0]


def parse_clause(data: object, depth: int = 0) -> Argument:
    """Read a clause, a value, or a list of them.

    Raises:
        Unsayable: it is nested too deeply or holds something else.
    """
    if depth > _MAX_DEPTH:
        raise Unsayable("parse_error", "The query is nested too deeply.")
    if data is None or isinstance(data, str | int | float | bool):
        return data
    if not isinstance(data, Sequence):
        raise Unsayable("parse_error", "The query holds something that is neither a clause nor a value.")
    parts = list(cast("Sequence[object]", data))
    if not parts or not isinstance(parts[0], str):
        return tuple(parse_clause(part, depth + 1) for part in parts)
    op, rest = parts[0].lower().replace("_", "-"), parts[1:]
    options: Mapping[str, object] = {}
    if rest and isinstance(rest[0], Mapping):
        options, rest = cast("Mapping[str, object]", rest[0]), rest[1:]
    elif rest and isinstance(rest[-1], Mapping):
        options, rest = cast("Mapping[str, object]", rest[-1]), rest[:-1]
    elif op in ("field", "expression") and len(rest) > 1 and rest[-1] is None:
        rest = rest[:-1]
    args = tuple(parse_clause(part, depth + 1) for part in rest)
    if op == "field-id":
        op = "field"
    if op == "value" and args:
        return args[0]
    if op == "aggregation-options" and args and isinstance(args[0], Clause):
        inner = args[0]
        return Clause(op=inner.op, options={**inner.options, **options}, args=inner.args)
    if op in ("case", "if") and "default" in options:
        args = (*args, parse_clause(options["default"], depth + 1))
    return Clause(op=op, options=options, args=args)


def _clauses(argument: Argument) -> Iterator[Clause]:
    if isinstance(argument, Clause):
        yield from argument.clauses()
    elif isinstance(argument, tuple):
        for one in argument:
            yield from _clauses(one)


def _mapping(data: object) -> Mapping[str, object]:
    if not isinstance(data, Mapping):
        raise Unsayable("parse_error", "A part of the query is missing.")
    return cast("Mapping[str, object]", data)


def _native(data: Mapping[str, object], key: str = "query") -> Stage:
    sql = data.get(key)
    if not isinstance(sql, str):
        raise Unsayable("parse_error", "The native query has no SQL.")
    return Stage(native=sql, tags=as_mapping(data.get("template-tags")))


def _nested(data: Mapping[str, object], depth: int) -> Iterator[Stage]:
    """Give the stages of the older form, in which a query holds the one before it."""
    if depth > _MAX_DEPTH:
        raise Unsayable("parse_error", "The query is nested too deeply.")
    inner = data.get("source-query")
    if isinstance(inner, Mapping):
        before = cast("Mapping[str, object]", inner)
        if "native" in before:
            yield _native(before, "native")
        else:
            yield from _nested(before, depth + 1)
    yield _stage(data)


def _stage(data: Mapping[str, object]) -> Stage:
    if data.get("lib/type") == "mbql.stage/native" or isinstance(data.get("native"), str):
        return _native(data, "native")
    table, card = _rows_of(data)
    filters = [parse_clause(one) for one in as_list(data.get("filters"))]
    if data.get("filter"):
        filters.append(parse_clause(data["filter"]))
    aggregation = as_list(data.get("aggregation"))
    if aggregation and isinstance(aggregation[0], str):
        aggregation = [aggregation]
    return Stage(
        table=table,
        card=card,
        filters=tuple(conjunct for one in filters for conjunct in _conjuncts(one)),
        aggregations=tuple(parse_clause(one) for one in aggregation),
        breakouts=tuple(parse_clause(one) for one in as_list(data.get("breakout"))),
        expressions=dict(_expressions(data.get("expressions"))),
        joins=tuple(_join(_mapping(one)) for one in as_list(data.get("joins"))),
        has_order=bool(data.get("order-by")),
        has_limit=data.get("limit") is not None or data.get("page") is not None,
        has_fields=bool(as_list(data.get("fields"))),
    )


def _rows_of(data: Mapping[str, object]) -> tuple[int | None, int | None]:
    """Give the table and the card that a stage or a join reads."""
    source = data.get("source-table")
    card = data.get("source-card")
    if isinstance(source, str) and source.startswith("card__") and source[6:].isdigit():
        return None, int(source[6:])
    return (
        source if isinstance(source, int) and not isinstance(source, bool) else None,
        card if isinstance(card, int) and not isinstance(card, bool) else None,
    )


def _conjuncts(argument: Argument) -> Iterator[Argument]:
    if isinstance(argument, Clause) and argument.op == "and":
        for one in argument.args:
            yield from _conjuncts(one)
    else:
        yield argument


def _expressions(data: object) -> Iterator[tuple[str, Argument]]:
    """Give named expressions: a mapping in the older form, a list with the name among the options in MBQL 5."""
    if isinstance(data, Mapping):
        for name, value in cast("Mapping[str, object]", data).items():
            yield str(name), parse_clause(value)
        return
    for one in as_list(data):
        clause = parse_clause(one)
        if isinstance(clause, Clause) and isinstance(clause.options.get("lib/expression-name"), str):
            yield str(clause.options["lib/expression-name"]), clause


def _join(data: Mapping[str, object]) -> Join:
    stages = [_mapping(one) for one in as_list(data.get("stages"))]
    inner: Mapping[str, object] = stages[0] if len(stages) == 1 else {}
    is_plain = not (
        set(inner) - {"lib/type", "source-table", "source-card", "lib/options", "lib/stage-metadata"}
    )
    table, card = _rows_of(inner if stages else data)
    conditions = as_list(data.get("conditions")) or ([data["condition"]] if data.get("condition") else [])
    alias = data.get("alias")
    strategy = data.get("strategy")
    return Join(
        alias=alias if isinstance(alias, str) else "",
        strategy=strategy if isinstance(strategy, str) else "left-join",
        table=table if is_plain and "source-query" not in data else None,
        card=card,
        conditions=tuple(conjunct for one in conditions for conjunct in _conjuncts(parse_clause(one))),
    )
