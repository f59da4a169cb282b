r"""What stands before the kernel's text on one physical line, and what it says.

Shippers, terminals, printk and vendors each put a prefix in front of the text, and they nest: a container runtime in
front of syslog, syslog in front of printk's own time, a vendor's task id behind that. :func:`frame` takes them off from
the left, one element after the other, and stops at the first text that is none of them.

A process may call itself anything (``prctl(PR_SET_NAME)``), so an element counts only where its writer puts it: a tag
follows a date, a caller id follows a printk time, nothing but a caller id or a vendor's id follows a printk time.

The grammar. ``B`` is one character up to U+0020, ``D`` an ASCII digit, ``H`` one or more characters above U+0020,
``[x]`` optional, ``{x}`` repeated, ``a..b`` a number of times. No alternative needs to be taken back once it matched
as a whole, so loops over characters do::

    line     = [ found ] { {B} element } text       text has no B at either end
    found    = 1..255 ( letter | D | one of "_./~+:-" ) ( ":" | "-" )                  grep's file name and number;
                                                    only where nothing else matches and a date, "[" {B} D "." D "]",
                                                    "<" D ">[" or an ISO date follows at once
    element  = level | kmsg | wall | logcat | decoded | uptime | caller | vendor | tag | prompt | field

    level    = "<" 1..3 D ">" [ rfc5424 ]           not behind an uptime; at most two
    rfc5424  = 1..2 D B ( "-" | iso ) B H B H B H B H B ( "-" | "[" elements "]" )      host is the first H
    kmsg     = [ release "," ] D "," D "," D "," flags { "," key "=" value } ";"        not behind an uptime
    wall     = stamp [ cri | header ]               at most three, not behind an uptime unless in brackets
    stamp    = iso | bsd | weekday B iso [ B zone ] | weekday B bsd | epoch
             | "[" iso "]" | "[" 2D ":" 2D ":" 2D [ "." D ] "]"
             | "[" ctime [ B "<" delta ">" ] "]" | "[" Mon [B] day B 2D ":" 2D "]"
    iso      = 4D "-" 2D "-" 2D ("T" | " ") 2D ":" 2D ":" 2D [ ("." | ",") 1..9 D ] [ zone ]
    bsd      = Mon 1..2 B 1..2 D B [ 4D B ] 2D ":" 2D ":" 2D [ "." 1..9 D ] [ B 4D ]
    epoch    = 9..10 D "." 3..9 D                   only with a host and a kernel tag behind it
    cri      = B ( "stdout" | "stderr" ) B ( "F" | "P" )
    header   = [ B host ] [ B facility "." severity ] [ B tag ]
    tag      = "kernel" [ "[" H "]" ] ":"           at the start of the line or in a header
             | name [ "[" D "]" ] ":"               in a header, only where an uptime follows
    host     = H, not ending in ":"                 behind bsd always; behind another stamp only where a kernel tag,
                                                    an uptime or a note of repetition follows
    logcat   = date 1..{B} { 1..10 D 1..{B} } capital B logtag          two or three numbers; threadtime, uid
             | [ date 1..{B} ] capital "/" { not ":" or "(" } "(" {B} 1..10 D ")" ":"   time, brief; the line's end or B
                                                    behind ":"; counts as a wall time and a tag
    date     = [ 4D "-" ] 2D "-" 2D B 2D ":" 2D ":" 2D "." 3..9 D
    logtag   = 0..64 { not ":" } ":" (B | end)      empty or "kernel", blanks behind it; another, where the last number
                                                    (the thread, 0 in the kernel's log) is 0: logd made it of the text
                                                    before the first colon, and it is put in front again. Bounds of
                                                    both tags count UTF-16 units, without surrogates.
    decoded  = facility {B} ":" severity {B} ":"    dmesg -x; not behind an uptime
    uptime   = "[" {B} D "." D [ "s" | "@" D | B "/" … | B "<" delta ">" ] "]" [ [ B host ] B "kernel:" ]
             | "[<" {B} D "." D ">]" | "[" {B} ("+" | "-") D "." D "]"                  (dmesg's deltas)
    caller   = "[" {B} ( "T" | "C" ) D "]"          behind an uptime, or first on the line
    vendor   = "[" D ":" 1..16 any ":" {B} D "]"    Samsung: CPU, comm, pid; behind an uptime, or first on the line
             | [ "." | "-" | "<" D ">." ] "(" D ")" [ "[" D ":" 1..16 any "]" ]         MediaTek: CPU, pid, comm;
                                                    no "]" behind it: that one is the end
             | "[pid:" D ",cpu" D "," 1..24 any "]"                                     HiSilicon
    prompt   = host B "login:"                      a console's, glued in front; only first on the line
    field    = "MESSAGE="                           journalctl -o verbose; only first on the line
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import NamedTuple

from allocfail.decoder.months import month_number

__all__ = ["BLANKS", "FIRST", "LAST", "MIDDLE", "WHOLE", "Frame", "frame", "seconds"]

_new = tuple.__new__  # a named tuple's own constructor takes twice as long

#: The characters that count as blank: exactly those that Java's ``String.trim`` removes.
BLANKS = "".join(map(chr, range(0x21)))

#: RFC 5424 section 6.2.1, by code, in the spelling of util-linux ``sys-utils/dmesg.c`` and of rsyslog's ``pri-text``.
_FACILITIES = {
    name: code
    for code, name in enumerate(
        (
            *("kern", "user", "mail", "daemon", "auth", "syslog", "lpr", "news", "uucp", "cron", "authpriv", "ftp"),
            *("res0", "res1", "res2", "res3"),
            *("local0", "local1", "local2", "local3", "local4", "local5", "local6", "local7"),
        )
    )
}
_SEVERITIES = {
    name: code
    for code, names in enumerate(
        ("emerg panic", "alert", "crit", "err error", "warn warning", "notice", "info", "debug")
    )
    for name in names.split(" ")
}


#: Which part of a line a piece is: a piece that is not the whole is joined to the next.
WHOLE, FIRST, MIDDLE, LAST = "", "first", "middle", "last"


class Frame(NamedTuple):
    """One physical line, taken apart."""

    text: str
    """The kernel's text, without blanks at either end."""
    host: str | None = None
    """The host that the innermost header names."""
    time: str | None = None
    """The innermost wall-clock time, as printed, without brackets."""
    uptime: str | None = None
    """printk's time in seconds, as printed; of a ``/dev/kmsg`` record ``seconds.microseconds``."""
    caller: str | None = None
    """printk's caller id; a vendor's task id in the same form: ``T`` and the pid, or ``C`` and the CPU for pid 0."""
    priority: int | None = None
    """Facility * 8 + severity, of the outermost element that gives one."""
    provenance: str | None = None
    """Of a ``/dev/kmsg`` record: ``forged`` where the facility is not 0, else ``kernel`` if the line begins with it."""
    release: str | None = None
    """Kernel release, where netconsole puts it in front."""
    start: int = 0
    """Where the prefix ends in the line; 0 where there is none."""
    part: str = WHOLE
    """Which part of a line it is, where a runtime or netconsole cuts long lines."""
    content: int = 0
    """Where the text as it was cut begins in the line, blanks included; 0 where nobody cuts."""
    tagged: bool = False
    """A host's header, with the kernel's tag in it, was taken: what stands behind it is what the kernel was told."""


