"""`ktx context`: what there is to know for a question, within a budget of tokens."""

import click

from ktx.cli.options import json_option, project_option
from ktx.cli.render.context import context_text
from ktx.cli.render.data import write_json, write_text
from ktx.project import Project
from ktx.serve.context import DEFAULT_TOKENS, LEAST_TOKENS, MOST_TOKENS, context_pack
from ktx.serve.desk import LOCAL_USER, Desk


@click.command()
@click.argument("question", nargs=-1, required=True)
@click.option(
    "--tokens",
    type=click.IntRange(LEAST_TOKENS, MOST_TOKENS),
    default=DEFAULT_TOKENS,
    show_default=True,
    help="At most so many tokens, four letters each.",
)
@click.option("-c", "--connection-id", help="Only what concerns this connection.")
@click.option("--user-id", default=LOCAL_USER, show_default=True, help="Whose own pages to include.")
@json_option
@project_option
def context(
    *,
    project: Project,
    question: tuple[str, ...],
    tokens: int,
    connection_id: str | None,
    user_id: str,
    as_json: bool,
) -> None:
    """Gather rules, definitions, joins and values for QUESTION, as much as fits into a budget of tokens.

    What was left out is listed with the call that gives it. Feed it to a model, or read it before asking.
    """
    with Desk(project=project, user_id=user_id) as desk:
        pack = context_pack(desk, " ".join(question), tokens=tokens, connection_id=connection_id)
    if as_json:
        write_json(pack.plain())
        return
    write_text(context_text(pack))
