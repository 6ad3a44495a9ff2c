"""Setup of agents: from a person's choice of programs to installed skills and server entries, and back."""

import shutil
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal, TypeAlias, cast

from pydantic import BaseModel

from ktx.agents.install import Wish, install, uninstall
from ktx.agents.manifest import Install, read_manifest
from ktx.agents.target import (
    TOKEN_VARIABLE,
    Http,
    Mode,
    Placement,
    Roots,
    Scope,
    Server,
    Stdio,
    Target,
    roots_of,
)
from ktx.agents.targets import TARGET_BY_NAME, TARGETS
from ktx.agents.tree import Done
from ktx.config import env
from ktx.config.secrets import SecretRef
from ktx.errors import UsageError
from ktx.project import Project, ensure_state_dir
from ktx.serve.remember import can_remember
from ktx.suggest import did_you_mean

Transport: TypeAlias = Literal["stdio", "http"]
DEFAULT_URL = "http://127.0.0.1:7878/mcp"
NAMES: tuple[str, ...] = tuple(target.name for target in TARGETS)


@dataclass(frozen=True, kw_only=True)
class AgentAnswers:
    """What a person chose. No scope means the usual one of each target, no folder the project's own, no mode the one before."""

    targets: tuple[str, ...]
    scope: Scope | None = None
    install_dir: Path | None = None
    mode: Mode | None = None
    transport: Transport = "stdio"
    url: str = DEFAULT_URL


@dataclass(frozen=True, kw_only=True)
class AgentsDone:
    """What setup did. `next_steps` are sentences, in the order of the targets."""

    project_dir: Path
    installs: tuple[Install, ...]
    done: tuple[Done, ...]
    notes: tuple[str, ...] = ()
    next_steps: tuple[str, ...] = ()


def set_up_agents(project: Project, answers: AgentAnswers) -> AgentsDone:
    """Install ktx into each chosen target. Nothing is written when any file of the person's cannot be edited.

    Raises:
        UsageError: a target does not exist, has no such scope, or cannot use the transport.
        ConfigError: a file of the person's is malformed, or cannot be read or written.
    """
    roots = _roots(project, answers.install_dir)
    wishes = [_wish(project, roots, answers, _target(name)) for name in _unique(answers.targets)]
    ensure_state_dir(project)
    done, manifest = install(wishes, roots, project_dir=project.root, now=_now())
    return AgentsDone(
        project_dir=project.root,
        installs=manifest.installs,
        done=done,
        notes=tuple(_notes(wishes, done)),
        next_steps=tuple(_next_steps(roots, wishes)),
    )


def remove_agents(project: Project, answers: AgentAnswers) -> AgentsDone:
    """Take ktx out of the chosen targets, or of all when none is named.

    Raises:
        UsageError: a target does not exist, or has no such scope.
        ConfigError: a file of the person's is malformed, or cannot be read or written.
    """
    roots = _roots(project, answers.install_dir)
    wishes: list[Wish] | None = None
    if answers.targets:
        wishes = [
            _wish(project, roots, answers, _target(name), scope=scope)
            for name in _unique(answers.targets)
            for scope in _removed_scopes(project, _target(name), answers.scope)
        ]
    done, manifest = uninstall(wishes, roots, project_dir=project.root, now=_now())
    return AgentsDone(project_dir=project.root, installs=manifest.installs, done=done)


def found_targets(project: Project, install_dir: Path | None = None) -> tuple[str, ...]:
    """Name the targets whose program or files are on this machine."""
    roots = _roots(project, install_dir)
    return tuple(
        target.name
        for target in TARGETS
        if any(shutil.which(name, path=env.get("PATH")) for name in target.programs)
        or any(roots.path(trace).exists() for trace in target.traces)
    )


# -- wishes ----------------------------------------------------------------------------------------------------------


def _wish(
    project: Project, roots: Roots, answers: AgentAnswers, target: Target, *, scope: Scope | None = None
) -> Wish:
    placement = _placement(target, scope or answers.scope)
    if answers.transport == "http" and not target.is_http_able:
        raise UsageError(
            f"`{target.name}` starts its servers itself and cannot be given an address.",
            hint="Leave out `--transport http` for it; it will start `ktx mcp stdio`.",
        )
    is_shared = placement.scope == "project" and placement.entry is not None and roots.install == project.root
    named = None if is_shared else str(project.root)
    where = (
        "The project is the folder with `ktx.yaml`: this one, or the nearest above it."
        if roots.install == project.root and placement.scope == "project"
        else f"The project is in `{project.root}`."
    )
    return Wish(
        target=target,
        placement=placement,
        mode=answers.mode or _mode_before(project, roots, target, placement.scope),
        server=_server(project, answers, placement, named),
        where=where,
        has_memory=can_remember(project),
    )


def _mode_before(project: Project, roots: Roots, target: Target, scope: Scope) -> Mode:
    manifest = read_manifest(project.state_dir, project_dir=project.root)
    here = (target.name, scope, str(roots.install))
    modes: list[Mode] = [
        one.mode for one in manifest.installs if (one.target, one.scope, one.install_root) == here
    ]
    return modes[0] if modes else "mcp"


