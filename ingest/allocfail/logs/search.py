"""Searches bytes for the strings of which every event holds one, in the way that is cheapest in the log at hand.

Strings, families and ways are those of ``kb/facts/needles.yml``. What a way costs is learned: searching a piece for one
string costs the same in any text, looking at a hit costs every time, and what is decoded in vain costs most.
"""

from __future__ import annotations

import re
from functools import cache
from typing import TYPE_CHECKING, Any, NamedTuple

from allocfail.logs import sieve

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from allocfail.logs.sieve import Sieve

__all__ = ["MARGIN", "PIECE", "Choice", "Needles", "Piece", "Search"]

#: Bytes searched at a time, to fit a core's second-level cache where the next string and the decoder find them again.
#: 128 KiB to 512 KiB measured alike, 1 MiB slower; mapping the file was no faster, counts as resident memory, and
#: kills the process where a log is truncated meanwhile.
PIECE = 512 << 10
#: Bytes behind a hit that confirming it may look at, and a few in front; pieces overlap by as much.
MARGIN = 256
#: What searching a piece costs, for a string and, in a log that needs one, for a pattern, and what decoding a byte
#: costs, where looking at a hit costs one (half a microsecond).
STRING_COST = 60
PATTERN_COST = 3000
DECODED_COST = 0.15
#: Hits in vain in one piece after which the ways are compared, the first time.
VAIN = 50
#: By how much what a way cost is believed a piece later: it is tried again in time, for the log may have changed.
BELIEF = 0.95

#: For how many pieces the sieve is taken until the strings are tried again: the first time, and at most.
SIFTED = 16
SIFTED_MOST = 1024

#: What ``~`` in a pattern stands for; mostly one blank, and then nothing else is tried.
GAP = (
    r"(?: |(?! [A-Za-z0-9])"
    r"(?:[^A-Za-z0-9]|nbsp|u[0-9a-f]{4}|x[0-9a-f]{2}|0[0-9]{2}|\\[nrt]|=[0-9A-F]{2}|\[[0-9;]*[mK]|[bB][rR]){1,24}?)"
)


#: What a pattern may begin with and stand for itself.
_LETTERS = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ-_~"


class Needle(NamedTuple):
    """A string to search for, and what has to match from a hit on; or, without a string, a pattern alone."""

    text: bytes
    told: str
    """The pattern as it is told, "" for none: most are never compiled."""

    def pattern(self) -> re.Pattern[bytes] | None:
        """Compile the pattern."""
        return _pattern(self.told) if self.told else None


class Way(NamedTuple):
    """One way to find every event of a family."""

    needles: tuple[Needle, ...]
    families: tuple[Family, ...]


class Family(NamedTuple):
    """Events that are found alike."""

    ways: tuple[Way, ...]


class Needles(NamedTuple):
    """Everything to search for."""

    families: tuple[Family, ...]
    patterns: tuple[str, ...] = ()
    """Of every event, one matches, in which ``~`` is a gap."""

    @classmethod
    def of(cls, facts: Mapping[str, Any]) -> Needles:
        """Make them of the content of ``kb/facts/needles.yml``."""
        confirm = facts["confirm"]

        def way(told: Any) -> Way:
            if isinstance(told, list):
                return Way(tuple(Needle(text.encode(), confirm.get(text, "")) for text in told), ())
            if "patterns" in told:
                return Way((Needle(b"", _one_of(told["patterns"])),), ())
            return Way((), tuple(family(name) for name in told["families"]))

        def family(name: str) -> Family:
            return Family(tuple(way(told) for told in facts["families"][name]))

        ways = [way for family in facts["families"].values() for way in family if isinstance(way, dict)]
        patterns = tuple(pattern for way in ways for pattern in way.get("patterns", ()))
        return cls(tuple(family(name) for name in facts["search"]), patterns)


def _one_of(patterns: Sequence[str]) -> str:
    """Join patterns to one that begins with the letters that all begin with, which are searched for faster."""
    first, last = min(patterns), max(patterns)
    same = 0
    while same < len(first) and first[same] == last[same] and first[same] in _LETTERS:
        same += 1
    return f"{first[:same]}(?:{'|'.join(pattern[same:] for pattern in patterns)})"


@cache
def _pattern(text: str) -> re.Pattern[bytes]:
    return re.compile(text.replace("~", GAP).encode(), re.DOTALL)


