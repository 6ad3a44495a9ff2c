"""The real `codex` program, end to end, against a loopback Responses API."""

import base64
import json
import os
import signal
import stat
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import anyio
import httpx2
import pytest

from ktx.errors import ModelError, RateLimitError
from ktx.llm.backend import Outcome, Reply, Request, Step
from ktx.llm.backends.codex.backend import CodexBackend
from ktx.llm.backends.codex.door import open_door
from ktx.llm.backends.codex.home import PASSED_ON
from ktx.llm.messages import Message, Text, text_of, user
from ktx.llm.schema import Answer, ToolInput, answer_schema
from ktx.llm.tools import Tool, Toolbox
from modelserver import replies
from responsesserver.server import ResponsesServer

codex_cli_bin = pytest.importorskip(
    "codex_cli_bin", reason="codex extra missing: pip install 'ktx-context[codex]'"
)
pytestmark = pytest.mark.codex

MODEL = "gpt-5.5"
RESOURCE_READERS = ["list_mcp_resources", "list_mcp_resource_templates", "read_mcp_resource"]


class Word(ToolInput):
    word: str


class Verdict(Answer):
    name: str
    tags: list[str]
    note: str | None


@dataclass
class Host:
    """A person's machine: a home with a Codex login, and the variables that lead to the loopback server."""

    home: Path
    homes: Path
    environment: dict[str, str]

    def backend(self, *, program: Path | None = None, **variables: str) -> CodexBackend:
        return CodexBackend(
            program=program or codex_cli_bin.bundled_codex_path(),
            environment={**self.environment, **variables},
            homes=self.homes,
        )


@pytest.fixture(scope="module")
def module_server() -> Iterator[ResponsesServer]:
    with ResponsesServer() as running:
        yield running


@pytest.fixture
def server(module_server: ResponsesServer) -> ResponsesServer:
    module_server.reset()
    module_server.rate_headers = {}
    module_server.routes = {}
    return module_server


@pytest.fixture
def host(server: ResponsesServer, tmp_path: Path) -> Host:
    home = tmp_path / "home"
    (home / ".codex").mkdir(parents=True)
    (home / ".codex" / "auth.json").write_text(json.dumps({"OPENAI_API_KEY": "sk-test-login"}))
    root = server.authority.write_root(tmp_path / "ca.pem")
    environment = {"PATH": os.environ["PATH"], "HOME": str(home), **server.environment(str(root))}
    return Host(home, tmp_path / "state" / "codex", environment)


def toolbox(*, budget: int = 10, run: Callable[[Word], str] | None = None, read_only: bool = True) -> Toolbox:
    echo = Tool(
        name="echo",
        description="Say a word back.",
        input=Word,
        run=run or (lambda given: f"you said {given.word}"),
        is_read_only=read_only,
    )
    return Toolbox([echo], step_budget=budget)


def ask(prompt: str = "hi", *, system: str = "You are terse.", **fields: object) -> Request:
    return Request(model=MODEL, system=(system,), messages=(user(prompt),), **fields)  # type: ignore[arg-type]


def send(backend: CodexBackend, request: Request) -> Reply:
    return anyio.run(backend.send, request)


def loop(
    backend: CodexBackend, box: Toolbox, request: Request | None = None, steps: list[Step] | None = None
) -> Outcome:
    watched: list[Step] = [] if steps is None else steps

    async def run() -> Outcome:
        return await backend.run_loop(request or ask(), box, watch=watched.append)

    return anyio.run(run)


def nothing_is_left(host: Host) -> bool:
    return not host.homes.exists() or not list(host.homes.iterdir())


# --- what it does --------------------------------------------------------------------------------------


def test_text_comes_back_with_the_bill_of_the_server(server: ResponsesServer, host: Host) -> None:
    server.reply(replies.text("Hello — 你好, ß"))
    reply = send(host.backend(), ask())
    assert text_of(reply.parts) == "Hello — 你好, ß"
    assert reply.request_id == f"resp_{server.requests[0].request_id}"
    assert (reply.usage.uncached_input_tokens, reply.usage.output_tokens) == (
        server.bill.total.input_tokens,
        server.bill.total.output_tokens,
    )
    assert server.requests[0].headers["authorization"] == "Bearer sk-test-login"
    assert nothing_is_left(host)


