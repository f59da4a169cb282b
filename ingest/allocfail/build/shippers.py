"""Configurations of log shippers that join a dump into one document, from ``ingest/shippers``.

``definition.yml`` and the lines of ``kb/facts/carriers.yml`` say which lines belong together; ``templates`` hold the
rest of each configuration, with ``@name@`` where a value of the definition goes.
"""

from __future__ import annotations

import re
from typing import Any, NamedTuple

import yaml

from allocfail import facts
from allocfail.content import content_path
from allocfail.errors import AllocfailError

__all__ = ["Definition", "generate", "posix", "read"]

_FOLDER = "ingest/shippers"
#: What would end a quotation or begin a variable in one of the configurations.
_UNSAFE = re.compile(r"['\"`$@\n]")
_BRACKETS_OR_ESCAPE = re.compile(r"\[((?:\\.|[^\]])+)\]|\\(.)")


class Definition(NamedTuple):
    """Which lines make one document."""

    first: list[str]
    """Patterns of a line that begins a dump."""
    continuation: list[str]
    """Patterns of a line that goes on with one."""
    lone: list[str]
    """Patterns of a line that is an event by itself."""
    limits: dict[str, int]
    """``seconds`` to wait for the next line, and the ``lines`` and ``bytes`` of the largest document."""


def read() -> Definition:
    """Return the definition. Raises :class:`AllocfailError` for a pattern that a configuration could not quote."""
    source: dict[str, Any] = yaml.safe_load(content_path(f"{_FOLDER}/definition.yml").read_text(encoding="utf-8"))
    limits = {name: source[name] for name in ("seconds", "lines", "bytes")}
    definition = Definition(source["first"], facts.load()["carriers"]["continuation"], source["lone"], limits)
    for pattern in (*definition.first, *definition.continuation, *definition.lone):
        if _UNSAFE.search(pattern):
            raise AllocfailError(f"{_FOLDER}: {pattern!r} has a character that no configuration can quote")
    return definition


def generate() -> dict[str, str]:
    """Return the configurations by path below the project's root."""
    values = _values(read())
    place = re.compile(f"@({'|'.join(values)})@")
    return {
        f"{_FOLDER}/{template.name}": place.sub(lambda m: values[m[1]], template.read_text(encoding="utf-8"))
        for template in sorted(content_path(f"{_FOLDER}/templates").glob("*.*"))
    }


def _values(definition: Definition) -> dict[str, str]:
    first, continuation = "|".join(definition.first), "|".join(definition.continuation)
    limits = definition.limits
    return {
        "first": first,
        "continuation": continuation,
        # For syntax with look-ahead: the definition negated.
        "boundary": f"(?:{first})|^(?!.*(?:{continuation}))",
        "posix_first": _rainerscript(definition.first),
        "posix_continuation": _rainerscript(definition.continuation),
        "milliseconds": str(1000 * limits["seconds"]),
        **{name: str(limit) for name, limit in limits.items()},
    }


def _rainerscript(patterns: list[str]) -> str:
    """Return a condition of rsyslog's: a message matches one of the patterns."""
    escaped = (posix(pattern).replace("\\", "\\\\") for pattern in patterns)
    return " or\n".join(f"        re_match($msg, '{pattern}')" for pattern in escaped)


def posix(pattern: str) -> str:
    r"""Return a pattern as a POSIX extended regular expression: no ``\d`` and ``\w``, no backslash in brackets."""

    def rewritten(m: re.Match[str]) -> str:
        if m[2]:
            return f"[{_class(m[2])}]" if m[2] in "dw" else m[0]
        inside = re.sub(r"\\(.)", lambda escape: _class(escape[1]), m[1])
        # A bracket stands for itself in the first place only.
        return "[]" + inside.replace("]", "") + "]" if r"\]" in m[1] else f"[{inside}]"

    return _BRACKETS_OR_ESCAPE.sub(rewritten, pattern)


def _class(escaped: str) -> str:
    return {"d": "0-9", "w": "0-9A-Za-z_"}.get(escaped, escaped)
