"""What the LLM runtime costs and saves, against a loopback provider that bills the prompt cache as the real one does.

Run `PYTHONPATH=src:tests python benchmarks/llm.py`. It prints, in one run:
1. tokens billed by a 40-step loop with 8 tools, relative to no caching and to caching the first message only;
2. the share of repeat-prefix tokens that were read from the cache with 8 loops at once, and the writes per prefix;
3. the wall time of 200 extractions at concurrency 8, relative to the provider's own latency;
4. our own time per step of a loop, with a provider that answers at once;
5. the same for every backend, and what each call of it costs before the first step.
"""

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

import anyio

from ktx.llm.runtime import Prompt
from ktx.llm.schema import Answer, ToolInput
from ktx.llm.tools import Tool
from llmrig.rigs import RIGS, Rig, plain_rig
from modelserver import replies

STEPS, TOOLS, AT_ONCE, EXTRACTIONS, LATENCY_S = 40, 8, 8, 200, 1.0
SYSTEM = ("You maintain the semantic layer of a shop's warehouse. " * 500,)


class Look(ToolInput):
    """Where to look."""

    table: str
    limit: int = 10


class Described(Answer):
    """A description."""

    text: str


def tools() -> list[Tool[Look]]:
    return [
        Tool(
            name=f"look_{number}",
            description="Look at a table of the warehouse and give some of its rows. " * 3,
            input=Look,
            run=lambda given: f"{given.table} " * 120,
            is_read_only=True,
        )
        for number in range(TOOLS)
    ]


def script(request):
    turn = request.assistant_turns
    if turn >= STEPS - 1:
        return replies.text("Done.")
    return replies.calls((f"look_{turn % TOOLS}", {"table": f"t{turn}"}), words="I look further. " * 5)


async def loop(runtime, number: int = 0) -> None:
    outcome = await runtime.loop(
        "curator",
        Prompt(text=f"Work on unit {number}. " + "evidence " * 200, system=SYSTEM),
        tools=tools(),
        step_budget=STEPS,
    )
    assert outcome.steps == STEPS


async def billed_loop() -> None:
    with plain_rig() as rig:
        rig.server.script(script)
        async with rig.runtime() as runtime:
            await loop(runtime)
        ours, charges = rig.server.bill.total.input_units, rig.server.bill.charges
        whole = sum(charge.prompt_tokens for charge in charges)
        first = charges[0].prompt_tokens
        first_only = sum(charge.prompt_tokens - first for charge in charges) + first * (
            1.25 + 0.1 * (STEPS - 1)
        )
        is_equal = rig.recorded() == rig.billed()
    print(f"1. a {STEPS}-step loop with {TOOLS} tools, input billed in units of one uncached token")
    print(
        f"   with ktx {ours:,.0f}; no caching {whole:,} (ratio {ours / whole:.3f}); first message only {first_only:,.0f} (ratio {ours / first_only:.3f})"
    )
    print(f"   ledger equals the bill to the token: {is_equal}")


async def share_read() -> None:
    with plain_rig() as rig:
        rig.server.script(lambda request: _slow(script(request)))
        async with rig.runtime() as runtime, anyio.create_task_group() as tasks:
            for number in range(AT_ONCE):
                tasks.start_soon(loop, runtime, number)
        charges = _in_order(rig)
        stable = max(charge.write_tokens for charge in charges)
        is_first = [request.assistant_turns == 0 for request in rig.server.requests]
        firsts = [charge for charge, first in zip(charges, is_first, strict=True) if first]
        by_loop: dict[str, list] = {}
        for request, charge in zip(rig.server.requests, charges, strict=True):
            by_loop.setdefault(request.user_text[:24], []).append(charge)
        # What was sent before: each step repeats the whole prompt of the step before, each later loop the shared prefix.
        repeat = sum(charge.prompt_tokens for group in by_loop.values() for charge in group[:-1])
        repeat += sum(charge.read_tokens for charge in firsts)
        shared_writes = sum(charge.write_tokens > stable * 0.9 for charge in firsts)
        repeat += (shared_writes - 1) * stable
        read = sum(charge.read_tokens for charge in charges)
        is_equal = rig.recorded() == rig.billed()
    print(
        f"2. {AT_ONCE} such loops at once: {read / repeat:.1%} of repeat-prefix tokens were read from the cache"
    )
    print(
        f"   writes of the prefix they share: {shared_writes}; ledger equals the bill to the token: {is_equal}"
    )


