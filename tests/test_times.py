"""Every printed time comes out as RFC 3339 in UTC, or not at all."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from allocfail.decoder.kit import zone
from allocfail.decoder.times import resolve


def millis(moment: datetime) -> int:
    return int(moment.timestamp()) * 1000


REFERENCE = millis(datetime(2026, 3, 1, 12, tzinfo=UTC))


@pytest.mark.parametrize(
    ("printed", "expected"),
    [
        ("2011-02-14T15:24:15Z", "2011-02-14T15:24:15.000Z"),
        ("2016-10-06T00:17:09.669794202Z", "2016-10-06T00:17:09.669Z"),
        ("2024-01-01T10:00:00+0000", "2024-01-01T10:00:00.000Z"),
        ("2024-01-01T10:00:00,123456+02:00", "2024-01-01T08:00:00.123Z"),
        ("2024-01-01T10:00:00-05", "2024-01-01T15:00:00.000Z"),
        ("2024-01-01 10:00:00.9999", "2024-01-01T10:00:00.999Z"),
        ("Mon 2024-01-01 10:00:00 UTC", "2024-01-01T10:00:00.000Z"),
        ("Mon 2024-01-01 10:00:00.5 +0530", "2024-01-01T04:30:00.500Z"),
        ("Mon Mar 25 23:35:17 2019", "2019-03-25T23:35:17.000Z"),
        ("Mon Mar  4 23:35:17 CET 2019", "2019-03-04T23:35:17.000Z"),
        ("Feb 14 2011 15:24:15", "2011-02-14T15:24:15.000Z"),
        ("1704103200.123456", "2024-01-01T10:00:00.123Z"),
        ("1704103200", "2024-01-01T10:00:00.000Z"),
        ("1704103200123", "2024-01-01T10:00:00.123Z"),
        ("1704103200123456", "2024-01-01T10:00:00.123Z"),
        ("1704103200123456789", "2024-01-01T10:00:00.123Z"),
        ("2016-12-31T23:59:60Z", "2017-01-01T00:00:00.000Z"),
        # without a year: the latest that is not behind the reference
        ("Feb 14 15:24:15", "2026-02-14T15:24:15.000Z"),
        ("Mar  1 12:00:00", "2026-03-01T12:00:00.000Z"),
        ("Mar  1 12:00:00.001", "2025-03-01T12:00:00.001Z"),
        ("Dec 31 23:59:59", "2025-12-31T23:59:59.000Z"),
        ("Feb 29 10:00:00", "2024-02-29T10:00:00.000Z"),
        ("02-14 15:24:15.123", "2026-02-14T15:24:15.123Z"),
        ("Jan15 10:00", "2026-01-15T10:00:00.000Z"),
        ("Jan 1 10:00", "2026-01-01T10:00:00.000Z"),
    ],
)
def test_printed(printed: str, expected: str) -> None:
    assert resolve(printed, reference=REFERENCE) == expected


@pytest.mark.parametrize(
    "printed", ["", "x", "Feb 30 10:00:00", "2023-02-29T10:00:00Z", "2024-13-01T00:00:00Z", "Feb 14 25:00:00", "12345"]
)
def test_no_date(printed: str) -> None:
    assert resolve(printed, reference=REFERENCE) is None


def test_year_given() -> None:
    assert resolve("Feb 14 15:24:15", year=2011, reference=REFERENCE) == "2011-02-14T15:24:15.000Z"
    assert resolve("Feb 29 15:24:15", year=2011, reference=REFERENCE) is None
    assert resolve("2024-02-14T15:24:15Z", year=2011) == "2024-02-14T15:24:15.000Z"


def test_leap_day_over_the_gap_of_1900() -> None:
    assert resolve("Feb 29 00:00:00", reference=millis(datetime(2103, 6, 1, tzinfo=UTC))) == "2096-02-29T00:00:00.000Z"


@pytest.mark.parametrize(
    ("printed", "tz", "expected"),
    [
        ("Feb 14 15:24:15", "Europe/Prague", "2026-02-14T14:24:15.000Z"),
        ("Feb 14 15:24:15", "-05:30", "2026-02-14T20:54:15.000Z"),
        ("2024-01-01T10:00:00Z", "Europe/Prague", "2024-01-01T10:00:00.000Z"),
        ("2024-03-31T02:30:00", "Europe/Prague", "2024-03-31T01:30:00.000Z"),  # read by the clock before
        ("2024-10-27T02:30:00", "Europe/Prague", "2024-10-27T00:30:00.000Z"),  # the earlier of two
        ("Mar  1 13:30:00", "Asia/Tokyo", "2026-03-01T04:30:00.000Z"),
        ("Jan  1 03:00:00", "Pacific/Kiritimati", "2025-12-31T13:00:00.000Z"),
    ],
)
def test_zones(printed: str, tz: str, expected: str) -> None:
    assert resolve(printed, tz=tz, reference=REFERENCE) == expected


def test_a_new_year_that_has_begun_in_the_zone_only() -> None:
    reference = millis(datetime(2025, 12, 31, 20, tzinfo=UTC))
    assert resolve("Jan  1 04:00:00", tz="Asia/Tokyo", reference=reference) == "2025-12-31T19:00:00.000Z"


@pytest.mark.parametrize("name", ["Nowhere/At_All", "../etc/passwd", "Europe", "", "+25:00", "\0"])
def test_unknown_zone(name: str) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - whoever asks says it in words
        zone(name)


@given(st.text(st.sampled_from("0123456789-:T.,+Z JanFebMonUTC/")))
def test_any_text(printed: str) -> None:
    found = resolve(printed, reference=REFERENCE)
    assert found is None or resolve(found) == found
