"""One `codex app-server` program, spoken to in lines of JSON-RPC over its own pipes.

The program ends by itself when its standard input closes, so it cannot outlive the process that started it; on every other path
its process group is killed.
"""

import json
import os
import signal
import sys
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from subprocess import PIPE
from typing import Final, cast

import anyio
import anyio.abc
from anyio.streams.buffered import BufferedByteReceiveStream

from ktx.errors import ModelError
from ktx.llm.backends.codex.groups import task_group
from ktx.version import __version__

Json = dict[str, object]

_MAX_LINE_BYTES: Final = 64 * 1024 * 1024
_LEAVE_S: Final = 2.0
_STDERR_LINES: Final = 20


class AppServer:
    """The talking side of a running program. One task at a time may wait for messages."""

    def __init__(self, process: anyio.abc.Process) -> None:
        self._process = process
        if process.stdin is None or process.stdout is None:
            raise RuntimeError("the program was started without pipes")
        self._stdin = process.stdin
        self._lines = BufferedByteReceiveStream(process.stdout)
        self._waiting: deque[Json] = deque()
        self._last_id = 0
        self.stderr: deque[str] = deque(maxlen=_STDERR_LINES)

    async def request(self, method: str, params: Json) -> Json:
        """Ask and wait for the answer; notifications that come in between are kept for `notifications`.

        Raises:
            ModelError: the program answered with an error, or has gone.
        """
        self._last_id += 1
        await self._write({"id": self._last_id, "method": method, "params": params})
        while True:
            message = await self._read()
            if message.get("id") != self._last_id or "method" in message:
                self._waiting.append(message)
                continue
            if "error" in message:
                problem = as_object(message["error"]).get("message")
                raise ModelError(
                    f"Codex refused `{method}`: {str(problem)[:500]}",
                    kind="bad_request",
                )
            return as_object(message.get("result"))

    async def notify(self, method: str, params: Json | None = None) -> None:
        """Say something that has no answer."""
        await self._write({"method": method} if params is None else {"method": method, "params": params})

    async def ask_without_waiting(self, method: str, params: Json) -> None:
        """Ask something whose answer nobody needs."""
        self._last_id += 1
        await self._write({"id": self._last_id, "method": method, "params": params})

    async def notifications(self) -> AsyncIterator[tuple[str, Json]]:
        """Give notifications as they come. Whatever the program asks for is declined: a run needs no approval.

        Raises:
            ModelError: the program has gone.
        """
        while True:
            message = self._waiting.popleft() if self._waiting else await self._read()
            method = message.get("method")
            if not isinstance(method, str):
                continue
            if "id" in message:
                await self._decline(message["id"], method)
            yield method, as_object(message.get("params"))

    async def _decline(self, request_id: object, method: str) -> None:
        if method.endswith("requestApproval") or method in {"applyPatchApproval", "execCommandApproval"}:
            await self._write({"id": request_id, "result": {"decision": "decline"}})
        else:
            error = {"code": -32601, "message": "not offered by this client"}
            await self._write({"id": request_id, "error": error})

    async def _write(self, message: Json) -> None:
        try:
            await self._stdin.send(json.dumps(message, ensure_ascii=False).encode("utf-8", "replace") + b"\n")
        except (anyio.BrokenResourceError, anyio.ClosedResourceError, OSError) as error:
            raise self._gone() from error

    async def _read(self) -> Json:
        while True:
            try:
                line = await self._lines.receive_until(b"\n", _MAX_LINE_BYTES)
            except (anyio.EndOfStream, anyio.IncompleteRead, anyio.ClosedResourceError) as error:
                raise self._gone() from error
            except anyio.DelimiterNotFound as error:
                raise ModelError("Codex sent a line too long to be read.", kind="garbled") from error
            with suppress(ValueError):
                message: object = json.loads(line)
                if isinstance(message, dict):
                    return cast("Json", message)

    def _gone(self) -> ModelError:
        return ModelError(
            "The `codex` program ended in the middle of a run.",
            hint="Run `ktx llm check` to see whether it starts at all.",
            kind="connection",
        )


@asynccontextmanager
async def app_server(
    program: Path, *, environment: Mapping[str, str], cwd: Path
) -> AsyncGenerator[AppServer]:
    """Start the program, shake hands, and end it afterwards, also when the block is cancelled.

    Raises:
        ModelError: it cannot be started.
    """
    try:
        process = await anyio.open_process(
            [str(program), "app-server"],
            stdin=PIPE,
            stdout=PIPE,
            stderr=PIPE,
            cwd=cwd,
            env=dict(environment),
            start_new_session=True,
        )
    except OSError as error:
        raise ModelError(
            f"The `codex` program at `{program}` cannot be started: {error.strerror}.", kind="connection"
        ) from error
    try:
        async with task_group() as tasks:
            server = AppServer(process)
            if process.stderr is not None:
                tasks.start_soon(_keep, process.stderr, server.stderr)
            await server.request(
                "initialize",
                {
                    "clientInfo": {"name": "ktx", "title": "ktx", "version": __version__},
                    "capabilities": {"experimentalApi": True},
                },
            )
            await server.notify("initialized")
            yield server
            tasks.cancel_scope.cancel()
    finally:
        with anyio.CancelScope(shield=True):
            await _end(process)


async def _end(process: anyio.abc.Process) -> None:
    """Close its input, which is its sign to leave; kill what has not left in time."""
    if process.stdin is not None:
        with suppress(OSError, anyio.BrokenResourceError):
            await process.stdin.aclose()
    with anyio.move_on_after(0.2):
        await process.wait()
    if process.returncode is None:
        _kill(process)
        with anyio.move_on_after(_LEAVE_S):
            await process.wait()
    await process.aclose()


def _kill(process: anyio.abc.Process) -> None:
    if sys.platform == "win32":
        process.kill()
        return
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)


async def _keep(stream: anyio.abc.ByteReceiveStream, lines: deque[str]) -> None:
    buffered = BufferedByteReceiveStream(stream)
    with suppress(
        anyio.EndOfStream, anyio.ClosedResourceError, anyio.IncompleteRead, anyio.DelimiterNotFound
    ):
        while True:
            lines.append((await buffered.receive_until(b"\n", 65_536)).decode("utf-8", "replace")[:500])


def as_object(value: object) -> Json:
    """Give a decoded JSON object, or an empty one when it is something else."""
    return cast("Json", value) if isinstance(value, dict) else {}
