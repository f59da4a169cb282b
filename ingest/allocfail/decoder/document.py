"""One event as one ECS document."""

from __future__ import annotations

from functools import cache, lru_cache
from typing import TYPE_CHECKING, Any

from allocfail import facts
from allocfail.decoder import knowledge, times
from allocfail.decoder.kit import decimal, width
from allocfail.decoder.options import Options

if TYPE_CHECKING:
    from allocfail.decoder.assembly import Dump
    from allocfail.decoder.event import Event
    from allocfail.decoder.fingerprint import Fingerprint
    from allocfail.decoder.memory import Memory
    from allocfail.decoder.records import Origin, Record
    from allocfail.decoder.verdict import Judged

__all__ = ["Options", "advise", "architecture", "build", "is_short"]

#: What a signed 64-bit field of an index holds.
_LONG = "9223372036854775807"
#: Orders above this are no order of any kernel; they are kept as text.
_MOST_ORDER = 63
#: Characters of the longest text that is put into a field of ECS, the whole texts left aside: at 4 bytes each they stay
#: well below the 32,766 by which an index refuses a document. ``cluster.fit`` counts on it.
_MOST_TEXT = 4096

#: Contexts in which nothing may sleep, whatever the mask.
_NEVER_SLEEP = ("softirq", "hardirq", "nmi")

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


def is_short(text: str) -> bool:
    """Whether a text may stand in a field that somebody's index may have mapped as a keyword of any kind."""
    return len(text) <= _MOST_TEXT or width(text) <= _MOST_TEXT


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


@cache
def _owners() -> dict[str, str]:
    owners: dict[str, str] = facts.load()["subsystems"]["prefixes"]
    return owners


@lru_cache(maxsize=1024)
def _subsystem(name: str) -> str | None:
    """Return who owns a function outside a module: the longest known prefix of its name decides."""
    prefixes = _owners()
    for end in range(len(name), 0, -1):
        owner = prefixes.get(name[:end])
        if owner is not None:
            return owner
    return None


def _owner(names: tuple[str, ...]) -> str | None:
    """Return who owns the first function that is anybody's."""
    for name in names:
        owner = _subsystem(name)
        if owner is not None:
            return owner
    return None


def _whole(into: dict[str, Any], name: str, digits: str | None) -> None:
    """Put an integer of any size: under ``name``, or as text under ``name_text`` where an index can't hold it."""
    if digits is None:
        return
    digits = digits.lstrip("0") or "0"
    if len(digits) > len(_LONG) or (len(digits) == len(_LONG) and digits > _LONG):
        into[name + "_text"] = digits
    else:
        into[name] = int(digits)


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


def _stamp(time: str, origin: Origin | None, options: Options) -> str | None:
    reference = options.reference
    if origin is not None and origin.time is not None:
        # The container's own time says which year a line's date without one is of.
        own = times.millis_of(origin.time, tz=options.timezone)
        if own is not None:
            reference = own
    return times.resolve(time, year=options.year, tz=options.timezone, reference=reference)


def _is_bare(head: Record) -> bool:
    """Whether a line has no prefix that says anything, but may have lost one."""
    return head.host is None and head.time is None


