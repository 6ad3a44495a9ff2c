"""A whole dbt project with a semantic layer, its warehouse in DuckDB, and hand-written SQL for every metric that can be asked.

The warehouse is made by running the project's own SQL over raw tables with gaps: NULLs, guests, keys that lead nowhere.
"""

import datetime as dt
import random
import re
import shutil
from pathlib import Path
from typing import Any

import duckdb

PROJECT = Path(__file__).parent.parent / "sources" / "dbt" / "project"
_SCHEMAS = {
    "staging": "analytics_staging",
    "intermediate": "analytics_staging",
    "finance": "analytics_finance",
    "marketing": "analytics_marketing",
    "support": "analytics_support",
}
_SOURCE_SCHEMAS = {"shop": "raw_shop"}
_SOURCE_TABLES = {("shop", "stock_levels"): "stock_levels_v2"}
_DISABLED = {"old_orders", "fct_fx_rates"}
_EPHEMERAL = {"int_payments_by_order"}


def write_project(folder: Path, *, has_manifest: bool = False) -> Path:
    """Copy the project into a folder, with the artifacts that `dbt docs generate` would leave when asked."""
    shutil.copytree(PROJECT, folder, dirs_exist_ok=True)
    if has_manifest:
        from sampleprojects.dbt_manifest import write_artifacts

        write_artifacts(folder)
    return folder


def relation_of(model: str, folder: Path = PROJECT) -> tuple[str, str]:
    """Give the schema and the name of a model's table."""
    path = next(folder.glob(f"models/**/{model}.sql"))
    area = path.relative_to(folder / "models").parts
    found = next((_SCHEMAS[part] for part in area if part in _SCHEMAS), "analytics")
    alias = re.search(r"alias='(\w+)'", path.read_text())
    return found, alias.group(1) if alias else model


def source_relation(source: str, table: str) -> tuple[str, str]:
    """Give the schema and the name of a source's table."""
    return _SOURCE_SCHEMAS.get(source, f"raw_{source}"), _SOURCE_TABLES.get((source, table), table)


def build_warehouse(path: Path) -> None:
    """Make the warehouse file: raw tables, every enabled model, the seeds and the snapshot."""
    with duckdb.connect(str(path)) as connection:
        connection.execute("BEGIN")
        _raw_tables(connection)
        for schema in sorted({*_SCHEMAS.values(), "analytics", "analytics_seeds", "snapshots"}):
            connection.execute(f"CREATE SCHEMA {schema}")
        for seed in PROJECT.glob("seeds/*.csv"):
            connection.execute(
                f"CREATE TABLE analytics_seeds.{seed.stem} AS SELECT * FROM read_csv('{seed}')"
            )
        connection.execute(
            "CREATE TABLE snapshots.customers_snapshot AS SELECT *, 'x' || id AS dbt_scd_id, created_at AS dbt_valid_from, "
            "CAST(NULL AS TIMESTAMP) AS dbt_valid_to FROM raw_shop.customers"
        )
        _run_models(connection)
        connection.execute("COMMIT")


def render(sql: str) -> str:
    """Render a model's SQL as dbt would on a first run."""
    sql = re.sub(r"\{#.*?#\}", "", sql, flags=re.DOTALL)
    sql = re.sub(r"\{% if is_incremental\(\) %\}.*?\{% endif %\}", "", sql, flags=re.DOTALL)
    sql = re.sub(r"\{\{\s*config\(.*?\)\s*\}\}", "", sql, flags=re.DOTALL)

    def ref(found: re.Match[str]) -> str:
        name = found.group(1)
        if name in _EPHEMERAL:
            inner = render(next(PROJECT.glob(f"models/**/{name}.sql")).read_text())
            return f"({inner})"
        return ".".join(relation_of(name))

    sql = re.sub(r"\{\{\s*ref\('(\w+)'\)\s*\}\}", ref, sql)
    return re.sub(
        r"\{\{\s*source\('(\w+)', '(\w+)'\)\s*\}\}",
        lambda found: ".".join(source_relation(found.group(1), found.group(2))),
        sql,
    )


