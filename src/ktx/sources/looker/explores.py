"""Explores as definitions of the tables below them: dimensions, measures, joins, each on the table of its own view."""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

import sqlglot
from sqlglot import exp
from sqlglot.errors import SqlglotError

from ktx.catalog import Cardinality, ColumnKind, TableRef
from ktx.sources.definition import ColumnFact, Definition, JoinFact, MeasureFact
from ktx.sources.evidence import Unmapped
from ktx.sources.looker.documents import explore_id
from ktx.sources.looker.fieldsql import FieldSql, ViewPlace
from ktx.sources.looker.filters import condition
from ktx.sources.looker.wire import ExploreInfo, FieldInfo, JoinInfo
from ktx.sources.placing import Placed, Unsayable, column_of, place
from ktx.sources.prose import one_line, sentence, slug, told
from ktx.sources.source import Target

AUTHOR: Final = "looker"
_DERIVED: Final = re.compile(r"SQL_TABLE_NAME|^\s*\(|\b(?i:SELECT)\b|(?:^|[.\"`])L[RC]_[A-Z0-9]{4}")
_TEMPLATE: Final = re.compile(r"\{%|\{\{|@\{")
_REFERENCE: Final = re.compile(r"\$\{([^}]*)\}")
_NAMED: Final = re.compile(r"\s+(?:AS\s+)?[A-Za-z_][A-Za-z0-9_]*\s*$", re.IGNORECASE)
_ALIASES: Final = re.compile(r"\$\{([A-Za-z0-9_]+)\.")
_RELATIONSHIPS: Final[Mapping[str, Cardinality]] = {
    "many_to_one": "many_to_one",
    "one_to_one": "one_to_one",
    "one_to_many": "one_to_many",
}
_KINDS: Final[Mapping[str, ColumnKind]] = {"number": "number", "yesno": "boolean", "int": "number"}
_AGGREGATES: Final[Mapping[str, type[exp.Expr]]] = {
    "sum": exp.Sum,
    "average": exp.Avg,
    "min": exp.Min,
    "max": exp.Max,
    "median": exp.Median,
}
_WHOLE: Final = frozenset({"number", "date", "date_date", "date_time", "string", "yesno"})


@dataclass(kw_only=True)
class Draft:
    """A view on its table, in the making."""

    name: str
    placed: Placed
    evidence: set[str] = field(default_factory=set[str])
    description: str | None = None
    keys: set[str] = field(default_factory=set[str])
    columns: dict[str, ColumnFact] = field(default_factory=dict[str, ColumnFact])
    measures: dict[str, MeasureFact] = field(default_factory=dict[str, MeasureFact])
    joins: dict[tuple[str, str | None, str], JoinFact] = field(
        default_factory=dict[tuple[str, str | None, str], JoinFact]
    )

    def built(self) -> Definition:
        """Give the finished definition."""
        table = self.placed.table
        return Definition(
            name=self.name,
            connection_id=self.placed.target.connection_id,
            author=AUTHOR,
            evidence=tuple(sorted(self.evidence)),
            table=table.ref,
            description=self.description,
            grain=tuple(sorted(self.keys)) if not table.primary_key else (),
            columns=tuple(self.columns[name] for name in sorted(self.columns)),
            measures=tuple(self.measures[name] for name in sorted(self.measures)),
            joins=tuple(sorted(self.joins.values(), key=lambda join: (join.to, join.alias or "", join.on))),
        )


