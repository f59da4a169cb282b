"""One folder of cases: ``NAME.log`` is decoded and must give ``NAME.expected.json``; no code to add one.

``ALLOCFAIL_WRITE_CASES=1`` writes the expectations anew, for a person to review in the diff.
"""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from allocfail.logs.events import Options, decode_bytes

CASES = Path(__file__).parent / "cases"
LOGS = [*sorted(CASES.glob("*.log")), Path(__file__).parents[1] / "samples" / "svn3-centos6.log"]


@pytest.mark.parametrize("log", LOGS, ids=lambda log: log.stem)
def test_case(log: Path) -> None:
    # A year of its own: what a log without one means depends on when it is read.
    events = decode_bytes(log.read_bytes(), Options(year=2015))
    text = json.dumps([event.document for event in events], ensure_ascii=False, indent=1, sort_keys=True) + "\n"
    expected = CASES / f"{log.stem}.expected.json"
    if os.environ.get("ALLOCFAIL_WRITE_CASES") == "1":
        expected.write_text(text, encoding="utf-8")
    assert json.loads(text) == json.loads(expected.read_text(encoding="utf-8"))


def test_every_expectation_has_a_log() -> None:
    assert {path.name.removesuffix(".expected.json") for path in CASES.glob("*.json")} == {log.stem for log in LOGS}
