"""A project folder: where its parts live, its loaded configuration, its repository, and the lock that writers take."""

from collections.abc import Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from ktx.config import env
from ktx.config.connections import SourceConnection, WarehouseConnection, WarehouseFields
from ktx.config.load import load_config
from ktx.config.model import KtxConfig
from ktx.config.reveal import revealed_secrets
from ktx.errors import ConfigError, OutsideError
from ktx.files import write_text
from ktx.findings import Finding
from ktx.git import Repository
from ktx.suggest import did_you_mean

CONFIG_NAME = "ktx.yaml"
NEW_CONFIG = """\
# The configuration of this ktx project. `ktx status` says what works and what is missing.
# `ktx admin schema --output ktx.schema.json` writes a description of every key, for editors.
# Any text may be a reference: env:NAME reads an environment variable, file:path reads a file. Never write a secret here:
# git records this file.

# Warehouses and context sources, each under a name of your choice. A local file:
#   shop:
#     driver: duckdb
#     path: shop.duckdb
# A server:
#   sales:
#     driver: postgres
#     url: env:SALES_DATABASE_URL
#     schemas: [public]
connections: {}

# Language models write better prose; everything else works without. `ktx setup` can fill this in.
llm:
  provider:
    backend: none
"""


@dataclass(frozen=True, kw_only=True)
class Project:
    """An opened project. `findings` holds warnings about ktx.yaml; errors never get this far."""

    root: Path
    config: KtxConfig
    findings: tuple[Finding, ...] = ()

    @property
    def warehouses(self) -> Mapping[str, WarehouseConnection]:
        """The connections that are databases, by id; the others are context sources."""
        found = self.config.connections.items()
        return {name: connection for name, connection in found if isinstance(connection, WarehouseFields)}

    @property
    def config_file(self) -> Path:
        """ktx.yaml itself."""
        return self.root / CONFIG_NAME

    @property
    def semantic_dir(self) -> Path:
        """Semantic sources, one folder per connection; committed."""
        return self.root / "semantic-layer"

    @property
    def wiki_dir(self) -> Path:
        """Wiki pages; committed."""
        return self.root / "wiki"

    @property
    def state_dir(self) -> Path:
        """Everything derived or local; never committed, deletable."""
        return self.root / ".ktx"


def find_project_dir(explicit: Path | None, cwd: Path) -> Path:
    """Give the folder meant: the given one, else `KTX_PROJECT_DIR`, else the nearest with a ktx.yaml upwards, else `cwd`."""
    named = explicit or (Path(value) if (value := env.get("KTX_PROJECT_DIR")) else None)
    if named is not None:
        return (cwd / named.expanduser()).resolve()
    start = cwd.resolve()
    return next((folder for folder in (start, *start.parents) if (folder / CONFIG_NAME).is_file()), start)


def open_project(root: Path) -> Project:
    """Open the project in `root`.

    Raises:
        ConfigError: there is no ktx.yaml, or it has errors; its findings are attached.
    """
    loaded = load_config(require_config_file(root))
    return Project(root=root, config=loaded.config, findings=loaded.findings)


def warehouse_ids(project: Project) -> tuple[str, ...]:
    """Give the ids of the connections that are databases, sorted."""
    blocks = project.config.connections
    return tuple(sorted(name for name, block in blocks.items() if isinstance(block, WarehouseFields)))


def warehouse_connection(project: Project, connection_id: str) -> WarehouseConnection:
    """Give the settings of a database connection.

    Raises:
        ConfigError: there is no such connection, or it is a context source.
    """
    block = project.config.connections.get(connection_id)
    if isinstance(block, WarehouseFields):
        return block
    known = ", ".join(f"`{name}`" for name in warehouse_ids(project)) or "none"
    if block is None:
        near = did_you_mean(connection_id, project.config.connections)
        raise ConfigError(
            f"There is no connection `{connection_id}` in ktx.yaml.{near}", hint=f"Databases: {known}."
        )
    raise ConfigError(
        f"The connection `{connection_id}` is a context source (`{block.driver}`), not a database.",
        hint=f"Databases: {known}.",
    )


def source_ids(project: Project) -> tuple[str, ...]:
    """Give the ids of the connections that are context sources, sorted."""
    blocks = project.config.connections
    return tuple(sorted(name for name, block in blocks.items() if not isinstance(block, WarehouseFields)))


