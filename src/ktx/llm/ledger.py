"""What every request cost: one row each in `.ktx/ledger.sqlite`, with figures and names, never a prompt, an answer or a row of data."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time
from pathlib import Path
from typing import Final, Literal, TypeAlias

from ktx import sqlite
from ktx.errors import ConfigError
from ktx.llm.messages import Usage
from ktx.llm.prices import saved_usd

GroupBy: TypeAlias = Literal["role", "model", "task", "day", "backend"]

_MIGRATIONS: Final = (
    """
    CREATE TABLE calls (
        id INTEGER PRIMARY KEY,
        at TEXT NOT NULL,
        run TEXT NOT NULL,
        role TEXT NOT NULL,
        task TEXT NOT NULL,
        backend TEXT NOT NULL,
        model TEXT NOT NULL,
        requests INTEGER NOT NULL,
        uncached_input INTEGER NOT NULL,
        cache_write_5m INTEGER NOT NULL,
        cache_write_1h INTEGER NOT NULL,
        cache_read INTEGER NOT NULL,
        output INTEGER NOT NULL,
        cost_usd REAL,
        duration_s REAL NOT NULL,
        retries INTEGER NOT NULL,
        waited_s REAL NOT NULL,
        outcome TEXT NOT NULL,
        request_id TEXT
    );
    CREATE INDEX calls_by_time ON calls (at);
    """,
)
_COLUMNS: Final = (
    "at, run, role, task, backend, model, requests, uncached_input, cache_write_5m, cache_write_1h, cache_read, output, "
    "cost_usd, duration_s, retries, waited_s, outcome, request_id"
)
_INSERT: Final = f"INSERT INTO calls ({_COLUMNS}) VALUES (?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?)"  # noqa: S608 - our own constant
_SELECT: Final = f"SELECT {_COLUMNS} FROM calls WHERE at >= ? ORDER BY id"  # noqa: S608 - our own constant


_SPENT = (
    "SELECT COALESCE(SUM(uncached_input + cache_write_5m + cache_write_1h + cache_read + output), 0), "
    "COALESCE(SUM(cost_usd), 0) FROM calls"
)


@dataclass(frozen=True, kw_only=True)
class Entry:
    """One request, or one loop of a backend that runs its own. `outcome` is `ok` or a failure's kind."""

    at: datetime
    run: str
    role: str
    task: str
    backend: str
    model: str
    usage: Usage
    outcome: str
    requests: int = 1
    cost_usd: float | None = None
    duration_s: float = 0.0
    retries: int = 0
    waited_s: float = 0.0
    request_id: str | None = None


@dataclass(frozen=True, kw_only=True)
class Total:
    """Entries summed. `cost_usd` counts the priced ones only; `unpriced` says how many requests have no price."""

    key: str
    requests: int
    failures: int
    usage: Usage
    cost_usd: float | None
    saved_usd: float | None
    unpriced: int
    duration_s: float
    retries: int
    waited_s: float

    @property
    def hit_rate(self) -> float | None:
        """Give the share of input tokens that came from the prompt cache, or None when there was no input."""
        return self.usage.cache_read_tokens / self.usage.input_tokens if self.usage.input_tokens else None


