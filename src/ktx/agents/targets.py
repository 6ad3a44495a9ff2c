"""Every agent that ktx installs itself into. To add one, write its row here."""

from ktx.agents.target import Form, Placement, ServerEntry, SkillFile, Target

_APPROVE = "Start `claude` in {install}; it asks once whether to trust the project and its server `ktx`."
_TRUST = "Start `codex` in {install} and trust the folder: Codex reads a project's settings only then."


def _skills(folder: str, *more: SkillFile) -> tuple[SkillFile, ...]:
    return (
        SkillFile(path=f"{folder}/ktx-analytics/SKILL.md", skill="ktx-analytics"),
        SkillFile(path=f"{folder}/ktx/SKILL.md", skill="ktx", is_cli_only=True),
        *more,
    )


def _pair(folder: str, ending: str, form: Form) -> tuple[SkillFile, ...]:
    return (
        SkillFile(path=f"{folder}/ktx-analytics{ending}", skill="ktx-analytics", form=form),
        SkillFile(path=f"{folder}/ktx{ending}", skill="ktx", form=form, is_cli_only=True),
    )


def _rule(path: str) -> SkillFile:
    return SkillFile(path=path, skill="rule", form="rule", is_cli_only=True)


TARGETS: tuple[Target, ...] = (
    Target(
        name="claude-code",
        title="Claude Code",
        placements=(
            Placement(
                scope="project",
                files=_skills("{install}/.claude/skills", _rule("{install}/.claude/rules/ktx.md")),
                entry=ServerEntry(
                    paths=("{install}/.mcp.json",), key=("mcpServers", "ktx"), shape="claude-code"
                ),
                next_step=_APPROVE,
            ),
            Placement(
                scope="global",
                files=_skills("{claude}/skills", _rule("{claude}/rules/ktx.md")),
                entry=ServerEntry(paths=("{claude_json}",), key=("mcpServers", "ktx"), shape="claude-code"),
                next_step="Start `claude` anywhere; `/mcp` shows the server `ktx`.",
            ),
            Placement(
                scope="local",
                files=_skills("{claude}/skills", _rule("{claude}/rules/ktx.md")),
                entry=ServerEntry(
                    paths=("{claude_json}",),
                    key=("projects", "{install}", "mcpServers", "ktx"),
                    shape="claude-code",
                ),
                next_step="Start `claude` in {install}; `/mcp` shows the server `ktx`.",
            ),
        ),
        programs=("claude",),
        traces=("{install}/.claude", "{claude}"),
    ),
    Target(
        name="codex",
        title="Codex",
        placements=(
            Placement(
                scope="project",
                files=_skills("{install}/.agents/skills", _rule("{install}/.codex/instructions/ktx.md")),
                entry=ServerEntry(
                    paths=("{install}/.codex/config.toml",),
                    key=("mcp_servers", "ktx"),
                    shape="codex",
                    form="toml",
                ),
                next_step=_TRUST,
            ),
            Placement(
                scope="global",
                files=_skills("{codex}/skills", _rule("{codex}/instructions/ktx.md")),
                entry=ServerEntry(
                    paths=("{codex}/config.toml",), key=("mcp_servers", "ktx"), shape="codex", form="toml"
                ),
                next_step="Start `codex` anywhere; `/mcp` shows the server `ktx`.",
            ),
        ),
        programs=("codex",),
        traces=("{install}/.codex", "{codex}"),
    ),
    Target(
        name="cursor",
        title="Cursor",
        placements=(
            Placement(
                scope="project",
                files=_pair("{install}/.cursor/rules", ".mdc", "cursor-rule"),
                entry=ServerEntry(
                    paths=("{install}/.cursor/mcp.json",),
                    key=("mcpServers", "ktx"),
                    shape="cursor",
                    shared_dir="${workspaceFolder}",
                ),
                next_step="Open {install} in Cursor and switch the server `ktx` on under Settings, MCP.",
            ),
        ),
        programs=("cursor", "cursor-agent"),
        traces=("{install}/.cursor",),
    ),
    Target(
        name="opencode",
        title="OpenCode",
        placements=(
            Placement(
                scope="project",
                files=_pair("{install}/.opencode/commands", ".md", "command"),
                entry=ServerEntry(
                    paths=("{install}/opencode.json", "{install}/opencode.jsonc"),
                    key=("mcp", "ktx"),
                    shape="opencode",
                    skeleton={"$schema": "https://opencode.ai/config.json"},
                ),
                next_step="Start `opencode` in {install}; `/ktx-analytics` followed by a question asks it.",
            ),
        ),
        programs=("opencode",),
        traces=("{install}/.opencode", "{install}/opencode.json", "{install}/opencode.jsonc"),
    ),
    Target(
        name="universal",
        title="any other agent",
        placements=(
            Placement(
                scope="project",
                files=_skills("{install}/.agents/skills"),
                entry=None,
                next_step="Give your agent this MCP server: {server}",
            ),
        ),
    ),
    Target(
        name="claude-desktop",
        title="Claude Desktop",
        placements=(
            Placement(
                scope="global",
                files=_pair("{state}/agents/claude", ".zip", "archive"),
                entry=ServerEntry(
                    paths=("{desktop}/claude_desktop_config.json",),
                    key=("mcpServers", "ktx"),
                    shape="claude-desktop",
                ),
                next_step=(
                    "Restart Claude Desktop, then upload the archives in {state}/agents/claude under Settings, "
                    "Capabilities, Skills."
                ),
            ),
        ),
        traces=("{desktop}",),
        is_http_able=False,
    ),
)
TARGET_BY_NAME: dict[str, Target] = {target.name: target for target in TARGETS}
