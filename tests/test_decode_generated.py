"""The decoder against dumps written from the kernel's own formats, whose truth is known exactly."""

from __future__ import annotations

import random
from typing import Any

import pytest

from dumpgen import KERNELS, KINDS, PREFIXES, TANGLES, generate, masks, prefixes, reports, tangles
from dumpgen.compare import differences, dump_differences, get
from dumpgen.kernels import data
from invariants import documents

# Prefixes whose lines carry their machine, so that machines which print at the same time can be told apart.
HOSTED = ["syslog", "syslog_printk", "iso_syslog", "rfc5424", "journal_short", "journal_json"]
# Prefixes whose lines carry who printed them.
CALLED = ["printk_thread", "level_printk_thread", "kmsg_caller"]
# Tangles hold for text; each of these is what people paste.
PASTED = ["none", "printk", "level_printk", "ctime", "syslog", "syslog_printk", "iso_syslog", "journal_short"]

# What a hard-wrapped log without prefixes may lose.
LOST_IN_WRAPPING = (
    ".memory.",
    ".hardware",
    ".workqueue",
    ".slab.",
    ".complete",
    ".incomplete_reason",
    ".cpuset",
    ".suppressed",
)


def compare(dump: Any) -> list[str]:
    return dump_differences(dump, documents(dump.text.encode(), year=dump.facts["year"]))


@pytest.mark.parametrize("prefix", PREFIXES)
def test_every_prefix(prefix: str) -> None:
    for seed in range(12):
        dump = generate(random.Random(f"{prefix} {seed}"), prefix=prefix)
        assert compare(dump) == [], (seed, dump.kernel)


@pytest.mark.parametrize("kind", KINDS)
def test_every_kernel_and_kind(kind: str) -> None:
    for kernel in KERNELS:
        if reports.possible(kernel, kind):
            rng = random.Random(f"{kernel.release} {kernel.arch} {kind}")
            dump = reports.write(rng, kernel, kind, reports.Settings())
            prefixes.ship(rng, dump, rng.choice(PASTED))
            assert compare(dump) == [], kernel


@pytest.mark.parametrize("tangle", TANGLES)
def test_every_tangle(tangle: str) -> None:
    for seed in range(16):
        rng = random.Random(f"{tangle} {seed}")
        dump = generate(rng, prefix=PASTED, tangle=tangle)
        found = compare(dump)
        if "wrapped" in tangle and dump.prefix == "none":
            # Without a prefix nothing tells a continuation from a line but its words; what is lost is in no group.
            found = [line for line in found if not any(name in line for name in LOST_IN_WRAPPING)]
        assert found == [], (seed, dump.kernel, dump.prefix)


def test_klogd_resolves_symbols_itself() -> None:
    for seed in range(20):
        dump = generate(random.Random(seed), era="2.6", arch="i386", kind="page", prefix="syslog", klogd=True)
        assert compare(dump) == [], seed


def test_hostile_names_of_processes_change_nothing() -> None:
    for number, comm in enumerate(data("traces")["hostile_comms"]):
        for kind in ("page", "vmalloc", "oom"):
            dump = generate(random.Random(number), kind=kind, comm=comm[:15], prefix="syslog_printk", era="5")
            assert compare(dump) == [], (comm, kind)


@pytest.mark.parametrize("prefix", HOSTED)
def test_machines_that_print_at_the_same_time(prefix: str) -> None:
    for seed in range(6):
        rng = random.Random(f"{prefix} {seed}")
        hosts = ["alpha", "beta", "gamma"]
        dumps = [generate(rng, kind="page", prefix=prefix, host=host) for host in hosts]
        text = "\n".join(tangles.interleave(rng, dumps)) + "\n"
        found = documents(text.encode(), year=dumps[0].facts["year"])
        by_host = {get(document, "host.hostname"): document for document in found}
        assert len(found) == len(by_host) == len(hosts), seed
        for dump, host in zip(dumps, hosts, strict=True):
            assert differences(dump.events[0], by_host[host], ("@timestamp",)) == [], (seed, host)


@pytest.mark.parametrize("prefix", CALLED)
def test_tasks_that_print_at_the_same_time(prefix: str) -> None:
    for seed in range(6):
        rng = random.Random(f"{prefix} {seed}")
        dumps = [generate(rng, kind="page", prefix=prefix, caller=caller) for caller in ("T17", "C3", "T90210")]
        text = "\n".join(tangles.interleave(rng, dumps)) + "\n"
        found = documents(text.encode())
        by_message = {document["message"]: document for document in found}
        assert len(found) == len(dumps), seed
        for dump in dumps:
            document = by_message[dump.truth["message"]]
            assert differences(dump.events[0], document) == [], (seed, dump.kernel)


