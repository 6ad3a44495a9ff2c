"""Where a repository is: the forms of address that are accepted, taken apart, with any secret out of the address."""

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Literal
from urllib.parse import SplitResult, quote, unquote, urlsplit, urlunsplit

from ktx.errors import ConfigError

_FORMS: Final = (
    "Give `https://host/path`, `ssh://user@host/path`, `user@host:path`, `file:///path` or an absolute path."
)
_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://")
_SCP = re.compile(r"(?:[A-Za-z0-9_][A-Za-z0-9_.+-]*@)?[A-Za-z0-9][A-Za-z0-9_.-]*:(?!:)[^\s].*")
_DRIVE = re.compile(r"[A-Za-z]:[\\/]")
_LOOPBACK: Final = frozenset({"localhost", "127.0.0.1", "::1"})
_LOOKS_SECRET = re.compile(r"(?:gh[a-z]_|github_pat_|glpat-).*|[A-Za-z0-9_.=-]{20,}")
_USER_OF_TOKEN: Final = {"bitbucket.org": "x-token-auth"}


@dataclass(frozen=True, kw_only=True)
class Address:
    """A repository's address. `url` is what git is given and holds no secret; `host` has the port where one is given."""

    kind: Literal["https", "http", "ssh", "file"]
    url: str
    host: str = ""
    user: str = ""
    secret: str | None = field(default=None, repr=False)

    @property
    def secrets(self) -> tuple[str, ...]:
        """What no message may show."""
        return (self.secret, quote(self.secret, safe="")) if self.secret else ()


def parse_address(url: str, *, token: str | None) -> Address:
    """Take an address apart. A password in it is used as the token would be, and is not part of `Address.url`.

    Raises:
        ConfigError: the form or the transport is not accepted, or a secret would travel in the clear.
    """
    if not url or url.startswith("-") or any(ord(letter) < 32 or ord(letter) == 127 for letter in url):
        raise ConfigError("The address of the git repository is empty or not an address.", hint=_FORMS)
    if token is not None and (not token or any(ord(letter) < 32 for letter in token)):
        raise ConfigError("The token for the git repository is empty or spans lines.")
    scheme = _SCHEME.match(url)
    if scheme is not None:
        return _of_url(url, scheme[1].lower(), token)
    if _DRIVE.match(url) or Path(url).is_absolute():
        return Address(kind="file", url=url)
    if _SCP.fullmatch(url) and "/" not in url.partition(":")[0]:
        return Address(kind="ssh", url=url, host=url.partition(":")[0].rpartition("@")[2])
    raise ConfigError(
        f"`{redacted(url)}` is not the address of a git repository that ktx opens.", hint=_FORMS
    )


def redacted(text: str, secrets: tuple[str, ...] = ()) -> str:
    """Give a text without these secrets and without what stands before `@` in any URL."""
    for secret in secrets:
        text = text.replace(secret, "…")
    return re.sub(r"(?<=://)[^/\s@']+@", "", text)


def _of_url(url: str, scheme: str, token: str | None) -> Address:
    try:
        parts = urlsplit(url)
        _ = parts.port
    except ValueError as error:
        raise ConfigError(
            "The address of the git repository is not a URL that can be read.", hint=_FORMS
        ) from error
    if scheme == "file":
        if parts.hostname not in (None, "localhost"):
            raise ConfigError(
                f"`{redacted(url)}` names another computer; a `file:` address has three slashes."
            )
        return Address(kind="file", url=f"file://{parts.path}")
    if scheme == "ssh":
        host = parts.hostname or ""
        if not host or host.startswith("-") or (parts.username or "").startswith("-"):
            raise ConfigError("The address of the git repository names no host.", hint=_FORMS)
        user = f"{parts.username}@" if parts.username else ""
        return Address(
            kind="ssh", url=urlunsplit(parts._replace(netloc=f"{user}{_host(parts)}")), host=_host(parts)
        )
    if scheme not in ("https", "http"):
        raise ConfigError(f"git repositories are not opened over `{scheme}:`.", hint=_FORMS)
    return _of_web(parts, "https" if scheme == "https" else "http", token)


def _of_web(parts: SplitResult, kind: Literal["https", "http"], token: str | None) -> Address:
    if not parts.hostname:
        raise ConfigError("The address of the git repository names no host.", hint=_FORMS)
    given_user, given_secret = unquote(parts.username or ""), unquote(parts.password or "") or None
    if any(ord(letter) < 32 for letter in f"{given_user}{given_secret or ''}"):
        raise ConfigError("The address of the git repository holds a control character.", hint=_FORMS)
    # `https://TOKEN@host`: what stands alone before the host may be the secret itself.
    lone = given_user if given_user and not given_secret and _LOOKS_SECRET.fullmatch(given_user) else None
    secret = token or given_secret or lone
    if secret and kind == "http" and parts.hostname not in _LOOPBACK:
        raise ConfigError(
            f"A token would travel unencrypted to `{parts.hostname}`.",
            hint="Use the repository's https: address.",
        )
    user = "" if lone else given_user
    # A name without a secret stays: the user's own credential helper looks it up.
    shown = f"{quote(user, safe='')}@{_host(parts)}" if user and not secret else _host(parts)
    return Address(
        kind=kind,
        url=urlunsplit((kind, shown, parts.path, parts.query, "")),
        host=_host(parts),
        user=user or _USER_OF_TOKEN.get(parts.hostname, "x-access-token"),
        secret=secret,
    )


def _host(parts: SplitResult) -> str:
    return parts.netloc.rpartition("@")[2]