@dataclass(kw_only=True)
class Layout:
    """All definitions of a Looker, and where its fields went: `entities` are by model, explore and field."""

    targets: Mapping[str, Target]
    connections: Mapping[str, str | None]
    drafts: dict[tuple[str, TableRef, str], Draft] = field(
        default_factory=dict[tuple[str, TableRef, str], Draft]
    )
    entities: dict[tuple[str, str, str], str] = field(default_factory=dict[tuple[str, str, str], str])
    places: dict[tuple[str, str], Target] = field(default_factory=dict[tuple[str, str], Target])
    bases: dict[tuple[str, str], str] = field(default_factory=dict[tuple[str, str], str])
    landed: set[tuple[str, ...]] = field(default_factory=set[tuple[str, ...]])
    _lacking: dict[tuple[str, ...], Unmapped] = field(default_factory=dict[tuple[str, ...], Unmapped])
    _names: set[str] = field(default_factory=set[str])

    def lacks(
        self,
        explore: ExploreInfo,
        what: str,
        why: Unsayable,
        *,
        key: tuple[str, ...] = (),
        is_home: bool = False,
    ) -> None:
        """Note what has no place.

        What several explores share (`key`) is noted once, as of the explore that starts from it (`is_home`), and only where
        it lands from none of them.
        """
        found = Unmapped(
            evidence=explore_id(explore.model_name, explore.name),
            what=one_line(what, 200),
            reason=why.reason,
            detail=told(why.detail),
        )
        key = key or (found.what, found.detail)
        if key not in self._lacking or is_home:
            self._lacking[key] = found

    @property
    def unmapped(self) -> tuple[Unmapped, ...]:
        """What has no place, in order."""
        left = [one for key, one in self._lacking.items() if key not in self.landed]
        return tuple(sorted(left, key=lambda one: (one.evidence, one.what, one.detail)))

    def add(self, explore: ExploreInfo) -> None:
        """Put everything that an explore says on the tables of its views."""
        try:
            target = self._target(explore)
        except Unsayable as why:
            self.lacks(explore, f"explore {explore.name}", why)
            return
        self.places[explore.model_name, explore.name] = target
        base = _base(explore)
        views: dict[str, ViewPlace] = {}
        drafts: dict[str, Draft] = {}
        problems: dict[str, Unsayable] = {}
        for alias, original, table in _views(explore, base):
            try:
                draft = self._draft(explore, target, original, table)
            except Unsayable as why:
                problems[alias] = why
                self.lacks(explore, f"view {alias}", why)
                continue
            draft.evidence.add(explore_id(explore.model_name, explore.name))
            drafts[alias] = draft
            is_role = alias not in (base, original)
            views[alias] = ViewPlace(
                alias=alias, table=draft.placed.table, name=alias if is_role else draft.name
            )
        fields = FieldSql(
            dialect=target.dialect,
            views=views,
            problems=problems,
            dimensions={one.name: one for one in explore.fields.dimensions},
            measures={one.name: one for one in explore.fields.measures},
            measure_name=lambda info: _measure_name(info, views),
        )
        if base in drafts:
            self.bases[explore.model_name, explore.name] = drafts[base].name
            if explore.name == base:
                drafts[base].description = drafts[base].description or sentence(explore.description)
        work = _Explore(layout=self, info=explore, fields=fields, drafts=drafts, base=base)
        work.add_dimensions()
        work.add_measures()
        work.add_joins()

    def _target(self, explore: ExploreInfo) -> Target:
        connection = self.connections.get(explore.connection_name or "")
        if connection is None:
            name = one_line(explore.connection_name) or "none"
            raise Unsayable(
                "no_connection_mapping", f"Looker's connection `{name}` is mapped to no connection."
            )
        target = self.targets.get(connection)
        if target is None:
            raise Unsayable("no_connection_mapping", f"`{connection}` is no connection to a warehouse.")
        return target

    def _draft(self, explore: ExploreInfo, target: Target, original: str, table: str) -> Draft:
        placed = place(target, _table_ref(table, target.dialect))
        key = (target.connection_id, placed.table.ref, original)
        if key not in self.drafts:
            name = slug(original, otherwise="view")
            for candidate in (name, f"{slug(explore.model_name, otherwise='model')}__{name}"):
                name = candidate
                if candidate not in self._names:
                    break
            else:
                name = f"{name}_{len(self._names)}"
            self._names.add(name)
            self.drafts[key] = Draft(name=name, placed=placed)
        return self.drafts[key]


