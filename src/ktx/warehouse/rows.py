"""What a query gives back: named, typed columns and rows of Python values."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class ResultColumn:
    """One column of a result. `type` is the database's own name for it, or None where it does not say."""

    name: str
    type: str | None = None


@dataclass(frozen=True, kw_only=True)
class Rows:
    """Rows as the driver gave them: `Decimal`, dates, NaN and infinity stay what they are.

    Column names are unique: the second `a` of a result is called `a_2`. `is_truncated` says that the database had
    more rows than were asked for.
    """

    columns: tuple[ResultColumn, ...]
    rows: tuple[tuple[object, ...], ...]
    is_truncated: bool = False

    def dicts(self) -> list[Mapping[str, object]]:
        """Give each row as a mapping from column name to value."""
        names = [column.name for column in self.columns]
        return [dict(zip(names, row, strict=True)) for row in self.rows]


def make_rows(
    columns: Iterable[tuple[str, str | None]], fetched: Sequence[Sequence[object]], *, max_rows: int | None
) -> Rows:
    """Build `Rows` from up to `max_rows + 1` fetched rows; the extra row only sets `is_truncated`."""
    is_truncated = max_rows is not None and len(fetched) > max_rows
    kept = fetched[:max_rows] if is_truncated else fetched
    named = _unique(list(columns))
    return Rows(columns=named, rows=tuple(tuple(row) for row in kept), is_truncated=is_truncated)


def _unique(columns: list[tuple[str, str | None]]) -> tuple[ResultColumn, ...]:
    taken = {name for name, _ in columns}
    seen: set[str] = set()
    result: list[ResultColumn] = []
    for name, native in columns:
        chosen, number = name, 1
        while chosen in seen or (number > 1 and chosen in taken):
            number += 1
            chosen = f"{name}_{number}"
        seen.add(chosen)
        result.append(ResultColumn(name=chosen, type=native))
    return tuple(result)
