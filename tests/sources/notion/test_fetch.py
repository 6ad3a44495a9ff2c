import random
import time
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime

import pytest

from ktx.errors import ConfigError, KtxError, SourceError
from ktx.events import Event, StageFinished, Waiting, ignore
from ktx.names import is_page_key
from ktx.sources.evidence import Snapshot
from ktx.sources.notion.source import NotionSource
from ktx.sources.notion.values import plain_id
from ktx.sources.source import ContextSource, MemoryShelf
from notionserver.content import B, Database, Page, Source, Workspace, h, li, p, relation, uid
from notionserver.server import Fault, NotionServer, serve
from sampleprojects import notion_team

LATER = "2026-02-01T10:00:00.000Z"


def no_sleep(seconds: float) -> None:
    del seconds


def source(
    server: NotionServer, *roots: str, sleep: Callable[[float], None] = no_sleep, **options: object
) -> NotionSource:
    made = NotionSource(
        connection_id="notes",
        auth_token=server.token,
        base_url=server.url,
        root_page_ids=roots,
        crawl_mode="selected_roots" if roots else "all_accessible",
        sleep=sleep,
    )
    return replace(made, **options)  # type: ignore[arg-type]


def small(count: int = 5, *, edited: str = "2026-01-05T09:00:00.000Z") -> Workspace:
    space = Workspace()
    home = space.add(Page(title="Home", blocks=[p("Start.")], edited=edited))
    for number in range(count):
        space.add(Page(title=f"Page {number}", blocks=[p(f"Rule {number}.")], edited=edited), below=home)
    return space


HOME = uid("Home")


def titles(snapshot: Snapshot) -> list[str]:
    return sorted(document.title for document in snapshot.documents)


def test_a_workspace_is_read_from_its_root_with_rows_and_nested_databases() -> None:
    events: list[Event] = []
    with notion_team.serve() as server:
        made: ContextSource = source(server, notion_team.HOME)
        snapshot = made.fetch(emit=events.append)
        pages = [one for one in snapshot.documents if one.kind == "notion_page" and "#" not in one.id]
        assert len(pages) + 1 == notion_team.PAGES  # the long one comes in parts
        assert sum(1 for one in pages if one.signals["is_row"]) == notion_team.ROWS
        assert [one.title for one in snapshot.documents if one.kind == "notion_database"].sort() is None
        assert snapshot.is_complete
        assert snapshot.unread == snapshot.notes == ()
        assert "Old price model" not in titles(snapshot)
        assert "Salaries" not in titles(snapshot)
        row = snapshot.document(f"page/{plain_id(notion_team.NET_REVENUE)}")
        assert row is not None
        assert row.signals["path"] == "Fjellvik data team / Metrics"
        assert "| State | certified |" in row.text
        assert "Days since review" not in row.text  # it is another number every day
        assert events[-1] == StageFinished(stage="notion", summary="74 pages fetched, 0 unchanged")
        assert {seen.version for seen in server.requests} == {"2025-09-03"}


def test_nothing_that_expires_or_runs_and_no_secret_is_in_any_text() -> None:
    with notion_team.serve() as server:
        snapshot = source(server, notion_team.HOME).fetch(emit=ignore)
        everything = "\n".join(document.text for document in snapshot.documents)
        for bad in ("X-Amz", "javascript:", "Not for everybody", server.token, "last_edited", "\ue000"):
            assert bad not in everything
        assert "token" not in repr(source(server, "x")).lower().replace(server.token, "")
        assert server.token not in repr(source(server, "x"))


def test_all_that_is_accessible_is_found_by_search_and_by_walking() -> None:
    with notion_team.serve() as server:
        shelf = MemoryShelf()
        first = source(server, shelf=shelf).fetch(emit=ignore)
        second = source(server, shelf=shelf).fetch(emit=ignore)
        assert titles(first) == titles(second)
        assert len([one for one in first.documents if one.kind == "notion_page"]) == notion_team.PAGES + 1
        assert not first.is_complete
        assert "Nothing counts as removed" in first.notes[0]
        assert second.is_complete


