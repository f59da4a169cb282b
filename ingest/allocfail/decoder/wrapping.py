"""Whether a line goes on with the line before it.

Mail programs break lines at 72 to 80 columns, terminals at their width. A break is undone only where the line before it
is evidently open: a header that has not come to its mask, a frame without its end, a banner without its build number, a
zone line in the middle of its counters; and only with a continuation that fits. Two complete lines are never joined.
The wording that tells is data, ``kb/facts/wraps.yml``; the shapes of frames and counters are grammar and stand here.
"""

from __future__ import annotations

import re
from functools import cache
from typing import TYPE_CHECKING, NamedTuple

from allocfail import facts
from allocfail.decoder.framing import BLANKS
from allocfail.decoder.kit import width

if TYPE_CHECKING:
    from allocfail.decoder.records import Record

__all__ = ["Wrapping"]

#: Characters of a logical line. printk's record holds 1 kB (``kernel/printk/printk.c``), 4 kB where it is escaped.
_LOGICAL_LIMIT = 8192

#: No program wraps narrower than this: shorter lines have ended by themselves.
_NARROW = 60

#: The narrowest line that mail programs are set to.
_MAIL = 70

#: Of a log with prefixes: the narrowest and the widest line that mail programs are set to, and how long a line is at
#: least behind which a long word did not fit.
_FIRST = 72
_WIDEST = 80
_SHORT = 40

#: What stands in front of a header's words at most: a task's name of 15 characters and " invoked". TASK_COMM_LEN is 16
#: (include/linux/sched.h).
_TASK = 23

