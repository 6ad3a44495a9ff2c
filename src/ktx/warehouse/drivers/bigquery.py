"""BigQuery: three queries per dataset, nested fields as dotted columns, every statement dry-run and bounded before it costs."""

import json
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol, cast

from google.api_core.exceptions import BadRequest, Forbidden, GoogleAPICallError, NotFound, RetryError
from google.auth.exceptions import GoogleAuthError
from google.cloud import bigquery
from google.oauth2 import service_account
from sqlglot import exp, parse_one

from ktx.catalog import CapabilityGap
from ktx.errors import ConfigError, KtxError, QueryError, WarehouseError
from ktx.warehouse import failures
from ktx.warehouse.driver import (
    Capabilities,
    CatalogReader,
    CatalogRecords,
    Driver,
    Record,
    sample_first_rows,
)
from ktx.warehouse.history import HistoryReader
from ktx.warehouse.records import optional_records, records_of, scoped_statement
from ktx.warehouse.rows import Rows, make_rows

_SAMPLE_FROM = 8
"""How many times larger than the sample a table must be before blocks of it are picked at random."""

_TABLES = """
    SELECT t.table_schema AS schema_name, t.table_name AS table_name,
           CASE t.table_type WHEN 'VIEW' THEN 'view' WHEN 'MATERIALIZED VIEW' THEN 'materialized_view'
                WHEN 'EXTERNAL' THEN 'external' ELSE 'table' END AS kind,
           o.option_value AS comment, CAST(NULL AS INT64) AS row_count
    FROM INFORMATION_SCHEMA.TABLES AS t
    LEFT JOIN INFORMATION_SCHEMA.TABLE_OPTIONS AS o ON o.table_name = t.table_name AND o.option_name = 'description'
"""
_COUNTS = "SELECT table_id AS table_name, row_count AS row_count FROM __TABLES__ WHERE type = 1"
_COLUMNS = """
    SELECT f.table_schema AS schema_name, f.table_name AS table_name, f.field_path AS column_name,
           c.ordinal_position AS ordinal, f.data_type AS native_type,
           c.is_nullable = 'YES' OR f.field_path <> f.column_name AS is_nullable, f.description AS comment,
           f.column_name AS top_column, c.data_type AS top_type
    FROM INFORMATION_SCHEMA.COLUMN_FIELD_PATHS AS f
    JOIN INFORMATION_SCHEMA.COLUMNS AS c ON c.table_name = f.table_name AND c.column_name = f.column_name
    WHERE c.is_hidden = 'NO'
"""
_KEYS = """
    SELECT k.table_schema AS schema_name, k.table_name AS table_name, k.constraint_name AS constraint_name,
           'primary' AS kind, k.column_name AS column_name, k.ordinal_position AS ordinal
    FROM INFORMATION_SCHEMA.TABLE_CONSTRAINTS AS c
    JOIN INFORMATION_SCHEMA.KEY_COLUMN_USAGE AS k ON k.constraint_name = c.constraint_name AND k.table_name = c.table_name
    WHERE c.constraint_type = 'PRIMARY KEY'
"""
_FOREIGN_KEYS = """
    SELECT k.table_schema AS schema_name, k.table_name AS table_name, k.constraint_name AS constraint_name,
           k.column_name AS column_name, k.position_in_unique_constraint AS ordinal,
           u.table_schema AS target_schema, u.table_name AS target_table, CAST(NULL AS STRING) AS target_column
    FROM INFORMATION_SCHEMA.TABLE_CONSTRAINTS AS c
    JOIN INFORMATION_SCHEMA.KEY_COLUMN_USAGE AS k ON k.constraint_name = c.constraint_name AND k.table_name = c.table_name
    JOIN (SELECT DISTINCT constraint_name, table_schema, table_name FROM INFORMATION_SCHEMA.CONSTRAINT_COLUMN_USAGE) AS u
      ON u.constraint_name = c.constraint_name
    WHERE c.constraint_type = 'FOREIGN KEY'
"""
"""A foreign key always refers to the whole primary key of its target, in order."""
_HISTORY = """
    SELECT MIN(query) AS sql, COUNT(*) AS executions, user_email AS user_name, CAST(NULL AS STRING) AS schema_name,
           COUNTIF(error_result IS NOT NULL) AS errors, MIN(creation_time) AS first_seen, MAX(creation_time) AS last_seen
    FROM INFORMATION_SCHEMA.JOBS_BY_PROJECT
    WHERE job_type = 'QUERY' AND statement_type = 'SELECT' AND state = 'DONE'
      AND NOT EXISTS (SELECT 1 FROM UNNEST(labels) AS l WHERE l.key = 'client' AND l.value = 'ktx')
    GROUP BY COALESCE(query_info.query_hashes.normalized_literals, query), user_email
    ORDER BY executions DESC
    LIMIT 20000
"""
"""Statements that differ in their literals only are one row already; `MOST_QUERIES` of them are read."""
_DATASETS = "SELECT schema_name AS schema_name FROM INFORMATION_SCHEMA.SCHEMATA"


