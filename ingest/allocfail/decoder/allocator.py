"""How far a request may go into each zone of a dump: the page allocator's own arithmetic, by release.

What differs between releases is data, ``kb/facts/allocator.yml``; sources stand there. Everything counts in pages.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache, lru_cache
from typing import TYPE_CHECKING, NamedTuple

from allocfail import facts

if TYPE_CHECKING:
    from allocfail.decoder.memory import Memory, Zone

__all__ = [
    "NEAR",
    "SMALL_KB",
    "Ask",
    "Era",
    "Place",
    "Standing",
    "asks",
    "eras",
    "key",
    "known_machine",
    "machine",
    "places",
    "printed_bounds",
    "ranks",
    "stand",
]

#: A zone within so many pages of what a request needs is at its limit: zones are pinned there under pressure.
NEAR = 64
#: Pages of a pageblock of 4 kB pages where the machine has huge pages of 2 MB, and the largest there is.
_BLOCK = 512
_LARGEST_BLOCK = 1024
#: A zone larger than this has zones before it keep something from its requests, at any usual ratio.
_NOTICED_KB = 64 * 1024
#: Later than any version.
_NEWEST = 999_999_999
#: No reserve of later zones is worth mentioning in a zone as small as the PC's ZONE_DMA.
SMALL_KB = 16 * 1024


class Era(NamedTuple):
    """How kernels of one span behave; the fields are explained beside the rows of ``allocator.yml``."""

    harder: str
    extra: int
    cma: str
    highatomic: str
    free_highatomic: bool
    fast: bool
    boost: bool
    unboosted: str
    blocks: str
    high_blocks: str
    high_pages: bool
    compact_fs: bool
    no_low_oom: bool
    dump_core: bool
    repeat_pages: bool


class _Span(NamedTuple):
    since: int
    until: int
    era: Era


class _Branch(NamedTuple):
    series: int
    since: int
    era: Era


class _Tree(NamedTuple):
    mark: str
    base: int
    eras: tuple[Era, ...]


class _Eras(NamedTuple):
    spans: tuple[_Span, ...]
    branches: tuple[_Branch, ...]
    trees: tuple[_Tree, ...]
    not_trees: tuple[str, ...]


_VERSION = re.compile(r"v?([0-9]{1,2})\.([0-9]{1,3})(?:\.([0-9]{1,3}))?").match


def key(release: str) -> int:
    """Return a release as one number that compares, 0 where it does not begin with a version."""
    found = _VERSION(release)
    return 0 if found is None else _number(found[1], found[2], found[3] or "0")


def _number(major: str, minor: str, patch: str) -> int:
    return int(major) * 1_000_000 + int(minor) * 1_000 + int(patch)


@cache
def _eras() -> _Eras:
    data = facts.load()["allocator"]
    spans: list[_Span] = []
    row: dict[str, str | int | bool] = {}
    for change in data["eras"]:
        row = {**row, **{k: v for k, v in change.items() if k not in ("since", "until")}}
        # x.y holds all of its stable releases; in 2.6 the third number is the version.
        last = key(change["until"]) + (0 if change["until"].startswith("2.") else 999)
        spans.append(_Span(key(change["since"]), last, Era(**row)))  # type: ignore[arg-type]
    found = _Eras(tuple(spans), (), (), ())
    branches = []
    for change in data["branches"]:
        base = _of_key(found, key(change["series"]))[0]._asdict()
        changed = {**base, **{k: v for k, v in change.items() if k not in ("series", "since")}}
        branches.append(_Branch(key(change["series"]), key(change["since"]), Era(**changed)))
    trees = []
    for change in data["trees"]:
        base = _of_key(found, key(change["base"]))[0]._asdict()
        changed = {**base, **{k: v for k, v in change.items() if k not in ("mark", "base")}}
        trees.append(_Tree(change["mark"], key(change["base"]), (Era(**changed),)))
    trees += [
        _Tree(change["mark"], 0, tuple(_of_key(found, key(base))[0] for base in change["bases"]))
        for change in data["mixed"]
    ]
    return _Eras(tuple(spans), tuple(branches), tuple(trees), tuple(data["not_trees"]))


def _of_key(known: _Eras, at: int) -> list[Era]:
    """Return the era of a version, or the two that it lies between."""
    found: list[Era] = []
    for span in known.spans:
        if span.since > at:
            if not found:
                found.append(span.era)
            elif known.spans[len(found) - 1].until < at:
                return [found[-1], span.era]
            break
        found.append(span.era)
    return found[-1:]


@lru_cache(maxsize=256)
def eras(release: str | None, low: int = 0, high: int = 0, *, numa: bool = True) -> tuple[Era, ...]:
    """Return how a kernel behaves: one era where that is known, else all that it may be.

    ``low`` and ``high`` bound the version (see :func:`key`) where ``release`` is None; 0 is no bound. ``numa``: it may
    be a distribution's, all of which name their zones' nodes.
    """
    known = _eras()
    at = 0 if release is None else key(release)
    if release is None or at == 0:
        high = high or _NEWEST
        found = [s.era for s in known.spans if s.until >= low and s.since <= high]
        if numa:
            found += [e for tree in known.trees if low <= tree.base <= high and tree.base > 0 for e in tree.eras]
        return tuple(dict.fromkeys(found))
    if not any(mark in release for mark in known.not_trees):
        for tree in known.trees:
            if tree.mark in release:
                return tree.eras
    found = _of_key(known, at)
    for branch in known.branches:
        if branch.series <= at < branch.series + 1000:
            found = [branch.era] if at >= branch.since else [*found, branch.era]
    return tuple(dict.fromkeys(found))


@cache
def _printed() -> dict[str, int]:
    printed: dict[str, str] = facts.load()["allocator"]["printed"]
    return {name: key(since) for name, since in printed.items()}


@cache
def _printed_until() -> dict[str, int]:
    printed: dict[str, str] = facts.load()["allocator"]["printed_until"]
    return {name: key(until) + (0 if until.startswith("2.") else 999) for name, until in printed.items()}


def printed_bounds(memory: Memory, *, names: bool, mask: bool, period: bool) -> tuple[int, int]:
    """Return the oldest and the newest version that can have printed a dump, 0 where nothing says.

    ``names``: the header spells the mask; ``mask``: it prints one; ``period``: it says ``failure.``, not ``failure:``.
    """
    low = _printed()["names"] if names else 0
    lettered = listed = False
    for zone in memory.zones:
        lettered = lettered or "block_types" in zone
        listed = listed or zone.get("largest_free_order", -1) >= 0
        for name, since in _printed().items():
            if name in zone and since > low:
                low = since
    until = _printed_until()
    if period and low == 0:
        return low, until["period"]
    if listed and not lettered and low < until["no_letters"]:
        return low, until["no_letters"]
    return (low, until["no_names"]) if mask and not names and low < until["no_names"] else (low, 0)


class Ask(NamedTuple):
    """What a request asks for, and what one kernel lets it have."""

    order: int
    zone: str
    """The highest zone it may use, by its mask."""
    halved: bool
    quartered: bool
    reserve: bool
    """Pages of the highatomic reserve count for it."""
    cma: bool
    """Free CMA pages count for it."""
    unboosted: bool
    letters: str
    """The migrate types it may take a block of."""
    extra: int
    first: bool
    """Only the first comparison leaves CMA pages out."""
    free_highatomic: bool
    fast: bool
    boost: bool
    blocks: str


@lru_cache(maxsize=1024)
def asks(flags: tuple[str, ...], order: int, known: tuple[Era, ...]) -> tuple[Ask, ...]:
    """Return what a request with these flags may have on each of these eras, what is alike once."""
    return tuple(dict.fromkeys(_ask(flags, order, era) for era in known))


def _ask(flags: tuple[str, ...], order: int, era: Era) -> Ask:
    """Follow gfp_to_alloc_flags() and the watermark checks of ``era``."""
    high = "__GFP_HIGH" in flags
    block = "__GFP_WAIT" in flags or "__GFP_DIRECT_RECLAIM" in flags
    saving = "__GFP_NOMEMALLOC" in flags
    atomic = "__GFP_ATOMIC" in flags
    free = not block and not saving
    if era.harder == "wait":
        harder = not block
    elif era.harder == "wait-mem":
        harder = free
    elif era.harder == "kswapd":
        harder = free and "__GFP_NO_KSWAPD" not in flags
    elif era.harder == "atomic":
        harder = atomic and not saving
    else:
        harder = high and free
    nonblock = era.high_blocks == "nonblock" and free
    first = era.high_blocks == "high" and free and high
    letters = "UMERC" if "__GFP_MOVABLE" in flags else "UMER"
    if (era.high_pages and free) if order == 0 else (nonblock or first or (era.high_blocks == "harder" and harder)):
        letters += "H"
    return Ask(
        order=order,
        zone=_highest(flags),
        halved=high,
        quartered=harder,
        reserve=era.highatomic == "none" or (harder if era.highatomic == "harder" else high or free),
        cma="__GFP_MOVABLE" in flags or era.cma == "counted",
        unboosted=order == 0 and ((era.unboosted == "atomic" and atomic) or (era.unboosted == "high" and high)),
        letters=letters,
        extra=era.extra,
        first=era.cma == "first",
        free_highatomic=era.free_highatomic,
        fast=era.fast,
        boost=era.boost,
        blocks=era.blocks,
    )


def _highest(flags: tuple[str, ...]) -> str:
    if "__GFP_DMA" in flags:
        return "DMA"
    if "__GFP_DMA32" in flags:
        return "DMA32"
    if "__GFP_HIGHMEM" in flags:
        return "Movable" if "__GFP_MOVABLE" in flags else "HighMem"
    return "Normal"


class Place(NamedTuple):
    """Where a request's highest zone stands on a machine."""

    column: int
    """Of ``lowmem_reserve[]``; -1 where the configured zones are not known."""
    zone: str


