"""One event's case: what the verdict is made from, and what is asked of it about the request."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any, NamedTuple

from allocfail import facts
from allocfail.decoder import allocator
from allocfail.decoder.document import architecture
from allocfail.decoder.trace import normalise

if TYPE_CHECKING:
    from allocfail.decoder import gfp
    from allocfail.decoder.assembly import Dump
    from allocfail.decoder.event import Event
    from allocfail.decoder.memory import Memory

__all__ = [
    "MOST_ORDER",
    "Case",
    "all_have",
    "beyond",
    "case_of",
    "excludes_node",
    "frame_sets",
    "group_of",
    "ignores_marks",
    "is_crash_kernel",
    "is_early_boot",
    "is_reclaiming",
    "is_suspended",
    "is_victim",
    "version_bounds",
    "vmalloc_way",
]

#: What the kernel says where addresses, not memory, are missing (mm/vmalloc.c).
_NO_ADDRESSES = ("use vmalloc=", "Address range restricted")

#: A crash kernel rarely has more than this, a server that one could install never so little (expert's judgement).
_CRASH_KB = 1024 * 1024

#: Until then a task with TIF_MEMDIE had no mark at all ([3.10.99], [4.8.15], not [4.14.177] mm/page_alloc.c).
_VICTIMS_HAVE_MARKS = 4_014_000

#: Orders above this are no order of any kernel's.
MOST_ORDER = 30


@dataclass(slots=True)
class Case:
    """What is known of an event; what the log does not say is None or empty."""

    kind: str
    order: int | None
    mask: str | None
    gfp_name: str | None
    readings: list[tuple[str, ...]]
    """The flags of the mask: one reading, or all where the release does not decide."""
    may_sleep: bool | None
    names: bool
    """The header spells the mask."""
    period: bool
    """The header says ``failure.``, as kernels before 3.0 do."""
    release: str | None
    arch: str | None
    hardware: str | None
    comm: str | None
    nodemask: str | None
    mems_allowed: str | None
    context: str | None
    interrupt: bool
    """The request was made in an interrupt, hard or soft."""
    site: str | None
    callers: list[str]
    """Functions from the call site outwards, those that the kernel marked as guesses left out."""
    kept: tuple[str, ...]
    """The fingerprint's frames."""
    functions: tuple[str, ...]
    trace_lines: list[str]
    uptime: str | None
    memory: Memory
    complete: bool
    stalled_ms: str | None
    vmalloc_reason: str | None
    vmalloc_bytes: str | None
    vmalloc_obtained: str | None
    page_order: int | None
    address_space: bool
    """A line beside the failure says that the address space is used up."""
    cache: str | None
    oom_constraint: str | None
    oom_memcg: str | None
    oom_limit_kb: int | None
    follows: dict[str, Any] | None
    """The verdict of the page failure that a slab report follows."""
    dying: bool
    """The OOM killer had chosen the task shortly before."""
    after: str | None
    """A line behind the event that says what came of it."""


class _Sets(NamedTuple):
    reclaim: frozenset[str]
    coredump: frozenset[str]
    suspend: tuple[str, ...]
    memcg: tuple[str, ...]
    realtime: tuple[str, ...]
    sleepers: frozenset[str]
    crash_releases: tuple[str, ...]


@cache
def frame_sets() -> _Sets:
    """Return frames and names by what they mean here."""
    frames = facts.load()["verdict"]["frames"]
    return _Sets(
        frozenset(frames["reclaim"]),
        frozenset(frames["coredump"]),
        tuple(frames["suspend"]),
        tuple(frames["memcg"]),
        tuple(frames["realtime"]),
        frozenset(frames["sleepers"]),
        tuple(frames["crash_releases"]),
    )


_KSWAPD = re.compile(r"kswapd[0-9]*").fullmatch


def is_reclaiming(case: Case) -> bool:
    """Whether the request was made by a task that reclaims memory itself (PF_MEMALLOC), in process context."""
    if case.interrupt or (case.context is None and not case.may_sleep):
        return False
    if case.comm is not None and _KSWAPD(case.comm):
        return True
    reclaim = frame_sets().reclaim
    return any(name in reclaim for name in case.callers)


def ignores_marks(case: Case, *, reclaims: bool, newest: int) -> bool:
    """Whether no watermark counts for the request: PF_MEMALLOC, or __GFP_MEMALLOC in its mask (3.8 and later).

    Nor does one for a task that is being killed, on kernels before 4.14; ``newest``: the newest version it can be.
    """
    if is_victim(case) and 0 < newest < _VICTIMS_HAVE_MARKS:
        return True
    return (reclaims or all_have(case, "__GFP_MEMALLOC")) and not all_have(case, "__GFP_NOMEMALLOC")


