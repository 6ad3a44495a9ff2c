import subprocess
import sys
from pathlib import Path

import pytest

from ktx.errors import ConfigError, OutsideError
from ktx.project import (
    create_project,
    ensure_state_dir,
    find_project_dir,
    open_project,
    project_lock,
    project_repository,
)

HOLDER = """
import sys
from pathlib import Path
from ktx.project import open_project, project_lock
with project_lock(open_project(Path(sys.argv[1]))):
    print("held", flush=True)
    sys.stdin.read()
"""


def test_a_new_project_is_valid_and_committed(tmp_path: Path) -> None:
    root = tmp_path / "new"
    project = create_project(root)
    assert project.findings == ()
    assert project.semantic_dir.is_dir()
    assert (project.wiki_dir / "global").is_dir()
    repository = project_repository(project)
    assert repository.top == root
    assert repository.head() is not None
    assert repository.changed([root]) == ()


def test_git_passes_over_everything_in_the_state_folder(tmp_path: Path) -> None:
    project = create_project(tmp_path)
    (project.state_dir / "secrets").mkdir()
    (project.state_dir / "secrets" / "key").write_text("hunter2")
    (project.state_dir / "index.sqlite").write_text("x")
    assert project_repository(project).changed([tmp_path]) == ()


def test_a_second_project_in_the_same_place_is_refused(tmp_path: Path) -> None:
    create_project(tmp_path)
    with pytest.raises(ConfigError, match="is a ktx project already"):
        create_project(tmp_path)


def test_completing_a_project_keeps_its_configuration(tmp_path: Path) -> None:
    (tmp_path / "ktx.yaml").write_text("# mine\n")
    project = create_project(tmp_path, is_existing_ok=True)
    assert project.config_file.read_text() == "# mine\n"
    assert project.wiki_dir.is_dir()
    assert project_repository(project).changed([tmp_path]) == ()


def test_the_project_is_the_given_one_else_the_variable_else_upwards_else_here(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("KTX_PROJECT_DIR", raising=False)
    deep = tmp_path / "p" / "a" / "b"
    deep.mkdir(parents=True)
    assert find_project_dir(None, deep) == deep
    (tmp_path / "p" / "ktx.yaml").write_text("")
    assert find_project_dir(None, deep) == tmp_path / "p"
    monkeypatch.setenv("KTX_PROJECT_DIR", "../other")
    assert find_project_dir(None, deep) == tmp_path / "p" / "a" / "other"
    assert find_project_dir(Path("given"), deep) == deep / "given"


def test_a_folder_without_a_project_says_how_to_get_one(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"`ktx\.yaml` is missing") as caught:
        open_project(tmp_path)
    assert "ktx admin init" in (caught.value.hint or "")


def test_the_lock_holds_against_another_process_and_falls_when_it_dies(tmp_path: Path) -> None:
    project = create_project(tmp_path)
    ensure_state_dir(project)
    command = [sys.executable, "-c", HOLDER, str(tmp_path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        with pytest.raises(OutsideError, match="has been writing"), project_lock(project, timeout_s=0.1):
            pass
        holder.kill()
        holder.wait()
        with project_lock(project, timeout_s=10):
            pass
