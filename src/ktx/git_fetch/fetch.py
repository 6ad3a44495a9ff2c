"""Fetching a branch: one cache folder per repository, a lock around it, and one folder of files per commit.

```text
<cache>/<name>-<digest of the address>/
├── lock
├── askpass.sh            only when a token is given; holds none
├── objects-40.git/       a bare repository of the newest commit of each branch asked for
└── commits/<commit>/     its files, or those of a subpath
```
"""

import contextlib
import posixpath
import re
import shutil
import tempfile
from collections.abc import Generator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from ktx.errors import ConfigError, SourceError
from ktx.files import digest
from ktx.git_fetch.address import Address, parse_address
from ktx.git_fetch.export import Entry, follow_links, is_whole, list_entries, under, write_files
from ktx.git_fetch.remote import Remote
from ktx.suggest import did_you_mean

DEFAULT_BRANCH: Final = "main"
_KEPT_COMMITS: Final = 3
_SHOWN: Final = 8
_LOCK_S: Final = 900.0
_PROBE_S: Final = 45.0
_BRANCH = re.compile(r"(?!-)(?!/)(?!.*(?:\.\.|@\{|//|\.lock(?:/|$)))[^\x00-\x20\x7f~^:?*\[\\]+(?<![./])")
_TIDY = (
    "-c",
    "gc.auto=6700",
    "-c",
    "gc.autoDetach=false",
    "-c",
    "gc.pruneExpire=now",
    "gc",
    "--auto",
    "--quiet",
)


@dataclass(frozen=True, kw_only=True)
class Checkout:
    """The files of a branch at `commit`."""

    root: Path
    commit: str


def fetch_branch(
    *,
    url: str,
    branch: str,
    subpath: str,
    token: str | None,
    cache_dir: Path,
    environment: Mapping[str, str],
) -> Checkout:
    """Make the files of a branch, at or under `subpath`, available as they are at the remote right now.

    `environment` is the process's own. An unchanged branch costs one question to the remote.

    Raises:
        ConfigError: the address, the branch, the subpath or the credentials are wrong.
        SourceError: the remote could not be read; what was fetched before is not given in its place.
    """
    address = parse_address(url, token=token)
    inner = _plain_subpath(subpath)
    if _BRANCH.fullmatch(branch) is None:
        raise ConfigError(f"`{branch}` is not the name of a git branch.")
    home = cache_dir.resolve() / _folder_name(address)
    try:
        home.mkdir(parents=True, exist_ok=True)
        with _locked(home, address):
            remote = Remote.reach(address, home, environment=environment)
            return _check_out(remote, branch, inner)
    except OSError as error:
        raise SourceError(f"The cache folder `{home}` cannot be used: {error.strerror}.") from error


def probe_branch(*, url: str, branch: str, token: str | None, environment: Mapping[str, str]) -> str:
    """Give the newest commit of a branch; nothing is fetched or kept.

    Raises:
        ConfigError: the address, the branch or the credentials are wrong.
        SourceError: the remote could not be read.
    """
    address = parse_address(url, token=token)
    if _BRANCH.fullmatch(branch) is None:
        raise ConfigError(f"`{branch}` is not the name of a git branch.")
    with tempfile.TemporaryDirectory(prefix="ktx-") as home:
        remote = Remote.reach(address, Path(home), environment=environment, timeout_s=_PROBE_S)
        commit = remote.branches(branch).get(branch)
        if commit is None:
            raise _no_branch(remote, branch)
    return commit


def _check_out(remote: Remote, branch: str, subpath: str) -> Checkout:
    """Fetch and lay out; a cache that turns out to be broken is made anew, once."""
    commit = remote.branches(branch).get(branch)
    if commit is None:
        raise _no_branch(remote, branch)
    git_dir = remote.home / f"objects-{len(commit)}.git"
    try:
        return _fetch(remote, git_dir, commit, branch=branch, subpath=subpath)
    except SourceError:
        if not _is_broken(remote, git_dir):
            raise
    shutil.rmtree(git_dir, ignore_errors=True)
    return _fetch(remote, git_dir, commit, branch=branch, subpath=subpath)


def _fetch(remote: Remote, git_dir: Path, commit: str, *, branch: str, subpath: str) -> Checkout:
    """Bring the branch's newest commit into the cache, unless it is there, and give its files."""
    if not (git_dir / "HEAD").exists():
        _init(remote, git_dir, len(commit))
    kept = f"refs/ktx/{digest(branch)[:24]}"
    # A complete commit is one that its ref names: git moves a ref only when all objects have arrived.
    found = _commit_of(remote, git_dir, kept)
    if found != commit:
        remote.run(
            "fetch", "--quiet", "--depth=1", "--no-tags", "--no-recurse-submodules", "--no-write-fetch-head",
            "--force", "--", remote.address.url, f"+refs/heads/{branch}:{kept}", folder=git_dir,
        )  # fmt: skip
        remote.run(*_TIDY, folder=git_dir)
        found = _commit_of(remote, git_dir, kept)  # the branch may have moved on since it was asked for
    if found is None:
        raise SourceError(f"{remote.shown} sent no commit for the branch `{branch}`.")
    return Checkout(root=_lay_out(remote, git_dir, found, subpath), commit=found)


