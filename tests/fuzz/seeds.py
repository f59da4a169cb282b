"""The seed of this run's fuzzers: a new one each time, printed in pytest's header, or the one that is asked for."""

from __future__ import annotations

import os
import time

__all__ = ["SEED", "VARIABLE"]

VARIABLE = "ALLOCFAIL_FUZZ_SEED"
SEED = int(os.environ.get(VARIABLE) or time.time_ns() % 1_000_000_007)
