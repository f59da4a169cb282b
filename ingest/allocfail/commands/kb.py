"""``allocfail kb``: read, search, build and serve the knowledge base."""

from __future__ import annotations

import io
import json
import os
import shutil
import sys
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import click

from allocfail.articles import articles as kb
from allocfail.commands.cluster import (
    connection_options,
    content_for,
    format_option,
    kb_url_option,
    open_engine,
    print_changes,
)
from allocfail.errors import InputError, NotFoundError
from allocfail.terminal import say_if_waiting
from allocfail.urls import given_url

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from typing import BinaryIO

    from rich.console import JustifyMethod
    from rich.markdown import Markdown, MarkdownElement
    from rich.text import Text

    from allocfail.cluster.client import Engine
    from allocfail.cluster.connection import Connection
    from allocfail.cluster.steps import Change

__all__ = ["command"]

_FORMAT = click.option(
    "--format",
    "form",
    type=click.Choice(["text", "ndjson"]),
    help="Default: text on a terminal, else one JSON document a line.",
)
#: Hits that are printed: as documents, and for a person, who reads the first.
_MOST_HITS, _FIRST_HITS = 20, 8
_URL = click.option(
    "--kb-url",
    "--url",
    "url",
    metavar="URL",
    help=f"Where the pages are served [env: {kb.URL_VARIABLE}; default: {kb.DEFAULT_URL}].",
)


@click.group()
def command() -> None:
    """Read, search, build and serve the knowledge base.

    \b
    Example:
      allocfail kb show zone-reclaim-mode
    """  # noqa: D301 - the escape is click's mark for a paragraph that keeps its lines


def _text(form: str | None) -> bool:
    return form == "text" or (form is None and sys.stdout.isatty())


def _print(documents: Iterable[Any]) -> None:
    for document in documents:
        click.echo(json.dumps(document, ensure_ascii=False, separators=(",", ":")))


def _entries(entries: Iterable[tuple[Text, Text, str]]) -> None:
    """Print entries, each in lines of its own: the first text, and below it the second and an address."""
    from rich.console import Console
    from rich.text import Text

    console = Console(markup=False, highlight=False, emoji=False)
    width = min(console.width, 110)
    for number, (head, text, url) in enumerate(entries):
        if number:
            console.print()
        for lead, part in (("", head), ("  ", text)):
            for line in part.wrap(console, width - len(lead)):
                line.rstrip()
                console.print(Text.assemble(lead, line))
        console.print(Text(f"  {url}", "dim"), soft_wrap=True)  # what is to be copied stays in one piece


def _shown_at(url: str | None, base: str, article: str, anchor: str = "") -> str:
    """Return where a person reads an article: its address where somebody has named one, else the command."""
    if given_url(url):
        return kb.article_url(base, article, anchor)
    return f"allocfail kb show {article}#{anchor}".rstrip("#")


def _headed(identifier: str, title: str) -> Text:
    from rich.text import Text

    return Text.assemble((identifier, "bold"), "  ", kb.printable(title))


@command.command("list")
@_FORMAT
@_URL
def list_(form: str | None, url: str | None) -> None:
    """List the articles.

    \b
    Example:
      allocfail kb list --format text
    """  # noqa: D301 - the escape is click's mark for a paragraph that keeps its lines
    base = kb.base_url(url)
    articles = kb.load()
    if _text(form):
        from rich.text import Text

        _entries(
            (_headed(item.id, item.title), Text(kb.printable(item.summary)), _shown_at(url, base, item.id))
            for item in articles
        )
    else:
        _print(
            {key: value for key, value in kb.document(item, base).items() if key not in {"body", "headings"}}
            for item in articles
        )


@command.command()
@click.argument("id", metavar="ID[#SECTION]")
@click.option(
    "--format",
    "form",
    type=click.Choice(["text", "markdown", "json"]),
    help="Default: text on a terminal, else the article's Markdown.",
)
@_URL
def show(id: str, form: str | None, url: str | None) -> None:  # noqa: A002 - the argument's name on the command line
    """Show the article ID, or one section of it; on a terminal in the pager that PAGER names.

    \b
    Example:
      allocfail kb show zone-reclaim-mode | less
      allocfail kb show zone-reclaim-mode#cannot-act
    """  # noqa: D301 - the escape is click's mark for a paragraph that keeps its lines
    base = kb.base_url(url)
    identifier, _, anchor = id.partition("#")
    item = kb.article(identifier)
    if form == "json":
        _print([kb.document(item, base)])
        return
    text = f"# {item.title}\n\n{item.summary}\n\n{item.body}"
    if anchor:
        text = f"# {item.title}\n\n{kb.section(item, anchor)}"
    text = kb.printable(kb.absolute(item, text, base if given_url(url) else None))
    if form == "markdown" or not _text(form):
        click.echo(text, nl=False)
        return
    from rich.console import Console

    console = Console(markup=False, highlight=False, emoji=False)
    with console.capture() as shown:
        console.print(_markdown(text, links=console.is_terminal), width=min(console.width, 110))
    if sys.stdout.isatty():
        os.environ.setdefault("LESS", "FRX")  # colours, and no pager for what fits the screen; as git does
        click.echo_via_pager(shown.get())
    else:
        click.echo(shown.get(), nl=False)


