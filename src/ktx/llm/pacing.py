"""One governor per provider: how many calls run at once, when to wait, and when to try again.

Every wait is an event, so that a person sees why nothing happens. Nothing else in ktx sleeps for a provider: the SDKs' own
retries are off.
"""

import random as chance
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final, Protocol, TypeVar

import anyio

from ktx.errors import ModelError, RateLimitError
from ktx.events import Emit, Waiting, ignore
from ktx.llm.backend import RETRYABLE, Limits

_UNTOLD_WAIT_S: Final = 1.0
_PATIENT_KINDS: Final = frozenset({"rate_limited", "overloaded"})


@dataclass(frozen=True, kw_only=True)
class PacingSettings:
    """`ingest.rateLimit` as it stands in `ktx.yaml`, in seconds."""

    enabled: bool = True
    throttle_threshold: float = 0.8
    min_concurrency: int = 1
    max_wait_s: float | None = None
    max_attempts: int = 6
    base_delay_s: float = 1.0
    max_delay_s: float = 60.0
    has_jitter: bool = True


class Limited(Protocol):
    """An answer that may say how much of a rate limit is left."""

    @property
    def limits(self) -> Limits | None:
        """What is left, where the provider says so."""
        ...


Answer = TypeVar("Answer", bound=Limited)


@dataclass
class Effort:
    """What one paced call took besides the call itself."""

    retries: int = 0
    waited_s: float = 0.0


class Governor:
    """Paces the calls to one provider. Clock, sleep and chance are arguments, so that a test can own them."""

    def __init__(
        self,
        provider: str,
        settings: PacingSettings,
        *,
        emit: Emit = ignore,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[None]] = anyio.sleep,
        random: Callable[[], float] = chance.random,
    ) -> None:
        self._provider = provider
        self._settings = settings
        self._emit = emit
        self._clock = clock
        self._sleep = sleep
        self._random = random
        self._waiting: list[anyio.Event] = []
        self._running = 0
        self._peak = 1
        self._limit: int | None = None
        self._limit_ends = 0.0
        self._paused_until = 0.0

    @property
    def limit(self) -> int | None:
        """Give how many calls may run at once just now; None means that nothing holds them back."""
        return self._limit

    async def run(self, call: Callable[[], Awaitable[Answer]], effort: Effort) -> Answer:
        """Make a call when there is room, again when it fails in passing, and give its answer. Fills in `effort`.

        Raises:
            RateLimitError: the provider asks for a longer wait than `max_wait_s`.
            ModelError: the last failure, once every attempt is used up or trying again cannot help.
        """
        attempt = 1
        while True:
            await self._enter(effort)
            try:
                answer = await call()
            except ModelError as error:
                self._leave()
                wait_s = self._wait_after(error, attempt)
                if wait_s is None:
                    raise
                await self._hold_off(error, wait_s, effort)
                attempt += 1
                effort.retries += 1
                continue
            except BaseException:
                self._leave()
                raise
            self._note(answer.limits)
            self._leave()
            return answer

    def _wait_after(self, error: ModelError, attempt: int) -> float | None:
        """Give how long to wait before the next attempt, or None when there is to be none."""
        settings = self._settings
        if not settings.enabled or error.kind not in RETRYABLE or attempt >= settings.max_attempts:
            return None
        if error.retry_after_s is not None:
            if settings.max_wait_s is not None and error.retry_after_s > settings.max_wait_s:
                raise RateLimitError(
                    f"`{self._provider}` asks for a wait of {error.retry_after_s:.0f} s, more than the {settings.max_wait_s:.0f} s allowed.",
                    hint="Run again later, or raise `ingest.rateLimit.maxWaitMs`.",
                    retry_after_s=error.retry_after_s,
                    request_id=error.request_id,
                ) from error
            return error.retry_after_s
        return self.backoff_s(attempt)

    def backoff_s(self, attempt: int) -> float:
        """Give the wait after so many failed attempts: doubling, capped, and spread over its upper half."""
        settings = self._settings
        wait_s = min(settings.max_delay_s, settings.base_delay_s * 2.0 ** min(attempt - 1, 30))
        return wait_s * (0.5 + self._random() / 2) if settings.has_jitter else wait_s

    async def _hold_off(self, error: ModelError, wait_s: float, effort: Effort) -> None:
        """Wait out a failure. A provider that is short of capacity holds everybody, anything else only this call."""
        if error.kind not in _PATIENT_KINDS:
            self._emit(Waiting(reason=f"`{self._provider}`: {error.kind}, trying again", wait_s=wait_s))
            effort.waited_s += wait_s
            await self._sleep(wait_s)
            return
        until = self._clock() + wait_s
        if until > self._paused_until:
            self._paused_until = until
            self._emit(Waiting(reason=f"`{self._provider}`: {error.kind}", wait_s=wait_s))
        self._limit = max(self._settings.min_concurrency, (self._limit or self._peak) // 2)
        self._limit_ends = until + max(wait_s, _UNTOLD_WAIT_S)

    async def _enter(self, effort: Effort) -> None:
        if not self._settings.enabled:
            return
        while True:
            pause_s = self._paused_until - self._clock()
            if pause_s > 0:
                effort.waited_s += pause_s
                await self._sleep(pause_s)
            elif self._is_full():
                turn = anyio.Event()
                self._waiting.append(turn)
                await turn.wait()
            else:
                break
        self._running += 1
        self._peak = max(self._peak, self._running)

    def _is_full(self) -> bool:
        if self._limit is not None and self._clock() >= self._limit_ends:
            self._limit = None
        return self._limit is not None and self._running >= self._limit

    def _leave(self) -> None:
        """Make room and let everybody who waits look again; whoever runs is always one who will come by here."""
        if not self._settings.enabled:
            return
        self._running -= 1
        waiting, self._waiting = self._waiting, []
        for turn in waiting:
            turn.set()

    def _note(self, limits: Limits | None) -> None:
        """Let fewer calls run the closer a limit comes: all of them at the threshold, the minimum when nothing is left."""
        settings = self._settings
        if not settings.enabled or limits is None:
            return
        used = 1 - limits.remaining_share
        if used < settings.throttle_threshold:
            if self._clock() >= self._limit_ends or self._limit is None:
                self._limit = None
            return
        room = (1 - used) / (1 - settings.throttle_threshold) if settings.throttle_threshold < 1 else 0.0
        self._limit = max(settings.min_concurrency, round(self._peak * room))
        self._limit_ends = self._clock() + (limits.resets_in_s if limits.resets_in_s is not None else 60.0)