def test_unchanged_pages_are_not_fetched_again() -> None:
    with notion_team.serve() as server:
        shelf = MemoryShelf()
        first = source(server, notion_team.HOME, shelf=shelf).fetch(emit=ignore)
        blocks = server.count("children")
        second = source(server, notion_team.HOME, shelf=shelf).fetch(emit=ignore)
        assert server.count("children") == blocks
        assert second == first
        page = server.workspace.pages[notion_team.REFUNDS]
        server.workspace.edit(page, p("A refund counts when it is asked for."), at=LATER)
        third = source(server, notion_team.HOME, shelf=shelf).fetch(emit=ignore)
        assert server.count("children") == blocks + 1
        changed = {one.id for one in third.documents} & {
            one.id
            for one in third.documents
            if (old := first.document(one.id)) is None or old.digest != one.digest
        }
        assert changed == {f"page/{plain_id(notion_team.REFUNDS)}"}


def test_a_page_changed_a_moment_ago_is_read_again() -> None:
    with serve(small(1)) as server:
        shelf = MemoryShelf()
        just_now = datetime(2026, 1, 5, 9, 1, 30, tzinfo=UTC)
        made = source(server, HOME, shelf=shelf, now=lambda: just_now)
        made.fetch(emit=ignore)
        page = server.workspace.pages[uid("Page 0")]
        server.workspace.edit(page, p("Within the same minute."), at=page.edited)
        again = made.fetch(emit=ignore)
        assert "Within the same minute." in again.documents[-1].text + again.documents[0].text


def test_a_bounded_run_says_so_and_the_next_ones_go_on_until_all_is_read() -> None:
    with serve(small(11)) as server:
        shelf = MemoryShelf()
        made = source(server, HOME, shelf=shelf, max_pages_per_run=5)
        sizes: list[int] = []
        for _ in range(3):
            snapshot = made.fetch(emit=ignore)
            sizes.append(len(snapshot.documents))
        assert sizes == [5, 10, 12]
        assert snapshot.is_complete
        assert server.count("children") == 12
        first = source(server, HOME, max_pages_per_run=5).fetch(emit=ignore)
        assert not first.is_complete
        assert first.notes == ("7 pages or more are left for the next run (`max_pages_per_run` is 5).",)


def test_pages_never_read_go_before_changed_ones() -> None:
    with serve(small(8)) as server:
        shelf = MemoryShelf()
        made = source(server, HOME, shelf=shelf, max_pages_per_run=4)
        made.fetch(emit=ignore)
        for number in range(3):  # those that were read change every day
            server.workspace.edit(server.workspace.pages[uid(f"Page {number}")], p("New."), at=LATER)
        snapshot = made.fetch(emit=ignore)
        assert {f"Page {number}" for number in range(3, 7)} <= set(titles(snapshot))


def test_a_lost_page_is_unread_and_nothing_counts_as_removed() -> None:
    with serve(small(3)) as server:
        shelf = MemoryShelf()
        assert source(server, HOME, shelf=shelf).fetch(emit=ignore).is_complete
        server.workspace.pages[uid("Page 1")].is_shared = False
        snapshot = source(server, HOME, shelf=shelf).fetch(emit=ignore)
        assert not snapshot.is_complete
        assert [(gap.id, gap.reason) for gap in snapshot.unread] == [
            (f"page/{plain_id(uid('Page 1'))}", "it is gone, or not shared with the integration")
        ]
        assert titles(snapshot) == ["Home", "Page 0", "Page 2"]


def test_a_page_in_the_trash_is_gone() -> None:
    with serve(small(2)) as server:
        server.workspace.pages[uid("Page 1")].in_trash = True
        snapshot = source(server, HOME).fetch(emit=ignore)
        assert snapshot.is_complete
        assert titles(snapshot) == ["Home", "Page 0"]


