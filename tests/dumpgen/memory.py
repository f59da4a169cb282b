"""The Mem-Info block of each release, with numbers that add up."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from dumpgen.kernels import data as _data
from dumpgen.kernels import fill, newest, render
from dumpgen.model import Kernel, Line

if TYPE_CHECKING:
    import random

__all__ = ["mem_info"]

ZONES = {
    "x86_64": ["DMA", "DMA32", "Normal"],
    "i386": ["DMA", "Normal", "HighMem"],
    "arm": ["Normal", "HighMem"],
    "arm64": ["DMA", "DMA32", "Normal"],
    "powerpc": ["DMA"],
    "s390": ["DMA", "Normal"],
    "mips": ["Normal"],
    "parisc": ["Normal"],
    "riscv": ["DMA32", "Normal"],
}


def _numbers(rng: random.Random, text: str, known: dict[str, int]) -> str:
    """Put numbers into a line of ``name:K`` fields; those in `known` (in kB) as given."""
    out: list[str] = []
    for token in text.split(" "):
        name, colon, unit = token.rpartition(":")
        value = known.get(name, rng.choice((0, 0, rng.randrange(1 << 12), rng.randrange(1 << 22))))
        if unit == "Y" and not colon:
            out.append(rng.choice(("yes", "no")))
        elif unit == "K":
            out.append(f"{name}{colon}{value}kB")
        elif unit == "KB":
            out.append(f"{name}{colon}{value}KB")
        elif unit == "N":
            out.append(f"{name}{colon}{value}")
        else:
            out.append(token)
    return " ".join(out)


def mem_info(rng: random.Random, kernel: Kernel) -> tuple[list[Line], dict[str, Any]]:
    """Write a Mem-Info block. Returns its records and the truth for ``allocfail.memory``."""
    records: list[Line] = []

    def add(lines: list[str]) -> None:
        records.extend(Line(line, "memory") for line in lines)

    truth: dict[str, Any] = {"zones": []}
    # Real dumps: a node prefix exactly where the kernel is built for NUMA, which 64-bit builds are.
    nodes = (
        rng.choice((1, 1, 2))
        if kernel.wide and kernel.arch not in {"mips", "parisc"} and kernel.at_least("2.6.14")
        else 0
    )
    page_kb = rng.choice((4, 64)) if kernel.arch in {"arm64", "powerpc"} else 4
    orders = 11 if page_kb == 4 else rng.choice((9, 14))
    add(render(kernel, "mem_info"))
    zones = [
        (node, name) for node in range(max(nodes, 1)) for name in ZONES[kernel.arch] if node == 0 or name == "Normal"
    ]
    for node, name in zones if newest(kernel, _data("formats")["per_cpu"], "per_cpu") else []:
        add([f"Node {node} {name} per-cpu:" if nodes else f"{name} per-cpu:"])
        for cpu in range(rng.choice((1, 2))):
            high = rng.randrange(200)
            add(render(kernel, "per_cpu", cpu=cpu, low=62, high=high, batch=high // 6, used=rng.randrange(1 + high)))
    if not kernel.at_least("2.6.19"):
        add([f"Free pages: {rng.randrange(1 << 22):11}kB ({rng.randrange(1 << 20)}kB HighMem)"])
    counters = [_numbers(rng, line, {}) for line in render(kernel, "counters")]
    records.append(Line("\n".join(counters), "memory"))
    for node in range(max(nodes, 1)):
        add([_numbers(rng, line, {}) for line in render(kernel, "node", node=node)])
    blocks: list[str] = []
    for node, name in zones:
        label = f"Node {node} {name}" if nodes else name
        counts = [rng.choice((0, 0, 1, rng.randrange(3000))) for _ in range(orders)]
        if rng.random() < 0.15:
            counts = [counts[0], *[0] * (orders - 1)]
        free = sum(count * (page_kb << order) for order, count in enumerate(counts))
        low = rng.randrange(100, 40000)
        zone: dict[str, Any] = {
            "name": name,
            "free_kb": free + rng.randrange(3) * page_kb,
            "min_kb": low * 4 // 5,
            "low_kb": low,
            "high_kb": low * 6 // 5,
            "reserve_pages": [rng.choice((0, rng.randrange(1 << 20))) for _ in range(rng.choice((2, 3, 4, 5)))],
            "free_blocks": counts,
        }
        if nodes:
            zone["node"] = node
        known = {key[:-3]: zone[key] for key in ("free_kb", "min_kb", "low_kb", "high_kb")}
        text = render(kernel, "zone", zone=label)
        if " managed:" in text[0]:
            zone["managed_kb"] = known["managed"] = rng.randrange(1 << 24)
        top = [order for order, count in enumerate(counts) if count]
        if top:
            zone["largest_free_order"] = top[-1]
        add([_numbers(rng, line, known) for line in text])
        add(["lowmem_reserve[]: " + " ".join(map(str, zone["reserve_pages"]))])
        typed = kernel.at_least("3.8")
        cells = [
            f"{count}*{page_kb << order}kB"
            + (f" ({rng.choice(('U', 'UM', 'UME', 'UEMC', 'MR', 'H'))})" if typed and count else "")
            for order, count in enumerate(counts)
        ]
        blocks.append(f"{label}: {' '.join(cells)} = {free}kB")
        truth["zones"].append(zone)
    add(blocks)
    if nodes and kernel.at_least("3.10") and rng.random() < 0.7:
        add(
            [
                f"Node {node} hugepages_total=0 hugepages_free=0 hugepages_surp=0 hugepages_size=2048kB"
                for node in range(nodes)
            ]
        )
    numbers = {
        key: rng.randrange(1 << 20)
        for key in ("pagecache", "a", "b", "c", "d", "e", "highmem", "reserved", "shared", "nonshared", "poison")
    }
    total = rng.choice((0, rng.randrange(1 << 25)))
    free_swap = rng.randrange(total + 1)
    ram, cma = rng.randrange(1 << 16, 1 << 24), rng.randrange(1 << 14)
    add(render(kernel, "pagecache", **numbers))
    add(render(kernel, "swap", free_swap=free_swap, total_swap=total, **numbers))
    tail = render(kernel, "tail", ram=ram, cma=cma, **numbers)
    add(tail)
    truth |= {"swap_free_kb": free_swap, "swap_total_kb": total, "ram_pages": ram, "page_kb": page_kb}
    if any("cma reserved" in line for line in tail):
        truth["cma_pages"] = cma
    profiling = newest(kernel, _data("formats")["profiling"])
    if profiling and rng.random() < 0.3:
        add(fill("profiling", profiling, n=rng.randrange(1 << 26), count=rng.randrange(1 << 14)))
    return records, truth
