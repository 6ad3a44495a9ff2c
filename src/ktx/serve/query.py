"""Semantic questions: compiled to SQL that is proven right or refused, and run read-only."""

import dataclasses
import json
import threading
import weakref
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Literal, cast

from pydantic import ConfigDict, Field, JsonValue

from ktx.errors import QueryError, UsageError
from ktx.semantic.compile import Compiled, compile_query
from ktx.semantic.plan import OutputColumn, render_plan
from ktx.semantic.query import Query, QueryModel, parse_query
from ktx.semantic.source import Layer
from ktx.serve.answers import CompiledAnswer, QueryAnswer, RowLimitInfo
from ktx.serve.desk import Desk
from ktx.serve.sql import MOST_ROWS
from ktx.serve.values import json_rows
from ktx.yaml import YamlError, parse_yaml

Part = Literal["sql", "plan", "receipt"]
_PARTS: tuple[str, ...] = ("sql", "plan", "receipt")


class QueryInput(QueryModel):
    """A semantic question with the connection it is for and the parts of the answer that are wanted."""

    model_config = ConfigDict(extra="forbid", strict=True)

    connection_id: Annotated[
        str | None,
        Field(
            alias="connectionId", max_length=500, description="needed only when there are several warehouses"
        ),
    ] = None
    include: Annotated[list[Part], Field(max_length=4, description="what to add to the rows")] = Field(
        default_factory=list[Part]
    )


@dataclass(frozen=True, kw_only=True)
class QueryAsk:
    """A semantic question, ready to be compiled."""

    query: Query
    connection_id: str | None = None
    include: tuple[str, ...] = ()
    max_rows: int | None = MOST_ROWS


def parse_ask(data: Mapping[str, object]) -> QueryAsk:
    """Make a question of the arguments of the tool.

    Raises:
        QueryError: something in it is not understood; findings say what.
    """
    rest = {name: value for name, value in data.items() if name not in ("connectionId", "include")}
    connection, include = data.get("connectionId"), data.get("include", ())
    if connection is not None and not isinstance(connection, str):
        message = "`connectionId` must be text."
        raise QueryError(message)
    parts = list(cast("Sequence[object]", include)) if isinstance(include, list | tuple) else [include]
    unknown = [part for part in parts if part not in _PARTS]
    if unknown:
        message = f"`include` cannot hold `{str(unknown[0])[:80]}`."
        raise QueryError(message, hint=f"It may hold {', '.join(f'`{part}`' for part in _PARTS)}.")
    return QueryAsk(
        query=parse_query(rest), connection_id=connection, include=tuple(str(part) for part in parts)
    )


def parse_query_text(text: str) -> dict[str, object]:
    """Read a question from the text of a file, JSON or YAML.

    Raises:
        UsageError: the text is neither, or not a mapping.
    """
    try:
        data: object = json.loads(text)
    except (ValueError, RecursionError) as json_error:
        try:
            data = parse_yaml(text)
        except YamlError as error:
            message = f"The question is neither JSON nor YAML: {json_error}."
            raise UsageError(message, hint='Write for instance {"measures": ["orders.revenue"]}.') from error
    if not isinstance(data, dict):
        message = "The question is not a mapping."
        raise UsageError(message, hint='Write for instance {"measures": ["orders.revenue"]}.')
    return {str(name): value for name, value in cast("dict[object, object]", data).items()}


def merge_options(
    data: Mapping[str, object],
    *,
    measures: Sequence[str] = (),
    dimensions: Sequence[str] = (),
    filters: Sequence[str] = (),
    segments: Sequence[str] = (),
    order_by: Sequence[str] = (),
    via: Sequence[str] = (),
    limit: int | None = None,
    include_empty: bool | None = None,
    fill: str | None = None,
) -> dict[str, object]:
    """Add the options of a command line to a question: lists grow, single values replace.

    `field:granularity` and `field:direction` become objects; `via` is `join`, or `source=join` for one source.
    """
    merged = dict(data)

    def extend(name: str, items: Sequence[object]) -> None:
        if items:
            old = merged.get(name)
            merged[name] = [*(cast("list[object]", old) if isinstance(old, list) else []), *items]

    extend("measures", measures)
    extend("dimensions", [_split(text, "granularity") for text in dimensions])
    extend("filters", filters)
    extend("segments", segments)
    extend("order_by", [_split(text, "direction") for text in order_by])
    if via:
        by_source: dict[str, list[str]] = {}
        for text in via:
            source, equals, step = text.partition("=")
            by_source.setdefault(source.strip() if equals else "*", []).append(
                step.strip() if equals else text
            )
        merged["via"] = by_source
    if limit is not None:
        merged["limit"] = limit
    if include_empty is not None:
        merged["include_empty"] = include_empty
    if fill is not None:
        merged["fill"] = fill
    return merged


