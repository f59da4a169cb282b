"""Panels of the dashboards: from the short form in ``saved_searches/dashboard-*.yml`` to what the products keep.

A panel is a visualization of the kind that Kibana 7.10 and OpenSearch Dashboards share. Every one is drawn from the
answer to one search: a query and aggregations, each with a number by which the others name it.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["Visualization", "visualization"]

_AXIS = {"show": True, "style": {}}
#: How many buckets each shard hands in. Each shard cuts its rows before they are joined. With only a few more than the
#: table has, a group that is old on one shard looks new on another, and lacks events.
_SHARD_SIZE = 2000
_NO_LINE = {"show": False, "value": 10, "width": 1, "style": "full", "color": "#E7664C"}


@dataclass(frozen=True)
class Visualization:
    """What makes a visualization's ``visState`` and ``uiStateJSON``."""

    type: str
    params: dict[str, Any]
    aggs: list[dict[str, Any]] = field(default_factory=list)
    ui: dict[str, Any] = field(default_factory=dict)

    @property
    def searches(self) -> bool:
        """Whether the product runs a search of its own for it, through a data view."""
        return bool(self.aggs)


def _agg(number: int, kind: str, schema: str, params: dict[str, Any]) -> dict[str, Any]:
    return {"id": str(number), "enabled": True, "type": kind, "schema": schema, "params": params}


def _metric(number: int, short: Mapping[str, Any]) -> dict[str, Any]:
    """Return the aggregation for ``{count: LABEL}`` or ``{distinct|first|last|latest: FIELD, label: LABEL}``."""
    if "count" in short:
        return _agg(number, "count", "metric", {"customLabel": short["count"]})
    label = {"customLabel": short["label"]}
    for word, kind in (("distinct", "cardinality"), ("first", "min"), ("last", "max")):
        if word in short:
            return _agg(number, kind, "metric", {"field": short[word], **label})
    newest = {"aggregate": "concat", "size": 1, "sortField": "@timestamp", "sortOrder": "desc"}
    return _agg(number, "top_hits", "metric", {"field": short["latest"], **newest, **label})


def _terms(number: int, short: Mapping[str, Any], schema: str, by: int) -> dict[str, Any]:
    """Return the aggregation for ``{field, size, label, missing}``, its buckets ordered by the metric ``by``."""
    params: dict[str, Any] = {
        "field": short["field"],
        "orderBy": str(by),
        "order": "desc",
        "size": short["size"],
        "otherBucket": False,
        "otherBucketLabel": "other",
        "missingBucket": "missing" in short,
        "missingBucketLabel": short.get("missing", "not known"),
        # Both products merge this text into the aggregation that they send.
        "json": json.dumps({"shard_size": _SHARD_SIZE}),
    }
    if "label" in short:
        params["customLabel"] = short["label"]
    return _agg(number, "terms", schema, params)


def _numbers(short: Any) -> Visualization:
    style = {"bgFill": "#000", "bgColor": False, "labelColor": False, "subText": "", "fontSize": 36}
    params = {
        "addTooltip": True,
        "addLegend": False,
        "type": "metric",
        "metric": {
            "percentageMode": False,
            "useRanges": False,
            "colorSchema": "Green to Red",
            "metricColorMode": "None",
            "colorsRange": [{"from": 0, "to": 10000}],
            "labels": {"show": True},
            "invertColors": False,
            "style": style,
        },
    }
    return Visualization("metric", params, [_metric(number, one) for number, one in enumerate(short, 1)])


def _table(short: Any) -> Visualization:
    """Return a table: one row a bucket; OpenSearch Dashboards needs the widths, Kibana finds its own."""
    rows, columns = short["rows"], short["columns"]
    metrics = [_metric(number, one) for number, one in enumerate(columns, 2)]
    ordered = rows.get("by", "events")
    by = next(int(one["id"]) for one in metrics if one["params"]["customLabel"] == ordered)
    params = {
        "perPage": short.get("per_page", 10),
        "showPartialRows": False,
        "showMetricsAtAllLevels": False,
        "sort": {"columnIndex": None, "direction": None},
        "showTotal": False,
        "totalFunc": "sum",
        "percentageCol": "",
    }
    widths = [{"colIndex": index, "width": one["width"]} for index, one in enumerate([rows, *columns])]
    return Visualization("table", params, [_terms(1, rows, "bucket", by), *metrics], {"vis": {"columnsWidth": widths}})


