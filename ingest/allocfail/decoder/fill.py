"""An event's document put into the one it was found in: nothing that is there is overwritten."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from allocfail.decoder import times
from allocfail.decoder.containers import described, hosts_of
from allocfail.decoder.document import is_short
from allocfail.decoder.fields import at
from allocfail.decoder.kit import decimal, now_millis

if TYPE_CHECKING:
    from allocfail.decoder.containers import Opened
    from allocfail.decoder.options import Options

__all__ = ["TAG", "fill", "is_filled"]

TAG = "kernel-allocation-failure"


def is_filled(document: dict[str, Any]) -> bool:
    """Whether a document has a fingerprint, in whatever way its keys are written."""
    own = document.get("allocfail")
    return (
        at(document, "allocfail.fingerprint") is not None
        or _is_dotted_below(document, "allocfail.fingerprint")
        or (isinstance(own, dict) and _is_dotted_below(own, "fingerprint"))
    )


def fill(document: dict[str, Any], made: dict[str, Any], options: Options, *, text: str, further: int) -> None:
    """Put what ``made`` says into ``document``, which was read from ``text``, where it lacks it.

    What is there stays, and a field whose parent is no object is left out. ``further`` counts the text's other events.
    """
    own: dict[str, Any] = made["allocfail"]
    _describe(document, made, described(document, text), options)
    if further:
        own["further_events"] = further
    made.pop("message", None)
    event: dict[str, Any] = made["event"]
    event["original"] = text
    if "@timestamp" in document:
        made.pop("@timestamp", None)
        own.pop("time_source", None)
        own.pop("time_guessed", None)
    elif "@timestamp" not in made:
        made["@timestamp"] = times.stamp(options.now if options.now is not None else now_millis())
        own["time_source"] = "ingest"
    _relate(document, made)
    _relayed(document, made)
    _forget_the_kernel(document)
    if options.only:
        made = {name: value for name, value in made.items() if name in options.only}
    _tag(document, made)
    _related(document, made)
    _fill(document, made, "", document, plain=True)


def _describe(document: dict[str, Any], made: dict[str, Any], outer: Opened, options: Options) -> None:
    """Take from a document's own fields what its text does not say: host, time, uptime, and who wrote it."""
    own: dict[str, Any] = made["allocfail"]
    if outer.origin.provenance is not None and own["provenance"] != "forged":
        own["provenance"] = outer.origin.provenance
    host: dict[str, Any] = made.get("host", {})
    # A document that names its host needs none.
    if outer.host is not None and is_short(outer.host) and "hostname" not in host and at(document, "host.name") is None:
        made["host"] = {**host, "hostname": outer.host}
        made["related"] = {"hosts": [outer.host]}
    if outer.time is not None and "@timestamp" not in made:
        stamp = times.resolve(outer.time, year=options.year, tz=options.timezone, reference=options.reference)
        if stamp is not None:
            made["@timestamp"] = stamp
            own["time_source"] = "log"
    if outer.uptime is not None and "uptime" not in own:
        own["uptime"] = decimal(outer.uptime)


def _relate(document: dict[str, Any], made: dict[str, Any]) -> None:
    """Name every host that the document and its text know."""
    related: dict[str, Any] = made.get("related", {})
    found: list[str] = related.get("hosts", [])
    known = [*[name for name in hosts_of(document) if is_short(name)], *found]
    if known:
        made["related"] = {"hosts": list(dict.fromkeys(known))}


def _forget_the_kernel(document: dict[str, Any]) -> None:
    """Drop what a shipper writes for a line that no process wrote: the task that asked is the event's process."""
    process = document.get("process")
    if isinstance(process, dict):
        kept = {key: value for key, value in process.items() if not _is_nobody(key, value)}
        if len(kept) < len(process):
            document["process"] = kept
    for key in ("name", "pid"):
        if _is_nobody(key, document.get(f"process.{key}")):
            document.pop(f"process.{key}")


def _is_nobody(key: str, value: Any) -> bool:
    return (key == "name" and value in ("kernel", "")) or (key == "pid" and value == "")


def _relayed(document: dict[str, Any], made: dict[str, Any]) -> None:
    """Put the line's host where the relay's protocol has it, if the collector's own is in ``host.*``."""
    host: dict[str, Any] = made.get("host", {})
    named = host.get("hostname")
    theirs = hosts_of(document)
    if named is None or not theirs or named in theirs or not isinstance(document.get("host"), dict):
        return
    made.pop("host")
    log: dict[str, Any] = made.setdefault("log", {})
    syslog: dict[str, Any] = log.setdefault("syslog", {})
    syslog["hostname"] = named


def _tag(document: dict[str, Any], made: dict[str, Any]) -> None:
    if "tags" not in made:
        return
    tags = document.get("tags")
    if isinstance(tags, list):
        made.pop("tags")
        if TAG not in tags:
            document["tags"] = [*tags, TAG]
    elif isinstance(tags, str):
        made.pop("tags")
        if tags != TAG:
            document["tags"] = [tags, TAG]


def _related(document: dict[str, Any], made: dict[str, Any]) -> None:
    """Add the event's hosts to those that are there."""
    hosts = at(document, "related.hosts")
    there = document.get("related")
    if not isinstance(hosts, list) or not isinstance(there, dict) or "related" not in made:
        return
    related: dict[str, Any] = made.pop("related")
    found: list[str] = related["hosts"]
    new = [host for host in found if host not in hosts]
    if new:
        document["related"] = {**there, "hosts": [*hosts, *new]}


def _fill(into: dict[str, Any], made: dict[str, Any], path: str, document: dict[str, Any], *, plain: bool) -> None:
    """Put every field of ``made`` that ``document`` lacks into ``into``; objects of the document are not shared.

    ``plain``: no object around ``into`` has a dotted key.
    """
    plain = plain and not any("." in key for key in into)
    for key, value in made.items():
        if plain and key not in into:
            # It can stand nowhere else.
            into[key] = value
            continue
        here = f"{path}.{key}" if path else key
        present = into.get(key)
        if isinstance(value, dict):
            if isinstance(present, dict):
                kept = dict(present)
                _fill(kept, value, here, document, plain=plain)
                into[key] = kept
            elif key not in into and not _is_dotted_leaf(document, here):
                inner: dict[str, Any] = {}
                _fill(inner, value, here, document, plain=False)
                if inner:
                    into[key] = inner
        elif key not in into and at(document, here) is None and not _is_dotted_below(document, here):
            into[key] = value


def _is_dotted_leaf(document: dict[str, Any], path: str) -> bool:
    """Whether a dotted key holds something that is no object where an object is wanted."""
    value = document.get(path)
    return value is not None and not isinstance(value, dict)


def _is_dotted_below(document: dict[str, Any], path: str) -> bool:
    """Whether a dotted key goes below a field, which then is an object."""
    start = path + "."
    return any(key.startswith(start) for key in document)
