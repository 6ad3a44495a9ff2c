"""Whether each connection answers."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial

from ktx.config.block import Block, Secret, known_keys, marks
from ktx.config.connections import WarehouseConnection, is_warehouse
from ktx.config.secrets import SecretRef
from ktx.errors import KtxError
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
    """Test one connection: its secrets, and unless the scene is fast, a query."""
    connection = scene.config.connections[name]
    try:
        _reveal_secrets(connection, scene)
        if not isinstance(connection, WarehouseConnection):
            return Check(
                id="connection",
                subject=name,
                status="warn",
                detail=f"{connection.driver}: this version of ktx does not read it yet",
                fix="It can stay; nothing else depends on it.",
            )
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
            needed_by=frozenset(CAPABILITIES) - {"search"} if is_warehouse(connection) else frozenset(),
            exit_code=error.exit_code,
        )
    return Check(id="connection", subject=name, status="pass", detail=f"{connection.driver}: answers")


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
