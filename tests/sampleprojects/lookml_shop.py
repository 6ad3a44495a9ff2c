"""A LookML project of a shop, the DuckDB warehouse behind it, and what its measures must give, as SQL written by hand."""

import shutil
from pathlib import Path

import duckdb

FOLDER = Path(__file__).parent / "lookml_shop"
LOOKER_CONNECTION = "acme_duckdb"
"""The Looker connection whose models land; the project has another one, `old_mysql`."""

_PAID = "status IN ('paid', 'shipped', 'delivered')"
_LINES = "retail.order_items i LEFT JOIN retail.products p ON p.id = i.product_id"

EXPECTED = {
    "orders.count": "SELECT count(*) FROM retail.orders",
    "orders.paid_count": f"SELECT count(*) FROM retail.orders WHERE {_PAID}",
    "orders.not_cancelled_count": "SELECT count(*) FROM retail.orders WHERE status IS DISTINCT FROM 'cancelled'",
    "orders.big_discounted_count": "SELECT count(*) FROM retail.orders WHERE trim(discount_code) <> '' AND gross_cents >= 10000",
    "orders.spring_count": """SELECT count(*) FROM retail.orders
        WHERE created_at >= TIMESTAMP '2024-03-01 00:00:00' AND created_at < TIMESTAMP '2024-06-01 00:00:00'""",
    "orders.gross_revenue": "SELECT sum(gross_cents) / 100.0 FROM retail.orders",
    "orders.average_order": "SELECT avg(gross_cents) / 100.0 FROM retail.orders",
    "orders.median_order": "SELECT median(gross_cents) / 100.0 FROM retail.orders",
    "orders.p90_order": "SELECT quantile_cont(gross_cents, 0.9) / 100.0 FROM retail.orders",
    "orders.smallest_order": "SELECT min(gross_cents) / 100.0 FROM retail.orders",
    "orders.largest_order": "SELECT max(gross_cents) / 100.0 FROM retail.orders",
    "orders.customers": "SELECT count(DISTINCT customer_id) FROM retail.orders",
    "orders.paid_share": f"SELECT count(*) FILTER (WHERE {_PAID}) / count(*) FROM retail.orders",
    "orders.gross_by_order_key": "SELECT sum(gross_cents) / 100.0 FROM retail.orders",
    "orders.orders_per_customer": "SELECT (SELECT count(*) FROM retail.orders) / (SELECT count(*) FROM retail.customers)",
    "orders.net_revenue": f"SELECT sum(gross_cents - coalesce(discount_cents, 0)) / 100.0 FROM retail.orders WHERE {_PAID}",
    "orders.net_share": f"""SELECT sum(gross_cents - coalesce(discount_cents, 0)) FILTER (WHERE {_PAID}) / sum(gross_cents)
        FROM retail.orders""",
    "customers.count": "SELECT count(*) FROM retail.customers",
    "customers.inactive_count": "SELECT count(*) FROM retail.customers WHERE is_active IS DISTINCT FROM TRUE",
    "customers.emea_count": "SELECT count(*) FROM retail.customers WHERE country_code IN ('DE', 'FR', 'PL')",
    "customers.adults": "SELECT count(*) FROM retail.customers WHERE age BETWEEN 18 AND 64",
    "customers.average_age": "SELECT avg(age) FROM retail.customers",
    "customers.lifetime_orders_sum": """SELECT count(*) FROM retail.orders o JOIN retail.customers c ON c.id = o.customer_id
        WHERE status <> 'cancelled'""",
    "order_items.count": "SELECT count(*) FROM retail.order_items",
    "order_items.units": "SELECT sum(quantity) FROM retail.order_items",
    "order_items.sales": "SELECT sum(quantity * unit_price) FROM retail.order_items",
    "order_items.total_margin": f"SELECT sum(quantity * unit_price - quantity * p.cost) FROM {_LINES}",
    "order_items.cost_of_goods": f"SELECT sum(quantity * p.cost) FROM {_LINES}",
    "order_items.margin_rate": f"""SELECT sum(quantity * unit_price - quantity * p.cost)
        / (SELECT sum(quantity * unit_price) FROM retail.order_items) FROM {_LINES}""",
    "order_items.sales_per_order": """SELECT (SELECT sum(quantity * unit_price) FROM retail.order_items)
        / (SELECT count(*) FROM retail.orders)""",
    "order_items.german_sales": """SELECT sum(quantity * unit_price) FROM retail.order_items i
        JOIN retail.orders o ON o.id = i.order_id JOIN retail.customers c ON c.id = o.customer_id WHERE c.country_code = 'DE'""",
    "order_items.toy_units": """SELECT sum(quantity) FROM retail.order_items i JOIN retail.products p ON p.id = i.product_id
        JOIN retail.product_categories c ON c.id = p.category_id WHERE c.name IN ('Toys', 'Games')""",
    "products.count": "SELECT count(*) FROM retail.products",
    "products.premium_count": "SELECT count(*) FROM retail.products WHERE list_price > 80",
    "products.average_markup": "SELECT avg(list_price / cost - 1) FROM retail.products WHERE cost <> 0",
    "products.top_price": "SELECT max(list_price) FROM retail.products",
    "categories.count": "SELECT count(*) FROM retail.product_categories",
    "stores.count": "SELECT count(*) FROM retail.stores",
    "stores.old_count": "SELECT count(*) FROM retail.stores WHERE opened_on < DATE '2015-01-01'",
    "returns.count": "SELECT count(*) FROM retail.returns",
    "returns.refunds": "SELECT sum(refund_cents) / 100.0 FROM retail.returns",
    "returns.damaged": "SELECT count(*) FROM retail.returns WHERE contains(reason, 'damaged') OR reason = 'broken'",
    "returns.unexplained": "SELECT count(*) FROM retail.returns WHERE coalesce(reason, '') = ''",
    "shipments.count": "SELECT count(*) FROM retail.shipments",
    "shipments.weight": "SELECT sum(weight_g) / 1000.0 FROM retail.shipments",
    "shipments.heavy": "SELECT count(*) FROM retail.shipments WHERE weight_g > 2000 AND weight_g <= 20000",
    "shipments.by_air_or_courier": """SELECT count(*) FROM retail.shipments
        WHERE carrier IS NULL OR carrier NOT IN ('Ground', 'Sea, slow')""",
    "employees.headcount": "SELECT count(*) FROM retail.employees",
    "employees.payroll": "SELECT sum(salary) FROM retail.employees",
    "customer_facts.repeat_customers": """SELECT count(*) FROM (SELECT customer_id FROM retail.orders WHERE status <> 'cancelled'
        GROUP BY 1 HAVING count(*) > 1)""",
    "customer_facts.average_lifetime_value": """SELECT avg(v) FROM (SELECT sum(gross_cents) / 100.0 v FROM retail.orders
        WHERE status <> 'cancelled' GROUP BY customer_id)""",
    "country_value.total_value": """SELECT sum(gross_cents) / 100.0 FROM retail.orders o JOIN retail.customers c
        ON c.id = o.customer_id WHERE status <> 'cancelled'""",
    "country_value.buyers": """SELECT count(DISTINCT customer_id) FROM retail.orders o JOIN retail.customers c
        ON c.id = o.customer_id WHERE status <> 'cancelled'""",
}
"""Measures by `definition.measure`, with the SQL that gives the same number."""

