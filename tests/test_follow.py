"""Logs that grow: read to their end, through rotation and truncation, and shipped once each."""

from __future__ import annotations

import bz2
import contextlib
import gzip
import json
import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

import swept
from allocfail.cluster import following
from allocfail.cluster.checkpoint import Checkpoint
from allocfail.cluster.client import Engine, connect, path
from allocfail.cluster.connection import connection
from allocfail.cluster.deadletters import DeadLetters
from allocfail.cluster.following import Following, Source
from allocfail.cluster.install import install
from allocfail.cluster.retry import Patience
from allocfail.cluster.ship import Shipper
from allocfail.decoder.options import Options
from allocfail.errors import InputError
from allocfail.logs.events import decode_bytes
from allocfail.logs.feed import Feed
from allocfail.logs.tail import Part, Tail
from clusters import WANTED, server
from faults import Faults, proxy
from flaky import Flaky

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

pytest_plugins = ["cluster_fixtures"]

CASES = sorted((Path(__file__).parent / "cases").glob("*.log"))


def log_of(numbers: Any) -> bytes:
    return "".join(
        f"Mar  4 05:{number // 60 % 60:02}:{number % 60:02} node7 kernel: {text}\n"
        for number in numbers
        for text in [*swept.text_of(number), f"[{1000 + number:5}.900000] usb 1-1: new device {number}"]
    ).encode()


# -- feeding -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [60, 5000])
def test_how_much_comes_at_a_time_makes_no_difference(size: int) -> None:
    """Every case, and all of them in one log among lines without an event."""
    noise = b"".join(b"Mar  4 05:06:07 node7 kernel: usb %d: new device\n" % number for number in range(3000))
    logs = [case.read_bytes() for case in CASES if b"__CURSOR=" not in case.read_bytes()]
    logs.append(b"".join(log + b"\n" + noise for log in logs))
    chance = random.Random(size)
    for log in logs:
        expected = [event.document for event in decode_bytes(log)]
        feed, got, at = Feed(Options()), [], 0
        while at < len(log):
            step = chance.randrange(1, 2 * size)
            got += [event.document for event in feed.feed(log[at : at + step])]
            at += step
            if chance.random() < 0.05:
                feed.open()  # to look changes nothing
        got += [found.event.document for found in feed.open() if found.cut]
        assert got == expected


def test_a_feed_goes_on_from_its_last_quiet_place() -> None:
    log = log_of(range(50)) + b"Mar  4 06:00:00 node7 kernel: quiet\n" * 500 + log_of(range(50, 53))
    expected = [event.document["message"] for event in decode_bytes(log)]
    for cut in random.Random(3).sample(range(len(log)), 12):
        feed = Feed(Options())
        got = [event.offset for event in feed.feed(log[:cut])]
        before = [event.document["message"] for event in decode_bytes(log) if event.offset < feed.quiet]
        again = Feed(Options(), offset=feed.quiet)
        events = [*again.feed(log[feed.quiet :]), *(found.event for found in again.open() if found.cut)]
        assert before + [event.document["message"] for event in events] == expected
        assert got[: len(before)] == [event.offset for event in decode_bytes(log)][: len(before)]


def test_a_feed_forgets_what_is_quiet() -> None:
    feed = Feed(Options())
    for _ in range(200):
        assert list(feed.feed(b"Mar  4 05:06:07 node7 kernel: nothing to see here at all\n" * 1000)) == []
    assert len(feed._buffer) < 1 << 20
    assert feed.quiet > 200 * 50_000
    endless = Feed(Options())
    for _ in range(60):
        assert list(endless.feed(b"x" * (1 << 20))) == []
    assert len(endless._buffer) < 20 << 20


# -- files -------------------------------------------------------------------------------------------------------------


def read_all(tail: Tail) -> bytes:
    found = b""
    while data := tail.read():
        found += data
    return found


