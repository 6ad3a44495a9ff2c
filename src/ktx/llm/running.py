"""Asynchronous work from synchronous code: the one bridge, which never loses a Ctrl-C."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

import anyio

Given = TypeVar("Given")


def run_work(work: Callable[[], Awaitable[Given]]) -> Given:
    """Run asynchronous work to its end.

    Raises:
        KeyboardInterrupt: Ctrl-C was pressed, also when the work was just about to be done: asyncio cancels the task at its next wait,
            and a task without another one would go on as if nothing had happened.
    """

    async def watched() -> Given:
        given = await work()
        task = asyncio.current_task()
        if task is not None and task.cancelling():
            raise asyncio.CancelledError
        return given

    return anyio.run(watched)
