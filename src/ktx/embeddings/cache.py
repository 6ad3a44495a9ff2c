"""Where installed models are: a folder per model in the user's cache, shared by all projects."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import cast

from ktx.errors import ConfigError

MODEL = "all-MiniLM-L6-v2"
WEIGHTS = "model.safetensors"
VOCABULARY = "vocab.txt"
_RECORD = "model.json"


@dataclass(frozen=True, kw_only=True)
class ModelRecord:
    """What is known of an installed model. `sha256` is that of the weights as published, `size_bytes` of those kept."""

    model: str
    heads: int
    max_tokens: int
    epsilon: float
    sha256: str
    size_bytes: int
    licence: str
    origin: str


def model_dir(cache_root: Path, model: str = MODEL) -> Path:
    """Give the folder of a model."""
    return cache_root / "ktx" / "models" / model


def read_record(folder: Path) -> ModelRecord | None:
    """Give what is installed in a folder, or None when nothing is, or not whole.

    Raises:
        ConfigError: the folder holds something that is no record of a model.
    """
    path = folder / _RECORD
    try:
        entry = cast("dict[str, object]", json.loads(path.read_text(encoding="utf-8")))
        record = ModelRecord(**entry)  # pyright: ignore[reportArgumentType] - what does not fit is refused below
    except FileNotFoundError:
        return None
    except (ValueError, TypeError, OSError) as error:
        message = f"`{path}` does not describe a model."
        raise ConfigError(message, hint="ktx admin embeddings install --force") from error
    weights = folder / WEIGHTS
    if not (folder / VOCABULARY).is_file() or not weights.is_file():
        return None
    return record if weights.stat().st_size == record.size_bytes else None


def write_record(folder: Path, record: ModelRecord) -> None:
    """Write the record, as the last file of an installation."""
    (folder / _RECORD).write_text(json.dumps(asdict(record), indent=2) + "\n", encoding="utf-8")
