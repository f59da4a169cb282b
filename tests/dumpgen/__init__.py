"""Dumps of any kernel era, architecture, prefix and tangle, written from the kernel's printk formats with exact truth.

Shares no code with the decoder. ``generate(random.Random(seed))`` gives a :class:`Dump`: the log's lines as shipped and
one truth an event, in the document's terms.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from dumpgen import kernels, prefixes, reports, tangles
from dumpgen.kernels import ARCHES, KERNELS
from dumpgen.logs import write_dumps, write_log
from dumpgen.model import Dump, Event, Kernel
from dumpgen.prefixes import PREFIXES
from dumpgen.reports import KINDS
from dumpgen.tangles import TANGLES

if TYPE_CHECKING:
    import random

__all__ = [
    "ARCHES",
    "KERNELS",
    "KINDS",
    "PREFIXES",
    "TANGLES",
    "Dump",
    "Event",
    "Kernel",
    "generate",
    "write_dumps",
    "write_log",
]


def generate(
    rng: random.Random,
    *,
    era: str | None = None,
    arch: str | None = None,
    release: str | None = None,
    kind: str | None = None,
    prefix: str | None = "none",
    tangle: str | None = None,
    comm: str | None = None,
    mem: bool | None = None,
    klogd: bool = False,
    **shipped: Any,
) -> Dump:
    """Write one dump.

    `era` is a distribution (``el6``) or the beginning of a release (``2.6``), `prefix` one of ``PREFIXES`` (None draws
    one), `tangle` one of ``TANGLES``; what is left open is drawn. `shipped` fixes host, start, uptime or caller.
    Raises ValueError where no kernel fits.
    """
    wanted = kind
    for _ in range(1000):
        kernel = kernels.pick(rng, era, arch, release)
        kind = wanted or rng.choice(KINDS)
        if reports.possible(kernel, kind):
            break
    else:
        raise ValueError(f"no kernel fits era {era!r}, architecture {arch!r} and kind {wanted!r}")
    dump = reports.write(rng, kernel, kind, reports.Settings(comm=comm, mem=mem, klogd=klogd))
    prefixes.ship(rng, dump, prefix or rng.choice(PREFIXES), **shipped)
    if tangle:
        tangles.apply(rng, dump, tangle)
    return dump
