"""``allocfail install``."""

from __future__ import annotations

from itertools import chain
from typing import TYPE_CHECKING

import click

from allocfail.commands.cluster import (
    connection_options,
    content_for,
    format_option,
    kb_url_option,
    named,
    only_option,
    open_engine,
    print_changes,
)

if TYPE_CHECKING:
    from collections.abc import Iterable

    from allocfail.cluster.connection import Connection
    from allocfail.cluster.steps import Change

__all__ = ["command"]


@click.command("install")
@connection_options
@click.option(
    "--index",
    "indices",
    callback=named,
    multiple=True,
    metavar="NAME",
    help="Run the pipeline on this index or data stream.",
)
@click.option(
    "--as",
    "setting",
    type=click.Choice(["default", "final"]),
    default="default",
    show_default=True,
    help="Which of the index's pipelines it becomes.",
)
@click.option("--hook", "hooks", multiple=True, metavar="PIPELINE", help="Call it from this pipeline, as logs@custom.")
@only_option
@click.option(
    "--index-name",
    callback=named,
    metavar="NAME",
    help="Index of the events that `ship` sends [default: allocfail-events].",
)
@click.option(
    "--data-stream",
    callback=named,
    metavar="NAME",
    help="Data stream for them [default: logs-allocfail.event-default].",
)
@click.option("--dashboards-url", metavar="URL", help="Kibana or OpenSearch Dashboards: import the saved objects.")
@click.option(
    "--space", callback=named, metavar="NAME", help="Kibana's space, or OpenSearch Dashboards' tenant, for them."
)
@click.option(
    "--index-pattern",
    "pattern",
    metavar="PATTERNS",
    help="Where the saved objects look for events, besides what is wired [default: the events, logs-* and others].",
)
@click.option("--alerts", is_flag=True, help="Install alerts too: monitors, Kibana's rules, or watches.")
@kb_url_option
@click.option("--downgrade", is_flag=True, help="Replace what a newer allocfail has installed.")
@click.option("--dry-run", is_flag=True, help="Say what would be done, and do nothing.")
@click.option("--diff", "diffs", is_flag=True, help="Show what differs.")
@format_option
def command(
    *,
    where: Connection,
    indices: tuple[str, ...],
    setting: str,
    hooks: tuple[str, ...],
    only: tuple[str, ...],
    index_name: str | None,
    data_stream: str | None,
    dashboards_url: str | None,
    alerts: bool,
    space: str | None,
    pattern: str | None,
    kb_url: str | None,
    downgrade: bool,
    dry_run: bool,
    diffs: bool,
    output: str | None,
) -> None:
    """Install pipelines, templates, articles and saved objects.

    Run again, it changes what differs and nothing else. Without --index and --hook no document goes through the
    pipeline yet. The cluster remembers --kb-url and --only until others are given. Before an index is wired, its
    mapping is checked and events are indexed and removed; where they are refused, nothing is wired.

    \b
    Examples:
      allocfail install --url http://127.0.0.1:9200 --dry-run
      allocfail install --url http://127.0.0.1:9200 --index app-logs
      allocfail install --url https://es:9200 --api-key @key.txt --hook logs@custom
    """  # noqa: D301 - the escape is click's mark for a paragraph that keeps its lines
    from allocfail.cluster import dashboards
    from allocfail.cluster.alerts import install_alerts
    from allocfail.cluster.connection import with_url
    from allocfail.cluster.install import Wiring, install
    from allocfail.urls import DEFAULT_URL

    with open_engine(where) as engine:
        wanted = content_for(engine, kb_url, only)
        changes: Iterable[Change] = install(
            engine,
            wanted,
            Wiring(indices, setting, hooks),
            index=index_name,
            stream=data_stream,
            downgrade=downgrade,
            dry_run=dry_run,
        )
        there = None
        if dashboards_url is not None:
            there = dashboards.place(with_url(where, dashboards_url), engine.product, space)
            imported = dashboards.install_objects(
                engine, there, indices=indices, pattern=pattern, kb_url=wanted.kb_url, dry_run=dry_run
            )
            changes = chain(changes, imported)
        if alerts:
            everywhere = dashboards.events_patterns(engine, pattern, indices)
            changes = chain(changes, install_alerts(engine, everywhere, there, dry_run=dry_run))
        print_changes(changes, output, dry_run=dry_run, diffs=diffs, quiet=True)
    if there is not None and not dry_run:
        click.echo(f"allocfail: the dashboard is at {dashboards.address(there)}", err=True)
    if wanted.kb_url is None:
        click.echo(
            f"allocfail: links in events lead to {DEFAULT_URL}, where only `allocfail kb serve` on the reader's own "
            "machine answers: give --kb-url, or run `allocfail kb publish --dashboards-url URL`",
            err=True,
        )
