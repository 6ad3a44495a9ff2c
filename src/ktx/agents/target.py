"""What an agent program wants from an install, as data: files of ktx's own, and one entry in a file of the person's."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeAlias, assert_never

Scope = Literal["project", "global", "local"]
Mode = Literal["mcp", "mcp-cli"]
TargetName = Literal["claude-code", "claude-desktop", "codex", "cursor", "opencode", "universal"]
Skill = Literal["ktx-analytics", "ktx", "rule"]
Form = Literal["skill", "rule", "cursor-rule", "command", "archive"]
Shape = Literal["claude-code", "claude-desktop", "codex", "cursor", "opencode"]

TOKEN_VARIABLE = "KTX_MCP_TOKEN"  # noqa: S105 - the name of a variable
"""The environment variable from which clients of the HTTP server take its token."""


@dataclass(frozen=True, kw_only=True)
class SkillFile:
    """A file that is ktx's alone. `path` starts with the name of a root, such as `{install}`."""

    path: str
    skill: Skill
    form: Form = "skill"
    is_cli_only: bool = False


@dataclass(frozen=True, kw_only=True)
class ServerEntry:
    """The one key that ktx owns in a file of the person's.

    `paths` are the names that the program accepts, the usual one first; a part of `key` may name a root. `shared_dir` is how
    the program itself calls the folder it was opened in, for entries that a team shares; None where the server is started
    in that folder anyway.
    """

    paths: tuple[str, ...]
    key: tuple[str, ...]
    shape: Shape
    form: Literal["json", "toml"] = "json"
    shared_dir: str | None = None
    skeleton: Mapping[str, str] | None = None


@dataclass(frozen=True, kw_only=True)
class Placement:
    """One scope of a target: `project` is shared with a team, `global` and `local` are the person's own."""

    scope: Scope
    files: tuple[SkillFile, ...]
    entry: ServerEntry | None
    next_step: str


@dataclass(frozen=True, kw_only=True)
class Target:
    """An agent program, its scopes with the usual one first, and what gives its presence away."""

    name: TargetName
    title: str
    placements: tuple[Placement, ...]
    programs: tuple[str, ...] = ()
    traces: tuple[str, ...] = ()
    is_http_able: bool = True

    def placement(self, scope: Scope | None) -> Placement | None:
        """Give the placement of a scope, or the usual one; None when the target has no such scope."""
        if scope is None:
            return self.placements[0]
        return next((one for one in self.placements if one.scope == scope), None)


@dataclass(frozen=True, kw_only=True)
class Roots:
    """The folders and files of this machine that paths start from."""

    install: Path
    state: Path
    claude: Path
    claude_json: Path
    codex: Path
    desktop: Path

    def path(self, text: str) -> Path:
        """Give the path that a table entry means here."""
        return Path(self.fill(text))

    def fill(self, text: str) -> str:
        """Put this machine's folders in the place of names in braces."""
        for name in ("install", "state", "claude_json", "claude", "codex", "desktop"):
            text = text.replace(f"{{{name}}}", str(getattr(self, name)))
        return text


def roots_of(
    *, install: Path, state: Path, home: Path, environment: Mapping[str, str], platform: str
) -> Roots:
    """Find the folders of each program as the program itself would; `platform` is `sys.platform`'s word."""

    def named(variable: str) -> Path | None:
        return Path(value) if (value := environment.get(variable)) else None

    claude = named("CLAUDE_CONFIG_DIR")
    match platform:
        case "darwin":
            desktop = home / "Library" / "Application Support"
        case "win32":
            desktop = named("APPDATA") or home / "AppData" / "Roaming"
        case _:
            desktop = named("XDG_CONFIG_HOME") or home / ".config"
    return Roots(
        install=install,
        state=state,
        claude=claude or home / ".claude",
        claude_json=(claude or home) / ".claude.json",
        codex=named("CODEX_HOME") or home / ".codex",
        desktop=desktop / "Claude",
    )


@dataclass(frozen=True, kw_only=True)
class Stdio:
    """A server that the agent starts itself. `variables` are those that ktx.yaml refers to."""

    command: tuple[str, ...]
    project_dir: str | None
    variables: tuple[str, ...] = ()

    @property
    def arguments(self) -> tuple[str, ...]:
        """The command line after the program."""
        where = ("--project-dir", self.project_dir) if self.project_dir is not None else ()
        return (*self.command[1:], "mcp", "stdio", *where)


@dataclass(frozen=True, kw_only=True)
class Http:
    """A server that runs already, at an address."""

    url: str


Server: TypeAlias = Stdio | Http


def entry_value(shape: Shape, server: Server, scope: Scope) -> dict[str, object]:
    """Write a server in the words of a program. The token is a reference in each one's own notation, never a value."""
    match server:
        case Stdio():
            value = _stdio(shape, server)
        case Http():
            value = _http(shape, server.url)
        case _:
            assert_never(server)
    return {**value, **_waiting(shape, scope)}


def _waiting(shape: Shape, scope: Scope) -> dict[str, object]:
    """Make a program wait for the tools before its first turn: a question put on its command line would miss them.

    Codex then refuses to start where the server does not, so only the settings of a project ask for it.
    """
    if shape == "claude-code":
        return {"alwaysLoad": True}
    return {"required": True} if shape == "codex" and scope == "project" else {}


def _stdio(shape: Shape, server: Stdio) -> dict[str, object]:
    program, arguments = server.command[0], list(server.arguments)
    match shape:
        case "claude-code":
            return {"type": "stdio", "command": program, "args": arguments}
        case "claude-desktop":
            return {"command": program, "args": arguments}
        case "cursor":  # hands only a few variables on by itself
            passed: dict[str, object] = {name: f"${{env:{name}}}" for name in server.variables}
            return {"command": program, "args": arguments, **({"env": passed} if passed else {})}
        case "opencode":
            return {"type": "local", "command": [program, *arguments]}
        case "codex":  # hands only a few variables on by itself
            names = {"env_vars": list(server.variables)} if server.variables else {}
            return {"command": program, "args": arguments, **names}
        case _:
            assert_never(shape)


def _http(shape: Shape, url: str) -> dict[str, object]:
    def bearer(reference: str) -> dict[str, object]:
        return {"Authorization": f"Bearer {reference}"}

    match shape:
        case "claude-code":
            return {"type": "http", "url": url, "headers": bearer(f"${{{TOKEN_VARIABLE}}}")}
        case "cursor":
            return {"url": url, "headers": bearer(f"${{env:{TOKEN_VARIABLE}}}")}
        case "opencode":
            return {"type": "remote", "url": url, "headers": bearer(f"{{env:{TOKEN_VARIABLE}}}")}
        case "codex":
            return {"url": url, "bearer_token_env_var": TOKEN_VARIABLE}
        case "claude-desktop":
            raise ValueError("Claude Desktop reads no addresses from its file.")
        case _:
            assert_never(shape)


TRANSPORT_KEYS = ("type", "command", "args", "url", "headers", "bearer_token_env_var", "env_vars")
"""The keys of an entry that say how to reach the server: ktx's to change. All others are the person's."""

SUGGESTED_KEYS = ("alwaysLoad", "required")
"""Keys that an install sets once; what a person makes of them stays."""
