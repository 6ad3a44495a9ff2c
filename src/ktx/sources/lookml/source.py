"""LookML projects: views, explores and dashboards as definitions, joins and pages."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from ktx.errors import SourceError
from ktx.events import Emit, StageAdvanced, StageFinished, StageStarted
from ktx.sources.evidence import Document, Snapshot, Unread
from ktx.sources.lookml.dashboards import DashboardError, parse_dashboards
from ktx.sources.lookml.interpret import DASHBOARD, interpret, is_expected, parsed_files
from ktx.sources.lookml.parse import LookmlError, parse_lookml
from ktx.sources.lookml.project import read_project
from ktx.sources.source import Interpretation, Target
from ktx.sources.tree import OpenTree, Tree

_ENDINGS: Final = (".lkml", ".lookml")
_MAX_CHARS: Final = 4_000_000
_INSTRUCTIONS: Final = """\
The evidence is LookML, the modelling language of Looker. A view describes a table: dimensions are columns, measures are aggregates, \
`${field}` refers to another field. An explore joins views; what it adds to every question (`sql_always_where`, `always_filter`) is part of \
how people read its numbers. Names, types, measures and joins have been taken over already where they can be said. What is left is meaning: \
why a measure is defined as it is, which of several similar ones people should use, what comments and descriptions warn of. `{{ … }}` and \
`{% … %}` are Liquid, filled in by Looker per question and user: describe what they do, never guess a value.\
"""


@dataclass(frozen=True, kw_only=True)
class LookmlSource:
    """One LookML project, in a folder or a repository.

    Definitions land on the warehouses of `warehouse_ids`, those of models on another Looker connection than
    `expected_looker_connection_name` nowhere.
    """

    open_tree: OpenTree
    connection_id: str
    warehouse_ids: tuple[str, ...] = ()
    expected_looker_connection_name: str | None = None

    @property
    def instructions(self) -> str:
        """What a model should know about LookML."""
        return _INSTRUCTIONS

    def fetch(self, *, emit: Emit) -> Snapshot:
        """Read and parse every LookML file.

        Raises:
            SourceError: the project cannot be reached, or holds no LookML.
            ConfigError: the folder or repository is named wrongly.
        """
        tree = self.open_tree()
        paths = tree.paths(*_ENDINGS)
        if not paths:
            raise SourceError(
                f"The source `{self.connection_id}` holds no LookML file.",
                hint="Its branch or path may be another: files end in `.lkml` or `.lookml`.",
            )
        emit(StageStarted(stage="read LookML", total=len(paths)))
        documents: list[Document] = []
        unread: list[Unread] = []
        for number, path in enumerate(paths, start=1):
            document, problem = _read(tree, path)
            if document is not None:
                documents.append(document)
            if problem is not None:
                unread.append(Unread(id=path, reason=problem))
            emit(StageAdvanced(stage="read LookML", done=number, total=len(paths), label=path))
        emit(StageFinished(stage="read LookML", summary=f"{len(documents)} files"))
        return Snapshot(
            documents=tuple(documents),
            # What a file says that cannot be parsed is not gone: nothing of it may be removed.
            is_complete=not unread,
            unread=tuple(unread),
            notes=self._notes(documents),
        )

    def interpret(self, snapshot: Snapshot, targets: Sequence[Target]) -> Interpretation:
        """Say what the project defines on the source's warehouses."""
        own = [
            target
            for target in targets
            if not self.warehouse_ids or target.connection_id in self.warehouse_ids
        ]
        return interpret(
            snapshot,
            sorted(own, key=lambda target: target.connection_id),
            expected=self.expected_looker_connection_name,
        )

    def _notes(self, documents: Sequence[Document]) -> tuple[str, ...]:
        files, _ = parsed_files(documents)
        project = read_project(files, present=[document.id for document in documents])
        found = [
            f"The model `{model.name}` uses the Looker connection `{model.connection or 'none'}`, "
            f"not `{self.expected_looker_connection_name}`: pages only."
            for model in project.models
            if not is_expected(model, self.expected_looker_connection_name)
        ]
        found += [
            f"The project builds on another project, `{name}`, which is not read." for name in project.others
        ]
        return tuple(found)


def _read(tree: Tree, path: str) -> tuple[Document | None, str | None]:
    """Read one file; one that cannot be parsed is evidence all the same."""
    try:
        text = tree.read(path)
    except SourceError as error:
        return None, error.message
    if len(text) > _MAX_CHARS:
        return None, f"`{path}` is longer than {_MAX_CHARS} characters."
    kind = _kind(path)
    title = path.rpartition("/")[2].partition(".")[0]
    document = Document(id=path, kind=kind, title=title, text=text)
    try:
        if kind == DASHBOARD:
            parse_dashboards(text)
            return document, None
        return Document(id=path, kind=kind, title=title, text=text, data=parse_lookml(text)), None
    except (LookmlError, DashboardError) as problem:
        return document, f"`{path}` cannot be parsed: {problem}"


def _kind(path: str) -> str:
    name = path.rpartition("/")[2]
    if ".dashboard." in name:
        return DASHBOARD
    for ending, kind in (
        (".model.", "lookml_model"),
        (".view.", "lookml_view"),
        (".explore.", "lookml_explore"),
    ):
        if ending in name:
            return kind
    return "lookml_manifest" if name.startswith("manifest.") else "lookml"
