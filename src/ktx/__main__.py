"""The program `ktx`: answers the two cheapest questions itself and leaves the rest to the command line."""

import os
import sys

from ktx.cli.overview import OVERVIEW
from ktx.version import __version__


def main() -> None:
    """Run `ktx` with the arguments of this process and exit."""
    _open_closed_streams()
    arguments = sys.argv[1:]
    if arguments in (["--version"], ["-V"]):
        sys.stdout.write(f"ktx {__version__}\n")
        return
    if arguments in ([], ["--help"], ["-h"]):
        sys.stdout.write(OVERVIEW)
        return
    try:
        # Not at the top: the two answers above must not pay for the command line.
        from ktx.cli.run import run

        code = run(arguments)
    except KeyboardInterrupt:  # while modules are still being loaded, or an error is being told
        sys.stderr.write("error: interrupted\n")
        code = 130
    sys.exit(code)


def _open_closed_streams() -> None:
    """Send a stream that the caller closed (`>&-`) to the null device, before a file of ours gets its number."""
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        try:
            os.fstat(number)
        except OSError:
            taken = os.open(os.devnull, os.O_RDWR)  # the lowest free number, which is this one
            setattr(sys, name, os.fdopen(taken, "w" if number else "r", encoding="utf-8", closefd=False))


if __name__ == "__main__":
    main()
