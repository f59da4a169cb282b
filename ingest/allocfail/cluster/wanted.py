"""What a cluster is to hold, as this release makes it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

__all__ = ["Wanted", "wanted_content"]

#: What of an event is not written: the text it was read from.
_READ = "message"
#: What the pipelines make of a document that a processor failed on (``pipelines/on-failure.yml``).
_FAILED = {
    "allocfail": {"error": "Processor 'script' with tag 'allocfail-read' failed with message 'runtime error'"},
    "error": {"message": "Processor 'script' with tag 'allocfail-read' failed with message 'runtime error'"},
    "event": {"kind": "pipeline_error"},
    "tags": ["allocfail-pipeline-error"],
}


@dataclass(frozen=True)
class Wanted:
    """What a cluster is to hold."""

    pipelines: Mapping[str, Mapping[str, Any]]
    """Bodies by id, as :func:`allocfail.painless.pipelines.build` makes them."""
    articles: Sequence[Mapping[str, Any]] = ()
    """Documents of the knowledge base, each with an ``id``."""
    probes: Sequence[Mapping[str, Any]] = ()
    """Documents that hold an event of each kind, as a shipper sends them."""
    events: Sequence[Mapping[str, Any]] = ()
    """The same as pipelines that write every field make them, and what a failure makes of a document.

    Between them they have every field that a document may get.
    """
    kb_url: str | None = None
    """Where links to articles lead, to be remembered; None where nobody has said."""
    only: tuple[str, ...] = ()
    """The top-level fields that are written; empty: all."""

    def written(self, only: tuple[str, ...] | None = None) -> list[Mapping[str, Any]]:
        """Return the events with the fields of ``only`` alone, and their text; None stands for this object's own."""
        fields = self.only if only is None else only
        if not fields:
            return list(self.events)
        return [{name: part for name, part in event.items() if name in (_READ, *fields)} for event in self.events]


def wanted_content(product: str, kb_url: str | None = None, only: tuple[str, ...] = ()) -> Wanted:
    """Return what is installed into a cluster of ``product``.

    ``kb_url`` is where the articles can be read, the default address where it is None; ``only`` are the top-level
    fields that are written, all where it is empty. Raises :class:`allocfail.errors.InputError` for a bad address.
    """
    from allocfail.articles import articles as kb  # noqa: PLC0415 - heavy, and for the commands that install alone
    from allocfail.cluster import templates  # noqa: PLC0415
    from allocfail.decoder.enrich import enrich  # noqa: PLC0415
    from allocfail.decoder.options import Options  # noqa: PLC0415
    from allocfail.painless import pipelines  # noqa: PLC0415
    from allocfail.urls import DEFAULT_URL  # noqa: PLC0415

    base = kb_url or DEFAULT_URL
    probes = templates.probes()
    options = Options(kb_url=base)
    made = [enrich(dict(probe), options) for probe in probes]
    # Where a shipper has put its own host, the line's goes to another field.
    elsewhere = enrich({**probes[0], "host": {"name": "shipper"}}, options) or {}
    made.append({name: value for name, value in elsewhere.items() if name != "host"})
    return Wanted(
        pipelines.build(product, kb_url=base, only=only),
        [document for article in kb.load() for document in kb.documents(article, base)],
        probes,
        [*(event for event in made if event is not None), _FAILED],
        kb_url,
        only,
    )
