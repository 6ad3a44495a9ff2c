"""What every backend must do alike: texts, structured answers, loops, failures, and a ledger equal to the bill."""

from dataclasses import replace
from typing import Literal

import anyio
import pytest

from ktx.errors import BudgetError, ModelError, QueryError, RateLimitError
from ktx.events import Waiting
from ktx.llm.messages import Usage
from ktx.llm.runtime import Prompt
from ktx.llm.schema import Answer, ToolInput
from ktx.llm.tools import Tool
from modelserver import replies

pytestmark = pytest.mark.anyio


class Fact(Answer):
    subject: str
    certainty: Literal["low", "high"]
    note: str | None = None


class Facts(Answer):
    title: str
    facts: list[Fact]
    score: float | None = None


class Look(ToolInput):
    table: str
    limit: int = 10


WHOLE = {
    "title": "Ærlig talt 🍏 “quotes” \\ \n new line",
    "facts": [
        {"subject": "orders", "certainty": "high", "note": None},
        {"subject": "注文", "certainty": "low", "note": "x"},
    ],
    "score": None,
}


class Shelf:
    """A tool with a memory."""

    def __init__(self):
        self.looked = []

    def tool(self, run=None, *, name="look", is_read_only=True):
        return Tool(
            name=name,
            description="Look at a table.",
            input=Look,
            run=run or self.look,
            is_read_only=is_read_only,
        )

    def look(self, given):
        self.looked.append(given)
        return f"{given.table}: {given.limit} rows"


async def test_a_text_comes_back_as_it_was_said(rig):
    rig.server.reply(replies.text("Grüße, 世界 🍏\nsecond line"))
    async with rig.runtime() as runtime:
        answer = await runtime.text(
            "default",
            Prompt(text="Say it.", system=("You say things.",), context="A report."),
            task="greeting",
        )
    assert answer == "Grüße, 世界 🍏\nsecond line"
    assert "You say things." in rig.server.requests[0].system_text
    assert "A report." in rig.server.requests[0].prompt_text
    (entry,) = rig.ledger()
    assert (entry.role, entry.task, entry.backend, entry.outcome) == ("default", "greeting", rig.name, "ok")


async def test_a_structured_answer_is_nested_optional_and_any_language(rig):
    rig.server.reply(replies.structured(WHOLE))
    async with rig.runtime() as runtime:
        answer = await runtime.extract("default", "List the facts.", schema=Facts)
    assert answer == Facts.model_validate(WHOLE)


async def test_a_long_structured_answer_is_whole(rig):
    facts = [{"subject": f"table {n} " * 20, "certainty": "high", "note": "é" * 50} for n in range(300)]
    rig.server.reply(replies.structured({"title": "long", "facts": facts, "score": 1.5}))
    async with rig.runtime() as runtime:
        answer = await runtime.extract("default", "List the facts.", schema=Facts, max_output_tokens=60_000)
    assert len(answer.facts) == 300
    assert answer.facts[299].subject == "table 299 " * 20


@pytest.mark.needs("repair")
async def test_an_invalid_answer_is_repaired_once_with_the_role_repair(rig):
    rig.server.reply(replies.structured({"title": 7, "facts": "none"}), replies.structured(WHOLE))
    async with rig.runtime() as runtime:
        answer = await runtime.extract("default", "List the facts.", schema=Facts)
    assert answer == Facts.model_validate(WHOLE)
    assert [entry.role for entry in rig.ledger()] == ["default", "repair"]
    assert "facts" in rig.server.requests[1].prompt_text


@pytest.mark.needs("repair")
async def test_an_answer_that_stays_invalid_is_an_error_with_the_request_id(rig):
    rig.server.reply(replies.structured({"title": 7}), replies.structured({"title": 8}))
    async with rig.runtime() as runtime:
        with pytest.raises(ModelError) as failure:
            await runtime.extract("default", "List the facts.", schema=Facts)
    assert failure.value.kind == "invalid_answer"
    assert failure.value.request_id
    assert "Facts" in failure.value.message


