"""Nothing that anybody writes into a question or a layer becomes SQL of its own: it is refused, or it is a quoted name."""

from pathlib import Path
from typing import Any

import pytest
import sqlglot
from sqlglot import exp

from compile.cases import HERE, DuckEngine, asked_rows, build_layer, compiled, read_yaml
from ktx.errors import KtxError
from ktx.semantic.dialects import FACTS

WORLD = read_yaml(HERE / "worlds" / "shop.yaml")
HOSTILE = [
    "(SELECT max(ssn) FROM customers)",
    "orders.amount IN (SELECT id FROM customers)",
    "EXISTS (SELECT 1 FROM customers)",
    "1=1 UNION SELECT ssn FROM customers",
    "1=1; DROP TABLE customers",
    "orders.amount > 1) OR (1=1",
    "orders.*",
    "*",
    "customers.ssn = 's1'",
    "upper(ssn) = 'S1'",
    "read_csv('/etc/passwd')",
    "pg_read_file('/etc/passwd')",
    "load_extension('x')",
    "getenv('HOME')",
    "sleep(10)",
    "pg_sleep(10)",
    "nextval('x')",
    "query_to_xml('select 1', true, true, '')",
    "unnest([1, 2, 3])",
    "orders.amount = ANY (SELECT 1)",
    "sum(orders.amount) OVER ()",
    "? = 1",
    ":x = 1",
    "@@version = 1",
    "current_user = 'x'",
]
NAMES = [
    "x, (SELECT max(ssn) FROM customers) AS leak",
    'a"; DROP TABLE customers; --',
    "a`b",
    "a]b",
    "a'b",
    "a\nb",
]


def layer_of(tmp_path: Path, change: dict[str, Any] | None = None):
    sources = [{**one} for one in WORLD["layer"]]
    for source in sources:
        if source["name"] == "orders" and change:
            source.update(change)
        if source["name"] == "customers" and change and "joins" in change:
            source["joins"] = []
    return build_layer(sources, tmp_path)


def ensure_only_reads_declared(made, dialect: str) -> None:
    """The statement is one SELECT over the tables of the layer, and it parses as what it was built as."""
    text = made.tree.sql(dialect=dialect)
    trees = sqlglot.parse(text, dialect=dialect)
    assert len(trees) == 1
    assert isinstance(trees[0], exp.Query)
    ctes = {cte.alias for cte in trees[0].find_all(exp.CTE)}
    assert {table.name for table in trees[0].find_all(exp.Table)} - ctes <= set(WORLD["tables"])
    assert "ssn" not in {column.name for column in trees[0].find_all(exp.Column)}


@pytest.mark.parametrize("dialect", list(FACTS))
@pytest.mark.parametrize("text", HOSTILE)
def test_hostile_text_is_refused_in_every_field_of_a_question(
    text: str, dialect: str, tmp_path: Path
) -> None:
    layer = layer_of(tmp_path)
    asks: list[dict[str, Any]] = [
        {"measures": ["orders.revenue"], "filters": [text]},
        {"measures": [text]},
        {"measures": [f"sum({text})"]},
        {"measures": [{"expr": text, "name": "x"}]},
        {"measures": [{"expr": "orders.revenue", "filter": text}]},
        {"measures": ["orders.revenue"], "dimensions": [text]},
        {"measures": ["orders.revenue"], "segments": [text]},
        {"measures": ["orders.revenue"], "order_by": [{"field": text}]},
        {"measures": ["orders.revenue"], "order_by": [{"field": "revenue", "direction": text}]},
        {"measures": ["orders.revenue"], "dimensions": [{"field": "orders.created_at", "granularity": text}]},
        {"measures": ["orders.revenue"], "dimensions": ["customers.segment"], "via": [text]},
        {"measures": ["orders.revenue"], "fill": text},
    ]
    if ") OR (" in text:
        asks.pop(2)  # inside `sum(…)` its parentheses are balanced, and the whole is a plain expression
    for ask in asks:
        with pytest.raises(KtxError):
            compiled(layer, ask, dialect)