def test_one_failure_is_one_group_in_every_format() -> None:
    for seed in range(6):
        kernel = random.Random(seed).choice([kernel for kernel in KERNELS if kernel.at_least("2.6.28")])
        found = set()
        for prefix in PREFIXES:
            dump = reports.write(random.Random(seed), kernel, "page", reports.Settings())
            prefixes.ship(random.Random(prefix), dump, prefix)
            found |= {document["allocfail"]["fingerprint"]["id"] for document in documents(dump.text.encode())}
        assert len(found) == 1, kernel


def test_headers_alone() -> None:
    for seed in range(40):
        dump = generate(random.Random(seed), kind="page", prefix="syslog")
        event = dump.events[0]
        (document,) = documents((dump.lines[event.first] + "\n").encode(), year=dump.facts["year"])
        own = document["allocfail"]
        assert (own["complete"], own["incomplete_reason"]) == (False, "header only")
        assert own["order"] == event.truth["allocfail"]["order"]
        assert own["gfp"]["mask"] == event.truth["allocfail"]["gfp"]["mask"]
        header = event.truth["allocfail"]["fingerprint"]["header"]["text"]
        assert own["fingerprint"]["text"] == own["fingerprint"]["header"]["text"] == header
        assert own["fingerprint"]["level"] == "header"


def test_the_true_reading_is_among_those_given() -> None:
    for seed in range(150):
        dump = generate(random.Random(seed), kind="page", prefix="none")
        if not dump.kernel.at_least("2.6.12"):
            continue
        (document,) = documents((dump.lines[dump.events[0].first] + "\n").encode())
        gfp = document["allocfail"]["gfp"]
        true = masks.flags_of(dump.kernel, int(gfp["mask"], 16))
        if gfp["decoded_by"] == "ambiguous":
            assert true in [reading["flags"] for reading in gfp["candidates"]], (seed, dump.kernel)
            assert set(gfp["flags"]) <= set(true)
        else:
            assert gfp["flags"] == true, (seed, dump.kernel)
        assert gfp.get("may_sleep", masks.may_sleep(dump.kernel, int(gfp["mask"], 16))) is masks.may_sleep(
            dump.kernel, int(gfp["mask"], 16)
        )


def test_names_that_the_mask_cannot_have_are_a_conflict() -> None:
    for seed in range(20):
        dump = generate(random.Random(seed), kind="page", prefix="none", era="5")
        header = dump.truth["message"]
        names = header[header.index("(") : header.index(")") + 1]
        wrong = "(GFP_NOFS|__GFP_HIGHMEM|__GFP_WRITE)"
        (document,) = documents(dump.text.replace(names, wrong, 1).encode())
        assert "conflict" in document["allocfail"]["gfp"], seed
        assert document["allocfail"]["gfp"]["mask"] == dump.truth["allocfail"]["gfp"]["mask"]


def test_a_cut_anywhere_still_gives_the_event_and_says_so() -> None:
    for seed in range(12):
        whole = generate(random.Random(seed), kind="page", prefix="printk")
        first = whole.events[0].first
        parts = [record.part for record in whole.records]
        first_frame = parts.index("trace")
        truth = whole.truth["allocfail"]
        for kept in range(first + 1, len(whole.records) + 1):
            lines = [
                line for at, record in enumerate(whole.records[:kept]) for line in _shipped(whole, at, record.text)
            ]
            found = documents(("\n".join(lines) + "\n").encode())
            assert len(found) == 1, (seed, kept)
            own = found[0]["allocfail"]
            assert own["order"] == truth["order"]
            if kept <= first_frame + 3:
                assert not own["complete"], (seed, kept, whole.kernel)
            if kept == len(parts):
                assert own["complete"], (seed, whole.kernel)


def _shipped(dump: Any, number: int, text: str) -> list[str]:
    """The lines of one record of a dump shipped as ``[uptime]`` lines."""
    start = sum(record.text.count("\n") + 1 for record in dump.records[:number])
    return list(dump.lines[start : start + text.count("\n") + 1])


def test_a_header_torn_into_pieces() -> None:
    # 4.9 to 4.14 print a header in up to three pieces; another CPU's output may come between them.
    dump = generate(random.Random(1), era="4.13", kind="page", prefix="none", comm="rsyslogd")
    header = dump.bare[dump.events[0].first]
    at = header.index(", mode:")
    lines = dump.bare
    lines[lines.index(header)] = header[:at] + "\n" + header[at:].strip()
    (document,) = documents("\n".join(lines).encode())
    assert document["allocfail"]["order"] == dump.truth["allocfail"]["order"]
    assert document["allocfail"]["fingerprint"]["text"] == dump.truth["allocfail"]["fingerprint"]["text"]


def test_repeated_headers_are_counted() -> None:
    lines = [
        "Sep  5 07:37:40 spc5 kernel: dbench: page allocation failure. order:0, mode:0x50",
        "Sep  5 07:37:46 spc5 last message repeated 22 times",
    ]
    (document,) = documents("\n".join(lines).encode())
    assert document["allocfail"]["repeated"] == 22


