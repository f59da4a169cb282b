"""The steps from a document to the document enriched: each is one script, and Python takes them in turn.

What one step hands to the next is a :class:`Work`; one that gives none ends the way.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import cache
from typing import TYPE_CHECKING, Any, NamedTuple

from allocfail import facts
from allocfail.decoder import times
from allocfail.decoder.assembly import Assembler
from allocfail.decoder.case import case_of
from allocfail.decoder.causes import Weighing, weigh
from allocfail.decoder.containers import described
from allocfail.decoder.document import advise, build
from allocfail.decoder.event import Event, decode
from allocfail.decoder.fields import at
from allocfail.decoder.fill import fill, is_filled
from allocfail.decoder.kit import width, without_surrogates
from allocfail.decoder.memory import read_memory
from allocfail.decoder.said import Said, read
from allocfail.decoder.untangle import Piece, join_lines, open_line, open_text, split_pieces
from allocfail.decoder.verdict import Judged, judge

if TYPE_CHECKING:
    from allocfail.decoder.assembly import Dump
    from allocfail.decoder.case import Case
    from allocfail.decoder.options import Options
    from allocfail.decoder.records import Record

__all__ = ["STEPS", "Work", "describe", "dumps_of", "may_hold", "open_sources"]

#: Places of an event's words that are looked at in a text that is too long to be read as a whole.
_MOST_PLACES = 2000
#: What is wanted stands this close to those words, in characters.
_NEAR = 4096
_TOO_LONG = "too long"
#: One of these is in every text that holds an event.
_WORDS = ("alloc", "oom-kill", "ill process ", "illed process ")


class Source(NamedTuple):
    """A text that may hold an event."""

    text: str
    pieces: list[Piece]
    reason: str | None
    """Why no more than its headers is looked at."""


class Read(NamedTuple):
    """A text, read."""

    text: str
    records: list[Record]
    reason: str | None


class Understood(NamedTuple):
    """A text whose lines are understood, each by itself."""

    text: str
    said: list[Said]
    reason: str | None


@dataclass(slots=True, eq=False)
class Work:
    """What the steps hand on."""

    sources: list[Source] = field(default_factory=list)
    texts: list[Read] = field(default_factory=list)
    understood: list[Understood] = field(default_factory=list)
    text: str = ""
    """The text that holds the event."""
    dump: Dump | None = None
    further: int = 0
    """How many other events the text holds."""
    event: Event | None = None
    case: Case | None = None
    made: dict[str, Any] | None = None
    """The event's own document."""
    weighing: Weighing | None = None
    judged: Judged | None = None


class _Limits(NamedTuple):
    fields: tuple[str, ...]
    characters: int
    lines: int
    line: int


@cache
def _limits() -> _Limits:
    reading = facts.load()["reading"]
    return _Limits(tuple(facts.load()["containers"]["texts"]), reading["characters"], reading["lines"], reading["line"])


def may_hold(text: str) -> bool:
    """Whether a text may hold an event: one of the words that every event has is in it."""
    return any(word in text for word in _WORDS)


def open_sources(document: dict[str, Any], options: Options) -> Work | None:
    """Find the texts that may hold an event, and open the containers in them."""
    if is_filled(document):
        return None
    work = Work()
    seen: set[str] = set()
    for name in options.fields or _limits().fields:
        text = at(document, name)
        if isinstance(text, str) and may_hold(text) and text not in seen:
            seen.add(text)
            work.sources.append(_source(text))
    return work if work.sources else None


def _source(text: str) -> Source:
    plain = without_surrogates(text, "?")
    if _is_long(plain):
        return Source(text, _likely(plain), _TOO_LONG)
    return Source(text, open_text(plain), None)


def _is_long(text: str) -> bool:
    """Whether a text has more characters or lines than are read, or a line of more."""
    limits = _limits()
    if len(text) > limits.characters and width(text) > limits.characters:
        return True
    if text.count("\n") > limits.lines:
        return True
    return len(text) > limits.line and any(
        len(line) > limits.line and width(line) > limits.line for line in text.split("\n")
    )


def _likely(text: str) -> list[Piece]:
    """Return the lines of a long text that may be a header."""
    pieces: list[Piece] = []
    at = 0
    hits = [text.find(word) for word in _WORDS]
    while len(pieces) < _MOST_PLACES:
        # What is not there is not looked for again.
        for place, word in enumerate(_WORDS):
            if 0 <= hits[place] < at:
                hits[place] = text.find(word, at)
        hit = min((one for one in hits if one >= 0), default=-1)
        if hit < 0:
            break
        start = text.rfind("\n", 0, hit) + 1
        end = text.find("\n", hit)
        if end < 0:
            end = len(text)
        at = end + 1
        # A line this long is no kernel's; what is wanted stands close to the hit.
        line = text[max(start, hit - _NEAR) : min(end, hit + _NEAR)].lstrip(">| ")
        pieces.extend(open_line(line, len(pieces)))
    return pieces


