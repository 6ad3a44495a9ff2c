"""The governor, with a clock that the test moves."""

import anyio
import pytest

from ktx.errors import ModelError, RateLimitError
from ktx.events import Waiting
from ktx.llm.backend import Limits, Reply
from ktx.llm.messages import Usage
from ktx.llm.pacing import Effort, Governor, PacingSettings

pytestmark = pytest.mark.anyio
OK = Reply(parts=(), stop_reason="end", usage=Usage(), model="m")


@pytest.fixture
def anyio_backend():
    return "asyncio"


class Time:
    """A clock that moves when somebody sleeps."""

    def __init__(self):
        self.now = 1000.0
        self.slept = []

    def clock(self):
        return self.now

    async def sleep(self, seconds):
        self.slept.append(seconds)
        self.now += seconds
        await anyio.lowlevel.checkpoint()


def governed(time, events=None, **settings):
    return Governor(
        "anthropic",
        PacingSettings(**{"has_jitter": False, **settings}),
        emit=(events if events is not None else []).append,
        clock=time.clock,
        sleep=time.sleep,
        random=lambda: 0.5,
    )


def failing(*errors, then=OK):
    left = list(errors)

    async def call():
        if left:
            raise left.pop(0)
        return then

    return call


def failure(kind, wait=None):
    return ModelError(kind, kind=kind, retry_after_s=wait)


async def test_a_wait_that_the_provider_names_is_kept_whatever_its_length():
    time, events, effort = Time(), [], Effort()
    await governed(time, events).run(failing(failure("rate_limited", 4000.0)), effort)
    assert time.slept == [4000.0]
    assert (effort.retries, effort.waited_s) == (1, 4000.0)
    assert [event.wait_s for event in events if isinstance(event, Waiting)] == [4000.0]


async def test_a_longer_wait_than_allowed_ends_the_call_without_sleeping():
    time = Time()
    with pytest.raises(RateLimitError) as stopped:
        await governed(time, max_wait_s=60).run(failing(failure("rate_limited", 61.0)), Effort())
    assert stopped.value.retry_after_s == 61.0
    assert "ingest.rateLimit.maxWaitMs" in stopped.value.hint
    assert time.slept == []


async def test_waits_double_up_to_their_cap_and_attempts_are_counted():
    time = Time()
    with pytest.raises(ModelError):
        await governed(time, max_attempts=6, base_delay_s=1, max_delay_s=5).run(
            failing(*[failure("server_error")] * 9), Effort()
        )
    assert time.slept == [1, 2, 4, 5, 5]


async def test_jitter_spreads_a_wait_over_its_upper_half():
    governor = governed(Time(), has_jitter=True, base_delay_s=8)
    assert governor.backoff_s(1) == 6.0


@pytest.mark.parametrize("kind", ["unauthorized", "bad_request", "refused", "unknown_model", "budget"])
async def test_a_failure_that_will_not_pass_is_not_tried_again(kind):
    time = Time()
    with pytest.raises(ModelError):
        await governed(time).run(failing(failure(kind)), Effort())
    assert time.slept == []


async def test_pacing_that_is_off_tries_once():
    time = Time()
    with pytest.raises(ModelError):
        await governed(time, enabled=False).run(failing(failure("overloaded")), Effort())
    assert time.slept == []


async def test_a_rate_limit_of_one_call_holds_the_others():
    time = Time()
    governor = governed(time)
    started = []

    async def later():
        started.append(time.now)
        return OK

    async def first():
        await governor.run(failing(failure("rate_limited", 30.0)), Effort())

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(first)
        await anyio.lowlevel.checkpoint()
        tasks.start_soon(governor.run, later, Effort())
    assert started[0] >= 1030.0


@pytest.mark.parametrize(("left", "expected"), [(0.5, None), (0.2, 8), (0.1, 4), (0.0, 1)])
async def test_fewer_calls_run_the_closer_a_limit_comes(left, expected):
    time = Time()
    governor = governed(time, throttle_threshold=0.8)
    reply = Reply(
        parts=(),
        stop_reason="end",
        usage=Usage(),
        model="m",
        limits=Limits(remaining_share=left, resets_in_s=60),
    )
    together = anyio.Event()
    running = 0

    async def call():
        nonlocal running
        running += 1
        if running == 8:
            together.set()
        await together.wait()
        return reply

    async with anyio.create_task_group() as tasks:
        for _ in range(8):
            tasks.start_soon(governor.run, call, Effort())
    assert governor.limit == expected

    running, peak = 0, 0

    async def counted():
        nonlocal running, peak
        running += 1
        peak = max(peak, running)
        await anyio.lowlevel.checkpoint()
        await anyio.lowlevel.checkpoint()
        running -= 1
        return OK

    async with anyio.create_task_group() as tasks:
        for _ in range(20):
            tasks.start_soon(governor.run, counted, Effort())
    assert peak <= (expected or 20)


async def test_a_cancelled_call_gives_its_place_back():
    time = Time()
    governor = governed(time)
    await governor.run(
        failing(
            then=Reply(
                parts=(),
                stop_reason="end",
                usage=Usage(),
                model="m",
                limits=Limits(remaining_share=0.0, resets_in_s=9e9),
            )
        ),
        Effort(),
    )
    with anyio.move_on_after(0.01):
        await governor.run(anyio.sleep_forever, Effort())
    with anyio.fail_after(5):
        assert await governor.run(failing(), Effort()) is OK
