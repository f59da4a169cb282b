"""Files that grow, are rotated and cut, and streams: what is there is read, and nothing is waited for."""

from __future__ import annotations

import hashlib
import os
import re
import select
import stat
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

from allocfail.errors import InputError
from allocfail.logs.descriptors import Descriptors
from allocfail.logs.inputs import CHUNK, Packing, packing
from allocfail.logs.streams import HEAD

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

__all__ = ["Part", "Stream", "Tail", "files_below", "packing_of"]

#: Bytes at the beginning of a file that tell it from another with the same inode number; as many are kept of what was
#: read last, for files that all begin alike.
_HEAD = 1024
#: Nanoseconds after which a file's time of change is past: within them another change may leave the same time.
_TICK = 1_000_000_000

#: Looks for a file before it is taken for gone: it may be renamed between two.
_LOOKS = 5
#: Files of a log that are remembered, whether or not they are needed again.
_PARTS = 32


class _File(NamedTuple):
    """A file that has not been read, in the order of reading."""

    written: int
    """When it was written to last, in nanoseconds."""
    current: bool
    """Whether it has the log's own name."""
    changed: int
    """When it was renamed last, in nanoseconds."""
    path: Path
    file: tuple[int, int]
    """Its device and inode."""


class _Left(NamedTuple):
    """A file as it was when it was closed, although it may grow."""

    look: tuple[int, ...] | None
    """What :func:`_look` said; None where another change could leave the same."""
    size: int
    written: int
    gone: bool = False
    """Whether it was looked for in vain."""


@dataclass
class Part:
    """A file that a log was in for a while."""

    device: int
    inode: int
    head: str
    """SHA-256 of its first bytes, and how many these are."""
    start: int
    """Offset in the log of its first byte: a log goes on through all its files."""
    path: str

    def as_state(self) -> list[Any]:
        """Return it as JSON."""
        return [self.device, self.inode, self.head, self.start, self.path]


def _head(fd: int, size: int = _HEAD) -> str:
    data = os.pread(fd, size, 0)
    return f"{len(data)}:{hashlib.sha256(data).hexdigest()[:32]}"


def _matches(fd: int, head: str) -> bool:
    """Whether a file begins with the bytes that it, or another of its inode number, had begun with."""
    size = int(head.partition(":")[0])
    return _head(fd, size) == head


def _status(file: Path | int) -> os.stat_result | None:
    try:
        return os.stat(file)  # noqa: PTH116 - or of an open one
    except OSError:
        return None


def _identity(file: Path | int) -> tuple[int, int] | None:
    """Return device and inode of a file, None where there is none."""
    status = _status(file)
    return (status.st_dev, status.st_ino) if status is not None else None


def _look(file: Path | int) -> tuple[int, ...] | None:
    """Return what changes when a file is written to, cut or replaced; None where there is none."""
    status = _status(file)
    if status is None:
        return None
    return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns


def packing_of(path: Path) -> Packing | None:
    """Return what a file is packed in; None for one that grows, and where there is none."""
    try:
        with path.open("rb") as file:
            return packing(file.read(HEAD))
    except OSError:
        return None


def files_below(folder: Path) -> Iterator[Path]:
    """Yield the regular files of a folder, by name; hidden ones are left out."""
    for path in sorted(folder.iterdir()):
        if path.is_file() and not path.name.startswith("."):
            yield path


class Stream:
    """Standard input, or anything else that comes once."""

    def __init__(self, fd: int, name: str = "-", *, ahead: bytes = b"") -> None:
        """Take an open file, and what has been read of it."""
        self.name = name
        self._fd = fd
        self._ahead = ahead
        self._begun = bool(ahead)
        self.ended = False

    def read(self) -> bytes:
        """Return what is there, nothing where nothing is. Raises :class:`InputError` for what is no text at all."""
        if self._ahead:
            data, self._ahead = self._ahead, b""
            return data
        if self.ended or not self.wait(0.0):
            return b""
        data = os.read(self._fd, CHUNK)
        self.ended = not data
        if not self._begun and (packed := packing(data[:HEAD])) is not None:
            raise InputError(f"standard input: {packed.said}: unpack it in front of the pipe")
        self._begun = True
        return data

    def wait(self, seconds: float) -> bool:
        """Wait until there is something, or until the time is over; return whether there is."""
        return bool(select.select([self._fd], [], [], seconds)[0])


