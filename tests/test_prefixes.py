"""Prefixes that nobody listed: a dump reads the same behind any of them, and prose about one stays silent."""

from __future__ import annotations

import random
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import dumpgen
from allocfail.decoder.enrich import enrich
from allocfail.logs.events import Options, decode_bytes
from dumpgen import KERNELS, reports
from dumpgen.compare import dump_differences
from invariants import documents
from pieces import at, only

Prefix = Callable[[int], str]

#: Behind these stands something that framing knows: printk's time, a tag, a date.
BEFORE_KNOWN: dict[str, Prefix] = {
    "compose": lambda n: f"klog-1  | [ 12.{n:06d}] ",
    "line number": lambda n: f"{n + 5}: [ 12.{n:06d}] ",
    "line number, tab": lambda n: f"{n + 5}\t[ 12.{n:06d}] ",
    "glog": lambda n: f"I1125 10:00:{n % 60:02d}.000000       1 kmsg: [ 12.{n:06d}] ",
    "pipe to logger": lambda n: f"<13>[{n}] klogd> [ 12.{n:06d}] ",
    "local month": lambda n: f"Okt 31 10:{n // 60:02d}:{n % 60:02d} h1 kernel: ",
    "French": lambda n: f"févr. 03 10:{n // 60:02d}:{n % 60:02d} h1 kernel: ",
    "Chinese": lambda n: f"12月 18 10:{n // 60:02d}:{n % 60:02d} h1 kernel: [ 12.{n:06d}] ",
    "no such month": lambda n: f"xyz 18 10:{n // 60:02d}:{n % 60:02d} h1 kernel: ",
    "host left out": lambda n: f"Jan  4 10:{n // 60:02d}:{n % 60:02d} ... kernel: [ 12.{n:06d}] ",
    "host starred": lambda n: f"Jan  4 10:{n // 60:02d}:{n % 60:02d} *** kernel: [ 12.{n:06d}] ",
    "host taken out": lambda n: f"Jan  4 10:{n // 60:02d}:{n % 60:02d} <host> kernel: [ 12.{n:06d}] ",
    "host in brackets": lambda n: f"Jan  4 10:{n // 60:02d}:{n % 60:02d} [redacted] kernel: [ 12.{n:06d}] ",
    "seconds": lambda n: f"[{n}s] [ 12.{n:06d}] ",
    "printk seconds": lambda n: f"[ 12.{n:06d}s] ",
    "HiSilicon": lambda n: f"Jan  4 10:{n // 60:02d}:00 h1 kernel: [pid:7,cpu3,init]",
    "kernel twice": lambda n: f"Jan  4 10:{n // 60:02d}:00 h1 kernel: : ",
    "bullet": lambda n: f"• [ 12.{n:06d}] ",
    "dash": lambda n: f"- [ 12.{n:06d}] ",
    "hash": lambda n: f"# [ 12.{n:06d}] ",
    "quotation mark": lambda n: f'"[ 12.{n:06d}] ',
    "paragraph": lambda n: f"<p>[ 12.{n:06d}] ",
}
#: Nothing that is known stands in them: the shape of the lines behind the header decides.
WITHOUT: dict[str, Prefix] = {
    "slashes": lambda n: f"2026/03/04 05:06:{n % 60:02d} node7 kmsg ",
    "brackets": lambda n: f"[node7/kern.warn/{n}] ",
    "level": lambda n: f"WARN {n} node7 ",
    "words": lambda n: f"klog node7 stage2 {n} ",
    "braces": lambda n: f"{{1}} klog({n}) ",
    "semicolons": lambda n: f"2026-03-04;05:06:{n % 60:02d};node7;kern;",
}
#: A program that is not the kernel says that it wrote the lines, as in ``dmesg | logger``.
TAGGED: dict[str, Prefix] = {
    "logger": lambda n: f"Mar  4 05:06:{n % 60:02d} h1 root: ",
    "logger -i": lambda n: f"Mar  4 05:06:{n % 60:02d} h1 root[{n}]: ",
    "logger -t": lambda n: f"Mar  4 05:06:{n % 60:02d} h1 kern-log.1: ",
    "facility": lambda n: f"Mar  4 05:06:{n % 60:02d} h1 user.notice root: ",
    "ISO": lambda n: f"2026-03-04T05:06:{n % 60:02d}.5+01:00 h1 root: ",
    "ISO, pid": lambda n: f"2026-03-04T05:06:{n % 60:02d}.5+01:00 h1 dmesg[{n}]: ",
    "ISO without a host": lambda n: f"2026-03-04T05:06:{n % 60:02d}Z root: ",
    "level": lambda n: f"<13>Mar  4 05:06:{n % 60:02d} h1 netcons: ",
    "level, no host": lambda n: f"<13>Mar  4 05:06:{n % 60:02d} root: ",
    "level alone": lambda _: "<13>netcons: ",
    "journald's ForwardToKMsg": lambda n: f"[  12.{n:06d}] root[{n}]: ",
    "nothing else": lambda _: "root: ",
    "with printk's time": lambda n: f"2026-03-04T05:06:{n % 60:02d}Z h1 root: [  12.{n:06d}] ",
}
CLOSED: dict[str, tuple[Prefix, str]] = {
    "logfmt": (lambda n: f'time="2026-03-04T05:06:{n % 60:02d}Z" level=warning msg="[ 12.{n:06d}] ', '"'),
    "CSV": (lambda n: f'"[ 12.{n:06d}] ', '"'),
    "paragraphs": (lambda n: f"<p>[ 12.{n:06d}] ", "</p>"),
    "bold": (lambda n: f"**[ 12.{n:06d}] ", "**"),
}