_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
_WEEKDAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
_MON = f"(?:{'|'.join(_MONTHS)})"
_DAY = f"(?:{'|'.join(_WEEKDAYS)})"
_B = r"[\x00-\x20]"
_H = r"[^\x00-\x20]"
_CLOCK = r"[0-9]{2}:[0-9]{2}:[0-9]{2}"
_ISO = (
    rf"[0-9]{{4}}-[0-9]{{2}}-[0-9]{{2}}[T\x20]{_CLOCK}(?:[.,][0-9]{{1,9}})?"
    r"(?:Z|[+-][0-9]{2}:?[0-9]{2}|[+-][0-9]{2}|\x20[+-][0-9]{4})?"
)
# A number right in front of the kernel's tag is a host.
_YEAR = rf"(?:{_B}(?:19|20)[0-9]{{2}}(?={_B}+(?!kernel:)))?"
_BSD = rf"{_MON}{_B}{{1,2}}[0-9]{{1,2}}{_B}(?:[0-9]{{4}}{_B})?{_CLOCK}(?:\.[0-9]{{1,9}})?{_YEAR}"
_WORD = r"[^\x00-\x20!-,./:-@\[-`{-~0-9]{3,6}\.?|1?[0-9][月월]"
_LOCAL = rf"(?P<mon>{_WORD}){_B}{{1,2}}[0-9]{{1,2}}{_B}{_CLOCK}"
_ANY = r"[^\ud800-\udfff\U00010000-\U0010ffff]"  # one UTF-16 unit: bounds mean the same in every port
_END = rf"(?={_B}|\Z)"

