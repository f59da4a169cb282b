"""Logs in, events out: reading, assembly and document in one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from allocfail.decoder.assembly import Assembler
from allocfail.decoder.event import decode as decode_dump
from allocfail.decoder.options import Options
from allocfail.decoder.said import read
from allocfail.decoder.steps import describe
from allocfail.logs import reading

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from allocfail.decoder.assembly import Dump
    from allocfail.decoder.event import Event as Decoded

__all__ = ["Decoder", "Event", "Options", "TellingDecoder", "Unread", "decode", "decode_bytes", "located"]


class Event(NamedTuple):
    """One event of a log."""

    offset: int
    """Byte offset of its first line."""
    document: dict[str, Any]
    event: Decoded
    """What the document was made of."""


def located(dump: Dump, options: Options) -> Event:
    """Decode what was assembled."""
    event = decode_dump(dump, options)
    return Event(dump.records[0].offset, describe(event, options), event)


class Unread(NamedTuple):
    """A line with the words of a header that was not read as one."""

    offset: int


class Decoder:
    """Decodes one log, a stretch of lines after the other; the memory it takes is bounded."""

    def __init__(self, options: Options | None = None) -> None:
        """Begin with nothing open."""
        self._options = options or Options()
        self._assembler = Assembler()

    @property
    def oldest(self) -> int | None:
        """Offset of the oldest line that may still become part of an event, None where there is none."""
        return self._assembler.oldest

    @property
    def begun(self) -> bool:
        """Whether an event has begun that is not yet given."""
        return self._assembler.begun

    def unread(self) -> list[Unread]:
        """Return the lines passed since the last call that have the words of a header and were not read as one."""
        found = [Unread(offset) for offset in self._assembler.unread]
        self._assembler.unread.clear()
        return found

    def decode(self, chunks: Iterable[bytes], offset: int = 0) -> Iterator[Event]:
        """Decode a stretch of whole lines that begins at ``offset``; give the events that it ended."""
        options = self._options
        feed = self._assembler.feed
        for record in reading.records(chunks, offset=offset):
            for dump in feed(read(record)):
                yield located(dump, options)

    def close(self) -> Iterator[Event]:
        """Take the end of the log; give the events still open."""
        for dump in self._assembler.close():
            yield located(dump, self._options)


class TellingDecoder:
    """A decoder that gives, beside the events, the lines that it could not read as one."""

    def __init__(self, options: Options | None = None) -> None:
        """Begin with nothing open."""
        self._decoder = Decoder(options)

    @property
    def oldest(self) -> int | None:
        """Offset of the oldest line that may still become part of an event, None where there is none."""
        return self._decoder.oldest

    @property
    def begun(self) -> bool:
        """Whether an event has begun that is not yet given."""
        return self._decoder.begun

    def decode(self, chunks: Iterable[bytes], offset: int = 0) -> Iterator[Event | Unread]:
        """Decode a stretch of whole lines that begins at ``offset``."""
        yield from self._decoder.decode(chunks, offset)
        yield from self._decoder.unread()

    def close(self) -> Iterator[Event | Unread]:
        """Take the end of the log."""
        yield from self._decoder.close()
        yield from self._decoder.unread()


def decode(chunks: Iterable[bytes], options: Options | None = None) -> Iterator[Event]:
    """Decode a whole log given in chunks of any size; events come in the order in which they began."""
    decoder = Decoder(options)
    yield from decoder.decode(chunks)
    yield from decoder.close()


def decode_bytes(data: bytes, options: Options | None = None) -> list[Event]:
    """Decode a log that is in memory."""
    return list(decode([data], options))
