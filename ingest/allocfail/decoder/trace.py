"""Call traces: frames in every architecture's style, and what they say together.

Frame grammar (blanks between tokens)::

    line    = [start] token*            start: "Call Trace:", "Call trace:", "Backtrace:" …
    token   = marker | address | guess | frame | from | note
    marker  = "<IRQ>" | "<EOI>" | …                              (kb/facts/wording.yml)
    address = "[<hex>]" | "[hex]" | "[<>]" | "[]" | "<hex>"      x86, ARM, MIPS, s390; PowerPC prints two
    guess   = "?"                                                the next frame was found on the stack, not unwound
    frame   = symbol "+0x" hex "/0x" hex [module] | "{" [":" mod ":"] symbol "+" dec "}" | "(" symbol ")"
            | symbol "(" file ":" line ")" [module | mod]        rewritten by scripts/decode_stacktrace.sh
    symbol  = [":" mod ":"] (letter | digit | "_" | "." | "$")+
    module  = "[" name [" " build-id] "]"
    from    = "from"                                             ARM: caller behind callee
    note    = "(unreliable)" | "(C)" … | file ":" line | "[inline]"

Sources: arch/*/kernel/{traps,stacktrace,dumpstack,process}.c, 2.6.12 to 7.3-rc7; klogd's ``[sym+o/l] sym+o/l``.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from functools import cache, lru_cache
from typing import NamedTuple

from allocfail import facts

__all__ = [
    "Frame",
    "Trace",
    "TraceBuilder",
    "is_dump_frame",
    "is_failure_frame",
    "is_page_frame",
    "is_vmalloc_frame",
    "normalise",
    "parse_frames",
]


class Frame(NamedTuple):
    """One frame, or a marker (then ``function`` is empty)."""

    function: str
    reliable: bool = True
    module: str | None = None
    pointer: bool = False
    """Offset 0, or equal to the function's size: a function's address on the stack, not a return address."""
    callee: bool = False
    """The left side of ARM's ``a from b``: repeats the frame of the line before."""
    style: str = "plain"
    """``plain``, ``klogd`` or ``brace``: the latter two never mark guesses."""
    marker: str | None = None


_FAST = re.compile(
    r"(?:\[(?:<[0-9a-f]{8,16}>|[0-9a-f]{8,16})\] )?(\? )?"
    r"([A-Za-z_.$][A-Za-z0-9_.$]*)\+0x([0-9a-f]{1,16})/0x([0-9a-f]{1,16})"
    r"(?: \[([A-Za-z0-9_-]{1,64})(?: [0-9a-f]{1,64})?\])?",
    re.ASCII,
)
_HEX = frozenset("0123456789abcdefABCDEF")
_SYMBOL = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_.$")
_FIRST = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz_.$")
_MODULE = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-")
_UPPER = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZ")


class _Words(NamedTuple):
    start: tuple[str, ...]
    boundary_start: tuple[str, ...]
    markers: tuple[str, ...]
    openings: tuple[str, ...]
    """What a line begins with that announces a trace, or parts it."""


@cache
def _words() -> _Words:
    wording = facts.load()["wording"]
    groups = wording["markers"]
    markers = sorted({m for group in groups.values() for m in group}, key=lambda m: (-len(m), m))
    start, boundary = tuple(wording["trace_start"]), tuple(wording["boundary_start"])
    return _Words(start, boundary, tuple(markers), start + boundary)


def _first_of(words: tuple[str, ...], text: str, at: int) -> str:
    """Return the first of the words that stands at ``at``; nothing where none does."""
    for word in words:
        if text.startswith(word, at):
            return word
    return ""


@lru_cache(maxsize=4096)
def parse_frames(text: str) -> tuple[Frame, ...] | None:
    """Return the frames and markers of a trace's line, in order.

    ``text`` is one line without prefix. None if it is no line of a trace; an empty tuple where it holds addresses
    only (a kernel without symbols) or just announces the trace.
    """
    match = _FAST.fullmatch(text)
    if match is not None:
        guess, function, offset, size, module = match.groups()
        return (Frame(function, guess is None, module, _is_pointer(offset, size)),)
    return _scan(text) if _may_be_frames(text) else None


