"""Elastic's integration package: what Fleet installs, after ``package-spec``.

One logs data stream: its pipelines, fields and agent inputs; dashboards and searches; pipeline tests as
``elastic-package`` runs them. Everything is made of what ``install`` puts into a cluster.
"""

from __future__ import annotations

import copy
import json
from typing import TYPE_CHECKING, Any

import yaml

from allocfail.build import shippers
from allocfail.cluster import saved_objects, templates
from allocfail.content import content_path
from allocfail.packages.parts import ICON, changes, examples, introduction, json_text
from allocfail.painless import pipelines
from allocfail.urls import base_url

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

__all__ = ["DATASET", "build"]

#: The form that package-spec's validator checks it after. From 3.0.0 on it allows Lens panels alone; those of the
#: dashboards here are the ones that Kibana 7.10 to 9 all draw.
_SPEC = "2.13.0"
_VALIDATION = """\
errors:
  exclude_checks:
    # Tables of events are saved searches, which a dashboard holds by reference: Kibana 8.13 takes none by value.
    - SVR00004
"""
#: From 8.13 on an integration's data stream gets the ECS mappings that Elasticsearch itself has.
_KIBANA = "^8.13.0 || ^9.0.0"
#: The release of ECS whose types the fields have (``pipelines/templates/ecs.yml``).
_ECS = "git@v9.0.0"
DATASET = "allocfail.event"
_STREAM = "data_stream/event"
_EVENTS = "allocfail-events"
#: The release whose form of a dashboard holds panels by value.
_BY_VALUE = "8.1.0"
_SOURCE = "kibanaSavedObjectMeta.searchSourceJSON.index"


def build(version: str, *, home: str, kb_url: str | None = None) -> dict[str, str | bytes]:
    """Return the package's files by their path in it.

    ``version`` is the package's, ``home`` where the project is published (the changelog has to link to a place), and
    ``kb_url`` where the articles are served. Raises :class:`allocfail.errors.InputError` for an address that is none.
    """
    address = base_url(kb_url)
    files: dict[str, str | bytes] = {
        "manifest.yml": _yaml(_manifest(version)),
        "changelog.yml": _yaml(_changelog(version, home)),
        "validation.yml": _VALIDATION,
        "LICENSE.txt": content_path("LICENSE").read_bytes(),
        "docs/README.md": _readme(address, fields=False),
        "_dev/build/docs/README.md": _readme(address, fields=True),
        "_dev/build/build.yml": _yaml({"dependencies": {"ecs": {"reference": _ECS}}}),
        "img/allocfail-icon.svg": ICON,
        f"{_STREAM}/manifest.yml": _yaml(_data_stream()),
        f"{_STREAM}/fields/base-fields.yml": _yaml(_base_fields()),
        f"{_STREAM}/fields/ecs.yml": _yaml(list(_ecs_fields())),
        f"{_STREAM}/fields/fields.yml": _yaml(_own_fields()),
        f"{_STREAM}/agent/stream/filestream.yml.hbs": _agent("filestream"),
        f"{_STREAM}/agent/stream/journald.yml.hbs": _agent("journald"),
    }
    for name in ("dashboard-failures", "dashboard-failure"):
        files[f"img/allocfail-{name}.png"] = content_path(f"docs/images/{name}.png").read_bytes()
    for name, body in _pipelines(address).items():
        files[f"{_STREAM}/elasticsearch/ingest_pipeline/{name}.json"] = json_text(body)
    files |= _kibana(address)
    files |= _tests(address)
    return files


def _yaml(value: Any) -> str:
    return yaml.safe_dump(value, sort_keys=False, allow_unicode=True, width=120)


