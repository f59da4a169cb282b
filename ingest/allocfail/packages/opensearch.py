"""OpenSearch's integration: what the page Integrations of OpenSearch Dashboards offers.

A folder as its repository has them (``integration_reader.ts`` of dashboards-observability names the files), and the
same as one saved object that carries everything in itself, to be imported where that repository cannot be added to.
"""

from __future__ import annotations

import base64
import json
from typing import TYPE_CHECKING, Any

from allocfail.cluster import saved_objects, templates
from allocfail.content import content_path
from allocfail.packages.parts import ICON, examples, introduction, json_text
from allocfail.painless import pipelines
from allocfail.urls import base_url

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["NAME", "build", "importable"]

NAME = "allocfail"
#: The component of which the integration is; both have one name.
_COMPONENT = "logs_allocfail"
_GALLERY = (
    ("dashboard-failures", "Kernel allocation failures"),
    ("dashboard-failure", "One kernel allocation failure"),
)


def build(version: str, *, home: str, kb_url: str | None = None) -> dict[str, str | bytes]:
    """Return the integration's files by their path in it; the arguments are those of the other product's."""
    address = base_url(kb_url)
    objects = saved_objects.build("opensearch", kb_url=address)
    sample = [enriched for _, enriched in examples(address)]
    files: dict[str, str | bytes] = {
        f"{NAME}-{version}.json": json_text(_config(version, home)),
        f"schemas/{_COMPONENT}-{version}.mapping.json": json_text(_mapping(version)),
        f"assets/{NAME}-{version}.ndjson": saved_objects.to_ndjson(objects),
        "data/sample.json": json_text(sample),
        "info/README.md": _readme(),
        "info/INGESTION.md": _ingestion(),
        "static/logo.svg": ICON,
    }
    for name, _ in _GALLERY:
        files[f"static/{name}.png"] = content_path(f"docs/images/{name}.png").read_bytes()
    for name, body in pipelines.build("opensearch", kb_url=address).items():
        files[f"info/pipelines/{name}.json"] = json_text(body)
    return files


def _config(version: str, home: str) -> dict[str, Any]:
    return {
        "name": NAME,
        "version": version,
        "displayName": "Linux memory-allocation failures",
        "description": "Page allocation failures, stalls and OOM kills of the Linux kernel, decoded and grouped.",
        "license": "Apache-2.0",
        "type": _COMPONENT,
        "labels": ["Observability", "Logs", "Linux"],
        "author": "allocfail",
        "sourceUrl": home,
        "workflows": [
            {
                "name": "dashboards",
                "label": "Dashboards and searches",
                "description": "What fails, where, since when, and what to do about it.",
                "enabled_by_default": True,
            }
        ],
        "statics": {
            "logo": {"annotation": "allocfail", "path": "logo.svg"},
            "gallery": [{"annotation": title, "path": f"{name}.png"} for name, title in _GALLERY],
        },
        "components": [{"name": _COMPONENT, "version": version}],
        "assets": [
            {
                "name": NAME,
                "version": version,
                "extension": "ndjson",
                "type": "savedObjectBundle",
                "workflows": ["dashboards"],
            }
        ],
        "sampleData": {"path": "sample.json"},
    }


def _mapping(version: str) -> dict[str, Any]:
    """Return the index template: that of our own events index, in one piece."""
    built = templates.build(templates.mapping_types())
    [template] = (one for one in built.index_templates.values() if "data_stream" not in one)
    properties: dict[str, Any] = {}
    for name in template["composed_of"]:
        properties |= built.components[name]["template"]["mappings"]["properties"]
    meta = {"version": version, "catalog": "observability", "type": "logs", "component": _COMPONENT}
    return {
        "index_patterns": [built.events_index, f"{built.events_index}-*", "ss4o_logs-allocfail-*"],
        "priority": template["priority"],
        "template": {
            "settings": template["template"]["settings"],
            "mappings": {"_meta": meta, "dynamic": False, "properties": properties},
        },
        "_meta": {"managed_by": "OpenSearch Dashboards, Integrations", **meta},
    }


def _readme() -> str:
    return f"# Linux memory-allocation failures\n\n{introduction()}\n"


def _ingestion() -> str:
    return """# How events get here

Documents go through the ingest pipeline `allocfail`. `allocfail install --url URL --index NAME` puts it there, wires it
to an index, and checks that the index takes an event. Without the command line, put the two files of `pipelines` beside
this page under the names of the files (`PUT _ingest/pipeline/NAME`), and name `allocfail` as an index's
`index.default_pipeline`.
"""


def importable(files: Mapping[str, str | bytes], version: str) -> str:
    """Return the integration as a saved object with all its files in it, a line of NDJSON."""

    def text(path: str) -> str:
        data = files[path]
        return data.decode() if isinstance(data, bytes) else data

    def picture(entry: dict[str, Any]) -> dict[str, Any]:
        data = files[f"static/{entry['path']}"]
        return {**entry, "data": base64.b64encode(data.encode() if isinstance(data, str) else data).decode()}

    config = json.loads(text(f"{NAME}-{version}.json"))
    statics = config["statics"]
    config["statics"] = {"logo": picture(statics["logo"]), "gallery": [picture(one) for one in statics["gallery"]]}
    for component in config["components"]:
        path = f"schemas/{component['name']}-{component['version']}.mapping.json"
        component["data"] = json.dumps(json.loads(text(path)))
    for asset in config["assets"]:
        path = f"assets/{asset['name']}-{asset['version']}.{asset['extension']}"
        asset["data"] = json.dumps([json.loads(line) for line in text(path).splitlines()])
    config["sampleData"]["data"] = json.dumps(json.loads(text("data/sample.json")))
    made = {"type": "integration-template", "id": f"{NAME}-{version}", "attributes": config, "references": []}
    return json.dumps(made, ensure_ascii=False) + "\n"