@cache
def _zones() -> tuple[str, ...]:
    return tuple(facts.load()["allocator"]["zones"])


@cache
def ranks() -> dict[str, int]:
    """Return the zones by address, each with its place."""
    return {name: place for place, name in enumerate(_zones())}


@cache
def _layouts() -> dict[str, tuple[tuple[str, ...], ...]]:
    layouts: dict[str, list[list[str]]] = facts.load()["allocator"]["layouts"]
    found = {name: tuple(tuple(zones) for zones in rows) for name, rows in layouts.items()}
    found[""] = tuple(dict.fromkeys(zones for rows in found.values() for zones in rows))
    return found


@cache
def _layout_of() -> dict[str, str]:
    layout_of: dict[str, str] = facts.load()["allocator"]["layout_of"]
    return layout_of


class _Old(NamedTuple):
    until: int
    zones: tuple[str, ...]


@cache
def _old_layouts() -> tuple[_Old, ...]:
    return tuple(_Old(key(row["until"]), tuple(row["zones"])) for row in facts.load()["allocator"]["old_layouts"])


@lru_cache(maxsize=256)
def _fitting(arch: str, version: int, count: int, names: tuple[str, ...]) -> tuple[tuple[str, ...], ...]:
    """Return the sets of configured zones that a machine may have whose reserves have ``count`` entries."""
    for old in _old_layouts():
        if 0 < version <= old.until and count in (0, len(old.zones)):
            return (old.zones,)
    for rows in (_layouts()[_layout_of().get(arch, "")], _layouts()[""]):
        found = tuple(r for r in rows if count in (0, len(r)) and all(name in r for name in names))
        if found:
            return found
    return ()


