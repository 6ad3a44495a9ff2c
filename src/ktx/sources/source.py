"""The seam between ingest and context sources: `fetch` does all the reading, `interpret` is pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Protocol

from ktx.catalog import Catalog, Table, TableRef
from ktx.events import Emit
from ktx.sources.definition import Definition, PageFact
from ktx.sources.evidence import Snapshot, Unmapped


@dataclass(frozen=True, kw_only=True)
class Target:
    """A warehouse on which definitions may land. `catalog` is that of its last scan, None when it was never scanned.

    `dialect` is sqlglot's name.
    """

    connection_id: str
    dialect: str
    catalog: Catalog | None = None

    def find(self, ref: TableRef) -> tuple[Table, ...]:
        """Give the tables that `ref` may mean: the parts that both sides know must agree, letter case aside.

        An exact spelling wins over others.
        """
        alike = self._by_name.get(ref.name.casefold(), ())
        found = tuple(table for table in alike if _may_be(table.ref, ref))
        exact = tuple(table for table in found if table.ref.name == ref.name)
        return exact or found

    @cached_property
    def _by_name(self) -> Mapping[str, tuple[Table, ...]]:
        found: dict[str, list[Table]] = {}
        for table in self.catalog.tables if self.catalog is not None else ():
            found.setdefault(table.ref.name.casefold(), []).append(table)
        return {name: tuple(tables) for name, tables in found.items()}


@dataclass(frozen=True, kw_only=True)
class UnitPlan:
    """A piece of work for a model: documents to work through, and others it may look at.

    `notes` tells the model what the source alone can know. `connection_ids` are the warehouses whose sources it may write;
    none means pages only. A noisy unit is triaged before it is worked on.
    """

    key: str
    label: str
    documents: tuple[str, ...]
    context: tuple[str, ...] = ()
    notes: str = ""
    connection_ids: tuple[str, ...] = ()
    is_noisy: bool = False


@dataclass(frozen=True, kw_only=True)
class Interpretation:
    """What a snapshot says without a model, and what is left for one."""

    definitions: tuple[Definition, ...] = ()
    pages: tuple[PageFact, ...] = ()
    units: tuple[UnitPlan, ...] = ()
    unmapped: tuple[Unmapped, ...] = ()


class Shelf(Protocol):
    """A local memory of a source, by key, that may be emptied at any time: what need not be fetched again."""

    def get(self, key: str) -> str | None:
        """Give what was put under `key`."""
        ...

    def put(self, key: str, text: str) -> None:
        """Keep a text under `key`."""
        ...


class ContextSource(Protocol):
    """One connection to a tool around the warehouse."""

    @property
    def instructions(self) -> str:
        """What a model should know about evidence of this kind: a few sentences, the same for every unit."""
        ...

    def fetch(self, *, emit: Emit) -> Snapshot:
        """Read everything in scope.

        Raises:
            SourceError: nothing useful could be read; what failed in part is in the snapshot instead.
            ConfigError: a setting or secret is missing or wrong.
        """
        ...

    def interpret(self, snapshot: Snapshot, targets: Sequence[Target]) -> Interpretation:
        """Say what the snapshot defines, without I/O. The same snapshot and targets give the same value."""
        ...


@dataclass(kw_only=True)
class MemoryShelf:
    """A shelf that lasts as long as it is held."""

    kept: dict[str, str] = field(default_factory=dict[str, str])

    def get(self, key: str) -> str | None:
        """Give what was put under `key`."""
        return self.kept.get(key)

    def put(self, key: str, text: str) -> None:
        """Keep a text under `key`."""
        self.kept[key] = text


def owners(targets: Sequence[Target], ref: TableRef) -> tuple[tuple[Target, Table], ...]:
    """Give every table of every target that `ref` may mean."""
    return tuple((target, table) for target in targets for table in target.find(ref))


def targets_by_id(targets: Sequence[Target]) -> Mapping[str, Target]:
    """Give targets by connection id."""
    return {target.connection_id: target for target in targets}


def _may_be(known: TableRef, asked: TableRef) -> bool:
    pairs = ((known.catalog, asked.catalog), (known.schema, asked.schema))
    return known.name.casefold() == asked.name.casefold() and all(
        one is None or other is None or one.casefold() == other.casefold() for one, other in pairs
    )
