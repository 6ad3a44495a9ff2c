"""What the commands that ask have in common.

Groups that can be asked directly (`ktx wiki refunds` beside `ktx wiki read refunds`), `--output`, and errors as data.
"""

from collections.abc import Callable, Generator
from contextlib import contextmanager

import click

from ktx.cli.render.data import write_json
from ktx.errors import KtxError


class AskGroup(click.Group):
    """A group that hands anything which is not one of its commands to the command called `find`."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Put `find` before arguments that name no command of the group."""
        is_help = bool(args) and args[0] in ("-h", "--help")
        if not is_help and (not args or self.get_command(ctx, args[0]) is None):
            args = ["find", *args]
        return super().parse_args(ctx, args)

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Name the commands, the direct question left out: the usage line shows it."""
        return [name for name in super().list_commands(ctx) if name != "find"]

    def format_usage(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Show both forms."""
        formatter.write_usage(ctx.command_path, "[WORDS]... [OPTIONS]")
        formatter.write_usage(ctx.command_path, "COMMAND [ARGS]...")

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List the options of the direct question, then the commands."""
        find = self.get_command(ctx, "find")
        options = (
            [] if find is None else [one for one in find.get_params(ctx) if isinstance(one, click.Option)]
        )
        records = [one.get_help_record(ctx) for one in options]
        with formatter.section("Options"):
            formatter.write_dl([record for record in records if record is not None])
        self.format_commands(ctx, formatter)


def output_option(command: Callable[..., object]) -> Callable[..., object]:
    """Add `--output` and `--json`, handed over together as `output`."""

    def chosen(ctx: click.Context, parameter: click.Parameter, value: str | None) -> str:
        del parameter
        return "json" if ctx.params.pop("as_json", False) else value or "auto"

    option = click.option(
        "--output", type=click.Choice(["pretty", "plain", "json"]), callback=chosen, expose_value=True,
        help="How to print; `pretty` on a terminal and `plain` elsewhere when not given.",
    )  # fmt: skip
    flag = click.option("--json", "as_json", is_flag=True, is_eager=True, help="Short for --output json.")
    return flag(option(command))


@contextmanager
def errors_as_json(*, is_wanted: bool) -> Generator[None]:
    """Print an error as a JSON object on stdout too, so that a program which asked for JSON gets JSON."""
    try:
        yield
    except KtxError as error:
        if is_wanted:
            findings = [
                {"code": one.code, "message": one.message, "where": str(one.where) or None, "fix": one.fix}
                for one in error.findings
            ]
            write_json({"error": {"message": error.message, "hint": error.hint, "findings": findings}})
        raise
