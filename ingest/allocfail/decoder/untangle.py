r"""From physical lines to records: containers opened, escaped line ends split, wrapped lines joined.

What a physical line may be: text behind any prefix that :mod:`allocfail.decoder.framing` knows; a JSON object with the
text in it (journal, Docker, ECS, OpenTelemetry, an exported search hit); several lines in one, separated by ``#012``, a
literal ``\n``, ``\x0a`` or ``<br>``; any of these quoted in a mail, with no-break spaces, escape sequences, carriage
returns and NULs in it.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

from allocfail.decoder.containers import EXPORT_START, Export, ObjectLines, nested, open_json, unproven
from allocfail.decoder.framing import BLANKS, FIRST, LAST, MIDDLE, WHOLE, Frame, frame
from allocfail.decoder.glued import GLUED_LENGTH, unglued
from allocfail.decoder.mail import QuotedPrintable
from allocfail.decoder.prefixes import Prefixes
from allocfail.decoder.records import Origin, Record
from allocfail.decoder.tails import Tails
from allocfail.decoder.wrapping import Wrapping

if TYPE_CHECKING:
    from allocfail.decoder.containers import Opened

__all__ = [
    "Joiner",
    "Line",
    "Opener",
    "Piece",
    "Splitter",
    "clean",
    "exported",
    "join_lines",
    "open_line",
    "open_text",
    "split_pieces",
]

_LINE_ENDS = re.compile(r"#012|\\r\\n|\\{1,2}n|\\x0a|<[bB][rR] ?/?>|\r?\n|\r")
#: What line ends in a line, and all that :func:`clean` takes off but quote signs, have one of: one look for most lines.
_UNUSUAL = re.compile(r"[^\t -\x22\x24\x25\x27-\x5b\x5d-~]|<[bB][rR]").search
_LINE_ENDS_LIKELY = re.compile(r"[\\#\r\n]|<[bB][rR]").search
_ESCAPES = re.compile(
    r"(?:\x1b|#033)(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)?|[ -/]*[0-Z\\^-~])|[\x00\x07\x08\x7f]"
)
#: What every container of lines has.
_CONTAINER = re.compile(r"\{|\"|__CURSOR=").search
_CONTROLS = re.compile(r"[\x00\x07\x08\x7f]").search
_QUOTE = re.compile(r"[ \t]*(?:[>|][ \t]?)+(?!\])")  # ">]" is the end of an address
_SPACES = str.maketrans({"\u00a0": " ", "\u2007": " ", "\u202f": " ", "\u3000": " ", "\ufeff": "", "\u200b": ""})
_ENTITIES = (("&lt;", "<"), ("&gt;", ">"), ("&nbsp;", " "), ("&quot;", '"'), ("&#39;", "'"), ("&amp;", "&"))

_INDENT = frozenset(" \t\u00a0")

_new = tuple.__new__  # a named tuple's own constructor takes twice as long

_REPEATED = re.compile(r"(?:last )?message repeated ([0-9]{1,9}) times(?:: \[ ?(.*?)\]?)?$").match


def _goes_on(held: Record, record: Record) -> bool:
    """Whether a piece of a line that was cut is followed by the next one."""
    return (
        held.part in (FIRST, MIDDLE)
        and record.part in (MIDDLE, LAST)
        and record.uptime in (None, held.uptime)
        and record.host in (None, held.host)
    )


def _one(held: Record, record: Record) -> Record:
    """Join two pieces of a line that was cut."""
    blanks = held.rest[len(held.rest.rstrip(BLANKS)) :]
    text = (held.text + blanks + record.rest).strip(BLANKS)
    part = WHOLE if record.part == LAST else MIDDLE
    origin = record.origin if record.origin is not None and record.origin.provenance == "forged" else held.origin
    return held._replace(text=text, raw=held.raw + "\n" + record.raw, part=part, rest=record.rest, origin=origin)


class Joiner:
    """Joins what was one line: wrapped text, repetitions. Records go in, one after another, and come out."""

    def __init__(self) -> None:
        """Begin with nothing held."""
        self._held: Record | None = None
        self._before = 0  # what `start` was of the one held
        self._joined = -1
        self._wrapping = Wrapping()

    def feed(self, record: Record, start: int, *, may_repeat: bool) -> Record | None:
        """Take a record and the length of its prefix (-1: it came in a container); give the one before, once whole.

        ``may_repeat`` says that the record may be a daemon's note that the line before was repeated.
        """
        held = self._held
        before = self._before
        if held is not None:
            if held.part != WHOLE and _goes_on(held, record):
                self._held = _one(held, record)
                return None
            if start == 0 and before >= 0:
                framed = before > 0
                kmsg = framed and held.origin is not None and held.origin.provenance is not None
                indented = record.raw[:1] in _INDENT
                joint = self._wrapping.joint(
                    held.text, record.text, held.raw, framed=framed, kmsg=kmsg, indented=indented
                )
                if joint is not None:
                    self._held = held._replace(text=held.text + joint + record.text, raw=held.raw + "\n" + record.raw)
                    self._joined = record.offset
                    return None
            elif record.offset == self._joined:
                # More lines of the same record, behind the end of a wrapped one.
                record = record._replace(
                    host=held.host, time=held.time, uptime=held.uptime, caller=held.caller, origin=held.origin
                )
            elif len(held.text) < 2 and before > 0 and self._wrapping.in_prefix(held, record):
                self._held = record._replace(
                    raw=held.raw + "\n" + record.raw,
                    offset=held.offset,
                    host=held.host,
                    time=held.time,
                    origin=held.origin or record.origin,
                )
                self._joined = record.offset
                return None
            if may_repeat and (m := _REPEATED(record.text)):
                # The daemon counts the host's line before; rsyslog also copies it.
                copy = None if m[2] is None else frame(m[2]).text
                if held.host == record.host and (copy is None or copy == held.text):
                    self._held = held._replace(repeated=held.repeated + int(m[1]), raw=f"{held.raw}\n{record.raw}")
                    return None
                number = int(m[1]) if copy is None else int(m[1]) - 1
                record = record._replace(text=copy or record.text, repeated=number)
        self._held = record
        self._before = start
        return held

    def close(self) -> Record | None:
        """Take the end of the log; give the last record."""
        return self._held


class Piece(NamedTuple):
    """A line to be taken apart, or what an entry of a journal export or an object over several lines holds."""

    text: str
    offset: int
    """Where it begins, in bytes or in lines."""
    opened: Opened | None = None
    """What it is a container of."""
    raw: str | None = None
    """How it stands in the log, where that is something else."""


class Opener:
    """Takes the physical lines of one log, in order, and gives its lines: containers opened, a mail's coding undone."""

    def __init__(self) -> None:
        """Begin outside of everything."""
        self._export = Export()
        self._object = ObjectLines()
        self._quoted = QuotedPrintable()
        self._tails = Tails()

    @property
    def busy(self) -> bool:
        """Whether the next line may go on with something that was begun."""
        return self._export.active or self._object.active or self._quoted.active or self._tails.active

    def feed(self, line: str, offset: int) -> list[Piece]:
        """Take one line, without its end."""
        if not self._export.active and not line.startswith(EXPORT_START):
            return self._plain(line, offset)
        if self._export.feed(line, offset):
            return []
        # The empty line behind an entry, or something that is none.
        found = exported(self._export)
        if line.startswith(EXPORT_START):
            self._export.feed(line, offset)
        elif line:
            found.extend(self._plain(line, offset))
        return found

    def close(self) -> list[Piece]:
        """Take the end of the log."""
        found: list[Piece] = []
        for line, offset in self._object.give_up():
            found.extend(self._decoded(line, offset))
        held = self._quoted.close()
        if held is not None:
            found.extend(open_line(held.text, held.offset, held.raw))
        if self._export.active:
            found.extend(exported(self._export))
        return found

    def _plain(self, line: str, offset: int) -> list[Piece]:
        if self._object.active or self._object.begins(line):
            return self._collected(line, offset)
        return self._decoded(line, offset)

    def _collected(self, line: str, offset: int) -> list[Piece]:
        """Take a line of a JSON object that is printed over several."""
        if not self._object.feed(line, offset):
            return []
        opened = self._object.opened()
        if opened is not None:
            return _layers(Piece(opened.text, self._object.offset, opened))
        found: list[Piece] = []
        for each, at in self._object.give_up():
            found.extend(self._decoded(each, at))
        return found

    def _decoded(self, line: str, offset: int) -> list[Piece]:
        """Take a line that may be a mail's in quoted-printable."""
        if not self._quoted.active and "=" not in line:
            return self._opened(line, offset, None)
        found: list[Piece] = []
        for whole in self._quoted.feed(line, offset):
            found.extend(self._opened(whole.text, whole.offset, whole.raw))
        return found

    def _opened(self, line: str, offset: int, raw: str | None) -> list[Piece]:
        found = open_line(line, offset, raw)
        if found[0].opened is not None:
            return found
        text = self._tails.cut(line)
        return found if text == line else [Piece(text, offset, None, line if raw is None else raw)]


