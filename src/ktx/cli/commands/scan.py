"""`ktx scan`: what the last scan knows, and why."""

from collections.abc import Iterator

import click

from ktx.cli.options import json_option, project_option
from ktx.cli.render.data import write_json, write_text
from ktx.ingest.explain import Explanation, explain_column
from ktx.project import Project


@click.group()
def scan() -> None:
    """Ask what the last scan knows, and why."""


@scan.command()
@click.argument("name", metavar="TABLE.COLUMN")
@click.option("-c", "--connection-id", help="The database, when several have that column.")
@project_option
@json_option
def explain(*, project: Project, name: str, connection_id: str | None, as_json: bool) -> None:
    """Show a column's facts, keys and relationships, each with its evidence."""
    found = explain_column(project, name, connection_id=connection_id)
    if as_json:
        write_json(found)
    else:
        write_text("\n".join(_lines(found)))


def _lines(found: Explanation) -> Iterator[str]:
    column, profile = found.column, found.profile
    null = "may be null" if column.is_nullable else "never null"
    yield f"{found.connection_id}: {found.table}.{column.name}"
    yield f"  type        {column.native_type} ({column.kind}), {null}, {found.key}"
    if column.comment:
        yield f"  comment     {column.comment}"
    if profile is None:
        yield "  data        not profiled"
    else:
        whole = (
            "all rows"
            if found.profiled_rows == found.row_count
            else f"of {found.row_count:,} rows"
            if found.row_count
            else ""
        )
        yield (
            f"  data        {found.profiled_rows:,} rows read ({whole}): {profile.null_count:,} null, "
            f"{profile.distinct_count:,} distinct"
        )
        if profile.min_value is not None:
            yield f"  range       {profile.min_value} … {profile.max_value}"
        if profile.top_values:
            values = ", ".join(value for value, _ in profile.top_values[:5])
            yield f"  values      {values}{', …' if len(profile.top_values) > 5 else ''}"
    if not found.relationships:
        yield "  relationships: none found"
    for link, reasons in found.relationships:
        yield f"  {link.decision}  {link.text}  [{link.origin}] score {link.score:.2f}, id {link.id}"
        for reason in reasons:
            yield f"      {reason}"