class Piece:
    """A part of an input in memory."""

    __slots__ = ("base", "buffer", "end", "view")

    def __init__(self, size: int) -> None:
        """Make room for ``size`` bytes."""
        self.buffer = bytearray(size)
        self.view = memoryview(self.buffer)
        self.base = 0
        """Offset of the buffer's first byte in the input."""
        self.end = 0
        """Offset behind the last byte that the buffer holds."""


class _Sought:
    """A needle, and how far the search for it is."""

    __slots__ = ("choice", "clear", "next", "pattern", "text")

    def __init__(self, needle: Needle, choice: Choice) -> None:
        self.text = needle.text
        self.pattern = needle.pattern()
        self.choice = choice
        self.next = -1
        """The last hit found; it is the first behind every position searched from so far."""
        self.clear = -1
        """The offset up to which there is no other."""


class Choice:
    """The way in which a family is searched for at present, and what each is known to cost a piece."""

    def __init__(self, family: Family) -> None:
        """Begin with the first way."""
        self._inner = [[Choice(one) for one in way.families] for way in family.ways]
        self._needles = [way.needles for way in family.ways]
        self._sought: dict[int, list[_Sought]] = {}
        self._least = [
            float(sum(STRING_COST if needle.text else PATTERN_COST for needle in way.needles)) for way in family.ways
        ]
        self._costs = self._least.copy()
        self._way = 0
        self.vain = 0
        """What hits in vain cost in this piece."""
        self.limit = VAIN
        """What they may before the ways are compared."""

    @property
    def cost(self) -> float:
        """What a piece costs at present."""
        return self._cost(self._way)

    def spent(self, part: float) -> float:
        """Return what a piece would cost like the ``part`` of one that has been searched."""
        inner = sum(choice.spent(part) for choice in self._inner[self._way])
        return self._least[self._way] + self.vain / part + inner

    def _cost(self, way: int) -> float:
        return self._costs[way] + sum(choice.cost for choice in self._inner[way])

    def sought(self) -> list[_Sought]:
        """Return the needles to search for at present."""
        way = self._way
        if way not in self._sought:
            self._sought[way] = [_Sought(needle, self) for needle in self._needles[way]]
        return self._sought[way] + [one for choice in self._inner[way] for one in choice.sought()]

    def compare(self, part: float) -> bool:
        """Go over to the cheapest way; say whether it is another. ``part`` of a piece has been searched."""
        way = self._way
        self._costs[way] = self._least[way] + self.vain / part
        self._way = min(range(len(self._costs)), key=self._cost)
        self.limit *= 2
        if self._way == way:
            return False
        self.vain = 0
        self.limit = VAIN
        return True

    def next_piece(self, part: float) -> bool:
        """Take the end of a piece, or of ``part`` of one; say whether another way is taken for the next."""
        changed = self.compare(part)
        for way, least in enumerate(self._least):
            if way != self._way:
                self._costs[way] = least + (self._costs[way] - least) * BELIEF**part
        self.vain = 0
        self.limit = VAIN
        for choice in self._inner[self._way]:
            changed = choice.next_piece(part) or changed
        return changed