def exported(export: Export) -> list[Piece]:
    """Return what an entry of a journal export holds, which ends here."""
    opened = export.end()
    return [] if opened is None else _layers(Piece(opened.text, export.offset, opened))


def open_line(text: str, offset: int, raw: str | None = None) -> list[Piece]:
    """Open a line, if it is a container; ``raw`` is how it stood in the log, where that is something else."""
    opened = open_json(text) if "{" in text or '"' in text else None
    return _layers(Piece(text, offset, opened, raw))


def _layers(piece: Piece) -> list[Piece]:
    """Open the containers among the lines that a container holds, as if that were a log by itself."""
    outer = piece.opened
    if outer is None or not _CONTAINER(outer.text):
        return [piece]
    inner = open_text(outer.text)
    if all(one.opened is None for one in inner):
        return [piece]
    if piece.raw is not None:
        outer = unproven(outer)
    found: list[Piece] = []
    for one in inner:
        opened = outer._replace(text=one.text) if one.opened is None else nested(outer, one.opened)
        found.append(Piece(opened.text, piece.offset, opened, None if found else piece.raw))
    return found


def open_text(text: str) -> list[Piece]:
    """Return the lines of a text, opened; their offsets count its lines."""
    lines = text.split("\n")
    if len(lines) > 1 and not lines[-1]:
        lines.pop()
    opener = Opener()
    pieces: list[Piece] = []
    for number, line in enumerate(lines):
        pieces.extend(opener.feed(line, number))
    pieces.extend(opener.close())
    return pieces


