"""Joins, segments and pages of explores."""

from pathlib import Path

import pytest

from sources.lookml.projects import definition, detail, interpreted, joins, model, problems

VIEWS = """
view: orders { dimension: id { primary_key: yes type: number } dimension: user_id { type: number }
  dimension: status {} dimension_group: created { type: time sql: ${TABLE}.created_at ;; }
  dimension: key { sql: CAST(${user_id} AS BIGINT) ;; } }
view: users { dimension: id { primary_key: yes type: number } dimension: boss_id { type: number } dimension: country {} }
view: items { dimension: id { primary_key: yes type: number } dimension: order_id { type: number } }
view: gone { sql_table_name: {{ x }} ;; dimension: id {} }
"""


def shop(*explores: str) -> dict[str, str]:
    return model(VIEWS, *explores)


def test_a_join_lands_on_the_view_that_its_condition_starts_from(tmp_path: Path) -> None:
    found = interpreted(
        tmp_path,
        shop(
            """explore: items {
              join: orders { relationship: many_to_one sql_on: ${items.order_id} = ${orders.id} ;; }
              join: users { relationship: many_to_one sql_on: ${orders.user_id} = ${users.id} ;; }
              join: bosses { from: users relationship: many_to_one sql_on: ${users.boss_id} = ${bosses.id} ;; }
            }"""
        ),
    )
    assert joins(found, "items") == {"orders": "many_to_one: items.order_id = orders.id"}
    assert joins(found, "orders") == {"users": "many_to_one: orders.user_id = users.id"}
    assert joins(found, "users") == {"bosses": "many_to_one: users.boss_id = bosses.id"}


def test_a_join_behind_an_alias_lands_on_the_view_behind_it(tmp_path: Path) -> None:
    found = interpreted(
        tmp_path,
        shop(
            """explore: my_orders { from: orders
              join: buyer { from: users sql_on: ${my_orders.user_id} = ${buyer.id} ;; }
              join: boss { from: users sql_on: ${buyer.boss_id} = ${boss.id} ;; }
              join: lines { from: items relationship: one_to_many sql_on: ${my_orders.id} = ${lines.order_id} ;; }
            }""",
            "explore: other { view_name: orders join: users { foreign_key: user_id } }",
        ),
    )
    assert joins(found, "orders") == {
        "buyer": "many_to_one: orders.user_id = buyer.id",
        "lines": "one_to_many: orders.id = lines.order_id",
        "users": "many_to_one: orders.user_id = users.id",
    }
    assert joins(found, "users") == {"boss": "many_to_one: users.boss_id = boss.id"}


def test_conditions_are_written_out_to_physical_columns(tmp_path: Path) -> None:
    found = interpreted(
        tmp_path,
        shop(
            "explore: orders { join: users { sql_on: ${orders.key} = ${users.id} AND users.country <> 'XX' ;; } }"
        ),
    )
    assert joins(found, "orders") == {
        "users": "many_to_one: CAST(orders.user_id AS BIGINT) = users.id AND users.country <> 'XX'"
    }


@pytest.mark.parametrize(
    ("join", "reason", "words"),
    [
        ("join: users { type: cross sql_on: 1=1 ;; }", "expression_not_supported", "no cross join"),
        (
            "join: users { relationship: many_to_many sql_on: ${orders.user_id} = ${users.id} ;; }",
            "expression_not_supported",
            "many_to_many",
        ),
        (
            "join: users { sql_on: ${users.id} = 5 ;; }",
            "expression_not_supported",
            "relates `users` to nothing else",
        ),
        ("join: users {}", "expression_not_supported", "neither `sql_on` nor `foreign_key`"),
        ("join: users { sql: LEFT JOIN users ON 1=1 ;; }", "expression_not_supported", "uses `sql`"),
        (
            "join: users { sql_on: ${orders.user_id} = {% parameter p %} ;; }",
            "looker_template_unresolved",
            "Liquid",
        ),
        (
            "join: nobody { sql_on: ${orders.id} = ${nobody.id} ;; }",
            "unresolved_reference",
            "no view `nobody`",
        ),
        ("join: gone { sql_on: ${orders.id} = ${gone.id} ;; }", "looker_template_unresolved", "Liquid"),
        (
            "join: users { sql_on: ${items.id} = ${users.id} ;; }",
            "unresolved_reference",
            "does not join `items`",
        ),
        (
            "join: users { sql_on: ${orders.nope} = ${users.id} ;; }",
            "unresolved_reference",
            "no field `nope`",
        ),
        (
            "join: users { sql_on: user_id = ${users.id} ;; }",
            "unresolved_reference",
            "without saying of which view",
        ),
        (
            (
                "join: items { sql_on: ${orders.id} = ${items.order_id} ;; } "
                "join: users { sql_on: ${orders.user_id} = ${users.id} AND ${items.id} = ${users.id} ;; }"
            ),
            "expression_not_supported",
            "exactly two sides",
        ),
    ],
)
def test_a_join_that_the_layer_cannot_hold_is_said_by_name(
    tmp_path: Path, join: str, reason: str, words: str
) -> None:
    found = interpreted(tmp_path, shop(f"explore: orders {{ {join} }}"))
    what = next(each for each in problems(found) if each.startswith("join"))
    assert problems(found)[what] == reason
    assert words in detail(found, what)
    assert "users" not in joins(found, "orders")


