"""The HTTP server of a project as a background process: started, found again, stopped.

`.ktx/mcp.json` says where it is. Whether it lives is not read from there: a running server holds the lock `.ktx/mcp.lock`, which the
kernel frees when the process ends, however it ends. So a process number that was given to somebody else is never taken for ours.
"""

import http.client
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, ValidationError
from pydantic.alias_generators import to_camel

from ktx.errors import OutsideError, UsageError
from ktx.files import read_text, write_text
from ktx.mcp.address import DEFAULT_HOST, DEFAULT_PORT, HEALTH_PATH, MCP_PATH, reachable_host, server_url
from ktx.project import Project, ensure_state_dir, server_lock

TOKEN_VARIABLE = "KTX_MCP_TOKEN"  # noqa: S105 - the name of the variable, not a token
_START_S = 60.0
_STOP_S = 10.0
_POLL_S = 0.05
_PROBE_S = 2.0
_LARGEST_LOG_BYTES = 5_000_000
_SHOWN_LOG_LINES = 12


class ServerState(BaseModel):
    """What `.ktx/mcp.json` holds: where the server is, and never its token. `log_path` is None in the foreground."""

    model_config = ConfigDict(
        alias_generator=to_camel, populate_by_name=True, serialize_by_alias=True, frozen=True, extra="ignore"
    )

    schema_version: Literal[1] = 1
    pid: int
    host: str
    port: int
    token_auth: bool
    project_dir: str
    started_at: str
    log_path: str | None

    @property
    def url(self) -> str:
        """The address for clients on this machine."""
        return server_url(self.host, self.port)


@dataclass(frozen=True, kw_only=True)
class Standing:
    """How a project's server stands. `stale` is a state file whose server is gone; `starting` holds the lock and answers not yet."""

    status: Literal["stopped", "running", "starting", "stale"]
    state: ServerState | None = None


@dataclass(frozen=True, kw_only=True)
class StartOrder:
    """How a server is to be started. A host or port of None is the default, or whatever a running server has."""

    host: str | None = None
    port: int | None = None
    allowed_hosts: tuple[str, ...] = ()
    allowed_origins: tuple[str, ...] = ()
    token: str | None = None
    max_tokens: int | None = None

    def arguments(self) -> list[str]:
        """Give the options for the child; the token travels in its environment."""
        given = [
            "--host",
            DEFAULT_HOST if self.host is None else self.host,
            "--port",
            str(DEFAULT_PORT if self.port is None else self.port),
        ]
        for name in self.allowed_hosts:
            given += ["--allowed-host", name]
        for origin in self.allowed_origins:
            given += ["--allowed-origin", origin]
        return given if self.max_tokens is None else [*given, "--max-tokens", str(self.max_tokens)]


def log_path(project: Project) -> Path:
    """Give the file to which a background server writes."""
    return project.state_dir / "logs" / "mcp.log"


def read_standing(project: Project) -> Standing:
    """Tell how the project's server stands."""
    state = _read_state(project)
    if not project.state_dir.is_dir():
        return Standing(status="stopped")
    with server_lock(project) as is_free:
        if is_free:
            return Standing(status="stopped" if state is None else "stale", state=state)
    state = _read_state(project)
    if state is None or not is_healthy(state):
        return Standing(status="starting", state=state)
    return Standing(status="running", state=state)


@contextmanager
def announced(
    project: Project, *, host: str, port: int, has_token: bool, log: Path | None
) -> Generator[Callable[[], None]]:
    """Hold the project's server lock; the given function writes the state file, which goes when the block ends.

    Raises:
        OutsideError: the project has a server already.
    """
    path = _state_path(project)
    with server_lock(project) as is_free:
        if not is_free:
            raise OutsideError(
                f"`{project.root}` has an MCP server already.", hint="`ktx mcp status` says where."
            )
        path.unlink(missing_ok=True)
        state = ServerState(
            pid=os.getpid(),
            host=host,
            port=port,
            token_auth=has_token,
            project_dir=str(project.root),
            started_at=datetime.now(UTC).isoformat(timespec="seconds"),
            log_path=None if log is None else str(log),
        )
        try:
            yield lambda: _write_state(path, state)
        finally:
            path.unlink(missing_ok=True)


def start(project: Project, order: StartOrder, environment: Mapping[str, str]) -> tuple[ServerState, bool]:
    """Start the server in the background and wait until it answers; give its state, and whether it was running before.

    Raises:
        OutsideError: it ended while starting, or did not answer in time; the message holds its own words.
        UsageError: one is running, with another address or token than asked for.
    """
    standing = read_standing(project)
    if standing.status in ("running", "starting") and standing.state is not None:
        _ensure_same(standing.state, order)
        return standing.state, True
    log = log_path(project)
    ensure_state_dir(project)
    start_at = _prepare_log(log)
    command = [
        sys.executable, "-P", "-m", "ktx", "--project-dir", str(project.root), "mcp", "serve-internal", *order.arguments(),
    ]  # fmt: skip
    child_environment = {name: value for name, value in environment.items() if name != TOKEN_VARIABLE}
    if order.token is not None:
        child_environment[TOKEN_VARIABLE] = order.token
    with log.open("ab") as stream:
        child = subprocess.Popen(
            command, cwd=project.root, env=child_environment, stdin=subprocess.DEVNULL, stdout=stream,
            stderr=stream, start_new_session=True, close_fds=True,
        )  # fmt: skip
    return _await_health(project, child, log, start_at), False