def read_sources(document: dict[str, Any], work: Work, options: Options) -> Work | None:
    """Take the lines apart into prefix and kernel text, and join those that were wrapped."""
    del document, options
    for source in work.sources:
        work.texts.append(Read(source.text, _records(source, carried=True), source.reason))
    work.sources = []
    return work


def _records(source: Source, *, carried: bool) -> list[Record]:
    lines = split_pieces(source.pieces, carried=carried, apart=source.reason is not None)
    if source.reason is None:
        return join_lines(lines, may_repeat=" repeated " in source.text)
    return [line.record for line in lines]


def understand(document: dict[str, Any], work: Work, options: Options) -> Work | None:
    """Read what each line says by itself."""
    del document, options
    for source in work.texts:
        work.understood.append(Understood(source.text, [read(record) for record in source.records], source.reason))
    work.texts = []
    return work


def assemble(document: dict[str, Any], work: Work, options: Options) -> Work | None:
    """Collect the lines that are one event: the first of the first text that holds one."""
    del document, options
    for source in work.understood:
        dumps = _dumps(source)
        if dumps:
            work.dump = dumps[0]
            # An engine goes through all that is handed on, and some copy it, behind every script.
            work.dump.condense()
            work.further = len(dumps) - 1
            work.text = source.text
            break
    work.understood = []
    return work if work.dump is not None else None


def _dumps(source: Understood) -> list[Dump]:
    assembler = Assembler()
    found: list[Dump] = []
    for said in source.said:
        if source.reason is None:
            found.extend(assembler.feed(said))
        elif _is_opening(said):
            found.extend(assembler.feed(said))
            found.extend(assembler.close())
            if found:
                found[0].limit = source.reason
                return found
    found.extend(assembler.close())
    return found


def _is_opening(said: Said) -> bool:
    """Whether a line is an event by itself."""
    if said.header is not None:
        return not said.header.precursor
    return said.kill is not None and said.kill.alone


def decode_dump(document: dict[str, Any], work: Work, options: Options) -> Work | None:
    """Decode mask and trace, and make the fingerprint."""
    if work.dump is None:
        return None
    work.event = decode(work.dump, _told(document, options))
    work.dump = None
    return work


def _told(document: dict[str, Any], options: Options) -> Options:
    """Complete what the decoder was told by what the document says: release, and which year a date is of."""
    release = at(document, "host.os.kernel")
    if options.kernel is None and isinstance(release, str) and release:
        options = replace(options, kernel=release)
    if options.reference is None:
        time = described(document, "").time
        reference = times.millis_of(time, tz=options.timezone) if time is not None else None
        options = replace(options, reference=reference)
    return options


def describe_event(document: dict[str, Any], work: Work, options: Options) -> Work | None:
    """Make the event's own document, and collect what the verdict is made from."""
    if work.event is not None:
        memory = read_memory(work.event.dump.memory.lines)
        work.made = build(work.event, memory, _told(document, options))
        work.case = case_of(work.event, memory)
    work.event = None
    return work


def weigh_event(document: dict[str, Any], work: Work, options: Options) -> Work | None:
    """Work out how each zone stood for the request."""
    del document, options
    if work.case is not None:
        work.weighing = weigh(work.case)
    work.case = None
    return work


def judge_event(document: dict[str, Any], work: Work, options: Options) -> Work | None:
    """Find the verdict."""
    del document, options
    if work.weighing is not None:
        work.judged = judge(work.weighing)
    work.weighing = None
    return work


def fill_document(document: dict[str, Any], work: Work, options: Options) -> Work | None:
    """Add verdict and articles, and put into the document what it lacks."""
    if work.made is not None and work.judged is not None:
        advise(work.made, work.judged, options.kb_url)
        fill(document, work.made, options, text=work.text, further=work.further)
    return work


#: The steps behind the first, in order.
STEPS = (
    read_sources,
    understand,
    assemble,
    decode_dump,
    describe_event,
    weigh_event,
    judge_event,
    fill_document,
)


def describe(event: Event, options: Options) -> dict[str, Any]:
    """Return the document of one event, verdict and articles included."""
    memory = read_memory(event.dump.memory.lines)
    judged = judge(weigh(case_of(event, memory)))
    event.dump.verdict = judged.document
    made = build(event, memory, options)
    advise(made, judged, options.kb_url)
    return made


def dumps_of(text: str) -> list[Dump]:
    """Return the dumps in a text; of one that is very long only the first header, as a dump that says why."""
    source = _source(text)
    records = _records(source, carried=False)
    return _dumps(Understood(text, [read(record) for record in records], source.reason))
