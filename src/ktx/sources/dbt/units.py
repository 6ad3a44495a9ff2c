"""Work for a model: the folders of a project that hold logic or prose, each as one unit that fits."""

from collections import defaultdict
from collections.abc import Mapping
from pathlib import PurePosixPath
from typing import Final

from ktx.files import digest
from ktx.sources.dbt_project.draft import Draft
from ktx.sources.dbt_project.project import Node, Project
from ktx.sources.evidence import Snapshot
from ktx.sources.source import UnitPlan

_LONGEST_UNIT: Final = 40_000
_MOST_PARTS: Final = 64
_MOST_CONTEXT: Final = 40
_RAW_FOLDERS: Final = frozenset({"staging", "stg", "base", "raw", "sources"})
_RAW_PREFIXES: Final = ("stg_", "base_", "src_", "raw_")


def units_of(project: Project, drafts: Mapping[str, Draft], snapshot: Snapshot) -> tuple[UnitPlan, ...]:
    """Plan one unit per folder of models; one that is too large falls apart by the models' names.

    Staging is looked at from where it is used. A folder without logic or prose gives no unit, nor does one of docs blocks alone,
    which become descriptions and pages by themselves.
    """
    members: defaultdict[str, list[str]] = defaultdict(list)
    nodes_by_path: defaultdict[str, list[Node]] = defaultdict(list)
    for node in project.nodes:
        for path in {node.path, node.patch} - {None}:
            nodes_by_path[str(path)].append(node)
    for document in snapshot.documents:
        nodes = nodes_by_path[document.id]
        is_off = document.kind == "model" and not nodes
        if document.kind in {"yaml", "model", "markdown"} and not is_off and not _is_raw(document.id, nodes):
            members[str(PurePosixPath(document.id).parent)].append(document.id)
    units: list[UnitPlan] = []
    for folder, paths in sorted(members.items()):
        if not any(_has_prose(path, snapshot) for path in paths):
            continue
        for key, part in _parts(folder, sorted(paths), snapshot):
            units.append(_unit(key, part, nodes_by_path, project, drafts, snapshot))
    return tuple(units)


def _is_raw(path: str, nodes: list[Node]) -> bool:
    """Tell whether a file is only about staging."""
    if set(PurePosixPath(path).parts[:-1]) & _RAW_FOLDERS:
        return True
    models = [node for node in nodes if node.kind != "source"]
    return bool(models) and all(node.name.startswith(_RAW_PREFIXES) for node in models)


def _has_prose(path: str, snapshot: Snapshot) -> bool:
    document = snapshot.document(path)
    if document is None:
        return False
    if document.kind == "yaml":
        return "description" in document.text or "metrics:" in document.text
    return document.kind == "model" and bool(document.text.strip())


def _parts(folder: str, paths: list[str], snapshot: Snapshot) -> list[tuple[str, list[str]]]:
    """Split the files of a folder so that each part fits; a file stays in its part when others come and go."""
    sizes = {path: len(found.text) if (found := snapshot.document(path)) else 0 for path in paths}
    count = 1
    while True:
        parts: defaultdict[int, list[str]] = defaultdict(list)
        for path in paths:
            parts[int(digest(PurePosixPath(path).stem)[:8], 16) % count].append(path)
        fits = all(
            sum(sizes[one] for one in part) <= _LONGEST_UNIT or len(part) == 1 for part in parts.values()
        )
        if fits or count >= _MOST_PARTS:
            break
        count *= 2
    if count == 1:
        return [(folder, paths)]
    return [(f"{folder}#{number + 1}of{count}", part) for number, part in sorted(parts.items())]


def _unit(
    key: str,
    paths: list[str],
    nodes_by_path: Mapping[str, list[Node]],
    project: Project,
    drafts: Mapping[str, Draft],
    snapshot: Snapshot,
) -> UnitPlan:
    nodes = {node.id: node for path in paths for node in nodes_by_path.get(path, ())}
    upstream = {
        path
        for node in nodes.values()
        for id_ in node.depends_on
        if id_ in project.by_id
        for path in (project.by_id[id_].path, project.by_id[id_].patch)
        if path is not None and path not in paths and snapshot.document(path) is not None
    }
    lines = [
        f"{nodes[id_].label} is the source `{drafts[id_].name}` ({drafts[id_].place.table.ref})."
        if id_ in drafts
        else f"{nodes[id_].label} has no table in a connected warehouse."
        for id_ in sorted(nodes)
    ]
    return UnitPlan(
        key=f"dbt:{key}",
        label=key,
        documents=tuple(paths),
        context=tuple(sorted(upstream)[:_MOST_CONTEXT]),
        notes="\n".join(lines),
        connection_ids=tuple(
            sorted({drafts[id_].place.target.connection_id for id_ in nodes if id_ in drafts})
        ),
    )