def _lay_out(remote: Remote, git_dir: Path, commit: str, subpath: str) -> Path:
    environment = remote.inside(git_dir)
    everything = follow_links(
        git_dir, list_entries(git_dir, commit, environment=environment), environment=environment
    )
    entries = under(everything, subpath)
    if subpath and not entries:
        raise _no_subpath(remote, everything, subpath)
    commits = remote.home / "commits"
    folder = commits / (f"{commit}-{digest(subpath)[:12]}" if subpath else commit)
    if not is_whole(entries, folder):
        write_files(git_dir, entries, folder, environment=environment)
    folder.touch()
    for stale in sorted(commits.iterdir(), key=lambda each: each.stat().st_mtime, reverse=True)[
        _KEPT_COMMITS:
    ]:
        if stale != folder:
            shutil.rmtree(stale, ignore_errors=True)
    return folder


def _init(remote: Remote, git_dir: Path, width: int) -> None:
    shutil.rmtree(git_dir, ignore_errors=True)
    kind = "sha256" if width == 64 else "sha1"
    remote.run("init", "--quiet", "--bare", "--template=", f"--object-format={kind}", str(git_dir))


def _commit_of(remote: Remote, git_dir: Path, ref: str) -> str | None:
    told = remote.run("for-each-ref", "--format=%(objectname)", ref, folder=git_dir)
    return told.strip() or None


def _is_broken(remote: Remote, git_dir: Path) -> bool:
    """Tell whether the cache itself is at fault."""
    try:
        remote.run("fsck", "--connectivity-only", "--no-dangling", "--no-progress", folder=git_dir)
    except (SourceError, ConfigError):
        return True
    return False


@contextlib.contextmanager
def _locked(home: Path, address: Address) -> Generator[None]:
    from filelock import FileLock, Timeout  # it pulls in asyncio, and only a fetch needs it

    try:
        with FileLock(home / "lock", timeout=_LOCK_S):
            yield
    except Timeout as error:
        raise SourceError(
            f"Another ktx command has been fetching from `{address.url}` for more than {_LOCK_S:g} s."
        ) from error


def _no_branch(remote: Remote, branch: str) -> ConfigError:
    known = tuple(remote.branches())
    if not known:
        return ConfigError(f"{remote.shown} has no branch yet.", hint="Push a commit to it first.")
    shown = ", ".join(f"`{name}`" for name in known[:_SHOWN]) + (", …" if len(known) > _SHOWN else "")
    return ConfigError(
        f"{remote.shown} has no branch `{branch}`.{did_you_mean(branch, known)}",
        hint=f"Set `branch` to one that it has: {shown}.",
    )


def _no_subpath(remote: Remote, entries: tuple[Entry, ...], subpath: str) -> ConfigError:
    if any(entry.path == subpath for entry in entries):
        return ConfigError(f"`{subpath}` of {_lower(remote.shown)} is a file, not a folder.")
    folders = {parent for entry in entries if (parent := posixpath.dirname(entry.path))}
    folders |= {parent for folder in tuple(folders) for parent in _parents(folder)}
    near = did_you_mean(subpath, sorted(folders))
    top = sorted(folder for folder in folders if "/" not in folder)
    shown = ", ".join(f"`{name}`" for name in top[:_SHOWN]) + (", …" if len(top) > _SHOWN else "")
    return ConfigError(
        f"{remote.shown} has no folder `{subpath}` on this branch.{near}",
        hint=f"Folders at its top: {shown}." if top else "It has no folders.",
    )


def _parents(folder: str) -> list[str]:
    parts = folder.split("/")
    return ["/".join(parts[:end]) for end in range(1, len(parts))]


def _plain_subpath(subpath: str) -> str:
    parts = [part for part in subpath.split("/") if part not in ("", ".")]
    if (
        subpath.startswith("/")
        or ".." in parts
        or "\\" in subpath
        or any(ord(letter) < 32 for letter in subpath)
    ):
        raise ConfigError(
            f"`{subpath}` is not a folder inside a repository: give a path relative to its top."
        )
    return "/".join(parts)


def _folder_name(address: Address) -> str:
    stem = re.split(r"[/:]", address.url.rstrip("/").removesuffix(".git"))[-1]
    plain = re.sub(r"[^A-Za-z0-9_-]+", "-", stem).strip("-")[:40] or "repository"
    return f"{plain}-{digest(address.url)[:16]}"


def _lower(sentence_start: str) -> str:
    return sentence_start[:1].lower() + sentence_start[1:]
