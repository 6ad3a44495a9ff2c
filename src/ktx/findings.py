"""Problems as values: what is wrong, where, and the way out."""

from dataclasses import dataclass
from typing import Literal

Level = Literal["error", "warning", "note"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Place:
    """Where a finding points: a file relative to the project, a 1-based line, a dotted path inside it.

    Any part may be unknown.
    """

    file: str | None = None
    line: int | None = None
    path: str | None = None

    def __str__(self) -> str:
        """Render as `file:line path`, the form that editors and terminals link."""
        spot = self.file or ""
        if self.file and self.line is not None:
            spot = f"{self.file}:{self.line}"
        return " ".join(part for part in (spot, self.path) if part)


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One problem or remark. `code` is stable kebab-case, so that people can search for it and tests can pin it."""

    level: Level
    code: str
    message: str
    where: Place = Place()
    fix: str | None = None


def has_errors(findings: "tuple[Finding, ...] | list[Finding]") -> bool:
    """Tell whether any finding is an error."""
    return any(finding.level == "error" for finding in findings)