class Search:
    """The first hit in a buffer, again and again."""

    def __init__(self, needles: Needles) -> None:
        """Begin with every family's first way."""
        from allocfail.logs.finding import find  # noqa: PLC0415 - `gfp`, `kb` and the like must not pay for it

        self._find = find
        self._choices = [Choice(family) for family in needles.families]
        self._patterns = needles.patterns
        self._sieve: Sieve | None = None
        """What is gone through first, where that costs less."""
        self._overspent = 0.0
        """What would have been saved so far with a sieve."""
        self._sifts = 0.0
        """Pieces until the strings are tried again."""
        self._rounds = SIFTED
        """For how many pieces the sieve is taken the next time."""
        self.found_by: Choice | None = None
        """How the last hit was found."""
        self._begun = 0
        """Where in the input this piece begins."""
        self._changed = False
        self.rewind()

    def rewind(self) -> None:
        """Make ready to search from an earlier position than before, or for other needles."""
        self._sought = [one for choice in self._choices for one in choice.sought()]
        for one in self._sought:
            one.next = one.clear = -1
        self._sifted = -1
        """The offset up to which the piece has gone through the sieve."""
        self._left: list[tuple[int, int]] = []
        """The parts of it in which there may be a hit."""

    def _change(self) -> None:
        """Search in other ways from here on."""
        self._changed = True
        self.rewind()

    def next_piece(self, position: int) -> None:
        """Take note that another piece begins at ``position``."""
        part = self._part(position)
        self._begun = position
        self._weigh(part)
        # All of them: each has to forget what was in vain.
        changes = [choice.next_piece(part) for choice in self._choices]
        if any(changes):
            self._change()

    def _weigh(self, part: float) -> None:
        """Decide on the sieve for the next piece."""
        if self._sieve is not None:
            self._sifts -= part
            if self._sifts <= 0:
                self._sieve = None
                self._change()
            return
        over = sum(choice.spent(part) for choice in self._choices) - sieve.COST
        if over <= 0 or not self._patterns:
            self._rounds = SIFTED
            return
        self._overspent += over * part
        if self._overspent > sieve.MAKING:
            self._sieve = sieve.sieve(self._patterns)
            if self._sieve is None:
                self._patterns = ()
            self._sifts = self._rounds
            self._rounds = min(self._rounds * 2, SIFTED_MOST)

    def _part(self, position: int) -> float:
        """Return how much of a piece lies in front of ``position``."""
        return max((position - self._begun) / PIECE, 1 / 16)

    def decoded_in_vain(self, found_by: Choice, size: int) -> None:
        """Take note that nothing came of a hit, although ``size`` bytes were decoded."""
        found_by.vain += 1 + int(size * DECODED_COST)
        if found_by.compare(1.0):
            self._change()

    def first(self, piece: Piece, position: int, limit: int) -> int:
        """Return the offset of the first hit from ``position`` on, ``limit`` where there is none before that."""
        if self._sieve is None:
            return self._searched(piece, position, limit)
        if self._sifted < limit:
            self._sift(self._sieve, piece, max(position, self._sifted), limit)
        for begin, end in self._left:
            if end > position and begin < limit:
                stop = min(end, limit)
                hit = self._searched(piece, max(begin, position), stop)
                if hit < stop:
                    return hit
        return limit

    def _sift(self, through: Sieve, piece: Piece, position: int, limit: int) -> None:
        """Find the parts of ``position`` to ``limit`` in which there may be a hit."""
        begin = max(position - MARGIN, piece.base)
        ends = through.ends(piece.view[begin - piece.base : min(limit + MARGIN, piece.end) - piece.base])
        self._sifted = limit
        self._left = [(position, limit)] if ends is None else []
        for end in ends or ():
            first, last = max(begin + end - MARGIN, position), min(begin + end + MARGIN, limit)
            if self._left and first <= self._left[-1][1]:
                self._left[-1] = (self._left[-1][0], last)
            elif first < limit:
                self._left.append((first, last))

    def _searched(self, piece: Piece, position: int, limit: int) -> int:
        """Return the same of a part of a piece, found by the strings."""
        while True:
            # What another way finds of an event may stand in front of what the one before would have found.
            begin = max(position - MARGIN, piece.base) if self._changed else position
            self._changed = False
            hit = self._first(piece, begin, limit)
            if hit is not None:
                return max(hit, position)
            self._change()

    def _first(self, piece: Piece, position: int, limit: int) -> int | None:
        """Return the same; None where another way is taken from here on."""
        best = limit
        for one in self._sought:
            while one.next < position and one.clear < limit:
                self._seek(one, piece, position, limit)
                choice = one.choice
                if choice.vain > choice.limit and choice.compare(self._part(one.clear)):
                    return None
            if position <= one.next < best:
                best = one.next
                self.found_by = one.choice
        return best

    def _seek(self, one: _Sought, piece: Piece, position: int, limit: int) -> None:
        """Find the next hit of a needle before ``limit``; stop early where too many are in vain."""
        text, pattern = one.text, one.pattern
        base, held = piece.base, piece.end - piece.base
        at = max(position, one.clear) - base
        if pattern is not None and not text:
            found = pattern.search(piece.buffer, at, min(limit - base + MARGIN, held))
            one.clear = limit
            if found is not None and found.start() + base < limit:
                one.next = one.clear = found.start() + base
            return
        find, view, choice = self._find, piece.view, one.choice
        stop = min(limit - base + len(text) - 1, held)  # a hit may reach beyond the limit
        while at < stop and (step := find(view[at:stop], text)) >= 0:
            at += step
            if pattern is None or pattern.match(piece.buffer, at, held):
                one.next = one.clear = at + base
                return
            at += 1
            choice.vain += 1
            if choice.vain > choice.limit:
                one.clear = at + base
                return
        one.clear = limit
