"""What every entry of the small fact files does, a line an entry, in ``facts.txt``: found by decoding, not by reading.

An entry that goes, comes or does something else changes the file; one without a probe here fails ``test_facts``.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import yaml

from allocfail.content import content_path
from allocfail.decoder.enrich import enrich
from allocfail.decoder.gfp import decode
from allocfail.logs import reading
from allocfail.logs.events import Options, decode_bytes
from golden import FOLDER, OPTIONS
from pieces import BANNER, at, decoded, frame, memory, only, page, trace

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["PATH", "PROBES", "UNPROBED", "committed", "entries", "lines"]

PATH = FOLDER / "facts.txt"
HEADER = "app: page allocation failure: order:1, mode:0xa20(GFP_ATOMIC), nodemask=(null)"
BODY = trace()
CRASH = [" crash_fn+0x10/0x20", " crash_caller+0x10/0x20"]


def _release(text: str) -> str:
    return BANNER.replace("5.4.0-42-generic", text)


def _architecture(suffix: str) -> Any:
    return at(only([HEADER, _release(f"5.4.0-42.{suffix}"), *BODY]), "host.architecture")


def _subsystem(prefix: str) -> Any:
    lines = [HEADER, BANNER, "Call Trace:", *(frame(name) for name in ("dump_stack", "warn_alloc", f"{prefix}zz"))]
    return at(only([*lines, frame("start_secondary")]), "allocfail.subsystem")


def _taint(letter: str) -> Any:
    banner = BANNER.replace("Not tainted", f"Tainted: {letter}")
    return at(only([HEADER, banner, *BODY]), "allocfail.taints")


def _total(end: str) -> Any:
    before = at(only(page(mem=memory())), "allocfail.memory")
    after = at(only(page(mem=[*memory()[:-1], f"4711{end}"])), "allocfail.memory")
    return sorted(after.keys() - before.keys()) or [name for name in after if after[name] == 4711]


def _nested(path: str, value: Any) -> dict[str, Any]:
    head, _, rest = path.partition(".")
    return {head: _nested(rest, value) if rest else value}


def _log(document: dict[str, Any]) -> dict[str, Any]:
    found = decode_bytes(json.dumps(document).encode() + b"\n", Options(year=2024))
    return found[0].document if found else {}


def _text(path: str) -> Any:
    nested, dotted = _log(_nested(path, HEADER)), _log({path: HEADER})
    assert at(nested, "message") == at(dotted, "message")
    return "a line's text" if at(nested, "message") == HEADER else None


def _host(path: str) -> Any:
    return "a line's host" if at(_log({"message": HEADER} | _nested(path, "h1")), "host.hostname") == "h1" else None


def _boot(path: str) -> Any:
    document = {"message": HEADER} | _nested(path, "5f1c")
    (event,) = decode_bytes(json.dumps(document).encode() + b"\n", OPTIONS)
    origin = event.event.head.origin
    return "a line's boot" if origin is not None and origin.boot == "5f1c" else None


def _time(path: str) -> Any:
    stamp = "1718520538783000" if "REALTIME" in path else "2024-06-16T06:48:58.783Z"
    found = at(_log({"message": HEADER, path: stamp}), "@timestamp")
    return "a line's time" if found == "2024-06-16T06:48:58.783Z" else None


def _own(document: dict[str, Any], line: str) -> bool:
    return line in str(at(document, "event.original")).split("\n")


def _report(start: str) -> Any:
    document = only([HEADER, f"{start}something", BANNER, "Call Trace:", *CRASH])
    return "another report" if at(document, "allocfail.trace") is None else None


def _trace_start(start: str) -> Any:
    document = only([HEADER, start, *BODY[1:]])
    return "a trace's beginning" if at(document, "error.stack_trace").startswith(start) else None


def _noise(start: str) -> Any:
    line = f"{start} something"
    return "the event's own line" if _own(only([HEADER, line, BANNER, *BODY]), line) else None


def _marker(marker: str) -> Any:
    line = f" {marker}" if not marker.startswith("---") else f"{marker}: 300"
    document = only([HEADER, BANNER, *BODY[:-1], line, frame("far_away"), frame("start_secondary")])
    does = ["in the trace" if line.strip() in at(document, "error.stack_trace").split("\n") else "no line of it"]
    if "far_away" not in at(document, "allocfail.fingerprint.text"):
        does.append("a boundary")
    early = only([HEADER, BANNER, BODY[0], line, *BODY[1:]])
    if at(early, "allocfail.trace.context") == "nmi":
        does.append("an NMI's")
    return ", ".join(does)


def _memory_end(end: str) -> Any:
    line = f"4711{end}"
    return "its own line" if _own(only(page(mem=[*memory()[:-1], line])), line) else None


def _memory_whole(end: str) -> Any:
    complete = [at(only(page(mem=[*memory()[:-1], *more])), "allocfail.complete") for more in ([], [f"4711{end}"])]
    return "whole" if complete == [False, True] else complete


def _memory_start(start: str) -> Any:
    line = f"{start} 0 0"
    return "its own line" if _own(only(page(mem=[*memory()[:2], line, *memory()[2:]])), line) else None


def _lost(entry: list[str]) -> Any:
    before, after = entry
    line = f"{before}13{after}" if after else before
    return at(only([HEADER, BANNER, *BODY[:3], line, *BODY[4:]]), "allocfail.incomplete_reason")


def _joined(first: str, second: str) -> Any:
    """Return the first line that is read out of two physical ones, where it is both."""
    text = next(iter(reading.records([f"{first}\n{second}\n".encode()]))).text
    return text if text != first else "a line of its own"


#: Of each wording of a header a line of it, with its mask.
_HEADERS = {
    "page allocation failure": HEADER,
    "page allocation stalls": "app: page allocation stalls for 10000ms, order:0, mode:0xcc0(GFP_KERNEL)",
    "vmalloc error: size": "app: vmalloc error: size 4096, failed to map pages, mode:0xcc0(GFP_KERNEL)",
    "vmalloc: allocation failure": "app: vmalloc: allocation failure: 4096 bytes, mode:0xcc0(GFP_KERNEL)",
    "invoked oom-killer:": "app invoked oom-killer: gfp_mask=0xcc0(GFP_KERNEL), order=0",
    "Unable to allocate memory on": "SLUB: Unable to allocate memory on node -1, gfp=0xcc0(GFP_KERNEL)",
}


def _wrap_header(words: str) -> Any:
    """What a header becomes that is cut within its wording."""
    line = _HEADERS.get(words)
    if line is None:
        return None
    cut = line.find(words) + words.find(" ")
    return _joined(line[:cut], line[cut + 1 :]) == line


def _wrap_mask(mask: str) -> Any:
    line = next(line for line in _HEADERS.values() if f" {mask}" in line)
    cut = line.find(mask) + len(mask) - 2
    return _joined(line[:cut], line[cut:]) == line


def _wrap_more(word: str) -> Any:
    first = "app: page allocation failure: order:1, mode:0xcc0" + ("" if word.startswith("(") else ",")
    return _joined(first, f"{word}7)").removeprefix(first)


def _wrap_start(start: str) -> Any:
    """Whether a line that begins so goes on with one that a mail program had to break."""
    first = "Feb 14 15:24:15 h kernel: something of a length at which mail is broken"
    return _joined(first, f"{start}something").removeprefix(first.partition("kernel: ")[2])


def _wrap_end(end: str) -> Any:
    """Whether a line that ends so goes on with one that would not have fitted."""
    first = f"Feb 14 15:24:15 h kernel: something that begins a line{end}"
    return _joined(first, "something-long-enough-not-to-fit").removeprefix(first.partition("kernel: ")[2])


def _killed(word: str) -> Any:
    first = "Out of memory: Killed process 12 (victim)"
    return _joined(first, f"{word}7").removeprefix(first)


def _neighbours(pair: str) -> Any:
    one, two = pair.split(" ")
    first = f"x:1 {one}:11"
    return _joined(first, f"{two}:22 y:3").removeprefix(first)


def _red_hat(mark: str) -> Any:
    return decode("0x1200000", release=f"3.10.0-1160{mark}{'' if mark.startswith('.') else '113'}").table


def _not_red_hat(mark: str) -> Any:
    return decode("0x1200000", release=f"3.10.0-1160.{mark}.el7.x86_64").table


#: A mask of each flag on a kernel that has it, for a slab report that adds it to its page request's GFP_ATOMIC.
def _follows(flag: str) -> Any:
    from dumpgen import KERNELS, masks  # noqa: PLC0415 - only here

    for kernel in KERNELS:
        if kernel.arch == "x86_64" and kernel.at_least("2.6.32") and not kernel.distribution:
            bits = masks.epoch(kernel)
            value = bits["bits"].get(flag) or bits["composites"].get(flag)
            if value:
                mask = bits["composites"]["GFP_ATOMIC"]
                pair = [
                    f"app: page allocation failure: order:1, mode:{hex(mask)}",
                    f"SLUB: Unable to allocate memory on node -1 (gfp={hex(mask | value)})",
                ]
                found = decoded(pair, kernel=kernel.release)
                return "followed" if at(found[1], "allocfail.follows") else "not followed"
    return "on no kernel"


def _month(name: str) -> Any:
    return at(only([HEADER], f"{name} 14 15:24:15 h kernel: "), "@timestamp")


def _weekday(name: str) -> Any:
    return at(only([HEADER], f"[{name} Feb 14 15:24:15 2011] "), "@timestamp")


def _source(field: str) -> Any:
    document = enrich(_nested(field, HEADER), OPTIONS) or {}
    return "read" if at(document, "allocfail.order") == 1 else None


def _line_end(sign: str) -> Any:
    document = enrich({"message": sign.join([HEADER, BANNER, *BODY])}, OPTIONS) or {}
    return "a line's end" if at(document, "allocfail.site") == "my_alloc" else None


def _within(sign: str) -> Any:
    """What a sign in a header is: nothing, a blank, or the beginning of a terminal's sequence."""
    if sign in {"\x1b", "#033"}:
        [document] = decoded([HEADER.replace("app", f"{sign}[1mapp{sign}[0m", 1)])
        return "begins a sequence" if at(document, "process.name") == "app" else None
    inside = decoded([HEADER.replace("order:1", f"order:1{sign}")])
    if at((inside or [{}])[0], "allocfail.gfp.mask") == "0xa20":
        return "nothing"
    blank = decoded([HEADER.replace(" order", f"{sign}order")])
    return "a blank" if at((blank or [{}])[0], "allocfail.gfp.mask") == "0xa20" else None