def test_an_extraction_sends_its_schema_and_offers_no_tool(server: ResponsesServer, host: Host) -> None:
    server.reply(replies.structured({"name": "a", "tags": ["x"], "note": None}))
    reply = send(host.backend(), ask(schema=answer_schema(Verdict)))
    assert Verdict.model_validate_json(text_of(reply.parts)) == Verdict(name="a", tags=["x"], note=None)
    given = server.requests[0].body["text"]["format"]
    assert given["type"] == "json_schema"
    assert given["strict"] is True
    assert given["schema"] == answer_schema(Verdict)
    assert server.requests[0].tool_names == []


def test_earlier_turns_reach_the_model_as_turns(server: ResponsesServer, host: Host) -> None:
    server.reply(replies.text("ok"))
    said = Message(author="assistant", parts=(Text(text="first answer"),))
    send(host.backend(), Request(model=MODEL, messages=(user("one"), said, user("two"))))
    spoken = [
        (item["role"], item["content"][0]["text"])
        for item in server.requests[0].messages
        if item["role"] != "developer"
    ]
    assert spoken == [("user", "one"), ("assistant", "first answer"), ("user", "two")]


def test_a_loop_runs_parallel_tools_and_tells_the_model_what_went_wrong(
    server: ResponsesServer, host: Host
) -> None:
    server.reply(
        replies.calls(("echo", {"word": "a"}), ("echo", {"word": "b"})),
        replies.call("no_such_tool", word="x"),
        replies.call("echo", words="x"),
        replies.raw_call("echo", '{"word": '),
        replies.text("done"),
    )
    steps: list[Step] = []
    outcome = loop(host.backend(), toolbox(), steps=steps)
    told = [[result["content"] for result in request.tool_results] for request in server.requests[1:]]
    assert [text.rsplit("\n", 1)[-1] for text in told[0]] == ["you said a", "you said b"]
    assert "unsupported call" in told[1][0]
    assert "word: Field required" in told[2][0]
    assert "JSON" in told[3][0] or "line 1 column" in told[3][0]
    assert (outcome.stop_reason, outcome.text, outcome.steps) == ("done", "done", 5)
    assert (outcome.tool_calls, outcome.tool_errors) == (5, 3)
    bill = server.bill.total
    assert outcome.usage.uncached_input_tokens == bill.input_tokens
    assert outcome.usage.cache_read_tokens == bill.read_tokens > 0
    assert outcome.usage.output_tokens == bill.output_tokens
    assert [step.usage.total_tokens for step in steps] == [
        charge.prompt_tokens + charge.output_tokens for charge in server.bill.charges
    ]


@pytest.mark.parametrize("budget", [1, 2, 3])
def test_the_step_budget_is_kept_to_the_request(server: ResponsesServer, host: Host, budget: int) -> None:
    server.script(
        lambda request: replies.calls(
            ("echo", {"word": str(request.assistant_turns)}), ("echo", {"word": "z"})
        )
    )
    said: list[str] = []
    outcome = loop(host.backend(), toolbox(budget=budget, run=lambda given: said.append(given.word) or "ok"))
    assert (outcome.stop_reason, outcome.steps, len(server.requests)) == ("step_budget", budget, budget)
    assert len(said) == 2 * budget, "the tools of the last step still run"
    assert outcome.usage.output_tokens == server.bill.total.output_tokens


# --- isolation -----------------------------------------------------------------------------------------


def test_the_model_sees_the_tools_of_the_run_and_three_readers_of_our_own_server(
    server: ResponsesServer, host: Host
) -> None:
    server.reply(replies.text("done"))
    loop(host.backend(), toolbox())
    assert server.requests[0].tool_names == [*RESOURCE_READERS, "mcp__ktx.echo"]
    assert server.requests[0].system_text == "You are terse."


