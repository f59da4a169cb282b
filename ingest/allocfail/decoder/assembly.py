"""Which lines of a log are one event: a bounded, streaming assembler.

Records come in log order. A stream is what one host prints under one printk caller id (or without one). In a stream a
header opens a dump; a banner leads to the open header of the same task; what follows goes where the banner led, and
what belongs to another report (an Oops behind the failure, say) goes nowhere. A dump whose header was lost is known by
its trace: from the functions that print dumps straight into the one that announces a failed allocation.
"""

from __future__ import annotations

import re
from collections import OrderedDict, deque
from dataclasses import dataclass, field, replace
from functools import cache
from typing import TYPE_CHECKING, Any, NamedTuple

from allocfail import facts
from allocfail.decoder.framing import FIRST, MIDDLE
from allocfail.decoder.header import Header, continue_header, trimmed
from allocfail.decoder.kill import Kill, OomLines, is_table_line
from allocfail.decoder.memory import MemoryLines, is_memory_line, starts_memory
from allocfail.decoder.slab import SlabLines
from allocfail.decoder.trace import (
    Frame,
    TraceBuilder,
    is_dump_frame,
    is_failure_frame,
    is_page_frame,
    is_vmalloc_frame,
)

if TYPE_CHECKING:
    from allocfail.decoder.banner import Banner
    from allocfail.decoder.records import Record
    from allocfail.decoder.said import Said

__all__ = ["Assembler", "Dump"]

#: Records of a stream that may pass between two lines of one dump. A hundred and more were seen before a body began.
_PATIENCE = 400
#: The same, once the dump has its trace: Mem-Info follows at once or never.
_PATIENCE_BODY = 60
#: The same, behind the line that ends Mem-Info in most releases.
_PATIENCE_TAIL = 4
#: How many lines behind an event may say what came of it.
_AFTER = 20
#: Slab reports are three lines or a few more.
_PATIENCE_SLAB = 40
#: The lines of a kill without its header, and what is doubtful until a body comes: they stand together.
_PATIENCE_ALONE = 8
#: The line that says how many callbacks were suppressed comes from the same call as the header behind it.
_PATIENCE_SUPPRESSED = 60
#: Digits of a printk time that tell two lines apart.
_MICROSECONDS = 6
#: The same, counted over the records of all streams (a log of many hosts may not come back to one for long): by
#: what a dump still lacks. The kernel prints a dump in milliseconds; collectors interleave tens of lines.
_ALL_WHOLE = 60
_ALL_TRACED = 200
_ALL_HEADER = 1_000
#: How often, in records, that is looked at.
_SWEEP = 64
#: Open dumps a stream keeps; the oldest is closed for one more.
_MOST_OPEN = 8
#: Streams kept; the one silent for longest is closed for one more.
_MOST_STREAMS = 256
#: Lines one event keeps (an OOM kill lists every task), and their characters in all.
_MOST_LINES = 20_000
_MOST_FRAMES = 512
#: Lines that were not read are kept until somebody asks.
_MOST_UNREAD = 4096
_MOST_CHARS = 4 * 1024 * 1024


class Extent(NamedTuple):
    """What an event's document says of its records."""

    first: Record
    named: Record | None
    """The first that names a host."""
    original: str
    """All lines, as they were read."""