def _markdown(text: str, *, links: bool) -> Markdown:
    """Return Markdown for a terminal; a command that is longer than its cell goes on in the next line, not in dots."""
    from rich.markdown import Markdown, TableDataElement

    class Cell(TableDataElement):
        def __init__(self, justify: JustifyMethod) -> None:
            super().__init__(justify)
            self.content.overflow = "fold"

    class Folded(Markdown):
        elements: ClassVar[dict[str, type[MarkdownElement]]] = {
            **Markdown.elements,
            "td_open": Cell,
            "th_open": Cell,
        }

    return Folded(text, hyperlinks=links)


# Log lines are pasted as they are: ``on node -1`` names no option.
@command.command(context_settings={"ignore_unknown_options": True})
@click.argument("words", nargs=-1, required=True)
@_FORMAT
@_URL
def search(words: tuple[str, ...], form: str | None, url: str | None) -> None:
    """Find the sections that answer WORDS, best first; exit 1 where no word is known.

    A word may be misspelt or half written, and no section need hold all of them.

    \b
    Example:
      allocfail kb search order:1 GFP_ATOMIC
    """  # noqa: D301 - the escape is click's mark for a paragraph that keeps its lines
    from allocfail.articles.search import engine

    base = kb.base_url(url)
    hits = engine().search(words)[:_MOST_HITS]
    if not hits:
        raise NotFoundError(f"no article holds {kb.printable(' '.join(words))}")
    if not _text(form):
        _print(
            {
                "id": hit.part.article,
                "title": hit.part.title,
                "section": hit.part.heading,
                "snippet": "".join(piece for piece, _ in hit.snippet),
                "score": hit.score,
                "url": kb.article_url(base, hit.part.article, hit.part.anchor),
            }
            for hit in hits
        )
        return
    from rich.text import Text

    _entries(
        (
            _headed(f"{hit.part.article}#{hit.part.anchor}".rstrip("#"), hit.part.heading),
            Text.assemble(*((kb.printable(piece), "bold" if marked else "") for piece, marked in hit.snippet)),
            _shown_at(url, base, hit.part.article, hit.part.anchor),
        )
        for hit in hits[:_FIRST_HITS]
    )


@command.command()
@click.option(
    "-o",
    "--output",
    "folder",
    required=True,
    type=click.Path(file_okay=False, path_type=Path),
    help="Folder to write into; made where missing.",
)
def build(folder: Path) -> None:
    """Write the articles as static pages.

    Files that an earlier build wrote are replaced or removed; any other file in the folder is left alone.

    \b
    Example:
      allocfail kb build -o /srv/www/kb
    """  # noqa: D301 - the escape is click's mark for a paragraph that keeps its lines
    from allocfail.articles import site

    written, gone = site.build(folder)
    removed = f", removed {len(gone)}" if gone else ""
    click.echo(f"{kb.printable(str(folder))}: wrote {len(written)} pages{removed}", err=True)


@command.command()
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option("--port", default=8765, show_default=True, type=click.IntRange(0, 65535), help="0: any free port.")
@click.option(
    "--allow-host",
    "names",
    multiple=True,
    metavar="NAME",
    help="A host name that clients may use for this server, beside localhost and addresses; may be given again.",
)
def serve(host: str, port: int, names: tuple[str, ...]) -> None:
    """Serve the articles, and pages that decode a log, a mask or a setting, until interrupted.

    \b
    Example:
      allocfail kb serve --port 8765
    """  # noqa: D301 - the escape is click's mark for a paragraph that keeps its lines
    from allocfail.articles.serve import Server
    from allocfail.report import pages

    with Server(host, port, made=pages.made(), names=names) as server:
        if server.open_to_others:
            click.echo(
                "every machine that reaches this one can read the articles and have logs decoded here: there is no "
                "password, and what they send is not encrypted on its way",
                err=True,
            )
        click.echo(f"serving {len(server)} pages on {server.url} (Ctrl-C ends)", err=True)
        server.serve_forever()


