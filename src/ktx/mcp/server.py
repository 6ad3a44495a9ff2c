"""The MCP server: lists the tools, checks arguments, runs them in threads, and turns every failure into an answer.

Transport is not its business: `stdio` and `http` run what `build_server` gives.
"""

import json
import logging
import threading
import time
from collections.abc import Callable, Mapping
from typing import Any

import anyio
import anyio.to_thread
import mcp_types as types
from mcp.server import Server, ServerRequestContext
from pydantic import ValidationError

from ktx.errors import KtxError, OutsideError
from ktx.mcp.tools import TOOLS, Tool, input_schema, instructions, offered_tools, tool_named
from ktx.serve.answers import Answer
from ktx.serve.fit import DEFAULT_MAX_TOKENS, chars, fit
from ktx.serve.live import Desks
from ktx.serve.stop import Stop, stoppable
from ktx.suggest import did_you_mean
from ktx.version import __version__

_log = logging.getLogger(__name__)
_MOST_PROBLEMS = 8
_LONGEST_REFUSAL = 4_000
_PROGRESS_AFTER_S = 2.0
_STOP_AGAIN_S = 0.1
_MOST_READING = 4
"""Calls that answer from files and the index run this many at a time: more threads would only take turns."""
_MOST_ASKING = 64
"""Calls that wait for a database; each connection has its own, lower limit."""


class Calls:
    """The calls in flight, so that whoever stops the server can let them finish or stop them."""

    def __init__(self) -> None:
        self._stops: set[Stop] = set()
        self._is_closing = False

    def __len__(self) -> int:
        return len(self._stops)

    @property
    def is_closing(self) -> bool:
        """Whether the server is being stopped."""
        return self._is_closing

    def add(self) -> Stop:
        """Count a call and give its stop button."""
        stop = Stop()
        self._stops.add(stop)
        return stop

    def remove(self, stop: Stop) -> None:
        """Forget a call that has ended."""
        self._stops.discard(stop)

    def close(self) -> None:
        """Note that the server is being stopped."""
        self._is_closing = True

    async def stop_all(self) -> None:
        """Stop every call in flight, and wait until each has given its answer."""
        while self._stops:
            for stop in tuple(self._stops):
                await anyio.to_thread.run_sync(stop.press)
            await anyio.sleep(_STOP_AGAIN_S)


def build_server(
    desks: Desks, *, max_tokens: int = DEFAULT_MAX_TOKENS, calls: Calls | None = None
) -> Server[Any]:
    """Make a server that answers from `desks`, each answer within `max_tokens`."""
    kitchen = _Kitchen(desks, max_tokens=max_tokens, calls=Calls() if calls is None else calls)

    async def list_tools(
        context: ServerRequestContext[Any], params: types.PaginatedRequestParams | None
    ) -> types.ListToolsResult:
        del context, params
        return await kitchen.list_tools()

    async def call_tool(
        context: ServerRequestContext[Any], params: types.CallToolRequestParams
    ) -> types.CallToolResult:
        return await kitchen.call(context, params)

    return _Server(
        "ktx",
        kitchen.instructions,
        version=__version__,
        title="ktx",
        on_list_tools=list_tools,
        on_call_tool=call_tool,
        # without it, the transport would list all tools again for each call, to check headers that no tool of ours declares
        get_tool_input_schema=input_schema,
    )


class _Server(Server[Any]):
    """A server whose instructions are those of the project as it stands when a client comes."""

    def __init__(self, name: str, told: Callable[[], str], **options: Any) -> None:
        self._told = told
        super().__init__(name, **options)

    @property
    def instructions(self) -> str:
        """What an agent is told about the tools."""
        return self._told()

    @instructions.setter
    def instructions(self, text: str | None) -> None:
        del text  # the library's constructor sets it


def tool_entry(tool: Tool[Any]) -> types.Tool:
    """Give a tool as the protocol lists it."""
    return types.Tool(
        name=tool.name,
        title=tool.title,
        description=tool.description,
        input_schema=tool.input_schema(),
        output_schema=tool.output_schema(),
        annotations=types.ToolAnnotations(
            title=tool.title,
            read_only_hint=not tool.is_writing,
            destructive_hint=tool.is_writing,
            idempotent_hint=tool.is_idempotent,
            open_world_hint=False,
        ),
    )


