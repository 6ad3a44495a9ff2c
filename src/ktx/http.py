"""The one factory of HTTP clients: every client of ours has time limits, an honest name, and no hidden retries."""

import httpx2

from ktx.version import __version__

CONNECT_S = 10.0


def open_client(
    *,
    base_url: str = "",
    headers: dict[str, str] | None = None,
    timeout_s: float = 60.0,
    proxy: str | None = None,
) -> httpx2.Client:
    """Open a client; close it, or use it in a `with` block.

    `timeout_s` bounds each wait for the server, not the whole exchange. Redirects are not followed: a credential must not
    travel to another host. Proxies of the environment hold unless `proxy` names one.
    """
    return httpx2.Client(
        base_url=base_url,
        headers={"User-Agent": f"ktx/{__version__}", **(headers or {})},
        timeout=httpx2.Timeout(timeout_s, connect=CONNECT_S),
        follow_redirects=False,
        proxy=proxy,
    )
