"""``allocfail ship``."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING

import click

from allocfail.commands.cluster import connection_options, format_option, open_engine

if TYPE_CHECKING:
    from allocfail.cluster.engine import Connection

__all__ = ["command"]


@click.command("ship")
@click.argument("files", nargs=-1, required=True, metavar="FILE…")
@connection_options
@click.option("--index-name", metavar="NAME", help="Index that takes the events [default: allocfail-events].")
@click.option("--data-stream", metavar="NAME", help="Data stream that takes them instead.")
@click.option("--kernel", metavar="REL", help="Kernel release, where the log does not say.")
@click.option("--year", type=click.IntRange(1990, 9999), help="Year of times that have none.")
@click.option("--timezone", default="UTC", show_default=True, help="Zone of times that have none.")
@click.option("--kb-url", metavar="URL", help="Where the articles are served [env: ALLOCFAIL_KB_URL].")
@format_option
def command(
    *,
    where: Connection,
    files: tuple[str, ...],
    index_name: str | None,
    data_stream: str | None,
    kernel: str | None,
    year: int | None,
    timezone: str,
    kb_url: str | None,
    output: str | None,
) -> int:
    """Decode logs and index the events.

    Shipping a log again adds what is missing and duplicates nothing. Requests that a busy cluster refuses are sent
    again for about two minutes. Exit status 1: a document was rejected, or the cluster could not be reached.

    \b
    Examples:
      allocfail ship /var/log/kern.log --url http://127.0.0.1:9200
      journalctl -k -o json | allocfail ship - --url https://es:9200 --api-key @key.txt
    """  # noqa: D301 - the escape is click's mark for a paragraph that keeps its lines
    from allocfail.articles import articles as kb
    from allocfail.cluster import templates
    from allocfail.cluster.ship import Shipper
    from allocfail.errors import InputError
    from allocfail.logs.events import Options, decode
    from allocfail.logs.inputs import open_input

    if index_name is not None and data_stream is not None:
        raise InputError("give --index-name or --data-stream, not both")
    base = kb.base_url(kb_url)
    inputs = [(name, open_input(name)) for name in files]  # all of them, before anything is sent
    with open_engine(where) as engine:
        shipper = Shipper(engine, data_stream or index_name or templates.build().events_index)
        try:
            for name, chunks in inputs:
                options = Options(
                    kernel=kernel, year=year, timezone=timezone, file=None if name == "-" else name, kb_url=base
                )
                rejected = len(shipper.done.rejected)
                shipper.send(((event.offset, event.document) for event in decode(chunks, options)), name)
                for line in shipper.done.rejected[rejected:]:
                    click.echo(f"allocfail: {line}", err=True)
        finally:
            done = shipper.done
            counts = {"indexed": done.indexed, "already_there": done.already, "rejected": len(done.rejected)}
            if output == "text" or (output is None and sys.stdout.isatty()):
                click.echo(", ".join(f"{number} {word.replace('_', ' ')}" for word, number in counts.items()))
            else:
                click.echo(json.dumps(counts))
    return int(bool(done.rejected))