_TABLES = """
CREATE SCHEMA retail;
CREATE TABLE retail.stores AS SELECT i AS id, ['Berlin', 'Lyon', 'Austin', 'Online'][i] AS city,
    DATE '2010-05-01' + CAST(i * 900 AS INTEGER) AS opened_on FROM range(1, 5) t(i);
CREATE TABLE retail.employees AS SELECT i AS id, CASE WHEN i > 1 THEN i // 2 END AS manager_id, 1 + i % 4 AS store_id,
    'Person ' || i AS full_name, 30000 + i * 137 AS salary FROM range(1, 41) t(i);
CREATE TABLE retail.customers AS SELECT i AS id, 'First' || i AS first_name, 'Last' || i AS last_name,
    'c' || i || CASE WHEN i % 40 = 0 THEN '@acme.test' ELSE '@example.com' END AS email,
    ['DE', 'FR', 'PL', 'US', 'JP', NULL][1 + i % 6] AS country_code,
    CASE WHEN i % 17 = 0 THEN NULL ELSE 15 + (i * 7) % 70 END AS age,
    TIMESTAMP '2023-01-01 08:00:00' + to_hours(CAST(i * 11 AS INTEGER)) AS signed_up_at,
    CASE WHEN i % 9 = 0 THEN NULL ELSE i % 4 <> 0 END AS is_active, 50.0 + i AS lat, 8.0 + i AS lon FROM range(1, 301) t(i);
CREATE TABLE retail.orders AS SELECT i AS id, CASE WHEN i % 50 = 0 THEN NULL ELSE 1 + (i * 13) % 320 END AS customer_id,
    1 + i % 4 AS store_id, ['placed', 'paid', 'shipped', 'delivered', 'cancelled', 'test', NULL][1 + i % 7] AS status,
    TIMESTAMP '2023-11-01 00:00:00' + to_hours(CAST(i * 5 AS INTEGER)) AS created_at,
    CASE WHEN i % 7 = 3 THEN DATE '2023-11-05' + CAST(i // 5 AS INTEGER) END AS delivered_on,
    CASE i % 5 WHEN 0 THEN 'SPRING' WHEN 1 THEN ' ' ELSE NULL END AS discount_code,
    500 + (i * 7919) % 40000 AS gross_cents, CASE WHEN i % 5 = 0 THEN 300 END AS discount_cents FROM range(1, 2001) t(i);
CREATE TABLE retail.product_categories AS SELECT i AS id, CASE WHEN i > 2 THEN 1 + i % 2 END AS parent_id,
    ['Play', 'Home', 'Toys', 'Games', 'Kitchen', 'Garden'][i] AS name FROM range(1, 7) t(i);
CREATE TABLE retail.products AS SELECT i AS id, 'Product ' || i AS title, 1 + i % 6 AS category_id,
    CAST(CASE WHEN i % 30 = 0 THEN 0 ELSE 5 + (i * 31) % 60 END AS DECIMAL(10, 2)) AS cost,
    CAST(9 + (i * 37) % 110 AS DECIMAL(10, 2)) AS list_price FROM range(1, 121) t(i);
CREATE TABLE retail.order_items AS SELECT o.i AS order_id, l.i AS line_no, 1 + (o.i * 3 + l.i * 17) % 125 AS product_id,
    1 + (o.i + l.i) % 4 AS quantity, CAST(4 + (o.i * l.i) % 90 AS DECIMAL(10, 2)) AS unit_price
    FROM range(1, 2001) o(i), range(1, 4) l(i) WHERE (o.i + l.i) % 3 <> 0;
CREATE TABLE retail.returns AS SELECT row_number() OVER (ORDER BY order_id, line_no) AS id, order_id, line_no,
    ['damaged box', 'broken', '', NULL, 'too small', 'was damaged'][1 + order_id % 6] AS reason, 100 + order_id % 900 AS refund_cents
    FROM retail.order_items WHERE order_id % 8 = 0;
CREATE TABLE retail.shipments AS SELECT i AS id, i // 2 + 1 AS order_id,
    ['Ground', 'Air', 'Sea, slow', 'Courier', NULL][1 + i % 5] AS carrier, 100 + (i * 211) % 25000 AS weight_g,
    TIMESTAMP '2023-11-03 00:00:00' + to_hours(CAST(i * 2 AS INTEGER)) AS shipped_at FROM range(1, 1501) t(i);
CREATE TABLE retail.events AS SELECT i AS id FROM range(1, 11) t(i);
"""


def write_project(folder: Path, *, with_broken_file: bool = False) -> None:
    """Copy the LookML project to `folder`, if asked with a file that cannot be parsed, `legacy/broken.view.lkml`."""
    shutil.copytree(FOLDER, folder, dirs_exist_ok=True)
    if with_broken_file:
        (folder / "legacy" / "broken.view.lkml").write_text(
            "view: broken { dimension: id { sql: ${TABLE}.id ;; }\n"
        )


def build_warehouse(path: Path) -> None:
    """Make the DuckDB file that the project's views lie over."""
    with duckdb.connect(str(path)) as connection:
        connection.execute(_TABLES)
