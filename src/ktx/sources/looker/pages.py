"""A wiki page for each model and each folder, and the work that is left for a model."""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from ktx.sources.definition import PageFact
from ktx.sources.evidence import Document, Snapshot
from ktx.sources.looker.documents import DashboardData, LookData, explore_id, folder_path
from ktx.sources.looker.explores import Layout
from ktx.sources.looker.wire import ExploreInfo, QueryInfo
from ktx.sources.prose import one_line, packed, slug
from ktx.sources.source import UnitPlan

_PER_PAGE: Final = 25
_PLAIN: Final = re.compile(r"\w+\.\w+")
_Notes = Callable[[tuple[str, ...]], str]


@dataclass(frozen=True, kw_only=True)
class Fields:
    """Where the fields of explores went."""

    layout: Layout

    def written(self, query: QueryInfo, name: str) -> str:
        """Write a field: as a reference where it landed."""
        entity = self.entity(query, name)
        return f"`{{{{{entity}}}}}`" if entity is not None else f"`{one_line(name, 120)}`"

    def entity(self, query: QueryInfo, name: str) -> str | None:
        """Give the measure or column that a field of a query is."""
        found = self.layout.entities.get((query.model or "", query.view or "", name))
        return found if found is not None and _PLAIN.fullmatch(found) else None


def model_pages(snapshot: Snapshot, fields: Fields) -> Iterator[PageFact]:
    """Give a page for each model: which explores there are, and what each is for."""
    models: dict[str, list[ExploreInfo]] = {}
    for document in snapshot.documents:
        if isinstance(document.data, ExploreInfo) and not document.data.hidden:
            models.setdefault(document.data.model_name, []).append(document.data)
    keys: set[str] = set()
    for model in sorted(models):
        key = _free(f"looker-{slug(model, otherwise='model', mark='-')}", keys)
        lines = [f"# Looker model {one_line(model)}", ""]
        names: set[str] = set()
        for explore in sorted(models[model], key=lambda one: one.name):
            lines += _explore(explore, fields)
            base = fields.layout.bases.get((model, explore.name))
            if base is not None:
                names.add(base)
        listed = ", ".join(one_line(one.label or one.name, 40) for one in models[model][:5])
        yield PageFact(
            key=key,
            summary=one_line(f"Explores of the Looker model {model}: {listed}", 200),
            body="\n".join(lines).rstrip() + "\n",
            evidence=tuple(sorted(explore_id(model, one.name) for one in models[model])),
            definitions=tuple(sorted(names)),
            connections=_connections(fields, ((model, one.name) for one in models[model])),
        )


def _explore(explore: ExploreInfo, fields: Fields) -> Iterator[str]:
    yield f"## {one_line(explore.label or explore.name, 120)} (`{one_line(explore.name, 120)}`)"
    yield ""
    if explore.description:
        yield one_line(explore.description, 1500)
        yield ""
    base = fields.layout.bases.get((explore.model_name, explore.name))
    yield f"Starts from `{{{{{base}}}}}`" if base else f"Starts from `{one_line(explore.view_name, 120)}`"
    if explore.joins:
        yield "and joins " + ", ".join(f"`{one_line(join.name, 120)}`" for join in explore.joins)
    for one in explore.always_filter:
        yield f"- always asks for a filter on `{one_line(one.name, 120)}` ({one_line(one.value, 200)})"
    for one in explore.conditionally_filter:
        yield f"- filters `{one_line(one.name, 120)}` by {one_line(one.value, 200)} unless something else is chosen"
    yield ""


def folder_pages(snapshot: Snapshot, fields: Fields) -> Iterator[PageFact]:
    """Give the pages of the folders: their dashboards with tiles and filters, and their Looks."""
    keys: set[str] = set()
    for path, documents in _by_folder(snapshot):
        stem = "-".join(slug(name, otherwise="folder", mark="-") for name in path) or "no-folder"
        key = _free(f"looker-folder-{stem}"[:100].strip("-"), keys)
        runs = [documents[at : at + _PER_PAGE] for at in range(0, len(documents), _PER_PAGE)]
        names = [key if at == 0 else _free(f"{key}-{at + 1}", keys) for at in range(len(runs))]
        for name, run in zip(names, runs, strict=True):
            yield _folder_page(name, path, run, fields, tuple(one for one in names if one != name))


def _folder_page(
    key: str, path: tuple[str, ...], documents: Sequence[Document], fields: Fields, refs: tuple[str, ...]
) -> PageFact:
    lines = [f"# {folder_path(path)}", ""]
    names: set[str] = set()
    asked: set[tuple[str, str]] = set()
    for document in documents:
        data = document.data
        about = data.info.description if isinstance(data, DashboardData | LookData) else None
        lines += [f"## {document.title} ({document.kind})", ""]
        lines += [one_line(about, 1000), ""] if about else []
        for title, query in _queries(document):
            asked.add((query.model or "", query.view or ""))
            names |= {entity for name in query.fields if (entity := fields.entity(query, name)) is not None}
            lines += _tile(title, query, fields)
        if isinstance(data, DashboardData):
            for one in data.info.dashboard_filters:
                lines.append(
                    f"- filter: {one_line(one.title or one.name, 120)} on `{one_line(one.dimension, 120)}`"
                )
        lines.append("")
    if refs:
        lines.append("More: " + ", ".join(f"[[{ref}]]" for ref in refs))
    titles = ", ".join(one_line(document.title, 50) for document in documents[:4])
    return PageFact(
        key=key,
        summary=one_line(f"Looker dashboards and Looks in {folder_path(path)}: {titles}", 200),
        body="\n".join(lines).rstrip() + "\n",
        evidence=tuple(sorted(document.id for document in documents)),
        refs=refs,
        definitions=tuple(sorted({one.partition(".")[0] for one in names} | names)),
        connections=_connections(fields, asked),
    )


