"""Dumps of any kernel era, architecture, prefix and tangle, written from the kernel's printk formats with exact truth.

Shares no code with the decoder. ``generate(random.Random(seed))`` gives a :class:`Dump`: the log's lines as shipped and
one truth an event, in the document's terms.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from dumpgen import kernels, prefixes, reports, tangles
from dumpgen.kernels import ARCHES, KERNELS
from dumpgen.logs import NEAR, near, write_dumps, write_log
from dumpgen.model import Dump, Event, Kernel
from dumpgen.prefixes import PREFIXES
from dumpgen.reports import KINDS, Settings
from dumpgen.tangles import TANGLES

if TYPE_CHECKING:
    import random
    from collections.abc import Sequence

__all__ = [
    "ARCHES",
    "KERNELS",
    "KINDS",
    "NEAR",
    "PREFIXES",
    "TANGLES",
    "Dump",
    "Event",
    "Kernel",
    "generate",
    "near",
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
    prefix: str | Sequence[str] | None = "none",
    tangle: str | None = None,
    comm: str | None = None,
    mem: bool | None = None,
    klogd: bool = False,
    **shipped: Any,
) -> Dump:
    """Write one dump.

    `era` is a distribution (``el6``) or the beginning of a release (``2.6``), `prefix` one of ``PREFIXES``, or several
    of which one is drawn (None: all), `tangle` one of ``TANGLES``; what is left open is drawn. `shipped` fixes host,
    start, uptime or caller. Raises ValueError where no kernel fits, or where nothing drawn can carry the tangle.
    """
    choices = [prefix] if isinstance(prefix, str) else list(prefix or PREFIXES)
    for _ in range(200):
        dump = _report(rng, (era, arch, release), kind, Settings(comm=comm, mem=mem, klogd=klogd))
        prefixes.ship(rng, dump, choices[0] if isinstance(prefix, str) else rng.choice(choices), **shipped)
        if tangle is None or tangles.apply(rng, dump, tangle):
            return dump
    raise ValueError(f"nothing that was drawn can carry the tangle {tangle!r}: prefix {prefix!r}")


def _report(
    rng: random.Random, kernel_of: tuple[str | None, str | None, str | None], wanted: str | None, settings: Settings
) -> Dump:
    """Write one report of a kernel that has it; `kernel_of` is era, architecture and release."""
    for _ in range(1000):
        kernel = kernels.pick(rng, *kernel_of)
        kind = wanted or rng.choice(KINDS)
        if reports.possible(kernel, kind):
            return reports.write(rng, kernel, kind, settings)
    raise ValueError(f"no kernel fits era, architecture and release {kernel_of} and kind {wanted!r}")
