"""``allocfail package``: what each product's own installer takes."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import urlsplit

import click

from allocfail.errors import InputError

__all__ = ["command"]


@click.group()
def command() -> None:
    """Build Elastic's integration package, or OpenSearch's integration."""


@command.command()
@click.option("--engine", type=click.Choice(["elasticsearch", "opensearch"]), required=True, help="Who takes it.")
@click.option("-o", "--output", metavar="DIR", required=True, help="Folder to write into; made where missing.")
@click.option("--kb-url", metavar="URL", help="Where the articles are served [env: ALLOCFAIL_KB_URL].")
@click.option(
    "--home",
    metavar="URL",
    default="https://example.org/allocfail",
    show_default=True,
    help="Where you publish the project: the package's changelog links there.",
)
def build(engine: str, output: str, kb_url: str | None, home: str) -> None:
    """Build the package of a product.

    For Elasticsearch a zip after package-spec, which Fleet takes as an upload (Integrations, Create, Upload it as a
    .zip) and elastic-package tests. For OpenSearch a zip as its repository of integrations has it, and an .ndjson with
    the same, to be imported under Saved Objects: then the page Integrations offers it.

    \b
    Example:
      allocfail package build --engine elasticsearch -o build/
    """  # noqa: D301 - the escape is click's mark for a paragraph that keeps its lines
    from allocfail.packages import elastic, opensearch
    from allocfail.packages.parts import zipped
    from allocfail.release import own_version

    if urlsplit(home).scheme not in {"http", "https"}:
        raise InputError(f"not an address of http or https: {ascii(home)[1:-1]}")
    version = own_version()
    written: dict[str, bytes] = {}
    if engine == "elasticsearch":
        files = elastic.build(version, home=home, kb_url=kb_url)
        written[f"allocfail-{version}.zip"] = zipped(files, f"allocfail-{version}")
    else:
        files = opensearch.build(version, home=home, kb_url=kb_url)
        written[f"allocfail-{version}-opensearch.zip"] = zipped(files, opensearch.NAME)
        written[f"allocfail-{version}-opensearch.ndjson"] = opensearch.importable(files, version).encode()
    folder = Path(output)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name, data in written.items():
            (folder / name).write_bytes(data)
    except OSError as error:
        raise InputError(f"{error.filename}: {error.strerror}") from error
    for name in written:
        click.echo(f"{folder / name}: {len(files)} files", err=True)
