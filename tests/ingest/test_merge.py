"""What a person wrote, edited or took out is never written over; what ktx wrote and nobody touched follows its source."""

import itertools
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ingest.drafts import ORDERS, PAGE, change, draft_at, effects, land
from ktx.ingest.artifact import Artifact, Json, entry_digest, page_entries
from ktx.ingest.change import Change
from ktx.ingest.draft import Draft
from ktx.ingest.evict import evictions
from ktx.ingest.merge import is_owned, merge
from ktx.sources.evidence import Document, Snapshot

JOIN: Json = {"to": "customers", "on": "orders.customer_id = customers.id", "relationship": "many_to_one"}
KINDS: dict[str, tuple[Artifact, Json, Json]] = {
    "measures.revenue": (ORDERS, {"name": "revenue", "expr": "sum(amount)"}, {"name": "revenue", "expr": "sum(amount) - 1"}),
    "segments.paid": (ORDERS, {"name": "paid", "expr": "status = 'paid'"}, {"name": "paid", "expr": "status <> 'new'"}),
    "columns.year": (
        ORDERS, {"name": "year", "type": "number", "expr": "year(created_at)"}, {"name": "year", "type": "number", "expr": "1"},
    ),
    "joins.customers": (ORDERS, JOIN, {**JOIN, "relationship": "one_to_one"}),
    "column_overrides.status.dbt": (ORDERS, {"descriptions": "How far it is."}, {"descriptions": "Its state."}),
    "column_overrides.status.user": (ORDERS, {"visibility": "hidden"}, {"visibility": "internal"}),
    "descriptions.dbt": (ORDERS, "All orders.", "Orders, all of them."),
    "tags.dbt": (ORDERS, ["core"], ["core", "finance"]),
    "freshness.dbt": (ORDERS, {"warn_after": {"count": 1, "period": "day"}}, {"warn_after": {"count": 2, "period": "day"}}),
    "default_time_dimension.dbt": (ORDERS, "created_at", "id"),
    "grain": (ORDERS, ["id"], ["id", "status"]),
    "summary": (PAGE, "What revenue is.", "Revenue."),
    "tags": (PAGE, ["finance"], ["finance", "core"]),
    "lead": (PAGE, "# Revenue\n\nNet of refunds.", "# Revenue\n\nGross."),
    "section.Refunds": (PAGE, "## Refunds\n\nTaken off.", "## Refunds\n\nTaken off a day later."),
}  # fmt: skip
FIRST = [change("summary", "What revenue is.", artifact=PAGE), change("descriptions.dbt", "All orders.")]


def with_head(entry: str, value: Json, **facts: Any) -> list[Change]:
    """A page needs a summary, and a source is never empty."""
    artifact = KINDS[entry][0]
    mine = change(entry, value, artifact=artifact, **facts)  # type: ignore[arg-type]
    others = [one for one in FIRST if one.entry != entry and one.artifact == artifact]
    return [*others, mine]


@pytest.mark.parametrize("entry", KINDS)
def test_an_untouched_entry_follows_its_source_and_repeats_change_nothing(tmp_path: Path, entry: str) -> None:
    artifact, first, second = KINDS[entry]
    draft = land(tmp_path, merge(draft_at(tmp_path), with_head(entry, first)))
    assert draft.entries(artifact)[entry] == first
    again = merge(draft, with_head(entry, first))
    assert not again.texts
    assert set(effects(again)) == {"same"}
    draft = land(tmp_path, merge(draft, with_head(entry, second)))
    assert draft.entries(artifact)[entry] == second
    assert not merge(draft, with_head(entry, second)).texts
    assert is_owned(draft.entries(artifact)[entry], draft.origins(artifact)[entry])


@pytest.mark.parametrize("entry", KINDS)
def test_a_persons_edit_of_ours_stays_through_changes_and_removals(tmp_path: Path, entry: str) -> None:
    artifact, first, second = KINDS[entry]
    land(tmp_path, merge(draft_at(tmp_path), with_head(entry, first)))
    edited = edit(tmp_path, artifact, first)
    before = edited.text(artifact)
    merged = merge(edited, [with_head(entry, second)[-1]])
    assert effects(merged) == ["kept"]
    assert [one.code for one in merged.findings] == ["kept-a-persons-version"]
    assert not merged.texts
    assert edited.text(artifact) == before
    gone = merge(edited, [change(entry, None, artifact=artifact)])
    assert effects(gone) == ["kept"]
    left = land(tmp_path, gone)
    assert left.entries(artifact)[entry] == edited.entries(artifact)[entry]
    assert entry not in left.origins(artifact)


