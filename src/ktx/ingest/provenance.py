"""Where an entry came from, kept in the artifact itself: `meta.ktx` maps an entry's key to a line.

A line reads `shop_dbt import 9f8e7d6c models/marts/orders.yml`: the context source, how it came about, the digest of the entry
as it was written, and the documents that say so, separated by ` ; ` (an id that would not survive that is written as JSON). Documents that many lines share stand once, under
`meta.ktx_evidence`, and a line without documents means those. An entry without a line is a person's. One whose digest no
longer fits was edited by a person; one with a line and no value was taken out by a person. None of these is ever written over.
"""

import json
import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Final, Literal, TypeAlias, cast

from ktx.ingest.artifact import META, Data, Json

By: TypeAlias = Literal["import", "model"]

_KEY: Final = "ktx"
_SHARED: Final = "ktx_evidence"
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
        told = _BETWEEN.join(map(_written, self.evidence))
        return f"{self.source} {self.by} {self.digest} {told}".rstrip()


Origins: TypeAlias = Mapping[str, tuple[Origin, ...]]
"""By entry key. Several sources may say the same."""


def read_origins(data: Mapping[str, Json]) -> dict[str, tuple[Origin, ...]]:
    """Read `meta.ktx` of a source's data or a page's front matter; lines that cannot be read are passed over."""
    meta = data.get(META)
    lines = meta.get(_KEY) if isinstance(meta, dict) else None
    if not isinstance(meta, dict) or not isinstance(lines, dict):
        return {}
    shared = _shared(meta)
    found: dict[str, tuple[Origin, ...]] = {}
    for key, value in lines.items():
        texts = value if isinstance(value, list) else [value]
        origins = tuple(origin for text in texts if (origin := _parse(text, shared)) is not None)
        if origins:
            found[key] = origins
    return found


def write_origins(data: Data, origins: Origins) -> None:
    """Set `meta.ktx` of a source's data or a page's front matter; other keys of `meta` stay."""
    meta = dict(cast("Data", data.get(META) or {}))
    shared = _most_common(origins)

    def line(origin: Origin) -> str:
        is_shared = shared.get(origin.source) == origin.evidence
        return str(replace(origin, evidence=()) if is_shared else origin)

    lines: Data = {
        key: line(found[0]) if len(found) == 1 else [line(one) for one in found]
        for key, found in sorted(origins.items())
        if found
    }
    for key, value in (
        (_KEY, lines),
        (_SHARED, cast("Data", {name: list(evidence) for name, evidence in sorted(shared.items())})),
    ):
        if value:
            meta[key] = value
        else:
            meta.pop(key, None)
    if meta:
        data[META] = meta
    else:
        data.pop(META, None)


def _written(id_: str) -> str:
    is_plain = id_ and id_ == " ".join(id_.split()) and ";" not in id_ and not id_.startswith('"')
    return id_ if is_plain else json.dumps(id_, ensure_ascii=True).replace(";", "\\u003b")


def _read(text: str) -> str:
    if not text.startswith('"'):
        return text
    try:
        return str(json.loads(text))
    except ValueError:
        return text


def _most_common(origins: Origins) -> dict[str, tuple[str, ...]]:
    """Give the documents that most lines of a source name, where at least two do."""
    counts: dict[str, Counter[tuple[str, ...]]] = {}
    for _, found in sorted(origins.items()):
        for origin in found:
            counts.setdefault(origin.source, Counter())[origin.evidence] += 1
    best = {source: counter.most_common(1)[0] for source, counter in counts.items()}
    return {source: evidence for source, (evidence, count) in best.items() if count > 1 and evidence}


def _shared(meta: Mapping[str, Json]) -> dict[str, tuple[str, ...]]:
    known = meta.get(_SHARED)
    if not isinstance(known, dict):
        return {}
    return {source: tuple(map(str, ids)) for source, ids in known.items() if isinstance(ids, list)}


def _parse(text: Json, shared: Mapping[str, tuple[str, ...]]) -> Origin | None:
    match = _LINE.fullmatch(text) if isinstance(text, str) else None
    if match is None:
        return None
    evidence = match["evidence"]
    return Origin(
        source=match["source"],
        by=cast("By", match["by"]),
        digest=match["digest"],
        evidence=tuple(map(_read, evidence.split(_BETWEEN))) if evidence else shared.get(match["source"], ()),
    )
