"""What the documents promise, on short dumps written out here: one promise a test."""

from __future__ import annotations

import json
from typing import Any

import pytest

from allocfail.decoder.enrich import enrich
from allocfail.logs.events import Options, decode_bytes

HEADER = (
    "kworker/0:1H: page allocation failure: order:3, mode:0x40a20(GFP_ATOMIC|__GFP_COMP), "
    "nodemask=(null),cpuset=/,mems_allowed=0"
)
BANNER = "CPU: 0 PID: 123 Comm: kworker/0:1H Not tainted 5.4.0-42-generic #46-Ubuntu"
TRACE = [
    "Call Trace:",
    " dump_stack+0x6d/0x8b",
    " warn_alloc.cold+0x7b/0xdf",
    " __alloc_pages_nodemask+0x2d0/0x320",
    " new_slab+0x22/0x30",
    " my_alloc.isra.0+0x10/0x20 [mymod]",
    " my_caller+0x10/0x20 [mymod]",
    " process_one_work+0x1eb/0x3b0",
    " worker_thread+0x4d/0x400",
    " kthread+0x104/0x140",
    " ret_from_fork+0x35/0x40",
]
MEMORY = [
    "Mem-Info:",
    "active_anon:1 inactive_anon:2 isolated_anon:0",
    " free:100 free_pcp:1 free_cma:0",
    "Node 0 DMA free:15672kB min:500kB low:600kB high:700kB present:15992kB managed:15908kB",
    "lowmem_reserve[]: 0 100 200 200",
    "Node 0 DMA: 1*4kB (U) 1*8kB (U) 0*16kB 1*32kB (M) = 44kB",
    "100 total pagecache pages",
    "Free swap  = 0kB",
    "Total swap = 0kB",
    "262144 pages RAM",
    "0 pages HighMem/MovableOnly",
    "1000 pages reserved",
]
DUMP = [HEADER, BANNER, *TRACE, *MEMORY]
SITE = "af1|page_allocation_failure|order=3|my_alloc>my_caller"
SLAB = [
    "SLUB: Unable to allocate memory on node -1, gfp=0xa20(GFP_ATOMIC)",
    "  cache: kmalloc-1024, object size: 1024, buffer size: 1024, default order: 1, min order: 0",
    "  node 0: slabs: 10, objs: 100, free: 0",
]
OOPS = [
    "BUG: unable to handle kernel NULL pointer dereference at 0000000000000008",
    "Oops: 0000 [#1] SMP PTI",
    BANNER,
    "RIP: 0010:crash_fn+0x10/0x20 [crashmod]",
    "Call Trace:",
    " crash_caller+0x1/0x2 [crashmod]",
    " entry_SYSCALL_64_after_hwframe+0x44/0xa9",
    "Modules linked in: crashmod",
]
SYSLOG = "Feb 14 15:24:15 svn3 kernel: "


def log(lines: list[str], prefix: str = SYSLOG) -> str:
    return "".join(f"{prefix}{line}\n" for line in lines)


def uptime(lines: list[str], start: float = 100.0, caller: str = "") -> list[str]:
    return [f"[{start + at / 1e6:12.6f}]{caller} {line}\n" for at, line in enumerate(lines)]


def documents(text: str, **options: Any) -> list[dict[str, Any]]:
    return [event.document for event in decode_bytes(text.encode(), Options(**options))]


def only(text: str, **options: Any) -> dict[str, Any]:
    (document,) = documents(text, **options)
    own: dict[str, Any] = document["allocfail"]
    return own


def text_of(document: dict[str, Any]) -> str:
    text: str = document["allocfail"]["fingerprint"]["text"]
    return text


# -- one event -------------------------------------------------------------------------------------------------------

WORDINGS = [
    ("vmalloc error: size 4096, page order 9, failed to map pages", {"bytes": 4096, "page_order": 9}),
    ("vmalloc error: size 18446744073709551615, exceeds total pages", {"bytes_text": "18446744073709551615"}),
    ("vmalloc error: size 4096, vm_struct allocation failed. Retrying.", {"bytes": 4096}),
    ("vmalloc error: size 4096, align 0x1000, vm_struct allocation failed", {"bytes": 4096}),
    ("vmalloc error: size 4096, failed to allocated page array size 8", {"bytes": 4096}),
    ("vmalloc: allocation failure: 9223372036854775808 bytes", {"bytes_text": "9223372036854775808"}),
    ("vmalloc: allocation failure, allocated 4096 of 8192 bytes", {"bytes": 8192, "allocated_bytes": 4096}),
]


