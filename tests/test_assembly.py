"""Which line belongs to which event, and what lines that are damaged may say: one rule a test."""

from __future__ import annotations

from typing import Any

import pytest

from pieces import BANNER, at, decoded, memory, only, page, trace

OOM = "app invoked oom-killer: gfp_mask=0xd0, order=0, oom_score_adj=0"
KILLS = [
    ("Out of memory: Kill process 12 (victim) score 9 or sacrifice child", "CONSTRAINT_NONE"),
    ("Out of Memory: Kill process 12 (victim) score 9 and children.", "CONSTRAINT_NONE"),
    ("Memory cgroup out of memory: Kill process 12 (victim) score 9 or sacrifice child", "CONSTRAINT_MEMCG"),
    ("No available memory (MPOL_BIND): kill process 12 (victim) score 9 or a child", "CONSTRAINT_MEMORY_POLICY"),
    ("No available memory in cpuset: kill process 12 (victim) score 9 or a child", "CONSTRAINT_CPUSET"),
]


@pytest.mark.parametrize(("line", "constraint"), KILLS)
def test_the_constraint_of_every_wording_of_a_kill(line: str, constraint: str) -> None:
    document = only([OOM, line])
    assert at(document, "allocfail.oom.constraint") == constraint
    assert at(document, "allocfail.oom.victim") == "victim"
    assert at(document, "allocfail.fingerprint.text") == f"af1|oom_kill|constraint={constraint}|comm=victim"


def test_the_kernel_s_own_constraint_is_not_replaced() -> None:
    lines = [OOM, "oom-kill:constraint=CONSTRAINT_CPUSET,nodemask=0,cpuset=x,mems_allowed=1,task=victim,pid=12,uid=0"]
    assert at(only([*lines, KILLS[0][0]]), "allocfail.oom.constraint") == "CONSTRAINT_CPUSET"


LIMIT = "Task in /a/b killed as a result of limit of /a"


@pytest.mark.parametrize("words", range(1, len(LIMIT.split(" ")) + 1))
def test_a_limit_cut_at_a_word_says_nothing_that_it_does_not(words: int) -> None:
    line = " ".join(LIMIT.split(" ")[:words])
    oom = at(only([OOM, line]), "allocfail.oom")
    whole = words == len(LIMIT.split(" "))
    assert oom.get("memcg") == ("/a" if whole else None)
    assert oom.get("constraint") == ("CONSTRAINT_MEMCG" if whole else None)


SLAB = "SLUB: Unable to allocate memory on node -1, gfp=0xa20(GFP_ATOMIC)"
CACHE = "  cache: kmalloc-1024, object size: 1024, buffer size: 2048, default order: 3, min order: 1"
NODE = "  node 0: slabs: 10, objs: 100, free: 0"
SIZES = {"object_size": "1024", "buffer_size": "2048", "default_order": "3", "min_order": "1"}


@pytest.mark.parametrize("damaged", SIZES)
@pytest.mark.parametrize("number", ["", "x", "1x", "-1", "٣", "9" * 40])
def test_a_damaged_number_of_a_slab_cache_costs_itself_only(damaged: str, number: str) -> None:
    name = damaged.replace("_", " ")
    line = CACHE.replace(f"{name}: {SIZES[damaged]}", f"{name}: {number}")
    slab = at(only([SLAB, line, NODE], "Feb 14 15:24:15 h kernel: "), "allocfail.slab")
    assert slab["cache"] == "kmalloc-1024"
    assert slab["nodes"] == [{"node": 0, "slabs": 10, "objs": 100, "free": 0}]
    assert {key: slab[key] for key in SIZES if key in slab} == {
        key: int(value) for key, value in SIZES.items() if key != damaged
    }


def test_a_second_banner_is_not_the_event_s() -> None:
    other = BANNER.replace("PID: 123", "PID: 999").replace("CPU: 0", "CPU: 7")
    header, *rest = page()
    document = only([header, rest[0], other, *rest[1:]])
    assert (at(document, "process.pid"), at(document, "allocfail.cpu")) == (123, 0)


def test_the_stream_that_is_longest_silent_gives_way() -> None:
    # 256 streams are kept; one host more than that, each with the beginning of a dump.
    lines = [f"Feb 14 15:24:15 h{number:03} kernel: {page()[0]}" for number in range(257)]
    last = [f"Feb 14 15:24:15 h256 kernel: {line}" for line in page()[1:]]
    found = {at(document, "host.hostname"): document for document in decoded([*lines, *last])}
    assert len(found) == 257
    assert at(found["h256"], "allocfail.complete") is True
    assert at(found["h256"], "allocfail.site") == "my_alloc"
    assert at(found["h000"], "allocfail.incomplete_reason") == "header only"


