"""What comes with HTTP 200 and is no answer, and a cluster that is not ready: one line on both clients, and awaited."""

from __future__ import annotations

import gzip
import json
import re
import socket
import subprocess
import sys
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

from allocfail.cluster.client import connect
from allocfail.cluster.connection import connection
from allocfail.cluster.errors import AnswerError, EngineError, UnreachableError
from allocfail.cluster.identity import Numbers
from allocfail.cluster.items import item
from allocfail.cluster.retry import Patience, answer, is_passing
from allocfail.cluster.ship import Shipper
from allocfail.decoder.options import Options
from allocfail.logs.events import decode_bytes
from clusters import ROOTS, server
from flaky import Flaky
from test_follow import log_of, names_in, names_of, ship_command

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from clusters import Answer

ACTIONS = [{"_op_type": "create", "_index": "x", "_id": "1", "_source": {}}]


@pytest.fixture(params=ROOTS)
def product(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def raw(body: bytes, *headers: str, length: int | None = None) -> bytes:
    """Return all bytes of an answer."""
    lines = ["HTTP/1.1 200 OK", "x-elastic-product: Elasticsearch", "connection: close", *headers]
    if not any(line.startswith("transfer-encoding") for line in lines):
        lines.append(f"content-length: {len(body) if length is None else length}")
    return "\r\n".join([*lines, "", ""]).encode() + body


@contextmanager
def wire(product: str, said: bytes) -> Iterator[str]:
    """Serve the product's own root, and for everything else bytes as they are."""
    root = raw(json.dumps(ROOTS[product]).encode(), "content-type: application/json")

    def talk(client: socket.socket) -> None:
        with client, client.makefile("rb") as file:
            first, size = file.readline(), 0
            while (line := file.readline()) not in {b"\r\n", b""}:
                if found := re.match(rb"(?i)content-length: *([0-9]+)", line):
                    size = int(found[1])
            file.read(size)
            client.sendall(root if first.split()[1:2] == [b"/"] else said)

    with socket.create_server(("127.0.0.1", 0)) as listening:

        def accept() -> None:
            while True:
                try:
                    client, _ = listening.accept()
                except OSError:
                    return
                talk(client)

        thread = threading.Thread(target=accept, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{listening.getsockname()[1]}"
        listening.shutdown(socket.SHUT_RDWR)
    thread.join(10)


JSON, HTML = "content-type: application/json", "content-type: text/html"
PAGE = b"<html><body>Please log in</body></html>"
CUT = b'{"errors": false, "items": [{"cre'
DAMAGED = "JSON that is cut off or damaged"


@pytest.mark.parametrize(
    ("said", "words"),
    [
        (raw(PAGE, HTML), "a page"),
        (raw(PAGE, JSON), "a page"),
        (raw(b"\n  " + PAGE), "a page"),
        (raw(CUT, JSON), DAMAGED),
        (raw(b'{"items": "\xff\xfe"}', JSON), DAMAGED),
        (raw(b"[" * 200_000, JSON), DAMAGED),
        (raw(b"", JSON), "nothing"),
        (raw(b""), "nothing"),
        (raw(b"OK", "content-type: text/plain"), "no JSON"),
        (raw(b"null", JSON), "no JSON"),
        (raw(b'"items"', JSON), "no JSON"),
        (raw(gzip.compress(PAGE), HTML), "no JSON"),
        (raw(b"{}", HTML), "JSON that is said to be something else"),
    ],
)
def test_what_is_no_answer_at_all(product: str, said: bytes, words: str) -> None:
    with wire(product, said) as url, connect(connection(url)) as cluster:
        for asked, ask in (
            ("POST /_bulk", lambda: cluster.bulk(ACTIONS)),
            ("GET /_x", lambda: cluster.request("GET", "/_x?pretty")),
        ):
            with pytest.raises(AnswerError) as caught:
                ask()
            expected = f"{url}: {asked}: the answer is not the cluster's: {words}; is a proxy in between?"
            assert str(caught.value) == expected
            assert is_passing(caught.value)


@pytest.mark.parametrize(
    ("said", "words"),
    [
        (raw(CUT, JSON, length=500), "the answer is cut off"),
        (raw(PAGE, HTML, length=500), "the answer is cut off"),
        (raw(b'1f\r\n{"errors": false,', JSON, "transfer-encoding: chunked"), "the answer is cut off"),
        (raw(b"no gzip", JSON, "content-encoding: gzip"), "the answer cannot be decompressed"),
    ],
)
def test_what_does_not_come_to_its_end(product: str, said: bytes, words: str) -> None:
    with wire(product, said) as url, connect(connection(url)) as cluster:
        for ask in (lambda: cluster.bulk(ACTIONS), lambda: cluster.request("GET", "/_x")):
            with pytest.raises(UnreachableError) as caught:
                ask()
            assert str(caught.value) == f"{url}: {words}"


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b"{}", "JSON without what became of each document"),
        (b"[]", "JSON without what became of each document"),
        (b"[1]", "JSON without what became of each document"),
        (b'{"items": [1]}', "JSON without what became of each document"),
        (b'{"items": null}', "JSON without what became of each document"),
        (b'{"items": [{"create": {"status": 1e999}}]}', "JSON without what became of each document"),
        (b'{"items": [{"create": {"status": "x"}}]}', "JSON without what became of each document"),
        (b'{"items": []}', "0 results for 1 documents"),
        (b'{"items": {}}', "0 results for 1 documents"),
    ],
)
def test_json_that_does_not_say_what_became_of_documents(product: str, body: bytes, words: str) -> None:
    with wire(product, raw(body, JSON)) as url, connect(connection(url)) as cluster:
        with pytest.raises(AnswerError) as caught:
            cluster.bulk(ACTIONS)
        assert str(caught.value) == (
            f"{url}: POST /_bulk: the answer is not the cluster's: {words}; is a proxy in between?"
        )
        if body.startswith(b"["):
            with pytest.raises(AnswerError, match="the answer is not the cluster's: a list"):
                answer(cluster, "GET", "/_x")