async def test_a_loop_calls_tools_and_reports_what_it_took(rig):
    shelf = Shelf()
    rig.server.script(
        replies.by_turn(
            replies.calls(("look", {"table": "a"}), ("look", {"table": "b", "limit": 2}), words="Looking."),
            replies.text("Both are there."),
        )
    )
    async with rig.runtime() as runtime:
        outcome = await runtime.loop("default", "Look at a and b.", tools=[shelf.tool()], step_budget=5)
    assert outcome.stop_reason == "done"
    assert outcome.text == "Both are there."
    assert (outcome.steps, outcome.tool_calls, outcome.tool_errors) == (2, 2, 0)
    assert sorted((look.table, look.limit) for look in shelf.looked) == [("a", 10), ("b", 2)]
    assert outcome.timings.total_s >= outcome.timings.tools_s >= 0


async def test_read_only_tools_of_one_reply_run_at_the_same_time(rig):
    both = anyio.Event()
    waiting = []

    async def meet(given):
        waiting.append(given.table)
        if len(waiting) == 2:
            both.set()
        with anyio.fail_after(10):
            await both.wait()
        return "met"

    rig.server.script(
        replies.by_turn(
            replies.calls(("look", {"table": "a"}), ("look", {"table": "b"})), replies.text("They met.")
        )
    )
    async with rig.runtime() as runtime:
        outcome = await runtime.loop("default", "Meet.", tools=[Shelf().tool(meet)], step_budget=5)
    assert (outcome.stop_reason, outcome.tool_errors) == ("done", 0)


async def test_writing_tools_run_one_after_another(rig):
    running, peak = 0, 0

    async def write(given):
        nonlocal running, peak
        running += 1
        peak = max(peak, running)
        await anyio.sleep(0.02)
        running -= 1
        return "written"

    rig.server.script(
        replies.by_turn(
            replies.calls(("look", {"table": "a"}), ("look", {"table": "b"}), ("look", {"table": "c"})),
            replies.text("Done."),
        )
    )
    async with rig.runtime() as runtime:
        outcome = await runtime.loop(
            "default", "Write.", tools=[Shelf().tool(write, is_read_only=False)], step_budget=5
        )
    assert (outcome.tool_calls, peak) == (3, 1)


async def test_a_tools_own_error_reaches_the_model_as_text(rig):
    def refuse(given):
        raise QueryError(f"There is no table `{given.table}`.", hint="Did you mean `orders`?")

    rig.server.script(replies.by_turn(replies.call("look", table="ordrs"), replies.text("I see.")))
    async with rig.runtime() as runtime:
        outcome = await runtime.loop("default", "Look.", tools=[Shelf().tool(refuse)], step_budget=5)
    assert (outcome.stop_reason, outcome.tool_errors) == ("done", 1)
    told = str(rig.server.requests[-1].tool_results)
    assert "There is no table `ordrs`. Did you mean `orders`?" in told


async def test_a_bug_in_a_tool_tells_the_model_nothing_but_its_kind(rig):
    def crash(given):
        raise RuntimeError("secret-of-the-house")

    rig.server.script(replies.by_turn(replies.call("look", table="a"), replies.text("I see.")))
    async with rig.runtime() as runtime:
        outcome = await runtime.loop("default", "Look.", tools=[Shelf().tool(crash)], step_budget=5)
    assert outcome.tool_errors == 1
    told = str(rig.server.requests[-1].tool_results)
    assert "RuntimeError" in told
    assert "secret-of-the-house" not in told


@pytest.mark.needs("unknown_tool")
async def test_an_unknown_tool_is_answered_with_the_known_ones(rig):
    rig.server.script(replies.by_turn(replies.call("lok", table="a"), replies.text("I see.")))
    async with rig.runtime() as runtime:
        outcome = await runtime.loop("default", "Look.", tools=[Shelf().tool()], step_budget=5)
    assert outcome.stop_reason == "done"
    assert "Did you mean `look`?" in str(rig.server.requests[-1].tool_results)


async def test_bad_arguments_are_repaired_once_before_the_model_is_told(rig):
    shelf = Shelf()

    def script(request):
        if "corrected arguments" in request.prompt_text:
            return replies.text('Here: {"table": "orders", "limit": 3}')
        return replies.by_turn(
            replies.call("look", table="orders", limit="many"), replies.text("Three rows.")
        )(request)

    rig.server.script(script)
    async with rig.runtime() as runtime:
        outcome = await runtime.loop("default", "Look.", tools=[shelf.tool()], step_budget=5)
    assert (outcome.stop_reason, outcome.tool_errors) == ("done", 0)
    assert [(look.table, look.limit) for look in shelf.looked] == [("orders", 3)]
    assert sorted({entry.role for entry in rig.ledger()}) == ["default", "repair"]