def places(memory: Memory, highest: str, *, arch: str, version: int) -> list[Place]:
    """Return where a request whose mask names ``highest`` ends, as many as the machine leaves open."""
    count = 0
    names: list[str] = []
    for zone in memory.zones:
        count = max(count, len(zone.get("reserve_pages", ())))
        if zone["name"] not in names and zone["name"] in _zones():
            names.append(zone["name"])
    if "HighMem" not in names and "DMA32" not in names and arch in ("", "32") and memory.totals.get("highmem_pages", 0):
        # HighMem itself is not printed for a request that may not use it (6.1 and later).
        names.append("HighMem")
    found: list[Place] = []
    fitting = _fitting(arch, version, count, tuple(names))
    for layout in fitting:
        if len(fitting) > 1 and not _agrees(memory, layout):
            continue
        place = _place(layout, highest)
        if place not in found:
            found.append(place)
    if not found:
        found.append(
            _place((*_zones(),), highest)._replace(column=-1) if not names else Place(-1, _capped(names, highest))
        )
    return found


def _place(layout: tuple[str, ...], highest: str) -> Place:
    if highest == "Movable" and highest not in layout:
        highest = "HighMem"
    # A zone that is not configured is replaced by Normal, not by the next one (GFP_ZONE_TABLE, OPT_ZONE_*).
    if highest not in layout:
        highest = "Normal"
    return Place(layout.index(highest), highest)


def _capped(names: list[str], highest: str) -> str:
    return highest if highest in names or highest == "Movable" else "Normal"


