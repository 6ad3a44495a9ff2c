"""The first barrier before a warehouse: SQL that somebody wrote is read as a tree, and only a read-only tree goes on.

What is executed is always the tree printed anew and without comments, never the text as it came in: what the parser does
not see (MySQL's executable comments, odd white space, a second statement) the database does not see either.
"""

import logging
from collections.abc import Iterable

import sqlglot
from sqlglot import exp
from sqlglot.tokenizer_core import Token

from ktx.errors import QueryError
from ktx.warehouse.functions import why_denied

_FAMILIES: tuple[type[exp.Expr], ...] = (
    exp.Func,
    exp.Binary,
    exp.Unary,
    exp.Predicate,
    exp.JSONPathPart,
)
"""Kinds of nodes that only compute; functions are looked at by name as well."""

_NODES: frozenset[type[exp.Expr]] = frozenset(
    {
        exp.Alias, exp.Aliases, exp.AtIndex, exp.AtTimeZone, exp.Between, exp.BitString, exp.Boolean, exp.Bracket,
        exp.ByteString, exp.CTE, exp.CharacterSet, exp.Column, exp.ColumnDef, exp.Cube, exp.DataType, exp.DataTypeParam,
        exp.Distinct, exp.Except, exp.Fetch, exp.Filter, exp.Final, exp.ForIn, exp.From, exp.FromTimeZone, exp.Group,
        exp.GroupingSets, exp.Having, exp.HavingMax, exp.HexString, exp.Identifier, exp.IgnoreNulls, exp.In,
        exp.Intersect, exp.Interval, exp.IntervalSpan, exp.Introducer, exp.JSON, exp.JSONColumnDef, exp.JSONExtractQuote,
        exp.JSONKeyValue, exp.JSONPath, exp.JSONSchema, exp.JSONValue, exp.FormatJson, exp.Join, exp.Lambda, exp.Lateral,
        exp.Limit, exp.LimitOptions, exp.Literal, exp.National, exp.Null, exp.ObjectIdentifier, exp.Offset, exp.OnCondition,
        exp.OpenJSONColumnDef, exp.Order, exp.Ordered, exp.OverflowTruncateBehavior, exp.Pivot, exp.PivotAlias,
        exp.PivotAny, exp.PositionalColumn, exp.PropertyEQ, exp.Pseudocolumn, exp.PseudoType, exp.Qualify, exp.RawString,
        exp.RecursiveWithSearch, exp.RespectNulls, exp.Rollup, exp.Select, exp.Slice, exp.Star, exp.Subquery, exp.Table,
        exp.TableAlias, exp.TableColumn, exp.TableFromRows, exp.TableSample, exp.Tuple, exp.UnicodeString, exp.Union,
        exp.UnpivotColumns, exp.Values, exp.Var, exp.Variadic, exp.Where, exp.Window, exp.WindowSpec, exp.With,
        exp.WithFill, exp.WithinGroup, exp.Comprehension, exp.HistoricalData, exp.PreWhere, exp.Any, exp.All, exp.Prior,
        exp.Connect, exp.ParameterizedAgg, exp.Version, exp.MatchRecognize,
        exp.MatchRecognizeMeasure, exp.Partition, exp.IndexTableHint, exp.WithTableHint, exp.ColumnConstraint,
        exp.PathColumnConstraint,
    }
)  # fmt: skip
"""Every other node that a question may hold. What is not here is refused, so a new kind of node is refused first."""

_ROOTS = (exp.Select, exp.SetOperation, exp.Subquery, exp.Values)

_REFUSED_ARGS = {
    "into": "SELECT INTO writes a table",
    "locks": "FOR UPDATE or FOR SHARE takes locks",
    "hint": "an optimizer hint can change settings",
    "settings": "a SETTINGS clause changes settings",
    "format": "a FORMAT clause changes the output",
    "for_": "a FOR clause changes the output",
    "options": "an OPTION clause can change settings",
}
"""Clauses of a SELECT that do not compute."""

_REFUSED_FUNCTIONS: tuple[type[exp.Expr], ...] = (
    exp.ReadCSV, exp.ReadParquet, exp.ToFile, exp.NextValueFor, exp.Predict, exp.GenerateText, exp.GenerateTable,
    exp.GenerateEmbedding, exp.GenerateBool, exp.GenerateInt, exp.GenerateDouble, exp.AIAgg, exp.AISummarizeAgg,
    exp.AIClassify, exp.AIEmbed, exp.AISimilarity, exp.AIGenerate, exp.AIForecast,
)  # fmt: skip
"""Functions that sqlglot has a node for and that read files, take numbers from sequences, or call a paid model."""

