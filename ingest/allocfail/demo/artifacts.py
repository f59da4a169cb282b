"""Files from a Maven repository, by coordinate, each pinned to its SHA-256.

A lock file has one line a file: SHA-256, size in bytes, coordinate. ``python -m allocfail.demo.artifacts COORDINATE``
prints the lock of a coordinate and of all it needs at run time. The repository's address comes from :mod:`jgo` and
from its configuration file, where a company names its own mirror.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import sys
import tempfile
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from allocfail.errors import AllocfailError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from rich.console import Console

__all__ = ["Pin", "cache_dir", "fetch", "lock_lines", "path_of", "read_lock"]

#: Connections at once: small jars are bound by latency, not by the line.
_CONNECTIONS = 6
#: Seconds without a byte after which a connection counts as broken.
_TIMEOUT = 30
#: Attempts a file; each goes on where the one before broke off.
_ATTEMPTS = 4
_CHUNK = 1 << 18


class Pin(NamedTuple):
    """One file of a lock."""

    coordinate: str
    """``group:artifact:packaging[:classifier]:version``."""
    sha256: str
    """Of the file, lower-case hex."""
    size: int
    """Bytes."""


def cache_dir() -> Path:
    """Return the folder that downloads and the demo's data live in, outside any source tree.

    ``ALLOCFAIL_CACHE`` where it is set, else ``allocfail`` in the XDG cache folder (XDG Base Directory
    Specification 0.8: ``XDG_CACHE_HOME``, else ``~/.cache``). The folder need not exist.
    """
    if stated := os.environ.get("ALLOCFAIL_CACHE"):
        return Path(stated).absolute()
    base = os.environ.get("XDG_CACHE_HOME", "")
    # The specification: a relative path there is invalid and to be ignored.
    return (Path(base) if base.startswith("/") else Path.home() / ".cache") / "allocfail"


def read_lock(path: Path) -> tuple[Pin, ...]:
    """Return the files that the lock file ``path`` pins, in its order.

    Raises AllocfailError where a line is not ``SHA256 SIZE COORDINATE``.
    """
    pins = []
    for number, line in enumerate(path.read_text("utf-8").splitlines(), 1):
        words = line.split()
        if not words or words[0].startswith("#"):
            continue
        if len(words) != 3 or len(words[0]) != 64 or not words[1].isdecimal() or words[2].count(":") not in (3, 4):
            raise AllocfailError(f"{path}:{number}: not a line of a lock file")
        pins.append(Pin(words[2], words[0], int(words[1])))
    return tuple(pins)


def _relative(coordinate: str) -> str:
    """Return where a Maven repository keeps the file (Maven's default repository layout)."""
    group, artifact, packaging, *classifier, version = coordinate.split(":")
    name = "-".join([artifact, version, *classifier])
    return f"{group.replace('.', '/')}/{artifact}/{version}/{name}.{packaging}"


def path_of(pin: Pin) -> Path:
    """Return where the cache keeps the file, whether it is there or not."""
    return cache_dir() / "artifacts" / _relative(pin.coordinate)


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _is_whole(pin: Pin) -> bool:
    path = path_of(pin)
    return path.is_file() and path.stat().st_size == pin.size and _digest(path) == pin.sha256


def _repositories() -> list[str]:
    try:
        from jgo.config import GlobalSettings  # noqa: PLC0415 - 0.2 s that only a download has to spend
        from jgo.maven import MavenContext  # noqa: PLC0415
    except ImportError as error:
        raise AllocfailError("this needs the extra packages of the demo: pip install 'allocfail[demo]'") from error
    return [*GlobalSettings.load().repositories.values(), *MavenContext().remote_repos.values()]


def _copy_rest(url: str, part: Path, pin: Pin, advance: Callable[[int], None], stopped: threading.Event) -> bool:
    """Append to ``part`` what it lacks of the file; return False where the repository does not have it."""
    import requests  # noqa: PLC0415

    have = part.stat().st_size
    if have == pin.size:
        return True
    headers = {"Range": f"bytes={have}-"} if have else {}
    # Without this a proxy may compress, and Range would count compressed bytes.
    headers["Accept-Encoding"] = "identity"
    with requests.get(url, headers=headers, stream=True, timeout=_TIMEOUT) as response:
        if response.status_code == requests.codes.not_found:
            return False
        response.raise_for_status()
        if have and response.status_code != requests.codes.partial_content:
            advance(-have)
            have = 0
        with part.open("r+b") as file:
            file.truncate(have)
            file.seek(have)
            for chunk in response.iter_content(_CHUNK):
                if stopped.is_set():
                    raise AllocfailError("download interrupted")
                have += len(chunk)
                if have > pin.size:
                    raise AllocfailError(f"{pin.coordinate} is larger than its lock says; not used")
                file.write(chunk)
                advance(len(chunk))
    return True


def _fetch_one(  # noqa: C901 - a branch for each thing that goes wrong
    pin: Pin,
    repositories: Sequence[str],
    advance: Callable[[int], None],
    stopped: threading.Event,
    *,
    keep_part: bool,
) -> None:
    import requests  # noqa: PLC0415

    target = path_of(pin)
    target.parent.mkdir(parents=True, exist_ok=True)
    part = target.with_name(target.name + ".part")
    with part.open("ab") as held:
        # Another process may be at the same file: wait for it, then look again.
        fcntl.flock(held, fcntl.LOCK_EX)
        if _is_whole(pin):
            part.unlink(missing_ok=True)
            return
        done = False
        try:
            if part.stat().st_size > pin.size:
                os.truncate(part, 0)
            advance(part.stat().st_size)
            trouble = "no Maven repository has it"
            for attempt in range(_ATTEMPTS):
                try:
                    done = any(
                        _copy_rest(f"{base.rstrip('/')}/{_relative(pin.coordinate)}", part, pin, advance, stopped)
                        for base in repositories
                    )
                    if not done or part.stat().st_size == pin.size:
                        break
                    done, trouble = False, "the connection broke off"
                except requests.HTTPError as error:
                    status = error.response.status_code if error.response is not None else "unreadably"
                    trouble = f"the Maven repository answers {status}"
                except requests.RequestException as error:
                    trouble = (
                        "no answer from the Maven repository"
                        if isinstance(error, requests.Timeout)
                        else "no connection to the Maven repository"
                    )
                if stopped.wait(2**attempt if attempt < _ATTEMPTS - 1 else 0):
                    break
            if not done:
                raise AllocfailError(f"cannot download {pin.coordinate}: {trouble}")
            if _digest(part) != pin.sha256:
                done = False
                os.truncate(part, 0)
                raise AllocfailError(f"{pin.coordinate} is not the file its lock pins (SHA-256 differs); not used")
            part.replace(target)
        finally:
            if not done and not keep_part:
                part.unlink(missing_ok=True)


class _Quiet:
    """Progress for a stream that is no terminal: a line at either end."""

    def __init__(self, console: Console | None, text: str) -> None:
        self._console, self._text, self._start = console, text, time.monotonic()

    def __enter__(self) -> Callable[[int], None]:
        if self._console:
            self._console.print(f"downloading {self._text}", highlight=False)
        return lambda _bytes: None

    def __exit__(self, failed: object, *_: object) -> None:
        if self._console and not failed:
            self._console.print(f"downloaded in {time.monotonic() - self._start:.0f} s", highlight=False)


class _Bar:
    """Progress for a person: bytes, rate and time left."""

    def __init__(self, console: Console, text: str, total: int) -> None:
        from rich.progress import (  # noqa: PLC0415
            BarColumn,
            DownloadColumn,
            Progress,
            TextColumn,
            TimeRemainingColumn,
            TransferSpeedColumn,
        )

        self._progress = Progress(
            TextColumn("downloading {task.description}"),
            BarColumn(),
            DownloadColumn(),
            TransferSpeedColumn(),
            TimeRemainingColumn(),
            console=console,
        )
        self._task = self._progress.add_task(text, total=total)

    def __enter__(self) -> Callable[[int], None]:
        self._progress.start()
        return lambda count: self._progress.advance(self._task, count)

    def __exit__(self, *_: object) -> None:
        self._progress.stop()


def fetch(pins: Sequence[Pin], *, console: Console | None = None, keep_part: bool = False) -> list[Path]:
    """Return the cached files of ``pins``, in their order, downloading what is missing or damaged.

    Every file's SHA-256 is compared with its pin, cached ones' too. Files appear under their name only when whole.
    ``console`` shows progress. A file that broke off is removed, or with ``keep_part`` kept and continued next time.

    Raises AllocfailError, with the reason in one line, where a file cannot be had or is not the one pinned.
    """
    missing = [pin for pin in pins if not _is_whole(pin)]
    if missing:
        repositories = _repositories()
        stopped = threading.Event()
        size = sum(pin.size for pin in missing)
        text = f"{len(missing)} file{'s' if len(missing) > 1 else ''}, {size / 1e6:.0f} MB"
        progress = _Bar(console, text, size) if console and console.is_terminal else _Quiet(console, text)
        with progress as advance, ThreadPoolExecutor(_CONNECTIONS) as pool:
            tasks = [
                pool.submit(_fetch_one, pin, repositories, advance, stopped, keep_part=keep_part) for pin in missing
            ]
            try:
                for task in tasks:
                    task.result()
            except BaseException as error:
                stopped.set()
                pool.shutdown(wait=True, cancel_futures=True)
                if isinstance(error, OSError):
                    raise AllocfailError(f"cannot write to {cache_dir()}: {error.strerror}") from error
                raise
    return [path_of(pin) for pin in pins]


def lock_lines(coordinate: str, *, needs: bool = True) -> Iterator[str]:
    """Yield the lines of the lock file of ``coordinate``, and, with ``needs``, of all it needs at run time.

    ``coordinate`` is ``group:artifact:version``, or ``group:artifact:packaging:version`` for other files than jars.
    Downloads every file once, to a folder that is removed again; jgo compares each with the repository's own SHA-1.
    """
    from jgo.maven import MavenContext  # noqa: PLC0415
    from jgo.parse import Coordinate  # noqa: PLC0415

    asked_for: Coordinate | str = coordinate
    if coordinate.count(":") == 3:
        # In a text, jgo takes a third part of its own for a classifier.
        group, name, packaging, version = coordinate.split(":")
        asked_for = Coordinate(group, name, version, packaging=packaging)
    with tempfile.TemporaryDirectory() as folder:
        context = MavenContext(repo_cache=Path(folder), timeout=_TIMEOUT)
        asked = context.create_dependency(asked_for)
        artifacts = [asked.artifact]
        if needs:
            inputs, others = context.resolver.resolve([asked])
            artifacts = [one.artifact for one in (*inputs, *others) if one.scope not in ("test", "provided")]
        with ThreadPoolExecutor(_CONNECTIONS) as pool:
            paths = list(pool.map(lambda artifact: artifact.resolve(), artifacts))
        yield f"# {coordinate}{' and all it needs at run time' if needs else ''}."
        yield f"# Made by: python -m allocfail.demo.artifacts {'' if needs else '--alone '}{coordinate}"
        yield "# SHA-256, size in bytes, coordinate"
        for artifact, path in zip(artifacts, paths, strict=True):
            kind = [artifact.packaging, *([artifact.classifier] if artifact.classifier else [])]
            name = ":".join([artifact.groupId, artifact.artifactId, *kind, artifact.version])
            yield f"{_digest(path)} {path.stat().st_size} {name}"


def _main(arguments: list[str]) -> int:
    if not arguments or arguments[-1].startswith("-") or arguments[:-1] not in ([], ["--alone"]):
        sys.stderr.write("usage: python -m allocfail.demo.artifacts [--alone] GROUP:ARTIFACT[:PACKAGING]:VERSION\n")
        return 2
    with suppress(BrokenPipeError):
        sys.stdout.writelines(f"{line}\n" for line in lock_lines(arguments[-1], needs=len(arguments) == 1))
    return 0


if __name__ == "__main__":
    sys.exit(_main(sys.argv[1:]))
