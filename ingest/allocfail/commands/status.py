"""``allocfail status``."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from allocfail.commands.cluster import (
    connection_options,
    content_for,
    format_option,
    kb_url_option,
    open_engine,
    print_changes,
)

if TYPE_CHECKING:
    from allocfail.cluster.connection import Connection

__all__ = ["command"]


@click.command("status")
@connection_options
@kb_url_option
@click.option("--diff", "diffs", is_flag=True, help="Show how what is there differs.")
@format_option
def command(*, where: Connection, kb_url: str | None, diffs: bool, output: str | None) -> int:
    """Say what is installed in a cluster, whether it is current, and whether it works.

    A made-up header is sent through the pipeline without indexing it, and what is wired is checked again: would its
    mapping take an event? Exit status 1: something is missing, outdated, changed, would refuse events, or did not
    decode.

    \b
    Example:
      allocfail status --url http://127.0.0.1:9200
    """  # noqa: D301 - the escape is click's mark for a paragraph that keeps its lines
    from allocfail.cluster.status import GOOD, status

    with open_engine(where) as engine:
        click.echo(f"{where.url}: {engine.product} {engine.version}", err=True)
        found = print_changes(status(engine, content_for(engine, kb_url)), output, diffs=diffs)
    return int(any(change.action not in GOOD for change in found))
