"""How lines reach a file: every prefix and container that loggers put around what the kernel printed."""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import random

    from dumpgen.model import Dump

__all__ = ["PREFIXES", "Shipping", "ship"]


@dataclass
class Shipping:
    """What stands around the lines: the machine, its clock, and who printed."""

    rng: random.Random
    host: str
    start: dt.datetime
    uptime: float
    caller: str
    comm: str
    pid: int
    cpu: int
    sequence: int = 4711

    def at(self, number: int) -> dt.datetime:
        """When record `number` was printed (a few microseconds after the one before)."""
        return self.start + dt.timedelta(microseconds=7 * number)

    def stamp(self, number: int) -> str:
        """The printk time of record `number`: ``  123.456789``."""
        return f"{self.uptime + 7e-6 * number:12.6f}"


def _split(text: str, write: Callable[[str], str]) -> list[str]:
    """Loggers that know no records write each line of one with the same prefix."""
    return [write(line) for line in text.split("\n")]


def _syslog_time(when: dt.datetime) -> str:
    return f"{when:%b} {when.day:2} {when:%H:%M:%S}"


def _escape(text: str) -> str:
    r"""``/dev/kmsg`` writes what is not printable ASCII, and backslashes, as ``\xNN`` (kernel/printk/printk.c)."""
    return "".join(chr(byte) if 32 <= byte < 127 and byte != 92 else f"\\x{byte:02x}" for byte in text.encode())


def _kmsg(s: Shipping, number: int, text: str, *, caller: str = "", facility: int = 0, flag: str = "-") -> str:
    micros = int((s.uptime + 7e-6 * number) * 1e6)
    return f"{facility * 8 + 4},{s.sequence + number},{micros},{flag}{caller};{_escape(text)}"


def _iso(when: dt.datetime, *, digits: int = 6, zone: str = "Z", comma: str = ".") -> str:
    fraction = f"{comma}{when.microsecond:06d}"[: digits + 1] if digits else ""
    return f"{when:%Y-%m-%dT%H:%M:%S}{fraction}{zone}"


def _journal(s: Shipping, number: int, text: str, **more: str) -> str:
    when = s.at(number)
    row = {
        "__REALTIME_TIMESTAMP": str(int(when.timestamp() * 1e6)),
        "_HOSTNAME": s.host,
        "_TRANSPORT": "kernel",
        "SYSLOG_IDENTIFIER": "kernel",
        "SYSLOG_FACILITY": "0",
        "PRIORITY": "4",
        "_SOURCE_MONOTONIC_TIMESTAMP": str(int((s.uptime + 7e-6 * number) * 1e6)),
        "MESSAGE": text,
    } | more
    return json.dumps(row)


def _journal_short(text: str, head: str) -> list[str]:
    """``journalctl`` indents the further lines of a record by the width of its prefix."""
    first, *rest = text.split("\n")
    return [head + first, *[" " * len(head) + line for line in rest]]


def _export(s: Shipping, number: int, text: str) -> list[str]:
    when = s.at(number)
    if "\n" in text:
        # The export format gives such a field's length in binary; its textual cousin is one line a field.
        text = text.replace("\n", " ")
    return [
        f"__CURSOR=s=0123456789abcdef;i={number:x};b=42",
        f"__REALTIME_TIMESTAMP={int(when.timestamp() * 1e6)}",
        f"_HOSTNAME={s.host}",
        "_TRANSPORT=kernel",
        "SYSLOG_IDENTIFIER=kernel",
        "SYSLOG_FACILITY=0",
        f"MESSAGE={text}",
        "",
    ]


Writer = Callable[[Shipping, int, str], list[str]]


def _lines(make: Callable[[Shipping, int], str]) -> Writer:
    return lambda s, number, text: _split(text, lambda line: make(s, number) + line)


def _ecs(s: Shipping, number: int, line: str) -> str:
    row = {
        "@timestamp": _iso(s.at(number), digits=3),
        "host": {"hostname": s.host},
        "message": line,
        "ecs": {"version": "8.11.0"},
    }
    return json.dumps(row)


