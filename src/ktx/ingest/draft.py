"""The layer and the wiki as they would be: files on disk with some of them replaced in memory.

A `Base` is the disk at the start of a run, read once. A `Draft` is a base with other texts for some artifacts; it is never
changed, so many work units may look at one while each makes its own.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import cast

from ktx.catalog import Catalog
from ktx.errors import LayerError
from ktx.files import read_text
from ktx.findings import Finding, Place
from ktx.ingest.artifact import Artifact, Data, Json, page_artifact, page_entries, source_entries
from ktx.ingest.provenance import Origin, read_origins
from ktx.search.known import known_names
from ktx.semantic.check import check_layer
from ktx.semantic.files import (
    LayerFile,
    ManifestTable,
    SourceFile,
    file_for,
    layer_paths,
    parse_manifest_file,
    parse_source_file,
    read_layer_file,
)
from ktx.semantic.load import layer_of, layer_with
from ktx.semantic.source import Layer
from ktx.wiki.check import Known, check_pages, dangling_links
from ktx.wiki.links import Link
from ktx.wiki.page import Page, parse_page, split_front_matter
from ktx.wiki.store import load_pages, page_path, visible_pages
from ktx.yaml import YamlError, parse_yaml


@dataclass(frozen=True, kw_only=True)
class WarehouseFacts:
    """What is known of a warehouse on which definitions land. `catalog` is None when it cannot be known now."""

    connection_id: str
    dialect: str
    catalog: Catalog | None = None


@dataclass(frozen=True, kw_only=True, eq=False)
class Base:
    """The disk at the start of a run. `connections` names all connections of the project, context sources too.

    With a `user_id` the pages that are written are that user's own; those that everybody shares can still be read.
    """

    root: Path
    semantic_dir: Path
    wiki_dir: Path
    warehouses: Mapping[str, WarehouseFacts]
    connections: frozenset[str]
    user_id: str | None = None

    @cached_property
    def layers(self) -> dict[str, Layer]:
        """The layer of each warehouse."""
        return {name: layer_of(name, self._files[name]) for name in sorted(self.warehouses)}

    @cached_property
    def pages(self) -> dict[str, Page]:
        """The pages that can be seen, by key."""
        pages, _ = load_pages(self.wiki_dir)
        return {page.key: page for page in visible_pages(pages, user_id=self.user_id)}

    @cached_property
    def tables(self) -> dict[str, dict[str, ManifestTable]]:
        """The manifest tables of each warehouse, by source name."""
        return {
            name: {
                table.name: table
                for file in files
                if file.is_manifest
                for table in parse_manifest_file(file)[0]
            }
            for name, files in self._files.items()
        }

    @cached_property
    def source_files(self) -> dict[str, dict[str, tuple[SourceFile, str, Path]]]:
        """The source files of each warehouse by source name: parsed, as text, and where they lie."""
        found: dict[str, dict[str, tuple[SourceFile, str, Path]]] = {}
        for name, files in self._files.items():
            mine = found.setdefault(name, {})
            for file in files:
                if not file.is_manifest and file.text is not None and (parsed := parse_source_file(file)):
                    mine.setdefault(parsed.name, (parsed, file.text, self.semantic_dir.parent / file.file))
        return found

    def path(self, artifact: Artifact) -> Path:
        """Give where an artifact lies, or would lie."""
        if artifact.kind == "page":
            return page_path(self.wiki_dir, artifact.name, user_id=self.user_id)
        known = self.source_files.get(artifact.connection_id, {}).get(artifact.name)
        return known[2] if known else self.semantic_dir / artifact.connection_id / file_for(artifact.name)

    def text(self, artifact: Artifact) -> str | None:
        """Give an artifact's text on disk; None when there is no such file.

        Raises:
            LayerError: there is one, and it cannot be read as text.
        """
        if artifact.kind == "source":
            known = self.source_files.get(artifact.connection_id, {}).get(artifact.name)
            if known:
                return known[1]
        return _read(self.path(artifact), artifact)

    def shared_text(self, key: str) -> str | None:
        """Give a shared page's text on disk."""
        return _read(page_path(self.wiki_dir, key), page_artifact(key))

    @cached_property
    def _files(self) -> dict[str, list[LayerFile]]:
        return {
            name: [
                read_layer_file(path, folder=self.semantic_dir / name)
                for path in layer_paths(self.semantic_dir / name)
            ]
            for name in sorted(self.warehouses)
        }


