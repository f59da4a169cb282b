"""What a decoder is told beside the log; a module of its own, since a log without events needs nothing more."""

from __future__ import annotations

from dataclasses import dataclass

from allocfail.urls import DEFAULT_URL

__all__ = ["Options"]


@dataclass(frozen=True, slots=True)
class Options:
    """What a decoder is told beside the log."""

    kernel: str | None = None
    """Release of the kernel, where the log does not say."""
    year: int | None = None
    timezone: str = "UTC"
    reference: int | None = None
    """The time that a date without a year may not lie behind, in milliseconds since 1970; now where None."""
    file: str | None = None
    """``log.file.path``."""
    kb_url: str = DEFAULT_URL
    now: int | None = None
    """The time of ingest, in milliseconds since 1970; None: when it is asked for."""
    fields: tuple[str, ...] = ()
    """Source fields of documents, in the order in which they are tried; those of the facts where empty."""
