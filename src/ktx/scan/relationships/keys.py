"""Primary keys and alternate keys: which columns identify a row, judged by names, types and, where there are rows, the data."""

import itertools
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from ktx.catalog import Catalog, Column, Table, TableProfile, TableRef
from ktx.scan.relationships.families import family
from ktx.scan.relationships.naming import Naming, match_thing
from ktx.scan.relationships.probe import Budget, Probe
from ktx.scan.relationships.words import STRONG_KEYS

_SEQUENCES = frozenset(
    {
        "revision",
        "version",
        "idx",
        "ordinal",
        "line",
        "pos",
        "index",
        "position",
        "step",
        "seq",
        "lfd",
        "posten",
        "sequence",
        "rank",
        "row",
    }
)
_ENOUGH = 0.65
_PERHAPS = 0.45
_MOST_PROOFS = 3
_MOST_SHARING = 50
"""A column that more tables have (`updated_at`, `tenant_id`) points at none of them."""
_DATE_PARTS = frozenset({"year", "month", "day", "hour", "minute", "week", "quarter"})


@dataclass(frozen=True, kw_only=True)
class Key:
    """Columns that identify a row. `is_proven` says that data or a declaration holds it, `score` how sure its name is."""

    table: TableRef
    columns: tuple[str, ...]
    score: float
    is_proven: bool
    is_declared: bool = False
    is_primary: bool = True


@dataclass(frozen=True, kw_only=True)
class Keys:
    """The primary key and the other keys of every table that has one."""

    primary: Mapping[TableRef, Key] = field(default_factory=dict[TableRef, Key])
    alternates: Mapping[TableRef, tuple[Key, ...]] = field(default_factory=dict[TableRef, tuple[Key, ...]])

    def single(self, table: TableRef) -> tuple[Key, ...]:
        """Give the one-column keys of a table, the primary one first."""
        primary = self.primary.get(table)
        first = (primary,) if primary and len(primary.columns) == 1 else ()
        return first + self.alternates.get(table, ())


def find_keys(
    catalog: Catalog,
    profiles: Mapping[TableRef, TableProfile],
    naming: Naming,
    *,
    probe: Probe | None,
    budget: Budget,
) -> Keys:
    """Find the keys of every table. Queries are spent only where no single column is a key and some pair may be."""
    primary: dict[TableRef, Key] = {}
    alternates: dict[TableRef, tuple[Key, ...]] = {}
    shared = _sharing_tables(catalog)
    for table in catalog.tables:
        if table.primary_key:
            primary[table.ref] = Key(
                table=table.ref, columns=table.primary_key, score=1.0, is_proven=True, is_declared=True
            )
        singles = _proven(_single_keys(table, profiles.get(table.ref), naming), table, profiles, probe)
        if table.ref not in primary and _is_counted_within(table, naming) and not profiles.get(table.ref):
            composite = _composite_key(table, None, naming, probe=None, budget=budget)
            if composite and (not singles or singles[0].score < 0.9):
                primary[table.ref] = composite
        if table.ref not in primary and singles and singles[0].score >= _ENOUGH:
            primary[table.ref] = singles[0]
        if table.ref not in primary:
            composite = _composite_key(table, profiles.get(table.ref), naming, probe=probe, budget=budget)
            if composite is None and not (singles and singles[0].score >= _PERHAPS):
                composite = _shared_key(table, profiles.get(table.ref), naming, probe, budget, shared)
            if composite:
                primary[table.ref] = composite
            elif singles and singles[0].score >= _PERHAPS:
                primary[table.ref] = singles[0]
        chosen = primary.get(table.ref)
        others = tuple(
            Key(table=key.table, columns=key.columns, score=key.score, is_proven=True, is_primary=False)
            for key in singles
            if (chosen is None or key.columns != chosen.columns)
            and key.score >= _ENOUGH
            and key.is_proven
            and not _plays_a_role(key.columns[0], chosen, table.ref, naming)
        )
        if others:
            alternates[table.ref] = others
    return Keys(primary=primary, alternates=alternates)


