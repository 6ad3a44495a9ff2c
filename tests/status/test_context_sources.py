"""Context sources in `ktx status` and `ktx connection`: settings, secrets, and whether each answers."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import duckdb
import pytest

from ktx.errors import ConfigError, KtxError, SourceError
from ktx.project import open_project, source_connection
from ktx.sources import reach
from ktx.sources.connect import reach_source
from loopback import Asked, Loopback, Reply, serve_json
from program import called
from servers.git import commit_files, git_server

KEY = "a-key-nobody-guesses"


def answer(asked: Asked) -> Reply:
    """The log-in questions of all three tools, as their API references describe them."""
    match asked.method, asked.path:
        case "GET", "/api/user/current":
            if asked.headers.get("x-api-key") != KEY:
                return Reply(status=401, payload="Unauthenticated")
            return Reply(payload={"id": 7, "common_name": "Ktx Reader", "email": "k@example.com"})
        case "POST", "/api/4.0/login":
            if (asked.form.get("client_id"), asked.form.get("client_secret")) != ("id", KEY):
                return Reply(status=404, payload={"message": "Not found"})
            return Reply(payload={"access_token": "t1", "token_type": "Bearer", "expires_in": 3600})
        case "DELETE", "/api/4.0/logout":
            return Reply(status=204 if asked.headers["authorization"] == "Bearer t1" else 401)
        case "GET", "/v1/users/me":
            if asked.headers.get("authorization") != f"Bearer {KEY}" or "notion-version" not in asked.headers:
                return Reply(status=401, payload={"object": "error", "code": "unauthorized"})
            return Reply(payload={"object": "user", "type": "bot", "name": "Ktx"})
        case _:
            return Reply(status=404, payload={"message": "Not found"})


@pytest.fixture
def tool() -> Iterator[Loopback]:
    with serve_json(answer) as running:
        yield running


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Path:
    monkeypatch.setenv("KTX_TEST_KEY", KEY)
    folder = tmp_path / "shop"
    assert called(capsys, "admin", "init", "--project-dir", folder).code == 0
    with duckdb.connect(str(folder / "shop.duckdb")) as database:
        database.execute("CREATE TABLE orders (id INTEGER PRIMARY KEY)")
    return folder


def configure(root: Path, block: str) -> None:
    (root / "ktx.yaml").write_text(
        f"connections:\n  shop: {{driver: duckdb, path: shop.duckdb}}\n  tool: {block}\n"
    )


def found(capsys: pytest.CaptureFixture[str], root: Path, *arguments: str) -> dict[str, Any]:
    report = json.loads(called(capsys, "status", "--json", "--project-dir", root, *arguments).out)
    (one,) = [part for part in report["connections"] if part["name"] == "tool"]
    return {**one, "ingest": report["capabilities"]["ingest"]["verdict"]}


def test_a_metabase_is_asked_whose_key_it_is(
    root: Path, tool: Loopback, capsys: pytest.CaptureFixture[str]
) -> None:
    configure(root, f'{{driver: metabase, api_url: "{tool.url}", api_key: "env:KTX_TEST_KEY"}}')
    one = found(capsys, root)
    assert (one["status"], one["detail"]) == ("pass", "metabase: answers, as `Ktx Reader`")
    assert tool.paths() == ["/api/user/current"]


def test_a_looker_is_logged_in_to_and_out_of(
    root: Path, tool: Loopback, capsys: pytest.CaptureFixture[str]
) -> None:
    configure(
        root, f'{{driver: looker, base_url: "{tool.url}", client_id: id, client_secret: "env:KTX_TEST_KEY"}}'
    )
    assert found(capsys, root)["status"] == "pass"
    assert tool.paths() == ["/api/4.0/login", "/api/4.0/logout"]


def test_notion_is_asked_whose_token_it_is(tool: Loopback) -> None:
    said = reach.reach_notion(auth_token=KEY, hint="Check it.", base_url=tool.url)
    assert said == "answers, as `Ktx`"
    with pytest.raises(ConfigError, match="refuses the credential"):
        reach.reach_notion(auth_token="other", hint="Check it.", base_url=tool.url)


@pytest.mark.parametrize(
    "block",
    [
        "{{driver: metabase, api_url: {url}, api_key: env:KTX_TEST_OTHER}}",
        "{{driver: looker, base_url: {url}, client_id: id, client_secret: env:KTX_TEST_OTHER}}",
    ],
)
def test_a_wrong_credential_fails_with_what_to_check_and_is_not_shown(
    root: Path,
    tool: Loopback,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    block: str,
) -> None:
    monkeypatch.setenv("KTX_TEST_OTHER", "wrong-key-of-somebody")
    configure(root, block.format(url=f'"{tool.url}"'))
    one = found(capsys, root)
    assert (one["status"], one["ingest"]) == ("fail", "partial")
    assert "refuses" in one["detail"]
    assert one["fix"].startswith("Check `")
    assert "wrong-key" not in json.dumps(one)


def test_fast_contacts_nobody_and_still_finds_a_missing_secret(
    root: Path, tool: Loopback, capsys: pytest.CaptureFixture[str]
) -> None:
    configure(root, f'{{driver: metabase, api_url: "{tool.url}", api_key: "env:KTX_TEST_KEY"}}')
    one = found(capsys, root, "--fast")
    assert (one["status"], one["detail"]) == ("skip", "metabase: not contacted (--fast)")
    configure(root, f'{{driver: metabase, api_url: "{tool.url}", api_key: "env:KTX_TEST_ABSENT"}}')
    one = found(capsys, root, "--fast")
    assert one["status"] == "fail"
    assert "`KTX_TEST_ABSENT` is not set" in one["detail"]
    assert tool.paths() == []


def test_a_mapping_to_no_warehouse_is_found_without_asking_anybody(
    root: Path, tool: Loopback, capsys: pytest.CaptureFixture[str]
) -> None:
    configure(
        root,
        f'{{driver: metabase, api_url: "{tool.url}", api_key: "env:KTX_TEST_KEY", mappings: {{databaseMappings: {{"1": shp}}}}}}',
    )
    one = found(capsys, root, "--fast")
    assert one["status"] == "fail"
    assert "`shp`, which is no database" in one["detail"]


@pytest.mark.parametrize("fast", [(), ("--fast",)])
def test_a_folder_is_looked_for_also_when_fast(
    root: Path, capsys: pytest.CaptureFixture[str], fast: tuple[str, ...]
) -> None:
    configure(root, "{driver: dbt, source_dir: analytics}")
    one = found(capsys, root, *fast)
    assert one["status"] == "fail"
    assert "There is no folder" in one["detail"]
    (root / "analytics").mkdir()
    assert found(capsys, root, *fast)["status"] == "pass"


@pytest.mark.parametrize(
    "form", ["driver: dbt, {}", "driver: lookml, {}", "driver: metricflow, metricflow: {{{}}}"]
)
def test_a_repository_is_asked_for_its_branch_with_the_token_and_nothing_is_kept(
    root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], form: str
) -> None:
    commit = commit_files(tmp_path / "served" / "models", {"a.yml": "a\n"})
    with git_server(tmp_path / "served", password=KEY) as server:
        fields = f'repoUrl: "{server.url}/models/.git", auth_token_ref: "env:KTX_TEST_KEY"'
        configure(root, "{" + form.format(fields) + "}")
        one = found(capsys, root)
        assert one["status"] == "pass", one
        assert one["detail"].endswith(f"`main` is at {commit[:10]}")
        configure(root, "{" + form.format(fields + ", branch: mian") + "}")
        one = found(capsys, root)
        assert one["status"] == "fail"
        assert "Did you mean `main`?" in one["detail"]
        configure(root, "{" + form.format(f'repoUrl: "{server.url}/models/.git"') + "}")
        assert found(capsys, root)["status"] == "fail"
    assert not list((root / ".ktx").rglob("*askpass*"))
    assert KEY not in json.dumps(one)


def test_a_tool_that_is_down_is_outside_and_worth_a_retry(root: Path, tool: Loopback) -> None:
    tool.fail(".", "html", always=True)
    configure(root, f'{{driver: metabase, api_url: "{tool.url}", api_key: "env:KTX_TEST_KEY"}}')
    project = open_project(root)
    with pytest.raises(SourceError, match="not JSON") as caught:
        reach_source("tool", source_connection(project, "tool"), project_dir=root)
    assert isinstance(caught.value, KtxError)
    assert KEY not in caught.value.message


def test_connection_list_and_test_include_context_sources(
    root: Path, tool: Loopback, capsys: pytest.CaptureFixture[str]
) -> None:
    configure(root, f'{{driver: metabase, api_url: "{tool.url}", api_key: "env:KTX_TEST_KEY"}}')
    listed = json.loads(called(capsys, "connection", "list", "--json", "--project-dir", root).out)
    assert [(one["id"], one["kind"]) for one in listed["connections"]] == [
        ("shop", "warehouse"),
        ("tool", "context source"),
    ]
    tested = called(capsys, "connection", "test", "tool", "--project-dir", root)
    assert tested.code == 0
    assert "answers, as `Ktx Reader`" in tested.out
    tool.fail("user", "401", always=True)
    assert called(capsys, "connection", "test", "tool", "--project-dir", root).code == 2