def _may_be_frames(text: str) -> bool:
    """Whether a line has something that every line of a trace has: most lines of a log have nothing of it."""
    if "+" in text or "[" in text or "<" in text or "(" in text or "#" in text or " from " in text:
        return True
    words = _words()
    return text.startswith(words.openings)


def _is_pointer(offset: str, size: str) -> bool:
    value = offset.lstrip("0")
    return not value or value == size.lstrip("0")


def _span(text: str, at: int, allowed: frozenset[str]) -> int:
    size = len(text)
    while at < size and text[at] in allowed:
        at += 1
    return at


def _address(text: str, at: int) -> int:
    """Return the index behind an address in brackets at ``at``, or -1."""
    if text.startswith(("[]", "[<>]"), at):
        return at + (2 if text[at + 1] == "]" else 4)
    inner = at + 2 if text.startswith("[<", at) else at + 1
    end = _span(text, inner, _HEX)
    if not 8 <= end - inner <= 16:
        return -1
    closing = ">]" if inner == at + 2 else "]"
    return end + len(closing) if text.startswith(closing, end) else -1


def _symbol(text: str, at: int) -> tuple[str | None, str, int]:
    """Read ``[:mod:]symbol`` at ``at``: module, symbol (empty if none), index behind."""
    module = None
    if text.startswith(":", at):
        end = _span(text, at + 1, _MODULE)
        if end == at + 1 or not text.startswith(":", end):
            return None, "", at
        module = text[at + 1 : end]
        at = end + 1
    if at >= len(text) or text[at] not in _FIRST:
        return None, "", at
    end = _span(text, at, _SYMBOL)
    return module, text[at:end], end


def _offset(text: str, at: int) -> tuple[bool, int]:
    """Read ``+0x1/0x2`` at ``at``: whether it is a function's own address, and the index behind, or -1."""
    if not text.startswith("+0x", at):
        return False, -1
    end = _span(text, at + 3, _HEX)
    if end == at + 3 or not text.startswith("/0x", end):
        return False, -1
    stop = _span(text, end + 3, _HEX)
    if stop == end + 3:
        return False, -1
    return _is_pointer(text[at + 3 : end].lower(), text[end + 3 : stop].lower()), stop


_MODULE_OF = re.compile(r" \[([A-Za-z0-9_-]+)(?: (?:[0-9a-f]*|\.\.\.))?\]").match
#: `` (mm/slub.c:12 (discriminator 3) mm/slub.h:7)``: a place, and those that were inlined there.
#: klogd puts a symbol in an address's place, its offset and size in decimal (``ksym.c`` of sysklogd 1.4).
_KLOGD_OFFSET = re.compile(r"\[[A-Za-z0-9_:.]{1,80}\+[0-9]{1,20}/[0-9]{1,20}\] ").match
#: Each place ends before the next begins, so that there is one way only to read a text.
_PLACE = r"[^\x00-\x20():]+(?::[^\x00-\x20():]+)*:(?:[0-9]+|\?)(?: \(discriminator [0-9]+\))?"
_PLACES_OF = re.compile(rf" \({_PLACE}(?:[\x00-\x20]+{_PLACE})*[\x00-\x20]*\)").match
_BARE_MODULE = re.compile(r" ([A-Za-z0-9_-]+)(?= |$)").match


def _module(text: str, at: int) -> tuple[str | None, int]:
    """Read `` [mod]`` or `` [mod build-id]`` at ``at``: the module, None if none is there, and the index behind."""
    m = _MODULE_OF(text, at)
    return (None, at) if m is None else (m[1], m.end())


