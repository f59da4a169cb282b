"""What Mem-Info says: zones, free lists, nodes and totals.

Formats: mm/page_alloc.c show_free_areas and mm/show_mem.c and lib/show_mem.c,
2.6.12 to 7.3-rc7. Numbers of ``kB`` stay kilobytes, numbers without stay pages, as printed.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from functools import cache
from typing import TypedDict

from allocfail import facts

__all__ = ["Memory", "MemoryLines", "Zone", "is_memory_line", "read_memory", "starts_memory"]

#: Counters and lists longer than this are no kernel's (a hostile line).
_MOST = 64
#: More digits than this are no count of pages or kilobytes; sums and thousandths of them still fit 63 bits.
_DIGITS = 15


class Zone(TypedDict, total=False):
    """One zone, in the terms of ``allocfail.memory.zones[]``."""

    node: int
    name: str
    free_kb: int
    min_kb: int
    low_kb: int
    high_kb: int
    present_kb: int
    managed_kb: int
    boost_kb: int
    reserved_highatomic_kb: int
    free_highatomic_kb: int
    free_cma_kb: int
    reserve_pages: list[int]
    free_blocks: list[int]
    block_types: list[str]
    """Letters of the migrate types in each list, by order; absent where the kernel prints none (before 3.8)."""
    blocks_cut: bool
    """The list ends before its sum: nothing follows from what is missing in it."""
    largest_free_order: int


@dataclass(slots=True)
class Memory:
    """Everything read from one Mem-Info block."""

    zones: list[Zone] = field(default_factory=list)
    nodes: list[dict[str, int | bool]] = field(default_factory=list)
    totals: dict[str, int] = field(default_factory=dict)
    counters: dict[str, int] = field(default_factory=dict)
    allocations: list[dict[str, str | int]] = field(default_factory=list)
    page_kb: int | None = None


@dataclass(slots=True)
class MemoryLines:
    """The lines of a Mem-Info block."""

    lines: list[str] = field(default_factory=list)
    started: bool = False
    whole: bool = False
    """The block's last lines were seen."""

    def add(self, text: str) -> None:
        """Take one line."""
        self.lines.append(text)
        if starts_memory(text):
            self.started = True
        elif not self.whole and _NUMBER(text):
            end = number(text, 0)[1]
            self.whole = text.startswith(_ends()[1], end)


def starts_memory(text: str) -> bool:
    """Whether a line begins the block."""
    return text in ("Mem-Info:", "Mem-info:")


_NUMBER = re.compile(r"-?[0-9]+", re.ASCII).match
_BLOCK = re.compile(
    rf"(-?[0-9]{{1,{_DIGITS}}})[*_](-?[0-9]{{1,{_DIGITS}}})kB(?:.(?:\(([^)]*)\).?)?)?", re.ASCII | re.DOTALL
).match

_RESERVES = re.compile(rf"(?: *[0-9]{{1,{_DIGITS}}}(?![0-9]))*", re.ASCII).match

# Migrate types (mm/page_alloc.c, mm/show_mem.c show_migration_types): unmovable, movable, reclaimable, CMA and others.
_LETTERS = re.compile(r"[A-Z]{1,8}", re.ASCII).fullmatch

#: Free lists of eleven orders, as most machines have, in one go: the same reading as block by block.
_LIST = re.compile(
    r" ".join([rf"([0-9]{{1,{_DIGITS}}})\*([0-9]{{1,{_DIGITS}}})kB(?: \(([A-Z]{{1,8}})\))?"] * 11) + r" = [0-9]+kB$",
    re.ASCII,
).match


def _free_list(text: str, at: int) -> tuple[list[int], list[str], int, bool]:
    """Read a zone's free lists from ``at`` on: counts, letters, the first block's size, and whether all are there."""
    counts: list[int] = []
    types: list[str] = []
    found = _LIST(text, at)
    if found is not None:
        for order in range(11):
            counts.append(int(found[3 * order + 1]))
            letters = found[3 * order + 3]
            types.append("" if letters is None else letters)
        return counts, types, int(found[2]), True
    first_kb = 0
    block = _BLOCK(text, at)
    while block is not None and len(counts) < _MOST:
        if not counts:
            first_kb = int(block[2])
        counts.append(int(block[1]))
        typed = _LETTERS(block[3] or "")
        types.append(typed[0] if typed is not None else "")
        at = block.end()
        block = _BLOCK(text, at)
    return counts, types, first_kb, text.startswith("= ", at)


