"""Roles, fallbacks, structured answers, budgets and records, over the wire."""

import json
from datetime import UTC, datetime

import pytest

from ktx.config.model import KtxConfig
from ktx.errors import BudgetError, ConfigError, ModelError
from ktx.events import Notice
from ktx.llm.connect import open_runtime
from ktx.llm.runtime import Prompt
from ktx.llm.schema import Answer, ToolInput
from ktx.llm.tools import Tool
from llmrig.rigs import RIGS
from modelserver import replies
from modelserver.server import ModelServer

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend():
    return "asyncio"


@pytest.fixture
def rig(tmp_path, monkeypatch):
    with RIGS["anthropic"](tmp_path, monkeypatch.setenv) as running:
        yield running


class Fact(Answer):
    word: str


class Look(ToolInput):
    table: str


def look(seen=None):
    def run(given):
        if seen is not None:
            seen.append(given.table)
        return "rows"

    return Tool(name="look", description="Look.", input=Look, run=run, is_read_only=True)


async def test_a_role_uses_its_own_model_and_others_that_of_default(rig):
    rig.server.default = replies.text("ok")
    async with rig.runtime(models={"default": "claude-sonnet-5-5", "triage": "claude-haiku-5-5"}) as runtime:
        await runtime.text("triage", "x")
        await runtime.text("curator", "x")
    assert [request.model for request in rig.server.requests] == ["claude-haiku-5-5", "claude-sonnet-5-5"]


async def test_the_next_model_of_a_chain_takes_over_and_the_switch_is_reported_once(rig):
    rig.server.script(
        lambda request: replies.overloaded() if "opus" in request.model else replies.text("from the second")
    )
    async with rig.runtime(models={"default": ["claude-opus-5-5", "claude-sonnet-5-5"]}) as runtime:
        assert await runtime.text("default", "x") == "from the second"
        assert await runtime.text("default", "x") == "from the second"
    notices = [event.message for event in rig.events if isinstance(event, Notice)]
    assert notices == [
        "`default`: anthropic/claude-opus-5-5 cannot be used (overloaded); going on with anthropic/claude-sonnet-5-5."
    ]


async def test_a_backend_without_credentials_gives_way_to_the_next(rig):
    rig.server.default = replies.text("ok")
    chain = [{"backend": "gateway", "model": "anthropic/claude-opus-5-5"}, "claude-sonnet-5-5"]
    async with rig.runtime(models={"default": chain}) as runtime:
        assert await runtime.text("default", "x") == "ok"
    (notice,) = [event.message for event in rig.events if isinstance(event, Notice)]
    assert "gateway/anthropic/claude-opus-5-5 cannot be used (not configured)" in notice


async def test_a_loop_goes_on_with_the_next_model_where_the_first_stopped(rig):
    seen = []

    def script(request):
        if "opus" in request.model:
            return (
                replies.thinking("hm", replies.call("look", table="a"))
                if not request.assistant_turns
                else replies.overloaded()
            )
        return replies.text("finished by the second")

    rig.server.script(script)
    async with rig.runtime(models={"default": ["claude-opus-5-5", "claude-sonnet-5-5"]}) as runtime:
        outcome = await runtime.loop("default", "Look.", tools=[look(seen)], step_budget=5)
    assert (outcome.text, outcome.steps, seen) == ("finished by the second", 2, ["a"])
    last = rig.server.requests[-1].body["messages"]
    assert [message["role"] for message in last] == ["user", "assistant", "user"]
    assert "thinking" not in json.dumps(last[1])


async def test_thinking_goes_back_unchanged_to_the_model_that_thought(rig):
    rig.server.script(
        replies.by_turn(replies.thinking("hm", replies.call("look", table="a")), replies.text("done"))
    )
    async with rig.runtime() as runtime:
        await runtime.loop("default", "Look.", tools=[look()], step_budget=5)
    thought = rig.server.requests[1].body["messages"][1]["content"][0]
    assert thought == {"type": "thinking", "thinking": "hm", "signature": "c2lnbmF0dXJl"}


async def test_an_endpoint_without_native_schemas_gets_a_forced_tool_from_then_on(rig):
    rig.server.script(
        lambda request: (
            replies.failure(400, "invalid_request_error", "output_config: Extra inputs are not permitted")
            if "output_config" in request.body
            else replies.structured({"word": "x"})
        )
    )
    async with rig.runtime() as runtime:
        assert (await runtime.extract("default", "x", schema=Fact)).word == "x"
        assert (await runtime.extract("default", "x", schema=Fact)).word == "x"
    assert len(rig.server.requests) == 3
    assert rig.server.requests[2].body["tool_choice"]["name"] == "answer"


async def test_a_cut_answer_is_not_repaired_and_not_believed(rig):
    rig.server.script(lambda request: replies.max_tokens('{"word": "x"}'))
    async with rig.runtime() as runtime:
        with pytest.raises(ModelError) as failure:
            await runtime.extract("default", "x", schema=Fact)
    assert failure.value.kind == "truncated"
    assert failure.value.request_id
    assert len(rig.server.requests) == 1


async def test_a_schema_that_a_backend_would_bend_is_refused_before_anything_is_sent(rig):
    class Loose(Answer):
        tags: dict[str, str]

    async with rig.runtime() as runtime:
        with pytest.raises(ValueError, match="tags: a free dictionary"):
            await runtime.extract("default", "x", schema=Loose)
    assert rig.server.requests == []


