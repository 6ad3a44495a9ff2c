"""MCP over stdin and stdout: stdout carries the protocol and nothing else, the log goes to stderr."""

import logging
import sys
from functools import partial

import anyio
from mcp.server.stdio import stdio_server

from ktx.mcp.server import build_server
from ktx.serve.fit import DEFAULT_MAX_TOKENS
from ktx.serve.live import Desks


def serve_stdio(desks: Desks, *, max_tokens: int = DEFAULT_MAX_TOKENS) -> None:
    """Answer on stdin and stdout until the client closes stdin."""
    logging.basicConfig(
        level=logging.WARNING, stream=sys.stderr, format="%(levelname)s %(name)s: %(message)s"
    )
    anyio.run(partial(_serve, desks, max_tokens=max_tokens))


async def _serve(desks: Desks, *, max_tokens: int) -> None:
    server = build_server(desks, max_tokens=max_tokens)
    async with stdio_server() as (reading, writing):
        await server.run(reading, writing, server.create_initialization_options())