def _proven(
    found: list[Key], table: Table, profiles: Mapping[TableRef, TableProfile], probe: Probe | None
) -> list[Key]:
    """Make sure of the best key of a table that only a sample was seen of; the next ones are no better than a sample."""
    profile = profiles.get(table.ref)
    if table.primary_key or profile is None or profile.is_exact or not profile.profiled_rows:
        return found
    kept: list[Key] = []
    for place, key in enumerate(found):
        if kept or place >= _MOST_PROOFS or key.score < _PERHAPS:
            kept.append(replace(key, is_proven=False))
            continue
        counted = probe.count_distinct(table.ref, key.columns) if probe else None
        if counted is None or counted.distinct == counted.rows:
            kept.append(replace(key, is_proven=counted is not None))
    return kept


def is_unique(profile: TableProfile | None, column: str) -> bool | None:
    """Tell whether a column held no duplicate and no null in the profiled rows; None when there were none to look at."""
    if profile is None or not profile.profiled_rows:
        return None
    found = profile.column(column)
    if found is None:
        return None
    return found.null_count == 0 and found.distinct_count == profile.profiled_rows


def key_name_score(table: Table, column: Column, naming: Naming) -> float:
    """Score from 0 to 1 how much a column's name and place say that it identifies its table's rows."""
    name = naming.column(table.ref, column.name)
    is_first = bool(table.columns) and table.columns[0].name == column.name
    own = match_thing(name.thing, naming.tables[table.ref]).strength
    if name.is_key_like:
        if not name.thing:
            return 1.0 if name.key in STRONG_KEYS else 0.9
        foreign = _best_other(table.ref, name.thing, naming) if own < 1.0 else 0.0
        if foreign >= 0.9 and foreign > own:
            return 0.5
        if own >= 0.85:
            return 0.98
        if is_first:
            return 0.5 if _is_counted_within(table, naming) else 0.9
        return 0.7
    if name.is_attribute:
        return 0.1
    if own >= 0.9:
        return 0.75
    return 0.7 if is_first else 0.4


def _best_other(own: TableRef, thing: tuple[str, ...], naming: Naming) -> float:
    return max(
        (
            match_thing(thing, naming.tables[ref]).strength
            for ref in naming.tables_like((thing,))
            if ref != own
        ),
        default=0.0,
    )


def _is_counted_within(table: Table, naming: Naming) -> bool:
    """Whether the second column numbers rows within the first: `order_id, line_number`."""
    if len(table.columns) < 2:
        return False
    return bool(set(naming.column(table.ref, table.columns[1].name).words) & _SEQUENCES)


def _plays_a_role(column: str, primary: Key | None, table: TableRef, naming: Naming) -> bool:
    """Whether a column is called as the primary key with a role before it, and so refers rather than identifies."""
    if primary is None or len(primary.columns) != 1:
        return False
    own, key = naming.column(table, column).words, naming.column(table, primary.columns[0]).words
    return len(own) > len(key) and own[-len(key) :] == key


def _single_keys(table: Table, profile: TableProfile | None, naming: Naming) -> list[Key]:
    declared = {key[0] for key in table.unique_keys if len(key) == 1}
    found: list[Key] = []
    for column in table.columns:
        if family(column) not in {"integer", "text", "uuid"}:
            continue
        unique = True if column.name in declared else is_unique(profile, column.name)
        if unique is False:
            continue
        score = key_name_score(table, column, naming)
        if unique is None and score < _ENOUGH:
            continue
        found.append(Key(table=table.ref, columns=(column.name,), score=score, is_proven=unique is True))
    position = {column.name: place for place, column in enumerate(table.columns)}
    return sorted(found, key=lambda key: (-key.score, position[key.columns[0]]))


