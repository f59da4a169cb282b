"""Decoded events into an index or data stream: nothing lost, nothing twice, and what was cut is completed.

Both clients' bulk helpers send the requests; what is retried, how often and how long in between is decided here, so
that both products are treated alike.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from allocfail.cluster.client import BulkResult, path
from allocfail.cluster.errors import EngineError
from allocfail.cluster.identity import Identity, Relation, event_id, relation, words_of
from allocfail.cluster.retry import Patience, answer, is_passing, passes, taking
from allocfail.errors import AllocfailError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from allocfail.cluster.client import Engine

__all__ = ["Item", "NotSentError", "Shipped", "Shipper"]

#: Documents and bytes of one bulk request; the manuals of both products advise a few megabytes.
_CHUNK_DOCUMENTS = 500
_CHUNK_BYTES = 5_000_000
#: Events of one name and time that are told apart by their lines; above this they are taken for the same.
_MOST_NUMBERS = 1_000

#: Fields by which an index is known to have our mapping: what an engine guesses is text, or lacks one.
_OURS = {"allocfail.kind": "keyword", "allocfail.order": "long", "allocfail.fingerprint.id": "keyword"}
#: Error types that concern the whole index: asking again for every document would say the same.
_WHOLE = {
    "index_closed_exception": "the index is closed: open it, and run the command again",
    "index_not_found_exception": "the index is not there, and may not be created",
}


@dataclass(eq=False)
class Item:
    """An event on its way."""

    known: Identity
    document: dict[str, Any]
    place: str
    """Where it is from, for messages."""
    outcome: str = ""
    """``indexed``, ``completed``, ``already`` or ``rejected``, once it is known."""
    number: int = 0
    """How many events of the same identity come before it; another one where the target has other events."""
    size: int = 0
    again: bool = False
    """Whether another run comes to it by itself."""
    index: str = ""
    """The index that holds it, where that is not the target itself."""

    @property
    def id(self) -> str:
        """Its ``_id``."""
        return event_id(self.known, self.number)


class _WaitedError(EngineError):
    """The cluster was waited for, and for long enough."""


class NotSentError(EngineError):
    """The cluster was waited for in vain."""

    def __init__(self, why: str, items: Sequence[Item], rest: str = "") -> None:
        """Take why, what has not been sent, and what becomes of it."""
        what = rest or f"{len(items)} events are not indexed: run the command again to add them"
        super().__init__(f"{why}; {what}")
        self.why = why
        self.items = items


@dataclass
class Shipped:
    """What became of the events."""

    indexed: int = 0
    completed: int = 0
    """Were there with fewer lines."""
    already: int = 0
    rejected: int = 0


@dataclass(frozen=True)
class _There:
    """An event that the target holds."""

    index: str
    seq_no: int
    primary_term: int
    words: list[str]


def _types(mappings: Mapping[str, Any]) -> dict[str, str]:
    """Return the types of the fields that an answer about the mapping of fields names."""
    return {
        name: str(leaf.get("type"))
        for name, field in mappings.items()
        for leaf in (field.get("mapping") or {}).values()
    }


class Shipper:
    """Sends events to one index or data stream, in bulk requests of bounded size."""

    def __init__(
        self,
        engine: Engine,
        target: str,
        *,
        patience: Patience | None = None,
        say: Callable[[str], object] = lambda _: None,
        reject: Callable[[Item, BulkResult], object] = lambda *_: None,
    ) -> None:
        """Take where events go, how long a busy cluster is waited for, and who is told what was refused, at once.

        Raises :class:`AllocfailError` where ``target`` has no mapping for events, and where it is not there and no
        template would give it one: guessed types could not be repaired later.
        """
        self.done = Shipped()
        self.target = target
        self._engine = engine
        self._patience = patience or Patience()
        self._say = say
        self._reject = reject
        self._held: list[Item] = []
        self._bytes = 0
        self._may_read = True
        self._spread = self._patience.insist(self._look_up)

    @property
    def held(self) -> int:
        """Events that have not been sent yet."""
        return len(self._held)

    def _look_up(self) -> bool:
        """Return whether an id is only unique within a part of the target: it is a data stream, or spans indices."""
        engine, target = self._engine, self.target
        asked = path("_resolve", "index", target)
        found = answer(engine, "GET", asked, missing_ok=True)
        with taking(engine, f"GET {asked}"):
            kinds = [found[kind] for kind in ("indices", "aliases", "data_streams")] if found is not None else []
            closed = any("closed" in item.get("attributes", ()) for item in kinds[0]) if kinds else False
        if found is None or not any(kinds):
            self._need_template()
            return False
        if closed:
            raise EngineError(f"{engine.where.url}: {target}: {_WHOLE['index_closed_exception']}")
        self._need_mapping()
        spread = bool(found.get("data_streams") or found.get("aliases"))
        if spread:
            answer(engine, "POST", path(target, "_refresh"))
        return spread

    def _need_mapping(self) -> None:
        asked = path(self.target, "_mapping", "field", ",".join(_OURS))
        try:
            found = answer(self._engine, "GET", asked)
        except EngineError as error:
            if error.status == 403:  # whoever may only write cannot ask; whoever installed could
                return
            raise
        with taking(self._engine, f"GET {asked}"):
            types = [_types(index["mappings"]) for index in found.values()]
            types[0]  # an index at least: it is there
        if any(one != _OURS for one in types):
            raise AllocfailError(
                f"{self.target} has no mapping for the fields of an event: run `allocfail install` for it first "
                "(with --index-name or --data-stream for a new one, with --index for one of yours)"
            )

    def _need_template(self) -> None:
        asked = path("_index_template", "_simulate_index", self.target)
        try:
            found = answer(self._engine, "POST", asked)
        except EngineError as error:
            if error.status == 403:  # as above
                return
            raise
        with taking(self._engine, f"POST {asked}"):
            # OpenSearch answers with an empty object where no template is for such a name.
            mapped = "allocfail" in found.get("template", {}).get("mappings", {}).get("properties", {})
        if not mapped:
            raise AllocfailError(
                f"{self.target} does not exist and no index template maps its fields: run `allocfail install` first "
                "(with --index-name or --data-stream for a name of your own)"
            )

    def put(self, item: Item) -> bool:
        """Take an event, and send what is held where that is enough for a request; return whether it was sent.

        Raises :class:`EngineError` when the cluster lets nobody write, or stays busy for longer than one waits.
        """
        self._finish(item)
        sent = False
        if self._held and (len(self._held) >= _CHUNK_DOCUMENTS or self._bytes + item.size > _CHUNK_BYTES):
            self.flush()
            sent = True
        self._held.append(item)
        self._bytes += item.size
        return sent

    def flush(self) -> None:
        """Send what is held; when this returns, the cluster has acknowledged it, or refused it for good."""
        items, self._held, self._bytes = self._held, [], 0
        try:
            self._send(items)
        except EngineError as error:
            if isinstance(error, _WaitedError) or is_passing(error):
                raise NotSentError(str(error), [item for item in items if not item.outcome]) from None
            raise
        finally:
            self._held = [item for item in items if not item.outcome]

    def send(self, items: Iterable[Item]) -> Shipped:
        """Send events; return the running totals."""
        for item in items:
            self.put(item)
        self.flush()
        return self.done

    @staticmethod
    def _finish(item: Item) -> None:
        """Fill in a missing time, and what no engine can read; measure."""
        source = item.document
        if "@timestamp" not in source:
            source = dict(source)
            source["@timestamp"] = datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
            source["allocfail"] = {**source.get("allocfail", {}), "time_source": "ingest"}
        text = json.dumps(source, ensure_ascii=False)
        try:
            item.size = len(text.encode())
        except UnicodeEncodeError:  # a lone surrogate is no UTF-8, and no engine takes it
            text = text.encode("utf-8", "replace").decode()
            source, item.size = json.loads(text), len(text)
        item.document = source

    def _send(self, items: list[Item]) -> None:
        attempt = 0
        while items:
            if self._spread:
                items = self._compare(items)
                if not items:
                    return
            try:
                results = self._engine.bulk([self._create(item) for item in items])
            except EngineError as error:
                if error.status == 413:  # more than the server takes in one request
                    self._split(items)
                    return
                if not is_passing(error):
                    raise
                again, reason = items, str(error)
            else:
                again, reason = self._left(items, results)
            if reason:
                attempt += 1
                if not self._patience.wait(attempt, reason):
                    raise _WaitedError(reason)
            items = again

    def _create(self, item: Item) -> dict[str, Any]:
        return {"_op_type": "create", "_index": self.target, "_id": item.id, "_source": item.document}

    def _left(self, items: list[Item], results: Sequence[BulkResult]) -> tuple[list[Item], str]:
        """Settle what is settled; return what to send again, and why it has to be waited."""
        again, conflicts, reason = self._sort(items, results)
        if gone := self._compare(conflicts):
            reason = reason or f"{self._engine.where.url}: {self.target}: said to be there, and not found"
        return [*again, *gone], reason

    def _sort(self, items: list[Item], results: Sequence[BulkResult]) -> tuple[list[Item], list[Item], str]:
        """Count what is settled; return what to send again, what was there already, and why it has to be waited."""
        again: list[Item] = []
        conflicts: list[Item] = []
        reason = ""
        for item, result in zip(items, results, strict=True):
            if passes(result.status):
                again.append(item)
                reason = (
                    f"{self._engine.where.url}: {result.reason or 'no reason given'} ({result.status} {result.kind})"
                )
            elif result.status == 409 and not self._spread:
                conflicts.append(item)
            else:
                self._settle(item, result)
        return again, conflicts, reason

    def _settle(self, item: Item, result: BulkResult) -> None:
        if 200 <= result.status < 300:
            item.outcome = "indexed"
            self.done.indexed += 1
        elif result.status == 409:
            item.outcome = "already"
            self.done.already += 1
        elif result.status in {401, 403}:
            raise EngineError(
                f"{self._engine.where.url}: not allowed to write to {self.target}: {result.reason}",
                status=result.status,
            )
        elif result.kind in _WHOLE:
            raise EngineError(f"{self._engine.where.url}: {self.target}: {_WHOLE[result.kind]}", status=result.status)
        else:
            item.outcome = "rejected"
            self.done.rejected += 1
            self._say(
                f"{item.place} ({item.id}) was rejected: {result.reason or 'no reason given'} "
                f"({result.status} {result.kind})"
            )
            self._reject(item, result)

    def _split(self, items: list[Item]) -> None:
        if len(items) == 1:
            self._settle(items[0], BulkResult(413, "too_large", "larger than the server takes in a request"))
            return
        half = len(items) // 2
        self._send(items[:half])
        self._send(items[half:])

    # -- what is there already -----------------------------------------------------------------------------------------

    def _found(self, items: Sequence[Item]) -> dict[str, _There]:
        """Return what the target holds under the names of some events."""
        if not self._may_read:
            return {}
        ids = [item.id for item in items]
        try:
            hits = self._search_ids(ids) if self._spread else self._get_ids(ids)
        except EngineError as error:
            if error.status != 403 or self._spread:
                raise
            # Whoever may not read does not learn that an event had been cut: it stays as it is.
            self._may_read = False
            return {}
        found: dict[str, _There] = {}
        with taking(self._engine, f"POST {path(self.target)}"):
            for hit in hits:
                words = words_of(hit.get("_source") or {})
                found[hit["_id"]] = _There(hit["_index"], hit.get("_seq_no", -1), hit.get("_primary_term", -1), words)
        return found

    def _get_ids(self, ids: list[str]) -> list[dict[str, Any]]:
        target = f"{path(self.target, '_mget')}?_source_includes=event.original"
        answered = answer(self._engine, "POST", target, {"ids": ids})
        with taking(self._engine, f"POST {path(self.target, '_mget')}"):
            docs: list[dict[str, Any]] = answered["docs"]
            errors = [doc.get("error") for doc in docs]
        for error in errors:
            # OpenSearch's security plugin refuses each document, not the request.
            if error:
                told = error if isinstance(error, dict) else {}
                reason, kind = str(told.get("reason", "no reason given")), str(told.get("type", ""))
                if kind == "index_not_found_exception":
                    continue
                status = 403 if kind == "security_exception" else 502
                raise EngineError(f"{self._engine.where.url}: POST /_mget: {reason}", status=status, kind=kind)
        return [doc for doc in docs if doc.get("found")]

    def _search_ids(self, ids: list[str]) -> list[dict[str, Any]]:
        query = {
            "query": {"ids": {"values": ids}},
            "_source": ["event.original"],
            "seq_no_primary_term": True,
            "size": 2 * len(ids),
        }
        target = f"{path(self.target, '_search')}?ignore_unavailable=true&allow_no_indices=true"
        answer(self._engine, "POST", path(self.target, "_refresh"))
        found = answer(self._engine, "POST", target, query)
        with taking(self._engine, f"POST {path(self.target, '_search')}"):
            hits: list[dict[str, Any]] = found["hits"]["hits"]
        return hits

    def _compare(self, items: list[Item]) -> list[Item]:
        """Settle what the target holds already, complete what it holds a part of; return what it does not hold."""
        there = self._patience.insist(lambda: self._found(items)) if items else {}
        left: list[Item] = []
        more: list[tuple[Item, _There]] = []
        for item in items:
            held = there.get(item.id)
            if held is None:
                if self._spread or self._may_read:
                    left.append(item)
                else:
                    self._settle(item, BulkResult(409, "", ""))
                continue
            item.index = held.index
            kin = relation(item.known, words_of(item.document), held.words)
            if kin is Relation.OTHER and item.number < _MOST_NUMBERS:
                item.number += 1
                left.append(item)
            elif kin is Relation.MORE:
                more.append((item, held))
            else:
                self._settle(item, BulkResult(409, "", ""))
        return left + self._complete(more)

    def _complete(self, more: list[tuple[Item, _There]]) -> list[Item]:
        """Put events in the place of shorter ones; return those that somebody else has changed meanwhile."""
        if not more:
            return []
        actions = [
            {
                "_op_type": "index",
                "_index": held.index,
                "_id": item.id,
                "if_seq_no": held.seq_no,
                "if_primary_term": held.primary_term,
                "_source": item.document,
            }
            for item, held in more
        ]
        results = self._patience.insist(lambda: self._engine.bulk(actions))
        again: list[Item] = []
        for (item, _), result in zip(more, results, strict=True):
            if 200 <= result.status < 300:
                item.outcome = "completed"
                self.done.completed += 1
            elif result.status == 409 or passes(result.status):
                again.append(item)
            elif result.status == 403:
                self._settle(item, BulkResult(409, "", ""))  # it is there, and whoever may only add leaves it
            else:
                self._settle(item, result)
        return again
