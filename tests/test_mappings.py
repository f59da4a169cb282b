"""ECS fields in somebody's index, and the events' index."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from allocfail.cluster import mappings, templates
from allocfail.cluster.engine import Engine, path
from clusters import actions

if TYPE_CHECKING:
    from collections.abc import Iterator

pytest_plugins = ["cluster_fixtures"]

KEYWORD = {"type": "keyword", "ignore_above": 1024}
SHARED = {**KEYWORD, "fields": {"keyword": KEYWORD}}
WANTED: dict[str, Any] = {
    "@timestamp": {"type": "date"},
    "message": {"type": "text"},
    "tags": KEYWORD,
    "host": {"properties": {"name": KEYWORD, "os": {"properties": {"kernel": SHARED}}}},
    "related": {"properties": {"hosts": SHARED}},
}
DYNAMIC = {"type": "text", "fields": {"keyword": {"type": "keyword", "ignore_above": 256}}}


def test_an_index_without_any_gets_all_but_what_is_its_own() -> None:
    lacking, texts = mappings._compare({}, WANTED)
    assert lacking == {name: WANTED[name] for name in ("tags", "host", "related")}
    assert texts == []


def test_what_is_text_is_named_and_left() -> None:
    have = {"tags": DYNAMIC, "host": {"properties": {"name": DYNAMIC, "os": {"properties": {"kernel": DYNAMIC}}}}}
    lacking, texts = mappings._compare(have, WANTED)
    assert lacking == {"related": WANTED["related"]}
    assert texts == ["tags", "host.name", "host.os.kernel"]


def test_what_panels_count_by_gets_its_second_name() -> None:
    """Whatever else the field's own mapping says, it has to be said again, or the server refuses."""
    have = {
        "host": {
            "properties": {"name": KEYWORD, "os": {"properties": {"kernel": {"type": "text", "analyzer": "simple"}}}}
        },
        "related": {"properties": {"hosts": {"type": "keyword", "fields": {"text": {"type": "text"}}}}},
        "tags": KEYWORD,
    }
    lacking, texts = mappings._compare(have, WANTED)
    assert lacking["related"]["properties"]["hosts"] == {
        "type": "keyword",
        "fields": {"text": {"type": "text"}, "keyword": KEYWORD},
    }
    assert lacking["host"]["properties"] == {
        "os": {"properties": {"kernel": {"type": "text", "analyzer": "simple", "fields": {"keyword": KEYWORD}}}}
    }
    assert texts == ["host.os.kernel"]


@pytest.mark.parametrize("there", [{"type": "keyword"}, DYNAMIC, {"type": "flattened"}])
def test_nothing_is_put_below_what_is_no_object(there: dict[str, Any]) -> None:
    lacking, texts = mappings._compare({"host": there}, WANTED)
    assert "host" not in lacking
    assert texts == ["host"]


@pytest.fixture
def index(cluster: Engine) -> Iterator[str]:
    name = "app-mappings"
    cluster.request("PUT", path(name), {"settings": {"number_of_replicas": 0}})
    yield name
    cluster.request("DELETE", path(name), missing_ok=True)


def ecs() -> dict[str, Any]:
    found: dict[str, Any] = templates.properties("ecs.yml", templates.mapping_types())
    return found


def have(cluster: Engine, index: str) -> dict[str, Any]:
    found: dict[str, Any] = cluster.request("GET", path(index, "_mapping"))[index]["mappings"]
    return found


def test_engines_take_it_and_it_is_done_once(cluster: Engine, index: str) -> None:
    document = {"host": "web01", "tags": ["a"], "related": {"hosts": ["web01"]}, "event": {"kind": "event"}}
    cluster.request("POST", f"{path(index, '_doc')}?refresh=true", document)
    told = mappings.map_ecs(cluster, index, have(cluster, index), ecs(), dry_run=True)
    assert "rule" not in have(cluster, index)["properties"]
    assert actions(told) == actions(mappings.map_ecs(cluster, index, have(cluster, index), ecs(), dry_run=False))
    assert actions(told) == {f"ECS mapping {index}": "updated", f"text mapping {index}": "left"}
    assert "tags" in told[1].note
    assert "host" in told[1].note
    properties = have(cluster, index)["properties"]
    assert properties["rule"]["properties"]["id"]["type"] == "keyword"
    assert properties["event"]["properties"]["reference"]["type"] == "keyword"
    assert properties["host"]["type"] == "text"
    again = mappings.map_ecs(cluster, index, have(cluster, index), ecs(), dry_run=False)
    assert actions(again)[f"ECS mapping {index}"] == "unchanged"


def test_a_full_index_is_left(cluster: Engine, index: str) -> None:
    cluster.request("PUT", path(index, "_settings"), {"index.mapping.total_fields.limit": 5})
    [change] = mappings.map_ecs(cluster, index, have(cluster, index), ecs(), dry_run=False)
    assert change.action == "left"
    assert "limit" in change.note.lower()


def test_events_index_is_made_once(cluster: Engine) -> None:
    name = "app-events"
    assert mappings.put_events_index(cluster, name, dry_run=True).action == "created"
    assert mappings.put_events_index(cluster, name, dry_run=False).action == "created"
    assert mappings.put_events_index(cluster, name, dry_run=False).action == "unchanged"
    assert mappings.is_empty(cluster, name)
    cluster.request("POST", path(name, "_doc"), {"a": 1})
    assert not mappings.is_empty(cluster, name)