def _composite_key(
    table: Table, profile: TableProfile | None, naming: Naming, *, probe: Probe | None, budget: Budget
) -> Key | None:
    parts = _key_parts(table, profile, naming)
    if len(parts) < 2:
        return None
    if profile is None or not profile.profiled_rows:
        run = list(itertools.takewhile(lambda column: column.name in parts, table.columns))[:3]
        names = tuple(column.name for column in run)
        return Key(table=table.ref, columns=names, score=0.7, is_proven=False) if len(names) >= 2 else None
    if probe is None:
        return None
    for combination in _combinations(parts):
        if not _may_be_unique(profile, combination):
            continue
        if not budget.spend(f"whether ({', '.join(combination)}) identifies a row of {table.ref}"):
            return None
        counted = probe.count_distinct(table.ref, combination)
        if counted is not None and counted.rows and counted.distinct == counted.rows:
            return Key(table=table.ref, columns=combination, score=0.9, is_proven=True)
    return None


def _sharing_tables(catalog: Catalog) -> Mapping[tuple[str, str], tuple[TableRef, ...]]:
    """Give the tables that have a column of a name and type, for types that a key can have."""
    found: defaultdict[tuple[str, str], list[TableRef]] = defaultdict(list)
    for table in catalog.tables:
        for column in table.columns:
            if is_key_part(column):
                found[column.name, column.native_type].append(table.ref)
    return {spot: tuple(refs) for spot, refs in found.items() if 2 <= len(refs) <= _MOST_SHARING}


def is_key_part(column: Column) -> bool:
    """Tell whether a column may be a part of a composite key: what a key can be, or a point in time."""
    return family(column) != "other" or column.kind == "time"


def _shared_key(
    table: Table,
    profile: TableProfile | None,
    naming: Naming,
    probe: Probe | None,
    budget: Budget,
    shared: Mapping[tuple[str, str], tuple[TableRef, ...]],
) -> Key | None:
    """Find a key of two columns, a point in time among them, that another table has too: `(origin, time_hour)`."""
    if probe is None or profile is None or not profile.profiled_rows:
        return None
    whole: list[Column] = []
    for column in table.columns:
        facts = profile.column(column.name)
        if is_key_part(column) and facts is not None and facts.distinct_count > 1 and not facts.null_count:
            whole.append(column)
    times = [column for column in whole if column.kind == "time"]
    things = [
        column
        for column in whole
        if column.kind != "time" and not set(naming.column(table.ref, column.name).words) & _DATE_PARTS
    ]
    tries = 0
    for thing, moment in itertools.product(things, times):
        both = set(shared.get((thing.name, thing.native_type), ()))
        both &= set(shared.get((moment.name, moment.native_type), ()))
        names = (thing.name, moment.name)
        if not both - {table.ref} or tries >= _MOST_PROOFS or not _may_be_unique(profile, names):
            continue
        tries += 1
        if not budget.spend(f"whether ({', '.join(names)}) identifies a row of {table.ref}"):
            return None
        counted = probe.count_distinct(table.ref, names)
        if counted is not None and counted.rows and counted.distinct == counted.rows:
            return Key(table=table.ref, columns=names, score=0.8, is_proven=True)
    return None


def _key_parts(table: Table, profile: TableProfile | None, naming: Naming) -> tuple[str, ...]:
    found: list[str] = []
    for column in table.columns:
        name = naming.column(table.ref, column.name)
        is_part = name.is_key_like or (
            family(column) in {"integer", "text", "uuid"}
            and (name.key is not None or bool(set(name.words) & _SEQUENCES))
        )
        facts = profile.column(column.name) if profile else None
        if is_part and family(column) in {"integer", "text", "uuid"} and not (facts and facts.null_count):
            found.append(column.name)
    return tuple(found[:8])


def _combinations(parts: tuple[str, ...]) -> tuple[tuple[str, ...], ...]:
    """Leading columns first (that is where people put keys), then pairs with the first, at most eight tries."""
    tries = dict.fromkeys(
        [parts[:2], parts[:3], *itertools.combinations(parts, 2), *itertools.combinations(parts, 3)]
    )
    return tuple(tries)[:8]


def _may_be_unique(profile: TableProfile, columns: tuple[str, ...]) -> bool:
    product = 1
    for name in columns:
        facts = profile.column(name)
        product *= max(facts.distinct_count, 1) if facts else 1
    return product >= profile.profiled_rows
