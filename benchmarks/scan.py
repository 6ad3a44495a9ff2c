"""Measure a whole ingest of a generated DuckDB: seconds and peak memory by size, and how the cost per table grows.

Usage: python benchmarks/scan.py [--tables 100 1000 10000] [--columns 20] [--rows 50] [--json]

Each size runs in a process of its own, and builds its database in another, so that the peak memory is the ingest's own. The tables form a chain of references by name,
`<noun>_id`, with nothing declared; the scan has to find them all.
"""

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import duckdb

from ktx.events import Event, StageFinished
from ktx.ingest.pipeline import ingest
from ktx.project import create_project

_SYLLABLES = ("ka", "lo", "mi", "ru", "te", "va", "no", "pi", "su", "de")


def main() -> int:
    """Measure every size and print the curve."""
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("--tables", type=int, nargs="+", default=[100, 1000, 10_000])
    options.add_argument("--columns", type=int, default=20)
    options.add_argument("--rows", type=int, default=50)
    options.add_argument("--json", action="store_true")
    options.add_argument("--one", type=int, help=argparse.SUPPRESS)
    options.add_argument("--build", type=Path, help=argparse.SUPPRESS)
    arguments = options.parse_args()
    if arguments.build is not None:
        print(build(arguments.build, arguments.one, arguments.columns, arguments.rows))
        return 0
    if arguments.one is not None:
        print(json.dumps(measure(arguments.one, arguments.columns, arguments.rows)))
        return 0
    results = [in_own_process(size, arguments) for size in sorted(arguments.tables)]
    if arguments.json:
        print(json.dumps(results, indent=2))
        return 0
    print(
        "  tables  columns  build s   ingest s    cpu s  again s  cpu s/table  peak MiB  joins     stages (s)"
    )
    for one in results:
        stages = ", ".join(f"{name} {seconds:.1f}" for name, seconds in one["stages"].items())
        print(
            f"  {one['tables']:6}  {one['columns']:7}  {one['build_s']:7.1f}  {one['ingest_s']:8.1f}  {one['cpu_s']:7.1f}  {one['again_s']:7.1f}"
            f"  {one['cpu_s'] / one['tables']:11.4f}  {one['peak_mib']:8.0f}  {one['joins']}/{one['true_joins']}  {stages}"
        )
    if len(results) > 1:
        first, last = results[0], results[-1]
        growth = (last["cpu_s"] / last["tables"]) / (first["cpu_s"] / first["tables"])
        print(
            f"\n  CPU time per table at {last['tables']} tables is {growth:.2f} times that at {first['tables']}"
        )
    return 0


def in_own_process(size: int, arguments: argparse.Namespace) -> dict[str, object]:
    """Run one size by itself."""
    return json.loads(run_self(size, arguments.columns, arguments.rows))


def run_self(size: int, columns: int, rows: int, *more: str) -> str:
    """Run this file for one size and give its last line."""
    command = [
        sys.executable,
        __file__,
        "--one",
        str(size),
        "--columns",
        str(columns),
        "--rows",
        str(rows),
        *more,
    ]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()[-1]


def measure(size: int, columns: int, rows: int) -> dict[str, object]:
    """Build the database, ingest it twice, and give the figures of the first time (`again_s` of the second)."""
    with tempfile.TemporaryDirectory(prefix="ktx-benchmark-") as folder:
        started = time.perf_counter()
        true_joins = int(run_self(size, columns, rows, "--build", str(Path(folder) / "w.duckdb")))
        built = time.perf_counter()
        project = create_project(
            Path(folder) / "project", config_text="connections:\n  w: {driver: duckdb, path: ../w.duckdb}\n"
        )
        stages: dict[str, float] = {}
        mark = time.perf_counter()

        def emit(event: Event) -> None:
            nonlocal mark
            if isinstance(event, StageFinished):
                now = time.perf_counter()
                stages[event.stage], mark = round(now - mark, 2), now

        begun, begun_cpu = time.perf_counter(), time.process_time()
        report = ingest(project, emit=emit)
        ended, ended_cpu = time.perf_counter(), time.process_time()
        for step in report.connections[0].steps[2:]:
            stages[step.operation] = round(step.seconds, 2)
        peak_mib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        ingest(project)
        again = time.perf_counter()
    return {
        "tables": size,
        "columns": size * columns,
        "build_s": round(built - started, 2),
        "ingest_s": round(ended - begun, 2),
        "cpu_s": round(ended_cpu - begun_cpu, 2),
        "again_s": round(again - ended, 2),
        "peak_mib": peak_mib,
        "joins": len(report.connections[0].joins),
        "true_joins": true_joins,
        "stages": stages,
    }


def build(path: Path, size: int, columns: int, rows: int) -> int:
    """Write `size` tables of `columns` columns and give the number of true references among them."""
    nouns = [noun(number) for number in range(size)]
    with duckdb.connect(str(path)) as connection:
        connection.execute("BEGIN")
        for number, name in enumerate(nouns):
            parts = ["range + 1 AS id"]
            if number:
                parts.append(f"range % {rows // 2} + 1 AS {nouns[(number - 1) // 2]}_id")
            while len(parts) < columns:
                place = len(parts)
                kind = place % 4
                if kind == 0:
                    parts.append(f"'v' || range % 7 AS label_{place}")
                elif kind == 1:
                    parts.append(f"(range * {place} % 97)::DOUBLE / 3 AS amount_{place}")
                elif kind == 2:
                    parts.append(f"DATE '2024-01-01' + range::INTEGER AS day_{place}")
                else:
                    parts.append(f"range % 13 AS count_{place}")
            connection.execute(f"CREATE TABLE {name}s AS SELECT {', '.join(parts)} FROM range({rows})")
        connection.execute("COMMIT")
    return size - 1


def noun(number: int) -> str:
    """Make up a word, a different one for each number."""
    text = "".join(_SYLLABLES[int(digit)] for digit in f"{number:04}")
    return f"{text}x"


if __name__ == "__main__":
    sys.exit(main())
