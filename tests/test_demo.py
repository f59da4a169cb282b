"""``allocfail demo``, as a person runs it: twice, taken down, interrupted, and in the way of something else."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from io import StringIO
from typing import TYPE_CHECKING, Any

import pytest
from rich.console import Console

from allocfail.cluster import saved_objects
from allocfail.content import content_path
from allocfail.demo import artifacts, demo, node
from engines.harness import Engine

if TYPE_CHECKING:
    from pathlib import Path

COMMAND = [sys.executable, "-m", "allocfail", "demo"]


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache of our own, so that a demo that runs on this machine is left alone; the downloads are shared."""
    downloads = artifacts.cache_dir() / "artifacts"
    downloads.mkdir(parents=True, exist_ok=True)
    folder = tmp_path / "cache"
    folder.mkdir()
    (folder / "artifacts").symlink_to(downloads)
    monkeypatch.setenv("ALLOCFAIL_CACHE", str(folder))
    return folder


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([*COMMAND, *arguments], capture_output=True, text=True, check=False, timeout=180)


def event(**fields: Any) -> dict[str, Any]:
    return {
        "@timestamp": "2026-02-14T15:24:15Z",
        "allocfail": {"order": 1, "pages": 2, "fingerprint": {"id": "af1:0", "title": "order 1 in f"}, **fields},
    }


def shown(*events: dict[str, Any]) -> str:
    console = Console(file=StringIO(), width=100, force_terminal=False)
    demo.show([demo.Group("af1:0", list(events))], "http://127.0.0.1:1", console)
    assert isinstance(console.file, StringIO)
    return console.file.getvalue()


def test_nothing_that_a_terminal_obeys_is_shown() -> None:
    hostile = "\x1b]0;owned\x07[bold]\x9b2J\u202e"
    text = shown(event(site=hostile, kb=[{"id": "a", "title": hostile, "url": f"http://x/{hostile}", "why": hostile}]))
    assert not set("\x1b\x07\x9b\u202e").intersection(text)
    # Markup of the printing library is text like any other.
    assert "[bold]" in text


def test_a_link_stays_in_one_piece() -> None:
    url = "http://127.0.0.1:8765/" + "long-" * 15 + "name.html"
    assert url in shown(event(kb=[{"id": "a", "title": "A title", "url": url}]))


def test_what_an_event_lacks_is_not_shown() -> None:
    text = shown(event(), event())
    assert "2 events" in text
    assert "order 1: 2 adjacent pages" in text
    assert "flags" not in text
    assert "None" not in text


@pytest.mark.engine
def test_the_demo_finds_the_sample_as_one_group_and_again_when_run_twice(cache: Path) -> None:
    try:
        first = run("--port", str(node.free_port()))
        assert first.returncode == 0, first.stderr
        events = [json.loads(line) for line in first.stdout.splitlines()]
        assert len(events) == 2
        assert len({one["allocfail"]["fingerprint"]["id"] for one in events}) == 1
        found = node.find_running()
        assert found is not None
        for one in events:
            own = one["allocfail"]
            assert (own["order"], own["gfp"]["name"], own["gfp"]["may_sleep"]) == (1, "GFP_ATOMIC", False)
            assert (own["site"], own["trace"]["context"]) == ("sk_prot_alloc", "softirq")
            assert own["verdict"]["zone_reclaim_mode"] == "cannot-act"
            assert one["event"]["reference"].startswith(f"{found.articles_url}")
            # Undecoded it was sent: the source is still there as a shipper delivered it.
            assert "page allocation failure" in one["message"]
        _, kept = Engine("opensearch", found.url).request("GET", "/.kibana/_search?size=1000")
        made = {f"{item['type']}:{item['id']}" for item in saved_objects.build("opensearch")}
        assert {hit["_id"] for hit in kept["hits"]["hits"]} == made
        page = Engine("articles", events[0]["event"]["reference"].partition("#")[0]).request("GET", "")
        assert page[0] == 200
        second = run()
        assert second.returncode == 0, second.stderr
        assert [json.loads(line) for line in second.stdout.splitlines()] == events
        assert "starting" not in second.stderr
        report = run("--format", "text").stdout
        for word in ("2 events", "GFP_ATOMIC", "sk_prot_alloc", "it cannot act here", events[0]["event"]["reference"]):
            assert word in report.replace("\n", " ")
        for refused in (["--foreground"], ["--port", "1"]):
            assert run(*refused).returncode == 2
    finally:
        down = run("--down")
    assert (down.returncode, down.stderr) == (0, "stopped\n")
    assert not node._is_held(cache / "demo")
    assert run("--down").stderr == "no demo is running\n"


@pytest.mark.engine
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_demo_in_the_foreground_ends_with_its_node(cache: Path, number: signal.Signals) -> None:
    with subprocess.Popen(
        [*COMMAND, "--foreground"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        # Both events are out: it now waits.
        assert all(process.stdout.readline().startswith("{") for _ in range(2))
        process.send_signal(number)
        assert process.wait(60) == 130
        assert "Traceback" not in process.stderr.read()
    assert not node._is_held(cache / "demo")


def test_without_a_network_the_demo_says_so_and_leaves_nothing(tmp_path: Path) -> None:
    nowhere = "http://127.0.0.1:9"
    environment = {**os.environ, "ALLOCFAIL_CACHE": str(tmp_path), "HTTPS_PROXY": nowhere, "https_proxy": nowhere}
    process = subprocess.run(COMMAND, capture_output=True, text=True, check=False, env=environment, timeout=120)
    assert process.returncode == 1
    assert "no connection to the Maven repository" in process.stderr
    assert "Traceback" not in process.stderr
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


def test_the_sample_travels_with_the_package() -> None:
    assert len(list(demo._messages())) == 2
    assert content_path("samples/svn3-centos6.log").is_file()
