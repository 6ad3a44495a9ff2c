"""Measure what a search finds: labelled questions over the demo and over a company, each lane by itself and all of them fused.

    python benchmarks/search/quality.py [--noise 400] [--misses]

The questions were written by us beside the projects. The `questions` are mostly in other words than the files use, and the fusion may be
judged by them; the `held_out` ones are a mixture as people and agents ask (names, parts and slips of names, values, other words), and
nothing was chosen by them. `--noise` adds generated tables around the company. nDCG@10 and recall@10 are means over questions, with
binary relevance; times are of one search in this process. Without an installed local model the semantic lane is left out, and the result says so.
"""

import argparse
import json
import math
import random
import statistics
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from ruamel.yaml import YAML

from ktx.config.model import Embeddings
from ktx.demo.run import run_demo
from ktx.embeddings.connect import open_embedder
from ktx.embeddings.embedder import NoEmbedder
from ktx.project import open_project
from ktx.search.documents import DocumentKind
from ktx.search.index import ColumnValues, Index, open_index
from ktx.search.lanes import Lane, Scope
from ktx.search.meaning import embed_missing
from ktx.search.query import LAYER_KINDS, WORD_LANES, search
from ktx.search.reindex import ValueBatch, refresh
from ktx.serve.desk import Desk
from ktx.serve.scans import value_batches

HERE = Path(__file__).parent
NOISE = [
    "audit",
    "batch",
    "cache",
    "draft",
    "event",
    "export",
    "feed",
    "import",
    "job",
    "log",
    "map",
    "note",
    "page",
    "queue",
    "record",
    "sync",
    "task",
    "token",
    "trace",
    "zone",
]
FILLER = [
    "amount",
    "code",
    "count",
    "date",
    "flag",
    "group",
    "key",
    "label",
    "level",
    "number",
    "owner",
    "rank",
    "rate",
    "reference",
    "size",
    "state",
    "status",
    "time",
    "total",
    "type",
]
Question = tuple[str, Sequence[str]]
Sets = dict[str, list[Question]]
SETS = ("questions", "held_out")


def company(root: Path, index: Index, noise: int) -> Sets:
    """Write the company's project, and index it with its sampled values."""
    given = YAML(typ="safe").load((HERE / "company.yaml").read_text())
    writer = YAML()
    layer = root / "semantic-layer" / "warehouse"
    layer.mkdir(parents=True)
    for name, (about, columns) in given["sources"].items():
        entry = {
            "name": name,
            "table": f"main.{name}",
            "grain": [next(iter(columns))],
            "descriptions": {"user": about},
            "joins": [
                {
                    "to": target,
                    "on": f"{full} = {target}.{next(iter(given['sources'][target][1]))}",
                    "relationship": "many_to_one",
                }
                for full, target in given["joins"].items()
                if full.partition(".")[0] == name
            ],
            "columns": [
                {"name": column, "type": "string", **({"descriptions": {"user": text}} if text else {})}
                for column, text in columns.items()
            ],
            "measures": [
                {"name": full.partition(".")[2], "expr": "count(*)", "description": text}
                for full, text in given["measures"].items()
                if full.partition(".")[0] == name
            ],
        }
        writer.dump(entry, layer / f"{name}.yaml")
    pages = root / "wiki" / "global"
    pages.mkdir(parents=True)
    for key, (summary, *body) in given["pages"].items():
        (pages / f"{key}.md").write_text(f"---\nsummary: {summary}\n---\n\n{', '.join(body)}\n")
    chance = random.Random(3)
    for number in range(noise):
        name = "_".join([*chance.sample(NOISE, 2), str(number)])
        labels = dict.fromkeys("_".join(chance.sample(FILLER, 2)) for _ in range(8))
        columns = [{"name": label, "type": "string"} for label in labels]
        entry = {"name": name, "table": f"main.{name}", "grain": [columns[0]["name"]], "columns": columns}
        writer.dump(entry, layer / f"{name}.yaml")
    columns = [
        ColumnValues(source=full.partition(".")[0], column=full.partition(".")[2], values=tuple(values))
        for full, values in given["values"].items()
    ]
    refresh(index, root, values=[ValueBatch(connection_id="warehouse", stamp="1", read=lambda: columns)])
    return {name: [(question, expected) for question, expected in given[name]] for name in SETS}


