"""`ktx ingest`: scan databases into the manifest."""

import sys

import click

from ktx.cli.options import json_option, project_option
from ktx.cli.render.data import write_json, write_text
from ktx.cli.render.ingest import estimate_text, ingest_json, ingest_text
from ktx.cli.render.narrate import say, show_error
from ktx.cli.render.progress import drawn_events
from ktx.errors import OutsideError, UsageError
from ktx.ingest.history import HistoryChoice
from ktx.ingest.pipeline import ingest as run_ingest
from ktx.ingest.prose import estimate_prose
from ktx.project import Project


@click.command()
@click.argument("connection_ids", metavar="[ID]…", nargs=-1)
@click.option("--all", "is_all", is_flag=True, help="Every database; the same as naming none.")
@click.option("--plain", is_flag=True, help="One line per step, nothing drawn over.")
@click.option("--yes", is_flag=True, help="Ask a model without asking you first.")
@click.option("--no-input", is_flag=True, help="Never ask anything, also on a terminal.")
@click.option(
    "--estimate",
    is_flag=True,
    help="Print what a model would be asked, in calls, tokens and money; ask nothing.",
)
@click.option(
    "--query-history/--no-query-history",
    "is_history_wanted",
    default=None,
    help="Read past queries too, or not, whatever ktx.yaml says.",
)
@click.option(
    "--query-history-window-days",
    "window_days",
    type=click.IntRange(min=1),
    help="How far back past queries are read, where the database keeps times.",
)
@project_option
@json_option
def ingest(
    *,
    project: Project,
    connection_ids: tuple[str, ...],
    is_all: bool,
    plain: bool,
    yes: bool,
    no_input: bool,
    estimate: bool,
    is_history_wanted: bool | None,
    window_days: int | None,
    as_json: bool,
) -> int:
    """Scan databases: tables, keys, joins, values; write the manifest, check it, commit it, index it.

    Without an ID every database of ktx.yaml is scanned. A second run on an unchanged database writes nothing.
    """
    if is_all and connection_ids:
        raise UsageError(
            "Give connection ids or `--all`, not both.", hint="`ktx ingest` alone takes every database."
        )
    history = HistoryChoice(is_wanted=is_history_wanted, window_days=window_days)
    if estimate:
        with drawn_events(is_plain=plain or as_json) as emit:
            foreseen = estimate_prose(project, connection_ids, history=history, emit=emit)
        if as_json:
            write_json({"estimates": foreseen})
        else:
            write_text(estimate_text(foreseen))
        return 0
    if sys.stdin.isatty() and not (yes or no_input or as_json):
        _confirm_cost(project, connection_ids)
    with drawn_events(is_plain=plain or as_json) as emit:
        report = run_ingest(project, connection_ids, emit=emit, history=history)
    if as_json:
        write_json(ingest_json(report))
    else:
        write_text(ingest_text(report, is_wide=sys.stdout.isatty()))
    if not report.connections:
        say("There is no database to scan; name one under `connections` in ktx.yaml.")
    for one in report.connections:
        if one.error:
            show_error(f"{one.connection_id}: {one.error}", hint=one.hint, findings=one.findings)
    for failure in report.failures:
        show_error(f"{failure.what}: {failure.message}", hint=failure.hint, findings=())
    return report.exit_code


def _confirm_cost(project: Project, connection_ids: tuple[str, ...]) -> None:
    """Ask a person before a model is paid; nothing is asked when none would be."""
    try:
        foreseen = estimate_prose(project, connection_ids, is_quick=True)
    except OutsideError:
        return  # the ingest itself names the connection that fails, and does the others
    if any(one.calls for one in foreseen):
        say(estimate_text(foreseen).rstrip())
        click.confirm("Ask the model?", default=True, abort=True, err=True)
