"""What the generator hands out: a report as the kernel printed it, and the truth about it."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cache
from typing import Any

__all__ = ["Dump", "Event", "Frame", "Kernel", "Line", "parse_version"]


@cache
def parse_version(text: str) -> tuple[int, ...]:
    """Take the leading numbers of a release apart: ``5.10.0-28-amd64`` is ``(5, 10, 0)``."""
    numbers: list[int] = []
    for part in text.split("-", maxsplit=1)[0].split("+", maxsplit=1)[0].split("."):
        if not part.isdigit():
            break
        numbers.append(int(part))
    return tuple(numbers)


@dataclass(frozen=True)
class Kernel:
    """A release and the architecture it runs on."""

    release: str
    base: tuple[int, ...]
    arch: str
    distribution: str = ""
    like: tuple[tuple[str, str], ...] = ()
    """Topics that a distribution brought back from a later release."""

    @property
    def family(self) -> str:
        """``x86`` for both of its widths, else the architecture."""
        return "x86" if self.arch in {"i386", "x86_64"} else self.arch

    @property
    def wide(self) -> bool:
        """Whether addresses have 64 bits."""
        return self.arch not in {"i386", "arm", "mips"}

    def at_least(self, version: str, topic: str = "") -> bool:
        """Whether this kernel prints the formats of a release (for a topic)."""
        base = parse_version(dict(self.like)[topic]) if topic in dict(self.like) else self.base
        return base >= parse_version(version)


@dataclass
class Frame:
    """One line of a trace, or a marker between two."""

    function: str
    module: str = ""
    reliable: bool = True
    offset: int = 0
    size: int = 0
    marker: str = ""
    """A boundary or mark printed before this frame (``<EOI>``); a frame without a function is only that."""


@dataclass
class Line:
    """One printk record: its text (which may hold newlines), and what it is a part of."""

    text: str
    part: str
    event: int = 0


@dataclass
class Event:
    """The truth about one event, in the document's terms, nested."""

    truth: dict[str, Any]
    absent: list[str] = field(default_factory=list)
    """Dotted names of fields that the log does not carry."""
    first: int = 0
    """Index of its first record (``records``)."""
    facts: dict[str, Any] = field(default_factory=dict)
    """What the document has no agreed field for: uid, arch, era and so on."""


@dataclass(repr=False)
class Dump:
    """A generated log: ``lines`` as shipped, ``bare`` without prefixes, one truth an event."""

    records: list[Line]
    events: list[Event]
    kernel: Kernel
    kind: str
    prefix: str = "none"
    lines: list[str] = field(default_factory=list)
    tangles: list[str] = field(default_factory=list)
    facts: dict[str, Any] = field(default_factory=dict)

    def __repr__(self) -> str:
        """Say which dump this is: its text would bury a test's message."""
        return f"<{self.kind} of {self.kernel.release} {self.kernel.arch}, {self.prefix} {self.tangles}>"

    @property
    def bare(self) -> list[str]:
        """The report's lines without any prefix."""
        return [line for record in self.records for line in record.text.split("\n")]

    @property
    def truth(self) -> dict[str, Any]:
        """The truth about the first event."""
        return self.events[0].truth

    @property
    def text(self) -> str:
        """The log as shipped."""
        return "\n".join(self.lines) + "\n"
