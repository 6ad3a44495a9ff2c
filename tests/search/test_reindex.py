"""Keeping the index current: nothing is read without need, nothing is lost with the file."""

import os
from pathlib import Path

from ktx.search.index import open_index
from ktx.search.lanes import Scope
from ktx.search.query import search
from ktx.search.reindex import refresh

OLD = 1_600_000_000


def page(root: Path, key: str, summary: str, *, mtime: int = OLD) -> Path:
    path = root / "wiki" / "global" / f"{key}.md"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"---\nsummary: {summary}\n---\n", encoding="utf-8")
    os.utime(path, (mtime, mtime))
    return path


def test_an_unchanged_project_is_neither_read_nor_written(tmp_path: Path) -> None:
    path = page(tmp_path, "a", "alpha")
    with open_index(tmp_path / "index.sqlite") as index:
        assert refresh(index, tmp_path).added == 1
        path.chmod(0)
        before = index.connection.total_changes
        report = refresh(index, tmp_path)
        assert (report.is_current, report.unchanged) == (True, 1)
        assert index.connection.total_changes == before


def test_added_changed_and_removed_files_are_told_apart(tmp_path: Path) -> None:
    page(tmp_path, "a", "alpha")
    gone = page(tmp_path, "b", "beta")
    with open_index(tmp_path / "index.sqlite") as index:
        refresh(index, tmp_path)
        page(tmp_path, "a", "gamma", mtime=OLD + 1)
        page(tmp_path, "c", "delta")
        gone.unlink()
        report = refresh(index, tmp_path)
        assert (report.added, report.changed, report.removed) == (1, 1, 1)
        found = {
            word: [hit.ref for hit in search(index, word, Scope(), limit=5).hits]
            for word in ("alpha", "beta", "gamma", "delta")
        }
        assert found == {"alpha": [], "beta": [], "gamma": ["a"], "delta": ["c"]}


def test_a_touched_file_with_the_same_text_is_not_indexed_again(tmp_path: Path) -> None:
    path = page(tmp_path, "a", "alpha")
    with open_index(tmp_path / "index.sqlite") as index:
        refresh(index, tmp_path)
        os.utime(path, (OLD + 9, OLD + 9))
        assert refresh(index, tmp_path).unchanged == 1
        path.chmod(0)
        assert refresh(index, tmp_path).unchanged == 1


def test_a_change_within_one_tick_of_the_clock_is_seen(tmp_path: Path) -> None:
    path = tmp_path / "wiki" / "global" / "a.md"
    path.parent.mkdir(parents=True)
    path.write_text("---\nsummary: alpha\n---\n")
    with open_index(tmp_path / "index.sqlite") as index:
        refresh(index, tmp_path)
        stat = path.stat()
        path.write_text("---\nsummary: omega\n---\n")
        os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))
        assert refresh(index, tmp_path).changed == 1


def test_a_deleted_index_comes_back_the_same(tmp_path: Path) -> None:
    page(tmp_path, "a", "alpha beta")
    file = tmp_path / ".ktx" / "index.sqlite"
    answers: list[object] = []
    for _ in range(2):
        with open_index(file) as index:
            refresh(index, tmp_path)
            answers.append(search(index, "beta", Scope(), limit=5))
        file.unlink()
    assert answers[0] == answers[1]


def test_a_damaged_index_is_built_anew(tmp_path: Path) -> None:
    page(tmp_path, "a", "alpha")
    (tmp_path / "index.sqlite").write_bytes(b"this is not a database, and never was one" * 100)
    with open_index(tmp_path / "index.sqlite") as index:
        assert refresh(index, tmp_path).added == 1


def test_an_index_of_another_derivation_is_built_anew(tmp_path: Path) -> None:
    page(tmp_path, "a", "alpha")
    with open_index(tmp_path / "index.sqlite") as index:
        refresh(index, tmp_path)
        index.set_setting("derivation", "0")
    with open_index(tmp_path / "index.sqlite") as index:
        assert refresh(index, tmp_path).added == 1


def test_a_broken_file_is_skipped_once_and_picked_up_when_repaired(tmp_path: Path) -> None:
    page(tmp_path, "a", "alpha")
    bad = tmp_path / "semantic-layer" / "w" / "orders.yaml"
    bad.parent.mkdir(parents=True)
    bad.write_text("name: [unclosed")
    with open_index(tmp_path / "index.sqlite") as index:
        assert refresh(index, tmp_path).skipped == ("semantic-layer/w/orders.yaml",)
        bad.write_text("name: orders\ntable: orders\n")
        assert refresh(index, tmp_path).skipped == ()
        assert [hit.ref for hit in search(index, "orders", Scope(), limit=5).hits] == ["orders"]


def test_force_rebuilds_everything(tmp_path: Path) -> None:
    page(tmp_path, "a", "alpha")
    with open_index(tmp_path / "index.sqlite") as index:
        refresh(index, tmp_path)
        assert refresh(index, tmp_path, force=True).added == 1
        assert index.count_documents() == {"wiki": 1}


def test_links_out_of_the_project_are_not_indexed(tmp_path: Path) -> None:
    root = tmp_path / "project"
    (root / "wiki" / "global").mkdir(parents=True)
    (tmp_path / "secret.md").write_text("---\nsummary: Secret\n---\n", encoding="utf-8")
    (root / "wiki" / "global" / "ours.md").write_text("---\nsummary: Ours\n---\n", encoding="utf-8")
    (root / "wiki" / "global" / "out.md").symlink_to(tmp_path / "secret.md")
    (root / "wiki" / "global" / "alias.md").symlink_to("ours.md")
    with open_index(tmp_path / "index.sqlite") as index:
        refresh(index, root)
        assert sorted(index.files()) == ["wiki/global/alias.md", "wiki/global/ours.md"]


def test_a_rebuild_after_a_quiet_look_reads_everything_again(tmp_path: Path) -> None:
    page = tmp_path / "wiki" / "global" / "ours.md"
    page.parent.mkdir(parents=True)
    page.write_text("---\nsummary: Ours\n---\n", encoding="utf-8")
    os.utime(page, (1_600_000_000, 1_600_000_000))
    with open_index(tmp_path / "index.sqlite") as index:
        refresh(index, tmp_path)
        assert refresh(index, tmp_path).is_current
        with index.writing():
            index.clear()
        assert refresh(index, tmp_path).added == 1
