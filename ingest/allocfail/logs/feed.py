"""Bytes of a log that is still being written go in, events come out, and those that its end has cut can be looked at.

As in :mod:`allocfail.logs.scan` only what stands around a literal hit is decoded; unlike there nothing waits for more
bytes than there are.
"""

from __future__ import annotations

from itertools import accumulate
from typing import TYPE_CHECKING, NamedTuple

from allocfail import facts
from allocfail.decoder.assembly import Assembler
from allocfail.decoder.said import read
from allocfail.decoder.untangle import Joiner, Opener, Piece, Splitter
from allocfail.logs.events import Decoder, Event, located
from allocfail.logs.finding import find
from allocfail.logs.search import MARGIN, Needles
from allocfail.logs.sources import LOOK_BACK, LOOK_BACK_LINES
from allocfail.logs.stretches import LOOK_AHEAD

if TYPE_CHECKING:
    from collections.abc import Iterator

    from allocfail.decoder.options import Options

__all__ = ["Feed", "Found"]

#: Bytes behind the last quiet place that are kept, to look at what is open and to go on after a restart.
_MOST_KEPT = 16 << 20
#: Bytes decoded at a time.
_SLICE = 128 << 10
#: Events that are read again after a restart at least, where the log is never quiet.
_AGAIN = 8
#: Bytes of one line that are read at once; a longer one is cut there.
_LINE = 1 << 20


class Found(NamedTuple):
    """An event, and whether it has been handed out."""

    event: Event
    cut: bool
    """The log has ended in it, so far."""


class _Span(NamedTuple):
    """Where an event stands: the offsets of its first and of its last line."""

    first: int
    last: int


class _Growing:
    """Decodes lines one by one: what joins two of them must not depend on how much came at a time."""

    def __init__(self, options: Options) -> None:
        self._options = options
        self._assembler = Assembler()
        self._joiner = Joiner()
        self._opener = Opener()
        self._splitter = Splitter()

    @property
    def oldest(self) -> int | None:
        """Offset of the oldest line that may still become part of an event."""
        return self._assembler.oldest

    @property
    def held(self) -> int | None:
        """Offset of the line that the next one may go on with."""
        last = self._joiner.close()
        return last.offset if last is not None else None

    def decode(self, data: bytes, offset: int) -> Iterator[Event]:
        """Take whole lines; give the events that they ended."""
        for line in data.removesuffix(b"\n").split(b"\n"):
            yield from self._take(self._opener.feed(line.decode("utf-8", "replace"), offset))
            offset += len(line) + 1

    def _take(self, pieces: list[Piece]) -> Iterator[Event]:
        for piece in pieces:
            for record, start in self._splitter.split(piece):
                whole = self._joiner.feed(record, start, may_repeat=True)
                if whole is not None:
                    for dump in self._assembler.feed(read(whole)):
                        yield located(dump, self._options)

    def pause(self) -> Iterator[Event]:
        """Take note that the lines that follow are not the next ones."""
        yield from self._take(self._opener.close())
        self._opener = Opener()
        last = self._joiner.close()
        self._joiner = Joiner()
        if last is not None:
            for dump in self._assembler.feed(read(last)):
                yield located(dump, self._options)