_re_blanks = re.compile(rf"{_B}*").match
_re_level = re.compile(r"<([0-9]{1,3})>").match
_re_5424 = re.compile(rf"[0-9]{{1,2}}{_B}(-|{_ISO}){_B}({_H}+){_B}({_H}+){_B}{_H}+{_B}{_H}+{_B}(?=[-\[])").match
_re_kmsg = re.compile(
    r"([0-9]{1,4}),[0-9]{1,20},([0-9]{1,20}),[-c+]{1,2}((?:,[a-z]{1,16}=[\x21-\x2b\x2d-\x3a\x3c-\x7e]{0,64}){0,8});"
).match
_re_release = re.compile(r"([0-9][0-9A-Za-z_+~-]{0,63}\.[0-9A-Za-z._+~-]{0,128}),(?=[0-9]{1,4},[0-9])").match
_re_iso = re.compile(_ISO + _END).match
_re_bsd = re.compile(_BSD + _END).match
_re_local_bsd = re.compile(rf"{_LOCAL}(?:\.[0-9]{{1,9}})?{_END}").match
_re_local_ctime = re.compile(
    rf"\[(?P<time>[^\x00-\x20\[\]<>]{{1,9}}{_B}{_LOCAL}(?:{_B}[A-Z]{{1,5}})?{_B}[0-9]{{4}})\](?!:)"
).match
_re_placeholder = re.compile(
    rf"{_B}(?:<[A-Za-z][^\x00-\x20<>]{{0,63}}>|\[[A-Za-z][^\x00-\x20\[\]]{{0,63}}\]|\.{{2,64}}|\*{{1,64}}){_END}"
).match
_re_fragment = re.compile(r"([0-9]{1,6})/([0-9]{1,6})$").match
_re_weekday = re.compile(rf"{_DAY},?{_B}(?:{_ISO}(?:{_B}(?:[A-Z]{{1,5}}|[+-][0-9]{{2,4}}))?|{_BSD}){_END}").match
_re_epoch = re.compile(r"[0-9]{9,10}\.[0-9]{3,9}(?=[\x00-\x20])").match
_UNIT = r"[^:\ud800-\udfff\U00010000-\U0010ffff]"  # as _ANY
_LOGCAT = rf"(?P<time>(?:[0-9]{{4}}-)?[0-9]{{2}}-[0-9]{{2}}{_B}{_CLOCK}\.[0-9]{{3,9}}){_B}+"
_re_logcat = re.compile(
    rf"{_LOGCAT}(?:[0-9]{{1,10}}{_B}+){{1,2}}(?P<id>[0-9]{{1,10}}){_B}+[A-Z]{_B}(?P<tag>{_UNIT}{{0,64}}):{_END}"
).match
_re_logcat_brief = re.compile(
    rf"(?:{_LOGCAT})?[A-Z]/(?P<tag>[^:(\ud800-\udfff\U00010000-\U0010ffff]{{0,64}})"
    rf"\({_B}*(?P<id>[0-9]{{1,10}})\):{_END}"
).match
_re_cri = re.compile(rf"{_B}(?:stdout|stderr){_B}([FP]){_END}").match
_re_host = re.compile(rf"{_B}({_H}+){_END}").match
_re_facility = re.compile(rf"{_B}([a-z0-9]{{3,8}})\.([a-z]{{3,7}}){_END}").match
_re_tag = re.compile(r"[\x00-\x20]{0,2}kernel(?:\[[^\]\x00-\x20]{0,16}\])?:(?=[\x00-\x20\[<]|\Z)").match
_re_other_tag = re.compile(r"[\x00-\x20][A-Za-z_][A-Za-z0-9._/-]{0,47}(?:\[[0-9]{1,10}\])?:(?=[\x00-\x20]|\[)").match
_re_second_colon = re.compile(rf"{_B}:(?={_B})").match
_re_repeated = re.compile(rf"{_B}(?:last{_B})?message{_B}repeated{_B}").match
_re_decoded = re.compile(rf"([a-z0-9]{{3,8}}){_B}*:([a-z]{{3,6}}){_B}*:{_END}").match
_re_uptime = re.compile(
    rf"\[{_B}*([0-9]{{1,12}}\.[0-9]{{1,9}})"
    rf"(?:s|@[0-9]{{1,4}}|{_B}/{_B}[\x20-\x5c\x5e-\x7e]{{1,40}}|{_B}<{_B}*-?[0-9]{{1,12}}\.[0-9]{{1,9}}>)?\](?::(?={_B}[A-Za-z_.][A-Za-z0-9_.]*\+0x)|(?!:))"
).match
_re_delta = re.compile(
    rf"\[(?:<{_B}*-?[0-9]{{1,12}}\.[0-9]{{1,9}}>|{_B}*[+-][0-9]{{1,12}}\.[0-9]{{1,9}})\]{_END}"
).match
_re_lost = re.compile(r"[0-9]{1,12}\.[0-9]{6}\](?=[\x00-\x20])").match
_re_caller = re.compile(rf"\[{_B}*([TC][0-9]{{1,10}})\](?!:)").match
_re_ctime = re.compile(
    rf"\[({_DAY}{_B}{_MON}{_B}{{1,2}}[0-9]{{1,2}}{_B}{_CLOCK}(?:{_B}[A-Z]{{1,5}})?{_B}[0-9]{{4}})"
    rf"(?:{_B}<{_B}*-?[0-9]{{1,12}}\.[0-9]{{1,9}}>)?\](?!:)"
).match
_re_reltime = re.compile(rf"\[({_MON}{_B}?[0-9]{{1,2}}{_B}[0-9]{{2}}:[0-9]{{2}})\]{_END}").match
_re_stamp = re.compile(rf"\[(?:({_ISO})|{_CLOCK}(?:\.[0-9]{{1,9}})?)\](?!:)").match
_re_samsung = re.compile(rf"\[{_B}*([0-9]{{1,3}}):{_ANY}{{15}}:{_B}*([0-9]{{1,10}})\](?!:)").match
_re_samsung_short = re.compile(rf"\[{_B}*([0-9]{{1,3}}):{_ANY}{{0,15}}?:{_B}*([0-9]{{1,10}})\](?!:)").match
_re_mediatek = re.compile(
    rf"(?:[.-]|<[0-9]>\.?)?\(([0-9a-f]{{1,2}})\)(?:\[([0-9]{{1,10}}):{_ANY}{{0,15}}?\](?!\])|(?={_B}))"
).match
_re_hisilicon = re.compile(rf"\[pid:([0-9]{{1,10}}),cpu([0-9]{{1,4}}),{_ANY}{{0,24}}?\]").match
_re_named_host = re.compile(rf"{_B}([0-9A-Za-z][0-9A-Za-z._-]{{0,254}}){_B}(?=kernel:(?:{_B}|\Z))").match
_re_bare_tag = re.compile(r" kernel: (?!: )").match
_re_host_first = re.compile(
    rf"([0-9A-Za-z][0-9A-Za-z._-]{{0,254}}){_B}(?=kernel:{_B}*\[{_B}*[0-9]{{1,12}}\.[0-9]{{1,9}}\])"
).match
_re_prompt = re.compile(rf"([0-9A-Za-z(][0-9A-Za-z._()-]{{0,254}}){_B}login:(?={_B})").match
_re_bare_prompt = re.compile(rf"login:{_B}+(?=\[{_B}*[0-9]{{1,12}}\.[0-9]{{1,9}}\]|<[0-9]{{1,3}}>\[)").match
_re_clock = re.compile(r"[0-9]:[0-9]").search
_LETTERS = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz_")
_re_field = re.compile(r"MESSAGE=").match

