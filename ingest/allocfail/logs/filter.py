"""``allocfail enrich`` as a filter: one JSON document a line, enriched or byte for byte as it was.

Lines without any of a few words pass in blocks, unparsed. :func:`lines_of` reads what there is and no more, so that
whoever waits for the answer to a line gets it; how answers look is up to who asks (:class:`Filter`, :class:`Modifier`).
"""

from __future__ import annotations

import json
import math
import os
from copy import deepcopy
from typing import TYPE_CHECKING, Any

from allocfail.decoder.enrich import enrich
from allocfail.decoder.steps import dumps_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from allocfail.decoder.options import Options

__all__ = ["Filter", "Modifier", "enrich_line", "lines_of"]

#: Bytes read at a time, at most.
_READ = 1 << 18
#: Bytes of one line that are held; engines take no document as large.
_LINE = 128 << 20


#: One of these is in every line that may hold an event: what :func:`allocfail.decoder.fill.may_hold` looks for.
WORDS = (b"alloc", b"oom-kill", b"ill process ", b"illed process ")


class _NotCarriedError(ValueError):
    """JSON that Python would write back as something else."""


def _pairs(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    out = dict(pairs)
    if len(out) != len(pairs):
        raise _NotCarriedError("a key stands twice")
    return out


def _float(text: str) -> float:
    value = float(text)
    if math.isinf(value):
        raise _NotCarriedError("a number is too large")
    return value


def _constant(text: str) -> float:
    raise _NotCarriedError(f"{text} is not JSON")


def _integer(text: str) -> int:
    if len(text) > 4000:
        raise _NotCarriedError("a number is too large")
    return int(text)


_DECODER = json.JSONDecoder(
    object_pairs_hook=_pairs, parse_float=_float, parse_constant=_constant, parse_int=_integer, strict=True
)


def lines_of(fd: int) -> Iterator[bytes]:
    """Yield whole lines, as many at once as there are; the last may lack its end. Raises ``OSError``.

    What goes on for longer than any document comes in pieces: the memory that it takes is bounded.
    """
    rest: list[bytes] = []
    while data := os.read(fd, _READ):
        cut = data.rfind(b"\n") + 1
        if cut:
            yield b"".join([*rest, data[:cut]])
            rest = []
        rest.append(data[cut:])
        if len(rest) * _READ > _LINE and sum(map(len, rest)) > _LINE:
            yield b"".join(rest)
            rest = []
    if any(rest):
        yield b"".join(rest)


class Filter:
    """Documents in, the same documents out."""

    def __init__(self, options: Options | None, complain: Callable[[str], None]) -> None:
        """``complain`` is told what is wrong with which line."""
        self._options = options
        self._complain = complain
        self._before = 0
        """Lines of the blocks before."""

    def answer(self, block: bytes) -> bytes:
        """Return a block of whole lines with those enriched that hold an event."""
        parts: list[bytes] = []
        done = 0
        for start, end in _likely(block):
            parts += (block[done:start], self._enriched(block, start, end))
            done = end
        self._before += block.count(b"\n")
        return b"".join([*parts, block[done:]]) if parts else block

    def _enriched(self, block: bytes, start: int, end: int) -> bytes:
        def complain(why: str) -> None:
            number = self._before + block.count(b"\n", 0, start) + 1
            self._complain(f"line {number}: {why}")

        return enrich_line(block[start:end], self._options, complain)


class Modifier:
    """Messages in; of each, what rsyslog's ``mmexternal`` is to set: the fields that an event adds, below ``$!``."""

    def __init__(self, options: Options | None, complain: Callable[[str], None]) -> None:
        """As for :class:`Filter`."""
        self._options = options
        self._complain = complain

    def answer(self, block: bytes) -> bytes:
        """Return one line of JSON for every line."""
        return b"".join(self._changes(line) for line in block.splitlines(keepends=True))

    def _changes(self, line: bytes) -> bytes:
        if not any(word in line for word in WORDS):
            return b"{}\n"
        body = line.rstrip(b"\r\n").decode("utf-8", "replace")
        try:
            document = _DECODER.decode(body)
        except (ValueError, RecursionError):
            document = None
        if not isinstance(document, dict):
            document = {"message": body}  # the text of a message rather than all of it
        before = deepcopy(document)
        try:
            made = enrich(document, self._options)
        except RecursionError:
            self._complain("nested too deeply")
            made = None
        changes = {name: value for name, value in (made or {}).items() if before.get(name, _ABSENT) != value}
        return json.dumps({"$!": changes} if changes else {}, separators=(",", ":")).encode() + b"\n"


#: What no document holds.
_ABSENT = object()


def _likely(block: bytes) -> Iterator[tuple[int, int]]:
    """Yield where the lines begin and end that hold one of the words."""
    from allocfail.logs.finding import find  # noqa: PLC0415 - `enrich` is imported for its help text, too

    view = memoryview(block)
    found = dict.fromkeys(WORDS, -1)
    end = 0
    while end < len(block):
        for word, hit in found.items():
            if hit < end:
                step = find(view[end:], word)
                found[word] = len(block) if step < 0 else end + step
        hit = min(found.values())
        if hit == len(block):
            return
        start = block.rfind(b"\n", end, hit) + 1 or end
        end = block.find(b"\n", hit) + 1 or len(block)
        yield start, end


def enrich_line(line: bytes, options: Options | None, complain: Callable[[str], None]) -> bytes:
    """Return one line of a filter's output: the document enriched, or the line byte for byte.

    A line that may hold an event but is no JSON document comes back as it is, and ``complain`` is told why.
    """
    if not any(word in line for word in WORDS):
        return line
    body = line.rstrip(b"\r\n")
    document: Any
    try:
        document = _DECODER.decode(body.decode())
    except (ValueError, RecursionError) as error:
        document = error
    if not isinstance(document, dict):
        text = body.decode("utf-8", "replace")
        # Of JSON that is cut or damaged, a string.
        if any(dumps_of(part) for part in (text, *text.split('"'))):
            complain(f"an event, but no JSON document: {document if isinstance(document, Exception) else 'no object'}")
        return line
    try:
        made = enrich(document, options)
    except RecursionError:
        complain("nested too deeply")
        return line
    if made is None:
        return line
    end = line[len(body) :]
    try:
        return json.dumps(made, ensure_ascii=False, separators=(",", ":")).encode() + end
    except UnicodeEncodeError:
        return json.dumps(made, separators=(",", ":")).encode() + end