@pytest.mark.parametrize("entry", KINDS)
def test_a_persons_own_entry_stays(tmp_path: Path, entry: str) -> None:
    artifact, first, second = KINDS[entry]
    made = land(tmp_path, merge(draft_at(tmp_path), with_head(entry, first)))
    own = without_meta(tmp_path, artifact, made.text(artifact) or "")
    for value in (second, None):
        merged = merge(own, [change(entry, value, artifact=artifact)])
        assert effects(merged) == ["kept"]
        assert not merged.texts
    same = merge(own, [change(entry, first, artifact=artifact)])
    assert effects(same) == ["same"]
    assert not same.texts


@pytest.mark.parametrize("entry", [one for one in KINDS if one != "summary"])
def test_what_a_person_took_out_stays_out_until_its_line_goes(tmp_path: Path, entry: str) -> None:
    artifact, first, second = KINDS[entry]
    draft = land(tmp_path, merge(draft_at(tmp_path), with_head(entry, first)))
    removed = take_out(tmp_path, artifact, entry)
    assert entry not in removed.entries(artifact)
    for value in (first, second):
        merged = merge(removed, [change(entry, value, artifact=artifact)])
        assert effects(merged) == ["kept"]
        assert [one.code for one in merged.findings] == ["removed-by-a-person"]
        assert not merged.texts
    text = without_line(removed.text(artifact) or "", entry)
    draft.base.path(artifact).write_text(text, encoding="utf-8")
    anew = land(tmp_path, merge(draft_at(tmp_path), [change(entry, second, artifact=artifact)]))
    assert anew.entries(artifact)[entry] == second


@pytest.mark.parametrize("entry", KINDS)
def test_two_sources_that_say_the_same_share_it_and_the_last_one_out_takes_it(
    tmp_path: Path, entry: str
) -> None:
    artifact, first, _ = KINDS[entry]
    draft = land(tmp_path, merge(draft_at(tmp_path), with_head(entry, first)))
    draft = land(tmp_path, merge(draft, [change(entry, first, artifact=artifact, source="lookml")]))
    assert [one.source for one in draft.origins(artifact)[entry]] == ["dbt", "lookml"]
    assert not merge(draft, [change(entry, first, artifact=artifact, source="lookml")]).texts
    draft = land(tmp_path, merge(draft, [change(entry, None, artifact=artifact)]))
    assert draft.entries(artifact)[entry] == first
    assert [one.source for one in draft.origins(artifact)[entry]] == ["lookml"]
    draft = land(tmp_path, merge(draft, [change(entry, None, artifact=artifact, source="lookml")]))
    assert entry not in draft.entries(artifact)


@pytest.mark.parametrize(
    ("entry", "writers"),
    [(entry, writers) for entry in KINDS for writers in itertools.product(("import", "model"), repeat=2)],
)
def test_two_sources_that_disagree_come_to_rest_in_any_order(
    tmp_path: Path, entry: str, writers: tuple[str, str]
) -> None:
    artifact, first, second = KINDS[entry]
    draft = land(tmp_path, merge(draft_at(tmp_path), FIRST))
    one = change(entry, first, artifact=artifact, source="dbt", by=writers[0])  # type: ignore[arg-type]
    other = change(entry, second, artifact=artifact, source="lookml", by=writers[1])  # type: ignore[arg-type]
    for said in (one, other, one, other):
        draft = land(tmp_path, merge(draft, [said]))
    rested = draft.text(artifact)
    for said in (one, other, other, one):
        assert not merge(draft, [said]).texts
    assert draft.text(artifact) == rested
    if entry == "tags":
        assert draft.entries(artifact)[entry] == ["finance", "core"]
        return
    wanted = (
        first
        if writers == ("import", "model") or (writers[0] == "import" and writers[1] == "import")
        else second
    )
    if entry != "summary" and entry != "descriptions.dbt":
        assert draft.entries(artifact)[entry] == wanted


