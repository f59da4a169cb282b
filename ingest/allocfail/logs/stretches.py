"""Feeds a decoder the lines around hits, stretch by stretch, and leaves out the rest."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol, TypeVar

from allocfail.logs.sources import LOOK_BACK

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from allocfail.logs.search import Choice
    from allocfail.logs.sources import Found, Source

__all__ = ["Feed", "Located", "decode_part"]

#: Fed behind a hit in any case: what completes a wrapped line, "last message repeated N times".
LOOK_AHEAD = 4 << 10
#: The decoder is fed in slices: small ones, for an event is short and what is fed behind it is in vain; larger ones
#: where hit follows hit, and where all is decoded.
SLICE_MIN = 4 << 10
SLICE_MAX = 128 << 10
#: Fed behind a hit at most while no event has begun: a trace that none is made of may go on for ever.
GIVE_UP = 64 << 10


class Located(Protocol):
    """What a feed gives: anything that knows where in the input it began."""

    @property
    def offset(self) -> int:
        """Byte offset of the event's first line."""


L_co = TypeVar("L_co", bound=Located, covariant=True)
L = TypeVar("L", bound=Located)


class Feed(Protocol[L_co]):
    """What makes events of stretches of an input; see :func:`allocfail.logs.events`."""

    @property
    def oldest(self) -> int | None:
        """Offset of the oldest line that later lines may still make an event, or add to; None: nothing is open.

        Asked whenever a stretch's iterator is asked for more, when all but the last line of what it gave is decoded.
        """

    @property
    def begun(self) -> bool:
        """Whether what is open is an event, rather than something that may become one."""

    def decode(self, chunks: Iterator[bytes], offset: int) -> Iterator[L_co]:
        """Decode a stretch of whole lines, which begins at ``offset``; yield the events that its lines ended.

        Between stretches lines are left out in which there is nothing to find, and nothing was open.
        """

    def close(self) -> Iterable[L_co]:
        """Return the events that the end of the input ended."""


def decode_part(
    source: Source | Found,
    feed: Callable[[], Feed[L]],
    *,
    begin: int = 0,
    start: int = 0,
    stop: int | None = None,
    whole: int = 0,
) -> Iterator[L]:
    """Yield the events that begin in ``start`` to ``stop`` (None: the end), as decoding all of the input would.

    Decoding begins at ``begin``; everything up to ``whole`` is fed, whether it holds needles or not.
    """
    source.rewind()
    first = begin
    if whole <= begin:
        # Most parts hold nothing: no decoder, and no warm-up, for those.
        hit = source.find(start, None if stop is None else stop + LOOK_BACK)
        if hit < 0:
            return
        if begin == start:
            first = hit
        else:
            source.rewind()
    decoder = feed()
    stretches = _Stretches(source, decoder, begin=begin, first=first, stop=stop, whole=whole)
    while not stretches.ended:
        for event in _stretch(source, decoder, stretches):
            stretches.fruitful = True
            if start <= event.offset and (stop is None or event.offset < stop):
                yield event


def _stretch(source: Source | Found, decoder: Feed[L], stretches: _Stretches) -> Iterator[L]:
    """Yield the events of the next stretch; what is open at the end of the last, or where the input pauses, too."""
    yield from decoder.decode(stretches.chunks(), stretches.fed)
    if stretches.ended or stretches.given_up or source.paused:
        yield from decoder.close()


class _Stretches:
    """What a decoder is fed of one part of an input."""

    def __init__(
        self, source: Source | Found, decoder: Feed[Located], *, begin: int, first: int, stop: int | None, whole: int
    ) -> None:
        self._source = source
        self._decoder = decoder
        self._stop = stop
        self._need = whole
        """Offset up to which the decoder is fed, whatever it says."""
        self._position = first
        """Offset of the next hit to look for."""
        self._size = SLICE_MAX if whole > begin else SLICE_MIN
        self.fed = begin
        """Offset behind what the decoder has had, or where the next stretch begins."""
        self._cause: Choice | None = None
        """How the last hit was found."""
        self._settled = begin
        """Offset up to which it is known whether decoding was in vain."""
        self.fruitful = False
        """Whether an event came of what was fed since."""
        self.ended = False
        self.given_up = False
        """Whether what is open is not worth to go on for."""

    def chunks(self) -> Iterator[bytes]:
        """Yield pieces of whole lines until nothing is open, and no hit is near."""
        while self._goes_on():
            data = self._source.read(self.fed, self._size)
            if not data:
                self.ended = not self._source.paused
                return
            cut = data.rfind(b"\n") + 1
            if cut:
                data = data[:cut]
            self.fed += len(data)
            yield data

    def _goes_on(self) -> bool:
        """Say whether the decoder is to have more of this stretch; where not, another begins, or all has ended."""
        while self.fed >= self._need:
            oldest = self._decoder.oldest
            self.given_up = oldest is not None and self.fed > self._need + GIVE_UP and not self._decoder.begun
            if oldest is not None and not self.given_up:
                # What is open begins in the next part, and is decoded there?
                self.ended = self._stop is not None and oldest >= self._stop and self.fed >= self._stop + LOOK_BACK
                return not self.ended
            self._settle()
            if not self._next_hit():
                self.ended = True
                return False
            if self._begins_another() or self.given_up:
                return False
            self._size = min(self._size * 2, SLICE_MAX)
        return True

    def _settle(self) -> None:
        """Tell the search where nothing came of its last hit."""
        if self._cause is not None and not self.fruitful:
            self._source.decoded_in_vain(self._cause, self.fed - self._settled)
        self._cause = None
        self.fruitful = False

    def _next_hit(self) -> bool:
        """Look for the next hit; say whether there is one."""
        # A line may have been completed by the one behind it only: hits in the last lines count again.
        position = max(self._position, self.fed - LOOK_AHEAD)
        hit = self._source.find(position, None if self._stop is None else self._stop + LOOK_BACK)
        if hit < 0:
            return False
        self._position = hit + 1
        self._need = hit + LOOK_AHEAD
        self._cause = self._source.found_by
        self._settled = self.fed
        return True

    def _begins_another(self) -> bool:
        """Say whether the last hit is beyond what follows what was fed; another stretch begins there."""
        hit = self._position - 1
        if hit < self.fed or (lines := self._source.before(hit, self.fed)) <= self.fed:
            return False
        self.fed = self._settled = lines
        self._size = SLICE_MIN
        return True
