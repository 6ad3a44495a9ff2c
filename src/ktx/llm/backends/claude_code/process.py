"""One `claude` program: started with an environment that ktx chose, spoken to in lines of JSON, and never left behind."""

import json
import os
import signal
import sys
import tempfile
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from subprocess import PIPE
from typing import IO, Final, cast

import anyio
import anyio.abc
from anyio.streams.buffered import BufferedByteReceiveStream
from claude_agent_sdk import CLIConnectionError, CLINotFoundError, ProcessError, Transport

Frame = dict[str, object]
"""One line that the program writes, decoded."""

_MAX_LINE_BYTES: Final = 32 * 1024 * 1024
_LAST_WORDS_BYTES: Final = 2_000
_LEAVE_S: Final = 3.0
_DEAD_S: Final = 2.0
_LAUNCHER: Final = Path(__file__).with_name("launch.py")


class ClaudeProcess(Transport):
    """The transport that the SDK speaks through.

    `on_frame` sees every frame before the SDK does and drops it by returning False, so that counting comes before any tool
    call that follows from it.
    """

    def __init__(
        self,
        command: Sequence[str],
        *,
        environment: Mapping[str, str],
        cwd: Path,
        on_frame: Callable[[Frame], bool],
    ) -> None:
        self._command = tuple(command)
        self._environment = dict(environment)
        self._cwd = cwd
        self._on_frame = on_frame
        self._process: anyio.abc.Process | None = None
        self._lifeline: int | None = None
        self._is_closing = False
        self._closed = anyio.Event()
        self._writing = anyio.Lock()
        self._stderr: IO[bytes] | None = None
        self._last_words = ""

    def last_words(self) -> str:
        """Give the end of what the program wrote beside its protocol, on one line."""
        if self._stderr is not None:
            size = self._stderr.seek(0, os.SEEK_END)
            self._stderr.seek(max(0, size - _LAST_WORDS_BYTES))
            self._last_words = " ".join(self._stderr.read().decode("utf-8", "replace").split())[-400:]
        return self._last_words

    async def connect(self) -> None:
        """Start the program.

        Raises:
            CLINotFoundError: there is no such program.
            CLIConnectionError: it cannot be started.
        """
        if not os.access(self._command[0], os.X_OK):
            raise CLINotFoundError("there is no such program, or it may not be run")
        command, pass_fds = self._watched()
        self._stderr = tempfile.TemporaryFile()  # noqa: SIM115 - closed with the process
        try:
            self._process = await anyio.open_process(
                command,
                stdin=PIPE,
                stdout=PIPE,
                stderr=self._stderr,
                cwd=self._cwd,
                env={**self._environment, "PWD": str(self._cwd)},
                start_new_session=True,
                pass_fds=pass_fds,
            )
        except OSError as error:
            raise CLIConnectionError(f"`claude` could not be started: {error.strerror}") from error
        finally:
            for descriptor in pass_fds:
                os.close(descriptor)

    def _watched(self) -> tuple[list[str], tuple[int, ...]]:
        """Put the watcher before the command; its lifeline is a pipe where the kernel does not watch for us."""
        if sys.platform == "win32" or not sys.executable:
            return list(self._command), ()
        lifeline, pass_fds = "-1", tuple[int, ...]()
        if not sys.platform.startswith("linux"):
            reading, self._lifeline = os.pipe()
            lifeline, pass_fds = str(reading), (reading,)
        watcher = [sys.executable, "-I", "-S", str(_LAUNCHER), str(os.getpid()), lifeline]
        return [*watcher, *self._command], pass_fds

    async def write(self, data: str) -> None:
        """Send one line.

        Raises:
            CLIConnectionError: the program has gone.
        """
        process = self._process
        async with self._writing:
            if process is None or process.stdin is None:
                raise CLIConnectionError("`claude` is not running")
            try:
                await process.stdin.send(data.encode("utf-8", "replace"))
            except (anyio.BrokenResourceError, anyio.ClosedResourceError, OSError) as error:
                raise CLIConnectionError("`claude` ended while it was being spoken to") from error

    async def end_input(self) -> None:
        """Tell the program that nothing more will be said."""
        if self._process and self._process.stdin:
            async with self._writing:
                with suppress(OSError, anyio.BrokenResourceError):
                    await self._process.stdin.aclose()

    def read_messages(self) -> AsyncIterator[dict[str, object]]:
        """Give the frames that `on_frame` lets through.

        Raises:
            ProcessError: the program ended with an error.
        """
        return self._frames()

    async def _frames(self) -> AsyncIterator[Frame]:
        process = self._process
        if process is None or process.stdout is None:
            raise CLIConnectionError("`claude` is not running")
        lines = BufferedByteReceiveStream(process.stdout)
        with suppress(anyio.EndOfStream, anyio.ClosedResourceError, anyio.IncompleteRead):
            while True:
                line = await lines.receive_until(b"\n", _MAX_LINE_BYTES)
                frame = _decoded(line)
                if frame is not None and self._on_frame(frame):
                    yield frame
        code = await process.wait()
        if code:
            raise ProcessError("`claude` ended with an error", exit_code=code)

    def kill(self) -> None:
        """End the program and everything it started, at once. Safe at any time, from any path."""
        process = self._process
        if process is None or process.returncode is not None:
            return
        if sys.platform == "win32":
            process.kill()
            return
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, signal.SIGKILL)

    async def close(self) -> None:
        """Let the program leave by itself for a moment, then end it. A second call waits for the first."""
        if self._is_closing:
            await self._closed.wait()
            return
        self._is_closing = True
        with anyio.CancelScope(shield=True):
            try:
                await self._leave()
            finally:
                self._process = None
                if self._lifeline is not None:
                    os.close(self._lifeline)
                    self._lifeline = None
                if self._stderr is not None:
                    self.last_words()
                    self._stderr.close()
                    self._stderr = None
                self._closed.set()

    async def _leave(self) -> None:
        process = self._process
        if process is None:
            return
        try:
            with anyio.move_on_after(_LEAVE_S):
                await self.end_input()
                await process.wait()
        finally:
            self.kill()
            with anyio.move_on_after(_DEAD_S):
                await process.wait()
            with suppress(OSError, anyio.BrokenResourceError):
                await process.aclose()

    async def wait_closed(self) -> None:
        """Wait until the program is gone and everything of it is let go."""
        await self._closed.wait()

    def is_ready(self) -> bool:
        """Tell whether the program can be spoken to."""
        return self._process is not None and self._process.returncode is None


def _decoded(line: bytes) -> Frame | None:
    """Decode a frame; other output, which some builds mix in, is None."""
    if not line.startswith(b"{"):
        return None
    try:
        value: object = json.loads(line)
    except ValueError:
        return None
    return cast("Frame", value) if isinstance(value, dict) else None
