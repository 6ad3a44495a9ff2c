"""What past queries say about tables: how often, filtered and grouped by what, joined to what. Deterministic, no model.

Literals are replaced before anything is kept: a statement is its template, and only columns, operators and `?` go further.
Nothing here names a user or a time that the database did not record.
"""

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal

import sqlglot
from sqlglot import exp
from sqlglot.errors import SqlglotError

from ktx.catalog import Catalog, TableRef
from ktx.files import digest
from ktx.scan.reading import ObservedJoin, Reading, TableIndex, read_statement
from ktx.scan.templates import template_text
from ktx.warehouse.history import MARK, PastQueries, PastQuery

FrequencyTier = Literal["high", "mid", "low", "unused"]
_HIGH, _MID = 0.5, 0.1
_MOST_NAMED = 10
_SYSTEM = re.compile(
    r"^(pg_.*|information_schema|sys|system|mysql|performance_schema|account_usage|crdb_internal)$",
    re.IGNORECASE,
)
_NUMBERED = re.compile(r"\$\d+")
"""pg_stat_statements writes `$1` for a constant, also where the grammar wants one: `INTERVAL $1`."""
REDACTED = "[REDACTED]"


@dataclass(frozen=True, kw_only=True)
class HistorySettings:
    """Which past queries count. `programs` are patterns of user names; what only such users ran is left out.

    `tables` and `schemas` bound the tables of the catalog that are looked at; `*` among the schemas stands for all.
    """

    window_days: int = 90
    min_executions: int = 5
    tables: tuple[str, ...] = ()
    schemas: tuple[str, ...] = ()
    programs: tuple[str, ...] = ()
    leaves_out_programs: bool = True
    leaves_out_probes: bool = True
    failing: tuple[float, int] | None = None
    """(share of failures, executions from which it counts): a template that fails as often is left out."""
    redactions: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Template:
    """Statements that differ in their literals only. `id` is the same on every run and machine."""

    id: str
    sql: str
    tree: exp.Query
    executions: int
    users: Mapping[str | None, int]
    schema: str | None
    errors: int | None
    last_seen: datetime | None


@dataclass(frozen=True, kw_only=True)
class TableUsage:
    """How one table is used. `last_seen` is None where the database records no times."""

    executions: int
    tier: FrequencyTier
    filters: tuple[str, ...] = ()
    group_bys: tuple[str, ...] = ()
    joins: tuple[ObservedJoin, ...] = ()
    last_seen: datetime | None = None


@dataclass(frozen=True, kw_only=True)
class History:
    """What past queries said. `dropped` counts templates by the reason for leaving them out; `has_window` tells whether
    a table that no query touched is known to be unused.
    """

    usage: Mapping[TableRef, TableUsage] = field(default_factory=dict[TableRef, TableUsage])
    joins: tuple[ObservedJoin, ...] = ()
    templates: int = 0
    dropped: Mapping[str, int] = field(default_factory=dict[str, int])
    warnings: tuple[str, ...] = ()
    has_window: bool = False
    scope: frozenset[TableRef] = frozenset()
    """The tables that were looked for."""


@dataclass(kw_only=True)
class _Counts:
    executions: int = 0
    filters: Counter[str] = field(default_factory=Counter[str])
    group_bys: Counter[str] = field(default_factory=Counter[str])
    last_seen: datetime | None = None


def read_usage(past: PastQueries, catalog: Catalog, settings: HistorySettings) -> History:
    """Give what past queries say about the tables of a catalog.

    Without a table in scope nothing is kept, and a warning says so.
    """
    scope = TableIndex(catalog, tables=settings.tables, schemas=settings.schemas)
    if not scope.tables:
        return History(
            has_window=past.has_window, warnings=("no table of the catalog is in the scope of the history",)
        )
    templates, unread = make_templates(past.queries, catalog.dialect)
    dropped: Counter[str] = Counter(unread)
    kept: list[tuple[Template, Reading]] = []
    for template in templates:
        reason = _why_dropped(template, settings)
        reading = None if reason else read_statement(template.tree, scope, schema=template.schema)
        if reading is not None and not reading.tables:
            reason = "no table in scope"
        if reason or reading is None:
            dropped[reason or ""] += 1
        else:
            kept.append((template, reading))
    warnings: list[str] = []
    if past.unreadable:
        warnings.append(f"{past.unreadable:,} executions are hidden from this user")
    if past.is_cut:
        warnings.append(f"only the {len(past.queries):,} most executed were read")
    guessed = sum(not reading.is_qualified for _, reading in kept)
    if guessed:
        warnings.append(f"{guessed:,} templates do not fit the catalog: only their plain columns count")
    joins = _joins(kept)
    return History(
        usage=_usage(kept, joins, settings),
        joins=joins,
        templates=len(kept),
        dropped=dict(sorted(dropped.items())),
        warnings=tuple(warnings),
        has_window=past.has_window,
        scope=frozenset(scope.tables),
    )


def make_templates(
    queries: Iterable[PastQuery], dialect: str
) -> tuple[tuple[Template, ...], Mapping[str, int]]:
    """Fold statements into templates, most executed first; statements that are no query are counted by reason."""
    groups: defaultdict[tuple[str, str | None], list[PastQuery]] = defaultdict(list)
    trees: dict[tuple[str, str | None], exp.Query] = {}
    unread: Counter[str] = Counter()
    for query in queries:
        tree = _parse(query.sql, dialect)
        if isinstance(tree, str):
            unread[tree] += 1
            continue
        key = template_text(tree, dialect), query.schema
        groups[key].append(query)
        trees.setdefault(key, tree)
    templates = [
        _template(text, schema, trees[text, schema], group) for (text, schema), group in groups.items()
    ]
    return tuple(sorted(templates, key=lambda one: (-one.executions, one.id))), unread


