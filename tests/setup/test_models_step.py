import json
import stat
import sys
from pathlib import Path

import pexpect
import pytest

from ktx.config.load import load_config
from ktx.setup.steps.models import store_secret
from modelserver import replies
from modelserver.server import ModelServer
from program import called

CLASSES = {
    "default": "sonnet",
    "triage": "haiku",
    "candidateExtraction": "sonnet",
    "curator": "opus",
    "reconcile": "opus",
    "repair": "haiku",
}
FULL = {"haiku": "claude-haiku-5-5", "sonnet": "claude-sonnet-5-5", "opus": "claude-opus-5-5"}


@pytest.fixture
def server():
    with ModelServer() as running:
        running.default = replies.text("ready")
        yield running


def written(root: Path) -> dict[str, str]:
    models = load_config(root / "ktx.yaml").config.llm.models
    return {
        "default": models.default[0].model,
        "triage": models.triage[0].model,
        "candidateExtraction": models.candidate_extraction[0].model,
        "curator": models.curator[0].model,
        "reconcile": models.reconcile[0].model,
        "repair": models.repair[0].model,
    }


def test_setup_without_a_project_makes_one_writes_all_six_roles_and_tries_each_model_once(
    tmp_path, capsys, monkeypatch, server
):
    monkeypatch.setenv("ANTHROPIC_API_KEY", "sk-test")
    outcome = called(
        capsys,
        *("setup", "--llm-backend", "anthropic", "--anthropic-base-url", server.url),
        *("--no-input", "--project-dir", tmp_path),
    )
    assert outcome.code == 0
    assert written(tmp_path) == {role: FULL[name] for role, name in CLASSES.items()}
    assert sorted(request.body["model"] for request in server.requests) == sorted(FULL.values())
    assert "Next: `ktx llm check`" in outcome.err


def test_the_gateway_gets_vendor_prefixed_ids_and_a_key_file_inside_the_project_is_relative(
    tmp_path, capsys, server
):
    (tmp_path / "gw.key").write_text("gw\n")
    outcome = called(
        capsys,
        *("setup", "--llm-backend", "gateway", "--gateway-base-url", f"{server.gateway_url}/v1"),
        *("--gateway-api-key-file", tmp_path / "gw.key", "--no-input", "--project-dir", tmp_path, "--json"),
    )
    assert outcome.code == 0, outcome.err
    assert written(tmp_path) == {role: f"anthropic/{FULL[name]}" for role, name in CLASSES.items()}
    assert load_config(tmp_path / "ktx.yaml").config.llm.provider.gateway.api_key == "file:gw.key"
    told = json.loads(outcome.out)
    assert told["ready"]
    assert {one["model"] for one in told["models"]} == {f"anthropic/{name}" for name in FULL.values()}
    assert {request.headers["x-api-key"] for request in server.requests} == {"gw"}


def test_comments_other_keys_and_edited_roles_survive(tmp_path, capsys, monkeypatch, server):
    monkeypatch.setenv("MY_KEY", "sk-test")
    text = (
        "# ours\nconnections:\n  shop: {driver: duckdb, path: shop.db}  # the shop\n"
        f"llm:\n  provider:\n    backend: anthropic\n    anthropic:\n      base_url: {server.url}\n"
        "  models:\n    curator: claude-fable-5-2  # worth it\n"
    )
    (tmp_path / "ktx.yaml").write_text(text)
    outcome = called(
        capsys,
        *("setup", "--llm-backend", "anthropic", "--anthropic-api-key-env", "MY_KEY"),
        *("--no-input", "--project-dir", tmp_path),
    )
    assert outcome.code == 0, outcome.err
    after = (tmp_path / "ktx.yaml").read_text()
    for line in (
        "# ours",
        "shop: {driver: duckdb, path: shop.db}  # the shop",
        "curator: claude-fable-5-2  # worth it",
    ):
        assert line in after
    assert "api_key: env:MY_KEY" in after
    assert written(tmp_path)["curator"] == "claude-fable-5-2"
    assert written(tmp_path)["triage"] == "claude-haiku-5-5"
    again = called(capsys, "setup", "--llm-backend", "anthropic", "--no-input", "--project-dir", tmp_path)
    assert "ktx.yaml: unchanged" in again.err


def test_another_backend_replaces_every_role(tmp_path, capsys, monkeypatch, server):
    monkeypatch.setenv("ANTHROPIC_API_KEY", "sk-test")
    (tmp_path / "ktx.yaml").write_text(
        "llm: {provider: {backend: codex}, models: {default: gpt-5.5, curator: gpt-6}}\n"
    )
    outcome = called(
        capsys,
        *("setup", "--llm-backend", "anthropic", "--anthropic-base-url", server.url),
        *("--no-input", "--project-dir", tmp_path),
    )
    assert outcome.code == 0, outcome.err
    assert written(tmp_path) == {role: FULL[name] for role, name in CLASSES.items()}


def test_one_model_can_be_named_for_every_role(tmp_path, capsys, monkeypatch, server):
    monkeypatch.setenv("ANTHROPIC_API_KEY", "sk-test")
    called(
        capsys,
        *("setup", "--llm-backend", "anthropic", "--anthropic-base-url", server.url),
        *("--llm-model", "claude-fable-5-2", "--no-input", "--project-dir", tmp_path),
    )
    assert set(written(tmp_path).values()) == {"claude-fable-5-2"}
    assert len(server.requests) == 1


