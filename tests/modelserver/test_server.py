"""The model server against the real SDK: what it sends is understood, what it bills is what it says."""

import asyncio
import ssl
import subprocess
import sys
import threading
from pathlib import Path

import anthropic
import httpx2
import pytest

from modelserver.replies import (
    by_turn,
    call,
    calls,
    context_too_long,
    cut,
    garbage,
    hang,
    max_tokens,
    overloaded,
    overloaded_mid_stream,
    rate_limited,
    refusal,
    structured,
    text,
    thinking,
)
from modelserver.server import ModelServer
from modelserver.tls import write_service_account

MODEL = "claude-sonnet-5-5"
TOOL = {
    "name": "look",
    "description": "Look.",
    "input_schema": {"type": "object", "properties": {"x": {"type": "integer"}}},
}
LONG = "many words " * 1000


@pytest.fixture
def server():
    with ModelServer() as running:
        yield running


@pytest.fixture
def client(server):
    with anthropic.Anthropic(api_key="k", base_url=server.url, max_retries=0) as made:
        yield made


def ask(client, **more):
    with client.messages.stream(
        **{"model": MODEL, "max_tokens": 100, "messages": [{"role": "user", "content": "hi"}], **more}
    ) as stream:
        return stream.get_final_message()


def test_the_same_message_comes_whole_and_in_pieces(server, client):
    server.script(
        lambda request: thinking("hm", calls(("look", {"x": 1}), ("look", {"x": 2}), words="I look. " * 9))
    )
    streamed = ask(client, tools=[TOOL])
    whole = client.messages.create(
        model=MODEL, max_tokens=100, messages=[{"role": "user", "content": "hi"}], tools=[TOOL]
    )
    assert [block.type for block in streamed.content] == ["thinking", "text", "tool_use", "tool_use"]
    assert [block.input for block in streamed.content[2:]] == [{"x": 1}, {"x": 2}]
    without_ids = {"content": {"__all__": {"id"}}, "id": True}
    assert streamed.model_dump(exclude={**without_ids, "_request_id": True}) == whole.model_dump(
        exclude=without_ids
    )
    assert streamed.stop_reason == "tool_use"


def test_replies_are_taken_in_order_and_a_missing_one_is_an_error(server, client):
    server.reply(text("one"), text("two"))
    assert [ask(client).content[0].text for _ in range(2)] == ["one", "two"]
    with pytest.raises(anthropic.BadRequestError, match="no reply for request 3"):
        ask(client)


def test_structured_answers_take_the_form_that_the_request_asks_for(server, client):
    server.script(lambda request: structured({"x": 3}))
    schema = {
        "type": "object",
        "properties": {"x": {"type": "integer"}},
        "required": ["x"],
        "additionalProperties": False,
    }
    native = ask(client, output_config={"format": {"type": "json_schema", "schema": schema}})
    assert native.content[0].text == '{"x": 3}'
    forced = ask(client, tools=[TOOL], tool_choice={"type": "tool", "name": "look"})
    assert forced.content[0].input == {"x": 3}
    with pytest.raises(anthropic.BadRequestError, match="additionalProperties"):
        ask(client, output_config={"format": {"type": "json_schema", "schema": {"type": "object"}}})


@pytest.mark.parametrize(
    ("reply", "expected", "words"),
    [
        (rate_limited(3), anthropic.RateLimitError, "rate limit"),
        (overloaded(), anthropic.OverloadedError, "Overloaded"),
        (context_too_long(), anthropic.BadRequestError, "prompt is too long"),
        (overloaded_mid_stream(), anthropic.APIStatusError, "Overloaded"),
    ],
)
def test_errors_arrive_as_the_sdk_knows_them(server, client, reply, expected, words):
    server.reply(reply)
    with pytest.raises(expected, match=words):
        ask(client)


def test_retry_after_and_request_ids_are_headers(server, client):
    server.reply(rate_limited(3))
    with pytest.raises(anthropic.RateLimitError) as caught:
        ask(client)
    assert caught.value.response.headers["retry-after"] == "3"
    assert caught.value.request_id == server.requests[0].request_id


def test_a_line_can_be_cut_or_carry_garbage(server, client):
    server.reply(cut(), garbage())
    with pytest.raises(httpx2.TransportError):
        ask(client)
    with pytest.raises(ValueError):
        ask(client)


def test_stop_reasons_are_told(server, client):
    server.reply(refusal("no"), max_tokens("half"))
    assert [ask(client).stop_reason for _ in range(2)] == ["refusal", "max_tokens"]


