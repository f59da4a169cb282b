"""The saved objects by themselves: what Kibana and OpenSearch Dashboards accept, and nothing that leads nowhere."""

from __future__ import annotations

import contextlib
import itertools
import json
import re
from typing import TYPE_CHECKING, Any

import pytest
import yaml

import kuery
import panels
import sample_events
from allocfail.cluster import saved_objects, templates
from allocfail.content import content_path
from allocfail.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Iterator

PRODUCTS = ["elasticsearch", "opensearch"]
META = {"searchSourceJSON"}
#: The attributes that each type has in the mappings of both products; OpenSearch Dashboards refuses every other one
#: (opensearch-project/OpenSearch-Dashboards, src/plugins: discover/server/saved_objects/search.ts @24fe7c09,
#: visualizations/…/visualization.ts @20d4b0cd, dashboard/…/dashboard.ts @1f3582aa). A data view's mapping is not strict
#: (data/…/index_patterns.ts @0520ec80): these are the attributes that both products read.
ATTRIBUTES = {
    "index-pattern": {"title", "timeFieldName", "fields", "fieldFormatMap", "sourceFilters", "allowNoIndex"},
    "search": {"title", "description", "hits", "columns", "sort", "version", "kibanaSavedObjectMeta"},
    "visualization": {"title", "description", "visState", "uiStateJSON", "version", "kibanaSavedObjectMeta"},
    "dashboard": {
        "title",
        "description",
        "hits",
        "panelsJSON",
        "optionsJSON",
        "version",
        "timeRestore",
        "timeFrom",
        "timeTo",
        "refreshInterval",
        "kibanaSavedObjectMeta",
    },
}
#: The newest migration that the oldest of either product knows: Kibana 7.10.2, from which the other was forked.
CEILINGS = {"index-pattern": "7.6.0", "search": "7.9.3", "visualization": "7.10.0", "dashboard": "7.9.3"}
#: Visualizations that both products have, Kibana 9 still.
KINDS = {"table", "metric", "histogram", "horizontal_bar", "pie", "markdown", "vega"}
#: Aggregations, by the schema that they may stand in, and the parameters that both products write for them.
AGGS: dict[str, tuple[set[str], set[str]]] = {
    "count": ({"metric"}, {"customLabel"}),
    "cardinality": ({"metric"}, {"field", "customLabel"}),
    "min": ({"metric"}, {"field", "customLabel"}),
    "max": ({"metric"}, {"field", "customLabel"}),
    "top_hits": ({"metric"}, {"field", "aggregate", "size", "sortField", "sortOrder", "customLabel"}),
    "terms": (
        {"bucket", "segment", "group"},
        {
            "field",
            "orderBy",
            "order",
            "size",
            "otherBucket",
            "otherBucketLabel",
            "missingBucket",
            "missingBucketLabel",
            "json",
            "customLabel",
        },
    ),
    "filters": ({"segment", "bucket"}, {"filters"}),
    "date_histogram": (
        {"segment"},
        {
            "field",
            "interval",
            "min_doc_count",
            "extended_bounds",
            "drop_partials",
            "scaleMetricValues",
            "useNormalizedEsInterval",
            "useNormalizedOpenSearchInterval",
        },
    ),
}
DESCRIPTOR = {
    "name",
    "type",
    "esTypes",
    "count",
    "scripted",
    "searchable",
    "aggregatable",
    "readFromDocValues",
    "subType",
}


