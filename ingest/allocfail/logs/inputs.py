"""The bytes of a log: a file or standard input, compressed or not, in chunks of bounded size."""

from __future__ import annotations

import codecs
import lzma
import shlex
import sys
import zlib
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, NamedTuple, NoReturn, cast

from allocfail.errors import InputError
from allocfail.logs.streams import HEAD, is_bzip2, is_journal

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator

__all__ = ["CHUNK", "WINDOW_LIMIT", "Packing", "open_file", "open_input", "packing", "uncompressed"]

#: Bytes a chunk holds at most.
CHUNK = 1 << 18

#: Bytes a decompressor may keep of what it has written: ``xz -8`` needs this much, ``xz -9`` and ``zstd --long`` more.
WINDOW_LIMIT = 32 << 20

#: What xz needs beside its dictionary, with room to spare (``xz -8 -vv`` says 33 MiB in all).
_XZ_OVERHEAD = 2 << 20

_READ = 1 << 16
#: Bytes by which a text in UTF-16 without a mark is known.
_SAMPLE = 256
_GZIP = b"\x1f\x8b"
_XZ = b"\xfd7zXZ\x00"
_ZSTD = b"\x28\xb5\x2f\xfd"


class Packing(NamedTuple):
    """What a log is packed in."""

    name: str
    said: str
    """What messages say of such an input."""
    tool: str
    """The command that unpacks it, in front of the file's name."""
    more: str = ""
    """And behind it."""

    def advice(self, file: str, command: str) -> str:
        """Return the line to type; ``file`` is quoted, ``command`` is what reads the other end of the pipe."""
        return f"try: {self.tool} {file}{self.more} | {command}"


_PACKINGS = {
    one.name: one
    for one in (
        Packing("gzip", "is compressed with gzip", "gzip -dc"),
        Packing("xz", "is compressed with xz", "xz -dc"),
        Packing("lzma", "is compressed with LZMA", "xz -dc"),
        Packing("zstd", "is compressed with zstd", "zstd -dc"),
        Packing("bzip2", "is compressed with bzip2", "bzcat"),
        Packing("journal", "is a binary journal", "journalctl --file", " -k -o json"),
    )
}


def packing(head: bytes) -> Packing | None:
    """Return what an input is packed in that begins with these bytes (:data:`HEAD` of them); None for any other."""
    known = {
        "gzip": head.startswith(_GZIP),
        "xz": head.startswith(_XZ),
        "lzma": _is_lzma(head),
        "zstd": head.startswith(_ZSTD) or _skippable(head),
        "bzip2": is_bzip2(head),
        "journal": is_journal(head),
    }
    return next((_PACKINGS[name] for name, is_it in known.items() if is_it), None)


def _is_lzma(head: bytes) -> bool:
    """Whether LZMA without a container begins (``.lzma``): by the fields of its header, of which xz checks as much."""
    if len(head) < HEAD or head[0] >= 9 * 5 * 5 or head[13]:
        return False
    window, size = int.from_bytes(head[1:5], "little"), int.from_bytes(head[5:13], "little")
    two_bits = window.bit_count() == 1 or (window.bit_count() == 2 and window & window >> 1)
    return bool(two_bits or window == 0xFFFFFFFF) and (size == (1 << 64) - 1 or size < 1 << 38)


def open_input(path: str, command: str = "decode") -> Iterator[bytes]:
    """Open a log and give its bytes in chunks of at most :data:`CHUNK`; ``-`` is standard input.

    gzip, xz, LZMA and zstd are recognised by content, several members or frames behind each other too. What another
    program has to open is said, with the line to type; ``command`` is the one of ours in it. Whatever is
    compressed, no more is held than a chunk and the format's window; a window above :data:`WINDOW_LIMIT` is refused.
    Raises :class:`allocfail.errors.InputError`, at once for what cannot be opened and in the course of reading for what
    cannot be read on: a damaged or truncated archive gives what was readable first.
    """
    return uncompressed(*open_file(path), command)


def open_file(path: str) -> tuple[str, BinaryIO]:
    """Open a log, ``-`` for standard input; return what messages call it, and the file.

    Raises :class:`allocfail.errors.InputError`.
    """
    if path == "-":
        if sys.stdin is None:
            raise InputError("standard input: is closed")
        return "standard input", sys.stdin.buffer
    # A name may hold anything, a terminal's escapes too.
    name = path if path and path.isprintable() else repr(path)
    try:
        if path and Path(path).is_dir():
            raise InputError(f"{name}: is a directory")
        return name, open(path, "rb")  # noqa: PTH123 - Path("") is a folder; who reads it closes it
    except (OSError, ValueError) as error:
        raise InputError(f"{name}: {_reason(error)}") from None


