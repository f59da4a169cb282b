"""Reading fields of a document."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["at"]


def at(document: Mapping[str, Any], path: str) -> Any:
    """Return the value of a field, nested or with dotted keys; None where there is none."""
    value = document.get(path)
    if value is not None:
        return value
    head, dot, rest = path.partition(".")
    while dot:
        inner = document.get(head)
        if isinstance(inner, dict):
            value = at(inner, rest)
            if value is not None:
                return value
        more, dot, rest = rest.partition(".")
        head = f"{head}.{more}"
    return None
