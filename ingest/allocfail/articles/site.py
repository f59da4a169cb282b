"""The knowledge base as static pages, and what they share with the pages that a server makes."""

from __future__ import annotations

import contextlib
import json
import os
import re
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from allocfail.articles import articles as kb
from allocfail.articles import search
from allocfail.articles.render import render
from allocfail.articles.shell import READ_IN, Page, escape
from allocfail.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

__all__ = ["MANIFEST", "article_page", "build", "index_page", "pages", "search_page", "served"]

#: The file that lists what a build wrote, so that the next one removes what is gone and nothing else.
MANIFEST = ".allocfail-kb.json"
#: Hits on a page of results.
MOST_HITS = 20

_OWN = re.compile(r"[a-z0-9-]+\.html", re.ASCII)
#: What a page calls its parts in its own language.
_WORDS = {
    "en": {"contents": "On this page", "other": "In English"},
    "zh": {"contents": "本页内容", "other": "中文"},
}


def pages(articles: Sequence[kb.Article] | None = None) -> dict[str, bytes]:
    """Return the whole static site: file name to UTF-8 HTML."""
    found = kb.load() if articles is None else articles
    site = served(found) | {"search.html": _static_search(found)}
    return {name: page.encode() for name, page in site.items()}


def served(articles: Sequence[kb.Article] | None = None) -> dict[str, Page]:
    """Return the pages that a server hands out as they are."""
    found = kb.load() if articles is None else articles
    return {"index.html": index_page(found)} | {f"{item.id}.html": article_page(item, found) for item in found}


def article_page(item: kb.Article, articles: Sequence[kb.Article]) -> Page:
    """Return the page of one article; ``articles`` are all, for links between languages."""
    entries = "".join(
        f'<li><a href="#{heading.anchor}">{escape(heading.text)}</a></li>'
        for heading in item.headings
        if heading.level == 2
    )
    body = render(item.body)
    for heading in item.headings:
        if heading.level == 2:
            # A link beside each section's heading, so that a person can copy its address.
            start = body.find(f'<h2 id="{heading.anchor}">')
            end = body.find("</h2>", start)
            label = escape(f"Link to: {heading.text}")
            link = f'<a class="here" href="#{heading.anchor}" aria-label="{label}">#</a>'
            body = body[:end] + link + body[end:]
    contents = _WORDS[item.lang]["contents"]
    return Page(
        title=f"{item.title} - allocfail",
        summary=item.summary,
        lang=item.lang,
        layout="article-page",
        top=_languages(item, articles),
        main=(
            f'<div class="columns"><nav class="contents wide" aria-label="Sections"><strong>{contents}</strong>'
            f'<ol>{entries}</ol></nav><main id="content"><h1>{escape(item.title)}</h1>'
            f'<p class="lead">{escape(item.summary)}</p>'
            f'<details class="contents narrow"><summary>{contents}</summary><ol>{entries}</ol></details>'
            f"{body}</main></div>"
        ),
        footer=f"Built from {kb.ARTICLES}/{item.id}.md. {READ_IN}",
    )


def _languages(item: kb.Article, articles: Sequence[kb.Article]) -> str:
    """Return links to the same article in other languages."""
    original = item.translates or item.id
    return "".join(
        f'<a class="lang" href="{other.id}.html" hreflang="{other.lang}" lang="{other.lang}">'
        f"{_WORDS[other.lang]['other']}</a>"
        for other in articles
        if other is not item and original in {other.id, other.translates}
    )


def index_page(articles: Sequence[kb.Article]) -> Page:
    """Return the front page: the question, the tools, and every article."""
    return Page(
        title="allocfail knowledge base",
        summary="What Linux memory-allocation failures mean and what to do about them.",
        main=(
            '<main id="content"><h1>Memory-allocation failures, explained</h1>'
            '<p class="lead">What the messages mean, what helps, and what only seems to.</p>'
            f"{_search_form('')}"
            '<ul class="tiles"><li><a href="event.html">Read a log</a> Paste a message of the kernel and see what '
            'happened, how bad it is, and what to do.</li><li><a href="gfp.html">GFP masks</a> What '
            '<code>mode:0x20</code> means on your kernel.</li><li><a href="zone-reclaim.html">vm.zone_reclaim_mode</a> '
            "What a value does, bit by bit.</li></ul>"
            f"{_list(articles)}</main>"
        ),
    )


