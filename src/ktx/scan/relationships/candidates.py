"""References worth checking, best first, from names: an index over words keeps the work near the number of columns."""

from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from ktx.catalog import Catalog, Column, Table, TableRef
from ktx.scan.relationships.families import can_compare, family
from ktx.scan.relationships.keys import Key, Keys
from ktx.scan.relationships.naming import ColumnName, NameMatch, Naming, glued_readings, match_thing
from ktx.scan.relationships.words import PEOPLE, PERSON_ROLES, SELF_ROLES, STRONG_KEYS, likeness, singular

_AMBIGUOUS = frozenset({"order", "group", "rank", "sort", "priority", "sequence", "position", "level"})
"""Alone, these words more often say a place in a row than another table."""


@dataclass(frozen=True, kw_only=True)
class Candidate:
    """A possible reference and what its names say for it; `proposed` is the strength of a proposal from outside, 0 for none."""

    table: TableRef
    columns: tuple[str, ...]
    key: Key
    name: float
    why: str
    proposed: float = 0.0
    reason: str = ""

    @property
    def order(self) -> tuple[float, TableRef, tuple[str, ...], TableRef, tuple[str, ...]]:
        """Best names first, then by reference, so that two runs look in the same order."""
        return (-self.name, self.table, self.columns, self.key.table, self.key.columns)


def name_candidates(
    catalog: Catalog, naming: Naming, keys: Keys, *, max_per_column: int
) -> tuple[Candidate, ...]:
    """Give every column's likely targets by name, at most `max_per_column` each, best first."""
    lookup = _Lookup(catalog, naming, keys)
    found: list[Candidate] = []
    for table in catalog.tables:
        for column in table.columns:
            if family(column) == "other":
                continue
            found.extend(sorted(lookup.targets(table, column), key=lambda one: one.order)[:max_per_column])
    return tuple(sorted(found, key=lambda one: one.order))


