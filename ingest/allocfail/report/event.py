"""What is said of an event, or of several equal ones, to a person: the answer first, then the facts.

This module knows what is said; :mod:`allocfail.report.layout` knows how it looks.
"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any, NamedTuple

from allocfail import facts
from allocfail.decoder.fields import at
from allocfail.terminal import printable

if TYPE_CHECKING:
    from collections.abc import Iterator

    from allocfail.report.groups import Group

__all__ = ["Line", "answer", "facts_of", "headline", "judgement", "link", "misled", "steps", "vmalloc_request"]


#: Longer numbers are printed as they stand.
_DIGITS = 40


class Line(NamedTuple):
    """One thing said."""

    label: str
    """What it is about; empty where it goes on with what stands above."""
    text: str
    style: str = ""
    """``title``, a severity, ``command`` or ``link`` (to be copied: never broken); else plain."""


def _said(value: object) -> str:
    return printable(str(value))


def _joined(*pairs: tuple[str, object]) -> str:
    return ", ".join(f"{name} {value}" if name else str(value) for name, value in pairs if value is not None)


def _named(value: Any) -> str | None:
    """Return a name of the log; None for none, and for what a fingerprint puts in the place of none."""
    return str(value) if isinstance(value, str) and value.strip(" _") else None


def headline(document: dict[str, Any]) -> str:
    """Return an event in one line: what failed, where, for what request."""
    own = document["allocfail"]
    kind = str(own.get("kind", "event"))
    allocator = own.get("slab", {}).get("allocator", "slab")
    what = kind.replace("_", " ").replace("oom", "OOM").replace("slab", allocator)
    task = _named(at(document, "process.name"))
    if kind == "oom_kill":
        victim = _named(at(own, "oom.victim"))
        details = [f"of {victim}" if victim else "", f"asked for by {task}" if task and task != victim else ""]
        return _said(" ".join([what, *(d for d in details if d)]))
    if kind == "slab_allocation_failure":
        cache_name = _named(at(own, "slab.cache"))
        return _said(what + (f": cache {cache_name}" if cache_name else ""))
    where = _named(own.get("site")) or task
    owner = f" ({own['subsystem']})" if "subsystem" in own and "site" in own else ""
    order = f"order {own['order']}" if "order" in own and "vmalloc" not in own else ""
    place = f" in {where}{owner}" if where else ""
    name = at(own, "gfp.name")
    return _said(what + (f": {order}" if order else "") + place + (f", {name}" if name else ""))


def link(article: dict[str, Any], *, served: bool) -> str:
    """Return where to read an article: its address where pages are served, else the command that shows it here."""
    if served and "url" in article:
        return _said(article["url"])
    _, _, anchor = str(article.get("url", "")).partition("#")
    return _said(f"allocfail kb show {article['id']}{'#' + anchor if anchor else ''}")


def answer(document: dict[str, Any], group: Group | None = None, *, served: bool = False) -> Iterator[Line]:
    """Yield what a person needs first: how bad, why, what to do and what not, where to read on.

    ``served``: the addresses of articles lead somewhere; else the command that shows an article stands for them.
    """
    own = document["allocfail"]
    yield Line("", headline(document), "title")
    if group is not None and group.count > 1:
        yield Line("seen", _said(group.seen()))
    yield from judgement(own["verdict"], own["kind"], group)
    label = "read"
    for article in own.get("kb", ())[:2]:
        yield Line(label, _said(article["title"]))
        yield Line("", link(article, served=served), "link")
        label = ""


def judgement(verdict: dict[str, Any], kind: str, group: Group | None = None) -> Iterator[Line]:
    """Yield how bad it was, why, what to do and what not."""
    if "severity" in verdict:
        reason = verdict.get("severity_reason")
        said = f"{verdict['severity']}: {reason}" if reason else str(verdict["severity"])
        yield Line("severity", _said(said), str(verdict["severity"]))
    if "cause" in verdict:
        yield Line("cause", _said(f"{verdict['cause']}: {verdict.get('summary', '')}"))
    if group is not None:
        for count, text in group.others():
            yield Line("", _said(f"{count} of them: {text}"))
    if verdict.get("unknown"):
        yield Line("not known", _said("; ".join(verdict["unknown"])))
    yield from advice(verdict, kind)


def advice(verdict: dict[str, Any], kind: str) -> Iterator[Line]:
    """Yield what to do, the first of it in full, and what not to do."""
    actions = steps(verdict, kind)
    if actions:
        first = actions[0]
        yield Line("do", _said(first["action"]))
        if first.get("command"):
            yield Line("", _said(first["command"]), "command")
        cost = f"costs: {first['cost']}" if first.get("cost") not in (None, "none") else ""
        check = f"check: {first['check']}" if first.get("check") else ""
        if cost or check:
            yield Line("", _said("; ".join(part for part in (cost, check) if part)))
    for action in actions[1:]:
        yield Line("or", _said(action["action"]))
        if action.get("command"):
            yield Line("", _said(action["command"]), "command")
    for text in avoid(verdict, kind):
        yield Line("do not", _said(text))


def steps(verdict: dict[str, Any], kind: str) -> list[dict[str, Any]]:
    """Return what to do: the verdict's remedies, else how to find out more."""
    remedies = list(verdict.get("actions", ()))
    if remedies or "cause" not in verdict:
        return remedies
    return [next(rule for rule in _look() if _fits(rule, verdict, kind))]


