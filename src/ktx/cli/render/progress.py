"""Long work on stderr: a moving bar on a terminal, one plain line per step elsewhere."""

import sys
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import assert_never

from ktx.cli.render.narrate import is_coloured, say
from ktx.events import Emit, Event, Notice, StageAdvanced, StageFinished, StageStarted, Waiting


@contextmanager
def drawn_events(*, is_plain: bool = False) -> Generator[Emit]:
    """Give a function that draws events while the block runs.

    On a terminal each stage has a bar with counts, rate and time left; elsewhere, or when `is_plain`, each stage is one
    line when it ends, and nothing is drawn over.
    """
    if is_plain or not sys.stderr.isatty():
        yield _plain(time.monotonic)
        return
    with _bars() as emit:
        yield emit


def say_event(event: Event) -> None:
    """Write a wait or a notice as a line and pass over stages: for work too short for a bar."""
    match event:
        case Waiting():
            say(f"waiting {event.wait_s:.0f} s: {event.reason}")
        case Notice():
            say(event.message)
        case StageStarted() | StageAdvanced() | StageFinished():
            pass
        case _:
            assert_never(event)


def _plain(clock: Callable[[], float]) -> Emit:
    started_at: dict[str, float] = {}
    reached: dict[str, tuple[int, int | None]] = {}

    def emit(event: Event) -> None:
        match event:
            case StageStarted():
                started_at[event.stage] = clock()
                reached[event.stage] = (0, event.total)
            case StageAdvanced():
                _, total = reached.get(event.stage, (0, None))
                reached[event.stage] = (event.done, event.total or total)
            case StageFinished():
                took_s = clock() - started_at.pop(event.stage, clock())
                done, total = reached.pop(event.stage, (0, None))
                count = f" {done}/{total}" if total else (f" {done}" if done else "")
                summary = f": {event.summary}" if event.summary else ""
                say(f"{event.stage}{count} ({took_s:.1f} s){summary}")
            case _:
                say_event(event)

    return emit


@contextmanager
def _bars() -> Generator[Emit]:
    # rich is imported where a terminal needs it, and nowhere else.
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        ProgressColumn,
        SpinnerColumn,
        Task,
        TaskID,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )
    from rich.text import Text

    class Rate(ProgressColumn):
        """Finished units per second."""

        def render(self, task: Task) -> Text:
            """Render the rate, once there is one."""
            speed = task.finished_speed or task.speed
            return Text(f"{speed:.1f}/s" if speed else "")

    console = Console(file=sys.stderr, no_color=not is_coloured(sys.stderr), highlight=False)
    columns = (
        SpinnerColumn(), TextColumn("{task.description}"), BarColumn(bar_width=24), MofNCompleteColumn(), Rate(),
        TimeElapsedColumn(), TimeRemainingColumn(), TextColumn("{task.fields[label]}", markup=False),
    )  # fmt: skip
    with Progress(*columns, console=console, transient=True) as progress:
        tasks: dict[str, TaskID] = {}

        def task(stage: str) -> TaskID:
            if stage not in tasks:
                tasks[stage] = progress.add_task(stage, total=None, label="")
            return tasks[stage]

        def emit(event: Event) -> None:
            match event:
                case StageStarted():
                    progress.update(task(event.stage), total=event.total)
                case StageAdvanced():
                    bar = task(event.stage)
                    progress.update(bar, total=event.total, completed=event.done, label=event.label)
                case StageFinished():
                    took_s = progress.tasks[progress.task_ids.index(task(event.stage))].elapsed or 0.0
                    progress.remove_task(tasks.pop(event.stage))
                    summary = f": {event.summary}" if event.summary else ""
                    progress.console.print(Text(f"{event.stage} ({took_s:.1f} s){summary}"))
                case Waiting():
                    progress.console.print(Text(f"waiting {event.wait_s:.0f} s: {event.reason}"))
                case Notice():
                    progress.console.print(Text(event.message))
                case _:
                    assert_never(event)

        yield emit