async def test_arguments_beyond_repair_come_back_with_what_is_wrong(rig):
    shelf = Shelf()

    def script(request):
        if "corrected arguments" in request.prompt_text:
            return replies.text("unclear")
        return replies.by_turn(replies.call("look", tabel="orders"), replies.text("I see."))(request)

    rig.server.script(script)
    async with rig.runtime() as runtime:
        outcome = await runtime.loop("default", "Look.", tools=[shelf.tool()], step_budget=5)
    assert outcome.tool_errors == 1
    assert shelf.looked == []
    told = str(rig.server.requests[-1].tool_results)
    assert "table" in told
    assert "tabel" in told


async def test_a_huge_tool_output_is_cut_in_the_middle(rig):
    rig.server.script(replies.by_turn(replies.call("look", table="a"), replies.text("Much.")))
    async with rig.runtime() as runtime:
        outcome = await runtime.loop(
            "default",
            "Look.",
            tools=[Shelf().tool(lambda given: "begin" + "x" * 300_000 + "end")],
            step_budget=5,
        )
    assert outcome.stop_reason == "done"
    told = str(rig.server.requests[-1].tool_results)
    assert "begin" in told
    assert "end" in told
    assert "characters left out" in told
    assert len(told) < 45_000


async def test_a_loop_stops_when_its_steps_are_spent_and_the_last_tools_still_run(rig):
    shelf = Shelf()
    rig.server.script(lambda request: replies.call("look", table=f"t{request.assistant_turns}"))
    async with rig.runtime() as runtime:
        outcome = await runtime.loop("default", "Look.", tools=[shelf.tool()], step_budget=3)
    assert (outcome.stop_reason, outcome.steps) == ("step_budget", 3)
    assert len(shelf.looked) == 3
    assert len(rig.server.requests) == 3


async def test_cancelling_in_a_tool_stops_at_once_and_asks_no_more(rig):
    is_in = anyio.Event()

    async def stay(given):
        is_in.set()
        await anyio.sleep_forever()

    rig.server.script(replies.by_turn(replies.call("look", table="a"), replies.text("never")))
    async with rig.runtime() as runtime, anyio.create_task_group() as tasks:
        tasks.start_soon(lambda: runtime.loop("default", "Look.", tools=[Shelf().tool(stay)], step_budget=5))
        with anyio.fail_after(30):
            await is_in.wait()
        tasks.cancel_scope.cancel()
    assert len(rig.server.requests) == 1


async def test_cancelling_in_the_middle_of_an_answer_hangs_up(rig):
    rig.server.reply(replies.hang("The answer begins"))
    async with rig.runtime() as runtime:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(lambda: runtime.text("default", "Speak."))
            await anyio.to_thread.run_sync(lambda: rig.server.wait_for_requests(1, timeout_s=30))
            await anyio.sleep(0.05)
            tasks.cancel_scope.cancel()
        assert await anyio.to_thread.run_sync(
            lambda: rig.server.wait_until(lambda server: server.requests[0].is_disconnected)
        )
    assert rig.ledger()[-1].outcome == "cancelled"


async def test_the_ledger_equals_the_bill_to_the_token(rig):
    shelf = Shelf()
    system = ("You keep shelves. " * 900,)
    rig.server.script(
        replies.by_turn(
            *(replies.calls(("look", {"table": f"a{n}"}), ("look", {"table": f"b{n}"})) for n in range(4)),
            replies.text("All looked at."),
        )
    )
    async with rig.runtime() as runtime:
        outcome = await runtime.loop(
            "default", Prompt(text="Look.", system=system), tools=[shelf.tool()], step_budget=9
        )
        rig.server.script(lambda request: replies.structured(WHOLE))
        await runtime.extract("default", Prompt(text="List.", system=system), schema=Facts)
    assert outcome.steps == 5
    assert outcome.usage.input_tokens > 5 * 3000
    assert rig.recorded() == rig.billed()
    assert rig.recorded() != Usage()


