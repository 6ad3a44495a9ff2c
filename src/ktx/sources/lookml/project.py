"""The files of a LookML project as models: which files each includes, and its views and explores after refinements and `extends`."""

import posixpath
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Final, cast

from ktx.sources.evidence import Unmapped
from ktx.sources.lookml.merge import ancestors, extended, merged
from ktx.sources.lookml.parse import Block, blocks_of, named_blocks, text_of, texts_of, unquoted

_MODEL = re.compile(r"(?:.*/)?([^/]+)\.model\.(?:lkml|lookml)")
_MANIFEST = re.compile(r"manifest\.(?:lkml|lookml)")
_CONSTANT = re.compile(r"@\{\s*([A-Za-z0-9_]+)\s*\}")
_MAX_DEPTH: Final = 200
_NOTHING: Block = {}


@dataclass(frozen=True, kw_only=True)
class Part:
    """A view or explore of a model in its final form.

    `home` is the file that declares it, `evidence` are all that say something about it.
    """

    name: str
    block: Block
    home: str
    evidence: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Model:
    """One model: `files` are those it includes, itself among them; `path` is None for files that no model includes
    in a project without models.
    """

    name: str
    path: str | None
    connection: str | None
    files: tuple[str, ...]
    views: Mapping[str, Part] = field(default_factory=dict[str, Part])
    explores: Mapping[str, Part] = field(default_factory=dict[str, Part])


@dataclass(frozen=True, kw_only=True)
class Project:
    """All models by name, and what is wrong with how the files hang together."""

    models: tuple[Model, ...]
    orphans: tuple[str, ...] = ()
    others: tuple[str, ...] = ()
    """Other projects that this one builds on, by name."""
    unmapped: tuple[Unmapped, ...] = ()


def read_project(files: Mapping[str, Block], *, present: Sequence[str]) -> Project:
    """Put parsed files together. `present` are all LookML paths, those included that could not be parsed."""
    manifest = next((files[path] for path in sorted(files) if _MANIFEST.fullmatch(path)), _NOTHING)
    constants = {
        name: unquoted(text_of(block, "value") or "")
        for name, block in named_blocks(manifest, "constants").items()
    }
    known = {path: cast(Block, _filled(files[path], constants, 0)) for path in sorted(files)}
    reader = _Reader(files=known, present=tuple(sorted(present)))
    models = tuple(reader.model(path) for path in sorted(known) if _MODEL.fullmatch(path))
    code = tuple(path for path in sorted(known) if not _MANIFEST.fullmatch(path))
    if not models:
        models = (reader.loose(code),) if code else ()
    used = {path for model in models for path in model.files}
    orphans = tuple(path for path in code if path not in used)
    return Project(
        models=models,
        orphans=orphans,
        others=tuple(_others(manifest)),
        unmapped=(*reader.problems, *_unused(orphans, known)),
    )


def include_pattern(include: str, *, folder: str) -> "re.Pattern[str]":
    """Give what an `include` matches: from the project's top with a leading `/`, else from the file's own folder.

    >>> bool(include_pattern("/views/**/*.view", folder="models").fullmatch("views/sales/orders.view.lkml"))
    True
    """
    rooted = (
        include.removeprefix("/") if include.startswith("/") else posixpath.normpath(f"{folder}/{include}")
    )
    rooted = rooted.removeprefix("./").lstrip("/")
    pattern = ""
    for piece in re.split(r"(\*\*/|\*\*|\*|\?)", rooted):
        special = {"**/": "(?:.*/)?", "**": ".*", "*": "[^/]*", "?": "[^/]"}
        pattern += special.get(piece, re.escape(piece))
    return re.compile(rf"{pattern}(?:\.lkml|\.lookml)?")


