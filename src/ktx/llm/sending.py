"""One request on its way: warm-up, budget, pacing, ledger, record and trace, in this order, for every backend alike."""

import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime

import anyio

from ktx.errors import ModelError
from ktx.llm.backend import Backend, BilledError, Outcome, Probe, Reply, Request, Step
from ktx.llm.budget import Budget, Hold
from ktx.llm.caching import CachePlan, prefix_name, prompt_chars, shared_part
from ktx.llm.ledger import Entry, Ledger
from ktx.llm.memory import ReplyMemory
from ktx.llm.messages import Usage
from ktx.llm.models import SAFE_CACHE_MINIMUM, cache_minimum_tokens, estimated_tokens
from ktx.llm.pacing import Effort, Governor
from ktx.llm.prices import cost_usd
from ktx.llm.record import Recorder
from ktx.llm.trace import note_answer, note_failure, span


@dataclass(frozen=True, kw_only=True)
class Job:
    """For whom a request is sent; for the ledger, the trace and the record. `memory` holds what was paid for before."""

    role: str
    task: str = ""
    memory: ReplyMemory | None = None


@dataclass
class _Warmth:
    """A shared prefix at one provider: whether somebody is writing it, and until when it can be read."""

    writing: anyio.Event | None = None
    warm_until: float = 0.0


