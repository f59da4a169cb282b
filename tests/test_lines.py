"""Documents with a line each: joined and sorted by what they carry, and by nothing that is made up."""

from __future__ import annotations

import random
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

import lines_of_carriers
from allocfail.cluster.assembled import Assembled, assemble
from allocfail.cluster.lines import Place, read
from allocfail.decoder.options import Options
from allocfail.logs.events import decode_bytes

if TYPE_CHECKING:
    from collections.abc import Iterable

CORPUS = Path(__file__).parents[2] / "shared" / "corpus" / "events"
THERE = lines_of_carriers.CARRIERS.is_file()
LOADED = lines_of_carriers.load() if THERE else {}

TEXT = "af1|page_allocation_failure|order=2|ring_grow>demo_ioctl>sys_ioctl"
HEADER = "af1|page_allocation_failure|order=2|comm=app"

#: No document of these holds a text that the decoder knows.
WITHOUT_TEXT = {"otel-journald-ecs"}
#: Nothing in these says in which order the lines of a millisecond, or of a second, were printed.
WITHOUT_ORDER = {
    "agent-system-syslog-journald",
    "filebeat-system-module-journald",
    "gelf-wire",
    "loki-logcli-jsonl",
    "netconsole-basic",
    "npd-event",
    "syslog-ng-journal",
}
#: logcat takes what stands before a colon for a tag: the ninth line is no line of a dump any more.
NOT_MADE = {"android-logcat-threadtime"}


def events(documents: Iterable[dict[str, Any]], seed: int = 1) -> list[Assembled]:
    """Assemble documents that come in any order."""
    lines = [read(Place("lines", str(number)), document) for number, document in enumerate(documents)]
    random.Random(seed).shuffle(lines)
    return list(assemble(lines, Options()))


def fingerprints(found: Iterable[Assembled]) -> list[str]:
    return [event.document["allocfail"]["fingerprint"]["text"] for event in found]


def _is_read(document: dict[str, Any]) -> bool:
    text = read(Place("lines", "0"), document).text
    return bool(text) and not text.startswith("{")


def kmsg(texts: Iterable[str], start: int = 1200, **more: Any) -> list[dict[str, Any]]:
    return [
        {"@timestamp": "2026-03-04T05:06:07.123Z", "sequence": number, "sec": 4711, "usec": 5, "msg": text, **more}
        for number, text in enumerate(texts, start)
    ]


def dump(task: str = "app", function: str = "ring_grow", pid: int = 4242) -> list[str]:
    return [
        f"{task}: page allocation failure: order:2, mode:0xcc0(GFP_KERNEL), nodemask=(null),cpuset=/,mems_allowed=0",
        f"CPU: 3 UID: 0 PID: {pid} Comm: {task} Not tainted 6.12.9 #1",
        "Call Trace:",
        " <TASK>",
        " dump_stack_lvl+0x5d/0x80",
        " warn_alloc+0x163/0x190",
        " __alloc_pages_noprof+0x321/0x350",
        f" {function}+0x8e/0x1f0 [demo]",
        " demo_ioctl+0x6c/0x120 [demo]",
        " __x64_sys_ioctl+0x94/0xd0",
        " do_syscall_64+0x82/0x190",
        " entry_SYSCALL_64_after_hwframe+0x76/0x7e",
        " </TASK>",
    ]


@pytest.mark.skipif(not THERE, reason="NO CARRIERS: ../shared is not there, shippers' documents were NOT tested")
@pytest.mark.parametrize("carrier", sorted(LOADED))
@pytest.mark.parametrize("seed", [1, 2])
def test_a_dump_that_a_shipper_took_apart(carrier: str, seed: int) -> None:
    parts = LOADED[carrier]
    if "frame" not in parts or carrier in NOT_MADE:
        pytest.skip("joins by itself, or its other lines are not known")
    documents = lines_of_carriers.dump_of(parts)
    if carrier in WITHOUT_TEXT or not _is_read(documents[0]):
        pytest.skip("NOT tested: the decoder knows no text in this carrier's documents")
    found = events(documents, seed)
    assert fingerprints(found) == [HEADER if carrier in WITHOUT_ORDER else TEXT]
    own = found[0].document["allocfail"]
    assert own["complete"] is (carrier not in WITHOUT_ORDER)
    assert own.get("incomplete_reason") == ("unordered" if carrier in WITHOUT_ORDER else None)
    assert own["memory"]["free_kb"] == 36400
    assert own["order"] == 2
    assert found[0].header.id == "0"
    places = [int(place.id) for place in found[0].places]
    assert places[0] == 0
    if carrier not in WITHOUT_ORDER:
        assert places == list(range(len(documents)))
    assert own["documents"] == [{"index": "lines", "id": place.id} for place in found[0].places]


