"""References that people already use: joins of past queries whose one side is a key."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence

from ktx.catalog import Catalog, Evidence, TableRef
from ktx.scan.reading import ObservedJoin
from ktx.scan.relationships.candidates import Candidate
from ktx.scan.relationships.families import can_compare, family
from ktx.scan.relationships.keys import Key, Keys

STRENGTH = 0.9
"""How much a join that was really used speaks for a reference, beside what the names say; the data must still agree."""

Side = tuple[TableRef, tuple[str, ...]]


class Observed:
    """The joins of past queries, by their two sides, whichever way round."""

    def __init__(self, joins: Sequence[ObservedJoin]) -> None:
        counts: Counter[tuple[Side, Side]] = Counter()
        for join in joins:
            pairs = sorted(zip(join.left_columns, join.right_columns, strict=True))
            left = join.left, tuple(one for one, _ in pairs)
            right = join.right, tuple(two for _, two in pairs)
            counts[left, right] += join.executions
            if left != right:
                counts[_sorted(right, left)] += join.executions
        self._counts: Mapping[tuple[Side, Side], int] = counts

    def evidence(self, one: Candidate) -> Evidence | None:
        """Give what past queries say for a candidate."""
        executions = self._counts.get(_sorted((one.table, one.columns), (one.key.table, one.key.columns)))
        if not executions:
            return None
        detail = f"joined so in past queries ({bucket(executions)} executions)"
        return Evidence(signal="observed join", strength=STRENGTH, detail=detail)

    def candidates(self, catalog: Catalog, keys: Keys) -> tuple[Candidate, ...]:
        """Give every join with a key on one side as a candidate that its names say nothing for."""
        tables = {table.ref: table for table in catalog.tables}
        found: list[Candidate] = []
        for (own, columns), (other, others) in self._counts:
            if own not in tables or other not in tables:
                continue
            for key in _keys(keys, other):
                if set(key.columns) != set(others) or (own, set(columns)) == (other, set(others)):
                    continue
                partner = dict(zip(others, columns, strict=True))
                ordered = tuple(partner[name] for name in key.columns)
                left = [tables[own].column(name) for name in ordered]
                right = [tables[other].column(name) for name in key.columns]
                if all(
                    one is not None and two is not None and can_compare(family(one), family(two))
                    for one, two in zip(left, right, strict=True)
                ):
                    found.append(Candidate(table=own, columns=ordered, key=key, name=0.0, why=""))
        return tuple(sorted(found, key=lambda one: one.order))


def _sorted(left: Side, right: Side) -> tuple[Side, Side]:
    """Bring both sides into the order of the left one's columns, so that one join has one spelling per direction."""
    pairs = sorted(zip(left[1], right[1], strict=True))
    return (left[0], tuple(one for one, _ in pairs)), (right[0], tuple(two for _, two in pairs))


def _keys(keys: Keys, table: TableRef) -> Iterator[Key]:
    primary = keys.primary.get(table)
    if primary is not None:
        yield primary
    yield from keys.alternates.get(table, ())


def bucket(executions: int) -> str:
    """Name the order of magnitude of a number of executions, which changes more rarely than the number.

    >>> bucket(7), bucket(70), bucket(70_000)
    ('fewer than 10', '10 to 100', 'more than 50,000')
    """
    if executions < 10:
        return "fewer than 10"
    for low, high in ((10, 100), (100, 1_000), (1_000, 5_000), (5_000, 50_000)):
        if executions <= high:
            return f"{low:,} to {high:,}"
    return "more than 50,000"
