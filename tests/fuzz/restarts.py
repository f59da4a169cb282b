"""Engines that are killed again and again; once each by ``tests/test_outages.py``."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from engines import restarts
from outages import killed

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = [pytest.mark.engine, pytest.mark.slow]


@pytest.mark.parametrize("product", ["opensearch", "elasticsearch"])
def test_an_engine_that_is_killed_again_and_again(product: str, tmp_path: Path) -> None:
    with restarts.engine(product) as engine:
        killed(engine, tmp_path, kills=3, lines=300)
