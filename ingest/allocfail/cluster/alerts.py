"""Alerts: monitors of OpenSearch's Alerting, rules of Kibana, watches of Elasticsearch, from ``alerts.yml``.

All three ask the same. None has an action that sends something: whom to tell, and how, is for the cluster's owner to
add; until then an alert is seen on the product's own page (a watch writes a line into the log). Products write what
they keep in words of their own, so each alert carries a mark, by which another version of it is known.
"""

from __future__ import annotations

import hashlib
import json
import re
from typing import TYPE_CHECKING, Any, Protocol

from allocfail.cluster import kuery
from allocfail.cluster.client import path
from allocfail.cluster.dashboards import call
from allocfail.cluster.errors import EngineError
from allocfail.cluster.retry import taking
from allocfail.cluster.saved_objects import read_source
from allocfail.cluster.steps import Change, diff

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from allocfail.cluster.client import Engine
    from allocfail.cluster.dashboards import Place

__all__ = ["build", "generate", "install_alerts", "remove_alerts"]

#: What the products call an hour and a day.
_ESQL_UNITS = {"h": "hours", "d": "days"}
#: The counts that a condition speaks of.
_COUNTS = re.compile("recent|old")
_GROUPS = 1000
#: How many each shard hands in: a group that one of them leaves out would lack what it has there, and look new.
_SHARD_GROUPS = 5000
_MONITORS = "/_plugins/_alerting/monitors"


def _sources() -> tuple[int, list[dict[str, Any]]]:
    """Return the minutes between two looks, and the alerts, each with its query's text."""
    source = read_source("alerts.yml")
    searches = {one["id"]: one["query"] for one in read_source("searches.yml")["searches"]}
    alerts = [
        {**one, "query": searches[one["query"]["search"]] if isinstance(one["query"], dict) else one["query"]}
        for one in source["alerts"]
    ]
    return source["every"], alerts


def _ago(span: Sequence[Any]) -> str:
    number, unit = span
    return f"now-{number}{unit}"


def _search(alert: Mapping[str, Any]) -> dict[str, Any]:
    """Return the search behind an alert; what it is for comes as buckets of `groups`, or as hits."""
    found = kuery.query(kuery.parse(alert["query"]))
    time = {"gte": _ago(alert.get("since", alert["within"])), "lte": "now"}
    body: dict[str, Any] = {
        "size": 0 if "group_by" in alert else 10,
        "query": {"bool": {"filter": [found, {"range": {"@timestamp": time}}]}},
    }
    if "group_by" not in alert:
        return body
    border = _ago(alert["within"])
    script = " && ".join(_COUNTS.sub(lambda name: f"params.{name[0]}", condition) for condition in alert["when"])
    counts = {
        "recent": {"filter": {"range": {"@timestamp": {"gte": border}}}},
        "old": {"filter": {"range": {"@timestamp": {"lt": border}}}},
        "chosen": {
            "bucket_selector": {"buckets_path": {"recent": "recent>_count", "old": "old>_count"}, "script": script}
        },
    }
    # The newest groups are looked at first, should there be more than one search takes.
    counts["newest"] = {"max": {"field": "@timestamp"}}
    terms = {"field": alert["group_by"], "size": _GROUPS, "shard_size": _SHARD_GROUPS, "order": {"newest": "desc"}}
    body["aggs"] = {"groups": {"terms": terms, "aggs": counts}}
    return body


def _monitor(alert: Mapping[str, Any], every: int, patterns: Sequence[str], mark: str) -> dict[str, Any]:
    source = "ctx.results[0].hits.total.value > 0"
    if "group_by" in alert:
        source = "ctx.results[0].aggregations.groups.buckets.size() > 0"
    trigger = {
        "id": f"{alert['id']}-{mark}",
        "name": alert["message"],
        "severity": "3",
        "condition": {"script": {"source": source, "lang": "painless"}},
        "actions": [],
    }
    return {
        "type": "monitor",
        "name": alert["title"],
        "monitor_type": "query_level_monitor",
        "enabled": True,
        "schedule": {"period": {"interval": every, "unit": "MINUTES"}},
        "inputs": [{"search": {"indices": list(patterns), "query": _search(alert)}}],
        "triggers": [{"query_level_trigger": trigger}],
    }


