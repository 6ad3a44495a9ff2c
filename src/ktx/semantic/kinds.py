"""A database's own type names as the layer's four kinds."""

import re

from ktx.catalog import ColumnKind

_WRAPPERS = re.compile(r"^(?:nullable|lowcardinality)\((.*)\)$")
_BASE = re.compile(r"[a-z_][a-z_ ]*")
_TIME = ("timestamp", "datetime", "date", "time", "smalldatetime", "timestamptz", "timetz", "year_month")
_NUMBER = (
    "int", "integer", "bigint", "smallint", "tinyint", "mediumint", "hugeint", "uhugeint", "byteint", "serial",
    "bigserial", "smallserial", "uint", "ubigint", "uinteger", "usmallint", "utinyint", "numeric", "decimal", "number",
    "dec", "bignumeric", "float", "double", "real", "money", "smallmoney", "fixed", "year",
)  # fmt: skip


def column_kind(native_type: str) -> ColumnKind:
    """Give the kind of a native type; whatever is no number, time or boolean is a string.

    >>> [column_kind(name) for name in ("NUMBER(38,0)", "timestamp without time zone", "Nullable(Float64)", "bool", "uuid")]
    ['number', 'time', 'number', 'boolean', 'string']
    """
    text = native_type.strip().lower()
    while wrapped := _WRAPPERS.match(text):
        text = wrapped.group(1)
    if text.endswith("]") or text.startswith(("array", "list", "map", "struct", "interval")):
        return "string"
    found = _BASE.match(text)
    word = found.group(0).split(" ")[0].rstrip("_") if found else ""
    if word in {"bool", "boolean"}:
        return "boolean"
    if word in _NUMBER:
        return "number"
    if word.startswith(_TIME) and not word.startswith("timeuuid"):
        return "time"
    return "string"
