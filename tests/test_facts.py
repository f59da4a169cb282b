"""Every entry of the small fact files, by what it does; ``make expectations`` writes ``golden/facts.txt`` anew."""

from __future__ import annotations

import pytest
import yaml

from allocfail.content import content_path
from golden import facts


def test_what_every_entry_does() -> None:
    wanted, got = facts.committed(), facts.lines()
    differing = [f"was: {line}" for line in wanted if line not in got]
    differing += [f"now: {line}" for line in got if line not in wanted]
    if differing:
        pytest.fail("\n".join(["make expectations writes facts.txt anew", *differing]), pytrace=False)


def test_every_entry_does_something() -> None:
    assert [line for line in facts.committed() if line.endswith((": null", ": []", ": false"))] == []


def lists(value: object, path: str) -> list[str]:
    """Return the dotted names of all lists and of all mappings to something that is neither."""
    if isinstance(value, dict) and any(isinstance(inner, (dict, list)) for inner in value.values()):
        return [name for key, inner in value.items() for name in lists(inner, f"{path}.{key}")]
    return [path] if isinstance(value, (dict, list)) else []


def test_every_list_of_facts_has_a_probe() -> None:
    found = []
    for path in sorted(content_path("kb/facts").glob("*.yml")):
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
        for name, value in content.items():
            if name not in {"about", "sources"}:
                found += lists(value, f"{path.stem}.{name}")
    missing = [
        name
        for name in found
        if name not in facts.PROBES and not any(f"{name}.".startswith(f"{known}.") for known in facts.UNPROBED)
    ]
    assert missing == []
    assert [name for name in facts.PROBES if name not in found] == []
