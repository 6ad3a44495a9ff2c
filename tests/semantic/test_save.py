"""Writing sources: stable files, small diffs, comments that stay."""

from pathlib import Path
from textwrap import dedent

import pytest

from ktx.errors import LayerError
from ktx.semantic.load import load_layer
from ktx.semantic.save import edit_source, render_source, save_source
from ktx.yaml import parse_yaml
from semantic.layers import write_layer

TEXT = dedent("""\
    # What the shop sells.
    name: orders
    measures:
      - name: revenue   # net of tax
        expr: "sum(amount)"
        filter: status = 'paid' and a_rather_long_column_name_that_goes_on > 1000 and another_long_one < 5 and more = 3
      # counted by the finance team
      - {name: n, expr: count(*)}
    segments:
      - name: big
        expr: amount > 100
    """)


def test_a_new_file_has_its_keys_in_documented_order_and_reads_back_equal(tmp_path: Path) -> None:
    data: dict[str, object] = {
        "joins": [{"relationship": "many_to_one", "on": "a.x = b.y", "to": "b"}],
        "columns": [{"type": "number", "name": "id"}],
        "grain": ["id"],
        "table": "t",
        "measures": [],
        "name": "a",
    }
    text = render_source(data)
    assert list(parse_yaml(text)) == ["name", "table", "grain", "columns", "joins"]  # type: ignore[call-overload]
    assert load_layer(write_layer(tmp_path, a=text), "wh").sources["a"].joins[0].on == "a.x = b.y"
    assert render_source(data) == text


def test_an_edit_changes_only_its_own_lines(tmp_path: Path) -> None:
    data = parse_yaml(TEXT)
    assert isinstance(data, dict)
    data["measures"][0]["expr"] = "sum(net)"
    data["measures"].append({"name": "biggest", "expr": "max(amount)"})
    after = edit_source(TEXT, data)
    assert after == TEXT.replace("sum(amount)", "sum(net)").replace(
        "count(*)}\n", "count(*)}\n  - name: biggest\n    expr: max(amount)\n"
    )


def test_removing_an_entry_keeps_the_comments_of_the_others() -> None:
    data = parse_yaml(TEXT)
    assert isinstance(data, dict)
    del data["segments"]
    del data["measures"][1]
    after = edit_source(TEXT, data)
    assert "# What the shop sells." in after
    assert "# net of tax" in after
    assert parse_yaml(after) == data


def test_a_file_that_already_says_so_is_returned_as_it_is() -> None:
    odd = "name:   orders\nmeasures: [ {name: n,   expr: count(*)} ]\n"
    data = parse_yaml(odd)
    assert isinstance(data, dict)
    assert edit_source(odd, data) == odd


def test_lists_without_indent_stay_without_indent() -> None:
    text = "name: orders\nmeasures:\n- name: n\n  expr: count(*)\n"
    data = parse_yaml(text)
    assert isinstance(data, dict)
    data["measures"].append({"name": "m", "expr": "count(id)"})
    assert edit_source(text, data) == text + "- name: m\n  expr: count(id)\n"


def test_saving_edits_the_file_that_holds_the_name_wherever_it_lies(tmp_path: Path) -> None:
    folder = (
        write_layer(tmp_path, finance__mine="# mine\nname: orders\nmeasures: [{name: n, expr: count(*)}]\n")
        / "wh"
    )
    path, changed = save_source(folder, {"name": "orders", "measures": [{"name": "n", "expr": "count(id)"}]})
    assert (path.relative_to(folder).as_posix(), changed) == ("finance/mine.yaml", True)
    assert path.read_text() == "# mine\nname: orders\nmeasures: [{name: n, expr: count(id)}]\n"
    assert save_source(folder, {"name": "orders", "measures": [{"name": "n", "expr": "count(id)"}]}) == (
        path,
        False,
    )


def test_a_new_source_gets_a_file_by_the_naming_rule(tmp_path: Path) -> None:
    plain, _ = save_source(tmp_path, {"name": "orders", "measures": [{"name": "n", "expr": "count(*)"}]})
    odd, _ = save_source(tmp_path, {"name": "Order Items", "measures": [{"name": "n", "expr": "count(*)"}]})
    assert (plain.name, odd.name) == ("orders.yaml", "order-items-dbc868c6.yaml")


def test_data_that_is_no_source_is_refused_with_every_problem_named(tmp_path: Path) -> None:
    with pytest.raises(LayerError) as caught:
        save_source(tmp_path, {"name": "a", "tabel": "t", "measures": [{"name": "n"}]})
    assert {finding.code for finding in caught.value.findings} == {"unknown-key", "missing-key"}
    assert list(tmp_path.iterdir()) == []
