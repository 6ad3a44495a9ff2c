from pathlib import Path

import pytest

from ktx.config.secrets import SecretRef
from ktx.errors import ConfigError


def test_an_environment_reference_gives_the_value(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KTX_TEST_PW", "hunter2")
    assert SecretRef.parse("env:KTX_TEST_PW").reveal(tmp_path) == "hunter2"


@pytest.mark.parametrize("value", [None, ""])
def test_a_missing_variable_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, value: str | None
) -> None:
    monkeypatch.delenv("KTX_TEST_PW", raising=False)
    if value is not None:
        monkeypatch.setenv("KTX_TEST_PW", value)
    with pytest.raises(ConfigError, match="`KTX_TEST_PW` is not set"):
        SecretRef.parse("env:KTX_TEST_PW").reveal(tmp_path)


def test_a_file_is_looked_up_in_the_project_and_trimmed(tmp_path: Path) -> None:
    (tmp_path / "pw").write_text("hunter2\n")
    assert SecretRef.parse("file:pw").reveal(tmp_path) == "hunter2"


def test_a_tilde_means_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "pw").write_text("hunter2")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert SecretRef.parse("file:~/pw").reveal(tmp_path / "elsewhere") == "hunter2"


@pytest.mark.parametrize(
    ("text", "problem"),
    [("file:none", "cannot be read"), ("file:empty", "is empty"), ("env:A B", "does not name")],
)
def test_a_reference_that_leads_nowhere_is_a_configuration_error(
    tmp_path: Path, text: str, problem: str
) -> None:
    (tmp_path / "empty").write_text(" \n")
    with pytest.raises(ConfigError, match=problem):
        SecretRef.parse(text).reveal(tmp_path)


def test_a_plain_value_is_itself_and_is_not_shown(tmp_path: Path) -> None:
    secret = SecretRef.parse("hunter2:x")
    assert secret.reveal(tmp_path) == "hunter2:x"
    assert "hunter2" not in f"{secret} {secret!r}"
