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
        dump = generate(rng, prefix=rng.choice(MIXED), tangle=rng.choice([None, None, *TANGLES]))
        text = dump.text.encode()
        parts.append(mutate(rng, text, text, limit=60_000) + b"\n" if damage else text)
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
