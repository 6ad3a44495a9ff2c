"""The difference of a layer: by definition, and in values that are compared with rows computed another way."""

import json
import sqlite3
import subprocess
from collections.abc import Mapping
from decimal import Decimal
from pathlib import Path

import duckdb
import pytest

from ktx.errors import ConfigError, UsageError
from ktx.ingest.definitions import DefinitionChange
from ktx.ingest.diff import LayerDiff, diff_layer
from ktx.ingest.metric_values import ValueChange
from ktx.ingest.pipeline import ingest
from ktx.ingest.run import ingest_project
from ktx.ingest.texts import ingest_texts
from ktx.project import Project, create_project, open_project
from ktx.sources.text.source import TextItem
from program import called
from sampleprojects.dbt_shop import build_warehouse, write_project

CONFIG = "connections:\n  shop: {driver: sqlite, path: ../shop.sqlite}\n"
ORDERS = """\
name: orders
measures:
  - name: revenue
    expr: sum(total)
    filter: status <> 'refunded'
    description: What was sold.
  - {name: orders, expr: count(*)}
  - {name: average, expr: revenue / orders}
  - {name: big, expr: count(*), segments: [large]}
segments:
  - {name: large, expr: total >= 30}
"""
PAGE = (
    "---\nsummary: What counts.\n---\n# Revenue\n\nNet.\n\n## Refunds\n\nTaken off.\n\n## Owner\n\nFinance.\n"
)


def git(project: Project, *arguments: str) -> str:
    identity = ("-c", "user.name=Ana", "-c", "user.email=ana@example.com")
    return subprocess.run(
        ["git", *identity, *arguments], cwd=project.root, capture_output=True, text=True, check=True
    ).stdout.strip()


def commit(project: Project, message: str = "edit") -> str:
    git(project, "add", "-A")
    git(project, "commit", "-qm", message)
    return git(project, "rev-parse", "HEAD")


def make_shop(path: Path) -> None:
    with sqlite3.connect(path) as db:
        db.execute("CREATE TABLE customers (id INTEGER PRIMARY KEY, country TEXT)")
        db.executemany(
            "INSERT INTO customers VALUES (?, ?)", [(n, "DE" if n % 3 else "FR") for n in range(1, 9)]
        )
        db.execute(
            "CREATE TABLE orders (id INTEGER PRIMARY KEY, customer_id INTEGER REFERENCES customers (id), "
            "status TEXT, total REAL, tax REAL)"
        )
        rows = [
            (n, n % 8 + 1, ("refunded", "paid", "lost")[n % 3], n * 1.5, n * 0.25 if n % 4 else None)
            for n in range(1, 41)
        ]
        db.executemany("INSERT INTO orders VALUES (?, ?, ?, ?, ?)", rows)
    db.close()


def rows_of(project: Project, sql: str) -> list[tuple[object, ...]]:
    """Ask SQLite itself, beside ktx."""
    db = sqlite3.connect(project.root.parent / "shop.sqlite")
    try:
        return db.execute(sql).fetchall()
    finally:
        db.close()


@pytest.fixture
def project(tmp_path: Path) -> Project:
    make_shop(tmp_path / "shop.sqlite")
    made = create_project(tmp_path / "project", config_text=CONFIG)
    ingest(made, ["shop"])
    overlay(made, ORDERS)
    (made.wiki_dir / "global" / "revenue.md").write_text(PAGE)
    commit(made, "begin")
    return made


def overlay(project: Project, text: str, name: str = "orders") -> None:
    (project.semantic_dir / "shop" / f"{name}.yaml").write_text(text)


def by_name(diff: LayerDiff) -> dict[str, DefinitionChange]:
    return {f"{one.noun} {'.'.join(filter(None, (one.target, one.name)))}": one for one in diff.definitions}


def values(diff: LayerDiff) -> Mapping[str, ValueChange]:
    assert diff.values is not None
    return {change.measure: change for one in diff.values for change in one.changes}


def both(change: ValueChange) -> tuple[object, object]:
    assert change.before is not None
    assert change.after is not None
    assert change.before.reason is change.after.reason is None
    return change.before.value, change.after.value


# ---- by definition


