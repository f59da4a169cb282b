"""The saved objects: what Kibana and OpenSearch Dashboards accept, and what the engines behind them answer."""

from __future__ import annotations

import json
import uuid
from typing import TYPE_CHECKING, Any

import pytest

from allocfail.cluster import dashboards, install, saved_objects, templates
from allocfail.cluster.engine import connect, connection
from allocfail.content import content_path
from allocfail.errors import InputError
from allocfail.logs import events as decoder

if TYPE_CHECKING:
    from collections.abc import Iterator

    from engines.harness import Engine

PRODUCTS = ["elasticsearch", "opensearch"]
TAG = "kernel-allocation-failure"
LINKS = {"event.reference", "rule.reference", "allocfail.kb.url"}
#: The ceilings that Kibana 7.10 and OpenSearch Dashboards 1 to 3 share.
VERSIONS = {"index-pattern": "7.6.0", "search": "7.9.3"}
#: Attributes of a search that OpenSearch Dashboards maps (src/plugins/discover/server/saved_objects/search.ts,
#: opensearch-project/OpenSearch-Dashboards@24fe7c09); its index of saved objects refuses every other one.
SEARCH_MAPPING: dict[str, Any] = {
    "columns": {"type": "keyword", "index": False, "doc_values": False},
    "description": {"type": "text"},
    "hits": {"type": "integer", "index": False, "doc_values": False},
    "kibanaSavedObjectMeta": {"properties": {"searchSourceJSON": {"type": "text", "index": False}}},
    "sort": {"type": "keyword", "index": False, "doc_values": False},
    "columnWidths": {"type": "object", "enabled": False},
    "title": {"type": "text"},
    "version": {"type": "integer"},
}
#: An index as OpenSearch Dashboards makes it: strict at the root, so that what a type does not map is an error.
SAVED_OBJECTS_INDEX: dict[str, Any] = {
    "settings": {"number_of_replicas": 0},
    "mappings": {
        "dynamic": "strict",
        "properties": {
            "type": {"type": "keyword"},
            "references": {
                "type": "nested",
                "properties": {"name": {"type": "keyword"}, "type": {"type": "keyword"}, "id": {"type": "keyword"}},
            },
            "migrationVersion": {"dynamic": "true", "type": "object"},
            "search": {"properties": SEARCH_MAPPING},
            "index-pattern": {"dynamic": False, "properties": {"title": {"type": "text"}, "type": {"type": "keyword"}}},
        },
    },
}


def by_type(product: str, kind: str) -> list[dict[str, Any]]:
    return [item for item in saved_objects.build(product) if item["type"] == kind]


def body_of(search: dict[str, Any]) -> dict[str, Any]:
    body: dict[str, Any] = json.loads(search["attributes"]["kibanaSavedObjectMeta"]["searchSourceJSON"])
    return body


def as_query(text: str) -> dict[str, Any]:
    """Return what both products send for ``field: "phrase"``, the one form that the saved searches use."""
    field, colon, value = text.partition(": ")
    assert colon
    phrase = json.loads(value)
    assert isinstance(phrase, str)
    return {"match_phrase": {field: phrase}}


def mapping_properties(missing: frozenset[str] = frozenset()) -> dict[str, Any]:
    properties: dict[str, Any] = {}
    for component in templates.build(missing).components.values():
        properties |= component["template"]["mappings"]["properties"]
    return properties


def at(document: dict[str, Any], dotted: str) -> Any:
    values: list[Any] = [document]
    for name in dotted.split("."):
        values = [value.get(name) for value in values if isinstance(value, dict)]
        values = [leaf for value in values for leaf in (value if isinstance(value, list) else [value])]
    return [value for value in values if value is not None]


def mapped(dotted: str) -> dict[str, Any] | None:
    properties: Any = mapping_properties()
    *parents, leaf = dotted.split(".")
    for parent in parents:
        properties = properties.get(parent, {}).get("properties", {})
    found = properties.get(leaf)
    assert found is None or isinstance(found, dict)
    return found