def shipped(seed: int, before: Prefix, behind: str = "") -> list[str]:
    """Say how what is decoded behind a prefix differs from the truth."""
    rng = random.Random(seed)
    kernel = rng.choice([kernel for kernel in KERNELS if kernel.at_least("3.10")])
    dump = reports.write(rng, kernel, "page", reports.Settings())
    lines = [line for record in dump.records for line in record.text.split("\n")]
    text = "".join(f"{before(number)}{line}{behind}\n" for number, line in enumerate(lines))
    return dump_differences(dump, documents(text.encode()))


@pytest.mark.parametrize("name", BEFORE_KNOWN)
def test_something_in_front_of_a_known_prefix(name: str) -> None:
    for seed in range(8):
        assert shipped(seed, BEFORE_KNOWN[name]) == [], seed


@pytest.mark.parametrize("name", TAGGED)
def test_a_program_s_tag_is_no_part_of_a_name(name: str) -> None:
    for seed in range(12):
        assert shipped(seed, TAGGED[name]) == [], seed
    header = "swapper: page allocation failure. order:1, mode:0x20"
    for line, task in (
        (header, "swapper"),
        ("tmux: server: page allocation failure: order:1, mode:0x20", "tmux: server"),
    ):
        (document,) = documents(f"{TAGGED[name](1)}{line}\n".encode())
        assert document["process"]["name"] == task
        assert document["allocfail"]["provenance"] == "plausible"
        assert document.get("host", {}).get("hostname") == ("h1" if " h1 " in TAGGED[name](1) else None)
    (document,) = documents(f"{TAGGED[name](1)}Out of memory: Killed process 7 (app) total-vm:1kB\n".encode())
    assert document["allocfail"]["kind"] == "oom_kill"
    assert document.get("host", {}).get("hostname") == ("h1" if " h1 " in TAGGED[name](1) else None)


@pytest.mark.parametrize(
    "front",
    ["", "[  12.000001] ", "Mar  4 05:06:07 h1 kernel: ", "2026-03-04T05:06:07Z ", "4,1,1000,-;", "12,1,1000,-;"],
)
def test_a_name_with_a_colon_stays_whole(front: str) -> None:
    for words in (": page allocation failure: order:1, mode:0x20", " invoked oom-killer: gfp_mask=0xd0, order=0"):
        (document,) = documents(f"{front}tmux: server{words}\n".encode())
        assert document["process"]["name"] == "tmux: server"


@pytest.mark.parametrize("name", WITHOUT)
def test_a_prefix_of_which_nothing_is_known(name: str) -> None:
    # What stands before the first line whose own beginning is certain (the banner) is not known to belong to it.
    lost = ("#0 allocfail.suppressed", "#0 allocfail.cpuset", "#0 allocfail.mems_allowed")
    for seed in range(8):
        assert [line for line in shipped(seed, WITHOUT[name]) if not line.startswith(lost)] == [], seed


@pytest.mark.parametrize("name", CLOSED)
def test_what_opens_in_front_and_closes_behind(name: str) -> None:
    before, behind = CLOSED[name]
    for seed in range(8):
        assert shipped(seed, before, behind) == [], seed


