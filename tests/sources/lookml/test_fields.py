"""What dimensions and measures become, and what is refused by name."""

from pathlib import Path

import pytest

from ktx.sources.source import Target
from sources.lookml.projects import (
    SHOP,
    catalog_of,
    computed,
    definition,
    detail,
    interpreted,
    joins,
    measures,
    model,
    problems,
    read,
)

USERS = "view: users { dimension: id { primary_key: yes type: number } dimension: country {} measure: n { type: count } }"


def orders(*parts: str) -> dict[str, str]:
    return model(
        "view: orders { dimension: id { primary_key: yes type: number }\n" + "\n".join(parts) + "\n}", USERS
    )


def test_a_dimension_over_a_column_is_a_fact_about_the_column(tmp_path: Path) -> None:
    found = interpreted(
        tmp_path,
        orders(
            'dimension: state { label: "Status" description: "Where it stands" tags: ["x"] sql: ${TABLE}.STATUS ;; }',
            "dimension: user_id { hidden: yes type: number }",
            "dimension: user_again { type: number sql: ${user_id} ;; }",
            "dimension_group: created { type: time datatype: date sql: ${TABLE}.created_at ;; }",
        ),
    )
    facts = {fact.name: fact for fact in definition(found, "orders").columns}
    assert sorted(facts) == ["created_at", "id", "status", "user_id"]
    assert facts["status"].description == "Status: Where it stands. Tags: x. `state` in Looker."
    assert facts["user_id"].is_hidden is False  # one of its two dimensions is shown
    assert (facts["created_at"].is_time, facts["created_at"].natural_granularity) == (True, "day")
    assert facts["id"].is_unique is True


def test_computed_dimensions_refer_to_each_other_by_name(tmp_path: Path) -> None:
    found = interpreted(
        tmp_path,
        orders(
            "dimension: net { type: number sql: ${TABLE}.amount * 0.81 ;; }",
            "dimension: is_big { type: yesno sql: ${net} > 100 OR ${orders.status} = 'vip' ;; }",
            "dimension: status { sql: LOWER(${TABLE}.status) ;; }",
            "dimension: flag { type: yesno }",
            "dimension: seen_on { type: date sql: CAST(${TABLE}.amount AS DATE) ;; }",
            "dimension_group: created { type: time sql: ${TABLE}.created_at ;; }",
            "dimension: year { type: number sql: ${created_year} - 1 ;; }",
            "dimension: day { type: date sql: ${created_date} ;; }",
        ),
    )
    assert problems(found) == {}
    assert computed(found, "orders") == {
        "net": "amount * 0.81",
        "is_big": "net > 100 OR status_in_looker = 'vip'",
        "status_in_looker": "LOWER(status)",
        "flag_in_looker": "flag <> 0",
        "seen_on": "CAST(amount AS DATE)",
        "year": "EXTRACT(YEAR FROM created_at) - 1",
        "day": "CAST(created_at AS DATE)",
    }


