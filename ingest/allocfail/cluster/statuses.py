"""Which HTTP statuses pass by themselves."""

from __future__ import annotations

__all__ = ["passes"]

#: Not implemented, and an HTTP version that is not spoken: these servers will not learn it.
_FINAL = frozenset({501, 505})


def passes(status: int) -> bool:
    """Whether a status is one that passes: too slow, too busy, or something in between has lost its server."""
    return status in {408, 425, 429} or (500 <= status < 600 and status not in _FINAL)
