"""Explores over landed views: joins for the definitions, segments for filters that always hold, and a page that says so."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from sqlglot import exp

from ktx.catalog import Cardinality
from ktx.sources.definition import JoinFact, PageFact, SegmentFact
from ktx.sources.evidence import Unmapped
from ktx.sources.lookml.expression import column_of, parse_piece
from ktx.sources.lookml.fields import Fields, qualified
from ktx.sources.lookml.keys import page_key
from ktx.sources.lookml.parse import (
    Block,
    block_of,
    blocks_of,
    filters_of,
    is_yes,
    named_blocks,
    text_of,
    texts_of,
    words_of,
)
from ktx.sources.lookml.project import Part
from ktx.sources.lookml.unsayable import Unsayable, ensure_plain
from ktx.sources.lookml.views import World, unmapped

_CARDINALITIES: Final[Mapping[str, Cardinality]] = {
    "many_to_one": "many_to_one", "one_to_many": "one_to_many", "one_to_one": "one_to_one",
}  # fmt: skip


@dataclass(kw_only=True)
class Explored:
    """What one explore gives: joins and segments by the definition that they belong to, and lines for its page."""

    joins: list[tuple[str, JoinFact]] = field(default_factory=list[tuple[str, JoinFact]])
    segments: list[tuple[str, SegmentFact]] = field(default_factory=list[tuple[str, SegmentFact]])
    always: list[str] = field(default_factory=list[str])
    problems: list[Unmapped] = field(default_factory=list[Unmapped])


def alias_views(part: Part, views: Mapping[str, Part]) -> dict[str, str]:
    """Give the views of an explore by the names that it uses for them, its base first."""
    block = part.block
    base = text_of(block, "view_name") or part.name
    view = text_of(block, "from") or base
    if view not in views and text_of(block, "from") is None and text_of(block, "view_name") is None:
        # An explore that extends another without `view_name` means the other's view, where Looker asks for it.
        view = base = next((parent for parent in texts_of(block, "extends") if parent in views), view)
    found = {base: view}
    for name, join in named_blocks(block, "joins").items():
        found[name] = text_of(join, "from") or text_of(join, "view_name") or name
    return found


def explore(world: World, part: Part) -> Explored:
    """Translate an explore whose model's definitions have landed."""
    aliases = alias_views(part, world.model.views)
    return _Explore(world=world, part=part, aliases=aliases).run()


def explore_page(world: World, part: Part, explored: Explored | None) -> PageFact | None:
    """Give the page of an explore, or None where there is nothing to say beyond its joins."""
    label, text = words_of(part.block, "label"), words_of(part.block, "description")
    always = explored.always if explored is not None else []
    if not (label or text or always):
        return None
    aliases = alias_views(part, world.model.views)
    landed = {
        view: world.names[view] for view in aliases.values() if explored is not None and world.has(view)
    }
    title = label or part.name
    base, *others = [
        f"`{{{{{landed[view]}}}}}`" if view in landed else f"`{view}`" for view in aliases.values()
    ]
    lines = [f"The explore `{part.name}` of the Looker model `{world.model.name}`.", ""]
    lines += [text, ""] if text else []
    lines.append(
        f"It starts from {base}" + (f" and joins {', '.join(dict.fromkeys(others))}." if others else ".")
    )
    if always:
        lines += ["", "## What Looker adds to every question here", ""] + [f"- {line}" for line in always]
    summary = f"Looker explore {title}: {text}" if text else f"Looker explore {title}."
    segments = explored.segments if explored is not None else []
    return PageFact(
        key=page_key("looker-explore", world.model.name, part.name),
        summary=summary if len(summary) <= 200 else f"{summary[:199]}…",
        body="\n".join(lines),
        evidence=part.evidence,
        tags=tuple(sorted({"looker", *texts_of(part.block, "tags")})),
        definitions=tuple(
            sorted({*landed.values(), *(f"{owner}.{segment.name}" for owner, segment in segments)})
        ),
        connections=tuple(sorted({target.connection_id for target in world.targets})) if landed else (),
    )


