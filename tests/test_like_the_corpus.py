"""What the corpus of real dumps shows the decoder, shown by generated ones: the corpus lies outside the project.

Every kind of event on every architecture that somebody posted one of, in every way in which it was posted, with the
same questions as in ``test_corpus``: is each event found and decoded, and does its own text give it again.
"""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

import pytest

import real
from dumpgen import generate
from dumpgen.compare import dump_differences
from invariants import check, documents

if TYPE_CHECKING:
    from dumpgen.model import Dump

#: What the corpus calls a kind or an architecture, and what the generator does. Of xtensa there is one dump, in the
#: style of MIPS.
KINDS = {"page_allocation_failure": "page", "stall": "stall", "slub": "slub", "vmalloc": "vmalloc", "oom": "oom"}
ARCHES = {"i686?": "i386", "x86_64 (ChromeOS)": "x86_64", "xtensa": "mips"}
ARCHES |= dict.fromkeys(["ppc", "ppc64", "ppc64le"], "powerpc")
#: Every kind of event with every architecture, as in the corpus.
POSTED = {
    "page": ["arm", "arm64", "i386", "mips", "parisc", "powerpc", "x86_64"],
    "slub": ["arm", "arm64", "powerpc", "x86_64"],
    "stall": ["i386", "x86_64"],
    "vmalloc": ["i386", "powerpc", "x86_64"],
    "oom": ["arm64", "x86_64"],
}
#: How logs reached the corpus: prefixes, and what mail, web pages and terminals made of them.
PREFIXES = [
    *("none", "printk", "level_printk", "printk_thread", "kernel_tag", "syslog", "syslog_printk", "syslog_double"),
    *("busybox", "ctime", "dmesg_x", "kmsg_caller", "journal_short", "journal_json", "docker", "vendor"),
]
TANGLES = [
    *("quoted", "wrapped", "quoted_wrapped", "nbsp", "html_breaks", "pre", "fenced", "indented", "padded"),
    *("trailing_blanks", "login_prompt", "symbolised", "decoded", "noise_around", "noise_between", "oops_behind"),
]


@pytest.mark.parametrize(("kind", "arch"), [(kind, arch) for kind, arches in POSTED.items() for arch in arches])
@pytest.mark.parametrize("prefix", PREFIXES)
def test_every_event_is_found_decoded_and_found_again(kind: str, arch: str, prefix: str) -> None:
    dump = generate(random.Random(f"{kind} {arch} {prefix}"), kind=kind, arch=arch, prefix=prefix)
    _ask(dump)


@pytest.mark.parametrize("tangle", TANGLES)
@pytest.mark.parametrize("kind", ["page", "vmalloc", "page+slub"])
def test_whatever_became_of_its_log(kind: str, tangle: str) -> None:
    _ask(
        generate(
            random.Random(f"{kind} {tangle}"), kind=kind, prefix=["printk", "syslog_printk", "none"], tangle=tangle
        )
    )


def _ask(dump: Dump) -> None:
    wrapped = any("wrapped" in tangle for tangle in dump.tangles)
    found = check(dump.text.encode(), again="one" if wrapped else "same")
    if wrapped and dump.prefix == "none":
        assert len(found) == len(dump.events)
    else:
        assert dump_differences(dump, documents(dump.text.encode(), year=dump.facts["year"])) == []


@pytest.mark.skipif(not real.rows(), reason="NO CORPUS: ../shared is not there; what it holds was NOT looked up")
def test_nothing_was_posted_that_is_not_here() -> None:
    there = {
        (KINDS[event["kind"]], ARCHES.get(row["arch"], row["arch"]))
        for row in real.rows()
        if row["arch"]
        for event in row["events"]
    }
    assert {pair for pair in there if pair[1] not in POSTED[pair[0]]} == set()
