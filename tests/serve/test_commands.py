"""The commands that ask: exit codes, what is on stdout, what is on stderr."""

import json
from pathlib import Path

import pytest

from ktx.cli.run import run
from serve.projects import make_shop, write_page


@pytest.fixture
def shop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(make_shop(tmp_path))
    return tmp_path


def ask(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    code = run(arguments)
    out, err = capsys.readouterr()
    return code, out, err


def test_a_question_from_a_file_gives_one_object_with_headers_and_rows(
    shop: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    question = {
        "measures": ["orders.revenue", "items.units"],
        "dimensions": ["customers.country"],
        "order_by": [{"field": "revenue", "direction": "desc"}],
    }
    (shop / "q.json").write_text(json.dumps(question))
    code, out, err = ask(
        capsys, "sl", "query", "--connection-id", "warehouse", "--query-file", "q.json", "--execute", "--json"
    )
    answer = json.loads(out)
    assert (code, err) == (0, "")
    assert answer["headers"] == ["country", "revenue", "units"]
    assert answer["rows"] == [["DE", 30.5, 4], ["CH", 30.25, 6], [None, 5, None], ["FR", None, None]]
    assert answer["connectionId"] == "warehouse"
    assert "SELECT" in answer["sql"]
    assert not (shop / ".ktx" / "index.sqlite").exists()


def test_a_project_that_cannot_be_written_is_answered_all_the_same(
    shop: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (shop / ".ktx").write_text("a file where the folder would be")
    code, out, _ = ask(capsys, "sl", "query", "--measure", "orders.revenue", "--execute", "--json")
    assert (code, json.loads(out)["rows"]) == (0, [[65.75]])
    code, out, err = ask(capsys, "wiki", "revenue")
    assert (code, out) == (2, "")
    assert "`.ktx`" in err


def test_options_ask_the_same_as_a_file(shop: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = ask(
        capsys, "sl", "query", "--measure", "orders.revenue", "--dimension", "orders.created:month", "--segment", "orders.paid",
        "--filter", "orders.amount > 5", "--order-by", "revenue:desc", "--json",
    )  # fmt: skip
    assert code == 0
    assert json.loads(out)["rows"] == [["2024-02-01T00:00:00", 20], ["2024-01-01T00:00:00", 10.25]]


def test_a_refusal_exits_1_with_the_reason_on_stderr_and_as_data(
    shop: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code, out, err = ask(capsys, "sl", "query", "--measure", "orders.revenu", "--execute", "--json")
    assert code == 1
    assert "Did you mean `revenue`?" in json.loads(out)["error"]["message"]
    assert err.startswith("error: ")
    code, out, err = ask(capsys, "sl", "query", "--measure", "orders.revenu")
    assert (code, out) == (1, "")


def test_a_hidden_column_cannot_be_asked_for(shop: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for field in ("orders.card_number", "card_number"):
        code, out, _ = ask(capsys, "sl", "query", "--measure", "orders.revenue", "--dimension", field)
        assert (code, out) == (1, "")


def test_a_database_failure_exits_3(shop: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (shop / "shop.duckdb").write_bytes(b"this was a database once" * 1000)
    code, out, err = ask(capsys, "sl", "query", "--measure", "orders.revenue", "--execute", "--json")
    assert code == 3
    assert "error" in json.loads(out)
    assert "Traceback" not in err


@pytest.mark.parametrize("text", ["[1]", "measures: [orders.revenue", "{", "", "null"])
def test_a_question_file_that_is_no_question_is_a_usage_error(
    shop: Path, capsys: pytest.CaptureFixture[str], text: str
) -> None:
    (shop / "q").write_text(text)
    code, out, err = ask(capsys, "sl", "query", "--query-file", "q", "--json")
    assert code == 2
    assert "question" in json.loads(out)["error"]["message"]
    assert "Traceback" not in err


def test_sql_format_compiles_without_a_database(shop: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (shop / "shop.duckdb").unlink()
    code, out, _ = ask(capsys, "sl", "query", "--measure", "orders.revenue", "--format", "sql")
    assert code == 0
    assert out.startswith("SELECT")


def test_a_cut_by_max_rows_is_said(shop: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = (
        "sl",
        "query",
        "--dimension",
        "customers.country",
        "--measure",
        "orders.order_count",
        "--max-rows",
        "1",
    )
    code, out, _ = ask(capsys, *arguments, "--json")
    answer = json.loads(out)
    assert (code, len(answer["rows"])) == (0, 1)
    assert "Only the first 1 rows" in answer["warnings"][0]


def test_explain_tells_the_way_and_runs_nothing(shop: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (shop / "shop.duckdb").unlink()
    code, out, _ = ask(
        capsys, "sl", "query", "--measure", "items.units", "--dimension", "customers.country", "--explain"
    )
    assert code == 0
    assert "items" in out
    assert "customers" in out


def test_with_several_warehouses_one_must_be_named(shop: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with (shop / "ktx.yaml").open("a") as config:
        config.write("  other: {driver: sqlite, path: other.db}\n")
    code, _, err = ask(capsys, "sl", "query", "--measure", "orders.revenue")
    assert code == 2
    assert "`other`" in err
    assert "`warehouse`" in err
    code, _, err = ask(capsys, "sl", "query", "-c", "warehous", "--measure", "orders.revenue")
    assert code == 2
    assert "Did you mean `warehouse`?" in err


def test_sources_are_listed_found_and_read(shop: Path, capsys: pytest.CaptureFixture[str]) -> None:
    _, out, _ = ask(capsys, "sl", "--json")
    assert [one["name"] for one in json.loads(out)["results"]] == ["customers", "items", "orders"]
    _, out, _ = ask(capsys, "sl", "where", "do", "customers", "live", "--json")
    assert json.loads(out)["results"][0]["name"] == "customers"
    code, out, _ = ask(capsys, "sl", "read", "orders")
    assert code == 0
    assert "sum(amount)" in out
    assert "card_number" not in out
    code, _, err = ask(capsys, "sl", "read", "order")
    assert code == 1
    assert "Did you mean `orders`?" in err


def test_validate_names_what_is_wrong_and_exits_1(shop: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert ask(capsys, "sl", "validate")[0] == 0
    layer = shop / "semantic-layer" / "warehouse"
    (layer / "items.yaml").write_text((layer / "items.yaml").read_text().replace("to: orders", "to: ordrs"))
    code, out, _ = ask(capsys, "sl", "validate", "--json")
    answer = json.loads(out)
    assert (code, answer["ok"]) == (1, False)
    assert [one["file"] for one in answer["findings"] if one["level"] == "error"] == [
        "semantic-layer/warehouse/items.yaml"
    ]
    assert ask(capsys, "sl", "validate", "customers")[0] == 0


def test_sql_runs_reads_and_refuses_writes(shop: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = ask(
        capsys,
        "sql",
        "-c",
        "warehouse",
        "select id, amount from orders order by id",
        "--max-rows",
        "2",
        "--json",
    )
    answer = json.loads(out)
    assert (code, answer["rows"], answer["rowCount"], answer["isTruncated"]) == (
        0,
        [[1, 10.25], [2, 20]],
        2,
        True,
    )
    code, out, err = ask(capsys, "sql", "delete from orders")
    assert (code, out) == (1, "")
    assert "refused" in err
    assert ask(capsys, "sql", "select 1", "--max-rows", "0")[0] == 2


def test_a_connection_for_questions_only_runs_no_sql(shop: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (shop / "ktx.yaml").write_text(
        "connections:\n  warehouse: {driver: duckdb, path: shop.duckdb, query_policy: semantic-layer-only}\n"
    )
    code, out, err = ask(capsys, "sql", "select 1")
    assert (code, out) == (1, "")
    assert "semantic questions only" in err
    assert ask(capsys, "sl", "query", "--measure", "orders.revenue")[0] == 0


def test_pages_are_listed_found_and_read(shop: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_page(
        shop, "revenue-rule", "What counts as revenue", body="Only paid orders.", head="sort_order: 2\n"
    )
    write_page(shop, "first", "Read this first", head="sort_order: 1\n")
    write_page(shop, "revenue-rule", "Ana's own rule", place="user/ana")
    _, out, _ = ask(capsys, "wiki", "--json")
    assert [one["key"] for one in json.loads(out)["results"]] == ["first", "revenue-rule"]
    _, out, _ = ask(capsys, "wiki", "paid", "orders", "--json")
    found = json.loads(out)
    assert [one["key"] for one in found["results"]] == ["revenue-rule"]
    assert found["results"][0]["snippet"] == "Only paid orders."
    _, out, _ = ask(capsys, "wiki", "read", "revenue-rule", "--user-id", "ana", "--json")
    assert json.loads(out)["scope"] == "user"
    code, _, err = ask(capsys, "wiki", "read", "../../etc/passwd")
    assert code == 2
    assert "not a page key" in err


def test_reindex_says_what_it_did(shop: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = ask(capsys, "admin", "reindex", "--json")
    assert (code, json.loads(out)["added"]) == (0, 3)
    _, out, _ = ask(capsys, "admin", "reindex", "--json")
    assert (json.loads(out)["added"], json.loads(out)["unchanged"]) == (0, 3)
    _, out, _ = ask(capsys, "admin", "reindex", "--force", "--json")
    assert json.loads(out)["added"] == 3
