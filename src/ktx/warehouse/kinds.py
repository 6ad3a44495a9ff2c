"""From a database's own type name to one of the four kinds that the semantic layer knows."""

import re
from functools import lru_cache

import sqlglot
from sqlglot import exp

from ktx.catalog import ColumnKind

_WRAPPED = re.compile(r"^(?:Nullable|LowCardinality)\((.*)\)$", re.DOTALL)
_NUMBERS = (exp.DataType.NUMERIC_TYPES | {exp.DType.YEAR}) - {exp.DType.BIT}
_TIMES = exp.DataType.TEMPORAL_TYPES | {exp.DType.TIME, exp.DType.TIMETZ}
_BY_PART: tuple[tuple[str, ColumnKind], ...] = (
    ("bool", "boolean"),
    ("interval", "string"),
    ("point", "string"),
    ("date", "time"),
    ("time", "time"),
    ("int", "number"),
    ("num", "number"),
    ("dec", "number"),
    ("real", "number"),
    ("floa", "number"),
    ("doub", "number"),
    ("money", "number"),
    ("serial", "number"),
)
"""For types that sqlglot does not know, in the order of trial; SQLite lets a column have any word as its type."""
_TEXT = re.compile(
    r"(?:n?(?:var)?char(?:2|acter)?(?: varying)?|(?:tiny|medium|long|n)?text|string|clob)(?:\s*\(.*\))?",
    re.IGNORECASE,
)
_BINARY = re.compile(r"blob|binary|bytea|bytes|image|^raw", re.IGNORECASE)


@lru_cache(maxsize=4096)
def column_kind(native_type: str, dialect: str) -> ColumnKind:
    """Give the kind of a native type; what is neither a number, a time nor a boolean is a string.

    >>> column_kind("timestamp without time zone", "postgres"), column_kind("Nullable(Int32)", "clickhouse")
    ('time', 'number')
    >>> column_kind("tinyint(1)", "mysql"), column_kind("VARCHAR[]", "duckdb")
    ('boolean', 'string')
    """
    text = native_type.strip()
    while wrapped := _WRAPPED.match(text):
        text = wrapped.group(1)
    if dialect == "mysql" and text.lower() in {"tinyint(1)", "bit(1)"}:
        return "boolean"
    try:
        known = exp.DataType.build(text, dialect=dialect).this
    except (sqlglot.ParseError, sqlglot.TokenError, ValueError):
        known = None
    if isinstance(known, exp.DType) and known is not exp.DType.USERDEFINED:
        return _kind_of_known(known)
    return _kind_of_words(text.lower())


def is_binary(native_type: str) -> bool:
    """Tell whether values of the type are bytes rather than text.

    >>> is_binary("LONGBLOB"), is_binary("text")
    (True, False)
    """
    return _BINARY.search(native_type) is not None


def _kind_of_known(known: exp.DType) -> ColumnKind:
    if known in _NUMBERS:
        return "number"
    if known in _TIMES:
        return "time"
    return "boolean" if known is exp.DType.BOOLEAN else "string"


def _kind_of_words(text: str) -> ColumnKind:
    if "[" in text:
        return "string"
    for part, kind in _BY_PART:
        if part in text:
            return kind
    return "string"


@lru_cache(maxsize=4096)
def is_plain_text(native_type: str) -> bool:
    """Tell whether values of the type are text as they stand, without a cast.

    >>> is_plain_text("character varying(20)"), is_plain_text("VARCHAR[]"), is_plain_text("uuid")
    (True, False, False)
    """
    return _TEXT.fullmatch(native_type.strip()) is not None
