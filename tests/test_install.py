"""Install, wire, status and uninstall on both real engines."""

from __future__ import annotations

import json
import threading
from dataclasses import replace
from typing import Any

import pytest

from allocfail.cluster import templates
from allocfail.cluster.client import Engine, connect, path
from allocfail.cluster.errors import EngineError
from allocfail.cluster.install import Wanted, Wiring, install
from allocfail.cluster.managed import ENTRY
from allocfail.cluster.publishing import discover_url, publish
from allocfail.cluster.record import kb_address
from allocfail.cluster.status import status
from allocfail.cluster.steps import diff
from allocfail.cluster.uninstall import uninstall
from allocfail.cluster.wanted import wanted_content
from allocfail.cluster.wiring import unwire
from allocfail.errors import AllocfailError, InputError, NotFoundError
from allocfail.painless import pipelines
from clusters import ARTICLE, PIPELINES, WANTED, actions, add, done, put

pytest_plugins = ["cluster_fixtures"]


def test_second_install_changes_nothing(cluster: Engine) -> None:
    assert set(actions(install(cluster, WANTED)).values()) == {"created"}
    assert done(install(cluster, WANTED)) == []
    assert set(actions(status(cluster, WANTED)).values()) == {
        "current",
        "failed",
        "unset",
    }  # these pipelines decode nothing


def test_dry_run_says_what_install_does_and_writes_nothing(cluster: Engine) -> None:
    before = cluster.request("GET", "/_ingest/pipeline", missing_ok=True)
    promised = list(install(cluster, WANTED, dry_run=True))
    assert all(change.diff for change in promised)
    assert cluster.request("GET", "/_ingest/pipeline", missing_ok=True) == before
    assert cluster.request("GET", "/_component_template/allocfail-fields", missing_ok=True) is None
    assert actions(install(cluster, WANTED)) == actions(promised)


def test_update_says_what_changed_and_shows_it(cluster: Engine) -> None:
    list(install(cluster, WANTED))
    newer = json.loads(json.dumps(PIPELINES))
    newer["allocfail-inner"]["processors"][0]["set"]["value"] = 2
    changes = done(install(cluster, Wanted(newer, [{**ARTICLE, "title": "New"}])))
    assert actions(changes) == {"pipeline allocfail-inner": "updated", "article one": "updated"}
    by_id = {change.id: change for change in changes}
    assert diff("x", {"source": "a\nb\nc"}, {"source": "a\nB\nc"}).count("\n-") == 1
    assert '-        "value": 1' in by_id["allocfail-inner"].diff
    assert '+        "value": 2' in by_id["allocfail-inner"].diff


def test_inner_pipelines_first_and_stale_ones_go_last(cluster: Engine) -> None:
    more = {
        **PIPELINES,
        "allocfail": {**PIPELINES["allocfail"], "processors": [{"pipeline": {"name": "allocfail-z"}}]},
        "allocfail-z": {"description": "", "version": 1, "processors": [{"pipeline": {"name": "allocfail-inner"}}]},
    }
    order = [change.id for change in install(cluster, Wanted(more, [])) if change.kind == "pipeline"]
    assert order == ["allocfail-inner", "allocfail-z", "allocfail"]
    after = [change for change in install(cluster, WANTED) if change.kind == "pipeline"]
    assert [(change.id, change.action) for change in after][-2:] == [
        ("allocfail", "updated"),
        ("allocfail-z", "removed"),
    ]


def test_what_is_not_ours_is_not_overwritten(cluster: Engine) -> None:
    cluster.request("PUT", "/_ingest/pipeline/allocfail", {"description": "mine", "processors": []})
    with pytest.raises(AllocfailError, match="pipeline allocfail is there and not allocfail's"):
        list(install(cluster, WANTED))
    assert cluster.request("GET", "/_ingest/pipeline/allocfail")["allocfail"]["description"] == "mine"
    assert cluster.request("GET", "/_component_template/allocfail-fields", missing_ok=True) is None


