"""Makes the saved objects of Kibana and OpenSearch Dashboards, as NDJSON, from ``saved_searches/*.yml``.

A source is either a data view (``type: index-pattern``) or a saved search (``type: search``). What comes out holds no
attribute that OpenSearch Dashboards does not map, since one that it does not fails the import of a search, and says
versions that Kibana 7.10 and OpenSearch Dashboards 1 already know; newer servers migrate from there.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from allocfail.content import content_path
from allocfail.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["DIALECTS", "Dialect", "build", "generate", "to_ndjson"]

_FOLDER = "saved_searches"
#: The name by which a search's body refers to its data view; both products look for this one.
_REFERENCE = "kibanaSavedObjectMeta.searchSourceJSON.index"


class Dialect:
    """What a product takes. Kibana; another product overrides what it does differently."""

    engine = "elasticsearch"
    file = "kibana.ndjson"

    #: The newest migrations of Kibana 7.10, from which OpenSearch Dashboards was forked.
    versions: Mapping[str, str] = {"index-pattern": "7.6.0", "search": "7.9.3"}

    def data_view(self, source: Mapping[str, Any]) -> dict[str, Any]:
        """Return a data view's attributes; the product fills the list of fields when it is first opened."""
        links = {field: {"id": "url", "params": {"openLinkInCurrentTab": False}} for field in source["links"]}
        return {
            "title": ",".join(source["titles"]),
            "timeFieldName": source["time_field"],
            "fields": "[]",
            "fieldFormatMap": _json(links),
        }

    def search(self, source: Mapping[str, Any]) -> dict[str, Any]:
        """Return a saved search's attributes."""
        body = {
            "query": {"query": source["query"], "language": "kuery"},
            "filter": [],
            "highlightAll": True,
            "version": True,
            "indexRefName": _REFERENCE,
        }
        return {
            "title": source["title"],
            "description": source["description"],
            "hits": 0,
            "columns": source["columns"],
            "sort": source["sort"],
            "version": 1,
            "kibanaSavedObjectMeta": {"searchSourceJSON": _json(body)},
        }


class OpenSearchDashboards(Dialect):
    """OpenSearch Dashboards takes what Kibana 7.10 wrote; so far only the file's name differs."""

    engine = "opensearch"
    file = "opensearch-dashboards.ndjson"


DIALECTS: dict[str, Dialect] = {dialect.engine: dialect for dialect in (Dialect(), OpenSearchDashboards())}


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def _sources() -> list[dict[str, Any]]:
    """Return the sources, each data view before the searches that refer to it."""
    import yaml  # noqa: PLC0415 - only the generator reads YAML

    found = [yaml.safe_load(path.read_text(encoding="utf-8")) for path in content_path(_FOLDER).glob("*.yml")]
    return sorted(found, key=lambda source: (source["type"] != "index-pattern", source["id"]))


def build(engine: str) -> list[dict[str, Any]]:
    """Return the saved objects for the product that belongs to ``engine``, in the order in which they are imported.

    ``engine`` is ``elasticsearch`` (Kibana) or ``opensearch`` (OpenSearch Dashboards). Raises :class:`InputError` for
    another one.
    """
    dialect = DIALECTS.get(engine)
    if dialect is None:
        raise InputError(f"not an engine: {engine}; there are {', '.join(DIALECTS)}")
    objects = []
    for source in _sources():
        kind = source["type"]
        references = []
        if kind == "search":
            references.append({"name": _REFERENCE, "type": "index-pattern", "id": source["data_view"]})
        objects.append(
            {
                "type": kind,
                "id": source["id"],
                "attributes": dialect.search(source) if kind == "search" else dialect.data_view(source),
                "references": references,
                "migrationVersion": {kind: dialect.versions[kind]},
            }
        )
    return objects


def to_ndjson(objects: list[dict[str, Any]]) -> str:
    """Return saved objects as a file's text, one a line."""
    return "".join(_json(item) + "\n" for item in objects)


def generate() -> dict[str, str]:
    """Return the generated files that are committed: their path below the project's root, and their text."""
    return {f"{_FOLDER}/generated/{dialect.file}": to_ndjson(build(engine)) for engine, dialect in DIALECTS.items()}