class Job(Protocol):
    """The part of the vendor's query job that is used here."""

    @property
    def statement_type(self) -> str | None:
        """What BigQuery takes the statement for."""
        ...

    def cancel(self) -> object:
        """Ask for its end."""
        ...

    def result(self, *, max_results: int | None = None, timeout: float | None = None) -> "Found":
        """Wait for its rows."""
        ...


class Field(Protocol):
    """One column of a result."""

    @property
    def name(self) -> str:
        """Its name."""
        ...

    @property
    def field_type(self) -> str:
        """Its type."""
        ...


class Row(Protocol):
    """One row of a result."""

    def values(self) -> tuple[object, ...]:
        """Give its values, in order."""
        ...


class Found(Protocol):
    """Rows of a job."""

    @property
    def schema(self) -> Sequence[Field]:
        """The columns."""
        ...

    def __iter__(self) -> Iterator[Row]:
        """Give the rows."""
        ...


class Client(Protocol):
    """The part of the vendor's client that is used here."""

    def query(self, query: str, *, job_config: object, timeout: float | None = None) -> Job:
        """Start a job."""
        ...

    def close(self) -> None:
        """Close it."""
        ...


@dataclass(frozen=True, kw_only=True)
class BigquerySettings:
    """Who pays, who asks, where jobs run, and what they may cost. `credentials` is the JSON text of a service account."""

    project: str | None = None
    credentials: str | None = field(default=None, repr=False)
    location: str | None = None
    max_bytes_billed: int | None = None
    job_timeout_ms: int | None = None


def bigquery_driver(connection_id: str, settings: BigquerySettings) -> Driver:
    """Describe the BigQuery datasets that a project can query."""
    return Driver(
        name="bigquery",
        dialect="bigquery",
        open_session=lambda: BigquerySession(connection_id, settings),
        catalog=bigquery_reader(settings.location),
        capabilities=Capabilities(),
        sample=_sample,
        text_type="STRING",
        records="dotted",
        history=HistoryReader(
            statement=history_statement(settings.location),
            advice="Set `location`, and give the user bigquery.jobs.listAll on the project (role Resource Viewer).",
            has_window=True,
        ),
    )


def bigquery_reader(location: str | None) -> CatalogReader:
    """Give what reads datasets, named as `dataset` or `project.dataset`; none stands for all in `location`."""

    def read(schemas: Sequence[str], run: Callable[[str], Rows]) -> CatalogRecords:
        names = list(schemas)
        if not names:
            region = f"region-{location.lower()}" if location else None
            statement = scoped_statement(_DATASETS, dialect="bigquery", dataset=region)
            names = sorted(str(record["schema_name"]) for record in records_of(run(statement)))
        parts = [_read_dataset(name, run) for name in names]
        if names and all(part is None for part in parts):
            raise WarehouseError(f"None of the datasets can be read: {', '.join(names)}.")
        found = [part for part in parts if part is not None]
        unread = [name for name, part in zip(names, parts, strict=True) if part is None]
        return CatalogRecords(
            tables=[record for part in found for record in part.tables],
            columns=[record for part in found for record in part.columns],
            keys=[record for part in found for record in part.keys],
            foreign_keys=[record for part in found for record in part.foreign_keys],
            gaps=(
                *(gap for part in found for gap in part.gaps),
                *(CapabilityGap(what=f"dataset `{name}`", reason="it cannot be read") for name in unread),
            ),
        )

    return read


