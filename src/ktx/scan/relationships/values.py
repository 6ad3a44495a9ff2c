"""References that only the data speaks for: columns whose names say nothing, found without comparing all with all.

The `k` smallest distinct values of a column, in the database's order, are a sample that two columns of equal content share:
if the child's values are a random part of the parent's, `k · |child| / |parent|` of the child's sample lie in the parent's.
One query per table fetches them; pairs are then compared here, by hashing.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ktx.catalog import Catalog, ColumnProfile, Table, TableProfile, TableRef
from ktx.scan.relationships.families import Family, can_compare, family
from ktx.scan.relationships.keys import Key, Keys
from ktx.scan.relationships.naming import Naming
from ktx.scan.relationships.probe import Budget, Probe
from ktx.scan.relationships.score import surprise_bits

SKETCH_SIZE = 256
_LEAST_BITS = 20.0
_MOST_PER_COLUMN = 3
_MOST_PAIRS = 2_000_000


@dataclass(frozen=True, kw_only=True)
class ValueCandidate:
    """A possible reference for which values speak: `shared` counts sample values that both sides have."""

    table: TableRef
    column: str
    key: Key
    shared: int
    bits: float


@dataclass(frozen=True, kw_only=True)
class _Side:
    table: Table
    column: str
    kind: Family
    profile: ColumnProfile


def value_candidates(
    catalog: Catalog,
    profiles: Mapping[TableRef, TableProfile],
    naming: Naming,
    keys: Keys,
    *,
    solved: frozenset[tuple[TableRef, str]],
    probe: Probe,
    budget: Budget,
) -> tuple[ValueCandidate, ...]:
    """Give pairs of unsolved columns and keys that share sample values, at most three per column, most telling first."""
    children, parents = _sides(catalog, profiles, naming, keys, solved)
    parents = [
        parent
        for parent in parents
        if surprise_bits(parent.profile, parent.profile, parent.kind) >= _LEAST_BITS
    ]
    if len(children) * len(parents) > _MOST_PAIRS:
        budget.unasked.append(
            f"values of {len(children)} columns against {len(parents)} keys (too many pairs)"
        )
        return ()
    pairs = [(child, parent) for child in children for parent in _fitting(child, parents)]
    if not pairs:
        return ()
    samples = _samples([side for pair in pairs for side in pair], probe, budget)
    found: defaultdict[tuple[TableRef, str], list[ValueCandidate]] = defaultdict(list)
    by_column = {(key.table, key.columns[0]): key for key in _single_keys(keys)}
    for child, parent in pairs:
        shared = _shared(
            samples.get((child.table.ref, child.column)), samples.get((parent.table.ref, parent.column))
        )
        if shared:
            bits = surprise_bits(child.profile, parent.profile, parent.kind)
            key = by_column[parent.table.ref, parent.column]
            found[child.table.ref, child.column].append(
                ValueCandidate(table=child.table.ref, column=child.column, key=key, shared=shared, bits=bits)
            )
    best = [
        one
        for spot in sorted(found)
        for one in sorted(found[spot], key=lambda one: (-one.shared, -one.bits, one.key.table))[
            :_MOST_PER_COLUMN
        ]
    ]
    return tuple(sorted(best, key=lambda one: (-one.bits, one.table, one.column)))


def _single_keys(keys: Keys) -> list[Key]:
    return [key for key in keys.primary.values() if len(key.columns) == 1]


def _sides(
    catalog: Catalog,
    profiles: Mapping[TableRef, TableProfile],
    naming: Naming,
    keys: Keys,
    solved: frozenset[tuple[TableRef, str]],
) -> tuple[list[_Side], list[_Side]]:
    children: list[_Side] = []
    parents: list[_Side] = []
    for table in catalog.tables:
        profile = profiles.get(table.ref)
        primary = keys.primary.get(table.ref)
        for column in table.columns:
            facts = profile.column(column.name) if profile else None
            kind = family(column)
            if facts is None or kind == "other" or not facts.distinct_count:
                continue
            side = _Side(table=table, column=column.name, kind=kind, profile=facts)
            if primary is not None and primary.columns == (column.name,):
                if primary.is_proven and facts.distinct_count >= 3:
                    parents.append(side)
            elif (table.ref, column.name) not in solved and not naming.column(
                table.ref, column.name
            ).is_attribute:
                children.append(side)
    return children, parents


def _fitting(child: _Side, parents: Sequence[_Side]) -> list[_Side]:
    return [
        parent
        for parent in parents
        if parent.table.ref != child.table.ref
        and can_compare(child.kind, parent.kind)
        and fits(child.profile, parent.profile, parent.kind)
        and surprise_bits(child.profile, parent.profile, parent.kind) >= _LEAST_BITS
    ]


def fits(child: ColumnProfile, parent: ColumnProfile, kind: Family) -> bool:
    """Tell whether count, range and length of a column allow all its values to be among another's."""
    if child.distinct_count > parent.distinct_count * 1.01:
        return False
    if kind == "integer":
        inner, outer = _range(child), _range(parent)
        return inner is not None and outer is not None and outer[0] <= inner[0] and inner[1] <= outer[1]
    shortest, longest = child.min_length or 0, child.max_length or 0
    return shortest >= (parent.min_length or 0) and longest <= (parent.max_length or 0)


def _range(profile: ColumnProfile) -> tuple[int, int] | None:
    try:
        return int(profile.min_value or ""), int(profile.max_value or "")
    except ValueError:
        return None


def _samples(
    sides: Sequence[_Side], probe: Probe, budget: Budget
) -> dict[tuple[TableRef, str], tuple[str, ...]]:
    columns: defaultdict[TableRef, dict[str, None]] = defaultdict(dict)
    for side in sides:
        columns[side.table.ref][side.column] = None
    samples: dict[tuple[TableRef, str], tuple[str, ...]] = {}
    for ref in sorted(columns):
        if not budget.spend(f"sample values of {ref}"):
            continue
        found = probe.smallest(ref, tuple(columns[ref]), SKETCH_SIZE)
        for name, values in (found or {}).items():
            samples[ref, name] = values
    return samples


def _shared(child: tuple[str, ...] | None, parent: tuple[str, ...] | None) -> int:
    if not child or not parent:
        return 0
    common = len(set(child) & set(parent))
    is_whole = len(parent) < SKETCH_SIZE
    if is_whole and common < len(set(child)) * 0.99:
        return 0
    return common
