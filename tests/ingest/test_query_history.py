"""Past queries of a real PostgreSQL (pg_stat_statements) in an ingest: usage in the manifest, joins as evidence."""

import json
from datetime import UTC, datetime
from pathlib import Path

import psycopg
import pytest
from ruamel.yaml import YAML

from ktx.ingest.history import HistoryChoice
from ktx.ingest.pipeline import ingest
from ktx.ingest.report import IngestReport
from ktx.project import Project, create_project, open_project
from modelserver.replies import Reply, structured
from modelserver.server import ModelServer
from servers.postgres import PostgresServer

SCRIPT = """
    CREATE EXTENSION pg_stat_statements;
    CREATE TABLE buyers (id INTEGER PRIMARY KEY, city TEXT);
    CREATE TABLE sales (id INTEGER PRIMARY KEY, zz INTEGER, state TEXT, at DATE);
    INSERT INTO buyers SELECT n, 'city ' || n % 3 FROM generate_series(1000, 1040) AS n;
    INSERT INTO sales SELECT n, 1000 + n % 40, 'open', DATE '2024-01-01' + n FROM generate_series(1, 90) AS n;
    ANALYZE;
"""
ASKED = (
    "SELECT b.city, count(*) FROM sales AS s JOIN buyers AS b ON s.zz = b.id WHERE s.state = 'paid by Ann' GROUP BY b.city",
    "SELECT count(*) FROM sales WHERE state = 'paid by Bob' AND at >= '2024-02-01'",
)


@pytest.fixture
def database(postgres_server: PostgresServer) -> str:
    url = postgres_server.create_database("past")
    postgres_server.execute("past", SCRIPT)
    postgres_server.create_database("elsewhere")
    postgres_server.execute(
        "elsewhere",
        "CREATE EXTENSION pg_stat_statements; CREATE TABLE sales (id INTEGER, hidden TEXT); "
        "SELECT pg_stat_statements_reset();",
    )
    ask(postgres_server.url("elsewhere"), ["SELECT id FROM sales WHERE hidden = 'x'"] * 9)
    return url


def ask(url: str, statements: list[str]) -> None:
    with psycopg.connect(url, autocommit=True) as connection:
        for statement in statements:
            connection.execute(statement.encode())


def project_over(root: Path, url: str, **history: object) -> Project:
    create_project(root)
    yaml = YAML()
    config = yaml.load((root / "ktx.yaml").read_text()) or {}
    config["connections"] = {
        "pg": {"driver": "postgres", "url": url, "context": {"queryHistory": {"enabled": True, **history}}}
    }
    with (root / "ktx.yaml").open("w") as file:
        yaml.dump(config, file)
    return open_project(root)


def manifest(project: Project) -> str:
    return (project.semantic_dir / "pg" / "_schema" / "public.yaml").read_text()


def tables(project: Project) -> dict[str, dict[str, object]]:
    return YAML(typ="safe").load(manifest(project))["tables"]


def step(report: IngestReport) -> tuple[str, str]:
    (one,) = [step for step in report.connections[0].steps if step.operation == "query-history"]
    return one.status, one.detail


def test_past_queries_become_usage_without_a_single_value(database: str, tmp_path: Path) -> None:
    ask(database, [ASKED[0]] * 6 + [ASKED[1]] * 20)
    project = project_over(tmp_path, database)
    report = ingest(project)
    status, detail = step(report)
    found = tables(project)
    assert status == "done", detail
    assert found["sales"]["usage"] == {
        "frequencyTier": "high",
        "commonFilters": ["at >= ?", "state = ?"],
        "commonJoins": [{"table": "buyers", "on": ["sales.zz = buyers.id"]}],
    }
    assert found["buyers"]["usage"] == {
        "frequencyTier": "mid",
        "commonGroupBys": ["city"],
        "commonJoins": [{"table": "sales", "on": ["buyers.id = sales.zz"]}],
    }
    kept = [path.read_bytes() for path in tmp_path.rglob("*") if path.is_file() and ".git/" not in str(path)]
    assert not any(b"paid by" in text for text in kept)
    assert "hidden" not in manifest(project)


def test_observed_join_is_evidence_that_names_alone_do_not_give(database: str, tmp_path: Path) -> None:
    without = ingest(project_over(tmp_path / "without", database), history=HistoryChoice(is_wanted=False))
    assert step(without) == ("skipped", "off for this run")
    assert "sales.zz -> buyers.id" not in {link.text for link in without.connections[0].joins}
    ask(database, [ASKED[0]] * 6)
    report = ingest(project_over(tmp_path / "with", database))
    links = {link.text: link for link in report.connections[0].joins}
    assert "joined so in past queries (fewer than 10 executions)" in links["sales.zz -> buyers.id"].evidence
    assert "distinct values found" in links["sales.zz -> buyers.id"].evidence


def test_scans_of_ktx_itself_are_nobodys_usage_and_a_second_run_changes_nothing(
    database: str, tmp_path: Path
) -> None:
    ask(database, [ASKED[0]] * 6)
    project = project_over(tmp_path, database, minExecutions=1)
    first = ingest(project)
    assert first.commit is not None
    before = manifest(project)
    second = ingest(project)
    assert step(second)[0] == "done"
    assert "asked by ktx" in step(second)[1]
    assert (second.commit, manifest(project)) == (None, before)


