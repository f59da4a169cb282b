"""Containers of log lines: what a JSON object or an entry of a journal export says beside the text in it."""

from __future__ import annotations

import re
from functools import cache
from typing import Any, NamedTuple

from allocfail import facts
from allocfail.decoder.fields import at
from allocfail.decoder.framing import BLANKS, frame, seconds
from allocfail.decoder.kit import bytes_text, json_of, number_text, without_surrogates
from allocfail.decoder.records import Origin

__all__ = [
    "EXPORT_START",
    "Export",
    "ObjectLines",
    "Opened",
    "described",
    "hosts_of",
    "nested",
    "open_json",
    "open_object",
    "provenance",
]


class Opened(NamedTuple):
    """An opened container: its text, and what it says of it."""

    text: str
    host: str | None = None
    time: str | None = None
    uptime: str | None = None
    caller: str | None = None
    origin: Origin = Origin()


class _Paths(NamedTuple):
    """Where a container keeps what (``kb/facts/containers.yml``); the first path that is there counts."""

    texts: tuple[str, ...]
    hosts: tuple[str, ...]
    times: tuple[str, ...]
    uptimes: tuple[str, ...]
    boots: tuple[str, ...]
    transports: tuple[str, ...]
    identifiers: tuple[str, ...]
    facilities: tuple[str, ...]
    confined: tuple[tuple[str, str], ...]
    """A path, and the value there that counts; any does where that is empty."""
    expected: tuple[tuple[str, str], ...]
    """A path, and the only value there that proves something."""
    keys: frozenset[str]
    """Every key on the way to one of them, the dots in it or not; nothing else of an object is kept."""


@cache
def _paths() -> _Paths:
    known: dict[str, list[str]] = facts.load()["containers"]
    confined, expected = _valued(known["confined"]), _valued(known["expected"])
    paths = [path for group in known.values() for one in group for path, _ in _valued([one])]
    keys = frozenset(".".join(path.split(".")[i:j]) for path in paths for i in range(5) for j in range(i + 1, 6))
    return _Paths(
        tuple(known["texts"]),
        tuple(known["hosts"]),
        tuple(known["times"]),
        tuple(known["uptimes"]),
        tuple(known["boots"]),
        tuple(known["transports"]),
        tuple(known["identifiers"]),
        tuple(known["facilities"]),
        confined,
        expected,
        keys,
    )


def _valued(entries: list[str]) -> tuple[tuple[str, str], ...]:
    """Take ``path=value`` apart."""
    return tuple((path, value) for path, _, value in (entry.partition("=") for entry in entries))


#: A line of an object printed over several: ``"message": "…",``.
_PRETTY = re.compile(r'[ \t]*"(?:message|MESSAGE|msg|log)"[ \t]*:[ \t]*("(?:[^"\\\x00-\x1f]|\\.)*"),?[ \t\r]*$').match
_CALLER = re.compile(r"[TC][0-9]{1,10}$").match
_MICROS = re.compile(r"[0-9]{1,20}$").match
_SMALL = re.compile(r"[0-9]{1,3}$").match

#: What an entry of ``journalctl -o export`` begins with.
EXPORT_START = "__CURSOR="
_EXPORT_KEY = re.compile(r"[A-Z0-9_]+$").match


def parse_object(text: str) -> dict[str, Any] | None:
    """Return what is kept of a JSON object; None where a text is none."""
    found = json_of(text, _paths().keys)
    return found if isinstance(found, dict) else None


def open_json(line: str) -> Opened | None:
    """Open a JSON object with a text in it, also behind a runtime's prefix or quote signs; None for any other line."""
    body = line.strip(BLANKS + "\x1e,")
    body = body.removeprefix("data: ") if body.startswith("data: {") else body
    body = body.removeprefix("[") if body.startswith("[{") else body
    start = body.find("{")
    if start < 0 or body.startswith('"'):
        return _pretty(line)
    # Mails quote with these.
    framed = start > 0 and body[:start].strip(BLANKS + ">|") != ""
    if framed:
        # A runtime's or a daemon's prefix in front of the object: nothing but the prefix, a tag at most.
        prefix = frame(body[:start].replace("&nbsp;", " "))
        if not prefix.start or (prefix.text and not prefix.text.endswith(":")):
            return None
    # What stands in front of it was put there by another: an entry of a stream, or of a list, is as it was written.
    bare = (not framed and line[:1] in {"{", "\x1e", "["}) or line.startswith("data: {")
    # A page writes blanks so that they stay.
    body = body[start:].replace("&nbsp;", " ").replace("\u00a0", " ")
    if not body.endswith("}"):
        body = body.rstrip("]" + BLANKS)
        if not body.endswith("}"):
            return None
    found = parse_object(body)
    opened = None if found is None else open_object(found)
    return opened if opened is None or bare else unproven(opened)