def _agrees(memory: Memory, layout: tuple[str, ...]) -> bool:
    """Whether the reserves fit: a zone keeps nothing from requests that end in it, something from those behind."""
    filled = [z["name"] for z in memory.zones if z.get("managed_kb", z.get("present_kb", 0)) > _NOTICED_KB]
    for zone in memory.zones:
        reserves = zone.get("reserve_pages", [])
        if zone["name"] not in layout or not any(reserves):
            continue
        at = layout.index(zone["name"])
        for column, pages in enumerate(reserves):
            if pages > 0 and column <= at:
                return False
            if pages == 0 and column > at and layout[column] in filled:
                return False
    return True


@cache
def _hardware() -> dict[str, str]:
    hardware: dict[str, str] = facts.load()["allocator"]["hardware"]
    return hardware


@cache
def _frames() -> dict[str, str]:
    frames: dict[str, str] = facts.load()["allocator"]["frames"]
    return frames


_ADDRESS = re.compile(r"\[<?([0-9a-f]{8,16})>?\]").search


def known_machine(arch: str) -> bool:
    """Whether the zones of a machine (``uname -m``) are known."""
    return arch in _layout_of()


def machine(hardware: str | None, functions: tuple[str, ...], lines: list[str]) -> str:
    """Return the machine, from the hardware's name, else from frames; ``32`` where only the width shows.

    Empty where nothing tells.
    """
    for word, name in _hardware().items():
        if hardware is not None and word in hardware:
            return name
    for function in reversed(functions):
        if function in _frames():
            return _frames()[function]
    for line in lines:
        found = _ADDRESS(line)
        if found is not None:
            return "32" if len(found[1]) == 8 else ""
    return ""


@dataclass(slots=True)
class Standing:
    """How one zone stood for one request, in pages."""

    zone: Zone
    state: str
    widest: str
    """The state if the reserve that was not printed is as large as can be; else the same. Of a node that the request
    may not use, the state that the zone would have."""
    allowed: bool = True
    avail: int = 0
    need: int = 0
    mark: int = 0
    reserve: int = 0
    free: int = 0
    cma: int = 0
    boost: int = 0
    unboosted_mark: int = 0
    """The mark without the boost."""
    held: int = 0
    """Of the highatomic reserve, what the request may not use, at least."""
    shown: int = 0
    """``avail``, a reserve that the dump does not print left in."""
    usable_order: int = -1
    letters: str = ""
    """Types of the blocks that would be large enough and may not be used."""
    managed: bool = True
    unmarked: bool = False
    """No mark counts for the request."""
    loop_order: int = -1
    """Where the test of blocks before 4.4 failed: so many pages in blocks above it, against so many wanted."""
    loop_pages: int = 0
    loop_need: int = 0


def _mark(least: int, ask_: Ask) -> int:
    if ask_.halved:
        least -= least // 2
    return least - least // 4 if ask_.quartered else least


