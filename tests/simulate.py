"""The ingest pipelines on a real engine, and what Python makes of the same documents."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from allocfail.decoder import fill as enrich
from allocfail.decoder.document import Options, build
from allocfail.painless import pipelines

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from engines.harness import Engine

Document = dict[str, Any]

#: What a pipeline says where a text is Python's to take apart.
TANGLED = "tangled"
#: Of such a document: what follows from how much was read, not from what the header says.
MAY_DIFFER = (
    *("allocfail.complete", "allocfail.incomplete_reason", "allocfail.fingerprint.", "allocfail.verdict.", "rule."),
    *("allocfail.kb.", "error.id", "event.reason", "event.reference", "event.original", "allocfail.gfp."),
    *("@timestamp", "allocfail.time_source", "allocfail.further_events"),
)
#: But these are the header's.
MUST_AGREE = ("allocfail.fingerprint.header.", "allocfail.fingerprint.version", "allocfail.gfp.mask")


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
    return enrich.enrich(document) or document


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


def is_tangled(document: Document) -> bool:
    own = document.get("allocfail")
    return isinstance(own, dict) and own.get("incomplete_reason") == TANGLED


def invented(source: Document, got: Document) -> list[str]:
    """Return what a pipeline says of a tangled text that Python says otherwise, of whichever event it is."""
    found = enrich.source(source)
    if found is None:
        return ["an event"]
    there = dict(leaves(source))
    best: list[str] | None = None
    for dump in found[1]:
        wanted = dict(leaves(build(dump, Options())))
        wrong = [
            f"{path} python {wanted.get(path, '-')[:200]} pipeline {value[:200]}"
            for path, value in leaves(got)
            if value not in (wanted.get(path), there.get(path))
            and (path.startswith(MUST_AGREE) or not path.startswith(MAY_DIFFER))
        ]
        if best is None or len(wrong) < len(best):
            best = wrong
    return best or []


def check(engine: Engine, documents: Iterable[Document]) -> int:
    """Compare Python and the pipeline document by document; return how many were Python's to untangle."""
    documents = list(documents)
    tangled = 0
    for document, got in zip(documents, run(engine, documents), strict=True):
        wanted = python(document)
        if is_tangled(got) and not is_tangled(wanted):
            tangled += 1
            assert got["allocfail"]["complete"] is False
            wrong = invented(document, got)
        else:
            wrong = [] if comparable(wanted) == comparable(got) else difference(wanted, got)
        assert not wrong, "\n".join([*wrong, json.dumps(document)[:4000]])
    return tangled
