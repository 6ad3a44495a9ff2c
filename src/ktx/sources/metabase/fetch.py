"""Reading a Metabase: databases, collections, cards with their SQL, dashboards, segments, older metrics."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Final, TypeVar

from pydantic import BaseModel, ValidationError
from sqlglot import exp

from ktx.errors import SourceError
from ktx.events import Emit, StageAdvanced, StageFinished, StageStarted
from ktx.files import digest
from ktx.sources.api import Api, Refused
from ktx.sources.evidence import Document, Snapshot, Unread
from ktx.sources.loose import Versions, as_list, as_mapping
from ktx.sources.metabase.cardsql import CardSql
from ktx.sources.metabase.documents import (
    CardData,
    CollectionData,
    DashboardData,
    DatabaseData,
    TableData,
    card_document,
    collection_document,
    dashboard_document,
    database_document,
    segment_document,
    table_document,
)
from ktx.sources.metabase.native import Filled
from ktx.sources.metabase.scope import Folders, Scope, has_card, holds
from ktx.sources.metabase.wire import (
    CardInfo,
    CollectionInfo,
    DashboardInfo,
    DatabaseInfo,
    OldMetricInfo,
    SegmentInfo,
    SnippetInfo,
    TableInfo,
)
from ktx.sources.prose import one_line
from ktx.sources.source import Shelf

_PAGE: Final = 200
_MAX_PAGES: Final = 500
_Wire = TypeVar("_Wire", bound=BaseModel)
_STAGE: Final = "metabase"


@dataclass(frozen=True, kw_only=True)
class Choice:
    """What is to be read: databases by id with their connections, and the scope of content."""

    mappings: Mapping[str, str | None]
    enabled: Mapping[str, bool]
    scope: Scope

    def connection(self, database_id: int) -> str | None:
        """Give the connection of a database that is read."""
        return self.mappings.get(str(database_id)) if self.is_enabled(database_id) else None

    def is_enabled(self, database_id: int) -> bool:
        """Tell whether a database is not switched off."""
        return self.enabled.get(str(database_id), True)


@dataclass(kw_only=True)
class Reader:
    """One reading. What fails on the way is noted and makes the snapshot incomplete; only a refused log-in ends it."""

    api: Api
    url: str
    shelf: Shelf
    choice: Choice
    emit: Emit
    _unread: dict[str, str] = field(default_factory=dict[str, str])
    _notes: set[str] = field(default_factory=set[str])
    _cards: dict[int, CardInfo | None] = field(default_factory=dict[int, "CardInfo | None"])

    @cached_property
    def _sql(self) -> CardSql:
        return CardSql(api=self.api, shelf=self.shelf, card=self._card)

    @property
    def _versions(self) -> Versions:
        return Versions(shelf=self.shelf)

    def read(self) -> Snapshot:
        """Read everything in scope.

        Raises:
            SourceError: the databases cannot be listed.
            ConfigError: the key was refused.
        """
        self.emit(StageStarted(stage=_STAGE))
        databases = self._databases()
        documents = [document for one in databases for document in self._tables(one)]
        folders = self._folders()
        listed = self._listed_cards()
        chosen = self._chosen(folders, listed)
        self._read_snippets()
        documents += self._card_documents(chosen, folders)
        self._note_unconverted(chosen)
        documents += self._dashboards(folders, chosen)
        documents += self._old_style(documents)
        documents += [
            database_document(self._counted(one, listed, folders))
            for one in databases
            if self.choice.is_enabled(one.id)
        ]
        used = {data.info.collection_id for data in _data(documents, CardData)}
        used |= {data.info.collection_id for data in _data(documents, DashboardData)}
        documents += [
            collection_document(CollectionData(info=folders.by_id[id_], path=folders.path(id_)))
            for id_ in used
            if id_ is not None and id_ in folders.by_id
        ]
        self.emit(StageFinished(stage=_STAGE, summary=f"{len(documents)} documents"))
        return Snapshot(
            documents=tuple(sorted({one.id: one for one in documents}.values(), key=lambda one: one.id)),
            is_complete=not self._unread,
            unread=tuple(Unread(id=id_, reason=self._unread[id_]) for id_ in sorted(self._unread)),
            notes=tuple(sorted(self._notes)),
        )

    def _missed(self, id_: str, error: SourceError | str) -> None:
        self._unread[id_] = one_line(error if isinstance(error, str) else error.message, 500)

    def _items(
        self, id_: str, path: str, query: Mapping[str, str | int | bool] | None = None
    ) -> list[object]:
        """Give a listing, or nothing and a note that it could not be read."""
        try:
            return _rows(self.api.get(path, query=query))
        except SourceError as error:
            self._missed(id_, error)
            return []

    def _parse(self, kind: type[_Wire], data: object, id_: str) -> _Wire | None:
        try:
            return kind.model_validate(data)
        except (ValidationError, RecursionError):
            self._missed(id_, "Metabase sent it in a form that cannot be read.")
            return None

    def _parsed(self, kind: type[_Wire], rows: Sequence[object], id_: str) -> Iterator[_Wire]:
        for row in rows:
            number = as_mapping(row).get("id")
            if isinstance(number, int | None) or (isinstance(number, str) and number.isdigit()):
                parsed = self._parse(kind, row, f"{id_}/{number}")
                if parsed is not None:
                    yield parsed
            elif number != "root":
                self._missed(id_, "Metabase sent an id that is none.")

    def _databases(self) -> list[DatabaseInfo]:
        try:
            rows = _rows(self.api.get("/api/database"))
        except Refused as error:
            raise SourceError(
                f"{error.message} Nothing can be read without the list of databases.",
                hint="give the group of the API key access to the data",
            ) from error
        found = sorted(self._parsed(DatabaseInfo, rows, "database"), key=lambda one: one.id)
        known = {str(one.id) for one in found}
        for wanted in sorted(set(self.choice.mappings) - known):
            self._notes.add(f"Metabase has no database {one_line(wanted, 40)}, which the mappings name.")
        for one in found:
            if not self.choice.is_enabled(one.id):
                self._notes.add(f"Database {one.id} ({one_line(one.name, 80)}) is switched off.")
        return found

    def _tables(self, database: DatabaseInfo) -> Iterator[Document]:
        if self.choice.connection(database.id) is None:
            return
        id_ = f"database/{database.id}"
        try:
            data = self.api.get(f"/api/database/{database.id}/metadata")
        except SourceError as error:
            self._missed(id_, error)
            return
        rows = as_mapping(data).get("tables")
        tables = [one for one in self._parsed(TableInfo, _rows(rows), "table") if one.active is not False]
        names: list[str] = []
        for table in sorted(tables, key=lambda one: one.id):
            for one in table.fields:
                column = exp.column(one.name, table=table.name).sql(identify=False)
                self._sql.fields[one.id] = column
                names.append(f"{one.id}={table.schema_}.{column}")
            yield table_document(TableData(info=table, database_id=database.id))
        self._sql.metadata[database.id] = digest("\n".join(names))

    def _folders(self) -> Folders:
        rows = self._items("collection", "/api/collection")
        folders = Folders(by_id={one.id: one for one in self._parsed(CollectionInfo, rows, "collection")})
        for wanted in sorted(self.choice.scope.collections - {"root"}):
            if not wanted.isdigit() or int(wanted) not in folders.by_id:
                self._missed(
                    f"collection/{one_line(wanted, 40)}",
                    "The configuration names it, and the key does not see it.",
                )
        return folders

    def _listed_cards(self) -> dict[int, CardInfo]:
        rows = self._items("card", "/api/card", {"f": "all"})
        found = {one.id: one for one in self._parsed(CardInfo, rows, "card")}
        self._cards.update(found)
        return found

    def _counted(
        self, database: DatabaseInfo, listed: Mapping[int, CardInfo], folders: Folders
    ) -> DatabaseData:
        connection = self.choice.connection(database.id)
        left_out = 0
        if connection is None:
            left_out = sum(
                card.database_id == database.id and has_card(self.choice.scope, folders, card)
                for card in listed.values()
            )
        return DatabaseData(info=database, connection_id=connection, left_out=left_out)

    def _chosen(self, folders: Folders, listed: Mapping[int, CardInfo]) -> list[int]:
        """Give the cards in scope and, where only some are, all that they are made of."""
        scope = self.choice.scope
        wanted = {
            id_ for id_, card in listed.items() if has_card(scope, folders, card) and self._is_mapped(card)
        }
        own = sum(not folders.is_content(card.collection_id) for card in listed.values())
        if own and scope.mode != "ONLY":
            self._notes.add(f"{own} cards lie in personal collections or the trash and were left out.")
        for id_ in sorted(scope.items - set(listed) if scope.mode == "ONLY" else ()):
            card = self._card(id_)
            if card is None:
                self._notes.add(f"The configuration names card {id_}, which is not there.")
            elif not card.archived and self._is_mapped(card):
                wanted.add(id_)
        queue = sorted(wanted)
        while scope.mode == "ONLY" and queue:
            for id_ in self._sql.references(queue.pop()):
                card = self._card(id_)
                if id_ not in wanted and card is not None and not card.archived and self._is_mapped(card):
                    wanted.add(id_)
                    queue.append(id_)
        return sorted(wanted)

    def _is_mapped(self, card: CardInfo) -> bool:
        return card.database_id is not None and self.choice.connection(card.database_id) is not None

    def _card(self, id_: int) -> CardInfo | None:
        """Give a whole card, from the listing where that has its query, else by itself; None when it is not there."""
        known = self._cards.get(id_)
        if id_ in self._cards and (known is None or known.dataset_query):
            return known
        kept = self._versions.get(f"card/{id_}", known.updated_at if known is not None else None)
        body: object = kept
        if kept is None:
            try:
                body = self.api.get(f"/api/card/{id_}")
            except Refused as error:
                if error.status != 404:
                    self._missed(f"card/{id_}", error)
                body = None
            except SourceError as error:
                self._missed(f"card/{id_}", error)
                body = None
        card = self._parse(CardInfo, body, f"card/{id_}") if body is not None else None
        if card is not None and card.id != id_:
            self._missed(f"card/{id_}", "Metabase sent another card.")
            card = None
        if kept is None and card is not None:
            self._versions.put(f"card/{id_}", card.updated_at, card.model_dump(mode="json"))
        self._cards[id_] = card
        return card

    def _note_unconverted(self, chosen: Sequence[int]) -> None:
        """Keep a model that Metabase failed to turn into SQL from looking deleted; a question only loses its SQL."""
        kinds = {id_: card.kind for id_ in chosen if (card := self._cards.get(id_)) is not None}
        rows = {one for id_, kind in kinds.items() if kind == "metric" for one in self._sql.references(id_)}
        needed = {id_ for id_, kind in kinds.items() if kind == "model"} | (
            rows - {id_ for id_ in rows if kinds.get(id_) == "metric"}
        )
        for id_ in sorted(needed):
            for failed in sorted({id_, *self._sql.made_of(id_)} & set(self._sql.unconverted)):
                self._missed(f"card/{id_}", self._sql.unconverted[failed])
        if self._sql.unconverted:
            self._notes.add(f"Metabase did not turn {len(self._sql.unconverted)} queries into SQL.")

    def _read_snippets(self) -> None:
        if not any(
            "snippet" in (stage.native or "").lower()
            for id_ in self._cards
            if (query := self._sql.query(id_)) is not None
            for stage in query.stages
        ):
            return
        rows = self._items("snippet", "/api/native-query-snippet")
        for one in self._parsed(SnippetInfo, rows, "snippet"):
            if not one.archived:
                self._sql.snippets[one.name] = one.content

    def _card_documents(self, chosen: list[int], folders: Folders) -> Iterator[Document]:
        for done, id_ in enumerate(chosen, 1):
            card = self._card(id_)
            if card is None:
                continue
            sql = self._sql.sql_of(id_)
            data = CardData(
                info=card,
                path=folders.path(card.collection_id),
                sql=sql if isinstance(sql, Filled) else None,
                problem=sql if isinstance(sql, str) else None,
            )
            self.emit(
                StageAdvanced(stage=_STAGE, done=done, total=len(chosen), label=one_line(card.name, 60))
            )
            yield card_document(data, self.url)

    def _dashboards(self, folders: Folders, chosen: Sequence[int]) -> Iterator[Document]:
        titles = {id_: one_line(card.name) for id_ in chosen if (card := self._cards.get(id_)) is not None}
        places: list[int | None] = [None, *sorted(folders.by_id)]
        for place in places:
            is_root = (
                place is None
                and self.choice.scope.mode == "ONLY"
                and "root" not in self.choice.scope.collections
            )
            if is_root or not holds(self.choice.scope, folders, place):
                continue
            for row in self._pages(
                f"/api/collection/{place or 'root'}/items", f"collection/{place or 'root'}"
            ):
                dashboard = self._dashboard(row)
                if dashboard is None or dashboard.archived:
                    continue
                shown = {
                    one
                    for card in dashboard.dashcards
                    for one in (card.card_id, *(series.id for series in card.series))
                    if one is not None and one in titles
                }
                data = DashboardData(info=dashboard, path=folders.path(place), cards=tuple(sorted(shown)))
                if shown or dashboard.description:
                    yield dashboard_document(data, titles, self.url)

    def _dashboard(self, row: Mapping[str, object]) -> DashboardInfo | None:
        id_ = row.get("id")
        if not isinstance(id_, int):
            return None
        at = as_mapping(row.get("last-edit-info")).get("timestamp")
        version = at if isinstance(at, str) else None
        body = self._versions.get(f"dashboard/{id_}", version)
        if body is not None:
            return self._parse(DashboardInfo, body, f"dashboard/{id_}")
        try:
            body = self.api.get(f"/api/dashboard/{id_}")
        except SourceError as error:
            self._missed(f"dashboard/{id_}", error)
            return None
        found = self._parse(DashboardInfo, body, f"dashboard/{id_}")
        if found is not None:
            self._versions.put(f"dashboard/{id_}", version, found.model_dump(mode="json"))
        return found

    def _pages(self, path: str, id_: str) -> Iterator[Mapping[str, object]]:
        """Give the dashboards that a collection holds, page after page."""
        offset = 0
        for _ in range(_MAX_PAGES):
            try:
                answer = self.api.get(path, query={"models": "dashboard", "limit": _PAGE, "offset": offset})
            except SourceError as error:
                self._missed(id_, error)
                return
            rows = _rows(answer)
            yield from (as_mapping(row) for row in rows)
            total = as_mapping(answer).get("total")
            offset += len(rows)
            if not rows or not isinstance(total, int) or offset >= total:
                return
        self._missed(id_, f"It holds more than {_MAX_PAGES * _PAGE} dashboards.")

    def _old_style(self, documents: Sequence[Document]) -> Iterator[Document]:
        tables = {data.info.id for data in _data(documents, TableData)}
        found: list[SegmentInfo | OldMetricInfo] = [
            *self._parsed(SegmentInfo, self._optional("segment", "/api/segment"), "segment"),
            *self._parsed(OldMetricInfo, self._old_metrics(), "metric"),
        ]
        yield from (segment_document(one) for one in found if not one.archived and one.table_id in tables)

    def _old_metrics(self) -> list[object]:
        """Give metrics of the kind that ended with Metabase 50; what newer ones answer there is something else."""
        rows = self._optional("metric", "/api/metric") or self._optional("metric", "/api/legacy-metric")
        return [row for row in rows if "definition" in as_mapping(row)]

    def _optional(self, id_: str, path: str) -> list[object]:
        try:
            answer = self.api.get(path)
        except Refused as error:
            if error.status not in (404, 403, 400):
                self._missed(id_, error)
            elif error.status == 403:
                self._notes.add(f"The key may not list what is at {path}.")
            return []
        except SourceError as error:
            self._missed(id_, error)
            return []
        return _rows(answer)


_Data = TypeVar("_Data")


def _data(documents: Sequence[Document], kind: type[_Data]) -> Iterator[_Data]:
    for document in documents:
        if isinstance(document.data, kind):
            yield document.data


def _rows(answer: object) -> list[object]:
    """Give the rows of a listing, which is a list, or holds one under `data`."""
    return as_list(answer) or as_list(as_mapping(answer).get("data"))