HEADER = "app: page allocation failure: order:2, mode:0xcc0(GFP_KERNEL), nodemask=(null),cpuset=/,mems_allowed=0"


@pytest.mark.parametrize("prefix", {**BEFORE_KNOWN, **{name: before for name, (before, _) in CLOSED.items()}}.values())
def test_a_header_alone(prefix: Prefix) -> None:
    (document,) = documents((prefix(3) + HEADER + "\n").encode())
    assert document["process"]["name"] == "app"
    assert document["message"] == HEADER
    made = enrich({"message": prefix(3) + HEADER})
    assert made is not None
    assert made["process"]["name"] == "app"


@pytest.mark.parametrize("prefix", ["2026/03/04 05:06:07 node7 kmsg ", "05:06:07 node7 some thing "])
def test_a_name_is_not_invented(prefix: str) -> None:
    (document,) = documents((prefix + HEADER + "\n").encode())
    assert "name" not in document.get("process", {})
    assert document["message"] == HEADER.removeprefix("app: ")
    assert document["allocfail"]["task_unclear"] is True
    assert document["allocfail"]["fingerprint"]["text"].endswith("|comm=_")
    banner = f"{prefix}CPU: 1 PID: 9 Comm: app Not tainted 5.4.0 #1\n"
    (document,) = documents((prefix + HEADER + "\n" + banner).encode())
    assert document["process"] == {"name": "app", "pid": 9}
    assert document["message"] == HEADER


def test_a_user_s_tag_is_no_part_of_a_name() -> None:
    for tag in ("root: ", "root[123]: ", "my-app: "):
        (document,) = documents(f"Mar  4 05:06:07 node7 {tag}{HEADER}\n".encode())
        assert document["process"]["name"] == "app"
        assert document["host"]["hostname"] == "node7"


def test_a_line_quoted_in_front_of_its_log_is_the_same_event() -> None:
    line = "[ 12.345678] " + HEADER
    banner = "[ 12.345699] CPU: 1 PID: 9 Comm: app Not tainted 5.4.0 #1"
    log = f"it says\n\n**{line}**\n\nand in full\n\n**{line}**\n{banner}\n"
    (document,) = documents(log.encode())
    assert document["process"]["pid"] == 9


@pytest.mark.parametrize(
    "line",
    [
        f"I can see in the log {HEADER}",
        f"- {HEADER}",
        f"`{HEADER}`",
        f"Subject: Re: [PATCH] mm: {HEADER}",
        f"Bug 471112 - report of {HEADER}",
        f"the log says kernel: {HEADER}",
        f"h1 monit[12]: content match: {HEADER}",
        f'printk("{HEADER}")',
        f"/* {HEADER} */",
        f"+ {HEADER}",
    ],
)
def test_near_misses_without_a_body(line: str) -> None:
    assert documents(line.encode()) == []
    assert enrich({"message": line}) is None


def test_a_doubtful_header_counts_with_its_body() -> None:
    body = "CPU: 1 PID: 9 Comm: app Not tainted 5.4.0 #1\nCall Trace:\n dump_stack+0x1/0x2\n warn_alloc+0x1/0x2\n"
    for mark in ("**", "- ", "`", "> * "):
        (document,) = documents(f"{mark}{HEADER}\n{body}".encode())
        assert document["process"] == {"name": "app", "pid": 9}
    # Another task's body makes no header of it; its own lost header is another event.
    found = documents(f"- {HEADER}\n{body.replace('Comm: app', 'Comm: other')}".encode())
    assert [document["allocfail"]["incomplete_reason"] for document in found] == ["no header"]


def test_a_journal_s_line_of_which_somebody_took_the_host() -> None:
    lines = [
        "kernel: earlyoom: page allocation failure: order:0, mode:0x800(GFP_NOWAIT), nodemask=(null)",
        "kernel: CPU: 5 PID: 84786 Comm: earlyoom Not tainted 5.9.0-0.rc4.5.fc34.x86_64+debug #1",
        "kernel: Call Trace:",
        "kernel:  dump_stack+0x8b/0xb8",
        "kernel:  warn_alloc.cold+0x75/0xd9",
        "kernel:  __alloc_pages_slowpath.constprop.0+0x1139/0x1170",
    ]
    document = only(lines, "[21161.090000] ")
    assert document["process"] == {"name": "earlyoom", "pid": 84786}
    assert document["allocfail"]["order"] == 0
    assert document["allocfail"]["uptime"] == 21161.09
    assert "host" not in document or "hostname" not in document["host"]


