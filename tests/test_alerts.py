"""Alerts: what each product is sent, what it answers where that can be run here, and what is left alone."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest

from allocfail.cluster import alerts, saved_objects, templates
from allocfail.cluster.client import connect, path
from allocfail.cluster.connection import connection
from allocfail.cluster.dashboards import Place
from allocfail.content import content_path
from clusters import ROOTS, actions, server
from products import Product

if TYPE_CHECKING:
    from engines.harness import Engine as Server

PATTERNS = ["allocfail-events*", "app-logs"]
IDS = {"allocfail-new-group", "allocfail-rate", "allocfail-drift"}


def search_of(kind: str, alert: dict[str, Any]) -> dict[str, Any]:
    """Return the search inside an alert; a rule's is its query alone."""
    if kind == "opensearch-monitors":
        found: dict[str, Any] = alert["inputs"][0]["search"]["query"]
    elif kind == "watches":
        found = alert["input"]["search"]["request"]["body"]
    else:
        found = json.loads(alert["params"]["esQuery"])
    return found


def test_monitors_are_what_alerting_takes() -> None:
    """The keys of its documentation, Alerting API, create a query-level monitor (1.1 and later)."""
    made = alerts.build("opensearch-monitors", PATTERNS)
    assert set(made) == IDS
    for monitor in made.values():
        assert set(monitor) == {"type", "name", "monitor_type", "enabled", "schedule", "inputs", "triggers"}
        assert monitor["schedule"] == {"period": {"interval": 15, "unit": "MINUTES"}}
        assert monitor["inputs"][0]["search"]["indices"] == PATTERNS
        [trigger] = monitor["triggers"]
        assert set(trigger["query_level_trigger"]) == {"id", "name", "severity", "condition", "actions"}


def test_rules_are_what_kibana_takes() -> None:
    """The parameters of `.es-query` (response-ops/rule_params/es_query/v1.ts) that its schema wants, and no other."""
    for rule in alerts.build("kibana-rules", PATTERNS).values():
        params = rule["params"]
        common = {"size", "timeField", "timeWindowSize", "timeWindowUnit", "threshold", "thresholdComparator"}
        if params.get("searchType") == "esqlQuery":
            assert set(params) == common | {"searchType", "esqlQuery"}
            assert params["esqlQuery"]["esql"].startswith("FROM allocfail-events*,app-logs | WHERE ")
            assert (params["threshold"], params["thresholdComparator"]) == ([0], ">"), "else it is refused"
        else:  # what 8.0 knows
            assert set(params) == common | {"index", "esQuery"}
            assert set(json.loads(params["esQuery"])) == {"query"}
        assert rule["consumer"] == "stackAlerts"


def test_watches_are_what_watcher_takes() -> None:
    for watch in alerts.build("watches", PATTERNS).values():
        assert set(watch) == {"metadata", "trigger", "input", "condition", "actions"}
        assert set(watch["input"]["search"]["request"]) == {"indices", "body", "indices_options"}


def test_all_three_ask_the_same() -> None:
    monitors, watches = alerts.build("opensearch-monitors", PATTERNS), alerts.build("watches", PATTERNS)
    for name in IDS:
        assert search_of("opensearch-monitors", monitors[name]) == search_of("watches", watches[name])
    rules = alerts.build("kibana-rules", PATTERNS)
    drift = search_of("watches", watches["allocfail-drift"])["query"]["bool"]["filter"][0]
    assert search_of("kibana-rules", rules["allocfail-drift"])["query"] == drift
    conditions = re.search(r"WHERE (recent[^|]*) \|", rules["allocfail-rate"]["params"]["esqlQuery"]["esql"])
    script = search_of("watches", watches["allocfail-rate"])["aggs"]["groups"]["aggs"]["chosen"]["bucket_selector"][
        "script"
    ]
    assert conditions is not None
    assert conditions[1].replace(" AND ", " && ") == script.replace("params.", "")


def test_another_version_has_another_mark() -> None:
    for kind in ("opensearch-monitors", "kibana-rules", "watches"):
        one, other = alerts.build(kind, PATTERNS), alerts.build(kind, [*PATTERNS, "more"])
        marks = [{alerts._mark(alert) for alert in made.values()} for made in (one, other)]
        assert len(marks[0] | marks[1]) == 6
        assert alerts.build(kind, PATTERNS) == one


def events() -> list[dict[str, Any]]:
    """Return events of five groups: as ever, new, moved here, jumped, busy with too short a past."""
    now = datetime.now(UTC)
    minutes = {
        "steady": [60 * 24 * day + 90 for day in range(20)] + [5],
        "new": [3, 50],
        "moved": [7],
        "jumped": [*range(1, 13), *(60 * 24 * day + 90 for day in range(6))],
        "busy": [*range(1, 12), *(60 * hour + 61 for hour in range(160) for _ in range(3))],
    }
    return [event(now, name, ago) for name, all_ in minutes.items() for ago in all_] + [
        {"@timestamp": now.isoformat(), "message": "swapper: page allocation failure in words nobody knows"},
        {"@timestamp": now.isoformat(), "message": "nothing of the kind"},
    ]


