"""What the program says it has loaded, held against what this run allows.

Claude Code describes itself in its first message: tools, servers, plugins, permission mode, where its credential comes from. A
managed machine can force settings that no flag switches off; this check is what notices.
"""

from collections.abc import Iterable, Mapping
from typing import Final, cast

from ktx.errors import ModelError

STRUCTURED_TOOL: Final = "StructuredOutput"


def find_leaks(
    init: Mapping[str, object], *, tools: frozenset[str], servers: frozenset[str]
) -> tuple[str, ...]:
    """Say what the program has beyond the run, or lacks of it, one sentence each; nothing when it is as asked for.

    >>> init = {"tools": ["Bash"], "mcp_servers": [], "plugins": [], "permissionMode": "dontAsk",
    ...         "apiKeySource": "none", "served_by_anthropic": True, "skills": [], "slash_commands": []}
    >>> find_leaks(init, tools=frozenset(), servers=frozenset())
    ('the model would have the tool `Bash`',)
    """
    leaks = [
        f"the program does not say which {what} it has"
        for key, what in _LISTS.items()
        if not _is_list_of(init.get(key), dict if key in ("mcp_servers", "plugins") else str)
    ]
    leaks += [f"the model would have the tool `{name}`" for name in sorted(_names(init, "tools") - tools)]
    leaks += [f"the tool `{name}` is missing" for name in sorted(tools - _names(init, "tools"))]
    leaks += _server_leaks(_entries(init, "mcp_servers"), servers)
    leaks += [
        f"the plugin `{plugin.get('name')}` is loaded from `{plugin.get('path')}`"
        for plugin in _entries(init, "plugins")
        if plugin.get("path") != "builtin" or not str(plugin.get("source", "")).endswith("@builtin")
    ]
    leaks += [f"the skill `{name}` is loaded" for name in sorted(_names(init, "skills"))]
    leaks += [f"the command `/{name}` is loaded" for name in sorted(_names(init, "slash_commands"))]
    if init.get("permissionMode") != "dontAsk":
        leaks.append(f"the permission mode is `{init.get('permissionMode')}` instead of `dontAsk`")
    if init.get("apiKeySource") != "none":
        leaks.append(
            f"the credential comes from `{init.get('apiKeySource')}` instead of Claude Code's own login"
        )
    if init.get("served_by_anthropic") is not True:
        leaks.append("the requests would not go to Anthropic")
    return tuple(leaks)


_LISTS: Final = {
    "tools": "tools",
    "mcp_servers": "MCP servers",
    "plugins": "plugins",
    "skills": "skills",
    "slash_commands": "commands",
}


def _is_list_of(value: object, kind: type) -> bool:
    return isinstance(value, list) and all(isinstance(item, kind) for item in cast("list[object]", value))


def leak_error(leaks: Iterable[str]) -> ModelError:
    """Give the error that stops a run."""
    return ModelError(
        f"The run was stopped because Claude Code is not isolated: {'; '.join(leaks)}.",
        hint="Managed settings of this machine or account force it; ask whoever manages Claude Code, "
        "or choose another `llm.provider.backend`.",
        kind="leaked",
    )


def _server_leaks(found: list[Mapping[str, object]], servers: frozenset[str]) -> list[str]:
    names = {str(server.get("name")) for server in found}
    leaks = [f"the MCP server `{name}` is connected" for name in sorted(names - servers)]
    leaks += [f"the MCP server `{name}` is missing" for name in sorted(servers - names)]
    leaks += [
        f"the MCP server `{server.get('name')}` is `{server.get('status')}`"
        for server in found
        if server.get("name") in servers and server.get("status") != "connected"
    ]
    return leaks


def _names(init: Mapping[str, object], key: str) -> set[str]:
    value = init.get(key)
    return {str(name) for name in cast("list[object]", value)} if isinstance(value, list) else set()


def _entries(init: Mapping[str, object], key: str) -> list[Mapping[str, object]]:
    value = init.get(key)
    entries = cast("list[object]", value) if isinstance(value, list) else []
    return [cast("Mapping[str, object]", entry) for entry in entries if isinstance(entry, dict)]
