"""A snapshot of LookML as definitions, pages and work: what `LookmlSource.interpret` gives."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Final, cast

from ktx.sources.definition import Definition, JoinFact, PageFact, SegmentFact
from ktx.sources.evidence import Document, Snapshot, Unmapped
from ktx.sources.lookml.agree import agreed, weaker
from ktx.sources.lookml.dashboards import DashboardError, dashboard_page, parse_dashboards
from ktx.sources.lookml.explores import alias_views, explore, explore_page
from ktx.sources.lookml.frames import split_frame
from ktx.sources.lookml.parse import Block, LookmlError, parse_lookml, words_of
from ktx.sources.lookml.project import Model, Part, Project, read_project
from ktx.sources.lookml.units import Landed, plan_units
from ktx.sources.lookml.unsayable import Unsayable
from ktx.sources.lookml.views import World, define_view
from ktx.sources.source import Interpretation, Target

DASHBOARD: Final = "lookml_dashboard"


@dataclass(kw_only=True)
class _Merged:
    """One definition that several models may share."""

    definition: Definition
    joins: dict[str, JoinFact] = field(default_factory=dict[str, JoinFact])
    segments: dict[str, SegmentFact] = field(default_factory=dict[str, SegmentFact])
    refused: set[str] = field(default_factory=set[str])
    """Joins that no relationship fits, by name."""


@dataclass(kw_only=True)
class _Work:
    project: Project
    targets: Sequence[Target]
    expected: str | None
    merged: dict[str, _Merged] = field(default_factory=dict[str, _Merged])
    pages: list[PageFact] = field(default_factory=list[PageFact])
    unmapped: list[Unmapped] = field(default_factory=list[Unmapped])
    worlds: dict[str, World] = field(default_factory=dict[str, World])
    landed: dict[str, Landed] = field(default_factory=dict[str, Landed])


def interpret(snapshot: Snapshot, targets: Sequence[Target], *, expected: str | None) -> Interpretation:
    """Say what a snapshot of LookML files defines. `expected` is the one Looker connection whose models may land."""
    files, problems = parsed_files(snapshot.documents)
    code = [document.id for document in snapshot.documents if document.kind != DASHBOARD]
    project = read_project(files, present=[document.id for document in snapshot.documents])
    work = _Work(project=project, targets=targets, expected=expected)
    work.unmapped += [*problems, *project.unmapped]
    names = _definition_names(project, expected)
    for model in project.models:
        _land_model(work, model, names)
    _dashboards(work, [document for document in snapshot.documents if document.kind == DASHBOARD])
    joins = _joins(work)
    definitions = [
        replace(
            one.definition,
            joins=tuple(join for _, join in sorted(joins[name].items())),
            segments=tuple(one.segments[key] for key in sorted(one.segments)),
        )
        for name, one in sorted(work.merged.items())
    ]
    return Interpretation(
        definitions=tuple(definitions),
        pages=_unique_pages(work.pages),
        units=plan_units(
            snapshot, project, work.landed, code=code, parsed=set(files), unmapped=work.unmapped
        ),
        unmapped=tuple(sorted(set(work.unmapped), key=lambda one: (one.evidence, one.what, one.detail))),
    )


def parsed_files(documents: Sequence[Document]) -> tuple[dict[str, Block], list[Unmapped]]:
    """Give the parsed LookML files by path, and those that cannot be parsed."""
    files: dict[str, Block] = {}
    problems: list[Unmapped] = []
    for document in documents:
        if document.kind == DASHBOARD:
            continue
        data = document.data
        if isinstance(data, dict):
            files[document.id] = cast(Block, data)
            continue
        try:
            files[document.id] = parse_lookml(document.text)
        except LookmlError as problem:
            problems.append(
                Unmapped(
                    evidence=document.id,
                    what=f"file {document.id}",
                    reason="parse_error",
                    detail=str(problem),
                )
            )
    return files, problems


def is_expected(model: Model, expected: str | None) -> bool:
    """Tell whether a model's definitions may land."""
    return (
        expected is None or model.connection == expected or (model.path is None and model.connection is None)
    )


def _definition_names(project: Project, expected: str | None) -> dict[tuple[str, str], str]:
    """Name the view of each model: its own name, unless two models mean different things by it."""
    found: dict[tuple[str, str], str] = {}
    said: dict[str, dict[str, str]] = {}
    for model in project.models:
        for name, part in model.views.items():
            if not is_expected(model, expected):
                continue
            text = json.dumps(part.block, sort_keys=True)
            known = said.setdefault(name, {})
            if text not in known:
                known[text] = name if not known else f"{name}__{model.name}"
            found[model.name, name] = known[text]
    return found


def _land_model(work: _Work, model: Model, names: Mapping[tuple[str, str], str]) -> None:
    landed = work.landed[model.name] = Landed()
    if not is_expected(model, work.expected):
        shown = f"`{model.connection}`" if model.connection else "none that its files name"
        landed.mismatch = f"Its Looker connection is {shown}, not `{work.expected}`: pages only."
        work.unmapped.append(
            Unmapped(
                evidence=model.path or model.name,
                what=f"model {model.name}",
                reason="no_connection_mapping",
                detail=landed.mismatch,
            )
        )
        world = World(model=model, targets=(), names={})
        work.pages += [page for part in model.explores.values() if (page := explore_page(world, part, None))]
        return
    own = {view: names[model.name, view] for view in model.views}
    world = World(model=model, targets=work.targets, names=own, aliases=_aliases(model))
    work.worlds[model.name] = world
    for view in sorted(model.views):
        _land_view(work, world, model.views[view], landed)
    for name in sorted(model.explores):
        _land_explore(work, world, model.explores[name])