def _entity(spelled: list[str]) -> Any:
    """The name of a process that is spelled so, in a text where something shows that it is HTML's."""
    line = "Feb 14 15:24:15 host kernel: " + HEADER.replace("app", f"a{spelled[0]}b", 1) + "&nbsp;"
    [document] = decoded([line])
    return at(document, "process.name")


#: Of each list of facts what an entry does, found by decoding something with it.
PROBES: dict[str, Callable[[Any], Any]] = {
    "architectures.suffixes": _architecture,
    "containers.boots": _boot,
    "containers.hosts": _host,
    "containers.texts": _text,
    "containers.times": _time,
    "gfp.red_hat.marks": _red_hat,
    "gfp.red_hat.not": _not_red_hat,
    "memory.totals": _total,
    "reading.controls": _within,
    "reading.entities": _entity,
    "reading.fields": _source,
    "reading.line_ends": _line_end,
    "reading.nothing": _within,
    "reading.spaces": _within,
    "reading.tab_signs": _within,
    "subsystems.prefixes": _subsystem,
    "taints.letters": _taint,
    "times.months": _month,
    "times.weekdays": _weekday,
    "verdict.follows_ignore": _follows,
    "wording.boundary_start": _marker,
    "wording.lost": _lost,
    "wording.markers.boundary": _marker,
    "wording.markers.nmi": _marker,
    "wording.markers.interrupt": _marker,
    "wording.markers.other": _marker,
    "wording.memory_end": _memory_end,
    "wording.memory_start": _memory_start,
    "wording.memory_whole": _memory_whole,
    "wording.noise_start": _noise,
    "wording.report_start": _report,
    "wording.trace_start": _trace_start,
    "wraps.ends": _wrap_end,
    "wraps.glued": _wrap_more,
    "wraps.headers": _wrap_header,
    "wraps.killed": _killed,
    "wraps.masks": _wrap_mask,
    "wraps.more": _wrap_more,
    "wraps.neighbours": _neighbours,
    "wraps.starts": _wrap_start,
    "wraps.within": _wrap_start,
}
#: Lists whose entries are held elsewhere, and where.
UNPROBED = {
    "allocator": "test_verdict",
    "articles": "test_articles and test_kb",
    "carriers": "test_lines and test_sweep",
    "containers.confined": "test_provenance",
    "containers.expected": "test_provenance",
    "containers.facilities": "test_carriers and test_provenance",
    "containers.identifiers": "test_carriers and test_provenance",
    "containers.others": "test_carriers",
    "containers.transports": "test_carriers and test_provenance",
    "containers.uptimes": "test_carriers",
    "page": "test_html",
    "times.local": "test_prefixes",
    "wording.failed": "test_verdict",
    "wraps.sizes": "test_faults",
    "frames": "test_frames",
    "gfp": "test_gfp and test_gfp_tables",
    "gfp_meanings": "test_gfp: every flag has one",
    "needles": "test_scan",
    "reading": "limits and what Painless cannot write: test_enrich and test_pipelines",
    "verdict": "test_verdict",
    "zone_reclaim": "test_zone_reclaim",
}


