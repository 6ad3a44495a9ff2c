"""The SQL of cards: native SQL put together here, the editor's queries turned into SQL by Metabase itself."""

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from ktx.errors import SourceError
from ktx.files import digest
from ktx.sources.api import Api
from ktx.sources.loose import as_mapping
from ktx.sources.metabase.documents import stripped
from ktx.sources.metabase.mbql import MbqlQuery, parse_query
from ktx.sources.metabase.native import Filled, Sources, Unresolved, card_references, fill
from ktx.sources.metabase.wire import CardInfo
from ktx.sources.placing import Unsayable
from ktx.sources.prose import one_line
from ktx.sources.source import Shelf

_CONVERSION_TRIES: Final = 3
_MAX_DEPTH: Final = 50
_ITSELF: Final = "it refers to itself"
_NO_SQL: Final = "has no SQL"
_TOO_DEEP: Final = "cards refer to each other too deeply"


@dataclass(kw_only=True)
class CardSql:
    """Queries of cards and their SQL. `card` gives a card by its id, None where there is none.

    `fields` are columns as SQL by Metabase's ids, `metadata` are digests of what databases are made of. `unconverted` are the
    cards at which Metabase failed.
    """

    api: Api
    shelf: Shelf
    card: Callable[[int], CardInfo | None]
    snippets: dict[str, str] = field(default_factory=dict[str, str])
    fields: dict[int, str] = field(default_factory=dict[int, str])
    metadata: dict[int, str] = field(default_factory=dict[int, str])
    unconverted: dict[int, str] = field(default_factory=dict[int, str])
    _queries: dict[int, MbqlQuery | None] = field(default_factory=dict[int, "MbqlQuery | None"])
    _sql: dict[int, Filled | str] = field(default_factory=dict[int, "Filled | str"])

    def query(self, id_: int) -> MbqlQuery | None:
        """Give a card's query, None where it cannot be read."""
        if id_ not in self._queries:
            card = self.card(id_)
            try:
                self._queries[id_] = parse_query(card.dataset_query or {}) if card is not None else None
            except (Unsayable, RecursionError):
                self._queries[id_] = None
        return self._queries[id_]

    def references(self, id_: int) -> tuple[int, ...]:
        """Give the cards that a card refers to, sorted."""
        query = self.query(id_)
        if query is None:
            return ()
        native = [one for stage in query.stages for one in card_references(stage.native or "")]
        return tuple(sorted({*query.cards(), *native}))

    def made_of(self, id_: int) -> set[int]:
        """Give all cards that a card is made of, itself only where it refers to itself."""
        seen: set[int] = set()
        queue = [id_]
        while queue:
            for one in self.references(queue.pop()):
                if one not in seen:
                    seen.add(one)
                    queue.append(one)
        return seen

    def sql_of(self, id_: int, within: tuple[int, ...] = ()) -> Filled | str:
        """Give a card's SQL, or in words why it has none. `within` are the cards that are being put together around it."""
        if len(within) > _MAX_DEPTH:
            return _TOO_DEEP
        if id_ in within:
            way = " → ".join(f"card {one}" for one in (*within[within.index(id_) :], id_))
            return f"{_ITSELF}: {way}"
        if id_ not in self._sql:
            found = self._resolved(id_, (*within, id_))
            if isinstance(found, str) and within and (_ITSELF in found or _TOO_DEEP in found):
                return found  # it holds for this way to the card only
            self._sql[id_] = found
        return self._sql[id_]

    def _resolved(self, id_: int, within: tuple[int, ...]) -> Filled | str:
        card, query = self.card(id_), self.query(id_)
        if card is None:
            return f"card {id_} is not there"
        if query is None:
            return "its query has a form that is not known"
        native = query.native
        if native is None:
            return self._converted(card)

        def other(one: int) -> Filled:
            found = self.sql_of(one, within)
            if isinstance(found, str):
                is_cause = _ITSELF in found or _NO_SQL in found
                raise Unresolved(found if is_cause else f"card {one} {_NO_SQL}: {found}")
            return found

        sources = Sources(card=other, snippet=self.snippets.get, field=self.fields.get)
        try:
            return fill(native.native or "", native.tags, sources)
        except Unresolved as error:
            return str(error)

    def _converted(self, card: CardInfo) -> Filled | str:
        """Ask Metabase for the SQL of a query built in its editor; an answer is kept until something in it changes."""
        seen = self.made_of(card.id)
        inside = [self.card(one) for one in (card.id, *sorted(seen))]
        parts = [json.dumps(stripped(one.dataset_query if one else None), sort_keys=True) for one in inside]
        parts = [self.metadata.get(card.database_id or 0, ""), *sorted(parts)]
        key = f"sql/{digest(chr(10).join(parts))}"
        sql = self.shelf.get(key)
        if sql is None:
            payload = {**(card.dataset_query or {}), "database": card.database_id, "pretty": False}
            try:
                answer = self.api.call(
                    "POST", "/api/dataset/native", payload=payload, tries=_CONVERSION_TRIES
                )
            except SourceError as error:
                self.unconverted[card.id] = one_line(error.message, 500)
                return f"Metabase did not turn it into SQL ({one_line(error.message)})"
            answered = as_mapping(answer)
            text = answered.get("query")
            if not isinstance(text, str) or answered.get("params"):
                return "Metabase's answer holds no whole SQL"
            sql = text.strip().rstrip(";")
            self.shelf.put(key, sql)
        return Filled(sql=sql, cards=tuple(sorted(seen)))
