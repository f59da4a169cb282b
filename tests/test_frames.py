"""Every name in the lists of frames, by what it does; ``make expectations`` writes ``golden/frames.txt`` anew."""

from __future__ import annotations

import random

import pytest

from allocfail.decoder import trace
from dumpgen import KERNELS, reports
from golden import frames
from pieces import BANNER, at, frame, only

HEADER = "app: page allocation failure: order:1, mode:0xa20(GFP_ATOMIC), nodemask=(null)"


def test_what_every_frame_does() -> None:
    wanted, got = frames.committed(), frames.lines()
    differing = [f"was: {line}" for line in wanted if line not in got]
    differing += [f"now: {line}" for line in got if line not in wanted]
    if differing:
        pytest.fail("\n".join(["make expectations writes frames.txt anew", *differing]), pytrace=False)


def _generated_lines() -> set[str]:
    found = set()
    for number, kernel in enumerate(KERNELS):
        dump = reports.write(random.Random(number), kernel, "page", reports.Settings())
        found |= {line.strip() for line in dump.bare}
    return found


#: Shapes of a frame that the quick expression takes, or must leave to the careful way.
SHAPES = [
    "my_caller+0x10/0x20",
    "my_caller+0x0/0x20",
    "my_caller+0x20/0x20",
    "my_caller+0x20/0x020",
    "? my_caller+0x10/0x20",
    "my_caller+0x10/0x20 [mymod]",
    "? my_caller+0x10/0x20 [mymod]",
    "my_caller+0x10/0x20 [mymod 0123456789abcdef0123456789abcdef01234567]",
    "my_caller.isra.0+0x10/0x20 [my_mod-2]",
    "my_caller+0x10/0x20 [",
    "my_caller+0x10/0x20 []",
    "my_caller+0x10/0x",
    "my_caller+0x/0x20",
    "[<ffffffff81123456>] my_caller+0x10/0x20",
    "[<ffffffff81123456>] ? my_caller+0x10/0x20 [mymod]",
    "my_caller+0x10/0x20 mm/slub.c:12",
    "my_caller+0x10/0x20 from other+0x1/0x2",
]


def test_the_quick_way_gives_what_the_careful_one_gives() -> None:
    lines = sorted(_generated_lines()) + SHAPES
    quick = [line for line in lines if trace._FAST.fullmatch(line)]
    assert len(quick) > 500
    assert [line for line in lines if trace.parse_frames(line) != trace._scan(line)] == []


def test_a_module_with_a_build_id_is_the_module() -> None:
    [found] = trace.parse_frames(SHAPES[7]) or ()
    assert (found.function, found.module) == ("my_caller", "mymod")


PATH = ("my_alloc", "my_second", "my_third", "my_fourth")
LAST = " my_caller+0x10/0x20 [mymod]"
BODY = [HEADER, BANNER, "Call Trace:", *(frame(name) for name in ("dump_stack", "warn_alloc", "alloc_pages", *PATH))]


@pytest.mark.parametrize("cut", range(1, len(LAST) + 1))
def test_a_frame_cut_anywhere_is_whole_or_none(cut: int) -> None:
    document = only([*BODY, LAST[:cut]])
    functions = at(document, "allocfail.trace.functions")
    # From its size's first digit on it is a frame, with a module's name cut it is none again.
    whole = LAST[:cut].rstrip(" ") in {" my_caller+0x10/0x2", " my_caller+0x10/0x20", LAST}
    assert functions == [
        *("dump_stack", "warn_alloc", "alloc_pages", *PATH),
        *(["my_caller"] if whole else []),
    ]
    # Four frames and no end promise nothing: another log may go on with a fifth.
    path = ">".join([*PATH, "my_caller"]) if whole else "comm=app"
    assert at(document, "allocfail.fingerprint.text") == f"af1|page_allocation_failure|order=1|{path}"
    assert at(document, "allocfail.incomplete_reason") == "truncated"
    assert at(document, "allocfail.trace.modules") == (["mymod"] if cut == len(LAST) else None)


def test_kernels_that_print_no_banner_and_mark_guesses() -> None:
    # PowerPC and ARM of 3.0 to 3.9 print `failure:`, no banner; x86 of that age marks guesses.
    body = [
        "Call Trace:",
        *(frame(name, guess=True) for name in ("warn_alloc_failed", "alloc_pages", "stale", "my_alloc", "my_caller")),
    ]
    body += [" pointer+0x0/0x20", frame("my_third"), frame("my_fourth", guess=True)]
    old = only(["app: page allocation failure: order:1, mode:0x4020", *body])
    assert at(old, "allocfail.fingerprint.text") == (
        "af1|page_allocation_failure|order=1|stale>my_alloc>my_caller>my_third>my_fourth"
    )
    plain = [line.replace("? ", "") for line in body]
    unmarked = only(["app: page allocation failure. order:1, mode:0x4020", *plain])
    marked = only(["app: page allocation failure: order:1, mode:0x4020", *plain])
    # Before 2.6.28 an address of a function's own beginning is no frame of the path; `failure:` is 3.0 and later.
    assert "pointer" not in at(unmarked, "allocfail.fingerprint.text")
    assert "pointer" in at(marked, "allocfail.fingerprint.text")
