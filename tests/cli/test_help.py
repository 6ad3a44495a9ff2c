import importlib
import sqlite3
import subprocess
import sys
from pathlib import Path

import click
import duckdb
import pytest

from ktx.cli.table import COMMANDS
from ktx.version import __version__
from program import called, started

HEAVY = [
    "pydantic",
    "rich",
    "sqlglot",
    "mcp",
    "anthropic",
    "ruamel",
    "duckdb",
    "asyncio",
    "anyio",
    "httpx2",
    "questionary",
    "click",
    "sqlite3",
    "filelock",
    "subprocess",
]
VENDORS = frozenset(
    [
        "mcp",
        "anthropic",
        "claude_agent_sdk",
        "openai_codex",
        "httpx2",
        "duckdb",
        "psycopg",
        "pymysql",
        "sqlalchemy",
        "questionary",
        "rich",
    ]
)
PROBE = """
import runpy, sys
sys.argv = ["ktx", *{arguments!r}]
try:
    runpy.run_module("ktx", run_name="__main__", alter_sys=False)
except SystemExit:
    pass
print(*sorted(name for name in {heavy!r} if name in sys.modules), file=sys.stderr)
"""


def loaded(*arguments: str, cwd: Path) -> set[str]:
    """Give the heavy modules that one command line imports."""
    script = PROBE.format(arguments=list(arguments), heavy=[*HEAVY, *VENDORS])
    done = subprocess.run([sys.executable, "-c", script], cwd=cwd, capture_output=True, text=True, check=True)
    return set(done.stderr.splitlines()[-1].split()) if done.stderr.strip() else set()


@pytest.mark.parametrize("arguments", [[], ["--help"], ["-h"], ["--version"], ["-V"]])
def test_help_and_version_import_nothing_heavy(arguments: list[str], tmp_path: Path) -> None:
    assert loaded(*arguments, cwd=tmp_path) == set()


@pytest.mark.parametrize("name", [*COMMANDS])
def test_the_help_of_a_command_imports_no_vendor(name: str, tmp_path: Path) -> None:
    assert loaded(name, "--help", cwd=tmp_path) & VENDORS == set()


@pytest.mark.parametrize(
    ("arguments", "vendors"),
    [
        (["connection", "list"], set()),
        (["connection", "test", "lite"], set()),
        (["connection", "test", "duck"], {"duckdb"}),
        (["status", "--fast"], set()),
        (["admin", "schema"], set()),
    ],
)
def test_a_command_imports_the_vendors_it_uses_and_no_other(
    arguments: list[str], vendors: set[str], tmp_path: Path
) -> None:
    with duckdb.connect(str(tmp_path / "d.duckdb")), sqlite3.connect(tmp_path / "l.sqlite") as lite:
        lite.execute("CREATE TABLE t (a)")
    lite.close()
    (tmp_path / "ktx.yaml").write_text(
        "connections:\n  lite: {driver: sqlite, path: l.sqlite}\n  duck: {driver: duckdb, path: d.duckdb}\n"
    )
    assert loaded(*arguments, cwd=tmp_path) & VENDORS == vendors


def test_completion_needs_neither_configuration_nor_a_database(tmp_path: Path) -> None:
    assert loaded("completion", "bash", cwd=tmp_path) <= {"click", "subprocess"}


@pytest.mark.parametrize("name", [*COMMANDS])
def test_every_row_of_the_table_leads_to_a_command(name: str) -> None:
    module, attribute, line = COMMANDS[name]
    assert isinstance(getattr(importlib.import_module(module), attribute), click.Command)
    assert line


def test_bare_ktx_explains_the_product_on_one_screen(tmp_path: Path) -> None:
    bare, asked = started(cwd=tmp_path), started("--help", cwd=tmp_path)
    assert bare.code == asked.code == 0
    assert bare.out == asked.out
    assert len(bare.out.splitlines()) <= 50
    assert max(map(len, bare.out.splitlines())) <= 120
    assert all(f"  {name} " in bare.out for name in COMMANDS)


def test_the_version_is_the_packages(tmp_path: Path) -> None:
    assert started("--version", cwd=tmp_path).out == f"ktx {__version__}\n"


def test_help_by_way_of_the_command_line_is_the_same(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    assert called(capsys, "--debug", "--help").out == started(cwd=tmp_path).out


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_is_a_script_for_each_shell(capsys: pytest.CaptureFixture[str], shell: str) -> None:
    outcome = called(capsys, "completion", shell)
    assert outcome.code == 0
    assert "_KTX_COMPLETE" in outcome.out


def test_the_shell_is_told_the_commands(tmp_path: Path) -> None:
    env = {"_KTX_COMPLETE": "bash_complete", "COMP_WORDS": "ktx co", "COMP_CWORD": "1"}
    out = started("co", cwd=tmp_path, env=env).out
    assert {"plain,connection", "plain,completion"} <= set(out.split())


def test_the_help_of_a_group_that_can_be_asked_lists_the_options_of_asking(
    capsys: pytest.CaptureFixture[str],
) -> None:
    for group in ("sl", "wiki"):
        shown = called(capsys, group, "--help").out
        assert all(option in shown for option in ("--limit", "--connection-id", "--output", "--json", "read"))
