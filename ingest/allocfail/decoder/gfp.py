"""GFP masks: which flags a mask stands for on a given kernel, and how that kernel spells them.

The bits moved many times between 2.6.0 and 7.3, so a mask means nothing without a release. The tables are data,
``kb/facts/gfp.yml``; this module chooses one by release and applies it.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cache, lru_cache
from typing import TYPE_CHECKING, Any, NamedTuple

from allocfail import facts
from allocfail.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

__all__ = ["NEIGHBOUR", "Gfp", "Reading", "decode", "parse_mask", "parse_release"]

_PREFIX = "__GFP_"
_HEX = frozenset("0123456789abcdefABCDEF")
_NAME = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_")
_DIGITS = "0123456789"
#: Ends ``Gfp.table`` where the table is not this kernel's own but the nearest.
NEIGHBOUR = " (neighbour)"
#: Longer than any release, mask or list of names that a kernel prints: such input is decoded but not cached.
_CACHED_LENGTH = 512


@dataclass(frozen=True, slots=True)
class Reading:
    """One meaning of a mask, and the kernels it holds for."""

    releases: str
    """Ranges of upstream releases and names of distribution trees, with the build options it takes."""
    name: str | None
    """The mask as these kernels print it; None for mask 0."""
    flags: tuple[str, ...]
    """Sorted single-bit flags."""
    unknown_bits: str | None
    """Bits that mean nothing there, as hex; None where there are none."""
    may_sleep: bool
    """Whether the request could wait for reclaim."""

    def as_document(self) -> dict[str, Any]:
        """Return it as an element of ``allocfail.gfp.candidates``, what is absent left out."""
        document: dict[str, Any] = {"releases": self.releases, "flags": list(self.flags), "may_sleep": self.may_sleep}
        if self.name is not None:
            document["name"] = self.name
        if self.unknown_bits is not None:
            document["unknown_bits"] = self.unknown_bits
        return document


@dataclass(frozen=True, slots=True)
class Gfp:
    """A mask decoded; the attributes are the fields ``allocfail.gfp.*``."""

    mask: str
    """The mask as printed."""
    flags: tuple[str, ...] = ()
    """Sorted ``__GFP_*`` names, composites taken apart; where the readings differ, what all of them share."""
    name: str | None = None
    """The mask the way the kernel prints it; None for mask 0 and where the readings differ."""
    decoded_by: str | None = None
    """``kernel``, ``table`` or ``ambiguous``; None where the mask is no hex number of 64 bits and no name helps."""
    table: str | None = None
    """The table, marked where it is not this kernel's own; None where the readings differ."""
    unknown_bits: str | None = None
    """Bits that the table does not know, as hex; where the readings differ, bits that none of them knows."""
    may_sleep: bool | None = None
    """Whether the request could wait for reclaim; None where the readings do not agree."""
    candidates: tuple[Reading, ...] = ()
    """All readings, oldest kernel first, where there are several: the release or a build option is not known."""
    conflict: str | None = None
    """What the printed names and the table of the release say, where they disagree."""

    def as_document(self) -> dict[str, Any]:
        """Return the object ``allocfail.gfp``, what is absent left out."""
        document: dict[str, Any] = {"mask": self.mask}
        if self.decoded_by is not None:
            document["flags"] = list(self.flags)
        if self.name is not None:
            document["name"] = self.name
        if self.decoded_by is not None:
            document["decoded_by"] = self.decoded_by
        if self.table is not None:
            document["table"] = self.table
        if self.unknown_bits is not None:
            document["unknown_bits"] = self.unknown_bits
        if self.may_sleep is not None:
            document["may_sleep"] = self.may_sleep
        if self.conflict is not None:
            document["conflict"] = self.conflict
        if self.candidates:
            document["candidates"] = [reading.as_document() for reading in self.candidates]
        return document


class _Release(NamedTuple):
    """What of a kernel release matters for choosing a table."""

    key: int
    """The version as one number that compares: see :func:`_key`."""
    base: tuple[int, int, int]
    build: int | None
    """The first number after the version, which distributions count up."""
    red_hat: bool
    next_tree: bool
    """A linux-next tree, which holds what the next version will have."""


