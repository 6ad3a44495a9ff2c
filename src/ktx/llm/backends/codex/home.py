"""A private home for one run of Codex: the person's login, ktx's settings, and nothing else of theirs.

Codex reads far more from `CODEX_HOME` than its login: instructions, skills, MCP servers, hooks, plugins. Overrides on the command
line merge with those, they do not replace them. So every run gets a home of its own, with the login linked into it (linked, not
copied: Codex writes renewed tokens through the link, and a copy would log the person out).
"""

import json
import shutil
import tempfile
import tomllib
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from ktx.errors import ModelError

PASSED_ON: Final = frozenset(
    {
        "PATH", "USER", "LOGNAME", "TMPDIR", "TEMP", "TMP", "TZ", "LANG", "LANGUAGE", "LC_ALL", "LC_CTYPE",
        "HTTPS_PROXY", "https_proxy", "HTTP_PROXY", "http_proxy", "NO_PROXY", "no_proxy", "ALL_PROXY", "all_proxy",
        "CODEX_CA_CERTIFICATE", "SSL_CERT_FILE", "SSL_CERT_DIR",
        "APPDATA", "COMSPEC", "LOCALAPPDATA", "PATHEXT", "PROGRAMDATA", "SYSTEMDRIVE", "SYSTEMROOT", "USERNAME", "WINDIR",
    }
)  # fmt: skip
"""Variables of the parent that the program may see; `HOME` and `CODEX_HOME` always point into the private home."""

_OFF: Final = (
    "apps", "api_key_model_discovery", "auth_elicitation", "browser_use", "browser_use_external", "computer_use",
    "daemon_auto_start", "enable_request_compression", "goals", "hooks", "image_generation", "in_app_browser", "memories",
    "multi_agent", "plugin_sharing", "plugins", "realtime_conversation", "remote_plugin", "shell_snapshot", "shell_tool",
    "skill_search", "sleep_tool", "tool_call_mcp_elicitation", "tool_suggest", "unbounded_connection_retries",
    "unified_exec", "view_image", "workspace_dependencies",
)  # fmt: skip
"""Features switched off by name; a name that a version does not know is ignored by it."""

_SETTINGS: Final = """\
# Written by ktx for one run, and removed after it.
model_provider = "ktx"
sandbox_mode = "read-only"
approval_policy = "never"
web_search = "disabled"
project_doc_max_bytes = 0
include_environment_context = false
include_permissions_instructions = false
include_apps_instructions = false
include_collaboration_mode_instructions = false
check_for_update_on_startup = false

# The person's own login and its usual address; retries are ktx's business, so that no wait is hidden.
[model_providers.ktx]
name = "OpenAI"
wire_api = "responses"
requires_openai_auth = true
supports_websockets = false
request_max_retries = 0
stream_max_retries = 0

[analytics]
enabled = false
[history]
persistence = "none"
[agents]
enabled = false
[tools.experimental_request_user_input]
enabled = false
[skills]
include_instructions = false
[skills.bundled]
enabled = false
[features]
"""


def settings() -> str:
    """Give the `config.toml` of a run."""
    return _SETTINGS + "".join(f"{name} = false\n" for name in _OFF)


def login_home(environment: Mapping[str, str]) -> Path:
    """Give the directory where the person's own Codex keeps its login."""
    given = environment.get("CODEX_HOME")
    if given:
        return Path(given)
    home = environment.get("HOME") or environment.get("USERPROFILE")
    return (Path(home) if home else Path.home()) / ".codex"


def ensure_login(environment: Mapping[str, str]) -> Path:
    """Give the login file of the person's Codex.

    Raises:
        ModelError: nobody is logged in, or the login is kept where a second home cannot reach it.
    """
    home = login_home(environment)
    login = home / "auth.json"
    if login.is_file():
        return login
    if _keeps_login_in_keyring(home):
        raise ModelError(
            f"Codex keeps its login in the system keyring (`cli_auth_credentials_store` in `{home / 'config.toml'}`), "
            "where the isolated home of a ktx run cannot read it.",
            hint='Set `cli_auth_credentials_store = "file"` there and run `codex login` again.',
            kind="not_logged_in",
        )
    raise ModelError(
        f"Codex is not logged in: there is no `{login}`.",
        hint="Run `codex login` once, or choose another backend with `ktx setup --llm-backend …`.",
        kind="not_logged_in",
    )


def describe_login(login: Path) -> str:
    """Say in two words how a login file authenticates, without showing any of it."""
    try:
        content: object = json.loads(login.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return "an unreadable login file"
    if isinstance(content, dict) and content.get("tokens"):  # pyright: ignore[reportUnknownMemberType]
        return "ChatGPT login"
    return "API key"


@contextmanager
def private_home(environment: Mapping[str, str], *, under: Path) -> Generator[tuple[Path, dict[str, str]]]:
    """Make a private home for one run and give it with the program's whole environment; remove it afterwards.

    Raises:
        ModelError: nobody is logged in, or the login cannot be linked.
    """
    login = ensure_login(environment)
    under.mkdir(parents=True, exist_ok=True)
    home = Path(tempfile.mkdtemp(prefix="run-", dir=under))
    try:
        try:
            (home / "auth.json").symlink_to(login.resolve())
        except OSError as error:
            raise ModelError(
                f"The Codex login `{login}` cannot be linked into `{home}`: {error.strerror}.",
                hint="ktx links the login instead of copying it, because renewed tokens must reach your own Codex.",
                kind="not_logged_in",
            ) from error
        (home / "config.toml").write_text(settings(), encoding="utf-8")
        (home / "empty").mkdir()
        chosen = {name: value for name, value in environment.items() if name in PASSED_ON and value}
        yield home, {**chosen, "HOME": str(home), "CODEX_HOME": str(home)}
    finally:
        shutil.rmtree(home, ignore_errors=True)


def _keeps_login_in_keyring(home: Path) -> bool:
    try:
        content = tomllib.loads((home / "config.toml").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    return content.get("cli_auth_credentials_store") in {"keyring", "auto"}