class _Kitchen:
    """Where calls are worked on: in threads, reading ones and those that wait for a database apart."""

    def __init__(self, desks: Desks, *, max_tokens: int, calls: Calls) -> None:
        self._desks = desks
        self._max_tokens = max_tokens
        self._calls = calls
        self._reading = anyio.CapacityLimiter(_MOST_READING)
        self._asking = anyio.CapacityLimiter(_MOST_ASKING)

    async def list_tools(self) -> types.ListToolsResult:
        """List what this project can use; everything while ktx.yaml cannot be read, for each call then says why."""
        tools = await anyio.to_thread.run_sync(self._offered, limiter=self._reading)
        return types.ListToolsResult(tools=[tool_entry(tool) for tool in tools])

    async def call(
        self, context: ServerRequestContext[Any], params: types.CallToolRequestParams
    ) -> types.CallToolResult:
        tool = tool_named(params.name)
        started = time.monotonic()
        kept = self._kept(tool, params) if tool is not None and tool.is_searching else None
        if kept is not None:
            _log.info("%s answered again in %.0f ms", params.name, (time.monotonic() - started) * 1000)
            return kept
        stop = self._calls.add()
        result = _failure("The call was cancelled.")
        try:
            if tool is not None and tool.is_asking:
                async with anyio.create_task_group() as group:
                    group.start_soon(_report, context, tool.name)
                    result = await self._in_thread(params, stop, self._asking)
                    group.cancel_scope.cancel()
            else:
                result = await self._in_thread(params, stop, self._reading)
        finally:
            self._calls.remove(stop)
        _log.info(
            "%s %s in %.0f ms",
            tool.name if tool else "an unknown tool",
            "was refused" if result.is_error else "answered",
            (time.monotonic() - started) * 1000,
        )
        return result

    async def _in_thread(
        self, params: types.CallToolRequestParams, stop: Stop, limiter: anyio.CapacityLimiter
    ) -> types.CallToolResult:
        """Work on a call in a thread. A cancelled call is stopped in the database too, and is over when its thread is."""
        is_over = threading.Event()

        def work() -> types.CallToolResult:
            try:
                return self._answer(params, stop)
            finally:
                is_over.set()

        try:
            return await anyio.to_thread.run_sync(work, limiter=limiter, abandon_on_cancel=True)
        except anyio.get_cancelled_exc_class():
            with anyio.CancelScope(shield=True):
                while not is_over.is_set():
                    await anyio.to_thread.run_sync(stop.press)
                    await anyio.sleep(_STOP_AGAIN_S)
            _log.info("%s was cancelled", params.name[:80])
            raise

    def _kept(self, tool: Tool[Any], params: types.CallToolRequestParams) -> types.CallToolResult | None:
        """Give a kept answer without a thread, as long as the last look at the files is believed."""
        try:
            with self._desks.using() as desk:
                state = desk.last_state()
                found = None if state is None else desk.kept(self._asked(tool, params), state)
        except (KtxError, TypeError, ValueError, RecursionError):
            return None  # the way through a thread says why
        return found if isinstance(found, types.CallToolResult) else None

    def _asked(self, tool: Tool[Any], params: types.CallToolRequestParams) -> str:
        """Give one text for a tool, its arguments as they came, and the bound that holds here."""
        return f"{self._max_tokens} {tool.name} {json.dumps(params.arguments, sort_keys=True)}"

    def instructions(self) -> str:
        """Tell how the tools work together, those that this project can use."""
        offered = {tool.name for tool in self._offered()}
        return instructions(with_memory="memory_ingest" in offered)

    def _offered(self) -> tuple[Tool[Any], ...]:
        try:
            with self._desks.using() as desk:
                return offered_tools(desk)
        except KtxError:
            return TOOLS

    def _answer(self, params: types.CallToolRequestParams, stop: Stop) -> types.CallToolResult:
        """Work on a call in this thread. Every failure becomes an answer; what is not ours to tell stays in the log."""
        arguments = params.arguments or {}
        tool = tool_named(params.name)
        try:
            _ensure_text(arguments)
            with stoppable(stop), self._desks.using() as desk:
                if tool is None or not tool.is_offered(desk):
                    known = [each.name for each in offered_tools(desk)]
                    name = params.name[:80]
                    return _failure(f"There is no tool `{name}`.{did_you_mean(name, known)}")
                given = tool.read(arguments)
                if tool.within is not None:
                    given = tool.within(given, self._max_tokens)
                if not tool.is_searching:
                    return self._success(tool, tool.run(desk, given))
                asked, state = self._asked(tool, params), desk.state()
                kept = desk.kept(asked, state)
                if isinstance(kept, types.CallToolResult):
                    return kept
                result = self._success(tool, tool.run(desk, given))
                desk.keep(asked, state, result)
                return result
        except OutsideError as error:
            if self._calls.is_closing:
                return _failure("The server is being stopped, and the call was cancelled. Call again later.")
            return _failure(_explained(error))
        except KtxError as error:
            return _failure(_explained(error))
        except ValidationError as error:
            return _failure(_problems(error, tool) if tool else "The arguments cannot be used.")
        except RecursionError:
            return _failure("The arguments are nested too deeply.")
        except Exception:  # noqa: BLE001 - the border: a client is told, the log knows, the server goes on
            name = tool.name if tool else "?"
            _log.exception("the tool %s failed", name)
            return _failure(f"`{name}` failed inside ktx; the server's log says more. Another call may work.")

    def _success(self, tool: Tool[Any], answer: Answer) -> types.CallToolResult:
        plain, text = fit(answer.plain(), tool.cuts, max_chars=chars(self._max_tokens))
        return types.CallToolResult(
            content=[types.TextContent(type="text", text=text)], structured_content=plain
        )


