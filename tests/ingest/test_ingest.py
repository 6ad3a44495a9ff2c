"""Ingests of real SQLite and DuckDB files into real git repositories, through the public pipeline and the command line."""

import json
import os
import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import duckdb
import pytest
from ruamel.yaml import YAML

from ktx.errors import ConfigError
from ktx.ingest.pipeline import ingest
from ktx.project import Project, create_project, open_project
from ktx.search.index import open_index

SHOP = """
CREATE TABLE customers (id INTEGER, name TEXT, segment TEXT);
CREATE TABLE orders (id INTEGER, customer_id INTEGER, status TEXT, total REAL);
"""


def make_shop(path: Path, *, customers: int = 20, orders: int = 60) -> None:
    connection = sqlite3.connect(path)
    connection.executescript(SHOP)
    connection.executemany(
        "INSERT INTO customers VALUES (?, ?, ?)",
        [(n, f"c{n}", "big" if n % 3 else "small") for n in range(1, customers + 1)],
    )
    connection.executemany(
        "INSERT INTO orders VALUES (?, ?, ?, ?)",
        [(n, n % customers + 1, "done", n * 1.5) for n in range(1, orders + 1)],
    )
    connection.commit()
    connection.close()


@pytest.fixture
def project(tmp_path: Path) -> Project:
    make_shop(tmp_path / "shop.sqlite")
    return create_project(
        tmp_path / "project", config_text="connections:\n  shop: {driver: sqlite, path: ../shop.sqlite}\n"
    )


def manifest(project: Project, connection: str = "shop", shard: str = "public") -> dict[str, object]:
    path = project.semantic_dir / connection / "_schema" / f"{shard}.yaml"
    return YAML(typ="safe").load(path.read_text(encoding="utf-8"))["tables"]


def log(project: Project) -> list[str]:
    done = subprocess.run(
        ["git", "log", "--format=%s"], cwd=project.root, capture_output=True, text=True, check=True
    )
    return done.stdout.splitlines()


def files(root: Path) -> dict[str, tuple[int, bytes]]:
    """Every file but git's own, the lock, and the index, which looks twice at files as fresh as a test makes them."""
    return {
        str(path.relative_to(root)): (path.stat().st_mtime_ns, path.read_bytes())
        for path in sorted(root.rglob("*"))
        if path.is_file()
        and ".git" not in path.parts
        and path.suffix not in {".lock", ".sqlite-shm", ".sqlite-wal"}
        and path.name != "index.sqlite"
    }


def test_an_ingest_writes_tables_keys_and_joins_on_both_sides_in_one_commit(project: Project) -> None:
    before = len(log(project))
    report = ingest(project)
    assert report.exit_code == 0
    assert log(project)[0] == "Ingest shop"
    assert len(log(project)) == before + 1
    tables = manifest(project)
    assert tables["orders"]["table"] == "orders"
    assert [column["name"] for column in tables["orders"]["columns"] if column.get("pk")] == ["id"]
    assert tables["orders"]["joins"] == [
        {
            "to": "customers",
            "on": "orders.customer_id = customers.id",
            "relationship": "many_to_one",
            "source": "inferred",
        }
    ]
    assert tables["customers"]["joins"][0]["relationship"] == "one_to_many"


def test_a_second_ingest_writes_no_byte_and_makes_no_commit(project: Project) -> None:
    ingest(project)
    files_before, log_before = files(project.root), log(project)
    report = ingest(project)
    assert report.commit is None
    assert log(project) == log_before
    assert files(project.root) == files_before


def test_what_people_add_survives_and_the_facts_follow_the_database(project: Project) -> None:
    ingest(project)
    path = project.semantic_dir / "shop" / "_schema" / "public.yaml"
    text = path.read_text(encoding="utf-8")
    data = YAML(typ="safe").load(text)
    data["tables"]["orders"]["descriptions"] = {"user": "Our orders", "ai": "Old prose", "db": "gone"}
    data["tables"]["orders"]["owner"] = "ana"
    data["tables"]["orders"]["columns"][0]["descriptions"] = {"dbt": "key"}
    with path.open("w", encoding="utf-8") as stream:
        YAML(typ="safe").dump(data, stream)
    with sqlite3.connect(project.root.parent / "shop.sqlite") as connection:
        connection.execute("ALTER TABLE orders ADD COLUMN note TEXT")
    connection.close()
    ingest(project)
    orders = manifest(project)["orders"]
    assert orders["descriptions"] == {"user": "Our orders", "ai": "Old prose"}
    assert orders["owner"] == "ana"
    assert orders["columns"][0]["descriptions"] == {"dbt": "key"}
    assert [column["name"] for column in orders["columns"]][-1] == "note"


