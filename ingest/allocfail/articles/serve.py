"""The knowledge base served: bounded threads, connections and times, whoever is on the other side.

waitress receives whole requests in one thread and answers them in a few others. What it leaves open is closed here: a
connection ends after a total time however slowly it goes on, a full house makes room by dropping the one that has been
idle longest, and the answers that waitress gives by itself carry the same headers as ours.
"""

from __future__ import annotations

import ipaddress
import logging
import resource
import socket
import sys
from dataclasses import dataclass, field
from functools import partial
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, NamedTuple, Self
from urllib.parse import parse_qs

from waitress import wasyncore
from waitress.adjustments import Adjustments
from waitress.channel import HTTPChannel
from waitress.parser import HTTPRequestParser, ParsingError
from waitress.server import TcpWSGIServer
from waitress.task import ErrorTask

from allocfail.articles import articles as kb
from allocfail.articles import search, shell, site
from allocfail.errors import AllocfailError, InputError
from allocfail.terminal import printable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

__all__ = ["MOST_BYTES", "TOTAL_SECONDS", "Answer", "Request", "Server"]

#: Seconds that a connection may take in all, and that it may be idle.
TOTAL_SECONDS, IDLE_SECONDS = 60, 20
#: Bytes of a request's body: a log that is pasted.
MOST_BYTES = 8 * 1024 * 1024
#: Requests that are answered at the same time.
THREADS = 4
#: Connections at the same time, where the process may open so many files; the rest of them it needs itself.
MOST_CONNECTIONS, OTHER_FILES = 100, 32


class Request(NamedTuple):
    """What a dynamic page is asked."""

    method: str
    """``GET`` or ``POST``."""
    fields: Mapping[str, str]
    """The query's fields, or those of a form that was sent; the last of each name counts."""
    body: bytes
    """What was sent where that is no form."""


class Answer(NamedTuple):
    """A page and its status."""

    page: bytes
    status: HTTPStatus = HTTPStatus.OK
    kind: str = "text/html; charset=utf-8"


def _headers(kind: str, length: int) -> list[tuple[str, str]]:
    own = {
        "Content-Type": kind,
        "Content-Length": str(length),
        "Content-Security-Policy": shell.policy() + "; frame-ancestors 'none'",
    }
    return list((shell.SECURITY_HEADERS | own).items())


class _ErrorTask(ErrorTask):  # type: ignore[misc] # waitress has no types
    """What waitress answers by itself, with our headers."""

    def execute(self) -> None:
        status, headers, body = self.request.error.to_response("allocfail")
        self.status = status
        self.response_headers.extend(_headers(dict(headers)["Content-Type"], len(body)))
        self.set_close_on_finish()
        self.content_length = len(body)
        self.write(body)


class _Parser(HTTPRequestParser):  # type: ignore[misc] # as above
    """waitress's parser, for which an address such as ``http://[/`` is a bad request too."""

    def parse_header(self, header_plus: bytes) -> None:
        try:
            super().parse_header(header_plus)
        except ValueError as error:
            raise ParsingError("Bad address") from error


class _Channel(HTTPChannel):  # type: ignore[misc] # as above
    error_task_class = _ErrorTask
    parser_class = _Parser


class _Listener(TcpWSGIServer):  # type: ignore[misc] # as above
    """waitress's server, which drops connections that take too long or too much room."""

    channel_class = _Channel
    room = MOST_CONNECTIONS

    def readable(self) -> bool:
        idle = sorted(
            (channel for channel in self.active_channels.values() if not channel.requests),
            key=lambda channel: channel.last_activity,
        )
        for channel in idle[: max(0, len(self.active_channels) - self.room + 1)]:
            channel.handle_close()
        return bool(super().readable())

    def maintenance(self, now: float) -> None:
        for channel in list(self.active_channels.values()):
            waited, age = now - channel.last_activity, now - channel.creation_time
            # A request that is being answered is left alone, unless its client does not take the answer.
            stuck = not channel.requests or channel.total_outbufs_len
            if stuck and (waited > IDLE_SECONDS or age > TOTAL_SECONDS):
                channel.handle_close()


