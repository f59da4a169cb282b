"""What a dump proves: why the request failed, how bad that was, and what helps on this kernel.

The arithmetic is :mod:`allocfail.decoder.allocator`'s; rules, words and remedies are data (``kb/facts/verdict.yml``).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache, lru_cache
from typing import TYPE_CHECKING, Any, NamedTuple

from allocfail import facts
from allocfail.decoder import allocator, knowledge
from allocfail.decoder.case import (
    all_have,
    frame_sets,
    group_of,
    ignores_marks,
    is_crash_kernel,
    is_early_boot,
    is_suspended,
    vmalloc_way,
)
from allocfail.decoder.knowledge import Features, fill, wording
from allocfail.decoder.sentences import (
    basic_values,
    crash_words,
    kind_values,
    missing_inputs,
    request_words,
    zone_documents,
    zone_values,
)

if TYPE_CHECKING:
    from allocfail.decoder.case import Case
    from allocfail.decoder.causes import Weighing

__all__ = ["Judged", "judge"]

#: The versions that an unknown release lies between.
_OLDEST = 2_006_000


_NEWEST = 999_999_999


#: Reclaim that takes neighbours along is in 2.6.32 to 3.3.8 mm/vmscan.c (isolate_lru_pages) and not in 3.8.13.
_LUMPY = 2_006_032
_NOT_LUMPY = 3_008_000

#: Above this order the kernel gives up rather than retry (PAGE_ALLOC_COSTLY_ORDER).
_COSTLY = 3


@dataclass(slots=True)
class Judged:
    """The verdict, and what articles' rules and sentences are filled from."""

    document: dict[str, Any]
    features: Features
    values: dict[str, str]


@cache
def _rules() -> dict[str, list[dict[str, Any]]]:
    lists: dict[str, Any] = facts.load()["verdict"]
    return {name: lists[name] for name in ("cause", "zone_reclaim", "severity")}


@cache
def _reasons() -> dict[str, str]:
    """Return why a request that may sleep was let fail, in words by name."""
    reasons: dict[str, str] = facts.load()["verdict"]["gave_up"]
    return reasons


@cache
def _followed() -> str:
    said: str = facts.load()["verdict"]["follows"]
    return said


def _features(weighing: Weighing) -> Features:
    """Return what rules ask for, the cause left out."""
    case = weighing.case
    weighed = weighing.weighed
    zones = bool(case.memory.zones) and weighed is not None
    out: Features = {"kind": case.kind, "complete": case.complete, "has_order": case.order is not None, "zones": zones}
    if case.may_sleep is not None:
        out["may_sleep"] = case.may_sleep
    if case.context is not None:
        out["context"] = case.context
    out["interrupt"] = case.interrupt
    if case.order is not None:
        out["order"] = case.order
    if case.memory.zones and not any("node" in z for z in case.memory.zones):
        out["no_numa"] = True
    if weighing.reclaims:
        out["reclaimer"] = True
    if ignores_marks(case, reclaims=weighing.reclaims, newest=weighing.newest):
        out["unmarked"] = True
    out["noretry"] = all_have(case, "__GFP_NORETRY")
    if all_have(case, "__GFP_RETRY_MAYFAIL"):
        out["mayfail"] = True
    if case.after is not None:
        out["after"] = True
    out["cma"] = out["boost"] = False
    if weighed is not None:
        out["found"] = weighed.cause
        states = weighed.finding.states
        for name in dict.fromkeys(states):
            out["zone_" + name.replace("-", "_")] = True
        for name in weighed.finding.qualifiers:
            out[name] = True
        if any(s.boost > 0 and s.state in ("boost", "cma") for s in weighed.finding.allowed):
            out["boost"] = True
        if "open" in states or "at-limit" in states:
            out["open"] = True
        if "highatomic" in [s.widest for s in weighed.finding.allowed] and len(weighed.possible) > 1:
            out["reserve_possible"] = True
    return out


def _of_kind(case: Case, out: Features) -> None:
    """Add what only one kind of event has."""
    if case.kind == "vmalloc_allocation_failure":
        out["vmalloc"] = vmalloc_way(case)
        if case.vmalloc_reason is not None:
            out["vmalloc_reason"] = case.vmalloc_reason
        out["narrow"] = case.arch in ("i686", "i586", "i386", "armv7l")
    elif case.kind == "oom_kill":
        if case.oom_constraint is not None:
            out["oom_constraint"] = case.oom_constraint
        memcg = frame_sets().memcg
        if case.order == -1 or "moom_callback" in case.functions:
            out["sysrq"] = True
        if case.oom_constraint == "CONSTRAINT_MEMCG" or any(name.startswith(memcg) for name in case.functions):
            out["oom"] = "memcg"
        elif "pagefault_out_of_memory" in case.functions and not any(case.readings):
            out["oom"] = "page-fault"
    elif case.kind == "slab_allocation_failure" and case.follows is None and group_of(case) is not None:
        out["memcg_cache"] = True