MALFORMED = [
    "app: page allocation stalls for ms, order:0, mode:0xcc0(GFP_KERNEL)",
    "app: page allocation stalls for 10ms, order:, mode:0xcc0(GFP_KERNEL)",
    "app: page allocation stalls for xms, order:0, mode:0xcc0(GFP_KERNEL)",
    "app: page allocation stalls for 10ms order:0, mode:0xcc0(GFP_KERNEL)",
    "app: page allocation failure: order:, mode:0xcc0(GFP_KERNEL)",
    "app: page allocation failure: order:-1, mode:0xcc0(GFP_KERNEL)",
    "app: page allocation failure; order:0, mode:0xcc0(GFP_KERNEL)",
    "app: page allocation failure: order:0, mode:cc0(GFP_KERNEL)",
    "app: page allocation failure: order:0, mode:(GFP_KERNEL)",
    "page allocation failure: order:0, mode:0xcc0(GFP_KERNEL)",
    ": page allocation failure: order:0, mode:0xcc0(GFP_KERNEL)",
    "a name of 16 byte: page allocation failure: order:0, mode:0xcc0(GFP_KERNEL)",
    "app: vmalloc error: size , failed to map pages, mode:0xcc0(GFP_KERNEL)",
    "app: vmalloc error: size 4096",
    "vmalloc error: size 4096; x",
    "vmalloc error: size 4096, failed to map pages, mode:0xcc0(GFP_KERNEL)",
    "app: vmalloc error: size 4096; x",
    "app: vmalloc: allocation failure: bytes, mode:0xcc0",
    "app: vmalloc: allocation failure, allocated of 8192 bytes, mode:0xcc0",
    "app: vmalloc: allocation failure, allocated 4096 of bytes, mode:0xcc0",
    "vmalloc: allocation failure: 4096",
    "vmap allocation for size failed: use vmalloc=<size> to increase size.",
    "vmap allocation for size x failed: use vmalloc=<size> to increase size.",
    "vmalloc_node_range for size failed: Address range restricted to 0x0 - 0x1",
    "SLUB: Unable to allocate memory on node , gfp=0xcc0(GFP_KERNEL)",
    "SLUB: Unable to allocate memory on node -, gfp=0xcc0(GFP_KERNEL)",
    "SLUB: Unable to allocate memory on node 0, gfp=(GFP_KERNEL)",
    "SLUB: Unable to allocate memory on node 0",
    "SLUB: Unable to allocate memory on CPU 1 node 0, gfp=0xcc0(GFP_KERNEL)",
    "SLUB: Unable to allocate memory on gfp=0xcc0(GFP_KERNEL)",
    "app invoked oom-killer: gfp_mask=(GFP_KERNEL), order=0",
    "app invoked oom-killer: gfp_mask=, order=0",
    "app oom-killer: gfp_mask=0xcc0(GFP_KERNEL), order=0",
]


@pytest.mark.parametrize("line", MALFORMED)
@pytest.mark.parametrize("prefix", ["", "Feb 14 15:24:15 h kernel: "])
def test_a_header_with_a_field_emptied_is_none(line: str, prefix: str) -> None:
    assert decoded([line], prefix) == []


def test_what_ends_a_headless_body_is_not_guessed() -> None:
    body = page(mem=memory())[1:]
    document = only(body)
    assert at(document, "allocfail.incomplete_reason") == "no header"
    assert at(document, "allocfail.verdict.cause") == "unknown"


def test_the_lines_of_another_report_between_two_dumps() -> None:
    first, second = page(1), page(2)
    lines = [*first, "BUG: unable to handle page fault", BANNER, "Call Trace:", " crash_fn+0x1/0x20", *second]
    found = decoded(lines)
    assert [at(document, "allocfail.order") for document in found] == [1, 2]
    assert all("crash_fn" not in at(document, "allocfail.trace.functions") for document in found)


@pytest.mark.parametrize("inner", [(), ("kmalloc",), ("__kvmalloc_node",)])
def test_a_group_is_its_callers_whatever_allocator_they_went_through(inner: tuple[str, ...]) -> None:
    document: Any = only(page(body=trace(*inner)))
    assert at(document, "allocfail.fingerprint.text") == "af1|page_allocation_failure|order=1|my_alloc>my_caller"