async def test_a_budget_in_dollars_stops_before_it_is_passed(rig):
    rig.server.default = replies.text("word " * 400)
    async with rig.runtime(budget={"usd": 0.05}) as runtime:

        async def spend_everything():
            for _ in range(100):
                await runtime.text("default", "Speak.", max_output_tokens=500)

        with pytest.raises(BudgetError, match=r"\$0\.05"):
            await spend_everything()
    assert 0.03 < sum(entry.cost_usd or 0 for entry in rig.ledger()) <= 0.05


async def test_a_budget_in_dollars_needs_a_price(rig):
    async with rig.runtime(budget={"usd": 5}, models={"default": "my-own-model"}) as runtime:
        with pytest.raises(BudgetError, match="no price is known for `my-own-model`"):
            await runtime.text("default", "x")
    assert rig.server.requests == []


async def test_a_daily_budget_counts_earlier_runs_of_the_day_and_no_other_day(rig):
    rig.server.default = replies.text("ok")
    config = KtxConfig.model_validate(
        {
            "llm": {
                "provider": rig.provider,
                "models": {"default": rig.model},
                "budget": {"tokens": 1500, "per": "day"},
            }
        }
    )

    def runtime(day):
        return open_runtime(
            config.llm,
            project_dir=rig.folder,
            state_dir=rig.folder / ".ktx",
            now=lambda: datetime(2026, 3, day, 12, tzinfo=UTC),
        )

    async def fill(day):
        async with runtime(day) as opened:
            for _ in range(3):
                await opened.text("default", "word " * 800, max_output_tokens=50)

    with pytest.raises(BudgetError, match="this day"):
        await fill(1)
    sent = len(rig.server.requests)
    with pytest.raises(BudgetError, match="this day"):
        await fill(1)
    assert len(rig.server.requests) == sent
    with pytest.raises(BudgetError):
        await fill(2)
    assert len(rig.server.requests) == 2 * sent


async def test_requests_are_recorded_without_secrets_only_when_asked_for(rig, tmp_path, monkeypatch):
    rig.server.default = replies.text("the answer")
    async with rig.runtime() as runtime:
        await runtime.text("default", "x")
    monkeypatch.setenv("KTX_LLM_RECORD", str(tmp_path / "record"))
    async with rig.runtime() as runtime:
        await runtime.text(
            "default", Prompt(text="password: hunter22 and sk-ant-api03-abcdefghijkl", system=("Be brief.",))
        )
    (path,) = (tmp_path / "record").iterdir()
    told = path.read_text()
    assert "Be brief." in told
    assert "the answer" in told
    assert "hunter22" not in told
    assert "abcdefghijkl" not in told
    assert path.stat().st_mode & 0o777 == 0o600


async def test_headers_and_addresses_of_the_environment_reach_no_client(rig, monkeypatch):
    monkeypatch.setenv("ANTHROPIC_CUSTOM_HEADERS", "x-smuggled: 1\nAuthorization: Bearer other")
    monkeypatch.setenv("ANTHROPIC_BASE_URL", "http://127.0.0.1:9")
    monkeypatch.setenv("ANTHROPIC_AUTH_TOKEN", "other")
    async with rig.runtime() as runtime:
        await runtime.text("default", "x")
    headers = rig.server.requests[0].headers
    assert "x-smuggled" not in headers
    assert headers["authorization"] == "Bearer sk-test"


async def test_a_gateway_address_of_another_protocol_is_refused_with_the_right_one(tmp_path):
    provider = {
        "backend": "gateway",
        "gateway": {"base_url": "https://ai-gateway.vercel.sh/v1/ai", "api_key": "k"},
    }
    config = KtxConfig.model_validate({"llm": {"provider": provider, "models": {"default": "m"}}})
    async with open_runtime(config.llm, project_dir=tmp_path, state_dir=tmp_path / ".ktx") as runtime:
        with pytest.raises(ConfigError) as failure:
            await runtime.text("default", "x")
    assert "`https://ai-gateway.vercel.sh`" in failure.value.hint


@pytest.mark.parametrize(("auth", "present"), [("bearer", ("authorization",)), ("x-api-key", ("x-api-key",))])
async def test_a_gateway_gets_the_header_and_version_that_it_reads(tmp_path, auth, present):
    with ModelServer() as server:
        block = {"base_url": server.url, "api_key": "k", "auth": auth, "anthropic_version": "2024-01-01"}
        provider = {"backend": "gateway", "gateway": block}
        config = KtxConfig.model_validate(
            {"llm": {"provider": provider, "models": {"default": "claude-sonnet-5-5"}}}
        )
        async with open_runtime(config.llm, project_dir=tmp_path, state_dir=tmp_path / ".ktx") as runtime:
            await runtime.text("default", "x")
        headers = server.requests[0].headers
    assert headers["anthropic-version"] == "2024-01-01"
    assert tuple(name for name in ("authorization", "x-api-key") if name in headers) == present


async def test_vertex_without_credentials_says_what_to_do(tmp_path, monkeypatch):
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(tmp_path / "missing.json"))
    provider = {"backend": "vertex", "vertex": {"location": "us-east5"}}
    config = KtxConfig.model_validate({"llm": {"provider": provider, "models": {"default": "m"}}})
    async with open_runtime(config.llm, project_dir=tmp_path, state_dir=tmp_path / ".ktx") as runtime:
        with pytest.raises(ModelError) as failure:
            await runtime.text("default", "x")
    assert failure.value.kind == "not_logged_in"
    assert "gcloud auth application-default login" in failure.value.hint


async def test_vertex_takes_its_project_from_the_credentials(tmp_path, monkeypatch):
    with RIGS["vertex"](tmp_path, monkeypatch.setenv) as vertex:
        async with vertex.runtime() as runtime:
            await runtime.text("default", "x")
        assert "/projects/acme/locations/us-east5/" in vertex.server.requests[0].path
