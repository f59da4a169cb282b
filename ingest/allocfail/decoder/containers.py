"""Containers of log lines: what a JSON object or an entry of a journal export says beside the text in it."""

from __future__ import annotations

import re
from functools import cache
from typing import Any, NamedTuple

from allocfail import facts
from allocfail.decoder.framing import BLANKS, frame
from allocfail.decoder.kit import bytes_text, json_of, number_text, without_surrogates
from allocfail.decoder.records import Origin

__all__ = ["EXPORT_START", "Export", "Opened", "open_json"]


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
    keys: frozenset[str]
    """Every key on the way to one of them, the dots in it or not; nothing else of an object is kept."""


@cache
def _paths() -> _Paths:
    known: dict[str, list[str]] = facts.load()["containers"]
    paths = [path for group in known.values() for path in group]
    keys = frozenset(".".join(path.split(".")[i:j]) for path in paths for i in range(4) for j in range(i + 1, 5))
    return _Paths(tuple(known["texts"]), tuple(known["hosts"]), tuple(known["times"]), keys)


#: A line of an object printed over several: ``"message": "…",``.
_PRETTY = re.compile(r'[ \t]*"(?:message|MESSAGE|msg|log)"[ \t]*:[ \t]*("(?:[^"\\\x00-\x1f]|\\.)*"),?[ \t\r]*$').match
_CALLER = re.compile(r"[TC][0-9]{1,10}$", re.ASCII).match

#: What an entry of ``journalctl -o export`` begins with.
EXPORT_START = "__CURSOR="
_EXPORT_KEY = re.compile(r"[A-Z0-9_]+$").match


def open_json(line: str) -> Opened | None:
    """Open a line that is a JSON object with a text in it, also behind a runtime's prefix; None for any other line."""
    body = line.strip(BLANKS + "\x1e,")
    if body.startswith("data: {"):
        body = body[6:]
    if body.startswith("[{"):
        body = body[1:]
    start = body.find("{")
    if start < 0 or body.startswith('"'):
        if m := _PRETTY(line):
            text = json_of(m[1], _paths().keys)
            return Opened(_writable(text)) if isinstance(text, str) else None
        return None
    if start > 0 and body[:start].strip(BLANKS):
        # A runtime's or a daemon's prefix in front of the object: nothing but the prefix, a tag at most.
        prefix = frame(body[:start])
        if not prefix.start or (prefix.text and not prefix.text.endswith(":")):
            return None
    body = body[start:]
    if not body.endswith("}"):
        body = body.rstrip("]" + BLANKS)
        if not body.endswith("}"):
            return None
    found = json_of(body, _paths().keys)
    return _opened(found) if isinstance(found, dict) else None


def _opened(found: dict[str, Any]) -> Opened | None:
    """Take the text and what belongs to it out of an object."""
    source = found.get("_source")
    if isinstance(source, dict):
        found = source
    paths = _paths()
    text: str | None = None
    for path in paths.texts:
        value = _at(found, path)
        if isinstance(value, str):
            text = text or value  # an empty line is one too, where nothing else is there
            if value:
                break
        if path == "MESSAGE" and isinstance(value, list):
            # journalctl writes what is not printable as an array of bytes.
            spelled = bytes_text(value)
            if spelled is not None:
                text = spelled
                break
    if text is None:
        return None
    time: str | None = None
    for path in paths.times:
        value = _at(found, path)
        printed = value if isinstance(value, str) else number_text(value)
        if printed is not None:
            time = _writable(printed)
            break
    caller = _text(found, "caller")
    return Opened(
        _writable(text),
        next((host for path in paths.hosts if (host := _text(found, path))), None),
        time,
        _monotonic(_text(found, "_SOURCE_MONOTONIC_TIMESTAMP")),
        caller if caller and _CALLER(caller) else None,
        Origin(provenance(found), _text(found, "host.os.kernel"), _priority(found), time),
    )


def _writable(text: str) -> str:
    """Replace lone surrogates, which no UTF-8 output can hold."""
    return without_surrogates(text, "\ufffd")


def _at(found: dict[str, Any], path: str) -> Any:
    """Return the value at a dotted path, whether the object nests it or writes the dots in its keys."""
    if path in found or "." not in path:
        return found.get(path)
    head, rest = path.split(".", 1)
    inner = found.get(head)
    return _at(inner, rest) if isinstance(inner, dict) else None


def _text(found: dict[str, Any], path: str) -> str | None:
    value = _at(found, path)
    return _writable(value) if isinstance(value, str) and value else None


def _number(found: dict[str, Any], path: str) -> int | None:
    value = _at(found, path)
    if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) <= 3:
        value = int(value)
    return value if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 1000 else None


def _monotonic(micros: str | None) -> str | None:
    """Write the journal's microseconds as printk writes seconds."""
    if micros is None or not micros.isascii() or not micros.isdigit() or len(micros) > 20:
        return None
    digits = micros.rjust(7, "0")
    return f"{digits[:-6].lstrip('0') or '0'}.{digits[-6:]}"


def provenance(found: dict[str, Any]) -> str | None:
    """Return what a journal's record proves of its origin; None where it proves nothing.

    journald names a record of the kernel's ``kernel`` where its facility is 0 (``journald-kmsg.c``).
    """
    if _at(found, "_TRANSPORT") != "kernel":
        return None
    name = _at(found, "SYSLOG_IDENTIFIER")
    if (_number(found, "SYSLOG_FACILITY") or 0) != 0 or name not in {"kernel", None}:
        return "forged"
    return None if name is None else "kernel"


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
        return _opened(fields)