def test_a_join_that_data_disproves_is_dropped_with_the_reason(project: Project) -> None:
    ingest(project)
    with sqlite3.connect(project.root.parent / "shop.sqlite") as connection:
        connection.execute(
            "INSERT INTO orders SELECT id + 1000, customer_id + 5000, status, total FROM orders"
        )
    connection.close()
    report = ingest(project)
    assert "joins" not in manifest(project)["orders"]
    (dropped,) = report.connections[0].dropped
    assert dropped.text == "orders.customer_id -> customers.id"
    assert "20 of 40 distinct values have no partner" in dropped.evidence


def test_a_manual_join_is_kept_whatever_the_data_says(project: Project) -> None:
    ingest(project)
    path = project.semantic_dir / "shop" / "_schema" / "public.yaml"
    path.write_text(
        path.read_text(encoding="utf-8").replace("source: inferred", "source: manual"), encoding="utf-8"
    )
    with sqlite3.connect(project.root.parent / "shop.sqlite") as connection:
        connection.execute("UPDATE orders SET customer_id = customer_id + 5000")
    connection.close()
    ingest(project)
    assert manifest(project)["orders"]["joins"][0]["source"] == "manual"


def test_two_schemas_with_the_same_table_name_do_not_collide(tmp_path: Path) -> None:
    with duckdb.connect(str(tmp_path / "w.duckdb")) as connection:
        connection.execute("CREATE SCHEMA a; CREATE SCHEMA b")
        connection.execute("CREATE TABLE a.items AS SELECT range AS id, 'x' || range AS label FROM range(10)")
        connection.execute("CREATE TABLE b.items AS SELECT range + 100 AS id FROM range(5)")
    project = create_project(
        tmp_path / "p", config_text="connections:\n  w: {driver: duckdb, path: ../w.duckdb}\n"
    )
    ingest(project)
    assert set(manifest(project, "w", "a")) == {"a__items"}
    assert set(manifest(project, "w", "b")) == {"b__items"}
    assert len(manifest(project, "w", "a")["a__items"]["columns"]) == 2


def test_a_name_once_given_stays_when_another_schema_gets_the_same_table(tmp_path: Path) -> None:
    with duckdb.connect(str(tmp_path / "w.duckdb")) as connection:
        connection.execute("CREATE SCHEMA a; CREATE SCHEMA b; CREATE TABLE a.items (id INTEGER)")
    project = create_project(
        tmp_path / "p", config_text="connections:\n  w: {driver: duckdb, path: ../w.duckdb}\n"
    )
    ingest(project)
    with duckdb.connect(str(tmp_path / "w.duckdb")) as connection:
        connection.execute("CREATE TABLE b.items (id INTEGER)")
    ingest(project)
    assert set(manifest(project, "w", "a")) == {"items"}
    assert set(manifest(project, "w", "b")) == {"b__items"}


def test_a_composite_foreign_key_is_one_join_and_role_playing_joins_have_aliases(tmp_path: Path) -> None:
    with duckdb.connect(str(tmp_path / "w.duckdb")) as connection:
        connection.execute("CREATE TABLE places (id INTEGER PRIMARY KEY)")
        connection.execute("CREATE TABLE lines (order_id INTEGER, no INTEGER, PRIMARY KEY (order_id, no))")
        connection.execute(
            "CREATE TABLE trips (id INTEGER PRIMARY KEY, from_place_id INTEGER REFERENCES places (id), "
            "to_place_id INTEGER REFERENCES places (id), order_id INTEGER, line_no INTEGER, "
            "FOREIGN KEY (order_id, line_no) REFERENCES lines (order_id, no))"
        )
    project = create_project(
        tmp_path / "p", config_text="connections:\n  w: {driver: duckdb, path: ../w.duckdb}\n"
    )
    report = ingest(project)
    assert report.exit_code == 0
    assert report.connections[0].findings == ()
    joins = manifest(project, "w", "main")["trips"]["joins"]
    assert [(join["to"], join["on"], join.get("alias")) for join in joins] == [
        ("places", "trips.from_place_id = from_place.id", "from_place"),
        ("lines", "trips.order_id = lines.order_id AND trips.line_no = lines.no", None),
        ("places", "trips.to_place_id = to_place.id", "to_place"),
    ]


