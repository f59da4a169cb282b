"""The server: its pages, what it refuses, and who cannot block it."""

from __future__ import annotations

import contextlib
import http.client
import os
import re
import resource
import signal
import socket
import subprocess
import sys
import threading
import time
from typing import TYPE_CHECKING
from urllib.parse import quote, urlencode

import pytest

from allocfail.articles import serve, shell, site
from allocfail.content import content_path
from allocfail.errors import AllocfailError, InputError
from allocfail.report import pages

if TYPE_CHECKING:
    from collections.abc import Iterator

LOG = content_path("samples/svn3-centos6.log").read_bytes()


@pytest.fixture
def server() -> Iterator[serve.Server]:
    with serve.Server("127.0.0.1", 0, made=pages.made(), names=["kb.example"]) as running:
        thread = threading.Thread(target=running.serve_forever)
        thread.start()
        yield running
        running.shutdown()
        thread.join(20)
        assert not thread.is_alive()


def ask(
    server: serve.Server, method: str, path: str, body: bytes = b"", **headers: str
) -> tuple[int, dict[str, str], bytes]:
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=20)
    try:
        connection.request(
            method, path, body or None, {name.replace("_", "-"): value for name, value in headers.items()}
        )
        response = connection.getresponse()
        return response.status, dict(response.getheaders()), response.read()
    finally:
        connection.close()


def form(**fields: str) -> tuple[bytes, dict[str, str]]:
    return urlencode(fields).encode(), {"Content_Type": "application/x-www-form-urlencoded"}


def raw(server: serve.Server, request: bytes) -> bytes:
    with socket.create_connection(("127.0.0.1", server.port), timeout=20) as client:
        client.sendall(request)
        got = b""
        # What the server has not read when it closes resets the connection, behind the answer.
        with contextlib.suppress(ConnectionResetError):
            while piece := client.recv(65536):
                got += piece
        return got


def assert_strict(headers: dict[str, str]) -> None:
    policy = headers["Content-Security-Policy"]
    assert "default-src 'none'" in policy
    assert "script-src 'none'" in policy
    assert "frame-ancestors 'none'" in policy
    assert "unsafe" not in policy
    for name, value in shell.SECURITY_HEADERS.items():
        assert headers[name] == value
    assert headers["Server"] == "allocfail"


def test_pages(server: serve.Server) -> None:
    for name, page in site.served().items():
        status, headers, body = ask(server, "GET", f"/{name}?x=1")
        assert (status, body) == (200, page.encode())
        assert headers["Content-Type"] == "text/html; charset=utf-8"
        assert b"<script" not in body
        assert_strict(headers)
    assert ask(server, "GET", "/")[2] == site.served()["index.html"].encode()
    head = ask(server, "HEAD", "/")
    assert (head[0], head[2]) == (200, b"")


@pytest.mark.parametrize(
    "path",
    [
        "/../pyproject.toml",
        "/%2e%2e/pyproject.toml",
        "//etc/passwd",
        "/.allocfail-kb.json",
        "/index.html/",
        "/%ff",
        "/%00",
        "/zone-reclaim-mode",
        "*",
    ],
)
def test_nothing_else_is_served(server: serve.Server, path: str) -> None:
    status, headers, body = ask(server, "GET", path)
    assert status == 404
    assert b"<h1>Not found</h1>" in body
    assert b'href="/search.html"' in body
    assert_strict(headers)


@pytest.mark.parametrize(
    ("request_", "status"),
    [
        (b"GET / HTTP/1.1\r\nHost: localhost\r\nbroken\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: localhost\r\nX: " + b"a" * 70_000 + b"\r\n\r\n", 431),
        (b"POST /event.html HTTP/1.1\r\nHost: localhost\r\nContent-Length: 99999999\r\n\r\n", 413),
        (b"POST /event.html HTTP/1.1\r\nHost: localhost\r\nContent-Length: x\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nConnection: close\r\n\r\n", 421),
        (b"GET / HTTP/1.1\r\nHost: evil.example\r\nConnection: close\r\n\r\n", 421),
        (b"GET / HTTP/1.1\r\nHost: 127.0.0.1.evil.example\r\nConnection: close\r\n\r\n", 421),
        (b"PUT / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n", 405),
        (b"TRACE / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n", 405),
        (b"POST / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Length: 0\r\n\r\n", 405),
        (b"GET http://[/ HTTP/1.0\r\n\r\n", 400),
        (b"GET / HTTP/1.0\r\n\r\n", 200),
    ],
)
def test_every_answer_has_the_policy(server: serve.Server, request_: bytes, status: int) -> None:
    head, _, _ = raw(server, request_).partition(b"\r\n\r\n")
    assert int(head.split()[1]) == status
    headers = dict(line.split(": ", 1) for line in head.decode().split("\r\n")[1:])
    assert_strict(headers)


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1:8765", "[::1]:80", "KB.example", "kb.example.", "10.1.2.3"])
def test_addresses_and_allowed_names_are_answered(server: serve.Server, host: str) -> None:
    assert ask(server, "GET", "/", Host=host)[0] == 200


