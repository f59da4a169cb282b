"""One event, decoded: everything computed once from its dump, for the document, the report and the explanation."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cache
from typing import TYPE_CHECKING, Any

from allocfail import facts
from allocfail.decoder import gfp, times
from allocfail.decoder.fingerprint import NOTHING_KEPT, fingerprint, keep

if TYPE_CHECKING:
    from allocfail.decoder.assembly import Dump
    from allocfail.decoder.fingerprint import Fingerprint, Kept
    from allocfail.decoder.header import Header
    from allocfail.decoder.options import Options
    from allocfail.decoder.records import Record
    from allocfail.decoder.trace import Trace

__all__ = ["Event", "decode", "explain"]


@dataclass(frozen=True, slots=True)
class Event:
    """One event."""

    dump: Dump
    head: Record
    """The record of its header, or its first."""
    release: str | None
    """The kernel's release: as its banner prints it, else as it was told, else as its container says."""
    mask: gfp.Gfp | None
    trace: Trace
    kept: Kept
    """The frames that its fingerprint is made of."""
    incomplete: str | None
    """Why it is not complete; None where it is."""
    fingerprint: Fingerprint
    follows: str | None
    """The id of the page failure that a slab report follows."""


def decode(dump: Dump, options: Options) -> Event:
    """Decode what was assembled."""
    release = _release(dump, options)
    mask = _gfp(dump, release)
    trace = _trace(dump, release)
    kept = _kept(dump, trace)
    return Event(
        dump=dump,
        head=dump.lead,
        release=release,
        mask=mask,
        trace=trace,
        kept=kept,
        incomplete=_incomplete(dump, trace),
        fingerprint=_fingerprint(dump, kept),
        follows=_follows(dump, mask, options, release),
    )


def _release(dump: Dump, options: Options) -> str | None:
    printed = dump.banner.release if dump.banner is not None else None
    origin = dump.lead.origin
    return printed or options.kernel or (origin.release if origin is not None else None)


def _kept(dump: Dump, trace: Trace) -> Kept:
    """Return the frames that grouping keeps of a dump; Mem-Info behind a trace says that it had come to its end."""
    if dump.mixed:
        return NOTHING_KEPT
    kept = keep(trace)
    return replace(kept, ended=True) if dump.memory.started and dump.missed is None else kept


def _fingerprint(dump: Dump, kept: Kept) -> Fingerprint:
    return fingerprint(
        dump.kind,
        order=dump.header.order if dump.header is not None and dump.kind.startswith("page_") else None,
        comm=dump.comm,
        cache_=dump.slab.cache,
        constraint=dump.oom.constraint,
        victim=dump.oom.victim,
        kept=kept,
    )


def _old(release: str | None, *, colon: bool) -> bool:
    """Whether x86 of this release printed no ``?`` before guesses: before 2.6.28 (arch/x86/kernel/dumpstack_64.c)."""
    if release is None:
        return not colon
    numbers: list[int] = []
    at = 0
    while len(numbers) < 3:
        end = at
        while end < len(release) and end - at < 6 and "0" <= release[end] <= "9":
            end += 1
        if end == at:
            break
        numbers.append(int(release[at:end]))
        if not release.startswith(".", end):
            break
        at = end + 1
    while len(numbers) < 3:
        numbers.append(0)
    return numbers < [2, 6, 28]


def _trace(dump: Dump, release: str | None) -> Trace:
    colon = dump.header is not None and (dump.header.colon or dump.header.names is not None)
    if dump.header is None or dump.kind in ("oom_kill", "slab_allocation_failure"):
        colon = True
    return dump.trace.build(old_release=_old(release, colon=colon))


