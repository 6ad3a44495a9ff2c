"""The manifest files of a connection: read as shards, checked in memory as part of the whole layer, written last."""

import re
from collections.abc import Mapping
from pathlib import Path

from ktx.catalog import Catalog
from ktx.errors import LayerError
from ktx.files import read_text, write_text
from ktx.findings import Finding
from ktx.names import source_file_stem
from ktx.semantic.check import check_layer
from ktx.semantic.files import MANIFEST_FOLDER, LayerFile, layer_paths, read_layer_file
from ktx.semantic.load import layer_of
from ktx.semantic.manifest import Shard, parse_shard, render_shard
from ktx.semantic.source import Layer

_PLAIN = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*")


def manifest_dir(semantic_dir: Path, connection_id: str) -> Path:
    """Give the folder of a connection's shards."""
    return semantic_dir / connection_id / MANIFEST_FOLDER


def shard_file(shard: str) -> str:
    """Name the file of a shard.

    >>> shard_file("sales"), shard_file("db.sales")
    ('sales.yaml', 'db.sales.yaml')
    """
    stem = shard if _PLAIN.fullmatch(shard) else source_file_stem(shard)
    return f"{stem}.yaml"


def read_shards(semantic_dir: Path, connection_id: str) -> dict[str, Shard]:
    """Read every shard of a connection, by file stem.

    Raises:
        LayerError: a file cannot be read, or is not a manifest.
    """
    folder = manifest_dir(semantic_dir, connection_id)
    return {path.stem: _read_shard(path, semantic_dir) for path in sorted(folder.glob("*.yaml"))}


def _read_shard(path: Path, semantic_dir: Path) -> Shard:
    file = str(path.relative_to(semantic_dir.parent))
    try:
        text = read_text(path)
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
        raise LayerError(
            f"`{file}` cannot be read: {reason}.",
            hint="Restore the file from git, or delete it and run `ktx ingest`.",
        ) from error
    return parse_shard(text, file=file)


def render_changes(
    semantic_dir: Path, connection_id: str, shards: Mapping[str, Shard], old: Mapping[str, Shard]
) -> dict[Path, str | None]:
    """Give the files whose meaning changes: path -> new text, None to delete. Equal shards are left as they are written."""
    folder = manifest_dir(semantic_dir, connection_id)
    changes: dict[Path, str | None] = {}
    wanted = {Path(shard_file(name)).stem: shard for name, shard in shards.items()}
    for stem, shard in wanted.items():
        if stem not in old or old[stem] != shard:
            changes[folder / f"{stem}.yaml"] = render_shard(shard)
    for stem in old.keys() - wanted.keys():
        changes[folder / f"{stem}.yaml"] = None
    return changes


def layer_with(semantic_dir: Path, connection_id: str, changes: Mapping[Path, str | None]) -> Layer:
    """Give the layer of a connection as it will be once `changes` are written."""
    folder = semantic_dir / connection_id
    paths = [path for path in layer_paths(folder) if path not in changes]
    files = [read_layer_file(path, folder=folder) for path in paths]
    for path, text in sorted(changes.items()):
        if text is not None:
            name = "/".join((semantic_dir.name, connection_id, *path.relative_to(folder).parts))
            files.append(LayerFile(file=name, is_manifest=True, text=text))
    return layer_of(connection_id, files)


def check_changes(
    layer: Layer, catalog: Catalog, *, changes: Mapping[Path, str | None]
) -> tuple[Finding, ...]:
    """Check what people wrote, and the manifests that change, against the compiler and the warehouse's catalog."""
    changed = {path.name for path, text in changes.items() if text is not None}
    names = {
        name
        for name, source in layer.sources.items()
        if f"/{MANIFEST_FOLDER}/" not in (source.place.file or "")
        or (source.place.file or "").rpartition("/")[2] in changed
    }
    return check_layer(layer, catalog, names={*names, *layer.broken})


def write_changes(changes: Mapping[Path, str | None]) -> tuple[Path, ...]:
    """Write the files and give those that really changed."""
    changed: list[Path] = []
    for path, text in sorted(changes.items()):
        if text is None:
            if path.exists():
                path.unlink()
                changed.append(path)
        elif write_text(path, text):
            changed.append(path)
    return tuple(changed)
