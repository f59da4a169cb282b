"""The line that says where the dump was taken: ``CPU: 0 PID: 1 Comm: x …`` since 3.10, ``Pid: 1, comm: x …`` before.

Formats: lib/dump_stack.c dump_stack_print_info (3.10 to 7.3-rc7; ``Kdump: loaded`` from 4.17, ``UID:`` by 6.12) and
arch/x86/kernel/dumpstack*.c dump_stack (2.6.24 to 3.9).
"""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["Banner", "parse_banner"]


@dataclass(frozen=True, slots=True)
class Banner:
    """What a banner says; None where it is cut before that."""

    comm: str
    pid: int | None = None
    cpu: int | None = None
    uid: int | None = None
    tainted: str | None = None
    release: str | None = None


def _digits(text: str, at: int) -> int:
    end = at
    size = len(text)
    while end < size and end - at < 10 and "0" <= text[end] <= "9":
        end += 1
    return end


def parse_banner(text: str) -> Banner | None:
    """Take a banner apart; ``text`` is one line without prefix. None if it is none."""
    cpu = uid = None
    if text.startswith("CPU: "):
        end = _digits(text, 5)
        if end == 5:
            return None
        cpu = int(text[5:end])
        if text.startswith(" UID: ", end):
            start = end + 6
            end = _digits(text, start)
            if end == start:
                return None
            uid = int(text[start:end])
        if not text.startswith(" PID: ", end):
            return None
        start = end + 6
        end = _digits(text, start)
        if end == start or not text.startswith(" Comm: ", end):
            return None
        pid = int(text[start:end])
        at = end + 7
    elif text.startswith("Pid: "):
        end = _digits(text, 5)
        if end == 5 or not text.startswith(", comm: ", end):
            return None
        pid = int(text[5:end])
        at = end + 8
    else:
        return None
    # A name may hold the words that follow it: the last place where they stand is the kernel's own, since a name
    # has 15 bytes at most and the release behind them holds none of these.
    stop = text.rfind(" Not tainted", at)
    tainted_at = text.rfind(" Tainted: ", at)
    if stop >= 0 and stop > tainted_at:
        comm, tainted, rest = text[at:stop], "Not tainted", stop + 12
    elif tainted_at >= 0:
        comm = text[at:tainted_at]
        tainted, rest = _flags(text, tainted_at + 10)
    else:
        return Banner(_name(text[at:]), pid, cpu, uid)
    return Banner(_name(comm), pid, cpu, uid, tainted or None, _release(text, rest))


def _name(text: str) -> str:
    text = text.removesuffix(" Kdump: loaded")
    # OpenVZ names the container: `veid: 101`, later `ve: 101`.
    for word in (" veid: ", " ve: "):
        at = text.rfind(word)
        if at > 0 and " " not in text[at + len(word) :]:
            text = text[:at]
            break
    return text.strip(" ")


def _flags(text: str, at: int) -> tuple[str, int]:
    """Return the flag letters from ``at`` on, joined by one space, and the index behind them.

    Red Hat prints dashes for its own flags that are not set, and small letters for some that are.
    """
    letters: list[str] = []
    size = len(text)
    while at < size:
        while at < size and text[at] == " ":
            at += 1
        end = at
        kept = ""
        good = True
        while end < size and text[end] != " ":
            char = text[end]
            if "A" <= char <= "Z" or "a" <= char <= "z":
                kept += char
            elif char != "-":
                good = False
            end += 1
        if not good or end == at:
            break
        if kept:
            letters.append(kept)
        at = end
    return " ".join(letters), at


def _release(text: str, at: int) -> str | None:
    size = len(text)
    while at < size and text[at] == " ":
        at += 1
    if text.startswith("(", at):
        at += 1  # i386 before 2.6.28
    end = at
    while end < size and text[end] not in " )":
        end += 1
    return text[at:end] if end > at and "0" <= text[at] <= "9" else None