def test_a_definition_is_shown_fact_by_fact_and_what_is_the_same_is_not(project: Project) -> None:
    overlay(
        project,
        ORDERS.replace("sum(total)", "sum(total - tax)")
        .replace("What was sold.", "What was sold, net of tax.")
        .replace("  - {name: big, expr: count(*), segments: [large]}\n", "")
        + "  - {name: small, expr: total < 5}\n"
        + "joins:\n  - {to: customers, on: orders.customer_id = customers.id, relationship: many_to_one, alias: buyer}\n"
        + "columns:\n  - {name: net, expr: total - tax, type: number}\n",
    )
    found = by_name(diff_layer(project, wants_values=False))
    assert set(found) == {
        "measure orders.revenue",
        "measure orders.big",
        "segment orders.small",
        "join orders.buyer",
        "column orders.net",
    }
    facts = {one.name: (one.before, one.after) for one in found["measure orders.revenue"].facts}
    assert facts == {
        "expr": ("sum(total)", "sum(total - tax)"),
        "description": ("What was sold.", "What was sold, net of tax."),
    }
    assert found["measure orders.big"].sign == "removed"
    assert found["join orders.buyer"].sign == "added"


def test_layout_comments_and_provenance_are_no_change(project: Project) -> None:
    text = ORDERS.replace("expr: sum(total)", 'expr: "sum(total)"  # as finance has it')
    overlay(project, text + "meta:\n  ktx:\n    measures.revenue: text model 12345678 note\n")
    diff = diff_layer(project)
    assert diff.definitions == ()
    assert diff.files == ("semantic-layer/shop/orders.yaml",)
    assert values(diff) == {}


def test_tags_and_tests_that_the_compiler_never_sees_are_shown_too(project: Project) -> None:
    overlay(
        project,
        ORDERS
        + "tags: {dbt: [core]}\ncolumn_overrides:\n  - name: status\n    constraints: {dbt: {not_null: true}}\n",
    )
    (change,) = diff_layer(project, wants_values=False).definitions
    assert {one.name: one.after for one in change.facts} == {
        "tags.dbt": ["core"],
        "constraints of status (dbt)": {"not_null": True},
    }


def test_pages_are_compared_section_by_section(project: Project) -> None:
    page = project.wiki_dir / "global" / "revenue.md"
    page.write_text(
        PAGE.replace("Taken off.", "Left in.").replace("## Owner\n\nFinance.\n", "## Where\n\nHere.\n")
    )
    mine = project.wiki_dir / "user" / "ana" / "todo.md"
    mine.parent.mkdir(parents=True)
    mine.write_text("---\nsummary: Mine.\n---\nText.\n")
    found = by_name(diff_layer(project))
    assert set(found) == {"page revenue", "page user/ana/todo"}
    facts = {one.name: (one.before is not None, one.after is not None) for one in found["page revenue"].facts}
    assert facts == {
        "section.Refunds": (True, True),
        "section.Owner": (True, False),
        "section.Where": (False, True),
    }
    assert found["page user/ana/todo"].sign == "added"


def test_a_source_that_can_no_longer_be_used_is_named_with_the_reason_and_not_as_removed(
    project: Project,
) -> None:
    overlay(project, ORDERS.replace("name: revenue", "nam: revenue"))
    diff = diff_layer(project)
    found = by_name(diff)
    reasons = [fact.after for one in found.values() for fact in one.facts if fact.name == "unusable"]
    assert len(reasons) == 1
    assert values(diff)["orders.revenue"].status in ("unknown", "removed")


# ---- values


def test_the_values_of_a_changed_measure_and_of_those_that_use_it_are_those_of_the_rows(
    project: Project,
) -> None:
    overlay(project, ORDERS.replace("<> 'refunded'", "= 'paid'"))
    found = values(diff_layer(project))
    assert set(found) == {"orders.revenue", "orders.average"}
    ((old, new, n),) = rows_of(
        project,
        "SELECT sum(CASE WHEN status <> 'refunded' THEN total END), sum(CASE WHEN status = 'paid' THEN total END), "
        "count(*) FROM orders",
    )
    assert isinstance(old, float)
    assert isinstance(new, float)
    assert isinstance(n, int)
    assert both(found["orders.revenue"]) == pytest.approx((old, new))
    assert found["orders.revenue"].difference == pytest.approx(new - old)
    assert found["orders.revenue"].percent == pytest.approx((new - old) / old * 100)
    assert both(found["orders.average"]) == pytest.approx((old / n, new / n))


