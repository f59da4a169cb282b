"""Decoded events into an index or data stream: nothing lost, nothing twice.

Both clients' bulk helpers send the requests; what is retried, how often and how long in between is decided here, so
that both products are treated alike.
"""

from __future__ import annotations

import hashlib
import json
import time
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from allocfail.cluster.engine import BulkResult, Engine, EngineError, UnreachableError, path
from allocfail.errors import AllocfailError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

__all__ = ["Shipped", "Shipper", "event_id"]

#: Too busy, or a proxy between has lost its server: passes by itself.
_PASSING = frozenset({429, 502, 503, 504})
#: Documents and bytes of one bulk request; the manuals of both products advise a few megabytes.
_CHUNK_DOCUMENTS = 500
_CHUNK_BYTES = 5_000_000


def event_id(document: Mapping[str, Any], offset: int) -> str:
    """Return the ``_id`` of an event: 40 hex digits, the same whenever and from wherever the same log is shipped.

    ``offset`` is the byte offset of the event's first line in the uncompressed log. Made of host, time, offset and
    the original text; not of the file's name, nor of the time's year, which is a guess where the log prints none.
    """
    host = (document.get("host") or {}).get("hostname") or ""
    logged = (document.get("allocfail") or {}).get("time_source") == "log"
    day_and_time = str(document.get("@timestamp", ""))[4:] if logged else ""
    original = (document.get("event") or {}).get("original") or ""
    text = json.dumps([host, day_and_time, offset, original], ensure_ascii=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:40]


@dataclass
class Shipped:
    """What became of the events."""

    indexed: int = 0
    already: int = 0
    rejected: list[str] = field(default_factory=list)
    """A line for each document that the cluster will never take, with its place in the log and the reason."""


