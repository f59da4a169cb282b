"""What the tests of everything that talks to a cluster share, a server that pretends to be one included."""

from __future__ import annotations

import json
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import TYPE_CHECKING, Any

from allocfail.cluster.client import Engine, path
from allocfail.cluster.errors import EngineError
from allocfail.cluster.wanted import Wanted

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from allocfail.cluster.steps import Change

ARTICLE = {
    "id": "one",
    "article": "one",
    "title": "One",
    "summary": "First",
    "priority": 1,
    "keywords": ["a"],
    "url": "http://127.0.0.1/one.html",
    "body": "text",
    "whole": "text",
}
PIPELINES: dict[str, dict[str, Any]] = {
    "allocfail": {
        "description": "Entry",
        "version": 1,
        "processors": [
            {"set": {"field": "through", "value": True}},
            {"pipeline": {"name": "allocfail-inner"}},
        ],
    },
    "allocfail-inner": {"description": "Inner", "version": 1, "processors": [{"set": {"field": "in", "value": 1}}]},
}
WANTED = Wanted(PIPELINES, [ARTICLE])


def remove_all(cluster: Engine) -> None:
    """Leave nothing of these tests behind; nothing here goes through the code that is tested."""
    for item in cluster.request("GET", "/_resolve/index/app-*,allocfail-*?expand_wildcards=all")["indices"]:
        cluster.request("DELETE", path(item["name"]))
    # A data stream of a test that failed may be there still, and cannot be removed from every engine of these tests.
    unset = {"index.default_pipeline": None, "index.final_pipeline": None}
    # OpenSearch's security plugin never answers a change of settings that no index is there for.
    for item in cluster.request("GET", "/_resolve/index/stream-*?expand_wildcards=all")["data_streams"]:
        cluster.request("PUT", path(item["name"], "_settings"), unset)
    for item in cluster.request("GET", "/_index_template")["index_templates"]:
        composed = item["index_template"].get("composed_of", [])
        kept = [name for name in composed if not name.startswith("allocfail-")]
        if kept != composed and not item["name"].startswith("allocfail-"):
            body = {
                key: value for key, value in item["index_template"].items() if not key.endswith(("_date", "_millis"))
            }
            body["template"] = {"settings": {"number_of_replicas": 0}}
            cluster.request("PUT", path("_index_template", item["name"]), {**body, "composed_of": kept})
    for kind in ("_index_template", "_component_template"):
        answer = cluster.request("GET", f"/{kind}")
        for item in next(iter(answer.values())):
            if item["name"].startswith(("allocfail-", "app-")):
                _remove_template(cluster, kind, item)
    for name in cluster.request("GET", "/_ingest/pipeline", missing_ok=True) or {}:
        if name.startswith(("allocfail", "app-", "logs@")):
            cluster.request("DELETE", path("_ingest", "pipeline", name))


def _remove_template(cluster: Engine, kind: str, item: dict[str, Any]) -> None:
    """Remove a template; a data stream that it keeps, and that this engine cannot remove, gets a bare one instead."""
    target = path(kind, item["name"])
    try:
        cluster.request("DELETE", target)
    except EngineError as error:
        if error.status != 400 or cluster.product == "opensearch" or kind != "_index_template":
            raise
        body = item["index_template"]
        bare = {key: body[key] for key in ("index_patterns", "data_stream")} | {"priority": body["priority"] + 1}
        cluster.request("PUT", path(kind, f"left-{body['index_patterns'][0]}"), bare)
        cluster.request("DELETE", target)


def actions(changes: Iterable[Change]) -> dict[str, str]:
    return {f"{change.kind} {change.id}": change.action for change in changes}


def done(changes: Iterable[Change]) -> list[Change]:
    return [change for change in changes if change.action not in {"unchanged", "missing", "taken"}]


def put(cluster: Engine, index: str, document: dict[str, Any]) -> dict[str, Any]:
    answer = cluster.request("POST", f"{path(index, '_doc')}?refresh=true", document)
    source: dict[str, Any] = cluster.request("GET", path(index, "_doc", answer["_id"]))["_source"]
    return source


def add(cluster: Engine, name: str) -> None:
    cluster.request("POST", f"{path(name, '_doc')}?refresh=true", {"@timestamp": "2026-01-01T00:00:00Z"})


ROOTS = {
    "elasticsearch": {"version": {"number": "9.4.3", "build_flavor": "default"}, "tagline": "You Know, for Search"},
    "opensearch": {"version": {"number": "3.8.0", "distribution": "opensearch"}},
}

Answer = tuple[int, Any]


@contextmanager
def server(answer: Callable[[str, str, bytes], Answer], seen: list[dict[str, str]] | None = None) -> Iterator[str]:
    """Serve ``answer(method, target, body)`` and yield the URL."""

    class Handler(BaseHTTPRequestHandler):
        wbufsize = -1  # head and body in one packet: nobody waits for the other half

        def handle_one(self) -> None:
            body = self.rfile.read(int(self.headers.get("content-length", 0)))
            if seen is not None:
                seen.append({name.lower(): value for name, value in self.headers.items()})
            status, content = answer(self.command, self.path, body)
            data = content if isinstance(content, bytes) else json.dumps(content).encode()
            self.send_response(status)
            self.send_header("content-type", "application/json")
            self.send_header("x-elastic-product", "Elasticsearch")
            self.send_header("content-length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        do_GET = do_PUT = do_POST = do_DELETE = handle_one  # noqa: N815 - http.server's names

        def log_message(self, *_: object) -> None:
            """Be quiet."""

    httpd = HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=httpd.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield f"http://127.0.0.1:{httpd.server_port}"
    finally:
        httpd.shutdown()
        thread.join()
        httpd.server_close()
