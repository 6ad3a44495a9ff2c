"""What holds for DuckDB alone."""

from pathlib import Path

import duckdb

from ktx.config.connections import DuckdbConnection
from ktx.warehouse.connect import open_warehouse

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