def _pretty(line: str) -> Opened | None:
    m = _PRETTY(line)
    found = None if m is None else parse_object('{"message":' + m[1] + "}")
    text = None if found is None else found.get("message")
    return Opened(_writable(text)) if isinstance(text, str) else None


def open_object(found: dict[str, Any]) -> Opened | None:
    """Take the text and what belongs to it out of an object."""
    source = found.get("_source")
    if isinstance(source, dict):
        found = source
    text = _message(found)
    if text is None:
        return None
    return described(found, text)


def _message(found: dict[str, Any]) -> str | None:
    """Return an object's text; an empty one is one too, where there is no other."""
    empty: str | None = None
    for path in _paths().texts:
        value = at(found, path)
        if isinstance(value, str):
            if value:
                return value
            empty = value
        elif path == "MESSAGE" and isinstance(value, list):
            # journalctl writes what is not printable as an array of bytes.
            text = bytes_text(value)
            if text is not None:
                return text
    return empty


def hosts_of(found: dict[str, Any]) -> list[str]:
    """Return the hosts that ECS has a place for in a document, and a host that is a string."""
    return [name for path in ("host.hostname", "host.name", "host") if (name := _text(found, path)) is not None]


def described(found: dict[str, Any], text: str) -> Opened:
    """Return ``text`` with what an object says of it."""
    paths = _paths()
    time = next((t for path in paths.times if (t := _moment(found, path)) is not None), None)
    boot = next((b for path in paths.boots if (b := _text(found, path)) is not None), None)
    caller = _text(found, "caller")
    return Opened(
        _writable(text),
        next((host for path in paths.hosts if (host := _text(found, path)) is not None), None),
        time,
        _uptime(found),
        caller if caller is not None and _CALLER(caller) else None,
        Origin(provenance(found), _text(found, "host.os.kernel"), _priority(found), time, boot),
    )


def nested(outer: Opened, inner: Opened) -> Opened:
    """Join what two containers say of the inner's text: the inner is nearer to the kernel, but proves nothing."""
    origin = Origin(
        "forged" if inner.origin.provenance == "forged" else outer.origin.provenance,
        inner.origin.release or outer.origin.release,
        outer.origin.priority if inner.origin.priority is None else inner.origin.priority,
        outer.origin.time or inner.origin.time,
        outer.origin.boot or inner.origin.boot,
    )
    return Opened(
        inner.text,
        inner.host or outer.host,
        inner.time or outer.time,
        inner.uptime or outer.uptime,
        inner.caller or outer.caller,
        origin,
    )


def unproven(opened: Opened) -> Opened:
    """Return a container's content as one that came by another transport than the kernel's."""
    if opened.origin.provenance != "kernel":
        return opened
    return opened._replace(origin=opened.origin._replace(provenance=None))


def _writable(text: str) -> str:
    """Replace lone surrogates, which no UTF-8 output can hold."""
    return without_surrogates(text, "\ufffd")


def _text(found: dict[str, Any], path: str) -> str | None:
    value = at(found, path)
    if not isinstance(value, str):
        return None
    return _writable(value.strip(BLANKS)) or None


def _moment(found: dict[str, Any], path: str) -> str | None:
    value = at(found, path)
    if isinstance(value, str):
        return _writable(value) or None
    return number_text(value)


def _number(found: dict[str, Any], path: str) -> int | None:
    value = at(found, path)
    if isinstance(value, str) and _SMALL(value):
        value = int(value)
    return value if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 1000 else None


def _uptime(found: dict[str, Any]) -> str | None:
    """Return printk's time in seconds, as printk writes it."""
    for path in _paths().uptimes:
        micros = _text(found, path)
        if micros is not None and _MICROS(micros):
            return seconds(micros)
    whole, micros_of = found.get("sec"), found.get("usec")
    if _is_count(whole) and _is_count(micros_of):
        return f"{whole}.{micros_of:06d}"
    return None


def _is_count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 1_000_000_000_000