def _chart(kind: str, *, stacked: bool, upright: bool) -> dict[str, Any]:
    """Return the parameters of a chart with bars."""
    labels = {"show": True, "truncate": 100}
    return {
        "type": "histogram",
        "grid": {"categoryLines": False},
        "categoryAxes": [
            {
                "id": "CategoryAxis-1",
                "type": "category",
                "position": "bottom" if upright else "left",
                **_AXIS,
                "scale": {"type": "linear"},
                "labels": {**labels, "filter": upright} if upright else {**labels, "rotate": 0, "filter": False},
                "title": {},
            }
        ],
        "valueAxes": [
            {
                "id": "ValueAxis-1",
                "name": "LeftAxis-1" if upright else "BottomAxis-1",
                "type": "value",
                "position": "left" if upright else "bottom",
                **_AXIS,
                "scale": {"type": "linear", "mode": "normal"},
                "labels": {**labels, "rotate": 0, "filter": not upright},
                "title": {"text": "events"},
            }
        ],
        "seriesParams": [
            {
                "show": True,
                "type": "histogram",
                "mode": "stacked" if stacked else "normal",
                "data": {"label": "events", "id": "1"},
                "valueAxis": "ValueAxis-1",
                "drawLinesBetweenPoints": True,
                "lineWidth": 2,
                "showCircles": True,
            }
        ],
        "addTooltip": True,
        "addLegend": kind == "histogram",
        "legendPosition": "right",
        "times": [],
        "addTimeMarker": False,
        "labels": {"show": False},
        "thresholdLine": _NO_LINE,
    }


def _over_time(short: Any) -> Visualization:
    interval = {
        "field": "@timestamp",
        "interval": "auto",
        "min_doc_count": 1,
        "extended_bounds": {},
        "drop_partials": False,
        "scaleMetricValues": False,
        "useNormalizedEsInterval": True,
        "useNormalizedOpenSearchInterval": True,
    }
    aggs = [
        _metric(1, {"count": "events"}),
        _agg(2, "date_histogram", "segment", interval),
        _terms(3, short, "group", 1),
    ]
    return Visualization("histogram", _chart("histogram", stacked=True, upright=True), aggs)


def _bars(short: Any) -> Visualization:
    aggs = [_metric(1, {"count": "events"}), _terms(2, short, "segment", 1)]
    return Visualization("horizontal_bar", _chart("horizontal_bar", stacked=False, upright=False), aggs)


def _shares(short: Any, colours: Mapping[str, str]) -> Visualization:
    """Return a ring with a slice for each query: what no field says has a slice and a name too."""
    params = {
        "type": "pie",
        "addTooltip": True,
        "addLegend": True,
        "legendPosition": "right",
        "isDonut": True,
        "labels": {"show": True, "values": True, "last_level": True, "truncate": 100},
    }
    slices = [{"input": {"query": query, "language": "kuery"}, "label": label} for label, query in short.items()]
    aggs = [_metric(1, {"count": "events"}), _agg(2, "filters", "segment", {"filters": slices})]
    return Visualization("pie", params, aggs, {"vis": {"colors": dict(colours)}})


def _text(short: Any) -> Visualization:
    return Visualization("markdown", {"markdown": short, "fontSize": 12, "openLinksInNewTab": True})


def visualization(short: Mapping[str, Any], vega: Mapping[str, Mapping[str, Any]]) -> Visualization:
    """Return the visualization for a panel's short form; ``vega`` are the specifications that it may name."""
    if "shares" in short:
        return _shares(short["shares"], short["colours"])
    if "vega" in short:
        return Visualization("vega", {"spec": json.dumps(vega[short["vega"]], indent=1)})
    makers = {"numbers": _numbers, "table": _table, "over_time": _over_time, "bars": _bars, "text": _text}
    [kind] = makers.keys() & short.keys()
    return makers[kind](short[kind])
