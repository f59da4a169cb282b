"""What framing hands on: one record a logical line of a log."""

from __future__ import annotations

from typing import NamedTuple

__all__ = ["Origin", "Record"]


class Origin(NamedTuple):
    """What the container of a line (journal, /dev/kmsg, Docker, ECS) says beside its text."""

    provenance: str | None = None
    """``kernel`` or ``forged`` where the container proves it, else None (which means ``plausible``)."""
    release: str | None = None
    """Kernel release, from a container field such as ``host.os.kernel``."""
    priority: int | None = None
    """Syslog priority (facility * 8 + severity), RFC 5424 section 6.2.1."""
    time: str | None = None
    """The container's own time, which completes a time without a year."""
    boot: str | None = None
    """Which boot of the host it is of."""


class Record(NamedTuple):
    """One logical line: the kernel's own text, and what stood around it."""

    text: str
    """The message: prefix removed, untangled, no blanks at either end."""
    raw: str
    """The physical line or lines as read (joined by a newline where the text had been wrapped)."""
    offset: int
    """Byte offset of the first physical line in the (uncompressed) input."""
    host: str | None = None
    """Host the prefix names."""
    time: str | None = None
    """Wall-clock time exactly as printed (any format framing knows); :mod:`allocfail.decoder.times` resolves it."""
    uptime: str | None = None
    """printk time, the digits between the brackets: ``12.345678``."""
    caller: str | None = None
    """printk caller id (``T123``, ``C0``): lines of one dump share it."""
    origin: Origin | None = None
    """Of lines that came in a container or with a priority; None for plain text."""
    repeated: int = 0
    """N of a following ``last message repeated N times``."""
    doubtful: bool = False
    """It has a header's words, but only a body behind it shows that it is one."""
    part: str = ""
    """Which part of a line it is (:mod:`allocfail.decoder.framing`), where a runtime cuts long ones."""
    rest: str = ""
    """Of such a part the text as it was cut, blanks included."""
    task: str = ""
    """The process name in the header before it, where this line shows what else stands in front of that."""