@pytest.fixture(params=PRODUCTS)
def product(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    return name


@pytest.fixture
def board(product: str) -> panels.Board:
    return panels.Board(saved_objects.build(product))


def state(item: panels.Item) -> Any:
    return json.loads(item["attributes"]["visState"])


def formats(board: panels.Board) -> Iterator[tuple[str, dict[str, Any]]]:
    for view in board.of("index-pattern"):
        yield from json.loads(view["attributes"]["fieldFormatMap"]).items()


def texts(value: Any) -> Iterator[str]:
    """Yield every text in a JSON value, those inside JSON in a text too."""
    if isinstance(value, dict):
        for inner in value.values():
            yield from texts(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from texts(inner)
    elif isinstance(value, str):
        yield value
        if value.startswith(("{", "[")):
            with contextlib.suppress(ValueError):
                yield from texts(json.loads(value))


def test_committed_files_are_current() -> None:
    for name, text in saved_objects.generate().items():
        assert content_path(name).read_bytes() == text.encode(), f"{name}: run make generate"


def test_ndjson_is_one_object_a_line(product: str) -> None:
    text = saved_objects.to_ndjson(saved_objects.build(product))
    assert text.endswith("\n")
    assert "\r" not in text
    assert [json.loads(line) for line in text[:-1].split("\n")] == saved_objects.build(product)


def test_attributes_and_versions_that_every_release_knows(board: panels.Board) -> None:
    assert {kind for kind, _ in board.objects} == set(ATTRIBUTES)
    for (kind, identifier), item in board.objects.items():
        assert set(item) == {"type", "id", "attributes", "references", "migrationVersion"}
        assert item["migrationVersion"] == {kind: CEILINGS[kind]}
        assert set(item["attributes"]) <= ATTRIBUTES[kind], identifier
        assert set(item["attributes"].get("kibanaSavedObjectMeta", {})) <= META
        assert re.fullmatch(r"allocfail-[a-z-]+", identifier)
        assert item["attributes"]["title"]


def test_pictures_are_of_kinds_that_every_release_has(board: panels.Board) -> None:
    for item in board.of("visualization"):
        made = state(item)
        assert set(made) == {"title", "type", "params", "aggs"}
        assert made["type"] in KINDS
        numbers = [agg["id"] for agg in made["aggs"]]
        assert len(set(numbers)) == len(numbers)
        for agg in made["aggs"]:
            schemas, params = AGGS[agg["type"]]
            assert set(agg) == {"id", "enabled", "type", "schema", "params"}
            assert agg["schema"] in schemas
            assert set(agg["params"]) <= params
            assert "customLabel" not in params or agg["params"].get("customLabel") or agg["schema"] == "group"
            if "orderBy" in agg["params"]:
                [by] = [one for one in made["aggs"] if one["id"] == agg["params"]["orderBy"]]
                assert by["type"] in {"count", "cardinality", "min", "max"}, "only numbers put rows in order"
        if made["type"] == "table":
            widths = json.loads(item["attributes"]["uiStateJSON"])["vis"]["columnsWidth"]
            assert [one["colIndex"] for one in widths] == list(range(len(made["aggs"])))


def test_no_reference_dangles_and_order_is_that_of_import(board: panels.Board) -> None:
    seen: set[tuple[str, str]] = set()
    for key, item in board.objects.items():
        assert {(one["type"], one["id"]) for one in item["references"]} <= seen, "what is referred to comes before"
        seen.add(key)
        named = {one["name"] for one in item["references"]}
        assert len(named) == len(item["references"])
        assert set(re.findall(r'"(?:indexRefName|panelRefName)":"([^"]+)"', " ".join(texts(item)))) == named
    assert len(seen) == len(board.objects)


def test_links_between_the_objects_lead_somewhere(board: panels.Board) -> None:
    found = set()
    for text in texts(list(board.objects.values())):
        for app, identifier in re.findall(r"(discover|dashboards)#/view/([a-z-]+)", text):
            assert ({"discover": "search", "dashboards": "dashboard"}[app], identifier) in board.objects
            found.add(identifier)
        for identifier in re.findall(r",index:([a-z-]+),", text):
            assert ("index-pattern", identifier) in board.objects
    assert {"allocfail-group", "allocfail-failure", "allocfail-drift"} <= found


def test_links_are_what_pages_make_links_of(board: panels.Board) -> None:
    """Both link http, https, and what is relative to /app (field_formats/converters/url.ts)."""
    templates_ = {name: one["params"].get("urlTemplate") for name, one in formats(board) if one["id"] == "url"}
    assert {"event.reference", "rule.id", "allocfail.kb_url", "allocfail.fingerprint.id", "error.id"} <= set(templates_)
    for name, template in templates_.items():
        assert template is None or re.match(r"https?://|(discover|dashboards)#/", template), name
        assert template is None or "{{value}}" in template
    labels = [one["params"].get("labelTemplate", "") for _, one in formats(board) if one["id"] == "url"]
    assert not any("{{rawValue}}" in label for label in labels), "makes an empty cell in older releases"
    for event in sample_events.documents():
        assert all(url.startswith("http://127.0.0.1:8765/") for url in kuery.values(event, "event.reference"))


@pytest.mark.parametrize(
    ("kb_url", "link"),
    [
        ("https://kb.example.org/kernel", "https://kb.example.org/kernel/{{value}}.html"),
        ("https://kibana/app/discover#/doc/allocfail-kb/allocfail-kb?id={section}", "allocfail-kb?id={{value}}"),
    ],
)
def test_articles_are_linked_where_they_are_served(product: str, kb_url: str, link: str) -> None:
    board = panels.Board(saved_objects.build(product, kb_url=kb_url))
    assert dict(formats(board))["rule.id"]["params"]["urlTemplate"].endswith(link)
    text = saved_objects.to_ndjson(list(board.objects.values()))
    assert "127.0.0.1" not in text
    assert not re.search("@[a-z_]+@", text)


def test_every_cause_has_words(board: panels.Board) -> None:
    rules = yaml.safe_load(content_path("kb/facts/verdict.yml").read_text(encoding="utf-8"))["cause"]
    named = {entry["key"] for entry in dict(formats(board))["allocfail.verdict.cause"]["params"]["lookupEntries"]}
    assert named == {rule["value"] for rule in rules} | {"unknown"}


def test_words_for_every_code_in_the_sample(board: panels.Board) -> None:
    """What a person reads has no underscore in it; a boolean has words as a value and as a bucket."""
    words = {name: one["params"]["lookupEntries"] for name, one in formats(board) if one["id"] == "static_lookup"}
    assert {"allocfail.kind", "allocfail.provenance", "allocfail.gfp.may_sleep"} <= set(words)
    for name, entries in words.items():
        keys = {entry["key"] for entry in entries}
        assert all("_" not in entry["value"] for entry in entries)
        for event in sample_events.documents():
            for value in kuery.values(event, name):
                assert (str(value).lower() if isinstance(value, bool) else value) in keys, name
                assert not isinstance(value, bool) or keys == {"true", "false", "1", "0"}
    simple = {name: one["id"] for name, one in formats(board)}
    assert simple["process.pid"] == simple["allocfail.oom.victim_pid"] == "string", "no thousands in a PID"


def test_colours_are_of_values_that_there_are(board: panels.Board) -> None:
    for name, values in {
        "allocfail.verdict.severity": {"failed", "degraded", "recovered"},
        "allocfail.verdict.zone_reclaim_mode": {"cannot-act", "may-hurt", "may-help"},
    }.items():
        [colours] = [one["params"]["colors"] for field, one in formats(board) if field == name]
        assert {entry["regex"] for entry in colours} == {f"^{value}$" for value in values}


def test_every_field_is_listed_searchable_and_filled(board: panels.Board) -> None:
    documents = sample_events.documents()
    used: set[str] = set()
    for item in board.objects.values():
        if not panels.searches(item):
            continue
        if item["id"] == "allocfail-articles":
            assert panels.fields(item) <= set(board.described(item))
            continue
        described = board.described(item)
        mine = panels.fields(item) | {name for tree in board.trees(item) for name in kuery.fields(tree)}
        assert mine <= set(described), item["id"]
        assert all(described[name]["searchable"] for name in mine)
        used |= mine
    assert {name for name in used if not any(kuery.values(event, name) for event in documents)} == set()
    linked = {name for name, _ in formats(board)} - {"url", "headings.url"}
    described = board.described(board.of("search")[0])
    assert linked <= set(described)


def test_vega_reads_fields_that_are_mapped(board: panels.Board) -> None:
    mapped = set(board.described(board.of("search")[0]))
    kept = {"allocfail.memory.zones", "allocfail.verdict.zones", "allocfail.verdict", "allocfail.kb", "rule.id"}
    found = 0
    for item in filter(panels.is_vega, board.of("visualization")):
        for name, index, body in board.vega(item):
            assert index == (
                "allocfail-kb*" if name == "articles" else board.view(board.of("search")[0])["attributes"]["title"]
            )
            if name == "event":
                assert set(body["_source"]) <= mapped | kept
                found += 1
    assert found == 3


def test_fields_of_others_are_read_from_the_document(board: panels.Board) -> None:
    """A table's newest value is asked for by column where the list says so, which an index with text refuses."""
    described = board.described(board.of("search")[0])
    for name, one in described.items():
        assert set(one) <= DESCRIPTOR
        assert one["count"] == 0
        assert one["scripted"] is False
        if one["type"] == "string" and not name.startswith(("allocfail.", "_")):
            assert one["readFromDocValues"] is False, name
    assert described["allocfail.order"] == {
        "name": "allocfail.order",
        "type": "number",
        "esTypes": ["long"],
        "count": 0,
        "scripted": False,
        "searchable": True,
        "aggregatable": True,
        "readFromDocValues": True,
    }
    assert described["related.hosts.keyword"]["subType"] == {"multi": {"parent": "related.hosts"}}
    assert not described["allocfail.verdict.summary"]["aggregatable"]
    assert not described["event.original"]["searchable"]


def test_pages_are_told_families_of_types(board: panels.Board) -> None:
    """Older pages know no other; Elasticsearch itself tells no other of a field."""
    kinds = {kind for one in board.described(board.of("search")[0]).values() for kind in one.get("esTypes", [])}
    assert {kind for kind in kinds if not kind.startswith("_")} == {
        "text",
        "keyword",
        "long",
        "double",
        "boolean",
        "date",
    }


def test_dashboards_fit_the_grid(board: panels.Board) -> None:
    for item in board.of("dashboard"):
        cells: set[tuple[int, int]] = set()
        shown = json.loads(item["attributes"]["panelsJSON"])
        assert [one["panelIndex"] for one in shown] == [str(number) for number in range(1, len(shown) + 1)]
        for one in shown:
            grid = one["gridData"]
            assert grid["i"] == one["panelIndex"]
            assert grid["x"] + grid["w"] <= 48
            mine = set(
                itertools.product(range(grid["x"], grid["x"] + grid["w"]), range(grid["y"], grid["y"] + grid["h"]))
            )
            assert not mine & cells, "one panel lies on another"
            cells |= mine
        assert item["attributes"]["timeRestore"] is True
        assert item["attributes"]["timeFrom"].startswith("now-")
    overview = board.objects["dashboard", saved_objects.OVERVIEW]
    places = {
        reference["id"]: json.loads(overview["attributes"]["panelsJSON"])[number]["gridData"]
        for number, reference in enumerate(overview["references"])
    }
    # 28 pixels a unit, and 700 of 900 are left below the page's own bars.
    first = {name for name, grid in places.items() if (grid["y"] + grid["h"]) * 28 <= 700}
    assert first == {"allocfail-totals", "allocfail-over-time", "allocfail-first", "allocfail-groups"}


def test_every_panel_and_search_says_what_it_is_for(board: panels.Board) -> None:
    for kind in ("search", "visualization", "dashboard"):
        for item in board.of(kind):
            assert item["attributes"]["description"].endswith("."), item["id"]


def test_data_view_covers_where_events_go(product: str) -> None:
    board = panels.Board(saved_objects.build(product))
    patterns = board.objects["index-pattern", "allocfail-events"]["attributes"]["title"].split(",")
    made = templates.build()
    for name in (made.events_index, made.events_stream):
        assert any(pattern.endswith("*") and name.startswith(pattern[:-1]) for pattern in patterns), name
    assert board.objects["index-pattern", "allocfail-kb"]["attributes"]["title"] == made.kb_index


def test_other_patterns_go_everywhere(product: str) -> None:
    board = panels.Board(saved_objects.build(product, patterns=["kern-*", "app"]))
    assert board.objects["index-pattern", "allocfail-events"]["attributes"]["title"] == "kern-*,app"
    assert {
        index for item in board.of("visualization") if panels.is_vega(item) for _, index, _ in board.vega(item)
    } == {"kern-*,app", "allocfail-kb*"}


def test_former_columns_are_none_of_todays() -> None:
    today = {
        item["id"]: item["attributes"]["columns"]
        for item in saved_objects.build("opensearch")
        if item["type"] == "search"
    }
    for identifier, former in saved_objects.former_columns().items():
        assert today[identifier] not in former


def test_drift_finds_what_was_not_understood(board: panels.Board) -> None:
    [tree] = board.trees(board.objects["search", "allocfail-drift"])
    found = [event for event in sample_events.documents() if kuery.holds(tree, event)]
    why = {
        ("words" if not kuery.values(event, "allocfail.kind") else None)
        or ("bits" if kuery.values(event, "allocfail.gfp.unknown_bits") else None)
        or ("names" if kuery.values(event, "allocfail.gfp.conflict") else "trace")
        for event in found
    }
    assert {"words", "bits", "names"} <= why
    assert len(found) < len(sample_events.documents()) / 3


def test_unknown_engine_is_told() -> None:
    with pytest.raises(InputError, match="not an engine: solr"):
        saved_objects.build("solr")
