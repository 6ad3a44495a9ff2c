"""References to secrets: kept as written, resolved at the moment of use, never printed."""

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, assert_never

from ktx.config import env
from ktx.errors import ConfigError

_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


@dataclass(frozen=True, kw_only=True)
class SecretRef:
    """Where a secret comes from: an environment variable, a file, or the text itself.

    `target` is the variable's name, the file's path or the plain value, and never part of the representation.
    """

    kind: Literal["env", "file", "literal"]
    target: str = field(repr=False)

    @classmethod
    def parse(cls, text: str) -> "SecretRef":
        """Read `env:NAME`, `file:path`, or a plain value."""
        kind, colon, target = text.partition(":")
        if colon and kind == "env":
            return cls(kind="env", target=target.strip())
        if colon and kind == "file":
            return cls(kind="file", target=target.strip())
        return cls(kind="literal", target=text)

    def __str__(self) -> str:
        """Name the reference; a plain value is hidden."""
        return "(a plain value)" if self.kind == "literal" else f"{self.kind}:{self.target}"

    def reveal(self, project_dir: Path) -> str:
        """Give the secret itself; a relative file is looked up in the project, `~` at home.

        Raises:
            ConfigError: the variable is not set, or the file cannot be read or is empty.
        """
        match self.kind:
            case "env":
                return self._from_environment()
            case "file":
                return self._from_file(project_dir)
            case "literal":
                return self.target
            case _:
                assert_never(self.kind)

    def _from_environment(self) -> str:
        if not _VARIABLE.fullmatch(self.target):
            raise ConfigError(
                f"`env:{self.target}` does not name an environment variable.",
                hint="Write `env:NAME` with letters, digits and underscores.",
            )
        value = env.get(self.target)
        if value is None:
            raise ConfigError(
                f"Environment variable `{self.target}` is not set.",
                hint=f"Set it where ktx runs, for instance: export {self.target}=…",
            )
        return value

    def _from_file(self, project_dir: Path) -> str:
        path = project_dir / Path(self.target).expanduser()
        try:
            value = path.read_text(encoding="utf-8").strip()
        except (OSError, UnicodeDecodeError) as error:
            reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
            raise ConfigError(
                f"Secret file `{path}` cannot be read: {reason}.",
                hint=f"Create it, or correct the reference `file:{self.target}` in ktx.yaml.",
            ) from error
        if not value:
            raise ConfigError(f"Secret file `{path}` is empty.", hint="Put the secret into it, on one line.")
        return value
