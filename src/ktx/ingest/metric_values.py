"""Which metric values differ between two layers, and by how much.

Every measure is compiled in both; only where the SQL differs is it asked, once in each layer, over all rows and without
grouping. So a change is found wherever it was made: in the measure, a measure or segment or column that it uses, its source, or a join.
"""

import datetime as dt
import math
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from decimal import Context, Decimal
from typing import Final, Literal, TypeAlias

from sqlglot import exp

from ktx.errors import KtxError, LayerError, OutsideError, QueryError
from ktx.events import Emit, StageAdvanced, StageFinished, StageStarted, ignore
from ktx.semantic.compile import compile_query
from ktx.semantic.query import MeasureAsk, Query
from ktx.semantic.source import Layer
from ktx.warehouse.warehouse import Warehouse

MOST_MEASURES: Final = 40
Cell: TypeAlias = int | float | Decimal | str | bool | None
ValueStatus: TypeAlias = Literal["changed", "same", "added", "removed", "unknown"]
_STATEMENT_S: Final = 20.0
_ALL_S: Final = 120.0
_SAME_FLOAT: Final = 1e-9
"""How near floats count as the same: a database may add them up in any order."""
_EXACT: Final = Context(prec=80)


@dataclass(frozen=True, kw_only=True)
class SideValue:
    """A measure in one of the layers: its value, or why there is none. `sql` is None when it does not compile."""

    value: Cell = None
    reason: str | None = None
    sql: str | None = None


@dataclass(frozen=True, kw_only=True)
class ValueChange:
    """A measure whose meaning differs; a side is None where the layer has no such measure.

    `unknown` means that a side could not be asked. `difference` is after minus before, `percent` of before; None where
    that is no number.
    """

    connection_id: str
    measure: str
    status: ValueStatus
    before: SideValue | None
    after: SideValue | None
    difference: int | float | Decimal | None = None
    percent: float | None = None


@dataclass(frozen=True, kw_only=True)
class ConnectionValues:
    """The values of one connection. `is_asked` is False when the warehouse could not be, and then `reason` says why.

    `same_sql` counts the measures that mean the same in both layers, `left_out` names those that were not asked for want of room or time.
    """

    connection_id: str
    is_asked: bool
    reason: str | None = None
    changes: tuple[ValueChange, ...] = ()
    same_sql: int = 0
    left_out: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class _Compiled:
    """A measure in one layer: its tree, or why there is none."""

    sql: str | None
    tree: exp.Query | None = field(default=None, compare=False)
    reason: str | None = None


@dataclass(frozen=True, kw_only=True)
class _Pair:
    """A measure that means something else in the two layers; a side is None where there is no such measure."""

    measure: str
    before: _Compiled | None
    after: _Compiled | None
    is_implicit: bool

    @property
    def rank(self) -> tuple[int, bool, str]:
        """What is asked first: what was there before, then what is new, then what is gone; declared measures before others."""
        place = 2 if self.after is None else 1 if self.before is None else 0
        return (place, self.is_implicit, self.measure)


def compare_values(
    before: Layer,
    after: Layer,
    warehouse: Warehouse,
    *,
    most: int = MOST_MEASURES,
    emit: Emit = ignore,
    clock: Callable[[], float] = time.monotonic,
) -> ConnectionValues:
    """Ask each measure that means something else now, of at most `most`, in both layers."""
    name = after.connection_id
    pairs, same = _pairs(before, after, warehouse.dialect)
    if not pairs:
        return ConnectionValues(connection_id=name, is_asked=True, same_sql=same)
    try:
        warehouse.test()
    except KtxError as error:
        return ConnectionValues(
            connection_id=name, is_asked=False, reason=error.message,
            changes=tuple(_change(name, pair, _unasked(pair.before), _unasked(pair.after)) for pair in pairs[:most]),
            same_sql=same, left_out=tuple(pair.measure for pair in pairs[most:]),
        )  # fmt: skip
    asker = _Asker(warehouse=warehouse, ends_at=clock() + _ALL_S, clock=clock)
    changes: list[ValueChange] = []
    emit(StageStarted(stage="values", total=min(len(pairs), most)))
    for pair in pairs[:most]:
        if asker.is_over:
            break
        changes.append(_change(name, pair, asker.ask(pair.before), asker.ask(pair.after)))
        emit(
            StageAdvanced(
                stage="values",
                done=len(changes),
                total=min(len(pairs), most),
                label=f"{name}: {pair.measure}",
            )
        )
    emit(StageFinished(stage="values", summary=name))
    return ConnectionValues(
        connection_id=name,
        is_asked=True,
        changes=tuple(changes),
        same_sql=same,
        left_out=tuple(pair.measure for pair in pairs[len(changes) :]),
    )


def _pairs(before: Layer, after: Layer, dialect: str) -> tuple[list[_Pair], int]:
    """Give the measures whose SQL differs, in the order in which they are asked, and how many have the same."""
    old, new = dict(_measures(before, after)), dict(_measures(after, before))
    pairs: list[_Pair] = []
    same = 0
    for key in dict.fromkeys((*new, *old)):
        sides = [
            _compile(layer, key, dialect) if _has(layer, key, own) else None
            for layer, own in ((before, old), (after, new))
        ]
        if sides[0] == sides[1]:
            same += sides[0] is not None and sides[0].tree is not None
        else:
            is_implicit = new.get(key, old.get(key, False))
            pairs.append(
                _Pair(measure=".".join(key), before=sides[0], after=sides[1], is_implicit=is_implicit)
            )
    return sorted(pairs, key=lambda pair: pair.rank), same


