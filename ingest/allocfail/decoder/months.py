"""Months by their names, as the locales of several languages print them."""

from __future__ import annotations

from functools import cache

from allocfail import facts

__all__ = ["month_number"]


@cache
def _numbers() -> dict[str, int]:
    times = facts.load()["times"]
    found = {name.lower(): number for name, number in times["months"].items()}
    return found | {name: int(number) for number, names in times["local"].items() for name in names}


def month_number(name: str) -> int:
    """Return the number of a month (1 is January), 0 where ``name`` is none; ``12月`` counts as well."""
    if name[-1:] in ("月", "월"):
        digits = name[:-1]
        number = int(digits) if digits.isascii() and digits.isdigit() and len(digits) < 3 else 0
        return number if number <= 12 else 0
    return _numbers().get(name.lower().rstrip("."), 0)