def provenance(found: dict[str, Any]) -> str | None:
    """Return what a journal's record proves of its origin; None where it proves nothing.

    journald names a record of the kernel's ``kernel`` where its facility is 0 (``journald-kmsg.c``).
    """
    paths = _paths()
    transports = [t for path in paths.transports if (t := _text(found, path)) is not None]
    if not transports or any(one != "kernel" for one in transports):
        return None
    if any(_holds(found, path, value) for path, value in paths.confined):
        return None
    if any((said := _text(found, path)) is not None and said != value for path, value in paths.expected):
        return None
    names = [i for path in paths.identifiers if (i := _text(found, path)) is not None]
    if any(one != "kernel" for one in names) or any((_number(found, path) or 0) != 0 for path in paths.facilities):
        return "forged"
    return "kernel" if names else None


def _holds(found: dict[str, Any], path: str, wanted: str) -> bool:
    """Whether there is a value at a path, that one if one is wanted; else anything, also below it."""
    return _text(found, path) == wanted if wanted else _is_under(found, path)


def _is_under(found: dict[str, Any], path: str) -> bool:
    """Whether there is something at a path or below it, nested or with the dots in the keys."""
    for key, value in found.items():
        if value is None:
            continue
        if key == path or key.startswith(path + "."):
            return True
        if isinstance(value, dict) and path.startswith(key + ".") and _is_under(value, path[len(key) + 1 :]):
            return True
    return False


def _priority(found: dict[str, Any]) -> int | None:
    severity = _number(found, "PRIORITY")
    if severity is not None and severity < 8:
        return (_number(found, "SYSLOG_FACILITY") or 0) * 8 + severity
    return _number(found, "log.syslog.priority")


class Export:
    """The fields of ``journalctl -o export``, fed line by line (systemd.io/JOURNAL_EXPORT_FORMATS)."""

    def __init__(self) -> None:
        """Begin outside an entry."""
        self.active = False
        """An entry has begun and has not ended."""
        self.offset = 0
        """Offset of the entry's first line."""
        self._fields: dict[str, Any] = {}

    def feed(self, line: str, offset: int) -> bool:
        """Take one line, without its end; False where it is none of an entry: :meth:`end` that, read it as text."""
        equals = line.find("=")
        if equals < 1 or not _EXPORT_KEY(line[:equals]):
            return False
        self.put(line[:equals], line[equals + 1 :], offset)
        return True

    def put(self, key: str, value: str, offset: int) -> None:
        """Keep a field, where it is one that is read; begin an entry where none has begun."""
        if not self.active:
            self.active = True
            self.offset = offset
        if key in _paths().keys:
            self._fields[key] = value

    def end(self) -> Opened | None:
        """End the entry and open it."""
        fields = self._fields
        self._fields = {}
        self.active = False
        return open_object(fields)


#: A JSON object printed over several lines has at most as many, and characters.
_OBJECT_LINES = 400
_OBJECT_CHARACTERS = 262144
_OBJECT_BEGINS = re.compile(r"([ \t]*)(?:\[[ \t]*)?\{[ \t\r]*$").match


class ObjectLines:
    """The lines of a JSON object that is printed over several, as jq does it: it ends where its indentation does."""

    def __init__(self) -> None:
        """Begin outside an object."""
        self.active = False
        self.offset = 0
        """Offset of the object's first line."""
        self._lines: list[tuple[str, int]] = []
        self._size = 0
        self._end = ""

    def begins(self, line: str) -> bool:
        """Whether a line is one on which an object begins and goes on."""
        return line[-2:].rstrip("\r \t").endswith("{") and _OBJECT_BEGINS(line) is not None

    def feed(self, line: str, offset: int) -> bool:
        """Take a line; True where the object is whole, or can be none: ask :meth:`opened`, then :meth:`give_up`."""
        if not self.active:
            m = _OBJECT_BEGINS(line)
            self.active = True
            self.offset = offset
            self._end = ("" if m is None else m[1]) + "}"
        self._lines.append((line, offset))
        self._size += len(line)
        if len(self._lines) > _OBJECT_LINES or self._size > _OBJECT_CHARACTERS:
            return True
        return len(self._lines) > 1 and line.startswith(self._end)

    def opened(self) -> Opened | None:
        """Open the object; None, and everything stays to be given up, where it holds no text."""
        text = "\n".join(line for line, _ in self._lines).strip(BLANKS + "[,]")
        found = parse_object(text)
        opened = None if found is None else open_object(found)
        if opened is not None:
            # What is indented may be the rest of a line that somebody else wrote.
            opened = opened if self._end == "}" else unproven(opened)
            self.active = False
            self._lines = []
            self._size = 0
        return opened

    def give_up(self) -> list[tuple[str, int]]:
        """Return the lines taken, which are no object, with their offsets."""
        lines = self._lines
        self.active = False
        self._lines = []
        self._size = 0
        return lines