@pytest.mark.parametrize(
    ("dimension", "reason", "words"),
    [
        (
            "dimension: x { sql: {% if a %} 1 {% endif %} ;; }",
            "looker_template_unresolved",
            "Liquid template",
        ),
        (
            "dimension: x { sql: ${TABLE}.nope ;; }",
            "unresolved_reference",
            "`nope`, which `main.orders` does not have",
        ),
        ("dimension: x { sql: ${nope} ;; }", "unresolved_reference", "has no field `nope`"),
        ("dimension: x { sql: ${nobody.id} ;; }", "unresolved_reference", "has no view `nobody`"),
        ("dimension: x { sql: ${x} + 1 ;; }", "unresolved_reference", "is defined by itself"),
        ("dimension: x { sql: (SELECT 1) ;; }", "expression_not_supported", "a subselect"),
        (
            "dimension: x { sql: ROW_NUMBER() OVER (ORDER BY id) ;; }",
            "expression_not_supported",
            "a window function",
        ),
        ("dimension: x { sql: SUM(amount) ;; }", "expression_not_supported", "over an aggregate"),
        ("dimension: x { sql: ${id}0 + ${TABLE}x ;; }", "parse_error", "into one"),
        ("dimension: x { sql: amount + ;; }", "parse_error", "cannot be read as one duckdb expression"),
        (
            "dimension: x { sql: 'a ${status} b' ;; } dimension: status {}",
            "expression_not_supported",
            "inside a text",
        ),
        ("dimension: x { sql: ${TABLE} ;; }", "expression_not_supported", "without a column"),
        (
            "dimension: x { type: duration_day sql_start: a ;; }",
            "expression_not_supported",
            "type `duration_day`",
        ),
        ("dimension: x { type: tier tiers: [a] sql: amount ;; }", "parse_error", "not numbers"),
        ("dimension: x { case: { when: { sql: 1 = 1 ;; } } }", "parse_error", "without `sql` or `label`"),
        (
            "dimension: x { type: date sql: ${TABLE}.status ;; }",
            "expression_not_supported",
            "is a string in the warehouse",
        ),
        (
            "dimension: x { type: date datatype: epoch sql: amount ;; }",
            "expression_not_supported",
            "as `epoch`",
        ),
        (
            "dimension_group: c { type: time sql: created_at ;; } dimension: x { sql: ${c_week} ;; }",
            "expression_not_supported",
            "the timeframe `week`",
        ),
        (
            "parameter: p { type: string } dimension: x { sql: ${p} ;; }",
            "looker_template_unresolved",
            "filled in by",
        ),
    ],
)
def test_what_a_dimension_cannot_be_is_said_by_name(
    tmp_path: Path, dimension: str, reason: str, words: str
) -> None:
    found = interpreted(tmp_path, orders(dimension, "measure: uses { type: max sql: ${x} ;; }"))
    assert problems(found)["dimension x of view orders"] == reason
    assert words in detail(found, "dimension x of view orders")
    assert "measure uses of view orders" in problems(found)
    assert definition(found, "orders").measures == ()


@pytest.mark.parametrize(
    ("style", "labels"),
    [
        ("integer", ["Below 0", "0 to 9", "10 to 99", "100 or Above", "Undefined"]),
        ("relational", ["< 0", ">= 0 and < 10", ">= 10 and < 100", ">= 100", "Undefined"]),
        ("interval", ["(-inf,0)", "[0,10)", "[10,100)", "[100,inf)", "Undefined"]),
    ],
)
def test_tiers_are_bins_with_lookers_labels(tmp_path: Path, style: str, labels: list[str]) -> None:
    tier = f"dimension: size {{ type: tier tiers: [100, 0, 10] style: {style} sql: ${{TABLE}}.amount ;; }}"
    found = interpreted(tmp_path, orders(tier))
    fact = next(one for one in definition(found, "orders").columns if one.name == "size")
    assert list(fact.enum_values) == labels
    assert fact.expr is not None
    assert fact.expr.startswith("CASE WHEN amount IS NULL THEN 'Undefined' WHEN amount < 0 THEN")


def test_measures_of_every_plain_type(tmp_path: Path) -> None:
    found = interpreted(
        tmp_path,
        orders(
            "dimension: amount { type: number }",
            "measure: count { type: count }",
            "measure: s { type: sum sql: ${amount} ;; }",
            "measure: a { type: average sql: ${TABLE}.amount ;; }",
            "measure: lo { type: min sql: amount ;; }",
            "measure: hi { type: max sql: orders.amount ;; }",
            "measure: mid { type: median sql: ${amount} ;; }",
            "measure: p { type: percentile percentile: 99.5 sql: ${amount} ;; }",
            "measure: u { type: count_distinct sql: ${TABLE}.user_id ;; }",
            "measure: ratio { type: number sql: ${s} / ${orders.count} ;; }",
            "measure: raw { type: number sql: SUM(${amount}) / COUNT(DISTINCT user_id) ;; }",
            "measure: sd { type: sum_distinct sql: ${amount} ;; }",
            "measure: ad { type: average_distinct sql_distinct_key: ${id} ;; sql: ${amount} ;; }",
        ),
    )
    assert problems(found) == {}
    assert measures(found, "orders") == {
        "count": "COUNT(*)",
        "s": "SUM(amount)",
        "a": "AVG(amount)",
        "lo": "MIN(amount)",
        "hi": "MAX(amount)",
        "mid": "MEDIAN(amount)",
        "p": "QUANTILE_CONT(amount, 0.995 ORDER BY amount)",
        "u": "COUNT(DISTINCT user_id)",
        "ratio": "s / count",
        "raw": "SUM(amount) / COUNT(DISTINCT user_id)",
        "sd": "SUM(amount)",
        "ad": "AVG(amount)",
    }


