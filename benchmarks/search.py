"""Measure the search index over generated projects: full reindex, refresh with and without a change, and searches.

    python benchmarks/search.py [--sizes 77 770 7700 10000] [--columns 10] [--no-vectors] [--dir DIR]

A size is so many pages and so many sources with their columns and a measure: 77, 770 and 7,700 give about 1,000, 10,000 and 100,000
documents. `shell` figures start the real program as a shell does, five times, and give the median; the others run in this process.
Each time is given twice: as seen on the clock, and as processor time, which a busy machine changes little. `all lanes` searches go
through a semantic lane whose vectors are random ones of the usual length: the time of comparing, without that of the model.
"""

import argparse
import itertools
import os
import random
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ktx.search.index import Index, open_index
from ktx.search.lanes import Lane, Scope
from ktx.search.meaning import embed_missing
from ktx.search.query import LANES, LAYER_KINDS, WORD_LANES, discover, search
from ktx.search.reindex import refresh
from ktx.search.vectors import SemanticLane

QUESTIONS = 200
DIMENSIONS = 384

COMMON = [
    "id",
    "name",
    "status",
    "amount",
    "date",
    "type",
    "code",
    "total",
    "count",
    "value",
    "rate",
    "customer",
    "order",
]
HEADS = [
    "ord",
    "cust",
    "inv",
    "pay",
    "ref",
    "ship",
    "prod",
    "stor",
    "camp",
    "tick",
    "sess",
    "acc",
    "contr",
    "suppl",
    "reg",
    "ware",
]
TAILS = [
    "er",
    "omer",
    "oice",
    "ment",
    "und",
    "uct",
    "aign",
    "et",
    "ion",
    "ount",
    "ier",
    "oyee",
    "house",
    "urn",
    "iew",
    "ing",
]


def vocabulary(chance: random.Random, size: int = 3000) -> list[str]:
    """Make words, the first ones the most common, as in a company's own names."""
    words = dict.fromkeys(COMMON)
    while len(words) < size:
        words[
            chance.choice(HEADS)
            + "aeiou"[chance.randrange(5)]
            + chance.choice(HEADS)[:2]
            + chance.choice(TAILS)
        ] = None
    return list(words)


class Corpus:
    """Words drawn by Zipf's law."""

    def __init__(self, chance: random.Random) -> None:
        self.chance = chance
        self.words = vocabulary(chance)
        self.weights = list(itertools.accumulate(1 / (rank + 3) for rank in range(len(self.words))))

    def some(self, count: int) -> list[str]:
        """Draw words."""
        return self.chance.choices(self.words, cum_weights=self.weights, k=count)

    def build(self, root: Path, *, pages: int, sources: int, columns: int) -> None:
        """Write the project."""
        (root / "ktx.yaml").write_text("connections:\n  warehouse: {driver: sqlite, path: w.db}\n")
        wiki = root / "wiki" / "global"
        wiki.mkdir(parents=True)
        for number in range(pages):
            first, second, third = self.some(3)
            lines = "\n\n".join(" ".join(self.some(30)) + "." for _ in range(4))
            (wiki / f"{first}-{second}-{number}.md").write_text(
                f"---\nsummary: What {first} {second} {third} means\ntags: [{first}, {third}]\n"
                f"sl_refs: [{first}_{second}]\n---\n\n# {first} {second}\n\n{lines} See `{first}.{third}`.\n"
            )
        layer = root / "semantic-layer" / "warehouse"
        layer.mkdir(parents=True)
        for number in range(sources):
            name = "_".join([*self.some(2), str(number)])
            lines = [
                f"name: {name}",
                f"table: main.{name}",
                "grain: [id]",
                f"descriptions: {{user: Facts about {name}}}",
            ]
            lines += ["columns:", "  - {name: id, type: number}"]
            for column in range(columns - 1):
                label = "_".join([*self.some(2), str(column)])
                lines.append(
                    f"  - {{name: {label}, type: string, descriptions: {{ai: {' '.join(self.some(6))}}}}}"
                )
            lines += ["measures:", "  - {name: total_value, expr: count(*), description: How many there are}"]
            (layer / f"{name}.yaml").write_text("\n".join(lines) + "\n")


