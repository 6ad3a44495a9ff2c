"""Semantic sources and wiki pages as entries: the parts that are merged, owned and removed one by one.

An entry's key is a dotted path: `measures.revenue`, `joins.customers`, `descriptions.dbt`, `column_overrides.status.dbt` (what
one author says about a column), `grain`; of a page `summary`, `tags`, `lead` (the text before the first section) and
`section.Refunds`. Values are plain JSON.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Literal, TypeAlias, cast

from ktx.files import digest
from ktx.wiki.sections import split_blocks

Json: TypeAlias = str | int | float | bool | list["Json"] | dict[str, "Json"] | None
Data: TypeAlias = dict[str, Json]
Kind: TypeAlias = Literal["source", "page"]

META: Final = "meta"
_NAMED_LISTS: Final = ("columns", "measures", "segments")
_BY_AUTHOR: Final = ("descriptions", "tags", "freshness", "default_time_dimension")
_OVERRIDE_FACTS: Final = ("descriptions", "enum_values", "constraints")
_FLAT_LISTS: Final = ("exclude_columns", "disable_joins")
SECTION_LEVEL: Final = 2


@dataclass(frozen=True, kw_only=True, order=True)
class Artifact:
    """One file of the layer: a semantic source of a connection, or a wiki page everybody shares (`connection_id` is empty)."""

    kind: Kind
    connection_id: str = ""
    name: str

    def __str__(self) -> str:
        """Render as people refer to it."""
        return f"{self.connection_id}/{self.name}" if self.kind == "source" else f"wiki/{self.name}"


def page_artifact(key: str) -> Artifact:
    """Give the artifact of a shared page."""
    return Artifact(kind="page", name=key)


def source_artifact(connection_id: str, name: str) -> Artifact:
    """Give the artifact of a semantic source."""
    return Artifact(kind="source", connection_id=connection_id, name=name)


def entry_digest(value: Json) -> str:
    """Give eight hex digits that change with an entry's meaning, not with its layout."""
    if isinstance(value, str):
        value = "\n".join(line.rstrip() for line in value.strip().splitlines())
    return digest(json.dumps(value, sort_keys=True, ensure_ascii=False))[:8]


def source_entries(data: Mapping[str, Json]) -> dict[str, Json]:
    """Split the data of a source file into its entries, in the file's order; `name` and `meta` are none."""
    return dict(_source_entries(data))


def set_source_entry(data: Data, key: str, value: Json) -> None:
    """Put an entry into the data of a source file, in place of one of the same key; everything else stays as it is."""
    head, _, rest = key.partition(".")
    if head in _NAMED_LISTS or head == "joins":
        _put_into(_list(data, head), _position(data, key), value)
    elif head in _FLAT_LISTS:
        if rest not in _list(data, head):
            _list(data, head).append(rest)
    elif head == "column_overrides":
        column, _, author = rest.rpartition(".")
        override = _override_of(data, column)
        _drop_facts(override, author)
        _join_facts(override, author, value)
    elif head == "descriptions" and rest == "user" and "description" in data:
        data["description"] = value
    elif rest:
        known = data.get(head)
        data[head] = {**(known if isinstance(known, dict) else {}), rest: value}
    else:
        data[head] = value


def drop_source_entry(data: Data, key: str) -> None:
    """Take an entry out of the data of a source file; what becomes empty by that goes too."""
    head, _, rest = key.partition(".")
    if head in _NAMED_LISTS or head == "joins":
        at = _position(data, key)
        if at is not None:
            del _list(data, head)[at]
    elif head in _FLAT_LISTS:
        data[head] = [one for one in _list(data, head) if one != rest]
    elif head == "column_overrides":
        column, _, author = rest.rpartition(".")
        override = _override_of(data, column)
        _drop_facts(override, author)
        if override.keys() == {"name"}:
            _list(data, head).remove(override)
    elif head == "descriptions" and rest == "user" and "description" in data:
        del data["description"]
    elif rest:
        known = data.get(head)
        if isinstance(known, dict):
            known.pop(rest, None)
    else:
        data.pop(head, None)
    if data.get(head) in ([], {}):
        del data[head]


def _list(data: Data, key: str) -> list[Json]:
    return cast("list[Json]", data.setdefault(key, []))


def _position(data: Data, key: str) -> int | None:
    head, _, _ = key.partition(".")
    keys = [one for one, _ in _source_entries({head: data.get(head) or []})]
    return keys.index(key) if key in keys else None


def _put_into(entries: list[Json], at: int | None, value: Json) -> None:
    if at is None:
        entries.append(value)
    else:
        entries[at] = value


def _override_of(data: Data, column: str) -> Data:
    known = data.get("column_overrides")
    if isinstance(known, dict):
        data["column_overrides"] = cast("list[Json]", _overrides(known))
    for one in cast("list[Data]", _list(data, "column_overrides")):
        if one.get("name") == column:
            return one
    made: Data = {"name": column}
    _list(data, "column_overrides").append(made)
    return made


