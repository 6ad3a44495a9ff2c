"""Text and structured answers through the real `claude` program."""

import json
from dataclasses import replace

import anyio
import pytest

from ktx.errors import ModelError
from ktx.llm.backend import Request
from ktx.llm.caching import CacheSettings
from ktx.llm.messages import Message, Text, ToolSpec, text_of, user
from modelserver.replies import max_tokens, refusal, structured, text

pytestmark = pytest.mark.claude

ASK = Request(model="sonnet", messages=(user("How many?"),), system=("Be brief.", "Be right."))
SCHEMA = {
    "type": "object",
    "properties": {
        "names": {"type": "array", "items": {"type": "string"}},
        "more": {"anyOf": [{"type": "integer"}, {"type": "null"}]},
    },
    "required": ["names", "more"],
    "additionalProperties": False,
}


def send(host, request=ASK):
    return anyio.run(host.backend().send, request)


def bill_of(usage):
    return (
        usage.uncached_input_tokens,
        usage.cache_write_5m_tokens,
        usage.cache_write_1h_tokens,
        usage.cache_read_tokens,
        usage.output_tokens,
    )


def billed(server):
    total = server.bill.total
    return (
        total.input_tokens,
        total.write_5m_tokens,
        total.write_1h_tokens,
        total.read_tokens,
        total.output_tokens,
    )


def test_an_answer_comes_with_its_model_its_bill_and_its_request_id(server, host):
    server.reply(text("Twelve — «douze», 十二."))
    reply = send(host)
    assert text_of(reply.parts) == "Twelve — «douze», 十二."
    assert (reply.stop_reason, reply.model, reply.requests) == ("end", "claude-sonnet-5-5", 1)
    assert reply.request_id == server.requests[0].request_id
    assert bill_of(reply.usage) == billed(server)
    assert reply.cost_usd > 0


def test_the_model_reads_the_system_prompt_the_prompt_and_a_note_on_the_machine_and_nothing_else(
    server, host
):
    send(host)
    request = server.requests[0]
    assert request.tool_names == []
    _billing, identity, system = [block["text"] for block in request.body["system"]]
    assert identity == "You are a Claude agent, built on Anthropic's Claude Agent SDK."
    assert system == "Be brief.\n\nBe right."
    prompt, note = request.messages
    assert prompt == {"role": "user", "content": [{"type": "text", "text": "How many?"}]}
    assert note["role"] == "system"
    lines = [line for block in note["content"] for line in block["text"].splitlines()]
    assert f" - Primary working directory: {host.work_dir}" in lines
    assert " - Is a git repository: false" in lines


def test_a_long_system_prompt_is_no_argument(server, host):
    send(host, replace(ASK, system=("word " * 60_000,)))
    assert server.requests[0].system_text.count("word ") >= 59_999


def test_a_long_prompt_of_any_letters_arrives_whole(server, host):
    words = "größer \U0001f34f <b>&amp;</b> \\n " * 20_000
    send(host, replace(ASK, messages=(user(words, "and \ud800 alone"),)))
    blocks = server.requests[0].messages[0]["content"]
    assert [block["text"] for block in blocks] == [words, "and ? alone"]


def test_a_conversation_is_told_as_one_prompt(server, host):
    turns = (user("One?"), Message(author="assistant", parts=(Text(text="Not JSON."),)), user("Again."))
    send(host, replace(ASK, messages=turns))
    assert server.requests[0].assistant_turns == 0
    told = json.dumps(server.requests[0].messages)
    assert told.index("One?") < told.index("Not JSON.") < told.index("Again.")


def test_a_structured_answer_is_the_reply_as_json(server, host):
    server.reply(structured({"names": ["a", "ü"], "more": None}))
    reply = send(host, replace(ASK, schema=SCHEMA))
    assert json.loads(text_of(reply.parts)) == {"names": ["a", "ü"], "more": None}
    assert bill_of(reply.usage) == billed(server)


