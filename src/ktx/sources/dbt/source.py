"""A dbt project: what it says about tables, its semantic models and metrics, its pages, and the prose left for a model."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from ktx.errors import SourceError
from ktx.events import Emit
from ktx.sources.dbt.define import Defining, define_nodes
from ktx.sources.dbt.pages import pages_of
from ktx.sources.dbt.units import units_of
from ktx.sources.dbt_project.config import PROJECT_FILES
from ktx.sources.dbt_project.draft import Draft
from ktx.sources.dbt_project.parts import node_named
from ktx.sources.dbt_project.place import NoPlace
from ktx.sources.dbt_project.read import ProjectReading, evidence_of, fetch_project, read_project
from ktx.sources.definition import Definition
from ktx.sources.evidence import Snapshot, Unmapped
from ktx.sources.semantic_models.define import define_semantics
from ktx.sources.semantic_models.model import SemanticModel
from ktx.sources.semantic_models.read import read_semantics
from ktx.sources.source import Interpretation, Target
from ktx.sources.tree import OpenTree, Tree

_INSTRUCTIONS = (
    "The evidence is a dbt project: SQL of models, YAML that describes and tests them, Markdown. Descriptions, keys, joins, tests and "
    "metrics are already in the semantic layer. Look for what only the SQL or the prose says: which rows a model leaves out, how a "
    "column is computed, which of several similar tables to use, business rules and caveats."
)


@dataclass(frozen=True, kw_only=True)
class DbtSource:
    """A context source of one dbt project. `warehouse_ids` limits the warehouses whose tables it may describe."""

    open_tree: OpenTree
    connection_id: str
    warehouse_ids: tuple[str, ...] = ()

    @property
    def instructions(self) -> str:
        """What a model should know about evidence of this kind."""
        return _INSTRUCTIONS

    def fetch(self, *, emit: Emit) -> Snapshot:  # noqa: ARG002 - one short step, with nothing to tell
        """Read the project's files and what dbt wrote about them.

        Raises:
            SourceError: the folder is no dbt project.
        """
        tree = self.open_tree()
        snapshot = fetch_project(tree)
        known = {document.kind for document in snapshot.documents}
        if not known & {"project", "manifest"} and not _is_unread(snapshot):
            raise SourceError(
                f"`{self.connection_id}` is no dbt project: `{PROJECT_FILES[0]}` is not in its folder.",
                hint=_where(tree),
            )
        return replace(snapshot, notes=(*snapshot.notes, *read_project(snapshot).notes))

    def interpret(self, snapshot: Snapshot, targets: Sequence[Target]) -> Interpretation:
        """Give a definition for every table of the project, pages, and units of work."""
        reading = read_project(snapshot)
        project = reading.project
        allowed = [
            one for one in targets if not self.warehouse_ids or one.connection_id in self.warehouse_ids
        ]
        made = define_nodes(project, snapshot, allowed)
        unmapped = [*made.unmapped, *_semantics(made, reading, snapshot)]
        for remark in project.remarks:
            evidence = evidence_of(snapshot, remark.path)[0]
            unmapped.append(
                Unmapped(evidence=evidence, what=remark.what, reason="parse_error", detail=remark.detail)
            )
        metric_homes = {name: draft.name for draft in made.drafts.values() for name in draft.measures}
        return Interpretation(
            definitions=_definitions(made),
            pages=pages_of(project, made.drafts, metric_homes, lambda path: evidence_of(snapshot, path)),
            units=units_of(project, made.drafts, snapshot),
            unmapped=tuple(
                sorted(set(unmapped), key=lambda one: (one.evidence, one.what, one.reason, one.detail))
            ),
        )


def _semantics(made: Defining, reading: ProjectReading, snapshot: Snapshot) -> tuple[Unmapped, ...]:
    def draft_of(model: SemanticModel) -> Draft | NoPlace:
        node = node_named(model.ref, made.project)
        if node is None:
            return NoPlace(
                reason="unresolved_reference",
                detail=f"`{model.ref}` is no model of the project that is in use.",
            )
        place = made.places[node.id]
        return place if isinstance(place, NoPlace) else made.drafts[node.id]

    return define_semantics(
        read_semantics(made.project, reading.semantic_manifest),
        draft_of,
        drafts=lambda: {draft.name: draft for draft in made.drafts.values()},
        evidence=lambda path: evidence_of(snapshot, path),
        variables=made.project.variables,
    )


def _definitions(made: Defining) -> tuple[Definition, ...]:
    """Give the definitions that say something, or to which one leads."""
    found = {draft.name: draft.finished() for draft in made.drafts.values()}
    targets = {join.to for one in found.values() for join in one.joins}
    kept = [
        one
        for one in found.values()
        if one.name in targets
        or any((one.description, one.grain, one.columns, one.measures, one.joins, one.tags, one.freshness))
    ]
    return tuple(sorted(kept, key=lambda one: (one.connection_id, one.name)))


def _is_unread(snapshot: Snapshot) -> bool:
    return any(one.id in PROJECT_FILES or one.id.endswith("manifest.json") for one in snapshot.unread)


def _where(tree: Tree) -> str:
    """Say where the project might be."""
    inside = [path for path in tree.paths(*PROJECT_FILES) if path.rpartition("/")[2] in PROJECT_FILES]
    if inside:
        return f"There is `{inside[0]}`: set the path of the connection to `{inside[0].rpartition('/')[0]}`."
    return "Point the connection at the folder that holds `dbt_project.yml`."
