"""Engines are killed and come back, and a disk is full for a while; ``make fuzz`` kills more often."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from engines import restarts
from outages import NO_WATERMARKS, full, killed, small_disk

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = [pytest.mark.engine, pytest.mark.slow]


def test_an_elasticsearch_that_is_killed(tmp_path: Path) -> None:
    with restarts.engine("elasticsearch") as engine:
        killed(engine, tmp_path, kills=1, lines=60)


def test_an_opensearch_that_is_killed_and_whose_disk_is_full_for_a_while(tmp_path: Path) -> None:
    """One node for both: to start one takes most of the time."""
    with small_disk(tmp_path) as disk:
        with restarts.engine("opensearch", disk, NO_WATERMARKS) as engine:
            sent = killed(engine, tmp_path, kills=1, lines=60)
            if disk is not None:
                full(engine, disk, tmp_path, sent)
        if disk is None:
            pytest.skip("NOT tested on a full disk: no tmpfs can be mounted here")
