"""The documents of a dbt project in a tree, and the project that they make: the manifest's word where it can be trusted."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import PurePosixPath

from ktx.errors import SourceError
from ktx.files import digest
from ktx.sources.dbt_project.config import PROJECT_FILES, ProjectConfig, is_under
from ktx.sources.dbt_project.files import project_from_files
from ktx.sources.dbt_project.manifest import (
    project_from_manifest,
    schema_version,
    why_stale,
    with_relations,
)
from ktx.sources.dbt_project.plain import as_map
from ktx.sources.dbt_project.project import Project
from ktx.sources.dbt_project.reading import project_config
from ktx.sources.dbt_project.yaml11 import YamlError, parse_yaml
from ktx.sources.evidence import Document, Snapshot, Unread
from ktx.sources.tree import Tree

_ENDINGS = (".yml", ".yaml", ".sql", ".py", ".md", ".csv")
_ARTIFACTS = ("manifest", "catalog", "semantic_manifest")
_HEADER_LENGTH = 10_000


@dataclass(frozen=True, kw_only=True)
class ProjectReading:
    """A project, and which artifacts it rests on. `notes` say what was not trusted."""

    project: Project
    uses_manifest: bool
    semantic_manifest: dict[str, object] | None
    notes: tuple[str, ...] = ()


def fetch_project(tree: Tree) -> Snapshot:
    """Read the documents of a project. A file that exists and cannot be read makes the snapshot incomplete."""
    documents: list[Document] = []
    unread: list[Unread] = []

    def take(path: str, make: Callable[[str, str], Document]) -> None:
        try:
            documents.append(make(path, tree.read(path)))
        except SourceError as error:
            unread.append(Unread(id=path, reason=error.message))
        except YamlError as error:
            spot = f" (line {error.line})" if error.line else ""
            unread.append(
                Unread(id=path, reason=f"`{path}` is not YAML that dbt can read{spot}: {error.message}.")
            )

    root = next((name for name in PROJECT_FILES if tree.has(name)), None)
    if root is not None:
        take(root, lambda path, text: _yaml_document("project", path, text))
    config = project_config(documents)
    for path in tree.paths(*_ENDINGS):
        if path in PROJECT_FILES or path.startswith(f"{config.target_path}/"):
            continue
        kind = _kind(path, config)
        if kind == "yaml":
            take(path, lambda path, text: _yaml_document("yaml", path, text))
        elif kind is not None:
            take(path, lambda path, text, kind=kind: _text_document(kind, path, text))
    for name in _ARTIFACTS:
        path = f"{config.target_path}/{name}.json"
        if tree.has(path):
            take(path, lambda path, text, name=name: _artifact(name, path, text))
    return Snapshot(
        documents=tuple(sorted(documents, key=lambda document: document.id)),
        is_complete=not unread,
        unread=tuple(unread),
    )


def read_project(snapshot: Snapshot) -> ProjectReading:
    """Give the project of a snapshot. A manifest that disagrees with the files beside it only tells where tables are."""
    by_kind = {
        document.kind: as_map(document.data) for document in snapshot.documents if document.kind in _ARTIFACTS
    }
    files = project_from_files(snapshot.documents)
    catalog = by_kind.get("catalog", {})
    manifest = by_kind.get("manifest")
    if manifest is None:
        return ProjectReading(
            project=with_relations(files, manifest=None, catalog=catalog),
            uses_manifest=False,
            semantic_manifest=by_kind.get("semantic_manifest"),
        )
    said = project_from_manifest(manifest)
    reason = why_stale(manifest, said, files, snapshot.documents)
    if reason is None:
        return ProjectReading(
            project=_with_files(said, files),
            uses_manifest=True,
            semantic_manifest=by_kind.get("semantic_manifest"),
        )
    return ProjectReading(
        project=with_relations(files, manifest=said, catalog=catalog),
        uses_manifest=False,
        semantic_manifest=None,
        notes=(f"The manifest is older than the files ({reason}); the files were read instead.",),
    )


def evidence_of(snapshot: Snapshot, *paths: str | None) -> tuple[str, ...]:
    """Give the documents among these paths, sorted; where there is none, what stands for the whole."""
    found = sorted({path for path in paths if path and snapshot.document(path) is not None})
    if found:
        return tuple(found)
    by_kind = {document.kind: document.id for document in snapshot.documents}
    for kind in ("manifest", "semantic_manifest", "project"):
        if kind in by_kind:
            return (by_kind[kind],)
    return (snapshot.documents[0].id if snapshot.documents else "",)


def _with_files(said: Project, files: Project) -> Project:
    """Give the manifest's project with what only the files know: variables, and which docs blocks are shown."""
    used = {block.name for block in files.docs if block.is_used}
    if not files.docs:
        return said
    docs = tuple(
        type(block)(name=block.name, path=block.path, text=block.text, is_used=block.name in used)
        for block in said.docs
    )
    return Project(
        name=said.name,
        nodes=said.nodes,
        exposures=said.exposures,
        docs=docs,
        semantic_models=said.semantic_models,
        metrics=said.metrics,
        saved_queries=said.saved_queries,
        variables=files.variables,
        remarks=files.remarks,
    )


def _kind(path: str, config: ProjectConfig) -> str | None:
    """Tell what a file is to dbt; None for one that it does not read, and for profiles, which hold passwords."""
    ending = PurePosixPath(path).suffix
    if PurePosixPath(path).stem == "profiles":
        return None
    if ending in {".yml", ".yaml"}:
        return "yaml" if is_under(path, config.yaml_paths) else None
    if ending == ".md":
        return "markdown" if is_under(path, config.all_docs_paths) else None
    if ending == ".csv":
        return "seed" if is_under(path, config.seed_paths) else None
    if is_under(path, (*config.model_paths, *config.snapshot_paths)):
        return "model"
    return "test" if ending == ".sql" and is_under(path, config.test_paths) else None


def _yaml_document(kind: str, path: str, text: str) -> Document:
    return Document(id=path, kind=kind, title=path, text=text, data=parse_yaml(text) or {})


def _text_document(kind: str, path: str, text: str) -> Document:
    if kind == "seed":
        text = text[:_HEADER_LENGTH].partition("\n")[0].strip()
    return Document(id=path, kind=kind, title=path, text=text)


def _artifact(name: str, path: str, text: str) -> Document:
    """Make a document of an artifact. What it shows is what counts in it: the rest changes with every run of dbt."""
    try:
        data = as_map(json.loads(text))
        if name == "manifest":
            shown = repr(project_from_manifest(data))
        elif name == "catalog":
            shown = repr(_relations(data))
        else:
            shown = json.dumps(
                {key: data.get(key) for key in ("semantic_models", "metrics", "saved_queries")},
                sort_keys=True,
            )
    except (ValueError, RecursionError) as error:
        raise SourceError(f"`{path}` is not JSON that can be read.") from error
    version = schema_version(data) or "unknown"
    return Document(
        id=path,
        kind=name,
        title=path,
        text=f"dbt's {name} (format {version}); content {digest(shown)}\n",
        data=data,
    )


def _relations(catalog: dict[str, object]) -> list[tuple[str, object]]:
    return [
        (id_, as_map(as_map(entry).get("metadata")))
        for kind in ("nodes", "sources")
        for id_, entry in sorted(as_map(catalog.get(kind)).items())
    ]