_re_found = re.compile(
    rf"{_B}*[0-9A-Za-z_./~+:-]{{1,255}}?[:-](?={_MON}{_B}{{1,2}}[0-9]{{1,2}}{_B}[0-9]{{2}}:"
    rf"|\[{_B}*[0-9]{{1,12}}\.[0-9]{{1,9}}\]|<[0-9]{{1,3}}>\[|[0-9]{{4}}-[0-9]{{2}}-[0-9]{{2}}T)"
).match

# Behind an uptime only "[" (a caller's or a vendor's) or one of "(-.<" can go on, behind a tag only "[" and "<".
_PAST = rf"(?={_B}+(?!\[[\x00-\x200-9A-Zp]|<[0-9]|[(.\-]|{_B})[^\x00-\x20])"
_re_fast_dmesg = re.compile(rf"\[ *([0-9]{{1,12}}\.[0-9]{{1,9}})\](?:{_B}?\[ *([TC][0-9]{{1,10}})\])?{_PAST}").match
_re_fast_syslog = re.compile(
    rf"({_MON}{_B}{{1,2}}[0-9]{{1,2}}{_B}{_CLOCK}|[0-9]{{4}}-[0-9]{{2}}-[0-9]{{2}}T{_CLOCK}(?:\.[0-9]{{1,9}})?"
    rf"(?:Z|[+-][0-9]{{2}}:?[0-9]{{2}}))\x20([0-9A-Za-z][0-9A-Za-z._-]{{0,254}})\x20kernel:"
    rf"(?:{_B}\[ *([0-9]{{1,12}}\.[0-9]{{1,9}})\](?:{_B}?\[ *([TC][0-9]{{1,10}})\])?{_PAST}"
    rf"|(?={_B}+(?!<[0-9]|\[{_B}*[0-9TC]|:|{_B})[^\x00-\x20]))"
).match