@dataclass(slots=True, eq=False)
class Dump:
    """The records of one event, sorted into their parts."""

    kind: str
    header: Header | None
    head: Record | None
    records: list[Record] = field(default_factory=list)
    precursor: Header | None = None
    banner: Banner | None = None
    hardware: str | None = None
    workqueue: str | None = None
    cpuset: str | None = None
    mems_allowed: str | None = None
    trace: TraceBuilder = field(default_factory=TraceBuilder)
    traced: bool = False
    """A trace was announced or begun."""
    addresses: bool = False
    """The trace holds bare addresses."""
    begun_trace: bool = False
    """The line that announces its trace was seen."""
    begun: bool = False
    """The body's own beginning was seen: a banner, or the line that announces a trace."""
    named: bool = False
    """Of a body without a header: the caller of the announcing function was seen."""
    announced: bool = False
    """The trace goes through the function that announces a failed allocation."""
    memory: MemoryLines = field(default_factory=MemoryLines)
    slab: SlabLines = field(default_factory=SlabLines)
    oom: OomLines = field(default_factory=OomLines)
    suppressed: int | None = None
    repeated: int = 0
    missed: int | None = None
    interleaved: bool = False
    mixed: bool = False
    """Another open dump's lines were taken for its own: nothing tells the two apart."""
    limit: str | None = None
    """Why no more than the header was looked at."""
    follows: Dump | None = None
    verdict: dict[str, Any] | None = None
    """Of the document that was made of it: a slab report that follows it has the same."""
    victims: tuple[int, ...] = ()
    """Tasks that the OOM killer had chosen shortly before."""
    after: str | None = None
    """A line behind it that says what came of it."""
    ended: bool = False
    """It is whole: nothing more belongs to it, but what comes next may say what came of it."""
    closed: bool = False
    last: int = 0
    chars: int = 0
    sealed: bool = False
    """Nothing more is added to its trace."""
    doubtful: bool = False
    """Its header is one only if a body follows."""
    dropped: bool = False
    """It was none: no body came."""
    cut: bool = False
    """Its header's line was cut, and the rest never came."""
    extent: Extent | None = None
    """What is wanted of its records, where they are no longer kept."""

    @property
    def lead(self) -> Record:
        """The record of its header, or the one that it begins with."""
        if self.head is not None:
            return self.head
        return self.extent.first if self.extent is not None else self.records[0]

    def summed_up(self) -> Extent:
        """Return what its document says of its records."""
        if self.extent is not None:
            return self.extent
        named = next((record for record in self.records if record.host is not None), None)
        return Extent(self.records[0], named, "\n".join(record.raw for record in self.records))

    def condense(self) -> None:
        """Give its records up, and keep what its document says of them."""
        self.extent = self.summed_up()
        self.records = []

    def take(self, record: Record) -> None:
        """Keep a record as the event's own, within bounds."""
        if len(self.records) < _MOST_LINES and self.chars < _MOST_CHARS:
            self.records.append(record)
            self.chars += len(record.raw)

    @property
    def full(self) -> bool:
        """Whether some of its lines may not be among its records."""
        return len(self.records) >= _MOST_LINES or self.chars >= _MOST_CHARS

    @property
    def embodied(self) -> bool:
        """Whether anything of a body was seen."""
        return self.banner is not None or self.traced or self.memory.started or self.slab.cache is not None

    @property
    def comm(self) -> str | None:
        """The task that asked."""
        if self.header is not None:
            return self.header.comm
        return self.banner.comm if self.banner is not None else None


class _Words(NamedTuple):
    report: tuple[str, ...]
    start: tuple[str, ...]
    noise: tuple[str, ...]
    failed: tuple[str, ...]
    lost: tuple[tuple[str, str], ...]


@cache
def _words() -> _Words:
    wording = facts.load()["wording"]
    return _Words(
        tuple(wording["report_start"]),
        tuple(wording["trace_start"]),
        tuple(wording["noise_start"]),
        tuple(wording["failed"]),
        tuple((before, after) for before, after in wording["lost"]),
    )


@dataclass(slots=True, eq=False)
class _Stream:
    host: str | None = None
    count: int = 0
    seen: int = 0
    open: list[Dump] = field(default_factory=list)
    target: Dump | None = None
    """Where lines of a body go; a dump that is not in ``open`` is a candidate: a body whose header was not seen."""
    foreign: bool = False
    """Another report has begun: the next banner and trace are its own."""
    precursor: tuple[Header, tuple[Record, ...], int, Dump] | None = None
    suppressed: tuple[int, Record, int] | None = None
    """Callbacks the kernel says it suppressed, the line, and the count of records then: of the header that follows."""
    slab: Dump | None = None
    last_page: Dump | None = None
    torn: Dump | None = None
    """Its cpuset line came in pieces, and not all of them yet."""


class _Victim(NamedTuple):
    """A task that the OOM killer chose, and the count of records then."""

    pid: int
    at: int


#: A task that was killed is gone within so many lines, and no more of them die at once.
_DYING = 2000
_MOST_VICTIMS = 16

#: What no process name goes on with behind a prefix: a name's own characters.
_APART = re.compile(r"[^A-Za-z0-9_/.]").match

