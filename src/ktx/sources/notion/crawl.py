"""The walk through a workspace: from its roots, or from all that the integration sees, to every page and database below."""

from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Final, Literal

from ktx.errors import OutsideError
from ktx.events import Emit, StageAdvanced
from ktx.sources.api import Refused
from ktx.sources.evidence import Unread
from ktx.sources.markdown import shortened
from ktx.sources.notion.client import Listing, NotionClient
from ktx.sources.notion.pages import Content, PageShelf, PartialError, fetch_content
from ktx.sources.notion.properties import clocked_properties, page_title, property_table, schema_table
from ktx.sources.notion.richtext import paragraph, plain, safe_url
from ktx.sources.notion.values import Values, is_trashed, items, mapping, plain_id, plain_words, text

STAGE: Final = "notion"
_FAILURES_IN_A_ROW: Final = 3
_MAX_LOOKED_FOR: Final = 200
_BUSY: Final = frozenset({408, 425, 429})
_GONE: Final = frozenset({400, 403, 404})

Kind = Literal["page", "database", "data_source"]

_MISTAKEN_FOR: Final[Mapping[Kind, Kind]] = {"page": "database", "database": "data_source"}
"""What else a root may be when there is nothing of the stated kind: addresses of the two look alike."""


@dataclass(frozen=True, kw_only=True)
class Found:
    """A page, or the head of a database, as read. `parent` is the id of another one, or empty."""

    id: str
    kind: Literal["page", "database"]
    title: str
    url: str
    edited: str
    parent: str
    properties: str
    content: Content
    is_row: bool = False


@dataclass(frozen=True, kw_only=True)
class Crawled:
    """What a walk found, sorted by id, and what it did not. `fetched` counts the pages that were not on the shelf."""

    found: tuple[Found, ...]
    unread: tuple[Unread, ...]
    notes: tuple[str, ...]
    is_complete: bool
    fetched: int


@dataclass(frozen=True, kw_only=True)
class _Task:
    """Something to read; `value` is its head where a listing gave that already."""

    kind: Kind
    id: str
    parent: str = ""
    value: Values | None = None
    is_root: bool = False
    was_put_off: bool = False


