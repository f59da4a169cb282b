"""An event's document put into the one it was found in: nothing that is there is overwritten."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from allocfail.decoder import times
from allocfail.decoder.containers import provenance
from allocfail.decoder.fields import at
from allocfail.decoder.kit import now_millis

if TYPE_CHECKING:
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
    _journal(document, made, options)
    if further:
        own["further_events"] = further
    made.pop("message", None)
    event: dict[str, Any] = made["event"]
    event["original"] = text
    if "@timestamp" in document:
        made.pop("@timestamp", None)
        own.pop("time_source", None)
    elif "@timestamp" not in made:
        made["@timestamp"] = times.stamp(options.now if options.now is not None else now_millis())
        own["time_source"] = "ingest"
    _relayed(document, made)
    _tag(document, made)
    _related(document, made)
    _fill(document, made, "", document)


def _journal(document: dict[str, Any], made: dict[str, Any], options: Options) -> None:
    """Take from a journal's own fields what its text does not say: host, time, and who wrote it."""
    own: dict[str, Any] = made["allocfail"]
    proof = provenance(document)
    if proof is not None and own["provenance"] == "plausible":
        own["provenance"] = proof
    host = document.get("_HOSTNAME")
    named: dict[str, Any] = made.get("host", {})
    if isinstance(host, str) and host and "hostname" not in named:
        made["host"] = {**named, "hostname": host}
        made["related"] = {"hosts": [host]}
    printed = document.get("__REALTIME_TIMESTAMP")
    if isinstance(printed, str) and "@timestamp" not in made:
        stamp = times.resolve(printed, year=options.year, tz=options.timezone, reference=options.reference)
        if stamp is not None:
            made["@timestamp"] = stamp
            own["time_source"] = "log"


def _relayed(document: dict[str, Any], made: dict[str, Any]) -> None:
    """Put the line's host where the relay's protocol has it, if the collector's own is in ``host.*``."""
    host: dict[str, Any] = made.get("host", {})
    named = host.get("hostname")
    theirs = [name for name in (at(document, "host.hostname"), at(document, "host.name")) if isinstance(name, str)]
    if named is None or not theirs or named in theirs:
        return
    made.pop("host")
    log: dict[str, Any] = made.setdefault("log", {})
    syslog: dict[str, Any] = log.setdefault("syslog", {})
    syslog["hostname"] = named


def _tag(document: dict[str, Any], made: dict[str, Any]) -> None:
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


def _fill(into: dict[str, Any], made: dict[str, Any], path: str, document: dict[str, Any]) -> None:
    """Put every field of ``made`` that ``document`` lacks into ``into``; objects of the document are not shared."""
    for key, value in made.items():
        here = f"{path}.{key}" if path else key
        present = into.get(key)
        if isinstance(value, dict):
            if isinstance(present, dict):
                kept = dict(present)
                _fill(kept, value, here, document)
                into[key] = kept
            elif key not in into and not _is_dotted_leaf(document, here):
                inner: dict[str, Any] = {}
                _fill(inner, value, here, document)
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
