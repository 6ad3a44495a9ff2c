"""What must never reach a file of the layer: secrets, and rows of a warehouse."""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Final

_SECRETS: Final = re.compile(
    r"""
      \b(?:sk|pk|rk)-[A-Za-z0-9_-]{16,} | \bgh[pousr]_[A-Za-z0-9]{20,} | \bglpat-[A-Za-z0-9_-]{16,} | \bxox[abprs]-[A-Za-z0-9-]{12,}
    | \bAKIA[0-9A-Z]{16}\b | \bntn_[A-Za-z0-9]{30,} | \bsecret_[A-Za-z0-9]{30,} | \bmb_[A-Za-z0-9+/=]{24,}
    | \beyJ[A-Za-z0-9_-]{10,}\.[A-Za-z0-9_-]{10,}\.[A-Za-z0-9_-]{10,}
    | -----BEGIN[ A-Z]+PRIVATE[ ]KEY-----
    | [a-z][a-z0-9+.-]*://[^\s:/@]+:[^\s:/@]{3,}@
    | \b(?:password|passwd|pwd|api[_-]?key|secret[_-]?key|access[_-]?key|auth[_-]?token|client[_-]?secret)["'`]?\s*(?:[:=]|\bis\b)\s*["'`]?
      (?=[^\s"'`]*[0-9])[^\s"'`]{8,}
    """,
    re.IGNORECASE | re.VERBOSE,
)
_SHORTEST_SECRET: Final = 6
_SHORTEST_TEXT: Final = 4
_SHORTEST_NUMBER: Final = 5
_NUMBER: Final = re.compile(r"[-+]?[\d.,]+")


@dataclass(frozen=True, kw_only=True)
class Secrets:
    """The project's own secrets, which no text may hold, whatever they look like."""

    values: tuple[str, ...] = field(default=(), repr=False)

    def found_in(self, text: str) -> bool:
        """Tell whether a text holds a secret of the project, or something that looks like one."""
        return any(value in text for value in self.values) or _SECRETS.search(text) is not None


def known_secrets(values: Iterable[str]) -> Secrets:
    """Keep what is long enough to be told from ordinary words."""
    return Secrets(values=tuple(sorted({one for one in values if len(one) >= _SHORTEST_SECRET})))


@dataclass(frozen=True, kw_only=True)
class ShownRow:
    """The telling cells of one row that a model has seen."""

    cells: frozenset[str]


def shown_rows(rows: Iterable[Sequence[object]]) -> tuple[ShownRow, ...]:
    """Keep the cells by which a row would be recognised: texts of some length, and long numbers.

    >>> [sorted(row.cells) for row in shown_rows([("Ana Lopez", 7, "12345.50")])]
    [['12345.50', 'ana lopez']]
    """
    found = (frozenset(filter(None, map(_telling, row))) for row in rows)
    return tuple(ShownRow(cells=cells) for cells in found if len(cells) > 1)


def row_in(text: str, rows: Iterable[ShownRow], *, evidence: str) -> bool:
    """Tell whether a line of `text` repeats two cells of one row. What the evidence itself says does not count.

    >>> rows = shown_rows([("Ana Lopez", "Calle Mayor 3")])
    >>> row_in("ana lopez lives at Calle Mayor 3", rows, evidence=""), row_in("names are private", rows, evidence="")
    (True, False)
    """
    told = evidence.casefold()
    lines = [line.casefold() for line in text.splitlines()]
    for row in rows:
        cells = [cell for cell in row.cells if cell not in told]
        if any(sum(cell in line for cell in cells) > 1 for line in lines):
            return True
    return False


def _telling(cell: object) -> str | None:
    if cell is None or isinstance(cell, bool):
        return None
    text = str(cell).strip().casefold()
    if text.startswith("<") and text.endswith(">"):
        return None
    least = _SHORTEST_NUMBER if _NUMBER.fullmatch(text) else _SHORTEST_TEXT
    return text if len(text) >= least else None
