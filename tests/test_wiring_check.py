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
    # Told otherwise, they would be refused.
    rows = {(row.kind, row.id): (row.action, row.note) for row in status(cluster, wanted)}
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
