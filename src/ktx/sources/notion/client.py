"""Notion's HTTP API, as far as reading goes: one request at a time, at the pace that Notion asks for, listings read to their end.

Facts from developers.notion.com: versioning, request limits, pagination, the guides to versions 2025-09-03 and 2026-03-11, and
"query large data sources".
"""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

from ktx.errors import SourceError
from ktx.sources.api import Api, Refused
from ktx.sources.notion.values import Values, dashed, items, mapping

VERSION: Final = "2025-09-03"
_VERSION_BEFORE_DATA_SOURCES: Final = "2022-06-28"
_PAGE_SIZE: Final = 100
_MAX_PAGES: Final = 1_000
_INTERVAL_S: Final = 1 / 3
"""Notion allows three requests a second on average."""

_LOGIN_HINT: Final = (
    "create an internal integration at notion.so/profile/integrations, and share pages with it"
)


@dataclass(frozen=True, kw_only=True)
class Listing:
    """What a listing gave, each thing once. `gap` says why there may be more than that; empty when this is all."""

    results: tuple[Values, ...]
    gap: str = ""


class NotionClient:
    """Reads from one workspace. Use it in a `with` block of its `Api`."""

    def __init__(
        self, api: Api, *, sleep: Callable[[float], None], clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._api = api
        self._sleep = sleep
        self._clock = clock

    def page(self, id_: str) -> Values:
        """Fetch a page's properties."""
        return self._call("GET", f"/v1/pages/{dashed(id_)}")

    def database(self, id_: str) -> Values:
        """Fetch what a database is called and which data sources it has."""
        return self._call("GET", f"/v1/databases/{dashed(id_)}")

    def data_source(self, id_: str) -> Values:
        """Fetch the schema of a data source."""
        return self._call("GET", f"/v1/data_sources/{dashed(id_)}")

    def rows(self, data_source_id: str) -> Listing:
        """List the rows of a data source."""
        return self._listing("POST", f"/v1/data_sources/{dashed(data_source_id)}/query")

    def rows_of_database(self, database_id: str) -> Listing:
        """List the rows of a database as it was done before databases had data sources."""
        path = f"/v1/databases/{dashed(database_id)}/query"
        return self._listing("POST", path, version=_VERSION_BEFORE_DATA_SOURCES)

    def everything(self) -> Listing:
        """List the pages and data sources that are shared with the integration, by the time of their last change."""
        newest_last = {"timestamp": "last_edited_time", "direction": "ascending"}
        return self._listing("POST", "/v1/search", payload={"sort": newest_last})

    def blocks(self, id_: str, *, at_most: int) -> Listing:
        """List the blocks directly below a page or block."""
        return self._listing("GET", f"/v1/blocks/{dashed(id_)}/children", at_most=at_most)

    def _listing(
        self,
        method: str,
        path: str,
        *,
        payload: Mapping[str, object] | None = None,
        version: str = VERSION,
        at_most: int | None = None,
    ) -> Listing:
        """Follow the cursors of a listing.

        A cursor that Notion does not know any more begins the listing anew, once. What was read before it breaks off is given.

        Raises:
            SourceError: not even the first page came.
        """
        found: dict[str, Values] = {}
        cursor: str | None = None
        known: set[str] = set()
        may_restart = True
        gap = ""
        for _ in range(_MAX_PAGES):
            try:
                answer = self._page_of_listing(method, path, payload or {}, cursor, version)
            except SourceError as error:
                if cursor is None:
                    raise
                if may_restart and isinstance(error, Refused) and error.status == 400:
                    may_restart, cursor = False, None
                    known.clear()
                    continue
                return Listing(results=tuple(found.values()), gap=error.message)
            for result in items(answer.get("results")):
                found.setdefault(str(result.get("id")), result)
            if mapping(answer.get("request_status")).get("type") == "incomplete":
                gap = "Notion lists only the first 10,000 of them"
            if at_most is not None and len(found) > at_most:
                return Listing(results=tuple(found.values()))
            following = answer.get("next_cursor")
            if answer.get("has_more") is not True:
                return Listing(results=tuple(found.values()), gap=gap)
            if not isinstance(following, str) or following in known:
                return Listing(results=tuple(found.values()), gap="the listing leads back to itself")
            known.add(following)
            cursor = following
        return Listing(results=tuple(found.values()), gap="the listing does not end")

    def _page_of_listing(
        self, method: str, path: str, payload: Mapping[str, object], cursor: str | None, version: str
    ) -> Values:
        paging: dict[str, str | int] = {
            "page_size": _PAGE_SIZE,
            **({"start_cursor": cursor} if cursor else {}),
        }
        if method == "GET":
            return self._call("GET", path, query=paging, version=version)
        return self._call("POST", path, payload={**payload, **paging}, version=version)

    def _call(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, str | int | bool] | None = None,
        payload: object = None,
        version: str = VERSION,
    ) -> Values:
        started = self._clock()
        try:
            answer = self._api.call(
                method, path, query=query, payload=payload, headers={"Notion-Version": version}
            )
        finally:
            left = _INTERVAL_S - (self._clock() - started)
            if left > 0:
                self._sleep(left)
        if not mapping(answer):
            raise SourceError(f"Notion answered `{method} {path}` with something that is no object.")
        return mapping(answer)


def open_api(
    *, auth_token: str, base_url: str, sleep: Callable[[float], None], timeout_s: float = 60.0
) -> Api:
    """Open the API with an integration's token."""
    return Api(
        tool="Notion",
        base_url=base_url,
        headers={"Authorization": f"Bearer {auth_token}", "Notion-Version": VERSION},
        login_hint=_LOGIN_HINT,
        timeout_s=timeout_s,
        sleep=sleep,
    )
