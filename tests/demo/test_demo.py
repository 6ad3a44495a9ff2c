"""The demo as a new user runs it, its numbers checked against SQL written by hand in another way."""

import json
import subprocess
import sys
from decimal import Decimal
from pathlib import Path

import duckdb
import pytest

from ktx.demo.run import DemoReport, run_demo
from ktx.errors import UsageError
from ktx.project import open_project
from ktx.semantic.check import check_layer
from ktx.semantic.load import load_layer
from ktx.wiki.check import Known, check_pages
from ktx.wiki.store import load_pages

TRUTH = """
SELECT segment,
       (SELECT sum(amount) FROM shop.order_items WHERE order_id IN
          (SELECT o.id FROM shop.orders o WHERE o.customer_id IN (SELECT id FROM shop.customers x WHERE x.segment = s.segment))),
       (SELECT sum(amount) FROM shop.refunds WHERE order_id IN
          (SELECT o.id FROM shop.orders o WHERE o.customer_id IN (SELECT id FROM shop.customers x WHERE x.segment = s.segment))),
       (SELECT count(*) FROM shop.order_items WHERE order_id IN
          (SELECT o.id FROM shop.orders o WHERE o.customer_id IN (SELECT id FROM shop.customers x WHERE x.segment = s.segment)))
FROM (SELECT DISTINCT segment FROM shop.customers) s ORDER BY segment
"""


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> DemoReport:
    return run_demo(tmp_path_factory.mktemp("demo") / "project")


def test_the_compiled_answer_is_right_and_the_naive_one_is_not(demo: DemoReport) -> None:
    with duckdb.connect(str(demo.root / "warehouse.duckdb"), read_only=True) as connection:
        truth = connection.execute(TRUTH).fetchall()
    assert [tuple(row) for row in demo.answer.rows] == truth
    naive = {row[0]: row for row in demo.naive_answer.rows}
    assert all(naive[segment][2] > refunded for segment, _, refunded, _ in truth)


def test_the_warehouse_holds_the_real_flights(demo: DemoReport) -> None:
    with duckdb.connect(str(demo.root / "warehouse.duckdb"), read_only=True) as connection:
        assert connection.execute("SELECT count(*) FROM air.flights").fetchone() == (336_776,)
        mean = connection.execute("SELECT avg(dep_delay) FROM air.flights").fetchone()
    assert mean is not None
    assert round(Decimal(mean[0]), 4) == Decimal("12.6391")


def test_the_ingest_finds_declared_and_undeclared_joins_and_leaves_doubts_to_a_person(
    demo: DemoReport,
) -> None:
    assert demo.ingest.warehouses is not None
    (connection,) = demo.ingest.warehouses.connections
    assert {(join.text, join.origin) for join in connection.joins} == {
        ("flights.carrier -> airlines.carrier", "inferred"),
        ("flights.(origin, time_hour) -> weather.(origin, time_hour)", "inferred"),
        ("order_items.order_id -> orders.id", "inferred"),
        ("orders.customer_id -> customers.id", "formal"),
        ("refunds.order_id -> orders.id", "inferred"),
    }
    assert {join.text for join in connection.review} == {
        "flights.dest -> airports.faa",
        "flights.origin -> airports.faa",
        "flights.tailnum -> planes.tailnum",
    }
    wrong = (
        "flights.sum_flight",
        "airports.sum_tz",
        "airports.sum_alt",
        "planes.sum_engines",
        "planes.sum_seats",
    )
    assert not set(wrong) & set(connection.measures)
    assert connection.findings == ()


def test_the_shipped_overlays_and_pages_pass_every_check(demo: DemoReport) -> None:
    project = open_project(demo.root)
    layer = load_layer(project.semantic_dir, "demo")
    assert [finding for finding in check_layer(layer, dialect="duckdb") if finding.level == "error"] == []
    pages, problems = load_pages(project.wiki_dir)
    assert len(pages) == 2
    assert problems == ()
    names = {
        source.name: frozenset(part.name for part in (*source.columns, *source.measures, *source.segments))
        for source in layer.sources.values()
    }
    known = Known(connections=frozenset({"demo"}), entities_by_source={"demo": names})
    assert check_pages(pages, known) == ()


def test_a_second_run_takes_up_the_demo_and_changes_nothing(demo: DemoReport) -> None:
    again = run_demo(demo.root)
    assert not again.is_new
    assert again.ingest.warehouses is not None
    assert again.ingest.warehouses.commit is None
    assert [one.commit for one in again.ingest.sources] == [None]
    assert again.answer == demo.answer


def test_a_folder_with_other_things_in_it_is_refused_and_left_alone(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("years of work", encoding="utf-8")
    with pytest.raises(UsageError, match="not empty and not a ktx demo"):
        run_demo(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]


def test_the_command_shows_both_answers_and_what_to_do_next(demo: DemoReport) -> None:
    command = [sys.executable, "-m", "ktx", "demo", str(demo.root)]
    shown = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert "naive SQL says 101,712.91, 150% too much" in shown
    assert "ktx sl query" in shown
    as_json = subprocess.run([*command, "--json"], capture_output=True, text=True, check=True).stdout
    assert [row[0] for row in json.loads(as_json)["compiled"]["rows"]] == [
        "business",
        "consumer",
        "enterprise",
    ]


def test_the_next_steps_that_the_demo_names_work(demo: DemoReport) -> None:
    for arguments in (
        ["sl", "query", "--measure", "order_items.revenue", "--dimension", "orders.channel", "--execute"],
        ["sl", "flights"],
        ["wiki", "refunds"],
        ["review"],
        ["scan", "explain", "flights.carrier"],
        ["ingest"],
        ["status"],
    ):
        done = subprocess.run(
            [sys.executable, "-m", "ktx", *arguments],
            cwd=demo.root,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