def _decoded(text: str, at: int) -> tuple[str | None, int]:
    """Read `` (mm/slub.c:12 (discriminator 3)) mod`` at ``at``, which scripts/decode_stacktrace.sh makes of an offset.

    Returns the module, None if none is there, and the index behind; -1 where no such place stands.
    """
    places = _PLACES_OF(text, at)
    if places is None:
        return None, -1
    module, end = _module(text, places.end())
    m = _BARE_MODULE(text, end) if module is None else None
    return (module, end) if m is None else (m[1], m.end())


def _scan(text: str) -> tuple[Frame, ...] | None:
    words = _words()
    found: list[Frame] = []
    at = 0
    size = len(text)
    known = False
    guess = False
    caller = False
    klogd = False
    if text.startswith(words.start):
        at = len(_first_of(words.start, text, 0))
        known = True
    elif text.startswith(words.boundary_start):
        return (Frame("", marker=_first_of(words.boundary_start, text, 0)),)
    while at < size:
        char = text[at]
        if char in " \t),":
            at += 1
            continue
        if char == ":" and at == 0 and size > 1 and text[1] == " ":
            at = 2  # behind a vendor's time
            continue
        if char in "<#":
            marker = _first_of(words.markers, text, at)
            if marker:
                found.append(Frame("", marker=marker))
                at += len(marker)
                known = True
            else:
                end = _span(text, at + 1, _HEX)
                if not 8 <= end - at - 1 <= 16 or not text.startswith(">", end):
                    break
                at = end + 1
                known = True
            continue
        if char == "[":
            end = _address(text, at)
            if end < 0:
                end = text.find("] ", at)
                if end < 0 or (text.find("+0x", at, end) < 0 and _KLOGD_OFFSET(text, at) is None):
                    break
                klogd = True
                end += 1
            at = end
            known = True
            continue
        if char == "?":
            guess = True
            at += 1
            continue
        if char == "{":
            module, symbol, end = _symbol(text, at + 1)
            stop = text.find("}", end)
            if not symbol or not text.startswith("+", end) or stop < 0:
                break
            digits = text[end + 1 : stop]
            if not digits.isascii() or not digits.isdigit():
                break
            found.append(Frame(symbol, not guess, module, not digits.strip("0"), style="brace"))
            guess = False
            known = True
            at = stop + 1
            continue
        if char == "(":
            if text.startswith("([", at):
                at += 1
                continue
            if text.startswith("(unreliable)", at):
                at += 12
                continue
            end = _span(text, at + 1, _UPPER)
            if end > at + 1 and text.startswith(")", end):
                at = end + 1
                continue
            at += 1
            char = text[at] if at < size else ""
            in_parens = True
        else:
            in_parens = False
            if text.startswith("from ", at) and found:
                caller = True
                at += 5
                continue
        module, symbol, end = _symbol(text, at)
        if not symbol:
            break
        pointer, stop = _offset(text, end)
        if stop < 0:
            owner, stop = _module(text, end)
            arm = caller or text.startswith(" from ", stop)
            if in_parens:
                arm = text.startswith(")", stop) and (known or text.startswith(" from ", stop + 1))
            module = owner or module
            if not arm and not in_parens:
                owner, behind = _decoded(text, end)
                if behind > 0:
                    module = owner or module
                    stop = behind
                    arm = True
            if not arm:
                # syzbot's `name file.c:12 [inline]`: no frame of its own.
                if found or not text.endswith(" [inline]"):
                    if not found or not _is_place(text, at):
                        break
                    at = _next_blank(text, at)
                    continue
                return ()
        else:
            owner, stop = _module(text, stop)
            module = owner or module
        callee = text.startswith((" from ", ") from "), stop)
        found.append(Frame(symbol, not guess, module, pointer, callee, "klogd" if klogd else "plain"))
        guess = False
        known = True
        at = stop
    if at < size and not known:
        return None
    if at < size and not found:
        return None
    if at < size and found and all(f.marker is None for f in found) and not _starts_like_frame(text):
        return None
    return tuple(found) if known else None