def source_connection(project: Project, connection_id: str) -> SourceConnection:
    """Give the settings of a context source.

    Raises:
        ConfigError: there is no such connection, or it is a database.
    """
    block = project.config.connections.get(connection_id)
    known = ", ".join(f"`{name}`" for name in source_ids(project)) or "none"
    if block is None:
        near = did_you_mean(connection_id, project.config.connections)
        raise ConfigError(
            f"There is no connection `{connection_id}` in ktx.yaml.{near}", hint=f"Context sources: {known}."
        )
    if isinstance(block, WarehouseFields):
        raise ConfigError(
            f"The connection `{connection_id}` is a database (`{block.driver}`), not a context source.",
            hint=f"Context sources: {known}.",
        )
    return block


def project_secrets(project: Project) -> tuple[str, ...]:
    """Give the values of every secret that ktx.yaml names, as far as they can be resolved now."""
    return revealed_secrets(project.config, project_dir=project.root)


def project_repository(project: Project) -> Repository:
    """Give the git repository that records the project, making one when there is none."""
    return Repository.init(project.root, environment=env.snapshot())


def find_repository(project: Project) -> Repository | None:
    """Give the git repository that records the project, or None when there is none.

    Raises:
        ConfigError: git is missing, too old, or refuses the repository.
    """
    return Repository.find(project.root, environment=env.snapshot())


def ensure_state_dir(project: Project) -> Path:
    """Give `.ktx/`, made if need be and always closed to git."""
    write_text(project.state_dir / ".gitignore", "*\n!.gitignore\n")
    return project.state_dir


@contextmanager
def project_lock(project: Project, *, timeout_s: float = 60.0) -> Generator[None]:
    """Hold the project for writing, against other threads and processes; it is freed when a process dies.

    Raises:
        OutsideError: another writer kept it for longer than `timeout_s`.
    """
    # Imported by those who write: the package pulls in asyncio, and every question opens a project.
    from filelock import FileLock, Timeout

    path = ensure_state_dir(project) / "write.lock"
    try:
        with FileLock(path, timeout=timeout_s):
            yield
    except Timeout as error:
        raise OutsideError(
            f"Another ktx command has been writing to `{project.root}` for more than {timeout_s:g} s.",
            hint="Wait for it to finish, or end it, then try again.",
        ) from error


@contextmanager
def server_lock(project: Project) -> Generator[bool]:
    """Take the lock that the project's MCP server holds while it lives, and tell whether it was free.

    It is the kernel's: a server that was killed holds it no longer, whoever has its process number now.
    """
    from filelock import FileLock, Timeout

    lock = FileLock(ensure_state_dir(project) / "mcp.lock", timeout=0)
    try:
        lock.acquire()
    except Timeout:
        yield False
        return
    try:
        yield True
    finally:
        lock.release()


def create_project(root: Path, *, config_text: str = NEW_CONFIG, is_existing_ok: bool = False) -> Project:
    """Make a project in `root` and commit it: ktx.yaml, the folders of the layer, and a `.ktx/` that git passes over.

    A folder that is inside a repository already is recorded there. With `is_existing_ok`, what a project in `root` has
    is kept, ktx.yaml included, and only what is missing is added.

    Raises:
        ConfigError: there is a project already, or git cannot be used.
    """
    config_file = root / CONFIG_NAME
    if config_file.exists() and not is_existing_ok:
        raise ConfigError(
            f"`{root}` is a ktx project already.",
            hint="`ktx status` says how it stands; `ktx admin init --force` adds what is missing and keeps the rest.",
        )
    repository = Repository.init(root, environment=env.snapshot())
    if not config_file.exists():
        write_text(config_file, config_text)
    project = open_project(root)
    ensure_state_dir(project)
    for folder in (project.semantic_dir, project.wiki_dir / "global"):
        folder.mkdir(parents=True, exist_ok=True)
    committed = [config_file, project.state_dir / ".gitignore", project.semantic_dir, project.wiki_dir]
    repository.commit(committed, "Make a ktx project", author=project.config.storage.git.author)
    return project


def require_config_file(root: Path) -> Path:
    """Give the path of ktx.yaml in `root`.

    Raises:
        ConfigError: there is none.
    """
    path = root / CONFIG_NAME
    if not path.is_file():
        raise ConfigError(
            f"There is no ktx project in `{root}`: `{CONFIG_NAME}` is missing.",
            hint="Make one with `ktx admin init`, try `ktx demo`, or name another folder with --project-dir.",
        )
    return path
