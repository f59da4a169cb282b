"""Which lines of a log are one event: a bounded, streaming assembler.

Records come in log order. A stream is what one host prints under one printk caller id (or without one). In a stream a
header opens a dump; a banner leads to the open header of the same task; what follows goes where the banner led, and
what belongs to another report (an Oops behind the failure, say) goes nowhere. A dump whose header was lost is known by
its trace: from the functions that print dumps straight into the one that announces a failed allocation.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from dataclasses import dataclass, field
from functools import cache
from typing import TYPE_CHECKING, NamedTuple

from allocfail import facts
from allocfail.decoder.header import Header, continue_header
from allocfail.decoder.memory import MemoryLines, is_memory_line, starts_memory
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

__all__ = ["Assembler", "Dump", "OomLines", "SlabLines"]

#: Records of a stream that may pass between two lines of one dump. A hundred and more were seen before a body began.
_PATIENCE = 400
#: The same, once the dump has its trace: Mem-Info follows at once or never.
_PATIENCE_BODY = 60
#: The same, behind the line that ends Mem-Info in most releases.
_PATIENCE_TAIL = 4
#: Slab reports are three lines or a few more.
_PATIENCE_SLAB = 40
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
_MOST_CHARS = 4 * 1024 * 1024


@dataclass(slots=True)
class SlabLines:
    """What a slab report says behind its header."""

    cache: str | None = None
    object_size: int | None = None
    buffer_size: int | None = None
    default_order: int | None = None
    min_order: int | None = None
    order: int | None = None
    nodes: list[dict[str, int]] = field(default_factory=list)


@dataclass(slots=True)
class OomLines:
    """What an OOM kill says behind its header."""

    constraint: str | None = None
    victim: str | None = None
    victim_pid: int | None = None
    memcg: str | None = None
    task_memcg: str | None = None
    score_adj: int | None = None
    nodemask: str | None = None
    cpuset: str | None = None
    mems_allowed: str | None = None


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
    closed: bool = False
    last: int = 0
    chars: int = 0
    sealed: bool = False
    """Nothing more is added to its trace."""

    def take(self, record: Record) -> None:
        """Keep a record as the event's own, within bounds."""
        if len(self.records) < _MOST_LINES and self.chars < _MOST_CHARS:
            self.records.append(record)
            self.chars += len(record.raw)

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
    lost: tuple[tuple[str, str], ...]


