"""The sentences for what goes wrong at a database, and the removal of data and secrets from a vendor's own words."""

import re
from collections.abc import Iterable

from ktx.errors import QueryError, WarehouseError

_QUOTED = re.compile(r"""'(?:[^']|'')*'|"(?:[^"]|"")*\"""")
_URL_PASSWORD = re.compile(r"(://[^/\s:@]*):[^@\s]*@")
_MAX_LENGTH = 400


def timed_out(connection: str, timeout_s: float) -> WarehouseError:
    """Say that a statement ran longer than it may."""
    return WarehouseError(
        f"`{connection}` stopped the statement after its time limit of {timeout_s:g} s.",
        hint="Ask for less (a filter, fewer joins), or raise `query_timeout_ms` of the connection.",
    )


def cancelled(connection: str) -> WarehouseError:
    """Say that a statement was stopped on request."""
    return WarehouseError(f"The statement on `{connection}` was cancelled.")


def rejected(connection: str, detail: str) -> QueryError:
    """Say that the database cannot run the statement as it is written."""
    return QueryError(f"`{connection}` cannot run this statement: {first_line(detail)}")


def bad_value(connection: str, detail: str) -> QueryError:
    """Say that the data does not fit an expression, without repeating the data: quoted parts of `detail` are cut."""
    return QueryError(
        f"`{connection}` met a value that the statement cannot handle: {without_quoted(first_line(detail))}",
        hint="Filter or cast the column so that every row can be computed.",
    )


def unreachable(connection: str, detail: str, *, secrets: Iterable[str] = ()) -> WarehouseError:
    """Say that no session could be opened, or that it broke."""
    return WarehouseError(
        f"`{connection}` cannot be reached: {without_secrets(first_line(detail), secrets)}",
        hint="Check the connection's settings in ktx.yaml and that the database accepts connections from here.",
    )


def first_line(detail: str) -> str:
    """Give the first non-empty line of a vendor's message, cut to a readable length."""
    line = next((part.strip() for part in detail.splitlines() if part.strip()), "no reason given")
    return line if len(line) <= _MAX_LENGTH else f"{line[:_MAX_LENGTH]}…"


def without_quoted(detail: str) -> str:
    """Replace every quoted part of a message.

    >>> without_quoted("could not convert 'Ann' to INT32")
    'could not convert … to INT32'
    """
    return _QUOTED.sub("…", detail)


def without_secrets(detail: str, secrets: Iterable[str]) -> str:
    """Replace known secrets, and the password of any URL.

    >>> without_secrets("no route to postgres://ann:pw@host", ["pw"])
    'no route to postgres://ann:***@host'
    """
    for secret in secrets:
        if secret:
            detail = detail.replace(secret, "***")
    return _URL_PASSWORD.sub(r"\1:***@", detail)
