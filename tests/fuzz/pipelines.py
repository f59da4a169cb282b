"""Minutes of damaged dumps through the ingest pipelines, compared with Python: ``make fuzz``."""

from __future__ import annotations

import os
import random
import time
from typing import TYPE_CHECKING

import simulate
from dumpgen import TANGLES, generate
from dumpgen.mutate import mutate
from fuzz.seeds import SEED

if TYPE_CHECKING:
    from engines.harness import Engine

# How long `make fuzz` runs this on each engine, in seconds, unless the environment says otherwise.
SECONDS = 90


def one(seed: int) -> str:
    """Return a seed's text: a dump as shipped, tangled, or damaged."""
    rng = random.Random(seed)
    tangle = rng.choice(TANGLES) if rng.random() < 0.4 else None
    log = generate(rng, prefix=None, tangle=tangle).text
    if rng.random() < 0.3:
        return log
    other = generate(rng, prefix=None).text.encode()
    return mutate(rng, log.encode(), other, mixing=rng.random() < 0.5).decode("utf-8", "replace")


def run(engine: Engine, seconds: float, seed: int, *, batch: int = 200) -> int:
    """Compare one batch of documents after another until the time is up. Returns how many."""
    simulate.put(engine)
    count = 0
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        simulate.check(engine, [{"message": one(seed + count + number)} for number in range(batch)])
        count += batch
    return count


def test_pipelines(engine: Engine) -> None:
    run(engine, float(os.environ.get("ALLOCFAIL_FUZZ_SECONDS", SECONDS)), SEED)
