"""What can be asked once a warehouse was scanned: tables, values, and everything through one search."""

from pathlib import Path

import duckdb
import pytest

from ktx.ingest.pipeline import ingest
from ktx.project import create_project, open_project
from ktx.serve.answers import MissingDetails, TableDetails
from ktx.serve.context import context_pack
from ktx.serve.desk import Desk
from ktx.serve.dictionary import dictionary_search
from ktx.serve.discover import discover_data
from ktx.serve.entities import EntityAsk, entity_details
from serve.projects import CONFIG


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("scanned")
    with duckdb.connect(folder / "shop.duckdb") as database:
        database.execute("CREATE SCHEMA eu; CREATE SCHEMA us")
        for schema in ("eu", "us"):
            database.execute(
                f'CREATE TABLE {schema}.parcels (id INTEGER PRIMARY KEY, carrier VARCHAR, "Weight" DECIMAL(8, 2))'
            )
        database.execute(
            "INSERT INTO eu.parcels SELECT i, ['Österreichische Post', 'Chronopost', 'DHL Express'][1 + i % 3], i"
            " FROM range(60) t(i)"
        )
        database.execute(
            "CREATE TABLE couriers (id INTEGER PRIMARY KEY, parcel_id INTEGER REFERENCES couriers (id))"
        )
        database.execute("COMMENT ON TABLE couriers IS 'People on bikes'")
    create_project(folder, config_text=CONFIG)
    report = ingest(open_project(folder))
    assert all(not one.error for one in report.connections)
    return folder


def details(root: Path, *asks: EntityAsk) -> list[TableDetails | MissingDetails]:
    with Desk(project=open_project(root)) as desk:
        return entity_details(desk, "warehouse", asks).results


def missing(root: Path, ask: EntityAsk) -> tuple[str, list[str] | None]:
    (result,) = details(root, ask)
    assert isinstance(result, MissingDetails)
    return result.error.code, result.error.candidates


def test_a_table_is_described_with_columns_keys_and_comments(root: Path) -> None:
    (table,) = details(root, EntityAsk(text="main.couriers"))
    assert isinstance(table, TableDetails)
    assert (table.comment, table.kind) == ("People on bikes", "table")
    assert [(c.name, c.dimension_type, c.primary_key) for c in table.columns] == [
        ("id", "number", True),
        ("parcel_id", "number", False),
    ]
    (key,) = table.foreign_keys
    assert (key.columns, key.references.name, key.referenced_columns) == (["parcel_id"], "couriers", ["id"])
    assert table.snapshot.sync_id


def test_a_name_in_two_schemas_is_ambiguous_and_names_both(root: Path) -> None:
    code, candidates = missing(root, EntityAsk(text="parcels"))
    assert code == "ambiguous_table"
    assert {candidate[-10:] for candidate in candidates or ()} == {"eu.parcels", "us.parcels"}
    (table,) = details(root, EntityAsk(schema="eu", name="parcels", columns=("weight",)))
    assert isinstance(table, TableDetails)
    assert [column.name for column in table.columns] == ["Weight"]


def test_what_is_not_there_comes_with_what_may_have_been_meant(root: Path) -> None:
    code, candidates = missing(root, EntityAsk(text="curiers"))
    assert code == "table_not_found"
    assert any("couriers" in candidate for candidate in candidates or ())
    assert missing(root, EntityAsk(text="eu.parcels", columns=("carier",))) == (
        "column_not_found",
        ["carrier"],
    )
    assert missing(root, EntityAsk(text="a.b.c.d"))[0] == "table_not_found"


def test_values_are_placed_in_their_spelling(root: Path) -> None:
    with Desk(project=open_project(root)) as desk:
        answer = dictionary_search(desk, ["osterreichische post", "Express", "Hermes"])
    (scope,) = answer.searched
    assert (scope.status, scope.coverage and scope.coverage.profiled_columns) == ("ready", 1)
    whole, part, absent = answer.results
    assert [(m.column_name, m.matched_value, m.cardinality) for m in whole.matches] == [
        ("carrier", "Österreichische Post", 3)
    ]
    assert [m.matched_value for m in part.matches] == ["DHL Express"]
    assert (absent.matches, [m.reason for m in absent.misses]) == ([], ["value_not_in_sample"])


def test_a_value_leads_to_its_column_and_the_column_to_its_table(root: Path) -> None:
    with Desk(project=open_project(root)) as desk:
        first = discover_data(desk, "how much went with Chronopost?").refs[0]
        table = discover_data(desk, "couriers", kinds=("table",)).refs[0]
    assert (first.kind, first.matched_on, first.column_name) == ("sl_dimension", "sample_value", "carrier")
    assert first.table_ref is not None
    assert (first.table_ref.db, first.table_ref.name) == ("eu", "parcels")
    assert (table.kind, table.id.rpartition(".")[2]) == ("table", "couriers")


def test_deleting_the_index_loses_no_value(root: Path) -> None:
    (root / ".ktx" / "index.sqlite").unlink()
    with Desk(project=open_project(root)) as desk:
        assert dictionary_search(desk, ["Chronopost"]).results[0].matches


def test_a_context_pack_spells_the_values_that_a_question_names(root: Path) -> None:
    with Desk(project=open_project(root)) as desk:
        pack = context_pack(desk, "weight of parcels sent by dhl express", tokens=800)
        first = pack.values[0]
        assert (first.column, first.value) == ("carrier", "DHL Express")
        told = {(one.name, column.name) for one in pack.sources for column in one.columns}
        assert {(one.source, one.column) for one in pack.values} <= told
        part = context_pack(desk, "parcels by the osterreichische", tokens=800)
        assert {one.value for one in part.values} == {"Österreichische Post"}
        assert context_pack(desk, "people on bikes", tokens=800).values == []
