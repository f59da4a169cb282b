"""More logs than files may be open at once: each line is read once, whatever happens to a log that is not open."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

from allocfail.logs.descriptors import Descriptors
from allocfail.logs.tail import Tail
from clusters import server
from flaky import Flaky
from test_follow import _until, log_of, names_in, names_of, read_all, ship_command

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

LOGS, FILES = 300, 64


def few_files(*command: str) -> list[str]:
    """Return a command that may open few."""
    return ["sh", "-c", f'ulimit -n {FILES}; exec "$@"', "sh", *command]


@pytest.fixture
def kept_by() -> Iterator[tuple[Flaky, str]]:
    flaky = Flaky("opensearch")
    with server(flaky) as url:
        yield flaky, url


@pytest.fixture
def logs(tmp_path: Path) -> list[Path]:
    """Return 300 logs of an event each."""
    folder = tmp_path / "logs"
    folder.mkdir()
    found = [folder / f"{number:03}.log" for number in range(LOGS)]
    for number, log in enumerate(found):
        log.write_bytes(log_of([number]))
    return found


def append(log: Path, data: bytes) -> None:
    with log.open("ab") as file:
        file.write(data)


def test_logs_that_are_shipped_one_by_one(kept_by: tuple[Flaky, str], logs: list[Path]) -> None:
    flaky, url = kept_by
    command = few_files(*ship_command(url, *map(str, logs), "--year", "2026"))
    done = subprocess.run(command, capture_output=True, check=False)
    assert (done.returncode, done.stderr) == (0, b"")
    assert names_in(flaky) == names_of(range(LOGS))


def test_logs_that_are_decoded_one_by_one(logs: list[Path]) -> None:
    command = few_files(sys.executable, "-m", "allocfail", "decode", *map(str, logs), "--year", "2026")
    done = subprocess.run(command, capture_output=True, check=False)
    assert (done.returncode, done.stderr) == (0, b"")
    found = [json.loads(line)["allocfail"]["fingerprint"]["text"] for line in done.stdout.splitlines()]
    assert sorted(found) == names_of(range(LOGS))


def test_logs_that_are_followed(kept_by: tuple[Flaky, str], logs: list[Path]) -> None:
    """They grow, are rotated and cut while they are not open, and while nobody follows."""
    flaky, url = kept_by
    folder = logs[0].parent
    state = str(folder.parent / "state")
    command = few_files(*ship_command(url, "--follow", str(folder), "--year", "2026", "--state", state))
    written = list(range(LOGS))

    @contextmanager
    def following() -> Iterator[Callable[[], None]]:
        """Follow as long as the block lasts; yield what waits until everything is there."""
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:

            def sent() -> None:
                _until(lambda: names_in(flaky) == names_of(written) or process.poll() is not None)
                assert process.poll() is None, process.communicate()

            try:
                yield sent
            finally:
                process.send_signal(signal.SIGTERM)
                _, errors = process.communicate(timeout=60)
        assert (process.returncode, errors) == (0, b"")

    def write(log: Path, number: int) -> None:
        append(log, log_of([number]))
        written.append(number)

    def rotate(logs: list[Path], first: int) -> None:
        for number, log in enumerate(logs, first):  # the last lines come between the last look and the rotation
            write(log, number)
            log.rename(log.with_name(f"{log.name}.1"))
            write(log, number + len(logs))

    with following() as sent:
        sent()
        for number, log in enumerate(logs):
            write(log, 300 + number)
        sent()
        rotate(logs[:60], 600)
        sent()
        for number, log in enumerate(logs[100:160]):  # copytruncate
            write(log, 760 + number)
            shutil.copy2(log, log.with_name(f"{log.name}.1"))
            os.truncate(log, 0)
            write(log, 820 + number)
        sent()
    rotate(logs[200:280], 900)
    with following() as sent:
        sent()
    assert len(flaky.kept) == len(written)


# -- one log that is closed for others ---------------------------------------------------------------------------------


def _quiet(log: Path) -> None:
    """Have a log look as if it had been written to a while ago: only then it is not looked into again."""
    before = time.time_ns() - 60_000_000_000
    os.utime(log, ns=(before, before))


@pytest.fixture
def closed(tmp_path: Path) -> Tail:
    """Return a log that was read and is not open, as another is."""
    few = Descriptors(1)
    log, other = tmp_path / "kern.log", tmp_path / "other.log"
    log.write_bytes(b"one\n")
    _quiet(log)
    other.write_bytes(b"other\n")
    tail = Tail(log, descriptors=few)
    assert read_all(tail) == b"one\n"
    assert read_all(Tail(other, descriptors=few)) == b"other\n"
    assert tail._fd < 0
    return tail


def _grow(log: Path) -> None:
    append(log, b"two\n")


def _rotate(log: Path) -> None:
    append(log, b"two\n")
    log.rename(log.with_name("kern.log.1"))
    log.write_bytes(b"three\n")


def _rotate_twice(log: Path) -> None:
    _rotate(log)
    log.with_name("kern.log.1").rename(log.with_name("kern.log.2"))
    log.rename(log.with_name("kern.log.1"))
    log.write_bytes(b"four\n")


def _copy_and_cut(log: Path) -> None:
    append(log, b"two\n")
    shutil.copy2(log, log.with_name("kern.log-20260304"))
    os.truncate(log, 0)
    append(log, b"three\n")


def _cut_to_the_same_size(log: Path) -> None:
    append(log, b"two\n")
    shutil.copy2(log, log.with_name("kern.log.1"))
    log.write_bytes(b"six\n")


@pytest.mark.parametrize(
    ("change", "comes"),
    [
        (_grow, b"two\n"),
        (_rotate, b"two\nthree\n"),
        (_rotate_twice, b"two\nthree\nfour\n"),
        (_copy_and_cut, b"two\nthree\n"),
        (_cut_to_the_same_size, b"two\nsix\n"),
    ],
)
def test_nothing_is_lost_of_what_happens_meanwhile(
    closed: Tail, change: Callable[[Path], object], comes: bytes
) -> None:
    assert read_all(closed) == b""
    change(closed.path)
    assert read_all(closed) == comes
    assert not closed.lost
    assert closed.offset == len(b"one\n" + comes)


def _is_gone(log: Path) -> None:
    _rotate(log)
    log.with_name("kern.log.1").unlink()


def _is_cut(log: Path) -> None:
    log.write_bytes(b"three\n")


@pytest.mark.parametrize("change", [_is_gone, _is_cut])
def test_what_is_gone_is_told_once(closed: Tail, change: Callable[[Path], object]) -> None:
    change(closed.path)
    assert read_all(closed) == b"three\n"
    assert closed.lost
    closed.lost = False
    append(closed.path, b"four\n")
    assert read_all(closed) == b"four\n"
    assert not closed.lost


def test_a_file_that_comes_back_is_read_on(closed: Tail) -> None:
    """As behind a network's file system that is away for a moment."""
    away = closed.path.with_name("away")
    closed.path.rename(away)
    assert read_all(closed) == b""
    assert closed.lost
    closed.lost = False
    assert read_all(closed) == b""
    assert not closed.lost
    append(away, b"two\n")
    away.rename(closed.path)
    assert read_all(closed) == b"two\n"