_DIGITS = frozenset("0123456789")
#: Behind "[": a frame of PowerPC's or klogd's, no element.
_ADDRESS_STARTS = frozenset("_abcdef")

#: A ``COMM: `` ends within this many characters: TASK_COMM_LEN is 16 with the final NUL (include/linux/sched.h).
_COMM_END = 18


def frame(line: str) -> Frame:
    """Take the prefixes off one physical line (no line end in it); see the grammar in this module's docstring.

    Never raises, whatever the line holds; a line without a prefix comes back as its text with ``start`` 0.
    """
    # What most lines begin with, in one go: the same grammar, only where nothing further can follow.
    if line[:1] == "[":
        if (m := _re_fast_dmesg(line)) and "kernel:" not in line:
            end = m.end()
            return _new(Frame, (line[end:].strip(BLANKS), None, None, m[1], m[2], None, None, None, end, "", 0, False))
    elif (m := _re_fast_syslog(line)) and (
        "." not in (host := m[2]) or (_level_name(host) is None and "." not in host[-1:])
    ):
        end = m.end()
        return _new(Frame, (line[end:].strip(BLANKS), host, m[1], m[3], m[4], None, None, None, end, "", 0, True))
    elif _is_bare(line):
        return _new(Frame, (line.strip(BLANKS), None, None, None, None, None, None, None, 0, "", 0, False))
    return _walk(line)


def _structured_data(line: str, p: int) -> int:
    """Return where RFC 5424 STRUCTURED-DATA that begins at ``p`` ends, or -1."""
    if line[p] == "-":
        return p + 1
    n = len(line)
    while p < n and line[p] == "[":
        p += 1
        quoted = False
        while p < n:
            c = line[p]
            if c == "\\" and quoted:
                p += 1
            elif c == '"':
                quoted = not quoted
            elif c == "]" and not quoted:
                break
            p += 1
        if p >= n:
            return -1
        p += 1
    return p


def _caller(cpu: str, pid: str, base: int = 10) -> str:
    """Write a vendor's task id as printk writes a caller id."""
    number = int(pid)
    return f"T{number}" if number else f"C{int(cpu, base)}"


def _logcat(line: str, p: int) -> re.Match[str] | None:
    """Match logcat's prefix, of a line of the kernel's log as far as can be told."""
    m = _re_logcat(line, p) or _re_logcat_brief(line, p)
    return m if m and (not _lead(m["tag"]) or int(m["id"]) == 0) else None


def _lead(tag: str) -> str:
    """Return what a tag of logcat's was made of; nothing of an empty one and of ``kernel``."""
    tag = tag.strip(BLANKS)
    return "" if tag in {"", "kernel"} else f"{tag}: "


