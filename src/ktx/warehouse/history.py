"""The warehouse's own record of past queries: one statement per database, and rows that say only what was recorded.

Texts still hold literals here; `ktx.scan.history` takes them out before anything is kept.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime

from ktx.warehouse.records import records_of
from ktx.warehouse.rows import Rows

MARK = "ktx"
"""How ktx's own statements are marked: a comment, a query tag or a job label."""


MOST_QUERIES = 20_000
"""So many rows of a record are read, the most executed first; each database's statement says so itself."""


@dataclass(frozen=True, kw_only=True)
class PastQuery:
    """One recorded statement of one user, summed over its executions. What the database does not record is None.

    `schema` is where names without one were looked up. `errors` counts failed executions among `executions`.
    """

    sql: str
    executions: int
    user: str | None = None
    schema: str | None = None
    errors: int | None = None
    first_seen: datetime | None = None
    last_seen: datetime | None = None


@dataclass(frozen=True, kw_only=True)
class PastQueries:
    """What was recorded, over how long. `since` is None when the database does not say; a record without times has no window."""

    queries: tuple[PastQuery, ...]
    since: datetime | None = None
    has_window: bool
    unreadable: int = 0
    """Executions whose text was hidden from the user."""
    is_cut: bool = False
    """Whether the record holds rarer queries that were not read."""


@dataclass(frozen=True, kw_only=True)
class HistoryReader:
    """How one database is asked for its past queries.

    `statement(days)` gives rows with sql, executions, and, where there are any, user_name, schema_name, errors, first_seen,
    last_seen and since. `advice` says what a user needs when it is refused.
    """

    statement: Callable[[int], str]
    advice: str
    has_window: bool
    hidden: str | None = None
    """The text that stands for a statement that the user may not see."""


def read_history(reader: HistoryReader, *, window_days: int, run: Callable[[str], Rows]) -> PastQueries:
    """Ask for the past queries of a window of days; a record without times gives all that it has.

    Raises:
        QueryError, WarehouseError: the record cannot be read.
    """
    records = records_of(run(reader.statement(window_days)))
    visible = [record for record in records if reader.hidden is None or record["sql"] != reader.hidden]
    hidden = sum(_count(record["executions"]) or 0 for record in records) - sum(
        _count(record["executions"]) or 0 for record in visible
    )
    found = [_past_query(record) for record in visible if record["sql"]]
    since = next((_moment(record.get("since")) for record in records if record.get("since")), None)
    return PastQueries(
        queries=tuple(found),
        since=since,
        has_window=reader.has_window,
        unreadable=hidden,
        is_cut=len(records) >= MOST_QUERIES,
    )


def _past_query(record: Mapping[str, object]) -> PastQuery:
    return PastQuery(
        sql=str(record["sql"]),
        executions=_count(record["executions"]) or 0,
        user=_text(record.get("user_name")),
        schema=_text(record.get("schema_name")),
        errors=_count(record.get("errors")),
        first_seen=_moment(record.get("first_seen")),
        last_seen=_moment(record.get("last_seen")),
    )


def _count(value: object) -> int | None:
    return None if value is None else int(str(value))


def _text(value: object) -> str | None:
    return None if value is None or value == "" else str(value)


def _moment(value: object) -> datetime | None:
    return value if isinstance(value, datetime) else None


def marked(sql: str) -> str:
    """Mark a statement of ktx's own with a comment, so that it is not taken for somebody's question later.

    >>> marked("SELECT 1")
    'SELECT 1 /* ktx */'
    """
    return f"{sql} /* {MARK} */"
