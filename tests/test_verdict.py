"""The verdict: real dumps worked out by hand, made-up ones at the borders between releases, and properties of the arithmetic."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml

from allocfail.logs.events import decode_bytes

HERE = Path(__file__).parent / "verdicts"
CORPUS = Path(__file__).parents[2] / "shared" / "corpus" / "events"
GOLDEN: list[dict[str, Any]] = yaml.safe_load((HERE / "golden.yml").read_text(encoding="utf-8"))


@cache
def _decoded(number: str) -> list[dict[str, Any]]:
    (path,) = CORPUS.glob(f"{number}_*.log")
    return [event.document["allocfail"] for event in decode_bytes(path.read_bytes())]


def _zone(verdict: dict[str, Any], name: str) -> dict[str, Any]:
    node, _, zone = name.rpartition(" ")
    found = [z for z in verdict["zones"] if z["name"] == zone and (not node or z["node"] == int(node))]
    return dict(found[0])


@pytest.mark.skipif(not CORPUS.is_dir(), reason="NO CORPUS: ../shared is not there, real dumps were NOT judged")
@pytest.mark.parametrize("case", GOLDEN, ids=lambda c: f"{c['file']}-{c['event']}")
def test_golden(case: dict[str, Any]) -> None:
    verdict = _decoded(case["file"])[case["event"]]["verdict"]
    assert verdict["cause"] == case["cause"]
    assert verdict.get("qualifiers", []) == case.get("qualifiers", [])
    if "severity" in case:
        assert verdict["severity"] == case["severity"]
    if "reclaim" in case:
        assert verdict["zone_reclaim_mode"] == case["reclaim"]
    assert case.get("reason", "") in verdict["zone_reclaim_reason"]
    for name, (usable, needed, state) in case.get("zones", {}).items():
        zone = _zone(verdict, name)
        assert state in (None, zone["state"]), name
        assert usable is None or (zone["usable_pages"], zone["needed_pages"]) == (usable, needed), name
    for name, order in case.get("largest", {}).items():
        assert _zone(verdict, name)["largest_usable_order"] == order
    if "gave_up" in case:
        assert [reason.partition(":")[0] for reason in verdict["gave_up"]] == case["gave_up"]
    if "remedies" in case:
        assert [action["id"] for action in verdict.get("actions", [])] == case["remedies"]
    for words in case.get("unknown", []):
        assert any(words in missing for missing in verdict["unknown"])
    everything = " ".join([verdict["summary"], *verdict.get("remedies", [])])
    for words in case.get("says", []):
        assert words in verdict["summary"]
    for words in case.get("not", []):
        assert words not in everything
