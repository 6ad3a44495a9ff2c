"""Definitions in the making: the tables of Metabase where they lie in the warehouse, and what is said about each."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from ktx.catalog import ColumnKind, Table, TableRef
from ktx.sources.definition import ColumnFact, Definition, JoinFact, MeasureFact, SegmentFact
from ktx.sources.evidence import Unmapped
from ktx.sources.metabase.documents import DatabaseData, TableData
from ktx.sources.metabase.wire import FieldInfo, ResultColumn
from ktx.sources.placing import Unsayable, column_of, column_sql, place
from ktx.sources.prose import one_line, sentence, slug, told
from ktx.sources.source import Target

AUTHOR: Final = "metabase"
_KINDS: Final[Mapping[str, ColumnKind]] = {
    "type/Integer": "number",
    "type/BigInteger": "number",
    "type/Float": "number",
    "type/Decimal": "number",
    "type/Number": "number",
    "type/Boolean": "boolean",
    "type/Date": "time",
    "type/Time": "time",
    "type/TimeWithTZ": "time",
    "type/TimeWithLocalTZ": "time",
    "type/Instant": "time",
}


def kind_of(base_type: str) -> ColumnKind:
    """Give the layer's type for one of Metabase's."""
    if base_type.startswith(("type/DateTime", "type/Temporal")):
        return "time"
    return _KINDS.get(base_type, "string")


@dataclass(kw_only=True)
class Draft:
    """A definition in the making, on a `table` or as a query (`sql`). `joins` are by the column they start from; `origin` is
    the document of the table or card.
    """

    name: str
    origin: str
    target: Target
    table: Table | None = None
    sql: str | None = None
    description: str | None = None
    evidence: set[str] = field(default_factory=set[str])
    grain: tuple[str, ...] = ()
    columns: dict[str, ColumnFact] = field(default_factory=dict[str, ColumnFact])
    result: tuple[ResultColumn, ...] = ()
    measures: dict[str, MeasureFact] = field(default_factory=dict[str, MeasureFact])
    segments: dict[str, SegmentFact] = field(default_factory=dict[str, SegmentFact])
    joins: dict[str, JoinFact] = field(default_factory=dict[str, JoinFact])
    is_shown: bool = False

    @property
    def dialect(self) -> str:
        """The target's dialect, by sqlglot's name."""
        return self.target.dialect

    def column_name(self, name: str) -> str | None:
        """Give the exact name of a column, as the warehouse spells it."""
        if self.table is None:
            return name if name in self.columns else None
        found = column_of(self.table, name)
        return found.name if found is not None else None

    def identifies(self, column: str) -> bool:
        """Tell whether one column tells the rows of the table apart."""
        if self.table is None:
            return self.grain == (column,)
        keys = (self.table.primary_key, *self.table.unique_keys, self.grain)
        return any(tuple(key) == (column,) for key in keys)

    def taken(self) -> set[str]:
        """Give the names that a measure or segment may not take, letter case aside."""
        physical = [column.name for column in self.table.columns] if self.table is not None else []
        return {name.casefold() for name in (*physical, *self.columns, *self.measures, *self.segments)}

    def free_name(self, title: str, id_: int) -> str:
        """Give a name for something called `title` that nothing here has."""
        name = slug(title, otherwise=f"card_{id_}")
        return name if name.casefold() not in self.taken() else f"{name}_{id_}"

    def says_something(self) -> bool:
        """Tell whether there is anything beside the table itself."""
        return bool(
            self.sql
            or self.description
            or self.grain
            or self.columns
            or self.measures
            or self.segments
            or self.joins
        )

    def built(self, tags: tuple[str, ...]) -> Definition:
        """Give the finished definition."""
        return Definition(
            name=self.name,
            connection_id=self.target.connection_id,
            author=AUTHOR,
            evidence=tuple(sorted(self.evidence)),
            table=self.table.ref if self.table is not None else None,
            sql=self.sql,
            description=self.description,
            grain=self.grain,
            columns=tuple(
                self.columns[name] for name in (self.columns if self.sql else sorted(self.columns))
            ),
            measures=tuple(self.measures[name] for name in sorted(self.measures)),
            segments=tuple(self.segments[name] for name in sorted(self.segments)),
            joins=tuple(sorted(self.joins.values(), key=lambda join: (join.to, join.on))),
            tags=tags if self.says_something() else (),
        )


@dataclass(kw_only=True)
class World:
    """The tables and fields by Metabase's ids, and what has no place so far."""

    drafts: dict[int, Draft] = field(default_factory=dict[int, Draft])
    tables: dict[int, TableData] = field(default_factory=dict[int, TableData])
    fields: dict[int, tuple[int, FieldInfo]] = field(default_factory=dict[int, tuple[int, FieldInfo]])
    targets: dict[int, Target] = field(default_factory=dict[int, Target])
    problems: dict[int, Unsayable] = field(default_factory=dict[int, Unsayable])
    names: set[str] = field(default_factory=set[str])
    by_name: dict[tuple[int, str], list[int]] = field(default_factory=dict[tuple[int, str], list[int]])
    unmapped: list[Unmapped] = field(default_factory=list[Unmapped])

    def table(self, table_id: int) -> Draft:
        """Give the draft of a table.

        Raises:
            Unsayable: it has no place in the warehouse.
        """
        draft = self.drafts.get(table_id)
        if draft is not None:
            return draft
        known = self.problems.get(table_id)
        if known is None:
            raise Unsayable("unresolved_reference", f"Metabase does not describe table {table_id}.")
        raise Unsayable("missing_target_table", known.detail)

    def target(self, database_id: int | None) -> Target:
        """Give the warehouse of a database.

        Raises:
            Unsayable: it is mapped to none.
        """
        found = self.targets.get(database_id) if database_id is not None else None
        if found is None:
            raise Unsayable("no_connection_mapping", f"Database {database_id} is mapped to no connection.")
        return found

    def all_drafts(self) -> Iterator[Draft]:
        """Give the drafts of tables in the order of Metabase's ids."""
        return (self.drafts[id_] for id_ in sorted(self.drafts))

    def draft_of(self, database_id: int | None, schema: str | None, name: str) -> Draft | None:
        """Give the table of a database that SQL calls so; None where none or several fit."""
        found = [
            self.drafts[id_]
            for id_ in self.by_name.get((database_id or 0, name.casefold()), ())
            if schema is None or (self.tables[id_].info.schema_ or schema).casefold() == schema.casefold()
        ]
        return found[0] if len(found) == 1 else None

    def lacks(self, evidence: str, what: str, why: Unsayable) -> None:
        """Note what has no place."""
        self.unmapped.append(
            Unmapped(evidence=evidence, what=told(what, 200), reason=why.reason, detail=told(why.detail))
        )


