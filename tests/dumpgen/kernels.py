"""Releases, and which of the kernel's printk formats hold for one. The formats are data: ``data/formats.yml``."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from dumpgen.model import Kernel, parse_version

if TYPE_CHECKING:
    import random

__all__ = ["ARCHES", "KERNELS", "data", "formats", "pick", "used_formats"]

used_formats: set[tuple[str, str]] = set()
"""Every (topic, ``since``) whose format has been written, for the test that all of them are."""


@cache
def data(name: str) -> Any:
    """Read a YAML file of this package's ``data`` folder."""
    path = Path(__file__).parent / "data" / f"{name}.yml"
    return yaml.load(path.read_text(encoding="utf-8"), Loader=yaml.CSafeLoader)


def _kernels() -> list[Kernel]:
    """Every release of ``releases.yml`` on each of its architectures."""
    return [
        Kernel(
            row["release"],
            parse_version(row.get("base", row["release"])),
            arch,
            row.get("distribution", ""),
            tuple(sorted(row.get("like", {}).items())),
        )
        for row in data("releases")
        for arch in row["arches"]
    ]


KERNELS = _kernels()
ARCHES = sorted({kernel.arch for kernel in KERNELS})


def _fits(kernel: Kernel, row: dict[str, Any], topic: str = "") -> bool:
    return (
        kernel.at_least(row["since"], topic)
        and not ("until" in row and kernel.at_least(row["until"], topic))
        and row.get("only", kernel.family) == kernel.family
    )


def formats(kernel: Kernel, topic: str) -> list[dict[str, Any]]:
    """Every entry of a topic that this kernel has, oldest first."""
    return [row for row in data("formats")[topic] if _fits(kernel, row, topic)]


def newest(kernel: Kernel, rows: list[dict[str, Any]], topic: str = "") -> dict[str, Any] | None:
    """The entry that holds for a kernel out of a list ordered by ``since``, or None."""
    fitting = [row for row in rows if _fits(kernel, row, topic)]
    return fitting[-1] if fitting else None


def render(kernel: Kernel, topic: str, **values: Any) -> list[str]:
    """Write a topic's lines as this kernel does; an empty list where it prints none."""
    row = newest(kernel, data("formats")[topic], topic)
    if row is None:
        return []
    return fill(topic, row, **values)


def fill(topic: str, row: dict[str, Any], **values: Any) -> list[str]:
    """Fill one entry's lines in and note that the format was written."""
    used_formats.add((topic, str(row["since"]) + "/" + str(row["text"])))
    texts = row["text"] if isinstance(row["text"], list) else [row["text"]]
    return [text.format(**values) for text in texts]


def pick(rng: random.Random, era: str | None = None, arch: str | None = None, release: str | None = None) -> Kernel:
    """Choose a kernel.

    Era is the beginning of a base release (``2.6``, ``4.1``) or a distribution; raises ValueError where none fits.
    """
    fitting = [
        kernel
        for kernel in KERNELS
        if (arch is None or kernel.arch == arch)
        and (release is None or kernel.release == release)
        and (
            era is None
            or kernel.distribution == era
            or ".".join(map(str, kernel.base)) == era
            or ".".join(map(str, kernel.base)).startswith(era + ".")
        )
    ]
    if not fitting:
        raise ValueError(f"no kernel for era {era!r}, architecture {arch!r}, release {release!r}")
    return rng.choice(fitting)
