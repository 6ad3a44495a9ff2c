"""A project's HTTP server as people start it, for tests; and requests to it without a client's help."""

import http.client
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

SOURCE = Path(__file__).parents[2] / "src"
INITIALIZE = {
    "jsonrpc": "2.0",
    "id": 0,
    "method": "initialize",
    "params": {
        "protocolVersion": "2025-06-18",
        "capabilities": {},
        "clientInfo": {"name": "test", "version": "1"},
    },
}
SLOW_SQL = "select count(*) from range(1000000) a, range(1000000) b where a.range * b.range % 7 = 3"


def ktx(root: Path, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run a command line on a project."""
    return subprocess.run(
        [sys.executable, "-m", "ktx", "--project-dir", str(root), *arguments],
        env={"PYTHONPATH": str(SOURCE), "PATH": os.environ["PATH"], **environment},
        capture_output=True,
        text=True,
        check=False,
    )


class Http:
    """A client of a server, with a session once it is initialized."""

    def __init__(self, url: str, *, token: str | None = None) -> None:
        host, _, port = url.removeprefix("http://").partition("/")[0].rpartition(":")
        self._address = (host.strip("[]"), int(port))
        self._token = token
        self.session: str | None = None

    def send(
        self, method: str, path: str, body: object = None, **headers: str
    ) -> tuple[int, dict[str, str], bytes]:
        """Give status, headers and body; underscores in header names stand for hyphens."""
        all_headers = {name.replace("_", "-"): value for name, value in headers.items()}
        if self._token and "authorization" not in all_headers:
            all_headers["authorization"] = f"Bearer {self._token}"
        if self.session:
            all_headers["mcp-session-id"] = self.session
        data = None if body is None else json.dumps(body)
        if data is not None:
            all_headers.setdefault("content-type", "application/json")
            all_headers.setdefault("accept", "application/json, text/event-stream")
        connection = http.client.HTTPConnection(*self._address, timeout=60)
        try:
            connection.request(method, path, body=data, headers=all_headers)
            response = connection.getresponse()
            return response.status, {k.lower(): v for k, v in response.getheaders()}, response.read()
        finally:
            connection.close()

    def initialize(self) -> None:
        """Open a session of the protocol."""
        status, headers, _ = self.send("POST", "/mcp", INITIALIZE)
        assert status == 200
        self.session = headers["mcp-session-id"]
        self.send("POST", "/mcp", {"jsonrpc": "2.0", "method": "notifications/initialized"})

    def call(self, name: str, arguments: dict[str, Any], **extra: Any) -> list[dict[str, Any]]:
        """Call a tool and give every message that came back."""
        request = {
            "jsonrpc": "2.0",
            "id": extra.pop("id", 1),
            "method": "tools/call",
            "params": {"name": name, "arguments": arguments, **extra},
        }
        status, _, body = self.send("POST", "/mcp", request)
        assert status == 200, body
        text = body.decode()
        if text.startswith("{"):
            return [json.loads(text)]
        return [json.loads(line[6:]) for line in text.splitlines() if line.startswith("data: {")]
