"""What is around the text of every page: head, navigation, style, and the policy of what a browser may do with it.

A page is whole in itself: style and scripts stand in it and are allowed by hash, nothing is fetched from elsewhere.
"""

from __future__ import annotations

import base64
import hashlib
import html
import re
from dataclasses import dataclass, field
from functools import cache
from string import Template
from urllib.parse import quote

from allocfail.content import content_path

__all__ = [
    "NAVIGATION",
    "PARAGRAPH",
    "READ_IN",
    "SECURITY_HEADERS",
    "TITLE",
    "Page",
    "breakable",
    "escape",
    "policy",
    "source",
]

_SITE = "kb/site"

#: Sent with each answer; the policy also stands in each page, for copies that a plain web server hands out.
SECURITY_HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cache-Control": "no-cache",
}
#: At the foot of pages with claims.
READ_IN = "Kernel releases in brackets name the tree in which a statement was read."
#: The pages beside the articles, as every page links to them.
NAVIGATION = {
    "search.html": "Search",
    "event.html": "Read a log",
    "gfp.html": "GFP masks",
    "zone-reclaim.html": "zone_reclaim_mode",
}

_ICON = (
    "<svg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 16 16'>"
    "<rect width='16' height='16' rx='3' fill='#0b5a8a'/>"
    "<path d='M3 3h4v4H3zM9 3h4v4H9zM3 9h4v4H3z' fill='#fff'/></svg>"
)


def escape(value: object) -> str:
    """Return ``value`` as text for HTML, in attributes too; what would hide or reorder text shows as U+FFFD."""
    from allocfail.terminal import printable  # noqa: PLC0415 - as in every room

    return html.escape(printable(str(value)), quote=True)


#: The longest word that fits into a line of a paragraph on a phone, and into one of a title or a table's cell.
PARAGRAPH, TITLE = 28, 15

_WORD = re.compile(r"\S+")
_LIST = re.compile(r"(?<=[A-Za-z0-9)])[|,](?=[\w(])")
_PART = re.compile(r"[^|,<>]+")
_NAME = re.compile(r"(?<=[A-Za-z0-9)])(?:_+|/)(?=\w)")


def breakable(text: str, fits: int = PARAGRAPH) -> str:
    """Let lines end in words of escaped text that are longer than ``fits``; copies of it have no mark.

    ``GFP_NOFS|<wbr>__GFP_NOWARN``; names that are themselves too long also behind ``_`` and ``/``.
    """

    def named(part: re.Match[str]) -> str:
        return part[0] if len(part[0]) <= fits else _NAME.sub(r"\g<0><wbr>", part[0])

    def parted(word: re.Match[str]) -> str:
        return word[0] if len(word[0]) <= fits else _LIST.sub(r"\g<0><wbr>", _PART.sub(named, word[0]))

    return _WORD.sub(parted, text)


@dataclass(frozen=True, slots=True)
class Page:
    """One page of the site; ``main`` is HTML, everything else is text."""

    title: str
    summary: str
    main: str
    lang: str = "en"
    layout: str = "home-page"
    """A class of ``kb/site/style.css``: ``home-page`` or ``article-page``."""
    top: str = ""
    """HTML beside the navigation."""
    here: str = ""
    """The page's own name among :data:`NAVIGATION`, if it is there."""
    footer: str = READ_IN
    data: dict[str, str] = field(default_factory=dict)
    """JSON for the scripts, by the id of its element."""
    scripts: tuple[str, ...] = ()
    """Names of files in ``kb/site``, in the order in which they run."""
    alone: bool = False
    """Whether the page is a file by itself: no navigation, no forms."""

    def encode(self) -> bytes:
        """Return the page as UTF-8."""
        scripts = [source(name) for name in self.scripts]
        data = {name: text.replace("<", "\\u003c") for name, text in self.data.items()}
        blocks = [f'<script type="application/json" id="{name}">{text}</script>\n' for name, text in data.items()]
        blocks += [f"<script>{text}</script>\n" for text in scripts]
        values = {
            "lang": self.lang,
            "policy": escape(policy(scripts, forms=not self.alone)),
            "summary": escape(self.summary),
            "title": escape(self.title),
            "icon": "data:image/svg+xml," + quote(_ICON, safe=" ='/:#()").replace("#", "%23"),
            "style": source("style.css"),
            "layout": self.layout,
            "top": "" if self.alone else f"{_navigation(self.here)}{self.top}",
            "home": '<span class="home">allocfail</span>'
            if self.alone
            else '<a class="home" href="index.html">allocfail</a>',
            "main": self.main,
            "footer": escape(self.footer),
            "scripts": "".join(blocks),
        }
        return (Template(source("page.html")).substitute(values) + "\n").encode("utf-8", "replace")


def _navigation(here: str) -> str:
    current = ' aria-current="page"'
    links = "".join(
        f'<a href="{name}"{current if name == here else ""}>{title}</a>' for name, title in NAVIGATION.items()
    )
    return f'<nav class="tools" aria-label="Tools">{links}</nav>'


@cache
def source(name: str) -> str:
    """Return a file of ``kb/site``."""
    return content_path(f"{_SITE}/{name}").read_text(encoding="utf-8").strip()


def _hash(script: str) -> str:
    return "'sha256-" + base64.b64encode(hashlib.sha256(script.encode()).digest()).decode() + "'"


def policy(scripts: list[str] | None = None, *, forms: bool = True) -> str:
    """Return the Content-Security-Policy of a page that runs ``scripts`` (their text) and nothing else."""
    own = "'self'" if forms else "'none'"
    allowed = " ".join(_hash(script) for script in scripts or ()) or "'none'"
    return (
        f"default-src 'none'; style-src {_hash(source('style.css'))}; script-src {allowed}; img-src data:; "
        f"base-uri 'none'; form-action {own}"
    )