def _fits(rule: dict[str, Any], verdict: dict[str, Any], kind: str) -> bool:
    return (
        kind in rule.get("kinds", (kind,))
        and verdict["cause"] in rule.get("causes", (verdict["cause"],))
        and ("unknown" not in rule or rule["unknown"] in verdict.get("unknown", ()))
    )


@cache
def _look() -> list[dict[str, Any]]:
    rules: list[dict[str, Any]] = facts.load()["verdict"]["look"]
    return rules


@cache
def _avoid() -> list[dict[str, Any]]:
    rules: list[dict[str, Any]] = facts.load()["verdict"]["avoid"]
    return rules


def avoid(verdict: dict[str, Any], kind: str) -> Iterator[str]:
    """Yield what would not help, with the reason."""
    yield from misled(verdict.get("cause"), kind)
    setting = verdict.get("zone_reclaim_mode")
    if setting in ("cannot-act", "may-hurt"):
        effect = "it cannot act here" if setting == "cannot-act" else "it may hurt"
        reason = verdict.get("zone_reclaim_reason")
        yield f"set vm.zone_reclaim_mode: {effect}" + (f"; {reason}" if reason else "")


def misled(cause: str | None, kind: str) -> Iterator[str]:
    """Yield what would not help beside vm.zone_reclaim_mode."""
    for rule in _avoid():
        if cause in rule.get("causes", ()) or kind in rule.get("kinds", ()):
            yield rule["text"]


def facts_of(document: dict[str, Any]) -> Iterator[Line]:  # noqa: C901 - a branch for each line shown
    """Yield what the log says of an event."""
    own = document["allocfail"]
    host = at(document, "host.hostname") or at(document, "log.syslog.hostname")
    when = document.get("@timestamp")
    if when is not None or host is not None:
        yield Line("when and where", _said(_joined(("", when), ("on", host))))
    process = at(document, "process.name")
    if process is not None:
        yield Line("task", _said(_joined(("", process), ("PID", at(document, "process.pid")), ("CPU", own.get("cpu")))))
    kernel = at(document, "host.os.kernel")
    if kernel is not None:
        yield Line("kernel", _said(_joined(("", kernel), ("", own.get("tainted")))))
    for taint in own.get("taints", ()):
        yield Line("", _said(taint))
    yield from _request(own)
    site = own.get("site")
    if site is not None:
        owner = f" ({own['subsystem']})" if "subsystem" in own else ""
        sure = "" if own.get("site_reliable") else ", from a trace of guesses"
        yield Line("call site", _said(f"{site}{owner}{sure}"))
    context = at(own, "trace.context")
    if context is not None:
        yield Line("context", _said(context))
    modules = at(own, "trace.modules")
    if modules:
        yield Line("modules", _said(", ".join(modules)))
    label = "why it failed"
    for reason in at(own, "verdict.gave_up") or ():
        yield Line(label, _said(reason))
        label = ""
    yield from _memory(own)
    if own.get("suppressed"):
        yield Line("suppressed", _said(f"{own['suppressed']} reports before this one"))
    if own.get("repeated"):
        yield Line("repeated", _said(f"{own['repeated']} times more"))
    if own.get("complete") is False:
        yield Line("incomplete", _said(own.get("incomplete_reason", "")))
    if own.get("provenance") == "forged":
        yield Line("provenance", "forged: user space wrote this record, not the kernel")
    yield Line("group", _said(own["fingerprint"]["id"]))


