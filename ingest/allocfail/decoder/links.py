"""The addresses of articles."""

from __future__ import annotations

__all__ = ["ID_PLACE", "article_url"]

#: Stands in a base address where an article's id belongs, for articles that are not served as the built pages.
ID_PLACE = "{id}"


def article_url(base: str, identifier: str, anchor: str = "") -> str:
    """Return the address of an article, or of a section of it, at ``base`` (see :func:`allocfail.urls.base_url`)."""
    if ID_PLACE in base:
        return base.replace(ID_PLACE, identifier)
    return f"{base}{identifier}.html#{anchor}" if anchor else f"{base}{identifier}.html"
