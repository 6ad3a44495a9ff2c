"""Score relationship discovery on labelled databases: precision, recall and F1, per database and over all links.

Usage: python benchmarks/relationships.py [--data FOLDER] [--json] [--misses]

Three settings: declared constraints removed, with rows; removed, without rows (names and types alone, validation not
required); everything declared, with rows. A link is right when both tables and both column lists agree, case as written.
"""

import argparse
import json
import sys
import time
from dataclasses import dataclass, replace
from pathlib import Path

from ruamel.yaml import YAML

from ktx.catalog import Catalog, Column, ForeignKey, Relationship, Table, TableRef
from ktx.config.connections import SqliteConnection
from ktx.scan.relationships.ask import WarehouseProbe
from ktx.scan.relationships.find import Found, Settings, find_relationships
from ktx.warehouse.connect import open_warehouse
from ktx.warehouse.kinds import column_kind

DATA = Path(__file__).parent / "data" / "relationships"
SETTINGS = ("rows", "metadata", "declared")

Link = tuple[str, tuple[str, ...], str, tuple[str, ...]]


@dataclass(frozen=True, kw_only=True)
class Score:
    """Counts of one database in one setting."""

    expected: int
    accepted: int
    right: int
    right_or_review: int
    keys: int
    keys_right: int
    seconds: float
    queries: int
    wrong: tuple[Link, ...] = ()
    missed: tuple[Link, ...] = ()
    waiting: tuple[Link, ...] = ()

    @property
    def precision(self) -> float:
        """Right ones among the accepted; 1 when none was accepted."""
        return self.right / self.accepted if self.accepted else 1.0

    @property
    def recall(self) -> float:
        """Accepted ones among the expected."""
        return self.right / self.expected if self.expected else 1.0

    @property
    def f1(self) -> float:
        """The harmonic mean of precision and recall."""
        total = self.precision + self.recall
        return 2 * self.precision * self.recall / total if total else 0.0

    @property
    def review_recall(self) -> float:
        """Accepted ones and those for review among the expected."""
        return self.right_or_review / self.expected if self.expected else 1.0


def main() -> int:
    """Run all settings and print them."""
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("--data", type=Path, default=DATA)
    options.add_argument("--json", action="store_true")
    options.add_argument("--misses", action="store_true", help="list wrong, missed and waiting links")
    arguments = options.parse_args()
    folders = sorted(path.parent for path in arguments.data.glob("*/expected.yaml"))
    results = {setting: score_all(folders, setting) for setting in SETTINGS}
    if arguments.json:
        print(
            json.dumps({s: {n: as_json(r) for n, r in rows.items()} for s, rows in results.items()}, indent=2)
        )
        return 0
    for setting, rows in results.items():
        print_table(setting, rows, misses=arguments.misses)
    return 0


def score_all(folders: list[Path], setting: str) -> dict[str, Score]:
    """Score every database that the setting can be measured on, and all together under `all`."""
    rows = {folder.name: score_one(folder, setting) for folder in folders if can_measure(folder, setting)}
    if rows:
        rows["all"] = add_up(list(rows.values()))
    return rows


def can_measure(folder: Path, setting: str) -> bool:
    """Tell whether a folder has what a setting needs."""
    return setting == "metadata" or (folder / "data.sqlite").exists()


def score_one(folder: Path, setting: str) -> Score:
    """Find the relationships of one database and compare them with the truth."""
    expected, keys = read_truth(folder)
    started = time.perf_counter()
    found = find(folder, setting, expected, keys)
    seconds = time.perf_counter() - started
    accepted = {link_of(one) for one in found.decided("accepted")}
    review = {link_of(one) for one in found.decided("review")}
    primary = {(key.table.name, key.columns) for key in found.keys.primary.values()}
    return Score(
        expected=len(expected),
        accepted=len(accepted),
        right=len(accepted & expected),
        right_or_review=len((accepted | review) & expected),
        keys=len(keys),
        keys_right=len(keys & primary),
        seconds=seconds,
        queries=found.queries,
        wrong=tuple(sorted(accepted - expected)),
        missed=tuple(sorted(expected - accepted)),
        waiting=tuple(sorted(review)),
    )


