"""Equal events as one: how many, on which hosts, from when to when."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from allocfail.decoder.fields import at

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["MOST", "Group", "Groups"]

#: Hosts that are named, and hosts that are counted: a log may name as many as it likes.
_NAMED = 3
_COUNTED = 10_000
#: Groups whose first events are held until the end; a log with more is printed as it comes.
MOST = 1_000


@dataclass(slots=True)
class Group:
    """Events with one fingerprint."""

    document: dict[str, Any]
    """The first of them."""
    count: int = 0
    hosts: dict[str, None] = field(default_factory=dict)
    first: str | None = None
    last: str | None = None
    booted: list[float] = field(default_factory=list)
    """Seconds after boot, first and last, where lines have no other time."""
    causes: dict[str, list[Any]] = field(default_factory=dict)
    """By cause, how often, and the first summary."""
    printed: bool = False
    headline: str = ""

    def release(self, headline: str) -> None:
        """Take note that it was printed: what it held for that goes, its headline and counts stay."""
        self.printed = True
        self.headline = headline
        self.document = {}

    def add(self, document: dict[str, Any]) -> None:
        """Count one more event, and what repeats of it the log names."""
        own = document["allocfail"]
        times = 1 + int(own.get("repeated", 0))
        self.count += times
        host = at(document, "host.hostname") or at(document, "log.syslog.hostname")
        if isinstance(host, str) and len(self.hosts) < _COUNTED:
            self.hosts[host] = None
        when = document.get("@timestamp")
        if isinstance(when, str):
            self.first = when if self.first is None else min(self.first, when)
            self.last = when if self.last is None else max(self.last, when)
        elif isinstance(own.get("uptime"), int | float):
            seconds = float(own["uptime"])
            self.booted = [min([seconds, *self.booted]), max([seconds, *self.booted])]
        verdict = own["verdict"]
        self.causes.setdefault(verdict["cause"], [0, verdict["summary"]])[0] += times

    def seen(self) -> str:
        """Return count, hosts and times in words."""
        said = f"{self.count} times"
        hosts = list(self.hosts)
        if hosts:
            named = ", ".join(hosts[:_NAMED])
            said += f" on {named}" if len(hosts) <= _NAMED else f" on {len(hosts)} hosts ({named}, …)"
        if self.first is not None:
            said += f", {self.first}" if self.first == self.last else f", from {self.first} to {self.last}"
        elif self.booted:
            first, last = (f"{seconds:.0f}" for seconds in self.booted)
            said += f", {first} seconds after boot" if first == last else f", from {first} to {last} seconds after boot"
        return said

    def others(self) -> Iterator[tuple[int, str]]:
        """Yield other causes than the first event's, with how many events have each."""
        for cause, (count, summary) in list(self.causes.items())[1:]:
            yield count, f"{cause}: {summary}"


class Groups:
    """Groups in the order in which they were first seen."""

    def __init__(self) -> None:
        """Begin with none."""
        self.found: dict[str, Group] = {}
        self.events = 0

    def add(self, document: dict[str, Any]) -> Group | None:
        """Count an event; return its group where it is the group's first, else None."""
        self.events += 1 + int(document["allocfail"].get("repeated", 0))
        name = document["allocfail"]["fingerprint"]["id"]
        group = self.found.get(name)
        new = group is None
        if group is None:
            group = self.found[name] = Group(document)
        group.add(document)
        return group if new else None

    def total(self) -> str:
        """Return the line that ends a report."""
        groups = len(self.found)
        events = f"{self.events} event{'' if self.events == 1 else 's'}"
        return f"{events} in {groups} group{'' if groups == 1 else 's'}"
