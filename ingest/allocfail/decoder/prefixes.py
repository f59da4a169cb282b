"""Prefixes that nobody listed: what stands before a process name, learned from the header of a dump.

A header's own words are certain (``: page allocation failure: order:``). What stands before the process name is a
prefix, whatever it is, and the further lines of the dump have one of the same shape: digits where it has digits, words
where it has words, the same punctuation. The prefixes that :mod:`allocfail.decoder.framing` knows are taken off as
well: they say something (time, host, caller), an unknown one only has to go.

A process name is never invented. Where prefix and name cannot be told apart the name is left out; the banner may say
it. Where nothing but the header's words speaks for a header, the line is doubtful: it counts only with a body behind.
"""

from __future__ import annotations

import re

from allocfail.decoder.framing import BLANKS, Frame, frame
from allocfail.decoder.header import is_comm

__all__ = ["Prefixes", "has_words"]

#: Lines behind a header in which its prefix is looked for, and how many in a row may be without it.
_LINES = 400
_MISSES = 8
#: Places within one line where a known prefix is looked for.
_TRIES = 64
#: An unknown prefix has at most as many characters.
_LONGEST = 400

_WORDS = re.compile(
    r": page allocation (?:failure[:.](?: order:| *$)|stalls for )|: vmalloc(?: error: size |: allocation failure)"
    r"| invoked oom-killer:"
).search
_SAID = re.compile(
    r"page allocation (?:failure(?:[:.] ?order:[0-9]|[:.]?[\x00-\x20]*$)|stalls for [0-9])"
    r"|invoked oom-killer(?:: gfp_mask=0|:?$)|vmalloc error: size [0-9]"
).search
#: What the kernel prints without a process name in front.
_NAMELESS = re.compile(
    r"SL[AU]B: Unable to allocate memory on |vmap allocation for size [0-9]|vmalloc: allocation failure[:,] "
    r"|vmalloc_node_range for size [0-9]|Out of memory(?: \([^)]*\))?: Kill(?:ed)? process [0-9]"
    r"|Memory cgroup out of memory: Kill(?:ed)? process [0-9]|oom-kill:constraint=|(?<!invoked )oom-killer: gfp_mask=0x"
    r"|warn_alloc(?:_failed)?: [0-9]+ callbacks"
).search
#: A header whose name somebody took.
_BARE = re.compile(r"page allocation (?:failure[:.] order:|stalls for [0-9]{1,20}ms, order:)[0-9]{1,18}, mode:0x").match
_BODY = re.compile(
    r"CPU: [0-9]+ (?:UID: [0-9]+ )?PID: [0-9]+ Comm: |Pid: [0-9]+, comm: |Call [Tt]race:|Backtrace:"
    r"|Hardware name: |Mem-[Ii]nfo:|(?:<IRQ> +)?\[<[0-9a-f]{8,16}>\] |cache: [^\x00-\x20,]{1,64}, object size: "
    r"|Stack ?: [0-9a-f]{8}"
).search
_CLOCK_FIRST = re.compile(r"[0-9]{2}:[0-9]{2}:[0-9]{2}(?:[.,][0-9]{1,9})? +").match
_CLOCK = re.compile(r"[0-9]{2}:[0-9]{2}:[0-9]{2}").search
#: What people and web pages put in front of a line.
_MARKUP = re.compile(r"(?:[*`\"'_~•·●◦-]|#+ |[+] |<[a-z][a-z0-9]*>|[0-9]+[.):]? |[\x00-\x20])+").match
#: Words of a prefix: ``key=value``, ``name |``, ``12:``, columns in front of a quoted one; never a sentence.
_LOGFMT = re.compile(r"(?:[A-Za-z0-9_.-]+=(?:\"[^\"]*\"|[^\x00-\x20\"]*)[\x00-\x20]+)*[A-Za-z0-9_.-]+=\"$").match
_NAMED = re.compile(r"[A-Za-z0-9_./-]+(?:\[[0-9]+\])?[\x00-\x20]*[|>]+[\x00-\x20]*$").match
_COLUMNS = re.compile(r"[^\x00-\x20\"]*,\"$").match
_NUMBER = re.compile(r"[\x00-\x20]*[0-9]+[.):|]?[\x00-\x20]*$").match
_STRUCTURE = re.compile(r"(?:[|>\]]|[=,]\"|\t)[\x00-\x20]*$").search
_TAIL = re.compile(r"[^\x00-\x20|>\]\"=]+$").search
#: The tag of a program other than the kernel, as syslog(3) and logger(1) write it, and a host in front.
_TAG = re.compile(
    r"(?:(?![0-9]+(?:[.][0-9]+)? )(?P<host>[0-9A-Za-z][0-9A-Za-z._-]{0,254}) )?"
    r"(?P<tag>[A-Za-z_][A-Za-z0-9_./-]{0,31})(?P<pid>\[[0-9]{1,10}\])?:(?:[\x00-\x20]|\Z)"
).match
#: The highest priority that the kernel's facility has.
_KERNELS = 7
#: What logger(1) writes for root, whose name no process has; ``tmux: server`` is one.
_LOGGERS = frozenset({"root", "logger"})
_KERNEL_TAG = re.compile(r"kernel(?:\[[^\]\x00-\x20]{0,16}\])?:").match
#: A host that names nothing but itself in front of the kernel's tag; what people say of a kernel is none.
_HOST = re.compile(
    r"(?!(?:[Tt]he|[Aa]|[Mm]y|[Oo]ur|[Yy]our|[Tt]his|[Tt]hat|[Ll]inux|[Ii]n|[Ff]rom|[Bb]y|[Ww]ith|[Nn]ew|[Oo]ld)"
    r"[\x00-\x20])([0-9A-Za-z][0-9A-Za-z._-]{0,62})[\x00-\x20]+$"
).match
#: A host right behind a time, with or without a zone or a year.
_HOST_BEHIND = re.compile(
    r"[0-9]{2}:[0-9]{2}:[0-9]{2}(?:[.,][0-9]{1,9})?[\x00-\x20]{0,4}(?:Z|[+-][0-9]{2}:?[0-9]{2}|[A-Z]{3,4}|[0-9]{4})?"
    r"[\x00-\x20]{1,8}(?![0-9]+(?:[.][0-9]+)?[\x00-\x20])(?P<host>[0-9A-Za-z][0-9A-Za-z._-]{0,254})[\x00-\x20]{1,8}$"
).search
_LEVELS = frozenset(
    ("emerg", "alert", "crit", "err", "error", "warn", "warning", "notice", "info", "debug", "fatal", "kern", "kernel")
)
_START = re.compile(r"(?<![A-Za-z0-9])[\[<0-9A-Za-z]").search
#: Source code that holds a header's words.
_CODE = re.compile(r"\"|/\*|//").search
#: What stands right in front of a name that a sign parts from what is known: ``a>b`` is a name.
_APART = frozenset(' \t"')
_CLOSING = re.compile(r"[*`\"'_~]+$|</[a-z][a-z0-9]*>$").search


