"""The mappings name every field that the decoder writes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

import real
from allocfail import facts
from allocfail.cluster import templates
from allocfail.logs.events import Options, decode_bytes

if TYPE_CHECKING:
    from collections.abc import Iterator

CORPUS = Path(__file__).parents[2] / "shared" / "corpus" / "events"


def mapped() -> dict[str, dict[str, Any]]:
    """Return every mapping by dotted field."""
    found: dict[str, dict[str, Any]] = {}

    def walk(properties: dict[str, Any], above: str) -> None:
        for name, mapping in properties.items():
            if "type" in mapping:
                found[above + name] = mapping
            walk(mapping.get("properties", {}), f"{above}{name}.")

    for body in templates.build().components.values():
        walk(body["template"]["mappings"]["properties"], "")
    return found


def leaves(value: Any, name: str, fields: dict[str, dict[str, Any]]) -> Iterator[tuple[str, Any]]:
    if fields.get(name, {}).get("enabled") is False:
        return
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from leaves(inner, f"{name}.{key}" if name else key, fields)
    elif isinstance(value, list):
        for inner in value:
            yield from leaves(inner, name, fields)
    else:
        yield name, value


TYPES: dict[str, tuple[type, ...]] = {"long": (int,), "double": (int, float, str), "boolean": (bool,), "date": (str,)}


@pytest.mark.skipif(not CORPUS.is_dir(), reason="the corpus is not beside this checkout: mappings NOT tested on it")
def test_every_field_of_real_events_is_mapped_with_its_type() -> None:
    fields = mapped()
    unmapped: dict[str, Any] = {}
    mistyped: dict[str, Any] = {}
    events = 0
    for file in real.events():
        for event in decode_bytes(file.read_bytes(), Options(file=file.name, kernel="5.15.0")):
            events += 1
            for name, value in leaves(event.document, "", fields):
                if name not in fields:
                    unmapped[name] = value
                elif type(value) not in TYPES.get(fields[name]["type"], (str,)):
                    mistyped[name] = value
    assert events > 50
    assert unmapped == {}
    assert mistyped == {}


def test_totals_of_mem_info_and_twins() -> None:
    fields = mapped()
    for name in set(facts.load()["memory"]["totals"].values()):
        assert fields[f"allocfail.memory.{name}"]["type"] == "long"
    for name, mapping in fields.items():
        if name.startswith("allocfail.") and mapping["type"] == "long":
            assert mapping["ignore_malformed"] is True
            assert fields[f"{name}_text"] == {"type": "keyword", "ignore_above": 1024}


def test_no_term_can_be_longer_than_an_index_takes() -> None:
    for name, mapping in mapped().items():
        if mapping["type"] in {"keyword", "wildcard"} and mapping.get("index", True):
            assert mapping["ignore_above"] * 4 <= 32_766, name


def test_names_of_ones_own() -> None:
    own = templates.build(index="my-events", stream="logs-kernel-prod").index_templates
    assert own["allocfail-events"]["index_patterns"] == ["my-events", "my-events-*"]
    assert own["allocfail-events-stream"]["index_patterns"] == ["logs-kernel-prod", "logs-kernel-prod-*"]


def test_digest_sees_a_change_and_not_who_made_it() -> None:
    body = templates.build().components["allocfail-ecs"]
    assert body["_meta"]["digest"] == templates.digest(json.loads(json.dumps(body)))
    changed = json.loads(json.dumps(body))
    changed["template"]["mappings"]["properties"]["message"] = {"type": "text"}
    assert templates.digest(changed) != body["_meta"]["digest"]
