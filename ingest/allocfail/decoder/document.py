"""One event as one ECS document."""

from __future__ import annotations

from datetime import datetime, timedelta
from functools import cache, lru_cache
from typing import TYPE_CHECKING, Any

from allocfail import facts
from allocfail.decoder import gfp, knowledge, times
from allocfail.decoder.fingerprint import NOTHING_KEPT, Kept, fingerprint, keep
from allocfail.decoder.options import Options
from allocfail.decoder.trace import normalise
from allocfail.decoder.verdict import Case, judge

if TYPE_CHECKING:
    from allocfail.decoder.assembly import Dump
    from allocfail.decoder.memory import Memory
    from allocfail.decoder.records import Origin, Record
    from allocfail.decoder.trace import Trace

__all__ = ["Options", "build", "explain"]

#: What a signed 64-bit field of an index holds.
_LONG = 2**63 - 1
#: What the kernel says where addresses, not memory, are missing (mm/vmalloc.c).
_NO_ADDRESSES = ("use vmalloc=", "Address range restricted")
#: Orders above this are no order of any kernel; they are kept as text.
_MOST_ORDER = 63

_ACTIONS = {
    "page_allocation_failure": "page-allocation-failure",
    "page_allocation_stall": "page-allocation-stall",
    "slab_allocation_failure": "slab-allocation-failure",
    "vmalloc_allocation_failure": "vmalloc-allocation-failure",
    "oom_kill": "oom-kill",
}


@cache
def _architectures() -> tuple[tuple[str, str], ...]:
    return tuple(facts.load()["architectures"]["suffixes"].items())


@lru_cache(maxsize=256)
def architecture(release: str) -> str | None:
    """Return the machine (``uname -m``) that a release string names, None if it names none."""
    for suffix, machine in _architectures():
        at = release.rfind(suffix)
        if at > 0 and release[at - 1] in ".-":
            end = at + len(suffix)
            if end == len(release) or release[end] in "+.-":
                return machine
    return None


def _old(release: str | None, *, colon: bool) -> bool:
    """Whether x86 of this release printed no ``?`` before guesses: before 2.6.28 (arch/x86/kernel/dumpstack_64.c)."""
    if release is None:
        return not colon
    numbers: list[int] = []
    at = 0
    while len(numbers) < 3:
        end = at
        while end < len(release) and end - at < 6 and "0" <= release[end] <= "9":
            end += 1
        if end == at:
            break
        numbers.append(int(release[at:end]))
        if not release.startswith(".", end):
            break
        at = end + 1
    while len(numbers) < 3:
        numbers.append(0)
    return numbers < [2, 6, 28]


@lru_cache(maxsize=1024)
def _subsystem(name: str) -> str | None:
    """Return who owns a function outside a module: the longest known prefix of its name decides."""
    prefixes: dict[str, str] = facts.load()["subsystems"]["prefixes"]
    for end in range(len(name), 0, -1):
        owner = prefixes.get(name[:end])
        if owner is not None:
            return owner
    return None


def _whole(into: dict[str, Any], name: str, digits: str | None) -> None:
    """Put an integer of any size: under ``name``, or as text under ``name_text`` where an index can't hold it."""
    if digits is None:
        return
    digits = digits.lstrip("0") or "0"
    if len(digits) > 19 or int(digits) > _LONG:
        into[name + "_text"] = digits
    else:
        into[name] = int(digits)


def _completeness(dump: Dump, trace: Trace) -> tuple[bool, str | None]:
    memory = dump.memory.memory
    if dump.limit is not None:
        return False, dump.limit
    if dump.kind == "slab_allocation_failure":
        lines = dump.slab
        if lines.cache is not None and lines.nodes:
            return True, None
        return False, "truncated" if lines.cache is not None or lines.nodes else "header only"
    if dump.header is None:
        return False, "header only" if dump.precursor is not None else "no header"
    if not dump.traced and dump.banner is None and not memory.started:
        return False, "header only"
    if dump.mixed:
        return False, "interleaved"
    if dump.missed is not None:
        return False, f"missed {dump.missed} kernel messages" if dump.missed else "missed kernel messages"
    # From 3.10 on every architecture prints a banner, x86 alone since 2.6.24.
    colon = dump.header.colon and not (dump.trace.bannerless or any(f.callee for f in dump.trace.frames))
    banner = dump.banner is not None or not (colon or dump.header.names is not None)
    # Without symbols only what follows says that the trace had come to its end.
    reached = trace.outermost or (dump.addresses and memory.started and not trace.functions)
    cut = memory.started and not memory.whole
    if banner and reached and not cut and dump.traced:
        return True, None
    return False, "interleaved" if dump.interleaved else "truncated"


