"""The databases that the fuzzer asks: each takes a world's tables, runs a statement, and forgets the world again."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Protocol

import duckdb

from oracle.files import Engine, physical, table_script
from oracle.world import World

Rows = list[tuple[object, ...]]


class Database(Protocol):
    """A place to run SQL in."""

    engine: Engine

    def fill(self, world: World) -> None:
        """Replace all tables by a world's."""

    def run(self, sql: str) -> Rows:
        """Run a query."""


class RefusedError(Exception):
    """The database refused a statement that the compiler let pass."""


class DuckDb:
    """DuckDB in memory, without the steps that the driver of ktx switches off as well."""

    engine: Engine = "duckdb"

    def __init__(self) -> None:
        self.connection = duckdb.connect(
            ":memory:",
            config={"threads": 1, "disabled_optimizers": "compressed_materialization,statistics_propagation"},
        )
        self.tables: list[str] = []

    def fill(self, world: World) -> None:
        for table in self.tables:
            self.connection.execute(f"DROP TABLE {table}")
        self.tables = [physical(name) for name in world.sources]
        for statement in table_script(world, "duckdb"):
            self.connection.execute(statement)

    def run(self, sql: str) -> Rows:
        try:
            return self.connection.execute(sql).fetchall()
        except duckdb.Error as error:
            raise RefusedError(str(error)) from error


class Sqlite:
    """SQLite in memory."""

    engine: Engine = "sqlite"

    def __init__(self) -> None:
        self.connection = sqlite3.connect(":memory:")

    def fill(self, world: World) -> None:
        self.connection.close()
        self.connection = sqlite3.connect(":memory:")
        for statement in table_script(world, "sqlite"):
            self.connection.execute(statement)

    def run(self, sql: str) -> Rows:
        try:
            return self.connection.execute(sql).fetchall()
        except sqlite3.Error as error:
            raise RefusedError(str(error)) from error


class Postgres:
    """PostgreSQL: each world lives in one transaction that is never committed."""

    engine: Engine = "postgres"

    def __init__(self, url: str) -> None:
        import psycopg

        self.connection = psycopg.connect(url)

    def fill(self, world: World) -> None:
        self.connection.rollback()
        for statement in table_script(world, "postgres"):
            self.connection.execute(statement.encode())

    def run(self, sql: str) -> Rows:
        import psycopg

        try:
            with self.connection.transaction():
                return self.connection.execute(sql.encode()).fetchall()
        except psycopg.Error as error:
            raise RefusedError(str(error)) from error


class MariaDb:
    """MariaDB, with tables in memory."""

    engine: Engine = "mysql"

    def __init__(self, *, host: str, port: int, user: str, password: str, database: str) -> None:
        import pymysql

        self.connection = pymysql.connect(
            host=host,
            port=port,
            user=user,
            password=password,
            database=database,
            charset="utf8mb4",
            autocommit=True,
        )
        self.tables: list[str] = []

    def fill(self, world: World) -> None:
        with self.connection.cursor() as cursor:
            if self.tables:
                cursor.execute(f"DROP TABLE IF EXISTS {', '.join(self.tables)}")
            self.tables = [physical(name) for name in world.sources]
            for statement in table_script(world, "mysql"):
                cursor.execute(statement)

    def run(self, sql: str) -> Rows:
        import pymysql

        try:
            with self.connection.cursor() as cursor:
                cursor.execute(sql)
                return [tuple(row) for row in cursor.fetchall()]
        except pymysql.MySQLError as error:
            raise RefusedError(str(error)) from error


@contextmanager
def opened(engine: Engine) -> Iterator[Database]:
    """Open a database of the kind, starting a server of its own where one is needed."""
    with ExitStack() as stack:
        if engine == "duckdb":
            yield DuckDb()
        elif engine == "sqlite":
            yield Sqlite()
        elif engine == "postgres":
            from servers.postgres import running_postgres

            server = stack.enter_context(running_postgres())
            yield Postgres(server.create_database("fuzz"))
        else:
            from servers.mariadb import running_mariadb

            maria = stack.enter_context(running_mariadb())
            maria.create_database("fuzz")
            yield MariaDb(
                host=maria.host, port=maria.port, user=maria.user, password=maria.password, database="fuzz"
            )
