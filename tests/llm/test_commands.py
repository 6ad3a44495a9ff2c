"""`ktx llm`, `ktx doctor` and the models' part of `ktx status`, as a person sees them."""

import json
import sys

import pytest

from ktx.llm import backends
from modelserver import replies
from modelserver.server import ModelServer
from program import called


@pytest.fixture
def server():
    with ModelServer() as running:
        running.script(answer)
        yield running


def answer(request):
    if "output_config" in request.body:
        return replies.structured({"word": "lantern"})
    if request.tool_names and not request.assistant_turns:
        return replies.call("say_word", word="lantern")
    return replies.text("all good")


@pytest.fixture
def project(tmp_path, monkeypatch, server):
    monkeypatch.setenv("ANTHROPIC_API_KEY", "sk-test")
    (tmp_path / "ktx.yaml").write_text(
        f"""
llm:
  provider:
    backend: anthropic
    anthropic: {{base_url: "{server.url}"}}
  models:
    default: claude-sonnet-5
    triage: [claude-haiku-4-5, {{backend: gateway, model: anthropic/claude-haiku-4.5}}]
    repair: my-own-model
"""
    )
    return tmp_path


def told(capsys, project, *arguments):
    outcome = called(capsys, *arguments, "--json", "--project-dir", project)
    return outcome.code, json.loads(outcome.out)


def test_models_names_backend_model_and_reason_of_every_role(capsys, project):
    code, rows = told(capsys, project, "llm", "models")
    assert code == 0
    by_role = {row["role"]: row for row in rows}
    assert len(rows) == 6
    assert (by_role["curator"]["model"], by_role["curator"]["why"]) == (
        "claude-sonnet-5",
        "llm.models.default",
    )
    assert by_role["triage"]["fallbacks"] == ["gateway/anthropic/claude-haiku-4.5"]
    assert by_role["triage"]["why"] == "llm.models.triage"


def test_check_says_in_one_line_what_each_model_can_do(capsys, project):
    outcome = called(capsys, "llm", "check", "--role", "default", "--project-dir", project)
    assert outcome.code == 0
    (line,) = outcome.out.splitlines()
    assert line.startswith(
        "anthropic/claude-sonnet-5 (default, candidateExtraction, curator, reconcile) · reachable ok"
    )
    assert "structured ok: valid" in line
    assert "tools ok: called" in line
    assert "prefixes of 1,024 tokens and more" in line
    assert "$2 in, $10 out per million" in line


def test_check_says_why_a_model_is_not_usable(capsys, project, server):
    server.script(lambda request: replies.invalid_key())
    code, found = told(capsys, project, "llm", "check", "--role", "repair")
    assert code == 1
    (one,) = found
    assert one["reachable"]["status"] == "no"
    assert one["structured"]["status"] == one["tools"]["status"] == "unknown"
    assert one["price"]["detail"].startswith("not known")
    assert len(server.requests) == 1


def test_try_prints_the_answer_alone_on_stdout(capsys, project):
    outcome = called(capsys, "llm", "try", "hello", "--project-dir", project)
    assert outcome.out == "all good\n"
    assert "anthropic · claude-sonnet-5 ·" in outcome.err


def test_usage_counts_what_the_provider_billed_and_hides_unknown_costs(capsys, project, server):
    assert called(capsys, "llm", "usage", "--project-dir", project).err == "No model has been asked yet.\n"
    for role in ("default", "default", "repair"):
        server.models["my-own-model"] = server.models["claude-sonnet-5"]
        assert called(capsys, "llm", "try", "--role", role, "hello", "--project-dir", project).code == 0
    _, usage = told(capsys, project, "llm", "usage", "--by", "role")
    rows = {row["key"]: row for row in usage["rows"]}
    total = server.bill.total
    assert usage["total"]["uncachedInputTokens"] == total.input_tokens
    assert usage["total"]["outputTokens"] == total.output_tokens
    assert rows["default"]["requests"] == 2
    assert rows["default"]["costUsd"] > 0
    assert rows["repair"]["costUsd"] is None
    assert rows["repair"]["unpricedRequests"] == 1
    for by, key in (("model", "my-own-model"), ("task", "try"), ("backend", "anthropic")):
        _, usage = told(capsys, project, "llm", "usage", "--by", by)
        assert key in {row["key"] for row in usage["rows"]}
    _, usage = told(capsys, project, "llm", "usage", "--by", "day")
    assert len(usage["rows"]) == 1