def uncompressed(name: str, file: BinaryIO, command: str = "decode") -> Iterator[bytes]:
    """Give the bytes of an open file as :func:`open_input` does, and close it."""
    # The first bytes are read now, so that what cannot be read is known at once.
    source = _Source(name, file, command)
    packed = packing(source.peek(HEAD))
    if packed is None:
        return _utf8(source.chunks())
    if packed.name in {"bzip2", "journal"}:
        source.close()
        source.advise(packed.said, packed)
    if packed.name == "gzip":
        return _utf8(_gzip(source))
    return _utf8(_zstd(source) if packed.name == "zstd" else _xz(source, packed))


def _utf8(chunks: Iterator[bytes]) -> Iterator[bytes]:
    """Give a text in UTF-16, as Windows' shells write it, in UTF-8; any other as it is."""
    first = next(chunks, b"")
    coding = _utf16(first)
    if coding is None:
        if first:
            yield first
        yield from chunks
        return
    decoder = codecs.getincrementaldecoder(coding)("replace")
    yield decoder.decode(first).removeprefix("\ufeff").encode("utf-8", "replace")
    for chunk in chunks:
        yield decoder.decode(chunk).encode("utf-8", "replace")


def _utf16(head: bytes) -> str | None:
    """Return which kind of UTF-16 a text is in: by its mark, or by the NULs between its letters."""
    if head.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return "utf-16-le" if head.startswith(codecs.BOM_UTF16_LE) else "utf-16-be"
    sample = head[:_SAMPLE]
    if len(sample) < 8:
        return None
    even, odd = sample[::2].count(0), sample[1::2].count(0)
    if odd * 10 > len(sample) * 4 and not even:
        return "utf-16-le"
    return "utf-16-be" if even * 10 > len(sample) * 4 and not odd else None


def _reason(error: Exception) -> str:
    """Say in a few words, in lower case, what went wrong."""
    text = (error.strerror if isinstance(error, OSError) else None) or str(error)
    return text[:1].lower() + text[1:]


def _skippable(head: bytes) -> bool:
    """Say whether a zstd skippable frame begins (RFC 8878 section 3.1.2), as pzstd writes in front."""
    return len(head) >= 4 and head[1:4] == b"\x2a\x4d\x18" and head[0] & 0xF0 == 0x50


class _Source:
    """A file that can be looked ahead into, and whose errors are one line."""

    def __init__(self, name: str, file: BinaryIO, command: str) -> None:
        self.name = name
        self._file = file
        self._command = command
        self._ahead = b""

    def peek(self, size: int) -> bytes:
        while len(self._ahead) < size and (more := self._more(_READ)):
            self._ahead += more
        return self._ahead[:size]

    def read(self, size: int = -1) -> bytes:
        """Return what is there, at most ``size`` bytes, nothing at the end."""
        if self._ahead:
            taken, self._ahead = self._ahead[:size] if size >= 0 else self._ahead, b""
            return taken
        return self._more(size if size >= 0 else CHUNK)

    def _more(self, size: int) -> bytes:
        try:
            # A pipe gives what it has; waiting for more would hold back a log that is still being written.
            read = getattr(self._file, "read1", self._file.read)
            return read(size) or b""
        except OSError as error:
            raise InputError(f"{self.name}: {_reason(error)}") from None

    def close(self) -> None:
        if self._file is not sys.stdin.buffer:
            self._file.close()

    def chunks(self) -> Iterator[bytes]:
        try:
            while chunk := self.read(CHUNK):
                yield chunk
        finally:
            self.close()

    def advise(self, what: str, packed: Packing, tool: str = "") -> NoReturn:
        """Say what another program has to open; standard input has no name in a command line."""
        file = "FILE" if self._file is sys.stdin.buffer else shlex.quote(self.name)
        advice = packed._replace(tool=tool or packed.tool).advice(file, f"allocfail {self._command} -")
        self.fail(f"{what}; {advice}")

    def fail(self, what: str) -> NoReturn:
        raise InputError(f"{self.name}: {what}")


def _gzip(source: _Source) -> Iterator[bytes]:
    """Decompress members until the end; zeros behind the last are padding (RFC 1952, gzip's own practice)."""
    try:
        data = source.read(_READ)
        while data:
            member = zlib.decompressobj(wbits=31)
            while not member.eof:
                try:
                    chunk = member.decompress(data, CHUNK)
                except zlib.error:
                    source.fail("damaged gzip data")
                if chunk:
                    yield chunk
                data = member.unconsumed_tail
                if not data and not member.eof and not (data := source.read(_READ)):
                    if chunk := member.flush():
                        yield chunk
                    source.fail("the gzip data ends too early")
            data = (member.unused_data or source.read(_READ)).lstrip(b"\0")
            while not data and (more := source.read(_READ)):
                data = more.lstrip(b"\0")
            while 0 < len(data) < 2 and (more := source.read(_READ)):
                data += more
            if data and not data.startswith(_GZIP):
                source.fail("something else follows the gzip data")
    finally:
        source.close()