@pytest.mark.skipif(not CORPUS.is_dir(), reason="NO CORPUS: ../shared is not there, real dumps were NOT tested")
def test_real_dumps_a_document_a_line() -> None:
    """Mail-wrapped ones aside, a log that was taken apart and shuffled gives what it gives whole."""
    whole = apart = 0
    for path in sorted(CORPUS.glob("*.log")):
        data = path.read_bytes()
        if "wrapped" in path.name or "devkmsg_caller" in path.name:
            continue
        expected = [event.document["allocfail"]["fingerprint"]["id"] for event in decode_bytes(data)]
        documents, offset = [], 0
        for line in data.split(b"\n"):
            documents.append(
                {
                    "@timestamp": "2026-03-04T05:06:07.523Z",
                    "message": line.decode("utf-8", "replace"),
                    "log": {"offset": offset, "file": {"path": "/var/log/kern.log"}},
                    "host": {"name": "node7"},
                }
            )
            offset += len(line) + 1
        got = [event.document["allocfail"]["fingerprint"]["id"] for event in events(documents)]
        whole += len(expected)
        apart += len(set(expected) & set(got)) if sorted(got) != sorted(expected) else len(expected)
    assert whole > 100
    assert apart >= whole - 2


def test_two_processors_under_each_other_are_told_apart_by_the_caller() -> None:
    one, two = dump("one", "one_grow", 1), dump("two", "two_grow", 2)
    texts = [
        f"4,{1200 + number},4711{number:06},-,caller=T{pid};{text}"
        for number, (pid, text) in enumerate(pair for a, b in zip(one, two, strict=True) for pair in ((1, a), (2, b)))
    ]
    found = events({"@timestamp": "2026-03-04T05:06:07.125Z", "message": text} for text in texts)
    assert sorted(fingerprints(found)) == [
        f"af1|page_allocation_failure|order=2|{name}_grow>demo_ioctl>sys_ioctl" for name in ("one", "two")
    ]
    assert all(event.complete for event in found)


def test_a_gap_in_the_kernels_numbers_is_a_loss() -> None:
    documents = kmsg(dump())
    del documents[3:5]
    (event,) = events(documents)
    assert event.document["allocfail"]["complete"] is False
    assert event.document["allocfail"]["incomplete_reason"] == "missed 2 kernel messages"


def test_a_gap_between_two_dumps_is_neithers() -> None:
    found = events([*kmsg(dump("one")), *kmsg(dump("two"), 1400)])
    assert [event.complete for event in found] == [True, True]


def test_a_line_that_was_sent_twice_counts_once() -> None:
    documents = kmsg(dump())
    assert fingerprints(events([*documents, *documents])) == [TEXT]
    (event,) = events([*documents, *documents])
    assert len(event.places) == len(documents)


def test_what_happened_twice_is_two_events() -> None:
    found = events([*kmsg(dump()), *kmsg(dump(), 1300)])
    assert fingerprints(found) == [TEXT, TEXT]
    assert [event.number for event in found] == [0, 1]
    assert found[0].known == found[1].known


def test_one_millisecond_and_no_other_key_leaves_the_trace_out() -> None:
    documents = [
        {"@timestamp": f"2026-03-04T05:06:07.12{number // 9}Z", "host": {"hostname": "node7"}, "message": text}
        for number, text in enumerate(dump())
    ]
    (event,) = events(documents)
    assert fingerprints([event]) == [HEADER]
    assert event.document["allocfail"]["incomplete_reason"] == "unordered"
    assert "trace" not in event.document["allocfail"]


def test_a_millisecond_each_is_an_order() -> None:
    documents = [
        {"@timestamp": f"2026-03-04T05:06:07.1{number:02}Z", "host": {"hostname": "node7"}, "message": text}
        for number, text in enumerate(dump())
    ]
    assert fingerprints(events(documents)) == [TEXT]


