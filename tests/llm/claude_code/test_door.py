"""`claude-code` as a person meets it: from the command line, on a machine whose variables point elsewhere."""

import subprocess
import sys
from pathlib import Path

import pytest

from modelserver.replies import by_turn, call, structured, text

pytestmark = [pytest.mark.claude, pytest.mark.slow]

SOURCE = str(Path(__file__).parents[3] / "src")


@pytest.fixture
def ktx(host, tmp_path):
    """Run `ktx` in a project folder; gives the exit code, what it printed and what it narrated."""
    folder = tmp_path / "project"
    folder.mkdir()
    elsewhere = {
        "ANTHROPIC_BASE_URL": "http://127.0.0.1:9",
        "ANTHROPIC_API_KEY": "sk-trap",
        "CLAUDE_CODE_USE_VERTEX": "1",
    }

    def run(*arguments):
        done = subprocess.run(
            [sys.executable, "-m", "ktx", *arguments],
            cwd=folder,
            env={**host.environment, **elsewhere, "PYTHONPATH": SOURCE},
            capture_output=True,
            text=True,
            timeout=120,
        )
        return done.returncode, done.stdout, done.stderr

    run.folder = folder
    return run


def answer(request):
    """Answer as an able model would: structured where that is asked for, with a tool where there is one."""
    names = request.tool_names
    if "StructuredOutput" in names:
        properties = request.body["tools"][names.index("StructuredOutput")]["input_schema"]["properties"]
        by_type = {"string": "ok", "integer": 1, "number": 1, "boolean": True}
        return structured({name: by_type[field["type"]] for name, field in properties.items()})
    if names:
        arguments = {}
        for name, field in request.body["tools"][0]["input_schema"].get("properties", {}).items():
            arguments[name] = {"string": "ok", "integer": 1}[field["type"]]
        return by_turn(call(names[0], **arguments), text("ok"))(request)
    return text("ok")


def test_setup_writes_the_preset_and_proves_login_and_models(server, ktx):
    server.script(answer)
    code, _, said = ktx("setup", "--llm-backend", "claude-code", "--no-input")
    assert code == 0, said
    written = (ktx.folder / "ktx.yaml").read_text()
    for line in (
        "backend: claude-code",
        "default: sonnet",
        "triage: haiku",
        "candidateExtraction: sonnet",
        "curator: opus",
        "reconcile: opus",
        "repair: haiku",
    ):
        assert line in written
    assert {request.model for request in server.requests} == {
        "claude-sonnet-5-5",
        "claude-haiku-5-5",
        "claude-opus-5-5",
    }
    code, printed, said = ktx("llm", "try", "--role", "triage", "Say ok.")
    assert (code, printed.strip()) == (0, "ok"), said
    assert server.requests[-1].model == "claude-haiku-5-5"


def test_status_warns_of_cache_fields_without_effect_and_skips_the_login_with_fast(server, ktx):
    (ktx.folder / "ktx.yaml").write_text(
        "llm:\n  provider: {backend: claude-code}\n  models: {default: sonnet}\n"
        "  promptCaching: {toolsTtl: 1h, vertexFallbackTo5m: true}\n"
    )
    _, printed, _ = ktx("status")
    assert "logged in (claude.ai)" in printed
    assert "toolsTtl" in printed
    assert "vertexFallbackTo5m" in printed
    _, printed, _ = ktx("status", "--fast")
    assert "not checked (`--fast`)" in printed
    assert server.requests == []