def test_a_file_that_grows_is_rotated_and_cut(tmp_path: Path) -> None:
    log = tmp_path / "kern.log"
    tail = Tail(log)
    assert read_all(tail) == b""
    log.write_bytes(b"one\n")
    assert read_all(tail) == b"one\n"
    with log.open("ab") as file:
        file.write(b"two\n")
        file.flush()
        assert read_all(tail) == b"two\n"
        log.rename(tmp_path / "kern.log.1")
        file.write(b"late\n")  # whoever writes has it open still
        file.flush()
        assert read_all(tail) == b"late\n"
        log.write_bytes(b"")
        file.write(b"later\n")
        file.flush()
        assert read_all(tail) == b"later\n"
    log.write_bytes(b"three\n")
    assert read_all(tail) == b"three\n"
    assert tail.where(0) == (str(log), 0)
    assert tail.where(19) == (str(log), 0)
    assert tail.where(22) == (str(log), 3)
    log.write_bytes(b"")
    assert read_all(tail) == b""
    log.write_bytes(b"four\n")
    assert read_all(tail) == b"four\n"
    log.write_bytes(b"cut, and longer than before\n")  # copytruncate between two looks
    assert read_all(tail) == b"cut, and longer than before\n"


def test_reading_goes_on_where_another_run_was(tmp_path: Path) -> None:
    log = tmp_path / "messages"
    log.write_bytes(b"one\ntwo\n")
    tail = Tail(log)
    read_all(tail)
    parts, offset = tail.parts, tail.offset
    with log.open("ab") as file:
        file.write(b"three\n")
    assert read_all(Tail(log, parts=parts, offset=offset)) == b"three\n"
    log.rename(tmp_path / "messages-20260304")
    log.write_bytes(b"four\n")
    assert read_all(Tail(log, parts=parts, offset=offset)) == b"three\nfour\n"
    (tmp_path / "messages-20260304").unlink()
    again = Tail(log, parts=parts, offset=offset)
    assert again.lost
    assert read_all(again) == b"four\n"


def test_a_file_that_is_rotated_twice_while_nobody_looks(tmp_path: Path) -> None:
    log = tmp_path / "kern.log"
    log.write_bytes(b"one\n")
    tail = Tail(log)
    read_all(tail)
    parts, offset = tail.parts, tail.offset
    for number, text in enumerate((b"two\n", b"three\n", b"four\n")):
        log.rename(tmp_path / f"kern.log.{number}")
        log.write_bytes(text)
        os.utime(log, ns=(0, time.time_ns() + 1_000_000 * (number + 1)))
    (tmp_path / "kern.log.gz").write_bytes(b"\x1f\x8b\x08\x00")
    (tmp_path / "kern.logs").write_bytes(b"another\n")
    assert read_all(Tail(log, parts=parts, offset=offset)) == b"two\nthree\nfour\n"


@pytest.mark.parametrize("pause", [0.0, 0.0005, 0.003])
def test_rotated_again_and_again_while_it_is_read(tmp_path: Path, pause: float) -> None:
    """Names move between a look and the next, and several files have one time: every line comes, and in order."""
    log, count = tmp_path / "kern.log", 1_200
    chance = random.Random(5)

    def write() -> None:
        number = 0
        while number < count:
            with log.open("ab") as file:
                file.write(b"%d\n" % number)
                file.flush()
                number += 1
                if chance.random() < 0.3:
                    log.rename(log.with_name(f"kern.log.{number}"))
                    log.write_bytes(b"%d\n" % number)
                    number += 1
            time.sleep(chance.random() * pause)

    log.touch()
    tail, found, empty = Tail(log), b"", 0
    assert tail.read() == b""
    restarts = random.Random(6)
    writer = threading.Thread(target=write)
    writer.start()
    while empty < 100:
        data = tail.read()
        found += data
        empty = 0 if data or writer.is_alive() else empty + 1
        if restarts.random() < 0.02:
            parts = [Part(*part.as_state()) for part in tail.parts]
            tail.close()
            tail = Tail(log, parts=parts, offset=tail.offset)
    tail.close()
    writer.join()
    assert [int(line) for line in found.split()][:count] == list(range(count))


