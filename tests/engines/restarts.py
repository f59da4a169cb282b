"""Engines that can be killed and started again on the data that they had."""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import tempfile
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from allocfail.demo import node
from allocfail.errors import AllocfailError
from engines import harness

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Iterator, Mapping


class OpenSearch:
    """A node of OpenSearch."""

    def __init__(self, folder: Path, settings: Mapping[str, str]) -> None:
        self._folder = folder
        self._settings = settings
        self._port = node.free_port()
        self._node: node.Node | None = None
        self.url = f"http://127.0.0.1:{self._port}"

    def start(self) -> None:
        self._node = node.start(data_dir=self._folder, port=self._port, settings=self._settings, heap="512m")

    def kill(self) -> None:
        """End it without a word, as a machine that goes down does."""
        assert self._node is not None
        os.kill(self._node.pid, signal.SIGKILL)
        self._node.stop()

    def stop(self) -> None:
        if self._node is not None:
            self._node.stop()


class Elasticsearch:
    """A node of Elasticsearch."""

    def __init__(self, folder: Path, settings: Mapping[str, str]) -> None:
        java = harness.find_jdk()
        if java is None:
            raise AllocfailError("Elasticsearch needs a JDK 21 or later")
        self._java = java
        self._folder = folder
        self._user = "nobody" if os.geteuid() == 0 else "-"
        home = harness._elasticsearch_home(None)
        if self._user != "-" and not harness._open_to_all(home):
            home = Path(shutil.copytree(home, folder / "home", copy_function=harness._link_or_copy))
        self._home = home
        self._engine = harness._configure(folder, home, java, dict(settings), secured=False)
        if self._user != "-":
            entry = pwd.getpwnam(self._user)
            for path in (
                folder,
                *(one for name in ("config", "data", "logs", "tmp") for one in harness._tree(folder / name)),
            ):
                os.chown(path, entry.pw_uid, entry.pw_gid)
        self._guard: subprocess.Popen[bytes] | None = None
        self.url = self._engine.url

    def start(self) -> None:
        self._guard = harness._launch(self._folder, self._home, self._java, self._user)
        harness._await(self._engine, self._guard, self._folder)

    def kill(self) -> None:
        """End it without a word; the guard ends when its process does, and leaves the folder."""
        assert self._guard is not None
        for child in Path(f"/proc/{self._guard.pid}/task/{self._guard.pid}/children").read_text().split():
            with suppress(ProcessLookupError):
                os.killpg(int(child), signal.SIGKILL)
        self._guard.wait()
        assert self._guard.stdin is not None
        self._guard.stdin.close()

    def stop(self) -> None:
        if self._guard is not None and self._guard.poll() is None:
            assert self._guard.stdin is not None
            self._guard.stdin.close()
            self._guard.wait()


@contextmanager
def engine(
    product: str, parent: Path | None = None, settings: Mapping[str, str] | None = None
) -> Iterator[OpenSearch | Elasticsearch]:
    """Run one with an empty data folder of its own, below ``parent``."""
    folder = Path(tempfile.mkdtemp(prefix="allocfail-restarts-", dir=parent))
    folder.chmod(0o755)
    made = (OpenSearch if product == "opensearch" else Elasticsearch)(folder, settings or {})
    try:
        made.start()
        yield made
    finally:
        made.stop()
        shutil.rmtree(folder, ignore_errors=True)
