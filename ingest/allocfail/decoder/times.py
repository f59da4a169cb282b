"""From a printed wall-clock time to RFC 3339 in UTC.

The forms are those that :mod:`allocfail.decoder.framing` and the containers yield. The way, step by step:

1. Find date, clock, fraction and zone by their position and the characters between them (:func:`_parts`).
2. A number alone is an epoch: 9 or 10 digits are seconds (a fraction may follow), 13 milliseconds, 16 microseconds,
   19 nanoseconds.
3. The fraction is cut to milliseconds, never rounded; second 60 (a leap second) is the first of the next minute.
4. A zone that is printed as an offset, ``Z``, ``UTC`` or ``GMT`` counts; other abbreviations are ambiguous (``IST`` is
   three) and are passed over. Without one, the zone asked for counts: where a clock is set back the earlier of the two
   instants, where it is set forward the time as read by the clock before.
5. A date without a year takes the year given, else the latest year in which it exists and is not behind the reference.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta, timezone, tzinfo
from functools import lru_cache
from zoneinfo import ZoneInfo

from allocfail.decoder.months import month as month_number
from allocfail.errors import InputError

__all__ = ["resolve", "unsaid", "zone"]

_MON = r"(?P<mon>[^\s\d]{3,9}|[0-9]{1,2}[月월])"
_DAY = r"(?:[^\s\d]{1,9},?\s)?"
_CLOCK = r"(?P<h>[0-9]{2}):(?P<m>[0-9]{2})(?::(?P<s>[0-9]{2})(?:[.,](?P<f>[0-9]{1,9}))?)?"
_ZONE = r"(?P<z>Z|[+-][0-9]{2}:?(?:[0-9]{2})?|[A-Z]{1,5})?"

_FORMS = tuple(
    re.compile(form, re.ASCII).fullmatch
    for form in (
        rf"{_DAY}(?P<y>[0-9]{{4}})-(?P<mo>[0-9]{{2}})-(?P<d>[0-9]{{2}})[T\s]{_CLOCK}\s?{_ZONE}",
        rf"{_DAY}{_MON}\s{{0,2}}(?P<d>[0-9]{{1,2}})\s(?:(?P<y>[0-9]{{4}})\s)?{_CLOCK}(?:\s{_ZONE})?(?:\s(?P<y2>[0-9]{{4}}))?",
        rf"(?P<mo>[0-9]{{2}})-(?P<d>[0-9]{{2}})\s{_CLOCK}",
    )
)
_EPOCH = re.compile(r"(?P<s>[0-9]{9,10})(?:\.(?P<f>[0-9]{1,9}))?|[0-9]{13}|[0-9]{16}|[0-9]{19}", re.ASCII).fullmatch
_OFFSET = re.compile(r"(?P<sign>[+-])(?P<h>[0-9]{2}):?(?P<m>[0-9]{2})?", re.ASCII).fullmatch

#: How far back a year is sought: February 29 exists at least every eighth year.
_YEARS_BACK = 8


@lru_cache(maxsize=32)
def zone(name: str) -> tzinfo:
    """Return the zone of an IANA name (``Europe/Prague``) or an offset (``+02:00``, ``-0530``, ``Z``).

    Raises :class:`allocfail.errors.InputError` for any other name.
    """
    offset = _offset(name)
    if offset is not None:
        return offset
    try:
        return ZoneInfo(name)
    except (OSError, ValueError, KeyError):
        raise InputError(f"unknown time zone: {name!r} (use a name such as Europe/Prague, or +02:00)") from None


def _offset(name: str) -> tzinfo | None:
    if name in {"Z", "UTC", "GMT"}:
        return UTC
    m = _OFFSET(name)
    if m is None:
        return None
    minutes = int(m["h"]) * 60 + int(m["m"] or 0)
    if minutes > 18 * 60:  # the largest that Java knows; real ones end at 14 h
        return None
    return timezone(timedelta(minutes=-minutes if m["sign"] == "-" else minutes))


def resolve(time: str, *, year: int | None = None, tz: str = "UTC", reference: datetime | None = None) -> str | None:
    """Return a printed time as ``2011-02-14T15:24:15.000Z``, or None where it is no date that exists.

    ``year`` completes a date without one; without it the latest year counts that does not put the time behind
    ``reference`` (aware; now where None). ``tz`` is the zone of a time that prints none. Raises
    :class:`allocfail.errors.InputError` for a ``tz`` that :func:`zone` does not know.
    """
    printed = time.strip()
    if m := _EPOCH(printed):
        return _from_epoch(printed, m)
    for form in _FORMS:
        if m := form(printed):
            return _from_parts(m.groupdict(), year, zone(tz), reference)
    return None


def unsaid(time: str, *, year: int | None = None, tz: str = "UTC") -> list[str]:
    """Return what of a printed time nobody said, and :func:`resolve` supposes: ``year``, ``zone``."""
    printed = time.strip()
    if _EPOCH(printed):
        return []
    parts = next((m.groupdict() for form in _FORMS if (m := form(printed))), {})
    guessed = [] if parts.get("y") or parts.get("y2") or year is not None else ["year"]
    said = parts.get("z")
    return guessed if tz != "UTC" or (said and _offset(said) is not None) else [*guessed, "zone"]


def _from_epoch(printed: str, m: re.Match[str]) -> str | None:
    # Digits of the milliseconds: a fraction is cut or filled, micro- and nanoseconds are cut.
    millis = int(printed[:13] if m["s"] is None else m["s"] + (m["f"] or "")[:3].ljust(3, "0"))
    return _print(datetime.fromtimestamp(millis // 1000, UTC), millis % 1000)


def _from_parts(
    parts: dict[str, str | None], year: int | None, local: tzinfo, reference: datetime | None
) -> str | None:
    name = parts.get("mon")
    month = month_number(name) if name else int(parts["mo"] or 0)
    day, hour, minute = int(parts["d"] or 0), int(parts["h"] or 0), int(parts["m"] or 0)
    second = int(parts["s"] or 0)
    millis = int((parts["f"] or "")[:3].ljust(3, "0"))
    leap = second == 60
    if printed_zone := parts.get("z"):
        local = _offset(printed_zone) or local
    printed_year = parts.get("y") or parts.get("y2")
    if printed_year or year is not None:
        years = [int(printed_year or year or 0)]
        latest = None
    else:
        latest = (reference or datetime.now(UTC)).astimezone(UTC)
        # A zone east of the reference's may have its new year already.
        first = latest.year + 1
        years = list(range(first, first - _YEARS_BACK - 2, -1))
    for candidate in years:
        try:
            moment = datetime(candidate, month, day, hour, minute, 59 if leap else second, tzinfo=local)
            moment = moment.astimezone(UTC) + timedelta(seconds=1 if leap else 0)
        except (ValueError, OverflowError):
            continue
        if latest is None or moment + timedelta(milliseconds=millis) <= latest:
            return _print(moment, 0 if leap else millis)
    return None


def _print(moment: datetime, millis: int) -> str:
    return f"{moment.year:04d}{moment:-%m-%dT%H:%M:%S}.{millis:03d}Z"
