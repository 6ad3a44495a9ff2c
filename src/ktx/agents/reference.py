"""The table of targets as a page: which files an install writes, and which key of which file it owns."""

from ktx.agents.target import Http, Placement, Stdio, Target, entry_value
from ktx.agents.targets import TARGETS

_NAMES = {
    "{install}/": "",
    "{install}": "DIR",
    "{state}": ".ktx",
    "{claude_json}": "~/.claude.json",
    "{claude}": "~/.claude",
    "{codex}": "~/.codex",
    "{desktop}": "(Claude's settings)",
}
_HEAD = """\
# Agents

What `ktx setup --agents` writes, per `--target` and scope. This page is generated from the table of targets; a test keeps it current.

A scope is chosen by `--global` or `--local`; the first one of a target is its usual one. Files in italics come with `--mode mcp-cli` only. The entry is
the one key that ktx owns in a file of yours. `~/.codex` and `~/.claude` move with `CODEX_HOME` and `CLAUDE_CONFIG_DIR`; Claude Desktop keeps its settings in
`~/Library/Application Support/Claude` on macOS, `%APPDATA%\\Claude` on Windows, and `~/.config/Claude` (or `$XDG_CONFIG_HOME/Claude`) on Linux.
Codex does not read `.codex/instructions/ktx.md` by itself: it is a short text to point at from an `AGENTS.md`.

| target | scope | files of ktx's own | entry |
|---|---|---|---|
"""


def render_reference() -> str:
    """Render the reference page."""
    rows = [_row(target, placement) for target in TARGETS for placement in target.placements]
    return _HEAD + "\n".join(rows) + "\n\n" + "\n".join(_entries()) + "\n"


def _row(target: Target, placement: Placement) -> str:
    files = [
        f"*`{_plain(file.path)}`*" if file.is_cli_only else f"`{_plain(file.path)}`"
        for file in placement.files
    ]
    entry = placement.entry
    where = "printed, for you to put where it belongs"
    if entry is not None:
        paths = " or ".join(f"`{_plain(path)}`" for path in entry.paths)
        where = f"{paths}: `{'.'.join(_plain(part) for part in entry.key)}`"
    return f"| `{target.name}` | {placement.scope} | {', '.join(files)} | {where} |"


def _entries() -> list[str]:
    """Show one entry per program and transport, as data."""
    lines = ["## The entries", ""]
    for target in TARGETS:
        placement = target.placements[0]
        if placement.entry is None:
            continue
        stdio = Stdio(
            command=("ktx",) if placement.scope == "project" else ("/path/to/ktx",),
            project_dir=placement.entry.shared_dir if placement.scope == "project" else "/path/to/project",
            variables=("SALES_DATABASE_URL",),
        )
        lines += [f"- `{target.name}`: `{entry_value(placement.entry.shape, stdio, placement.scope)}`"]
        if target.is_http_able:
            http = Http(url="http://127.0.0.1:7878/mcp")
            lines += [f"  - over HTTP: `{entry_value(placement.entry.shape, http, placement.scope)}`"]
    lines += [
        "",
        "`SALES_DATABASE_URL` stands for the variables that `ktx.yaml` refers to. An entry that is yours alone names full paths.",
    ]
    return [line.replace("'", '"').replace("True", "true") for line in lines]


def _plain(text: str) -> str:
    for name, shown in _NAMES.items():
        text = text.replace(name, shown)
    return text