def _starts_like_frame(text: str) -> bool:
    """Whether a line whose rest is none of the grammar's still begins as only a frame does: with an address."""
    return text.startswith(("[", "<", "(["))


def _next_blank(text: str, at: int) -> int:
    end = text.find(" ", at)
    return len(text) if end < 0 else end


def _digits(text: str) -> bool:
    return text.isascii() and text.isdigit()


def _is_place(text: str, at: int) -> bool:
    """Whether ``file.c:123`` stands at ``at``."""
    word = text[at : _next_blank(text, at)]
    colon = word.rfind(":")
    return colon > 0 and word.isascii() and _digits(word[colon + 1 :])


class _Sets(NamedTuple):
    dump: frozenset[str]
    failure: frozenset[str]
    page: frozenset[str]
    vmalloc: frozenset[str]
    softirq: frozenset[str]
    interrupt: frozenset[str]
    labels: frozenset[str]
    process: frozenset[str]
    outermost: frozenset[str]
    boundary: frozenset[str]
    nmi: frozenset[str]
    interrupt_markers: frozenset[str]
    prefixes: tuple[str, ...]


@cache
def _sets() -> _Sets:
    frames = facts.load()["frames"]
    wording = facts.load()["wording"]
    return _Sets(
        frozenset(frames["dump"]),
        frozenset(frames["failure"]),
        frozenset(frames["plumbing"]["page"]),
        frozenset(frames["plumbing"]["vmalloc"]),
        frozenset(frames["softirq"]),
        frozenset(frames["interrupt"]),
        frozenset(frames["labels"]),
        frozenset(frames["process"]),
        frozenset(frames["outermost"]),
        frozenset(wording["markers"]["boundary"]) | frozenset(wording["boundary_start"]),
        frozenset(wording["markers"]["nmi"]),
        frozenset(wording["markers"]["interrupt"]),
        tuple(frames["abi_prefixes"]),
    )


#: What tells the builds of a crate apart: RFC 2603's disambiguator, and the hash of the mangling before it.
_RUST_CRATE = re.compile(r"Cs[0-9A-Za-z]{1,16}_(?=[0-9])").sub
_RUST_HASH = re.compile(r"17h[0-9a-f]{16}E$").sub


@lru_cache(maxsize=8192)
def normalise(function: str) -> str:
    """Return a function's name as grouping compares it: no leading dot, no suffix, one system call prefix."""
    name = function.removeprefix(".")
    dot = name.find(".", 1)
    if dot > 0:
        name = name[:dot]
    name = name.removesuffix("_noprof")
    if name.startswith("_R"):
        name = _RUST_CRATE("C", name)
    elif name.startswith("_ZN"):
        name = _RUST_HASH("E", name)
    for prefix in _sets().prefixes:
        if name.startswith(prefix):
            return "sys_" + name[len(prefix) :]
    return name


def is_dump_frame(function: str) -> bool:
    """Whether a function prints a dump."""
    return normalise(function) in _sets().dump


def is_failure_frame(function: str) -> bool:
    """Whether a function announces a failed page allocation."""
    return normalise(function) in _sets().failure


def is_page_frame(function: str) -> bool:
    """Whether a function is the page allocator's own."""
    return normalise(function) in _sets().page


def is_vmalloc_frame(function: str) -> bool:
    """Whether a function is vmalloc's own."""
    return normalise(function) in _sets().vmalloc


