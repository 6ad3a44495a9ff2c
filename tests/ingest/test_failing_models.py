"""A model that fails in the middle of a run: the unit is named, the others land, and the next run pays for the failed step alone."""

from pathlib import Path

import pytest

from ingest.notes import label, note_project, notes, page, pages, told
from modelserver.replies import (
    Reply,
    calls,
    cut,
    garbage,
    invalid_key,
    overloaded,
    overloaded_mid_stream,
    rate_limited,
    raw_call,
    server_error,
    text,
)
from modelserver.server import ModelServer

FAILURES = {
    "unauthorized": invalid_key(),
    "overloaded": overloaded(),
    "overloadedlater": overloaded_mid_stream(),
    "cut": cut(),
    "garbled": garbage(),
    "broken": server_error(503),
}
FINE = ("alpha", "beta")


@pytest.fixture
def server():
    with ModelServer() as running:
        yield running


def test_a_step_that_fails_costs_its_unit_a_retry_and_nobody_else_anything(
    tmp_path: Path, server: ModelServer
) -> None:
    project = note_project(tmp_path, server, attempts=1)
    is_well = False

    def script(request) -> Reply:
        name = label(request)
        if request.assistant_turns == 0:
            return calls(page(name, f"# {name}\n\nA rule.\n"))
        return text("Done.") if is_well or name in FINE else FAILURES[name]

    server.script(script)
    source = notes(**{name: f"Rules of {name}." for name in (*FAILURES, *FINE)})

    first = told(project, source)

    units = {unit.label: unit for unit in first.units}
    assert {name: unit.status for name, unit in units.items()} == {
        **dict.fromkeys(FAILURES, "failed"),
        **dict.fromkeys(FINE, "done"),
    }
    assert all(units[name].detail for name in FAILURES)
    assert (first.status, first.exit_code) == ("partial", 3)
    assert pages(project) == set(FINE)
    is_well, start = True, len(server.requests)

    second = told(project, source)

    assert {unit.status for unit in second.units} == {"done", "known"}
    assert second.exit_code == 0
    assert pages(project) == {*FINE, *FAILURES}
    assert sorted(label(request) for request in server.requests[start:]) == sorted(FAILURES)
    assert {request.assistant_turns for request in server.requests[start:]} == {1}


def test_a_rate_limit_is_waited_for_and_no_unit_fails(tmp_path: Path, server: ModelServer) -> None:
    project = note_project(tmp_path, server, attempts=3)
    asked: set[str] = set()

    def script(request) -> Reply:
        name = label(request)
        if request.assistant_turns == 0:
            return calls(page(name, f"# {name}\n\nA rule.\n"))
        if name == "alpha" and name not in asked:
            asked.add(name)
            return rate_limited(0.01)
        return text("Done.")

    server.script(script)
    report = told(project, notes(alpha="One.", beta="Two."))
    assert {unit.status for unit in report.units} == {"done"}
    assert len(server.requests) == 5


def test_arguments_that_are_no_json_are_told_to_the_model_and_nothing_of_them_lands(
    tmp_path: Path, server: ModelServer
) -> None:
    project = note_project(tmp_path, server, attempts=1)

    def script(request) -> Reply:
        if "corrected arguments" in request.prompt_text:
            return text("unclear")
        steps = (
            raw_call("write_page", '{"key": "alpha", "summary": "Broken'),
            calls(page("alpha", "# Alpha\n\nA rule.\n")),
            text("Done."),
        )
        return steps[request.assistant_turns]

    server.script(script)
    report = told(project, notes(alpha="One."))
    (unit,) = report.units
    assert unit.status == "done"
    assert [one.outcome for one in unit.calls] == ["ok"]
    assert pages(project) == {"alpha"}
