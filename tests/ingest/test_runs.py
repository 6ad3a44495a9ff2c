"""Runs listed and shown, from their records or from git alone, and their traces."""

import json
import shutil
import sqlite3
import subprocess
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from ktx.errors import UsageError
from ktx.events import Notice, StageFinished, ignore
from ktx.ingest.leaks import known_secrets
from ktx.ingest.pipeline import ingest
from ktx.ingest.recall import find_run, list_runs, require_run
from ktx.ingest.runs import open_runs
from ktx.ingest.texts import TextResult, ingest_texts
from ktx.ingest.traces import open_trace, trace_path
from ktx.project import Project, create_project
from ktx.sources.text.source import TextItem
from modelserver.replies import by_turn, call, calls, refusal, text
from modelserver.server import ModelServer
from program import called

CONFIG = """\
connections:
  shop: {driver: sqlite, path: ../shop.sqlite}
llm:
  provider: {backend: anthropic, anthropic: {api_key: test-key-value, base_url: "URL"}}
  models: {default: claude-haiku-5-5}
ingest:
  rateLimit: {retry: {maxAttempts: 1}}
"""
NOTE = "Net revenue leaves refunded orders out: ask Ms Pelletier."
OVERLAY = """\
name: orders
measures:
  - {name: net_revenue, expr: sum(total), filter: status <> 'refunded'}
"""


@pytest.fixture
def server() -> Iterator[ModelServer]:
    with ModelServer() as running:
        yield running


@pytest.fixture
def project(tmp_path: Path, server: ModelServer) -> Project:
    with sqlite3.connect(tmp_path / "shop.sqlite") as db:
        db.execute("CREATE TABLE orders (id INTEGER PRIMARY KEY, status TEXT, total REAL)")
        db.executemany(
            "INSERT INTO orders VALUES (?, ?, ?)",
            [(n, "refunded" if n % 5 == 0 else "paid", n * 1.5) for n in range(1, 41)],
        )
    db.close()
    made = create_project(tmp_path / "project", config_text=CONFIG.replace("URL", server.url))
    ingest(made, ["shop"])
    return made


def told(project: Project, content: str) -> TextResult:
    (result,) = ingest_texts(project, [TextItem(label="note", content=content.encode(), name="note.md")])
    return result


def writes() -> object:
    return by_turn(
        call("read_source", connection_id="shop", name="orders"),
        calls(
            ("write_source", {"connection_id": "shop", "yaml": OVERLAY.replace("total", "totl")}),
            ("query", {"connection_id": "shop", "sql": "SELECT id, status FROM orders WHERE id = 7"}),
        ),
        call("write_source", connection_id="shop", yaml=OVERLAY),
        text("done"),
    )


def test_a_run_is_shown_with_its_units_and_the_call_that_led_to_each_change(
    project: Project, server: ModelServer, capsys: pytest.CaptureFixture[str]
) -> None:
    server.script(writes())
    run = told(project, NOTE).run_id
    head = subprocess.run(
        ["git", "rev-parse", "HEAD"], cwd=project.root, capture_output=True, text=True, check=True
    ).stdout.strip()

    shown = called(capsys, "runs", "show", "last", "--project-dir", project.root)

    assert shown.code == 0
    lines = shown.out.splitlines()
    assert lines[0] == f"run {run} of text: done"
    assert f"  commit {head[:10]} Ingest text: 1 source" in lines
    at = lines.index("  + shop/orders measures.net_revenue")
    assert lines[at + 1].startswith("      from ")
    assert lines[at + 2] == "      by call 4 of unit note: write_source"
    (unit,) = [line for line in lines if line.startswith("  note ")]
    assert unit.split()[:4] == ["note", "done", "1", "4"]
    assert [line.split()[0] for line in lines[lines.index("stages") + 2 :][:8]] == [
        "read", "diff", "split", "propose", "reconcile", "gate", "apply", "reindex",
    ]  # fmt: skip
    assert "  semantic-layer/shop/orders.yaml" in lines

    data = json.loads(called(capsys, "runs", "show", run, "--json", "--project-dir", project.root).out)
    assert data["run"]["commit"] == data["commit"]["commit"] == head
    assert data["run"]["changes"] == 1
    assert [one["outcome"] for one in data["report"]["units"][0]["calls"]] == ["ok", "error", "ok", "ok"]