class _Site(NamedTuple):
    sites: frozenset[str]
    """The call site itself."""
    parts: tuple[str, ...]
    """A part of the call site's name."""
    frames: frozenset[str]
    under: frozenset[str]
    caches: frozenset[str]
    """The slab cache, in a report that has no trace."""
    says: str
    look: str
    falls_back: bool
    """Nothing is lost if the request may not sleep or does not insist; ``always``: whatever it is."""
    always: bool
    fails: bool
    """Who asked is refused."""
    degrades: bool
    """One piece of work is lost or put off."""
    network: bool
    receive: bool
    """A network driver's receive buffer, by whatever name the driver gave the function."""
    operations: frozenset[str]
    """What the request was made for, where the site itself is not known: functions further out."""


@cache
def _sites() -> tuple[_Site, ...]:
    return tuple(
        _Site(
            frozenset(row.get("sites", ())),
            tuple(row.get("parts", ())),
            frozenset(row.get("frames", ())),
            frozenset(row.get("under", ())),
            frozenset(row.get("caches", ())),
            row["says"],
            row.get("look", ""),
            row.get("falls_back", False),
            row.get("always", False),
            row.get("fails", False),
            row.get("degrades", False),
            row.get("network", False),
            row.get("receive", False),
            frozenset(row.get("operations", ())),
        )
        for row in facts.load()["verdict"]["sites"]
    )


@cache
def _operations() -> frozenset[str]:
    """Return the functions that say what a request was made for."""
    return frozenset(name for site in _sites() for name in site.operations)


@lru_cache(maxsize=1024)
def _site_of(kept: tuple[str, ...]) -> _Site | None:
    """Return what is known of the site that these frames are."""
    if not kept:
        return None
    for site in _sites():
        known = kept[0] in site.sites or any(part in kept[0] for part in site.parts)
        if not known:
            known = any(name in site.frames for name in kept)
        if known and (not site.under or any(name in site.under for name in kept)):
            return site
    return None


@lru_cache(maxsize=256)
def _cache_of(cache_name: str) -> _Site | None:
    """Return what is known of those who ask a slab cache, by its name without a memory cgroup's."""
    name = cache_name.partition("(")[0]
    for site in _sites():
        if name in site.caches:
            return site
    return None


def _caller_of(case: Case) -> _Site | None:
    """Return what is known of who asked: by the site, else by the kind of buffer, else by what it was made for."""
    known = _site_of(case.kept)
    if known is None and case.cache is not None and not case.kept:
        known = _cache_of(case.cache)
    if known is not None:
        return known
    received = case.may_sleep is False and _receives(case.kept)
    for site in _sites():
        if (received and site.receive) or (case.may_sleep and any(name in site.operations for name in case.callers)):
            return site
    return None


@cache
def _receive() -> tuple[frozenset[str], tuple[str, ...]]:
    frames = facts.load()["verdict"]["frames"]
    return frozenset(frames["receive"]), tuple(frames["receive_parts"])


@lru_cache(maxsize=1024)
def _receives(kept: tuple[str, ...]) -> bool:
    """Whether the site is the receive buffer of a network driver."""
    names, parts = _receive()
    return any(name in names or any(part in name for part in parts) for name in kept)