def test_a_model_the_account_lacks_gives_way_to_the_default_one(tmp_path, capsys, monkeypatch, server):
    monkeypatch.setenv("ANTHROPIC_API_KEY", "sk-test")
    server.script(
        lambda request: (
            replies.unknown_model(request.model) if "opus" in request.model else replies.text("ready")
        )
    )
    outcome = called(
        capsys,
        *("setup", "--llm-backend", "anthropic", "--anthropic-base-url", server.url),
        *("--no-input", "--project-dir", tmp_path),
    )
    assert outcome.code == 0, outcome.err
    assert written(tmp_path)["curator"] == written(tmp_path)["reconcile"] == "claude-sonnet-5-5"
    assert "the model of `curator` is not available to this account" in outcome.err


def test_a_refused_key_is_named_with_its_way_out_and_the_file_is_written(
    tmp_path, capsys, monkeypatch, server
):
    monkeypatch.setenv("ANTHROPIC_API_KEY", "sk-wrong")
    server.script(lambda request: replies.invalid_key())
    outcome = called(
        capsys,
        *("setup", "--llm-backend", "anthropic", "--anthropic-base-url", server.url),
        *("--no-input", "--project-dir", tmp_path),
    )
    assert outcome.code == 1
    assert "`anthropic` refuses the credential: invalid x-api-key" in outcome.err
    assert "Check `llm.provider.anthropic.api_key`, or the variable `ANTHROPIC_API_KEY`." in outcome.err
    assert "sk-wrong" not in outcome.err
    assert len(server.requests) == 1
    assert written(tmp_path)["default"] == "claude-sonnet-5-5"


@pytest.mark.parametrize(
    ("options", "missing"),
    [
        (("--llm-backend", "vertex"), "--vertex-location"),
        (("--llm-backend", "gateway"), "--gateway-base-url"),
        (("--llm-backend", "gateway", "--gateway-base-url", "https://gw"), "--gateway-api-key-env"),
        ((), "--llm-backend anthropic"),
    ],
)
def test_what_is_missing_is_said_with_its_option_and_nothing_is_written(tmp_path, capsys, options, missing):
    outcome = called(capsys, "setup", *options, "--no-input", "--project-dir", tmp_path)
    assert outcome.code == 2
    assert missing in outcome.err
    assert not (tmp_path / "ktx.yaml").exists()


def test_a_missing_key_names_the_variable(tmp_path, capsys, monkeypatch):
    monkeypatch.delenv("ANTHROPIC_API_KEY", raising=False)
    outcome = called(capsys, "setup", "--llm-backend", "anthropic", "--no-input", "--project-dir", tmp_path)
    assert outcome.code == 1
    assert "Environment variable `ANTHROPIC_API_KEY` is not set." in outcome.err


def test_an_option_of_another_backend_is_refused(tmp_path, capsys):
    outcome = called(
        capsys,
        "setup",
        "--llm-backend",
        "codex",
        "--vertex-location",
        "x",
        "--no-input",
        "--project-dir",
        tmp_path,
    )
    assert outcome.code == 2
    assert "`--vertex-location` does not belong to the backend `codex`" in outcome.err


def test_without_a_terminal_nobody_is_asked(tmp_path, capsys):
    outcome = called(capsys, "setup", "--project-dir", tmp_path)
    assert outcome.code == 2
    assert "There is no terminal to ask on." in outcome.err
    assert "--no-input" in outcome.err


def test_none_turns_models_off(tmp_path, capsys):
    outcome = called(capsys, "setup", "--llm-backend", "none", "--no-input", "--project-dir", tmp_path)
    assert outcome.code == 0
    assert load_config(tmp_path / "ktx.yaml").config.llm.provider.backend == "none"


def test_a_pasted_key_is_kept_where_only_its_owner_reads_it_and_git_never_sees_it(tmp_path):
    reference = store_secret(tmp_path, "anthropic-api-key", "  sk-pasted\n")
    path = tmp_path / ".ktx" / "secrets" / "anthropic-api-key"
    assert reference == "file:.ktx/secrets/anthropic-api-key"
    assert path.read_text() == "sk-pasted\n"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert (tmp_path / ".ktx" / ".gitignore").read_text().startswith("*")


def test_the_form_asks_for_backend_and_key_and_tries_them(tmp_path, monkeypatch, server):
    (tmp_path / "ktx.yaml").write_text(f"llm: {{provider: {{anthropic: {{base_url: '{server.url}'}}}}}}\n")
    form = pexpect.spawn(
        sys.executable, ["-m", "ktx", "setup", "--project-dir", str(tmp_path)], encoding="utf-8", timeout=60
    )
    form.expect("Who should answer")
    form.send("\r")  # the first: anthropic
    form.expect("Where is the key")
    form.send("\x1b[B\r")  # the second: paste
    form.expect("Key:")
    form.send("sk-pasted\r")
    form.expect("Next: `ktx llm check`")
    form.expect(pexpect.EOF)
    form.close()
    assert form.exitstatus == 0
    assert (tmp_path / ".ktx" / "secrets" / "anthropic-api-key").read_text() == "sk-pasted\n"
    assert "sk-pasted" not in (tmp_path / "ktx.yaml").read_text()
    assert {request.headers["authorization"] for request in server.requests} == {"Bearer sk-pasted"}


def test_interrupting_the_form_writes_nothing(tmp_path):
    form = pexpect.spawn(
        sys.executable, ["-m", "ktx", "setup", "--project-dir", str(tmp_path)], encoding="utf-8", timeout=60
    )
    form.expect("Who should answer")
    form.send("\x03")
    form.expect("interrupted")
    form.expect(pexpect.EOF)
    form.close()
    assert form.exitstatus == 130
    assert not (tmp_path / "ktx.yaml").exists()
