"""Whether an index takes events, told from its mapping; on the engines the same verdict as the index itself gives."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from allocfail.cluster import templates as templates_
from allocfail.cluster.fit import Shape, lacking, misfits
from allocfail.cluster.wanted import wanted_content
from allocfail.decoder.enrich import enrich
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


def templates(*bodies: dict[str, Any]) -> dict[str, Any]:
    return {"mappings": {"dynamic_templates": [{f"t{number}": body} for number, body in enumerate(bodies)]}}


PLAIN = "swapper: page allocation failure. order:1, mode:0x20"
KEYWORD = {"type": "keyword"}
#: How deep the objects of an event are, as the engines count.
DEEP = 4
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
    (
        "a second name as number",
        mapped(**inside("host", {"hostname": {**KEYWORD, "fields": {"n": {"type": "long"}}}})),
        "host.hostname.n",
    ),
    (
        "copied to a number",
        mapped(
            **inside("host", {"hostname": {**KEYWORD, "copy_to": "all.of.it"}}),
            **inside("all", {"of": {"properties": {"it": {"type": "long"}}}}),
        ),
        "all.of.it",
    ),
    (
        "a template for texts",
        templates({"match_mapping_type": "string", "match": "h*", "mapping": {"type": "long"}}),
        "host.hostname",
    ),
    (
        "a template that makes objects of texts",
        templates({"match": "hostname", "mapping": {"type": "object"}}),
        "host.hostname",
    ),
    ("a template for another path", templates({"path_match": "*.host.*", "mapping": {"type": "long"}}), None),
    (
        "a template with exceptions",
        templates({"match": "host*", "unmatch": "host*", "mapping": {"type": "long"}}),
        None,
    ),
    (
        "a template by expression",
        templates({"match_pattern": "regex", "match": "^p[i]d$", "mapping": {"type": "byte"}}),
        "process.pid",
    ),
    (
        "templates, the first decides",
        templates({"match": "pid", "mapping": {"type": "long"}}, {"match": "p*d", "mapping": {"type": "byte"}}),
        None,
    ),
    ("not deep enough", {"settings": {"index.mapping.depth.limit": 3}}, ""),
    ("deep enough", {"settings": {"index.mapping.depth.limit": DEEP}}, None),
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


def lengthened(text: str) -> Iterator[str]:
    """Yield a log with each thing in it, whose length it decides, beyond what a keyword takes."""
    for old, new in (
        ("> Jan 14 06:04:16 allocfail-probe", "> Jan 14 06:04:16 {}"),
        ("allocfail-probe:", "{}:"),
        ("allocfail-probe invoked", "{} invoked"),
        ("6.12.117", "6.12.117-{}"),
        ("f2fs_compress_alloc_page", "{}"),
        ("bch_bset_alloc", "{}"),
        ("[f2fs]", "[{}]"),
        ("(GFP_NOIO)", "(GFP_NOIO|{})"),
        ("GFP_HIGHUSER_MOVABLE", "GFP_HIGHUSER_MOVABLE" + "|GFP_HIGHUSER_MOVABLE" * 2000),
        ("nodemask=0,2", "nodemask=0,{}"),
        ("cpuset=openrc.swap", "cpuset={}"),
        ("Not tainted", "Tainted: {}"),
        ("UID: 0", "UID: {}"),
        ("Probe/Probe", "{}"),
        ("bio-0", "{}"),
        ("CONSTRAINT_NONE", "CONSTRAINT_{}"),
        ("task=mysqld", "task={}"),
        ("task_memcg=/docker", "task_memcg=/{}"),
    ):
        text_ = text.replace("<4>Jan", "<4> Jan") if old.startswith("> ") else text
        for character in ("h", "7", "\U0001f4a5"):
            made = text_.replace(old, new.format(character * 40_000))
            if made != text_:
                yield made


@cache
def long_events() -> list[dict[str, Any]]:
    """Return events with long texts, in documents that say nothing else, or a host of their own."""
    documents = [
        {"message": log, **own}
        for probe in templates_.probes()
        for log in lengthened(probe["message"])
        for own in ({}, {"host": {"name": "shipper"}})
    ]
    found = [enrich(document) for document in documents]
    return [event for event in found if event is not None]


def texts(value: Any, above: str = "") -> Iterator[tuple[str, str]]:
    if isinstance(value, dict):
        for name, inner in value.items():
            yield from texts(inner, f"{above}.{name}" if above else name)
    elif isinstance(value, list):
        for inner in value:
            yield from texts(inner, above)
    elif isinstance(value, str):
        yield above, value


def test_what_is_long_is_known_to_be() -> None:
    found = {name for event in long_events() for name, value in texts(event) if len(value) > 4096} - {"message"}
    assert {name for name in found if not name.startswith("allocfail.")} == {"event.original", "error.stack_trace"}
    assert len(found) > 15
    for name in found:
        *parents, leaf = name.split(".")
        spec: dict[str, Any] = {leaf: KEYWORD}
        for parent in reversed(parents):
            spec = {parent: {"properties": spec}}
        assert name in [one.field for one in misfits([nested(name)], shape(mapped(**spec)))], name


def nested(dotted: str) -> dict[str, Any]:
    event: Any = "a"
    for name in reversed(dotted.split(".")):
        event = {name: event}
    assert isinstance(event, dict)
    return event


def test_a_long_text_is_refused_nowhere_but_where_it_is_said(cluster: Engine) -> None:
    whole = {name: {"type": "text"} for name in ("original", "stack_trace")}
    named = {"allocfail": {"dynamic": False, "type": "object"}, "message": {"type": "text"}}
    uncut = templates({"match_mapping_type": "string", "mapping": KEYWORD})
    uncut["mappings"]["properties"] = {
        **named,
        **{name: {"properties": whole} for name in ("event", "error")},
    }
    events = list(long_events())
    # Said by the shipper, in the fields of the journal.
    events += [enrich({"message": line, "_HOSTNAME": "h" * 40_000}) or {} for line in (PLAIN, f"{PLAIN}\n{PLAIN}")]
    events += [enrich({"message": PLAIN, "host": {"name": "h" * 40_000}}) or {}]
    uncut["mappings"]["properties"] |= inside("host", {"name": {"type": "text"}}) | {"_HOSTNAME": {"type": "text"}}
    assert [one for one in misfits(EVENTS, shape(uncut)) if one.field != "error.message"] == []
    cluster.request("PUT", "/app-uncut", uncut)
    results = cluster.bulk([{"_op_type": "index", "_index": "app-uncut", "_source": event} for event in events])
    assert [one.reason for one in results if one.status != 201] == []


def test_any_object_takes_no_long_text_either(cluster: Engine) -> None:
    opensearch = cluster.product == "opensearch"
    plain = {"type": "flat_object" if opensearch else "flattened"}
    found = misfits(EVENTS, shape(mapped(error=plain)))
    assert {one.field for one in found} == {"error.stack_trace", "error.message"}
    advice = "map error as an object" if opensearch else "give error an ignore_above of 8191"
    assert {one.remedy for one in found} == {advice}
    cut = {**plain, "ignore_above": 8191}
    assert misfits(EVENTS, shape(mapped(error=cut))) == []
    assert misfits(EVENTS, shape(mapped(process=plain, host=plain, rule=plain))) == []
    for number, spec in enumerate([plain] if opensearch else [plain, cut]):  # OpenSearch has no such option
        cluster.request("PUT", f"/app-any-{number}", mapped(error=spec, process=plain, host=plain, rule=plain))
        act = {"_op_type": "index", "_index": f"app-any-{number}"}
        results = cluster.bulk([{**act, "_source": event} for event in long_events()])
        refused = {one.reason.partition("error")[1] for one in results if one.status != 201}
        assert refused == (set() if number else {"error"})


def test_an_index_may_cut_all_keywords(cluster: Engine) -> None:
    if cluster.product == "opensearch":
        pytest.skip("OpenSearch has no such setting")
    index = {"settings": {"index.mapping.ignore_above": 2000}, **mapped(**inside("event", {"original": KEYWORD}))}
    assert misfits(EVENTS, shape(index)) == []
    cluster.request("PUT", "/app-cut", index)
    event = {"event": {"original": "h" * 40_000}}
    (result,) = cluster.bulk([{"_op_type": "index", "_index": "app-cut", "_source": event}])
    assert result.status == 201


def test_a_second_name_and_a_copy_are_cut_off_too() -> None:
    raw = {"type": "text", "fields": {"raw": KEYWORD}}
    (found,) = misfits(EVENTS, shape(mapped(**inside("event", {"original": raw}))))
    assert (found.field, found.remedy) == ("event.original.raw", "give event.original.raw an ignore_above of 8191")
    copied = {"type": "text", "copy_to": ["all", "nowhere"]}
    (found,) = misfits(EVENTS, shape(mapped(**inside("event", {"original": copied}), all=KEYWORD)))
    assert found.field == "all"


def test_a_keyword_that_is_not_cut_off_refuses_a_long_log() -> None:
    event = inside("event", {"original": KEYWORD})
    (found,) = misfits(EVENTS, shape(mapped(**event)))
    assert str(found).startswith("event.original is a keyword without ignore_above")
    assert found.remedy == "give event.original an ignore_above of 8191"
    wide = inside("event", {"original": {**KEYWORD, "ignore_above": 32766}})  # characters, of up to four bytes
    assert [one.field for one in misfits(EVENTS, shape(mapped(**wide)))] == ["event.original"]
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
    assert {event["allocfail"]["kind"] for event in EVENTS if "kind" in event["allocfail"]} == {
        "oom_kill",
        "page_allocation_failure",
        "slab_allocation_failure",
        "vmalloc_allocation_failure",
    }
    assert json.dumps(EVENTS).count("allocfail-probe") > 8  # nobody takes them for real ones
