"""Reading a Metabase when all is well, when parts fail, and when only some of it is wanted."""

from typing import Any

import pytest

from ktx.errors import ConfigError, SourceError
from ktx.events import ignore
from ktx.sources.metabase.source import MetabaseSource
from ktx.sources.source import MemoryShelf
from loopback import Fault, Loopback
from sampleprojects import metabase_shop as shop


def _source(server: Loopback, waits: list[float] | None = None, **more: Any) -> MetabaseSource:
    given: dict[str, Any] = {
        "api_key": shop.KEY,
        "database_mappings": shop.MAPPINGS,
        "sync_enabled": shop.ENABLED,
        "connection_id": "mb",
        "shelf": MemoryShelf(),
        **more,
    }
    return MetabaseSource(api_url=server.url, sleep=(waits if waits is not None else []).append, **given)


def _cards(snapshot: Any) -> set[int]:
    return {int(one.id.partition("/")[2]) for one in snapshot.documents if one.id.startswith("card/")}


def test_a_whole_reading_is_complete_and_says_what_it_left_out() -> None:
    with shop.serve() as server:
        snapshot = _source(server).fetch(emit=ignore)
    assert snapshot.is_complete
    assert len(_cards(snapshot)) >= 60
    assert not {313, 314, 315, 316, 317} & _cards(snapshot)
    assert any("personal collections" in note for note in snapshot.notes)
    assert any("switched off" in note for note in snapshot.notes)


def test_nothing_that_changes_by_itself_is_part_of_a_text() -> None:
    content = shop.content()
    with shop.serve(content) as server:
        before = _source(server).fetch(emit=ignore)
        for one in content.cards:
            one |= {
                "view_count": 9999,
                "dashboard_count": 7,
                "last_used_at": "2027-01-01",
                "updated_at": "2027-01-01",
            }
        for one in content.dashboards:
            one |= {"view_count": 12345, "updated_at": "2027-01-01"}
        after = _source(server).fetch(emit=ignore)
    assert [one.digest for one in before.documents] == [one.digest for one in after.documents]
    assert after.document("card/401").signals["views"] == 9999  # type: ignore[union-attr]


def test_a_second_reading_fetches_only_listings() -> None:
    with shop.serve() as server:
        source = _source(server, database_mappings={"1": "warehouse"})
        first = source.fetch(emit=ignore)
        server.forget()
        second = source.fetch(emit=ignore)
        again = [path for path in server.paths() if "/dashboard/" in path or "/api/card/" in path]
        conversions = server.paths("POST")
    assert first == second
    assert again == ["/api/card/9999"]
    assert set(conversions) <= {"/api/dataset/native"}
    assert len(conversions) == 3, "the one query that Metabase fails at is tried again"


def test_the_shelf_keeps_no_values_and_no_people() -> None:
    content = shop.content()
    content.is_listing_slim = True
    shelf = MemoryShelf()
    with shop.serve(content) as server:
        _source(server, shelf=shelf).fetch(emit=ignore)
    assert {"card/101", "dashboard/1"} <= set(shelf.kept)
    kept = "\n".join(shelf.kept.values())
    assert "fingerprint" not in kept
    assert "@example.com" not in kept
    assert shop.KEY not in kept


def test_cards_whose_listing_is_slim_are_asked_for_once() -> None:
    content = shop.content()
    content.is_listing_slim = True
    with shop.serve(content) as server:
        source = _source(server)
        first = source.fetch(emit=ignore)
        server.forget()
        assert source.fetch(emit=ignore) == first
        assert [path for path in server.paths() if path.startswith("/api/card/")] == ["/api/card/9999"]
        content.cards[0] |= {"updated_at": "2027-01-01", "name": "Revenue, renamed"}
        assert source.fetch(emit=ignore).document("card/101").title == "Revenue, renamed"  # type: ignore[union-attr]


def test_a_wrong_key_is_the_configurations_fault() -> None:
    with shop.serve() as server, pytest.raises(ConfigError) as raised:
        _source(server, api_key="wrong").fetch(emit=ignore)
    assert "api_key" in (raised.value.hint or "")
    assert "wrong" not in raised.value.message


def test_the_wait_that_the_server_asks_for_is_kept() -> None:
    waits: list[float] = []
    with shop.serve() as server:
        server.fail("^/api/card$", "429", "500", "cut")
        assert _source(server, waits).fetch(emit=ignore).is_complete
    assert 7.0 in waits


@pytest.mark.parametrize("fault", ["500", "cut", "malformed", "html", "403"])
@pytest.mark.parametrize(
    ("path", "unread"),
    [
        ("^/api/card$", "card"),
        ("^/api/collection$", "collection"),
        ("^/api/collection/2/items$", "collection/2"),
        ("^/api/dashboard/3$", "dashboard/3"),
        ("^/api/database/2/metadata$", "database/2"),
    ],
)
def test_a_part_that_fails_makes_the_snapshot_incomplete(path: str, unread: str, fault: Fault) -> None:
    with shop.serve() as server:
        server.fail(path, fault, always=True)
        snapshot = _source(server).fetch(emit=ignore)
    assert not snapshot.is_complete
    assert unread in {one.id for one in snapshot.unread}