def history_statement(location: str | None) -> Callable[[int], str]:
    """Give what makes the statement for the past queries of so many days, ktx's own left out by their label."""

    def statement(days: int) -> str:
        region = f"region-{(location or 'us').lower()}"
        tree = parse_one(scoped_statement(_HISTORY, dialect="bigquery", dataset=region), read="bigquery")
        since = f"creation_time >= TIMESTAMP_SUB(CURRENT_TIMESTAMP(), INTERVAL {int(days)} DAY)"
        return tree.assert_is(exp.Select).where(since, dialect="bigquery").sql(dialect="bigquery")

    return statement


def _read_dataset(name: str, run: Callable[[str], Rows]) -> CatalogRecords | None:
    """Read one dataset in five queries; None when its tables or columns are closed to the user."""
    project, _, dataset = name.rpartition(".")
    gaps: list[CapabilityGap] = []

    def statement(text: str) -> str:
        return scoped_statement(text, dialect="bigquery", dataset=dataset, catalog=project or None)

    def placed(records: Sequence[Record]) -> list[Record]:
        return [{**record, "catalog_name": project or None} for record in records]

    try:
        tables = records_of(run(statement(_TABLES)))
        columns = records_of(run(statement(_COLUMNS)))
    except QueryError:
        return None
    counts = optional_records(f"row counts of `{name}`", statement(_COUNTS), run=run, gaps=gaps)
    rows = {record["table_name"]: record["row_count"] for record in counts}
    keys = optional_records(f"primary keys of `{name}`", statement(_KEYS), run=run, gaps=gaps)
    foreign = optional_records(f"foreign keys of `{name}`", statement(_FOREIGN_KEYS), run=run, gaps=gaps)
    return CatalogRecords(
        tables=placed(
            [
                {
                    **record,
                    "comment": _description(record["comment"]),
                    "row_count": rows.get(record["table_name"]),
                }
                for record in tables
            ]
        ),
        columns=placed(list(_reachable(columns))),
        keys=placed(keys),
        foreign_keys=placed(foreign),
        gaps=tuple(gaps),
    )


def _description(value: object) -> str | None:
    """Read a table's description, which the option holds as a SQL string."""
    if value is None:
        return None
    try:
        return str(json.loads(str(value)))
    except ValueError:
        return str(value).strip("\"'")


def _reachable(columns: Sequence[Record]) -> Iterator[Record]:
    """Give columns and the fields of records under their dotted paths, in order of the table.

    Inside an array a field has no value of its own: the array is one column, and its type tells the fields.
    """
    arrays = {
        (record["table_name"], str(record["column_name"]))
        for record in columns
        if str(record["native_type"]).upper().startswith("ARRAY<")
    }
    for number, record in enumerate(columns):
        steps = str(record["column_name"]).split(".")
        outer = (".".join(steps[:length]) for length in range(1, len(steps)))
        if not any((record["table_name"], path) in arrays for path in outer):
            yield {**record, "ordinal": int(str(record["ordinal"])) * 100_000 + number}


