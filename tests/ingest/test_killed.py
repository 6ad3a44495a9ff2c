"""An ingest that is killed, interrupted, or cannot commit: the project stays whole, and nothing paid is paid twice."""

import json
import os
import random
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from ktx.ingest import manifests
from ktx.ingest.pipeline import ingest
from ktx.ingest.prose import wanted_model
from ktx.project import Project, create_project, ensure_state_dir, open_project, warehouse_connection
from ktx.scan.describe import waiting_tables
from ktx.scan.store import open_store
from ktx.warehouse.connect import open_warehouse
from modelserver.replies import Reply, structured
from modelserver.server import ModelServer

KILLS = 50
TABLES = 6
FORKING = """\
import os, sys
import anthropic, sqlglot
import ktx.cli.commands.ingest, ktx.ingest.pipeline, ktx.llm.backends.anthropic, ktx.llm.connect, ktx.warehouse.drivers.sqlite
from ktx.cli.run import run
os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
for line in sys.stdin:
    child = os.fork()
    if child == 0:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        os._exit(run(["ingest", "--project-dir", line.strip()]))
    print(child, flush=True)
    print(os.waitpid(child, 0)[1], flush=True)
"""
"""Runs the command in a fresh process each time, without paying for the imports fifty times."""
CONFIG = """\
connections:
  shop: {driver: sqlite, path: ../shop.sqlite}
llm:
  provider: {backend: anthropic, anthropic: {api_key: test-key, base_url: "URL"}}
  models: {default: claude-haiku-5-5}
scan:
  enrichment: {mode: llm}
  relationships: {llmProposals: false}
"""


def asked(request: object) -> list[str]:
    body = request.body  # type: ignore[attr-defined]
    texts = [part["text"] for message in body["messages"] for part in message["content"]]
    data = json.loads(next(text for text in texts if text.lstrip().startswith("{")))
    return [table["table"] for table in data["tables"]]


def all_asked(requests: Sequence[object]) -> list[str]:
    return [name for request in requests for name in asked(request)]


def describe(request: object) -> Reply:
    texts = [{"name": name, "table": f"One row of {name}", "columns": []} for name in asked(request)]
    return structured({"tables": texts})


@pytest.fixture
def server() -> Iterator[ModelServer]:
    with ModelServer() as running:
        running.script(describe)
        yield running


@pytest.fixture
def project(tmp_path: Path, server: ModelServer) -> Project:
    connection = sqlite3.connect(tmp_path / "shop.sqlite")
    for number in range(TABLES):
        connection.execute(f"CREATE TABLE things{number} (id INTEGER, label TEXT, size REAL)")
    connection.commit()
    connection.close()
    return create_project(tmp_path / "project", config_text=CONFIG.replace("URL", server.url))


def widen(project: Project) -> None:
    """Make the tables so wide that each is asked about by itself."""
    wide = ", ".join(f"part_{letter}{other} TEXT" for letter in "abcdefghij" for other in "abcdefghi")
    connection = sqlite3.connect(project.root.parent / "shop.sqlite")
    for number in range(TABLES):
        connection.execute(f"DROP TABLE things{number}")
        connection.execute(f"CREATE TABLE things{number} (id INTEGER, label TEXT, size REAL, {wide})")
    connection.commit()
    connection.close()


def add_column(project: Project, table: int, name: str) -> None:
    connection = sqlite3.connect(project.root.parent / "shop.sqlite")
    connection.execute(f"ALTER TABLE things{table} ADD COLUMN {name} TEXT")
    connection.close()


def waiting(project: Project) -> set[str]:
    """The tables that nothing kept describes: those that a run may pay for."""
    connection = warehouse_connection(project, "shop")
    with open_warehouse("shop", connection, project.root) as warehouse:
        catalog = warehouse.read_catalog()
    with open_store(ensure_state_dir(project)) as store:
        tables = waiting_tables(catalog, store, model=str(wanted_model(project)), samples="masked")
    return {table.ref.name for table in tables}


