"""Events made of documents that hold a line each."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from allocfail.cluster.identity import Identity, Numbers, identity
from allocfail.cluster.lines import arrange, streams
from allocfail.decoder.assembly import Assembler
from allocfail.decoder.fields import at
from allocfail.decoder.said import read
from allocfail.decoder.untangle import Joiner
from allocfail.logs.events import located

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from allocfail.cluster.lines import Line, Place, Stretch
    from allocfail.decoder.assembly import Dump
    from allocfail.decoder.options import Options

__all__ = ["Assembled", "assemble"]

#: Why an event has no trace although its frames are there.
UNORDERED = "unordered"


@dataclass(frozen=True)
class Assembled:
    """One event, and the documents that it is made of."""

    document: dict[str, Any]
    known: Identity
    number: int
    """How many events of the same identity come before it in its stream."""
    header: Place
    """The document with its first line."""
    places: tuple[Place, ...]
    """All documents, in the order of their lines."""

    @property
    def complete(self) -> bool:
        """Whether nothing is missing."""
        return self.document["allocfail"]["complete"] is True


def assemble(lines: Iterable[Line], options: Options) -> Iterator[Assembled]:
    """Yield the events that are in some documents, which may be of many hosts and in any order."""
    for group in streams(lines):
        numbers = Numbers()
        for stretch in arrange(group):
            yield from _events(stretch, numbers, options)


def _events(stretch: Stretch, numbers: Numbers, options: Options) -> Iterator[Assembled]:
    assembler, joiner = Assembler(), Joiner()
    dumps: list[Dump] = []
    for number, line in enumerate(stretch.lines):
        for record, start in line.records:
            whole = joiner.feed(record._replace(offset=number), start, may_repeat=True)
            if whole is not None:
                dumps += assembler.feed(read(whole))
    last = joiner.close()
    if last is not None:
        dumps += assembler.feed(read(last))
    dumps += assembler.close()
    for dump in dumps:
        yield _event(dump, stretch, numbers, options)


def _event(dump: Dump, stretch: Stretch, numbers: Numbers, options: Options) -> Assembled:
    used = sorted({record.offset for record in dump.records})
    lines = [stretch.lines[number] for number in used]
    given = [line.keys["kmsg"] for line in lines if "kmsg" in line.keys]
    lost = sum(min(given) < number < max(given) for number in stretch.missing) if given else 0
    if lost:
        dump.missed = (dump.missed or 0) + lost
    head = dump.lead
    header = stretch.lines[head.offset]
    release = at(header.source, "host.os.kernel")
    if options.kernel is None and isinstance(release, str) and release:
        options = replace(options, kernel=release)
    document = located(dump, options).document
    if stretch.doubtful and not document["allocfail"]["complete"]:
        document["allocfail"]["incomplete_reason"] = UNORDERED
    _place(document, header)
    places = tuple(line.place for line in lines)
    document["allocfail"]["documents"] = [{"index": place.index, "id": place.id} for place in places]
    known = identity(dump, document, header.boot)
    return Assembled(document, known, numbers.take(known), header.place, places)


def _place(document: dict[str, Any], header: Line) -> None:
    """Say where the event starts, and when, as the document with its first line says it."""
    log = document.setdefault("log", {})
    log.pop("offset", None)  # the decoder had numbers of documents there
    path, offset = at(header.source, "log.file.path"), at(header.source, "log.offset")
    if isinstance(path, str):
        log["file"] = {"path": path}
        if isinstance(offset, int):
            log["offset"] = offset
    if not log:
        del document["log"]
    if "@timestamp" not in document and header.seconds is not None:
        stamp = at(header.source, "@timestamp")
        if isinstance(stamp, str):
            document["@timestamp"] = stamp
