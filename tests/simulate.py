"""The ingest pipelines on a real engine, and what Python makes of the same documents."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from allocfail.decoder.enrich import enrich
from allocfail.painless import pipelines

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from engines.harness import Engine

Document = dict[str, Any]


def put(engine: Engine) -> None:
    """Bring the pipelines to an engine."""
    for name, body in pipelines.build(engine.product).items():
        status, answer = engine.request("PUT", f"/_ingest/pipeline/{name}", body)
        assert status == 200, (name, str(answer)[:2000])


def run(engine: Engine, documents: Sequence[Document], *, batch: int = 100) -> Iterator[Document]:
    """Send documents through the pipeline without indexing them."""
    for start in range(0, len(documents), batch):
        docs = [{"_index": "simulated", "_id": "1", "_source": d} for d in documents[start : start + batch]]
        status, answer = engine.request("POST", "/_ingest/pipeline/allocfail/_simulate", {"docs": docs})
        assert status == 200, str(answer)[:2000]
        assert isinstance(answer, dict)
        for result in answer["docs"]:
            assert "doc" in result, str(result)[:2000]
            yield result["doc"]["_source"]


def python(document: Document) -> Document:
    """Return what Python makes of a document."""
    return enrich(document) or document


def comparable(document: Document) -> str:
    """Return a document as canonical JSON; the moment of ingest is nobody's to compare."""
    own = document.get("allocfail")
    if isinstance(own, dict) and own.get("time_source") == "ingest":
        document = {**document, "@timestamp": "now"}
    return json.dumps(document, sort_keys=True, separators=(",", ":"))


def leaves(value: Any, path: str = "") -> Iterator[tuple[str, str]]:
    """Yield dotted paths and what stands there; lists are whole, but for what has names in it."""
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from leaves(inner, f"{path}{key}.")
    else:
        yield path, json.dumps(value, sort_keys=True)


def difference(wanted: Document, got: Document) -> list[str]:
    """Return the fields that differ, a line each."""
    one, two = dict(leaves(wanted)), dict(leaves(got))
    return [
        f"{path} python {one.get(path, '-')[:200]} pipeline {two.get(path, '-')[:200]}"
        for path in sorted(one.keys() | two.keys())
        if one.get(path) != two.get(path)
    ]


def check(engine: Engine, documents: Iterable[Document]) -> None:
    """Compare Python and the pipeline document by document."""
    documents = list(documents)
    for document, got in zip(documents, run(engine, documents), strict=True):
        wanted = python(document)
        if comparable(wanted) != comparable(got):
            pytest.fail("\n".join([*difference(wanted, got), json.dumps(document)[:4000]]), pytrace=False)