#: The stream of lines that name neither host nor caller id.
_NOBODY: tuple[str | None, str | None] = (None, None)

_NOTHING: tuple[Dump, ...] = ()


class Assembler:
    """Takes records, gives dumps: each once, complete or known to be incomplete, in the order they began."""

    def __init__(self) -> None:
        """Begin with nothing open."""
        self._streams: OrderedDict[tuple[str | None, str | None], _Stream] = OrderedDict()
        self._queue: deque[Dump] = deque()
        self._count = 0
        self._last = _NOBODY
        self._victims: list[_Victim] = []
        self._bare = True
        """The stream without a host and a caller id has bare lines only."""
        self.unread: list[int] = []
        """Offsets of lines with the words of a header that were not read as one; whoever reads them empties it."""
        self._holding: dict[tuple[str | None, str | None], _Stream] = {}

    @property
    def oldest(self) -> int | None:
        """Offset of the oldest line that is, or may become, part of an event not yet handed out; None if none is."""
        found = [d.records[0].offset for d in self._queue if d.records]
        for stream in self._streams.values():
            if stream.target is not None and stream.target.records:
                found.append(stream.target.records[0].offset)
            if stream.precursor is not None:
                found.append(stream.precursor[1][0].offset)
            if stream.suppressed is not None:
                found.append(stream.suppressed[1].offset)
        return min(found, default=None)

    @property
    def begun(self) -> bool:
        """Whether an event has begun that is not yet handed out: more than lines that may become part of one."""
        return len(self._queue) > 0

    def feed(self, said: Said) -> tuple[Dump, ...] | list[Dump]:
        """Take one record, read; return the dumps that it closed."""
        record = said.record
        self._count += 1
        text = record.text
        # A host without a time is a console's prompt in front of one line.
        key = (record.host if record.time is not None else None, record.caller)
        if record.host is None and record.caller is None and record.uptime is None and record.time is None:
            # A bare line goes on with what stood before it.
            key = self._last
        else:
            self._last = key
            self._bare = self._bare and key != _NOBODY
        stream = self._streams.get(key)
        if stream is None:
            # Bare lines at the very beginning belong to what follows them, and so does a first line that alone is bare.
            nobody = self._streams.get(_NOBODY)
            lone = nobody is not None and nobody.count == 1 and len(self._streams) == 1
            first = self._streams.pop(_NOBODY, None) if self._bare or lone else None
            stream = self._streams[key] = first or _Stream()
            stream.host = key[0]
            if first is not None:
                self._bare = False
                self._holding.pop(_NOBODY, None)
            if len(self._streams) > _MOST_STREAMS:
                gone, oldest = self._streams.popitem(last=False)
                self._close_stream(oldest)
                self._holding.pop(gone, None)
        elif len(self._streams) > 1:
            self._streams.move_to_end(key)
        silent = self._count - stream.seen
        if silent > _ALL_WHOLE and key in self._holding:
            # What is close enough to go on must not depend on when the last sweep was.
            self._expire(key, stream, silent)
        stream.count += 1
        stream.seen = self._count
        if text:
            self._place(stream, said, text)
        if stream.open or stream.precursor is not None or stream.target is not None or stream.suppressed is not None:
            self._age(stream)
            self._holding[key] = stream
        elif self._holding:
            self._holding.pop(key, None)
        if self._holding and self._count % _SWEEP == 0:
            self._sweep()
        return self._ready() if self._queue and self._queue[0].closed else _NOTHING

    def close(self) -> list[Dump]:
        """Take the end of the log; return every dump still open."""
        for stream in self._streams.values():
            self._close_stream(stream)
        self._streams.clear()
        self._holding.clear()
        return self._ready()

    # -- placing a line ------------------------------------------------------------------------------------------------

    def _place(self, stream: _Stream, said: Said, text: str) -> None:
        target = stream.target
        record = said.record
        if record.task and stream.open and _may_be(stream.open[-1].comm, record.task):
            _name(stream.open[-1], record.task)
        if target is not None and target.memory.started and "alloc" not in text and is_memory_line(text):
            target.memory.add(text)
            self._own(stream, target, record)
            return
        if said.kill is not None and self._kill(stream, record, said.kill):
            return
        if said.frames is not None:
            self._frames(stream, record, text, said.frames)
            return
        if said.header is not None:
            self._header(stream, record, said.header)
            return
        if text.endswith(" callbacks suppressed") and text.startswith(("warn_alloc: ", "warn_alloc_failed: ")):
            self._suppressed(stream, record, text)
            return
        if said.unread:
            self._not_read(record)
        if (stream.torn is not None or " cpuset=" in text) and self._cpuset(stream, record, text):
            return
        if stream.slab is not None and stream.slab.slab.add(text):
            self._own(stream, stream.slab, record)
            return
        if said.banner is not None:
            self._banner(stream, record, said.banner)
            return
        target = stream.target
        if text.startswith("Hardware name: "):
            target = self._candidate(stream)
            if target.hardware is None and not target.announced:
                target.begun = True
                # A mailer may have glued the next line to it.
                cut = text.find(" Call ")
                target.hardware = text[15 : cut if cut > 0 and text.endswith("race:") else len(text)].rstrip(" ")
                self._own(stream, target, record)
            return
        if text.startswith("Workqueue: "):
            target = self._candidate(stream)
            if target.workqueue is None and not target.announced:
                target.workqueue = text[11:]
                self._own(stream, target, record)
            return
        if starts_memory(text):
            self._memory_start(stream, record, text)
            return
        if "essages" in text and self._missed(stream, record, text):
            return
        if text.startswith(_words().report):
            if target is not None and target.traced:
                target.sealed = True
            stream.foreign = True
            if target is not None and target not in stream.open:
                stream.target = None
            return
        if target is not None:
            self._other(stream, target, record, text)
        elif stream.open:
            self._other(stream, stream.open[-1], record, text)

    def _own(self, stream: _Stream, dump: Dump, record: Record) -> None:
        dump.take(record)
        dump.last = stream.count

    def _kill(self, stream: _Stream, record: Record, kill: Kill) -> bool:
        """Take a line of an OOM kill: of the kill that is open, or of one that left nothing else."""
        dump = next((d for d in reversed(stream.open) if d.kind == "oom_kill" and d.oom.goes_on(kill)), None)
        if dump is None:
            if not kill.alone:
                return False
            dump = Dump("oom_kill", None, record, last=stream.count, repeated=record.repeated)
            self._queue.append(dump)
            stream.open.append(dump)
        dump.oom.add(kill)
        dump.sealed = dump.sealed or kill.alone or kill.killed
        self._own(stream, dump, record)
        if kill.victim_pid is not None:
            self._victims.append(_Victim(kill.victim_pid, self._count))
            if len(self._victims) > _MOST_VICTIMS:
                self._victims = self._victims[1:]
        return True

    def _not_read(self, record: Record) -> None:
        if len(self.unread) < _MOST_UNREAD:
            self.unread.append(record.offset)

    def _header(self, stream: _Stream, record: Record, header: Header) -> None:
        if record.part in (FIRST, MIDDLE):
            header = trimmed(header, record.text)
        if record.doubtful and any(not d.embodied for d in stream.open if d.header is not None):
            self._not_read(record)  # somebody speaks of a failure, and one waits for its body
            return
        if self._quoted_before(stream, record, header):
            return
        if header.precursor:
            before = stream.precursor
            if before is not None and before[0].reason != header.reason and before[0].allocated is None:
                # vmap's own complaint, then vmalloc's: one failure.
                stream.precursor = (header, (*before[1], record), stream.count, before[3])
                return
            self._flush_precursor(stream)
            # Its place among the events is where it stands, whatever it turns out to be.
            place = Dump(header.kind, None, record, precursor=header)
            place.doubtful = record.doubtful
            self._queue.append(place)
            stream.precursor = (header, (record,), stream.count, place)
            return
        kind = header.kind
        first: tuple[Record, ...] = ()
        if stream.precursor is not None and _announces(stream.precursor[0], header):
            # Before 4.9 a vmalloc failure is a line of its own and then an ordinary header with order:0.
            before_header, first, _, dump = stream.precursor
            stream.precursor = None
            dump.precursor, dump.header, dump.head = before_header, header, record
            dump.last, dump.repeated = stream.count, record.repeated
        else:
            dump = Dump(kind, header, record, last=stream.count, repeated=record.repeated)
            dump.victims = tuple(v.pid for v in self._victims if self._count - v.at < _DYING)
            dump.doubtful = record.doubtful
            dump.cut = record.part in (FIRST, MIDDLE)
            self._queue.append(dump)
        if stream.suppressed is not None and kind.startswith(("page", "vmalloc")):
            dump.suppressed = stream.suppressed[0]
            dump.take(stream.suppressed[1])
            stream.suppressed = None
        for line in first:
            dump.take(line)
        dump.take(record)
        if kind == "slab_allocation_failure":
            if stream.slab is not None:
                self._close(stream, stream.slab)
            stream.slab = dump
            dump.follows = stream.last_page
            stream.open.append(dump)
            return
        stream.last_page = dump if kind == "page_allocation_failure" else None
        for other in list(stream.open):
            if other.kind == "slab_allocation_failure":
                continue
            if other.traced or other.memory.started:
                if other.traced and not other.memory.started and not self._ended(other):
                    other.interleaved = True
                self._close(stream, other)
        bodies = [d for d in stream.open if d.kind != "slab_allocation_failure"]
        if len(bodies) >= _MOST_OPEN:
            self._close(stream, bodies[0])
        stream.open.append(dump)
        stream.target = dump
        stream.foreign = False

    def _quoted_before(self, stream: _Stream, record: Record, header: Header) -> bool:
        """Take a header for the one that waits, where it is the same line again: somebody quoted it before the log."""
        uptime = record.uptime or ""
        _, _, fraction = uptime.partition(".")
        if len(fraction) < _MICROSECONDS or fraction.endswith("000"):
            return False
        for dump in stream.open:
            if dump.head is None or dump.embodied or dump.header != header or dump.head.uptime != uptime:
                continue
            if dump.head.text == record.text and dump.head.time == record.time:
                dump.head = record
                dump.records = [record]
                dump.last = stream.count
                return True
        return False

    @staticmethod
    def _ended(dump: Dump) -> bool:
        return dump.trace.ended

    def _suppressed(self, stream: _Stream, record: Record, text: str) -> None:
        digits = text[text.find(": ") + 2 : -21]
        if digits.isascii() and digits.isdigit() and len(digits) < 10:
            stream.suppressed = (int(digits), record, stream.count)

    def _missed(self, stream: _Stream, record: Record, text: str) -> bool:
        """Note on every open dump of this host that lines are lost, where ``text`` says so; return whether it does."""
        lost = _lost(text)
        if lost is None:
            return False
        for other in self._streams.values():
            if other.host == stream.host:
                for dump in other.open:
                    if dump.ended:
                        continue
                    dump.missed = (dump.missed or 0) + lost
                    dump.take(record)
        return True

    def _banner(self, stream: _Stream, record: Record, banner: Banner) -> None:
        chosen = None if stream.foreign else self._awaiting(stream, banner)
        if chosen is not None and chosen.traced:
            # What stood between header and banner was another CPU's.
            chosen.interleaved = True
            chosen.trace, chosen.traced, chosen.sealed, chosen.begun_trace = TraceBuilder(), False, False, False
        if chosen is not None:
            _name(chosen, banner.comm)
        stream.foreign = False
        if chosen is None:
            chosen = Dump("page_allocation_failure", None, None, last=stream.count)
            if stream.target is not None and stream.target in stream.open and stream.target.traced:
                stream.target.sealed = True
        chosen.banner = banner
        chosen.begun = True
        stream.target = chosen
        self._own(stream, chosen, record)

    @staticmethod
    def _awaiting(stream: _Stream, banner: Banner) -> Dump | None:
        """Return the dump whose banner this is: the newest of the same task, else one whose task is not known."""
        waiting = [
            dump
            for dump in reversed(stream.open)
            if dump.kind != "slab_allocation_failure"
            and dump.banner is None
            and not dump.memory.started
            and not _has_own_trace(dump)
        ]
        for dump in waiting:
            if _same_task(dump.comm, banner.comm):
                return dump
        return next((d for d in waiting if d.header is not None and _may_be(d.header.comm, banner.comm)), None)

    def _candidate(self, stream: _Stream) -> Dump:
        """Return where a line of a body goes; a new candidate where nothing waits for one."""
        target = stream.target
        if target is None or stream.foreign or target.sealed:
            target = Dump("page_allocation_failure", None, None, last=stream.count)
            stream.target = target
            stream.foreign = False
        return target

    def _frames(self, stream: _Stream, record: Record, text: str, frames: tuple[Frame, ...]) -> None:
        target = self._candidate(stream)
        start = text[0] in "CB" and text.startswith(_words().start)
        again = target.announced and bool(frames) and frames[0].reliable and is_dump_frame(frames[0].function)
        if target.memory.started or again or (start and (target.trace.frames or target.addresses)):
            # A second trace: another report's.
            target.sealed = True
            stream.foreign = True
            target = self._candidate(stream)
        if start:
            if target.begun_trace:
                self._mix(stream, target)
            target.begun_trace = True
        target.traced = True
        target.begun = target.begun or start
        if len(target.trace.frames) < _MOST_FRAMES:
            target.trace.add(text, frames)
        if (not frames and not start) or (not frames and len(text) > 12):
            target.addresses = True
        self._own(stream, target, record)
        if target.header is None and target.announced and not target.named and frames and frames[-1].reliable:
            # What called the announcing function says whose failure it is, where no header does.
            target.named = True
            if is_vmalloc_frame(frames[-1].function):
                target.kind = "vmalloc_allocation_failure"
        if not target.announced and frames and is_failure_frame(frames[-1].function):
            target.announced = frames[-1].reliable
            from_top = target.begun or is_dump_frame(target.trace.frames[0].function)
            if target not in stream.open and from_top and self._lost_header(target):
                self._promote(stream, target)

    @staticmethod
    def _mix(stream: _Stream, target: Dump) -> None:
        """Take note that something that a dump has once came again, while another dump waits for its own."""
        waiting = [
            d
            for d in stream.open
            if d is not target and d.header is not None and d.kind != "slab_allocation_failure" and not d.traced
        ]
        for dump in waiting:
            dump.mixed = target.mixed = True

    def _promote(self, stream: _Stream, dump: Dump) -> None:
        """Make a candidate an event, or the body of the one whose header waits for it."""
        for other in reversed(stream.open):
            if (
                other.header is not None
                and other.kind != "slab_allocation_failure"
                and not other.announced
                and not other.memory.started
                and (dump.banner is None or _same_task(other.comm, dump.banner.comm))
            ):
                # Another CPU's trace had been taken for its own.
                other.interleaved = True
                other.trace, other.traced, other.announced = dump.trace, True, dump.announced
                other.addresses, other.sealed = dump.addresses, False
                other.banner = other.banner or dump.banner
                other.hardware = other.hardware or dump.hardware
                for record in dump.records:
                    other.take(record)
                other.last = dump.last
                stream.target = other
                return
        if stream.suppressed is not None:
            dump.suppressed, line, _ = stream.suppressed
            dump.records.insert(0, line)
            stream.suppressed = None
        self._queue.append(dump)
        stream.open.append(dump)

    @staticmethod
    def _lost_header(dump: Dump) -> bool:
        frames = dump.trace.frames
        if not frames or not frames[-1].reliable or not is_failure_frame(frames[-1].function):
            return False
        return all(is_dump_frame(f.function) for f in frames[:-1] if f.reliable)

    def _memory_start(self, stream: _Stream, record: Record, text: str) -> None:
        target = stream.target
        if target is None or target.kind == "slab_allocation_failure":
            return
        if target.memory.started:
            self._mix(stream, target)
            return
        if target not in stream.open:
            first = next((f for f in target.trace.frames if not is_dump_frame(f.function)), None)
            if first is not None and is_page_frame(first.function):
                self._promote(stream, target)
            else:
                # Another report stood in between: the block belongs to the failure before it.
                waiting = [d for d in stream.open if d.traced and not d.memory.started and d.kind[:4] != "slab"]
                if not waiting:
                    stream.target = None
                    return
                target = stream.target = waiting[-1]
        target.memory.add(text)
        target.sealed = True
        self._own(stream, target, record)

    def _other(self, stream: _Stream, target: Dump, record: Record, text: str) -> None:
        if target.ended:
            self._after(stream, target, text)
            return
        memory = target.memory
        if memory.started:
            if is_memory_line(text):
                target.memory.add(text)
                self._own(stream, target, record)
                return
        elif target.header is not None and self._head_piece(target, text):
            self._own(stream, target, record)
            return
        elif text.startswith(_words().noise) or _is_words(text):
            if text.startswith("Stack :"):
                target.trace.bannerless = True  # MIPS
            if not target.sealed:
                self._own(stream, target, record)
            return
        if target.kind == "oom_kill" and is_table_line(text):
            self._own(stream, target, record)
            return
        if target.kind == "oom_kill":
            return
        if memory.whole and stream.count - target.last > _PATIENCE_TAIL:
            target.ended = True
            if stream.target is target:
                stream.target = None
        self._after(stream, target, text)

    def _after(self, stream: _Stream, target: Dump, text: str) -> None:
        """Keep the first line of a driver in the event's trace that says that something failed for want of memory."""
        silent = stream.count - target.last
        if silent > _AFTER:
            if target.ended:
                self._close(stream, target)
        elif target.after is None and target.traced and any(word in text for word in _words().failed):
            said = text.lower()
            if any(f.module is not None and f.module.lower() in said for f in target.trace.frames):
                target.after = text

    def _cpuset(self, stream: _Stream, record: Record, text: str) -> bool:
        """Take the cpuset line of 4.11 to 4.20, whole or in the pieces it was printed in."""
        dump = stream.torn
        if dump is not None:
            if text.startswith("mems_allowed="):
                dump.mems_allowed = text[13:]
                stream.torn = None
            elif not dump.cpuset and " " not in text:
                dump.cpuset = text
            else:
                return False
            self._own(stream, dump, record)
            return True
        for dump in reversed(stream.open):
            comm = dump.header.comm if dump.header is not None else None
            if (
                comm is not None
                and dump.header is not None
                and dump.header.cpuset is None
                and dump.cpuset is None
                and text.startswith(comm + " cpuset=")
            ):
                rest = text[len(comm) + 8 :]
                at = rest.rfind(" mems_allowed=")
                dump.cpuset = rest if at < 0 else rest[:at]
                if at >= 0:
                    dump.mems_allowed = rest[at + 14 :]
                else:
                    stream.torn = dump
                self._own(stream, dump, record)
                return True
        return False

    @staticmethod
    def _head_piece(target: Dump, text: str) -> bool:
        """Whether a line is a piece of a header printed in pieces."""
        if target.header is None or target.traced:
            return False
        full = continue_header(target.header, text)
        if full is None:
            return False
        target.header = full
        return True

    # -- closing -------------------------------------------------------------------------------------------------------

    def _close(self, stream: _Stream, dump: Dump) -> None:
        dump.closed = True
        if dump.doubtful and not dump.embodied and dump.head is not None:
            dump.dropped = True
            self._not_read(dump.head)
        if dump in stream.open:
            stream.open.remove(dump)
        if stream.target is dump:
            stream.target = None
        if stream.slab is dump:
            stream.slab = None
        if stream.torn is dump:
            stream.torn = None

    def _flush_precursor(self, stream: _Stream) -> None:
        if stream.precursor is None:
            return
        header, lines, _, dump = stream.precursor
        stream.precursor = None
        dump.precursor, dump.head = header, lines[-1]
        for line in lines:
            dump.take(line)
        self._close(stream, dump)

    def _age(self, stream: _Stream) -> None:
        count = stream.count
        if stream.precursor is not None and count - stream.precursor[2] > 8:
            self._flush_precursor(stream)
        if stream.suppressed is not None and count - stream.suppressed[2] > _PATIENCE_SUPPRESSED:
            stream.suppressed = None
        for dump in stream.open:
            if dump.kind == "slab_allocation_failure":
                limit = _PATIENCE_SLAB
            elif (dump.doubtful and not dump.embodied) or (dump.kind == "oom_kill" and dump.header is None):
                limit = _PATIENCE_ALONE
            elif dump.kind != "oom_kill" and (dump.traced or dump.memory.started):
                limit = _PATIENCE_BODY
            else:
                limit = _PATIENCE
            if count - dump.last > limit:
                self._close(stream, dump)
                break
        target = stream.target
        if target is not None and target not in stream.open and count - target.last > _PATIENCE_BODY:
            stream.target = None

    def _sweep(self) -> None:
        """Close what other streams' records have left far behind."""
        for key in list(self._holding):
            stream = self._holding[key]
            self._expire(key, stream, self._count - stream.seen)

    def _expire(self, key: tuple[str | None, str | None], stream: _Stream, silent: int) -> None:
        for dump in list(stream.open):
            if silent > _all_patience(dump):
                self._close(stream, dump)
        if silent > _ALL_TRACED:
            self._flush_precursor(stream)
            stream.suppressed = None
            if stream.target is not None and stream.target not in stream.open:
                stream.target = None
        if not stream.open and silent > _ALL_TRACED:
            del self._holding[key]

    def _close_stream(self, stream: _Stream) -> None:
        self._flush_precursor(stream)
        for dump in list(stream.open):
            self._close(stream, dump)
        stream.target = None
        stream.suppressed = None

    def _ready(self) -> list[Dump]:
        ready: list[Dump] = []
        while self._queue and self._queue[0].closed:
            dump = self._queue.popleft()
            if not dump.dropped:
                ready.append(dump)
        return ready


