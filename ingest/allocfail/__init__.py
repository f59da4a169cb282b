"""Linux memory-allocation failures, decoded, grouped and explained."""

from __future__ import annotations

__all__ = ["__version__"]

__version__: str


def __getattr__(name: str) -> str:
    """Look the version up when it is asked for: ``importlib.metadata`` takes longer to import than a small log."""
    if name != "__version__":
        raise AttributeError(name)
    from importlib.metadata import PackageNotFoundError, version  # noqa: PLC0415 - see above

    try:
        return version("allocfail")
    except PackageNotFoundError:  # a source tree that was never installed
        return "0"
