"""What stands before the kernel's text is taken off; the kernel's text never is."""

from __future__ import annotations

import random
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import real
from allocfail.decoder.framing import BLANKS, Frame, _walk, frame

SHARED = Path(__file__).parents[1] / ".." / "shared"

TEXT = "swapper/0: page allocation failure: order:1, mode:0x20"

#: prefix -> what it says
PREFIXES: dict[str, dict[str, object]] = {
    "": {},
    "<4>": {"priority": 4},
    "<4>[   12.345678] ": {"priority": 4, "uptime": "12.345678"},
    "[   12.345678] ": {"uptime": "12.345678"},
    "[   12.345678]": {"uptime": "12.345678"},
    "[4294667.296000] ": {"uptime": "4294667.296000"},
    "[   12.345678][    C1] ": {"uptime": "12.345678", "caller": "C1"},
    "[   12.345678] [  T123] ": {"uptime": "12.345678", "caller": "T123"},
    "[  T123] ": {"caller": "T123"},
    "[   12.345678@1] ": {"uptime": "12.345678"},
    "[   12.345678 <    0.000012>] ": {"uptime": "12.345678"},
    "[<    0.000012>] ": {},
    "[  +0.000012] ": {},
    "[Jan15 10:00] ": {"time": "Jan15 10:00"},
    "[Mon Mar 25 23:35:17 2019] ": {"time": "Mon Mar 25 23:35:17 2019"},
    "[Mon Mar  4 23:35:17 CET 2019 <    0.000012>] ": {"time": "Mon Mar  4 23:35:17 CET 2019"},
    "2024-01-01T10:00:00,123456+00:00 ": {"time": "2024-01-01T10:00:00,123456+00:00"},
    "kern  :warn  : [  177.175954] ": {"priority": 4, "uptime": "177.175954"},
    "user  :notice: [  177.175954] ": {"priority": 13, "uptime": "177.175954"},
    "kernel: ": {},
    "Feb 14 15:24:15 svn3 kernel: ": {"host": "svn3", "time": "Feb 14 15:24:15"},
    "Feb  4 15:24:15 (none) kernel: ": {"host": "(none)", "time": "Feb  4 15:24:15"},
    "Feb 14 15:24:15.123456 svn3.example.org kernel: ": {"host": "svn3.example.org", "time": "Feb 14 15:24:15.123456"},
    "Feb 14 15:24:15 svn3 kernel: [    1.5] ": {"host": "svn3", "time": "Feb 14 15:24:15", "uptime": "1.5"},
    "Feb 14 15:24:15 svn3 kernel:[    1.5] ": {"host": "svn3", "time": "Feb 14 15:24:15", "uptime": "1.5"},
    "Feb 14 15:24:15 svn3 kernel: <4>": {"host": "svn3", "time": "Feb 14 15:24:15", "priority": 4},
    "Aug  4 22:58:15 srv kernel: : [69229257.683658] ": {
        "host": "srv",
        "time": "Aug  4 22:58:15",
        "uptime": "69229257.683658",
    },
    "<4>Feb 14 15:24:15 svn3 kernel: ": {"host": "svn3", "time": "Feb 14 15:24:15", "priority": 4},
    "Feb 14 15:24:15 kernel: ": {"time": "Feb 14 15:24:15"},
    "Jan  1 00:00:10 router kern.warn kernel: [    1.5] ": {
        "host": "router",
        "time": "Jan  1 00:00:10",
        "priority": 4,
        "uptime": "1.5",
    },
    "Mon Jan  1 00:00:10 2024 kern.warn kernel: [    1.5] ": {
        "time": "Mon Jan  1 00:00:10 2024",
        "priority": 4,
        "uptime": "1.5",
    },
    "<4>1 2003-10-11T22:14:15.003Z box kernel - - - ": {
        "priority": 4,
        "host": "box",
        "time": "2003-10-11T22:14:15.003Z",
    },
    '<4>1 2003-10-11T22:14:15.003Z box kernel 12 ID [e@3 a="b ] c" d="\\"]"][y@1 z="1"] \ufeff[  1.5] ': {
        "priority": 4,
        "host": "box",
        "time": "2003-10-11T22:14:15.003Z",
        "uptime": "1.5",
    },
    "2024-01-01T10:00:00+0000 box kernel: ": {"host": "box", "time": "2024-01-01T10:00:00+0000"},
    "2024-01-01T10:00:00.123456+01:00 box kernel: [  1.5] ": {
        "host": "box",
        "time": "2024-01-01T10:00:00.123456+01:00",
        "uptime": "1.5",
    },
    "Mon 2024-01-01 10:00:00 UTC box kernel: ": {"host": "box", "time": "Mon 2024-01-01 10:00:00 UTC"},
    "[   12.345678] box kernel: ": {"host": "box", "uptime": "12.345678"},
    "1704103200.123456 box kernel: ": {"host": "box", "time": "1704103200.123456"},
    "2016-10-06T00:17:09.669794202Z stdout F ": {"time": "2016-10-06T00:17:09.669794202Z"},
    "2016-10-06T00:17:09.669794202Z stdout F Feb 14 15:24:15 svn3 kernel: [  1.5] ": {
        "host": "svn3",
        "time": "Feb 14 15:24:15",
        "uptime": "1.5",
    },
    "4,19685342,241227987454,-,caller=T12845;": {
        "priority": 4,
        "uptime": "241227.987454",
        "caller": "T12845",
        "provenance": "kernel",
    },
    "12,3,5678,-;": {"priority": 12, "uptime": "0.005678", "provenance": "forged"},
    "6.4.0-rc1+,4,1,5678,-,ncfrag=0/33;": {
        "priority": 4,
        "uptime": "0.005678",
        "provenance": "kernel",
        "release": "6.4.0-rc1+",
    },
    "02-14 15:24:15.123  1234  1235 W kernel  : ": {"time": "02-14 15:24:15.123"},
    "2024-02-14 15:24:15.123  1000  1234  1235 W kernel  : ": {"time": "2024-02-14 15:24:15.123"},
    "Jan  1 00:00:10 router kern.emerg kernel: ": {"host": "router", "time": "Jan  1 00:00:10", "priority": 0},
    "[   12.34] (0)[740:some comm]": {"uptime": "12.34", "caller": "T740"},
    "[   12.34] (0)[740:lowpool[2]]": {"uptime": "12.34", "caller": "T740"},
    "[   12.34]<0>.(a)[0:swapper]": {"uptime": "12.34", "caller": "C10"},
    "[   11.616321]  [2:   Binder:711_1:  740] ": {"uptime": "11.616321", "caller": "T740"},
    "[0:      swapper/0:    0] ": {"caller": "C0"},
    "[4: binder:569_5:27109] ": {"caller": "T27109"},
    "[    1.5][pid:7,cpu3,init]": {"uptime": "1.5", "caller": "T7"},
    "[2024-01-01 10:00:00.123] [    1.5] ": {"time": "2024-01-01 10:00:00.123", "uptime": "1.5"},
    "[15:24:15.123] [    1.5] ": {"uptime": "1.5"},
    "Feb 14 15:24:15 box dmesg[12]: [ 12.3] ": {"host": "box", "time": "Feb 14 15:24:15", "uptime": "12.3"},
    "box kernel: [ 12.3] ": {"host": "box", "uptime": "12.3"},
    "02-14 15:24:15.123     0     0 W         : ": {"time": "02-14 15:24:15.123"},
    "W/kernel  (    0): ": {},
    "W/        (  740): ": {},
    "02-14 15:24:15.123 W/kernel  (    0): ": {"time": "02-14 15:24:15.123"},
    "elm3b29 login: ": {"host": "elm3b29"},
    "elm3b29 login: [ 12.3] ": {"host": "elm3b29", "uptime": "12.3"},
    "login: [ 12.3] ": {"uptime": "12.3"},
    "    MESSAGE=": {},
    "/var/log/messages-20110214:12:Feb 14 15:24:15 svn3 kernel: [  1.5] ": {
        "host": "svn3",
        "time": "Feb 14 15:24:15",
        "uptime": "1.5",
    },
    "kern.log-[    1.5] ": {"uptime": "1.5"},
    "12:<4>[    1.5] ": {"priority": 4, "uptime": "1.5"},
    "   [ 6676.674256] ": {"uptime": "6676.674256"},
    " 1325.744923] ": {"uptime": "1325.744923"},
}

