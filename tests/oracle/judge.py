"""Compare: the compiler's SQL, run on a database, against the oracle's rows."""

from __future__ import annotations

import datetime as dt
import math
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Literal

from ktx.errors import KtxError
from ktx.semantic.compile import compile_query
from ktx.semantic.files import LayerFile
from ktx.semantic.load import layer_of
from ktx.semantic.query import parse_query
from ktx.semantic.source import Layer
from oracle.answer import NoAnswerError, UnjudgedError, answer
from oracle.engines import Database, RefusedError
from oracle.files import layer_files
from oracle.world import Question, World

Outcome = Literal[
    "right",  # answered, and the rows are the oracle's
    "refused",  # refused, and that was right or fair
    "over_refused",  # refused although there is one right answer
    "unjudged",  # the oracle has no opinion
    "wrong",  # answered with other rows
    "accepted",  # answered although there is no single right answer
    "failed",  # the database refused the SQL
    "crashed",  # the compiler broke
]
BAD: frozenset[Outcome] = frozenset({"wrong", "accepted", "failed", "crashed"})
_TIME = re.compile(r"\d{4}-\d\d-\d\d([ T]\d\d:\d\d:\d\d(\.0+)?)?")


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """How one question went."""

    outcome: Outcome
    detail: str = ""
    sql: str = ""


def load(world: World) -> Layer:
    """Load a world's layer from its files, as text, without a disk."""
    return layer_of(
        "warehouse",
        [
            LayerFile(
                file=f"semantic-layer/warehouse/{path}", is_manifest=path.startswith("_schema/"), text=text
            )
            for path, text in layer_files(world).items()
        ],
    )


def judge(database: Database, world: World, layer: Layer, question: Question) -> Verdict:
    """Ask the compiler and the database, ask the oracle, and compare."""
    try:
        expected = answer(world, question)
        refusal = None
    except NoAnswerError as error:
        expected, refusal = None, str(error)
    except UnjudgedError as error:
        return Verdict(outcome="unjudged", detail=str(error))
    except TypeError:
        return Verdict(outcome="unjudged", detail="it compares values of two kinds")
    try:
        compiled = compile_query(layer, parse_query(question.as_json()), dialect=database.engine)
    except KtxError as error:
        if expected is None or expected.may_refuse:
            return Verdict(outcome="refused", detail=error.message)
        return Verdict(outcome="over_refused", detail=error.message)
    except Exception as error:  # noqa: BLE001
        return Verdict(outcome="crashed", detail=f"{type(error).__name__}: {error}")
    if expected is None:
        return Verdict(outcome="accepted", detail=f"it must be refused: {refusal}", sql=compiled.sql)
    try:
        rows = database.run(compiled.sql)
    except RefusedError as error:
        return Verdict(outcome="failed", detail=str(error), sql=compiled.sql)
    difference = compare(question, expected.rows, rows)
    if difference is None:
        return Verdict(outcome="right", sql=compiled.sql)
    return Verdict(outcome="wrong", detail=difference, sql=compiled.sql)


def compare(
    question: Question, expected: Sequence[Sequence[object]], found: Sequence[Sequence[object]]
) -> str | None:
    """Give the first difference in words, or None. Order counts as far as the question fixes it."""
    want = [tuple(plain(value) for value in row) for row in expected]
    have = [tuple(plain(value) for value in row) for row in found]
    width = len(question.dimensions) + len(question.measures)
    if any(len(row) != width for row in have):
        return f"rows have {len(have[0])} columns, not {width}"
    keys = [(order.position, order.direction) for order in question.order] or [
        (position, "asc") for position in range(len(question.dimensions))
    ]
    if question.limit is not None:
        have = have[: question.limit]
        count = min(question.limit, len(want))
        if len(have) != count:
            return f"{len(have)} rows instead of {count}: {have[:8]} of {want[:8]}"
        ordered = _sorted(want, keys)[:count]
        if [_at(row, keys) for row in ordered] != [_at(row, keys) for row in have]:
            return f"the limit cut elsewhere: {have[:8]} instead of {ordered[:8]}"
        missing = Counter(have) - Counter(want)
        return f"rows that are not in the answer: {list(missing)[:4]} of {want[:8]}" if missing else None
    extra, missing = Counter(have) - Counter(want), Counter(want) - Counter(have)
    if extra or missing:
        return f"found {sorted(extra, key=str)[:6]}, expected {sorted(missing, key=str)[:6]}"
    if [_at(row, keys) for row in have] != [_at(row, keys) for row in _sorted(want, keys)]:
        return f"the order is another: {have[:8]}"
    return None


def ordered_as_asked(question: Question, rows: Sequence[tuple[object, ...]]) -> list[tuple[object, ...]]:
    """Sort rows as the question wants them, and cut them at its limit."""
    keys = [(order.position, order.direction) for order in question.order] or [
        (position, "asc") for position in range(len(question.dimensions))
    ]
    ordered = _sorted(list(rows), keys)
    return ordered if question.limit is None else ordered[: question.limit]


def _sorted(rows: list[tuple[object, ...]], keys: list[tuple[int, str]]) -> list[tuple[object, ...]]:
    """Sort with NULLs last in both directions."""
    result = list(rows)
    for position, direction in reversed(keys):
        known = [row for row in result if row[position] is not None]
        known.sort(key=lambda row: row[position], reverse=direction == "desc")  # type: ignore[arg-type,return-value]
        result = known + [row for row in result if row[position] is None]
    return result


def _at(row: tuple[object, ...], keys: list[tuple[int, str]]) -> tuple[object, ...]:
    return tuple(row[position] for position, _ in keys)


def plain(value: object) -> object:
    """Bring a value of any engine into one form: times as dates where nothing is lost, numbers to nine digits."""
    if isinstance(value, str) and _TIME.fullmatch(value):
        value = dt.datetime.fromisoformat(value)
    if isinstance(value, dt.datetime):
        value = value.replace(tzinfo=None)
        return value.isoformat(" ") if value.time() != dt.time() else value.date().isoformat()
    if isinstance(value, dt.date):
        return value.isoformat()
    if isinstance(value, bool):
        return float(value)
    if isinstance(value, int | float | Decimal):
        number = float(value)
        if math.isnan(number) or math.isinf(number) or number == 0:
            return 0.0 if number == 0 else str(number)
        return float(f"{number:.9g}")
    return value