def _xz(source: _Source, packed: Packing) -> Iterator[bytes]:
    """Decompress streams until the end; zeros between them are padding (the .xz file format, section 2.2).

    LZMA without a container is one stream, and ends with it.
    """
    name = packed.name
    form = lzma.FORMAT_XZ if name == "xz" else lzma.FORMAT_ALONE
    try:
        data = source.read(_READ)
        while data:
            stream = lzma.LZMADecompressor(form, memlimit=WINDOW_LIMIT + _XZ_OVERHEAD)
            while not stream.eof:
                if stream.needs_input and not data and not (data := source.read(_READ)):
                    source.fail(f"the {name} data ends too early")
                try:
                    chunk = stream.decompress(data, CHUNK)
                except lzma.LZMAError as error:
                    if "emory" in str(error):
                        source.advise(f"the {name} data needs a window of more than {WINDOW_LIMIT >> 20} MiB", packed)
                    source.fail(f"damaged {name} data")
                data = b""
                if chunk:
                    yield chunk
            data = stream.unused_data.lstrip(b"\0")
            while not data and (more := source.read(_READ)):
                data = more.lstrip(b"\0")
            while 0 < len(data) < len(_XZ) and (more := source.read(_READ)):
                data += more
            if data and not (name == "xz" and data.startswith(_XZ)):
                source.fail(f"something else follows the {name} data")
    finally:
        source.close()


def _zstd(source: _Source) -> Iterator[bytes]:
    """Decompress frames until the end."""
    try:
        import zstandard  # noqa: PLC0415 - few logs need it
    except ModuleNotFoundError:
        source.advise("is compressed with zstd, which is not installed here", _PACKINGS["zstd"])

    frames = _Frames(source)
    try:
        decompressor = zstandard.ZstdDecompressor(max_window_size=WINDOW_LIMIT)
        file = cast("BinaryIO", frames)
        with decompressor.stream_reader(file, read_size=_READ, read_across_frames=True, closefd=False) as reader:
            while True:
                try:
                    chunk = reader.read1(CHUNK)
                except zstandard.ZstdError as error:
                    if "too much memory" in str(error):
                        needs = f"the zstd data needs a window of more than {WINDOW_LIMIT >> 20} MiB"
                        source.advise(needs, _PACKINGS["zstd"], "zstd --long=31 -dc")
                    source.fail("damaged zstd data")
                if not chunk:
                    break
                yield chunk
        if not frames.complete:
            source.fail("the zstd data ends too early")
    finally:
        source.close()


class _Frames:
    """Passes zstd data on and follows its frames (RFC 8878 section 3), since the reader is silent about a cut one."""

    def __init__(self, source: _Source) -> None:
        self._source = source
        self._walk = self._frames()
        self._need = next(self._walk)
        self._have = bytearray()
        self._skip = 0
        self._whole = True

    @property
    def complete(self) -> bool:
        """Everything so far is whole frames."""
        return self._whole and not self._have and not self._skip

    def read(self, size: int = -1) -> bytes:
        data = self._source.read(size)
        at = 0
        while at < len(data):
            if self._skip:
                passed = min(self._skip, len(data) - at)
                self._skip -= passed
                at += passed
                continue
            more = data[at : at + self._need - len(self._have)]
            at += len(more)
            self._have += more
            if len(self._have) == self._need:
                field, self._have = bytes(self._have), bytearray()
                self._need = self._walk.send(field)
        return data

    def _frames(self) -> Generator[int, bytes, None]:
        """Ask for as many bytes as the next field has; set what to pass over behind it."""
        while True:
            magic = yield 4
            self._whole = False
            if _skippable(magic):
                self._skip = int.from_bytes((yield 4), "little")
                self._whole = True
                continue
            if magic != _ZSTD:
                # The reader will say so.
                while True:
                    yield _READ
            descriptor = (yield 1)[0]
            single = descriptor >> 5 & 1
            sizes = (1 - single) + (0, 1, 2, 4)[descriptor & 3] + (single, 2, 4, 8)[descriptor >> 6]
            if sizes:
                yield sizes
            last = 0
            while not last:
                header = int.from_bytes((yield 3), "little")
                last = header & 1
                self._skip = 1 if header >> 1 & 3 == 1 else header >> 3
            if descriptor >> 2 & 1:
                yield 4
            self._whole = True
