"""Loose JSON taken for what it should be, or for empty; and objects of a tool that need not be fetched twice."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import cast

from ktx.sources.source import Shelf


def as_mapping(value: object) -> Mapping[str, object]:
    """Give a JSON object, or an empty one for anything else."""
    return cast("Mapping[str, object]", value) if isinstance(value, Mapping) else {}


def as_list(value: object) -> list[object]:
    """Give a JSON array, or an empty one for anything else."""
    return list(cast("list[object]", value)) if isinstance(value, list | tuple) else []


@dataclass(frozen=True, kw_only=True)
class Versions:
    """Objects on a shelf, each good for exactly one version of it. Without a version nothing is kept."""

    shelf: Shelf

    def get(self, key: str, version: str | None) -> object:
        """Give what was kept of an object in that version, or None."""
        text = self.shelf.get(key) if version is not None else None
        if text is None:
            return None
        try:
            kept = as_mapping(json.loads(text))
        except (ValueError, RecursionError):
            return None
        return kept.get("body") if kept.get("version") == version else None

    def put(self, key: str, version: str | None, body: object) -> None:
        """Keep an object."""
        if version is not None:
            self.shelf.put(key, json.dumps({"version": version, "body": body}))
