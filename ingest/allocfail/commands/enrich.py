"""``allocfail enrich``: a filter for JSON documents, one a line."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, Any

import click

from allocfail.commands.decode import common_options, make_options
from allocfail.terminal import one_line, say_if_waiting

if TYPE_CHECKING:
    from collections.abc import Callable

    from allocfail.logs.filter import Filter, Modifier


@click.command()
@click.argument("file", default="-")
@click.option("--field", "fields", multiple=True, metavar="NAME", help="Source field; the first that holds an event.")
@click.option(
    "--protocol",
    type=click.Choice(["filter", "confirm", "mmexternal"]),
    default="filter",
    help="Who reads the answers: anyone (filter); rsyslog's omprog with confirmMessages, which gets OK for every line "
    "(confirm, with --output); rsyslog's mmexternal, which gets what to set below $! for every message.",
)
@click.option("--output", metavar="PATH", help="Append the documents there instead of to standard output.")
@common_options
def command(file: str, fields: tuple[str, ...], protocol: str, output: str | None, **told: Any) -> None:
    """Enrich JSON documents, one a line, that hold an event.

    The same documents come out in the same order, a line without an event byte for byte, and at once: nothing is held
    back while the next line is waited for. Exit status 1: a line that would hold an event is no JSON document (it comes
    out as it is, with a message on standard error).

    \b
    Examples:
      allocfail enrich < documents.ndjson > enriched.ndjson
      program("allocfail enrich --output /var/log/enriched.ndjson")     # syslog-ng
      action(type="omprog" binary="allocfail enrich" output="enriched.ndjson" template="json")
      action(type="omprog" confirmMessages="on" template="json"
             binary="allocfail enrich --protocol confirm --output /var/log/enriched.ndjson")
      action(type="mmexternal" binary="allocfail enrich --protocol mmexternal")
    """  # noqa: D301 - the escape is click's mark for a paragraph that keeps its lines
    from dataclasses import replace

    from allocfail.logs import filter as filter_
    from allocfail.logs.inputs import open_file

    if protocol == "confirm" and output is None:
        raise click.UsageError("--protocol confirm needs --output: standard output is for the confirmations")
    if protocol == "mmexternal" and output is not None:
        raise click.UsageError("--protocol mmexternal answers on standard output")
    bad = 0

    def complain(why: str) -> None:
        nonlocal bad
        bad += 1
        click.echo(f"allocfail: {one_line(why)}", err=True)

    make = filter_.Modifier if protocol == "mmexternal" else filter_.Filter
    answers = make(replace(make_options(file=None, **told), fields=tuple(fields)), complain)
    say_if_waiting(file == "-" and os.isatty(0))
    name, opened = open_file(file)
    target = 1 if output is None else os.open(output, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o640)

    def first(block: bytes) -> None:
        said = _binary(block, name, file)
        if said is not None:
            click.echo(f"allocfail: {one_line(said)}", err=True)

    _pass_on(answers, opened.fileno(), target, confirm=protocol == "confirm", first=first)
    if bad:
        sys.exit(1)


def _binary(block: bytes, name: str, file: str) -> str | None:
    """Say what the beginning of an input is that no line of JSON begins with; None for text.

    ``name`` is what messages call the input, ``file`` how it was given.
    """
    import shlex

    from allocfail.logs.inputs import packing
    from allocfail.logs.streams import HEAD

    packed = packing(block[:HEAD])
    if packed is not None:
        advice = packed.advice("FILE" if file == "-" else shlex.quote(file), "allocfail enrich")
        return f"{name}: {packed.said}, and passes as it is; {advice}"
    return f"{name}: is no text, and passes as it is" if b"\0" in block else None


def _pass_on(
    answers: Filter | Modifier, source: int, target: int, *, confirm: bool, first: Callable[[bytes], None]
) -> None:
    """Answer what there is, and only then read more; ``confirm`` every line on standard output.

    ``first`` is shown what comes first.
    """
    from allocfail.logs import filter as filter_

    if confirm:
        _write(1, b"OK\n")  # ready
    begun = False
    for block in filter_.lines_of(source):
        if not begun:
            begun = True
            first(block)
        _write(target, answers.answer(block))
        if confirm:
            _write(1, b"OK\n" * block.count(b"\n"))


def _write(fd: int, data: bytes) -> None:
    rest = memoryview(data)
    while rest:
        rest = rest[os.write(fd, rest) :]
