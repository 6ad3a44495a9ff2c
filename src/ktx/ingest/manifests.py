"""The manifest files of a connection: read as shards, checked in memory as part of the whole layer, written last."""

import re
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

from ktx.catalog import Catalog
from ktx.errors import KtxError, LayerError, QueryError
from ktx.files import read_text, write_text
from ktx.findings import Finding
from ktx.names import source_file_stem
from ktx.semantic.check import check_layer
from ktx.semantic.compile import compile_query
from ktx.semantic.files import MANIFEST_FOLDER, LayerFile, layer_paths, read_layer_file
from ktx.semantic.load import layer_of
from ktx.semantic.manifest import Shard, parse_shard, render_shard
from ktx.semantic.query import parse_query
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
        LayerError: a file is not a manifest.
    """
    folder = manifest_dir(semantic_dir, connection_id)
    return {
        path.stem: parse_shard(read_text(path), file=str(path.relative_to(semantic_dir.parent)))
        for path in sorted(folder.glob("*.yaml"))
    }


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


def check_changes(layer: Layer, catalog: Catalog, *, names: Collection[str]) -> tuple[Finding, ...]:
    """Check a layer against the warehouse's catalog, and compile every measure of the sources `names`."""
    found = list(check_layer(layer, catalog))
    broken = {finding.where.file for finding in found if finding.level == "error"}
    for name in sorted(names):
        source = layer.sources.get(name)
        if source is None or not source.measures or source.place.file in broken:
            continue
        problem = _compile(layer, name, [measure.name for measure in source.measures], catalog.dialect)
        if problem is None:
            continue
        for measure in source.measures:
            problem = _compile(layer, name, [measure.name], catalog.dialect)
            if problem is not None:
                found.append(
                    Finding(
                        level="error",
                        code="measure-not-compiled",
                        message=f"`{name}.{measure.name}` does not compile: {problem.message}",
                        where=measure.place,
                        fix=problem.hint,
                    )
                )
    return tuple(found)


def _compile(layer: Layer, source: str, measures: Sequence[str], dialect: str) -> KtxError | None:
    question = parse_query({"measures": [f"{source}.{measure}" for measure in measures]})
    try:
        compile_query(layer, question, dialect=dialect)
    except (QueryError, LayerError) as error:
        return error
    return None


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
