"""`ktx sl`: find, list, read, check and query semantic sources."""

import click

from ktx.cli.groups import AskGroup, output_option
from ktx.cli.options import json_option, project_option
from ktx.cli.render.data import Output, write_json, write_table, write_text
from ktx.cli.render.narrate import say, show_finding
from ktx.findings import Finding, Place
from ktx.project import Project
from ktx.serve.answers import Validation
from ktx.serve.desk import Desk

_connection_option = click.option(
    "-c", "--connection-id", help="The warehouse; needed only when there are several."
)


@click.group(cls=AskGroup)
def sl() -> None:
    """Find semantic sources, or list them all when nothing is asked; `sl query` answers a question with rows."""


# What a command asks of `ktx.serve` is imported when it runs: a question to the compiler needs no search, and the reverse.
@sl.command()
@click.argument("words", nargs=-1)
@click.option(
    "--limit", type=click.IntRange(1, 10_000), help="At most so many; 10 for a search, all for a list."
)
@_connection_option
@output_option
@project_option
def find(
    *, project: Project, words: tuple[str, ...], limit: int | None, connection_id: str | None, output: Output
) -> None:
    """Find sources about WORDS; list all sources without."""
    from ktx.serve.sources import source_list, source_search

    query = " ".join(words).strip()
    with Desk(project=project) as desk:
        answer = (
            source_search(desk, query, connection_id=connection_id, limit=limit or 10)
            if query
            else source_list(desk, connection_id=connection_id, limit=limit)
        )
    if output == "json":
        write_json(answer.plain())
        return
    rows = [(hit.name, hit.connection_id, hit.table or "", hit.summary) for hit in answer.results]
    write_table(("source", "connection", "table", "description"), rows, output=output)
    if not rows:
        say(
            "No source is about it."
            if query
            else "There is no source yet; `ktx ingest` makes them from your tables."
        )
    elif answer.total_found > len(rows):
        say(f"{len(rows)} of {answer.total_found} shown; --limit shows more.")


@sl.command()
@click.argument("source")
@_connection_option
@json_option
@project_option
def read(*, project: Project, source: str, connection_id: str | None, as_json: bool) -> None:
    """Print SOURCE as the compiler sees it: manifest and overlay put together, derived measures included."""
    from ktx.serve.sources import sl_read_source

    with Desk(project=project) as desk:
        answer = sl_read_source(desk, connection_id, source)
    if as_json:
        write_json(answer.plain())
        return
    write_text(answer.yaml)


@sl.command()
@click.argument("source", required=False)
@_connection_option
@json_option
@project_option
def validate(*, project: Project, source: str | None, connection_id: str | None, as_json: bool) -> int:
    """Check SOURCE, or every source; exit 1 when something is an error."""
    from ktx.serve.validate import validate_layer

    with Desk(project=project) as desk:
        answer = validate_layer(desk, connection_id=connection_id, source_name=source)
    if as_json:
        write_json(answer.plain())
    else:
        _show(answer)
    return 0 if answer.ok else 1


def _show(answer: Validation) -> None:
    for found in answer.findings:
        show_finding(
            Finding(
                level=found.level, code=found.code, message=found.message, fix=found.fix,
                where=Place(file=found.file, line=found.line, path=found.path),
            )
        )  # fmt: skip
    errors = sum(found.level == "error" for found in answer.findings)
    say(
        f"{answer.checked} {'source' if answer.checked == 1 else 'sources'} checked, {errors or 'no'} errors."
    )
