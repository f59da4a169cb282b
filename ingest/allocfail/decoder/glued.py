"""Dumps whose line ends became blanks on their way through a form or a chat."""

from __future__ import annotations

import re

from allocfail.decoder.prefixes import has_words

__all__ = ["GLUED_LENGTH", "unglued"]

#: A text without line ends is such a dump from this many characters and frames on.
GLUED_LENGTH = 240
_FRAMES = 2

_CLOCK = r"[0-9]{2}:[0-9]{2}:[0-9]{2}"
_DATE = rf"(?:<[0-9]+>)?(?:[A-Z][a-z]{{2}} {{1,2}}[0-9]{{1,2}} {_CLOCK}|[0-9]{{4}}-[0-9]{{2}}-[0-9]{{2}}[T ]{_CLOCK})"
_STAMP = r"(?:<[0-9]+>)?\[ *[0-9]{1,12}\.[0-9]{6}\]"
#: What the lines of a dump begin with: a blank in front of one of these was a line end.
_BODY = (
    r"(?:CPU: [0-9]+ (?:UID: [0-9]+ )?PID: |Pid: [0-9]+, comm: |Hardware name: |Workqueue: |Call [Tt]race:|Backtrace:"
    r"|</?[A-Z]{3,4}>|\[<[0-9a-f]{8,16}>\] (?:\? )?[A-Za-z_.$]|(?:\? )?[A-Za-z_.$][A-Za-z0-9_.$]*\+0x[0-9a-f]+/0x"
    r"|RIP: |RSP: |RAX: |Code: |cache: |node [0-9]+: slabs"
    r"|Mem-[Ii]nfo:|active_(?:anon|file):[0-9]|unevictable:[0-9]|slab_reclaimable:[0-9]+ |mapped:[0-9]+ |free:[0-9]+ "
    r"|Node [0-9]+ [A-Za-z]|(?:DMA|DMA32|Normal|HighMem|Movable)(?: free|: [0-9]+\*)|lowmem_reserve\[\]:"
    r"|[0-9]+ total pagecache|[0-9]+ pages |Free swap|Total swap|Swap cache)"
)
_IS_DATED = re.compile(_DATE).match
_IS_STAMPED = re.compile(_STAMP).match
_AT_DATE = re.compile(rf"[ \t]+(?={_DATE})").search
_AT_STAMP = re.compile(rf"[ \t]+(?={_STAMP})").search
_AT_BODY = re.compile(rf"[ \t]+(?={_BODY})").search


def unglued(text: str) -> list[str]:
    """Split a dump whose line ends became blanks; any other text stays in one piece."""
    if text.count("+0x") < _FRAMES or not has_words(text):
        return [text]
    dated, stamped = _IS_DATED(text) is not None, _IS_STAMPED(text) is not None
    parts: list[str] = []
    at = 0
    end = _AT_DATE(text) if dated else _AT_STAMP(text) if stamped else _AT_BODY(text)
    while end is not None:
        parts.append(text[at : end.start()])
        at = end.end()
        end = _AT_DATE(text, at) if dated else _AT_STAMP(text, at) if stamped else _AT_BODY(text, at)
    return [*parts, text[at:]]