class Feed:
    """Decodes one log as it grows. Offsets are bytes from its beginning, whatever files it is in."""

    def __init__(self, options: Options, *, offset: int = 0) -> None:
        """Begin at a quiet place: where no event is open."""
        self._options = options
        self._growing = _Growing(options)
        families = Needles.of(facts.load()["needles"]).families
        ways = [way for family in families for way in family.ways[:1]]
        self._needles = [(needle.text, needle.pattern()) for way in ways for needle in way.needles]
        self._buffer = bytearray()
        self._base = offset
        """Offset of the buffer's first byte."""
        self._fed = offset
        """Offset up to which everything has been decoded, or holds nothing."""
        self._decoded = offset
        """Offset up to which there is no going back: the decoder has had it."""
        self._need = offset
        """Offset up to which the decoder is fed, whatever it says."""
        self._searched = offset
        self.quiet = offset
        """Offset of the last place where nothing was open; decoding again from there finds the same."""
        self.since_quiet: list[_Span] = []
        """The events behind it that have been handed out, in that order."""
        self._look = 2 * _AGAIN
        """How many there have to be for a look at where to begin again among them."""

    @property
    def end(self) -> int:
        """Offset behind the last byte that came."""
        return self._base + len(self._buffer)

    def feed(self, data: bytes) -> Iterator[Event]:
        """Take more bytes; give the events that their lines ended."""
        self._buffer += data
        cut = self._base + self._buffer.rfind(b"\n") + 1
        if self.end - cut > _LINE:
            cut = self.end
        while self._fed < cut:
            if self._growing.oldest is None and self._fed >= self._need:
                hit = self._find(cut)
                if hit < 0:
                    yield from self._skip(cut)
                    break
                self._searched = hit + 1
                self._need = hit + LOOK_AHEAD
                if hit >= self._fed:
                    start = max(self._decoded, self._before(hit))
                    if start > self._decoded:
                        yield from map(self._handed, self._growing.pause())
                    self._fed = start
            yield from self._decode(min(cut, self._fed + _SLICE), cut)
        self._trim()

    def _decode(self, to: int, cut: int) -> Iterator[Event]:
        start = self._fed - self._base
        stop = self._buffer.rfind(b"\n", start, to - self._base) + 1
        if stop <= start:  # a line longer than a slice
            stop = self._buffer.find(b"\n", to - self._base) + 1 or cut - self._base
        self._fed = self._decoded = self._base + stop
        for event in self._growing.decode(bytes(self._buffer[start:stop]), self._base + start):
            yield self._handed(event)
        if self._growing.oldest is None:
            self._rest(self._growing.held if self._growing.held is not None else self._fed)
        elif len(self.since_quiet) >= self._look:
            self._rest_between(self._growing.oldest)
            self._look = 2 * max(_AGAIN, len(self.since_quiet))

    def _handed(self, event: Event) -> Event:
        dump = event.event.dump
        self.since_quiet.append(_Span(event.offset, self.end if dump.full else dump.records[-1].offset))
        return event

    def _rest_between(self, oldest: int) -> None:
        """Find a quiet place in a log that never is: behind some events, in front of all others, handed out in order.

        A few stay behind it: what is read again begins with them, so that the next one is found as it stands.
        """
        ends = list(accumulate((span.last for span in self.since_quiet), max))
        begin = oldest
        for at in range(len(self.since_quiet) - 1, 0, -1):
            begin = min(begin, self.since_quiet[at].first)
            if len(self.since_quiet) - at >= _AGAIN and ends[at - 1] < begin:
                self._rest(begin)
                return

    def _rest(self, offset: int) -> None:
        """Take note of a quiet place."""
        self.quiet = offset
        self.since_quiet = [span for span in self.since_quiet if span.first >= offset]

    def _find(self, cut: int) -> int:
        """Return the offset of the next hit that begins before ``cut``, -1 where there is none."""
        start = max(self._searched, self._fed - MARGIN, self._base) - self._base
        stop = cut - self._base
        best = -1
        with memoryview(self._buffer) as view:
            for needle, confirm in self._needles:
                at = start
                while at < stop and (step := find(view[at:stop], needle)) >= 0:
                    at += step
                    if confirm is None or confirm.match(self._buffer, at, len(self._buffer)):
                        best = at if best < 0 else min(best, at)
                        break
                    at += 1
        return best + self._base if best >= 0 else -1

    def _before(self, hit: int) -> int:
        """Return where to begin so that the decoder sees the lines in front of a hit."""
        floor = max(0, hit - self._base - LOOK_BACK)
        at = hit - self._base
        for _ in range(LOOK_BACK_LINES + 1):
            line = self._buffer.rfind(b"\n", floor, at)
            if line < 0:
                break
            at = line
        else:
            return self._base + at + 1
        first = self._buffer.find(b"\n", floor, at)
        if floor == 0:
            return self._base
        return self._base + (first + 1 if first >= 0 else floor)

    def _skip(self, cut: int) -> Iterator[Event]:
        """Pass over lines in which nothing was found; those in front of what comes next may still be wanted."""
        for event in self._growing.pause():
            yield self._handed(event)
        self._fed = cut
        if self._growing.oldest is None:
            self._rest(max(self._decoded, self._before(cut)))

    def _trim(self) -> None:
        """Forget what is neither open nor in front of what may come."""
        keep = min(self.quiet, self._before(self._fed))
        if self.end - keep > _MOST_KEPT:
            keep = self.end - _MOST_KEPT // 2
            self._rest(max(self.quiet, keep))
        if keep - self._base > _SLICE:
            del self._buffer[: keep - self._base]
            self._base = keep

    def open(self) -> list[Found]:
        """Return the events behind the last quiet place as if the log had ended here, also in a line without an end.

        Those that have been handed out are among them, in order, so that all can be numbered; nothing changes by this.
        """
        if self._growing.oldest is None and self._growing.held is None and self.end == self._fed:
            return []
        decoder = Decoder(self._options)
        data = bytes(self._buffer[max(0, self.quiet - self._base) :])
        events = [*decoder.decode([data], max(self.quiet, self._base)), *decoder.close()]
        handed = {span.first for span in self.since_quiet}
        return [Found(event, event.offset not in handed) for event in events]