@pytest.mark.parametrize(
    "tool", ["exec_command", "apply_patch", "web_search", "view_image", "spawn_agent", "shell"]
)
def test_a_tool_of_codex_cannot_be_called(
    server: ResponsesServer, host: Host, tmp_path: Path, tool: str
) -> None:
    proof = tmp_path / "proof"
    server.reply(
        replies.call(tool, cmd=f"touch {proof}", command=["touch", str(proof)]), replies.text("done")
    )
    loop(host.backend(), toolbox())
    assert "unsupported call" in server.requests[1].tool_results[0]["content"]
    assert not proof.exists()


def test_the_resource_readers_find_nothing(server: ResponsesServer, host: Host) -> None:
    server.reply(
        replies.call("list_mcp_resources"),
        replies.call("read_mcp_resource", server="ktx", uri="file:///etc/passwd"),
        replies.text("done"),
    )
    loop(host.backend(), toolbox())
    assert "root:" not in server.requests[2].prompt_text


def test_nothing_of_a_host_full_of_traps_reaches_the_model(
    server: ResponsesServer, host: Host, tmp_path: Path
) -> None:
    proof = tmp_path / "trap-was-run"
    codex = host.home / ".codex"
    (codex / "AGENTS.md").write_text("TRAP-agents-md")
    (codex / "instructions.md").write_text("TRAP-instructions")
    (codex / "prompts").mkdir()
    (codex / "prompts" / "trap.md").write_text("TRAP-prompt")
    for skills in (codex / "skills" / "trap", host.home / ".agents" / "skills" / "trap"):
        skills.mkdir(parents=True)
        (skills / "SKILL.md").write_text("---\nname: trap\ndescription: TRAP-skill\n---\nTRAP-skill-body")
    (codex / "config.toml").write_text(
        textwrap.dedent(f"""\
            developer_instructions = "TRAP-developer"
            sandbox_mode = "danger-full-access"
            approval_policy = "on-request"
            notify = ["touch", "{proof}"]
            [mcp_servers.trap]
            command = "touch"
            args = ["{proof}"]
            [features]
            shell_tool = true
            """)
    )
    secret = tmp_path / "secret.txt"
    secret.write_text("TRAP-file-content")
    server.reply(replies.call("echo", word="a"), replies.text("done"))
    box = toolbox()
    loop(
        host.backend(
            OPENAI_API_KEY="TRAP-key", OPENAI_BASE_URL="http://trap.invalid", CODEX_API_KEY="TRAP-key"
        ),
        box,
        ask(f"/init @{secret} $trap look"),
    )
    for request in server.requests:
        assert "TRAP" not in request.prompt_text
        assert "TRAP" not in json.dumps(dict(request.headers))
        assert request.tool_names == [*RESOURCE_READERS, "mcp__ktx.echo"]
        assert request.host == "api.openai.com"
    assert server.requests[0].user_text == f"/init @{secret} $trap look"
    assert not proof.exists()
    assert set(server.tunnels) == {"api.openai.com"}, "no other address is looked for"


def test_the_program_gets_the_allowed_variables_and_a_home_of_its_own(
    server: ResponsesServer, host: Host, tmp_path: Path
) -> None:
    dump = tmp_path / "environment.json"
    wrapper = tmp_path / "codex"
    wrapper.write_text(
        f"#!{sys.executable} -IS\nimport json, os, sys\n"
        f"json.dump(dict(os.environ), open({str(dump)!r}, 'w'))\n"
        f"os.execv({str(codex_cli_bin.bundled_codex_path())!r}, ['codex', *sys.argv[1:]])\n"
    )
    wrapper.chmod(wrapper.stat().st_mode | stat.S_IXUSR)
    server.reply(replies.text("ok"))
    backend = host.backend(
        program=wrapper, OPENAI_API_KEY="sk-trap", AWS_SECRET_ACCESS_KEY="trap", LANG="C.UTF-8"
    )
    send(backend, ask())
    seen = json.loads(dump.read_text())
    assert set(seen) - {"LC_CTYPE"} <= PASSED_ON | {"HOME", "CODEX_HOME"}
    assert {"OPENAI_API_KEY", "AWS_SECRET_ACCESS_KEY"}.isdisjoint(seen)
    assert seen["LANG"] == "C.UTF-8"
    assert seen["HOME"] == seen["CODEX_HOME"]
    assert Path(seen["CODEX_HOME"]).is_relative_to(host.homes)


