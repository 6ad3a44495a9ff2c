"""The least that a server of the `mcp` package can do: one tool that answers "ok". `benchmarks/mcp.py` starts it, over stdio or HTTP.

    python benchmarks/protocol/floor.py stdio|http

Over HTTP it takes a free port and prints it. It has no Host or token check, no threads and no log.
"""

import socket
import sys
from typing import Any

import anyio
import mcp_types as types
import uvicorn
from mcp.server import Server, ServerRequestContext
from mcp.server.stdio import stdio_server
from mcp.server.streamable_http_manager import StreamableHTTPSessionManager


async def list_tools(
    context: ServerRequestContext[Any], params: types.PaginatedRequestParams | None
) -> types.ListToolsResult:
    del context, params
    return types.ListToolsResult(tools=[types.Tool(name="floor", input_schema={"type": "object"})])


async def call_tool(
    context: ServerRequestContext[Any], params: types.CallToolRequestParams
) -> types.CallToolResult:
    del context, params
    return types.CallToolResult(
        content=[types.TextContent(type="text", text='{"ok":true}')], structured_content={"ok": True}
    )


def server() -> Server[Any]:
    return Server(
        "floor",
        on_list_tools=list_tools,
        on_call_tool=call_tool,
        get_tool_input_schema={"floor": {"type": "object"}}.get,
    )


async def serve_stdio() -> None:
    made = server()
    async with stdio_server() as (reading, writing):
        await made.run(reading, writing, made.create_initialization_options())


async def serve_http() -> None:
    sessions = StreamableHTTPSessionManager(server())
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listener.bind(("127.0.0.1", 0))
    listener.listen(512)

    async def application(scope: Any, receive: Any, send: Any) -> None:
        await sessions.handle_request(scope, receive, send)

    async with sessions.run():
        config = uvicorn.Config(
            application, log_config=None, access_log=False, lifespan="off", server_header=False
        )
        print(listener.getsockname()[1], flush=True)
        await uvicorn.Server(config).serve([listener])


if __name__ == "__main__":
    anyio.run(serve_stdio if sys.argv[1] == "stdio" else serve_http)
