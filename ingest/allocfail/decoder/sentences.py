"""The verdict in words: zones and numbers as a person reads them, and what fills the sentences of ``verdict.yml``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from allocfail.decoder.allocator import NEAR
from allocfail.decoder.case import MOST_ORDER, all_have, beyond, frame_sets, group_of
from allocfail.decoder.causes import PIECES, SHORT, is_large, pages_elsewhere
from allocfail.decoder.knowledge import fill, pieces, wording

if TYPE_CHECKING:
    from allocfail.decoder.allocator import Standing
    from allocfail.decoder.case import Case
    from allocfail.decoder.causes import Weighed, Weighing

__all__ = [
    "basic_values",
    "crash_words",
    "grouped",
    "kind_values",
    "missing_inputs",
    "request_words",
    "size",
    "zone_documents",
    "zone_values",
]

#: Machines whose pages may be larger than 4 kB.
_LARGE_PAGES = ("aarch64", "ppc64", "ppc64le", "ia64", "mips64", "loongarch64")


def grouped(number: int) -> str:
    """Return a number with a comma before every three digits."""
    out = _digits(str(abs(number)))
    return "-" + out if number < 0 else out


def _digits(digits: str) -> str:
    """Return digits with a comma before every three, however many they are."""
    out = digits[-3:]
    digits = digits[:-3]
    while digits:
        out = digits[-3:] + "," + out
        digits = digits[:-3]
    return out


def _signed(digits: str) -> str:
    """Return what a 64-bit number of these digits is when its first bit is a sign."""
    # 2^64 less the number, in two halves that fit 63 bits.
    high = int(digits[:-9])
    low = int(digits[-9:])
    high = 18446744073 - high
    low = 709551616 - low
    if low < 0:
        high, low = high - 1, low + 1_000_000_000
    return "-" + _digits((str(high) + str(1_000_000_000 + low)[1:]).lstrip("0"))


def size(kb: int) -> str:
    """Return kilobytes in the unit that a person would use (1 MB is 1,024 kB), to three digits or so."""
    if kb < 1024:
        return f"{kb} kB"
    unit = "MB"
    if kb >= 1024 * 1024:
        unit = "GB"
        kb //= 1024
    tenths = (kb * 10 + 512) // 1024
    whole = tenths // 10
    if whole >= 100 or tenths % 10 == 0:
        return f"{grouped((tenths + 5) // 10)} {unit}"
    return f"{whole}.{tenths % 10} {unit}"


def _block(order: int, page_kb: int) -> str:
    return "nothing" if order < 0 else size(page_kb << min(order, 40))


def _label(standing: Standing, *, nodes: bool) -> str:
    zone = standing.zone
    return f"node {zone['node']} {zone['name']}" if nodes and "node" in zone else zone["name"]


def _phrase(standing: Standing, page_kb: int, *, nodes: bool, order: int, blocks: str) -> str:
    """Return what a zone's numbers say, in words."""
    words = wording()["zone"]
    state = standing.state
    if state == "order-loop" and blocks == "el6":
        state = "order-loop-el6"
    elif standing.unmarked and state in ("open", "no-block"):
        state = "unmarked-" + state
    elif standing.unmarked and state in SHORT:
        state = "unmarked-none"
    elif state == "below" and standing.avail + min(NEAR, standing.need // 8) >= standing.need:
        state = "at-limit"  # zones are pinned there under pressure
    out = ""
    named = False
    for piece in pieces(words.get(state, "")):
        if not named:
            out += piece
        elif piece == "zone":
            out += _label(standing, nodes=nodes)
        elif piece == "size":
            out += _block(order, page_kb)
        else:
            out += _figure(standing, piece, page_kb)
        named = not named
    return out


def _figure(standing: Standing, name: str, page_kb: int) -> str:
    """Return one of a zone's numbers as the sentence's placeholder ``name`` wants it."""
    if name == "avail":
        most = wording()["zone"]["at-most"] if standing.shown != standing.avail else ""
        return most + ("1 page" if standing.avail == 1 else grouped(max(0, standing.avail)) + " pages")
    if name == "need":
        return grouped(standing.need)
    if name == "free":
        return size(standing.free * page_kb)
    if name == "reserve_size":
        return size(standing.reserve * page_kb)
    if name == "largest":
        return _block(standing.usable_order, page_kb)
    if name == "letters":
        words = wording()["zone"]
        return ", ".join(words.get("letter-" + letter, letter) for letter in standing.letters)
    if name == "cma":
        return size(standing.cma * page_kb)
    if name == "boosted":
        return _boosted(standing, page_kb)
    if name == "held":
        return size(standing.held * page_kb)
    if name == "boost":
        return size(standing.boost * page_kb)
    if name == "least":
        return size(standing.zone.get("min_kb", 0))
    if name == "loop_block":
        return _block(standing.loop_order + 1, page_kb)
    return grouped(standing.loop_pages if name == "loop_pages" else standing.loop_need)


def _boosted(standing: Standing, page_kb: int) -> str:
    """Return the half sentence that says that a boost alone would have been enough, where it would."""
    if standing.boost == 0 or standing.avail <= standing.unboosted_mark + standing.reserve:
        return ""
    return fill(wording()["zone"]["boosted"], {"boost": size(standing.boost * page_kb)})


def _phrases(weighed: Weighed, standings: list[Standing]) -> str:
    """Return zones in words."""
    nodes = len({s.zone.get("node", 0) for s in weighed.finding.zones}) > 1
    order = weighed.finding.ask.order
    return "; ".join(
        _phrase(s, weighed.page_kb, nodes=nodes, order=order, blocks=weighed.finding.ask.blocks) for s in standings
    )


def _join(weighed: Weighed, which: tuple[str, ...] | None) -> str:
    """Return the zones that the request may use, in words: those in these states, or all.

    The PC's ZONE_DMA, which practically always keeps itself in reserve, is left out where there are others.
    """
    allowed = weighed.finding.allowed
    if which is not None:
        return _phrases(weighed, [s for s in allowed if s.state in which])
    telling = [s for s in allowed if s.state != "lowmem-reserve" or is_large(s)]
    return _phrases(weighed, telling or allowed)


def basic_values(case: Case) -> dict[str, str]:
    """Return the numbers of the request, for sentences."""
    text = wording()["text"]
    out = {
        "comm": case.comm or "the task",
        "cache": case.cache or "(unknown)",
        "reason": case.vmalloc_reason or text["no_reason"],
        "gfp": text["no_mask"],
        "mask": text["no_mask"],
    }
    if case.order is not None:
        out["order"] = str(case.order)
        if 0 <= case.order <= MOST_ORDER:
            out["pages"] = grouped(1 << case.order)
            out["size"] = _block(case.order, case.memory.page_kb or 4)
            wanted = "pages" if case.memory.page_kb is None and case.arch in _LARGE_PAGES else "size"
            out["wanted"] = fill(wording()["text"]["wanted_" + wanted], out)
    if case.gfp_name is not None:
        out["gfp"] = case.gfp_name
    elif case.mask is not None:
        out["gfp"] = "mask " + case.mask
    if case.mask is not None:
        out["mask"] = case.mask
    if case.site is not None:
        out["site"] = case.site
    if case.stalled_ms is not None:
        out["stalled_ms"] = _digits(case.stalled_ms)
    return out


def kind_values(case: Case, out: dict[str, str]) -> None:
    """Add what only one kind of event has."""
    text = wording()["text"]
    if case.kind == "vmalloc_allocation_failure":
        digits = case.vmalloc_bytes or ""
        out["bytes"] = _digits(digits) if digits else "a number of"
        if beyond(digits, "9223372036854775808") and len(digits) <= 20:
            out["signed"] = _signed(digits)
        ram_kb = case.memory.totals.get("ram_pages", 0) * (case.memory.page_kb or 4)
        out["ram"] = fill(text["ram"], {"amount": size(ram_kb)}) if ram_kb else ""
        out["obtained"] = _digits(case.vmalloc_obtained or "0")
        out["got"] = fill(text["got"], {"bytes": out["obtained"]}) if case.vmalloc_obtained is not None else ""
        out["page_order"] = str(case.page_order)
    elif case.kind == "oom_kill":
        out["memcg_name"] = f" ({case.oom_memcg})" if case.oom_memcg is not None else ""
        out["limit"] = fill(text["limit"], {"amount": size(case.oom_limit_kb)}) if case.oom_limit_kb is not None else ""
        total = case.memory.totals.get("swap_total_kb", -1)
        free = case.memory.totals.get("swap_free_kb", 0)
        out["swap"] = ""
        if total == 0:
            out["swap"] = text["no_swap"]
        elif total > 0 and free > total // 2:
            out["swap"] = fill(text["much_swap"], {"amount": size(free)})
    elif case.kind == "slab_allocation_failure":
        out["memcg"] = group_of(case) or ""


def crash_words(case: Case) -> str:
    """Return the sentence that says that this may be a crash kernel."""
    ram_kb = case.memory.totals.get("ram_pages", 0) * (case.memory.page_kb or 4)
    return fill(wording()["text"]["crash_kernel"], {"amount": size(ram_kb)})


def zone_values(case: Case, weighed: Weighed, text: str, out: dict[str, str]) -> None:
    """Add what the zones say, as far as the sentence ``text`` asks for it."""
    words = wording()["text"]
    finding = weighed.finding
    page_kb = weighed.page_kb
    if "{all}" in text:
        out["all"] = _join(weighed, None) or words["no_zone"]
    if "{pieces}" in text:
        out["pieces"] = _join(weighed, PIECES)
    if "{open}" in text:
        out["open"] = _join(weighed, ("open",))
    if "{short}" in text:
        short = [s for s in finding.allowed if s.state in SHORT and is_large(s)]
        zones = _phrases(weighed, short)
        out["short"] = fill(words["short"], {"zones": zones}) if zones else ""
    if "{above}" in text or "{elsewhere}" in text:
        hidden = pages_elsewhere(case, page_kb) * page_kb
        kept = sum(s.zone.get("free_kb", 0) for s in finding.zones if s.state in ("excluded-zone", "excluded-node"))
        least = max(1, sum(s.zone.get("min_kb", 0) for s in finding.allowed))
        out["above"] = fill(words["above"], {"amount": size(kept)}) if kept >= least else ""
        if hidden >= least:
            # A zone that is not printed may well be one that the request may use: the kernel leaves out whole nodes.
            out["above"] += fill(words["unseen"], {"amount": size(hidden)})
        told = hidden + kept >= least
        out["elsewhere"] = fill(words["elsewhere"], {"amount": size(hidden + kept)}) if told else ""
    out["confined"] = wording()["confined"][finding.place.zone]
    if "{nodes}" in text:
        out["nodes"] = case.nodemask if case.nodemask not in (None, "(null)") else case.mems_allowed or ""
        out["other_nodes"] = _phrases(weighed, [s for s in finding.zones if s.state == "excluded-node"])
    if "{fits}" in text or "{possible}" in text:
        known = [c for c in weighed.possible if c != "unknown"]
        out["possible"] = " or ".join(known)
        out["fits"] = fill(words["fits"], out) if len(known) > 1 else ""


def request_words(weighing: Weighing, weighed: Weighed, gave_up: list[str], values: dict[str, str]) -> None:
    """Add the half sentences that depend on the mask and the release."""
    case = weighing.case
    text = wording()["text"]
    values["no_oom"] = text["no_oom"] if "low-zone" in gave_up else ""
    values["compact"] = values["since59"] = ""
    if case.may_sleep and case.readings and weighed.finding.ask.order > 0:
        lacks = "__GFP_IO" if not any("__GFP_IO" in flags for flags in case.readings) else ""
        if (
            not lacks
            and all(e.compact_fs for e in weighing.eras)
            and not any("__GFP_FS" in flags for flags in case.readings)
        ):
            lacks = "__GFP_FS"
        if lacks:
            values["compact"] = fill(text["compact"], {"lacks": lacks})
    ask = weighed.finding.ask
    boosted = any(s.state == "boost" for s in weighed.finding.allowed)
    if boosted and ask.order == 0 and not ask.unboosted and all_have(case, "__GFP_ATOMIC"):
        values["since59"] = text["since59"]


def missing_inputs(case: Case, weighed: Weighed | None) -> list[str]:
    """Return the inputs that a firmer answer lacks."""
    words = wording()["unknown"]
    if weighed is None:
        out = [] if case.readings or case.kind == "slab_allocation_failure" else [words["request"]]
        return [*out, words["memory"]] if case.kind == "page_allocation_failure" and not case.memory.zones else out
    out = list(weighed.unknown)
    ask = weighed.finding.ask
    if ask.boost and any(
        s.state == "below" and s.boost == 0 and "boost_kb" not in s.zone for s in weighed.finding.allowed
    ):
        out.append(words["boost"])
    if (
        case.comm is not None
        and case.may_sleep
        and case.comm.startswith(frame_sets().realtime)
        and weighed.cause != "transient"
    ):
        out.append(words["realtime"])
    return out


def zone_documents(weighed: Weighed) -> list[dict[str, Any]]:
    """Return ``allocfail.verdict.zones``."""
    out: list[dict[str, Any]] = []
    page_kb = weighed.page_kb
    for at, standing in enumerate(weighed.finding.zones):
        zone = standing.zone
        row: dict[str, Any] = {}
        if "node" in zone:
            row["node"] = zone["node"]
        row["name"] = zone["name"]
        row["state"] = "unknown" if weighed.mixed[at] else standing.state
        if standing.free or standing.need:
            row["usable_kb"] = standing.shown * page_kb
            row["needed_kb"] = standing.need * page_kb
            row["mark_kb"] = standing.mark * page_kb
            row["reserve_kb"] = standing.reserve * page_kb
            row["usable_pages"] = standing.shown
            row["needed_pages"] = standing.need
            row["mark_pages"] = standing.mark
            row["reserve_pages"] = standing.reserve
            if standing.usable_order >= 0:
                row["largest_usable_order"] = standing.usable_order
        out.append(row)
    return out
