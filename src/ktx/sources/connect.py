"""From a context source's block of ktx.yaml to the source: the one dispatch over kinds."""

from collections.abc import Mapping
from pathlib import Path
from typing import assert_never

from ktx.config import env
from ktx.config.connections import (
    DbtConnection,
    GitFields,
    LookerConnection,
    LookmlConnection,
    MetabaseConnection,
    MetricflowConnection,
    NotionConnection,
    SourceConnection,
)
from ktx.config.secrets import SecretRef
from ktx.errors import ConfigError
from ktx.sources.repo import open_folder, open_repository, probe_repository
from ktx.sources.source import ContextSource, Shelf
from ktx.sources.tree import OpenTree


def open_source(
    connection_id: str,
    connection: SourceConnection,
    *,
    project_dir: Path,
    cache_dir: Path,
    shelf: Shelf,
    warehouse_ids: tuple[str, ...],
) -> ContextSource:
    """Give a context source; nothing is read before its `fetch`. `cache_dir` is where repositories are kept.

    Raises:
        ConfigError: a setting is missing or wrong, a secret cannot be read, or the kind's extra is not installed.
    """
    try:
        return _open_source(
            connection_id,
            connection,
            project_dir=project_dir,
            cache_dir=cache_dir,
            shelf=shelf,
            warehouse_ids=warehouse_ids,
        )
    except ImportError as error:
        package = (error.name or "").partition(".")[0]
        raise ConfigError(
            f"`{connection.driver}` cannot be read here: the package `{package}` is not installed.",
            hint=f"pip install 'ktx-context[{connection.driver}]'",
        ) from error


def ensure_source(
    connection_id: str,
    connection: SourceConnection,
    *,
    project_dir: Path,
    cache_dir: Path,
    warehouse_ids: tuple[str, ...],
) -> None:
    """Do nothing when a context source could be opened, as far as this machine can tell; nothing is contacted.

    Raises:
        ConfigError: what `open_source` raises, or its folder is not there.
    """
    open_source(
        connection_id,
        connection,
        project_dir=project_dir,
        cache_dir=cache_dir,
        shelf=_NoShelf(),
        warehouse_ids=warehouse_ids,
    )
    folder = local_folder(connection, project_dir)
    if folder is not None:
        open_folder(folder)


def local_folder(connection: SourceConnection, project_dir: Path) -> Path | None:
    """Give the folder of this machine that a context source is read from; None for what is elsewhere."""
    if isinstance(connection, DbtConnection) and connection.source_dir is not None:
        return _folder(connection, connection.source_dir, project_dir)
    return None


def reach_source(connection_id: str, connection: SourceConnection, *, project_dir: Path) -> str:
    """Contact a context source, log in, read nothing of its content, and say in a few words what was found.

    Raises:
        ConfigError: it refuses the credential, or there is no such branch or folder.
        SourceError: it cannot be reached.
    """

    def secret(text: str) -> str:
        return SecretRef.parse(text).reveal(project_dir)

    match connection:
        case DbtConnection() | LookmlConnection():
            folder = local_folder(connection, project_dir)
            if folder is not None:
                open_folder(folder)
                return "its folder is there"
            return _reach_branch(connection_id, connection, project_dir)
        case MetricflowConnection():
            return _reach_branch(connection_id, connection.metricflow, project_dir)
        case LookerConnection():
            from ktx.sources.reach import reach_looker

            return reach_looker(
                base_url=connection.base_url,
                client_id=connection.client_id,
                client_secret=secret(connection.client_secret),
                hint=f"Check `base_url`, `client_id` and `client_secret` of `{connection_id}`.",
            )
        case MetabaseConnection():
            from ktx.sources.reach import reach_metabase

            return reach_metabase(
                url=connection.api_url,
                api_key=secret(connection.api_key),
                proxy=connection.network_proxy,
                hint=f"Check `api_url` and `api_key` of `{connection_id}`.",
            )
        case NotionConnection():
            from ktx.sources.reach import reach_notion

            return reach_notion(
                auth_token=secret(connection.auth_token),
                hint=f"Check `auth_token` of `{connection_id}`: the secret of an internal integration.",
            )
        case _:
            assert_never(connection)


