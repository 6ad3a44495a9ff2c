"""How long a semantic layer takes to load, and a shell command to answer from it: `python benchmarks/layer.py [SIZES…]`.

Prints, per number of sources, seconds to load from the files, to open from `.ktx/`, to compile a first question, and of a whole
`ktx sl query … --format sql` in a new process (the fastest of three).
"""

import subprocess
import sys
import tempfile
import time
from pathlib import Path

from ktx.project import open_project
from ktx.semantic.compile import compile_query
from ktx.semantic.load import load_layer
from ktx.semantic.query import parse_query
from ktx.serve.desk import Desk

QUESTION = {"measures": ["s77.total"], "dimensions": ["s2.label"], "filters": ["s77.label = 'x'"]}
COMMAND = (
    "sl",
    "query",
    "--measure",
    "s77.total",
    "--dimension",
    "s2.label",
    "--filter",
    "s77.label = 'x'",
    "--format",
    "sql",
)


def main() -> None:
    """Measure each size and print one line."""
    print(
        f"{'sources':>8} {'from files':>11} {'from .ktx':>10} {'first question':>15} {'next':>7} {'command':>8}"
    )
    for size in [int(text) for text in sys.argv[1:]] or [100, 1000, 10_000]:
        with tempfile.TemporaryDirectory(prefix="ktx-layer-") as folder:
            measure(Path(folder), size)


def measure(root: Path, size: int) -> None:
    """Measure one size in an empty folder."""
    write_project(root, size)
    files_s, layer = timed(lambda: load_layer(root / "semantic-layer", "warehouse"))
    assert len(layer.sources) == size
    with Desk(project=open_project(root)) as desk:
        desk.layer("warehouse")
    with Desk(project=open_project(root)) as desk:
        kept_s, kept = timed(lambda: desk.layer("warehouse"))
        query = parse_query(QUESTION)
        first_s, _ = timed(lambda: compile_query(kept, query, dialect="duckdb"))
        next_s, _ = timed(lambda: compile_query(kept, query, dialect="duckdb"))
    command_s = min(timed(lambda: command(root))[0] for _ in range(3))
    print(
        f"{size:8} {files_s:10.2f}s {kept_s * 1000:8.0f}ms {first_s * 1000:13.0f}ms {next_s * 1000:5.1f}ms {command_s:7.2f}s"
    )


def timed(function):
    """Give the wall time in seconds, and the result."""
    started = time.perf_counter()
    result = function()
    return time.perf_counter() - started, result


def command(root: Path) -> None:
    """Run the whole command in a new process."""
    subprocess.run(
        [sys.executable, "-m", "ktx", *COMMAND, "--project-dir", str(root)],
        stdout=subprocess.DEVNULL,
        check=True,
    )


def write_project(root: Path, size: int) -> None:
    """Write a project whose sources form a tree of joins, each with a dozen columns and two measures."""
    (root / "ktx.yaml").write_text(
        "connections:\n  warehouse: {driver: duckdb, path: shop.duckdb}\n", encoding="utf-8"
    )
    folder = root / "semantic-layer" / "warehouse"
    folder.mkdir(parents=True)
    columns = "".join(f"  - {{name: col_{number}, type: number}}\n" for number in range(10))
    for number in range(size):
        text = (
            f"name: s{number}\ntable: main.t{number}\ndescriptions: {{user: The source {number} of the shop.}}\n"
            f"grain: [id]\ncolumns:\n  - {{name: id, type: number}}\n  - {{name: label, type: string}}\n{columns}"
            "measures:\n  - {name: total, expr: sum(col_1)}\n  - {name: n, expr: count(*), filter: label = 'x'}\n"
        )
        if number:
            up = (number - 1) // 5
            text += f"joins:\n  - {{to: s{up}, on: s{number}.col_3 = s{up}.id, relationship: many_to_one}}\n"
        (folder / f"s{number}.yaml").write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
