"""What happens in a run as it happens, one JSON line per event, in `.ktx/traces/<run>.jsonl`: stages, progress, units, tool calls.

Lines name things and count them. No prompt, no evidence, no answer of a tool and no row is in them.
"""

import json
import threading
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Final, assert_never

from ktx.events import Emit, Event, Notice, StageAdvanced, StageFinished, StageStarted, Waiting
from ktx.ingest.leaks import Secrets
from ktx.ingest.propose import UnitResult
from ktx.ingest.unit import Call

FOLDER: Final = "traces"
_ENDING: Final = ".jsonl"
_WITHHELD: Final = "withheld: it holds what looks like a secret"


@dataclass(kw_only=True)
class Trace:
    """The trace of one run, open for more lines. What cannot be written is told once and stops no run."""

    path: Path
    run: str
    source: str
    forward: Emit
    secrets: Secrets
    now: Callable[[], datetime] = lambda: datetime.now(UTC)
    _lock: threading.Lock = field(default_factory=threading.Lock, init=False, repr=False)
    _is_lost: bool = field(default=False, init=False)

    def emit(self, event: Event) -> None:
        """Write an event down, and hand it on."""
        match event:
            case StageStarted():
                self.write(event="stage-started", stage=event.stage, total=event.total)
            case StageAdvanced():
                self.write(
                    event="stage-advanced",
                    stage=event.stage,
                    done=event.done,
                    total=event.total,
                    label=event.label,
                )
            case StageFinished():
                self.write(event="stage-finished", stage=event.stage, summary=event.summary)
            case Waiting():
                self.write(event="waiting", reason=event.reason, wait_s=event.wait_s)
            case Notice():
                self.write(event="notice", message=event.message)
            case _:
                assert_never(event)
        self.forward(event)

    def call(self, unit: str, call: Call) -> None:
        """Write down that a unit's tool was called; what it was given and gave is left out."""
        self.write(
            event="tool",
            unit=unit,
            number=call.number,
            tool=call.tool,
            about=call.about,
            outcome=call.outcome,
        )

    def unit(self, result: UnitResult) -> None:
        """Write down what came of a unit."""
        self.write(
            event="unit",
            unit=result.key,
            label=result.label,
            status=result.status,
            changes=len(result.changes),
            steps=result.steps,
            input_tokens=result.input_tokens,
            output_tokens=result.output_tokens,
            cost_usd=result.cost_usd,
            seconds=round(result.seconds, 3),
            model=result.model,
        )

    def write(self, **told: str | float | None) -> None:
        """Write one line; what is None is left out, and so is text that holds a secret."""
        line: dict[str, str | float] = {
            "at": self.now().astimezone(UTC).isoformat(timespec="milliseconds"),
            "run": self.run,
            "source": self.source,
        }
        for key, value in told.items():
            if isinstance(value, str):
                if value:
                    line[key] = _WITHHELD if self.secrets.found_in(value) else value
            elif value is not None:
                line[key] = value
        reason = self._append(json.dumps(line, ensure_ascii=False))
        if reason is not None:
            self.forward(
                Notice(message=f"`{self.path}` cannot be written, so this run has no whole trace: {reason}")
            )

    def _append(self, line: str) -> str | None:
        """Add a line, and give why that failed when it does so for the first time."""
        with self._lock:
            if self._is_lost:
                return None
            try:
                with self.path.open("a", encoding="utf-8") as stream:
                    stream.write(line + "\n")
            except OSError as error:
                self._is_lost = True
                return error.strerror or str(error)
        return None


def open_trace(
    state_dir: Path, *, run: str, source: str, forward: Emit, secrets: Secrets, kept: Collection[str]
) -> Trace:
    """Begin the trace of a run, and delete those of runs that are not among `kept`."""
    folder = state_dir / FOLDER
    trace = Trace(path=trace_path(state_dir, run), run=run, source=source, forward=forward, secrets=secrets)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        trace.path.unlink(missing_ok=True)
        for path in folder.glob(f"*{_ENDING}"):
            if path.stem not in kept:
                path.unlink(missing_ok=True)
    except OSError:
        pass  # the first line that cannot be written says so
    return trace


def trace_path(state_dir: Path, run: str) -> Path:
    """Give where a run's trace lies."""
    return state_dir / FOLDER / f"{run}{_ENDING}"
