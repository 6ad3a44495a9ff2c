"""The part of Python's database API (PEP 249) that drivers without types of their own are used through."""

from collections.abc import Callable, Sequence
from typing import Protocol

from ktx.warehouse.rows import Rows, make_rows


class Cursor(Protocol):
    """One running statement."""

    @property
    def description(self) -> Sequence[Sequence[object]] | None:
        """Name and type of each column; None for a statement that gives no rows."""
        ...

    def execute(self, operation: str, parameters: Sequence[object] | None = None, /) -> object:
        """Run one statement."""
        ...

    def fetchall(self) -> Sequence[Sequence[object]]:
        """Fetch every row that is left."""
        ...

    def fetchmany(self, size: int, /) -> Sequence[Sequence[object]]:
        """Fetch up to `size` rows."""
        ...

    def close(self) -> object:
        """Close it."""
        ...


class Connection(Protocol):
    """An open connection."""

    def cursor(self) -> Cursor:
        """Give a cursor for one statement."""
        ...

    def close(self) -> object:
        """Close it."""
        ...


def fetch(
    cursor: Cursor,
    sql: str,
    parameters: Sequence[object],
    *,
    max_rows: int | None,
    type_name: Callable[[object], str | None],
) -> Rows:
    """Run one statement and give its rows; `type_name` names the second part of a column's description."""
    if parameters:
        cursor.execute(sql, list(parameters))
    else:
        cursor.execute(sql)
    described = [(str(item[0]), type_name(item[1])) for item in cursor.description or ()]
    fetched = cursor.fetchall() if max_rows is None else cursor.fetchmany(max_rows + 1)
    return make_rows(described, fetched, max_rows=max_rows)