def _run_models(connection: duckdb.DuckDBPyConnection) -> None:
    waiting = {
        path.stem: path
        for path in sorted(PROJECT.glob("models/**/*.sql"))
        if path.stem not in _DISABLED | _EPHEMERAL
    }
    while waiting:
        for name, path in list(waiting.items()):
            text = path.read_text()
            needs = set(re.findall(r"ref\('(\w+)'\)", text))
            if "int_payments_by_order" in needs:
                needs |= {"stg_stripe__payments"}
            if needs & set(waiting):
                continue
            schema, table = relation_of(name)
            kind = "VIEW" if schema == "analytics_staging" else "TABLE"
            connection.execute(f"CREATE {kind} {schema}.{table} AS {render(text)}")
            del waiting[name]


def _raw_tables(connection: duckdb.DuckDBPyConnection) -> None:
    chance = random.Random(7)
    start = dt.datetime(2023, 1, 1)

    def moment(days: int) -> dt.datetime:
        return start + dt.timedelta(minutes=chance.randrange(days * 24 * 60))

    countries = ["DE", "DE", "FR", "US", "NO", None]
    tables: dict[str, tuple[str, list[tuple[Any, ...]]]] = {}
    tables["raw_shop.customers"] = (
        "id INTEGER, email TEXT, country TEXT, created_at TIMESTAMP, referred_by_id INTEGER",
        [
            (n, f"P{n}@Example.com" if n % 9 else None, chance.choice(countries), moment(600),
             chance.choice([None, None, chance.randrange(1, 120), 999]))
            for n in range(1, 121)
        ],
    )  # fmt: skip
    tables["raw_shop.addresses"] = (
        "id INTEGER, customer_id INTEGER, city TEXT, country TEXT",
        [
            (n, chance.randrange(1, 121), chance.choice(["Berlin", "Paris", "Oslo", None]), "DE")
            for n in range(1, 151)
        ],
    )
    orders = [
        (
            n,
            chance.choice([None, 777, *range(1, 121)]),
            chance.choice([None, 888, *range(1, 151)]),
            chance.choice([None, *range(1, 151)]),
            chance.choice(["placed", "paid", "paid", "shipped", "shipped", "cancelled"]),
            chance.choice(["web", "web", "app", "phone", None]),
            moment(700),
        )
        for n in range(1, 601)
    ]
    tables["raw_shop.orders"] = (
        (
            "id INTEGER, customer_id INTEGER, billing_address_id INTEGER, shipping_address_id INTEGER, status TEXT, "
            "channel TEXT, ordered_at TIMESTAMP"
        ),
        orders,
    )
    items = [
        (
            order[0],
            line,
            chance.choice([None, 555, *range(1, 31)]),
            chance.randrange(1, 9),
            chance.randrange(500, 20000) / 100,
            chance.choice([None, None, 0.1, 0.25]),
        )
        for order in orders
        for line in range(1, chance.randrange(1, 5))
    ]
    items += [(9999, 1, 3, 2, 10.0, None)]
    tables["raw_shop.order_items"] = (
        "order_id INTEGER, line_no INTEGER, product_id INTEGER, quantity INTEGER, unit_price DECIMAL(10,2), discount DECIMAL(4,2)",
        items,
    )
    tables["raw_shop.products"] = (
        "id INTEGER, name TEXT, category_id INTEGER, cost DECIMAL(10,2), is_active BOOLEAN",
        [
            (n, f"Lamp {n}", chance.choice([1, 2, 3, None]), chance.randrange(100, 5000) / 100, n % 7 > 0)
            for n in range(1, 31)
        ],
    )
    tables["raw_shop.categories"] = ("id INTEGER, name TEXT", [(1, "lamps"), (2, "bulbs"), (3, "parts")])
    tables["raw_shop.refunds"] = (
        "id INTEGER, order_id INTEGER, amount DECIMAL(10,2), reason INTEGER, refunded_at TIMESTAMP",
        [(n, chance.choice([None, 9999, *range(1, 601)]), chance.randrange(100, 9000) / 100, chance.choice([1, 2, 3]), moment(700))
         for n in range(1, 71)],
    )  # fmt: skip
    tables["raw_shop.stock_levels_v2"] = (
        "product_id INTEGER, site TEXT, day TIMESTAMP, on_hand INTEGER",
        [
            (product, site, start + dt.timedelta(days=day), chance.choice([None, *range(60)]))
            for product in range(1, 31)
            for site in ("north", "south")
            for day in range(0, 90, 7)
            if chance.random() > 0.1
        ],
    )
    tables["raw_stripe.payments"] = (
        "id INTEGER, order_id INTEGER, method TEXT, amount_cents INTEGER, is_captured BOOLEAN, created TIMESTAMP",
        [(n, chance.choice([None, *range(1, 620)]), chance.choice(["card", "transfer", "wallet"]), chance.randrange(500, 90000),
          chance.choice([True, True, False, None]), moment(700)) for n in range(1, 501)],
    )  # fmt: skip
    tables["raw_stripe.disputes"] = (
        "id INTEGER, payment_id INTEGER, state TEXT",
        [(n, n * 11, chance.choice(["open", "won", "lost"])) for n in range(1, 31)],
    )
    tables["raw_helpdesk.agents"] = (
        "id INTEGER, name TEXT, team TEXT, manager_id INTEGER",
        [
            (n, f"Agent {n}", chance.choice(["first", "second"]), None if n == 1 else chance.randrange(1, n))
            for n in range(1, 9)
        ],
    )
    tickets: list[tuple[Any, ...]] = []
    for n in range(1, 151):
        opened = moment(700)
        closed = chance.choice([None, opened + dt.timedelta(hours=chance.randrange(1, 200))])
        tickets.append(
            (n, chance.choice([None, *range(1, 130)]), chance.choice([None, *range(1, 9)]),
             chance.choice(["delivery", "broken", "invoice"]), opened, closed)
        )  # fmt: skip
    tables["raw_helpdesk.tickets"] = (
        "id INTEGER, customer_id INTEGER, agent_id INTEGER, topic TEXT, opened_at TIMESTAMP, closed_at TIMESTAMP",
        tickets,
    )
    tables["raw_web.sessions"] = (
        "id INTEGER, visitor TEXT, customer_id INTEGER, campaign_id INTEGER, device TEXT, started_at TIMESTAMP",
        [(n, f"v{chance.randrange(300)}", chance.choice([None, None, *range(1, 121)]), chance.choice([None, 77, *range(1, 9)]),
          chance.choice(["desktop", "mobile", "tablet"]), moment(700)) for n in range(1, 901)],
    )  # fmt: skip
    tables["raw_web.page_views"] = (
        "session_id INTEGER, path TEXT, viewed_at TIMESTAMP",
        [
            (chance.randrange(1, 950), chance.choice(["/", "/lamp", "/cart", "/thank-you"]), moment(700))
            for _ in range(2500)
        ],
    )
    tables["raw_ads.campaigns"] = (
        "id INTEGER, name TEXT, network TEXT",
        [(n, f"Campaign {n}", chance.choice(["search", "social"])) for n in range(1, 9)],
    )
    tables["raw_ads.spend"] = (
        "campaign_id INTEGER, day TIMESTAMP, cost DECIMAL(10,2)",
        [
            (n, start + dt.timedelta(days=day), chance.randrange(100, 9000) / 100)
            for n in range(1, 10)
            for day in range(0, 700, 30)
        ],
    )
    for schema in sorted({name.partition(".")[0] for name in tables}):
        connection.execute(f"CREATE SCHEMA {schema}")
    for name, (columns, rows) in tables.items():
        connection.execute(f"CREATE TABLE {name} ({columns})")
        for start_row in range(0, len(rows), 1000):
            values = ", ".join(
                f"({', '.join(map(_literal, row))})" for row in rows[start_row : start_row + 1000]
            )
            connection.execute(f"INSERT INTO {name} VALUES {values}")


