"""Texts with and without a model: what lands, what is refused, what a second time costs."""

import sqlite3
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from ktx.errors import UsageError
from ktx.ingest.pipeline import ingest
from ktx.ingest.runs import open_runs
from ktx.ingest.texts import TextResult, ingest_texts
from ktx.project import Project, create_project, open_project
from ktx.sources.text.source import TextItem
from modelserver.replies import by_turn, call, calls, refusal, text
from modelserver.server import ModelServer

NO_MODEL = """\
connections:
  shop: {driver: sqlite, path: ../shop.sqlite}
"""
MODEL = (
    NO_MODEL
    + """\
llm:
  provider: {backend: anthropic, anthropic: {api_key: test-key, base_url: "URL"}}
  models: {default: claude-haiku-5-5}
ingest:
  rateLimit: {retry: {maxAttempts: 1}}
"""
)
NOTE = "Net revenue leaves refunded orders out. Refunded orders have the status `refunded`. Ask finance."
OVERLAY = """\
name: orders
measures:
  - name: net_revenue
    expr: sum(total)
    filter: status <> 'refunded'
    description: Revenue without refunded orders.
"""


def make_shop(folder: Path) -> None:
    connection = sqlite3.connect(folder / "shop.sqlite")
    connection.execute("CREATE TABLE orders (id INTEGER PRIMARY KEY, status TEXT, total REAL)")
    rows = [(n, "refunded" if n % 5 == 0 else "paid", n * 1.5) for n in range(1, 41)]
    connection.executemany("INSERT INTO orders VALUES (?, ?, ?)", rows)
    connection.commit()
    connection.close()


@pytest.fixture
def server() -> Iterator[ModelServer]:
    with ModelServer() as running:
        yield running


@pytest.fixture
def project(tmp_path: Path, server: ModelServer) -> Project:
    make_shop(tmp_path)
    made = create_project(tmp_path / "project", config_text=MODEL.replace("URL", server.url))
    ingest(made, ["shop"])
    return made


def item(content: str, name: str = "") -> TextItem:
    return TextItem(label=name or "text 1", content=content.encode(), name=name)


def told(project: Project, content: str, **options: object) -> TextResult:
    (result,) = ingest_texts(project, [item(content)], **options)  # type: ignore[arg-type]
    return result


def git(project: Project, *arguments: str) -> str:
    done = subprocess.run(["git", *arguments], cwd=project.root, capture_output=True, text=True, check=True)
    return done.stdout


def write_both(evidence: str = "") -> object:
    return by_turn(
        calls(
            ("search", {"query": "net revenue"}),
            ("read_source", {"connection_id": "shop", "name": "orders"}),
        ),
        calls(
            ("write_source", {"connection_id": "shop", "yaml": OVERLAY}),
            (
                "write_page",
                {
                    "key": "net-revenue",
                    "summary": "Net revenue leaves refunded orders out.",
                    "body": "# Net revenue\n\nUse `orders.net_revenue`.\n\n## Whom to ask\n\nFinance.\n",
                    "sl_refs": ["orders.net_revenue"],
                },
            ),
        ),
        text("One measure and one page."),
    )


def test_a_text_becomes_a_measure_and_a_page_in_one_commit_with_its_origin(
    project: Project, server: ModelServer
) -> None:
    server.script(write_both())

    result = told(project, NOTE)

    assert (result.status, result.wiki, result.sl) == ("done", ("net-revenue",), ("shop/orders.net_revenue",))
    overlay = (project.semantic_dir / "shop" / "orders.yaml").read_text()
    assert "measures.net_revenue: text model " in overlay
    page = (project.wiki_dir / "global" / "net-revenue.md").read_text()
    assert "section.Whom to ask: text model " in page
    message = git(project, "log", "-1", "--format=%B")
    assert f"Ktx-Run: {result.run_id}" in message
    assert "Ktx-Source: text" in message
    assert git(project, "status", "--porcelain") == ""


def test_the_same_text_again_asks_no_model_and_makes_no_commit(project: Project, server: ModelServer) -> None:
    server.script(write_both())
    told(project, NOTE)
    asked, head = len(server.requests), git(project, "rev-parse", "HEAD")

    result = told(project, NOTE)

    assert result.status == "done"
    assert len(server.requests) == asked
    assert git(project, "rev-parse", "HEAD") == head


def test_a_write_that_the_compiler_refuses_is_told_to_the_model_and_not_written(
    project: Project, server: ModelServer
) -> None:
    wrong = OVERLAY.replace("sum(total)", "sum(totl)")
    server.script(
        by_turn(
            call("write_source", connection_id="shop", yaml=wrong),
            call("write_source", connection_id="shop", yaml=OVERLAY),
            text("done"),
        )
    )

    result = told(project, NOTE)

    (complaint,) = server.requests[1].tool_results
    assert complaint["is_error"]
    assert "totl" in str(complaint["content"])
    assert result.sl == ("shop/orders.net_revenue",)


