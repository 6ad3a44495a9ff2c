"""The backend: one program, one private home and, for a loop, one tool server per call."""

import time
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Final

from ktx.errors import ModelError
from ktx.llm.backend import Capabilities, LoopStop, Outcome, Probe, Reply, Request, Step, Timings, Watch
from ktx.llm.backends.codex.door import SERVER_NAME, Door, open_door
from ktx.llm.backends.codex.groups import task_group
from ktx.llm.backends.codex.home import describe_login, ensure_login, private_home
from ktx.llm.backends.codex.rpc import AppServer, Json, app_server, as_object
from ktx.llm.backends.codex.turn import Turn
from ktx.llm.messages import Message, Text, text_of, user
from ktx.llm.tools import Toolbox

_CACHES_ITSELF: Final = "Codex caches prompts by itself and takes no setting for it; remove the field."
_CACHE_FIELDS: Final = ("enabled", "systemTtl", "toolsTtl", "historyTtl", "vertexFallbackTo5m")
_ISOLATION: Final = (
    "The model sees ktx's tools of the run and three more that list and read the resources of ktx's own tool server, which "
    "has none. No command, file, web or host tool is offered, and your own Codex configuration is not read. A system-wide "
    "Codex configuration (`/etc/codex`) still counts."
)
_WARNINGS: Final = (
    (
        "codex isolation: Codex keeps three resource readers in front of the model (`list_mcp_resources`, "
        "`list_mcp_resource_templates`, `read_mcp_resource`); they reach ktx's own tool server only."
    ),
    (
        "codex isolation: models that Codex runs in code mode (gpt-5.6 and later) get its sandboxed JavaScript tools "
        "`exec` and `wait`, from which ktx's tools are called; use `claude-code` where that is too much."
    ),
)
_EFFORT: Final = {"low": "low", "medium": "medium", "high": "high"}

CAPABILITIES: Final = Capabilities(
    has_native_schema=True,
    has_forced_tool=False,
    has_own_loop=True,
    has_effort=True,
    ignored_cache_fields=dict.fromkeys(_CACHE_FIELDS, _CACHES_ITSELF),
    isolation=_ISOLATION,
    warnings=_WARNINGS,
    max_tool_output_chars=40_000,
)


