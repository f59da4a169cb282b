"""What holds for every log, however damaged: checked by tests, by Hypothesis and by the fuzzer."""

from __future__ import annotations

import json
import time
from typing import Any

from allocfail.decoder.untangle import open_text, split_pieces
from allocfail.logs.events import Options, decode, decode_bytes

__all__ = ["YEAR", "check", "documents"]

YEAR = 2024

LONG = (1 << 63) - 1
# A keyword above this cannot be indexed (Lucene's limit on a term, in bytes); only text fields may be longer.
TERM = 32_766
TEXT = ("event.original", "message", "error.stack_trace")

KINDS = {
    "page_allocation_failure": "page-allocation-failure",
    "page_allocation_stall": "page-allocation-stall",
    "slab_allocation_failure": "slab-allocation-failure",
    "vmalloc_allocation_failure": "vmalloc-allocation-failure",
    "oom_kill": "oom-kill",
}
REASONS = ("header only", "no header", "truncated", "interleaved")


def documents(data: bytes, **options: Any) -> list[dict[str, Any]]:
    """Decode a log; a time without a year is of ``YEAR``."""
    return [event.document for event in decode_bytes(data, Options(**({"year": YEAR} | options)))]


def _leaves(value: Any, path: str = "") -> list[tuple[str, Any]]:
    if isinstance(value, dict):
        return [leaf for key, inner in value.items() for leaf in _leaves(inner, f"{path}.{key}" if path else key)]
    if isinstance(value, list):
        return [leaf for inner in value for leaf in _leaves(inner, path)]
    return [(path, value)]


def well_formed(document: dict[str, Any]) -> None:
    """Assert that a document is one that an index takes and that says what every event says."""
    for path, value in _leaves(document):
        assert value is not None, path
        assert isinstance(value, (str, int, bool, float)), path
        if isinstance(value, int):
            assert -LONG - 1 <= value <= LONG, (path, value)
        elif isinstance(value, str) and path not in TEXT:
            assert len(value.encode()) <= TERM, path
    json.dumps(document, ensure_ascii=False, allow_nan=False).encode()
    own = document["allocfail"]
    assert document["event"]["action"] == KINDS[own["kind"]]
    assert ("outcome" in document["event"]) == (own["kind"] != "page_allocation_stall")
    assert own["complete"] is ("incomplete_reason" not in own)
    if not own["complete"]:
        reason = own["incomplete_reason"]
        assert reason in REASONS or (reason.startswith("missed ") and reason.endswith(" kernel messages"))
    if "order" in own:
        # An OOM kill that was asked for (SysRq f) prints order=-1 (drivers/tty/sysrq.c moom_callback()).
        assert (-1 if own["kind"] == "oom_kill" else 0) <= own["order"] <= 63
        assert own.get("pages") == (1 << own["order"] if 0 <= own["order"] < 63 else None)
    if "trace" in own:
        assert len(own["trace"]["functions"]) == len(own["trace"]["reliable"])
    mark = own["fingerprint"]
    assert mark["text"].startswith(f"af1|{own['kind']}")
    assert mark["level"] in {"trace", "header"}
    assert all(char.isascii() and (char.isalnum() or char in "_.$:/@+-|=>") for char in mark["text"]), mark["text"]
    assert document["error"]["id"] == mark["id"]
    assert "kernel-allocation-failure" in document["tags"]
    assert own["verdict"]["cause"]
    assert own["verdict"]["zone_reclaim_mode"] in {"cannot-act", "may-help", "may-hurt", "unknown"}
    assert own["verdict"]["severity"] in {"recovered", "degraded", "failed", "unknown"}
    assert own["kb"]
    assert document["rule"]["id"] == own["kb"][0]["id"]
    if own["kind"] == "page_allocation_failure":
        assert "zone-reclaim-mode" in {article["id"] for article in own["kb"]}


def _comparable(document: dict[str, Any]) -> dict[str, Any]:
    """What of a document its own lines tell: not where they stood, nor what their container or neighbours said."""
    own = {
        key: value
        for key, value in document["allocfail"].items()
        if key not in {"follows", "provenance", "time_source", "time_guessed", "uptime"}
        # What is said of a slab report depends on the page failure that it follows.
        and not (key in {"verdict", "kb", "kb_url"} and document["allocfail"]["kind"] == "slab_allocation_failure")
    }
    return {"allocfail": own, "process": document.get("process"), "message": document.get("message")}


def _begins(document: dict[str, Any]) -> bool:
    """Whether the first line begins one by itself: the prefix of a damaged one was told by lines of other events."""
    lines = split_pieces(open_text(document["event"]["original"]), carried=False, apart=False)
    return any(line.record.text.startswith(document["message"][:12]) for line in lines)


def check(data: bytes, *, again: str = "same", split: int = 0, seconds: float = 5.0) -> list[dict[str, Any]]:
    """Assert everything that holds for a log; returns its documents.

    `again` decodes each event's own text once more: the ``same`` event must come out, or ``one`` of the same kind where
    the event has its first line (of a damaged log, where lines that are no event's own told how to read its lines and
    where they end), or ``any``. `split` cuts the log into
    two chunks there, `seconds` bounds the time that decoding takes.
    """
    began = time.perf_counter()
    found = documents(data)
    assert time.perf_counter() - began < seconds
    for document in found:
        well_formed(document)
    if split:
        chunks = [data[:split], data[split:]]
        assert [event.document for event in decode(chunks, Options(year=YEAR))] == found
    for document in found if again != "any" else []:
        once_more = documents(document["event"]["original"].encode())
        if again == "same":
            assert [_comparable(one) for one in once_more] == [_comparable(document)]
        elif "message" in document and not document["message"].startswith("page allocation ") and _begins(document):
            # A header whose name is gone counts with its body alone, which other lines may have told how to read.
            assert document["allocfail"]["kind"] in {one["allocfail"]["kind"] for one in once_more}
    return found
