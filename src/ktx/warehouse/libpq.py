"""Databases that speak PostgreSQL's protocol, through psycopg: every statement runs alone in a read-only transaction that is
rolled back.
"""

from collections.abc import Mapping, Sequence
from typing import Any, cast

import psycopg
from psycopg import conninfo, errors
from psycopg.types.datetime import DateLoader, TimestampLoader, TimestamptzLoader

from ktx.errors import ConfigError, KtxError, QueryError
from ktx.warehouse import failures
from ktx.warehouse.rows import Rows, make_rows


class LibpqSession:
    """One connection. Statements are prepared, because the server refuses to prepare more than one at once."""

    def __init__(self, connection_id: str, address: Mapping[str, str], *, options: str = "") -> None:
        self._connection_id = connection_id
        self._secrets = tuple(value for key, value in address.items() if key in {"password", "sslpassword"})
        self._timeout_ms = 0
        self._is_cancelled = False
        arguments = dict(address)
        if options:
            arguments["options"] = f"{arguments.get('options', '')} {options}".strip()
        arguments.setdefault("connect_timeout", "15")
        arguments.setdefault("application_name", "ktx")
        try:
            self._connection = psycopg.connect(conninfo.make_conninfo(**arguments))
        except psycopg.Error as error:
            raise failures.unreachable(connection_id, str(error), secrets=self._secrets) from None
        self._connection.read_only = True
        for name, loader in (("date", _Dates), ("timestamp", _Timestamps), ("timestamptz", _ZonedTimestamps)):
            self._connection.adapters.register_loader(name, loader)

    def execute(
        self, sql: str, parameters: Sequence[object] = (), *, max_rows: int | None, timeout_s: float
    ) -> Rows:
        """Run one statement in a read-only transaction of its own, and roll it back, settings included."""
        self._is_cancelled = False
        try:
            self._limit_time(round(timeout_s * 1000))
            with self._connection.cursor() as cursor:
                cursor.execute(sql.encode(), list(parameters) or None, prepare=True)
                fetched = cursor.fetchall() if max_rows is None else cursor.fetchmany(max_rows + 1)
                described = [(item.name, item.type_display) for item in cursor.description or ()]
            self._connection.rollback()
        except psycopg.Error as error:
            self._roll_back_quietly()
            raise self._failure(error, timeout_s) from None
        return make_rows(described, fetched, max_rows=max_rows)

    def cancel(self) -> None:
        """Ask the server to stop the running statement, over a connection of its own."""
        self._is_cancelled = True
        try:
            self._connection.cancel_safe(timeout=5)
        except psycopg.Error as error:
            raise failures.unreachable(self._connection_id, str(error), secrets=self._secrets) from None

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()

    def _limit_time(self, timeout_ms: int) -> None:
        if timeout_ms != self._timeout_ms:
            self._connection.execute("SELECT set_config('statement_timeout', %s, false)", [str(timeout_ms)])
            self._connection.commit()
            self._timeout_ms = timeout_ms

    def _roll_back_quietly(self) -> None:
        if not self._connection.closed:
            try:
                self._connection.rollback()
            except psycopg.Error:
                self._connection.close()

    def _failure(self, error: psycopg.Error, timeout_s: float) -> KtxError:
        name = self._connection_id
        detail = error.diag.message_primary or str(error)
        state = error.sqlstate or ""
        if isinstance(error, errors.QueryCanceled):
            return failures.cancelled(name) if self._is_cancelled else failures.timed_out(name, timeout_s)
        if state.startswith("22"):
            return failures.bad_value(name, detail)
        if state.startswith(("42", "25", "0A")):
            return failures.rejected(name, detail)
        if isinstance(error, psycopg.OperationalError):
            return failures.unreachable(name, detail, secrets=self._secrets)
        return QueryError(
            f"`{name}` cannot run this statement: {failures.without_quoted(failures.first_line(detail))}"
        )


def libpq_address(
    connection_id: str, url: str | None, settings: Mapping[str, str | int | None], *, schemes: Sequence[str]
) -> dict[str, str]:
    """Give libpq's keywords of an address: those of `url`, completed or overridden by `settings`.

    Raises:
        ConfigError: the address cannot be read, or names no server.
    """
    text = url or ""
    for prefix in schemes:
        if text.startswith(prefix):
            text = "postgresql://" + text.removeprefix(prefix)
    try:
        found = {
            key: str(value) for key, value in conninfo.conninfo_to_dict(text).items() if value is not None
        }
    except psycopg.ProgrammingError:
        raise ConfigError(
            f"`connections.{connection_id}.url` is no address of a server.",
            hint="Write `postgresql://user:password@host:port/database`, best as `env:NAME`.",
        ) from None
    found.update({key: str(value) for key, value in settings.items() if value is not None})
    if "host" not in found and "service" not in found:
        raise ConfigError(
            f"`connections.{connection_id}` names no server.", hint="Set `url`, or `host` and `database`."
        )
    return found


def _text_of(data: object) -> str:
    return bytes(cast("bytes", data)).decode()


class _Dates(DateLoader):
    """Dates that Python cannot hold (`infinity`, before year 1) as text instead of a failed query."""

    def load(self, data: Any) -> Any:
        """Give a date, or its text."""
        try:
            return super().load(data)
        except psycopg.DataError:
            return _text_of(data)


class _Timestamps(TimestampLoader):
    """Timestamps that Python cannot hold as text."""

    def load(self, data: Any) -> Any:
        """Give a timestamp, or its text."""
        try:
            return super().load(data)
        except psycopg.DataError:
            return _text_of(data)


class _ZonedTimestamps(TimestamptzLoader):
    """Timestamps with time zone that Python cannot hold as text."""

    def load(self, data: Any) -> Any:
        """Give a timestamp, or its text."""
        try:
            return super().load(data)
        except psycopg.DataError:
            return _text_of(data)
