"""Where bytes stand in a text: by stringzilla, at memory speed; without it, as in the single file, by ``re``."""

from __future__ import annotations

import re
from functools import cache
from typing import TYPE_CHECKING

__all__ = ["find"]

if TYPE_CHECKING:
    Text = bytes | bytearray | memoryview


@cache
def _pattern(wanted: bytes) -> re.Pattern[bytes]:
    return re.compile(re.escape(wanted))


def _find(text: Text, wanted: bytes) -> int:
    """Return where ``wanted`` first stands in a text, -1 where it does not; a view is not copied."""
    found = _pattern(wanted).search(text)
    return -1 if found is None else found.start()


try:
    from stringzilla import find
except ModuleNotFoundError:
    find = _find
