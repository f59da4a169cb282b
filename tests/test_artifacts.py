"""Downloads: only whole files of the pinned content ever appear, whatever the line does."""

from __future__ import annotations

import hashlib
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING

import pytest

from allocfail.demo import artifacts
from allocfail.demo.artifacts import Pin
from allocfail.errors import AllocfailError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

CONTENT = bytes(range(256)) * 4096
PATH = "/org/example/thing/1.0/thing-1.0.jar"


class Repository(ThreadingHTTPServer):
    """Serves one file; ``breaks`` is how many answers stop half way."""

    content = CONTENT
    breaks = 0
    ranges = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.asked: list[str | None] = []
        self.url = f"http://127.0.0.1:{self.server_port}"


class Handler(BaseHTTPRequestHandler):
    server: Repository

    def do_GET(self) -> None:
        if self.path != PATH:
            self.send_error(404)
            return
        wanted = self.headers["Range"]
        self.server.asked.append(wanted)
        start = int(wanted.removeprefix("bytes=").rstrip("-")) if wanted and self.server.ranges else 0
        rest = self.server.content[start:]
        self.send_response(206 if start else 200)
        self.send_header("Content-Length", str(len(rest)))
        self.end_headers()
        if self.server.breaks:
            self.server.breaks -= 1
            rest = rest[: len(rest) // 2]
            self.close_connection = True
        self.wfile.write(rest)

    def log_message(self, *_: object) -> None:
        """Keep the test's output clean."""


@pytest.fixture
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Repository]:
    monkeypatch.setenv("ALLOCFAIL_CACHE", str(tmp_path / "cache"))
    with Repository() as server:
        monkeypatch.setattr(artifacts, "_repositories", lambda: [f"{server.url}/elsewhere/", server.url])
        # Waiting between attempts is for networks, not for this test.
        monkeypatch.setattr(threading.Event, "wait", lambda event, _seconds=None: event.is_set())
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def pin(content: bytes = CONTENT) -> Pin:
    return Pin("org.example:thing:jar:1.0", hashlib.sha256(content).hexdigest(), len(content))


def files(top: Path) -> list[str]:
    return sorted(path.name for path in top.rglob("*") if path.is_file())


def test_a_file_is_fetched_once(repository: Repository) -> None:
    assert artifacts.fetch([pin()])[0].read_bytes() == CONTENT
    assert artifacts.fetch([pin()])[0].read_bytes() == CONTENT
    assert repository.asked == [None]


def test_a_damaged_file_in_the_cache_is_fetched_again(repository: Repository) -> None:
    (path,) = artifacts.fetch([pin()])
    path.write_bytes(CONTENT[:-1] + b"!")
    assert artifacts.fetch([pin()])[0].read_bytes() == CONTENT
    assert len(repository.asked) == 2


def test_a_broken_connection_is_taken_up_where_it_broke(repository: Repository, tmp_path: Path) -> None:
    repository.breaks = 2
    assert artifacts.fetch([pin()])[0].read_bytes() == CONTENT
    assert repository.asked == [None, f"bytes={len(CONTENT) // 2}-", f"bytes={len(CONTENT) * 3 // 4}-"]
    assert files(tmp_path) == ["thing-1.0.jar"]


def test_a_server_without_ranges_is_asked_for_the_whole_again(repository: Repository) -> None:
    repository.breaks, repository.ranges = 1, False
    assert artifacts.fetch([pin()])[0].read_bytes() == CONTENT


def test_a_download_that_breaks_leaves_nothing(repository: Repository, tmp_path: Path) -> None:
    repository.breaks = 99
    with pytest.raises(AllocfailError, match=r"^cannot download org\.example:thing:jar:1\.0: no connection"):
        artifacts.fetch([pin()])
    assert files(tmp_path) == []


def test_a_large_download_that_breaks_can_be_kept_and_goes_on(repository: Repository, tmp_path: Path) -> None:
    repository.breaks = 4
    with pytest.raises(AllocfailError):
        artifacts.fetch([pin()], keep_part=True)
    assert files(tmp_path) == ["thing-1.0.jar.part"]
    assert artifacts.fetch([pin()], keep_part=True)[0].read_bytes() == CONTENT
    assert repository.asked[-1] == f"bytes={len(CONTENT) * 3 // 4}-"
    assert files(tmp_path) == ["thing-1.0.jar"]


@pytest.mark.parametrize("content", [CONTENT[:-1] + b"!", CONTENT + b"!"], ids=["other", "longer"])
def test_another_file_than_the_pinned_one_is_never_used(repository: Repository, tmp_path: Path, content: bytes) -> None:
    repository.content = content
    with pytest.raises(AllocfailError, match="not used"):
        artifacts.fetch([pin()])
    assert files(tmp_path) == []


def test_what_no_repository_has_is_said(repository: Repository) -> None:
    missing = Pin("org.example:other:zip:linux:2", "0" * 64, 1)
    with pytest.raises(AllocfailError, match="no Maven repository has it"):
        artifacts.fetch([missing])
    assert repository.asked == []


def test_a_classifier_is_part_of_the_name(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("ALLOCFAIL_CACHE", str(tmp_path))
    path = artifacts.path_of(Pin("org.example:other:zip:linux:2", "0" * 64, 1))
    assert path.relative_to(tmp_path).as_posix() == "artifacts/org/example/other/2/other-2-linux.zip"


@pytest.mark.parametrize("line", ["abc 1 g:a:jar:1", f"{'0' * 64} x g:a:jar:1", f"{'0' * 64} 1 g:a:1", "0 1"])
def test_a_damaged_lock_is_refused(tmp_path: Path, line: str) -> None:
    lock = tmp_path / "some.lock"
    lock.write_text(f"# a comment\n\n{line}\n")
    with pytest.raises(AllocfailError, match=r"some\.lock:3: "):
        artifacts.read_lock(lock)


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        ({"ALLOCFAIL_CACHE": "/stated", "XDG_CACHE_HOME": "/xdg"}, "/stated"),
        ({"XDG_CACHE_HOME": "/xdg"}, "/xdg/allocfail"),
        ({"XDG_CACHE_HOME": "relative", "HOME": "/home/one"}, "/home/one/.cache/allocfail"),
    ],
)
def test_the_cache_folder_follows_the_environment(
    monkeypatch: pytest.MonkeyPatch, environment: dict[str, str], expected: str
) -> None:
    for name in ("ALLOCFAIL_CACHE", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert str(artifacts.cache_dir()) == expected