def test_a_failing_connection_is_named_and_keeps_no_other_from_being_done(tmp_path: Path) -> None:
    make_shop(tmp_path / "shop.sqlite")
    (tmp_path / "broken.sqlite").write_bytes(b"this is no database, but long enough to be taken for one" * 40)
    project = create_project(
        tmp_path / "project",
        config_text=(
            "connections:\n  a_broken: {driver: sqlite, path: ../broken.sqlite}\n"
            "  shop: {driver: sqlite, path: ../shop.sqlite}\n"
        ),
    )
    report = ingest(project)
    broken, shop = report.connections
    assert (broken.status, shop.status) == ("failed", "done")
    assert broken.error
    assert report.exit_code == broken.exit_code != 0
    assert [step.status for step in broken.steps] == ["failed"] + ["not-run"] * 5
    assert set(manifest(project)) == {"customers", "orders"}
    assert not (project.semantic_dir / "a_broken").exists()


def test_an_unknown_connection_is_refused_with_the_nearest_name(project: Project) -> None:
    with pytest.raises(ConfigError, match="Did you mean `shop`"):
        ingest(project, ["shpo"])


def test_sampled_values_are_in_the_index_and_not_in_git(project: Project) -> None:
    ingest(project)
    with open_index(project.state_dir / "index.sqlite") as index:
        assert index.value_connections() == {"shop"}
    committed = subprocess.run(
        ["git", "grep", "-c", "small", "HEAD"], cwd=project.root, capture_output=True, text=True, check=False
    )
    assert committed.stdout == ""


def test_the_command_prints_json_and_says_when_nothing_changed(project: Project) -> None:
    command = [sys.executable, "-m", "ktx", "ingest", "--project-dir", str(project.root)]
    first = subprocess.run([*command, "--json"], capture_output=True, text=True, check=True)
    result = json.loads(first.stdout)
    assert result["plan"] == [{"connectionId": "shop"}]
    assert [step["status"] for step in result["results"][0]["steps"]] == [
        "done",
        "skipped",
        "done",
        "skipped",
        "done",
        "done",
    ]
    second = subprocess.run(command, capture_output=True, text=True, check=True)
    assert "Nothing changed: no byte written, no commit made." in second.stdout


@pytest.mark.slow
def test_a_killed_ingest_leaves_a_tree_that_the_next_one_completes(project: Project) -> None:
    command = [sys.executable, "-m", "ktx", "ingest", "--project-dir", str(project.root)]
    environment = {**os.environ}
    for attempt in range(8):
        with subprocess.Popen(
            command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        ) as process:
            deadline = time.monotonic() + 0.35 + attempt * 0.12
            while process.poll() is None and time.monotonic() < deadline:
                os.sched_yield()
            if process.poll() is None:
                process.send_signal(signal.SIGKILL)
        fsck = subprocess.run(["git", "fsck", "--strict"], cwd=project.root, capture_output=True, check=False)
        assert fsck.returncode == 0
        assert log(project)[0] in {"Make a ktx project", "Ingest shop"}
    report = ingest(open_project(project.root))
    assert report.exit_code == 0
    status = subprocess.run(
        ["git", "status", "--porcelain"], cwd=project.root, capture_output=True, text=True, check=True
    )
    assert status.stdout == ""
    assert log(project).count("Ingest shop") == 1


def test_a_join_of_single_partners_is_written_once_on_each_side_however_often_it_is_scanned(
    tmp_path: Path,
) -> None:
    path = tmp_path / "shop.duckdb"
    with duckdb.connect(str(path)) as connection:
        connection.execute(
            "CREATE TABLE orders AS SELECT 4711 + 7 * n AS order_id, n * 1.5 AS total FROM range(200) r(n)"
        )
        connection.execute(
            "CREATE TABLE open_orders AS SELECT order_id, 2 AS days FROM orders WHERE total < 90"
        )
    project = create_project(
        tmp_path / "project", config_text="connections:\n  shop: {driver: duckdb, path: ../shop.duckdb}\n"
    )
    ingest(project)
    first = manifest(project, shard="main")
    joins = {
        name: [(join["to"], join["relationship"]) for join in table.get("joins", [])]
        for name, table in first.items()
    }
    assert joins == {
        "open_orders": [("orders", "one_to_one")],
        "orders": [("open_orders", "one_to_one")],
    }
    before = (project.semantic_dir / "shop" / "_schema" / "main.yaml").read_bytes()
    for _ in range(2):
        report = ingest(project)
        assert report.commit is None
        assert not report.connections[0].dropped
        assert (project.semantic_dir / "shop" / "_schema" / "main.yaml").read_bytes() == before
    text = before.decode().replace("source: inferred", "source: manual")
    (project.semantic_dir / "shop" / "_schema" / "main.yaml").write_text(text)
    ingest(project)
    assert (project.semantic_dir / "shop" / "_schema" / "main.yaml").read_text() == text