def _gave_up(weighing: Weighing) -> list[str]:
    """Return why a request that may sleep was let fail: all reasons that hold, by name."""
    case = weighing.case
    eras = weighing.eras
    if not case.may_sleep or not case.readings:
        return []
    if case.kind == "vmalloc_allocation_failure":
        # What it asks for are single pages, and only these two keep such a request from being tried on and on.
        return [
            name
            for name, flag in (("one-try", "__GFP_NORETRY"), ("may-fail", "__GFP_RETRY_MAYFAIL"))
            if vmalloc_way(case) == "pages" and all_have(case, flag)
        ]
    if case.order is None or case.kind != "page_allocation_failure":
        return []
    found: list[str] = []
    insists = all_have(case, "__GFP_REPEAT") or all_have(case, "__GFP_RETRY_MAYFAIL")
    if case.order > _COSTLY and not insists and not all_have(case, "__GFP_NOFAIL"):
        found.append("costly")
    if all_have(case, "__GFP_NORETRY"):
        found.append("one-try")
    if case.order > _COSTLY and all_have(case, "__GFP_REPEAT") and all(e.repeat_pages for e in eras):
        found.append("enough")
    if all_have(case, "__GFP_RETRY_MAYFAIL"):
        found.append("may-fail")
    if weighing.weighed is not None:
        low = weighing.weighed.finding.place.zone in ("DMA", "DMA32")
    else:
        low = all_have(case, "__GFP_DMA") or all_have(case, "__GFP_DMA32")
    if low and all(e.no_low_oom for e in eras):
        found.append("low-zone")
    if all_have(case, "__GFP_THISNODE"):
        found.append("this-node")
    sets = frame_sets()
    if all(e.dump_core for e in eras) and any(name in sets.coredump for name in case.callers):
        found.append("core-dump")
    if is_suspended(case):
        found.append("suspend")
    if weighing.reclaims:
        found.append("reclaimer")
    if case.dying and not case.interrupt:
        found.append("killed")
    if not found and case.order <= _COSTLY:
        found.append("none")
    return found


@lru_cache(maxsize=2048)
def _cause(items: tuple[tuple[str, str | int | bool], ...]) -> dict[str, Any]:
    """Return the rule of the cause that holds for these features; a log's events differ in few of them."""
    return knowledge.first(_rules()["cause"], dict(items)) or {}


class _Remedy(NamedTuple):
    id: str
    causes: tuple[str, ...]
    when: dict[str, Any]
    since: int
    until: int
    only: str
    also: str
    release: str
    action: str
    command: str
    cost: str
    check: str


@cache
def _remedies() -> tuple[_Remedy, ...]:
    found = []
    for row in facts.load()["verdict"]["remedies"]:
        until = row.get("until")
        found.append(
            _Remedy(
                row["id"],
                tuple(row.get("causes", ())),
                row.get("when", {}),
                allocator.key(row["from"]),
                999_999_999 if until is None else allocator.key(until) + 999,
                row.get("only", ""),
                row.get("also", ""),
                row["from"],
                row["action"],
                row["command"],
                row["cost"],
                row["check"],
            )
        )
    return tuple(found)


#: Remedies for a crash kernel.
_CRASH = ("crashkernel", "none")


class _Advice(NamedTuple):
    """What follows from the cause and the other features."""

    reclaim: dict[str, Any]
    severity: dict[str, Any]
    actions: list[dict[str, str]]
    remedies: list[str]


@lru_cache(maxsize=2048)
def _advice(
    items: tuple[tuple[str, str | int | bool], ...], release: str, oldest: int, newest: int, look: str
) -> _Advice:
    """Return the rules that hold, and the remedies that a kernel between two versions has, in their order."""
    features = dict(items)
    rules = _rules()
    cause = features["cause"]
    found = [
        r
        for r in _remedies()
        if (not r.causes or cause in r.causes)
        and ((r.since <= oldest and newest <= r.until) or (r.also != "" and r.also in release))
        and r.only in release
        and knowledge.holds(r.when, features)
    ]
    if features["kind"] == "page_allocation_stall":
        found = []
    elif "crash_kernel" in features:
        # Settings of the machine that crashed do not reach the kernel that saves the dump.
        found = [r for r in found if r.id in _CRASH]
    actions: list[dict[str, str]] = []
    for r in found:
        action = {"id": r.id, "action": r.action, "cost": r.cost, "from_release": r.release}
        if r.command:
            action["command"] = r.command
        action["check"] = fill(r.check, {"look": look}).removesuffix("; ")
        actions.append(action)
    return _Advice(
        knowledge.first(rules["zone_reclaim"], features) or {},
        knowledge.first(rules["severity"], features) or {},
        actions,
        [f"{r.action}: {r.command}" if r.command else r.action for r in found],
    )


def _compacts(case: Case, features: Features) -> None:
    """Say whether RHEL 6's zone reclaim compacts for the request ([el6] mm/vmscan.c zone_reclaim_compact)."""
    if not case.may_sleep or (case.order or 0) == 0 or not all_have(case, "__GFP_FS") or not all_have(case, "__GFP_IO"):
        return
    if len({z.get("node", 0) for z in case.memory.zones}) > 1:
        features["el6_compacts"] = True
    elif not case.memory.zones:
        features["el6_may_compact"] = True


