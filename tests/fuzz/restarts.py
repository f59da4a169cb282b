"""The engine goes away in the middle, and its disk is full: every event is there once in the end."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from contextlib import suppress
from typing import TYPE_CHECKING

import pytest

import swept
from allocfail.cluster.engine import UnreachableError, connect, connection, path
from allocfail.cluster.install import install
from clusters import WANTED
from engines import restarts
from test_follow import log_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

#: They would keep shards off a disk that is as small as this one.
NO_WATERMARKS = {"cluster.routing.allocation.disk.threshold_enabled": "false"}
PRODUCTS = ["opensearch", "elasticsearch"]

pytestmark = [pytest.mark.engine, pytest.mark.slow]


def _until(holds: Callable[[], bool], seconds: float = 120.0) -> None:
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.2)


@pytest.mark.parametrize("product", PRODUCTS)
def test_the_engine_is_killed_and_comes_back(product: str, tmp_path: Path) -> None:
    """Both at once: a log that is followed, and lines that are swept again and again."""
    log = tmp_path / "kern.log"
    log.write_bytes(log_of(range(10)))
    with restarts.engine(product) as engine:
        with connect(connection(engine.url)) as cluster:
            list(install(cluster, WANTED))
            cluster.request("PUT", "/app-lines", swept.MAPPING)
            swept.put(cluster, "app-lines", swept.lines_of(range(1000, 1300)))
        common = ["--follow", "--url", engine.url, "--year", "2026", "--timeout", "10"]
        allocfail = [sys.executable, "-m", "allocfail"]
        ship = [*allocfail, "ship", str(log), "--state", str(tmp_path / "ship"), *common]
        sweep = [*allocfail, "sweep", "app-lines", "--state", str(tmp_path / "sweep"), *common]
        sweep += ["--every", "1", "--rate", "900"]
        running = [
            subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) for command in (ship, sweep)
        ]
        try:
            written = 10
            for _ in range(2):
                time.sleep(2)
                engine.kill()
                for _ in range(5):
                    with log.open("ab") as file:
                        file.write(log_of([written]))
                    written += 1
                engine.start()
            wanted = swept.once_each([*range(written), *range(1000, 1300)])

            def there() -> bool:
                try:
                    with connect(connection(engine.url)) as cluster:
                        return swept.counted(swept.events(cluster)) == wanted
                except UnreachableError:
                    return False

            _until(there)
        finally:
            for process in running:
                process.send_signal(signal.SIGTERM)
        answers = [process.communicate(timeout=60) for process in running]
        assert [process.returncode for process in running] == [0, 0], answers
        assert b"trying again in" in answers[0][1]
        assert there()


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """Return a file system of 96 MB."""
    where = tmp_path / "small"
    where.mkdir()
    made = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=96m", "tmpfs", str(where)], capture_output=True, check=False
    )
    if made.returncode:
        pytest.skip(f"NOT tested on a full disk: no tmpfs can be mounted here ({made.stderr.decode().strip()})")
    where.chmod(0o755)
    yield where
    subprocess.run(["umount", "-l", str(where)], check=True)


def test_a_disk_that_is_full_for_a_while(small_disk: Path, tmp_path: Path) -> None:
    """The engine refuses, is waited for, and takes everything once there is room."""
    log = tmp_path / "kern.log"
    log.write_bytes(log_of(range(200)))
    with restarts.engine("opensearch", small_disk, NO_WATERMARKS) as engine, connect(connection(engine.url)) as cluster:
        list(install(cluster, WANTED))
        cluster.request("PUT", path("allocfail-events"))
        ballast = small_disk / "ballast"
        with ballast.open("wb") as file:
            try:
                while True:
                    file.write(b"\0" * (1 << 16))
                    file.flush()
            except OSError:
                pass
        command = [sys.executable, "-m", "allocfail", "ship", "--follow", str(log), "--url", engine.url]
        command += ["--year", "2026", "--state", str(tmp_path / "state")]
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
            time.sleep(6)
            assert process.poll() is None or process.returncode == 1
            ballast.unlink()
            if process.poll() is None:
                with suppress(AssertionError):
                    _until(lambda: swept.counted(swept.events(cluster)) == swept.once_each(range(200)), 60)
                process.send_signal(signal.SIGTERM)
            process.communicate(timeout=60)
        # A shard that failed for want of room is tried again by the engine when it is told to.
        cluster.request("POST", "/_cluster/reroute?retry_failed=true", timeout=60)
        cluster.request("GET", "/_cluster/health?wait_for_status=yellow&timeout=60s", timeout=90)
        done = subprocess.run(
            [sys.executable, "-m", "allocfail", "ship", str(log), "--url", engine.url, "--year", "2026"],
            capture_output=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        assert json.loads(done.stdout)["rejected"] == 0
        assert swept.counted(swept.events(cluster)) == swept.once_each(range(200))