def test_the_tool_server_of_a_run_wants_its_token_and_ends_with_the_run() -> None:
    async def run() -> tuple[list[int], str]:
        call = {"jsonrpc": "2.0", "id": 1, "method": "tools/list", "params": {}}
        accept = {"accept": "application/json, text/event-stream"}
        async with open_door(toolbox()) as door, httpx2.AsyncClient() as client:
            right = {**accept, "authorization": f"Bearer {door.token}"}
            found = [
                (await client.post(door.url, json=call, headers=accept)).status_code,
                (
                    await client.post(door.url, json=call, headers={**accept, "authorization": "Bearer x"})
                ).status_code,
                (await client.get(door.url, headers=right)).status_code,
                (
                    await client.post(door.url, json=call, headers={**right, "origin": "http://evil.invalid"})
                ).status_code,
                (
                    await client.post(door.url, json=call, headers={**right, "host": "evil.invalid"})
                ).status_code,
            ]
            answer = await client.post(door.url, json=call, headers=right)
            found.append(answer.status_code)
            assert [tool["name"] for tool in answer.json()["result"]["tools"]] == ["echo"]
        return found, door.url

    found, url = anyio.run(run)
    assert found == [401, 401, 405, 403, 421, 200]
    with pytest.raises(httpx2.ConnectError):
        httpx2.get(url)


def test_a_run_is_read_only_never_asks_and_has_no_web(server: ResponsesServer, host: Host) -> None:
    server.reply(replies.text("ok"))
    loop(host.backend(), toolbox())
    about = json.loads(server.requests[0].body["client_metadata"]["x-codex-turn-metadata"])
    assert about["sandbox_mode"] == "read-only"
    assert about["analytics_enabled"] is False
    assert "web_search" not in server.requests[0].tool_names


# --- logins --------------------------------------------------------------------------------------------


def test_without_a_login_the_message_says_where_it_was_looked_for(
    server: ResponsesServer, host: Host
) -> None:
    (host.home / ".codex" / "auth.json").unlink()
    with pytest.raises(ModelError, match="not logged in") as caught:
        send(host.backend(), ask())
    assert caught.value.kind == "not_logged_in"
    assert str(host.home / ".codex" / "auth.json") in caught.value.message
    assert "codex login" in (caught.value.hint or "")
    assert server.requests == []


def test_a_login_in_the_keyring_is_named_as_such(host: Host) -> None:
    (host.home / ".codex" / "auth.json").unlink()
    (host.home / ".codex" / "config.toml").write_text('cli_auth_credentials_store = "keyring"\n')
    with pytest.raises(ModelError, match="keyring"):
        send(host.backend(), ask())


def test_a_login_elsewhere_is_found_through_codex_home(
    server: ResponsesServer, host: Host, tmp_path: Path
) -> None:
    other = tmp_path / "other"
    other.mkdir()
    (other / "auth.json").write_text(json.dumps({"OPENAI_API_KEY": "sk-other"}))
    server.reply(replies.text("ok"))
    send(host.backend(CODEX_HOME=str(other)), ask())
    assert server.requests[0].headers["authorization"] == "Bearer sk-other"


def _token(**claims: object) -> str:
    def part(value: object) -> str:
        return base64.urlsafe_b64encode(json.dumps(value).encode()).rstrip(b"=").decode()

    return ".".join((part({"alg": "none"}), part(claims), "c2ln"))


