"""`ktx runs`: the ingests of context sources and texts, listed and shown."""

import click

from ktx.cli.options import json_option, project_option
from ktx.cli.render.data import write_json, write_table, write_text
from ktx.cli.render.narrate import say
from ktx.cli.render.runs import RUN_HEADERS, run_row, run_text
from ktx.ingest.recall import list_runs, require_run, run_json
from ktx.project import Project


@click.group()
def runs() -> None:
    """List the ingests of context sources and texts, and show one in full."""


@runs.command(name="list")
@click.option("--source", help="Only runs of this context source; `text` for texts.")
@click.option("--limit", type=click.IntRange(1, 1000), default=20, show_default=True, help="At most so many.")
@project_option
@json_option
def list_(*, project: Project, source: str | None, limit: int, as_json: bool) -> None:
    """List runs, the newest first."""
    found = list_runs(project, source=source, limit=limit)
    if as_json:
        write_json({"runs": [run_json(run) for run in found]})
        return
    write_table(RUN_HEADERS, [run_row(run) for run in found], right=("units", "changes", "usd"))
    if not found:
        say("There is no run yet; `ktx ingest` makes one for each context source.")


@runs.command()
@click.argument("run")
@project_option
@json_option
def show(*, project: Project, run: str, as_json: bool) -> None:
    """Show RUN in full: an id, the beginning of one, or `last`.

    Stages with their times, documents, units, each change with the evidence and the tool call that led to it, findings, what was
    set aside or has no place in the layer, files, the commit.
    """
    found = require_run(project, run)
    if as_json:
        write_json({"run": run_json(found), "commit": found.commit, "report": found.report})
        return
    write_text(run_text(found))