def test_a_segment_changes_the_measures_that_use_it_and_no_other(project: Project) -> None:
    overlay(project, ORDERS.replace("total >= 30", "total >= 45"))
    diff = diff_layer(project)
    ((old, new),) = rows_of(project, "SELECT sum(total >= 30), sum(total >= 45) FROM orders")
    assert set(values(diff)) == {"orders.big"}
    assert both(values(diff)["orders.big"]) == (old, new)
    assert values(diff)["orders.big"].difference == new - old  # type: ignore[operator]
    assert diff.values is not None
    assert diff.values[0].same_sql > 3


def test_a_join_changes_the_measures_that_go_through_it(project: Project) -> None:
    german = "  - {name: german, expr: sum(total), filter: customers.country = 'DE'}\n"
    overlay(project, ORDERS.replace("segments:\n  -", f"{german}segments:\n  -"))
    commit(project)
    shards = list((project.semantic_dir / "shop" / "_schema").glob("*.yaml"))
    for shard in shards:
        text = shard.read_text()
        assert text.count("orders.customer_id") == 2
        shard.write_text(text.replace("orders.customer_id", "orders.id"))
    found = values(diff_layer(project))
    ((old, new),) = rows_of(
        project,
        "SELECT (SELECT sum(total) FROM orders WHERE customer_id IN (SELECT id FROM customers WHERE country = 'DE')), "
        "(SELECT sum(total) FROM orders WHERE id IN (SELECT id FROM customers WHERE country = 'DE'))",
    )
    assert both(found["orders.german"]) == pytest.approx((old, new))
    assert set(found) == {"orders.german"}


def test_a_computed_column_changes_the_measures_over_it(project: Project) -> None:
    column = 'columns:\n  - {name: net, expr: "total - tax", type: number}\n'
    text = ORDERS.replace("segments:\n  -", "  - {name: net_total, expr: sum(net)}\nsegments:\n  -") + column
    overlay(project, text)
    commit(project)
    overlay(project, text.replace("total - tax", "total - coalesce(tax, 0)"))
    found = values(diff_layer(project))
    ((old, new),) = rows_of(project, "SELECT sum(total - tax), sum(total - coalesce(tax, 0)) FROM orders")
    assert both(found["orders.net_total"]) == pytest.approx((old, new))


def test_new_and_removed_measures_have_a_value_on_their_side(project: Project) -> None:
    overlay(project, ORDERS.replace("{name: big,", "{name: large_orders,"))
    found = values(diff_layer(project))
    assert {name: one.status for name, one in found.items()} == {
        "orders.big": "removed",
        "orders.large_orders": "added",
    }
    ((n,),) = rows_of(project, "SELECT count(*) FROM orders WHERE total >= 30")
    assert found["orders.big"].before is not None
    assert found["orders.big"].before.value == n
    assert found["orders.big"].after is None
    assert found["orders.large_orders"].difference is None


def test_other_sql_with_the_same_value_says_so(project: Project) -> None:
    overlay(project, ORDERS.replace("total >= 30", "total > 29"))
    change = values(diff_layer(project))["orders.big"]
    assert (change.status, change.difference, change.percent) == ("same", 0, 0.0)


def test_a_measure_that_cannot_be_compiled_or_run_on_one_side_is_named_with_the_reason(
    project: Project,
) -> None:
    overlay(
        project,
        ORDERS.replace("sum(total)", "sum(totl)").replace("orders, expr: count(*)", "orders, expr: sum(tax)"),
    )
    rows_of(project, "ALTER TABLE orders DROP COLUMN tax")
    found = values(diff_layer(project))
    revenue, orders = found["orders.revenue"], found["orders.orders"]
    assert (revenue.status, orders.status) == ("unknown", "unknown")
    assert revenue.before is not None
    assert revenue.before.value == pytest.approx(
        rows_of(project, "SELECT sum(total) FROM orders WHERE status <> 'refunded'")[0][0]
    )
    assert revenue.after is not None
    assert "totl" in (revenue.after.reason or "")
    assert orders.after is not None
    assert "tax" in (orders.after.reason or "")


def test_more_measures_than_the_bound_are_named_and_not_asked(project: Project) -> None:
    more = "".join(f"  - {{name: m{n:02}, expr: sum(total + {n})}}\n" for n in range(6))
    overlay(project, ORDERS.replace("= 30", "= 31").replace("segments:\n  -", f"{more}segments:\n  -", 1))
    diff = diff_layer(project, most_measures=3)
    assert diff.values is not None
    assert list(values(diff)) == ["orders.big", "orders.m00", "orders.m01"]
    assert diff.values[0].left_out == ("orders.m02", "orders.m03", "orders.m04", "orders.m05")