def test_a_page_that_search_forgets_is_asked_for_by_id() -> None:
    space = small(2)
    with serve(space) as server:
        shelf = MemoryShelf()
        source(server, shelf=shelf).fetch(emit=ignore)
        lonely = space.add(Page(title="Lonely", blocks=[p("Alone.")]))
        assert "Lonely" in titles(source(server, shelf=shelf).fetch(emit=ignore))
        hidden = space.pages.pop(lonely.id)
        gone = source(server, shelf=shelf).fetch(emit=ignore)
        assert gone.is_complete
        assert "Lonely" not in titles(gone)
        space.pages[hidden.id] = hidden
        server.faults.append(Fault(where="search", kind="list"))
        with pytest.raises(SourceError, match="no object"):
            source(server, shelf=shelf).fetch(emit=ignore)


@pytest.mark.parametrize("kind", ["429", "500", "503", "529", "cut"])
def test_passing_troubles_are_waited_out(kind: str) -> None:
    naps: list[float] = []
    with serve(small(3)) as server:
        server.faults.append(
            Fault(where="children", kind=kind, times=3, retry_after="7" if kind == "429" else None)
        )
        events: list[Event] = []
        snapshot = source(server, HOME, sleep=naps.append).fetch(emit=events.append)
        assert snapshot.is_complete
        assert len(snapshot.documents) == 4
        if kind == "429":
            assert naps.count(7.0) == 3
            assert [event.wait_s for event in events if isinstance(event, Waiting)] == [7.0] * 3


def test_requests_keep_the_pace_that_notion_asks_for() -> None:
    naps: list[float] = []
    with serve(small(10)) as server:
        started = time.monotonic()
        source(server, HOME, sleep=naps.append).fetch(emit=ignore)
        spent = time.monotonic() - started
        assert spent + sum(naps) >= (len(server.requests) - 1) / 3


@pytest.mark.parametrize("kind", ["malformed", "list", "400", "404", "endless", "loop"])
def test_one_page_that_fails_for_good_hides_no_other(kind: str) -> None:
    lost = uid("Page 1")
    with serve(small(3)) as server:
        server.faults.append(Fault(where=f"blocks/{lost}/children", kind=kind, times=10_000))
        snapshot = source(server, HOME).fetch(emit=ignore)
        assert titles(snapshot) == ["Home", "Page 0", "Page 2"]
        assert not snapshot.is_complete
        assert [gap.id for gap in snapshot.unread] == [f"page/{plain_id(lost)}"]
        assert len(server.requests) < 1_200


def test_when_notion_stops_answering_the_walk_ends_and_keeps_what_it_has() -> None:
    with serve(small(40)) as server:
        snapshot_of_all = source(server, HOME).fetch(emit=ignore)
        before = len(server.requests)
        for number in range(10, 40):
            server.faults.append(Fault(where=f"pages/{uid(f'Page {number}')}", kind="500", times=99))
        snapshot = source(server, HOME).fetch(emit=ignore)
        assert not snapshot.is_complete
        assert len(snapshot.documents) == 11
        assert len(snapshot_of_all.documents) == 41
        assert any("broke off" in note for note in snapshot.notes)
        assert len(server.requests) - before < 60


def test_a_cursor_that_expires_begins_the_listing_anew() -> None:
    space = small(0)
    space.edit(space.pages[HOME], *[li(f"Rule {number}") for number in range(350)], at=LATER)
    with serve(space) as server:
        server.faults.append(Fault(where="children", kind="200", times=0))
        whole = source(server, HOME).fetch(emit=ignore).documents[0].text
        assert whole.count("Rule") == 350
        fault = Fault(where="children", kind="expire", times=2)  # the first has no cursor yet
        server.faults.append(fault)
        assert source(server, HOME).fetch(emit=ignore).documents[0].text == whole
        server.faults.append(Fault(where="children", kind="expire", times=99))
        with pytest.raises(SourceError, match="could not be listed"):
            source(server, HOME).fetch(emit=ignore)


