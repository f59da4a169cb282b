"""The readings of a mask against a plain way of making them from the tables, and every order entry by entry."""

from __future__ import annotations

import random
from typing import Any, NamedTuple

import pytest
import yaml

from allocfail.content import content_path
from allocfail.decoder.gfp import decode
from dumpgen import KERNELS, masks

FACTS = yaml.safe_load(content_path("kb/facts/gfp.yml").read_text(encoding="utf-8"))
ROWS = [*FACTS["tables"], *FACTS["trees"]]


class View(NamedTuple):
    """One table under one set of build options."""

    table: int
    config: str
    bits: dict[str, int]
    order: list[tuple[str, int]]
    """The names that are taken off a mask, first to last."""

    def reading(self, mask: int) -> tuple[tuple[str, ...], str | None, frozenset[str]]:
        """Return a mask's flags, its bits that have no name, and its spelling, as the kernel's own loop makes it."""
        flags = tuple(sorted(name for name, bit in self.bits.items() if mask & bit))
        unknown = mask & ~sum(self.bits.values())
        parts, rest = set(), mask
        for name, value in self.order:
            if rest & value == value and rest:
                parts.add(name)
                rest &= ~value
        if rest:
            parts.add(f"{rest:#x}")
        return flags, f"{unknown:#x}" if unknown else None, frozenset(parts)


def _views() -> tuple[list[View], list[int]]:
    """Return every view, and for every table the bits that build options move."""
    found, moving = [], []
    for table, row in enumerate(ROWS):
        layout = FACTS["layouts"][row["layout"]]
        variants = FACTS["variants"][row["variants"]] if "variants" in row else []
        moving.append(sum({1 << int(moved.split()[0]) for variant in variants for moved in variant["bits"]}))
        for variant in [{"config": "", "bits": []}, *variants]:
            places = dict(enumerate(layout)) | {int(moved.split()[0]): moved.split()[1] for moved in variant["bits"]}
            bits = {f"__GFP_{name}": 1 << place for place, name in places.items() if name != "_"}
            composites = dict(
                line.split() for line in FACTS["composites"][variant.get("composites", row["composites"])]
            )
            values = {name: int(value, 16) for name, value in composites.items()} | bits
            ascending = sorted(bits, key=lambda name: bits[name])
            names = FACTS["orders"][row["order"]] if "order" in row else [*composites, *ascending]
            order = [(name, values[name]) for name in names if name in values]
            found.append(View(table, variant["config"], bits, order))
    return found, moving


VIEWS, MOVING = _views()


def _expected(mask: int) -> dict[Any, set[tuple[int, str]]]:
    """Return every distinct reading of a mask, with the tables and options that it holds for."""
    found: dict[Any, set[tuple[int, str]]] = {}
    seen = set()
    for view in VIEWS:
        if view.config and not mask & MOVING[view.table]:
            continue
        key = view.reading(mask)
        if (view.table, key) not in seen:
            seen.add((view.table, key))
            found.setdefault(key, set()).add((view.table, view.config))
    return found


def _version(numbers: list[int]) -> str:
    return ".".join(map(str, numbers))


def _tables(releases: str) -> set[tuple[int, str]]:
    """Return the tables and options that a text such as ``4.4-7.3 with CONFIG_LOCKDEP, 2.6.32-642.el6`` names."""
    found = set()
    for part in releases.split(", "):
        span, _, config = part.partition(" with ")
        config = config.replace("CONFIG_", "")
        tree = [at for at, row in enumerate(ROWS) if row.get("name") == span]
        if tree:
            found.add((tree[0], config))
            continue
        since, _, until = span.partition("-")
        first = next(at for at, row in enumerate(ROWS) if "since" in row and _version(row["since"]) == since)
        last = next(at for at, row in enumerate(ROWS) if "until" in row and _version(row["until"]) == (until or since))
        found |= {(at, config) for at in range(first, last + 1)}
    return found


def _some_masks() -> list[int]:
    rng = random.Random(7)
    bits = [1 << place for place in range(29)]
    drawn = [sum(rng.sample(bits, rng.randrange(1, 9))) for _ in range(250)]
    named = [value for view in VIEWS for _, value in view.order]
    # A mask that loses a reading where one build option's view is skipped.
    return sorted({*bits, *drawn, *named, 0x2088020})


@pytest.mark.parametrize("part", range(8))
def test_every_reading_is_given_with_its_releases(part: int) -> None:
    for mask in _some_masks()[part::8]:
        made = decode(hex(mask))
        expected = _expected(mask)
        if len(expected) == 1:
            [key] = expected
            assert (made.flags, made.unknown_bits) == key[:2], hex(mask)
            continue
        got = {
            (reading.flags, reading.unknown_bits, frozenset((reading.name or "").split("|"))): reading.releases
            for reading in made.candidates
        }
        assert got.keys() == expected.keys(), hex(mask)
        for key, releases in got.items():
            assert _tables(releases) == expected[key], (hex(mask), releases)
        assert set(made.flags) == set.intersection(*({*key[0]} for key in expected)), hex(mask)


#: Releases between two trees that the generator's tables were taken from, whose own values they do not have.
BETWEEN = {(4, 6, 2), (4, 7, 4), (5, 14)}


def _printing() -> list[Any]:
    found: dict[tuple[int, ...], Any] = {}
    for kernel in KERNELS:
        if kernel.at_least("4.6") and not kernel.distribution and kernel.base not in BETWEEN:
            found[kernel.base] = kernel
    return list(found.values())


@pytest.mark.parametrize("kernel", _printing(), ids=lambda kernel: kernel.release)
def test_every_name_is_printed_as_the_kernel_prints_it(kernel: Any) -> None:
    # The generator's tables and orders were taken from the kernels' headers on their own.
    table = masks.epoch(kernel)
    rng = random.Random(kernel.release)
    values = [*table["bits"].values(), *table["composites"].values()]
    some = [*values, *(rng.choice(values) | rng.choice(values) for _ in range(200))]
    for mask in filter(None, some):
        names = decode(hex(mask), release=kernel.release).name
        assert set((names or "").split("|")) == set(masks.printed(kernel, mask).split("|")), hex(mask)


def _plain(row: int) -> View:
    return next(view for view in VIEWS if view.table == row and not view.config)


@pytest.mark.parametrize("row", range(len(ROWS)), ids=[str(row.get("name", row.get("since"))) for row in ROWS])
def test_an_order_takes_every_bit_of_the_plain_kernel(row: int) -> None:
    listed = 0
    for _, value in _plain(row).order:
        listed |= value
    assert [name for name, bit in _plain(row).bits.items() if bit & ~listed] == []
