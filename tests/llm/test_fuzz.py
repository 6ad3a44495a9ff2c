"""Ten thousand broken answers: each gives a checked value or a typed error, never a crash, a hang or an unchecked value."""

import copy
import json
import random

import anyio
import pytest

from ktx.errors import ModelError
from ktx.llm.backend import Reply
from ktx.llm.loop import Conversation, run_loop
from ktx.llm.messages import user
from ktx.llm.runtime import Prompt
from ktx.llm.schema import Answer, ToolInput
from ktx.llm.structured import Invalid, ensure_finished, read_answer
from ktx.llm.tools import Tool, Toolbox
from ktx.llm.wire import GarbledError, Listener
from llmrig.rigs import RIGS
from modelserver.replies import Failure

COUNT = 10_000
HOSTILE = [
    None,
    True,
    -1,
    2**70,
    1e308,
    "",
    "\x00",
    "\ud800",
    "é" * 2000,
    "'; DROP TABLE orders; --",
    [],
    {},
    [[[]]],
    {"type": "tool_use"},
    "tool_use",
    "refusal",
    "max_tokens",
    "answer",
    "look",
    {"__proto__": 1},
]


class Fact(Answer):
    word: str
    number: int
    parts: list[str]


class Look(ToolInput):
    table: str
    limit: int = 1


def events(rng):
    """A good stream in one of three shapes."""
    usage = {
        "input_tokens": 5,
        "output_tokens": 1,
        "cache_creation_input_tokens": 0,
        "cache_read_input_tokens": 2,
    }
    start = {
        "type": "message_start",
        "message": {"id": "m", "model": "claude", "usage": usage, "content": []},
    }
    fact = json.dumps({"word": "x", "number": 1, "parts": ["a"]})
    call = json.dumps({"table": "orders", "limit": 2})
    blocks, stop = rng.choice(
        [
            ([("text", {"type": "text", "text": ""}, "text_delta", "text", fact)], "end_turn"),
            (
                [
                    (
                        "tool",
                        {"type": "tool_use", "id": "t", "name": "look", "input": {}},
                        "input_json_delta",
                        "partial_json",
                        call,
                    )
                ],
                "tool_use",
            ),
            (
                [
                    (
                        "tool",
                        {"type": "tool_use", "id": "t", "name": "answer", "input": {}},
                        "input_json_delta",
                        "partial_json",
                        fact,
                    )
                ],
                "tool_use",
            ),
        ]
    )
    out = [start]
    for index, (_, block, kind, field, text) in enumerate(blocks):
        out.append({"type": "content_block_start", "index": index, "content_block": block})
        half = len(text) // 2
        for piece in (text[:half], text[half:]):
            out.append({"type": "content_block_delta", "index": index, "delta": {"type": kind, field: piece}})
        out.append({"type": "content_block_stop", "index": index})
    out.append({"type": "message_delta", "delta": {"stop_reason": stop}, "usage": {"output_tokens": 9}})
    out.append({"type": "message_stop"})
    return out


def places(value, path=()):
    yield path
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, child in items:
        yield from places(child, (*path, key))


def mutated(rng):
    stream = json.loads(json.dumps(events(rng)))
    for _ in range(rng.randint(1, 3)):
        deed = rng.randrange(6)
        if deed == 0 and stream:
            del stream[rng.randrange(len(stream))]
        elif deed == 1 and stream:
            stream.insert(rng.randrange(len(stream) + 1), copy.deepcopy(rng.choice([*stream, *HOSTILE])))
        elif deed == 2 and stream:
            del stream[rng.randrange(len(stream)) :]
        elif deed == 3:
            rng.shuffle(stream)
        else:
            path = rng.choice([path for path in places(stream) if path] or [()])
            if path:
                owner = stream
                for key in path[:-1]:
                    owner = owner[key]
                value = copy.deepcopy(rng.choice(HOSTILE))
                if deed == 5 and isinstance(owner[path[-1]], str):
                    text = owner[path[-1]]
                    cut = rng.randrange(len(text) + 1)
                    value = (
                        text[:cut]
                        + str(rng.choice(["", "{", '"', "\\u12", "]", "\x00", "9" * 400]))
                        + text[cut + 1 :]
                    )
                owner[path[-1]] = value
    return stream


def heard(stream):
    listener = Listener()
    for event in stream:
        listener.hear(event)
    said = listener.said()
    return Reply(parts=said.parts, stop_reason=said.stop_reason, usage=said.usage, model=said.model)


def test_ten_thousand_broken_streams_give_a_checked_value_or_a_typed_failure():
    rng = random.Random(20261122)
    outcomes = {"value": 0, "invalid": 0, "garbled": 0, "unfinished": 0}
    for _ in range(COUNT):
        try:
            reply = heard(mutated(rng))
            ensure_finished(reply, "m")
        except GarbledError:
            outcomes["garbled"] += 1
            continue
        except ModelError:
            outcomes["unfinished"] += 1
            continue
        answer = read_answer(reply, Fact)
        if isinstance(answer, Invalid):
            outcomes["invalid"] += 1
        else:
            assert Fact.model_validate(answer.model_dump()) == answer
            outcomes["value"] += 1
    assert sum(outcomes.values()) == COUNT
    assert all(outcomes.values()), outcomes


def test_broken_tool_calls_never_reach_a_tool_unchecked_and_never_stop_a_loop():
    rng = random.Random(7)
    written = []

    def write(given):
        assert isinstance(given, Look)
        assert isinstance(given.table, str)
        assert isinstance(given.limit, int)
        written.append(given)
        return "ok"

    async def main():
        for _ in range(1500):
            toolbox = Toolbox([Tool(name="look", description="Look.", input=Look, run=write)], step_budget=3)
            ended = 0

            async def ask(messages):
                nonlocal ended
                ended += 1
                return heard(mutated(rng))

            try:
                with anyio.fail_after(20):
                    outcome = await run_loop(Conversation(messages=[user("go")]), toolbox, ask)
            except (GarbledError, ModelError):
                continue
            assert outcome.steps <= 3

    anyio.run(main)
    assert written


@pytest.mark.parametrize("seed", range(3))
def test_broken_bodies_over_the_wire_end_in_a_typed_failure(seed, tmp_path, monkeypatch):
    rng = random.Random(seed)

    def body():
        lines = []
        for event in mutated(rng):
            kind = event.get("type") if isinstance(event, dict) else "ping"
            lines.append(f"event: {str(kind)[:40]}\ndata: {json.dumps(event)}\n\n")
        raw = "".join(lines).encode("utf-8", "replace")
        return raw[: rng.randrange(len(raw) + 1)] if rng.random() < 0.3 else raw

    with RIGS["anthropic"](tmp_path, monkeypatch.setenv) as rig:
        rig.server.script(lambda request: Failure(status=200, type="", message="", body=body()))

        async def main():
            kinds = set()
            async with rig.runtime(rate_limit={"enabled": False}) as runtime:
                for _ in range(60):
                    try:
                        with anyio.fail_after(20):
                            answer = await runtime.extract("default", Prompt(text="x"), schema=Fact)
                            assert isinstance(answer, Fact)
                            kinds.add("value")
                    except ModelError as error:
                        kinds.add(error.kind)
            return kinds

        assert "garbled" in anyio.run(main)
