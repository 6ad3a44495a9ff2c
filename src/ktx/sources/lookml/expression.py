"""SQL pieces of LookML to sqlglot trees: `${…}` is taken out before parsing and put back as columns."""

import functools
import re
from collections.abc import Callable
from typing import Final

import sqlglot
from sqlglot import exp
from sqlglot.errors import SqlglotError

from ktx.sources.lookml.unsayable import Unsayable, ensure_plain

OWN: Final = "ktx_own_table_"
_FIELD: Final = "ktx_field_"
_TOKEN = re.compile(r"\$\{\s*([^{}]*?)\s*\}")
_PLAIN = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_MAX_LENGTH: Final = 20_000

Field = Callable[[str], exp.Expr]
Qualified = Callable[[tuple[str, ...]], exp.Expr]


def parse_piece(text: str, dialect: str, *, what: str, field: Field, column: Qualified) -> exp.Expr:
    """Parse one expression or condition.

    `field` gives what `${field}` and `${view.field}` stand for; `column` gives what a written column means by its parts,
    of which the first is `OWN` for `${TABLE}`.

    Raises:
        Unsayable: it is a template, cannot be read, or holds more than one row-wise or aggregate expression.
    """
    ensure_plain(text, what)
    if len(text) > _MAX_LENGTH:
        raise Unsayable("expression_not_supported", f"Its {what} is longer than {_MAX_LENGTH} characters.")
    names: dict[str, str] = {}
    tree = _parsed(_with_placeholders(text, names), dialect, what).copy()
    if sum(1 for each in tree.find_all(exp.Identifier) if each.name.startswith(_FIELD)) != len(names):
        raise Unsayable("expression_not_supported", f"Its {what} uses a field inside a text or a comment.")
    for node in list(tree.walk()):
        node.pop_comments()
    refused = tree.find(exp.Query, exp.Window, exp.Placeholder, exp.Parameter)
    if refused is not None:
        kinds = {"window": "a window function", "select": "a subselect", "subquery": "a subselect"}
        kind = kinds.get(refused.key, f"`{refused.key}`")
        raise Unsayable("expression_not_supported", f"Its {what} uses {kind}, which the layer does not take.")

    def put_back(node: exp.Expr) -> exp.Expr:
        if not isinstance(node, exp.Column):
            return node
        parts = tuple(part.name for part in node.parts)
        if parts[0] in names:
            found = enclosed(field(names[parts[0]]).copy())
            for part in node.parts[1:]:
                found = exp.Dot(this=found, expression=part.copy())
            return found
        if parts[0].startswith(_FIELD) or (parts[0] != OWN and parts[0].startswith(OWN)):
            raise Unsayable("parse_error", f"Its {what} runs a field and a word into one.")
        return column(parts).copy()

    made = _replaced(tree, put_back)
    if any(each.name.startswith((OWN, _FIELD)) for each in made.find_all(exp.Identifier)):
        raise Unsayable("expression_not_supported", f"Its {what} uses a field where no column may stand.")
    return made


def enclosed(tree: exp.Expr) -> exp.Expr:
    """Give a tree that may stand anywhere in another one."""
    if isinstance(tree, (exp.Column, exp.Literal, exp.Paren, exp.Func, exp.Boolean, exp.Null)):
        return tree
    return exp.Paren(this=tree)


def column_of(name: str, dialect: str, *, table: str | None = None) -> exp.Column:
    """Give a column, quoted where its name needs it."""
    return exp.column(
        exp.to_identifier(name, quoted=not is_bare(name, dialect)),
        table=None if table is None else exp.to_identifier(table, quoted=not is_bare(table, dialect)),
    )


@functools.lru_cache(maxsize=20_000)
def is_bare(name: str, dialect: str) -> bool:
    """Tell whether a name is read as a column when it stands without quotes."""
    if _PLAIN.fullmatch(name) is None:
        return False
    try:
        found = [
            tree
            for text in (name, f"t.{name}")
            for tree in sqlglot.Dialect.get_or_raise(dialect).parse_into(exp.Condition, text)
        ]
    except SqlglotError:
        return False
    return all(isinstance(each, exp.Column) and each.name == name for each in found)


@functools.lru_cache(maxsize=50_000)
def _parsed(text: str, dialect: str, what: str) -> exp.Expr:
    try:
        found = [
            tree for tree in sqlglot.Dialect.get_or_raise(dialect).parse_into(exp.Condition, text) if tree
        ]
    except (SqlglotError, RecursionError, ValueError) as error:
        raise Unsayable("parse_error", f"Its {what} cannot be read as one {dialect} expression.") from error
    if len(found) != 1 or isinstance(found[0], exp.Alias):
        raise Unsayable("parse_error", f"Its {what} is not one {dialect} expression.")
    return found[0]


def _with_placeholders(text: str, names: dict[str, str]) -> str:
    def replaced(match: "re.Match[str]") -> str:
        if match[1] == "TABLE":
            return OWN
        place = f"{_FIELD}{len(names)}_"
        names[place] = match[1]
        return place

    return _TOKEN.sub(replaced, text)


def _replaced(tree: exp.Expr, change: Callable[[exp.Expr], exp.Expr]) -> exp.Expr:
    """Replace columns without looking into what takes their place."""
    if isinstance(tree, exp.Column):
        return change(tree)
    for column in [each for each in tree.find_all(exp.Column) if each.find_ancestor(exp.Column) is None]:
        column.replace(change(column))
    return tree