class _View(NamedTuple):
    """A table under one set of build options."""

    config: str
    bits: tuple[str, ...]
    """Names by bit; empty where the bit means nothing."""
    values: dict[str, int]
    """Every name the kernel could print, composites included."""
    order: tuple[str, ...]
    """What names are printed from, first match first."""
    known: int
    sleeps: int


class _Table(NamedTuple):
    label: str
    since: str
    until: str
    first: int
    last: int
    base: tuple[int, int, int]
    build: int
    symbolic: bool
    """Whether these kernels print names themselves."""
    views: tuple[_View, ...]
    """The plain build first."""
    moving: int
    """The bits that depend on build options."""


class _Tables(NamedTuple):
    upstream: tuple[_Table, ...]
    trees: tuple[_Table, ...]
    marks: tuple[str, ...]
    excluded: tuple[str, ...]
    sleeping: tuple[str, ...]
    """The flags that let a request wait."""


def _key(major: int, minor: int, patch: int) -> int:
    """Return a version as one number; the third number counts in 2.x only, where it was the one that moved."""
    return major * 1_000_000 + minor * 1_000 + (patch if major == 2 else 0)


def _view(config: str, bits: list[str], composites: list[str], order: list[str] | None, sleeps: list[str]) -> _View:
    names = tuple("" if bit == "_" else _PREFIX + bit for bit in bits)
    values: dict[str, int] = {}
    for composite in composites:
        name, _, value = composite.partition(" ")
        values[name] = int(value, 16)
    listed = list(values) if order is None else order
    values |= {name: 1 << bit for bit, name in enumerate(names) if name}
    if order is None:
        listed += [name for name in names if name]
    return _View(
        config=config,
        bits=names,
        values=values,
        order=tuple(name for name in listed if name in values),
        known=sum(1 << bit for bit, name in enumerate(names) if name),
        sleeps=sum(values.get(name, 0) for name in sleeps),
    )


def _table(row: dict[str, Any], data: dict[str, Any]) -> _Table:
    bits: list[str] = data["layouts"][row["layout"]]
    order = data["orders"][row["order"]] if "order" in row else None
    views = [_view("", bits, data["composites"][row["composites"]], order, data["sleeps"])]
    moving = 0
    for variant in data["variants"][row["variants"]] if "variants" in row else ():
        moved = list(bits)
        for item in variant["bits"]:
            position, _, name = item.partition(" ")
            bit = int(position)
            moved += ["_"] * (bit + 1 - len(moved))
            moved[bit] = name
            moving |= 1 << bit
        composites = data["composites"][variant.get("composites", row["composites"])]
        views.append(_view(variant["config"], moved, composites, order, data["sleeps"]))
    base = tuple(row.get("base", (0, 0, 0)))
    since: list[int] = row.get("since", base)
    until: list[int] = row.get("until", base)
    low, high = (".".join(str(number) for number in version) for version in (since, until))
    return _Table(
        label=row.get("name", low if low == high else f"{low}-{high}"),
        since=low,
        until=high,
        first=_key(since[0], since[1], since[2] if len(since) > 2 else 0),
        last=_key(until[0], until[1], until[2] if len(until) > 2 else 0),
        base=(base[0], base[1], base[2]),
        build=row.get("build", 0),
        symbolic=order is not None,
        views=tuple(views),
        moving=moving,
    )


@cache
def _tables() -> _Tables:
    data = facts.load()["gfp"]
    return _Tables(
        upstream=tuple(_table(row, data) for row in data["tables"]),
        trees=tuple(_table(row, data) for row in data["trees"]),
        marks=tuple(data["red_hat"]["marks"]),
        excluded=tuple(data["red_hat"]["not"]),
        sleeping=tuple(data["sleeps"]),
    )


def _number(text: str, start: int, most: int) -> tuple[int, int]:
    """Return the number at ``start`` and where it ends, or -1 where there is none or it has over ``most`` digits."""
    end = start
    while end < len(text) and text[end] in _DIGITS:
        end += 1
    return (int(text[start:end]) if 0 < end - start <= most else -1), end