def test_a_unit_that_was_set_aside_is_named_with_its_reason(
    project: Project, server: ModelServer, capsys: pytest.CaptureFixture[str]
) -> None:
    server.script(lambda _: refusal("I will not."))
    told(project, NOTE)
    shown = called(capsys, "runs", "show", "last", "--project-dir", project.root).out
    assert "of text: partial" in shown
    assert "set aside (1)" in shown
    assert "note: refused: " in shown


def test_runs_are_listed_newest_first_and_found_by_the_beginning_of_their_id(
    project: Project, server: ModelServer, capsys: pytest.CaptureFixture[str]
) -> None:
    server.script(writes())
    first = told(project, NOTE)
    second = told(project, NOTE)
    assert first.run_id is not None
    assert second.run_id is not None
    shown = called(capsys, "runs", "list", "--project-dir", project.root).out.splitlines()
    assert [line.split("\t")[0] for line in shown] == ["run", second.run_id, first.run_id]
    assert shown[2].split("\t")[3:6] == ["done", "1", "1"]
    assert shown[1].split("\t")[7] == ""
    data = json.loads(
        called(capsys, "runs", "list", "--json", "--limit", "1", "--project-dir", project.root).out
    )
    assert [one["id"] for one in data["runs"]] == [second.run_id]
    assert require_run(project, first.run_id[:-2]).id == first.run_id
    assert require_run(project, "last").id == second.run_id
    with pytest.raises(UsageError, match="2 runs begin with"):
        require_run(project, first.run_id[:4])
    with pytest.raises(UsageError, match="no run `zzz`"):
        require_run(project, "zzz")
    with pytest.raises(UsageError, match="No run of `txt` is known"):
        list_runs(project, source="txt")


def test_a_run_whose_record_is_gone_is_still_known_by_its_commit(
    project: Project, server: ModelServer, capsys: pytest.CaptureFixture[str]
) -> None:
    server.script(writes())
    run = told(project, NOTE).run_id
    assert run is not None
    shutil.rmtree(project.state_dir)
    (found,) = list_runs(project)
    assert (found.id, found.source, found.status, found.report) == (run, "text", "landed", None)
    shown = called(capsys, "runs", "show", run[:18], "--project-dir", project.root)
    assert shown.code == 0
    assert "only its commit is left" in shown.out
    diff = called(capsys, "diff", run, "--no-values", "--project-dir", project.root).out
    assert "+ measure orders.net_revenue: sum(total)" in diff
    assert not project.state_dir.exists()


def test_a_project_without_runs_says_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    project = create_project(tmp_path / "p")
    listed = called(capsys, "runs", "list", "--project-dir", project.root)
    assert (listed.code, listed.out.count("\n")) == (0, 1)
    assert "no run yet" in listed.err
    assert find_run(project, "last") is None
    assert called(capsys, "runs", "show", "last", "--project-dir", project.root).code == 2


def test_a_run_that_goes_on_or_was_cut_off_shows_how_far_it_came(
    project: Project, capsys: pytest.CaptureFixture[str]
) -> None:
    with open_runs(project.state_dir) as store:
        run = store.begin("notes", body={})
        store.stage(run, "propose")
    shown = called(capsys, "runs", "show", run, "--project-dir", project.root).out
    assert f"run {run} of notes: running" in shown
    assert "it came to the stage `propose`" in shown


