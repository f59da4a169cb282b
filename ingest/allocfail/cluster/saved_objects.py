"""Makes the saved objects of Kibana and OpenSearch Dashboards, as NDJSON, from ``saved_searches/*.yml``.

Data views, saved searches, the visualizations of the dashboards, and those. What comes out holds no attribute that
OpenSearch Dashboards does not map, since one that it does not fails the import, and says versions that Kibana 7.10 and
OpenSearch Dashboards 1 already know; newer servers migrate from there.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from allocfail.cluster import templates
from allocfail.cluster.page_fields import NOT_AGGREGATABLE, descriptor, page_type
from allocfail.cluster.panels import visualization
from allocfail.content import content_path
from allocfail.decoder.links import article_url
from allocfail.errors import InputError
from allocfail.urls import DEFAULT_URL, base_url

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

__all__ = [
    "ARTICLES",
    "DIALECTS",
    "OVERVIEW",
    "Dialect",
    "build",
    "former_columns",
    "generate",
    "read_source",
    "titles",
    "to_ndjson",
]

_FOLDER = "saved_searches"
#: Id of the dashboard that a person opens first.
OVERVIEW = "allocfail-failures"
#: The data view of the articles.
ARTICLES = "allocfail-kb"
#: Id of the data view of events.
_EVENTS = "allocfail-events"
#: The name by which a search's body refers to its data view; both products look for this one.
_REFERENCE = "kibanaSavedObjectMeta.searchSourceJSON.index"
#: Fields that a document has without any mapping: type on the page, whether it can be searched and counted by.
_META_FIELDS = {
    "_id": ("string", True),
    "_index": ("string", True),
    "_score": ("number", False),
    "_source": ("_source", False),
    "_type": ("string", True),
}
#: Files of fields that other people's indices have too, and may have as text. For a newest value in a table a page asks
#: for a column's values where the list says that there are any, and the search then fails on such an index.
_SHARED = frozenset({"ecs.yml"})


class Dialect:
    """What a product takes. Kibana; another product overrides what it does differently."""

    engine = "elasticsearch"
    file = "kibana.ndjson"

    #: The newest migrations of Kibana 7.10, from which OpenSearch Dashboards was forked.
    versions: Mapping[str, str] = {
        "index-pattern": "7.6.0",
        "search": "7.9.3",
        "visualization": "7.10.0",
        "dashboard": "7.9.3",
    }


class OpenSearchDashboards(Dialect):
    """OpenSearch Dashboards takes what Kibana 7.10 wrote; so far only the file's name differs."""

    engine = "opensearch"
    file = "opensearch-dashboards.ndjson"


DIALECTS: dict[str, Dialect] = {dialect.engine: dialect for dialect in (Dialect(), OpenSearchDashboards())}


