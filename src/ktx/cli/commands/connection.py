"""`ktx connection`: what is configured, and whether it answers."""

from collections.abc import Sequence

import click

from ktx.cli.options import json_option, project_option
from ktx.cli.render.data import write_json, write_table
from ktx.cli.render.narrate import say
from ktx.config.connections import is_warehouse
from ktx.errors import UsageError
from ktx.project import Project
from ktx.status.run import run_connection_checks
from ktx.suggest import did_you_mean


@click.group()
def connection() -> None:
    """List and test the connections of ktx.yaml."""


@connection.command("list")
@project_option
@json_option
def list_connections(*, project: Project, as_json: bool) -> None:
    """List the warehouses and context sources."""
    found = [
        {
            "id": name,
            "driver": connection.driver,
            "kind": "warehouse" if is_warehouse(connection) else "context source",
        }
        for name, connection in project.config.connections.items()
    ]
    if as_json:
        write_json({"connections": found})
        return
    if not found:
        say("No connections yet: name one under `connections` in ktx.yaml.")
        return
    write_table(("id", "driver", "kind"), [tuple(row.values()) for row in found])


@connection.command("test")
@click.argument("connection_id", metavar="[ID]", required=False)
@click.option("--all", "is_all", is_flag=True, help="Test every connection; the default without an ID.")
@project_option
@json_option
def test_connections(*, project: Project, connection_id: str | None, is_all: bool, as_json: bool) -> int:
    """Contact one connection, or all.

    Exits as other commands do: with 2 when ktx.yaml has to change before one can answer, with 3 when one does not answer.
    """
    checks = run_connection_checks(project, _chosen(project, connection_id, is_all=is_all))
    if as_json:
        rows = [{"id": c.subject, "status": c.status, "detail": c.detail, "fix": c.fix} for c in checks]
        write_json({"connections": rows})
    else:
        write_table(("id", "status", "detail"), [(c.subject, c.status, c.detail) for c in checks])
        for fix in dict.fromkeys(check.fix for check in checks if check.fix):
            say(f"hint: {fix}")
    return min((check.exit_code for check in checks if check.status == "fail"), default=0)


def _chosen(project: Project, connection_id: str | None, *, is_all: bool) -> Sequence[str]:
    names = tuple(project.config.connections)
    if connection_id is None:
        if not names:
            raise UsageError(
                "There is no connection to test.", hint="Name one under `connections` in ktx.yaml."
            )
        return names
    if is_all:
        raise UsageError(f"`{connection_id}` and --all exclude each other.", hint="Give one of them.")
    if connection_id not in names:
        raise UsageError(
            f"There is no connection `{connection_id}`.{did_you_mean(connection_id, names)}",
            hint="`ktx connection list` shows them.",
        )
    return (connection_id,)