_NAMED = {
    "Command": "a command that is no query",
    "Insert": "INSERT",
    "Update": "UPDATE",
    "Delete": "DELETE",
    "Merge": "MERGE",
    "Create": "CREATE",
    "Drop": "DROP",
    "Alter": "ALTER",
    "TruncateTable": "TRUNCATE",
    "Copy": "COPY",
    "Attach": "ATTACH",
    "Detach": "DETACH",
    "Pragma": "PRAGMA",
    "Set": "SET",
    "Use": "USE",
    "Into": "INTO",
    "Lock": "a row lock",
    "Parameter": "a variable",
    "SessionParameter": "a session variable",
    "Placeholder": "a placeholder: there are no values to fill in",
}
_HARMLESS_HINTS = frozenset(
    {"NOLOCK", "READUNCOMMITTED", "READCOMMITTED", "READPAST", "NOEXPAND", "SNAPSHOT"}
)
_PATH_ENDINGS = (
    ".csv", ".tsv", ".txt", ".parquet", ".json", ".jsonl", ".ndjson", ".db", ".duckdb", ".sqlite", ".xlsx", ".gz", ".zst",
    ".arrow", ".avro",
)  # fmt: skip

logging.getLogger("sqlglot").setLevel(logging.ERROR)


def prepare_query(sql: str, *, dialect: str, max_rows: int) -> str:
    """Give the SQL to execute for a read-only statement: printed anew, returning at most `max_rows + 1` rows.

    The row beyond `max_rows` tells whether the result was cut. The limit is set in the outermost query itself, so its
    ORDER BY decides which rows come; only a limit that is no plain number is wrapped.

    Raises:
        QueryError: the text is not exactly one read-only query; the message names the construct.
    """
    tree = parse_query(sql, dialect=dialect)
    ensure_read_only(tree, dialect=dialect)
    return _limited(tree, max_rows + 1).sql(dialect=dialect, comments=False, normalize_functions=False)


def parse_query(sql: str, *, dialect: str) -> exp.Expr:
    """Read exactly one statement.

    Raises:
        QueryError: it cannot be parsed, or there is none, or there are several.
    """
    try:
        tokens = sqlglot.tokenize(sql, read=dialect)
        _ensure_plain_comments(tokens, dialect=dialect)
        parsed = sqlglot.parse(sql, read=dialect)
    except sqlglot.ParseError as error:
        raise _unreadable(error, dialect) from error
    except (sqlglot.TokenError, ValueError, RecursionError) as error:
        reason = str(error).splitlines()[0] if str(error) else "it is nested too deeply"
        raise QueryError(f"The SQL cannot be read as {dialect}: {reason}") from error
    trees = [tree for tree in parsed if tree is not None and not isinstance(tree, exp.Semicolon)]
    if not trees:
        raise QueryError("There is no statement.", hint="Write one SELECT.")
    if len(trees) > 1:
        raise QueryError(f"There are {len(trees)} statements; one is allowed.", hint="Send them one by one.")
    return trees[0]


def ensure_read_only(tree: exp.Expr, *, dialect: str) -> None:
    """Check every node of a statement against the allow-list.

    Raises:
        QueryError: the first construct that is not known to only read.
    """
    if not isinstance(tree, _ROOTS):
        raise _refused(_label(tree))
    for node in tree.walk():
        _ensure_node(node, dialect=dialect)


def _ensure_node(node: exp.Expr, *, dialect: str) -> None:
    if isinstance(node, _REFUSED_FUNCTIONS):
        raise _refused(f"function `{_function_name(node)}`")
    if type(node) not in _NODES and not isinstance(node, _FAMILIES):
        raise _refused(_label(node))
    if isinstance(node, exp.Query | exp.Subquery):
        for name, reason in _REFUSED_ARGS.items():
            if node.args.get(name):
                raise _refused(reason)
    if isinstance(node, exp.PropertyEQ) and not isinstance(
        node.this, exp.Identifier | exp.Column | exp.Literal
    ):
        raise _refused("an assignment to a variable")
    if isinstance(node, exp.Table):
        _ensure_table(node, dialect=dialect)
    if isinstance(node, exp.Func):
        reason = why_denied(_function_name(node), dialect=dialect, makes_rows=_makes_rows(node))
        if reason is not None:
            raise _refused(reason)


