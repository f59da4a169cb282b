"""A minute of hostile input with a new seed each run, and every seed that once failed; more by ``make fuzz``."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from fuzz import mutations, pipelines
from fuzz.seeds import SEED
from invariants import check, documents
from pieces import at

if TYPE_CHECKING:
    from engines.harness import Engine

#: How long each fuzzer runs here, in seconds.
SHORT = 60.0
#: An OOM kill of order -1, twice, a second header that lost its prefix behind a first one, and a record of JSON that is
#: none any more.
ONCE_FAILED = (784498, 900673, 7016094, 693945651)


def test_damaged_logs() -> None:
    assert mutations.run(SHORT, SEED, Path(tempfile.gettempdir())) > 0


def test_damaged_logs_in_the_pipelines(engine: Engine) -> None:
    assert pipelines.run(engine, SHORT, SEED, batch=100) > 0


@pytest.mark.parametrize("seed", ONCE_FAILED)
def test_what_once_failed(seed: int) -> None:
    log, mixed = mutations.one(seed)
    check(log, again="any" if mixed else "one")


def test_a_second_header_that_lost_its_prefix() -> None:
    first = "[Oct16 05:16] vmalloc: allocation failure, allocated 8050 of 8192 bytes"
    log = f"{first}\nlowpool[2]: page allocation failure: order:0, mode:0x200da\n"
    [document] = documents(log.encode())
    assert at(document, "allocfail.kind") == "vmalloc_allocation_failure"
    assert at(document, "allocfail.gfp.mask") == "0x200da"