def find(folder: Path, setting: str, expected: set[Link], keys: set[tuple[str, tuple[str, ...]]]) -> Found:
    """Run discovery as a scan does."""
    catalog = read_snapshot(folder)
    if setting == "metadata":
        return find_relationships(catalog, {}, settings=Settings(is_validation_required=False))
    if setting == "declared":
        catalog = declare(catalog, expected, keys)
    connection = SqliteConnection(driver="sqlite", path=str((folder / "data.sqlite").resolve()))
    with open_warehouse(folder.name, connection, folder) as warehouse:
        profiles = {table.ref: warehouse.profile_table(table) for table in catalog.tables}
        settings = Settings(budget=min(2 * len(catalog.tables), 1000))
        return find_relationships(catalog, profiles, settings=settings, probe=WarehouseProbe(warehouse))


def read_snapshot(folder: Path) -> Catalog:
    """Read tables, columns and types; the constraints in the snapshot are left aside."""
    snapshot = json.loads((folder / "snapshot.json").read_text(encoding="utf-8"))
    tables = [
        Table(
            ref=TableRef(name=table["name"]),
            columns=tuple(
                Column(
                    name=column["name"],
                    native_type=column["nativeType"],
                    kind=column_kind(column["nativeType"], "sqlite"),
                    is_nullable=column["nullable"],
                )
                for column in table["columns"]
            ),
        )
        for table in snapshot["tables"]
    ]
    ordered = tuple(sorted(tables, key=lambda table: table.ref.name))
    return Catalog(connection_id=folder.name, dialect="sqlite", tables=ordered)


def declare(catalog: Catalog, expected: set[Link], keys: set[tuple[str, tuple[str, ...]]]) -> Catalog:
    """Declare the truth, as a database with all its constraints would."""
    primary = dict(keys)
    return replace(
        catalog,
        tables=tuple(
            replace(
                table,
                primary_key=primary.get(table.ref.name, ()),
                foreign_keys=tuple(
                    ForeignKey(columns=link[1], target=TableRef(name=link[2]), target_columns=link[3])
                    for link in sorted(expected)
                    if link[0] == table.ref.name
                ),
            )
            for table in catalog.tables
        ),
    )


def read_truth(folder: Path) -> tuple[set[Link], set[tuple[str, tuple[str, ...]]]]:
    """Read the labelled links and primary keys."""
    truth = YAML(typ="safe").load((folder / "expected.yaml").read_text(encoding="utf-8"))
    links = {
        (link["fromTable"], tuple(link["fromColumns"]), link["toTable"], tuple(link["toColumns"]))
        for link in truth["expectedLinks"]
    }
    return links, {(key["table"], tuple(key["columns"])) for key in truth["expectedPks"]}


def link_of(one: Relationship) -> Link:
    """Give a relationship as the truth writes it."""
    return (one.source.name, one.source_columns, one.target.name, one.target_columns)


def add_up(rows: list[Score]) -> Score:
    """Add the counts of several databases."""
    return Score(
        expected=sum(row.expected for row in rows),
        accepted=sum(row.accepted for row in rows),
        right=sum(row.right for row in rows),
        right_or_review=sum(row.right_or_review for row in rows),
        keys=sum(row.keys for row in rows),
        keys_right=sum(row.keys_right for row in rows),
        seconds=sum(row.seconds for row in rows),
        queries=sum(row.queries for row in rows),
    )


def as_json(row: Score) -> dict[str, float]:
    """Give the figures of a row."""
    return {
        "expected": row.expected,
        "accepted": row.accepted,
        "precision": round(row.precision, 4),
        "recall": round(row.recall, 4),
        "f1": round(row.f1, 4),
        "accepted_or_review_recall": round(row.review_recall, 4),
        "queries": row.queries,
        "seconds": round(row.seconds, 3),
    }


def print_table(setting: str, rows: dict[str, Score], *, misses: bool) -> None:
    """Print one setting."""
    print(f"\n{setting}")
    print(f"  {'database':32} links accepted  prec   recall  F1     +review  keys    queries seconds")
    for name, row in rows.items():
        print(
            f"  {name:32} {row.expected:5} {row.accepted:8}  {row.precision:.3f}  {row.recall:.3f}   {row.f1:.3f}"
            f"  {row.review_recall:.3f}    {row.keys_right:2}/{row.keys:<2}   {row.queries:5}   {row.seconds:.2f}"
        )
        if misses:
            for label, links in (("wrong", row.wrong), ("missed", row.missed), ("review", row.waiting)):
                for link in links:
                    print(
                        f"      {label}: {link[0]}({', '.join(link[1])}) -> {link[2]}({', '.join(link[3])})"
                    )


if __name__ == "__main__":
    sys.exit(main())