class Shipper:
    """Sends events to one index or data stream, in bulk requests of bounded size."""

    def __init__(
        self,
        engine: Engine,
        target: str,
        *,
        retries: int = 8,
        pause: float = 1.0,
        longest_pause: float = 30.0,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        """Take where events go, how often a refused request is sent again and the first pause between, in seconds.

        Each pause is twice the one before, up to ``longest_pause``. Raises :class:`AllocfailError` when ``target`` is
        not there and no template says what its fields are: guessed types could not be repaired later.
        """
        self.done = Shipped()
        self._engine = engine
        self._target = target
        self._retries = retries
        self._pause = pause
        self._longest_pause = longest_pause
        self._sleep = sleep
        self._ask_first = self._look_up()

    def _look_up(self) -> bool:
        """Return whether an id is only unique within a part of the target: it is a data stream, or spans indices."""
        engine, target = self._engine, self._target
        answer = engine.request("GET", path("_resolve", "index", target), missing_ok=True) or {}
        if answer.get("data_streams"):
            engine.request("POST", path(target, "_refresh"))
            return True
        if answer.get("aliases"):
            engine.request("POST", path(target, "_refresh"))
            return True
        if not answer.get("indices"):
            self._need_template()
        return False

    def _need_template(self) -> None:
        try:
            answer = self._engine.request("POST", path("_index_template", "_simulate_index", self._target))
        except EngineError as error:
            if error.status == 403:  # whoever may only write cannot ask; whoever installed could
                return
            raise
        properties = ((answer or {}).get("template") or {}).get("mappings", {}).get("properties", {})
        if "allocfail" not in properties:
            raise AllocfailError(
                f"{self._target} does not exist and no index template maps its fields: run `allocfail install` first "
                "(with --index-name or --data-stream for a name of your own)"
            )

    def send(self, events: Iterable[tuple[int, Mapping[str, Any]]], name: str = "-") -> Shipped:
        """Send the events of one log, each with its byte offset; ``name`` is the log's, for messages.

        Returns the running totals. Raises :class:`EngineError` when the cluster cannot be reached, lets nobody write,
        or stays busy through all retries; what was sent until then is in the totals, and sending the log again adds
        the rest.
        """
        for chunk in _chunks(self._actions(events)):
            self._send_chunk(chunk, name)
        return self.done

    def _actions(self, events: Iterable[tuple[int, Mapping[str, Any]]]) -> Iterator[tuple[int, dict[str, Any], int]]:
        """Yield offset, action and size in bytes."""
        for offset, event in events:
            source: dict[str, Any] = dict(event)
            identifier = event_id(source, offset)
            if "@timestamp" not in source:
                source["@timestamp"] = datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
                source["allocfail"] = {**source.get("allocfail", {}), "time_source": "ingest"}
            text = json.dumps(source, ensure_ascii=False)
            try:
                size = len(text.encode())
            except UnicodeEncodeError:  # a lone surrogate is no UTF-8, and no engine takes it
                text = text.encode("utf-8", "replace").decode()
                source, size = json.loads(text), len(text)
            yield offset, {"_op_type": "create", "_index": self._target, "_id": identifier, "_source": source}, size

    def _send_chunk(self, chunk: list[tuple[int, dict[str, Any]]], name: str) -> None:
        if self._ask_first:
            chunk = self._unknown(chunk)
        attempt = 0
        while chunk:
            again: list[tuple[int, dict[str, Any]]] = []
            reason = ""
            try:
                results = self._engine.bulk([action for _, action in chunk])
            except EngineError as error:
                if error.status == 413:  # more than the server takes in one request
                    self._split(chunk, name)
                    return
                if not isinstance(error, UnreachableError) and error.status not in _PASSING:
                    raise
                again, reason = chunk, str(error)
            else:
                for place, result in zip(chunk, results, strict=True):
                    if result.status in _PASSING:
                        again.append(place)
                        reason = f"{self._engine.where.url}: {result.reason} ({result.status} {result.kind})"
                    else:
                        self._count(place, result, name)
            if again:
                attempt += 1
                if attempt > self._retries:
                    raise EngineError(f"{reason}; {len(again)} events are not indexed: ship the log again to add them")
                self._sleep(min(self._longest_pause, self._pause * 2 ** (attempt - 1)))
            chunk = again

    def _split(self, chunk: list[tuple[int, dict[str, Any]]], name: str) -> None:
        if len(chunk) == 1:
            self._count(chunk[0], BulkResult(413, "too_large", "larger than the server takes in a request"), name)
            return
        half = len(chunk) // 2
        self._send_chunk(chunk[:half], name)
        self._send_chunk(chunk[half:], name)

    def _count(self, place: tuple[int, dict[str, Any]], result: BulkResult, name: str) -> None:
        offset, action = place
        if 200 <= result.status < 300:
            self.done.indexed += 1
        elif result.status == 409:
            self.done.already += 1
        elif result.status in {401, 403}:
            raise EngineError(
                f"{self._engine.where.url}: not allowed to write to {self._target}: {result.reason}",
                status=result.status,
            )
        else:
            self.done.rejected.append(
                f"{name}: the event at byte {offset} ({action['_id']}) was rejected: "
                f"{result.reason or 'no reason given'} ({result.status} {result.kind})"
            )

    def _unknown(self, chunk: list[tuple[int, dict[str, Any]]]) -> list[tuple[int, dict[str, Any]]]:
        """Return the part of a chunk that no index behind the target holds; count the rest as there already."""
        query = {"query": {"ids": {"values": [action["_id"] for _, action in chunk]}}, "_source": False}
        target = f"{path(self._target, '_search')}?size={len(chunk)}&ignore_unavailable=true&allow_no_indices=true"
        answer = self._engine.request("POST", target, query)
        there = {hit["_id"] for hit in answer["hits"]["hits"]}
        left = [place for place in chunk if place[1]["_id"] not in there]
        self.done.already += len(chunk) - len(left)
        return left


def _chunks(actions: Iterable[tuple[int, dict[str, Any], int]]) -> Iterator[list[tuple[int, dict[str, Any]]]]:
    chunk: list[tuple[int, dict[str, Any]]] = []
    held = 0
    for offset, action, size in actions:
        if chunk and (len(chunk) >= _CHUNK_DOCUMENTS or held + size > _CHUNK_BYTES):
            yield chunk
            chunk, held = [], 0
        chunk.append((offset, action))
        held += size
    if chunk:
        yield chunk
