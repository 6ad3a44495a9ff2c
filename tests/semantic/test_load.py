"""Files become a composed layer; each problem is a finding with its line, and never hides the rest."""

from pathlib import Path

from ktx.findings import Finding
from ktx.semantic.load import load_layer
from ktx.semantic.source import Layer
from semantic.layers import MANIFEST, layer_from


def codes(found: Layer) -> list[str]:
    return [finding.code for finding in found.findings]


def only(found: Layer, code: str) -> Finding:
    (finding,) = [finding for finding in found.findings if finding.code == code]
    return finding


def test_a_manifest_table_becomes_a_source_with_its_primary_key_as_grain(tmp_path: Path) -> None:
    found = layer_from(tmp_path, _schema__shop=MANIFEST)
    orders = found.sources["orders"]
    assert orders.grain == ("id",)
    assert orders.table == "shop.orders"
    assert [column.kind for column in orders.columns] == [
        "number",
        "number",
        "number",
        "number",
        "time",
        "string",
    ]
    assert orders.description == "Orders of the shop."
    assert found.findings == ()


def test_a_manifest_table_without_a_key_has_no_grain_at_all(tmp_path: Path) -> None:
    found = layer_from(
        tmp_path,
        _schema__a="""
            tables:
              log: {table: log, columns: [{name: at, type: time}, {name: text, type: string}]}
        """,
    )
    assert found.sources["log"].grain == ()


def test_implicit_measures_cover_what_adds_up_and_no_keys(tmp_path: Path) -> None:
    orders = layer_from(tmp_path, _schema__shop=MANIFEST).sources["orders"]
    assert [one.name for one in orders.measures] == ["row_count", "sum_amount", "avg_amount", "avg_tax_rate"]
    assert all(measure.is_implicit for measure in orders.measures)


def test_a_declared_measure_takes_the_name_of_an_implicit_one(tmp_path: Path) -> None:
    found = layer_from(
        tmp_path,
        _schema__shop=MANIFEST,
        orders="name: orders\nmeasures: [{name: row_count, expr: count(distinct id)}]\n",
    )
    (measure,) = [one for one in found.sources["orders"].measures if one.name == "row_count"]
    assert (measure.expr, measure.is_implicit) == ("count(distinct id)", False)


def test_an_overlay_adds_measures_and_joins_replaces_segments_and_merges_descriptions(tmp_path: Path) -> None:
    found = layer_from(
        tmp_path,
        _schema__shop=MANIFEST,
        orders="""
            name: orders
            descriptions: {user: What people bought.}
            measures:
              - {name: revenue, expr: sum(amount)}
            segments:
              - {name: large, expr: amount > 100}
            columns:
              - {name: net, type: number, expr: amount / (1 + tax_rate)}
            column_overrides:
              - {name: placed_at, descriptions: {user: Moment of the order.}}
              - {name: tax_rate, visibility: internal}
            exclude_columns: [secret]
            default_time_dimension: {dbt: placed_at}
            joins:
              - {to: customers, on: orders.id = customers.id, relationship: many_to_one, alias: twin}
        """,
    )
    assert found.findings == ()
    orders = found.sources["orders"]
    assert orders.descriptions == {
        "db": "orders table",
        "ai": "Orders of the shop.",
        "user": "What people bought.",
    }
    assert orders.description == "What people bought."
    placed_at = orders.column("placed_at")
    assert placed_at is not None
    assert placed_at.descriptions == {"db": "when", "user": "Moment of the order."}
    assert placed_at.kind == "time"
    tax_rate = orders.column("tax_rate")
    assert tax_rate is not None
    assert tax_rate.visibility == "internal"
    assert orders.column("secret") is None
    assert [join.name for join in orders.joins] == ["customers", "twin"]
    assert orders.default_time_dimension == "placed_at"
    net = orders.column("net")
    assert net is not None
    assert net.place.line == 9


def test_an_excluded_key_column_stays_for_joins_but_is_hidden(tmp_path: Path) -> None:
    found = layer_from(
        tmp_path, _schema__shop=MANIFEST, orders="name: orders\nexclude_columns: [customer_id, id]\n"
    )
    orders = found.sources["orders"]
    assert {one.name: one.visibility for one in orders.columns if one.name in {"id", "customer_id"}} == {
        "id": "hidden",
        "customer_id": "hidden",
    }


def test_disabling_a_manifest_join_takes_it_out_on_both_sides(tmp_path: Path) -> None:
    found = layer_from(
        tmp_path,
        _schema__shop=MANIFEST,
        orders="name: orders\ndisable_joins: ['orders.customer_id = customers.id']\n",
    )
    assert found.findings == ()
    assert found.sources["orders"].joins == ()
    assert found.sources["customers"].joins == ()


def test_a_disabled_join_that_does_not_exist_is_a_warning(tmp_path: Path) -> None:
    found = layer_from(
        tmp_path,
        _schema__shop=MANIFEST,
        orders="name: orders\ndisable_joins: ['orders.customer = customers.id']\n",
    )
    finding = only(found, "disabled-join-unknown")
    assert finding.level == "warning"
    assert finding.fix == "Did you mean `orders.customer_id = customers.id`?"


