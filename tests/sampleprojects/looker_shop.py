"""A Looker over a shop of refurbished bicycles: two models, nine explores, fourteen dashboards, eighteen Looks.

`EXPECTED` gives, for each measure that must land, SQL written by hand that gives its value.
"""

import contextlib
import datetime as dt
import json
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import duckdb

from lookerserver.server import CLIENT_ID, CLIENT_SECRET, Content, serve_looker
from loopback import Loopback

CONNECTIONS: dict[str, str | None] = {"duck_prod": "warehouse", "old_mart": None}


def _dim(view: str, name: str, type_: str = "string", sql: str | None = None, **more: Any) -> dict[str, Any]:
    return {
        "name": f"{view}.{name}", "view": view, "original_view": more.pop("original", view), "type": type_, "sql": sql if sql is not None else f"${{TABLE}}.{name}",
        "label": f"{view.title()} {name.title()}", "category": "dimension", "description": None, "times_used": 41, "hidden": False, "primary_key": False, **more,
    }  # fmt: skip


def _measure(view: str, name: str, type_: str, sql: str | None = None, **more: Any) -> dict[str, Any]:
    filters = [{"field": key, "condition": value} for key, value in more.pop("only", {}).items()]
    return {
        **_dim(view, name, type_, sql or "", **more),
        "sql": sql,
        "category": "measure",
        "filters": filters,
    }


def _times(view: str, group: str, sql: str, *frames: str, **more: Any) -> list[dict[str, Any]]:
    return [
        _dim(view, f"{group}_{frame}", f"date_{frame}", sql, dimension_group=f"{view}.{group}", time_interval={"name": frame, "count": 1}, is_timeframe=True, **more)
        for frame in frames
    ]  # fmt: skip


def _bikes(view: str = "bikes") -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    return (
        [
            _dim(view, "id", "number", primary_key=True, original="bikes"),
            _dim(view, "brand", sql="${TABLE}.brand_name", description="Who built the frame.", original="bikes"),
            _dim(view, "frame_size", "number", original="bikes"),
            _dim(view, "is_electric", "yesno", sql="${TABLE}.motor_watts > 0", description="Whether it has a motor.", original="bikes"),
            _dim(view, "size_class", sql=None, original="bikes", sql_case=[
                {"value": "small", "condition": "${frame_size} < 52"}, {"value": "large", "condition": "${frame_size} >= 58"}, {"value": "medium", "condition": None}]),
            _dim(view, "size_tier", "tier", sql="${frame_size}", original="bikes"),
        ],
        [
            _measure(view, "count", "count", original="bikes"),
            _measure(view, "frames", "count_distinct", '${TABLE}."Frame No"', original="bikes"), _measure(view, "electric_count", "count", only={f"{view}.is_electric": "yes"}, original="bikes"),
            _measure(view, "pedal_count", "count", only={"is_electric": "no"}, original="bikes"),
            _measure(view, "tall_bikes", "count", only={f"{view}.frame_size": "[58, inf)"}, original="bikes"),
        ],
    )  # fmt: skip


def _customers(view: str = "customers") -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    return (
        [
            _dim(view, "id", "number", primary_key=True, original="customers"),
            _dim(view, "city", original="customers"),
            _dim(view, "full_name", sql="CONCAT(${TABLE}.first_name, ' ', ${TABLE}.last_name)", description="First and last name.", original="customers"),
            _dim(view, "segment", sql="{% if x._is_selected %} a {% else %} b {% endif %}", original="customers"),
        ],
        [_measure(view, "count", "count", original="customers"), _measure(view, "cities", "count_distinct", "${city}", original="customers"), _measure(view, "last_name", "count_distinct", "${TABLE}.last_name", original="customers")],
    )  # fmt: skip


