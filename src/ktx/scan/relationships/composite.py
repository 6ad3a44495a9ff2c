"""References of several columns at once: every column of a composite key has a namesake in the referring table."""

from collections import defaultdict
from collections.abc import Iterator

from ktx.catalog import Catalog, Column, Table, TableRef
from ktx.scan.relationships.candidates import Candidate
from ktx.scan.relationships.families import can_compare, family
from ktx.scan.relationships.keys import Key, Keys
from ktx.scan.relationships.naming import Naming


def composite_candidates(catalog: Catalog, naming: Naming, keys: Keys) -> tuple[Candidate, ...]:
    """Give the references whose columns, whole, are called as those of another table's composite key, best first.

    A table is found through its rarest-named key column, so the work stays near the number of columns.
    """
    tables = {table.ref: table for table in catalog.tables}
    owners: defaultdict[tuple[str, ...], list[Table]] = defaultdict(list)
    for table in catalog.tables:
        for column in table.columns:
            for word_set in {naming.column(table.ref, column.name).words}:
                owners[word_set].append(table)
    found: list[Candidate] = []
    for key in keys.primary.values():
        if len(key.columns) < 2:
            continue
        namesakes = [owners[naming.column(key.table, name).words] for name in key.columns]
        for table in min(namesakes, key=len):
            found.extend(_candidate(table, tables[key.table], key, naming, keys))
    return tuple(sorted(found, key=lambda one: one.order))


def _candidate(table: Table, target: Table, key: Key, naming: Naming, keys: Keys) -> Iterator[Candidate]:
    if table.ref == target.ref:
        return
    own = keys.primary.get(table.ref)
    columns: list[str] = []
    for name in key.columns:
        wanted = naming.column(target.ref, name).words
        other = target.column(name)
        match = next(
            (
                column
                for column in table.columns
                if naming.column(table.ref, column.name).words == wanted
                and other is not None
                and _are_comparable(column, other)
            ),
            None,
        )
        if match is None:
            return
        columns.append(match.name)
    if own is not None and set(own.columns) == set(columns) and not _extends(table.ref, target.ref, naming):
        return
    yield Candidate(
        table=table.ref,
        columns=tuple(columns),
        key=key,
        name=0.96 if own is not None and set(columns) < set(own.columns) else 0.93,
        why="have the names of the key's columns",
    )


def _are_comparable(one: Column, other: Column) -> bool:
    is_time = one.kind == "time" and one.native_type == other.native_type
    return is_time or can_compare(family(one), family(other))


def _extends(one: TableRef, other: TableRef, naming: Naming) -> bool:
    """Whether a table's name only adds words to the other's: `order_line_notes` to `order_lines`."""
    longer, shorter = naming.tables[one].things[0], naming.tables[other].things[0]
    return len(longer) > len(shorter) and longer[: len(shorter)] == shorter
