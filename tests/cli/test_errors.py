import subprocess
import sys
from pathlib import Path

import click
import pytest

from ktx.cli.main import cli
from ktx.cli.render.data import write_table
from ktx.cli.render.progress import drawn_events
from ktx.cli.run import run
from ktx.events import Notice, StageAdvanced, StageFinished, StageStarted, Waiting
from program import called, started


@pytest.fixture
def project(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Path:
    assert called(capsys, "admin", "init", "--project-dir", tmp_path).code == 0
    return tmp_path


def test_a_misspelt_command_is_a_usage_error_with_the_nearest_one(capsys: pytest.CaptureFixture[str]) -> None:
    outcome = called(capsys, "conection", "list")
    assert outcome.code == 2
    assert outcome.out == ""
    assert "error: There is no command `conection`. Did you mean `connection`?" in outcome.err


def test_an_unknown_option_is_a_usage_error(capsys: pytest.CaptureFixture[str]) -> None:
    outcome = called(capsys, "status", "--fst")
    assert outcome.code == 2
    assert "--fst" in outcome.err
    assert "hint: `ktx status --help`" in outcome.err


def test_a_broken_configuration_is_told_with_line_and_fix(
    capsys: pytest.CaptureFixture[str], project: Path
) -> None:
    (project / "ktx.yaml").write_text("connections:\n  a: {driver: postgre}\n")
    outcome = called(capsys, "--project-dir", project, "connection", "list")
    assert outcome.code == 2
    assert (
        "error: ktx.yaml:2 connections.a.driver: Connection `a` has the unknown driver `postgre`."
        in outcome.err
    )
    assert "hint: Write `postgres`." in outcome.err
    assert "Traceback" not in outcome.err


def test_warnings_go_to_stderr_and_data_to_stdout(capsys: pytest.CaptureFixture[str], project: Path) -> None:
    (project / "ktx.yaml").write_text("lmm: 1\n")
    outcome = called(capsys, "connection", "list", "--json", "--project-dir", project)
    assert outcome.code == 0
    assert outcome.out == '{\n  "connections": []\n}\n'
    assert "Did you mean `llm`?" in outcome.err


@pytest.fixture
def broken_command() -> object:
    @click.command()
    def broken() -> None:
        raise ValueError("first line\nsecond line")

    return broken


def test_a_bug_is_one_line_and_exit_code_70(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, broken_command: click.Command
) -> None:
    monkeypatch.setattr(type(cli), "get_command", lambda *_: broken_command)
    outcome = called(capsys, "status")
    assert outcome.code == 70
    assert outcome.err.splitlines()[0] == "error: this is a bug in ktx: ValueError: first line"
    assert "Traceback" not in outcome.err
    debugged = called(capsys, "--debug", "status")
    assert debugged.code == 70
    assert "Traceback" in debugged.err


def test_an_interrupt_ends_with_130(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    @click.command()
    def waiting() -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(type(cli), "get_command", lambda *_: waiting)
    assert called(capsys, "status").code == 130


def test_a_reader_that_leaves_is_no_error(tmp_path: Path) -> None:
    command = f"'{sys.executable}' -m ktx admin schema | head -n 1"
    done = subprocess.run(
        ["bash", "-o", "pipefail", "-c", command], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "{\n", "")


def test_a_terminal_without_unicode_stops_nothing(tmp_path: Path) -> None:
    outcome = started("status", "--project-dir", "größe", cwd=tmp_path, env={"PYTHONIOENCODING": "ascii"})
    assert outcome.code == 2
    assert "gr??e" in outcome.err


def test_colour_needs_a_terminal(capsys: pytest.CaptureFixture[str], project: Path) -> None:
    assert "\x1b" not in called(capsys, "status", "--project-dir", project).out


def test_stages_are_plain_lines_where_nobody_watches(capsys: pytest.CaptureFixture[str]) -> None:
    with drawn_events() as emit:
        emit(StageStarted(stage="scan", total=3))
        emit(StageAdvanced(stage="scan", done=2, label="orders"))
        emit(Waiting(reason="the provider asked", wait_s=12.4))
        emit(Notice(message="a note"))
        emit(StageFinished(stage="scan", summary="2 tables"))
    captured = capsys.readouterr()
    assert captured.out == ""
    waiting, note, line = captured.err.splitlines()
    assert (waiting, note) == ("waiting 12 s: the provider asked", "a note")
    assert line.startswith("scan 2/3 (")
    assert line.endswith(" s): 2 tables")


def test_run_gives_zero_when_all_is_well(capsys: pytest.CaptureFixture[str], project: Path) -> None:
    assert run(["connection", "list", "--project-dir", str(project)]) == 0
    assert "No connections yet" in capsys.readouterr().err


def test_a_finding_that_is_the_error_itself_is_said_once(
    capsys: pytest.CaptureFixture[str], project: Path
) -> None:
    (project / "question.json").write_text('{"measurs": ["orders.revenue"]}')
    outcome = called(
        capsys, "--project-dir", project, "sl", "query", "--query-file", project / "question.json"
    )
    assert outcome.code == 1
    assert outcome.err.count("unknown key `measurs`") == 1
    assert outcome.err.count("Known keys:") == 1


def test_a_question_that_is_no_text_is_a_usage_error(
    capsys: pytest.CaptureFixture[str], project: Path
) -> None:
    (project / "question.json").write_bytes(b"\xff\xfe\x00")
    outcome = called(
        capsys, "--project-dir", project, "sl", "query", "--query-file", project / "question.json"
    )
    assert outcome.code == 2
    assert "question.json` is not UTF-8 text" in outcome.err


def test_an_ingest_without_a_database_says_so(capsys: pytest.CaptureFixture[str], project: Path) -> None:
    outcome = called(capsys, "--project-dir", project, "ingest")
    assert outcome.code == 0
    assert "There is nothing to read" in outcome.err


@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-", "<&- >&- 2>&-"])
@pytest.mark.parametrize("arguments", ["--version", "connection list"])
def test_a_closed_stream_changes_nothing_else(project: Path, closed: str, arguments: str) -> None:
    line = f'exec "{sys.executable}" -m ktx {arguments} {closed}'
    done = subprocess.run(["bash", "-c", line], cwd=project, capture_output=True, text=True, check=False)
    assert done.returncode == 0
    assert "Error" not in done.stderr


@pytest.mark.skipif(
    not Path("/dev/full").exists(), reason="needs /dev/full, a Linux device that is always full"
)
def test_a_full_disk_is_no_bug_of_ours(project: Path) -> None:
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [sys.executable, "-m", "ktx", "admin", "schema"], cwd=project, stdout=full,
            stderr=subprocess.PIPE, text=True, check=False,
        )  # fmt: skip
    assert done.returncode == 3
    assert done.stderr.startswith("error: No space left on device.")
    assert "Exception" not in done.stderr


def test_a_group_without_a_command_shows_its_commands(capsys: pytest.CaptureFixture[str]) -> None:
    outcome = called(capsys, "mcp")
    assert outcome.code == 2
    assert outcome.err.startswith("Usage: ktx mcp")
    assert "stdio" in outcome.err


def test_a_control_character_in_a_cell_does_not_reach_the_terminal(
    capsys: pytest.CaptureFixture[str],
) -> None:
    for output in ("plain", "pretty"):
        capsys.readouterr()
        write_table(["a"], [["red\x1b[31m\x07 and\ttab"]], output=output)
        printed = capsys.readouterr().out
        assert "\\x1b[31m\\x07" in printed
        assert "\x1b" not in printed
