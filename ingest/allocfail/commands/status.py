"""``allocfail status``."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from allocfail.commands.cluster import connection_options, format_option, open_engine, tell, wanted_content

if TYPE_CHECKING:
    from allocfail.cluster.engine import Connection

__all__ = ["command"]


@click.command("status")
@connection_options
@click.option("--kb-url", metavar="URL", help="Where the articles are served [env: ALLOCFAIL_KB_URL].")
@click.option("--diff", "with_diff", is_flag=True, help="Show how what is there differs.")
@format_option
def command(*, where: Connection, kb_url: str | None, with_diff: bool, output: str | None) -> int:
    """Say what is installed in a cluster, whether it is current, and whether it works.

    A made-up header is sent through the pipeline without indexing it. Exit status 1: something is missing, outdated,
    changed, or did not decode.

    \b
    Example:
      allocfail status --url http://127.0.0.1:9200
    """  # noqa: D301 - the escape is click's mark for a paragraph that keeps its lines
    from allocfail.cluster.install import status

    with open_engine(where) as engine:
        click.echo(f"{where.url}: {engine.product} {engine.version}", err=True)
        changes = status(engine, wanted_content(engine.product, kb_url))
        found = tell(changes, output, diffs=with_diff)
    return int(any(change.action not in {"current", "wired", "decoded"} for change in found))