def test_a_warehouse_that_cannot_be_reached_leaves_the_definitions_and_the_names(project: Project) -> None:
    overlay(project, ORDERS.replace("sum(total)", "sum(tax)"))
    (project.root.parent / "shop.sqlite").unlink()
    diff = diff_layer(project)
    assert set(by_name(diff)) == {"measure orders.revenue"}
    assert diff.values is not None
    assert not diff.values[0].is_asked
    assert diff.values[0].reason
    assert {name: one.status for name, one in values(diff).items()} == {
        "orders.revenue": "unknown",
        "orders.average": "unknown",
    }


def test_exact_numbers_of_a_warehouse_stay_exact(tmp_path: Path) -> None:
    path = tmp_path / "shop.duckdb"
    with duckdb.connect(str(path)) as db:
        db.execute(
            "CREATE TABLE sales (id INTEGER PRIMARY KEY, amount DECIMAL(18, 2), fee DECIMAL(18, 2), day DATE)"
        )
        db.execute(
            "INSERT INTO sales SELECT n, 1000000000000 + n * 0.01, n * 0.07, DATE '2024-01-01' + n::INTEGER "
            "FROM range(1, 1001) t(n)"
        )
    project = create_project(
        tmp_path / "project", config_text="connections:\n  shop: {driver: duckdb, path: ../shop.duckdb}\n"
    )
    ingest(project, ["shop"])
    text = "name: sales\nmeasures:\n  - {name: gross, expr: sum(amount)}\n  - {name: last, expr: max(day)}\n  - {name: none, expr: sum(fee), filter: id < 0}\n"
    overlay(project, text, "sales")
    commit(project)
    overlay(
        project,
        text.replace("sum(amount)", "sum(amount - fee)")
        .replace("max(day)", "min(day)")
        .replace("id < 0", "id < 3"),
        "sales",
    )
    found = values(diff_layer(project))
    gross = [1_000_000_000_000 + Decimal(n) / 100 for n in range(1, 1001)]
    fees = [Decimal(7 * n) / 100 for n in range(1, 1001)]
    assert both(found["sales.gross"]) == (sum(gross), sum(gross) - sum(fees))
    assert found["sales.gross"].difference == -sum(fees)
    assert both(found["sales.last"]) == ("2026-09-27", "2024-01-02")
    assert found["sales.last"].difference is None
    assert found["sales.last"].status == "changed"
    assert both(found["sales.none"]) == (None, Decimal("0.21"))
    assert (found["sales.none"].status, found["sales.none"].difference) == ("changed", None)


# ---- what is compared


def test_a_commit_is_compared_with_the_one_before_and_two_with_each_other(project: Project) -> None:
    start = git(project, "rev-parse", "HEAD")
    overlay(project, ORDERS.replace("sum(total)", "sum(tax)"))
    first = commit(project)
    overlay(project, ORDERS.replace("sum(total)", "sum(total + tax)"))
    commit(project)

    def exprs(target: str) -> tuple[object, object]:
        (fact,) = by_name(diff_layer(project, target, wants_values=False))["measure orders.revenue"].facts
        return fact.before, fact.after

    assert exprs(first[:9]) == ("sum(total)", "sum(tax)")
    assert exprs("HEAD") == ("sum(tax)", "sum(total + tax)")
    assert exprs(f"{start}..HEAD") == ("sum(total)", "sum(total + tax)")
    assert exprs(f"HEAD..{first}") == ("sum(total + tax)", "sum(tax)")
    root = git(project, "rev-list", "--max-parents=0", "HEAD")
    assert diff_layer(project, root).moments.before is None
    with pytest.raises(UsageError, match="no run and no commit `nothing`"):
        diff_layer(project, "nothing")
    with pytest.raises(UsageError, match="no run yet"):
        diff_layer(project, "last")


def test_without_a_target_a_clean_tree_shows_the_last_run_that_committed(project: Project) -> None:
    (told,) = ingest_texts(project, [TextItem(label="a", content=b"Refunds are slow.", name="refunds.md")])
    git(project, "commit", "-qm", "later", "--allow-empty")
    diff = diff_layer(project)
    assert diff.moments.run is not None
    assert diff.moments.run.id == told.run_id
    assert [(one.noun, one.sign) for one in diff.definitions] == [("page", "added")]
    overlay(project, ORDERS.replace("sum(total)", "sum(tax)"))
    assert diff_layer(project).moments.run is None


