"""The root of the command line: commands are looked up in a table and imported when called."""

import importlib
from pathlib import Path

import click

from ktx.cli.overview import OVERVIEW
from ktx.cli.table import COMMANDS
from ktx.suggest import did_you_mean
from ktx.version import __version__


class LazyGroup(click.Group):
    """A group whose commands are imported at the moment of use."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Give the names of the table, in its order."""
        del ctx
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import the command called `cmd_name`, if the table has it."""
        del ctx
        if cmd_name not in COMMANDS:
            return None
        module, attribute, _ = COMMANDS[cmd_name]
        command: object = getattr(importlib.import_module(module), attribute)
        if not isinstance(command, click.Command):
            raise TypeError(f"`{module}.{attribute}` is not a click command.")
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find the command that the arguments name, or say which one was probably meant."""
        name = args[0]
        if name not in COMMANDS and not name.startswith("-") and not ctx.resilient_parsing:
            message = f"There is no command `{name}`.{did_you_mean(name, COMMANDS)}"
            raise click.UsageError(message, ctx=ctx)
        return super().resolve_command(ctx, args)

    def get_help(self, ctx: click.Context) -> str:
        """Give the overview."""
        del ctx
        return OVERVIEW.rstrip("\n")


@click.command(
    cls=LazyGroup,
    name="ktx",
    no_args_is_help=False,
    invoke_without_command=True,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110},
)
@click.option("--project-dir", type=click.Path(path_type=Path), help="The project folder.")
@click.option("--debug", is_flag=True, help="Show tracebacks and developer logs.")
@click.version_option(__version__, "-V", "--version", message="%(prog)s %(version)s")
@click.pass_context
def cli(ctx: click.Context, *, project_dir: Path | None, debug: bool) -> None:
    """Keep the context layer of a warehouse, and answer questions with it."""
    del project_dir, debug  # read by `options` and `run`
    if ctx.invoked_subcommand is None:
        click.echo(OVERVIEW, nl=False)
