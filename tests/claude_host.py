"""A machine for the real `claude` program: a home with a login, and a model server in the place of api.anthropic.com."""

import json
import os
import time
from dataclasses import dataclass
from pathlib import Path

from modelserver.server import ModelServer


@dataclass(frozen=True, kw_only=True)
class ClaudeHost:
    """Where the program lives in a test. `environment` is what ktx itself would have been started with."""

    home: Path
    environment: dict[str, str]

    @property
    def work_dir(self) -> Path:
        """The folder in which the program runs."""
        return self.home / "ktx-work"

    def backend(self, **more):
        """Give a backend of this machine."""
        from ktx.llm.backends.claude_code.backend import ClaudeCodeBackend

        environment = {**self.environment, **more.pop("environment", {})}
        return ClaudeCodeBackend(environment=environment, work_dir=self.work_dir, **more)


def make_host(home: Path, server: ModelServer, *, is_logged_in: bool = True) -> ClaudeHost:
    """Lay out the home folder and the environment."""
    for name in (".claude", "tmp"):
        (home / name).mkdir(parents=True, exist_ok=True)
    if is_logged_in:
        login = {
            "accessToken": "sk-ant-oat01-test",
            "refreshToken": "sk-ant-ort01-test",
            "expiresAt": int(time.time() * 1000) + 8 * 3_600_000,
            "scopes": ["user:inference", "user:profile"],
            "subscriptionType": "max",
        }
        (home / ".claude" / ".credentials.json").write_text(json.dumps({"claudeAiOauth": login}))
    certificate = server.authority.write_root(home / "ca.pem")
    environment = {
        "PATH": os.environ["PATH"],
        "HOME": str(home),
        "TMPDIR": str(home / "tmp"),
        "HTTPS_PROXY": server.url,
        "NODE_EXTRA_CA_CERTS": str(certificate),
    }
    return ClaudeHost(home=home, environment=environment)
