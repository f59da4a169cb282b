"""What a person is told: the answer first, equal events once, nothing that only programs read."""

from __future__ import annotations

import io
import re
from pathlib import Path
from typing import Any

import pytest

from allocfail.articles.lookup import lookup
from allocfail.logs.events import Options, decode_bytes
from allocfail.report import event, layout
from allocfail.report.event import Line
from allocfail.report.groups import Groups
from allocfail.report.lookup import lines
from allocfail.report.reporter import Reporter

SAMPLE = (Path(__file__).parents[1] / "samples" / "svn3-centos6.log").read_bytes()
CORPUS = Path(__file__).parents[2] / "shared" / "corpus" / "events"


def documents(data: bytes, **told: Any) -> list[dict[str, Any]]:
    return [e.document for e in decode_bytes(data, Options(year=2015, **told))]


def reported(*found: dict[str, Any], served: bool = False, live: bool = False) -> str:
    out = io.BytesIO()
    reporter = Reporter(out, served=served, live=live)
    for document in found:
        reporter.add(document)
    reporter.close()
    return out.getvalue().decode()


def line(host: str, time: str, order: int = 0) -> bytes:
    return f"Jan  5 {time} {host} kernel: cat: page allocation failure: order:{order}, mode:0x20\n".encode()


def test_the_answer_stands_before_the_facts() -> None:
    text = reported(*documents(SAMPLE))
    labels = [found[1] for found in re.finditer(r"^  ([a-z ]+?)  +", text, re.MULTILINE)]
    assert labels[:5] == ["seen", "severity", "cause", "not known", "do"]
    assert labels.index("do not") < labels.index("read") < labels.index("task")
    assert text.splitlines()[-1] == "2 events in 1 group"


def test_equal_events_are_one_with_hosts_and_times() -> None:
    found = documents(line("web1", "10:00:00") + line("web2", "09:59:00") + line("web1", "10:00:07"))
    text = reported(*found)
    assert text.count("order 0 in cat") == 1
    assert "3 times on web1, web2, from 2015-01-05T09:59:00.000Z to 2015-01-05T10:00:07.000Z" in text
    assert "asked for      order 0: 1 page\n" in text
    assert text.splitlines()[-1] == "3 events in 1 group"


def test_many_hosts_are_counted_not_listed() -> None:
    found = documents(b"".join(line(f"h{n}", f"10:00:{n:02}") for n in range(9)))
    assert "9 times on 9 hosts (h0, h1, h2, …)" in reported(*found)


def test_other_causes_of_a_group_are_told() -> None:
    groups = Groups()
    (first,) = documents(line("a", "10:00:00"))
    second = {**first, "allocfail": {**first["allocfail"], "verdict": {"cause": "cma", "summary": "Much is CMA."}}}
    group = groups.add(first)
    assert group is not None
    assert groups.add(second) is None
    assert list(group.others()) == [(1, "cma: Much is CMA.")]


def test_a_live_log_is_printed_as_it_comes_and_counted_at_the_end() -> None:
    found = documents(line("a", "10:00:00") + line("a", "10:00:01") + line("b", "10:00:02", order=3))
    out = io.BytesIO()
    reporter = Reporter(out, served=False, live=True)
    reporter.add(found[0])
    assert b"order 0 in cat" in out.getvalue()
    reporter.add(found[1])
    reporter.add(found[2])
    before = len(out.getvalue())
    reporter.close()
    rest = out.getvalue()[before:].decode()
    assert "2 times on a" in rest
    assert rest.splitlines()[-1] == "3 events in 2 groups"


def test_links_are_commands_where_no_pages_are_served() -> None:
    (first, _) = documents(SAMPLE, kb_url="https://kb.example/")
    assert "allocfail kb show zone-reclaim-mode#" in reported(first)
    assert "https://kb.example/" not in reported(first)
    assert "https://kb.example/zone-reclaim-mode.html#" in reported(first, served=True)


@pytest.mark.parametrize(
    ("text", "headline"),
    [
        (
            "x invoked oom-killer: gfp_mask=0xd0, order=0, oom_score_adj=0\nOut of memory: Kill process 7 (sh) score 9",
            "OOM kill of sh asked for by x",
        ),
        ("x invoked oom-killer: gfp_mask=0xd0, order=0, oom_score_adj=0", "OOM kill asked for by x"),
        ("SLUB: Unable to allocate memory on node -1, gfp=0xa20(GFP_ATOMIC)", "SLUB allocation failure"),
        ("vmap allocation for size 8392704 failed: use vmalloc=<size> to increase size.", "vmalloc allocation failure"),
    ],
)
def test_headlines_have_no_place_holders(text: str, headline: str) -> None:
    (document,) = documents(text.encode() + b"\n")
    assert event.headline(document) == headline


def test_a_vmalloc_pair_asks_once() -> None:
    text = reported(
        *documents(
            b"vmalloc: allocation failure, allocated 4097114112 of 17179934720 bytes\n"
            b"swapper/0: page allocation failure: order:0, mode:0x2080020(GFP_ATOMIC)\n"
        )
    )
    assert text.count("asked for") == 1
    assert "17,179,934,720 bytes of vmalloc memory, of which 4,097,114,112 bytes had been obtained" in text


