"""Which failures are one: the grouping algorithm ``af1``, rule by rule, on purpose without shortcuts."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING

from allocfail import facts
from allocfail.decoder.kit import sha256
from allocfail.decoder.trace import normalise

if TYPE_CHECKING:
    from allocfail.decoder.trace import Trace

__all__ = [
    "NOTHING_KEPT",
    "VERSION",
    "Fingerprint",
    "Kept",
    "cache_name",
    "comm_name",
    "fingerprint",
    "identify",
    "keep",
    "safe",
]

VERSION = "af1"
#: How many frames a fingerprint keeps.
_KEEP = 5
#: How many frames that are not plumbing may stand inside the plumbing of a trace of guesses.
_STALE = 2

_SAFE = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_.$:/@+-")


@dataclass(frozen=True, slots=True)
class Kept:
    """The frames a fingerprint is made of."""

    names: tuple[str, ...]
    site: int
    """Place of the first kept frame in the trace, -1 if none was kept."""
    modules: tuple[str | None, ...]
    dropped: tuple[tuple[int, int], ...]
    """Every frame left out: its place in the trace, and the number of the rule that dropped it."""


#: Of a trace that says nothing: two CPUs' frames in one.
NOTHING_KEPT = Kept((), -1, (), ())


@dataclass(frozen=True, slots=True)
class Fingerprint:
    """A group's identity; see ``docs/fingerprint.md``."""

    id: str
    level: str
    text: str
    title: str
    header_id: str
    header_text: str


@cache
def _plumbing() -> frozenset[str]:
    return frozenset(name for group in facts.load()["frames"]["plumbing"].values() for name in group)


@cache
def _entry() -> frozenset[str]:
    return frozenset(facts.load()["frames"]["entry"])


def keep(trace: Trace) -> Kept:
    """Choose the frames by rules 1 to 5."""
    selected = trace.selected()
    chosen = set(selected)
    dropped = [(i, 1) for i in range(trace.boundary, len(trace.functions))]
    dropped += [(i, 2) for i in range(trace.boundary) if i not in chosen]
    names = [normalise(trace.functions[i]) for i in selected]
    plumbing = _plumbing()
    last = -1
    stale = 0
    allowed = _STALE if trace.guessed else 0
    for at, name in enumerate(names):
        if name in plumbing:
            last = at
            stale = 0
        else:
            stale += 1
            if stale > allowed:
                break
    dropped += [(i, 4) for i in selected[: last + 1]]
    entry = _entry()
    kept: list[str] = []
    modules: list[str | None] = []
    site = -1
    ended = False
    for at in range(last + 1, len(names)):
        name = names[at]
        ended = ended or name in entry
        if ended or len(kept) == _KEEP or (kept and kept[-1] == name):
            dropped.append((selected[at], 5))
            continue
        if site < 0:
            site = selected[at]
        kept.append(name)
        modules.append(trace.frame_modules[selected[at]])
    return Kept(tuple(kept), site, tuple(modules), tuple(dropped))


def safe(name: str) -> str:
    """Return a name from the log with everything outside ``[A-Za-z0-9_.$:/@+-]`` replaced by ``_``."""
    return "".join(c if c in _SAFE else "_" for c in name)


def comm_name(comm: str) -> str:
    """Return a process name without its instance: ``kworker/0:1H`` is ``kworker`` (rule 8)."""
    cut = len(comm)
    for char in "/:[":
        at = comm.find(char, 1)
        if 0 <= at < cut:
            cut = at
    name = comm[:cut]
    while True:
        shorter = name.rstrip("0123456789").rstrip("._-#")
        if shorter == name:
            break
        name = shorter
    return safe(name) or "_"


def cache_name(cache_: str) -> str:
    """Return a slab cache's name without its instance (rule 8)."""
    at = cache_.find("(")
    name = cache_ if at < 0 else cache_[:at]
    if name.startswith("kmalloc-rnd-"):
        end = 12
        while end < len(name) and "0" <= name[end] <= "9":
            end += 1
        if end > 12 and name.startswith("-", end):
            name = "kmalloc-rnd-N" + name[end:]
    return safe(name) or "_"


def identify(text: str) -> str:
    """Return the id of a fingerprint's text: ``af1:`` and 16 hex digits of its SHA-256."""
    return f"{VERSION}:{sha256(text)[:16]}"


def fingerprint(
    kind: str,
    *,
    order: int | None = None,
    comm: str | None = None,
    cache_: str | None = None,
    constraint: str | None = None,
    victim: str | None = None,
    kept: Kept | None = None,
) -> Fingerprint:
    """Make a failure's fingerprint by rules 6 to 8.

    ``order`` only where the header of a page failure or stall prints it; ``comm`` is the task that asked.
    """
    words = kind.replace("_", " ")
    if kind == "slab_allocation_failure":
        name = cache_name(cache_ or "")
        header = f"{VERSION}|{kind}|cache={name}"
        subject = f"{words}: cache {name}"
    elif kind == "oom_kill":
        limit = safe(constraint or "") or "_"
        name = comm_name(victim or comm or "")
        header = f"{VERSION}|{kind}|constraint={limit}|comm={name}"
        subject = f"OOM kill: {name}, {limit}"
    else:
        printed = f"|order={order}" if order is not None and kind.startswith("page_") else ""
        name = comm_name(comm or "")
        header = f"{VERSION}|{kind}{printed}|comm={name}"
        request = f": order {order} in" if printed else " in"
        subject = f"{words}{request} {name}"
        if kept is not None and kept.names:
            names = [safe(n) for n in kept.names]
            text = f"{VERSION}|{kind}{printed}|{'>'.join(names)}"
            title = f"{words}{request} {names[0]}"
            return Fingerprint(identify(text), "trace", text, title, identify(header), header)
    return Fingerprint(identify(header), "header", header, subject, identify(header), header)