BARE = "page allocation failure: order:9, mode:0x40c0(GFP_KERNEL|__GFP_COMP), nodemask=(null),cpuset=/,mems_allowed=0-1"


@pytest.mark.parametrize("prefix", ["", "Apr 09 03:11:44 dbhost01 kernel: ", "[  12.345678] "])
def test_a_header_without_a_name_counts_with_its_body(prefix: str) -> None:
    body = ["CPU: 28 PID: 18821 Comm: oracle Not tainted 5.4.17 #2", "Call Trace:", " dump_stack+0x1/0x2"]
    body += [" warn_alloc+0x1/0x2"]
    document = only([BARE, *body], prefix)
    assert document["process"] == {"name": "oracle", "pid": 18821}
    assert (document["allocfail"]["order"], document["message"]) == (9, f"oracle: {BARE}")
    document = only([BARE, *body[1:]], prefix)
    assert ("process" in document, document["allocfail"]["order"]) == (False, 9)
    assert documents(f"{prefix}{BARE}\n{prefix}usb 1-1: new device\n".encode()) == []


@pytest.mark.parametrize("name", ["xxxx", "XXXXXXXX", "***", "<name>", "[redacted]", "..."])
def test_a_name_that_somebody_hid_is_the_banner_s(name: str) -> None:
    lines = [
        f"{name}: page allocation failure: order:10, mode:0x2084020(GFP_ATOMIC|__GFP_COMP)",
        "CPU: 0 PID: 179 Comm: AiApp Not tainted 4.9.56 #53",
        "Call Trace:",
        "[<802f63f2>] dump_stack+0x1e/0x3c",
        "[<800f6cf4>] warn_alloc+0x100/0x148",
    ]
    document = only(lines, "[ 2161.600000] ")
    assert document["process"] == {"name": "AiApp", "pid": 179}
    assert document["allocfail"]["order"] == 10


def test_klogd_prints_offsets_in_decimal() -> None:
    lines = [
        "swapper: page allocation failure. order:1, mode:0x4020",
        " [__alloc_pages+800/832] __alloc_pages+0x320/0x340",
        " [__slab_alloc+293/1264] __slab_alloc+0x125/0x4f0",
        " [pg0+944049730/1067934720] ip_local_deliver_finish+0x0/0x180",
        " [<e0850a47>] rtl8169_rx_interrupt+0x567/0x590 [r8169]",
    ]
    document = only(lines, "Dec 16 17:27:03 web7 kernel: [ 1188.6] ")
    functions = ["__alloc_pages", "__slab_alloc", "ip_local_deliver_finish", "rtl8169_rx_interrupt"]
    assert document["allocfail"]["trace"]["functions"] == functions


def test_a_time_of_day_is_no_part_of_a_name() -> None:
    lines = ["zsh: page allocation failure: order:4, mode:0x40c40(GFP_NOFS)", "Call Trace:", " warn_alloc+0x1/0x2"]
    document = only(lines, "15:21:22 ")
    assert document["process"] == {"name": "zsh"}
    assert document["allocfail"]["trace"]["functions"] == ["warn_alloc"]
    (document,) = documents(f"15:21:22.123456 {HEADER}\n".encode())
    assert document["process"] == {"name": "app"}


def test_hardware_ends_where_the_next_line_was_glued_to_it() -> None:
    lines = [HEADER, "CPU: 4 PID: 9 Comm: app Not tainted 5.8.10 #1"]
    lines += ["Hardware name: Dell Inc. XPS 13 9360/0PVG6D, BIOS 2.13.0 11/14/2019  Call Trace:", " warn_alloc+0x1/0x2"]
    document = only(lines)
    assert document["allocfail"]["hardware"] == "Dell Inc. XPS 13 9360/0PVG6D, BIOS 2.13.0 11/14/2019"
    assert document["allocfail"]["trace"]["functions"] == ["warn_alloc"]


