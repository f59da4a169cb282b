"""What the scan reads from: regular text files as they are, everything else as a stream of bytes into a buffer."""

from __future__ import annotations

import io
import os
import select
import stat
from typing import TYPE_CHECKING

from allocfail.logs.workers import widen

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from typing import BinaryIO

    ReadInto = Callable[[memoryview], int]

__all__ = ["HEAD", "PATIENCE", "PAUSE", "counted", "is_bzip2", "is_journal", "open_regular", "open_stream", "unpacked"]

#: Returned instead of a number of bytes where nothing has come for :data:`PATIENCE`.
PAUSE = -1
#: Seconds without input after which a stream is taken to pause. The kernel prints an event in milliseconds.
PATIENCE = 1.0

#: Bytes that tell what an input is.
HEAD = 14


def is_bzip2(head: bytes) -> bool:
    """Whether an input is compressed with bzip2: behind magic and level stands a block, or the end of an empty one."""
    return head.startswith(b"BZh") and head[4:10] in (b"1AY&SY", b"\x17rE8P\x90")


def is_journal(head: bytes) -> bool:
    """Whether an input is a file of systemd's journal (``src/libsystemd/sd-journal/journal-def.h``)."""
    return head.startswith(b"LPKSHHRH")


def _is_text(head: bytes) -> bool:
    """Whether an input begins with text: most formats have a byte among their first six that is none."""
    if is_bzip2(head) or is_journal(head):
        return False
    return bool(head) and all(0x20 <= byte < 0x7F or byte in b"\t\r\n\x1b" for byte in head[:6])


def open_regular(path: str) -> int | None:
    """Open a regular file that begins with text (``-``: standard input); None for anything else.

    None as well for what cannot be opened: who opens it in the other way says what is wrong. What is no regular file is
    not even opened, for its writer would take note.
    """
    fd = -1
    try:
        status = os.fstat(0) if path == "-" else os.stat(path)  # noqa: PTH116 - Path("") is a folder
        if not stat.S_ISREG(status.st_mode) or not status.st_size:
            return None
        fd = 0 if path == "-" else os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        if _is_text(os.pread(fd, HEAD, os.lseek(fd, 0, os.SEEK_CUR))):
            return fd
    except (OSError, ValueError):
        pass
    if fd > 0:
        os.close(fd)
    return None


def open_stream(path: str) -> ReadInto:
    """Open anything else; return what reads it, uncompressed, into a buffer.

    Raises :class:`~allocfail.errors.InputError`.
    """
    from allocfail.logs import inputs  # noqa: PLC0415 - regular files of text do without

    name, file = inputs.open_file(path)
    direct = None
    if isinstance(file, io.BufferedReader) and not _is_seekable(file):
        direct = _direct(file)
    return direct or unpacked(inputs.uncompressed(name, file))


def _is_seekable(file: BinaryIO) -> bool:
    try:
        return file.seekable()
    except (OSError, ValueError):
        return True


def _direct(file: io.BufferedReader) -> ReadInto | None:
    """Return what reads a pipe without a copy in between, and says when it pauses; None where it holds no text."""
    try:
        fd = file.fileno()
        widen(fd)
        head = file.peek(HEAD)
        if not _is_text(head[:HEAD]):
            return None
        ahead = memoryview(file.read1(len(head)))
    except (OSError, ValueError):
        return None  # whoever reads it in the other way says what is wrong

    def readinto(buffer: memoryview) -> int:
        nonlocal ahead
        if ahead:
            size = min(len(ahead), len(buffer))
            buffer[:size] = ahead[:size]
            ahead = ahead[size:]
            return size
        if file.closed:
            return 0
        if not select.select([file], [], [], PATIENCE)[0]:
            return PAUSE
        got = os.readv(fd, [buffer])
        if not got and fd:
            file.close()  # standard input is not ours
        return got

    return readinto


def unpacked(chunks: Iterable[bytes]) -> ReadInto:
    """Return what copies chunks into a buffer, as much as fits."""
    left = iter(chunks)
    ahead = memoryview(b"")

    def readinto(buffer: memoryview) -> int:
        nonlocal ahead
        while not ahead:
            chunk = next(left, None)
            if chunk is None:
                return 0
            ahead = memoryview(chunk)
        size = min(len(ahead), len(buffer))
        buffer[:size] = ahead[:size]
        ahead = ahead[size:]
        return size

    return readinto


def counted(readinto: ReadInto, progress: Callable[[int, int | None], object]) -> ReadInto:
    """Return what reads the same, and says how many bytes it has read."""
    done = 0

    def counting(buffer: memoryview) -> int:
        nonlocal done
        got = readinto(buffer)
        if got > 0:
            done += got
            progress(done, None)
        return got

    return counting
