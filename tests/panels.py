"""The searches that Kibana and OpenSearch Dashboards run for saved objects, built from nothing but those.

What is sent for an aggregation is in the products' sources (src/plugins/data/common/search/aggs: `metrics/*.ts`,
`buckets/*.ts`, of Kibana 7.10 and OpenSearch Dashboards 2); for Vega, in vis_type_vega/public/data_model.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import kuery

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

Item = dict[str, Any]
#: A bucket for documents without a value, as both products name it.
MISSING = "__missing__"


class Board:
    """Saved objects by what they are, and what each of them asks."""

    def __init__(self, objects: Iterable[Item], start: str = "now-30d") -> None:
        self.objects = {(item["type"], item["id"]): item for item in objects}
        self.start = start

    def of(self, kind: str) -> list[Item]:
        return [item for (type_, _), item in self.objects.items() if type_ == kind]

    def view(self, item: Item) -> Item:
        """Return the data view that an object looks through."""
        [reference] = [one for one in item["references"] if one["type"] == "index-pattern"]
        return self.objects["index-pattern", reference["id"]]

    def described(self, item: Item) -> dict[str, Item]:
        """Return the descriptors of its data view's fields, by name."""
        return {one["name"]: one for one in json.loads(self.view(item)["attributes"]["fields"])}

    def trees(self, item: Item) -> list[kuery.Tree]:
        """Return the object's own query; none where it finds everything."""
        source = json.loads(item["attributes"]["kibanaSavedObjectMeta"]["searchSourceJSON"])
        assert source["query"]["language"] == "kuery"
        return [kuery.parse(source["query"]["query"])] if source["query"]["query"] else []

    def filters(self, item: Item, extra: str = "") -> Item:
        """Return the query of an object with the page's time range, and a query of the page's own."""
        trees = [*self.trees(item), *([kuery.parse(extra)] if extra else [])]
        every = [kuery.query(tree) for tree in trees]
        if self.timed(item):
            every.append(self.range())
        return {"bool": {"must": [], "filter": every, "should": [], "must_not": []}}

    def timed(self, item: Item) -> bool:
        """Say whether what an object looks through has a time."""
        return "timeFieldName" in self.view(item)["attributes"]

    def range(self) -> Item:
        return {"range": {"@timestamp": {"gte": self.start, "lte": "now"}}}

    def search(self, item: Item, extra: str = "") -> Item:
        """Return what Discover sends for a saved search."""
        hidden = json.loads(self.view(item)["attributes"].get("sourceFilters", "[]"))
        times = [{"field": "@timestamp", "format": "date_time"}] if self.timed(item) else []
        return {
            "size": 500,
            "version": True,
            "query": self.filters(item, extra),
            # normalize_sort_request.ts: the score has no type.
            "sort": [
                {name: {"order": way} | ({} if name == "_score" else {"unmapped_type": "boolean"})}
                for name, way in item["attributes"]["sort"]
            ],
            "stored_fields": ["*"],
            "docvalue_fields": times,
            "_source": {"excludes": [one["value"] for one in hidden]},
            "highlight": {"fields": {"*": {}}, "fragment_size": 2147483647},
        }

    def aggregated(self, item: Item, extra: str = "") -> Item:
        """Return what a dashboard sends for a visualization that searches."""
        state = json.loads(item["attributes"]["visState"])
        return {"size": 0, "query": self.filters(item, extra), "aggs": _aggs(state["aggs"], self.described(item))}

    def vega(self, item: Item, extra: str = "") -> Iterator[tuple[str, str, Item]]:
        """Yield the name, the index and the body of each search that a Vega panel makes."""
        context = kuery.query(kuery.parse(extra)) if extra else {"match_all": {}}
        spec = json.loads(json.loads(item["attributes"]["visState"])["params"]["spec"])
        for data in spec["data"]:
            if "url" not in data:
                continue
            body = json.loads(json.dumps(data["url"]["body"]))
            clauses = body["query"].get("bool", {})
            for name in ("must", "filter", "must_not"):
                filled: list[Item] = []
                for one in clauses.get(name, []):
                    if one == "%dashboard_context-filter_clause%":
                        filled.append(context)
                    elif isinstance(one, str):
                        assert one == f"%dashboard_context-{name}_clause%"
                    else:
                        filled.append(self.range() if "range" in one else one)
                if name in clauses:
                    clauses[name] = filled
            yield data["name"], data["url"]["index"], body


def is_vega(item: Item) -> bool:
    return item["type"] == "visualization" and json.loads(item["attributes"]["visState"])["type"] == "vega"


def searches(item: Item) -> bool:
    """Say whether an object runs a search through its data view."""
    return item["type"] == "search" or (
        item["type"] == "visualization" and bool(json.loads(item["attributes"]["visState"])["aggs"])
    )


def fields(item: Item) -> set[str]:
    """Return every field that an object names in its aggregations, columns or order."""
    attributes = item["attributes"]
    if item["type"] == "search":
        return {*attributes["columns"], *(name for name, _ in attributes["sort"])}
    used: set[str] = set()
    for agg in json.loads(attributes["visState"])["aggs"]:
        params = agg["params"]
        used |= {params[name] for name in ("field", "sortField") if name in params}
        for one in params.get("filters", []):
            used |= kuery.fields(kuery.parse(one["input"]["query"]))
    return used


def _aggs(aggs: list[Item], described: dict[str, Item]) -> Item:
    """Nest the buckets in their order, with all metrics in the innermost, as both products do."""
    metrics = {
        agg["id"]: _metric(agg, described) for agg in aggs if agg["schema"] == "metric" and agg["type"] != "count"
    }
    inner = metrics
    counts = {agg["id"] for agg in aggs if agg["type"] == "count"}
    for agg in reversed([agg for agg in aggs if agg["schema"] != "metric"]):
        # A bucket ordered by a metric needs it beside its own buckets, too.
        body = _bucket(agg, counts, described)
        ordered = agg["params"].get("orderBy")
        nested = {**inner, **({ordered: metrics[ordered]} if ordered in metrics else {})}
        inner = {agg["id"]: {**body, **({"aggs": nested} if nested else {})}}
    return inner


def _metric(agg: Item, described: dict[str, Item]) -> Item:
    params = agg["params"]
    name = params["field"]
    assert name in described, name
    if agg["type"] != "top_hits":
        assert described[name]["aggregatable"], name
        return {agg["type"]: {"field": name}}
    hit: Item = {
        "_source": name,
        "size": params["size"],
        "sort": [{params["sortField"]: {"order": params["sortOrder"]}}],
    }
    if described[name]["readFromDocValues"]:
        hit["docvalue_fields"] = [{"field": name}]
    return {"top_hits": hit}


def _bucket(agg: Item, counts: set[str], described: dict[str, Item]) -> Item:
    params = agg["params"]
    if agg["type"] == "filters":
        queries = {one["label"]: kuery.query(kuery.parse(one["input"]["query"])) for one in params["filters"]}
        return {"filters": {"filters": queries}}
    assert described[params["field"]]["aggregatable"], params["field"]
    if agg["type"] == "date_histogram":
        interval = {"fixed_interval": "12h", "time_zone": "UTC", "min_doc_count": params["min_doc_count"]}
        return {"date_histogram": {"field": params["field"], **interval}}
    assert agg["type"] == "terms"
    order = "_count" if params["orderBy"] in counts else params["orderBy"]
    made = {"field": params["field"], "order": {order: params["order"]}, "size": params["size"]}
    if params["missingBucket"]:
        made["missing"] = MISSING
    return {"terms": made | json.loads(params["json"])}
