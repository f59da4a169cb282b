"""Files that grow, are rotated and cut, and streams: what is there is read, and nothing is waited for."""

from __future__ import annotations

import hashlib
import os
import re
import select
import stat
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

from allocfail.errors import InputError
from allocfail.logs.inputs import CHUNK, is_packed

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

__all__ = ["Part", "Stream", "Tail", "files_below", "is_compressed"]

#: Bytes at the beginning of a file that tell it from another with the same inode number.
_HEAD = 1024


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


def is_compressed(path: Path) -> bool:
    """Whether a file begins as gzip, xz or zstd do."""
    try:
        with path.open("rb") as file:
            return is_packed(file.read(6))
    except OSError:
        return False


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
        self.ended = False

    def read(self) -> bytes:
        """Return what is there, nothing where nothing is."""
        if self._ahead:
            data, self._ahead = self._ahead, b""
            return data
        if self.ended or not self.wait(0.0):
            return b""
        data = os.read(self._fd, CHUNK)
        self.ended = not data
        return data

    def wait(self, seconds: float) -> bool:
        """Wait until there is something, or until the time is over; return whether there is."""
        return bool(select.select([self._fd], [], [], seconds)[0])


class Tail:
    """One log by the name of its file. What stands in one file and then in the next is one log."""

    def __init__(self, path: Path, *, parts: list[Part] | None = None, offset: int = 0) -> None:
        """Begin at the beginning, or at the offset in the log where another run was, if its file is still there."""
        self.path = path
        self.parts: list[Part] = []
        self.offset = 0
        """Offset in the log of the next byte to read."""
        self.needed = offset
        """Offset in the log from which on it may have to be read again: the files of what follows are remembered."""
        self.lost = False
        """The file that was read last is gone, and with it what was written to it since."""
        self._fd = -1
        self._written = 0
        """When the file that was read last was written to last, in nanoseconds."""
        if parts:
            self._resume(parts, offset)

    def _resume(self, parts: list[Part], offset: int) -> None:
        current = [part for part in parts if part.start <= offset][-1:]
        if not current:
            return
        fd = self._find(current[0])
        if fd < 0:
            self.lost = True
            self.offset = offset
            return
        size = os.fstat(fd).st_size
        if size < offset - current[0].start:
            os.close(fd)
            self.lost = True
            self.offset = offset
            return
        self._fd = fd
        self.parts = [part for part in parts if part.start <= current[0].start]
        self.offset = offset

    def _find(self, part: Part) -> int:
        """Open the file of a part, under its own name or, rotated, under another in its folder; -1 where it is gone."""
        for _ in range(_LOOKS):
            fd = self._find_once(part)
            if fd >= 0:
                return fd
        return -1

    def _find_once(self, part: Part) -> int:
        names = [self.path, *(path for path in _siblings(self.path) if path != self.path)]
        for path in names:
            fd = _open(path)
            if fd < 0:
                continue
            status = os.fstat(fd)
            if (status.st_dev, status.st_ino) == (part.device, part.inode) and _matches(fd, part.head):
                return fd
            os.close(fd)
        return -1

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
        if self._fd < 0 and not self._begin():
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
        self.offset += len(data)
        self._grow_head()
        return data

    def _begin(self) -> bool:
        """Open the file that comes next; return whether there is one.

        Files are renamed while one looks: what was opened counts if it is still the next one afterwards.
        """
        for _ in range(_LOOKS):
            waiting = self._waiting()
            fd = _open(waiting[0].path if waiting else self.path)
            if fd < 0:
                if not waiting:
                    return False
                continue
            status = os.fstat(fd)
            found = (status.st_dev, status.st_ino)
            if all(not files or files[0].file == found for files in (waiting, self._waiting())):
                self._fd = fd
                self._remember(Part(*found, _head(fd), self.offset, str(self.path)))
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
        return [one for one in sorted(found) if not is_compressed(one.path)]

    def _see_cut(self) -> None:
        """Begin the file anew where it has been cut (``copytruncate``), even if it has grown again since."""
        part = self.parts[-1]
        if os.fstat(self._fd).st_size < self.file_offset or not _matches(self._fd, part.head):
            self._remember(Part(part.device, part.inode, _head(self._fd), self.offset, part.path))

    def _remember(self, part: Part) -> None:
        self.parts.append(part)
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


def _open(path: Path) -> int:
    """Open a regular file; -1 where there is none. Raises :class:`InputError` where it may not be read."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except FileNotFoundError:
        return -1
    except OSError as error:
        raise InputError(f"{path}: {(error.strerror or 'cannot be read').lower()}") from None
    if not stat.S_ISREG(os.fstat(fd).st_mode):
        os.close(fd)
        raise InputError(f"{path}: is no file; give `-` and pipe it in")
    return fd
