"""What changed between two trees by definition: sources and their parts as they are composed, pages by section.

Layout, comments, the order of files and provenance have no meaning, so they are no change here.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Literal, TypeAlias, cast

from ktx.ingest.artifact import Data, Json, page_entries, source_entries
from ktx.ingest.trees import Tree
from ktx.semantic.files import LayerFile
from ktx.semantic.source import Column, Join, Layer, Measure, Segment, Source
from ktx.wiki.page import split_front_matter
from ktx.yaml import YamlError, parse_yaml

Noun: TypeAlias = Literal["source", "measure", "segment", "join", "column", "page"]
Sign: TypeAlias = Literal["added", "changed", "removed"]
Facts: TypeAlias = Mapping[str, Json]

_COMPOSED: Final = frozenset(
    [
        "table",
        "sql",
        "grain",
        "columns",
        "measures",
        "segments",
        "joins",
        "descriptions",
        "default_time_dimension",
        "column_overrides",
        "exclude_columns",
        "disable_joins",
        "inherits_columns_from",
    ]
)
"""The heads of entries that are seen in the composed source; what other entries say is compared as it stands in the files."""
_ONLY_IN_FILES: Final = ("constraints", "tests")


@dataclass(frozen=True, kw_only=True)
class FactChange:
    """One fact of a definition; None where it is not said."""

    name: str
    before: Json
    after: Json


@dataclass(frozen=True, kw_only=True)
class DefinitionChange:
    """One definition that came, went or changed, fact by fact.

    `target` is the source or page; `name` the part of the source, empty for the source or page itself.
    """

    noun: Noun
    sign: Sign
    connection_id: str
    target: str
    name: str
    facts: tuple[FactChange, ...]


def layer_changes(
    before: Layer, after: Layer, files: tuple[Sequence[LayerFile], Sequence[LayerFile]]
) -> tuple[DefinitionChange, ...]:
    """Compare a connection's layers, source by source; measures that ktx derives by itself are no definitions."""
    more = (_uncomposed(files[0]), _uncomposed(files[1]))
    names = sorted({*before.sources, *before.broken, *after.sources, *after.broken, *more[0], *more[1]})
    found: list[DefinitionChange] = []
    for name in names:
        sides = (before.sources.get(name), after.sources.get(name))
        is_unusable = any(
            name in layer.broken and source is None
            for layer, source in zip((before, after), sides, strict=True)
        )
        known = [
            _known(layer, name, more[at].get(name, {}), is_unusable=is_unusable)
            for at, layer in enumerate((before, after))
        ]
        own = _change("source", after.connection_id, name, "", *known)
        found += [own] if own else []
        if not is_unusable:
            found += _part_changes(after.connection_id, name, *sides)
    return tuple(found)


def page_changes(before: Tree, after: Tree) -> tuple[DefinitionChange, ...]:
    """Compare the pages, section by section."""
    found: list[DefinitionChange] = []
    for key in sorted(before.pages.keys() | after.pages.keys()):
        if key in before.pages and key in after.pages and before.pages[key] == after.pages[key]:
            continue
        sides = [_page_facts(tree.pages[key]) if key in tree.pages else None for tree in (before, after)]
        change = _change("page", "", key, "", sides[0], sides[1])
        found += [change] if change else []
    return tuple(found)


def _change(
    noun: Noun, connection_id: str, target: str, name: str, before: Facts | None, after: Facts | None
) -> DefinitionChange | None:
    if before is None and after is None:
        return None
    old, new = before or {}, after or {}
    facts = tuple(
        FactChange(name=key, before=old.get(key), after=new.get(key))
        for key in dict.fromkeys((*new, *old))
        if old.get(key) != new.get(key)
    )
    sign: Sign = "added" if before is None else "removed" if after is None else "changed"
    if sign == "changed" and not facts:
        return None
    return DefinitionChange(
        noun=noun, sign=sign, connection_id=connection_id, target=target, name=name, facts=facts
    )


def _known(layer: Layer, name: str, more: Facts, *, is_unusable: bool) -> Facts | None:
    """Give what is said of a source itself; of one that cannot be used, on this side or the other, only why. None: there is none."""
    source = layer.sources.get(name)
    if source is None and name not in layer.broken and not more:
        return None
    facts: dict[str, Json] = {}
    if name in layer.broken:
        facts["unusable"] = " ".join(dict.fromkeys(one.message for one in layer.broken[name]))
    if not is_unusable:
        facts |= {**(_source_facts(source) if source else {}), **more}
    return facts