def _watch(alert: Mapping[str, Any], every: int, patterns: Sequence[str], mark: str) -> dict[str, Any]:
    condition: dict[str, Any] = {"compare": {"ctx.payload.hits.total": {"gt": 0}}}
    told = "{{ctx.payload.hits.total}} documents"
    if "group_by" in alert:
        source = "return ctx.payload.aggregations.groups.buckets.size() > 0"
        condition = {"script": {"source": source, "lang": "painless"}}
        told = "{{#ctx.payload.aggregations.groups.buckets}}{{key}} {{/ctx.payload.aggregations.groups.buckets}}"
    options = {"indices_options": {"ignore_unavailable": True, "allow_no_indices": True}}
    return {
        "metadata": {"managed_by": "allocfail", "title": alert["title"], "mark": mark},
        "trigger": {"schedule": {"interval": f"{every}m"}},
        "input": {"search": {"request": {"indices": list(patterns), "body": _search(alert), **options}}},
        "condition": condition,
        "actions": {"log": {"logging": {"text": f"{alert['title']}: {told}"}}},
    }


def _rule(alert: Mapping[str, Any], every: int, patterns: Sequence[str], mark: str) -> dict[str, Any]:
    """Return a rule of the type `.es-query`; one that compares groups is in ES|QL, which takes Kibana 8.14 or later."""
    number, unit = alert.get("since", alert["within"])
    params: dict[str, Any] = {
        "size": 100,
        "timeField": "@timestamp",
        "timeWindowSize": number,
        "timeWindowUnit": unit,
        "threshold": [0],
        "thresholdComparator": ">",
    }
    if "group_by" in alert:
        params |= {"searchType": "esqlQuery", "esqlQuery": {"esql": _esql(alert, patterns)}}
    else:
        query = {"query": kuery.query(kuery.parse(alert["query"]))}
        params |= {"index": list(patterns), "esQuery": json.dumps(query)}
    return {
        "name": alert["title"],
        "rule_type_id": ".es-query",
        "consumer": "stackAlerts",
        "enabled": True,
        "schedule": {"interval": f"{every}m"},
        "tags": ["allocfail", mark],
        "notify_when": "onActionGroupChange",
        "params": params,
        "actions": [],
    }


def _esql(alert: Mapping[str, Any], patterns: Sequence[str]) -> str:
    number, unit = alert["within"]
    return " | ".join(
        [
            f"FROM {','.join(patterns)}",
            f"WHERE {alert['esql']}",
            f"EVAL is_recent = CASE(@timestamp > NOW() - {number} {_ESQL_UNITS[unit]}, 1, 0)",
            f"STATS recent = SUM(is_recent), old = SUM(1 - is_recent), newest = MAX(@timestamp) BY {alert['group_by']}",
            f"WHERE {' AND '.join(alert['when'])}",
            "SORT newest DESC",
        ]
    )


class _Maker(Protocol):
    def __call__(self, alert: Mapping[str, Any], every: int, patterns: Sequence[str], mark: str) -> dict[str, Any]: ...


_MAKERS: dict[str, _Maker] = {"opensearch-monitors": _monitor, "kibana-rules": _rule, "watches": _watch}


def build(kind: str, patterns: Sequence[str]) -> dict[str, dict[str, Any]]:
    """Return the alerts by id, as ``kind`` (`opensearch-monitors`, `kibana-rules` or `watches`), over ``patterns``."""
    every, alerts = _sources()
    made = {}
    for alert in alerts:
        bare = json.dumps(_MAKERS[kind](alert, every, patterns, ""), sort_keys=True)
        mark = hashlib.sha256(bare.encode()).hexdigest()[:12]
        made[alert["id"]] = _MAKERS[kind](alert, every, patterns, mark)
    return made


def generate(patterns: Sequence[str]) -> dict[str, str]:
    """Return the generated files that are committed: their path below the project's root, and their text."""
    return {
        f"saved_searches/generated/alerts/{kind}.json": json.dumps(build(kind, patterns), indent=2) + "\n"
        for kind in _MAKERS
    }


def install_alerts(
    engine: Engine, patterns: Sequence[str], there: Place | None = None, *, dry_run: bool = False
) -> Iterator[Change]:
    """Bring the alerts to the product: monitors for OpenSearch; rules where Kibana is given, else watches.

    Raises :class:`EngineError` where the product refuses, as one does whose licence has no Watcher.
    """
    if engine.product == "opensearch":
        for wanted in build("opensearch-monitors", patterns).values():
            yield _put_monitor(engine, wanted, dry_run=dry_run)
    elif there is not None:
        for name, wanted in build("kibana-rules", patterns).items():
            yield _put_rule(there, name, wanted, dry_run=dry_run)
    else:
        for name, wanted in build("watches", patterns).items():
            yield _put_watch(engine, name, wanted, dry_run=dry_run)


