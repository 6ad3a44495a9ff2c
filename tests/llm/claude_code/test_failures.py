"""What goes wrong between ktx, the real `claude` program and the API, told in ktx's words."""

import subprocess
import sys
import time
from pathlib import Path

import anyio
import pytest

from claude_host import make_host
from ktx.errors import ModelError, RateLimitError
from ktx.events import Waiting
from ktx.llm.backend import Request
from ktx.llm.messages import user
from ktx.llm.schema import ToolInput
from ktx.llm.tools import Tool, Toolbox
from modelserver.replies import (
    by_turn,
    call,
    context_too_long,
    cut,
    failure,
    forbidden,
    garbage,
    garbage_body,
    hang,
    invalid_key,
    no_credit,
    overloaded,
    overloaded_mid_stream,
    rate_limited,
    server_error,
    subscription_limit,
    text,
    unknown_model,
)

pytestmark = pytest.mark.claude

ASK = Request(model="sonnet", messages=(user("How many?"),))


class Nothing(ToolInput):
    """A tool without arguments."""


def fail(host, **more):
    with pytest.raises(ModelError) as caught:
        anyio.run(host.backend(**more).send, ASK)
    return caught.value


@pytest.mark.parametrize(
    ("reply", "kind", "words"),
    [
        (invalid_key(), "unauthorized", "login of Claude Code was refused"),
        (forbidden(), "forbidden", "does not have permission"),
        (unknown_model("claude-sonnet-5-5"), "unknown_model", "does not know the model `sonnet`"),
        (context_too_long(), "context_too_long", "215000"),
        (no_credit(), "billing", "Credit balance is too low"),
        (failure(400, "invalid_request_error", "messages: odd"), "bad_request", "messages: odd"),
        (rate_limited(), "rate_limited", "slow down"),
        (rate_limited(30), "rate_limited", "slow down"),
        (overloaded(), "overloaded", "Overloaded"),
        (overloaded_mid_stream(), "overloaded", "Overloaded"),
        (server_error(500), "server_error", "500"),
        (server_error(503), "server_error", "503"),
        (cut(), "connection", "connection to the API was lost"),
        (garbage(), "garbled", "could not read"),
        (garbage_body(), "garbled", "could not read"),
    ],
    ids=lambda value: value if isinstance(value, str) else None,
)
def test_every_failure_has_its_kind_and_says_what_the_api_said(server, host, reply, kind, words):
    server.script(lambda request: reply)
    error = fail(host)
    assert error.kind == kind
    assert words in error.message
    assert len(server.requests) <= 2, "retries are the runtime's"


def test_a_failure_names_the_request_for_a_support_ticket(server, host):
    server.script(lambda request: overloaded())
    assert fail(host).request_id == server.requests[0].request_id


def test_without_a_login_nothing_is_sent_and_the_way_in_is_named(server, tmp_path):
    stranger = make_host(tmp_path / "other", server, is_logged_in=False)
    error = fail(stranger)
    assert error.kind == "not_logged_in"
    assert "claude setup-token" in error.hint
    assert server.requests == []


def test_the_login_is_told_without_a_request(server, host, tmp_path):
    assert anyio.run(host.backend().check_login) == "logged in (claude.ai)"
    stranger = make_host(tmp_path / "other", server, is_logged_in=False)
    with pytest.raises(ModelError) as caught:
        anyio.run(stranger.backend().check_login)
    assert caught.value.kind == "not_logged_in"
    assert server.requests == []


def test_a_token_in_the_environment_is_a_login(server, tmp_path):
    host = make_host(tmp_path / "other", server, is_logged_in=False)
    backend = host.backend(environment={"CLAUDE_CODE_OAUTH_TOKEN": "sk-ant-oat01-other"})
    anyio.run(backend.send, ASK)
    assert server.requests[0].headers["authorization"] == "Bearer sk-ant-oat01-other"


def test_a_used_up_subscription_says_when_it_resets(server, host):
    server.script(lambda request: subscription_limit(int(time.time()) + 1800))
    error = fail(host)
    assert isinstance(error, RateLimitError)
    assert 1700 < error.retry_after_s <= 1800
    assert "5-hour limit" in error.message


