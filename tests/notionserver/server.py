"""The server: Notion's reading API on loopback, over a workspace that a test may change between requests."""

import json
import re
import threading
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from notionserver.content import B, Database, Json, Page, Source, Workspace, rich

VERSIONS = ("2022-06-28", "2025-09-03", "2026-03-11")
_ID = r"([0-9a-f]{32})"


@dataclass(kw_only=True)
class Fault:
    """What goes wrong, `times` times, for requests whose `METHOD path` matches `where`.

    `kind`: a status (`429`, `500`, `403`, …), `cut` (the connection breaks), `malformed` (no JSON), `list` (JSON, but no
    object), `expire` (the cursor of that request is unknown by now), `endless` (has_more with new cursors for ever), `loop`
    (the same cursor for ever).
    """

    where: str
    kind: str
    times: int = 1
    retry_after: str | None = None


@dataclass(frozen=True, kw_only=True)
class Seen:
    """A request that came."""

    method: str
    path: str
    version: str
    payload: Mapping[str, Any]
    status: int


@dataclass(kw_only=True, eq=False)
class NotionServer:
    """A running server. `row_limit` is how many rows one query gives at most."""

    workspace: Workspace
    token: str = "ntn_test_token"
    faults: list[Fault] = field(default_factory=list)
    row_limit: int = 10_000
    has_data_sources: bool = True
    requests: list[Seen] = field(default_factory=list)
    url: str = ""
    garble: Callable[[Json], Json] | None = None
    """Changes what would be answered, to see whether anybody trusts it."""

    _cursors: dict[str, tuple[str, int]] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def count(self, pattern: str) -> int:
        """How many requests matched, whatever became of them."""
        return sum(1 for seen in self.requests if re.search(pattern, f"{seen.method} {seen.path}"))

    def answer(
        self, method: str, target: str, headers: Mapping[str, str], body: bytes
    ) -> tuple[int, bytes, dict[str, str]]:
        """Give status, body and headers; a status of 0 breaks the connection."""
        parts = urlsplit(target)
        path = re.sub(
            r"/([0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12})",
            lambda match: f"/{match[1].replace('-', '')}",
            parts.path,
        )
        payload = json.loads(body) if body else dict(parse_qsl(parts.query))
        version = headers.get("notion-version", "")
        with self._lock:
            fault = self._fault(f"{method} {parts.path}")
            status, value, extra = self._faulty(fault, method, path, payload, version, headers)
            self.requests.append(
                Seen(method=method, path=parts.path, version=version, payload=payload, status=status)
            )
        if isinstance(value, bytes):
            return status, value, extra
        if self.garble is not None and status == 200:
            value = self.garble(value)
        return status, json.dumps(value).encode(), extra

    def _fault(self, request: str) -> Fault | None:
        for fault in self.faults:
            if fault.times > 0 and re.search(fault.where, request):
                fault.times -= 1
                return fault
        return None

    def _faulty(
        self,
        fault: Fault | None,
        method: str,
        path: str,
        payload: Json,
        version: str,
        headers: Mapping[str, str],
    ) -> tuple[int, Any, dict[str, str]]:
        kind = fault.kind if fault else ""
        if kind == "cut":
            return 0, b"", {}
        if kind == "malformed":
            return 200, b'{"object": "list", "results": [', {}
        if kind == "list":
            return 200, [1, 2], {}
        if kind == "expire" and payload.get("start_cursor"):
            self._cursors.pop(str(payload["start_cursor"]), None)
        if kind.isdigit():
            assert fault is not None
            extra = {"Retry-After": fault.retry_after} if fault.retry_after is not None else {}
            names = {429: "rate_limited", 404: "object_not_found", 403: "restricted_resource"}
            return (
                int(kind),
                _error(int(kind), names.get(int(kind), "internal_server_error"), "on purpose"),
                extra,
            )
        status, value = self._answered(method, path, payload, version, headers)
        if kind in ("endless", "loop") and isinstance(value, dict) and status == 200:
            cursor = str(uuid.uuid4()) if kind == "endless" else "00000000-0000-4000-8000-000000000000"
            self._cursors[cursor] = (path, 0)
            value = {**value, "has_more": True, "next_cursor": cursor}
        return status, value, {}

    def _answered(
        self, method: str, path: str, payload: Json, version: str, headers: Mapping[str, str]
    ) -> tuple[int, Any]:
        if headers.get("authorization") != f"Bearer {self.token}":
            return 401, _error(401, "unauthorized", "API token is invalid.")
        if version not in VERSIONS:
            return 400, _error(400, "missing_version", "Notion-Version header failed validation.")
        if int(payload.get("page_size", 100)) > 100:
            return 400, _error(
                400, "validation_error", "body.page_size should be less than or equal to `100`."
            )
        is_new = version != VERSIONS[0] and self.has_data_sources
        try:
            return 200, self._route(method, path, payload, version, is_new=is_new)
        except _Stop as stop:
            return stop.status, _error(stop.status, stop.code, stop.message)

    def _route(self, method: str, path: str, payload: Json, version: str, *, is_new: bool) -> Json:
        shape = _Shape(workspace=self.workspace, version=version, is_new=is_new)
        routes = (
            ("GET", rf"/v1/pages/{_ID}", lambda id_: shape.page(shape.find_page(id_))),
            ("GET", rf"/v1/databases/{_ID}", lambda id_: shape.database(shape.find_database(id_))),
            ("GET", rf"/v1/data_sources/{_ID}", lambda id_: shape.source(*shape.find_source(id_))),
            (
                "GET",
                rf"/v1/blocks/{_ID}/children",
                lambda id_: self._paged(path, shape.children(id_), payload),
            ),
            (
                "POST",
                rf"/v1/data_sources/{_ID}/query",
                lambda id_: self._query(path, shape, shape.find_source(id_)[1], payload),
            ),
            (
                "POST",
                rf"/v1/databases/{_ID}/query",
                lambda id_: self._query(path, shape, shape.find_database(id_).sources[0], payload),
            ),
            ("POST", r"/v1/search()", lambda _: self._paged(path, shape.search(payload), payload)),
        )
        for verb, pattern, handler in routes:
            found = re.fullmatch(pattern, path)
            if verb == method and found is not None:
                is_old_query = path.startswith("/v1/databases/") and verb == "POST"
                if (is_old_query and is_new) or ("data_sources" in path and not is_new):
                    break
                return handler(found[1])
        raise _Stop(400, "invalid_request_url", "Invalid request URL.")

    def _query(self, path: str, shape: "_Shape", source: Source, payload: Json) -> Json:
        rows = [shape.page(row) for row in source.rows if not row.in_trash and row.is_shared]
        answer = self._paged(path, rows[: self.row_limit], payload)
        if len(rows) > self.row_limit:
            answer["request_status"] = {
                "type": "incomplete",
                "incomplete_reason": "query_result_limit_reached",
            }
        return answer

    def _paged(self, path: str, results: Sequence[Json], payload: Json) -> Json:
        size = int(payload.get("page_size", 100))
        cursor = payload.get("start_cursor")
        at = 0
        if cursor is not None:
            owner, at = self._cursors.get(str(cursor), ("", 0))
            if owner != path:
                raise _Stop(400, "validation_error", f"The start_cursor provided is invalid: {cursor}")
        following = None
        if at + size < len(results):
            following = str(uuid.uuid4())
            self._cursors[following] = (path, at + size)
        return {
            "object": "list",
            "results": results[at : at + size],
            "next_cursor": following,
            "has_more": following is not None,
        }


