"""Events for the dashboards: what the decoder makes of the logs here, moved into the last weeks."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import corpora
from allocfail.content import content_path
from allocfail.logs.events import Options, decode_bytes

if TYPE_CHECKING:
    from collections.abc import Sequence

_CASES = Path(__file__).parent / "cases"
#: Nobody decoded these: words of a failure without one, and a document on which the pipeline failed.
_OTHERS: list[dict[str, Any]] = [
    {"message": "kworker/3:1: page allocation failure (order 4, zone Normal, new wording)", "host": {"name": "web01"}},
    {"message": "Started Daily apt download activities.", "host": {"name": "web01"}},
    {
        "message": "swapper: page allocation failure. order:1, mode:0x20",
        "event": {"kind": "pipeline_error"},
        "error": {"message": ["Processor 'script' with tag 'allocfail-read' failed with message 'null'"]},
        "tags": ["allocfail-pipeline-error"],
        "host": {"name": "web02"},
    },
]


def _logs() -> list[tuple[str, bytes]]:
    """Return logs by name: whole ones, and a few that are cut, forged or of a kernel that nobody knows."""
    sample = content_path("samples/svn3-centos6.log").read_bytes()
    lines = sample.splitlines(keepends=True)
    whole = (_CASES / "7.3-x86.log").read_bytes()
    strange = b"kernel: foo: page allocation failure: order:2, mode:0xfff0000000000020, nodemask=(null)\n"
    edited = b"kernel: foo: page allocation failure: order:2, mode:0xcc0(GFP_ATOMIC), nodemask=(null)\n"
    return [
        ("svn3", sample),
        ("costly", whole.replace(b"failure: order:0", b"failure: order:5")),
        ("stalled", whole.replace(b"failure: order:0", b"stalls for 10014ms, order:0")),
        ("cut", b"".join(lines[:9])),
        ("forged", b"12,100,1000,-;swapper: page allocation failure. order:1, mode:0x20\n"),
        ("strange", b"Feb 14 15:24:15 db01 " + strange),
        ("edited", b"Feb 14 15:24:15 db01 " + edited),
        *((path.name, path.read_bytes()) for path in sorted(_CASES.glob("*.log"))),
    ]


@cache
def _decoded() -> str:
    documents: list[dict[str, Any]] = []
    for name, data in _logs():
        documents += [
            event.document
            for event in decode_bytes(data, Options(file=name, kernel=None if name == "svn3" else "5.15.0"))
        ]
    return json.dumps(documents)


def of_the_corpus() -> list[dict[str, Any]]:
    """Return the events of the real dumps in the shared folder; none where it is absent."""
    found = []
    for row in [row for folder in corpora.FOLDERS for row in corpora.rows(folder)]:
        found += [event.document for event in decode_bytes(row["path"].read_bytes(), Options(file=row["file"]))]
    return found


def documents(real: Sequence[dict[str, Any]] = ()) -> list[dict[str, Any]]:
    """Return documents from now back: real events, then the project's own, and some that are none."""
    found: list[dict[str, Any]] = json.loads(json.dumps([*real, *json.loads(_decoded()), *_OTHERS]))
    # A slab report right behind the page failure beneath it, as the decoder names it.
    beneath = json.loads(json.dumps(found[-len(_OTHERS) - 1]))
    beneath["allocfail"]["follows"] = "af1:0000000000000000"
    found.append(beneath)
    for number, document in enumerate(found):
        # As a shipper on the host, and then the pipeline, do it.
        name = document.setdefault("host", {}).setdefault("name", f"web{number % 5:02}")
        if "allocfail" in document:
            hosts = document.setdefault("related", {}).setdefault("hosts", [])
            hosts += [] if hosts else [name]
    start = datetime.now(UTC) - timedelta(hours=1)
    between = min(timedelta(hours=7), timedelta(days=25) / len(found))  # the dashboards' range is 30 days
    for number, document in enumerate(found):
        document["@timestamp"] = (start - between * number).isoformat(timespec="milliseconds")
    return found
