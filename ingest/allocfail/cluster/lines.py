"""Documents with a line of a kernel log each: which belong together, and in which order they were printed.

What can be joined and sorted by is data (``kb/facts/carriers.yml``). Where nothing tells the order of two frames, none
is made up: :func:`arrange` says so, and the event does without its trace.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from datetime import datetime
from functools import cache
from itertools import groupby, pairwise
from typing import TYPE_CHECKING, Any, NamedTuple

from allocfail import facts
from allocfail.decoder import said, times
from allocfail.decoder.assembly import Assembler
from allocfail.decoder.banner import parse_banner
from allocfail.decoder.fields import at
from allocfail.decoder.header import parse_header
from allocfail.decoder.memory import is_memory_line, starts_memory
from allocfail.decoder.trace import is_failure_frame, parse_frames
from allocfail.decoder.untangle import open_line, split_pieces

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from allocfail.decoder.assembly import Dump
    from allocfail.decoder.records import Record

__all__ = ["Line", "Place", "Stretch", "arrange", "dumps_alone", "is_kernels", "may_begin", "read", "streams"]

#: Where a field may stand: an object, and a path in it to put in front.
_Roots = list[tuple[dict[str, Any], str]]

#: Lines of one boot have the same difference of wall time and printk time, give or take this many seconds: a reader may
#: fall behind.
_BOOT_APART = 60.0
#: Lines further apart than this, in seconds, are not of one dump where their order is in doubt.
_APART = 2.0


@dataclass(frozen=True, slots=True)
class Place:
    """Where a document is."""

    index: str
    id: str


@dataclass(slots=True, eq=False)
class Line:
    """One document, opened."""

    place: Place
    source: dict[str, Any]
    records: list[tuple[Record, int]]
    """What it says: mostly one line, each with the length of its prefix (-1: it came in a container)."""
    boot: str | None
    join: tuple[tuple[str, str], ...]
    """What all lines of one dump have in common."""
    keys: dict[str, Any] = field(default_factory=dict)
    """What it can be sorted by: the rank's name and a value that compares with those of its own kind."""
    seconds: float | None = None
    """Wall time, to tell bursts apart; no order is made of it."""

    @property
    def text(self) -> str:
        """Everything it says, without prefixes."""
        return "\n".join(record.text for record, _ in self.records)


class Stretch(NamedTuple):
    """Lines of one stream in the order in which they were printed."""

    lines: list[Line]
    missing: tuple[int, ...]
    """Numbers of records, of those the kernel gave, that are not there."""
    doubtful: bool
    """The order of some frames is not known: all are left out."""


class _Key(NamedTuple):
    path: str
    beside: str | None
    within: str | None
    digits: int
    """Digits of a second's fraction that count."""


class _Known(NamedTuple):
    order: tuple[tuple[str, tuple[_Key, ...]], ...]
    join: tuple[str, ...]
    file_identity: tuple[str, ...]
    below: tuple[str, ...]
    kmsg: Callable[[str], re.Match[str] | None]
    continuation: Callable[[str], re.Match[str] | None]
    other: tuple[str, ...]


@cache
def _known() -> _Known:
    known = facts.load()["carriers"]
    wording = facts.load()["wording"]
    return _Known(
        tuple(
            (rank, tuple(_Key(key["path"], key.get("with"), key.get("within"), key.get("digits", 9)) for key in keys))
            for rank, keys in known["order"].items()
        ),
        tuple(known["join"]),
        tuple(known["file_identity"]),
        tuple(known["journal_below"]),
        re.compile(known["kmsg_text"]).match,
        re.compile("|".join(known["continuation"]), re.ASCII).search,
        (*wording["report_start"], *(before for before, _ in wording["lost"] if before)),
    )


