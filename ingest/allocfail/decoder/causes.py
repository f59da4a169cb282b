"""From zones to a cause: the decision over a request's zones, for every reading that a dump leaves open."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from allocfail.decoder import allocator
from allocfail.decoder.allocator import SMALL_KB, Ask, Era, Place, Standing
from allocfail.decoder.case import (
    MOST_ORDER,
    all_have,
    excludes_node,
    ignores_marks,
    is_reclaiming,
    is_victim,
    version_bounds,
)
from allocfail.decoder.knowledge import wording

if TYPE_CHECKING:
    from allocfail.decoder.case import Case

__all__ = ["PIECES", "SHORT", "Weighed", "Weighing", "is_large", "pages_elsewhere", "weigh"]

SHORT = ("lowmem-reserve", "cma", "highatomic", "boost", "below", "at-limit")


_PLAIN = ("lowmem-reserve", "below", "at-limit", "empty")


PIECES = ("no-block", "block-reserved", "order-loop")


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


@dataclass(slots=True)
class Weighed:
    """All readings of a dump together."""

    finding: _Finding
    cause: str
    unknown: list[str]
    possible: list[str]
    """The causes, where the readings differ."""
    mixed: list[bool]
    """Whether the readings differ on a zone's state."""
    page_kb: int


def _hides_zones(case: Case, finding: _Finding, page_kb: int) -> bool:
    """Whether the log was cut before the zone that the request would be served from first."""
    if case.complete or any(s.zone["name"] == finding.place.zone for s in finding.zones):
        return False
    return pages_elsewhere(case, page_kb) > 0