def test_what_a_person_wrote_is_refused_to_the_model_and_stays(project: Project, server: ModelServer) -> None:
    mine = "name: orders\nmeasures:\n  - name: net_revenue # ours\n    expr: sum(total) * 0.9\n"
    file = project.semantic_dir / "shop" / "orders.yaml"
    file.write_text(mine)
    server.script(by_turn(call("write_source", connection_id="shop", yaml=OVERLAY), text("left")))

    told(project, NOTE)

    (complaint,) = server.requests[1].tool_results
    assert "a person wrote it" in str(complaint["content"])
    assert file.read_text() == mine


def test_uncommitted_edits_of_a_person_stay_and_are_not_committed(
    project: Project, server: ModelServer
) -> None:
    server.script(write_both())
    told(project, NOTE)
    file = project.semantic_dir / "shop" / "orders.yaml"
    file.write_text(file.read_text() + "# a thought that is not finished\n")
    more = "name: orders\nmeasures:\n  - name: refunds\n    expr: count(*)\n    filter: status = 'refunded'\n"
    server.script(by_turn(call("write_source", connection_id="shop", yaml=more), text("done")))

    told(project, "Refunds are orders with the status refunded.")

    assert "# a thought that is not finished" in file.read_text()
    assert "name: refunds" in file.read_text()
    committed = git(project, "show", "HEAD:semantic-layer/shop/orders.yaml")
    assert "name: refunds" in committed
    assert "a thought" not in committed


def test_a_page_that_a_person_deleted_stays_away(project: Project, server: ModelServer) -> None:
    server.script(write_both())
    told(project, NOTE)
    page = project.wiki_dir / "global" / "net-revenue.md"
    page.unlink()

    told(project, NOTE)
    assert not page.exists()

    git(project, "commit", "-qam", "Take the page out")
    told(project, NOTE)
    assert not page.exists()


def test_a_model_that_declines_is_named_and_lands_nothing(project: Project, server: ModelServer) -> None:
    server.script(lambda _: refusal("I will not."))

    result = told(project, NOTE)

    assert result.status == "error"
    assert "declined" in (result.error or "")
    assert result.exit_code == 3


def test_without_a_model_a_text_becomes_a_page_as_it_is(tmp_path: Path) -> None:
    make_shop(tmp_path)
    project = create_project(tmp_path / "project", config_text=NO_MODEL)

    (result,) = ingest_texts(project, [item("# Refunds\n\nTaken off at once.\n", "refund-policy.md")])

    assert result.wiki == ("refund-policy",)
    page = (project.wiki_dir / "global" / "refund-policy.md").read_text()
    assert "Taken off at once." in page
    assert git(project, "status", "--porcelain") == ""


def test_verbatim_keeps_the_text_and_refuses_another_of_the_same_key(
    project: Project, server: ModelServer
) -> None:
    first = [item("# Refunds\n\nTaken off at once.\n", "refunds.md")]
    (result,) = ingest_texts(project, first, is_verbatim=True)
    assert result.wiki == ("refunds",)
    (again,) = ingest_texts(project, first, is_verbatim=True)
    assert (again.status, again.commit) == ("done", None)

    (other,) = ingest_texts(project, [item("# Refunds\n\nNever.\n", "refunds.md")], is_verbatim=True)

    assert other.status == "error"
    assert "`refunds` is there already" in (other.error or "")
    assert server.requests == []


def test_a_users_own_text_goes_to_the_users_pages(project: Project) -> None:
    (result,) = ingest_texts(
        project, [item("# Mine\n\nA private note.\n", "mine.md")], user_id="ana", is_verbatim=True
    )

    assert result.status == "done"
    assert (project.wiki_dir / "user" / "ana" / "mine.md").is_file()
    with pytest.raises(UsageError, match="cannot name a user"):
        ingest_texts(project, [item("x")], user_id="../ana")


def test_a_run_is_remembered_with_its_units_and_calls(project: Project, server: ModelServer) -> None:
    server.script(write_both())
    result = told(project, NOTE)

    with open_runs(project.state_dir) as store:
        run = store.run(result.run_id or "")

    assert run is not None
    assert (run.status, run.source, run.commit) == ("done", "text", result.commit)
    units = run.body["units"]
    assert isinstance(units, list)
    tools = [call["tool"] for call in units[0]["calls"]]  # type: ignore[index, call-overload, union-attr]
    assert sorted(tools[:2]) == ["read_source", "search"]  # these run at the same time
    assert tools[2:] == ["write_source", "write_page"]
    reopened = open_project(project.root)
    assert reopened.root == project.root
