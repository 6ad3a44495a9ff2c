"""Notion's JSON, taken apart without trust: what is not there, or of another type, is empty."""

import re
from collections.abc import Mapping
from typing import cast

_ID = re.compile(r"(?:^|-)([0-9a-f]{8}-?[0-9a-f]{4}-?[0-9a-f]{4}-?[0-9a-f]{4}-?[0-9a-f]{12})$")
_UNWANTED = re.compile("[\x00-\x08\x0b-\x1f\x7f\ue000-\ue002\ud800-\udfff]")

Values = Mapping[str, object]


def mapping(value: object) -> Values:
    """Give a JSON object."""
    return cast("dict[str, object]", value) if isinstance(value, dict) else {}


def items(value: object) -> tuple[Values, ...]:
    """Give the objects in a JSON list."""
    listed = cast("list[object]", value) if isinstance(value, list) else []
    return tuple(cast("Values", entry) for entry in listed if isinstance(entry, dict))


def text(value: object) -> str:
    """Give a string without control characters, and without the marks that stand for references while pages are read."""
    return _UNWANTED.sub("", value) if isinstance(value, str) else ""


def plain_words(value: object) -> str:
    """Give a string in one line."""
    return " ".join(text(value).split())


def plain_id(value: object) -> str:
    """Give an id, also out of a page's address, as 32 hex digits; empty when there is none.

    >>> plain_id("https://www.notion.so/acme/Refund-rules-1429989FE8AC4EFFBC8F57F56486DB54?pvs=4")
    '1429989fe8ac4effbc8f57f56486db54'
    """
    if not isinstance(value, str):
        return ""
    address = value.partition("?")[0].partition("#")[0].lower().rstrip("/")
    found = _ID.search(address.rpartition("/")[2])
    return found[1].replace("-", "") if found else ""


def dashed(id_: str) -> str:
    """Give an id as Notion writes it.

    >>> dashed("1429989fe8ac4effbc8f57f56486db54")
    '1429989f-e8ac-4eff-bc8f-57f56486db54'
    """
    return "-".join((id_[:8], id_[8:12], id_[12:16], id_[16:20], id_[20:]))


def is_trashed(value: Values) -> bool:
    """Tell whether a page, database or block is in the trash; older versions call that archived."""
    return value.get("in_trash") is True or value.get("archived") is True
