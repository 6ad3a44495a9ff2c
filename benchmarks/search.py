"""Measure the search index over a generated project: full reindex, refresh with and without a change, and searches.

    python benchmarks/search.py [--pages 10000] [--sources 10000] [--columns 10] [--dir DIR]

Prints one line per figure. `cold` figures start a new interpreter, as a shell does; the others run in this process.
"""

import argparse
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

NOUNS = [
    "order",
    "customer",
    "invoice",
    "payment",
    "refund",
    "shipment",
    "product",
    "store",
    "campaign",
    "ticket",
    "session",
    "account",
    "contract",
    "supplier",
    "employee",
    "region",
    "warehouse",
    "subscription",
    "price",
    "discount",
    "return",
    "review",
    "visit",
    "lead",
    "device",
    "plan",
    "budget",
    "claim",
    "policy",
    "route",
]
QUALITIES = [
    "gross",
    "net",
    "daily",
    "monthly",
    "first",
    "last",
    "open",
    "closed",
    "active",
    "internal",
    "external",
    "planned",
    "actual",
    "average",
    "total",
    "local",
]
THINGS = [
    "amount",
    "count",
    "status",
    "date",
    "type",
    "code",
    "name",
    "rate",
    "share",
    "value",
    "score",
    "level",
    "owner",
    "source",
    "channel",
    "currency",
    "country",
    "city",
]


def build(root: Path, *, pages: int, sources: int, columns: int, chance: random.Random) -> None:
    (root / "ktx.yaml").write_text("connections:\n  warehouse: {driver: sqlite, path: w.db}\n")
    wiki = root / "wiki" / "global"
    wiki.mkdir(parents=True)
    for number in range(pages):
        noun, quality, thing = chance.choice(NOUNS), chance.choice(QUALITIES), chance.choice(THINGS)
        text = " ".join(chance.choice(NOUNS + QUALITIES + THINGS) for _ in range(120))
        (wiki / f"{quality}-{noun}-{thing}-{number}.md").write_text(
            f"---\nsummary: What {quality} {noun} {thing} means in case {number}\ntags: [{noun}, {thing}]\n"
            f"sl_refs: [{noun}_{number % max(sources, 1)}]\n---\n\n# {quality} {noun} {thing}\n\n{text}, see `{noun}_{number}.{thing}`.\n"
        )
    layer = root / "semantic-layer" / "warehouse"
    layer.mkdir(parents=True)
    for number in range(sources):
        name = f"{chance.choice(NOUNS)}_{number}"
        lines = [
            f"name: {name}",
            f"table: main.{name}",
            "grain: [id]",
            f"descriptions: {{user: Facts about {name}}}",
            "columns:",
        ]
        lines.append("  - {name: id, type: number}")
        for column in range(columns - 1):
            label = f"{chance.choice(QUALITIES)}_{chance.choice(THINGS)}_{column}"
            lines.append(
                f"  - {{name: {label}, type: string, descriptions: {{ai: The {label} of the {name}}}}}"
            )
        lines += ["measures:", "  - {name: total_value, expr: count(*), description: How many there are}"]
        (layer / f"{name}.yaml").write_text("\n".join(lines) + "\n")


def timed(work, repeat: int = 1) -> list[float]:
    times = []
    for _ in range(repeat):
        start = time.perf_counter()
        work()
        times.append(time.perf_counter() - start)
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
    figures: dict[str, object] = {}
    with tempfile.TemporaryDirectory() as temporary:
        root = given.dir or Path(temporary)
        if not (root / "wiki").exists():
            root.mkdir(parents=True, exist_ok=True)
            build(root, pages=given.pages, sources=given.sources, columns=given.columns, chance=chance)
        file = root / ".ktx" / "index.sqlite"
        file.unlink(missing_ok=True)
        with open_index(file) as index:
            figures["full_reindex_s"] = timed(lambda: refresh(index, root))[0]
            figures["documents"] = sum(index.count_documents().values())
            figures["index_mib"] = file.stat().st_size / 2**20
            figures["refresh_nothing_changed_s"] = min(timed(lambda: refresh(index, root), repeat=5))
            page = next((root / "wiki" / "global").iterdir())
            page.write_text(page.read_text() + "\nOne more line.\n")
            figures["refresh_one_page_s"] = timed(lambda: refresh(index, root))[0]
            questions = [
                " ".join(chance.sample(NOUNS + QUALITIES + THINGS, k=chance.choice([1, 2, 3, 5])))
                for _ in range(200)
            ]
            for name, work in {
                "wiki": lambda q: search(index, q, Scope(kinds=("wiki",), user_id="local"), limit=10),
                "sources": lambda q: search(index, q, Scope(kinds=LAYER_KINDS), limit=10, by_source=True),
                "discover": lambda q: discover(index, q, Scope(user_id="local"), limit=10),
            }.items():
                times = [
                    timed(lambda question=question, work=work: work(question))[0] * 1000
                    for question in questions
                ]
                figures[f"{name}_p50_ms"] = statistics.median(times)
                figures[f"{name}_p95_ms"] = statistics.quantiles(times, n=20)[-1]
        figures["python_c_pass_s"] = min(
            timed(lambda: subprocess.run([sys.executable, "-c", "pass"], check=True), repeat=5)
        )
        for command in ("wiki", "sl"):
            try:
                figures[f"cold_{command}_s"] = cold(
                    command, "net", "revenue", "refund", "--json", "--project-dir", str(root)
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
        [sys.executable, "-m", "ktx", command, "net", "refund", "--json", "--project-dir", str(root)],
        check=True,
        capture_output=True,
    )
    return time.perf_counter() - started


if __name__ == "__main__":
    main()
