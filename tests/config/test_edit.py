import io
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from ruamel.yaml import YAML

from ktx.config.edit import REMOVE, edit_config, edit_text
from ktx.errors import ConfigError

TEXT = """\
# top
connections: {}   # none yet
# models
llm:
    provider:
        backend: none   # off
        anthropic: {api_key: 'env:X'}  # key

    # the end of llm
scan:
"""


@pytest.mark.parametrize(
    ("path", "value", "old", "new"),
    [
        (("llm", "provider", "backend"), "codex", "backend: none   # off", "backend: codex   # off"),
        (
            ("llm", "provider", "anthropic", "base_url"),
            "http://h/",
            "'env:X'}",
            "'env:X', base_url: http://h/}",
        ),
        (("llm", "provider", "anthropic"), REMOVE, "        anthropic: {api_key: 'env:X'}  # key\n", ""),
        (("llm", "models"), {"default": "a"}, "# key\n", "# key\n    models:\n      default: a\n"),
        (("scan", "samples"), "none", "scan:\n", "scan:\n  samples: none\n"),
        (("ingest", "profile"), True, "scan:\n", "scan:\ningest:\n  profile: true\n"),
        (
            ("connections", "wh"),
            {"driver": "sqlite", "path": "a: b"},
            "connections: {}   # none yet",
            "connections:   # none yet\n  wh:\n    driver: sqlite\n    path: 'a: b'",
        ),
    ],
)
def test_an_edit_changes_its_own_place_only(path: tuple[str, ...], value: object, old: str, new: str) -> None:
    assert TEXT.count(old) == 1
    assert edit_text(TEXT, path, value) == TEXT.replace(old, new)


def test_a_key_is_found_in_its_other_spelling() -> None:
    text = "llm:\n  prompt_caching: {system_ttl: 5m}\n"
    assert edit_text(text, ("llm", "promptCaching", "systemTtl"), "1h") == text.replace("5m", "1h")


def test_setting_what_is_there_changes_nothing(tmp_path: Path) -> None:
    path = tmp_path / "ktx.yaml"
    path.write_text(TEXT)
    before = path.stat().st_mtime_ns
    assert edit_config(path, {("llm", "provider", "backend"): "none"}) is False
    assert path.stat().st_mtime_ns == before


def test_windows_line_ends_and_a_byte_order_mark_stay(tmp_path: Path) -> None:
    path = tmp_path / "ktx.yaml"
    path.write_bytes(("\ufeff" + TEXT.replace("\n", "\r\n")).encode())
    assert edit_config(path, {("scan", "samples"): "full"})
    expected = "\ufeff" + TEXT.replace("scan:\n", "scan:\n  samples: full\n").replace("\n", "\r\n")
    assert path.read_bytes() == expected.encode()


def test_an_edit_that_would_break_the_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "ktx.yaml"
    path.write_text(TEXT)
    with pytest.raises(ConfigError, match="was not changed") as caught:
        edit_config(path, {("llm", "provider", "backend"): "nonsense"})
    assert caught.value.findings
    assert path.read_text() == TEXT


def test_an_alias_is_left_to_people() -> None:
    with pytest.raises(ConfigError, match="cannot be changed"):
        edit_text("a: &x {b: 1}\nc: *x\n", ("c", "b"), 2)


keys = st.sampled_from(["a", "b", "c d", "1", "e"])
scalars = st.one_of(
    st.text(max_size=12), st.integers(), st.booleans(), st.none(), st.lists(st.text(max_size=5), max_size=3)
)
trees = st.dictionaries(
    keys,
    st.recursive(scalars, lambda inner: st.dictionaries(keys, inner, max_size=3), max_leaves=6),
    max_size=4,
)


@settings(deadline=None, max_examples=80)
@given(
    tree=trees,
    path=st.lists(keys, min_size=1, max_size=3).map(tuple),
    value=st.one_of(scalars, trees, st.just(REMOVE)),
)
def test_an_edit_gives_what_was_asked_or_refuses(
    tree: dict[str, object], path: tuple[str, ...], value: object
) -> None:
    stream = io.StringIO()
    YAML().dump(tree, stream)
    try:
        edited = edit_text(stream.getvalue(), path, value)
    except ConfigError:
        return
    node: object = YAML(typ="safe", pure=True).load(edited) or {}
    for key in path:
        node = node.get(key, REMOVE) if isinstance(node, dict) else REMOVE
    assert node == value