@pytest.mark.parametrize("dialect", list(FACTS))
@pytest.mark.parametrize(
    "text", [one for one in HOSTILE if ("ssn" not in one or "SELECT" in one) and "OVER" not in one]
)
def test_hostile_text_is_refused_in_every_field_of_a_layer(text: str, dialect: str, tmp_path: Path) -> None:
    ask = {
        "measures": ["orders.revenue"],
        "dimensions": ["customers.segment", "orders.made"],
        "segments": ["orders.part"],
    }
    sound = {
        "columns": [
            *(one for one in WORLD["layer"][2]["columns"]),
            {"name": "made", "type": "number", "expr": "amount"},
        ],
        "measures": [{"name": "revenue", "expr": "sum(amount)"}],
        "segments": [{"name": "part", "expr": "amount > 1"}],
    }
    assert WORLD["layer"][2]["name"] == "orders"
    broken: list[dict[str, Any]] = [
        {"measures": [{"name": "revenue", "expr": text}]},
        {"measures": [{"name": "revenue", "expr": "sum(amount)", "filter": text}]},
        {"segments": [{"name": "part", "expr": text}]},
        {"columns": [*sound["columns"][:-1], {"name": "made", "type": "number", "expr": text}]},
        {"joins": [{"to": "customers", "on": text, "relationship": "many_to_one"}]},
    ]
    for number, change in enumerate(broken):
        made = layer_of(tmp_path / str(number), {**sound, **change})
        with pytest.raises(KtxError):
            compiled(made, ask, dialect)


@pytest.mark.parametrize("dialect", list(FACTS))
@pytest.mark.parametrize("name", NAMES)
def test_an_output_name_is_only_ever_a_name(name: str, dialect: str, tmp_path: Path) -> None:
    made = compiled(layer_of(tmp_path), {"measures": [{"expr": "sum(orders.amount)", "name": name}]}, dialect)
    assert [column.name for column in made.columns] == [name]
    ensure_only_reads_declared(made, dialect)


@pytest.mark.parametrize("dialect", list(FACTS))
@pytest.mark.parametrize("table", ["x; DROP TABLE customers", "(SELECT 1)", "a, customers", "a`b"])
def test_a_table_name_is_only_ever_a_name(table: str, dialect: str, tmp_path: Path) -> None:
    layer = layer_of(tmp_path, {"table": table})
    made = compiled(layer, {"measures": ["orders.revenue"]}, dialect)
    trees = sqlglot.parse(made.tree.sql(dialect=dialect), dialect=dialect)
    assert [table.name for tree in trees if tree for table in tree.find_all(exp.Table)] == [table]


@pytest.mark.parametrize("name", NAMES)
def test_a_hostile_output_name_runs_as_a_name(name: str, tmp_path: Path) -> None:
    made = compiled(
        layer_of(tmp_path), {"measures": [{"expr": "sum(orders.amount)", "name": name}]}, "duckdb"
    )
    engine = DuckEngine()
    engine.build(WORLD["tables"])
    assert asked_rows(engine, made) == [(870,)]
    engine.close()


@pytest.mark.parametrize(
    "sql",
    ["DELETE FROM orders", "SELECT 1; DROP TABLE orders", "WITH x AS (DELETE FROM orders RETURNING *) SELECT * FROM x",
     "SELECT 1 INTO t", "SELECT * FROM orders FOR UPDATE", "COPY orders TO 'x'", "PRAGMA x", ""],
)  # fmt: skip
def test_an_sql_source_may_only_read(sql: str, tmp_path: Path) -> None:
    source = {
        "name": "odd",
        "sql": sql,
        "grain": ["id"],
        "columns": [{"name": "id", "type": "number"}],
        "measures": [{"name": "n", "expr": "count(*)"}],
    }
    for dialect in ("duckdb", "postgres"):
        layer = build_layer([source], tmp_path / dialect)
        with pytest.raises(KtxError):
            compiled(layer, {"measures": ["odd.n"]}, dialect)
