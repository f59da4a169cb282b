"""What came instead of an answer, in the same words for both clients, each of which would read it in its own way."""

from __future__ import annotations

import json

__all__ = ["CUT", "NoAnswerError", "RefusalError", "check"]

CUT = "JSON that is cut off or damaged"
#: Where JSON begins, behind spaces of which there are few.
_BEGINNING = 64


class NoAnswerError(Exception):
    """What came with a good status is no JSON object or list; never leaves the room's client."""


class RefusalError(Exception):
    """What came with another status is no JSON, and would not get through a client; never leaves the room's client."""

    def __init__(self, status: int, text: str) -> None:
        """Take the HTTP status, and what came."""
        super().__init__(text)
        self.status = status
        self.text = text


def check(status: int, kind: str | None, data: bytes | str) -> None:
    """Raise :class:`NoAnswerError` or :class:`RefusalError` for what is no JSON; ``kind`` is the content type.

    JSON that only turns out to be damaged when all of it is read is left to whoever reads it.
    """
    if 200 <= status < 300:
        if (found := _found(kind, data)) is not None:
            raise NoAnswerError(found)
        return
    text = data.decode("utf-8", "replace") if isinstance(data, bytes) else data
    try:
        json.loads(text)
    except (ValueError, RecursionError):
        raise RefusalError(status, text) from None


def _found(kind: str | None, data: bytes | str) -> str | None:
    """Say what this is instead of JSON; None where it begins as an object or a list does, and is said to be JSON."""
    start = data[:_BEGINNING]
    head = (start.decode("latin-1") if isinstance(start, bytes) else start).lstrip()[:1]
    if not head:
        return "nothing"
    if head == "<":
        return "a page"
    if head not in "{[":
        return "no JSON"
    return None if not kind or "json" in kind.lower() else "JSON that is said to be something else"
