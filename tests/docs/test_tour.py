"""The tour of an ingest is what its commands print: each is run, and each line shown must be there, in order."""

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from modelserver.replies import by_turn, calls, text
from modelserver.server import ModelServer

TOUR = Path(__file__).parents[2] / "docs" / "tour.md"
OVERLAY = """\
name: orders
measures:
  - name: assisted_orders
    expr: count(id)
    filter: channel = 'phone'
    description: Orders that sales took by phone.
"""
PAGE = {
    "key": "assisted-orders",
    "summary": "Assisted orders came in by phone and were taken by sales.",
    "body": "# Assisted orders\n\nOrders by phone, taken by sales (`orders.assisted_orders`). The board uses this name.\n",
    "sl_refs": ["orders.assisted_orders"],
}


def blocks(kind: str) -> list[str]:
    return re.findall(rf"^```{kind}\n(.*?)^```$", TOUR.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE)


def steps() -> Iterator[tuple[str, list[str]]]:
    """Give each command with the lines shown under it."""
    for block in blocks("console"):
        command, shown = "", list[str]()
        for line in block.splitlines():
            if line.startswith("$ "):
                if command:
                    yield command, shown
                command, shown = line[2:], []
            else:
                shown.append(line)
        yield command, shown


def plain(line: str) -> str:
    """Blank out what differs between runs: ids, times, counts of tokens and money."""
    line = re.sub(r"\b\d{8}-\d{6}-[0-9a-f]{6}\b", "ID", line)
    line = re.sub(r"\b(?=[0-9a-f]*\d)[0-9a-f]{8,40}\b|\b[a-f]{8}\b", "ID", line)
    line = re.sub(r"\$?\b\d+\.\d{4}\b", "COST", line)
    line = re.sub(r"\b\d+\.\d s\b|\b\d+\.\d$", "TIME", line)
    line = re.sub(r"\b\d{1,3},\d{3}\b", "COUNT", line)
    return " ".join(line.split())


@pytest.mark.slow
def test_every_command_of_the_tour_prints_what_is_shown(tmp_path: Path) -> None:
    with ModelServer() as server:
        server.script(
            by_turn(
                calls(
                    ("search", {"query": "assisted orders"}),
                    ("read_source", {"connection_id": "demo", "name": "orders"}),
                ),
                calls(("write_source", {"connection_id": "demo", "yaml": OVERLAY}), ("write_page", PAGE)),
                text("One measure and one page."),
            )
        )
        project = tmp_path / "demo"
        env = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "ANTHROPIC_API_KEY": "test-key"}
        env["PATH"] = f"{tmp_path}{os.pathsep}{env['PATH']}"
        (tmp_path / "ktx").write_text(f'#!/bin/sh\nexec "{sys.executable}" -m ktx "$@"\n')
        (tmp_path / "ktx").chmod(0o755)
        subprocess.run(["ktx", "demo", str(project)], env=env, check=True, capture_output=True)
        for command, shown in steps():
            if command == "ktx ingest --plan":
                configure(project, server)
            done = subprocess.run(
                ["sh", "-c", command], cwd=project, env=env, capture_output=True, text=True, check=False
            )
            assert done.returncode == 0, (command, done.stdout, done.stderr)
            printed = [plain(line) for line in done.stdout.splitlines()]
            at = 0
            for line in shown:
                if line.strip() in ("", "…"):
                    continue
                assert plain(line) in printed[at:], (command, line, done.stdout)
                at = printed.index(plain(line), at) + 1


def configure(project: Path, server: ModelServer) -> None:
    config = project / "ktx.yaml"
    block = blocks("yaml")[1].replace("      api_key:", f"      base_url: {server.url}\n      api_key:")
    before = config.read_text(encoding="utf-8")
    config.write_text(before.split("llm:\n  provider")[0] + block, encoding="utf-8")


def test_the_connections_shown_are_those_of_the_demo() -> None:
    demo = Path(__file__).parents[2] / "src" / "ktx" / "demo" / "files" / "ktx.yaml"
    for line in blocks("yaml")[0].splitlines():
        assert line in demo.read_text(encoding="utf-8").splitlines()
