import os
import subprocess
from pathlib import Path

import pytest

from ktx.errors import ConfigError
from ktx.git import Repository

ENV = {"PATH": os.environ["PATH"], "HOME": "/nonexistent"}
AUTHOR = "A Person <a@example.com>"


def git(folder: Path, *arguments: str) -> str:
    """Run git as a user would, with an identity of theirs."""
    identity = ("-c", "user.name=User", "-c", "user.email=user@example.com")
    command = ["git", *identity, "-C", str(folder), *arguments]
    return subprocess.run(command, env=ENV, capture_output=True, text=True, check=True).stdout


@pytest.fixture
def users(tmp_path: Path) -> Path:
    """A repository of a user with one commit, something staged and something unstaged."""
    top = tmp_path / "top"
    top.mkdir()
    git(top, "init", "-q", "-b", "main")
    (top / "theirs.txt").write_text("one\n")
    git(top, "add", ".")
    git(top, "commit", "-qm", "first")
    (top / "staged.txt").write_text("staged\n")
    git(top, "add", "staged.txt")
    (top / "theirs.txt").write_text("two\n")
    return top


def test_a_commit_takes_the_given_paths_and_leaves_the_rest_as_it_was(users: Path) -> None:
    project = users / "analytics"
    project.mkdir()
    (project / "ktx.yaml").write_text("a\n")
    (project / "draft.txt").write_text("not yet\n")
    before = set(git(users, "status", "--porcelain", "-uall").splitlines())
    repository = Repository.init(project, environment=ENV)
    made = repository.commit([project / "ktx.yaml"], "Add it", author=AUTHOR, trailers={"Run": "7"})
    assert made == git(users, "rev-parse", "HEAD").strip()
    assert git(users, "show", "--name-only", "--format=", "HEAD").split() == ["analytics/ktx.yaml"]
    assert set(git(users, "status", "--porcelain", "-uall").splitlines()) == before - {
        "?? analytics/ktx.yaml"
    }
    assert "A  staged.txt" in before
    assert git(users, "show", "-s", "--format=%an <%ae>|%cn <%ce>|%B", "HEAD").strip() == (
        f"{AUTHOR}|{AUTHOR}|Add it\n\nRun: 7"
    )


def test_a_commit_records_deletions_and_changes_under_a_folder(tmp_path: Path) -> None:
    repository = Repository.init(tmp_path, environment=ENV)
    folder = tmp_path / "wiki"
    folder.mkdir()
    (folder / "gone.md").write_text("x")
    (folder / "kept.md").write_text("x")
    assert repository.commit([folder], "one", author=AUTHOR)
    (folder / "gone.md").unlink()
    (folder / "kept.md").write_text("y")
    assert repository.commit([folder], "two", author=AUTHOR)
    assert git(tmp_path, "show", "--name-status", "--format=", "HEAD").split() == [
        "D",
        "wiki/gone.md",
        "M",
        "wiki/kept.md",
    ]
    assert git(tmp_path, "status", "--porcelain") == ""


def test_nothing_changed_makes_no_commit(tmp_path: Path) -> None:
    repository = Repository.init(tmp_path, environment=ENV)
    assert repository.commit([tmp_path / "absent"], "none", author=AUTHOR) is None
    assert repository.head() is None
    (tmp_path / "a").write_text("x")
    first = repository.commit([tmp_path / "a"], "one", author=AUTHOR)
    assert first is not None
    assert repository.commit([tmp_path / "a", tmp_path / "absent"], "again", author=AUTHOR) is None
    assert repository.head() == first


def test_an_index_that_a_killed_run_left_behind_is_brought_up_to_date(users: Path) -> None:
    (users / "a.txt").write_text("a")
    repository = Repository.init(users, environment=ENV)
    assert repository.commit([users / "a.txt"], "Add it", author=AUTHOR)
    git(users, "rm", "-q", "--cached", "a.txt")
    assert "D  a.txt" in git(users, "status", "--porcelain")
    assert repository.commit([users / "a.txt"], "Add it", author=AUTHOR) is None
    status = git(users, "status", "--porcelain").splitlines()
    assert set(status) == {"A  staged.txt", " M theirs.txt"}


def test_names_are_taken_literally(tmp_path: Path) -> None:
    repository = Repository.init(tmp_path, environment=ENV)
    for name in ("*.md", "a.md", ":(top)x", "größe é.md"):
        (tmp_path / name).write_text("x")
    repository.commit(
        [tmp_path / "*.md", tmp_path / ":(top)x", tmp_path / "größe é.md"], "odd", author=AUTHOR
    )
    names = git(tmp_path, "ls-tree", "-z", "--name-only", "HEAD").split("\0")
    assert sorted(filter(None, names)) == ["*.md", ":(top)x", "größe é.md"]
    assert repository.changed([tmp_path]) == (repository.top / "a.md",)


def test_hooks_and_signing_of_the_user_do_not_run(users: Path) -> None:
    for hook in ("pre-commit", "post-commit", "reference-transaction", "commit-msg"):
        path = users / ".git" / "hooks" / hook
        path.write_text("#!/bin/sh\ntouch hooked\nexit 1\n")
        path.chmod(0o755)
    git(users, "config", "commit.gpgSign", "true")
    (users / "ktx.yaml").write_text("a\n")
    assert Repository.init(users, environment=ENV).commit([users / "ktx.yaml"], "Add it", author=AUTHOR)
    assert not (users / "hooked").exists()