def git(project: Project, *arguments: str) -> str:
    done = subprocess.run(["git", *arguments], cwd=project.root, capture_output=True, text=True, check=True)
    return done.stdout


def command(project: Project) -> list[str]:
    return [sys.executable, "-m", "ktx", "ingest", "--project-dir", str(project.root)]


@pytest.mark.slow
def test_fifty_kills_leave_a_whole_project_and_repeat_no_paid_call(
    project: Project, server: ModelServer
) -> None:
    chance = random.Random(20)
    killed = 0
    with subprocess.Popen(
        [sys.executable, "-c", FORKING],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    ) as forking:
        assert forking.stdin
        assert forking.stdout

        def run(limit_s: float) -> int:
            """Run an ingest, killed after a while, and give its status."""
            print(project.root, file=forking.stdin, flush=True)
            child = int(forking.stdout.readline())
            killer = threading.Timer(limit_s, os.kill, (child, signal.SIGKILL))
            killer.start()
            status = int(forking.stdout.readline())
            killer.cancel()
            return status

        assert run(60) == 0
        add_column(project, 0, "first")
        began = time.monotonic()
        assert run(60) == 0
        whole_s = time.monotonic() - began
        for attempt in range(KILLS):
            add_column(project, attempt % TABLES, f"c{attempt}")
            may_pay, before = waiting(project), len(server.requests)
            killed += run(whole_s * chance.uniform(0.1, 1.4)) == signal.SIGKILL
            paid = all_asked(server.requests[before:])
            assert set(paid) <= may_pay
            assert len(paid) == len(set(paid))
            git(project, "fsck", "--strict")
            assert manifests.read_shards(project.semantic_dir, "shop")
    commits = git(project, "log", "--format=%s").splitlines()
    assert killed > KILLS / 3
    assert len(commits) > 3
    last = waiting(project)
    before = len(server.requests)
    report = ingest(open_project(project.root))
    assert report.exit_code == 0
    assert set(all_asked(server.requests[before:])) == last
    assert git(project, "status", "--porcelain") == ""
    again = ingest(open_project(project.root))
    assert again.commit is None
    assert len(all_asked(server.requests[before:])) == len(last)


def test_ctrl_c_in_the_middle_ends_with_130_and_keeps_what_was_paid(
    project: Project, server: ModelServer, tmp_path: Path
) -> None:
    widen(project)
    running: list[subprocess.Popen[bytes]] = []

    def interrupting(request: object) -> Reply:
        if len(server.requests) == TABLES - 1:
            running[0].send_signal(signal.SIGINT)
        return describe(request)

    server.script(interrupting)
    with subprocess.Popen(
        command(project), stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, env={**os.environ},
        # A shell that starts the tests in the background has them ignore Ctrl-C, and what they start with them.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    ) as process:  # fmt: skip
        running.append(process)
        _, error = process.communicate()
    assert process.returncode == 130
    assert b"Traceback" not in error
    assert git(project, "log", "--format=%s").splitlines() == ["Make a ktx project"]
    assert git(project, "status", "--porcelain") == ""
    left = waiting(project)
    assert len(left) < TABLES
    server.script(describe)
    before = len(server.requests)
    assert ingest(open_project(project.root)).exit_code == 0
    assert set(all_asked(server.requests[before:])) == left


def test_a_commit_that_fails_loses_no_report_and_the_next_run_commits(
    project: Project, server: ModelServer
) -> None:
    objects = project.root / ".git" / "objects"
    away = project.root / ".git" / "objects-away"
    objects.rename(away)
    objects.write_text("no folder", encoding="utf-8")
    report = ingest(project)
    assert [failure.what for failure in report.failures] == ["commit"]
    assert report.exit_code != 0
    assert report.connections[0].tables == TABLES
    assert report.commit is None
    objects.unlink()
    away.rename(objects)
    again = ingest(open_project(project.root))
    assert again.failures == ()
    assert again.commit is not None
    assert git(project, "status", "--porcelain") == ""
    assert len(all_asked(server.requests)) == TABLES