def remove_alerts(engine: Engine, there: Place | None = None, *, dry_run: bool = False) -> Iterator[Change]:
    """Remove what of the alerts is there; a product that has no alerting has none of them."""
    for name, wanted in build("opensearch-monitors", []).items():
        kind, target = _found(engine, there, name, wanted["name"])
        if not target:
            continue
        if not dry_run and kind == "rule" and there is not None:
            call(there, "DELETE", target)
        elif not dry_run:
            engine.request("DELETE", target, missing_ok=True)
        yield Change(kind, name, "removed")


def _found(engine: Engine, there: Place | None, name: str, title: str) -> tuple[str, str]:
    """Return what an alert is in this product, and the path of the one that is there; no path where none is."""
    if engine.product == "opensearch":
        found = _monitor_of(engine, title)
        return "monitor", _MONITORS + path(found[0]) if found else ""
    if there is not None:
        target = path("api", "alerting", "rule", name)
        return "rule", target if call(there, "GET", target, missing_ok=True) else ""
    target = path("_watcher", "watch", name)
    try:
        return "watch", target if engine.request("GET", target, missing_ok=True) else ""
    except EngineError as error:
        if error.status not in {400, 403, 405}:  # no such API, or none that may be used
            raise
        return "watch", ""


def _monitor_of(engine: Engine, title: str) -> tuple[str, dict[str, Any]] | None:
    """Return id and body of the monitor of that name; None where there is none, or no Alerting."""
    asked = {"size": 1, "query": {"term": {"monitor.name.keyword": title}}}
    try:
        answer = engine.request("POST", f"{_MONITORS}/_search", asked, missing_ok=True) or {}
    except EngineError as error:
        if error.status not in {400, 403, 405}:
            raise
        return None
    with taking(engine, f"POST {_MONITORS}/_search"):
        hits = (answer.get("hits") or {}).get("hits") or []
        return (hits[0]["_id"], hits[0]["_source"].get("monitor", hits[0]["_source"])) if hits else None


def _put_monitor(engine: Engine, wanted: dict[str, Any], *, dry_run: bool) -> Change:
    found = _monitor_of(engine, wanted["name"])
    change = _change("monitor", wanted["name"], found[1] if found else None, wanted)
    if dry_run or change.action == "unchanged":
        return change
    if found is None:
        engine.request("POST", _MONITORS, wanted)
        return change
    [trigger] = wanted["triggers"]
    for old in found[1].get("triggers", [])[:1]:  # whom to tell is its owner's
        trigger["query_level_trigger"]["actions"] = old.get("query_level_trigger", {}).get("actions", [])
    engine.request("PUT", _MONITORS + path(found[0]), {**wanted, "enabled": found[1].get("enabled", True)})
    return change


def _put_watch(engine: Engine, name: str, wanted: dict[str, Any], *, dry_run: bool) -> Change:
    target = path("_watcher", "watch", name)
    found = (engine.request("GET", target, missing_ok=True) or {}).get("watch")
    change = _change("watch", name, found, wanted)
    if change.action != "unchanged" and not dry_run:
        actions = {**((found or {}).get("actions") or {}), **wanted["actions"]}
        engine.request("PUT", target, {**wanted, "actions": actions})
    return change


def _put_rule(there: Place, name: str, wanted: dict[str, Any], *, dry_run: bool) -> Change:
    target = path("api", "alerting", "rule", name)
    found = call(there, "GET", target, missing_ok=True)
    change = _change("rule", name, found, wanted)
    if change.action == "created" and not dry_run:
        call(there, "POST", target, body=wanted)
    elif change.action == "updated" and not dry_run:
        body = {key: value for key, value in wanted.items() if key not in {"rule_type_id", "consumer", "enabled"}}
        call(there, "PUT", target, body={**body, "actions": found.get("actions", [])})
    return change


def _change(kind: str, name: str, there: Mapping[str, Any] | None, wanted: Mapping[str, Any]) -> Change:
    """Return what is to become of an alert: its mark says whether it is the one that is wanted."""
    if there is None:
        return Change(kind, name, "created")
    mark = _mark(wanted)
    if mark and mark in json.dumps(there):
        return Change(kind, name, "unchanged")
    return Change(kind, name, "updated", diff=diff(name, {key: there.get(key) for key in wanted}, wanted))


def _mark(wanted: Mapping[str, Any]) -> str:
    if "tags" in wanted:
        return str(wanted["tags"][-1])
    if "metadata" in wanted:
        return str(wanted["metadata"]["mark"])
    return str(wanted["triggers"][0]["query_level_trigger"]["id"])