def _read(file: str) -> dict[str, Any]:
    facts: dict[str, Any] = yaml.safe_load(content_path(f"kb/facts/{file}.yml").read_text(encoding="utf-8"))
    return {name: value for name, value in facts.items() if name not in {"about", "sources"}}


def entries(name: str) -> list[Any]:
    """Return the entries of a list such as ``wording.markers.nmi``; of a mapping its keys."""
    file, *rest = name.split(".")
    value: Any = _read(file)
    for key in rest:
        value = value[key]
    return list(value)


def committed() -> list[str]:
    """Return the lines as committed."""
    return PATH.read_text(encoding="utf-8").splitlines()


def lines() -> list[str]:
    """Return a line for every entry in the facts or in the file, from what it does now."""
    decoder = json.JSONDecoder()
    known: dict[str, list[Any]] = {}
    for line in committed() if PATH.is_file() else []:
        name, _, rest = line.partition(" ")
        known.setdefault(name, []).append(decoder.raw_decode(rest)[0])
    found = []
    for name, probe in PROBES.items():
        there = entries(name)
        for entry in [*there, *(one for one in known.get(name, []) if one not in there)]:
            does = json.dumps(probe(entry)) if entry in there else "not in the facts"
            found.append(f"{name} {json.dumps(entry)}: {does}")
    return found
