"""A packed source comes back equal, whatever it holds."""

import random

from ktx.findings import Finding, Place
from ktx.semantic.pack import pack_findings, pack_source, unpack_findings, unpack_source
from ktx.semantic.source import Column, Measure, NonAdditive, Source
from oracle.invent import invent
from oracle.judge import load


def test_packed_sources_come_back_equal() -> None:
    checked = 0
    for seed in range(20):
        for source in load(invent(random.Random(seed))).sources.values():
            assert unpack_source(pack_source(source)) == source
            checked += 1
    assert checked > 60


def test_rare_facts_survive_packing() -> None:
    elsewhere = Place(file="b.yaml", line=3, path="columns[0]")
    source = Source(
        name="a",
        sql="select 1",
        grain=("id",),
        columns=(
            Column(name="id", kind="time", role="time", visibility="hidden", natural_granularity="day", place=elsewhere,
                   descriptions={"user": "é"}, enum_values=("x",)),
        ),
        measures=(
            Measure(name="m", expr="sum(x)", time_dimension="id", is_implicit=True, segments=("s",),
                    non_additive=NonAdditive(dimension="id", window="min", place=elsewhere)),
        ),
        default_time_dimension="id",
        descriptions={"db": "d"},
        place=Place(file="a.yaml", line=1),
    )  # fmt: skip
    assert unpack_source(pack_source(source)) == source


def test_findings_stay_tied_to_the_sources_they_break() -> None:
    first = Finding(level="error", code="x", message="m", where=Place(file="a.yaml", line=2), fix="f")
    second = Finding(level="note", code="y", message="n")
    assert unpack_findings(pack_findings((first, second), {"a": (first,)})) == (
        (first, second),
        {"a": (first,)},
    )
