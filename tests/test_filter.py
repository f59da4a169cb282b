"""``allocfail enrich`` between two programs: nothing is held back, every protocol's line gets its answer."""

from __future__ import annotations

import bz2
import contextlib
import gzip
import json
import lzma
import random
import select
import subprocess
import sys
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

HEADER = "swapper: page allocation failure. order:1, mode:0x20"
EVENT = json.dumps({"message": HEADER}).encode() + b"\n"
OTHER = b'{"message":  "nothing at all"}\n'


@contextmanager
def running(*arguments: str) -> Iterator[subprocess.Popen[bytes]]:
    command = [sys.executable, "-m", "allocfail", "enrich", *arguments]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        yield process
        process.kill()


def ask(process: subprocess.Popen[bytes], line: bytes) -> bytes:
    """Write a line and wait for the answer, with the pipe left open."""
    assert process.stdin is not None
    process.stdin.write(line)
    process.stdin.flush()
    return answer(process)


def answer(process: subprocess.Popen[bytes]) -> bytes:
    assert process.stdout is not None
    assert select.select([process.stdout], [], [], 60)[0], "no answer"
    return process.stdout.readline()


def test_a_line_that_is_waited_for_is_answered_at_once() -> None:
    with running() as process:
        assert ask(process, OTHER) == OTHER
        assert json.loads(ask(process, EVENT))["allocfail"]["order"] == 1
        assert ask(process, OTHER) == OTHER


def test_confirmations_follow_what_is_written(tmp_path: Path) -> None:
    out = tmp_path / "out"
    with running("--protocol", "confirm", "--output", str(out)) as process:
        assert answer(process) == b"OK\n"
        assert ask(process, OTHER) == b"OK\n"
        assert out.read_bytes() == OTHER
        assert ask(process, EVENT) == b"OK\n"
        assert json.loads(out.read_bytes()[len(OTHER) :])["allocfail"]["kind"] == "page_allocation_failure"


def test_mmexternal_gets_one_object_a_message_with_what_is_new() -> None:
    with running("--protocol", "mmexternal") as process:
        assert ask(process, OTHER) == b"{}\n"
        assert ask(process, b"a text that speaks of allocations\n") == b"{}\n"
        for line in (HEADER.encode() + b"\n", EVENT):
            changes = json.loads(ask(process, line))
            assert set(changes) == {"$!"}
            assert changes["$!"]["allocfail"]["gfp"]["mask"] == "0x20"
            assert "message" not in changes["$!"]


@pytest.mark.parametrize("line", [EVENT[:-3] + b"\n", EVENT[:-3]])
def test_a_cut_document_that_would_hold_an_event_is_passed_on_and_said(line: bytes) -> None:
    with running() as process:
        out, errors = process.communicate(OTHER + line + b"\n" + OTHER, timeout=60)
    assert out == OTHER + line + b"\n" + OTHER
    assert process.returncode == 1
    assert b"allocfail: line 2: an event, but no JSON document" in errors


def test_blocks_pass_byte_for_byte_whatever_they_hold(tmp_path: Path) -> None:
    lines = [b'{"a": "alloc %d"}\r\n' % n if n % 7 else b"\xff\x00\n" for n in range(20_000)]
    data = b"".join(lines) + b'{"message": "oom-kill" }'
    path = tmp_path / "in"
    path.write_bytes(data)
    with running(str(path)) as process:
        out, _ = process.communicate(timeout=60)
    assert out == data
    assert process.returncode == 0


BINARY = random.Random(1).randbytes(100_000)


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (
            gzip.compress(EVENT * 50),
            "is compressed with gzip, and passes as it is; try: gzip -dc FILE | allocfail enrich",
        ),
        (lzma.compress(EVENT * 50), "is compressed with xz, and passes as it is; try: xz -dc FILE | allocfail enrich"),
        (bz2.compress(EVENT * 50), "is compressed with bzip2, and passes as it is; try: bzcat FILE | allocfail enrich"),
        (BINARY, "is no text, and passes as it is"),
        (EVENT.decode().encode("utf-16"), "is no text, and passes as it is"),
        (b"LPKSHHRH" + BINARY, "is a binary journal"),
    ],
)
def test_what_is_no_text_passes_and_is_told(data: bytes, words: str, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "allocfail", "enrich"]
    done = subprocess.run(command, input=data, capture_output=True, check=False)
    assert (done.returncode, done.stdout) == (0, data)
    assert done.stderr.startswith(f"allocfail: standard input: {words}".encode())
    assert done.stderr.count(b"\n") == 1
    path = tmp_path / "a file"
    path.write_bytes(data)
    named = subprocess.run([*command, str(path)], capture_output=True, check=False)
    assert named.stdout == data
    assert named.stderr.startswith(f"allocfail: {path}: {words.replace('FILE', repr(str(path)))}".encode())


def test_text_is_not_told_to_be_anything_else() -> None:
    data = OTHER + "]{\u00fc\ufffd}\n".encode() + b"\xff\n"
    done = subprocess.run([sys.executable, "-m", "allocfail", "enrich"], input=data, capture_output=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, data, b"")


def test_a_line_without_an_end_takes_bounded_memory() -> None:
    limited = ["sh", "-c", 'ulimit -v 1200000; exec "$@"', "sh", sys.executable, "-m", "allocfail", "enrich"]
    piece = b"a" * (1 << 20)
    with subprocess.Popen(limited, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        counted: list[int] = []
        out = process.stdout
        reader = threading.Thread(target=lambda: counted.append(sum(map(len, iter(lambda: out.read(1 << 20), b"")))))
        reader.start()
        with contextlib.suppress(BrokenPipeError):
            for _ in range(1500):
                process.stdin.write(piece)
            process.stdin.close()
        reader.join()
    assert (process.returncode, counted) == (0, [1500 * len(piece)])


@pytest.mark.parametrize("name", ["/", "/nonexistent/file", "\x1b[31mred", ""])
def test_an_input_that_cannot_be_read_is_one_line(name: str) -> None:
    done = subprocess.run([sys.executable, "-m", "allocfail", "enrich", name], capture_output=True, check=False)
    assert (done.returncode, done.stdout, done.stderr.count(b"\n")) == (2, b"", 1)
    assert done.stderr.startswith(f"allocfail: {name if name and name.isprintable() else repr(name)}: ".encode())
    assert done.stderr.decode().rstrip("\n").isprintable()


def test_standard_input_that_is_closed_is_one_line() -> None:
    command = ["sh", "-c", 'exec "$@" <&-', "sh", sys.executable, "-m", "allocfail", "enrich"]
    done = subprocess.run(command, capture_output=True, check=False)
    assert (done.returncode, done.stderr) == (2, b"allocfail: standard input: is closed\n")
