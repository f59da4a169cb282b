"""A proxy in front of a real engine that does to requests what networks, proxies and busy clusters do to them."""

from __future__ import annotations

import json
import random
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any

import urllib3

if TYPE_CHECKING:
    from collections.abc import Iterator

#: What may happen to a request. ``lost``: it arrives and its answer does not. ``cut``: neither. ``half``: half of the
#: answer. ``part``: of a bulk request a part arrives, and the rest is refused document by document.
KINDS = ("lost", "cut", "half", "part", "429", "500", "503", "520", "page")


class Faults:
    """Which faults happen: at random but repeatable, with a probability, never more than ``most`` in a row."""

    def __init__(self, seed: int, *, probability: float = 0.4, kinds: tuple[str, ...] = KINDS, most: int = 3) -> None:
        self._random = random.Random(seed)
        self._probability = probability
        self._kinds = kinds
        self._most = most
        self._row = 0
        self._lock = threading.Lock()
        self.seen: dict[str, int] = {}

    def draw(self) -> str:
        with self._lock:
            if self._row >= self._most or self._random.random() > self._probability:
                self._row = 0
                return ""
            self._row += 1
            kind = self._random.choice(self._kinds)
            self.seen[kind] = self.seen.get(kind, 0) + 1
            return kind


def _refused(body: bytes, start: int) -> tuple[bytes, list[dict[str, Any]]]:
    """Part a bulk request: what is sent on, and what is answered for the rest."""
    lines = body.split(b"\n")
    rows: list[list[bytes]] = []
    for line in lines:
        if not line:
            continue
        if rows and len(rows[-1]) == 1:
            rows[-1].append(line)
        else:
            rows.append([line])
    kept, rest = rows[:start], rows[start:]
    refused = []
    for action, _ in rest:
        ((kind, meta),) = json.loads(action).items()
        error = {"type": "es_rejected_execution_exception", "reason": "queue full"}
        refused.append({kind: {"_index": meta.get("_index"), "_id": meta.get("_id"), "status": 429, "error": error}})
    return b"\n".join(line for row in kept for line in row) + b"\n", refused


@contextmanager
def proxy(url: str, faults: Faults) -> Iterator[str]:
    """Run one in front of ``url``; requests for ``/`` always pass."""
    pool = urllib3.PoolManager(retries=False, timeout=60)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def handle_one(self) -> None:
            body = self.rfile.read(int(self.headers.get("content-length", 0)))
            fault = faults.draw() if self.path != "/" else ""
            bulk = self.path.startswith("/_bulk")
            if fault == "cut":
                self.close_connection = True
                return
            if fault.isdigit():
                self.answer(int(fault), json.dumps({"error": {"type": "busy", "reason": "injected"}}).encode())
                return
            if fault == "page":
                self.answer(200, b"<html><body>Please log in</body></html>", "text/html")
                return
            refused: list[dict[str, Any]] = []
            if fault == "part" and bulk and body.count(b"\n") >= 4:
                body, refused = _refused(body, body.count(b"\n") // 4)
            headers = {
                name: value
                for name, value in self.headers.items()
                if name.lower() in {"content-type", "accept", "authorization"}
            }
            found = pool.request(self.command, url + self.path, body=body or None, headers=headers)
            data = found.data
            if refused:
                answer = json.loads(data)
                data = json.dumps({**answer, "errors": True, "items": [*answer["items"], *refused]}).encode()
            if fault == "lost":
                self.close_connection = True
                return
            if fault == "half":
                self.answer(found.status, data, cut=len(data) // 2)
                return
            self.answer(found.status, data, found.headers.get("content-type", "application/json"))

        do_GET = do_PUT = do_POST = do_DELETE = do_HEAD = handle_one  # noqa: N815 - http.server's names

        def answer(self, status: int, data: bytes, kind: str = "application/json", cut: int | None = None) -> None:
            self.send_response(status)
            self.send_header("content-type", kind)
            self.send_header("x-elastic-product", "Elasticsearch")
            self.send_header("content-length", str(len(data)))
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(data if cut is None else data[:cut])
            if cut is not None:
                self.close_connection = True

        def log_message(self, *_: object) -> None:
            """Be quiet."""

    class Server(ThreadingHTTPServer):
        daemon_threads = True

        def handle_error(self, *_: object) -> None:
            """Be quiet: clients go away while they are answered."""

    httpd = Server(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=httpd.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{httpd.server_port}"
    finally:
        httpd.shutdown()
        thread.join()
        httpd.server_close()
        pool.clear()