class StandIn:
    """Random vectors in place of a model's."""

    model = "stand-in"
    batch_size = 512
    is_remote = False

    def __init__(self) -> None:
        self.chance = np.random.default_rng(1)

    def measure_dimensions(self) -> int:
        """Give the length of a vector."""
        return DIMENSIONS

    def embed(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Give one vector per text."""
        vectors = self.chance.standard_normal((len(texts), DIMENSIONS)).astype(np.float32)
        return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def timed(work: Callable[[], object]) -> tuple[float, float]:
    """Give the seconds on the clock and those of the processor."""
    wall, cpu = time.perf_counter(), time.process_time()
    work()
    return time.perf_counter() - wall, time.process_time() - cpu


def children_cpu_s() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def shell(*arguments: str, before: Callable[[], object] = lambda: None) -> tuple[float, float]:
    """Start the program five times, each time after `before`, and give the median of both clocks."""
    walls, cpus = [], []
    for _ in range(5):
        before()
        wall, cpu = time.perf_counter(), children_cpu_s()
        subprocess.run([sys.executable, *arguments], check=True, capture_output=True)
        walls.append(time.perf_counter() - wall)
        cpus.append(children_cpu_s() - cpu)
    return statistics.median(walls), statistics.median(cpus)


def line(name: str, unit: str, *pairs: tuple[str, tuple[float, float]]) -> None:
    shown = "   ".join(f"{label} {wall:8.2f} {unit} ({cpu:.2f} cpu)" for label, (wall, cpu) in pairs)
    print(f"  {name:34} {shown}", flush=True)


def percentiles(
    work: Callable[[str], object], questions: Sequence[str]
) -> list[tuple[str, tuple[float, float]]]:
    """Give p50 and p95 in milliseconds, on both clocks."""
    work(questions[0])
    times = [timed(lambda question=question: work(question)) for question in questions]
    walls, cpus = ([1000 * pair[at] for pair in times] for at in (0, 1))
    return [
        ("p50", (statistics.median(walls), statistics.median(cpus))),
        ("p95", (statistics.quantiles(walls, n=20)[-1], statistics.quantiles(cpus, n=20)[-1])),
    ]


def searches(index: Index, questions: Sequence[str], lanes: Sequence[Lane], label: str) -> None:
    for name, work in {
        "pages": lambda q: search(index, q, Scope(kinds=("wiki",), user_id="local"), limit=10, lanes=lanes),
        "sources": lambda q: search(
            index, q, Scope(kinds=LAYER_KINDS), limit=10, by_source=True, lanes=lanes
        ),
        "discover": lambda q: discover(index, q, Scope(user_id="local"), limit=10, lanes=lanes),
    }.items():
        line(f"{name}, {label}", "ms", *percentiles(work, questions))


def edit(root: Path) -> None:
    page = next((root / "wiki" / "global").iterdir())
    page.write_text(page.read_text() + "\nOne more line.\n")


def measure(root: Path, corpus: Corpus, size: int, given: argparse.Namespace) -> None:
    """Measure one project."""
    corpus.build(root, pages=size, sources=size, columns=given.columns)
    file = root / ".ktx" / "index.sqlite"
    old = time.time() - 60
    for path in root.rglob("*.*"):
        os.utime(path, (old, old))
    with open_index(file) as index:
        full = timed(lambda: refresh(index, root))
        documents = sum(index.count_documents().values())
        print(
            f"\n{size:,} pages and {size:,} sources: {documents:,} documents, {file.stat().st_size / 2**20:.0f} MiB"
        )
        line("full reindex, no vectors", "s", ("", full))
        line(
            "refresh, nothing changed", "s", ("", min(timed(lambda: refresh(index, root)) for _ in range(5)))
        )
        edit(root)
        line("refresh, one page changed", "s", ("", timed(lambda: refresh(index, root))))
        chance = corpus.chance
        questions = [" ".join(corpus.some(chance.choice([1, 2, 3, 5]))) for _ in range(QUESTIONS)]
        searches(index, questions, LANES, "words")
        if given.vectors:
            embedder = StandIn()
            embed_missing(index, embedder)
            searches(index, questions, (*WORD_LANES, SemanticLane(embedder)), "all lanes")
    project = ("--json", "--project-dir", str(root))
    for command in ("wiki", "sl"):
        asked = ("-m", "ktx", command, "customer", "total", "invoice", *project)
        line(f"shell: ktx {command}", "s", ("", shell(*asked)))
        line(f"shell: ktx {command}, one changed", "s", ("", shell(*asked, before=lambda: edit(root))))


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--sizes", type=int, nargs="+", default=[77, 770, 7_700, 10_000])
    parser.add_argument("--columns", type=int, default=10)
    parser.add_argument("--no-vectors", dest="vectors", action="store_false")
    parser.add_argument("--dir", type=Path, help="where to keep the projects; a temporary folder by default")
    given = parser.parse_args()
    print(
        f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}; `python -c pass`: {shell('-c', 'pass')[0]:.3f} s"
    )
    corpus = Corpus(random.Random(7))
    with tempfile.TemporaryDirectory() as temporary:
        for size in given.sizes:
            root = (given.dir or Path(temporary)) / str(size)
            root.mkdir(parents=True)
            measure(root, corpus, size, given)
    print(f"\nload {os.getloadavg()[0]:.1f} at the end")


if __name__ == "__main__":
    main()
