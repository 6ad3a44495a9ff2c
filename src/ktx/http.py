"""The one factory of HTTP clients: every client of ours has time limits, an honest name, and no hidden retries."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import httpx2

from ktx.errors import OutsideError
from ktx.version import __version__

CONNECT_S = 10.0


@dataclass(frozen=True, kw_only=True)
class Answer:
    """A server's answer; `retry_after_s` is how long it asks to wait, where it says so in seconds."""

    status: int
    body: bytes = field(repr=False)
    retry_after_s: float | None = None


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


def post_json(client: httpx2.Client, url: str, payload: Mapping[str, object]) -> Answer:
    """Send JSON and give the answer, whatever its status.

    Raises:
        OutsideError: no answer came.
    """
    return request(client, "POST", url, payload=payload)


def request(
    client: httpx2.Client,
    method: str,
    url: str,
    *,
    query: Mapping[str, str | int | bool] | None = None,
    payload: object = None,
    form: Mapping[str, str] | None = None,
    headers: Mapping[str, str] | None = None,
) -> Answer:
    """Send one request, with a JSON `payload` or a `form`, and give the answer, whatever its status.

    Raises:
        OutsideError: no answer came, or it broke off.
    """
    try:
        reply = client.request(
            method,
            url,
            params=dict(query) if query else None,
            json=payload,
            data=dict(form) if form else None,
            headers=dict(headers) if headers else None,
        )
    except (httpx2.HTTPError, httpx2.InvalidURL) as error:
        message = f"`{url}` cannot be reached: {type(error).__name__}"
        raise OutsideError(message, hint="check the address and the network") from error
    return Answer(
        status=reply.status_code,
        body=reply.content,
        retry_after_s=_seconds(reply.headers.get("retry-after")),
    )


def _seconds(text: str | None) -> float | None:
    return float(text) if text is not None and text.isdigit() else None
