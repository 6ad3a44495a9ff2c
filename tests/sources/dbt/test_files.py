"""Projects without a manifest: what their files say, as far as that needs no run of dbt."""

from dataclasses import replace
from pathlib import Path

import pytest

from ktx.catalog import ColumnKind, TableRef
from ktx.errors import SourceError
from ktx.sources.dbt.source import DbtSource
from ktx.sources.definition import Definition, TestFact
from ktx.sources.source import Interpretation, Target
from ktx.sources.tree import OpenTree, Tree
from sources.trees import make_target, write_file, write_tree

ORDERS: dict[str, ColumnKind] = {"id": "number", "customer_id": "number", "status": "string", "day": "string"}
CUSTOMERS: dict[str, ColumnKind] = {"id": "number", "name": "string"}
SHOP = make_target({"analytics.orders": ORDERS, "analytics.customers": CUSTOMERS})


def interpret(open_tree: OpenTree, *targets: Target, warehouse_ids: tuple[str, ...] = ()) -> Interpretation:
    source = DbtSource(open_tree=open_tree, connection_id="dbt", warehouse_ids=warehouse_ids)
    return source.interpret(source.fetch(emit=lambda _: None), targets or [SHOP])


def project(root: Path, properties: str, *, config: str = "name: p") -> OpenTree:
    """Write a project of two models with these properties."""
    return write_tree(
        root,
        dbt_project_yml=config,
        models__orders_sql="select * from {{ ref('customers') }}",
        models__customers_sql="select 1 as id",
        models__schema_yml=properties,
    )


def definition(got: Interpretation, name: str) -> Definition:
    return next(one for one in got.definitions if one.name == name)


def reasons(got: Interpretation) -> dict[str, str]:
    return {one.what: one.reason for one in got.unmapped}


def test_tests_become_facts_in_every_spelling(tmp_path: Path) -> None:
    got = interpret(
        project(
            tmp_path,
            """
            models:
              - name: orders
                columns:
                  - name: id
                    tests: [unique, not_null]
                  - name: status
                    data_tests:
                      - accepted_values:
                          arguments: {values: [a, b]}
                      - not_null: {name: status_is_there}
                      - dbt_utils.not_constant
                      - dbt_expectations.expect_column_value_lengths_to_be_between:
                          min_value: 1
                  - name: customer_id
                    tests:
                      - name: customer_is_known
                        test_name: relationships
                        to: ref('customers')
                        field: id
              - name: customers
                columns:
                  - name: id
                    tests: [unique]
                  - name: name
                    tests:
                      - accepted_values: {values: [yes, 1, "x"]}
            """,
        )
    )
    orders = definition(got, "orders")
    facts = {column.name: column for column in orders.columns}
    assert orders.grain == ("id",)
    assert facts["status"].enum_values == ("a", "b")
    assert facts["status"].is_not_null is True
    assert facts["status"].tests == (
        TestFact(
            name="expect_column_value_lengths_to_be_between",
            package="dbt_expectations",
            kwargs={"min_value": 1},
        ),
        TestFact(name="not_constant", package="dbt_utils"),
    )
    assert [(join.to, join.on, join.relationship) for join in orders.joins] == [
        ("customers", "orders.customer_id = customers.id", "many_to_one")
    ]
    assert definition(got, "customers").grain == ()
    values = definition(got, "customers").columns[1].enum_values
    assert values == ("True", "1", "x")


@pytest.mark.parametrize(
    "config", ["where: status is not null", "severity: warn", "limit: 10", "error_if: '>10'"]
)
def test_a_test_of_some_rows_only_promises_nothing(config: str, tmp_path: Path) -> None:
    got = interpret(
        project(
            tmp_path,
            f"""
            models:
              - name: orders
                columns:
                  - name: id
                    tests:
                      - unique: {{config: {{{config}}}}}
                      - not_null
            """,
        )
    )
    orders = definition(got, "orders")
    assert orders.grain == ()
    assert orders.columns[0].is_unique is None
    assert orders.columns[0].tests == (TestFact(name="unique"),)


