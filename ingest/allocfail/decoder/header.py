"""The line that announces a failed allocation, in every wording the kernel ever had.

The formats are the printk format strings of mm/page_alloc.c (2.5 to 7.3-rc7), mm/slub.c, mm/slab.c, mm/vmalloc.c and
mm/oom_kill.c. Every rule here is a walk with ``find`` and comparisons, because a second decoder has to make the same
walk in a language without regular expressions.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from allocfail.decoder.kit import utf8_length

__all__ = ["COMM_BYTES", "Header", "continue_header", "is_comm", "parse_header", "trimmed"]

#: TASK_COMM_LEN is 16 with the terminating NUL (include/linux/sched.h, all releases).
COMM_BYTES = 15

#: What may stand behind a mask and a blank: a line that a mailer glued to it.
_BEHIND = (" CPU: ", " Pid: ", " [", " Call Trace:")

_DIGITS = frozenset("0123456789")
_HEX = frozenset("0123456789abcdefABCDEF")
_NAME = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_|")
#: An order is below MAX_ORDER; what has more digits than fit a signed 64-bit number is no order.
_ORDER_DIGITS = 18


@dataclass(frozen=True, slots=True)
class Header:
    """What a header line says; a value that the wording does not carry is None."""

    kind: str
    comm: str | None = None
    order: int | None = None
    mode: str | None = None
    names: str | None = None
    nodemask: str | None = None
    cpuset: str | None = None
    mems_allowed: str | None = None
    stalled_ms: str | None = None
    colon: bool = False
    """``failure:`` rather than ``failure.``: 3.0 and later."""
    size: str | None = None
    allocated: str | None = None
    reason: str | None = None
    page_order: int | None = None
    node: int | None = None
    cpu: int | None = None
    """Of a SLUB report: the CPU it was made on (by 6.12)."""
    allocator: str | None = None
    score_adj: int | None = None
    precursor: bool = False
    """A vmalloc line that the header proper may follow (before 4.9, and vmap's own complaint)."""
    torn: bool = False
    """The line ended where the kernel goes on in another printk."""


def _number(text: str, at: int, limit: int = 20) -> int:
    """Return the index behind the digits that begin at ``at`` (at most ``limit`` of them)."""
    end = at
    size = len(text)
    while end < size and end - at < limit and text[end] in _DIGITS:
        end += 1
    return end


def _hex_end(text: str, at: int) -> int:
    end = at
    size = len(text)
    while end < size and text[end] in _HEX:
        end += 1
    return end


def is_comm(text: str) -> bool:
    """Whether a text can be a process name: not empty, and no longer than the kernel keeps."""
    if not text or len(text) > COMM_BYTES:
        return False
    # A name is counted in bytes.
    return utf8_length(text) <= COMM_BYTES


def _mask(text: str, at: int) -> tuple[str | None, str | None, int]:
    """Read ``0x20(GFP_ATOMIC)`` at ``at``: mask, names, and the index behind; (None, None, -1) if it is none."""
    if not text.startswith("0x", at):
        return None, None, -1
    end = _hex_end(text, at + 2)
    # Longer than any gfp_t; 2.5 to 7.x use 32 bits, and a mask of 16 digits still is one.
    if end == at + 2 or end - at > 18:
        return None, None, -1
    mask = text[at:end]
    size = len(text)
    if end == size or text[end] in ",)" or text.startswith(_BEHIND, end):
        return mask, None, end
    if text[end] == "[":  # another CPU's line glued behind
        return mask, None, size
    if text[end] != "(":
        return None, None, -1
    close = end + 1
    while close < size and text[close] in _NAME:
        close += 1
    if close == size:
        return mask, text[end + 1 :], size  # cut within the names
    if text[close] != ")":
        return mask, None, size
    if close + 1 < size and text[close + 1] not in ", [":
        return mask, text[end + 1 : close], size
    return mask, text[end + 1 : close], close + 1


def _places(text: str, at: int) -> tuple[str | None, str | None, str | None]:
    """Read ``, nodemask=…,cpuset=…,mems_allowed=…`` from ``at`` on, whatever of it is there."""
    nodemask = cpuset = mems = None
    start = text.find("nodemask=", at)
    where = text.find("cpuset=", at)
    if start >= 0 and (where < 0 or start < where):
        end = text.find(",cpuset=", start)
        if end < 0:
            end = text.find(", order=", start)
        if end < 0:
            end = text.find(" ", start + 9)
        if end < 0:
            end = len(text)
        nodemask = text[start + 9 : end].rstrip(",") or None
        if nodemask is not None and nodemask.startswith("(null)"):
            nodemask = "(null)"
    if where >= 0:
        cpuset, mems = _cpuset(text, where)
    return nodemask, cpuset, mems


def _cpuset(text: str, where: int) -> tuple[str | None, str | None]:
    end = text.rfind("mems_allowed=")
    if end < where:
        # Cut by a terminal's width: the name ends at the next comma at the latest.
        comma = text.find(",", where)
        return text[where + 7 : comma if comma >= 0 else len(text)].rstrip(", ") or None, None
    stop = end + 13
    size = len(text)
    while stop < size and text[stop] in "0123456789-,":
        stop += 1
    return text[where + 7 : end].rstrip(", ") or None, text[end + 13 : stop].rstrip(",") or None


def _page(text: str) -> Header | None:
    at = text.find("page allocation ")
    if at == 0:
        # Somebody took the name: the banner has it.
        return _page_tail(text, 16, None)
    while at >= 0:
        if at >= 2 and text[at - 2 : at] == ": ":
            # Without a name: what stood in front of the words could not be told from a prefix.
            comm = text[: at - 2] or None
            if comm is None or is_comm(comm):
                header = _page_tail(text, at + 16, comm)
                if header is not None:
                    return header
        at = text.find("page allocation ", at + 1)
    return None


def _page_tail(text: str, at: int, comm: str | None) -> Header | None:
    stalled = None
    colon = False
    if text.startswith("failure. order:", at) or text.startswith("failure: order:", at):
        colon = text[at + 7] == ":"
        at += 15
        kind = "page_allocation_failure"
    elif text.startswith("stalls for ", at):
        end = _number(text, at + 11)
        if end == at + 11 or not text.startswith("ms, order:", end):
            return None
        stalled = text[at + 11 : end].lstrip("0") or "0"
        at = end + 10
        kind = "page_allocation_stall"
    else:
        return None
    end = _number(text, at)
    if end == at or end - at > _ORDER_DIGITS:
        return None
    order = int(text[at:end])
    rest = text[end:]
    if ", mode:0x".startswith(rest):
        return Header(kind, comm, order, stalled_ms=stalled, colon=colon, torn=True)
    if rest.startswith("["):
        return Header(kind, comm, order, stalled_ms=stalled, colon=colon)
    if not rest.startswith(", mode:"):
        return None
    mode, names, end = _mask(rest, 7)
    if mode is None:
        return None
    nodemask, cpuset, mems = _places(rest, end)
    return Header(kind, comm, order, mode, names, nodemask, cpuset, mems, stalled, colon)


def _vmalloc(text: str) -> Header | None:
    at = text.find("vmalloc")
    while at >= 0:
        comm = None
        named = False
        good = at == 0
        if at >= 2 and text[at - 2 : at] == ": ":
            comm = text[: at - 2] or None
            good = comm is None or is_comm(comm)
            named = True
        if good:
            header = _vmalloc_tail(text, at, comm, named=named)
            if header is not None:
                return header
        at = text.find("vmalloc", at + 1)
    return None


def _vmalloc_tail(text: str, at: int, comm: str | None, *, named: bool) -> Header | None:
    kind = "vmalloc_allocation_failure"
    page_order = None
    allocated = None
    if text.startswith("vmalloc: allocation failure, allocated ", at):
        start = at + 39
        end = _number(text, start)
        if end == start or not text.startswith(" of ", end):
            return None
        allocated = text[start:end]
        start = end + 4
        end = _number(text, start)
        if end == start or not text.startswith(" bytes", end):
            return None
        size, reason, end = text[start:end], "allocation failure", end + 6
    elif text.startswith("vmalloc: allocation failure: ", at):
        start = at + 29
        end = _number(text, start)
        if end == start or not text.startswith(" bytes", end):
            return None
        size, reason, end = text[start:end], "allocation failure", end + 6
    elif text.startswith("vmalloc error: size ", at) and named:
        start = at + 20
        end = _number(text, start)
        if end == start or not text.startswith(", ", end):
            return None
        size = text[start:end]
        start = end + 2
        if text.startswith("page order ", start):
            end = _number(text, start + 11)
            if end - start - 11 > _ORDER_DIGITS or end == start + 11:
                return None
            page_order = int(text[start + 11 : end])
            start = end + 2 if text.startswith(", ", end) else end
        if text.startswith("align 0x", start):
            end = _hex_end(text, start + 8)
            start = end + 2 if text.startswith(", ", end) else end
        end = text.find(", mode:", start)
        if end < 0:
            end = len(text)
        reason = text[start:end]
        if not reason:
            return None
    elif text.startswith("vmalloc_node_range for size ", at) and at == 0:
        start = at + 28
        end = _number(text, start)
        if end == start or not text.startswith(" failed: ", end):
            return None
        return Header(kind, size=text[start:end], reason=text[end + 9 :], precursor=True)
    else:
        return None
    if end < len(text) and text[end] not in ",[ ":
        return None
    if not named:
        return Header(kind, size=size, allocated=allocated, reason=reason, precursor=True) if end == len(text) else None
    if not text.startswith(", mode:", end):
        return Header(kind, comm, size=size, allocated=allocated, reason=reason, page_order=page_order, colon=True)
    mode, names, behind = _mask(text, end + 7)
    if mode is None:
        return Header(kind, comm, size=size, allocated=allocated, reason=reason, page_order=page_order, colon=True)
    nodemask, cpuset, mems = _places(text, behind)
    return Header(
        kind,
        comm,
        mode=mode,
        names=names,
        nodemask=nodemask,
        cpuset=cpuset,
        mems_allowed=mems,
        colon=True,
        size=size,
        allocated=allocated,
        reason=reason,
        page_order=page_order,
    )


def _vmap(text: str) -> Header | None:
    kind = "vmalloc_allocation_failure"
    if text.startswith("vmap allocation for size "):
        end = _number(text, 25)
        if end == 25 or not text.startswith(" failed: ", end):
            return None
        return Header(kind, size=text[25:end], reason=text[end + 9 :].rstrip("."), precursor=True)
    if text.startswith("vmap allocation failed: use vmalloc="):
        return Header(kind, reason=text[24:].rstrip("."), precursor=True)
    return None


def _slab(text: str) -> Header | None:
    allocator = text[:4]
    at = 35
    cpu = None
    if text.startswith("CPU ", at):
        end = _number(text, at + 4, 9)
        if end > at + 4:
            cpu = int(text[at + 4 : end])
        at = text.find(") on node ", at)
        if at < 0:
            return None
        at += 10
    elif text.startswith("node ", at):
        at += 5
    else:
        return None
    start = at + 1 if text.startswith("-", at) else at
    end = _number(text, start, _ORDER_DIGITS)
    if end == start:
        return None
    node = int(text[at:end])
    mode = names = None
    if text.startswith(" (gfp=", end) or text.startswith(", gfp=", end):
        mode, names, _ = _mask(text, end + 6)
    if mode is None:
        return None
    return Header("slab_allocation_failure", mode=mode, names=names, node=node, cpu=cpu, allocator=allocator)


def _oom(text: str) -> Header | None:
    comm = None
    at = text.find("oom-killer: gfp_mask=")
    if at < 0:
        return None
    if at > 0:
        if text.startswith("invoked ") and at == 8:
            comm = None
        elif at < 9 or text[at - 9 : at] != " invoked " or not is_comm(text[: at - 9]):
            return None
        else:
            comm = text[: at - 9]
    mode, names, end = _mask(text, at + 21)
    if mode is None:
        return None
    order = None
    start = text.find("order=", end)
    if start >= 0:
        first = start + 7 if text.startswith("-", start + 6) else start + 6
        stop = _number(text, first, _ORDER_DIGITS)
        if stop > first:
            order = int(text[start + 6 : stop])
    score = None
    for word in ("oom_score_adj=", "oom_adj=", "oomkilladj="):
        start = text.find(word, end)
        if start < 0:
            continue
        start += len(word)
        stop = _number(text, start + 1 if text.startswith("-", start) else start, 5)
        if stop > start and text[stop - 1] != "-":
            score = int(text[start:stop])
            break
    nodemask, cpuset, mems = _places(text, end)
    return Header("oom_kill", comm, order, mode, names, nodemask, cpuset, mems, score_adj=score)


def parse_header(text: str) -> Header | None:
    """Take a header line apart.

    ``text`` is one line without prefix. Returns None for any other line, prose that quotes a header's words
    included: a header begins with a process name of at most 15 bytes and goes on as the kernel's format does.
    """
    if "alloc" in text:
        if text.startswith(("SLUB: Unable to allocate memory on ", "SLAB: Unable to allocate memory on ")):
            return _slab(text)
        if "page allocation " in text:
            header = _page(text)
            if header is not None:
                return header
        if "vmalloc" in text:
            header = _vmalloc(text)
            if header is not None:
                return header
        if text.startswith("vmap "):
            return _vmap(text)
    if "oom-killer: " in text:
        return _oom(text)
    return None


def continue_header(header: Header, text: str) -> Header | None:
    """Complete a header that the kernel printed in pieces (4.9 to 4.14) by the next piece; None if ``text`` is none."""
    if header.mode is None and header.torn and text.startswith((", mode:", "mode:", "0x")):
        at = text.find(":") + 1 if "mode:" in text[:7] else 0
        mode, names, end = _mask(text, at)
        if mode is None:
            return None
        nodemask, cpuset, mems = _places(text, end)
        return replace(header, mode=mode, names=names, nodemask=nodemask, cpuset=cpuset, mems_allowed=mems, torn=False)
    return None


def trimmed(header: Header, text: str) -> Header:
    """Return a header without the values that the cut end of its line may have taken part of."""
    if header.names is not None and not text.endswith(")") and text.endswith(header.names):
        return replace(header, names=None, torn=True)
    if header.mems_allowed is not None and text.endswith(header.mems_allowed):
        return replace(header, mems_allowed=None)
    if header.mode is not None and text.endswith(header.mode):
        return replace(header, mode=None, torn=True)
    if header.mode is None and header.order is not None and text.endswith(f"order:{header.order}"):
        return replace(header, order=None)
    return header