def _parse(sql: str, dialect: str) -> exp.Query | str:
    """Give the one query in a text, or why it does not count."""
    if dialect in {"postgres", "redshift"}:
        sql = _NUMBERED.sub("'?'", sql)
    try:
        trees = [tree for tree in sqlglot.parse(sql, read=dialect) if tree is not None]
    except (SqlglotError, ValueError, RecursionError):
        return "not understood"
    if len(trees) != 1:
        return "not understood"
    tree = trees[0]
    if any(comment.strip() == MARK for node in tree.walk() for comment in node.comments or ()):
        return "asked by ktx"
    if not isinstance(tree, exp.Query):
        return "no query"
    return tree


def _template(text: str, schema: str | None, tree: exp.Query, group: Sequence[PastQuery]) -> Template:
    users: Counter[str | None] = Counter()
    for query in group:
        users[query.user] += query.executions
    errors = [query.errors for query in group if query.errors is not None]
    seen = [query.last_seen for query in group if query.last_seen is not None]
    return Template(
        id=digest(text)[:16],
        sql=text,
        tree=tree,
        executions=sum(query.executions for query in group),
        users=users,
        schema=schema,
        errors=sum(errors) if errors else None,
        last_seen=max(seen, default=None),
    )


def _why_dropped(template: Template, settings: HistorySettings) -> str | None:
    tables = list(template.tree.find_all(exp.Table))
    if any(_SYSTEM.match(table.db) or _SYSTEM.match(table.name) for table in tables):
        return "system catalog"
    if settings.leaves_out_probes and is_probe(template.tree):
        return "trivial probe"
    if template.executions < settings.min_executions:
        return "too rare"
    if settings.failing is not None and template.errors is not None:
        rate, least = settings.failing
        if template.executions >= least and template.errors / max(template.executions, 1) >= rate:
            return "fails"
    if (
        settings.leaves_out_programs
        and settings.programs
        and all(
            user is not None and any(re.search(pattern, user) for pattern in settings.programs)
            for user in template.users
        )
    ):
        return "service accounts only"
    return None


def is_probe(tree: exp.Query) -> bool:
    """Tell whether a query asks nothing of the data: no table, or a plain look at the first rows or their number.

    >>> is_probe(sqlglot.parse_one("SELECT 1")), is_probe(sqlglot.parse_one("SELECT * FROM t LIMIT 5"))
    (True, True)
    >>> is_probe(sqlglot.parse_one("SELECT COUNT(*) FROM t WHERE a = 1"))
    False
    """
    if tree.find(exp.Table) is None:
        return True
    if not isinstance(tree, exp.Select) or any(
        tree.args.get(part) for part in ("where", "group", "joins", "having", "with_")
    ):
        return False
    shown = [item.unalias() for item in tree.expressions]
    return len(shown) == 1 and (
        isinstance(shown[0], exp.Star)
        or (isinstance(shown[0], exp.Count) and isinstance(shown[0].this, exp.Star))
    )


def _joins(kept: Sequence[tuple[Template, Reading]]) -> tuple[ObservedJoin, ...]:
    counts: Counter[tuple[TableRef, tuple[str, ...], TableRef, tuple[str, ...]]] = Counter()
    for template, reading in kept:
        for join in reading.joins:
            counts[join] += template.executions
    return tuple(
        ObservedJoin(left=left, left_columns=own, right=right, right_columns=other, executions=executions)
        for (left, own, right, other), executions in sorted(counts.items())
    )


def _usage(
    kept: Sequence[tuple[Template, Reading]], joins: Sequence[ObservedJoin], settings: HistorySettings
) -> dict[TableRef, TableUsage]:
    counts: defaultdict[TableRef, _Counts] = defaultdict(_Counts)
    for template, reading in kept:
        for ref in reading.tables:
            counts[ref].executions += template.executions
            counts[ref].last_seen = _later(counts[ref].last_seen, template.last_seen)
        for ref, text in reading.filters:
            counts[ref].filters[_redacted(text, settings.redactions)] += template.executions
        for ref, text in reading.group_bys:
            counts[ref].group_bys[_redacted(text, settings.redactions)] += template.executions
    busiest = max((found.executions for found in counts.values()), default=0)
    by_table: defaultdict[TableRef, list[ObservedJoin]] = defaultdict(list)
    for join in joins:
        for ref in {join.left, join.right}:
            by_table[ref].append(join)
    return {
        ref: TableUsage(
            executions=found.executions,
            tier=_tier(found.executions / busiest),
            filters=_common(found.filters, found.executions),
            group_bys=_common(found.group_bys, found.executions),
            joins=tuple(join for join in by_table[ref] if join.executions / found.executions >= _MID),
            last_seen=found.last_seen,
        )
        for ref, found in sorted(counts.items())
    }


def _common(counts: Counter[str], executions: int) -> tuple[str, ...]:
    """Give what a tenth of a table's executions have, by tier and name, so that a few more executions reorder nothing."""
    shares = {text: count / executions for text, count in counts.items() if count / executions >= _MID}
    return tuple(sorted(shares, key=lambda text: (shares[text] < _HIGH, text))[:_MOST_NAMED])


def _tier(share: float) -> FrequencyTier:
    return "high" if share >= _HIGH else "mid" if share >= _MID else "low"


def _redacted(text: str, patterns: Sequence[str]) -> str:
    for pattern in patterns:
        text = re.sub(pattern, REDACTED, text)
    return text


def _later(one: datetime | None, other: datetime | None) -> datetime | None:
    return max((moment for moment in (one, other) if moment is not None), default=None)
