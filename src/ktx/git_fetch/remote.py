"""Talking to a remote repository: the environment and settings that git gets, and what its refusals mean.

A secret reaches git through its environment alone: an askpass script, which holds none itself, hands it to git, and only for
the host that it was given for. Neither a credential helper nor a configuration file ever sees it.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from ktx.errors import ConfigError, KtxError, OutsideError, SourceError
from ktx.files import write_text
from ktx.git import clean_environment, run_git
from ktx.git_fetch.address import Address, redacted

_ASKPASS: Final = """\
#!/bin/sh
# Hands git the credentials that its own environment holds, and only for the host that they belong to.
case "$1" in
  "Username for '$KTX_GIT_SCHEME://$KTX_GIT_HOST'"*) printf '%s\\n' "$KTX_GIT_USER" ;;
  "Password for '$KTX_GIT_SCHEME://"*"@$KTX_GIT_HOST'"*) printf '%s\\n' "$KTX_GIT_SECRET" ;;
  *) exit 1 ;;
esac
"""
_SETTINGS: Final = {
    "core.logAllRefUpdates": "false",
    "fetch.recurseSubmodules": "false",
    "fetch.writeCommitGraph": "false",
    "http.lowSpeedLimit": "1",
    "http.lowSpeedTime": "60",
    "protocol.ext.allow": "never",
    "submodule.recurse": "false",
    "transfer.bundleURI": "false",
}
_KEPT = ("GIT_SSL_", "GIT_PROXY_SSL_", "GIT_SSH")
_REFUSED = re.compile(
    r"Authentication failed|could not read (?:Username|Password)|Permission denied \(|terminal prompts disabled"
    r"|returned error: 40[13]|Host key verification failed|dubious ownership",
)
_TOKEN_HINT = "Give a token that may read this repository as `auth_token_ref`."  # noqa: S105 - no secret


@dataclass(frozen=True, kw_only=True)
class Remote:
    """A repository elsewhere, as seen from the cache folder `home`, which git runs in."""

    address: Address
    home: Path
    environment: Mapping[str, str]
    timeout_s: float = 900.0

    @classmethod
    def reach(
        cls, address: Address, home: Path, *, environment: Mapping[str, str], timeout_s: float = 900.0
    ) -> "Remote":
        """Prepare git's environment for an address; nothing is contacted yet."""
        kept = {name: value for name, value in environment.items() if name.startswith(_KEPT)}
        base = {
            **clean_environment(environment),
            **kept,
            "GIT_ALLOW_PROTOCOL": "https:http:ssh:file",
            "GIT_ASKPASS": "",
            # The cache often lies inside the project's own repository, whose settings say nothing about other ones.
            "GIT_CEILING_DIRECTORIES": str(home.parent),
        }
        if address.kind == "ssh":
            base.update(_ssh(home, base))
        if address.secret:
            script = home / "askpass.sh"
            write_text(script, _ASKPASS, mode=0o700)
            base.update(
                GIT_ASKPASS=str(script),
                KTX_GIT_SCHEME=address.kind,
                KTX_GIT_HOST=address.host,
                KTX_GIT_USER=address.user,
                KTX_GIT_SECRET=address.secret,
            )
        return cls(address=address, home=home, environment=base, timeout_s=timeout_s)

    def branches(self, branch: str | None = None) -> dict[str, str]:
        """Give the commit of each branch, or of the one asked for.

        Raises:
            SourceError: the repository could not be reached.
            ConfigError: it refused, or the credentials are wrong.
        """
        pattern = f"refs/heads/{branch}" if branch is not None else "refs/heads/*"
        told = self.run("ls-remote", "--quiet", "--", self.address.url, pattern)
        found = (line.partition("\t") for line in told.splitlines() if "\t" in line)
        named = {name.removeprefix("refs/heads/"): commit for commit, _, name in found}
        return {name: named[name] for name in sorted(named) if branch is None or name == branch}

    def run(self, *arguments: str, folder: Path | None = None, stdin: str = "") -> str:
        """Run git and give what it prints.

        Raises:
            SourceError: it failed.
            ConfigError: it says that the credentials or the trust are wrong.
        """
        # A helper of the user's would keep a secret that is not theirs to keep: with one in hand, none is asked.
        settings = {**_SETTINGS, "credential.helper": ""} if self.address.secret else _SETTINGS
        try:
            done = run_git(
                folder or self.home, arguments, environment=self.inside(folder), settings=settings, stdin=stdin,
                timeout_s=self.timeout_s,
            )  # fmt: skip
        except OutsideError as error:
            raise SourceError(f"{self.shown} could not be read: {error.message}") from error
        if done.returncode != 0:
            raise self.refusal(done.stderr)
        return done.stdout

    def inside(self, git_dir: Path | None) -> Mapping[str, str]:
        """Give the environment for a bare repository of the cache, which some users let git open by name only."""
        return self.environment if git_dir is None else {**self.environment, "GIT_DIR": str(git_dir)}

    @property
    def shown(self) -> str:
        """The address for people."""
        return f"The git repository `{redacted(self.address.url, self.address.secrets)}`"

    def refusal(self, stderr: str) -> KtxError:
        """Give the error that git's words mean, without a secret in it."""
        text = redacted(stderr, self.address.secrets)
        lines = [line.strip() for line in text.splitlines() if line.strip()]
        reason = _reason(lines)
        if _REFUSED.search(text) is None:
            return SourceError(f"{self.shown} could not be read: {reason}")
        if "Host key" in text:
            hint = "Connect to the host once with `ssh` and accept its key, then try again."
        elif "dubious ownership" in text:
            hint = "Tell git that you trust the folder: git config --global --add safe.directory FOLDER"
        elif self.address.kind == "ssh":
            hint = "ktx uses the ssh keys that work without a prompt: load the key into the ssh agent."
        else:
            hint = "Check the token: it may have expired." if self.address.secret else _TOKEN_HINT
        return ConfigError(f"{self.shown} refused: {reason}", hint=hint)


def _ssh(home: Path, environment: Mapping[str, str]) -> dict[str, str]:
    """Keep the user's own way to run ssh, without prompts and without waiting for ever."""
    if "GIT_SSH" in environment and "GIT_SSH_COMMAND" not in environment:
        return {}
    command = environment.get("GIT_SSH_COMMAND")
    if command is None:
        asked = run_git(home, ("config", "--get", "core.sshCommand"), environment=environment)
        command = asked.stdout.strip() if asked.returncode == 0 and asked.stdout.strip() else "ssh"
    if "plink" in command.lower():
        return {"GIT_SSH_COMMAND": command}
    options = "-o BatchMode=yes -o ConnectTimeout=30 -o ServerAliveInterval=15 -o ServerAliveCountMax=4"
    return {"GIT_SSH_COMMAND": f"{command} {options}"}


def _reason(lines: list[str]) -> str:
    """Give the first thing that git or the server complains about, with ssh's own words before git's summary."""
    told = [line for line in lines if not line.startswith(("hint:", "warning:", "Cloning"))]
    first = next((line for line in told if line.startswith(("fatal:", "error:"))), None)
    before = next((line for line in told if not line.startswith(("fatal:", "error:"))), None)
    if before is not None and (first is None or "Could not read from remote repository" in first):
        first = before
    plain = (first or "git gives no reason").removeprefix("fatal: ").removeprefix("error: ")
    return plain if plain.endswith((".", "!", "?")) else f"{plain}."