def test_an_error_of_a_page_is_an_answer_and_one_line(capfd: pytest.CaptureFixture[str]) -> None:
    def broken(request: serve.Request) -> serve.Answer:
        raise RuntimeError(f"secret {request}")

    with serve.Server("127.0.0.1", 0, made={"broken.html": broken}) as running:
        thread = threading.Thread(target=running.serve_forever)
        thread.start()
        status, headers, body = ask(running, "GET", "/broken.html")
        running.shutdown()
        thread.join()
    assert status == 500
    assert b"secret" not in body
    assert_strict(headers)
    assert capfd.readouterr().err == "allocfail: could not answer a request: RuntimeError\n"


def test_search_without_scripts(server: serve.Server) -> None:
    status, headers, body = ask(server, "GET", "/search.html?q=" + quote("fragmention <b>"))
    text = body.decode()
    assert status == 200
    assert_strict(headers)
    assert "<script" not in text
    assert 'value="fragmention &lt;b&gt;"' in text
    first = '<ol class="list hits" id="hits"><li lang="en"><a href="high-order-fragmentation.html">'
    assert first in text
    assert "Nothing found" in ask(server, "GET", "/search.html?q=xyzzyqq")[2].decode()
    assert '<ol class="list hits" id="hits"></ol>' in ask(server, "GET", "/search.html")[2].decode()
    chinese = ask(server, "GET", "/search.html?q=" + quote("页面分配失败"))[2].decode()
    assert "reading-a-page-allocation-failure-zh.html" in chinese


def test_a_log_becomes_this_event(server: serve.Server) -> None:
    body, headers = form(log=LOG.decode())
    status, got, page = ask(server, "POST", "/event.html", body, **headers)
    text = page.decode()
    assert status == 200
    assert_strict(got)
    assert "<h1>2 memory-allocation failures</h1>" in text or "sk_prot_alloc" in text.split("</h1>")[0]
    assert "Do not set vm.zone_reclaim_mode: it cannot act here." in text
    assert "href='zone-reclaim-mode.html#cannot-act'" in text
    assert "<script" not in text
    plain = ask(server, "POST", "/event.html", LOG, Content_Type="text/plain")
    assert (plain[0], plain[2]) == (status, page)


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"log": "nothing here"}, "No memory-allocation failure in this text"),
        ({"log": "x", "kernel": "<b>"}, "not a kernel release: &lt;b&gt;"),
        ({"log": '{"allocfail": {"kb": 1}}'}, "No memory-allocation failure"),
    ],
)
def test_a_text_without_an_event_is_said_so(server: serve.Server, fields: dict[str, str], said: str) -> None:
    body, headers = form(**fields)
    status, got, page = ask(server, "POST", "/event.html", body, **headers)
    assert status == 422
    assert said in page.decode()
    assert "<textarea" in page.decode()
    assert_strict(got)


def test_forms_of_other_sites_are_refused(server: serve.Server) -> None:
    body, headers = form(log=LOG.decode())
    assert ask(server, "POST", "/event.html", body, **headers, Sec_Fetch_Site="cross-site")[0] == 403
    assert ask(server, "POST", "/event.html", body, **headers, Sec_Fetch_Site="same-origin")[0] == 200


@pytest.mark.parametrize(
    ("path", "status", "said"),
    [
        ("/gfp.html", 200, "<form"),
        ("/gfp.html?mask=0x20&kernel=2.6.32-431.el6.x86_64", 200, "0x20 = GFP_ATOMIC"),
        ("/gfp.html?mask=0xa20", 200, "5.1-6.2"),
        ("/gfp.html?mask=zz", 422, "error"),
        ("/gfp.html?mask=0x20&kernel=%3Cscript%3E", 422, "not a kernel release: &lt;script&gt;"),
        ("/zone-reclaim.html", 200, "<form"),
        ("/zone-reclaim.html?value=1&kernel=5.8", 200, "writes dirty pages out"),
        ("/zone-reclaim.html?bit1=1&bit4=1", 200, "vm.zone_reclaim_mode = 5"),
        ("/zone-reclaim.html?value=-1", 422, "not a value of vm.zone_reclaim_mode"),
        ("/zone-reclaim.html?value=1&kernel=2.4.20", 422, "has no vm.zone_reclaim_mode"),
    ],
)
def test_the_tools(server: serve.Server, path: str, status: int, said: str) -> None:
    got, headers, body = ask(server, "GET", path)
    assert got == status
    assert said in body.decode()
    assert_strict(headers)


