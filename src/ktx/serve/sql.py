"""Read-only SQL against one connection."""

from ktx.errors import QueryError, UsageError
from ktx.serve.answers import SqlAnswer
from ktx.serve.desk import Desk
from ktx.serve.values import json_rows

DEFAULT_MAX_ROWS = 1000
MOST_ROWS = 10_000


def sql_execution(
    desk: Desk, connection_id: str | None, sql: str, *, max_rows: int = DEFAULT_MAX_ROWS
) -> SqlAnswer:
    """Run one read-only statement and give at most `max_rows` of its rows.

    Raises:
        UsageError: the connection is unknown, or `max_rows` is out of range.
        QueryError: the statement is refused, or the connection answers semantic questions only.
        WarehouseError: the database failed.
    """
    chosen = desk.connection_id(connection_id)
    ensure_row_limit(max_rows)
    if not is_sql_allowed(desk, chosen):
        message = (
            f"Connection `{chosen}` answers semantic questions only (`query_policy: semantic-layer-only`)."
        )
        raise QueryError(message, hint="Ask with `ktx sl query`, or the tool `sl_query`.")
    rows = desk.warehouse(chosen).query(sql, max_rows=max_rows)
    headers = [column.name for column in rows.columns]
    plain, notes = json_rows(headers, rows.rows)
    if rows.is_truncated:
        notes.insert(0, f"only the first {max_rows} rows are given; there are more")
    return SqlAnswer(
        headers=headers,
        header_types=[column.type or "" for column in rows.columns],
        rows=plain,
        row_count=len(plain),
        is_truncated=rows.is_truncated or None,
        notes=notes or None,
    )


def is_sql_allowed(desk: Desk, connection_id: str) -> bool:
    """Tell whether raw SQL may be run on a connection."""
    return desk.project.warehouses[connection_id].query_policy == "read-only-sql"


def ensure_row_limit(max_rows: int) -> None:
    """Check a row limit.

    Raises:
        UsageError: it is out of range.
    """
    if not 1 <= max_rows <= MOST_ROWS:
        message = f"A row limit of {max_rows} is out of range."
        raise UsageError(message, hint=f"Choose one from 1 to {MOST_ROWS}.")
