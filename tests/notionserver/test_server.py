import json
from typing import Any

import httpx2

from notionserver.content import Page, Workspace, p, uid
from notionserver.server import Fault, NotionServer, serve

HOME = uid("Home")


def space() -> Workspace:
    made = Workspace()
    made.add(Page(title="Home", blocks=[p(f"Line {number}") for number in range(120)]))
    return made


def ask(server: NotionServer, path: str, *, version: str = "2025-09-03", token: str | None = None) -> Any:
    headers = {"Authorization": f"Bearer {token or server.token}", "Notion-Version": version}
    answer = httpx2.get(f"{server.url}{path}", headers=headers)
    return answer.status_code, json.loads(answer.content)


def test_errors_have_the_documented_status_and_code() -> None:
    with serve(space()) as server:
        cases = [
            (ask(server, f"/v1/pages/{HOME}", token="wrong"), 401, "unauthorized"),
            (ask(server, f"/v1/pages/{HOME}", version="1999-01-01"), 400, "missing_version"),
            (ask(server, f"/v1/pages/{uid('nowhere')}"), 404, "object_not_found"),
            (ask(server, f"/v1/blocks/{HOME}/children?page_size=101"), 400, "validation_error"),
            (ask(server, f"/v1/blocks/{HOME}/children?start_cursor=x"), 400, "validation_error"),
            (ask(server, f"/v1/data_sources/{HOME}", version="2022-06-28"), 400, "invalid_request_url"),
        ]
        for (status, body), wanted, code in cases:
            assert (status, body["object"], body["code"]) == (wanted, "error", code)


def test_listings_come_in_pages_with_cursors() -> None:
    with serve(space()) as server:
        _, first = ask(server, f"/v1/blocks/{HOME}/children?page_size=100")
        assert (len(first["results"]), first["has_more"]) == (100, True)
        _, second = ask(server, f"/v1/blocks/{HOME}/children?start_cursor={first['next_cursor']}")
        assert (len(second["results"]), second["has_more"], second["next_cursor"]) == (20, False, None)


def test_the_newest_version_knows_no_archived() -> None:
    with serve(space()) as server:
        assert "archived" in ask(server, f"/v1/pages/{HOME}")[1]
        newest = ask(server, f"/v1/pages/{HOME}", version="2026-03-11")[1]
        assert "archived" not in newest
        assert newest["in_trash"] is False


def test_a_fault_happens_as_often_as_it_says() -> None:
    with serve(space(), faults=[Fault(where="pages", kind="429", times=2, retry_after="3")]) as server:
        assert [ask(server, f"/v1/pages/{HOME}")[0] for _ in range(3)] == [429, 429, 200]
        assert server.count("pages") == 3
