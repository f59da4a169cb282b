"""What the saved objects ask, asked of both engines, and the counts that the sample implies.

The events are in two indices: the project's own, and one of somebody's, mapped by its first documents, in which ECS
strings are text; that one is then wired. Two of the data view's patterns match nothing.
"""

from __future__ import annotations

import json
import uuid
from collections import Counter
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest
import vl_convert

import kuery
import panels
import sample_events
from allocfail.articles import articles as kb
from allocfail.cluster import dashboards, saved_objects
from allocfail.cluster.client import Engine, connect, path
from allocfail.cluster.connection import connection
from allocfail.cluster.install import Wanted, Wiring, install
from allocfail.cluster.page_fields import fields_of
from clusters import PIPELINES, remove_all

if TYPE_CHECKING:
    from collections.abc import Iterator

    from engines.harness import Engine as Server

OWN, WIRED = "allocfail-events", "app-logs"
ABSENT = ["zzz-*", "yyy-*"]
#: What a shipper sends before anything is wired: every ECS string in it becomes text.
BEFORE = {
    "message": "Started Session 1 of user root.",
    "tags": ["beats_input_raw_event"],
    "host": {"name": "web01", "hostname": "web01", "os": {"kernel": "5.14.0"}},
    "event": {"reason": "none", "reference": "http://example.org/", "kind": "event", "action": "started"},
    "error": {"id": "none", "message": "none"},
    "rule": {"id": "none"},
    "process": {"name": "systemd", "pid": 1},
    "related": {"hosts": ["web01"]},
}


@pytest.fixture(scope="module", params=["own", "real"])
def documents(request: pytest.FixtureRequest) -> list[dict[str, Any]]:
    """Return what the indices hold: the project's own events, or real ones before them, in many more groups."""
    real = sample_events.of_the_corpus() if request.param == "real" else []
    if request.param == "real" and not real:
        pytest.skip("NO CORPUS: ../shared is not there, real events were NOT counted")
    sample = sample_events.documents(real)
    return [*sample, {"@timestamp": sample[0]["@timestamp"], **BEFORE}]


@pytest.fixture(scope="module")
def cluster(engine: Server, documents: list[dict[str, Any]]) -> Iterator[Engine]:
    """Return an engine with everything installed, one index of somebody's wired, and the sample in both."""
    with connect(connection(engine.url, timeout=120)) as cluster:
        remove_all(cluster)
        cluster.request("PUT", path(WIRED), {"settings": {"number_of_replicas": 0}})
        cluster.request("POST", path(WIRED, "_doc"), documents[-1])
        articles = [one for article in kb.load() for one in kb.documents(article, "http://127.0.0.1:8765/")]
        list(install(cluster, Wanted(PIPELINES, articles), Wiring([WIRED])))
        cluster.request("PUT", path(WIRED, "_settings"), {"index.default_pipeline": None})
        sent = [
            {"_op_type": "index", "_index": [OWN, WIRED][number % 2], "_source": document}
            for number, document in enumerate(documents[:-1])
        ]
        assert {result.status for result in cluster.bulk(sent)} == {201}
        cluster.request("POST", path(f"{OWN},{WIRED}", "_refresh"))
        yield cluster
        remove_all(cluster)


@pytest.fixture(scope="module")
def board(cluster: Engine) -> panels.Board:
    patterns = dashboards.patterns(",".join([f"{OWN}*", *ABSENT]), [WIRED])
    return panels.Board(saved_objects.build(cluster.product, patterns=patterns))


def ask(cluster: Engine, index: str, body: dict[str, Any]) -> dict[str, Any]:
    target = f"{path(index, '_search')}?ignore_unavailable=true"
    answer: dict[str, Any] = cluster.request("POST", target, body)
    assert answer["_shards"]["failed"] == 0, answer["_shards"]
    assert not answer["timed_out"]
    return answer


#: How a chart counts.
_COUNT = {"id": "", "type": "count", "params": {}}


def asked(board: panels.Board, item: panels.Item) -> str:
    title: str = board.view(item)["attributes"]["title"]
    return title


def group_of(documents: list[dict[str, Any]]) -> str:
    """Return the group with the most events."""
    every = [value for one in documents for value in kuery.values(one, "allocfail.fingerprint.id")]
    return Counter(every).most_common(1)[0][0]


def test_wired_index_has_text_where_it_had(cluster: Engine) -> None:
    mapping = cluster.request("GET", path(WIRED, "_mapping"))[WIRED]["mappings"]["properties"]
    assert mapping["tags"]["type"] == mapping["event"]["properties"]["reference"]["type"] == "text"
    assert mapping["related"]["properties"]["hosts"]["fields"]["keyword"]["type"] == "keyword"
    assert mapping["log"]["properties"]["offset"]["type"] == "long", "what it lacked is mapped as ECS says"


