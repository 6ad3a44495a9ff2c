"""A Metabase on loopback, as its API documentation describes it: key checked, listings paged, queries turned into SQL."""

import contextlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from loopback import Asked, Loopback, Reply, serve_json

KEY = "mb_test_key_of_the_loopback_server"


@dataclass(kw_only=True)
class Content:
    """All that the server holds, as its JSON. `sql` gives the SQL of a query built in the editor, by the query's JSON."""

    databases: list[dict[str, Any]] = field(default_factory=list)
    collections: list[dict[str, Any]] = field(default_factory=list)
    cards: list[dict[str, Any]] = field(default_factory=list)
    dashboards: list[dict[str, Any]] = field(default_factory=list)
    segments: list[dict[str, Any]] = field(default_factory=list)
    old_metrics: list[dict[str, Any]] | None = None
    snippets: list[dict[str, Any]] = field(default_factory=list)
    sql: dict[str, str] = field(default_factory=dict)
    is_listing_slim: bool = False
    """Whether `/api/card` leaves the queries out, so that each card must be asked for."""


def query_key(query: Mapping[str, Any]) -> str:
    kept = {key: value for key, value in query.items() if key not in ("pretty", "parameters")}
    return json.dumps(kept, sort_keys=True)


@contextlib.contextmanager
def serve_metabase(content: Content) -> Iterator[Loopback]:
    def answer(asked: Asked) -> Reply:
        if asked.headers.get("x-api-key") != KEY:
            return Reply(status=401, payload="Unauthenticated")
        parts = asked.path.removeprefix("/api/").strip("/").split("/")
        return _route(content, asked, parts)

    with serve_json(answer) as running:
        yield running


def _route(content: Content, asked: Asked, parts: list[str]) -> Reply:  # noqa: C901 - one case for each endpoint
    match parts:
        case ["database"]:
            slim = [{k: v for k, v in one.items() if k != "tables"} for one in content.databases]
            return Reply(payload={"data": slim, "total": len(slim)})
        case ["database", id_, "metadata"]:
            return _one(content.databases, id_)
        case ["collection"]:
            root = {"id": "root", "name": "Our analytics", "metabase.models.collection.root/is-root?": True}
            return Reply(payload=[root, *content.collections])
        case ["collection", id_, "items"]:
            return _items(content, asked, id_)
        case ["card"]:
            listed = [one for one in content.cards if not one.get("archived")]
            if content.is_listing_slim:
                listed = [{k: v for k, v in one.items() if k != "dataset_query"} for one in listed]
            return Reply(payload=listed)
        case ["card", id_]:
            return _one(content.cards, id_)
        case ["dashboard", id_]:
            return _one(content.dashboards, id_)
        case ["segment"]:
            return Reply(payload=content.segments)
        case ["metric"]:
            if content.old_metrics is None:
                return Reply(status=404, payload="API endpoint does not exist.")
            return Reply(payload=content.old_metrics)
        case ["native-query-snippet"]:
            return Reply(payload=content.snippets)
        case ["dataset", "native"] if asked.method == "POST":
            sql = content.sql.get(query_key(asked.json))
            if sql is None:
                return Reply(status=500, payload={"message": "Error compiling query", "via": []})
            return Reply(payload={"query": sql, "params": None})
        case _:
            return Reply(status=404, payload="API endpoint does not exist.")


def _one(rows: list[dict[str, Any]], id_: str) -> Reply:
    found = next((one for one in rows if str(one["id"]) == id_), None)
    return Reply(status=404, payload="Not found.") if found is None else Reply(payload=found)


def _items(content: Content, asked: Asked, id_: str) -> Reply:
    """List a collection's dashboards; the server never gives more than three at once."""
    inside = [
        {
            "id": one["id"],
            "name": one["name"],
            "model": "dashboard",
            "last-edit-info": {"id": 1, "email": "ana@example.com", "timestamp": one["updated_at"]},
        }
        for one in content.dashboards
        if str(one["collection_id"] or "root") == id_ and not one.get("archived")
    ]
    offset, limit = asked.number("offset", 0), min(asked.number("limit", 50), 3)
    page = inside[offset : offset + limit]
    return Reply(
        payload={
            "data": page,
            "total": len(inside),
            "limit": limit,
            "offset": offset,
            "models": ["dashboard"],
        }
    )
