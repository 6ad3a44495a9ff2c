"""The door of the HTTP server: which requests reach the protocol at all.

`/health` says that the server lives and nothing else. `/mcp` takes requests for a host that we answer to, from no web page or an
allowed one, with the token where there is one. A GET there would open a stream that we have nothing to send on: 405, as the
protocol allows.
"""

import hmac
import json
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from starlette.middleware.cors import CORSMiddleware
from starlette.types import ASGIApp, Receive, Scope, Send

from ktx.mcp.address import HEALTH_PATH, MCP_PATH

_log = logging.getLogger(__name__)
_HEALTHY = b'{"status":"ok"}'
_LOOPBACK_NAMES = ("localhost", "127.0.0.1", "::1")
_CLIENT_HEADERS = ("authorization", "content-type", "last-event-id", "mcp-session-id", "mcp-protocol-version")
_TELLING = frozenset({401, 403, 421})
"""Refusals that the log tells of: somebody is at the door who does not belong there, or a setting is missing."""
Passage = Callable[[Scope, Receive, Send], Awaitable[None]]


@dataclass(frozen=True, kw_only=True)
class Rules:
    """Who may come in. `hosts` are names without a port, lower case; None as `token` means that none is asked for."""

    hosts: frozenset[str]
    origins: frozenset[str] = frozenset()
    token: str | None = None


def allowed_hosts(bind_host: str, extra: tuple[str, ...] = ()) -> frozenset[str]:
    """Give the host names that requests may name: this machine's own, the one bound to, and `extra`."""
    return frozenset(name.strip("[]").casefold() for name in (*_LOOPBACK_NAMES, bind_host, *extra))


def guarded(application: Passage, rules: Rules, *, is_closing: Callable[[], bool]) -> ASGIApp:
    """Put the door before the protocol. While the server closes, new calls are sent away; those inside finish."""
    expected = None if rules.token is None else f"Bearer {rules.token}".encode()

    async def gate(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return await application(scope, receive, send)
        headers = dict[bytes, bytes](scope["headers"])
        if scope["path"] == HEALTH_PATH:
            return await _health(scope, send)
        refusal = _refusal(scope, headers, rules, expected, is_closing=is_closing)
        if refusal is None:
            return await application(scope, receive, send)
        status, reason, extra = refusal
        if status in _TELLING:
            _log.warning("refused a request with %s: %s", status, reason)
        return await _answer(send, status, json.dumps({"error": reason}).encode(), extra)

    if not rules.origins:
        return gate
    return CORSMiddleware(
        gate,
        allow_origins=sorted(rules.origins),
        allow_methods=["POST", "DELETE"],
        allow_headers=["*"],
        expose_headers=list(_CLIENT_HEADERS[-2:]),
    )


_Header = tuple[bytes, bytes]


def _refusal(
    scope: Scope,
    headers: dict[bytes, bytes],
    rules: Rules,
    expected: bytes | None,
    *,
    is_closing: Callable[[], bool],
) -> tuple[int, str, tuple[_Header, ...]] | None:
    if scope["path"].rstrip("/") != MCP_PATH:
        return 404, f"the protocol is spoken at {MCP_PATH}", ()
    if _host_of(headers.get(b"host", b"")) not in rules.hosts:
        return 421, "this server does not answer to that host name; --allowed-host names more", ()
    origin = headers.get(b"origin")
    if origin is not None and origin.decode("latin-1") not in rules.origins:
        return (
            403,
            "web pages of that origin may not call this server; --allowed-origin names those that may",
            (),
        )
    if expected is not None and not hmac.compare_digest(headers.get(b"authorization", b""), expected):
        return 401, "a token is needed: Authorization: Bearer …", ((b"www-authenticate", b"Bearer"),)
    if scope["method"] not in ("POST", "DELETE"):
        return 405, "only POST and DELETE are answered here", ((b"allow", b"POST, DELETE"),)
    if is_closing():
        return 503, "the server is being stopped", ((b"connection", b"close"), (b"retry-after", b"5"))
    return None


def _host_of(header: bytes) -> str:
    """Give the host of a Host header without its port, lower case; IPv6 addresses without brackets."""
    text = header.decode("latin-1").strip().casefold()
    if text.startswith("["):
        return text[1:].partition("]")[0]
    return text.partition(":")[0]


async def _health(scope: Scope, send: Send) -> None:
    if scope["method"] not in ("GET", "HEAD"):
        return await _answer(send, 405, b'{"error":"only GET"}', ((b"allow", b"GET, HEAD"),))
    return await _answer(send, 200, b"" if scope["method"] == "HEAD" else _HEALTHY)


async def _answer(send: Send, status: int, body: bytes, extra: tuple[_Header, ...] = ()) -> None:
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode()), *extra]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