def _part_changes(
    connection_id: str, target: str, before: Source | None, after: Source | None
) -> Iterator[DefinitionChange]:
    for noun in ("measure", "segment", "join", "column"):
        old = _parts(noun, before) if before else {}
        new = _parts(noun, after) if after else {}
        for name in dict.fromkeys((*new, *old)):
            change = _change(noun, connection_id, target, name, old.get(name), new.get(name))
            if change:
                yield change


def _parts(noun: Literal["measure", "segment", "join", "column"], source: Source) -> dict[str, Facts]:
    match noun:
        case "measure":
            return {one.name: _measure_facts(one) for one in source.measures if not one.is_implicit}
        case "segment":
            return {one.name: _segment_facts(one) for one in source.segments}
        case "column":
            return {one.name: _column_facts(one) for one in source.columns}
        case "join":
            found: dict[str, Facts] = {}
            for one in source.joins:
                same = sum(key.partition("~")[0] == one.name for key in found)
                found[f"{one.name}~{same + 1}" if same else one.name] = _join_facts(one)
            return found


def _source_facts(source: Source) -> Facts:
    return _said(
        {
            "table": source.table,
            "sql": source.sql,
            "grain": list(source.grain),
            "default_time_dimension": source.default_time_dimension,
            **_descriptions(source.descriptions),
        }
    )


def _measure_facts(measure: Measure) -> Facts:
    bare = measure.non_additive
    return _said(
        {
            "expr": measure.expr,
            "filter": measure.filter,
            "segments": list(measure.segments),
            "time_dimension": measure.time_dimension,
            "non_additive": f"{bare.window} of {bare.dimension}" if bare else None,
            "description": measure.description,
        }
    )


def _segment_facts(segment: Segment) -> Facts:
    return _said({"expr": segment.expr, "description": segment.description})


def _join_facts(join: Join) -> Facts:
    return _said({"to": join.to, "on": join.on, "relationship": join.relationship, "alias": join.alias})


def _column_facts(column: Column) -> Facts:
    return _said(
        {
            "expr": column.expr,
            "type": column.kind if column.is_typed else None,
            "role": None if column.role == "default" else column.role,
            "visibility": None if column.visibility == "public" else column.visibility,
            "natural_granularity": column.natural_granularity,
            "enum_values": list(column.enum_values),
            **_descriptions(column.descriptions),
        }
    )


def _descriptions(by_author: Mapping[str, str]) -> Facts:
    return {f"description ({author})": text for author, text in by_author.items()}


def _said(facts: Mapping[str, Json]) -> Facts:
    return {key: value for key, value in facts.items() if value not in (None, "", [])}


def _uncomposed(files: Sequence[LayerFile]) -> dict[str, Facts]:
    """Give what source files say beyond the composed source, such as tags and tests, by source."""
    found: dict[str, Facts] = {}
    for file in files:
        if file.is_manifest or file.text is None:
            continue
        data = _data(file.text)
        name = data.get("name") if data else None
        if data is None or not isinstance(name, str):
            continue
        facts: dict[str, Json] = {}
        try:
            for key, value in source_entries(data).items():
                head = key.partition(".")[0]
                if head == "column_overrides":
                    told = {
                        part: said for part, said in cast("Data", value).items() if part in _ONLY_IN_FILES
                    }
                    column, _, author = key.partition(".")[2].rpartition(".")
                    facts |= {f"{part} of {column} ({author})": said for part, said in told.items()}
                elif head not in _COMPOSED:
                    facts[key] = value
        except (KeyError, TypeError, AttributeError):
            continue  # the file is named as unusable by the loader
        if facts:
            found[name] = facts
    return found


def _page_facts(text: str | None) -> Facts:
    if text is None:
        return {"unusable": "The file is not UTF-8 text."}
    head, body, _ = split_front_matter(text)
    data = _data(head) if head.strip() else {}
    return page_entries({"front matter": head} if data is None else data, body)


def _data(text: str) -> Data | None:
    try:
        data: object = parse_yaml(text)
    except YamlError:
        return None
    return cast("Data", data) if isinstance(data, dict) else None
