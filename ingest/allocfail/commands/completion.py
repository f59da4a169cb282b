"""``allocfail completion``: what a shell needs to complete the command line."""

from __future__ import annotations

import click
from click import shell_completion

__all__ = ["command"]


@click.command()
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
def command(shell: str) -> None:
    """Print the script with which SHELL completes commands and options.

    \b
    Examples:
      allocfail completion bash > /etc/bash_completion.d/allocfail
      allocfail completion zsh > "${fpath[1]}/_allocfail"
      allocfail completion fish > ~/.config/fish/completions/allocfail.fish
    """  # noqa: D301 - the escape is click's mark for a paragraph that keeps its lines
    from allocfail.commands.cli import cli

    made = shell_completion.get_completion_class(shell)
    if made is None:
        raise click.ClickException(f"no completion for {shell}")
    # The script is click's; its check of the shell's version belongs to where it is used.
    text = made.source_template % made(cli, {}, "allocfail", "_ALLOCFAIL_COMPLETE").source_vars()
    click.echo(text)
