"""Logs in a cluster, a document a line, for the tests of the sweep."""

from __future__ import annotations

import json
from collections import Counter
from typing import TYPE_CHECKING, Any

from allocfail.cluster.client import Engine, path
from allocfail.cluster.retry import Patience
from allocfail.cluster.ship import Shipper
from allocfail.cluster.sweep import Sweep
from allocfail.decoder.options import Options

if TYPE_CHECKING:
    from collections.abc import Iterable

MAPPING: dict[str, Any] = {
    "settings": {"number_of_shards": 2, "number_of_replicas": 0},
    "mappings": {
        "properties": {
            "@timestamp": {"type": "date"},
            "message": {"type": "text"},
            "host": {"properties": {"name": {"type": "keyword"}}},
            "log": {"properties": {"offset": {"type": "long"}, "file": {"properties": {"path": {"type": "keyword"}}}}},
        }
    },
}


def text_of(number: int) -> list[str]:
    """Return the lines of one dump, which differs from every other."""
    uptime = f"[{1000 + number:5}.{number:06}]"
    lines = [
        f"task{number}: page allocation failure: order:2, mode:0xcc0(GFP_KERNEL), nodemask=(null),cpuset=/",
        f"CPU: 3 UID: 0 PID: {number + 1} Comm: task{number} Not tainted 6.12.9 #1",
        "Call Trace:",
        " <TASK>",
        " dump_stack_lvl+0x5d/0x80",
        " warn_alloc+0x163/0x190",
        " __alloc_pages_noprof+0x321/0x350",
        f" grow_{number}+0x8e/0x1f0 [demo]",
        " demo_ioctl+0x6c/0x120 [demo]",
        " __x64_sys_ioctl+0x94/0xd0",
        " do_syscall_64+0x82/0x190",
        " entry_SYSCALL_64_after_hwframe+0x76/0x7e",
        " </TASK>",
    ]
    return [f"{uptime} {line}" for line in lines]


def fingerprint_of(number: int) -> str:
    return f"af1|page_allocation_failure|order=2|grow_{number}>demo_ioctl>sys_ioctl"


def lines_of(numbers: Iterable[int], hosts: int = 3) -> list[tuple[str, dict[str, Any]]]:
    """Return documents, each with its id: dumps of some hosts, and ordinary lines between."""
    found: list[tuple[str, dict[str, Any]]] = []
    for number in numbers:
        host = f"node{number % hosts}"
        texts = [*text_of(number), f"[{1000 + number:5}.900000] usb 1-1: new device number {number}"]
        for at, text in enumerate(texts):
            moment = f"2026-03-04T{5 + number // 3600:02}:{number // 60 % 60:02}:{number % 60:02}.{at // 3:03}Z"
            document = {
                "@timestamp": moment,
                "message": f"Mar  4 {moment[11:19]} {host} kernel: {text}",
                "host": {"name": host},
                "log": {"offset": 10_000 * number + 100 * at, "file": {"path": "/var/log/kern.log"}},
            }
            found.append((f"{number}-{at}", document))
    return found


def put(cluster: Engine, index: str, documents: Iterable[tuple[str, dict[str, Any]]]) -> None:
    actions = [
        {"_op_type": "create", "_index": index, "_id": identifier, "_source": source}
        for identifier, source in documents
    ]
    for result in cluster.bulk(actions):
        assert result.status == 201, result
    cluster.request("POST", path(index, "_refresh"))


def sweep(cluster: Engine, *names: str, into: str = "allocfail-events", **how: Any) -> tuple[Sweep, Shipper]:
    """Sweep once; what the sweep has said is in its ``said``."""
    said: list[str] = []
    patience = Patience(retries=30, pause=0.01, longest_pause=0.05)
    shipper = Shipper(cluster, into, patience=patience, say=said.append)
    how.setdefault("options", Options(year=2026))
    made = Sweep(cluster, names, shipper, skip=(into, "allocfail-kb"), patience=patience, say=said.append, **how)
    made.run(None, None, lambda _: None)
    made.said = said  # type: ignore[attr-defined]
    return made, shipper


def events(cluster: Engine, index: str = "allocfail-events") -> list[dict[str, Any]]:
    if cluster.request("POST", path(index, "_refresh"), missing_ok=True) is None:
        return []
    target = f"{path(index, '_search')}?scroll=1m"
    answer = cluster.request("POST", target, {"size": 10_000, "version": True})
    found: list[dict[str, Any]] = []
    while hits := answer["hits"]["hits"]:
        found += [hit["_source"] | {"_id": hit["_id"], "_version": hit["_version"]} for hit in hits]
        answer = cluster.request("POST", "/_search/scroll", {"scroll": "1m", "scroll_id": answer["_scroll_id"]})
    cluster.request("DELETE", "/_search/scroll", {"scroll_id": answer["_scroll_id"]})
    return found


def counted(found: Iterable[dict[str, Any]]) -> Counter[str]:
    return Counter(event["allocfail"]["fingerprint"]["text"] for event in found)


def once_each(numbers: Iterable[int]) -> Counter[str]:
    return Counter(fingerprint_of(number) for number in numbers)


def dumps(rows: Iterable[dict[str, Any]]) -> str:
    return "".join(json.dumps(row) + "\n" for row in rows)
