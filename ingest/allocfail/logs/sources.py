"""Inputs as the scan takes them: a file any part of which can be read again, or bytes that come once."""

from __future__ import annotations

import os
from time import monotonic
from typing import TYPE_CHECKING

from allocfail.errors import AllocfailError
from allocfail.logs import search
from allocfail.logs.streams import PATIENCE, PAUSE

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from allocfail.logs.search import Choice, Needles

__all__ = ["LINE", "LOOK_BACK", "FileSource", "Found", "Source", "StreamSource"]

#: What may belong to an event in front of its first needle: the line of suppressed callbacks, the top of a trace whose
#: header is lost, a header that a mailer wrapped.
LOOK_BACK_LINES = 100
LOOK_BACK = 64 << 10
#: How far the beginning of a hit's own line is looked for.
LINE = 1 << 20


class Source:
    """An input, a piece of it in memory, and the search through it."""

    def __init__(self, needles: Needles, size: int) -> None:
        """Make room for ``size`` bytes."""
        self._search = search.Search(needles)
        self._piece = search.Piece(size)
        self._floor = 0
        """Offset below which nothing can be read any more."""
        self._last = False
        """Whether the input ends with what the piece holds."""
        self.paused = False
        """Whether what the piece holds is all there is for now."""
        self.rewind = self._search.rewind
        self.decoded_in_vain = self._search.decoded_in_vain

    @property
    def found_by(self) -> Choice | None:
        """How the last hit was found."""
        return self._search.found_by

    def _fill(self, position: int) -> None:
        """Go on reading: afterwards more bytes from ``position`` on are there, or ``_last`` is set."""
        raise NotImplementedError

    def read(self, offset: int, size: int) -> bytes:
        """Return up to ``size`` bytes at ``offset``, at least a line of them unless the input ends; b"" at the end."""
        raise NotImplementedError

    def find(self, position: int, stop: int | None) -> int:
        """Return the offset of the first hit from ``position`` on that begins before ``stop``; -1 if there is none."""
        piece = self._piece
        begin = position
        while stop is None or position < stop:
            position = max(position, self._floor)
            limit = piece.end if self._last or self.paused else piece.end - search.MARGIN
            if piece.base <= position < limit:
                if stop is not None and stop < limit:
                    limit = stop
                hit = self._search.first(piece, position, limit)
                if hit < limit:
                    return hit
                position = limit
            elif self._last and position >= piece.base:
                return -1
            else:
                if self.paused:
                    position = max(position - search.MARGIN, begin)  # what was cut by the pause may be whole now
                self._search.next_piece(position)
                self._fill(position)
        return -1

    def hits(self, position: int, stop: int | None) -> Iterator[int]:
        """Yield the offsets of all hits from ``position`` on that begin before ``stop``."""
        while (hit := self.find(position, stop)) >= 0:
            yield hit
            position = hit + 1

    def before(self, hit: int, floor: int) -> int:
        """Return where to begin so that the decoder sees the lines in front of ``hit``; not below ``floor``."""
        start = max(floor, hit - LOOK_BACK)
        text = self.read(start, hit - start)[: hit - start]
        cut = len(text)
        for _ in range(LOOK_BACK_LINES + 1):
            line = text.rfind(b"\n", 0, cut)
            if line < 0:
                break
            cut = line
        else:
            return start + cut + 1
        if start == floor:
            return floor
        cut = text.find(b"\n")
        if cut >= 0:
            return start + cut + 1
        # A very long line: a whole dump with escaped line ends, for example.
        start = max(floor, hit - LINE)
        text = self.read(start, hit - start)[: hit - start]
        return start + text.rfind(b"\n") + 1


class FileSource(Source):
    """A regular file: any part can be read again."""

    def __init__(self, needles: Needles, fd: int, size: int) -> None:
        """``fd`` is an open file of which ``size`` bytes count."""
        super().__init__(needles, search.PIECE)
        self._fd = fd
        self._size = size
        self.progress: Callable[[int], object] | None = None
        """Called with the offset that the search has come to."""

    def _fill(self, position: int) -> None:
        piece = self._piece
        piece.base = max(position - search.MARGIN, 0)
        got = os.preadv(self._fd, [piece.view], piece.base)
        piece.end = min(piece.base + got, self._size)
        self._last = got == 0 or piece.end >= self._size
        if self.progress is not None:
            self.progress(piece.base)

    def read(self, offset: int, size: int) -> bytes:
        """Read it from the file, wherever it is."""
        return os.pread(self._fd, max(min(size, self._size - offset), 0), offset)


class Found:
    """A file that has been searched: its hits are known, so that nothing is searched, or learned, again."""

    def __init__(self, file: FileSource, hits: Sequence[int]) -> None:
        """``hits`` are offsets in order: all those in the part of the file that will be asked about."""
        self._hits = hits
        self.read = file.read
        self.before = file.before
        self.paused = False
        self.found_by = None

    def find(self, position: int, stop: int | None) -> int:
        """Return what :meth:`Source.find` would."""
        hit = next((hit for hit in self._hits if hit >= position), -1)
        return hit if stop is None or hit < stop else -1

    def rewind(self) -> None:
        """Do nothing: there is no search to rewind."""

    def decoded_in_vain(self, found_by: Choice, size: int) -> None:
        """Do nothing: who found the hits has learned from them."""


class StreamSource(Source):
    """Bytes that come once: the last of them are kept for looking back."""

    def __init__(self, needles: Needles, readinto: Callable[[memoryview], int]) -> None:
        """``readinto`` fills a buffer with what there is, and returns how many bytes that was, 0 at the end."""
        super().__init__(needles, LINE + search.PIECE)
        self._readinto = readinto
        self._trouble: Exception | None = None
        """What came up while reading ahead: raised behind what could be read."""

    def _fill(self, position: int) -> None:
        if self._trouble is not None:
            raise self._trouble
        piece = self._piece
        used = piece.end - piece.base
        if used > len(piece.buffer) - search.PIECE // 4:
            back = max(position - LOOK_BACK - piece.base, 0)
            if piece.buffer.find(b"\n", back, position - piece.base) < 0:
                back = max(position - LINE - piece.base, 0)  # a very long line
            piece.buffer[: used - back] = piece.view[back:used].tobytes()
            piece.base = self._floor = piece.base + back
            used -= back
        got = self._readinto(piece.view[used : used + search.PIECE])
        if self.paused or got == PAUSE:
            self._search.rewind()
        self.paused = got == PAUSE
        self._last = got == 0
        piece.end += max(got, 0)

    def exceeds(self, size: int) -> bool:
        """Read ahead, for a moment; say whether more than ``size`` bytes have come."""
        patience = monotonic() + PATIENCE
        try:
            while self._piece.end <= size and not self._last and not self.paused and monotonic() < patience:
                self._fill(0)
        except (AllocfailError, OSError) as error:
            self._trouble = error
        return self._piece.end > size

    def read(self, offset: int, size: int) -> bytes:
        """Take it from the piece; read on where it does not hold a line. Of a stream that pauses: b""."""
        piece = self._piece
        while True:
            begin = max(offset - piece.base, 0)
            data = bytes(piece.view[begin : min(begin + size, piece.end - piece.base)])
            if len(data) >= size or self._last or b"\n" in data:
                return data
            self._fill(offset)
            if self.paused:
                return b""
