"""Metabase as a context source."""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

from ktx.events import Emit
from ktx.sources.api import Api
from ktx.sources.evidence import Snapshot
from ktx.sources.metabase.documents import CardData, DatabaseData, TableData
from ktx.sources.metabase.drafts import build_world
from ktx.sources.metabase.fetch import Choice, Reader
from ktx.sources.metabase.measures import Measures, each
from ktx.sources.metabase.models import Cards
from ktx.sources.metabase.pages import collection_pages, entry_of, unit_plans
from ktx.sources.metabase.scope import SyncMode, scope_of
from ktx.sources.metabase.wire import OldMetricInfo, SegmentInfo
from ktx.sources.placing import Unsayable
from ktx.sources.prose import one_line
from ktx.sources.source import Interpretation, Shelf, Target, targets_by_id

_Info = TypeVar("_Info")

_INSTRUCTIONS = """\
These documents are saved questions, models, metrics and dashboards of a Metabase. Their SQL is what people really run, so it \
shows which tables, joins and filters carry a business term; a title is often the only place where the term is spelled out. \
Metrics, models and single-number questions were imported already where they could be said exactly: refer to those measures \
and do not write them again. Look for definitions that several questions share, for filters that everyone applies, and for \
questions that contradict each other. A question's constants (dates, ids, names) belong to that question alone. Personal or \
one-off questions are worth nothing. In SQL `:name` stands for a value that whoever asks must give."""


@dataclass(frozen=True, kw_only=True)
class MetabaseSource:
    """A Metabase and the databases in it that are mapped to connections.

    `database_mappings` and `sync_enabled` are by Metabase's database id as text; a mapped database counts unless switched
    off. `collections` and `items` are the ids (`root` for the top) that `sync_mode` ONLY reads and EXCEPT leaves out.
    """

    api_url: str
    api_key: str = field(repr=False)
    proxy: str | None = None
    database_mappings: Mapping[str, str | None]
    sync_enabled: Mapping[str, bool] = field(default_factory=dict[str, bool])
    sync_mode: SyncMode = "ALL"
    collections: tuple[str | int, ...] = ()
    items: tuple[str | int, ...] = ()
    tag_names: tuple[str, ...] = ()
    connection_id: str
    shelf: Shelf
    sleep: Callable[[float], None] = time.sleep

    @property
    def instructions(self) -> str:
        """What a model should know about these documents."""
        return _INSTRUCTIONS

    def fetch(self, *, emit: Emit) -> Snapshot:
        """Read databases, and the cards and dashboards in scope.

        Raises:
            SourceError: the databases cannot be listed.
            ConfigError: the key was refused.
        """
        url = self.api_url.rstrip("/").removesuffix("/api")
        api = Api(
            tool="Metabase",
            base_url=url,
            headers={"x-api-key": self.api_key},
            login_hint=f"check `api_key` of the connection `{self.connection_id}`",
            proxy=self.proxy,
            sleep=self.sleep,
        )
        choice = Choice(
            mappings={str(id_): connection for id_, connection in self.database_mappings.items()},
            enabled={str(id_): is_on for id_, is_on in self.sync_enabled.items()},
            scope=scope_of(self.sync_mode, self.collections, self.items),
        )
        with api:
            return Reader(api=api, url=url, shelf=self.shelf, choice=choice, emit=emit).read()

    def interpret(self, snapshot: Snapshot, targets: Sequence[Target]) -> Interpretation:
        """Say what the snapshot defines, each table on the connection that its database is mapped to."""
        world = build_world(
            _data(snapshot, DatabaseData),
            sorted(_data(snapshot, TableData), key=lambda one: one.info.id),
            targets_by_id(targets),
        )
        by_id = {data.info.id: data for data in _data(snapshot, CardData)}
        cards = Cards(world=world, by_id=by_id)
        segments = sorted(_data(snapshot, SegmentInfo), key=lambda one: one.id)
        old = sorted(_data(snapshot, OldMetricInfo), key=lambda one: one.id)
        measures = Measures(
            world=world,
            cards=cards,
            segments={one.id: one for one in segments},
            old_metrics={one.id: one for one in old},
        )
        of_kind = {
            kind: [id_ for id_ in sorted(by_id) if by_id[id_].info.kind == kind]
            for kind in ("model", "metric", "question")
        }
        named = {id_: f"{data.info.kind} {one_line(data.info.name)}" for id_, data in by_id.items()}
        each(
            world,
            [(f"card/{id_}", named[id_], lambda id_=id_: cards.rows_of(id_)) for id_ in of_kind["model"]],
        )
        each(
            world,
            [
                (
                    f"segment/{one.id}",
                    f"segment {one_line(one.name)}",
                    lambda one=one: measures.add_segment(one),
                )
                for one in segments
            ],
        )
        each(
            world,
            [
                (
                    f"metric/{one.id}",
                    f"metric {one_line(one.name)}",
                    lambda one=one: measures.add_old_metric(one),
                )
                for one in old
            ],
        )
        each(
            world,
            [
                (f"card/{id_}", named[id_], lambda id_=id_: measures.add_metric(id_))
                for id_ in of_kind["metric"]
            ],
        )
        for id_ in of_kind["question"]:
            measures.add_question(id_)
            data = by_id[id_]
            if data.sql is None:
                reason = "unresolved_reference" if "itself" in (data.problem or "") else "parse_error"
                world.lacks(
                    f"card/{id_}", named[id_], Unsayable(reason, f"Its SQL is not known: {data.problem}.")
                )
        entries = {
            f"card/{id_}": entry_of(by_id[id_], cards, world, measures.landed.get(f"card/{id_}"))
            for id_ in sorted(by_id)
        }
        for entry in entries.values():
            for draft in entry.tables:
                draft.is_shown = True
        drafts = [
            draft for draft in (*world.all_drafts(), *cards.made) if draft.is_shown or draft.says_something()
        ]
        return Interpretation(
            definitions=tuple(
                draft.built(self.tag_names) for draft in sorted(drafts, key=lambda one: one.name)
            ),
            pages=tuple(collection_pages(snapshot, entries, self.tag_names)),
            units=tuple(unit_plans(snapshot, entries)),
            unmapped=tuple(sorted(world.unmapped, key=lambda one: (one.evidence, one.what, one.detail))),
        )


def _data(snapshot: Snapshot, kind: type[_Info]) -> list[_Info]:
    return [document.data for document in snapshot.documents if isinstance(document.data, kind)]