class Ledger:
    """The local record of every model call."""

    def __init__(self, path: Path) -> None:
        try:
            self._connection = sqlite.open_state(path, migrations=_MIGRATIONS)
        except sqlite.UnwritableError:
            raise
        except sqlite.Error as error:
            raise ConfigError(
                f"The ledger `{path}` cannot be opened: {error}.",
                hint="Delete it to start a new one; only the record of past costs is lost.",
            ) from error

    def add(self, entry: Entry) -> None:
        """Write one row."""
        usage = entry.usage
        self._connection.execute(
            _INSERT,
            (
                entry.at.astimezone(UTC).isoformat(timespec="milliseconds"),
                entry.run,
                entry.role,
                entry.task,
                entry.backend,
                entry.model,
                entry.requests,
                usage.uncached_input_tokens,
                usage.cache_write_5m_tokens,
                usage.cache_write_1h_tokens,
                usage.cache_read_tokens,
                usage.output_tokens,
                entry.cost_usd,
                entry.duration_s,
                entry.retries,
                entry.waited_s,
                entry.outcome,
                entry.request_id,
            ),
        )

    def entries(self, *, since: datetime | None = None) -> tuple[Entry, ...]:
        """Read the entries from a moment on, oldest first."""
        start = since.astimezone(UTC).isoformat(timespec="milliseconds") if since else ""
        rows = self._connection.execute(_SELECT, (start,)).fetchall()
        return tuple(
            Entry(
                at=datetime.fromisoformat(row[0]),
                run=row[1],
                role=row[2],
                task=row[3],
                backend=row[4],
                model=row[5],
                requests=row[6],
                usage=Usage(
                    uncached_input_tokens=row[7],
                    cache_write_5m_tokens=row[8],
                    cache_write_1h_tokens=row[9],
                    cache_read_tokens=row[10],
                    output_tokens=row[11],
                ),
                cost_usd=row[12],
                duration_s=row[13],
                retries=row[14],
                waited_s=row[15],
                outcome=row[16],
                request_id=row[17],
            )
            for row in rows
        )

    def spent_on(self, day: date) -> tuple[int, float]:
        """Give the tokens and the US dollars spent on a day (UTC); unpriced requests count as tokens only."""
        return self._spent(
            "at >= ? AND at < ?",
            _start_of(day).isoformat(timespec="milliseconds"),
            day.isoformat() + "T~",
        )

    def spent_in(self, run: str) -> tuple[int, float]:
        """Give the tokens and the US dollars spent in a run; unpriced requests count as tokens only."""
        return self._spent("run = ?", run)

    def _spent(self, condition: str, *values: str) -> tuple[int, float]:
        statement = f"{_SPENT} WHERE {condition}"
        row = self._connection.execute(statement, values).fetchone()
        return int(row[0]), float(row[1])

    def close(self) -> None:
        """Close the file."""
        self._connection.close()


def _start_of(day: date) -> datetime:
    return datetime.combine(day, time(), tzinfo=UTC)


def sum_up(entries: Sequence[Entry], by: GroupBy | None) -> tuple[Total, ...]:
    """Sum entries by a field, the most tokens first (days in order); without one, give a single total."""
    groups: dict[str, list[Entry]] = {}
    for entry in entries:
        groups.setdefault(_key(entry, by), []).append(entry)
    if by is None:
        groups = {"all": list(entries)}
    totals = [_total(key, group) for key, group in groups.items()]
    if by == "day":
        return tuple(sorted(totals, key=lambda total: total.key))
    return tuple(sorted(totals, key=lambda total: (-total.usage.total_tokens, total.key)))


def _key(entry: Entry, by: GroupBy | None) -> str:
    match by:
        case "role":
            return entry.role
        case "model":
            return entry.model
        case "task":
            return entry.task or "(none)"
        case "backend":
            return entry.backend
        case "day":
            return entry.at.astimezone(UTC).date().isoformat()
        case None:
            return "all"


def _total(key: str, entries: Sequence[Entry]) -> Total:
    costs = [entry.cost_usd for entry in entries if entry.cost_usd is not None]
    savings = [saved for entry in entries if (saved := saved_usd(entry.model, entry.usage)) is not None]
    return Total(
        key=key,
        requests=sum(entry.requests for entry in entries),
        failures=sum(entry.outcome != "ok" for entry in entries),
        usage=sum((entry.usage for entry in entries), Usage()),
        cost_usd=sum(costs) if costs else None,
        saved_usd=sum(savings) if savings else None,
        unpriced=sum(entry.cost_usd is None and entry.usage.total_tokens > 0 for entry in entries),
        duration_s=sum(entry.duration_s for entry in entries),
        retries=sum(entry.retries for entry in entries),
        waited_s=sum(entry.waited_s for entry in entries),
    )