def test_searches_find_what_the_sample_holds(
    cluster: Engine, board: panels.Board, documents: list[dict[str, Any]]
) -> None:
    for item in filter(board.timed, board.of("search")):
        hits = ask(cluster, asked(board, item), board.search(item))["hits"]["hits"]
        if item["id"] == "allocfail-new":
            day = (datetime.now(UTC) - timedelta(days=1)).isoformat(timespec="milliseconds")
            expected = [one for one in documents if kuery.values(one, "allocfail.kind") and one["@timestamp"] > day]
        else:
            expected = [one for one in documents if all(kuery.holds(tree, one) for tree in board.trees(item))]
        assert expected, item["id"]
        assert len(hits) == len(expected), item["id"]
        times = [hit["_source"]["@timestamp"] for hit in hits]
        assert times == sorted(times, reverse=True)
        for column in item["attributes"]["columns"]:
            assert any(kuery.values(hit["_source"], column) for hit in hits), (item["id"], column)
        assert not any("counters" in hit["_source"].get("allocfail", {}).get("memory", {}) for hit in hits)


def test_articles_are_found_by_themselves(cluster: Engine, board: panels.Board) -> None:
    [item] = [item for item in board.of("search") if not board.timed(item)]
    hits = ask(cluster, asked(board, item), board.search(item))["hits"]["hits"]
    wanted = {one["id"] for article in kb.load() for one in kb.documents(article, "")}
    assert {hit["_source"]["id"] for hit in hits} == wanted
    for hit in hits:  # an article's own document has a summary, a section's a heading
        assert len(kuery.values(hit["_source"], "heading") + kuery.values(hit["_source"], "summary")) == 1
        assert all(hit["_source"][column] for column in ("title", "url"))
    assert {"title", "heading", "summary", "url"} == set(item["attributes"]["columns"])
    order = [hit["_source"]["priority"] for hit in hits]
    assert order == sorted(order), "without a question, all count alike"


def _checked(agg: panels.Item, bucket: dict[str, Any], mine: list[dict[str, Any]]) -> None:
    """Compare one metric of one bucket with what the documents in it say."""
    params = agg["params"]
    if agg["type"] == "count":
        assert bucket["doc_count"] == len(mine)
        return
    found = bucket[agg["id"]]
    there = [(one, kuery.values(one, params["field"])) for one in mine]
    if agg["type"] == "cardinality":
        assert found["value"] == len({value for _, values in there for value in values})
    elif agg["type"] in {"min", "max"}:
        wanted = {"min": min, "max": max}[agg["type"]](values[0] for _, values in there)
        assert found["value_as_string"][:19] == wanted[:19]
    else:
        [hit] = found["hits"]["hits"]
        newest = max(mine, key=lambda one: str(one["@timestamp"]))
        assert kuery.values(hit["_source"], params["field"]) == kuery.values(newest, params["field"])


def test_panels_count_what_the_sample_holds(
    cluster: Engine, board: panels.Board, documents: list[dict[str, Any]]
) -> None:
    for extra in ("", f'allocfail.fingerprint.id: "{group_of(documents)}"'):
        seen = Counter[str]()
        for item in filter(panels.searches, board.of("visualization")):
            answer = ask(cluster, asked(board, item), board.aggregated(item, extra))
            mine = [one for one in documents if all(kuery.holds(tree, one) for tree in board.trees(item))]
            if extra:
                mine = [one for one in mine if kuery.holds(kuery.parse(extra), one)]
            assert mine
            aggs = json.loads(item["attributes"]["visState"])["aggs"]
            metrics = [agg for agg in aggs if agg["schema"] == "metric"]
            buckets = [agg for agg in aggs if agg["schema"] != "metric"]
            if not buckets:
                for agg in metrics:
                    _checked(
                        agg, {"doc_count": answer["hits"]["total"]["value"], **answer.get("aggregations", {})}, mine
                    )
            elif buckets[0]["type"] == "filters":
                for label, bucket in answer["aggregations"][buckets[0]["id"]]["buckets"].items():
                    [text] = [one["input"]["query"] for one in buckets[0]["params"]["filters"] if one["label"] == label]
                    assert bucket["doc_count"] == sum(kuery.holds(kuery.parse(text), one) for one in mine), label
                shares = answer["aggregations"][buckets[0]["id"]]["buckets"].values()
                assert sum(one["doc_count"] for one in shares) == len(mine), "every event has its slice"
            else:
                seen[buckets[-1]["type"]] += _compare_buckets(answer, buckets, metrics, mine)
        assert seen["terms"] > 10