def parse_release(text: str) -> _Release | None:
    """Take a kernel release such as ``3.10.0-957.el7.x86_64`` apart; None where it does not begin with a version.

    A version is two numbers or three, a leading ``v`` allowed, 2.0 at least; what follows is free.
    """
    major, at = _number(text, 1 if text[:1] in ("v", "V") else 0, 2)
    if major < 2 or text[at : at + 1] != ".":
        return None
    minor, at = _number(text, at + 1, 3)
    if minor < 0:
        return None
    patch = 0
    if text[at : at + 1] == ".":
        number, end = _number(text, at + 1, 3)
        if number >= 0:
            patch, at = number, end
    build = -1
    if text[at : at + 1] == "-":
        build, _ = _number(text, at + 1, 6)
    tables = _tables()
    return _Release(
        key=_key(major, minor, patch),
        base=(major, minor, patch),
        build=None if build < 0 else build,
        red_hat=any(mark in text for mark in tables.marks) and not any(mark in text for mark in tables.excluded),
        next_tree="-next-" in text,
    )


def _upstream_index(key: int) -> int:
    upstream = _tables().upstream
    index = len(upstream) - 1
    while index > 0 and upstream[index].first > key:
        index -= 1
    return index


def _choose(release: _Release) -> tuple[_Table, int, bool]:
    """Return the table for a release, its upstream index or the nearest to it, and whether it is a neighbour's."""
    tables = _tables()
    index = _upstream_index(release.key)
    if release.red_hat:
        best: _Table | None = None
        distance = -1
        for tree in tables.trees:
            if tree.base != release.base:
                continue
            # A build that names no number is taken for the newest tree of its version.
            away = abs(tree.build - (1_000_000 if release.build is None else release.build))
            if best is None or away < distance:
                best, distance = tree, away
        return (best, index, distance != 0) if best is not None else (tables.upstream[index], index, True)
    table = tables.upstream[index]
    neighbour = not table.first <= release.key <= table.last
    if release.next_tree:
        following = _upstream_index(release.key + (1 if release.base[0] == 2 else 1000))
        if following != index:
            return tables.upstream[following], following, True
    return table, index, neighbour


def parse_mask(text: str) -> int:
    """Return the value of a mask in hex, with or without ``0x``, in any case.

    Raises ``InputError`` where it is anything else or does not fit in 64 bits.
    """
    value = _value(text)
    if value is None:
        raise InputError(f"not a GFP mask (hex, 64 bits at most), such as 0x20: {ascii(text[:40])[1:-1]}")
    return value


def _value(text: str) -> int | None:
    start = 2 if text[:2] in ("0x", "0X") else 0
    if len(text) == start:
        return None
    for character in text[start:]:
        if character not in _HEX:
            return None
    digits = text[start:].lstrip("0")
    if len(digits) > 16:
        return None
    return int(digits, 16) if digits else 0


def _spell(view: _View, mask: int) -> list[str]:
    """Spell a mask as the kernel's format_flags() (lib/vsprintf.c) does."""
    parts = []
    rest = mask
    for name in view.order:
        value = view.values[name]
        if rest & value == value:
            parts.append(name)
            rest &= ~value
            if not rest:
                return parts
    if rest:
        parts.append(f"{rest:#x}")
    return parts


def _flags(view: _View, mask: int) -> tuple[str, ...]:
    return tuple(sorted(name for bit, name in enumerate(view.bits) if name and mask >> bit & 1))


def _hex(mask: int) -> str | None:
    return f"{mask:#x}" if mask else None


def _fits(view: _View, mask: int, names: Sequence[str]) -> bool:
    """Whether the names, as this kernel defines them, make up the mask."""
    total = 0
    for name in names:
        value = view.values.get(name)
        if value is None:
            value = _value(name) if name[:2] == "0x" else None
            if value is None:
                return False
        total |= value
    return total == mask


def _cut(view: _View, mask: int, names: Sequence[str]) -> bool:
    """Whether the names are this kernel's for the mask, but end within a name: the line was cut there."""
    last = view.values.get(names[-1])
    complete = last is not None and last & ~mask == 0
    parts = _spell(view, mask)
    return not complete and len(names) <= len(parts) and "|".join(parts).startswith("|".join(names))


def _views_for(table: _Table, mask: int) -> tuple[_View, ...]:
    """Return the plain view, and the others where the mask has a bit that depends on build options."""
    return table.views if mask & table.moving else table.views[:1]


