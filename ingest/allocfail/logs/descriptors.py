"""How many files may be open at once, and which of them is closed for another."""

from __future__ import annotations

import errno
import os
import resource
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["Descriptors", "Holder"]

#: Descriptors left to everything else: connections, checkpoints, folders, modules that are yet to be imported.
_ROOM = 20


class Holder(Protocol):
    """Who holds an open file, and can do without."""

    def leave(self) -> None:
        """Close it."""


def _spare() -> int:
    """Return how many files this process may open beside those that it has, with room for everything else."""
    most, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if most == resource.RLIM_INFINITY:
        most = 1 << 16
    try:
        used = len(os.listdir("/dev/fd"))  # noqa: PTH208 - names are all that is wanted
    except OSError:
        used = 3
    return max(1, most - used - _ROOM)


class Descriptors:
    """Keeps a bounded number of files open: the one from which nothing has come for longest is closed for another."""

    def __init__(self, most: int | None = None) -> None:
        """Take how many, or as many as the process may open."""
        self.most = most or _spare()
        self._holders: dict[Holder, None] = {}
        """In the order in which they were used last."""

    def open(self, path: Path) -> int:
        """Open a file for reading, whatever has to be closed for it. Raises ``OSError``."""
        while True:
            try:
                return os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
            except OSError as error:
                if error.errno not in {errno.EMFILE, errno.ENFILE} or not self._holders:
                    raise
                self.most = max(1, len(self._holders) - 1)  # others have taken more than they were given
                self._leave()

    def hold(self, holder: Holder) -> None:
        """Take note that an open file is kept, or has been used again."""
        self._holders.pop(holder, None)
        while len(self._holders) >= self.most:
            self._leave()
        self._holders[holder] = None

    def drop(self, holder: Holder) -> None:
        """Take note that it was closed."""
        self._holders.pop(holder, None)

    def _leave(self) -> None:
        oldest = next(iter(self._holders))
        del self._holders[oldest]
        oldest.leave()
