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
from modelserver.replies import Reply, invalid_key, max_tokens, structured
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


def asked(request: object) -> dict[str, dict[str, object]]:
    """The tables that a request asks about, by name."""
    body = request.body  # type: ignore[attr-defined]
    texts = [
        part["text"] for message in body["messages"] for part in message["content"] if part["type"] == "text"
    ]
    data = json.loads(next(text for text in texts if text.lstrip().startswith("{")))
    return {table["table"]: table for table in data["tables"]}


def entry(table: dict[str, object]) -> dict[str, object]:
    return {
        "name": table["table"],
        "table": f"One {table['table']} row",
        "columns": [
            {"name": column["name"], "description": f"About {column['name']}"} for column in table["columns"]
        ],
    }


def describe(request: object) -> Reply:
    return structured({"tables": [entry(table) for table in asked(request).values()]})


def manifest(project: Project) -> dict[str, object]:
    text = (project.semantic_dir / "shop" / "_schema" / "public.yaml").read_text(encoding="utf-8")
    return YAML(typ="safe").load(text)["tables"]


def test_descriptions_are_written_and_a_second_run_asks_nothing(
    project: Project, server: ModelServer
) -> None:
    report = ingest(project)
    assert report.exit_code == 0
    assert manifest(project)["orders"]["descriptions"] == {"ai": "One orders row"}
    assert [list(asked(request)) for request in server.requests] == [["customers", "orders"]]
    again = ingest(project)
    assert len(server.requests) == 1
    assert again.commit is None


def test_one_changed_column_costs_one_call(project: Project, server: ModelServer) -> None:
    ingest(project)
    with sqlite3.connect(project.root.parent / "shop.sqlite") as connection:
        connection.execute("ALTER TABLE orders ADD COLUMN note TEXT")
    connection.close()
    ingest(project)
    assert [list(asked(request)) for request in server.requests[1:]] == [["orders"]]


def test_personal_samples_are_masked_before_they_leave(project: Project, server: ModelServer) -> None:
    ingest(project)
    everything = json.dumps([request.body for request in server.requests])
    assert "Ana" not in everything
    assert "@example.com" not in everything
    customers = asked(server.requests[0])["customers"]
    assert [column["name"] for column in customers["columns"]] == ["id", "name", "contact", "segment"]
    assert customers["sample_rows"][0] == ["1", "<person name>", "<email>", "big"]


def test_without_samples_no_row_leaves(project: Project, server: ModelServer) -> None:
    text = project.config_file.read_text(encoding="utf-8").replace(
        "mode: llm}", "mode: llm}\n  samples: none"
    )
    project.config_file.write_text(text, encoding="utf-8")
    ingest(open_project(project.root))
    assert all("sample_rows" not in table for table in asked(server.requests[0]).values())


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
    assert (len(server.requests), len(report.connections[0].undescribed)) in {(0, 2), (1, 0)}
    project.config_file.write_text(text, encoding="utf-8")
    ingest(open_project(project.root))
    assert len(server.requests) == 1
    assert "ai" in manifest(project)["orders"]["descriptions"]


def test_tables_that_an_answer_leaves_out_are_asked_about_again_and_named_when_that_fails(
    project: Project, server: ModelServer
) -> None:
    def forgetful(request: object) -> Reply:
        tables = asked(request)
        return structured(
            {"tables": [entry(table) for table in tables.values() if table["table"] != "orders"]}
        )

    server.script(forgetful)
    report = ingest(project)
    assert [list(asked(request)) for request in server.requests] == [["customers", "orders"], ["orders"]]
    assert report.connections[0].undescribed == ("orders: the model's answer left it out",)
    assert manifest(project)["customers"]["descriptions"] == {"ai": "One customers row"}


def test_a_batch_whose_answer_is_cut_off_is_asked_about_in_halves(
    project: Project, server: ModelServer
) -> None:
    server.script(lambda request: max_tokens("{") if len(asked(request)) > 1 else describe(request))
    report = ingest(project)
    assert report.exit_code == 0
    assert sorted(len(asked(request)) for request in server.requests) == [1, 1, 2]
    assert manifest(project)["orders"]["descriptions"] == {"ai": "One orders row"}


def test_several_tables_at_once_cost_less_than_one_by_one(project: Project, server: ModelServer) -> None:
    ingest(project)
    together = server.bill.total
    for table in ("customers", "orders"):
        with sqlite3.connect(project.root.parent / "shop.sqlite") as connection:
            connection.execute(f"ALTER TABLE {table} RENAME TO {table}_2")
        connection.close()
        ingest(project)
    alone = server.bill.total
    assert len(server.requests) == 3
    assert alone.input_tokens - together.input_tokens > 1.3 * together.input_tokens


def words(count: int) -> str:
    return " ".join(["something"] * count)


def answer_at_length(request: object) -> Reply:
    """As a model writes: a sentence for each table, and some words for each column."""
    tables = asked(request)
    if '\\"keys\\":' in json.dumps(request.body):  # type: ignore[attr-defined]
        names = list(tables)
        link = {
            "from_table": names[0], "from_columns": ["wer"], "to_table": names[-1], "to_columns": ["aa"], "confidence": 0.4,
            "reason": words(6),
        }  # fmt: skip
        return structured({"links": [link] * max(1, len(names) // 2)})
    return structured(
        {
            "tables": [
                {
                    "name": table["table"],
                    "table": words(12),
                    "columns": [
                        {"name": column["name"], "description": words(7)} for column in table["columns"]
                    ],
                }
                for table in tables.values()
            ]
        }
    )


def test_the_estimate_knows_proposals_too_and_is_within_a_fifth_of_the_bill(
    tmp_path: Path, server: ModelServer
) -> None:
    connection = sqlite3.connect(tmp_path / "shop.sqlite")
    for number, name in enumerate(("stamm", "vorgang", "ablage", "beleg", "posten", "kunden", "lager")):
        first, second = f"{chr(97 + number)}q", f"w{chr(97 + number)}"
        connection.execute(
            f"CREATE TABLE {name} ({first} INTEGER, {second} INTEGER, mail TEXT, was REAL, wann TEXT)"
        )
        rows = [(n, 1000 * number + n, f"x{n}@example.com", n / 3, "2024-05-01") for n in range(1, 20)]
        connection.executemany(f"INSERT INTO {name} VALUES (?, ?, ?, ?, ?)", rows)
    connection.commit()
    connection.close()
    config = CONFIG.replace("URL", server.url).replace(
        "mode: llm}", "mode: llm}\n  relationships: {maxLlmTablesPerBatch: 3}"
    )
    project = create_project(tmp_path / "project", config_text=config)
    server.script(answer_at_length)
    (foreseen,) = estimate_prose(project)
    assert len(server.requests) == 0
    ingest(project)
    assert foreseen.calls == len(server.requests)
    assert foreseen.proposal_calls == 3
    paid = server.bill.total
    sent = paid.input_tokens + paid.read_tokens + paid.write_5m_tokens + paid.write_1h_tokens
    assert sent * 0.8 <= foreseen.input_tokens <= sent * 1.2
    assert paid.output_tokens * 0.8 <= foreseen.output_tokens <= paid.output_tokens * 1.2
    (nothing,) = estimate_prose(project)
    assert (nothing.calls, nothing.input_tokens, nothing.cost_usd) == (0, 0, 0.0)


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
