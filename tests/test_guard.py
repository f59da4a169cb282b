"""The guard alone, on real engines: which documents of which shippers go on."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from allocfail.content import content_path
from allocfail.decoder.enrich import enrich
from allocfail.decoder.steps import may_hold
from corpora import SHARED

if TYPE_CHECKING:
    from engines.harness import Engine

_PATH = SHARED / "carriers.ndjson"
ROWS = [json.loads(line) for line in _PATH.read_text(encoding="utf-8").splitlines()] if _PATH.is_file() else []
EVENTS: list[dict[str, Any]] = [
    {"message": "Out of memory: Killed process 7 (app) total-vm:1kB"},
    {"message": "Out of memory: kill process 7 (app) score 1 or a child"},
    {"MESSAGE": "oom-kill:constraint=CONSTRAINT_MEMCG,task=app,pid=7"},
    {"line": "app invoked oom-killer: gfp_mask=0x0, all of it"},
    {"body.text": "app: page allocation failure: order:0, mode:0x20"},
]
OTHERS: list[dict[str, Any]] = [
    {},
    {"message": "all processes end well", "body": {"text": "no"}},
    {"message": 5, "event": "page allocation failure", "log": {"original": None}, "body": ["allocation all"]},
    {
        "msg": ["page allocation failure"],
        "result": "page allocation failure",
        "jsonPayload": {"other": "allocation all"},
    },
]


def passed(engine: Engine, documents: list[dict[str, Any]]) -> list[bool]:
    """Say of each document whether the guard lets it go on."""
    guard = content_path("pipelines/painless/guard.painless").read_text(encoding="utf-8")
    pipeline = {"processors": [{"set": {"if": guard, "field": "passed", "value": True}}]}
    docs = [{"_index": "i", "_id": "1", "_source": document} for document in documents]
    status, answer = engine.request("POST", "/_ingest/pipeline/_simulate", {"pipeline": pipeline, "docs": docs})
    assert status == 200, str(answer)[:2000]
    assert isinstance(answer, dict)
    return ["passed" in result["doc"]["_source"] for result in answer["docs"]]


def test_what_may_hold_an_event_goes_on(engine: Engine) -> None:
    assert passed(engine, EVENTS) == [True] * len(EVENTS)
    assert passed(engine, OTHERS) == [False] * len(OTHERS)


@pytest.mark.skipif(not ROWS, reason="NO CARRIERS: ../shared is not there, they were NOT tested")
def test_every_shipper_s_events_go_on_and_frames_do_not(engine: Engine) -> None:
    found = passed(engine, [row["document"] for row in ROWS])
    wanted = [enrich(row["document"]) is not None for row in ROWS]
    named = [f"{row['carrier']} {row['part']}" for row in ROWS]
    # A fragment may hold the words without being an event; nothing else does.
    assert [n for n, yes, should in zip(named, found, wanted, strict=True) if should and not yes] == []
    assert [n for n, yes, should in zip(named, found, wanted, strict=True) if yes and not should] == []
    assert may_hold("Out of memory: Killed process 7 (app)")