def build_world(
    databases: Sequence[DatabaseData], tables: Sequence[TableData], targets: Mapping[str, Target]
) -> World:
    """Place every table and say what Metabase's data reference says: descriptions, keys, foreign keys."""
    world = World()
    for database in databases:
        connection = database.connection_id
        target = targets.get(connection) if connection is not None else None
        if target is not None:
            world.targets[database.info.id] = target
            continue
        where = (
            f"`{connection}` is no connection to a warehouse"
            if connection
            else "It is mapped to no connection"
        )
        cards = f"; its {database.left_out} cards were left out" if database.left_out else ""
        world.lacks(
            f"database/{database.info.id}",
            f"database {one_line(database.info.name)}",
            Unsayable("no_connection_mapping", f"{where}{cards}."),
        )
    names = _names(tables)
    for data in tables:
        world.tables[data.info.id] = data
        world.fields |= {one.id: (data.info.id, one) for one in data.info.fields if one.active is not False}
        _place(world, data, names[data.info.id])
    for data in tables:
        if data.info.id in world.drafts:
            _describe(world, data, world.drafts[data.info.id])
    for data in tables:
        if data.info.id in world.drafts:
            _join(world, data, world.drafts[data.info.id])
    return world


def _names(tables: Sequence[TableData]) -> dict[int, str]:
    """Name each table after itself; after its schema, and its database, where that is needed to tell it apart."""
    given: dict[int, str] = {}
    for level in range(3):
        wanted: dict[str, list[int]] = {}
        for data in tables:
            if data.info.id not in given:
                parts = [f"db{data.database_id}", data.info.schema_ or "", data.info.name][2 - level :]
                wanted.setdefault("__".join(part for part in parts if part).casefold(), []).append(
                    data.info.id
                )
        for name, ids in wanted.items():
            if len(ids) == 1 or level == 2:
                given |= {id_: slug(name, otherwise=f"table_{id_}") for id_ in ids}
    seen: set[str] = set()
    for id_ in sorted(given):
        if given[id_] in seen:
            given[id_] = f"{given[id_]}_{id_}"
        seen.add(given[id_])
    return given