@dataclass(frozen=True, kw_only=True)
class _Explore:
    """One explore on its way into the layout."""

    layout: Layout
    info: ExploreInfo
    fields: FieldSql
    drafts: Mapping[str, Draft]
    base: str
    landing: dict[str, str | Unsayable] = field(default_factory=dict[str, "str | Unsayable"])

    def _each(self, word: str, infos: Sequence[FieldInfo], add: Callable[[FieldInfo, Draft], str]) -> None:
        for info in sorted(infos, key=lambda one: one.name):
            draft = self.drafts.get(info.view)
            if draft is None:
                if info.view not in self.fields.problems:
                    why = Unsayable("unresolved_reference", f"There is no view `{info.view}`.")
                    self.layout.lacks(self.info, f"{word} {info.name}", why)
                continue
            key = (word, draft.name, info.short)
            try:
                entity = _guarded(add, info, draft)
            except Unsayable as why:
                is_home = info.view == self.base
                self.layout.lacks(self.info, f"{word} {info.name}", why, key=key, is_home=is_home)
                continue
            self.layout.landed.add(key)
            self.layout.entities[self.info.model_name, self.info.name, info.name] = f"{draft.name}.{entity}"

    def add_dimensions(self) -> None:
        """Describe columns, and add those that are computed."""
        self._each("dimension", self.info.fields.dimensions, self._dimension)

    def _dimension(self, info: FieldInfo, draft: Draft) -> str:
        is_time = (
            info.type.startswith("date_") or info.type in ("date", "time") or info.dimension_group is not None
        )
        if is_time and info.type.startswith("duration"):
            raise Unsayable("expression_not_supported", "A duration between two times has no translation.")
        tree = self.fields.group(info) if is_time else self.fields.dimension(info)
        if any(isinstance(node, exp.AggFunc | exp.Window) for node in tree.walk()):
            raise Unsayable("expression_not_supported", "A dimension that aggregates has no translation.")
        about = sentence(info.description)
        if isinstance(tree, exp.Column) and not tree.table:
            self._describe(draft, tree.name, about, is_time=is_time)
            if info.primary_key:
                draft.keys.add(tree.name)
            return tree.name
        short = (info.dimension_group or info.name).rpartition(".")[2] if is_time else info.short
        name = slug(short, otherwise="dimension")
        if column_of(draft.placed.table, name) is not None:
            name = f"{name}_computed"
        expr = tree.sql(dialect=self.fields.dialect)
        fact = ColumnFact(
            name=name,
            description=about,
            kind="time" if is_time else _KINDS.get(info.type, "string"),
            expr=expr,
            is_time=is_time,
        )
        known = draft.columns.get(name)
        if known is not None and known.expr != expr:
            raise Unsayable("expression_not_supported", f"Another explore defines `{name}` otherwise.")
        if known is None or (known.description is None and about):
            draft.columns[name] = fact
        return name

    def _describe(self, draft: Draft, name: str, about: str | None, *, is_time: bool) -> None:
        column = draft.placed.table.column(name)
        if about is not None and column is not None and about == sentence(column.comment):
            about = None
        known = draft.columns.get(name)
        if about is None and not is_time and known is None:
            return
        if known is None:
            known = ColumnFact(name=name)
        draft.columns[name] = ColumnFact(
            name=name, description=known.description or about, is_time=known.is_time or is_time
        )

    def add_measures(self) -> None:
        """Add measures, each on the table of its view."""
        self._each("measure", self.info.fields.measures, self._measure)

    def _measure(self, info: FieldInfo, draft: Draft) -> str:
        """Land a measure once; one that is made of others lands only with all of them."""
        known = self.landing.get(info.name)
        if known is None:
            self.landing[info.name] = Unsayable("unresolved_reference", "It refers to itself.")
            try:
                known = self._landed(info, draft)
            except Unsayable as why:
                known = why
            self.landing[info.name] = known
        if isinstance(known, Unsayable):
            raise Unsayable(known.reason, known.detail)
        return known

    def _landed(self, info: FieldInfo, draft: Draft) -> str:
        for name in self._measures_in(info):
            other = self.fields.measures[name]
            owner = self.drafts.get(other.view)
            try:
                if owner is not None:
                    self._measure(other, owner)
            except Unsayable as why:
                raise Unsayable(
                    "unresolved_reference", f"It is made of `{name}`, which has no place."
                ) from why
        name = self.fields.measure_name(info)
        expr = self._aggregate(info).sql(dialect=self.fields.dialect)
        fact = MeasureFact(
            name=name,
            expr=expr,
            filter=self._filter(info),
            description=sentence(info.description) or _label(info),
            evidence=(explore_id(self.info.model_name, self.info.name),),
        )
        known = draft.measures.get(name)
        if known is None:
            draft.measures[name] = fact
        elif (known.expr, known.filter) != (fact.expr, fact.filter):
            raise Unsayable("expression_not_supported", f"Another explore defines `{name}` otherwise.")
        return name

    def _measures_in(self, info: FieldInfo) -> list[str]:
        """Give the measures that a measure's SQL refers to."""
        found = (one.strip() for one in _REFERENCE.findall(info.sql or ""))
        names = {one if "." in one else f"{info.view}.{one}" for one in found}
        return sorted(names & set(self.fields.measures))

    def _aggregate(self, info: FieldInfo) -> exp.Expr:
        kind = info.type
        if kind == "count":
            return exp.Count(this=exp.Star())
        if kind == "running_total":
            raise Unsayable(
                "cumulative_metric_unsupported", "A running total adds up over the rows of a result."
            )
        if info.sql is None:
            raise Unsayable(
                "expression_not_supported", "Looker does not show its SQL (`see_lookml` is needed)."
            )
        tree = self.fields.tree(
            self.fields.resolve(info.sql.strip().removesuffix(";;"), info.view), info.view
        )
        has_aggregate = any(isinstance(node, exp.AggFunc) for node in tree.walk())
        if kind in _AGGREGATES or kind == "count_distinct":
            if has_aggregate:
                raise Unsayable(
                    "expression_not_supported", "An aggregate within an aggregate has no one meaning."
                )
            if self._measures_in(info):
                raise Unsayable("expression_not_supported", "It aggregates another measure.")
            if kind == "count_distinct":
                return exp.Count(this=exp.Distinct(expressions=[tree]))
            return _AGGREGATES[kind](this=tree)
        if kind in _WHOLE:
            if has_aggregate or self._measures_in(info):
                return tree
            raise Unsayable("expression_not_supported", "It aggregates nothing.")
        raise Unsayable("expression_not_supported", f"A measure of the type `{kind}` has no translation.")

    def _filter(self, info: FieldInfo) -> str | None:
        parts: list[exp.Expr] = []
        for one in sorted(info.filters, key=lambda one: (one.field, one.condition or "")):
            name = one.field if "." in one.field else f"{info.view}.{one.field}"
            about = self.fields.dimensions.get(name)
            if about is None:
                raise Unsayable(
                    "unresolved_reference", f"Its filter names `{one_line(name, 80)}`, which is not there."
                )
            tree = self.fields.tree(self.fields.resolve(f"${{{name}}}", info.view), info.view)
            found = condition(about, tree, one.condition)
            if found is not None:
                parts.append(found)
        return exp.and_(*parts).sql(dialect=self.fields.dialect) if parts else None

    def add_joins(self) -> None:
        """Add the joins between views that have a place."""
        for join in self.info.joins:
            if join.name not in self.drafts:
                continue
            try:
                self._join(join)
            except Unsayable as why:
                self.layout.lacks(self.info, f"join {join.name}", why)

    def _join(self, join: JoinInfo) -> None:
        sql = self._condition(join)
        relationship = _RELATIONSHIPS.get(join.relationship or "many_to_one")
        if relationship is None or join.type == "cross":
            raise Unsayable(
                "expression_not_supported", f"A {join.relationship or join.type} join has no translation."
            )
        others = sorted(set(_ALIASES.findall(sql)) - {join.name})
        if len(others) != 1 or join.name not in _ALIASES.findall(sql):
            raise Unsayable("multiple_table_references", "Its condition is not between two views.")
        other = others[0]
        if other not in self.drafts:
            raise Unsayable("missing_target_table", f"The view `{other}` has no place.")
        draft, target = self.drafts[other], self.drafts[join.name]
        place_ = self.fields.views[join.name]
        tree = self.fields.tree(self.fields.resolve(sql, self.base), other, qualify_own=draft.name)
        alias = place_.name if place_.name != target.name else None
        if target is draft and alias is None:
            raise Unsayable(
                "expression_not_supported", "It joins a table to itself without a name of its own."
            )
        on = tree.sql(dialect=self.fields.dialect)
        draft.joins[target.name, alias, on] = JoinFact(
            to=target.name, on=on, relationship=relationship, alias=alias
        )

    def _condition(self, join: JoinInfo) -> str:
        if join.sql_on:
            return join.sql_on
        if not join.foreign_key:
            raise Unsayable("expression_not_supported", "It has no condition.")
        keys = [one for one in self.info.fields.dimensions if one.view == join.name and one.primary_key]
        if len(keys) != 1:
            raise Unsayable("unresolved_reference", f"`{join.name}` has no primary key to join by.")
        near = join.foreign_key if "." in join.foreign_key else f"{self.base}.{join.foreign_key}"
        return f"${{{near}}} = ${{{keys[0].name}}}"


