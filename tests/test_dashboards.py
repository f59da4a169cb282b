"""Saved objects over the import API, against a server that keeps them as both products do."""

from __future__ import annotations

import json
from typing import Any

import pytest

from allocfail.cluster import dashboards
from allocfail.cluster.engine import EngineError, UnreachableError, connection
from allocfail.errors import AllocfailError
from clusters import Answer, actions, server

WANTED = [
    {"id": "view", "type": "index-pattern", "attributes": {"title": "allocfail-*", "fields": "[]"}, "references": []},
    {
        "id": "find",
        "type": "search",
        "attributes": {"title": "Events", "columns": ["message"]},
        "references": [{"name": "index", "type": "index-pattern", "id": "view"}],
    },
]


class Dashboards:
    """Keeps saved objects in memory."""

    def __init__(self) -> None:
        self.kept: dict[str, dict[str, Any]] = {}
        self.imports = 0

    def __call__(self, method: str, target: str, body: bytes) -> Answer:
        place = target.partition("?")[0].removeprefix("/s/ops/api/saved_objects/")
        if place == "_import":
            assert target.endswith("?overwrite=true")
            self.imports += 1
            lines = [json.loads(line) for line in body.splitlines() if line.startswith(b'{"id"')]
            lost = [
                {"type": item["type"], "id": item["id"], "error": {"type": "missing_references"}}
                for item in lines
                for reference in item["references"]
                if not {f"{reference['type']}/{reference['id']}"} & {f"{one['type']}/{one['id']}" for one in lines}
            ]
            if lost:
                return 200, {"success": False, "errors": lost}
            for item in lines:
                self.kept[f"{item['type']}/{item['id']}"] = {**item, "attributes": {**item["attributes"], "added": 1}}
            return 200, {"success": True, "successCount": len(lines)}
        if place not in self.kept:
            return 404, {"statusCode": 404, "error": "Not Found", "message": f"Saved object [{place}] not found"}
        return (200, self.kept.pop(place)) if method == "DELETE" else (200, self.kept[place])


def test_in_and_out_again() -> None:
    there = Dashboards()
    seen: list[dict[str, str]] = []
    with server(there, seen) as url:
        where = connection(f"{url}/s/ops")
        assert set(actions(dashboards.import_objects(where, WANTED, dry_run=True)).values()) == {"created"}
        assert there.kept == {}
        assert set(actions(dashboards.import_objects(where, WANTED)).values()) == {"created"}
        # The server fills a data view's fields, and adds attributes when it migrates.
        there.kept["index-pattern/view"]["attributes"]["fields"] = '[{"name":"message"}]'
        assert set(actions(dashboards.import_objects(where, WANTED)).values()) == {"unchanged"}
        assert there.imports == 1
        there.kept["index-pattern/view"]["attributes"]["title"] += ",app-logs"  # an index of one's own stays in it
        assert set(actions(dashboards.import_objects(where, WANTED)).values()) == {"unchanged"}
        newer = [WANTED[0], {**WANTED[1], "attributes": {"title": "New"}}]
        changes = list(dashboards.import_objects(where, newer))
        assert actions(changes) == {
            "saved object index-pattern/view": "unchanged",
            "saved object search/find": "updated",
        }
        assert '+  "title": "New"' in changes[1].diff

        assert there.kept["index-pattern/view"]["attributes"]["title"] == "allocfail-*,app-logs"
        there.kept["search/find"]["attributes"]["title"] = "Mine"
        removed = actions(dashboards.remove_objects(where, newer))
        assert removed == {"saved object search/find": "left", "saved object index-pattern/view": "removed"}
        assert list(there.kept) == ["search/find"]
    assert all(header["kbn-xsrf"] == header["osd-xsrf"] == "true" for header in seen)


def test_refusals_are_one_line() -> None:
    with server(Dashboards()) as url, pytest.raises(EngineError, match="not imported: search/find: missing_references"):
        list(dashboards.import_objects(connection(f"{url}/s/ops"), WANTED[1:]))
    with server(lambda *_: (302, b"")) as url, pytest.raises(EngineError, match="it wants credentials"):
        list(dashboards.import_objects(connection(url), WANTED))
    with server(lambda *_: (200, b"<html>")) as url, pytest.raises(EngineError, match="neither Kibana nor"):
        list(dashboards.import_objects(connection(url), WANTED))
    with pytest.raises(UnreachableError, match="nothing listens there"):
        list(dashboards.import_objects(connection("http://127.0.0.1:1"), WANTED))


@pytest.mark.parametrize("product", ["elasticsearch", "opensearch"])
def test_the_generated_objects_are_found(product: str) -> None:
    try:
        found = dashboards.objects(product)
    except AllocfailError as error:
        pytest.fail(str(error))
    assert {"index-pattern", "search"} <= {item["type"] for item in found}
