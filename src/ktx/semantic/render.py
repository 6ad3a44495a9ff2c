"""A composed source as YAML for people, agents and models: manifest, overlay and derived measures put together."""

from io import StringIO
from typing import Protocol, cast

from ruamel.yaml import YAML

from ktx.semantic.source import Column, Join, Measure, Segment, Source


def render_composed(source: Source) -> str:
    """Render a source as it stands once its files are put together; hidden columns are left out."""
    stream = StringIO()
    _writer().dump(_source(source), stream)
    return stream.getvalue()


def _source(source: Source) -> dict[str, object]:
    return _filled(
        name=source.name,
        descriptions=dict(source.descriptions),
        table=source.table,
        sql=source.sql,
        grain=list(source.grain),
        default_time_dimension=source.default_time_dimension,
        columns=[_column(column) for column in source.columns if column.visibility != "hidden"],
        measures=[_measure(measure) for measure in source.measures],
        segments=[_segment(segment) for segment in source.segments],
        joins=[_join(join) for join in source.joins],
    )


def _column(column: Column) -> dict[str, object]:
    return _filled(
        name=column.name,
        type=column.kind,
        role=column.role if column.role != "default" else None,
        visibility=column.visibility if column.visibility != "public" else None,
        expr=column.expr,
        natural_granularity=column.natural_granularity,
        descriptions=dict(column.descriptions),
        enum_values=list(column.enum_values),
    )


def _measure(measure: Measure) -> dict[str, object]:
    bare = measure.non_additive
    return _filled(
        name=measure.name,
        expr=measure.expr,
        filter=measure.filter,
        segments=list(measure.segments),
        time_dimension=measure.time_dimension,
        non_additive={"dimension": bare.dimension, "window": bare.window} if bare else None,
        description=measure.description,
        implicit=measure.is_implicit or None,
    )


def _segment(segment: Segment) -> dict[str, object]:
    return _filled(name=segment.name, expr=segment.expr, description=segment.description)


def _join(join: Join) -> dict[str, object]:
    return _filled(to=join.to, on=join.on, relationship=join.relationship, alias=join.alias)


def _filled(**parts: object) -> dict[str, object]:
    return {name: value for name, value in parts.items() if value not in (None, [], {}, "")}


class _Writer(Protocol):
    def dump(self, data: object, stream: StringIO) -> None: ...


def _writer() -> _Writer:
    writer = YAML()
    writer.width = 4096
    writer.indent(mapping=2, sequence=4, offset=2)
    return cast("_Writer", writer)
