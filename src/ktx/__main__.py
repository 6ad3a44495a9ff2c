"""The program `ktx`: answers the two cheapest questions itself and leaves the rest to the command line."""

import sys

from ktx.cli.overview import OVERVIEW
from ktx.version import __version__


def main() -> None:
    """Run `ktx` with the arguments of this process and exit."""
    arguments = sys.argv[1:]
    if arguments in (["--version"], ["-V"]):
        sys.stdout.write(f"ktx {__version__}\n")
        return
    if arguments in ([], ["--help"], ["-h"]):
        sys.stdout.write(OVERVIEW)
        return
    # Not at the top: the two answers above must not pay for the command line.
    from ktx.cli.run import run

    sys.exit(run(arguments))


if __name__ == "__main__":
    main()