def _memory(memory: Memory) -> dict[str, Any]:
    out: dict[str, Any] = {}
    if memory.zones:
        out["zones"] = [dict(z) for z in memory.zones]
        frees = [z["free_kb"] for z in memory.zones if "free_kb" in z]
        if frees:
            out["free_kb"] = sum(frees)
        worst = None
        for zone in memory.zones:
            free, least = zone.get("free_kb"), zone.get("min_kb")
            if free is not None and least is not None and least > 0:
                part = abs(free) * 1000 // least * (1 if free >= 0 else -1)
                if worst is None or part < worst[0]:
                    worst = (part, zone)
        if worst is not None:
            zone = worst[1]
            out["worst_zone"] = f"Node {zone['node']} {zone['name']}" if "node" in zone else zone["name"]
        orders = [z["largest_free_order"] for z in memory.zones if "largest_free_order" in z]
        if orders:
            out["largest_free_order"] = max(orders)
    if memory.page_kb is not None:
        out["page_kb"] = memory.page_kb
    if memory.nodes:
        out["nodes"] = list(memory.nodes)
    if memory.counters:
        out["counters"] = dict(memory.counters)
    if memory.allocations:
        out["allocations"] = list(memory.allocations)
    out.update(memory.totals)
    return out


def _trace(dump: Dump, release: str | None) -> Trace:
    colon = dump.header is not None and (dump.header.colon or dump.header.names is not None)
    if dump.header is None or dump.kind in ("oom_kill", "slab_allocation_failure"):
        colon = True
    return dump.trace.build(old_release=_old(release, colon=colon))


def _stamp(time: str, origin: Origin | None, options: Options) -> str | None:
    reference = options.reference
    if origin is not None and origin.time is not None:
        # The container's own time says which year a line's date without one is of.
        own = times.resolve(origin.time, tz=options.timezone)
        if own is not None:
            reference = datetime.fromisoformat(own)
    return times.resolve(time, year=options.year, tz=options.timezone, reference=reference)