class _Lookup:
    """The tables of a catalog, reachable by the words of their keys and by the things they hold."""

    def __init__(self, catalog: Catalog, naming: Naming, keys: Keys) -> None:
        self._naming = naming
        self._keys = keys
        self._tables: Mapping[TableRef, Table] = {table.ref: table for table in catalog.tables}
        self._by_key_words: defaultdict[tuple[str, ...], list[Key]] = defaultdict(list)
        for table in catalog.tables:
            for key in keys.single(table.ref):
                name = naming.column(table.ref, key.columns[0])
                if name.thing:
                    self._by_key_words[name.words].append(key)
        self._people = tuple(
            table.ref
            for table in catalog.tables
            if any(len(thing) <= 2 and set(thing[-1:]) & PEOPLE for thing in naming.tables[table.ref].things)
            and keys.single(table.ref)
        )

    def targets(self, table: Table, column: Column) -> Iterator[Candidate]:
        """Give the likely targets of one column, each once, with the best reading of its name."""
        name = self._naming.column(table.ref, column.name)
        best: dict[tuple[TableRef, tuple[str, ...]], NameMatch] = {}
        keys: dict[tuple[TableRef, tuple[str, ...]], Key] = {}
        for key, match in self._matches(table, name):
            target = self._tables[key.table].column(key.columns[0])
            if target is None or not can_compare(family(column), family(target)):
                continue
            if key.table == table.ref and key.columns == (column.name,):
                continue
            spot = (key.table, key.columns)
            if spot not in best or match.strength > best[spot].strength:
                best[spot], keys[spot] = match, key
        own = self._own_strength(table, column, name)
        for spot, match in best.items():
            strength = match.strength * (0.97 if keys[spot].table.schema != table.ref.schema else 1.0)
            strength *= 0.9 if self._naming.tables[keys[spot].table].is_copy else 1.0
            if strength > own:
                yield Candidate(
                    table=table.ref,
                    columns=(column.name,),
                    key=keys[spot],
                    name=round(strength, 4),
                    why=match.why,
                )

    def _own_strength(self, table: Table, column: Column, name: ColumnName) -> float:
        """How strongly a column is its own table's key: a reference must say more than that."""
        key = self._keys.primary.get(table.ref)
        if key is None or key.columns != (column.name,):
            return 0.5
        if not name.thing:
            return 1.0
        return max(match_thing(name.thing, self._naming.tables[table.ref]).strength * 0.97, 0.9)

    def _matches(self, table: Table, name: ColumnName) -> Iterator[tuple[Key, NameMatch]]:
        yield from self._same_key_name(name)
        if name.is_attribute:
            return
        yield from self._self_references(table, name)
        yield from self._person_roles(table, name)
        readings = (name.thing, *glued_readings(name))
        for ref in self._naming.tables_like(readings):
            for key in self._keys.single(ref):
                for index, thing in enumerate(readings):
                    if not thing:
                        continue
                    agreed = self._agreement(name, thing, key, is_glued=index > 0, is_own=ref == table.ref)
                    if agreed.strength:
                        yield key, agreed

    def _same_key_name(self, name: ColumnName) -> Iterator[tuple[Key, NameMatch]]:
        """Targets whose key is called as this column is, whole or after a role."""
        if not name.thing:
            return
        for start in range(len(name.words)):
            part = name.words[start:]
            for key in self._by_key_words.get(part, ()):
                target = self._naming.column(key.table, key.columns[0])
                if start and not (target.key or len(part) > 1):
                    continue
                if target.is_attribute and not (start == 0 and key.is_primary):
                    continue
                holds = match_thing(target.thing, self._naming.tables[key.table]).strength
                strength = (0.97 if holds >= 0.85 else 0.94) - (0.05 if start else 0.0)
                strength -= 0.0 if key.is_primary else 0.02
                strength = 0.6 if target.is_attribute else strength
                role = " ".join(name.words[:start])
                why = f"has the key's name in the role `{role}`" if start else "has the key's name"
                yield key, NameMatch(strength=strength, why=why)

    def _self_references(self, table: Table, name: ColumnName) -> Iterator[tuple[Key, NameMatch]]:
        is_person = any(thing[-1] in PEOPLE for thing in self._naming.tables[table.ref].things)
        rest = tuple(word for word in name.thing if word not in SELF_ROLES)
        is_role = len(rest) < len(name.thing)
        if is_role and (not rest or match_thing(rest, self._naming.tables[table.ref]).strength >= 0.85):
            strength, why = 0.92, "names another row of the same table"
        elif is_person and set(name.words) & PERSON_ROLES:
            strength, why = 0.9, "names another person of the same table"
        else:
            return
        for key in self._keys.single(table.ref)[:1]:
            yield key, NameMatch(strength=strength, why=why)

    def _person_roles(self, table: Table, name: ColumnName) -> Iterator[tuple[Key, NameMatch]]:
        if not set(name.words) & PERSON_ROLES or table.ref in self._people:
            return
        near = [ref for ref in self._people if ref.schema == table.ref.schema] or list(self._people)
        strength = 0.86 if len(near) == 1 else 0.7
        for ref in near:
            for key in self._keys.single(ref)[:1]:
                yield key, NameMatch(strength=strength, why="names what a person did or is")

    def _agreement(
        self, name: ColumnName, thing: tuple[str, ...], key: Key, *, is_glued: bool, is_own: bool
    ) -> NameMatch:
        match = match_thing(thing, self._naming.tables[key.table])
        target = self._naming.column(key.table, key.columns[0])
        if is_own and match.why in {"names the table", "abbreviates the table's name"}:
            return NameMatch(strength=0.0, why="")
        same = _same_thing(thing, target)
        if same > match.strength:
            match = NameMatch(strength=same, why="means the same as the key")
        if not match.strength:
            return match
        if name.key is None and not is_glued:
            return _bare(name, match)
        fit = _key_fit(name, target, is_glued=is_glued, is_primary=key.is_primary)
        return NameMatch(strength=match.strength * fit, why=match.why)


def _same_thing(thing: tuple[str, ...], target: ColumnName) -> float:
    if not target.thing or len(thing) != len(target.thing) or target.is_attribute:
        return 0.0
    return 0.97 * min(likeness(one, other) for one, other in zip(thing, target.thing, strict=True))


def _key_fit(name: ColumnName, target: ColumnName, *, is_glued: bool, is_primary: bool) -> float:
    """How well the key words on both sides go together."""
    if is_glued:
        fit = 0.95
    elif name.key == target.key or target.key is None:
        fit = 0.97
    elif (name.key in STRONG_KEYS) == (target.key in STRONG_KEYS):
        fit = 0.95
    else:
        fit = 0.92
    return fit * (1.0 if is_primary else 0.96)


def _bare(name: ColumnName, match: NameMatch) -> NameMatch:
    """Judge a name without any key word: `customer` may refer to customers, `open_orders` more likely counts orders."""
    is_singular = all(singular(word) == word for word in name.words[-1:])
    is_plain = len(name.words) == 1 and match.strength >= 0.95 and not set(name.words) & _AMBIGUOUS
    if is_plain and is_singular:
        return NameMatch(strength=0.9 * match.strength, why=match.why)
    return NameMatch(strength=(0.65 if is_singular else 0.4) * match.strength, why=match.why)
