"""Reading a Looker over API 4.0: models and explores, folders, dashboards, Looks, and how much they are used."""

import contextlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final, TypeVar
from urllib.parse import quote

from pydantic import BaseModel, ValidationError

from ktx.errors import ConfigError, SourceError
from ktx.events import Emit, StageAdvanced, StageFinished, StageStarted
from ktx.sources.api import Api, Refused, Unauthorized
from ktx.sources.evidence import Document, Snapshot, Unread
from ktx.sources.looker.documents import (
    DashboardData,
    LookData,
    dashboard_document,
    explore_document,
    explore_id,
    look_document,
)
from ktx.sources.looker.wire import DashboardInfo, ExploreInfo, FolderInfo, Listed, LookInfo, ModelInfo
from ktx.sources.loose import Versions, as_list, as_mapping
from ktx.sources.prose import one_line
from ktx.sources.source import Shelf

_ROOT: Final = "/api/4.0"
_PAGE: Final = 100
_MAX_PAGES: Final = 2000
_STAGE: Final = "looker"
_OWN_MODEL: Final = "system__activity"
_USED: Final = (
    "content_usage.content_type",
    "content_usage.content_id",
    "content_usage.schedule_total",
    "content_usage.api_total",
)
_LISTED: Final = "id,updated_at,deleted,view_count,favorite_count,last_viewed_at"
_Wire = TypeVar("_Wire", bound=BaseModel)


@dataclass(kw_only=True)
class Session:
    """Calls with a token, which a new log-in replaces once when it has run out. Log out at the end."""

    api: Api
    client_id: str
    client_secret: str = field(repr=False)
    _token: str | None = field(default=None, repr=False)

    def call(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, str | int | bool] | None = None,
        payload: object = None,
    ) -> object:
        """Send one request and give the parsed answer.

        Raises:
            ConfigError: the credentials were refused.
            SourceError: it failed.
        """
        is_fresh = self._token is None
        if is_fresh:
            self._log_in()
        try:
            return self._send(method, path, query, payload)
        except Unauthorized:
            if is_fresh:
                raise
        self._log_in()
        return self._send(method, path, query, payload)

    def log_out(self) -> None:
        """Give the token back; that it fails hurts nobody, as it runs out by itself."""
        if self._token is None:
            return
        with contextlib.suppress(SourceError, ConfigError):
            self.api.call("DELETE", f"{_ROOT}/logout", headers=self._headers(), tries=1)
        self._token = None

    def _log_in(self) -> None:
        form = {"client_id": self.client_id, "client_secret": self.client_secret}
        try:
            answer = self.api.post(f"{_ROOT}/login", form=form)
        except Refused as error:
            if error.status in (400, 403, 404, 422):
                raise ConfigError(
                    f"Looker refuses the log-in ({error.status}).",
                    hint="check `base_url`, `client_id` and `client_secret` of the connection",
                ) from error
            raise
        token = as_mapping(answer).get("access_token")
        if not isinstance(token, str) or not token or not token.isascii() or not token.isprintable():
            raise SourceError("Looker's answer to the log-in holds no token.")
        self._token = token

    def _headers(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self._token}"}

    def _send(
        self, method: str, path: str, query: Mapping[str, str | int | bool] | None, payload: object
    ) -> object:
        return self.api.call(method, f"{_ROOT}{path}", query=query, payload=payload, headers=self._headers())