@dataclass(slots=True)
class _Span:
    """Adjacent tables that share a reading under the same build options."""

    since: str
    until: str
    config: str
    position: int
    """Of the last table; -1 for a distribution's tree, which has no neighbours."""

    def text(self) -> str:
        """Return the releases, and the build options they take."""
        span = self.since if self.since == self.until else f"{self.since}-{self.until}"
        return f"{span} with CONFIG_{self.config.replace('+', '+CONFIG_')}" if self.config else span


def _readings(
    tables: Iterable[tuple[_Table, Sequence[_View]]], mask: int, printed: Sequence[str] | None = None
) -> list[Reading]:
    """Return the distinct readings of a mask in the order they first appear, with the releases each holds for.

    Names are compared as a set, because their order changed between releases; ``printed`` stand for all.
    """
    found: dict[str, Reading] = {}
    held: dict[str, list[_Span]] = {}
    for position, (table, views) in enumerate(tables):
        seen: set[str] = set()
        for view in views:
            parts = _spell(view, mask) if printed is None else printed
            flags = _flags(view, mask)
            unknown = _hex(mask & ~view.known)
            key = f"{','.join(flags)} {unknown or ''} {','.join(sorted(parts))}"
            if key in seen:
                continue  # a further build option changes nothing
            seen.add(key)
            if key not in found:
                found[key] = Reading("", "|".join(parts) or None, flags, unknown, mask & view.sleeps != 0)
                held[key] = []
            _add_span(held[key], table, position, view.config)
    return [replace(found[key], releases=", ".join(span.text() for span in held[key])) for key in found]


def _add_span(spans: list[_Span], table: _Table, position: int, config: str) -> None:
    """Add a table to the releases of a reading, to a span that ends just before it where there is one."""
    if table.build:
        spans.append(_Span(table.label, table.label, config, -1))
        return
    span = next((span for span in spans if span.position == position - 1 and span.config == config), None)
    if span is None:
        spans.append(_Span(table.since, table.until, config, position))
    else:
        span.until = table.until
        span.position = position


def _all_tables() -> tuple[_Table, ...]:
    tables = _tables()
    return tables.upstream + tables.trees


def _of_table(mask: str, table: str, readings: list[Reading], decoded_by: str) -> Gfp:
    """Return what the plain build says, and every reading where build options make a difference."""
    plain = readings[0]
    return Gfp(
        mask=mask,
        flags=plain.flags,
        name=plain.name,
        decoded_by=decoded_by,
        table=table,
        unknown_bits=plain.unknown_bits,
        may_sleep=plain.may_sleep,
        candidates=tuple(readings) if len(readings) > 1 else (),
    )


def _of_all(mask: str, readings: list[Reading], decoded_by: str) -> Gfp:
    """Return what every reading shares, and the readings where there are several."""
    first = readings[0]
    if len(readings) == 1:
        return _of_table(mask, first.releases, readings, decoded_by)
    unknown = -1
    for reading in readings:
        unknown &= int(reading.unknown_bits or "0", 16)
    return Gfp(
        mask=mask,
        flags=tuple(flag for flag in first.flags if all(flag in reading.flags for reading in readings)),
        name=first.name if decoded_by == "kernel" else None,
        decoded_by=decoded_by if decoded_by == "kernel" else "ambiguous",
        unknown_bits=_hex(unknown),
        may_sleep=first.may_sleep if all(reading.may_sleep == first.may_sleep for reading in readings) else None,
        candidates=tuple(readings),
    )


@cache
def _newest_meaning() -> dict[str, tuple[str, ...]]:
    """Return the flags of every name that any kernel prints, as the newest kernel that has it defines it."""
    return {
        name: _flags(view, value)
        for table in _tables().upstream
        for view in reversed(table.views)
        for name, value in view.values.items()
    }


def _unchecked(names: Sequence[str], table: _Table | None) -> set[str]:
    """Return the flags that names stand for where no table gives them for the mask."""
    flags: set[str] = set()
    for name in names:
        view = next((view for view in table.views if name in view.values), None) if table is not None else None
        if view is not None:
            flags.update(_flags(view, view.values[name]))
        elif name in _newest_meaning():
            flags.update(_newest_meaning()[name])
        elif name.startswith(_PREFIX) and all(character in _NAME for character in name):
            flags.add(name)  # newer than the newest table
    return flags


