"""The layer and the wiki as texts, at a commit or as they lie on disk, so that two moments can be compared."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from ktx.files import read_text
from ktx.git import Repository
from ktx.names import is_page_key
from ktx.project import Project
from ktx.semantic.files import MANIFEST_FOLDER, LayerFile, layer_paths
from ktx.semantic.load import layer_of
from ktx.semantic.source import Layer
from ktx.wiki.store import iter_page_files

_LAYER_ENDINGS = (".yaml", ".yml")


@dataclass(frozen=True, kw_only=True, eq=False)
class Tree:
    """All files of the layer and the wiki at one moment, by path from the project; None where one is no UTF-8."""

    texts: Mapping[str, str | None]

    @cached_property
    def files(self) -> dict[str, tuple[LayerFile, ...]]:
        """The layer's files by connection."""
        found: dict[str, list[LayerFile]] = {}
        for path, text in sorted(self.texts.items()):
            folder, *inside = path.split("/")
            if folder == "semantic-layer":
                is_manifest = inside[1] == MANIFEST_FOLDER
                found.setdefault(inside[0], []).append(
                    LayerFile(file=path, is_manifest=is_manifest, text=text)
                )
        return {name: tuple(files) for name, files in found.items()}

    @cached_property
    def pages(self) -> dict[str, str | None]:
        """The pages' texts by key; a person's own pages as `user/<name>/<key>`."""
        return {
            path.removeprefix("wiki/").removeprefix("global/").removesuffix(".md"): text
            for path, text in sorted(self.texts.items())
            if path.startswith("wiki/")
        }

    def layer(self, connection_id: str) -> Layer:
        """Compose the layer of a connection."""
        return layer_of(connection_id, self.files.get(connection_id, ()))


EMPTY = Tree(texts={})


def tree_at(project: Project, repository: Repository, commit: str | None) -> Tree:
    """Read the tree of a commit; None stands for the time before the first."""
    if commit is None:
        return EMPTY
    found = repository.texts_at(commit, [project.semantic_dir, project.wiki_dir])
    texts = {path.relative_to(project.root).as_posix(): text for path, text in found.items()}
    return Tree(texts={path: text for path, text in texts.items() if _is_part(path)})


def tree_on_disk(project: Project) -> Tree:
    """Read the tree as it lies on disk, whatever git knows of it."""
    paths = [entry.path for entry in iter_page_files(project.wiki_dir)]
    if project.semantic_dir.is_dir():
        for folder in project.semantic_dir.iterdir():
            if folder.is_dir() and not folder.name.startswith("."):
                paths += layer_paths(folder)
    return Tree(texts={path.relative_to(project.root).as_posix(): _text(path) for path in paths})


def _is_part(path: str) -> bool:
    """Tell whether a committed file is one that is read from disk too."""
    folder, *inside = path.split("/")
    if folder == "semantic-layer":
        is_hidden = any(part.startswith(".") for part in inside)
        return len(inside) > 1 and not is_hidden and path.endswith(_LAYER_ENDINGS)
    match inside:
        case ["global", name]:
            owner = ""
        case ["user", owner, name]:
            if not is_page_key(owner):
                return False
        case _:
            return False
    return name.endswith(".md") and is_page_key(name.removesuffix(".md"))


def _text(path: Path) -> str | None:
    try:
        return read_text(path)
    except UnicodeDecodeError:
        return None