@pytest.mark.parametrize(
    ("before", "said"),
    [
        ("05:06:07.123 | ", {"name": "swapper/0"}),
        ("2024-03-04T05:06:07Z | ", {"name": "swapper/0", "time": "2024-03-04T05:06:07.000Z"}),
        ('level=warn ts=2024-03-04T05:06:07Z msg="', {"name": "swapper/0", "time": "2024-03-04T05:06:07.000Z"}),
        ("kern.warn kernel: [   12.345678] ", {"name": "swapper/0", "priority": 4}),
        ("[   12.345678] a>", {"name": "a>swapper/0"}),
    ],
)
def test_a_sign_in_front_is_no_part_of_a_name_and_a_level_is_no_host(before: str, said: dict[str, object]) -> None:
    line = f"{before}swapper/0: page allocation failure: order:1, mode:0x20\n"
    (event,) = decode_bytes(line.encode(), Options(year=2026))
    found = {
        "name": at(event.document, "process.name"),
        "host": at(event.document, "host.hostname"),
        "time": at(event.document, "@timestamp"),
        "priority": at(event.document, "log.syslog.priority"),
    }
    assert {key: value for key, value in found.items() if value is not None} == said


#: Prefixes that no list has, with a line's number, a second of it and an epoch.
UNLISTED = (
    "db3 ",
    "{epoch}.123 ",
    "#{n} ",
    "[kern.warn] ",
    "{n}: [node7.example.org] ",
    "[ERROR] +{n}.{n:03} ",
    "2024-03-04 12:00:{second:02},{n:03} INFO [{n}] ",
    "2024-03-04 12:00:{second:02},{n:03} {epoch}.123 ",
    "<web-01> ",
    "guest - linux| ",
    "(console) ",
    "T{n} ",
    "04/Mar/2024:05:06:{second:02} +0100 ",
    "04/Mar/2024:05:06:{second:02} +0100 host [ 5000.{n:06}] ",
    "kern - ",
    "{n}s [warning] ",
    "0x{n:04x} guest - db3 ",
    "WARN: klog - <web-01> ",
    "(serial) > +{n}.001 ",
    "kern.warn: #{n} ",
)


@pytest.mark.parametrize("prefix", UNLISTED)
@given(seed=st.integers(0, 2**32))
@settings(max_examples=12, deadline=None)
def test_any_prefix_in_front_of_every_line_of_a_dump(prefix: str, seed: int) -> None:
    dump = dumpgen.generate(random.Random(seed), prefix="none")
    lines = dump.text.rstrip("\n").split("\n")
    shipped = "".join(
        prefix.format(n=number, second=number % 60, epoch=1709500000 + number) + line + "\n"
        for number, line in enumerate(lines)
    )
    assert _said(shipped) == _said(dump.text)


#: What formats put around every line.
AROUND = (
    ('"', '"'),
    ('    "', '",'),
    ("'", "',"),
    ('1709500000,web,"', '"'),
    ("| ", " |"),
    ("<td>", "</td></tr>"),
    ("<p>", "</p>"),
    ("`", "`"),
    ("", "^M"),
    ("[ 5000.000001] ", '"]'),
    ("Mar  4 05:06:07 web kernel: [ 5000.000001] ", "</span>"),
)


@pytest.mark.parametrize(("front", "behind"), AROUND)
@given(seed=st.integers(0, 2**32))
@settings(max_examples=12, deadline=None)
def test_what_stands_around_every_line_of_a_dump(front: str, behind: str, seed: int) -> None:
    dump = dumpgen.generate(random.Random(seed), prefix="none")
    shipped = "".join(f"{front}{line}{behind}\n" for line in dump.text.rstrip("\n").split("\n"))
    assert _said(shipped) == _said(dump.text)


def test_what_stands_behind_a_line_is_kept_in_the_original() -> None:
    text = (
        '"swapper: page allocation failure: order:1, mode:0x20",\n"CPU: 0 PID: 0 Comm: swapper Not tainted 4.4.0 #1",\n'
    )
    (event,) = decode_bytes(text.encode(), Options(year=2026))
    assert event.document["event"]["original"] == text.rstrip("\n")
    assert event.document["message"] == "swapper: page allocation failure: order:1, mode:0x20"


def test_a_header_that_goes_on_in_the_next_line_keeps_its_comma() -> None:
    text = "swapper: page allocation failure: order:1,\nmode:0x20(GFP_ATOMIC)\n"
    (event,) = decode_bytes(text.encode(), Options(year=2026))
    assert event.document["allocfail"]["gfp"]["mask"] == "0x20"


def _said(text: str) -> list[tuple[object, ...]]:
    """Return what the events of a text are, but for where and when they were."""
    return [
        (
            event.document.get("process", {}).get("name"),
            *(event.document["allocfail"].get(name) for name in ("kind", "order", "complete", "gfp", "memory", "slab")),
            event.document["allocfail"]["fingerprint"]["id"],
        )
        for event in decode_bytes(text.encode(), Options(year=2026))
    ]
