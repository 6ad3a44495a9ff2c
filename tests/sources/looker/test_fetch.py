"""Reading a Looker when all is well, when tokens run out, when parts fail, and when its answers are hostile."""

from typing import Any

import pytest

from ktx.errors import ConfigError, SourceError
from ktx.events import ignore
from ktx.sources.looker.source import LookerSource
from ktx.sources.source import MemoryShelf, Target
from landed import target_of
from loopback import Fault, Loopback
from sampleprojects import looker_shop as shop


def _source(server: Loopback, waits: list[float] | None = None, **more: Any) -> LookerSource:
    given: dict[str, Any] = {
        "client_id": shop.CLIENT_ID,
        "client_secret": shop.CLIENT_SECRET,
        "connection_mappings": shop.CONNECTIONS,
        "connection_id": "lk",
        "shelf": MemoryShelf(),
        **more,
    }
    return LookerSource(base_url=server.url, sleep=(waits if waits is not None else []).append, **given)


def test_a_whole_reading_is_complete_pages_all_listings_and_logs_out() -> None:
    with shop.serve() as server:
        snapshot = _source(server).fetch(emit=ignore)
        assert server.paths("DELETE") == ["/api/4.0/logout"]
    kinds = [one.kind for one in snapshot.documents]
    assert snapshot.is_complete
    assert (kinds.count("explore"), kinds.count("dashboard"), kinds.count("look")) == (10, 11, 13)
    assert any("personal folders" in note for note in snapshot.notes)
    assert snapshot.document("dashboard/bikeshop::overview") is not None
    assert snapshot.document("dashboard/15") is None


def test_usage_that_may_not_be_read_is_a_note_and_usage_that_may_is_a_signal() -> None:
    content = shop.content()
    with shop.serve(content) as server:
        closed = _source(server).fetch(emit=ignore)
        content.usage = [
            {
                "content_usage.content_type": "dashboard",
                "content_usage.content_id": "1",
                "content_usage.schedule_total": 4,
                "content_usage.api_total": 2,
            }
        ]
        opened = _source(server).fetch(emit=ignore)
    assert any("system__activity" in note for note in closed.notes)
    assert not any("system__activity" in note for note in opened.notes)
    assert opened.document("dashboard/1").signals["schedule_total"] == 4  # type: ignore[union-attr]
    assert [one.digest for one in closed.documents] == [one.digest for one in opened.documents]


def test_nothing_that_changes_by_itself_is_part_of_a_text() -> None:
    content = shop.content()
    with shop.serve(content) as server:
        before = _source(server).fetch(emit=ignore)
        for one in (*content.dashboards, *content.looks):
            one |= {
                "view_count": 999,
                "favorite_count": 88,
                "last_viewed_at": "2027-01-01",
                "updated_at": "2027-01-01",
            }
        for explore in content.explores.values():
            for field in (*explore["fields"]["dimensions"], *explore["fields"]["measures"]):
                field["times_used"] = 7777
        after = _source(server).fetch(emit=ignore)
    assert [one.digest for one in before.documents] == [one.digest for one in after.documents]


def test_dashboards_and_looks_that_did_not_change_are_not_fetched_again() -> None:
    content = shop.content()
    with shop.serve(content) as server:
        source = _source(server)
        first = source.fetch(emit=ignore)
        explores = [path for path in server.paths() if "/explores/" in path]
        assert len(explores) == len(set(explores))
        server.forget()
        assert source.fetch(emit=ignore) == first
        again = [
            path for path in server.paths() if path.startswith(("/api/4.0/dashboards/", "/api/4.0/looks/"))
        ]
        assert again == [
            "/api/4.0/dashboards/search",
            "/api/4.0/dashboards/bikeshop::overview",
            "/api/4.0/looks/search",
        ]
        content.dashboards[0] |= {"updated_at": "2027-01-01T00:00:00Z", "title": "Renamed"}
        assert source.fetch(emit=ignore).document("dashboard/1").title == "Renamed"  # type: ignore[union-attr]


def test_a_token_that_runs_out_is_renewed() -> None:
    content = shop.content()
    content.uses = 9
    with shop.serve(content) as server:
        snapshot = _source(server).fetch(emit=ignore)
        log_ins = server.paths().count("/api/4.0/login")
    assert snapshot.is_complete
    assert log_ins > 3


def test_a_server_that_refuses_every_token_is_not_asked_for_ever() -> None:
    content = shop.content()
    content.uses = 0
    with shop.serve(content) as server, pytest.raises(ConfigError):
        _source(server).fetch(emit=ignore)
    assert server.paths().count("/api/4.0/login") <= 2


