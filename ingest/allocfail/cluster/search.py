"""Reading many documents of a cluster: a point in time, ``search_after``, and what an index can be asked.

Both products have points in time, under other paths. A page of results is asked for as often as a busy cluster needs.
"""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple, Self

from allocfail import facts
from allocfail.cluster.client import path
from allocfail.cluster.errors import EngineError
from allocfail.cluster.retry import answer, taking

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from datetime import datetime

    from allocfail.cluster.client import Engine
    from allocfail.cluster.retry import Patience

__all__ = ["Fields", "Hit", "Pace", "Reader", "beginnings", "between", "fields_of", "indices_of"]

#: Documents of one page; lines are short.
PAGE = 1_000
#: How long a point in time is kept between two pages.
KEEP = "5m"

#: Types that a full-text query finds words in, and those that hold a text as one word.
_TEXTS = frozenset({"text", "match_only_text"})
_WORDS = frozenset({"keyword", "wildcard", "constant_keyword"})
_DATES = frozenset({"date", "date_nanos"})
_NUMBERS = frozenset({"long", "integer", "short", "byte", "unsigned_long"})


@dataclass(frozen=True, slots=True)
class Hit:
    """One document that was found."""

    index: str
    id: str
    source: dict[str, Any]
    sort: list[Any]


class Pace:
    """Keeps reading below a number of documents a second, over all threads."""

    def __init__(self, rate: float | None, sleep: Callable[[float], None] = time.sleep) -> None:
        """Take documents a second; None is as fast as it goes."""
        self._rate = rate
        self._sleep = sleep
        self._free = 0.0
        self._lock = threading.Lock()

    def take(self, documents: int) -> None:
        """Wait until as many documents may have been read."""
        if self._rate is None:
            return
        with self._lock:
            now = time.monotonic()
            wait = self._free - now
            self._free = max(self._free, now) + documents / self._rate
        if wait > 0:
            self._sleep(wait)


class Fields(NamedTuple):
    """What the indices that are read can be asked."""

    texts: tuple[tuple[str, bool], ...]
    """Fields with a text, and whether they are searched by words (else as a whole)."""
    unsearched: tuple[str, ...]
    """Indices in which no text can be searched for: they are read from one end to the other."""
    time: str | None
    exact: frozenset[str]
    """Fields that a value can be looked up in."""
    undated: tuple[str, ...] = ()
    """Indices in which the field ``time`` is no date: they cannot be sorted together with the others."""


def indices_of(engine: Engine, names: Sequence[str]) -> list[str]:
    """Return the concrete indices behind names, patterns, aliases and data streams; raises where a name has none."""
    found: set[str] = set()
    for name in names:
        found_here = answer(engine, "GET", path("_resolve", "index", name), missing_ok=True) or {}
        here = {item["name"] for item in found_here.get("indices", []) if "closed" not in item.get("attributes", ())}
        for item in found_here.get("data_streams", []):
            here |= set(item["backing_indices"])
        for item in found_here.get("aliases", []):
            here |= set(item["indices"])
        if not here and "*" not in name:
            raise EngineError(f"{engine.where.url}: {name}: there is no such index, alias or data stream", status=404)
        found |= here
    return sorted(found)


