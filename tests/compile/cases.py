"""Cases as data: read a folder, build its tables on an engine, ask its questions, compare rows."""

import datetime as dt
import json
import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any, Protocol

import duckdb
import psycopg
import pymysql
from ruamel.yaml import YAML

from ktx.semantic.compile import Compiled, compile_query
from ktx.semantic.load import load_layer
from ktx.semantic.query import parse_query
from ktx.semantic.source import Layer

HERE = Path(__file__).parent
FOLDERS = sorted(path.parent for path in (HERE / "cases").glob("*/case.yaml"))


@dataclass(frozen=True, kw_only=True)
class Question:
    """One question of a case: the rows that answer it, or the words that its refusal must hold."""

    name: str
    ask: dict[str, Any]
    rows: list[list[Any]] | None
    refused: str | None
    columns: list[str] | None
    is_ordered: bool
    check: str | None
    engines: list[str] | None


@dataclass(frozen=True, kw_only=True)
class Case:
    """A layer, as sources or as whole files by their path, the tables behind it, and questions."""

    name: str
    tables: dict[str, Any]
    layer: list[dict[str, Any]]
    files: dict[str, Any]
    questions: tuple[Question, ...]


def read_yaml(path: Path) -> Any:
    return YAML(typ="safe").load(path.read_text())


def read_case(folder: Path) -> Case:
    data = read_yaml(folder / "case.yaml")
    world = (
        read_yaml(HERE / "worlds" / f"{data['world']}.yaml")
        if "world" in data
        else {"tables": {}, "layer": []}
    )
    own = {source["name"]: source for source in data.get("layer", [])}
    return Case(
        name=folder.name,
        tables={**world["tables"], **data.get("tables", {})},
        layer=[own.pop(source["name"], source) for source in world["layer"]] + list(own.values()),
        files=data.get("files", {}),
        questions=tuple(_question(name, one) for name, one in data["questions"].items()),
    )


def _question(name: str, data: dict[str, Any]) -> Question:
    known = {"ask", "rows", "refused", "columns", "ordered", "check", "engines"}
    assert set(data) <= known, f"{name}: unknown keys {set(data) - known}"
    assert ("rows" in data) or ("check" in data) or ("refused" in data), (
        f"{name}: neither rows, check nor refused"
    )
    return Question(
        name=name,
        ask=data["ask"],
        rows=data.get("rows"),
        refused=data.get("refused"),
        columns=data.get("columns"),
        is_ordered=data.get("ordered", False),
        check=data.get("check"),
        engines=data.get("engines"),
    )


def questions() -> Iterator[tuple[Path, str]]:
    for folder in FOLDERS:
        for name in read_yaml(folder / "case.yaml")["questions"]:
            yield folder, name


def build_layer(sources: list[dict[str, Any]], folder: Path, files: dict[str, Any] | None = None) -> Layer:
    """Write the sources as a project would hold them, and load them the way a project does."""
    place = folder / "w"
    place.mkdir(parents=True)
    for number, source in enumerate(sources):
        (place / f"s{number}.yaml").write_text(json.dumps(source))
    for path, content in (files or {}).items():
        (place / path).parent.mkdir(parents=True, exist_ok=True)
        (place / path).write_text(json.dumps(content))
    return load_layer(folder, "w")


def compiled(layer: Layer, ask: dict[str, Any], dialect: str) -> Compiled:
    return compile_query(layer, parse_query(ask), dialect=dialect)


class Engine(Protocol):
    """A database that a case can be built on."""

    dialect: str

    def build(self, tables: dict[str, Any]) -> None: ...

    def rows(self, sql: str) -> list[tuple[Any, ...]]: ...

    def close(self) -> None: ...


def literal(value: Any) -> str:
    if value is None:
        return "NULL"
    if isinstance(value, bool):
        return "TRUE" if value else "FALSE"
    if isinstance(value, int | float):
        return repr(value)
    text = value.isoformat(sep=" ") if isinstance(value, dt.datetime) else str(value)
    return "'" + text.replace("'", "''") + "'"