def read(place: Place, source: Mapping[str, Any]) -> Line:
    """Open a document; one without a text has no records."""
    document = dict(source)
    try:
        pieces = [piece for piece in open_line(json.dumps(document), 0) if piece.opened is not None]
    except (RecursionError, ValueError):
        pieces = []
    records = [(line.record, line.start) for line in split_pieces(pieces, carried=False, apart=False)]
    roots = _roots(document)
    known = _known()
    line = Line(place, document, records, None, ())
    if not records:
        return line
    first = records[0][0]
    line.boot = first.origin.boot if first.origin is not None else None
    join = [(path, value) for path in known.join if (value := _first(roots, (path,))) is not None]
    # What user space wrote to the kernel's log is none of the kernel's lines.
    join.append(("provenance", (first.origin.provenance if first.origin is not None else None) or ""))
    join.append(("host", first.host or ""))
    line.join = tuple(join)
    line.keys = _keys(roots, first, document)
    moment = first.time or line.keys.get("clock_text")
    stamp = times.resolve(moment) if isinstance(moment, str) else None
    if stamp is not None:
        line.seconds = datetime.fromisoformat(stamp).timestamp()
    return line


def _roots(document: dict[str, Any]) -> _Roots:
    """Return where a field may stand: the document, and what holds a whole journal's entry, as object and path."""
    roots = [(document, "")]
    roots += [(document, f"{path}.") for path in _known().below if path.partition(".")[0] in document]
    for name in ("body", "Body"):
        text = document.get(name)
        if isinstance(text, str) and text.startswith("{"):
            try:
                inner = json.loads(text)
            except (ValueError, RecursionError):
                continue
            if isinstance(inner, dict):
                roots.append((inner, ""))
    return roots


def _first(roots: _Roots, paths: Iterable[str]) -> str | None:
    """Return the first value of any of the paths, as text."""
    for path in paths:
        for root, below in roots:
            value = at(root, below + path)
            if isinstance(value, str | int) and not isinstance(value, bool) and value != "":
                return str(value)
    return None


def _keys(roots: _Roots, record: Record, document: dict[str, Any]) -> dict[str, Any]:  # noqa: C901 - a branch for each key
    found: dict[str, Any] = {}
    for rank, keys in _known().order:
        for key in keys:
            value = _first(roots, (key.path,))
            if value is None or (key.beside is not None and _first(roots, (key.beside,)) is None):
                continue
            made = _MAKE[rank](value)
            if rank == "clock" and made is not None:
                made -= made % 10 ** (9 - key.digits)
            if made is not None:
                found[rank] = made
                if key.within is not None:
                    found[rank + "_within"] = _first(roots, (key.within,))
                if rank == "clock":
                    found["clock_text"] = value
                break
    if "kmsg" not in found and (text := _raw_text(document)) and (m := _known().kmsg(text)):
        found["kmsg"] = int(m[1])
    if record.uptime is not None and (micros := _micros(record.uptime)) is not None:
        found["printk"] = micros
    own = record.origin is None or record.time != record.origin.time
    printed = _nanos(record.time) if record.time is not None and own else None
    if printed is not None and printed[1] > 3:
        # The line's own time, finer than an index keeps it, is worth more than the reader's.
        found["clock"] = printed[0]
    return found


def _raw_text(document: dict[str, Any]) -> str | None:
    for path in facts.load()["containers"]["texts"]:
        value = at(document, path)
        if isinstance(value, str) and value:
            return value
    return None


def _number(text: str) -> int | None:
    return int(text) if text.isascii() and text.isdigit() and len(text) < 20 else None


def _journal(text: str) -> int | None:
    """Return the number of a journal's entry, itself or out of a cursor."""
    number = _number(text)
    if number is not None:
        return number
    m = re.search(r"(?:^|;)i=([0-9a-f]{1,16})(?:;|$)", text)
    return int(m[1], 16) if m else None


def _micros(uptime: str) -> int | None:
    """Return the microseconds of a printk time such as ``4711.123456``, or of a journal's."""
    whole, dot, fraction = uptime.partition(".")
    if not dot:
        return _number(uptime)
    return _number(whole + fraction[:6].ljust(6, "0"))


_WALL = re.compile(
    r"([0-9]{4}-[0-9]{2}-[0-9]{2}[T ][0-9]{2}:[0-9]{2}:[0-9]{2})(?:[.,]([0-9]{1,9}))?(?: ?(?:Z|UTC|[+-][0-9:]{2,6}))?$"
)
_EPOCH = re.compile(r"([0-9]{9,19})(?:\.([0-9]{1,9}))?$")


