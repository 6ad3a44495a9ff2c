"""Programs that end when they should: with their run, with their parent, and together with what they started."""

import os
import select
import signal
import subprocess
import sys
from pathlib import Path

import anyio
import pytest

import ktx.llm.backends.claude_code.launch as launch
from ktx.errors import ModelError
from ktx.llm.backend import Request
from ktx.llm.backends.claude_code.command import find_program
from ktx.llm.messages import text_of, user
from modelserver.replies import hang, text

pytestmark = [
    pytest.mark.claude,
    pytest.mark.skipif(
        not hasattr(os, "pidfd_open"), reason="watches processes by descriptors, which need Linux"
    ),
]

ASK = Request(model="sonnet", messages=(user("How many?"),), system=("Be brief.",))
LAUNCH = Path(launch.__file__)


def has_ended(pid: int, *, within_s: float = 5.0) -> bool:
    """Tell whether a process ends in time; one that is gone already has."""
    try:
        descriptor = os.pidfd_open(pid)
    except ProcessLookupError:
        return True
    try:
        return bool(select.select([descriptor], [], [], within_s)[0])
    finally:
        os.close(descriptor)


def recording(program: Path, folder: Path) -> Path:
    """Wrap the program so that each start leaves its process id in a file."""
    wrapper = folder / "claude"
    wrapper.write_text(f'#!/bin/sh\necho $$ > "{folder}/pid-$$"\nexec "{program}" "$@"\n')
    wrapper.chmod(0o755)
    return wrapper


def pids(folder: Path) -> list[int]:
    return [int(path.read_text()) for path in folder.glob("pid-*")]


PARENT = """
import sys, anyio
from pathlib import Path
from ktx.llm.backend import Request
from ktx.llm.backends.claude_code.backend import ClaudeCodeBackend
from ktx.llm.messages import user
import os
backend = ClaudeCodeBackend(environment=os.environ, work_dir=Path(sys.argv[1]), program=Path(sys.argv[2]))
anyio.run(backend.send, Request(model="sonnet", messages=(user("How many?"),), system=("SYSTEM",)))
"""


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM])
def test_a_program_dies_with_the_parent_that_was_killed_and_asks_nothing_more(server, host, tmp_path, how):
    server.script(lambda request: hang("so far"))
    program = recording(find_program(host.environment), tmp_path)
    source = str(Path(__file__).parents[3] / "src")
    parent = subprocess.Popen(
        [sys.executable, "-c", PARENT, str(host.work_dir), str(program)],
        env={**host.environment, "PYTHONPATH": source},
    )
    with parent:
        server.wait_for_requests(1)
        parent.send_signal(how)
    (pid,) = pids(tmp_path)
    assert has_ended(pid)
    assert server.wait_until(lambda s: s.requests[0].is_disconnected)
    assert len(server.requests) == 1
    assert "SYSTEM" in server.requests[0].system_text
    left = [path for path in (host.home / "tmp").rglob("*") if path.is_file()]
    assert not any("SYSTEM" in path.read_text() for path in left)


def test_every_program_is_gone_once_its_answer_is_there(server, host, tmp_path):
    program = recording(find_program(host.environment), tmp_path)
    anyio.run(host.backend(program=program).send, ASK)
    (pid,) = pids(tmp_path)
    assert has_ended(pid, within_s=0)


def test_closing_the_backend_ends_what_still_runs(server, host, tmp_path):
    server.script(lambda request: hang("so far"))
    backend = host.backend(program=recording(find_program(host.environment), tmp_path))

    async def body():
        async with anyio.create_task_group() as tasks:

            async def ask():
                with pytest.raises(ModelError, match="ended in the middle of a run"):
                    await backend.send(ASK)

            tasks.start_soon(ask)
            await anyio.to_thread.run_sync(server.wait_for_requests, 1)
            with anyio.fail_after(1):
                await backend.aclose()

    anyio.run(body)
    (pid,) = pids(tmp_path)
    assert has_ended(pid)


@pytest.mark.slow
def test_eight_at_once_do_not_mix_their_answers(server, host):
    server.script(lambda request: text(f"answer to {request.user_text}").delayed(0.3))
    backend = host.backend()
    answers = {}

    async def ask(number):
        reply = await backend.send(Request(model="sonnet", messages=(user(f"question {number}"),)))
        answers[number] = text_of(reply.parts)

    async def body():
        async with anyio.create_task_group() as tasks:
            for number in range(8):
                tasks.start_soon(ask, number)

    anyio.run(body)
    assert answers == {number: f"answer to question {number}" for number in range(8)}
    assert server.peak_in_flight > 1


# --- the watcher, alone -----------------------------------------------------------------------------------

SLEEPER = "import sys, time; print(__import__('os').getpid(), flush=True); time.sleep(60)"


def test_the_watcher_without_the_kernels_help_ends_the_program_when_its_lifeline_ends():
    reading, writing = os.pipe()
    watcher = subprocess.Popen(
        [
            sys.executable,
            "-I",
            "-S",
            str(LAUNCH),
            str(os.getpid()),
            str(reading),
            sys.executable,
            "-c",
            SLEEPER,
        ],
        stdout=subprocess.PIPE,
        pass_fds=(reading,),
        start_new_session=True,
    )
    os.close(reading)
    with watcher:
        pid = int(watcher.stdout.readline())
        assert not has_ended(pid, within_s=0)
        os.close(writing)
        assert has_ended(pid)
        assert has_ended(watcher.pid)


def test_the_watcher_without_the_kernels_help_leaves_with_the_programs_code():
    reading, writing = os.pipe()
    command = [
        sys.executable,
        "-I",
        "-S",
        str(LAUNCH),
        str(os.getpid()),
        str(reading),
        sys.executable,
        "-c",
        "raise SystemExit(7)",
    ]
    done = subprocess.run(command, pass_fds=(reading,), start_new_session=True, timeout=10)
    os.close(reading)
    os.close(writing)
    assert done.returncode == 7


def test_the_kernels_watcher_does_not_start_a_program_for_a_parent_that_is_gone():
    command = [sys.executable, "-I", "-S", str(LAUNCH), "1", "-1", sys.executable, "-c", "print('started')"]
    done = subprocess.run(command, capture_output=True, timeout=10)
    assert (done.returncode, done.stdout) == (1, b"")
