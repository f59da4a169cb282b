"""A cluster in memory behind HTTP, for what install, wiring and status decide: it stores objects and answers as either
product does, and knows nothing of documents but the pipeline's own, which Python stands in for.
"""

from __future__ import annotations

import json
from contextlib import contextmanager
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

from allocfail.cluster.engine import connect, connection
from allocfail.decoder.enrich import enrich
from clusters import ROOTS, server

if TYPE_CHECKING:
    from collections.abc import Iterator

    from allocfail.cluster.engine import Engine
    from clusters import Answer

__all__ = ["Fake", "fake"]


def _missing(name: str) -> Answer:
    return 404, {"error": {"type": "resource_not_found_exception", "reason": f"no such {name}"}, "status": 404}


def _flat(settings: dict[str, Any], path: str = "") -> dict[str, Any]:
    out = {}
    for key, value in settings.items():
        name = f"{path}.{key}" if path else key
        out.update(_flat(value, name) if isinstance(value, dict) else {name: value})
    return out


class Fake:
    """The objects of a cluster, and every request that was made of it."""

    def __init__(self, product: str) -> None:
        """Begin with an empty cluster."""
        self.product = product
        self.pipelines: dict[str, Any] = {}
        self.components: dict[str, Any] = {}
        self.templates: dict[str, Any] = {}
        self.indices: dict[str, dict[str, Any]] = {}
        self.documents: dict[str, dict[str, Any]] = {}
        self.written: list[str] = []
        """Every request that changes something: method and path."""

    def index(self, name: str, settings: dict[str, Any] | None = None) -> None:
        """Make an index."""
        self.indices[name] = {"settings": _flat(settings or {}), "mappings": {}}
        self.documents[name] = {}

    def __call__(self, method: str, target: str, body: bytes) -> Answer:
        """Answer one request."""
        where, _, _ = target.partition("?")
        parts = [unquote(part) for part in where.strip("/").split("/") if part]
        content = json.loads(body) if body and parts[-1:] != ["_bulk"] else None
        if method in {"PUT", "DELETE"} or parts[-1:] == ["_bulk"]:
            self.written.append(f"{method} {where}")
        if not parts:
            return 200, ROOTS[self.product]
        if parts[-1] == "_bulk":
            return self._bulk(body)
        if parts[-1] in {"_simulate", "_refresh"}:
            return self._simulate(content) if parts[:2] == ["_ingest", "pipeline"] else (200, {})
        if parts[:2] == ["_ingest", "pipeline"]:
            return self._object(method, self.pipelines, parts[2:], content, dict)
        if parts[0] == "_component_template":
            return self._object(method, self.components, parts[1:], content, self._listed("component_template"))
        if parts[0] == "_index_template":
            return self._object(method, self.templates, parts[1:], content, self._listed("index_template"))
        if parts[0] == "_resolve":
            names = [{"name": name} for name in self.indices if fnmatchcase(name, parts[2])]
            return 200, {"indices": names, "aliases": [], "data_streams": []}
        if parts[0] in {"_nodes", "_template"}:
            return 200, {}
        if parts[0] == "_all":
            return 200, {name: {"settings": one["settings"]} for name, one in self.indices.items() if one["settings"]}
        return self._index(method, parts, content)

    def _listed(self, kind: str) -> Any:
        return lambda found: {f"{kind}s": [{"name": name, kind: body} for name, body in found.items()]}

    def _object(self, method: str, store: dict[str, Any], names: list[str], content: Any, shape: Any) -> Answer:
        if method == "PUT":
            store[names[0]] = content
            return 200, {"acknowledged": True}
        found = {name: body for name, body in store.items() if not names or fnmatchcase(name, names[0])}
        if names and not found:
            return _missing(names[0])
        if method == "DELETE":
            for name in found:
                del store[name]
            return 200, {"acknowledged": True}
        return 200, shape(found)

    def _index(self, method: str, parts: list[str], content: Any) -> Answer:
        name, *rest = parts
        if method == "PUT" and not rest:
            self.index(name, (content or {}).get("settings"))
            self.indices[name]["mappings"] = (content or {}).get("mappings", {})
            return 200, {"acknowledged": True}
        if name not in self.indices:
            return _missing(name)
        there = self.indices[name]
        if method == "DELETE":
            del self.indices[name]
        elif method == "PUT" and rest == ["_settings"]:
            for key, value in _flat(content).items():
                there["settings"].pop(key, None)
                if value is not None:
                    there["settings"][key] = value
        elif method == "PUT" and rest == ["_mapping"]:
            there["mappings"].setdefault("properties", {}).update(content["properties"])
        elif rest == ["_search"]:
            hits = [{"_id": key, "_source": value} for key, value in self.documents[name].items()]
            return 200, {"hits": {"total": {"value": len(hits)}, "hits": hits}}
        return 200, {name: there}

    def _bulk(self, body: bytes) -> Answer:
        lines = [json.loads(line) for line in body.splitlines() if line.strip()]
        items = []
        while lines:
            [(action, meta)] = lines.pop(0).items()
            if action == "delete":
                self.documents[meta["_index"]].pop(meta["_id"], None)
            else:
                self.documents.setdefault(meta["_index"], {})[meta["_id"]] = lines.pop(0)
            items.append({action: {**meta, "status": 200}})
        return 200, {"errors": False, "items": items}

    def _simulate(self, content: Any) -> Answer:
        sources = [document["_source"] for document in content["docs"]]
        return 200, {"docs": [{"doc": {"_source": enrich(source) or source}} for source in sources]}


@contextmanager
def fake(product: str) -> Iterator[tuple[Fake, Engine]]:
    """Run an empty cluster of a product, and connect to it."""
    cluster = Fake(product)
    with server(cluster) as url, connect(connection(url)) as engine:
        yield cluster, engine