class Line(NamedTuple):
    """A record, and where its prefix ends."""

    record: Record
    start: int
    """The length of the prefix; -1 of what came in a container."""


def split_pieces(pieces: list[Piece], *, carried: bool, apart: bool) -> list[Line]:
    """Take apart pieces that stand one behind the other, or ``apart``; ``carried``: in a document's field."""
    splitter = Splitter(carried=carried)
    lines: list[Line] = []
    for piece in pieces:
        if apart:
            splitter = Splitter(carried=carried)
        lines.extend(splitter.split(piece))
    return lines


def join_lines(lines: list[Line], *, may_repeat: bool) -> list[Record]:
    """Join what was one line."""
    joiner = Joiner()
    found: list[Record] = []
    for line in lines:
        whole = joiner.feed(line.record, line.start, may_repeat=may_repeat)
        if whole is not None:
            found.append(whole)
    last = joiner.close()
    if last is not None:
        found.append(last)
    return found


class Splitter:
    """Makes records of the pieces of one log, each with the length of its prefix: -1 of what came in a container."""

    def __init__(self, *, carried: bool = False) -> None:
        """Begin with nothing learned. ``carried``: all of it is the text of a container that the caller opened."""
        self._carried = carried
        self.prefixes = Prefixes()

    def split(self, piece: Piece) -> list[Line]:
        """Make records of a piece, which may hold several lines."""
        text = piece.text
        if piece.opened is None and piece.raw is None and len(text) <= GLUED_LENGTH and _UNUSUAL(text) is None:
            # Most are a line by themselves.
            line = _unquoted(text)
            framed = self._framed(piece, line, None)
            learned = self.prefixes
            record = _record(framed, line, text, piece.offset, None, doubtful=learned.doubtful, task=learned.task)
            return [_new(Line, (record, framed.start))]
        outer = piece.opened
        if outer is not None and (self._carried or piece.raw is not None):
            outer = unproven(outer)
        raw = (text if outer is None else outer.text).removesuffix("\r")
        parts = _LINE_ENDS.split(raw) if _LINE_ENDS_LIKELY(raw) else [raw]
        while len(parts) > 1 and not parts[-1].strip(BLANKS):
            parts.pop()
        if len(parts) == 1 and len(raw) > GLUED_LENGTH:
            parts = unglued(parts[0])
        first: Frame | None = None
        found: list[Line] = []
        for part in parts:
            line = clean(part)
            framed = self._framed(piece, line, first)
            learned = self.prefixes
            record = _record(framed, line, part, piece.offset, first, doubtful=learned.doubtful, task=learned.task)
            if outer is not None:
                prompt = first is None and framed.time is None and "login:" in line[: framed.start]
                record = _contained(record, outer, prompt=prompt)
            if piece.raw is not None and first is None:
                record = record._replace(raw=piece.raw)
            # A line in a container is nobody's continuation and has none; one behind another in its line is none.
            start = -1 if outer is not None else framed.start or (0 if first is None else 1)
            found.append(_new(Line, (record, start)))
            if first is None:
                first = framed
        return found

    def _framed(self, piece: Piece, line: str, first: Frame | None) -> Frame:
        framed = self.prefixes.read(line, frame(line))
        if framed.provenance == "kernel" and not (first is None and self._is_whole(piece, line)):
            return framed._replace(provenance=None)
        return framed

    def _is_whole(self, piece: Piece, line: str) -> bool:
        """Whether a line begins as it stands in the log: in no container, and nothing was taken off in front."""
        return not self._carried and piece.opened is None and piece.raw is None and piece.text[:1] == line[:1]