@dataclass(slots=True)
class _Prefix:
    """The elements of one line's prefix, taken off from the left; each ``_take_…`` says whether it took one."""

    line: str
    end: int = 0
    """Where the next element, or the text, begins."""
    host: str | None = None
    time: str | None = None
    uptime: str | None = None
    caller: str | None = None
    priority: int | None = None
    provenance: str | None = None
    release: str | None = None
    levels: int = 0
    walls: int = 0
    vendors: int = 0
    tagged: bool = False
    """A tag was seen: nothing of syslog's can follow."""
    past: bool = False
    """An uptime or a delta was seen: nothing but ids can follow."""
    lead: str = ""
    """What of the text stands in the prefix (logcat's tag)."""
    content: int = 0
    """Where what a container's runtime, or netconsole, wrote unchanged begins."""
    part: str = WHOLE

    def take(self) -> bool:
        """Take one element off; False where the text begins."""
        at = _blanks_end(self.line, self.end)
        if at >= len(self.line):
            return False
        first = self.line[at]
        if first == "[":
            return self._take_bracket(at)
        if self.past:
            return first in "(-.<" and self._take_mediatek(at)
        if first == "<":
            return self._take_level(at)
        if self.tagged:
            return False
        if first in _DIGITS:
            return self._take_number(at) or self._take_local_date(at)
        return self._take_word(at)

    def _take_bracket(self, at: int) -> bool:
        line = self.line
        if line[at + 1 : at + 2] in _ADDRESS_STARTS:
            return False
        if not self.past and (m := _re_uptime(line, at)):
            self.uptime = m[1]
            self.past = True
            self.end = m.end()
            if self.walls == 0 and not self.tagged and (m := _re_named_host(line, self.end)):
                self.host = m[1]
                self.end = m.end() + 7
                self.tagged = True
            elif self.walls == 0 and not self.tagged and _re_bare_tag(line, self.end):
                # journalctl -o short-monotonic, of which somebody took the host.
                self.end += 8
                self.tagged = True
            return True
        if self._take_id(at):
            return True
        if self.tagged:
            return False
        if self.walls < 3 and self._take_bracketed_time(at):
            return True
        if not self.past and (m := _re_delta(line, at)):
            self.past = True
            self.end = m.end()
            return True
        return False

    def _take_id(self, at: int) -> bool:
        """Take printk's caller id, or a vendor's of a task."""
        line = self.line
        if (self.past or self.end == 0) and self.caller is None and (m := _re_caller(line, at)):
            self.caller = m[1]
            self.past = True
            self.end = m.end()
            return True
        if self.vendors > 1:
            return False
        # HiSilicon's says by its own words what it is, the others by their place only.
        if m := _re_hisilicon(line, at):
            self.caller = self.caller or _caller(m[2], m[1])
        elif (self.past or self.end == 0) and (m := _re_samsung(line, at) or _re_samsung_short(line, at)):
            self.caller = self.caller or _caller(m[1], m[2])
        else:
            return False
        self.vendors += 1
        self.past = True
        self.end = m.end()
        return True

    def _take_bracketed_time(self, at: int) -> bool:
        if m := _re_ctime(self.line, at) or _re_reltime(self.line, at):
            self.past = True
            self.time = m[1]
        elif (m := _re_local_ctime(self.line, at)) and _month(m["mon"]):
            self.past = True
            self.time = m["time"]
        elif m := _re_stamp(self.line, at):
            self.time = m[1] if m[1] is not None else self.time
        else:
            return False
        self.walls += 1
        self.end = m.end()
        return True

    def _take_mediatek(self, at: int) -> bool:
        m = _re_mediatek(self.line, at) if self.vendors < 2 else None
        if m is None:
            return False
        self.vendors += 1
        if m[2] is not None:
            self.caller = self.caller or _caller(m[1], m[2], 16)
        self.end = m.end()
        return True

    def _take_level(self, at: int) -> bool:
        line = self.line
        m = _re_level(line, at) if self.levels < 2 else None
        if m is None:
            return False
        self.levels += 1
        if self.priority is None:
            self.priority = int(m[1])
        self.end = m.end()
        m = _re_5424(line, self.end)
        end = _structured_data(line, m.end()) if m else -1
        if m and end >= 0:
            self.walls += 1
            self.tagged = m[3] == "kernel"
            self.time = self.time if m[1] == "-" else m[1]
            self.host = self.host if m[2] == "-" else m[2]
            at = _blanks_end(line, end)
            self.end = at + 1 if line.startswith("\ufeff", at) else end
        return True

    def _take_number(self, at: int) -> bool:
        line = self.line
        if m := _re_kmsg(line, at):
            self._kmsg(m)
            return True
        if self.release is None and (m := _re_release(line, at)):
            if not _re_kmsg(line, m.end()):
                return False
            self.release = m[1]
            self.end = m.end()
            return True
        if self.walls < 3 and (m := _logcat(line, at)):
            return self._logcat(m)
        if self.walls < 3 and (m := _re_iso(line, at)):
            self.time = m[0]
            self.walls += 1
            self.end = m.end()
            # dmesg's own ISO time has a comma, and no host behind it.
            self.past = "," in m[0]
            if not self.past:
                self._header(always=False)
            return True
        if self.walls == 0 and (m := _re_epoch(line, at)) and (h := _re_host(line, m.end())):
            if not _re_tag(line, h.end()):
                return False
            self._wall(m, always=False)
            return True
        if self.end == 0 and (m := _re_lost(line, at)):
            self.uptime = m[0][:-1]
            self.past = True
            self.end = m.end()
            return True
        return False

    def _kmsg(self, m: re.Match[str]) -> None:
        number = int(m[1])
        if self.priority is None:
            self.priority = number
        # Behind anything but netconsole's release somebody else wrote it.
        direct = m.start() == (0 if self.release is None else len(self.release) + 1)
        self.provenance = "forged" if number > 7 else "kernel" if direct else None
        self.uptime = seconds(m[2])
        self.past = True
        self.end = m.end()
        for pair in m[3].split(","):
            name, _, value = pair.partition("=")
            if name == "caller":
                self.caller = value
            elif name == "ncfrag":
                self._fragment(value)

    def _fragment(self, value: str) -> None:
        """Take note of ``OFF/TOTAL``: which bytes of its record a datagram of netconsole's holds."""
        m = _re_fragment(value)
        if m is not None:
            self.content = self.end
            ends = int(m[1]) + len(self.line) - self.end >= int(m[2])
            self.part = (LAST if ends else MIDDLE) if int(m[1]) else (WHOLE if ends else FIRST)

    def _logcat(self, m: re.Match[str]) -> bool:
        """Take logcat's prefix; False where its tag was made of the text."""
        self.time = m["time"] or self.time
        self.lead = _lead(m["tag"])
        self.walls += 1
        self.tagged = True
        self.end = m.end()
        return not self.lead

    def _take_local_date(self, at: int) -> bool:
        """Take a date whose month is written as another language does."""
        m = _re_local_bsd(self.line, at) if self.walls < 3 else None
        if m is None or not _month(m["mon"]):
            return False
        self._wall(m, always=False)
        return True

    def _take_word(self, at: int) -> bool:
        line = self.line
        if self.walls < 3:
            if line[at : at + 3] in _MONTHS and (m := _re_bsd(line, at)):
                self._wall(m, always=True)
                return True
            if line[at : at + 3] in _WEEKDAYS and (m := _re_weekday(line, at)):
                self._wall(m, always=False)
                return True
            if self._take_local_date(at):
                return True
        if self.end == 0 and self._take_first_word(at):
            return not self.lead
        if self.walls == 0 and line[at] == "k" and (m := _re_tag(line, at)):
            self._tag(m)
            return True
        if m := _re_decoded(line, at):
            facility = _FACILITIES.get(m[1])
            severity = _SEVERITIES.get(m[2])
            if facility is not None and severity is not None:
                if self.priority is None:
                    self.priority = facility * 8 + severity
                self.end = m.end()
                return True
        return False

    def _take_first_word(self, at: int) -> bool:
        """Take what stands at the beginning of a line only."""
        line = self.line
        if line[at] == "M" and (m := _re_field(line, at)):
            self.end = m.end()
            return True
        if line[at + 1 : at + 2] == "/" and (m := _logcat(line, at)):
            self._logcat(m)
            return True
        if "kernel:" in line and (m := _re_host_first(line, at)):
            code = _level_name(m[1])
            if code is None:
                self.host = m[1]
            elif self.priority is None:
                self.priority = code
            self.end = m.end() + 7
            self.tagged = True
            return True
        if "login:" in line:
            if m := _re_bare_prompt(line, at):
                self.end = m.end()
                return True
            if (m := _re_prompt(line, at)) and _prompted(line, m.end()):
                self.host = m[1]
                self.end = m.end()
                return True
        return False

    def _tag(self, m: re.Match[str]) -> None:
        self.tagged = True
        self.end = m.end()
        second = _re_second_colon(self.line, self.end)
        if second is not None:
            self.end = second.end()

    def _wall(self, m: re.Match[str], *, always: bool) -> None:
        self.time = m[0]
        self.walls += 1
        self.end = m.end()
        self._header(always=always)

    def _header(self, *, always: bool) -> None:
        """Take what a container's runtime or a syslog daemon writes behind a wall-clock time."""
        line = self.line
        if m := _re_cri(line, self.end):
            self.end = m.end()
            self.content = min(m.end() + 1, len(line))
            self.part = MIDDLE if m[1] == "P" else LAST
            return
        at = self.end
        named: str | None = None
        code: int | None = None
        if (m := _re_host(line, at)) and m[1][0] not in "[<{.*" and m[1][-1] != ":" and _level_name(m[1]) is None:
            named = m[1]
            at = m.end()
        elif (m := _re_placeholder(line, at)) is not None:
            at = m.end()  # a host that somebody took out
        if (m := _re_facility(line, at)) and (code := _level_name(m[0][1:])) is not None:
            at = m.end()
        if m := _re_tag(line, at):
            self._tag(m)
            at = self.end
        elif (m := _re_other_tag(line, at)) and _re_uptime(line, _blanks_end(line, m.end())):
            at = m.end()
            self.tagged = True
        elif not (always or code is not None or _re_repeated(line, at) or _re_uptime(line, _blanks_end(line, at))):
            return
        if named is not None:
            self.host = named
        if code is not None and self.priority is None:
            self.priority = code
        self.end = at


