"""The prompt cache as the provider bills it: what a loop writes it reads, and a prefix is written once."""

import itertools

import anyio
import pytest

from ktx.errors import ModelError
from ktx.events import Notice
from ktx.llm.runtime import Prompt
from ktx.llm.schema import Answer, ToolInput
from ktx.llm.tools import Tool
from llmrig.rigs import RIGS
from modelserver import replies

pytestmark = pytest.mark.anyio
SYSTEM = ("You keep the shelves of a shop in order. " * 600,)


@pytest.fixture
def anyio_backend():
    return "asyncio"


@pytest.fixture
def rig(tmp_path, monkeypatch):
    with RIGS["anthropic"](tmp_path, monkeypatch.setenv) as running:
        yield running


@pytest.fixture
def vertex(tmp_path, monkeypatch):
    with RIGS["vertex"](tmp_path, monkeypatch.setenv) as running:
        yield running


class Look(ToolInput):
    table: str


class Fact(Answer):
    word: str


def look(name="look"):
    return Tool(
        name=name,
        description="Look at it. " * 10,
        input=Look,
        run=lambda given: "row " * 200,
        is_read_only=True,
    )


async def drive(rig, *, steps, calls=1, **llm):
    def script(request):
        if request.assistant_turns < steps - 1:
            turn = request.assistant_turns
            return replies.calls(*(("look", {"table": f"t{turn}_{n}"}) for n in range(calls)))
        return replies.text("Done.")

    rig.server.script(script)
    async with rig.runtime(**llm) as runtime:
        outcome = await runtime.loop(
            "default", Prompt(text="Look.", system=SYSTEM), tools=[look()], step_budget=steps
        )
    assert outcome.steps == steps
    return rig.server.bill.charges


@pytest.mark.parametrize("calls", [1, 3, 14])
async def test_every_step_reads_all_that_the_step_before_read_or_wrote(rig, calls):
    charges = await drive(rig, steps=8, calls=calls)
    for before, after in itertools.pairwise(charges):
        assert after.read_tokens == before.read_tokens + before.write_tokens
        assert after.input_tokens == 0
    assert rig.recorded() == rig.billed()


async def test_mixed_lifetimes_are_raised_to_an_order_that_the_provider_takes(rig):
    charges = await drive(
        rig, steps=4, promptCaching={"toolsTtl": "5m", "systemTtl": "1h", "historyTtl": "5m"}
    )
    body = rig.server.requests[0].body
    assert body["tools"][-1]["cache_control"]["ttl"] == "1h"
    assert body["system"][-1]["cache_control"]["ttl"] == "1h"
    assert body["messages"][0]["content"][-1]["cache_control"]["ttl"] == "5m"
    assert charges[0].write_1h_tokens > 0
    assert all(charge.read_tokens for charge in charges[1:])
    assert rig.recorded() == rig.billed()


async def test_caching_that_is_off_marks_nothing(rig):
    charges = await drive(rig, steps=3, promptCaching={"enabled": False})
    assert "cache_control" not in str(rig.server.requests[0].body)
    assert all(charge.write_tokens == charge.read_tokens == 0 for charge in charges)


async def test_tools_are_sent_in_the_order_of_their_names(rig):
    rig.server.default = replies.text("Done.")
    async with rig.runtime() as runtime:
        for order in (["b", "a", "c"], ["c", "b", "a"]):
            await runtime.loop("default", "Look.", tools=[look(name) for name in order], step_budget=2)
    assert [tool["name"] for tool in rig.server.requests[0].body["tools"]] == ["a", "b", "c"]
    assert rig.server.requests[0].body["tools"] == rig.server.requests[1].body["tools"]


async def test_a_fan_out_writes_its_shared_prefix_once(rig):
    rig.server.script(lambda request: replies.structured({"word": "x"}).delayed(0.05))
    async with rig.runtime() as runtime, anyio.create_task_group() as tasks:
        for number in range(24):
            tasks.start_soon(
                ask, runtime, Prompt(text=f"Word {number}?", system=SYSTEM, context="Shared. " * 50)
            )
    charges = rig.server.bill.charges
    assert sum(charge.write_tokens > 0 for charge in charges) == 1
    prefix = max(charge.write_tokens for charge in charges)
    assert [charge.read_tokens for charge in charges if not charge.write_tokens] == [prefix] * 23
    assert rig.server.peak_in_flight > 1
    assert rig.recorded() == rig.billed()


async def ask(runtime, prompt):
    await runtime.extract("default", prompt, schema=Fact)


async def test_loops_side_by_side_share_the_prefix_of_their_tools_and_instructions(rig):
    rig.server.script(replies.by_turn(replies.call("look", table="a").delayed(0.05), replies.text("Done.")))
    async with rig.runtime() as runtime, anyio.create_task_group() as tasks:
        for number in range(6):
            tasks.start_soon(one_loop, runtime, f"Look at {number}.")
    firsts = [
        charge
        for charge, request in zip(rig.server.bill.charges, rig.server.requests, strict=True)
        if request.assistant_turns == 0
    ]
    stable = max(charge.write_tokens for charge in firsts)
    assert sum(charge.write_tokens > stable / 2 for charge in firsts) == 1


async def one_loop(runtime, text):
    await runtime.loop("default", Prompt(text=text, system=SYSTEM), tools=[look()], step_budget=3)


async def test_a_failed_warm_up_lets_the_next_caller_write(rig):
    answers = iter([replies.forbidden()])
    rig.server.script(lambda request: next(answers, replies.structured({"word": "x"})))
    failures = []

    async def tolerant(runtime, number):
        try:
            await ask(runtime, Prompt(text=f"{number}?", system=SYSTEM))
        except ModelError as error:
            failures.append(error)

    async with rig.runtime() as runtime, anyio.create_task_group() as tasks:
        for number in range(5):
            tasks.start_soon(tolerant, runtime, number)
    assert len(failures) == 1
    assert sum(charge.write_tokens > 0 for charge in rig.server.bill.charges) == 1


async def test_vertex_goes_on_with_five_minutes_where_an_hour_is_refused(vertex):
    refused = replies.failure(400, "invalid_request_error", "cache_control.ttl: 1h is not supported")
    vertex.server.script(
        lambda request: refused if "1h" in str(request.body) else replies.structured({"word": "x"})
    )
    async with vertex.runtime(promptCaching={"systemTtl": "1h"}) as runtime:
        for number in range(2):
            await ask(runtime, Prompt(text=f"{number}?", system=SYSTEM))
    assert len(vertex.server.requests) == 3
    assert [event.message for event in vertex.events if isinstance(event, Notice)] == [
        "Vertex AI refuses a cache time of 1h here; ktx goes on with 5m (`vertexFallbackTo5m`)."
    ]


async def test_without_the_fallback_a_refused_hour_is_an_error(vertex):
    vertex.server.script(
        lambda request: replies.failure(
            400, "invalid_request_error", "cache_control.ttl: 1h is not supported"
        )
    )
    async with vertex.runtime(promptCaching={"systemTtl": "1h", "vertexFallbackTo5m": False}) as runtime:
        with pytest.raises(ModelError, match="1h is not supported"):
            await runtime.text("default", Prompt(text="x", system=SYSTEM))
