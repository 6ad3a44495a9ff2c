"""One rig per backend: a loopback provider, and a runtime that reaches it as a user's project would.

A backend joins the conformance suite by a function here that yields a `Rig`. The suite never asks which backend it drives;
what one cannot do stands in the rig as data, with the reason.
"""

import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from claude_host import make_host
from ktx.config.model import KtxConfig
from ktx.events import Event
from ktx.llm.connect import LEDGER_NAME, open_runtime
from ktx.llm.ledger import Entry, Ledger
from ktx.llm.messages import Usage
from ktx.llm.runtime import Runtime
from modelserver.server import ModelServer
from modelserver.tls import write_service_account
from responsesserver.server import ResponsesServer

QUICK = {"retry": {"maxAttempts": 3, "baseDelayMs": 1, "maxDelayMs": 2, "jitter": False}}
"""Retries that a test need not wait for."""


@dataclass
class Rig:
    """A backend under test. `cannot` maps what a test may need to why this backend cannot do it."""

    name: str
    server: ModelServer
    folder: Path
    provider: Mapping[str, Any]
    model: str
    environment: Callable[[str, str], None]
    cannot: Mapping[str, str] = field(default_factory=dict)
    events: list[Event] = field(default_factory=list)
    requests_before: int = 0

    def runtime(self, **llm: Any) -> Runtime:
        """Open the runtime of a project whose `llm` block has these keys besides its provider."""
        rate_limit = llm.pop("rate_limit", QUICK)
        block = {"provider": self.provider, "models": {"default": self.model}, **llm}
        config = KtxConfig.model_validate({"llm": block, "ingest": {"rateLimit": rate_limit}})
        return open_runtime(
            config.llm,
            project_dir=self.folder,
            state_dir=self.folder / ".ktx",
            emit=self.events.append,
            rate_limit=config.ingest.rate_limit,
        )

    def ledger(self) -> tuple[Entry, ...]:
        """Read what the runtime wrote down."""
        ledger = Ledger(self.folder / ".ktx" / LEDGER_NAME)
        try:
            return ledger.entries()
        finally:
            ledger.close()

    def recorded(self) -> Usage:
        """Sum the ledger."""
        return sum((entry.usage for entry in self.ledger()), Usage())

    def billed(self) -> Usage:
        """Sum what the provider billed."""
        total = self.server.bill.total
        return Usage(
            uncached_input_tokens=total.input_tokens,
            cache_write_5m_tokens=total.write_5m_tokens,
            cache_write_1h_tokens=total.write_1h_tokens,
            cache_read_tokens=total.read_tokens,
            output_tokens=total.output_tokens,
        )


@contextmanager
def anthropic_rig(folder: Path, environment: Callable[[str, str], None]) -> Iterator[Rig]:
    """Anthropic's API with a key from the environment."""
    with ModelServer() as server:
        environment("ANTHROPIC_API_KEY", "sk-test")
        provider = {"backend": "anthropic", "anthropic": {"base_url": server.url}}
        yield Rig("anthropic", server, folder, provider, "claude-sonnet-5-5", environment)


@contextmanager
def gateway_rig(folder: Path, environment: Callable[[str, str], None]) -> Iterator[Rig]:
    """A strict gateway, its address given with the `/v1` that users write, its key in a file."""
    with ModelServer() as server:
        (folder / "gateway.key").write_text("gw-test\n")
        block = {"base_url": f"{server.gateway_url}/v1", "api_key": "file:gateway.key"}
        provider = {"backend": "gateway", "gateway": block}
        yield Rig("gateway", server, folder, provider, "anthropic/claude-sonnet-5-5", environment)


@contextmanager
def vertex_rig(folder: Path, environment: Callable[[str, str], None]) -> Iterator[Rig]:
    """Vertex AI with Application Default Credentials: a service account whose tokens come from loopback."""
    with ModelServer() as server:
        account = write_service_account(folder / "account.json", project="acme", token_url=server.token_url)
        environment("GOOGLE_APPLICATION_CREDENTIALS", str(account))
        provider = {"backend": "vertex", "vertex": {"location": "us-east5", "base_url": server.vertex_url}}
        yield Rig("vertex", server, folder, provider, "claude-sonnet-5-5", environment)


@contextmanager
def claude_code_rig(folder: Path, environment: Callable[[str, str], None]) -> Iterator[Rig]:
    """Claude Code's own program, logged in on a machine whose api.anthropic.com is on loopback."""
    with ModelServer() as server:
        for name, value in make_host(folder / "home", server).environment.items():
            environment(name, value)
        cannot = {
            "unknown_tool": "the program answers calls of tools that it does not have by itself",
            "long_wait": "the program does not hand on how long an API asks to wait",
            "budget": "a program per call takes too long here; tests/llm/claude_code spends a smaller budget",
            "inner_retries": "the program asks a second time whether a model exists, and continues an answer that was cut off",
        }
        yield Rig("claude-code", server, folder, {"backend": "claude-code"}, "sonnet", environment, cannot)


@contextmanager
def codex_rig(folder: Path, environment: Callable[[str, str], None]) -> Iterator[Rig]:
    """The real Codex program with an API login, behind a proxy that stands in for its provider."""
    with ResponsesServer() as server:
        login = folder / "codex-home"
        login.mkdir()
        (login / "auth.json").write_text('{"OPENAI_API_KEY": "sk-test"}')
        environment("CODEX_HOME", str(login))
        for name, value in server.environment(str(server.authority.write_root(folder / "ca.pem"))).items():
            environment(name, value)
        cannot = {
            "unknown_tool": "Codex answers a call of an unknown tool itself, with `unsupported call`",
            "garbled": "Codex reports an unreadable stream as one that ended too soon",
            "long_wait": "Codex does not pass on how long its provider asks to wait",
        }
        yield Rig("codex", server, folder, {"backend": "codex"}, "gpt-5.5", environment, cannot)


RIGS = {
    "anthropic": anthropic_rig,
    "gateway": gateway_rig,
    "vertex": vertex_rig,
    "claude-code": claude_code_rig,
    "codex": codex_rig,
}


@contextmanager
def plain_rig() -> Iterator[Rig]:
    """Give an `anthropic` rig outside of a test, for a benchmark."""
    with tempfile.TemporaryDirectory() as folder, ModelServer() as server:
        block = {"base_url": server.url, "api_key": "sk-test"}
        provider = {"backend": "anthropic", "anthropic": block}
        yield Rig("anthropic", server, Path(folder), provider, "claude-sonnet-5-5", lambda *_: None)