def _rentals() -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    v = "rentals"
    return (
        [
            _dim(v, "id", "number", primary_key=True),
            _dim(v, "customer_id", "number", hidden=True),
            _dim(v, "state", description="open, returned, lost or cancelled"),
            _dim(v, "fee", "number", description="What the customer paid, in EUR."),
            _dim(v, "deposit", "number"),
            _dim(v, "net_fee", "number", "${fee} - ${TABLE}.deposit / 100", description="Fee after handling."),
            _dim(v, "channel"),
            _dim(v, "town", sql="UPPER(${customers.city})"),
            *_times(v, "started", "${TABLE}.started_at", "raw", "date", "month", "year", description="When the bicycle left the shop."),
            *_times(v, "due", "${TABLE}.started_at + INTERVAL 3 DAY", "date", "week"),
            _dim(v, "days_out", "duration_day", "${TABLE}.started_at"),
            _dim(v, "ghost", sql="${TABLE}.no_such_column"),
            _dim(v, "secret", sql="@{secret_column}"),
            _dim(v, "place", "location", "${TABLE}.channel"),
        ],
        [
            _measure(v, "count", "count", description="How many rentals."),
            _measure(v, "total_fee", "sum", "${fee}", description="Fees before handling."),
            _measure(v, "total_net_fee", "sum", "${net_fee}"),
            _measure(v, "average_fee", "average", "${TABLE}.fee"),
            _measure(v, "median_fee", "median", "${fee}"),
            _measure(v, "largest_fee", "max", "${fee}"),
            _measure(v, "renters", "count_distinct", "${customer_id}"),
            _measure(v, "returned_fee", "sum", "${fee}", only={"rentals.state": "returned", "rentals.fee": ">=10"}),
            _measure(v, "not_lost", "count", only={"rentals.state": "-lost,-cancelled"}),
            _measure(v, "walk_ins", "count", only={"rentals.channel": "shop%,NULL"}),
            _measure(v, "mid_fees", "count", only={"rentals.fee": "[10,20),NOT 15"}),
            _measure(v, "fee_per_rental", "number", "1.0 * ${total_fee} / NULLIF(${count}, 0)"),
            _measure(v, "fee_per_bike", "number", "${total_fee} / ${bikes.count}"),
            _measure(v, "fee_in_town", "sum", "CASE WHEN ${customers.city} = 'Ghent' THEN ${fee} END", description="Fees of customers who live in town."),
            _measure(v, "spread", "number", "MAX(${fee}) - MIN(${TABLE}.fee)"),
            _measure(v, "last_start", "date", "MAX(${started_raw})"),
            _measure(v, "deposit_sum", "sum", "${TABLE}.deposit", label="All deposits"),
            _measure(v, "twice_running", "number", "${running} * 2"),
            _measure(v, "handlers", "number", "${handler.count} + ${count}"),
            _measure(v, "recent", "count", only={"rentals.started_date": "7 days"}),
            _measure(v, "running", "running_total", "${total_fee}"),
            _measure(v, "names", "list", "${state}"),
            _measure(v, "distinct_fee", "sum_distinct", "${fee}"),
            _measure(v, "loop_a", "number", "${loop_b} + 1"),
            _measure(v, "loop_b", "number", "${loop_a} + 1"),
            _measure(v, "nested", "sum", "SUM(${fee})"),
            _measure(v, "templated", "sum", "{{ _user_attributes['rate'] }} * ${fee}"),
            _measure(v, "unclear", "sum", None),
        ],
    )  # fmt: skip


def _staff(view: str, original: str = "staff") -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    return (
        [_dim(view, "id", "number", primary_key=True, original=original), _dim(view, "name", original=original), _dim(view, "boss_id", "number", original=original)],
        [_measure(view, "count", "count", original=original)],
    )  # fmt: skip


def _repairs() -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    v = "repairs"
    return (
        [_dim(v, "id", "number", primary_key=True), _dim(v, "rental_id", "number"), _dim(v, "kind"), _dim(v, "cost", "number")],
        [_measure(v, "count", "count"), _measure(v, "total_cost", "sum", "${cost}"), _measure(v, "cost_share", "number", "${total_cost} / ${rentals.total_fee}")],
    )  # fmt: skip


def _explore(
    name: str,
    base: str,
    table: str | None,
    parts: list[Any],
    *joins: dict[str, Any],
    model: str = "bikeshop",
    connection: str = "duck_prod",
    **more: Any,
) -> dict[str, Any]:
    return {
        "id": f"{model}::{name}", "name": name, "model_name": model, "project_name": model, "label": name.replace("_", " ").title(), "description": None, "hidden": False,
        "connection_name": connection, "view_name": base, "sql_table_name": table, "can_develop": False, "source_file": "x", "joins": list(joins),
        "fields": {"dimensions": [d for dims, _ in parts for d in dims], "measures": [m for _, ms in parts for m in ms], "filters": [], "parameters": []}, **more,
    }  # fmt: skip


