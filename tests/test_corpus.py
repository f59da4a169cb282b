"""The decoder against real dumps with hand-checked truth, read from the shared folder beside the project."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import real
from allocfail.logs.events import decode_bytes
from real import CORPUS

ROWS = real.params()
KINDS = {
    "page_allocation_failure": "page_allocation_failure",
    "stall": "page_allocation_stall",
    "slub": "slab_allocation_failure",
    "vmalloc": "vmalloc_allocation_failure",
    "oom": "oom_kill",
}
#: Where the contract says something else than the table, and why.
EXPLAINED = {
    "076": "a trace that goes from dump_stack straight into warn_alloc is a body whose header is lost, by the contract;"
    " the table does not count it",
    "104": "the table has alloc_large_system_hash twice, where the text has it once, on a line of its own",
}

pytestmark = pytest.mark.skipif(not ROWS, reason="NO CORPUS: ../shared is not there, real dumps were NOT tested")


def _at(document: dict[str, Any], path: str) -> Any:
    value: Any = document
    for key in path.split("."):
        value = value.get(key) if isinstance(value, dict) else None
    return value


def _found(document: dict[str, Any]) -> dict[str, Any]:
    functions = _at(document, "allocfail.trace.functions") or []
    reliable = _at(document, "allocfail.trace.reliable") or []
    return {
        "kind": _at(document, "allocfail.kind"),
        "comm": _at(document, "process.name"),
        "order": _at(document, "allocfail.order"),
        "mode": _at(document, "allocfail.gfp.mask"),
        "nodemask": _at(document, "allocfail.nodemask"),
        "cpuset": _at(document, "allocfail.cpuset"),
        "mems_allowed": _at(document, "allocfail.mems_allowed"),
        "pid": _at(document, "process.pid"),
        "tainted": _at(document, "allocfail.tainted"),
        "kernel_release": _at(document, "host.os.kernel"),
        "cpu": _at(document, "allocfail.cpu"),
        "hardware": _at(document, "allocfail.hardware"),
        "trace_reliable": [f for f, good in zip(functions, reliable, strict=True) if good],
        "trace_guess": [f for f, good in zip(functions, reliable, strict=True) if not good],
        "slub_cache": _at(document, "allocfail.slab.cache"),
        "size": str(_at(document, "allocfail.vmalloc.bytes") or _at(document, "allocfail.vmalloc.bytes_text")),
    }


def _expected(event: dict[str, Any]) -> dict[str, Any]:
    names = _found({})
    wanted = {name: event[name] for name in names if name in event}
    wanted["kind"] = KINDS[event["kind"]]
    for name in ("trace_reliable", "trace_guess"):
        if wanted.get(name) is None:
            wanted.pop(name, None)  # interleaved: nobody attributed the frames by hand
    size = event.get("vmalloc_size") or event.get("vmalloc_bytes")
    if size is not None:
        wanted["size"] = str(size)
    return wanted


@pytest.mark.parametrize("row", ROWS)
def test_every_event_is_found_and_decoded(row: dict[str, Any]) -> None:
    number = Path(row["file"]).name[:3]
    documents = [e.document for e in decode_bytes((CORPUS / row["file"]).read_bytes())]
    if number == "076":
        assert number in EXPLAINED
        headless = [d for d in documents if _at(d, "allocfail.incomplete_reason") == "no header"]
        documents = [d for d in documents if d not in headless]
        assert len(headless) == 1
    wanted = [_expected(event) for event in row["events"]]
    if number == "104":
        wanted[0]["trace_reliable"].remove("alloc_large_system_hash")
    found = [_found(document) for document in documents]
    key = lambda item: (item["kind"], str(item.get("mode")))  # noqa: E731 - the table lists headless bodies last
    if any(event.get("headless") for event in row["events"]):
        wanted.sort(key=key)
        found.sort(key=key)
    assert [{k: f[k] for k in w} for w, f in zip(wanted, found, strict=False)] == wanted
    assert len(found) == len(wanted)


@pytest.mark.parametrize("row", ROWS)
def test_an_event_s_own_text_gives_it_again(row: dict[str, Any]) -> None:
    for event in decode_bytes((CORPUS / row["file"]).read_bytes()):
        again = decode_bytes(event.document["event"]["original"].encode("utf-8", "replace"))
        assert again, event.document["event"]["reason"]
        assert (
            again[0].document["allocfail"]["fingerprint"]["header"]
            == (event.document["allocfail"]["fingerprint"]["header"])
        )