def _measure_name(info: FieldInfo, views: Mapping[str, ViewPlace]) -> str:
    name = slug(info.short, otherwise="measure")
    place_ = views.get(info.view)
    is_column = place_ is not None and column_of(place_.table, name) is not None
    return f"{name}_measure" if is_column else name


def _guarded(add: Callable[[FieldInfo, Draft], str], info: FieldInfo, draft: Draft) -> str:
    try:
        return add(info, draft)
    except RecursionError:
        raise Unsayable("parse_error", "It is nested too deeply.") from None


def _label(info: FieldInfo) -> str | None:
    """Give a label that somebody wrote; Looker makes others of the names."""

    def letters(text: str) -> str:
        return "".join(sign for sign in text.casefold() if sign.isalnum())

    made = {letters(info.short), letters(f"{info.view}{info.short}")}
    return sentence(info.label) if letters(info.label or "") not in made else None


def _base(explore: ExploreInfo) -> str:
    """Give the name under which an explore's own view goes: that of its fields which no join brings."""
    joined = {join.name for join in explore.joins}
    fields = (*explore.fields.dimensions, *explore.fields.measures)
    own = sorted({one.view for one in fields} - joined)
    for wanted in (explore.name, explore.view_name):
        if wanted in own:
            return wanted
    return own[0] if len(own) == 1 else (explore.view_name or explore.name)


