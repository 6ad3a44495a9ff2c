"""Row expressions of a project, as trees in the warehouse's dialect whose columns are those of one table."""

from collections.abc import Callable
from typing import Final

import sqlglot
from sqlglot import exp
from sqlglot.errors import SqlglotError
from sqlglot.tokenizer_core import TokenType

from ktx.sources.dbt_project.jinja import has_jinja
from ktx.sources.dbt_project.place import Place

_MAX_LENGTH: Final = 20_000
_MAX_NODES: Final = 3_000


class Unsayable(Exception):  # noqa: N818 - it says what cannot be said, and is always caught here
    """An expression that cannot be taken over; the message is one sentence."""


class UnknownColumn(Unsayable):
    """An expression names a column that the table does not have."""


def parse_row_expression(text: str, place: Place) -> exp.Expr:
    """Make a tree of an expression over one table's rows, its columns bare and spelled as the table spells them.

    Raises:
        UnknownColumn: it names a column that the table does not have.
        Unsayable: it is templated, cannot be read, reads more than a row, or aggregates.
    """
    tree = parse_plain(text, place.target.dialect)
    if any(isinstance(node, exp.AggFunc | exp.Window) for node in tree.walk()):
        raise Unsayable(f"`{shown(text)}` aggregates, where an expression over one row is needed.")
    return mapped_columns(tree, lambda column: _own_column(column, place))


def parse_plain(text: str, dialect: str) -> exp.Expr:
    """Make a tree of one expression without sub-selects.

    Raises:
        Unsayable: it is templated, cannot be read, or reads a table.
    """
    if has_jinja(text):
        raise Unsayable(f"`{shown(text)}` is templated.")
    if len(text) > _MAX_LENGTH:
        raise Unsayable(f"`{shown(text)}` is too long for one expression.")
    try:
        found = [one for one in sqlglot.Dialect.get_or_raise(dialect).parse_into(exp.Condition, text) if one]
        if len(found) != 1:
            raise Unsayable(f"`{shown(text)}` is not one expression.")
        for count, node in enumerate(found[0].walk()):
            node.pop_comments()
            if isinstance(node, exp.Query | exp.Table | exp.Command | exp.Placeholder) or count > _MAX_NODES:
                raise Unsayable(f"`{shown(text)}` is more than one expression over columns.")
    except (SqlglotError, RecursionError, ValueError) as error:
        raise Unsayable(f"`{shown(text)}` cannot be read as {dialect}.") from error
    return found[0]


def mapped_columns(tree: exp.Expr, change: Callable[[exp.Column], exp.Expr]) -> exp.Expr:
    """Give a copy of a tree with every column replaced by what `change` makes of it."""
    result = tree.copy()
    for column in list(result.find_all(exp.Column)):
        made = change(column)
        if column is result:
            return made
        column.replace(made)
    return result


def qualified(tree: exp.Expr, qualifier: str) -> exp.Expr:
    """Give a copy of a tree whose bare columns belong to `qualifier`."""

    def change(column: exp.Column) -> exp.Expr:
        if column.table:
            return column
        return exp.Column(this=column.this.copy(), table=identifier(qualifier))

    return mapped_columns(tree, change)


def column_of(name: str, qualifier: str | None = None) -> exp.Column:
    """Make a column, quoted only where it must be."""
    return exp.Column(this=identifier(name), table=identifier(qualifier) if qualifier else None)


def identifier(name: str) -> exp.Identifier:
    """Make an identifier, quoted only where it must be."""
    is_plain = name.isascii() and name.isidentifier()
    tokens = sqlglot.tokenize(name) if is_plain else []
    return exp.to_identifier(name, quoted=not (len(tokens) == 1 and tokens[0].token_type is TokenType.VAR))


def written(tree: exp.Expr, place: Place) -> str:
    """Write a tree in the dialect of the place."""
    return tree.sql(dialect=place.target.dialect)


def as_said(text: str, tree: exp.Expr, place: Place) -> str:
    """Write a tree that was made of a text: as it was written, unless a name in it had to change or a comment would hide what follows."""
    is_safe = not any(mark in text for mark in ("--", "/*", "#"))
    if is_safe and parse_plain(text, place.target.dialect).sql() == tree.sql():
        return text.strip()
    return written(tree, place)


def column_names(tree: exp.Expr) -> tuple[str, ...]:
    """Give the names of the columns of a tree, each once, in order."""
    return tuple(dict.fromkeys(column.name for column in tree.find_all(exp.Column, bfs=False)))


def shown(text: str) -> str:
    """Shorten a text for a message, on one line."""
    flat = " ".join(text.split())
    return flat if len(flat) <= 100 else f"{flat[:97]}..."


def _own_column(column: exp.Column, place: Place) -> exp.Expr:
    name = place.column(column.name)
    if isinstance(column.this, exp.Star):
        raise Unsayable("`*` names no column.")
    if name is None:
        raise UnknownColumn(f"`{place.table.ref}` has no column `{column.name}`.")
    return column_of(name)
