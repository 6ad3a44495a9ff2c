"""The compiler and the oracle agree, on every engine; and the fuzzer would notice if they did not."""

import datetime as dt
import random
from contextlib import closing
from pathlib import Path

import pytest

from compile.cases import DuckEngine, asked_rows, build_layer, compiled, normal_rows, read_case
from oracle.answer import NoAnswerError, answer
from oracle.ask import ask
from oracle.engines import Database, DuckDb, MariaDb, Postgres, Sqlite
from oracle.fuzz import fuzz
from oracle.invent import invent
from oracle.judge import judge, load
from oracle.record import write_case
from oracle.world import Ask, Col, Compare, Const, Dim, Join, Leaf, Question, Ref, Src, World
from servers.mariadb import MariadbServer
from servers.postgres import PostgresServer

SEED = 20_240_115


def run(database: Database, count: int) -> None:
    outcomes, faults = fuzz(database, count=count, seed=SEED, most=1)
    assert not faults, faults[0]
    assert sum(outcomes.values()) == count
    assert outcomes["right"] > count * 0.6
    assert outcomes["over_refused"] < count * 0.02


@pytest.mark.slow
def test_random_questions_are_answered_right_or_refused_on_duckdb() -> None:
    run(DuckDb(), 1000)


@pytest.mark.slow
def test_random_questions_are_answered_right_or_refused_on_sqlite() -> None:
    run(Sqlite(), 400)


@pytest.mark.slow
def test_random_questions_are_answered_right_or_refused_on_postgres(postgres_server: PostgresServer) -> None:
    database = Postgres(postgres_server.create_database("fuzz"))
    try:
        run(database, 200)
    finally:
        database.connection.close()


@pytest.mark.slow
def test_random_questions_are_answered_right_or_refused_on_mariadb(mariadb_server: MariadbServer) -> None:
    mariadb_server.create_database("fuzz")
    database = MariaDb(
        host=mariadb_server.host,
        port=mariadb_server.port,
        user=mariadb_server.user,
        password=mariadb_server.password,
        database="fuzz",
    )
    try:
        run(database, 200)
    finally:
        database.connection.close()


class Spoilt(DuckDb):
    """DuckDB behind a compiler that drops facts without a dimension row."""

    def run(self, sql: str) -> list[tuple[object, ...]]:
        return super().run(sql.replace("LEFT JOIN", "JOIN"))


class Unordered(DuckDb):
    """DuckDB behind a compiler that sorts the wrong way round."""

    def run(self, sql: str) -> list[tuple[object, ...]]:
        return super().run(sql)[::-1]


@pytest.mark.parametrize("database", [Spoilt, Unordered])
def test_a_compiler_that_goes_wrong_is_caught_and_the_case_is_small(database: type[DuckDb]) -> None:
    outcomes, faults = fuzz(database(), count=300, seed=SEED, most=1)
    assert outcomes["wrong"] == 1
    assert len(faults[0]) < 6000


def shop() -> World:
    """Two customers, one of them without an order; three orders, one of them of nobody."""
    customers = Src(
        name="customers",
        columns=[Col("id", "int"), Col("segment", "str")],
        grain=("id",),
        rows=[{"id": 1, "segment": "ant"}, {"id": 2, "segment": "bee"}],
    )
    orders = Src(
        name="orders",
        columns=[Col("id", "int"), Col("customers_id", "int"), Col("amount", "float"), Col("on_day", "date")],
        grain=("id",),
        rows=[
            {"id": 1, "customers_id": 1, "amount": 10.0, "on_day": dt.date(2024, 1, 1)},
            {"id": 2, "customers_id": 1, "amount": 5.5, "on_day": dt.date(2024, 1, 7)},
            {"id": 3, "customers_id": 9, "amount": 1.0, "on_day": None},
        ],
        measures={"revenue": Leaf("sum", Ref(None, "amount")), "n": Leaf("count_rows")},
    )
    join = Join(source="orders", to="customers", pairs=(("customers_id", "id"),), relationship="many_to_one")
    return World(sources={"customers": customers, "orders": orders}, joins=[join])


BY_SEGMENT = Question(
    measures=(Ask(measure="orders.revenue"), Ask(measure="orders.n")),
    dimensions=(Dim(Ref("customers", "segment")),),
)


def test_the_oracle_keeps_facts_without_a_dimension_and_members_without_facts() -> None:
    assert sorted(answer(shop(), BY_SEGMENT).rows, key=str) == [
        ("ant", 15.5, 2),
        ("bee", None, 0),
        (None, 1.0, 1),
    ]


def test_the_oracle_starts_weeks_on_monday() -> None:
    question = Question(
        measures=(Ask(measure="orders.n"),),
        dimensions=(Dim(Ref("orders", "on_day"), "week"),),
        include_empty=False,
    )
    assert answer(shop(), question).rows == [(dt.date(2024, 1, 1), 2), (None, 1)]


def test_the_oracle_filters_over_a_fan_by_existence() -> None:
    question = Question(
        measures=(Ask(leaf=Leaf("count", Ref("customers", "id")), name="n"),),
        filters=(Compare(">", Ref("orders", "amount"), Const(1)),),
    )
    assert answer(shop(), question).rows == [(1,)]


def test_the_oracle_refuses_what_has_two_meanings() -> None:
    world = shop()
    world.sources["orders"].columns.append(Col("payer_id", "int"))
    for row in world.sources["orders"].rows:
        row["payer_id"] = 2
    for join, alias in ((world.joins[0], "buyer"),):
        join.alias = alias
    world.joins.append(
        Join(
            source="orders",
            to="customers",
            pairs=(("payer_id", "id"),),
            relationship="many_to_one",
            alias="payer",
        )
    )
    with pytest.raises(NoAnswerError):
        answer(world, BY_SEGMENT)


def test_a_question_of_the_fuzzer_can_be_kept_as_a_case(tmp_path: Path) -> None:
    kept = 0
    database = DuckDb()
    with closing(DuckEngine()) as engine:
        for number in range(12):
            rng = random.Random(f"kept/{number}")
            world = invent(rng)
            question = ask(rng, world)
            database.fill(world)
            if judge(database, world, load(world), question).outcome != "right":
                continue
            folder = tmp_path / str(number)
            write_case(world, question, folder, name="kept")
            case = read_case(folder)
            (one,) = case.questions
            engine.build(case.tables)
            made = compiled(build_layer(case.layer, folder, case.files), one.ask, "duckdb")
            assert one.rows is not None
            assert normal_rows(asked_rows(engine, made), is_ordered=False) == normal_rows(
                one.rows, is_ordered=False
            )
            kept += 1
    assert kept > 5