def statements(tables: dict[str, Any], quote: str, types: dict[str, str]) -> Iterator[str]:
    def quoted(name: str) -> str:
        return f"{quote}{name}{quote}"

    for name, table in tables.items():
        if "sql" in table:
            yield table["sql"]
            continue
        columns = ", ".join(f"{quoted(c)} {types.get(kind, kind)}" for c, kind in table["columns"].items())
        yield f"CREATE TABLE {quoted(name)} ({columns})"
        if table["rows"]:
            rows = ", ".join("(" + ", ".join(map(literal, row)) + ")" for row in table["rows"])
            yield f"INSERT INTO {quoted(name)} VALUES {rows}"


class DuckEngine:
    dialect = "duckdb"

    def __init__(self) -> None:
        self.connection = duckdb.connect()

    def build(self, tables: dict[str, Any]) -> None:
        self.connection.close()
        self.connection = duckdb.connect()
        for statement in statements(tables, '"', {}):
            self.connection.execute(statement)

    def rows(self, sql: str) -> list[tuple[Any, ...]]:
        return self.connection.execute(sql).fetchall()

    def close(self) -> None:
        self.connection.close()


class SqliteEngine:
    dialect = "sqlite"

    def __init__(self) -> None:
        self.connection = sqlite3.connect(":memory:")

    def build(self, tables: dict[str, Any]) -> None:
        self.connection.close()
        self.connection = sqlite3.connect(":memory:")
        for statement in statements(tables, '"', {"double": "real", "date": "text", "timestamp": "text"}):
            self.connection.execute(statement)

    def rows(self, sql: str) -> list[tuple[Any, ...]]:
        return self.connection.execute(sql).fetchall()

    def close(self) -> None:
        self.connection.close()


class PostgresEngine:
    dialect = "postgres"

    def __init__(self, url: str) -> None:
        self.connection = psycopg.connect(url, autocommit=True)

    def build(self, tables: dict[str, Any]) -> None:
        self.connection.execute("DROP SCHEMA public CASCADE; CREATE SCHEMA public; SET TIME ZONE 'UTC'")
        for statement in statements(tables, '"', {"double": "double precision"}):
            self.connection.execute(statement)

    def rows(self, sql: str) -> list[tuple[Any, ...]]:
        return self.connection.execute(sql).fetchall()

    def close(self) -> None:
        self.connection.close()


class MariaEngine:
    dialect = "mysql"

    def __init__(self, port: int, user: str, password: str, database: str) -> None:
        self.connection = pymysql.connect(
            host="127.0.0.1", port=port, user=user, password=password, database=database, autocommit=True
        )
        self.database = database

    def build(self, tables: dict[str, Any]) -> None:
        with self.connection.cursor() as cursor:
            cursor.execute(f"DROP DATABASE IF EXISTS `{self.database}`")
            cursor.execute(f"CREATE DATABASE `{self.database}` CHARACTER SET utf8mb4 COLLATE utf8mb4_bin")
            cursor.execute(f"USE `{self.database}`")
            cursor.execute("SET sql_mode = CONCAT(@@sql_mode, ',PIPES_AS_CONCAT,ONLY_FULL_GROUP_BY')")
            for statement in statements(tables, "`", {"text": "varchar(200)", "timestamp": "datetime"}):
                cursor.execute(statement)

    def rows(self, sql: str) -> list[tuple[Any, ...]]:
        with self.connection.cursor() as cursor:
            cursor.execute(sql)
            return list(cursor.fetchall())

    def close(self) -> None:
        self.connection.close()


def normal(value: Any) -> Any:
    """Bring a value to a form in which engines agree: dates as text, numbers as rounded floats."""
    if isinstance(value, bool):
        return float(value)
    if isinstance(value, int | float | Decimal):
        return round(float(value), 6)
    if isinstance(value, dt.datetime):
        text = value.replace(tzinfo=None).isoformat(sep=" ")
        return text.removesuffix(" 00:00:00")
    if isinstance(value, dt.date):
        return value.isoformat()
    if isinstance(value, str):
        return value.removesuffix(" 00:00:00")
    return value


def normal_rows(rows: list[Any], *, is_ordered: bool) -> list[tuple[Any, ...]]:
    made = [tuple(normal(value) for value in row) for row in rows]
    return made if is_ordered else sorted(made, key=repr)


def asked_rows(engine: Engine, made: Compiled) -> list[tuple[Any, ...]]:
    rows = engine.rows(made.tree.sql(dialect=engine.dialect))
    return rows if made.row_limit is None else rows[: made.row_limit]