@dataclass(frozen=True, slots=True)
class Trace:
    """A whole call trace; the sequences are parallel, a place a frame, in the order printed."""

    functions: tuple[str, ...]
    reliable: tuple[bool, ...]
    pointers: tuple[bool, ...]
    frame_modules: tuple[str | None, ...]
    modules: tuple[str, ...]
    boundary: int
    """How many frames stand before the first interrupt boundary."""
    context: str | None
    unmarked: bool
    """The kernel (or klogd) printed it without marking guesses."""
    outermost: bool
    """It ends where the kernel's own code begins."""
    bounded: bool = False
    """An interrupt boundary was seen: what lies behind it did not ask for memory."""
    interrupt: bool = False
    """The kernel marked the stack as an interrupt's (hard or soft), also where the trace is cut before its frames."""

    @property
    def guessed(self) -> bool:
        """Whether grouping has to treat every frame as a guess (fewer than three are reliable)."""
        return self.unmarked or sum(self.reliable[: self.boundary]) < 3

    def selected(self) -> list[int]:
        """Return the places of the frames that grouping looks at: rules 1 and 2 of the fingerprint."""
        if self.guessed:
            return [i for i in range(self.boundary) if not self.pointers[i]]
        return [i for i in range(self.boundary) if self.reliable[i]]


class TraceBuilder:
    """Takes a trace's lines one after another."""

    __slots__ = ("bannerless", "boundary", "frames", "interrupt", "lines", "nmi")

    def __init__(self) -> None:
        """Begin an empty trace."""
        self.frames: list[Frame] = []
        self.lines: list[str] = []
        self.boundary = -1
        self.nmi = False
        self.interrupt = False
        self.bannerless = False
        """In the style of an architecture whose dump_stack() printed no banner before 3.10."""

    def add(self, text: str, frames: tuple[Frame, ...]) -> None:
        """Add what :func:`parse_frames` found in the line ``text``."""
        sets = _sets()
        self.lines.append(text)
        if text.startswith(("Call trace:", "Backtrace:")) or (text.startswith("[") and text.find("] [", 0, 24) > 0):
            self.bannerless = True
        for frame in frames:
            marker = frame.marker
            if marker is not None:
                if marker in sets.boundary:
                    if self.boundary < 0 and self.frames:
                        self.boundary = len(self.frames)
                elif marker in sets.nmi and self.boundary < 0:
                    self.nmi = True
                elif marker in sets.interrupt_markers and self.boundary < 0:
                    self.interrupt = True
            elif not (frame.callee and self.frames and self.frames[-1].function == frame.function):
                self.frames.append(frame)

    @property
    def ended(self) -> bool:
        """Whether it ends, so far, where the kernel's own code begins."""
        return bool(self.frames) and self._ends(self.frames, _sets())

    def build(self, *, old_release: bool) -> Trace:
        """Return the trace. ``old_release``: the kernel is older than 2.6.28, where x86 began to mark guesses."""
        frames = self.frames
        sets = _sets()
        boundary = len(frames) if self.boundary < 0 else self.boundary
        marked = any(not f.reliable for f in frames)
        unmarked = not marked and (old_release or any(f.style != "plain" for f in frames))
        trace = Trace(
            functions=tuple(f.function for f in frames),
            reliable=tuple(f.reliable for f in frames),
            pointers=tuple(f.pointer for f in frames),
            frame_modules=tuple(f.module for f in frames),
            modules=tuple(dict.fromkeys(f.module for f in frames if f.module)),
            boundary=boundary,
            context=None,
            unmarked=unmarked,
            outermost=self.ended,
            bounded=self.boundary >= 0,
            interrupt=self.interrupt,
        )
        return replace(trace, context=self._context(trace, sets))

    @staticmethod
    def _ends(frames: list[Frame], sets: _Sets) -> bool:
        # Guesses may trail behind the outermost frame: look at the last few.
        return any(normalise(f.function) in sets.outermost for f in frames[-4:])

    def _context(self, trace: Trace, sets: _Sets) -> str | None:
        if self.nmi:
            return "nmi"
        names = {normalise(trace.functions[i]) for i in trace.selected()}
        for i in range(trace.boundary):
            if normalise(trace.functions[i]) in sets.labels:
                names.add(normalise(trace.functions[i]))
        if names & sets.softirq:
            return "softirq"
        if names & sets.interrupt:
            return "hardirq"
        # A system call's own function says so as well as its entry.
        return "process" if names & sets.process or any(n.startswith("sys_") for n in names) else None