def sample() -> list[dict[str, Any]]:
    data = content_path("samples/svn3-centos6.log").read_bytes()
    return [event.document for event in decoder.decode_bytes(data)]


def fields_used(product: str) -> set[str]:
    used = set(LINKS)
    for view in by_type(product, "index-pattern"):
        used |= {view["attributes"]["timeFieldName"], *json.loads(view["attributes"]["fieldFormatMap"])}
    for search in by_type(product, "search"):
        used |= {*search["attributes"]["columns"], *(field for field, _ in search["attributes"]["sort"])}
        used |= set(as_query(body_of(search)["query"]["query"])["match_phrase"])
    return used


def test_committed_files_are_current() -> None:
    for name, text in saved_objects.generate().items():
        assert content_path(name).read_bytes() == text.encode(), f"{name}: run make generate"


@pytest.mark.parametrize("product", PRODUCTS)
def test_import_reads_what_was_generated(product: str) -> None:
    assert dashboards.objects(product) == saved_objects.build(product)


@pytest.mark.parametrize("product", PRODUCTS)
def test_ndjson_is_one_object_a_line(product: str) -> None:
    text = saved_objects.to_ndjson(saved_objects.build(product))
    assert text.endswith("\n")
    assert "\r" not in text
    assert [json.loads(line) for line in text[:-1].split("\n")] == saved_objects.build(product)


@pytest.mark.parametrize("product", PRODUCTS)
def test_only_attributes_that_both_products_know(product: str) -> None:
    for item in saved_objects.build(product):
        assert set(item) == {"type", "id", "attributes", "references", "migrationVersion"}
        assert item["migrationVersion"] == {item["type"]: VERSIONS[item["type"]]}
    for view in by_type(product, "index-pattern"):
        assert set(view["attributes"]) == {"title", "timeFieldName", "fields", "fieldFormatMap"}
        assert json.loads(view["attributes"]["fields"]) == []
    for search in by_type(product, "search"):
        assert set(search["attributes"]) <= set(SEARCH_MAPPING)


@pytest.mark.parametrize("product", PRODUCTS)
def test_ids_are_fixed_and_no_reference_dangles(product: str) -> None:
    items = saved_objects.build(product)
    assert [(item["type"], item["id"]) for item in items] == [
        ("index-pattern", "allocfail-events"),
        ("search", "allocfail-failures"),
    ]
    seen = set()
    for item in items:
        assert {(r["type"], r["id"]) for r in item["references"]} <= seen, "what is referred to is imported before"
        seen.add((item["type"], item["id"]))
        if item["type"] == "search":
            assert body_of(item)["indexRefName"] in {reference["name"] for reference in item["references"]}


@pytest.mark.parametrize("product", PRODUCTS)
def test_article_links_are_links(product: str) -> None:
    [view] = by_type(product, "index-pattern")
    formats = json.loads(view["attributes"]["fieldFormatMap"])
    assert set(formats) == LINKS
    assert {item["id"] for item in formats.values()} == {"url"}
    for event in sample():
        for field in LINKS:
            assert at(event, field)
            assert all(url.startswith(("http://", "https://")) for url in at(event, field))


@pytest.mark.parametrize("product", PRODUCTS)
def test_every_field_is_mapped_and_filled(product: str) -> None:
    used = fields_used(product)
    assert "allocfail.fingerprint.id" in used
    assert {field for field in used if mapped(field) is None} == set()
    for event in sample():
        assert {field for field in used if not at(event, field)} == set()


@pytest.mark.parametrize("product", PRODUCTS)
def test_data_view_covers_where_events_go(product: str) -> None:
    [view] = by_type(product, "index-pattern")
    patterns = view["attributes"]["title"].split(",")
    made = templates.build()
    for name in (made.events_index, made.events_stream):
        assert any(pattern.endswith("*") and name.startswith(pattern[:-1]) for pattern in patterns), name