def test_unknown_models_missing_keys_and_missing_results_are_refused(server, client):
    with pytest.raises(anthropic.NotFoundError, match="model: claude-nope"):
        ask(client, model="claude-nope")
    orphan = [
        {"role": "user", "content": "hi"},
        {
            "role": "assistant",
            "content": [{"type": "tool_use", "id": "toolu_1", "name": "look", "input": {}}],
        },
        {"role": "user", "content": "and?"},
    ]
    with pytest.raises(
        anthropic.BadRequestError, match="without `tool_result` blocks immediately after: toolu_1"
    ):
        ask(client, messages=orphan)
    assert (
        httpx2.post(f"{server.url}/v1/messages", json={}, headers={"anthropic-version": "x"}).status_code
        == 401
    )


def test_a_hanging_stream_notices_that_the_client_left(server):
    server.reply(hang("so far"))

    async def leave():
        async with anthropic.AsyncAnthropic(api_key="k", base_url=server.url, max_retries=0) as client:
            task = asyncio.ensure_future(
                client.messages.create(
                    model=MODEL, max_tokens=9, messages=[{"role": "user", "content": "hi"}]
                )
            )
            await asyncio.to_thread(server.wait_for_requests, 1)
            task.cancel()

    asyncio.run(leave())
    assert server.wait_until(lambda s: s.requests[0].is_disconnected)


# --- billing ----------------------------------------------------------------------------------------------


def system(*ttls):
    return [
        {
            "type": "text",
            "text": f"{place} {LONG}",
            **({"cache_control": {"type": "ephemeral", "ttl": ttl}} if ttl else {}),
        }
        for place, ttl in enumerate(ttls)
    ]


def test_a_second_request_reads_what_the_first_wrote_until_its_time_is_up(server, client):
    first = ask(client, system=system("5m")).usage
    second = ask(client, system=system("5m")).usage
    assert first.cache_creation_input_tokens == second.cache_read_input_tokens == 2751
    assert (first.cache_read_input_tokens, second.cache_creation_input_tokens) == (0, 0)
    server.clock.advance(299)
    assert ask(client, system=system("5m")).usage.cache_read_input_tokens == 2751
    server.clock.advance(299)
    assert ask(client, system=system("5m")).usage.cache_read_input_tokens == 2751, (
        "reading renews the lifetime"
    )
    server.clock.advance(301)
    assert ask(client, system=system("5m")).usage.cache_read_input_tokens == 0


def test_mixed_lifetimes_are_billed_apart(server, client):
    usage = ask(client, system=system("1h", "5m")).usage
    assert usage.cache_creation.ephemeral_1h_input_tokens == 2751
    assert usage.cache_creation.ephemeral_5m_input_tokens == 2751
    server.clock.advance(1800)
    usage = ask(client, system=system("1h", "5m")).usage
    assert (usage.cache_read_input_tokens, usage.cache_creation_input_tokens) == (2751, 2751)


def test_prefixes_below_the_minimum_are_not_cached(server, client):
    usage = ask(client, model="claude-haiku-5-5", system=system("5m")).usage
    assert (usage.cache_creation_input_tokens, usage.input_tokens) == (0, 2752)


def test_a_breakpoint_looks_back_twenty_blocks_and_no_further(server, client):
    def usage(more):
        head = [{"type": "text", "text": LONG, "cache_control": {"type": "ephemeral"}}]
        tail = [{"type": "text", "text": f"block {place}"} for place in range(more)]
        if more:
            head = [{"type": "text", "text": LONG}]
            tail[-1]["cache_control"] = {"type": "ephemeral"}
        return ask(client, messages=[{"role": "user", "content": head + tail}]).usage

    assert usage(0).cache_creation_input_tokens == 2750
    assert usage(19).cache_read_input_tokens == 2750
    server.reset()
    assert usage(0).cache_creation_input_tokens == 2750
    assert usage(20).cache_read_input_tokens == 0


def test_five_breakpoints_and_growing_lifetimes_are_refused(server, client):
    with pytest.raises(
        anthropic.BadRequestError,
        match=r"A maximum of 4 blocks with cache_control may be provided\. Found 5\.",
    ):
        ask(client, system=system("5m", "5m", "5m", "5m", "5m"))
    with pytest.raises(anthropic.BadRequestError, match="must not come after a ttl='5m' cache_control block"):
        ask(client, system=system("5m", "1h"))


