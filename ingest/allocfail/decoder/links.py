"""The addresses of articles."""

from __future__ import annotations

__all__ = ["ID_PLACE", "SECTION_PLACE", "article_url"]

#: Stands in a base address where an article's id belongs, for articles that are not served as the built pages.
ID_PLACE = "{id}"
#: Stands there for the id with a dot and the section's anchor behind it, as the index of the articles has it.
SECTION_PLACE = "{section}"


def article_url(base: str, identifier: str, anchor: str = "") -> str:
    """Return the address of an article, or of a section of it, at ``base`` (see :func:`allocfail.urls.base_url`)."""
    if SECTION_PLACE in base or ID_PLACE in base:
        section = f"{identifier}.{anchor}" if anchor else identifier
        return base.replace(SECTION_PLACE, section).replace(ID_PLACE, identifier)
    return f"{base}{identifier}.html#{anchor}" if anchor else f"{base}{identifier}.html"
