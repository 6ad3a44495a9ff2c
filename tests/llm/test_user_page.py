"""What was promised about LLM configuration, fact by fact, each with the tests that hold it.

`FACTS` lists every promise. A name stands for a test function anywhere under `tests/`; a promise whose test is renamed or dropped
fails here.
"""

import ast
import json
from pathlib import Path

import pytest

from ktx.config.load import load_config, parse_config
from ktx.llm.connect import capabilities_of, read_roles
from ktx.llm.models import BACKENDS
from llmrig.rigs import RIGS
from modelserver import replies
from program import called

TESTS = Path(__file__).parents[1]
FACTS = {
    "providers, roles and caching stand in the top-level `llm` block": [
        "test_the_llm_block_holds_provider_models_and_caching"
    ],
    "it serves text, structured extraction, and loops": [
        "test_a_text_comes_back_as_it_was_said",
        "test_a_structured_answer_is_nested_optional_and_any_language",
        "test_a_loop_calls_tools_and_reports_what_it_took",
    ],
    "`backend` takes the five names": ["test_each_of_the_five_backends_is_accepted"],
    "anthropic: ANTHROPIC_API_KEY or the api_key reference": [
        "test_the_anthropic_key_comes_from_its_variable_or_from_the_reference",
        "test_a_missing_key_names_the_variable",
    ],
    "vertex: Google Cloud credentials": [
        "test_vertex_takes_its_project_from_the_credentials",
        "test_vertex_without_credentials_says_what_to_do",
    ],
    "gateway: gateway-compatible Anthropic model ids": [
        "test_the_gateway_gets_vendor_prefixed_ids_and_a_key_file_inside_the_project_is_relative",
        "test_gateway_ids_reach_the_wire_unchanged",
    ],
    "claude-code: the local session through the Agent SDK": [
        "test_setup_writes_the_preset_and_proves_login_and_models"
    ],
    "claude-code: provider-routing variables do not reach child processes": [
        "test_the_childs_environment_is_the_allow_list_and_the_switches_of_the_run",
        "test_a_credential_that_is_not_claude_codes_own_login_is_a_leak",
    ],
    "codex: the local authentication": [
        "test_a_login_elsewhere_is_found_through_codex_home",
        "test_without_a_login_the_message_says_where_it_was_looked_for",
    ],
    "claude-code: aliases or full ids in `llm.models`": [
        "test_aliases_and_full_ids_are_taken",
        "test_a_name_that_is_no_claude_model_is_refused_before_anything_starts",
        "test_the_claude_code_example_gives_every_role_its_model",
    ],
    "the backend is chosen interactively or by an option": [
        "test_the_form_asks_for_backend_and_key_and_tries_them",
        "test_setup_from_options_writes_the_presets_of_claude_code_and_codex",
    ],
    "setup writes the aliases; any role can be edited afterwards": [
        "test_setup_from_options_writes_the_presets_of_claude_code_and_codex",
        "test_comments_other_keys_and_edited_roles_survive",
    ],
    "claude-code: only ktx's tools of the current loop": [
        "test_the_model_is_offered_the_tools_of_the_run_and_no_other",
        "test_nothing_of_the_machine_reaches_the_model_or_runs",
    ],
    "claude-code: what the init message may list is not granted": [
        "test_a_tool_of_claude_code_itself_does_not_exist",
        "test_paths_and_commands_in_a_prompt_are_words",
        "test_a_program_that_has_more_than_the_run_allows_is_stopped_and_says_what_leaked",
    ],
    "codex: the example and the option give gpt-5.5 for every role": [
        "test_the_codex_example_gives_every_role_its_model",
        "test_setup_from_options_writes_the_presets_of_claude_code_and_codex",
    ],
    "codex as a backend is not codex as a client": [
        "test_choosing_the_codex_backend_installs_nothing_for_codex_sessions"
    ],
    "codex: a temporary loopback tool server for the run, its tools only": [
        "test_the_tool_server_of_a_run_wants_its_token_and_ends_with_the_run",
        "test_the_model_sees_the_tools_of_the_run_and_three_readers_of_our_own_server",
        "test_eight_runs_at_once_keep_their_tools_apart",
    ],
    "codex: read-only sandbox, never asks, no web search": [
        "test_a_run_is_read_only_never_asks_and_has_no_web"
    ],
    "codex: what isolation leaves open is said": ["test_codex_says_what_its_isolation_leaves_open"],
    "codex: user configuration does not reach the model": [
        "test_nothing_of_a_host_full_of_traps_reaches_the_model",
        "test_a_tool_of_codex_cannot_be_called",
    ],
    "promptCaching is honoured in part on claude-code": [
        "test_cache_settings_reach_the_wire_as_one_lifetime",
        "test_claude_code_honours_one_cache_switch_and_not_the_single_lifetimes",
    ],
    "status and doctor warn of cache fields that are not honoured": [
        "test_status_and_doctor_name_each_cache_field_that_is_not_honoured"
    ],
}