@dataclass
class _Application:
    """The WSGI application: pages from memory and a few that are made; it opens no file."""

    pages: Mapping[str, bytes]
    made: Mapping[str, Callable[[Request], Answer]]
    names: frozenset[str] = field(default_factory=frozenset)

    def __call__(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        try:
            answer = self._answer(environ)
        except AllocfailError as error:
            answer = _said(HTTPStatus.BAD_REQUEST, str(error))
        except Exception as error:  # noqa: BLE001 - whatever it is, the client gets an answer and the operator a line
            sys.stderr.write(f"allocfail: could not answer a request: {type(error).__name__}\n")
            answer = _said(HTTPStatus.INTERNAL_SERVER_ERROR, "This could not be answered.")
        headers = _headers(answer.kind, len(answer.page))
        if answer.status == HTTPStatus.METHOD_NOT_ALLOWED:
            headers.append(("Allow", "GET, HEAD, POST"))
        start_response(f"{answer.status.value} {answer.status.phrase}", headers)
        return [] if environ["REQUEST_METHOD"] == "HEAD" else [answer.page]

    def _answer(self, environ: dict[str, Any]) -> Answer:  # noqa: PLR0911 - a return for each address
        if not self._is_meant(environ):
            return _said(HTTPStatus.MISDIRECTED_REQUEST, "This server goes by another name; see --allow-host.")
        path = environ["PATH_INFO"].encode("latin-1").decode("utf-8", "replace")
        name = path.removeprefix("/") or "index.html"
        method = environ["REQUEST_METHOD"]
        if method not in {"GET", "HEAD", "POST"}:
            return _said(HTTPStatus.METHOD_NOT_ALLOWED, "Only GET, HEAD and POST.")
        if method == "POST" and environ.get("HTTP_SEC_FETCH_SITE", "none") not in {"same-origin", "none"}:
            return _said(HTTPStatus.FORBIDDEN, "Forms of other sites are not answered.")
        if path.startswith("/") and name in self.made:
            return self.made[name](_request(environ, "GET" if method == "HEAD" else method))
        page = self.pages.get(name) if path.startswith("/") else None
        if page is None:
            return _not_found()
        if method == "POST":
            return _said(HTTPStatus.METHOD_NOT_ALLOWED, "This page takes nothing.")
        return Answer(page)

    def _is_meant(self, environ: dict[str, Any]) -> bool:
        """Whether the request asks for this server: a page elsewhere could point a name of its own at our address."""
        host = environ.get("HTTP_HOST")
        if host is None:
            return bool(environ["SERVER_PROTOCOL"] == "HTTP/1.0")
        name = host.rpartition(":")[0] if host.rpartition(":")[2].isdigit() and not host.endswith("]") else host
        name = name.lower().rstrip(".")
        if name in self.names:
            return True
        try:
            ipaddress.ip_address(name.removeprefix("[").removesuffix("]"))
        except ValueError:
            return False
        return True  # an address cannot be pointed anywhere else


def _said(status: HTTPStatus, text: str) -> Answer:
    return Answer(f"{text}\n".encode("utf-8", "replace"), status, "text/plain; charset=utf-8")


def _not_found() -> Answer:
    """Answer for an address that is none, as an old link may have it: with a way on."""
    page = shell.Page(
        title="Not found - allocfail",
        summary="There is no such page.",
        here="",
        layout="home-page",
        main='<main id="content"><h1>Not found</h1><p>There is no page at this address. '
        '<a href="/index.html">All articles</a>, <a href="/search.html">search</a>.</p></main>',
    )
    return Answer(page.encode(), HTTPStatus.NOT_FOUND)


def _request(environ: dict[str, Any], method: str) -> Request:
    body = environ["wsgi.input"].read() if method == "POST" else b""
    kind = environ.get("CONTENT_TYPE", "").partition(";")[0].strip().lower()
    coded = environ.get("QUERY_STRING", "")
    if kind == "application/x-www-form-urlencoded":
        coded, body = body.decode("utf-8", "replace"), b""
    try:
        fields = parse_qs(coded, keep_blank_values=True, max_num_fields=20, errors="replace")
    except ValueError as error:
        raise InputError("too many fields") from error
    return Request(method, {name: values[-1] for name, values in fields.items()}, body)


def _search(articles: Sequence[kb.Article], request: Request) -> Answer:
    question = request.fields.get("q", "")
    hits = search.engine().search(question) if question.strip() else []
    return Answer(site.search_page(question, hits, articles).encode())


class Server:
    """Serves the site; ``Server(host, port)`` listens, ``serve_forever`` answers until ``shutdown``."""

    def __init__(
        self,
        host: str,
        port: int,
        *,
        made: Mapping[str, Callable[[Request], Answer]] | None = None,
        names: Iterable[str] = (),
    ) -> None:
        """Listen on ``host`` and ``port`` (0: any free one).

        ``made`` are pages that are made for each request, by name; ``names`` the host names, beside that of ``host``
        and addresses, by which clients may ask for this server. Raises :class:`AllocfailError` where the port is taken
        or must not be used, :class:`InputError` where the host is no address of this machine.
        """
        articles = kb.load()
        self._made = {"search.html": partial(_search, articles)} | dict(made or {})
        self._pages = {name: page.encode() for name, page in site.served(articles).items() if name not in self._made}
        names = {name.lower().rstrip(".") for name in (host, "localhost", *names)}
        logging.getLogger("waitress").addHandler(logging.NullHandler())
        logging.getLogger("waitress").propagate = False
        listening = _listen(host, port)
        most = min(MOST_CONNECTIONS, max(8, resource.getrlimit(resource.RLIMIT_NOFILE)[0] - OTHER_FILES))
        settings = Adjustments(
            sockets=[listening],
            threads=THREADS,
            connection_limit=most + OTHER_FILES,
            channel_timeout=IDLE_SECONDS,
            cleanup_interval=1,
            max_request_body_size=MOST_BYTES,
            max_request_header_size=32 * 1024,
            ident="allocfail",
            expose_tracebacks=False,
            asyncore_use_poll=True,
        )
        self._map: dict[int, Any] = {}
        self._listener = _Listener(
            _Application(self._pages, self._made, frozenset(names)),
            map=self._map,
            _sock=listening,
            adj=settings,
            sockinfo=(listening.family, listening.type, listening.proto, listening.getsockname()),
            bind_socket=False,
        )
        self._listener.room = most
        self.host, self.port = str(listening.getsockname()[0]), int(listening.getsockname()[1])
        self._ended = False

    def __len__(self) -> int:
        """Return the number of pages."""
        return len(self._pages) + len(self._made)

    def __enter__(self) -> Self:
        """Return the server, which listens already."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close every connection."""
        self._listener.task_dispatcher.shutdown(timeout=1)
        wasyncore.close_all(self._map)

    @property
    def url(self) -> str:
        """The address to open in a browser, with the port that was chosen."""
        return f"http://{f'[{self.host}]' if ':' in self.host else self.host}:{self.port}/"

    @property
    def connections(self) -> int:
        """How many clients are connected."""
        return len(self._listener.active_channels)

    @property
    def open_to_others(self) -> bool:
        """Whether other machines may reach the address."""
        return not ipaddress.ip_address(self.host.partition("%")[0]).is_loopback

    def serve_forever(self) -> None:
        """Answer requests until :meth:`shutdown` is called from another thread."""
        while not self._ended:
            wasyncore.loop(timeout=1, map=self._map, count=1, use_poll=True)

    def shutdown(self) -> None:
        """Let :meth:`serve_forever` return."""
        self._ended = True
        self._listener.pull_trigger()


def _listen(host: str, port: int) -> socket.socket:
    where = f"{printable(host)} port {port}"
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        family, kind, protocol, _, address = found[0]
        listening = socket.socket(family, kind, protocol)
    except (socket.gaierror, UnicodeError, OverflowError) as error:
        raise InputError(f"cannot listen on {where}: no such address") from error
    try:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind(address)
    except OSError as error:
        listening.close()
        reason = (error.strerror or "refused").lower()
        raise AllocfailError(f"cannot listen on {where}: {reason}; choose another with --port") from error
    return listening
