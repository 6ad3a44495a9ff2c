"""A fault as a case: a directory that `tests/compile/cases` can hold, so that what the fuzzer met once is asked for ever."""

from __future__ import annotations

import datetime as dt
import json
from pathlib import Path

from oracle.answer import NoAnswerError, answer
from oracle.files import layer_files, physical
from oracle.judge import ordered_as_asked
from oracle.world import Kind, Question, World

_TYPES: dict[Kind, str] = {
    "int": "bigint",
    "float": "double",
    "str": "text",
    "date": "date",
    "ts": "timestamp",
}


def write_case(world: World, question: Question, folder: Path, *, name: str) -> Path:
    """Write a world and a question, with the rows that the oracle gives, as `case.yaml`; JSON being YAML."""
    asked: dict[str, object] = {"ask": question.as_json()}
    try:
        rows = answer(world, question).rows
    except NoAnswerError:
        asked["refused"] = ""
    else:
        asked["rows"] = [[_plain(value) for value in row] for row in ordered_as_asked(question, rows)]
    case = {
        "tables": {
            physical(source.name): {
                "columns": {col.name: _TYPES[col.kind] for col in source.columns if col.expr is None}
                or {"nothing_here": "bigint"},
                "rows": [
                    [_plain(row[col.name]) for col in source.columns if col.expr is None]
                    for row in source.rows
                    if any(col.expr is None for col in source.columns)
                ],
            }
            for source in world.sources.values()
        },
        "files": {path: json.loads(text) for path, text in layer_files(world).items()},
        "questions": {name: asked},
    }
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "case.yaml"
    path.write_text(json.dumps(case, indent=1, ensure_ascii=False), encoding="utf-8")
    return path


def _plain(value: object) -> object:
    if isinstance(value, dt.datetime):
        return value.isoformat(sep=" ")
    return value.isoformat() if isinstance(value, dt.date) else value
