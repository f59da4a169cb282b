"""What a dump proves: why the request failed, how bad that was, and what helps on this kernel.

The arithmetic is :mod:`allocfail.decoder.allocator`'s; rules, words and remedies are data (``kb/facts/verdict.yml``).
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from functools import cache, lru_cache
from typing import TYPE_CHECKING, Any, NamedTuple

from allocfail import facts
from allocfail.decoder import allocator, knowledge
from allocfail.decoder.allocator import SMALL_KB, Ask, Era, Place, Standing
from allocfail.decoder.knowledge import Features, fill, pieces

if TYPE_CHECKING:
    from allocfail.decoder.memory import Memory

__all__ = ["Case", "Judged", "judge"]

_SHORT = ("lowmem-reserve", "cma", "highatomic", "boost", "below", "at-limit")
_PLAIN = ("lowmem-reserve", "below", "at-limit", "empty")
_PIECES = ("no-block", "block-reserved", "order-loop")

#: Machines whose pages may be larger than 4 kB.
_LARGE_PAGES = ("aarch64", "ppc64", "ppc64le", "ia64", "mips64", "loongarch64")
#: The versions that an unknown release lies between.
_OLDEST = 2_006_000
_NEWEST = 999_999_999
#: Orders above this are no order of any kernel's.
_MOST_ORDER = 30
#: Above this order the kernel gives up rather than retry (PAGE_ALLOC_COSTLY_ORDER).
_COSTLY = 3


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
    site: str | None
    callers: tuple[str, ...]
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
    after: str | None
    """A line behind the event that says what came of it."""


@dataclass(slots=True)
class Judged:
    """The verdict, and what articles' rules and sentences are filled from."""

    document: dict[str, Any]
    features: Features
    values: dict[str, str]


@dataclass(slots=True)
class _Finding:
    """What one reading of the dump says."""

    zones: list[Standing]
    """Every zone that the dump prints."""
    allowed: list[Standing]
    """Those that the request may use."""
    ask: Ask
    place: Place
    wide: bool = False
    """The highatomic reserve, where it is not printed, is taken for as large as it can be."""
    cause: str = "unknown"
    qualifiers: list[str] = field(default_factory=list)

    @property
    def states(self) -> list[str]:
        """The states of the zones that the request may use."""
        return [s.widest if self.wide else s.state for s in self.allowed]


# -- words -------------------------------------------------------------------------------------------------------------


def grouped(number: int) -> str:
    """Return a number with a comma before every three digits."""
    digits = str(abs(number))
    out = digits[-3:]
    digits = digits[:-3]
    while digits:
        out = digits[-3:] + "," + out
        digits = digits[:-3]
    return "-" + out if number < 0 else out


def size(kb: int) -> str:
    """Return kilobytes in the unit that a person would use (1 MB is 1,024 kB), to three digits or so."""
    if kb < 1024:
        return f"{kb} kB"
    unit = "MB"
    if kb >= 1024 * 1024:
        unit = "GB"
        kb //= 1024
    tenths = (kb * 10 + 512) // 1024
    whole = tenths // 10
    if whole >= 100 or tenths % 10 == 0:
        return f"{grouped((tenths + 5) // 10)} {unit}"
    return f"{whole}.{tenths % 10} {unit}"


@cache
def _words() -> dict[str, dict[str, str]]:
    words: dict[str, dict[str, str]] = facts.load()["verdict"]["words"]
    return words


def _label(standing: Standing, *, nodes: bool) -> str:
    zone = standing.zone
    return f"node {zone['node']} {zone['name']}" if nodes and "node" in zone else zone["name"]


def _block(order: int, page_kb: int) -> str:
    return "nothing" if order < 0 else size(page_kb << min(order, 40))


def _phrase(standing: Standing, page_kb: int, *, nodes: bool, order: int, blocks: str) -> str:
    """Return what a zone's numbers say, in words."""
    words = _words()["zone"]
    state = standing.state
    if state == "order-loop" and blocks == "el6":
        state = "order-loop-el6"
    out = ""
    named = False
    for piece in pieces(words.get(state, "")):
        if not named:
            out += piece
        elif piece == "zone":
            out += _label(standing, nodes=nodes)
        elif piece == "size":
            out += _block(order, page_kb)
        else:
            out += _figure(standing, piece, page_kb)
        named = not named
    return out


def _figure(standing: Standing, name: str, page_kb: int) -> str:
    """Return one of a zone's numbers as the sentence's placeholder ``name`` wants it."""
    if name == "avail":
        most = _words()["zone"]["at-most"] if standing.shown != standing.avail else ""
        return most + ("1 page" if standing.avail == 1 else grouped(max(0, standing.avail)) + " pages")
    if name == "need":
        return grouped(standing.need)
    if name == "free":
        return size(standing.free * page_kb)
    if name == "reserve_size":
        return size(standing.reserve * page_kb)
    if name == "largest":
        return _block(standing.usable_order, page_kb)
    if name == "letters":
        words = _words()["zone"]
        return ", ".join(words.get("letter-" + letter, letter) for letter in standing.letters)
    if name == "cma":
        return size(standing.cma * page_kb)
    if name == "boosted":
        return _boosted(standing, page_kb)
    if name == "held":
        return size(standing.held * page_kb)
    if name == "boost":
        return size(standing.boost * page_kb)
    if name == "least":
        return size(standing.zone.get("min_kb", 0))
    if name == "loop_block":
        return _block(standing.loop_order + 1, page_kb)
    return grouped(standing.loop_pages if name == "loop_pages" else standing.loop_need)


