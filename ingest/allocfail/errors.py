"""The errors that end a command with one clear line."""

from __future__ import annotations

__all__ = ["AllocfailError", "InputError", "NotFoundError"]


class AllocfailError(Exception):
    """What went wrong, in one line for a person; the command ends with ``exit_code``."""

    exit_code = 1


class NotFoundError(AllocfailError):
    """The asked-for thing was not found or did not hold (exit 1)."""


class InputError(AllocfailError):
    """Bad usage or unreadable input (exit 2)."""

    exit_code = 2