def test_the_ledger_holds_no_prompt_and_no_answer(capsys, project):
    called(capsys, "llm", "try", "a very secret question", "--project-dir", project)
    for path in (project / ".ktx").glob("ledger.sqlite*"):
        assert b"secret question" not in path.read_bytes()
        assert b"all good" not in path.read_bytes()


def test_an_unknown_role_is_a_usage_error(capsys, project):
    outcome = called(capsys, "llm", "try", "--role", "tirage", "x", "--project-dir", project)
    assert outcome.code == 2
    assert "Did you mean `triage`?" in outcome.err


def test_without_a_backend_every_command_says_how_to_get_one(capsys, tmp_path):
    (tmp_path / "ktx.yaml").write_text("connections: {}\n")
    for command in (("models",), ("check",), ("try", "x")):
        outcome = called(capsys, "llm", *command, "--project-dir", tmp_path)
        assert outcome.code == 2
        assert "ktx setup" in outcome.err


def test_a_missing_extra_is_one_line_that_says_what_to_install(capsys, project, monkeypatch):
    monkeypatch.setitem(sys.modules, "ktx.llm.backends.anthropic", None)
    monkeypatch.delattr(backends, "anthropic", raising=False)
    outcome = called(capsys, "llm", "try", "x", "--project-dir", project)
    assert outcome.code == 3
    assert "pip install 'ktx-context[anthropic]'" in outcome.err
    assert len(outcome.err.strip().splitlines()) == 2


def test_doctor_lists_every_check_with_detail_and_fix(capsys, project):
    code, found = told(capsys, project, "doctor")
    by_id = {(check["id"], check["subject"]): check for check in found["checks"]}
    assert by_id["model", "anthropic/claude-sonnet-5"]["status"] == "pass"
    assert by_id["model-tools", "anthropic/claude-sonnet-5"]["status"] == "pass"
    lost = by_id["model", "gateway/anthropic/claude-haiku-4.5"]
    assert (lost["status"], lost["detail"][:44]) == ("fail", "`llm.provider.gateway.base_url` is not set. ")
    assert lost["fix"]
    assert by_id["model", "anthropic/my-own-model"]["status"] == "fail"
    assert code == 1
    assert ("ktx", None) in by_id


@pytest.mark.parametrize("backend", ["claude-code", "codex"])
def test_status_and_doctor_name_each_cache_field_that_is_not_honoured(capsys, project, backend, monkeypatch):
    monkeypatch.setenv("HOME", str(project))
    (project / "ktx.yaml").write_text(
        f"llm:\n  provider: {{backend: {backend}}}\n  models: {{default: sonnet}}\n"
        "  promptCaching: {toolsTtl: 1h, historyTtl: 5m}\n"
    )
    for command in (("status", "--fast"), ("doctor",)):
        _, found = told(capsys, project, *command)
        warned = [check for check in found["checks"] if check["id"] == "ignored-cache-field"]
        assert [check["detail"] for check in warned] == [
            f"`{backend}` does not honour `llm.promptCaching.{field}` as set."
            for field in ("toolsTtl", "historyTtl")
        ]
        assert all(check["fix"] for check in warned)
    _, found = told(capsys, project, "status", "--fast")
    (login,) = (check for check in found["checks"] if check["id"] == "llm-login")
    assert (login["status"], login["detail"]) == ("skip", "not checked (`--fast`)")
