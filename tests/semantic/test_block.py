"""The fast YAML writer writes what ruamel.yaml writes, for whatever a manifest may hold."""

import io

from hypothesis import example, given, settings
from hypothesis import strategies as st
from ruamel.yaml import YAML

from ktx.semantic.block import render_block
from ktx.yaml import parse_yaml

_WORDS = st.sampled_from([
    "id", "order total", "true", "Null", "yes", "12:30", "a: b", "x #y", "it's", "'q'", '"q"', "# no", "- a", "a -", "", " a",
    "a ", "é", "größe in cm", "1e3", "0x1f", "2024-01-01", "~", "=", "<<", "a\nb", "tab\there", "what?", "& so", "a & b",
    "100 %", "%d", "[x]", "{x}", "a, b", "end:", "a\u00a0b", "🤦", "---", "...", "!", "a!", "@x", "`t`", "|", ">", "a|b",
])  # fmt: skip
_TEXTS = _WORDS | st.text(max_size=20)
_VALUES = st.recursive(
    _TEXTS | st.booleans() | st.integers() | st.none() | st.floats(allow_nan=False),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_TEXTS, inner, max_size=3),
    max_leaves=12,
)


@settings(max_examples=400, deadline=None)
@given(st.dictionaries(_TEXTS, _VALUES, max_size=4))
@example({"a": [[1, {"b": "x: y"}], {"k: k": ["z"]}]})
@example({"a" * 130: "b", "c": "word " * 1200})
@example({"order total": None, "id": ["\x85"]})
def test_every_mapping_is_written_as_ruamel_writes_it(mapping: dict[str, object]) -> None:
    writer = YAML(typ="rt")
    writer.width = 4096
    writer.indent(mapping=2, sequence=4, offset=2)
    stream = io.StringIO()
    writer.dump(mapping, stream)
    assert render_block(mapping) == stream.getvalue()


@given(st.dictionaries(_WORDS, _WORDS | st.lists(_WORDS, max_size=3), max_size=4))
def test_what_is_written_reads_back_as_it_was(mapping: dict[str, object]) -> None:
    assert parse_yaml(render_block(mapping)) == mapping