def test_a_test_that_is_switched_off_says_nothing(tmp_path: Path) -> None:
    text = "models: [{name: orders, columns: [{name: id, tests: [{unique: {config: {enabled: false}}}]}]}]"
    assert interpret(project(tmp_path, text)).definitions == ()


def test_a_reference_to_rows_that_may_be_several_is_named_and_not_joined(tmp_path: Path) -> None:
    text = "models: [{name: orders, columns: [{name: customer_id, tests: [{relationships: {to: ref('customers'), field: id}}]}]}]"
    got = interpret(project(tmp_path, text))
    assert got.definitions == ()
    assert reasons(got) == {"test relationships of orders.customer_id": "expression_not_supported"}


def test_the_key_of_the_warehouse_itself_proves_a_reference(tmp_path: Path) -> None:
    text = "models: [{name: orders, columns: [{name: customer_id, tests: [{relationships: {to: ref('customers'), field: id}}]}]}]"
    assert SHOP.catalog is not None
    tables = tuple(
        replace(table, primary_key=("id",)) if table.ref.name == "customers" else table
        for table in SHOP.catalog.tables
    )
    target = replace(SHOP, catalog=replace(SHOP.catalog, tables=tables))
    got = interpret(project(tmp_path, text), target)
    assert definition(got, "orders").joins[0].relationship == "many_to_one"


@pytest.mark.parametrize(
    ("keys", "grain"),
    [
        ("constraints: [{type: primary_key, columns: [id, day]}]", ("id", "day")),
        ("columns: [{name: id, constraints: [{type: primary_key}]}]", ("id",)),
        ("tests: [{dbt_utils.unique_combination_of_columns: {combination_of_columns: [day, id]}}]", ("day", "id")),
        ("tests: [{unique: {column_name: \"id || '-' || day\"}}]", ("id", "day")),
        ("columns: [{name: id, tests: [unique]}]", ()),
        ("tests: [{dbt_utils.unique_combination_of_columns: {combination_of_columns: [day, gone]}}]", ()),
    ],
)  # fmt: skip
def test_the_grain_is_what_is_declared_or_tested(keys: str, grain: tuple[str, ...], tmp_path: Path) -> None:
    got = interpret(project(tmp_path, f"models:\n  - name: orders\n    description: x\n    {keys}\n"))
    assert definition(got, "orders").grain == grain


def test_two_references_to_one_table_have_a_role_each(tmp_path: Path) -> None:
    columns: dict[str, ColumnKind] = {"id": "number", "buyer_id": "number", "seller_key": "number"}
    got = interpret(
        project(
            tmp_path,
            """
            models:
              - name: orders
                columns:
                  - {name: buyer_id, tests: [{relationships: {to: ref('customers'), field: id}}]}
                  - {name: seller_key, tests: [{relationships: {to: ref('customers'), field: id}}]}
              - name: customers
                columns: [{name: id, tests: [unique, not_null]}]
            """,
        ),
        make_target({"a.orders": columns, "a.customers": CUSTOMERS}),
    )
    assert [(join.alias, join.on) for join in definition(got, "orders").joins] == [
        ("buyer", "orders.buyer_id = buyer.id"),
        ("seller", "orders.seller_key = seller.id"),
    ]


def test_columns_are_spelled_as_the_table_spells_them(tmp_path: Path) -> None:
    text = "models: [{name: orders, columns: [{name: id, description: the key, tests: [unique, not_null]}]}]"
    upper = make_target({"PUBLIC.ORDERS": {"ID": "number"}}, dialect="snowflake")
    got = interpret(project(tmp_path, text), upper)
    assert definition(got, "orders").table == TableRef(schema="PUBLIC", name="ORDERS")
    assert definition(got, "orders").grain == ("ID",)


