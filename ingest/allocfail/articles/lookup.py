"""Which articles apply to the events of an input: documents that say so themselves, or logs that are decoded first."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from allocfail.logs import events as decoder

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import BinaryIO

__all__ = ["documents", "lookup"]

#: A line longer than this is no document of ours (their largest field is a whole dump); it is decoded as log text.
_LINE = 4 * 1024 * 1024
#: A document spread over many lines is read whole up to this size, in bytes.
_WHOLE = 64 * 1024 * 1024

#: What of the verdict is answered.
_VERDICT = (
    "cause",
    "summary",
    "severity",
    "severity_reason",
    "unknown",
    "zone_reclaim_mode",
    "zone_reclaim_reason",
    "remedies",
    "actions",
)


def lookup(stream: BinaryIO, base: str) -> Iterator[dict[str, Any]]:
    """Yield an excerpt of each event of ``stream`` with the articles that apply to it, in order.

    ``stream`` holds documents (one a line, or one spread over lines; a search hit's ``_source`` is opened) or a log in
    any form. A document that has ``allocfail.kb`` is answered from its own fields; everything else is decoded, with
    links below ``base``. The excerpt has the names of the document: ``message``, ``allocfail.kind``,
    ``allocfail.fingerprint``, ``allocfail.verdict`` (cause, severity and remedies), ``allocfail.kb`` (empty where no
    article applies).
    """
    for document in documents(stream, decoder.Options(kb_url=base)):
        yield _excerpt(document)


def documents(stream: BinaryIO, options: decoder.Options) -> Iterator[dict[str, Any]]:
    """Yield the document of each event of ``stream``, in order.

    A document that carries its articles is given as it is; everything else is decoded.
    """
    answered: list[dict[str, Any]] = []
    for event in decoder.decode(_rest(stream, answered), options):
        yield from answered
        answered.clear()
        yield event.document
    yield from answered


def _rest(stream: BinaryIO, answered: list[dict[str, Any]]) -> Iterator[bytes]:
    """Yield what has to be decoded; documents that need not be go to ``answered``."""
    first = True
    while line := stream.readline(_LINE):
        if first and line.strip() in {b"{", b"["}:
            yield from _spread(line + stream.read(_WHOLE), answered)
            first = False
            continue
        first = first and not line.strip()
        found = _document(line) if b"allocfail" in line else None
        if found is None or not _answer(found, answered):
            yield line


def _spread(data: bytes, answered: list[dict[str, Any]]) -> Iterator[bytes]:
    """Take one JSON text apart that stands on many lines: a document, a list of them, or a search's response."""
    try:
        whole = json.loads(data)
    except (ValueError, RecursionError):
        yield data
        return
    hits = _at(whole, "hits.hits")
    for found in hits if isinstance(hits, list) else whole if isinstance(whole, list) else [whole]:
        source = _source(found)
        if not _answer(source, answered):
            yield json.dumps(source).encode() + b"\n"


def _document(line: bytes) -> Any:
    if not line.lstrip().startswith(b"{"):
        return None
    try:
        return _source(json.loads(line))
    except (ValueError, RecursionError):
        return None


def _source(found: Any) -> Any:
    return found["_source"] if isinstance(found, dict) and isinstance(found.get("_source"), dict) else found


def _answer(found: Any, answered: list[dict[str, Any]]) -> bool:
    """Whether ``found`` is a document that carries its articles; it is then in ``answered``."""
    articles = _at(found, "allocfail.kb")
    if not isinstance(articles, list) or not all(isinstance(item, dict) and "id" in item for item in articles):
        return False
    answered.append(found)
    return True


def _excerpt(document: Any) -> dict[str, Any]:
    own: dict[str, Any] = {}
    for name in ("kind", "fingerprint"):
        value = _at(document, f"allocfail.{name}")
        if value is not None:
            own[name] = value
    verdict = {name: _at(document, f"allocfail.verdict.{name}") for name in _VERDICT}
    verdict = {name: value for name, value in verdict.items() if value is not None}
    if verdict:
        own["verdict"] = verdict
    own["kb"] = _at(document, "allocfail.kb") or []
    excerpt: dict[str, Any] = {"allocfail": own}
    message = _at(document, "message")
    if isinstance(message, str):
        excerpt = {"message": message, **excerpt}
    return excerpt


def _at(found: Any, path: str) -> Any:
    """Return the value at a dotted path, of which any part may be written as one dotted key; None where it is not."""
    if not isinstance(found, dict):
        return None
    if path in found:
        return found[path]
    at = path.find(".")
    while at >= 0:
        if path[:at] in found:
            value = _at(found[path[:at]], path[at + 1 :])
            if value is not None:
                return value
        at = path.find(".", at + 1)
    return None
