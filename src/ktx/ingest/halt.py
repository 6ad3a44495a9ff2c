"""Stopping an ingest from outside: what a model works on is cancelled at once, and no further stage begins.

The stop button is the caller's (`ktx.warehouse.stop.stoppable`); without one nothing here does anything.
"""

from collections.abc import Awaitable, Callable
from typing import Final, TypeVar

import anyio

from ktx.errors import KtxError, OutsideError
from ktx.llm.running import run_work
from ktx.warehouse.stop import Stop, current_stop

Given = TypeVar("Given")
_LOOK_EVERY_S: Final = 0.1


def ensure_going() -> None:
    """Do nothing unless the caller's button was pressed.

    Raises:
        OutsideError: it was.
    """
    stop = current_stop()
    if stop is not None and stop.is_pressed:
        raise _stopped()


def run_async(work: Callable[[], Awaitable[Given]]) -> Given:
    """Run asynchronous work to its end, or until the caller's button is pressed.

    Raises:
        OutsideError: it was stopped.
    """
    return run_work(lambda: _watched(work))


async def _watched(work: Callable[[], Awaitable[Given]]) -> Given:
    stop = current_stop()
    if stop is None:
        return await work()
    given: list[Given] = []
    failure: KtxError | None = None
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(_watch, stop, tasks.cancel_scope)
        try:
            given.append(await work())
        except KtxError as error:  # kept out of the group, which would wrap it
            failure = error
        tasks.cancel_scope.cancel()
    if failure is not None:
        raise failure
    if not given:
        raise _stopped()
    return given[0]


async def _watch(stop: Stop, scope: anyio.CancelScope) -> None:
    while not stop.is_pressed:  # noqa: ASYNC110 - it is pressed in another thread, which no event of this loop hears
        await anyio.sleep(_LOOK_EVERY_S)
    scope.cancel()


def _stopped() -> OutsideError:
    return OutsideError(
        "The run was stopped before it was done.",
        hint="Start it again: answers of a model that were paid for are not asked again.",
    )
