"""`ktx wiki`: find, list and read wiki pages."""

import click

from ktx.cli.groups import AskGroup, output_option
from ktx.cli.options import json_option, project_option
from ktx.cli.render.data import Output, write_json, write_table, write_text
from ktx.cli.render.narrate import say
from ktx.project import Project
from ktx.serve import wiki as pages
from ktx.serve.desk import LOCAL_USER, Desk

_user_option = click.option(
    "--user-id", default=LOCAL_USER, show_default=True, help="Whose own pages to include."
)


@click.group(cls=AskGroup)
def wiki() -> None:
    """Find wiki pages, or list them all when nothing is asked; `wiki read KEY` prints one."""


@wiki.command()
@click.argument("words", nargs=-1)
@click.option(
    "--limit", type=click.IntRange(1, 1000), help="At most so many; 10 for a search, all for a list."
)
@click.option(
    "-c", "--connection-id", help="Only pages that speak of this connection, or of none in particular."
)
@_user_option
@output_option
@project_option
def find(
    *,
    project: Project,
    words: tuple[str, ...],
    limit: int | None,
    connection_id: str | None,
    user_id: str,
    output: Output,
) -> None:
    """Find pages about WORDS; list all pages without."""
    query = " ".join(words).strip()
    with Desk(project=project, user_id=user_id) as desk:
        answer = (
            pages.wiki_search(desk, query, limit=limit or 10, connection_id=connection_id)
            if query
            else pages.wiki_list(desk, limit=limit, connection_id=connection_id)
        )
    if output == "json":
        write_json(answer.plain())
        return
    rows = [(hit.key, hit.summary, "" if hit.scope == "global" else "own") for hit in answer.results]
    write_table(("page", "summary", "scope"), rows, output=output)
    if not rows:
        say("No page says anything about it." if query else "There is no page yet.")
    elif answer.total_found > len(rows):
        say(f"{len(rows)} of {answer.total_found} shown; --limit shows more.")


@wiki.command()
@click.argument("key")
@_user_option
@json_option
@project_option
def read(*, project: Project, key: str, user_id: str, as_json: bool) -> None:
    """Print the page KEY."""
    with Desk(project=project, user_id=user_id) as desk:
        page = pages.wiki_read(desk, key)
    if as_json:
        write_json(page.plain())
        return
    write_text(f"{page.summary}\n\n{page.content}")
