"""Which table of which warehouse a node is."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from ktx.catalog import Table, TableRef
from ktx.sources.dbt_project.project import Node, Project, Relation
from ktx.sources.evidence import UnmappedReason
from ktx.sources.source import Target, owners


@dataclass(frozen=True, kw_only=True)
class Place:
    """The table of a node."""

    target: Target
    table: Table

    def column(self, name: str) -> str | None:
        """Give a column's spelling in the table: exactly as asked, else the only one that differs by letter case."""
        if self.table.column(name) is not None:
            return name
        alike = [one.name for one in self.table.columns if one.name.casefold() == name.casefold()]
        return alike[0] if len(alike) == 1 else None


@dataclass(frozen=True, kw_only=True)
class NoPlace:
    """Why a node has no table."""

    reason: UnmappedReason
    detail: str


def place_nodes(project: Project, targets: Sequence[Target]) -> Mapping[str, Place | NoPlace]:
    """Give the place of every node, by id.

    Where the schema is not known (dbt's own target says it), the tables found for certain tell which schema the target is.
    """
    usual: Counter[tuple[str, str | None]] = Counter()
    candidates = {node.id: _candidates(node, targets) for node in project.nodes}
    for node in project.nodes:
        found = candidates[node.id]
        if len(found) == 1 and node.kind != "source" and node.relation.custom_schema is None:
            usual[found[0].target.connection_id, found[0].table.ref.schema] += 1
    order = sorted(usual, key=lambda key: (-usual[key], key[0], key[1] or ""))
    return {
        node.id: _place(node, candidates[node.id], targets, order[0] if order else None)
        for node in project.nodes
    }


def place_relation(relation: Relation, targets: Sequence[Target]) -> Place | NoPlace:
    """Give the place of a relation that no node stands for."""
    ref = TableRef(catalog=relation.database, schema=relation.schema, name=relation.name)
    found = [Place(target=target, table=table) for target, table in owners(targets, ref)]
    return _chosen(found, relation, targets, None)


def _candidates(node: Node, targets: Sequence[Target]) -> list[Place]:
    known = node.relation
    ref = TableRef(catalog=known.database, schema=known.schema, name=known.name)
    found = [Place(target=target, table=table) for target, table in owners(targets, ref)]
    if known.schema is None and known.custom_schema is not None:
        wanted = known.custom_schema.casefold()
        schemas = [(place.table.ref.schema or "").casefold() for place in found]
        found = [
            place for place, schema in zip(found, schemas, strict=True)
            if schema in {"", wanted} or schema.endswith(f"_{wanted}")
        ]  # fmt: skip
    return found


def _place(
    node: Node, found: list[Place], targets: Sequence[Target], usual: tuple[str, str | None] | None
) -> Place | NoPlace:
    if node.kind == "model" and node.materialized == "ephemeral":
        return NoPlace(
            reason="no_physical_table", detail=f"`{node.name}` is ephemeral: it is no table of the warehouse."
        )
    return _chosen(found, node.relation, targets, usual)


def _chosen(
    found: list[Place], relation: Relation, targets: Sequence[Target], usual: tuple[str, str | None] | None
) -> Place | NoPlace:
    if len(found) > 1 and usual is not None and relation.schema is None:
        found = _in_schema(found, relation, usual) or found
    if len(found) == 1:
        return found[0]
    name = ".".join(part for part in (relation.database, relation.schema, relation.name) if part)
    if found:
        shown = ", ".join(sorted(f"{one.target.connection_id}: {one.table.ref}" for one in found)[:6])
        return NoPlace(
            reason="multiple_table_references", detail=f"`{name}` may be any of several tables ({shown})."
        )
    if not targets:
        return NoPlace(
            reason="no_connection_mapping", detail=f"No warehouse is connected that could hold `{name}`."
        )
    unscanned = [one.connection_id for one in targets if one.catalog is None]
    hint = f"; {', '.join(unscanned)} was never scanned" if unscanned else ""
    return NoPlace(reason="missing_target_table", detail=f"No connected warehouse has `{name}`{hint}.")


def _in_schema(found: Iterable[Place], relation: Relation, usual: tuple[str, str | None]) -> list[Place]:
    connection_id, base = usual
    wanted = (
        {base}
        if relation.custom_schema is None
        else {f"{base}_{relation.custom_schema}", relation.custom_schema}
    )
    return [
        place for place in found
        if place.target.connection_id == connection_id and place.table.ref.schema in wanted
    ]  # fmt: skip