def test_hosts_boots_and_files_are_never_mixed() -> None:
    both: list[dict[str, Any]] = []
    for host, boot, name in (("a", "b1", "x"), ("b", "b1", "y"), ("a", "b2", "z")):
        both += [
            {
                "MESSAGE": text,
                "_HOSTNAME": host,
                "_BOOT_ID": boot,
                "_TRANSPORT": "kernel",
                "SYSLOG_IDENTIFIER": "kernel",
                "_SOURCE_MONOTONIC_TIMESTAMP": str(4711123456 + number),
                "@timestamp": "2026-03-04T05:06:07.124Z",
            }
            for number, text in enumerate(dump(function=f"{name}_grow"))
        ]
    found = events(both)
    assert sorted(fingerprints(found)) == [
        f"af1|page_allocation_failure|order=2|{name}_grow>demo_ioctl>sys_ioctl" for name in "xyz"
    ]
    assert len({event.known for event in found}) == 3


def test_two_boots_without_a_boot_id_are_told_by_their_clocks() -> None:
    def boot(minute: int, function: str) -> list[dict[str, Any]]:
        return [
            {
                "@timestamp": "2026-03-04T05:06:07.523Z",
                "log": f"2026-03-04T05:{minute:02}:07.{number:06}+00:00 node7 kernel: [   10.{500 + number:06}] {text}",
            }
            for number, text in enumerate(dump(function=function))
        ]

    found = events([*boot(1, "early_grow"), *boot(4, "late_grow")])
    assert sorted(fingerprints(found)) == [
        f"af1|page_allocation_failure|order=2|{name}_grow>demo_ioctl>sys_ioctl" for name in ("early", "late")
    ]


@pytest.mark.parametrize(("named", "expected"), [(True, TEXT), (False, HEADER)])
def test_a_file_that_is_rotated_in_the_middle(named: bool, expected: str) -> None:  # noqa: FBT001 - both ways
    documents = []
    for number, text in enumerate(dump()):
        file: dict[str, Any] = {"path": "/var/log/messages"}
        if named:
            file["inode"] = "7" if number < 5 else "3"
        documents.append(
            {
                "@timestamp": f"2026-03-04T05:06:07.{number // 3:03}Z",
                "message": f"Mar  4 05:06:07 node7 kernel: {text}",
                "log": {"offset": 900_000 + 100 * number if number < 5 else 100 * (number - 5), "file": file},
            }
        )
    # Without the file's own name the lines of a millisecond may be of either file: their order is not known.
    assert fingerprints(events(documents)) == [expected]


def test_what_user_space_wrote_is_no_line_of_the_kernels() -> None:
    real = [
        {
            "MESSAGE": text,
            "_HOSTNAME": "node7",
            "_TRANSPORT": "kernel",
            "SYSLOG_IDENTIFIER": "kernel",
            "SYSLOG_FACILITY": "0",
            "_SOURCE_MONOTONIC_TIMESTAMP": str(4711123456 + 10 * number),
        }
        for number, text in enumerate(dump())
    ]
    forged = {
        **real[7],
        "MESSAGE": " innocent_function+0x1/0x2",
        "SYSLOG_IDENTIFIER": "x",
        "SYSLOG_FACILITY": "1",
        "_SOURCE_MONOTONIC_TIMESTAMP": str(4711123456 + 65),
    }
    (event,) = events([*real, forged])
    assert fingerprints([event]) == [TEXT]
    assert event.document["allocfail"]["provenance"] == "kernel"
    (other,) = events([{**document, "SYSLOG_FACILITY": "1", "SYSLOG_IDENTIFIER": "x"} for document in real])
    assert other.document["allocfail"]["provenance"] == "forged"


def test_a_marked_first_line_still_belongs_to_its_dump() -> None:
    documents = kmsg(dump())
    documents[0]["allocfail"] = {"assembled": {"id": "1", "index": "allocfail-events"}, "complete": False}
    documents[0]["tags"] = ["kernel-allocation-failure"]
    documents[0]["process"] = {"name": "app"}
    assert fingerprints(events(documents)) == [TEXT]


@pytest.mark.parametrize(
    "document",
    [
        {},
        {"message": None},
        {"message": 7, "log": {"offset": "x"}},
        {"message": "x" * 100_000, "sequence": "9" * 40, "usec": 1},
        {"message": "\x00\x1b[31m", "@timestamp": "yesterday", "cursor": "i=zz"},
        {"body": "{" * 5000},
        {"message": "a: page allocation failure: order:1, mode:0x20", "@timestamp": 10**40},
        {"message": "lone \ud800", "_BOOT_ID": ["a", {"b": 1}], "host": {"name": {"x": 1}}},
    ],
)
def test_anything_may_come(document: dict[str, Any]) -> None:
    assert len(events([document, {"message": "Call Trace:"}])) <= 1