def test_status_tells_missing_outdated_changed(cluster: Engine) -> None:
    assert set(actions(status(cluster, WANTED)).values()) == {"missing"}
    list(install(cluster, WANTED))
    newer = {**PIPELINES, "allocfail-inner": {**PIPELINES["allocfail-inner"], "version": 2}}
    assert actions(status(cluster, Wanted(newer, [ARTICLE])))["pipeline allocfail-inner"] == "outdated"
    body = cluster.request("GET", "/_ingest/pipeline/allocfail-inner")["allocfail-inner"]
    edited = {key: value for key, value in body.items() if not key.endswith(("_date", "_millis"))}
    edited["processors"] = []
    cluster.request("PUT", "/_ingest/pipeline/allocfail-inner", edited)
    assert actions(status(cluster, WANTED))["pipeline allocfail-inner"] == "changed"
    left = {change.id: change for change in uninstall(cluster, grace=0.1) if change.action == "left"}
    assert left["allocfail-inner"].note == "changed by hand"
    repaired = [change for change in install(cluster, WANTED) if change.id == "allocfail-inner"]
    assert (repaired[0].action, repaired[0].note) == ("updated", "had been changed by hand")


@pytest.mark.parametrize("setting", ["default", "final"])
def test_index_is_wired_and_unwired(cluster: Engine, setting: str) -> None:
    cluster.request("PUT", "/app-one", {})
    list(install(cluster, WANTED, Wiring(["app-one"], setting)))
    assert put(cluster, "app-one", {"a": 1}) == {"a": 1, "through": True, "in": 1}
    mapping = cluster.request("GET", "/app-one/_mapping")["app-one"]["mappings"]["properties"]["allocfail"]
    assert mapping["properties"]["fingerprint"]["properties"]["id"]["type"] == "keyword"
    assert done(install(cluster, WANTED, Wiring(["app-one"], setting))) == []
    assert actions(status(cluster, WANTED))["index app-one"] == "wired"

    gone = actions(uninstall(cluster, grace=0.1))
    assert gone["index app-one"] == "updated"
    assert gone["pipeline allocfail"] == gone["pipeline allocfail-inner"] == gone["index allocfail-kb"] == "removed"
    assert put(cluster, "app-one", {"a": 2}) == {"a": 2}
    assert set(actions(uninstall(cluster, grace=0.1)).values()) == {"missing"}


def test_anothers_default_pipeline_is_never_replaced(cluster: Engine) -> None:
    cluster.request("PUT", "/_ingest/pipeline/app-own", {"processors": []})
    cluster.request("PUT", "/app-free", {})
    cluster.request("PUT", "/app-taken", {"settings": {"index.default_pipeline": "app-own"}})
    with pytest.raises(AllocfailError, match="app-taken already has the default pipeline app-own"):
        list(install(cluster, WANTED, Wiring(["app-free", "app-taken"])))
    # Refused before anything was changed.
    assert cluster.request("GET", "/_ingest/pipeline/allocfail", missing_ok=True) in (None, {})
    assert "default_pipeline" not in cluster.request("GET", "/app-free/_settings")["app-free"]["settings"]["index"]
    list(install(cluster, WANTED, Wiring(["app-taken"], "final")))
    assert put(cluster, "app-taken", {"a": 1})["through"] is True


def test_names_that_do_not_exist(cluster: Engine) -> None:
    with pytest.raises(NotFoundError, match="no index and no data stream is named app-nope"):
        list(install(cluster, WANTED, Wiring(["app-nope"])))
    with pytest.raises(InputError, match="allocfail-inner is a name"):
        list(install(cluster, WANTED, Wiring(hooks=["allocfail-inner"])))