def is_victim(case: Case) -> bool:
    """Whether the request may dip into the reserve that a task which is being killed has."""
    return case.dying and not case.interrupt and not all_have(case, "__GFP_NOMEMALLOC")


def all_have(case: Case, flag: str) -> bool:
    """Whether every reading of the mask has a flag."""
    for flags in case.readings:
        if flag not in flags:
            return False
    return bool(case.readings)


def is_suspended(case: Case) -> bool:
    """Whether the request was made in suspend or resume."""
    # pm_restrict_gfp_mask() takes both flags from every mask, which a program that goes to sleep never asks for itself.
    stripped = bool(case.may_sleep) and not any("__GFP_IO" in flags or "__GFP_FS" in flags for flags in case.readings)
    if stripped and case.comm in frame_sets().sleepers:
        return True
    starts = frame_sets().suspend
    return any(name.startswith(starts) for name in case.callers)


def _in_nodes(node: int, nodes: str) -> bool:
    """Whether a node is in a list such as ``0-3,5``; True where it is no such list."""
    for part in nodes.split(","):
        first, dash, last = part.partition("-")
        if not (first.isascii() and first.isdigit() and len(first) < 6):
            return True
        if dash and not (last.isascii() and last.isdigit() and len(last) < 6):
            return True
        if int(first) <= node <= int(last if dash else first):
            return True
    return False


def excludes_node(case: Case, flags: tuple[str, ...], node: int) -> bool:
    """Whether the request's policy or cpuset keeps it from a node."""
    if case.nodemask is not None and not _in_nodes(node, case.nodemask):
        return True
    if case.mems_allowed is None or "__GFP_HARDWALL" not in flags or case.interrupt:
        return False
    # Without ALLOC_CPUSET an atomic request may go anywhere; those that wait never do.
    return bool(case.may_sleep) and not _in_nodes(node, case.mems_allowed)


def is_crash_kernel(case: Case) -> bool:
    """Whether the kernel looks like one that saves a crash dump: a server's, seconds old, with next to no memory."""
    ram_kb = case.memory.totals.get("ram_pages", 0) * (case.memory.page_kb or 4)
    seconds = "" if case.uptime is None else case.uptime.partition(".")[0]
    return (
        ram_kb > 0
        and ram_kb <= _CRASH_KB
        and len(seconds) in (1, 2)
        and case.release is not None
        and any(mark in case.release for mark in frame_sets().crash_releases)
    )


_RECLAIM = frozenset({"__GFP_WAIT", "__GFP_RECLAIM", "__GFP_DIRECT_RECLAIM", "__GFP_KSWAPD_RECLAIM"})


def is_early_boot(case: Case) -> bool:
    """Whether memory was asked for at the very beginning, before the allocator may reclaim."""
    return (
        case.comm is not None
        and case.comm.startswith("swapper")
        and case.uptime is not None
        and case.uptime.startswith("0.00")
        and bool(case.readings)
        and not any(_RECLAIM & set(flags) for flags in case.readings)
        and not case.memory.zones
    )


_CGROUP = re.compile(r"[^(]*\([0-9]+:([^()]*)\)").fullmatch


def group_of(case: Case) -> str | None:
    """Return the memory cgroup that a slab cache is named after; such names ended with 5.8."""
    found = _CGROUP(case.cache) if case.cache is not None else None
    if found is None or (case.release is not None and allocator.key(case.release) >= 5_009_000):
        return None
    return found[1]


def beyond(digits: str, limit: str) -> bool:
    """Whether one number in digits is as large as another, or larger."""
    return len(digits) > len(limit) or (len(digits) == len(limit) and digits >= limit)


def vmalloc_way(case: Case) -> str:
    """Return what a vmalloc failure's wording says went wrong."""
    reason = case.vmalloc_reason or ""
    digits = case.vmalloc_bytes or ""
    ram_kb = case.memory.totals.get("ram_pages", 0) * (case.memory.page_kb or 4)
    if beyond(digits, "9223372036854775808") and len(digits) <= 20:
        return "negative"
    if reason == "exceeds total pages":
        return "huge-size"
    if case.address_space:
        return "address-space"
    if reason == "allocation failure" and case.vmalloc_obtained is None:
        if digits in ("", "0"):
            return "no-size" if digits else "other"
        return "huge-size" if 0 < ram_kb < int(digits) // 1024 else "unclear"
    if case.vmalloc_obtained is not None and "alloc_large_system_hash" in case.functions:
        return "hash"
    if case.page_order is not None and case.page_order > 0 and reason == "failed to allocate pages":
        return "huge-page"
    return "pages" if case.vmalloc_obtained is not None or reason == "failed to allocate pages" else "other"


