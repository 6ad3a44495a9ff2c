"""Models, and other cards that metrics stand on: a plain pick of a table is that table, everything else a query of its own."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import sqlglot
from sqlglot import exp
from sqlglot.errors import SqlglotError

from ktx.sources.definition import ColumnFact
from ktx.sources.metabase.documents import CardData
from ktx.sources.metabase.drafts import Draft, World, add_join, kind_of
from ktx.sources.metabase.mbql import MbqlQuery, Stage, join_ends, parse_query
from ktx.sources.metabase.wire import ResultColumn
from ktx.sources.placing import Unsayable
from ktx.sources.prose import sentence, slug


@dataclass(kw_only=True)
class Cards:
    """The cards of a snapshot: their queries, and the drafts that they are rows of."""

    world: World
    by_id: Mapping[int, CardData]
    _queries: dict[int, MbqlQuery] = field(default_factory=dict[int, MbqlQuery])
    _rows: dict[int, Draft | Unsayable] = field(default_factory=dict[int, "Draft | Unsayable"])
    made: list[Draft] = field(default_factory=list[Draft])

    def query(self, id_: int) -> MbqlQuery:
        """Give a card's query.

        Raises:
            Unsayable: there is no such card in scope, or its query cannot be read.
        """
        data = self.by_id.get(id_)
        if data is None:
            raise Unsayable("unresolved_reference", f"Card {id_} is not there, or out of scope.")
        if id_ not in self._queries:
            try:
                self._queries[id_] = parse_query(data.info.dataset_query or {})
            except RecursionError:
                raise Unsayable("parse_error", "The query is nested too deeply.") from None
        return self._queries[id_]

    def rows(self, stage: Stage) -> Draft:
        """Give the draft whose rows a stage reads.

        Raises:
            Unsayable: it has no place.
        """
        if stage.table is not None:
            return self.world.table(stage.table)
        if stage.card is not None:
            return self.rows_of(stage.card)
        raise Unsayable("expression_not_supported", "It reads neither a table nor a card.")

    def rows_of(self, id_: int) -> Draft:
        """Give the draft that holds the rows of a card.

        Raises:
            Unsayable: the card cannot become one.
        """
        found = self._rows.get(id_)
        if found is None:
            self._rows[id_] = Unsayable("unresolved_reference", f"Card {id_} refers to itself.")
            try:
                found = self._made(id_)
            except Unsayable as why:
                found = why
            self._rows[id_] = found
        if isinstance(found, Unsayable):
            raise Unsayable(found.reason, found.detail)
        return found

    def _made(self, id_: int) -> Draft:
        query = self.query(id_)
        data = self.by_id[id_]
        stage = query.stages[0]
        if len(query.stages) == 1 and _is_plain(stage):
            draft = self.rows(stage)
            _describe(draft, data)
            return draft
        target = self.world.target(data.info.database_id)
        if data.sql is None:
            raise Unsayable(
                "unresolved_reference" if "itself" in (data.problem or "") else "parse_error",
                f"Its SQL is not known: {data.problem}.",
            )
        if data.sql.variables:
            names = ", ".join(f"`{one.name}`" for one in data.sql.variables)
            raise Unsayable("expression_not_supported", f"Its rows depend on the variables {names}.")
        names = _output_names(data.sql.sql, target.dialect)
        draft = Draft(
            name=self._free_name(data),
            origin=f"card/{id_}",
            target=target,
            sql=data.sql.sql,
            description=sentence(data.info.description) or sentence(data.info.name),
            evidence={f"card/{id_}"},
        )
        self._fill_columns(draft, data, names)
        self.world.names.add(draft.name)
        self.made.append(draft)
        return draft

    def _free_name(self, data: CardData) -> str:
        name = slug(data.info.name, otherwise=f"card_{data.info.id}")
        return name if name not in self.world.names else f"{name}_{data.info.id}"

    def _fill_columns(self, draft: Draft, data: CardData, names: frozenset[str] | None) -> None:
        columns = [one for one in data.info.result_metadata if names is None or one.name.casefold() in names]
        if not columns:
            raise Unsayable(
                "unresolved_reference", "Metabase does not say which columns it has; run it once there."
            )
        gone = sorted(set(data.info.result_metadata) - set(columns), key=lambda one: one.name)
        for one in gone:
            why = Unsayable("unresolved_reference", f"The SQL of the card has no column `{one.name}`.")
            self.world.lacks(f"card/{data.info.id}", f"column {one.name}", why)
        draft.result = tuple(columns)
        for one in columns:
            draft.columns[one.name] = ColumnFact(
                name=one.name, description=sentence(one.description), kind=kind_of(one.base_type)
            )
        draft.grain = self._grain(data, columns)
        for one in columns:
            _, info = self.world.fields.get(one.id or 0, (0, None))
            if info is not None and info.fk_target_field_id is not None:
                try:
                    add_join(self.world, draft, one.name, info.fk_target_field_id)
                except Unsayable as why:
                    self.world.lacks(f"card/{data.info.id}", f"foreign key {one.name}", why)

    def _grain(self, data: CardData, columns: list[ResultColumn]) -> tuple[str, ...]:
        """Give the key of a query's rows where there is exactly one.

        A key that Metabase carried over from a table counts only where the rows are still that table's; in SQL it is what
        somebody said of the model.
        """
        keys = [one for one in columns if one.semantic_type == "type/PK"]
        query = self.query(data.info.id)
        if len(keys) != 1:
            return ()
        if query.native is None:
            stage = query.stages[0]
            table_id, info = self.world.fields.get(keys[0].id or 0, (0, None))
            if len(query.stages) != 1 or stage.aggregations or stage.breakouts or info is None:
                return ()
            if table_id != stage.table or not self._keeps_rows(stage):
                return ()
        return (keys[0].name,)

    def _keeps_rows(self, stage: Stage) -> bool:
        """Tell whether no join of a stage can repeat a row."""
        for join in stage.joins:
            try:
                table_id, info = self.world.fields.get(join_ends(join)[1], (0, None))
                if info is None or not self.world.table(table_id).identifies(info.name):
                    return False
            except Unsayable:
                return False
        return True


def _is_plain(stage: Stage) -> bool:
    return stage.native is None and not (
        stage.filters
        or stage.aggregations
        or stage.breakouts
        or stage.joins
        or stage.expressions
        or stage.has_limit
        or (stage.table is None and stage.card is None)
    )


def _describe(draft: Draft, data: CardData) -> None:
    """Let a model that is a plain pick of a table describe that table, where nothing else does."""
    if data.info.kind != "model":
        return
    draft.evidence.add(f"card/{data.info.id}")
    draft.description = draft.description or sentence(data.info.description)
    for one in data.info.result_metadata:
        name = draft.column_name(one.name)
        about = sentence(one.description)
        if name is None or about is None:
            continue
        known = draft.columns.get(name)
        if known is None:
            column = draft.table.column(name) if draft.table is not None else None
            if column is None or about != sentence(column.comment):
                draft.columns[name] = ColumnFact(name=name, description=about)
        elif known.description is None:
            draft.columns[name] = ColumnFact(
                name=name, description=about, kind=known.kind, is_hidden=known.is_hidden
            )


def _output_names(sql: str, dialect: str) -> frozenset[str] | None:
    """Give the case-folded names of the columns that a query gives; None where a star hides them."""
    try:
        trees = [tree for tree in sqlglot.parse(sql, dialect=dialect) if tree is not None]
    except (SqlglotError, RecursionError):
        raise Unsayable("parse_error", f"Its SQL cannot be read as {dialect}.") from None
    if len(trees) != 1 or not isinstance(trees[0], exp.Query):
        raise Unsayable("parse_error", "Its SQL is not one SELECT.")
    query = trees[0]
    if query.find(exp.Placeholder, exp.Parameter) is not None:
        raise Unsayable("parse_error", "Its SQL holds a parameter that has no value.")
    if any(
        isinstance(one, exp.Star) or (one.find(exp.Star) and not one.find(exp.Count)) for one in query.selects
    ):
        return None
    names = [name.casefold() for name in query.named_selects]
    return frozenset(name for name in names if name)


def result_column(draft: Draft, field_id: int) -> ResultColumn | None:
    """Give the column of a query that stands for a field."""
    found = [one for one in draft.result if one.id == field_id]
    return found[0] if len(found) == 1 else None
