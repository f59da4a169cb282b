"""What panels count by in somebody's index, and the events' index."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from allocfail.cluster import mappings, templates
from allocfail.cluster.client import Engine, path
from allocfail.cluster.steps import carry_out
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


def test_what_is_text_is_named() -> None:
    have = {"tags": DYNAMIC, "host": {"properties": {"name": DYNAMIC, "os": {"properties": {"kernel": DYNAMIC}}}}}
    assert mappings.texts(have, WANTED) == ["tags", "host.name", "host.os.kernel"]
    assert mappings.second_names(have, WANTED) == {}, "dynamic mapping has given it to them"
    assert mappings.texts({}, WANTED) == []
    assert mappings.texts({"message": DYNAMIC, "tags": KEYWORD}, WANTED) == []


def test_what_panels_count_by_gets_its_second_name() -> None:
    """Whatever else the field's own mapping says, it has to be said again, or the server refuses."""
    kernel = {"type": "text", "analyzer": "simple"}
    have = {
        "host": {"properties": {"name": KEYWORD, "os": {"properties": {"kernel": kernel}}}},
        "related": {"properties": {"hosts": {"type": "keyword", "fields": {"text": {"type": "text"}}}}},
        "tags": KEYWORD,
    }
    assert mappings.second_names(have, WANTED) == {
        "host": {"properties": {"os": {"properties": {"kernel": {**kernel, "fields": {"keyword": KEYWORD}}}}}},
        "related": {
            "properties": {"hosts": {"type": "keyword", "fields": {"text": {"type": "text"}, "keyword": KEYWORD}}}
        },
    }


@pytest.mark.parametrize("there", [{"type": "keyword"}, DYNAMIC, {"type": "flattened"}])
def test_nothing_is_put_below_what_is_no_object(there: dict[str, Any]) -> None:
    assert mappings.second_names({"host": there}, WANTED) == {}
    assert mappings.texts({"host": there}, WANTED) == (["host"] if there is DYNAMIC else [])


@pytest.fixture
def index(cluster: Engine) -> Iterator[str]:
    name = "app-mappings"
    cluster.request("PUT", path(name), {"settings": {"number_of_replicas": 0}})
    yield name
    cluster.request("DELETE", path(name), missing_ok=True)


def test_engines_take_it_and_it_is_done_once(cluster: Engine, index: str) -> None:
    ecs = templates.properties("ecs.yml", templates.mapping_types())
    own = {"properties": {"related": {"properties": {"hosts": {"type": "keyword", "ignore_above": 64}}}}}
    cluster.request("PUT", path(index, "_mapping"), own)
    cluster.request("POST", f"{path(index, '_doc')}?refresh=true", {"host": "web01", "tags": ["a"]})

    def done() -> dict[str, str]:
        have = cluster.request("GET", path(index, "_mapping"))[index]["mappings"]["properties"]
        return actions(carry_out(cluster, mappings.second_name_steps(index, have, ecs), dry_run=False))

    assert done() == {f"multi-field {index}": "updated", f"text field {index}": "left"}
    assert done() == {f"text field {index}": "left"}
    hosts = cluster.request("GET", path(index, "_mapping"))[index]["mappings"]["properties"]["related"]["properties"]
    assert hosts["hosts"] == {
        "type": "keyword",
        "ignore_above": 64,
        "fields": {"keyword": {"type": "keyword", "ignore_above": 1024}},
    }


def test_events_index_is_made_once(cluster: Engine) -> None:
    def made() -> list[str]:
        step = mappings.events_index_step(cluster, "app-events")
        return [change.action for change in carry_out(cluster, [step, step], dry_run=False)]

    assert made() == ["created", "created"], "somebody else was faster: as good"
    assert made() == ["unchanged", "unchanged"]
    assert mappings.is_empty(cluster, "app-events")
    cluster.request("POST", path("app-events", "_doc"), {"a": 1})
    assert not mappings.is_empty(cluster, "app-events")
