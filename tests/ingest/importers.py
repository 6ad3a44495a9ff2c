"""Projects with a warehouse and context sources, ingested whole and without a model, and their metrics asked on the data."""

import math
import re
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

import duckdb

from ktx.ingest.run import ProjectReport, ingest_project
from ktx.ingest.source_report import SourceReport
from ktx.project import Project, create_project, open_project
from ktx.semantic.compile import compile_query
from ktx.semantic.load import load_layer
from ktx.semantic.query import parse_query
from ktx.semantic.source import Layer
from lookerserver.server import CLIENT_ID, CLIENT_SECRET
from metabaseserver.server import KEY
from sampleprojects import dbt_shop, looker_shop, lookml_shop, metabase_shop


@dataclass(frozen=True, kw_only=True)
class Sample:
    """A project on disk; `expected` gives SQL by `source.measure`, in the tool's own names, of a warehouse."""

    project: Project
    source_id: str
    expected: Mapping[str, Mapping[str, str]]
    data: Mapping[str, Path]

    def ingest(self, *ids: str) -> ProjectReport:
        return ingest_project(open_project(self.project.root), ids)

    def report(self, *ids: str) -> SourceReport:
        (report,) = [
            one for one in self.ingest(*(ids or (self.source_id,))).sources if one.source_id == self.source_id
        ]
        return report

    def layer(self, warehouse: str = "warehouse") -> Layer:
        return load_layer(self.project.semantic_dir, warehouse)


@contextmanager
def sample(kind: str, root: Path) -> Iterator[Sample]:
    """Make a sample's project, with its server running while the block lasts; nothing is ingested yet."""
    root.mkdir(parents=True, exist_ok=True)
    config = "connections:\n  warehouse: {driver: duckdb, path: ../data.duckdb}\n"
    for name, secret in (("metabase", KEY), ("looker", CLIENT_SECRET)):
        (root / name).write_text(secret)
    data = {"warehouse": root / "data.duckdb"}
    if kind in ("dbt", "dbt_manifest"):
        dbt_shop.write_project(root / "tool", has_manifest=kind == "dbt_manifest")
        dbt_shop.build_warehouse(root / "data.duckdb")
        yield _made(
            root,
            config + "  tool: {driver: dbt, source_dir: ../tool}\n",
            {"warehouse": dbt_shop.EXPECTED_METRICS},
            data,
        )
    elif kind == "lookml":
        lookml_shop.write_project(root / "tool")
        lookml_shop.build_warehouse(root / "data.duckdb")
        repository(root / "tool")
        config += (
            f"  tool: {{driver: lookml, repoUrl: 'file://{root / 'tool'}', "
            f"mappings: {{expectedLookerConnectionName: {lookml_shop.LOOKER_CONNECTION}}}}}\n"
        )
        yield _made(root, config, {"warehouse": lookml_shop.EXPECTED}, data)
    elif kind == "metabase":
        metabase_shop.build_warehouse(root / "data.duckdb")
        metabase_shop.build_web(root / "web.duckdb")
        with metabase_shop.serve() as server:
            mappings = ", ".join(
                f"'{key}': {value or 'null'}" for key, value in metabase_shop.MAPPINGS.items()
            )
            config += (
                "  web: {driver: duckdb, path: ../web.duckdb}\n"
                f"  tool: {{driver: metabase, api_url: '{server.url}', api_key_ref: 'file:{root}/metabase', "
                f"mappings: {{databaseMappings: {{{mappings}}}, syncEnabled: {{'5': false}}}}}}\n"
            )
            yield _made(
                root, config,
                {"warehouse": metabase_shop.EXPECTED, "web": metabase_shop.EXPECTED_WEB},
                {**data, "web": root / "web.duckdb"},
            )  # fmt: skip
    else:
        looker_shop.build_warehouse(root / "data.duckdb")
        with looker_shop.serve() as server:
            config += (
                f"  tool: {{driver: looker, base_url: '{server.url}', client_id: '{CLIENT_ID}', client_secret_ref: 'file:{root}/looker', "
                "mappings: {connectionMappings: {duck_prod: warehouse, old_mart: null}}}\n"
            )
            yield _made(root, config, {"warehouse": looker_shop.EXPECTED}, data)


def _made(
    root: Path, config: str, expected: Mapping[str, Mapping[str, str]], data: Mapping[str, Path]
) -> Sample:
    return Sample(
        project=create_project(root / "project", config_text=config),
        source_id="tool", expected=expected, data=data,
    )  # fmt: skip


def repository(folder: Path) -> None:
    """Make a folder a git repository with everything committed."""
    git(folder, "init", "-q", "-b", "main")
    commit(folder, "all")


def commit(folder: Path, message: str) -> None:
    git(folder, "add", "-A")
    git(folder, "-c", "user.name=t", "-c", "user.email=t@example.com", "commit", "-qm", message)


def git(folder: Path, *words: str) -> str:
    done = subprocess.run(["git", *words], cwd=folder, capture_output=True, text=True, check=True)
    return done.stdout


def files(project: Project) -> dict[str, bytes]:
    """Give the layer and the wiki, byte for byte."""
    return {
        path.relative_to(project.root).as_posix(): path.read_bytes()
        for folder in (project.semantic_dir, project.wiki_dir)
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def landed_name(layer: Layer, name: str, sql: str) -> str | None:
    """Give the layer's name of a tool's measure: by source, by the table that its SQL reads, or where only one has the name."""
    head, _, measure = name.rpartition(".")
    found = {
        source.name: source.table or ""
        for source in layer.sources.values()
        if any(one.name == measure for one in source.measures)
    }
    read = re.search(r"FROM (\w+\.\w+)", sql)
    own = [
        source
        for source, table in found.items()
        if source == head or (read and table.endswith(read[1])) or len(found) == 1
    ]
    return f"{own[0]}.{measure}" if len(own) == 1 else None


def differences(made: Sample) -> dict[str, str]:
    """Ask the landed layer for every expected metric, and give what is missing or gives another number."""
    wrong: dict[str, str] = {}
    for connection, expected in made.expected.items():
        layer = made.layer(connection)
        for name, sql in expected.items():
            measure = landed_name(layer, name, sql)
            if measure is None:
                wrong[name] = "did not land"
                continue
            try:
                compiled = compile_query(layer, parse_query({"measures": [measure]}), dialect="duckdb")
            except Exception as error:  # noqa: BLE001
                wrong[name] = f"{type(error).__name__}: {error}"
                continue
            got, wanted = rows(made.data[connection], compiled.sql), rows(made.data[connection], sql)
            if not equal(got, wanted):
                wrong[name] = f"{got} instead of {wanted}"
    return wrong


def rows(path: Path, sql: str) -> list[tuple[Any, ...]]:
    with duckdb.connect(str(path), read_only=True) as db:
        return db.execute(sql).fetchall()


def equal(left: list[tuple[Any, ...]], right: list[tuple[Any, ...]]) -> bool:
    return len(left) == len(right) and all(
        _same(mine, other)
        for one, two in zip(left, right, strict=True)
        for mine, other in zip(one, two, strict=True)
    )


def _same(left: object, right: object) -> bool:
    if isinstance(left, int | float | Decimal) and isinstance(right, int | float | Decimal):
        return math.isclose(float(left), float(right), rel_tol=1e-9, abs_tol=1e-9)
    return left == right