def test_a_documented_column_that_the_table_lacks_is_named(tmp_path: Path) -> None:
    text = "models: [{name: orders, columns: [{name: gone, description: x}, {name: id, description: y}]}]"
    got = interpret(project(tmp_path, text))
    assert reasons(got) == {"column orders.gone": "unresolved_reference"}
    assert [column.name for column in definition(got, "orders").columns] == ["id"]


def test_a_time_that_is_stored_as_text_is_marked(tmp_path: Path) -> None:
    text = "models: [{name: orders, columns: [{name: day, data_type: DATE}, {name: id, data_type: date}]}]"
    got = interpret(project(tmp_path, text))
    assert [(column.name, column.is_time) for column in definition(got, "orders").columns] == [("day", True)]


def test_settings_of_folders_files_and_entries_say_where_a_table_is(tmp_path: Path) -> None:
    got = interpret(
        write_tree(
            tmp_path,
            dbt_project_yml="""
                name: p
                vars: {area: eu}
                models:
                  p:
                    marts: {+schema: marts, +tags: [a]}
                    eu: {+schema: "{{ var('area') }}"}
                    off: {+enabled: "{{ var('is_on', false) }}"}
            """,
            models__marts__one_sql="{{ config(alias='uno', tags='b') }} select 1",
            models__marts__two_sql="select 1",
            models__eu__three_sql="select 1",
            models__off__four_sql="select 1",
            models__marts__p_yml="models: [{name: two, description: x, config: {schema: other}}, {name: one, description: y}]",
        ),
        make_target(
            {
                "dev.uno": {"id": "number"}, "dev_marts.uno": {"id": "number"}, "dev_other.two": {"id": "number"},
                "dev_marts.two": {"id": "number"}, "dev_eu.three": {"id": "number"}, "dev.four": {"id": "number"},
            }
        ),
    )  # fmt: skip
    places = {one.name: str(one.table) for one in got.definitions}
    assert places == {"one": "dev_marts.uno", "two": "dev_other.two"}
    assert definition(got, "one").tags == ("a", "b")
    assert reasons(got) == {}


def test_the_schema_of_the_certain_tables_decides_for_the_others(tmp_path: Path) -> None:
    twice = make_target({"dev.orders": ORDERS, "prod.orders": ORDERS, "prod.customers": CUSTOMERS})
    got = interpret(project(tmp_path, "models: [{name: orders, description: x}]"), twice)
    assert str(definition(got, "orders").table) == "prod.orders"


def test_a_table_that_several_schemas_have_is_named_and_not_guessed(tmp_path: Path) -> None:
    twice = make_target({"dev.orders": ORDERS, "prod.orders": ORDERS})
    got = interpret(project(tmp_path, "models: [{name: orders, description: x}]"), twice)
    assert reasons(got)["model orders"] == "multiple_table_references"
    assert reasons(got)["model customers"] == "missing_target_table"


def test_a_table_lands_on_the_warehouse_that_owns_it(tmp_path: Path) -> None:
    one = make_target({"a.orders": ORDERS}, connection_id="one")
    two = make_target({"a.customers": CUSTOMERS}, connection_id="two")
    text = "models: [{name: orders, description: x}, {name: customers, description: y}]"
    got = interpret(project(tmp_path, text), one, two)
    assert {it.name: it.connection_id for it in got.definitions} == {"customers": "two", "orders": "one"}
    only = interpret(lambda: Tree(root=tmp_path), one, two, warehouse_ids=("two",))
    assert {it.name for it in only.definitions} == {"customers"}
    both = interpret(lambda: Tree(root=tmp_path), one, make_target({"b.orders": ORDERS}, connection_id="two"))
    assert reasons(both)["model orders"] == "multiple_table_references"


def test_without_a_warehouse_everything_is_named(tmp_path: Path) -> None:
    open_tree = project(tmp_path, "models: [{name: orders, description: x}]")
    source = DbtSource(open_tree=open_tree, connection_id="dbt")
    snapshot = source.fetch(emit=lambda _: None)
    assert set(reasons(source.interpret(snapshot, [])).values()) == {"no_connection_mapping"}
    unscanned = Target(connection_id="wh", dialect="duckdb")
    got = source.interpret(snapshot, [unscanned])
    assert set(reasons(got).values()) == {"missing_target_table"}
    assert "never scanned" in got.unmapped[0].detail


