"""What every database must do, run on each one that can run here."""

import threading
from collections import Counter
from decimal import Decimal

import pytest

from ktx.catalog import ForeignKey, TableRef
from ktx.errors import KtxError, QueryError, WarehouseError
from ktx.warehouse.keys import InclusionCheck
from servers.shop import CUSTOMERS, ORDERS, Engine


def ref(engine: Engine, name: str) -> TableRef:
    return TableRef(schema=engine.schema, name=name)


def test_catalog_lists_tables_and_views_with_their_schema(engine: Engine) -> None:
    with engine.open() as warehouse:
        catalog = warehouse.read_catalog()
    kinds = {table.ref: table.kind for table in catalog.tables}
    assert kinds[ref(engine, "orders")] == "table"
    assert kinds[ref(engine, "big_orders")] == "view"
    assert kinds[ref(engine, "group")] == "table"
    assert [table.ref.parts for table in catalog.tables] == sorted(
        table.ref.parts for table in catalog.tables
    )


def test_two_schemas_with_the_same_table_name_stay_two_tables(engine: Engine) -> None:
    if engine.other is None:
        pytest.skip("SQLite has no schemas")
    with engine.open() as warehouse:
        catalog = warehouse.read_catalog()
    ours = catalog.table(ref(engine, "orders"))
    theirs = catalog.table(TableRef(schema=engine.other, name="orders"))
    assert ours is not None
    assert theirs is not None
    assert [column.name for column in theirs.columns] == ["old_id"]
    assert len(ours.columns) == 5


def test_composite_foreign_key_is_one_key_with_its_columns_paired(engine: Engine) -> None:
    with engine.open() as warehouse:
        orders = warehouse.read_catalog().table(ref(engine, "orders"))
    assert orders is not None
    (key,) = orders.foreign_keys
    assert key == ForeignKey(
        columns=("buyer_shop", "buyer"),
        target=ref(engine, "customers"),
        target_columns=("shop_id", "customer_no"),
        name=key.name,
    )
    assert orders.primary_key == ("order_id",)


def test_composite_primary_and_unique_keys_keep_their_order(engine: Engine) -> None:
    with engine.open() as warehouse:
        catalog = warehouse.read_catalog()
    customers, group = catalog.table(ref(engine, "customers")), catalog.table(ref(engine, "group"))
    assert customers is not None
    assert group is not None
    assert customers.primary_key == ("shop_id", "customer_no")
    assert group.unique_keys == (("MixedCase", "größe"),)
    assert group.primary_key == ()


def test_columns_have_kinds_nullability_and_comments(engine: Engine) -> None:
    with engine.open() as warehouse:
        catalog = warehouse.read_catalog()
        has_comments = warehouse.capabilities.has_comments
    customers, orders = catalog.table(ref(engine, "customers")), catalog.table(ref(engine, "orders"))
    assert customers is not None
    assert orders is not None
    assert [(column.name, column.kind, column.is_nullable) for column in customers.columns] == [
        ("shop_id", "number", False),
        ("customer_no", "number", False),
        ("Full Name", "string", False),
        ("city", "string", True),
    ]
    placed, amount = orders.column("placed_on"), orders.column("amount")
    assert placed is not None
    assert amount is not None
    assert placed.kind == "time"
    assert amount.comment == ("gross, in euro" if has_comments else None)
    assert orders.comment == ("what was bought" if has_comments else None)


def test_what_a_database_does_not_keep_is_a_gap(engine: Engine) -> None:
    with engine.open() as warehouse:
        gaps = {gap.what for gap in warehouse.read_catalog().gaps}
        assert ("comments" in gaps) is not warehouse.capabilities.has_comments


def test_enabled_tables_bound_the_catalog_and_an_unknown_one_is_a_gap_with_the_nearest_name(
    engine: Engine,
) -> None:
    prefix = f"{engine.schema}." if engine.schema else ""
    with engine.open(enabled_tables=[f"{prefix}order*", "custmers"]) as warehouse:
        catalog = warehouse.read_catalog()
    assert [table.ref for table in catalog.tables] == [ref(engine, "orders")]
    (gap,) = [gap for gap in catalog.gaps if "custmers" in gap.what]
    assert "customers" in gap.reason


def test_reserved_unicode_and_mixed_case_names_are_read_back(engine: Engine) -> None:
    with engine.open() as warehouse:
        catalog = warehouse.read_catalog()
        group = catalog.table(ref(engine, "group"))
        assert group is not None
        rows = warehouse.sample_rows(group, 10)
        profile = warehouse.profile_table(group)
    assert sorted(rows.rows, key=str) == [(1, "klein", 7), (2, "groß", 7), (3, None, None)]
    column = profile.column("größe")
    assert column is not None
    assert (column.null_count, column.distinct_count, column.max_length) == (1, 2, 5)


@pytest.mark.parametrize(("table", "rows"), [("customers", CUSTOMERS), ("orders", ORDERS), ("empty_one", [])])
def test_profile_equals_the_rows_counted_in_python(
    engine: Engine, table: str, rows: list[tuple[object, ...]]
) -> None:
    with engine.open() as warehouse:
        found = warehouse.read_catalog().table(ref(engine, table))
        assert found is not None
        profile = warehouse.profile_table(found)
    assert (profile.row_count, profile.profiled_rows, profile.is_exact) == (len(rows), len(rows), True)
    for position, column in enumerate(found.columns):
        measured = profile.column(column.name)
        assert measured is not None
        values = [row[position] for row in rows if row[position] is not None]
        assert measured.null_count == len(rows) - len(values)
        assert measured.distinct_count == len(set(values))
        if column.kind == "string":
            texts = [str(value) for value in values]
            assert measured.top_values == tuple(
                sorted(Counter(texts).items(), key=lambda pair: (-pair[1], pair[0]))
            )
            assert measured.max_length == max((len(text) for text in texts), default=None)
        elif column.kind == "number":
            numbers = [Decimal(str(value)) for value in values]
            low = min(numbers, default=None)
            assert (None if measured.min_value is None else Decimal(measured.min_value)) == low
        else:
            assert measured.max_value == max((str(value) for value in values), default=None)