@pytest.mark.parametrize(("answer", "said"), [(structured({"names": 3}), '{"names": 3}'), (text("no"), "no")])
def test_an_answer_that_misses_the_schema_costs_one_request_and_is_handed_on_for_repair(
    server, host, answer, said
):
    server.script(lambda request: answer)
    reply = send(host, replace(ASK, schema=SCHEMA))
    assert text_of(reply.parts) == said
    assert len(server.requests) == 1
    assert bill_of(reply.usage) == billed(server)


def test_an_answer_without_end_is_told_as_cut_off_with_all_its_text_and_its_whole_bill(server, host):
    server.script(lambda request: max_tokens(f"part {request.assistant_turns} "))
    reply = send(host, replace(ASK, max_output_tokens=300))
    assert reply.stop_reason == "max_tokens"
    assert text_of(reply.parts).startswith("part 0 part 1 ")
    assert reply.requests == len(server.requests) > 1
    assert bill_of(reply.usage) == billed(server)
    assert {request.body["max_tokens"] for request in server.requests} == {300}


def test_an_answer_that_was_cut_off_and_then_finished_is_whole(server, host):
    server.reply(max_tokens("first half, "), text("second half"))
    reply = send(host)
    assert (text_of(reply.parts), reply.stop_reason) == ("first half, second half", "end")


def test_a_refusal_is_asked_once_and_told(server, host):
    server.script(lambda request: refusal("I would rather not."))
    reply = send(host)
    assert reply.stop_reason == "refusal"
    assert len(server.requests) == 1
    assert bill_of(reply.usage) == billed(server)


@pytest.mark.parametrize("model", ["gpt-5.5", "", "claude", "sonnet; rm", "Claude-x"])
def test_a_name_that_is_no_claude_model_is_refused_before_anything_starts(server, host, model):
    with pytest.raises(ModelError, match="not a model of Claude Code") as caught:
        send(host, replace(ASK, model=model))
    assert caught.value.kind == "unknown_model"
    assert "`sonnet`" in caught.value.hint
    assert server.tunnels == []


@pytest.mark.parametrize(
    ("model", "asked"),
    [
        ("haiku", "claude-haiku-5-5"),
        ("claude-sonnet-4-5-20250929", "claude-sonnet-4-5-20250929"),
        ("sonnet[1m]", "claude-sonnet-5-5"),
    ],
)
def test_aliases_and_full_ids_are_taken(server, host, model, asked):
    assert send(host, replace(ASK, model=model)).model == asked
    assert server.requests[0].model == asked


def test_tools_outside_a_loop_are_refused(host):
    tool = ToolSpec(name="look", description="Look.", input_schema={"type": "object"})
    with pytest.raises(ModelError) as caught:
        send(host, replace(ASK, tools=(tool,)))
    assert caught.value.kind == "unsupported"


def test_effort_reaches_the_wire(server, host):
    send(host, replace(ASK, effort="low"))
    assert server.requests[0].body["output_config"]["effort"] == "low"


@pytest.mark.parametrize(
    ("caching", "ttls"),
    [
        (CacheSettings(enabled=False), []),
        (CacheSettings(tools_ttl="1h", is_set=frozenset({"toolsTtl"})), ["1h"]),
        (CacheSettings(tools_ttl="5m", is_set=frozenset({"toolsTtl"})), ["5m"]),
        (CacheSettings(), ["1h"]),
    ],
)
def test_cache_settings_reach_the_wire_as_one_lifetime(server, host, caching, ttls):
    send(host, replace(ASK, caching=caching))
    body = json.dumps(server.requests[0].body)
    marks = [part.split("}")[0] for part in body.split('"cache_control": {')[1:]]
    assert sorted({"1h" if '"1h"' in mark else "5m" for mark in marks}) == ttls


def test_a_second_call_reads_what_the_first_wrote(server, host):
    request = replace(ASK, system=("many words " * 1500,))
    first, second = send(host, request).usage, send(host, request).usage
    assert first.cache_write_1h_tokens > 4000
    assert second.cache_read_tokens > 4000
    assert second.cache_write_tokens < 200


def test_a_probe_names_the_model_that_answered(host):
    probe = anyio.run(host.backend().probe, "haiku")
    assert probe.model == "claude-haiku-5-5"
    assert "`haiku`" in probe.detail