def _disagree(mask: str, value: int | None, names: Sequence[str], table: _Table | None, label: str) -> Gfp:
    """Decode a line whose names its table (none: no table at all) does not give for its mask."""
    printed = "|".join(names)
    conflict = None
    readings: list[Reading] = []
    if value is not None:
        if table is None:
            readings = _readings([(each, _views_for(each, value)) for each in _all_tables()], value)
            conflict = f"printed {printed}, which no table gives for this mask"
        else:
            readings = _readings([(table, _views_for(table, value))], value)
            conflict = f"printed {printed}, table {table.label} gives {readings[0].name or 'no name'}"
    flags = _unchecked(names, table)
    if flags:
        return Gfp(
            mask=mask,
            flags=tuple(sorted(flags)),
            name=printed,
            decoded_by="kernel",
            table=None if table is None else label,
            unknown_bits=None if table is None or not readings else readings[0].unknown_bits,
            may_sleep=any(flag in flags for flag in _tables().sleeping),
            conflict=conflict,
        )
    if not readings:
        return Gfp(mask)
    gfp = _of_all(mask, readings, "table") if table is None else _of_table(mask, label, readings, "table")
    return replace(gfp, conflict=conflict)


def _decode(mask: str, release: str | None, printed: tuple[str, ...] | None) -> Gfp:
    value = _value(mask)
    names = None if printed is None else [name for name in printed if name]
    if value and not names:
        names = None  # only a line that was cut has an opening parenthesis and no name behind it
    known = None if release is None else parse_release(release)
    if known is None:
        if value is None:
            return _disagree(mask, None, names or (), None, "")
        if names is None:
            return _of_all(mask, _readings([(t, _views_for(t, value)) for t in _all_tables()], value), "table")
        for tables in ([t for t in _all_tables() if t.symbolic], _all_tables()):
            fitting = [(t, [v for v in _views_for(t, value) if _fits(v, value, names)]) for t in tables]
            readings = _readings(fitting, value, names)
            if readings:
                return _of_all(mask, readings, "kernel")
        if names:
            cut = [(t, [v for v in _views_for(t, value) if _cut(v, value, names)]) for t in _all_tables()]
            readings = _readings(cut, value)
            if readings:
                return _of_all(mask, readings, "table")
        return _disagree(mask, value, names, None, "")

    table, index, neighbour = _choose(known)
    label = table.label + NEIGHBOUR if neighbour else table.label
    if value is None:
        return _disagree(mask, None, names or (), table, label)
    views = _views_for(table, value)
    if names is not None and (fitted := tuple(view for view in views if _fits(view, value, names))):
        return _of_table(mask, label, _readings([(table, fitted)], value, names), "kernel")
    if names is None or (names and any(_cut(view, value, names) for view in views)):
        return _of_table(mask, label, _readings([(table, views)], value), "table")
    gfp = _disagree(mask, value, names, table, label)
    upstream = _tables().upstream
    for away in range(len(upstream)):
        for other in (index + away, index - away):
            if not 0 <= other < len(upstream):
                continue
            views = tuple(view for view in _views_for(upstream[other], value) if _fits(view, value, names))
            if views:
                found = upstream[other].label + NEIGHBOUR
                readings = _readings([(upstream[other], views)], value, names)
                return replace(_of_table(mask, found, readings, "kernel"), conflict=gfp.conflict)
    return gfp


@lru_cache(maxsize=4096)
def _decode_cached(mask: str, release: str | None, printed: tuple[str, ...] | None) -> Gfp:
    return _decode(mask, release, printed)


def decode(mask: str, *, release: str | None = None, printed: tuple[str, ...] | None = None) -> Gfp:
    """Decode a GFP mask.

    ``mask`` is the mask as printed: hex, with or without ``0x``, in any case, of 64 bits at most; anything else
    leaves nothing but the names to decode. ``release`` is the kernel's release; one that does not begin with a version
    counts as unknown. ``printed`` are the names between the parentheses, split at ``|``, with a hex rest if there is
    one; None where the line has no parentheses, ``()`` where they are empty. A list that ends within a name, because
    the line was cut there, is no disagreement. Never raises for bad input.
    """
    length = len(mask) + len(release or "") + sum(len(name) for name in printed or ())
    return _decode_cached(mask, release, printed) if length <= _CACHED_LENGTH else _decode(mask, release, printed)
