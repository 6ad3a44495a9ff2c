"""`ktx completion`: a script that teaches a shell ktx's commands and options."""

import click
from click.shell_completion import get_completion_class

from ktx.cli.render.data import write_text


@click.command()
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
@click.pass_context
def completion(ctx: click.Context, *, shell: str) -> None:
    """Print a completion script for SHELL.

    \b
    For bash: ktx completion bash > ~/.local/share/bash-completion/completions/ktx
    For zsh:  ktx completion zsh > ~/.zfunc/_ktx   (a folder of $fpath)
    For fish: ktx completion fish > ~/.config/fish/completions/ktx.fish
    """
    completer = get_completion_class(shell)
    if completer is None:
        raise click.UsageError(f"There is no completion for `{shell}`.", ctx=ctx)
    root = ctx.find_root()
    write_text(completer(root.command, {}, "ktx", "_KTX_COMPLETE").source())