def test_a_chatgpt_login_goes_to_chatgpt(server: ResponsesServer, host: Host) -> None:
    about = {"chatgpt_plan_type": "pro", "chatgpt_account_id": "acc1", "chatgpt_user_id": "u1"}
    token = _token(
        email="a@example.com", exp=int(time.time()) + 86_400, **{"https://api.openai.com/auth": about}
    )
    tokens = {"id_token": token, "access_token": token, "refresh_token": "r", "account_id": "acc1"}
    login = {
        "OPENAI_API_KEY": None,
        "tokens": tokens,
        "last_refresh": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
    }
    (host.home / ".codex" / "auth.json").write_text(json.dumps(login))
    account = {
        "id": "acc1", "account_id": "acc1", "plan_type": "pro", "structure": "personal",
        "workspace_backend_origin": "https://chatgpt.com", "account_routing_override": "NO_CONSTRAINT",
    }  # fmt: skip
    checked = {"accounts": [account], "account_ordering": ["acc1"], "default_account_id": "acc1"}
    server.routes = {"/backend-api/wham/accounts/check": (200, checked)}
    server.reply(replies.text("from chatgpt"))
    reply = send(host.backend(), ask())
    assert text_of(reply.parts) == "from chatgpt"
    assert server.requests[0].host == "chatgpt.com"
    assert server.requests[0].headers["authorization"] == f"Bearer {token}"


# --- failures ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("reply", "kind"),
    [
        (replies.invalid_key(), "unauthorized"),
        (replies.forbidden(), "forbidden"),
        (replies.unknown_model(MODEL), "unknown_model"),
        (replies.context_too_long(), "context_too_long"),
        (replies.no_credit(), "billing"),
        (replies.rate_limited(), "rate_limited"),
        (replies.failure(429, "usage_limit_reached", "You've hit your usage limit."), "rate_limited"),
        (replies.overloaded(), "overloaded"),
        (replies.server_error(500), "server_error"),
        (replies.overloaded_mid_stream(), "overloaded"),
        (replies.cut(), "connection"),
        (replies.garbage(), "connection"),
        (replies.garbage_body(), "connection"),
        (replies.max_tokens("half an ans"), "truncated"),
        (replies.refusal("no"), "refused"),
    ],
)  # fmt: skip
def test_a_failure_has_its_kind_and_costs_one_request(
    server: ResponsesServer, host: Host, reply: replies.Reply, kind: str
) -> None:
    server.reply(reply)
    with pytest.raises(ModelError) as caught:
        send(host.backend(), ask())
    assert caught.value.kind == kind
    assert len(server.requests) == 1, "Codex itself must not retry"
    assert "sk-test-login" not in str(caught.value)
    assert isinstance(caught.value, RateLimitError) == (kind == "rate_limited")
    assert nothing_is_left(host)


def test_a_program_that_cannot_start_is_named(host: Host, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="cannot be started"):
        send(host.backend(program=tmp_path / "nowhere"), ask())


def test_a_program_that_dies_in_the_middle_is_a_connection_failure(host: Host, tmp_path: Path) -> None:
    dying = tmp_path / "codex"
    dying.write_text("#!/bin/sh\nread line\nexit 3\n")
    dying.chmod(0o755)
    with pytest.raises(ModelError, match="ended in the middle") as caught:
        send(host.backend(program=dying), ask())
    assert caught.value.kind == "connection"


def test_what_the_watcher_raises_ends_the_run_and_comes_through(server: ResponsesServer, host: Host) -> None:
    server.script(lambda _: replies.call("echo", word="again"))

    def stop(step: Step) -> None:
        if step.number == 2:
            raise ZeroDivisionError

    async def run() -> None:
        await host.backend().run_loop(ask(), toolbox(), watch=stop)

    with pytest.raises(ZeroDivisionError):
        anyio.run(run)
    assert nothing_is_left(host)


# --- stopping ------------------------------------------------------------------------------------------


