"""The static pages: safe whatever an article holds, written and served without touching anything else."""

from __future__ import annotations

import base64
import hashlib
import html
import http.client
import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
from typing import TYPE_CHECKING

import pytest

from allocfail.articles import articles as kb
from allocfail.articles import site
from allocfail.errors import AllocfailError, InputError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

HOSTILE = """\
## <img src=x onerror=alert(1)> {#here onclick=alert(2) style=color:red}

<script>alert(3)</script> <svg/onload=alert(4)> <iframe src="//evil"></iframe>

<div onclick="alert(5)">block</div>

[a](javascript:alert(6)) [b](JaVaScRiPt:alert(7)) [c](data:text/html,x) [d](vbscript:x) [e](java&#10;script:alert(8))
[f](<javascript:alert(9)>) <javascript:alert(10)> [g]( javascript:alert(11))
![i](https://tracker.example/x.png) ![j](data:image/svg+xml,x)

text {: onmouseover=alert(12) id=q class=evil}

| a {: onclick=alert(13)} |
| --- |
| <b onclick=alert(14)>x</b> |

([6.12] <script>alert(15)</script> mm/x.c)

```html
<script>alert(16)</script>
```
"""


def tags(text: str) -> set[str]:
    return {name.lower() for name in re.findall(r"<\s*([A-Za-z][A-Za-z0-9]*)", text)}


def test_hostile_markdown_comes_out_harmless() -> None:
    shown = site.render(HOSTILE)
    assert not tags(shown) & {"script", "img", "svg", "iframe", "style", "link", "object", "form", "b"}
    inside = " ".join(re.findall(r"<[^>]*>", shown))
    assert not re.search(r"\bon[a-z]+\s*=|style\s*=|javascript|data:|vbscript", inside, re.IGNORECASE)
    assert 'id="q"' not in shown
    assert "evil" not in " ".join(re.findall(r'class="[^"]*"', shown))
    assert re.findall(r'href="([^"]*)"', shown) == []
    # What was HTML is still there to read.
    assert "&lt;script&gt;alert(3)" in shown
    assert "&lt;script&gt;alert(16)" in shown


def test_hostile_titles_are_escaped() -> None:
    item = kb.Article(
        id="x",
        title="</title><script>alert(1)</script>",
        summary='"><img src=x>',
        priority=1,
        keywords=("</script><script>alert(2)",),
        applies=(),
        body="## A {#a}\n",
        headings=(kb.Heading(2, "</nav><script>", "a"),),
    )
    for content in site.pages([item]).values():
        text = content.decode()
        assert "<script>alert" not in text
        assert "<img" not in text
        assert "</nav><script>" not in text


def test_anchors_and_citations_survive() -> None:
    shown = site.render("## Why {#cannot-act}\n\nTrue ([2.6.32] mm/vmscan.c).\n\n| a |\n| --- |\n| b |\n")
    assert '<h2 id="cannot-act">Why</h2>' in shown
    assert '<span class="src">([2.6.32] mm/vmscan.c)</span>' in shown
    assert shown.count("<table>") == shown.count('<div class="table"') == 1


def test_every_page_is_whole_and_allows_only_itself() -> None:
    pages = site.pages()
    assert set(pages) == {"index.html"} | {f"{item.id}.html" for item in kb.load()}
    for name, content in pages.items():
        text = content.decode()
        policy = html.unescape(re.findall(r'http-equiv="Content-Security-Policy" content="([^"]*)"', text)[0])
        assert "default-src 'none'" in policy
        assert "unsafe" not in policy
        scripts = re.findall(r"<script>(.*?)</script>", text, re.DOTALL)
        styles = re.findall(r"<style>(.*?)</style>", text, re.DOTALL)
        assert len(styles) == 1
        assert len(scripts) == (name == "index.html")
        for block in scripts + styles:
            assert f"'sha256-{base64.b64encode(hashlib.sha256(block.encode()).digest()).decode()}'" in policy
        assert not re.search(r"""(?:src|href)=["']?(?:https?:)?//""", text), name
        assert not re.search(r"@import|url\(", styles[0])
        assert re.search(r'<meta name="viewport" content="width=device-width', text)
        assert "on this page" in text.lower() or name == "index.html"


def test_every_section_of_every_article_can_be_linked() -> None:
    pages = site.pages()
    for item in kb.load():
        text = pages[f"{item.id}.html"].decode()
        for heading in item.headings:
            if heading.level == 2:
                assert text.count(f'<h2 id="{heading.anchor}">') == 1
                assert f'class="here" href="#{heading.anchor}"' in text


def test_the_page_searches_the_same_words_as_the_command() -> None:
    text = site.pages()["index.html"].decode()
    index = json.loads(re.findall(r'<script type="application/json" id="articles">(.*?)</script>', text)[0])
    assert index["weights"] == kb.WEIGHTS
    for entry, item in zip(index["articles"], kb.load(), strict=True):
        fields = kb.search_fields(item)
        assert entry["id"] == item.id
        for name in kb.WEIGHTS:
            assert set(entry[name]) == set(fields[name])
            assert max(entry[name].count(word) for word in entry[name]) <= kb.BODY_CAP


