"""The grouping algorithm, rule by rule, and ids that must never change."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from allocfail.decoder.fingerprint import cache_name, comm_name, fingerprint, identify, keep, safe
from allocfail.decoder.trace import TraceBuilder, normalise, parse_frames

GOLDEN = json.loads((Path(__file__).parent / "fingerprints.json").read_text(encoding="utf-8"))


def trace_of(*lines: str, old: bool = False):  # noqa: ANN201 - a test's helper
    builder = TraceBuilder()
    for line in lines:
        frames = parse_frames(line)
        assert frames is not None, line
        builder.add(line, frames)
    return builder.build(old_release=old)


@pytest.mark.parametrize("row", GOLDEN, ids=lambda row: row["text"][:60])
def test_golden_ids(row: dict[str, object]) -> None:
    arguments = dict(row["of"])
    lines = arguments.pop("trace", None)
    old = bool(arguments.pop("old", False))
    if lines is not None:
        arguments["kept"] = keep(trace_of(*lines, old=old))
    mark = fingerprint(**arguments)
    assert (mark.id, mark.text, mark.level, mark.header_text) == (row["id"], row["text"], row["level"], row["header"])


def test_the_id_is_of_the_text() -> None:
    text = "af1|page_allocation_failure|order=1|comm=swapper"
    assert identify(text) == "af1:" + hashlib.sha256(text.encode()).hexdigest()[:16]


@pytest.mark.parametrize(
    ("comm", "name"),
    [
        ("kworker/0:1H", "kworker"),
        ("swapper/12", "swapper"),
        ("binder:569_5", "binder"),
        ("lowpool[2]", "lowpool"),
        ("md0_raid5", "md0_raid"),
        ("ksoftirqd/0", "ksoftirqd"),
        ("a-1-2.3", "a"),
        ("DOM Worker", "DOM_Worker"),
        ("tmux: server", "tmux"),
        ("/init", "/init"),
        ("123", "_"),
        ("", "_"),
        ("tä😀x", "t__x"),
    ],
)
def test_names_lose_their_instance(comm: str, name: str) -> None:
    assert comm_name(comm) == name


@pytest.mark.parametrize(
    ("cache", "name"),
    [
        ("tw_sock_TCPv6(960:helper-logs)", "tw_sock_TCPv6"),
        ("kmalloc-rnd-07-96", "kmalloc-rnd-N-96"),
        ("kmalloc-8192", "kmalloc-8192"),
        ("kmalloc-rnd-x", "kmalloc-rnd-x"),
        ("", "_"),
    ],
)
def test_caches_lose_their_instance(cache: str, name: str) -> None:
    assert cache_name(cache) == name


@pytest.mark.parametrize(
    ("function", "name"),
    [
        (".dump_stack", "dump_stack"),
        ("warn_alloc.cold.43", "warn_alloc"),
        ("kmalloc_node_noprof", "kmalloc_node"),
        ("__x64_sys_fsync", "sys_fsync"),
        ("SyS_ioctl", "sys_ioctl"),
        ("SYSC_finit_module", "sys_finit_module"),
        ("__alloc_pages_noprof.isra.0", "__alloc_pages"),
    ],
)
def test_functions_are_normalised(function: str, name: str) -> None:
    assert normalise(function) == name


def test_reliable_plumbing_ends_at_the_first_other_frame() -> None:
    kept = keep(trace_of("dump_stack+0x1/0x9", "warn_alloc+0x1/0x9", "f+0x1/0x9", "kmalloc+0x1/0x9", "g+0x1/0x9"))
    assert kept.names == ("f", "kmalloc", "g")


def test_guesses_may_hide_plumbing_behind_two_stale_frames() -> None:
    lines = ("? warn_alloc+0x1/0x9", "? stale+0x1/0x9", "? old+0x1/0x9", "? kmalloc+0x1/0x9", "? f+0x1/0x9")
    assert keep(trace_of(*lines)).names == ("f",)
    assert keep(trace_of(*lines[:3], "? older+0x1/0x9", *lines[3:])).names[0] == "stale"


def test_an_interrupt_boundary_ends_the_frames() -> None:
    kept = keep(trace_of("<IRQ>", "f+0x1/0x9", "g+0x1/0x9", "h+0x1/0x9", "</IRQ>", "i+0x1/0x9"))
    assert kept.names == ("f", "g", "h")


def test_an_entry_frame_ends_the_frames_and_neighbours_collapse() -> None:
    kept = keep(trace_of("f+0x1/0x9", "f+0x2/0x9", "g+0x1/0x9", "do_syscall_64+0x1/0x9", "h+0x1/0x9"))
    assert kept.names == ("f", "g")
    assert {rule for _, rule in kept.dropped} == {5}


def test_function_pointers_are_no_frames_where_guesses_are_not_marked() -> None:
    kept = keep(trace_of("[<c012bc40>] f+0x0/0x9", "[<c012bc40>] g+0x9/0x9", "[<c012bc40>] h+0x1/0x9", old=True))
    assert kept.names == ("h",)


def test_every_frame_is_kept_or_dropped_by_a_rule() -> None:
    trace = trace_of("warn_alloc+0x1/0x9", "? s+0x1/0x9", "f+0x1/0x9", "ret_from_fork+0x1/0x9", "<EOI> x+0x1/0x9")
    kept = keep(trace)
    assert len(kept.dropped) + len(kept.names) == len(trace.functions)


@given(st.text(max_size=40))
def test_what_enters_the_text_is_safe(name: str) -> None:
    allowed = set("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_.$:/@+-")
    assert set(safe(name)) <= allowed
    assert len(safe(name)) == len(name)
    assert set(comm_name(name)) <= allowed


@given(st.lists(st.sampled_from("abcdef"), min_size=3, max_size=12), st.data())
def test_addresses_offsets_and_hosts_never_split_a_group(names: list[str], data: st.DataObject) -> None:
    offsets = data.draw(st.lists(st.integers(1, 255), min_size=len(names), max_size=len(names)))
    one = keep(trace_of(*(f"{n}+0x1/0x200" for n in names)))
    two = keep(trace_of(*(f"[<ffffffff8{o:07x}>] {n}+0x{o:x}/0x300" for n, o in zip(names, offsets, strict=True))))
    assert one.names == two.names


@pytest.mark.parametrize(
    ("kind", "title"),
    [
        ("page_allocation_failure", "page allocation failure: order 1 in (not in the log)"),
        ("slab_allocation_failure", "slab allocation failure: cache (not in the log)"),
        ("oom_kill", "OOM kill: (not in the log)"),
    ],
)
def test_a_name_that_is_not_known_is_said_in_words(kind: str, title: str) -> None:
    mark = fingerprint(kind, order=1)
    assert mark.title == title
    assert mark.text.endswith("_"), "the id is made of the sign, as ever"