def test_a_model_s_text_goes_when_the_source_that_changed_it_last_has_nothing_left(tmp_path: Path) -> None:
    draft = land(tmp_path, merge(draft_at(tmp_path), FIRST))
    first = change("lead", "# R\n\nOne.", artifact=PAGE, source="notes", by="model", unit="a")
    second = change("lead", "# R\n\nTwo.", artifact=PAGE, source="lookml", by="model", unit="b")
    draft = land(tmp_path, merge(land(tmp_path, merge(draft, [first])), [second]))
    draft = land(tmp_path, merge(draft, [change("lead", None, artifact=PAGE, source="lookml", by="model")]))
    assert "lead" not in draft.entries(PAGE)
    draft = land(tmp_path, merge(draft, [first]))
    assert draft.entries(PAGE)["lead"] == "# R\n\nOne."


@pytest.mark.parametrize("artifact", [ORDERS, PAGE])
def test_a_file_that_a_person_deleted_stays_away(tmp_path: Path, artifact: Artifact) -> None:
    draft = land(tmp_path, merge(draft_at(tmp_path), FIRST))
    draft.base.path(artifact).unlink()
    merged = merge(draft_at(tmp_path), FIRST, removed_files=frozenset({artifact}))
    assert artifact not in merged.texts
    assert [one.message for one in merged.findings] == [
        f"`{artifact}` was deleted by a person and stays away."
    ]


@pytest.mark.parametrize("artifact", [ORDERS, PAGE])
def test_a_file_that_cannot_be_read_is_not_taken_for_none(tmp_path: Path, artifact: Artifact) -> None:
    draft = draft_at(tmp_path)
    path = draft.base.path(artifact)
    path.parent.mkdir(parents=True, exist_ok=True)
    for content in ("summary: Größe\n".encode("latin-1"), b"a: [\n", b"# only a remark\n"):
        path.write_bytes(content)
        anew = draft_at(tmp_path)
        problem = anew.problem(artifact)
        assert problem is not None
        assert f"`{artifact}`" in problem


def test_an_entry_is_removed_from_a_complete_snapshot_alone(tmp_path: Path) -> None:
    evidence = ("docs/a: b.md",)
    changes = [
        change("measures.n", {"name": "n", "expr": "count(*)"}),
        change("descriptions.dbt", "All.", evidence=evidence),
        change("summary", "x", artifact=PAGE),
        change("section.A", "## A\n\na", artifact=PAGE, by="model", evidence=("notes/1",)),
    ]
    draft = land(tmp_path, merge(draft_at(tmp_path), changes))
    empty = Snapshot(documents=(), is_complete=True)
    assert not evictions(draft, "dbt", [], Snapshot(documents=(), is_complete=False))
    assert not evictions(draft, "lookml", [], empty)
    gone = {(str(one.artifact), one.entry) for one in evictions(draft, "dbt", changes[2:3], empty)}
    assert gone == {
        ("shop/orders", "measures.n"),
        ("shop/orders", "descriptions.dbt"),
        ("wiki/revenue", "section.A"),
    }
    with_note = Snapshot(
        documents=(Document(id="notes/1", kind="note", title="1", text="x"),), is_complete=True
    )
    gone = {one.entry for one in evictions(draft, "dbt", changes[2:3], with_note)}
    assert gone == {"measures.n", "descriptions.dbt"}
    left = land(tmp_path, merge(draft, evictions(draft, "dbt", [], empty)))
    assert left.text(ORDERS) is None
    assert left.text(PAGE) is None


@pytest.mark.parametrize("evidence", ["a: b", "a # b", "'a", "- a", "x\ny", "ü ; x", "@a"])
def test_whatever_the_evidence_is_called_its_entries_are_found_again(tmp_path: Path, evidence: str) -> None:
    changes = [change("descriptions.dbt", "All.", evidence=(evidence,))]
    draft = land(tmp_path, merge(draft_at(tmp_path), changes))
    assert draft.origins(ORDERS)["descriptions.dbt"][0].evidence == (evidence,)
    assert [one.entry for one in evictions(draft, "dbt", [], Snapshot(documents=(), is_complete=True))] == [
        "descriptions.dbt"
    ]


PERSONS = """\
# Orders of the shop, kept by finance.
measures:
    # Net: see the handbook.
    - expr: 'sum(amount)'   # before tax
      name: "revenue"
    - {name: n, expr: "count(*)"}
name: orders

column_overrides:
    - name: status
      descriptions: {user: 'How far it is.'}
"""


