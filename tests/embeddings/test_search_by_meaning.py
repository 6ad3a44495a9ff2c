"""Search by meaning through the doors that people use: the command line and the desk, with a real server or a small local model."""

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from ktx.embeddings.cache import model_dir
from ktx.project import open_project
from ktx.search.index import open_index
from ktx.search.lanes import Question, Scope
from ktx.search.meaning import DURING_A_SEARCH
from ktx.serve.answers import LaneStatus
from ktx.serve.desk import Desk
from ktx.serve.reindex import reindex
from ktx.serve.wiki import wiki_search
from ktx.status.run import run_checks
from tinymodel import bert as tiny
from tinymodel.server import EmbeddingsServer, embeddings_server, vector


@pytest.fixture
def server() -> Iterator[EmbeddingsServer]:
    with embeddings_server() as told:
        yield told


def page(root: Path, key: str, summary: str, head: str = "") -> None:
    path = root / "wiki" / "global" / f"{key}.md"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"---\nsummary: {summary}\n{head}---\n", encoding="utf-8")


def make(root: Path, embeddings: str) -> Path:
    (root / "ktx.yaml").write_text(
        f"connections:\n  w: {{driver: sqlite, path: w.db}}\ningest:\n  embeddings: {embeddings}\n"
    )
    page(root, "loss", "customers who cancelled")
    page(root, "turnover", "revenue before returns")
    return root


def remote(root: Path, server: EmbeddingsServer, model: str = "m") -> Path:
    key = root / "key.txt"
    key.write_text("secret-key\n")
    access = f"{{api_key: 'file:key.txt', base_url: '{server.address}'}}"
    return make(root, f"{{backend: openai, model: {model}, openai: {access}}}")


def keys(desk: Desk, query: str) -> list[str]:
    return [hit.key for hit in wiki_search(desk, query).results]


def meaning(desk: Desk, query: str) -> LaneStatus:
    return next(lane for lane in wiki_search(desk, query).lanes or () if lane.lane == "semantic")


def test_a_page_is_found_by_other_words_and_says_by_which_lane(
    tmp_path: Path, server: EmbeddingsServer
) -> None:
    with Desk(project=open_project(remote(tmp_path, server))) as desk:
        reindex(desk)
        found = wiki_search(desk, "churn")
        assert [(hit.key, hit.match_reasons) for hit in found.results] == [("loss", ["semantic"])]
        assert (meaning(desk, "churn").status, meaning(desk, "churn").reason) == ("ok", None)


def test_a_question_sends_itself_and_nothing_else(tmp_path: Path, server: EmbeddingsServer) -> None:
    with Desk(project=open_project(remote(tmp_path, server))) as desk:
        reindex(desk)
        before = len(server.batches)
        keys(desk, "churn")
        keys(desk, "churn")
        assert server.batches[before:] == [["churn"]]


def test_nothing_is_computed_twice_for_the_same_text(tmp_path: Path, server: EmbeddingsServer) -> None:
    with Desk(project=open_project(remote(tmp_path, server))) as desk:
        assert reindex(desk).vectors.computed == 2
        page(tmp_path, "more", "earnings")
        assert reindex(desk, force=True).vectors.computed == 1
        (tmp_path / "wiki" / "global" / "more.md").unlink()
        assert reindex(desk).vectors.computed == 0
        assert sorted(text for batch in server.batches for text in batch)[1:] == [
            "more. earnings",
            "turnover. revenue before returns",
        ]


def test_another_model_has_vectors_of_its_own_and_the_old_ones_go(
    tmp_path: Path, server: EmbeddingsServer
) -> None:
    with Desk(project=open_project(remote(tmp_path, server))) as desk:
        reindex(desk)
    server.dimensions = 48
    with Desk(project=open_project(remote(tmp_path, server, model="other"))) as desk:
        assert "No text has a vector" in (meaning(desk, "churn").reason or "")
        assert reindex(desk).vectors.computed == 2
        assert keys(desk, "churn") == ["loss"]
    with open_index(tmp_path / ".ktx" / "index.sqlite") as index:
        sizes = index.connection.execute("SELECT DISTINCT length(data) FROM vector").fetchall()
        assert sizes == [(96,)]


def test_a_few_new_pages_are_caught_up_before_a_search_and_many_are_counted(
    tmp_path: Path, server: EmbeddingsServer
) -> None:
    with Desk(project=open_project(remote(tmp_path, server)), recheck_s=0) as desk:
        reindex(desk)
        page(tmp_path, "gain", "sales")
        assert set(keys(desk, "earnings")) == {"gain", "turnover"}
        for number in range(DURING_A_SEARCH + 1):
            page(tmp_path, f"p{number}", f"page {number}")
        assert meaning(desk, "earnings").reason == (
            f"{DURING_A_SEARCH + 1} texts have no vector yet; `ktx admin reindex` computes them"
        )


def test_a_server_that_fails_leaves_the_other_lanes_their_answer(
    tmp_path: Path, server: EmbeddingsServer
) -> None:
    with Desk(project=open_project(remote(tmp_path, server))) as desk:
        reindex(desk)
        server.key = "changed"
        assert keys(desk, "cancelled customers") == ["loss"]
        lane = meaning(desk, "cancelled customers")
        assert lane.status == "skipped"
        assert "refused the key" in (lane.reason or "")


def test_an_interrupted_reindex_goes_on_where_it_stopped(tmp_path: Path, server: EmbeddingsServer) -> None:
    root = remote(tmp_path, server)
    for number in range(700):
        page(root, f"p{number}", f"page number {number}")
    with Desk(project=open_project(root)) as desk:

        class Failing(list[list[str]]):
            def append(self, batch: list[str]) -> None:
                super().append(batch)
                if sum(map(len, self)) > 512:
                    server.key = "changed"

        server.batches = Failing()
        with pytest.raises(Exception, match="refused the key"):
            reindex(desk)
        server.key, server.batches = "secret-key", []
        assert reindex(desk).vectors.computed == 702 - 512