def _join(
    name: str, on: str | None, relationship: str = "many_to_one", table: str | None = None, **more: Any
) -> dict[str, Any]:
    return {
        "name": name,
        "type": "left_outer",
        "relationship": relationship,
        "sql_on": on,
        "sql_table_name": table,
        "from": None,
        "foreign_key": None,
        **more,
    }


def _derived(view: str) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    return [_dim(view, "customer_id", "number"), _dim(view, "lifetime_fee", "number")], [
        _measure(view, "total", "sum", "${lifetime_fee}")
    ]


def content() -> Content:
    """Build all that the server holds."""
    customers_join = _join("customers", "${rentals.customer_id} = ${customers.id}", table="bike.customers")
    explores = [
        _explore("rentals", "rentals", "bike.rentals", [_rentals(), _customers(), _bikes(), _staff("handler"), _derived("facts")],
                 customers_join,
                 _join("bikes", None, table="bike.bikes", foreign_key="bike_id"),
                 _join("handler", "${rentals.customer_id} % 7 = ${handler.id}", table="bike.staff", **{"from": "staff"}),
                 _join("facts", "${rentals.customer_id} = ${facts.customer_id}", table="${customer_facts.SQL_TABLE_NAME}"),
                 description="Every rental of a bicycle. Use it for money and utilisation.",
                 always_filter=[{"name": "rentals.state", "value": "-cancelled"}]),
        _explore("repairs", "repairs", '"bike"."repairs" AS r', [_repairs(), _rentals(), _customers()],
                 _join("rentals", "${repairs.rental_id} = ${rentals.id}", table="bike.rentals"), customers_join),
        _explore("customers", "customers", "bike.customers", [_customers(), _rentals()], _join("rentals", "${customers.id} = ${rentals.customer_id}", "one_to_many", "bike.rentals"), description="People who rented at least once."),
        _explore("bikes", "bikes", "bike.bikes", [_bikes()]),
        _explore("staff", "staff", "bike.staff", [_staff("staff"), _staff("boss")], _join("boss", "${staff.boss_id} = ${boss.id}", table="bike.staff", **{"from": "staff"})),
        _explore("riders", "riders", "bike.customers", [_customers("riders")], label="Riders"),
        _explore("customer_facts", "facts", "${customer_facts.SQL_TABLE_NAME}", [_derived("facts")]),
        _explore("by_tenant", "tenant", "{{ _user_attributes['schema'] }}.rentals", [_derived("tenant")]),
        _explore("ledger", "ledger", "mart.ledger", [_derived("ledger")], model="finance", connection="old_mart"),
        _explore("gone", "gone", "bike.gone", [_derived("gone")], _join("bikes", "${gone.customer_id} = ${bikes.id}", "many_to_many", "bike.bikes")),
    ]  # fmt: skip
    explores[0]["fields"]["dimensions"].append(_dim("rentals", "bike_id", "number"))
    models: dict[str, list[dict[str, Any]]] = {}
    for one in explores:
        models.setdefault(one["model_name"], []).append(
            {"name": one["name"], "label": one["label"], "hidden": False}
        )
    listed = [
        {"name": name, "label": name.title(), "project_name": name, "explores": found}
        for name, found in models.items()
    ]
    listed.append(
        {"name": "system__activity", "label": "System Activity", "explores": [{"name": "content_usage"}]}
    )
    return Content(
        models=listed,
        explores={(one["model_name"], one["name"]): one for one in explores},
        folders=[
            {"id": "1", "name": "Shared", "parent_id": None},
            {"id": "2", "name": "Operations", "parent_id": "1"},
            {"id": "3", "name": "Finance [[x]]", "parent_id": "1"},
            {"id": "4", "name": "Ana", "parent_id": None, "is_personal": True},
            {"id": "5", "name": "Drafts", "parent_id": "4", "is_personal_descendant": True},
            *({"id": str(n), "name": f"Folder {n}", "parent_id": "1"} for n in range(10, 130)),
        ],
        dashboards=[*(_dashboard(n) for n in range(1, 14)), {**_dashboard(14), "id": "bikeshop::overview", "updated_at": None, "folder": {"id": "2"}}, {**_dashboard(15), "deleted": True}],
        looks=[_look(n) for n in range(1, 19)],
    )  # fmt: skip