async def _report(context: ServerRequestContext[Any], name: str) -> None:
    """Tell a client that asked for progress that a long call is still running."""
    seconds = 0.0
    while True:
        await anyio.sleep(_PROGRESS_AFTER_S)
        seconds += _PROGRESS_AFTER_S
        await context.session.report_progress(seconds, message=f"{name} has been running for {seconds:.0f} s")


def _ensure_text(arguments: Mapping[str, Any]) -> None:
    """Refuse half letters, which neither a database nor the protocol can hold."""
    try:
        json.dumps(arguments, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        message = "The arguments hold text that is not valid Unicode (half of a surrogate pair)."
        raise KtxError(message) from None


def _explained(error: KtxError) -> str:
    lines = [error.message]
    for finding in error.findings[:_MOST_PROBLEMS]:
        if finding.message != error.message:
            lines.append(f"- {finding.message}" + (f" ({finding.where})" if str(finding.where) else ""))
            if finding.fix:
                lines.append(f"  {finding.fix}")
    if error.hint:
        lines.append(error.hint)
    return "\n".join(lines)


def _problems(error: ValidationError, tool: Tool[Any]) -> str:
    known = [field.alias or name for name, field in tool.input.model_fields.items()]
    lines = [f"The arguments of `{tool.name}` cannot be used:"]
    for problem in error.errors(include_url=False, include_input=False, include_context=False)[
        :_MOST_PROBLEMS
    ]:
        path = ".".join(str(part)[:80] for part in problem["loc"])
        if problem["type"] == "extra_forbidden":
            name = str(problem["loc"][-1])[:80]
            lines.append(
                f"- `{path}` is not known.{did_you_mean(name, known) if len(problem['loc']) == 1 else ''}"
            )
        elif problem["type"] == "missing":
            lines.append(f"- `{path}` is required.")
        else:
            lines.append(f"- `{path}`: {problem['msg'][:300]}")
    return "\n".join(lines)


def _failure(text: str) -> types.CallToolResult:
    shown = text if len(text) <= _LONGEST_REFUSAL else f"{text[:_LONGEST_REFUSAL]}…"
    shown = shown.encode("utf-8", "replace").decode("utf-8")
    return types.CallToolResult(content=[types.TextContent(type="text", text=shown)], is_error=True)
