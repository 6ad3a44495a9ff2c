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
from ktx.cli.render.narrate import show_error
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
        # The reader (`| head`) has all it wanted. Python would complain again when it closes stdout.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return OK
    except (KeyboardInterrupt, click.Abort):
        show_error("interrupted")
        return INTERRUPTED
    except click.ClickException as error:
        return _usage(error)
    except KtxError as error:
        if is_debug:
            traceback.print_exc()
        show_error(error.message, hint=error.hint, findings=error.findings)
        return error.exit_code
    except Exception as error:  # noqa: BLE001 - the outermost frame: whatever comes here is a bug of ours
        return _bug(error, arguments, is_debug=is_debug)
    return result if isinstance(result, int) else OK


def _usage(error: click.ClickException) -> int:
    context = error.ctx if isinstance(error, click.UsageError) else None
    hint = f"`{context.command_path} --help` lists what it takes." if context else None
    show_error(error.format_message(), hint=hint)
    return USAGE


def _bug(error: Exception, arguments: Sequence[str], *, is_debug: bool) -> int:
    if is_debug:
        traceback.print_exc()
        hint = "Please report it with the traceback above."
    else:
        hint = f"`ktx --debug {' '.join(arguments[:2])} …` shows the traceback; please report it."
    first_line = next(iter(str(error).splitlines()), "")
    show_error(f"this is a bug in ktx: {type(error).__name__}: {first_line}".rstrip(": "), hint=hint)
    return BUG