WRITERS: dict[str, Writer] = {
    "none": lambda _s, _n, text: text.split("\n"),
    "level": _lines(lambda _s, _n: "<4>"),
    "printk": _lines(lambda s, n: f"[{s.stamp(n)}] "),
    "level_printk": _lines(lambda s, n: f"<4>[{s.stamp(n)}] "),
    "printk_thread": _lines(lambda s, n: f"[{s.stamp(n)}][{s.caller:>6}] "),
    "level_printk_thread": _lines(lambda s, n: f"<4>[{s.stamp(n)}][{s.caller:>6}] "),
    "ctime": _lines(lambda s, n: f"[{s.at(n):%a %b} {s.at(n).day:2} {s.at(n):%H:%M:%S %Y}] "),
    "dmesg_x": _lines(lambda s, n: f"kern  :warn  : [{s.stamp(n)}] "),
    "dmesg_x_ctime": _lines(lambda s, n: f"kern  :warn  : [{s.at(n):%a %b} {s.at(n).day:2} {s.at(n):%H:%M:%S %Y}] "),
    "dmesg_iso": _lines(lambda s, n: _iso(s.at(n), zone="+00:00", comma=",") + " "),
    "dmesg_delta": _lines(lambda s, n: f"[{s.stamp(n)} <{7e-6:12.6f}>] "),
    "dmesg_reltime": _lines(
        lambda s, n: f"[{s.at(n):%b}{s.at(n).day:2} {s.at(n):%H:%M}] " if n == 0 else "[  +0.000007] "
    ),
    "kernel_tag": _lines(lambda s, n: f"kernel: [{s.stamp(n)}] "),
    "syslog": _lines(lambda s, n: f"{_syslog_time(s.at(n))} {s.host} kernel: "),
    "syslog_printk": _lines(lambda s, n: f"{_syslog_time(s.at(n))} {s.host} kernel: [{s.stamp(n)}] "),
    "busybox": _lines(lambda s, n: f"{_syslog_time(s.at(n))} {s.host} kern.warn kernel: [{s.stamp(n)}] "),
    "syslog_pri": _lines(lambda s, n: f"<4>{_syslog_time(s.at(n))} {s.host} kernel: [{s.stamp(n)}] "),
    "syslog_double": _lines(lambda s, n: f"{_syslog_time(s.at(n))} {s.host} kernel: : [{s.stamp(n)}] "),
    "iso_syslog": _lines(lambda s, n: f"{_iso(s.at(n), zone='+00:00')} {s.host} kernel: [{s.stamp(n)}] "),
    "rfc5424": _lines(lambda s, n: f"<4>1 {_iso(s.at(n))} {s.host} kernel - - - [{s.stamp(n)}] "),
    "kmsg": lambda s, n, text: [_kmsg(s, n, text)],
    "kmsg_caller": lambda s, n, text: [_kmsg(s, n, text, caller=f",caller={s.caller}")],
    "kmsg_forged": lambda s, n, text: [_kmsg(s, n, text, facility=1)],
    "netconsole": lambda s, n, text: [_kmsg(s, n, text)],
    "journal_short": lambda s, n, text: _journal_short(text, f"{_syslog_time(s.at(n))} {s.host} kernel: "),
    "journal_iso": lambda s, n, text: _journal_short(
        text, f"{_iso(s.at(n), digits=0, zone='+0000')} {s.host} kernel: "
    ),
    "journal_precise": lambda s, n, text: _journal_short(
        text, f"{_syslog_time(s.at(n))}.{s.at(n).microsecond:06d} {s.host} kernel: "
    ),
    "journal_monotonic": lambda s, n, text: _journal_short(text, f"[{s.stamp(n)}] {s.host} kernel: "),
    "journal_json": lambda s, n, text: [_journal(s, n, text)],
    "journal_json_remote": lambda s, n, text: [_journal(s, n, text, _TRANSPORT="syslog")],
    "journal_export": _export,
    "docker": lambda s, n, text: _split(
        text, lambda line: json.dumps({"log": f"[{s.stamp(n)}] {line}\n", "stream": "stdout", "time": _iso(s.at(n))})
    ),
    "cri": _lines(lambda s, n: f"{_iso(s.at(n))} stderr F [{s.stamp(n)}] "),
    "ecs": lambda s, n, text: _split(text, lambda line: _ecs(s, n, line)),
    "message_json": lambda s, n, text: _split(text, lambda line: json.dumps({"message": f"[{s.stamp(n)}] {line}"})),
    "logcat": _lines(
        lambda s, n: f"{s.at(n):%m-%d %H:%M:%S}.{s.at(n).microsecond // 1000:03d}     0     0 W kernel  : "
    ),
    "logcat_brief": _lines(lambda _s, _n: "W/kernel  (    0): "),
    "mediatek": _lines(lambda s, n: f"<4>[{s.stamp(n)}]  ({s.cpu})[{s.pid}:{s.comm}]"),
    "vendor": _lines(lambda s, _n: f"[{s.cpu}:{s.comm:>15}:{s.pid:5}] "),
    "vendor_printk": _lines(lambda s, n: f"[{s.stamp(n)}] [{s.cpu}:{s.comm:>15}:{s.pid:5}] "),
}
PREFIXES = sorted(WRITERS)

