"""Manifest tables, overlays and standalone files become one set of sources.

The rules: descriptions merge by author; an overlay's measures and joins add, its segments replace; an override names an
existing column and a computed column a new one; `disable_joins` takes a manifest join out on both of its sides. A source
whose files do not compose is left out with its findings, so that a question about it is refused with the reason.
"""

import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TypeVar

from ktx.findings import Finding, Level, Place
from ktx.semantic.files import ManifestTable, SourceFile, Spots
from ktx.semantic.format import (
    ColumnEntry,
    ColumnFacts,
    JoinEntry,
    MeasureEntry,
    SegmentEntry,
    SourceEntry,
    merged_descriptions,
)
from ktx.semantic.implicit import implicit_measures
from ktx.semantic.manifest import ShardJoin, ShardTable
from ktx.semantic.source import Source
from ktx.semantic.tableref import parse_table_ref
from ktx.suggest import did_you_mean, nearest


@dataclass(frozen=True, kw_only=True)
class Draft:
    """A composed source in the words of the files, each part with its place, before it becomes the compiler's value."""

    name: str
    place: Place
    table: str | None = None
    sql: str | None = None
    grain: tuple[str, ...] = ()
    columns: tuple[tuple[ColumnEntry, Place], ...] = ()
    measures: tuple[tuple[MeasureEntry, Place], ...] = ()
    implicit: frozenset[str] = frozenset()
    segments: tuple[tuple[SegmentEntry, Place], ...] = ()
    joins: tuple[tuple[JoinEntry, Place], ...] = ()
    descriptions: Mapping[str, str] = field(default_factory=dict[str, str])
    default_time_dimension: str | None = None


@dataclass(frozen=True, kw_only=True)
class Composed:
    """What a connection's files say together: usable sources, and what is wrong with the others, by name."""

    sources: Mapping[str, Source]
    broken: Mapping[str, tuple[Finding, ...]]
    findings: tuple[Finding, ...]


def compose(
    tables: Sequence[ManifestTable], files: Sequence[SourceFile], *, build: Callable[[Draft], Source]
) -> Composed:
    """Compose the parsed files of one connection; `build` makes each source while its draft is at hand."""
    findings: list[Finding] = []
    broken: dict[str, list[Finding]] = {}

    def report(name: str, problems: Sequence[Finding]) -> None:
        findings.extend(problems)
        if any(problem.level == "error" for problem in problems):
            broken.setdefault(name, []).extend(problems)

    table_by_name = _unique_tables(tables, report)
    file_by_name = _unique_files(files, report)
    disabled = _disabled_conditions(file_by_name)
    sources: dict[str, Source] = {}
    for name in sorted({*table_by_name, *file_by_name}):
        if name in broken:
            continue
        table = table_by_name.get(name)
        file = file_by_name.get(name)
        composer = _Composer(name=name, tables=table_by_name, disabled=disabled)
        draft = composer.compose(table, file)
        report(name, composer.findings)
        if draft is not None and name not in broken:
            sources[name] = build(draft)
    return Composed(
        sources=sources,
        broken={name: tuple(problems) for name, problems in broken.items()},
        findings=tuple(findings),
    )


def condition_key(on: str) -> frozenset[frozenset[str]]:
    """Give a key that is equal for a join condition and its mirror: `a.x = b.y` and `b.y = a.x`.

    >>> condition_key("a.x = b.y AND a.z = b.z") == condition_key("b.z=a.z and b.y = a.x")
    True
    """
    parts = re.split(r"\s+and\s+", " ".join(on.split()), flags=re.IGNORECASE)
    return frozenset(frozenset(side.strip() for side in part.split("=")) for part in parts)


Report = Callable[[str, Sequence[Finding]], None]
_PlacedColumn = tuple[ColumnEntry, Place]
_Entry = TypeVar("_Entry")


def _unique_tables(tables: Sequence[ManifestTable], report: Report) -> dict[str, ManifestTable]:
    by_name: dict[str, ManifestTable] = {}
    for table in tables:
        report(table.name, table.findings)
        first = by_name.setdefault(table.name, table)
        if first is not table:
            report(table.name, [_duplicate(table.name, first.file, table.file, ("tables", table.name))])
    return by_name


def _unique_files(files: Sequence[SourceFile], report: Report) -> dict[str, SourceFile]:
    by_name: dict[str, SourceFile] = {}
    for file in files:
        report(file.name, file.findings)
        first = by_name.setdefault(file.name, file)
        if first is not file:
            report(file.name, [_duplicate(file.name, first.file, file.file, ("name",))])
    return by_name