def _drop_facts(override: Data, author: str) -> None:
    for key in list(override):
        value = override[key]
        if key in _OVERRIDE_FACTS and isinstance(value, dict):
            value.pop(author, None)
            if not value:
                del override[key]
        elif (key == "tests" and author == "dbt") or (
            author == "user" and key not in ("name", "tests", *_OVERRIDE_FACTS)
        ):
            del override[key]


def page_entries(head: Mapping[str, Json], body: str) -> dict[str, Json]:
    """Split a page into its entries: each front-matter key but `meta`, the lead, and each section by its heading."""
    entries: dict[str, Json] = {
        key: value for key, value in head.items() if key != META and value not in (None, [], "")
    }
    lead, sections = split_sections(body)
    if lead.strip():
        entries["lead"] = lead.strip("\n")
    for title, text in sections:
        key = f"section.{title}"
        number = 2
        while key in entries:
            key, number = f"section.{title}~{number}", number + 1
        entries[key] = text.strip("\n")
    return entries


def set_section(body: str, key: str, text: Json) -> str:
    """Put `lead` or a `section.…` into a page's Markdown, or take it out with None; all other text stays as it is."""
    lead, sections = split_sections(body)
    parts = [lead, *(part for _, part in sections)]
    written = "" if text is None else str(text).strip("\n") + "\n\n"
    keys = ["lead", *(one for one in page_entries({}, body) if one.startswith("section."))]
    if key in keys:
        parts[keys.index(key)] = written
    else:
        whole = "".join(parts)
        parts = [whole.rstrip("\n") + "\n\n" if whole.strip() else "", written]
    return "".join(parts).strip("\n") + "\n"


def split_sections(body: str) -> tuple[str, list[tuple[str, str]]]:
    r"""Split Markdown at its headings of level two into what stands before the first, and titled sections.

    >>> split_sections("# Revenue\n\nNet.\n\n## Refunds\n\nTaken off.\n")
    ('# Revenue\n\nNet.\n\n', [('Refunds', '## Refunds\n\nTaken off.\n')])
    """
    lead = ""
    sections: list[tuple[str, str]] = []
    for block in split_blocks(body):
        if block.level == SECTION_LEVEL:
            sections.append((block.title, block.text))
        elif sections:
            title, text = sections[-1]
            sections[-1] = (title, text + block.text)
        else:
            lead += block.text
    return lead, sections


def _source_entries(data: Mapping[str, Json]) -> Iterator[tuple[str, Json]]:
    for key, value in data.items():
        if key in ("name", META) or value is None:
            continue
        if key == "description":
            yield "descriptions.user", value
        elif key in _NAMED_LISTS:
            for one in cast("Sequence[Data]", value):
                yield f"{key}.{one['name']}", one
        elif key == "joins":
            yield from _join_entries(cast("Sequence[Data]", value))
        elif key == "column_overrides":
            for one in _overrides(value):
                yield from _override_entries(one)
        elif key in _FLAT_LISTS:
            for one in cast("Sequence[Json]", value):
                yield f"{key}.{one}", True
        elif key in _BY_AUTHOR and isinstance(value, dict):
            for author, said in value.items():
                yield f"{key}.{author}", said
        else:
            yield key, value


def _join_entries(joins: Sequence[Data]) -> Iterator[tuple[str, Json]]:
    seen: dict[str, int] = {}
    for one in joins:
        key = str(one.get("alias") or one.get("to"))
        seen[key] = seen.get(key, 0) + 1
        yield f"joins.{key}" + (f"~{seen[key]}" if seen[key] > 1 else ""), one


def _overrides(value: Json) -> list[Data]:
    if isinstance(value, dict):
        return [{"name": name, **cast("Data", facts)} for name, facts in value.items()]
    return cast("list[Data]", value)


def _override_entries(override: Data) -> Iterator[tuple[str, Json]]:
    """Give what each author says about a column; what has no author is a person's (`user`)."""
    by_author: dict[str, Data] = {}
    for key, value in override.items():
        if key == "name":
            continue
        if key in _OVERRIDE_FACTS and isinstance(value, dict):
            for author, said in value.items():
                by_author.setdefault(author, {})[key] = said
        elif key == "tests" and isinstance(value, dict):
            by_author.setdefault("dbt", {})[key] = value
        elif key == "description":
            by_author.setdefault("user", {})["descriptions"] = value
        else:
            by_author.setdefault("user", {})[key] = value
    for author, said in by_author.items():
        yield f"column_overrides.{override['name']}.{author}", said


def _join_facts(override: Data, author: str, value: Json) -> None:
    for key, said in cast("Data", value).items():
        if key in _OVERRIDE_FACTS:
            cast("Data", override.setdefault(key, {}))[author] = said
        else:
            override[key] = said