def test_the_variables_of_a_surrounding_hook_do_not_lead_elsewhere(users: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.mkdir()
    environment = {**ENV, "GIT_DIR": str(users / ".git"), "GIT_INDEX_FILE": str(users / ".git" / "index")}
    repository = Repository.init(other, environment=environment)
    (other / "a").write_text("x")
    repository.commit([other / "a"], "mine", author=AUTHOR)
    assert repository.top == other
    assert git(users, "log", "--format=%s").split() == ["first"]


def test_a_linked_worktree_is_a_repository_like_any_other(users: Path, tmp_path: Path) -> None:
    linked = tmp_path / "linked"
    git(users, "worktree", "add", "-q", "-b", "side", str(linked))
    (linked / "a").write_text("x")
    assert Repository.init(linked, environment=ENV).commit([linked / "a"], "on the side", author=AUTHOR)
    assert git(users, "log", "--format=%s", "side").splitlines() == ["on the side", "first"]
    assert git(users, "log", "--format=%s", "main").splitlines() == ["first"]


def test_a_folder_that_the_repository_around_ignores_gets_its_own(users: Path) -> None:
    (users / ".gitignore").write_text("/demo/\n")
    project = users / "demo"
    project.mkdir()
    assert Repository.find(project, environment=ENV) is None
    assert Repository.init(project, environment=ENV).top == project
    assert Repository.init(users / "demo", environment=ENV).top == project


def test_an_ignored_path_is_a_configuration_error_that_names_it(tmp_path: Path) -> None:
    (tmp_path / ".gitignore").write_text("*.yaml\n")
    (tmp_path / "ktx.yaml").write_text("a")
    with pytest.raises(ConfigError, match=r"ktx\.yaml"):
        Repository.init(tmp_path, environment=ENV).commit([tmp_path / "ktx.yaml"], "x", author=AUTHOR)


def test_a_missing_git_is_a_configuration_error(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="`git` was not found") as caught:
        Repository.init(tmp_path, environment={"PATH": str(tmp_path)})
    assert "Install git" in (caught.value.hint or "")


def test_a_git_that_is_too_old_is_a_configuration_error(tmp_path: Path) -> None:
    old = tmp_path / "git"
    old.write_text("#!/bin/sh\necho git version 2.7.4\n")
    old.chmod(0o755)
    with pytest.raises(ConfigError, match=r"too old: `git version 2\.7\.4`"):
        Repository.init(tmp_path, environment={"PATH": f"{tmp_path}:{os.environ['PATH']}"})


def test_a_bare_repository_is_refused(tmp_path: Path) -> None:
    git(tmp_path, "init", "-q", "--bare", ".")
    with pytest.raises(ConfigError, match="bare"):
        Repository.find(tmp_path, environment=ENV)


def test_the_texts_of_a_folder_are_read_as_they_were_in_a_commit(tmp_path: Path) -> None:
    project = tmp_path / "top" / "analytics"
    project.mkdir(parents=True)
    git(tmp_path / "top", "init", "-q", "-b", "main")
    repository = Repository.init(project, environment=ENV)
    wiki = project / "wiki" / "größe und mehr"
    wiki.mkdir(parents=True)
    (wiki / "a.md").write_text("one\n\nblob 3\n")
    (wiki / "windows.md").write_bytes(b"a\r\nb\r\n")
    (wiki / "binary.md").write_bytes(b"\xff\xfe\n")
    (wiki / "empty.md").write_text("")
    (project / "else.txt").write_text("x")
    first = repository.commit([project], "one", author=AUTHOR)
    (wiki / "a.md").unlink()
    second = repository.commit([project], "two", author=AUTHOR)
    assert first is not None
    assert second is not None
    assert repository.texts_at(first, [project / "wiki"]) == {
        wiki / "a.md": "one\n\nblob 3\n",
        wiki / "binary.md": None,
        wiki / "empty.md": "",
        wiki / "windows.md": "a\nb\n",
    }
    assert wiki / "a.md" not in repository.texts_at(second, [project / "wiki"])
    assert repository.texts_at(second, [project / "semantic-layer"]) == {}


def test_a_revision_is_resolved_to_its_commit_and_anything_else_to_none(tmp_path: Path) -> None:
    repository = Repository.init(tmp_path, environment=ENV)
    assert repository.resolve("HEAD") is None
    (tmp_path / "a").write_text("1")
    first = repository.commit([tmp_path / "a"], "one", author=AUTHOR)
    (tmp_path / "a").write_text("2")
    second = repository.commit([tmp_path / "a"], "two", author=AUTHOR)
    assert second is not None
    assert repository.resolve("HEAD") == repository.resolve(second[:8]) == second
    assert repository.resolve(f"{second}^") == first
    assert [repository.resolve(odd) for odd in (f"{first}^", "nothing", "", "--all", "HEAD:a")] == [None] * 5
    assert repository.change(second).subject == "two"


def test_commits_are_found_by_a_trailer_newest_first(tmp_path: Path) -> None:
    repository = Repository.init(tmp_path, environment=ENV)
    assert repository.carrying(["Ktx-Run"]) == ()
    for number, trailers in enumerate(({"Ktx-Source": "dbt", "Ktx-Run": "r1"}, {}, {"Ktx-Run": "r2"})):
        (tmp_path / "a").write_text(str(number))
        repository.commit(
            [tmp_path / "a"], f"commit {number}\n\nKtx-Run is a word", author=AUTHOR, trailers=trailers
        )
    found = repository.carrying(["Ktx-Run", "Ktx-Source"])
    assert [(change.subject, values) for change, values in found] == [
        ("commit 2", ("r2", "")),
        ("commit 0", ("r1", "dbt")),
    ]