def test_how_much_of_a_limit_is_left_comes_with_the_answer(server, host):
    resets = int(time.time()) + 600
    server.limits = {
        "anthropic-ratelimit-unified-status": "allowed",
        "anthropic-ratelimit-unified-reset": str(resets),
        "anthropic-ratelimit-unified-representative-claim": "five_hour",
        "anthropic-ratelimit-unified-5h-status": "allowed",
        "anthropic-ratelimit-unified-5h-reset": str(resets),
        "anthropic-ratelimit-unified-5h-utilization": "0.75",
    }
    reply = anyio.run(host.backend().send, ASK)
    assert reply.limits.remaining_share == pytest.approx(0.25)
    assert 500 < reply.limits.resets_in_s <= 600


def test_a_loop_outlives_a_short_overload_and_says_that_it_waits(server, host):
    server.reply(overloaded(), text("done"))
    events = []
    backend = host.backend(emit=events.append)
    outcome = anyio.run(lambda: backend.run_loop(ASK, Toolbox([], step_budget=3), watch=lambda step: None))
    assert (outcome.stop_reason, outcome.text) == ("done", "done")
    assert [type(event) for event in events] == [Waiting]


def test_a_program_that_dies_is_told_with_its_last_words(host, tmp_path):
    program = tmp_path / "claude"
    program.write_text("#!/bin/sh\necho 'no more memory' >&2\nexit 3\n")
    program.chmod(0o755)
    error = fail(host, program=program)
    assert "no more memory" in error.message
    assert error.kind == "garbled"


def test_a_program_that_is_not_there_is_named(host, tmp_path):
    error = fail(host, program=tmp_path / "gone" / "claude")
    assert error.kind == "missing_extra"


def test_a_program_that_falls_silent_is_given_up_with_its_bill(server, host):
    server.script(lambda request: hang("so far"))
    error = fail(host, silence_limit_s=2)
    assert error.kind == "connection"
    assert "said nothing for 2 s" in error.message
    assert error.usage.input_tokens == server.bill.total.prompt_tokens
    assert server.wait_until(lambda s: s.requests[0].is_disconnected)


def test_a_tool_may_take_longer_than_the_program_may_be_silent(server, host):
    server.script(by_turn(call("rest"), text("done")))

    async def rest(asked):
        await anyio.sleep(2.5)
        return "rested"

    tool = Tool(name="rest", description="Rest.", input=Nothing, run=rest)
    backend = host.backend(silence_limit_s=2)
    outcome = anyio.run(
        lambda: backend.run_loop(ASK, Toolbox([tool], step_budget=3), watch=lambda step: None)
    )
    assert outcome.text == "done"


@pytest.mark.parametrize("asked_s", [90, 3600])
def test_a_long_pause_within_a_loop_is_not_slept_through(server, host, asked_s):
    server.script(lambda request: rate_limited(asked_s))
    backend = host.backend()
    with pytest.raises(RateLimitError):
        anyio.run(lambda: backend.run_loop(ASK, Toolbox([], step_budget=3), watch=lambda step: None))
    assert len(server.requests) == 1


def test_nothing_is_printed_when_ktx_ends_a_run(server, host, tmp_path):
    script = (
        "import sys, os, anyio; from pathlib import Path\n"
        "from ktx.errors import BudgetError; from ktx.llm.backend import Request; from ktx.llm.messages import user\n"
        "from ktx.llm.tools import Toolbox; from ktx.llm.backends.claude_code.backend import ClaudeCodeBackend\n"
        "backend = ClaudeCodeBackend(environment=os.environ, work_dir=Path(sys.argv[1]))\n"
        "def watch(step): raise BudgetError('spent')\n"
        "ask = Request(model='sonnet', messages=(user('Hi'),))\n"
        "try: anyio.run(lambda: backend.run_loop(ask, Toolbox([], step_budget=3), watch=watch))\n"
        "except BudgetError: print('spent')\n"
    )
    source = str(Path(__file__).parents[3] / "src")
    done = subprocess.run(
        [sys.executable, "-c", script, str(host.work_dir)],
        env={**host.environment, "PYTHONPATH": source},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert (done.stdout, done.stderr) == ("spent\n", "")
