"""Past queries in an ingest: whether they are read, what they leave in the manifest, and what happens when they cannot be."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime

from ktx.catalog import Catalog, TableRef
from ktx.errors import ConfigError, OutsideError, QueryError
from ktx.events import Emit, StageFinished, StageStarted
from ktx.project import Project, warehouse_connection
from ktx.scan.history import History, HistorySettings, TableUsage, read_usage
from ktx.scan.reading import ObservedJoin
from ktx.semantic.manifest import Shard, join_text
from ktx.warehouse.warehouse import Warehouse

_OWN_KEYS = ("frequencyTier", "commonFilters", "commonGroupBys", "commonJoins", "staleSince")


@dataclass(frozen=True, kw_only=True)
class HistoryChoice:
    """What the command line says about past queries; None leaves it to ktx.yaml.

    `wants_words` has a model say what people ask of each table.
    """

    is_wanted: bool | None = None
    wants_words: bool = False
    window_days: int | None = None
    clock: Callable[[], datetime] = lambda: datetime.now(UTC)


def history_settings(project: Project, connection_id: str, choice: HistoryChoice) -> HistorySettings | str:
    """Give how a connection's past queries are read, or why they are not."""
    given = warehouse_connection(project, connection_id).context.query_history
    if not (given.enabled if choice.is_wanted is None else choice.is_wanted):
        return "off for this run" if choice.is_wanted is False else "off (`context.queryHistory.enabled`)"
    patterns = (*given.filters.service_accounts.patterns, *given.redaction_patterns)
    wrong = next((pattern for pattern in patterns if not _is_pattern(pattern)), None)
    if wrong is not None:
        return f"`{wrong}` in `context.queryHistory` is no regular expression"
    failing = given.filters.drop_failed_below
    programs = given.filters.service_accounts
    return HistorySettings(
        window_days=choice.window_days or given.window_days,
        min_executions=given.min_executions,
        tables=given.enabled_tables,
        schemas=given.enabled_schemas,
        programs=programs.patterns,
        leaves_out_programs=programs.mode == "exclude",
        leaves_out_probes=given.filters.drop_trivial_probes,
        failing=(failing.error_rate, failing.executions) if failing else None,
        redactions=given.redaction_patterns,
    )


def _is_pattern(text: str) -> bool:
    try:
        re.compile(text)
    except re.error:
        return False
    return True


def observe(
    warehouse: Warehouse, catalog: Catalog, settings: HistorySettings, *, emit: Emit
) -> History | str:
    """Read past queries over a catalog; when the database does not give them, say why instead."""
    emit(StageStarted(stage="query history"))
    try:
        past = warehouse.read_history(window_days=settings.window_days)
    except (ConfigError, QueryError, OutsideError) as error:
        emit(StageFinished(stage="query history", summary="not read"))
        return " ".join(part for part in (error.message, error.hint) if part)
    history = read_usage(past, catalog, settings)
    emit(StageFinished(stage="query history", summary=f"{history.templates:,} kinds of queries"))
    return history


def summary(history: History) -> str:
    """Say in one line what past queries gave, and what was left out why."""
    text = f"{history.templates:,} kinds of queries over {len(history.usage):,} tables, {len(history.joins):,} joins"
    left = ", ".join(f"{count:,} {reason}" for reason, count in history.dropped.items())
    return "; ".join(part for part in (text, f"left out: {left}" if left else "", *history.warnings) if part)


def usage_entries(
    history: History,
    names: Mapping[TableRef, str],
    old: Mapping[str, Shard],
    *,
    today: date,
) -> dict[TableRef, dict[str, object]]:
    """Give the `usage` of the manifest, for every table that past queries say something about.

    A table that a window of the history does not show is unused; since when is kept from the run that found it so. A
    history without times says nothing about tables that it does not show.
    """
    before = {table.ref: table.usage or {} for shard in old.values() for table in shard.tables.values()}
    entries = {
        ref: _entry(ref, usage, names, before.get(ref, {}))
        for ref, usage in history.usage.items()
        if ref in names
    }
    if history.has_window and history.templates:
        for ref in (history.scope & names.keys()) - entries.keys():
            entries[ref] = _unused(before.get(ref, {}), today)
    return entries


def _entry(
    ref: TableRef, usage: TableUsage, names: Mapping[TableRef, str], before: Mapping[str, object]
) -> dict[str, object]:
    entry: dict[str, object] = {key: value for key, value in before.items() if key not in _OWN_KEYS}
    entry["frequencyTier"] = usage.tier
    if usage.filters:
        entry["commonFilters"] = list(usage.filters)
    if usage.group_bys:
        entry["commonGroupBys"] = list(usage.group_bys)
    joins = [_join(ref, join, names) for join in usage.joins if {join.left, join.right} <= names.keys()]
    if joins:
        entry["commonJoins"] = joins
    return entry


def _join(ref: TableRef, join: ObservedJoin, names: Mapping[TableRef, str]) -> dict[str, object]:
    is_left = join.left == ref
    other = join.right if is_left else join.left
    own_columns, other_columns = (
        (join.left_columns, join.right_columns) if is_left else (join.right_columns, join.left_columns)
    )
    pairs = zip(own_columns, other_columns, strict=True)
    return {
        "table": names[other],
        "on": [join_text(names[ref], (own,), names[other], (their,)) for own, their in pairs],
    }


def _unused(before: Mapping[str, object], today: date) -> dict[str, object]:
    entry: dict[str, object] = {key: value for key, value in before.items() if key not in _OWN_KEYS}
    entry["frequencyTier"] = "unused"
    since = before.get("staleSince")
    if since is None and before.get("frequencyTier") not in {None, "unused"}:
        since = today.isoformat()
    if since is not None:
        entry["staleSince"] = since
    return entry
