"""Minutes of damaged dumps: ``make fuzz``, or ``PYTHONPATH=tests python tests/fuzz/mutations.py --seconds 600``.

A failing input is written into the folder given by ``--keep`` (the temporary folder unless told), named after the seed
that makes it again.
"""

from __future__ import annotations

import argparse
import os
import random
import sys
import tempfile
import time
from pathlib import Path

from dumpgen import generate
from dumpgen.mutate import mutate
from fuzz.seeds import SEED
from invariants import check

# How long `make fuzz` runs this, in seconds, unless the environment says otherwise.
SECONDS = 180


def one(seed: int) -> tuple[bytes, bool]:
    """Return the damaged log of a seed, and whether its events' lines were mixed up."""
    rng = random.Random(seed)
    first, second = (generate(rng, prefix=None).text.encode() for _ in range(2))
    mixing = rng.random() < 0.5
    return mutate(rng, first, second, mixing=mixing), mixing


def run(seconds: float, seed: int, keep: Path) -> int:
    """Check one log after another until the time is up. Returns how many; raises what the first failing one raised."""
    end = time.monotonic() + seconds
    count = 0
    while time.monotonic() < end:
        log, mixed = one(seed + count)
        try:
            check(log, again="any" if mixed else "one", split=random.Random(seed).randrange(1, max(2, len(log))))
        except Exception:
            path = keep / f"allocfail-fuzz-{seed + count}.log"
            path.write_bytes(log)
            print(f"seed {seed + count}: {path}", file=sys.stderr)  # noqa: T201 - this is how a fuzzer reports
            raise
        count += 1
    return count


def test_mutations() -> None:
    seconds = float(os.environ.get("ALLOCFAIL_FUZZ_SECONDS", SECONDS))
    assert run(seconds, SEED, Path(tempfile.gettempdir())) > 0


def main() -> None:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", maxsplit=1)[0])
    parser.add_argument("--seconds", type=float, default=SECONDS)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--keep", type=Path, default=Path(tempfile.gettempdir()))
    given = parser.parse_args()
    print(run(given.seconds, given.seed, given.keep), "logs")  # noqa: T201 - as above


if __name__ == "__main__":
    main()