def _duplicate(name: str, first: Spots, second: Spots, path: tuple[str, ...]) -> Finding:
    return Finding(
        level="error",
        code="duplicate-source",
        message=f"`{name}` is described in `{first.file}` and again in `{second.file}`.",
        where=second.place(*path),
        fix="Keep one of the two, or give one another `name`.",
    )


_Disabled = Mapping[str, frozenset[frozenset[frozenset[str]]]]


def _disabled_conditions(files: Mapping[str, SourceFile]) -> _Disabled:
    """Give the conditions that each overlay disables, in the form that a mirrored join shares."""
    return {
        name: frozenset(condition_key(on) for on in file.entry.disable_joins)
        for name, file in files.items()
        if file.entry is not None and file.entry.disable_joins
    }


class _Composer:
    """Composes one source; problems collect in `findings`, each with its line."""

    def __init__(self, *, name: str, tables: Mapping[str, ManifestTable], disabled: _Disabled) -> None:
        self.name = name
        self.tables = tables
        self.disabled = disabled
        self.findings: list[Finding] = []

    def compose(self, table: ManifestTable | None, file: SourceFile | None) -> Draft | None:
        """Give the draft, or None when there is nothing to use."""
        entry = file.entry if file is not None else None
        if file is not None and entry is not None and entry.is_standalone:
            if table is not None:
                self._say(
                    "note",
                    "manifest-table-replaced",
                    f"`{self.name}` stands in place of the manifest table in `{table.file.file}`.",
                    file.file,
                    ("name",),
                    fix="Remove `table` and `sql` to make the file an overlay on it.",
                )
            return self._standalone(file.file, entry)
        if table is None or table.table is None:
            if file is not None and entry is not None:
                self._orphan(file.file)
            return None
        draft = self._projected(table.file, table.table)
        if file is not None and entry is not None:
            draft = self._overlaid(draft, table.table, file.file, entry)
        return self._with_implicit(draft)

    def _say(
        self,
        level: Level,
        code: str,
        message: str,
        file: Spots,
        path: tuple[str | int, ...],
        *,
        fix: str | None = None,
    ) -> None:
        self.findings.append(
            Finding(level=level, code=code, message=message, where=file.place(*path), fix=fix)
        )

    def _orphan(self, file: Spots) -> None:
        near = nearest(self.name, self.tables)
        self._say(
            "warning",
            "overlay-without-table",
            f"`{self.name}` has no `table` and no `sql`, and no manifest table has that name; it is left out.",
            file,
            ("name",),
            fix=f"Did you mean `{near}`?" if near else "Run `ktx ingest`, or give it `table:` or `sql:`.",
        )

    # -- the manifest -------------------------------------------------------------------------------------------

    def _projected(self, file: Spots, table: ShardTable) -> Draft:
        at = ("tables", self.name)
        if parse_table_ref(table.table) is None:
            self._bad_table(table.table, file, (*at, "table"))
        self._no_twins("column", [column.name for column in table.columns], file, (*at, "columns"))
        return Draft(
            name=self.name,
            place=file.place(*at),
            table=table.table,
            grain=tuple(column.name for column in table.columns if column.pk),
            columns=tuple(
                (
                    ColumnEntry(name=column.name, type=column.type, descriptions=column.descriptions),
                    file.place(*at, "columns", position),
                )
                for position, column in enumerate(table.columns)
            ),
            joins=tuple(self._manifest_joins(table.joins, file)),
            descriptions=table.descriptions,
        )

    def _manifest_joins(self, joins: Sequence[ShardJoin], file: Spots) -> Iterable[tuple[JoinEntry, Place]]:
        """Give the joins that no overlay disables, on this side or on the other."""
        mine = self.disabled.get(self.name, frozenset())
        for at, join in enumerate(joins):
            theirs = self.disabled.get(join.to, frozenset())
            key = condition_key(join.on)
            if key not in mine and key not in theirs:
                entry = JoinEntry(
                    to=join.to,
                    on=join.on,
                    relationship=join.relationship,
                    alias=join.alias,
                    source=join.source,
                )
                yield entry, file.place("tables", self.name, "joins", at)

    def _with_implicit(self, draft: Draft) -> Draft:
        in_joins = {word for join, _ in draft.joins for word in re.findall(r"\w+", join.on)}
        found = implicit_measures(
            [
                (column.name, column.type)
                for column, _ in draft.columns
                if column.expr is None and (column.visibility or "public") == "public"
            ],
            keys={*draft.grain, *in_joins},
            taken={measure.name for measure, _ in draft.measures},
        )
        return replace(
            draft,
            measures=(
                *draft.measures,
                *(
                    (MeasureEntry(name=one.name, expr=one.expr, description=one.description), draft.place)
                    for one in found
                ),
            ),
            implicit=frozenset(one.name for one in found),
        )

    # -- overlays -----------------------------------------------------------------------------------------------

    def _overlaid(self, draft: Draft, table: ShardTable, file: Spots, entry: SourceEntry) -> Draft:
        if entry.inherits_columns_from is not None:
            self._say(
                "error",
                "standalone-key-in-overlay",
                "`inherits_columns_from` belongs to a source with `table` or `sql`; an overlay has all columns already.",
                file,
                ("inherits_columns_from",),
                fix="Remove it.",
            )
        known = {column.name: (column, place) for column, place in draft.columns}
        excluded = self._excluded(known, file, entry)
        columns = self._overridden(known, excluded, file, entry)
        columns += self._computed(known, file, entry)
        joins = self._added_joins(draft, table, file, entry)
        self._no_twins("measure", [measure.name for measure in entry.measures], file, ("measures",))
        self._no_twins("segment", [segment.name for segment in entry.segments or ()], file, ("segments",))
        grain = draft.grain if entry.grain is None else self._checked_grain(entry, known, file)
        needed = {*grain, *(word for join, _ in joins for word in re.findall(r"\w+", join.on))}
        return replace(
            draft,
            grain=grain,
            columns=tuple(
                (_hidden(column) if column.name in excluded else column, place)
                for column, place in columns
                if column.name not in excluded or column.name in needed
            ),
            measures=_placed(entry.measures, file, "measures"),
            segments=_placed(entry.segments or [], file, "segments"),
            joins=joins,
            descriptions={**draft.descriptions, **merged_descriptions(entry.description, entry.descriptions)},
            default_time_dimension=self._time_dimension(entry, file, {column.name for column, _ in columns}),
        )

    def _excluded(self, known: Mapping[str, object], file: Spots, entry: SourceEntry) -> set[str]:
        for at, name in enumerate(entry.exclude_columns):
            if name not in known:
                self._say(
                    "warning",
                    "excluded-column-unknown",
                    f"`{name}` is excluded, but `{self.name}` has no such column.{did_you_mean(name, known)}",
                    file,
                    ("exclude_columns", at),
                    fix="Correct or remove it.",
                )
        return set(entry.exclude_columns)

    def _overridden(
        self, known: Mapping[str, _PlacedColumn], excluded: set[str], file: Spots, entry: SourceEntry
    ) -> list[_PlacedColumn]:
        self._no_twins(
            "column override",
            [override.name for override in entry.column_overrides],
            file,
            ("column_overrides",),
        )
        columns = dict(known)
        for at, override in enumerate(entry.column_overrides):
            path = ("column_overrides", at)
            known_column = columns.get(override.name)
            if known_column is None:
                self._say(
                    "error",
                    "override-unknown-column",
                    f"`{self.name}` has no column `{override.name}` to override.{did_you_mean(override.name, known)}",
                    file,
                    path,
                    fix="Name a column of the manifest table.",
                )
            elif override.name in excluded:
                self._say(
                    "error",
                    "column-excluded-and-overridden",
                    f"`{override.name}` is both excluded and overridden.",
                    file,
                    path,
                    fix="Keep one of the two.",
                )
            else:
                columns[override.name] = (_with_facts(known_column[0], override), file.place(*path))
        return list(columns.values())

    def _computed(self, known: Mapping[str, object], file: Spots, entry: SourceEntry) -> list[_PlacedColumn]:
        computed = entry.columns or []
        self._no_twins("column", [column.name for column in computed], file, ("columns",))
        for at, column in enumerate(computed):
            if column.expr is None:
                self._say(
                    "error",
                    "computed-column-without-expr",
                    f"`{column.name}` has no `expr`; an overlay adds computed columns only.",
                    file,
                    ("columns", at),
                    fix="Add `expr:`, or describe an existing column under `column_overrides`.",
                )
            if column.name in known:
                self._say(
                    "error",
                    "computed-column-collides",
                    f"`{column.name}` is already a column of the table.",
                    file,
                    ("columns", at),
                    fix="Give the computed column another name.",
                )
        return [(_plain_column(column), file.place("columns", at)) for at, column in enumerate(computed)]

    def _added_joins(
        self, draft: Draft, table: ShardTable, file: Spots, entry: SourceEntry
    ) -> tuple[tuple[JoinEntry, Place], ...]:
        all_keys = {condition_key(join.on): join.on for join in table.joins}
        for at, on in enumerate(entry.disable_joins):
            if condition_key(on) not in all_keys:
                self._say(
                    "warning",
                    "disabled-join-unknown",
                    f"`{on}` is disabled, but no manifest join of `{self.name}` reads so.",
                    file,
                    ("disable_joins", at),
                    fix=did_you_mean(on, all_keys.values()).strip()
                    or "Copy the `on` of the join, or remove the line.",
                )
        added = {(join.to, join.alias, condition_key(join.on)) for join in entry.joins}
        kept = tuple(
            (join, place)
            for join, place in draft.joins
            if (join.to, join.alias, condition_key(join.on)) not in added
        )
        self._no_twin_joins(entry.joins, file)
        return (*kept, *_placed(entry.joins, file, "joins"))

    # -- standalone ---------------------------------------------------------------------------------------------

    def _standalone(self, file: Spots, entry: SourceEntry) -> Draft:
        if entry.table is not None and entry.sql is not None:
            self._say(
                "error",
                "table-and-sql",
                f"`{self.name}` has both `table` and `sql`.",
                file,
                ("sql",),
                fix="Keep one of them.",
            )
        for key in ("column_overrides", "exclude_columns", "disable_joins"):
            if getattr(entry, key):
                self._say(
                    "error",
                    "overlay-key-in-standalone",
                    f"`{key}` belongs to an overlay; `{self.name}` lists its own columns and joins.",
                    file,
                    (key,),
                    fix="Remove it, and change `columns` or `joins` instead.",
                )
        if entry.table is not None and parse_table_ref(entry.table) is None:
            self._bad_table(entry.table, file, ("table",))
        if entry.columns is None:
            self._missing("columns", "the columns that questions may use", file)
        declared = self._inherited([_plain_column(column) for column in entry.columns or ()], file, entry)
        self._no_twins("column", [column.name for column in declared], file, ("columns",))
        self._no_twins("measure", [measure.name for measure in entry.measures], file, ("measures",))
        self._no_twins("segment", [segment.name for segment in entry.segments or ()], file, ("segments",))
        self._no_twin_joins(entry.joins, file)
        known = {column.name: column for column in declared}
        if not entry.grain:
            self._missing("grain", "the columns that identify a row", file)
        return Draft(
            name=self.name,
            place=file.place("name"),
            table=entry.table,
            sql=entry.sql,
            grain=self._checked_grain(entry, known, file),
            columns=_placed(declared, file, "columns"),
            measures=_placed(entry.measures, file, "measures"),
            segments=_placed(entry.segments or [], file, "segments"),
            joins=_placed(entry.joins, file, "joins"),
            descriptions=merged_descriptions(entry.description, entry.descriptions),
            default_time_dimension=self._time_dimension(entry, file, set(known)),
        )

    def _inherited(self, columns: list[ColumnEntry], file: Spots, entry: SourceEntry) -> list[ColumnEntry]:
        """Fill blank facts from the manifest table that `inherits_columns_from` names, by name or physical name."""
        wanted = entry.inherits_columns_from
        if wanted is None:
            return columns
        table = self._table_called(wanted)
        if table is None:
            self._say(
                "warning",
                "inherits-from-unknown",
                f"`inherits_columns_from` names `{wanted}`, which is no manifest table.{did_you_mean(wanted, self.tables)}",
                file,
                ("inherits_columns_from",),
                fix="Name a table of the manifest, or remove the line.",
            )
            return columns
        facts = {column.name.casefold(): column for column in table.columns}
        return [
            column
            if (fact := facts.get(column.name.casefold())) is None or column.expr is not None
            else column.model_copy(
                update={
                    "type": column.type or (None if column.role == "time" else fact.type),
                    "descriptions": {
                        **fact.descriptions,
                        **merged_descriptions(column.description, column.descriptions),
                    },
                    "description": None,
                }
            )
            for column in columns
        ]

    def _table_called(self, wanted: str) -> ShardTable | None:
        exact = self.tables.get(wanted)
        if exact is not None:
            return exact.table
        folded = wanted.casefold()
        found = [
            one.table
            for name, one in self.tables.items()
            if one.table is not None
            and folded
            in {name.casefold(), one.table.table.casefold(), one.table.table.rpartition(".")[2].casefold()}
        ]
        return found[0] if len(found) == 1 else None

    # -- shared rules -------------------------------------------------------------------------------------------

    def _checked_grain(self, entry: SourceEntry, known: Mapping[str, object], file: Spots) -> tuple[str, ...]:
        for at, column in enumerate(entry.grain or ()):
            if column not in known:
                self._say(
                    "error",
                    "grain-unknown-column",
                    f"`{column}` in `grain` is no column of `{self.name}`.{did_you_mean(column, known)}",
                    file,
                    ("grain", at),
                    fix="Name declared columns of the source itself, without a source in front.",
                )
        return tuple(dict.fromkeys(entry.grain or ()))

    def _time_dimension(self, entry: SourceEntry, file: Spots, known: set[str]) -> str | None:
        stated = entry.default_time_dimension
        if stated is None:
            return None
        column = stated if isinstance(stated, str) else _first_by_author(stated)
        if column is not None and column.removeprefix(f"{self.name}.") not in known:
            self._say(
                "error",
                "time-dimension-unknown",
                f"`default_time_dimension` names `{column}`, which is no column of `{self.name}`."
                f"{did_you_mean(column, known)}",
                file,
                ("default_time_dimension",),
                fix="Name a column of the source.",
            )
            return None
        return column.removeprefix(f"{self.name}.") if column is not None else None

    def _no_twins(self, noun: str, names: Sequence[str], file: Spots, path: tuple[str | int, ...]) -> None:
        for name, times in Counter(names).items():
            if times > 1:
                second = [at for at, one in enumerate(names) if one == name][1]
                self._say(
                    "error",
                    "duplicate-name",
                    f"The {noun} `{name}` is there {times} times in `{self.name}`.",
                    file,
                    (*path, second),
                    fix="Keep one, or rename the others.",
                )

    def _no_twin_joins(self, joins: Sequence[JoinEntry], file: Spots) -> None:
        aliases = [join.alias for join in joins if join.alias is not None]
        self._no_twins("join alias", aliases, file, ("joins",))
        keys = [f"{join.to} on {join.on}" for join in joins if join.alias is None]
        self._no_twins("join", keys, file, ("joins",))

    def _missing(self, key: str, what: str, file: Spots) -> None:
        self._say(
            "error",
            "missing-key",
            f"`{self.name}` needs `{key}`, {what}.",
            file,
            (),
            fix=f"Add `{key}:`.",
        )

    def _bad_table(self, text: str, file: Spots, path: tuple[str | int, ...]) -> None:
        self._say(
            "error",
            "bad-table-name",
            f"`{text}` is no table name.",
            file,
            path,
            fix="Write `name`, `schema.name` or `catalog.schema.name`; quote a part that holds a dot.",
        )