def _record(
    found: Frame, line: str, raw: str, offset: int, first: Frame | None, *, doubtful: bool, task: str
) -> Record:
    """Make a record of a line; those behind the first of a physical line share its prefix."""
    text, host, time, uptime, caller, priority, provenance, release, _, part, content, _ = found
    if first is not None:
        host = host or first.host
        time = time or first.time
        uptime = uptime or first.uptime
        caller = caller or first.caller
        priority = first.priority if priority is None else priority
        provenance = provenance or first.provenance
        release = release or first.release
    origin = None if priority is None and release is None else Origin(provenance, release, priority)
    # The text as it was cut: blanks at its ends are the line's own.
    rest = line[content:] if content else ""
    return _new(Record, (text, raw, offset, host, time, uptime, caller, origin, 0, doubtful, part, rest, task))


def _contained(record: Record, outer: Opened, *, prompt: bool) -> Record:
    """Complete a record by what its container says; ``prompt``: its host is that of a console's prompt."""
    inner = record.origin or Origin()
    origin = Origin(
        # What the text says of itself proves nothing where something else carried it.
        "forged" if inner.provenance == "forged" else outer.origin.provenance,
        inner.release or outer.origin.release,
        outer.origin.priority if outer.origin.priority is not None else inner.priority,
        outer.origin.time,
        outer.origin.boot,
    )
    return record._replace(
        host=(None if prompt else record.host) or outer.host,
        time=record.time or outer.time,
        uptime=record.uptime or outer.uptime,
        caller=record.caller or outer.caller,
        origin=origin,
    )


def clean(line: str) -> str:
    """Take off what a terminal, a mail or a web page added: escapes, quote signs, no-break spaces, entities, NULs."""
    if "\x1b" in line or "#033" in line or _CONTROLS(line):
        line = _ESCAPES.sub("", line)
    if not line.isascii():
        line = line.translate(_SPACES)
    if "#011" in line:
        line = line.replace("#011", " ")
    if "\\x09" in line:
        line = line.replace("\\x09", " ")
    if "&" in line and ("&lt;" in line or "&gt;" in line or "&nbsp;" in line):
        for entity, character in _ENTITIES:
            line = line.replace(entity, character)
    return _unquoted(line)


def _unquoted(line: str) -> str:
    m = _QUOTE.match(line)
    return line[m.end() :] if m else line