class _Stop(Exception):  # noqa: N818
    def __init__(self, status: int, code: str, message: str) -> None:
        super().__init__(message)
        self.status, self.code, self.message = status, code, message


def _error(status: int, code: str, message: str) -> Json:
    return {
        "object": "error",
        "status": status,
        "code": code,
        "message": message,
        "request_id": str(uuid.uuid4()),
    }


@dataclass(frozen=True, kw_only=True)
class _Shape:
    """Objects as a version of the API shows them."""

    workspace: Workspace
    version: str
    is_new: bool

    def find_page(self, id_: str) -> Page:
        return self._shared(self.workspace.pages, id_, "page")

    def find_database(self, id_: str) -> Database:
        return self._shared(self.workspace.databases, id_, "database")

    def find_source(self, id_: str) -> tuple[Database, Source]:
        for database, source in self.workspace.sources.values():
            if source.id.replace("-", "") == id_ and database.is_shared:
                return database, source
        raise _missing("data_source", id_)

    def page(self, page: Page) -> Json:
        parent = dict(page.parent)
        if not self.is_new and parent.get("type") == "data_source_id":
            parent = {"type": "database_id", "database_id": parent["database_id"]}
        title = {"id": "title", "type": "title", "title": rich(page.title) if page.title else []}
        return {
            "object": "page",
            "id": page.id,
            "created_time": "2025-01-01T08:00:00.000Z",
            "last_edited_time": page.edited,
            **self._trash(page.in_trash),
            "parent": parent,
            "properties": {**page.properties, page.title_property: title},
            "url": f"https://www.notion.so/{page.id.replace('-', '')}",
        }

    def database(self, database: Database) -> Json:
        first = database.sources[0]
        head = {
            "object": "database",
            "id": database.id,
            "title": rich(database.title),
            "description": rich(first.description) if first.description else [],
            "parent": database.parent,
            "is_inline": False,
            "last_edited_time": first.edited,
            **self._trash(database.in_trash),
            "url": f"https://www.notion.so/{database.id.replace('-', '')}",
        }
        if not self.is_new:
            return {**head, "properties": first.schema}
        listed = [{"id": source.id, "name": source.title} for source in database.sources]
        return {**head, "data_sources": listed}

    def source(self, database: Database, source: Source) -> Json:
        return {
            "object": "data_source",
            "id": source.id,
            "title": rich(source.title),
            "description": rich(source.description) if source.description else [],
            "properties": source.schema,
            "parent": {"type": "database_id", "database_id": database.id},
            "database_parent": database.parent,
            "last_edited_time": source.edited,
            **self._trash(database.in_trash),
            "url": f"https://www.notion.so/{database.id.replace('-', '')}",
        }

    def children(self, id_: str) -> list[Json]:
        page = next((one for one in self.workspace.pages.values() if one.id.replace("-", "") == id_), None)
        if page is not None and not page.is_shared:
            raise _missing("block", id_)
        for owner, blocks in self.workspace.blocks.items():
            if owner.replace("-", "") == id_:
                return [self._block(one) for one in blocks if not one.in_trash]
        raise _missing("block", id_)

    def search(self, payload: Json) -> list[Json]:
        wanted = (payload.get("filter") or {}).get("value")
        found = [
            self.page(page)
            for page in self.workspace.pages.values()
            if page.is_shared and not page.in_trash and wanted in (None, "page")
        ]
        databases = [one for one in self.workspace.databases.values() if one.is_shared and not one.in_trash]
        if self.is_new and wanted in (None, "data_source"):
            found += [self.source(one, source) for one in databases for source in one.sources]
        if not self.is_new and wanted in (None, "database"):
            found += [self.database(one) for one in databases]
        is_falling = (payload.get("sort") or {}).get("direction") != "ascending"
        return sorted(found, key=lambda one: one["last_edited_time"], reverse=is_falling)

    def _block(self, one: B) -> Json:
        has_children = bool(one.children) or one.type in ("child_page", "child_database")
        return {
            "object": "block",
            "id": one.id,
            "type": one.type,
            one.type: one.data,
            "has_children": has_children,
            **self._trash(one.in_trash),
        }

    def _trash(self, is_in_trash: bool) -> Json:
        if self.version >= "2026-03-11":
            return {"in_trash": is_in_trash}
        return {"in_trash": is_in_trash, "archived": is_in_trash}

    def _shared(self, things: Mapping[str, Any], id_: str, kind: str) -> Any:
        for thing in things.values():
            if thing.id.replace("-", "") == id_ and thing.is_shared:
                return thing
        raise _missing(kind, id_)


