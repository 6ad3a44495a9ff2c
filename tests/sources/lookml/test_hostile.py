"""Files that are broken, huge or made to harm end as a named problem, and hide no other file."""

import time
from pathlib import Path

import pytest

from ktx.errors import SourceError
from ktx.events import ignore
from ktx.sources.lookml.dashboards import DashboardError, parse_dashboards
from ktx.sources.lookml.parse import LookmlError, blocks_of, parse_lookml
from ktx.sources.lookml.source import LookmlSource
from ktx.sources.tree import Tree
from sources.lookml.projects import interpreted, joins, model, problems, read, write

GOOD = {
    "m.model.lkml": 'connection: "c"\ninclude: "/**/*"\nview: orders { dimension: id {} measure: n { type: count } }'
}


@pytest.mark.parametrize(
    "text",
    [
        "view: x { dimension: a ",
        "view: x { dimension: b { sql: never ended } }",
        "view: x { } }\nview: y { }",
        'view: x { label: "open }',
        "- view: old\n  fields:\n  - dimension: id",
        "view: a { " * 5_000,
        "view: a { dimension: b { " + "x: { " * 3_000,
        "view: x { ; }",
        "view: x { dimension: a { sql: 1 ; } }",
        "\x00\x01\x02",
        "view: x { dimension: a { sql: 1 ;; } } garbage",
    ],
)
def test_what_is_no_lookml_is_a_problem_with_a_sentence(text: str) -> None:
    with pytest.raises(LookmlError) as said:
        parse_lookml(text)
    assert str(said.value).endswith(".")


@pytest.mark.parametrize(
    "text",
    [
        "view: x { # why\n  # more\n  dimension: a { sql: ${TABLE}.a -- sql\n ;; } # end\n}\n# last",
        "view: x {\r\n\tdimension: a {}\r\n}\r\n",
        "view: x { set: s { fields: [a, b*, # note\n -c.d,] } }",
        'view: x { dimension: a { html: <a href="{{ value }}">{ x }</a> ;; link: { url: "https://x/{{ y }}" } } }',
        "\ufeffview: x {}",
    ],
)
def test_lookml_as_people_write_it_is_read_whole(text: str) -> None:
    assert [view["name"] for view in blocks_of(parse_lookml(text), "views")] == ["x"]


def test_a_file_of_comments_says_nothing() -> None:
    assert parse_lookml("# only a comment\n") == parse_lookml("") == {}


def test_one_broken_file_hides_no_other_and_makes_the_snapshot_incomplete(tmp_path: Path) -> None:
    files = {**GOOD, "bad.view.lkml": "view: bad {", "binary.view.lkml": ""}
    write(tmp_path, files)
    (tmp_path / "binary.view.lkml").write_bytes(b"\xff\xfe view")
    source = LookmlSource(open_tree=lambda: Tree(root=tmp_path), connection_id="looker")
    snapshot = source.fetch(emit=ignore)
    assert snapshot.is_complete is False
    assert [(one.id, one.reason) for one in snapshot.unread] == [
        (
            "bad.view.lkml",
            "`bad.view.lkml` cannot be parsed: A brace, a `;;`, a quote or a value is missing or stands where none may.",
        ),
        ("binary.view.lkml", "`binary.view.lkml` is not UTF-8 text."),
    ]
    assert snapshot.document("bad.view.lkml") is not None
    found = interpreted(tmp_path / "again", {**GOOD, "bad.view.lkml": "view: bad {"})
    assert [one.name for one in found.definitions] == ["orders"]
    assert problems(found) == {"file bad.view.lkml": "parse_error"}
    assert [unit.key for unit in found.units] == ["lookml-m", "lookml-unparsed"]


def test_a_project_without_lookml_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="holds no LookML file"):
        read(tmp_path, {"README.md": "x"})


def test_links_out_of_the_project_are_not_followed(tmp_path: Path) -> None:
    secret = tmp_path / "secret.view.lkml"
    secret.write_text("view: secret { }")
    folder = write(tmp_path / "project", GOOD)
    (folder / "link.view.lkml").symlink_to(secret)
    (folder / "up").symlink_to(tmp_path)
    source = LookmlSource(open_tree=lambda: Tree(root=folder), connection_id="looker")
    assert [one.id for one in source.fetch(emit=ignore).documents] == ["m.model.lkml"]


