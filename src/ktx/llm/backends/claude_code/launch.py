"""Start a program that cannot outlive the process that asked for it. Runs alone: `python -I -S launch.py PARENT LIFELINE PROGRAM …`.

On Linux the kernel kills the program when its parent dies. Elsewhere this script stays as a watcher: `LIFELINE` is the reading
end of a pipe whose other end only the parent holds, so the end of the parent is the end of the pipe, and of the process group.
"""

import ctypes
import os
import signal
import sys
import threading

_PR_SET_PDEATHSIG = 1


def main() -> None:
    """Become the program, or watch over it."""
    parent, lifeline, program = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3:]
    if lifeline < 0:
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
        if os.getppid() != parent:  # it died before the line above could count
            os._exit(1)
        os.execv(program[0], program)  # noqa: S606 - the program and its arguments come from ktx alone
    child = os.fork()
    if child == 0:
        os.close(lifeline)
        os.execv(program[0], program)  # noqa: S606 - as above
    for stream in (0, 1, 2):
        os.close(stream)
    threading.Thread(target=_leave_with, args=(child,), daemon=True).start()
    while os.read(lifeline, 1):
        pass
    os.killpg(0, signal.SIGKILL)


def _leave_with(child: int) -> None:
    _, status = os.waitpid(child, 0)
    os._exit(os.waitstatus_to_exitcode(status) & 0xFF)


if __name__ == "__main__":
    main()
