"""What only MySQL and MariaDB have."""

from pathlib import Path

import pytest

from ktx.errors import WarehouseError
from ktx.warehouse.connect import open_warehouse
from servers.mariadb import MariadbServer
from servers.shop import connection_of


@pytest.fixture(scope="module")
def things(mariadb_server: MariadbServer) -> MariadbServer:
    mariadb_server.create_database("things")
    mariadb_server.execute(
        "things",
        "CREATE TABLE kinds (id INT UNSIGNED PRIMARY KEY, flag TINYINT(1), day DATE, at DATETIME(3), clock TIME, y YEAR,"
        " e ENUM('s', 'm'), doc JSON, raw BLOB, bits BIT(4), big BIGINT UNSIGNED, words TEXT, UNIQUE KEY part (words(5)));"
        "INSERT INTO kinds VALUES (1, 1, '2024-01-02', '2024-01-02 03:04:05.678', '10:11:12', 2024, 's', '{\"a\": 1}',"
        " x'ff00', b'1010', 18446744073709551615, 'Grüße')",
    )
    return mariadb_server


def test_native_types_have_the_right_kinds_and_a_prefix_index_is_no_key(
    things: MariadbServer, tmp_path: Path
) -> None:
    with open_warehouse(
        "m", connection_of({"driver": "mysql", "url": things.url("things")}), tmp_path
    ) as warehouse:
        (table,) = warehouse.read_catalog().tables
        profile = warehouse.profile_table(table)
    assert {column.name: column.kind for column in table.columns} == {
        "id": "number", "flag": "boolean", "day": "time", "at": "time", "clock": "time", "y": "number", "e": "string",
        "doc": "string", "raw": "string", "bits": "string", "big": "number", "words": "string",
    }  # fmt: skip
    assert table.unique_keys == ()
    assert table.primary_key == ("id",)
    assert all(column.distinct_count == 1 for column in profile.columns)
    words = profile.column("words")
    assert words is not None
    assert (words.max_length, words.top_values) == (5, (("Grüße", 1),))


def test_database_of_the_address_is_the_scope(things: MariadbServer, tmp_path: Path) -> None:
    things.create_database("elsewhere")
    things.execute("elsewhere", "CREATE TABLE other (a INT)")
    settings = {"driver": "mysql", "host": things.host, "port": things.port, "user": things.user,
                "password": things.password, "database": "elsewhere"}  # fmt: skip
    with open_warehouse("m", connection_of(settings), tmp_path) as warehouse:
        assert [str(table.ref) for table in warehouse.read_catalog().tables] == ["elsewhere.other"]


def test_wrong_password_is_told_without_the_password(things: MariadbServer, tmp_path: Path) -> None:
    url = f"mysql://{things.user}:wr0ng-secret@{things.host}:{things.port}/things"
    connection = connection_of({"driver": "mysql", "url": url})
    with (
        open_warehouse("m", connection, tmp_path) as warehouse,
        pytest.raises(WarehouseError, match="Access denied") as caught,
    ):
        warehouse.test()
    assert "wr0ng-secret" not in f"{caught.value.message} {caught.value.hint} {caught.value.__cause__}"


def test_reader_without_privileges_sees_nothing_and_no_error(things: MariadbServer, tmp_path: Path) -> None:
    settings = {"driver": "mysql", "host": things.host, "port": things.port, "user": things.reader,
                "password": things.reader_password}  # fmt: skip
    with open_warehouse("m", connection_of(settings), tmp_path) as warehouse:
        assert warehouse.read_catalog().tables == ()
