"""Descriptions by a model, against a wire-true server on loopback: what is sent, what is paid, what is kept."""

import json
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest
from ruamel.yaml import YAML

from ktx.ingest.pipeline import ingest
from ktx.ingest.prose import estimate_prose
from ktx.project import Project, create_project, open_project
from modelserver.replies import Reply, invalid_key, structured
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
"""


@pytest.fixture
def server() -> Iterator[ModelServer]:
    with ModelServer() as running:
        running.script(describe)
        yield running


@pytest.fixture
def project(tmp_path: Path, server: ModelServer) -> Project:
    connection = sqlite3.connect(tmp_path / "shop.sqlite")
    connection.execute("CREATE TABLE customers (id INTEGER, name TEXT, contact TEXT, segment TEXT)")
    connection.execute("CREATE TABLE orders (id INTEGER, customer_id INTEGER, total REAL)")
    connection.executemany(
        "INSERT INTO customers VALUES (?, ?, ?, ?)",
        [(n, f"Ana Nr{n}", f"ana{n}@example.com", "big") for n in range(1, 9)],
    )
    connection.executemany(
        "INSERT INTO orders VALUES (?, ?, ?)", [(n, n % 8 + 1, n / 2) for n in range(1, 30)]
    )
    connection.commit()
    connection.close()
    return create_project(tmp_path / "project", config_text=CONFIG.replace("URL", server.url))


def asked(request: object) -> dict[str, object]:
    """The table that a request asks about."""
    body = request.body  # type: ignore[attr-defined]
    texts = [
        part["text"] for message in body["messages"] for part in message["content"] if part["type"] == "text"
    ]
    return json.loads(next(text for text in texts if text.lstrip().startswith("{")))


def describe(request: object) -> Reply:
    table = asked(request)
    return structured(
        {
            "table": f"One {table['table']} row",
            "columns": [
                {"name": column["name"], "description": f"About {column['name']}"}
                for column in table["columns"]
            ],
        }
    )


def manifest(project: Project) -> dict[str, object]:
    text = (project.semantic_dir / "shop" / "_schema" / "public.yaml").read_text(encoding="utf-8")
    return YAML(typ="safe").load(text)["tables"]


def test_descriptions_are_written_and_a_second_run_asks_nothing(
    project: Project, server: ModelServer
) -> None:
    report = ingest(project)
    assert report.exit_code == 0
    assert manifest(project)["orders"]["descriptions"] == {"ai": "One orders row"}
    assert len(server.requests) == 2
    again = ingest(project)
    assert len(server.requests) == 2
    assert again.commit is None


def test_one_changed_column_costs_one_call(project: Project, server: ModelServer) -> None:
    ingest(project)
    with sqlite3.connect(project.root.parent / "shop.sqlite") as connection:
        connection.execute("ALTER TABLE orders ADD COLUMN note TEXT")
    connection.close()
    ingest(project)
    assert len(server.requests) == 3
    assert asked(server.requests[-1])["table"] == "orders"


def test_personal_samples_are_masked_before_they_leave(project: Project, server: ModelServer) -> None:
    ingest(project)
    everything = json.dumps([request.body for request in server.requests])
    assert "Ana" not in everything
    assert "@example.com" not in everything
    customers = next(asked(request) for request in server.requests if asked(request)["table"] == "customers")
    assert customers["sample_rows"][0] == {
        "id": "1",
        "name": "<person name>",
        "contact": "<email>",
        "segment": "big",
    }


def test_without_samples_no_row_leaves(project: Project, server: ModelServer) -> None:
    text = project.config_file.read_text(encoding="utf-8").replace(
        "mode: llm}", "mode: llm}\n  samples: none"
    )
    project.config_file.write_text(text, encoding="utf-8")
    ingest(open_project(project.root))
    assert all("sample_rows" not in asked(request) for request in server.requests)


def test_a_failed_table_keeps_its_old_text_and_is_named(project: Project, server: ModelServer) -> None:
    ingest(project)
    with sqlite3.connect(project.root.parent / "shop.sqlite") as connection:
        connection.execute("ALTER TABLE orders ADD COLUMN note TEXT")
    connection.close()
    server.script(lambda request: invalid_key())
    report = ingest(project)
    assert report.exit_code == 3
    (problem,) = report.connections[0].undescribed
    assert problem.startswith("orders: ")
    orders = manifest(project)["orders"]
    assert orders["descriptions"] == {"ai": "One orders row"}
    assert [column["name"] for column in orders["columns"]][-1] == "note"


def test_a_budget_stops_before_the_next_call_and_a_later_run_goes_on(
    project: Project, server: ModelServer
) -> None:
    text = project.config_file.read_text(encoding="utf-8")
    project.config_file.write_text(
        text.replace("claude-haiku-5-5}", "claude-haiku-5-5}\n  budget: {tokens: 1}"), encoding="utf-8"
    )
    report = ingest(open_project(project.root))
    assert report.connections[0].status == "done"
    assert len(report.connections[0].undescribed) == 2 - len(server.requests)
    project.config_file.write_text(text, encoding="utf-8")
    ingest(open_project(project.root))
    assert len(server.requests) == 2


def test_the_estimate_counts_what_is_then_sent(project: Project, server: ModelServer) -> None:
    (foreseen,) = estimate_prose(project)
    assert len(server.requests) == 0
    ingest(project)
    assert foreseen.calls == len(server.requests)
    paid = server.bill.total
    sent = paid.input_tokens + paid.read_tokens + paid.write_5m_tokens + paid.write_1h_tokens
    assert sent * 0.8 <= foreseen.input_tokens <= sent * 1.2
    assert foreseen.cost_usd is not None
    assert foreseen.cost_usd > 0
