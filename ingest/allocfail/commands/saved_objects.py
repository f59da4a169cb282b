"""``allocfail saved-objects``: data views, searches and dashboards as the file that a page imports."""

from __future__ import annotations

from pathlib import Path

import click

from allocfail.errors import InputError

__all__ = ["command"]


@click.group()
def command() -> None:
    """Build the saved objects of Kibana or OpenSearch Dashboards."""


@command.command()
@click.option(
    "--engine", type=click.Choice(["elasticsearch", "opensearch"]), required=True, help="Whose dashboards take them."
)
@click.option("-o", "--output", metavar="DIR", help="Folder for the file; without it, standard output.")
@click.option("--index-pattern", "pattern", metavar="PATTERNS", help="Where events are, with commas between them.")
@click.option("--kb-url", metavar="URL", help="Where the articles are served [env: ALLOCFAIL_KB_URL].")
def build(engine: str, output: str | None, pattern: str | None, kb_url: str | None) -> None:
    """Build the file to import in Stack Management, Saved Objects.

    `allocfail install --dashboards-url` imports the same, and knows what it has wired.

    \b
    Example:
      allocfail saved-objects build --engine opensearch --index-pattern 'allocfail-events*,app-logs' -o build/
    """  # noqa: D301 - the escape is click's mark for a paragraph that keeps its lines
    from allocfail.cluster import saved_objects
    from allocfail.cluster.dashboards import patterns

    objects = saved_objects.build(engine, kb_url=kb_url, patterns=patterns(pattern, ()))
    text = saved_objects.to_ndjson(objects)
    if output is None:
        click.echo(text, nl=False)
        return
    file = Path(output) / saved_objects.DIALECTS[engine].file
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, encoding="utf-8")
    except OSError as error:
        raise InputError(f"{error.filename}: {error.strerror}") from error
    click.echo(f"{len(objects)} objects in {file}", err=True)
