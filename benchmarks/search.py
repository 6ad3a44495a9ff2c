"""Measure the search index over a generated project: full reindex, refresh with and without a change, and searches.

    python benchmarks/search.py [--pages 10000] [--sources 10000] [--columns 10] [--dir DIR]

Prints one line per figure. `cold` figures start a new interpreter, as a shell does; the others run in this process. `cpu` figures count
processor time, so that a busy machine does not change them.
"""

import argparse
import itertools
import json
import random
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from ktx.search.index import open_index
from ktx.search.lanes import Scope
from ktx.search.query import LAYER_KINDS, discover, search
from ktx.search.reindex import refresh

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


def timed(work, repeat: int = 1, clock=time.perf_counter) -> list[float]:
    times = []
    for _ in range(repeat):
        start = clock()
        work()
        times.append(clock() - start)
    return times


def cold(*arguments: str) -> float:
    return min(
        timed(
            lambda: subprocess.run(
                [sys.executable, "-m", "ktx", *arguments], check=True, capture_output=True
            ),
            repeat=5,
        )
    )


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--pages", type=int, default=10_000)
    parser.add_argument("--sources", type=int, default=10_000)
    parser.add_argument("--columns", type=int, default=10)
    parser.add_argument("--dir", type=Path, default=None)
    given = parser.parse_args()
    chance = random.Random(7)
    corpus = Corpus(chance)
    figures: dict[str, object] = {}
    with tempfile.TemporaryDirectory() as temporary:
        root = given.dir or Path(temporary)
        if not (root / "wiki").exists():
            root.mkdir(parents=True, exist_ok=True)
            corpus.build(root, pages=given.pages, sources=given.sources, columns=given.columns)
        file = root / ".ktx" / "index.sqlite"
        file.unlink(missing_ok=True)
        with open_index(file) as index:
            figures["full_reindex_cpu_s"] = timed(lambda: refresh(index, root), clock=time.process_time)[0]
            figures["documents"] = sum(index.count_documents().values())
            figures["index_mib"] = file.stat().st_size / 2**20
            figures["refresh_nothing_changed_s"] = min(timed(lambda: refresh(index, root), repeat=5))
            page = next((root / "wiki" / "global").iterdir())
            page.write_text(page.read_text() + "\nOne more line.\n")
            figures["refresh_one_page_s"] = timed(lambda: refresh(index, root))[0]
            questions = [" ".join(corpus.some(chance.choice([1, 2, 3, 5]))) for _ in range(200)]
            for name, work in {
                "wiki": lambda q: search(index, q, Scope(kinds=("wiki",), user_id="local"), limit=10),
                "sources": lambda q: search(index, q, Scope(kinds=LAYER_KINDS), limit=10, by_source=True),
                "discover": lambda q: discover(index, q, Scope(user_id="local"), limit=10),
            }.items():
                times = [
                    timed(lambda question=question, work=work: work(question))[0] * 1000
                    for question in questions
                ]
                figures[f"{name}_p50_cpu_ms"] = statistics.median(times)
                figures[f"{name}_p95_cpu_ms"] = statistics.quantiles(times, n=20)[-1]
        figures["python_c_pass_s"] = min(
            timed(lambda: subprocess.run([sys.executable, "-c", "pass"], check=True), repeat=5)
        )
        for command in ("wiki", "sl"):
            try:
                figures[f"cold_{command}_s"] = cold(
                    command, "customer", "total", "invoice", "--json", "--project-dir", str(root)
                )
                figures[f"cold_{command}_after_change_s"] = _after_change(root, command)
            except subprocess.CalledProcessError as error:
                figures[f"cold_{command}"] = error.stderr.decode()[-200:]
    print(json.dumps({k: round(v, 4) if isinstance(v, float) else v for k, v in figures.items()}, indent=2))


def _after_change(root: Path, command: str) -> float:
    page = next((root / "wiki" / "global").iterdir())
    page.write_text(page.read_text() + "\nAnd another.\n")
    started = time.perf_counter()
    subprocess.run(
        [sys.executable, "-m", "ktx", command, "customer", "total", "--json", "--project-dir", str(root)],
        check=True,
        capture_output=True,
    )
    return time.perf_counter() - started


if __name__ == "__main__":
    main()