#: What the kernel prints: nothing of it is a prefix.
KERNEL = [
    "[<ffffffff8112f9e7>] ? f+0x1/0x2 [mod]",
    "[<c0017a4c>] (x+0x0/0xf4) from [<c0017a4c>] (y+0x10/0x14)",
    "[c0000001cb163640] [c000000001035754] .f+0xe8/0x164 (unreliable)",
    "[f2ffb9d0] [c14cfd88] dump_stack_lvl+0x70/0x8c (unreliable)",
    "[0000000000112f10] show_stack+0x90/0xc0",
    "[r8169:rtl8169_rx_fill+0xb9/0x1c0] :r8169:rtl8169_rx_fill+0xb9/0x1c0",
    "<IRQ>  [<ffffffff8112f9e7>] ? f+0x1/0x2",
    "<TASK>",
    "<ffffffff801632ae>{__alloc_pages+990} <ffffffff801668da>{cache_grow+314}",
    "DMA: 1*4kB 1*8kB",
    "Node 0 DMA free:15904kB min:132kB",
    "lowmem_reserve[]: 0 3000 4000",
    "CPU    0: hi:   90, btch:  15 usd:  79",
    "CPU: 0 PID: 1 Comm: swapper/0 Not tainted 5.7.0-rc3+ #121",
    "Pid: 0, comm: swapper Not tainted 2.6.32-431.el6.x86_64 #1",
    "[  265]     0   265 2716383      169   225280      684         -1000 init",
    "x: y: page allocation failure: order:1, mode:0x20",
    "[abc]: page allocation failure: order:1, mode:0x20",
    "[1.2]: page allocation failure: order:1, mode:0x20",
    "[T1]: page allocation failure: order:1, mode:0x20",
    "kernel: : page allocation failure: order:1, mode:0x20",
    "login: page allocation failure: order:1, mode:0x20",
    "a login: page allocation failure: order:1, mode:0x20",
    "DOM Worker: page allocation failure: order:1, mode:0x20",
    "2.6.32: page allocation failure: order:1, mode:0x20",
    "Feb: page allocation failure: order:1, mode:0x20",
    "4 pages RAM",
]