def test_build_writes_replaces_and_removes_only_its_own(tmp_path: Path) -> None:
    folder = tmp_path / "a" / "b"
    written, gone = site.build(folder)
    assert gone == []
    (folder / "mine.html").write_text("mine")
    (folder / "old.html").write_text("old")
    manifest = folder / site.MANIFEST
    outside = tmp_path / "a" / "outside.html"
    outside.write_text("outside")
    names = [*written, "old.html", "../outside.html", str(outside)]
    manifest.write_text(json.dumps({"files": names}))
    (folder / "index.html").write_text("broken")
    assert site.build(folder) == (written, ["old.html"])
    assert outside.read_text() == "outside"
    assert (folder / "mine.html").read_text() == "mine"
    assert (folder / "index.html").read_bytes() == site.pages()["index.html"]
    assert {path.name for path in folder.iterdir()} == {*written, "mine.html", site.MANIFEST}
    assert (folder / "index.html").stat().st_mode & 0o777 == 0o644


def test_build_refuses_foreign_files_and_writes_nothing(tmp_path: Path) -> None:
    (tmp_path / "index.html").write_text("mine")
    with pytest.raises(InputError, match=r"index\.html"):
        site.build(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["index.html"]
    with pytest.raises(InputError, match="not a folder"):
        site.build(tmp_path / "index.html")
    (tmp_path / "index.html").unlink()
    (tmp_path / site.MANIFEST).write_text("[]")
    with pytest.raises(InputError, match="not a list"):
        site.build(tmp_path)


def test_build_does_not_follow_a_link_that_took_a_pages_place(tmp_path: Path) -> None:
    folder, target = tmp_path / "kb", tmp_path / "target"
    site.build(folder)
    target.write_text("precious")
    (folder / "index.html").unlink()
    (folder / "index.html").symlink_to(target)
    site.build(folder)
    assert target.read_text() == "precious"
    assert not (folder / "index.html").is_symlink()


@pytest.fixture
def server() -> Iterator[site.Server]:
    with site.Server("127.0.0.1", 0) as running:
        thread = threading.Thread(target=running.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield running
        running.shutdown()
        thread.join()


def ask(server: site.Server, method: str, path: str) -> tuple[int, dict[str, str], bytes]:
    connection = http.client.HTTPConnection("127.0.0.1", server.server_port, timeout=10)
    try:
        connection.putrequest(method, path, skip_accept_encoding=True)
        connection.endheaders()
        response = connection.getresponse()
        return response.status, dict(response.getheaders()), response.read()
    finally:
        connection.close()


def test_serving(server: site.Server) -> None:
    status, headers, body = ask(server, "GET", "/zone-reclaim-mode.html?x=1")
    assert (status, body) == (200, site.pages()["zone-reclaim-mode.html"])
    assert headers["Content-Type"] == "text/html; charset=utf-8"
    assert "frame-ancestors 'none'" in headers["Content-Security-Policy"]
    for name, value in site.SECURITY_HEADERS.items():
        assert headers[name] == value
    assert "Python" not in headers["Server"]
    assert ask(server, "GET", "/")[2] == site.pages()["index.html"]
    head = ask(server, "HEAD", "/")
    assert (head[0], head[2]) == (200, b"")
    assert ask(server, "POST", "/")[0] == 501


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
def test_serving_nothing_else(server: site.Server, path: str) -> None:
    status, headers, body = ask(server, "GET", path)
    assert (status, body) == (404, b"Not found.\n")
    assert headers["X-Content-Type-Options"] == "nosniff"


def test_a_request_that_is_no_address_is_answered(server: site.Server) -> None:
    with socket.create_connection(("127.0.0.1", server.server_port), timeout=10) as client:
        client.sendall(b"GET http://[/ HTTP/1.0\r\n\r\n")
        assert client.makefile("rb").readline().split()[1] == b"404"


def test_a_taken_port_is_one_line(server: site.Server) -> None:
    with pytest.raises(AllocfailError, match=f"port {server.server_port}: address already in use"):
        site.Server("127.0.0.1", server.server_port)
    result = subprocess.run(
        [sys.executable, "-m", "allocfail", "kb", "serve", "--port", str(server.server_port)],
        capture_output=True,
        check=False,
        timeout=60,
    )
    assert result.returncode == 1
    assert result.stderr.count(b"\n") == 1
    assert b"--port" in result.stderr


def test_a_host_that_is_none_is_one_line() -> None:
    with pytest.raises(InputError, match="no such address"):
        site.Server("no such host", 0)


def test_interrupt_ends_serving_cleanly() -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    process = subprocess.Popen(
        [sys.executable, "-m", "allocfail", "kb", "serve", "--port", str(port)],
        stderr=subprocess.PIPE,
        start_new_session=True,
    )
    try:
        assert process.stderr is not None
        assert f":{port}/".encode() in process.stderr.readline()
        os.kill(process.pid, signal.SIGINT)
        assert process.wait(20) == 130
        assert b"Traceback" not in process.stderr.read()
    finally:
        process.kill()
        process.wait()
        if process.stderr is not None:
            process.stderr.close()
