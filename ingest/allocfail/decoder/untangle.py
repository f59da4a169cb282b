r"""From physical lines to records: containers opened, escaped line ends split, wrapped lines joined.

What a physical line may be: text behind any prefix that :mod:`allocfail.decoder.framing` knows; a JSON object with the
text in it (journal, Docker, ECS, OpenTelemetry, an exported search hit); several lines in one, separated by ``#012``, a
literal ``\n``, ``\x0a`` or ``<br>``; any of these quoted in a mail, with no-break spaces, escape sequences, carriage
returns and NULs in it.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

from allocfail.decoder.containers import EXPORT_START, Export, open_json
from allocfail.decoder.framing import BLANKS, Frame, frame
from allocfail.decoder.records import Origin, Record
from allocfail.decoder.wrapping import Wrapping

if TYPE_CHECKING:
    from allocfail.decoder.containers import Opened

__all__ = [
    "Joiner",
    "Piece",
    "clean",
    "join_pieces",
    "may_be_container",
    "open_line",
    "open_text",
    "plain_text",
    "read_line",
    "split_line",
]

_LINE_ENDS = re.compile(r"#012|\\r\\n|\\{1,2}n|\\x0a|<[bB][rR] ?/?>|\r?\n|\r")
_LINE_ENDS_LIKELY = re.compile(r"[\\#\r\n]|<[bB][rR]").search
_ESCAPES = re.compile(
    r"(?:\x1b|#033)(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)?|[ -/]*[0-Z\\^-~])|[\x00\x07\x08\x7f]"
)
_CONTROLS = re.compile(r"[\x00\x07\x08\x7f]").search
_QUOTE = re.compile(r"[ \t]*(?:[>|][ \t]?)+(?!\])")  # ">]" is the end of an address
_SPACES = str.maketrans({"\u00a0": " ", "\u2007": " ", "\u202f": " ", "\u3000": " ", "\ufeff": "", "\u200b": ""})
_ENTITIES = (("&lt;", "<"), ("&gt;", ">"), ("&nbsp;", " "), ("&quot;", '"'), ("&#39;", "'"), ("&amp;", "&"))

_INDENT = frozenset(" \t\u00a0")

_new = tuple.__new__  # a named tuple's own constructor takes twice as long

_REPEATED = re.compile(r"(?:last )?message repeated ([0-9]{1,9}) times(?:: \[ ?(.*?)\]?)?$").match


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
    """A physical line, or what an entry of a journal export holds."""

    text: str
    offset: int
    """Where it begins, in bytes or in lines."""
    opened: Opened | None
    """What it is a container of."""


def open_line(raw: str, offset: int) -> Piece:
    """Open a physical line, if it is a container."""
    opened = open_json(raw) if "{" in raw or '"' in raw else None
    return Piece(raw, offset, opened)


def _lines(text: str) -> list[str]:
    """Return the lines of a text; an end of the last is no line behind it."""
    lines = text.split("\n")
    if len(lines) > 1 and not lines[-1]:
        lines.pop()
    return lines


def may_be_container(text: str) -> bool:
    """Whether a text may hold containers: one that has neither an object nor a member of one has none."""
    return "{" in text or '"' in text or EXPORT_START in text


def plain_text(text: str) -> list[Piece]:
    """Return the lines of a text without containers; their offsets count them."""
    return [Piece(line, number, None) for number, line in enumerate(_lines(text))]


def open_text(text: str) -> list[Piece]:
    """Return the lines of a text, opened; their offsets count them."""
    export = Export()
    exported = EXPORT_START in text
    pieces: list[Piece] = []
    for number, line in enumerate(_lines(text)):
        if not exported or not (export.active or line.startswith(EXPORT_START)):
            pieces.append(open_line(line, number))
        elif not export.feed(line, number):
            # The empty line behind an entry, or something that is none.
            opened = export.end()
            if opened is not None:
                pieces.append(Piece(opened.text, export.offset, opened))
            if line:
                pieces.append(open_line(line, number))
    if export.active:
        opened = export.end()
        if opened is not None:
            pieces.append(Piece(opened.text, export.offset, opened))
    return pieces


def join_pieces(pieces: list[Piece], *, may_repeat: bool) -> list[Record]:
    """Return the records of pieces that stand one behind the other."""
    joiner = Joiner()
    found: list[Record] = []
    for piece in pieces:
        for record, start in split_line(piece):
            whole = joiner.feed(record, start, may_repeat=may_repeat)
            if whole is not None:
                found.append(whole)
    last = joiner.close()
    if last is not None:
        found.append(last)
    return found


def read_line(raw: str, offset: int) -> list[tuple[Record, int]]:
    """Make records of one physical line, each with the length of its prefix, -1 of what came in a container."""
    return split_line(open_line(raw, offset))


def split_line(piece: Piece) -> list[tuple[Record, int]]:
    """Make records of a piece, which may hold several lines."""
    outer = piece.opened
    offset = piece.offset
    raw = piece.text if outer is None else outer.text
    raw = raw.removesuffix("\r")
    parts = _LINE_ENDS.split(raw) if _LINE_ENDS_LIKELY(raw) else [raw]
    while len(parts) > 1 and not parts[-1].strip(BLANKS):
        parts.pop()
    first: Frame | None = None
    pieces: list[tuple[Record, int]] = []
    for index, part in enumerate(parts):
        text, host, time, uptime, caller, priority, provenance, release, start = found = frame(line := clean(part))
        if first is None:
            first = found
        else:
            # The lines behind the first share its prefix.
            host = host or first.host
            time = time or first.time
            uptime = uptime or first.uptime
            caller = caller or first.caller
            priority = first.priority if priority is None else priority
            provenance = provenance or first.provenance
            release = release or first.release
        origin: Origin | None = None
        if outer is not None:
            if len(parts) == 1 and found.time is None and "login:" in line[:start]:
                host = None  # a console's prompt stands in front of one line only
            host = host or outer.host
            time = time or outer.time
            uptime = uptime or outer.uptime
            caller = caller or outer.caller
            origin = Origin(
                outer.origin.provenance or provenance,
                release or outer.origin.release,
                outer.origin.priority if outer.origin.priority is not None else priority,
                outer.origin.time,
            )
        elif priority is not None or release is not None:
            origin = Origin(provenance, release, priority)
        # A line in a container is nobody's continuation and has none; one behind another in a physical line is none.
        own = -1 if outer is not None else start or (1 if index else 0)
        pieces.append((_new(Record, (text, part, offset, host, time, uptime, caller, origin, 0)), own))
    return pieces


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
    m = _QUOTE.match(line)
    return line[m.end() :] if m else line