def elsewhere() -> list[dict[str, Any]]:
    """Return the past of two groups, behind more groups in its index than a shard hands in by itself."""
    now = datetime.now(UTC)
    return [
        event(now, "steady", 60 * 24 * 9),
        event(now, "moved", 60 * 24 * 9),
        *(event(now, f"old-{number}", 60 * 24 * 8) for number in range(1600)),
    ]


def event(now: datetime, group: str, ago: int) -> dict[str, Any]:
    """Return an event of a group, so many minutes before now."""
    return {
        "@timestamp": (now - timedelta(minutes=ago)).isoformat(),
        "allocfail": {"kind": "page_allocation_failure", "fingerprint": {"id": group, "level": "header"}},
    }


def test_what_the_searches_find(engine: Server) -> None:
    """The searches themselves, on real engines, and the conditions on what those answer."""
    name, other = "app-alerts", "app-alerts-elsewhere"
    with connect(connection(engine.url, timeout=120)) as cluster:
        properties: dict[str, Any] = {}
        for component in templates.build(templates.mapping_types()).components.values():
            properties |= component["template"]["mappings"]["properties"]
        for index, found_there in ((name, events()), (other, elsewhere())):
            cluster.request("DELETE", path(index), missing_ok=True)
            cluster.request("PUT", path(index), {"mappings": {"properties": properties}})
            sent = [{"_op_type": "index", "_index": index, "_source": one} for one in found_there]
            assert {result.status for result in cluster.bulk(sent)} == {201}
            cluster.request("POST", path(index, "_refresh"))
        monitors = alerts.build("opensearch-monitors", [name, other, "zzz-*"])
        watches = alerts.build("watches", [name, other, "zzz-*"])
        found = {}
        for alert, monitor in monitors.items():
            target = f"{path(','.join(monitor['inputs'][0]['search']['indices']), '_search')}?ignore_unavailable=true"
            answer = cluster.request("POST", target, search_of("opensearch-monitors", monitor))
            assert answer["_shards"]["failed"] == 0
            groups = answer.get("aggregations", {}).get("groups", {}).get("buckets", [])
            found[alert] = {bucket["key"] for bucket in groups} or answer["hits"]["total"]["value"]
            source = monitor["triggers"][0]["query_level_trigger"]["condition"]["script"]["source"]
            assert holds(cluster, source, {"results": [answer]})
            condition = watches[alert]["condition"].get("script")
            assert condition is None or holds(cluster, condition["source"], {"payload": answer})
        cluster.request("DELETE", path(name))
        cluster.request("DELETE", path(other))
    assert found == {"allocfail-new-group": {"new"}, "allocfail-rate": {"jumped"}, "allocfail-drift": 1}


def holds(cluster: Any, source: str, context: dict[str, Any]) -> bool:
    """Run a condition's script with the context that the product gives it."""
    body = source.removeprefix("return ")
    script = {"source": f"def ctx = params.ctx; return {body};", "params": {"ctx": context}}
    return bool(cluster.request("POST", "/_scripts/painless/_execute", {"script": script})["result"] == "true")


@pytest.mark.parametrize(
    ("product", "kind"), [("opensearch", "monitor"), ("elasticsearch", "watch"), ("elasticsearch", "rule")]
)
def test_in_again_changed_and_out(product: str, kind: str) -> None:
    there = Product(ROOTS[product])
    with server(there) as url, connect(connection(url)) as engine:
        place = Place(connection(url)) if kind == "rule" else None

        def bring(patterns: list[str], **more: Any) -> set[str]:
            changes = actions(alerts.install_alerts(engine, patterns, place, **more))
            assert len(changes) == 3
            assert all(name.startswith(f"{kind} ") for name in changes)
            return set(changes.values())

        assert bring(PATTERNS, dry_run=True) == {"created"}
        assert there.kept == {}
        assert bring(PATTERNS) == {"created"}
        assert bring(PATTERNS) == {"unchanged"}
        told = {"webhook": {"host": "pager"}}
        for one in there.kept.values():  # somebody is to be told, and one is switched off
            if kind == "watch":
                one["actions"]["pager"] = told
            elif kind == "rule":
                one["actions"] = [told]
            else:
                one["triggers"][0]["query_level_trigger"]["actions"] = [told]
                one["enabled"] = False
        assert bring(PATTERNS) == {"unchanged"}
        assert bring([*PATTERNS, "more-*"]) == {"updated"}
        for one in there.kept.values():
            assert "more-*" in json.dumps(one)
            assert json.dumps(told) in json.dumps(one), "whom to tell stays"
            assert one.get("enabled") is not True or kind == "rule"
        removed = actions(alerts.remove_alerts(engine, place))
        assert set(removed.values()) == {"removed"}
        assert there.kept == {}
        assert actions(alerts.remove_alerts(engine, place)) == {}


@pytest.mark.parametrize("product", ["opensearch", "elasticsearch"])
def test_a_product_without_alerting_says_so_and_has_none_to_remove(product: str) -> None:
    with server(Product(ROOTS[product], alerting=False)) as url, connect(connection(url)) as engine:
        assert list(alerts.remove_alerts(engine)) == []
        with pytest.raises(Exception, match="no handler found"):
            list(alerts.install_alerts(engine, PATTERNS))


def test_committed_files_are_current() -> None:
    for name, text in alerts.generate(saved_objects.titles()).items():
        assert content_path(name).read_bytes() == text.encode(), f"{name}: run make generate"
