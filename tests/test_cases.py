"""Logs and what they have to become: put ``NAME.log`` into ``cases`` and run ``make expectations``; no code to add one.

A folder of logs is one report in several forms, which all have to become the same. What is compared is what was
decoded; the words of rules and articles are held in few places (``golden/words.txt``, ``test_verdict_rules``).
"""

from __future__ import annotations

import json
from collections import Counter
from typing import TYPE_CHECKING, Any

import pytest

import expectations
from dumpgen.kernels import KERNELS

if TYPE_CHECKING:
    from pathlib import Path

LOGS = expectations.logs()
RECIPES = expectations.recipes()


@pytest.mark.parametrize("log", LOGS, ids=lambda log: "/".join(log.with_suffix("").parts[-2:]))
def test_case(log: Path) -> None:
    wanted = json.loads(expectations.expected(log).read_text(encoding="utf-8"))
    assert expectations.decoded(log) == wanted


def test_an_expectation_is_written_a_field_a_line() -> None:
    for path in sorted({expectations.expected(log) for log in LOGS}):
        text = path.read_text(encoding="utf-8")
        assert expectations.text_of(json.loads(text)) == text


def test_every_expectation_has_a_log() -> None:
    assert set(expectations.CASES.glob("*.json")) == {
        path for path in map(expectations.expected, LOGS) if path.parent == expectations.CASES
    }


@pytest.mark.parametrize("name", RECIPES)
def test_a_log_holds_what_its_recipe_says(name: str) -> None:
    recipe: dict[str, Any] = RECIPES[name]
    for path, text in expectations.made(name, recipe).items():
        assert (expectations.CASES / path).read_bytes() == text.encode()
    first = json.loads((expectations.CASES / f"{name}.expected.json").read_text(encoding="utf-8"))[0]
    release = first.get("host.os.kernel")
    if release is not None:
        [kernel] = {
            kernel for kernel in KERNELS if kernel.release == release and kernel.arch == recipe.get("arch", kernel.arch)
        }
        assert recipe.get("release", release) == release
        assert recipe.get("era", kernel.distribution) == kernel.distribution
    assert first.get("allocfail.oom.constraint") == recipe.get("constraint")
    if "context" in recipe:
        assert first["allocfail.trace.context"] == recipe["context"]


def test_no_two_logs_are_one() -> None:
    counts = Counter(log.read_bytes() for log in LOGS)
    assert [log.name for log in LOGS if counts[log.read_bytes()] > 1] == []