#: Asterisks that Markdown took for emphasis.
_EATEN = re.compile(r": -?[0-9]+_[0-9]+kB ").search

# A node's line as every kernel prints it, in one go: the same reading as the walk in _node, where all is in its place.
_NODE = re.compile(
    rf"(?:[A-Za-z_]+(?:\([a-z]+\))?: ?[0-9]{{1,{_DIGITS}}}(?:kB)? )+all_unreclaimable\? (?:yes|no)", re.ASCII
).fullmatch
_NODE_FIELDS = re.compile(r"([A-Za-z_]+)(?:\(([a-z]+)\))?: ?([0-9]+)kB", re.ASCII).findall


def number(text: str, at: int) -> tuple[int | None, int]:
    """Read a decimal number at ``at``: its value (None if none is there, or it is no kernel's), the index behind."""
    found = _NUMBER(text, at)
    if found is None:
        return None, at + 1 if text.startswith("-", at) else at
    end = found.end()
    if end - at > _DIGITS and end - at - (1 if text.startswith("-", at) else 0) > _DIGITS:
        return None, end
    return int(found[0]), end


def field_kb(text: str, word: str) -> int | None:
    """Return N of ``word:NkB`` or ``word: NkB``, the first that stands behind a blank; None if there is none."""
    at = text.find(word)
    if at < 0:
        return None
    at += len(word)
    while text.startswith(" ", at):
        at += 1
    value, end = number(text, at)
    return value if text.startswith(("kB", "KB"), end) else None


# The fields every kernel prints first, in one go: the same reading as one by one, where all is in its place.
_MARKS = re.compile(
    rf" free:([0-9]{{1,{_DIGITS}}})kB(?: boost:([0-9]{{1,{_DIGITS}}})kB)? min:([0-9]{{1,{_DIGITS}}})kB"
    rf" low:([0-9]{{1,{_DIGITS}}})kB high:([0-9]{{1,{_DIGITS}}})kB(?: reserved_highatomic:([0-9]{{1,{_DIGITS}}})[kK]B)?"
    rf"(?: free_highatomic:([0-9]{{1,{_DIGITS}}})[kK]B)?",
    re.ASCII,
).match


def _separate_marks(zone: Zone, text: str) -> None:
    """Read a zone's first fields one by one: some are missing, cut or not numbers."""
    if (value := field_kb(text, " free:")) is not None:
        zone["free_kb"] = value
    if (value := field_kb(text, " min:")) is not None:
        zone["min_kb"] = value
    if (value := field_kb(text, " low:")) is not None:
        zone["low_kb"] = value
    if (value := field_kb(text, " high:")) is not None:
        zone["high_kb"] = value
    if (value := field_kb(text, " boost:")) is not None:
        zone["boost_kb"] = value
    if (value := field_kb(text, " reserved_highatomic:")) is not None:
        zone["reserved_highatomic_kb"] = value
    if (value := field_kb(text, " free_highatomic:")) is not None:
        zone["free_highatomic_kb"] = value


@cache
def _ends() -> tuple[tuple[str, ...], tuple[str, ...]]:
    wording = facts.load()["wording"]
    return tuple(wording["memory_end"]), tuple(wording["memory_whole"])


@cache
def _starts() -> tuple[str, ...]:
    return tuple(facts.load()["wording"]["memory_start"])


def is_memory_line(text: str) -> bool:
    """Whether a line can be one of the block's, behind its first."""
    if not text:
        return False
    if text.startswith(_starts()):
        return True
    first = text[0]
    if "0" <= first <= "9":
        at = 0
        while at < len(text) and "0" <= text[at] <= "9":
            at += 1
        if text.startswith((" pages", " total pagecache pages", " reserved pages"), at):
            return True
        return " func:" in text
    if " func:" in text:
        return True
    # A zone's own line, its free list, or its per-cpu list.
    colon = text.find(":")
    if colon <= 0:
        space = text.find(" ")
        return space > 0 and text.startswith(("free:", "per-cpu:"), space + 1)
    return (
        text.startswith(" free:", colon - 5)
        or text.endswith((" per-cpu:", "per-cpu: empty"))
        or (
            text.startswith(": ", colon)
            and (text.endswith(("kB", ": empty")) and ("*" in text or "empty" in text or _EATEN(text) is not None))
        )
    )


