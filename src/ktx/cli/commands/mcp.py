"""`ktx mcp`: the context for agents, over the Model Context Protocol."""

import click

from ktx.cli.options import project_option
from ktx.project import Project
from ktx.serve.desk import Desk


@click.group()
def mcp() -> None:
    """Serve the context to agents over the Model Context Protocol."""


@mcp.command()
@project_option
def stdio(*, project: Project) -> None:
    """Answer an agent on stdin and stdout: what an agent's configuration starts by itself.

    \b
    {"mcpServers": {"ktx": {"command": "ktx", "args": ["--project-dir", "DIR", "mcp", "stdio"]}}}
    """
    # The protocol's package takes most of a second to import; `--help` does without it.
    from ktx.mcp.stdio import serve_stdio

    with Desk(project=project) as desk:
        serve_stdio(desk)