def test_on_is_a_plain_key_and_yes_is_text(tmp_path: Path) -> None:
    found = layer_from(
        tmp_path,
        a="""
            name: a
            table: t
            grain: [id]
            columns: [{name: id, type: number}, {name: yes, type: string}]
            joins:
              - to: a
                on: a.id = boss.id
                relationship: many_to_one
                alias: boss
        """,
    )
    assert found.findings == ()
    assert found.sources["a"].joins[0].on == "a.id = boss.id"
    assert [column.name for column in found.sources["a"].columns] == ["id", "yes"]


def test_an_unknown_key_names_the_nearest_one_with_file_and_line_at_every_level(tmp_path: Path) -> None:
    found = layer_from(
        tmp_path,
        a="""
            name: a
            table: t
            grian: [id]
            grain: [id]
            columns:
              - name: id
                tpye: number
            measures:
              - {name: n, expr: count(*), fliter: id > 1}
        """,
    )
    unknown = [finding for finding in found.findings if finding.code == "unknown-key"]
    assert [(one.where.line, one.fix) for one in unknown] == [
        (4, "Did you mean `grain`?"),
        (8, "Did you mean `type`?"),
        (10, "Did you mean `filter`?"),
    ]
    assert {one.where.file for one in unknown} == {"semantic-layer/wh/a.yaml"}
    assert "a" not in found.sources
    assert {one.code for one in found.broken["a"]} == {"unknown-key"}


def test_a_broken_file_does_not_hide_the_others(tmp_path: Path) -> None:
    found = layer_from(
        tmp_path,
        _schema__shop=MANIFEST,
        bad="name: bad\n  table: [x\n",
        worse="- just\n- a list\n",
    )
    assert sorted(found.sources) == ["customers", "orders"]
    assert sorted(codes(found)) == ["not-a-source", "yaml-invalid"]
    assert sorted(found.broken) == ["bad", "worse"]


def test_one_broken_table_does_not_hide_the_rest_of_its_shard(tmp_path: Path) -> None:
    found = layer_from(
        tmp_path,
        _schema__a="""
            tables:
              good: {table: good, columns: [{name: id, type: int8, pk: true}]}
              bad: {columns: [{name: id, type: int8}]}
        """,
    )
    assert list(found.sources) == ["good"]
    assert only(found, "missing-key").where.line == 4
    assert "bad" in found.broken


def test_a_broken_overlay_breaks_its_table_because_a_filter_may_be_missing(tmp_path: Path) -> None:
    found = layer_from(tmp_path, _schema__shop=MANIFEST, orders="name: orders\nexclude_colums: [secret]\n")
    assert list(found.sources) == ["customers"]
    assert "orders" in found.broken


def test_two_files_of_one_name_are_an_error_that_names_both(tmp_path: Path) -> None:
    text = "name: a\ntable: t\ngrain: [id]\ncolumns: [{name: id, type: number}]\n"
    found = layer_from(tmp_path, one=text, deep__two=text)
    finding = only(found, "duplicate-source")
    assert "semantic-layer/wh/deep/two.yaml" in finding.message
    assert "semantic-layer/wh/one.yaml" in finding.message
    assert found.sources == {}


def test_files_may_end_in_yml_and_lie_in_folders(tmp_path: Path) -> None:
    folder = tmp_path / "semantic-layer" / "wh" / "finance" / "eu"
    folder.mkdir(parents=True)
    (folder / "x.yml").write_text("name: a\ntable: t\ngrain: [id]\ncolumns: [{name: id}]\n", encoding="utf-8")
    assert list(load_layer(tmp_path / "semantic-layer", "wh").sources) == ["a"]


def test_a_connection_without_a_folder_has_an_empty_layer(tmp_path: Path) -> None:
    found = load_layer(tmp_path, "wh")
    assert (found.sources, found.findings) == ({}, ())


def test_an_overlay_without_a_table_is_left_out_with_a_warning(tmp_path: Path) -> None:
    found = layer_from(
        tmp_path, _schema__shop=MANIFEST, order="name: order\nmeasures: [{name: n, expr: count(*)}]\n"
    )
    finding = only(found, "overlay-without-table")
    assert (finding.level, finding.fix) == ("warning", "Did you mean `orders`?")
    assert "order" not in found.sources


def test_overlay_mistakes_are_named_one_by_one(tmp_path: Path) -> None:
    found = layer_from(
        tmp_path,
        _schema__shop=MANIFEST,
        orders="""
            name: orders
            columns:
              - {name: amount, expr: tax_rate * 2, type: number}
              - {name: half, type: number}
            column_overrides:
              - {name: amuont, descriptions: {user: typo}}
              - {name: secret, visibility: hidden}
            exclude_columns: [secret]
            grain: [order_id]
            measures:
              - {name: n, expr: count(*)}
              - {name: n, expr: count(id)}
        """,
    )
    assert sorted(codes(found)) == [
        "column-excluded-and-overridden",
        "computed-column-collides",
        "computed-column-without-expr",
        "duplicate-name",
        "grain-unknown-column",
        "override-unknown-column",
    ]
    assert only(found, "override-unknown-column").where.line == 7
    assert only(found, "duplicate-name").where.line == 13