def _boosted(standing: Standing, page_kb: int) -> str:
    """Return the half sentence that says that a boost alone would have been enough, where it would."""
    if standing.boost == 0 or standing.avail <= standing.unboosted_mark + standing.reserve:
        return ""
    return fill(_words()["zone"]["boosted"], {"boost": size(standing.boost * page_kb)})


# -- the request -------------------------------------------------------------------------------------------------------


class _Sets(NamedTuple):
    reclaim: frozenset[str]
    coredump: frozenset[str]
    suspend: tuple[str, ...]
    memcg: tuple[str, ...]
    realtime: tuple[str, ...]


@cache
def _sets() -> _Sets:
    frames = facts.load()["verdict"]["frames"]
    return _Sets(
        frozenset(frames["reclaim"]),
        frozenset(frames["coredump"]),
        tuple(frames["suspend"]),
        tuple(frames["memcg"]),
        tuple(frames["realtime"]),
    )


_KSWAPD = re.compile(r"kswapd[0-9]*").fullmatch


def _reclaims(case: Case) -> bool:
    """Whether the request was made by a task that reclaims memory itself (PF_MEMALLOC), in process context."""
    if case.context not in (None, "process") or (case.context is None and not case.may_sleep):
        return False
    if case.comm is not None and _KSWAPD(case.comm):
        return True
    reclaim = _sets().reclaim
    return any(name in reclaim for name in case.callers)


def _ignores_marks(case: Case, *, reclaims: bool) -> bool:
    """Whether no watermark counts for the request: PF_MEMALLOC, or __GFP_MEMALLOC in its mask (3.8 and later)."""
    return (reclaims or _all_have(case, "__GFP_MEMALLOC")) and not _all_have(case, "__GFP_NOMEMALLOC")


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


def _excludes_node(case: Case, flags: tuple[str, ...], node: int) -> bool:
    """Whether the request's policy or cpuset keeps it from a node."""
    if case.nodemask is not None and not _in_nodes(node, case.nodemask):
        return True
    if case.mems_allowed is None or "__GFP_HARDWALL" not in flags or case.context in ("softirq", "hardirq", "nmi"):
        return False
    # Without ALLOC_CPUSET an atomic request may go anywhere; those that wait never do.
    return bool(case.may_sleep) and not _in_nodes(node, case.mems_allowed)


# -- from zones to a cause ---------------------------------------------------------------------------------------------