def _manifest(version: str) -> dict[str, Any]:
    screenshots = [
        {"src": f"/img/allocfail-{name}.png", "title": title, "size": size, "type": "image/png"}
        for name, title, size in (
            ("dashboard-failures", "Kernel allocation failures", "1440x2208"),
            ("dashboard-failure", "One kernel allocation failure", "1440x1732"),
        )
    ]
    icon = {"src": "/img/allocfail-icon.svg", "title": "allocfail", "size": "32x32", "type": "image/svg+xml"}
    return {
        "format_version": _SPEC,
        "name": "allocfail",
        "title": "Linux memory-allocation failures",
        "version": version,
        "source": {"license": "Apache-2.0"},
        "description": "Page allocation failures, stalls and OOM kills of the Linux kernel, decoded and grouped.",
        "type": "integration",
        "categories": ["observability", "os_system"],
        "conditions": {"kibana": {"version": _KIBANA}, "elastic": {"subscription": "basic"}},
        "screenshots": screenshots,
        "icons": [icon],
        "policy_templates": [
            {
                "name": "kernel",
                "title": "Linux kernel logs",
                "description": "Collect memory-allocation failures from the kernel's log.",
                "inputs": [
                    {
                        "type": "journald",
                        "title": "From the journal",
                        "description": "Kernel messages of systemd's journal",
                    },
                    {
                        "type": "filestream",
                        "title": "From files",
                        "description": "Kernel messages that a syslog daemon wrote to files",
                    },
                ],
            }
        ],
        "owner": {"github": "allocfail", "type": "community"},
    }


def _changelog(version: str, home: str) -> list[dict[str, Any]]:
    kinds = {"Fix": "bugfix", "Remove": "breaking-change"}
    found = [
        {
            "version": release,
            "changes": [
                {
                    "description": entry,
                    "type": next((kind for word, kind in kinds.items() if entry.startswith(word)), "enhancement"),
                    "link": home,
                }
                for entry in entries
            ],
        }
        for release, entries in changes()
    ]
    if not found or found[0]["version"] != version:
        entry = {"description": f"What {version} brings stands in its changelog.", "type": "enhancement", "link": home}
        found.insert(0, {"version": version, "changes": [entry]})
    return found


def _readme(kb_url: str, *, fields: bool) -> str:
    """Return the page that Fleet shows; with ``fields``, the template from which ``elastic-package`` makes it."""
    listed = '{{event "event"}}\n\n{{fields "event"}}\n' if fields else _example(kb_url) + "\n" + _table()
    return f"""# Linux memory-allocation failures

{introduction()}

## What it collects

Kernel messages, from the journal or from files that a syslog daemon writes. The agent joins the lines of a dump into
one document, and sends on the documents that hold an event. Everything else stays with the integrations that collect
the system's logs; switch "Only events" off to send it too.

The pipeline decodes a document that holds an event, and leaves any other as it is. It never refuses a document: what
fails is marked with the tag `allocfail-pipeline-error`.

## What to look at

Open the dashboard *Kernel allocation failures*. Each group opens *One kernel allocation failure*: what failed, whether
anything could have been done, and the article that applies.

## Requirements

Elasticsearch and Kibana 8.13 or later. Scripts in ingest pipelines have to be allowed (`script.allowed_contexts`).

## Data stream: event

{listed}"""


def _example(kb_url: str) -> str:
    _, enriched = next(examples(kb_url))
    return f"An example of an event:\n\n```json\n{json_text(enriched)}```\n"


def _table() -> str:
    rows = [
        f"| {name} | {mapping['type']} |"
        for file in ("allocfail.yml", "ecs.yml")
        for name, mapping in sorted(_leaves(templates.properties(file)))
    ]
    return "\n".join(["| Field | Type |", "|---|---|", *rows]) + "\n"