def _measures(layer: Layer, other: Layer) -> Iterator[tuple[tuple[str, str], bool]]:
    """Give source and name of each measure, and whether it is implicit; one of a source that comes or goes is left out if so."""
    for source in layer.sources.values():
        for measure in source.measures:
            if not measure.is_implicit or source.name in other.sources:
                yield (source.name, measure.name), measure.is_implicit


def _has(layer: Layer, key: tuple[str, str], own: Mapping[tuple[str, str], bool]) -> bool:
    """Tell whether a layer has a measure; one whose source cannot be used is there, and compiling says why it is not."""
    return key in own or key[0] in layer.broken


def _compile(layer: Layer, key: tuple[str, str], dialect: str) -> _Compiled:
    asked = exp.column(exp.to_identifier(key[1], quoted=True), table=exp.to_identifier(key[0], quoted=True))
    query = Query(measures=(MeasureAsk(expr=asked.sql(dialect=dialect), name="value"),), limit=None)
    try:
        compiled = compile_query(layer, query, dialect=dialect)
    except (QueryError, LayerError) as error:
        told = [error.message, *(one.message for one in error.findings if one.message not in error.message)]
        return _Compiled(sql=None, reason=" ".join(dict.fromkeys(told)))
    return _Compiled(sql=compiled.sql, tree=compiled.tree)


@dataclass(kw_only=True)
class _Asker:
    """Asks the warehouse until the time is over; the same SQL is asked once."""

    warehouse: Warehouse
    ends_at: float
    clock: Callable[[], float]
    known: dict[str, SideValue] = field(default_factory=dict[str, SideValue])

    @property
    def is_over(self) -> bool:
        """Whether no time is left."""
        return self.clock() >= self.ends_at

    def ask(self, side: _Compiled | None) -> SideValue | None:
        """Give a value, or why there is none."""
        if side is None or side.tree is None or side.sql is None:
            return None if side is None else SideValue(reason=side.reason)
        if side.sql not in self.known:
            self.known[side.sql] = self._run(side.tree, side.sql)
        return self.known[side.sql]

    def _run(self, tree: exp.Query, sql: str) -> SideValue:
        limit_s = max(1.0, min(_STATEMENT_S, self.ends_at - self.clock()))
        try:
            rows = self.warehouse.run(tree, max_rows=2, timeout_s=limit_s).rows
        except (QueryError, OutsideError) as error:
            return SideValue(reason=error.message, sql=sql)
        if len(rows) != 1:
            return SideValue(reason=f"the question gave {len(rows)} rows instead of one", sql=sql)
        return SideValue(value=_cell(rows[0][0]), sql=sql)


def _unasked(side: _Compiled | None) -> SideValue | None:
    if side is None:
        return None
    return SideValue(reason=side.reason or "the warehouse cannot be asked", sql=side.sql)


def _change(
    connection_id: str, pair: _Pair, before: SideValue | None, after: SideValue | None
) -> ValueChange:
    difference = percent = None
    if any(side is not None and side.reason is not None for side in (before, after)):
        status: ValueStatus = "unknown"
    elif before is None:
        status = "added"
    elif after is None:
        status = "removed"
    else:
        difference, percent = _difference(before.value, after.value)
        status = "same" if _is_same(before.value, after.value) else "changed"
    return ValueChange(
        connection_id=connection_id,
        measure=pair.measure,
        status=status,
        before=before,
        after=after,
        difference=difference,
        percent=percent,
    )


def _is_same(before: Cell, after: Cell) -> bool:
    if isinstance(before, float) or isinstance(after, float):
        if _is_number(before) and _is_number(after):
            return math.isclose(_as_float(before), _as_float(after), rel_tol=_SAME_FLOAT)
        return False
    return before == after


def _difference(before: Cell, after: Cell) -> tuple[int | float | Decimal | None, float | None]:
    """Give after minus before, of the wider of both types, and that in percent of before.

    >>> _difference(200, 150), _difference(0.1, 0.3), _difference(0, 5), _difference(None, 5)
    ((-50, -25.0), (0.2, 200.0), (5, None), (None, None))
    """
    if not _is_number(before) or not _is_number(after):
        return None, None
    old, new = Decimal(str(before)), Decimal(str(after))
    exact = _EXACT.subtract(new, old)
    percent = float(_EXACT.divide(exact * 100, abs(old))) if old else None
    if isinstance(before, float) or isinstance(after, float):
        return float(exact), percent
    return (int(exact) if isinstance(before, int) and isinstance(after, int) else exact), percent


def _is_number(value: Cell) -> bool:
    return isinstance(value, int | float | Decimal) and not isinstance(value, bool)


def _as_float(value: Cell) -> float:
    return float(value or 0)


def _cell(value: object) -> Cell:
    """Give a cell that can be compared and printed; NaN and infinity become text."""
    if value is None or isinstance(value, str | bool | int):
        return value
    if isinstance(value, float | Decimal):
        return value if math.isfinite(value) else str(value)
    if isinstance(value, dt.datetime | dt.date | dt.time):
        return value.isoformat()
    return value.hex() if isinstance(value, bytes | bytearray) else str(value)