def _boost(zone: Zone, ask_: Ask, page_kb: int) -> int:
    """Return by how much ``min`` is raised: as printed, or (5.0 to 5.15) at least, from the distance to ``low``."""
    if "boost_kb" in zone:
        return zone["boost_kb"] // page_kb
    if not ask_.boost or zone["name"] in ("HighMem", "Movable") or "low_kb" not in zone:
        return 0
    least = zone["min_kb"] // page_kb
    return max(0, least - 4 * (zone["low_kb"] // page_kb - least) - 3)


def stand(zone: Zone, ask_: Ask, place: Place, page_kb: int, ram_pages: int) -> Standing:
    """Work out how a zone stands for a request that may use it.

    ``ram_pages``: of the machine, for a zone whose size the dump does not print.
    """
    standing = Standing(zone, "unknown", "unknown")
    free_kb = zone.get("free_kb")
    min_kb = zone.get("min_kb")
    if free_kb is None or min_kb is None or free_kb < 0:
        return standing
    managed_kb = zone.get("managed_kb", zone.get("present_kb", -1))
    standing.managed = managed_kb > 0 or (managed_kb < 0 and (free_kb > 0 or min_kb > 0))
    if managed_kb == 0 or (free_kb == 0 and min_kb == 0):
        standing.state = standing.widest = "empty"
        return standing
    order = ask_.order
    least = min_kb // page_kb
    standing.free = free_kb // page_kb
    standing.boost = _boost(zone, ask_, page_kb)
    standing.unboosted_mark = _mark(max(0, least - standing.boost), ask_)
    standing.mark = standing.unboosted_mark if ask_.unboosted else _mark(least, ask_)
    reserves = zone.get("reserve_pages", [])
    known = 0 <= place.column < len(reserves) or zone["name"] == place.zone
    if place.column >= 0 and place.column < len(reserves):
        standing.reserve = reserves[place.column]
    standing.cma = 0 if ask_.cma else zone.get("free_cma_kb", 0) // page_kb
    most = 0
    if not ask_.reserve:
        standing.held, most = _held(zone, ask_, page_kb, managed_kb // page_kb if managed_kb > 0 else ram_pages)
    standing.need = standing.mark + standing.reserve
    widest = standing.free - (1 << order) - ask_.extra - standing.cma - most
    standing.avail = widest + most - standing.held
    met = standing.avail > standing.need
    if order == 0 and ask_.fast and widest <= standing.need and standing.free - standing.cma > least + standing.reserve:
        # Order 0 is tried first against the whole mark, without the reserve.
        standing.avail, standing.mark, met = standing.free - standing.cma, least, True
        standing.need = least + standing.reserve
        widest, standing.held, most = standing.avail, 0, 0
    printed = "reserved_highatomic_kb" in zone or "free_highatomic_kb" in zone
    standing.shown = standing.avail if printed else standing.avail + standing.held
    _blocks(standing, zone, ask_)
    if not met:
        standing.state = _short(standing, standing.avail, standing.held)
        if not known and standing.state == "below" and standing.avail > standing.mark:
            standing.state = "unknown"
        standing.widest = standing.state
    elif not known:
        standing.state = standing.widest = "unknown"
    else:
        standing.state = standing.widest = _block_state(standing, zone, ask_)
        if standing.state in ("open", "at-limit") and widest <= standing.need:
            standing.widest = _short(standing, widest, most)
    return standing


def _held(zone: Zone, ask_: Ask, page_kb: int, managed: int) -> tuple[int, int]:
    """Return how many pages of the highatomic reserve are not to be counted, at least and at most."""
    if "free_highatomic_kb" in zone:
        pages = zone["free_highatomic_kb"] // page_kb
        return pages, pages
    if "reserved_highatomic_kb" in zone:
        pages = zone["reserved_highatomic_kb"] // page_kb
        return 0 if ask_.free_highatomic else pages, pages
    # Whole pageblocks are added while it holds less than a hundredth of the zone and one more.
    least = _BLOCK if any("H" in letters for letters in zone.get("block_types", [])) else 0
    return least, max(least, managed // 100 + 2 * _LARGEST_BLOCK - 1)


def _short(standing: Standing, avail: int, held: int) -> str:
    """Return why the free pages do not suffice: what would have made them."""
    if avail > standing.mark:
        return "lowmem-reserve"
    if avail + standing.cma > standing.need:
        return "cma"
    if avail + held > standing.need:
        return "highatomic"
    if standing.boost > 0 and avail > standing.unboosted_mark + standing.reserve:
        return "boost"
    return "below"


def _blocks(standing: Standing, zone: Zone, ask_: Ask) -> None:
    """Find the largest block that the request may take, and the types of larger ones that it may not."""
    counts = zone.get("free_blocks", [])
    types = zone.get("block_types")
    at = len(counts) - 1
    while at >= 0:
        if counts[at] > 0:
            if types is None or any(letter in ask_.letters for letter in types[at]):
                standing.usable_order = at
                return
            if at >= ask_.order:
                standing.letters += "".join(letter for letter in types[at] if letter not in standing.letters)
        at -= 1


def _block_state(standing: Standing, zone: Zone, ask_: Ask) -> str:
    """Return the state of a zone whose free pages suffice."""
    order = ask_.order
    if "free_blocks" not in zone:
        return "open" if order == 0 else "unknown"
    if standing.usable_order < order:
        if zone.get("blocks_cut", False):
            return "unknown"
        return "block-reserved" if standing.letters else "no-block"
    if order == 0:
        return "at-limit" if standing.avail <= standing.need + NEAR else "open"
    if ask_.blocks != "lists" and not _loop(standing, zone["free_blocks"], ask_):
        return "order-loop"
    return "open"


def _loop(standing: Standing, counts: list[int], ask_: Ask) -> bool:
    """Whether enough of the free pages lie in blocks of every smaller order's excess (before 4.4)."""
    left = standing.avail + (standing.cma if ask_.first else 0)
    wanted = 0 if ask_.blocks == "el6" else standing.mark
    for order in range(min(ask_.order, len(counts))):
        left -= counts[order] << order
        wanted >>= 1
        if left <= wanted:
            standing.loop_order, standing.loop_pages, standing.loop_need = order, left, wanted
            return False
    return True