class Tail:
    """One log by the name of its file. What stands in one file and then in the next is one log."""

    def __init__(
        self,
        path: Path,
        *,
        parts: list[Part] | None = None,
        offset: int = 0,
        descriptors: Descriptors | None = None,
    ) -> None:
        """Begin at the beginning, or at the offset in the log where another run was, if its file is still there.

        ``descriptors`` counts the open files of all logs together.
        """
        self.path = path
        self._descriptors = descriptors or Descriptors()
        self.parts: list[Part] = []
        self.offset = 0
        """Offset in the log of the next byte to read."""
        self.needed = offset
        """Offset in the log from which on it may have to be read again: the files of what follows are remembered."""
        self.lost = False
        """The file that was read last is gone, and with it what was written to it since."""
        self._fd = -1
        self._left: _Left | None = None
        """How the current file was when it was closed to make room for others; None where it is not closed so."""
        self._last = b""
        """What was read last of the current file."""
        self._written = 0
        """When the file that was read last was written to last, in nanoseconds."""
        if parts:
            self._resume(parts, offset)

    def _resume(self, parts: list[Part], offset: int) -> None:
        current = [part for part in parts if part.start <= offset][-1:]
        if not current:
            return
        self.parts = [part for part in parts if part.start <= current[0].start]
        self.offset = offset
        fd = self._find()
        if fd >= 0:
            self._hold(fd)
        else:
            self.lost = True
            self.parts = []

    def _hold(self, fd: int) -> None:
        """Make an open file the current one."""
        self._fd = fd
        self._left = None
        self._descriptors.hold(self)

    def _find(self) -> int:
        """Open the current file, under its own name or, rotated, under another in its folder; -1 where it is gone."""
        part = self.parts[-1]
        for _ in range(_LOOKS):
            for path in (self.path, *(path for path in _siblings(self.path) if path != self.path)):
                if _identity(path) != (part.device, part.inode):
                    continue
                fd = self._open(path)
                if fd < 0:
                    continue
                if _identity(fd) == (part.device, part.inode) and self._is_same(fd):
                    return fd
                os.close(fd)
        return -1

    def _find_copy(self) -> int:
        """Open the copy that was made of the current file before it was cut; -1 where there is none."""
        if not self._last:
            return -1
        for path in _siblings(self.path):
            found = _identity(path)
            if found is None or self.knows(*found):
                continue
            try:
                fd = self._open(path)
            except InputError:  # not what we have read
                continue
            if fd >= 0 and self._is_same(fd):
                part = self.parts[-1]
                self.parts[-1] = Part(*found, part.head, part.start, part.path)
                return fd
            if fd >= 0:
                os.close(fd)
        return -1

    def _is_same(self, fd: int) -> bool:
        """Whether a file holds what was read of the current one."""
        if os.fstat(fd).st_size < self.file_offset or not _matches(fd, self.parts[-1].head):
            return False
        return os.pread(fd, len(self._last), self.file_offset - len(self._last)) == self._last

    def _open(self, path: Path) -> int:
        """Open a regular file; -1 where there is none. Raises :class:`InputError` where it may not be read."""
        try:
            fd = self._descriptors.open(path)
        except FileNotFoundError:
            return -1
        except OSError as error:
            raise InputError(f"{path}: {(error.strerror or 'cannot be read').lower()}") from None
        if not stat.S_ISREG(os.fstat(fd).st_mode):
            os.close(fd)
            raise InputError(f"{path}: is no file; give `-` and pipe it in")
        return fd

    @property
    def file_offset(self) -> int:
        """Return the offset in the current file."""
        return self.offset - (self.parts[-1].start if self.parts else 0)

    def where(self, offset: int) -> tuple[str, int]:
        """Return the file, by the name that it had, and the offset in it of an offset in the log."""
        for part in reversed(self.parts):
            if part.start <= offset:
                return part.path, offset - part.start
        return str(self.path), offset

    def knows(self, device: int, inode: int) -> bool:
        """Whether a file is one that this log was in."""
        return any((part.device, part.inode) == (device, inode) for part in self.parts)

    def read(self) -> bytes:
        """Return what has been written since, at most a chunk; nothing where there is nothing."""
        if self._fd < 0 and not (self._begin() if self._left is None else self._return(self._left)):
            return b""
        self._see_cut()
        data = os.pread(self._fd, CHUNK, self.file_offset)
        if not data and self._rotated():
            # Whoever writes may have gone on with the old file until a moment ago.
            data = os.pread(self._fd, CHUNK, self.file_offset)
            if not data:
                self._written = os.fstat(self._fd).st_mtime_ns
                self.close()
                if self._begin():
                    data = os.pread(self._fd, CHUNK, 0)
        if data:
            self._descriptors.hold(self)
            self._last = data[-_HEAD:] if len(data) >= _HEAD else (self._last + data)[-_HEAD:]
        self.offset += len(data)
        self._grow_head()
        return data

    def leave(self) -> None:
        """Close the file to make room for another; :meth:`read` comes back to it once there is something new."""
        status = os.fstat(self._fd)
        past = time.time_ns() - status.st_mtime_ns > _TICK
        self._left = _Left(_look(self._fd) if past else None, status.st_size, status.st_mtime_ns)
        os.close(self._fd)
        self._fd = -1

    def _return(self, left: _Left) -> bool:
        """Open the file that was left, or, where it is gone, the next one; return whether there is something to read.

        Nothing is opened as long as the file that has the log's name is as it was.
        """
        part = self.parts[-1]
        there = _look(self.path)
        if there is not None and there == left.look and left.size == self.file_offset:
            return False
        if there is None and left.gone:
            return False
        fd = self._find()
        if fd < 0 and _identity(self.path) == (part.device, part.inode):
            fd = self._find_copy()  # it was cut
        if fd >= 0:
            self._hold(fd)
            return True
        self.lost = self.lost or not left.gone
        if there is None:
            self._left = left._replace(gone=True)
            return False
        self._left = None
        self._written = left.written
        return self._begin()

    def _begin(self) -> bool:
        """Open the file that comes next; return whether there is one.

        Files are renamed while one looks: what was opened counts if it is still the next one afterwards.
        """
        for _ in range(_LOOKS):
            waiting = self._waiting()
            fd = self._open(waiting[0].path if waiting else self.path)
            if fd < 0:
                if not waiting:
                    return False
                continue
            status = os.fstat(fd)
            found = (status.st_dev, status.st_ino)
            if all(not files or files[0].file == found for files in (waiting, self._waiting())):
                self._remember(Part(*found, _head(fd), self.offset, str(self.path)))
                self._hold(fd)
                return True
            os.close(fd)
        return False

    def _waiting(self) -> list[_File]:
        """Return the files that were written after the last one that was read, the oldest first.

        A clock's tick may be longer than two rotations: of equal times the file that still has the log's name is the
        last, and what was renamed first is the first.
        """
        found = []
        for path in _siblings(self.path) if self.parts else []:
            try:
                status = path.stat()
            except OSError:
                continue
            file = (status.st_dev, status.st_ino)
            if not self.knows(*file) and status.st_mtime_ns >= self._written and status.st_size:
                found.append(_File(status.st_mtime_ns, path == self.path, status.st_ctime_ns, path, file))
        return [one for one in sorted(found) if packing_of(one.path) is None]

    def _see_cut(self) -> None:
        """Begin the file anew where it has been cut (``copytruncate``), even if it has grown again since.

        The copy is read to its end first.
        """
        if self._is_same(self._fd):
            return
        copy = self._find_copy()
        if copy >= 0:
            os.close(self._fd)
            self._hold(copy)
        else:
            part = self.parts[-1]
            self._remember(Part(part.device, part.inode, _head(self._fd), self.offset, part.path))

    def _remember(self, part: Part) -> None:
        self.parts.append(part)
        self._last = b""
        while len(self.parts) > _PARTS and self.parts[1].start <= self.needed:
            del self.parts[0]

    def _grow_head(self) -> None:
        part = self.parts[-1] if self.parts else None
        if part is not None and self._fd >= 0 and int(part.head.partition(":")[0]) < min(_HEAD, self.file_offset):
            part.head = _head(self._fd)

    def _rotated(self) -> bool:
        """Whether the name stands for another file now, and that one is there."""
        try:
            status = self.path.stat()
        except OSError:
            return False
        part = self.parts[-1]
        return (status.st_dev, status.st_ino) != (part.device, part.inode) and status.st_size > 0

    def close(self) -> None:
        """Close the file."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1
            self._descriptors.drop(self)


#: What rotation puts behind a file's name: a number or a date.
_ROTATED = re.compile(r"[.-][0-9][0-9.-]*").fullmatch


def _siblings(path: Path) -> list[Path]:
    """Return a file and those that it has been rotated to."""
    name = path.name
    try:
        others = [other for other in path.parent.iterdir() if other.name.startswith(name)]
    except OSError:
        return []
    return [other for other in others if other.name == name or _ROTATED(other.name.removeprefix(name))]
