"""Progress as values. Work emits events; only a front end draws them."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias


@dataclass(frozen=True, kw_only=True)
class StageStarted:
    """A stage begins; `total` counts its units when that is known."""

    stage: str
    total: int | None = None


@dataclass(frozen=True, kw_only=True)
class StageAdvanced:
    """`done` units of a stage are finished; `label` names the latest."""

    stage: str
    done: int
    total: int | None = None
    label: str = ""


@dataclass(frozen=True, kw_only=True)
class StageFinished:
    """A stage is over; `summary` is one plain line."""

    stage: str
    summary: str = ""


@dataclass(frozen=True, kw_only=True)
class Waiting:
    """Work is paused on purpose, for instance because a provider asked for it."""

    reason: str
    wait_s: float


@dataclass(frozen=True, kw_only=True)
class Notice:
    """Something a person should see while the work goes on."""

    message: str


Event: TypeAlias = StageStarted | StageAdvanced | StageFinished | Waiting | Notice
Emit: TypeAlias = Callable[[Event], None]


def ignore(event: Event) -> None:
    """Drop an event: the default where nobody watches."""
    del event
