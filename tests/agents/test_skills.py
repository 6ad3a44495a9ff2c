"""The skills are short, and every command, option and tool that they name exists."""

import re
import shlex
from pathlib import Path

import click
import pytest

from ktx.agents.render import is_own, marked, render_skill, skill_body, skill_text
from ktx.agents.target import Skill
from ktx.agents.targets import TARGETS
from ktx.cli.main import cli
from ktx.mcp.inputs import ToolInput
from ktx.mcp.tools import TOOLS
from ktx.semantic.check import check_layer
from ktx.semantic.load import load_layer
from serve.projects import make_shop

SKILLS: tuple[Skill, ...] = ("ktx-analytics", "ktx", "rule")
SPAN = re.compile(r"```sh\n(.*?)```|`([^`\n]+)`", re.DOTALL)
WORDS = {"ktx-analytics": 550, "ktx": 700, "rule": 120}


def commands(text: str) -> list[list[str]]:
    found: list[list[str]] = []
    for block, span in SPAN.findall(text):
        for line in (block or span).splitlines():
            parts = shlex.split(line, comments=True)
            if parts and parts[0] == "ktx" and len(parts) > 1:
                found.append(parts[1:])
    return found


@pytest.mark.parametrize("skill", SKILLS)
def test_every_command_and_option_of_a_skill_exists(skill: Skill) -> None:
    text = skill_text(skill).body
    named = commands(text)
    if skill != "ktx-analytics":
        assert named
    for parts in named:
        command: click.Command = cli
        rest = list(parts)
        with click.Context(cli) as context:
            while rest and isinstance(command, click.Group):
                inner = command.get_command(context, rest[0])
                if inner is None and command is not cli:
                    inner = command.get_command(context, "find")
                    assert inner is not None, f"`ktx {' '.join(parts)}`"
                    command = inner
                    break
                assert inner is not None, f"`ktx {' '.join(parts)}`"
                command, rest = inner, rest[1:]
        known = {flag for option in command.params for flag in (*option.opts, *option.secondary_opts)}
        assert {part for part in rest if part.startswith("--")} <= known, f"`ktx {' '.join(parts)}`"


def test_every_tool_of_the_analytics_skill_exists_and_none_is_forgotten() -> None:
    text = skill_body(skill_text("ktx-analytics"), has_memory=True)
    tools = {tool.name for tool in TOOLS}
    arguments = {field.alias or name for tool in TOOLS for name, field in tool.input.model_fields.items()} | {
        name for tool in TOOLS for name in tool.input.model_fields
    }
    named = set(re.findall(r"`([a-z]+(?:_[a-z]+)+)`", text))
    assert named <= tools | arguments, named - tools - arguments
    assert tools <= named
    assert issubclass(TOOLS[0].input, ToolInput)


@pytest.mark.parametrize("skill", SKILLS)
def test_a_skill_speaks_of_remembering_only_where_the_project_can(skill: Skill) -> None:
    without = render_skill(skill, "skill", where="Here.").decode()
    assert "memory" not in without
    assert "{" not in without.replace("{expr", "")
    has_memory = render_skill(skill, "skill", where="Here.", has_memory=True).decode()
    assert ("`memory_ingest`" in has_memory) == (skill == "ktx-analytics")


@pytest.mark.parametrize("skill", SKILLS)
def test_a_skill_is_short_and_says_when_to_use_it(skill: Skill) -> None:
    text = skill_text(skill)
    assert len(text.body.split()) <= WORDS[skill]
    assert 20 <= len(text.description) <= 1024
    assert re.fullmatch(r"[a-z0-9-]{1,64}", text.name)


def test_the_overlay_that_the_skill_shows_is_a_good_one(tmp_path: Path) -> None:
    make_shop(tmp_path)
    layer_dir = tmp_path / "semantic-layer" / "warehouse"
    (block,) = re.findall(r"```yaml\n(.*?)```", skill_text("ktx").body, re.DOTALL)
    shop = (layer_dir / "orders.yaml").read_text()
    (layer_dir / "orders.yaml").write_text(
        shop.replace("measures:\n", "measures:\n" + block.partition("measures:\n")[2])
    )
    layer = load_layer(tmp_path / "semantic-layer", "warehouse")
    assert layer.sources["orders"].measure("paid_revenue") is not None
    assert [finding for finding in check_layer(layer, dialect="duckdb") if finding.level == "error"] == []


@pytest.mark.parametrize("form", ["skill", "rule", "cursor-rule", "command"])
def test_ktx_knows_its_own_files_again_in_every_form(form) -> None:
    data = render_skill("ktx", form, where="Here.")
    assert is_own(data)
    assert is_own(data.replace(b"\n", b"\r\n")), "git may have changed the line ends"
    assert not is_own(data.replace(b"Here.", b"There."))
    assert not is_own(data + b"mine\n")
    assert is_own(marked("of an earlier version\n").encode())


def test_no_two_targets_put_different_things_in_one_place() -> None:
    wanted: dict[str, tuple[str, str]] = {}
    for target in TARGETS:
        for placement in target.placements:
            for file in placement.files:
                assert wanted.setdefault(file.path, (file.skill, file.form)) == (file.skill, file.form)