def test_an_older_copy_is_not_taken_for_the_one_that_was_cut(closed: Tail) -> None:
    """Every day's log begins and goes on with the same words."""
    banner = b"=" * 2000 + b"\n"
    log = closed.path
    log.with_name("kern.log.1").write_bytes(banner + b"yesterday\n" + b"late\n")
    log.write_bytes(banner + b"today 1 2\n")
    read_all(closed)
    log.write_bytes(banner)
    closed.lost = False
    assert read_all(closed) == banner


def test_others_that_take_descriptors_leave_fewer(tmp_path: Path) -> None:
    """Where none is left, a log is closed rather than the program ended."""
    names = [tmp_path / str(number) for number in range(20)]
    for name in names:
        name.write_bytes(name.name.encode())
    code = (
        "import os, resource, sys, pathlib\n"
        "from allocfail.logs.descriptors import Descriptors\n"
        "from allocfail.logs.tail import Tail\n"
        "few = Descriptors(1000)\n"
        "resource.setrlimit(resource.RLIMIT_NOFILE, (16, 16))\n"
        "tails = [Tail(pathlib.Path(name), descriptors=few) for name in sys.argv[1:]]\n"
        "print(*(tail.read().decode() for tail in tails))\n"
    )
    done = subprocess.run([sys.executable, "-c", code, *map(str, names)], capture_output=True, check=False)
    assert (done.stderr, done.stdout.split()) == (b"", [name.name.encode() for name in names])
