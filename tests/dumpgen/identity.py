"""The fingerprint's text, worked out from the contract's eight rules on the frames that were generated.

Only the names of plumbing and entry frames are read from the project (``kb/facts/frames.yml``: facts, not code).
"""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

if TYPE_CHECKING:
    from dumpgen.model import Frame
    from dumpgen.traces import Trace

__all__ = ["cache_name", "header_text", "safe", "task_name", "trace_text"]

SAFE = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_.$:/@+-")


@cache
def _facts() -> dict[str, Any]:
    path = Path(__file__).parents[2] / "kb" / "facts" / "frames.yml"
    facts: dict[str, Any] = yaml.load(path.read_text(encoding="utf-8"), Loader=yaml.CSafeLoader)
    return facts


@cache
def _plumbing() -> frozenset[str]:
    return frozenset(name for group in _facts()["plumbing"].values() for name in group)


@cache
def _prefixes() -> list[str]:
    return sorted(_facts()["abi_prefixes"], key=len, reverse=True)


def safe(text: str) -> str:
    """What of a name may enter the text."""
    return "".join(char if char in SAFE else "_" for char in text)


def task_name(comm: str) -> str:
    """Rule 8 for a task's name: without the numbers that tell instances apart."""
    cuts = [at for mark in "/:[" if (at := comm.find(mark, 1)) > 0]
    name = comm[: min(cuts)] if cuts else comm
    while True:
        shorter = name.rstrip("0123456789").rstrip("._-#")
        if shorter == name:
            return safe(name) or "_"
        name = shorter


def cache_name(name: str) -> str:
    """Rule 8 for a slab cache."""
    name = name.split("(", maxsplit=1)[0]
    parts = name.split("-")
    if name.startswith("kmalloc-rnd-") and len(parts) > 3 and parts[2].isdigit():
        name = "-".join(["kmalloc", "rnd", "N", *parts[3:]])
    return safe(name)


def normal(function: str) -> str:
    """Rule 3."""
    name = function.removeprefix(".")
    name = name.split(".", 1)[0] or name
    name = name.removesuffix("_noprof")
    for prefix in _prefixes():
        if name.startswith(prefix):
            return "sys_" + name[len(prefix) :]
    return name


def trace_text(trace: Trace) -> list[str]:
    """The names that rules 1 to 5 keep, the site first; empty where none is left."""
    frames: list[Frame] = []
    for frame in trace.frames:
        if frame.marker and frame.marker not in {"<IRQ>", "<TASK>"} and frames:
            break
        if frame.function:
            frames.append(frame)
    certain = [frame for frame in frames if frame.reliable]
    guessing = not trace.marks_guesses or len(certain) < 3
    frames = [frame for frame in frames if frame.offset not in (0, frame.size)] if guessing else certain
    names = [normal(frame.function) for frame in frames]
    start, strange = 0, 0
    for at, name in enumerate(names):
        if name in _plumbing():
            start, strange = at + 1, 0
        else:
            strange += 1
            if strange > (2 if guessing else 0):
                break
    names = names[start:]
    entry = set(_facts()["entry"])
    kept: list[str] = []
    for name in names:
        if name in entry:
            break
        if not kept or kept[-1] != name:
            kept.append(name)
    return [safe(name) for name in kept[:5]]


def header_text(kind: str, comm: str, order: int | None) -> str:
    """Rule 7 for everything but slab reports and OOM kills."""
    middle = f"|order={order}" if order is not None else ""
    return f"af1|{kind}{middle}|comm={task_name(comm)}"
