"""``allocfail pipelines``: the ingest pipelines as the JSON an engine takes."""

from __future__ import annotations

import click

from allocfail.commands.cluster import kb_url_option, only_fields, only_option
from allocfail.commands.files import engine_options, write

__all__ = ["command"]


@click.group()
def command() -> None:
    """Build the ingest pipelines."""


@command.command()
@engine_options
@kb_url_option
@only_option
def build(engine: str, version: str | None, output: str | None, kb_url: str | None, only: tuple[str, ...]) -> None:
    """Build the pipelines for an engine; the one to point at has the id allocfail.

    \b
    Examples:
      allocfail pipelines build --engine opensearch -o build/
      allocfail pipelines build --engine elasticsearch --for 7.10 -o build/
    """  # noqa: D301 - the escape is click's mark for a paragraph that keeps its lines
    from allocfail.painless import pipelines
    from allocfail.urls import base_url

    built = pipelines.build(engine, kb_url=base_url(kb_url), only=only_fields(only), version=version)
    write(built, output, "pipelines")
