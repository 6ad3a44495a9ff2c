"""The tools of one run as an MCP server that the program reaches through its own standard input and output.

Only text goes out: when an answer also carries structured content, the program shows the model that and drops the text.
"""

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any

from mcp import types as mcp
from mcp.server.context import ServerRequestContext
from mcp.server.lowlevel import Server

from ktx.llm.messages import ToolSpec
from ktx.llm.tools import Toolbox, as_arguments

SERVER_NAME = "ktx"
_RESULT_CHARS = 200_000
"""What Claude Code may take as one result before it puts it into a file that the model cannot open; the door cuts far below."""


def tool_server(
    toolbox: Toolbox, *, version: str, working: Callable[[], AbstractContextManager[None]] = nullcontext
) -> "Server[dict[str, Any]]":
    """Give a server that lists the tools of a run and passes every call through its door; `working` is entered around each."""

    async def list_tools(
        context: ServerRequestContext[dict[str, Any]], params: mcp.PaginatedRequestParams | None
    ) -> mcp.ListToolsResult:
        del context, params
        return mcp.ListToolsResult(tools=[_as_mcp(spec) for spec in toolbox.specs()])

    async def call_tool(
        context: ServerRequestContext[dict[str, Any]], params: mcp.CallToolRequestParams
    ) -> mcp.CallToolResult:
        del context
        with working():
            answer = await toolbox.call(params.name, as_arguments(params.arguments or {}))
        return mcp.CallToolResult(
            content=[mcp.TextContent(type="text", text=answer.text)], is_error=answer.is_error
        )

    return Server(SERVER_NAME, version=version, on_list_tools=list_tools, on_call_tool=call_tool)


def _as_mcp(spec: ToolSpec) -> mcp.Tool:
    return mcp.Tool(
        name=spec.name,
        description=spec.description,
        input_schema=dict(spec.input_schema),
        annotations=mcp.ToolAnnotations(
            read_only_hint=spec.is_read_only,
            destructive_hint=False,
            open_world_hint=False,
        ),
        _meta={"anthropic/maxResultSizeChars": _RESULT_CHARS},
    )