def _leaves(properties: Mapping[str, Any], above: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    for name, mapping in properties.items():
        if mapping.get("type") not in (None, "object") or mapping.get("enabled") is False:
            yield above + name, mapping
        if "properties" in mapping:
            yield from _leaves(mapping["properties"], f"{above}{name}.")


def _field(name: str, mapping: Mapping[str, Any]) -> dict[str, Any]:
    """Return a field as package-spec writes the mapping."""
    kept = ("ignore_above", "index", "doc_values", "enabled", "ignore_malformed", "dynamic")
    field: dict[str, Any] = {"name": name, "type": mapping["type"]}
    field |= {key: mapping[key] for key in kept if key in mapping}
    if "fields" in mapping:
        field["multi_fields"] = [_field(key, value) for key, value in mapping["fields"].items()]
    return field


def _own_fields() -> list[dict[str, Any]]:
    (root, mapping), *_ = templates.properties("allocfail.yml").items()
    fields = [_field(name, found) for name, found in _leaves(mapping["properties"])]
    return [{"name": root, "type": "group", "description": "What the decoder says of an event.", "fields": fields}]


def _ecs_fields() -> Iterator[dict[str, Any]]:
    """Yield ECS fields by reference, each with its type too, so that Fleet takes the package without a build."""
    for name, mapping in sorted(_leaves(templates.properties("ecs.yml"))):
        if name == "@timestamp":
            continue
        yield {"external": "ecs", **_field(name, mapping)}


def _base_fields() -> list[dict[str, Any]]:
    constant = [("type", "logs"), ("dataset", DATASET), ("namespace", None)]
    fields = [
        {"name": f"data_stream.{name}", "external": "ecs", "type": "constant_keyword"}
        | ({"value": value} if value else {})
        for name, value in constant
    ]
    return [*fields, {"name": "@timestamp", "external": "ecs", "type": "date"}]


def _data_stream() -> dict[str, Any]:
    common = [
        {
            "name": "events_only",
            "type": "bool",
            "title": "Only events",
            "description": "Send only documents that hold an event.",
            "required": True,
            "show_user": True,
            "default": True,
        },
        {
            "name": "tags",
            "type": "text",
            "title": "Tags",
            "multi": True,
            "required": True,
            "show_user": False,
            "default": ["allocfail"],
        },
        {
            "name": "processors",
            "type": "yaml",
            "title": "Processors",
            "description": "Processors that the agent runs before it sends a document.",
            "multi": False,
            "required": False,
            "show_user": False,
        },
    ]
    paths = {
        "name": "paths",
        "type": "text",
        "title": "Paths",
        "description": "Files that hold kernel lines.",
        "multi": True,
        "required": True,
        "show_user": True,
        "default": ["/var/log/kern.log*", "/var/log/messages*"],
    }
    return {
        "title": "Memory-allocation failures",
        "type": "logs",
        "streams": [
            {
                "input": "journald",
                "template_path": "journald.yml.hbs",
                "title": "Kernel messages of the journal",
                "description": "Collect memory-allocation failures from systemd's journal.",
                "vars": common,
            },
            {
                "input": "filestream",
                "template_path": "filestream.yml.hbs",
                "title": "Kernel messages of files",
                "description": "Collect memory-allocation failures from the files of a syslog daemon.",
                "enabled": False,
                "vars": [paths, *copy.deepcopy(common)],
            },
        ],
        "elasticsearch": {
            "index_template": {
                "settings": {"index": {"codec": "best_compression"}},
                "mappings": {"dynamic": False},
            }
        },
    }


def _agent(kind: str) -> str:
    """Return an agent's input: a dump becomes one document, and by default nothing else is sent."""
    definition = shippers.read()
    limits = definition.limits
    source = (
        f"message_max_bytes: {limits['bytes']}\n"
        "paths:\n{{#each paths as |path i|}}\n  - {{path}}\n{{/each}}\nexclude_files: ['\\.(gz|xz|zst|bz2)$']\n"
        if kind == "filestream"
        else "include_matches.match:\n  - _TRANSPORT=kernel\n"
    )
    return f"""condition: ${{host.platform}} == 'linux'
{source}tags:
{{{{#each tags as |tag i|}}}}
  - {{{{tag}}}}
{{{{/each}}}}
parsers:
  - multiline:
      type: pattern
      # These lines go to the line before.
      pattern: '{"|".join(definition.continuation)}'
      negate: false
      match: after
      max_lines: {limits["lines"]}
      timeout: {limits["seconds"]}s
{{{{#if events_only}}}}
  - include_message:
      patterns:
        - '{"|".join((*definition.first, *definition.lone))}'
{{{{/if}}}}
{{{{#if processors}}}}
processors:
{{{{processors}}}}
{{{{/if}}}}
"""


def _pipelines(kb_url: str) -> dict[str, dict[str, Any]]:
    """Return the data stream's pipelines; one calls the other by the name that Fleet will give it."""
    built = pipelines.build("elasticsearch", kb_url=kb_url)
    found = {}
    for name, body in built.items():
        short = "default" if name == pipelines.ENTRY else name.removeprefix(f"{pipelines.ENTRY}-")
        found[short] = {key: copy.deepcopy(value) for key, value in body.items() if key not in ("version", "_meta")}
    for processor in found["default"]["processors"]:
        called = processor.get("pipeline", {})
        if called.get("name") in built:
            # In single quotes, which JSON leaves as they are: Fleet replaces this in the file's text.
            called["name"] = "{{ IngestPipeline '" + called["name"].removeprefix(f"{pipelines.ENTRY}-") + "' }}"
    return found


# -- Kibana ------------------------------------------------------------------------------------------------------------


def _kibana(kb_url: str) -> dict[str, str]:
    patterns = [f"logs-{DATASET}-*", *saved_objects.titles()]
    objects = saved_objects.build("elasticsearch", kb_url=kb_url, patterns=list(dict.fromkeys(patterns)))
    panels = {one["id"]: one for one in objects if one["type"] == "visualization"}
    files = {"kibana/tags.yml": _yaml([{"text": "Linux kernel", "asset_types": ["dashboard", "search"]}])}
    for one in objects:
        if one["type"] == "visualization":
            continue  # each stands in its dashboard
        made = _by_value(one, panels) if one["type"] == "dashboard" else copy.deepcopy(one)
        _unfold(made["attributes"])
        files[f"kibana/{one['type'].replace('-', '_')}/{one['id']}.json"] = json_text(made)
    return files


def _unfold(attributes: dict[str, Any]) -> None:
    """Write JSON as JSON where package-spec wants to see it."""
    for name in ("panelsJSON", "optionsJSON"):
        if name in attributes:
            attributes[name] = json.loads(attributes[name])
    meta = attributes.get("kibanaSavedObjectMeta")
    if meta:
        meta["searchSourceJSON"] = json.loads(meta["searchSourceJSON"])


def _by_value(board: Mapping[str, Any], panels: Mapping[str, Any]) -> dict[str, Any]:
    """Return a dashboard that holds its visualizations itself, and says that it is about events."""
    made = copy.deepcopy(dict(board))
    named = {one["name"]: one for one in board["references"]}
    references, shown = [], []
    for panel in json.loads(board["attributes"]["panelsJSON"]):
        index, target = panel["panelIndex"], named[panel.pop("panelRefName")]
        panel["version"] = _BY_VALUE
        panel["type"] = target["type"]
        if target["type"] == "search":
            panel["panelRefName"] = f"panel_{index}"
            references.append({"name": f"{index}:panel_{index}", "type": "search", "id": target["id"]})
        else:
            attributes = panels[target["id"]]["attributes"]
            state = json.loads(attributes["visState"])
            source = json.loads(attributes["kibanaSavedObjectMeta"]["searchSourceJSON"])
            panel["title"] = attributes["title"]
            panel["embeddableConfig"] = {
                "enhancements": {},
                "savedVis": {
                    "id": "",
                    "title": attributes["title"],
                    "description": attributes["description"],
                    "type": state["type"],
                    "params": state["params"],
                    "uiState": json.loads(attributes["uiStateJSON"]),
                    "data": {"aggs": state["aggs"], "searchSource": source},
                },
            }
            references += [{**one, "name": f"{index}:{one['name']}"} for one in panels[target["id"]]["references"]]
        shown.append(panel)
    body = json.loads(made["attributes"]["kibanaSavedObjectMeta"]["searchSourceJSON"])
    place = "kibanaSavedObjectMeta.searchSourceJSON.filter[0].meta.index"
    body["filter"] = [
        {
            "$state": {"store": "appState"},
            "meta": {
                "alias": None,
                "disabled": False,
                "indexRefName": place,
                "key": "allocfail.kind",
                "negate": False,
                "type": "exists",
                "value": "exists",
            },
            "query": {"exists": {"field": "allocfail.kind"}},
        }
    ]
    references.append({"name": place, "type": "index-pattern", "id": _EVENTS})
    made["attributes"]["panelsJSON"] = json.dumps(shown)
    made["attributes"]["kibanaSavedObjectMeta"]["searchSourceJSON"] = json.dumps(body)
    made["references"] = references
    made["migrationVersion"] = {"dashboard": _BY_VALUE}
    made["coreMigrationVersion"] = _BY_VALUE
    return made


# -- tests -------------------------------------------------------------------------------------------------------------


def _tests(kb_url: str) -> dict[str, str]:
    """Return what ``elastic-package test pipeline`` runs, and the data stream's sample."""
    pairs = list(examples(kb_url))
    folder = f"{_STREAM}/_dev/test/pipeline"
    return {
        f"{folder}/test-events.json": json_text({"events": [document for document, _ in pairs]}),
        f"{folder}/test-events.json-expected.json": json_text({"expected": [enriched for _, enriched in pairs]}),
        f"{_STREAM}/sample_event.json": json_text(pairs[0][1]),
    }
