"""`ktx sql`: one read-only statement."""

import sys

import click

from ktx.cli.groups import output_option
from ktx.cli.options import project_option, read_given
from ktx.cli.render.data import Output, write_json, write_table
from ktx.cli.render.narrate import say
from ktx.project import Project
from ktx.serve.desk import Desk
from ktx.serve.sql import DEFAULT_MAX_ROWS, MOST_ROWS, sql_execution


@click.command()
@click.argument("statement")
@click.option("-c", "--connection-id", "--connection", help="The warehouse; needed when there are several.")
@click.option("--max-rows", type=click.IntRange(1, MOST_ROWS), default=DEFAULT_MAX_ROWS, show_default=True)
@output_option
@project_option
def sql(
    *, project: Project, statement: str, connection_id: str | None, max_rows: int, output: Output
) -> None:
    """Run the read-only SQL STATEMENT (`-` reads it from stdin) and print its rows."""
    text = read_given(sys.stdin) if statement == "-" else statement
    with Desk(project=project) as desk:
        answer = sql_execution(desk, connection_id, text, max_rows=max_rows)
    if output == "json":
        write_json(answer.plain())
        return
    write_table(answer.headers, answer.rows, output=output)
    for note in answer.notes or ():
        say(note)