@dataclass(frozen=True, kw_only=True, eq=False)
class Draft:
    """A base with other texts for some artifacts; None stands for a file that would be gone."""

    base: Base
    texts: Mapping[Artifact, str | None] = field(default_factory=dict[Artifact, str | None])

    def with_texts(self, texts: Mapping[Artifact, str | None]) -> "Draft":
        """Give a draft with some texts more."""
        return Draft(base=self.base, texts={**self.texts, **texts}) if texts else self

    def text(self, artifact: Artifact) -> str | None:
        """Give an artifact's text."""
        return self.texts[artifact] if artifact in self.texts else self.base.text(artifact)

    def data(self, artifact: Artifact) -> Data | None:
        """Give the data of a source file, or the front matter of a page; None when there is no such file.

        Raises:
            LayerError: the file cannot be read as what it is.
        """
        text = self.text(artifact)
        if text is None:
            return None
        if artifact.kind == "page":
            text = split_front_matter(text)[0]
        return as_data(text, artifact)

    def body(self, artifact: Artifact) -> str:
        """Give the Markdown of a page."""
        return split_front_matter(self.text(artifact) or "")[1]

    def entries(self, artifact: Artifact) -> dict[str, Json]:
        """Give the entries of an artifact; empty when there is no such file.

        Raises:
            LayerError: the file cannot be read as what it is.
        """
        data = self.data(artifact)
        if data is None:
            return {}
        return source_entries(data) if artifact.kind == "source" else page_entries(data, self.body(artifact))

    def problem(self, artifact: Artifact) -> str | None:
        """Say why a file that is there cannot be read as what it is; None when it can, or when there is none."""
        try:
            self.data(artifact)
        except LayerError as error:
            return error.message
        return None

    def origins(self, artifact: Artifact) -> dict[str, tuple[Origin, ...]]:
        """Give where the entries of an artifact came from."""
        data = self.data(artifact)
        return read_origins(data) if data else {}

    @cached_property
    def pages(self) -> dict[str, Page]:
        """The pages that can be seen, by key; those that cannot be read are left out."""
        pages = dict(self.base.pages)
        for artifact, text in self.texts.items():
            if artifact.kind != "page":
                continue
            pages.pop(artifact.name, None)
            if text is not None:
                try:
                    pages[artifact.name] = self._page(artifact, text)
                except LayerError:
                    continue
        return pages

    def layer(self, connection_id: str) -> Layer:
        """Give the layer of a warehouse."""
        return self._layers[connection_id]

    @cached_property
    def known(self) -> Known:
        """What pages may point at."""
        return known_names(self._layers.values(), self.base.connections)

    def check(self, artifact: Artifact) -> tuple[Finding, ...]:
        """Check one artifact with the real compiler, against the catalog, and as for its references; errors only."""
        text = self.text(artifact)
        if text is None:
            return ()
        if artifact.kind == "page":
            return self._check_page(artifact, text)
        facts = self.base.warehouses[artifact.connection_id]
        found = check_layer(
            self.layer(artifact.connection_id), facts.catalog, dialect=facts.dialect, names={artifact.name}
        )
        file = self._file(artifact)
        return tuple(
            one
            for one in found
            if one.level == "error" or (one.code == "overlay-without-table" and one.where.file == file)
        )

    def _check_page(self, artifact: Artifact, text: str) -> tuple[Finding, ...]:
        try:
            page = self._page(artifact, text)
        except LayerError as error:
            return error.findings or (
                Finding(
                    level="error",
                    code="wiki-page",
                    message=error.message,
                    where=Place(file=self._file(artifact)),
                ),
            )
        pages = {**self.pages, artifact.name: page}
        found = check_pages(pages.values(), self.known, only={artifact.name})
        return tuple(one for one in found if one.level == "error")

    def dangling(self, artifact: Artifact) -> tuple[Link, ...]:
        """Give the references of a page that lead to nothing."""
        text = self.text(artifact)
        try:
            page = None if text is None else self._page(artifact, text)
        except LayerError:
            return ()
        if page is None:
            return ()
        return dangling_links(page, {**self.pages, artifact.name: page}.values(), self.known)

    @cached_property
    def _layers(self) -> dict[str, Layer]:
        return {name: self._made_layer(name) for name in self.base.layers}

    def _made_layer(self, connection_id: str) -> Layer:
        base = self.base.layers[connection_id]
        touched = {
            artifact: text
            for artifact, text in self.texts.items()
            if artifact.kind == "source" and artifact.connection_id == connection_id
        }
        if not touched:
            return base
        present = self.base.source_files.get(connection_id, {})
        parsed = {
            artifact.name: None
            if text is None
            else parse_source_file(LayerFile(file=self._file(artifact), is_manifest=False, text=text))
            for artifact, text in touched.items()
        }
        before = {name: present[name][0] for name in parsed if name in present}
        # A join is taken out on both of its sides, so that the other side is made anew too.
        cutting = {name for name, file in (*parsed.items(), *before.items()) if _takes_joins_out(file)}
        tables = self.base.tables.get(connection_id, {})
        names = frozenset(
            {*parsed}
            | {
                name
                for name, table in tables.items()
                if cutting
                and table.table is not None
                and any(join.to in cutting for join in table.table.joins)
            }
        )
        files: dict[str, SourceFile] = {
            name: file
            for name, (file, _, _) in present.items()
            if name not in parsed and (name in names or _takes_joins_out(file))
        }
        files.update({name: file for name, file in parsed.items() if file is not None})
        wanted = {*names, *files}
        wanted |= {
            file.entry.inherits_columns_from
            for file in files.values()
            if file.entry is not None and file.entry.inherits_columns_from
        }
        return layer_with(
            base, [tables[name] for name in sorted(wanted) if name in tables], files.values(), names=names
        )

    def _page(self, artifact: Artifact, text: str) -> Page:
        return parse_page(text, key=artifact.name, file=self._file(artifact), user_id=self.base.user_id)[0]

    def _file(self, artifact: Artifact) -> str:
        return self.base.path(artifact).relative_to(self.base.root).as_posix()


def _takes_joins_out(file: SourceFile | None) -> bool:
    return file is not None and file.entry is not None and bool(file.entry.disable_joins)


def read_or_none(path: Path) -> str | None:
    """Give a file's text; None when there is no such file, or no text."""
    try:
        return read_text(path)
    except (OSError, UnicodeDecodeError):
        return None


def _read(path: Path, artifact: Artifact) -> str | None:
    try:
        return read_text(path)
    except FileNotFoundError:
        return None
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
        raise LayerError(f"`{artifact}` cannot be read: {reason}.") from error


def as_data(text: str, artifact: Artifact) -> Data:
    """Parse YAML that must be a mapping.

    Raises:
        LayerError: it is not.
    """
    try:
        data: object = parse_yaml(text)
    except YamlError as error:
        raise LayerError(f"`{artifact}` is not valid YAML: {error.message}.") from error
    if not isinstance(data, dict):
        raise LayerError(f"`{artifact}` is not a mapping.")
    return cast("Data", data)