def _incomplete(dump: Dump, trace: Trace) -> str | None:
    """Return why an event is not complete, None where it is."""
    memory = dump.memory
    if dump.limit is not None:
        return dump.limit
    if dump.kind == "slab_allocation_failure":
        lines = dump.slab
        if lines.cache is not None and lines.nodes:
            return None
        return "truncated" if lines.cache is not None or lines.nodes else "header only"
    if dump.header is None:
        return "header only" if dump.precursor is not None else "no header"
    if not dump.traced and dump.banner is None and not memory.started:
        return "truncated" if dump.cut else "header only"
    if dump.mixed:
        return "interleaved"
    if dump.missed is not None:
        return f"missed {dump.missed} kernel messages" if dump.missed else "missed kernel messages"
    # From 3.10 on every architecture prints a banner, x86 alone since 2.6.24.
    colon = dump.header.colon and not (dump.trace.bannerless or any(f.callee for f in dump.trace.frames))
    banner = dump.banner is not None or not (colon or dump.header.names is not None)
    # Without symbols only what follows says that the trace had come to its end.
    reached = trace.outermost or (dump.addresses and memory.started and not trace.functions)
    cut = memory.started and not memory.whole
    if banner and reached and not cut and dump.traced:
        return None
    return "interleaved" if dump.interleaved else "truncated"


def _gfp(dump: Dump, release: str | None) -> gfp.Gfp | None:
    header = dump.header
    if header is None or header.mode is None:
        return None
    printed = tuple(n for n in header.names.split("|") if n) if header.names is not None else None
    return gfp.decode(header.mode, release=release, printed=printed, form=_form(header))


def _form(header: Header) -> str:
    """Return which of the forms a header has that print no names: it says how old the kernel is."""
    if header.kind in ("page_allocation_failure", "page_allocation_stall"):
        return "colon" if header.colon else "period"
    return "slab" if header.kind == "slab_allocation_failure" else "unnamed"


def _follows(dump: Dump, mask: gfp.Gfp | None, options: Options, release: str | None) -> str | None:
    """Return the fingerprint of the page failure that a slab report follows; ``release`` is the report's."""
    before = dump.follows
    if before is None or before.head is None or dump.head is None or mask is None:
        return None
    if not _within_a_second(before.head, dump.head, options):
        return None
    own_release = _release(before, options)
    other = _gfp(before, own_release or release)
    if other is None or any(flag not in other.flags and flag not in _ignored() for flag in mask.flags):
        return None
    return _fingerprint(before, _kept(before, _trace(before, own_release))).id


@cache
def _ignored() -> frozenset[str]:
    """Return the flags that a slab report's mask has and that of the page failure before it need not."""
    return frozenset(facts.load()["verdict"]["follows_ignore"])


def _micros(uptime: str) -> int:
    """Return printk's time in microseconds."""
    seconds, _, digits = uptime.partition(".")
    return int(seconds) * 1_000_000 + int(digits[:6].ljust(6, "0"))


def _within_a_second(one: Record, two: Record, options: Options) -> bool:
    """Whether two records are of the same second, by printk's clock where they have one, else by the wall's."""
    if one.uptime is not None and two.uptime is not None:
        return abs(_micros(two.uptime) - _micros(one.uptime)) <= 1_000_000
    if one.time == two.time or one.time is None or two.time is None:
        return True
    first = times.millis_of(one.time, year=options.year, tz=options.timezone, reference=options.reference)
    second = times.millis_of(two.time, year=options.year, tz=options.timezone, reference=options.reference)
    if first is None or second is None:
        return False
    return abs(second - first) <= 1000


def explain(event: Event) -> list[dict[str, Any]]:
    """Return every frame of an event with the number of the rule that dropped it, or none where it was kept."""
    trace = event.trace
    dropped = dict(event.kept.dropped)
    # Of a trace that gives no group every frame is dropped: by the rule that takes the header instead.
    rest = None if event.kept.promised else 7
    return [
        {"function": name, "reliable": reliable, "rule": dropped.get(at, rest)}
        for at, (name, reliable) in enumerate(zip(trace.functions, trace.reliable, strict=True))
    ]
