"""Semantic models and metrics onto drafts: the one door for every source that has them."""

from collections.abc import Callable, Mapping

from ktx.sources.dbt_project.draft import Draft, name_roles
from ktx.sources.dbt_project.place import NoPlace
from ktx.sources.evidence import Unmapped, UnmappedReason
from ktx.sources.semantic_models.conditions import Conditions
from ktx.sources.semantic_models.measures import Measures
from ktx.sources.semantic_models.model import SemanticModel, Semantics
from ktx.sources.semantic_models.standing import Standing, link, stand

DraftOf = Callable[[SemanticModel], Draft | NoPlace]


def define_semantics(
    semantics: Semantics,
    draft_of: DraftOf,
    *,
    drafts: Callable[[], Mapping[str, Draft]],
    evidence: Callable[[str], tuple[str, ...]],
    variables: Mapping[str, object],
) -> tuple[Unmapped, ...]:
    """Add what the semantic models say to the drafts of their tables, and give what has no place.

    `drafts` are all drafts there are once `draft_of` was asked for each model, by any key; `evidence` gives the documents
    for a path.
    """
    unmapped: list[Unmapped] = []

    def report(path: str, what: str, reason: UnmappedReason, detail: str) -> None:
        unmapped.append(Unmapped(evidence=evidence(path)[0], what=what, reason=reason, detail=detail))

    for flaw in semantics.flaws:
        report(flaw.path, flaw.what, "parse_error", flaw.detail)
    standings: dict[str, Standing] = {}
    for model in semantics.models:
        draft = draft_of(model)
        if isinstance(draft, NoPlace):
            report(model.path, f"semantic model {model.name}", draft.reason, draft.detail)
            continue
        draft.evidence.update(evidence(model.path))
        standings[model.name] = stand(model, draft, report)
    link([standings[name] for name in sorted(standings)])
    name_roles(drafts())
    conditions = Conditions(
        standings=tuple(standings[name] for name in sorted(standings)), variables=variables
    )
    Measures(
        semantics=semantics, standings=standings, conditions=conditions, report=report, evidence=evidence
    ).land()
    for path, name in semantics.saved_queries:
        report(
            path,
            f"saved query {name}",
            "expression_not_supported",
            "A saved query is a question; the layer holds what questions are asked of.",
        )
    return tuple(unmapped)
