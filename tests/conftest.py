"""Fixtures that several areas share."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from servers.fixtures import mariadb_server, postgres_server

__all__ = ["mariadb_server", "postgres_server"]


@pytest.fixture(scope="session", autouse=True)
def own_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Keep models that this user has installed out of the tests."""
    with pytest.MonkeyPatch.context() as patch:
        folder = tmp_path_factory.mktemp("cache")
        patch.setenv("XDG_CACHE_HOME", str(folder))
        yield folder