def _compare_buckets(
    answer: dict[str, Any], buckets: list[panels.Item], metrics: list[panels.Item], mine: list[dict[str, Any]]
) -> int:
    """Compare terms, or terms in a histogram of time, with the documents; return how many buckets there were."""
    outer = answer["aggregations"][buckets[0]["id"]]["buckets"]
    if buckets[0]["type"] == "date_histogram":
        assert sum(one["doc_count"] for one in outer) == len(mine)
        starts = [datetime.fromtimestamp(one["key"] / 1000, UTC).isoformat(timespec="milliseconds") for one in outer]
        ends = [*starts[1:], "9999"]
        for one, start, end in zip(outer, starts, ends, strict=True):
            inside = [event for event in mine if start <= event["@timestamp"] < end]
            _compare_terms(one[buckets[1]["id"]]["buckets"], buckets[1], [_COUNT], inside)
    else:
        _compare_terms(outer, buckets[0], metrics, mine)
    return len(outer)


def _compare_terms(
    found: list[dict[str, Any]], agg: panels.Item, metrics: list[panels.Item], mine: list[dict[str, Any]]
) -> None:
    """Compare the buckets of one aggregation of terms: which they are, in which order, and each one's metrics."""
    params = agg["params"]
    groups: dict[str, list[dict[str, Any]]] = {}
    for one in mine:
        for key in set(kuery.values(one, params["field"])) or ({panels.MISSING} if params["missingBucket"] else set()):
            groups.setdefault(key, []).append(one)
    by = next((metric for metric in metrics if metric["id"] == params["orderBy"]), _COUNT)
    ranks = sorted((_value(by, members) for members in groups.values()), reverse=True)
    assert [_value(by, groups[bucket["key"]]) for bucket in found] == ranks[: params["size"]]
    for bucket in found:
        for metric in metrics:
            _checked(metric, bucket, groups[bucket["key"]])


def _value(agg: panels.Item, mine: list[dict[str, Any]]) -> float | str:
    """Return a metric over documents, as a panel's rows are put in order by it."""
    if agg["type"] == "count":
        return len(mine)
    values: list[Any] = [value for one in mine for value in kuery.values(one, agg["params"]["field"])]
    if agg["type"] == "cardinality":
        return len(set(values))
    value: float | str = {"min": min, "max": max}[agg["type"]](values)
    return value


def test_without_data_nothing_fails(cluster: Engine, board: panels.Board) -> None:
    for extra, index in (('allocfail.kind: "none"', ""), ("", ABSENT[0])):
        for item in filter(panels.searches, [*board.of("search"), *board.of("visualization")]):
            body = board.search(item, extra) if item["type"] == "search" else board.aggregated(item, extra)
            assert ask(cluster, index or asked(board, item), body)["hits"]["total"]["value"] == 0
        for item in filter(panels.is_vega, board.of("visualization")):
            svg = drawn(cluster, board, item, extra, index)
            assert ">No event" in svg


def drawn(cluster: Engine, board: panels.Board, item: panels.Item, extra: str, index: str = "") -> str:
    """Return a Vega panel's picture, with the answers to its searches in place of their addresses."""
    spec = json.loads(json.loads(item["attributes"]["visState"])["params"]["spec"])
    for name, where, body in board.vega(item, extra):
        [data] = [one for one in spec["data"] if one["name"] == name]
        del data["url"]
        data["values"] = ask(cluster, index or where, body)
    svg: str = vl_convert.vega_to_svg({**spec, "width": 700, "height": 420})
    return svg


