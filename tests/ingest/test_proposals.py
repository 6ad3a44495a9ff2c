"""References that a model proposes, against a wire-true server on loopback: who is asked about, what the data makes of it."""

import json
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest

from ktx.ingest.explain import explain_column
from ktx.ingest.pipeline import ingest
from ktx.project import Project, create_project, open_project
from modelserver.replies import Reply, overloaded, structured
from modelserver.server import ModelServer

CONFIG = """\
connections:
  shop: {driver: sqlite, path: ../shop.sqlite}
llm:
  provider: {backend: anthropic, anthropic: {api_key: test-key, base_url: "URL"}}
  models: {default: claude-haiku-5-5}
ingest:
  rateLimit: {retry: {maxAttempts: 1}}
scan:
  enrichment: {mode: llm}
  relationships: {maxLlmTablesPerBatch: 2}
"""


@pytest.fixture
def server() -> Iterator[ModelServer]:
    with ModelServer() as running:
        running.script(answer)
        yield running


@pytest.fixture
def project(tmp_path: Path, server: ModelServer) -> Project:
    """Two tables whose reference the names give, and three whose names and dense numbers say nothing."""
    connection = sqlite3.connect(tmp_path / "shop.sqlite")
    connection.executescript(
        "CREATE TABLE customers (id INTEGER, label TEXT); CREATE TABLE orders (id INTEGER, customer_id INTEGER);"
        "CREATE TABLE stamm (aa INTEGER, mail TEXT); CREATE TABLE vorgang (bb INTEGER, wer INTEGER, was REAL);"
        "CREATE TABLE ablage (cc INTEGER, dazu INTEGER)"
    )
    connection.executemany("INSERT INTO customers VALUES (?, ?)", [(n, f"L{n % 3}") for n in range(1, 9)])
    connection.executemany("INSERT INTO orders VALUES (?, ?)", [(n, n % 8 + 1) for n in range(1, 30)])
    connection.executemany(
        "INSERT INTO stamm VALUES (?, ?)", [(n, f"ana{n}@example.com") for n in range(1, 41)]
    )
    connection.executemany(
        "INSERT INTO vorgang VALUES (?, ?, ?)", [(n, n % 40 + 1, n / 3) for n in range(1, 90)]
    )
    connection.executemany("INSERT INTO ablage VALUES (?, ?)", [(n, 1000 + n) for n in range(1, 30)])
    connection.commit()
    connection.close()
    return create_project(tmp_path / "project", config_text=CONFIG.replace("URL", server.url))


def asked(request: object) -> dict[str, object]:
    body = request.body  # type: ignore[attr-defined]
    texts = [part["text"] for message in body["messages"] for part in message["content"]]
    return json.loads(next(text for text in texts if text.lstrip().startswith("{")))


def link(source: str, column: str, target: str, key: str) -> dict[str, object]:
    return {
        "from_table": source,
        "from_columns": [column],
        "to_table": target,
        "to_columns": [key],
        "confidence": 0.9,
        "reason": "who did it",
    }


def answer(request: object) -> Reply:
    data = asked(request)
    if "keys" not in data:
        texts = [{"name": one["table"], "table": "One row", "columns": []} for one in data["tables"]]
        return structured({"tables": texts})
    names = {table["table"] for table in data["tables"]}
    links = [
        link("vorgang", "wer", "stamm", "aa"),
        link("ablage", "dazu", "stamm", "aa"),
        link("vorgang", "gone", "stamm", "aa"),
    ]
    return structured({"links": [one for one in links if one["from_table"] in names]})


def proposals(server: ModelServer) -> list[dict[str, object]]:
    return [data for data in map(asked, server.requests) if "keys" in data]


def test_only_tables_without_any_candidate_are_asked_about_and_all_of_them(
    project: Project, server: ModelServer
) -> None:
    ingest(project)
    batches = [[table["table"] for table in data["tables"]] for data in proposals(server)]
    assert sorted(name for batch in batches for name in batch) == ["ablage", "stamm", "vorgang"]
    assert max(map(len, batches)) == 2


def test_a_proposal_goes_through_the_data_and_keeps_its_evidence(
    project: Project, server: ModelServer
) -> None:
    report = ingest(project).connections[0]
    found = {one.text: one for one in (*report.joins, *report.review)}
    assert {one.text for one in report.review} == {"vorgang.wer -> stamm.aa"}
    assert set(found) == {"orders.customer_id -> customers.id", "vorgang.wer -> stamm.aa"}
    assert "a model proposes it: who did it" in found["vorgang.wer -> stamm.aa"].evidence
    explained = explain_column(project, "vorgang.wer")
    assert any(reason.startswith("model ") for _, reasons in explained.relationships for reason in reasons)


def test_a_second_run_proposes_from_what_was_kept_and_asks_nothing(
    project: Project, server: ModelServer
) -> None:
    first = ingest(project).connections[0]
    count = len(server.requests)
    again = ingest(project)
    assert len(server.requests) == count
    assert again.commit is None
    assert (again.connections[0].joins, again.connections[0].review) == (first.joins, first.review)
    assert again.connections[0].model_calls == 0


def test_proposals_see_masked_samples_only(project: Project, server: ModelServer) -> None:
    ingest(project)
    everything = json.dumps([request.body for request in server.requests])
    assert "<email>" in everything
    assert "@example.com" not in everything


def test_switched_off_nothing_is_proposed(project: Project, server: ModelServer) -> None:
    text = project.config_file.read_text(encoding="utf-8")
    project.config_file.write_text(
        text.replace("relationships: {", "relationships: {llmProposals: false, "), encoding="utf-8"
    )
    ingest(open_project(project.root))
    assert proposals(server) == []


def test_a_model_that_fails_is_named_and_asked_again_next_time(project: Project, server: ModelServer) -> None:
    server.script(lambda request: overloaded())
    report = ingest(project)
    assert report.exit_code == 3
    assert [line.partition(":")[0] for line in report.connections[0].unproposed] == [
        "ablage",
        "stamm",
        "vorgang",
    ]
    server.script(answer)
    again = ingest(project).connections[0]
    assert again.unproposed == ()
    assert "vorgang.wer -> stamm.aa" in {one.text for one in (*again.joins, *again.review)}