def has_words(text: str) -> bool:
    """Whether a text has the words of a header, whatever stands around them; printf's formats have not."""
    return _SAID(text) is not None or _NAMELESS(text) is not None


def _shape(text: str) -> str:
    """Return what kind of characters stand in a text: ``0`` for a number, ``a`` for another word, the rest as it is."""
    shape = ""
    at = 0
    while at < len(text):
        c = text[at]
        at += 1
        if c <= " ":
            continue
        if not _in_word(c):
            shape += c
            continue
        digits = "0" <= c <= "9"
        while at < len(text) and _in_word(text[at]):
            digits = digits and "0" <= text[at] <= "9"
            at += 1
        shape += "0" if digits else "a"
    return shape


def _in_word(c: str) -> bool:
    return "0" <= c <= "9" or "A" <= c <= "Z" or "a" <= c <= "z" or c == "_" or c > "\x7f"


def _match(shape: str, line: str) -> int:
    """Return where a prefix of a shape ends in a line, -1 where the line does not begin with one."""
    at = 0
    for wanted in shape:
        while at < len(line) and line[at] <= " ":
            at += 1
        if at == len(line):
            return -1
        c = line[at]
        at += 1
        if wanted not in ("0", "a"):
            if c != wanted:
                return -1
            continue
        if not _in_word(c):
            return -1
        digits = "0" <= c <= "9"
        while at < len(line) and _in_word(line[at]):
            digits = digits and "0" <= line[at] <= "9"
            at += 1
        if wanted == "0" and not digits:
            return -1
    return at


