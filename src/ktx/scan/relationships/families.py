"""Which column types can be compared as keys."""

import re
from typing import Literal

from ktx.catalog import Column

Family = Literal["integer", "text", "uuid", "other"]

_INTEGER = re.compile(
    r"^(u?(tiny|small|medium|big|huge)?int(eger)?(2|4|8|16|32|64|128|256)?|(small|big)?serial|long|byteint|identity)\b",
    re.IGNORECASE,
)
_EXACT_NUMBER = re.compile(r"^(numeric|decimal|number)\b(\(\s*\d+\s*(,\s*0\s*)?\))?$", re.IGNORECASE)
_TEXT = re.compile(r"(char|text|string|clob|citext|enum|bpchar|^name$)", re.IGNORECASE)
_UUID = re.compile(r"^(uuid|uniqueidentifier|guid)\b", re.IGNORECASE)
_WRAPPER = re.compile(r"^(nullable|lowcardinality)\((.*)\)$", re.IGNORECASE)


def family(column: Column) -> Family:
    """Tell as what kind of key a column could serve; `other` never does (times, booleans, fractions, documents).

    >>> family(Column(name="id", native_type="BIGINT UNSIGNED", kind="number"))
    'integer'
    >>> family(Column(name="price", native_type="NUMERIC(10,2)", kind="number"))
    'other'
    """
    native = column.native_type.strip()
    while wrapped := _WRAPPER.match(native):
        native = wrapped[2]
    if _UUID.match(native):
        return "uuid"
    if column.kind == "number":
        return "integer" if _INTEGER.match(native) or _EXACT_NUMBER.match(native) else "other"
    if column.kind == "string" and _TEXT.search(native):
        return "text"
    return "other"


def can_compare(one: Family, other: Family) -> bool:
    """Tell whether values of the two families can be the same key; a UUID may be kept as text.

    >>> can_compare("uuid", "text"), can_compare("integer", "text")
    (True, False)
    """
    return one != "other" and (one == other or {one, other} == {"uuid", "text"})
