"""Inputs that were read wrongly, the smallest of each; one that is known and not mended yet gets an ``xfail`` here."""

from __future__ import annotations

from pieces import at, decoded, only, page

HEADER = "app: page allocation failure: order:1, mode:0xa20(GFP_ATOMIC), nodemask=(null)"


def test_a_prompt_in_front_of_an_oom_kill() -> None:
    document = only(["elm3b29 login: app invoked oom-killer: gfp_mask=0xcc0(GFP_KERNEL), order=0"])
    assert at(document, "host.hostname") == "elm3b29"


def test_a_wrapped_slab_header_behind_a_doubled_tag() -> None:
    lines = ["Jul 14 22:42:01 svn3 kernel: : [    6.387958] SLAB: Unable to allocate memory on"]
    assert at(only([*lines, "node -1, gfp=0x2080020(GFP_ATOMIC)"]), "allocfail.slab.allocator") == "SLAB"


def test_markup_behind_a_long_line() -> None:
    date = "[Wed Jan  3 02:51:35 2024] "
    lines = ["SLUB: Unable to allocate memory on node 0 (gfp=0x20)", "  cache: kmalloc-2k, object size: 753, order: 2"]
    lines += ["  node 0: slabs: 28357, objs: 54457, free: 44765"]
    document = only([*(date + line for line in lines), "</pre>"])
    assert at(document, "allocfail.slab.nodes") == [{"node": 0, "slabs": 28357, "objs": 54457, "free": 44765}]


def test_no_sentence_has_an_open_placeholder() -> None:
    body = page()[1:]
    body[body.index(" my_alloc+0x10/0x20")] = " __vmalloc_area_node+0x10/0x20"
    [document] = decoded(body)
    assert at(document, "allocfail.kind") == "vmalloc_allocation_failure"
    assert "{" not in at(document, "allocfail.verdict.summary")