@pytest.mark.parametrize("prefix", PREFIXES)
def test_prefix(prefix: str) -> None:
    found = frame(prefix + TEXT)
    assert found._replace(part="", content=0, tagged=False) == Frame(TEXT, start=found.start, **PREFIXES[prefix])  # type: ignore[arg-type]
    assert (found.start > 0) == bool(prefix)


@pytest.mark.parametrize("prefix", ["[   12.345678] ", "Feb 14 15:24:15 svn3 kernel: [    1.5] ", "<4>[    1.5] "])
@pytest.mark.parametrize("text", KERNEL)
def test_kernel_text_stays(prefix: str, text: str) -> None:
    assert frame(prefix + text).text == text
    assert frame(prefix + "  " + text + " ").text == text


@pytest.mark.parametrize("text", [text for text in KERNEL if not text.startswith("kernel:")])
def test_kernel_text_stays_without_prefix(text: str) -> None:
    assert frame(text) == Frame(text)


def test_a_process_name_is_no_tag() -> None:
    assert frame("Feb 14 15:24:15 svn3 kernel: kernel: page allocation failure").text.startswith("kernel: page")
    assert frame("Feb 14 15:24:15 svn3 app: kernel: x").text == "app: kernel: x"
    assert frame("2024-01-01T10:00:00Z DOM Worker: page").host is None
    assert frame("Feb 14 15:24:15 svn3 kernel: Mar 15 10:00:00 evil kernel: x").host == "svn3"


@pytest.mark.parametrize("ids", ["    0     0 W swapper : ", "W/swapper (    0): "])
def test_logcat_makes_a_tag_of_a_process_name(ids: str) -> None:
    line = f"02-14 15:24:15.123 {ids}page allocation failure: order:1"
    assert frame(line).text == "swapper: page allocation failure: order:1"
    assert frame(line).time == "02-14 15:24:15.123"
    # Of an app's log the kernel printed nothing.
    other = line.replace(" 0", "12")
    assert frame(other) == Frame(other)


def test_text_is_trimmed_as_java_does() -> None:
    assert frame("\x00\x1f text\u00a0 \x01").text == "text\u00a0"


def _lines() -> list[str]:
    files = real.posted()
    lines = {line for file in files for line in file.read_text("utf-8", "replace").split("\n")}
    return sorted(lines | {prefix + text for prefix in PREFIXES for text in (TEXT, *KERNEL)})


def test_fast_ways_give_what_the_grammar_gives() -> None:
    lines = _lines()
    chance = random.Random(5)
    pieces = [*PREFIXES, "[", "<", "(", "-", ".", ":", " ", "kernel:", "host ", "kern.warn ", "[  T1]", "\x00", "\t"]
    for _ in range(20_000):
        line = chance.choice(lines)[:200]
        for _ in range(chance.randrange(4)):
            at = chance.randrange(min(len(line), 60) + 1)
            line = line[:at] + chance.choice([chance.choice(pieces) + line[at:], line[at + 1 :]])
        assert frame(line) == _walk(line), line


@given(st.text(st.sampled_from("[]<>(){}0123456789.:;,-+TCk=JanMo \t\x00kernel\u00a0\U0001f600")))
def test_any_line_is_framed(line: str) -> None:
    found = frame(line)
    assert found.text == found.text.strip(BLANKS)
    assert line[found.start :].strip(BLANKS) == found.text


@pytest.mark.skipif(not SHARED.is_dir(), reason="the corpus of real dumps is not beside the project")
def test_every_line_of_the_corpus_keeps_its_text() -> None:
    for line in _lines():
        assert line.rstrip(BLANKS).endswith(frame(line).text)
