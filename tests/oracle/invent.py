"""Random worlds: stars, snowflakes, several facts, roles, self joins, bridges, spans, with the dirt of real data.

Foreign keys are NULL or dangle, facts repeat themselves, tables are empty, names occur in many tables. What a layer *promises*
(grain, many-to-one) is true in the data: a broken promise has no right answer to compare with.
"""

from __future__ import annotations

import datetime as dt
import random

from oracle.world import (
    Between,
    Case,
    Coalesce,
    Col,
    Compare,
    Condition,
    Const,
    Derived,
    Expr,
    In,
    IsNull,
    Join,
    Kind,
    Leaf,
    Logic,
    Math,
    Negation,
    Ref,
    Row,
    Src,
    Value,
    World,
)

_WORDS = ["ant", "bee", "cat", "dog", "eel", "fox"]
_DAY0 = dt.date(2023, 12, 20)
_FACTS = ["orders", "tickets", "visits", "payments"]
_DIMS = ["customers", "stores", "products", "staff"]
_OUTER = {"customers": "regions", "stores": "regions", "products": "categories", "staff": "teams"}


def invent(rng: random.Random) -> World:
    """Invent a world."""
    world = World(sources={}, joins=[])
    maker = _Maker(rng, world)
    dims = rng.sample(_DIMS, rng.randint(1, 3))
    for name in dims:
        maker.dimension(name)
    for name in rng.sample(_FACTS, rng.choice([1, 1, 2, 2, 2, 3])):
        maker.fact(name, dims)
    maker.finish()
    return world