def test_depth_and_number_of_blocks_are_bounded_and_said() -> None:
    deep = li("level 14")
    for level in range(13, 0, -1):
        deep = li(f"level {level:02}", children=[deep])
    space = small(0)
    space.add(Page(title="Deep", blocks=[deep]), below=space.pages[HOME])
    space.add(
        Page(title="Long", blocks=[p(f"Line {number:04}.") for number in range(2_105)]),
        below=space.pages[HOME],
    )
    with serve(space) as server:
        snapshot = source(server, HOME).fetch(emit=ignore)
        text = {document.title: document.text for document in snapshot.documents}
        assert "level 10" in text["Deep"]
        assert "level 11" not in text["Deep"]
        assert "nested too deeply" in text["Deep"]
        whole = "".join(one.text for one in snapshot.documents if one.title.startswith("Long"))
        assert "Line 1999." in whole
        assert "Line 2000." not in whole
        assert not snapshot.is_complete
        assert sorted(gap.reason for gap in snapshot.unread) == [
            "`Deep`: what is nested deeper than 10 levels was not read",
            "`Long`: only its first 2,000 blocks were read",
        ]


def test_a_database_with_several_sources_and_a_root_given_as_the_wrong_kind_are_read() -> None:
    space = Workspace()
    rows = [Page(title=f"Row {number}", blocks=[]) for number in range(4)]
    schema = {"Name": {"type": "title", "title": {}}}
    database = Database(
        title="Two",
        sources=[
            Source(title="A", schema=schema, rows=rows[:2]),
            Source(title="B", schema=schema, rows=rows[2:]),
        ],
    )
    space.add_database(database)
    with serve(space) as server:
        snapshot = source(server, database.id).fetch(emit=ignore)
        assert titles(snapshot) == ["A", "B", "Row 0", "Row 1", "Row 2", "Row 3"]
        only = source(server, "x", root_page_ids=(), root_data_source_ids=(database.sources[1].id,)).fetch(
            emit=ignore
        )
        assert titles(only) == ["B", "Row 2", "Row 3"]
        by_source = source(server, "x", root_page_ids=(), root_database_ids=(database.sources[0].id,)).fetch(
            emit=ignore
        )
        assert titles(by_source) == ["A", "Row 0", "Row 1"]


def test_a_server_from_before_data_sources_is_read_too() -> None:
    with notion_team.serve(has_data_sources=False) as server:
        snapshot = source(server, notion_team.HOME).fetch(emit=ignore)
        assert sum(1 for one in snapshot.documents if one.signals["is_row"]) == notion_team.ROWS
        assert {seen.version for seen in server.requests if seen.path.endswith("/query")} == {"2022-06-28"}
        assert snapshot.is_complete


def test_a_database_with_more_rows_than_notion_lists_is_not_complete() -> None:
    space = Workspace()
    rows = [Page(title=f"Row {number}", blocks=[]) for number in range(130)]
    database = space.add_database(
        Database(title="Many", sources=[Source(title="Many", schema={}, rows=rows)])
    )
    with serve(space, row_limit=120) as server:
        snapshot = source(server, "x", root_page_ids=(), root_database_ids=(database.id,)).fetch(emit=ignore)
        assert len(snapshot.documents) == 121
        assert not snapshot.is_complete
        assert "first 10,000" in snapshot.unread[0].reason


def test_a_view_of_another_database_is_passed_over_and_said() -> None:
    space = small(1)
    space.pages[HOME].blocks.append(B(type="child_database", data={"title": "View"}, id=uid("view")))
    with serve(space) as server:
        snapshot = source(server, HOME).fetch(emit=ignore)
        assert snapshot.is_complete
        assert "1 views of other databases" in snapshot.notes[0]


def test_a_database_that_was_read_before_and_is_lost_is_no_view() -> None:
    space = small(1)
    database = space.add_database(
        Database(title="D", sources=[Source(title="D", schema={}, rows=[Page(title="R", blocks=[])])]),
        below=space.pages[HOME],
    )
    with serve(space) as server:
        shelf = MemoryShelf()
        assert source(server, HOME, shelf=shelf).fetch(emit=ignore).is_complete
        database.is_shared = False
        snapshot = source(server, HOME, shelf=shelf).fetch(emit=ignore)
        assert not snapshot.is_complete
        assert [gap.id for gap in snapshot.unread] == [f"database/{plain_id(database.id)}"]


