"""A wiki page for each collection, and the work that is left for a model: what questions ask, of which tables, with which SQL."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import sqlglot
from sqlglot import exp
from sqlglot.errors import SqlglotError

from ktx.sources.definition import PageFact
from ktx.sources.evidence import Document, Snapshot
from ktx.sources.metabase.documents import CardData, CollectionData, DashboardData
from ktx.sources.metabase.drafts import Draft, World
from ktx.sources.metabase.measures import Landed
from ktx.sources.metabase.models import Cards
from ktx.sources.placing import Unsayable
from ktx.sources.prose import clean, fenced, one_line, packed, slug
from ktx.sources.source import UnitPlan

_PER_PAGE: Final = 30
_SHOWN: Final = 12
_STATES: Final = {
    "filled": "has a default",
    "left out": "optional, left out here",
    "any value": "a filter, open here",
    "needed": "must be given",
}


@dataclass(frozen=True, kw_only=True)
class Entry:
    """A card on a page, with the definitions that it is about."""

    data: CardData
    tables: tuple[Draft, ...]
    is_aggregated: bool
    landed: Landed | None
    model: Draft | None

    @property
    def id(self) -> str:
        """The id of its document."""
        return f"card/{self.data.info.id}"


def entry_of(data: CardData, cards: Cards, world: World, landed: Landed | None) -> Entry:
    """Say which tables a card is about, and whether it aggregates."""
    model: Draft | None = None
    if data.info.kind == "model":
        try:
            model = cards.rows_of(data.info.id)
        except Unsayable:
            model = None
    tables: dict[str, Draft] = {}
    is_aggregated = False
    try:
        query = cards.query(data.info.id)
    except Unsayable:
        return Entry(data=data, tables=(), is_aggregated=False, landed=landed, model=model)
    for stage in query.stages:
        is_aggregated = is_aggregated or bool(stage.aggregations)
        ids = {stage.table, *(join.table for join in stage.joins)} - {None}
        tables |= {draft.name: draft for id_ in ids if (draft := world.drafts.get(id_ or 0)) is not None}
        if stage.card is not None:
            try:
                draft = cards.rows_of(stage.card)
                tables[draft.name] = draft
            except Unsayable:
                pass
    if data.sql is not None:
        found, aggregates = _read_sql(data, world)
        tables |= found
        is_aggregated = is_aggregated or aggregates
    return Entry(
        data=data,
        tables=tuple(tables[name] for name in sorted(tables)),
        is_aggregated=is_aggregated,
        landed=landed,
        model=model,
    )


def _read_sql(data: CardData, world: World) -> tuple[dict[str, Draft], bool]:
    target = world.targets.get(data.info.database_id or 0)
    if data.sql is None or target is None:
        return {}, False
    try:
        tree = sqlglot.parse_one(data.sql.sql, dialect=target.dialect)
    except (SqlglotError, RecursionError):
        return {}, False
    own = {cte.alias.casefold() for cte in tree.find_all(exp.CTE)}
    found: dict[str, Draft] = {}
    for table in tree.find_all(exp.Table):
        if table.name.casefold() in own and not table.db:
            continue
        draft = world.draft_of(data.info.database_id, table.db or None, table.name)
        if draft is not None:
            found[draft.name] = draft
    return found, tree.find(exp.AggFunc, exp.Group) is not None


def collection_pages(
    snapshot: Snapshot, entries: Mapping[str, Entry], tags: tuple[str, ...]
) -> Iterator[PageFact]:
    """Give the pages of the collections that hold a question, metric, model or dashboard, by collection."""
    keys: set[str] = set()
    titles = {entry.data.info.id: one_line(entry.data.info.name, 80) for entry in entries.values()}
    for path, collection, documents in _by_collection(snapshot):
        cards = sorted(
            (entries[one.id] for one in documents if one.id in entries),
            key=lambda one: (
                ("metric", "model").index(one.data.info.kind) if one.data.info.kind != "question" else 2,
                one.data.info.id,
            ),
        )
        dashboards = [one for one in documents if isinstance(one.data, DashboardData)]
        if not cards and not dashboards:
            continue
        key = slug(" ".join(("metabase", *path)), otherwise="metabase", mark="-") if path else "metabase"
        if key in keys:
            key = f"{key}-{collection.info.id if collection else 'root'}"
        keys.add(key)
        runs = [cards[at : at + _PER_PAGE] for at in range(0, len(cards), _PER_PAGE)] or [[]]
        names = [key if at == 0 else f"{key}-{at + 1}" for at in range(len(runs))]
        for at, run in enumerate(runs):
            yield _page(
                names[at],
                path,
                collection,
                run,
                dashboards if at == 0 else [],
                titles=titles,
                tags=tags,
                refs=tuple(name for name in names if name != names[at]),
            )


def _page(
    key: str,
    path: tuple[str, ...],
    collection: CollectionData | None,
    cards: Sequence[Entry],
    dashboards: Sequence[Document],
    *,
    titles: Mapping[int, str],
    tags: tuple[str, ...],
    refs: tuple[str, ...],
) -> PageFact:
    title = " / ".join(one_line(name, 100) for name in path) or "Our analytics"
    lines = [f"# {title}", ""]
    if collection is not None and collection.info.description:
        lines += [clean(one_line(collection.info.description, 2000)), ""]
    if dashboards:
        lines += ["## Dashboards", "", *(line for one in dashboards for line in _dashboard(one, titles)), ""]
    if cards:
        lines += ["## Questions", ""]
    for entry in cards:
        lines += _entry(entry)
    if refs:
        lines.append("More: " + ", ".join(f"[[{ref}]]" for ref in refs))
    names = sorted({name for entry in cards for name in _names(entry)})
    listed = ", ".join(one_line(entry.data.info.name, 60) for entry in cards[:4])
    summary = one_line(
        f"Questions of the Metabase collection {title}" + (f": {listed}" if listed else ""), 200
    )
    evidence = [entry.id for entry in cards] + [one.id for one in dashboards]
    if collection is not None:
        evidence.append(f"collection/{collection.info.id}")
    return PageFact(
        key=key,
        summary=summary,
        body="\n".join(lines).rstrip() + "\n",
        evidence=tuple(sorted(evidence)),
        tags=tags,
        refs=refs,
        definitions=tuple(names),
        connections=tuple(sorted({draft.target.connection_id for entry in cards for draft in entry.tables})),
    )


def _names(entry: Entry) -> Iterator[str]:
    yield from (draft.name for draft in entry.tables)
    if entry.model is not None:
        yield entry.model.name
    if entry.landed is not None:
        yield f"{entry.landed.draft.name}.{entry.landed.measure}"


def _dashboard(document: Document, titles: Mapping[int, str]) -> Iterator[str]:
    data = document.data
    if not isinstance(data, DashboardData):
        return
    about = f": {one_line(data.info.description, 400)}" if data.info.description else ""
    yield f"- {document.title}{about}"
    shown = [titles[id_] for id_ in data.cards if id_ in titles]
    if shown:
        more = f" and {len(shown) - _SHOWN} more" if len(shown) > _SHOWN else ""
        yield f"  - shows: {'; '.join(shown[:_SHOWN])}{more}"
    filters = ", ".join(sorted(one_line(one.name, 60) for one in data.info.parameters if one.name))
    if filters:
        yield f"  - filters: {filters}"


def _entry(entry: Entry) -> Iterator[str]:
    info = entry.data.info
    kind = "" if info.kind == "question" else f" ({info.kind})"
    yield f"### {one_line(info.name, 120)}{kind}"
    yield ""
    if info.description:
        yield one_line(info.description, 1000)
        yield ""
    if entry.landed is not None:
        yield f"Measure: `{{{{{entry.landed.draft.name}.{entry.landed.measure}}}}}`"
        yield ""
    if entry.model is not None:
        yield f"Source: `{{{{{entry.model.name}}}}}`"
        yield ""
    if entry.tables:
        yield "Tables: " + ", ".join(f"`{{{{{draft.name}}}}}`" for draft in entry.tables)
        yield ""
    if entry.data.sql is None:
        yield f"Its SQL is not known: {one_line(entry.data.problem)}."
        yield ""
    elif entry.is_aggregated:
        for variable in entry.data.sql.variables:
            yield f"- variable {one_line(variable.name, 60)} ({variable.kind}): {_STATES[variable.state]}"
        yield fenced(entry.data.sql.sql)
        yield ""


def _by_collection(
    snapshot: Snapshot,
) -> list[tuple[tuple[str, ...], CollectionData | None, list[Document]]]:
    collections = {
        one.data.info.id: one.data for one in snapshot.documents if isinstance(one.data, CollectionData)
    }
    groups: dict[int, list[Document]] = {}
    paths: dict[int, tuple[str, ...]] = {}
    for document in snapshot.documents:
        data = document.data
        if isinstance(data, CardData | DashboardData):
            id_ = data.info.collection_id or 0
            groups.setdefault(id_, []).append(document)
            paths[id_] = data.path
    return [
        (paths[id_], collections.get(id_), groups[id_])
        for id_ in sorted(groups, key=lambda id_: (paths[id_], id_))
    ]


def unit_plans(snapshot: Snapshot, entries: Mapping[str, Entry]) -> Iterator[UnitPlan]:
    """Give the work of each collection, in runs that a model can read at once."""
    for path, collection, documents in _by_collection(snapshot):
        id_ = collection.info.id if collection is not None else "root"
        label = " / ".join(one_line(name, 100) for name in path) or "Our analytics"
        runs = list(packed((document.id, len(document.text)) for document in documents))
        for at, run in enumerate(runs):
            found = [entries[one] for one in run if one in entries]
            tables = {draft.name: draft for entry in found for draft in entry.tables}
            context = {draft.origin for draft in tables.values()} - set(run)
            imported = sorted(
                f"{entry.data.info.name} → {entry.landed.draft.name}.{entry.landed.measure}"
                for entry in found
                if entry.landed is not None
            )
            notes = f"Collection: {label}."
            if imported:
                notes += " Already imported as measures, not to be written again: "
                notes += "; ".join(one_line(one, 160) for one in imported) + "."
            yield UnitPlan(
                key=f"metabase-col-{id_}" + (f"-{at + 1}" if at else ""),
                label=f"Metabase: {label}" + (f" ({at + 1} of {len(runs)})" if len(runs) > 1 else ""),
                documents=run,
                context=tuple(sorted(context)),
                notes=notes,
                connection_ids=tuple(sorted({draft.target.connection_id for draft in tables.values()})),
                is_noisy=all(entry.data.info.kind == "question" for entry in found),
            )
