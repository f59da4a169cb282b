"""The sieve lets nothing fall that the strings would find, and is taken where logs are full of near-misses."""

from __future__ import annotations

import platform
import random
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

import dumpgen
import real
from allocfail import facts
from allocfail.logs import scan, search, sieve
from allocfail.logs.events import Decoder, Options, decode_bytes
from allocfail.logs.sources import FileSource

if TYPE_CHECKING:
    from collections.abc import Iterator

CORPUS = Path(__file__).parents[1] / ".." / "shared" / "corpus"
NEEDLES = scan.Needles.of(facts.load()["needles"])
OPTIONS = Options(year=2026)


@pytest.fixture
def _always(monkeypatch: pytest.MonkeyPatch) -> None:
    """Take the sieve from the first piece on, and for good."""
    monkeypatch.setattr(sieve, "COST", -1)
    monkeypatch.setattr(sieve, "MAKING", -1)
    monkeypatch.setattr(search, "SIFTED", 1 << 30)


def source(path: Path) -> Iterator[FileSource]:
    with path.open("rb") as file:
        yield FileSource(NEEDLES, file.fileno(), path.stat().st_size)


def test_it_is_there() -> None:
    if platform.machine() not in {"x86_64", "aarch64"}:
        pytest.skip("NOT tested: no Hyperscan for this processor")
    assert sieve.sieve(NEEDLES.patterns) is not None


def test_without_hyperscan_there_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "hyperscan", None)
    sieve.sieve.cache_clear()
    try:
        assert sieve.sieve(NEEDLES.patterns) is None
        data = (
            dumpgen.near(count=30_000)
            + b"swapper: page allocation failure: order:1, mode:0x20\n"
            + dumpgen.near(count=10)
        )
        monkeypatch.setattr(scan, "WHOLE", 0)
        monkeypatch.setattr(sieve, "MAKING", 0)
        events = list(scan.decode_chunks([data], lambda: Decoder(OPTIONS), NEEDLES))
        assert [e.document["allocfail"]["order"] for e in events] == [1]
    finally:
        sieve.sieve.cache_clear()


@given(gap=st.from_regex(re.compile(search.GAP.encode(), re.DOTALL), fullmatch=True))
@settings(deadline=None)
def test_every_gap_passes(gap: bytes) -> None:
    assert re.fullmatch(sieve.GAP.encode(), gap, re.DOTALL)


@pytest.mark.parametrize("pattern", NEEDLES.patterns)
@given(data=st.data())
@settings(max_examples=15, deadline=None)
def test_what_a_pattern_means_passes(pattern: str, data: st.DataObject) -> None:
    through = sieve.sieve(NEEDLES.patterns)
    assert through is not None
    text = data.draw(st.from_regex(re.compile(pattern.replace("~", search.GAP).encode(), re.DOTALL), fullmatch=True))
    before = data.draw(st.binary(max_size=40))
    behind = data.draw(st.sampled_from([b"", b"\n"]))
    ends = through.ends(memoryview(before + text + behind))
    assert ends is not None
    # `\d+` and the like may end earlier than it did here.
    assert any(len(before) < end <= len(before + text) for end in ends)


@pytest.mark.usefixtures("_always")
def test_every_event_of_the_corpus_passes() -> None:
    if not CORPUS.is_dir():
        pytest.skip("the corpus is not there: ../shared/corpus")
    missed = []
    for case in real.rows():
        path = CORPUS / case["file"]
        for one in source(path):
            hits = list(one.hits(0, None))
            if bool(hits) != bool(list(scan.hits(path, scan.Needles(NEEDLES.families)))):
                missed.append(path.name)
    assert not missed


def _shown(data: bytes, *, whole: bool = False) -> list[tuple[int, str]]:
    events = decode_bytes(data, OPTIONS) if whole else scan.decode_chunks([data], lambda: Decoder(OPTIONS), NEEDLES)
    return [(event.offset, event.document.get("message", "")) for event in events]


@pytest.mark.usefixtures("_always")
@given(seed=st.integers(0, 2**32))
@example(seed=1)
@settings(max_examples=10, deadline=None)
def test_the_same_events_come_of_a_log(seed: int) -> None:
    chance = random.Random(seed)
    parts = []
    for _ in range(4):
        parts += [dumpgen.near(count=chance.randrange(3000)), dumpgen.generate(chance).text.encode()]
    data = b"".join(parts)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(scan, "WHOLE", 0)
        assert _shown(data) == _shown(data, whole=True)


def test_it_is_taken_for_near_misses_and_left_again(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(sieve, "MAKING", 20 * sieve.COST)
    path = tmp_path / "log"
    event = b"swapper: page allocation failure: order:1, mode:0x20\n"
    bad, good = dumpgen.near() * 10, b"nothing of interest happened here at all\n" * 600_000
    path.write_bytes(bad + event + good + event)
    taken: list[tuple[int, bool]] = []
    weigh = search.Search._weigh

    def watched(self: search.Search, part: float) -> None:
        weigh(self, part)
        taken.append((self._begun, self._sieve is not None))

    monkeypatch.setattr(search.Search, "_weigh", watched)
    for one in source(path):
        found = [hit for hit in one.hits(0, None) if hit >= len(bad)]
    (first, second) = found
    assert len(bad) < first < len(bad + event)
    assert len(bad + event + good) < second
    assert not taken[0][1]
    assert any(on for at, on in taken if at < len(bad))
    assert not taken[-1][1], "strings are faster again"


def test_too_many_matches_leave_all_in(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sieve, "MOST", 5)
    through = sieve.sieve(NEEDLES.patterns)
    assert through is not None
    assert set(through.ends(memoryview(b"Mem-Info:\n" * 2)) or ()) >= {10, 20}
    assert through.ends(memoryview(b"Mem-Info:\n" * 50)) is None
