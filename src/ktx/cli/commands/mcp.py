"""`ktx mcp`: the context for agents, over the Model Context Protocol."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import click

from ktx.cli.options import json_option, project_option
from ktx.cli.render.data import write_json, write_text
from ktx.cli.render.narrate import say
from ktx.config import env
from ktx.errors import UsageError
from ktx.mcp.address import DEFAULT_HOST, DEFAULT_PORT, ensure_token
from ktx.project import Project
from ktx.serve.fit import DEFAULT_MAX_TOKENS, LEAST_MAX_TOKENS, MOST_MAX_TOKENS

if TYPE_CHECKING:
    from ktx.mcp.daemon import StartOrder

Result = TypeVar("Result")

# The protocol's package takes most of a second to import; what needs it is imported by the command that does.

_REMEMBER_S = 30.0
"""How long a text being remembered may finish once the client has closed stdin; most clients end the process long before."""


@click.group()
def mcp() -> None:
    """Serve the context to agents over the Model Context Protocol."""


def _max_tokens_option(command: Callable[..., Result]) -> Callable[..., Result]:
    return click.option(
        "--max-tokens",
        type=click.IntRange(LEAST_MAX_TOKENS, MOST_MAX_TOKENS),
        default=DEFAULT_MAX_TOKENS,
        show_default=True,
        help="No answer is longer; what is cut is said.",
    )(command)


def _address_options(command: Callable[..., Result]) -> Callable[..., Result]:
    for option in (
        click.option(
            "--allowed-origin", multiple=True, help="A web page's origin that may call; none may by default."
        ),
        click.option("--allowed-host", multiple=True, help="One more host name that clients may use."),
        click.option("--port", type=click.IntRange(0, 65535), help=f"[default: {DEFAULT_PORT}]"),
        click.option("--host", help=f"[default: {DEFAULT_HOST}]"),
    ):
        command = option(command)
    return command


@mcp.command()
@_max_tokens_option
@project_option
def stdio(*, project: Project, max_tokens: int) -> None:
    """Answer an agent on stdin and stdout: what an agent's configuration starts by itself.

    \b
    {"mcpServers": {"ktx": {"command": "ktx", "args": ["--project-dir", "DIR", "mcp", "stdio"]}}}
    """
    from ktx.mcp.stdio import serve_stdio
    from ktx.serve.live import LiveDesk

    with LiveDesk(project, finish_s=_REMEMBER_S) as desks:
        serve_stdio(desks, max_tokens=max_tokens)


@mcp.command()
@click.option("--foreground", is_flag=True, help="Run here, with the log on stderr, until Ctrl-C.")
@_address_options
@click.option(
    "--token", help="What clients must send; KTX_MCP_TOKEN is better, arguments can be seen by others."
)
@_max_tokens_option
@json_option
@project_option
def start(
    *,
    project: Project,
    foreground: bool,
    host: str | None,
    port: int | None,
    allowed_host: tuple[str, ...],
    allowed_origin: tuple[str, ...],
    token: str | None,
    max_tokens: int,
    as_json: bool,
) -> None:
    """Serve over HTTP, in the background, and print the address once the server answers."""
    from ktx.mcp.daemon import StartOrder, clear_stale
    from ktx.mcp.daemon import start as start_server

    secret = token or env.get("KTX_MCP_TOKEN")
    ensure_token(host or DEFAULT_HOST, secret)
    order = StartOrder(
        host=host, port=port, allowed_hosts=allowed_host, allowed_origins=allowed_origin, token=secret,
        max_tokens=max_tokens,
    )  # fmt: skip
    if clear_stale(project):
        say("A server that ended without a word was cleared away.")
    if foreground:
        _serve(project, order, log=None)
        return
    state, was_running = start_server(project, order, env.snapshot())
    say(f"The server {'was running already' if was_running else 'answers'} (process {state.pid}).")
    if as_json:
        write_json(state.model_dump(mode="json"))
    else:
        write_text(state.url)


@mcp.command("serve-internal", hidden=True)
@_address_options
@_max_tokens_option
@project_option
def serve_internal(
    *,
    project: Project,
    host: str | None,
    port: int | None,
    allowed_host: tuple[str, ...],
    allowed_origin: tuple[str, ...],
    max_tokens: int,
) -> None:
    """Be the background server that `start` starts."""
    from ktx.mcp.daemon import StartOrder, log_path

    order = StartOrder(
        host=host, port=port, allowed_hosts=allowed_host, allowed_origins=allowed_origin,
        token=env.get("KTX_MCP_TOKEN"), max_tokens=max_tokens,
    )  # fmt: skip
    _serve(project, order, log=log_path(project))


def _serve(project: Project, order: "StartOrder", *, log: Path | None) -> None:
    from ktx.mcp.run import run_server

    run_server(project, order, log=log, say=say)


@mcp.command()
@project_option
def stop(*, project: Project) -> None:
    """Stop the background server; calls in flight may finish, for some seconds."""
    from ktx.mcp.daemon import stop as stop_server

    match stop_server(project):
        case "stopped":
            say("The server is stopped.")
        case "killed":
            say("The server did not end in time and was killed.")
        case "none":
            say("No server is running.")


@mcp.command()
@json_option
@project_option
def status(*, project: Project, as_json: bool) -> int:
    """Say whether a server is running, and where; exit code 1 when none answers."""
    from ktx.mcp.daemon import read_standing

    standing = read_standing(project)
    state = standing.state
    if as_json:
        known = state.model_dump(mode="json") | {"url": state.url} if state is not None else {}
        write_json({"status": standing.status, **known})
    else:
        write_text(standing.status)
        if state is not None and standing.status != "stale":
            access = "with a token" if state.token_auth else "without a token"
            say(f"{state.url}, {access}, process {state.pid}, since {state.started_at}")
        elif standing.status == "stale":
            say("Its server ended without a word; `ktx mcp start` clears this away.")
    return 0 if standing.status == "running" else 1


@mcp.command()
@click.option("--follow", "-f", is_flag=True, help="Go on with what the server writes, until Ctrl-C.")
@click.option("--lines", "-n", type=click.IntRange(0), default=50, show_default=True)
@project_option
def logs(*, project: Project, follow: bool, lines: int) -> None:
    """Print the end of the background server's log."""
    from ktx.mcp import daemon

    path = daemon.log_path(project)
    if not path.exists() and not follow:
        message = "There is no log yet: no server was started in the background."
        raise UsageError(message, hint="Start one with `ktx mcp start`.")
    for line in daemon.last_lines(path, lines):
        click.echo(line)
    if follow:
        for text in daemon.follow(path, is_over=lambda: False):
            click.echo(text, nl=False)