def test_rare_queries_and_those_of_programs_are_left_out(
    database: str, postgres_server: PostgresServer, tmp_path: Path
) -> None:
    ask(database, [ASKED[0]] * 4)
    postgres_server.execute(
        "past", f"GRANT SELECT ON ALL TABLES IN SCHEMA public TO {postgres_server.reader}"
    )
    ask(postgres_server.url("past", as_reader=True), [ASKED[1]] * 50)
    filters = {"serviceAccounts": {"patterns": [f"^{postgres_server.reader}$"]}}
    project = project_over(tmp_path / "a", database, filters=filters)
    detail = step(ingest(project))[1]
    assert "1 service accounts only" in detail
    assert "1 too rare" in detail
    assert "usage" not in tables(project)["sales"]
    kept = project_over(
        tmp_path / "b",
        database,
        filters={"serviceAccounts": {**filters["serviceAccounts"], "mode": "include"}},
    )
    ingest(kept)
    assert tables(kept)["sales"]["usage"]["commonFilters"] == ["at >= ?", "state = ?"]


def test_database_without_the_extension_skips_the_step_and_says_what_to_do(
    postgres_server: PostgresServer, tmp_path: Path
) -> None:
    url = postgres_server.create_database("bare")
    postgres_server.execute("bare", "CREATE TABLE t (id INTEGER PRIMARY KEY); INSERT INTO t VALUES (1)")
    report = ingest(project_over(tmp_path, url))
    status, detail = step(report)
    assert (status, report.exit_code) == ("skipped", 0)
    assert "pg_stat_statements" in detail
    assert "shared_preload_libraries" in detail


def test_texts_that_the_user_may_not_see_are_counted(
    database: str, postgres_server: PostgresServer, tmp_path: Path
) -> None:
    ask(database, [ASKED[1]] * 7)
    postgres_server.execute(
        "past", f"GRANT SELECT ON ALL TABLES IN SCHEMA public TO {postgres_server.reader}"
    )
    project = project_over(tmp_path, postgres_server.url("past", as_reader=True))
    status, detail = step(ingest(project))
    assert status == "done"
    assert "executions are hidden from this user" in detail
    assert "usage" not in tables(project)["sales"]


def test_redaction_pattern_blanks_what_it_matches_and_a_broken_one_skips_the_step(
    database: str, tmp_path: Path
) -> None:
    ask(database, [ASKED[1]] * 7)
    project = project_over(tmp_path / "a", database, redactionPatterns=["(?i)STATE"])
    ingest(project)
    assert "[REDACTED] = ?" in tables(project)["sales"]["usage"]["commonFilters"]
    broken = ingest(project_over(tmp_path / "b", database, redactionPatterns=["(state"]))
    assert step(broken) == ("skipped", "`(state` in `context.queryHistory` is no regular expression")


def test_clock_is_not_asked_for_a_history_without_times(database: str, tmp_path: Path) -> None:
    ask(database, [ASKED[1]] * 7)
    project = project_over(tmp_path, database)
    ingest(project, history=HistoryChoice(clock=lambda: datetime(2024, 1, 1, tzinfo=UTC)))
    assert "usage" not in tables(project)["buyers"]
    assert "2024" not in json.dumps(tables(project))


def narrate(request: object) -> Reply:
    body = request.body  # type: ignore[attr-defined]
    texts = [part["text"] for message in body["messages"] for part in message["content"]]
    facts = json.loads(next(text for text in texts if text.lstrip().startswith("[")))
    told = [{"table": one["table"], "narrative": f"People look at {one['table']}."} for one in facts]
    return structured({"tables": told})


def test_usage_is_put_into_words_only_when_asked_for_and_paid_for_once(database: str, tmp_path: Path) -> None:
    ask(database, [ASKED[0]] * 6 + [ASKED[1]] * 20)
    project = project_over(tmp_path, database)
    with ModelServer() as server:
        server.script(narrate)
        config = (tmp_path / "ktx.yaml").read_text().replace("backend: none", "backend: anthropic")
        access = f'    anthropic: {{api_key: test-key, base_url: "{server.url}"}}\n  models: {{default: claude-haiku-5-5}}\n'
        (tmp_path / "ktx.yaml").write_text(
            config.replace("    backend: anthropic\n", "    backend: anthropic\n" + access)
        )
        project = open_project(tmp_path)
        ingest(project)
        assert server.requests == []

        ingest(project, history=HistoryChoice(wants_words=True))

        assert tables(project)["sales"]["usage"]["narrative"] == "People look at sales."  # type: ignore[index]
        assert len(server.requests) == 1
        assert "Ann" not in str(server.requests[0].body)
        before = manifest(project)
        assert ingest(project, history=HistoryChoice(wants_words=True)).commit is None
        ingest(project)
        assert (manifest(project), len(server.requests)) == (before, 1)
