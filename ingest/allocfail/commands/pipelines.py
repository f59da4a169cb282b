"""``allocfail pipelines``: the ingest pipelines as the JSON an engine takes."""

from __future__ import annotations

import json
from pathlib import Path

import click

from allocfail.errors import InputError


@click.group()
def command() -> None:
    """Build the ingest pipelines."""


@command.command()
@click.option("--engine", type=click.Choice(["elasticsearch", "opensearch"]), required=True, help="Who takes them.")
@click.option("-o", "--output", metavar="DIR", help="Folder for a file a pipeline; without it, one JSON object.")
@click.option("--kb-url", metavar="URL", help="Where the articles are served.")
def build(engine: str, output: str | None, kb_url: str | None) -> None:
    """Build the pipelines for an engine; the one to point at has the id allocfail.

    \b
    Example:
      allocfail pipelines build --engine opensearch -o build/
    """  # noqa: D301 - the escape is click's mark for a paragraph that keeps its lines
    from allocfail.articles.articles import base_url
    from allocfail.painless import pipelines

    built = pipelines.build(engine, kb_url=base_url(kb_url))
    if output is None:
        click.echo(json.dumps(built, ensure_ascii=False))
        return
    folder = Path(output)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name, body in built.items():
            (folder / f"{name}.json").write_text(pipelines.to_json(body), encoding="utf-8")
    except OSError as error:
        raise InputError(f"{error.filename}: {error.strerror}") from error
    click.echo(f"{len(built)} pipelines in {folder}", err=True)
