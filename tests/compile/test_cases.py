"""Every case of `cases/`, on every engine that is here."""

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from compile.cases import (
    Case,
    DuckEngine,
    Engine,
    MariaEngine,
    PostgresEngine,
    SqliteEngine,
    asked_rows,
    build_layer,
    compiled,
    normal_rows,
    questions,
    read_case,
)
from ktx.errors import KtxError, LayerError, QueryError
from servers.mariadb import MariadbServer
from servers.postgres import PostgresServer

BUILT: dict[str, str] = {}


def build_once(engine: Engine, case: Case) -> None:
    """Build the tables of a case unless they are the ones that already stand."""
    if BUILT.get(engine.dialect) != case.name:
        engine.build(case.tables)
        BUILT[engine.dialect] = case.name


@pytest.fixture(scope="module")
def duckdb_engine() -> Iterator[Engine]:
    with closing(DuckEngine()) as engine:
        yield engine


@pytest.fixture(scope="module")
def sqlite_engine() -> Iterator[Engine]:
    with closing(SqliteEngine()) as engine:
        yield engine


@pytest.fixture(scope="module")
def postgres_engine(postgres_server: PostgresServer) -> Iterator[Engine]:
    with closing(PostgresEngine(postgres_server.create_database("compile_cases"))) as engine:
        yield engine


@pytest.fixture(scope="module")
def mariadb_engine(mariadb_server: MariadbServer) -> Iterator[Engine]:
    mariadb_server.create_database("compile_cases")
    made = MariaEngine(mariadb_server.port, mariadb_server.user, mariadb_server.password, "compile_cases")
    with closing(made) as engine:
        yield engine


@pytest.mark.parametrize("engine_name", ["duckdb", "sqlite", "postgres", "mariadb"])
@pytest.mark.parametrize(("folder", "name"), [pytest.param(f, n, id=f"{f.name}-{n}") for f, n in questions()])
def test_a_question_gives_its_rows_or_its_refusal(
    folder: Path, name: str, engine_name: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    case = read_case(folder)
    question = next(one for one in case.questions if one.name == name)
    if question.engines and engine_name not in question.engines:
        pytest.skip(f"written for {', '.join(question.engines)}")
    engine: Engine = request.getfixturevalue(f"{engine_name}_engine")
    layer = build_layer(case.layer, tmp_path, case.files)
    if question.refused is not None:
        with pytest.raises(KtxError) as caught:
            compiled(layer, question.ask, engine.dialect)
        assert isinstance(caught.value, QueryError | LayerError)
        said = f"{caught.value.message} {caught.value.hint or ''}"
        assert question.refused.casefold() in said.casefold(), said
        return
    made = compiled(layer, question.ask, engine.dialect)
    build_once(engine, case)
    found = normal_rows(asked_rows(engine, made), is_ordered=question.is_ordered)
    if question.rows is not None:
        assert found == normal_rows(question.rows, is_ordered=question.is_ordered), made.sql
    if question.check is not None:
        expected = normal_rows(engine.rows(question.check), is_ordered=question.is_ordered)
        assert found == expected, made.sql
    if question.columns is not None:
        assert [column.name for column in made.columns] == question.columns
