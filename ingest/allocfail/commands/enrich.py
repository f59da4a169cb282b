"""``allocfail enrich``: a filter for JSON documents, one a line."""

from __future__ import annotations

import sys
from typing import Any

import click

from allocfail.commands.decode import common_options, make_options


@click.command()
@click.argument("file", default="-")
@click.option("--field", "fields", multiple=True, metavar="NAME", help="Source field; the first that holds an event.")
@common_options
def command(file: str, fields: tuple[str, ...], **told: Any) -> None:
    """Enrich JSON documents, one a line, that hold an event.

    The same documents come out in the same order, a line without an event byte for byte. Exit status 1: a line that
    would hold an event is no JSON document (it comes out as it is, with a message on standard error).

    \b
    Example:
      allocfail enrich < documents.ndjson > enriched.ndjson
    """  # noqa: D301 - the escape is click's mark for a paragraph that keeps its lines
    from dataclasses import replace

    from allocfail.logs import filter as filter_

    options = replace(make_options(file=None, **told), fields=tuple(fields))
    out = sys.stdout.buffer
    bad = 0
    number = 0

    def complain(why: str) -> None:
        nonlocal bad
        bad += 1
        click.echo(f"allocfail: line {number}: {why}", err=True)

    with click.open_file(file, "rb") as stream:
        for line in stream:
            number += 1
            out.write(filter_.enrich_line(line, options, complain))
            if number & 1023 == 0:
                out.flush()
    out.flush()
    if bad:
        sys.exit(1)
