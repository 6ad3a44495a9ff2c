"""The roles around the units: triage of what is noisy, a curator where there are too many pages, repair after merging."""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest

from ingest.notes import label, note_project, notes, page, pages, told
from ktx.ingest.curate import Limits
from ktx.ingest.source_report import SourceReport
from ktx.project import Project
from ktx.sources.notion.source import NotionSource
from modelserver.replies import Reply, call, calls, server_error, structured, text
from modelserver.server import ModelServer
from sampleprojects import notion_team

ROLES = {
    "triage": "You decide how much work a document is worth",
    "curator": "More new wiki pages are proposed than one run may add",
    "repair": "does not pass its checks after it was put together with others",
    "unit": "You are given one unit of work",
}


@pytest.fixture
def server() -> Iterator[ModelServer]:
    with ModelServer() as running:
        yield running


@pytest.fixture
def project(tmp_path: Path, server: ModelServer) -> Project:
    return note_project(tmp_path, server)


def role_of(request) -> str:
    return next(role for role, words in ROLES.items() if words in request.system_text)


def asked(server: ModelServer, start: int = 0) -> list[str]:
    return [role_of(request) for request in server.requests[start:]]


def by_role(**scripts: Callable[..., Reply] | Sequence[Reply]) -> Callable[..., Reply]:
    def script(request) -> Reply:
        mine = scripts[role_of(request)]
        return mine(request) if callable(mine) else mine[min(request.assistant_turns, len(mine) - 1)]

    return script


def test_triage_skips_what_is_worth_nothing_and_is_paid_for_once(
    project: Project, server: ModelServer
) -> None:
    def triage(request) -> Reply:
        lane = "full" if "Finance handbook" in request.prompt_text else "skip"
        return structured({"lane": lane, "reason": "as its title says"})

    server.script(
        by_role(
            triage=triage,
            unit=(
                calls(page("refunds", "# Refunds\n\nA refund counts on the day it is paid.\n")),
                text("Done."),
            ),
        )
    )
    with notion_team.serve() as notion:
        source = NotionSource(
            connection_id="notion", auth_token=notion.token, base_url=notion.url, crawl_mode="all_accessible",
            sleep=lambda _: None,
        )  # fmt: skip
        report = told(project, source, source_id="notion")
        lanes = {unit.status for unit in report.units}
        assert lanes == {"done", "skipped"}
        assert pages(project) == {"refunds"}
        worked = [unit for unit in report.units if unit.status == "done"]
        assert asked(server).count("triage") == len(report.units)
        assert asked(server).count("unit") == 2 * len(worked)
        assert {request.model for request in server.requests if role_of(request) == "triage"} == {
            "claude-haiku-5-5"
        }
        count = len(server.requests)
        again = told(project, source, source_id="notion")
        assert (again.commit, len(server.requests)) == (None, count)


def test_a_triage_that_fails_means_work_on_it(project: Project, server: ModelServer) -> None:
    server.script(by_role(triage=lambda _: server_error(), unit=(text("Nothing worth keeping."),)))
    with notion_team.serve() as notion:
        source = NotionSource(
            connection_id="notion", auth_token=notion.token, base_url=notion.url, crawl_mode="all_accessible",
            sleep=lambda _: None,
        )  # fmt: skip
        report = told(project, source, source_id="notion")
    assert {unit.status for unit in report.units} == {"done"}


def test_a_curator_chooses_and_what_is_left_comes_later_without_being_paid_again(
    project: Project, server: ModelServer
) -> None:
    names = [f"topic{number}" for number in range(5)]
    server.script(
        by_role(
            unit=lambda request: (
                text("Done.")
                if request.assistant_turns
                else calls(page(label(request), f"# {label(request)}\n\nA rule.\n"))
            ),
            curator=lambda _: structured({"keys": ["topic4", "nonsense", "topic2", "topic0"]}),
        )
    )
    source, limits = notes(**{name: f"Rules of {name}." for name in names}), Limits(creates=2)

    first = told(project, source, limits=limits)
    assert pages(project) == {"topic4", "topic2"}
    assert asked(server).count("curator") == 1
    (left,) = [one for one in first.findings if one.code == "left-for-later"]
    assert left.message.startswith("3 pages")

    start = len(server.requests)
    told(project, source, limits=limits)
    assert pages(project) == {"topic0", "topic1", "topic2", "topic4"}
    told(project, source, limits=limits)
    assert pages(project) == set(names)
    assert set(asked(server, start)) == {"curator"}
    start = len(server.requests)
    last = told(project, source, limits=limits)
    assert (last.commit, len(server.requests)) == (None, start)


def old_and_new(project: Project, server: ModelServer, repair: Sequence[Reply]) -> SourceReport:
    """One unit deletes the page that another links to: each is right by itself, and together they are not."""
    server.script(by_role(unit=(calls(page("old-rule", "# Old rule\n\nGone soon.\n")), text("Done."))))
    told(project, notes(first="The old rule."))

    def unit(request) -> Reply:
        if request.assistant_turns:
            return text("Done.")
        if label(request) == "takes":
            return call("delete_page", key="old-rule")
        return calls(page("new-rule", "# New rule\n\nIt follows [[old-rule]].\n", refs=["old-rule"]))

    server.script(by_role(unit=unit, repair=repair))
    return told(project, notes(takes="The old rule is gone.", writes="There is a new rule."))


def test_repair_mends_what_breaks_only_after_merging_and_is_asked_once(
    project: Project, server: ModelServer
) -> None:
    mended = calls(page("new-rule", "# New rule\n\nIt takes the place of an older one.\n"))

    report = old_and_new(project, server, (mended, text("Mended.")))

    assert pages(project) == {"new-rule"}
    assert "takes the place" in (project.wiki_dir / "global" / "new-rule.md").read_text()
    assert "old-rule" not in (project.wiki_dir / "global" / "new-rule.md").read_text()
    assert (report.status, report.findings) == ("done", ())
    count = len(server.requests)
    again = told(project, notes(takes="The old rule is gone.", writes="There is a new rule."))
    assert (again.commit, len(server.requests)) == (None, count)


def test_what_repair_cannot_mend_is_left_out_and_named_and_the_rest_lands(
    project: Project, server: ModelServer
) -> None:
    report = old_and_new(project, server, (text("I do not know how."),))

    left = [one for one in report.findings if one.code == "left-out"]
    assert left
    assert "old-rule" in left[0].message
    assert asked(server).count("repair") == 1
    links = [file.read_text() for file in (project.wiki_dir / "global").glob("new-rule.md")]
    assert all("[[old-rule]]" not in text for text in links) or "old-rule" in pages(project)
