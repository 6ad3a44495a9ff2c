import json
import shutil
from pathlib import Path

import duckdb
import pytest

from program import called

MANIFEST = """\
tables:
  orders:
    table: main.orders
    columns:
      - {name: id, type: number, pk: true}
"""


@pytest.fixture
def project(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Path:
    """A project on a DuckDB file with one table, nothing ingested."""
    root = tmp_path / "shop"
    assert called(capsys, "admin", "init", "--project-dir", root).code == 0
    with duckdb.connect(str(root / "shop.duckdb")) as database:
        database.execute("CREATE TABLE orders (id INTEGER PRIMARY KEY)")
    (root / "ktx.yaml").write_text("connections:\n  shop: {driver: duckdb, path: shop.duckdb}\n")
    return root


def report(capsys: pytest.CaptureFixture[str], root: Path, *arguments: str) -> tuple[int, dict]:
    outcome = called(capsys, "status", "--json", "--project-dir", root, *arguments)
    return outcome.code, json.loads(outcome.out)


def with_layer(root: Path) -> None:
    shard = root / "semantic-layer" / "shop" / "_schema" / "main.yaml"
    shard.parent.mkdir(parents=True)
    shard.write_text(MANIFEST)


def test_a_project_without_connections_is_blocked_and_says_what_to_do(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    called(capsys, "admin", "init", "--project-dir", tmp_path)
    code, found = report(capsys, tmp_path)
    assert (code, found["verdict"]) == (1, "blocked")
    assert "Name one under `connections`" in found["nextActions"][0]


def test_a_project_before_its_first_ingest_is_ready_to_ingest_only(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code, found = report(capsys, project)
    assert (code, found["verdict"]) == (0, "partial")
    verdicts = {name: part["verdict"] for name, part in found["capabilities"].items()}
    assert verdicts == {"search": "blocked", "query": "blocked", "ingest": "ready"}
    assert found["nextActions"] == ["`ktx ingest shop` writes them."]


def test_a_project_without_a_model_is_ready(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with_layer(project)
    code, found = report(capsys, project)
    assert (code, found["verdict"], found["llm"]["status"]) == (0, "ready", "skip")
    assert found["localStats"]["semanticLayer"] == {"shop": 1}
    assert found["connections"] == [
        {"status": "pass", "detail": "duckdb: answers", "fix": None, "name": "shop", "driver": "duckdb"}
    ]


def test_a_database_that_is_gone_is_found_by_contacting_it(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with_layer(project)
    (project / "shop.duckdb").unlink()
    _, found = report(capsys, project)
    assert found["connections"][0]["status"] == "fail"
    assert found["capabilities"]["query"]["verdict"] == "blocked"
    assert found["capabilities"]["search"]["verdict"] == "ready"
    _, fast = report(capsys, project, "--fast")
    assert fast["connections"][0]["status"] == "skip"


def test_one_broken_connection_of_two_leaves_a_partial_verdict(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with (project / "ktx.yaml").open("a") as stream:
        stream.write("  other: {driver: postgres, url: env:KTX_TEST_ABSENT}\n")
    _, found = report(capsys, project)
    assert found["capabilities"]["ingest"]["verdict"] == "partial"
    assert "`KTX_TEST_ABSENT` is not set" in found["connections"][1]["detail"]


def test_a_broken_layer_file_is_named(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with_layer(project)
    (project / "semantic-layer" / "shop" / "bad.yaml").write_text("name: [\n")
    _, found = report(capsys, project)
    (layer,) = [check for check in found["checks"] if check["id"] == "layer"]
    assert layer["status"] == "warn"
    assert "bad.yaml" in layer["detail"]


def test_missing_git_blocks_ingest_and_nothing_else(
    project: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    with_layer(project)
    monkeypatch.setenv("PATH", str(tmp_path))
    _, found = report(capsys, project)
    verdicts = {name: part["verdict"] for name, part in found["capabilities"].items()}
    assert verdicts == {"search": "ready", "query": "ready", "ingest": "blocked"}


@pytest.mark.parametrize(
    ("block", "problem"),
    [
        ("provider: {backend: anthropic}", "`llm.models.default` names no model"),
        ("{provider: {backend: anthropic}, models: {default: m}}", "there is no API key"),
        ("{provider: {backend: gateway}, models: {default: m}}", "base_url` is missing"),
        ("{provider: {backend: vertex}, models: {default: m}}", "location` is missing"),
    ],
)
def test_an_unfinished_model_configuration_is_named(
    project: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    block: str,
    problem: str,
) -> None:
    monkeypatch.delenv("ANTHROPIC_API_KEY", raising=False)
    inline = block if block.startswith("{") else f"{{{block}}}"
    with (project / "ktx.yaml").open("a") as stream:
        stream.write(f"llm: {inline}\n")
    _, found = report(capsys, project)
    assert found["llm"]["status"] == "fail"
    assert problem in found["llm"]["detail"]
    assert found["capabilities"]["ingest"]["verdict"] == "ready"


def test_validation_answers_in_json_whether_or_not_the_file_is_right(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    _, right = report(capsys, project, "--validate")
    assert right == {"ok": True, "projectDir": str(project), "warnings": []}
    (project / "ktx.yaml").write_text("llm: 3\n")
    code, wrong = report(capsys, project, "--validate")
    assert (code, wrong["error"], wrong["issues"][0]["line"]) == (2, "invalid_config", 1)
    shutil.rmtree(project)
    code, missing = report(capsys, project, "--validate")
    assert (code, missing["error"]) == (2, "missing_project")


def test_a_damaged_index_does_not_stop_the_report(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with_layer(project)
    (project / ".ktx" / "index.sqlite").write_bytes(b"not a database at all" * 100)
    _, found = report(capsys, project)
    assert found["capabilities"]["search"]["verdict"] == "ready"


def test_connection_test_contacts_one_or_all(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert called(capsys, "connection", "test", "shop", "--project-dir", project).code == 0
    (project / "shop.duckdb").unlink()
    outcome = called(capsys, "connection", "test", "--json", "--project-dir", project)
    assert outcome.code == 2
    assert json.loads(outcome.out)["connections"][0]["status"] == "fail"


def test_connection_test_exits_by_who_can_act(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config = project / "ktx.yaml"
    config.write_text("connections:\n  far: {driver: postgres, url: 'postgresql://127.0.0.1:1/nowhere'}\n")
    assert called(capsys, "connection", "test", "--project-dir", project).code == 3
    config.write_text(config.read_text() + "  gone: {driver: duckdb, path: gone.duckdb}\n")
    assert called(capsys, "connection", "test", "--project-dir", project).code == 2


def test_an_unknown_connection_is_a_usage_error_with_the_nearest(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    outcome = called(capsys, "connection", "test", "shp", "--project-dir", project)
    assert outcome.code == 2
    assert "Did you mean `shop`?" in outcome.err
