"""The MCP server: tools, descriptions, transports."""