def _server(project: Project, answers: AgentAnswers, placement: Placement, project_dir: str | None) -> Server:
    if answers.transport == "http":
        return Http(url=answers.url)
    if project_dir is None and placement.entry is not None:
        project_dir = placement.entry.shared_dir
    return Stdio(
        command=_command(is_shared=placement.scope == "project"),
        project_dir=project_dir,
        variables=_variables(project),
    )


def _command(*, is_shared: bool) -> tuple[str, ...]:
    """Give how ktx is started: by name where a team shares the entry, by its full path where a program has no PATH of a shell."""
    found = shutil.which("ktx", path=env.get("PATH"))
    if found is not None and is_shared:
        return ("ktx",)
    started = Path(sys.argv[0])
    if started.name in ("ktx", "ktx.exe") and started.is_file():
        return (str(started.absolute()),)
    beside = Path(sys.executable).with_name("ktx.exe" if sys.platform == "win32" else "ktx")
    if beside.is_file():
        return (str(beside),)
    return (str(Path(found).absolute()),) if found is not None else (sys.executable, "-m", "ktx")


def _placement(target: Target, scope: Scope | None) -> Placement:
    placement = target.placement(scope)
    if placement is None:
        known = ", ".join(f"`{one.scope}`" for one in target.placements)
        raise UsageError(
            f"`{target.name}` cannot be installed in the scope `{scope}`.", hint=f"It has {known}."
        )
    return placement


def _removed_scopes(project: Project, target: Target, scope: Scope | None) -> tuple[Scope, ...]:
    """Give the scopes meant by a removal: the named one, else those that are installed, else the usual one."""
    if scope is not None:
        return (scope,)
    manifest = read_manifest(project.state_dir, project_dir=project.root)
    installed: list[Scope] = [one.scope for one in manifest.installs if one.target == target.name]
    return tuple(dict.fromkeys(installed)) or (target.placements[0].scope,)


def _target(name: str) -> Target:
    target = TARGET_BY_NAME.get(name)
    if target is None:
        raise UsageError(
            f"There is no target `{name}`.{did_you_mean(name, NAMES)}", hint=f"Targets: {', '.join(NAMES)}."
        )
    return target


def _roots(project: Project, install_dir: Path | None) -> Roots:
    if install_dir is not None and not install_dir.is_dir():
        raise UsageError(
            f"`{install_dir}` is no folder.", hint="Make it, or name another with --install-dir."
        )
    return roots_of(
        install=(install_dir or project.root).resolve(),
        state=project.state_dir,
        home=Path.home(),
        environment=env.snapshot(),
        platform=sys.platform,
    )


def _variables(project: Project) -> tuple[str, ...]:
    """Name the environment variables that ktx.yaml refers to, sorted."""
    return tuple(sorted(set(_references(project.config))))


def _references(value: object) -> Iterator[str]:
    match value:
        case str():
            reference = SecretRef.parse(value)
            if reference.kind == "env" and reference.target:
                yield reference.target
        case BaseModel():
            for _, inner in value:
                yield from _references(inner)
            yield from _references(value.model_extra)
        case Mapping():
            for inner in cast("Mapping[str, object]", value).values():
                yield from _references(inner)
        case tuple() | list():
            for inner in cast("Sequence[object]", value):
                yield from _references(inner)
        case _:
            pass


def _unique(names: Sequence[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(names))


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


# -- what to say -----------------------------------------------------------------------------------------------------


def _notes(wishes: Sequence[Wish], done: Sequence[Done]) -> Iterator[str]:
    for one in done:
        if one.status == "kept":
            yield (
                f"`{one.path}` was changed by somebody else and is left alone; delete it and run this again to get ktx's."
            )
    for wish in wishes:
        server = wish.server
        if isinstance(server, Stdio):
            if wish.scope == "project" and server.command[0] != "ktx" and wish.placement.entry is not None:
                yield (
                    f"`ktx` is not on PATH, so the entry for {wish.target.title} names `{server.command[0]}`: "
                    "it holds on this machine only."
                )
            if wish.target.name == "claude-desktop" and server.variables:
                names = ", ".join(f"`{name}`" for name in server.variables)
                yield (
                    f"Claude Desktop does not see your shell's variables, and ktx.yaml refers to {names}: "
                    "use `file:` references, or set them for the whole session."
                )


def _next_steps(roots: Roots, wishes: Sequence[Wish]) -> Iterator[str]:
    if any(isinstance(wish.server, Http) for wish in wishes):
        yield (
            f"Start the server with `ktx mcp start`, and set {TOKEN_VARIABLE} to its token where the agents run; "
            "no file holds it."
        )
    for wish in wishes:
        step = roots.fill(wish.placement.next_step)
        yield f"{wish.target.title}: {step.replace('{server}', _shown(wish.server))}"


def _shown(server: Server) -> str:
    if isinstance(server, Http):
        return f"{server.url} with the header `Authorization: Bearer ${{{TOKEN_VARIABLE}}}`."
    return f"the command `{' '.join((server.command[0], *server.arguments))}`, over stdio."