_HEX = r"0x[0-9a-f]"
_FRAME_END = re.compile(rf"[+]{_HEX}+/{_HEX}+$").search
_FRAME_CUT = re.compile(r"[A-Za-z0-9_][+](?:0(?:x(?:[0-9a-f]+(?:/(?:0(?:x)?)?)?)?)?)?$").search
_FRAME_REST = re.compile(
    rf"(?:[0-9a-f]*/{_HEX}+|x[0-9a-f]+(?:/{_HEX}+)?|[0-9a-f]+|{_HEX}+(?:/{_HEX}+)?)(?: \[|$)"
).match
_SYMBOL = re.compile(rf"(?:\? )?[A-Za-z_.][A-Za-z0-9_.$]*[+]{_HEX}+/{_HEX}+").match
_FEW_HEX = re.compile(r"[0-9a-f]{1,6}(?: \[[^\]]*\])?$").match
_MODULE = re.compile(r"\[[A-Za-z0-9_-]+(?:\([A-Z+-]+\))?(?: [0-9a-f]{40})?\]$").match
_ADDRESS_END = re.compile(r"\[<[0-9a-f]{8,16}>\](?: \?)?$|^\[[0-9a-f]{8,16}\] \[[0-9a-f]{8,16}\]$").search
_NAME_CUT = re.compile(r"(?:^|[\])] )(?:\? |\()?[A-Za-z_.][A-Za-z0-9_.$]*$").search
#: A name cut behind its address, where no frame ends.
_NAME_BEHIND = re.compile(r"\[<[0-9a-f]{8,16}>\] (?:\? )?[A-Za-z_.][A-Za-z0-9_.$]*$").search
#: ARM's caller cut within its name.
_NAME_OPEN = re.compile(r"from \[<[0-9a-f]{8,16}>\] \([A-Za-z0-9_.$]*$").search
_NAME_CLOSED = re.compile(rf"[A-Za-z0-9_.$]*[+]{_HEX}+/{_HEX}+\)$").match
_NAME_REST = re.compile(rf"[A-Za-z0-9_.$]*[+]{_HEX}+/{_HEX}+").match
_KLOGD = re.compile(rf"\[[A-Za-z0-9_:.]*[+](?:{_HEX}+/{_HEX}+|[0-9]+/[0-9]+)\]$").search
_FROM = re.compile(r"\([A-Za-z0-9_.$]+(?:[+]0x[0-9a-f]+/0x[0-9a-f]+)?\)(?: from(?: \[<|$)|$)").match
_ADDRESS_CUT = re.compile(r"\[<[0-9a-f]*>?$").search
_ADDRESS_REST = re.compile(r"[0-9a-f]*(?:>\]|\]) ").match
_FROM_ADDRESS = re.compile(r"\) from(?: \[<[0-9a-f]{8,16}>\])?$").search
_GFP_REST = re.compile(r"[A-Za-z0-9_|]*[|)]|[A-Z_|]+$").match
_SIZE_REST = re.compile(r"(?:allocated )?(?:[0-9]+ )?(?:of [0-9]+ )?bytes\b").match
_WORDS = re.compile(r"[a-z_]+(?: [a-z_]+)*,$").match
_MASK_END = re.compile(r"(?:mode:|mask=|gfp=)0x[0-9a-f]*$").search
_MASK_REST = re.compile(r"[0-9a-f]*(?:\([G_)]|, ?[a-z]+=)").match
_BANNER = re.compile(r"(?:CPU: [0-9]+ (?:UID: [0-9]+ )?PID: |Pid: [0-9]+, comm: )").match
_BUILD = re.compile(r" #[0-9]").search
_BUILD_ID = re.compile(r"[0-9a-f]{40}$").match
_DATED = re.compile(r"(?:^|[ ])[0-9]{2}/[0-9]{2}/[0-9]{4}$").search
_COUNTERS = re.compile(r"(?:Node [0-9]+ )?[A-Z][A-Za-z0-9]* (?:free|min):|Node [0-9]+ active_anon:[0-9]+kB").match
_COUNTER = re.compile(
    r"(?:[a-z][a-z_]*(?:\([a-z]+\))?: ?[0-9]+[kK]B|pages_scanned:[0-9]+|all_unreclaimable\?)(?: |$)"
).match
_COUNTER_END = re.compile(
    r"(?:^| )(?:[a-z][a-z_]*(?:\([a-z]+\))?: ?[0-9]+[kK]B|all_unreclaimable\?(?: yes| no)|pages_scanned:[0-9]+)$"
).search
_COUNTER_PART = re.compile(r"(?:[0-9]*|[a-z]*\)?:[0-9]+)[kK]?B(?: |$)|(?:yes|no)$|[a-z_]*\?(?: |$)").match
_COUNTER_REST = re.compile(r":[0-9]+(?:[kK]B)?(?: |$)|: [0-9]+kB(?: |$)|\? (?:yes|no)$").search
_HUGE_END = re.compile(r" hugepages_size=[0-9]+kB$").search
_BUDDY = re.compile(r"(?:Node [0-9]+ )?[A-Z][A-Za-z0-9]*: [0-9]+\*[0-9]+kB").match
_BUDDY_END = re.compile(r" = [0-9]+kB$").search
_BUDDY_REST = re.compile(r"(?:[0-9]*\*?[0-9]*k?B|\(?[UMERHCI]*\)|= [0-9]+kB|=)(?: |$)").match
_CACHE_END = re.compile(r"min order: [0-9]|^cache: [^,]*, object size: [0-9]+, order: [0-9]").search
_NUMBERS = re.compile(r"-?[0-9]+(?: -?[0-9]+)*$").match
_HYPHEN = re.compile(r"[A-Za-z0-9]-$").search
_ALNUM = re.compile(r"[A-Za-z0-9]").match
_LAST_KEY = re.compile(r"(?:^| )([a-z_]+):[0-9]+$").search
_FIRST_KEY = re.compile(r"([a-z_]+):[0-9]+(?: |$)").match
_HEX_WORDS = re.compile(r"<?[0-9a-f]{2,16}>?(?: <?[0-9a-f]{2,16}>?)*$").match
#: ``SUBSYSTEM=pci`` behind a record of /dev/kmsg (Documentation/ABI/testing/dev-kmsg): a line of its own.
_PROPERTY = re.compile(r"[A-Z_]+=").match
#: A damaged line of a container.
_CONTAINER = re.compile(r"[{}]|_*[A-Z][A-Z_]*=").match
#: ``COMM:`` with a newline in the name, or a header that came in pieces; TASK_COMM_LEN is 16 (include/linux/sched.h).
_COMM = re.compile(r"[^ ].{0,15}:$").match
_QUOTE = re.compile(r"[ \t]*(?:[>|][ \t]?)+").match
_KEY_VALUES = re.compile(r"[A-Za-z_]*[,=]|[A-Za-z0-9_/.-]*,[a-z_]+=").match


def _quoted(line: str) -> int:
    """Return how much of a line is a mail's quote signs."""
    m = _QUOTE(line)
    return m.end() if m else 0


def _first(text: str) -> int:
    """Return how many columns a text's first word takes."""
    end = text.find(" ")
    return width(text[:end] if end >= 0 else text)


class _Wording(NamedTuple):
    headers: tuple[str, ...]
    masks: tuple[str, ...]
    more: tuple[str, ...]
    glued: tuple[str, ...]
    starts: tuple[str, ...]
    within: tuple[str, ...]
    sizes: tuple[str, ...]
    ends: tuple[str, ...]
    killed: tuple[str, ...]
    neighbours: frozenset[str]