def _placed(entries: Sequence[_Entry], file: Spots, key: str) -> tuple[tuple[_Entry, Place], ...]:
    return tuple((entry, file.place(key, at)) for at, entry in enumerate(entries))


def _with_facts(column: ColumnEntry, facts: ColumnFacts) -> ColumnEntry:
    """Lay an override over a column: what it says wins, descriptions merge by author."""
    stated = {
        key: getattr(facts, key)
        for key in ColumnFacts.model_fields
        if key in facts.model_fields_set and key not in {"description", "descriptions"}
    }
    merged = {
        **merged_descriptions(column.description, column.descriptions),
        **merged_descriptions(facts.description, facts.descriptions),
    }
    return column.model_copy(update={**stated, "description": None, "descriptions": merged})


def _hidden(column: ColumnEntry) -> ColumnEntry:
    return column.model_copy(update={"visibility": "hidden"})


def _plain_column(column: ColumnEntry) -> ColumnEntry:
    """Take a column whose expression is its own name for the physical one."""
    if column.expr is not None and column.expr.strip() == column.name:
        return column.model_copy(update={"expr": None})
    return column


def _first_by_author(by_author: Mapping[str, str]) -> str | None:
    return next((by_author[author] for author in ("user", "dbt", *by_author) if author in by_author), None)