def stop(project: Project) -> Literal["stopped", "killed", "none"]:
    """Stop the server: it finishes running calls for some seconds; one that does not end in 10 s is killed.

    Raises:
        OutsideError: it belongs to another user, or is not there to be stopped yet.
    """
    standing = read_standing(project)
    if standing.status in ("stopped", "stale"):
        clear_stale(project)
        return "none"
    if standing.state is None:
        raise OutsideError("The server is only just starting.", hint="Try again in a moment.")
    if _signal_until_gone(project, standing.state.pid, signal.SIGTERM, _STOP_S):
        return "stopped"
    kill = signal.SIGKILL if sys.platform != "win32" else signal.SIGTERM
    if not _signal_until_gone(project, standing.state.pid, kill, _STOP_S):
        raise OutsideError(f"The server, process {standing.state.pid}, cannot be ended.")
    clear_stale(project)
    return "killed"


def clear_stale(project: Project) -> bool:
    """Remove the state file of a server that is gone, and tell whether there was one."""
    path = _state_path(project)
    if not path.exists():
        return False
    with server_lock(project) as is_free:
        if is_free:
            path.unlink(missing_ok=True)
        return is_free


def is_healthy(state: ServerState) -> bool:
    """Tell whether something answers on `/health` as a ktx server does."""
    status, body = _request(state, "GET", HEALTH_PATH)
    return status == 200 and body == b'{"status":"ok"}'


def _request(
    state: ServerState, method: str, path: str, headers: Mapping[str, str] | None = None
) -> tuple[int, bytes]:
    """Ask the server something small; 0 when it does not answer."""
    connection = http.client.HTTPConnection(
        reachable_host(state.host).strip("[]"), state.port, timeout=_PROBE_S
    )
    try:
        connection.request(method, path, headers={"Host": "localhost", **(headers or {})})
        response = connection.getresponse()
        return response.status, response.read(1000)
    except (OSError, http.client.HTTPException):
        return 0, b""
    finally:
        connection.close()


def _ensure_same(state: ServerState, order: StartOrder) -> None:
    """Refuse an order that the running server does not fulfil."""
    for name, wanted, has in (("host", order.host, state.host), ("port", order.port, state.port)):
        if wanted is not None and wanted != has:
            raise UsageError(
                f"The project's server is running already, with {name} `{has}` and not `{wanted}`.",
                hint="Stop it with `ktx mcp stop`, then start it anew.",
            )
    given = {} if order.token is None else {"Authorization": f"Bearer {order.token}"}
    is_accepted = _request(state, "GET", MCP_PATH, given)[0] == 405
    if not is_accepted or (order.token is not None) != state.token_auth:
        raise UsageError(
            "The project's server is running already, with another token.",
            hint="Stop it with `ktx mcp stop`, then start it anew.",
        )


def _await_health(
    project: Project, child: "subprocess.Popen[bytes]", log: Path, start_at: int
) -> ServerState:
    until = time.monotonic() + _START_S
    while time.monotonic() < until:
        state = _read_state(project)
        if state is not None and state.pid == child.pid and is_healthy(state):
            child.returncode = 0  # it lives on without us; nobody waits for it
            return state
        if child.poll() is not None:
            said = _said(log, start_at)
            raise OutsideError(
                f"The server ended while starting{': ' + said if said else ''}", hint=f"Its log: {log}"
            )
        time.sleep(_POLL_S)
    child.kill()
    child.wait()
    raise OutsideError(
        f"The server did not answer within {_START_S:g} s, and was ended.", hint=f"Its log: {log}"
    )


def _signal_until_gone(project: Project, pid: int, number: signal.Signals, seconds: float) -> bool:
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        return True
    except PermissionError as error:
        raise OutsideError(f"The server, process {pid}, belongs to another user.") from error
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        with server_lock(project) as is_free:
            if is_free:
                return True
        time.sleep(_POLL_S)
    return False


def _said(log: Path, start_at: int) -> str:
    """Give what a server that failed wrote since it was started, without its labels."""
    with log.open("rb") as stream:
        stream.seek(start_at)
        text = stream.read().decode("utf-8", "replace")
    lines = [line.strip() for line in text.splitlines() if line.strip()][-_SHOWN_LOG_LINES:]
    return " ".join(line.removeprefix("error: ") for line in lines)


def _prepare_log(path: Path) -> int:
    """Make the log file, readable by its owner only, put a large one aside, and give where new lines will begin."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.exists() and path.stat().st_size > _LARGEST_LOG_BYTES:
        path.replace(path.with_name(f"{path.name}.1"))
    path.touch(mode=0o600)
    return path.stat().st_size


def _state_path(project: Project) -> Path:
    return project.state_dir / "mcp.json"


def _read_state(project: Project) -> ServerState | None:
    """Read the state file; one that is not understood counts as none."""
    try:
        return ServerState.model_validate_json(read_text(_state_path(project)))
    except (OSError, UnicodeDecodeError, ValidationError):
        return None


def _write_state(path: Path, state: ServerState) -> None:
    write_text(path, json.dumps(state.model_dump(mode="json"), indent=2) + "\n", mode=0o600)


def follow(path: Path, *, is_over: Callable[[], bool]) -> Generator[str]:
    """Give what is added to a log from now on, until `is_over`; a log that is begun anew is read from its start."""
    position = path.stat().st_size if path.exists() else 0
    while True:
        if path.exists():
            if path.stat().st_size < position:
                position = 0
            with path.open("rb") as stream:
                stream.seek(position)
                data = stream.read()
                position = stream.tell()
            if data:
                yield data.decode("utf-8", "replace")
        if is_over():
            return
        time.sleep(_POLL_S * 4)


def last_lines(path: Path, count: int) -> Sequence[str]:
    """Give the last lines of a log, without line breaks; none when there is no log."""
    try:
        return read_text(path).splitlines()[-count:] if count else []
    except FileNotFoundError:
        return []
