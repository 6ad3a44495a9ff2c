"""Claude Code as a backend: one `claude` program per call, with the user's own login and nothing else of the user's."""

import json
import logging
import os
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from subprocess import DEVNULL, PIPE
from typing import Final

import anyio
import claude_agent_sdk
from claude_agent_sdk import ClaudeAgentOptions, ClaudeSDKClient, CLINotFoundError
from claude_agent_sdk.types import McpSdkServerConfig, McpServerConfig

from ktx.errors import ModelError
from ktx.events import Emit, ignore
from ktx.llm.backend import (
    BilledError,
    Capabilities,
    LoopStop,
    Outcome,
    Probe,
    Reply,
    Request,
    Timings,
    Watch,
)
from ktx.llm.backends.claude_code.command import command_line, ensure_model, find_program
from ktx.llm.backends.claude_code.environment import child_environment
from ktx.llm.backends.claude_code.failures import LOGIN_HINT, as_error
from ktx.llm.backends.claude_code.frames import Record
from ktx.llm.backends.claude_code.isolation import STRUCTURED_TOOL
from ktx.llm.backends.claude_code.process import ClaudeProcess
from ktx.llm.backends.claude_code.silence import Silence
from ktx.llm.backends.claude_code.toolserver import SERVER_NAME, tool_server
from ktx.llm.caching import CacheSettings
from ktx.llm.messages import Message, StopReason, Text, ToolCall, ToolResult, Usage, user
from ktx.llm.tools import Toolbox

for _library in ("claude_agent_sdk", "mcp"):
    # Without a handler, Python prints a library's errors to stderr, such as one for each run that ktx itself ends.
    logging.getLogger(_library).addHandler(logging.NullHandler())

_LOOP_RETRIES: Final = 3
_PROBE_TOKENS: Final = 1024
_LOGIN_TIMEOUT_S: Final = 20.0
_ONE_LIFETIME: Final = (
    "Claude Code sets its own breakpoints with one lifetime for all of them: an hour when any of the three fields "
    "says `1h`, else five minutes. Use an API backend to set them apart."
)
CAPABILITIES: Final = Capabilities(
    has_native_schema=True,
    has_forced_tool=False,
    has_own_loop=True,
    has_own_retries=True,
    has_effort=True,
    reports_cost=True,
    ignored_cache_fields={
        "systemTtl": _ONE_LIFETIME,
        "toolsTtl": _ONE_LIFETIME,
        "historyTtl": _ONE_LIFETIME,
        "vertexFallbackTo5m": "Claude Code does not go through Vertex AI; remove the field.",
    },
    isolation=(
        "The model sees the prompt, ktx's tools of the run, and Claude Code's own note on platform, model and date. "
        "Settings, hooks, memory files, skills and MCP servers of this machine are not loaded; each run checks that."
    ),
)
_STOPS: Final[Mapping[str, StopReason]] = {
    "max_tokens": "max_tokens",
    "refusal": "refusal",
    "stop_sequence": "stop_sequence",
    "model_context_window_exceeded": "context_full",
}


