"""What a large ingest costs beside its model: time, memory, and a second run.

    PYTHONPATH=src:tests python benchmarks/ingest.py [--units 1000] [--few 100] [--latency 1.0] [--at-once 8] [--tables 200]

A scripted model in a process of its own answers each step of each unit after `--latency` seconds: one step that writes a measure and
a page, one that ends the unit. Every size runs in a process of its own, on a fresh project of `--tables` tables. Printed for each, in
one run:

- `units`: the wall time of the units alone, and its ratio to the model's own latency, which is steps x units x latency / at once: 1.00
  would be no time of ours at all. One call at the beginning warms the prompt cache while the others wait; it is counted as the model's.
- `a call`: the mean time of one call as ktx saw it; what it is above `--latency` is the provider's work, the wire, and ours around it.
- `stages`: the wall time of every stage; what is not `propose` is work of ours after the model is done, and grows with the units.
- `cpu`: processor time of the whole run, per unit; the figure to compare on a machine that does other things as well.
- `peak`: the most memory that the process held, and had held before and after the units; the rest is the commit, which is one whole.
- `again`: the second run on the same sources: its wall time, the calls that it made, and whether it committed (it must not).
"""

import argparse
import collections
import json
import resource
import sqlite3
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

from ktx.events import Event, StageFinished, StageStarted
from ktx.ingest.pipeline import ingest
from ktx.ingest.runs import open_runs
from ktx.ingest.sources import Given, ingest_source
from ktx.llm.connect import LEDGER_NAME
from ktx.project import create_project, ensure_state_dir, project_lock
from ktx.sources.text.source import TextItem, TextSource

STEPS = 2
_SCRIPT = """
import re
from modelserver.replies import calls, text

def reply(request):
    if request.assistant_turns:
        return text("Done.").delayed({latency_s})
    n = int(re.search(r"Unit: note(\\d+)", request.prompt_text).group(1))
    table = n % {tables}
    yaml = f"name: t{{table}}\\nmeasures:\\n  - {{{{name: amount_{{n}}, expr: sum(amount), filter: id <> {{n}}}}}}\\n"
    page = {{"key": f"note-{{n}}", "summary": f"Rule {{n}}.", "body": f"# Rule {{n}}\\n\\nUse `t{{table}}.amount_{{n}}`.\\n"}}
    return calls(
        ("write_source", {{"connection_id": "shop", "yaml": yaml}}), ("write_page", page)
    ).delayed({latency_s})
"""
_CONFIG = """\
connections:
  shop: {{driver: sqlite, path: shop.sqlite}}
llm:
  provider: {{backend: anthropic, anthropic: {{api_key: sk-test, base_url: "{url}"}}}}
  models: {{default: claude-sonnet-5-5}}
ingest:
  workUnits: {{maxConcurrency: {at_once}}}
scan:
  relationships: {{enabled: false}}
"""