def search_page(question: str, hits: Iterable[search.Hit], articles: Sequence[kb.Article]) -> Page:
    """Return the page of results for ``question``, which needs no script."""
    shown = list(hits)[:MOST_HITS]
    said = ""
    if question.strip():
        said = f"{len(shown)} sections, the best first" if shown else "Nothing found. Try a word from the log line."
    return Page(
        title=f"{question[:80]} - allocfail" if question.strip() else "Search - allocfail",
        summary="Search the knowledge base of memory-allocation failures.",
        here="search.html",
        main=(
            f'<main id="content"><h1>Search</h1>{_search_form(question)}'
            f'<p class="found" id="found" role="status">{said}</p>'
            f'<ol class="list hits" id="hits">{"".join(map(_hit, shown))}</ol>'
            f"{'' if shown else _list(articles)}</main>"
        ),
    )


def _static_search(articles: Sequence[kb.Article]) -> Page:
    """Return the page that searches by itself, with the same index in a script."""
    page = search_page("", (), articles)
    made = json.dumps(search.index(articles), ensure_ascii=False, separators=(",", ":"))
    return replace(page, data={"search-index": made}, scripts=("lunr.min.js", "search.js"))


def _search_form(question: str) -> str:
    return (
        '<form class="find" action="search.html" role="search"><label for="q">Search the articles</label>'
        f'<div class="row"><input id="q" name="q" type="search" value="{escape(question)}" autocomplete="off" '
        'spellcheck="false" placeholder="order:1 GFP_ATOMIC"><button>Search</button></div></form>'
    )


def _hit(hit: search.Hit) -> str:
    part = hit.part
    address = f"{part.article}.html" + (f"#{part.anchor}" if part.anchor else "")
    inside = f'<span class="in"> {escape(part.title)}</span>' if part.anchor else ""
    text = "".join(f"<mark>{escape(piece)}</mark>" if marked else escape(piece) for piece, marked in hit.snippet)
    title = escape(part.heading if part.anchor else part.title)
    return f'<li lang="{part.lang}"><a href="{address}">{title}</a>{inside}<p>{text}</p></li>'


def _list(articles: Sequence[kb.Article]) -> str:
    entries = "".join(
        f'<li lang="{item.lang}"><a href="{item.id}.html">{escape(item.title)}</a><p>{escape(item.summary)}</p></li>'
        for item in sorted(articles, key=lambda item: (item.lang, item.title.lower()))
    )
    return f'<ul class="list" id="list">{entries}</ul>'


def build(folder: Path) -> tuple[list[str], list[str]]:
    """Write the site into ``folder`` (made where missing); return the names written and the names removed.

    Each file is replaced whole or not at all. Removed are only files that an earlier build wrote and this one did not.
    Raises :class:`InputError` where ``folder`` is no folder, or holds a file of the same name that is not ours.
    """
    site = pages()
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError) as error:
        raise InputError(f"{kb.printable(str(folder))}: not a folder") from error
    manifest = folder / MANIFEST
    earlier = _earlier(manifest)
    foreign = sorted(name for name in site if name not in earlier and os.path.lexists(folder / name))
    if foreign:
        raise InputError(f"{kb.printable(str(folder))}: {foreign[0]} is there and was not written by this command")
    # Both lists first: after an interruption the next build still knows every file that may be ours.
    _replace(manifest, _listing(earlier | set(site)))
    for name, content in site.items():
        _replace(folder / name, content)
    gone = sorted(earlier - set(site))
    for name in gone:
        with contextlib.suppress(FileNotFoundError):
            (folder / name).unlink()
    _replace(manifest, _listing(set(site)))
    return sorted(site), gone


def _listing(names: set[str]) -> bytes:
    return (json.dumps({"files": sorted(names)}, indent=1) + "\n").encode()


def _earlier(manifest: Path) -> set[str]:
    try:
        names = json.loads(manifest.read_bytes())["files"]
        return {name for name in names if isinstance(name, str) and _OWN.fullmatch(name)}
    except FileNotFoundError:
        return set()
    except (ValueError, KeyError, TypeError) as error:
        raise InputError(f"{kb.printable(str(manifest))}: not a list of files that this command wrote") from error


def _replace(path: Path, content: bytes) -> None:
    """Write ``content`` beside ``path`` and move it there, so that a reader sees the old file or the new one."""
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=".allocfail-", suffix=".tmp")
    try:
        with os.fdopen(handle, "wb") as file:
            os.fchmod(file.fileno(), 0o644)
            file.write(content)
        Path(name).replace(path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