def test_a_list_of_databases_that_fails_ends_the_reading() -> None:
    with shop.serve() as server:
        server.fail("^/api/database$", "403", always=True)
        with pytest.raises(SourceError):
            _source(server).fetch(emit=ignore)


def test_a_model_that_metabase_cannot_turn_into_sql_does_not_look_deleted() -> None:
    with shop.serve() as server:
        server.fail("^/api/dataset/native$", "500", always=True)
        snapshot = _source(server).fetch(emit=ignore)
    assert {one.id for one in snapshot.unread} == {"card/201", "card/203", "card/207"}, "models only"
    assert snapshot.document("card/203") is not None


def test_a_slow_server_is_waited_for() -> None:
    with shop.serve() as server:
        server.fail("^/api/segment$", "slow")
        assert _source(server).fetch(emit=ignore).is_complete


def test_an_instance_without_the_older_metrics_is_complete() -> None:
    content = shop.content()
    content.old_metrics = None
    with shop.serve(content) as server:
        snapshot = _source(server).fetch(emit=ignore)
    assert snapshot.is_complete
    assert snapshot.document("metric/1") is None


def test_only_takes_collections_with_all_they_hold_and_what_their_cards_stand_on() -> None:
    with shop.serve() as server:
        snapshot = _source(server, sync_mode="ONLY", collections=("4",), items=(307, "card/301")).fetch(
            emit=ignore
        )
    assert _cards(snapshot) == {201, 202, 203, 204, 205, 206, 207, 208, 209, 301, 307, 401}
    assert not any(one.kind == "dashboard" for one in snapshot.documents)


def test_only_reaches_down_the_tree_and_into_a_chosen_personal_collection() -> None:
    with shop.serve() as server:
        snapshot = _source(server, sync_mode="ONLY", collections=(6, 8)).fetch(emit=ignore)
    assert {130, 314} <= _cards(snapshot)
    assert {422, 426} <= _cards(snapshot), "the collection below is part of it"
    assert not {101, 401} & _cards(snapshot)


def test_except_leaves_out_a_collection_and_a_card() -> None:
    with shop.serve() as server:
        snapshot = _source(server, sync_mode="EXCEPT", collections=("3",), items=("401",)).fetch(emit=ignore)
    assert {201, 301, 129} <= _cards(snapshot)
    assert not {101, 130, 401, 422} & _cards(snapshot)


def test_a_chosen_collection_that_is_not_seen_is_not_taken_for_empty() -> None:
    with shop.serve() as server:
        snapshot = _source(server, sync_mode="ONLY", collections=("77",)).fetch(emit=ignore)
    assert [one.id for one in snapshot.unread] == ["collection/77"]


def test_a_card_in_a_form_that_cannot_be_read_hides_no_other() -> None:
    content = shop.content()
    content.cards += [
        {"id": 900, "name": None},
        {"id": "../../etc", "name": "x", "database_id": 1},
        {
            **content.cards[0],
            "id": 901,
            "dataset_query": {"type": "query", "database": 1, "query": _deep(300)},
        },
        {**content.cards[0], "id": 902, "dataset_query": {"stages": "no"}},
        {**content.cards[0], "id": 903, "name": "x" * 100_000, "description": "\x00\x1b[31m[[x]]" * 1000},
    ]
    with shop.serve(content) as server:
        source = _source(server)
        snapshot = source.fetch(emit=ignore)
        said = source.interpret(snapshot, [])
    assert {"card/900", "card"} <= {one.id for one in snapshot.unread}
    assert {101, 901, 902, 903} <= _cards(snapshot)
    assert all("\x00" not in one.text and "\x1b" not in one.text for one in snapshot.documents)
    assert all("\x1b" not in page.body and len(page.summary) <= 200 for page in said.pages)


def test_cards_that_multiply_or_chain_without_end_are_refused_by_name() -> None:
    content = shop.content()
    for n in range(2000, 2040):
        content.cards.append(
            _native(
                n, f"SELECT * FROM {{{{#{n + 1}}}}} a, {{{{#{n + 1}}}}} b" if n < 2039 else "SELECT 1 AS x"
            )
        )
    content.cards += [_native(n, f"SELECT * FROM {{{{#{n + 1}}}}} a") for n in range(3000, 4500)]
    with shop.serve(content) as server:
        snapshot = _source(server).fetch(emit=ignore)
    large, deep = snapshot.document("card/2000"), snapshot.document("card/3000")
    assert large is not None
    assert deep is not None
    assert "too large" in large.text
    assert "too deeply" in deep.text
    assert "SELECT 1 AS x" in snapshot.document("card/2037").text  # type: ignore[union-attr]


def _native(id_: int, sql: str) -> dict[str, Any]:
    query = {"type": "native", "database": 1, "native": {"query": sql}}
    return {"id": id_, "name": f"Chain {id_}", "type": "question", "database_id": 1, "dataset_query": query}


def _deep(levels: int) -> dict[str, Any]:
    query: dict[str, Any] = {"source-table": 11}
    for _ in range(levels):
        query = {"source-query": query, "filter": ["not", ["=", 1, 1]]}
    return query