@dataclass(frozen=True)
class _Maker:
    """Makes the objects of one product for one place."""

    dialect: Dialect
    kb_url: str
    """Where the articles are, as :func:`allocfail.urls.base_url` gives it."""
    title: str
    """Index patterns that the events are in, with commas between them."""

    def _object(
        self, kind: str, identifier: str, attributes: dict[str, Any], references: Sequence[tuple[str, str, str]] = ()
    ) -> dict[str, Any]:
        return {
            "type": kind,
            "id": identifier,
            "attributes": attributes,
            "references": [dict(zip(("name", "type", "id"), one, strict=True)) for one in references],
            "migrationVersion": {kind: self.dialect.versions[kind]},
        }

    def _filled(self, value: Any) -> Any:
        """Return a value with every ``@article@`` and ``@events@`` in it filled in."""
        if isinstance(value, str):
            return value.replace("@article@", article_url(self.kb_url, "{{value}}")).replace("@events@", self.title)
        if isinstance(value, list):
            return [self._filled(one) for one in value]
        if isinstance(value, dict):
            return {key: self._filled(one) for key, one in value.items()}
        return value

    def data_view(self, source: Mapping[str, Any]) -> dict[str, Any]:
        formats = {name: _format(self._filled(short)) for name, short in source["formats"].items()}
        timed = "time_field" in source
        attributes: dict[str, Any] = {
            "title": self.title if timed else ",".join(source["titles"]),
            "fields": _json(list(self._fields(source["fields"]))),
            "fieldFormatMap": _json(formats),
            "allowNoIndex": source["allow_no_index"],
        }
        if timed:
            attributes["timeFieldName"] = source["time_field"]
        if "hidden" in source:
            attributes["sourceFilters"] = _json([{"value": pattern} for pattern in source["hidden"]])
        return self._object("index-pattern", source["id"], attributes)

    def _fields(self, files: Iterable[str]) -> Iterator[dict[str, Any]]:
        """Yield a descriptor for every field that the mappings in ``files`` name, multi-fields included, by name."""
        found = [
            descriptor(
                name,
                kind,
                [] if name == "_score" else [name],
                searchable=usable,
                aggregatable=usable,
                columns=False,
            )
            for name, (kind, usable) in _META_FIELDS.items()
        ]
        for file in files:
            # The families of types: Elasticsearch tells a page no more, and OpenSearch gets no others.
            found += _mapped(templates.properties(file, templates.mapping_types()), shared=file in _SHARED)
        return iter(sorted(found, key=lambda one: str(one["name"])))

    def search(self, source: Mapping[str, Any]) -> dict[str, Any]:
        body = {
            "query": {"query": source["query"], "language": "kuery"},
            "filter": [],
            "highlightAll": True,
            "version": True,
            "indexRefName": _REFERENCE,
        }
        attributes = {
            "title": source["title"],
            "description": source["description"],
            "hits": 0,
            "columns": source["columns"],
            "sort": source.get("sort", [["@timestamp", "desc"]]),
            "version": 1,
            "kibanaSavedObjectMeta": {"searchSourceJSON": _json(body)},
        }
        view = source.get("data_view", _EVENTS)
        return self._object("search", source["id"], attributes, [(_REFERENCE, "index-pattern", view)])

    def panel(self, short: Mapping[str, Any], board: Mapping[str, Any], vega: Mapping[str, Any]) -> dict[str, Any]:
        made = visualization(self._filled(short), self._filled(vega))
        state = {"title": short["title"], "type": made.type, "params": made.params, "aggs": made.aggs}
        body: dict[str, Any] = {}
        if made.searches:
            body = {"query": {"query": board["query"], "language": "kuery"}, "filter": [], "indexRefName": _REFERENCE}
        attributes = {
            "title": short["title"],
            "description": short["description"],
            "visState": _json(state),
            "uiStateJSON": _json(made.ui),
            "version": 1,
            "kibanaSavedObjectMeta": {"searchSourceJSON": _json(body)},
        }
        view = [(_REFERENCE, "index-pattern", _EVENTS)] if made.searches else []
        return self._object("visualization", short["id"], attributes, view)

    def dashboard(self, source: Mapping[str, Any]) -> dict[str, Any]:
        panels, references = [], []
        for number, short in enumerate(source["panels"], 1):
            name = f"panel_{number - 1}"
            grid = dict(zip(("x", "y", "w", "h"), short["at"], strict=True))
            panels.append(
                {
                    "version": self.dialect.versions["dashboard"],
                    "gridData": {**grid, "i": str(number)},
                    "panelIndex": str(number),
                    "embeddableConfig": {},
                    "panelRefName": name,
                }
            )
            kind = "search" if "search" in short else "visualization"
            references.append((name, kind, short.get("search") or short["id"]))
        start, end = source["time"]
        attributes = {
            "title": source["title"],
            "hits": 0,
            "description": source["description"],
            "panelsJSON": _json(panels),
            "optionsJSON": _json({"useMargins": True, "hidePanelTitles": False}),
            "version": 1,
            "timeRestore": True,
            "timeFrom": start,
            "timeTo": end,
            "refreshInterval": {"pause": True, "value": 0},
            "kibanaSavedObjectMeta": {
                "searchSourceJSON": _json({"query": {"query": "", "language": "kuery"}, "filter": []})
            },
        }
        return self._object("dashboard", source["id"], attributes, references)


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def _mapped(
    properties: Mapping[str, Any], above: str = "", parent: str | None = None, *, shared: bool
) -> Iterator[dict[str, Any]]:
    """Yield a descriptor for every leaf of a mapping; what is kept and not searched has none."""
    for name, mapping in properties.items():
        dotted = above + name
        if "properties" in mapping:
            yield from _mapped(mapping["properties"], f"{dotted}.", shared=shared)
        mapped = mapping.get("type", "object")
        if mapped == "object":
            continue
        kind = str(page_type(mapped))
        yield descriptor(
            dotted,
            kind,
            [mapped],
            searchable=mapping.get("index", True),
            aggregatable=mapped not in NOT_AGGREGATABLE and mapping.get("doc_values", True),
            columns=not (shared and kind == "string"),
            parent=parent,
        )
        yield from _mapped(mapping.get("fields", {}), f"{dotted}.", dotted, shared=shared)