def test_unknown_engine_is_told() -> None:
    with pytest.raises(InputError, match="not an engine: solr"):
        saved_objects.build("solr")


@pytest.fixture
def index(engine: Engine) -> Iterator[str]:
    """Return an index with the project's mappings, which the data view covers, and the sample's events in it."""
    name = f"allocfail-events-saved-{uuid.uuid4().hex[:12]}"
    with connect(connection(engine.url)) as cluster:
        properties = mapping_properties(install._missing_types(cluster))
    body = {"settings": {"number_of_replicas": 0}, "mappings": {"dynamic": False, "properties": properties}}
    try:
        assert engine.request("PUT", f"/{name}", body)[0] == 200
        for event in sample():
            status, answer = engine.request("POST", f"/{name}/_doc", event)
            assert status == 201, answer
        other = {"@timestamp": "2026-02-14T15:24:16Z", "message": "an allocation failure", "tags": ["kernel"]}
        assert engine.request("POST", f"/{name}/_doc?refresh=true", other)[0] == 201
        yield name
    finally:
        engine.request("DELETE", f"/{name}")


def test_saved_search_finds_the_events(engine: Engine, index: str) -> None:
    [search] = by_type(engine.product, "search")
    [view] = by_type(engine.product, "index-pattern")
    assert search["references"][0]["id"] == view["id"]
    columns = search["attributes"]["columns"]
    body = {
        "query": {
            "bool": {
                "filter": [
                    as_query(body_of(search)["query"]["query"]),
                    {"term": {"_index": index}},
                    {"range": {view["attributes"]["timeFieldName"]: {"lte": "now+1y"}}},
                ]
            }
        },
        # `unmapped_type` is the products' default for sorting.
        "sort": [
            {field: {"order": order, "unmapped_type": "boolean"}} for field, order in search["attributes"]["sort"]
        ],
        "fields": columns,
        "highlight": {"fields": {"*": {}}},
    }
    target = f"/{view['attributes']['title']}/_search?ignore_unavailable=true&allow_no_indices=true"
    status, answer = engine.request("POST", target, body)
    assert status == 200, answer
    assert isinstance(answer, dict)
    assert answer["_shards"]["failed"] == 0
    hits = answer["hits"]["hits"]
    assert len(hits) == 2
    times = [hit["_source"]["@timestamp"] for hit in hits]
    assert times == sorted(times, reverse=True)
    for hit in hits:
        assert set(hit["fields"]) == set(columns)
        assert hit["fields"]["event.reference"][0].startswith("http://")
    assert len({hit["fields"]["allocfail.fingerprint.id"][0] for hit in hits}) == 1


def test_data_view_sees_fields_that_can_be_aggregated(engine: Engine, index: str) -> None:
    used = fields_used(engine.product)
    status, answer = engine.request("GET", f"/{index}/_field_caps?fields={','.join(sorted(used))}")
    assert status == 200, answer
    assert isinstance(answer, dict)
    for field in used:  # objects above them are in the answer, too
        types = answer["fields"][field].values()
        assert all(kind["searchable"] and kind["aggregatable"] for kind in types), field


def test_strict_index_of_saved_objects_takes_them(engine: Engine) -> None:
    name = f"allocfail-strict-{uuid.uuid4().hex[:12]}"
    try:
        assert engine.request("PUT", f"/{name}", SAVED_OBJECTS_INDEX)[0] == 200
        for item in saved_objects.build(engine.product):
            stored = {key: item[key] for key in ("type", "references", "migrationVersion")}
            stored[item["type"]] = item["attributes"]
            status, answer = engine.request("PUT", f"/{name}/_doc/{item['type']}:{item['id']}", stored)
            assert status == 201, answer
        [search] = by_type(engine.product, "search")
        status, _ = engine.request(
            "PUT", f"/{name}/_doc/more", {"type": "search", "search": {**search["attributes"], "grid": {}}}
        )
        assert status == 400, "the index would have refused what is not mapped"
    finally:
        engine.request("DELETE", f"/{name}")