def _all_patience(dump: Dump) -> int:
    if dump.kind == "slab_allocation_failure" or dump.memory.whole:
        return _ALL_HEADER if dump.kind == "oom_kill" else _ALL_WHOLE
    return _ALL_TRACED if dump.traced and dump.kind != "oom_kill" else _ALL_HEADER


def _announces(precursor: Header, header: Header) -> bool:
    """Whether a vmalloc line without a name is the first half of the failure that ``header`` prints."""
    if header.kind == "vmalloc_allocation_failure":
        return True
    # The kernel's pair before 4.9; vmap's own complaint is followed by a vmalloc line, never by a plain header.
    return header.kind == "page_allocation_failure" and header.order == 0 and precursor.reason == "allocation failure"


def _lost(text: str) -> int | None:
    """Return how many lines a line says are lost, 0 where it does not say how many, None where it says nothing."""
    for before, after in _words().lost:
        at = text.find(before)
        if at < 0:
            continue
        if not after:
            return 0
        start = at + len(before)
        end = start
        while end < len(text) and end - start < 9 and "0" <= text[end] <= "9":
            end += 1
        if end > start and text.startswith(after, end):
            return int(text[start:end])
    return None


def _has_own_trace(dump: Dump) -> bool:
    """Whether a dump's trace is one of a failed allocation: it begins in the allocator, or where dumps are made."""
    if dump.announced:
        return True
    first = next((f.function for f in dump.trace.frames), None)
    return first is not None and (is_dump_frame(first) or is_page_frame(first))


