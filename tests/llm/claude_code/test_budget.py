"""`llm.budget` over the real `claude` program."""

import pytest

from ktx.errors import BudgetError
from ktx.llm.schema import ToolInput
from ktx.llm.tools import Tool
from llmrig.rigs import claude_code_rig
from modelserver.replies import call, text

pytestmark = [pytest.mark.claude, pytest.mark.anyio]


class Look(ToolInput):
    """Where to look."""

    place: int


@pytest.fixture
def anyio_backend():
    return "asyncio"


async def test_a_spent_budget_stops_before_the_next_call(tmp_path, monkeypatch):
    with claude_code_rig(tmp_path, monkeypatch.setenv) as rig:
        rig.server.default = text("word " * 300)
        async with rig.runtime(budget={"tokens": 1500}) as runtime:

            async def spend():
                for _ in range(20):
                    await runtime.text("default", "Speak.", max_output_tokens=600)

            with pytest.raises(BudgetError, match=r"llm\.budget"):
                await spend()
        assert 0 < rig.billed().total_tokens <= 1500
        assert rig.recorded() == rig.billed()


async def test_a_budget_that_is_spent_within_a_loop_ends_it_and_leaves_the_whole_bill(tmp_path, monkeypatch):
    with claude_code_rig(tmp_path, monkeypatch.setenv) as rig:
        rig.server.script(lambda request: call("look", place=request.assistant_turns))
        tool = Tool(
            name="look", description="Look.", input=Look, run=lambda asked: "row " * 1000, is_read_only=True
        )
        async with rig.runtime(budget={"tokens": 20_000}) as runtime:
            with pytest.raises(BudgetError):
                await runtime.loop("default", "Look.", tools=[tool], step_budget=50)
        assert 1 < len(rig.server.requests) < 20
        assert rig.ledger()[-1].outcome == "budget"
        assert rig.ledger()[-1].usage.total_tokens > 5000
