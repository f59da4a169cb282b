"""Where a log may hold an event, by one pass for all patterns at once: for logs of near-misses, which strings do not.

The pass is Hyperscan's. Without it, as in the single file or on a processor that it does not know, logs are searched
string by string, which finds the same and takes longer where nearly every line has the words of an event.
"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from hyperscan import Database

__all__ = ["COST", "MAKING", "Sieve", "sieve"]

#: What a piece costs, where looking at a hit costs one: 512 KiB at some 0.6 ns a byte.
COST = 600
#: What making a sieve costs once: some 30 ms.
MAKING = 60_000
#: Matches in a piece from which on there is nothing to leave out.
MOST = 1000

#: What ``~`` in a pattern stands for: any run of the bytes that :data:`allocfail.logs.search.GAP` can match, which no
#: word of an event consists of. That is more than a gap is: what passes is looked at again.
GAP = "[^g-loqvwyzG-JL-QS-Z]+"


class Sieve:
    """Says where in a text something matches."""

    def __init__(self, database: Database) -> None:
        """Take what the patterns were compiled to."""
        self._database = database

    def ends(self, text: memoryview) -> list[int] | None:
        """Return where matches end, in order; None where there are too many of them."""
        from hyperscan import ScanTerminated  # noqa: PLC0415 - there is a sieve, so that it has been imported

        found: list[int] = []

        def take(_id: int, _start: int, end: int, _flags: int, _context: object) -> bool:
            found.append(end)
            return len(found) > MOST

        try:
            self._database.scan(text, match_event_handler=take)  # type: ignore[type-var] # a view is taken as well
        except ScanTerminated:
            return None
        return sorted(found)


@cache
def sieve(patterns: tuple[str, ...]) -> Sieve | None:
    """Compile patterns, in which ``~`` is a gap and a dot matches line ends; None where there is no Hyperscan."""
    try:
        import hyperscan  # noqa: PLC0415 - few logs need it
    except ImportError:
        return None
    database = hyperscan.Database(mode=hyperscan.HS_MODE_BLOCK)
    try:
        database.compile(
            expressions=[pattern.replace("~", GAP).encode() for pattern in patterns],
            flags=[hyperscan.HS_FLAG_DOTALL] * len(patterns),
        )
        database.scratch = hyperscan.Scratch(database)
    except hyperscan.error:
        return None
    return Sieve(database)
