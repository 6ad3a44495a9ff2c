"""MCP over stdin and stdout: stdout carries the protocol and nothing else, the log goes to stderr."""

import logging
import sys

import anyio
from mcp.server.stdio import stdio_server

from ktx.mcp.server import build_server
from ktx.serve.desk import Desk


def serve_stdio(desk: Desk) -> None:
    """Answer on stdin and stdout until the client closes stdin."""
    logging.basicConfig(
        level=logging.WARNING, stream=sys.stderr, format="%(levelname)s %(name)s: %(message)s"
    )
    anyio.run(_serve, desk)


async def _serve(desk: Desk) -> None:
    server = build_server(desk)
    async with stdio_server() as (reading, writing):
        await server.run(reading, writing, server.create_initialization_options())
