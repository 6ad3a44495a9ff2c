"""References that another column gives away: where `dest` refers to airports, `origin` of the same table may too.

Columns with few values say too little by themselves. Beside a column whose target is known, or with its name in another
table, few values that all occur in that target are worth a person's look.
"""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from ktx.catalog import Catalog, Relationship, Table, TableProfile, TableRef
from ktx.scan.relationships.candidates import Candidate
from ktx.scan.relationships.families import can_compare, family
from ktx.scan.relationships.keys import Key, Keys
from ktx.scan.relationships.naming import Naming
from ktx.scan.relationships.score import surprise_bits
from ktx.scan.relationships.values import fits

_LEAST_BITS = 4.0


@dataclass(frozen=True, kw_only=True)
class Sibling:
    """A possible reference, and which other column it is guessed from."""

    candidate: Candidate
    why: str


def sibling_candidates(
    catalog: Catalog,
    profiles: Mapping[TableRef, TableProfile],
    naming: Naming,
    keys: Keys,
    found: Sequence[Relationship],
    *,
    taken: frozenset[tuple[TableRef, str]],
) -> tuple[Sibling, ...]:
    """Give the columns that may refer where a sibling, or a namesake in another table, refers to; `taken` are settled ones."""
    known = [
        one
        for one in found
        if len(one.source_columns) == 1 and one.decision != "rejected" and not one.condition
    ]
    by_table: defaultdict[TableRef, list[Relationship]] = defaultdict(list)
    by_name: defaultdict[tuple[str, ...], list[Relationship]] = defaultdict(list)
    for one in known:
        by_table[one.source].append(one)
        by_name[naming.column(one.source, one.source_columns[0]).words].append(one)
    tables = {table.ref: table for table in catalog.tables}
    result: list[Sibling] = []
    for table in catalog.tables:
        if table.ref not in profiles:
            continue
        for column in table.columns:
            name = naming.column(table.ref, column.name)
            if (table.ref, column.name) in taken or name.is_attribute or family(column) == "other":
                continue
            guides = [*by_table.get(table.ref, ()), *by_name.get(name.words, ())]
            targets = {(one.target, one.target_columns): one for one in reversed(guides)}
            for guide in targets.values():
                key = _key(keys, guide)
                if key is not None and _may_refer(table, column.name, tables[guide.target], key, profiles):
                    result.extend(_sibling(table, column.name, key, guide))
    return tuple(sorted(result, key=lambda one: one.candidate.order))


def _sibling(table: Table, column: str, key: Key, guide: Relationship) -> Iterator[Sibling]:
    if key.table == table.ref and key.columns == (column,):
        return
    other = guide.source_columns[0]
    why = (
        f"`{other}` of the same table refers there"
        if guide.source == table.ref
        else f"`{guide.source.name}.{other}` has the same name and refers there"
    )
    yield Sibling(candidate=Candidate(table=table.ref, columns=(column,), key=key, name=0.0, why=""), why=why)


def _key(keys: Keys, guide: Relationship) -> Key | None:
    return next((key for key in keys.single(guide.target) if key.columns == guide.target_columns), None)


def _may_refer(
    table: Table, column: str, target: Table, key: Key, profiles: Mapping[TableRef, TableProfile]
) -> bool:
    own, other = table.column(column), target.column(key.columns[0])
    child = profiles[table.ref].column(column)
    profile = profiles.get(target.ref)
    parent = profile.column(key.columns[0]) if profile else None
    if own is None or other is None or child is None or parent is None or not child.distinct_count:
        return False
    kind = family(other)
    return (
        can_compare(family(own), kind)
        and fits(child, parent, kind)
        and surprise_bits(child, parent, kind) >= _LEAST_BITS
    )