class CodexBackend:
    """Codex through the program that its SDK ships, with the person's own login."""

    def __init__(
        self,
        *,
        program: Path,
        environment: Mapping[str, str],
        homes: Path,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`homes` is a directory outside the system's temporary one, where the private homes of running calls stand."""
        self._program = program
        self._environment = dict(environment)
        self._homes = homes
        self._clock = clock

    @property
    def name(self) -> str:
        """The backend's name in `ktx.yaml`."""
        return "codex"

    @property
    def capabilities(self) -> Capabilities:
        """What it can do."""
        return CAPABILITIES

    async def send(self, request: Request) -> Reply:
        """Answer one request with one turn of a fresh thread.

        Raises:
            ModelError: with a `kind` of `FailureKind`.
        """
        async with self._turn(request, door=None, watch=_unwatched) as turn:
            await turn.follow()
        return Reply(
            parts=(Text(text=turn.text),),
            stop_reason="end",
            usage=turn.usage,
            model=request.model,
            request_id=turn.request_id,
            limits=turn.limits,
            requests=max(1, turn.requests),
        )

    async def run_loop(self, request: Request, toolbox: Toolbox, *, watch: Watch) -> Outcome:
        """Run until the model is done or the step budget is spent.

        Raises:
            ModelError: the loop could not go on; whatever `watch` raises passes through.
        """
        began = self._clock()
        toolbox.begin_step()
        async with AsyncExitStack() as stack:
            door = await stack.enter_async_context(open_door(toolbox))
            turn = await stack.enter_async_context(self._turn(request, door=door, watch=watch))
            async with task_group() as tasks:
                tasks.start_soon(_watch_door, door, turn)
                await turn.follow()
                tasks.cancel_scope.cancel()
        total_s = self._clock() - began
        stop: LoopStop = "step_budget" if turn.is_interrupted else "done"
        return Outcome(
            stop_reason=stop,
            text=turn.text,
            steps=turn.requests,
            usage=turn.usage,
            model=request.model,
            timings=Timings(
                total_s=total_s, model_s=max(0.0, total_s - toolbox.tools_s), tools_s=toolbox.tools_s
            ),
            tool_calls=turn.calls,
            tool_errors=toolbox.errors + max(0, turn.calls - toolbox.calls),
            request_id=turn.request_id,
        )

    async def probe(self, model: str) -> Probe:
        """Check login and model with the smallest live request.

        Raises:
            ModelError: what is missing, in a sentence, with the way out as its hint.
        """
        reply = await self.send(
            Request(model=model, messages=(user("Reply with the word ok."),), effort="low")
        )
        return Probe(model=model, detail=f"`{model}` answers through Codex", usage=reply.usage)

    async def check_login(self) -> str:
        """Say who is logged in, from the login itself; neither a model nor the program is asked.

        Raises:
            ModelError: nobody is.
        """
        return f"logged in: {describe_login(ensure_login(self._environment))}"

    async def aclose(self) -> None:
        """Nothing is kept between calls."""

    @asynccontextmanager
    async def _turn(self, request: Request, *, door: Door | None, watch: Watch) -> AsyncGenerator[Turn]:
        """Start a program, a thread and the turn; the block follows it."""
        earlier, last = request.messages[:-1], request.messages[-1]
        with private_home(self._environment, under=self._homes) as (home, environment):
            cwd = home / "empty"
            async with app_server(self._program, environment=environment, cwd=cwd) as server:
                thread_id = await _start_thread(server, request, door=door, cwd=cwd)
                if earlier:
                    items = [_history_item(message) for message in earlier]
                    await server.request("thread/inject_items", {"threadId": thread_id, "items": items})
                started = await server.request("turn/start", _turn_params(request, thread_id, last))
                yield Turn(
                    server=server,
                    model=request.model,
                    thread_id=thread_id,
                    turn_id=str(as_object(started.get("turn")).get("id") or ""),
                    door=door,
                    watch=watch,
                )


async def _start_thread(server: AppServer, request: Request, *, door: Door | None, cwd: Path) -> str:
    params: Json = {
        "model": request.model,
        "cwd": str(cwd),
        "approvalPolicy": "never",
        "sandbox": "read-only",
        "ephemeral": True,
        "environments": [],
        "experimentalRawEvents": True,
        "baseInstructions": "\n\n".join(request.system) or "Answer the user.",
    }
    if door is not None:
        params["config"] = {"mcp_servers": {SERVER_NAME: _server_entry(door)}}
    thread = as_object((await server.request("thread/start", params)).get("thread"))
    thread_id = thread.get("id")
    if not isinstance(thread_id, str):
        raise ModelError("Codex started a thread without an id.", kind="garbled")
    return thread_id


def _server_entry(door: Door) -> Json:
    """Describe the run's tool server: its token goes over the pipe, in no file, variable or argument."""
    return {
        "url": door.url,
        "http_headers": {"Authorization": f"Bearer {door.token}"},
        "enabled_tools": [spec.name for spec in door.toolbox.specs()],
        "default_tools_approval_mode": "approve",
        "required": True,
        "omit_tools_from": ["deferred", "code_mode"],
        "tool_timeout_sec": 3600,
    }


def _turn_params(request: Request, thread_id: str, last: Message) -> Json:
    params: Json = {
        "threadId": thread_id,
        "input": [{"type": "text", "text": text} for text in _texts(last)],
        "approvalPolicy": "never",
    }
    if request.effort is not None:
        params["effort"] = _EFFORT[request.effort]
    if request.schema is not None:
        params["outputSchema"] = dict(request.schema)
    return params


def _texts(message: Message) -> list[str]:
    return [part.text for part in message.parts if isinstance(part, Text)] or [""]


def _history_item(message: Message) -> Json:
    kind = "output_text" if message.author == "assistant" else "input_text"
    content = [{"type": kind, "text": text_of(message.parts)}]
    return {"type": "message", "role": message.author, "content": content}


async def _watch_door(door: Door, turn: Turn) -> None:
    while True:
        await door.changed.wait()
        await turn.end_when_spent()


def _unwatched(step: Step) -> None:
    del step