@pytest.mark.parametrize(("wording", "said"), WORDINGS)
def test_every_wording_of_vmalloc(wording: str, said: dict[str, Any]) -> None:
    own = only(log([f"kworker/0:1H: {wording}, mode:0xcc0(GFP_KERNEL), nodemask=(null)", *DUMP[1:]]))
    assert own["kind"] == "vmalloc_allocation_failure"
    assert own["vmalloc"].items() >= said.items()
    assert "order" not in own
    assert own["fingerprint"]["text"] == "af1|vmalloc_allocation_failure|my_alloc>my_caller"


def test_the_old_pair_of_lines_is_one_event() -> None:
    pair = ["vmalloc: allocation failure: 17179869184 bytes", "a: page allocation failure: order:0, mode:0x80d2"]
    own = only(log(pair))
    assert own["kind"] == "vmalloc_allocation_failure"
    assert own["vmalloc"]["bytes"] == 17179869184
    assert own["order"] == 0
    assert own["fingerprint"]["text"] == "af1|vmalloc_allocation_failure|comm=a"


def test_a_line_of_vmap_takes_no_page_failure_for_its_own() -> None:
    lines = ["vmap allocation for size 4198400 failed: use vmalloc=<size> to increase size.", *DUMP]
    kinds = sorted(d["allocfail"]["kind"] for d in documents(log(lines)))
    assert kinds == ["page_allocation_failure", "vmalloc_allocation_failure"]


OOM = [
    (["Out of Memory: Killed process 12 (httpd)."], "httpd", 12),
    (["Out of memory: kill process 12 (httpd) score 5 or a child", "Killed process 12 (httpd)"], "httpd", 12),
    (["Memory cgroup out of memory: Kill process 12 (a (deleted)) score 9 or sacrifice child"], "a (deleted)", 12),
    (
        ["Out of memory: Kill process 12 (httpd) score 9 or sacrifice child", "Killed process 12, UID 48, (httpd)"],
        "httpd",
        12,
    ),
    (["oom-kill:constraint=CONSTRAINT_CPUSET,nodemask=0,2,cpuset=x,mems_allowed=1,task=a,b,pid=12,uid=0"], "a,b", 12),
]


@pytest.mark.parametrize(("lines", "victim", "pid"), OOM)
def test_the_victim_of_every_oom_wording(lines: list[str], victim: str, pid: int) -> None:
    own = only(log(["a invoked oom-killer: gfp_mask=0xd0, order=0, oom_adj=0", *lines]))
    assert (own["kind"], own["oom"]["victim"], own["oom"]["victim_pid"]) == ("oom_kill", victim, pid)


def test_the_cgroup_of_an_oom_kill() -> None:
    old = ["Task in /a/b killed as a result of limit of /a"]
    new = ["oom-kill:constraint=CONSTRAINT_MEMCG,nodemask=(null),cpuset=/,mems_allowed=0,oom_memcg=/a,task_memcg=/a/b"]
    for lines in (old, [new[0] + ",task=x,pid=1,uid=0"]):
        own = only(log(["a invoked oom-killer: gfp_mask=0xd0, order=0, oom_score_adj=0", *lines]))
        assert (own["oom"]["constraint"], own["oom"]["memcg"]) == ("CONSTRAINT_MEMCG", "/a")


# -- which slab report follows ---------------------------------------------------------------------------------------


