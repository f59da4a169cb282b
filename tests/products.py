"""Servers that pretend to be what cannot be had here: the pages of either product, and its alerting."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import urllib3

if TYPE_CHECKING:
    from clusters import Answer


class Dashboards:
    """Keeps saved objects in memory, with a version that every write changes."""

    def __init__(self) -> None:
        self.kept: dict[str, dict[str, Any]] = {}
        self.imports: list[list[str]] = []
        self.writes = 0

    def __call__(self, method: str, target: str, body: bytes) -> Answer:
        place = target.partition("?")[0].removeprefix("/s/ops").removeprefix("/api/saved_objects/")
        if place == "_import":
            assert target.endswith("?overwrite=true")
            return self._import([json.loads(line) for line in body.splitlines() if line.startswith(b'{"')])
        if place == "_bulk_get":
            asked = [f"{one['type']}/{one['id']}" for one in json.loads(body)]
            missing: dict[str, Any] = {"error": {"statusCode": 404, "error": "Not Found"}}
            return 200, {"saved_objects": [self.kept.get(name, {**missing, "type": name, "id": ""}) for name in asked]}
        assert method == "DELETE"
        return (200, {}) if self.kept.pop(place, None) else (404, {"statusCode": 404})

    def _import(self, lines: list[dict[str, Any]]) -> Answer:
        self.imports.append([f"{one['type']}/{one['id']}" for one in lines])
        known = {*self.imports[-1], *self.kept}
        lost = [
            {"type": one["type"], "id": one["id"], "error": {"type": "missing_references"}}
            for one in lines
            if not {f"{reference['type']}/{reference['id']}" for reference in one["references"]} <= known
        ]
        if lost:
            return 200, {"success": False, "errors": lost}
        for one in lines:
            self.save(f"{one['type']}/{one['id']}", one, migrated="8.0.0")
        return 200, {"success": True, "successCount": len(lines)}

    def save(self, name: str, item: dict[str, Any], **attributes: Any) -> None:
        self.writes += 1
        self.kept[name] = {**item, "attributes": {**item["attributes"], **attributes}, "version": f"W{self.writes}"}


class Product:
    """An engine with alerting, or a Kibana, that keeps in words of its own what it is given."""

    def __init__(self, root: dict[str, Any], *, alerting: bool = True) -> None:
        self.root = root
        self.alerting = alerting
        self.kept: dict[str, dict[str, Any]] = {}

    def __call__(self, method: str, target: str, body: bytes) -> Answer:
        sent = json.loads(body) if body else None
        if target == "/":
            return 200, self.root
        if not self.alerting:
            return 400, {"error": f"no handler found for uri [{target}] and method [{method}]"}
        if target.endswith("/_search"):
            wanted = sent["query"]["term"]["monitor.name.keyword"]
            hits = [
                {"_id": key, "_source": {"monitor": one}} for key, one in self.kept.items() if one["name"] == wanted
            ]
            return 200, {"hits": {"hits": hits}}
        name = target.rpartition("/")[2]
        if method == "GET":
            if name not in self.kept:
                return 404, {"found": False}
            return 200, {"watch": self.kept[name]} if "_watcher" in target else self.kept[name]
        if method == "DELETE":
            return (200, {}) if self.kept.pop(name, None) else (404, {})
        if name == "monitors":
            name = f"made{len(self.kept)}"
        self.kept[name] = {**self.kept.get(name, {}), **sent, "last_update_time": 1}
        return 200, {"_id": name}


class Fronted:
    """A real engine, with alerting in front of it."""

    def __init__(self, url: str, alerting: Product) -> None:
        self.url = url
        self.alerting = alerting
        self.pool = urllib3.PoolManager()

    def __call__(self, method: str, target: str, body: bytes) -> Answer:
        if target.startswith(("/_plugins/_alerting", "/_watcher")):
            return self.alerting(method, target, body)
        kind = "application/x-ndjson" if "/_bulk" in target else "application/json"
        # Elasticsearch's client asks for a version of its own media type, and takes no other.
        answer = self.pool.request(method, self.url + target, body=body or None, headers={"content-type": kind})
        return answer.status, answer.data