def _views(explore: ExploreInfo, base: str) -> list[tuple[str, str, str]]:
    """Give the views of an explore: alias, own name, and table."""
    originals = {
        one.view: one.original_view or one.view
        for one in (*explore.fields.dimensions, *explore.fields.measures)
    }
    own = originals.get(base) or explore.view_name or base
    found = [(base, own, explore.sql_table_name or own)]
    for join in explore.joins:
        original = join.from_ or originals.get(join.name) or join.name
        found.append((join.name, original, join.sql_table_name or original))
    return found


def _table_ref(text: str, dialect: str) -> TableRef:
    """Read a `sql_table_name`.

    Raises:
        Unsayable: it is a template, a derived table, or nothing that names a table.
    """
    if _TEMPLATE.search(text):
        raise Unsayable("looker_template_unresolved", f"Its table `{one_line(text, 120)}` is a template.")
    if _DERIVED.search(text):
        raise Unsayable("derived_table_not_supported", "It is a derived table, which the API does not show.")
    try:
        plain = _NAMED.sub("", text.strip().removesuffix(";;").strip())
        tree = sqlglot.parse_one(plain, into=exp.Table, dialect=dialect)
    except (SqlglotError, RecursionError):
        raise Unsayable("parse_error", f"Its table `{one_line(text, 120)}` cannot be read.") from None
    if not tree.name:
        raise Unsayable("parse_error", f"Its table `{one_line(text, 120)}` cannot be read.")
    return TableRef(catalog=tree.catalog or None, schema=tree.db or None, name=tree.name)
