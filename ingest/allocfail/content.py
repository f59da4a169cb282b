"""Where the project's content (articles, facts, pipelines, saved searches) is found."""

from __future__ import annotations

from functools import cache
from pathlib import Path

__all__ = ["content_path", "content_root"]


@cache
def content_root() -> Path:
    """Return the folder that holds ``kb``, ``pipelines`` and ``saved_searches``.

    An installed wheel carries them in ``allocfail/_content``; in a source tree they stand at its root.
    """
    packaged = Path(__file__).parent / "_content"
    return packaged if packaged.is_dir() else Path(__file__).parents[2]


def content_path(relative: str) -> Path:
    """Return the path of a content file or folder, given relative to the root, such as ``kb/articles``."""
    return content_root() / relative