def pages_elsewhere(case: Case, page_kb: int) -> int:
    """Return how many pages are free in zones that the dump does not print."""
    total = case.memory.counters.get("free", 0)
    return max(0, total - sum(z.get("free_kb", 0) for z in case.memory.zones) // page_kb)


def _roomy(standing: Standing) -> bool:
    high = standing.zone.get("high_kb", 0)
    return high > 0 and standing.zone.get("free_kb", 0) > high


def is_large(standing: Standing) -> bool:
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
        elif any(s.managed and not _whole_list(s) for s in allowed) or _hides_zones(case, finding, page_kb):
            finding.cause = "unknown"
        else:
            pieces = order > 0 and any(s.usable_order >= 0 for s in allowed)
            finding.cause = "fragmentation" if pieces else "reserves-exhausted"
    elif _early(finding.zones):
        finding.cause = "early-boot"
    elif not any(s.managed for s in allowed):
        seen = (bool(finding.zones) or "ram_pages" in case.memory.totals) and not _hides_zones(case, finding, page_kb)
        finding.cause = "zone-empty" if seen else "unknown"
    elif "open" in states:
        finding.cause = "transient"
    elif "unknown" in states or _hides_zones(case, finding, page_kb):
        finding.cause = "unknown"
    elif _confined(case, finding, states, page_kb):
        finding.cause = "zone-limit"
    elif any(s.state == "excluded-node" and s.widest == "open" for s in finding.zones):
        finding.cause = "node-limit"
    elif order > 0 and any(s in PIECES for s in states):
        finding.cause = "fragmentation" if case.may_sleep else "atomic-fragmentation"
        _qualify(finding, states)
    else:
        finding.cause = _shortage(finding, states, may_sleep=bool(case.may_sleep))


def _whole_list(standing: Standing) -> bool:
    return "free_blocks" in standing.zone and not standing.zone.get("blocks_cut", False)


def _confined(case: Case, finding: _Finding, states: list[str], page_kb: int) -> bool:
    """Whether the request may only use low zones, all are short, and others have memory."""
    if finding.place.zone not in ("DMA", "DMA32") or not all(s in SHORT or s == "empty" for s in states):
        return False
    least = sum(s.zone.get("min_kb", 0) for s in finding.allowed) // page_kb
    return pages_elsewhere(case, page_kb) > least or any(_roomy(s) for s in finding.zones if s.state == "excluded-zone")


def _qualify(finding: _Finding, states: list[str]) -> None:
    """Add what kept the blocks that would have been large enough from the request."""
    order = finding.ask.order
    kept = letters = ""
    for at, state in enumerate(states):
        standing = finding.allowed[at]
        if state == "lowmem-reserve" and standing.usable_order >= order and is_large(standing):
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
    for at, state in enumerate(states):
        standing = finding.allowed[at]
        if state == "lowmem-reserve" and standing.free > 8 * standing.mark and is_large(standing):
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
        if "node" in zone and excludes_node(case, flags, zone["node"]):
            standing.allowed, standing.state, standing.widest = False, "excluded-node", standing.state
        elif unmarked and standing.state != "empty":
            standing.unmarked = True
            if standing.usable_order >= ask.order:
                standing.state = standing.widest = "open"
            elif not _whole_list(standing):
                standing.state = standing.widest = "unknown"
            elif standing.usable_order >= 0:
                standing.state = standing.widest = "block-reserved" if standing.letters else "no-block"
    return _Finding(zones, [s for s in zones if s.allowed], ask, place)


def _places(case: Case, ask: Ask, version: int) -> list[Place]:
    """Return where the request's highest zone may stand; what machine it is is looked for only where that matters."""
    memory = case.memory
    arch = case.arch if case.arch is not None and allocator.known_machine(case.arch) else ""
    found = allocator.places(memory, ask.zone, arch=arch, version=version)
    if len(found) > 1 and not arch:
        arch = allocator.machine(case.hardware, case.functions, case.trace_lines)
        found = allocator.places(memory, ask.zone, arch=arch, version=version)
    return found


def _weigh_all(case: Case, order: int, eras: tuple[Era, ...], *, unmarked: bool) -> Weighed:
    """Work out the zones for every reading that the dump leaves open.

    ``eras``: how the kernel may behave; ``unmarked``: the request may ignore watermarks.
    """
    memory = case.memory
    page_kb = memory.page_kb or 4
    version = 0 if case.release is None else allocator.key(case.release)
    findings: list[_Finding] = []
    unknown: list[str] = []
    reserve = node = False
    for printed in case.readings:
        flags = printed
        if case.kind == "vmalloc_allocation_failure" and "__GFP_DMA" not in flags and "__GFP_DMA32" not in flags:
            # Its pages may lie in HighMem, whatever the mask says ([4.8.15], [6.12.117] mm/vmalloc.c).
            flags = (*printed, "__GFP_HIGHMEM")
        for asked in allocator.asks(flags, order, eras):
            ask = asked
            if is_victim(case) and not unmarked:
                # Since 4.14 ALLOC_OOM instead of its own flags ([4.14.177], [6.12.117] mm/page_alloc.c).
                ask = asked._replace(halved=True, quartered=False, reserve=True)
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
    if len(findings) == 1 and "unknown" not in first.states and first.cause != "unknown":
        return Weighed(first, first.cause, [], [first.cause], [False for _ in first.zones], page_kb)
    causes = list(dict.fromkeys(f.cause for f in findings))
    mixed = [_differ(findings, i) for i in range(len(first.zones))]
    for finding in findings[1:]:
        first.qualifiers = [q for q in first.qualifiers if q in finding.qualifiers]
    words = wording()["unknown"]
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
    if _hides_zones(case, first, page_kb):
        unknown.append(words["zones"])
    if "unknown" in first.states:
        cut = any(s.zone.get("blocks_cut", False) for s in first.allowed)
        unknown.append(words["cut" if cut else "numbers"])
    return Weighed(first, causes[0] if len(causes) == 1 else "unknown", unknown, causes, mixed, page_kb)


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


@dataclass(slots=True)
class Weighing:
    """A case, weighed."""

    case: Case
    reclaims: bool
    """The task was reclaiming memory itself."""
    eras: tuple[Era, ...]
    """How the kernel may behave."""
    oldest: int
    newest: int
    """The versions that the kernel lies between; 0 where nothing bounds it."""
    weighed: Weighed | None
    """None where the dump has no zones, or the request is not known."""


def weigh(case: Case) -> Weighing:
    """Work out how each zone stood for the request of a case."""
    if case.may_sleep is None and case.interrupt:
        case.may_sleep = False  # whatever the mask says, interrupts cannot
    reclaims = is_reclaiming(case)
    oldest, newest = version_bounds(case)
    numa = any("node" in z for z in case.memory.zones)
    eras = allocator.eras(case.release, oldest, newest, numa=numa)
    weighed = None
    order = 0 if case.kind == "vmalloc_allocation_failure" else case.order
    low = all_have(case, "__GFP_DMA") or all_have(case, "__GFP_DMA32")
    seen = bool(case.memory.zones) or (low and "ram_pages" in case.memory.totals)
    known = bool(case.readings) and case.kind != "slab_allocation_failure"
    if seen and known and order is not None and 0 <= order <= MOST_ORDER:
        unmarked = ignores_marks(case, reclaims=reclaims, newest=newest)
        weighed = _weigh_all(case, order, eras, unmarked=unmarked)
    return Weighing(case, reclaims, eras, oldest, newest, weighed)
