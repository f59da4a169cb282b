"""``allocfail install``."""

from __future__ import annotations

from itertools import chain
from typing import TYPE_CHECKING

import click

from allocfail.commands.cluster import connection_options, format_option, open_engine, tell, wanted_content

if TYPE_CHECKING:
    from collections.abc import Iterable

    from allocfail.cluster.engine import Connection
    from allocfail.cluster.install import Change

__all__ = ["command"]


@click.command("install")
@connection_options
@click.option(
    "--index", "indices", multiple=True, metavar="NAME", help="Run the pipeline on this index or data stream."
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
@click.option("--index-name", metavar="NAME", help="Index of the events that `ship` sends [default: allocfail-events].")
@click.option("--data-stream", metavar="NAME", help="Data stream for them [default: logs-allocfail.event-default].")
@click.option("--dashboards-url", metavar="URL", help="Kibana or OpenSearch Dashboards: import the saved objects.")
@click.option("--alerts", is_flag=True, help="Install alerts too: monitors, Kibana's rules, or watches.")
@click.option("--space", metavar="NAME", help="Kibana's space, or OpenSearch Dashboards' tenant, for them.")
@click.option(
    "--index-pattern",
    "pattern",
    metavar="PATTERNS",
    help="Where the saved objects look for events, besides what is wired [default: the events, logs-* and others].",
)
@click.option("--kb-url", metavar="URL", help="Where the articles are served [env: ALLOCFAIL_KB_URL].")
@click.option("--dry-run", is_flag=True, help="Say what would be done, with a diff, and do nothing.")
@format_option
def command(
    *,
    where: Connection,
    indices: tuple[str, ...],
    setting: str,
    hooks: tuple[str, ...],
    index_name: str | None,
    data_stream: str | None,
    dashboards_url: str | None,
    alerts: bool,
    space: str | None,
    pattern: str | None,
    kb_url: str | None,
    dry_run: bool,
    output: str | None,
) -> None:
    """Install pipelines, templates, articles and saved objects.

    Run again, it changes what differs and nothing else. Without --index and --hook no document goes through the
    pipeline yet.

    \b
    Examples:
      allocfail install --url http://127.0.0.1:9200 --dry-run
      allocfail install --url http://127.0.0.1:9200 --index app-logs
      allocfail install --url https://es:9200 --api-key @key.txt --hook logs@custom
    """  # noqa: D301 - the escape is click's mark for a paragraph that keeps its lines
    from allocfail.cluster import dashboards
    from allocfail.cluster.alerts import install_alerts
    from allocfail.cluster.engine import with_url
    from allocfail.cluster.install import Wiring, install

    with open_engine(where) as engine:
        changes: Iterable[Change] = install(
            engine,
            wanted_content(engine.product, kb_url),
            Wiring(indices, setting, hooks),
            index=index_name,
            stream=data_stream,
            dry_run=dry_run,
        )
        there = None
        if dashboards_url is not None:
            there = dashboards.place(with_url(where, dashboards_url), engine.product, space)
            imported = dashboards.install_objects(
                engine, there, indices=indices, pattern=pattern, kb_url=kb_url, dry_run=dry_run
            )
            changes = chain(changes, imported)
        if alerts:
            everywhere = dashboards.events_patterns(engine, pattern, indices)
            changes = chain(changes, install_alerts(engine, everywhere, there, dry_run=dry_run))
        tell(changes, output, dry_run=dry_run, diffs=dry_run, quiet=True)
        if there is not None and not dry_run:
            click.echo(f"the dashboard is at {dashboards.address(there)}", err=True)