def test_runs_of_one_second_are_listed_in_the_order_in_which_they_began(tmp_path: Path) -> None:
    with open_runs(tmp_path, now=lambda: datetime(2026, 1, 1, tzinfo=UTC)) as store:
        begun = [store.begin("notes", body={}) for _ in range(12)]
        assert store.run_ids() == tuple(reversed(begun))
        assert [run.id for run in store.runs(limit=3)] == begun[:-4:-1]


# ---- traces


def traced(project: Project, run: str) -> list[dict[str, object]]:
    lines = trace_path(project.state_dir, run).read_text(encoding="utf-8").splitlines()
    return [json.loads(line) for line in lines]


def test_a_trace_tells_stages_units_and_tool_calls_and_no_word_of_evidence_rows_or_prompts(
    project: Project, server: ModelServer
) -> None:
    server.script(writes())
    run = told(project, NOTE).run_id
    assert run is not None
    lines = traced(project, run)
    assert {(line["run"], line["source"]) for line in lines} == {(run, "text")}
    stages = [line["stage"] for line in lines if line["event"] == "stage-finished"]
    assert [one for one in stages if one not in ("documents", "units", "index")] == [
        "read", "diff", "split", "propose", "reconcile", "gate", "apply", "reindex",
    ]  # fmt: skip
    tools = [(line["number"], line["tool"], line["outcome"]) for line in lines if line["event"] == "tool"]
    assert tools == [
        (1, "read_source", "ok"),
        (2, "write_source", "error"),
        (3, "query", "ok"),
        (4, "write_source", "ok"),
    ]
    (unit,) = [line for line in lines if line["event"] == "unit"]
    assert (unit["status"], unit["changes"], unit["steps"]) == ("done", 1, 4)
    assert (lines[-1]["event"], lines[-1]["status"]) == ("run-finished", "done")
    whole = json.dumps([{key: value for key, value in line.items() if key != "at"} for line in lines])
    for word in ("Pelletier", "refunded", "SELECT", "10.5", "test-key-value", "sum("):
        assert word not in whole


def test_traces_go_with_their_runs(tmp_path: Path) -> None:
    now = datetime(2026, 1, 1, tzinfo=UTC)
    with open_runs(tmp_path, now=lambda: now) as store:
        runs: list[str] = []
        for _ in range(203):
            now += timedelta(minutes=1)
            run = store.begin("notes", body={})
            runs.append(run)
            open_trace(
                tmp_path,
                run=run,
                source="notes",
                forward=ignore,
                secrets=known_secrets(()),
                kept=store.run_ids(),
            ).emit(StageFinished(stage="read"))
        assert store.run_ids() == tuple(reversed(runs[3:]))
    left = sorted(path.stem for path in (tmp_path / "traces").iterdir())
    assert left == sorted(runs[3:])


def test_a_secret_in_an_event_is_withheld_from_the_trace(tmp_path: Path) -> None:
    seen: list[object] = []
    trace = open_trace(
        tmp_path,
        run="r",
        source="notes",
        forward=seen.append,
        secrets=known_secrets(["hunter2-hunter2"]),
        kept=("r",),
    )
    trace.emit(Notice(message="the server refused hunter2-hunter2"))
    trace.emit(Notice(message="fine"))
    told = [json.loads(line)["message"] for line in trace.path.read_text().splitlines()]
    assert told == ["withheld: it holds what looks like a secret", "fine"]
    assert len(seen) == 2


def test_a_trace_that_cannot_be_written_is_told_once_and_stops_nothing(tmp_path: Path) -> None:
    (tmp_path / "traces").write_text("a file is in the way")
    seen: list[object] = []
    trace = open_trace(
        tmp_path, run="r", source="notes", forward=seen.append, secrets=known_secrets(()), kept=("r",)
    )
    trace.emit(Notice(message="one"))
    trace.emit(Notice(message="two"))
    messages = [str(one) for one in seen]
    assert sum("cannot be written" in one for one in messages) == 1
    assert len(seen) == 3