def test_too_many_fields_are_refused(server: serve.Server) -> None:
    assert ask(server, "GET", "/gfp.html?" + "&".join(f"a{number}=1" for number in range(50)))[0] == 400


def test_idle_connections_do_not_block_it() -> None:
    """129 connections that say nothing, where the process may open 128 files."""
    limit = lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (128, 128))  # noqa: E731 - one line
    process = subprocess.Popen(
        [sys.executable, "-m", "allocfail", "kb", "serve", "--port", "0"],
        stderr=subprocess.PIPE,
        preexec_fn=limit,  # noqa: PLW1509 - no thread is started before
    )
    idle = []
    try:
        assert process.stderr is not None
        port = int(re.findall(rb":([0-9]+)/", process.stderr.readline())[0])
        idle = [socket.create_connection(("127.0.0.1", port), timeout=20) for _ in range(129)]
        time.sleep(1)
        began = time.monotonic()
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
        connection.request("GET", "/")
        assert connection.getresponse().status == 200
        assert time.monotonic() - began < 10
        connection.close()
    finally:
        for client in idle:
            client.close()
        process.kill()
        process.wait()
        if process.stderr is not None:
            process.stderr.close()


def test_a_slow_client_is_cut_after_a_total_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """A byte now and then keeps a connection busy, not alive."""
    monkeypatch.setattr(serve, "TOTAL_SECONDS", 3)
    with serve.Server("127.0.0.1", 0) as running:
        thread = threading.Thread(target=running.serve_forever)
        thread.start()
        began = time.monotonic()
        with socket.create_connection(("127.0.0.1", running.port), timeout=1) as client:
            client.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\nX: ")
            while time.monotonic() - began < 30:
                try:
                    client.sendall(b"a")
                    time.sleep(0.2)
                except OSError:
                    break
        cut = time.monotonic() - began
        running.shutdown()
        thread.join()
    assert 2 < cut < 15


def test_a_client_that_does_not_read_is_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nor does it keep a thread: the answer is larger than what the server holds for a client."""
    monkeypatch.setattr(serve, "TOTAL_SECONDS", 3)
    big = serve.Answer(b"x" * 30_000_000)
    with serve.Server("127.0.0.1", 0, made={"big.html": lambda _: big}) as running:
        thread = threading.Thread(target=running.serve_forever)
        thread.start()
        clients = [socket.create_connection(("127.0.0.1", running.port), timeout=20) for _ in range(serve.THREADS + 1)]
        for client in clients:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            client.sendall(b"GET /big.html HTTP/1.1\r\nHost: localhost\r\n\r\n")
        began = time.monotonic()
        while time.monotonic() - began < 2 or (running.connections and time.monotonic() - began < 40):
            time.sleep(0.1)
        assert not running.connections
        assert ask(running, "GET", "/")[0] == 200
        for client in clients:
            client.close()
        running.shutdown()
        thread.join()


def test_a_taken_port_is_one_line(server: serve.Server) -> None:
    with pytest.raises(AllocfailError, match=f"port {server.port}: address already in use"):
        serve.Server("127.0.0.1", server.port)
    result = subprocess.run(
        [sys.executable, "-m", "allocfail", "kb", "serve", "--port", str(server.port)],
        capture_output=True,
        check=False,
        timeout=60,
    )
    assert result.returncode == 1
    assert result.stderr.count(b"\n") == 1
    assert b"--port" in result.stderr


def test_a_host_that_is_none_is_one_line() -> None:
    with pytest.raises(InputError, match="no such address"):
        serve.Server("no such host", 0)


@pytest.mark.parametrize(("host", "lines"), [("127.0.0.1", 1), ("0.0.0.0", 2)])  # noqa: S104 - that is what is tested
def test_interrupt_ends_serving_cleanly_and_open_addresses_are_named(host: str, lines: int) -> None:
    process = subprocess.Popen(
        [sys.executable, "-m", "allocfail", "kb", "serve", "--port", "0", "--host", host],
        stderr=subprocess.PIPE,
        start_new_session=True,
    )
    try:
        assert process.stderr is not None
        said = [process.stderr.readline() for _ in range(lines)]
        assert b"serving" in said[-1]
        assert (b"no password" in said[0]) == (lines > 1)
        os.kill(process.pid, signal.SIGINT)
        assert process.wait(20) == 130
        assert b"Traceback" not in process.stderr.read()
    finally:
        process.kill()
        process.wait()
        if process.stderr is not None:
            process.stderr.close()
