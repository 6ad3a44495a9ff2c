"""What one check of `ktx status` is given and gives."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, TypeAlias

from ktx.config.model import KtxConfig
from ktx.findings import Finding
from ktx.project import Project

Status: TypeAlias = Literal["pass", "warn", "fail", "skip"]
Capability: TypeAlias = Literal["search", "query", "ingest"]
CAPABILITIES: tuple[Capability, ...] = ("search", "query", "ingest")


@dataclass(frozen=True, kw_only=True)
class Check:
    """The outcome of one check: `skip` means that nobody looked.

    A failed check blocks the capabilities in `needed_by`; `subject` names the connection or part it is about. `exit_code` says who
    can act, as the error behind a failure does.
    """

    id: str
    status: Status
    detail: str
    fix: str | None = None
    subject: str | None = None
    needed_by: frozenset[Capability] = frozenset()
    findings: tuple[Finding, ...] = field(default=(), repr=False)
    exit_code: int = 1


@dataclass(frozen=True, kw_only=True)
class Scene:
    """What checks look at. With `is_fast` nothing outside this machine is contacted."""

    project: Project
    is_fast: bool = False

    @property
    def config(self) -> KtxConfig:
        """The project's configuration."""
        return self.project.config

    @property
    def root(self) -> Path:
        """The project's folder."""
        return self.project.root


Look: TypeAlias = Callable[[Scene], Iterable[Check]]
"""A function that looks at one part of the project. It never raises for a problem that it was made to find."""
