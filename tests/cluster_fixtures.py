"""Real clusters, without anything of allocfail's in them."""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING

import pytest

from allocfail.cluster.client import Engine, connect, path
from allocfail.cluster.connection import connection
from clusters import add, remove_all

if TYPE_CHECKING:
    from collections.abc import Iterator

    from engines.harness import Engine as Server


@pytest.fixture
def cluster(engine: Server) -> Iterator[Engine]:
    """Return an engine without anything of allocfail's; what other tests had put there comes back afterwards."""
    with connect(connection(engine.url)) as cluster:
        kept = cluster.request("GET", "/_ingest/pipeline/allocfail*", missing_ok=True) or {}
        remove_all(cluster)
        yield cluster
        remove_all(cluster)
        for name, body in kept.items():
            bare = {key: value for key, value in body.items() if not key.endswith(("_date", "_millis"))}
            cluster.request("PUT", path("_ingest", "pipeline", name), bare)


@pytest.fixture
def stream(cluster: Engine) -> Iterator[str]:
    """Return a data stream with a template of the same name.

    The Elasticsearch of these tests makes data streams but comes without the API to remove them: the name is new each
    time, and there it stays behind.
    """
    name = f"stream-{uuid.uuid4().hex[:12]}"
    template = {
        "index_patterns": [name],
        "priority": 500,
        "data_stream": {},
        "template": {"settings": {"number_of_replicas": 0}},
    }
    cluster.request("PUT", path("_index_template", name), template)
    add(cluster, name)
    yield name
    if cluster.product == "opensearch":
        cluster.request("DELETE", path("_data_stream", name))
        cluster.request("DELETE", path("_index_template", name))