def _blanks_end(line: str, at: int) -> int:
    m = _re_blanks(line, at)
    return at if m is None else m.end()


def seconds(micros: str) -> str:
    """Write microseconds as printk writes seconds."""
    digits = micros.rjust(7, "0")
    return f"{digits[:-6].lstrip('0') or '0'}.{digits[-6:]}"


def _month(word: str) -> bool:
    """Whether a word is a month of some language, or a number with the sign for one."""
    return word[-1] in "月월" or month_number(word) > 0


def _is_bare(line: str) -> bool:
    """Whether a line begins with a word and has nothing that every prefix has which begins with one.

    Of most lines this tells in a fraction of the time; a new element that begins with a letter has its sign here.
    """
    at = _blanks_end(line, 0)
    return (
        at + 1 < len(line)
        and line[at] in _LETTERS
        and line[at + 1] != "/"
        and "[" not in line
        and "<" not in line
        and "kernel" not in line
        and "login:" not in line
        and "=" not in line[at : at + 8]
        and _re_clock(line) is None
        and _re_decoded(line, at) is None
    )


def _walk(line: str, *, inner: bool = False) -> Frame:
    prefix = _Prefix(line)
    more = prefix.take()
    while more:
        more = prefix.take()
    if prefix.end == 0 and not inner and (m := _re_found(line)):
        found = _walk(line[m.end() :], inner=True)
        content = found.content + m.end() if found.content else 0
        return found._replace(start=found.start + m.end(), content=content)
    text = line[prefix.end :].strip(BLANKS)
    if prefix.lead:
        text = (prefix.lead + text).strip(BLANKS)
    return Frame(
        text,
        prefix.host,
        prefix.time,
        prefix.uptime,
        prefix.caller,
        prefix.priority,
        prefix.provenance,
        prefix.release,
        prefix.end,
        prefix.part,
        prefix.content,
        prefix.tagged and prefix.walls > 0,
    )


def _level_name(word: str) -> int | None:
    """Return the priority that ``facility.severity`` names, as OpenWrt, BusyBox and rsyslog write it, or None."""
    facility, dot, severity = word.partition(".")
    if not dot or facility not in _FACILITIES or severity not in _SEVERITIES:
        return None
    return _FACILITIES[facility] * 8 + _SEVERITIES[severity]


def _prompted(line: str, p: int) -> bool:
    """Say whether a message of its own follows a login prompt: ``COMM: …``, an OOM kill's, a time or a level."""
    p = _re_blanks(line, p).end()  # type: ignore[union-attr]
    if line[p : p + 1] in {"[", "<"}:
        return True
    colon = line.find(": ", p)
    oom = line.find(" invoked oom-killer: ", p)
    return 0 <= colon < p + _COMM_END or 0 <= oom < p + _COMM_END