@pytest.mark.parametrize(
    ("measure", "reason", "words"),
    [
        ("measure: x { type: list list_field: id }", "expression_not_supported", "of type `list`"),
        ("measure: x { type: yesno sql: ${n} > 1 ;; }", "expression_not_supported", "of type `yesno`"),
        ("measure: x { type: sum }", "parse_error", "without `sql`"),
        (
            "measure: x { type: sum sql: ${n} ;; }",
            "expression_not_supported",
            "the measure `orders.n` as a column",
        ),
        (
            "measure: x { type: sum sql: SUM(amount) ;; }",
            "expression_not_supported",
            "`sum` around an aggregate",
        ),
        (
            "measure: x { type: number sql: ${n} + amount ;; }",
            "expression_not_supported",
            "`amount` outside an aggregate",
        ),
        (
            "measure: x { type: number sql: SUM(${n}) ;; }",
            "expression_not_supported",
            "aggregates a measure again",
        ),
        ("measure: x { type: number sql: 5 ;; }", "expression_not_supported", "without an aggregate"),
        (
            "measure: x { type: percentile percentile: 200 sql: amount ;; }",
            "parse_error",
            "between 0 and 100",
        ),
        (
            "measure: x { type: sum_distinct sql_distinct_key: ${TABLE}.user_id ;; sql: amount ;; }",
            "expression_not_supported",
            "is not the primary key",
        ),
        ('measure: x { type: count filters: [nope: "1"] }', "unresolved_reference", "has no field `nope`"),
        (
            'measure: x { type: count filters: [n: ">1"] }',
            "expression_not_supported",
            "filters on the measure `n`",
        ),
        (
            'measure: x { type: count filters: [f: "1"] } filter: f { type: string }',
            "looker_template_unresolved",
            "filled in",
        ),
    ],
)
def test_what_a_measure_cannot_be_is_said_by_name(
    tmp_path: Path, measure: str, reason: str, words: str
) -> None:
    found = interpreted(
        tmp_path,
        orders(measure, "measure: n { type: count }", "measure: y { type: number sql: ${x} * 2 ;; }"),
    )
    assert problems(found)["measure x of view orders"] == reason
    assert words in detail(found, "measure x of view orders")
    # What builds on it goes with it, by name; the rest stays.
    assert problems(found)["measure y of view orders"] == "unresolved_reference"
    assert list(measures(found, "orders")) == ["n"]


def test_fields_of_other_views_are_qualified(tmp_path: Path) -> None:
    found = interpreted(
        tmp_path,
        orders(
            "dimension: place { sql: ${users.country} || users.name ;; }",
            'measure: german { type: sum sql: ${TABLE}.amount ;; filters: [users.country: "DE"] }',
            "measure: per_user { type: number sql: COUNT(*) / ${users.n} ;; }",
            "measure: by_buyers { type: count_distinct sql: ${buyers.id} ;; }",
        )
        | {"e.lkml": ""}
        | model(
            "view: orders { dimension: id { primary_key: yes }"
            "  dimension: place { sql: ${users.country} || users.name ;; }"
            '  measure: german { type: sum sql: ${TABLE}.amount ;; filters: [users.country: "DE"] }'
            "  measure: per_user { type: number sql: COUNT(*) / ${users.n} ;; }"
            "  measure: by_buyers { type: count_distinct sql: ${buyers.id} ;; } }",
            USERS,
            "explore: orders { join: buyers { from: users sql_on: ${orders.user_id} = ${buyers.id} ;; } }",
        ),
    )
    assert computed(found, "orders") == {"place": "users.country || users.name"}
    assert measures(found, "orders") == {
        "german": "SUM(amount) where users.country = 'DE'",
        "per_user": "COUNT(*) / users.n",
        "by_buyers": "COUNT(DISTINCT buyers.id)",
    }


