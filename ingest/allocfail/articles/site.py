"""The knowledge base as static pages: rendered, sanitised, written to a folder or served.

Pages are whole in themselves: style and script stand in them and are allowed by hash,
nothing is fetched from elsewhere.
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import html
import json
import os
import re
import socket
import tempfile
from collections import Counter
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from socketserver import TCPServer
from string import Template
from typing import TYPE_CHECKING
from urllib.parse import quote, unquote, urlsplit

from allocfail.articles import articles as kb
from allocfail.articles import search
from allocfail.articles.render import render
from allocfail.content import content_path
from allocfail.errors import AllocfailError, InputError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

__all__ = ["MANIFEST", "SECURITY_HEADERS", "Server", "build", "pages"]

#: The file that lists what a build wrote, so that the next one removes what is gone and nothing else.
MANIFEST = ".allocfail-kb.json"

_SITE = "kb/site"
_OWN = re.compile(r"[a-z0-9-]+\.html", re.ASCII)
#: Sent with each response; the policy also stands in the page, for copies that a plain web server hands out.
SECURITY_HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-cache",
}

_ICON = (
    "<svg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 16 16'>"
    "<rect width='16' height='16' rx='3' fill='#0b5a8a'/>"
    "<path d='M3 3h4v4H3zM9 3h4v4H9zM3 9h4v4H3z' fill='#fff'/></svg>"
)


def _source(name: str) -> str:
    return content_path(f"{_SITE}/{name}").read_text(encoding="utf-8").strip()


def _hash(text: str) -> str:
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()


def _policy(style: str, script: str) -> str:
    return (
        f"default-src 'none'; style-src '{_hash(style)}'; script-src '{_hash(script)}'; img-src data:; "
        "base-uri 'none'; form-action 'none'"
    )


def pages(articles: Sequence[kb.Article] | None = None) -> dict[str, bytes]:
    """Return the whole site: file name to UTF-8 HTML, ``index.html`` and one page an article."""
    found = kb.load() if articles is None else articles
    template, style, script = Template(_source("page.html")), _source("style.css"), _source("search.js")
    shared = {
        "style": style,
        "policy": html.escape(_policy(style, script), quote=True),
        "icon": "data:image/svg+xml," + quote(_ICON, safe=" ='/:#()").replace("#", "%23"),
    }

    def page(**values: str) -> bytes:
        return (template.substitute(shared | values) + "\n").encode()

    site = {"index.html": page(**_index(found, script))}
    for item in found:
        site[f"{item.id}.html"] = page(**_article(item, found))
    return site


#: What a page that does not speak English calls its parts.
_WORDS = {
    "en": {"contents": "On this page", "other": "In English"},
    "zh": {"contents": "本页内容", "other": "中文"},
}


def _languages(item: kb.Article, articles: Sequence[kb.Article]) -> str:
    """Return links to the same article in other languages."""
    original = item.translates or item.id
    return "".join(
        f'<a class="lang" href="{other.id}.html" hreflang="{other.lang}" lang="{other.lang}">'
        f"{_WORDS[other.lang]['other']}</a>"
        for other in articles
        if other is not item and original in {other.id, other.translates}
    )


def _article(item: kb.Article, articles: Sequence[kb.Article]) -> dict[str, str]:
    entries = "".join(
        f'<li><a href="#{heading.anchor}">{html.escape(heading.text)}</a></li>'
        for heading in item.headings
        if heading.level == 2
    )
    body = render(item.body)
    for heading in item.headings:
        if heading.level == 2:
            # A link beside each section's heading, so that a person can copy its address.
            start = body.find(f'<h2 id="{heading.anchor}">')
            end = body.find("</h2>", start)
            label = html.escape(f"Link to: {heading.text}", quote=True)
            link = f'<a class="here" href="#{heading.anchor}" aria-label="{label}">#</a>'
            body = body[:end] + link + body[end:]
    contents = _WORDS[item.lang]["contents"]
    return {
        "lang": item.lang,
        "title": html.escape(f"{item.title} - allocfail"),
        "summary": html.escape(item.summary, quote=True),
        "layout": "article-page",
        "top": _languages(item, articles),
        "main": (
            f'<div class="columns"><nav class="contents wide" aria-label="Sections"><strong>{contents}</strong>'
            f'<ol>{entries}</ol></nav><main id="content"><h1>{html.escape(item.title)}</h1>'
            f'<p class="lead">{html.escape(item.summary)}</p>'
            f'<details class="contents narrow"><summary>{contents}</summary><ol>{entries}</ol></details>'
            f"{body}</main></div>"
        ),
        "source": html.escape(f"{kb.ARTICLES}/{item.id}.md"),
        "scripts": "",
    }


def _index(articles: Sequence[kb.Article], script: str) -> dict[str, str]:
    entries = "".join(
        f'<li data-article="{item.id}" lang="{item.lang}"><a href="{item.id}.html">{html.escape(item.title)}</a>'
        f"<p>{html.escape(item.summary)}</p></li>"
        for item in sorted(articles, key=lambda item: item.title.lower())
    )
    index = {
        "weights": search.WEIGHTS,
        "cap": search.BODY_CAP,
        "articles": [
            {"id": item.id, "place": place, **{name: _capped(words) for name, words in search.search_fields(item).items()}}
            for place, item in enumerate(articles)
        ],
    }
    data = json.dumps(index, separators=(",", ":")).replace("<", "\\u003c")
    return {
        "lang": "en",
        "title": "allocfail knowledge base",
        "summary": "What Linux memory-allocation failures mean and what to do about them.",
        "layout": "home-page",
        "top": "",
        "main": (
            '<main id="content"><h1>Memory-allocation failures, explained</h1>'
            '<p class="lead">What the messages mean, what helps, and what only seems to.</p>'
            '<div class="find" id="find" hidden><label for="q">Search the articles</label>'
            '<input id="q" type="search" autocomplete="off" spellcheck="false" '
            'placeholder="order:1 GFP_ATOMIC"><p class="found" id="found" role="status"></p></div>'
            f'<ul class="list" id="list">{entries}</ul></main>'
        ),
        "source": html.escape(kb.ARTICLES),
        "scripts": f'<script type="application/json" id="articles">{data}</script>\n<script>{script}</script>\n',
    }


def _capped(words: list[str]) -> list[str]:
    """Keep at most :data:`search.BODY_CAP` of each word: more changes no score, and the page stays small."""
    return [word for word, count in Counter(words).items() for _ in range(min(count, search.BODY_CAP))]


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


class _Handler(BaseHTTPRequestHandler):
    """Hands out the pages that were built when the server started, and nothing else: it opens no file."""

    server: Server
    server_version = "allocfail"
    sys_version = ""
    timeout = 30  # seconds; a client that sends nothing must not hold its thread for ever

    def do_GET(self) -> None:
        self._answer(with_body=True)

    def do_HEAD(self) -> None:
        self._answer(with_body=False)

    def _answer(self, *, with_body: bool) -> None:
        try:
            path = unquote(urlsplit(self.path).path, errors="strict")
        except (ValueError, UnicodeDecodeError):
            path = ""
        content = self.server.site.get(path.removeprefix("/") or "index.html") if path.startswith("/") else None
        status = HTTPStatus.OK if content is not None else HTTPStatus.NOT_FOUND
        payload = content if content is not None else b"Not found.\n"
        self.send_response(status)
        for name, value in SECURITY_HEADERS.items():
            self.send_header(name, value)
        self.send_header("Content-Security-Policy", self.server.policy)
        kind = "text/html" if content is not None else "text/plain"
        self.send_header("Content-Type", f"{kind}; charset=utf-8")
        self.send_header("Content-Length", str(len(payload)))
        self.end_headers()
        if with_body:
            with contextlib.suppress(ConnectionError):
                self.wfile.write(payload)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the library's name
        """Say nothing: requests are not worth a line each, and their text is not to be trusted on a terminal."""


class Server(ThreadingHTTPServer):
    """Serves the site from memory; ``Server(host, port)`` listens, ``serve_forever`` answers."""

    daemon_threads = True
    allow_reuse_port = False  # a taken port is to be noticed, not shared

    def __init__(self, host: str, port: int, site: Mapping[str, bytes] | None = None) -> None:
        """Listen on ``host`` and ``port`` (0: any free one).

        Raises :class:`AllocfailError` where the port is taken or must not be used, :class:`InputError` where the host
        is no address of this machine.
        """
        self.site = dict(pages() if site is None else site)
        self.policy = _policy(_source("style.css"), _source("search.js")) + "; frame-ancestors 'none'"
        where = f"{kb.printable(host)} port {port}"
        try:
            found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
            self.address_family = found[0][0]
            super().__init__((host, port), _Handler)
        except (socket.gaierror, UnicodeError, OverflowError) as error:
            raise InputError(f"cannot listen on {where}: no such address") from error
        except OSError as error:
            reason = (error.strerror or "refused").lower()
            raise AllocfailError(f"cannot listen on {where}: {reason}; choose another with --port") from error

    def server_bind(self) -> None:
        """Bind without asking the resolver for this machine's name, which can take seconds."""
        TCPServer.server_bind(self)
        self.server_name, self.server_port = str(self.server_address[0]), int(self.server_address[1])

    @property
    def url(self) -> str:
        """The address to open in a browser, with the port that was chosen."""
        host, port = self.server_address[0], self.server_address[1]
        name = host.decode() if isinstance(host, (bytes, bytearray)) else str(host)
        return f"http://{f'[{name}]' if ':' in name else name}:{port}/"

    def handle_error(self, request: object, client_address: object) -> None:
        """Drop a connection that broke; a traceback on the terminal helps nobody."""
