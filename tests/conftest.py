"""Fixtures that several areas share."""

from servers.fixtures import mariadb_server, postgres_server

__all__ = ["mariadb_server", "postgres_server"]