def test_a_key_computed_from_columns_makes_those_columns_the_grain(tmp_path: Path) -> None:
    found = interpreted(
        tmp_path,
        model(
            "view: items { dimension: pk { primary_key: yes sql: ${TABLE}.order_id || '-' || ${TABLE}.id ;; } }"
        ),
    )
    assert definition(found, "items").grain == ("id", "order_id")


@pytest.mark.parametrize(
    ("told", "reason"),
    [
        ("sql_table_name: nowhere.orders ;;", "missing_target_table"),
        ("sql_table_name: {% parameter p %} ;;", "looker_template_unresolved"),
        ("sql_table_name: orders JOIN users ;;", "parse_error"),
        ("sql_table_name: twice ;;", "multiple_table_references"),
        ("derived_table: { explore_source: orders { column: id {} } }", "derived_table_not_supported"),
        ("derived_table: { sql_create: CREATE TABLE x ;; }", "derived_table_not_supported"),
        ("derived_table: { sql: DELETE FROM orders ;; }", "derived_table_not_supported"),
        ("derived_table: { sql: SELECT 1; SELECT 2 ;; }", "derived_table_not_supported"),
        ("derived_table: { sql: SELECT FROM FROM ;; }", "parse_error"),
        ("derived_table: { sql: SELECT * FROM gone ;; }", "missing_target_table"),
        ("derived_table: { sql: SELECT * FROM ${gone.SQL_TABLE_NAME} ;; }", "unresolved_reference"),
        ("derived_table: { sql: SELECT * FROM ${v.SQL_TABLE_NAME} ;; }", "unresolved_reference"),
        (
            "derived_table: { sql: SELECT * FROM orders WHERE {% condition f %} id {% endcondition %} ;; }",
            "looker_template_unresolved",
        ),
        ("derived_table: { sql: -- if prod -- SELECT * FROM orders ;; }", "looker_template_unresolved"),
    ],
)
def test_a_view_without_rows_is_reported_with_its_reason(tmp_path: Path, told: str, reason: str) -> None:
    tables = {**SHOP, "a.twice": "id", "b.twice": "id"}
    found = interpreted(tmp_path, model(f"view: v {{ {told} dimension: id {{}} }}"), tables)
    assert found.definitions == ()
    assert problems(found) == {"view v": reason}


def test_derived_tables_become_selects_with_their_columns(tmp_path: Path) -> None:
    found = interpreted(
        tmp_path,
        model(
            """view: facts { derived_table: { sql: WITH o AS (SELECT * FROM orders) SELECT user_id, SUM(amount) AS total FROM o GROUP BY 1; ;; }
              dimension: user_id { primary_key: yes type: number } dimension: has { type: yesno sql: ${TABLE}.total > 0 ;; }
              measure: all { type: sum sql: ${TABLE}.total ;; } measure: bad { type: sum sql: ${TABLE}.gone ;; } }""",
            """view: starred { derived_table: { sql: SELECT f.*, 1 AS one FROM ${facts.SQL_TABLE_NAME} f ;; }
              dimension: user_id { type: number } measure: all { type: sum sql: ${TABLE}.total ;; } }""",
            "view: same { sql_table_name: ${facts.SQL_TABLE_NAME} ;; measure: n { type: count } }",
            "view: bracketed { sql_table_name: (SELECT id FROM orders) ;; dimension: id {} }",
        ),
    )
    facts = definition(found, "facts")
    assert facts.sql is not None
    assert facts.sql.endswith("GROUP BY 1")
    assert {fact.name: (fact.kind, fact.is_hidden) for fact in facts.columns} == {
        "user_id": ("number", False), "has": ("boolean", False), "total": (None, True),
    }  # fmt: skip
    assert problems(found) == {"measure bad of view facts": "unresolved_reference"}
    assert [fact.name for fact in definition(found, "starred").columns] == ["user_id", "total"]
    assert "AS f" in (definition(found, "starred").sql or "")
    assert definition(found, "same").sql == facts.sql
    assert definition(found, "bracketed").sql == "SELECT id FROM orders"


