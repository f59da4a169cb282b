"""Saved objects over HTTP, against a server that plays the saved-objects API of either product."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from allocfail.cluster import dashboards, saved_objects
from allocfail.cluster.connection import connection
from allocfail.cluster.dashboards import Place
from allocfail.cluster.errors import EngineError, UnreachableError
from allocfail.errors import InputError
from clusters import actions, server
from products import Dashboards

if TYPE_CHECKING:
    from allocfail.cluster.steps import Change

VIEW = {
    "id": "allocfail-events",
    "type": "index-pattern",
    "attributes": {
        "title": "allocfail-*",
        "timeFieldName": "@timestamp",
        "fields": '[{"name":"message","count":0}]',
        "fieldFormatMap": '{"event.reference":{"id":"url","params":{"labelTemplate":"read"}}}',
    },
    "references": [],
}
FIND = {
    "id": "allocfail-failures",
    "type": "search",
    "attributes": {"title": "Events", "columns": ["message"], "sort": [["@timestamp", "desc"]]},
    "references": [{"name": "index", "type": "index-pattern", "id": "allocfail-events"}],
}
PANEL = {
    "id": "allocfail-totals",
    "type": "visualization",
    "attributes": {"title": "Totals", "visState": '{"type":"metric","params":{"style":{"fontSize":36}},"aggs":[]}'},
    "references": [],
}
WANTED = [VIEW, FIND, PANEL]


class Memory:
    """As much of a cluster as remembers what was imported."""

    def __init__(self) -> None:
        self.component: dict[str, Any] | None = None

    def request(self, method: str, _: str, body: Any = None, *, missing_ok: bool = False) -> Any:
        if method == "GET":
            assert missing_ok
            found = {"name": dashboards.RECORD, "component_template": self.component}
            return {"component_templates": [found]} if self.component else None
        self.component = body if method == "PUT" else None
        return {}


def changed(item: dict[str, Any], **attributes: Any) -> dict[str, Any]:
    return {**item, "attributes": {**item["attributes"], **attributes}}


def notes(changes: list[Change]) -> dict[str, str]:
    return {change.id: change.note for change in changes if change.note}


def bring(there: Dashboards, url: str, wanted: list[dict[str, Any]], memory: Any = None, **more: Any) -> list[Change]:
    before = len(there.imports)
    changes = list(dashboards.import_objects(Place(connection(f"{url}/s/ops")), wanted, memory, **more))
    sent = there.imports[before] if len(there.imports) > before else []
    assert sent == [change.id for change in changes if change.action != "unchanged" and not more.get("dry_run")]
    return changes


def test_in_again_and_out() -> None:
    there = Dashboards()
    seen: list[dict[str, str]] = []
    with server(there, seen) as url:
        assert set(actions(bring(there, url, WANTED, dry_run=True)).values()) == {"created"}
        assert there.kept == {}
        assert set(actions(bring(there, url, WANTED)).values()) == {"created"}
        assert set(actions(bring(there, url, WANTED)).values()) == {"unchanged"}
        assert len(there.imports) == 1
        newer = [VIEW, changed(FIND, title="New"), PANEL]
        changes = bring(there, url, newer)
        assert actions(changes)["saved object search/allocfail-failures"] == "updated"
        assert list(actions(changes).values()).count("unchanged") == 2
        assert '+  "title": "New"' in changes[1].diff
        removed = actions(dashboards.remove_objects(Place(connection(f"{url}/s/ops")), newer))
        assert set(removed.values()) == {"removed"}
        assert there.kept == {}
    assert all(header["kbn-xsrf"] == header["osd-xsrf"] == "true" for header in seen)


def test_what_a_page_rewrites_changes_nothing() -> None:
    """The page saves a data view with its own list of fields, where each format came from, and a count of uses."""
    there = Dashboards()
    with server(there) as url:
        bring(there, url, WANTED)
        formats = {"event.reference": {"params": {"labelTemplate": "read", "parsedUrl": {"origin": url}}, "id": "url"}}
        rewritten = changed(
            VIEW,
            fields='[{"name":"app","count":0},{"name":"message","count":3}]',
            fieldFormatMap=json.dumps(formats),
            title="allocfail-*,app-logs",
        )
        there.save("index-pattern/allocfail-events", rewritten)
        assert set(actions(bring(there, url, WANTED)).values()) == {"unchanged"}
        # A newer list of fields is put to what was there; what was chosen often stays in front.
        newer = changed(VIEW, fields='[{"name":"message","count":0},{"name":"tags","count":0}]')
        assert actions(bring(there, url, [newer]))["saved object index-pattern/allocfail-events"] == "updated"
        kept = there.kept["index-pattern/allocfail-events"]["attributes"]
        assert kept["title"] == "allocfail-*,app-logs"
        assert {one["name"]: one["count"] for one in json.loads(kept["fields"])} == {"message": 3, "tags": 0, "app": 0}


def test_columns_of_ones_own_are_kept_and_named() -> None:
    there = Dashboards()
    with server(there) as url:
        bring(there, url, WANTED)
        there.save("search/allocfail-failures", changed(FIND, columns=["host.name", "message"]))
        changes = bring(there, url, WANTED)
        assert set(actions(changes).values()) == {"unchanged"}
        assert notes(changes) == {"search/allocfail-failures": "columns of your own kept: host.name, message"}
        bring(there, url, [changed(FIND, title="New")])
        kept = there.kept["search/allocfail-failures"]["attributes"]
        assert (kept["title"], kept["columns"]) == ("New", ["host.name", "message"])


def test_columns_that_were_shipped_once_are_replaced() -> None:
    [former] = saved_objects.former_columns()["allocfail-failures"]
    there = Dashboards()
    with server(there) as url:
        bring(there, url, WANTED)
        there.save("search/allocfail-failures", changed(FIND, columns=former))
        assert "search/allocfail-failures" in [one.id for one in bring(there, url, WANTED) if one.action == "updated"]
        assert there.kept["search/allocfail-failures"]["attributes"]["columns"] == ["message"]


def test_what_is_remembered_is_not_sent_again() -> None:
    """A newer Kibana migrates what it takes, so that it is no longer what was sent: the record says that it was."""
    there, memory = Dashboards(), Memory()
    migrated = '{"type":"metric","params":{"style":{"fontSize":60}},"aggs":[]}'
    with server(there) as url:
        bring(there, url, WANTED, memory)
        there.save("visualization/allocfail-totals", changed(PANEL, visState=migrated))
        assert set(actions(bring(there, url, WANTED, memory)).values()) == {"unchanged"}
        # Without the record, and another title: what differs is named before it is replaced.
        [change] = [one for one in bring(there, url, WANTED) if one.action != "unchanged"]
        assert change.note == "another was there: visState replaced"
        # A new version over what nobody has touched needs no words; over somebody's work it names what goes.
        bring(there, url, WANTED, Memory())
        memory = Memory()
        there.kept.clear()
        bring(there, url, WANTED, memory)
        [quiet] = [one for one in bring(there, url, [changed(PANEL, title="All")], memory) if one.action == "updated"]
        assert quiet.note == ""
        there.save("visualization/allocfail-totals", changed(PANEL, title="Mine"))
        [told] = [one for one in bring(there, url, [changed(PANEL, title="Sum")], memory) if one.action == "updated"]
        assert told.note == "another was there: title replaced"
        del there.kept["visualization/allocfail-totals"]
        assert bring(there, url, [changed(PANEL, title="Sum")], memory)[0].action == "created"


def test_changed_by_hand_is_left() -> None:
    there, memory = Dashboards(), Memory()
    with server(there) as url:
        bring(there, url, WANTED, memory)
        there.save("search/allocfail-failures", changed(FIND, columns=["host.name"]))
        there.save(
            "index-pattern/allocfail-events", changed(VIEW, title="allocfail-*,app", fields='[{"name":"message"}]')
        )
        place = Place(connection(f"{url}/s/ops"))
        removed = {change.id: change for change in dashboards.remove_objects(place, WANTED, memory)}  # type: ignore[arg-type]
        assert removed["search/allocfail-failures"].action == "left"
        assert removed["index-pattern/allocfail-events"].action == "removed"
        assert removed["visualization/allocfail-totals"].action == "removed"
        assert memory.component is None
    assert list(there.kept) == ["search/allocfail-failures"]


def test_fields_of_the_cluster_go_into_the_data_view() -> None:
    descriptor = {
        "name": "message",
        "esTypes": ["keyword"],
        "searchable": True,
        "aggregatable": True,
        "readFromDocValues": True,
    }
    found = [
        {**descriptor, "esTypes": ["text"], "aggregatable": False, "readFromDocValues": False},
        {**descriptor, "name": "app"},
    ]
    there = Dashboards()
    with server(there) as url:
        bring(there, url, [changed(VIEW, fields=json.dumps([descriptor]))], found=found)
    fields = {
        one["name"]: one for one in json.loads(there.kept["index-pattern/allocfail-events"]["attributes"]["fields"])
    }
    assert fields["app"] == {**descriptor, "name": "app"}
    assert fields["message"]["esTypes"] == ["keyword", "text"]
    assert not fields["message"]["aggregatable"]


def test_spaces_and_tenants() -> None:
    where = connection("http://127.0.0.1:5601/kibana")
    assert dashboards.place(where, "elasticsearch").where == where
    assert dashboards.place(where, "elasticsearch", "default").where == where
    assert dashboards.place(where, "elasticsearch", "ops").where.url == "http://127.0.0.1:5601/kibana/s/ops"
    tenant = dashboards.place(where, "opensearch", "ops")
    assert (tenant.where, tenant.headers) == (where, {"securitytenant": "ops"})
    assert tenant.key != dashboards.place(where, "opensearch").key
    assert dashboards.address(dashboards.place(where, "elasticsearch", "ops")) == (
        "http://127.0.0.1:5601/kibana/s/ops/app/dashboards#/view/allocfail-failures"
    )
    for bad in ("", "a/b", "a b", "ä", "a\n"):
        with pytest.raises(InputError, match="--space"):
            dashboards.place(where, "opensearch", bad)


def test_index_patterns() -> None:
    default = saved_objects.titles()
    assert dashboards.patterns(None, []) == default
    assert dashboards.patterns(None, ["logs-app", "app-logs", "app-logs"]) == [*default, "app-logs"]
    assert dashboards.patterns("kern-*, app", ["kern-1", "other"]) == ["kern-*", "app", "other"]
    with pytest.raises(InputError, match="--index-pattern"):
        dashboards.patterns(" , ", [])


def test_refusals_are_one_line() -> None:
    with server(Dashboards()) as url, pytest.raises(EngineError, match="allocfail-failures: missing_references"):
        list(dashboards.import_objects(Place(connection(f"{url}/s/ops")), [FIND]))
    with server(lambda *_: (302, b"")) as url, pytest.raises(EngineError, match="it wants credentials"):
        list(dashboards.import_objects(Place(connection(url)), WANTED))
    with server(lambda *_: (200, b"<html>")) as url, pytest.raises(EngineError, match="neither Kibana nor"):
        list(dashboards.import_objects(Place(connection(url)), WANTED))
    with (
        server(lambda *_: (200, {"tagline": "You Know, for Search"})) as url,
        pytest.raises(EngineError, match="neither"),
    ):
        list(dashboards.import_objects(Place(connection(url)), WANTED))
    with pytest.raises(UnreachableError, match="nothing listens there"):
        list(dashboards.import_objects(Place(connection("http://127.0.0.1:1")), WANTED))
