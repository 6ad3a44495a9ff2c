"""MetricFlow's where filters: `{{ Dimension('order__status') }} = 'done'` becomes a condition on the right columns."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Final

import sqlglot
from sqlglot import exp

from ktx.sources.dbt_project.expressions import (
    UnknownColumn,
    Unsayable,
    mapped_columns,
    parse_plain,
    qualified,
    shown,
)
from ktx.sources.dbt_project.jinja import Call, has_jinja, read_call, render_static, spots
from ktx.sources.dbt_project.plain import as_text, as_texts
from ktx.sources.semantic_models.model import Dimension
from ktx.sources.semantic_models.standing import Standing, by_entity, link_between

_SPOT: Final = "ktx_spot_"
_GRANULES: Final = frozenset({"second", "minute", "hour", "day", "week", "month", "quarter", "year"})
_MAX_HOPS: Final = 4


@dataclass(frozen=True, kw_only=True)
class Conditions:
    """Reads filters: `standings` are all semantic models that have a table, `variables` those of the project."""

    standings: tuple[Standing, ...]
    variables: Mapping[str, object]

    def read(self, text: str, home: Standing, *, time_dimension: str) -> exp.Expr:
        """Make a condition over the rows of `home`: its own columns bare, others qualified by how they are reached.

        Raises:
            Unsayable: it uses something that has no place, or has no single meaning.
        """
        trees: list[exp.Expr] = []
        plain = text
        for spot, inner in spots(text):
            call = read_call(inner)
            if call is not None and call.name == "var":
                value = render_static(spot, self.variables)
                if value is None:
                    raise Unsayable(f"`{shown(spot)}` is not known without running dbt.")
                plain = plain.replace(spot, value, 1)
                continue
            plain = plain.replace(spot, f"{_SPOT}{len(trees)}", 1)
            trees.append(self._tree(call, shown(spot), home, time_dimension))
        if has_jinja(plain):
            raise Unsayable(f"`{shown(text)}` is templated.")
        used: set[str] = set()

        def change(column: exp.Column) -> exp.Expr:
            name = column.name.lower()
            if name.startswith(_SPOT) and name.removeprefix(_SPOT).isdigit():
                used.add(name)
                return _armed(trees[int(name.removeprefix(_SPOT))].copy())
            return self._named(column.name, home, time_dimension)

        tree = mapped_columns(parse_plain(plain, home.draft.place.target.dialect), change)
        if len(used) != len(trees):
            raise Unsayable(f"`{shown(text)}` has a template where no value can stand.")
        if any(isinstance(node, exp.AggFunc | exp.Window) for node in tree.walk()):
            raise Unsayable(f"`{shown(text)}` aggregates, where a condition on rows is needed.")
        return tree

    @cached_property
    def _keyed(self) -> Mapping[str, tuple[Standing, ...]]:
        return by_entity(self.standings)

    def _named(self, name: str, home: Standing, time_dimension: str) -> exp.Expr:
        """Give what a bare name means, which is only said for names such as `order__status`."""
        if "__" not in name and name.lower() != "metric_time":
            raise UnknownColumn(f"`{name}` is neither a dimension nor an entity as filters name them.")
        return self._tree(Call(name="Dimension", args=(name,), kwargs={}), name, home, time_dimension)

    def _tree(self, call: Call | None, spot: str, home: Standing, time_dimension: str) -> exp.Expr:
        if call is None or call.name not in {"Dimension", "TimeDimension", "Entity"}:
            raise Unsayable(f"`{spot}` is no dimension, time dimension or entity.")
        values = {**dict(zip(("name", "grain", "path"), call.args, strict=False)), **call.kwargs}
        if call.name != "TimeDimension" and len(call.args) > 1:
            values["path"] = call.args[1]
            values.pop("grain", None)
        name = as_text(values.get("name"))
        grain = as_text(values.get("grain") or values.get("time_granularity_name")).lower()
        for step, args in call.steps:
            if step != "grain" or len(args) != 1:
                raise Unsayable(f"`{spot}` asks for `{step}`.")
            grain = as_text(args[0]).lower()
        path = as_texts(values.get("path") or values.get("entity_path"))
        parts = name.split("__")
        if len(parts) > 1 and parts[-1].lower() in _GRANULES and call.name != "Entity":
            grain = grain or parts.pop().lower()
        if parts == ["metric_time"]:
            if time_dimension not in home.dimensions:
                raise UnknownColumn(f"`{spot}`: the measure has no time dimension that has a place.")
            return self._cut(home, time_dimension, home.dimensions[time_dimension], grain)
        return self._reached(call, (*path, *parts[:-1]), parts[-1], grain, spot, home)

    def _reached(
        self, call: Call, path: tuple[str, ...], name: str, grain: str, spot: str, home: Standing
    ) -> exp.Expr:
        is_entity = call.name == "Entity"
        found: dict[str, exp.Expr] = {}
        ways = list(self._ways(home, path)) if path else [(home, None)]
        own = [one for one in ways if one[1] is None]
        for group in (own, ways):
            for standing, qualifier in group:
                tree = standing.entities.get(name) if is_entity else standing.dimensions.get(name)
                if tree is None:
                    continue
                cut = tree if is_entity else self._cut(standing, name, tree, grain)
                made = qualified(cut, qualifier) if qualifier else cut
                found[made.sql()] = made
            if found:
                break
        if not found:
            raise UnknownColumn(f"`{spot}` is not reached from `{home.model.name}`, or has no place.")
        if len(found) > 1:
            raise Unsayable(f"`{spot}` may mean {' or '.join(f'`{one}`' for one in sorted(found))}.")
        return next(iter(found.values()))

    def _ways(self, home: Standing, path: tuple[str, ...]) -> Iterator[tuple[Standing, str | None]]:
        """Give where a path of entities leads, each with the qualifier under which it is reached."""
        ways: list[tuple[Standing, str | None]] = [(home, None)]
        for hop, entity in enumerate(path[:_MAX_HOPS]):
            reached: list[tuple[Standing, str | None]] = []
            for standing, qualifier in ways:
                if hop == 0 and entity in standing.model.primary_entities:
                    reached.append((standing, qualifier))
                for other in self._keyed.get(entity, ()):
                    if other.draft is standing.draft:
                        if other is not standing:
                            reached.append((other, qualifier))
                        continue
                    link = link_between(standing, other, entity)
                    if link is not None:
                        reached.append((other, link.name))
            ways = reached
        yield from ways

    def _cut(self, standing: Standing, name: str, tree: exp.Expr, grain: str) -> exp.Expr:
        """Cut a time to a granule: the one asked for, else the dimension's own, as MetricFlow does."""
        dimension: Dimension | None = standing.model.dimension(name)
        if dimension is None or not dimension.is_time:
            if grain:
                raise Unsayable(f"`{name}` is no time, so it has no {grain}.")
            return tree
        wanted = grain or dimension.granularity or ""
        if not wanted or (wanted == "day" and _is_date(tree, standing)):
            return tree
        if wanted not in _GRANULES:
            raise Unsayable(f"`{wanted}` is no granularity that the layer knows.")
        return _truncated(tree, wanted, standing.draft.place.target.dialect)


def _is_date(tree: exp.Expr, standing: Standing) -> bool:
    if not isinstance(tree, exp.Column):
        return False
    there = standing.draft.place.table.column(tree.name)
    return there is not None and there.native_type.strip().lower() in {"date", "date32"}


def _truncated(tree: exp.Expr, granule: str, dialect: str) -> exp.Expr:
    """Cut a time to a granule, in a spelling that the layer reads in this dialect."""
    if dialect in {"mysql", "sqlite"}:
        return exp.Anonymous(this="date_trunc", expressions=[exp.Literal.string(granule), tree.copy()])
    if dialect == "bigquery":
        return exp.DateTrunc(this=tree.copy(), unit=exp.Var(this=granule.upper()))
    cut = sqlglot.parse_one(f"DATE_TRUNC('{granule}', x)", dialect="duckdb")
    return mapped_columns(cut, lambda _: tree.copy())


def _armed(tree: exp.Expr) -> exp.Expr:
    return (
        exp.Paren(this=tree)
        if isinstance(tree, exp.Binary | exp.Connector | exp.Not | exp.Between | exp.In | exp.Is)
        else tree
    )