def test_two_cpus_without_names_keep_their_headers() -> None:
    for seed in range(30):
        rng = random.Random(seed)
        dumps = [generate(rng, kind="page", prefix="printk", mem=False) for _ in range(2)]
        found = documents(("\n".join(tangles.interleave(rng, dumps)) + "\n").encode())
        headers = {document.get("message"): document["allocfail"] for document in found}
        for dump in dumps:
            own = headers[dump.truth["message"]]
            assert own["order"] == dump.truth["allocfail"]["order"]
            assert own["gfp"]["mask"] == dump.truth["allocfail"]["gfp"]["mask"]


def test_lost_messages_are_told() -> None:
    dump = generate(random.Random(5), era="3.10", arch="x86_64", kind="page", prefix="none")
    at = next(number for number, line in enumerate(dump.bare) if "Call Trace:" in line)
    lines = dump.bare
    lines[at + 2 : at + 4] = ["Missed 2 kernel messages"]
    (document,) = documents("\n".join(lines).encode())
    assert document["allocfail"]["complete"] is False
    assert document["allocfail"]["incomplete_reason"] == "missed 2 kernel messages"


def test_a_body_whose_header_is_lost() -> None:
    for seed in range(12):
        dump = generate(random.Random(seed), era="5.10", kind="page", prefix="printk", mem=True)
        event = dump.events[0]
        body = [line for line in dump.lines if event.truth["message"] not in line]
        (document,) = documents(("\n".join(body) + "\n").encode())
        own = document["allocfail"]
        assert (own["complete"], own["incomplete_reason"]) == (False, "no header")
        assert "order" not in own
        assert own["trace"]["functions"] == event.truth["allocfail"]["trace"]["functions"]


def test_a_slab_report_follows_its_page_failure() -> None:
    for seed in range(12):
        dump = generate(random.Random(seed), kind="page+slub", prefix="syslog_printk")
        page, slab = documents(dump.text.encode(), year=dump.facts["year"])
        assert slab["allocfail"]["follows"] == page["allocfail"]["fingerprint"]["id"]
        assert "follows" not in page["allocfail"]


def test_reports_one_after_another() -> None:
    for seed in range(30):
        rng = random.Random(seed)
        prefix = rng.choice(PASTED)
        dumps = [
            generate(rng, kind=kind, prefix=prefix, host="h")
            for kind in rng.sample(["page", "vmalloc", "oom", "slub"], 3)
        ]
        found = documents("".join(dump.text for dump in dumps).encode(), year=dumps[0].facts["year"])
        events = [event for dump in dumps for event in dump.events]
        assert len(found) == len(events), (seed, [dump.kernel for dump in dumps])
        for event, document in zip(events, found, strict=True):
            assert differences(event, document, ("@timestamp",)) == [], (seed, dumps)


NEAR_MISSES = """I get "page allocation failure: order:4" messages all the time, what can I do?
> > The kernel prints `page allocation failure` when the order is above 3.
Subject: [PATCH] mm: print "page allocation failure" only once
-       pr_warn("%s: page allocation failure: order:%d, mode:0x%x\\n",
#3  0xffffffff8112c207 in warn_alloc (gfp_mask=32, fmt=0xffffffff81a "page allocation failure: order:%u") at mm/x.c:32
cma: cma_alloc: alloc failed, req-size: 16 pages, ret: -12
alloc_contig_range: [10000, 10010) PFNs busy
__alloc_pages: 0-order allocation failed (gfp=0x20/0)
Out of Memory is a novel
[drm:drm_gem_create] *ERROR* Allocation failed
usb 1-1: swiotlb: coherent allocation failed for device 0000:00:1d.0 size=1048576
grep -c 'page allocation failure' /var/log/messages
| page allocation failure: order:N, mode:0xM | see the article |"""


def test_near_misses_are_no_events() -> None:
    for prefix in ("", "Feb 14 15:24:15 h kernel: ", "[    1.234567] "):
        assert documents("".join(f"{prefix}{line}\n" for line in NEAR_MISSES.split("\n")).encode()) == []


def test_a_stall_that_shows_warn_alloc_is_no_event() -> None:
    lines = [
        "rcu: INFO: rcu_sched self-detected stall on CPU",
        "NMI backtrace for cpu 1",
        "CPU: 1 PID: 31 Comm: kworker/1:1 Not tainted 5.10.0 #1",
        "Call Trace:",
        " <IRQ>",
        " dump_stack+0x6b/0x83",
        " nmi_cpu_backtrace.cold+0x32/0x69",
        " rcu_dump_cpu_stacks+0xa4/0xd4",
        " </IRQ>",
        " console_unlock+0x2a5/0x4a0",
        " vprintk_emit+0x14d/0x1b0",
        " printk+0x48/0x4a",
        " warn_alloc+0x89/0xba",
        " __alloc_pages_slowpath.constprop.0+0xd40/0xd80",
        " ret_from_fork+0x22/0x30",
    ]
    assert documents("\n".join(lines).encode()) == []