def clocked(lines: list[str], form: str) -> str:
    return "".join(
        form.format(at=at, second=15 + at // 30, line=json.dumps(line)[1:-1]) for at, line in enumerate(lines)
    )


CLOCKS = [
    "2011-02-14T15:24:15.{at:06d}+00:00 svn3 kernel: {line}\n",
    "<4>1 2011-02-14T15:24:15.{at:06d}Z svn3 kernel - - - {line}\n",
    '{{"__REALTIME_TIMESTAMP":"12976970550{at:05d}","_HOSTNAME":"svn3","_TRANSPORT":"kernel","MESSAGE":"{line}"}}\n',
    '{{"log":"{line}\\n","stream":"stdout","time":"2011-02-14T15:24:15.{at:09d}Z"}}\n',
    "[Mon Feb 14 15:24:15 2011] {line}\n",
    "4,{at},{at},-;{line}\n",
]


@pytest.mark.parametrize("form", CLOCKS)
def test_a_slab_report_follows_by_every_clock(form: str) -> None:
    page, slab = documents(clocked(DUMP + SLAB, form))
    assert text_of(page) == SITE
    assert slab["allocfail"]["follows"] == page["allocfail"]["fingerprint"]["id"]
    assert "follows" not in page["allocfail"]


@pytest.mark.parametrize(
    "slab",
    [
        log(SLAB, "Feb 14 15:24:18 svn3 kernel: "),
        log(SLAB, "Feb 14 15:24:15 svn4 kernel: "),
        log([SLAB[0].replace("0xa20(GFP_ATOMIC)", "0xcc0(GFP_KERNEL)"), *SLAB[1:]]),
    ],
    ids=["later", "another host", "another mask"],
)
def test_what_a_slab_report_does_not_follow(slab: str) -> None:
    assert all("follows" not in d["allocfail"] for d in documents(log(DUMP) + slab))


# -- assembly --------------------------------------------------------------------------------------------------------


def test_cpus_that_print_line_by_line_without_names_are_never_called_complete() -> None:
    other = [line.replace("kworker/0:1H", "beta").replace("my_", "other_") for line in DUMP]
    found = documents("".join(uptime([line for pair in zip(DUMP, other, strict=True) for line in pair])))
    assert len(found) == 2
    for document in found:
        mixed = "my_alloc" in text_of(document) and "other_alloc" in text_of(document)
        assert not (document["allocfail"]["complete"] and mixed)
    assert any(d["allocfail"].get("incomplete_reason") == "interleaved" for d in found)


def test_cpus_with_names_are_told_apart() -> None:
    other = [line.replace("kworker/0:1H", "beta").replace("my_", "other_") for line in DUMP]
    mine, theirs = uptime(DUMP, caller="[    C1]"), uptime(other, caller="[    C2]")
    found = documents("".join(line for pair in zip(mine, theirs, strict=True) for line in pair))
    assert [text_of(d) for d in found] == [SITE, SITE.replace("my_", "other_")]
    assert all(d["allocfail"]["complete"] for d in found)


def test_headers_first_and_their_bodies_a_hundred_lines_later() -> None:
    names = [f"p{number}" for number in range(6)]
    dumps = [[line.replace("kworker/0:1H", name) for line in DUMP] for name in names]
    noise = [f"usb 1-1: something else {number}" for number in range(120)]
    lines = [dump[0] for dump in dumps] + noise + [line for dump in dumps for line in dump[1:]]
    found = documents("".join(uptime(lines)))
    assert [d["process"]["name"] for d in found] == names
    assert {text_of(d) for d in found} == {SITE}
    assert all(d["allocfail"]["complete"] for d in found)


@pytest.mark.parametrize("at", [1, 13, len(DUMP)], ids=["behind the header", "before Mem-Info", "behind"])
def test_an_oops_of_the_same_task_is_not_the_failure_s(at: int) -> None:
    own = only("".join(uptime(DUMP[:at] + OOPS + DUMP[at:])))
    assert "crashmod" not in own.get("trace", {}).get("modules", [])
    assert "crash_caller" not in own.get("trace", {}).get("functions", [])


def test_a_banner_of_another_task_is_not_the_header_s() -> None:
    found = documents(log([HEADER, BANNER.replace("kworker/0:1H", "other"), *TRACE, *MEMORY]))
    assert "pid" not in found[0]["process"]
    assert "cpu" not in found[0]["allocfail"]
    assert "kernel" not in found[0].get("host", {}).get("os", {})


@pytest.mark.parametrize("kept", range(1, len(DUMP)))
def test_a_cut_behind_any_line(kept: int) -> None:
    own = only(log(DUMP[:kept]))
    # Of the lines behind the trace only Mem-Info's own can be missed; kthread is an outermost frame too.
    reached = kept in {len(TRACE) + 1, len(TRACE) + 2}
    assert own["complete"] is reached
    assert own.get("incomplete_reason") == (None if reached else "header only" if kept == 1 else "truncated")


@pytest.mark.parametrize("kept", [4, 6, 8, 11])
def test_a_trace_that_lost_its_end_is_no_whole_one_though_mem_info_follows(kept: int) -> None:
    own = only(log([*DUMP[:kept], *MEMORY]))
    assert (own["complete"], own["incomplete_reason"]) == (False, "truncated")


@pytest.mark.parametrize("end", ["order:3,", "order:3, m", "order:3, mode", "order:3, mode:", "order:3, mode:0x"])
def test_a_header_cut_within_its_mode(end: str) -> None:
    own = only(SYSLOG + "a: page allocation failure: " + end)
    assert (own["order"], own["complete"], own["incomplete_reason"]) == (3, False, "header only")


@pytest.mark.parametrize(
    "line",
    [
        "Feb 14 15:24:15 svn3 systemd-journald[123]: Missed 13 kernel messages\n",
        "Feb 14 15:24:15 svn3 kernel: Missed 13 kernel messages\n",
        "Feb 14 15:24:15 svn3 journal: Missed 13 kernel messages\n",
    ],
)
def test_lost_lines_are_told_whoever_says_so(line: str) -> None:
    own = only(log(DUMP[:5]) + line + log(DUMP[8:]))
    assert (own["complete"], own["incomplete_reason"]) == (False, "missed 13 kernel messages")


def test_a_body_without_a_header() -> None:
    (document,) = documents(log(DUMP[1:]))
    own = document["allocfail"]
    assert (own["complete"], own["incomplete_reason"]) == (False, "no header")
    assert own["fingerprint"]["text"] == "af1|page_allocation_failure|my_alloc>my_caller"
    assert "order" not in own
    assert "message" not in document


@pytest.mark.parametrize("above", ["console_unlock", "nmi_cpu_backtrace", "rcu_dump_cpu_stacks"])
def test_warn_alloc_seen_in_another_report_is_no_event(above: str) -> None:
    trace = [TRACE[0], TRACE[1], f" {above}+0x1/0x2", *TRACE[2:]]
    assert documents(log([BANNER, *trace])) == []


def test_suppressed_callbacks_are_the_header_s() -> None:
    document = documents(log(["warn_alloc: 7 callbacks suppressed", *DUMP]))[0]
    assert document["allocfail"]["suppressed"] == 7
    again = documents(document["event"]["original"])[0]
    assert again["allocfail"] == document["allocfail"]


# -- fields ----------------------------------------------------------------------------------------------------------

TAINTS = [
    ("Tainted: G        W  O   ", "G W O"),
    ("Tainted: G           OE  ------------  ", "G OE"),
    ("Tainted: GF          O--------------   ", "GF O"),
    ("Tainted: G        W        --------- -  -", "G W"),
    ("Tainted: P           OE    --------- -t -", "P OE t"),
    ("Kdump: loaded Not tainted", "Not tainted"),
]


@pytest.mark.parametrize(("printed", "letters"), TAINTS)
def test_taints_lose_red_hat_s_dashes_and_never_the_release(printed: str, letters: str) -> None:
    banner = BANNER.replace("Not tainted", printed)
    (document,) = documents(log([HEADER, banner, *TRACE]))
    assert document["allocfail"]["tainted"] == letters
    assert document["host"]["os"]["kernel"] == "5.4.0-42-generic"
    assert ("taints" in document["allocfail"]) is (letters != "Not tainted")


@pytest.mark.parametrize(
    ("fields", "provenance"),
    [
        ({"_TRANSPORT": "kernel", "SYSLOG_IDENTIFIER": "kernel"}, "kernel"),
        ({"_TRANSPORT": "kernel", "SYSLOG_IDENTIFIER": "kernel", "SYSLOG_FACILITY": "0"}, "kernel"),
        ({"_TRANSPORT": "kernel", "SYSLOG_IDENTIFIER": "kernel", "SYSLOG_FACILITY": "1"}, "forged"),
        ({"_TRANSPORT": "syslog", "SYSLOG_IDENTIFIER": "kernel"}, "plausible"),
        ({"_TRANSPORT": "kernel"}, "plausible"),
    ],
)
def test_provenance_of_a_journal_record(fields: dict[str, str], provenance: str) -> None:
    assert only(json.dumps({**fields, "MESSAGE": HEADER}))["provenance"] == provenance


@pytest.mark.parametrize(("priority", "provenance"), [(4, "kernel"), (12, "forged")])
def test_provenance_of_a_kmsg_record(priority: int, provenance: str) -> None:
    assert only(f"{priority},1234,123456789,-;{HEADER}\n")["provenance"] == provenance


def test_numbers_that_no_index_holds_become_text() -> None:
    own = only(log(["a: page allocation failure: order:4294967295, mode:0x20"]))
    assert own["order_text"] == "4294967295"
    assert "order" not in own
    assert "pages" not in own
    stalls = only(log(["a: page allocation stalls for 99999999999999999999ms, order:0, mode:0x20"]))
    assert stalls["stalled_ms_text"] == "99999999999999999999"


def test_a_stall_has_no_outcome() -> None:
    (document,) = documents(log([HEADER.replace("failure:", "stalls for 10014ms,"), *DUMP[1:]]))
    assert document["event"]["action"] == "page-allocation-stall"
    assert "outcome" not in document["event"]
    assert document["allocfail"]["stalled_ms"] == 10014


def test_pages_of_64_kb() -> None:
    free = "Node 0 DMA: 10*64kB (U) 0*128kB 1*256kB (M) 0*512kB = 896kB"
    memory = only(log([free if line.startswith("Node 0 DMA: ") else line for line in DUMP]))["memory"]
    assert (memory["page_kb"], memory["largest_free_order"]) == (64, 2)


def test_zones_without_nodes() -> None:
    memory = only(log([line.replace("Node 0 DMA", "DMA") for line in DUMP]))["memory"]
    (zone,) = memory["zones"]
    assert "node" not in zone
    assert memory["worst_zone"] == "DMA"
    assert zone["free_blocks"] == [1, 1, 0, 1]
    assert zone["reserve_pages"] == [0, 100, 200, 200]


def test_the_allocations_that_6_10_and_later_list() -> None:
    lines = ["Memory allocations:", "     48.1 MiB       770 mm/slub.c:2350 func:alloc_slab_page"]
    (item,) = only(log(DUMP + lines))["memory"]["allocations"]
    assert item == {"size": "48.1 MiB", "calls": 770, "place": "mm/slub.c:2350", "function": "alloc_slab_page"}


def test_the_offset_is_of_the_first_line_in_bytes() -> None:
    before = "é: something else\n"
    text = before + log(["warn_alloc: 7 callbacks suppressed", *DUMP])
    (document,) = documents(text, file="messages")
    assert document["log"] == {"file": {"path": "messages"}, "offset": len(before.encode())}


def test_a_leap_day_takes_a_year_that_has_it() -> None:
    line = "Feb 29 12:00:00 svn3 kernel: " + HEADER
    assert documents(line, year=2012)[0]["@timestamp"] == "2012-02-29T12:00:00.000Z"
    assert "@timestamp" not in documents(line, year=2011)[0]


def test_a_container_s_time_gives_the_year() -> None:
    line = json.dumps({"log": "Dec 31 23:59:59 svn3 kernel: " + HEADER + "\n", "time": "2013-01-01T00:00:01Z"})
    assert documents(line)[0]["@timestamp"] == "2012-12-31T23:59:59.000Z"


# -- the trace's context and the fingerprint -------------------------------------------------------------------------

CONTEXTS = [
    ([" <NMI>", *TRACE[1:6], " </NMI>", TRACE[-1]], "nmi"),
    ([*TRACE[1:6], " net_rx_action+0x1/0x2", " __do_softirq+0x1/0x2", " run_ksoftirqd+0x1/0x2", TRACE[-1]], "softirq"),
    ([*TRACE[1:6], " handle_irq_event+0x1/0x2", " common_interrupt+0xf/0xf", " </IRQ>", TRACE[-1]], "hardirq"),
    ([*TRACE[1:6], " do_syscall_64+0x1/0x2", " entry_SYSCALL_64_after_hwframe+0x1/0x2"], "process"),
]


@pytest.mark.parametrize(("frames", "context"), CONTEXTS)
def test_the_context(frames: list[str], context: str) -> None:
    own = only(log([HEADER, BANNER, TRACE[0], *frames]))
    assert own["trace"]["context"] == context
    assert own["site"] == "my_alloc"


def guesses(*names: str) -> str:
    frames = [f" [<ffffffff8112f9da>] ? {name}+0x1a/0x8d0" for name in names]
    header = "swapper: page allocation failure. order:1, mode:0x20"
    banner = "Pid: 0, comm: swapper Not tainted 2.6.32-431.el6.x86_64 #1"
    text: str = only(log([header, banner, TRACE[0], *frames]))["fingerprint"]["text"]
    return text


def test_stale_frames_among_guesses_do_not_move_the_site() -> None:
    clean = guesses("__alloc_pages_nodemask", "kmem_getpages", "sk_prot_alloc", "sk_clone", "system_call_fastpath")
    assert clean == "af1|page_allocation_failure|order=1|sk_prot_alloc>sk_clone"
    tail = ("kmem_getpages", "sk_prot_alloc", "sk_clone", "system_call_fastpath")
    assert guesses("__alloc_pages_nodemask", "stale", *tail) == clean
    assert guesses("__alloc_pages_nodemask", "stale", "older", *tail) == clean
    assert guesses("stale", "__alloc_pages_nodemask", *tail) == clean


def test_one_id_from_every_format() -> None:
    forms = [
        log(DUMP),
        log(DUMP, "Mar  1 01:02:03 other kernel: [   12.345678] "),
        "".join(uptime(DUMP)),
        log(DUMP).replace(" ", "\u00a0"),
        log(DUMP).replace("\n", "\r\n"),
        SYSLOG + "#012".join(DUMP) + "\n",
        json.dumps({"message": log(DUMP)}) + "\n",
        "".join(json.dumps({"log": line + "\n", "stream": "stdout"}) + "\n" for line in DUMP),
        "".join(f"4,{at},{at},-;{line}\n" for at, line in enumerate(DUMP)),
        "\n".join(DUMP),
        log(DUMP, "> " + SYSLOG),
        "```\n" + log(DUMP) + "```\n",
    ]
    assert {d["error"]["id"] for form in forms for d in documents(form)} == {documents(forms[0])[0]["error"]["id"]}


# -- what is silent --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "line",
    [
        "I get a page allocation failure: order:0, mode:0x20 on my box",
        "`swapper: page allocation failure: order:1, mode:0x20`",
        "Subject: Re: [PATCH] mm: page allocation failure: order:0, mode:0x4020",
        "Bug 12345 - swapper: page allocation failure: order:1, mode:0x20",
        '+	warn_alloc(gfp_mask, ac->nodemask, "page allocation failure: order:%u", order);',
        '#0  warn_alloc (gfp_mask=3264, fmt=0x1 "page allocation failure: order:%u") at mm/page_alloc.c:3400',
        SYSLOG + "cma_alloc: reserved: alloc failed, req-size: 256 pages, ret: -16",
        SYSLOG + "__alloc_pages: 0-order allocation failed (gfp=0x1d2/0)",
        SYSLOG + "percpu: allocation failed, size=8 align=8 atomic=1, failed to allocate new chunk",
        SYSLOG + "Unexpected gfp: 0x4 (GFP_DMA32). Fixing up to gfp: 0xcc0 (GFP_KERNEL). Fix your code!",
        SYSLOG + "oom_reaper: reaped process 123 (foo), now anon-rss:0kB, file-rss:0kB, shmem-rss:0kB",
    ],
)
def test_near_misses(line: str) -> None:
    assert documents(line + "\n") == []
    assert enrich({"message": line}) is None
