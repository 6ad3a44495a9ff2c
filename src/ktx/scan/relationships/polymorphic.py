"""References whose target table is named in the row itself: `commentable_type` = 'Post' beside `commentable_id`."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from ktx.catalog import Catalog, Table, TableProfile, TableRef
from ktx.names import words
from ktx.scan.relationships.families import family
from ktx.scan.relationships.keys import Key, Keys
from ktx.scan.relationships.naming import Naming, match_thing

_TYPE_WORDS = frozenset({"type", "typ", "kind", "class", "model", "entity", "table", "tipo", "art"})


@dataclass(frozen=True, kw_only=True)
class PolymorphicCandidate:
    """One target of a polymorphic reference: rows whose `type_column` is `type_value` point to the key's table."""

    table: TableRef
    column: str
    type_column: str
    type_value: str
    key: Key


def polymorphic_pairs(table: Table) -> tuple[tuple[str, str], ...]:
    """Give the (type column, id column) pairs of a table, by name and type.

    >>> from ktx.catalog import Column
    >>> kinds = {"owner_type": "VARCHAR", "owner_id": "BIGINT", "type": "VARCHAR"}
    >>> polymorphic_pairs(Table(ref=TableRef(name="notes"), columns=tuple(
    ...     Column(name=name, native_type=native, kind="number" if native == "BIGINT" else "string")
    ...     for name, native in kinds.items())))
    (('owner_type', 'owner_id'),)
    """
    ids: dict[tuple[str, ...], str] = {}
    for column in table.columns:
        parts = words(column.name)
        if len(parts) > 1 and parts[-1] in {"id", "key", "uuid", "pk"} and family(column) != "other":
            ids[parts[:-1]] = column.name
    found: list[tuple[str, str]] = []
    for column in table.columns:
        parts = words(column.name)
        if len(parts) > 1 and parts[-1] in _TYPE_WORDS and column.kind == "string" and parts[:-1] in ids:
            found.append((column.name, ids[parts[:-1]]))
    return tuple(found)


def polymorphic_candidates(
    catalog: Catalog, profiles: Mapping[TableRef, TableProfile], naming: Naming, keys: Keys
) -> tuple[PolymorphicCandidate, ...]:
    """Give the targets that the values of type columns name. Without rows there are no values, and so none."""
    found: list[PolymorphicCandidate] = []
    for table in catalog.tables:
        for type_column, id_column in polymorphic_pairs(table):
            profile = profiles.get(table.ref)
            facts = profile.column(type_column) if profile else None
            values = [value for value, _ in facts.top_values] if facts and facts.distinct_count <= 50 else []
            for value in values:
                found.extend(_named(table, type_column, id_column, value, naming, keys))
    return tuple(found)


def _named(
    table: Table, type_column: str, id_column: str, value: str, naming: Naming, keys: Keys
) -> Iterator[PolymorphicCandidate]:
    thing = words(value.replace("::", " ").replace("\\", " ").replace("/", " "))
    if not thing:
        return
    ranked = sorted(
        (
            (-match_thing(thing, naming.tables[ref]).strength, ref.schema != table.ref.schema, ref)
            for ref in naming.tables_like((thing,))
        ),
    )
    for negative, _, ref in ranked[:1]:
        for key in keys.single(ref)[:1]:
            if -negative >= 0.9 and (naming.column(ref, key.columns[0]).is_key_like or key.is_declared):
                yield PolymorphicCandidate(
                    table=table.ref, column=id_column, type_column=type_column, type_value=value, key=key
                )