def version_bounds(case: Case) -> tuple[int, int]:
    """Return the oldest and the newest version that the kernel can be; 0 as the newest is no bound."""
    if case.release is not None and (version := allocator.key(case.release)) > 0:
        return version, version
    return allocator.printed_bounds(case.memory, names=case.names, mask=case.mask is not None, period=case.period)


#: Tasks that ask for nothing themselves: who handles soft interrupts, and the idle tasks of processors but the first,
#: whose name the first process bears too while the machine starts.
_INTERRUPTED = re.compile(r"ksoftirqd/[0-9]+|swapper/[1-9][0-9]*").fullmatch


def _interrupted(event: Event) -> bool:
    """Whether a request was made in an interrupt, where no frame says so: by the kernel's marker or the task's name."""
    if event.trace.interrupt:
        return True
    comm = event.dump.comm
    waits = event.mask is None or event.mask.may_sleep is not False
    return not waits and comm is not None and _INTERRUPTED(comm) is not None


def case_of(event: Event, memory: Memory) -> Case:
    """Return what the verdict on an event is made from."""
    dump = event.dump
    header = dump.header if dump.header is not None else dump.precursor
    trace = event.trace
    kept = event.kept
    mask = event.mask
    release = event.release
    order = header.order if header is not None else None
    source = header if header is not None and header.reason is not None else dump.precursor
    callers: list[str] = []
    if kept.site >= 0 and (mask is None or mask.may_sleep is not False):
        callers = [normalise(trace.functions[i]) for i in range(kept.site, trace.boundary) if trace.reliable[i]]
    before = dump.precursor.reason if dump.precursor is not None else None
    reason = source.reason if source is not None else None
    obtained = source.allocated if source is not None else None
    if source is not None and reason == "failed to allocate pages":
        obtained = source.size
    follows = dump.follows.verdict if event.follows is not None and dump.follows is not None else None
    return Case(
        kind=dump.kind,
        order=order if order is not None and order <= MOST_ORDER else None,
        mask=mask.mask if mask is not None else None,
        gfp_name=mask.name if mask is not None else None,
        readings=_readings(mask),
        may_sleep=mask.may_sleep if mask is not None else None,
        names=header is not None and header.names is not None,
        period=header is not None and header.kind == "page_allocation_failure" and not header.colon,
        release=release,
        arch=architecture(release) if release is not None else None,
        hardware=dump.hardware,
        comm=dump.comm,
        nodemask=header.nodemask if header is not None and header.nodemask is not None else dump.oom.nodemask,
        mems_allowed=_mems(dump),
        context=trace.context,
        # Frames outweigh the marker, which may be another CPU's.
        interrupt=_interrupted(event) if trace.context is None else trace.context != "process",
        site=kept.names[0] if kept.names else None,
        callers=callers,
        kept=kept.names,
        functions=trace.functions,
        trace_lines=dump.trace.lines,
        uptime=dump.head.uptime if dump.head is not None else None,
        memory=memory,
        complete=event.incomplete is None,
        stalled_ms=header.stalled_ms if header is not None else None,
        vmalloc_reason=reason,
        vmalloc_bytes=source.size.lstrip("0") or "0" if source is not None and source.size is not None else None,
        vmalloc_obtained=obtained,
        page_order=source.page_order if source is not None else None,
        address_space=_lacks_addresses(reason) or _lacks_addresses(before),
        cache=dump.slab.cache,
        oom_constraint=dump.oom.constraint,
        oom_memcg=dump.oom.memcg,
        oom_limit_kb=dump.oom.limit_kb,
        follows=follows,
        dying=dump.banner is not None and dump.banner.pid is not None and dump.banner.pid in dump.victims,
        after=dump.after,
    )


def _lacks_addresses(reason: str | None) -> bool:
    return reason is not None and reason.startswith(_NO_ADDRESSES)


def _mems(dump: Dump) -> str | None:
    if dump.header is not None and dump.header.mems_allowed is not None:
        return dump.header.mems_allowed
    return dump.mems_allowed if dump.mems_allowed is not None else dump.oom.mems_allowed


def _readings(mask: gfp.Gfp | None) -> list[tuple[str, ...]]:
    """Return the flags of a mask, or of all its readings where the release does not decide between them."""
    if mask is None or mask.decoded_by is None:
        return []
    if mask.decoded_by != "ambiguous":
        return [mask.flags]
    found: list[tuple[str, ...]] = []
    for reading in mask.candidates:
        if reading.flags not in found:
            found.append(reading.flags)
    return found