@command.command()
@connection_options
@click.option(
    "--dashboards-url",
    metavar="URL",
    help="Where people open Kibana or OpenSearch Dashboards: links lead to the articles in its Discover.",
)
@kb_url_option
@click.option("--dry-run", is_flag=True, help="Say what would be done, and do nothing.")
@format_option
def publish(
    *, where: Connection, dashboards_url: str | None, kb_url: str | None, dry_run: bool, output: str | None
) -> None:
    """Put the articles into a cluster, and say where links in events lead.

    The articles become documents of the index allocfail-kb, which Discover shows and searches. With --dashboards-url
    every link in an event leads to the article's document there, and what it is shown through is imported there.
    With --kb-url links lead to pages that are served elsewhere. The cluster remembers it, and what is installed
    there is changed accordingly.

    \b
    Examples:
      allocfail kb publish --url http://127.0.0.1:9200 --dashboards-url https://kibana.example.org
      allocfail kb publish --url http://127.0.0.1:9200 --kb-url https://www.example.org/kernel-memory/
    """  # noqa: D301 - the escape is click's mark for a paragraph that keeps its lines
    from allocfail.cluster.publishing import discover_url, publish

    if dashboards_url is not None and kb_url is not None:
        raise InputError("give --dashboards-url or --kb-url, not both: links lead to one place")
    if dashboards_url is not None:
        kb_url = discover_url(dashboards_url)
    with open_engine(where) as engine:
        wanted = content_for(engine, kb_url)
        changes = publish(engine, wanted, dry_run=dry_run)
        if dashboards_url is not None:
            changes = chain(changes, _imported(engine, where, dashboards_url, wanted.kb_url, dry_run=dry_run))
        print_changes(changes, output, dry_run=dry_run, quiet=True)
    if wanted.kb_url is None:
        click.echo(
            f"allocfail: links in events still lead to {kb.DEFAULT_URL}: give --dashboards-url or --kb-url", err=True
        )


def _imported(
    engine: Engine, where: Connection, dashboards_url: str, kb_url: str | None, *, dry_run: bool
) -> Iterator[Change]:
    """Bring the data view; say so where that cannot be done from here, since the address is that of a person."""
    from allocfail.cluster.connection import with_url
    from allocfail.cluster.dashboards import place, publish_view
    from allocfail.cluster.errors import EngineError

    there = place(with_url(where, dashboards_url), engine.product)
    try:
        yield from publish_view(engine, there, kb_url, dry_run=dry_run)
    except EngineError as error:
        click.echo(
            f"allocfail: {error}; links open there once `allocfail install --dashboards-url` has brought the data view",
            err=True,
        )


@command.command()
@click.argument("files", nargs=-1, metavar="[FILE|TEXT]...")
@_FORMAT
@_URL
def lookup(files: tuple[str, ...], form: str | None, url: str | None) -> None:
    """Say of events what caused them, what to do, and which articles apply, and why.

    An event is a document, one a line, or a log as the kernel wrote it: in a FILE, on standard input (-, or no
    argument), or as TEXT, quoted. Exits 1 where there is none, or no article applies.

    \b
    Example:
      dmesg | allocfail kb lookup
      allocfail kb lookup 'swapper: page allocation failure. order:1, mode:0x20'
    """  # noqa: D301 - the escape is click's mark for a paragraph that keeps its lines
    from allocfail.articles.lookup import lookup as found_in

    base = kb.base_url(url)
    as_text = _text(form)
    events = applied = 0
    for excerpt in chain.from_iterable(found_in(stream, base) for stream in map(_looked_up, files or ("-",))):
        events += 1
        applied += bool(excerpt["allocfail"]["kb"])
        if as_text:
            _lookup_text(excerpt, first=events == 1, served=url is not None or kb.URL_VARIABLE in os.environ)
        else:
            _print([excerpt])
    if not events:
        raise NotFoundError("no event in the input")
    if not applied:
        raise NotFoundError("no article applies")


def _looked_up(argument: str) -> BinaryIO:
    """Open what an argument of ``kb lookup`` names; a text with blanks that names no file is the event itself."""
    from allocfail.logs.inputs import open_file

    if " " in argument.strip() and not os.path.lexists(argument):
        return io.BytesIO(argument.encode(errors="surrogateescape") + b"\n")
    _, stream = open_file(argument)
    say_if_waiting(argument == "-" and stream.isatty())
    return stream


def _lookup_text(excerpt: dict[str, Any], *, first: bool, served: bool) -> None:
    from allocfail.report.layout import laid_out
    from allocfail.report.lookup import lines

    if not first:
        click.echo()
    terminal = sys.stdout.isatty()
    width = shutil.get_terminal_size().columns if terminal else None
    click.echo(laid_out(lines(excerpt, served=served), width=width, colour=terminal), nl=False)