def _format(short: Any) -> dict[str, Any]:
    """Return a field's format from its short form: a link, colours, words for codes, or a name of a simple one."""
    if short == "plain":
        return {"id": "string", "params": {}}
    if short == "bytes":
        return {"id": "bytes", "params": {}}
    if "link" in short:
        params: dict[str, Any] = {"openLinkInCurrentTab": short.get("same_tab", False)}
        if "to" in short:
            params["urlTemplate"] = short["to"]
        if short["link"]:
            params["labelTemplate"] = short["link"]
        return {"id": "url", "params": params}
    if "colours" in short:
        colours = [
            {"range": "-Infinity:Infinity", "regex": f"^{value}$", "text": text, "background": background}
            for value, (text, background) in short["colours"].items()
        ]
        return {"id": "color", "params": {"fieldType": "string", "colors": colours}}
    entries = [
        {"key": str(key).lower() if isinstance(key, bool) else key, "value": value}
        for key, value in short["words"].items()
    ]
    # A boolean is true or false in a document, and 1 or 0 where it is counted by.
    entries += [
        {"key": str(int(key)), "value": value} for key, value in short["words"].items() if isinstance(key, bool)
    ]
    return {"id": "static_lookup", "params": {"lookupEntries": entries}}


def read_source(name: str) -> dict[str, Any]:
    """Return one of the YAML files that everything here is made from."""
    import yaml  # noqa: PLC0415 - only where objects are made

    loaded = yaml.safe_load(content_path(f"{_FOLDER}/{name}").read_text(encoding="utf-8"))
    if not isinstance(loaded, dict):
        raise TypeError(name)
    return loaded


def titles() -> list[str]:
    """Return the index patterns that events are looked for in unless told otherwise."""
    return list(read_source("data-view-events.yml")["titles"])


def former_columns() -> dict[str, list[list[str]]]:
    """Return, by id of a saved search, the columns that earlier versions shipped it with."""
    return {source["id"]: source.get("former_columns", []) for source in read_source("searches.yml")["searches"]}


def build(engine: str, *, kb_url: str | None = None, patterns: Sequence[str] | None = None) -> list[dict[str, Any]]:
    """Return the saved objects for the product that belongs to ``engine``, in the order in which they are imported.

    ``engine`` is ``elasticsearch`` (Kibana) or ``opensearch`` (OpenSearch Dashboards); ``kb_url`` is where the articles
    are served, ``patterns`` where events are, each None for the default. Raises :class:`InputError` for another engine.
    """
    dialect = DIALECTS.get(engine)
    if dialect is None:
        raise InputError(f"not an engine: {engine}; there are {', '.join(DIALECTS)}")
    maker = _Maker(dialect, base_url(kb_url), ",".join(titles() if patterns is None else patterns))
    vega = {name: read_source(f"vega/{name}.yml") for name in ("verdict", "article", "zones")}
    searches = read_source("searches.yml")["searches"]
    boards = [read_source("dashboard-failures.yml"), read_source("dashboard-failure.yml")]
    objects = [maker.data_view(read_source(f"data-view-{name}.yml")) for name in ("events", "articles")]
    objects += [maker.search(source) for source in searches]
    objects += [maker.panel(short, board, vega) for board in boards for short in board["panels"] if "id" in short]
    return objects + [maker.dashboard(board) for board in boards]


def to_ndjson(objects: list[dict[str, Any]]) -> str:
    """Return saved objects as a file's text, one a line."""
    return "".join(_json(item) + "\n" for item in objects)


def generate() -> dict[str, str]:
    """Return the generated files that are committed: their path below the project's root, and their text."""
    return {
        f"{_FOLDER}/generated/{dialect.file}": to_ndjson(build(engine, kb_url=DEFAULT_URL))
        for engine, dialect in DIALECTS.items()
    }
