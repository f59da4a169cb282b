"""From a printed wall-clock time to RFC 3339 in UTC.

The forms are those that :mod:`allocfail.decoder.framing` and the containers yield. The way, step by step:

1. Find date, clock, fraction and zone by their position and the characters between them.
2. A number alone is an epoch: 9 or 10 digits are seconds (a fraction may follow), 13 milliseconds, 16 microseconds,
   19 nanoseconds.
3. The fraction is cut to milliseconds, never rounded; second 60 (a leap second) is the first of the next minute.
4. A zone that is printed as an offset, ``Z``, ``UTC`` or ``GMT`` counts; other abbreviations are ambiguous (``IST`` is
   three) and are passed over. Without one, the zone asked for counts: where a clock is set back the earlier of the two
   instants, where it is set forward the time as read by the clock before.
5. A date without a year takes the year given, else the latest year in which it exists and is not behind the reference.

Instants are milliseconds since 1970, in UTC.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from allocfail.decoder.kit import now_millis, utc_seconds

__all__ = ["millis_of", "resolve", "stamp"]

_NAMES = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
_MONTHS = {name: number for number, name in enumerate(_NAMES, 1)}
_MON = f"(?P<mon>{'|'.join(_NAMES)})"
_S = r"[\t-\r ]"
_DAY = rf"(?:(?:Mon|Tue|Wed|Thu|Fri|Sat|Sun),?{_S})?"
_CLOCK = r"(?P<h>[0-9]{2}):(?P<m>[0-9]{2})(?::(?P<s>[0-9]{2})(?:[.,](?P<f>[0-9]{1,9}))?)?"
_ZONE = r"(?P<z>Z|[+-][0-9]{2}:?(?:[0-9]{2})?|[A-Z]{1,5})?"

_ISO = re.compile(
    rf"{_DAY}(?P<y>[0-9]{{4}})-(?P<mo>[0-9]{{2}})-(?P<d>[0-9]{{2}})[T\t-\r ]{_CLOCK}{_S}?{_ZONE}"
).fullmatch
_BSD = re.compile(
    rf"{_DAY}{_MON}{_S}{{0,2}}(?P<d>[0-9]{{1,2}}){_S}(?:(?P<y>[0-9]{{4}}){_S})?"
    rf"{_CLOCK}(?:{_S}{_ZONE})?(?:{_S}(?P<y2>[0-9]{{4}}))?"
).fullmatch
_LOGCAT = re.compile(rf"(?P<mo>[0-9]{{2}})-(?P<d>[0-9]{{2}}){_S}{_CLOCK}").fullmatch
_SECONDS = re.compile(r"([0-9]{9,10})(?:\.([0-9]{1,9}))?").fullmatch
_EPOCH = re.compile(r"[0-9]{13}|[0-9]{16}|[0-9]{19}").fullmatch
_OFFSET = re.compile(r"([+-])([0-9]{2}):?([0-9]{2})?").fullmatch

#: How far back a year is sought: February 29 exists at least every eighth year.
_YEARS_BACK = 8
#: The largest offset that Java knows, in minutes; real ones end at 14 hours.
_MOST_OFFSET = 18 * 60
_DAY_SECONDS = 86_400
_MONTH_DAYS = (31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31)
#: Year 9999 ends before this, in seconds since 1970; year 1 begins at the other.
_LAST = 253_402_300_800
_FIRST = -62_135_596_800


class _Parts(NamedTuple):
    """What a printed time says."""

    year: int | None
    month: int
    day: int
    hour: int
    minute: int
    second: int
    millis: int
    zone: str | None


def resolve(time: str, *, year: int | None = None, tz: str = "UTC", reference: int | None = None) -> str | None:
    """Return a printed time as ``2011-02-14T15:24:15.000Z``, or None where it is no date that exists.

    ``year`` completes a date without one; without it the latest year counts that does not put the time behind
    ``reference`` (milliseconds since 1970; now where None). ``tz`` is the zone of a time that prints none, one that
    :func:`allocfail.decoder.kit.zone` knows.
    """
    millis = millis_of(time, year=year, tz=tz, reference=reference)
    return None if millis is None else stamp(millis)


def millis_of(time: str, *, year: int | None = None, tz: str = "UTC", reference: int | None = None) -> int | None:
    """Return a printed time in milliseconds since 1970; see :func:`resolve`."""
    printed = time.strip(" \t\n\r\x0b\x0c")
    if m := _SECONDS(printed):
        return int(m[1]) * 1000 + _fraction(m[2])
    if _EPOCH(printed):
        return int(printed[:13])
    parts = _parts(printed)
    return None if parts is None else _instant(parts, year, tz, reference)


def _fraction(digits: str | None) -> int:
    """Return the milliseconds of a fraction, cut or filled."""
    return int((digits or "")[:3].ljust(3, "0"))


def _parts(printed: str) -> _Parts | None:
    if m := _ISO(printed):
        return _Parts(
            int(m["y"]),
            int(m["mo"]),
            int(m["d"]),
            int(m["h"]),
            int(m["m"]),
            int(m["s"] or "0"),
            _fraction(m["f"]),
            m["z"],
        )
    if m := _BSD(printed):
        month = _MONTHS[m["mon"]]
        year = m["y"] or m["y2"]
        return _Parts(
            int(year) if year else None,
            month,
            int(m["d"]),
            int(m["h"]),
            int(m["m"]),
            int(m["s"] or "0"),
            _fraction(m["f"]),
            m["z"],
        )
    if m := _LOGCAT(printed):
        return _Parts(
            None, int(m["mo"]), int(m["d"]), int(m["h"]), int(m["m"]), int(m["s"] or "0"), _fraction(m["f"]), None
        )
    return None


def _instant(parts: _Parts, year: int | None, tz: str, reference: int | None) -> int | None:
    if parts.year is not None or year is not None:
        return _in_year(parts, parts.year or year or 0, tz)
    latest = reference if reference is not None else now_millis()
    # A zone east of the reference's may have its new year already.
    first = int(stamp(latest)[:4]) + 1
    for candidate in range(first, first - _YEARS_BACK - 2, -1):
        found = _in_year(parts, candidate, tz)
        if found is not None and found <= latest:
            return found
    return None


def _in_year(parts: _Parts, year: int, tz: str) -> int | None:
    leap = parts.second == 60
    days = _days(year, parts.month, parts.day)
    if days is None or parts.hour > 23 or parts.minute > 59 or parts.second > 60:
        return None
    local = days * _DAY_SECONDS + parts.hour * 3600 + parts.minute * 60 + (59 if leap else parts.second)
    offset = None if parts.zone is None else _offset(parts.zone)
    seconds = utc_seconds(local, tz) if offset is None else local - offset * 60
    seconds += 1 if leap else 0
    if not _FIRST <= seconds < _LAST:
        return None
    return seconds * 1000 + (0 if leap else parts.millis)


def _offset(name: str) -> int | None:
    """Return the minutes of a printed offset; None of a name that may be several zones."""
    if name in ("Z", "UTC", "GMT"):
        return 0
    m = _OFFSET(name)
    if m is None:
        return None
    minutes = int(m[2]) * 60 + int(m[3] or "0")
    if minutes > _MOST_OFFSET:
        return None
    return -minutes if m[1] == "-" else minutes


def _days(year: int, month: int, day: int) -> int | None:
    """Return the days from 1970 to a date of the Gregorian calendar; None where it has none such."""
    leap = year % 4 == 0 and (year % 100 != 0 or year % 400 == 0)
    if not 1 <= year <= 9999 or not 1 <= month <= 12 or day < 1:
        return None
    if day > _MONTH_DAYS[month - 1] + (1 if leap and month == 2 else 0):
        return None
    # Years begin in March here, so that the leap day is the last: days before the year, then before the month.
    shifted = year - 1 if month <= 2 else year
    years = shifted * 365 + shifted // 4 - shifted // 100 + shifted // 400
    months = (153 * ((month + 9) % 12) + 2) // 5
    return years + months + day - 1 - 719_468


def stamp(millis: int) -> str:
    """Return an instant as RFC 3339 in UTC, with milliseconds."""
    seconds = millis // 1000
    days = seconds // _DAY_SECONDS
    clock = seconds - days * _DAY_SECONDS
    # The inverse of _days: 400 years are 146,097 days.
    shifted = days + 719_468
    era = shifted // 146_097
    within = shifted - era * 146_097
    of_era = (within - within // 1460 + within // 36_524 - within // 146_096) // 365
    of_year = within - (365 * of_era + of_era // 4 - of_era // 100)
    shifted_month = (5 * of_year + 2) // 153
    day = of_year - (153 * shifted_month + 2) // 5 + 1
    month = shifted_month + 3 if shifted_month < 10 else shifted_month - 9
    year = of_era + era * 400 + (1 if month <= 2 else 0)
    rest = millis - seconds * 1000
    return f"{year:04d}-{month:02d}-{day:02d}T{clock // 3600:02d}:{clock // 60 % 60:02d}:{clock % 60:02d}.{rest:03d}Z"
