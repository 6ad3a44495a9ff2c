"""Relations that must hold between answers, whatever the answers are: no oracle needed."""

import random
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace

import pytest

from ktx.errors import KtxError
from ktx.semantic.compile import compile_query
from ktx.semantic.query import parse_query
from ktx.semantic.source import Layer
from oracle.answer import Map
from oracle.engines import DuckDb
from oracle.invent import invent
from oracle.judge import load, plain
from oracle.world import Ask, Col, Dim, Question, Ref, Src, World

Rows = list[tuple[object, ...]]


class Warehouse:
    """One world in DuckDB, asked through the compiler."""

    def __init__(self, database: DuckDb, world: World) -> None:
        self.world = world
        self.layer: Layer = load(world)
        self.database = database
        database.fill(world)

    def sql(self, question: Question) -> str | None:
        try:
            return compile_query(self.layer, parse_query(question.as_json()), dialect="duckdb").sql
        except KtxError:
            return None

    def rows(self, question: Question) -> Rows | None:
        sql = self.sql(question)
        return None if sql is None else [tuple(plain(cell) for cell in row) for row in self.database.run(sql)]


@pytest.fixture(scope="module")
def warehouses() -> list[Warehouse]:
    return [Warehouse(DuckDb(), invent(random.Random(f"metamorphic/{seed}"))) for seed in range(25)]


def to_one_dims(world: World, home: str) -> list[Dim]:
    """Give the dimensions of a source that keep its rows single."""
    dims = [Dim(Ref(home, col.name)) for col in world.sources[home].columns]
    for way in Map(world).to_one_ways(home):
        dims += [Dim(Ref(way[-1].name, col.name)) for col in world.sources[way[-1].target].columns]
    return dims


def questions(warehouse: Warehouse, rng: random.Random) -> Iterator[tuple[Src, Question]]:
    """Give questions for the row count and the sums of every source, by up to two to-one dimensions."""
    for home, source in warehouse.world.sources.items():
        additive = ["n", *(name for name in source.measures if name.startswith("sum_"))]
        dims = to_one_dims(warehouse.world, home)
        chosen = tuple(dict.fromkeys(rng.sample(dims, min(2, len(dims)))))
        yield (
            source,
            Question(
                measures=tuple(Ask(measure=f"{home}.{name}") for name in additive),
                dimensions=chosen,
                include_empty=False,
            ),
        )


def test_the_order_of_dimensions_and_of_measures_changes_nothing_but_the_order_of_columns(
    warehouses: list[Warehouse],
) -> None:
    compared = 0
    for number, warehouse in enumerate(warehouses):
        for _, question in questions(warehouse, random.Random(number)):
            rows = warehouse.rows(question)
            turned = replace(question, dimensions=question.dimensions[::-1], measures=question.measures[::-1])
            again = warehouse.rows(turned)
            if rows is None or again is None:
                assert rows is again
                continue
            width = len(question.dimensions)
            assert Counter(rows) == Counter((*row[:width][::-1], *row[width:][::-1]) for row in again)
            compared += 1
    assert compared > 50


def test_groups_of_an_additive_measure_add_up_to_its_total(warehouses: list[Warehouse]) -> None:
    compared = 0
    for number, warehouse in enumerate(warehouses):
        for _, question in questions(warehouse, random.Random(number)):
            rows = warehouse.rows(question)
            totals = warehouse.rows(replace(question, dimensions=()))
            if rows is None:
                continue
            assert totals is not None
            for at, total in enumerate(totals[0]):
                parts = [row[len(question.dimensions) + at] for row in rows]
                added = sum(part for part in parts if isinstance(part, float))
                assert added == pytest.approx(total if isinstance(total, float) else 0.0)
            compared += 1
    assert compared > 50


def test_a_filter_its_complement_and_the_unknown_add_up_to_everything(warehouses: list[Warehouse]) -> None:
    compared = 0
    for number, warehouse in enumerate(warehouses):
        rng = random.Random(number)
        for home, source in warehouse.world.sources.items():
            dim = rng.choice(to_one_dims(warehouse.world, home)).ref.sql()
            values = [row[0] for row in warehouse.rows(_listing(home, dim)) or [] if row[0] is not None]
            if not values:
                continue
            value = f"'{values[0]}'" if isinstance(values[0], str) else values[0]
            counts = [
                _count(warehouse, source, text)
                for text in (None, f"{dim} = {value}", f"{dim} <> {value}", f"{dim} is null")
            ]
            assert counts[0] == sum(counts[1:])
            compared += 1
    assert compared > 40


def test_an_unrelated_source_changes_nothing(warehouses: list[Warehouse]) -> None:
    compared = 0
    for number, warehouse in enumerate(warehouses):
        lonely = Src(
            name="lonely",
            columns=[Col("lonely_id", "int"), Col("alone", "float")],
            grain=("lonely_id",),
            rows=[],
        )
        wider = World(sources={"lonely": lonely, **warehouse.world.sources}, joins=warehouse.world.joins)
        layer = load(wider)
        for _, question in questions(warehouse, random.Random(number)):
            before = warehouse.sql(question)
            try:
                after = compile_query(layer, parse_query(question.as_json()), dialect="duckdb").sql
            except KtxError:
                after = None
            assert before == after
            compared += 1
    assert compared > 50


def _listing(home: str, dim: str) -> Question:
    source, _, column = dim.partition(".")
    return Question(
        measures=(Ask(measure=f"{home}.n"),), dimensions=(Dim(Ref(source, column)),), include_empty=False
    )


def _count(warehouse: Warehouse, source: Src, condition: str | None) -> float:
    """Count rows of a source through an inline measure, under a filter given as text."""
    asked = {"measures": [f"{source.name}.n"], "filters": [condition] if condition else []}
    sql = compile_query(warehouse.layer, parse_query(asked), dialect="duckdb").sql
    (row,) = warehouse.database.run(sql)
    return float(str(row[0] or 0))