def _slow(reply):
    return reply.delayed(0.02)


def _in_order(rig: Rig):
    by_id = {charge.request_id: charge for charge in rig.server.bill.charges}
    return [by_id[request.request_id] for request in rig.server.requests]


_SCRIPT = """from modelserver import replies

def reply(request):
    return replies.structured({{"text": "a table of orders"}}).delayed({latency_s})
"""


@contextmanager
def _far_provider(folder: Path) -> Generator[str, None, None]:
    """A provider in a process of its own, so that its work is not counted as ours."""
    (folder / "script.py").write_text(_SCRIPT.format(latency_s=LATENCY_S))
    command = [sys.executable, "-m", "modelserver", "--script", str(folder / "script.py")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as program:
        try:
            yield program.stdout.readline().split()[1]
        finally:
            program.terminate()


async def extractions() -> None:
    with tempfile.TemporaryDirectory() as folder, _far_provider(Path(folder)) as url:
        provider = {"backend": "anthropic", "anthropic": {"base_url": url, "api_key": "sk-test"}}
        rig = Rig("anthropic", None, Path(folder), provider, "claude-sonnet-5-5", lambda *_: None)
        async with rig.runtime() as runtime:
            await runtime.extract("default", "warm the client", schema=Described)
            limit = anyio.CapacityLimiter(AT_ONCE)

            async def one(number: int) -> None:
                async with limit:
                    prompt = Prompt(text=f"Describe table {number}.", system=SYSTEM)
                    await runtime.extract("candidateExtraction", prompt, schema=Described)

            started = time.perf_counter()
            async with anyio.create_task_group() as tasks:
                for number in range(EXTRACTIONS):
                    tasks.start_soon(one, number)
            took = time.perf_counter() - started
        ideal = EXTRACTIONS / AT_ONCE * LATENCY_S
    print(f"3. {EXTRACTIONS} extractions at concurrency {AT_ONCE}, {LATENCY_S} s each: {took:.2f} s")
    print(
        f"   the provider's own latency {ideal:.2f} s; the one warm-up of the cache {LATENCY_S} s; overhead beyond both {took / (ideal + LATENCY_S) - 1:.1%}"
    )


async def per_step() -> None:
    with plain_rig() as rig:
        rig.server.script(script)
        async with rig.runtime() as runtime:
            await loop(runtime)
            cpu, wall = time.process_time(), time.perf_counter()
            outcome = await runtime.loop(
                "curator", Prompt(text="Again.", system=SYSTEM), tools=tools(), step_budget=STEPS
            )
            cpu, wall = time.process_time() - cpu, time.perf_counter() - wall
    ours = wall - outcome.timings.model_s - outcome.timings.tools_s
    print(
        f"4. anthropic: {wall / STEPS * 1000:.1f} ms per step with a provider that answers at once, server in the same process"
    )
    print(
        f"   ({cpu / STEPS * 1000:.1f} ms of CPU, provider included); of it outside of model and tools {ours / STEPS * 1000:.2f} ms"
    )


async def _loop_s(rig: Rig, steps: int) -> float:
    """Give the wall time of a loop of so many steps, its runtime already open and used once."""
    rig.server.script(
        lambda request: (
            replies.text("Done.")
            if request.assistant_turns >= steps - 1
            else replies.call("look_0", table=f"t{request.assistant_turns}")
        )
    )
    async with rig.runtime() as runtime:
        times: list[float] = []
        for _ in range(2):
            started = time.perf_counter()
            outcome = await runtime.loop(
                "default", Prompt(text="Work."), tools=tools()[:1], step_budget=steps
            )
            times.append(time.perf_counter() - started)
            assert outcome.steps == steps
    return min(times)


async def every_backend() -> None:
    before = dict(os.environ)
    for name, open_rig in RIGS.items():
        try:
            with (
                tempfile.TemporaryDirectory() as folder,
                open_rig(Path(folder), os.environ.__setitem__) as rig,
            ):
                short, long = await _loop_s(rig, 2), await _loop_s(rig, STEPS)
        finally:
            os.environ.clear()
            os.environ.update(before)
        step = (long - short) / (STEPS - 2)
        print(
            f"5. {name}: {step * 1000:.1f} ms per step, {max(0.0, short - 2 * step) * 1000:.0f} ms around them per call"
        )


def main() -> None:
    for part in (billed_loop, share_read, extractions, per_step, every_backend):
        anyio.run(part)


if __name__ == "__main__":
    main()
