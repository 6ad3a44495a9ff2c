"""What relationship discovery may ask of the data, and how many times."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from ktx.catalog import TableRef


@dataclass(frozen=True, kw_only=True)
class Counted:
    """How many rows there are, and how many distinct combinations of the asked columns."""

    rows: int
    distinct: int


@dataclass(frozen=True, kw_only=True)
class Question:
    """Are the values of `columns` all found in `target_columns`? `where` keeps only rows with a value in a column.

    `has_few_rows` says that every row of both tables was profiled: questions of several such tables may share a query.
    """

    table: TableRef
    columns: tuple[str, ...]
    target: TableRef
    target_columns: tuple[str, ...]
    as_text: bool = False
    where: tuple[str, str] | None = None
    has_few_rows: bool = False


@dataclass(frozen=True, kw_only=True)
class Answer:
    """How many distinct non-null values were looked up, and how many of them had no partner."""

    checked: int
    missing: int

    @property
    def coverage(self) -> float:
        """The share of values with a partner, from 0 to 1."""
        return 1.0 - self.missing / self.checked if self.checked else 0.0


class Probe(Protocol):
    """Asks the data. An answer of None means that the database would not say."""

    def count_distinct(self, table: TableRef, columns: tuple[str, ...]) -> Counted | None:
        """Count the rows and the distinct combinations of some columns."""
        ...

    def look_up(self, questions: Sequence[Question]) -> Sequence[Answer | None]:
        """Answer inclusion questions in one query."""
        ...

    def rest(self) -> None:
        """Give back what the database holds in memory for us, between two rounds of questions."""
        ...

    def smallest(
        self, table: TableRef, columns: Sequence[str], size: int
    ) -> Mapping[str, tuple[str, ...]] | None:
        """Give the `size` smallest distinct values of each column, in the database's order, in one query."""
        ...


@dataclass(kw_only=True)
class Budget:
    """How many queries may still be asked, and until when (`time.monotonic`); what was not asked is written down."""

    limit: int | None
    until: float | None = None
    spent: int = 0
    unasked: list[str] = field(default_factory=list[str])

    def spend(self, purpose: str) -> bool:
        """Take one query from the budget, or note that `purpose` stays unanswered."""
        is_late = self.until is not None and time.monotonic() > self.until
        if is_late or (self.limit is not None and self.spent >= self.limit):
            self.unasked.append(purpose)
            return False
        self.spent += 1
        return True
