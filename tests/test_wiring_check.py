"""What install looks at before it wires, with the real pipelines: no event may be refused afterwards."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from allocfail.cluster.client import connect, path
from allocfail.cluster.install import Wiring, install
from allocfail.cluster.probing import probe_steps
from allocfail.cluster.status import status
from allocfail.cluster.steps import carry_out
from allocfail.cluster.uninstall import uninstall
from allocfail.cluster.wanted import wanted_content
from allocfail.cluster.wiring import plan_wires
from allocfail.errors import AllocfailError, InputError
from clusters import actions, put

if TYPE_CHECKING:
    from allocfail.cluster.client import Engine

pytest_plugins = ["cluster_fixtures"]

LINE = {"message": "swapper: page allocation failure. order:1, mode:0x20"}
OBJECT_AS_KEYWORD = {"mappings": {"properties": {"process": {"type": "keyword"}, "rule": {"type": "keyword"}}}}


@pytest.fixture
def wanted(cluster: Engine) -> Any:
    return wanted_content(cluster.product)


def count(cluster: Engine, index: str) -> int:
    cluster.request("POST", path(index, "_refresh"))
    return int(cluster.request("GET", path(index, "_count"))["count"])


def test_an_index_that_would_refuse_events_is_not_wired(cluster: Engine, wanted: Any) -> None:
    cluster.request("PUT", "/app-taken", {})
    cluster.request("PUT", "/app-words", OBJECT_AS_KEYWORD)
    with pytest.raises(AllocfailError) as caught:
        list(install(cluster, wanted, Wiring(["app-taken", "app-words"])))
    assert str(caught.value) == (
        "index app-words would refuse events: process is mapped as keyword, and an event has an object there "
        "(so are rule): map process as an object, and so on, or leave all fields but allocfail.* out with "
        "--only allocfail; nothing was changed"
    )
    assert cluster.request("GET", "/_ingest/pipeline/allocfail", missing_ok=True) in (None, {})
    assert "properties" not in cluster.request("GET", "/app-taken")["app-taken"]["mappings"]

    only = wanted_content(cluster.product, only=("allocfail",))
    list(install(cluster, only, Wiring(["app-words"])))
    document = put(cluster, "app-words", LINE)
    assert set(document) == {"allocfail", "message"}
    assert document["allocfail"]["kind"] == "page_allocation_failure"
    rows = {(row.kind, row.id): (row.action, row.note) for row in status(cluster, only)}
    assert rows["fields", "allocfail"][0] == "set"
    assert rows["index", "app-words"] == ("wired", "uses allocfail")
    # What is judged is what the pipelines that are there write, whatever is wanted now.
    assert (
        rows["index", "app-words"]
        == {(row.kind, row.id): row[2:4] for row in status(cluster, wanted)}["index", "app-words"]
    )
    list(install(cluster, wanted))
    for now in (wanted, only):
        rows = {(row.kind, row.id): (row.action, row.note) for row in status(cluster, now)}
        assert rows["index", "app-words"] == (
            "refuses",
            "process is mapped as keyword, and an event has an object there: map process as an object",
        )


def test_a_strict_index_gets_the_fields_and_takes_every_event(cluster: Engine, wanted: Any) -> None:
    cluster.request(
        "PUT", "/app-strict", {"mappings": {"dynamic": "strict", "properties": {"message": {"type": "text"}}}}
    )
    changes = actions(install(cluster, wanted, Wiring(["app-strict"])))
    assert (changes["mapping app-strict"], changes["probe app-strict"]) == ("updated", "taken")
    assert count(cluster, "app-strict") == 0  # what was sent was removed
    for probe in wanted.probes:
        assert put(cluster, "app-strict", probe)["tags"] == ["kernel-allocation-failure"]
    again = actions(install(cluster, wanted, Wiring(["app-strict"])))
    assert "probe app-strict" not in again
    assert set(again.values()) == {"unchanged"}


def test_a_mapping_that_changes_later_is_seen_by_status(cluster: Engine, wanted: Any) -> None:
    cluster.request("PUT", "/app-later", {"settings": {"index.default_pipeline": "allocfail"}} | OBJECT_AS_KEYWORD)
    cluster.request("PUT", "/_ingest/pipeline/app-outer", {"processors": [{"pipeline": {"name": "app-hook"}}]})
    cluster.request("PUT", "/app-hooked", {"settings": {"index.final_pipeline": "app-outer"}} | OBJECT_AS_KEYWORD)
    list(install(cluster, wanted, Wiring(hooks=["app-hook"])))
    seen = actions(status(cluster, wanted))
    assert seen["index app-later"] == seen["index app-hooked"] == "refuses"


def test_what_a_template_will_make_is_seen_by_status(cluster: Engine, wanted: Any) -> None:
    # An index template that names the pipeline itself, one by a component, and one of the older kind.
    named = {"settings": {"index.default_pipeline": "allocfail"}}
    cluster.request("PUT", "/_component_template/app-part", {"template": named})
    bodies: dict[str, dict[str, Any]] = {
        "app-fits": {"template": named},
        "app-words": {"template": {**named, **OBJECT_AS_KEYWORD}},
        "app-parts": {"composed_of": ["app-part"], "template": OBJECT_AS_KEYWORD},
    }
    for name, body in bodies.items():
        cluster.request("PUT", path("_index_template", name), {"index_patterns": [f"{name}-*"], **body})
    cluster.request("PUT", "/_template/app-older", {"index_patterns": ["app-older-*"], **named, **OBJECT_AS_KEYWORD})
    try:
        list(install(cluster, wanted))
        rows = {f"{row.kind} {row.id}": row for row in status(cluster, wanted)}
    finally:
        cluster.request("DELETE", "/_template/app-older")
    assert rows["index template app-fits"].action == "wired"
    for refusing in ("index template app-words", "component template app-part", "legacy template app-older"):
        assert rows[refusing].action == "refuses"
        assert rows[refusing].note.startswith("process is mapped as keyword, and an event has an object there")


def test_a_template_that_changes_after_it_was_wired(cluster: Engine, wanted: Any, stream: str) -> None:
    list(install(cluster, wanted, Wiring([stream])))
    target = path("_index_template", stream)
    assert actions(status(cluster, wanted))[f"index template {stream}"] == "wired"
    (found,) = cluster.request("GET", target)["index_templates"]
    body = {key: value for key, value in found["index_template"].items() if not key.endswith(("_date", "_millis"))}
    body["template"]["mappings"] = {"properties": {"event": {"properties": {"original": {"type": "keyword"}}}}}
    cluster.request("PUT", target, body)
    seen = {f"{row.kind} {row.id}": row for row in status(cluster, wanted)}[f"index template {stream}"]
    assert seen.action == "refuses"
    assert seen.note.endswith("give event.original an ignore_above of 8191")


LONG = "h" * 40_000
UNCUT = {"type": "keyword"}


def test_a_long_text_of_the_log_does_not_cost_the_document(cluster: Engine, wanted: Any) -> None:
    names = ["host.hostname", "related.hosts", "log.syslog.hostname", "process.name", "event.reason", "rule.reference"]
    properties: dict[str, Any] = {}
    for name in names:
        *parents, leaf = name.split(".")
        at = properties
        for parent in parents:
            at = at.setdefault(parent, {}).setdefault("properties", {})
        at[leaf] = UNCUT
    cluster.request("PUT", "/app-uncut", {"mappings": {"properties": properties}})
    assert actions(install(cluster, wanted, Wiring(["app-uncut"])))["probe app-uncut"] == "taken"
    for own in ({}, {"host": {"name": "shipper"}}):
        for host, name in ((LONG, "app"), ("web1", LONG)):
            said = (": page allocation failure. order:1, mode:0x20", f"CPU: 1 PID: 7 Comm: {name} Not tainted 6.1.1 #1")
            log = "\n".join(f"<4>Jan 14 06:04:16 {host} kernel: {line}" for line in said)
            document = put(cluster, "app-uncut", {"message": log, **own})
            assert document["allocfail"]["order"] == 1
            assert document["event"]["original"] == log
            assert document["process"] == ({"pid": 7} if name == LONG else {"name": name, "pid": 7})
            assert LONG not in str([document.get(part) for part in ("host", "related", "log")])


def test_a_whole_text_that_a_keyword_would_refuse(cluster: Engine, wanted: Any) -> None:
    cluster.request("PUT", "/app-whole", {"mappings": {"properties": {"event": {"properties": {"original": UNCUT}}}}})
    with pytest.raises(AllocfailError) as caught:
        list(install(cluster, wanted, Wiring(["app-whole"])))
    assert str(caught.value) == (
        "index app-whole would refuse events: event.original is a keyword without ignore_above, which takes 32766 "
        "bytes, and an event may have more: give event.original an ignore_above of 8191, or leave all fields but "
        "allocfail.* out with --only allocfail; nothing was changed"
    )
    cut = {"properties": {"event": {"properties": {"original": {**UNCUT, "ignore_above": 8191}}}}}
    line = {"message": f"{LINE['message']}\n{LONG}"}
    only = wanted_content(cluster.product, only=("allocfail",))
    list(install(cluster, only, Wiring(["app-whole"])))
    assert "event" not in put(cluster, "app-whole", line)
    cluster.request("PUT", "/app-whole/_mapping", cut)
    list(install(cluster, wanted, Wiring(["app-whole"])))
    assert put(cluster, "app-whole", line)["event"]["original"] == line["message"]


def test_an_index_that_wants_routing(cluster: Engine, wanted: Any) -> None:
    cluster.request("PUT", "/app-routed", {"mappings": {"_routing": {"required": True}}})
    assert actions(install(cluster, wanted, Wiring(["app-routed"])))["probe app-routed"] == "taken"
    assert count(cluster, "app-routed") == 0
    cluster.request("PUT", "/app-routed/_doc/1?routing=a&refresh=true", LINE)
    assert cluster.request("GET", "/app-routed/_doc/1?routing=a")["_source"]["allocfail"]["order"] == 1


def test_advice_says_what_helps(cluster: Engine, wanted: Any) -> None:
    cluster.request("PUT", "/app-flat", {"settings": {"index.mapping.depth.limit": 2}})
    only = wanted_content(cluster.product, only=("allocfail",))
    for told in (wanted, only):
        with pytest.raises(AllocfailError) as caught:
            list(install(cluster, told, Wiring(["app-flat"])))
        assert str(caught.value) == (
            "index app-flat would refuse events: an event's objects are 4 deep, and index.mapping.depth.limit is 2: "
            "raise the limit to 4; nothing was changed"
        )
    cluster.request("PUT", "/app-flat/_settings", {"index.mapping.depth.limit": 4})
    assert actions(install(cluster, wanted, Wiring(["app-flat"])))["probe app-flat"] == "taken"

    # What no mapping tells; the limit is named in the server's own words.
    cluster.request("PUT", "/app-short", {"settings": {"index.mapping.field_name_length.limit": 18}})
    with pytest.raises(AllocfailError, match=r": raise index\.mapping\.field_name_length\.limit; nothing was wired$"):
        list(install(cluster, wanted, Wiring(["app-short"])))

    texts = {"match_mapping_type": "string", "mapping": {"type": "ip"}}
    cluster.request("PUT", "/app-named", {"mappings": {"dynamic_templates": [{"all-texts": texts}]}})
    with pytest.raises(
        AllocfailError, match="map message in the index, or change its dynamic template all-texts; noth"
    ):
        list(install(cluster, wanted, Wiring(["app-named"])))
    cluster.request("PUT", "/app-named/_mapping", {"properties": {"message": {"type": "text"}}})
    assert actions(install(cluster, wanted, Wiring(["app-named"])))["probe app-named"] == "taken"


def test_what_no_mapping_tells_the_probe_does(cluster: Engine, wanted: Any) -> None:
    # Nothing in the mapping of a field says that its dynamic template makes another type of it.
    template = [{"all": {"match": "*", "match_mapping_type": "string", "mapping": {"type": "ip"}}}]
    cluster.request(
        "PUT", "/app-ips", {"mappings": {"dynamic_templates": template, "properties": {"log": {"type": "object"}}}}
    )
    bare = type(wanted)(wanted.pipelines, (), wanted.probes)  # as if a field was missing from what is known of events
    with pytest.raises(AllocfailError, match=r"app-ips refuses events: .*: change its mapping.*nothing was wired"):
        list(install(cluster, bare, Wiring(["app-ips"])))
    settings = cluster.request("GET", "/app-ips/_settings")["app-ips"]["settings"]["index"]
    assert "default_pipeline" not in settings
    assert count(cluster, "app-ips") == 0


def test_what_must_not_be_written_to_is_only_looked_at(cluster: Engine, wanted: Any) -> None:
    cluster.request("PUT", "/app-full", {})
    cluster.request("PUT", "/app-full/_settings", {"index.blocks.write": True})
    list(install(cluster, wanted))
    wires = plan_wires(cluster, Wiring(["app-full"]), {}, {})
    (change,) = carry_out(cluster, probe_steps(wires.targets, wanted.probes), dry_run=False)
    assert (change.action, change.note) == ("left", "write-protected: checked against its mapping only")


def test_a_strict_data_stream_takes_events_in_its_next_index_too(cluster: Engine, wanted: Any, stream: str) -> None:
    template = {
        "index_patterns": [stream],
        "priority": 500,
        "data_stream": {},
        "template": {
            "settings": {"number_of_replicas": 0},
            "mappings": {
                "dynamic": "strict",
                "properties": {"@timestamp": {"type": "date"}, "message": {"type": "text"}},
            },
        },
    }
    cluster.request("PUT", path("_index_template", stream), template)
    cluster.request("POST", path(stream, "_rollover"))
    changes = actions(install(cluster, wanted, Wiring([stream])))
    assert changes[f"probe {stream}"] == "taken"
    cluster.request("POST", path(stream, "_rollover"))
    event = {**LINE, "@timestamp": "2026-01-01T00:00:00Z"}
    answer = cluster.request("POST", path(stream, "_doc"), event)
    assert answer["_index"].endswith("3")
    assert actions(uninstall(cluster, grace=0.1))["pipeline allocfail"] == "removed"
    answer = cluster.request("GET", path("_index_template", stream))
    assert answer["index_templates"][0]["index_template"].get("composed_of", []) == []


def test_bad_names(cluster: Engine, wanted: Any) -> None:
    with pytest.raises(InputError, match="--index needs the name"):
        list(install(cluster, wanted, Wiring([" "])))
    with pytest.raises(InputError, match="allocfail@custom is called by allocfail"):
        list(install(cluster, wanted, Wiring(hooks=["allocfail@custom"])))


@pytest.fixture
def installed(cluster: Engine, wanted: Any) -> Engine:
    list(install(cluster, wanted))
    return cluster


def test_one_more_processor_for_events(installed: Engine) -> None:
    cluster = installed
    cluster.request("PUT", "/app-own", {"settings": {"index.default_pipeline": "allocfail"}})
    before = put(cluster, "app-own", LINE)
    own = {"processors": [{"set": {"field": "team", "value": "kernel"}}]}
    cluster.request("PUT", "/_ingest/pipeline/allocfail@custom", own)
    try:
        after = put(cluster, "app-own", LINE)
        assert after["team"] == "kernel"
        assert set(after) - set(before) == {"team"}
        assert put(cluster, "app-own", {"message": "nothing was allocated by all"}) == {
            "message": "nothing was allocated by all"
        }
        list(install(cluster, wanted_content(cluster.product)))
        assert actions(uninstall(cluster, grace=0.1))["pipeline allocfail"] == "left"  # app-own names it by hand
        assert "allocfail@custom" in cluster.request("GET", "/_ingest/pipeline/allocfail@custom")
    finally:
        cluster.request("DELETE", "/_ingest/pipeline/allocfail@custom")


BIG = 18446744073709551615


@pytest.mark.parametrize(
    "document",
    [
        {"event": {"kind": "alert", "id": BIG}, "message": "all allocated"},
        {"event": {"kind": "alert"}, "deep": [{"er": BIG}], "message": "all allocated"},
        {"_allocfail": {"mine": 1}, "message": "all allocated"},
        {"_allocfail_work": {"mine": 1}, **LINE},
        {"event": "text", "error": "text", "tags": "text", "message": "all allocated"},
    ],
)
def test_nobodys_field_is_changed(installed: Engine, document: dict[str, Any]) -> None:
    index = {"settings": {"index.default_pipeline": "allocfail"}, "mappings": {"dynamic": False}}
    installed.request("PUT", "/app-fields", index)
    assert put(installed, "app-fields", document) == document


def test_an_event_that_no_script_can_be_run_on_says_so(installed: Engine) -> None:
    index = {"settings": {"index.default_pipeline": "allocfail"}, "mappings": {"dynamic": False}}
    installed.request("PUT", "/app-big", index)
    for document in (
        {**LINE, "event": {"kind": "alert"}, "deep": [{"er": BIG}]},
        {"event": {"original": LINE["message"], "id": BIG}},
        {"log": json.dumps({"log": LINE["message"]}), "id": BIG},
    ):
        out = put(installed, "app-big", document)
        if installed.product == "elasticsearch":
            assert out["allocfail"]["order"] == 1
            continue
        assert "an integer beyond 2^63-1" in out["allocfail"]["error"]
        assert out["tags"] == ["allocfail-pipeline-error"]
        assert out["event"]["kind"] == document.get("event", {}).get("kind", "pipeline_error")
        assert {**out, **document, "event": 0} == {**out, "event": 0}
    decoded = {**LINE, "id": BIG, "allocfail": {"fingerprint": {"id": "af1:0"}}}
    assert put(installed, "app-big", decoded) == decoded


def test_an_event_beside_nobodys_fields(installed: Engine) -> None:
    index = {"settings": {"index.default_pipeline": "allocfail"}, "mappings": {"dynamic": False}}
    installed.request("PUT", "/app-fields", index)
    document = {**LINE, "_allocfail": {"mine": 1}, "event": {"kind": "alert"}}
    out = put(installed, "app-fields", document)
    assert (out["_allocfail"], out["event"]["kind"]) == ({"mine": 1}, "alert")
    assert out["allocfail"]["order"] == 1


@pytest.mark.parametrize(
    ("document", "expected"),
    [
        ({}, {"event": {"kind": "pipeline_error"}, "tags": ["allocfail-pipeline-error"]}),
        (
            {"event": {"kind": "alert"}, "error": {"message": "theirs"}, "tags": ["a"]},
            {"event": {"kind": "alert"}, "error": {"message": "theirs"}, "tags": ["a", "allocfail-pipeline-error"]},
        ),
        (
            {"event.kind": "alert", "error": "theirs"},
            {"event.kind": "alert", "error": "theirs", "tags": ["allocfail-pipeline-error"]},
        ),
    ],
)
@pytest.mark.parametrize("only", [(), ("allocfail",)])
def test_a_failure_fills_what_is_empty(
    cluster: Engine, document: dict[str, Any], expected: dict[str, Any], only: tuple[str, ...]
) -> None:
    body = wanted_content(cluster.product, only=only).pipelines["allocfail"]
    broken = {
        "processors": [{"fail": {"message": "broken", "tag": "breaks"}}],
        "on_failure": json.loads(json.dumps(body["on_failure"])),
    }
    cluster.request("PUT", "/_ingest/pipeline/app-broken", broken)
    index = {"settings": {"index.default_pipeline": "app-broken"}, "mappings": {"dynamic": False}}
    cluster.request("PUT", "/app-broken", index)
    out = put(cluster, "app-broken", document)
    assert out.pop("allocfail")["error"].startswith("Processor '")
    if only:
        assert out == document
        return
    if "error" not in document:
        assert out.pop("error")["message"].startswith("Processor '")
    assert out == expected


def test_two_installs_at_once(cluster: Engine, wanted: Any) -> None:
    from threading import Thread  # noqa: PLC0415

    failed: list[str] = []

    def run() -> None:
        with connect(cluster.where) as mine:
            try:
                list(install(mine, wanted))
            except AllocfailError as error:
                failed.append(str(error))

    for _ in range(3):
        threads = [Thread(target=run) for _ in range(3)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert failed == []
        assert {change.action for change in status(cluster, wanted)} <= {"current", "decoded", "unset"}
        list(uninstall(cluster, grace=0))