def _ensure_table(node: exp.Table, *, dialect: str) -> None:
    name = node.this
    if isinstance(name, exp.Literal | exp.Var | exp.Parameter):
        raise _refused(f"reading a file or stage (`{name.name}`)")
    for hint in node.args.get("hints") or ():
        _ensure_harmless_hint(hint)
    if dialect == "sqlite" and name.name.lower().startswith(("pragma_", "sqlite_dbpage", "dbstat")):
        raise _refused(f"`{name.name.lower()}`, which looks beyond the tables of the database")
    if dialect in {"duckdb", "clickhouse", "databricks", "spark"} and isinstance(name, exp.Identifier):
        text = str(name.this).lower()
        if "/" in text or "\\" in text or "*" in text or text.endswith(_PATH_ENDINGS):
            raise _refused(f"reading a file (`{name.this}`)")


def _ensure_harmless_hint(hint: exp.Expr) -> None:
    """Let hints pass that choose an index or take no locks."""
    if isinstance(hint, exp.IndexTableHint):
        return
    names = {part.name.upper() for part in hint.expressions}
    if not isinstance(hint, exp.WithTableHint) or not names <= _HARMLESS_HINTS:
        raise _refused(f"the table hint {', '.join(sorted(names - _HARMLESS_HINTS)) or hint.key}")


def _makes_rows(node: exp.Func) -> bool:
    """Tell whether a function stands where a table would."""
    outer = node.parent
    if isinstance(outer, exp.Dot | exp.Paren):
        outer = outer.parent
    return isinstance(outer, exp.Table | exp.From | exp.TableFromRows) or (
        isinstance(outer, exp.Lateral | exp.Join) and outer.this is node
    )


def _function_name(node: exp.Expr) -> str:
    if isinstance(node, exp.Anonymous | exp.AnonymousAggFunc):
        this = node.this
        return this.name if isinstance(this, exp.Expr) else str(this)
    return node.sql_name() if isinstance(node, exp.Func) else type(node).__name__


def _limited(tree: exp.Expr, rows: int) -> exp.Expr:
    if isinstance(tree, exp.Values):
        tree.set("expressions", tree.expressions[:rows])
        return tree
    if not isinstance(tree, exp.Query):
        raise _refused(_label(tree))
    root = tree
    while isinstance(root, exp.Subquery) and not _has_clauses(root):
        inner = root.this
        if not isinstance(inner, exp.Query):
            break
        root = inner
    limit = root.args.get("limit")
    if limit is None:
        return root.limit(rows, copy=False)
    wanted = _plain_limit(limit)
    if wanted is None:
        return exp.select(exp.Star()).from_(root.subquery("limited", copy=False)).limit(rows)
    return root.limit(min(wanted, rows), copy=False)


def _has_clauses(node: exp.Subquery) -> bool:
    return any(
        node.args.get(name) for name in ("limit", "offset", "order", "alias", "with_", "sample", "pivots")
    )


def _plain_limit(limit: exp.Expr) -> int | None:
    """Give the number of a plain LIMIT or FETCH; None when it is an expression, a percentage or keeps ties."""
    if isinstance(limit, exp.Fetch):
        options = limit.args.get("limit_options")
        if options is not None and (options.args.get("percent") or options.args.get("with_ties")):
            return None
        number = limit.args.get("count")
    else:
        if limit.args.get("limit_options") or limit.args.get("expressions"):
            return None
        number = limit.args.get("expression")
    if isinstance(number, exp.Literal) and not number.is_string and str(number.this).isdigit():
        return int(str(number.this))
    return None


def _ensure_plain_comments(tokens: Iterable[Token], *, dialect: str) -> None:
    if dialect not in {"mysql", "singlestore", "doris", "starrocks"}:
        return
    for token in tokens:
        for comment in token.comments:
            if comment.lstrip().startswith(("!", "M!", "m!")):
                raise _refused("a comment that MySQL executes (`/*! … */`)")


def _label(node: exp.Expr) -> str:
    kind = type(node).__name__
    if isinstance(node, exp.Command):
        return f"`{str(node.this).upper()}`"
    return _NAMED.get(kind, kind.upper())


def _refused(what: str) -> QueryError:
    return QueryError(
        f"Only read-only queries run here; refused: {what}.",
        hint="Write one SELECT over the tables of the connection.",
    )


def _unreadable(error: sqlglot.ParseError, dialect: str) -> QueryError:
    details = error.errors[0] if error.errors else {}
    line, column = details.get("line"), details.get("col")
    place = f" at line {line}, column {column}" if line else ""
    reason = details.get("description") or "it does not follow the grammar"
    return QueryError(f"The SQL cannot be read as {dialect}{place}: {str(reason).rstrip('.')}.")
