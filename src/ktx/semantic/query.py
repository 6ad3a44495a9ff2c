"""A semantic question as a value, and the strict border that makes one of outside data."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Literal, TypeAlias, cast, get_args

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from ktx.errors import QueryError
from ktx.findings import Finding, Place
from ktx.suggest import did_you_mean

Granularity = Literal["second", "minute", "hour", "day", "week", "month", "quarter", "year"]
GRANULARITIES: tuple[str, ...] = get_args(Granularity)
Direction = Literal["asc", "desc"]
DEFAULT_LIMIT = 1000


@dataclass(frozen=True, kw_only=True)
class Period:
    """A stretch of time as a count of granules: `3 month`."""

    count: int
    granularity: Granularity


@dataclass(frozen=True, kw_only=True)
class MeasureAsk:
    """A measure as asked: a name or an aggregate expression in `expr`, with an own output name when `name` is set.

    At most one of the time shapes is set. `offset` gives the value of that much earlier; `rolling` aggregates the rows
    of the last so many granules; `cumulative` everything up to each granule (within a `Granularity` such as a year when
    that is given); `percent_of_total` divides by the total over the dimensions not listed in `within`.
    """

    expr: str
    name: str | None = None
    filter: str | None = None
    offset: Period | None = None
    rolling: Period | None = None
    cumulative: Literal["all"] | Granularity | None = None
    percent_of_total: bool = False
    within: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class DimensionAsk:
    """A column to group by; `via` names joins that the way to it must take."""

    field: str
    granularity: Granularity | None = None
    via: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class OrderAsk:
    """An output column to sort by, by its output name, its field, or the expression of an unnamed measure."""

    field: str
    direction: Direction = "asc"


@dataclass(frozen=True, kw_only=True)
class Query:
    """A question: what to measure, by what, of which rows, in which order, and how many rows to give back.

    `limit` None means all rows. `via` maps a source or alias to the joins that every way to it must take; the key `*`
    stands for all. `fill` is `zero` when periods without any fact are listed with counts and sums of 0, `null` when they
    are listed with nothing.
    """

    measures: tuple[MeasureAsk, ...] = ()
    dimensions: tuple[DimensionAsk, ...] = ()
    filters: tuple[str, ...] = ()
    segments: tuple[str, ...] = ()
    order_by: tuple[OrderAsk, ...] = ()
    limit: int | None = DEFAULT_LIMIT
    include_empty: bool = True
    via: Mapping[str, tuple[str, ...]] | None = None
    fill: Literal["zero", "null"] | None = None


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)


def _one_or_many(value: object) -> object:
    return [value] if isinstance(value, str) else value


def _direction(value: object) -> object:
    return value.strip().lower() if isinstance(value, str) else value


_Text = Annotated[str, Field(min_length=1, max_length=20_000)]
_Names = Annotated[list[_Text], BeforeValidator(_one_or_many)]


class PeriodModel(_Strict):
    """A stretch of time: so many granules."""

    count: int = Field(ge=1, le=10_000)
    granularity: Annotated[Granularity, BeforeValidator(_direction)]


class MeasureModel(_Strict):
    """A measure with an output name of its own, or seen through time."""

    expr: _Text
    name: Annotated[str, Field(min_length=1, max_length=200)] | None = None
    filter: _Text | None = None
    offset: PeriodModel | None = None
    rolling: PeriodModel | None = None
    cumulative: bool | Granularity | None = None
    percent_of_total: bool = False
    within: _Names = Field(default_factory=list[str])


class DimensionModel(_Strict):
    """A column to group by."""

    field: _Text
    granularity: Annotated[Granularity, BeforeValidator(_direction)] | None = None
    via: _Names = Field(default_factory=list[str])


class OrderModel(_Strict):
    """A column to sort by."""

    field: _Text
    direction: Annotated[Direction, BeforeValidator(_direction)] = "asc"


class QueryModel(_Strict):
    """The question as JSON; its schema is what agents and editors see."""

    measures: list[_Text | MeasureModel] = Field(default_factory=list[_Text | MeasureModel])
    dimensions: list[_Text | DimensionModel] = Field(default_factory=list[_Text | DimensionModel])
    filters: list[str] = Field(default_factory=list[str])
    segments: list[_Text] = Field(default_factory=list[str])
    order_by: list[_Text | OrderModel] = Field(default_factory=list[_Text | OrderModel])
    limit: Annotated[int, Field(ge=0, le=10_000_000)] | None = DEFAULT_LIMIT
    include_empty: bool = True
    via: _Names | dict[str, _Names] | None = None
    fill: Literal["zero", "null"] | Literal[0] | None = None


_MODELS: Mapping[str, type[BaseModel]] = {
    "measures": MeasureModel,
    "dimensions": DimensionModel,
    "order_by": OrderModel,
    "offset": PeriodModel,
    "rolling": PeriodModel,
}
_Error: TypeAlias = Mapping[str, object]


def parse_query(data: object) -> Query:
    """Make a question of outside data, such as parsed JSON.

    >>> parse_query({"measures": ["orders.revenue"], "dimensions": ["customers.segment"]}).dimensions[0].field
    'customers.segment'

    Raises:
        QueryError: with one finding per problem; a misspelt key comes with the nearest known one.
    """
    if not isinstance(data, Mapping):
        raise QueryError(
            f"A question is a mapping with `measures` and `dimensions`, not {_kind(data)}.",
            hint='Write for instance {"measures": ["orders.revenue"], "dimensions": ["customers.segment"]}.',
        )
    try:
        model = QueryModel.model_validate(data)
    except ValidationError as error:
        findings = _findings(error)
        raise QueryError(findings[0].message, hint=findings[0].fix, findings=findings) from None
    return _query(model)


def _query(model: QueryModel) -> Query:
    via: Mapping[str, tuple[str, ...]] | None = None
    if isinstance(model.via, list):
        via = {"*": tuple(model.via)}
    elif model.via is not None:
        via = {name: tuple(steps) for name, steps in model.via.items()}
    return Query(
        measures=tuple(
            MeasureAsk(expr=one) if isinstance(one, str) else _measure(one, index)
            for index, one in enumerate(model.measures)
        ),
        dimensions=tuple(
            DimensionAsk(field=one)
            if isinstance(one, str)
            else DimensionAsk(field=one.field, granularity=one.granularity, via=tuple(one.via))
            for one in model.dimensions
        ),
        filters=tuple(text for text in model.filters if text.strip()),
        segments=tuple(model.segments),
        order_by=tuple(
            _order(one) if isinstance(one, str) else OrderAsk(field=one.field, direction=one.direction)
            for one in model.order_by
        ),
        limit=model.limit,
        include_empty=model.include_empty,
        via=via,
        fill="zero" if model.fill == 0 else model.fill,
    )


def _measure(model: MeasureModel, index: int) -> MeasureAsk:
    cumulative = "all" if model.cumulative is True else (model.cumulative or None)
    shapes = {
        "offset": model.offset is not None,
        "rolling": model.rolling is not None,
        "cumulative": cumulative is not None,
        "percent_of_total": model.percent_of_total,
    }
    asked = [name for name, is_asked in shapes.items() if is_asked]
    if len(asked) > 1:
        raise QueryError(
            f"Measure {index + 1} asks for {' and '.join(f'`{name}`' for name in asked)} at once.",
            hint="Ask for them as two measures.",
        )
    if model.within and not model.percent_of_total:
        raise QueryError(
            f"Measure {index + 1} has `within`, which only means something with `percent_of_total: true`."
        )
    return MeasureAsk(
        expr=model.expr,
        name=model.name,
        filter=model.filter,
        offset=_period(model.offset),
        rolling=_period(model.rolling),
        cumulative=cumulative,
        percent_of_total=model.percent_of_total,
        within=tuple(model.within),
    )


def _period(model: PeriodModel | None) -> Period | None:
    return Period(count=model.count, granularity=model.granularity) if model else None


def _order(text: str) -> OrderAsk:
    """Read `field`, `field desc` or `field:desc`.

    >>> _order("revenue:desc").direction
    'desc'
    """
    for sign in (" ", ":"):
        head, _, last = text.strip().rpartition(sign)
        if head.strip() and last.strip().lower() in get_args(Direction):
            return OrderAsk(field=head.strip(), direction=cast("Direction", last.strip().lower()))
    return OrderAsk(field=text.strip())


def _findings(error: ValidationError) -> tuple[Finding, ...]:
    found: dict[str, Finding] = {}
    for problem in error.errors(include_url=False, include_context=False):
        loc = tuple(part for part in problem["loc"] if not _is_branch(part))
        path = ".".join(str(part) for part in loc)
        if problem["type"] == "string_type" and path in found:
            continue
        finding = _finding(loc, path, problem["type"], problem["msg"], problem["input"])
        if path not in found or problem["type"] == "extra_forbidden":
            found[path] = finding
    deep = tuple(found)
    return tuple(
        finding
        for path, finding in found.items()
        if not any(other != path and other.startswith(f"{path}.") for other in deep)
    )


def _is_branch(part: int | str) -> bool:
    return isinstance(part, str) and (
        part.endswith("Model") or part.startswith(("constrained-", "function-", "literal[", "list[", "dict["))
    )


def _finding(loc: tuple[int | str, ...], path: str, kind: str, text: str, value: object) -> Finding:
    where = Place(path=path)
    if kind == "extra_forbidden":
        key = str(loc[-1])
        parent = next((str(part) for part in reversed(loc[:-1]) if isinstance(part, str)), "")
        known = (_MODELS.get(parent) or QueryModel).model_fields
        return Finding(
            level="error",
            code="query-unknown-key",
            message=f"The question has an unknown key `{key}`{f' in `{parent}`' if parent else ''}."
            + did_you_mean(key, known),
            where=where,
            fix=f"Known keys: {', '.join(known)}.",
        )
    shown = f" (got {value!r})" if isinstance(value, str | int | float | bool) or value is None else ""
    fix = f"Known granularities: {', '.join(GRANULARITIES)}." if "granularity" in path else None
    return Finding(
        level="error",
        code="query-bad-value",
        message=f"The question's `{path}` cannot be used: {text[:1].lower()}{text[1:]}{shown}.",
        where=where,
        fix=fix,
    )


def _kind(value: object) -> str:
    return "nothing" if value is None else f"a {type(value).__name__}"