def _open_source(
    connection_id: str,
    connection: SourceConnection,
    *,
    project_dir: Path,
    cache_dir: Path,
    shelf: Shelf,
    warehouse_ids: tuple[str, ...],
) -> ContextSource:
    def secret(text: str) -> str:
        return SecretRef.parse(text).reveal(project_dir)

    def tree(fields: GitFields, folder: str | None = None) -> OpenTree:
        return _tree(connection_id, fields, folder, project_dir=project_dir, cache_dir=cache_dir)

    match connection:
        case DbtConnection():
            from ktx.sources.dbt.source import DbtSource

            return DbtSource(
                open_tree=tree(connection, connection.source_dir),
                connection_id=connection_id,
                warehouse_ids=warehouse_ids,
            )
        case MetricflowConnection():
            from ktx.sources.metricflow.source import MetricflowSource

            return MetricflowSource(
                open_tree=tree(connection.metricflow),
                connection_id=connection_id,
                warehouse_ids=warehouse_ids,
            )
        case LookmlConnection():
            from ktx.sources.lookml.source import LookmlSource

            return LookmlSource(
                open_tree=tree(connection),
                connection_id=connection_id,
                warehouse_ids=warehouse_ids,
                expected_looker_connection_name=connection.mappings.expected_looker_connection_name,
            )
        case LookerConnection():
            from ktx.sources.looker.source import LookerSource

            return LookerSource(
                base_url=connection.base_url,
                client_id=connection.client_id,
                client_secret=secret(connection.client_secret),
                connection_mappings=_ensure_warehouses(
                    connection_id, connection.mappings.connection_mappings, warehouse_ids
                ),
                connection_id=connection_id,
                shelf=shelf,
            )
        case MetabaseConnection():
            from ktx.sources.metabase.source import MetabaseSource

            mappings = connection.mappings
            return MetabaseSource(
                api_url=connection.api_url,
                api_key=secret(connection.api_key),
                proxy=connection.network_proxy,
                database_mappings=_ensure_warehouses(
                    connection_id, mappings.database_mappings, warehouse_ids
                ),
                sync_enabled=mappings.sync_enabled,
                sync_mode=mappings.sync_mode,
                collections=mappings.selections.collections,
                items=mappings.selections.items,
                tag_names=mappings.default_tag_names,
                connection_id=connection_id,
                shelf=shelf,
            )
        case NotionConnection():
            from ktx.sources.notion.source import NotionSource

            return NotionSource(
                connection_id=connection_id,
                auth_token=secret(connection.auth_token),
                crawl_mode=connection.crawl_mode,
                root_page_ids=connection.root_page_ids,
                root_database_ids=connection.root_database_ids,
                root_data_source_ids=connection.root_data_source_ids,
                max_pages_per_run=connection.max_pages_per_run,
                shelf=shelf,
            )
        case _:
            assert_never(connection)


def page_limits(connection: SourceConnection) -> tuple[int | None, int | None]:
    """Give how many pages a run may add, and change; None sets no limit."""
    if isinstance(connection, NotionConnection):
        return connection.max_knowledge_creates_per_run, connection.max_knowledge_updates_per_run
    return None, None


def _tree(
    connection_id: str, fields: GitFields, folder: str | None, *, project_dir: Path, cache_dir: Path
) -> OpenTree:
    """Give the way to the files: a folder of this machine, or a repository's branch."""
    if folder is not None:
        inside = _folder(fields, folder, project_dir)
        return lambda: open_folder(inside)
    url, token = _repository(connection_id, fields, project_dir)
    return lambda: open_repository(
        url=url,
        branch=fields.branch,
        subpath=fields.path or "",
        token=token,
        cache_dir=cache_dir,
        environment=env.snapshot(),
    )


def _folder(fields: GitFields, folder: str, project_dir: Path) -> Path:
    return (project_dir / Path(folder).expanduser()) / (fields.path or "")


def _repository(connection_id: str, fields: GitFields, project_dir: Path) -> tuple[str, str | None]:
    """Give the address of a repository, and the token for it."""
    if fields.repo_url is None:
        raise ConfigError(
            f"The connection `{connection_id}` does not say where its files are.",
            hint="Set `repo_url`, or for dbt `source_dir`, in ktx.yaml.",
        )
    token = None if fields.auth_token is None else SecretRef.parse(fields.auth_token).reveal(project_dir)
    return fields.repo_url, token


def _reach_branch(connection_id: str, fields: GitFields, project_dir: Path) -> str:
    url, token = _repository(connection_id, fields, project_dir)
    commit = probe_repository(url=url, branch=fields.branch, token=token, environment=env.snapshot())
    return f"`{fields.branch}` is at {commit[:10]}"


class _NoShelf:
    """A shelf for sources that are opened and not read."""

    def get(self, key: str) -> None:
        del key

    def put(self, key: str, text: str) -> None:
        del key, text


def _ensure_warehouses(
    connection_id: str, mappings: Mapping[str, str | None], warehouse_ids: tuple[str, ...]
) -> Mapping[str, str | None]:
    wrong = next((name for name in mappings.values() if name is not None and name not in warehouse_ids), None)
    if wrong is not None:
        known = ", ".join(f"`{name}`" for name in warehouse_ids) or "none"
        raise ConfigError(
            f"The mappings of `{connection_id}` name `{wrong}`, which is no database connection.",
            hint=f"Databases: {known}.",
        )
    return mappings