def test_versions_of_a_model_are_tables_of_their_own(tmp_path: Path) -> None:
    got = interpret(
        write_tree(
            tmp_path,
            dbt_project_yml="name: p",
            models__dim_v1_sql="select 1",
            models__dim_v2_sql="select 1",
            models__use_sql="select * from {{ ref('dim', v=1) }}",
            models__p_yml="""
                models:
                  - name: dim
                    latest_version: 2
                    description: A dimension.
                    columns: [{name: id, description: key}, {name: old, description: gone soon}]
                    versions:
                      - v: 1
                      - v: 2
                        columns: [{include: all, exclude: [old]}, {name: new, description: fresh}]
            """,
        ),
        make_target(
            {"a.dim_v1": {"id": "number", "old": "string"}, "a.dim_v2": {"id": "number", "new": "string"}}
        ),
    )
    assert {one.name: (str(one.table), [it.name for it in one.columns]) for one in got.definitions} == {
        "dim": ("a.dim_v2", ["id", "new"]),
        "dim_v1": ("a.dim_v1", ["id", "old"]),
    }


def test_descriptions_keep_jinja_that_needs_a_run_of_dbt(tmp_path: Path) -> None:
    open_tree = project(
        tmp_path,
        """models: [{name: orders, description: "{{ doc('known') }} {{ doc('unknown') }} {{ env_var('X') }}"}]""",
    )
    write_file(tmp_path, "models/docs.md", "{% docs known %}\nIt is known.\n{% enddocs %}")
    got = interpret(open_tree)
    assert definition(got, "orders").description == "It is known. {{ doc('unknown') }} {{ env_var('X') }}"
    assert got.pages == ()


def test_yaml_is_read_as_dbt_reads_it(tmp_path: Path) -> None:
    got = interpret(
        project(
            tmp_path,
            """
            common: &common
              description: shared text
              columns: [{name: status, tests: [{accepted_values: {values: [010, 1_000, on], quote: no}}]}]
            models:
              - <<: *common
                name: orders
            """,
        )
    )
    assert definition(got, "orders").description == "shared text"
    assert definition(got, "orders").columns[0].enum_values == (8, 1000, True)


def test_a_folder_without_a_project_says_where_one_is(tmp_path: Path) -> None:
    write_file(tmp_path, "transform/dbt_project.yml", "name: p")
    source = DbtSource(open_tree=lambda: Tree(root=tmp_path), connection_id="dbt")
    with pytest.raises(SourceError, match="is no dbt project") as caught:
        source.fetch(emit=lambda _: None)
    assert caught.value.hint is not None
    assert "`transform`" in caught.value.hint


def test_large_folders_fall_apart_and_files_stay_where_they_were(tmp_path: Path) -> None:
    write_file(tmp_path, "dbt_project.yml", "name: p")
    for number in range(40):
        write_file(tmp_path, f"models/marts/m{number}.sql", f"select {number} -- {'x' * 3000}\n")
    before = interpret(lambda: Tree(root=tmp_path)).units
    assert len(before) > 2
    assert sum(len(unit.documents) for unit in before) == 40
    write_file(tmp_path, "models/marts/m40.sql", "select 40")
    after = interpret(lambda: Tree(root=tmp_path)).units
    changed = {one.key for one in before} ^ {one.key for one in after}
    moved = [one for one, two in zip(before, after, strict=True) if set(one.documents) - set(two.documents)]
    assert (changed, moved) == (set(), [])


def test_staging_is_context_and_no_unit_of_its_own(tmp_path: Path) -> None:
    got = interpret(
        write_tree(
            tmp_path,
            dbt_project_yml="name: p",
            models__staging__stg_a_sql="select 1",
            models__marts__orders_sql="select * from {{ ref('stg_a') }} where 1 = 1",
        )
    )
    assert [(unit.key, unit.documents, unit.context) for unit in got.units] == [
        ("dbt:models/marts", ("models/marts/orders.sql",), ("models/staging/stg_a.sql",))
    ]


