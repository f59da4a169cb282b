"""``vm.zone_reclaim_mode`` by value and kernel."""

from __future__ import annotations

import json
import re
import subprocess
import sys

import pytest

from allocfail.articles import articles as kb
from allocfail.articles import zone_reclaim
from allocfail.errors import InputError, NotFoundError


def names(value: int, release: str) -> list[str]:
    return [bit["name"] for bit in zone_reclaim.explain(value, release)["bits"]]


@pytest.mark.parametrize(
    ("value", "release", "expected"),
    [
        (15, "2.6.16", ["RECLAIM_ZONE", "RECLAIM_WRITE", "RECLAIM_SWAP", "RECLAIM_SLAB"]),
        (15, "2.6.18-8.el5", ["RECLAIM_ZONE", "RECLAIM_WRITE", "RECLAIM_SWAP", "RECLAIM_SLAB"]),
        (7, "2.6.19", ["RECLAIM_ZONE", "RECLAIM_WRITE", "RECLAIM_SWAP"]),
        (7, "4.1.52", ["RECLAIM_ZONE", "RECLAIM_WRITE", "RECLAIM_SWAP"]),
        (7, "4.2", ["RECLAIM_ZONE", "RECLAIM_WRITE", "RECLAIM_UNMAP"]),
        (7, "5.5.19", ["RECLAIM_ZONE", "RECLAIM_WRITE", "RECLAIM_UNMAP"]),
        (7, "5.6.0", ["RECLAIM_WRITE", "RECLAIM_UNMAP"]),
        (1, "5.8", ["RECLAIM_WRITE"]),
        (2, "5.11", ["RECLAIM_UNMAP"]),
        (1, "5.10.19", ["RECLAIM_WRITE"]),
        (1, "5.10.20", ["RECLAIM_ZONE"]),
        (4, "5.10.223", ["RECLAIM_UNMAP"]),
        (1, "5.11.2", ["RECLAIM_WRITE"]),
        (1, "5.11.3", ["RECLAIM_ZONE"]),
        (1, "5.12", ["RECLAIM_ZONE"]),
        (7, "6.12.117", ["RECLAIM_ZONE", "RECLAIM_WRITE", "RECLAIM_UNMAP"]),
        (0, "6.1", []),
    ],
)
def test_bits(value: int, release: str, expected: list[str]) -> None:
    assert names(value, release) == expected


@pytest.mark.parametrize(
    ("value", "release", "enabled", "unknown"),
    [
        (0, "6.12", False, []),
        (8, "2.6.18", True, []),
        (8, "2.6.19", True, [8]),
        (8, "5.12", True, [8]),
        (8, "5.13", False, [8]),
        (9, "5.13", True, [8]),
        (4, "5.8", True, [4]),
        (2**31 - 1, "6.12", True, [1 << at for at in range(3, 31)]),
    ],
)
def test_unknown_bits_and_whether_they_switch_it_on(
    value: int, release: str, enabled: object, unknown: list[int]
) -> None:
    document = zone_reclaim.explain(value, release)
    assert document["enabled"] is enabled
    assert document.get("unknown_bits", []) == unknown == zone_reclaim.unknown(document)


@pytest.mark.parametrize(
    ("release", "default"),
    [
        ("2.6.18", "1 where two nodes are further apart than 20 (ia64: 15), else 0"),
        ("2.6.32-431.el6.x86_64", "1 where two nodes are further apart than 30, else 0 (read in 2.6.32-642.el6"),
        ("3.10.0-514.el7.x86_64", "always 0 (read in 3.10.0-514.el7"),
        ("3.15.10", "1 where two nodes are further apart than 30, else 0"),
        ("3.16", "always 0"),
        ("6.12.117", "always 0"),
    ],
)
def test_default(release: str, default: str) -> None:
    assert zone_reclaim.explain(1, release)["default"].startswith(default)


def test_red_hat_6_compacts() -> None:
    assert any("compacts" in note for note in zone_reclaim.explain(1, "2.6.32-642.el6.x86_64")["notes"])
    assert not any("compacts" in note for note in zone_reclaim.explain(1, "2.6.32")["notes"])