def build(dump: Dump, options: Options) -> dict[str, Any]:
    """Return the document of one event, as the contract orders its fields."""
    header = dump.header if dump.header is not None else dump.precursor
    banner = dump.banner
    first = dump.records[0]
    head: Record = dump.head or first
    origin = head.origin
    printed_release = banner.release if banner is not None else None
    release = printed_release or options.kernel or (origin.release if origin is not None else None)
    trace = _trace(dump, release)
    kept = NOTHING_KEPT if dump.mixed else keep(trace)
    kind = dump.kind
    own: dict[str, Any] = {"kind": kind}
    doc: dict[str, Any] = {}

    stamp = _stamp(head.time, origin, options) if head.time else None
    if stamp is not None:
        doc["@timestamp"] = stamp
        own["time_source"] = "log"
    if dump.head is not None:
        doc["message"] = head.text
    event: dict[str, Any] = {
        "kind": "event",
        "category": ["host"],
        "type": ["info"],
        "module": "allocfail",
        "dataset": "allocfail.event",
        "provider": "kernel",
        "action": _ACTIONS[kind],
    }
    if kind != "page_allocation_stall":
        event["outcome"] = "failure"
    event["original"] = "\n".join(r.raw for r in dump.records)
    doc["event"] = event

    comm = dump.comm
    host: dict[str, Any] = {}
    if head.host is not None:
        host["hostname"] = head.host
        doc["related"] = {"hosts": [head.host]}
    if release is not None:
        host["os"] = {"kernel": release}
        machine = architecture(release)
        if machine is not None:
            host["architecture"] = machine
    if host:
        doc["host"] = host
    process: dict[str, Any] = {}
    if comm is not None:
        process["name"] = comm
    if banner is not None and banner.pid is not None:
        process["pid"] = banner.pid
    if banner is not None and banner.uid is not None:
        process["user"] = {"id": str(banner.uid)}
    if process:
        doc["process"] = process
    log: dict[str, Any] = {}
    if options.file is not None:
        if options.file != "-":
            log["file"] = {"path": options.file}
        log["offset"] = first.offset
    if origin is not None and origin.priority is not None:
        log["syslog"] = {
            "priority": origin.priority,
            "facility": {"code": origin.priority >> 3},
            "severity": {"code": origin.priority & 7},
        }
    if log:
        doc["log"] = log

    order = header.order if header is not None else None
    source = None
    if kind == "vmalloc_allocation_failure":
        source = header if header is not None and header.reason is not None else dump.precursor
    if order is not None:
        if order > _MOST_ORDER:
            own["order_text"] = str(order)
        else:
            own["order"] = order
            if 0 <= order < _MOST_ORDER:
                own["pages"] = 1 << order
    if header is not None and header.stalled_ms is not None:
        _whole(own, "stalled_ms", str(header.stalled_ms))
    if source is not None:
        vmalloc: dict[str, Any] = {}
        _whole(vmalloc, "bytes", source.size)
        if source.reason == "failed to allocate pages":
            # What this line prints as the size is what had been obtained by then (mm/vmalloc.c, 5.12 and later).
            _whole(vmalloc, "allocated_bytes", source.size)
        _whole(vmalloc, "allocated_bytes", source.allocated)
        if source.reason is not None:
            vmalloc["reason"] = source.reason
        if source.page_order is not None:
            vmalloc["page_order"] = source.page_order
        own["vmalloc"] = vmalloc
    if kind == "slab_allocation_failure" and header is not None:
        own["slab"] = _slab(dump)
    oom = dump.oom
    if kind == "oom_kill":
        killed: dict[str, Any] = {}
        if oom.constraint is not None:
            killed["constraint"] = oom.constraint
        if oom.victim is not None:
            killed["victim"] = oom.victim
        if oom.victim_pid is not None:
            killed["victim_pid"] = oom.victim_pid
        if oom.memcg is not None:
            killed["memcg"] = oom.memcg
        if oom.limit_kb is not None:
            killed["limit_kb"] = oom.limit_kb
        if oom.task_memcg is not None:
            killed["task_memcg"] = oom.task_memcg
        score = oom.score_adj if oom.score_adj is not None else (header.score_adj if header is not None else None)
        if score is not None:
            killed["score_adj"] = score
        own["oom"] = killed

    mask = _gfp(dump, release)
    if mask is not None:
        own["gfp"] = mask.as_document()
    if header is not None:
        nodemask = header.nodemask if header.nodemask is not None else oom.nodemask
        cpuset = next((c for c in (header.cpuset, dump.cpuset, oom.cpuset) if c is not None), None)
        mems = next((m for m in (header.mems_allowed, dump.mems_allowed, oom.mems_allowed) if m is not None), None)
        if nodemask:
            own["nodemask"] = nodemask
        if cpuset:
            own["cpuset"] = cpuset
        if mems:
            own["mems_allowed"] = mems
    if banner is not None:
        if banner.cpu is not None:
            own["cpu"] = banner.cpu
        if banner.tainted is not None:
            own["tainted"] = banner.tainted
            taints = _taints(banner.tainted)
            if taints:
                own["taints"] = taints
    elif header is not None and header.cpu is not None:
        own["cpu"] = header.cpu
    if dump.hardware is not None:
        own["hardware"] = dump.hardware
    if dump.workqueue is not None:
        own["workqueue"] = dump.workqueue

    subsystem = None
    if trace.functions:
        fields: dict[str, Any] = {"functions": list(trace.functions), "reliable": list(trace.reliable)}
        if trace.modules:
            fields["modules"] = list(trace.modules)
        if trace.context is not None:
            fields["context"] = trace.context
        own["trace"] = fields
        doc["error"] = {"stack_trace": "\n".join(dump.trace.lines)}
    if kept.names:
        own["site"] = kept.names[0]
        own["site_reliable"] = any(trace.reliable)
        subsystem = kept.modules[0] or next((s for s in map(_subsystem, kept.names) if s is not None), None)
        if subsystem is not None:
            own["subsystem"] = subsystem
    if dump.memory.memory.started:
        memory = _memory(dump.memory.memory)
        if memory:
            own["memory"] = memory

    complete, reason = _completeness(dump, trace)
    own["complete"] = complete
    if reason is not None:
        own["incomplete_reason"] = reason
    if dump.suppressed is not None:
        own["suppressed"] = dump.suppressed
    if dump.repeated:
        own["repeated"] = dump.repeated
    own["provenance"] = (origin.provenance if origin is not None else None) or "plausible"

    _identify(doc, own, dump, kept=kept, subsystem=subsystem, name=mask.name if mask is not None else None)
    follows = _follows(dump, mask, release, options)
    if follows is not None:
        own["follows"] = follows
    _advise(doc, own, dump, _case(own, dump, trace=trace, kept=kept, mask=mask, release=release), options.kb_url)
    doc["tags"] = ["kernel-allocation-failure"]
    doc["allocfail"] = own
    return doc


