"""Loops that the real `claude` program runs over ktx's tools."""

import threading
import time
from itertools import pairwise

import anyio
import pytest

from ktx.errors import BudgetError, ModelError, QueryError
from ktx.llm.backend import Request
from ktx.llm.messages import user
from ktx.llm.schema import ToolInput
from ktx.llm.tools import Tool, Toolbox
from modelserver.replies import by_turn, call, calls, hang, max_tokens, raw_call, refusal, text

pytestmark = pytest.mark.claude

ASK = Request(model="sonnet", messages=(user("Look around."),), system=("You look.",))


class Look(ToolInput):
    """Where to look."""

    place: int


def look(run=lambda asked: f"nothing at {asked.place}", **more):
    return Tool(name="look", description="Look at a place.", input=Look, run=run, **more)


def run_loop(host, *tools, step_budget=10, watch=lambda step: None, request=ASK):
    box = Toolbox(tools, step_budget=step_budget)
    outcome = anyio.run(lambda: host.backend().run_loop(request, box, watch=watch))
    return outcome, box


def bill_of(usage):
    return (
        usage.uncached_input_tokens,
        usage.cache_write_1h_tokens,
        usage.cache_read_tokens,
        usage.output_tokens,
    )


def test_a_loop_calls_tools_and_counts_steps_calls_and_tokens_as_the_server_does(server, host):
    server.script(
        by_turn(
            calls(("look", {"place": 1}), ("look", {"place": 2})), call("look", place=3), text("All empty.")
        )
    )
    steps = []
    outcome, box = run_loop(host, look(is_read_only=True), watch=steps.append)
    assert (outcome.stop_reason, outcome.text, outcome.steps) == ("done", "All empty.", 3)
    assert (outcome.tool_calls, outcome.tool_errors, box.calls) == (3, 0, 3)
    assert [result["content"] for result in server.requests[1].tool_results] == [
        "nothing at 1",
        "nothing at 2",
    ]
    assert [step.number for step in steps] == [1, 2, 3]
    charges = server.bill.charges
    assert [bill_of(step.usage) for step in steps] == [
        (charge.input_tokens, charge.write_1h_tokens, charge.read_tokens, charge.output_tokens)
        for charge in charges
    ]
    total = server.bill.total
    assert bill_of(outcome.usage) == (
        total.input_tokens,
        total.write_1h_tokens,
        total.read_tokens,
        total.output_tokens,
    )
    assert [step.request_id for step in steps] == [charge.request_id for charge in charges]


def test_the_model_is_offered_the_tools_of_the_run_and_no_other(server, host):
    run_loop(host, look(), Tool(name="another", description="Another.", input=Look, run=lambda asked: "x"))
    assert server.requests[0].tool_names == ["mcp__ktx__another", "mcp__ktx__look"]
    offered = server.requests[0].body["tools"][1]
    assert offered["description"] == "Look at a place."
    assert offered["input_schema"]["required"] == ["place"]


def test_failures_of_tools_are_told_to_the_model_and_the_loop_goes_on(server, host):
    def fail(asked):
        raise QueryError("There is no place 7.", hint="Ask for 1 to 6.")

    server.script(
        by_turn(
            call("look", place=7),
            call("look", place="x"),
            call("mcp__ktx__lok", place=1),
            raw_call("look", '{"place": '),
            text("done"),
        )
    )
    outcome, _ = run_loop(host, look(fail))
    told = [request.tool_results[0] for request in server.requests[1:]]
    assert [result["is_error"] for result in told] == [True] * 4
    assert told[0]["content"] == "There is no place 7. Ask for 1 to 6."
    assert "place" in told[1]["content"]
    assert "lok" in told[2]["content"]
    assert (outcome.text, outcome.steps, outcome.tool_errors) == ("done", 5, 4)


def test_a_tool_of_claude_code_itself_does_not_exist(server, host, tmp_path):
    target = tmp_path / "made"
    server.script(
        by_turn(
            calls(
                ("Bash", {"command": f"touch {target}"}),
                ("Write", {"file_path": str(target), "content": "x"}),
            ),
            text("done"),
        )
    )
    run_loop(host, look())
    assert [result["is_error"] for result in server.requests[1].tool_results] == [True, True]
    assert not target.exists()


def test_read_only_calls_run_at_the_same_time_and_others_one_by_one(server, host):
    server.script(by_turn(calls(*[("look", {"place": place}) for place in range(3)]), text("done")))
    together = threading.Barrier(3, timeout=5)

    def meet(asked):
        together.wait()
        return "met"

    _, box = run_loop(host, look(meet, is_read_only=True))
    assert box.errors == 0
    server.reset()
    server.script(by_turn(calls(*[("look", {"place": place}) for place in range(3)]), text("done")))
    inside, most = [0], [0]

    def alone(asked):
        inside[0] += 1
        most[0] = max(most[0], inside[0])
        time.sleep(0.02)
        inside[0] -= 1
        return "done"

    run_loop(host, look(alone))
    assert most == [1]


