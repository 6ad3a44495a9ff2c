"""The whole environment of the `claude` program, chosen name by name.

About seventy variables can send Claude Code to another provider, another account or another model, and new ones come with every
version. So nothing is taken away: only what stands here is passed on.
"""

from collections.abc import Mapping
from typing import Final

from ktx.llm.caching import CacheSettings

PASSED_ON: Final = frozenset(
    {
        # where things are and how text is written
        "PATH", "HOME", "USER", "LOGNAME", "TMPDIR", "TEMP", "TMP", "TZ", "LANG", "LANGUAGE", "LC_ALL", "LC_CTYPE",
         "XDG_CONFIG_HOME", "XDG_DATA_HOME", "XDG_STATE_HOME",
        # the way out to the network
        "HTTPS_PROXY", "https_proxy", "HTTP_PROXY", "http_proxy", "NO_PROXY", "no_proxy", "ALL_PROXY", "all_proxy",
        "NODE_EXTRA_CA_CERTS", "SSL_CERT_FILE", "SSL_CERT_DIR",
        "CLAUDE_CODE_CLIENT_CERT", "CLAUDE_CODE_CLIENT_KEY", "CLAUDE_CODE_CLIENT_KEY_PASSPHRASE",
        # the login of Claude Code itself
        "CLAUDE_CONFIG_DIR", "CLAUDE_CODE_OAUTH_TOKEN",
        # what a Windows program cannot start without
        "APPDATA", "COMSPEC", "HOMEDRIVE", "HOMEPATH", "LOCALAPPDATA", "PATHEXT", "PROGRAMDATA", "SYSTEMDRIVE",
        "SYSTEMROOT", "USERNAME", "USERPROFILE", "WINDIR",
    }
)  # fmt: skip

_ALWAYS: Final = {
    "CLAUDE_CODE_ENTRYPOINT": "sdk-py",
    "CLAUDE_CODE_SDK_READS_SESSION_STATE": "1",
    "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC": "1",
    "CLAUDE_CODE_DISABLE_AUTO_MEMORY": "1",
    "CLAUDE_CODE_SKIP_MCP_DEBUG_LOG_FILES": "1",
    "DISABLE_AUTOUPDATER": "1",
    # one request, one answer, from the model that was named: what else is to be tried is for the runtime to say
    "CLAUDE_CODE_DISABLE_NONSTREAMING_FALLBACK": "1",
    "CLAUDE_CODE_DISABLE_REFUSAL_RETRY": "1",
    "CLAUDE_CODE_DISABLE_REFUSAL_FALLBACK": "1",
    "CLAUDE_CODE_NO_MODEL_FALLBACK": "1",
    "CLAUDE_CODE_DISABLE_MODEL_ACCESS_FALLBACK": "1",
    # every tool is in front of the model from the start, its answer as ktx gave it, and nothing is added to the prompt
    "ENABLE_TOOL_SEARCH": "false",
    "ENABLE_MCP_LARGE_OUTPUT_FILES": "false",
    "CLAUDE_CODE_DISABLE_ATTACHMENTS": "1",
    "CLAUDE_CODE_DISABLE_GIT_INSTRUCTIONS": "1",
}


def child_environment(
    parent: Mapping[str, str],
    *,
    caching: CacheSettings,
    max_retries: int,
    max_output_tokens: int,
    sdk_version: str,
) -> dict[str, str]:
    """Give the child's environment: the allowed part of the parent's, and the switches of this run.

    >>> settings = CacheSettings(enabled=False)
    >>> given = {"HOME": "/home/a", "ANTHROPIC_BASE_URL": "https://elsewhere"}
    >>> made = child_environment(given, caching=settings, max_retries=0, max_output_tokens=9, sdk_version="1")
    >>> made["HOME"], "ANTHROPIC_BASE_URL" in made, made["DISABLE_PROMPT_CACHING"]
    ('/home/a', False, '1')
    """
    return {
        **{name: value for name, value in parent.items() if name in PASSED_ON and value},
        **_ALWAYS,
        **_caching_switches(caching),
        "CLAUDE_AGENT_SDK_VERSION": sdk_version,
        "CLAUDE_CODE_MAX_RETRIES": str(max_retries),
        "CLAUDE_CODE_MAX_OUTPUT_TOKENS": str(max_output_tokens),
        "MAX_STRUCTURED_OUTPUT_RETRIES": "2",
    }


def _caching_switches(caching: CacheSettings) -> dict[str, str]:
    """Say the cache settings in the three words that Claude Code knows; without one it decides by the kind of login."""
    if not caching.enabled:
        return {"DISABLE_PROMPT_CACHING": "1"}
    written = (
        ({"systemTtl", "system_ttl"}, caching.system_ttl),
        ({"toolsTtl", "tools_ttl"}, caching.tools_ttl),
        ({"historyTtl", "history_ttl"}, caching.history_ttl),
    )
    ttls = {ttl for names, ttl in written if names & caching.is_set}
    if "1h" in ttls:
        return {"ENABLE_PROMPT_CACHING_1H": "1"}
    return {"FORCE_PROMPT_CACHING_5M": "1"} if ttls else {}
