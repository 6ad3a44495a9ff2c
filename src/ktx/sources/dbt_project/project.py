"""A dbt project as values, the same whether it was read from files or from a manifest."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Literal

NodeKind = Literal["model", "seed", "snapshot", "source"]


@dataclass(frozen=True, kw_only=True)
class Relation:
    """Where a node's table is. None means not known without running dbt.

    `custom_schema` is a schema setting that dbt's default macro puts behind the target's own schema, which only the
    target knows.
    """

    name: str
    schema: str | None = None
    database: str | None = None
    custom_schema: str | None = None


@dataclass(frozen=True, kw_only=True)
class TestEntry:
    """One generic test on a node. `column` is None for a test of the whole node.

    `is_conditional` means that it looks at some rows only, or only warns: what it asserts does not hold for sure.
    """

    __test__ = False

    name: str
    package: str | None = None
    column: str | None = None
    kwargs: Mapping[str, object] = field(default_factory=dict[str, object])
    is_conditional: bool = False


@dataclass(frozen=True, kw_only=True)
class ColumnDoc:
    """What a project says about a column. `raw` is its whole entry where files were read."""

    name: str
    description: str = ""
    data_type: str = ""
    is_not_null: bool = False
    is_unique: bool = False
    is_primary: bool = False
    tags: tuple[str, ...] = ()
    raw: Mapping[str, object] = field(default_factory=dict[str, object])


@dataclass(frozen=True, kw_only=True)
class Node:
    """A model, seed, snapshot or source table of the project itself.

    `id` is dbt's unique id. `path` is the file that makes it (None for a source), `patch` the YAML file that describes it.
    `raw` is its YAML entry. `depends_on` are ids.
    """

    id: str
    name: str
    kind: NodeKind
    relation: Relation
    path: str | None = None
    patch: str | None = None
    source_name: str = ""
    materialized: str = ""
    description: str = ""
    columns: tuple[ColumnDoc, ...] = ()
    tests: tuple[TestEntry, ...] = ()
    primary_key: tuple[str, ...] = ()
    tags: tuple[str, ...] = ()
    meta: Mapping[str, object] = field(default_factory=dict[str, object])
    freshness: Mapping[str, object] | None = None
    depends_on: tuple[str, ...] = ()
    raw: Mapping[str, object] = field(default_factory=dict[str, object])

    @property
    def label(self) -> str:
        """What people call it: `source stripe.payments`, `model orders`."""
        return (
            f"source {self.source_name}.{self.name}" if self.kind == "source" else f"{self.kind} {self.name}"
        )


@dataclass(frozen=True, kw_only=True)
class Exposure:
    """A use of the data outside of dbt; `depends_on` are ids of nodes, or `metric <name>`."""

    name: str
    path: str
    label: str = ""
    kind: str = ""
    description: str = ""
    url: str = ""
    maturity: str = ""
    owner: str = ""
    tags: tuple[str, ...] = ()
    depends_on: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class DocsBlock:
    """A named text; `is_used` means that a description shows it."""

    name: str
    path: str
    text: str
    is_used: bool = False


@dataclass(frozen=True, kw_only=True)
class Remark:
    """Something that a project says and that could not be taken in: where, what, and why."""

    path: str
    what: str
    detail: str
    is_parse_error: bool = False


@dataclass(frozen=True, kw_only=True)
class Project:
    """Everything that a project says, sorted by id.

    `semantic_models` and `metrics` are their raw entries with the file of each, `semantic_nodes` the nodes whose own entry
    may hold such.
    """

    name: str
    nodes: tuple[Node, ...] = ()
    exposures: tuple[Exposure, ...] = ()
    docs: tuple[DocsBlock, ...] = ()
    semantic_models: tuple[tuple[str, Mapping[str, object]], ...] = ()
    metrics: tuple[tuple[str, Mapping[str, object]], ...] = ()
    saved_queries: tuple[tuple[str, Mapping[str, object]], ...] = ()
    variables: Mapping[str, object] = field(default_factory=dict[str, object])
    remarks: tuple[Remark, ...] = ()

    @cached_property
    def by_id(self) -> Mapping[str, Node]:
        """Nodes by unique id."""
        return {node.id: node for node in self.nodes}

    @cached_property
    def by_ref(self) -> Mapping[str, Node]:
        """What `ref` can name, by that name; the latest version under the bare name."""
        return {node.name: node for node in self.nodes if node.kind != "source"}

    @cached_property
    def by_source(self) -> Mapping[tuple[str, str], Node]:
        """What `source` can name."""
        return {(node.source_name, node.name): node for node in self.nodes if node.kind == "source"}