def _identify(
    doc: dict[str, Any], own: dict[str, Any], dump: Dump, *, kept: Kept, subsystem: str | None, name: str | None
) -> None:
    mark = fingerprint(
        dump.kind,
        order=dump.header.order if dump.header is not None and dump.kind.startswith("page_") else None,
        comm=dump.comm,
        cache_=dump.slab.cache,
        constraint=dump.oom.constraint,
        victim=dump.oom.victim,
        kept=kept,
    )
    own["fingerprint"] = {
        "id": mark.id,
        "version": "af1",
        "level": mark.level,
        "text": mark.text,
        "title": mark.title,
        "header": {"id": mark.header_id, "text": mark.header_text},
    }
    doc.setdefault("error", {})["id"] = mark.id
    reason = mark.title
    if subsystem is not None and mark.level == "trace":
        reason += f" ({subsystem})"
    if name is not None:
        reason += f", {name}"
    doc["event"]["reason"] = reason


def _case(
    own: dict[str, Any], dump: Dump, *, trace: Trace, kept: Kept, mask: gfp.Gfp | None, release: str | None
) -> Case:
    """Return what the verdict is made from."""
    header = dump.header
    before = dump.precursor.reason if dump.precursor is not None else None
    vmalloc = own.get("vmalloc", {})
    reason = vmalloc.get("reason")
    callers: tuple[str, ...] = ()
    if kept.site >= 0 and (mask is None or mask.may_sleep is not False):
        callers = tuple(normalise(trace.functions[i]) for i in range(kept.site, trace.boundary) if trace.reliable[i])
    head = dump.head
    return Case(
        kind=dump.kind,
        order=own.get("order"),
        mask=mask.mask if mask is not None else None,
        gfp_name=mask.name if mask is not None else None,
        readings=_flag_readings(mask),
        may_sleep=mask.may_sleep if mask is not None else None,
        names=header is not None and header.names is not None,
        period=header is not None and header.kind == "page_allocation_failure" and not header.colon,
        release=release,
        arch=architecture(release) if release is not None else None,
        hardware=dump.hardware,
        comm=dump.comm,
        nodemask=own.get("nodemask"),
        mems_allowed=own.get("mems_allowed"),
        context=trace.context,
        site=own.get("site"),
        callers=callers,
        kept=kept.names,
        functions=trace.functions,
        trace_lines=dump.trace.lines,
        uptime=head.uptime if head is not None else None,
        memory=dump.memory.memory,
        complete=own["complete"],
        stalled_ms=_text(own, "stalled_ms"),
        vmalloc_reason=reason,
        vmalloc_bytes=_text(vmalloc, "bytes"),
        vmalloc_obtained=_text(vmalloc, "allocated_bytes"),
        page_order=vmalloc.get("page_order"),
        address_space=any(r is not None and r.startswith(_NO_ADDRESSES) for r in (reason, before)),
        cache=dump.slab.cache,
        oom_constraint=dump.oom.constraint,
        oom_memcg=dump.oom.memcg,
        oom_limit_kb=dump.oom.limit_kb,
        follows=dump.follows.verdict if "follows" in own and dump.follows is not None else None,
        after=dump.after,
    )


def _text(of: dict[str, Any], name: str) -> str | None:
    """Return a whole number of a document as digits, however it is kept there."""
    value = of.get(name, of.get(name + "_text"))
    return str(value) if value is not None else None