def _nanos(text: str) -> tuple[int, int] | None:
    """Return nanoseconds and the number of digits behind the second; zones are those of one reader, hence alike."""
    text = text.strip()
    if m := _WALL.match(text):
        stamp = times.resolve(text)
        if stamp is None:
            return None
        digits = m[2] or ""
        seconds = int(datetime.fromisoformat(stamp).timestamp())
        return seconds * 1_000_000_000 + int(digits.ljust(9, "0")), len(digits)
    if m := _EPOCH.match(text):
        whole, digits = m[1], m[2] or ""
        if len(whole) == 13 and digits:
            # OpenTelemetry's: milliseconds, and behind the dot nanoseconds without leading zeros.
            return int(whole) * 1_000_000 + int(digits), 9
        if len(whole) > 10:
            return int(whole.ljust(19, "0")), len(whole) - 10
        return int(whole) * 1_000_000_000 + int(digits.ljust(9, "0")), len(digits)
    return None


def _clock(text: str) -> int | None:
    found = _nanos(text)
    return found[0] if found is not None else None


_MAKE: dict[str, Callable[[str], Any]] = {
    "kmsg": _number,
    "journal": _journal,
    "offset": _number,
    "printk": _micros,
    "clock": _clock,
    "arrival": lambda text: (len(text) if text.isdigit() else 0, text),
}


def may_begin(line: Line) -> bool:
    """Whether a line begins an event, or shows that one's first line was lost."""
    for record, _ in line.records:
        frames = parse_frames(record.text)
        if frames is not None and any(is_failure_frame(frame.function) for frame in frames):
            return True
    return bool(dumps_alone(line))


def dumps_alone(line: Line) -> list[Dump]:
    """Return the dumps that a document makes by itself."""
    assembler = Assembler()
    dumps = [dump for record, _ in line.records for dump in assembler.feed(said.read(record))]
    return [*dumps, *assembler.close()]


def streams(lines: Iterable[Line]) -> list[list[Line]]:
    """Sort lines into streams: one boot of one host, as one reader delivered it."""
    groups: dict[tuple[Any, ...], list[Line]] = {}
    for line in lines:
        if line.records:
            groups.setdefault((line.boot, line.join), []).append(line)
    found: list[list[Line]] = []
    for (boot, _), group in groups.items():
        found += [group] if boot is not None else _boots(group)
    return found


def _boots(group: list[Line]) -> list[list[Line]]:
    """Part the lines of several boots where wall time and printk time tell them apart."""
    timed = [line for line in group if "printk" in line.keys and line.seconds is not None]
    if len(timed) < len(group) or not group:
        return [group]
    begun = {id(line): (line.seconds or 0.0) - line.keys["printk"] / 1e6 for line in group}
    group = sorted(group, key=lambda line: begun[id(line)])
    parts: list[list[Line]] = [[group[0]]]
    for before, line in pairwise(group):
        if begun[id(line)] - begun[id(before)] > _BOOT_APART:
            parts.append([])
        parts[-1].append(line)
    return parts


def is_kernels(line: Line) -> bool:
    """Whether a line may be one of a dump; a file holds other programs' lines too."""
    known = _known()
    for record, _ in line.records:
        text = record.text
        if record.uptime is not None or (record.origin is not None and record.origin.provenance is not None):
            return True
        if known.continuation(text) or text.startswith(known.other) or text.endswith(" callbacks suppressed"):
            return True
        if parse_header(text) is not None:
            return True
    return False


