"""`ktx check`: whether the context still fits the warehouse, for people and for CI."""

import math

import click

from ktx.cli.groups import errors_as_json
from ktx.cli.options import json_option, project_option
from ktx.cli.render.data import write_json
from ktx.cli.render.findings import show_findings
from ktx.cli.render.narrate import say, show_error
from ktx.project import Project
from ktx.serve.answers import ContextCheck
from ktx.serve.desk import Desk


@click.command()
@click.option(
    "-c", "--connection-id", help="Check the layer of this warehouse only; pages are checked all the same."
)
@click.option(
    "--offline", is_flag=True, help="Contact no warehouse: use what the last scan saw, if there was one."
)
@json_option
@project_option
def check(*, project: Project, connection_id: str | None, offline: bool, as_json: bool) -> int:
    """Name every definition, join and page reference that no longer fits the warehouse or the layer. No model is asked.

    Exits with 0 when nothing is wrong, 1 when something is an error, 3 when nothing is and a warehouse could not be reached.
    """
    from ktx.serve.check import check_context  # `--help` does without the compiler

    with errors_as_json(is_wanted=as_json), Desk(project=project, recheck_s=math.inf) as desk:
        answer = check_context(desk, connection_id=connection_id, is_offline=offline)
    if as_json:
        write_json(answer.plain())
    else:
        _show(answer)
    if any(one.level == "error" for one in answer.findings):
        return 1
    return 3 if any(one.catalog == "unreachable" for one in answer.connections) else 0


def _show(answer: ContextCheck) -> None:
    show_findings(answer.findings)
    for one in answer.connections:
        if one.catalog == "unreachable":
            show_error(f"`{one.connection_id}` could not be asked: {one.error}", hint=one.hint)
    against = {
        "live": "the warehouse",
        "last-scan": "the last scan",
        "none": "itself",
        "unreachable": "itself",
    }
    errors = sum(found.level == "error" for found in answer.findings)
    for one in answer.connections:
        say(f"{one.connection_id}: {one.sources:,} sources against {against[one.catalog]}.")
    say(
        f"{answer.pages:,} pages. {errors or 'No'} {'error' if errors == 1 else 'errors'} ({answer.seconds:.1f} s)."
    )