class ClaudeCodeBackend:
    """Answers requests and runs loops through the `claude` program.

    `environment` is the parent's, from which the child's is chosen; `work_dir` is a folder of ktx's own, made when missing,
    in which the program runs; a program that says nothing for `silence_limit_s` while no tool works is given up.
    """

    def __init__(
        self,
        *,
        environment: Mapping[str, str],
        work_dir: Path,
        program: Path | None = None,
        silence_limit_s: float = 600.0,
        emit: Emit = ignore,
        clock: Callable[[], float] = time.monotonic,
        now: Callable[[], float] = time.time,
    ) -> None:
        self._environment = dict(environment)
        self._work_dir = work_dir
        self._program = program or find_program(environment)
        self._silence_limit_s = silence_limit_s
        self._emit = emit
        self._clock = clock
        self._now = now
        self._running: set[ClaudeProcess] = set()

    @property
    def name(self) -> str:
        """The backend's name in `ktx.yaml`."""
        return "claude-code"

    @property
    def capabilities(self) -> Capabilities:
        """What it can do."""
        return CAPABILITIES

    async def send(self, request: Request) -> Reply:
        """Answer one request. The program itself continues an answer that hits the limit, a few times, before it gives up.

        Raises:
            ModelError: with a `kind` of `FailureKind`.
        """
        if request.tools or request.forced_tool:
            raise ModelError(
                "Claude Code runs tools in a loop of its own and hands no tool call back.",
                hint="Use a loop, or give the role an API backend.",
                kind="unsupported",
            )
        expected = frozenset({STRUCTURED_TOOL} if request.schema is not None else ())
        record = Record(tools=expected, servers=frozenset(), emit=self._emit, on_begin=request.on_begin)
        await self._converse(request, record, toolbox=None, max_turns=1, max_retries=0)
        stop_reason = self._reply_stop(record, request.model)
        answer = record.structured if record.structured is not None else record.all_text()
        return Reply(
            parts=(Text(text=answer),) if answer else (),
            stop_reason=stop_reason,
            usage=record.spent(),
            model=record.model,
            request_id=record.request_id,
            cost_usd=record.cost_usd,
            limits=record.limits,
            requests=max(1, record.steps),
        )

    async def run_loop(self, request: Request, toolbox: Toolbox, *, watch: Watch) -> Outcome:
        """Let the program run the loop over ktx's tools until it is done or the step budget is spent.

        Raises:
            ModelError: the loop could not go on; whatever `watch` raises passes through.
        """
        started = self._clock()
        names = frozenset(f"mcp__{SERVER_NAME}__{spec.name}" for spec in toolbox.specs())
        record = Record(
            tools=names,
            servers=frozenset({SERVER_NAME} if names else ()),
            emit=self._emit,
            watch=watch,
            begin_step=toolbox.begin_step,
            step_budget=toolbox.step_budget,
        )
        await self._converse(
            request,
            record,
            toolbox=toolbox if names else None,
            max_turns=toolbox.step_budget,
            max_retries=_LOOP_RETRIES,
        )
        stop_reason = self._loop_stop(record, request.model)
        return Outcome(
            stop_reason=stop_reason,
            text=record.all_text() if stop_reason == "max_tokens" else record.last_text(),
            steps=min(record.steps, toolbox.step_budget),
            usage=record.spent(),
            model=record.model,
            timings=Timings(total_s=self._clock() - started, model_s=record.model_s, tools_s=toolbox.tools_s),
            tool_calls=record.tool_calls,
            tool_errors=record.tool_errors,
            request_id=record.request_id,
            cost_usd=record.cost_usd,
        )

    async def probe(self, model: str) -> Probe:
        """Check login and model with one short request.

        Raises:
            ModelError: what is missing, in a sentence, with the way out as its hint.
        """
        reply = await self.send(
            Request(
                model=model, messages=(user("Answer with the word ok."),), max_output_tokens=_PROBE_TOKENS
            )
        )
        return Probe(
            model=reply.model,
            detail=f"`{model}` answered as `{reply.model}` through Claude Code",
            usage=reply.usage,
            request_id=reply.request_id,
            cost_usd=reply.cost_usd,
        )

    async def check_login(self) -> str:
        """Ask the program who is logged in, without a request to a model; gives one line for a person.

        Raises:
            ModelError: nobody is.
        """
        self._work_dir.mkdir(parents=True, exist_ok=True)
        command = [str(self._program), "auth", "status", "--json"]
        try:
            with anyio.fail_after(_LOGIN_TIMEOUT_S):
                done = await anyio.run_process(
                    command,
                    stdin=DEVNULL,
                    stdout=PIPE,
                    stderr=DEVNULL,
                    check=False,
                    cwd=self._work_dir,
                    env=self._child_environment(
                        CacheSettings(), max_retries=0, max_output_tokens=_PROBE_TOKENS
                    ),
                )
        except TimeoutError as error:
            message = f"`claude auth status` gave no answer within {_LOGIN_TIMEOUT_S:.0f} s."
            raise ModelError(message, hint=LOGIN_HINT, kind="not_logged_in") from error
        except OSError as error:
            raise _not_startable(self._program, error) from error
        try:
            status: object = json.loads(done.stdout)
        except ValueError:
            status = {}
        if not isinstance(status, dict) or status.get("loggedIn") is not True:  # pyright: ignore[reportUnknownMemberType]
            raise ModelError("Claude Code is not logged in.", hint=LOGIN_HINT, kind="not_logged_in")
        return f"logged in ({status.get('authMethod', 'unknown method')})"  # pyright: ignore[reportUnknownMemberType]

    async def aclose(self) -> None:
        """End every program that still runs."""
        running = tuple(self._running)
        for process in running:
            process.kill()
        for process in running:
            await process.wait_closed()

    # --- one conversation ------------------------------------------------------------------------------

    async def _converse(
        self,
        request: Request,
        record: Record,
        *,
        toolbox: Toolbox | None,
        max_turns: int,
        max_retries: int,
    ) -> None:
        """Run the program over one prompt and fill the record; returns when it has said its result, or was stopped."""
        ensure_model(request.model)
        self._work_dir.mkdir(parents=True, exist_ok=True)
        silence = Silence(self._silence_limit_s)
        with tempfile.TemporaryDirectory(prefix="ktx-") as private:
            system_file = _write_system(request.system, Path(private))
            if system_file is not None:
                # not kept for a moment longer: a ktx that is killed from outside leaves the folder behind
                record.on_ready = partial(_remove, system_file)
            command = command_line(
                self._program,
                request,
                system_file=system_file,
                max_turns=max_turns,
                tool_names=record.tools if toolbox else frozenset(),
            )
            process = ClaudeProcess(
                command,
                environment={
                    **self._child_environment(
                        request.caching,
                        max_retries=max_retries,
                        max_output_tokens=request.max_output_tokens,
                    ),
                    # the program logs every tool call in the one and leaves litter in the other, whatever it is told
                    "XDG_CACHE_HOME": private,
                    "TMPDIR": private,
                },
                cwd=self._work_dir,
                on_frame=record.on_frame,
            )
            record.stop, record.heard = process.kill, silence.heard
            options = ClaudeAgentOptions(
                mcp_servers=_servers(toolbox, silence) if toolbox else {}, verbatim_prompts=True
            )
            self._running.add(process)
            try:
                with silence.scope:
                    silence.heard()
                    await self._speak(ClaudeSDKClient(options, transport=process), process, request, record)
            finally:
                await process.close()
                self._running.discard(process)
        if silence.scope.cancelled_caught and record.result is None:
            raise _billed(_gone_silent(silence.limit_s, record.request_id), record)
        if record.error is not None:
            raise record.error

    async def _speak(
        self, client: ClaudeSDKClient, process: ClaudeProcess, request: Request, record: Record
    ) -> None:
        try:
            await client.connect()
            await client.query(_prompt(request.messages))
            async for _ in client.receive_messages():
                if record.result is not None:
                    break
        except CLINotFoundError as error:
            raise _not_startable(self._program, error) from error
        except Exception as error:  # noqa: BLE001 - the SDK raises plain exceptions too, for a refused start among others
            process.kill()
            if not record.is_stopped and record.result is None:
                record.error = self._broken_off(record, process, error)
        except BaseException:
            process.kill()
            raise
        finally:
            await client.disconnect()

    def _broken_off(self, record: Record, process: ClaudeProcess, error: Exception) -> ModelError:
        """Give the error for a program that ended without a result; its own last words may hold a reason, never a prompt."""
        last_words = process.last_words()
        broken = ModelError(
            f"The program `claude` ended in the middle of a run: {last_words or error}",
            hint="Run `claude doctor`; if it goes on, choose another `llm.provider.backend`.",
            kind="garbled",
            request_id=record.request_id,
        )
        return _billed(broken, record)

    def _child_environment(
        self, caching: CacheSettings, *, max_retries: int, max_output_tokens: int
    ) -> dict[str, str]:
        return child_environment(
            self._environment,
            caching=caching,
            max_retries=max_retries,
            max_output_tokens=max_output_tokens,
            sdk_version=claude_agent_sdk.__version__,
        )

    # --- how it ended ----------------------------------------------------------------------------------

    def _reply_stop(self, record: Record, model: str) -> StopReason:
        result = record.result or {}
        if record.stop_reason == "refusal":
            return "refusal"
        failure = record.failure
        if failure is not None and failure.error == "max_output_tokens":
            return "max_tokens"
        is_one_request_over = result.get("subtype") in (
            "error_max_turns",
            "error_max_structured_output_retries",
        )
        if (result.get("is_error") and not is_one_request_over) or not result:
            self._raise_failure(record, model)
        return "end" if record.structured is not None else _STOPS.get(record.stop_reason or "", "end")

    def _loop_stop(self, record: Record, model: str) -> LoopStop:
        result = record.result or {}
        if record.is_over_budget or result.get("subtype") == "error_max_turns":
            return "step_budget"
        if record.stop_reason == "refusal":
            return "refusal"
        if record.failure is not None and record.failure.error == "max_output_tokens":
            return "max_tokens"
        if result.get("is_error") or not result:
            self._raise_failure(record, model)
        return "done"

    def _raise_failure(self, record: Record, model: str) -> None:
        raise _billed(as_error(record.final_failure(), model=model, now=self._now()), record)


