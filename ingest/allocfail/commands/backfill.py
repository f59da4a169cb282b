"""``allocfail backfill``."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING

import click

from allocfail.commands.cluster import connection_options, format_option, named, open_engine
from allocfail.terminal import one_line

if TYPE_CHECKING:
    from allocfail.cluster.connection import Connection

__all__ = ["command"]


@click.command("backfill")
@click.argument("indices", callback=named, nargs=-1, required=True, metavar="INDEX…")
@connection_options
@click.option("--since", metavar="WHEN", help="Only from there on: 90m, 24h, 7d, 2026-03-04 or a whole time (UTC).")
@click.option("--until", metavar="WHEN", help="Only up to there.")
@click.option("--time-field", metavar="FIELD", help="The date that these mean [default: @timestamp, or what is there].")
@click.option("--slices", default="auto", show_default=True, metavar="N|auto", help="Parts that are worked on at once.")
@click.option("--rate", type=click.FloatRange(0.1), help="Documents a second, at most.")
@click.option("--pipeline", default="allocfail", show_default=True, help="The pipeline that they go through.")
@click.option("--dry-run", is_flag=True, help="Only count what would go through.")
@format_option
def command(
    *,
    where: Connection,
    indices: tuple[str, ...],
    since: str | None,
    until: str | None,
    time_field: str | None,
    slices: str,
    rate: float | None,
    pipeline: str,
    dry_run: bool,
    output: str | None,
) -> int:
    """Send what was indexed whole through the pipeline, inside the cluster.

    Only documents that may hold an event and have not been decoded go through; each stays where it is and gains the
    event's fields. Doing it again takes what is left. Exit status 1: a document could not be written, or was changed
    by somebody else meanwhile.

    \b
    Examples:
      allocfail backfill app-logs --dry-run --url http://127.0.0.1:9200
      allocfail backfill 'logs-*' --since 30d --rate 500 --url https://es:9200 --api-key @key.txt
    """  # noqa: D301 - the escape is click's mark for a paragraph that keeps its lines
    from datetime import UTC, datetime

    from allocfail.cluster import templates
    from allocfail.cluster.backfill import Backfill
    from allocfail.cluster.course import since as moment_of
    from allocfail.cluster.retry import Patience
    from allocfail.commands.stopping import Stop
    from allocfail.errors import InputError

    if slices != "auto" and not (slices.isascii() and slices.isdigit() and 0 < int(slices) <= 1024):
        raise InputError(f"--slices {slices}: write a number from 1 to 1024, or auto")
    now = datetime.now(UTC)
    begin = moment_of(since, now) if since is not None else None
    end = moment_of(until, now, option="--until") if until is not None else None
    text = output == "text" or (output is None and sys.stdout.isatty())
    built = templates.build()

    def say(message: str) -> None:
        click.echo(f"allocfail: {one_line(message)}", err=True)

    with open_engine(where) as engine, Stop() as stop:
        backfill = Backfill(
            engine,
            indices,
            pipeline=pipeline,
            time_field=time_field,
            skip=(built.events_index, built.kb_index),
            patience=Patience(sleep=stop.sleep, say=say),
            say=say,
        )
        if dry_run:
            count = backfill.count(begin, end)
            click.echo(f"{count} documents would go through" if text else json.dumps({"would_go_through": count}))
            return 0
        terminal = sys.stderr.isatty()
        filled = backfill.run(
            begin,
            end,
            slices=slices,
            rate=rate,
            asked=lambda: stop.asked,
            sleep=stop.sleep,
            progress=lambda at: (
                click.echo(f"\r\033[K{at.updated} of {at.total}", err=True, nl=False) if terminal else None
            ),
        )
        if terminal:
            click.echo("\r\033[K", err=True, nl=False)
    for reason in filled.reasons:
        say(f"not written: {reason}")
    if filled.conflicts:
        say(f"{filled.conflicts} documents were changed by somebody else meanwhile: run it again for those")
    counts = {
        "found": filled.total,
        "sent_through": filled.updated,
        "conflicts": filled.conflicts,
        "failed": filled.failed,
    }
    click.echo(", ".join(f"{n} {word.replace('_', ' ')}" for word, n in counts.items()) if text else json.dumps(counts))
    return int(bool(filled.failed or filled.conflicts))
