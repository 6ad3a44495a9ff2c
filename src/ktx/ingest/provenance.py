"""Where an entry came from, kept in the artifact itself: `meta.ktx` maps an entry's key to a line.

A line reads `shop_dbt import 9f8e7d6c models/marts/orders.yml`: the context source, how it came about, the digest of the entry
as it was written, and the documents that say so, separated by ` ; `. An entry without a line is a person's. One whose digest no
longer fits was edited by a person; one with a line and no value was taken out by a person. None of these is ever written over.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Literal, TypeAlias, cast

from ktx.ingest.artifact import META, Data, Json

By: TypeAlias = Literal["import", "model"]

_KEY: Final = "ktx"
_LINE: Final = re.compile(
    r"(?P<source>\S+) (?P<by>import|model) (?P<digest>[0-9a-f]{8})(?: (?P<evidence>.+))?"
)
_BETWEEN: Final = " ; "


@dataclass(frozen=True, kw_only=True)
class Origin:
    """One line: the context source's connection id, how, the entry's digest as written, the ids of its documents."""

    source: str
    by: By
    digest: str
    evidence: tuple[str, ...]

    def __str__(self) -> str:
        """Render the line."""
        return f"{self.source} {self.by} {self.digest} {_BETWEEN.join(self.evidence)}".rstrip()


Origins: TypeAlias = Mapping[str, tuple[Origin, ...]]
"""By entry key. Several sources may say the same."""


def read_origins(data: Mapping[str, Json]) -> dict[str, tuple[Origin, ...]]:
    """Read `meta.ktx` of a source's data or a page's front matter; lines that cannot be read are passed over."""
    meta = data.get(META)
    lines = meta.get(_KEY) if isinstance(meta, dict) else None
    if not isinstance(lines, dict):
        return {}
    found: dict[str, tuple[Origin, ...]] = {}
    for key, value in lines.items():
        texts = value if isinstance(value, list) else [value]
        origins = tuple(origin for text in texts if (origin := _parse(text)) is not None)
        if origins:
            found[key] = origins
    return found


def write_origins(data: Data, origins: Origins) -> None:
    """Set `meta.ktx` of a source's data or a page's front matter; other keys of `meta` stay."""
    meta = dict(cast("Data", data.get(META) or {}))
    lines: Data = {
        key: str(found[0]) if len(found) == 1 else [str(one) for one in found]
        for key, found in sorted(origins.items())
        if found
    }
    if lines:
        meta[_KEY] = lines
    else:
        meta.pop(_KEY, None)
    if meta:
        data[META] = meta
    else:
        data.pop(META, None)


def _parse(text: Json) -> Origin | None:
    match = _LINE.fullmatch(text) if isinstance(text, str) else None
    if match is None:
        return None
    evidence = match["evidence"]
    return Origin(
        source=match["source"],
        by=cast("By", match["by"]),
        digest=match["digest"],
        evidence=tuple(evidence.split(_BETWEEN)) if evidence else (),
    )