def build(event: Event, memory: Memory, options: Options) -> dict[str, Any]:
    """Return the document of one event, as the contract orders its fields, without verdict and articles."""
    dump = event.dump
    header = dump.header if dump.header is not None else dump.precursor
    banner = dump.banner
    extent = dump.summed_up()
    first = extent.first
    head = event.head
    origin = head.origin
    release = event.release
    trace = event.trace
    kept = event.kept
    kind = dump.kind
    own: dict[str, Any] = {"kind": kind}
    doc: dict[str, Any] = {}

    # A header that was copied without its prefix has the host and the time of its body.
    named = extent.named if _is_bare(head) else None
    timed = named if named is not None else head
    stamp = _stamp(timed.time, timed.origin, options) if timed.time is not None else None
    if stamp is not None and timed.time is not None:
        doc["@timestamp"] = stamp
        own["time_source"] = "log"
        guessed = times.unsaid(timed.time, year=options.year, tz=options.timezone)
        if guessed:
            own["time_guessed"] = guessed
    uptime = head.uptime or timed.uptime
    if uptime is not None:
        own["uptime"] = decimal(uptime)
    if dump.head is not None:
        doc["message"] = head.text.removeprefix(": ")  # behind a name that is not known
    what: dict[str, Any] = {
        "kind": "event",
        "category": ["host"],
        "type": ["info"],
        "module": "allocfail",
        "dataset": "allocfail.event",
        "provider": "kernel",
        "action": _ACTIONS[kind],
    }
    if kind != "page_allocation_stall":
        what["outcome"] = "failure"
    what["original"] = extent.original
    doc["event"] = what

    comm = dump.comm
    host: dict[str, Any] = {}
    hostname = head.host or timed.host
    if hostname is not None and is_short(hostname):
        host["hostname"] = hostname
        doc["related"] = {"hosts": [hostname]}
    if release is not None and is_short(release):
        host["os"] = {"kernel": release}
        machine = architecture(release)
        if machine is not None:
            host["architecture"] = machine
    if host:
        doc["host"] = host
    process: dict[str, Any] = {}
    if comm is not None and is_short(comm):
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
    if header is not None and comm is None and head.text.startswith((": ", "invoked ")):
        own["task_unclear"] = True
    if order is not None:
        if order > _MOST_ORDER:
            own["order_text"] = str(order)
        else:
            own["order"] = order
            if 0 <= order < _MOST_ORDER:
                own["pages"] = 1 << order
    if header is not None:
        _whole(own, "stalled_ms", header.stalled_ms)
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
        if vmalloc:
            own["vmalloc"] = vmalloc
    if kind == "slab_allocation_failure" and header is not None:
        slab = _slab(dump)
        if slab:
            own["slab"] = slab
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
        if killed:
            own["oom"] = killed

    mask = event.mask
    request: dict[str, Any] = {} if mask is None else mask.as_document()
    if trace.context in _NEVER_SLEEP and "may_sleep" not in request:
        request["may_sleep"] = False
    if request:
        own["gfp"] = request
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
        own["site_reliable"] = kept.allocator and any(trace.reliable)
        subsystem = kept.modules[0] or _owner(kept.names)
        if subsystem is not None:
            own["subsystem"] = subsystem
    if dump.memory.started:
        said = _memory(memory)
        if said:
            own["memory"] = said

    own["complete"] = event.incomplete is None
    if event.incomplete is not None:
        own["incomplete_reason"] = event.incomplete
    if dump.suppressed is not None:
        own["suppressed"] = dump.suppressed
    if dump.repeated:
        own["repeated"] = dump.repeated
    own["provenance"] = (origin.provenance if origin is not None else None) or "plausible"

    _identify(doc, own, event.fingerprint, subsystem=subsystem, name=mask.name if mask is not None else None)
    if event.follows is not None:
        own["follows"] = event.follows
    doc["tags"] = ["kernel-allocation-failure"]
    doc["allocfail"] = own
    return doc


def _identify(
    doc: dict[str, Any], own: dict[str, Any], mark: Fingerprint, *, subsystem: str | None, name: str | None
) -> None:
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
    if is_short(reason):
        doc["event"]["reason"] = reason


def advise(doc: dict[str, Any], judged: Judged, base: str) -> None:
    """Add verdict and articles; ``base`` is where the articles are."""
    own: dict[str, Any] = doc["allocfail"]
    own["verdict"] = judged.document
    if judged.features.get("may_sleep") is False and "gfp" not in own:
        own["gfp"] = {"may_sleep": False}
    found = knowledge.articles(judged.features, judged.values, base)
    if found:
        own["kb"] = found
        own["kb_url"] = [article["url"] for article in found]
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
    if lines.cache is not None:
        out["cache"] = lines.cache
    numbers = {
        "object_size": lines.object_size,
        "buffer_size": lines.buffer_size,
        "default_order": lines.default_order,
        "min_order": lines.min_order,
        "order": lines.order,
    }
    out.update({name: number for name, number in numbers.items() if number is not None})
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
