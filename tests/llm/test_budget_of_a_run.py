"""A run's budget is the run's, however many runtimes it opens."""

from pathlib import Path

import pytest

from ktx.config.model import KtxConfig
from ktx.errors import BudgetError
from ktx.llm.connect import open_runtime
from ktx.llm.runtime import Runtime
from modelserver.server import ModelServer

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


def opened(folder: Path, server: ModelServer, run: str) -> Runtime:
    provider = {"backend": "anthropic", "anthropic": {"base_url": server.url, "api_key": "test-key"}}
    block = {"provider": provider, "models": {"default": "claude-sonnet-5-5"}, "budget": {"tokens": 12_000}}
    config = KtxConfig.model_validate({"llm": block})
    return open_runtime(config.llm, project_dir=folder, state_dir=folder / ".ktx", run=run)


async def test_what_a_run_has_spent_through_another_runtime_counts(tmp_path: Path) -> None:
    long = "evidence " * 3_000
    with ModelServer() as server:
        async with opened(tmp_path, server, "first") as runtime:
            await runtime.text("default", long, max_output_tokens=100)
        async with opened(tmp_path, server, "first") as runtime:
            with pytest.raises(BudgetError, match="used up"):
                await runtime.text("default", long, max_output_tokens=100)
        async with opened(tmp_path, server, "second") as runtime:
            await runtime.text("default", long, max_output_tokens=100)
        assert len(server.requests) == 2