def _same_task(header: str | None, banner: str) -> bool:
    return header is not None and header.strip(" ") == banner


#: What people put in the place of a name that they hide.
_HIDDEN = re.compile(r"(?:[xX]{2,15}|[*?.]{1,15}|<[A-Za-z ._-]{0,13}>|\[[A-Za-z ._-]{0,13}\])$").match


def _may_be(header: str | None, banner: str) -> bool:
    """Whether a banner can be of a header's task: its name is not known, or hidden, or something stands in front."""
    if header is None or _HIDDEN(header):
        return True
    end = len(header) - len(banner)
    return end > 0 and banner != "" and header.endswith(banner) and _APART(header, end - 1) is not None


def _name(dump: Dump, comm: str) -> None:
    """Let the body decide how a task is called whose header's prefix is not certain."""
    header, head = dump.header, dump.head
    if header is None or head is None or _same_task(header.comm, comm):
        return
    dump.header = replace(header, comm=comm)
    rest = head.text[len(header.comm or "") :]
    if rest.startswith("invoked "):
        rest = " " + rest
    elif not rest.startswith(": ") and not header.comm:
        rest = ": " + rest
    dump.head = head._replace(text=comm + rest)


def _is_words(text: str) -> bool:
    """Whether a line is raw stack words (x86 before 4.10): blanks and hex words of one length."""
    words = [word for word in text.split(" ") if word]
    if len(words) < 2 or len(words[0]) not in (8, 16):
        return False
    return all(len(w) == len(words[0]) and all(c in "0123456789abcdef" for c in w) for w in words)