@dataclass(kw_only=True)
class _Explore:
    world: World
    part: Part
    aliases: Mapping[str, str]
    result: Explored = field(default_factory=Explored)

    def run(self) -> Explored:
        block = self.part.block
        if "sql_table_name" in block:
            problem = Unsayable("expression_not_supported", "It puts another table under its view.")
            self._report("sql_table_name", problem)
            return self.result
        for name, join in named_blocks(block, "joins").items():
            try:
                self.result.joins.append(self._join(name, join))
            except Unsayable as problem:
                self._report(f"join {name}", problem)
        self._always(block)
        return self.result

    @property
    def _base(self) -> str:
        return next(iter(self.aliases))

    def _report(self, what: str, problem: Unsayable) -> None:
        shown = f"{what} of explore {self.part.name}"
        self.result.problems.append(unmapped(self.part.home, shown, problem))

    # -- joins ------------------------------------------------------------------------------------------------------

    def _join(self, name: str, block: Block) -> tuple[str, JoinFact]:
        self._ensure_joinable(name, block)
        told = text_of(block, "relationship") or "many_to_one"
        relationship = _CARDINALITIES.get(told)
        if relationship is None:
            raise Unsayable("expression_not_supported", f"The layer has no join that is `{told}`.")
        tree, parent = self._condition(name, block)
        parent_view, view = self.aliases[parent], self.aliases[name]
        owner, target = self.world.fields(parent_view), self.world.fields(view)
        if owner.rows.target.connection_id != target.rows.target.connection_id:
            raise Unsayable(
                "unresolved_reference", f"`{view}` lies on another warehouse than `{parent_view}`."
            )
        own, to = self.world.names[parent_view], self.world.names[view]
        alias = self.world.alias(name, view) if name != view else None
        if own == to and alias is None:
            raise Unsayable(
                "expression_not_supported", f"It joins `{view}` to itself without a name of its own."
            )
        dialect = owner.rows.dialect
        sides = {parent: own, name: alias or to}

        def change(node: exp.Expr) -> exp.Expr:
            return (
                column_of(node.name, dialect, table=sides[node.table])
                if isinstance(node, exp.Column)
                else node
            )

        on = tree.transform(change).sql(dialect=dialect)
        self._remark(name, block)
        return own, JoinFact(to=to, on=on, relationship=relationship, alias=alias)

    def _ensure_joinable(self, name: str, block: Block) -> None:
        if text_of(block, "type") == "cross":
            raise Unsayable("expression_not_supported", "The layer has no cross join.")
        for key in ("sql", "sql_table_name", "outer_only"):
            if key in block:
                raise Unsayable("expression_not_supported", f"It uses `{key}`, which the layer cannot hold.")
        self.world.fields(self.aliases[name])

    def _condition(self, name: str, block: Block) -> tuple[exp.Expr, str]:
        """Give the condition with every column under its alias, and the alias that the join starts from."""
        told = text_of(block, "sql_on")
        if told is None:
            return self._by_key(name, block)
        dialect = self.world.fields(self.aliases[name]).rows.dialect
        tree = parse_piece(told, dialect, what="`sql_on`", field=self._field, column=self._written)
        sides = {each.table for each in tree.find_all(exp.Column)}
        others = sorted(sides - {name})
        if name not in sides or len(others) != 1 or others[0] not in self.aliases:
            shown = ", ".join(f"`{each}`" for each in others) or "nothing else"
            detail = f"Its `sql_on` relates `{name}` to {shown}; the layer joins exactly two sides."
            raise Unsayable("expression_not_supported", detail)
        return tree, others[0]

    def _by_key(self, name: str, block: Block) -> tuple[exp.Expr, str]:
        key = text_of(block, "foreign_key")
        if key is None:
            raise Unsayable("expression_not_supported", "It has neither `sql_on` nor `foreign_key`.")
        target = self.world.fields(self.aliases[name])
        primary = [each for each, one in target.dimensions.items() if is_yes(one, "primary_key")]
        if len(primary) != 1:
            raise Unsayable(
                "unresolved_reference", f"`{self.aliases[name]}` has no primary key for the `foreign_key`."
            )
        view, _, short = key.rpartition(".")
        parent = view or self._base
        return exp.EQ(
            this=self._field(f"{parent}.{short}"), expression=self._field(f"{name}.{primary[0]}")
        ), parent

    def _remark(self, name: str, block: Block) -> None:
        kind = text_of(block, "type")
        if kind in {"inner", "full_outer"}:
            kept = (
                "only rows that have a match"
                if kind == "inner"
                else "also rows of the other side without a match"
            )
            self.result.always.append(
                f"Joining `{name}` keeps {kept} (`{kind}`); here every row of the measure's table counts."
            )
            self._report(
                f"type of join {name}",
                Unsayable(
                    "expression_not_supported",
                    f"The `{kind}` join changes which rows count; the layer's joins do not.",
                ),
            )
        where = text_of(block, "sql_where")
        if where is not None:
            self.result.always.append(f"When `{name}` is used, only rows where `{_one_line(where)}` count.")
            self._report(
                f"sql_where of join {name}",
                Unsayable(
                    "expression_not_supported",
                    "Looker filters whenever the join is used; the layer's joins do not.",
                ),
            )

    # -- filters that always hold -----------------------------------------------------------------------------------

    def _always(self, block: Block) -> None:
        where = text_of(block, "sql_always_where")
        if where is not None:
            self._segment("always", lambda: self._where(where), f"`{_one_line(where)}`", "sql_always_where")
        default = block_of(block, "always_filter")
        if default is not None:
            self._filters("default", default, "always_filter", "until the person asking changes it")
        conditional = block_of(block, "conditionally_filter")
        if conditional is not None:
            unless = ", ".join(f"`{each}`" for each in texts_of(conditional, "unless"))
            self._filters(
                "usual",
                conditional,
                "conditionally_filter",
                f"unless they filter on {unless}" if unless else "",
            )
        having = text_of(block, "sql_always_having")
        if having is not None:
            self.result.always.append(
                f"Only groups where `{_one_line(having)}` are shown (`sql_always_having`)."
            )
            self._report(
                "sql_always_having",
                Unsayable("expression_not_supported", "The layer has no condition on groups."),
            )
        for each in blocks_of(block, "access_filters"):
            told, attribute = text_of(each, "field") or "?", text_of(each, "user_attribute") or "?"
            self.result.always.append(
                f"People see only the rows whose `{told}` is their `{attribute}` (`access_filter`)."
            )
            self._report(
                f"access_filter {told}",
                Unsayable(
                    "expression_not_supported",
                    "Looker shows each person their own rows; the layer has no such bar.",
                ),
            )
        if "required_access_grants" in block:
            grants = ", ".join(f"`{each}`" for each in texts_of(block, "required_access_grants"))
            self.result.always.append(f"Only people with {grants} may use it.")

    def _filters(self, name: str, block: Block, key: str, until: str) -> None:
        pairs = filters_of(block)
        shown = ", ".join(f"`{field}` is `{value}`" for field, value in pairs) or "(nothing)"
        self._segment(name, lambda: self._conditions(pairs), f"{shown}{f' {until}' if until else ''}", key)

    def _segment(self, name: str, make: Callable[[], exp.Expr | None], shown: str, key: str) -> None:
        try:
            base = self.world.fields(self.aliases[self._base])
            tree = make()
        except Unsayable as problem:
            self.result.always.append(f"It keeps only rows where {shown} (`{key}`).")
            self._report(key, problem)
            return
        if tree is None:
            return
        owner = self.world.names[self.aliases[self._base]]
        segment = SegmentFact(
            name=f"{self.part.name}_{name}",
            expr=self._local(tree, base).sql(dialect=base.rows.dialect),
            description=f"What Looker's explore {self.part.name} adds to every question (`{key}`).",
        )
        self.result.segments.append((owner, segment))
        self.result.always.append(
            f"It keeps only rows where {shown} (`{key}`): the segment `{{{{{owner}.{segment.name}}}}}`."
        )

    def _where(self, text: str) -> exp.Expr:
        dialect = self.world.fields(self.aliases[self._base]).rows.dialect
        return parse_piece(text, dialect, what="`sql_always_where`", field=self._field, column=self._written)

    def _conditions(self, pairs: Sequence[tuple[str, str]]) -> exp.Expr | None:
        found: list[exp.Expr] = []
        for told, value in pairs:
            view, _, short = told.rpartition(".")
            alias = view or self._base
            owner = self._fields(alias)
            one = owner.condition(((short, value),))
            if one is not None:
                found.append(qualified(one, alias, owner.rows.dialect))
        return exp.and_(*found) if found else None

    def _local(self, tree: exp.Expr, base: Fields) -> exp.Expr:
        """Write columns of the base bare, and others under the name that the layer knows them by."""
        dialect = base.rows.dialect

        def change(node: exp.Expr) -> exp.Expr:
            if not isinstance(node, exp.Column) or not node.table:
                return node
            if node.table == self._base:
                return column_of(node.name, dialect)
            view = self.aliases.get(node.table)
            if view is None:
                return node
            named = self.world.names[view] if view == node.table else self.world.alias(node.table, view)
            return column_of(node.name, dialect, table=named)

        return tree.transform(change)

    # -- columns ----------------------------------------------------------------------------------------------------

    def _fields(self, alias: str) -> Fields:
        if alias not in self.aliases:
            raise Unsayable(
                "unresolved_reference", f"The explore `{self.part.name}` does not join `{alias}`."
            )
        return self.world.fields(self.aliases[alias])

    def _field(self, name: str) -> exp.Expr:
        ensure_plain(name, "reference")
        alias, _, short = name.rpartition(".")
        owner = self._fields(alias or self._base)
        return qualified(owner.value(short, inline=True), alias or self._base, owner.rows.dialect)

    def _written(self, parts: tuple[str, ...]) -> exp.Expr:
        if len(parts) != 2:
            raise Unsayable(
                "unresolved_reference", f"It uses `{'.'.join(parts)}` without saying of which view."
            )
        owner = self._fields(parts[0])
        return qualified(owner.physical(parts[1]), parts[0], owner.rows.dialect)


def _one_line(text: str) -> str:
    return " ".join(text.replace("`", "'").split())[:300]