def test_a_distributions_number_that_hides_the_stable_level_gets_both_readings() -> None:
    for release in ("5.10.0-8-amd64", "5.8.0-63-generic"):
        document = zone_reclaim.explain(1, release)
        assert [[bit["name"] for bit in reading["bits"]] for reading in document["readings"]] == [
            ["RECLAIM_WRITE"],
            ["RECLAIM_ZONE"],
        ]
        assert zone_reclaim.unknown(zone_reclaim.explain(4, release)) == []
    assert "readings" not in zone_reclaim.explain(1, "5.8.0-rc3")
    assert "readings" not in zone_reclaim.explain(1, "5.4.0-150-generic")


def test_every_reading_covers_every_release_once() -> None:
    for value in range(16):
        ranges = [reading["releases"] for reading in zone_reclaim.explain_all(value)["readings"]]
        assert len(ranges) == len(set(ranges))
        assert sum("and later" in text for text in ranges) == 1
        assert any(text.startswith("2.6.16") for text in ranges)


def test_the_articles_table_of_sums_says_the_same() -> None:
    rows = re.findall(
        r"^\| ([0-7])(?: = [0-9+]+)? \| ([^|]+) \| ([^|]+) \|$", kb.article("zone-reclaim-mode").body, re.MULTILINE
    )
    assert [int(row[0]) for row in rows] == list(range(8))
    for digit, usual, shifted in rows:
        for text, release in ((usual, "6.12"), (shifted, "5.8")):
            found = names(int(digit), release)
            assert ("write" in text) == ("RECLAIM_WRITE" in found), (digit, release)
            assert ("that are mapped" in text) == ("RECLAIM_UNMAP" in found), (digit, release)
            assert text.startswith("Off") == (not zone_reclaim.explain(int(digit), release)["enabled"])


@pytest.mark.parametrize(
    "text", ["", "-1", "0x1", "1e3", "+1", " 1", "01", "1.0", "yes", "\u0661", "2147483648", "9" * 5000]
)
def test_no_value(text: str) -> None:
    with pytest.raises(InputError):
        zone_reclaim.parse_value(text)


@pytest.mark.parametrize(
    "text", ["", "6", "foo", "6.x", "6.1.2.3.4", "6.12\x1b[2J", "6.12\nx", "9" * 5000 + ".1", "-6.1"]
)
def test_no_release(text: str) -> None:
    with pytest.raises(InputError):
        zone_reclaim.explain(1, text)


def test_before_it_existed() -> None:
    with pytest.raises(NotFoundError, match=r"2\.6\.16"):
        zone_reclaim.explain(1, "2.6.15.7")


@pytest.mark.parametrize(
    ("arguments", "status"),
    [
        (["1"], 0),
        (["8"], 1),
        (["8", "--kernel", "2.6.18"], 0),
        (["12", "--kernel", "6.12"], 1),
        (["0", "--kernel", "6.12"], 0),
        (["1", "--kernel", "2.6.9"], 1),
        (["-1"], 2),
        (["0x4"], 2),
        (["1", "--kernel", "\x1b]0;x"], 2),
        ([], 2),
    ],
)
def test_command(arguments: list[str], status: int) -> None:
    result = subprocess.run(
        [sys.executable, "-m", "allocfail", "zone-reclaim", *arguments], capture_output=True, check=False, timeout=60
    )
    assert result.returncode == status
    assert b"Traceback" not in result.stderr
    assert b"\x1b" not in result.stderr
    if result.stdout:
        assert json.loads(result.stdout)["value"] == int(arguments[0])
    elif arguments:
        assert result.stderr.count(b"\n") == 1


def test_text_names_the_bits() -> None:
    result = subprocess.run(
        [sys.executable, "-m", "allocfail", "zone-reclaim", "5", "--kernel", "5.8", "--format", "text"],
        capture_output=True,
        check=False,
        timeout=60,
    )
    assert result.returncode == 1
    text = result.stdout.decode()
    assert "RECLAIM_WRITE" in text
    assert "4: this kernel knows no such bit" in text
    assert "GFP_ATOMIC" in text
