"""From arguments to an exit code: the one place where an exception becomes a message.

0 done · 1 the answer is no · 2 usage or configuration · 3 outside, worth a retry · 70 a bug · 130 interrupted.
"""

import io
import logging
import os
import sys
import traceback
from collections.abc import Sequence

import click

from ktx.cli.main import cli
from ktx.cli.render.narrate import say, show_error
from ktx.errors import KtxError

OK, NO, USAGE, OUTSIDE, BUG, INTERRUPTED = 0, 1, 2, 3, 70, 130


def run(arguments: Sequence[str]) -> int:
    """Run one command line and give its exit code; a command may return one, or None for 0."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(
            stream, io.TextIOWrapper
        ):  # a terminal that lacks a letter shows `?` rather than stopping us
            stream.reconfigure(errors="replace")
    is_debug = "--debug" in arguments
    if is_debug:
        logging.basicConfig(level=logging.DEBUG, stream=sys.stderr)
    try:
        result: object = cli.main(args=list(arguments), prog_name="ktx", standalone_mode=False)
        sys.stdout.flush()
    except BrokenPipeError:
        _drop_stdout()  # the reader (`| head`) has all it wanted
        return OK
    except (KeyboardInterrupt, click.Abort):
        show_error("interrupted")
        return INTERRUPTED
    except click.exceptions.NoArgsIsHelpError as error:
        say(error.format_message())
        return USAGE
    except click.ClickException as error:
        return _usage(error)
    except KtxError as error:
        if is_debug:
            traceback.print_exc()
        show_error(error.message, hint=error.hint, findings=error.findings)
        return error.exit_code
    except OSError as error:
        if error.strerror is None:
            return _bug(error, arguments, is_debug=is_debug)
        return _refused(error, arguments, is_debug=is_debug)
    except Exception as error:  # noqa: BLE001 - the outermost frame: whatever comes here is a bug of ours
        return _bug(error, arguments, is_debug=is_debug)
    return result if isinstance(result, int) else OK


def _usage(error: click.ClickException) -> int:
    context = error.ctx if isinstance(error, click.UsageError) else None
    hint = f"`{context.command_path} --help` lists what it takes." if context else None
    show_error(" ".join(error.format_message().split()), hint=hint)
    return USAGE


def _refused(error: OSError, arguments: Sequence[str], *, is_debug: bool) -> int:
    """Tell what the operating system refused: a full disk, a file that may not be read or written."""
    if is_debug:
        traceback.print_exc()
    where = f"`{error.filename}`: " if isinstance(error.filename, str) else ""
    show_error(
        f"{where}{error.strerror}.",
        hint=f"Check permissions and free space; `ktx --debug {' '.join(arguments[:2])} …` shows where.",
    )
    try:
        sys.stdout.flush()
    except OSError:
        _drop_stdout()
    return OUTSIDE


def _drop_stdout() -> None:
    """Let stdout end in the null device: Python would complain again when it closes it."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _bug(error: Exception, arguments: Sequence[str], *, is_debug: bool) -> int:
    if is_debug:
        traceback.print_exc()
        hint = "Please report it with the traceback above."
    else:
        hint = f"`ktx --debug {' '.join(arguments[:2])} …` shows the traceback; please report it."
    first_line = next(iter(str(error).splitlines()), "")
    show_error(f"this is a bug in ktx: {type(error).__name__}: {first_line}".rstrip(": "), hint=hint)
    return BUG