def test_what_cannot_be_followed_is_one_line(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(InputError, match="is no file"):
        Tail(tmp_path / "pipe").read()


# -- the checkpoint ----------------------------------------------------------------------------------------------------


def test_a_checkpoint_is_whole_or_not_there(tmp_path: Path) -> None:
    kept = Checkpoint(tmp_path / "deep" / "state.json")
    assert kept.load() == {}
    kept.save({"logs": {"a": 1}})
    assert kept.load()["logs"] == {"a": 1}
    assert [item.name for item in (tmp_path / "deep").iterdir()] == ["state.json"]
    for bad in ("{", "[]", '{"other": 1}', "\x00"):
        kept.path.write_text(bad)
        with pytest.raises(InputError, match="remove it to begin anew"):
            kept.load()


def test_a_device_is_no_checkpoint(tmp_path: Path) -> None:
    """Writing one would put a file in its place; reading it may never end."""
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    for device in (pipe, Path("/dev/full")):
        with pytest.raises(InputError, match="is no file"):
            Checkpoint(device).load()
        with pytest.raises(InputError, match="is no file"):
            DeadLetters(device, "x").take()
    assert pipe.is_fifo()


# -- following ---------------------------------------------------------------------------------------------------------


class Turns:
    """Lets a following go round until something holds."""

    def __init__(self, holds: Callable[[], bool], *steps: Callable[[], object], seconds: float = 60.0) -> None:
        self._holds = holds
        self._steps = list(steps)
        self._deadline = time.monotonic() + seconds

    @property
    def asked(self) -> bool:
        if self._steps:
            self._steps.pop(0)()
            return False
        assert time.monotonic() < self._deadline
        return self._holds()

    def sleep(self, seconds: float) -> None:
        time.sleep(min(seconds, 0.01))


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Wait less."""
    for name, seconds in (("_LINGER", 0.02), ("_IDLE", 0.1), ("_SILENCE", 0.1), ("_LOOK", 0.01), ("_SELDOM", 0.02)):
        monkeypatch.setattr(following, name, seconds)


@pytest.fixture
def kept_by() -> Iterator[tuple[Flaky, str]]:
    flaky = Flaky("opensearch")
    with server(flaky) as url:
        yield flaky, url


def follow(url: str, names: list[str], state: Path | None, turns: Turns, **how: Any) -> Shipper:
    with connect(connection(url)) as cluster:
        patience = Patience(pause=0.01, longest_pause=0.02)
        shipper = Shipper(cluster, "x", patience=patience)
        kept = Checkpoint(state) if state is not None else None
        Following(names, shipper, kept, options=lambda name: Options(file=name, year=2026), **how).run(turns)
    return shipper


def names_in(flaky: Flaky) -> list[str]:
    return sorted(source["allocfail"]["fingerprint"]["text"] for source in flaky.kept.values())


def names_of(numbers: Any) -> list[str]:
    return sorted(swept.fingerprint_of(number) for number in numbers)


@pytest.mark.usefixtures("quick")
def test_an_event_that_the_end_of_a_log_cuts_is_completed(kept_by: tuple[Flaky, str], tmp_path: Path) -> None:
    flaky, url = kept_by
    log, data = tmp_path / "kern.log", log_of([1])
    lines = data.splitlines(keepends=True)
    log.write_bytes(b"".join(lines[:5]) + lines[5][:20])

    def rest() -> None:
        with log.open("ab") as file:
            file.write(lines[5][20:] + b"".join(lines[6:]))

    first = follow(url, [str(log)], tmp_path / "state", Turns(lambda: bool(flaky.kept)))
    assert first.done.indexed == 1
    ((identifier, cut),) = flaky.kept.items()
    assert cut["allocfail"]["complete"] is False
    rest()
    second = follow(url, [str(log)], tmp_path / "state", Turns(lambda: names_in(flaky) == names_of([1])))
    assert (second.done.indexed, second.done.completed) == (0, 1)
    assert list(flaky.kept) == [identifier]
    assert flaky.kept[identifier]["allocfail"]["complete"] is True


@pytest.mark.usefixtures("quick")
def test_through_rotation_in_the_middle_of_a_dump(kept_by: tuple[Flaky, str], tmp_path: Path) -> None:
    flaky, url = kept_by
    log, data = tmp_path / "logs" / "kern.log", log_of(range(4))
    half = data.index(b"grow_1+")
    log.parent.mkdir()
    log.write_bytes(data[:half])

    def rotate() -> None:
        log.rename(log.with_name("kern.log.1"))
        log.write_bytes(data[half:])

    turns = Turns(lambda: names_in(flaky) == names_of(range(4)), lambda: None, lambda: None, rotate)
    follow(url, [str(log.parent)], tmp_path / "state", turns)
    places = {source["process"]["name"]: source["log"] for source in flaky.kept.values()}
    assert places["task3"]["offset"] == data.index(b"Mar  4 05:00:03") - half
    assert places["task1"]["offset"] == data.index(b"Mar  4 05:00:01")


@pytest.mark.usefixtures("quick")
def test_a_log_that_cannot_be_read_for_a_while_does_not_end_the_others(
    kept_by: tuple[Flaky, str], tmp_path: Path
) -> None:
    flaky, url = kept_by
    one, other = tmp_path / "one.log", tmp_path / "other.log"
    one.write_bytes(log_of([1]))
    other.write_bytes(log_of([2]))
    said: list[str] = []

    def replace() -> None:
        one.rename(tmp_path / "one.log.1")
        one.mkdir()
        (one / "file").touch()  # some file systems give an empty folder no size
        other.write_bytes(log_of([2, 3]))

    def put_back() -> None:
        (one / "file").unlink()
        one.rmdir()
        one.write_bytes(log_of([4]))

    looks: list[Callable[[], object]] = [lambda: time.sleep(0.02)] * 15
    turns = Turns(lambda: names_in(flaky) == names_of(range(1, 5)), *looks, replace, *looks, put_back)
    follow(url, [str(one), str(other)], None, turns, say=said.append)
    assert said == [f"{one}: is no file; give `-` and pipe it in"]


@pytest.mark.usefixtures("quick")
def test_the_same_dump_in_two_files_is_one_event(kept_by: tuple[Flaky, str], tmp_path: Path) -> None:
    flaky, url = kept_by
    (tmp_path / "kern.log").write_bytes(log_of(range(3)))
    (tmp_path / "messages").write_bytes(b"Mar  4 05:00:00 node7 cron: hello\n" + log_of(range(3)))
    names = [str(tmp_path / "kern.log"), str(tmp_path / "messages")]
    looks: list[Callable[[], object]] = [lambda: time.sleep(0.02)] * 30
    done = follow(url, names, None, Turns(lambda: True, *looks))
    assert names_in(flaky) == names_of(range(3))
    assert (done.done.indexed, done.done.already) == (3, 3)


@pytest.mark.usefixtures("quick")
def test_what_happened_twice_in_a_second_is_two_events(kept_by: tuple[Flaky, str], tmp_path: Path) -> None:
    flaky, url = kept_by
    line = b"Mar  4 05:06:07 node7 kernel: swapper: page allocation failure. order:1, mode:0x20\n"
    log = tmp_path / "messages"
    log.write_bytes(line)
    follow(url, [str(log)], tmp_path / "state", Turns(lambda: len(flaky.kept) == 1))
    with log.open("ab") as file:
        file.write(line)
    follow(url, [str(log)], tmp_path / "state", Turns(lambda: len(flaky.kept) == 2))
    follow(url, [str(log)], tmp_path / "other", Turns(lambda: True, *[lambda: time.sleep(0.01)] * 20))
    assert len(flaky.kept) == 2


@pytest.mark.usefixtures("quick")
def test_the_checkpoint_waits_for_the_cluster(tmp_path: Path) -> None:
    flaky = Flaky("opensearch", *[503] * 6)
    log, state = tmp_path / "kern.log", tmp_path / "state"
    log.write_bytes(log_of(range(3)) + b"Mar  4 06:00:00 node7 kernel: quiet\n" * 500)
    seen: list[bool] = []

    def answer(method: str, target: str, body: bytes) -> tuple[int, Any]:
        if target.startswith("/_bulk"):
            seen.append(state.exists())
        return flaky(method, target, body)

    with server(answer) as url:
        follow(url, [str(log)], state, Turns(lambda: len(flaky.kept) == 3))
    assert seen == [False] * 7
    assert json.loads(state.read_text())["logs"][str(log)]["quiet"] > len(log_of(range(3)))


# -- the command -------------------------------------------------------------------------------------------------------


def ship_command(url: str, *arguments: str) -> list[str]:
    return [sys.executable, "-m", "allocfail", "ship", "--url", url, "--index-name", "x", *arguments]


def test_a_stream_is_sent_after_a_second_and_the_rest_when_told_to_stop(kept_by: tuple[Flaky, str]) -> None:
    flaky, url = kept_by
    command = ship_command(url, "-", "--year", "2026", "--host", "elsewhere")
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdin is not None
        process.stdin.write(log_of([1]) + b"Mar  4 06:00:00 node7 kernel: quiet\n" * 70)
        process.stdin.flush()
        _until(lambda: names_in(flaky) == names_of([1]))
        process.stdin.write(b"x: page allocation failure. order:3, mode:0x20\n")
        process.stdin.flush()
        time.sleep(0.5)
        process.send_signal(signal.SIGTERM)
        out = process.stdout.read() if process.stdout else b""
        assert process.wait(30) == 0
    assert json.loads(out) == {"indexed": 2, "completed": 0, "already_there": 0, "rejected": 0}
    assert sorted(source["host"]["hostname"] for source in flaky.kept.values()) == ["elsewhere", "node7"]


def test_an_event_that_a_stream_ends_with_does_not_wait_for_more(kept_by: tuple[Flaky, str]) -> None:
    flaky, url = kept_by
    with subprocess.Popen(
        ship_command(url, "-", "--year", "2026"), stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        assert process.stdin is not None
        process.stdin.write(log_of([1]) + b"Mar  4 06:00:00 node7 kernel: quiet\n" * 70)
        process.stdin.flush()
        _until(lambda: len(flaky.kept) == 1)  # it is up
        process.stdin.write(b"Mar  4 06:00:00 node7 kernel: x: page allocation failure. order:3, mode:0x20\n")
        process.stdin.flush()
        written = time.monotonic()
        _until(lambda: len(flaky.kept) == 2)
        assert time.monotonic() - written < following._IDLE, "a second, not as long as a file's"
        process.stdin.close()
        assert process.wait(30) == 0


def test_journalctl_on_standard_input(kept_by: tuple[Flaky, str]) -> None:
    flaky, url = kept_by
    rows = [
        {
            "MESSAGE": text.partition("] ")[2],
            "_HOSTNAME": "node7",
            "_BOOT_ID": "5f1c",
            "_TRANSPORT": "kernel",
            "SYSLOG_IDENTIFIER": "kernel",
            "SYSLOG_FACILITY": "0",
            "_SOURCE_MONOTONIC_TIMESTAMP": "1001000001",
        }
        for text in swept.text_of(1)
    ]
    done = subprocess.run(
        ship_command(url, "--follow", "-"), input=swept.dumps(rows).encode(), capture_output=True, check=False
    )
    assert done.returncode == 0, done.stderr
    (source,) = flaky.kept.values()
    assert source["allocfail"]["fingerprint"]["text"] == swept.fingerprint_of(1)
    assert source["allocfail"]["provenance"] == "kernel"
    assert source["host"]["hostname"] == "node7"


@pytest.mark.parametrize("name", ["\x1b[31mred.log", "two\nlines.log", "\N{RIGHT-TO-LEFT OVERRIDE}gol.log"])
def test_a_file_by_any_name_is_one_printable_line(tmp_path: Path, name: str) -> None:
    """Also on a terminal, whose cursor a name could move."""
    log = tmp_path / name
    log.write_bytes(log_of([1]))
    with server(Flaky("opensearch", lambda _: 400)) as url:
        for command, expected in (
            (ship_command(url, str(log)), b"was rejected"),
            (ship_command(url, str(log) + "?"), b"no such file"),
            ([sys.executable, "-m", "allocfail", "decode", str(log) + "?", str(log)], b"no such file"),
            ([sys.executable, "-m", "allocfail", "enrich", str(log) + "?"], b"no such file"),
        ):
            main, side = os.openpty()
            done = subprocess.run(command, stdout=subprocess.DEVNULL, stderr=side, check=False)
            os.close(side)
            said = os.read(main, 1 << 16)
            os.close(main)
            assert done.returncode in {1, 2}
            assert expected in said.lower()
            assert said.endswith(b"\r\n")
            assert said.decode().removesuffix("\r\n").isprintable()


def test_refused_events_are_kept_and_taken_back(tmp_path: Path) -> None:
    refusing = Flaky("elasticsearch", lambda at: 400 if at == 1 else 201)
    log, letters = tmp_path / "kern.log", tmp_path / "refused.ndjson"
    log.write_bytes(log_of(range(3)))
    with server(refusing) as url:
        command = ship_command(url, "--dead-letters", str(letters), "--year", "2026")
        first = subprocess.run([*command, str(log)], capture_output=True, check=False)
        assert first.returncode == 1
        assert first.stderr.count(b"\n") == 1
        assert b"kern.log: the event at byte " in first.stderr
        assert names_in(refusing) == names_of([0, 2])
        (row,) = map(json.loads, letters.read_text().splitlines())
        assert (row["status"], row["index"], row["reason"]) == (400, "x", "no")
        second = subprocess.run([*command, "--retry-dead-letters"], capture_output=True, check=False)
        assert json.loads(second.stdout)["indexed"] == 1, second.stderr
    assert names_in(refusing) == names_of(range(3))
    assert list(tmp_path.iterdir()) == [log]


PACKED = {"bzip2": bz2.compress(b"x" * 100), "journal": b"LPKSHHRH" + bytes(20), "gzip": gzip.compress(b"x" * 100)}


@pytest.mark.parametrize("form", PACKED)
def test_who_follows_an_archive_is_told(tmp_path: Path, kept_by: tuple[Flaky, str], form: str) -> None:
    log = tmp_path / "log"
    log.write_bytes(PACKED[form])
    for name in (str(log), "-"):
        command = ship_command(kept_by[1], "--follow", name, "--state", str(tmp_path / "state"))
        done = subprocess.run(command, input=PACKED[form], capture_output=True, check=False)
        assert (done.returncode, done.stderr.count(b"\n")) == (2, 1)
        assert form.encode() in done.stderr


@pytest.mark.parametrize("form", ["bzip2", "journal"])
def test_what_another_program_has_to_open_is_said_for_ship(
    tmp_path: Path, kept_by: tuple[Flaky, str], form: str
) -> None:
    log = tmp_path / "log"
    log.write_bytes(PACKED[form])
    for name in (str(log), "-"):
        done = subprocess.run(ship_command(kept_by[1], name), input=PACKED[form], capture_output=True, check=False)
        assert (done.returncode, done.stderr.count(b"\n")) == (2, 1)
        assert done.stderr.endswith(b"| allocfail ship -\n")


# -- real clusters -----------------------------------------------------------------------------------------------------


def _until(holds: Callable[[], bool], seconds: float = 90.0) -> None:
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.05)


@pytest.mark.parametrize("seed", [1, 2])
def test_every_event_once_through_a_bad_network(cluster: Engine, tmp_path: Path, seed: int) -> None:
    list(install(cluster, WANTED))
    log = tmp_path / "kern.log"
    log.write_bytes(log_of(range(900)))
    faults = Faults(seed)
    with proxy(cluster.where.url, faults) as url:
        command = [sys.executable, "-m", "allocfail", "ship", str(log), "--url", url, "--year", "2026"]
        done = subprocess.run(command, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr
    assert swept.counted(swept.events(cluster)) == swept.once_each(range(900))


def write_torn(
    log: Path, number: int, chance: random.Random, *, pause: float, may_rotate: Callable[[], bool] = lambda: True
) -> None:
    """Write a dump in two pieces, at most ``pause`` seconds apart; one in ten is torn by a rotation."""
    data = log_of([number])
    cut = chance.randrange(len(data))
    with log.open("ab") as file:
        file.write(data[:cut])
        file.flush()
        time.sleep(chance.uniform(0, pause))
        if chance.random() < 0.1 and may_rotate():
            log.rename(log.with_name(f"kern.log.{number}"))
            log.write_bytes(data[cut:])
        else:
            file.write(data[cut:])


def test_a_log_that_is_never_quiet_is_not_read_again_from_its_beginning() -> None:
    data, options = log_of(range(300)), Options(year=2026)
    feed = Feed(options)
    found: list[str] = []
    for start in range(0, len(data), 1000):
        found += [event.document["error"]["id"] for event in feed.feed(data[start : start + 1000])]
        assert data.count(b"page allocation failure", feed.quiet, start) < 40
    again = Feed(options, offset=feed.quiet)
    known = len(feed.since_quiet)
    assert [event.document["error"]["id"] for event in again.feed(data[feed.quiet :])][:known] == found[-known:]


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_begun_anew_from_what_was_kept(tmp_path: Path, seed: int) -> None:
    """Dumps without a pause, so that no place is quiet, through more rotations than files are remembered."""
    chance, kept_at, count = random.Random(seed), random.Random(seed + 100), 800
    log = tmp_path / "kern.log"
    log.touch()

    def write() -> None:
        for number in range(count):
            write_torn(log, number, chance, pause=0.006)
        log.write_bytes(log.read_bytes() + b"Mar  4 09:00:00 node7 kernel: [99999.0] quiet\n" * 3000)

    options = Options(year=2026)
    source = Source(Tail(log), options, None)
    state = source.state() or {}
    found: dict[str, str] = {}
    writer = threading.Thread(target=write)
    writer.start()
    empty = 0
    while empty < 50:
        items = source.read()
        empty = 0 if items is not None or writer.is_alive() else empty + 1
        if items is None:
            time.sleep(0.002)
        for one in items or []:
            text = one.document["allocfail"]["fingerprint"]["text"]
            assert found.setdefault(one.id, text) == text
        if kept_at.random() < 0.2:
            state = json.loads(json.dumps(source.state()))
        if writer.is_alive() and kept_at.random() < 0.03:
            source.log.close()
            tail = Tail(log, parts=[Part(*part) for part in state["parts"]], offset=state["quiet"])
            assert not tail.lost
            source = Source(tail, options, None, state)
    source.log.close()
    writer.join()
    assert Counter(found.values()) == swept.once_each(range(count))


@pytest.mark.slow
def test_killed_at_random_while_a_log_grows(cluster: Engine, tmp_path: Path) -> None:
    """Whatever moment it dies at, with rotation going on: each event is there once, and whole."""
    list(install(cluster, WANTED))
    kills = int(os.environ.get("ALLOCFAIL_KILLS", "4"))
    chance = random.Random(kills)
    log, written = tmp_path / "logs" / "kern.log", 0
    log.parent.mkdir()
    log.touch()
    command = [sys.executable, "-m", "allocfail", "ship", "--follow", str(log), "--url", cluster.where.url]
    command += ["--year", "2026", "--state", str(tmp_path / "state")]

    def write(process: subprocess.Popen[bytes], until: float) -> None:
        nonlocal written
        while time.monotonic() < until and process.poll() is None:
            write_torn(log, written, chance, pause=0.02, may_rotate=(tmp_path / "state").exists)
            written += 1

    for _ in range(kills):
        with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
            write(process, time.monotonic() + chance.uniform(0.5, 3.0))
            assert process.poll() is None
            process.send_signal(signal.SIGKILL)
    errors = tmp_path / "errors"
    with errors.open("wb") as file, subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=file) as process:
        with contextlib.suppress(AssertionError):  # what is missing is told below
            _until(lambda: swept.counted(swept.events(cluster)) == swept.once_each(range(written)), 120)
        process.send_signal(signal.SIGTERM)
        status = process.wait(60)
    found = swept.events(cluster)
    assert (errors.read_bytes(), status) == (b"", 0)
    assert swept.counted(found) == swept.once_each(range(written))
    assert all(event["allocfail"]["complete"] for event in found)


@pytest.mark.parametrize("name", ["app-nothing", "app-nothing*", "_all", "app-Nothing"])
def test_a_name_that_nothing_is_known_of_is_one_line(cluster: Engine, tmp_path: Path, name: str) -> None:
    """Nothing is created by it, and nothing is waited for."""
    log = tmp_path / "kern.log"
    log.write_bytes(log_of(range(3)))
    command = [sys.executable, "-m", "allocfail", "ship", str(log), "--url", cluster.where.url, "--index-name", name]
    done = subprocess.run(command, capture_output=True, check=False)
    assert (done.returncode, done.stderr.count(b"\n")) == (1, 1)
    assert b"run `allocfail install`" in done.stderr
    assert cluster.request("GET", "/_resolve/index/app-*")["indices"] == []


def test_an_index_that_is_closed_is_one_line(cluster: Engine, tmp_path: Path) -> None:
    list(install(cluster, WANTED))
    log = tmp_path / "kern.log"
    log.write_bytes(log_of(range(3)))
    cluster.request("POST", path("allocfail-events", "_close"))
    command = [sys.executable, "-m", "allocfail", "ship", str(log), "--url", cluster.where.url]
    done = subprocess.run(command, capture_output=True, check=False)
    assert (done.returncode, done.stderr.count(b"\n")) == (1, 1)
    assert b"closed" in done.stderr


# -- told to stop while the cluster says nothing -----------------------------------------------------------------------


def mute(
    flaky: Flaky, hung: threading.Event, released: threading.Event
) -> Callable[[str, str, bytes], tuple[int, Any]]:
    """Accept bulk requests and say nothing, until ``released``; ``hung`` tells that it has begun."""

    def answer(method: str, target: str, body: bytes) -> tuple[int, Any]:
        if target.startswith("/_bulk") and not released.is_set():
            hung.set()
            released.wait(120)
            return 503, {}
        return flaky(method, target, body)

    return answer


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_told_to_stop_while_the_cluster_says_nothing(tmp_path: Path, number: int) -> None:
    """It ends without the answer, says what becomes of the events, and the next start sends them."""
    flaky, hung, released = Flaky("opensearch"), threading.Event(), threading.Event()
    log, state = tmp_path / "kern.log", tmp_path / "state"
    log.write_bytes(log_of(range(3)) + b"Mar  4 06:00:00 node7 kernel: quiet\n" * 500)
    with server(mute(flaky, hung, released)) as url:
        command = ship_command(url, "--follow", str(log), "--year", "2026", "--state", str(state), "--timeout", "600")
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
            assert hung.wait(60)
            process.send_signal(number)
            out, errors = process.communicate(timeout=60)
        released.set()
        assert process.returncode == 1
        assert (errors.count(b"\n"), errors.count(b"3 events will be sent at the next start")) == (1, 1), errors
        assert json.loads(out)["indexed"] == 0
        assert not state.exists()
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
            _until(lambda: names_in(flaky) == names_of(range(3)))
            process.send_signal(number)
            assert process.communicate(timeout=60)[1] == b""


@pytest.mark.parametrize("product", ["opensearch", "elasticsearch"])
def test_told_to_stop_with_a_stream_that_cannot_be_sent(product: str) -> None:
    flaky, hung, released = Flaky(product), threading.Event(), threading.Event()
    with server(mute(flaky, hung, released)) as url:
        command = ship_command(url, "-", "--year", "2026", "--timeout", "600")
        with subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE
        ) as process:
            assert process.stdin is not None
            process.stdin.write(log_of(range(3)) + b"Mar  4 06:00:00 node7 kernel: quiet\n" * 500)
            process.stdin.flush()
            assert hung.wait(60)
            process.send_signal(signal.SIGTERM)
            _, errors = process.communicate(timeout=60)
        released.set()
    assert process.returncode == 1
    assert (errors.count(b"\n"), errors.count(b"3 events are not indexed, and are not kept here")) == (1, 1), errors


def test_told_to_stop_in_a_large_file(tmp_path: Path) -> None:
    """No event of it has to come for the request to be seen."""
    pipe = tmp_path / "log"
    os.mkfifo(pipe)
    flaky = Flaky("opensearch")
    with (
        server(flaky) as url,
        subprocess.Popen(
            ship_command(url, str(pipe), "--year", "2026"), stdout=subprocess.PIPE, stderr=subprocess.PIPE
        ) as process,
    ):
        with contextlib.suppress(BrokenPipeError), pipe.open("wb") as file:
            file.write(log_of([1]))
            process.send_signal(signal.SIGTERM)
            for _ in range(500):
                file.write(b"Mar  4 06:00:00 node7 kernel: quiet\n" * 5000)
        _, errors = process.communicate(timeout=60)
    assert errors.count(b"was not read to its end: run the command again to add the rest") == 1