# -- shipping through it -----------------------------------------------------------------------------------------------

NO_ANSWERS = [
    PAGE,
    CUT,
    b"",
    b"{}",
    b"[]",
    b"null",
    b'{"indices": [1], "docs": [1], "items": [1], "x": 1, "template": 1}',
]


def once_each(flaky: Flaky, said: bytes) -> Callable[[str, str, bytes], Answer]:
    """Answer the first request of every kind with something else."""
    seen: set[str] = set()

    def reply(method: str, target: str, body: bytes) -> Answer:
        kind = re.split(r"[?/]x/|\?", target)[-1] if target != "/" else ""
        if kind and kind not in seen:
            seen.add(kind)
            return 200, said
        return flaky(method, target, body)

    return reply


@pytest.mark.parametrize("said", NO_ANSWERS)
def test_events_are_shipped_through_what_is_no_answer(product: str, said: bytes) -> None:
    flaky, lines = Flaky(product), list[str]()
    with server(once_each(flaky, said)) as url, connect(connection(url)) as cluster:
        shipper = Shipper(cluster, "x", patience=Patience(pause=0.01, say=lines.append))
        numbers = Numbers()
        done = shipper.send(item(event, numbers, "log") for event in decode_bytes(log_of(range(3)), Options(year=2026)))
    assert lines
    for line in lines:
        assert re.fullmatch(
            r"http://\S+: [A-Z]+ /\S+: the answer is not the cluster's: .*; trying again in \S+ s", line
        )
    assert (done.indexed + done.already, names_in(flaky)) == (3, names_of(range(3)))


#: What OpenSearch 2 and 3 answer while their security plugin reads its index, a proxy without a server, a busy cluster.
NOT_READY = [
    (503, b"OpenSearch Security not initialized.", "OpenSearch Security not initialized. (503)"),
    (502, b"<html><h1>502 Bad Gateway</h1></html>", "a page instead of an answer (502)"),
    (504, b"", "HTTP status (504)"),
    (429, b'{"error": {"type": "busy", "reason": "too much"}}', "too much (429 busy)"),
]


@pytest.mark.parametrize(("status", "said", "words"), NOT_READY)
def test_a_cluster_that_is_not_ready_is_said_to_be_what_it_is(status: int, said: bytes, words: str) -> None:
    with server(lambda *_: (status, said)) as url, pytest.raises(EngineError) as caught:
        connect(connection(url))
    assert str(caught.value) == f"{url}: GET /: {words}"
    assert is_passing(caught.value)


@pytest.mark.parametrize(("status", "said", "words"), NOT_READY)
def test_a_request_is_refused_in_the_same_words(product: str, status: int, said: bytes, words: str) -> None:
    def reply(_: str, target: str, __: bytes) -> Answer:
        return (200, ROOTS[product]) if target == "/" else (status, said)

    with server(reply) as url, connect(connection(url)) as cluster:
        for asked, ask in (
            ("POST /_bulk", lambda: cluster.bulk(ACTIONS)),
            ("GET /_x", lambda: cluster.request("GET", "/_x")),
        ):
            with pytest.raises(EngineError) as caught:
                ask()
            assert (str(caught.value), caught.value.status) == (f"{url}: {asked}: {words}", status)


def test_a_cluster_that_is_not_ready_is_waited_for(product: str, tmp_path: Path) -> None:
    flaky, refusals = Flaky(product), [NOT_READY[0][:2], NOT_READY[1][:2]]

    def reply(method: str, target: str, body: bytes) -> Answer:
        return refusals.pop(0) if target == "/" and refusals else flaky(method, target, body)

    log = tmp_path / "kern.log"
    log.write_bytes(log_of(range(3)))
    with server(reply) as url:
        done = subprocess.run(ship_command(url, str(log), "--year", "2026"), capture_output=True, check=False)
    assert done.returncode == 0, done.stderr
    first, second = done.stderr.decode().splitlines()
    assert first.endswith(": GET /: OpenSearch Security not initialized. (503); trying again in 1 s")
    assert second.endswith(": GET /: a page instead of an answer (502); trying again in 2 s")
    assert names_in(flaky) == names_of(range(3))


@pytest.mark.parametrize("command", ["install --index x", "status", "uninstall", "kb publish", "backfill x"])
def test_json_of_another_shape_is_no_traceback(product: str, command: str) -> None:
    with wire(product, raw(b'{"x": 1, "hits": 5}', JSON)) as url:
        run = [sys.executable, "-m", "allocfail", *command.split(), "--url", url, "--timeout", "5"]
        done = subprocess.run(run, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    # In front of it a command says how far it came.
    assert "Traceback" not in done.stderr
    assert done.stderr.splitlines()[-1].startswith(f"allocfail: {url}")