class _Maker:
    """Builds one world, source by source."""

    def __init__(self, rng: random.Random, world: World) -> None:
        self.rng = rng
        self.world = world
        self.is_clean = rng.random() < 0.2

    # -- sources ----------------------------------------------------------------------------------------------------

    def dimension(self, name: str) -> None:
        rng = self.rng
        extra = self._attributes(rng.randint(1, 3))
        if rng.random() < 0.15:
            key = [Col("k1", "int"), Col("k2", "str")]
        else:
            key = [Col("id", rng.choice(["int", "int", "str"]))]
        source = self._source(
            name, key, extra, rng.randint(0, 7) if rng.random() < 0.15 else rng.randint(2, 7)
        )
        outer = _OUTER[name]
        if rng.random() < 0.5:
            if outer not in self.world.sources:
                self._source(
                    outer, [Col("id", "int")], self._attributes(rng.randint(1, 2)), rng.randint(1, 4)
                )
            self._link(source, outer)
        if rng.random() < 0.2 and len(key) == 1:
            self._link(source, name, alias=rng.choice(["parent", "boss"]))

    def fact(self, name: str, dims: list[str]) -> None:
        rng = self.rng
        has_key = rng.random() < 0.7
        key = [Col("id", "int")] if has_key else []
        rows = 0 if rng.random() < 0.06 else rng.randint(1, 14)
        source = self._source(
            name,
            key,
            [Col("amount", rng.choice(["int", "float"])), *self._attributes(rng.randint(1, 3))],
            rows,
        )
        if not has_key:
            source.grain = ()
            source.form = "manifest"
        roles = [("buyer", "seller"), ("origin", "target"), ("creator", "approver")]
        rng.shuffle(roles)
        for dim in rng.sample(dims, rng.randint(1, len(dims))):
            if rng.random() < 0.15 and len(self.world.sources[dim].grain) == 1:
                first, second = roles.pop()
                self._link(source, dim, alias=f"{first}_{name}" if rng.random() < 0.3 else first)
                self._link(source, dim, alias=second)
            else:
                self._link(source, dim, alias=f"main_{dim}" if rng.random() < 0.1 else None)
        if has_key:
            if rng.random() < 0.35:
                self._lines(source, dims)
            if rng.random() < 0.15:
                self._bridge(source)
            if rng.random() < 0.2:
                self._twin(source)
        if source.has("on_day") and rng.random() < 0.35:
            self._span(source, dims)
        if not has_key and not self.is_clean and source.rows and rng.random() < 0.5:
            source.rows += [dict(rng.choice(source.rows)) for _ in range(rng.randint(1, 3))]

    def _lines(self, fact: Src, dims: list[str]) -> None:
        """Give a fact a child table of line items."""
        rng = self.rng
        attributes = [Col("qty", "int"), *self._attributes(1)]
        lines = self._source(f"{fact.name}_lines", [Col("line_no", "int")], attributes, rng.randint(0, 16))
        self._link(lines, fact.name)
        if "products" in dims and rng.random() < 0.5:
            self._link(lines, "products")

    def _bridge(self, fact: Src) -> None:
        """Give a fact labels, many to many."""
        rng = self.rng
        if "labels" not in self.world.sources:
            self._source("labels", [Col("id", "int")], self._attributes(1), rng.randint(1, 4))
        pairs = {
            (f["id"], t["id"])
            for f in fact.rows
            for t in self.world.sources["labels"].rows
            if rng.random() < 0.35
        }
        name = f"{fact.name}_labels"
        own, other = f"{fact.name}_id", "labels_id"
        columns = [Col(own, "int"), Col(other, "int")]
        rows: list[Row] = [{own: a, other: b} for a, b in sorted(pairs, key=str)]
        if not self.is_clean and rng.random() < 0.3:
            rows.append({own: 991, other: 992})
        bridge = Src(name=name, columns=columns, grain=(own, other), rows=rows)
        self.world.sources[name] = bridge
        self._join(bridge, fact.name, ((own, "id"),), None)
        self._join(bridge, "labels", ((other, "id"),), None)

    def _twin(self, fact: Src) -> None:
        """Give a fact a table that has at most one row per row of it."""
        rng = self.rng
        name = f"{fact.name}_extra"
        column = f"{fact.name}_id"
        attributes = self._attributes(2)
        ids = [row["id"] for row in fact.rows if rng.random() < 0.7]
        if not self.is_clean:
            ids.append(995)
        rows = [{column: one, **{col.name: self._cell(col.kind) for col in attributes}} for one in ids]
        self.world.sources[name] = Src(
            name=name, columns=[Col(column, "int"), *attributes], grain=(column,), rows=rows
        )
        join = Join(source=name, to=fact.name, pairs=((column, "id"),), relationship="one_to_one")
        join.declared = rng.choice(["own", "other", "both"])
        self.world.joins.append(join)

    def _span(self, fact: Src, dims: list[str]) -> None:
        """Give a fact a history table of which one row is valid on each day per key."""
        rng = self.rng
        dim = next(
            (one for one in dims if fact.has(f"{one}_id") and self.world.sources[one].grain == ("id",)), None
        )
        if dim is None or f"{dim}_history" in self.world.sources:
            return
        kind = self.world.sources[dim].column("id").kind
        rows: list[Row] = []
        for one in self.world.sources[dim].rows:
            start = _DAY0 + dt.timedelta(days=rng.randint(-5, 10))
            for _ in range(rng.randint(0, 3)):
                end = start + dt.timedelta(days=rng.randint(3, 25))
                rows.append(
                    {"id": one["id"], "valid_from": start, "valid_to": end, "grade": rng.choice(_WORDS)}
                )
                start = end + dt.timedelta(days=rng.choice([0, 0, 4]))
        name = f"{dim}_history"
        self.world.sources[name] = Src(
            name=name,
            columns=[
                Col("id", kind),
                Col("valid_from", "date"),
                Col("valid_to", "date"),
                Col("grade", "str"),
            ],
            grain=("id", "valid_from"),
            rows=rows,
        )
        join = Join(
            source=fact.name,
            to=name,
            pairs=((f"{dim}_id", "id"),),
            relationship="many_to_one",
            span=("on_day", "valid_from", "valid_to"),
        )
        self.world.joins.append(join)

    # -- parts ------------------------------------------------------------------------------------------------------

    def _source(self, name: str, key: list[Col], extra: list[Col], rows: int) -> Src:
        columns = [*key, *extra]
        source = Src(name=name, columns=columns, grain=tuple(col.name for col in key), rows=[])
        seen: set[tuple[Value, ...]] = set()
        for at in range(rows):
            row = {col.name: self._cell(col.kind) for col in columns}
            for col in key:
                row[col.name] = at + 1 if col.kind == "int" else f"k{at + 1}"
            if len(key) == 2:
                row[key[0].name] = at // 2 + 1
                row[key[1].name] = "ab"[at % 2]
            if tuple(row[col.name] for col in key) in seen and key:
                continue
            seen.add(tuple(row[col.name] for col in key))
            source.rows.append(row)
        self.world.sources[name] = source
        return source

    def _attributes(self, count: int) -> list[Col]:
        pool: list[tuple[str, Kind]] = [
            ("name", "str"),
            ("status", "str"),
            ("kind", "str"),
            ("score", "int"),
            ("price", "float"),
            ("on_day", "date"),
            ("at", "ts"),
        ]
        chosen = self.rng.sample(pool, count)
        return [Col("happened_at" if name == "at" else name, kind) for name, kind in chosen]

    def _cell(self, kind: Kind) -> Value:
        rng = self.rng
        if not self.is_clean and rng.random() < 0.15:
            return None
        if kind == "int":
            return rng.randint(-5, 12)
        if kind == "float":
            return rng.randint(-20, 60) / 4
        if kind == "date":
            return _DAY0 + dt.timedelta(days=rng.randint(0, 60))
        if kind == "ts":
            day = _DAY0 + dt.timedelta(days=rng.randint(0, 60))
            return dt.datetime(
                day.year, day.month, day.day, rng.randint(0, 23), rng.choice([0, 15, 59]), rng.choice([0, 30])
            )
        return rng.choice(_WORDS)

    def _link(self, source: Src, to: str, alias: str | None = None) -> None:
        """Add a foreign key with its column, and the join."""
        rng = self.rng
        target = self.world.sources[to]
        keys = [target.column(name) for name in target.grain]
        pairs: list[tuple[str, str]] = []
        chosen = [
            rng.choice(target.rows) if target.rows and rng.random() < 0.85 else None for _ in source.rows
        ]
        for key in keys:
            column = f"{alias or to}_{key.name}"
            source.columns.append(Col(column, key.kind))
            pairs.append((column, key.name))
            for row, hit in zip(source.rows, chosen, strict=True):
                if hit is not None:
                    row[column] = hit[key.name]
                elif self.is_clean or rng.random() < 0.5:
                    row[column] = None
                else:
                    row[column] = 990 if key.kind == "int" else "nobody"
        self._join(source, to, tuple(pairs), alias)

    def _join(self, source: Src, to: str, pairs: tuple[tuple[str, str], ...], alias: str | None) -> None:
        join = Join(source=source.name, to=to, pairs=pairs, relationship="many_to_one", alias=alias)
        if alias is None and source.name != to:
            join.declared = self.rng.choice(["own", "own", "other", "both"])
        target = self.world.sources[to]
        if self.rng.random() < 0.04:
            texts = [col.name for col in target.columns if col.kind == "str" and col.name not in target.grain]
            if texts:
                join.constant = (texts[0], self.rng.choice(_WORDS))
        self.world.joins.append(join)

    # -- what the layer adds ----------------------------------------------------------------------------------------

    def finish(self) -> None:
        for source in self.world.sources.values():
            self._form(source)
            self._computed(source)
            self._segments(source)
            self._hide(source)
        for source in self.world.sources.values():
            self._measures(source)
        for source in self.world.sources.values():
            self._across(source)

    def _hide(self, source: Src) -> None:
        """Hide a column from questions; the layer's own expressions may still use it."""
        if self.rng.random() < 0.08:
            self.rng.choice(source.columns).visibility = "hidden"

    def _across(self, source: Src) -> None:
        """Add measures that reach over joins, and one that puts two sources into one formula."""
        rng = self.rng
        ways = [
            join
            for join in self.world.joins
            if join.source == source.name and join.relationship == "many_to_one"
        ]
        if ways and rng.random() < 0.35:
            join = rng.choice(ways)
            target = self.world.sources[join.to]
            numbers = [col.name for col in target.columns if col.kind in {"int", "float"}]
            own = [col.name for col in source.columns if col.kind in {"int", "float"}]
            if numbers and own:
                value = Math(
                    rng.choice(["*", "+"]), Ref(None, rng.choice(own)), Ref(join.name, rng.choice(numbers))
                )
                source.measures["reach"] = Leaf(rng.choice(["sum", "max"]), value)
            source.measures["picked_n"] = Leaf(
                "count_rows", filter=condition_on(rng, target, qualifier=join.name, depth=1)
            )
        others = [one for one in self.world.sources.values() if one.name != source.name]
        if others and rng.random() < 0.2:
            other = rng.choice(others)
            source.measures["both"] = Derived(rng.choice(["/", "-"]), f"{source.name}.n", f"{other.name}.n")

    def _form(self, source: Src) -> None:
        rng = self.rng
        if source.grain:
            source.form = rng.choice(["manifest", "table", "table", "sql"])
        if source.form == "sql" and rng.random() < 0.6 and not self._is_twin_side(source):
            source.sql_filter = self.condition(source, qualified=False, depth=0)

    def _is_twin_side(self, source: Src) -> bool:
        return any(
            join.relationship == "one_to_one" and source.name in {join.source, join.to}
            for join in self.world.joins
        )

    def _computed(self, source: Src) -> None:
        rng = self.rng
        if rng.random() < 0.35:
            numbers = [
                col.name
                for col in source.columns
                if col.kind in {"int", "float"} and not self._is_key(source, col.name)
            ]
            if numbers:
                first = rng.choice(numbers)
                expr: Expr = Math(rng.choice(["+", "*", "-"]), Ref(None, first), Const(rng.randint(1, 4)))
                if rng.random() < 0.4:
                    expr = Coalesce(expr, 0)
                source.columns.append(Col("calc", "float", expr))
                if rng.random() < 0.4:
                    source.columns.append(
                        Col("calc2", "float", Math("-", Ref(None, "calc"), Ref(None, first)))
                    )
        if rng.random() < 0.25:
            source.columns.append(
                Col(
                    "bucket",
                    "str",
                    Case(self.condition(source, qualified=False, depth=0), Const("yes"), Const("no")),
                )
            )

    def _is_key(self, source: Src, name: str) -> bool:
        return name in source.grain or name.endswith(("_id", "_k1", "_k2"))

    def _segments(self, source: Src) -> None:
        if self.rng.random() < 0.4:
            source.segments["picked"] = self.condition(source, qualified=False, depth=1)

    def _measures(self, source: Src) -> None:
        rng = self.rng
        numbers = [
            col.name
            for col in source.columns
            if col.kind in {"int", "float"} and not self._is_key(source, col.name)
        ]
        anything = [col.name for col in source.columns]
        source.measures["n"] = Leaf("count_rows", filter=self._maybe_filter(source, 0.2))
        for at in range(rng.randint(1, 3)):
            aggregate = rng.choice(
                ["sum", "sum", "sum", "avg", "min", "max", "count", "count_distinct", "median", "percentile"]
            )
            if aggregate in {"sum", "avg", "min", "max", "median", "percentile"}:
                if not numbers:
                    continue
                value: Expr = Ref(None, rng.choice(numbers))
                if rng.random() < 0.25:
                    value = Math(
                        rng.choice(["+", "*", "-"]),
                        value,
                        rng.choice([Const(2), Ref(None, rng.choice(numbers))]),
                    )
                elif rng.random() < 0.15:
                    value = Case(self.condition(source, qualified=False, depth=0), value, Const(0))
            else:
                value = Ref(None, rng.choice(anything))
            segments = tuple(source.segments) if source.segments and rng.random() < 0.3 else ()
            source.measures[f"{aggregate}_{at}"] = Leaf(
                aggregate, value, filter=self._maybe_filter(source, 0.3), segments=segments
            )
        if rng.random() < 0.5:
            names = [
                f"{source.name}.{name}" for name, one in source.measures.items() if isinstance(one, Leaf)
            ]
            source.measures["ratio"] = Derived(
                rng.choice(["/", "/", "-", "+", "*"]),
                rng.choice(names),
                rng.choice([*names, 2]),
                filter=self._maybe_filter(source, 0.2),
            )
        if "ratio" in source.measures and rng.random() < 0.4:
            source.measures["deep"] = Derived(
                rng.choice(["*", "-"]), f"{source.name}.ratio", rng.choice([3, f"{source.name}.n"])
            )

    def _maybe_filter(self, source: Src, chance: float) -> Condition | None:
        return self.condition(source, qualified=False, depth=1) if self.rng.random() < chance else None

    # -- conditions -------------------------------------------------------------------------------------------------

    def condition(self, source: Src, *, qualified: bool, depth: int) -> Condition:
        return condition_on(self.rng, source, qualifier=source.name if qualified else None, depth=depth)


