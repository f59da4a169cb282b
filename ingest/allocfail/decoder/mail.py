"""Lines of a mail in quoted-printable (RFC 2045 section 6.7): soft line ends and ``=3D`` undone."""

from __future__ import annotations

import re
from typing import NamedTuple

__all__ = ["QuotedPrintable", "Whole"]

#: A line of such a mail has at most 76 characters; quote signs may stand in front.
_LONGEST = 120
#: No line of a mail has more characters (RFC 5322 section 2.1.1).
_MOST = 998
#: Lines that one may have been cut into.
_PIECES = 64

_VALID = re.compile(r"[^=]*(?:=[0-9A-F]{2}[^=]*)*=?$").match
_ESCAPED = re.compile(r"=3D").search
#: Two equals signs that are escaped: one may be a number's beginning.
_TWICE = re.compile(r"[A-Za-z_]=3D.*[A-Za-z_]=3D").search


class Whole(NamedTuple):
    """A line as it was before it was cut."""

    text: str
    offset: int
    raw: str | None
    """How it stands in the log, where that is something else."""


class QuotedPrintable:
    """Joins and decodes such lines once one of them shows that they are; others come out as they went in."""

    def __init__(self) -> None:
        """Begin without a mail."""
        self._certain = False
        self._held: list[str] = []
        self._offset = 0

    @property
    def active(self) -> bool:
        """Whether a line waits for its rest, or the next may be escaped."""
        return self._certain or bool(self._held)

    def feed(self, line: str, offset: int) -> list[Whole]:
        """Take a line; return those that are whole now."""
        if not self._certain and not self._held and not line.endswith("=") and "=3D" not in line:
            return [Whole(line, offset, None)]
        found: list[Whole] = []
        if len(line) > _MOST or _VALID(line) is None:
            self._certain = False
        elif not self._certain and _ESCAPED(line) is not None:
            # An escape beside a soft line end, or a second one: neither stands in a kernel's line by chance.
            self._certain = bool(self._held) or line.endswith("=") or _TWICE(line) is not None
        if self._held and not self._certain:
            found += self._apart()
        if not self._held:
            self._offset = offset
        self._held.append(line)
        size = len(line)
        if line.endswith("=") and 1 < size <= _LONGEST and len(self._held) < _PIECES:
            return found
        if self._certain:
            found.append(self._joined())
        else:
            found += self._apart()
        return found

    def close(self) -> Whole | None:
        """Take the end of the log; return the line that still waits."""
        if not self._held:
            return None
        return self._joined() if self._certain else self._apart()[0]

    def _apart(self) -> list[Whole]:
        # A line that ends in "=" is as good as any, where no mail is; only one is held then.
        found = [Whole(line, self._offset, None) for line in self._held]
        self._held = []
        return found

    def _joined(self) -> Whole:
        raw = "\n".join(self._held)
        plain = _decoded("".join(line.removesuffix("=") for line in self._held))
        self._held = []
        return Whole(plain, self._offset, raw if plain != raw else None)


def _decoded(text: str) -> str:
    """Decode what stands for ASCII, and for a no-break space; other bytes stay as they are written."""
    out = ""
    at = 0
    while True:
        sign = text.find("=", at)
        if sign < 0:
            return out + text[at:]
        out += text[at:sign]
        if text.startswith("=C2=A0", sign):
            out += " "
            at = sign + 6
            continue
        code = text[sign + 1 : sign + 3]
        value = int(code, 16) if _is_hex(code) else 128
        out += chr(value) if 9 <= value < 128 else text[sign : sign + 3]
        at = sign + 3


def _is_hex(code: str) -> bool:
    return len(code) == 2 and all(c in "0123456789ABCDEF" for c in code)