def _place(world: World, data: TableData, name: str) -> None:
    target = world.targets.get(data.database_id)
    if target is None:
        return
    try:
        placed = place(target, TableRef(schema=data.info.schema_ or None, name=data.info.name))
    except Unsayable as why:
        world.problems[data.info.id] = why
        if data.info.description or any(one.description for one in data.info.fields):
            world.lacks(f"table/{data.info.id}", f"table {one_line(data.info.name)}", why)
        return
    world.names.add(name)
    world.by_name.setdefault((data.database_id, data.info.name.casefold()), []).append(data.info.id)
    world.drafts[data.info.id] = Draft(
        name=name,
        origin=f"table/{data.info.id}",
        target=target,
        table=placed.table,
        evidence={f"table/{data.info.id}"},
    )


def _describe(world: World, data: TableData, draft: Draft) -> None:
    table = draft.table
    if table is None:
        return
    said = sentence(data.info.description)
    draft.description = said if said != sentence(table.comment) else None
    keys: list[str] = []
    for one in sorted(data.info.fields, key=lambda one: one.name):
        column = column_of(table, one.name)
        about = sentence(one.description)
        is_hidden = one.visibility_type == "sensitive"
        if one.active is False:
            continue
        if column is None:
            if about:
                detail = f"`{table.ref}` has no column `{one_line(one.name)}`."
                why = Unsayable("unresolved_reference", detail)
                world.lacks(f"table/{data.info.id}", f"field {one_line(one.name)}", why)
            continue
        if one.semantic_type == "type/PK":
            keys.append(column.name)
        if (about and about != sentence(column.comment)) or is_hidden:
            draft.columns[column.name] = ColumnFact(name=column.name, description=about, is_hidden=is_hidden)
    if keys and not table.primary_key:
        draft.grain = tuple(keys)


def _join(world: World, data: TableData, draft: Draft) -> None:
    for one, counts in _foreign_keys(world, data.info.fields):
        column = draft.column_name(one.name)
        if column is None or one.fk_target_field_id is None:
            continue
        try:
            add_join(world, draft, column, one.fk_target_field_id, needs_alias=counts > 1)
        except Unsayable as why:
            world.lacks(f"table/{data.info.id}", f"foreign key {one_line(one.name)}", why)


def _foreign_keys(world: World, fields: Iterable[FieldInfo]) -> list[tuple[FieldInfo, int]]:
    """Give the fields that refer to others, each with how many here refer to the same table."""
    found = [one for one in fields if one.fk_target_field_id in world.fields and one.active is not False]
    tables = [world.fields[one.fk_target_field_id or 0][0] for one in found]
    pairs = [(one, tables.count(table)) for one, table in zip(found, tables, strict=True)]
    return sorted(pairs, key=lambda pair: pair[0].name)


def add_join(
    world: World, draft: Draft, column: str, target_field_id: int, *, needs_alias: bool = False
) -> JoinFact:
    """Join a draft by one of its columns to a field that identifies the rows of its table.

    Raises:
        Unsayable: the field's table has no place, lies in another warehouse, or nothing says that the field is unique.
    """
    known = draft.joins.get(column)
    table_id, info = world.fields.get(target_field_id, (0, None))
    if info is None:
        raise Unsayable("missing_target_table", f"Metabase does not describe field {target_field_id}.")
    other = world.table(table_id)
    target_column = other.column_name(info.name)
    if (
        other.target.connection_id != draft.target.connection_id
        or target_column is None
        or other.table is None
    ):
        raise Unsayable(
            "missing_target_table", f"`{info.name}` of `{other.name}` is not in the same warehouse."
        )
    if not other.identifies(target_column):
        raise Unsayable(
            "expression_not_supported", f"Nothing says that `{other.name}.{target_column}` is unique."
        )
    alias = None
    if needs_alias or other is draft or any(join.to == other.name for join in draft.joins.values()):
        stem = column.lower().removesuffix("_id").removesuffix("id") or column.lower()
        alias = slug(stem, otherwise=f"field_{target_field_id}")
        alias = f"{alias}_ref" if alias in world.names else alias
    left = column_sql(column, draft.dialect, of=draft.name)
    right = column_sql(target_column, draft.dialect, of=alias or other.name)
    on = f"{left.sql(dialect=draft.dialect)} = {right.sql(dialect=draft.dialect)}"
    if known is not None:
        side = known.alias or known.to
        if known.to == other.name and known.on.endswith(
            f"= {column_sql(target_column, draft.dialect, of=side).sql(dialect=draft.dialect)}"
        ):
            return known
        raise Unsayable("expression_not_supported", f"`{column}` refers to two tables.")
    other.is_shown = True
    join = JoinFact(to=other.name, on=on, relationship="many_to_one", alias=alias)
    draft.joins[column] = join
    return join
