"""Documents in, the same documents out, enriched where they hold an event: what the ingest pipelines do, in Python."""

from __future__ import annotations

from datetime import UTC, datetime
from functools import cache
from typing import Any

from allocfail import facts
from allocfail.decoder import times
from allocfail.decoder.assembly import Assembler, Dump
from allocfail.decoder.containers import provenance
from allocfail.decoder.document import Options, build
from allocfail.decoder.fields import at
from allocfail.decoder.header import parse_header
from allocfail.decoder.untangle import read_text

__all__ = ["TAG", "dumps_of", "enrich", "may_hold"]

TAG = "kernel-allocation-failure"


@cache
def _limits() -> dict[str, Any]:
    limits: dict[str, Any] = facts.load()["reading"]
    return limits


def may_hold(text: str) -> bool:
    """Whether a text may hold an event: one of the words that every event has is in it."""
    return "alloc" in text or "oom-killer" in text


def source(document: dict[str, Any], fields: list[str] | None = None) -> tuple[str, list[Dump]] | None:
    """Return the text that is read and the dumps in it: of the first source field that holds an event."""
    for field in fields or _limits()["fields"]:
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
    for record in read_text(text):
        found += assembler.feed(record)
    found += assembler.close()
    return found


def _first_header(text: str) -> list[Dump]:
    at = 0
    for _ in range(2000):
        hits = [hit for hit in (text.find("alloc", at), text.find("oom-killer", at)) if hit >= 0]
        if not hits:
            return []
        hit = min(hits)
        start = text.rfind("\n", 0, hit) + 1
        end = text.find("\n", hit)
        end = len(text) if end < 0 else end
        at = end + 1
        # A line this long is no kernel's; what is wanted stands close to the hit.
        line = text[max(start, hit - 4096) : min(end, hit + 4096)].lstrip(">| ")
        for record in read_text(line):
            header = parse_header(record.text)
            if header is not None and not header.precursor:
                assembler = Assembler()
                found = [*assembler.feed(record), *assembler.close()]
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
    if options.kernel is None:
        release = at(document, "host.os.kernel")
        if isinstance(release, str) and release:
            options = _with_kernel(options, release)
    made = build(dumps[0], options)
    _journal(document, made, options)
    return _merge(document, made, text, further=len(dumps) - 1, now=now, only=options.only)


def _done(document: dict[str, Any]) -> bool:
    """Whether a document has a fingerprint, in whatever way its keys are written."""
    own = document.get("allocfail")
    return (
        at(document, "allocfail.fingerprint") is not None
        or _dotted_below(document, "allocfail.fingerprint")
        or (isinstance(own, dict) and _dotted_below(own, "fingerprint"))
    )


def _journal(document: dict[str, Any], made: dict[str, Any], options: Options) -> None:
    """Take from a journal's own fields what its text does not say: host, time, and who wrote it."""
    own = made["allocfail"]
    proof = provenance(document)
    if proof is not None and own["provenance"] == "plausible":
        own["provenance"] = proof
    host = document.get("_HOSTNAME")
    if isinstance(host, str) and host and "hostname" not in made.get("host", {}):
        made["host"] = {"hostname": host, **made.get("host", {})}
        made["related"] = {"hosts": [host]}
    printed = document.get("__REALTIME_TIMESTAMP")
    if isinstance(printed, str) and "@timestamp" not in made:
        stamp = times.resolve(printed, year=options.year, tz=options.timezone, reference=options.reference)
        if stamp is not None:
            made["@timestamp"] = stamp
            own["time_source"] = "log"


def _with_kernel(options: Options, release: str) -> Options:
    from dataclasses import replace  # noqa: PLC0415 - rare, and slow to import

    return replace(options, kernel=release)


def _merge(
    document: dict[str, Any],
    made: dict[str, Any],
    text: str,
    *,
    further: int,
    now: datetime | None,
    only: tuple[str, ...] = (),
) -> dict[str, Any]:
    own = made["allocfail"]
    if further:
        own["further_events"] = further
    made.pop("message", None)
    made["event"]["original"] = text
    stamp = made.pop("@timestamp", None)
    if "@timestamp" in document:
        own.pop("time_source", None)
    else:
        if stamp is None:
            moment = (now or datetime.now(UTC)).astimezone(UTC)
            stamp = f"{moment:%Y-%m-%dT%H:%M:%S}.{moment.microsecond // 1000:03d}Z"
            own["time_source"] = "ingest"
        made["@timestamp"] = stamp
    host = made.get("host", {})
    named = host.get("hostname")
    theirs = [n for n in (at(document, "host.hostname"), at(document, "host.name")) if isinstance(n, str)]
    if named is not None and theirs and named not in theirs:
        # The collector's own host is in host.*: the line's goes where the relay's protocol has it.
        made.pop("host")
        made.setdefault("log", {}).setdefault("syslog", {})["hostname"] = named
    if only:
        made = {key: value for key, value in made.items() if key in only}
    out = dict(document)
    tags = out.get("tags")
    if "tags" in made and isinstance(tags, list):
        made.pop("tags")
        if TAG not in tags:
            out["tags"] = [*tags, TAG]
    elif "tags" in made and isinstance(tags, str):
        made.pop("tags")
        if tags != TAG:
            out["tags"] = [tags, TAG]
    hosts = at(out, "related.hosts")
    if isinstance(hosts, list) and "related" in made and isinstance(out.get("related"), dict):
        new = [h for h in made.pop("related")["hosts"] if h not in hosts]
        if new:
            out["related"] = {**out["related"], "hosts": [*hosts, *new]}
    _fill(out, made, "", document)
    return out


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
