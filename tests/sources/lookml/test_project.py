"""How files hang together: includes, constants, refinements, extends, several models."""

from pathlib import Path

import pytest

from ktx.sources.lookml.project import include_pattern
from sources.lookml.projects import definition, detail, interpreted, measures, problems, read

ORDERS = "view: orders { dimension: id { primary_key: yes type: number } measure: count { type: count } }"


@pytest.mark.parametrize(
    ("include", "folder", "path", "is_match"),
    [
        ("/views/*.view", "models", "views/orders.view.lkml", True),
        ("/views/*.view", "models", "views/deep/orders.view.lkml", False),
        ("/views/**/*.view", "models", "views/a/b/orders.view.lkml", True),
        ("/views/**/*.view", "models", "views/orders.view.lkml", True),
        ("/**/*.view.lkml", "models", "orders.view.lkml", True),
        ("orders.view", "models", "models/orders.view.lkml", True),
        ("../views/orders.view.lkml", "models", "views/orders.view.lkml", True),
        ("../../../etc/*", "models", "etc/passwd.lkml", False),
        ("*.view.lkml", "", "orders.view.lkml", True),
        ("*", "", "orders.explore.lkml", True),
        ("/ord?rs.view", "", "orders.view.lookml", True),
    ],
)
def test_an_include_matches_as_lookers_do(include: str, folder: str, path: str, is_match: bool) -> None:
    assert (include_pattern(include, folder=folder).fullmatch(path) is not None) is is_match


def test_explores_and_refinements_in_plain_files_are_read(tmp_path: Path) -> None:
    found = interpreted(
        tmp_path,
        {
            "m.model.lkml": 'include: "/anything/**/*.lkml"\nconnection: "c"',
            "anything/a.lkml": ORDERS,
            "anything/b.lkml": "view: +orders { measure: total { type: sum sql: ${TABLE}.amount ;; } }",
            "anything/deep/c.lkml": 'explore: orders { description: "All of it." }',
        },
    )
    assert measures(found, "orders") == {"count": "COUNT(*)", "total": "SUM(amount)"}
    assert definition(found, "orders").evidence == ("anything/a.lkml", "anything/b.lkml")
    assert [page.key for page in found.pages] == ["looker-explore-m-orders"]


def test_refinements_count_in_the_order_of_their_includes(tmp_path: Path) -> None:
    files = {
        "orders.view.lkml": ORDERS,
        "a.lkml": 'view: +orders { measure: count { label: "First" } }',
        "b.lkml": 'view: +orders { measure: count { label: "Second" } }',
    }
    head = 'connection: "c"\ninclude: "orders.view"\n'
    for order, label in ((("a", "b"), "Second"), (("b", "a"), "First")):
        includes = "".join(f'include: "{name}.lkml"\n' for name in order)
        found = interpreted(tmp_path / label, {**files, "m.model.lkml": head + includes})
        assert definition(found, "orders").measures[0].description == label


def test_a_refinement_without_its_base_is_reported(tmp_path: Path) -> None:
    found = interpreted(
        tmp_path, {"m.model.lkml": 'connection: "c"\nview: +orders { measure: count { type: count } }'}
    )
    assert problems(found) == {"view +orders": "unresolved_reference"}


def test_extends_merge_deeply_and_in_chains(tmp_path: Path) -> None:
    found = interpreted(
        tmp_path,
        {
            "m.model.lkml": """connection: "c"
            view: ids { extension: required
              dimension: id { primary_key: yes type: number description: "The number." }
              measure: count { type: count description: "How many." } }
            view: money { extension: required measure: total { type: sum sql: ${TABLE}.amount ;; } }
            view: base { extends: [ids, money] sql_table_name: orders ;; measure: count { label: "Rows" } }
            view: paid { extends: [base] measure: count { filters: [status: "paid"] } dimension: status {} }
            view: lost { extends: [nowhere] sql_table_name: orders ;; measure: count { type: count } }
            view: round { extends: [circle] sql_table_name: orders ;; measure: count { type: count } }
            view: circle { extends: [round] extension: required }
            """
        },
    )
    assert [one.name for one in found.definitions] == ["base", "lost", "paid", "round"]
    assert measures(found, "paid") == {"count": "COUNT(*) where status = 'paid'", "total": "SUM(amount)"}
    assert definition(found, "paid").measures[0].description == "Rows: How many."
    assert definition(found, "paid").grain == ("id",)
    assert problems(found) == {"view lost": "unresolved_reference", "view round": "unresolved_reference"}


def test_a_child_with_a_table_of_its_own_leaves_the_parents_derived_table(tmp_path: Path) -> None:
    found = interpreted(
        tmp_path,
        {
            "m.model.lkml": """connection: "c"
            view: a { derived_table: { sql: SELECT id FROM orders ;; } dimension: id {} }
            view: b { extends: [a] sql_table_name: users ;; }
            view: c { extends: [b] derived_table: { sql: SELECT id FROM items ;; } }
            """
        },
    )
    assert [one.sql for one in found.definitions] == ["SELECT id FROM orders", None, "SELECT id FROM items"]