@pytest.mark.parametrize("width", [None, 40, 60, 100, 300])
def test_sentences_are_broken_and_commands_are_not(width: int | None) -> None:
    command = "sysctl -w vm.min_free_kbytes=$((2*$(sysctl -n vm.min_free_kbytes)))"
    said = " ".join(["word"] * 60)
    text = layout.laid_out([Line("cause", said), Line("", command, "command")], width=width)
    assert [row.strip() for row in text.splitlines()][-1] == command
    assert " ".join(text.replace("cause", "").replace(command, "").split()) == said
    if width is not None:
        assert max(len(row) for row in text.splitlines() if command not in row) <= min(width, 110)


def test_colour_says_how_bad(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.delenv("NO_COLOR", raising=False)
    lines_ = [Line("severity", "failed: x", "failed")]
    assert "\x1b[1;31mfailed: x" in layout.laid_out(lines_, width=80, colour=True)
    monkeypatch.setenv("NO_COLOR", "1")
    assert "31m" not in layout.laid_out(lines_, width=80, colour=True)


def test_lookup_says_cause_and_what_to_do() -> None:
    excerpts = list(lookup(io.BytesIO(SAMPLE), "http://127.0.0.1:8765/"))
    assert excerpts[0]["allocfail"]["verdict"]["cause"] == "atomic-high-order"
    assert excerpts[0]["allocfail"]["verdict"]["remedies"][0].startswith("double vm.min_free_kbytes")
    text = layout.laid_out(lines(excerpts[0], served=False))
    for words in ("atomic-high-order: ", "sysctl -w vm.min_free_kbytes=", "allocfail kb show zone-reclaim-mode#"):
        assert words in text


@pytest.mark.skipif(
    not CORPUS.is_dir(), reason="NO CORPUS: ../shared is not there, reports of real dumps were NOT read"
)
def test_reports_of_real_dumps_hold_nothing_for_programs() -> None:
    for path in sorted(CORPUS.glob("*.log")):
        for document in documents(path.read_bytes()):
            text = reported(document)
            assert not re.search(r"(?<![\w.])_(?!\w)|\{[a-z_]+\}|None|not in the log, PID", text), (path.name, text)
            assert text.count("asked for  ") <= 1, path.name
            assert "contiguous" not in text


def test_repeats_that_the_log_names_are_events() -> None:
    repeated = line("a", "10:00:00") + b"Jan  5 10:00:09 a last message repeated 4 times\n"
    text = reported(*documents(repeated))
    assert "5 times on a" in text
    assert text.splitlines()[-1] == "5 events in 1 group"


def test_times_after_boot_stand_for_times_of_day() -> None:
    header = "cat: page allocation failure: order:0, mode:0x20"
    text = reported(*documents(f"[  12.100000] {header}\n[  99.700000] {header}\n".encode()))
    assert "2 times, from 12 to 100 seconds after boot" in text


@pytest.mark.parametrize(
    ("log", "command"),
    [
        ("cat: page allocation failure: order:0, mode:0xcc0(GFP_KERNEL)", "dmesg | grep -A 80"),
        ("Out of memory: Killed process 7 (app) total-vm:1kB, anon-rss:1kB, file-rss:0kB", "ps -eo"),
        (
            "SLUB: Unable to allocate memory on node -1 (gfp=0x20)\n  cache: a, object size: 8, buffer size: 8",
            "dmesg | grep -B",
        ),
        ("cat: page allocation stalls for 10500ms, order:0, mode:0x14200ca(GFP_HIGHUSER_MOVABLE)", "vmstat"),
    ],
)
def test_where_no_remedy_is_known_it_says_how_to_find_out_more(log: str, command: str) -> None:
    (document,) = documents("".join(f"[  5.000000] {part}\n" for part in log.split("\n")).encode())
    assert not document["allocfail"]["verdict"].get("actions")
    do = [said.text for said in event.answer(document) if said.style == "command"]
    assert len(do) == 1
    assert do[0].startswith(command)


def test_every_event_of_the_corpora_has_a_first_step() -> None:
    for path in [*CORPUS.iterdir(), *(CORPUS.parents[1] / "corpus-new" / "events").iterdir()]:
        for document in documents(path.read_bytes()):
            assert "do" in [said.label for said in event.answer(document)], path.name


def test_the_state_of_a_zone_is_said_in_words() -> None:
    (document,) = documents((CORPUS / "024_imx8mn_ffs_ufb_order4_54.log").read_bytes())
    zone = next(said.text for said in event.facts_of(document) if said.label == "Node 0 DMA32")
    assert zone.endswith("could serve the request when the dump was printed")


def test_a_kill_by_hand_asked_for_no_memory() -> None:
    log = (
        "sysrq: Manual OOM execution",
        "kworker/1:2 invoked oom-killer: gfp_mask=0xcc0(GFP_KERNEL), order=-1, oom_score_adj=0",
        "Out of memory: Killed process 4711 (bash) total-vm:8000kB, anon-rss:500kB, file-rss:3000kB",
    )
    (document,) = documents("".join(f"[  5.000000] {part}\n" for part in log).encode())
    text = reported(document)
    assert "order -1" not in text
    assert "  do             find out who pressed SysRq F" in text


def test_a_headline_without_an_order_has_no_colon() -> None:
    (document,) = documents((CORPUS / "041_ppc_vmalloc_codepatching_515.log").read_bytes())[:1]
    assert event.headline(document) == "vmalloc allocation failure in test_code_patching, GFP_KERNEL"
