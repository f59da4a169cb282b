"""The knowledge base as static pages, and what they share with the pages that a server makes."""

from __future__ import annotations

import contextlib
import json
import os
import re
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from allocfail import facts
from allocfail.articles import articles as kb
from allocfail.articles import search, zone_reclaim
from allocfail.articles.render import render
from allocfail.articles.shell import READ_IN, Page, escape
from allocfail.decoder import gfp
from allocfail.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

__all__ = ["MANIFEST", "article_page", "build", "index_page", "pages", "search_page", "served", "setting", "table"]

#: The file that lists what a build wrote, so that the next one removes what is gone and nothing else.
MANIFEST = ".allocfail-kb.json"
#: Hits on a page of results.
MOST_HITS = 20
#: Bits of a mask: gfp_t is an unsigned int (include/linux/types.h, 6.12.117).
_GFP_BITS = 32

_MASK = re.compile(r"\b0x[0-9a-f]{1,16}\b", re.ASCII)
_OWN = re.compile(r"[a-z0-9-]+\.html", re.ASCII)
#: What a page calls its parts in its own language.
_WORDS = {
    "en": {"contents": "On this page", "other": "In English"},
    "zh": {"contents": "本页内容", "other": "中文"},
}


def pages(articles: Sequence[kb.Article] | None = None) -> dict[str, bytes]:
    """Return the whole static site: file name to UTF-8 HTML."""
    found = kb.load() if articles is None else articles
    site = served(found) | {
        "search.html": _static_search(found),
        "event.html": _static_event(found),
        "gfp.html": _static_gfp(),
        "zone-reclaim.html": _static_zone_reclaim(),
    }
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
    masks = "".join(
        f'<li><a href="gfp.html?mask={mask}">Decode {mask}</a></li>' for mask in _MASK.findall(question.lower())[:3]
    )
    return Page(
        title=f"{question[:80]} - allocfail" if question.strip() else "Search - allocfail",
        summary="Search the knowledge base of memory-allocation failures.",
        here="search.html",
        main=(
            f'<main id="content"><h1>Search</h1>{_search_form(question)}'
            f'<p class="found" id="found" role="status">{said}</p>{masks and f"<ul>{masks}</ul>"}'
            f'<ol class="list hits" id="hits">{"".join(map(_hit, shown))}</ol>'
            f"{'' if shown else _list(articles)}</main>"
        ),
    )


def _static_search(articles: Sequence[kb.Article]) -> Page:
    """Return the page that searches by itself, with the same index in a script."""
    page = search_page("", (), articles)
    made = json.dumps(search.index(articles), ensure_ascii=False, separators=(",", ":"))
    return replace(page, data={"search-index": made}, scripts=("lunr.min.js", "search.js"))


def _static_event(articles: Sequence[kb.Article]) -> Page:
    """Return the page that shows a document; reading a log needs the decoder, which this copy does not have."""
    words = facts.load()["page"]
    data = {"words": words, "articles": {item.id: item.title for item in articles}}
    return Page(
        title="This event - allocfail",
        summary="What a document of allocfail says of one memory-allocation failure.",
        here="event.html",
        layout="event-page",
        main=(
            '<main id="content"><h1>This event</h1><p>These pages were written to files, so they show decoded '
            "documents only: paste one from an index, or what <code>allocfail decode</code> prints. For a log, "
            "<code>allocfail decode --format html LOG</code> writes a page of its own, and "
            "<code>allocfail kb serve</code> reads logs here.</p>"
            '<div class="form"><label for="log">Documents as JSON</label>'
            '<textarea id="log" rows="8" spellcheck="false"></textarea>'
            '<div class="row"><div><label for="file">Or a file</label><input id="file" type="file"></div></div></div>'
            '<div id="event"></div></main>'
        ),
        data={"event-words": json.dumps(data, ensure_ascii=False, separators=(",", ":"))},
        scripts=("event.js",),
    )


def _static_gfp() -> Page:
    """Return every single bit by kernel: a mask is the sum of its bits."""
    rows = []
    for bit in range(_GFP_BITS):
        decoded = gfp.decode(hex(1 << bit))
        named: dict[str, list[str]] = {}
        for reading in decoded.candidates:
            for flag in reading.flags:
                named.setdefault(flag, []).append(reading.releases)
        for flag in () if named else decoded.flags:
            named[flag] = ["every kernel"]
        said = [f"<code>{escape(flag)}</code> {escape(', '.join(releases))}" for flag, releases in named.items()]
        if said:
            rows.append((f"<code>{hex(1 << bit)}</code>", "<br>".join(said)))
    return Page(
        title="GFP masks - allocfail",
        summary="What each bit of an allocation's mask means, by kernel.",
        here="gfp.html",
        main=(
            '<main id="content"><h1>GFP masks, bit by bit</h1><p>A mask is the sum of its bits. '
            "<code>allocfail gfp MASK --kernel RELEASE</code> takes one apart, and so does this page where "
            '<code>allocfail kb serve</code> serves it. What the flags mean: <a href="gfp-flags.html">GFP flags and '
            f"masks</a>.</p>{table(('Bit', 'Name and kernels'), rows)}</main>"
        ),
    )


def _static_zone_reclaim() -> Page:
    """Return every value from 0 to 7 taken apart, for every kernel."""
    parts = "".join(setting(zone_reclaim.explain_all(value)) for value in range(8))
    return Page(
        title="vm.zone_reclaim_mode - allocfail",
        summary="What each value of vm.zone_reclaim_mode does, by kernel.",
        here="zone-reclaim.html",
        main=(
            '<main id="content"><h1>vm.zone_reclaim_mode, value by value</h1><p>When it can help, and when not: '
            f'<a href="zone-reclaim-mode.html">the article</a>.</p>{parts}</main>'
        ),
    )


def table(titles: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a table of cells that are HTML already; each names its column, for screens that show rows as lists."""
    head = "".join(f"<th>{title}</th>" for title in titles)
    body = "".join(
        "<tr>"
        + "".join(f'<td data-label="{title}">{cell}</td>' for title, cell in zip(titles, row, strict=True))
        + "</tr>"
        for row in rows
    )
    return (
        '<div class="table" role="region" aria-label="Table" tabindex="0"><table>'
        f"<thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>"
    )


def setting(found: dict[str, Any]) -> str:
    """Return a value of vm.zone_reclaim_mode, as :mod:`zone_reclaim` takes it apart, as HTML."""
    several = "readings" in found
    out = [f"<h2>vm.zone_reclaim_mode = {found['value']}</h2>"]
    for reading in found["readings"] if several else [found]:
        rows = [
            (f"{bit['value']}: <code>{escape(bit['name'])}</code>", escape(bit["does"]), escape(bit["costs"]))
            for bit in reading["bits"]
        ]
        bits = table(("Bit", "Does", "Costs"), rows) if rows else ""
        releases = reading["releases"] if several else found["kernel"]
        out.append(f"<h3>On {escape(releases)}</h3>{bits}{_notes(reading['notes'])}")
    more = list(found["notes"]) if several else []
    if "default" in found:
        more.append(f"after boot: {found['default']}")
    return "".join(out) + _notes(more)


def _notes(notes: Sequence[str]) -> str:
    return f"<ul>{''.join(f'<li>{escape(note)}</li>' for note in notes)}</ul>" if notes else ""


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
