"""Where the files of a context source come from: a folder on this machine, or a branch of a git repository."""

import os
from collections.abc import Mapping
from pathlib import Path

from ktx.errors import ConfigError
from ktx.git_fetch.fetch import DEFAULT_BRANCH, fetch_branch, probe_branch
from ktx.sources.tree import Tree
from ktx.suggest import did_you_mean


def open_repository(
    *,
    url: str,
    branch: str = DEFAULT_BRANCH,
    subpath: str = "",
    token: str | None,
    cache_dir: Path,
    environment: Mapping[str, str],
) -> Tree:
    """Give the files of a branch, at or under `subpath`, as they are at the remote right now.

    `environment` is the process's own. `token` serves https: addresses; ssh: uses the keys of this machine.

    Raises:
        ConfigError: the address, branch, subpath or credentials are wrong.
        SourceError: the remote could not be read; an older state is never given in its place.
    """
    found = fetch_branch(
        url=url, branch=branch, subpath=subpath, token=token, cache_dir=cache_dir, environment=environment
    )
    return Tree(root=found.root, commit=found.commit)


def probe_repository(*, url: str, branch: str, token: str | None, environment: Mapping[str, str]) -> str:
    """Give the newest commit of a branch at the remote; nothing is fetched.

    Raises:
        ConfigError: the address, branch or credentials are wrong.
        SourceError: the remote could not be read.
    """
    return probe_branch(url=url, branch=branch, token=token, environment=environment)


def open_folder(path: Path) -> Tree:
    """Give the files of a folder, as they are on disk.

    Raises:
        ConfigError: there is no such folder, or it cannot be looked into.
    """
    if not path.exists():
        siblings = [each.name for each in path.parent.iterdir()] if path.parent.is_dir() else []
        raise ConfigError(
            f"There is no folder `{path}`.{did_you_mean(path.name, sorted(siblings))}",
            hint="A relative path starts at the project's folder.",
        )
    if not path.is_dir():
        raise ConfigError(f"`{path}` is a file, not a folder.", hint="Name the folder that holds it.")
    if not os.access(path, os.R_OK | os.X_OK):
        raise ConfigError(f"The folder `{path}` may not be read by this user.")
    return Tree(root=path.resolve())
