"""A definition while it is gathered from several places of a project: facts are added, the first that was said stays."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from sqlglot import exp

from ktx.catalog import Cardinality, TableRef
from ktx.sources.dbt_project.expressions import qualified, written
from ktx.sources.dbt_project.place import Place
from ktx.sources.dbt_project.plain import as_text
from ktx.sources.dbt_project.project import Node, Project
from ktx.sources.definition import ColumnFact, Definition, JoinFact, MeasureFact

AUTHOR = "dbt"
_LONGEST_TAG = 80


@dataclass(kw_only=True)
class Link:
    """A join to another draft, by its name: pairs of own and other expressions over bare columns that must be equal.

    `role` names what the target is to the holder; it becomes the alias where the target alone would be ambiguous.
    """

    to: str
    pairs: tuple[tuple[exp.Expr, exp.Expr], ...]
    relationship: Cardinality
    role: str
    alias: str | None = None

    @property
    def key(self) -> tuple[str, frozenset[tuple[str, str]]]:
        """What makes two links the same."""
        return self.to, frozenset((own.sql(), other.sql()) for own, other in self.pairs)

    @property
    def name(self) -> str:
        """The name under which expressions reach the target."""
        return self.alias or self.to


@dataclass(kw_only=True)
class Draft:
    """What is known so far about one table. `columns` are by name, physical and computed ones."""

    name: str
    place: Place
    evidence: set[str]
    description: str | None = None
    grain: tuple[str, ...] = ()
    columns: dict[str, ColumnFact] = field(default_factory=dict[str, ColumnFact])
    measures: dict[str, MeasureFact] = field(default_factory=dict[str, MeasureFact])
    links: list[Link] = field(default_factory=list[Link])
    uniques: set[tuple[str, ...]] = field(default_factory=set[tuple[str, ...]])
    tags: tuple[str, ...] = ()
    freshness: Mapping[str, object] | None = None
    default_time_dimension: str | None = None
    made_from: tuple[TableRef, ...] = ()

    def fact(self, column: str) -> ColumnFact:
        """Give the fact about a column so far."""
        return self.columns.get(column) or ColumnFact(name=column)

    def note(self, fact: ColumnFact) -> None:
        """Put a fact in the place of the one before."""
        self.columns[fact.name] = fact

    def add_link(self, link: Link) -> None:
        """Add a link unless the same one is there."""
        if all(one.key != link.key for one in self.links):
            self.links.append(link)

    def is_unique(self, columns: tuple[str, ...]) -> bool:
        """Tell whether some of these columns are known to tell rows apart."""
        have = {column.casefold() for column in columns}
        table = self.place.table
        keys = [self.grain, table.primary_key, *table.unique_keys, *self.uniques]
        return any(key and {one.casefold() for one in key} <= have for key in keys)

    def finished(self) -> Definition:
        """Give the definition, its parts in a stable order; joins to one target in several roles have an alias each."""
        return Definition(
            name=self.name,
            connection_id=self.place.target.connection_id,
            author=AUTHOR,
            evidence=tuple(sorted(self.evidence)),
            table=self.place.table.ref,
            description=self.description,
            grain=self.grain,
            columns=tuple(
                self.columns[name] for name in sorted(self.columns) if _says_something(self.columns[name])
            ),
            measures=tuple(self.measures[name] for name in sorted(self.measures)),
            joins=tuple(
                sorted(map(self._join, self.links), key=lambda one: (one.to, one.alias or "", one.on))
            ),
            tags=self.tags,
            freshness=self.freshness,
            default_time_dimension=self.default_time_dimension,
            made_from=self.made_from if self.links else (),
        )

    def _join(self, link: Link) -> JoinFact:
        equal = [
            exp.EQ(this=qualified(own, self.name), expression=qualified(other, link.name))
            for own, other in link.pairs
        ]
        return JoinFact(
            to=link.to,
            on=" AND ".join(written(one, self.place) for one in equal),
            relationship=link.relationship,
            alias=link.alias,
        )


def node_names(project: Project) -> dict[str, str]:
    """Give the definition's name of every node by id: its own, and `source__table` for a table of a source."""
    names: dict[str, str] = {}
    taken: set[str] = set()
    for node in sorted(project.nodes, key=lambda node: (node.kind == "source", node.id)):
        name = f"{node.source_name}__{node.name}" if node.kind == "source" else node.name.replace(".", "_")
        while name in taken:
            name = f"source_{name}" if node.kind == "source" else f"{name}_"
        taken.add(name)
        names[node.id] = name
    return names


def tags_of(node: Node) -> tuple[str, ...]:
    """Give a node's tags, and its short plain `meta` as `key:value`."""
    said = (f"{key}:{as_text(value)}" for key, value in sorted(node.meta.items()) if as_text(value))
    return tuple(
        dict.fromkeys(
            (*node.tags, *(text for text in said if len(text) <= _LONGEST_TAG and "\n" not in text))
        )
    )


def name_roles(drafts: Mapping[str, Draft]) -> None:
    """Give an alias to every link of which a draft has several to one target, and to one that leads to itself."""
    taken = {draft.name for draft in drafts.values()}
    for draft in sorted(drafts.values(), key=lambda draft: draft.name):
        targets = [link.to for link in draft.links]
        for link in draft.links:
            if targets.count(link.to) == 1 and link.to != draft.name:
                continue
            alias = link.role
            while alias in taken:
                alias = f"{alias}_of_{draft.name}"
            taken.add(alias)
            link.alias = alias


def _says_something(fact: ColumnFact) -> bool:
    return fact != ColumnFact(name=fact.name)
