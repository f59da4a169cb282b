r"""What stands before the kernel's text on one physical line, and what it says.

Shippers, terminals, printk and vendors each put a prefix in front of the text, and they nest: a container runtime in
front of syslog, syslog in front of printk's own time, a vendor's task id behind that. :func:`frame` takes them off from
the left, one element after the other, and stops at the first text that is none of them.

A process may call itself anything (``prctl(PR_SET_NAME)``), so an element counts only where its writer puts it: a tag
follows a date, a caller id follows a printk time, nothing but a caller id or a vendor's id follows a printk time.

The grammar. ``B`` is one character up to U+0020, ``D`` an ASCII digit, ``H`` one or more characters above U+0020,
``[x]`` optional, ``{x}`` repeated, ``a..b`` a number of times. No alternative needs to be taken back once it matched
as a whole, so loops over characters do; a port in Painless is ``pipelines/painless/framing.painless``::

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
    uptime   = "[" {B} D "." D [ "s" | "@" D | B "/" … | B "<" delta ">" ] "]" [ B host B "kernel:" ]
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
from typing import NamedTuple

__all__ = ["BLANKS", "Frame", "frame"]

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
    """Of a ``/dev/kmsg`` record: ``kernel`` where the facility is 0, else ``forged``."""
    release: str | None = None
    """Kernel release, where netconsole puts it in front."""
    start: int = 0
    """Where the prefix ends in the line; 0 where there is none."""


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
_BSD = (
    rf"{_MON}{_B}{{1,2}}[0-9]{{1,2}}{_B}(?:[0-9]{{4}}{_B})?{_CLOCK}(?:\.[0-9]{{1,9}})?(?:{_B}[12][0-9]{{3}}(?={_B}))?"
)
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
_re_cri = re.compile(rf"{_B}(?:stdout|stderr){_B}[FP]{_END}").match
_re_host = re.compile(rf"{_B}({_H}+){_END}").match
_re_facility = re.compile(rf"{_B}([a-z0-9]{{3,8}})\.([a-z]{{3,7}}){_END}").match
_re_tag = re.compile(r"[\x00-\x20]{0,2}kernel(?:\[[^\]\x00-\x20]{0,16}\])?:(?=[\x00-\x20\[<]|\Z)").match
_re_other_tag = re.compile(r"[\x00-\x20][A-Za-z_][A-Za-z0-9._/-]{0,47}(?:\[[0-9]{1,10}\])?:(?=[\x00-\x20]|\[)").match
_re_second_colon = re.compile(rf"{_B}:(?={_B}\[{_B}*[0-9]+\.[0-9])").match
_re_repeated = re.compile(rf"{_B}(?:last{_B})?message{_B}repeated{_B}").match
_re_decoded = re.compile(rf"([a-z0-9]{{3,8}}){_B}*:([a-z]{{3,6}}){_B}*:{_END}").match
_re_uptime = re.compile(
    rf"\[{_B}*([0-9]{{1,12}}\.[0-9]{{1,9}})"
    rf"(?:s|@[0-9]{{1,4}}|{_B}/{_B}[\x20-\x5c\x5e-\x7e]{{1,40}}|{_B}<{_B}*-?[0-9]{{1,12}}\.[0-9]{{1,9}}>)?\](?!:)"
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
_re_host_first = re.compile(
    rf"([0-9A-Za-z][0-9A-Za-z._-]{{0,254}}){_B}(?=kernel:{_B}*\[{_B}*[0-9]{{1,12}}\.[0-9]{{1,9}}\])"
).match
_re_prompt = re.compile(rf"([0-9A-Za-z(][0-9A-Za-z._()-]{{0,254}}){_B}login:(?={_B})").match
_re_bare_prompt = re.compile(rf"login:{_B}+(?=\[{_B}*[0-9]{{1,12}}\.[0-9]{{1,9}}\]|<[0-9]{{1,3}}>\[)").match
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
            return _new(Frame, (line[end:].strip(BLANKS), None, None, m[1], m[2], None, None, None, end))
    elif (m := _re_fast_syslog(line)) and (
        "." not in (host := m[2]) or (_level_name(host) is None and "." not in host[-1:])
    ):
        end = m.end()
        return _new(Frame, (line[end:].strip(BLANKS), host, m[1], m[3], m[4], None, None, None, end))
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


def _walk(line: str, *, inner: bool = False) -> Frame:
    host: str | None = None
    time: str | None = None
    uptime: str | None = None
    caller: str | None = None
    priority: int | None = None
    provenance: str | None = None
    release: str | None = None
    levels = walls = vendors = 0
    tagged = False
    past = False  # an uptime or a delta was seen
    lead = ""  # what of the text stands in the prefix
    end = 0
    n = len(line)
    while True:
        p = _re_blanks(line, end).end()  # type: ignore[union-attr]
        if p >= n:
            break
        c = line[p]
        wall = False
        if c == "[":
            if line[p + 1 : p + 2] in _ADDRESS_STARTS:
                break
            if not past and (m := _re_uptime(line, p)):
                uptime = m[1]
                past = True
                end = m.end()
                if walls == 0 and not tagged and (m := _re_named_host(line, end)):
                    host = m[1]
                    end = m.end() + 7
                    tagged = True
                continue
            if (past or end == 0) and caller is None and (m := _re_caller(line, p)):
                caller = m[1]
                past = True
                end = m.end()
                continue
            if (past or end == 0) and vendors < 2:
                if m := _re_samsung(line, p) or _re_samsung_short(line, p):
                    vendors += 1
                    past = True
                    caller = caller or _caller(m[1], m[2])
                    end = m.end()
                    continue
                if m := _re_hisilicon(line, p):
                    vendors += 1
                    past = True
                    caller = caller or _caller(m[2], m[1])
                    end = m.end()
                    continue
            if tagged:
                break
            if walls < 3:
                if m := _re_ctime(line, p) or _re_reltime(line, p):
                    walls += 1
                    time = m[1]
                    past = True
                    end = m.end()
                    continue
                if m := _re_stamp(line, p):
                    walls += 1
                    if m[1] is not None:
                        time = m[1]
                    end = m.end()
                    continue
            if not past and (m := _re_delta(line, p)):
                past = True
                end = m.end()
                continue
            break
        if past:
            if vendors < 2 and c in "(-.<" and (m := _re_mediatek(line, p)):
                vendors += 1
                if m[2] is not None:
                    caller = caller or _caller(m[1], m[2], 16)
                end = m.end()
                continue
            break
        if c == "<":
            m = _re_level(line, p)
            if not m or levels == 2:
                break
            levels += 1
            if priority is None:
                priority = int(m[1])
            end = m.end()
            if m := _re_5424(line, end):
                q = _structured_data(line, m.end())
                if q >= 0:
                    walls += 1
                    tagged = m[3] == "kernel"
                    time = time if m[1] == "-" else m[1]
                    host = host if m[2] == "-" else m[2]
                    end = q
                    p = _re_blanks(line, end).end()  # type: ignore[union-attr]
                    if line[p : p + 1] == "\ufeff":
                        end = p + 1
            continue
        if tagged:
            break
        if c in _DIGITS:
            if m := _re_kmsg(line, p):
                number = int(m[1])
                if priority is None:
                    priority = number
                provenance = "kernel" if number < 8 else "forged"
                digits = m[2].rjust(7, "0")
                uptime = digits[:-6].lstrip("0") or "0"
                uptime = f"{uptime}.{digits[-6:]}"
                past = True
                for pair in m[3].split(","):
                    if pair.startswith("caller="):
                        caller = pair[7:]
                end = m.end()
                continue
            if release is None and (m := _re_release(line, p)):
                if not _re_kmsg(line, m.end()):
                    break
                release = m[1]
                end = m.end()
                continue
            if walls < 3 and (m := _logcat(line, p)):
                time = m["time"]
                lead = _lead(m["tag"])
                walls += 1
                tagged = True
                end = m.end()
                if lead:
                    break
            elif walls < 3 and (m := _re_iso(line, p)):
                time = m[0]
                # dmesg's own ISO time has a comma, and no host behind it.
                wall = "," not in time
                past = not wall
                walls += 1
                end = m.end()
            elif walls == 0 and (m := _re_epoch(line, p)) and (h := _re_host(line, m.end())):
                if not _re_tag(line, h.end()):
                    break
                time = m[0]
                walls += 1
                wall = True
                end = m.end()
            elif end == 0 and (m := _re_lost(line, p)):
                uptime = m[0][:-1]
                past = True
                end = m.end()
            else:
                break
            if not wall:
                continue
            always = False
        elif line[p : p + 3] in _MONTHS and walls < 3 and (m := _re_bsd(line, p)):
            time = m[0]
            walls += 1
            end = m.end()
            always = True
        elif line[p : p + 3] in _WEEKDAYS and walls < 3 and (m := _re_weekday(line, p)):
            time = m[0]
            walls += 1
            end = m.end()
            always = False
        else:
            if end == 0:
                if c == "M" and (m := _re_field(line, p)):
                    end = m.end()
                    continue
                if line[p + 1 : p + 2] == "/" and (m := _logcat(line, p)):
                    lead = _lead(m["tag"])
                    walls += 1
                    tagged = True
                    end = m.end()
                    if lead:
                        break
                    continue
                if "kernel:" in line and (m := _re_host_first(line, p)):
                    host = m[1]
                    end = m.end() + 7
                    tagged = True
                    continue
                if "login:" in line:
                    if m := _re_bare_prompt(line, p):
                        end = m.end()
                        continue
                    if (m := _re_prompt(line, p)) and _prompted(line, m.end()):
                        host = m[1]
                        end = m.end()
                        continue
            if walls == 0 and c == "k" and (m := _re_tag(line, p)):
                tagged = True
                end = m.end()
                if m := _re_second_colon(line, end):
                    end = m.end()
                continue
            if m := _re_decoded(line, p):
                facility = _FACILITIES.get(m[1])
                severity = _SEVERITIES.get(m[2])
                if facility is not None and severity is not None:
                    if priority is None:
                        priority = facility * 8 + severity
                    end = m.end()
                    continue
            break
        # Behind a wall-clock time: what the runtime or the syslog daemon wrote there.
        if m := _re_cri(line, end):
            end = m.end()
            continue
        q = end
        named: str | None = None
        code: int | None = None
        m = _re_host(line, q)
        if m and m[1][0] not in "[<{" and m[1][-1] != ":" and _level_name(m[1]) is None:
            named = m[1]
            q = m.end()
        if (m := _re_facility(line, q)) and (code := _level_name(m[0][1:])) is not None:
            q = m.end()
        if m := _re_tag(line, q):
            q = m.end()
            tagged = True
            if m := _re_second_colon(line, q):
                q = m.end()
        elif (m := _re_other_tag(line, q)) and _re_uptime(line, _re_blanks(line, m.end()).end()):  # type: ignore[union-attr]
            q = m.end()
            tagged = True
        elif not (
            always or code is not None or _re_repeated(line, q) or _re_uptime(line, _re_blanks(line, q).end())  # type: ignore[union-attr]
        ):
            continue
        if named is not None:
            host = named
        if code is not None and priority is None:
            priority = code
        end = q
    if end == 0 and not inner and (m := _re_found(line)):
        found = _walk(line[m.end() :], inner=True)
        return found._replace(start=found.start + m.end())
    text = line[end:].strip(BLANKS)
    if lead:
        text = (lead + text).strip(BLANKS)
    return _new(Frame, (text, host, time, uptime, caller, priority, provenance, release, end))


def _level_name(word: str) -> int | None:
    """Return the priority that ``facility.severity`` names, as OpenWrt, BusyBox and rsyslog write it, or None."""
    facility, dot, severity = word.partition(".")
    if not dot or facility not in _FACILITIES or severity not in _SEVERITIES:
        return None
    return _FACILITIES[facility] * 8 + _SEVERITIES[severity]


def _prompted(line: str, p: int) -> bool:
    """Say whether a message of its own follows a login prompt: ``COMM: …``, a time or a level."""
    p = _re_blanks(line, p).end()  # type: ignore[union-attr]
    if line[p : p + 1] in {"[", "<"}:
        return True
    colon = line.find(": ", p)
    return 0 <= colon < p + _COMM_END
