"""``allocfail uninstall``."""

from __future__ import annotations

from itertools import chain
from typing import TYPE_CHECKING

import click

from allocfail.commands.cluster import connection_options, format_option, named, open_engine, print_changes

if TYPE_CHECKING:
    from collections.abc import Iterable

    from allocfail.cluster.connection import Connection
    from allocfail.cluster.steps import Change

__all__ = ["command"]


@click.command("uninstall")
@connection_options
@click.option(
    "--index", "indices", callback=named, multiple=True, metavar="NAME", help="Only unwire this index or data stream."
)
@click.option("--hook", "hooks", multiple=True, metavar="PIPELINE", help="Only take the call out of this pipeline.")
@click.option("--dashboards-url", metavar="URL", help="Kibana or OpenSearch Dashboards: remove the saved objects.")
@click.option(
    "--space", callback=named, metavar="NAME", help="Kibana's space, or OpenSearch Dashboards' tenant, of them."
)
@click.option("--delete-events", is_flag=True, help="Remove the events' index and data stream too: your data.")
@click.option(
    "--grace",
    type=click.FloatRange(0, 600),
    default=2.0,
    show_default=True,
    help="Seconds without a document before a pipeline is removed.",
)
@click.option("--dry-run", is_flag=True, help="Say what would be done, and do nothing.")
@click.option("--diff", "diffs", is_flag=True, help="Show what differs.")
@format_option
def command(
    *,
    where: Connection,
    indices: tuple[str, ...],
    hooks: tuple[str, ...],
    dashboards_url: str | None,
    space: str | None,
    delete_events: bool,
    grace: float,
    dry_run: bool,
    diffs: bool,
    output: str | None,
) -> int:
    """Remove what install made, and leave what others use.

    Indices, data streams and hooks that install wired are unwired first. What somebody else uses or has changed stays,
    is named with the reason, and the exit status is 1. With --index or --hook only those are unwired.

    \b
    Examples:
      allocfail uninstall --url http://127.0.0.1:9200 --dry-run
      allocfail uninstall --url http://127.0.0.1:9200 --index app-logs
    """  # noqa: D301 - the escape is click's mark for a paragraph that keeps its lines
    from allocfail.cluster import dashboards, saved_objects
    from allocfail.cluster.alerts import remove_alerts
    from allocfail.cluster.connection import with_url
    from allocfail.cluster.uninstall import uninstall
    from allocfail.cluster.wiring import Wiring, unwire

    with open_engine(where) as engine:
        changes: Iterable[Change]
        if indices or hooks:
            changes = unwire(engine, Wiring(indices, "default", hooks), dry_run=dry_run)
        else:
            changes = uninstall(engine, grace=grace, delete_events=delete_events, dry_run=dry_run)
            there = None
            if dashboards_url is not None:
                there = dashboards.place(with_url(where, dashboards_url), engine.product, space)
                wanted = saved_objects.build(engine.product)
                changes = chain(dashboards.remove_objects(there, wanted, engine, dry_run=dry_run), changes)
            changes = chain(remove_alerts(engine, there, dry_run=dry_run), changes)
            changes = chain(changes, dashboards.forget(engine, dry_run=dry_run))
        done = print_changes(changes, output, dry_run=dry_run, diffs=diffs)
    return int(any(change.action == "left" and change.kind != "events" for change in done))
