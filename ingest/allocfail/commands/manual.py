"""``allocfail manual``: the manual page, made from the help of every command."""

from __future__ import annotations

import inspect
import re
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["command"]


@click.command()
def command() -> None:
    """Print the manual page, in the form that man reads.

    \b
    Example:
      allocfail manual > /usr/local/share/man/man1/allocfail.1
    """  # noqa: D301 - the escape is click's mark for a paragraph that keeps its lines
    from allocfail.commands.cli import cli

    click.echo("\n".join(_page(cli)))


def _page(group: click.Group) -> Iterator[str]:
    from allocfail.release import own_version

    first, *rest = _paragraphs(group)
    yield f'.TH ALLOCFAIL 1 "" "allocfail {own_version()}" "User Commands"'
    yield ".SH NAME"
    yield f"allocfail \\- {_escaped(' '.join(first))}"
    yield ".SH SYNOPSIS"
    yield ".B allocfail"
    yield "COMMAND [OPTIONS] [ARGUMENTS]"
    yield ".SH DESCRIPTION"
    for paragraph in rest:
        yield from _paragraph(paragraph)
    yield ".SH COMMANDS"
    yield from _commands(group, "allocfail")
    yield ".SH EXIT STATUS"
    for status, text in (
        ("0", "Done."),
        ("1", "Not found, or did not hold."),
        ("2", "Bad usage, or input that cannot be read."),
        ("130", "Interrupted."),
    ):
        yield from (".TP", f".B {status}", text)


def _commands(group: click.Group, path: str) -> Iterator[str]:
    context = click.Context(group, info_name=path)
    for name in group.list_commands(context):
        found = group.get_command(context, name)
        if found is None or found.hidden:
            continue
        if isinstance(found, click.Group):
            yield from _commands(found, f"{path} {name}")
            continue
        inner = click.Context(found, info_name=name)
        yield f".SS {_escaped(f'{path} {name}'.removeprefix('allocfail '))}"
        yield f".B {_escaped(f'{path} {name}')}"
        yield _escaped(" ".join(found.collect_usage_pieces(inner)))
        for paragraph in _paragraphs(found):
            yield from _paragraph(paragraph)
        for parameter in found.get_params(inner):
            record = parameter.get_help_record(inner)
            if record is not None and record[1]:
                yield from (".TP", f".B {_escaped(record[0])}", _escaped(record[1]))


def _paragraphs(command: click.Command) -> list[list[str]]:
    """Return a help text's paragraphs, each as its lines; the first line of one that keeps them is click's mark."""
    text = inspect.cleandoc(command.help or "").partition("\f")[0]
    return [part.split("\n") for part in re.split(r"\n{2,}", text) if part]


def _paragraph(lines: list[str]) -> Iterator[str]:
    yield ".PP"
    if lines[0] != "\b":
        yield _escaped(" ".join(lines))
        return
    yield from (".nf", *map(_escaped, lines[1:]), ".fi")


def _escaped(text: str) -> str:
    """Return a text for roff: a backslash is a letter, a hyphen one that can be copied, and no line is a request."""
    made = text.replace("\\", "\\e").replace("-", "\\-")
    return f"\\&{made}" if made.startswith((".", "'")) else made
