"""What one line says by itself: each line is read once, without a look at any other."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from allocfail.decoder.banner import parse_banner
from allocfail.decoder.header import parse_header
from allocfail.decoder.trace import parse_frames

if TYPE_CHECKING:
    from allocfail.decoder.banner import Banner
    from allocfail.decoder.header import Header
    from allocfail.decoder.records import Record
    from allocfail.decoder.trace import Frame

__all__ = ["Said", "read"]


_new = tuple.__new__  # a named tuple's own constructor takes twice as long


class Said(NamedTuple):
    """A record, and what kind of line it is; of most lines none of these is there."""

    record: Record
    frames: tuple[Frame, ...] | None = None
    """Of a trace's line."""
    header: Header | None = None
    banner: Banner | None = None


def read(record: Record) -> Said:
    """Read a record's text."""
    text = record.text
    frames = parse_frames(text)
    if frames is not None:
        # Most lines of a dump, and no other kind of line is one.
        return _new(Said, (record, frames, None, None))
    if "alloc" in text or "vmap " in text or "oom-killer" in text:
        header = parse_header(text)
        if header is not None:
            return Said(record, None, header)
    if text.startswith(("CPU: ", "Pid: ")):
        return Said(record, None, None, parse_banner(text))
    return _new(Said, (record, None, None, None))