def condition_on(rng: random.Random, source: Src, *, qualifier: str | None, depth: int) -> Condition:
    """Invent a condition over the columns of a source; `qualifier` is written in front of each."""
    if depth > 0 and rng.random() < 0.35:
        left = condition_on(rng, source, qualifier=qualifier, depth=depth - 1)
        right = condition_on(rng, source, qualifier=qualifier, depth=depth - 1)
        return Logic(rng.choice(["and", "or", "or"]), left, right)
    if depth > 0 and rng.random() < 0.1:
        return Negation(condition_on(rng, source, qualifier=qualifier, depth=depth - 1))
    column = rng.choice(source.columns)
    ref = Ref(qualifier, column.name)
    pick = rng.random()
    if pick < 0.12:
        return IsNull(ref, is_negated=rng.random() < 0.5)
    constants = [value for row in source.rows if (value := source.cell(row, column.name)) is not None]
    constant: Value = rng.choice(constants) if constants else _any_constant(column.kind)
    if column.kind == "str" or pick < 0.35:
        options = tuple(dict.fromkeys([constant, *(rng.choice(constants) for _ in range(2) if constants)]))
        if rng.random() < 0.4:
            return In(ref, options, is_negated=rng.random() < 0.25)
        return Compare(rng.choice(["=", "=", "<>"]), ref, Const(constant))
    if pick < 0.5 and constants:
        low, high = sorted([constant, rng.choice(constants)])  # type: ignore[type-var]
        return Between(ref, low, high)
    return Compare(rng.choice(["<", "<=", ">", ">="]), ref, Const(constant))


def _any_constant(kind: Kind) -> Value:
    return {"int": 3, "float": 2.5, "str": "cat", "date": _DAY0, "ts": dt.datetime(2024, 1, 1)}[kind]
