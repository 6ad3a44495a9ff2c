"""Whether a tool answers, and takes the credential: one log-in per kind, nothing read of its content."""

import contextlib
from typing import Final, Literal, TypeAlias

from ktx.errors import ConfigError, OutsideError, SourceError
from ktx.sources.api import Api, Refused
from ktx.sources.loose import as_mapping

_TIMEOUT_S: Final = 15.0
_TRIES: Final = 2
_LOOKER: Final = "/api/4.0"
_NOTION_VERSION: Final = "2025-09-03"
NOTION_URL: Final = "https://api.notion.com"
_Tool: TypeAlias = Literal["Looker", "Metabase", "Notion"]


def reach_metabase(*, url: str, api_key: str, proxy: str | None, hint: str) -> str:
    """Ask a Metabase whose key it is, and say so. `GET /api/user/current`, as Metabase's API reference has it.

    Raises:
        ConfigError: it refuses the key, or there is no Metabase at this address.
        SourceError: it cannot be reached.
    """
    base_url = url.rstrip("/").removesuffix("/api")
    with _api("Metabase", base_url, {"x-api-key": api_key}, hint, proxy=proxy) as api:
        user = as_mapping(_asked(api, "Metabase", "/api/user/current", hint))
    return _as_user(user.get("common_name") or user.get("email"))


def reach_looker(*, base_url: str, client_id: str, client_secret: str, hint: str) -> str:
    """Log in to a Looker and out again. `POST /api/4.0/login`, as Looker's API reference has it.

    Raises:
        ConfigError: it refuses the log-in, or there is no Looker at this address.
        SourceError: it cannot be reached.
    """
    root = base_url.rstrip("/").removesuffix(_LOOKER).removesuffix("/api")
    with _api("Looker", root, {}, hint) as api:
        form = {"client_id": client_id, "client_secret": client_secret}
        try:
            answer = as_mapping(api.call("POST", f"{_LOOKER}/login", form=form, tries=_TRIES))
        except Refused as error:
            if error.status >= 500:
                raise
            raise ConfigError(f"Looker refuses the log-in ({error.status}).", hint=hint) from error
        token = answer.get("access_token")
        if not isinstance(token, str) or not token.isascii() or not token.isprintable():
            raise SourceError("Looker's answer to the log-in holds no token.", hint=hint)
        with contextlib.suppress(OutsideError, ConfigError):  # the token runs out by itself
            api.call("DELETE", f"{_LOOKER}/logout", headers={"Authorization": f"Bearer {token}"}, tries=1)
    return "answers, and takes the log-in"


def reach_notion(*, auth_token: str, hint: str, base_url: str = NOTION_URL) -> str:
    """Ask Notion whose token it is, and say so. `GET /v1/users/me`, as Notion's API reference has it.

    Raises:
        ConfigError: it refuses the token.
        SourceError: it cannot be reached.
    """
    headers = {"Authorization": f"Bearer {auth_token}", "Notion-Version": _NOTION_VERSION}
    with _api("Notion", base_url, headers, hint) as api:
        return _as_user(as_mapping(_asked(api, "Notion", "/v1/users/me", hint)).get("name"))


def _api(tool: _Tool, base_url: str, headers: dict[str, str], hint: str, *, proxy: str | None = None) -> Api:
    try:
        return Api(
            tool=tool, base_url=base_url, headers=headers, login_hint=hint, proxy=proxy, timeout_s=_TIMEOUT_S
        )
    except (ValueError, UnicodeError) as error:
        raise ConfigError(f"The address or the credential of {tool} cannot be used.", hint=hint) from error


def _asked(api: Api, tool: _Tool, path: str, hint: str) -> object:
    try:
        return api.get(path, tries=_TRIES)
    except Refused as error:
        if error.status >= 500:
            raise
        said = (
            "refuses the credential"
            if error.status == 403
            else "has no such answer; the address may be wrong"
        )
        raise ConfigError(f"{tool} {said} ({error.status}).", hint=hint) from error


def _as_user(name: object) -> str:
    said = " ".join(name.split())[:60] if isinstance(name, str) else ""
    return f"answers, as `{said}`" if said else "answers, and takes the log-in"