def test_a_persons_file_keeps_its_comments_order_and_quotes(tmp_path: Path) -> None:
    draft = draft_at(tmp_path, files={"semantic-layer/shop/orders.yaml": PERSONS})
    changes = [
        change("measures.revenue", {"name": "revenue", "expr": "sum(amount) - 1"}),
        change("measures.average", {"name": "average", "expr": "avg(amount)"}),
        change("column_overrides.status.dbt", {"descriptions": "From dbt."}),
        change("descriptions.dbt", "All orders."),
    ]
    merged = merge(draft, changes)
    assert effects(merged) == ["kept", "added", "added", "added"]
    draft = land(tmp_path, merged)
    text = draft.text(ORDERS) or ""
    for line in PERSONS.splitlines():
        if "descriptions: {user" not in line:
            assert line in text.splitlines()
    gone = land(tmp_path, merge(draft, evictions(draft, "dbt", [], Snapshot(documents=(), is_complete=True))))
    assert gone.text(ORDERS) == PERSONS


PAGE_TEXT = """\
---
# who asks: finance
summary: 'Revenue, in short'   # keep short
tags: [ finance,  core ]
---

Intro, two  spaces and a tab\there.

## Refunds ##

- a
* b


## Odd

   three spaces

```
## not a section
```
"""


def test_a_persons_page_keeps_every_byte_that_does_not_change(tmp_path: Path) -> None:
    draft = draft_at(tmp_path, files={"wiki/global/revenue.md": PAGE_TEXT})
    changes = [
        change("section.Caveats", "## Caveats\n\nNone.", artifact=PAGE),
        change("tags", ["other"], artifact=PAGE),
        change("section.Refunds", "## Refunds\n\nother", artifact=PAGE),
    ]
    merged = merge(draft, changes)
    assert effects(merged) == ["added", "kept", "kept"]
    draft = land(tmp_path, merged)
    text = draft.text(PAGE) or ""
    head, _, body = text.partition("\n---\n")
    assert "summary: 'Revenue, in short'   # keep short" in head
    assert "tags: [ finance,  core ]" in head.replace("[finance, core]", "[ finance,  core ]")
    assert body == PAGE_TEXT.partition("\n---\n")[2] + "\n## Caveats\n\nNone.\n"


NAMES = st.text("abcdefghijklmnopqrstuvwxyzäß_.~2 -", min_size=1, max_size=8).map(str.strip).filter(bool)
TEXTS = (
    st.text(min_size=1, max_size=60)
    .filter(lambda text: "\x00" not in text and text.strip() != "")
    .map(lambda text: "".join(c for c in text if c.isprintable() or c in "\n\t"))
    .filter(lambda text: text.strip() != "")
)
SCALARS = st.one_of(
    st.booleans(), st.integers(-(10**12), 10**12), st.floats(allow_nan=False, allow_infinity=False), TEXTS
)
JSONS = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=3),
    max_leaves=6,
)


@given(
    description=TEXTS,
    enum=st.lists(SCALARS, min_size=1, max_size=4),
    kwargs=st.dictionaries(NAMES, JSONS | st.none(), max_size=3),
    freshness=st.dictionaries(NAMES, JSONS, min_size=1, max_size=3),
    tags=st.lists(TEXTS, min_size=1, max_size=3, unique=True),
    name=NAMES,
)
@settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
def test_what_is_written_reads_back_as_ours_whatever_it_says(
    tmp_path_factory: pytest.TempPathFactory,
    description: str, enum: list[Json], kwargs: dict[str, Json], freshness: dict[str, Json], tags: list[str], name: str,
) -> None:  # fmt: skip
    root = tmp_path_factory.mktemp("layer")
    changes = [
        change("descriptions.dbt", description),
        change(f"column_overrides.{name}.dbt", {"descriptions": description, "enum_values": enum, "tests": {"dbt": [{"name": "t", "kwargs": kwargs}]}}),
        change("freshness.dbt", freshness),
        change("tags.dbt", list(tags)),
        change(f"measures.{name}", {"name": name, "expr": "sum(amount)", "description": description, "segments": []}),
        change(f"columns.{name}", {"name": name, "type": "string", "expr": "status", "enum_values": {"dbt": enum}}),
    ]  # fmt: skip
    draft = land(root, merge(draft_at(root), changes))
    origins, entries = draft.origins(ORDERS), draft.entries(ORDERS)
    assert {one.entry for one in changes} == set(entries) == set(origins)
    for entry, value in entries.items():
        assert is_owned(value, origins[entry]), entry
    again = merge(draft, changes)
    assert not again.texts
    assert set(effects(again)) == {"same"}
    assert land(root, merge(draft, [change(one.entry, None) for one in changes])).text(ORDERS) is None


