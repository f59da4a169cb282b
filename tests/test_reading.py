"""Bytes become records: containers opened, lines untangled, wrapped lines joined, whatever comes."""

from __future__ import annotations

import gzip
import json
import lzma
import random
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

import real
from allocfail.decoder.untangle import Splitter, open_line
from allocfail.errors import InputError
from allocfail.logs import reading
from allocfail.logs.inputs import CHUNK, open_input, packing
from allocfail.logs.reading import LINE_LIMIT, _dirty, _plain, records

if TYPE_CHECKING:
    from collections.abc import Iterator

    from allocfail.decoder.records import Record

SHARED = Path(__file__).parents[1] / ".." / "shared"
EVENTS = SHARED / "corpus" / "events"
needs_corpus = pytest.mark.skipif(not SHARED.is_dir(), reason="the corpus of real dumps is not beside the project")

HEADER = "swapper/0: page allocation failure: order:1, mode:0x40cc0(GFP_KERNEL|__GFP_COMP), nodemask=(null)"


def read(text: str | bytes) -> list[Record]:
    return list(records([text.encode() if isinstance(text, str) else text]))


def texts(text: str | bytes) -> list[str]:
    return [record.text for record in read(text)]


def one(text: str | bytes) -> Record:
    (record,) = read(text)
    return record


# --- lines ---


def test_offsets_are_bytes_of_the_input() -> None:
    log = "[ 1.0] a\r\n[ 2.0] \u00e9\u00a0b\n\n[ 3.0] c".encode()
    found = list(records([log], offset=1000))
    assert [(record.text, record.offset) for record in found] == [
        ("a", 1000),
        ("\u00e9 b", 1010),
        ("", 1000 + log.index(b"\n\n") + 1),
        ("c", 1000 + log.index(b"[ 3")),
    ]
    assert found[0].raw == "[ 1.0] a"
    assert found[1].raw == "[ 2.0] \u00e9\u00a0b"


@pytest.mark.parametrize(
    "line",
    [
        "[ 1.5] a b",
        "[\u00a0 1.5]\u00a0a\u00a0b",
        "\x1b[1;31m[ 1.5]\x1b[0m a \x1b[33mb\x1b[0m",
        "#033[31m[ 1.5] a b#033[0m",
        "\x00\x00\x00[ 1.5] a b",
        "> >> [ 1.5] a b",
        "| > [ 1.5] a b",
        "\ufeff[ 1.5] a b",
        "[ 1.5] a b\r",
        "[ 1.5] a b<br>",
        "[ 1.5] a b<BR/>",
        "[ 1.5] a&nbsp;b",
        "[ 1.5] a b\\n",
        "[ 1.5] a b#012",
    ],
)
def test_untangled(line: str) -> None:
    found = one(line)
    assert (found.text, found.uptime, found.offset) == ("a b", "1.5", 0)


def test_html_brackets() -> None:
    assert one("[ 1.5] [&lt;c0017a4c&gt;] ? f+0x1/0x2").text == "[<c0017a4c>] ? f+0x1/0x2"


@pytest.mark.parametrize("end", ["#012", "\\n", "\\r\\n", "<br>", "\\x0a"])
def test_several_lines_in_one(end: str) -> None:
    found = read("x\nFeb 14 15:24:15 svn3 kernel: [ 1.5] a" + end + " b" + end + "[ 2.5] c" + end + "\ny")
    assert [record.text for record in found] == ["x", "a", "b", "c", "y"]
    assert {record.offset for record in found[1:4]} == {2}
    assert {(record.host, record.time) for record in found[1:4]} == {("svn3", "Feb 14 15:24:15")}
    assert [record.uptime for record in found[1:4]] == ["1.5", "1.5", "2.5"]


def test_not_utf8() -> None:
    found = one(b"[ 1.5] \xff\xfea")
    assert found.text == "\ufffd\ufffda"
    json.dumps(found.raw).encode()


