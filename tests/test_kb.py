"""The articles, what they apply to, and the ``kb`` command."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from itertools import product
from typing import TYPE_CHECKING, Any

import pytest

from allocfail.articles import articles as kb
from allocfail.content import content_path
from allocfail.decoder import knowledge
from allocfail.errors import AllocfailError, InputError, NotFoundError

if TYPE_CHECKING:
    from pathlib import Path

BASE = "https://kb.example/x/"
KINDS = (
    "page_allocation_failure",
    "page_allocation_stall",
    "slab_allocation_failure",
    "vmalloc_allocation_failure",
    "oom_kill",
)
VALUES = {"order": "1", "pages": "2", "gfp": "GFP_ATOMIC", "mask": "0x20"}
GOOD = """---
id: some-article
title: T
summary: S
priority: 1
keywords: [a]
applies:
  - when: {kind: oom_kill}
    anchor: here
    why: w
---
## Here {#here}
"""


def run(*arguments: str, stdin: bytes = b"", env: dict[str, str] | None = None) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(
        [sys.executable, "-m", "allocfail", *arguments],
        input=stdin,
        capture_output=True,
        check=False,
        env=env,
        timeout=60,
    )


def test_articles_are_sorted_and_named_after_their_files() -> None:
    articles = kb.load()
    assert [item.priority for item in articles] == sorted(item.priority for item in articles)
    assert {item.id for item in articles} == {path.stem for path in content_path(kb.ARTICLES).glob("*.md")}


def test_compiled_front_matter_is_current() -> None:
    compiled = json.loads(content_path("kb/facts/compiled.json").read_text(encoding="utf-8"))
    assert compiled["articles"] == json.loads(json.dumps(kb.front_matter()))


def events() -> list[dict[str, Any]]:
    """Every combination of the features that rules look at, as a decoder gives them."""
    found = []
    for kind, may_sleep, order in product(KINDS, (True, False, None), (None, 0, 1, 3, 4, 9)):
        features: dict[str, Any] = {"kind": kind, "complete": True, "zones": True, "has_order": order is not None}
        if may_sleep is not None:
            features["may_sleep"] = may_sleep
        if order is not None:
            features["order"] = order
        found.append(features)
    return found


@pytest.mark.parametrize("features", events(), ids=str)
def test_every_event_gets_an_article_without_open_placeholders(features: dict[str, Any]) -> None:
    values = {
        name: value
        for name, value in VALUES.items()
        if (name in {"order", "pages"} and "order" in features) or (name in {"gfp", "mask"} and "may_sleep" in features)
    }
    found = knowledge.articles(features, values, BASE)
    assert found
    assert not [item for item in found if "{" in item["why"]]
    if features["kind"].startswith("page_"):
        assert "zone-reclaim-mode" in {item["id"] for item in found}


@pytest.mark.parametrize(
    ("features", "first"),
    [
        (
            {"kind": "page_allocation_failure", "may_sleep": False, "order": 1},
            ["zone-reclaim-mode.html#cannot-act", "atomic-allocation-failure.html#do-this"],
        ),
        (
            {"kind": "page_allocation_failure", "may_sleep": False, "order": 0, "zones": True},
            ["zone-reclaim-mode.html#cannot-act", "atomic-allocation-failure.html#do-this"],
        ),
        (
            {"kind": "page_allocation_failure", "may_sleep": True, "order": 4},
            ["zone-reclaim-mode.html#blocking", "high-order-fragmentation.html#do-this"],
        ),
        (
            {"kind": "page_allocation_failure", "may_sleep": True, "order": 0, "zones": True},
            ["zone-reclaim-mode.html#blocking", "watermarks-and-reserves.html#do-this"],
        ),
        ({"kind": "page_allocation_failure"}, ["zone-reclaim-mode.html#not-known"]),
        ({"kind": "page_allocation_stall", "order": 0}, ["page-allocation-stall.html#what-it-is"]),
        (
            {"kind": "oom_kill", "oom_constraint": "CONSTRAINT_MEMCG"},
            ["memory-cgroups.html#do-this", "oom-kill.html#cgroup"],
        ),
        # With the cause that the verdict found.
        (
            {"kind": "page_allocation_failure", "may_sleep": True, "order": 0, "cause": "zone-limit"},
            ["zone-reclaim-mode.html#blocking", "dma-zones-and-cma.html#do-this"],
        ),
        (
            {"kind": "page_allocation_failure", "may_sleep": True, "order": 6, "cause": "zone-empty"},
            ["zone-reclaim-mode.html#blocking", "dma-zones-and-cma.html#empty-zone"],
        ),
        (
            {"kind": "page_allocation_failure", "may_sleep": True, "order": 0, "cause": "node-limit"},
            ["zone-reclaim-mode.html#blocking", "numa-nodes-and-cpusets.html#do-this"],
        ),
        (
            {"kind": "page_allocation_failure", "may_sleep": True, "order": 0, "cause": "lowmem-reserve"},
            ["zone-reclaim-mode.html#blocking", "watermarks-and-reserves.html#lowmem-reserve"],
        ),
        (
            {"kind": "page_allocation_failure", "may_sleep": True, "order": 20, "cause": "impossible-order"},
            ["zone-reclaim-mode.html#blocking", "reading-a-page-allocation-failure.html#impossible"],
        ),
        (
            {"kind": "slab_allocation_failure", "may_sleep": False, "cause": "memory-cgroup-limit"},
            ["memory-cgroups.html#do-this", "slab-allocation-failure.html#reading"],
        ),
        (
            {"kind": "vmalloc_allocation_failure", "cause": "huge-vmalloc-fallback", "may_sleep": True},
            ["vmalloc-failure.html#how-bad"],
        ),
        (
            {"kind": "oom_kill", "order": 3, "cause": "fragmentation-oom"},
            ["oom-kill.html#which", "high-order-fragmentation.html#do-this"],
        ),
        ({"kind": "oom_kill", "oom_constraint": "CONSTRAINT_NONE"}, ["oom-kill.html#do-this"]),
        (
            {"kind": "oom_kill", "oom_constraint": "CONSTRAINT_CPUSET"},
            ["numa-nodes-and-cpusets.html#do-this", "oom-kill.html#which"],
        ),
        (
            {"kind": "vmalloc_allocation_failure", "vmalloc_reason": "exceeds total pages"},
            ["vmalloc-failure.html#size"],
        ),
        (
            {"kind": "slab_allocation_failure", "may_sleep": False},
            ["slab-allocation-failure.html#reading", "atomic-allocation-failure.html#do-this"],
        ),
    ],
)
def test_the_most_direct_article_comes_first(features: dict[str, Any], first: list[str]) -> None:
    found = knowledge.articles(features, VALUES, BASE)
    assert [item["url"].removeprefix(BASE) for item in found[: len(first)]] == first


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("---\nid", "id", "no front matter"),
        ("title: T", "title: [", "not YAML"),
        ("title: T\n", "", "exactly"),
        ("title: T", "title: T\nextra: 1", "exactly"),
        ("id: some-article", "id: ../x", "id is not"),
        ("id: some-article", "id: Some", "id is not"),
        ("priority: 1", "priority: true", "priority"),
        ("kind: oom_kill", "colour: red", "colour"),
        ("kind: oom_kill", "may_sleep: 'no'", "may_sleep wants bool"),
        ("kind: oom_kill", "order_min: [1]", "order_min wants int"),
        ("kind: oom_kill", "kind: []", "kind wants str"),
        ("anchor: here", "anchor: there", "there"),
        ("why: w", "why: '{order}'", "guarantees"),
        ("why: w", "why: '{secret}'", "secret"),
        ("why: w", "why: '{order!r}'", "order"),
        ("why: w", "why: '{{order}}'", "braces"),
        (" {#here}", "", "no explicit anchor"),
        ("## Here {#here}", "## Here {#here}\n\n## Again {#here}", "twice"),
    ],
)
def test_bad_front_matter_is_named(old: str, new: str, message: str) -> None:
    assert kb.parse("x.md", GOOD).id == "some-article"
    assert old in GOOD
    with pytest.raises(AllocfailError, match=message):
        kb.parse("x.md", GOOD.replace(old, new, 1))


def test_headings_in_code_are_not_sections() -> None:
    item = kb.parse("x.md", GOOD + "\n```\n## not a section\n```\n")
    assert [heading.anchor for heading in item.headings] == ["here"]


@pytest.mark.parametrize(
    "url",
    ["javascript:alert(1)", "ftp://a/", "http://", "https://a/?q=1", "https://a/#x", "http://a\x1b/", "//a/", "x"],
)
def test_base_url_refuses_what_is_no_place_for_pages(url: str) -> None:
    with pytest.raises(InputError):
        kb.base_url(url)


def test_base_url_comes_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(kb.URL_VARIABLE, raising=False)
    assert kb.base_url() == kb.DEFAULT_URL
    monkeypatch.setenv(kb.URL_VARIABLE, "https://kb.example/x")
    assert kb.article_url(kb.base_url(), "a", "b") == "https://kb.example/x/a.html#b"
    assert kb.base_url("http://other") == "http://other/"


def test_printable_keeps_text_and_drops_what_moves_a_cursor() -> None:
    assert kb.printable("a\tb\nc \u2013 ü") == "a\tb\nc \u2013 ü"
    assert kb.printable("\x1b]0;x\x07\x9b2J\r\u202e") == "\ufffd]0;x\ufffd\ufffd2J\ufffd\ufffd"


def test_unknown_article() -> None:
    with pytest.raises(NotFoundError, match="zone-reclaim-mode"):
        kb.article("zone")


def test_list_and_search_write_a_document_a_line() -> None:
    listed = [json.loads(line) for line in run("kb", "list", "--kb-url", BASE).stdout.splitlines()]
    assert {item["id"]: item["url"] for item in listed} == {item.id: f"{BASE}{item.id}.html" for item in kb.load()}
    found = run("kb", "search", "vmalloc", "error")
    assert found.returncode == 0
    assert json.loads(found.stdout.splitlines()[0])["id"] == "vmalloc-failure"
    none = run("kb", "search", "xyzzy\x1b[2J")
    assert none.returncode == 1
    assert none.stdout == b""
    assert none.stderr.count(b"\n") == 1
    assert b"\x1b" not in none.stderr


def test_show_is_plain_markdown_when_piped() -> None:
    shown = run("kb", "show", "zone-reclaim-mode", "--kb-url", BASE)
    assert shown.returncode == 0
    text = shown.stdout.decode()
    assert text.startswith("# vm.zone_reclaim_mode")
    assert "{#" not in text
    assert "\x1b" not in text
    assert f"]({BASE}zone-reclaim-mode.html#cannot-act)" in text
    assert f"]({BASE}atomic-allocation-failure.html)" in text
    missing = run("kb", "show", "\x1b[2Jno")
    assert missing.returncode == 1
    assert missing.stderr.count(b"\n") == 1
    assert b"\x1b" not in missing.stderr


LOG = b"""\
Mar  1 10:00:00 web7 kernel: nginx: page allocation failure. order:1, mode:0x20
Mar  1 10:00:00 web7 kernel: Pid: 812, comm: nginx Not tainted 2.6.32-431.el6.x86_64 #1
Mar  1 10:00:00 web7 kernel: Call Trace:
Mar  1 10:00:00 web7 kernel: <IRQ>  [<ffffffff8112f9e7>] ? __alloc_pages_nodemask+0x757/0x8d0
Mar  1 10:00:00 web7 kernel: [<ffffffff8116e482>] ? kmem_getpages+0x62/0x170
Mar  1 10:00:00 web7 kernel: [<ffffffff8144c1b8>] ? sk_prot_alloc+0x48/0x1c0
"""


def test_lookup_answers_for_a_log_and_for_the_documents_it_gave() -> None:
    first = run("kb", "lookup", "--kb-url", BASE, stdin=LOG)
    assert first.returncode == 0, first.stderr
    (excerpt,) = [json.loads(line) for line in first.stdout.splitlines()]
    assert excerpt["allocfail"]["kind"] == "page_allocation_failure"
    assert excerpt["allocfail"]["kb"][0]["url"] == f"{BASE}zone-reclaim-mode.html#cannot-act"
    assert "may not sleep" in excerpt["allocfail"]["kb"][0]["why"]
    # A document that says which articles apply is believed, in each form in which it may come.
    hit = {"_index": "x", "_source": {"allocfail.kb": excerpt["allocfail"]["kb"], "message": excerpt["message"]}}
    for document in (
        first.stdout,
        json.dumps(excerpt, indent=2).encode(),
        json.dumps(hit).encode(),
        json.dumps({"hits": {"hits": [hit]}}, indent=1).encode(),
    ):
        again = run("kb", "lookup", "--kb-url", "http://elsewhere/", stdin=document)
        assert again.returncode == 0, again.stderr
        (same,) = [json.loads(line) for line in again.stdout.splitlines()]
        assert same["allocfail"]["kb"] == excerpt["allocfail"]["kb"]
    text = run("kb", "lookup", "--format", "text", stdin=LOG).stdout.decode()
    assert "GFP_ATOMIC" in text


def test_lookup_takes_files_and_a_pasted_header(tmp_path: Path) -> None:
    log, saved = tmp_path / "kern log", tmp_path / "event.json"
    log.write_bytes(LOG)
    of_stdin = run("kb", "lookup", "-", stdin=LOG)
    saved.write_bytes(of_stdin.stdout)
    assert run("kb", "lookup", str(log)).stdout == run("kb", "lookup", str(saved)).stdout == of_stdin.stdout
    pasted = run("kb", "lookup", "swapper: page allocation failure. order:1, mode:0x20", str(log))
    assert [json.loads(line)["allocfail"]["kind"] for line in pasted.stdout.splitlines()] == [
        "page_allocation_failure",
        "page_allocation_failure",
    ]
    missing = run("kb", "lookup", str(tmp_path / "none"))
    assert (missing.returncode, missing.stderr.count(b"\n")) == (2, 1)


@pytest.mark.parametrize("words", [("list",), ("search", "GFP_ATOMIC")])
def test_entries_name_the_command_where_no_pages_are_served(words: tuple[str, ...]) -> None:
    local = run("kb", *words, "--format", "text").stdout.decode()
    assert kb.DEFAULT_URL not in local
    assert "\n  allocfail kb show atomic-allocation-failure" in local
    assert (
        f"\n  {BASE}atomic-allocation-failure.html"
        in run("kb", *words, "--format", "text", "--kb-url", BASE).stdout.decode()
    )


def test_links_of_an_article_are_commands_where_no_pages_are_served() -> None:
    local = run("kb", "show", "atomic-allocation-failure#do-this").stdout.decode()
    assert "`allocfail kb show atomic-allocation-failure#adjacent`" in local
    assert kb.DEFAULT_URL not in local
    served = run("kb", "show", "atomic-allocation-failure#do-this", "--kb-url", BASE).stdout.decode()
    assert f"]({BASE}atomic-allocation-failure.html#adjacent)" in served


@pytest.mark.parametrize("item", kb.load(), ids=lambda item: item.id)
def test_no_link_within_the_articles_is_left_to_a_terminal(item: kb.Article) -> None:
    text = kb.absolute(item, item.body, None)
    assert not re.search(r"\]\((?:[a-z0-9-]+\.html|#)", text)


def test_lookup_keeps_the_order_of_mixed_input() -> None:
    own = {"allocfail": {"kind": "oom_kill", "kb": [{"id": "oom-kill", "title": "x", "url": "u", "why": "w"}]}}
    line = json.dumps(own).encode() + b"\n"
    found = run("kb", "lookup", stdin=line + LOG)
    assert [json.loads(line)["allocfail"]["kind"] for line in found.stdout.splitlines()] == [
        "oom_kill",
        "page_allocation_failure",
    ]


@pytest.mark.parametrize(
    "stdin",
    [b"", b"hello\n", b'{"allocfail": 1}\n', b"[" * 100_000, b"{\n" + b"[" * 100_000, b'{"allocfail":' * 50_000],
)
def test_lookup_without_an_event_ends_with_one_line(stdin: bytes) -> None:
    result = run("kb", "lookup", stdin=stdin)
    assert (result.returncode, result.stdout) == (1, b"")
    assert result.stderr.count(b"\n") == 1


def test_lookup_neutralises_what_a_document_brings_along() -> None:
    own = {
        "message": "\x1b]0;owned\x07",
        "allocfail": {"kb": [{"id": "a", "title": "\x1b[2J", "url": "\x9b1m", "why": "x"}]},
    }
    shown = run("kb", "lookup", "--format", "text", stdin=json.dumps(own).encode())
    assert shown.returncode == 0
    assert not re.search(rb"[\x00-\x08\x0b-\x1f\x7f]|\xc2[\x80-\x9f]", shown.stdout)


@pytest.mark.parametrize("subcommand", ["list", "show", "search", "lookup", "build", "serve"])
def test_help_has_an_example(subcommand: str) -> None:
    shown = run("kb", subcommand, "--help").stdout.decode()
    assert f"allocfail kb {subcommand}" in shown.split("Example:")[1]


def test_rules_hold_no_reference_to_an_event_of_another_kind() -> None:
    for item in kb.load():
        for rule in item.applies:
            kinds = rule.when.get("kind", [])
            assert set([kinds] if isinstance(kinds, str) else kinds) <= set(KINDS)