def _elsewhere(case: Case, page_kb: int) -> int:
    """Return how many pages are free in zones that the dump does not print."""
    total = case.memory.counters.get("free", 0)
    return max(0, total - sum(z.get("free_kb", 0) for z in case.memory.zones) // page_kb)


def _roomy(standing: Standing) -> bool:
    zone = standing.zone
    return zone.get("free_kb", 0) > zone.get("high_kb", 0) > 0


def _large(standing: Standing) -> bool:
    """Whether a zone is more than the PC's ZONE_DMA, which keeps most of itself in reserve all the time."""
    zone = standing.zone
    return zone.get("managed_kb", zone.get("present_kb", SMALL_KB + 1)) > SMALL_KB


def _early(zones: list[Standing]) -> bool:
    """Whether the page allocator had not been given its memory yet."""
    return bool(zones) and all(
        s.zone.get("managed_kb", 0) > 0
        and not any(
            (s.zone.get("free_kb", 1), s.zone.get("min_kb", 1), s.zone.get("low_kb", 1), s.zone.get("high_kb", 1))
        )
        for s in zones
    )


def _decide(case: Case, finding: _Finding, page_kb: int, *, unmarked: bool) -> None:
    """Find the cause: the first row that holds."""
    allowed = finding.allowed
    order = finding.ask.order
    states = finding.states
    if any(order >= len(s.zone["free_blocks"]) for s in finding.zones if _whole_list(s)):
        finding.cause = "impossible-order"
    elif unmarked and any(s.managed for s in allowed):
        if any(s.usable_order >= order for s in allowed):
            finding.cause = "transient"
        else:
            pieces = order > 0 and any(s.usable_order >= 0 for s in allowed)
            finding.cause = "fragmentation" if pieces else "reserves-exhausted"
    elif _early(finding.zones):
        finding.cause = "early-boot"
    elif not any(s.managed for s in allowed):
        seen = bool(finding.zones) or "ram_pages" in case.memory.totals
        finding.cause = "zone-empty" if seen else "unknown"
    elif "open" in states:
        finding.cause = "transient"
    elif "unknown" in states:
        finding.cause = "unknown"
    elif _confined(case, finding, states, page_kb):
        finding.cause = "zone-limit"
    elif any(s.state == "excluded-node" and s.widest == "open" for s in finding.zones):
        finding.cause = "node-limit"
    elif order > 0 and any(s in _PIECES for s in states):
        finding.cause = "fragmentation" if case.may_sleep else "atomic-fragmentation"
        _qualify(finding, states)
    else:
        finding.cause = _shortage(finding, states, may_sleep=bool(case.may_sleep))


def _whole_list(standing: Standing) -> bool:
    return "free_blocks" in standing.zone and not standing.zone.get("blocks_cut", False)


def _confined(case: Case, finding: _Finding, states: list[str], page_kb: int) -> bool:
    """Whether the request may only use low zones, all are short, and others have memory."""
    if finding.place.zone not in ("DMA", "DMA32") or not all(s in _SHORT or s == "empty" for s in states):
        return False
    least = sum(s.zone.get("min_kb", 0) for s in finding.allowed) // page_kb
    return _elsewhere(case, page_kb) > least or any(_roomy(s) for s in finding.zones if s.state == "excluded-zone")


def _qualify(finding: _Finding, states: list[str]) -> None:
    """Add what kept the blocks that would have been large enough from the request."""
    order = finding.ask.order
    kept = letters = ""
    for standing, state in zip(finding.allowed, states, strict=True):
        if state == "lowmem-reserve" and standing.usable_order >= order and _large(standing):
            kept = "lowmem_reserve"
        elif state == "block-reserved":
            letters += standing.letters
    if kept:
        finding.qualifiers.append(kept)
    if "C" in letters:
        finding.qualifiers.append("cma")
    if "H" in letters:
        finding.qualifiers.append("highatomic")
    if "order-loop" in states:
        finding.qualifiers.append("order-loop")


def _shortage(finding: _Finding, states: list[str], *, may_sleep: bool) -> str:
    """Return the cause where free pages, not blocks, were missing."""
    kept = False
    letters = ""
    for standing, state in zip(finding.allowed, states, strict=True):
        if state == "lowmem-reserve" and standing.free > 8 * standing.mark and _large(standing):
            kept = True
        elif state == "block-reserved":
            letters += standing.letters
    if kept and all(s in _PLAIN for s in states):
        return "lowmem-reserve"
    if "cma" in states or "C" in letters:
        return "cma"
    if "highatomic" in states or "boost" in states or "H" in letters:
        return "reserve-held"
    return "exhaustion" if may_sleep else "atomic-reserve"


def _weigh(case: Case, ask: Ask, place: Place, flags: tuple[str, ...], page_kb: int, *, unmarked: bool) -> _Finding:
    """Work out every zone's standing for one reading of the dump."""
    ranks = allocator.ranks()
    highest = ranks[place.zone]
    ram = case.memory.totals.get("ram_pages", 0)
    zones: list[Standing] = []
    for zone in case.memory.zones:
        if ranks.get(zone["name"], highest + 1) > highest:
            zones.append(Standing(zone, "excluded-zone", "excluded-zone", allowed=False))
            continue
        standing = allocator.stand(zone, ask, place, page_kb, ram)
        zones.append(standing)
        if "node" in zone and _excludes_node(case, flags, zone["node"]):
            standing.allowed, standing.state, standing.widest = False, "excluded-node", standing.state
        elif unmarked and standing.usable_order >= ask.order and standing.state != "empty":
            standing.state = standing.widest = "open"
    return _Finding(zones, [s for s in zones if s.allowed], ask, place)


@dataclass(slots=True)
class _Weighed:
    """All readings of a dump together."""

    finding: _Finding
    cause: str
    unknown: list[str]
    possible: list[str]
    """The causes, where the readings differ."""
    mixed: list[bool]
    """Whether the readings differ on a zone's state."""
    page_kb: int


def _places(case: Case, ask: Ask, version: int) -> list[Place]:
    """Return where the request's highest zone may stand; what machine it is is looked for only where that matters."""
    memory = case.memory
    arch = case.arch if case.arch is not None and allocator.known_machine(case.arch) else ""
    found = allocator.places(memory, ask.zone, arch=arch, version=version)
    if len(found) > 1 and not arch:
        arch = allocator.machine(case.hardware, case.functions, case.trace_lines)
        found = allocator.places(memory, ask.zone, arch=arch, version=version)
    return found


def _weigh_all(case: Case, order: int, eras: tuple[Era, ...], *, unmarked: bool) -> _Weighed:
    memory = case.memory
    page_kb = memory.page_kb or 4
    version = 0 if case.release is None else allocator.key(case.release)
    findings: list[_Finding] = []
    unknown: list[str] = []
    reserve = node = False
    for flags in case.readings:
        for ask in allocator.asks(flags, order, eras):
            for place in _places(case, ask, version):
                found = _weigh(case, ask, place, flags, page_kb, unmarked=unmarked)
                some = [found]
                if any(s.state != s.widest for s in found.allowed):
                    reserve = True
                    some.append(_Finding(found.zones, found.allowed, ask, place, wide=True))
                nodes = sorted({s.zone["node"] for s in found.allowed if "node" in s.zone})
                if "__GFP_THISNODE" in flags and len(nodes) > 1:
                    node = True
                    some = [_narrow(f, n) for f in some for n in nodes]
                for each in some:
                    _decide(case, each, page_kb, unmarked=unmarked)
                    findings.append(each)
    first = findings[0]
    if len(findings) == 1 and "unknown" not in first.states:
        return _Weighed(first, first.cause, [], [first.cause], [False] * len(first.zones), page_kb)
    causes = list(dict.fromkeys(f.cause for f in findings))
    mixed = [_differ(findings, i) for i in range(len(first.zones))]
    for finding in findings[1:]:
        first.qualifiers = [q for q in first.qualifiers if q in finding.qualifiers]
    words = _words()["unknown"]
    if len(causes) > 1 or any(mixed):
        if reserve:
            unknown.append(words["reserve"])
        if node:
            unknown.append(words["node"])
        if len(eras) > 1:
            unknown.append(words["release" if case.release is None else "between"])
        if len(case.readings) > 1:
            unknown.append(words["mask"])
        if not unknown:
            unknown.append(words["machine"])
    if "unknown" in first.states:
        cut = any(s.zone.get("blocks_cut", False) for s in first.allowed)
        unknown.append(words["cut" if cut else "numbers"])
    return _Weighed(first, causes[0] if len(causes) == 1 else "unknown", unknown, causes, mixed, page_kb)


def _differ(findings: list[_Finding], at: int) -> bool:
    """Whether the readings differ on the state of a zone."""
    state = findings[0].zones[at].state
    return any(
        f.zones[at].state != state or (f.wide and f.zones[at].allowed and f.zones[at].widest != state) for f in findings
    )


def _narrow(found: _Finding, node: int) -> _Finding:
    """Return the finding for one node alone."""
    allowed = [s for s in found.allowed if s.zone.get("node", 0) == node]
    return _Finding(found.zones, allowed, found.ask, found.place, wide=found.wide)


# -- the other kinds ---------------------------------------------------------------------------------------------------

_CGROUP = re.compile(r"[^(]*\([0-9]+:([^()]*)\)").fullmatch


def _group_of(case: Case) -> str | None:
    """Return the memory cgroup that a slab cache is named after; such names ended with 5.8."""
    found = _CGROUP(case.cache) if case.cache is not None else None
    if found is None or (case.release is not None and allocator.key(case.release) >= 5_009_000):
        return None
    return found[1]


def _beyond(digits: str, limit: str) -> bool:
    """Whether one number in digits is as large as another, or larger."""
    return len(digits) > len(limit) or (len(digits) == len(limit) and digits >= limit)


def _signed(digits: str) -> str:
    """Return what a 64-bit number of these digits is when its first bit is a sign."""
    # 2^64 less the number, in two halves that fit 63 bits.
    high = int(digits[:-9])
    low = int(digits[-9:])
    high = 18446744073 - high
    low = 709551616 - low
    if low < 0:
        high, low = high - 1, low + 1_000_000_000
    return "-" + grouped(high * 1_000_000_000 + low)


def _vmalloc_way(case: Case) -> str:
    """Return what a vmalloc failure's wording says went wrong."""
    reason = case.vmalloc_reason or ""
    digits = case.vmalloc_bytes or ""
    ram_kb = case.memory.totals.get("ram_pages", 0) * (case.memory.page_kb or 4)
    if _beyond(digits, "9223372036854775808") and len(digits) <= 20:
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


class _Site(NamedTuple):
    frames: frozenset[str]
    under: frozenset[str]
    says: str
    look: str
    falls_back: bool
    """Nothing is lost if the request may not sleep or does not insist; ``always``: whatever it is."""
    always: bool


@cache
def _sites() -> tuple[_Site, ...]:
    return tuple(
        _Site(
            frozenset(row["frames"]),
            frozenset(row.get("under", ())),
            row["says"],
            row.get("look", ""),
            row.get("falls_back", False),
            row.get("always", False),
        )
        for row in facts.load()["verdict"]["sites"]
    )


@lru_cache(maxsize=1024)
def _site_of(kept: tuple[str, ...]) -> _Site | None:
    """Return what is known of the site that these frames are."""
    for site in _sites():
        if any(name in site.frames for name in kept) and (not site.under or any(name in site.under for name in kept)):
            return site
    return None


@cache
def _receive() -> tuple[frozenset[str], tuple[str, ...]]:
    frames = facts.load()["verdict"]["frames"]
    return frozenset(frames["receive"]), tuple(frames["receive_parts"])


@lru_cache(maxsize=1024)
def _receives(kept: tuple[str, ...]) -> bool:
    """Whether the site is the receive buffer of a network driver."""
    names, parts = _receive()
    return any(name in names or any(part in name for part in parts) for name in kept)


# -- why it was let fail -----------------------------------------------------------------------------------------------


def _all_have(case: Case, flag: str) -> bool:
    for flags in case.readings:
        if flag not in flags:
            return False
    return bool(case.readings)


def _gave_up(case: Case, eras: tuple[Era, ...], place: Place | None, *, reclaims: bool) -> list[str]:
    """Return why a request that may sleep was let fail: all reasons that hold, by name."""
    if not case.may_sleep or not case.readings or case.order is None or case.kind != "page_allocation_failure":
        return []
    found: list[str] = []
    insists = _all_have(case, "__GFP_REPEAT") or _all_have(case, "__GFP_RETRY_MAYFAIL")
    if case.order > _COSTLY and not insists and not _all_have(case, "__GFP_NOFAIL"):
        found.append("costly")
    if _all_have(case, "__GFP_NORETRY"):
        found.append("one-try")
    if case.order > _COSTLY and _all_have(case, "__GFP_REPEAT") and all(e.repeat_pages for e in eras):
        found.append("enough")
    if _all_have(case, "__GFP_RETRY_MAYFAIL"):
        found.append("may-fail")
    if place is not None:
        low = place.zone in ("DMA", "DMA32")
    else:
        low = _all_have(case, "__GFP_DMA") or _all_have(case, "__GFP_DMA32")
    if low and all(e.no_low_oom for e in eras):
        found.append("low-zone")
    if _all_have(case, "__GFP_THISNODE"):
        found.append("this-node")
    sets = _sets()
    if all(e.dump_core for e in eras) and any(name in sets.coredump for name in case.callers):
        found.append("core-dump")
    if _suspended(case):
        found.append("suspend")
    if reclaims:
        found.append("reclaimer")
    if not found and case.order <= _COSTLY:
        found.append("none")
    return found


def _suspended(case: Case) -> bool:
    starts = _sets().suspend
    return any(name.startswith(starts) for name in case.callers)


# -- the verdict -------------------------------------------------------------------------------------------------------


class _Remedy(NamedTuple):
    id: str
    causes: tuple[str, ...]
    when: dict[str, Any]
    since: int
    until: int
    only: str
    also: str
    release: str
    action: str
    command: str
    cost: str
    check: str


@cache
def _remedies() -> tuple[_Remedy, ...]:
    found = []
    for row in facts.load()["verdict"]["remedies"]:
        until = row.get("until")
        found.append(
            _Remedy(
                row["id"],
                tuple(row.get("causes", ())),
                row.get("when", {}),
                allocator.key(row["from"]),
                999_999_999 if until is None else allocator.key(until) + 999,
                row.get("only", ""),
                row.get("also", ""),
                row["from"],
                row["action"],
                row["command"],
                row["cost"],
                row["check"],
            )
        )
    return tuple(found)


class _Advice(NamedTuple):
    """What follows from the cause and the other features."""

    reclaim: dict[str, Any]
    severity: dict[str, Any]
    actions: list[dict[str, str]]
    remedies: list[str]


@lru_cache(maxsize=2048)
def _advice(
    items: tuple[tuple[str, str | int | bool], ...], release: str, oldest: int, newest: int, look: str
) -> _Advice:
    """Return the rules that hold, and the remedies that a kernel between two versions has, in their order."""
    features = dict(items)
    rules = _rules()
    cause = features["cause"]
    found = [
        r
        for r in _remedies()
        if (not r.causes or cause in r.causes)
        and ((r.since <= oldest and newest <= r.until) or (r.also != "" and r.also in release))
        and r.only in release
        and knowledge.holds(r.when, features)
    ]
    if features["kind"] == "page_allocation_stall":
        found = []
    actions: list[dict[str, str]] = []
    for r in found:
        action = {"id": r.id, "action": r.action, "cost": r.cost, "from_release": r.release}
        if r.command:
            action["command"] = r.command
        action["check"] = fill(r.check, {"look": look}).removesuffix("; ")
        actions.append(action)
    return _Advice(
        knowledge.first(rules["zone_reclaim"], features) or {},
        knowledge.first(rules["severity"], features) or {},
        actions,
        [f"{r.action}: {r.command}" if r.command else r.action for r in found],
    )


def _zone_documents(weighed: _Weighed) -> list[dict[str, Any]]:
    out: list[dict[str, Any]] = []
    page_kb = weighed.page_kb
    for standing, mixed in zip(weighed.finding.zones, weighed.mixed, strict=True):
        zone = standing.zone
        row: dict[str, Any] = {}
        if "node" in zone:
            row["node"] = zone["node"]
        row["name"] = zone["name"]
        row["state"] = "unknown" if mixed else standing.state
        if standing.free or standing.need:
            row["usable_kb"] = standing.shown * page_kb
            row["needed_kb"] = standing.need * page_kb
            row["mark_kb"] = standing.mark * page_kb
            row["reserve_kb"] = standing.reserve * page_kb
            row["usable_pages"] = standing.shown
            row["needed_pages"] = standing.need
            row["mark_pages"] = standing.mark
            row["reserve_pages"] = standing.reserve
            if standing.usable_order >= 0:
                row["largest_usable_order"] = standing.usable_order
        out.append(row)
    return out


def _phrases(weighed: _Weighed, standings: list[Standing]) -> str:
    """Return zones in words."""
    nodes = len({s.zone.get("node", 0) for s in weighed.finding.zones}) > 1
    order = weighed.finding.ask.order
    return "; ".join(
        _phrase(s, weighed.page_kb, nodes=nodes, order=order, blocks=weighed.finding.ask.blocks) for s in standings
    )


def _join(weighed: _Weighed, which: tuple[str, ...] | None) -> str:
    """Return the zones that the request may use, in words: those in these states, or all.

    The PC's ZONE_DMA, which practically always keeps itself in reserve, is left out where there are others.
    """
    allowed = weighed.finding.allowed
    if which is not None:
        return _phrases(weighed, [s for s in allowed if s.state in which])
    telling = [s for s in allowed if s.state != "lowmem-reserve" or _large(s)]
    return _phrases(weighed, telling or allowed)


def _features(case: Case, weighed: _Weighed | None, *, reclaims: bool) -> Features:
    """Return what rules ask for, the cause left out."""
    zones = bool(case.memory.zones)
    out: Features = {"kind": case.kind, "complete": case.complete, "has_order": case.order is not None, "zones": zones}
    if case.may_sleep is not None:
        out["may_sleep"] = case.may_sleep
    if case.context is not None:
        out["context"] = case.context
    if case.order is not None:
        out["order"] = case.order
    if zones and not any("node" in z for z in case.memory.zones):
        out["no_numa"] = True
    if reclaims:
        out["reclaimer"] = True
    if _ignores_marks(case, reclaims=reclaims):
        out["unmarked"] = True
    out["noretry"] = _all_have(case, "__GFP_NORETRY")
    if _all_have(case, "__GFP_RETRY_MAYFAIL"):
        out["mayfail"] = True
    if case.after is not None:
        out["after"] = True
    out["cma"] = out["boost"] = False
    if weighed is not None:
        out["found"] = weighed.cause
        states = weighed.finding.states
        for name in dict.fromkeys(states):
            out["zone_" + name.replace("-", "_")] = True
        for name in weighed.finding.qualifiers:
            out[name] = True
        if any(s.boost > 0 and s.state in ("boost", "cma") for s in weighed.finding.allowed):
            out["boost"] = True
        if "open" in states or "at-limit" in states:
            out["open"] = True
        if "highatomic" in [s.widest for s in weighed.finding.allowed] and len(weighed.possible) > 1:
            out["reserve_possible"] = True
    return out


def _of_kind(case: Case, out: Features) -> None:
    """Add what only one kind of event has."""
    if case.kind == "vmalloc_allocation_failure":
        out["vmalloc"] = _vmalloc_way(case)
        if case.vmalloc_reason is not None:
            out["vmalloc_reason"] = case.vmalloc_reason
        out["narrow"] = case.arch in ("i686", "i586", "i386", "armv7l")
    elif case.kind == "oom_kill":
        if case.oom_constraint is not None:
            out["oom_constraint"] = case.oom_constraint
        memcg = _sets().memcg
        if case.oom_constraint == "CONSTRAINT_MEMCG" or any(name.startswith(memcg) for name in case.functions):
            out["oom"] = "memcg"
        elif "pagefault_out_of_memory" in case.functions and not any(case.readings):
            out["oom"] = "page-fault"
    elif case.kind == "slab_allocation_failure" and case.follows is None and _group_of(case) is not None:
        out["memcg_cache"] = True


def _bounds(case: Case) -> tuple[int, int]:
    """Return the oldest and the newest version that the kernel can be; 0 as the newest is no bound."""
    if case.release is not None and (version := allocator.key(case.release)) > 0:
        return version, version
    return allocator.printed_bounds(case.memory, names=case.names, mask=case.mask is not None, period=case.period)


def _boots(case: Case) -> bool:
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


_RECLAIM = frozenset({"__GFP_WAIT", "__GFP_RECLAIM", "__GFP_DIRECT_RECLAIM", "__GFP_KSWAPD_RECLAIM"})


@cache
def _rules() -> dict[str, Any]:
    rules: dict[str, Any] = facts.load()["verdict"]
    return rules


@lru_cache(maxsize=2048)
def _cause(items: tuple[tuple[str, str | int | bool], ...]) -> dict[str, Any]:
    """Return the rule of the cause that holds for these features; a log's events differ in few of them."""
    return knowledge.first(_rules()["cause"], dict(items)) or {}


def _basic_values(case: Case) -> dict[str, str]:
    """Return the numbers of the request, for sentences."""
    out = {"comm": case.comm or "the task", "cache": case.cache or "(unknown)", "reason": case.vmalloc_reason or ""}
    if case.order is not None:
        out["order"] = str(case.order)
        if 0 <= case.order <= _MOST_ORDER:
            out["pages"] = grouped(1 << case.order)
            out["size"] = _block(case.order, case.memory.page_kb or 4)
            wanted = "pages" if case.memory.page_kb is None and case.arch in _LARGE_PAGES else "size"
            out["wanted"] = fill(_words()["text"]["wanted_" + wanted], out)
    if case.gfp_name is not None:
        out["gfp"] = case.gfp_name
    elif case.mask is not None:
        out["gfp"] = "mask " + case.mask
    if case.mask is not None:
        out["mask"] = case.mask
    if case.site is not None:
        out["site"] = case.site
    if case.stalled_ms is not None:
        out["stalled_ms"] = _digits(case.stalled_ms)
    return out


def _kind_values(case: Case, out: dict[str, str]) -> None:
    """Add what only one kind of event has."""
    text = _words()["text"]
    if case.kind == "vmalloc_allocation_failure":
        digits = case.vmalloc_bytes or ""
        out["bytes"] = _digits(digits) if digits else "a number of"
        if _beyond(digits, "9223372036854775808") and len(digits) <= 20:
            out["signed"] = _signed(digits)
        ram_kb = case.memory.totals.get("ram_pages", 0) * (case.memory.page_kb or 4)
        out["ram"] = fill(text["ram"], {"amount": size(ram_kb)}) if ram_kb else ""
        out["obtained"] = _digits(case.vmalloc_obtained or "0")
        out["got"] = fill(text["got"], {"bytes": out["obtained"]}) if case.vmalloc_obtained is not None else ""
        out["page_order"] = str(case.page_order)
    elif case.kind == "oom_kill":
        out["memcg_name"] = f" ({case.oom_memcg})" if case.oom_memcg is not None else ""
        out["limit"] = fill(text["limit"], {"amount": size(case.oom_limit_kb)}) if case.oom_limit_kb is not None else ""
        total = case.memory.totals.get("swap_total_kb", -1)
        free = case.memory.totals.get("swap_free_kb", 0)
        out["swap"] = ""
        if total == 0:
            out["swap"] = text["no_swap"]
        elif total > 0 and free > total // 2:
            out["swap"] = fill(text["much_swap"], {"amount": size(free)})
    elif case.kind == "slab_allocation_failure":
        out["memcg"] = _group_of(case) or ""


def _digits(digits: str) -> str:
    """Return digits with a comma before every three, however many they are."""
    out = digits[-3:]
    digits = digits[:-3]
    while digits:
        out = digits[-3:] + "," + out
        digits = digits[:-3]
    return out


def _zone_values(case: Case, weighed: _Weighed, text: str, out: dict[str, str]) -> None:
    """Add what the zones say, as far as the sentence ``text`` asks for it."""
    words = _words()["text"]
    finding = weighed.finding
    page_kb = weighed.page_kb
    if "{all}" in text:
        out["all"] = _join(weighed, None)
    if "{pieces}" in text:
        out["pieces"] = _join(weighed, _PIECES)
    if "{open}" in text:
        out["open"] = _join(weighed, ("open",))
    if "{short}" in text:
        short = [s for s in finding.allowed if s.state in _SHORT and _large(s)]
        zones = _phrases(weighed, short)
        out["short"] = fill(words["short"], {"zones": zones}) if zones else ""
    if "{above}" in text or "{elsewhere}" in text:
        pages = _elsewhere(case, page_kb)
        kb = pages * page_kb + sum(
            s.zone.get("free_kb", 0) for s in finding.zones if s.state in ("excluded-zone", "excluded-node")
        )
        least = sum(s.zone.get("min_kb", 0) for s in finding.allowed)
        told = kb > least and kb > 0
        out["above"] = fill(words["above"], {"amount": size(kb)}) if told else ""
        out["elsewhere"] = fill(words["elsewhere"], {"amount": size(kb)}) if told else ""
    out["confined"] = _words()["confined"][finding.place.zone]
    if "{nodes}" in text:
        out["nodes"] = case.nodemask if case.nodemask not in (None, "(null)") else case.mems_allowed or ""
        out["other_nodes"] = _phrases(weighed, [s for s in finding.zones if s.state == "excluded-node"])
    if "{fits}" in text or "{possible}" in text:
        known = [c for c in weighed.possible if c != "unknown"]
        out["possible"] = " or ".join(known)
        out["fits"] = fill(words["fits"], out) if len(known) > 1 else ""


def judge(case: Case) -> Judged:
    """Return the verdict on an event."""
    if case.may_sleep is None and case.context in ("softirq", "hardirq", "nmi"):
        case.may_sleep = False  # whatever the mask says, interrupts cannot
    reclaims = _reclaims(case)
    oldest, newest = _bounds(case)
    numa = any("node" in z for z in case.memory.zones)
    eras = allocator.eras(case.release, oldest, newest, numa=numa)
    weighed = None
    order = 0 if case.kind == "vmalloc_allocation_failure" else case.order
    low = _all_have(case, "__GFP_DMA") or _all_have(case, "__GFP_DMA32")
    seen = bool(case.memory.zones) or (low and "ram_pages" in case.memory.totals)
    if (
        seen
        and case.readings
        and order is not None
        and 0 <= order <= _MOST_ORDER
        and case.kind != "slab_allocation_failure"
    ):
        weighed = _weigh_all(case, order, eras, unmarked=_ignores_marks(case, reclaims=reclaims))
    features = _features(case, weighed, reclaims=reclaims)
    _of_kind(case, features)
    return _judged(case, features, weighed, eras, (oldest, newest), reclaims=reclaims)


def _inherited(case: Case, features: Features, values: dict[str, str]) -> Judged:
    """Return the verdict of a slab report: that of the page allocation failure before it, without remedies."""
    before = case.follows or {}
    out: dict[str, Any] = {"cause": before["cause"]}
    values["summary"] = before["summary"]
    out["summary"] = fill(_rules()["follows"], values)
    for name in (
        "zone_reclaim_mode",
        "zone_reclaim_reason",
        "severity",
        "severity_reason",
        "zones",
        "unknown",
        "qualifiers",
    ):
        if name in before:
            out[name] = before[name]
    features["cause"] = before["cause"]
    return Judged(out, features, values)


def _judged(
    case: Case,
    features: Features,
    weighed: _Weighed | None,
    eras: tuple[Era, ...],
    bounds: tuple[int, int],
    *,
    reclaims: bool,
) -> Judged:
    values = _basic_values(case)
    _kind_values(case, values)
    if case.follows is not None:
        return _inherited(case, features, values)
    if _boots(case):
        features["early"] = True
    rule = _cause(tuple(features.items()))
    features["cause"] = rule["value"]
    place = None if weighed is None else weighed.finding.place
    gave_up = _gave_up(case, eras, place, reclaims=reclaims)
    if weighed is not None:
        _zone_values(case, weighed, rule["summary"], values)
        values["unmarked"] = _words()["text"]["reclaiming" if reclaims else "memalloc"]
        _request_words(case, weighed, eras, gave_up, values)
        lacks = values.get("compact", "")
        if lacks and rule["value"] == "fragmentation":
            weighed.finding.qualifiers.append("cannot-compact")
    out: dict[str, Any] = {"cause": rule["value"], "summary": fill(rule["summary"], values)}
    if weighed is not None and weighed.finding.qualifiers and weighed.cause == weighed.finding.cause:
        out["qualifiers"] = weighed.finding.qualifiers
    look = _more_features(case, features, values, gave_up)
    oldest, newest = bounds
    advice = _advice(tuple(features.items()), case.release or "", oldest or _OLDEST, newest or _NEWEST, look)
    out["zone_reclaim_mode"] = advice.reclaim["value"]
    out["zone_reclaim_reason"] = fill(advice.reclaim["reason"], values)
    features["zone_reclaim"] = out["zone_reclaim_mode"]
    out["severity"] = features["severity"] = advice.severity["value"]
    out["severity_reason"] = fill(advice.severity["reason"], values)
    if advice.actions:
        out["remedies"] = advice.remedies
        out["actions"] = advice.actions
    if gave_up:
        words = _rules()["gave_up"]
        out["gave_up"] = [fill(words[name], values) for name in gave_up]
    if weighed is not None and weighed.finding.zones:
        out["zones"] = _zone_documents(weighed)
    unknown = _missing(case, weighed)
    if unknown:
        out["unknown"] = unknown
    return Judged(out, features, values)


def _request_words(
    case: Case, weighed: _Weighed, eras: tuple[Era, ...], gave_up: list[str], values: dict[str, str]
) -> None:
    """Add the half sentences that depend on the mask and the release."""
    text = _words()["text"]
    values["no_oom"] = text["no_oom"] if "low-zone" in gave_up else ""
    values["compact"] = values["since59"] = ""
    if case.may_sleep and case.readings and weighed.finding.ask.order > 0:
        lacks = "__GFP_IO" if not any("__GFP_IO" in flags for flags in case.readings) else ""
        if not lacks and all(e.compact_fs for e in eras) and not any("__GFP_FS" in flags for flags in case.readings):
            lacks = "__GFP_FS"
        if lacks:
            values["compact"] = fill(text["compact"], {"lacks": lacks})
    ask = weighed.finding.ask
    boosted = any(s.state == "boost" for s in weighed.finding.allowed)
    if boosted and ask.order == 0 and not ask.unboosted and _all_have(case, "__GFP_ATOMIC"):
        values["since59"] = text["since59"]


def _more_features(case: Case, features: Features, values: dict[str, str], gave_up: list[str]) -> str:
    """Add what severity, zone reclaim and remedies ask for; return where to look for the damage."""
    if ".el6" in (case.release or "") and _compacts(case):
        features["el6_compacts"] = True
    look = ""
    site = _site_of(case.kept)
    if site is not None:
        values["site_says"] = site.says
        look = site.look
        features["site_known"] = True
        if site.falls_back and (site.always or case.may_sleep is False or features["noretry"]):
            features["falls_back"] = True
    if case.after is not None:
        values["after"] = case.after
    features["receive"] = _receives(case.kept)
    features["suspend"] = "suspend" in gave_up
    features["boot"] = case.comm is not None and case.comm.startswith("swapper")
    features["low"] = _all_have(case, "__GFP_DMA") or _all_have(case, "__GFP_DMA32")
    if "order-loop" not in features:
        features["order-loop"] = False
    return look


def _compacts(case: Case) -> bool:
    """Whether RHEL 6's zone reclaim compacts for the request ([el6] mm/vmscan.c zone_reclaim_compact)."""
    return (
        len({z.get("node", 0) for z in case.memory.zones}) > 1
        and bool(case.may_sleep)
        and (case.order or 0) > 0
        and _all_have(case, "__GFP_FS")
        and _all_have(case, "__GFP_IO")
    )


def _missing(case: Case, weighed: _Weighed | None) -> list[str]:
    """Return the inputs that a firmer answer lacks."""
    words = _words()["unknown"]
    if weighed is None:
        out = [] if case.readings or case.kind == "slab_allocation_failure" else [words["request"]]
        return [*out, words["memory"]] if case.kind == "page_allocation_failure" and not case.memory.zones else out
    out = list(weighed.unknown)
    ask = weighed.finding.ask
    if ask.boost and any(
        s.state == "below" and s.boost == 0 and "boost_kb" not in s.zone for s in weighed.finding.allowed
    ):
        out.append(words["boost"])
    if (
        case.comm is not None
        and case.may_sleep
        and case.comm.startswith(_sets().realtime)
        and weighed.cause != "transient"
    ):
        out.append(words["realtime"])
    return out