def test_a_run_that_changed_nothing_says_so(project: Project) -> None:
    for _ in range(2):
        ingest_texts(project, [TextItem(label="a", content=b"Refunds are slow.", name="refunds.md")])
    diff = diff_layer(project, "last")
    assert diff.definitions == ()
    assert "changed nothing" in diff.notes[0]


def test_a_project_in_a_folder_of_a_repository_is_compared_alike(tmp_path: Path) -> None:
    make_shop(tmp_path / "shop.sqlite")
    top = tmp_path / "repo"
    top.mkdir()
    subprocess.run(["git", "init", "-q", str(top)], check=True)
    project = create_project(
        top / "analytics", config_text=CONFIG.replace("../shop.sqlite", "../../shop.sqlite")
    )
    ingest(project, ["shop"])
    overlay(project, ORDERS)
    commit(project)
    (top / "semantic-layer").mkdir()
    (top / "semantic-layer" / "other.yaml").write_text("name: other\n")
    overlay(project, ORDERS.replace("= 30", "= 45"))
    assert set(values(diff_layer(project))) == {"orders.big"}


def test_a_project_without_git_cannot_be_compared(tmp_path: Path) -> None:
    (tmp_path / "ktx.yaml").write_text("connections: {}\n")
    with pytest.raises(ConfigError, match="no git repository"):
        diff_layer(open_project(tmp_path))


# ---- the command


def test_the_command_prints_definitions_and_values_and_can_end_with_1(
    project: Project, capsys: pytest.CaptureFixture[str]
) -> None:
    overlay(project, ORDERS.replace("total >= 30", "total >= 45"))
    shown = called(capsys, "diff", "--project-dir", project.root)
    assert shown.code == 0
    assert shown.out == (
        "not committed yet\n"
        "\n"
        "shop\n"
        "  ~ segment orders.large\n"
        "      expr: total >= 30\n"
        "         -> total >= 45\n"
        "\n"
        "metric values of shop, over all rows\n"
        "  measure     before  after  difference       %\n"
        "  orders.big      21     11         -10  -47.62\n"
        "  measures that compile to the same SQL: 9\n"
    )
    guide = Path(__file__).parents[2] / "docs" / "guides" / "review-what-landed.md"
    assert shown.out in guide.read_text(encoding="utf-8")
    told = json.loads(called(capsys, "diff", "--json", "--project-dir", project.root).out)
    (measure,) = told["values"][0]["measures"]
    assert (measure["before"]["value"], measure["after"]["value"], measure["difference"]) == (21, 11, -10)
    assert told["definitions"][0]["facts"] == {"expr": {"before": "total >= 30", "after": "total >= 45"}}
    assert called(capsys, "diff", "--exit-code", "--no-values", "--project-dir", project.root).code == 1
    assert called(capsys, "diff", "-c", "shp", "--project-dir", project.root).code == 2


def test_a_metric_edited_in_a_dbt_project_shows_its_old_and_new_value_after_the_next_ingest(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    build_warehouse(tmp_path / "shop.duckdb")
    dbt = write_project(tmp_path / "dbt")
    project = create_project(
        tmp_path / "project",
        config_text="connections:\n  shop: {driver: duckdb, path: ../shop.duckdb}\n  dbt: {driver: dbt, source_dir: ../dbt}\n",
    )
    ingest_project(project)
    metrics = dbt / "models" / "marts" / "core" / "_core__metrics.yml"
    old = "{{ Dimension('order__status') }} <> 'cancelled'"
    text = metrics.read_text()
    assert old in text
    metrics.write_text(text.replace(old, "{{ Dimension('order__status') }} not in ('cancelled', 'placed')"))
    assert ingest_project(project, ["dbt"]).exit_code == 0

    found = values(diff_layer(project, "last"))

    with duckdb.connect(str(tmp_path / "shop.duckdb"), read_only=True) as db:
        sums = db.execute(
            "SELECT sum(order_amount) FILTER (status <> 'cancelled'), sum(order_amount) FILTER (status NOT IN ('cancelled', 'placed')) "
            "FROM analytics.fct_orders"
        ).fetchone()
    assert both(found["fct_orders.revenue"]) == sums
    assert {"fct_orders.revenue", "fct_orders.net_revenue", "fct_orders.german_share"} <= set(found)
    assert "fct_orders.gross_revenue" not in found
    shown = called(capsys, "diff", "last", "--project-dir", project.root)
    assert "~ measure fct_orders.revenue" in shown.out