def fields_of(
    engine: Engine,
    names: Sequence[str],
    texts: Sequence[str],
    times: Sequence[str],
    exact: Sequence[str],
) -> Fields:
    """Ask which of some fields can be searched, in all indices that ``names`` stand for."""
    wanted = [*texts, *times, *exact]
    wanted += [f"{name}.keyword" for name in (*texts, *exact)]
    merged = _field_caps(engine, names, wanted)
    caps: dict[str, dict[str, Any]] = merged["fields"]
    everywhere = set(merged["indices"])

    def where(name: str, types: frozenset[str]) -> set[str]:
        found: set[str] = set()
        for kind, cap in caps.get(name, {}).items():
            if kind in types and cap.get("searchable"):
                found |= set(cap.get("indices") or everywhere)
        return found

    searched: list[tuple[str, bool]] = []
    covered: set[str] = set()
    for name in texts:
        words = where(name, _TEXTS)
        wholes = where(name, _WORDS)
        if words:
            searched.append((name, True))
        if wholes:
            searched.append((name, False))
        covered |= words | wholes
        if not words and not wholes and (kept := where(f"{name}.keyword", _WORDS)):
            searched.append((f"{name}.keyword", False))
            covered |= kept
    moment = next((name for name in times if where(name, _DATES) >= everywhere), None)
    if moment is None:
        moment = next((name for name in times if where(name, _DATES)), None)
    looked_up = {
        name for base in exact for name in (base, f"{base}.keyword") if where(name, _WORDS | _NUMBERS) >= everywhere
    }
    undated: set[str] = set()
    if moment is not None:
        types = frozenset(caps[moment]) - _DATES - {"unmapped"}
        undated = set().union(*(caps[moment][kind].get("indices") or everywhere for kind in types))
    return Fields(tuple(searched), tuple(sorted(everywhere - covered)), moment, frozenset(looked_up), tuple(undated))


def _field_caps(engine: Engine, names: Sequence[str], wanted: Sequence[str]) -> dict[str, Any]:
    """Ask in parts: the list stands in the URL, whose length is bounded."""
    merged: dict[str, Any] = {"indices": [], "fields": {}}
    for start in range(0, len(wanted), 60):
        listed = ",".join(wanted[start : start + 60])
        target = f"{path(','.join(names), '_field_caps')}?ignore_unavailable=true&include_unmapped=true&fields="
        part = answer(engine, "GET", target + path(listed)[1:])
        indices = part.get("indices", [])
        merged["indices"] = [indices] if isinstance(indices, str) else indices
        merged["fields"] |= part.get("fields", {})
    return merged


def between(fields: Fields, since: datetime | None, until: datetime | None) -> dict[str, Any] | None:
    """Return the query for a span of time, both ends included; None where there is no limit or no date."""
    limits: dict[str, int] = {}
    if since is not None:
        limits["gte"] = int(since.timestamp() * 1000)
    if until is not None:
        limits["lte"] = int(until.timestamp() * 1000)
    if not limits or fields.time is None:
        return None
    return {"range": {fields.time: {**limits, "format": "epoch_millis"}}}


def beginnings(fields: Fields, since: datetime | None, until: datetime | None) -> dict[str, Any]:
    """Return the query for documents in which an event may begin (``phrases`` in ``kb/facts/carriers.yml``)."""
    either: list[dict[str, Any]] = []
    for words in facts.load()["carriers"]["phrases"]:
        for name, by_words in fields.texts:
            if by_words:
                either.append({"match": {name: {"query": " ".join(words), "operator": "and"}}})
            else:
                either.append({"wildcard": {name: {"value": f"*{'*'.join(words)}*"}}})
    if fields.unsearched:
        either.append({"terms": {"_index": list(fields.unsearched)}})
    limit = between(fields, since, until)
    whichever = {"bool": {"should": either, "minimum_should_match": 1}}
    return {"bool": {"filter": [whichever] if limit is None else [whichever, limit]}}


