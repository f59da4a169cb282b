"""One event as a report for a person at a terminal."""

from __future__ import annotations

import textwrap
from typing import TYPE_CHECKING, Any

from allocfail.decoder.fields import at
from allocfail.terminal import printable

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["render"]

_WIDTH = 20


def _row(name: str, value: object) -> str:
    return f"  {name:<{_WIDTH}}{printable(str(value))}"


def _words(*pairs: tuple[str, object]) -> str:
    return ", ".join(f"{name} {value}" if name else str(value) for name, value in pairs if value is not None)


def render(document: dict[str, Any], *, width: int | None = None) -> str:
    """Return the report of one event's document.

    ``width``: columns to wrap the verdict's sentences to; None leaves them whole, one a line.
    """
    own: dict[str, Any] = document["allocfail"]
    mark = own["fingerprint"]
    lines = [printable(document["event"]["reason"])]
    when = document.get("@timestamp")
    host = at(document, "host.hostname") or at(document, "log.syslog.hostname")
    lines.append(_row("when and where", _words(("", when or "no time in the log"), ("on", host))))
    process = at(document, "process.name")
    if process is not None:
        lines.append(_row("task", _words(("", process), ("PID", at(document, "process.pid")), ("CPU", own.get("cpu")))))
    kernel = at(document, "host.os.kernel")
    if kernel is not None:
        lines.append(_row("kernel", _words(("", kernel), ("", own.get("tainted")))))
    lines += [_row("", taint) for taint in own.get("taints", ())]
    lines += _request(own)
    site = own.get("site")
    if site is not None:
        owner = f" ({own['subsystem']})" if "subsystem" in own else ""
        sure = "" if own.get("site_reliable") else ", from a trace of guesses"
        lines.append(_row("call site", f"{site}{owner}{sure}"))
    context = at(own, "trace.context")
    if context is not None:
        lines.append(_row("context", context))
    modules = at(own, "trace.modules")
    if modules:
        lines.append(_row("modules", ", ".join(modules)))
    lines += _memory(own.get("memory", {}))
    if own.get("suppressed"):
        lines.append(_row("suppressed", f"{own['suppressed']} reports before this one"))
    if own.get("repeated"):
        lines.append(_row("repeated", f"{own['repeated']} times more"))
    if not own["complete"]:
        lines.append(_row("incomplete", own.get("incomplete_reason", "")))
    if own["provenance"] == "forged":
        lines.append(_row("provenance", "forged: user space wrote this record, not the kernel"))
    lines.append(_row("group", mark["id"]))
    for line in _verdict(own):
        lines += _wrapped(line, width)
    return "\n".join(lines) + "\n"


def _wrapped(line: str, width: int | None) -> list[str]:
    """Break a sentence at blanks; what follows the first line stands under its text."""
    if width is None or len(line) <= width:
        return [line]
    indent = "    " if line.startswith("  - ") else "  "
    return textwrap.wrap(line, max(width, 40), subsequent_indent=indent, break_long_words=False, break_on_hyphens=False)


def _request(own: dict[str, Any]) -> Iterable[str]:
    mask = own.get("gfp")
    if "order" in own:
        yield _row("asked for", f"order {own['order']}: {own.get('pages', '?')} contiguous pages")
    vmalloc = own.get("vmalloc")
    if vmalloc is not None:
        size = vmalloc.get("bytes", vmalloc.get("bytes_text"))
        yield _row(
            "asked for", _words(("", f"{size} bytes" if size is not None else None), ("", vmalloc.get("reason")))
        )
    slab = own.get("slab")
    if slab is not None:
        yield _row("slab cache", _words(("", slab.get("cache")), ("object size", slab.get("object_size"))))
    oom = own.get("oom")
    if oom is not None:
        yield _row("killed", _words(("", oom.get("victim", "not in the log")), ("PID", oom.get("victim_pid"))))
    if "stalled_ms" in own:
        yield _row("waited", f"{own['stalled_ms']} ms")
    if mask is not None:
        name = mask.get("name") or ("one of several readings" if mask.get("candidates") else "no flags")
        yield _row("GFP mask", f"{mask['mask']} = {name}" + (f" ({mask['table']})" if "table" in mask else ""))
        if mask.get("flags"):
            yield _row("", " ".join(mask["flags"]))
        sleeps = {True: "yes", False: "no", None: "depends on the kernel"}[mask.get("may_sleep")]
        yield _row("may sleep", sleeps)
        if "conflict" in mask:
            yield _row("conflict", mask["conflict"])


def _memory(memory: dict[str, Any]) -> Iterable[str]:
    zones = memory.get("zones", [])
    for zone in zones:
        where = f"Node {zone['node']} {zone['name']}" if "node" in zone else zone["name"]
        marks = _words(("free", zone.get("free_kb")), ("min", zone.get("min_kb")), ("low", zone.get("low_kb")))
        order = zone.get("largest_free_order")
        blocks = f"; largest free block order {order}" if order is not None else ""
        yield _row(where, f"{marks} kB{blocks}" if marks else f"no watermarks{blocks}")
    if "swap_total_kb" in memory:
        yield _row("swap", f"{memory.get('swap_free_kb', '?')} of {memory['swap_total_kb']} kB free")


def _verdict(own: dict[str, Any]) -> Iterable[str]:
    verdict = own["verdict"]
    yield ""
    yield f"  {printable(verdict['summary'])}"
    yield f"  vm.zone_reclaim_mode: {verdict['zone_reclaim_mode']}: {printable(verdict['zone_reclaim_reason'])}."
    for remedy in verdict.get("remedies", ()):
        yield f"  - {printable(remedy)}"
    for article in own.get("kb", ()):
        yield f"  read: {article['title']}"
        yield f"        {printable(article['url'])}"