def _request(own: dict[str, Any]) -> Iterator[Line]:  # noqa: C901 - a branch for each line shown
    vmalloc = own.get("vmalloc")
    pages = own.get("pages")
    if vmalloc is not None:
        yield Line("asked for", _said(vmalloc_request(vmalloc)))
    elif own.get("order", -1) >= 0:  # -1: a kill by hand
        size = f"order {own['order']}"
        if pages is not None:
            size += ": 1 page" if pages == 1 else f": {pages} adjacent pages"
        yield Line("asked for", _said(size))
    slab = own.get("slab")
    if slab is not None:
        yield Line("slab cache", _said(_joined(("", slab.get("cache")), ("object size", slab.get("object_size")))))
    oom = own.get("oom")
    if oom is not None:
        yield Line("killed", _said(_joined(("", oom.get("victim", "not in the log")), ("PID", oom.get("victim_pid")))))
    if "stalled_ms" in own:
        yield Line("waited", _said(f"{own['stalled_ms']} ms"))
    mask = own.get("gfp", {})
    if "mask" in mask:
        name = mask.get("name") or ("one of several readings" if mask.get("candidates") else "no flags")
        yield Line("GFP mask", _said(f"{mask['mask']} = {name}" + (f" ({mask['table']})" if "table" in mask else "")))
        if mask.get("flags"):
            yield Line("", _said(" ".join(mask["flags"])))
        if "conflict" in mask:
            yield Line("conflict", _said(mask["conflict"]))
    if mask:
        sleeps = {True: "yes", False: "no", None: "depends on the kernel"}[mask.get("may_sleep")]
        if any(reason.startswith("reclaimer ") for reason in at(own, "verdict.gave_up") or ()):
            sleeps = "its mask says yes, but it was reclaiming memory itself"
        yield Line("may sleep", sleeps)


def _grouped(number: object) -> str:
    """Return a whole number, or one kept as text, with a comma before every three digits."""
    digits = str(number)
    return f"{int(digits):,}" if digits.isascii() and digits.isdigit() and len(digits) <= _DIGITS else digits


def vmalloc_request(vmalloc: dict[str, Any]) -> str:
    """Return what a vmalloc failure asked for: where the line prints what had been obtained, that is said."""
    size = vmalloc.get("bytes", vmalloc.get("bytes_text"))
    obtained = vmalloc.get("allocated_bytes", vmalloc.get("allocated_bytes_text"))
    said = "vmalloc memory" if size is None or size == obtained else f"{_grouped(size)} bytes of vmalloc memory"
    if obtained is not None:
        said += f", of which {_grouped(obtained)} bytes had been obtained"
    if vmalloc.get("page_order"):
        said += f", in pages of order {vmalloc['page_order']}"
    return said + (f": {vmalloc['reason']}" if "reason" in vmalloc else "")


@cache
def _states() -> dict[str, str]:
    words: dict[str, str] = facts.load()["page"]["states"]
    return words


def _memory(own: dict[str, Any]) -> Iterator[Line]:
    memory = own.get("memory", {})
    states = {(z.get("node"), z["name"]): z for z in at(own, "verdict.zones") or ()}
    for zone in memory.get("zones", ()):
        where = f"Node {zone['node']} {zone['name']}" if "node" in zone else zone["name"]
        marks = _joined(*((name, zone.get(name + "_kb")) for name in ("free", "min", "low", "high")))
        judged = states.get((zone.get("node"), zone["name"]), {})
        said = f"{marks} kB" if marks else "no watermarks"
        if "usable_pages" in judged:
            said += f"; usable {judged['usable_pages']} pages, needed more than {judged['needed_pages']}"
        order = judged.get("largest_usable_order", zone.get("largest_free_order"))
        if order is not None:
            said += f"; largest {'usable' if 'largest_usable_order' in judged else 'free'} block order {order}"
        if "state" in judged:
            said += f"; {_states().get(judged['state'], judged['state'])}"
        yield Line(_said(where), _said(said))
    if "swap_total_kb" in memory:
        yield Line("swap", _said(f"{memory.get('swap_free_kb', '?')} of {memory['swap_total_kb']} kB free"))
