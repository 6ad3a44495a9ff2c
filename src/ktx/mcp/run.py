"""Being the HTTP server of a project, in the foreground or as the background process: lock, port, log, state, service."""

import logging
import sys
import time
from collections.abc import Callable
from pathlib import Path

from ktx.mcp.address import DEFAULT_HOST, DEFAULT_PORT, ensure_token, server_url
from ktx.mcp.daemon import StartOrder, announced
from ktx.mcp.gate import Rules, allowed_hosts
from ktx.mcp.http import bind, serve_http
from ktx.project import Project
from ktx.serve.fit import DEFAULT_MAX_TOKENS
from ktx.serve.live import LiveDesk

_REMEMBER_S = 3.0
"""How long a text being remembered may finish once the server is told to stop, so that the stop is over within 10 s."""


def run_server(project: Project, order: StartOrder, *, log: Path | None, say: Callable[[str], None]) -> None:
    """Serve until told to stop by a signal. `log` is the file that stderr goes to, None in the foreground.

    Raises:
        OutsideError: the port is taken, or the project has a server already.
        ConfigError: other machines could reach the server, and there is no token.
    """
    host = DEFAULT_HOST if order.host is None else order.host
    ensure_token(host, order.token)
    _log_to_stderr()
    rules = Rules(
        hosts=allowed_hosts(host, order.allowed_hosts),
        origins=frozenset(order.allowed_origins),
        token=order.token,
    )
    listener = bind(host, DEFAULT_PORT if order.port is None else order.port)
    port: int = listener.getsockname()[1]
    with (
        listener,
        announced(project, host=host, port=port, has_token=order.token is not None, log=log) as announce,
        LiveDesk(project, finish_s=_REMEMBER_S) as desks,
    ):

        def listening() -> None:
            announce()
            say(f"Listening on {server_url(host, port)}")

        serve_http(
            desks, listener, rules, max_tokens=order.max_tokens or DEFAULT_MAX_TOKENS, on_listening=listening
        )
    say("The server has ended.")


def _log_to_stderr() -> None:
    """Write our own lines at INFO and those of libraries from WARNING on, in UTC."""
    handler = logging.StreamHandler(sys.stderr)
    formatter = logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s", "%Y-%m-%dT%H:%M:%SZ")
    formatter.converter = time.gmtime
    handler.setFormatter(formatter)
    root = logging.getLogger()
    root.addHandler(handler)
    root.setLevel(logging.WARNING)
    logging.getLogger("ktx").setLevel(logging.INFO)