@pytest.mark.parametrize(
    ("reply", "kind"),
    [
        (replies.invalid_key(), "unauthorized"),
        (replies.forbidden(), "forbidden"),
        (replies.unknown_model("claude-x"), "unknown_model"),
        (replies.context_too_long(), "context_too_long"),
        (replies.no_credit(), "billing"),
        (replies.refusal(), "refused"),
        (replies.max_tokens("The answer is cut"), "truncated"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
async def test_a_lasting_failure_has_its_kind_and_is_not_tried_again(rig, reply, kind):
    if kind in rig.cannot:
        pytest.skip(rig.cannot[kind])
    rig.server.script(lambda request: reply)
    async with rig.runtime() as runtime:
        with pytest.raises(ModelError) as failure:
            await runtime.text("default", "Speak.")
    assert failure.value.kind == kind
    assert failure.value.message
    assert rig.ledger()[-1].outcome == kind
    if "inner_retries" not in rig.cannot:
        assert len(rig.server.requests) == 1


@pytest.mark.parametrize(
    ("reply", "kind"),
    [
        (replies.rate_limited(), "rate_limited"),
        (replies.rate_limited(0), "rate_limited"),
        (replies.overloaded(), "overloaded"),
        (replies.server_error(500), "server_error"),
        (replies.server_error(503), "server_error"),
        (replies.overloaded_mid_stream(), "overloaded"),
        (replies.cut(), "connection"),
        (replies.garbage(), "garbled"),
        (replies.garbage_body(), "garbled"),
    ],
    ids=[
        "429",
        "429-retry-after",
        "529",
        "500",
        "503",
        "overload-mid-stream",
        "cut",
        "garbage",
        "garbage-body",
    ],
)
async def test_a_passing_failure_is_tried_again_and_then_has_its_kind(rig, reply, kind, request):
    case = request.node.callspec.id.split("-", 1)[-1]
    for reason in (kind, case):
        if reason in rig.cannot:
            pytest.skip(rig.cannot[reason])
    answers = iter([reply, replies.text("after all")])
    rig.server.script(lambda asked: next(answers))
    async with rig.runtime() as runtime:
        assert await runtime.text("default", "Speak.") == "after all"
        rig.server.script(lambda asked: reply)
        with pytest.raises(ModelError) as failure:
            await runtime.text("default", "Speak.")
    assert failure.value.kind == kind
    assert replace(rig.recorded(), output_tokens=0) == replace(rig.billed(), output_tokens=0)
    assert rig.recorded().output_tokens >= rig.billed().output_tokens  # a broken stream never says its output
    assert any(isinstance(event, Waiting) for event in rig.events)


async def test_a_wait_longer_than_allowed_is_an_error_that_names_it(rig):
    if "long_wait" in rig.cannot:
        pytest.skip(rig.cannot["long_wait"])
    rig.server.script(lambda asked: replies.rate_limited(3600))
    async with rig.runtime(rate_limit={"maxWaitMs": 5000}) as runtime:
        with pytest.raises(RateLimitError) as failure:
            await runtime.text("default", "Speak.")
    assert failure.value.retry_after_s == 3600
    assert "3600 s" in failure.value.message
    assert len(rig.server.requests) == 1


async def test_a_spent_budget_stops_before_the_call(rig):
    if "budget" in rig.cannot:
        pytest.skip(rig.cannot["budget"])
    rig.server.default = replies.text("word " * 50)
    async with rig.runtime(budget={"tokens": 20_000}) as runtime:

        async def spend_everything():
            for _ in range(500):
                await runtime.text("default", "Speak. " * 300, max_output_tokens=2000)

        with pytest.raises(BudgetError, match=r"llm\.budget"):
            await spend_everything()
    assert 10_000 < rig.billed().total_tokens <= 20_000
    assert rig.recorded() == rig.billed()


async def test_every_backend_says_what_it_cannot_isolate_and_which_cache_fields_it_ignores(rig):
    async with rig.runtime() as runtime:
        backend = runtime.backend(runtime.roles.chain("default")[0].backend)
        assert backend.capabilities.isolation.endswith(".")
        for field, why in backend.capabilities.ignored_cache_fields.items():
            assert field in ("enabled", "systemTtl", "toolsTtl", "historyTtl", "vertexFallbackTo5m")
            assert why


async def test_a_probe_names_the_model_that_answers(rig):
    rig.server.default = replies.text("ready")
    async with rig.runtime() as runtime:
        choice = runtime.roles.chain("default")[0]
        probe = await runtime.probe(choice)
    assert probe.model
    assert "sonnet" in probe.model or probe.model == choice.model
