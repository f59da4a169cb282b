"""The release of this package, as the objects in a cluster carry it."""

from __future__ import annotations

from functools import cache
from importlib.metadata import version

__all__ = ["own_version", "version_number", "version_text"]


@cache
def version_number() -> int:
    """Return the package's version as an integer that rises with it: 1.2.3 is 1002003."""
    numbers = [int("".join(filter(str.isdigit, part)) or 0) for part in version("allocfail").split(".")[:3]]
    return sum(number * weight for number, weight in zip(numbers, (1_000_000, 1000, 1), strict=False))


def version_text(number: int) -> str:
    """Return the release that :func:`version_number` made a number of."""
    return f"{number // 1_000_000}.{number // 1000 % 1000}.{number % 1000}"


def own_version() -> str:
    """Return this package's release as text: 1.2.3."""
    return version_text(version_number())
