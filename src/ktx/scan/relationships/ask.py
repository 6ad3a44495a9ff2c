"""The probe that asks a real warehouse."""

from collections.abc import Mapping, Sequence

from sqlglot import exp

from ktx.catalog import TableRef
from ktx.errors import OutsideError, QueryError
from ktx.scan.relationships.probe import Answer, Counted, Question
from ktx.warehouse.identify import column_expression, table_expression
from ktx.warehouse.keys import InclusionCheck
from ktx.warehouse.warehouse import Warehouse

_MOST_CHILD_VALUES = 10_000


class WarehouseProbe:
    """Asks through a warehouse; a question that the database refuses or does not answer in time is answered None."""

    def __init__(self, warehouse: Warehouse) -> None:
        self._warehouse = warehouse

    def count_distinct(self, table: TableRef, columns: tuple[str, ...]) -> Counted | None:
        """Count the rows and the distinct combinations of some columns, nulls left out of the latter."""
        count = exp.select(exp.alias_(exp.Count(this=exp.Star()), "n")).from_(table_expression(table))
        try:
            rows = self._warehouse.run_by_names(count).rows[0][0]
            distinct = self._warehouse.count_distinct(table, columns)
        except (QueryError, OutsideError):
            return None
        return Counted(rows=int(str(rows)), distinct=distinct)

    def look_up(self, questions: Sequence[Question]) -> Sequence[Answer | None]:
        """Answer inclusion questions in one query; when it fails, each by itself, so that one cannot spoil the others."""
        try:
            return self._look_up(questions)
        except (QueryError, OutsideError):
            if len(questions) == 1:
                return [None]
            return [answer for question in questions for answer in self.look_up([question])]

    def rest(self) -> None:
        """Close the sessions that nobody uses."""
        self._warehouse.rest()

    def smallest(
        self, table: TableRef, columns: Sequence[str], size: int
    ) -> Mapping[str, tuple[str, ...]] | None:
        """Give the smallest distinct values of each column as text, in the database's order."""
        found: dict[str, tuple[str, ...]] = {}
        for name in columns:
            column = column_expression(name)
            tree = (
                exp.select(exp.alias_(column, "v"))
                .distinct()
                .from_(table_expression(table))
                .where(exp.not_(exp.Is(this=column_expression(name), expression=exp.Null())))
                .order_by(column_expression(name))
                .limit(size)
            )
            try:
                found[name] = tuple(str(row[0]) for row in self._warehouse.run_by_names(tree).rows)
            except (QueryError, OutsideError):
                continue
        return found or None

    def _look_up(self, questions: Sequence[Question]) -> list[Answer | None]:
        plain = [question for question in questions if question.where is None]
        checks = [
            InclusionCheck(
                child=question.table,
                child_columns=question.columns,
                parent=question.target,
                parent_columns=question.target_columns,
                limit=None if question.has_few_rows else _MOST_CHILD_VALUES,
                as_text=question.as_text,
            )
            for question in plain
        ]
        answers: dict[Question, Answer] = {}
        for question, found in zip(plain, self._warehouse.inclusions(checks), strict=True):
            answers[question] = Answer(
                checked=found.child_keys, missing=found.child_keys - found.matched_keys
            )
        for question in questions:
            if question.where is not None:
                answers[question] = self._look_up_where(question, question.where)
        return [answers[question] for question in questions]

    def _look_up_where(self, question: Question, where: tuple[str, str]) -> Answer:
        child: exp.Expr = column_expression(question.columns[0])
        parent: exp.Expr = column_expression(question.target_columns[0])
        if question.as_text:
            child, parent = exp.cast(child, "VARCHAR"), exp.cast(parent, "VARCHAR")
        condition = exp.and_(
            exp.EQ(this=column_expression(where[0]), expression=exp.Literal.string(where[1])),
            exp.not_(exp.Is(this=column_expression(question.columns[0]), expression=exp.Null())),
        )
        keys = (
            exp.select(exp.alias_(child, "k"))
            .distinct()
            .from_(table_expression(question.table))
            .where(condition)
            .order_by(exp.column("k"))
            .limit(_MOST_CHILD_VALUES)
        )
        targets = exp.select(exp.alias_(parent, "k")).distinct().from_(table_expression(question.target))
        tree = (
            exp.select(
                exp.alias_(exp.Count(this=exp.Star()), "checked"),
                exp.alias_(exp.Count(this=exp.column("k", table="p")), "matched"),
            )
            .from_(keys.subquery("c"))
            .join(
                targets.subquery("p"),
                on=exp.EQ(this=exp.column("k", table="c"), expression=exp.column("k", table="p")),
                join_type="left",
            )
        )
        checked, matched = (int(str(value)) for value in self._warehouse.run_by_names(tree).rows[0])
        return Answer(checked=checked, missing=checked - matched)
