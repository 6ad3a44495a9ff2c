"""Entries of files and pages, put in and taken out again: all else stays, whatever things are called."""

import copy
import string
from typing import Any, cast

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from ktx.ingest.artifact import (
    Data,
    Json,
    drop_source_entry,
    page_entries,
    set_section,
    set_source_entry,
    source_entries,
    split_sections,
)
from ktx.ingest.provenance import Origin, read_origins, write_origins

NAMES = st.text("abzÄß日_.~2- ", min_size=1, max_size=8).filter(lambda name: name.strip() == name)
TEXTS = st.text("aä \n:#'\"-", min_size=1, max_size=20)
SCALARS = st.one_of(st.booleans(), st.integers(-9, 9), TEXTS)
AUTHORS = st.sampled_from(["dbt", "ai", "user", "lookml"])


def unique(entries: st.SearchStrategy[dict[str, Any]]) -> st.SearchStrategy[list[dict[str, Any]]]:
    return st.lists(entries, max_size=3, unique_by=lambda one: one["name"])


def named(**more: st.SearchStrategy[Any]) -> st.SearchStrategy[list[dict[str, Any]]]:
    return unique(st.fixed_dictionaries({"name": NAMES, **more}, optional={"description": TEXTS}))


OVERRIDES = unique(
    st.fixed_dictionaries(
        {"name": st.text("abÄ日_-", min_size=1, max_size=6)},
        optional={
            "descriptions": st.dictionaries(AUTHORS, TEXTS, min_size=1, max_size=3),
            "enum_values": st.dictionaries(
                AUTHORS, st.lists(SCALARS, min_size=1, max_size=2), min_size=1, max_size=2
            ),
            "tests": st.just({"dbt": [{"name": "not_null"}]}),
            "visibility": st.just("hidden"),
        },
    ).filter(lambda one: len(one) > 1)
)
SOURCES = st.fixed_dictionaries(
    {"name": st.just("orders")},
    optional={
        "descriptions": st.dictionaries(AUTHORS, TEXTS, min_size=1, max_size=3),
        "grain": st.lists(NAMES, min_size=1, max_size=2),
        "table": st.just("a.b"),
        "columns": named(expr=TEXTS),
        "measures": named(expr=TEXTS),
        "segments": named(expr=TEXTS),
        "joins": st.lists(
            st.fixed_dictionaries({"to": st.sampled_from(["a", "b", "c~2"]), "on": TEXTS}, optional={"alias": st.sampled_from(["a", "x.y"])}),
            max_size=4,
        ),
        "column_overrides": OVERRIDES,
        "exclude_columns": st.lists(NAMES, min_size=1, max_size=3, unique=True),
        "disable_joins": st.lists(NAMES, min_size=1, max_size=3, unique=True),
        "tags": st.one_of(st.dictionaries(AUTHORS, st.lists(TEXTS, min_size=1, max_size=2), min_size=1, max_size=2), st.lists(TEXTS, min_size=1, max_size=2)),
        "default_time_dimension": st.dictionaries(AUTHORS, NAMES, min_size=1, max_size=2),
        "meta": st.just({"owner": "finance"}),
        "not_ours": st.just({"a": [1]}),
    },
).filter(lambda data: len({key for key, _ in enumerate_keys(data)}) == len(enumerate_keys(data)))  # fmt: skip


def enumerate_keys(data: Data) -> list[tuple[str, Json]]:
    from ktx.ingest.artifact import _source_entries

    return list(_source_entries(data))


def without_empty(data: Data) -> Data:
    return {key: value for key, value in data.items() if value not in ([], {})}


@given(data=SOURCES)
@settings(max_examples=300, deadline=None)
def test_entries_put_together_again_say_what_the_file_said(data: Data) -> None:
    kept = copy.deepcopy(data)
    entries = source_entries(data)
    assert data == kept
    made: Data = {"name": "orders"}
    for key, value in entries.items():
        set_source_entry(made, key, value)
    assert source_entries(made) == entries
    wanted = without_empty({key: value for key, value in data.items() if key != "meta"})
    assert made.keys() == wanted.keys()
    for key in wanted.keys() - {"column_overrides"}:
        assert made[key] == wanted[key]
    by_name = {one["name"]: one for one in cast("list[Any]", made.get("column_overrides", []))}
    assert by_name == {one["name"]: one for one in cast("list[Any]", data.get("column_overrides", []))}


