r"""From bytes to records: containers opened, lines untangled, wrapped lines joined.

:func:`open_input` gives the bytes of a file, a compressed one too; :func:`records` makes records of them. Both stream:
what they hold at a time does not grow with the input. A physical line is read in pieces of at most :data:`LINE_LIMIT`
bytes (a longer one is cut, at a blank where there is one), so that 100 MB without a line end cost what 1 MB costs.

What a physical line may be: text behind any prefix that :mod:`allocfail.framing` knows; a JSON object with the text in
it (journal, Docker, ECS, OpenTelemetry, an exported search hit); an entry of ``journalctl -o export``; several lines
in one, separated by ``#012``, a literal ``\n``, ``\x0a`` or ``<br>``; any of these quoted in a mail, with no-break
spaces, escape sequences, carriage returns and NULs in it.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from stringzilla import find

from allocfail.containers import EXPORT_START, Export, Opened, open_json
from allocfail.framing import BLANKS, Frame, frame
from allocfail.inputs import open_input
from allocfail.records import Origin, Record
from allocfail.wrapping import Wrapping

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

__all__ = ["LINE_LIMIT", "clean", "open_input", "records"]

#: Bytes of one physical line that are looked at in one piece.
LINE_LIMIT = 1 << 20

#: Bytes handled in one go; a multiple of what a pipe gives.
_BLOCK = 1 << 16

#: Bytes that a line may hold and be text as it stands: no control, none that begins a space or a mark to remove.
_CLEAN = bytes(
    byte for byte in range(256) if byte in b"\t\n\r" or (0x20 <= byte != 0x7F and byte not in b"\xc2\xe2\xe3\xef")
)
#: What a line holds that :func:`_line` reads otherwise than :func:`_plain`: written line ends and tabs, escapes, HTML.
#: A line without any of these, and of what :func:`_dirty` adds, is read the same by both, whatever stands around it.
_DIRTY = (b"#01", b"#033", b"\\n", b"\\x0", b"<br", b"<BR", b"<Br", b"<bR", b"&lt;", b"&gt;", b"&nbsp;")
#: Quote signs, and a member of a JSON object on a line of its own.
_MARKED = (b"\n>", b"\n|", b'\n"')
_MARKED_INDENTED = re.compile(rb'\n[ \t]+[>|"]').search

_LINE_ENDS = re.compile(r"#012|\\r\\n|\\{1,2}n|\\x0a|<[bB][rR] ?/?>|\r?\n|\r")
_LINE_ENDS_LIKELY = re.compile(r"[\\#\r\n]|<[bB][rR]").search
_ESCAPES = re.compile(
    r"(?:\x1b|#033)(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)?|[ -/]*[0-Z\\^-~])|[\x00\x07\x08\x7f]"
)
_QUOTE = re.compile(r"[ \t]*(?:[>|][ \t]?)+(?!\])")  # ">]" is the end of an address
_SPACES = str.maketrans({"\u00a0": " ", "\u2007": " ", "\u202f": " ", "\u3000": " ", "\ufeff": "", "\u200b": ""})
_ENTITIES = (("&lt;", "<"), ("&gt;", ">"), ("&nbsp;", " "), ("&quot;", '"'), ("&#39;", "'"), ("&amp;", "&"))

_INDENT = frozenset(" \t\u00a0")

_new = tuple.__new__  # a named tuple's own constructor takes twice as long

_REPEATED = re.compile(r"(?:last )?message repeated ([0-9]{1,9}) times(?:: \[ ?(.*?)\]?)?$")


def records(chunks: Iterable[bytes], *, offset: int = 0) -> Iterator[Record]:
    r"""Read a log, given in chunks of any size, and give its logical lines in order.

    ``offset`` is the byte offset of the first chunk, where a caller starts in the middle of a file (at a line).
    Bytes that are not UTF-8 become U+FFFD. Never raises for what the bytes hold. Memory: a few times
    :data:`LINE_LIMIT`, whatever the input. How the chunks are cut makes no difference.
    """
    held: Record | None = None
    before = 0  # what `start` was of the one held
    joined = -1
    wrapping = Wrapping()
    for lines, may_repeat in _pieces(chunks, offset):
        for record, start in lines:
            if held is not None:
                if start == 0 and before >= 0:
                    framed = before > 0
                    kmsg = framed and held.origin is not None and held.origin.provenance is not None
                    indented = record.raw[:1] in _INDENT
                    joint = wrapping.joint(
                        held.text, record.text, held.raw, framed=framed, kmsg=kmsg, indented=indented
                    )
                    if joint is not None:
                        held = held._replace(text=held.text + joint + record.text, raw=held.raw + "\n" + record.raw)
                        joined = record.offset
                        continue
                elif record.offset == joined:
                    # More lines of the same record, behind the end of a wrapped one.
                    record = record._replace(  # noqa: PLW2901 - the record itself is what changes
                        host=held.host, time=held.time, uptime=held.uptime, caller=held.caller, origin=held.origin
                    )
                elif len(held[0]) < 2 and before > 0 and wrapping.in_prefix(held, record):
                    held = record._replace(
                        raw=held.raw + "\n" + record.raw,
                        offset=held.offset,
                        host=held.host,
                        time=held.time,
                        origin=held.origin or record.origin,
                    )
                    joined = record.offset
                    continue
                if may_repeat and (m := _REPEATED.match(record.text)):
                    # The daemon counts the host's line before; rsyslog also copies it.
                    copy = None if m[2] is None else frame(m[2]).text
                    if held.host == record.host and copy in {None, held.text}:
                        held = held._replace(repeated=held.repeated + int(m[1]), raw=f"{held.raw}\n{record.raw}")
                        continue
                    number = int(m[1]) if copy is None else int(m[1]) - 1
                    record = record._replace(text=copy or record.text, repeated=number)  # noqa: PLW2901 - as above
                yield held
            held = record
            before = start
    if held is not None:
        yield held


def _blocks(chunks: Iterable[bytes], offset: int) -> Iterator[tuple[bytes, int]]:
    """Cut the stream into blocks of whole lines, without the last line end; give each with its offset.

    A line longer than :data:`LINE_LIMIT` is cut, and where depends on the line alone.
    """
    rest: list[bytes] = []  # the beginning of a line
    size = 0
    for chunk in chunks:
        for at in range(0, len(chunk), _BLOCK):
            part = chunk[at : at + _BLOCK] if len(chunk) > _BLOCK else chunk
            end = part.rfind(b"\n")
            while size + len(part) > LINE_LIMIT:
                if end >= 0 and size + part.find(b"\n") <= LINE_LIMIT:
                    break
                block = b"".join([*rest, part])
                cut = block.rfind(b" ", 0, LINE_LIMIT) + 1 or LINE_LIMIT
                yield block[:cut], offset
                offset += cut
                # The cut is in front of this part where its blank is; what is left of it is short.
                rest, part, size = [], block[cut:], 0
                end = part.rfind(b"\n")
            if end >= 0:
                rest.append(part[:end])
                block = b"".join(rest)
                yield block, offset
                offset += len(block) + 1
                part = part[end + 1 :]
                rest = []
                size = 0
            if part:
                rest.append(part)
                size += len(part)
    if size:
        yield b"".join(rest), offset


def _pieces(chunks: Iterable[bytes], offset: int) -> Iterator[tuple[Iterable[tuple[Record, int]], bool]]:
    """Give, block by block, every line's record and the length of its prefix, and whether one may be a repetition.

    The length is -1 of what came in a container. Which of the readers takes a block is a matter of speed alone.
    """
    export = Export(LINE_LIMIT)
    for block, base in _blocks(chunks, offset):
        if export.active or EXPORT_START in block:
            yield _exported(export, block, base), True
        elif _dirty(block):
            yield _untangled(block, base), True
        else:
            yield _plain(block, base), b" repeated " in block
    if export.active and (opened := export.end()):
        yield _split(opened.text, export.offset, opened), True


def _exported(export: Export, block: bytes, offset: int) -> Iterator[tuple[Record, int]]:
    """Read a block in which a journal export begins or goes on."""
    for line in block.split(b"\n"):
        if not export.active and not line.startswith(EXPORT_START):
            yield from _line(line, offset)
        elif not export.feed(line, offset):
            # The empty line behind an entry, or something that is none.
            if opened := export.end():
                yield from _split(opened.text, export.offset, opened)
            if line:
                yield from _line(line, offset)
        offset += len(line) + 1


def _dirty(block: bytes) -> bool:
    """Say whether a block has to be read line by line with care: always where one of its lines alone has to."""
    if block.translate(None, _CLEAN) or block.lstrip(b" \t")[:1] in {b">", b"|", b'"'}:
        return True
    if b"\r" in block and block.count(b"\r") != block.count(b"\r\n") + block.endswith(b"\r"):
        return True
    # Fifteen times as fast as the operator `in`, which took a third of the time of reading.
    if any(find(block, token) >= 0 for token in _DIRTY + _MARKED):
        return True
    if find(block, b"{") >= 0 and find(block, b'"') >= 0:
        return True
    return (find(block, b"\n ") >= 0 or find(block, b"\n\t") >= 0) and _MARKED_INDENTED(block) is not None


def _plain(block: bytes, offset: int) -> list[tuple[Record, int]]:
    """Read a block of lines that need nothing but decoding and their prefix taken off."""
    found = []
    whole = block.decode("utf-8", "replace")
    sizes = None
    if "\r" in whole or not block.isascii():
        sizes = [len(line) for line in block.split(b"\n")]
        whole = whole.replace("\r\n", "\n").removesuffix("\r")
    for index, raw in enumerate(whole.split("\n")):
        text, host, time, uptime, caller, priority, provenance, release, start = frame(raw)
        origin = None if priority is None and release is None else Origin(provenance, release, priority)
        found.append((_new(Record, (text, raw, offset, host, time, uptime, caller, origin, 0)), start))
        offset += (len(raw) if sizes is None else sizes[index]) + 1
    return found


def _untangled(block: bytes, offset: int) -> Iterator[tuple[Record, int]]:
    """Read a block of lines of any kind."""
    for line in block.split(b"\n"):
        yield from _line(line, offset)
        offset += len(line) + 1


def _line(line: bytes, offset: int) -> Iterator[tuple[Record, int]]:
    raw = line.decode("utf-8", "replace")
    opened = open_json(raw) if "{" in raw or '"' in raw else None
    if opened is None:
        return _split(raw, offset, None)
    return _split(opened.text, offset, opened)


def _split(raw: str, offset: int, outer: Opened | None) -> Iterator[tuple[Record, int]]:
    """Make records of the text of one physical line, which may hold several lines."""
    raw = raw.removesuffix("\r")
    parts = _LINE_ENDS.split(raw) if _LINE_ENDS_LIKELY(raw) else [raw]
    while len(parts) > 1 and not parts[-1].strip(BLANKS):
        parts.pop()
    first: Frame | None = None
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
        yield _new(Record, (text, part, offset, host, time, uptime, caller, origin, 0)), own


def clean(line: str) -> str:
    """Take off what a terminal, a mail or a web page added: escapes, quote signs, no-break spaces, entities, NULs."""
    if "\x1b" in line or "#033" in line or not line.isprintable():
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