def test_explores_that_agree_are_united_and_contradictions_are_reported(tmp_path: Path) -> None:
    found = interpreted(
        tmp_path,
        shop(
            "explore: a { view_name: orders join: users { sql_on: ${orders.user_id} = ${users.id} ;; } }",
            "explore: b { view_name: orders join: users { sql_on: ${orders.user_id} = ${users.id} ;; }"
            "  join: items { relationship: one_to_many sql_on: ${items.order_id} = ${orders.id} ;; } }",
            "explore: c { view_name: orders join: users { sql_on: ${orders.id} = ${users.id} ;; } }",
        ),
    )
    assert joins(found, "orders") == {
        "users": "many_to_one: orders.user_id = users.id",
        "items": "one_to_many: items.order_id = orders.id",
    }
    assert detail(found, "join users of explore c") == (
        "Another explore joins it on `orders.user_id = users.id`, this one on `orders.id = users.id`; the first was taken."
    )


def test_where_explores_disagree_no_row_may_count_twice(tmp_path: Path) -> None:
    found = interpreted(
        tmp_path,
        shop(
            "explore: orders { join: items { relationship: one_to_one sql_on: ${orders.id} = ${items.order_id} ;; }"
            "  join: users { relationship: one_to_one sql_on: ${orders.user_id} = ${users.id} ;; } }",
            "explore: items { join: orders { relationship: many_to_one sql_on: ${orders.id} = ${items.order_id} ;; } }",
            "explore: z { view_name: orders join: users { relationship: many_to_one sql_on: ${orders.user_id} = ${users.id} ;; } }",
        ),
    )
    assert joins(found, "orders") == {
        "items": "one_to_many: orders.id = items.order_id",
        "users": "many_to_one: orders.user_id = users.id",
    }
    assert joins(found, "items") == {"orders": "many_to_one: orders.id = items.order_id"}
    assert problems(found)["join items of view orders"] == "multiple_table_references"
    assert problems(found)["join users of explore z"] == "multiple_table_references"


def test_filters_that_always_hold_become_segments_and_are_told(tmp_path: Path) -> None:
    found = interpreted(
        tmp_path,
        shop(
            """explore: orders {
              sql_always_where: ${orders.status} <> 'test' OR ${buyer.country} = 'DE' ;;
              always_filter: { filters: [orders.created_date: "after 2024-01-01", buyer.country: "-FR"] }
              conditionally_filter: { filters: [orders.created_date: "7 days"] unless: [orders.id] }
              sql_always_having: COUNT(*) > 1 ;;
              access_filter: { field: buyer.country user_attribute: country }
              join: buyer { from: users type: inner sql_on: ${orders.user_id} = ${buyer.id} ;; sql_where: ${buyer.id} > 0 ;; }
            }"""
        ),
    )
    assert {one.name: one.expr for one in definition(found, "orders").segments} == {
        "orders_always": "status <> 'test' OR buyer.country = 'DE'",
        "orders_default": (
            "created_at >= CAST('2024-01-01' AS DATE) AND (NOT (buyer.country = 'FR') OR buyer.country IS NULL)"
        ),
    }
    assert set(problems(found)) == {
        "view gone",
        "conditionally_filter of explore orders",
        "sql_always_having of explore orders",
        "access_filter buyer.country of explore orders",
        "type of join buyer of explore orders",
        "sql_where of join buyer of explore orders",
    }
    (page,) = found.pages
    for words in (
        "sql_always_where",
        "`{{orders.orders_always}}`",
        "`7 days` unless",
        "their `country`",
        "(`inner`)",
        "COUNT(*) > 1",
    ):
        assert words in page.body
    assert page.definitions == ("orders", "orders.orders_always", "orders.orders_default", "users")