def test_every_fact_is_held_by_a_test_that_exists():
    known = set()
    for path in TESTS.rglob("test_*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name.startswith("test_"):
                known.add(node.name)
    missing = {fact: name for fact, names in FACTS.items() for name in names if name not in known}
    assert missing == {}


CLAUDE_CODE = """
llm:
  provider: {backend: claude-code}
  models:
    default: sonnet
    triage: haiku
    candidateExtraction: sonnet
    curator: opus
    reconcile: opus
    repair: haiku
"""
PRESETS = {
    "claude-code": ["sonnet", "haiku", "sonnet", "opus", "opus", "haiku"],
    "codex": ["gpt-5.5"] * 6,
}


def roles_of(text):
    config, findings = parse_config(text)
    assert config is not None, findings
    assert findings == ()
    plan = read_roles(config.llm)
    return [(chain[0].backend, chain[0].model) for chain in plan.chains.values()]


def test_the_llm_block_holds_provider_models_and_caching():
    text = (
        CLAUDE_CODE
        + "  promptCaching: {enabled: true, systemTtl: 1h, toolsTtl: 1h, historyTtl: 5m, vertexFallbackTo5m: true}\n"
    )
    assert len(roles_of(text)) == 6


def test_the_claude_code_example_gives_every_role_its_model():
    assert roles_of(CLAUDE_CODE) == [("claude-code", model) for model in PRESETS["claude-code"]]


def test_the_codex_example_gives_every_role_its_model():
    names = ("default", "triage", "candidateExtraction", "curator", "reconcile", "repair")
    models = "".join(f"    {name}: gpt-5.5\n" for name in names)
    assert (
        roles_of(f"llm:\n  provider: {{backend: codex}}\n  models:\n{models}") == [("codex", "gpt-5.5")] * 6
    )


@pytest.mark.parametrize("backend", BACKENDS)
def test_each_of_the_five_backends_is_accepted(backend):
    assert roles_of(f"llm: {{provider: {{backend: {backend}}}, models: {{default: m}}}}\n")[0] == (
        backend,
        "m",
    )
    assert capabilities_of(backend).isolation


def test_a_sixth_backend_is_an_error_that_names_the_five():
    config, findings = parse_config("llm: {provider: {backend: bedrock}}\n")
    assert config is None
    assert all(backend in findings[0].message + str(findings[0].fix) for backend in BACKENDS)


@pytest.mark.parametrize("block", ["{}", "{api_key: 'env:OTHER_KEY'}"])
def test_the_anthropic_key_comes_from_its_variable_or_from_the_reference(
    block, tmp_path, monkeypatch, capsys
):
    monkeypatch.setenv("OTHER_KEY", "sk-other")
    with RIGS["anthropic"](tmp_path, monkeypatch.setenv) as rig:
        rig.server.default = replies.text("hi")
        base = f"base_url: '{rig.server.url}'"
        block = f"{{{base}}}" if block == "{}" else f"{{{base}, {block[1:]}"
        (tmp_path / "ktx.yaml").write_text(
            f"llm: {{provider: {{backend: anthropic, anthropic: {block}}}, models: {{default: claude-sonnet-5-5}}}}\n"
        )
        assert called(capsys, "llm", "try", "x", "--project-dir", tmp_path).out == "hi\n"
        expected = "sk-other" if "OTHER" in block else "sk-test"
        assert rig.server.requests[0].headers["authorization"] == f"Bearer {expected}"


def test_gateway_ids_reach_the_wire_unchanged(tmp_path, monkeypatch, capsys):
    with RIGS["gateway"](tmp_path, monkeypatch.setenv) as rig:
        rig.server.default = replies.text("hi")
        (tmp_path / "ktx.yaml").write_text(
            json.dumps({"llm": {"provider": dict(rig.provider), "models": {"default": rig.model}}})
        )
        assert called(capsys, "llm", "try", "x", "--project-dir", tmp_path).code == 0
        assert rig.server.requests[0].body["model"] == "anthropic/claude-sonnet-5-5"


@pytest.mark.parametrize("backend", ["claude-code", "codex"])
def test_setup_from_options_writes_the_presets_of_claude_code_and_codex(
    backend, tmp_path, monkeypatch, capsys
):
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("CODEX_HOME", str(tmp_path / "home"))
    (tmp_path / "home").mkdir()
    root = tmp_path / "project"
    outcome = called(capsys, "setup", "--llm-backend", backend, "--no-input", "--project-dir", root)
    assert outcome.code == 1
    assert "is not logged in" in outcome.err
    plan = read_roles(load_config(root / "ktx.yaml").config.llm)
    assert [plan.chains[role][0].model for role in plan.chains] == PRESETS[backend]
    assert plan.own == frozenset(plan.chains)


def test_choosing_the_codex_backend_installs_nothing_for_codex_sessions(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("CODEX_HOME", str(tmp_path / "home" / ".codex"))
    (tmp_path / "home").mkdir()
    root = tmp_path / "project"
    called(capsys, "setup", "--llm-backend", "codex", "--no-input", "--project-dir", root)
    assert not (root / ".agents").exists()
    assert not (root / ".codex").exists()
    assert list((tmp_path / "home").rglob("*")) == []


def test_codex_says_what_its_isolation_leaves_open(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("CODEX_HOME", str(tmp_path / "none"))
    (tmp_path / "ktx.yaml").write_text("llm: {provider: {backend: codex}, models: {default: gpt-5.5}}\n")
    outcome = called(capsys, "status", "--fast", "--project-dir", tmp_path)
    for warning in capabilities_of("codex").warnings:
        assert warning in outcome.out
    assert capabilities_of("codex").warnings


def test_claude_code_honours_one_cache_switch_and_not_the_single_lifetimes():
    ignored = capabilities_of("claude-code").ignored_cache_fields
    assert set(ignored) == {"systemTtl", "toolsTtl", "historyTtl", "vertexFallbackTo5m"}
