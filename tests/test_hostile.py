"""A line made to cost: no pattern of the decoder gets lost in it, in Python or in the engines' matcher."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

import hostile
import simulate
from allocfail.decoder.enrich import enrich

if TYPE_CHECKING:
    from engines.harness import Engine


@pytest.mark.timeout(120)  # seconds where all of it takes some; a pattern that gets lost takes hours
@pytest.mark.parametrize("size", [1_500, 6_000])
def test_no_pattern_gets_lost(size: int) -> None:
    """A thousand and some thousand characters: below the limit of a line, and above that of a frame or a field."""
    decoded = sum(enrich({"message": log}) is not None for log in hostile.logs(size))
    assert decoded > 1_000


def test_no_pattern_gets_lost_in_the_pipeline(engine: Engine) -> None:
    """Painless stops a script after a million statements: then the event would not be decoded."""
    simulate.put(engine)
    simulate.check(engine, ({"message": log} for log in list(hostile.logs(1_500))[::3]))