class WarmUps:
    """Lets the first of many calls with one prefix write it to the cache, while the others wait to read it."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._by_prefix: dict[str, _Warmth] = {}

    async def enter(self, prefix: str) -> bool:
        """Wait while somebody else writes the prefix; give whether the caller is now the one to write it."""
        warmth = self._by_prefix.setdefault(prefix, _Warmth())
        while warmth.warm_until <= self._clock():
            if warmth.writing is None:
                warmth.writing = anyio.Event()
                return True
            await warmth.writing.wait()
        return False

    def is_warm(self, prefix: str, *, seconds: float) -> None:
        """Say that the prefix can be read from now on, for so long after its last use."""
        warmth = self._by_prefix.setdefault(prefix, _Warmth())
        warmth.warm_until = self._clock() + seconds
        self.leave(prefix)

    def leave(self, prefix: str) -> None:
        """Stop writing, whatever came of it."""
        warmth = self._by_prefix.get(prefix)
        if warmth is not None and warmth.writing is not None:
            warmth.writing.set()
            warmth.writing = None


_LIFETIME_S = {"5m": 300.0, "1h": 3600.0}
_MARGIN_S = 20.0


@dataclass
class _Trip:
    """What is known of one request while it is under way."""

    started: float
    usage: Usage = field(default_factory=Usage)
    effort: Effort = field(default_factory=Effort)


class Sender:
    """Sends requests of one run. Everything that outlives a request (budget, ledger, governors, warm prefixes) is shared."""

    def __init__(
        self,
        *,
        run: str,
        budget: Budget,
        ledger: Ledger | None,
        recorder: Recorder | None,
        governor: Callable[[str], Governor],
        clock: Callable[[], float] = time.monotonic,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._run = run
        self._budget = budget
        self._ledger = ledger
        self._recorder = recorder
        self._governor = governor
        self._clock = clock
        self._now = now
        self._warm_ups = WarmUps(clock)

    async def send(self, backend: Backend, request: Request, job: Job) -> Reply:
        """Send one request and write down what came of it.

        Raises:
            ModelError: what the backend raised, or a spent budget.
        """
        if job.memory is None:
            return await self._warm(backend, request, job)
        reply = job.memory.recall(request, backend=backend.name)
        if reply is None:
            reply = await self._warm(backend, request, job)
            if reply.stop_reason != "refusal":  # another try may be answered
                job.memory.keep(request, reply, backend=backend.name)
        return reply

    async def _warm(self, backend: Backend, request: Request, job: Job) -> Reply:
        prefix = self._prefix(backend, request)
        if prefix is None:
            return await self._send(backend, request, job)
        seconds = _LIFETIME_S[_shortest_ttl(request.cache_plan)] - _MARGIN_S
        is_writer = await self._warm_ups.enter(prefix)

        def on_begin(_: Usage) -> None:
            self._warm_ups.is_warm(prefix, seconds=seconds)

        try:
            return await self._send(backend, replace(request, on_begin=on_begin), job)
        finally:
            if is_writer:
                self._warm_ups.leave(prefix)

    async def probe(self, backend: Backend, model: str, job: Job) -> Probe:
        """Probe a model, once and without pacing, and write down what it took.

        Raises:
            ModelError: what is missing.
        """
        trip = _Trip(started=self._clock())
        try:
            probe = await backend.probe(model)
        except ModelError as error:
            self._write(job, backend=backend.name, model=model, usage=Usage(), outcome=error.kind, trip=trip)
            raise
        cost = probe.cost_usd if probe.cost_usd is not None else cost_usd(model, probe.usage)
        self._write(
            job,
            backend=backend.name,
            model=model,
            usage=probe.usage,
            outcome="ok",
            cost=cost,
            trip=trip,
            request_id=probe.request_id,
        )
        return probe

    def _prefix(self, backend: Backend, request: Request) -> str | None:
        """Name the prefix worth a warm-up: one that others may share and that is long enough to be cached."""
        plan = request.cache_plan
        if not backend.capabilities.has_cache_breakpoints or plan == CachePlan() or len(request.messages) > 1:
            return None
        minimum = cache_minimum_tokens(request.model) or SAFE_CACHE_MINIMUM
        shared = shared_part(request.messages)
        if estimated_tokens(prompt_chars(request.system, request.tools, shared)) < minimum:
            return None
        name = prefix_name(
            request.model,
            system=request.system,
            tools=request.tools,
            messages=shared,
            shape=[request.schema, request.forced_tool, request.effort],
        )
        return f"{backend.name}:{name}"

    async def _send(self, backend: Backend, request: Request, job: Job) -> Reply:
        most = Usage(
            uncached_input_tokens=estimated_tokens(request_chars(request)),
            output_tokens=request.max_output_tokens,
        )
        with self._budget.hold(request.model, most) as hold, self._trip(backend, request, job) as trip:
            begun = request.on_begin

            def on_begin(usage: Usage) -> None:
                trip.usage = usage
                if begun is not None:
                    begun(usage)

            async def attempt() -> Reply:
                trip.usage = Usage()
                try:
                    return await backend.send(replace(request, on_begin=on_begin))
                except BilledError as error:
                    self._write_down_failure(backend, request, job, hold, error)
                    trip.usage = Usage()
                    raise

            with span("chat", backend=backend.name, model=request.model, role=job.role) as opened:
                try:
                    reply = await self._governor(backend.name).run(attempt, trip.effort)
                except ModelError as error:
                    note_failure(opened, error.kind)
                    raise
                note_answer(opened, reply)
            trip.usage = Usage()
            cost = reply.cost_usd if reply.cost_usd is not None else cost_usd(request.model, reply.usage)
            self._budget.charge(hold, request.model, reply.usage, cost)
            self._write(
                job,
                backend=backend.name,
                model=request.model,
                usage=reply.usage,
                outcome=_outcome(reply),
                requests=reply.requests,
                cost=cost,
                trip=trip,
                request_id=reply.request_id,
            )
            self._record(request, reply, job, backend)
            return reply

    def _write_down_failure(
        self, backend: Backend, request: Request, job: Job, hold: Hold, error: BilledError
    ) -> None:
        """Write the bill of an attempt that failed half-way: it is paid for, also when the next attempt succeeds."""
        self._budget.charge(hold, request.model, error.usage)
        self._write(
            job,
            backend=backend.name,
            model=request.model,
            usage=error.usage,
            outcome=error.kind,
            cost=cost_usd(request.model, error.usage),
            request_id=error.request_id,
        )

    @contextmanager
    def _trip(self, backend: Backend, request: Request, job: Job) -> Generator[_Trip, None, None]:
        """Write down a request that ends without an answer."""
        trip = _Trip(started=self._clock())
        try:
            yield trip
        except BilledError as error:  # its bill is written already
            self._record(request, error, job, backend)
            raise
        except ModelError as error:
            self._write(
                job,
                backend=backend.name,
                model=request.model,
                usage=Usage(),
                outcome=error.kind,
                trip=trip,
                request_id=error.request_id,
            )
            self._record(request, error, job, backend)
            raise
        except BaseException:  # cancelled: what was begun is billed
            self._write(
                job,
                backend=backend.name,
                model=request.model,
                usage=trip.usage,
                outcome="cancelled",
                cost=cost_usd(request.model, trip.usage) if trip.usage != Usage() else None,
                trip=trip,
            )
            self._record(request, None, job, backend)
            raise

    @contextmanager
    def loop(self, backend: Backend, request: Request, job: Job) -> Generator["LoopWatch", None, None]:
        """Watch a loop that a backend runs itself: keep it within the budget, and write down its whole bill at the end."""
        first = Usage(
            uncached_input_tokens=estimated_tokens(request_chars(request)),
            output_tokens=request.max_output_tokens,
        )
        trip = _Trip(started=self._clock())
        with self._budget.hold(request.model, first) as hold:
            watch = LoopWatch(budget=self._budget, hold=hold, model=request.model)
            outcome = "ok"
            failure: ModelError | None = None
            try:
                with span("invoke_agent", backend=backend.name, model=request.model, role=job.role) as opened:
                    try:
                        yield watch
                    except ModelError as error:
                        note_failure(opened, error.kind)
                        raise
                    if watch.outcome is not None:
                        note_answer(opened, watch.outcome)
            except ModelError as error:
                outcome, failure = error.kind, error
                raise
            except BaseException:
                outcome = "cancelled"
                raise
            finally:
                self._finish_loop(backend, request, job, hold, watch, trip, outcome, failure)

    def _finish_loop(
        self,
        backend: Backend,
        request: Request,
        job: Job,
        hold: Hold,
        watch: "LoopWatch",
        trip: _Trip,
        outcome: str,
        failure: ModelError | None,
    ) -> None:
        usage = watch.outcome.usage if watch.outcome else watch.usage
        known = watch.outcome.cost_usd if watch.outcome else None
        cost = known if known is not None else cost_usd(request.model, usage)
        hold.spent_tokens, hold.spent_usd = 0, 0.0
        self._budget.charge(hold, request.model, usage, cost)
        self._write(
            job,
            backend=backend.name,
            model=request.model,
            usage=usage,
            outcome=outcome,
            requests=watch.outcome.steps if watch.outcome else watch.steps,
            cost=cost if usage != Usage() else None,
            trip=trip,
            request_id=watch.outcome.request_id
            if watch.outcome
            else (failure.request_id if failure else None),
        )

    def _write(
        self,
        job: Job,
        *,
        backend: str,
        model: str,
        usage: Usage,
        outcome: str,
        requests: int = 1,
        cost: float | None = None,
        trip: _Trip | None = None,
        request_id: str | None = None,
    ) -> None:
        if self._ledger is None:
            return
        self._ledger.add(
            Entry(
                at=self._now(),
                run=self._run,
                role=job.role,
                task=job.task,
                backend=backend,
                model=model,
                usage=usage,
                outcome=outcome,
                requests=requests,
                cost_usd=cost,
                duration_s=self._clock() - trip.started if trip else 0.0,
                retries=trip.effort.retries if trip else 0,
                waited_s=trip.effort.waited_s if trip else 0.0,
                request_id=request_id,
            )
        )

    def _record(
        self, request: Request, answer: Reply | ModelError | None, job: Job, backend: Backend
    ) -> None:
        if self._recorder is not None:
            self._recorder.write(request, answer, role=job.role, task=job.task, backend=backend.name)


class LoopWatch:
    """Told of every step of a backend's own loop."""

    def __init__(self, *, budget: Budget, hold: Hold, model: str) -> None:
        self._budget = budget
        self._hold = hold
        self._model = model
        self.usage = Usage()
        self.steps = 0
        self.outcome: Outcome | None = None

    def __call__(self, step: Step) -> None:
        """Count a step and check that another one fits.

        Raises:
            BudgetError: it does not.
        """
        self.steps += 1
        self.usage += step.usage
        self._budget.charge(self._hold, self._model, step.usage)
        self._budget.ensure_room_for_another(self._hold, self._model, step.usage)


def request_chars(request: Request) -> int:
    """Count the characters of everything that is sent."""
    return prompt_chars(request.system, request.tools, request.messages) + len(str(request.schema or ""))


def _outcome(reply: Reply) -> str:
    match reply.stop_reason:
        case "refusal":
            return "refused"
        case "max_tokens":
            return "truncated"
        case "context_full":
            return "context_too_long"
        case _:
            return "ok"


def _shortest_ttl(plan: CachePlan) -> str:
    ttls = [ttl for ttl in (plan.tools, plan.system, *(mark.ttl for mark in plan.history)) if ttl is not None]
    return "5m" if "5m" in ttls else "1h"