def test_constants_are_put_in_and_an_unknown_one_is_reported(tmp_path: Path) -> None:
    found = interpreted(
        tmp_path,
        {
            "manifest.lkml": 'constant: T { value: "orders" }\nconstant: S { value: "a \\"b\\"" }',
            "m.model.lkml": """connection: "c"
            view: orders { sql_table_name: @{T} ;; dimension: status {} measure: s { type: count filters: [status: "@{T}"] } }
            view: other { sql_table_name: @{NOPE}.users ;; }
            """,
        },
    )
    assert measures(found, "orders") == {"s": "COUNT(*) where status = 'orders'"}
    assert problems(found) == {"view other": "looker_template_unresolved"}
    assert (
        detail(found, "view other")
        == "Its `sql_table_name` uses a constant that the manifest does not define."
    )


def test_other_projects_are_noted(tmp_path: Path) -> None:
    files = {
        "manifest.lkml": 'local_dependency: { project: "blocks" }\nremote_dependency: far { url: "x" ref: "y" }',
        "m.model.lkml": f'connection: "c"\ninclude: "//blocks/views/*.view"\n{ORDERS}',
    }
    _, snapshot = read(tmp_path, files)
    assert snapshot.notes == (
        "The project builds on another project, `blocks`, which is not read.",
        "The project builds on another project, `far`, which is not read.",
    )
    assert problems(interpreted(tmp_path, files)) == {"include //blocks/views/*.view": "unresolved_reference"}


def test_a_model_of_another_looker_connection_gives_pages_only(tmp_path: Path) -> None:
    files = {
        "a.model.lkml": f'connection: "mine"\n{ORDERS}\nexplore: orders {{}}',
        "b.model.lkml": 'connection: "theirs"\nview: users { dimension: id {} }\nexplore: users { description: "People." }',
    }
    found = interpreted(tmp_path, files, expected_looker_connection_name="mine")
    assert [one.name for one in found.definitions] == ["orders"]
    assert problems(found) == {"model b": "no_connection_mapping"}
    assert {unit.key: unit.connection_ids for unit in found.units} == {"lookml-a": ("wh",), "lookml-b": ()}
    assert [(page.key, page.definitions, page.connections) for page in found.pages] == [
        ("looker-explore-b-users", (), ())
    ]
    _, snapshot = read(tmp_path, files, expected_looker_connection_name="mine")
    assert snapshot.notes == ("The model `b` uses the Looker connection `theirs`, not `mine`: pages only.",)


def test_the_connection_may_come_from_an_included_file_or_a_constant(tmp_path: Path) -> None:
    found = interpreted(
        tmp_path,
        {
            "manifest.lkml": 'constant: C { value: "mine" }',
            "m.model.lkml": f'include: "shared.lkml"\n{ORDERS}',
            "shared.lkml": 'connection: "@{C}"',
        },
        expected_looker_connection_name="mine",
    )
    assert [one.name for one in found.definitions] == ["orders"]


def test_one_view_in_two_models_is_one_definition_and_two_meanings_are_two(tmp_path: Path) -> None:
    files = {
        "orders.view.lkml": ORDERS,
        "a.model.lkml": 'connection: "c"\ninclude: "orders.view"',
        "b.model.lkml": 'connection: "c"\ninclude: "orders.view"',
        "c.model.lkml": 'connection: "c"\ninclude: "orders.view"\nview: +orders { measure: more { type: count } }',
    }
    found = interpreted(tmp_path, files)
    assert {one.name: len(one.measures) for one in found.definitions} == {"orders": 1, "orders__c": 2}


def test_files_that_no_model_includes_are_reported_and_a_project_without_models_is_read_whole(
    tmp_path: Path,
) -> None:
    found = interpreted(tmp_path / "a", {"m.model.lkml": 'connection: "c"', "views/orders.view.lkml": ORDERS})
    assert problems(found) == {"view orders": "unresolved_reference"}
    assert found.definitions == ()
    loose = interpreted(
        tmp_path / "b", {"views/orders.view.lkml": ORDERS}, expected_looker_connection_name="mine"
    )
    assert [one.name for one in loose.definitions] == ["orders"]


def test_a_large_model_is_worked_on_in_pieces_that_a_change_elsewhere_leaves_alone(tmp_path: Path) -> None:
    view = "view: v{n} {{ sql_table_name: orders ;; dimension: id {{}} # {pad}\n }}"
    files = {"m.model.lkml": 'connection: "c"\ninclude: "views/*"'}
    files |= {f"views/v{n}.view.lkml": view.format(n=n, pad="x" * 15_000) for n in range(6)}
    before = interpreted(tmp_path, files).units
    assert [unit.key for unit in before] == ["lookml-m", *[unit.key for unit in before[1:]]]
    assert len(before) == 3
    assert sorted(path for unit in before for path in unit.documents) == sorted(files)
    assert before[1].context == ("m.model.lkml",)
    files["views/v5.view.lkml"] = view.format(n="changed", pad="y" * 15_000)
    after = interpreted(tmp_path, files).units
    assert after[:2] == before[:2]
    assert after[2] != before[2]


def test_a_name_that_one_model_declares_twice_is_reported(tmp_path: Path) -> None:
    files = {
        "m.model.lkml": f'connection: "c"\ninclude: "more.lkml"\n{ORDERS}',
        "more.lkml": "view: orders {}",
    }
    found = interpreted(tmp_path, files)
    assert detail(found, "view orders") == "It is declared more than once in one model; the last counts."
    assert measures(found, "orders") == {"count": "COUNT(*)"}
