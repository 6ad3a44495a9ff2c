"""What holds for DuckDB alone."""

from dataclasses import replace
from pathlib import Path

import duckdb
import pytest

from ktx.config.connections import DuckdbConnection
from ktx.warehouse.connect import open_warehouse
from ktx.warehouse.drivers.duckdb import duckdb_driver
from ktx.warehouse.warehouse import Warehouse

SORTED_SUM = """
WITH stores AS (SELECT * FROM t_stores WHERE NOT k2 IN ('a'))
SELECT stores.regions_id, SUM((orders.amount * 4) - orders.amount) AS total
FROM t_orders AS orders LEFT JOIN stores ON orders.k1 = stores.k1 AND orders.k2 = stores.k2
GROUP BY stores.regions_id ORDER BY stores.regions_id
"""

CONDITION_ON_A_SUM = """
WITH t AS (SELECT * FROM t_teams WHERE id > 1)
SELECT t.id, SUM(l.qty + 1) AS s FROM l LEFT JOIN p ON l.p_id = p.id LEFT JOIN st ON p.staff_id = st.id
LEFT JOIN t ON st.team_id = t.id GROUP BY t.id HAVING SUM(l.qty + 1) <= 5.0 ORDER BY t.id
"""


def test_a_sorted_sum_over_an_empty_join_is_not_packed_into_too_small_a_type(tmp_path: Path) -> None:
    file = tmp_path / "a.duckdb"
    with duckdb.connect(str(file)) as connection:
        connection.execute("CREATE TABLE t_stores (k1 BIGINT, k2 VARCHAR, regions_id BIGINT)")
        connection.execute("INSERT INTO t_stores VALUES (1, 'a', 1)")
        connection.execute("CREATE TABLE t_orders (amount BIGINT, k1 BIGINT, k2 VARCHAR)")
        connection.execute(
            "INSERT INTO t_orders VALUES (12, 1, 'a'), (8, 1, 'a'), (6, NULL, NULL), (12, 1, 'a'), (9, 1, 'a'), (0, 1, 'a')"
        )
    with open_warehouse("wh", DuckdbConnection(driver="duckdb", path=str(file)), tmp_path) as warehouse:
        assert [tuple(row) for row in warehouse.query(SORTED_SUM, max_rows=100_000).rows] == [(None, 141)]


def test_a_condition_on_a_sum_over_an_empty_join_is_not_dropped(tmp_path: Path) -> None:
    file = tmp_path / "a.duckdb"
    with duckdb.connect(str(file)) as connection:
        connection.execute("CREATE TABLE st (id BIGINT, team_id BIGINT)")
        connection.execute("CREATE TABLE t_teams (id BIGINT)")
        connection.execute("CREATE TABLE p (id BIGINT, staff_id BIGINT)")
        connection.execute("CREATE TABLE l (qty BIGINT, p_id BIGINT)")
        connection.execute("INSERT INTO l VALUES (-4, 1), (0, 1), (7, 1)")
    with open_warehouse("wh", DuckdbConnection(driver="duckdb", path=str(file)), tmp_path) as warehouse:
        assert warehouse.query(CONDITION_ON_A_SUM, max_rows=100_000).rows == ()


@pytest.mark.parametrize(
    ("kind", "values"),
    [
        ("INTEGER", "(3), (-1), (NULL), (3)"),
        ("HUGEINT", "(170141183460469231731687303715884105727), (1), (NULL)"),
        ("DOUBLE", "(1.5), (0.1), (1e300), (NULL)"),
        ("DOUBLE", "('nan'), (1.0), ('nan'), ('inf')"),
        ("FLOAT", "(0.1), (1e10)"),
        ("DECIMAL(18,3)", "(1.10), (1.1), (-0.001), (1000000000)"),
        ("BOOLEAN", "(true), (NULL), (true)"),
        ("VARCHAR", "('b'), ('B'), ('ä'), ('🤦'), (''), (' b'), (NULL), ('b')"),
        ("VARCHAR", "(repeat('x', 199)), (repeat('x', 201)), (repeat('y', 1999))"),
        ("VARCHAR", "(repeat('x', 2001)), (repeat('x', 2002)), ('a')"),
        ("VARCHAR COLLATE NOCASE", "('a'), ('A'), ('b')"),
        ("DATE", "('2024-02-29'), ('0001-01-01'), ('9999-12-31'), (NULL)"),
        ("DATE", "('290000-01-01'), ('2024-01-01')"),
        ("TIMESTAMP", "('2024-01-01 10:00:00.123456'), ('2024-01-01 10:00:00')"),
        ("TIMESTAMP_NS", "('2024-01-01 10:00:00.123456789'), ('2024-01-01 10:00:00.123456788')"),
        (
            "TIMESTAMP WITH TIME ZONE",
            "('2024-10-27 02:30:00+02'), ('2024-10-27 02:30:00+01'), ('2024-10-27 00:30:00+00')",
        ),
        ("TIME", "('10:00:00'), ('09:59:59.5'), (NULL)"),
        ("TIME", "('24:00:00'), ('10:00:00')"),
        ("UUID", "('6ba7b810-9dad-11d1-80b4-00c04fd430c8'), (NULL)"),
        ("BLOB", "('a'), ('a'), (NULL)"),
        ("JSON", """('{"a": 1}'), ('[1]'), ('[1]')"""),
        ("INTEGER[]", "([1, 2]), ([1, 2]), ([]), (NULL)"),
        ("STRUCT(a INTEGER, b VARCHAR)", "({a: 1, b: 'x'}), (NULL), ({a: 1, b: 'x'})"),
        ("INTERVAL", "(INTERVAL 1 DAY), (INTERVAL 24 HOUR), (NULL)"),
        ("ENUM('low', 'high')", "('low'), ('high'), ('low')"),
        ("BIT", "('101'), ('1'), (NULL)"),
    ],
)
def test_a_small_table_read_as_it_is_has_the_profile_that_the_database_counts(
    tmp_path: Path, kind: str, values: str
) -> None:
    path = tmp_path / "w.duckdb"
    with duckdb.connect(str(path)) as connection:
        connection.execute(f"CREATE TABLE t (x {kind}, n INTEGER DEFAULT 1)")
        connection.execute(f"INSERT INTO t (x) VALUES {values}")
    driver = duckdb_driver("w", path)
    with Warehouse("w", driver) as small, Warehouse("w", replace(driver, most_profile_cells=0)) as counted:
        (table,) = small.read_catalog().tables
        assert small.profile_table(table) == counted.profile_table(table)