def sl_query(desk: Desk, ask: QueryAsk) -> QueryAnswer:
    """Compile a question, run it, and give its rows.

    Raises:
        UsageError: the connection is unknown, or none was named and there are several.
        QueryError: the question is refused.
        LayerError: a part of the layer that it needs cannot be used.
        WarehouseError: the database failed.
    """
    connection_id, compiled = _compiled(desk, ask)
    most = [limit for limit in (compiled.row_limit, ask.max_rows) if limit is not None]
    rows = desk.warehouse(connection_id).run(compiled.tree, max_rows=min(most) if most else None)
    headers = [column.name for column in compiled.columns]
    plain, notes = json_rows(headers, rows.rows)
    warnings = list(compiled.warnings)
    if rows.is_truncated:
        warnings.insert(0, f"Only the first {len(plain)} rows are given; there are more.")
    notes += null_notes(compiled.columns, plain)
    receipt = None
    if "receipt" in ask.include:
        # Imported by those who ask for it: a receipt asks git, an answer does not.
        from ktx.serve.receipts import make_receipt

        receipt = make_receipt(
            desk,
            connection_id,
            compiled,
            segments=ask.query.segments,
            limit=RowLimitInfo(limit=min(most) if most else None, is_hit=rows.is_truncated),
            warnings=warnings,
            notes=notes,
        )
    return QueryAnswer(
        connection_id=connection_id,
        dialect=desk.warehouse(connection_id).dialect,
        headers=headers,
        rows=plain,
        total_rows=len(plain),
        warnings=warnings,
        notes=notes or None,
        sql=compiled.sql if "sql" in ask.include else None,
        plan=plan_value(compiled) if "plan" in ask.include else None,
        receipt=receipt,
    )


def null_notes(columns: Sequence[OutputColumn], rows: Sequence[Sequence[JsonValue]]) -> list[str]:
    """Say which dimensions have a NULL group among the rows, and what it holds."""
    notes: list[str] = []
    for at, column in enumerate(columns):
        count = sum(row[at] is None for row in rows) if column.role == "dimension" else 0
        if count:
            notes.append(
                f"`{column.name}` is NULL in {count} of {len(rows)} rows: what has no `{column.field}` is kept there, not dropped."
            )
    return notes


def sl_compile(desk: Desk, ask: QueryAsk) -> CompiledAnswer:
    """Compile a question and do not run it; the database is not contacted.

    Raises:
        UsageError, QueryError, LayerError: as `sl_query`.
    """
    connection_id, compiled = _compiled(desk, ask)
    return CompiledAnswer(
        connection_id=connection_id,
        dialect=compiled.plan.dialect,
        headers=[column.name for column in compiled.columns],
        sql=compiled.sql,
        warnings=list(compiled.warnings),
        plan=plan_value(compiled) if "plan" in ask.include else None,
    )


def explain(desk: Desk, ask: QueryAsk) -> str:
    """Give the way from a question to its rows, for people."""
    return render_plan(_compiled(desk, ask)[1].plan)


def plan_value(compiled: Compiled) -> JsonValue:
    """Give the plan of a compiled question as JSON."""
    return cast("JsonValue", json.loads(json.dumps(dataclasses.asdict(compiled.plan), default=str)))


def _compiled(desk: Desk, ask: QueryAsk) -> tuple[str, Compiled]:
    connection_id = desk.connection_id(ask.connection_id)
    layer = desk.layer(connection_id)
    if not layer.sources and not layer.broken:
        message = f"Connection `{connection_id}` has no semantic sources yet."
        raise QueryError(message, hint=f"Make them with `ktx ingest {connection_id}`.")
    return connection_id, _compiled_once(layer, ask.query, desk.dialect(connection_id))


_COMPILED: "weakref.WeakKeyDictionary[Layer, OrderedDict[str, Compiled]]" = weakref.WeakKeyDictionary()
_COMPILED_LOCK = threading.Lock()
_MOST_COMPILED = 128


def _compiled_once(layer: Layer, query: Query, dialect: str) -> Compiled:
    """Compile a question, or give what the same question over the same layer came to before, as a copy."""
    asked = f"{dialect} {query!r}"
    with _COMPILED_LOCK:
        kept = _COMPILED.setdefault(layer, OrderedDict())
        found = kept.get(asked)
        if found is not None:
            kept.move_to_end(asked)
    if found is None:
        found = compile_query(layer, query, dialect=dialect)
        with _COMPILED_LOCK:
            kept[asked] = found
            while len(kept) > _MOST_COMPILED:
                kept.popitem(last=False)
    return dataclasses.replace(found, tree=found.tree.copy())


def _split(text: str, key: str) -> object:
    field, colon, last = text.rpartition(":")
    if not colon or not last.strip().isalpha():
        return text
    return {"field": field.strip(), key: last.strip()}
