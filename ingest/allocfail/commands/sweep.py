"""``allocfail sweep``."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Any

import click

from allocfail.commands.cluster import connection_options, format_option, named, open_engine
from allocfail.terminal import one_line, printable

if TYPE_CHECKING:
    from collections.abc import Iterator

    from allocfail.cluster.assembled import Assembled
    from allocfail.cluster.connection import Connection
    from allocfail.cluster.sweep import Counts

__all__ = ["command"]


@click.command("sweep")
@click.argument("indices", callback=named, nargs=-1, required=True, metavar="INDEX…")
@connection_options
@click.option(
    "--index-name", callback=named, metavar="NAME", help="Index that takes the events [default: allocfail-events]."
)
@click.option("--data-stream", callback=named, metavar="NAME", help="Data stream that takes them instead.")
@click.option("--since", metavar="WHEN", help="Begin there: 90m, 24h, 7d, 2026-03-04 or a whole time (UTC).")
@click.option("--follow", is_flag=True, help="Go on with what is indexed from now on, until stopped.")
@click.option("--every", type=click.FloatRange(0.1), default=30.0, show_default=True, help="Seconds from look to look.")
@click.option(
    "--settle",
    type=click.FloatRange(0.0),
    default=60.0,
    show_default=True,
    help="Seconds that lines may take to be indexed, with --follow.",
)
@click.option("--before", type=click.FloatRange(0.0), default=5.0, show_default=True, help="Seconds looked at before.")
@click.option("--after", type=click.FloatRange(1.0), default=60.0, show_default=True, help="Seconds looked at behind.")
@click.option(
    "--time-field", metavar="FIELD", help="The date to look around by [default: @timestamp, or what is there]."
)
@click.option("--slices", type=click.IntRange(1, 32), default=2, show_default=True, help="Parts that are read at once.")
@click.option("--rate", type=click.FloatRange(1.0), help="Documents read a second, at most.")
@click.option("--no-mark", is_flag=True, help="Leave the documents in which events begin as they are.")
@click.option("--dry-run", is_flag=True, help="Write nothing; print the events that would be written.")
@click.option("--state", metavar="FILE", type=click.Path(dir_okay=False), help="Where it is kept how far it has come.")
@click.option("--kernel", metavar="REL", help="Kernel release, where the lines do not say.")
@click.option("--year", type=click.IntRange(1990, 9999), help="Year of times that have none.")
@click.option("--timezone", default="UTC", show_default=True, help="Zone of times that have none.")
@click.option("--kb-url", metavar="URL", help="Where the articles are served [env: ALLOCFAIL_KB_URL].")
@format_option
def command(
    *,
    where: Connection,
    indices: tuple[str, ...],
    index_name: str | None,
    data_stream: str | None,
    since: str | None,
    follow: bool,
    every: float,
    settle: float,
    before: float,
    after: float,
    time_field: str | None,
    slices: int,
    rate: float | None,
    no_mark: bool,
    dry_run: bool,
    state: str | None,
    kernel: str | None,
    year: int | None,
    timezone: str,
    kb_url: str | None,
    output: str | None,
) -> int:
    """Assemble events from what was indexed line by line.

    Each event goes to the index of events, with the ids of the documents that it is made of; the document in which it
    begins gets a mark. Sweeping again changes nothing; lines that came late complete their event. What was indexed
    whole is for `allocfail backfill`. Exit status 1: a document was rejected, or the cluster could not be reached.

    \b
    Examples:
      allocfail sweep 'filebeat-*' --since 7d --dry-run --url http://127.0.0.1:9200
      allocfail sweep logs-system.syslog-default --follow --url https://es:9200 --api-key @key.txt
    """  # noqa: D301 - the escape is click's mark for a paragraph that keeps its lines
    from contextlib import ExitStack
    from pathlib import Path

    from allocfail.cluster import templates
    from allocfail.cluster.checkpoint import Checkpoint, default_path
    from allocfail.cluster.course import Course
    from allocfail.cluster.retry import Patience
    from allocfail.cluster.search import Pace
    from allocfail.cluster.ship import Shipper
    from allocfail.cluster.sweep import Sweep, Window
    from allocfail.commands.decode import make_options
    from allocfail.commands.stopping import Stop
    from allocfail.errors import InputError

    if index_name is not None and data_stream is not None:
        raise InputError("give --index-name or --data-stream, not both")
    if dry_run and follow:
        raise InputError("--dry-run looks once: leave --follow out")
    options = make_options(kernel=kernel, year=year, timezone=timezone, kb_url=kb_url)
    text = output == "text" or (output is None and sys.stdout.isatty())
    told = _Progress()
    built = templates.build()
    target = data_stream or index_name or built.events_index
    kept = Checkpoint(Path(state) if state else default_path("sweep", where.url, target, *sorted(indices)))
    with ExitStack() as stack:
        stop = stack.enter_context(Stop())
        patience = Patience(retries=None if follow else 8, sleep=stop.sleep, say=told.say, stopped=lambda: stop.asked)
        engine = stack.enter_context(open_engine(where, patience, stop))
        shipper = None if dry_run else Shipper(engine, target, patience=patience, say=told.say)
        sweep = Sweep(
            engine,
            indices,
            shipper,
            options=options,
            window=Window(before, after),
            slices=slices,
            mark=not no_mark,
            time_field=time_field,
            skip=(target, built.kb_index),
            pace=Pace(rate, stop.sleep),
            patience=patience,
            say=told.say,
            found=(lambda event: _print(event, text=text)) if dry_run else (lambda _: None),
            progress=told.progress,
        )
        course = Course(sweep, None if dry_run else kept, since=since, settle=settle)
        try:
            if follow:
                course.follow(every, stop)
            else:
                course.once()
        finally:
            told.end()
            counts = dict(_counts(sweep.counts, shipper))
            line = ", ".join(f"{number} {word.replace('_', ' ')}" for word, number in counts.items())
            click.echo(line if text else json.dumps(counts), err=dry_run)
    if sweep.counts.whole:
        click.echo(
            f"allocfail: {sweep.counts.whole} documents hold a whole event: `allocfail backfill` is for those", err=True
        )
    return int(shipper is not None and shipper.done.rejected > 0)


def _counts(counts: Counts, shipper: Any) -> Iterator[tuple[str, int]]:
    yield "read", counts.read
    yield "first_lines", counts.first_lines
    yield "events", counts.events
    yield "complete", counts.complete
    if shipper is not None:
        yield "indexed", shipper.done.indexed
        yield "completed", shipper.done.completed
        yield "already_there", shipper.done.already
        yield "rejected", shipper.done.rejected
        yield "marked", counts.marked


def _print(event: Assembled, *, text: bool) -> None:
    own = event.document["allocfail"]
    if text:
        whole = "complete" if event.complete else own.get("incomplete_reason", "incomplete")
        title = printable(own["fingerprint"]["title"])
        click.echo(f"{event.document.get('@timestamp', '-')}  {len(event.places):>4} lines, {whole}: {title}")
        return
    from allocfail.commands.decode import dumps

    click.echo(dumps(event.document))


class _Progress:
    """How far it is, on a terminal; what went wrong, everywhere."""

    def __init__(self) -> None:
        self._shown = False
        self._terminal = sys.stderr.isatty()

    def say(self, text: str) -> None:
        self.end()
        click.echo(f"allocfail: {one_line(text)}", err=True)

    def progress(self, counts: Counts, moment: str) -> None:
        if self._terminal:
            self._shown = True
            click.echo(
                f"\r\033[K{counts.first_lines} first lines, {counts.events} events  {moment}", err=True, nl=False
            )

    def end(self) -> None:
        if self._shown:
            self._shown = False
            click.echo("\r\033[K", err=True, nl=False)
