"""The MCP server: lists the tools, checks arguments, runs them in threads, and turns every failure into an answer.

Transport is not its business: `stdio` and `http` run what `build_server` gives.
"""

import json
import logging
from typing import Any

import anyio
import anyio.to_thread
import mcp_types as types
from mcp.server import Server, ServerRequestContext
from pydantic import ValidationError

from ktx.errors import KtxError
from ktx.mcp.tools import Tool, instructions, offered_tools
from ktx.serve.answers import Answer
from ktx.serve.desk import Desk
from ktx.suggest import did_you_mean
from ktx.version import __version__

_log = logging.getLogger(__name__)
_MOST_PROBLEMS = 8
_PROGRESS_AFTER_S = 2.0


def build_server(desk: Desk) -> Server[Any]:
    """Make a server that answers from `desk`."""

    async def list_tools(
        context: ServerRequestContext[Any], params: types.PaginatedRequestParams | None
    ) -> types.ListToolsResult:
        del context, params
        return types.ListToolsResult(tools=[tool_entry(tool) for tool in offered_tools(desk)])

    async def call_tool(
        context: ServerRequestContext[Any], params: types.CallToolRequestParams
    ) -> types.CallToolResult:
        return await _call(desk, context, params)

    return Server(
        "ktx",
        version=__version__,
        title="ktx",
        instructions=instructions(),
        on_list_tools=list_tools,
        on_call_tool=call_tool,
    )


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
            read_only_hint=True,
            destructive_hint=False,
            idempotent_hint=tool.is_idempotent,
            open_world_hint=False,
        ),
    )


async def _call(
    desk: Desk, context: ServerRequestContext[Any], params: types.CallToolRequestParams
) -> types.CallToolResult:
    tools = {tool.name: tool for tool in offered_tools(desk)}
    tool = tools.get(params.name)
    if tool is None:
        return _failure(f"There is no tool `{params.name[:80]}`.{did_you_mean(params.name[:80], tools)}")
    try:
        given = tool.read(params.arguments or {})
    except KtxError as error:
        return _failure(_explained(error))
    except ValidationError as error:
        return _failure(_problems(error, tool))
    except RecursionError:
        return _failure("The arguments are nested too deeply.")
    result = _failure("The call was cancelled.")
    async with anyio.create_task_group() as group:
        group.start_soon(_report, context, tool.name)
        result = await anyio.to_thread.run_sync(_run, tool, desk, given, abandon_on_cancel=True)
        group.cancel_scope.cancel()
    return result


def _run(tool: Tool[Any], desk: Desk, given: object) -> types.CallToolResult:
    """Run a tool in this thread. Every failure becomes an answer; what is not ours to tell stays in the log."""
    try:
        return _success(tool.run(desk, given))
    except KtxError as error:
        return _failure(_explained(error))
    except Exception:  # noqa: BLE001 - the border: a client is told, the log knows, the server goes on
        _log.exception("the tool %s failed", tool.name)
        return _failure(
            f"`{tool.name}` failed inside ktx; the server's log says more. Another call may work."
        )


async def _report(context: ServerRequestContext[Any], name: str) -> None:
    """Tell a client that asked for progress that a long call is still running."""
    seconds = 0.0
    while True:
        await anyio.sleep(_PROGRESS_AFTER_S)
        seconds += _PROGRESS_AFTER_S
        await context.session.report_progress(seconds, message=f"{name} has been running for {seconds:.0f} s")


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


def _success(answer: Answer) -> types.CallToolResult:
    plain = answer.plain()
    text = json.dumps(plain, ensure_ascii=False, separators=(",", ":"))
    return types.CallToolResult(content=[types.TextContent(type="text", text=text)], structured_content=plain)


def _failure(text: str) -> types.CallToolResult:
    return types.CallToolResult(content=[types.TextContent(type="text", text=text)], is_error=True)
