"""What Python and Painless do by different means: each has a twin by hand in ``pipelines/painless/kit.painless``.

Everything else of this room is compiled. Tests hold each of these against its twin on a real engine.
"""

from __future__ import annotations

import hashlib
import json
import re
import time
from datetime import UTC, datetime, timedelta, timezone, tzinfo
from functools import lru_cache
from typing import Any
from zoneinfo import ZoneInfo

__all__ = [
    "bytes_text",
    "decimal",
    "json_of",
    "now_millis",
    "number_text",
    "sha256",
    "utc_seconds",
    "utf8_length",
    "width",
    "without_surrogates",
    "zone",
]

#: JSON nested deeper than this is not read.
_DEEPEST = 200
_HALF = re.compile("[\ud800-\udfff]")
_BRACKETS = re.compile(r'"(?:[^"\\]|\\.)*"|[][{}]')


def sha256(text: str) -> str:
    """Return the SHA-256 of a text in UTF-8, as 64 hex digits."""
    return hashlib.sha256(text.encode("utf-8", "replace")).hexdigest()


def now_millis() -> int:
    """Return the time, in milliseconds since 1970."""
    return time.time_ns() // 1_000_000


def width(text: str) -> int:
    """Return how many characters a text has: ``len``, which counts other things in Java."""
    return len(text)


def utf8_length(text: str) -> int:
    """Return how many bytes a text has in UTF-8; a lone half of a surrogate pair counts as one."""
    return len(text) if text.isascii() else len(text.encode("utf-8", "replace"))


def without_surrogates(text: str, mark: str) -> str:
    """Replace lone halves of surrogate pairs, which no UTF-8 can hold, by ``mark``."""
    if text.isascii():
        return text
    # A pair written as two escapes is one character.
    whole = text.encode("utf-16", "surrogatepass").decode("utf-16", "surrogatepass")
    return _HALF.sub(mark, whole)


class _Float(float):
    """A number with a point, and how it was written."""

    text = ""


def _float(text: str) -> _Float:
    number = _Float(text)
    number.text = text
    return number


def json_of(text: str, keys: frozenset[str]) -> Any:
    """Return the value of a JSON text, None where it is none; of objects only the members in ``keys``.

    What stands before the first dot of a member's key counts as well. Control characters may stand in strings.
    """
    if text.count("{") + text.count("[") > _DEEPEST and _depth(text) > _DEEPEST:
        return None

    def kept(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        return {key: value for key, value in pairs if key in keys or key.partition(".")[0] in keys}

    try:
        return json.loads(text, strict=False, object_pairs_hook=kept, parse_float=_float, parse_constant=_float)
    except (ValueError, RecursionError):
        return None


def _depth(text: str) -> int:
    """Return how deeply a JSON text is nested."""
    most = depth = 0
    for found in _BRACKETS.finditer(text):
        depth += 1 if found[0] in "[{" else -1 if found[0] in "]}" else 0
        most = max(most, depth)
    return most


def decimal(text: str) -> float:
    """Return the number that decimal digits with a point spell, for a document; nothing is computed with it."""
    return float(text)


def number_text(value: Any) -> str | None:
    """Return a number as the JSON text wrote it, or, of a document, in digits with a point; None of anything else."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return None
    if type(value) is float and value.is_integer() and abs(value) < 1e15:
        return str(int(value))
    return value.text if isinstance(value, _Float) else str(value)


def bytes_text(values: list[Any]) -> str | None:
    """Return the text that an array of bytes spells in UTF-8, what is none replaced; None where it is no such array."""
    try:
        return bytes(values).decode("utf-8", "replace")
    except (TypeError, ValueError, OverflowError):
        return None


@lru_cache(maxsize=32)
def zone(name: str) -> tzinfo:
    """Return the zone of an IANA name (``Europe/Prague``) or an offset (``+02:00``, ``-0530``, ``Z``).

    Raises ``ValueError`` for any other name.
    """
    if name in {"Z", "UTC", "GMT"}:
        return UTC
    if name[:1] in {"+", "-"}:
        digits = name[1:].replace(":", "")
        if digits.isascii() and digits.isdigit() and len(digits) in {2, 4}:
            minutes = int(digits[:2]) * 60 + int(digits[2:] or 0)
            if minutes <= 18 * 60:  # the largest that Java knows; real ones end at 14 h
                return timezone(timedelta(minutes=-minutes if name[0] == "-" else minutes))
    try:
        return ZoneInfo(name)
    except (OSError, KeyError) as error:
        raise ValueError(name) from error


def utc_seconds(local: int, name: str) -> int:
    """Return when a clock in a zone showed ``local``, both in seconds since 1970.

    Where the clock is set back, the earlier of the two; where it is set forward, as read by the clock before.
    """
    if name == "UTC":
        return local
    moment = datetime(1970, 1, 1) + timedelta(seconds=local)  # noqa: DTZ001 - the zone comes next
    return int(moment.replace(tzinfo=zone(name)).timestamp())
