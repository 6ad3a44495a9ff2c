"""`ktx` commands as processes of their own that pay for the imports once: a program that forks for each."""

import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

_PROGRAM = """\
import json, os, signal, sys
import anthropic, duckdb, filelock, sqlglot
import ktx.cli.commands.ingest, ktx.ingest.run, ktx.llm.backends.anthropic, ktx.llm.connect, ktx.sources.dbt.source
import ktx.warehouse.drivers.sqlite
from ktx.cli.run import run
for line in sys.stdin:
    asked = json.loads(line)
    if "wait" in asked:
        print(os.waitpid(asked["wait"], 0)[1], flush=True)
        continue
    child = os.fork()
    if child == 0:
        os.environ.update(asked["environment"])
        for place in (1, 2):
            os.dup2(os.open(asked["output"], os.O_WRONLY | os.O_CREAT | os.O_APPEND), place)
        if asked["max_file_bytes"]:
            import resource
            signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
            resource.setrlimit(resource.RLIMIT_FSIZE, (asked["max_file_bytes"],) * 2)
        code = run(asked["arguments"])
        sys.stdout.flush()
        os._exit(code)
    print(child, flush=True)
"""


@dataclass(frozen=True, kw_only=True)
class Ended:
    """How a command ended: its exit code, or minus the signal that killed it, and what it said."""

    code: int
    said: str


@dataclass(kw_only=True)
class Running:
    """A command at work."""

    pid: int
    output: Path
    forker: "Forker"

    def kill(self) -> None:
        """Kill it, if it is still there; what it started itself goes on."""
        os.kill(self.pid, signal.SIGKILL)

    def kill_after(self, seconds: float) -> "Running":
        """Kill it in a while; a command that has ended by then is a child not waited for, so its number is nobody else's."""
        timer = threading.Timer(seconds, self.kill)
        timer.daemon = True
        self.forker.timers[self.pid] = timer
        timer.start()
        return self

    def wait(self) -> Ended:
        """Wait for the end."""
        status = self.forker.ask({"wait": self.pid})
        timer = self.forker.timers.pop(self.pid, None)
        if timer is not None:
            timer.cancel()
        said = self.output.read_text(errors="replace") if self.output.exists() else ""
        code = os.waitstatus_to_exitcode(status)
        return Ended(code=code, said=said)


class Forker:
    """The program that forks."""

    def __init__(self, program: "subprocess.Popen[str]", folder: Path) -> None:
        self._program = program
        self._folder = folder
        self._count = 0
        self.timers: dict[int, threading.Timer] = {}

    def ask(self, what: Mapping[str, object]) -> int:
        """Send one request and read the number that answers it."""
        assert self._program.stdin
        assert self._program.stdout
        print(json.dumps(what), file=self._program.stdin, flush=True)
        return int(self._program.stdout.readline())

    def start(
        self,
        arguments: Sequence[object],
        *,
        environment: Mapping[str, str] | None = None,
        max_file_bytes: int = 0,
    ) -> Running:
        """Start `ktx ARGUMENTS`."""
        self._count += 1
        output = self._folder / f"{self._count}.txt"
        pid = self.ask(
            {
                "arguments": [str(one) for one in arguments],
                "environment": dict(environment or {}),
                "output": str(output),
                "max_file_bytes": max_file_bytes,
            }
        )
        return Running(pid=pid, output=output, forker=self)


@contextmanager
def open_forker() -> Iterator[Forker]:
    """Give the program for the time of the block."""
    with (
        tempfile.TemporaryDirectory() as folder,
        subprocess.Popen(
            [sys.executable, "-c", _PROGRAM], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        ) as program,
    ):
        try:
            yield Forker(program, Path(folder))
        finally:
            assert program.stdin
            program.stdin.close()
            program.wait(timeout=30)
