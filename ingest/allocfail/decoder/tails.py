"""What a file format puts behind every line of a log: a quotation mark and a comma, a table's bar, an end tag.

A header ends where the kernel's format ends. What stands behind it, and behind the lines that follow, is none of them.
"""

from __future__ import annotations

import re

from allocfail.decoder.framing import BLANKS
from allocfail.decoder.prefixes import has_words

__all__ = ["Tails"]

#: Lines behind a header that may end as it does.
_LINES = 400
#: No line of the kernel's that is a header ends so; commas and brackets alone may be its own.
_TAIL = re.compile(
    r"(?:[\x00-\x20]{0,8}(?:[\"'`|,\\\]}]|</[a-z][a-z0-9]{0,9}>|\^M|&#1[03];)){1,12}[\x00-\x20]{0,8}$"
).search
_OWN = ",]"


class Tails:
    """Takes off what stands behind the lines of a log, once a header shows it."""

    def __init__(self) -> None:
        """Begin with nothing known."""
        self._tail = ""
        self._left = 0

    @property
    def active(self) -> bool:
        """Whether the next line may lose something."""
        return self._left > 0

    def cut(self, line: str) -> str:
        """Return a line without what stands behind it."""
        if ("alloc" in line or "oom-killer" in line) and has_words(line):
            found = _TAIL(line)
            tail = "" if found is None else found[0].strip(BLANKS)
            self._tail, self._left = (tail, _LINES) if tail.strip(_OWN) else ("", 0)
        elif self._left > 0:
            self._left -= 1
        if self._left == 0:
            return line
        whole = line.rstrip(BLANKS)
        return whole[: len(whole) - len(self._tail)].rstrip(BLANKS) if whole.endswith(self._tail) else line
