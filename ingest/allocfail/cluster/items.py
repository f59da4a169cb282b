"""From a log's events to what is sent: identity, number, and what the log does not say."""

from __future__ import annotations

from typing import TYPE_CHECKING

from allocfail.cluster.identity import Identity, Numbers, identity
from allocfail.cluster.ship import Item

if TYPE_CHECKING:
    from allocfail.logs.events import Event

__all__ = ["identify", "item"]


def identify(event: Event, host: str | None = None) -> Identity:
    """Return an event's identity; ``host`` is the log's where no line names one."""
    head = event.event.head
    known = identity(event.event.dump, event.document, head.origin.boot if head.origin is not None else None)
    return known._replace(host=host) if host is not None and not known.host else known


def item(event: Event, numbers: Numbers, place: str, host: str | None = None) -> Item:
    """Return what is sent of an event; ``place`` says where the log is, for messages."""
    known = identify(event, host)
    document = event.document
    if host is not None and "hostname" not in document.get("host", {}):
        document["host"] = {**document.get("host", {}), "hostname": host}
        document["related"] = {"hosts": [host]}
    return Item(known, document, place, number=numbers.take(known))