def test_hook_keeps_what_is_in_it(cluster: Engine) -> None:
    own = {"description": "ours", "version": 7, "processors": [{"set": {"field": "own", "value": 1}}]}
    cluster.request("PUT", "/_ingest/pipeline/logs@custom", own)
    cluster.request("PUT", "/app-hooked", {"settings": {"index.default_pipeline": "logs@custom"}})
    changes = done(install(cluster, WANTED, Wiring(hooks=["logs@custom"])))
    assert [change.action for change in changes if change.kind == "hook"] == ["updated"]
    assert put(cluster, "app-hooked", {}) == {"own": 1, "through": True, "in": 1}
    assert done(install(cluster, WANTED, Wiring(hooks=["logs@custom"]))) == []
    uninstalled = actions(uninstall(cluster, grace=0.1))
    assert uninstalled["hook logs@custom"] == "updated"
    assert uninstalled["pipeline allocfail"] == "removed"
    assert put(cluster, "app-hooked", {}) == {"own": 1}
    body = cluster.request("GET", "/_ingest/pipeline/logs@custom")["logs@custom"]
    assert {key: body[key] for key in own} == own


def test_a_pipeline_that_called_before_is_nobodys_wire(cluster: Engine) -> None:
    call = {"pipeline": {"name": "allocfail", "tag": "mine"}}
    own = {"description": "ours", "processors": [{"set": {"field": "own", "value": 1}}, call]}
    list(install(cluster, WANTED))
    cluster.request("PUT", "/_ingest/pipeline/app-calls", own)
    before = cluster.request("GET", "/_ingest/pipeline/app-calls")
    (hook,) = [change for change in install(cluster, WANTED, Wiring(hooks=["app-calls"])) if change.kind == "hook"]
    assert (hook.action, hook.note) == ("unchanged", "calls allocfail")
    assert [change.id for change in status(cluster, WANTED) if change.kind == "hook"] == ["app-calls"]
    assert [change.action for change in status(cluster, WANTED) if change.kind == "hook"] == ["wired"]
    left = {change.id: change.note for change in uninstall(cluster, grace=0.1) if change.action == "left"}
    assert left["allocfail"] == "used by pipeline app-calls"
    assert cluster.request("GET", "/_ingest/pipeline/app-calls") == before
    (row,) = unwire(cluster, Wiring(hooks=["app-calls"]))
    assert (row.action, row.note) == ("left", "calls allocfail by a processor that install did not add")
    assert cluster.request("GET", "/_ingest/pipeline/app-calls") == before


def test_a_hook_may_find_no_pipeline(cluster: Engine) -> None:
    list(install(cluster, WANTED, Wiring(hooks=["app-hook"])))
    (call,) = cluster.request("GET", "/_ingest/pipeline/app-hook")["app-hook"]["processors"]
    option = "ignore_missing_pipeline" if cluster.product == "elasticsearch" else "ignore_failure"
    assert call["pipeline"] == {"name": "allocfail", "tag": "allocfail-hook", option: True}
    cluster.request("DELETE", "/_ingest/pipeline/allocfail")
    cluster.request("PUT", "/app-hooked", {"settings": {"index.default_pipeline": "app-hook"}})
    assert put(cluster, "app-hooked", {"a": 1}) == {"a": 1}