class Reader:
    """A point in time of some indices, to be used as a context manager; may be read by several threads."""

    def __init__(self, engine: Engine, names: Sequence[str], *, pace: Pace, patience: Patience) -> None:
        """Take what is read and how fast."""
        self._engine = engine
        self._names = names
        self._pace = pace
        self._patience = patience
        self._id = ""
        self._lock = threading.Lock()
        self._tie = "_shard_doc"
        self.read = 0
        """Documents read so far."""

    def __enter__(self) -> Self:
        """Open the point in time."""
        self._id = self._open()
        return self

    def __exit__(self, *_: object) -> None:
        """Close it; one that is lost has closed itself."""
        try:
            if self._engine.product == "opensearch":
                self._engine.request("DELETE", "/_search/point_in_time", {"pit_id": [self._id]}, missing_ok=True)
            else:
                self._engine.request("DELETE", "/_pit", {"id": self._id}, missing_ok=True)
        except EngineError:
            pass

    def _open(self) -> str:
        names = ",".join(self._names)
        # Elasticsearch checks its copies only while it searches; OpenSearch takes no ignore_unavailable here.
        if self._engine.product == "opensearch":
            target, key = f"{path(names, '_search', 'point_in_time')}?keep_alive={KEEP}", "pit_id"
        else:
            target, key = f"{path(names, '_pit')}?keep_alive={KEEP}&ignore_unavailable=true", "id"
        with taking(self._engine, f"POST {target.partition('?')[0]}"):
            return str(self._patience.insist(lambda: answer(self._engine, "POST", target))[key])

    def pages(
        self,
        query: dict[str, Any],
        sort: Sequence[dict[str, Any]],
        *,
        part: tuple[int, int] | None = None,
        most: int | None = None,
    ) -> Iterator[list[Hit]]:
        """Yield the documents that a query finds, page by page, in the order of ``sort``; ``part`` is one of a number.

        A point in time that has been lost (the node was restarted, the keeping time is over) is opened again, and the
        reading goes on behind the last page.
        """
        after: list[Any] | None = None
        seen = 0
        while most is None or seen < most:
            found = self._page(query, sort, after, part, PAGE if most is None else min(PAGE, most - seen))
            self._pace.take(len(found))
            with self._lock:
                self.read += len(found)
            if not found:
                return
            seen += len(found)
            after = found[-1].sort
            yield found

    def _page(
        self,
        query: dict[str, Any],
        sort: Sequence[dict[str, Any]],
        after: list[Any] | None,
        part: tuple[int, int] | None,
        size: int,
    ) -> list[Hit]:
        def ask() -> list[Hit]:
            opened = self._id
            body: dict[str, Any] = {
                "size": size,
                "query": query,
                "sort": [*sort, {self._tie: "asc"}],
                "pit": {"id": opened, "keep_alive": KEEP},
                "track_total_hits": False,
            }
            if after is not None:
                body["search_after"] = after
            if part is not None and part[1] > 1:
                body["slice"] = {"id": part[0], "max": part[1]}
            try:
                found = answer(self._engine, "POST", "/_search", body)
            except EngineError as error:
                if error.status == 400 and self._tie == "_shard_doc" and "_shard_doc" in error.reason:
                    self._tie = "_id"  # OpenSearch before 3.3
                    return ask()
                if _is_lost(error):
                    self._renew(opened)
                    if after is not None:
                        # The new one numbers its documents anew: what ties with the last one is read again.
                        after[-1] = "" if self._tie == "_id" else -1
                    return ask()
                raise
            with taking(self._engine, "POST /_search"):
                _raise_failed(found.get("_shards") or {})
                hits = found["hits"]["hits"]
                return [Hit(hit["_index"], hit["_id"], hit.get("_source") or {}, hit["sort"]) for hit in hits]

        return self._patience.insist(ask)

    def _renew(self, lost: str) -> None:
        with self._lock:
            if self._id == lost:  # no other thread has been faster
                self._id = self._open()


def _raise_failed(shards: dict[str, Any]) -> None:
    """Raise where a part of the shards did not answer: what they hold would be missing without a word."""
    if not shards.get("failed"):
        return
    first: dict[str, Any] = next(iter(shards.get("failures") or ()), {})
    reason = first.get("reason") or {}
    said = f"{first.get('index') or 'an index'} did not answer: {reason.get('reason') or 'it does not say why'}"
    # A query that an index refuses is refused again; all else passes.
    raise EngineError(said, status=400 if reason.get("type") == "illegal_argument_exception" else 503)


def _is_lost(error: EngineError) -> bool:
    return error.status == 404 or "search_context_missing" in error.kind or "No search context" in error.reason
