"""How long compiling takes, how it grows with sources that the question does not need, and what it costs beside parsing.

Run: `python benchmarks/compile.py`
"""

import statistics
import time

import sqlglot

from ktx.semantic.compile import compile_query
from ktx.semantic.query import Query, parse_query
from ktx.semantic.source import Column, Join, Layer, Measure, Source

FIVE = parse_query(
    {
        "measures": ["orders.revenue", "orders.aov", "tickets.ticket_count", {"expr": "sum(items.qty * products.price)", "name": "v"}],
        "dimensions": ["customers.segment"],
        "filters": ["customers.segment <> 'TEST' OR customers.segment IS NULL", "orders.revenue > 10"],
        "order_by": ["revenue desc"],
    }
)  # fmt: skip


def source(
    name: str, columns: tuple[str, ...], to: tuple[str, ...] = (), measures: tuple[Measure, ...] = ()
) -> Source:
    return Source(
        name=name,
        table=f"shop.{name}",
        grain=("id",),
        columns=tuple(
            Column(
                name=one, kind="time" if one.endswith("_at") else "string" if one == "segment" else "number"
            )
            for one in ("id", *columns)
        ),
        joins=tuple(Join(to=one, on=f"{name}.{one[:-1]}_id = {one}.id") for one in to),
        measures=measures,
    )


def layer(count: int) -> Layer:
    """Give a layer of `count` sources: five that are asked about, and others that join each other."""
    made = [
        source("customers", ("segment",)),
        source("orders", ("customer_id", "amount", "created_at"), ("customers",), (
            Measure(name="revenue", expr="sum(amount)"),
            Measure(name="order_count", expr="count(*)"),
            Measure(name="aov", expr="revenue / order_count"),
        )),
        source("tickets", ("customer_id",), ("customers",), (Measure(name="ticket_count", expr="count(*)"),)),
        source("products", ("price",)),
        source("items", ("order_id", "product_id", "qty"), ("orders", "products")),
    ]  # fmt: skip
    for number in range(count - len(made)):
        to = (f"other{number - 1}s",) if number % 10 else ("customers",)
        key = to[0][:-1] + "_id"
        made.append(
            source(
                f"other{number}s",
                (key, *(f"c{n}" for n in range(15))),
                to,
                (Measure(name="n", expr="count(*)"),),
            )
        )
    return Layer(connection_id="bench", sources={one.name: one for one in made})


def median_ms(where: Layer, query: Query, rounds: int = 30) -> tuple[float, float]:
    start = time.perf_counter()
    compile_query(where, query, dialect="duckdb")
    first = (time.perf_counter() - start) * 1000
    times: list[float] = []
    for _ in range(rounds):
        start = time.perf_counter()
        compile_query(where, query, dialect="duckdb")
        times.append((time.perf_counter() - start) * 1000)
    return first, statistics.median(times)


def main() -> None:
    print(f"{'sources':>8} {'first ms':>9} {'median ms':>10}")
    for count in (5, 10, 100, 1000, 10_000):
        first, median = median_ms(layer(count), FIVE)
        print(f"{count:>8} {first:>9.1f} {median:>10.2f}")
    sql = compile_query(layer(1000), FIVE, dialect="duckdb").sql
    times: list[float] = []
    for _ in range(30):
        start = time.perf_counter()
        sqlglot.parse_one(sql, dialect="duckdb")
        times.append((time.perf_counter() - start) * 1000)
    parse = statistics.median(times)
    print(
        f"parse_one of the emitted SQL ({len(sql)} characters): {parse:.2f} ms, ratio {median_ms(layer(1000), FIVE)[1] / parse:.2f}"
    )


if __name__ == "__main__":
    main()
