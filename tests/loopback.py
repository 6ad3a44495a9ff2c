"""A JSON server on loopback for tests: it keeps what was asked, and can fail on order the way real servers do."""

import contextlib
import json
import re
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Literal
from urllib.parse import parse_qs, unquote, urlsplit

Fault = Literal["429", "500", "503", "403", "404", "401", "cut", "malformed", "slow", "html"]


@dataclass(frozen=True, kw_only=True)
class Asked:
    """A request as it came in; header names in lower case."""

    method: str
    path: str
    query: Mapping[str, list[str]]
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body) if self.body else None

    @property
    def form(self) -> Mapping[str, str]:
        return {name: values[0] for name, values in parse_qs(self.body.decode()).items()}

    def number(self, name: str, default: int) -> int:
        return int(self.query[name][0]) if name in self.query else default


@dataclass(frozen=True, kw_only=True)
class Reply:
    status: int = 200
    payload: Any = None
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(kw_only=True)
class Loopback:
    """A running server: its address, what it was asked, and the faults that wait for a path."""

    url: str
    asked: list[Asked] = field(default_factory=list)
    _faults: list[tuple[re.Pattern[str], list[Fault], bool]] = field(default_factory=list)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def fail(self, pattern: str, *faults: Fault, always: bool = False) -> None:
        """Answer requests whose path matches with these faults, one each, or with the first for ever."""
        self._faults.append((re.compile(pattern), list(faults), always))

    def heal(self) -> None:
        self._faults.clear()

    def paths(self, method: str | None = None) -> list[str]:
        return [one.path for one in self.asked if method in (None, one.method)]

    def forget(self) -> None:
        self.asked.clear()

    def next_fault(self, path: str) -> Fault | None:
        with self._lock:
            for pattern, faults, always in self._faults:
                if pattern.search(path) and faults:
                    return faults[0] if always else faults.pop(0)
        return None


@contextlib.contextmanager
def serve_json(answer: Callable[[Asked], Reply]) -> Iterator[Loopback]:
    """Serve on a free port until the block ends."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True
        wbufsize = -1

        def log_message(self, *_: object) -> None:
            pass

        def _handle(self) -> None:
            parts = urlsplit(self.path)
            length = int(self.headers.get("content-length") or 0)
            asked = Asked(
                method=self.command,
                path=unquote(parts.path),
                query=parse_qs(parts.query),
                headers={name.lower(): value for name, value in self.headers.items()},
                body=self.rfile.read(length),
            )
            running.asked.append(asked)
            fault = running.next_fault(asked.path)
            if fault == "cut":
                self.send_response(200)
                self.send_header("content-length", "100000")
                self.end_headers()
                self.wfile.write(b'{"data": [')
                self.wfile.flush()
                self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                self.close_connection = True
                self.connection.close()
                return
            if fault == "slow":
                time.sleep(0.2)
            elif fault == "malformed":
                self._send(200, b'{"data": [{"id": 1,', {"content-type": "application/json"})
                return
            elif fault == "html":
                self._send(200, b"<html>sign in</html>", {"content-type": "text/html"})
                return
            elif fault == "429":
                self._send(429, b"{}", {"retry-after": "7"})
                return
            elif fault is not None:
                self._send(int(fault), b'{"message": "no"}', {})
                return
            reply = answer(asked)
            body = b"" if reply.payload is None else json.dumps(reply.payload).encode()
            self._send(reply.status, body, {"content-type": "application/json", **reply.headers})

        def _send(self, status: int, body: bytes, headers: Mapping[str, str]) -> None:
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        do_GET = do_POST = do_DELETE = _handle  # noqa: N815 - the names that http.server looks for

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    running = Loopback(url=f"http://127.0.0.1:{server.server_address[1]}")
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield running
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