@contextmanager
def far_provider(folder: Path, *, latency_s: float, tables: int) -> Generator[str, None, None]:
    """A provider in a process of its own, so that its work is not counted as ours."""
    (folder / "script.py").write_text(_SCRIPT.format(latency_s=latency_s, tables=tables))
    command = [sys.executable, "-m", "modelserver", "--script", str(folder / "script.py")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as program:
        try:
            assert program.stdout
            url = program.stdout.readline().split()[1]
            # It prints a line for each request, and would wait for a reader.
            threading.Thread(target=collections.deque, args=(program.stdout, 0), daemon=True).start()
            yield url
        finally:
            program.terminate()


def one_size(folder: Path, url: str, *, units: int, at_once: int, tables: int) -> dict[str, object]:
    """Run once, and once again; called in a process of its own."""
    database = sqlite3.connect(folder / "shop.sqlite")
    for number in range(tables):
        database.execute(f"CREATE TABLE t{number} (id INTEGER PRIMARY KEY, status TEXT, amount REAL)")
    database.commit()
    database.close()
    project = create_project(
        folder, config_text=_CONFIG.format(url=url, at_once=at_once), is_existing_ok=True
    )
    ingest(project, ["shop"])
    marks: dict[str, float] = {}
    before_kib = 0

    def emit(event: Event) -> None:
        nonlocal before_kib
        match event:
            case StageStarted(stage="units"):
                marks["began"] = time.perf_counter()
                before_kib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
            case StageFinished(stage="units"):
                marks["ended"] = time.perf_counter()
                marks["after_kib"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
            case _:
                pass

    items = tuple(
        TextItem(
            label=f"note{n}", content=f"Rule {n}: amounts of t{n % tables}.".encode(), name=f"note{n}.md"
        )
        for n in range(units)
    )
    given = Given(source_id="notes", driver="text", source=TextSource(items=items, writable_ids=("shop",)))

    def run() -> tuple[object, float, float]:
        wall, cpu = time.perf_counter(), time.process_time()
        with project_lock(project), open_runs(ensure_state_dir(project)) as store:
            report = ingest_source(project, given, store, emit=emit)
        return report, time.perf_counter() - wall, time.process_time() - cpu

    def calls() -> int:
        with sqlite3.connect(project.state_dir / LEDGER_NAME) as ledger:
            return int(ledger.execute("SELECT count(*) FROM calls").fetchone()[0])

    report, wall_s, cpu_s = run()
    assert {unit.status for unit in report.units} == {"done"}, report.error
    with sqlite3.connect(project.state_dir / LEDGER_NAME) as ledger:
        (call_s,) = ledger.execute("SELECT avg(duration_s) FROM calls").fetchone()
    asked, peak_kib = calls(), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    again, again_s, _ = run()
    return {
        "units_s": marks["ended"] - marks["began"],
        "call_s": call_s,
        "wall_s": wall_s,
        "cpu_s": cpu_s,
        "stages": {one.stage: one.seconds for one in report.stages},
        "before_kib": before_kib,
        "after_kib": marks["after_kib"],
        "peak_kib": peak_kib,
        "files": len(report.files),
        "again_s": again_s,
        "again_calls": calls() - asked,
        "again_commit": again.commit,
    }


def show(units: int, told: dict[str, object], *, latency_s: float, at_once: int) -> None:
    """Print one size."""
    value = {key: float(one) for key, one in told.items() if isinstance(one, int | float)}
    ideal_s = units * STEPS * latency_s / at_once + latency_s
    stages = " ".join(f"{name} {seconds:.1f}" for name, seconds in dict(told["stages"]).items())
    print(
        f"{units} units at concurrency {at_once}, {latency_s} s a step; {told['files']} files in one commit"
    )
    print(
        f"   units  {value['units_s']:.1f} s, the model's own {ideal_s:.1f} s, ratio {value['units_s'] / ideal_s:.3f}"
    )
    print(f"   a call {value['call_s']:.3f} s on average")
    print(f"   stages {stages}")
    print(f"   cpu    {value['cpu_s']:.1f} s, {value['cpu_s'] / units * 1000:.0f} ms a unit")
    print(
        f"   peak   {value['peak_kib'] / 1024:.0f} MiB; before the units {value['before_kib'] / 1024:.0f}, after them {value['after_kib'] / 1024:.0f}"
    )
    print(
        f"   again  {value['again_s']:.1f} s, {told['again_calls']} calls, commit: {told['again_commit']}",
        flush=True,
    )


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--units", type=int, default=1000)
    parser.add_argument("--few", type=int, default=100)
    parser.add_argument("--latency", type=float, default=1.0)
    parser.add_argument("--at-once", type=int, default=8)
    parser.add_argument("--tables", type=int, default=200)
    parser.add_argument("--one", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.one:
        folder, url = given.one.split(" ")
        size = one_size(Path(folder), url, units=given.units, at_once=given.at_once, tables=given.tables)
        print(json.dumps(size))
        return
    peaks: list[float] = []
    afters: list[float] = []
    for units in (given.few, given.units):
        with tempfile.TemporaryDirectory() as folder:
            (Path(folder) / "project").mkdir()
            with far_provider(Path(folder), latency_s=given.latency, tables=given.tables) as url:
                told = json.loads(
                    subprocess.run(
                        [sys.executable, __file__, "--one", f"{folder}/project {url}", "--units", str(units),
                         "--at-once", str(given.at_once), "--tables", str(given.tables)],
                        check=True, stdout=subprocess.PIPE, text=True,
                    ).stdout
                )  # fmt: skip
            show(units, told, latency_s=given.latency, at_once=given.at_once)
            peaks.append(float(told["peak_kib"]))
            afters.append(float(told["after_kib"]))
    print(
        f"memory of {given.units} units relative to {given.few}: at work {afters[1] / afters[0]:.2f}, in all {peaks[1] / peaks[0]:.2f}"
    )


if __name__ == "__main__":
    main()
