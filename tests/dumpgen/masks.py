"""GFP masks: choosing one that a kernel could print, and what it means there. Reads ``data/gfp.json`` alone."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dumpgen.model import Kernel, parse_version

if TYPE_CHECKING:
    import random
    from collections.abc import Callable

__all__ = ["choose", "flags_of", "may_sleep", "name_of", "printed"]


@cache
def _tables() -> dict[str, Any]:
    tables: dict[str, Any] = json.loads((Path(__file__).parent / "data" / "gfp.json").read_text(encoding="utf-8"))
    return tables


def epoch(kernel: Kernel) -> dict[str, Any]:
    """The table of bits that holds for a kernel; RHEL's own where it has one."""
    distributions = {"el6": "2.6.32-*.el6", "el7-514": "3.10.0-514.el7", "el7-1160": "3.10.0-1160.el7"}
    wanted = distributions.get(kernel.distribution)
    upstream = None
    for table in _tables()["epochs"]:
        if table["distribution"]:
            if table["from"] == wanted:
                return dict(table)
        elif kernel.base >= parse_version(table["from"]) or upstream is None:
            upstream = table
    assert upstream is not None
    return dict(upstream)


def _names(kernel: Kernel) -> list[str] | None:
    """The order in which this kernel peels names off a mask, None where it prints none."""
    fitting = [row["names"] for row in _tables()["names"] if kernel.at_least(row["since"])]
    return list(fitting[-1]) if fitting and kernel.at_least("4.6") else None


def _value(table: dict[str, Any], name: str) -> int:
    value = table["composites"].get(name, table["bits"].get(name, 0))
    return int(value)


def flags_of(kernel: Kernel, mask: int) -> list[str]:
    """Sorted names of the single bits."""
    return sorted(name for name, bit in epoch(kernel)["bits"].items() if mask & bit)


def may_sleep(kernel: Kernel, mask: int) -> bool:
    """Whether the mask allows direct reclaim: ``__GFP_WAIT`` until 4.3, ``__GFP_DIRECT_RECLAIM`` after."""
    bits = epoch(kernel)["bits"]
    return bool(mask & bits.get("__GFP_DIRECT_RECLAIM", bits.get("__GFP_WAIT", 0)))


def printed(kernel: Kernel, mask: int) -> str:
    """What ``%pGg`` prints for a mask (empty for 0)."""
    table = epoch(kernel)
    names = _names(kernel) or []
    out: list[str] = []
    left = mask
    for name in names:
        value = _value(table, name)
        if value and left & value == value:
            out.append(name)
            left &= ~value
    return "|".join([*out, hex(left)] if left else out)


def _greedy(table: dict[str, Any], mask: int, order: Callable[[int], tuple[int, int]]) -> list[str]:
    out: list[str] = []
    for name, value in sorted(table["composites"].items(), key=lambda item: order(item[1])):
        if value and mask & value == value:
            out.append(name)
            mask &= ~value
    return sorted(out)


def name_of(kernel: Kernel, mask: int) -> str | None:
    """The readable name: printed by the kernel from 4.6, before that its composites, largest first, then bits."""
    if _names(kernel):
        return printed(kernel, mask) or None
    table = epoch(kernel)
    out: list[str] = []
    left = mask
    # Where largest by value and by number of bits differ, "largest first" is no truth to test by.
    if _greedy(table, mask, lambda value: (-value, 0)) != _greedy(
        table, mask, lambda value: (-value.bit_count(), value)
    ):
        return None
    for name, value in sorted(table["composites"].items(), key=lambda item: -int(item[1])):
        if value and left & value == value:
            out.append(name)
            left &= ~value
    for name, value in sorted(table["bits"].items(), key=lambda item: int(item[1])):
        if left & value:
            out.append(name)
            left &= ~value
    return "|".join(out) or None


def choose(rng: random.Random, kernel: Kernel, *, atomic: bool) -> int:
    """A mask whose every bit this kernel knows in any configuration, sometimes 0."""
    table = epoch(kernel)
    if rng.random() < 0.02:
        return 0
    bases = (
        ["GFP_ATOMIC", "GFP_ATOMIC", "GFP_NOWAIT"]
        if atomic
        else [
            "GFP_KERNEL",
            "GFP_KERNEL",
            "GFP_NOFS",
            "GFP_NOIO",
            "GFP_USER",
            "GFP_HIGHUSER_MOVABLE",
            "GFP_HIGHUSER",
            "GFP_TEMPORARY",
        ]
    )
    mask = 0
    while not mask:
        mask = _value(table, rng.choice(bases))
    extras = [
        "COMP",
        "COMP",
        "ZERO",
        "NORETRY",
        "NOMEMALLOC",
        "RECLAIMABLE",
        "MEMALLOC",
        "REPEAT",
        "RETRY_MAYFAIL",
        "NOTRACK",
    ]
    extras += ["WRITE", "HARDWALL", "COLD", "THISNODE", "DMA32", "ACCOUNT", "DMA"]
    for extra in rng.sample(extras, rng.choice((0, 0, 1, 1, 2, 3))):
        mask |= _value(table, f"__GFP_{extra}")
    return mask