def test_an_entry_is_readable_only_once_the_response_that_writes_it_has_begun(server):
    server.script(lambda request: text("ok").delayed(0.2 if request.user_text == "slow" else 0))
    used = {}

    def run(words):
        with anthropic.Anthropic(api_key="k", base_url=server.url) as own:
            used[words] = ask(own, system=system("5m"), messages=[{"role": "user", "content": words}]).usage

    slow = threading.Thread(target=run, args=("slow",))
    slow.start()
    server.wait_for_requests(1)
    run("meanwhile")
    slow.join()
    run("after")
    written = {words: usage.cache_creation_input_tokens for words, usage in used.items()}
    assert written == {"slow": 2751, "meanwhile": 2751, "after": 0}


def test_the_bill_is_the_sum_of_what_the_replies_said(server, client):
    server.script(by_turn(call("look", x=1), text("done")))
    seen = [ask(client, system=system("1h"), tools=[TOOL]).usage for _ in range(3)]
    total = server.bill.total
    assert total.input_tokens == sum(usage.input_tokens for usage in seen)
    assert total.read_tokens == sum(usage.cache_read_input_tokens for usage in seen)
    assert total.write_1h_tokens == sum(usage.cache_creation_input_tokens for usage in seen)
    assert total.output_tokens == sum(usage.output_tokens for usage in seen)
    counted = client.messages.count_tokens(
        model=MODEL, system=system("1h"), tools=[TOOL], messages=[{"role": "user", "content": "hi"}]
    )
    assert counted.input_tokens == server.bill.charges[0].prompt_tokens


# --- the other doors --------------------------------------------------------------------------------------


def test_the_gateway_wants_both_headers_and_the_old_version(server):
    with (
        anthropic.Anthropic(api_key="k", base_url=server.gateway_url, max_retries=0) as plain,
        pytest.raises(anthropic.AuthenticationError),
    ):
        ask(plain)
    headers = {"x-api-key": "k", "anthropic-version": "2023-06-01"}
    with anthropic.Anthropic(auth_token="k", base_url=server.gateway_url, default_headers=headers) as good:
        assert ask(good, model="anthropic/claude-sonnet-5-5").content[0].text == "ok"


def test_vertex_takes_a_service_account_and_counts(server, tmp_path: Path):
    from google.oauth2 import service_account

    path = write_service_account(tmp_path / "sa.json", project="p1", token_url=server.token_url)
    credentials = service_account.Credentials.from_service_account_file(
        str(path), scopes=["https://www.googleapis.com/auth/cloud-platform"]
    )
    with anthropic.AnthropicVertex(
        credentials=credentials, project_id="p1", region="us-east5", base_url=server.vertex_url, max_retries=0
    ) as vertex:
        assert ask(vertex).content[0].text == "ok"
        assert server.requests[0].path.endswith(
            "/projects/p1/locations/us-east5/publishers/anthropic/models/claude-sonnet-5-5:streamRawPredict"
        )
        assert (
            vertex.messages.count_tokens(
                model=MODEL, messages=[{"role": "user", "content": "hi"}]
            ).input_tokens
            == 1
        )
    with (
        anthropic.AnthropicVertex(
            access_token="wrong",
            project_id="p1",
            region="us-east5",
            base_url=server.vertex_url,
            max_retries=0,
        ) as stranger,
        pytest.raises(anthropic.AuthenticationError),
    ):
        ask(stranger)


def test_the_tunnel_answers_in_the_place_of_the_real_host_and_of_no_other(server, tmp_path: Path):
    root = server.authority.write_root(tmp_path / "ca.pem")
    with httpx2.Client(
        proxy=server.url, verify=ssl.create_default_context(cafile=root), trust_env=False
    ) as own:
        reply = own.post(
            "https://api.anthropic.com/v1/messages",
            json={"model": MODEL, "max_tokens": 5, "messages": [{"role": "user", "content": "hi"}]},
            headers={"authorization": "Bearer sk-ant-oat01-test", "anthropic-version": "2023-06-01"},
        )
        assert reply.json()["content"] == [{"type": "text", "text": "ok"}]
        with pytest.raises(httpx2.ProxyError):
            own.get("https://example.com/")
    assert server.tunnels == ["api.anthropic.com", "example.com"]
    assert server.requests[0].host == "api.anthropic.com"


def test_it_runs_by_hand(tmp_path: Path):
    script = tmp_path / "script.py"
    script.write_text(
        "from modelserver.replies import text\ndef reply(request):\n    return text(request.user_text.upper())\n"
    )
    process = subprocess.Popen(
        [sys.executable, "-m", "modelserver", "--script", str(script)],
        cwd=Path(__file__).parents[1],
        stdout=subprocess.PIPE,
        text=True,
    )
    with process:
        url = process.stdout.readline().split()[1]
        with anthropic.Anthropic(api_key="k", base_url=url) as own:
            assert ask(own).content[0].text == "HI"
        process.terminate()
