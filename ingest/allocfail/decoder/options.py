"""What a decoder is told beside the log; a module of its own, since a log without events needs nothing more."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from allocfail.urls import DEFAULT_URL

if TYPE_CHECKING:
    from datetime import datetime

__all__ = ["Options"]


@dataclass(frozen=True, slots=True)
class Options:
    """What a decoder is told beside the log."""

    kernel: str | None = None
    """Release of the kernel, where the log does not say."""
    year: int | None = None
    timezone: str = "UTC"
    reference: datetime | None = None
    """The time that a date without a year may not lie behind; now where None."""
    file: str | None = None
    """``log.file.path``."""
    kb_url: str = DEFAULT_URL
    only: tuple[str, ...] = ()
    """The top-level fields that a document is filled with, ``allocfail`` among them; empty: all."""