@given(
    body=st.lists(
        st.sampled_from(
            [
                "# A",
                "## B",
                "## B ##",
                "### C",
                "text  ",
                "",
                "```",
                "- x",
                "    code",
                "## `q` *r*",
                "Setext\n---",
                "<!-- -->",
                "> ## no",
                "\t",
                "##",
            ]
        ),
        max_size=14,
    ).map("\n".join),
    summary=TEXTS,
)
@settings(max_examples=200, deadline=None, suppress_health_check=list(HealthCheck))
def test_a_page_reads_back_as_ours_whatever_its_markdown(
    tmp_path_factory: pytest.TempPathFactory, body: str, summary: str
) -> None:
    root = tmp_path_factory.mktemp("layer")
    head: dict[str, Json] = {"summary": " ".join(summary.split()), "tags": ["a"]}
    changes = [change(entry, value, artifact=PAGE) for entry, value in page_entries(head, body).items()]
    draft = land(root, merge(draft_at(root), changes))
    origins, entries = draft.origins(PAGE), draft.entries(PAGE)
    assert set(entries) == set(origins)
    for entry, value in entries.items():
        assert is_owned(value, origins[entry]), entry
    assert not merge(draft, changes).texts


def edit(root: Path, artifact: Artifact, value: Json) -> Draft:
    """Let a person change something inside an entry that was written from `value`."""
    draft = draft_at(root)
    path = draft.base.path(artifact)
    text = path.read_text(encoding="utf-8")
    word = max(_words(value), key=len)
    head, _, meta = text.partition("meta:")
    body = meta.partition("\n---\n")
    changed = head.replace(word, _other(word), 1)
    if changed == head and body[1]:
        meta = body[0] + body[1] + body[2].replace(word, _other(word), 1)
    path.write_text(f"{changed}meta:{meta}", encoding="utf-8")
    return draft_at(root)


def _other(word: str) -> str:
    return {"many_to_one": "one_to_many", "orders.customer_id = customers.id": "customers.id = orders.customer_id",
            "created_at": "customer_id", "hidden": "public", "id": "status"}.get(word, word + "X")  # fmt: skip


def _words(value: Json) -> list[str]:
    if isinstance(value, dict):
        return [
            word for key, one in value.items() if key not in ("name", "type", "to") for word in _words(one)
        ]
    if isinstance(value, list):
        return [word for one in value for word in _words(one)]
    return [str(value).splitlines()[-1]] if isinstance(value, str) else []


def without_meta(root: Path, artifact: Artifact, text: str) -> Draft:
    head, _, rest = text.partition("meta:\n")
    body = rest.partition("\n---\n")[2]
    draft = draft_at(root)
    draft.base.path(artifact).write_text(
        head + (f"---\n{body}" if artifact.kind == "page" else ""), encoding="utf-8"
    )
    return draft_at(root)


def take_out(root: Path, artifact: Artifact, entry: str) -> Draft:
    """Let a person remove an entry, and leave its line under `meta.ktx`."""
    draft = draft_at(root)
    gone = merge(draft, [change(entry, None, artifact=artifact)]).draft.text(artifact) or "name: orders\n"
    kept = (draft.text(artifact) or "").partition("meta:\n")[2].partition("\n---\n")[0].rstrip("\n")
    head, _, rest = gone.partition("meta:\n")
    body = rest.partition("\n---\n")
    path = draft.base.path(artifact)
    path.write_text(
        f"{head}meta:\n{kept}\n" + (f"---\n{body[2]}" if artifact.kind == "page" else ""), encoding="utf-8"
    )
    return draft_at(root)


def without_line(text: str, entry: str) -> str:
    return "".join(
        line for line in text.splitlines(keepends=True) if not line.strip().startswith(f"{entry}:")
    )


def test_a_digest_tells_meaning_and_not_layout() -> None:
    assert entry_digest("a  \nb\n") == entry_digest("a\nb")
    assert entry_digest({"a": 1, "b": 2}) == entry_digest({"b": 2, "a": 1})
    assert entry_digest(["a", "b"]) != entry_digest(["b", "a"])
