"""Reading the program's frames: whatever it writes, the outcome is a value or one of ktx's errors."""

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ktx.errors import BudgetError, ModelError
from ktx.events import ignore
from ktx.llm.backends.claude_code.failures import Failure, as_error
from ktx.llm.backends.claude_code.frames import Record
from ktx.llm.backends.claude_code.isolation import find_leaks

INIT = {
    "type": "system", "subtype": "init", "tools": [], "mcp_servers": [], "plugins": [], "skills": [],
    "slash_commands": [], "permissionMode": "dontAsk", "apiKeySource": "none", "served_by_anthropic": True,
}  # fmt: skip
START = {
    "type": "message_start",
    "message": {"id": "msg_1", "model": "m", "usage": {"input_tokens": 5, "output_tokens": 1}},
}
DELTA = {"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": {"output_tokens": 9}}
FRAMES = [
    INIT,
    {"type": "stream_event", "event": START},
    {"type": "stream_event", "event": {"type": "content_block_delta", "delta": {"type": "text_delta", "text": "hi"}}},
    {"type": "assistant", "request_id": "req_1", "message": {"id": "msg_1", "model": "m", "content": [{"type": "text", "text": "hi"}]}},
    {"type": "user", "message": {"content": [{"type": "tool_result", "is_error": True}]}},
    {"type": "stream_event", "event": DELTA},
    {"type": "system", "subtype": "api_retry", "retry_delay_ms": 500, "error_status": 429, "error": "rate_limit"},
    {"type": "rate_limit_event", "rate_limit_info": {"status": "allowed", "resetsAt": 9, "unifiedWindows": {"five_hour": {"utilization": 0.5}}}},
    {"type": "result", "is_error": False, "total_cost_usd": 0.1, "duration_api_ms": 5, "usage": {}},
]  # fmt: skip
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=True) | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=10), inner, max_size=3),
    max_leaves=6,
)


def record(**more):
    return Record(tools=frozenset(), servers=frozenset(), emit=ignore, **more)


@st.composite
def mutated_frames(draw):
    """Take the frames of a good run and change some values anywhere in them."""
    frames = json.loads(json.dumps(FRAMES))
    for _ in range(draw(st.integers(1, 3))):
        node = draw(st.sampled_from(frames))
        while isinstance(node, (dict, list)) and node:
            key = draw(st.sampled_from(sorted(node) if isinstance(node, dict) else range(len(node))))
            if not isinstance(node[key], (dict, list)) or draw(st.booleans()):
                node[key] = draw(JSON)
                break
            node = node[key]
    return frames


@settings(max_examples=500, deadline=None)
@given(mutated_frames())
def test_mutated_frames_give_a_value_or_a_typed_error(frames):
    run = record()
    for frame in frames:
        run.on_frame(frame)
    assert run.error is None or isinstance(run.error, ModelError)
    assert run.spent().total_tokens >= 0
    assert isinstance(as_error(run.final_failure(), model="m", now=0.0), ModelError)
    assert isinstance(run.all_text(), str)


@settings(max_examples=500, deadline=None)
@given(st.sampled_from(sorted(set(INIT) - {"type", "subtype"})), JSON)
def test_a_description_that_is_not_the_expected_one_is_never_taken_for_isolated(key, value):
    leaks = find_leaks({**INIT, key: value}, tools=frozenset(), servers=frozenset())
    assert bool(leaks) == (value != INIT[key] or type(value) is not type(INIT[key]))


def test_a_description_that_leaves_something_out_is_not_isolated():
    for key in ("tools", "mcp_servers", "permissionMode", "apiKeySource", "served_by_anthropic"):
        less = {name: value for name, value in INIT.items() if name != key}
        assert find_leaks(less, tools=frozenset(), servers=frozenset()), key


def test_what_watches_raises_is_kept_as_it_is_and_ends_the_program():
    stopped = []

    def watch(step):
        raise BudgetError("spent")

    run = record(watch=watch, stop=lambda: stopped.append(True))
    for frame in FRAMES:
        run.on_frame(frame)
    assert isinstance(run.error, BudgetError)
    assert stopped == [True]


@pytest.mark.parametrize(
    ("failure", "kind"),
    [
        (Failure(error="cloud_credential_error"), "leaked"),
        (Failure(error="unknown", status=418), "bad_request"),
        (Failure(error="unknown", status=402), "billing"),
        (Failure(error="unknown"), "garbled"),
        (Failure(error="server_error"), "server_error"),
        (Failure(api_error_type="overloaded_error"), "overloaded"),
    ],
)
def test_failures_that_are_hard_to_provoke_have_their_kind(failure, kind):
    assert as_error(failure, model="sonnet", now=0.0).kind == kind
