"""`ktx setup --agents` on files that people own: every byte of theirs stays, and comes back."""

import itertools
import json
import os
import tomllib
import zipfile
from pathlib import Path

import pytest

from agents.machine import Machine, make_machine
from ktx.agents.target import roots_of
from ktx.agents.targets import TARGETS
from program import called

EVERY = [(target.name, placement.scope) for target in TARGETS for placement in target.placements]
STDIO = {"command": "ktx", "args": ["mcp", "stdio"]}


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Machine:
    return make_machine(tmp_path, monkeypatch, capsys)


def state(machine: Machine) -> dict[str, bytes]:
    """Give every file outside `.ktx/`."""
    return {
        str(path): path.read_bytes()
        for folder in (machine.project, machine.home)
        for path in folder.rglob("*")
        if path.is_file() and ".ktx" not in path.parts
    }


def folders(machine: Machine) -> set[Path]:
    return {
        path
        for folder in (machine.project, machine.home)
        for path in folder.rglob("*")
        if path.is_dir() and ".ktx" not in path.parts
    }


def scope_flag(scope: str) -> list[str]:
    return [] if scope == "project" else [f"--{scope}"]


# -- every target ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", ["mcp", "mcp-cli"])
@pytest.mark.parametrize(("target", "scope"), EVERY)
def test_a_second_run_changes_nothing_and_a_removal_leaves_nothing(
    machine: Machine, target: str, scope: str, mode: str
) -> None:
    before, before_folders = state(machine), folders(machine)
    arguments = ["--target", target, *scope_flag(scope), "--mode", mode, "--json"]
    first = machine.setup(*arguments)
    assert first.code == 0, first.err
    assert {one["status"] for one in json.loads(first.out)["files"]} == {"written"}
    assert json.loads(first.out)["nextSteps"]
    after = {path: path.stat().st_mtime_ns for path in machine.project.rglob("*") if path.is_file()}
    again = machine.setup(*arguments)
    assert {one["status"] for one in json.loads(again.out)["files"]} == {"unchanged"}
    assert {path: path.stat().st_mtime_ns for path in machine.project.rglob("*") if path.is_file()} == after
    removed = machine.setup("--remove", "--target", target, *scope_flag(scope))
    assert removed.code == 0, removed.err
    assert state(machine) == before
    assert folders(machine) == before_folders


def test_all_targets_together_share_their_files_until_the_last_one_goes(machine: Machine) -> None:
    before = state(machine)
    names = [part for target in TARGETS for part in ("--target", target.name)]
    assert machine.setup(*names, "--mode", "mcp-cli").code == 0
    skill = machine.project / ".agents" / "skills" / "ktx-analytics" / "SKILL.md"
    assert machine.setup("--remove", "--target", "codex").code == 0
    assert skill.exists(), "`universal` still uses it"
    assert not (machine.project / ".codex").exists()
    assert machine.setup("--remove").code == 0
    assert state(machine) == before
    manifest = json.loads((machine.project / ".ktx/agents/install-manifest.json").read_text())
    assert (manifest["installs"], manifest["entries"]) == ([], [])


def test_the_manifest_names_installs_and_entries(machine: Machine) -> None:
    machine.setup("--target", "claude-code")
    manifest = json.loads((machine.project / ".ktx/agents/install-manifest.json").read_text())
    assert manifest["version"] == 1
    assert manifest["projectDir"] == str(machine.project)
    assert manifest["installs"] == [
        {"target": "claude-code", "scope": "project", "mode": "mcp", "installRoot": str(machine.project)}
    ]
    assert {(entry["type"], entry["path"]) for entry in manifest["entries"]} == {
        ("file", str(machine.project / ".claude/skills/ktx-analytics/SKILL.md")),
        ("json-key", str(machine.project / ".mcp.json")),
    }


