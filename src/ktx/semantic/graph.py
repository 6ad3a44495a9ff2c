"""The join graph of a layer: every declared join as an edge in both directions, parsed when first walked.

A join that both sides declare is one edge. Conditions are whole trees whose columns are marked as the near side (`<`) or
the far side (`>`).
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from sqlglot import exp

from ktx.errors import QueryError
from ktx.findings import Finding, Place
from ktx.semantic.expressions import conjuncts, has_aggregate, has_window, parse_expression
from ktx.semantic.source import NOWHERE, Column, Join, Layer, Source
from ktx.suggest import did_you_mean

_TEXT_IN_DOUBLE_QUOTES = frozenset({"mysql", "bigquery", "databricks"})
_QUOTED_BESIDE_DOT = re.compile(r'"([^"`]+)"(?=\s*\.)|(?<=\.)"([^"`]+)"')
NEAR = "<"
FAR = ">"
_FLIPPED: Mapping[str, str] = {
    "many_to_one": "one_to_many",
    "one_to_many": "many_to_one",
    "one_to_one": "one_to_one",
}


@dataclass(frozen=True, kw_only=True, eq=False)
class Edge:
    """One step from a source to another.

    `name` is how a question calls the far side; `handles` are all words that may choose this step in `via`. `condition` is
    not to be changed in place. `is_proven` tells whether the equality keys hold the whole grain of a to-one far side.
    """

    origin: str
    target: str
    name: str
    relationship: str
    condition: exp.Expr
    text: str
    canonical: str
    handles: frozenset[str]
    is_alias: bool
    is_proven: bool
    conflict: str | None = None
    place: Place = NOWHERE

    @property
    def is_to_one(self) -> bool:
        """Whether each row of the origin meets at most one row of the target."""
        return self.relationship in {"many_to_one", "one_to_one"}

    def __str__(self) -> str:
        """Render as a step for people: the name, and the condition that leads there."""
        return f"{self.name} ({self.text})"


def find_column(source: Source, name: str) -> Column | None:
    """Give the column called so, by exact name or else by the only one that differs in case."""
    exact = source.column(name)
    if exact is not None:
        return exact
    folded = name.casefold()
    found = [column for column in source.columns if column.name.casefold() == folded]
    return found[0] if len(found) == 1 else None


def is_field(source: Source, name: str) -> bool:
    """Tell whether a column is a field of a record that the source has as a column too."""
    first, dot, _ = name.partition(".")
    return bool(dot) and source.column(first) is not None


class AliasHolders(Mapping[str, list[tuple[Source, Join]]]):
    """The joins that carry an alias, by case-folded alias; the sources that hold them are built when one is looked up."""

    def __init__(self, layer: Layer, holders: Mapping[str, list[str]]) -> None:
        """Take the names of the holders by alias."""
        self._layer = layer
        self._holders = holders

    def __getitem__(self, alias: str) -> list[tuple[Source, Join]]:
        """Give the sources and joins that carry an alias."""
        holders = (self._layer.sources[name] for name in self._holders[alias])
        return [
            (holder, join)
            for holder in holders
            for join in holder.joins
            if join.alias is not None and join.alias.casefold() == alias
        ]

    def __iter__(self) -> Iterator[str]:
        """Go through the aliases."""
        return iter(self._holders)

    def __len__(self) -> int:
        """Count the aliases."""
        return len(self._holders)


def _note(index: dict[str, list[str]], key: str, name: str) -> None:
    known = index.setdefault(key, [])
    if not known or known[-1] != name:
        known.append(name)


class Graph:
    """The edges of a layer in one dialect; filled as it is walked, and never changed in what it says."""

    def __init__(self, layer: Layer, dialect: str) -> None:
        """Index who joins whom; no condition is parsed yet."""
        self.layer = layer
        self.dialect = dialect
        self.broken: list[Finding] = []
        self._holders: dict[str, list[str]] = {}
        self._edges: dict[str, tuple[Edge, ...]] = {}
        by_alias: dict[str, list[str]] = {}
        for holder, joins in layer.outline.items():
            for target, alias in joins:
                _note(self._holders, target, holder)
                if alias:
                    _note(by_alias, alias.casefold(), holder)
        self.holders_by_alias = AliasHolders(layer, by_alias)

    def edges(self, name: str) -> tuple[Edge, ...]:
        """Give all steps that lead away from a source; declared ones first, in the order of the file."""
        found = self._edges.get(name)
        if found is None:
            found = self._edges[name] = self._read_edges(self.layer.sources[name])
        return found

    def _read_edges(self, source: Source) -> tuple[Edge, ...]:
        declared = [edge for join in source.joins if (edge := self._edge(source, join, is_flipped=False))]
        implied = [
            edge
            for holder in map(self.layer.sources.__getitem__, self._holders.get(source.name, ()))
            for join in holder.joins
            if join.to == source.name and (edge := self._edge(holder, join, is_flipped=True))
        ]
        return tuple(_merged(declared, implied))

    def _edge(self, holder: Source, join: Join, *, is_flipped: bool) -> Edge | None:
        target = self.layer.sources.get(join.to)
        if target is None:
            self._report(join, f"The join of `{holder.name}` goes to `{join.to}`, which is not a source."
                + did_you_mean(join.to, self.layer.sources)
            )  # fmt: skip
            return None
        try:
            condition = _condition(holder, target, join, self.dialect)
        except QueryError as error:
            self._report(join, error.message)
            return None
        relationship: str = join.relationship
        near, far, name = holder, target, join.name
        is_alias = join.alias is not None and join.alias != join.to
        if is_flipped:
            relationship = _FLIPPED[relationship]
            condition = _flip(condition)
            near, far, name = target, holder, holder.name
            is_alias = False
        return Edge(
            origin=near.name,
            target=far.name,
            name=name,
            relationship=relationship,
            condition=condition,
            text=_text(condition, near.name, name if is_alias or near is not far else "other"),
            canonical=_canonical(condition),
            handles=_handles(condition, near.name, name, join.on),
            is_alias=is_alias,
            is_proven=relationship == "one_to_many" or _is_proven(condition, far),
            place=join.place,
        )

    def _report(self, join: Join, message: str) -> None:
        finding = Finding(level="error", code="join-unusable", message=message, where=join.place)
        if finding not in self.broken:
            self.broken.append(finding)


def _merged(declared: list[Edge], implied: list[Edge]) -> list[Edge]:
    """Drop implied edges that say the same as a declared one, and mark the ones that contradict it."""
    result: list[Edge] = []
    seen: dict[tuple[str, str], Edge] = {}
    for edge in [*declared, *implied]:
        key = (edge.target, edge.canonical)
        known = seen.get(key)
        if known is None:
            seen[key] = edge
            if edge.origin == edge.target and edge in implied:
                continue
            result.append(edge)
        elif edge.relationship != known.relationship and edge in implied and known in declared:
            # Both sides state a cardinality for the same condition, and they disagree: no way is safe.
            result[result.index(known)] = seen[key] = _with_conflict(known, edge.relationship)
        elif edge in declared and edge.name != known.name:
            result.append(edge)
    return result


def _with_conflict(edge: Edge, other: str) -> Edge:
    values = {name: getattr(edge, name) for name in edge.__dataclass_fields__}
    values["conflict"] = (
        f"`{edge.origin}` declares its join to `{edge.target}` as {edge.relationship}, "
        f"while `{edge.target}` declares the same condition so that it is {other}"
    )
    return Edge(**values)


def _in_backticks(on: str, dialect: str) -> str:
    """Rewrite `"a"."b"` for engines to which double quotes mean text; scans write standard quotes for every engine."""
    if dialect not in _TEXT_IN_DOUBLE_QUOTES or '"' not in on:
        return on
    return _QUOTED_BESIDE_DOT.sub(lambda found: f"`{found.group(1) or found.group(2)}`", on)


def _condition(holder: Source, target: Source, join: Join, dialect: str) -> exp.Expr:
    tree = parse_expression(_in_backticks(join.on, dialect), dialect).copy()
    if has_aggregate(tree) or has_window(tree):
        raise QueryError(f"The `on` of `{holder.name}` to `{join.to}` holds an aggregate: `{join.on}`.")
    columns = list(tree.find_all(exp.Column))
    is_self = holder.name == target.name
    for column in columns:
        side = _side(column, holder, target, join, is_self=is_self)
        source = holder if side == NEAR else target
        found = find_column(source, column.name)
        if found is None:
            raise QueryError(
                f"The `on` of `{holder.name}` to `{join.to}` uses `{column.name}`, which is not a column of "
                f"`{source.name}`.{did_you_mean(column.name, (one.name for one in source.columns))}"
            )
        marked = exp.column(found.name, side, quoted=True)
        if column is tree:
            return marked
        column.replace(marked)
    sides = {column.table for column in tree.find_all(exp.Column)}
    if is_self and sides == {NEAR}:
        tree = _oriented(tree, holder, join)
    return tree


def _side(column: exp.Column, holder: Source, target: Source, join: Join, *, is_self: bool) -> str:
    word = column.table.casefold()
    if column.args.get("catalog"):
        raise QueryError(
            f"The `on` of `{holder.name}` to `{join.to}` uses `{column.sql()}`, which is not `source.column`."
        )
    if word:
        if join.alias and word == join.alias.casefold():
            return FAR
        if word in _names(holder):
            return NEAR
        if word in _names(target):
            return FAR
        raise QueryError(
            f"The `on` of `{holder.name}` to `{join.to}` uses `{column.sql()}`; only `{holder.name}` and "
            f"`{join.name}` can be compared there."
        )
    in_near, in_far = find_column(holder, column.name), find_column(target, column.name)
    if in_near and in_far and not is_self:
        parent = column.parent
        if (
            isinstance(parent, exp.EQ)
            and isinstance(parent.left, exp.Column)
            and isinstance(parent.right, exp.Column)
        ):
            return NEAR if parent.left is column else FAR
        raise QueryError(
            f"The `on` of `{holder.name}` to `{join.to}` uses `{column.name}`, which both have; "
            f"write `{holder.name}.{column.name}` or `{join.name}.{column.name}`."
        )
    return FAR if in_far and not in_near else NEAR


def _names(source: Source) -> set[str]:
    names = {source.name.casefold()}
    if source.table:
        names.add(source.table.rpartition(".")[2].strip('"`[]').casefold())
    return names


def _oriented(tree: exp.Expr, source: Source, join: Join) -> exp.Expr:
    """Tell the two sides of a self join apart that are both written with the source's own name."""
    grain = {name.casefold() for name in source.grain}
    for part in conjuncts(tree):
        if not isinstance(part, exp.EQ) or not all(
            isinstance(side, exp.Column) for side in (part.left, part.right)
        ):
            continue
        one_is_key, other_is_key = (side.name.casefold() in grain for side in (part.left, part.right))
        if one_is_key == other_is_key:
            continue
        far = part.left if one_is_key == (join.relationship != "one_to_many") else part.right
        far.replace(exp.column(far.name, FAR, quoted=True))
    if FAR not in {column.table for column in tree.find_all(exp.Column)}:
        raise QueryError(
            f"The join of `{source.name}` to itself does not say which side is which: `{join.on}`. "
            f"Give it an alias and write `alias.column` for the far side."
        )
    return tree


