"""Big logs for measurements: gigabytes of ordinary lines with a few events, and files of nothing but dumps."""

from __future__ import annotations

import random
from pathlib import Path
from typing import TYPE_CHECKING

from dumpgen import kernels, prefixes, reports
from dumpgen.kernels import data

if TYPE_CHECKING:
    from dumpgen.model import Dump

__all__ = ["NEAR", "near", "write_dumps", "write_log"]

CHUNK = 8 << 20

#: Lines with the words of a header, and in their order or not, none of which is one. Each takes two numbers.
NEAR = (
    "memory allocation of {} pages for cache {} deferred, none failed",
    "PM: hibernation: hibernate_alloc_pages {} of {}",
    "cma: cma_alloc: reserved, alloc failed, req-size: {} pages, ret: -{}",
    "order:{} page allocation failures counted: {}",
    "page allocation failure: order {} was asked for {} times",
    "page allocation stalls for order {}: {}",
    "vmalloc: allocation of {} bytes for size {} went well",
    "SLUB: can allocate memory on {} of {} nodes",
    "warn_alloc is set to {} of {}",
    "oom-killer settings: oom_score_adj {} of {}",
    "gfp_mask=0x{} and mode:0x{} are gfp=0x0",
    "Out of memory: none killed, process {} of {}",
    "Mem-Inform: {} of {}",
)


def near(lines: tuple[str, ...] = NEAR, count: int = 20_000) -> bytes:
    """Write a log of near-misses, the lines in turns."""
    return "".join(
        f"Mar  4 05:{number // 60 % 60:02}:{number % 60:02} node7 kernel: [{number:5}.000000] "
        + lines[number % len(lines)].format(number, number % 97)
        + "\n"
        for number in range(count)
    ).encode()


def _noise(rng: random.Random, size: int) -> bytes:
    vocabulary = data("traces")["noise"]
    out: list[str] = []
    written = 0
    uptime = 100.0
    while written < size:
        uptime += rng.random()
        line = f"Feb 14 {rng.randrange(24):02}:{rng.randrange(60):02}:{rng.randrange(60):02} node{rng.randrange(40)} "
        if rng.random() < 0.5:
            line += f"kernel: [{uptime:12.6f}] {rng.choice(vocabulary)}\n"
        else:
            line += f"sshd[{rng.randrange(99999)}]: Accepted publickey for user{rng.randrange(99)} "
            line += f"from 10.0.{rng.randrange(256)}.{rng.randrange(256)}\n"
        out.append(line)
        written += len(line)
    return "".join(out).encode()


def _dump(rng: random.Random, prefix: str) -> Dump:
    while True:
        kernel = kernels.pick(rng, arch="x86_64")
        if kernel.at_least("2.6.32"):
            dump = reports.write(rng, kernel, "page", reports.Settings())
            prefixes.ship(rng, dump, prefix)
            return dump


def write_log(path: Path | str, size: int, *, events: int = 10, seed: int = 0, prefix: str = "syslog_printk") -> int:
    """Write a log of about `size` bytes with `events` page allocation failures spread over it.

    Returns the bytes written. Ordinary lines are one piece of 8 MiB, repeated: what is measured is searching.
    """
    rng = random.Random(seed)
    noise = _noise(rng, min(CHUNK, size))
    every = size // (events + 1)
    written, placed = 0, 0
    with Path(path).open("wb") as file:
        while written < size or placed < events:
            if placed < events and written >= min(every * (placed + 1), size):
                written += file.write(_dump(rng, prefix).text.encode())
                placed += 1
                continue
            room = (every * (placed + 1) if placed < events else size) - written
            end = noise.find(b"\n", min(room, len(noise) - 1)) + 1
            written += file.write(noise[: end or len(noise)])
    return written


def write_dumps(
    path: Path | str, count: int, *, seed: int = 0, prefix: str = "syslog_printk", different: int = 50
) -> int:
    """Write a file of `count` page allocation failures and nothing else (`different` ones, repeated). Returns bytes."""
    rng = random.Random(seed)
    texts = [_dump(rng, prefix).text.encode() for _ in range(min(count, different))]
    written = 0
    with Path(path).open("wb") as file:
        for number in range(count):
            written += file.write(texts[number % len(texts)])
    return written
