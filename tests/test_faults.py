"""The smallest input of each fault that was found in real logs, and its right values, from the shared folder."""

from __future__ import annotations

import datetime as dt
import json
from typing import TYPE_CHECKING, Any

import pytest

from allocfail.decoder.enrich import enrich
from allocfail.decoder.options import Options
from allocfail.logs.events import Event, decode_bytes
from corpora import KINDS, SHARED, at, said

if TYPE_CHECKING:
    from pathlib import Path

FAULTS = sorted((SHARED / "faults").glob("*.log"))

#: What the verdict, the remedies and the articles say is looked at where these are tested.
ADVICE = {
    "cause",
    "kb_anchor",
    "kb_must",
    "remedies_must_not",
    "right_advice",
    "right_wording",
    "usable_largest_free_order",
    "zone_reclaim_mode",
    "memcg",
    "vmalloc_line",
}
#: What a table has wrong: (fault, event, field) and the value that its log has.
CORRECTED = {("17-plumbing-4.x", 1, "line"): 12}
NOW = int(dt.datetime(2026, 12, 31, tzinfo=dt.UTC).timestamp()) * 1000
OPTIONS = Options(now=NOW, reference=NOW)

pytestmark = pytest.mark.skipif(not FAULTS, reason="NO FAULTS: ../shared is not there, they were NOT tested")


def facts(log: bytes, event: Event) -> dict[str, Any]:
    """Return what an event's document says, by the names of the fault's table."""
    document = event.document
    found = said(document)
    head = event.event.dump.head
    mark = at(document, "allocfail.fingerprint")
    return found | {
        "line": None if head is None else log.count(b"\n", 0, head.offset) + 1,
        "gfp_symbolic": (at(document, "allocfail.gfp.name") or "").split("|"),
        "gfp_name": at(document, "allocfail.gfp.name"),
        "may_sleep": at(document, "allocfail.gfp.may_sleep"),
        "fingerprint": mark["text"],
        "fingerprint_level": mark["level"],
        "site_reliable": at(document, "allocfail.site_reliable"),
        "slab": at(document, "allocfail.slab"),
        "largest_free_order": at(document, "allocfail.memory.largest_free_order"),
        "size": at(document, "allocfail.vmalloc.bytes"),
        "timestamp": document.get("@timestamp"),
    }


def holds(name: str, wanted: Any, found: Any) -> bool:
    """Whether a value is right; the tables put some of them in words."""
    if name == "slab":
        return {key: found.get(key) for key in wanted} == wanted
    if name == "timestamp":
        return str(found) == wanted.replace("<this year>", "2026").replace("<year>", "2026").replace("Z", ".000Z")
    if isinstance(wanted, str) and wanted.startswith("not "):
        return bool(found != wanted.removeprefix("not "))
    if name == "context" and "(" in wanted:
        return bool(found == wanted.split(" ")[0])
    return bool(found == (KINDS[wanted] if name == "kind" else wanted))


@pytest.mark.parametrize("log", FAULTS, ids=lambda log: log.stem)
def test_fault(log: Path) -> None:
    truth = json.loads(log.with_suffix(".json").read_text(encoding="utf-8"))
    data = log.read_bytes()
    found = [facts(data, event) for event in decode_bytes(data, Options(file="-", reference=NOW))]
    wrong = [
        (number, name, wanted, have[name])
        for number, (event, have) in enumerate(zip(truth["events"], found, strict=False))
        for name, wanted in event.items()
        if name not in ADVICE and not holds(name, CORRECTED.get((log.stem, number, name), wanted), have[name])
    ]
    assert wrong == []
    assert len(found) == len(truth["events"])
    if truth.get("same_group"):
        assert len({have["fingerprint"] for have in found}) == 1


def test_documents_of_other_shippers_are_enriched() -> None:
    path = SHARED / "faults" / "26-containers-enrich.log"
    for line in path.read_text(encoding="utf-8").splitlines():
        made = enrich(json.loads(line), OPTIONS)
        assert made is not None, line
        assert made["allocfail"]["kind"] == "page_allocation_failure"
        assert made["process"]["name"] == "app"


LONE = [
    (
        "Out of memory: Killed process 2428 (dnf) total-vm:479860kB, anon-rss:352668kB, oom_score_adj:0",
        ("dnf", 2428, "CONSTRAINT_NONE"),
    ),
    ("Out of memory: Kill process 12 (x) score 900 or sacrifice child", ("x", 12, "CONSTRAINT_NONE")),
    (
        "oom-kill:constraint=CONSTRAINT_CPUSET,nodemask=0,cpuset=c,task_memcg=/a,task=app (1),pid=7,uid=0",
        ("app (1)", 7, "CONSTRAINT_CPUSET"),
    ),
    ("Memory cgroup out of memory: Kill process 9 (a b) score 1 or sacrifice child", ("a b", 9, "CONSTRAINT_MEMCG")),
]


@pytest.mark.parametrize(("line", "wanted"), LONE, ids=[wanted[0] for _, wanted in LONE])
def test_a_kill_of_which_one_line_is_left(line: str, wanted: tuple[str, int, str]) -> None:
    for prefix in ("", "[ 12.345678] ", "Feb  4 05:06:07 h1 kernel: [ 12.345678] "):
        documents = [event.document for event in decode_bytes(f"{prefix}{line}\n".encode(), Options(year=2020))]
        assert len(documents) == 1
        own = documents[0]["allocfail"]
        assert (own["kind"], own["complete"]) == ("oom_kill", False)
        assert (own["oom"]["victim"], own["oom"]["victim_pid"], own["oom"]["constraint"]) == wanted
        assert "name" not in documents[0].get("process", {})
    made = enrich({"message": line}, OPTIONS)
    assert made is not None
    assert made["allocfail"]["oom"]["victim_pid"] == wanted[1]


def test_lines_of_one_kill_are_one_event_and_of_two_are_two() -> None:
    constraint = (
        "oom-kill:constraint=CONSTRAINT_MEMCG,nodemask=(null),cpuset=/,mems_allowed=0,oom_memcg=/a,task=app,pid={}"
    )
    killed = "Memory cgroup out of memory: Killed process {} (app) total-vm:1kB, oom_score_adj:5"
    one = [constraint.format(7), killed.format(7)]
    two = [*one, constraint.format(8), killed.format(8)]
    for lines, pids in ((one, [7]), (two, [7, 8]), (two[1:3], [7, 8])):
        documents = [event.document for event in decode_bytes("\n".join(lines).encode())]
        assert [document["allocfail"]["oom"]["victim_pid"] for document in documents] == pids