def test_models_in_python_and_snapshots_in_yaml_are_tables_too(tmp_path: Path) -> None:
    got = interpret(
        write_tree(
            tmp_path,
            dbt_project_yml="{name: p, snapshots: {p: {+target_schema: history}}}",
            models__scores_py="def model(dbt, session):\n    return dbt.ref('orders')\n",
            models__m_yml="models: [{name: scores, description: computed}]",
            snapshots__s_yml="snapshots: [{name: orders_history, relation: ref('scores'), description: versions}]",
        ),
        make_target({"a.scores": {"id": "number"}, "history.orders_history": {"id": "number"}, "a.orders_history": {"id": "number"}}),
    )  # fmt: skip
    assert {one.name: (str(one.table), one.evidence) for one in got.definitions} == {
        "orders_history": ("history.orders_history", ("snapshots/s.yml",)),
        "scores": ("a.scores", ("models/m.yml", "models/scores.py")),
    }


def test_a_custom_schema_may_stand_alone_or_behind_the_schema_of_the_target(tmp_path: Path) -> None:
    open_tree = project(tmp_path, "models: [{name: orders, description: x, config: {schema: marts}}]")
    for schema in ("marts", "dev_marts"):
        target = make_target({f"{schema}.orders": ORDERS, "other.orders": ORDERS})
        assert str(definition(interpret(open_tree, target), "orders").table) == f"{schema}.orders"


def test_what_has_no_place_in_the_layer_is_named(tmp_path: Path) -> None:
    got = interpret(
        project(
            tmp_path,
            """
            models:
              - name: orders
                tests:
                  - dbt_utils.expression_is_true: {expression: "id > 0"}
                  - dbt_utils.equal_rowcount: {compare_model: ref('customers')}
                columns:
                  - {name: gone, tests: [dbt_utils.not_constant]}
              - name: customers
                columns:
                  - {name: id, tests: [{relationships: {to: ref('nobody'), field: id}}]}
            """,
        )
    )
    assert reasons(got) == {
        "column orders.gone": "unresolved_reference",
        "test dbt_utils.equal_rowcount of orders": "expression_not_supported",
        "test dbt_utils.expression_is_true of orders": "expression_not_supported",
        "test dbt_utils.not_constant of orders.gone": "unresolved_reference",
        "test relationships of customers.id": "unresolved_reference",
    }


def test_a_table_that_is_model_and_source_is_one_definition(tmp_path: Path) -> None:
    open_tree = project(tmp_path, "models: [{name: orders, description: from the model}]")
    write_file(
        tmp_path,
        "models/sources.yml",
        "sources: [{name: analytics, tables: [{name: orders, description: from the source, columns: [{name: id, description: key}]}]}]",
    )
    got = interpret(open_tree)
    assert [(one.name, one.description, [it.name for it in one.columns]) for one in got.definitions] == [
        ("orders", "from the model", ["id"])
    ]
    assert got.definitions[0].evidence == ("models/orders.sql", "models/schema.yml", "models/sources.yml")


@pytest.mark.parametrize("key", ["tests", "data_tests"])
def test_settings_of_the_project_for_tests_count_for_each(key: str, tmp_path: Path) -> None:
    text = "models: [{name: orders, columns: [{name: id, tests: [unique, {not_null: {config: {severity: error}}}]}]}]"
    got = interpret(project(tmp_path, text, config=f"{{name: p, {key}: {{p: {{+severity: warn}}}}}}"))
    fact = definition(got, "orders").columns[0]
    assert (fact.is_unique, fact.is_not_null) == (None, True)
    off = interpret(project(tmp_path, text, config=f"{{name: p, {key}: {{+enabled: false}}}}"))
    assert [column.is_unique for one in off.definitions for column in one.columns] == []
