"""Measure what a context pack holds: for labelled questions, the share of the definitions that it must hold, at several budgets.

    python benchmarks/search/packs.py [--noise 400] [--budgets 500 1000 2000 4000] [--words] [--misses]

The questions are the `packs` of demo.yaml and company.yaml. `recall` is the mean share of what must be there, `whole` the share of questions of
which everything is; `room` the mean share of the budget that was used. Beside the pack stands what an agent gets for the same tokens from one
`discover_data` and reading what it names, best first: `reading`. `--words` leaves the local model out.
"""

import argparse
import json
import statistics
import tempfile
from collections.abc import Sequence
from pathlib import Path

from quality import HERE, company, demo
from ruamel.yaml import YAML

from ktx.project import open_project
from ktx.search.index import open_index
from ktx.serve.answers import ContextPack
from ktx.serve.context import CHARS_PER_TOKEN, context_pack
from ktx.serve.desk import Desk
from ktx.serve.discover import discover_data
from ktx.serve.reindex import reindex
from ktx.serve.sources import sl_read_source
from ktx.serve.wiki import wiki_read


def held(pack: ContextPack) -> set[str]:
    """Name everything that a pack tells."""
    names = {rule.key for rule in pack.rules if rule.excerpt}
    for source in pack.sources:
        names.add(source.name)
        for part in (*source.measures, *source.columns, *(source.segments or ())):
            names.add(f"{source.name}.{part.name}")
    names.update(f"{join.origin} -> {join.target}" for join in pack.joins)
    names.update(f"{join.target} -> {join.origin}" for join in pack.joins)
    return names


def read_instead(desk: Desk, question: str, tokens: int) -> set[str]:
    """Name what the same tokens hold when an agent discovers and then reads what was found, best first, as long as it fits."""
    found = discover_data(desk, question)
    room = tokens * CHARS_PER_TOKEN - len(json.dumps(found.plain()))
    names: set[str] = set()
    read: set[str] = set()
    for ref in found.refs:
        target = ref.id if ref.kind in ("wiki", "sl_source") else ref.id.rpartition(".")[0]
        if target in read:
            continue
        read.add(target)
        if ref.kind == "wiki":
            text = wiki_read(desk, target).content
        else:
            text = sl_read_source(desk, ref.connection_id or "", target).yaml
        room -= len(text)
        if room < 0:
            break
        names.add(target)
        if ref.kind != "wiki":
            layer = desk.layer(ref.connection_id or "").sources[target]
            names.update(f"{target}.{one.name}" for one in (*layer.measures, *layer.columns, *layer.segments))
            names.update(f"{target} -> {join.to}" for join in layer.joins)
    return names


def report(desk: Desk, questions: Sequence[tuple[str, Sequence[str]]], given: argparse.Namespace) -> None:
    for tokens in given.budgets:
        recalls, reading, wholes, rooms = [], [], [], []
        for question, must in questions:
            pack = context_pack(desk, question, tokens=tokens)
            names = held(pack)
            recalls.append(len(names.intersection(must)) / len(must))
            wholes.append(names.issuperset(must))
            rooms.append(pack.tokens / tokens)
            reading.append(len(read_instead(desk, question, tokens).intersection(must)) / len(must))
            if given.misses and not names.issuperset(must):
                print(f"    {tokens} {question!r} lacks {sorted(set(must) - names)}")
        print(
            f"  {tokens:5} tokens   recall {statistics.mean(recalls):.3f}   whole {statistics.mean(wholes):.3f}"
            f"   room {statistics.mean(rooms):.2f}   reading {statistics.mean(reading):.3f}"
        )


def main() -> None:
    options = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    options.add_argument("--noise", type=int, default=400, help="generated tables around the company")
    options.add_argument("--budgets", type=int, nargs="+", default=[500, 1_000, 2_000, 4_000])
    options.add_argument("--words", action="store_true", help="without the local model")
    options.add_argument("--misses", action="store_true", help="name what is missing")
    given = options.parse_args()
    for name in ("demo", "company"):
        questions = [
            (question, must)
            for question, must in YAML(typ="safe").load((HERE / f"{name}.yaml").read_text())["packs"]
        ]
        with tempfile.TemporaryDirectory() as folder:
            root = Path(folder) / name
            if name == "demo":
                with open_index(Path(folder) / "index.sqlite") as index:
                    demo(root, index)
            else:
                with open_index(root / ".ktx" / "index.sqlite") as index:
                    company(root, index, given.noise)
                    index.set_setting("scan_file", "")  # its values are from no scan, and stay
                (root / "ktx.yaml").write_text("connections:\n  warehouse: {driver: sqlite, path: none.db}\n")
            if given.words:
                with (root / "ktx.yaml").open("a") as file:
                    file.write("ingest: {embeddings: {backend: none}}\n")
            with Desk(project=open_project(root)) as desk:
                vectors = reindex(desk).vectors
                print(f"\n{name}: {len(questions)} questions, {vectors.model or vectors.reason}")
                report(desk, questions, given)


if __name__ == "__main__":
    main()