@cache
def _words() -> _Words:
    wording = facts.load()["wording"]
    return _Words(
        tuple(wording["report_start"]),
        tuple(wording["trace_start"]),
        tuple(wording["noise_start"]),
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
    suppressed: tuple[int, Record] | None = None
    slab: Dump | None = None
    last_page: Dump | None = None
    torn: Dump | None = None
    """Its cpuset line came in pieces, and not all of them yet."""


#: How the kernel begins the line that names the task it kills; before 2.6.18 with a capital M.
_KILLED = ("Out of memory", "Out of Memory", "Memory cgroup out of memory", "No available memory")

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
        self._bare = True
        """The stream without a host and a caller id has bare lines only."""
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
            # Bare lines at the very beginning belong to what follows them.
            first = self._streams.pop(_NOBODY, None) if self._bare else None
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
        if target is not None and target.memory.started and "alloc" not in text and is_memory_line(text):
            target.memory.add(text)
            self._own(stream, target, record)
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
        if (stream.torn is not None or " cpuset=" in text) and self._cpuset(stream, record, text):
            return
        if stream.slab is not None and self._slab_line(stream, stream.slab, record, text):
            return
        if said.banner is not None:
            self._banner(stream, record, said.banner)
            return
        target = stream.target
        if text.startswith("Hardware name: "):
            target = self._candidate(stream)
            if target.hardware is None and not target.announced:
                target.begun = True
                target.hardware = text[15:]
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

    def _header(self, stream: _Stream, record: Record, header: Header) -> None:
        if header.precursor:
            before = stream.precursor
            if before is not None and before[0].reason != header.reason and before[0].allocated is None:
                # vmap's own complaint, then vmalloc's: one failure.
                stream.precursor = (header, (*before[1], record), stream.count, before[3])
                return
            self._flush_precursor(stream)
            # Its place among the events is where it stands, whatever it turns out to be.
            place = Dump(header.kind, None, record, precursor=header)
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

    @staticmethod
    def _ended(dump: Dump) -> bool:
        return dump.trace.ended

    def _suppressed(self, stream: _Stream, record: Record, text: str) -> None:
        digits = text[text.find(": ") + 2 : -21]
        if digits.isascii() and digits.isdigit() and len(digits) < 10:
            stream.suppressed = (int(digits), record)

    def _missed(self, stream: _Stream, record: Record, text: str) -> bool:
        """Note on every open dump of this host that lines are lost, where ``text`` says so; return whether it does."""
        lost = _lost(text)
        if lost is None:
            return False
        for other in self._streams.values():
            if other.host == stream.host:
                for dump in other.open:
                    dump.missed = (dump.missed or 0) + lost
                    dump.take(record)
        return True

    def _banner(self, stream: _Stream, record: Record, banner: Banner) -> None:
        chosen: Dump | None = None
        if not stream.foreign:
            for dump in reversed(stream.open):
                if (
                    dump.kind != "slab_allocation_failure"
                    and dump.banner is None
                    and not dump.memory.started
                    and not _has_own_trace(dump)
                    and _same_task(dump.comm, banner.comm)
                ):
                    chosen = dump
                    if dump.traced:
                        # What stood between header and banner was another CPU's.
                        dump.interleaved = True
                        dump.trace, dump.traced, dump.sealed, dump.begun_trace = TraceBuilder(), False, False, False
                    break
        stream.foreign = False
        if chosen is None:
            chosen = Dump("page_allocation_failure", None, None, last=stream.count)
            if stream.target is not None and stream.target in stream.open and stream.target.traced:
                stream.target.sealed = True
        chosen.banner = banner
        chosen.begun = True
        stream.target = chosen
        self._own(stream, chosen, record)

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
        if target.memory.started or (start and (target.trace.frames or target.addresses)):
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
        if len(target.trace.frames) < 512:
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
            if target not in stream.open and target.begun and self._lost_header(target):
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
            dump.suppressed, line = stream.suppressed
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

    def _slab_line(self, stream: _Stream, dump: Dump, record: Record, text: str) -> bool:
        lines = dump.slab
        if text.startswith("cache: ") and lines.cache is None:
            parts = text.split(", ")
            lines.cache = parts[0][7:]
            for part in parts[1:]:
                name, _, value = part.partition(": ")
                if not (value.isascii() and value.isdigit() and len(value) < 10):
                    continue
                if name == "object size":
                    lines.object_size = int(value)
                elif name == "buffer size":
                    lines.buffer_size = int(value)
                elif name == "default order":
                    lines.default_order = int(value)
                elif name == "min order":
                    lines.min_order = int(value)
                elif name == "order":
                    lines.order = int(value)
        elif text.startswith("node ") and ": slabs: " in text:
            node = _slab_node(text)
            if node is None:
                return False
            if len(lines.nodes) < 1024:
                lines.nodes.append(node)
        elif " debugging increased min order, use " not in text:
            return False
        self._own(stream, dump, record)
        return True

    def _other(self, stream: _Stream, target: Dump, record: Record, text: str) -> None:
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
        if target.kind == "oom_kill" and self._oom_line(target, text):
            self._own(stream, target, record)
            if "illed process " in text or text.startswith(_KILLED):
                target.sealed = True
            return
        if memory.whole and target.kind != "oom_kill" and stream.count - target.last > _PATIENCE_TAIL:
            self._close(stream, target)

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

    @staticmethod
    def _oom_line(target: Dump, text: str) -> bool:
        oom = target.oom
        if text.startswith("oom-kill:constraint="):
            end = text.find(",", 20)
            oom.constraint = text[20:] if end < 0 else text[20:end]
            _places(oom, text)
            memcg = text.find(",oom_memcg=")
            if memcg >= 0:
                end = text.find(",task_memcg=", memcg)
                oom.memcg = text[memcg + 11 :] if end < 0 else text[memcg + 11 : end]
            task = text.find(",task=")
            pid = text.rfind(",pid=")
            if 0 <= task < pid:
                oom.victim = text[task + 6 : pid]
                digits = text[pid + 5 :].split(",", maxsplit=1)[0]
                if digits.isascii() and digits.isdigit() and len(digits) < 10:
                    oom.victim_pid = int(digits)
            return True
        if text.startswith("Task in ") and " killed as a result of limit of " in text:
            oom.memcg = text[text.rfind(" limit of ") + 10 :]
            oom.constraint = oom.constraint or "CONSTRAINT_MEMCG"
            return True
        at = text.find("ill process ")
        if at < 0:
            at = text.find("illed process ")
        if at > 0 and (at == 1 or text.startswith(_KILLED)):
            if text.startswith("Memory cgroup"):
                oom.constraint = oom.constraint or "CONSTRAINT_MEMCG"
            elif text.startswith("Out of "):
                oom.constraint = oom.constraint or "CONSTRAINT_NONE"
            elif text.startswith("No available memory in cpuset"):
                oom.constraint = oom.constraint or "CONSTRAINT_CPUSET"
            elif text.startswith("No available memory (MPOL_BIND)"):
                oom.constraint = oom.constraint or "CONSTRAINT_MEMORY_POLICY"
            start = text.find("process ", at) + 8
            end = start
            while end < len(text) and end - start < 10 and "0" <= text[end] <= "9":
                end += 1
            # RHEL 6 puts `, UID 48,` between the two.
            name = text.find(" (", end) if text.startswith(", UID ", end) else end
            close = _victim_end(text, name + 2)
            if end > start and name >= 0 and text.startswith(" (", name) and close > 0:
                oom.victim_pid = int(text[start:end])
                oom.victim = text[name + 2 : close]
            at = text.find("oom_score_adj:")
            if at >= 0:
                digits = text[at + 14 :].split(" ", maxsplit=1)[0]
                if digits.removeprefix("-").isdigit() and digits.isascii() and len(digits) < 6:
                    oom.score_adj = int(digits)
            return True
        return text.startswith(
            (
                "[",
                "Tasks state",
                "memory: usage",
                "memory+swap: usage",
                "swap: usage",
                "kmem: usage",
                "Memory cgroup",
                "Unreclaimable slab info",
                "oom_reaper: ",
            )
        )

    # -- closing -------------------------------------------------------------------------------------------------------

    def _close(self, stream: _Stream, dump: Dump) -> None:
        dump.closed = True
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
        dump.precursor, dump.head, dump.closed = header, lines[-1], True
        for line in lines:
            dump.take(line)

    def _age(self, stream: _Stream) -> None:
        count = stream.count
        if stream.precursor is not None and count - stream.precursor[2] > 8:
            self._flush_precursor(stream)
        for dump in stream.open:
            if dump.kind == "slab_allocation_failure":
                limit = _PATIENCE_SLAB
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
            ready.append(self._queue.popleft())
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


def _places(oom: OomLines, text: str) -> None:
    """Read ``,nodemask=…,cpuset=…,mems_allowed=…`` and the task's cgroup from the line of a kill's constraint."""
    start = text.find(",nodemask=")
    end = text.find(",cpuset=", start + 10)
    if 0 <= start < end:
        oom.nodemask = text[start + 10 : end]
        start = text.find(",mems_allowed=", end)
        if start >= 0:
            oom.cpuset = text[end + 8 : start]
            end = start + 14
            while end < len(text) and text[end] in "0123456789-,":
                end += 1
            oom.mems_allowed = text[start + 14 : end].rstrip(",")
    start = text.find(",task_memcg=")
    end = text.find(",task=", start)
    if 0 <= start < end:
        oom.task_memcg = text[start + 12 : end]


def _victim_end(text: str, at: int) -> int:
    """Return where the parenthesis round a victim's name closes: names may hold parentheses themselves."""
    for stop in (") total-vm:", ") score ", "), UID"):
        end = text.find(stop, at)
        if end >= 0:
            return end
    return text.rfind(")", at)


def _slab_node(text: str) -> dict[str, int] | None:
    """Read ``node 0: slabs: 3/3, objs: 3/3, free: 0``; the second of a pair is the total."""
    head, _, rest = text[5:].partition(": ")
    if not (head.isascii() and head.isdigit() and len(head) < 10):
        return None
    node = {"node": int(head)}
    for part in rest.split(", "):
        name, _, value = part.partition(": ")
        first, slash, second = value.partition("/")
        if name not in ("slabs", "objs", "free") or not (first.isascii() and first.isdigit() and len(first) < 19):
            return None
        if slash:
            if not (second.isascii() and second.isdigit() and len(second) < 19):
                return None
            node["active_" + name] = int(first)
            node[name] = int(second)
        else:
            node[name] = int(first)
    return node


def _is_words(text: str) -> bool:
    """Whether a line is raw stack words (x86 before 4.10): blanks and hex words of one length."""
    words = [word for word in text.split(" ") if word]
    if len(words) < 2 or len(words[0]) not in (8, 16):
        return False
    return all(len(w) == len(words[0]) and all(c in "0123456789abcdef" for c in w) for w in words)
