"""An engine that goes away in the middle, or whose disk is full: every event is there once in the end."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

import swept
from allocfail.cluster.client import connect
from allocfail.cluster.connection import connection
from allocfail.cluster.errors import EngineError
from allocfail.cluster.install import install
from clusters import WANTED
from test_follow import log_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from engines import restarts

    Restartable = restarts.OpenSearch | restarts.Elasticsearch

#: They would keep shards off a disk that is as small as this one.
NO_WATERMARKS = {"cluster.routing.allocation.disk.threshold_enabled": "false"}
ALLOCFAIL = [sys.executable, "-m", "allocfail"]


def _until(holds: Callable[[], bool], seconds: float = 120.0) -> None:
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.2)


def _holds(engine: Restartable, wanted: object) -> bool:
    try:
        with connect(connection(engine.url)) as cluster:
            return swept.counted(swept.events(cluster)) == wanted
    except EngineError:  # it is starting
        return False


def killed(engine: Restartable, folder: Path, *, kills: int, lines: int) -> list[int]:
    """Kill an engine, with a log that is followed and lines that are swept again and again; return the events."""
    log = folder / "kern.log"
    log.write_bytes(log_of(range(10)))
    with connect(connection(engine.url)) as cluster:
        list(install(cluster, WANTED))
        cluster.request("PUT", "/app-lines", swept.MAPPING)
        swept.put(cluster, "app-lines", swept.lines_of(range(1000, 1000 + lines)))
    common = ["--follow", "--url", engine.url, "--year", "2026", "--timeout", "10"]
    ship = [*ALLOCFAIL, "ship", str(log), "--state", str(folder / "ship"), *common]
    sweep = [*ALLOCFAIL, "sweep", "app-lines", "--state", str(folder / "sweep"), *common]
    sweep += ["--every", "1", "--rate", "900"]
    running = [subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) for command in (ship, sweep)]
    try:
        written = 10
        for _ in range(kills):
            _until(lambda: _holds_some(engine))
            engine.kill()
            for _ in range(5):
                with log.open("ab") as file:
                    file.write(log_of([written]))
                written += 1
            engine.start()
        numbers = [*range(written), *range(1000, 1000 + lines)]
        wanted = swept.once_each(numbers)
        _until(lambda: _holds(engine, wanted))
    finally:
        for process in running:
            process.send_signal(signal.SIGTERM)
        answers = [process.communicate(timeout=60) for process in running]
    assert [process.returncode for process in running] == [0, 0], answers
    assert b"trying again in" in answers[0][1]
    assert _holds(engine, wanted)
    return numbers


def _holds_some(engine: Restartable) -> bool:
    with connect(connection(engine.url)) as cluster:
        return bool(swept.events(cluster))


@contextmanager
def small_disk(folder: Path) -> Iterator[Path | None]:
    """Mount a file system of 96 MB, for as long as the block lasts; None where that is not allowed."""
    where = folder / "small"
    where.mkdir()
    made = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=96m", "tmpfs", str(where)], capture_output=True, check=False
    )
    if made.returncode:
        yield None
        return
    where.chmod(0o755)
    try:
        yield where
    finally:
        subprocess.run(["umount", "-l", str(where)], check=True)


def full(engine: Restartable, disk: Path, folder: Path, before: Sequence[int]) -> None:
    """Fill an engine's disk for a while: it refuses, is waited for, and takes everything once there is room.

    ``before`` are the events that it holds already.
    """
    log, numbers, errors = folder / "full.log", range(2000, 2200), folder / "errors"
    wanted = swept.once_each([*before, *numbers])
    log.write_bytes(log_of(numbers))
    command = [*ALLOCFAIL, "ship", str(log), "--url", engine.url, "--year", "2026", "--timeout", "5"]
    with connect(connection(engine.url)) as cluster:
        ballast = disk / "ballast"
        # A full disk refuses the closing of a buffered file too: nothing is buffered, and everything is suppressed.
        with suppress(OSError), ballast.open("wb", buffering=0) as file:
            while file.write(b"\0" * (1 << 16)):
                pass
        follow = [*command, "--follow", "--state", str(folder / "state")]
        with errors.open("wb") as said:
            process = subprocess.Popen(follow, stdout=subprocess.DEVNULL, stderr=said)
        try:
            _until(lambda: process.poll() is not None or errors.stat().st_size > 0)
            ballast.unlink()
            # A shard that failed for want of room is tried again by the engine when it is told to.
            cluster.request("POST", "/_cluster/reroute?retry_failed=true", timeout=60)
            cluster.request("GET", "/_cluster/health?wait_for_status=yellow&timeout=60s", timeout=90)
            if process.poll() is None:
                _until(lambda: _holds(engine, wanted))
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(60)
        done = subprocess.run(command, capture_output=True, check=False)
        assert done.returncode == 0, (done.stderr, errors.read_bytes())
        assert json.loads(done.stdout)["rejected"] == 0
        assert swept.counted(swept.events(cluster)) == wanted
