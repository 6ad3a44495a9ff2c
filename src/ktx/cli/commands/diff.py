"""`ktx diff`: what changes in the layer by definition, and which metric values change with it."""

import click

from ktx.cli.options import json_option, project_option
from ktx.cli.render.data import write_json, write_text
from ktx.cli.render.diff import diff_text
from ktx.cli.render.progress import drawn_events
from ktx.events import ignore
from ktx.ingest.diff import diff_json, diff_layer
from ktx.ingest.metric_values import MOST_MEASURES
from ktx.project import Project


@click.command()
@click.argument("target", metavar="[RUN|COMMIT|A..B]", required=False)
@click.option("--no-values", is_flag=True, help="Ask no warehouse; compare definitions only.")
@click.option("-c", "--connection-id", help="Only the sources of this connection, and no pages.")
@click.option(
    "--most-values",
    type=click.IntRange(0, 10_000),
    default=MOST_MEASURES,
    show_default=True,
    help="Ask at most so many measures; the others are named.",
)
@click.option("--exit-code", is_flag=True, help="End with 1 when a definition or a page differs.")
@project_option
@json_option
def diff(
    *,
    project: Project,
    target: str | None,
    no_values: bool,
    connection_id: str | None,
    most_values: int,
    exit_code: bool,
    as_json: bool,
) -> int:
    """Show what changes in the layer by definition, and which metric values change with it.

    RUN is the id of a run, the beginning of one, or `last`. Without anything: the files against the last commit; where nothing is
    uncommitted, the last run that committed.

    A value is asked where a measure compiles to other SQL before and after, once each, read-only, over all rows.
    """
    with drawn_events(is_plain=as_json) as emit:
        found = diff_layer(
            project,
            target,
            connection_id=connection_id,
            wants_values=not no_values,
            most_measures=most_values,
            emit=ignore if as_json else emit,
        )
    if as_json:
        write_json(diff_json(found))
    else:
        write_text(diff_text(found))
    return 1 if exit_code and found.has_changes else 0