def _servers(toolbox: Toolbox, silence: Silence) -> dict[str, McpServerConfig]:
    instance = tool_server(toolbox, version=claude_agent_sdk.__version__, working=silence.working)
    return {SERVER_NAME: McpSdkServerConfig(type="sdk", name=SERVER_NAME, instance=instance)}


def _gone_silent(limit_s: float, request_id: str | None) -> ModelError:
    return ModelError(
        f"The program `claude` said nothing for {limit_s:g} s and was ended.",
        hint="Check the network and HTTPS_PROXY, then run again.",
        kind="connection",
        request_id=request_id,
    )


def _billed(error: ModelError, record: Record) -> ModelError:
    """Give the failure with its bill, when the provider had begun to bill."""
    return BilledError(error, record.spent()) if record.spent() != Usage() else error


def _not_startable(program: Path, error: Exception) -> ModelError:
    return ModelError(
        f"The program `{program}` could not be started: {error}",
        hint="Install it again with `pip install --force-reinstall 'ktx-context[claude-code]'`.",
        kind="missing_extra",
    )


def _write_system(system: Sequence[str], folder: Path) -> Path | None:
    """Write the system prompt where only this user can read it."""
    if not system:
        return None
    path = folder / "system.md"
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8", errors="replace") as file:
        file.write("\n\n".join(system))
    return path