def _land_view(work: _Work, world: World, part: Part, landed: Landed) -> None:
    name = world.names[part.name]
    known = work.merged.get(name)
    if known is not None:
        evidence = tuple(sorted({*known.definition.evidence, *part.evidence}))
        known.definition = replace(known.definition, evidence=evidence)
        landed.definitions[name] = frozenset(part.evidence)
        landed.connections.add(known.definition.connection_id)
        return
    definition, problems = define_view(world, part)
    work.unmapped += problems
    if definition is None:
        return
    shared = world.model.explores.get(part.name)
    if definition.description is None and shared is not None:
        definition = replace(definition, description=words_of(shared.block, "description"))
    work.merged[name] = _Merged(definition=definition)
    landed.definitions[name] = frozenset(part.evidence)
    landed.connections.add(definition.connection_id)


def _land_explore(work: _Work, world: World, part: Part) -> None:
    explored = explore(world, part)
    work.unmapped += explored.problems
    for owner, join in explored.joins:
        _add_join(work, owner, join, part)
    for owner, segment in explored.segments:
        one = work.merged.get(owner)
        if one is None:
            continue
        known = one.segments.setdefault(segment.name, segment)
        if known.expr != segment.expr:
            _contradiction(
                work,
                part,
                f"segment {segment.name}",
                "Another model's explore of this name adds another filter.",
            )
    page = explore_page(world, part, explored)
    if page is not None:
        work.pages.append(page)


def _add_join(work: _Work, owner: str, join: JoinFact, part: Part) -> None:
    one = work.merged.get(owner)
    name = join.alias or join.to
    if one is None or name in one.refused:
        return
    known = one.joins.setdefault(name, join)
    if known == join:
        return
    if known.on == join.on and known.to == join.to:
        taken = weaker(known.relationship, join.relationship)
        outcome = f"`{taken}` was taken" if taken is not None else "it was left out"
        detail = f"Another explore joins it as `{known.relationship}`, this one as `{join.relationship}`; {outcome}."
        if taken is not None:
            one.joins[name] = replace(known, relationship=taken)
        else:
            del one.joins[name]
            one.refused.add(name)
    else:
        detail = f"Another explore joins it on `{known.on}`, this one on `{join.on}`; the first was taken."
    _contradiction(work, part, f"join {join.alias or join.to}", detail)


def _joins(work: _Work) -> dict[str, dict[str, JoinFact]]:
    said = {name: one.joins for name, one in work.merged.items()}
    dialect = work.targets[0].dialect if work.targets else ""
    joins, problems = agreed(said, dialect=dialect)
    for each in problems:
        told = " and ".join(f"`{one}`" for one in each.said)
        outcome = f"`{each.taken}` was taken." if each.taken else "it was left out."
        work.unmapped.append(
            Unmapped(
                evidence=work.merged[each.owner].definition.evidence[0],
                what=f"join {each.join.alias or each.join.to} of view {each.owner}",
                reason="multiple_table_references",
                detail=f"Explores disagree whether it is {told}; {outcome}",
            )
        )
    return joins


def _contradiction(work: _Work, part: Part, what: str, detail: str) -> None:
    work.unmapped.append(
        Unmapped(
            evidence=part.home,
            what=f"{what} of explore {part.name}",
            reason="multiple_table_references",
            detail=detail,
        )
    )


def _aliases(model: Model) -> dict[str, str]:
    """Give the other names that a model's explores use for one view each, everywhere the same."""
    found: dict[str, set[str]] = {}
    for part in model.explores.values():
        for alias, view in alias_views(part, model.views).items():
            if alias not in model.views:
                found.setdefault(alias, set()).add(view)
    return {alias: next(iter(views)) for alias, views in sorted(found.items()) if len(views) == 1}


def _dashboards(work: _Work, documents: Sequence[Document]) -> None:
    connections = tuple(sorted({each.definition.connection_id for each in work.merged.values()}))
    for document in documents:
        try:
            found = parse_dashboards(document.text)
        except DashboardError as problem:
            work.unmapped.append(
                Unmapped(
                    evidence=document.id,
                    what=f"file {document.id}",
                    reason="parse_error",
                    detail=str(problem),
                )
            )
            continue
        for each in found:
            work.pages.append(
                dashboard_page(each, path=document.id, field=partial(_placed, work), connections=connections)
            )


def _placed(work: _Work, model: str, explored: str, name: str) -> tuple[str, str, str] | None:
    """Give the definition and entity of a dashboard's field."""
    world = work.worlds.get(model) or (next(iter(work.worlds.values())) if len(work.worlds) == 1 else None)
    view, _, short = name.rpartition(".")
    if world is None or not view:
        return None
    part = world.model.explores.get(explored)
    aliases = alias_views(part, world.model.views) if part is not None else {}
    owner = aliases.get(view, view)
    definition = world.names.get(owner)
    one = work.merged.get(definition or "")
    if definition is None or one is None:
        return None
    try:
        fields = world.fields(owner)
        if short in fields.measures:
            is_landed = any(each.name == short for each in one.definition.measures)
            return (definition, short, "") if is_landed else None
        group = split_frame(short, set(fields.groups)) if short not in fields.dimensions else None
        return definition, fields.dimension(group[0] if group else short).entity, group[1] if group else ""
    except Unsayable:
        return None


def _unique_pages(pages: Sequence[PageFact]) -> tuple[PageFact, ...]:
    return tuple(_by_key(pages))


def _by_key(pages: Sequence[PageFact]) -> Iterator[PageFact]:
    seen: dict[str, int] = {}
    for page in sorted(pages, key=lambda one: (one.key, one.evidence)):
        count = seen[page.key] = seen.get(page.key, 0) + 1
        yield page if count == 1 else replace(page, key=f"{page.key}-{count}")
