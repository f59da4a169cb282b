"""Where the articles are served."""

from __future__ import annotations

import os

from allocfail.errors import InputError
from allocfail.terminal import printable

__all__ = ["DEFAULT_URL", "URL_VARIABLE", "base_url", "given_url"]

#: Where ``allocfail kb serve`` listens unless told otherwise.
DEFAULT_URL = "http://127.0.0.1:8765/"
#: Environment variable that names another place where the built pages are served.
URL_VARIABLE = "ALLOCFAIL_KB_URL"


def given_url(given: str | None = None) -> str | None:
    """Return the address that somebody has named: ``given``, else the environment's; None where nobody has."""
    return given or os.environ.get(URL_VARIABLE) or None


def base_url(given: str | None = None) -> str:
    """Return where the articles are: ``given``, else the environment's :data:`URL_VARIABLE`, else the default.

    It is an address below which the built pages are served, and then ends with ``/``; or, for articles that are served
    in another way, one with ``{id}`` where an article's id belongs or ``{section}`` where that and a section's anchor
    do (see :func:`allocfail.decoder.links.article_url`). Raises :class:`InputError` for what is no http or https URL,
    or carries a query without either.
    """
    from urllib.parse import urlsplit  # noqa: PLC0415 - the default needs no parsing

    url = given_url(given) or DEFAULT_URL
    templated = "{id}" in url or "{section}" in url
    try:
        parts = urlsplit(url)
        good = parts.scheme in {"http", "https"} and bool(parts.hostname) and "{" not in parts.netloc
    except ValueError:
        good = False
    if not good or (not templated and (parts.query or parts.fragment)) or not url.isprintable() or " " in url:
        raise InputError(f"not a base URL of http or https: {printable(url)}")
    return url if templated or url.endswith("/") else url + "/"