def _cancel_when(
    server: ResponsesServer, backend: CodexBackend, box: Toolbox, ready: Callable[[], bool]
) -> float:
    """Start a loop, cancel it once `ready`, and give how long the cancelling took."""
    took = 0.0

    async def run() -> None:
        nonlocal took
        async with anyio.create_task_group() as tasks:

            async def one() -> None:
                await backend.run_loop(ask(), box, watch=lambda _: None)

            tasks.start_soon(one)
            assert await anyio.to_thread.run_sync(lambda: server.wait_until(lambda _: ready()))
            began = time.monotonic()
            tasks.cancel_scope.cancel()
        took = time.monotonic() - began

    anyio.run(run)
    return took


def test_cancelling_in_the_middle_of_a_stream_is_quick_and_final(server: ResponsesServer, host: Host) -> None:
    server.reply(replies.hang("The answer begins"))
    took = _cancel_when(server, host.backend(), toolbox(), lambda: len(server.requests) == 1)
    assert took < 1.5
    assert server.wait_until(lambda running: running.requests[0].is_disconnected)
    assert nothing_is_left(host)


def test_cancelling_in_the_middle_of_a_tool_is_quick_and_final(server: ResponsesServer, host: Host) -> None:
    server.reply(replies.call("wait", word="x"), replies.text("never"))
    state = {"running": False, "cancelled": False}

    async def wait(_: Word) -> str:
        state["running"] = True
        with server._changed:
            server._changed.notify_all()
        try:
            await anyio.sleep_forever()
        except BaseException:
            state["cancelled"] = True
            raise
        return ""

    box = Toolbox([Tool(name="wait", description="Wait.", input=Word, run=wait)], step_budget=5)
    took = _cancel_when(server, host.backend(), box, lambda: state["running"])
    assert took < 1.5
    assert state["cancelled"]
    assert len(server.requests) == 1
    assert nothing_is_left(host)


def test_eight_runs_at_once_keep_their_tools_apart(server: ResponsesServer, host: Host) -> None:
    def script(request: object) -> replies.Reply:
        if request.assistant_turns == 0:  # type: ignore[attr-defined]
            return replies.call("echo", word=request.user_text)  # type: ignore[attr-defined]
        return replies.text("done")

    server.script(script)
    backend = host.backend()
    seen: dict[int, list[str]] = {}

    async def run() -> None:
        async def one(number: int) -> None:
            words = seen.setdefault(number, [])
            box = toolbox(run=lambda given: words.append(given.word) or "ok")
            await backend.run_loop(ask(f"run {number}"), box, watch=lambda _: None)

        async with anyio.create_task_group() as tasks:
            for number in range(8):
                tasks.start_soon(one, number)

    anyio.run(run)
    assert seen == {number: [f"run {number}"] for number in range(8)}
    assert nothing_is_left(host)


_PARENT = """
import anyio, json, sys
from pathlib import Path
from ktx.llm.backend import Request
from ktx.llm.backends.codex.backend import CodexBackend
from ktx.llm.messages import user
program, homes, environment = json.loads(sys.argv[1])
backend = CodexBackend(program=Path(program), homes=Path(homes), environment=environment)
anyio.run(backend.send, Request(model="gpt-5.5", messages=(user("hi"),)))
"""


@pytest.mark.skipif(sys.platform == "win32", reason="POSIX signals")
def test_when_our_process_is_killed_the_program_goes_and_asks_nothing_more(
    server: ResponsesServer, host: Host
) -> None:
    server.script(lambda _: replies.hang("The answer begins"))
    given = json.dumps([str(codex_cli_bin.bundled_codex_path()), str(host.homes), host.environment])
    parent = subprocess.Popen(
        [sys.executable, "-c", _PARENT, given], env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    )
    try:
        server.wait_for_requests(1)
        [home] = host.homes.iterdir()
    finally:
        parent.send_signal(signal.SIGKILL)
        parent.wait()
    assert server.wait_until(lambda running: running.requests[0].is_disconnected), (
        "the program is still connected"
    )
    assert len(server.requests) == 1
    pids = subprocess.run(
        ["pgrep", "-f", str(home)], capture_output=True, text=True, check=False
    ).stdout.split()
    assert pids == []
