"""The differential fuzzer: random worlds, random questions, two independent answers.

PYTHONPATH=src:tests python -m oracle.fuzz --count 10000 --engine duckdb --seed 1
"""

from __future__ import annotations

import argparse
import json
import random
import re
import sys
import time
from collections import Counter
from pathlib import Path

from oracle.ask import ask
from oracle.engines import Database, opened
from oracle.files import layer_files, table_script
from oracle.invent import invent
from oracle.judge import BAD, Outcome, Verdict, judge, load
from oracle.record import write_case
from oracle.shrink import shrink
from oracle.world import Question, World

QUESTIONS_PER_WORLD = 10


def fuzz(
    database: Database,
    *,
    count: int,
    seed: int,
    keep: Path | None = None,
    most: int = 20,
    progress: bool = False,
) -> tuple[Counter[Outcome], list[str]]:
    """Ask `count` questions; give the outcomes and a small report per fault (at most `most` of them)."""
    outcomes: Counter[Outcome] = Counter()
    refusals: Counter[str] = Counter()
    faults: list[str] = []
    started = time.monotonic()
    number = 0
    asked = 0
    while asked < count:
        rng = random.Random(f"{seed}/{number}")
        number += 1
        world = invent(rng)
        database.fill(world)
        layer = load(world)
        for _ in range(min(QUESTIONS_PER_WORLD, count - asked)):
            asked += 1
            question = ask(rng, world)
            verdict = judge(database, world, layer, question)
            outcomes[verdict.outcome] += 1
            if verdict.outcome == "over_refused":
                refusals[re.sub("`[^`]*`", "…", verdict.detail)[:90]] += 1
            if verdict.outcome in BAD:
                faults.append(_small(database, world, question, verdict, f"{seed}/{number - 1}", keep))
                database.fill(world)
                if len(faults) >= most:
                    return outcomes, faults
        if progress and number % 100 == 0:
            rate = asked / (time.monotonic() - started)
            print(f"{asked} questions, {rate:.0f}/s, {dict(outcomes)}", file=sys.stderr)
    if progress and refusals:
        print(f"over-refusals: {refusals.most_common(8)}", file=sys.stderr)
    return outcomes, faults


def _small(
    database: Database, world: World, question: Question, verdict: Verdict, seed: str, keep: Path | None
) -> str:
    def fails(smaller: World, asked: Question) -> bool:
        layer = load(smaller)
        if layer.broken:
            return False
        database.fill(smaller)
        return judge(database, smaller, layer, asked).outcome == verdict.outcome

    world, question = shrink(world, question, fails)
    database.fill(world)
    again = judge(database, world, load(world), question)
    text = report(database, world, question, again, seed)
    if keep is not None:
        keep.mkdir(parents=True, exist_ok=True)
        name = f"{database.engine}-{again.outcome}-{seed.replace('/', '-')}"
        (keep / f"{name}.txt").write_text(text, encoding="utf-8")
        write_case(world, question, keep / name, name=again.outcome)
    return text


def report(database: Database, world: World, question: Question, verdict: Verdict, seed: str) -> str:
    """Describe a fault so that a person can play it again by hand."""
    lines = [
        f"{verdict.outcome} on {database.engine}, seed {seed}",
        verdict.detail,
        "",
        json.dumps(question.as_json()),
        "",
    ]
    for path, text in layer_files(world).items():
        lines += [f"# {path}", text, ""]
    lines += table_script(world, database.engine)
    lines += ["", verdict.sql]
    return "\n".join(lines)


def main() -> int:
    """Run from a shell."""
    parser = argparse.ArgumentParser(description="Compare compiled questions with a brute-force oracle.")
    parser.add_argument("--count", type=int, default=5000)
    parser.add_argument("--engine", choices=["duckdb", "sqlite", "postgres", "mysql"], default="duckdb")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument(
        "--keep",
        type=Path,
        default=None,
        help="write each fault into this folder, as text and as a case.yaml for tests/compile/cases",
    )
    parser.add_argument("--most", type=int, default=10, help="stop after so many faults")
    options = parser.parse_args()
    started = time.monotonic()
    with opened(options.engine) as database:
        outcomes, faults = fuzz(
            database,
            count=options.count,
            seed=options.seed,
            keep=options.keep,
            most=options.most,
            progress=True,
        )
    for fault in faults:
        print(fault)
        print("=" * 100)
    total = sum(outcomes.values())
    print(f"{options.engine}: {total} questions in {time.monotonic() - started:.0f} s: {dict(outcomes)}")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
