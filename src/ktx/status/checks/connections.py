"""Whether each connection answers."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial

from ktx.config.block import Block, Secret, known_keys, marks
from ktx.config.connections import SourceConnection, WarehouseConnection, is_warehouse
from ktx.config.secrets import SecretRef
from ktx.errors import KtxError
from ktx.project import warehouse_ids
from ktx.sources.connect import ensure_source, local_folder, reach_source
from ktx.status.check import CAPABILITIES, Check, Scene
from ktx.warehouse.connect import open_warehouse

_AT_ONCE = 8


def check_connections(scene: Scene) -> Iterator[Check]:
    """Test every connection, several at once, in the order of ktx.yaml."""
    names = tuple(scene.config.connections)
    if not any(is_warehouse(connection) for connection in scene.config.connections.values()):
        yield Check(
            id="connections",
            status="fail",
            detail="no warehouse is configured",
            fix="Name one under `connections` in ktx.yaml, or play with `ktx demo`.",
            needed_by=frozenset({"query", "ingest"}),
        )
    if names:
        with ThreadPoolExecutor(max_workers=min(_AT_ONCE, len(names))) as pool:
            yield from pool.map(partial(check_connection, scene), names)


def check_connection(scene: Scene, name: str) -> Check:
    """Test one connection: its settings and secrets, and unless the scene is fast, whether it answers."""
    connection = scene.config.connections[name]
    try:
        _reveal_secrets(connection, scene)
        if not isinstance(connection, WarehouseConnection):
            return _check_source(scene, name, connection)
        if scene.is_fast:
            detail = f"{connection.driver}: not contacted (--fast)"
            return Check(id="connection", subject=name, status="skip", detail=detail)
        with open_warehouse(name, connection, scene.root) as warehouse:
            warehouse.test()
    except KtxError as error:
        return Check(
            id="connection",
            subject=name,
            status="fail",
            detail=f"{connection.driver}: {error.message}",
            fix=error.hint,
            needed_by=frozenset(CAPABILITIES) - {"search"}
            if is_warehouse(connection)
            else frozenset({"ingest"}),
            exit_code=error.exit_code,
        )
    return Check(id="connection", subject=name, status="pass", detail=f"{connection.driver}: answers")


def _check_source(scene: Scene, name: str, connection: SourceConnection) -> Check:
    """Test a context source; one that is read from a folder of this machine is tested in full also when the scene is fast.

    Raises:
        KtxError: it could not be ingested as things stand.
    """
    ensure_source(
        name,
        connection,
        project_dir=scene.root,
        cache_dir=scene.project.state_dir,
        warehouse_ids=warehouse_ids(scene.project),
    )
    if scene.is_fast and local_folder(connection, scene.root) is None:
        detail = f"{connection.driver}: not contacted (--fast)"
        return Check(id="connection", subject=name, status="skip", detail=detail)
    found = reach_source(name, connection, project_dir=scene.root)
    return Check(id="connection", subject=name, status="pass", detail=f"{connection.driver}: {found}")


def _reveal_secrets(block: Block, scene: Scene) -> None:
    """Resolve every reference in a connection's secret fields, to find the missing ones.

    Raises:
        ConfigError: one cannot be resolved.
    """
    for field in dict.fromkeys(known_keys(type(block)).values()):
        value: object = getattr(block, field)
        if isinstance(value, Block):
            _reveal_secrets(value, scene)
        elif isinstance(value, str) and any(
            isinstance(m, Secret) for m in marks(type(block).model_fields[field])
        ):
            SecretRef.parse(value).reveal(scene.root)