def test_the_step_budget_ends_the_loop_after_the_tools_of_the_last_step(server, host):
    server.script(lambda request: calls(("look", {"place": 1}), ("look", {"place": 2})))
    outcome, box = run_loop(host, look(), step_budget=3)
    assert (outcome.stop_reason, outcome.steps, len(server.requests)) == ("step_budget", 3, 3)
    assert box.calls == 6
    assert outcome.usage.output_tokens == server.bill.total.output_tokens


def test_requests_that_the_program_makes_unasked_count_as_steps(server, host):
    server.script(lambda request: max_tokens("and on "))
    outcome, _ = run_loop(host, look(), step_budget=2)
    assert (outcome.stop_reason, outcome.steps) == ("step_budget", 2)
    assert len(server.requests) <= 3


def test_an_answer_without_end_and_a_refusal_end_a_loop_as_what_they_are(server, host):
    server.script(lambda request: max_tokens("and on "))
    assert run_loop(host, look())[0].stop_reason == "max_tokens"
    server.script(lambda request: refusal("no"))
    assert run_loop(host, look())[0].stop_reason == "refusal"


def test_what_watches_can_stop_the_loop_at_once(server, host):
    def watch(step):
        if step.number == 2:
            raise BudgetError("the budget is spent")

    server.script(lambda request: call("look", place=1))
    with pytest.raises(BudgetError):
        run_loop(host, look(), watch=watch)
    assert len(server.requests) <= 3


def test_a_long_answer_of_a_tool_reaches_the_model_whole_and_in_place(server, host):
    server.script(by_turn(call("look", place=1), text("done")))
    said = "größer als gedacht; " * 2000
    run_loop(host, look(lambda asked: said))
    assert server.requests[1].tool_results[0]["content"] == said
    assert not list((host.home / ".claude").rglob("*tool-results*"))


def test_every_step_reads_what_the_one_before_wrote(server, host):
    server.script(by_turn(*[call("look", place=place) for place in range(5)], text("done")))
    run_loop(
        host,
        look(lambda asked: "row " * 400),
        request=Request(model="sonnet", messages=ASK.messages, system=("word " * 3000,)),
    )
    charges = server.bill.charges
    assert charges[0].write_tokens > 3000
    for before, after in pairwise(charges):
        assert after.read_tokens >= before.read_tokens + before.write_tokens
        assert after.input_tokens < 100


# --- leaving early ----------------------------------------------------------------------------------------


def cancel_when(host, server, is_time, tool):
    """Cancel a loop as soon as something is true; give how long the cancelling took."""

    async def body():
        async with anyio.create_task_group() as tasks:
            box = Toolbox([tool], step_budget=5)

            async def loop():
                await host.backend().run_loop(ASK, box, watch=lambda step: None)

            tasks.start_soon(loop)
            assert await anyio.to_thread.run_sync(is_time)
            started = time.monotonic()
            tasks.cancel_scope.cancel()
        return time.monotonic() - started

    return anyio.run(body)


def test_cancelling_in_the_middle_of_a_stream_is_at_once_and_hangs_up(server, host):
    server.reply(hang("so far"))
    took = cancel_when(host, server, lambda: server.wait_until(lambda s: bool(s.requests)), look())
    assert took < 0.5
    assert server.wait_until(lambda s: s.requests[0].is_disconnected)


def test_cancelling_in_the_middle_of_a_tool_is_at_once_and_asks_nothing_more(server, host):
    server.script(lambda request: call("look", place=1))
    inside, done = threading.Event(), threading.Event()

    async def stay(asked):
        inside.set()
        try:
            await anyio.sleep_forever()
        finally:
            done.set()

    took = cancel_when(host, server, lambda: inside.wait(10), look(stay))
    assert took < 0.5
    assert done.is_set()
    assert len(server.requests) == 1


def test_cancelling_does_not_wait_for_a_tool_that_blocks_a_thread(server, host):
    server.script(lambda request: call("look", place=1))
    inside, leave = threading.Event(), threading.Event()

    def block(asked):
        inside.set()
        leave.wait(10)
        return "late"

    took = cancel_when(host, server, lambda: inside.wait(10), look(block))
    leave.set()
    assert took < 0.5


def test_an_unfit_server_answer_is_a_failure_of_the_loop(server, host):
    server.reply(call("look", place=1))
    with pytest.raises(ModelError) as caught:
        run_loop(host, look())
    assert caught.value.kind == "bad_request"
    assert "no reply for request 2" in caught.value.message
