from pathlib import Path

import pytest

from ktx.config.connections import PostgresConnection, SnowflakeConnection
from ktx.config.load import load_config, parse_config
from ktx.config.model import KtxConfig
from ktx.errors import ConfigError
from ktx.findings import Finding


def parsed(text: str) -> KtxConfig:
    config, findings = parse_config(text)
    assert config is not None, findings
    return config


def findings_of(text: str) -> tuple[Finding, ...]:
    return parse_config(text)[1]


def the_finding(text: str) -> Finding:
    (finding,) = findings_of(text)
    return finding


def test_an_empty_file_means_every_default() -> None:
    config = parsed("")
    assert config.llm.provider.backend == "none"
    assert config.scan.samples == "masked"
    assert config.scan.relationships.accept_threshold == 0.85
    assert config.storage.git.author == "ktx <ktx@example.com>"


def test_a_key_without_a_value_means_its_default() -> None:
    assert parsed("connections:\nllm:\n  budget:\n").llm.budget is None


@pytest.mark.parametrize("spelling", ["promptCaching: {systemTtl: 1h}", "prompt_caching: {system_ttl: 1h}"])
def test_both_spellings_of_a_key_are_read(spelling: str) -> None:
    text = f"llm: {{{spelling}}}"
    assert parsed(text).llm.prompt_caching.system_ttl == "1h"
    assert findings_of(text) == ()


def test_a_connection_is_typed_by_its_driver() -> None:
    config = parsed(
        "connections:\n  pg: {driver: postgres, username: u, schema: a, maxConnections: 3}\n"
        "  sf: {driver: snowflake, account: a, user: b, schema_names: [x, y]}\n"
    )
    pg, sf = config.connections["pg"], config.connections["sf"]
    assert isinstance(pg, PostgresConnection)
    assert (pg.user, pg.schemas, pg.max_connections, pg.query_timeout_ms) == ("u", ("a",), 3, 30_000)
    assert isinstance(sf, SnowflakeConnection)
    assert (sf.username, sf.schemas, sf.max_connections) == ("b", ("x", "y"), 4)


def test_a_role_takes_a_name_a_choice_or_a_chain() -> None:
    models = parsed(
        "llm:\n  models:\n    default: opus\n    triage: {backend: gateway, model: m}\n"
        "    candidateExtraction: [a, {model: b, backend: codex}]\n"
    ).llm.models
    assert [(choice.backend, choice.model) for choice in models.default] == [(None, "opus")]
    assert [(choice.backend, choice.model) for choice in models.triage] == [("gateway", "m")]
    assert [(choice.backend, choice.model) for choice in models.candidate_extraction] == [
        (None, "a"),
        ("codex", "b"),
    ]
    assert models.curator == ()


def test_a_reference_may_stand_in_a_flow_mapping() -> None:
    provider = parsed("llm: {provider: {backend: anthropic, anthropic: {api_key: env:KEY}}}").llm.provider
    assert provider.anthropic.api_key == "env:KEY"


def test_an_unknown_key_is_a_warning_with_its_line_and_the_nearest_key() -> None:
    finding = the_finding("scan:\n  relationships:\n    acceptTreshold: 0.9\n")
    assert (finding.level, finding.where.line) == ("warning", 3)
    assert finding.where.path == "scan.relationships.acceptTreshold"
    assert finding.fix == "Did you mean `acceptThreshold`?"


def test_an_unknown_key_of_a_connection_is_kept_and_named() -> None:
    config, (finding,) = parse_config("connections:\n  a:\n    driver: sqlite\n    path: x\n    pth: y\n")
    assert config is not None
    assert config.connections["a"].model_extra == {"pth": "y"}
    assert finding.where.line == 5
    assert finding.fix == "Did you mean `path`?"