def arrange(group: list[Line]) -> list[Stretch]:
    """Put the lines of one stream in order, once each, and say what is not known about it.

    The best key that all lines have decides, the others where it ties. Bursts whose frames tie even so come as a
    stretch of their own, without the frames.
    """
    numbers = sorted({line.keys["kmsg"] for line in group if "kmsg" in line.keys})
    lines = [line for line in group if is_kernels(line)]
    if not lines:
        return []
    ranks = _common(lines)
    generation = (_generations(lines) if "offset" in ranks else None) or {}
    if not generation and "offset" in ranks:
        ranks.remove("offset")
    keyed = [
        (
            tuple((generation[id(line)], line.keys[rank]) if rank == "offset" else line.keys[rank] for rank in ranks),
            line,
        )
        for line in lines
    ]
    keyed.sort(key=lambda pair: (pair[0], _grammar(pair[1])))
    once: list[Line] = []
    tied: set[int] = set()
    for _, run in groupby(keyed, key=lambda pair: pair[0]):
        # What has the same key and the same text was sent twice.
        different = list({line.text: line for _, line in run}.values())
        frames = [number for number, line in enumerate(different, len(once)) if _is_frame(line)]
        if len(frames) > 1:
            tied.update(frames)
        once += different
    missing: tuple[int, ...] = ()
    if "kmsg" in ranks and numbers[-1] - numbers[0] < 1_000_000:
        missing = tuple(sorted(set(range(numbers[0], numbers[-1])) - set(numbers)))
    if not tied:
        return [Stretch(once, missing, doubtful=False)]
    return _in_doubt(once, tied, missing)


def _common(lines: list[Line]) -> list[str]:
    ranks = [rank for rank, _ in _known().order if all(rank in line.keys for line in lines)]
    if "journal" in ranks and len({line.keys.get("journal_within") for line in lines}) > 1:
        ranks.remove("journal")
    return ranks


def _generations(lines: list[Line]) -> dict[int, int] | None:
    """Return for each line the number of its file, of those that a name stood for, in the order of writing.

    None where the file was rotated, or cut, and the documents do not say which of the two a line was in.
    """
    files: dict[str, list[Line]] = {}
    for line in lines:
        files.setdefault(_first([(line.source, "")], _known().file_identity) or "", []).append(line)
    # At one and the same time the file that is written further is the older one.
    firsts = sorted(
        files,
        key=lambda name: (
            min(_moment(line) for line in files[name]),
            -min(line.keys["offset"] for line in files[name]),
        ),
    )
    if len(files) == 1:
        for before, line in pairwise(sorted(lines, key=lambda line: (_moment(line), line.keys["offset"]))):
            if line.keys["offset"] < before.keys["offset"] and _moment(line) > _moment(before):
                return None
    return {id(line): number for number, name in enumerate(firsts) for line in files[name]}


def _moment(line: Line) -> tuple[int, float]:
    if "printk" in line.keys and line.seconds is None:
        return (0, line.keys["printk"] / 1e6)
    return (1, line.seconds or 0.0)


def _grammar(line: Line) -> int:
    """Return where in a dump a line stands, for lines that nothing else can tell apart."""
    text = line.records[0][0].text
    if parse_header(text) is not None:
        return 0
    if parse_banner(text) is not None:
        return 1
    if parse_frames(text) is not None:
        return 3
    if starts_memory(text):
        return 4
    if is_memory_line(text):
        return 5
    return 2


def _is_frame(line: Line) -> bool:
    return any(
        frame.function
        for record, _ in line.records
        if len(line.records) == 1
        for frame in parse_frames(record.text) or ()
    )


def _in_doubt(lines: list[Line], tied: set[int], missing: tuple[int, ...]) -> list[Stretch]:
    """Part a stream into bursts, and leave the frames out of those in which two of them tie."""
    bursts: list[list[int]] = [[]]
    for number, line in enumerate(lines):
        if number and _moment(line)[1] - _moment(lines[number - 1])[1] > _APART:
            bursts.append([])
        bursts[-1].append(number)
    found: list[Stretch] = []
    certain: list[Line] = []
    for burst in bursts:
        if tied.isdisjoint(burst):
            certain += [lines[number] for number in burst]
            continue
        if certain:
            found.append(Stretch(certain, missing, doubtful=False))
            certain = []
        left = [lines[number] for number in burst if not _has_frames(lines[number])]
        if sum(1 for line in left if dumps_alone(line)) > 1:
            # Whose Mem-Info is whose is not known either.
            left = [line for line in left if dumps_alone(line)]
        found.append(Stretch(left, missing, doubtful=True))
    if certain:
        found.append(Stretch(certain, missing, doubtful=False))
    return found


def _has_frames(line: Line) -> bool:
    return _is_frame(line) or (len(line.records) == 1 and parse_frames(line.records[0][0].text) is not None)
