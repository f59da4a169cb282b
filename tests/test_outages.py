"""Engines are killed and come back, and a disk is full for a while; ``make fuzz`` kills more often."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from engines import restarts
from outages import NO_WATERMARKS, full, killed, small_disk

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = [pytest.mark.engine, pytest.mark.slow]


@pytest.mark.parametrize("product", ["opensearch", "elasticsearch"])
def test_an_engine_that_is_killed(product: str, tmp_path: Path) -> None:
    with restarts.engine(product) as engine:
        killed(engine, tmp_path, kills=1, lines=60)


def test_a_disk_that_is_full_for_a_while(tmp_path: Path) -> None:
    with small_disk(tmp_path) as disk, restarts.engine("opensearch", disk, NO_WATERMARKS) as engine:
        full(engine, disk, tmp_path)