@given(data=SOURCES, chosen=st.data())
@settings(max_examples=300, deadline=None)
def test_an_entry_goes_out_and_in_alone(data: Data, chosen: st.DataObject) -> None:
    entries = source_entries(data)
    assume(entries)
    key = chosen.draw(st.sampled_from(sorted(entries)))
    # Of joins with one name the later ones are counted, so that their keys move up.
    assume(
        not key.startswith("joins.")
        or not any(one.startswith(f"{key}~") or key.startswith(f"{one}~") for one in entries)
    )
    changed = copy.deepcopy(data)
    drop_source_entry(changed, key)
    assert source_entries(changed) == {one: value for one, value in entries.items() if one != key}
    assert changed.get("meta") == data.get("meta")
    assert [*source_entries(changed)] == [one for one in entries if one != key]
    set_source_entry(changed, key, copy.deepcopy(entries[key]))
    assert source_entries(changed) == entries
    again = copy.deepcopy(data)
    set_source_entry(again, key, copy.deepcopy(entries[key]))
    assert source_entries(again) == entries


def test_the_mapping_form_of_overrides_and_the_short_description_are_read_and_edited() -> None:
    data: Data = {
        "name": "orders",
        "description": "Mine.",
        "column_overrides": {"status": {"description": "s", "role": "time"}},
    }
    assert source_entries(data) == {
        "descriptions.user": "Mine.",
        "column_overrides.status.user": {"descriptions": "s", "role": "time"},
    }
    set_source_entry(data, "column_overrides.status.dbt", {"descriptions": "from dbt"})
    set_source_entry(data, "descriptions.dbt", "From dbt.")
    entries = source_entries(data)
    assert entries["descriptions.user"] == "Mine."
    assert entries["descriptions.dbt"] == "From dbt."
    assert entries["column_overrides.status.dbt"] == {"descriptions": "from dbt"}
    assert entries["column_overrides.status.user"] == {"descriptions": "s", "role": "time"}
    for key in ("column_overrides.status.dbt", "descriptions.dbt"):
        drop_source_entry(data, key)
    assert "descriptions.dbt" not in source_entries(data)
    drop_source_entry(data, "descriptions.user")
    drop_source_entry(data, "column_overrides.status.user")
    assert source_entries(data) == {}


@pytest.mark.parametrize(
    "key",
    [
        "columns.gone",
        "joins.gone",
        "column_overrides.gone.dbt",
        "descriptions.gone",
        "grain",
        "exclude_columns.x",
    ],
)
def test_taking_out_what_is_not_there_changes_nothing(key: str) -> None:
    data: Data = {"name": "orders", "measures": [{"name": "n", "expr": "count(*)"}]}
    kept = copy.deepcopy(data)
    drop_source_entry(data, key)
    assert data == kept


def test_two_joins_of_one_name_are_two_entries() -> None:
    data: Data = {
        "name": "o",
        "joins": [{"to": "a", "on": "1"}, {"to": "a", "on": "2"}, {"to": "b", "alias": "a", "on": "3"}],
    }
    assert source_entries(data) == {
        "joins.a": {"to": "a", "on": "1"},
        "joins.a~2": {"to": "a", "on": "2"},
        "joins.a~3": {"to": "b", "alias": "a", "on": "3"},
    }
    set_source_entry(data, "joins.a~2", {"to": "a", "on": "two"})
    assert [one["on"] for one in cast("list[Any]", data["joins"])] == ["1", "two", "3"]


LINES = st.sampled_from(["# A", "## B", "## B", "## C.d ~2", "### E", "text", "two  spaces  ", "", "", "```", "- x", "    code", "\t", "##", "## *q* `r`", "Setext", "---", "ß日"])  # fmt: skip
BODIES = st.lists(LINES, max_size=14).map("\n".join)


@given(body=BODIES)
@settings(max_examples=400, deadline=None)
def test_sections_are_the_whole_body(body: str) -> None:
    lead, sections = split_sections(body)
    assert lead + "".join(text for _, text in sections) == body


