"""What ktx has installed where: `.ktx/agents/install-manifest.json`, so that an install can be renewed and taken back exactly."""

import json
from pathlib import Path
from typing import Literal, TypeAlias

from pydantic import BaseModel, ConfigDict, ValidationError
from pydantic.alias_generators import to_camel

from ktx.agents.target import Mode, Scope, TargetName
from ktx.errors import ConfigError
from ktx.files import read_text, write_text

VERSION = 1
Identity: TypeAlias = tuple[str, tuple[str, ...]]
"""A path, and a path of keys in it; no keys for a whole file."""


class _Record(BaseModel):
    model_config = ConfigDict(alias_generator=to_camel, populate_by_name=True, frozen=True, extra="ignore")


class Install(_Record):
    """One target in one scope."""

    target: TargetName
    scope: Scope
    mode: Mode
    install_root: str

    @property
    def owner(self) -> str:
        """The name under which an install owns entries."""
        return f"{self.target}/{self.scope}@{self.install_root}"


class Entry(_Record):
    """One thing that was put on disk, and for which installs.

    For a key in a file of the person's, `before` stood where `after` stands now, and the first `keep` keys of the path
    were there already. `made_folders` are those that did not exist, deepest first.
    """

    type: Literal["file", "json-key", "toml-table"]
    path: str
    owners: tuple[str, ...]
    key: tuple[str, ...] = ()
    before: str | None = None
    after: str | None = None
    keep: int = 0
    is_new_file: bool = False
    made_folders: tuple[str, ...] = ()

    @property
    def identity(self) -> Identity:
        """What makes it the same thing."""
        return self.path, self.key


class Manifest(_Record):
    """Everything that is installed for one project."""

    version: Literal[1] = VERSION
    project_dir: str
    installed_at: str
    installs: tuple[Install, ...] = ()
    entries: tuple[Entry, ...] = ()


def manifest_path(state_dir: Path) -> Path:
    """Give where the manifest is."""
    return state_dir / "agents" / "install-manifest.json"


def read_manifest(state_dir: Path, *, project_dir: Path) -> Manifest:
    """Read the manifest; one that is not there is empty.

    Raises:
        ConfigError: it cannot be read.
    """
    path = manifest_path(state_dir)
    try:
        return Manifest.model_validate_json(read_text(path))
    except FileNotFoundError:
        return Manifest(project_dir=str(project_dir), installed_at="")
    except (ValidationError, UnicodeDecodeError) as error:
        raise ConfigError(
            f"`{path}` cannot be read.",
            hint="Delete it: ktx knows its own files and entries again without it.",
        ) from error


def write_manifest(state_dir: Path, manifest: Manifest) -> bool:
    """Write the manifest, for this person's eyes only, and give whether it changed."""
    data = manifest.model_dump(mode="json", by_alias=True, exclude_defaults=False)
    return write_text(manifest_path(state_dir), json.dumps(data, indent=2) + "\n", mode=0o600)
