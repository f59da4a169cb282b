"""Documents in, the same documents out, enriched where they hold an event: what the ingest pipelines do, in Python."""

from __future__ import annotations

from typing import Any

from allocfail.decoder.options import Options
from allocfail.decoder.steps import STEPS, open_sources

__all__ = ["enrich"]


def enrich(document: dict[str, Any], options: Options | None = None) -> dict[str, Any] | None:
    """Return a document with what its first event says filled in; None where it holds no event, or holds it already.

    What is there stays: nothing is overwritten, and a field whose parent is no object is left out.
    """
    options = options or Options()
    made = dict(document)
    work = open_sources(made, options)
    for step in STEPS:
        if work is None:
            return None
        work = step(made, work, options)
    return made
