"""Whether an index takes events, told from its mapping; on the engines the same verdict as the index itself gives."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from allocfail.cluster.fit import Shape, lacking, misfits
from allocfail.cluster.wanted import wanted_content
from allocfail.logs.events import decode_bytes

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from allocfail.cluster.client import Engine

pytest_plugins = ["cluster_fixtures"]

EVENTS = wanted_content("opensearch").events


def strict(**properties: Any) -> dict[str, Any]:
    return {"mappings": {"dynamic": "strict", "properties": properties}}


def mapped(**properties: Any) -> dict[str, Any]:
    return {"mappings": {"properties": properties}}


def inside(name: str, spec: Any) -> dict[str, Any]:
    return {name: {"properties": spec}}


KEYWORD = {"type": "keyword"}
#: Name, index, and the field by which an event is refused there; None where it is taken.
CASES: list[tuple[str, dict[str, Any], str | None]] = [
    ("empty", {}, None),
    ("not dynamic", {"mappings": {"dynamic": False}}, None),
    ("strict", strict(message={"type": "text"}), "allocfail"),
    ("strict inside", mapped(host={"dynamic": "strict", "properties": {"name": KEYWORD}}), "host.hostname"),
    ("strict and taken back", strict(**{name: {"type": "object", "dynamic": "true"} for name in EVENTS[0]}), "tags"),
    ("object as keyword", mapped(process=KEYWORD), "process"),
    ("object as text", mapped(rule={"type": "text"}), "rule"),
    ("value as object", mapped(tags={"properties": {"a": KEYWORD}}), "tags"),
    ("object that is not read", mapped(process={"type": "object", "enabled": False}), None),
    ("nested", mapped(rule={"type": "nested"}), None),
    ("text as number", mapped(**inside("host", {"hostname": {"type": "long"}})), "host.hostname"),
    (
        "text as number, malformed ignored",
        mapped(**inside("host", {"hostname": {"type": "long", "ignore_malformed": True}})),
        None,
    ),
    (
        "malformed ignored everywhere",
        {
            **mapped(**inside("host", {"hostname": {"type": "ip"}})),
            "settings": {"index.mapping.ignore_malformed": True},
        },
        None,
    ),
    ("text as address", mapped(**inside("host", {"hostname": {"type": "ip"}})), "host.hostname"),
    ("text as date", mapped(**inside("event", {"action": {"type": "date"}})), "event.action"),
    ("text as boolean", mapped(**inside("event", {"outcome": {"type": "boolean"}})), "event.outcome"),
    ("number as text", mapped(**inside("process", {"pid": KEYWORD})), None),
    ("number too small", mapped(**inside("process", {"pid": {"type": "byte"}})), "process.pid"),
    ("time as long", mapped(**{"@timestamp": {"type": "long"}}), "@timestamp"),
    (
        "an alias",
        mapped(**inside("error", {"id": {"type": "alias", "path": "other"}}), other=KEYWORD),
        "error.id",
    ),
    ("too many fields", {"settings": {"index.mapping.total_fields.limit": 60}}, ""),
]
IDS = [name for name, *_ in CASES]


def shape(index: Mapping[str, Any]) -> Shape:
    """Return a shape as an index of this body would give it."""
    nested: dict[str, Any] = {}
    for name, value in index.get("settings", {}).items():
        *parents, leaf = name.split(".")
        at = nested
        for parent in parents:
            at = at.setdefault(parent, {})
        at[leaf] = str(value).lower()
    return Shape.of({"mappings": index.get("mappings", {}), "settings": nested})


@pytest.mark.parametrize(("index", "field"), [case[1:] for case in CASES], ids=IDS)
def test_the_field_that_is_in_the_way_is_named(index: dict[str, Any], field: str | None) -> None:
    found = misfits(EVENTS, shape(index))
    assert (field in [one.field for one in found]) if field is not None else found == []
    assert all(one.reason and one.remedy for one in found)


def test_the_engine_agrees(cluster: Engine) -> None:
    for number, (name, index, field) in enumerate(CASES):
        cluster.request("PUT", f"/app-fit-{number}", index)
        act = {"_op_type": "index", "_index": f"app-fit-{number}"}
        refused = [one for one in cluster.bulk([{**act, "_source": event} for event in EVENTS]) if one.status != 201]
        assert {one.status for one in refused} <= {400}
        assert bool(refused) == (field is not None), (name, refused)


def test_a_constant_that_an_event_would_break_or_fix() -> None:
    for spec in ({"type": "constant_keyword", "value": "system.syslog"}, {"type": "constant_keyword"}):
        found = misfits(EVENTS, shape(mapped(**inside("event", {"dataset": spec}))))
        assert [one.field for one in found] == ["event.dataset"]
    same = {"type": "constant_keyword", "value": "allocfail.event"}
    assert misfits(EVENTS, shape(mapped(**inside("event", {"dataset": same})))) == []


def test_a_keyword_that_is_not_cut_off_refuses_a_long_log() -> None:
    event = inside("event", {"original": KEYWORD})
    (found,) = misfits(EVENTS, shape(mapped(**event)))
    assert str(found).startswith("event.original is a keyword without ignore_above")
    assert found.remedy == "give event.original an ignore_above of 8191"
    for spec in ({"ignore_above": 256}, {"index": False, "doc_values": False}):
        event = inside("event", {"original": {**KEYWORD, **spec}})
        assert misfits(EVENTS, shape(mapped(**event))) == []


def test_names_with_dots_where_objects_are_not_made() -> None:
    flat = {"mappings": {"dynamic": "strict", "subobjects": False, "properties": {"process.pid": {"type": "byte"}}}}
    assert {one.field for one in misfits([{"process": {"pid": 4000}}], shape(flat))} == {"process.pid"}


def test_only_what_is_missing_and_can_be_there_is_mapped() -> None:
    have = {"host": {"properties": {"name": {"type": "text"}}}, "process": KEYWORD, "log": {"enabled": False}}
    wanted = {
        "host": {"properties": {"name": KEYWORD, "hostname": KEYWORD}},
        "process": {"properties": {"pid": {"type": "long"}}},
        "log": {"properties": {"offset": {"type": "long"}}},
        "tags": KEYWORD,
    }
    assert lacking(have, wanted) == {"host": {"properties": {"hostname": KEYWORD}}, "tags": KEYWORD}


def paths(value: Mapping[str, Any], above: str = "") -> Iterator[str]:
    for name, inner in value.items():
        if isinstance(inner, dict):
            yield from paths(inner, f"{above}{name}.")
        else:
            yield f"{above}{name}"


def test_the_probes_have_every_field_outside_our_own_that_any_case_gives() -> None:
    probed = {path for event in EVENTS for path in paths(event)}
    given: set[str] = set()
    for file in (Path(__file__).parent / "cases").glob("*.log"):
        for event in decode_bytes(file.read_bytes()):
            given.update(paths(event.document))
    assert "log.syslog.hostname" in probed
    theirs = {path for path in given if not path.startswith("allocfail.")}
    assert len(theirs) > 25
    # Written by `ship` alone, which has an index of its own.
    assert theirs - probed <= {"log.file.path", "log.offset"}
    assert {event["allocfail"]["kind"] for event in EVENTS} == {
        "oom_kill",
        "page_allocation_failure",
        "slab_allocation_failure",
        "vmalloc_allocation_failure",
    }
    assert json.dumps(EVENTS).count("allocfail-probe") > 8  # nobody takes them for real ones