def _missing(kind: str, id_: str) -> _Stop:
    return _Stop(
        404,
        "object_not_found",
        f"Could not find {kind} with ID: {id_}. Make sure the relevant pages and databases are shared with your integration.",
    )


@contextmanager
def serve(workspace: Workspace, *, faults: Sequence[Fault] = (), **options: Any) -> Iterator[NotionServer]:
    """Run a server while the block lasts."""
    server = NotionServer(workspace=workspace, faults=list(faults), **options)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True
        wbufsize = -1

        def do_GET(self) -> None:
            self._reply()

        def do_POST(self) -> None:
            self._reply()

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002
            pass

        def _reply(self) -> None:
            body = self.rfile.read(int(self.headers.get("content-length") or 0))
            headers = {name.lower(): value for name, value in self.headers.items()}
            status, answer, extra = server.answer(self.command, self.path, headers, body)
            if status == 0:  # half an answer, and the line is dead
                self.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Length: 9999\r\n\r\n{")
                self.wfile.flush()
                self.close_connection = True
                return
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(answer)))
            for name, value in extra.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(answer)

    httpd = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    httpd.daemon_threads = True
    server.url = f"http://127.0.0.1:{httpd.server_address[1]}"
    thread = threading.Thread(target=httpd.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        httpd.shutdown()
        httpd.server_close()
        thread.join()