def _literal(value: Any) -> str:
    if value is None:
        return "NULL"
    return f"'{value}'" if isinstance(value, str | dt.datetime) else str(value)


_ORDERS = "analytics.fct_orders"
_KEPT = "status <> 'cancelled'"
_LINES = "analytics.fct_order_items i JOIN analytics.fct_orders o USING (order_id)"

EXPECTED_METRICS: dict[str, str] = {
    "order_count": f"SELECT count(order_id) FROM {_ORDERS}",
    "gross_revenue": f"SELECT sum(order_amount) FROM {_ORDERS}",
    "revenue": f"SELECT sum(order_amount) FROM {_ORDERS} WHERE {_KEPT}",
    "german_revenue": f"SELECT sum(order_amount) FROM {_ORDERS} o JOIN analytics.dim_customers c USING (customer_id) "
    "WHERE o.status <> 'cancelled' AND c.country = 'DE'",
    "revenue_since_2024": f"SELECT sum(order_amount) FROM {_ORDERS} WHERE ordered_at >= '2024-01-01' "
    "AND (channel = 'web' OR item_count >= 10)",
    "registered_revenue": f"SELECT sum(order_amount) FROM {_ORDERS} WHERE customer_id IS NOT NULL AND year(ordered_at) = 2024",
    "berlin_billed_orders": f"SELECT count(order_id) FROM {_ORDERS} WHERE billing_address_id IN "
    "(SELECT address_id FROM analytics.dim_addresses WHERE city = 'Berlin')",
    "average_order_amount": f"SELECT avg(order_amount) FROM {_ORDERS}",
    "median_order_amount": f"SELECT median(order_amount) FROM {_ORDERS}",
    "p90_order_amount": f"SELECT quantile_cont(order_amount, 0.9) FROM {_ORDERS}",
    "largest_order": f"SELECT max(order_amount) FROM {_ORDERS}",
    "buying_customers": f"SELECT count(DISTINCT customer_id) FROM {_ORDERS}",
    "cancelled_orders": f"SELECT count(*) FROM {_ORDERS} WHERE status = 'cancelled'",
    "customer_count": "SELECT count(*) FROM analytics.dim_customers",
    "item_revenue": f"SELECT sum(line_amount) FROM {_LINES} WHERE {_KEPT}",
    "item_cost": f"SELECT sum(line_cost) FROM {_LINES} WHERE {_KEPT}",
    "lamp_units": "SELECT sum(quantity) FROM analytics.fct_order_items JOIN analytics.dim_products USING (product_id) "
    "WHERE category = 'lamps'",
    "german_units": f"SELECT sum(quantity) FROM {_LINES} JOIN analytics.dim_customers c USING (customer_id) WHERE c.country = 'DE'",
    "units": "SELECT sum(quantity) FROM analytics.fct_order_items",
    "refund_amount": "SELECT coalesce(sum(amount), 0) FROM analytics.fct_refunds",
    "cancelled_share": f"SELECT avg(CASE WHEN status = 'cancelled' THEN 1.0 ELSE 0 END) FROM {_ORDERS}",
    "german_share": f"SELECT sum(CASE WHEN c.country = 'DE' THEN order_amount END) / sum(order_amount) FROM {_ORDERS} o "
    "LEFT JOIN analytics.dim_customers c USING (customer_id) WHERE o.status <> 'cancelled'",
    "web_share": f"SELECT avg(CASE WHEN channel = 'web' THEN 1.0 ELSE 0 END) FROM {_ORDERS} WHERE {_KEPT}",
    "item_margin": f"SELECT sum(line_amount) - sum(line_cost) FROM {_LINES} WHERE {_KEPT}",
    "item_margin_rate": f"SELECT (sum(line_amount) - sum(line_cost)) / sum(line_amount)::DOUBLE FROM {_LINES} WHERE {_KEPT}",
    "net_revenue": f"SELECT (SELECT sum(order_amount) FROM {_ORDERS} WHERE {_KEPT}) - (SELECT sum(amount) FROM analytics.fct_refunds)",
    "units_per_order": "SELECT (SELECT sum(quantity) FROM analytics.fct_order_items JOIN analytics.dim_products USING (product_id) "
    f"WHERE category = 'lamps') / (SELECT count(order_id)::DOUBLE FROM {_ORDERS})",
    "stock_on_hand": "SELECT sum(on_hand) FROM analytics.fct_stock_levels WHERE stock_day = "
    "(SELECT max(stock_day) FROM analytics.fct_stock_levels)",
    "stock_at_start": "SELECT sum(on_hand) FROM analytics.fct_stock_levels WHERE stock_day = "
    "(SELECT min(stock_day) FROM analytics.fct_stock_levels)",
    "early_stock": "SELECT sum(on_hand) FROM analytics.fct_stock_levels WHERE site = 'north' AND stock_day = "
    "(SELECT max(stock_day) FROM analytics.fct_stock_levels WHERE site = 'north' AND stock_day < '2023-02-20')",
    "foreign_orders": f"SELECT count(*) FROM {_ORDERS} WHERE coalesce(customer_id, 0) NOT IN "
    "(SELECT customer_id FROM analytics.dim_customers WHERE country = 'DE')",
    "captured_amount": "SELECT sum(amount) FROM analytics_finance.payments WHERE is_captured",
    "disputed_amount": "SELECT sum(amount) FROM analytics_finance.payments WHERE is_captured AND dispute_state IS NOT NULL",
    "session_count": "SELECT count(*) FROM analytics_marketing.fct_sessions",
    "search_sessions": "SELECT count(*) FROM analytics_marketing.fct_sessions WHERE campaign_id IN "
    "(SELECT campaign_id FROM analytics_marketing.dim_campaigns WHERE network = 'search')",
    "bought_sessions": "SELECT count(*) FROM analytics_marketing.fct_sessions WHERE has_bought",
    "visitors": "SELECT count(DISTINCT visitor) FROM analytics_marketing.fct_sessions",
    "purchase_rate": "SELECT avg(has_bought::INT) FROM analytics_marketing.fct_sessions",
    "ad_cost": "SELECT sum(cost) FROM analytics_marketing.fct_ad_spend",
    "cost_per_visit": "SELECT (SELECT sum(cost) FROM analytics_marketing.fct_ad_spend)::DOUBLE / "
    "(SELECT count(*) FROM analytics_marketing.fct_sessions)",
    "ticket_count": "SELECT count(*) FROM analytics_support.fct_tickets",
    "closed_tickets": "SELECT count(*) FROM analytics_support.fct_tickets WHERE closed_at IS NOT NULL",
    "hours_to_close": "SELECT avg(hours_to_close) FROM analytics_support.fct_tickets",
}
"""SQL that gives the value of each metric over all rows, by its name."""

