"""What people ask for is found: real questions, the section that has to come first, and the page beside the command."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import time
from typing import TYPE_CHECKING

import pytest

from allocfail.articles import articles as kb
from allocfail.articles import search
from allocfail.content import content_path
from browser import chromium, dumped

if TYPE_CHECKING:
    from pathlib import Path

#: What is typed, and the section that answers it. From support threads, log lines and what the articles are about.
QUESTIONS = {
    "zone_reclaim_mode": "zone-reclaim-mode",
    "vm.zone_reclaim_mode=1": "zone-reclaim-mode",
    "what does bit 4 of zone_reclaim_mode do": "zone-reclaim-mode#bits",
    "zone reclaim on a file server": "zone-reclaim-mode",
    "zone_reclaim_failed vmstat": "zone-reclaim-mode#did-it-help",
    "RECLAIM_DISTANCE powerpc": "zone-reclaim-mode#what-it-is",
    "swapper: page allocation failure. order:1, mode:0x20": "atomic-allocation-failure#adjacent",
    "sk_prot_alloc": "atomic-allocation-failure#how-bad",
    "fragmention": "high-order-fragmentation",
    "fragmentation order 4": "high-order-fragmentation#costly",
    "how do I read the buddy free list": "high-order-fragmentation#free-lists",
    "compact_memory": "high-order-fragmentation",
    "0xa20": "gfp-flags#by-kernel",
    "mode:0x14040c1": "gfp-flags",
    "GFP_KERNEL meaning": "gfp-flags",
    "__GFP_NORETRY": "gfp-flags",
    "lowmem_reserve": "watermarks-and-reserves#lowmem-reserve",
    "watermrks": "watermarks-and-reserves",
    "free above min but failed": "watermarks-and-reserves",
    "DMA32": "dma-zones-and-cma",
    "cma": "dma-zones-and-cma#cma",
    "mems_allowed cpuset": "numa-nodes-and-cpusets#hardwall",
    "kdump": "crash-kernel",
    "crashkernel low memory": "crash-kernel",
    "Memory cgroup out of memory kubernetes": "memory-cgroups",
    "oom killer invoked": "oom-kill",
    "page allocation stalls for 10014ms": "page-allocation-stall",
    "SLUB: Unable to allocate memory on node -1": "slab-allocation-failure#reading",
    "fork: Cannot allocate memory": "reading-a-page-allocation-failure#lost",
    "kexec_load ENOMEM": "reading-a-page-allocation-failure#lost",
    "core dump is not written": "reading-a-page-allocation-failure#lost",
    "what is lost": "reading-a-page-allocation-failure#lost",
    "skbuff_head_cache": "slab-allocation-failure#caches",
    "tw_sock_TCPv6": "slab-allocation-failure#caches",
    "severity unknown": "reading-a-page-allocation-failure#lost",
    "TIME-WAIT lost": "slab-allocation-failure#caches",
    "slub_max_order": "slab-allocation-failure#do-not",
    "exceeds total pages": "vmalloc-failure#size",
    "use vmalloc= to increase size": "vmalloc-failure#do-this",
    "内存分配失败": "reading-a-page-allocation-failure-zh",
    "页面分配失败": "reading-a-page-allocation-failure-zh",
    "区域回收": "zone-reclaim-mode-zh",
}


def place(part: search.Part) -> str:
    return part.article + (f"#{part.anchor}" if part.anchor else "")


@pytest.mark.parametrize(("question", "wanted"), QUESTIONS.items(), ids=QUESTIONS)
def test_the_section_that_answers_comes_first(question: str, wanted: str) -> None:
    hits = search.engine().search(question)
    assert place(hits[0].part) == wanted
    assert hits[0].score == 1000
    # A word that stands in a heading or among an article's keywords only marks nothing in the text.
    assert any(marked for hit in hits[:3] for _, marked in hit.snippet)
    assert [hit.score for hit in hits] == sorted((hit.score for hit in hits), reverse=True)


def test_every_expected_section_exists() -> None:
    anchors = {item.id: {heading.anchor for heading in item.headings} for item in kb.load()}
    for wanted in QUESTIONS.values():
        article, _, anchor = wanted.partition("#")
        assert article in anchors
        assert not anchor or anchor in anchors[article]


def test_the_committed_index_is_of_these_articles() -> None:
    text = content_path(search.INDEX).read_text(encoding="utf-8")
    assert search.generate() == {search.INDEX: text}


def test_a_word_counts_however_it_is_written() -> None:
    for question in (
        "zone_reclaim_mode",
        "ZONE-RECLAIM",
        "vm.zone_reclaim_mode=1",
        "zone reclaim",
        "zone_reclaim_mdoe",
    ):
        assert search.engine().search(question)[0].part.article == "zone-reclaim-mode", question


def test_words_need_not_stand_in_one_section() -> None:
    found = {hit.part.article for hit in search.engine().search("crashkernel postgres")}
    assert {"crash-kernel", "zone-reclaim-mode"} <= found
    assert len(search.engine().search("jumbo xyzzyq")) == len(search.engine().search("jumbo"))


@pytest.mark.parametrize("question", ["", "...", "xyzzyqq", "the of and", "\x00\ud800"])
def test_nothing_known_finds_nothing(question: str) -> None:
    assert search.engine().search(question) == []


def test_eight_thousand_words_are_answered_at_once() -> None:
    question = " ".join(f"word{number} fragmention{number} memory{number % 7}" for number in range(2_700))
    search.engine().search("memory")
    began = time.monotonic()
    hits = search.engine().search(question)
    assert hits
    assert time.monotonic() - began < 2
    log = content_path("samples/svn3-centos6.log").read_text(encoding="utf-8")
    began = time.monotonic()
    assert search.engine().search(log * 4)
    assert time.monotonic() - began < 2


def test_parts_are_text_without_marks() -> None:
    for part in search.parts(kb.load()):
        assert part.text
        assert "](" not in part.text
        assert "`" not in part.text
        assert "```" not in part.text
        assert not re.search(r"\(\[[0-9]+\.[0-9]", part.text), part.text


def test_a_snippet_is_short_and_marks_what_matched() -> None:
    for hit in search.engine().search("watermark_scale_factor kswapd"):
        text = "".join(piece for piece, _ in hit.snippet)
        assert 0 < len(text) <= search.SNIPPET + 2
        assert "\n" not in text
    (first, *_) = search.engine().search("extra_free_kbytes")
    assert "extra_free_kbytes" in [piece for piece, marked in first.snippet if marked]


def test_the_command_prints_sections() -> None:
    found = subprocess.run(
        [sys.executable, "-m", "allocfail", "kb", "search", "fragmention", "0x20", "--url", "https://kb.example/"],
        capture_output=True,
        check=True,
        timeout=60,
    )
    (first, *_) = [json.loads(line) for line in found.stdout.splitlines()]
    assert set(first) == {"id", "title", "section", "snippet", "score", "url"}
    assert first["url"].startswith("https://kb.example/")


@pytest.mark.skipif(chromium() is None, reason="no chromium here: the page's own search is not compared")
def test_the_page_finds_what_the_command_finds(tmp_path: Path) -> None:
    """The page's script and lunr.js, in a real browser, over every question at once."""
    site = content_path("kb/site")
    questions = [*QUESTIONS, "xyzzyqq", "a" * 3000, "crashkernel postgres"]
    page = tmp_path / "page.html"
    made = content_path(search.INDEX).read_text(encoding="utf-8")
    page.write_text(
        f"<!DOCTYPE html><meta charset=utf-8><pre id=out></pre>"
        f"<script>{(site / 'lunr.min.js').read_text(encoding='utf-8')}</script>"
        f"<script>{(site / 'search.js').read_text(encoding='utf-8')}</script>"
        f"<script>const engine = allocfailEngine({made});"
        f"document.getElementById('out').textContent = JSON.stringify({json.dumps(questions)}.map("
        "(question) => engine.search(question).slice(0, 5).map((hit) => [hit.part.article, hit.part.anchor,"
        " engine.snippet(hit.part.text, hit.matched)])));</script>",
        encoding="utf-8",
    )
    (text,) = re.findall(r'<pre id="out">(.*?)</pre>', dumped(page.as_uri(), tmp_path), re.DOTALL)
    for question, there in zip(
        questions, json.loads(text.replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&")), strict=True
    ):
        here = [
            [hit.part.article, hit.part.anchor, [list(piece) for piece in hit.snippet]]
            for hit in search.engine().search(question)[:5]
        ]
        assert there == here, question