@cache
def _wording() -> _Wording:
    wraps = facts.load()["wraps"]
    lists = {name: tuple(wraps[name]) for name in _Wording._fields if name != "neighbours"}
    return _Wording(**lists, neighbours=frozenset(wraps["neighbours"]))


@cache
def _totals() -> tuple[str, ...]:
    return tuple(facts.load()["memory"]["totals"])


def _read_on(a: str, b: str, phrases: tuple[str, ...]) -> str | None:
    """Return what stands between two texts, nothing or a blank, where one of the phrases was cut in two; else None."""
    tail, head = a[-24:], b[:24]
    for joint in ("", " "):
        both = tail + joint + head
        if any(phrase in both and phrase not in tail and phrase not in head for phrase in phrases):
            return joint
    return None


class Wrapping:
    """Joins wrapped lines; remembers at which columns the lines of one log were cut."""

    def __init__(self) -> None:
        """Begin a log."""
        self._wording = _wording()
        self._cuts: set[int] = set()
        self._torn: set[int] = set()  # those in the middle of a word, by the word
        self._guessed = False
        self._indented = False

    def joint(self, a: str, b: str, raw: str, *, framed: bool, kmsg: bool, indented: bool = False) -> str | None:
        r"""Say what stood between two texts of which the second's line has no prefix: a blank, nothing, or None.

        ``a`` is the text so far, ``raw`` its physical lines; ``framed`` says that its first line has a prefix, ``kmsg``
        that it is a record of ``/dev/kmsg``, which writes a line end as ``\x0a`` and so never continues by itself;
        ``indented`` that blanks stand before the second text.
        None where they are two lines.
        """
        if not b or (len(a) > _LOGICAL_LIMIT and width(a) > _LOGICAL_LIMIT):
            return None
        if b.startswith("</") or _CONTAINER(b) or (kmsg and indented and _PROPERTY(b)):
            return None
        last = raw if "\n" not in raw else raw[raw.rfind("\n") + 1 :]
        self._indented = indented
        self._guessed = False
        if not a:
            # The first word did not fit behind the prefix.
            return "" if kmsg or (framed and width(last) + _first(b) >= _NARROW) else None
        found = self._joint(a, b, last, framed=framed)
        if found is None:
            full = width(last) + _first(b) >= _NARROW if kmsg else framed and self._full(b, last)
            found = self._space(a, last) if full and not self._apart(a, b, last) else None
        if found is not None:
            columns = width(last) - _quoted(last)
            self._cuts.add(columns)
            if not found and not self._guessed:
                self._torn.add(columns)
            if len(self._cuts) > 2:
                self._cuts = {-1, -2}  # enough to know that it is not a terminal
        return found

    def in_prefix(self, a: Record, b: Record) -> bool:
        """Say whether the prefix itself was wrapped: in front of printk's time, or at a blank within its bracket."""
        if a.uptime is not None or b.uptime is None or b.host is not None or b.time is not None:
            return False
        word = b.raw[_quoted(b.raw) :].lstrip(BLANKS)
        full = width(a.raw) + 1 + _first(word) > _FIRST
        return a.text == "[" or (a.text == "" and a.time is not None and word[:1] == "[" and full)

    def _full(self, b: str, last: str) -> bool:
        """Say whether a mail program had to break the line: its width would not take the next word.

        Where lines have prefixes that is enough. What only ever begins a line is none of a continuation.
        """
        if self._indented and b[0] != "=":
            return False  # journalctl's second line of a record; the kernel prints two blanks before "=" only
        columns = width(last) - _quoted(last)
        return _SHORT <= columns <= _WIDEST and width(last) + 1 + _first(b) > _FIRST

    def _apart(self, a: str, b: str, last: str) -> bool:
        """Say whether two texts of which none is seen to go on are two lines.

        The first has all that its kind has, or the second begins one: before a header stands a task's name at most.
        """
        if b.startswith(self._wording.starts) and not b.startswith(self._wording.within):
            return True
        if self._headed(b) and (self._headed(last) or len(a) > _TASK):
            return True
        if self._headed(a) and any(mask in a for mask in self._wording.masks):
            return True
        if self._hard(last) and (b[0] in ",.[(/" or _FEW_HEX(b)):
            return False  # what looks whole may be cut at a terminal's edge
        if a.endswith(self._wording.ends):
            return True
        if a.startswith("node ") and ", objs: " in a and "0" <= a[-1] <= "9":
            return True
        if "Killed process " in a and a.endswith((")", ").", "kB")):
            return True
        if " func:" in a or ((b[0] not in "[(" or b[-1] not in "])") and _FRAME_END(a)):
            return True
        return "0" <= a[0] <= "9" and a.endswith(_totals())

    def _headed(self, text: str) -> bool:
        return any(phrase in text for phrase in self._wording.headers)

    def _hard(self, last: str) -> bool:
        """Say whether the break looks like a terminal's (at one column, in a word) rather than a mail program's."""
        if self._indented or last != last.rstrip(BLANKS):
            return False
        columns = width(last) - _quoted(last)
        if self._cuts:
            return columns >= _NARROW and self._cuts == {columns} and columns in self._torn
        return columns == 80

    def _space(self, a: str, last: str) -> str:
        """Return the blank at which a mail program broke the line, nothing behind a hyphen or at a terminal's edge."""
        self._guessed = True
        return "" if self._hard(last) or _HYPHEN(a) else " "

    def _joint(self, a: str, b: str, last: str, *, framed: bool) -> str | None:
        if b.startswith("from [") and a.endswith(")"):
            return " "
        if b[0] == "(" and _ADDRESS_END(a) and _FROM(b):
            return " "
        # What is looked for at the beginning of one comes before what is looked for at the end of the other.
        if (_ADDRESS_REST(b) and _ADDRESS_CUT(a)) or (_NAME_CLOSED(b) and _NAME_OPEN(a)):
            return ""
        if "+0x" in a:
            return self._frame(a, b, last, framed=framed)
        if a.endswith(("+", "+0")):
            return "" if self._hard(last) and _FRAME_REST(b) else None
        if "+0x" in b:
            if _NAME_REST(b) and (_NAME_BEHIND(a) or (_NAME_CUT(a) and self._hard(last))):
                return ""
            if a == "?":
                return " " if _SYMBOL(b) else None
            if _ADDRESS_END(a):
                far = width(last) + width(b[: b.find("+0x")]) >= _NARROW
                return " " if b[0] == "(" or (far and _SYMBOL(b)) else None
            if not _FROM_ADDRESS(a):
                return None
        if ":" in a and _COUNTERS(a) and not _COUNTERS(b):
            whole = _COUNTER_END(a)
            if _COUNTER(b):
                return " " if whole else ""
            if whole or not (_COUNTER_PART(b) or (self._hard(last) and _COUNTER_REST(b))):
                return None
            return self._space(a, last) if a[-1] in ":?" else ""
        if " hugepages_total=" in a:
            if _HUGE_END(a):
                return None
            return self._space(a, last) if b.startswith("hugepages_") or self._hard(last) else None
        if "order:" in b or "mode:" in b or "mask=" in b or "gfp=" in b or "size" in b:
            # Two halves of a header's own words.
            tail, head = a[-32:], b[:48]
            for phrase in self._wording.headers:
                if phrase in b:
                    # A header whose "COMM: " was printed first.
                    return " " if b.startswith(phrase) and _COMM(a) else None
                if phrase not in a:
                    if phrase in f"{tail} {head}":
                        return " "
                    if phrase in f"{tail}{head}":
                        return ""
        if b.startswith(self._wording.starts):
            # "Tainted: … ------------ 4.18.0-…": Red Hat's.
            dashes = b.startswith("----") and _BANNER(a) and not _BUILD(a)
            return self._space(a, last) if dashes else None
        for phrase in self._wording.headers:
            at = a.rfind(phrase)
            if at >= 0:
                return self._header(a[at:], b, last)
        if _BANNER(a):
            if _BUILD_ID(b):
                return " "
            return None if _BUILD(a) else self._space(a, last)
        if a.startswith("Hardware name:"):
            if _DATED(a) or a.endswith("(DT)"):
                return None
            far = framed and width(last) + _first(b) > _MAIL
            cut = _DATED(b) or (
                far and (b.endswith("(DT)") or a.endswith(("BIOS", ",")) or a.count("(") > a.count(")"))
            )
            return self._space(a, last) if cut else None
        if "*" in a and _BUDDY(a):
            if _BUDDY_END(a):
                return None
            if _BUDDY_REST(b):
                return " " if a.endswith(("kB", ")", "=")) else ""
            return " " if a.endswith("=") else None
        if a.startswith("lowmem_reserve"):
            return self._space(a, last) if width(last) >= _NARROW and _NUMBERS(b) else None
        if b.startswith("mems_allowed="):
            return " " if " cpuset=" in a and "mems_allowed=" not in a else None
        if a.startswith("cache: "):
            # SLUB's ends with the smallest order, SLAB's with the order.
            if _CACHE_END(a) or not (":" in b or a.endswith(":")):
                return None
            inner = _read_on(a, b, self._wording.sizes)
            return inner if inner is not None else " " if a.endswith((":", ",")) else self._space(a, last)
        if a.startswith("node "):
            return " " if a.endswith(",") and ":" in b else None
        if a.startswith("oom-kill:"):
            return "" if ",uid=" not in a and _KEY_VALUES(b) else None
        if a.endswith(",") and ("Killed process " in a or a.startswith("Tainted: [")):
            return " "
        if b.startswith(self._wording.killed) and "Killed process " in a:
            return " "
        if (n := _FIRST_KEY(b)) and (m := _LAST_KEY(a)):
            return " " if f"{m[1]} {n[1]}" in self._wording.neighbours else None
        if a.startswith("Workqueue: "):
            return " " if b[0] == "(" and b.endswith(")") else None
        if ") from" in a and _FROM_ADDRESS(a):
            return " "
        # Registers, stack words and code bytes: in no field, but then no lines of their own either.
        if framed and width(last) >= _NARROW and a.startswith(("Code:", "Stack")) and _HEX_WORDS(b):
            return " "
        if framed and width(last) >= _NARROW and (a[-1] == ":" or _HEX_WORDS(a)) and _HEX_WORDS(b):
            return " "
        return None

    def _header(self, a: str, b: str, last: str) -> str | None:
        """Join two pieces of a header; ``a`` begins at its wording, behind the process name."""
        if not any(mask in a for mask in self._wording.masks):
            if b[0] == ",":
                return ""  # printed piece by piece, the comma first
            for joint in (" ", "") if a.endswith((",", "failure:", " on")) else (self._space(a, last), ""):
                both = f"{a[-16:]}{joint}{b[:48]}"
                if any(mask in both for mask in self._wording.masks):
                    return joint
            if b.startswith(self._wording.more):
                return " "
            if _SIZE_REST(b) and "bytes" not in a:
                return " "
            # "order 9," and "failed to allocate pages," may stand on lines of their own.
            return " " if a.endswith(",") and width(last) >= _NARROW and _WORDS(b) else None
        if a.count("(") > a.count(")"):
            return "" if _GFP_REST(b) else None
        if self._hard(last):
            if _MASK_END(a) and _FEW_HEX(b):
                return ""
            edge = f"{a[-14:]}{b[:14]}"
            if any(
                key in edge and key not in a[-14:] and key not in b[:14]
                for key in (*self._wording.more, *self._wording.glued)
            ):
                return ""
        if b.startswith(self._wording.glued):
            return "" if a.endswith(",") else None
        if b[0] == "," and b.lstrip(", ").startswith((*self._wording.more, *self._wording.glued)):
            return ""
        if b.startswith(self._wording.more):
            return " " if a.endswith(",") else "" if _MASK_END(a) and b[0] == "(" else None
        if a.endswith("="):
            return "" if _ALNUM(b) or b[0] in "(/" else None
        if _MASK_END(a) and _MASK_REST(b):
            return ""
        if ",cpuset=" in a and "mems_allowed=" not in a and ",mems_allowed=" in b.split(" ", 1)[0]:
            return ""
        return None

    def _frame(self, a: str, b: str, last: str, *, framed: bool) -> str | None:
        """Join two pieces of a frame."""
        if _FRAME_END(a):
            if (b[0] == "[" and _MODULE(b)) or b == "(unreliable)":
                return " "
            return "" if framed and width(last) >= _NARROW and _FEW_HEX(b) else None
        if _KLOGD(a) and "+0x" in b and " " not in b:
            return " " if width(last) + width(b) >= _MAIL else None
        if _FROM_ADDRESS(a):
            return " " if b[0] in "[(" else None
        if _ADDRESS_CUT(a) and _ADDRESS_REST(b):
            return ""
        if a.rfind("[") > a.rfind("]"):
            return " " if "]" in b and " " not in b else None
        if a.count("(") > a.count(")"):
            return "" if b.endswith(")") and " " not in b else None
        if _FRAME_CUT(a):
            return "" if _FRAME_REST(b) else None
        if _ADDRESS_END(a) and (_SYMBOL(b) or (b[0] == "(" and "+0x" in b)):
            return " "
        return None