def test_profile_of_a_sample_says_so_and_still_knows_the_row_count(engine: Engine) -> None:
    with engine.open() as warehouse:
        found = warehouse.read_catalog().table(ref(engine, "orders"))
        assert found is not None
        profile = warehouse.profile_table(found, sample_rows=2)
    assert profile.row_count == 4
    assert profile.profiled_rows == 3
    assert not profile.is_exact


def test_inclusion_counts_distinct_whole_keys(engine: Engine) -> None:
    children = {(row[1], row[2]) for row in ORDERS if row[1] is not None and row[2] is not None}
    parents = {(row[0], row[1]) for row in CUSTOMERS}
    shops = {row[0] for row in CUSTOMERS}
    with engine.open() as warehouse:
        pair, wrong, bounded, mixed = warehouse.inclusions(
            [
                InclusionCheck(
                    child=ref(engine, "orders"),
                    child_columns=("buyer_shop", "buyer"),
                    parent=ref(engine, "customers"),
                    parent_columns=("shop_id", "customer_no"),
                ),
                InclusionCheck(
                    child=ref(engine, "orders"),
                    child_columns=("order_id",),
                    parent=ref(engine, "customers"),
                    parent_columns=("shop_id",),
                ),
                InclusionCheck(
                    child=ref(engine, "orders"),
                    child_columns=("order_id",),
                    parent=ref(engine, "orders"),
                    parent_columns=("order_id",),
                    limit=2,
                ),
                InclusionCheck(
                    child=ref(engine, "customers"),
                    child_columns=("shop_id",),
                    parent=ref(engine, "customers"),
                    parent_columns=("Full Name",),
                    as_text=True,
                ),
            ]
        )
        distinct = warehouse.count_distinct(ref(engine, "orders"), ["buyer_shop", "buyer"])
    assert (pair.child_keys, pair.matched_keys) == (len(children), len(children & parents))
    assert (wrong.child_keys, wrong.matched_keys) == (4, 0)
    assert (bounded.child_keys, bounded.matched_keys) == (2, 2)
    assert (mixed.child_keys, mixed.matched_keys) == (len(shops), 0)
    assert distinct == len(children)


def test_query_gives_typed_values_and_flags_what_was_cut(engine: Engine) -> None:
    with engine.open() as warehouse:
        cut = warehouse.query("SELECT order_id, amount FROM orders ORDER BY order_id DESC", max_rows=2)
        whole = warehouse.query("SELECT order_id FROM orders", max_rows=4)
        none = warehouse.query("SELECT order_id, amount FROM orders WHERE order_id < 0")
    assert [row[0] for row in cut.rows] == [103, 102]
    assert cut.is_truncated
    assert len(whole.rows) == 4
    assert not whole.is_truncated
    assert (none.rows, [column.name for column in none.columns]) == ((), ["order_id", "amount"])


def test_repeated_column_names_are_told_apart(engine: Engine) -> None:
    with engine.open() as warehouse:
        rows = warehouse.query("SELECT 1 AS a, 2 AS a, 3 AS a_2")
    assert [column.name for column in rows.columns] == ["a", "a_3", "a_2"]


def test_session_refuses_writes_by_itself(engine: Engine) -> None:
    with engine.open() as warehouse:
        for statement in engine.writes:
            with pytest.raises(KtxError):
                warehouse._execute(statement, max_rows=None, timeout_s=5)
            assert warehouse.query("SELECT COUNT(*) FROM orders").rows == ((4,),)
    assert engine.count_orders() == 4
    assert not (engine.folder / "stolen.db").exists()
    assert not (engine.folder / "stolen.csv").exists()


def test_time_limit_stops_the_statement_and_the_warehouse_goes_on(engine: Engine) -> None:
    with engine.open(query_timeout_ms=300) as warehouse:
        with pytest.raises(WarehouseError, match=r"time limit of 0\.3 s"):
            warehouse.query(engine.endless)
        assert warehouse.query("SELECT 1 AS one").rows == ((1,),)


def test_cancel_from_another_thread_stops_the_statement(engine: Engine) -> None:
    with engine.open() as warehouse:
        timer = threading.Timer(0.3, warehouse.cancel)
        timer.start()
        with pytest.raises(WarehouseError, match="cancelled"):
            warehouse.query(engine.endless, timeout_s=60)
        timer.join()
        assert warehouse.query("SELECT 1 AS one").rows == ((1,),)


def test_wrong_sql_is_a_query_error_that_names_the_column(engine: Engine) -> None:
    with engine.open() as warehouse, pytest.raises(QueryError, match="no_such_column"):
        warehouse.query("SELECT no_such_column FROM orders")


def test_several_threads_share_one_warehouse(engine: Engine) -> None:
    results: list[object] = []
    with engine.open(max_connections=2) as warehouse:
        threads = [
            threading.Thread(
                target=lambda: results.append(warehouse.query("SELECT COUNT(*) FROM orders").rows)
            )
            for _ in range(6)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert results == [((4,),)] * 6


def test_closed_warehouse_says_so(engine: Engine) -> None:
    warehouse = engine.open()
    warehouse.test()
    warehouse.close()
    with pytest.raises(WarehouseError, match="closed"):
        warehouse.test()