def _is_name(lead: str) -> bool:
    """Whether what stands before a header's words can be nothing but a process name."""
    m = _MARKUP(lead)
    return is_comm(lead) and (m is None or m.end() == 0) and " kernel: " not in lead


def _name_in(lead: str) -> int:
    """Return where a name begins behind a sign that ends what stands in front, as ``|``; 0 where there is none."""
    tail = _TAIL(lead)
    if tail is None or tail.start() == 0 or _STRUCTURE(lead[: tail.start()]) is None or not _is_name(tail[0]):
        return 0
    return tail.start()


def _junk_in(found: Frame, lead: str) -> int:
    """Return how much of what stands before a header's words belongs to its prefix: a name may look like one.

    Behind what only the kernel or a syslog daemon writes all of it is the name, whatever it is.
    """
    if found.uptime is not None or found.host is not None or found.tagged or found.priority is not None:
        return 0
    name = _name_in(lead)
    return name if name > 0 and lead[name - 1] in _APART else 0


def _is_log(junk: str) -> bool:
    """Whether a text in front of a line is what a log writes there, rather than a sentence."""
    return bool(_CLOCK(junk) or _LOGFMT(junk) or _NAMED(junk) or _NUMBER(junk) or _COLUMNS(junk))


class Prefixes:
    """Takes unknown prefixes off the lines of one log, one after the other."""

    def __init__(self) -> None:
        """Begin with nothing learned."""
        self._front = ""
        """The shape of what stands in front of all that is known."""
        self._lead = ""
        """What stood before the words of a header where prefix and name could not be told apart."""
        self._hosts = True
        """Whether a host that stands in what was learned counts: not where none was told from the header's name."""
        self._tag = ""
        """The program that says it wrote the header."""
        self._left = 0
        self._missed = 0
        self.active = False
        """Something is learned, or about to be: every line has to be shown."""
        self.doubtful = False
        """The line read last is a header only if a body follows."""
        self.task = ""
        """The process name of the header before, where the line read last shows what stands in front of it."""

    def read(self, line: str, found: Frame) -> Frame:
        """Return a line taken apart; ``found`` is what framing made of it."""
        self.doubtful = False
        self.task = ""
        text = found.text
        if "alloc" in text or "oom-kill" in text or " memory: Kill" in text:
            header = self._header(line, found)
            if header is not None:
                return header
        return self._further(line, found) if self.active else found

    # -- a header ------------------------------------------------------------------------------------------------------

    def _header(self, line: str, found: Frame) -> Frame | None:
        text = found.text
        words = _WORDS(text)
        if words is None:
            if _BARE(text):
                # The kernel prints a name: without one it may be what somebody wrote about it.
                self.doubtful = True
                return found
            return self._nameless(line, found)
        lead = text[: words.start()]
        learned = self._learned(line, found)
        if learned is not None:
            return learned
        tagged = self._tagged(line, found)
        if tagged is not None:
            return tagged
        if found.start > 0:
            if is_comm(lead) and _junk_in(found, lead) == 0:
                self._await(_front(line, found, lead) if " " in lead else "")
                return found
        elif (m := _CLOCK_FIRST(lead)) and is_comm(lead[m.end() :]) and _name_in(lead) == 0:
            self._learn(lead[: m.end()])
            return _closed(found._replace(text=text[m.end() :], start=m.end()))
        elif _is_name(lead) and _name_in(lead) == 0:
            self._await(lead if " " in lead else "")
            self.doubtful = _CODE(lead) is not None
            return found
        return self._inner(line, found) or self._unknown(line, found, lead, words.start())

    def _learned(self, line: str, found: Frame) -> Frame | None:
        """Return a header behind the prefix that an earlier line had."""
        end = _match(self._front, line) if self._front else -1
        if end < 0:
            return None
        inner = _behind(line[:end], frame(line[end:]), found, hosts=self._hosts)
        words = _WORDS(inner.text)
        whole = _starts_nameless(inner.text) if words is None else is_comm(inner.text[: words.start()])
        return _closed(inner) if whole else None

    def _nameless(self, line: str, found: Frame) -> Frame | None:
        """Return a line of the kernel's without a name in front, behind an unknown prefix."""
        m = _NAMELESS(found.text)
        if m is None or m.start() == 0:
            return None
        inner = self._learned(line, found) or self._tagged(line, found) or self._inner(line, found)
        if inner is not None:
            return inner
        junk = found.text[: m.start()]
        mark = _MARKUP(junk)
        if _is_log(junk) or (mark is not None and mark.end() == len(junk)):
            self._learn(_front(line, found, junk))
        elif len(junk) <= _LONGEST:
            # A sentence, until a body with the same in front shows that it is a log.
            self.doubtful = True
            self._await(_front(line, found, junk))
        else:
            return None
        return _closed(found._replace(text=found.text[m.start() :], start=found.start + m.start()))

    def _tagged(self, line: str, found: Frame) -> Frame | None:
        """Return a header that another program than the kernel says it wrote; its further lines have the same tag."""
        m = _tag_of(line, found)
        if m is None:
            return None
        inner = _untagged(found, m)
        words = _WORDS(inner.text)
        if words is None and (_WORDS(found.text) is not None or not _starts_nameless(inner.text)):
            return None
        if words is None or is_comm(inner.text[: words.start()]):
            self._learn("")
            self._tag = m["tag"]
            self.active = True
            return _closed(inner)
        return None

    def _inner(self, line: str, found: Frame) -> Frame | None:
        """Return a header whose known prefix has something else in front."""
        at = found.start
        for _ in range(_TRIES):
            start = _START(line, at + 1)
            if start is None or start.start() > _LONGEST:
                break
            at = start.start()
            inner = frame(line[at:])
            if inner.start == 0:
                continue
            if found.tagged and (inner.host is not None or inner.time is not None):
                continue  # whoever wrote to the kernel's log chose that host
            words = _WORDS(inner.text)
            if words is None or not is_comm(inner.text[: words.start()]):
                m = _NAMELESS(inner.text)
                if m is None or m.start() > 0:
                    continue
            name = 0 if words is None else _junk_in(inner, inner.text[: words.start()])
            if name > 0:
                # Something stands behind the known prefix as well: ``ts=2024-03-04T05:06:07Z msg="``.
                at += inner.start + name
                inner = inner._replace(text=inner.text[name:], start=0)
            junk = line[:at]
            weak = inner.uptime is None and inner.time is None
            host = _HOST(junk) if _KERNEL_TAG(line, at) else None
            if weak and host is None and not _is_log(junk):
                continue
            self._learn(junk)
            whole = _closed(_behind(junk, inner, found, hosts=True))
            return whole if host is None else whole._replace(host=host[1])
        return None

    def _unknown(self, line: str, found: Frame, lead: str, words: int) -> Frame | None:
        """Return a header behind a prefix of which nothing is known."""
        if len(lead) > _LONGEST:
            return None
        mark = _MARKUP(lead)
        at = 0 if mark is None else mark.end()
        if at and _is_name(lead[at:]):
            # Text that somebody quotes, until a body shows that it is a log.
            self._learn(_front(line, found, lead[:at]))
            self.doubtful = _NUMBER(lead[:at]) is None
            return _closed(found._replace(text=found.text[at:], start=found.start + at))
        name = _name_in(lead)
        if name > 0 and (found.start > 0 or _is_log(lead[:name])):
            self._learn(_front(line, found, lead[:name]))
            return _closed(found._replace(text=found.text[name:], start=found.start + name))
        self.doubtful = not _CLOCK(lead)
        self._await(_front(line, found, lead))
        return _closed(found._replace(text=found.text[words:].lstrip(BLANKS), start=found.start + words))

    def _learn(self, junk: str) -> None:
        self._front = _shape(junk)
        self._hosts = True
        self._lead = self._tag = ""
        self._left, self._missed = _LINES, 0
        self.active = self._front != ""

    def _await(self, lead: str) -> None:
        """Look for the prefix in the lines that follow."""
        if self._front == "" or lead:
            self._front = self._tag = ""
            self._lead = lead
            self._left, self._missed = _LINES, 0
            self.active = lead != ""

    # -- the lines behind it -------------------------------------------------------------------------------------------

    def _further(self, line: str, found: Frame) -> Frame:
        self._left -= 1
        if self._left < 0 or self._missed > (0 if self._front == "0" else _MISSES):
            self.active = False
            return found
        if self._tag:
            m = _tag_of(line, found)
            if m is None or m["tag"] != self._tag:
                self._missed += 1
                return found
            self._missed = 0
            return _untagged(found, m)
        if self._front == "":
            return self._first(line, found)
        end = _match(self._front, line)
        if end < 0:
            self._missed += 1
            return found
        self._missed = 0
        return _closed(_behind(line[:end], frame(line[end:]), found, hosts=self._hosts))

    def _first(self, line: str, found: Frame) -> Frame:
        """Learn from a line of the body, whose own beginning is certain, what stood before a header's name."""
        self._missed += 1
        m = _BODY(line)
        if m is None or m.start() < found.start:
            return found
        if line[found.start : m.start()].strip(BLANKS) == "":
            self.active = False  # nothing is unknown
            return found
        shape = _shape(line[: m.start()])
        end = _match(shape, self._lead) if shape else -1
        if end < 0:
            return found
        name = self._lead[end:].strip(BLANKS)
        self.task = name if is_comm(name) else ""
        self._learn(line[: m.start()])
        self._hosts = False
        return _behind(line[: m.start()], frame(line[m.start() :]), found, hosts=False)