def test_a_view_lands_on_the_warehouse_that_owns_its_table(tmp_path: Path) -> None:
    files = model(
        "view: orders {}", "view: both {}", "view: far { derived_table: { sql: SELECT id FROM users ;; } }",
        "explore: orders { join: far { sql_on: ${orders.user_id} = ${far.id} ;; } }",
    )  # fmt: skip
    source, snapshot = read(tmp_path, files)
    one = catalog_of({"orders": "id user_id", "both": "id"}, connection_id="one")
    two = catalog_of({"users": "id", "both": "id"}, connection_id="two", dialect="postgres")
    targets = [
        Target(connection_id="two", dialect="postgres", catalog=two),
        Target(connection_id="one", dialect="duckdb", catalog=one),
    ]
    found = source.interpret(snapshot, targets)
    assert {each.name: each.connection_id for each in found.definitions} == {"orders": "one", "far": "two"}
    assert problems(found) == {
        "view both": "multiple_table_references", "join far of explore orders": "unresolved_reference",
    }  # fmt: skip
    assert source.interpret(snapshot, list(reversed(targets))) == found
    unscanned = source.interpret(snapshot, [Target(connection_id="one", dialect="duckdb")])
    assert (
        detail(unscanned, "view orders") == "No warehouse has its table `orders`. `one` has not been scanned."
    )


@pytest.mark.parametrize(
    ("dialect", "table", "measure", "expected"),
    [
        ("bigquery", "`acme-prod.sales.orders`", "${TABLE}.address.city", "COUNT(DISTINCT address.city)"),
        (
            "snowflake",
            '"PROD".SALES.ORDERS',
            "${TABLE}.payload:city::string",
            "COUNT(DISTINCT CAST(GET_PATH(payload, 'city') AS VARCHAR))",
        ),
        ("postgres", '"sales"."orders"', "${TABLE}.payload->>'city'", "COUNT(DISTINCT payload ->> 'city')"),
        (
            "redshift",
            "sales.orders",
            "DATEDIFF(day, ${TABLE}.a, ${TABLE}.b)",
            "COUNT(DISTINCT DATEDIFF(DAY, a, b))",
        ),
    ],
)
def test_names_and_expressions_are_read_in_the_warehouses_dialect(
    tmp_path: Path, dialect: str, table: str, measure: str, expected: str
) -> None:
    files = model(
        f"view: o {{ sql_table_name: {table} ;; measure: m {{ type: count_distinct sql: {measure} ;; }} }}"
    )
    tables = {"sales.orders" if dialect != "snowflake" else "SALES.ORDERS": "address payload a:time b:time"}
    assert measures(interpreted(tmp_path, files, tables, dialect=dialect), "o") == {"m": expected}


def test_odd_column_names_are_quoted(tmp_path: Path) -> None:
    found = interpreted(
        tmp_path,
        model(
            'view: t { dimension: order { sql: ${TABLE}."order" ;; } measure: m { type: sum sql: ${TABLE}."Net Sales" + ${order} ;; } }'
        ),
        {"t": "order NetSales"} | {"t": "order"},
    )
    assert problems(found) == {"measure m of view t": "unresolved_reference"}
    found = interpreted(
        tmp_path,
        model(
            'view: t { dimension: order { sql: ${TABLE}."order" ;; } measure: m { type: max sql: ${order} ;; } }'
        ),
        {"t": "order"},
    )
    assert measures(found, "t") == {"m": 'MAX("order")'}


def test_fields_that_only_some_may_see_are_reported(tmp_path: Path) -> None:
    found = interpreted(tmp_path, orders("dimension: status { required_access_grants: [hr] }"))
    assert detail(found, "required_access_grants of view orders") == (
        "Looker shows `status` to some people only; the layer has no such bar."
    )


def test_joins_are_empty_without_explores(tmp_path: Path) -> None:
    assert joins(interpreted(tmp_path, orders()), "orders") == {}