def test_a_standalone_source_has_a_table_or_a_query_but_not_both(tmp_path: Path) -> None:
    found = layer_from(
        tmp_path,
        a="name: a\ntable: t\nsql: select 1 as id\ngrain: [id]\ncolumns: [{name: id, type: number}]\n",
        b="name: b\ntable: t\nexclude_columns: [x]\n",
    )
    assert sorted(codes(found)) == [
        "missing-key",
        "missing-key",
        "overlay-key-in-standalone",
        "table-and-sql",
    ]


def test_blank_column_facts_come_from_the_table_that_is_named(tmp_path: Path) -> None:
    found = layer_from(
        tmp_path,
        _schema__shop=MANIFEST,
        big="""
            name: big
            sql: select * from shop.orders where amount > 100
            inherits_columns_from: shop.orders
            grain: [id]
            columns:
              - name: id
              - name: placed_at
                descriptions: {user: mine}
              - {name: amount, type: string}
        """,
    )
    assert found.findings == ()
    columns = {column.name: column for column in found.sources["big"].columns}
    assert [columns[name].kind for name in ("id", "placed_at", "amount")] == ["number", "time", "string"]
    assert columns["placed_at"].descriptions == {"db": "when", "user": "mine"}


def test_blank_keys_say_nothing_and_are_no_error(tmp_path: Path) -> None:
    found = layer_from(
        tmp_path,
        a="name: a\ntable: t\ngrain: [id]\nmeasures:\njoins:\ncolumns:\n  - name: id\n    descriptions:\n",
    )
    assert found.findings == ()
    assert found.sources["a"].measures == ()


def test_describing_keys_of_other_tools_are_accepted(tmp_path: Path) -> None:
    found = layer_from(
        tmp_path,
        a="""
            name: a
            table: t
            source_type: table
            grain: [id]
            tags: {dbt: [finance, daily]}
            freshness: {dbt: {warn_after: {count: 12, period: hour}}}
            usage: {narrative: used daily, frequencyTier: high}
            columns:
              - name: id
                type: number
                natural_granularity: day
                constraints: {dbt: {not_null: true, unique: true}}
                enum_values: {dbt: [1, 2, "3"]}
                tests:
                  dbt: [{name: accepted_values, package: dbt, kwargs: {values: [1, 2]}}]
                  dbt_by_package: {dbt_utils: [x]}
        """,
    )
    assert found.findings == ()
    (column,) = found.sources["a"].columns
    assert column.enum_values == ("1", "2", "3")


def test_a_repeated_yaml_key_is_an_error_at_its_line(tmp_path: Path) -> None:
    found = layer_from(tmp_path, a="name: a\ntable: t\ntable: u\n")
    finding = only(found, "yaml-invalid")
    assert (finding.where.line, "`table` occurs twice" in finding.message) == (3, True)


def test_a_file_that_is_not_utf8_is_named(tmp_path: Path) -> None:
    folder = tmp_path / "semantic-layer" / "wh"
    folder.mkdir(parents=True)
    (folder / "a.yaml").write_bytes(b"name: caf\xe9\n")
    found = load_layer(tmp_path / "semantic-layer", "wh")
    assert codes(found) == ["not-utf8"]


def test_a_link_out_of_the_project_is_refused_with_a_finding(tmp_path: Path) -> None:
    folder = tmp_path / "project" / "semantic-layer" / "w"
    folder.mkdir(parents=True)
    (folder / "orders.yaml").write_text(
        "name: orders\ntable: shop.orders\ngrain: [id]\ncolumns: [{name: id, type: number}]\n"
    )
    (tmp_path / "far").mkdir()
    (tmp_path / "far" / "leaks.yaml").write_text("name: leaks\ntable: shop.leaks\n")
    (folder / "leaks.yaml").symlink_to(tmp_path / "far" / "leaks.yaml")
    (folder / "more").symlink_to(tmp_path / "far")
    layer = load_layer(folder.parent, "w")
    assert list(layer.sources) == ["orders"]
    assert [(one.code, one.where.file) for one in layer.findings] == [
        ("layer-link", "semantic-layer/w/leaks.yaml"),
        ("layer-link", "semantic-layer/w/more"),
    ]


def test_a_layer_that_is_itself_a_link_is_refused_as_a_whole(tmp_path: Path) -> None:
    layers = tmp_path / "project" / "semantic-layer"
    layers.mkdir(parents=True)
    (tmp_path / "far").mkdir()
    (tmp_path / "far" / "leaks.yaml").write_text("name: leaks\ntable: shop.leaks\n")
    (layers / "w").symlink_to(tmp_path / "far")
    layer = load_layer(layers, "w")
    assert not layer.sources
    assert [(one.code, one.where.file) for one in layer.findings] == [("layer-link", "semantic-layer/w")]