def _front(line: str, found: Frame, junk: str) -> str:
    """Return all that stands in front of a header: what framing knows, and what it does not."""
    return f"{line[: found.start]} {junk}"


def _starts_nameless(text: str) -> bool:
    """Whether a text is a header of those that have no process name in front."""
    m = _NAMELESS(text)
    return m is not None and m.start() == 0


def _tag_of(line: str, found: Frame) -> re.Match[str] | None:
    """Match a program's tag at the beginning of a line's text, where it can be told from a process name.

    What the kernel wrote has none. Elsewhere, one with a pid is certain, and one behind what only syslog writes.
    """
    m = _TAG(found.text)
    if m is None or found.provenance == "kernel":
        return None
    if m["host"] is not None:
        # Behind a time that has no host yet.
        return m if found.time is not None and found.host is None and not found.tagged else None
    if m["pid"] is not None or m["tag"] in _LOGGERS:
        return m
    users = found.priority is not None and found.priority > _KERNELS and found.provenance is None
    return (
        m if (users or found.host is not None) and line[: found.start].rstrip(BLANKS)[-1:] not in (":", "]") else None
    )


def _untagged(found: Frame, m: re.Match[str]) -> Frame:
    """Return a line without the tag, and with what stands behind that taken apart."""
    inner = frame(found.text[m.end() :])
    return found._replace(
        text=inner.text,
        host=inner.host or m["host"] or found.host,
        time=inner.time or found.time,
        uptime=inner.uptime or found.uptime,
        caller=inner.caller or found.caller,
        priority=inner.priority if found.priority is None else found.priority,
        provenance="forged" if "forged" in (found.provenance, inner.provenance) else None,
        release=inner.release or found.release,
        start=found.start + m.end() + inner.start,
        tagged=True,
    )