@dataclass(kw_only=True)
class _Reader:
    files: Mapping[str, Block]
    present: tuple[str, ...]
    problems: list[Unmapped] = field(default_factory=list[Unmapped])

    def model(self, path: str) -> Model:
        match = _MODEL.fullmatch(path)
        ordered: list[str] = []
        self._gather(path, ordered, set())
        return self._assembled(match[1] if match else path, path, ordered)

    def loose(self, paths: Sequence[str]) -> Model:
        return self._assembled("project", None, list(paths))

    def _gather(self, path: str, ordered: list[str], seen: set[str]) -> None:
        """List the files of a model, what is included before what includes it: the order in which refinements count."""
        if path in seen or len(seen) > 100_000:
            return
        seen.add(path)
        if len(seen) - len(ordered) > _MAX_DEPTH:
            self._report(path, "include", "Its includes are nested too deeply.")
            return
        for include in texts_of(self.files[path], "includes"):
            for found in self._included(include, path):
                if found in self.files:
                    self._gather(found, ordered, seen)
        ordered.append(path)

    def _included(self, include: str, path: str) -> tuple[str, ...]:
        if include.startswith("//"):
            project = include[2:].partition("/")[0]
            self._report(path, f"include {include}", f"It names files of another project, `{project}`.")
            return ()
        pattern = include_pattern(include, folder=posixpath.dirname(path))
        found = tuple(each for each in self.present if pattern.fullmatch(each))
        if not found:
            # Projects from before there were folders say `*.view` and mean the whole project.
            pattern = include_pattern(f"/{include.lstrip('/')}", folder="")
            found = tuple(each for each in self.present if pattern.fullmatch(each))
        if not found and not _is_dashboard(include):
            self._report(path, f"include {include}", "No file of the project matches it.")
        return found

    def _assembled(self, name: str, path: str | None, ordered: Sequence[str]) -> Model:
        said = [self.files[path]] if path is not None else []
        said += [self.files[each] for each in ordered]
        return Model(
            name=name,
            path=path,
            connection=next((text for each in said if (text := text_of(each, "connection"))), None),
            files=tuple(ordered),
            views=self._parts("view", ordered),
            explores=self._parts("explore", ordered),
        )

    def _parts(self, kind: str, ordered: Sequence[str]) -> dict[str, Part]:
        blocks: dict[str, Block] = {}
        evidence: dict[str, list[str]] = {}
        for path in ordered:
            for block in blocks_of(self.files[path], f"{kind}s"):
                told = text_of(block, "name") or ""
                name = told.removeprefix("+")
                if not name:
                    continue
                if told.startswith("+"):
                    if name not in blocks:
                        self._report(
                            path, f"{kind} {told}", f"It refines a {kind} that is not included before it."
                        )
                        continue
                    blocks[name] = merged(blocks[name], {**block, "name": name})
                    evidence[name].append(path)
                else:
                    if name in blocks:
                        self._report(
                            path,
                            f"{kind} {name}",
                            "It is declared more than once in one model; the last counts.",
                        )
                    blocks[name], evidence[name] = block, [path]
        found: dict[str, Part] = {}
        for name in sorted(blocks):
            if text_of(blocks[name], "extension") == "required":
                continue
            home = evidence[name][0]
            what = f"{kind} {name}"

            def report(detail: str, home: str = home, what: str = what) -> None:
                self._report(home, what, f"It {detail}.")

            block = extended(name, blocks, report=report)
            parents = ancestors(name, blocks)
            files = {each for one in (name, *parents) for each in evidence.get(one, ())}
            found[name] = Part(name=name, block=block, home=home, evidence=tuple(sorted(files)))
        return found

    def _report(self, path: str, what: str, detail: str) -> None:
        problem = Unmapped(evidence=path, what=what, reason="unresolved_reference", detail=detail)
        if problem not in self._seen:
            self._seen.add(problem)
            self.problems.append(problem)

    @cached_property
    def _seen(self) -> set[Unmapped]:
        return set()


def _filled(value: object, constants: Mapping[str, str], depth: int) -> object:
    """Put the project's constants into every text; what is no constant stays as it is and is noticed where it is used."""
    if isinstance(value, str):
        return (
            _CONSTANT.sub(lambda match: constants.get(match[1], match[0]), value) if "@{" in value else value
        )
    if depth > _MAX_DEPTH:
        return value
    if isinstance(value, list):
        return [_filled(each, constants, depth + 1) for each in cast("list[object]", value)]
    if isinstance(value, dict):
        return {
            key: _filled(each, constants, depth + 1) for key, each in cast("dict[str, object]", value).items()
        }
    return value


def _others(manifest: Block) -> Iterator[str]:
    for kind in ("local_dependencys", "local_dependencies"):
        for block in blocks_of(manifest, kind):
            yield text_of(block, "project") or "?"
    local = manifest.get("local_dependency")
    if isinstance(local, dict):
        yield text_of(cast(Block, local), "project") or "?"
    for kind in ("remote_dependencys", "remote_dependencies"):
        for block in blocks_of(manifest, kind):
            yield text_of(block, "name") or "?"


def _unused(orphans: Sequence[str], files: Mapping[str, Block]) -> Iterator[Unmapped]:
    for path in orphans:
        names = [
            f"{kind} {text_of(each, 'name')}"
            for kind in ("view", "explore")
            for each in blocks_of(files[path], f"{kind}s")
        ]
        if names:
            yield Unmapped(
                evidence=path,
                what=", ".join(names),
                reason="unresolved_reference",
                detail="No model includes the file, so Looker does not use it.",
            )


def _is_dashboard(include: str) -> bool:
    return "dashboard" in include
