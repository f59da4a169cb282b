"""The Painless port takes the same prefixes off as the Python decoder, on both engines."""

from __future__ import annotations

import random
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

import real
from allocfail.content import content_path
from allocfail.decoder.framing import frame
from test_framing import KERNEL, PREFIXES, TEXT

if TYPE_CHECKING:
    from engines.harness import Engine

SHARED = Path(__file__).parents[1] / ".." / "shared"
SEED = 20110214
#: Lines in one document: each is walked through a few times, and a script may run a million statements.
BATCH = 400

DRIVER = """
List results = new ArrayList();
for (def line : ctx.lines) {
  results.add(frFrame(line));
}
ctx.results = results;
"""


def expected(line: str) -> dict[str, Any]:
    return {key: value for key, value in frame(line)._asdict().items() if value is not None}


def run(engine: Engine, lines: list[str]) -> list[dict[str, Any]]:
    source = content_path("pipelines/painless/framing.painless").read_text(encoding="utf-8") + DRIVER
    batches = [lines[at : at + BATCH] for at in range(0, len(lines), BATCH)]
    body = {
        "pipeline": {"processors": [{"script": {"lang": "painless", "source": source}}]},
        "docs": [{"_source": {"lines": batch}} for batch in batches],
    }
    status, answer = engine.request("POST", "/_ingest/pipeline/_simulate", body)
    assert status == 200, answer
    found: list[dict[str, Any]] = []
    for doc in answer["docs"]:
        assert "doc" in doc, doc
        found += doc["doc"]["_source"]["results"]
    return found


def edges() -> list[str]:
    """Return lines at the bounds of what the grammar counts."""
    found = []
    for n in range(253, 259):
        found += [
            f"{'a' * n}:[ 1.0] x",
            f"{'a' * n} kernel: [ 1.0] x",
            f"[ 1.0] {'a' * n} kernel: x",
            f"{'a' * n} login: y: x",
        ]
    for n in range(1, 24):
        ones, letters = "1" * n, "a" * n
        found += [
            *(
                f"[{ones}.5] x",
                f"[1.{ones}] x",
                f"[1.5@{ones}] x",
                f"[1.5][T{ones}] x",
                f"<{ones}>x",
                f"[1.5 / {letters}] x",
            ),
            *(f"[1:{letters}:1] x", f"[1:{letters}:{ones}] x", f"[{ones}:{'a' * 15}:1] x", f"[1.5] (0)[1:{letters}]x"),
            *(f"[1.5] ({ones})[1:{letters}]x", f"[1.5][pid:{ones},cpu1,a]x", f"[pid:1,cpu{ones},{letters}{letters}]x"),
            *(f"4,{ones},5,-;x", f"4,5,{ones},-;x", f"{ones},4,5,-;x", f"4,5,6,-,{letters}=1;x", f"4,5,6,{'-' * n};x"),
            *(
                f"4,5,6,-{',a=1' * n};x",
                f"4,5,6,-,caller={'T' * (n + 50)};x",
                f"1{letters * 4}.2{letters * 8},4,1,5,-;x",
            ),
            *(
                f"{ones}.{ones} h kernel: x",
                f"2024-01-01T10:00:00.{ones}Z h kernel: x",
                f"Feb {ones} 10:00:00 h kernel: x",
            ),
            *(
                f"02-14 15:24:15.{ones}  1 {ones} W kernel: x",
                f"kern{' ' * n}:warn{' ' * n}: x",
                f"{letters} :warn : x",
            ),
            *(
                f"Feb{' ' * n}1 10:00:00 h kernel: x",
                f"[Mon Feb{' ' * n}1 10:00:00 2024] x",
                f"Mon 2024-01-01 10:00:00 {letters.upper()} x",
            ),
            *(f"Feb  1 10:00:00 h{' ' * n}kernel[{letters}]: x", f"Feb  1 10:00:00 h {letters * 4}[{ones}]: [1.5] x"),
            *(f"h login:{' ' * n}{letters}: x", f"h login: {'a' * 10}{letters}: x", f"login:{' ' * n}<{ones}>[1.5] x"),
            *(
                f"02-14 15:24:15.123 {n % 3} {n % 2} W {letters * 4}: x",
                f"W/{letters * 4} ({n % 2:{n}}): x",
                f"W/ ({ones}): x",
            ),
            *(f"02-14 15:24:15.123 W/{' ' * n}:(0): x", f"W/a{' ' * n}(0):{letters}", f"[1.5] (1)[1:{'a]' * n}x"),
            *(f"[1.5] (1)[1:{letters}]]]x", f"W/a(0):{' ' * (n - 1)}"),
            *(f"<4>{ones} 2024-01-01T10:00:00Z h kernel - - - x", f'<4>1 - h kernel - - [{letters} a="]"] x'),
        ]
    return found


def lines() -> list[str]:
    files = real.posted()
    found = {line for file in files for line in file.read_text("utf-8", "replace").split("\n")}
    found |= {prefix + text for prefix in PREFIXES for text in (TEXT, *KERNEL)}
    found |= {outer + inner + TEXT for outer in PREFIXES for inner in PREFIXES}
    return sorted(found)


def mutated(count: int) -> list[str]:
    chance = random.Random(SEED)
    whole = lines()
    signs = [*"~[]<>(){}:;,.@/+-=_ \t\x000123456789TCZJFMWkpx|", "\u00a0", "\ufeff", "\U0001f600", "\ud800"]
    words = ["kernel:", "kernel: ", "host ", "kern.warn ", "last message repeated 2 times", "login: ", "UTC", " +0100"]
    found = []
    for _ in range(count):
        line = chance.choice(whole)[:160]
        for _ in range(chance.randrange(1, 4)):
            at = chance.randrange(min(len(line), 70) + 1)
            way = chance.randrange(6)
            if way == 0:
                line = line[:at] + chance.choice(signs) + line[at:]
            elif way == 1:
                line = line[:at] + line[at + chance.randrange(1, 4) :]
            elif way == 2:
                line = line[:at] + chance.choice(signs) + line[at + 1 :]
            elif way == 3:
                line = line[:at] + chance.choice(words) + line[at:]
            elif way == 4:
                line = line[:at] + chance.choice(list(PREFIXES)) + line[at:]
            else:
                line = line[:at] + line[at : at + 1] * chance.randrange(2, 30) + line[at:]
        found.append(line)
    return found


def units(line: str, at: int) -> int:
    """Count positions as UTF-16 does."""
    return len(line[:at].encode("utf-16-le", "surrogatepass")) // 2


def differences(engine: Engine, given: list[str]) -> list[tuple[str, Any, Any]]:
    found = []
    for line, theirs in zip(given, run(engine, given), strict=True):
        ours = expected(line)
        ours["start"] = units(line, ours["start"])
        if theirs != ours:
            found.append((line, theirs, ours))
    return found


@pytest.mark.engine
def test_port_gives_the_same(engine: Engine) -> None:
    given = [*edges(), *lines(), *mutated(4000)]
    assert differences(engine, given) == []