def _remove(file: Path) -> None:
    with suppress(
        OSError
    ):  # a system may refuse while the program holds it; the folder goes after the call anyway
        file.unlink()


async def _prompt(messages: Sequence[Message]) -> AsyncIterator[dict[str, object]]:
    """Give the one message that is written to the program."""
    if len(messages) == 1:
        blocks = [_words(part) for part in messages[0].parts]
    else:
        blocks = [_transcript(messages[:-1]), *(_words(part) for part in messages[-1].parts)]
    # a lone surrogate can be written as JSON but is no text; the API refuses it
    texts = [block.encode("utf-8", "replace").decode("utf-8") for block in blocks]
    content = [{"type": "text", "text": text} for text in texts if text]
    yield {"type": "user", "message": {"role": "user", "content": content}, "parent_tool_use_id": None}


def _transcript(messages: Sequence[Message]) -> str:
    """Tell a conversation so far: the program takes the user's side only."""
    told = [
        f"<{message.author}>\n{''.join(map(_words, message.parts))}\n</{message.author}>"
        for message in messages
    ]
    return "The conversation so far:\n\n" + "\n\n".join(told) + "\n\nThe next message follows."


def _words(part: object) -> str:
    match part:
        case Text(text=text):
            return text
        case ToolCall(name=name, arguments=arguments):
            return f"[called {name} with {arguments}]"
        case ToolResult(text=text):
            return f"[it answered: {text}]"
        case _:
            return ""
