"""Session fixtures: one server of each kind per test process, started when a test first asks for it."""

from collections.abc import Iterator

import pytest

from servers import mariadb, postgres
from servers.mariadb import MariadbServer
from servers.postgres import PostgresServer


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[PostgresServer]:
    """A real PostgreSQL; the test is skipped where none is installed."""
    if postgres.find_programs() is None:
        pytest.skip(postgres.MISSING)
    with postgres.running_postgres() as server:
        yield server


@pytest.fixture(scope="session")
def mariadb_server() -> Iterator[MariadbServer]:
    """A real MariaDB; the test is skipped where none is installed."""
    if mariadb.find_programs() is None:
        pytest.skip(mariadb.MISSING)
    with mariadb.running_mariadb() as server:
        yield server