def _flag_readings(mask: gfp.Gfp | None) -> list[tuple[str, ...]]:
    """Return the flags of a mask, or of all its readings where the release does not decide between them."""
    if mask is None or mask.decoded_by is None:
        return []
    if mask.decoded_by == "ambiguous":
        return list(dict.fromkeys(reading.flags for reading in mask.candidates))
    return [mask.flags]


def _advise(doc: dict[str, Any], own: dict[str, Any], dump: Dump, case: Case, base: str) -> None:
    """Add verdict and articles."""
    judged = judge(case)
    own["verdict"] = dump.verdict = judged.document
    if case.may_sleep is False and "gfp" not in own:
        own["gfp"] = {"may_sleep": False}
    found = knowledge.articles(judged.features, judged.values, base)
    if found:
        own["kb"] = found
        doc["rule"] = {
            "id": found[0]["id"],
            "name": found[0]["title"],
            "ruleset": "allocfail-kb",
            "reference": found[0]["url"],
        }
        doc["event"]["reference"] = found[0]["url"]


def _slab(dump: Dump) -> dict[str, Any]:
    header = dump.header
    lines = dump.slab
    out: dict[str, Any] = {}
    if header is not None:
        out["allocator"] = header.allocator
        out["node"] = header.node
    for name in ("cache", "object_size", "buffer_size", "default_order", "min_order", "order"):
        value = getattr(lines, name)
        if value is not None:
            out[name] = value
    if lines.nodes:
        out["nodes"] = list(lines.nodes)
    return out


@cache
def _taint_letters() -> dict[str, str]:
    letters: dict[str, str] = facts.load()["taints"]["letters"]
    return letters


@lru_cache(maxsize=256)
def _taint_words(tainted: str) -> tuple[str, ...]:
    letters = _taint_letters()
    return tuple(letters[c] for c in tainted if c in letters)


def _taints(tainted: str) -> list[str]:
    return [] if tainted == "Not tainted" else list(_taint_words(tainted))


def _gfp(dump: Dump, release: str | None) -> gfp.Gfp | None:
    header = dump.header
    if header is None or header.mode is None:
        return None
    printed = tuple(n for n in header.names.split("|") if n) if header.names is not None else None
    return gfp.decode(header.mode, release=release, printed=printed)


def _follows(dump: Dump, mask: gfp.Gfp | None, release: str | None, options: Options) -> str | None:
    """Return the fingerprint of the page failure that a slab report follows."""
    before = dump.follows
    if before is None or before.header is None or mask is None or before.head is None or dump.head is None:
        return None
    if not _within_a_second(before.head, dump.head, options):
        return None
    if release is None and before.banner is not None:
        release = before.banner.release
    other = _gfp(before, release)
    if other is None:
        return None
    ignored = set(facts.load()["verdict"]["follows_ignore"])
    if not set(mask.flags) - ignored <= set(other.flags):
        return None
    trace = _trace(before, before.banner.release if before.banner is not None else None)
    return fingerprint(before.kind, order=before.header.order, comm=before.comm, kept=keep(trace)).id


def _within_a_second(one: Record, two: Record, options: Options) -> bool:
    """Whether two records are of the same second, by printk's clock where they have one, else by the wall's."""
    if one.uptime is not None and two.uptime is not None:
        try:
            return abs(float(two.uptime) - float(one.uptime)) <= 1.0
        except ValueError:
            return False
    if one.time == two.time or one.time is None or two.time is None:
        return True
    first = times.resolve(one.time, year=options.year, tz=options.timezone, reference=options.reference)
    second = times.resolve(two.time, year=options.year, tz=options.timezone, reference=options.reference)
    if first is None or second is None:
        return False
    return abs(datetime.fromisoformat(second) - datetime.fromisoformat(first)) <= timedelta(seconds=1)


def explain(dump: Dump, options: Options) -> list[dict[str, Any]]:
    """Return every frame of an event with the number of the rule that dropped it, or none where it was kept."""
    release = (dump.banner.release if dump.banner is not None else None) or options.kernel
    trace = _trace(dump, release)
    dropped = dict(keep(trace).dropped)
    return [
        {"function": name, "reliable": reliable, "rule": dropped.get(at)}
        for at, (name, reliable) in enumerate(zip(trace.functions, trace.reliable, strict=True))
    ]