@pytest.mark.parametrize(
    ("text", "line", "message", "fix"),
    [
        (
            "connections:\n  a:\n    driver: postgres\n    port: x\n",
            4,
            "`port` must be a whole number, not `x`.",
            None,
        ),
        ("connections:\n  a: {driver: postgre}\n", 2, "unknown driver `postgre`", "Write `postgres`."),
        (
            "connections:\n  a: {path: x}\n",
            2,
            "`a` names no `driver`",
            "Add `driver:` with one of: sqlite, duckdb",
        ),
        ("connections:\n  a: 3\n", 2, "`a` must be a block of keys, not `3`.", None),
        ("connections:\n  a b: {driver: sqlite}\n", 2, "`a b` cannot name a connection.", "Use letters"),
        ("connections:\n  7: {driver: sqlite}\n", 2, "`7` cannot name a connection.", "in quotes"),
        (
            "connections:\n  n:\n    driver: notion\n    auth_tokn: x\n",
            2,
            "needs `auth_token`",
            "Rename `auth_tokn`",
        ),
        (
            "llm:\n  provider: {backend: claude}\n",
            2,
            "`backend` must be one of `none`",
            "Did you mean `claude-code`?",
        ),
        ("llm: 3\n", 1, "`llm` must be a block of keys, not `3`.", None),
        ("llm:\n  models:\n    default: [{}]\n", 3, "needs `model`", "Add `model:`."),
        ("scan:\n  relationships:\n    accept_threshold: 2\n", 3, "must be at most 1.0, not `2`.", None),
        (
            "scan:\n  relationships:\n    validationBudget: al\n",
            3,
            "`all` or a whole number, not `al`.",
            "`all`",
        ),
        ("storage:\n  git:\n    author: me\n", 3, "must be text of the form `Name <mail>`, not `me`.", None),
        ("llm:\n  promptCaching: {}\n  prompt_caching: {}\n", 3, "are the same key", "Keep one"),
        ("a: 1\na: 2\n", 2, "The key `a` is given twice.", "Keep one of them."),
        ("a: [1,\nb: 3", 2, "not valid YAML", None),
        ("a: \x01", None, "not valid YAML", None),
        ("- a\n", 1, "must hold keys with values", None),
        ("a: *b\n", 1, "not valid YAML", None),
        ("a: 1\n---\nb: 2\n", 2, "not valid YAML", None),
        ("a: !!python/object:os.system x\n", 1, "not valid YAML", None),
    ],
)
def test_a_bad_value_is_an_error_with_its_line(
    text: str, line: int | None, message: str, fix: str | None
) -> None:
    config, findings = parse_config(text)
    errors = [finding for finding in findings if finding.level == "error"]
    assert config is None
    assert len(errors) == 1
    assert errors[0].where.file == "ktx.yaml"
    assert errors[0].where.line == line
    assert message in errors[0].message
    assert (fix or "") in (errors[0].fix or "")


def test_every_error_is_reported_at_once_in_the_order_of_the_file() -> None:
    findings = findings_of("llm: 3\nscan: 4\nconnections:\n  x y: {driver: sqlite}\n  a: {driver: b}\n")
    assert [finding.where.line for finding in findings] == [1, 2, 4, 5]


@pytest.mark.parametrize(
    "text",
    [
        "connections:\n  a: {driver: postgres, password: [hunter2]}\n",
        "connections:\n  a: {driver: postgres, password: 4711}\n",
        "connections:\n  a: {driver: postgres, password: hunter2, password: hunter3}\n",
        "connections:\n  a: {driver: postgres, password: hunter2}\n",
        "connections:\n  a: {driver: postgres, url: 'postgres://u:hunter2@h/d'}\n",
    ],
)
def test_what_a_secret_key_holds_is_never_repeated(text: str) -> None:
    for finding in findings_of(text):
        shown = f"{finding.message} {finding.fix}"
        assert "hunter" not in shown
        assert "4711" not in shown


@pytest.mark.parametrize(
    ("value", "is_told"),
    [
        ("password: x", True),
        ("password: env:PW", False),
        ("url: 'p://u:x@h/d'", True),
        ("url: 'p://h/d'", False),
    ],
)
def test_a_plain_secret_is_a_warning(value: str, is_told: bool) -> None:
    codes = [finding.code for finding in findings_of(f"connections:\n  a: {{driver: postgres, {value}}}\n")]
    assert codes == (["config-plain-secret"] if is_told else [])


def test_a_key_without_effect_is_a_note() -> None:
    finding = the_finding("storage: {state: postgres}\n")
    assert (finding.level, finding.code) == ("note", "config-no-effect")


def test_secrets_are_not_in_the_representation() -> None:
    config = parsed(
        "connections:\n  a: {driver: postgres, password: hunter2, url: hunter3, passwrd: hunter4}\n"
    )
    assert "hunter" not in repr(config)


def test_loading_a_broken_file_raises_with_all_findings(tmp_path: Path) -> None:
    (tmp_path / "ktx.yaml").write_text("llm: 3\nscan: 4\nlmm: 1\n")
    with pytest.raises(ConfigError, match="has 2 errors") as caught:
        load_config(tmp_path / "ktx.yaml")
    assert len(caught.value.findings) == 2
    assert caught.value.exit_code == 2


def test_a_file_that_is_not_text_is_a_configuration_error(tmp_path: Path) -> None:
    (tmp_path / "ktx.yaml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ConfigError, match="not UTF-8"):
        load_config(tmp_path / "ktx.yaml")