def test_an_older_release_does_not_replace_a_newer_one(cluster: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (templates, pipelines):
        monkeypatch.setattr(module, "version_number", lambda: 99_001_002)
    list(install(cluster, wanted_content(cluster.product)))
    monkeypatch.undo()
    wanted = wanted_content(cluster.product)
    with pytest.raises(AllocfailError, match=r"a newer allocfail \(99\.1\.2\) has installed there, and this is 0\."):
        list(install(cluster, wanted))
    assert cluster.request("GET", "/_ingest/pipeline/allocfail")["allocfail"]["version"] == 99_001_002
    changes = actions(install(cluster, wanted, downgrade=True))
    assert changes["pipeline allocfail"] == changes["component template allocfail-fields"] == "updated"
    assert done(install(cluster, wanted)) == []


def test_where_links_lead_is_remembered(cluster: Engine) -> None:
    def rows() -> list[tuple[str, str]]:
        return [(row.id, row.action) for row in status(cluster, WANTED) if row.kind == "links"]

    list(install(cluster, WANTED))
    assert rows() == [("http://127.0.0.1:8765/", "unset")]
    told = replace(WANTED, kb_url="https://kb.example.org/")
    assert actions(done(install(cluster, told))) == {"component template allocfail-wiring": "created"}
    cluster.request("PUT", "/app-one", {})
    list(install(cluster, WANTED, Wiring(["app-one"])))
    assert rows() == [("https://kb.example.org/", "set")]
    assert kb_address(cluster) == "https://kb.example.org/"
    list(unwire(cluster, Wiring(["app-one"])))
    assert kb_address(cluster) == "https://kb.example.org/"
    list(uninstall(cluster, grace=0.1))
    assert kb_address(cluster) is None


def test_articles_can_be_published_before_and_after_install(cluster: Engine) -> None:
    address = discover_url("https://kibana.example.org/s/ops/")
    assert address == "https://kibana.example.org/s/ops/app/discover#/doc/allocfail-kb/allocfail-kb?id={section}"
    wanted = wanted_content(cluster.product, address)
    made = actions(publish(cluster, wanted))
    assert made["article zone-reclaim-mode"] == made["index allocfail-kb"] == "created"
    assert not any(name.startswith("pipeline") for name in made)
    assert done(publish(cluster, wanted)) == []
    article = cluster.request("GET", "/allocfail-kb/_doc/zone-reclaim-mode")["_source"]
    assert article["url"] == address.replace("{section}", "zone-reclaim-mode")
    assert "## " in article["whole"]
    part = cluster.request("GET", "/allocfail-kb/_doc/zone-reclaim-mode.cannot-act")["_source"]
    assert part["url"] == address.replace("{section}", "zone-reclaim-mode.cannot-act")

    list(install(cluster, wanted_content(cluster.product, kb_address(cluster))))
    cluster.request("PUT", "/app-own", {"settings": {"index.default_pipeline": "allocfail"}})
    line = {"message": "swapper: page allocation failure. order:1, mode:0x20"}
    assert put(cluster, "app-own", line)["rule"]["reference"] == part["url"]
    moved = wanted_content(cluster.product, "https://kb.example.org/")
    assert actions(publish(cluster, moved))["pipeline allocfail-event"] == "updated"
    reference = put(cluster, "app-own", line)["rule"]["reference"]
    assert reference == "https://kb.example.org/zone-reclaim-mode.html#cannot-act"


def test_hook_that_install_made_goes_unless_it_is_used(cluster: Engine) -> None:
    list(install(cluster, WANTED, Wiring(hooks=["logs@custom", "app-hook"])))
    cluster.request("PUT", "/app-hooked", {"settings": {"index.default_pipeline": "app-hook"}})
    uninstalled = actions(uninstall(cluster, grace=0.1))
    assert (uninstalled["hook logs@custom"], uninstalled["hook app-hook"]) == ("removed", "updated")
    assert put(cluster, "app-hooked", {"a": 1}) == {"a": 1}


def test_uninstall_leaves_what_others_use(cluster: Engine) -> None:
    list(install(cluster, WANTED))
    cluster.request("PUT", "/app-direct", {"settings": {"index.default_pipeline": ENTRY}})
    caller = {"processors": [{"foreach": {"field": "x", "processor": {"pipeline": {"name": "allocfail-inner"}}}}]}
    cluster.request("PUT", "/_ingest/pipeline/app-caller", caller)
    notes = {change.id: change.note for change in uninstall(cluster, grace=0.1) if change.action == "left"}
    assert notes["allocfail"] == "used by index app-direct"
    assert notes["allocfail-inner"] == "used by pipeline app-caller"
    assert put(cluster, "app-direct", {})["through"] is True


def test_unwire_takes_back_one_index_only(cluster: Engine) -> None:
    cluster.request("PUT", "/app-one", {})
    cluster.request("PUT", "/app-two", {})
    list(install(cluster, WANTED, Wiring(["app-*"], "final")))
    unwired = actions(unwire(cluster, Wiring(["app-one"])))
    assert unwired == {"index app-one": "updated", "component template allocfail-wiring": "updated"}
    assert put(cluster, "app-one", {}) == {}
    assert put(cluster, "app-two", {})["through"] is True
    assert actions(uninstall(cluster, grace=0.1))["index app-two"] == "updated"


def went_through(cluster: Engine, name: str) -> list[Any]:
    hits = cluster.request("GET", f"{path(name, '_search')}?sort=_seq_no,_index")["hits"]["hits"]
    return [hit["_source"].get("through") for hit in sorted(hits, key=lambda hit: (hit["_index"], hit["sort"]))]


def test_data_stream_is_wired_for_its_next_index_too(cluster: Engine, stream: str) -> None:
    list(install(cluster, WANTED, Wiring([stream])))
    add(cluster, stream)
    cluster.request("POST", path(stream, "_rollover"))
    add(cluster, stream)
    assert went_through(cluster, stream) == [None, True, True]
    # The next index has it from its template, the fields of ECS included.
    (*_, newest) = sorted(cluster.request("GET", path(stream, "_mapping")).items())
    assert newest[1]["mappings"]["properties"]["process"]["properties"]["name"]["type"] == "keyword"
    assert done(install(cluster, WANTED, Wiring([stream]))) == []
    assert actions(uninstall(cluster, grace=0.1))["pipeline allocfail"] == "removed"
    add(cluster, stream)
    cluster.request("POST", path(stream, "_rollover"))
    add(cluster, stream)
    assert went_through(cluster, stream) == [None, True, True, None, None]
    answer = cluster.request("GET", path("_index_template", stream))
    stored = answer["index_templates"][0]["index_template"]
    assert stored.get("composed_of", []) == []
    assert stored["template"]["settings"] == {"index": {"number_of_replicas": "0"}}


def test_managed_template_is_left_to_its_product(cluster: Engine, stream: str) -> None:
    managed = {"index_patterns": [stream], "priority": 600, "data_stream": {}, "_meta": {"managed": True}}
    cluster.request("PUT", path("_index_template", stream), managed)
    with pytest.raises(AllocfailError, match="use --hook with the custom pipeline it calls, such as stream@custom"):
        list(install(cluster, WANTED, Wiring([stream])))


def test_no_document_is_lost_while_installing_and_uninstalling(cluster: Engine) -> None:
    cluster.request("PUT", "/app-busy", {})
    stop = threading.Event()
    failed: list[str] = []
    sent = [0, 0]

    def index(worker: int) -> None:
        with connect(cluster.where) as mine:
            while not stop.is_set():
                batch = [{"_op_type": "index", "_index": "app-busy", "_source": {"n": n}} for n in range(20)]
                failed.extend(f"{result}" for result in mine.bulk(batch) if result.status != 201)
                sent[worker] += len(batch)

    threads = [threading.Thread(target=index, args=(worker,)) for worker in range(2)]
    for thread in threads:
        thread.start()
    try:
        for _ in range(2):
            list(install(cluster, WANTED, Wiring(["app-busy"])))
            newer = {**PIPELINES, "allocfail-new": {"description": "", "version": 1, "processors": []}}
            list(install(cluster, Wanted(newer, [])))
            gone = actions(uninstall(cluster, grace=0.3))
            assert gone["pipeline allocfail"] == "removed"
    finally:
        stop.set()
        for thread in threads:
            thread.join()
    assert failed == []
    cluster.request("POST", "/app-busy/_refresh")
    count = cluster.request("GET", "/app-busy/_count")["count"]
    assert count == sum(sent)
    through = cluster.request("POST", "/app-busy/_count", {"query": {"term": {"through": True}}})["count"]
    assert 0 < through < count


def test_pipeline_that_a_shipper_names_itself_stays(cluster: Engine) -> None:
    list(install(cluster, WANTED))
    stop, begun = threading.Event(), threading.Event()
    failed: list[str] = []

    def index() -> None:
        with connect(cluster.where) as mine:
            while not stop.is_set():
                try:
                    mine.request("POST", "/app-named/_doc?pipeline=allocfail", {})
                    begun.set()
                except EngineError as error:
                    failed.append(str(error))

    thread = threading.Thread(target=index)
    thread.start()
    try:
        assert begun.wait(30)
        notes = {change.id: change.note for change in uninstall(cluster, grace=1.0) if change.action == "left"}
    finally:
        stop.set()
        thread.join()
    assert "documents still come through" in notes["allocfail"]
    assert failed == []
    assert actions(uninstall(cluster, grace=0.1))["pipeline allocfail"] == "removed"


def test_events_template_takes_what_it_does_not_know(cluster: Engine) -> None:
    list(install(cluster, WANTED))
    document = {
        "@timestamp": "2026-01-01T00:00:00Z",
        "event": {"original": "x" * 1_000_000},
        "process": {"name": "y" * 40_000},
        "error": {"stack_trace": "f+0x1/0x2\n" * 10_000},
        "foreign": {"n": 1},
        "log": {"offset": "not a number"},
        "allocfail": {
            "kind": "vmalloc_allocation_failure",
            "vmalloc": {"bytes_text": "18446744073709551615"},
            "order": "seven",
            "memory": {"zones": [{"node": 0, "free_blocks": [1, 2]}], "counters": {"any": 2**70}},
            "new_field": {"of": "a later version"},
        },
    }
    cluster.request("POST", "/allocfail-events/_doc?refresh=true", document)
    found = cluster.request(
        "POST",
        "/allocfail-events/_count",
        {"query": {"term": {"allocfail.vmalloc.bytes_text": "18446744073709551615"}}},
    )
    assert found["count"] == 1
    mapping = cluster.request("GET", "/allocfail-events/_mapping")["allocfail-events"]["mappings"]
    assert mapping["dynamic"] == "false"
    assert "foreign" not in mapping["properties"]
    assert done(install(cluster, WANTED)) == []


# The Elasticsearch of these tests comes without the API to remove a data stream.
@pytest.mark.parametrize("engine", ["opensearch"], indirect=True)
def test_events_in_a_data_stream_survive_unless_asked_for(cluster: Engine) -> None:
    list(install(cluster, WANTED))
    name = "logs-allocfail.event-default"
    add(cluster, name)
    kept = {change.id: change for change in uninstall(cluster, grace=0.1) if change.action == "left"}
    assert "in use" in kept["allocfail-events-stream"].note
    assert kept[name].note == "your data: --delete-events removes it"
    assert actions(uninstall(cluster, grace=0.1, delete_events=True, dry_run=True))[f"events {name}"] == "removed"
    gone = actions(uninstall(cluster, grace=0.1, delete_events=True))
    assert gone[f"events {name}"] == gone["index template allocfail-events-stream"] == "removed"
    assert gone["component template allocfail-ecs"] == "removed"


def test_events_survive_unless_asked_for(cluster: Engine) -> None:
    list(install(cluster, WANTED, index="app-events"))
    cluster.request("POST", "/app-events/_doc?refresh=true", {"@timestamp": "2026-01-01T00:00:00Z"})
    assert done(install(cluster, WANTED)) == []  # the name is kept
    kept = {change.id: change.note for change in uninstall(cluster, grace=0.1) if change.kind == "events"}
    assert kept == {"app-events": "your data: --delete-events removes it"}
    list(install(cluster, WANTED, index="app-events"))
    assert actions(uninstall(cluster, grace=0.1, delete_events=True))["events app-events"] == "removed"
    assert cluster.request("GET", "/app-events", missing_ok=True) is None


def test_fallback_types_find_the_same_values() -> None:
    full, bare = templates.build(), templates.build(templates.mapping_types())
    assert templates.mapping_types() == {"match_only_text", "wildcard"}
    assert '"wildcard"' in json.dumps(full.components)
    assert not any(f'"{kind}"' in json.dumps([bare.components, bare.kb_body]) for kind in templates.mapping_types())