@pytest.mark.parametrize(
    "text",
    [
        "[" * 100_000,
        "- " * 50_000,
        "- dashboard: x\n  elements: &a [*a]\n  other: *a\n  more: *nothing",
        "a: &a [x, x, x]\n" + "\n".join(f"{n}: &{n} {{<<: [*a, *a]}}" for n in "bcdefghijklm"),
        '- dashboard: !!python/object/apply:os.system ["true"]',
        "- 5\n- text",
        "\t- dashboard: x",
        "- {title: no name}",
    ],
)
def test_a_hostile_dashboard_is_a_problem_with_a_sentence(text: str) -> None:
    began = time.process_time()
    with pytest.raises(DashboardError):
        parse_dashboards(text)
    assert time.process_time() - began < 10


def test_aliases_that_would_grow_without_end_are_walked_within_bounds(tmp_path: Path) -> None:
    bomb = "- dashboard: b\n  title: &a [x, x, x, x, x, x, x, x, x]\n" + "".join(
        f"  k{n}: &{name} [{', '.join(['*' + before] * 9)}]\n"
        for n, (before, name) in enumerate(zip("abcdefghi", "bcdefghij", strict=True))
    )
    (board,) = parse_dashboards(bomb + "  elements: *j\n")
    assert (board.title, board.tiles) == ("b", ())


def test_circles_everywhere_end_as_problems(tmp_path: Path) -> None:
    found = interpreted(
        tmp_path,
        {
            "m.model.lkml": """connection: "c"
            include: "m.model"
            include: "other.lkml"
            view: orders { dimension: a { sql: ${b} ;; } dimension: b { sql: ${a} ;; }
              measure: x { type: number sql: ${y} ;; } measure: y { type: number sql: ${x} + 1 ;; } }
            explore: e1 { extends: [e2] view_name: orders } explore: e2 { extends: [e1] view_name: orders }
            """,
            "other.lkml": 'include: "m.model.lkml"',
        },
    )
    assert {"dimension a of view orders", "measure x of view orders", "explore e1", "explore e2"} <= set(
        problems(found)
    )
    assert [one.measures for one in found.definitions] == [()]


def test_names_with_paths_and_markup_stay_names(tmp_path: Path) -> None:
    found = interpreted(
        tmp_path,
        {
            **model('explore: ../../etc { view_name: orders label: "[[x]] `{{y}}`" }', "view: orders {}"),
            "d/x.dashboard.lookml": "- dashboard: ../../../etc/passwd\n  title: x\n",
        },
    )
    for page in found.pages:
        assert "/" not in page.key
        assert ".." not in page.key
    assert len({page.key for page in found.pages}) == len(found.pages)


def test_the_same_files_give_the_same_value_in_any_order(tmp_path: Path) -> None:
    files = {
        **GOOD,
        "a.lkml": "explore: orders { join: users { sql_on: ${orders.id} = ${users.id} ;; } }",
        "users.view.lkml": 'view: users { dimension: id {} dimension: name { label: "N" } }',
        "z.lkml": "explore: z { view_name: orders join: users { sql_on: ${orders.id} = ${users.id} ;; } }",
    }
    one = interpreted(tmp_path / "1", files)
    other = interpreted(tmp_path / "2", dict(reversed(files.items())))
    assert one == other
    assert joins(one, "orders") == {"users": "many_to_one: orders.id = users.id"}


def test_a_snapshot_without_its_parsed_form_means_the_same(tmp_path: Path) -> None:
    from dataclasses import replace

    source, snapshot = read(tmp_path, GOOD)
    bare = replace(snapshot, documents=tuple(replace(one, data=None) for one in snapshot.documents))
    assert source.interpret(bare, []) == source.interpret(snapshot, [])


def test_a_large_project_is_read_in_reasonable_time(tmp_path: Path) -> None:
    fields = "\n".join(
        f"dimension: d{n} {{ type: number sql: ${{TABLE}}.amount + {n} ;; }} measure: m{n} {{ type: sum sql: ${{d{n}}} ;; }}"
        for n in range(25)
    )
    files = {
        f"views/v{n}.view.lkml": f"view: v{n} {{ sql_table_name: orders ;; dimension: id {{}} {fields} }}"
        for n in range(100)
    }
    files["m.model.lkml"] = 'connection: "c"\ninclude: "/views/*"'
    files["n.model.lkml"] = 'connection: "c"\ninclude: "/views/*"'
    began = time.process_time()
    found = interpreted(tmp_path, files)
    assert len(found.definitions) == 100
    assert sum(len(one.measures) for one in found.definitions) == 2500
    assert time.process_time() - began < 60