def test_filters_hold_for_meaning_as_for_words(tmp_path: Path, server: EmbeddingsServer) -> None:
    root = remote(tmp_path, server)
    page(root, "never-found", "churn", head="usage_mode: never\n")
    page(root, "elsewhere", "churn", head="connections: other\n")
    for number in range(120):
        page(root, f"far{number}", f"churn of kind {number}", head="connections: other\n")
    with Desk(project=open_project(root)) as desk:
        reindex(desk)
        with desk.searching() as index:
            lane = next(lane for lane in desk.lanes() if lane.name == "semantic")
            asked = Question(text="churn", terms=("churn",))
            before = index.connection.total_changes
            ids = [
                one.id for one in lane.find(index, asked, Scope(kinds=("wiki",), connection_id="w"), pool=5)
            ]
            marks = ",".join("?" * len(ids))
            found = index.connection.execute(
                f"SELECT ref FROM document WHERE id IN ({marks})", ids
            ).fetchall()
            assert found == [("loss",)]
            assert index.connection.total_changes == before


def test_the_order_is_that_of_the_cosines_computed_one_by_one(
    tmp_path: Path, server: EmbeddingsServer
) -> None:
    root = remote(tmp_path, server)
    words = ["churn", "revenue", "orders", "stock", "price"]
    for number in range(60):
        chosen = " ".join(word for at, word in enumerate(words) if number >> at & 1) or "nothing"
        page(root, f"n{number}", f"{chosen} {number}")
    with Desk(project=open_project(root)) as desk:
        reindex(desk)
        lane = next(lane for lane in desk.lanes() if lane.name == "semantic")
        question = Question(text="churn and revenue", terms=("churn", "revenue"))
        with desk.searching() as index:
            found = lane.find(index, question, Scope(kinds=("wiki",)), pool=10)
            rows = index.connection.execute(
                "SELECT d.id, v.data FROM document d JOIN vector v ON v.meaning = d.meaning"
            ).fetchall()
        asked = np.array(vector(question.text, 32))
        cosine = {at: float(np.frombuffer(data, dtype=np.float16).astype(float) @ asked) for at, data in rows}
        best = sorted(cosine.values(), reverse=True)[:10]
        assert [cosine[one.id] for one in found] == pytest.approx(best, rel=1e-3)
        lengths = np.array(best) / np.linalg.norm(asked)
        assert [one.strength for one in found] == pytest.approx(list(lengths), rel=1e-3)


def test_an_installed_local_model_is_used_without_a_word_in_the_configuration(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    root = tmp_path / "p"
    root.mkdir()
    make(root, "{}")
    with Desk(project=open_project(root)) as desk:
        assert meaning(desk, "pay").reason == "no embeddings are configured"
    tiny.install(model_dir(tmp_path / "cache"))
    with Desk(project=open_project(root)) as desk:
        assert reindex(desk).vectors.computed == 2
        assert meaning(desk, "pay").status == "ok"
    make(root, "{backend: none}")
    with Desk(project=open_project(root)) as desk:
        assert "turned off" in (meaning(desk, "pay").reason or "")


@pytest.mark.parametrize(
    ("block", "reason"),
    [
        ("{backend: sentence-transformers}", "is not installed"),
        ("{backend: sentence-transformers, model: bge-large}", "`bge-large` does not run"),
        ("{backend: openai, openai: {api_key: 'env:KTX_NO_SUCH_KEY'}}", "`KTX_NO_SUCH_KEY` is not set"),
        ("{backend: openai, openai: {base_url: 'localhost:1'}}", "no `http://`"),
    ],
)
def test_what_is_missing_is_named_by_search_and_by_status(tmp_path: Path, block: str, reason: str) -> None:
    project = open_project(make(tmp_path, block))
    with Desk(project=project) as desk:
        lane = meaning(desk, "cancelled")
        assert lane.status == "skipped"
        assert reason in (lane.reason or "")
    check = next(check for check in run_checks(project) if check.id == "embeddings")
    assert check.status == "warn"
    assert reason in check.detail
    assert check.fix


def test_status_counts_what_waits_for_a_vector(tmp_path: Path, server: EmbeddingsServer) -> None:
    project = open_project(remote(tmp_path, server))
    with Desk(project=project) as desk:
        reindex(desk)
    check = next(check for check in run_checks(project) if check.id == "embeddings")
    assert (check.status, check.detail) == (
        "pass",
        f"m@{server.address}, 32 dimensions; 2 texts have vectors",
    )


@pytest.mark.slow
def test_the_command_line_reindexes_and_finds(tmp_path: Path, server: EmbeddingsServer) -> None:
    root = remote(tmp_path, server)

    def ktx(*arguments: str) -> "subprocess.CompletedProcess[str]":
        command = [sys.executable, "-m", "ktx", *arguments, "--json", "--project-dir", str(root)]
        return subprocess.run(command, capture_output=True, text=True, check=False)

    assert json.loads(ktx("admin", "reindex").stdout)["vectors"] == {
        "model": f"m@{server.address}",
        "computed": 2,
        "missing": 0,
    }
    assert [hit["key"] for hit in json.loads(ktx("wiki", "churn").stdout)["results"]] == ["loss"]
    server.key = "changed"
    page(root, "new", "something")
    done = ktx("admin", "reindex")
    assert done.returncode == 2
    assert "api_key" in done.stderr
    assert "Traceback" not in done.stderr
