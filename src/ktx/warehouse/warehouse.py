"""One open connection to a database: guarded queries, the catalog, profiles and key checks, whatever the database is."""

import threading
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from types import TracebackType

from sqlglot import exp

from ktx.catalog import Catalog, Table, TableProfile, TableRef
from ktx.errors import ConfigError, QueryError, WarehouseError
from ktx.warehouse import introspect, keys, profile
from ktx.warehouse.driver import Capabilities, Driver, Session
from ktx.warehouse.fields import leaves, plain_names
from ktx.warehouse.guard import parse_query, prepare_query
from ktx.warehouse.history import PastQueries, marked, read_history
from ktx.warehouse.identify import column_expression, table_expression, with_paths
from ktx.warehouse.keys import Inclusion, InclusionCheck
from ktx.warehouse.rows import Rows
from ktx.warehouse.stop import current_stop

_STOP_CHECK_S = 0.2
"""How often a caller who waits for a free session asks whether it was stopped."""


class Warehouse:
    """A database that can be asked and not changed.

    Safe to use from several threads: each statement takes a session of its own, of at most `max_connections`.
    Use it as a context manager, or call `close`.
    """

    def __init__(
        self,
        connection_id: str,
        driver: Driver,
        *,
        scope: introspect.Scope | None = None,
        timeout_s: float = 30.0,
        max_connections: int = 4,
    ) -> None:
        self.connection_id = connection_id
        self._driver = driver
        self._scope = scope or introspect.Scope()
        self._timeout_s = timeout_s
        self._slots = threading.BoundedSemaphore(max_connections)
        self._lock = threading.Lock()
        self._idle: list[Session] = []
        self._busy: set[Session] = set()
        self._is_closed = False
        self._plain_names: frozenset[str] = frozenset()

    @property
    def dialect(self) -> str:
        """The name that sqlglot has for the database's SQL."""
        return self._driver.dialect

    @property
    def capabilities(self) -> Capabilities:
        """What this database can be asked."""
        return self._driver.capabilities

    def test(self) -> None:
        """Open a session and run the smallest query.

        Raises:
            WarehouseError: the database cannot be reached or refuses the credentials.
        """
        self.run(exp.select(exp.alias_(exp.Literal.number(1), "one")))

    def query(self, sql: str, *, max_rows: int = 1000, timeout_s: float | None = None) -> Rows:
        """Run SQL that somebody wrote: one read-only statement, at most `max_rows` rows.

        Raises:
            QueryError: the statement is refused by the guard or rejected by the database.
            WarehouseError: the time limit passed, or the database went away.
        """
        prepared = prepare_query(sql, dialect=self.dialect, max_rows=max_rows)
        if self._driver.records == "dotted":
            tree = parse_query(prepared, dialect=self.dialect)
            prepared = with_paths(tree).sql(dialect=self.dialect, comments=False, normalize_functions=False)
        return self._execute(prepared, max_rows=max_rows, timeout_s=timeout_s)

    def run(self, tree: exp.Query, *, max_rows: int | None = None, timeout_s: float | None = None) -> Rows:
        """Run a tree that ktx built, in the same read-only session. Without `max_rows`, every row is fetched."""
        if max_rows is not None and tree.args.get("limit") is None:
            tree = tree.limit(max_rows + 1, copy=True)
        sql = tree.sql(dialect=self.dialect, comments=False)
        return self._execute(marked(sql), max_rows=max_rows, timeout_s=timeout_s)

    def run_by_names(self, tree: exp.Query) -> Rows:
        """Run a tree over columns as the catalog names them, where a dot leads into a record; the tree is used up."""
        return self._execute(marked(self._render(tree)), max_rows=None, timeout_s=None)

    def read_catalog(self) -> Catalog:
        """Describe every table in scope in a fixed number of queries; what cannot be read is in `gaps`."""
        catalog = introspect.read_catalog(
            self.connection_id,
            self.dialect,
            self._driver.catalog,
            run=lambda sql: self._execute(sql, max_rows=None, timeout_s=None),
            scope=self._scope,
            capabilities=self.capabilities,
        )
        if self._driver.records == "wrapped":
            self._plain_names = plain_names(catalog)
        return catalog

    def read_history(self, *, window_days: int) -> PastQueries:
        """Give the past queries that the database recorded, of the last `window_days` where it keeps times.

        Raises:
            ConfigError: this kind of database keeps no record that ktx can read.
            QueryError: the record is closed to the user; the hint says what opens it.
        """
        reader = self._driver.history
        if reader is None:
            raise ConfigError(
                f"`{self.connection_id}`: ktx reads no query history of `{self._driver.name}`.",
                hint="It does so for postgres, bigquery and snowflake; leave `queryHistory` off here.",
            )
        try:
            return read_history(
                reader,
                window_days=window_days,
                run=lambda sql: self._execute(sql, max_rows=None, timeout_s=None),
            )
        except QueryError as error:
            raise QueryError(error.message, hint=reader.advice) from error

    def sample_rows(self, table: Table | TableRef, limit: int) -> Rows:
        """Give up to `limit` rows of a table, by the driver's way of sampling; of records each field that has no fields itself."""
        if isinstance(table, TableRef):
            tree = self._driver.sample(table_expression(table), [exp.Star()], limit, None)
            return self._execute(marked(self._render(tree)), max_rows=limit, timeout_s=None)
        names = leaves(table)
        if len(names) == len(table.columns):
            tree = self._driver.sample(table_expression(table.ref), [exp.Star()], limit, table.row_count)
            return self._execute(marked(self._render(tree)), max_rows=limit, timeout_s=None)
        selected = [
            exp.alias_(column_expression(name), f"c{at}", copy=False) for at, name in enumerate(names)
        ]
        tree = self._driver.sample(table_expression(table.ref), selected, limit, table.row_count)
        rows = self._execute(marked(self._render(tree)), max_rows=limit, timeout_s=None)
        columns = tuple(replace(one, name=name) for one, name in zip(rows.columns, names, strict=True))
        return replace(rows, columns=columns)

    def profile_table(self, table: Table, *, sample_rows: int = 10_000) -> TableProfile:
        """Profile a table's columns over all rows, or over a sample when there are more than `sample_rows`."""
        return profile.profile_table(
            table, sample_rows=sample_rows, driver=self._driver, run=self.run_by_names
        )

    def count_distinct(self, table: TableRef, columns: Sequence[str], *, limit: int | None = None) -> int:
        """Count distinct combinations of non-null values, over at most `limit` rows when given."""
        return keys.count_distinct(table, columns, limit=limit, run=self.run_by_names)

    def inclusion(self, check: InclusionCheck) -> Inclusion:
        """Count the distinct child keys, and those of them that the parent has."""
        return self.inclusions([check])[0]

    def inclusions(self, checks: Sequence[InclusionCheck]) -> tuple[Inclusion, ...]:
        """Answer several inclusion checks in one query, in their order."""
        return keys.inclusions(checks, run=self.run_by_names, text_type=self._driver.text_type)

    def cancel(self) -> None:
        """Stop every running statement, from any thread; those waiting for it get a `WarehouseError`."""
        with self._lock:
            running = list(self._busy)
        for session in running:
            session.cancel()

    def rest(self) -> None:
        """Close the sessions that nobody uses: an embedded database then gives back the memory of all that it has read."""
        with self._lock:
            idle, self._idle = self._idle, []
        for session in idle:
            session.close()

    def close(self) -> None:
        """Close all sessions; running statements are cancelled first."""
        self.cancel()
        with self._lock:
            self._is_closed = True
            idle, self._idle = self._idle, []
        for session in idle:
            session.close()

    def __enter__(self) -> "Warehouse":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _render(self, tree: exp.Query) -> str:
        records = self._driver.records
        ready = (
            with_paths(tree, is_wrapped=records == "wrapped", plain=self._plain_names)
            if records and any("." in column.name for column in tree.find_all(exp.Column))
            else tree
        )
        return ready.sql(dialect=self.dialect, comments=False, copy=False)

    def _execute(self, sql: str, *, max_rows: int | None, timeout_s: float | None) -> Rows:
        limit_s = timeout_s or self._timeout_s
        stop = current_stop()
        if stop is None:
            with self._slots, self._session() as session:
                return session.execute(sql, max_rows=max_rows, timeout_s=limit_s)
        while not self._slots.acquire(timeout=_STOP_CHECK_S):
            stop.ensure_going(self.connection_id)
        try:
            with self._session() as session, stop.covering(session, self.connection_id):
                return session.execute(sql, max_rows=max_rows, timeout_s=limit_s)
        finally:
            self._slots.release()

    @contextmanager
    def _session(self) -> Generator[Session]:
        session = self._take()
        try:
            yield session
        except WarehouseError:
            self._give_back(session, is_usable=False)
            raise
        except BaseException:
            self._give_back(session, is_usable=True)
            raise
        self._give_back(session, is_usable=True)

    def _take(self) -> Session:
        with self._lock:
            if self._is_closed:
                raise WarehouseError(f"The connection `{self.connection_id}` is closed.")
            session = self._idle.pop() if self._idle else None
            if session is not None:
                self._busy.add(session)
                return session
        session = self._driver.open_session()
        with self._lock:
            self._busy.add(session)
        return session

    def _give_back(self, session: Session, *, is_usable: bool) -> None:
        with self._lock:
            self._busy.discard(session)
            keep = is_usable and not self._is_closed
            if keep:
                self._idle.append(session)
        if not keep:
            session.close()
