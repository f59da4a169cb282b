"""``allocfail demo``."""

from __future__ import annotations

import json
import os
import shutil
import signal
import sys
from typing import TYPE_CHECKING

import click

from allocfail.errors import AllocfailError, InputError

if TYPE_CHECKING:
    from rich.console import Console

    from allocfail.demo.node import Node

__all__ = ["command"]


@click.command("demo")
@click.option("--down", is_flag=True, help="Stop the node that an earlier demo left running; its data stays.")
@click.option("--port", type=click.IntRange(1, 65535), help="Port of the node [default: 19200, or a free one].")
@click.option("--foreground", is_flag=True, help="Stay until Ctrl-C and stop the node then.")
@click.option(
    "--format",
    "output",
    type=click.Choice(["text", "ndjson"]),
    help="Text on a terminal and NDJSON elsewhere, unless given.",
)
def command(*, down: bool, port: int | None, foreground: bool, output: str | None) -> None:
    """Try it all on this machine, on a real OpenSearch node.

    Starts the node on 127.0.0.1 (downloads 74 MB the first time), installs the pipelines, templates and articles, sends
    a sample log through the pipeline, and prints what a search finds. The node stays up, with the articles served
    beside it, until `allocfail demo --down`.

    \b
    Example:
      allocfail demo
      allocfail demo --down
    """  # noqa: D301 - the escape is click's mark for a paragraph that keeps its lines
    from rich.console import Console

    from allocfail.demo import node

    progress = Console(stderr=True)
    running = node.find_running()
    if down:
        if running:
            running.stop()
        progress.print("stopped" if running else "no demo is running")
        return
    if running and port is not None and not running.url.endswith(f":{port}"):
        raise InputError(f"the demo runs at {running.url} already; allocfail demo --down stops it")
    if running and foreground:
        raise InputError(f"the demo runs in the background already, at {running.url}; allocfail demo --down stops it")
    # A stop by SIGTERM is to clean up as Ctrl-C does.
    for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT):
        signal.signal(number, signal.default_int_handler)
    started = running or node.start(port=port, articles=True, background=not foreground, console=progress)
    try:
        _demonstrate(started, output, progress)
        if foreground:
            _stay(started, progress)
    except BaseException:
        if not running:
            started.stop()
        raise
    progress.print(
        f"the node at {started.url} and the articles at {started.articles_url} stay up", highlight=False, soft_wrap=True
    )
    program = "allocfail" if shutil.which("allocfail") else os.path.relpath(sys.argv[0])
    progress.print(f"stop them with: {program} demo --down", highlight=False, soft_wrap=True)


def _demonstrate(running: Node, output: str | None, progress: Console) -> None:
    from rich.console import Console

    from allocfail.articles import articles as kb
    from allocfail.demo import demo

    with progress.status("installing and searching"):
        groups = demo.run(running.url, kb.base_url(running.articles_url))
    if output == "text" or (output is None and sys.stdout.isatty()):
        demo.show(groups, running.url, Console())
    else:
        for group in groups:
            for event in group.events:
                click.echo(json.dumps(event, ensure_ascii=False, separators=(",", ":")))


def _stay(running: Node, progress: Console) -> None:
    """Wait for Ctrl-C, which ends as an interrupt does; a node that ends by itself is an error."""
    from time import sleep

    from allocfail.demo import node

    progress.print(
        f"the node is at {running.url}, the articles are at {running.articles_url}", highlight=False, soft_wrap=True
    )
    progress.print("Ctrl-C stops them", highlight=False)
    while node.find_running():
        sleep(0.5)
    raise AllocfailError("the node has ended")