def test_wrong_credentials_are_the_configurations_fault_and_stay_unsaid() -> None:
    with shop.serve() as server, pytest.raises(ConfigError) as raised:
        _source(server, client_secret="sesame").fetch(emit=ignore)
    assert "sesame" not in f"{raised.value} {raised.value.hint}"
    with shop.serve() as server:
        assert "sesame" not in repr(_source(server, client_secret="sesame"))


def test_the_wait_that_the_server_asks_for_is_kept() -> None:
    waits: list[float] = []
    with shop.serve() as server:
        server.fail("/lookml_models$", "429", "500", "cut")
        server.fail("/folders/search$", "slow")
        assert _source(server, waits).fetch(emit=ignore).is_complete
    assert 7.0 in waits


@pytest.mark.parametrize("fault", ["500", "cut", "malformed", "html", "403"])
@pytest.mark.parametrize(
    ("path", "unread"),
    [
        ("/explores/bikes$", "explore/bikeshop/bikes"),
        ("/dashboards/search$", "dashboards"),
        ("/dashboards/3$", "dashboard/3"),
        ("/looks/5$", "look/5"),
        ("/folders/search$", "folders"),
    ],
)
def test_a_part_that_fails_makes_the_snapshot_incomplete(path: str, unread: str, fault: Fault) -> None:
    with shop.serve() as server:
        server.fail(path, fault, always=True)
        snapshot = _source(server).fetch(emit=ignore)
    assert not snapshot.is_complete
    assert unread in {one.id for one in snapshot.unread}


def test_models_that_cannot_be_listed_end_the_reading() -> None:
    with shop.serve() as server:
        server.fail("/lookml_models$", "403", always=True)
        with pytest.raises(SourceError):
            _source(server).fetch(emit=ignore)


def test_hostile_answers_hide_nothing_else_and_break_nothing() -> None:
    content = shop.content()
    content.models[0]["explores"].append({"name": "../../../login"})
    content.dashboards += [
        {"id": "../../etc/passwd", "title": "x", "updated_at": None, "deleted": False},
        {"id": "901", "title": "\x1b[2J[[secret]] `{{rentals}}` " + "y" * 5000, "updated_at": None, "folder": {"id": "2"}, "dashboard_elements": None},
        {"id": "902", "title": 5, "updated_at": None, "folder": []},
    ]  # fmt: skip
    content.folders += [
        {"id": "a", "name": "A", "parent_id": "b"},
        {"id": "b", "name": "B", "parent_id": "a"},
    ]
    content.dashboards.append({**content.dashboards[0], "id": "903", "folder": {"id": "a"}})
    with shop.serve(content) as server:
        source = _source(server)
        snapshot = source.fetch(emit=ignore)
        said = source.interpret(snapshot, [Target(connection_id="warehouse", dialect="duckdb")])
    unread = {one.id for one in snapshot.unread}
    assert {"explore/bikeshop/../../../login", "dashboard/902"} <= unread
    assert snapshot.document("dashboard/901") is not None
    assert all(
        "\x1b" not in f"{page.body}{page.summary}" and "[[secret" not in page.body for page in said.pages
    )


def test_hostile_fields_are_named_and_the_others_land(tmp_path: Any) -> None:
    shop.build_warehouse(tmp_path / "w.duckdb")
    content = shop.content()
    content.explores["bikeshop", "bikes"]["fields"]["measures"] += [
        {"name": "bikes.deep", "view": "bikes", "type": "sum", "sql": "(" * 3000 + "1" + ")" * 3000},
        {"name": "bikes.union", "view": "bikes", "type": "number", "sql": "(SELECT max(x) FROM secrets)"},
        {"name": "bikes.stacked", "view": "bikes", "type": "number", "sql": "1; DROP TABLE bikes"},
        {"name": "bikes.self", "view": "bikes", "type": "sum", "sql": "${self_dim}"},
        {"name": "bikes.bomb", "view": "bikes", "type": "sum", "sql": "${b9}"},
    ]
    content.explores["bikeshop", "bikes"]["fields"]["dimensions"] += [
        {"name": "bikes.self_dim", "view": "bikes", "sql": "${self_dim} + 1", "type": "number"},
        *({"name": f"bikes.b{n}", "view": "bikes", "type": "number", "sql": " + ".join([f"${{b{n - 1}}}"] * 9)} for n in range(1, 10)),
        {"name": "bikes.b0", "view": "bikes", "type": "number", "sql": "${TABLE}.frame_size"},
    ]  # fmt: skip
    with shop.serve(content) as server:
        source = _source(server)
        said = source.interpret(source.fetch(emit=ignore), [target_of(tmp_path / "w.duckdb", "warehouse")])
    names = {one.what for one in said.unmapped}
    assert {f"measure bikes.{name}" for name in ("deep", "union", "stacked", "self", "bomb")} <= names
    bikes = next(one for one in said.definitions if one.name == "bikes")
    assert {"count", "electric_count", "tall_bikes"} <= {one.name for one in bikes.measures}
