"""All semantic models and metrics of a project, from wherever they are written."""

from collections.abc import Callable, Mapping

from ktx.sources.dbt_project.plain import as_flag, as_map, as_maps, as_name, as_text, is_map
from ktx.sources.dbt_project.project import Node, Project
from ktx.sources.semantic_models.entries import (
    BadEntry,
    read_dimension,
    read_entity,
    read_metric,
    read_semantic_model,
)
from ktx.sources.semantic_models.model import Dimension, Entity, Flaw, Metric, SemanticModel, Semantics


def read_semantics(project: Project, semantic_manifest: Mapping[str, object] | None = None) -> Semantics:
    """Give what a project says, and what `semantic_manifest.json` adds when the project itself says nothing."""
    flaws: list[Flaw] = []
    models: dict[str, SemanticModel] = {}
    metrics: dict[str, Metric] = {}

    def attempt(path: str, what: str, take: Callable[[], None]) -> None:
        try:
            take()
        except BadEntry as error:
            flaws.append(Flaw(path=path, what=what, detail=str(error)))

    def add_model(model: SemanticModel) -> None:
        if model.name in models:
            raise BadEntry(f"`{models[model.name].path}` defines it too.")
        models[model.name] = model

    def add_metric(metric: Metric) -> None:
        if metric.name in metrics:
            raise BadEntry(f"`{metrics[metric.name].path}` defines it too.")
        metrics[metric.name] = metric

    raw_models, raw_metrics = list(project.semantic_models), list(project.metrics)
    raw_saved = list(project.saved_queries)
    nodes = [node for node in project.nodes if _has_semantics(node)]
    if not raw_models and not nodes and semantic_manifest:
        for key, into in (
            ("semantic_models", raw_models),
            ("metrics", raw_metrics),
            ("saved_queries", raw_saved),
        ):
            into.extend(("", entry) for entry in as_maps(semantic_manifest.get(key)))
    for path, entry in raw_models:
        what = f"semantic model {as_name(entry.get('name')) or '?'}"
        attempt(path, what, lambda path=path, entry=entry: add_model(read_semantic_model(entry, path)))
    for node in nodes:
        path = node.patch or ""
        name = _model_name(node)
        attempt(path, f"semantic model {name}", lambda node=node: add_model(_current_model(node)))
        raw_here = as_maps(node.raw.get("metrics"))
        for entry in raw_here:
            what = f"metric {as_name(entry.get('name')) or '?'}"
            attempt(
                path,
                what,
                lambda path=path, entry=entry, name=name: add_metric(read_metric(entry, path, model=name)),
            )
    for path, entry in raw_metrics:
        what = f"metric {as_name(entry.get('name')) or '?'}"
        attempt(path, what, lambda path=path, entry=entry: add_metric(read_metric(entry, path)))
    return Semantics(
        models=tuple(models[name] for name in sorted(models)),
        metrics=tuple(metrics[name] for name in sorted(metrics)),
        saved_queries=tuple(sorted((path, as_name(entry.get("name"))) for path, entry in raw_saved)),
        flaws=tuple(flaws),
    )


def _has_semantics(node: Node) -> bool:
    said = node.raw.get("semantic_model")
    if is_map(said):
        return as_flag(as_map(said).get("enabled"), default=True)
    return as_flag(said, default=False)


def _model_name(node: Node) -> str:
    return as_text(as_map(node.raw.get("semantic_model")).get("name")) or node.name


def _current_model(node: Node) -> SemanticModel:
    """Make a semantic model of a model's own entry, whose columns say what they are."""
    derived = as_map(node.raw.get("derived_semantics"))
    entities: list[Entity] = []
    dimensions: list[Dimension] = []
    for column in node.columns:
        for key in ("entity", "dimension"):
            said = column.raw.get(key)
            if not said:
                continue
            entry: dict[str, object] = {"type": said} if isinstance(said, str) else as_map(said)
            entry = {"description": column.description, "name": column.name, **entry, "expr": column.name}
            if key == "entity":
                entities.append(read_entity(entry))
            else:
                entry.setdefault("granularity", column.raw.get("granularity"))
                dimensions.append(read_dimension(entry))
    entities.extend(read_entity(one) for one in as_maps(derived.get("entities")))
    dimensions.extend(read_dimension(one) for one in as_maps(derived.get("dimensions")))
    return SemanticModel(
        name=_model_name(node),
        path=node.patch or "",
        ref=f"ref('{node.name}')",
        description="",
        primary_entity=as_text(node.raw.get("primary_entity")),
        time_dimension=as_text(node.raw.get("agg_time_dimension")),
        entities=tuple(entities),
        dimensions=tuple(dimensions),
    )
