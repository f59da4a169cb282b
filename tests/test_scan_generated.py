"""The scanner, which decodes only around what it finds, against decoding every line."""

from __future__ import annotations

import json
import os
import random
from typing import TYPE_CHECKING

import pytest

from allocfail import facts
from allocfail.logs import scan, search
from allocfail.logs.events import Decoder, Event, Options, decode_bytes
from dumpgen import PREFIXES, TANGLES, generate
from dumpgen.kernels import data
from dumpgen.mutate import mutate

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

OPTIONS = Options(year=2024)
# Containers put several lines of a log on one, or several of theirs for one: neighbours of another kind confuse nobody.
MIXED = [prefix for prefix in PREFIXES if prefix != "journal_export"]


def noise(rng: random.Random, lines: int) -> str:
    vocabulary = [line for line in data("traces")["noise"] if "alloc" not in line]
    return "".join(
        f"Feb 14 15:{at % 60:02}:{at % 59:02} other kernel: [{at:12.6f}] {rng.choice(vocabulary)}\n"
        for at in range(lines)
    )


def make_log(seed: int, *, damage: bool = False) -> bytes:
    """Reports of every kind with long and short stretches of other lines between them."""
    rng = random.Random(seed)
    parts: list[bytes] = []
    for _ in range(rng.randrange(3, 9)):
        parts.append(noise(rng, rng.choice((0, 3, 70, 400, 1500))).encode())
        # Damage on top of a tangle changes how wide a log seems to be wrapped, in lines that a scanner never reads.
        tangle = None if damage else rng.choice([None, None, *TANGLES])
        dump = generate(rng, prefix=MIXED, tangle=tangle)
        text = dump.text.encode()
        parts.append(mutate(rng, text, text, limit=60_000, wrapping=False) + b"\n" if damage else text)
    parts.append(noise(rng, rng.choice((0, 900))).encode())
    return b"".join(parts)


def shown(event: Event) -> bytes:
    return (json.dumps(event.document, sort_keys=True) + "\n").encode()


def needles() -> scan.Needles:
    return scan.Needles.of(facts.load()["needles"])


def everything(log: bytes) -> list[bytes]:
    return [shown(event) for event in decode_bytes(log, OPTIONS)]


@pytest.mark.parametrize("damage", [False, True])
def test_a_stream_gives_what_decoding_everything_gives(monkeypatch: pytest.MonkeyPatch, *, damage: bool) -> None:
    # Streams of up to this many bytes are decoded whole.
    monkeypatch.setattr(scan, "WHOLE", 0)
    for seed in range(25):
        log = make_log(seed, damage=damage)
        rng = random.Random(seed)
        cuts = sorted(rng.randrange(len(log)) for _ in range(rng.choice((0, 1, 40))))
        chunks = [log[start:end] for start, end in zip([0, *cuts], [*cuts, len(log)], strict=True)]
        found = [shown(event) for event in scan.decode_chunks(chunks, lambda: Decoder(OPTIONS), needles())]
        assert found == everything(log), seed


@pytest.mark.parametrize("damage", [False, True])
def test_a_file_cut_into_tasks_gives_it_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, damage: bool) -> None:
    # Small pieces and tasks, so that their edges fall into reports.
    monkeypatch.setattr(scan, "TASK", 100_000)
    monkeypatch.setattr(scan, "WHOLE", 0)
    monkeypatch.setattr(search, "PIECE", 16 << 10)
    path = tmp_path / "log"
    for seed in range(15):
        log = make_log(100 + seed, damage=damage)
        path.write_bytes(log)
        fd = os.open(path, os.O_RDONLY)
        try:
            found = list(scan.decode_file(fd, lambda: Decoder(OPTIONS), shown, needles(), workers=1))
        finally:
            os.close(fd)
        assert found == everything(log), seed


def test_several_processes_keep_the_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scan, "TASK", 100_000)
    monkeypatch.setattr(scan, "WHOLE", 0)
    log = b"".join(make_log(200 + seed) for seed in range(6))
    path = tmp_path / "log"
    path.write_bytes(log)
    fd = os.open(path, os.O_RDONLY)
    try:
        found = list(scan.decode_file(fd, lambda: Decoder(OPTIONS), shown, needles(), workers=2))
    finally:
        os.close(fd)
    assert found == everything(log)


WORDS = ["memory", "allocation", "page", "failure", "for", "order:1", "node", "CPU", "failed", "allocated", "vmalloc"]
NEAR_MISSES = {
    "words in any order": [" ".join(random.Random(n).sample(WORDS, 7)) for n in range(50)],
    "hibernation": ["hibernate_alloc_pages act 173850, inact 24957"],
    "no memory": ["fork: Cannot allocate memory"],
    "the phrase": ["see page allocation failure in the documentation"],
    "orders": ["order:17 your order:18, mode:0x1 gfp=0x"],
    "frames": ["[    1.5]  __alloc_pages_nodemask+0x1/0x2"],
    "names": ["alloc_pages vmalloc oom-killer gfp=0 order:1 Mem-Info warn_alloc vmap"],
    "kills": ["Out of memory: killer wanted, oom-kill and oom-killer: see emory: Kill"],
}


@pytest.mark.parametrize("kind", NEAR_MISSES)
def test_near_misses_are_searched_in_other_ways_and_hide_nothing(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scan, "WHOLE", 0)
    monkeypatch.setattr(search, "PIECE", 64 << 10)
    prefix = "Feb 14 15:24:15 node7 app[4711]: "
    unit = "".join(f"{prefix}{line}\n" for line in NEAR_MISSES[kind]).encode()
    rng = random.Random(kind)
    log = b""
    for _ in range(3):
        log += unit * (400_000 // len(unit)) + generate(rng, kind="page", prefix="syslog_printk").text.encode()
    log += unit * 20
    path = tmp_path / "log"
    path.write_bytes(log)
    expected = everything(log)
    assert len(expected) == 3
    fed = 0

    class Counting(Decoder):
        def decode(self, chunks: Iterable[bytes], offset: int = 0) -> Iterator[Event]:
            def counted() -> Iterator[bytes]:
                nonlocal fed
                for chunk in chunks:
                    fed += len(chunk)
                    yield chunk

            return super().decode(counted(), offset)

    fd = os.open(path, os.O_RDONLY)
    try:
        assert list(scan.decode_file(fd, lambda: Counting(OPTIONS), shown, needles(), workers=1)) == expected
    finally:
        os.close(fd)
    # Around each of three events some hundred lines, and a few stretches until it is known that they are in vain.
    assert fed < len(log) / 2
