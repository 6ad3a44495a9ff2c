"""What names say: the thing a column refers to, the thing a table holds, and how well the two agree."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from ktx.catalog import Catalog, Table, TableRef
from ktx.names import words
from ktx.scan.relationships.words import (
    ATTRIBUTES,
    COPIES,
    GLUED_KEYS,
    KEY_WORDS,
    LINKING,
    NEVER_WITH_WEAK_KEYS,
    NOISE_PREFIXES,
    NOISE_SUFFIXES,
    STRONG_KEYS,
    initials,
    likeness,
    singular,
)


@dataclass(frozen=True, kw_only=True)
class ColumnName:
    """A column's name taken apart: all its words, the words of the thing meant, and the key word, if any."""

    words: tuple[str, ...]
    thing: tuple[str, ...]
    key: str | None

    @property
    def is_key_like(self) -> bool:
        """Whether the name by itself claims to be a key or a reference."""
        if self.key is None:
            return False
        return self.key in STRONG_KEYS or not (set(self.thing) & NEVER_WITH_WEAK_KEYS)

    @property
    def is_attribute(self) -> bool:
        """Whether the name says that something is described or measured, not referred to."""
        if self.is_key_like:
            return False
        return bool(set(self.words) & ATTRIBUTES) or self.key is not None


@dataclass(frozen=True, kw_only=True)
class TableName:
    """A table's name taken apart: `things` holds the readings of what one row is, the most literal first."""

    words: tuple[str, ...]
    things: tuple[tuple[str, ...], ...]
    is_copy: bool


@dataclass(frozen=True, kw_only=True)
class NameMatch:
    """How well a reference's words name a table: strength from 0 to 1, and why in a few words."""

    strength: float
    why: str


NO_MATCH = NameMatch(strength=0.0, why="")


@dataclass(frozen=True, kw_only=True)
class Naming:
    """All names of one catalog, taken apart once, and an index from words to the tables they may mean."""

    columns: Mapping[TableRef, Mapping[str, ColumnName]]
    tables: Mapping[TableRef, TableName]
    tables_by_start: Mapping[str, tuple[TableRef, ...]]

    def column(self, ref: TableRef, column: str) -> ColumnName:
        """Give a column's name, taken apart."""
        return self.columns[ref][column]

    def tables_like(self, things: Iterable[tuple[str, ...]]) -> tuple[TableRef, ...]:
        """Give the tables that some reading may name, judged by first letters only; sorted, each once."""
        starts = {start for thing in things for word in thing for start in (word[:3], word[:1] + "*")}
        starts |= {"=" + word for thing in things for word in thing[-1:]}
        return tuple(sorted({ref for start in starts for ref in self.tables_by_start.get(start, ())}))


def read_names(catalog: Catalog) -> Naming:
    """Take the names of a catalog apart. Prefixes that most tables of a schema share say nothing and are set aside."""
    shared = _shared_table_prefixes(catalog.tables)
    tables = {table.ref: table_name(table.ref.name, shared=shared) for table in catalog.tables}
    by_start: defaultdict[str, set[TableRef]] = defaultdict(set)
    for ref, name in tables.items():
        for thing in name.things:
            by_start["=" + initials(thing)].add(ref)
            for word in {*thing[:1], *thing[-1:]}:
                by_start[word[:3]].add(ref)
    columns = {table.ref: _column_names(table) for table in catalog.tables}
    return Naming(
        columns=columns,
        tables=tables,
        tables_by_start={start: tuple(sorted(refs)) for start, refs in by_start.items()},
    )


def column_name(identifier: str, *, shared_prefix: str | None = None) -> ColumnName:
    """Take a column's name apart.

    >>> column_name("ship_address_id").thing, column_name("idCliente").thing, column_name("id").thing
    (('ship', 'address'), ('cliente',), ())
    """
    parts = words(identifier)
    if shared_prefix and len(parts) > 1 and parts[0] == shared_prefix:
        parts = parts[1:]
    is_marked = len(parts) > 1 and parts[0] == "fk"
    meant = parts[1:] if is_marked else parts
    if len(meant) > 1 and meant[-1].isdigit():
        meant = meant[:-1]
    key: str | None = None
    if meant and meant[-1] in KEY_WORDS:
        meant, key = meant[:-1], meant[-1]
        if meant and meant[-1] in STRONG_KEYS:
            meant = meant[:-1]
    elif len(meant) > 1 and meant[0] in KEY_WORDS:
        meant, key = meant[1:], meant[0]
    meant = tuple(word for word in meant if word not in LINKING) or meant
    return ColumnName(words=parts, thing=meant, key=key or ("fk" if is_marked else None))