@pytest.mark.parametrize("target", ["claude-code", "codex", "cursor", "opencode"])
def test_the_token_is_a_reference_in_each_programs_own_notation(
    machine: Machine, target: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KTX_MCP_TOKEN", "very-secret")
    outcome = machine.setup("--target", target, "--transport", "http")
    assert outcome.code == 0
    written = b"".join(state(machine).values()) + outcome.out.encode() + outcome.err.encode()
    manifest = (machine.project / ".ktx/agents/install-manifest.json").read_bytes()
    assert b"very-secret" not in written + manifest
    assert b"KTX_MCP_TOKEN" in written
    assert b"http://127.0.0.1:7878/mcp" in written


def test_the_entry_of_claude_code_over_http_is_the_documented_one(machine: Machine) -> None:
    machine.setup("--target", "claude-code", "--url", "https://ktx.example.com/mcp")
    entry = json.loads((machine.project / ".mcp.json").read_text())["mcpServers"]["ktx"]
    assert entry == {
        "type": "http",
        "url": "https://ktx.example.com/mcp",
        "headers": {"Authorization": "Bearer ${KTX_MCP_TOKEN}"},
        "alwaysLoad": True,
    }
    machine.setup("--target", "claude-code")
    back = json.loads((machine.project / ".mcp.json").read_text())["mcpServers"]["ktx"]
    assert back == {"type": "stdio", **STDIO, "alwaysLoad": True}, "nothing of the other transport stays"


def test_switching_back_from_mcp_cli_takes_the_second_skill_away(machine: Machine) -> None:
    machine.setup("--target", "claude-code", "--mode", "mcp-cli")
    skills = machine.project / ".claude" / "skills"
    machine.setup("--target", "claude-code")
    assert (skills / "ktx" / "SKILL.md").exists(), "without --mode the mode stays"
    machine.setup("--target", "claude-code", "--mode", "mcp")
    assert not (skills / "ktx").exists()
    assert not (machine.project / ".claude" / "rules").exists()
    assert (skills / "ktx-analytics" / "SKILL.md").exists()


def test_an_entry_for_another_folder_names_the_project(machine: Machine, tmp_path: Path) -> None:
    app = tmp_path / "app"
    app.mkdir()
    assert machine.setup("--target", "claude-code", "--install-dir", app).code == 0
    entry = json.loads((app / ".mcp.json").read_text())["mcpServers"]["ktx"]
    assert entry["args"] == ["mcp", "stdio", "--project-dir", str(machine.project)]
    assert str(machine.project) in (app / ".claude/skills/ktx-analytics/SKILL.md").read_text()
    assert not (machine.project / ".mcp.json").exists()


def test_claude_desktop_gets_full_paths_and_archives_with_a_skill(machine: Machine) -> None:
    assert machine.setup("--target", "claude-desktop", "--mode", "mcp-cli").code == 0
    config = machine.home / ".config" / "Claude" / "claude_desktop_config.json"
    entry = json.loads(config.read_text())["mcpServers"]["ktx"]
    assert Path(entry["command"]).is_absolute()
    assert entry["args"][-2:] == ["--project-dir", str(machine.project)]
    for name in ("ktx-analytics", "ktx"):
        with zipfile.ZipFile(machine.project / ".ktx" / "agents" / "claude" / f"{name}.zip") as archive:
            assert archive.namelist() == [f"{name}/SKILL.md"]
            assert archive.read(f"{name}/SKILL.md").startswith(f"---\nname: {name}\n".encode())


@pytest.mark.parametrize(
    ("platform", "environment", "expected"),
    [
        ("linux", {}, "/h/.config/Claude"),
        ("linux", {"XDG_CONFIG_HOME": "/x"}, "/x/Claude"),
        ("darwin", {}, "/h/Library/Application Support/Claude"),
        ("win32", {"APPDATA": "/r"}, "/r/Claude"),
    ],
)
def test_claude_desktop_is_found_where_it_keeps_its_settings(
    platform: str, environment: dict[str, str], expected: str
) -> None:
    roots = roots_of(
        install=Path("/p"), state=Path("/p/.ktx"), home=Path("/h"), environment=environment, platform=platform
    )
    assert roots.path("{desktop}") == Path(expected)


def test_programs_with_a_home_elsewhere_are_followed_there(
    machine: Machine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CODEX_HOME", str(tmp_path / "codex"))
    monkeypatch.setenv("CLAUDE_CONFIG_DIR", str(tmp_path / "claude"))
    assert machine.setup("--target", "codex", "--target", "claude-code", "--global").code == 0
    assert "ktx" in tomllib.loads((tmp_path / "codex" / "config.toml").read_text())["mcp_servers"]
    assert "ktx" in json.loads((tmp_path / "claude" / ".claude.json").read_text())["mcpServers"]
    assert (tmp_path / "claude" / "skills" / "ktx-analytics" / "SKILL.md").exists()


def test_variables_of_ktx_yaml_are_passed_on_by_name(machine: Machine) -> None:
    config = machine.project / "ktx.yaml"
    config.write_text(config.read_text() + "  sales: {driver: postgres, url: env:SALES_URL}\n")
    machine.setup("--target", "codex", "--target", "cursor")
    codex = tomllib.loads((machine.project / ".codex" / "config.toml").read_text())["mcp_servers"]["ktx"]
    assert codex["env_vars"] == ["SALES_URL"]
    cursor = json.loads((machine.project / ".cursor" / "mcp.json").read_text())["mcpServers"]["ktx"]
    assert cursor["env"] == {"SALES_URL": "${env:SALES_URL}"}


# -- files of people -------------------------------------------------------------------------------------------------

JSON_FILES = {
    "plain": '{\n  "mcpServers": {\n    "other": {"command": "x"}\n  }\n}\n',
    "no servers yet": '{\n    "theme": "dark"\n}\n',
    "empty object": "{}",
    "empty object over lines": "{\n}\n",
    "no servers in the block": '{"mcpServers": {}}\n',
    "empty file": "",
    "blank file": "\n\n",
    "one line": '{"a": 1, "mcpServers": {"other": {"command": "x"}}}',
    "tabs": '{\n\t"mcpServers": {\n\t\t"other": {\n\t\t\t"command": "x"\n\t\t}\n\t}\n}',
    "windows": '{\r\n  "mcpServers": {\r\n    "other": {"command": "x"}\r\n  },\r\n  "b": [1, 2]\r\n}\r\n',
    "byte order mark": '\ufeff{\n  "a": "ä€😀"\n}\n',
    "comments": '// mine\n{\n  /* servers */\n  "mcpServers": {\n    "other": {"command": "x"} // do not touch\n  } // end\n}\n',
    "trailing commas": '{\n  "mcpServers": {\n    "other": {"command": "x",},\n  },\n}\n',
    "odd layout": '{ "mcpServers"\n:\n{ "other" : {"command":"x"}   }   }',
    "numbers and escapes": '{"n": [1e400, -0.0, 12345678901234567890, "\\ud83d\\ude00\\n"], "x": {"ktx": 1}}',
    "braces in text": '{\n  "a": "} , { // no comment \\" ",\n  "b": null\n}\n',
}


@pytest.mark.parametrize("content", JSON_FILES.values(), ids=JSON_FILES.keys())
def test_a_json_file_keeps_every_byte_of_its_owner_and_gets_them_back(machine: Machine, content: str) -> None:
    path = machine.project / ".mcp.json"
    path.write_bytes(content.encode())
    outcome = machine.setup("--target", "claude-code")
    assert outcome.code == 0, outcome.err
    edited = path.read_bytes().decode()
    if content.strip():
        shared = sum(
            1
            for _ in itertools.takewhile(lambda pair: pair[0] == pair[1], zip(content, edited, strict=False))
        )
        tail = content[shared:]
        assert edited.endswith(tail), "one insertion, everything else as it was"
        assert len(edited) > len(content)
    assert machine.setup("--target", "claude-code", "--json").out.count("unchanged") == 2
    assert path.read_bytes().decode() == edited
    assert machine.setup("--remove").code == 0
    assert path.read_bytes().decode() == content


def test_what_people_changed_since_the_install_stays_when_ktx_goes(machine: Machine) -> None:
    path = machine.project / ".mcp.json"
    path.write_text('{\n  "mcpServers": {\n    "other": {"command": "x"}\n  }\n}\n')
    machine.setup("--target", "claude-code")
    path.write_text(
        path.read_text().replace('"x"', '"y"').replace("}\n  }\n}\n", '},\n    "third": {}\n  }\n}\n')
    )
    machine.setup("--remove")
    assert json.loads(path.read_text()) == {"mcpServers": {"other": {"command": "y"}, "third": {}}}


def test_a_file_that_was_laid_out_anew_still_loses_our_entry_and_nothing_else(machine: Machine) -> None:
    path = machine.project / ".mcp.json"
    path.write_text('{"mcpServers": {"other": {"command": "x"}}, "a": [1]}')
    machine.setup("--target", "claude-code")
    path.write_text(json.dumps(json.loads(path.read_text()), indent=7, sort_keys=True))
    machine.setup("--remove")
    assert json.loads(path.read_text()) == {"mcpServers": {"other": {"command": "x"}}, "a": [1]}


def test_what_people_add_to_our_entry_stays(machine: Machine) -> None:
    machine.setup("--target", "claude-code")
    path = machine.project / ".mcp.json"
    data = json.loads(path.read_text())
    data["mcpServers"]["ktx"] |= {"env": {"MINE": "1"}, "alwaysLoad": False}
    path.write_text(json.dumps(data))
    assert machine.setup("--target", "claude-code", "--json").out.count("unchanged") == 2
    machine.setup("--target", "claude-code", "--transport", "http")
    entry = json.loads(path.read_text())["mcpServers"]["ktx"]
    assert (entry["env"], entry["alwaysLoad"], entry["type"]) == ({"MINE": "1"}, False, "http")
    assert "command" not in entry


def test_a_server_of_the_same_name_is_kept_and_comes_back(machine: Machine) -> None:
    path = machine.project / ".mcp.json"
    content = '{"mcpServers": {"ktx": {"command": "/usr/bin/other-ktx", "args": ["serve"]}}}'
    path.write_text(content)
    machine.setup("--target", "claude-code")
    assert json.loads(path.read_text())["mcpServers"]["ktx"]["args"] == ["mcp", "stdio"]
    machine.setup("--target", "claude-code", "--transport", "http")
    machine.setup("--remove")
    assert path.read_text() == content


def test_a_clone_without_a_manifest_recognises_and_removes_what_ktx_wrote(machine: Machine) -> None:
    before = state(machine)
    machine.setup("--target", "claude-code", "--target", "codex", "--mode", "mcp-cli")
    (machine.project / ".ktx/agents/install-manifest.json").unlink()
    assert (
        machine.setup("--target", "claude-code", "--mode", "mcp-cli", "--json").out.count('"unchanged"') == 4
    )
    (machine.project / ".ktx/agents/install-manifest.json").unlink()
    assert machine.setup("--remove", "--target", "claude-code", "--target", "codex").code == 0
    left = state(machine)
    assert {path for path in left if path not in before} <= {
        str(machine.project / ".mcp.json"),
        str(machine.project / ".codex" / "config.toml"),
    }
    assert json.loads(left[str(machine.project / ".mcp.json")]) == {"mcpServers": {}}


def test_an_entry_that_serves_another_project_by_now_is_left_alone(machine: Machine) -> None:
    machine.setup("--target", "claude-code", "--global")
    path = machine.home / ".claude.json"
    path.write_text(path.read_text().replace(str(machine.project), "/somewhere/else"))
    outcome = machine.setup("--remove", "--json")
    assert {"path": str(path), "key": ["mcpServers", "ktx"], "status": "kept"} in json.loads(outcome.out)[
        "files"
    ]
    assert "/somewhere/else" in path.read_text()


def test_a_skill_that_somebody_changed_is_left_alone(machine: Machine) -> None:
    machine.setup("--target", "universal")
    skill = machine.project / ".agents" / "skills" / "ktx-analytics" / "SKILL.md"
    skill.write_text(skill.read_text().replace("# Answer", "# Our way to answer"))
    mine = skill.read_text()
    outcome = machine.setup("--target", "universal")
    assert "kept" in outcome.out
    assert "left alone" in outcome.err
    machine.setup("--remove")
    assert skill.read_text() == mine


def test_a_linked_file_stays_a_link(machine: Machine, tmp_path: Path) -> None:
    dotfiles = tmp_path / "dotfiles.json"
    dotfiles.write_text('{\n  "numStartups": 3\n}\n')
    (machine.home / ".claude.json").symlink_to(dotfiles)
    machine.setup("--target", "claude-code", "--local")
    assert (machine.home / ".claude.json").is_symlink()
    assert str(machine.project) in json.loads(dotfiles.read_text())["projects"]
    machine.setup("--remove")
    assert dotfiles.read_text() == '{\n  "numStartups": 3\n}\n'


def test_the_permissions_of_a_persons_file_stay(machine: Machine) -> None:
    path = machine.home / ".claude.json"
    path.write_text("{}")
    path.chmod(0o600)
    machine.setup("--target", "claude-code", "--global")
    assert path.stat().st_mode & 0o777 == 0o600


def test_opencode_with_comments_is_edited_in_its_own_file(machine: Machine) -> None:
    path = machine.project / "opencode.jsonc"
    content = '{\n  // models\n  "model": "anthropic/claude", // best\n}\n'
    path.write_text(content)
    assert machine.setup("--target", "opencode").code == 0
    assert not (machine.project / "opencode.json").exists()
    assert "// best" in path.read_text()
    machine.setup("--remove")
    assert path.read_text() == content


# -- Codex -----------------------------------------------------------------------------------------------------------

TOML_FILES = {
    "settings": 'model = "gpt-5.5" # mine\n\n[mcp_servers.other]\ncommand = "x"\n',
    "no line end": '[features]\na = true',
    "windows": 'model = "x"\r\n\r\n[a]\r\nb = 1\r\n',
    "headers in strings": 'notes = """\n[mcp_servers.ktx]\ncommand = "no"\n"""\n[a]\n# [mcp_servers.ktx]\nb = \'\'\'\n[x]\'\'\'\n',
    "arrays": "[[hooks]]\nname = 'a'\n[[hooks]]\nname = 'b'\n",
    "empty": "",
    "only a comment": "# nothing yet\n",
}  # fmt: skip


@pytest.mark.parametrize("content", TOML_FILES.values(), ids=TOML_FILES.keys())
def test_codex_settings_get_one_table_and_lose_it_again(machine: Machine, content: str) -> None:
    path = machine.home / ".codex" / "config.toml"
    path.parent.mkdir()
    path.write_bytes(content.encode())
    assert machine.setup("--target", "codex", "--global").code == 0
    edited = path.read_bytes()
    assert edited.startswith(content.encode())
    parsed = tomllib.loads(edited.decode())
    assert parsed["mcp_servers"]["ktx"]["args"][-2:] == ["--project-dir", str(machine.project)]
    expected = tomllib.loads(content)
    expected.setdefault("mcp_servers", {})["ktx"] = parsed["mcp_servers"]["ktx"]
    assert parsed == expected
    assert machine.setup("--target", "codex", "--global", "--json").out.count('"unchanged"') == 2
    machine.setup("--remove")
    assert path.read_bytes() == content.encode()


def test_what_codex_writes_under_our_table_stays_while_it_is_renewed_and_goes_with_it(
    machine: Machine,
) -> None:
    path = machine.home / ".codex" / "config.toml"
    machine.setup("--target", "codex", "--global")
    approval = (
        '\n[mcp_servers.ktx.tools.sl_query]\napproval_mode = "approve"\n\n# theirs\n[tui]\ntheme = "x"\n'
    )
    path.write_text(
        path.read_text().replace("[mcp_servers.ktx]\n", "[mcp_servers.ktx]\nstartup_timeout_sec = 20\n")
        + approval
    )
    assert machine.setup("--target", "codex", "--global", "--transport", "http").code == 0
    assert tomllib.loads(path.read_text()) == {
        "mcp_servers": {
            "ktx": {
                "url": "http://127.0.0.1:7878/mcp",
                "bearer_token_env_var": "KTX_MCP_TOKEN",
                "startup_timeout_sec": 20,
                "tools": {"sl_query": {"approval_mode": "approve"}},
            }
        },
        "tui": {"theme": "x"},
    }
    machine.setup("--remove")
    assert path.read_text().strip() == '# theirs\n[tui]\ntheme = "x"'


# -- refusals --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("file", "target", "content", "line"),
    [
        (".mcp.json", "claude-code", '{\n  "mcpServers": {\n    "a": 1\n    "b": 2\n  }\n}', 4),
        (".mcp.json", "claude-code", '{\n  "mcpServers": {', 2),
        (".mcp.json", "claude-code", "[]", 1),
        (".mcp.json", "claude-code", '{\n  "mcpServers": []\n}', 2),
        (".mcp.json", "claude-code", "{} {}", 1),
        (".mcp.json", "claude-code", "{\"a\": 'b'}", 1),
        (".mcp.json", "claude-code", '{"a": ' + "[" * 5000, 1),
        ("opencode.json", "opencode", "{\n  mcp: {}\n}", 2),
        (".codex/config.toml", "codex", "a = 1\nb = = 2\n", 2),
        (".codex/config.toml", "codex", 'a = 1\nmcp_servers = { ktx = { command = "x" } }\n', 2),
        (".codex/config.toml", "codex", 'mcp_servers = { other = { command = "x" } }\n', 1),
        (".codex/config.toml", "codex", 'a = 1\n[mcp_servers]\nktx = { command = "x" }\n', 2),
    ],
)
def test_a_file_that_cannot_be_edited_is_named_with_its_line_and_nothing_is_written(
    machine: Machine, file: str, target: str, content: str, line: int
) -> None:
    path = machine.project / file
    path.parent.mkdir(exist_ok=True)
    path.write_text(content)
    before = state(machine)
    outcome = machine.setup("--target", "universal", "--target", target)
    assert outcome.code == 2
    assert f"{path}:{line}" in outcome.err
    assert "Traceback" not in outcome.err
    assert state(machine) == before


def test_a_file_that_is_no_text_or_no_file_is_refused(machine: Machine) -> None:
    path = machine.project / ".mcp.json"
    path.write_bytes(b'{"a": "\xff"}')
    assert "not UTF-8" in machine.setup("--target", "claude-code").err
    path.unlink()
    path.mkdir()
    outcome = machine.setup("--target", "claude-code")
    assert outcome.code == 2
    assert "is a directory" in outcome.err


@pytest.mark.skipif(os.getuid() == 0, reason="root may write everywhere: run the tests as another user")
def test_a_folder_that_cannot_be_written_is_named(machine: Machine) -> None:
    machine.project.chmod(0o555)
    try:
        outcome = machine.setup("--target", "claude-code")
    finally:
        machine.project.chmod(0o755)
    assert outcome.code == 2
    assert "cannot be written" in outcome.err


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--target", "cluade-code"], "Did you mean `claude-code`?"),
        (["--target", "cursor", "--global"], "cannot be installed in the scope `global`"),
        (["--target", "claude-desktop", "--local"], "It has `global`."),
        (["--target", "claude-desktop", "--transport", "http"], "cannot be given an address"),
        (["--target", "codex", "--global", "--local"], "exclude each other"),
        (["--target", "codex", "--install-dir", "/no/such/folder"], "is no folder"),
        ([], "--target"),
    ],
)
def test_a_choice_that_cannot_be_is_refused_with_the_way_out(
    machine: Machine, arguments: list[str], words: str
) -> None:
    before = state(machine)
    outcome = machine.setup(*arguments)
    assert outcome.code == 2
    assert words in outcome.err
    assert state(machine) == before


def test_options_of_agents_without_agents_are_refused(machine: Machine) -> None:
    outcome = called(
        machine.capsys, "setup", "--target", "codex", "--no-input", "--project-dir", machine.project
    )
    assert outcome.code == 2
    assert "belongs to `--agents`" in outcome.err