# What a prefix tells beside the text. Times without a year or zone are not in `dated`.
HOSTED = {
    "syslog", "syslog_printk", "syslog_pri", "syslog_double", "busybox", "iso_syslog", "rfc5424", "journal_short",
    "journal_iso",
    "journal_precise", "journal_monotonic", "journal_json", "journal_json_remote", "journal_export",
}  # fmt: skip
DATED = {
    "ctime", "dmesg_x_ctime", "dmesg_iso", "iso_syslog", "rfc5424", "journal_iso", "journal_json",
    "journal_json_remote", "journal_export",
    "docker", "cri", "ecs",
}  # fmt: skip
YEARLESS = {"syslog", "busybox", "syslog_printk", "syslog_pri", "syslog_double", "journal_short", "journal_precise"}
PROVENANCE = {
    "kmsg": "kernel",
    "kmsg_caller": "kernel",
    "kmsg_forged": "forged",
    "journal_json": "kernel",
    "journal_export": "kernel",
}


def shipping(rng: random.Random, dump: Dump, **fixed: Any) -> Shipping:
    """Draw the machine that printed a dump; keyword arguments fix what is given."""
    values: dict[str, Any] = {
        "host": rng.choice(("svn3", "db-01.example.org", "node7", "10.1.2.3", "kernel", "localhost")),
        "start": dt.datetime(2024, 1, 1, tzinfo=dt.UTC)
        + dt.timedelta(seconds=rng.randrange(30_000_000), microseconds=rng.randrange(900_000)),
        "uptime": rng.choice((rng.random() * 10, rng.random() * 1e5, rng.random() * 9e7)),
        "caller": f"T{dump.facts.get('pid', 1)}" if rng.random() < 0.5 else f"C{dump.facts.get('cpu', 0)}",
        "comm": dump.facts.get("comm", "x"),
        "pid": dump.facts.get("pid", 1),
        "cpu": dump.facts.get("cpu", 0),
    }
    return Shipping(rng, **(values | fixed))


def ship(rng: random.Random, dump: Dump, prefix: str, **fixed: Any) -> None:
    """Write a dump's records as `prefix` does into ``dump.lines``, and add what the prefix tells to the truth."""
    shipped = shipping(rng, dump, **fixed)
    write = WRITERS[prefix]
    dump.prefix = prefix
    dump.lines = [line for number, record in enumerate(dump.records) for line in write(shipped, number, record.text)]
    dump.facts |= {"host": shipped.host, "year": shipped.start.year}
    for event in dump.events:
        when = shipped.at(event.first)
        if prefix != "netconsole":
            # Over the wire a /dev/kmsg record looks the same and proves less.
            event.truth["allocfail"]["provenance"] = PROVENANCE.get(prefix, "plausible")
        if prefix in HOSTED or prefix == "ecs":
            event.truth.setdefault("host", {})["hostname"] = shipped.host
        else:
            event.absent.append("host.hostname")
        if prefix in DATED | YEARLESS:
            event.facts["timestamp"] = when.isoformat()
            event.facts["year_needed"] = prefix in YEARLESS
        elif prefix not in {"logcat", "dmesg_reltime"}:
            event.absent.append("@timestamp")