@given(body=BODIES, chosen=st.data())
@settings(max_examples=400, deadline=None)
def test_a_section_is_set_and_every_other_byte_stays(body: str, chosen: st.DataObject) -> None:
    entries = page_entries({}, body)
    keys = sorted(entries)
    assume(keys)
    key = chosen.draw(st.sampled_from(keys))
    assert set_section(body, key, entries[key]).strip() == body.strip() or "\n\n" in set_section(
        body, key, entries[key]
    )
    heading = "" if key == "lead" else str(entries[key]).partition("\n")[0] + "\n\n"
    if key != "lead" and not heading.startswith("## "):
        return
    changed = page_entries({}, set_section(body, key, f"{heading}NEW"))
    assert list(changed) == list(entries)
    assert {one: value for one, value in changed.items() if one != key} == {
        one: value for one, value in entries.items() if one != key
    }
    assert str(changed[key]).endswith("NEW")


@given(body=BODIES)
@settings(max_examples=200, deadline=None)
def test_a_new_section_stands_last_and_goes_without_a_trace(body: str) -> None:
    assume("```" not in body and "section.New" not in page_entries({}, body))
    added = set_section(body, "section.New", "## New\n\nText.")
    assert added.endswith("## New\n\nText.\n")
    assert set_section(added, "section.New", None).strip() == body.strip()


IDS = st.text("ab ;:\n\t\"'#%ü日{}[]\\", min_size=1, max_size=10)
ORIGINS = st.builds(
    Origin,
    source=st.sampled_from(["dbt", "shop-dbt_2", "ü"]),
    by=st.sampled_from(["import", "model"]),
    digest=st.sampled_from(["0123abcd", "ffffffff", "12345678"]),
    evidence=st.lists(IDS, max_size=3, unique=True).map(tuple),
)


@given(
    origins=st.dictionaries(
        NAMES,
        st.lists(ORIGINS, min_size=1, max_size=3, unique_by=lambda one: one.source).map(tuple),
        max_size=5,
    )
)
@settings(max_examples=300, deadline=None)
def test_lines_of_origin_read_back_as_they_were_written(origins: dict[str, tuple[Origin, ...]]) -> None:
    data: Data = {"name": "x", "meta": {"owner": "finance"}}
    write_origins(data, origins)
    found = read_origins(data)
    assert found.keys() == origins.keys()
    for key, lines in origins.items():
        for line, read in zip(lines, found[key], strict=True):
            shared = cast("dict[str, Any]", cast("dict[str, Any]", data["meta"]).get("ktx_evidence", {}))
            # A line without documents means those that its source's lines share.
            assert read == line or (not line.evidence and list(read.evidence) == shared[line.source])
    assert cast("dict[str, Any]", data["meta"])["owner"] == "finance"
    assert all(character in string.printable or ord(character) > 127 for character in str(data))


@pytest.mark.parametrize(
    "meta",
    [
        None, "text", [], {"ktx": None}, {"ktx": []}, {"ktx": {"a": 1}}, {"ktx": {"a": "by hand"}},
        {"ktx": {"a": ["x", None, {}]}}, {"ktx": {"a": "dbt import 123"}}, {"ktx": {"a": "dbt guess 12345678 x"}},
        {"ktx": {"a": {"dbt": "import"}}, "ktx_evidence": "x"},
    ],
)  # fmt: skip
def test_lines_that_a_person_broke_are_passed_over(meta: Json) -> None:
    assert read_origins({"name": "x", "meta": meta}) == {}


def test_what_many_lines_share_stands_once() -> None:
    data: Data = {"name": "x"}
    many = tuple(f"models/{number}.yml" for number in range(5))
    write_origins(
        data,
        {
            "a": (Origin(source="dbt", by="import", digest="00000001", evidence=many),),
            "b": (Origin(source="dbt", by="import", digest="00000002", evidence=many),),
            "c": (Origin(source="dbt", by="import", digest="00000003", evidence=("one",)),),
        },
    )
    assert data["meta"] == {
        "ktx": {"a": "dbt import 00000001", "b": "dbt import 00000002", "c": "dbt import 00000003 one"},
        "ktx_evidence": {"dbt": list(many)},
    }
    write_origins(data, {})
    assert "meta" not in data