EXPECTED_BREAKDOWNS: dict[tuple[str, str, str | None], str] = {
    (
        "revenue",
        "dim_customers.country",
        None,
    ): "SELECT c.country, sum(order_amount) FROM analytics.fct_orders o "
    "LEFT JOIN analytics.dim_customers c USING (customer_id) WHERE o.status <> 'cancelled' GROUP BY 1",
    (
        "gross_revenue",
        "fct_orders.sales_channel",
        None,
    ): "SELECT coalesce(channel, 'unknown'), sum(order_amount) FROM analytics.fct_orders GROUP BY 1",
    ("item_margin", "dim_products.category", None): "SELECT p.category, sum(line_amount) - sum(line_cost) "
    "FROM analytics.fct_order_items i JOIN analytics.fct_orders o USING (order_id) "
    "LEFT JOIN analytics.dim_products p USING (product_id) WHERE o.status <> 'cancelled' GROUP BY 1",
    (
        "stock_on_hand",
        "fct_stock_levels.stock_day",
        "month",
    ): "SELECT date_trunc('month', stock_day), sum(on_hand) "
    "FROM analytics.fct_stock_levels s WHERE stock_day = (SELECT max(stock_day) FROM analytics.fct_stock_levels t "
    "WHERE date_trunc('month', t.stock_day) = date_trunc('month', s.stock_day)) GROUP BY 1",
    ("closed_tickets", "metric_time", "year"): "SELECT date_trunc('year', closed_at), count(closed_at) "
    "FROM analytics_support.fct_tickets GROUP BY 1",
    ("net_revenue", "metric_time", "month"): "SELECT coalesce(o.m, r.m), o.v - coalesce(r.v, 0) FROM "
    "(SELECT date_trunc('month', ordered_at) m, sum(CASE WHEN status <> 'cancelled' THEN order_amount END) v "
    "FROM analytics.fct_orders GROUP BY 1) o FULL JOIN (SELECT date_trunc('month', refunded_on) m, sum(amount) v "
    "FROM analytics.fct_refunds GROUP BY 1) r ON o.m = r.m",
    ("units_per_order", "metric_time", "quarter"): "SELECT coalesce(o.q, i.q), i.n / o.n::DOUBLE FROM "
    "(SELECT date_trunc('quarter', ordered_at) q, count(order_id) n FROM analytics.fct_orders GROUP BY 1) o FULL JOIN "
    "(SELECT date_trunc('quarter', line_ordered_at) q, sum(CASE WHEN category = 'lamps' THEN quantity END) n "
    "FROM analytics.fct_order_items LEFT JOIN analytics.dim_products USING (product_id) GROUP BY 1) i "
    "ON o.q IS NOT DISTINCT FROM i.q",
    (
        "p90_order_amount",
        "fct_orders.sales_channel",
        None,
    ): "SELECT coalesce(channel, 'unknown'), quantile_cont(order_amount, 0.9) "
    "FROM analytics.fct_orders GROUP BY 1",
    (
        "web_share",
        "dim_customers.segment",
        None,
    ): "SELECT c.segment, avg(CASE WHEN status = 'cancelled' THEN NULL WHEN channel = 'web' "
    "THEN 1.0 ELSE 0 END) FROM analytics.fct_orders LEFT JOIN analytics.dim_customers c USING (customer_id) GROUP BY 1",
    ("cost_per_visit", "dim_campaigns.network", None): "SELECT s.network, a.cost::DOUBLE / s.n FROM "
    "(SELECT network, count(*) n FROM analytics_marketing.fct_sessions LEFT JOIN analytics_marketing.dim_campaigns USING (campaign_id) "
    "GROUP BY 1) s FULL JOIN (SELECT network, sum(cost) cost FROM analytics_marketing.fct_ad_spend "
    "LEFT JOIN analytics_marketing.dim_campaigns USING (campaign_id) GROUP BY 1) a ON s.network IS NOT DISTINCT FROM a.network",
}
"""SQL for some metrics by a dimension, the last part being its granularity."""

REFUSED_METRICS: dict[str, str] = {
    "p99_order_amount": "expression_not_supported",
    "revenue_month_to_date": "cumulative_metric_unsupported",
    "revenue_last_30_days": "cumulative_metric_unsupported",
    "revenue_growth": "expression_not_supported",
    "big_spender_orders": "expression_not_supported",
    "stock_by_site": "expression_not_supported",
    "visit_to_purchase": "conversion_metric_unsupported",
}
"""Metrics that the layer cannot hold, and the reason that is reported."""