def test_a_line_without_end_is_cut_at_a_blank() -> None:
    size = 3 * LINE_LIMIT

    def chunks() -> Iterator[bytes]:
        for _ in range(size // 4096):
            yield b"abc " * 1024

    found = list(records(chunks()))
    assert len(found) == 3
    assert all(len(record.raw) <= LINE_LIMIT and not record.text.startswith("bc") for record in found)
    assert sum(len(record.raw) for record in found) == size


@pytest.mark.slow
def test_memory_does_not_grow_with_the_input() -> None:
    code = (
        "from allocfail.logs.reading import records\n"
        "def chunks():\n"
        "    yield from (b'page allocation failure ' * 4096 for _ in range(1000))\n"
        "    yield b'\\n4,1,1,-;' + b'x' * 60\n"
        "    yield from ((b'\\n' + b'y' * 60) * 1000 for _ in range(300))\n"
        '    yield b\'\\n{"message":"x","a":[\' + b\'{"log":0},\' * 100_000 + b\'{}]}\\n\'\n'
        "n = sum(1 for _ in records(chunks()))\n"
        "assert n > 1000, n\n"
        "print(next(line.split()[1] for line in open('/proc/self/status') if line.startswith('VmHWM')))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert int(done.stdout) < 64 << 10  # KiB, the shared pages of the interpreter included


# --- repetition ---


def test_last_message_repeated() -> None:
    found = read(
        "Sep  5 07:28:32 spc5 kernel: a\n"
        "Sep  5 07:37:46 spc5 last message repeated 2 times\n"
        "Sep  5 07:37:47 spc5 last message repeated 9 times\n"
        "Sep  5 07:37:47 spc5 kernel: b\n"
        "Sep  5 07:37:48 other last message repeated 3 times\n"
    )
    assert [(record.text, record.repeated) for record in found[:2]] == [("a", 11), ("b", 0)]
    assert (found[2].host, found[2].repeated) == ("other", 3)


def test_rsyslog_copies_what_it_repeats() -> None:
    found = read(
        "Sep  5 07:28:32 spc5 kernel: [ 1.5] a\n"
        "Sep  5 07:37:46 spc5 kernel: message repeated 2 times: [ [ 1.5] a]\n"
        "Sep  5 07:37:46 spc5 kernel: message repeated 3 times: [ [ 1.5] b]\n"
    )
    assert [(record.text, record.repeated) for record in found] == [("a", 2), ("b", 2)]


# --- containers ---

DUMP = f"{HEADER}\nCPU: 0 PID: 1 Comm: swapper/0\n"


@pytest.mark.parametrize(
    "document",
    [
        {"log": DUMP, "stream": "stdout", "time": "2024-01-01T10:00:00.5Z"},
        {"message": DUMP, "@timestamp": "2024-01-01T10:00:00.5Z"},
        {"message": "other", "event": {"original": DUMP}, "@timestamp": "2024-01-01T10:00:00.5Z"},
        {"message": "other", "event.original": DUMP, "timestamp": "2024-01-01T10:00:00.5Z"},
        {"_index": "x", "_source": {"message": DUMP, "@timestamp": "2024-01-01T10:00:00.5Z"}},
        {"body": {"stringValue": DUMP}, "timestamp": "2024-01-01T10:00:00.5Z"},
    ],
)
@pytest.mark.parametrize("around", ["{}", "2024-01-01T10:00:00.5Z stdout F {}", "data: {}", "[{}]", "\x1e{}", "{},"])
def test_json(document: dict[str, Any], around: str) -> None:
    found = read("\n" + around.format(json.dumps(document)) + "\n")
    assert [record.text for record in found] == ["", HEADER, "CPU: 0 PID: 1 Comm: swapper/0"]
    assert [record.raw for record in found[1:]] == [HEADER, "CPU: 0 PID: 1 Comm: swapper/0"]
    assert {(record.offset, record.time) for record in found[1:]} == {(1, "2024-01-01T10:00:00.5Z")}


JOURNAL = {
    "__CURSOR": "s=1",
    "__REALTIME_TIMESTAMP": "1704103200123456",
    "_SOURCE_MONOTONIC_TIMESTAMP": "12345678",
    "_HOSTNAME": "svn3",
    "_TRANSPORT": "kernel",
    "SYSLOG_IDENTIFIER": "kernel",
    "SYSLOG_FACILITY": "0",
    "PRIORITY": "4",
    "MESSAGE": HEADER,
}


@pytest.mark.parametrize("message", [HEADER, list(HEADER.encode())])
def test_journal_json(message: object) -> None:
    found = one(json.dumps({**JOURNAL, "MESSAGE": message}))
    assert found.text == found.raw == HEADER
    assert (found.host, found.time, found.uptime) == ("svn3", "1704103200123456", "12.345678")
    assert found.origin is not None
    assert (found.origin.provenance, found.origin.priority) == ("kernel", 4)


def test_forged_journal_record() -> None:
    found = one(json.dumps({**JOURNAL, "SYSLOG_IDENTIFIER": "su", "SYSLOG_FACILITY": "1"}))
    assert found.origin is not None
    assert (found.origin.provenance, found.origin.priority) == ("forged", 12)
    plain = one(json.dumps({**JOURNAL, "_TRANSPORT": "syslog"}))
    assert plain.origin is not None
    assert plain.origin.provenance is None


def test_forged_kmsg_record() -> None:
    kernel, user = read(f"4,1,5,-;{HEADER}\n12,1,5,-;{HEADER}\n")
    assert kernel.origin is not None
    assert user.origin is not None
    assert (kernel.origin.provenance, user.origin.provenance) == ("kernel", "forged")


def test_journal_export() -> None:
    def entry(message: bytes) -> bytes:
        fields = b"".join(f"{key}={value}\n".encode() for key, value in JOURNAL.items() if key != "MESSAGE")
        if b"\n" in message:
            return fields + b"MESSAGE\n" + len(message).to_bytes(8, "little") + message + b"\n\n"
        return fields + b"MESSAGE=" + message + b"\n\n"

    first = entry(DUMP.encode())
    found = read(first + entry(b"b") + b"[ 1.0] text behind\n")
    assert [record.text for record in found] == [HEADER, "CPU: 0 PID: 1 Comm: swapper/0", "b", "text behind"]
    assert [record.offset for record in found][:3] == [0, 0, len(first)]
    assert {(record.host, record.uptime) for record in found[:3]} == {("svn3", "12.345678")}
    assert read(first[: len(first) // 2]) == []


def test_ecs_names_the_line_s_host_and_the_release() -> None:
    document = {
        "message": f"Feb 14 15:24:15 svn3 kernel: {HEADER}",
        "@timestamp": "2011-02-14T16:00:00Z",
        "host": {"name": "collector", "os": {"kernel": "5.4.0"}},
    }
    found = one(json.dumps(document))
    assert (found.text, found.host, found.time) == (HEADER, "svn3", "Feb 14 15:24:15")
    assert found.origin is not None
    assert (found.origin.release, found.origin.time) == ("5.4.0", "2011-02-14T16:00:00Z")
    document["message"] = HEADER
    assert one(json.dumps(document)).host == "collector"


@pytest.mark.parametrize(
    "line",
    [
        '{"a": 1}',
        '{"message": 1}',
        '{"message": "a"',
        "{" * 100_000,
        '{"MESSAGE": [1, 999]}',
        "x {}",
        '{"message":' * 9,
    ],
)
def test_no_container(line: str) -> None:
    assert one(line).raw == line


def test_lone_surrogate_in_json() -> None:
    one('{"message": "a\\ud800b"}').text.encode()


def test_pretty_printed_json() -> None:
    log = json.dumps({"dmesg": [{"pri": 4, "time": 1.5, "msg": HEADER}]}, indent=3)
    assert HEADER in texts(log)


# --- wrapped lines ---


def wrap(text: str, width: int) -> str:
    """Break as mail programs do."""
    lines, line = [], ""
    for word in text.split(" "):
        if line and len(line) + 1 + len(word) > width:
            lines.append(line)
            line = word
        else:
            line = f"{line} {word}" if line else word
    return "\n".join([*lines, line])


LONG = [
    f"{HEADER},cpuset=/,mems_allowed=0",
    "qemu: vmalloc error: size 4194304, page order 9, failed to allocate pages, mode:0xdc2(GFP_KERNEL|__GFP_ZERO)",
    "khugepaged: page allocation stalls for 10273ms, order:10, mode:0x4340ca(__GFP_HIGHMEM|__GFP_IO), nodemask=(null)",
    "tmux: server invoked oom-killer: gfp_mask=0x140cca(GFP_HIGHUSER_MOVABLE|__GFP_COMP), order=0, oom_score_adj=0",
    "SLUB: Unable to allocate memory on CPU 3 (of node 0) on node -1, gfp=0x800(GFP_NOWAIT)",
    "CPU: 2 UID: 0 PID: 10165 Comm: smartctl Kdump: loaded Not tainted 5.13.x-with-a-long-name.x86_64 #1",
    "Hardware name: Intel Corporation Jasper Lake Client Platform/0123456789ABCDEF, BIOS V1.20 11/04/2022",
    (
        "Node 0 active_anon:8696kB inactive_anon:8548kB active_file:4468908kB shmem_thp: 0kB anon_thp: 0kB"
        " writeback_tmp:0kB kernel_stack:3904kB all_unreclaimable? no"
    ),
    (
        "Node 0 DMA32 free:69548kB min:13736kB low:17168kB high:20600kB active_anon:635260kB isolated(anon):0kB"
        " free_cma:0kB"
    ),
    "Node 0 Normal: 58860*4kB (UME) 48155*8kB (UME) 11414*16kB (UME) 1291*32kB (UME) 134*64kB (UME) 0*128kB = 853192kB",
    "[<c008a3ac>] (__alloc_pages_nodemask+0x74c/0x8f8) from [<c00b2e8c>] (cache_alloc_refill+0x328/0x620)",
    "mhi_fw_load_handler+0x126/0x340 [mhi a96cb91daba500cc77f86bad60c1f332dc3babdf]",
    "[<ffffffffa007b9ca>] ? e1000_clean_rx_irq_with_a_long_name+0x1ea/0x29a [e1000e]",
    "vmalloc: allocation failure, allocated 4097114112 of 17179934720 bytes",
    "lowmem_reserve[]: 0 1684 15742 15742 15742 15742 15742 15742 15742 15742 15742 15742 15742",
    "[c1c55870] [c04543c8] ZSTD_compressContinue_internal_with_a_long_name+0x734/0x7c0 (unreliable)",
    "[<c0226835>] (kmalloc_order_trace) from [<c047ddf5>] (zstd_init_compress_ctx+0x51/0xfc)",
    "cache: tw_sock_TCPv6(960:helper-logs), object size: 232, buffer size: 240, default order: 1, min order: 0",
    "oom-kill:constraint=CONSTRAINT_NONE,nodemask=(null),cpuset=/,mems_allowed=0,global_oom,task_memcg=/,task=f,pid=1,uid=0",
]


@pytest.mark.parametrize("prefix", ["", "[ 1234.567890] ", "kernel: ", "> [ 1234.567890] ", "4,1,5,-;"])
@pytest.mark.parametrize("width", [72, 76, 78])
@pytest.mark.parametrize("line", LONG)
def test_a_mail_program_s_break_is_undone(line: str, width: int, prefix: str) -> None:
    wrapped = wrap(prefix + line, width)
    if prefix.startswith(">"):
        wrapped = wrapped.replace("\n", "\n> ")
    found = read(f"{prefix}Call Trace:\n{wrapped}\n{prefix}Call Trace:\n")
    assert [record.text for record in found] == ["Call Trace:", line, "Call Trace:"]
    assert found[1].raw == wrapped
    assert found[1].offset == len(prefix) + 12


@pytest.mark.parametrize("line", LONG)
def test_a_terminal_s_break_is_undone(line: str) -> None:
    cut = "[ 1234.567890] " + line
    cut = "\n".join(cut[at : at + 80] for at in range(0, len(cut), 80))
    found = texts(f"{cut}\n[ 1234.567890] Call Trace:\n")
    # In the middle of a word nothing belongs, between two words a blank: which, the edge does not always tell.
    assert len(found) == 2
    assert found[0].replace(" ", "") == line.replace(" ", "")


@pytest.mark.parametrize("prefix", ["", "[ 1234.567890] ", "Feb 14 15:24:15 svn3 kernel: "])
def test_complete_lines_are_never_joined(prefix: str) -> None:
    chance = random.Random(3)
    more = [
        "swapper: page allocation failure. order:1, mode:0x20",
        "vmalloc: allocation failure, allocated 4097114112 of 17179934720 bytes",
        "vmalloc: allocation failure: 17179934720 bytes",
        "Pid: 0, comm: swapper Not tainted 2.6.32-431.el6.x86_64 #1",
        "Call Trace:",
        "<IRQ>  [<ffffffff810c1533>] ? warn_alloc_failed+0x10a/0x11d",
        "[<c0100159>]",
        "Mem-Info:",
        "active_anon:240 inactive_anon:11673 isolated_anon:0",
        "active_file:104199 inactive_file:53064 isolated_file:0",
        "unevictable:0 dirty:366 writeback:0",
        "slab_reclaimable:15980 slab_unreclaimable:2599",
        "mapped:9755 shmem:3251 pagetables:229 bounce:0",
        "free:67531 free_pcp:71 free_cma:3073",
        "lowmem_reserve[]: 0 6144 0",
        "Node 0 hugepages_total=2 hugepages_free=2 hugepages_surp=0 hugepages_size=2048kB",
        "160520 total pagecache pages",
        "Swap cache stats: add 0, delete 0, find 0/0",
        "Free swap  = 0kB",
        "node 0: slabs: 5, objs: 170, free: 0",
        "eth0: link up",
        "",
    ]
    lines = [prefix + line for line in LONG + more] * 20
    chance.shuffle(lines)
    assert len(texts("\n".join(lines))) == len(lines)


@pytest.mark.parametrize(
    "prose",
    [
        "I get this all day:",
        "which I took from",
        "> and the rest of the log is below, thank you very much in advance for any help (",
        "Call Trace:",
        "<..snip..>",
        "[...]",
        "#0  __delay (loops=0x186a0) at arch/powerpc/kernel/time.c:470",
    ],
)
def test_prose_is_no_part_of_a_line(prose: str) -> None:
    found = texts(f"{prose}\n{HEADER}\n{prose}\n{HEADER},cpuset=/,mems_allowed=0\n{prose}\n")
    assert found[1] == HEADER
    assert found[3] == f"{HEADER},cpuset=/,mems_allowed=0"


def test_properties_of_a_kmsg_record_are_lines_of_their_own() -> None:
    record = "6,1,5,-;pci 0000:00:1f.2: a message that is as long as a wrapped line may be"
    assert texts(f"{record}\n SUBSYSTEM=pci\n DEVICE=+pci:0000:00:1f.2\n")[1:] == [
        "SUBSYSTEM=pci",
        "DEVICE=+pci:0000:00:1f.2",
    ]


@needs_corpus
def test_headers_of_the_corpus() -> None:
    index = real.rows()
    seen = 0
    for row in index:
        data = (EVENTS.parent / row["file"]).read_bytes()
        starts = [0, *(at + 1 for at, byte in enumerate(data) if byte == 0x0A)]
        by_offset: dict[int, str] = {}
        for record in records([data]):
            by_offset.setdefault(record.offset, record.text)
        for event in row["events"]:
            if event["line"] is None:
                continue
            text = by_offset[starts[event["line"] - 1]]
            assert text.startswith(event.get("comm") or ""), row["file"]
            assert (event.get("mode") or "") in text, row["file"]
            assert all(flag in text for flag in event.get("gfp_symbolic") or []), row["file"]
            seen += 1
    assert seen > 50


def test_a_wrapped_prefix() -> None:
    head = "2024-04-04T09:15:22.017185+00:00 db-01.example.org kernel:"
    for broken in (f"{head} [   \n7.315081] a", f"{head}\n[63905623.663930] a", f"> {head}\n> [63905623.663930] a"):
        found = read(f"{broken}\n{broken}\n")
        assert [(record.text, record.host) for record in found] == [("a", "db-01.example.org")] * 2
        assert found[1].offset == len(broken) + 1


@pytest.mark.parametrize("line", ['{"MESSAGE": "a', "__REALTIME_TIMESTAMP=17", "}", "_PID=1"])
def test_a_damaged_container_is_no_continuation(line: str) -> None:
    header = "Jan 17 14:49:21 box kernel: qemu-system-x86: page allocation failure:"
    assert texts(f"{header}\n{line}=\n") == ["qemu-system-x86: page allocation failure:", f"{line}="]
    assert texts(f"{HEADER}\n{line}=\n") == [HEADER, f"{line}="]


def test_an_empty_record_of_the_journal() -> None:
    log = "".join(json.dumps({**JOURNAL, "MESSAGE": message}) + "\n" for message in (HEADER, "", "Call Trace:"))
    assert texts(log) == [HEADER, "", "Call Trace:"]


@pytest.mark.parametrize(
    ("line", "text"),
    [
        ("&gt; &gt;&gt; [ 1.5] a &amp; b", "a & b"),
        ("4,1,5,-;\\x09 [<c0012d24>] f+0x1/0x2", "[<c0012d24>] f+0x1/0x2"),
    ],
)
def test_escaped(line: str, text: str) -> None:
    assert one(line).text == text


def test_a_console_s_prompt_in_a_container_names_no_host() -> None:
    log = [json.dumps({"log": f"{prompt}[ 1.5] a\n", "time": "2024-01-01"}) for prompt in ("box login: ", "")]
    assert {record.host for record in read("\n".join(log))} == {None}


def test_pieces_of_a_header() -> None:
    log = "tail: page allocation failure: order:5\n, mode:0x1400000(GFP_NOIO), nodemask=0-1\n"
    assert texts(log) == ["tail: page allocation failure: order:5, mode:0x1400000(GFP_NOIO), nodemask=0-1"]
    assert texts(f"tail:\n{HEADER[11:]}\n") == [f"tail: {HEADER[11:]}"]


@pytest.mark.parametrize(
    "header", ["swapper: page allocation failure: order:1, mode:0x20", "SLUB: Unable to allocate memory on node -1"]
)
def test_a_header_without_a_prefix_goes_on_with_nothing_but_a_name(header: str) -> None:
    line = "Mar  4 05:00:02 node7 kernel: [    2.000000] cma_alloc is set to 2 of 2 and more"
    assert texts(f"{line}\n{header}\n") == [line[45:], header]
    line = "Mar  4 05:00:02 a-node-with-a-name-of-some-length kernel: [    2.000000] Web"
    assert texts(f"{line}\nContent: {header[9:]}\n") == [f"Web Content: {header[9:]}"]


# --- invariants ---

FRAGMENTS = [
    *(
        "#012",
        "#011",
        "#033[1m",
        "#033]x",
        "\\n",
        "\\r",
        "\\x0a",
        "\\x09",
        "<br>",
        "<bR/>",
        "&lt;",
        "&gt;",
        "&nbsp;",
        "&amp;",
    ),
    *(">", "|", " ", "  ", "\t", '"', "{", "}", '"message": "a"', '{"log":"x"}', '{\t"msg" : "y"}', '\t"log":"z",'),
    *(
        "\r",
        "\x00",
        "\x1b[2K",
        "\x7f",
        "\x0b",
        "\u00a0",
        "\ufeff",
        "\u2007",
        "\u3000",
        "\u00e9",
        "\x85",
        "]",
        "[ 1.5] a",
    ),
    *("Feb 14 15:24:15 box kernel: ", "last message repeated 2 times", "4,1,5,-;", "__CURSOR=s", "MESSAGE=b"),
]


@given(st.lists(st.sampled_from(FRAGMENTS), max_size=6).map("".join))
def test_the_fast_reader_gives_what_the_careful_one_gives(line: str) -> None:
    # So that what stands beside a line in a block cannot change how it is read.
    for data in (line.encode(), line.encode("utf-16-le")):
        if b"\n" not in data and not _dirty(data):
            assert _plain(Splitter(), data, 0) == [
                line for piece in open_line(data.decode("utf-8", "replace"), 0) for line in Splitter().split(piece)
            ]


@given(st.lists(st.sampled_from([*FRAGMENTS, "\n", "\n"]), max_size=12).map("".join))
def test_a_block_is_dirty_where_a_line_is(text: str) -> None:
    data = text.encode()
    assert _dirty(data) or not any(_dirty(line) for line in data.split(b"\n"))


@given(st.lists(st.sampled_from(["a b ", "x" * 9, "\n", "\r\n", "x" * 40]), max_size=40).map("".join), st.data())
def test_long_lines_are_cut_at_the_same_place(text: str, chosen: st.DataObject) -> None:
    data = text.encode()
    cut = chosen.draw(st.integers(0, len(data)))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(reading, "LINE_LIMIT", 32)
        patch.setattr(reading, "_BLOCK", 16)
        assert list(records([data[:cut], data[cut:]])) == list(records([data]))


@given(
    st.lists(
        st.sampled_from([*LONG, "[ 1.5] a", "{", "> ", "\n", "\n", "\\n", "#012", "\r", "\x1b[", "\xff", '"', " "])
    )
)
def test_the_cut_of_the_chunks_makes_no_difference(parts: list[str]) -> None:
    data = "".join(parts).encode("latin-1")
    whole = list(records([data]))
    assert list(records([data[at : at + 7] for at in range(0, len(data), 7)])) == whole
    for record in whole:
        record.text.encode()
        record.raw.encode()


@needs_corpus
def test_the_cut_of_the_corpus_makes_no_difference() -> None:
    for file in real.events()[::7]:
        data = file.read_bytes()
        assert list(records([data[at : at + 1000] for at in range(0, len(data), 1000)])) == list(records([data]))


# --- files ---

LOG = b"[ 1.5] line of a log\n" * 40_000


def collect(path: Path) -> tuple[bytes, str | None]:
    data = bytearray()
    try:
        for chunk in open_input(str(path)):
            assert len(chunk) <= CHUNK
            data += chunk
    except InputError as error:
        return bytes(data), str(error)
    return bytes(data), None


PACKED = {"gzip": gzip.compress(LOG), "xz": lzma.compress(LOG), "zstd": zstandard.compress(LOG), "plain": LOG}
ALONE = lzma.compress(LOG, format=lzma.FORMAT_ALONE)


@pytest.mark.parametrize("form", PACKED)
def test_packed(form: str, tmp_path: Path) -> None:
    path = tmp_path / "log"
    path.write_bytes(PACKED[form])
    assert collect(path) == (LOG, None)
    path.write_bytes(PACKED[form] * 2)
    assert collect(path) == (LOG * 2, None)


@pytest.mark.parametrize("form", ["gzip", "xz", "zstd"])
def test_damaged(form: str, tmp_path: Path) -> None:
    packed = PACKED[form]
    path = tmp_path / "log"
    for data in (packed[:-5], packed[: len(packed) // 2], packed + b"something else", packed[:60] + b"\xff" * 40):
        path.write_bytes(data)
        found, message = collect(path)
        assert b"\xff" in data[-40:] or LOG.startswith(found)
        assert message is not None
        assert form in message
        assert "\n" not in message
    path.write_bytes(packed + b"something else")
    assert collect(path)[0] == LOG


@pytest.mark.parametrize("size", [None, len(LOG)])
def test_lzma_without_a_container(tmp_path: Path, size: int | None) -> None:
    """Its end is marked, or its size stands in front, as 7-Zip writes it."""
    path, packed = tmp_path / "log", ALONE
    if size is not None:
        packed = packed[:5] + size.to_bytes(8, "little") + packed[13:]
    path.write_bytes(packed)
    assert collect(path) == (LOG, None)
    for data in (packed[: len(packed) // 2], packed + packed, packed + b"something else"):
        path.write_bytes(data)
        found, message = collect(path)
        assert LOG.startswith(found)
        assert "lzma data" in str(message)
    path.write_bytes(lzma.compress(LOG, format=lzma.FORMAT_ALONE, preset=9))
    assert f"more than 32 MiB; try: xz -dc {path} | allocfail decode -" in str(collect(path)[1])


@pytest.mark.parametrize("text", [LOG, b"", b"]", b"]" * 50, b"]\0\0\x80\0" + b"\xff" * 8 + b"x", b"\xff\xfe]\0" * 9])
def test_text_is_not_taken_for_lzma(text: bytes) -> None:
    assert packing(text) is None


def test_large_windows_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "log"
    path.write_bytes(lzma.compress(LOG, preset=8))
    assert collect(path) == (LOG, None)
    path.write_bytes(lzma.compress(LOG, preset=9))
    assert "more than 32 MiB" in str(collect(path)[1])
    for size, fits in ((25, True), (27, False)):
        parameters = zstandard.ZstdCompressionParameters.from_level(3, window_log=size)
        packer = zstandard.ZstdCompressor(compression_params=parameters).compressobj()
        path.write_bytes(packer.compress(LOG) + packer.flush())
        found, message = collect(path)
        assert (found == LOG) is fits
        assert fits or "more than 32 MiB" in str(message)


def test_what_cannot_be_opened(tmp_path: Path) -> None:
    for name in (str(tmp_path), str(tmp_path / "none"), "", "a\0b", "\x1b[31m"):
        with pytest.raises(InputError) as caught:
            open_input(name)
        assert str(caught.value).isprintable()
    (tmp_path / "empty").touch()
    assert collect(tmp_path / "empty") == (b"", None)
