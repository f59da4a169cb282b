"""Documents in, the same documents out, enriched where they hold an event: what the ingest pipelines do, in Python."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from functools import cache
from typing import TYPE_CHECKING, Any

from allocfail import facts
from allocfail.decoder import times
from allocfail.decoder.assembly import Assembler, Dump
from allocfail.decoder.containers import described, hosts_of
from allocfail.decoder.document import Options, build
from allocfail.decoder.fields import at
from allocfail.decoder.header import parse_header
from allocfail.decoder.kill import parse_kill
from allocfail.decoder.untangle import read_text

if TYPE_CHECKING:
    from allocfail.decoder.containers import Opened

__all__ = ["TAG", "dumps_of", "enrich", "may_hold"]

TAG = "kernel-allocation-failure"


@cache
def _limits() -> dict[str, Any]:
    limits: dict[str, Any] = facts.load()["reading"]
    return limits


@cache
def _fields() -> list[str]:
    fields: list[str] = facts.load()["containers"]["texts"]
    return fields


def may_hold(text: str) -> bool:
    """Whether a text may hold an event: one of the words that every event has is in it."""
    return "alloc" in text or "oom-kill" in text or "ill process " in text or "illed process " in text


def source(document: dict[str, Any], fields: list[str] | None = None) -> tuple[str, list[Dump]] | None:
    """Return the text that is read and the dumps in it: of the first source field that holds an event."""
    for field in fields or _fields():
        text = at(document, field)
        if isinstance(text, str) and may_hold(text):
            found = dumps_of(text)
            if found:
                return text, found
    return None


def dumps_of(text: str) -> list[Dump]:
    """Return the dumps in a text; of one that is very long only the first header, as a dump that says why."""
    limits = _limits()
    if (
        len(text) > limits["characters"]
        or text.count("\n") > limits["lines"]
        or (len(text) > limits["line"] and max(map(len, text.split("\n"))) > limits["line"])
    ):
        return _first_header(text)
    assembler = Assembler()
    found: list[Dump] = []
    for record in read_text(text, carried=True):
        found += assembler.feed(record)
    found += assembler.close()
    return found


def _first_header(text: str) -> list[Dump]:
    at = 0
    for _ in range(2000):
        hits = [
            hit for word in ("alloc", "oom-kill", "ill process ", "illed process ") if (hit := text.find(word, at)) >= 0
        ]
        if not hits:
            return []
        hit = min(hits)
        start = text.rfind("\n", 0, hit) + 1
        end = text.find("\n", hit)
        end = len(text) if end < 0 else end
        at = end + 1
        # A line this long is no kernel's; what is wanted stands close to the hit.
        line = text[max(start, hit - 4096) : min(end, hit + 4096)].lstrip(">| ")
        for record in read_text(line, carried=True):
            header = parse_header(record.text)
            kill = parse_kill(record.text)
            if (header is not None and not header.precursor) or (kill is not None and kill.alone):
                assembler = Assembler()
                found = [*assembler.feed(record), *assembler.close()]
                if found:
                    found[0].limit = "too long"
                    return found
    return []


def enrich(
    document: dict[str, Any],
    options: Options | None = None,
    *,
    now: datetime | None = None,
    fields: list[str] | None = None,
) -> dict[str, Any] | None:
    """Return a document with what its first event says filled in; None where it holds no event, or holds it already.

    What is there stays: nothing is overwritten, and a field whose parent is no object is left out. ``now`` is the
    time of ingest, for a document without one; ``fields`` are the source fields, in the order in which they are tried.
    """
    if _done(document):
        return None
    found = source(document, fields)
    if found is None:
        return None
    text, dumps = found
    options = options or Options()
    outer = described(document, text)
    if options.kernel is None and outer.origin.release is not None:
        options = replace(options, kernel=outer.origin.release)
    own_time = times.resolve(outer.time, tz=options.timezone) if outer.time is not None else None
    if options.reference is None and own_time is not None:
        # The document's own time says which year a line's date without one is of.
        options = replace(options, reference=datetime.fromisoformat(own_time))
    made = build(dumps[0], options)
    _describe(made, outer, own_time, named="host" in document and at(document, "host.name") is not None)
    return _merge(document, made, text, further=len(dumps) - 1, now=now)


def _done(document: dict[str, Any]) -> bool:
    """Whether a document has a fingerprint, in whatever way its keys are written."""
    own = document.get("allocfail")
    return (
        at(document, "allocfail.fingerprint") is not None
        or _dotted_below(document, "allocfail.fingerprint")
        or (isinstance(own, dict) and _dotted_below(own, "fingerprint"))
    )


def _describe(made: dict[str, Any], outer: Opened, own_time: str | None, *, named: bool) -> None:
    """Take from a document's own fields what its text does not say: host, time, uptime, and who wrote it.

    ``named``: the document says by itself whose it is, so there is no host to fill in.
    """
    own = made["allocfail"]
    if outer.origin.provenance is not None:
        own["provenance"] = outer.origin.provenance
    if outer.host is not None and not named and "hostname" not in made.get("host", {}):
        made["host"] = {"hostname": outer.host, **made.get("host", {})}
        made["related"] = {"hosts": [outer.host]}
    if own_time is not None and "@timestamp" not in made:
        made["@timestamp"] = own_time
        own["time_source"] = "log"
    if outer.uptime is not None and "uptime" not in own:
        own["uptime"] = float(outer.uptime)


def _merge(
    document: dict[str, Any], made: dict[str, Any], text: str, *, further: int, now: datetime | None
) -> dict[str, Any]:
    own = made["allocfail"]
    if further:
        own["further_events"] = further
    made.pop("message", None)
    made["event"]["original"] = text
    stamp = made.pop("@timestamp", None)
    if "@timestamp" in document:
        own.pop("time_source", None)
        own.pop("time_guessed", None)
    else:
        if stamp is None:
            moment = (now or datetime.now(UTC)).astimezone(UTC)
            stamp = f"{moment:%Y-%m-%dT%H:%M:%S}.{moment.microsecond // 1000:03d}Z"
            own["time_source"] = "ingest"
        made["@timestamp"] = stamp
    host = made.get("host", {})
    named = host.get("hostname")
    theirs = hosts_of(document)
    if named is not None and theirs and named not in theirs and isinstance(document.get("host"), dict):
        # The collector's own host is in host.*: the line's goes where the relay's protocol has it.
        made.pop("host")
        made.setdefault("log", {}).setdefault("syslog", {})["hostname"] = named
    known = [*theirs, *made.get("related", {}).get("hosts", [])]
    if known:
        made["related"] = {"hosts": list(dict.fromkeys(known))}
    out = dict(document)
    _forget_the_kernel(out)
    tags = out.get("tags")
    if isinstance(tags, list):
        made.pop("tags")
        if TAG not in tags:
            out["tags"] = [*tags, TAG]
    elif isinstance(tags, str):
        made.pop("tags")
        if tags != TAG:
            out["tags"] = [tags, TAG]
    hosts = at(out, "related.hosts")
    if isinstance(hosts, list) and "related" in made and isinstance(out.get("related"), dict):
        new = [h for h in made.pop("related")["hosts"] if h not in hosts]
        if new:
            out["related"] = {**out["related"], "hosts": [*hosts, *new]}
    _fill(out, made, "", dict(out))
    return out


def _forget_the_kernel(out: dict[str, Any]) -> None:
    """Drop what a shipper writes for a line that no process wrote: the task that asked is the event's process."""
    process = out.get("process")
    if isinstance(process, dict):
        kept = {
            key: value
            for key, value in process.items()
            if not (key == "name" and value in ("kernel", "")) and not (key == "pid" and value == "")
        }
        if len(kept) < len(process):
            out["process"] = kept
    if out.get("process.name") in ("kernel", ""):
        del out["process.name"]
    if out.get("process.pid") == "":
        del out["process.pid"]


def _fill(into: dict[str, Any], made: dict[str, Any], path: str, document: dict[str, Any]) -> None:
    """Put every field of ``made`` that ``document`` lacks into ``into``; objects of the document are not shared."""
    for key, value in made.items():
        here = f"{path}.{key}" if path else key
        present = into.get(key)
        if isinstance(value, dict):
            if present is None:
                if key in into or _dotted_leaf(document, here):
                    continue
                inner: dict[str, Any] = {}
                _fill(inner, value, here, document)
                if inner:
                    into[key] = inner
            elif isinstance(present, dict):
                inner = dict(present)
                _fill(inner, value, here, document)
                into[key] = inner
        elif key not in into and at(document, here) is None and not _dotted_below(document, here):
            into[key] = value


def _dotted_leaf(document: dict[str, Any], path: str) -> bool:
    """Whether a dotted key holds something that is no object where an object is wanted."""
    value = document.get(path)
    return value is not None and not isinstance(value, dict)


def _dotted_below(document: dict[str, Any], path: str) -> bool:
    """Whether a dotted key goes below a field, which then is an object."""
    return any(key.startswith(path + ".") for key in document)
