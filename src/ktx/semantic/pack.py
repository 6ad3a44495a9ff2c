"""A composed source as compact text and back, for caches: the same source, without parsing YAML or composing again."""

import json
from collections.abc import Mapping
from typing import Any, cast

from ktx.findings import Finding, Place
from ktx.semantic.source import Column, Join, Measure, NonAdditive, Segment, Source

PACK_VERSION = "2"
"""Changes whenever the packed form, or what loading makes of a file, changes."""


def pack_source(source: Source) -> str:
    """Give a source as text that `unpack_source` turns back into an equal one."""
    file = source.place.file
    return json.dumps(
        [
            source.name,
            source.table,
            source.sql,
            source.grain,
            [
                [c.name, c.kind, c.role, c.visibility, c.expr, c.natural_granularity, dict(c.descriptions), c.enum_values,
                 c.is_typed, _place(c.place, file)]
                for c in source.columns
            ],
            [
                [m.name, m.expr, m.filter, m.segments, m.description, m.time_dimension,
                 None if m.non_additive is None
                 else [m.non_additive.dimension, m.non_additive.window, _place(m.non_additive.place, file)],
                 m.is_implicit, _place(m.place, file)]
                for m in source.measures
            ],
            [[s.name, s.expr, s.description, _place(s.place, file)] for s in source.segments],
            [[j.to, j.on, j.relationship, j.alias, _place(j.place, file)] for j in source.joins],
            source.default_time_dimension,
            dict(source.descriptions),
            [file, source.place.line, source.place.path],
        ],
        ensure_ascii=False,
        separators=(",", ":"),
    )  # fmt: skip


def unpack_source(text: str) -> Source:
    """Give the source that `pack_source` packed."""
    name, table, sql, grain, columns, measures, segments, joins, time, descriptions, spot = cast(
        "list[Any]", json.loads(text)
    )
    file = spot[0]
    return Source(
        name=name,
        table=table,
        sql=sql,
        grain=tuple(grain),
        columns=tuple(
            Column(
                name=c[0], kind=c[1], role=c[2], visibility=c[3], expr=c[4], natural_granularity=c[5], descriptions=c[6],
                enum_values=tuple(c[7]), is_typed=c[8], place=_unplace(c[9], file),
            )
            for c in columns
        ),
        measures=tuple(
            Measure(
                name=m[0], expr=m[1], filter=m[2], segments=tuple(m[3]), description=m[4], time_dimension=m[5],
                non_additive=None if m[6] is None
                else NonAdditive(dimension=m[6][0], window=m[6][1], place=_unplace(m[6][2], file)),
                is_implicit=m[7], place=_unplace(m[8], file),
            )
            for m in measures
        ),
        segments=tuple(
            Segment(name=s[0], expr=s[1], description=s[2], place=_unplace(s[3], file)) for s in segments
        ),
        joins=tuple(
            Join(to=j[0], on=j[1], relationship=j[2], alias=j[3], place=_unplace(j[4], file)) for j in joins
        ),
        default_time_dimension=time,
        descriptions=descriptions,
        place=Place(file=file, line=spot[1], path=spot[2]),
    )  # fmt: skip


def pack_findings(findings: tuple[Finding, ...], broken: Mapping[str, tuple[Finding, ...]]) -> str:
    """Give a layer's findings, and which of them break which source, as text."""
    every = list(dict.fromkeys([*findings, *(one for several in broken.values() for one in several)]))
    number = {one: at for at, one in enumerate(every)}
    return json.dumps(
        [
            [[f.level, f.code, f.message, f.where.file, f.where.line, f.where.path, f.fix] for f in every],
            [number[one] for one in findings],
            {name: [number[one] for one in several] for name, several in broken.items()},
        ],
        ensure_ascii=False,
    )


def unpack_findings(text: str) -> tuple[tuple[Finding, ...], dict[str, tuple[Finding, ...]]]:
    """Give what `pack_findings` packed."""
    packed = cast("tuple[list[list[Any]], list[int], dict[str, list[int]]]", json.loads(text))
    every, findings, broken = packed
    made = [
        Finding(level=f[0], code=f[1], message=f[2], where=Place(file=f[3], line=f[4], path=f[5]), fix=f[6])
        for f in every
    ]
    return tuple(made[at] for at in findings), {
        name: tuple(made[at] for at in several) for name, several in broken.items()
    }


def _place(place: Place, file: str | None) -> list[object]:
    return [place.line, place.path] if place.file == file else [place.line, place.path, place.file]


def _unplace(packed: list[Any], file: str | None) -> Place:
    return Place(file=file if len(packed) == 2 else packed[2], line=packed[0], path=packed[1])