_QUERY = {
    "id": "77", "model": "bikeshop", "view": "rentals", "fields": ["rentals.started_month", "rentals.total_fee", "customers.city", "rentals.names"],
    "filters": {"rentals.state": "returned", "rentals.started_date": "12 months"}, "sorts": ["rentals.started_month desc"], "limit": "500",
    "dynamic_fields": json.dumps([{"category": "measure", "label": "Fee of e-bikes", "based_on": "rentals.fee", "type": "sum", "filters": {"bikes.is_electric": "yes"}}]),
    "vis_config": {"type": "looker_line"}, "client_id": "abc", "share_url": "https://x",
}  # fmt: skip


def _dashboard(n: int) -> dict[str, Any]:
    folder = ("2", "3", "5", "2")[n % 4]
    return {
        "id": str(n), "title": f"Board {n}", "description": "Monday meeting." if n % 3 == 0 else None, "folder": {"id": folder, "name": "x"}, "deleted": False,
        "updated_at": f"2026-01-{n:02d}T08:00:00Z", "view_count": n * 11, "favorite_count": 2, "last_viewed_at": "2026-05-01T00:00:00Z", "user_id": "9",
        "dashboard_filters": [{"id": "1", "name": "City", "title": "City", "dimension": "customers.city", "model": "bikeshop", "explore": "rentals", "default_value": "Ghent"}],
        "dashboard_elements": [
            {"id": "1", "type": "vis", "title": "Fees by month", "query": _QUERY if n % 2 else None, "result_maker": {"query": _QUERY, "filterables": []}, "note_text": "Cancelled rentals never count."},
            {"id": "2", "type": "text", "title_text": "How to read this", "body_text": "A **late** bicycle is one that is out for more than 3 days."},
            {"id": "3", "type": "vis", "title": "From a Look", "look_id": "3", "look": {"id": "3", "title": "Look 3", "query": {**_QUERY, "fields": ["rentals.count"]}}},
            {"id": "4", "type": "vis", "title": "Merged", "merge_result_id": "zzz"},
        ],
    }  # fmt: skip


def _look(n: int) -> dict[str, Any]:
    fields = (
        ["rentals.count"],
        ["repairs.total_cost", "repairs.kind"],
        ["customers.count", "customers.city"],
    )[n % 3]
    view = ("rentals", "repairs", "customers")[n % 3]
    return {
        "id": str(n), "title": f"Look {n}", "description": None, "folder_id": ("2", "3", "4")[n % 3] if n % 5 else "2", "deleted": False, "updated_at": f"2026-02-{n:02d}T08:00:00Z",
        "view_count": n, "favorite_count": 0, "last_viewed_at": None, "query": {**_QUERY, "view": view, "fields": fields, "filters": {}, "dynamic_fields": None},
    }  # fmt: skip


@contextlib.contextmanager
def serve(built: Content | None = None) -> Iterator[Loopback]:
    """Serve the content; log in with `CLIENT_ID` and `CLIENT_SECRET`."""
    with serve_looker(built or content()) as running:
        yield running


