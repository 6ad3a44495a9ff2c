"""git's own HTTP service (`git http-backend`) on loopback, with Basic authentication and, if asked, a breaking line."""

import base64
import os
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

ENV = {"PATH": os.environ["PATH"], "HOME": "/nonexistent", "GIT_CONFIG_NOSYSTEM": "1"}


def git(folder: Path, *arguments: str) -> str:
    """Run git as a user would, with an identity of theirs."""
    identity = ("-c", "user.name=User", "-c", "user.email=user@example.com")
    command = ["git", *identity, "-C", str(folder), *arguments]
    return subprocess.run(command, env=ENV, capture_output=True, text=True, check=True).stdout


def commit_files(folder: Path, files: dict[str, str | None], *, branch: str = "main") -> str:
    """Write, remove (None) and commit files of a repository, made if need be, and give the commit."""
    if not (folder / ".git").exists():
        folder.mkdir(parents=True, exist_ok=True)
        git(folder, "init", "-q", "-b", branch)
    for path, text in files.items():
        file = folder / path
        file.parent.mkdir(parents=True, exist_ok=True)
        if text is None:
            file.unlink()
        else:
            file.write_text(text)
    git(folder, "add", "-A")
    git(folder, "commit", "-qm", "change")
    return git(folder, "rev-parse", "HEAD").strip()


@dataclass(kw_only=True)
class GitServer:
    """`password` guards it when given; `breaks_packs` cuts each pack in half; `redirect` sends everyone elsewhere."""

    root: Path
    password: str | None = None
    breaks_packs: bool = False
    redirect: str | None = None
    requests: list[str] = field(default_factory=list)
    credentials: list[str] = field(default_factory=list)
    port: int = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"


@contextmanager
def git_server(root: Path, **settings: object) -> Iterator[GitServer]:
    """Serve the repositories under `root`."""
    state = GitServer(root=root, **settings)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *args: object) -> None:
            pass

        def do_GET(self) -> None:
            self._serve(b"")

        def do_POST(self) -> None:
            self._serve(self.rfile.read(int(self.headers["Content-Length"])))

        def _serve(self, body: bytes) -> None:
            path, _, query = self.path.partition("?")
            state.requests.append(f"{self.command} {path}")
            given = self.headers.get("Authorization", "")
            if given:
                state.credentials.append(base64.b64decode(given.removeprefix("Basic ")).decode())
            if state.redirect:
                self._answer(302, {"Location": state.redirect + self.path}, b"")
                return
            if state.password and not (given and state.credentials[-1].endswith(f":{state.password}")):
                self._answer(401, {"WWW-Authenticate": 'Basic realm="git"'}, b"no")
                return
            cgi = {
                **ENV,
                "GIT_PROJECT_ROOT": str(root),
                "GIT_HTTP_EXPORT_ALL": "1",
                "PATH_INFO": path,
                "QUERY_STRING": query,
                "REQUEST_METHOD": self.command,
                "CONTENT_TYPE": self.headers.get("Content-Type", ""),
                "CONTENT_LENGTH": str(len(body)),
                "HTTP_CONTENT_ENCODING": self.headers.get("Content-Encoding", ""),
                "GIT_PROTOCOL": self.headers.get("Git-Protocol", ""),
            }
            done = subprocess.run(
                ["git", "http-backend"], env=cgi, input=body, capture_output=True, check=True
            )
            head, _, content = done.stdout.partition(b"\r\n\r\n")
            headers = dict(line.split(": ", 1) for line in head.decode().split("\r\n"))
            status = int(headers.pop("Status", "200").split()[0])
            cut = len(content) // 2 if state.breaks_packs and b"PACK" in content else None
            self._answer(status, headers, content, cut=cut)

        def _answer(
            self, status: int, headers: dict[str, str], content: bytes, *, cut: int | None = None
        ) -> None:
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content[:cut])
            if cut is not None:
                self.close_connection = True

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    state.port = server.server_address[1]
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield state
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