def _more_features(case: Case, features: Features, values: dict[str, str], gave_up: list[str]) -> str:
    """Add what severity, zone reclaim and remedies ask for; return where to look for the damage."""
    if ".el6" in (case.release or ""):
        _compacts(case, features)
    look = ""
    site = _caller_of(case)
    if site is not None:
        values["site_says"] = site.says
        look = site.look
        features["site_known"] = True
        if site.network:
            features["network"] = True
        if site.fails and not case.interrupt:
            features["fails"] = True
        if site.degrades:
            features["degrades"] = True
        if site.falls_back and (site.always or case.may_sleep is False or features["noretry"]):
            features["falls_back"] = True
    if case.after is not None:
        values["after"] = case.after
    features["receive"] = _receives(case.kept)
    features["operation"] = any(name in _operations() for name in case.kept)
    features["suspend"] = "suspend" in gave_up
    if is_crash_kernel(case):
        features["crash_kernel"] = True
    features["boot"] = case.comm is not None and case.comm.startswith("swapper")
    features["low"] = all_have(case, "__GFP_DMA") or all_have(case, "__GFP_DMA32")
    if "order-loop" not in features:
        features["order-loop"] = False
    return look


def _inherited(before: dict[str, Any], features: Features, values: dict[str, str]) -> Judged:
    """Return the verdict of a slab report: that of the page allocation failure before it, without remedies."""
    out: dict[str, Any] = {"cause": before["cause"]}
    values["summary"] = before["summary"]
    out["summary"] = fill(_followed(), values)
    for name in (
        "zone_reclaim_mode",
        "zone_reclaim_reason",
        "severity",
        "severity_reason",
        "zones",
        "unknown",
        "qualifiers",
    ):
        if name in before:
            out[name] = before[name]
    features["cause"] = before["cause"]
    return Judged(out, features, values)


def _judged(weighing: Weighing, features: Features, values: dict[str, str]) -> Judged:
    case = weighing.case
    weighed = weighing.weighed
    if is_early_boot(case):
        features["early"] = True
    rule = _cause(tuple(features.items()))
    features["cause"] = rule["value"]
    gave_up = _gave_up(weighing)
    if weighed is not None:
        zone_values(case, weighed, rule["summary"], values)
        lifted = "memalloc" if all_have(case, "__GFP_MEMALLOC") else "killed"
        values["unmarked"] = wording()["text"]["reclaiming" if weighing.reclaims else lifted]
        request_words(weighing, weighed, gave_up, values)
        lacks = values.get("compact", "")
        if lacks and rule["value"] == "fragmentation":
            weighed.finding.qualifiers.append("cannot-compact")
    out: dict[str, Any] = {"cause": rule["value"], "summary": fill(rule["summary"], values)}
    if is_crash_kernel(case):
        out["summary"] += crash_words(case)
    if weighed is not None and weighed.finding.qualifiers and weighed.cause == weighed.finding.cause:
        out["qualifiers"] = weighed.finding.qualifiers
    look = _more_features(case, features, values, gave_up)
    oldest = weighing.oldest or _OLDEST
    newest = weighing.newest or _NEWEST
    if oldest >= _LUMPY and newest < _NOT_LUMPY:
        features["lumpy"] = True
    advice = _advice(tuple(features.items()), case.release or "", oldest, newest, look)
    out["zone_reclaim_mode"] = advice.reclaim["value"]
    out["zone_reclaim_reason"] = fill(advice.reclaim["reason"], values)
    features["zone_reclaim"] = out["zone_reclaim_mode"]
    out["severity"] = features["severity"] = advice.severity["value"]
    out["severity_reason"] = fill(advice.severity["reason"], values)
    if advice.actions:
        out["remedies"] = advice.remedies
        out["actions"] = advice.actions
    if gave_up:
        reasons = _reasons()
        out["gave_up"] = [fill(reasons[name], values) for name in gave_up]
    if weighed is not None and weighed.finding.zones:
        out["zones"] = zone_documents(weighed)
    unknown = missing_inputs(case, weighed)
    if unknown:
        out["unknown"] = unknown
    return Judged(out, features, values)


def judge(weighing: Weighing) -> Judged:
    """Return the verdict on an event."""
    features = _features(weighing)
    _of_kind(weighing.case, features)
    values = basic_values(weighing.case)
    kind_values(weighing.case, values)
    if weighing.case.follows is not None:
        return _inherited(weighing.case.follows, features, values)
    return _judged(weighing, features, values)