def glued_readings(name: ColumnName) -> tuple[tuple[str, ...], ...]:
    """Give what is left of a last word that may hide a key word: `customerid` may mean customer.

    >>> glued_readings(column_name("customerid"))
    (('customer',),)
    """
    if name.key is not None or not name.thing:
        return ()
    last = name.thing[-1]
    return tuple(
        (*name.thing[:-1], last[: -len(ending)])
        for ending in GLUED_KEYS
        if last.endswith(ending) and len(last) - len(ending) >= 3
    )


def table_name(identifier: str, *, shared: frozenset[str] = frozenset()) -> TableName:
    """Take a table's name apart.

    >>> table_name("dim_countries").things
    (('country',), ('dim', 'country'))
    """
    parts = words(identifier)
    kept = tuple(part for part in parts if part not in COPIES and not part.isdigit()) or parts
    plain = kept
    while len(plain) > 1 and (plain[0] in NOISE_PREFIXES or plain[0] in shared):
        plain = plain[1:]
    while len(plain) > 1 and plain[-1] in NOISE_SUFFIXES:
        plain = plain[:-1]
    readings = dict.fromkeys(tuple(singular(part) for part in reading) for reading in (plain, kept))
    return TableName(words=parts, things=tuple(readings), is_copy=any(part in COPIES for part in parts))


def match_thing(thing: tuple[str, ...], table: TableName) -> NameMatch:
    """Tell how well the words of a reference name what a table holds.

    >>> match_thing(("customer",), table_name("customers")).strength
    1.0
    >>> match_thing(("billing", "address"), table_name("addresses")).why
    'names the table in the role `billing`'
    """
    if not thing:
        return NO_MATCH
    return max((_match_reading(thing, reading) for reading in table.things), key=lambda match: match.strength)


def _match_reading(thing: tuple[str, ...], reading: tuple[str, ...]) -> NameMatch:
    if "".join(map(singular, thing)) == "".join(reading) or singular("".join(thing)) == "".join(reading):
        return NameMatch(strength=1.0, why="names the table")
    if len(thing) == len(reading):
        strength = _all_alike(thing, reading)
        if strength:
            return NameMatch(
                strength=strength,
                why="names the table" if strength == 1.0 else "abbreviates the table's name",
            )
    if len(thing) > len(reading):
        strength = _all_alike(thing[-len(reading) :], reading)
        if strength:
            role = " ".join(thing[: -len(reading)])
            return NameMatch(strength=0.95 * strength, why=f"names the table in the role `{role}`")
    if len(thing) < len(reading):
        strength = _all_alike(thing, reading[-len(thing) :])
        if strength:
            return NameMatch(strength=0.92 * strength, why="names the last word of the table's name")
    if (
        len(thing) == 1
        and len(reading) > 1
        and len(thing[0]) == len(reading)
        and thing[0] == initials(reading)
    ):
        return NameMatch(strength=0.88, why="is the initials of the table's name")
    if len(thing) > len(reading) and _all_alike(thing[: len(reading)], reading):
        return NameMatch(strength=0.6, why="starts with the table's name")
    if len(thing) < len(reading) and _all_alike(thing, reading[: len(thing)]):
        return NameMatch(strength=0.6, why="names the first word of the table's name")
    joined = likeness("".join(thing), "".join(reading)) if len("".join(thing)) >= 4 else 0.0
    if joined:
        return NameMatch(strength=0.95 * joined, why="abbreviates the table's name")
    return NO_MATCH


def _all_alike(one: tuple[str, ...], other: tuple[str, ...]) -> float:
    strength = 1.0
    for left, right in zip(one, other, strict=True):
        strength = min(strength, likeness(left, right))
        if not strength:
            return 0.0
    return strength


def _column_names(table: Table) -> dict[str, ColumnName]:
    firsts = Counter(parts[0] for column in table.columns if len(parts := words(column.name)) > 1)
    prefix: str | None = None
    if firsts and len(table.columns) >= 3:
        word, count = firsts.most_common(1)[0]
        if count == len(table.columns) and len(word) <= 2 and word not in KEY_WORDS:
            prefix = word
    return {column.name: column_name(column.name, shared_prefix=prefix) for column in table.columns}


def _shared_table_prefixes(tables: tuple[Table, ...]) -> frozenset[str]:
    firsts = Counter(parts[0] for table in tables if len(parts := words(table.ref.name)) > 1)
    return frozenset(word for word, count in firsts.items() if count >= 4 and count * 2 >= len(tables))
