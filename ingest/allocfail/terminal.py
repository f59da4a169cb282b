"""Text from logs, fit for a terminal."""

from __future__ import annotations

import re

__all__ = ["printable"]

_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]")


def printable(text: str) -> str:
    """Return ``text`` with each control and bidirectional character replaced by U+FFFD; newlines and tabs stay.

    What comes from files or arguments must not be able to move a terminal's cursor or rewrite its title.
    """
    return _CONTROL.sub("\ufffd", text)