def demo(root: Path, index: Index) -> Sets:
    """Make the demo project, and index it with what its scan sampled."""
    run_demo(root)
    with Desk(project=open_project(root)) as desk:
        refresh(index, root, values=value_batches(desk.project, index, desk.layer, force=True))
    given = YAML(typ="safe").load((HERE / "demo.yaml").read_text())
    return {name: [(question, expected) for question, expected in given[name]] for name in SETS}


def ask(index: Index, question: Question, lanes: Sequence[Lane]) -> list[str]:
    """Give the ten first names, among pages or in the layer."""
    text, expected = question
    kinds: tuple[DocumentKind, ...] = LAYER_KINDS
    if index.connection.execute(
        "SELECT 1 FROM document WHERE kind = 'wiki' AND ref = ?", (expected[0],)
    ).fetchone():
        kinds = ("wiki",)
    found = search(index, text, Scope(kinds=kinds), limit=10, lanes=lanes)
    return [hit.ref for hit in found.hits]


def ndcg(found: Sequence[str], expected: Sequence[str]) -> float:
    gained = sum(1 / math.log2(at + 2) for at, ref in enumerate(found) if ref in expected)
    return gained / sum(1 / math.log2(at + 2) for at in range(min(10, len(expected))))


def recall(found: Sequence[str], expected: Sequence[str]) -> float:
    return len(set(found) & set(expected)) / len(expected)


def figures(index: Index, questions: Sequence[Question], lanes: Sequence[Lane]) -> dict[str, float]:
    """Ask all questions through some lanes."""
    times, gains, recalls = [], [], []
    for question in questions:
        started = time.perf_counter()
        found = ask(index, question, lanes)
        times.append((time.perf_counter() - started) * 1000)
        gains.append(ndcg(found, question[1]))
        recalls.append(recall(found, question[1]))
    return {
        "ndcg@10": round(statistics.mean(gains), 3),
        "recall@10": round(statistics.mean(recalls), 3),
        "p50_ms": round(statistics.median(times), 1),
        "p95_ms": round(statistics.quantiles(times, n=20)[-1], 1),
    }


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--noise", type=int, default=400, help="generated tables around the company")
    options.add_argument(
        "--misses", action="store_true", help="name the questions that the fusion does not answer"
    )
    given = options.parse_args()
    embedder = open_embedder(Embeddings(), project_dir=Path())
    lanes: list[Lane] = list(WORD_LANES)
    if not isinstance(embedder, NoEmbedder):
        from ktx.search.vectors import SemanticLane

        lanes.append(SemanticLane(embedder))
    report: dict[str, object] = {
        "semantic": embedder.reason if isinstance(embedder, NoEmbedder) else embedder.model
    }
    makers = {"demo": demo, "company": lambda root, index: company(root, index, given.noise)}
    for project, make in makers.items():
        with tempfile.TemporaryDirectory() as folder:
            root = Path(folder) / project
            with open_index(Path(folder) / "index.sqlite") as index:
                sets = make(root, index)
                if not isinstance(embedder, NoEmbedder):
                    embed_missing(index, embedder)
                documents = sum(index.count_documents().values())
                for name, questions in sets.items():
                    rows = {lane.name: figures(index, questions, [lane]) for lane in lanes}
                    rows["words, fused"] = figures(index, questions, WORD_LANES)
                    rows["all, fused"] = figures(index, questions, lanes)
                    print(f"\n{project}, {name}: {len(questions)} questions, {documents} documents")
                    for lane, row in rows.items():
                        print(f"  {lane:14} {json.dumps(row)}")
                    report[f"{project} {name}"] = rows
                    if given.misses:
                        for question in questions:
                            if recall(found := ask(index, question, lanes), question[1]) < 1:
                                print(f"  {question[0]!r}: wanted {question[1]}, found {found[:5]}")
    print(json.dumps(report))


if __name__ == "__main__":
    main()
