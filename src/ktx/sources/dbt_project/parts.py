"""The parts of a project that files and manifests write alike, and what a text refers to."""

from collections.abc import Iterator, Mapping, Sequence

from ktx.sources.dbt_project.jinja import calls, read_call
from ktx.sources.dbt_project.plain import as_map, as_maps, as_name, as_text, as_texts
from ktx.sources.dbt_project.project import ColumnDoc, Node, Project


def primary_key(constraints: Sequence[Mapping[str, object]], columns: Sequence[ColumnDoc]) -> tuple[str, ...]:
    """Give the declared primary key: that of the whole table, else of one column."""
    for one in constraints:
        if as_text(one.get("type")) == "primary_key" and as_texts(one.get("columns")):
            return as_texts(one.get("columns"))
    return tuple(column.name for column in columns if column.is_primary)


def read_column(entry: Mapping[str, object], description: str) -> ColumnDoc | None:
    """Make a column of its entry, in YAML or in a manifest; None without a name."""
    name = as_name(entry.get("name"))
    if not name:
        return None
    kinds = {as_text(one.get("type")) for one in as_maps(entry.get("constraints"))}
    tags = (*as_texts(entry.get("tags")), *as_texts(as_map(entry.get("config")).get("tags")))
    return ColumnDoc(
        name=name,
        description=description,
        data_type=as_text(entry.get("data_type")),
        is_not_null="not_null" in kinds or "primary_key" in kinds,
        is_unique="unique" in kinds,
        is_primary="primary_key" in kinds,
        tags=tuple(dict.fromkeys(tags)),
        raw=entry,
    )


def plain_freshness(value: object, loaded_at: object) -> Mapping[str, object] | None:
    """Give what is said about freshness, without what is empty; None when no period is given."""
    data = as_map(value)
    found: dict[str, object] = {}
    for key in ("error_after", "warn_after"):
        period = {name: one for name, one in sorted(as_map(data.get(key)).items()) if one is not None}
        if "count" in period:
            found[key] = period
    if not found:
        return None
    for key, one in (("filter", data.get("filter")), ("loaded_at_field", loaded_at)):
        if as_text(one):
            found[key] = as_text(one)
    return dict(sorted(found.items()))


def targets_of(text: str, project: Project) -> Iterator[str]:
    """Give the ids of what a text refers to."""
    metric = read_call(text.strip("{} "))
    if metric is not None and metric.name == "metric" and metric.args:
        yield f"metric {as_text(metric.args[-1])}"
    for call in calls(text):
        node = node_of(call.name, call.args, call.kwargs, project)
        if node is not None:
            yield node.id


def node_of(name: str, args: Sequence[object], kwargs: Mapping[str, object], project: Project) -> Node | None:
    """Give the node that a `ref` or `source` call names."""
    texts = [as_text(one) for one in args]
    if name == "source":
        return project.by_source.get((texts[0], texts[1])) if len(texts) == 2 else None
    version = as_text(kwargs.get("v", kwargs.get("version")))
    if version and (found := project.by_ref.get(f"{texts[-1]}.v{version}")):
        return found
    return project.by_ref.get(texts[-1])


def node_named(text: str, project: Project) -> Node | None:
    """Give the node that a text such as `ref('orders')` names."""
    found = next(iter(calls(text)), None)
    return node_of(found.name, found.args, found.kwargs, project) if found is not None else None