@dataclass(kw_only=True)
class Crawl:
    """One walk. `max_pages` bounds the pages whose blocks are fetched; what is on the shelf costs nothing of it.

    Pages that no run has read go first, so that a bounded walk gets further each time.
    """

    client: NotionClient
    shelf: PageShelf
    max_pages: int
    emit: Emit
    _queue: deque[_Task] = field(default_factory=deque[_Task])
    _changed: deque[_Task] = field(default_factory=deque[_Task])
    _seen: set[str] = field(default_factory=set[str])
    _read: set[str] = field(default_factory=set[str])
    _found: dict[str, Found] = field(default_factory=dict[str, Found])
    _parents: dict[str, str] = field(default_factory=dict[str, str])
    _clocked: dict[str, frozenset[str]] = field(default_factory=dict[str, frozenset[str]])
    _unread: dict[str, str] = field(default_factory=dict[str, str])
    _notes: list[str] = field(default_factory=list[str])
    _known: frozenset[str] = frozenset()
    _passed_over: int = 0
    _left_over: int = 0
    _fetched: int = 0
    _failures: int = 0
    _first_failure: OutsideError | None = None
    _is_broken_off: bool = False

    def from_roots(self, roots: Sequence[tuple[Kind, str]]) -> Crawled:
        """Read the roots and all that is below them.

        Raises:
            SourceError: nothing could be read.
        """
        self._known = frozenset(self.shelf.known())
        for kind, id_ in roots:
            self._add(_Task(kind=kind, id=id_, is_root=True))
        self._run()
        return self._result()

    def from_everything(self) -> Crawled:
        """Read all that Notion lists as shared with the integration.

        Notion does not promise that this listing is whole. What the last run found and it lacks is asked for by id, so that a
        result can be complete from the second run on only.

        Raises:
            SourceError: nothing could be read.
        """
        self._known = frozenset(self.shelf.known())
        listing = self.client.everything()
        self._note_gap("search", listing)
        for wanted in ("data_source", "database", "page"):
            for value in listing.results:
                if value.get("object") == wanted:
                    self._add_listed(value)
        self._run()
        self._look_for_missing()
        self._run()
        if not self._known:
            self._notes.append("Nothing counts as removed after a first run over all that is accessible.")
        return self._result(is_first=not self._known)

    def _result(self, *, is_first: bool = False) -> Crawled:
        if not self._found and self._first_failure is not None:
            raise self._first_failure
        if self._left_over:
            why = "" if self._is_broken_off else f" (`max_pages_per_run` is {self.max_pages:,})"
            self._notes.append(f"{self._left_over:,} pages or more are left for the next run{why}.")
        if self._passed_over:
            self._notes.append(
                f"{self._passed_over:,} views of other databases, or databases that are not shared, were passed over."
            )
        complete = not (self._unread or self._left_over or self._is_broken_off or is_first)
        self.shelf.remember(self._read if complete else self._read | self._known)
        return Crawled(
            found=tuple(
                replace(self._found[id_], parent=self._parents.get(id_, self._found[id_].parent))
                for id_ in sorted(self._found)
            ),
            unread=tuple(Unread(id=id_, reason=self._unread[id_]) for id_ in sorted(self._unread)),
            notes=tuple(self._notes),
            is_complete=complete,
            fetched=self._fetched,
        )

    def _run(self) -> None:
        while self._queue or self._changed:
            task = self._queue.popleft() if self._queue else self._changed.popleft()
            if self._is_broken_off:
                self._left_over += 1
                continue
            try:
                match task.kind:
                    case "page":
                        self._page(task)
                    case "database":
                        self._database(task)
                    case "data_source":
                        self._data_source(task)
                self._failures = 0
            except Refused as error:
                self._refused(task, error)
            except PartialError as error:
                self._missed(task, error, error.message)
            except OutsideError as error:
                self._failed(task, error)

    def _page(self, task: _Task) -> None:
        if task.value is None and self._fetched >= self.max_pages and not self.shelf.has(task.id):
            self._left_over += 1
            return
        value = task.value if task.value is not None else self.client.page(task.id)
        if is_trashed(value):
            return
        edited = text(value.get("last_edited_time"))
        content = self.shelf.get(task.id, edited)
        if content is None and self.shelf.has(task.id) and not task.was_put_off:
            self._changed.append(replace(task, value=value, was_put_off=True))
            return
        if content is None and self._fetched >= self.max_pages:
            self._left_over += 1
            return
        if content is None:
            content = fetch_content(self.client, task.id)
            self._fetched += 1
            self.shelf.put(task.id, edited, content)
        parent = task.parent or parent_of(value)
        self._keep(
            Found(
                id=task.id,
                kind="page",
                title=page_title(value),
                url=safe_url(value.get("url")),
                edited=edited,
                parent=parent,
                properties=property_table(value, hidden=self._clocked.get(parent, frozenset())),
                content=content,
                is_row=text(mapping(value.get("parent")).get("type")) in ("data_source_id", "database_id"),
            )
        )
        for kind, id_ in content.children:
            self._parents[id_] = task.id
            self._add(_Task(kind="page" if kind == "child_page" else "database", id=id_, parent=task.id))

    def _database(self, task: _Task) -> None:
        value = self.client.database(task.id)
        if is_trashed(value):
            return
        self._read.add(f"database/{task.id}")
        parent = task.parent or parent_of(value)
        if "data_sources" not in value:  # a server from before there were any
            self._keep_head(task.id, value, parent)
            self._add_rows(task.id, self.client.rows_of_database(task.id))
            return
        for source in items(value.get("data_sources")):
            self._add(_Task(kind="data_source", id=plain_id(source.get("id")), parent=parent), first=True)

    def _data_source(self, task: _Task) -> None:
        value = self.client.data_source(task.id)
        if is_trashed(value):
            return
        listing = self.client.rows(task.id)
        self._keep_head(task.id, value, task.parent or parent_of(value))
        self._add_rows(task.id, listing)

    def _keep_head(self, id_: str, value: Values, parent: str) -> None:
        self._clocked[id_] = clocked_properties(value)
        about = paragraph(value.get("description"))
        self._keep(
            Found(
                id=id_,
                kind="database",
                title=shortened(plain(value.get("title")) or plain_words(value.get("name")), 200)
                or "Untitled",
                url=safe_url(value.get("url")),
                edited=text(value.get("last_edited_time")),
                parent=parent,
                properties=schema_table(value),
                content=Content(body=f"{about}\n" if about else "", children=()),
            )
        )

    def _add_rows(self, id_: str, listing: Listing) -> None:
        self._note_gap(f"database/{id_}", listing)
        for row in listing.results:
            self._parents.setdefault(plain_id(row.get("id")), id_)
            self._add_listed(row, parent=id_)

    def _keep(self, found: Found) -> None:
        self._found[found.id] = found
        self._read.add(f"{found.kind}/{found.id}")
        if found.content.gap:
            self._unread[f"page/{found.id}"] = f"`{found.title}`: {found.content.gap}"
        self.emit(StageAdvanced(stage=STAGE, done=len(self._found), label=found.title))

    def _add(self, task: _Task, *, first: bool = False) -> None:
        if task.id and task.id not in self._seen:
            self._seen.add(task.id)
            if first:
                self._queue.appendleft(task)
            else:
                self._queue.append(task)

    def _add_listed(self, value: Values, *, parent: str = "") -> None:
        id_ = plain_id(value.get("id"))
        match value.get("object"):
            case "page":
                # Without the right to read content, only ids are given: then the page itself says more, or refuses.
                head = value if "properties" in value else None
                self._add(_Task(kind="page", id=id_, parent=parent, value=head))
            case "data_source":
                self._add(_Task(kind="data_source", id=id_, parent=parent or parent_of(value)))
            case "database":
                self._add(_Task(kind="database", id=id_, parent=parent or parent_of(value)))
            case _:
                pass

    def _look_for_missing(self) -> None:
        """Ask by id for the pages and databases of the last run that are not listed any more."""
        missing = sorted(
            name
            for name in self._known
            if name.partition("/")[2] not in self._seen and not name.startswith("database/")
        )
        if len(missing) > _MAX_LOOKED_FOR:
            self._unread["search"] = f"{len(missing):,} pages of the last run are not listed any more"
            return
        for name in missing:
            id_ = name.partition("/")[2]
            try:
                self._add_listed(self.client.page(id_))
            except Refused as error:
                if error.status not in _GONE:
                    self._unread[name] = error.message
            except OutsideError as error:
                self._unread[name] = error.message

    def _refused(self, task: _Task, error: Refused) -> None:
        if error.status >= 500 or error.status in _BUSY:
            self._failed(task, error)
            return
        self._failures = 0
        other = _MISTAKEN_FOR.get(task.kind)
        if task.is_root and other is not None and error.status in (400, 404):
            self._queue.append(replace(task, kind=other))
            return
        is_view = task.kind == "database" and not task.is_root and f"database/{task.id}" not in self._known
        if is_view and error.status in (400, 404):
            self._passed_over += 1
            return
        why = (
            "it is gone, or not shared with the integration" if error.status in (403, 404) else error.message
        )
        self._missed(task, error, why)

    def _failed(self, task: _Task, error: OutsideError) -> None:
        self._failures += 1
        self._missed(task, error, error.message)
        if self._failures >= _FAILURES_IN_A_ROW:
            self._is_broken_off = True
            self._notes.append(f"The reading broke off: {error.message}")

    def _missed(self, task: _Task, error: OutsideError, why: str) -> None:
        self._unread[f"{'page' if task.kind == 'page' else 'database'}/{task.id}"] = why
        if self._first_failure is None:
            self._first_failure = error

    def _note_gap(self, name: str, listing: Listing) -> None:
        if listing.gap:
            self._unread[name] = f"not all was listed: {listing.gap}"


def parent_of(value: Values) -> str:
    """Give the id of the page or data source that something hangs below; empty for a block's or the workspace's."""
    parent = mapping(value.get("parent"))
    if value.get("object") == "data_source" or (
        parent.get("type") == "database_id" and "database_parent" in value
    ):
        parent = mapping(value.get("database_parent"))
    kind = text(parent.get("type"))
    return plain_id(parent.get(kind)) if kind in ("page_id", "data_source_id", "database_id") else ""