@cache
def _totals() -> dict[str, str]:
    totals: dict[str, str] = facts.load()["memory"]["totals"]
    return totals


def read_memory(lines: list[str]) -> Memory:
    """Return what the lines of a block say."""
    builder = MemoryBuilder()
    for line in lines:
        builder.add(line)
    if builder.memory.page_kb is None:
        builder.memory.page_kb = _page_of_sums(builder.memory)
    return builder.memory


#: Sizes of a page, in kB, smallest first: arch/*/Kconfig of 6.12.
_PAGES = (4, 8, 16, 64, 256)


def _page_of_sums(memory: Memory) -> int | None:
    """Return the size of a page where no free list says it: the zones' kilobytes against the same memory in pages.

    None where it may be the usual 4 kB: zones may be missing, so the sums only show that pages are larger.
    """
    pages = memory.counters.get("free", 0)
    free_kb = sum(zone.get("free_kb", 0) for zone in memory.zones)
    # The counters are read one after another, so that the sums differ a little.
    if pages <= 0 or free_kb * 10 <= pages * _PAGES[0] * 11:
        return None
    for page_kb in _PAGES:
        if free_kb * 10 <= pages * page_kb * 11:
            return page_kb
    return None


class MemoryBuilder:
    """Takes the block's lines one after another."""

    __slots__ = ("_allocations", "memory")

    def __init__(self) -> None:
        """Begin an empty block."""
        self.memory = Memory()
        self._allocations = False

    def add(self, text: str) -> None:
        """Read one line; what it does not know it passes over."""
        if starts_memory(text):
            return
        node: int | None = None
        rest = text
        if text.startswith("Node "):
            node, end = number(text, 5)
            if node is None or not text.startswith(" ", end):
                return
            rest = text[end + 1 :]
            if rest.startswith(("active_anon:", "inactive_anon:", "hugepages_total=")):
                self._node(node, rest)
                return
        if " free:" in rest and " min:" in rest:
            self._zone(node, rest)
        elif rest.startswith(("lowmem_reserve[]:", "protections[]:")):
            self._reserve(rest)
        elif "kB" in rest and ("*" in rest or _EATEN(rest)):
            self._blocks(node, rest)
        elif " func:" in rest:
            self._allocation(rest)
        elif rest and "0" <= rest[0] <= "9":
            self._total(rest)
        elif rest.startswith(("Free swap", "Total swap")):
            self._swap(rest)
        elif rest.startswith("Memory allocations"):
            self._allocations = True
        elif ":" in rest and "kB" not in rest and "per-cpu" not in rest and not rest.startswith(("CPU ", "cpu ")):
            self._counters(rest)

    def _zone(self, node: int | None, text: str) -> None:
        at = text.find(" free:")
        name = text[:at]
        if not name or " " in name or len(self.memory.zones) >= _MOST * 16:
            return
        zone: Zone = {}
        if node is not None:
            zone["node"] = node
        zone["name"] = name
        marks = _MARKS(text, at)
        if marks is not None:
            zone["free_kb"] = int(marks[1])
            zone["min_kb"] = int(marks[3])
            zone["low_kb"] = int(marks[4])
            zone["high_kb"] = int(marks[5])
            if marks[2] is not None:
                zone["boost_kb"] = int(marks[2])
            if marks[6] is not None:
                zone["reserved_highatomic_kb"] = int(marks[6])
            if marks[7] is not None:
                zone["free_highatomic_kb"] = int(marks[7])
        else:
            _separate_marks(zone, text)
        if (value := field_kb(text, " present:")) is not None:
            zone["present_kb"] = value
        if (value := field_kb(text, " managed:")) is not None:
            zone["managed_kb"] = value
        if (value := field_kb(text, " free_cma:")) is not None:
            zone["free_cma_kb"] = value
        self.memory.zones.append(zone)

    def _reserve(self, text: str) -> None:
        if not self.memory.zones or "reserve_pages" in self.memory.zones[-1]:
            return
        found = _RESERVES(text, text.find(":") + 1)
        pages = [] if found is None else [int(digits) for digits in found[0].split(" ") if digits][:_MOST]
        if pages:
            self.memory.zones[-1]["reserve_pages"] = pages

    def _blocks(self, node: int | None, text: str) -> None:
        colon = text.find(": ")
        name = text[:colon]
        if colon <= 0 or " " in name:
            return
        counts, types, first_kb, whole = _free_list(text, colon + 2)
        if not counts:
            return
        if self.memory.page_kb is None:
            self.memory.page_kb = first_kb
        zone = self._zone_of(node, name)
        if zone is None:
            return
        zone["free_blocks"] = counts
        if any(types):
            zone["block_types"] = types
        if not whole:
            zone["blocks_cut"] = True
        for order in range(len(counts) - 1, -1, -1):
            if counts[order] > 0:
                zone["largest_free_order"] = order
                break

    def _zone_of(self, node: int | None, name: str) -> Zone | None:
        """Return the zone that a free list is of, made where its line is missing; None where there are too many."""
        for zone in self.memory.zones:
            if zone["name"] == name and zone.get("node") == node and "free_blocks" not in zone:
                return zone
        if len(self.memory.zones) >= _MOST * 16:
            return None
        made: Zone = {} if node is None else {"node": node}
        made["name"] = name
        self.memory.zones.append(made)
        return made

    def _node(self, node: int, text: str) -> None:
        if len(self.memory.nodes) >= _MOST * 16 or text.startswith("hugepages_total="):
            return
        values: dict[str, int | bool] = {"node": node}
        if _NODE(text) and len(fields := _NODE_FIELDS(text)) < _MOST:
            for name, part, digits in fields:
                values[f"{name}_{part}_kb" if part else name + "_kb"] = int(digits)
            values["all_unreclaimable"] = text.endswith("yes")
            self.memory.nodes.append(values)
            return
        at = 0
        size = len(text)
        while at < size and len(values) < _MOST:
            colon = text.find(":", at)
            if colon < 0:
                break
            name = text[at:colon].replace("(", "_").replace(")", "")
            at = colon + 1
            if text.startswith(" ", at):
                at += 1
            value, end = number(text, at)
            if value is not None and text.startswith("kB", end) and name and " " not in name:
                values[name + "_kb"] = value
            at = text.find(" ", end)
            if at < 0:
                break
            at += 1
        where = text.find("all_unreclaimable? ")
        if where >= 0:
            values["all_unreclaimable"] = text.startswith("yes", where + 19)
        self.memory.nodes.append(values)

    def _total(self, text: str) -> None:
        value, end = number(text, 0)
        if value is None:
            return
        rest = text[end:]
        totals = self.memory.totals
        name = _totals().get(rest)
        if name is not None:
            totals.setdefault(name, value)

    def _swap(self, text: str) -> None:
        at = 9 if text.startswith("Free swap") else 10
        while at < len(text) and text[at] in " =:":
            at += 1
        value, end = number(text, at)
        if value is not None and text.startswith("kB", end):
            self.memory.totals.setdefault("swap_free_kb" if text.startswith("F") else "swap_total_kb", value)

    def _counters(self, text: str) -> None:
        counters = self.memory.counters
        for part in text.split(" "):
            if not part:
                continue
            name, _, digits = part.partition(":")
            plain = digits.removeprefix("-")
            if not name or not (plain.isdigit() and plain.isascii()) or len(plain) > _DIGITS or len(counters) >= _MOST:
                return
            counters.setdefault(name, int(digits))

    def _allocation(self, text: str) -> None:
        if not self._allocations or len(self.memory.allocations) >= _MOST:
            return
        at = text.find(" func:")
        words = [w for w in text[:at].split(" ") if w]
        function = text[at + 6 :]
        if len(words) < 3 or " " in function:
            return
        # `72.4 MiB` is two words, `4096` is one.
        split = 2 if len(words) > 3 and words[1].endswith("B") else 1
        calls, end = number(words[split], 0)
        if calls is None or end != len(words[split]) or len(words) < split + 2:
            return
        item: dict[str, str | int] = {"size": " ".join(words[:split]), "calls": calls, "place": words[split + 1]}
        if len(words) > split + 2 and words[split + 2].startswith("["):
            item["module"] = words[split + 2].strip("[]")
        item["function"] = function
        self.memory.allocations.append(item)