def _tile(title: str, query: QueryInfo, fields: Fields) -> Iterator[str]:
    shown = ", ".join(fields.written(query, name) for name in query.fields)
    yield f"- {one_line(title, 120) or 'tile'}: {shown or 'no fields'} in explore `{one_line(query.view, 120)}`"
    for name, value in sorted((query.filters or {}).items()):
        if str(value):
            yield f"  - where {fields.written(query, name)} is {one_line(str(value), 200)}"


def _queries(document: Document) -> Iterator[tuple[str, QueryInfo]]:
    data = document.data
    if isinstance(data, LookData) and data.info.query is not None:
        yield data.info.title or "", data.info.query
    if isinstance(data, DashboardData):
        for element in data.info.dashboard_elements:
            if element.asks is not None and not element.deleted:
                title = element.title or element.title_text or (element.look.title if element.look else None)
                yield title or "", element.asks


def _by_folder(snapshot: Snapshot) -> list[tuple[tuple[str, ...], list[Document]]]:
    groups: dict[tuple[str, ...], list[Document]] = {}
    for document in snapshot.documents:
        if isinstance(document.data, DashboardData | LookData):
            groups.setdefault(document.data.path, []).append(document)
    return [(path, groups[path]) for path in sorted(groups)]


def unit_plans(snapshot: Snapshot, fields: Fields) -> Iterator[UnitPlan]:
    """Give the work that is left: per model the explores with parts that found no place, per folder what people look at."""
    missing: dict[str, list[str]] = {}
    for one in fields.layout.unmapped:
        missing.setdefault(one.evidence, []).append(f"{one.what} ({one.reason})")
    models: dict[str, list[Document]] = {}
    for document in snapshot.documents:
        info = document.data
        if not isinstance(info, ExploreInfo) or (info.model_name, info.name) not in fields.layout.places:
            continue
        if document.id in missing:
            models.setdefault(info.model_name, []).append(document)
    for model in sorted(models):
        yield from _runs(
            f"looker-model-{slug(model, otherwise='model', mark='-')}",
            f"Looker model {one_line(model, 80)}",
            models[model],
            fields,
            notes=lambda run: _missing_notes(missing, run),
            is_noisy=False,
        )
    keys: set[str] = set()
    for path, documents in _by_folder(snapshot):
        stem = "-".join(slug(name, otherwise="folder", mark="-") for name in path) or "no-folder"
        yield from _runs(
            _free(f"looker-folder-{stem}"[:100].strip("-"), keys),
            f"Looker: {folder_path(path)}",
            documents,
            fields,
            notes=lambda _run: "Measures and dimensions of explores were imported already.",
            is_noisy=True,
        )


def _missing_notes(missing: Mapping[str, Sequence[str]], run: Sequence[str]) -> str:
    parts = [one_line(what, 160) for id_ in run for what in missing[id_][:40]]
    return f"No place was found for: {'; '.join(parts)}."


def _runs(
    key: str, label: str, documents: Sequence[Document], fields: Fields, *, notes: _Notes, is_noisy: bool
) -> Iterator[UnitPlan]:
    by_id = {document.id: document for document in documents}
    runs = list(packed((document.id, len(document.text)) for document in documents))
    for at, run in enumerate(runs):
        asked = {
            (query.model or "", query.view or "") for id_ in run for _, query in _queries(by_id[id_])
        } | {
            (one.data.model_name, one.data.name)
            for id_ in run
            if isinstance((one := by_id[id_]).data, ExploreInfo)
        }
        known = {explore_id(*pair) for pair in asked if pair in fields.layout.places}
        yield UnitPlan(
            key=key if at == 0 else f"{key}-{at + 1}",
            label=label if len(runs) == 1 else f"{label} ({at + 1} of {len(runs)})",
            documents=run,
            context=tuple(sorted(known - set(run))),
            notes=notes(run),
            connection_ids=_connections(fields, asked),
            is_noisy=is_noisy,
        )


def _connections(fields: Fields, asked: Iterable[tuple[str, str]]) -> tuple[str, ...]:
    places = fields.layout.places
    return tuple(sorted({places[pair].connection_id for pair in asked if pair in places}))


def _free(key: str, taken: set[str]) -> str:
    found, count = key, 2
    while found in taken:
        found, count = f"{key}-x{count}", count + 1
    taken.add(found)
    return found
