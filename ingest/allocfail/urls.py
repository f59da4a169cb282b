"""Where the articles are served."""

from __future__ import annotations

import os

from allocfail.errors import InputError
from allocfail.terminal import printable

__all__ = ["DEFAULT_URL", "URL_VARIABLE", "article_url", "base_url"]

#: Where ``allocfail kb serve`` listens unless told otherwise.
DEFAULT_URL = "http://127.0.0.1:8765/"
#: Environment variable that names another place where the built pages are served.
URL_VARIABLE = "ALLOCFAIL_KB_URL"


def base_url(given: str | None = None) -> str:
    """Return where the pages are served: ``given``, else the environment's :data:`URL_VARIABLE`, else the default.

    The result ends with ``/``. Raises :class:`InputError` for what is not an http or https URL, or carries a query.
    """
    from urllib.parse import urlsplit  # noqa: PLC0415 - the default needs no parsing

    url = given or os.environ.get(URL_VARIABLE) or DEFAULT_URL
    try:
        parts = urlsplit(url)
        good = parts.scheme in {"http", "https"} and bool(parts.hostname) and not parts.query and not parts.fragment
    except ValueError:
        good = False
    if not good or not url.isprintable() or " " in url:
        raise InputError(f"not a base URL of http or https: {printable(url)}")
    return url if url.endswith("/") else url + "/"


def article_url(base: str, identifier: str, anchor: str = "") -> str:
    """Return the address of an article's page, or of a section on it, below ``base`` (see :func:`base_url`)."""
    return f"{base}{identifier}.html{'#' if anchor else ''}{anchor}"