def _flip(tree: exp.Expr) -> exp.Expr:
    result = tree.copy()
    for column in list(result.find_all(exp.Column)):
        column.args["table"].set("this", NEAR if column.table == FAR else FAR)
    return result


def _canonical(tree: exp.Expr) -> str:
    parts: list[str] = []
    for part in conjuncts(tree):
        if isinstance(part, exp.EQ):
            parts.append(" = ".join(sorted([part.left.sql(), part.right.sql()])))
        else:
            parts.append(part.sql())
    return " AND ".join(sorted(parts))


def _text(tree: exp.Expr, near: str, far: str) -> str:
    shown = tree.copy()
    for column in shown.find_all(exp.Column):
        name = near if column.table == NEAR else far
        column.set("table", exp.to_identifier(name))
        column.set("this", exp.to_identifier(column.name))
    return shown.sql()


def _handles(tree: exp.Expr, near: str, name: str, on: str) -> frozenset[str]:
    keys = {column.name.casefold() for column in tree.find_all(exp.Column) if column.table == NEAR}
    qualified = {f"{near.casefold()}.{key}" for key in keys}
    return frozenset({name.casefold(), f"{near}.{name}".casefold(), on.strip().casefold()} | keys | qualified)


def _is_proven(tree: exp.Expr, far: Source) -> bool:
    keys: set[str] = set()
    for part in conjuncts(tree):
        if isinstance(part, exp.EQ):
            for one, other in ((part.left, part.right), (part.right, part.left)):
                is_key = isinstance(one, exp.Column) and one.table == FAR
                if is_key and FAR not in {column.table for column in other.find_all(exp.Column)}:
                    keys.add(one.name.casefold())
    return bool(far.grain) and {name.casefold() for name in far.grain} <= keys