@dataclass(kw_only=True)
class Reader:
    """One reading. What fails on the way is noted and makes the snapshot incomplete."""

    session: Session
    url: str
    shelf: Shelf
    emit: Emit
    _unread: dict[str, str] = field(default_factory=dict[str, str])
    _notes: set[str] = field(default_factory=set[str])
    _folders: dict[str, FolderInfo] = field(default_factory=dict[str, FolderInfo])
    _used: dict[tuple[str, str], dict[str, int]] = field(
        default_factory=dict[tuple[str, str], dict[str, int]]
    )

    def read(self) -> Snapshot:
        """Read everything that the credentials see.

        Raises:
            SourceError: the models cannot be listed.
            ConfigError: the credentials were refused.
        """
        self.emit(StageStarted(stage=_STAGE))
        documents = list(self._explores())
        self._read_folders()
        self._read_usage()
        documents += self._dashboards()
        documents += self._looks()
        self.emit(StageFinished(stage=_STAGE, summary=f"{len(documents)} documents"))
        return Snapshot(
            documents=tuple(sorted({one.id: one for one in documents}.values(), key=lambda one: one.id)),
            is_complete=not self._unread,
            unread=tuple(Unread(id=id_, reason=self._unread[id_]) for id_ in sorted(self._unread)),
            notes=tuple(sorted(self._notes)),
        )

    def _missed(self, id_: str, error: SourceError | str) -> None:
        self._unread[one_line(id_, 400)] = one_line(error if isinstance(error, str) else error.message, 500)

    def _parse(self, kind: type[_Wire], data: object, id_: str) -> _Wire | None:
        try:
            return kind.model_validate(data)
        except (ValidationError, RecursionError):
            self._missed(id_, "Looker sent it in a form that cannot be read.")
            return None

    def _paged(self, id_: str, path: str, query: Mapping[str, str | int | bool]) -> Iterator[object]:
        """Give the rows of a listing, page after page, until one holds nothing new."""
        seen: set[str] = set()
        for page in range(_MAX_PAGES):
            try:
                answer = self.session.call(
                    "GET", path, query={**query, "limit": _PAGE, "offset": page * _PAGE}
                )
            except SourceError as error:
                self._missed(id_, error)
                return
            rows = as_list(answer)
            new = [row for row in rows if _key(row) not in seen]
            yield from new
            seen |= {_key(row) for row in new}
            if not new or len(rows) < _PAGE:
                return
        self._missed(id_, "The listing does not end.")

    def _explores(self) -> Iterator[Document]:
        query: dict[str, str | int | bool] = {"fields": "name,label,explores"}
        rows = list(self._paged("lookml_models", "/lookml_models", query))
        if "lookml_models" in self._unread:
            raise SourceError(f"Looker's models cannot be listed: {self._unread['lookml_models']}")
        models = [
            model
            for row in rows
            if (model := self._parse(ModelInfo, row, f"model/{as_mapping(row).get('name')}")) is not None
            and model.name != _OWN_MODEL
        ]
        total = sum(len(model.explores) for model in models)
        done = 0
        for model in sorted(models, key=lambda one: one.name):
            for explore in sorted(model.explores, key=lambda one: one.name):
                done += 1
                self.emit(
                    StageAdvanced(stage=_STAGE, done=done, total=total, label=one_line(explore.name, 60))
                )
                id_ = explore_id(model.name, explore.name)
                path = f"/lookml_models/{quote(model.name, safe='')}/explores/{quote(explore.name, safe='')}"
                data = self._one(id_, path)
                info = (
                    self._parse(ExploreInfo, {"model_name": model.name, **data}, id_)
                    if data is not None
                    else None
                )
                if info is None:
                    continue
                if (info.model_name, info.name) != (model.name, explore.name):
                    self._missed(id_, "Looker sent another explore.")
                    continue
                yield explore_document(info, self.url)

    def _one(self, id_: str, path: str) -> Mapping[str, object] | None:
        try:
            return as_mapping(self.session.call("GET", path))
        except SourceError as error:
            self._missed(id_, error)
            return None

    def _read_folders(self) -> None:
        query: dict[str, str | int | bool] = {
            "fields": "id,name,parent_id,is_personal,is_personal_descendant"
        }
        for row in self._paged("folders", "/folders/search", query):
            folder = self._parse(FolderInfo, row, f"folder/{as_mapping(row).get('id')}")
            if folder is not None:
                self._folders[folder.id] = folder

    def _path(self, id_: str | None) -> tuple[str, ...]:
        names: list[str] = []
        seen: set[str] = set()
        while id_ is not None and id_ in self._folders and id_ not in seen:
            seen.add(id_)
            names.append(self._folders[id_].name)
            id_ = self._folders[id_].parent_id
        return tuple(reversed(names))

    def _is_personal(self, id_: str | None) -> bool:
        folder = self._folders.get(id_ or "")
        return folder is not None and (folder.is_personal or folder.is_personal_descendant)

    def _read_usage(self) -> None:
        """Ask Looker's own model what is scheduled and used; most credentials may not, and nothing depends on it."""
        payload = {"model": _OWN_MODEL, "view": "content_usage", "fields": list(_USED), "limit": "5000"}
        try:
            answer = self.session.call("POST", "/queries/run/json", payload=payload)
        except SourceError as error:
            self._notes.add(
                f"How much content is used is not known (`{_OWN_MODEL}`): {one_line(error.message, 200)}"
            )
            return
        for row in (as_mapping(one) for one in as_list(answer)):
            counts = {name.rpartition(".")[2]: row.get(name) for name in _USED[2:]}
            key = (str(row.get(_USED[0])).lower(), str(row.get(_USED[1])))
            self._used[key] = {name: count for name, count in counts.items() if isinstance(count, int)}

    def _signals(self, kind: str, one: Listed) -> dict[str, str | int | float | bool]:
        seen = {
            "views": one.view_count,
            "favorites": one.favorite_count,
            "last_viewed_at": one.last_viewed_at,
            "updated_at": one.updated_at,
            **self._used.get((kind, one.id), {}),
        }
        return {name: value for name, value in seen.items() if value is not None}

    def _listed(self, kind: str, path: str) -> list[Listed]:
        rows = self._paged(kind, path, {"fields": _LISTED, "deleted": False})
        found = [self._parse(Listed, row, f"{kind}/{as_mapping(row).get('id')}") for row in rows]
        return sorted((one for one in found if one is not None and not one.deleted), key=lambda one: one.id)

    def _dashboards(self) -> Iterator[Document]:
        listed = self._listed("dashboards", "/dashboards/search")
        known = {one.id for one in listed}
        of_projects = [
            row
            for row in self._whole("lookml_dashboards", "/dashboards")
            if "::" in row.id and row.id not in known and not row.id.startswith(f"{_OWN_MODEL}::")
        ]
        personal = 0
        for one in (*listed, *of_projects):
            info = self._versioned(DashboardInfo, "dashboard", one, f"/dashboards/{quote(one.id, safe='')}")
            if info is None or info.deleted:
                continue
            if self._is_personal(info.place):
                personal += 1
                continue
            data = DashboardData(info=info, path=self._path(info.place))
            yield dashboard_document(data, self._signals("dashboard", one), self.url)
        if personal:
            self._notes.add(f"{personal} dashboards lie in personal folders and were left out.")

    def _whole(self, id_: str, path: str) -> list[Listed]:
        """Give the rows of a listing that has no pages."""
        try:
            rows = as_list(self.session.call("GET", path, query={"fields": "id"}))
        except SourceError as error:
            self._missed(id_, error)
            return []
        found = [self._parse(Listed, row, f"{id_}/{as_mapping(row).get('id')}") for row in rows]
        return sorted((one for one in found if one is not None), key=lambda one: one.id)

    def _looks(self) -> Iterator[Document]:
        personal = 0
        for one in self._listed("looks", "/looks/search"):
            info = self._versioned(LookInfo, "look", one, f"/looks/{quote(one.id, safe='')}")
            if info is None or info.deleted:
                continue
            if self._is_personal(info.place):
                personal += 1
                continue
            yield look_document(
                LookData(info=info, path=self._path(info.place)), self._signals("look", one), self.url
            )
        if personal:
            self._notes.add(f"{personal} Looks lie in personal folders and were left out.")

    def _versioned(self, kind: type[_Wire], word: str, one: Listed, path: str) -> _Wire | None:
        """Give a dashboard or Look, from the shelf where it has not been changed since."""
        id_ = f"{word}/{one.id}"
        versions = Versions(shelf=self.shelf)
        kept = versions.get(id_, one.updated_at)
        if kept is not None:
            return self._parse(kind, kept, id_)
        body = self._one(id_, path)
        found = self._parse(kind, body, id_) if body is not None else None
        if found is not None:
            versions.put(id_, one.updated_at, found.model_dump(mode="json"))
        return found


def _key(row: object) -> str:
    mapping = as_mapping(row)
    return str(mapping.get("id") or mapping.get("name"))
