"""Lines that a matcher could get lost in: something short, again and again, behind the beginnings of all lines."""

from __future__ import annotations

from itertools import product
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["logs"]

PREFIX = "Jul  3 06:39:43 svn3 kernel: "
UNITS = [
    *"9aA \t._([<:-0\"{,=/+'|>?*",
    *("a:", "a: ", "1 ", "a=", "a.", "ab ", "0x", "[a", "(a", "a+", "a,", "1*", "(1", "kB ", "a:1", "a:1 ", "a:1kB "),
    *(
        "Node ",
        "a/",
        "0*4kB ",
        "<1>",
        "[ 1.0] ",
        "> ",
        "| ",
        "a(b):1kB ",
        "f+0x1/0x2 ",
        "[<ffffffff81000000>] ",
        "\\u00",
    ),
]
LEADS = [
    *(
        "",
        " ",
        " foo+0x1/0x2 (",
        " foo+0x1/0x2 [",
        " dump_stack (mm/slub.c:",
        "Node 0 ",
        "Node 0 DMA: ",
        "Node 0 DMA free:",
    ),
    *("Call Trace: ", "Mem-Info: ", "CPU: 0 PID: 1 Comm: ", "Hardware name: ", "Killed process 1 ("),
    *(
        "oom-kill:constraint=",
        "oom-kill:constraint=CONSTRAINT_NONE,nodemask=",
        "Modules linked in: ",
        "Tasks in ",
        "Task in ",
    ),
    *(
        " [<ffffffff81000000>] ",
        "lowmem_reserve[]: ",
        "Memory cgroup stats for ",
        "[  123] ",
        "active_anon:",
        "Workqueue: ",
    ),
]
BEFORE = [
    "gmain: page allocation failure: order:2, mode:0x20",
    "gmain: page allocation failure: order:2, mode:0x20\nCall Trace:\n dump_stack+0x1/0x2",
    "gmain: page allocation failure: order:2, mode:0x20\nMem-Info:\nNode 0 DMA free:4kB min:1kB low:2kB high:3kB",
    "gmain invoked oom-killer: gfp_mask=0xcc0(GFP_KERNEL), order=0, oom_score_adj=0\nTasks state (memory values):",
    "SLUB: Unable to allocate memory on node -1 (gfp=0x20)",
]


def logs(size: int) -> Iterator[str]:
    """Yield logs in which one line has about ``size`` characters more than it should."""
    for before, lead, unit, prefix in product(BEFORE, LEADS, UNITS, (PREFIX, "")):
        long = (unit * (size // len(unit) + 1))[:size]
        yield "\n".join([*(PREFIX + line for line in before.split("\n")), prefix + lead + long])
    for unit in UNITS:
        long = (unit * (size // len(unit) + 1))[:size]
        yield f"{PREFIX}{long}: page allocation failure: order:2, mode:0x20"
        yield f"{PREFIX}{BEFORE[0]}{long}"
        yield f"{PREFIX}{BEFORE[3].partition(chr(10))[0]}{long}"
