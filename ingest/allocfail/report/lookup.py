"""What ``kb lookup`` says of an event: its cause, what to do, and which articles apply and why."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from allocfail.report.event import Line, judgement, link
from allocfail.terminal import printable

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["lines"]


def lines(excerpt: dict[str, Any], *, served: bool) -> Iterator[Line]:
    """Yield what is said of an excerpt (:func:`allocfail.articles.lookup.lookup`); ``served`` as in ``answer``."""
    own = excerpt["allocfail"]
    fingerprint = own.get("fingerprint")
    title = fingerprint.get("title") if isinstance(fingerprint, dict) else None
    yield Line("", printable(str(title or excerpt.get("message") or own.get("kind"))), "title")
    yield from judgement(own.get("verdict", {}), str(own.get("kind")))
    for item in own["kb"]:
        yield Line("read", printable(str(item.get("title", item["id"]))))
        if "why" in item:
            yield Line("", printable(str(item["why"])))
        yield Line("", link(item, served=served), "link")