def build_warehouse(path: Path) -> None:
    """Make the DuckDB file behind Looker's connection `duck_prod` (connection `warehouse`)."""
    chance = random.Random(11)
    start = dt.datetime(2025, 1, 3, 8)
    rentals = [
        (n, chance.randint(1, 30), chance.randint(1, 25), chance.choice(["open", "returned", "returned", "lost", "cancelled", None]), chance.randint(4, 40) + chance.choice([0, 0.5]),
         float(chance.randint(10, 200)), chance.choice(["shop_a", "shop_b", "web", None]), start + dt.timedelta(hours=7 * n))
        for n in range(1, 501)
    ]  # fmt: skip
    tables: dict[str, tuple[str, list[tuple[Any, ...]]]] = {
        "rentals": ("id INTEGER PRIMARY KEY, customer_id INTEGER, bike_id INTEGER, state VARCHAR, fee DOUBLE, deposit DOUBLE, channel VARCHAR, started_at TIMESTAMP", rentals),
        "customers": ("id INTEGER PRIMARY KEY, first_name VARCHAR, last_name VARCHAR, city VARCHAR", [(n, f"F{n}", f"L{n}", ("Ghent", "Bruges", "Lille")[n % 3]) for n in range(1, 31)]),
        "bikes": ("id INTEGER, brand_name VARCHAR, frame_size INTEGER, motor_watts INTEGER, \"Frame No\" VARCHAR", [(n, ("Ara", "Bolt")[n % 2], 48 + n % 14, (0, 250, None)[n % 3], f"F{n % 9}") for n in range(1, 26)]),
        "staff": ("id INTEGER PRIMARY KEY, name VARCHAR, boss_id INTEGER", [(n, f"S{n}", None if n == 1 else n // 2) for n in range(1, 9)]),
        "repairs": ("id INTEGER PRIMARY KEY, rental_id INTEGER, kind VARCHAR, cost DOUBLE", [(n, n * 3, ("tyre", "brake")[n % 2], n * 1.25) for n in range(1, 120)]),
    }  # fmt: skip
    with duckdb.connect(str(path)) as db:
        db.execute("CREATE SCHEMA bike")
        for name, (columns, rows) in tables.items():
            db.execute(f"CREATE TABLE bike.{name} ({columns})")
            db.executemany(f"INSERT INTO bike.{name} VALUES ({', '.join('?' for _ in rows[0])})", rows)


EXPECTED: dict[str, str] = {
    "rentals.count": "SELECT count(*) FROM bike.rentals",
    "rentals.total_fee": "SELECT sum(fee) FROM bike.rentals",
    "rentals.total_net_fee": "SELECT sum(fee - deposit / 100) FROM bike.rentals",
    "rentals.average_fee": "SELECT avg(fee) FROM bike.rentals",
    "rentals.median_fee": "SELECT quantile_cont(fee, 0.5) FROM bike.rentals",
    "rentals.largest_fee": "SELECT max(fee) FROM bike.rentals",
    "rentals.renters": "SELECT count(DISTINCT customer_id) FROM bike.rentals",
    "rentals.returned_fee": "SELECT sum(fee) FROM bike.rentals WHERE state = 'returned' AND fee >= 10",
    "rentals.not_lost": "SELECT count(*) FROM bike.rentals WHERE state IS NULL OR state NOT IN ('lost', 'cancelled')",
    "rentals.walk_ins": "SELECT count(*) FROM bike.rentals WHERE channel IS NULL OR starts_with(channel, 'shop')",
    "rentals.mid_fees": "SELECT count(*) FROM bike.rentals WHERE fee >= 10 AND fee < 20 AND fee <> 15",
    "rentals.fee_per_rental": "SELECT sum(fee) / count(*) FROM bike.rentals",
    "rentals.fee_in_town": "SELECT sum(fee) FROM bike.rentals r JOIN bike.customers c ON c.id = r.customer_id WHERE c.city = 'Ghent'",
    "rentals.spread": "SELECT max(fee) - min(fee) FROM bike.rentals",
    "rentals.last_start": "SELECT max(started_at) FROM bike.rentals",
    "rentals.deposit_sum": "SELECT sum(deposit) FROM bike.rentals",
    "customers.count": "SELECT count(*) FROM bike.customers",
    "customers.cities": "SELECT count(DISTINCT city) FROM bike.customers",
    "customers.last_name_measure": "SELECT count(DISTINCT last_name) FROM bike.customers",
    "bikes.count": "SELECT count(*) FROM bike.bikes",
    "bikes.frames": 'SELECT count(DISTINCT "Frame No") FROM bike.bikes',
    "bikes.electric_count": "SELECT count(*) FROM bike.bikes WHERE motor_watts > 0",
    "bikes.pedal_count": "SELECT count(*) FROM bike.bikes WHERE coalesce(motor_watts, 0) = 0",
    "bikes.tall_bikes": "SELECT count(*) FROM bike.bikes WHERE frame_size >= 58",
    "staff.count": "SELECT count(*) FROM bike.staff",
    "repairs.count": "SELECT count(*) FROM bike.repairs",
    "repairs.total_cost": "SELECT sum(cost) FROM bike.repairs",
}
__all__ = ["CLIENT_ID", "CLIENT_SECRET", "CONNECTIONS", "EXPECTED", "build_warehouse", "content", "serve"]
