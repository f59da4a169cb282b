"""Log daemons for tests: the real ones, with the shipped configurations; only paths and ports are changed."""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from allocfail.content import content_path
from allocfail.demo import artifacts

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

RSYSLOG_MODULES = "/usr/lib/*/rsyslog"
#: Debian's two log daemons exclude each other: of one .ci/run only unpacks the packages.
UNPACKED = "syslog-ng"
PATIENCE = 30.0


def missing(what: str) -> None:
    """Skip with the reason, except in CI: that has to have it."""
    reason = f"{what} is missing: NOT tested with the real daemon (.ci/run installs it)"
    if os.environ.get("CI"):
        pytest.fail(reason, pytrace=False)
    pytest.skip(reason)


def rsyslogd(*modules: str) -> Path:
    """Return rsyslog's daemon that has these modules."""
    found = shutil.which("rsyslogd", path="/usr/sbin:/usr/local/sbin:" + os.environ["PATH"])
    if found is None:
        missing("rsyslog")
    for module in modules:
        if not any(Path("/").glob(f"{RSYSLOG_MODULES}/{module}.so".lstrip("/"))):
            missing(f"rsyslog's {module}")
    assert found is not None
    return Path(found)


def syslog_ng() -> tuple[list[str], dict[str, str]]:
    """Return the command that starts syslog-ng, and its environment."""
    installed = shutil.which("syslog-ng", path="/usr/sbin:" + os.environ["PATH"])
    if installed is not None:
        return [installed], dict(os.environ)
    root = artifacts.cache_dir() / UNPACKED
    modules = next(iter(root.glob("usr/lib/syslog-ng/[0-9]*")), None)
    if modules is None or not (modules / "libhttp.so").is_file():
        missing("syslog-ng with its http module")
    assert modules is not None
    command = [str(root / "usr/sbin/syslog-ng"), f"--module-path={modules}"]
    return command, {**os.environ, "LD_LIBRARY_PATH": str(modules.parent)}


def configuration(name: str, changes: dict[str, str]) -> str:
    """Return a shipped configuration with texts changed, each of which has to be in it."""
    text = content_path(f"ingest/shippers/{name}").read_text(encoding="utf-8")
    for old, new in changes.items():
        assert old in text, old
        text = text.replace(old, new)
    return text


@contextmanager
def running(command: list[str], log: Path, environment: dict[str, str] | None = None) -> Iterator[None]:
    """Run a daemon in the foreground; what it said stands in ``log``."""
    with log.open("wb") as out, subprocess.Popen(command, stdout=out, stderr=out, env=environment) as process:
        try:
            yield
            assert process.poll() is None, log.read_text("utf-8", "replace")
        finally:
            process.terminate()
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()


def until(look: Callable[[], list[Any]], log: Path) -> list[Any]:
    """Return what is looked for as soon as it is there."""
    deadline = time.monotonic() + PATIENCE
    while not (found := look()):
        assert time.monotonic() < deadline, log.read_text("utf-8", "replace")
        time.sleep(0.2)
    return found