def test_a_refused_token_or_missing_roots_are_for_the_owner_of_the_config() -> None:
    with serve(small(1)) as server:
        with pytest.raises(ConfigError, match="Notion refuses the credential"):
            source(server, HOME, auth_token="wrong").fetch(emit=ignore)
        with pytest.raises(ConfigError, match="names no root"):
            source(server, crawl_mode="selected_roots").fetch(emit=ignore)
        with pytest.raises(ConfigError, match="`finance` of connection `notes` is no id"):
            source(server, "finance").fetch(emit=ignore)
        with pytest.raises(SourceError, match="404"):
            source(server, uid("nowhere")).fetch(emit=ignore)
    with pytest.raises(SourceError, match="cannot be reached"):
        source(server, HOME).fetch(emit=ignore)


def test_pages_that_point_at_each_other_and_at_themselves_end() -> None:
    space = small(1)
    page = space.pages[uid("Page 0")]
    for id_ in (HOME, page.id):
        page.blocks.append(B(type="child_page", data={"title": "Loop"}, id=id_))
    with serve(space) as server:
        made = source(server, HOME)
        snapshot = made.fetch(emit=ignore)
        assert titles(snapshot) == ["Home", "Page 0"]
        assert made.interpret(snapshot, []).units


def test_a_relation_shows_the_title_of_the_page_it_points_at() -> None:
    with notion_team.serve() as server:
        made = source(server, notion_team.HOME)
        snapshot = made.fetch(emit=ignore)
        decision = snapshot.document(f"page/{plain_id(uid('Gift cards are no revenue'))}")
        assert decision is not None
        assert "[[net-revenue-" in decision.text
        assert "\\|Net revenue]] |" in decision.text
    space = Workspace()
    row = Page(title="Row", blocks=[h(2, "x")], properties={"Other": relation(uid("nowhere"))})
    database = space.add_database(Database(title="D", sources=[Source(title="D", schema={}, rows=[row])]))
    with serve(space) as server:
        text = source(server, database.id).fetch(emit=ignore).documents[-1].text
        assert "a page that was not read" in text


def test_synced_blocks_from_elsewhere_leave_a_note() -> None:
    space = small(0)
    synced = B(type="synced_block", data={"synced_from": {"block_id": uid("o")}}, children=[p("hidden")])
    space.edit(space.pages[HOME], p("Shown."), synced, at=LATER)
    with serve(space) as server:
        server.faults.append(Fault(where=f"blocks/{synced.id}/children", kind="404", times=9))
        snapshot = source(server, HOME).fetch(emit=ignore)
        assert "original is not shared" in snapshot.documents[0].text
        assert snapshot.is_complete


@pytest.mark.parametrize("seed", range(25))
def test_answers_that_make_no_sense_give_a_snapshot_or_one_of_our_errors(seed: int) -> None:
    rng = random.Random(seed)
    junk: list[object] = [
        None,
        True,
        -1,
        1e300,
        "",
        "x" * 50,
        "\ud800\x00",
        [],
        {},
        [None],
        {"type": "type"},
        [[]],
    ]

    def garbled(value: object, chance: float) -> object:
        if rng.random() < chance:
            return rng.choice(junk)
        if isinstance(value, dict):
            return {key: garbled(below, chance) for key, below in value.items()}
        return [garbled(below, chance) for below in value] if isinstance(value, list) else value

    with notion_team.serve(garble=lambda value: garbled(value, rng.choice([0.001, 0.01, 0.1]))) as server:
        made = source(server, notion_team.HOME, max_pages_per_run=40)
        try:
            snapshot = made.fetch(emit=ignore)
        except KtxError:
            return
        found = made.interpret(snapshot, [])
        for document in snapshot.documents:
            document.text.encode()
        assert len({fact.key for fact in found.pages}) == len(found.pages)
        assert all(is_page_key(fact.key) for fact in found.pages)