def test_vega_draws_what_the_newest_event_says(
    cluster: Engine, board: panels.Board, documents: list[dict[str, Any]]
) -> None:
    sample = [one for one in documents if kuery.values(one, "allocfail.site") == ["sk_prot_alloc"]]
    extra = f'allocfail.fingerprint.id: "{sample[0]["allocfail"]["fingerprint"]["id"]}"'
    pictures = {
        item["id"]: drawn(cluster, board, item, extra) for item in board.of("visualization") if panels.is_vega(item)
    }
    assert "sk_prot_alloc (tcp), GFP_ATOMIC" in pictures["allocfail-one-verdict"]
    assert ">vm.zone_reclaim_mode: cannot-act" in pictures["allocfail-one-verdict"]
    assert ">What helps" in pictures["allocfail-one-verdict"]
    article = next(one for one in kb.load() if one.id == sample[0]["rule"]["id"])
    anchor = sample[0]["event"]["reference"].partition("#")[2]
    heading = next(one.text for one in article.headings if one.anchor == anchor)
    assert f">{article.title}<" in pictures["allocfail-one-article"]
    assert f">{heading}<" in pictures["allocfail-one-article"]
    assert "](" not in pictures["allocfail-one-article"], "links are their words"
    shown = [one for one in article.headings if f">{one.text}<" in pictures["allocfail-one-article"]]
    assert [one.text for one in shown if one.level == shown[0].level] == [heading], "one section, and what is below it"

    groups: dict[str, list[dict[str, Any]]] = {}
    for one in documents:
        for group in kuery.values(one, "allocfail.fingerprint.id"):
            groups.setdefault(group, []).append(one)
    has = {group: any(kuery.values(one, "allocfail.memory.zones.name") for one in of) for group, of in groups.items()}
    extra = f'allocfail.fingerprint.id: "{next(group for group in groups if not has[group])}"'
    zones = drawn(cluster, board, board.objects["visualization", "allocfail-one-zones"], extra)
    assert ">No event here has memory information" in zones

    full = next(one for one in documents if kuery.values(one, "allocfail.memory.zones.name"))
    extra = f'allocfail.fingerprint.id: "{full["allocfail"]["fingerprint"]["id"]}"'
    zones = drawn(cluster, board, board.objects["visualization", "allocfail-one-zones"], extra)
    for zone in full["allocfail"]["memory"]["zones"]:
        assert f">Node {zone['node']} {zone['name']}<" in zones


def test_list_of_fields_is_what_the_engine_says(cluster: Engine, board: panels.Board) -> None:
    """A page that refreshes the list of our own index finds in it what was shipped."""
    shipped = board.described(board.of("search")[0])
    found = {one["name"]: one for one in fields_of(cluster, [OWN])}
    assert set(found) == {name for name in shipped if not name.startswith("_")}
    for name, one in found.items():
        for part in ("type", "esTypes", "searchable", "aggregatable", "subType"):
            assert one.get(part) == shipped[name].get(part), (name, part)


def test_install_tells_the_data_view_of_the_wired_index(cluster: Engine) -> None:
    found = {one["name"]: one for one in fields_of(cluster, [WIRED, "gone"])}
    assert not found["tags"]["aggregatable"]
    assert found["tags.keyword"] == {
        **found["tags"],
        "name": "tags.keyword",
        "esTypes": ["keyword"],
        "aggregatable": True,
        "readFromDocValues": True,
        "subType": {"multi": {"parent": "tags"}},
    }
    assert found["allocfail.order"]["type"] == "number"


def test_strict_index_of_saved_objects_takes_them(cluster: Engine, board: panels.Board) -> None:
    """An index as OpenSearch Dashboards makes it refuses what a type does not map."""
    name = f"app-strict-{uuid.uuid4().hex[:12]}"
    text, flag, number = {"type": "text"}, {"type": "boolean"}, {"type": "integer"}
    meta = {"properties": {"searchSourceJSON": {"type": "text", "index": False}}}
    shared = {"title": text, "description": text, "version": number, "kibanaSavedObjectMeta": meta}
    keywords = {name: {"type": "keyword", "index": False, "doc_values": False} for name in ("columns", "sort")}
    refresh = {"properties": {"pause": flag, "value": number, "display": {"type": "keyword"}, "section": number}}
    board_ = {"hits": number, "panelsJSON": text, "optionsJSON": text, "timeRestore": flag, "refreshInterval": refresh}
    types = {
        "search": {**shared, **keywords, "hits": number},
        "visualization": {**shared, "visState": text, "uiStateJSON": text, "savedSearchRefName": {"type": "keyword"}},
        "dashboard": {**shared, **board_, "timeFrom": {"type": "keyword"}, "timeTo": {"type": "keyword"}},
    }
    properties: dict[str, Any] = {kind: {"properties": mapping} for kind, mapping in types.items()}
    properties["index-pattern"] = {"dynamic": False, "properties": {"title": text, "type": {"type": "keyword"}}}
    properties |= {"type": {"type": "keyword"}, "migrationVersion": {"dynamic": "true", "type": "object"}}
    reference = {"name": {"type": "keyword"}, "type": {"type": "keyword"}, "id": {"type": "keyword"}}
    properties["references"] = {"type": "nested", "properties": reference}
    cluster.request("PUT", path(name), {"mappings": {"dynamic": "strict", "properties": properties}})
    for item in board.objects.values():
        stored = {key: item[key] for key in ("type", "references", "migrationVersion")}
        cluster.request(
            "PUT", path(name, "_doc", f"{item['type']}:{item['id']}"), {**stored, item["type"]: item["attributes"]}
        )
    with pytest.raises(Exception, match="strict"):
        cluster.request("PUT", path(name, "_doc", "more"), {"type": "search", "search": {"grid": {}}})
