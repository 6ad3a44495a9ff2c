"""Where the HTTP server is: its defaults, its paths, and how this machine reaches it. Imports nothing heavy."""

import ipaddress

from ktx.errors import ConfigError

DEFAULT_HOST = "127.0.0.1"
DEFAULT_PORT = 7878
MCP_PATH = "/mcp"
HEALTH_PATH = "/health"


def reachable_host(host: str) -> str:
    """Give the host under which this machine reaches a server bound to `host`, in brackets where a URL needs them.

    >>> reachable_host("0.0.0.0"), reachable_host("::1")
    ('127.0.0.1', '[::1]')
    """
    name = {"0.0.0.0": "127.0.0.1", "::": "::1", "": "127.0.0.1"}.get(host, host)  # noqa: S104 - read, not bound
    return f"[{name}]" if ":" in name else name


def server_url(host: str, port: int) -> str:
    """Give the address that clients on this machine use.

    >>> server_url("127.0.0.1", 7878)
    'http://127.0.0.1:7878/mcp'
    """
    return f"http://{reachable_host(host)}:{port}{MCP_PATH}"


def is_loopback(host: str) -> bool:
    """Tell whether only this machine can reach a server that binds to `host`."""
    if host.casefold() == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def ensure_token(host: str, token: str | None) -> None:
    """Check that whoever can reach the server needs a token, unless only this machine can.

    Raises:
        ConfigError: there is none, or it cannot travel in a header.
    """
    if token is None and not is_loopback(host):
        raise ConfigError(
            f"A server on `{host}` can be reached from other machines, so it needs a token.",
            hint="Set KTX_MCP_TOKEN (better than --token, which other users of this machine can see).",
        )
    if token is not None and (not token.isascii() or not token.isprintable() or " " in token):
        raise ConfigError(
            "The token holds a character that cannot travel in a header.",
            hint="Use ASCII letters and digits.",
        )