def test_an_always_filter_with_liquid_is_told_and_not_guessed(tmp_path: Path) -> None:
    found = interpreted(tmp_path, shop("explore: orders { sql_always_where: {% if x %} 1=1 {% endif %} ;; }"))
    assert definition(found, "orders").segments == ()
    assert problems(found)["sql_always_where of explore orders"] == "looker_template_unresolved"
    assert "It keeps only rows where `{% if x %} 1=1 {% endif %}`" in found.pages[0].body


def test_explores_extend_each_other(tmp_path: Path) -> None:
    found = interpreted(
        tmp_path,
        shop(
            "explore: base { extension: required view_name: orders"
            "  join: users { sql_on: ${orders.id} = ${users.id} ;; } }",
            'explore: child { extends: [base] label: "Child" join: users { sql_on: ${orders.user_id} = ${users.id} ;; } }',
        ),
    )
    assert joins(found, "orders") == {"users": "many_to_one: orders.user_id = users.id"}
    assert [page.key for page in found.pages] == ["looker-explore-m-child"]


def test_a_dashboard_tells_what_its_tiles_show(tmp_path: Path) -> None:
    board = """
- dashboard: sales
  title: "Sales, {{ region }}"
  elements:
  - {name: one, title: By month, model: m, explore: orders, type: looker_line,
     fields: [orders.created_month, orders.nope, buyer.country], filters: {orders.status: "-test"}}
  - name: text
    type: text
    body_text: Ask finance before quoting.
- dashboard: second
  elements: []
"""
    files = shop("explore: orders { join: buyer { from: users sql_on: ${orders.user_id} = ${buyer.id} ;; } }")
    found = interpreted(tmp_path, {**files, "d/sales.dashboard.lookml": board})
    assert [page.key for page in found.pages] == ["looker-dashboard-sales", "looker-dashboard-second"]
    page = found.pages[0]
    assert page.definitions == ("orders.created_at", "users.country")
    assert "`{{orders.created_at}}` by month, `orders.nope`, `{{users.country}}`" in page.body
    assert "only where `orders.status` is `-test`" in page.body
    assert "Ask finance before quoting." in page.body
    assert found.units[-1].documents == ("d/sales.dashboard.lookml",)


def test_a_foreign_key_may_belong_to_another_joined_view(tmp_path: Path) -> None:
    found = interpreted(
        tmp_path,
        shop(
            "explore: items { join: orders { foreign_key: order_id } join: users { foreign_key: orders.user_id } }"
        ),
    )
    assert joins(found, "items") == {"orders": "many_to_one: items.order_id = orders.id"}
    assert joins(found, "orders") == {"users": "many_to_one: orders.user_id = users.id"}


def test_an_alias_that_is_the_name_of_a_table_gets_another_one(tmp_path: Path) -> None:
    found = interpreted(
        tmp_path,
        shop(
            "explore: items { sql_always_where: ${users.country} = 'DE' ;;"
            "  join: orders { sql_on: ${items.order_id} = ${orders.id} ;; }"
            "  join: users { from: items relationship: one_to_one sql_on: ${items.id} = ${users.id} ;; } }",
            "explore: orders { sql_always_where: ${items.country} = 'DE' ;;"
            "  join: items { from: users sql_on: ${orders.user_id} = ${items.id} ;; } }",
        ),
    )
    assert joins(found, "orders") == {"users_as_items": "many_to_one: orders.user_id = users_as_items.id"}
    assert joins(found, "items")["items_as_users"] == "one_to_one: items.id = items_as_users.id"
    assert [one.expr for one in definition(found, "orders").segments] == ["users_as_items.country = 'DE'"]


def test_a_condition_over_a_column_of_a_third_view_is_refused(tmp_path: Path) -> None:
    views = VIEWS.replace("dimension: status {}", "dimension: place { sql: ${items.id} ;; }")
    found = interpreted(
        tmp_path, model(views, "explore: orders { join: users { sql_on: ${orders.place} = ${users.id} ;; } }")
    )
    assert "two sides" in detail(found, "join users of explore orders")
