"""A folder with MetricFlow's semantic models and metrics, with or without the dbt project around them."""

from collections.abc import Sequence
from dataclasses import dataclass

from ktx.errors import SourceError
from ktx.events import Emit
from ktx.sources.dbt_project.draft import Draft, node_names
from ktx.sources.dbt_project.jinja import calls
from ktx.sources.dbt_project.parts import node_named
from ktx.sources.dbt_project.place import NoPlace, place_nodes, place_relation
from ktx.sources.dbt_project.project import Relation
from ktx.sources.dbt_project.read import evidence_of, fetch_project, read_project
from ktx.sources.evidence import Snapshot
from ktx.sources.semantic_models.define import define_semantics
from ktx.sources.semantic_models.model import SemanticModel
from ktx.sources.semantic_models.read import read_semantics
from ktx.sources.source import Interpretation, Target
from ktx.sources.tree import OpenTree

_INSTRUCTIONS = (
    "The evidence is YAML of MetricFlow (the dbt Semantic Layer): semantic models with entities (keys), dimensions and measures, and "
    "metrics over them. Their definitions are already in the semantic layer; add only what descriptions say beyond that."
)


@dataclass(frozen=True, kw_only=True)
class MetricflowSource:
    """A context source of semantic models. `warehouse_ids` limits the warehouses whose tables they may stand on."""

    open_tree: OpenTree
    connection_id: str
    warehouse_ids: tuple[str, ...] = ()

    @property
    def instructions(self) -> str:
        """What a model should know about evidence of this kind."""
        return _INSTRUCTIONS

    def fetch(self, *, emit: Emit) -> Snapshot:  # noqa: ARG002 - one short step, with nothing to tell
        """Read the folder.

        Raises:
            SourceError: it holds no semantic model and no metric.
        """
        snapshot = fetch_project(self.open_tree())
        reading = read_project(snapshot)
        semantics = read_semantics(reading.project, reading.semantic_manifest)
        if not (semantics.models or semantics.metrics or semantics.flaws or snapshot.unread):
            raise SourceError(
                f"`{self.connection_id}` holds no semantic model and no metric.",
                hint="Point it at the folder of the dbt project, or at the one with `semantic_models:`.",
            )
        return snapshot

    def interpret(self, snapshot: Snapshot, targets: Sequence[Target]) -> Interpretation:
        """Give a definition for every table that a semantic model stands on."""
        reading = read_project(snapshot)
        project = reading.project
        allowed = [
            one for one in targets if not self.warehouse_ids or one.connection_id in self.warehouse_ids
        ]
        places, names = place_nodes(project, allowed), node_names(project)
        drafts: dict[tuple[object, object], Draft] = {}

        def draft_of(model: SemanticModel) -> Draft | NoPlace:
            node = node_named(model.ref, project)
            name = _model_name(model)
            if node is not None:
                place, name = places[node.id], names[node.id]
            else:
                place = place_relation(model.relation or Relation(name=name), allowed)
            if isinstance(place, NoPlace):
                return place
            evidence = set(evidence_of(snapshot, node.path, node.patch)) if node is not None else set[str]()
            return drafts.setdefault(
                (place.target.connection_id, place.table.ref),
                Draft(name=name, place=place, evidence=evidence),
            )

        unmapped = define_semantics(
            read_semantics(project, reading.semantic_manifest),
            draft_of,
            drafts=lambda: {draft.name: draft for draft in drafts.values()},
            evidence=lambda path: evidence_of(snapshot, path),
            variables=project.variables,
        )
        return Interpretation(
            definitions=tuple(
                sorted(
                    (draft.finished() for draft in drafts.values()),
                    key=lambda one: (one.connection_id, one.name),
                )
            ),
            unmapped=tuple(
                sorted(set(unmapped), key=lambda one: (one.evidence, one.what, one.reason, one.detail))
            ),
        )


def _model_name(model: SemanticModel) -> str:
    """Give the name of the dbt model that a semantic model stands on, else of its table, else its own."""
    call = next(iter(calls(model.ref)), None)
    if call is not None:
        return str(call.args[-1])
    return model.relation.name if model.relation is not None else model.name
