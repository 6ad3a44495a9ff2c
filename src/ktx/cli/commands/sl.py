"""`ktx sl`: find, list, read, check and query semantic sources."""

import math
from dataclasses import replace
from typing import Any, TextIO

import click

from ktx.cli.groups import AskGroup, errors_as_json, output_option
from ktx.cli.options import json_option, project_option, read_given
from ktx.cli.render.data import Output, write_json, write_table, write_text
from ktx.cli.render.findings import show_findings
from ktx.cli.render.narrate import say
from ktx.cli.render.receipt import receipt_lines
from ktx.project import Project
from ktx.serve.answers import CompiledAnswer, QueryAnswer, Validation
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
    show_findings(answer.findings)
    errors = sum(found.level == "error" for found in answer.findings)
    say(
        f"{answer.checked} {'source' if answer.checked == 1 else 'sources'} checked, {errors or 'no'} errors."
    )


@sl.command()
@click.option(
    "--query-file", type=click.File("r", encoding="utf-8"), help="A question as JSON or YAML; `-` is stdin."
)
@click.option(
    "--measure", "measures", multiple=True, metavar="NAME|EXPR", help="What to measure; repeatable."
)
@click.option(
    "--dimension",
    "dimensions",
    multiple=True,
    metavar="FIELD[:GRANULARITY]",
    help="What to group by; repeatable.",
)
@click.option(
    "--filter", "filters", multiple=True, metavar="CONDITION", help="Which rows or groups count; repeatable."
)
@click.option("--segment", "segments", multiple=True, metavar="NAME", help="A named condition; repeatable.")
@click.option("--order-by", multiple=True, metavar="FIELD[:asc|desc]", help="How to sort; repeatable.")
@click.option("--limit", type=click.IntRange(0), help="At most so many rows; 1000 when not given.")
@click.option(
    "--include-empty/--no-include-empty", default=None, help="Also dimension members without facts (default)."
)
@click.option(
    "--via", multiple=True, metavar="[SOURCE=]JOIN", help="A join that the way must take; repeatable."
)
@click.option(
    "--fill", type=click.Choice(["zero", "null"]), help="Also periods in which nothing happened, so filled."
)
@click.option(
    "--format", "form", type=click.Choice(["json", "sql"]), help="Compile only: the SQL, or JSON with it."
)
@click.option("--execute", is_flag=True, help="Run it; the default when no --format is given.")
@click.option("--max-rows", type=click.IntRange(1), help="Never more rows than this, whatever the limit.")
@click.option(
    "--receipt",
    "has_receipt",
    is_flag=True,
    help="Add what the answer rests on: definitions and their commits, joins, filters, rows counted.",
)
@click.option(
    "--explain", "is_explained", is_flag=True, help="Say how the question is answered; nothing is run."
)
@_connection_option
@json_option
@project_option
def query(
    *,
    project: Project,
    query_file: TextIO | None,
    form: str | None,
    execute: bool,
    max_rows: int | None,
    has_receipt: bool,
    is_explained: bool,
    connection_id: str | None,
    as_json: bool,
    **question: Any,
) -> None:
    """Answer a semantic question with rows that are right, or refuse it and say why.

    \b
    ktx sl query --measure orders.revenue --dimension customers.country --order-by revenue:desc --limit 5
    ktx sl query --query-file question.json --execute --json

    A measure may be an expression: --measure "sum(orders.amount) / count(customers.id)". Its own name or filter, `offset`, `rolling`,
    `cumulative` and `percent_of_total` are said in a query file.
    """
    from ktx.serve.query import explain, merge_options, parse_ask, parse_query_text, sl_compile, sl_query

    is_json = as_json or form == "json"
    with errors_as_json(is_wanted=is_json):
        data = parse_query_text(read_given(query_file)) if query_file is not None else {}
        parts = ["sql", "plan"] if is_explained else ["sql"]
        ask = parse_ask({"include": parts, **merge_options(data, **question)})
        include = (*ask.include, "receipt") if has_receipt else ask.include
        ask = replace(
            ask, connection_id=connection_id or ask.connection_id, max_rows=max_rows, include=include
        )
        with Desk(project=project, recheck_s=math.inf) as desk:
            if is_explained and not is_json:
                write_text(explain(desk, ask))
            elif is_explained or (form is not None and not execute):
                _show_compiled(sl_compile(desk, ask), is_json=is_json)
            else:
                _show_rows(sl_query(desk, ask), is_json=is_json, has_sql=form == "sql")


def _show_compiled(answer: CompiledAnswer, *, is_json: bool) -> None:
    if is_json:
        write_json(answer.plain())
        return
    write_text(answer.sql)
    for warning in answer.warnings:
        say(f"warning: {warning}")


def _show_rows(answer: QueryAnswer, *, is_json: bool, has_sql: bool) -> None:
    if is_json:
        write_json(answer.plain())
        return
    if has_sql and answer.sql:
        say(answer.sql)
    numbers = [
        header
        for at, header in enumerate(answer.headers)
        if any(isinstance(row[at], int | float) for row in answer.rows)
    ]
    write_table(answer.headers, answer.rows, right=numbers)
    for line in answer.warnings:
        say(f"warning: {line}")
    for line in answer.notes or ():
        say(f"note: {line}")
    if answer.receipt is not None:
        for line in receipt_lines(answer.receipt):
            say(line)
