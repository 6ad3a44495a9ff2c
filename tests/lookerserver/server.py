"""A Looker on loopback, as the API 4.0 reference describes it: log-in by form, tokens that run out, listings paged."""

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from loopback import Asked, Loopback, Reply, serve_json

CLIENT_ID, CLIENT_SECRET = "loopback_id", "loopback_secret"


@dataclass(kw_only=True)
class Content:
    """All that the server holds, as its JSON. A token is good for `uses` calls."""

    models: list[dict[str, Any]] = field(default_factory=list)
    explores: dict[tuple[str, str], dict[str, Any]] = field(default_factory=dict)
    folders: list[dict[str, Any]] = field(default_factory=list)
    dashboards: list[dict[str, Any]] = field(default_factory=list)
    looks: list[dict[str, Any]] = field(default_factory=list)
    usage: list[dict[str, Any]] | None = None
    uses: int = 10_000


@dataclass(kw_only=True)
class _Tokens:
    left: dict[str, int] = field(default_factory=dict)
    given: int = 0


@contextlib.contextmanager
def serve_looker(content: Content) -> Iterator[Loopback]:
    tokens = _Tokens()

    def answer(asked: Asked) -> Reply:
        path = asked.path.removeprefix("/api/4.0/")
        if path == "login" and asked.method == "POST":
            return _log_in(asked, content, tokens)
        token = asked.headers.get("authorization", "").removeprefix("Bearer ")
        if tokens.left.get(token, 0) <= 0:
            return Reply(
                status=401, payload={"message": "Requires authentication.", "documentation_url": "x"}
            )
        tokens.left[token] -= 1
        if path == "logout" and asked.method == "DELETE":
            tokens.left.pop(token)
            return Reply(status=204)
        return _route(content, asked, path.split("/"))

    with serve_json(answer) as running:
        yield running


def _log_in(asked: Asked, content: Content, tokens: _Tokens) -> Reply:
    if (asked.form.get("client_id"), asked.form.get("client_secret")) != (CLIENT_ID, CLIENT_SECRET):
        return Reply(status=404, payload={"message": "Not found"})
    tokens.given += 1
    token = f"token{tokens.given}"
    tokens.left[token] = content.uses
    return Reply(payload={"access_token": token, "token_type": "Bearer", "expires_in": 3600})


def _route(content: Content, asked: Asked, parts: list[str]) -> Reply:
    match parts:
        case ["lookml_models"]:
            return _page(asked, content.models)
        case ["lookml_models", model, "explores", explore]:
            found = content.explores.get((model, explore))
            return Reply(payload=found) if found is not None else _missing()
        case ["folders", "search"]:
            return _page(asked, content.folders)
        case ["dashboards", "search"]:
            return _page(
                asked, [one for one in content.dashboards if "::" not in one["id"] and not one.get("deleted")]
            )
        case ["dashboards"]:
            return Reply(payload=[{"id": one["id"]} for one in content.dashboards if not one.get("deleted")])
        case ["dashboards", id_]:
            return _one(content.dashboards, id_)
        case ["looks", "search"]:
            return _page(asked, [one for one in content.looks if not one.get("deleted")])
        case ["looks", id_]:
            return _one(content.looks, id_)
        case ["queries", "run", "json"] if asked.method == "POST":
            if content.usage is None:
                return Reply(status=403, payload={"message": "Forbidden"})
            return Reply(payload=content.usage)
        case _:
            return _missing()


def _page(asked: Asked, rows: list[dict[str, Any]]) -> Reply:
    wanted = asked.query.get("fields", [""])[0].split(",")
    offset, limit = asked.number("offset", 0), asked.number("limit", len(rows))
    return Reply(payload=[{key: one.get(key) for key in wanted} for one in rows[offset : offset + limit]])


def _one(rows: list[dict[str, Any]], id_: str) -> Reply:
    found = next((one for one in rows if one["id"] == id_), None)
    return Reply(payload=found) if found is not None else _missing()


def _missing() -> Reply:
    return Reply(status=404, payload={"message": "Not found"})
