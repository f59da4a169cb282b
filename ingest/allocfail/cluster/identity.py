"""Which event is which: the same dump has the same ``_id``, from whatever log, shipped or swept, and however often.

An event is known by its host, its boot where the log says which, its time (printk's where it has one, which is exact to
the microsecond, else the log's, to the second) and its first line; for what happened more than once at that time, by a
number. Where an index holds an event of that name already, the words of the two decide (:func:`relation`): the same
event, the same with fewer of them because the log had ended there, or another one, which takes the next number.
"""

from __future__ import annotations

import hashlib
import json
from enum import Enum
from typing import TYPE_CHECKING, Any, NamedTuple

from allocfail.decoder.untangle import join_lines, open_text, split_pieces

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from allocfail.decoder.assembly import Dump

__all__ = ["Identity", "Numbers", "Relation", "event_id", "identity", "relation", "words_of"]


class Identity(NamedTuple):
    """What an event is known by."""

    host: str
    boot: str
    moment: str
    """``4711.123456`` (printk) or ``03-04T05:06:07`` (the log's): no year, which is a guess where the log has none."""
    first: str
    """Its first line, without prefix."""

    @property
    def exact(self) -> bool:
        """Whether the moment alone tells events apart; before the clock runs, printk prints zeros."""
        return bool(self.moment.strip("0.")) and "T" not in self.moment


class Numbers:
    """Numbers the events of one log that have the same identity: what happened twice is two events.

    What stands in two logs is one: each log has numbers of its own.
    """

    #: Identities that are remembered; those of one name follow each other closely.
    MOST = 1_000

    def __init__(self, taken: Iterable[tuple[Identity, int]] = ()) -> None:
        """Go on behind the identities and numbers of :meth:`last`, where part of the log has been read before."""
        self._next: dict[Identity, int] = {}
        for known, number in taken:
            self._next[known] = max(number + 1, self._next.get(known, 0))

    def take(self, known: Identity) -> int:
        """Return the number of the next event with this identity, from 0."""
        number = self._next.pop(known, 0)
        self._next[known] = number + 1
        if len(self._next) > self.MOST:
            del self._next[next(iter(self._next))]
        return number

    def last(self, most: int) -> list[tuple[Identity, int]]:
        """Return the last identities and their highest numbers."""
        return [(known, following - 1) for known, following in list(self._next.items())[-most:]]


class Relation(Enum):
    """What an event is to one that an index holds under its name."""

    SAME = "same"
    MORE = "more"
    """The same with more lines: it replaces the other."""
    OTHER = "other"


def identity(dump: Dump, document: Mapping[str, Any], boot: str | None = None) -> Identity:
    """Return what an event is known by; ``document`` is what was made of ``dump``."""
    head = dump.lead
    moment = head.uptime or ""
    if not moment and (document.get("allocfail") or {}).get("time_source") == "log":
        moment = str(document.get("@timestamp", ""))[5:19]
    return Identity(head.host or "", boot or "", moment, head.text)


def event_id(known: Identity, number: int) -> str:
    """Return the ``_id`` of the event: 40 hex digits of a SHA-256."""
    text = json.dumps([*known, number], ensure_ascii=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:40]


def words_of(document: Mapping[str, Any]) -> list[str]:
    """Return the words of an event's lines without their prefixes: lines are cut in other places in other logs."""
    original = (document.get("event") or {}).get("original")
    if not isinstance(original, str):
        return []
    lines = split_pieces(open_text(original), carried=False, apart=False)
    records = join_lines(lines, may_repeat=" repeated " in original)
    return [word for record in records for word in record.text.split()]


def relation(known: Identity, ours: Sequence[str], theirs: Sequence[str]) -> Relation:
    """Compare the words of two events that have the same identity and number."""
    if known.exact or _within(theirs, ours) or _within(ours, theirs):
        return Relation.MORE if len(ours) > len(theirs) else Relation.SAME
    return Relation.OTHER


def _within(few: Sequence[str], many: Sequence[str]) -> bool:
    """Whether all of some words are among others, in the same order."""
    rest = iter(many)
    return all(word in rest for word in few)