def _behind(junk: str, inner: Frame, outer: Frame, *, hosts: bool) -> Frame:
    """Return a line without what stood before its known prefix, and with what that says.

    ``outer`` is the line as framing reads it from its beginning; ``hosts`` says that a host may stand in ``junk``.
    """
    host, time = inner.host or outer.host, inner.time or outer.time
    if hosts and host is None and _CLOCK(junk):
        m = _HOST_BEHIND(junk + " ")
        if m is not None and m["host"].lower() not in _LEVELS:
            host = m["host"]
            time = time or junk[: m.start("host")].strip(BLANKS)
    content = inner.content + len(junk) if inner.content else 0
    proof = None if inner.provenance == "kernel" else inner.provenance
    return inner._replace(
        host=host,
        time=time,
        uptime=inner.uptime or outer.uptime,
        caller=inner.caller or outer.caller,
        priority=outer.priority if inner.priority is None else inner.priority,
        provenance=proof,
        release=inner.release or outer.release,
        start=inner.start + len(junk),
        content=content,
    )


def _closed(found: Frame) -> Frame:
    """Return a line without what closes the quotes or tags that opened in front of it."""
    m = _CLOSING(found.text)
    return found if m is None else found._replace(text=found.text[: m.start()].rstrip(BLANKS))