class BigquerySession:
    """One client. BigQuery says what a statement is before it runs: only a SELECT does."""

    def __init__(self, connection_id: str, settings: BigquerySettings) -> None:
        self._connection_id = connection_id
        self._settings = settings
        self._is_cancelled = False
        self._job: Job | None = None
        self._client = _client(connection_id, settings)

    def execute(
        self, sql: str, parameters: Sequence[object] = (), *, max_rows: int | None, timeout_s: float
    ) -> Rows:
        """Dry-run one statement, refuse what is no SELECT, and run it under the limits of time and bytes."""
        if parameters:
            raise AssertionError("statements for BigQuery carry their values")
        self._is_cancelled = False
        limit_ms = min(
            math.ceil(timeout_s * 1000), self._settings.job_timeout_ms or math.ceil(timeout_s * 1000)
        )
        try:
            planned = self._client.query(
                sql, job_config=job_config(self._settings, limit_ms, is_dry_run=True)
            )
            if planned.statement_type != "SELECT":
                kind = planned.statement_type or "something else"
                raise QueryError(f"`{self._connection_id}` runs SELECT only; BigQuery reads {kind} here.")
            job = self._client.query(sql, job_config=job_config(self._settings, limit_ms, is_dry_run=False))
            self._job = job
            wanted = None if max_rows is None else max_rows + 1
            found = job.result(max_results=wanted, timeout=limit_ms / 1000 + 5)
            rows = [row.values() for row in found]
        except TimeoutError:
            self._stop()
            raise failures.timed_out(self._connection_id, limit_ms / 1000) from None
        except (GoogleAPICallError, RetryError, GoogleAuthError) as error:
            raise self._failure(error, limit_ms / 1000) from None
        finally:
            self._job = None
        columns = [(item.name, item.field_type) for item in found.schema]
        return make_rows(columns, rows, max_rows=max_rows)

    def cancel(self) -> None:
        """Ask BigQuery to stop the running job."""
        self._is_cancelled = True
        self._stop()

    def close(self) -> None:
        """Close the client."""
        self._client.close()

    def _stop(self) -> None:
        job = self._job
        if job is not None:
            try:
                job.cancel()
            except (GoogleAPICallError, RetryError, GoogleAuthError) as error:
                raise failures.unreachable(self._connection_id, str(error)) from None

    def _failure(self, error: Exception, timeout_s: float) -> KtxError:
        name, detail = self._connection_id, str(getattr(error, "message", "") or error)
        if self._is_cancelled:
            return failures.cancelled(name)
        if "timed out" in detail.lower() or "timeout" in detail.lower():
            return failures.timed_out(name, timeout_s)
        if isinstance(error, BadRequest | Forbidden | NotFound):
            is_value = any(
                mark in detail for mark in ("Bad ", "Could not cast", "division by zero", "out of range")
            )
            return failures.bad_value(name, detail) if is_value else failures.rejected(name, detail)
        return failures.unreachable(name, detail)


def job_config(settings: BigquerySettings, limit_ms: int, *, is_dry_run: bool) -> object:
    """Give how a statement runs: standard SQL, no more bytes and time than allowed, labelled as ktx's."""
    config = bigquery.QueryJobConfig()
    config.use_legacy_sql = False
    config.labels = {"client": "ktx"}
    if is_dry_run:
        config.dry_run = True
        config.use_query_cache = False
        return config
    config.job_timeout_ms = limit_ms
    if settings.max_bytes_billed is not None:
        config.maximum_bytes_billed = settings.max_bytes_billed
    return config


def _client(connection_id: str, settings: BigquerySettings) -> Client:
    credentials: object = None
    project = settings.project
    if settings.credentials is not None:
        try:
            information = cast("dict[str, str]", json.loads(settings.credentials))
            credentials = _from_information(information)
        except (ValueError, TypeError, AttributeError):
            raise ConfigError(
                f"`connections.{connection_id}.credentials_json` is no key of a service account.",
                hint="Set it to `file:` and the path of the JSON key that Google Cloud gave.",
            ) from None
        project = project or information.get("project_id")
    try:
        return _new_client(project=project, credentials=credentials, location=settings.location)
    except (GoogleAuthError, OSError) as error:
        raise failures.unreachable(connection_id, str(error)) from None


_new_client = cast("Callable[..., Client]", bigquery.Client)
_from_information = cast(
    "Callable[[Mapping[str, str]], object]",
    service_account.Credentials.from_service_account_info,  # pyright: ignore[reportUnknownMemberType]
)


def _sample(table: exp.Table, columns: Sequence[exp.Expr], rows: int, estimate: int | None) -> exp.Select:
    """Read some blocks of a large table, which is all that is billed; `LIMIT` alone would bill the whole of it."""
    if estimate is None or estimate < rows * _SAMPLE_FROM:
        return sample_first_rows(table, columns, rows, estimate)
    percent = min(100.0, 200.0 * rows / estimate)
    table.set(
        "sample", exp.TableSample(method=exp.var("SYSTEM"), percent=exp.Literal.number(f"{percent:.6f}"))
    )
    return exp.select(*columns, copy=False).from_(table, copy=False).limit(rows, copy=False)
