"""`ktx setup --agents`: its options, and what it prints."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TypeVar, cast

import click

from ktx.agents.target import Mode
from ktx.cli import ask
from ktx.cli.render.data import write_json, write_text
from ktx.cli.render.narrate import say
from ktx.errors import UsageError
from ktx.project import Project, open_project
from ktx.setup.steps.agents import (
    DEFAULT_URL,
    NAMES,
    AgentAnswers,
    AgentsDone,
    found_targets,
    remove_agents,
    set_up_agents,
)

Result = TypeVar("Result")
_OWN = ("target", "global_", "local", "install_dir", "mode", "transport", "url", "remove")
_INSTEAD = "Name the targets: ktx setup --agents --target claude-code --no-input"


def agents_options(command: Callable[..., Result]) -> Callable[..., Result]:
    """Add the options of `--agents`."""
    options = (
        click.option("--agents", is_flag=True, help="Install ktx into agents: skills, and the MCP server."),
        click.option("--target", multiple=True, metavar="NAME", help=f"Repeatable: {', '.join(NAMES)}."),
        click.option("--global", "global_", is_flag=True, help="For you, in every folder."),
        click.option("--local", is_flag=True, help="For you, in this folder only (claude-code)."),
        click.option("--install-dir", type=click.Path(path_type=Path), help="Where the agent is opened, if not in the project."),
        click.option("--mode", type=click.Choice(["mcp", "mcp-cli"]), help="`mcp-cli` adds a skill for the command line."),
        click.option("--transport", type=click.Choice(["stdio", "http"]), help="How agents reach ktx; stdio by default."),
        click.option("--url", metavar="URL", help=f"The address for --transport http; else {DEFAULT_URL}."),
        click.option("--remove", is_flag=True, help="Take ktx out of the targets again, or out of all."),
    )  # fmt: skip
    for option in reversed(options):
        command = option(command)
    return command


def take_options(options: dict[str, object]) -> Mapping[str, object]:
    """Take the options of `--agents` out of all that a command was given.

    Raises:
        UsageError: one was given without `--agents`.
    """
    own = {name: options.pop(name) for name in _OWN}
    if not options.pop("agents"):
        for name, value in own.items():
            if value:
                flag = name.rstrip("_").replace("_", "-")
                raise UsageError(
                    f"`--{flag}` belongs to `--agents`.", hint=f"Write `ktx setup --agents --{flag} …`."
                )
        return {}
    return own


def run_agents(project_dir: Path, given: Mapping[str, object], *, is_asking: bool, as_json: bool) -> int:
    """Install or remove, and say what was done."""
    project = open_project(project_dir)
    answers = _answers(given)
    if given["remove"]:
        done = remove_agents(project, answers)
    else:
        if not answers.targets:
            answers = replace(answers, targets=_chosen(project, answers, is_asking=is_asking))
        done = set_up_agents(project, answers)
    if as_json:
        write_json(_plain(done))
    else:
        _report(done, is_removal=bool(given["remove"]))
    return 0


def _answers(given: Mapping[str, object]) -> AgentAnswers:
    if given["global_"] and given["local"]:
        raise UsageError("`--global` and `--local` exclude each other.")
    if given["url"] and given["transport"] == "stdio":
        raise UsageError("`--url` is an address for `--transport http`.")
    folder = given["install_dir"]
    return AgentAnswers(
        targets=cast("tuple[str, ...]", given["target"]),
        scope="global" if given["global_"] else "local" if given["local"] else None,
        install_dir=Path.cwd() / folder.expanduser() if isinstance(folder, Path) else None,
        mode=cast("Mode | None", given["mode"]),
        transport="http" if given["url"] or given["transport"] == "http" else "stdio",
        url=str(given["url"] or DEFAULT_URL),
    )


def _chosen(project: Project, answers: AgentAnswers, *, is_asking: bool) -> tuple[str, ...]:
    found = found_targets(project, answers.install_dir)
    if not is_asking:
        likely = " ".join(f"--target {name}" for name in found) or "--target universal"
        raise UsageError("No target is named.", hint=f"Found here: ktx setup --agents {likely} --no-input")
    ask.ensure_terminal(_INSTEAD)
    chosen = ask.choose_some("Which agents shall know ktx?", NAMES, preset=found)
    if not chosen:
        raise UsageError("No target was chosen.", hint="Blank marks a line, Enter ends the choice.")
    return chosen


def _report(done: AgentsDone, *, is_removal: bool) -> None:
    for one in done.done:
        write_text(f"{one.status:<9}  {one.path}{f' ({_key(one.key)})' if one.key else ''}")
    if not done.done:
        say("Nothing is installed here." if is_removal else "There was nothing to install.")
    for note in done.notes:
        say(f"note: {note}")
    if done.next_steps:
        say("Next:")
    for step in done.next_steps:
        say(f"  {step}")


def _plain(done: AgentsDone) -> dict[str, object]:
    return {
        "projectDir": done.project_dir,
        "installs": [one.model_dump(mode="json", by_alias=True) for one in done.installs],
        "files": [
            {"path": one.path, "key": list(one.key) or None, "status": one.status} for one in done.done
        ],
        "notes": list(done.notes),
        "nextSteps": list(done.next_steps),
    }


def _key(key: tuple[str, ...]) -> str:
    return " > ".join(key)
