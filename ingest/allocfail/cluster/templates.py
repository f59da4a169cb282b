"""Component templates, index templates and the index of articles, as either engine takes them.

The sources are ``pipelines/templates/*.yml``: flat lists of field and type, expanded here into mappings.
"""

from __future__ import annotations

import copy
import hashlib
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from allocfail.cluster.errors import EngineError
from allocfail.content import content_path
from allocfail.release import version_number

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from allocfail.cluster.client import Engine

__all__ = [
    "ANALYSIS",
    "MANAGED_BY",
    "Templates",
    "build",
    "digest",
    "mapping_types",
    "missing_types",
    "probe",
    "probes",
    "properties",
    "stamp",
]

#: ``_meta.managed_by`` of everything that install makes.
MANAGED_BY = "allocfail"
#: Stands among missing mapping types for the parts that the articles' analyzer is made of.
ANALYSIS = "analysis-common"


@dataclass(frozen=True)
class Templates:
    """Bodies by id, ready to be put."""

    components: dict[str, dict[str, Any]]
    index_templates: dict[str, dict[str, Any]]
    kb_index: str
    kb_body: dict[str, Any]
    events_index: str
    """Name of the index that events go to unless told otherwise."""
    events_stream: str
    """Name of the data stream that stands beside it."""


def _read(name: str) -> dict[str, Any]:
    import yaml  # noqa: PLC0415 - only commands that talk to a cluster need it

    loaded = yaml.safe_load(content_path(f"pipelines/templates/{name}").read_text(encoding="utf-8"))
    if not isinstance(loaded, dict):
        raise TypeError(name)
    return loaded


def digest(body: Mapping[str, Any]) -> str:
    """Return 16 hex digits of the SHA-256 of ``body`` as canonical JSON, its ``_meta`` left out."""
    bare = {key: value for key, value in body.items() if key != "_meta"}
    text = json.dumps(bare, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:16]


def stamp(body: Mapping[str, Any], description: str) -> dict[str, Any]:
    """Return ``body`` with its version and a ``_meta`` that says whose it is."""
    stamped = {**copy.deepcopy(dict(body)), "version": version_number()}
    stamped["_meta"] = {"managed_by": MANAGED_BY, "description": description, "digest": digest(stamped)}
    return stamped


def mapping_types() -> frozenset[str]:
    """Return the mapping types that a server may lack and for which there is a fallback."""
    found: set[str] = set()

    def walk(mapping: Any) -> None:
        if isinstance(mapping, dict):
            if isinstance(mapping.get("type"), str):
                found.add(mapping["type"])
            for value in mapping.values():
                walk(value)

    types = _read("types.yml")
    for entry in types.values():
        walk(entry.get("prefer"))
    preferred = set(found)
    found.clear()
    for entry in types.values():
        walk(entry.get("fallback", entry if "prefer" not in entry else None))
    return frozenset(preferred - found)


def _mapping(
    source: Mapping[str, Any], types: Mapping[str, Any], missing: Collection[str], *, twins: bool
) -> dict[str, Any]:
    """Return the mapping for a fields file; ``missing`` are the types the server lacks."""
    properties: dict[str, Any] = {}

    def place(dotted: str, mapping: Mapping[str, Any]) -> None:
        *parents, leaf = dotted.split(".")
        at = properties
        for parent in parents:
            at = at.setdefault(parent, {}).setdefault("properties", {})
        at[leaf] = {**copy.deepcopy(dict(mapping)), **at.get(leaf, {})}

    for name, short in source["fields"].items():
        entry = types[short]
        prefer = json.dumps(entry.get("prefer"))
        lacking = any(f'"type": "{kind}"' in prefer for kind in missing) or (
            ANALYSIS in missing and '"analyzer": ' in prefer
        )
        place(name, entry["fallback" if lacking else "prefer"] if "prefer" in entry else entry)
        if twins and short == "long":
            place(f"{name}_text", types["keyword"])
    return properties


def properties(file: str, missing: Collection[str] = ()) -> dict[str, Any]:
    """Return the mapping that a fields file of ``pipelines/templates`` makes; ``missing`` as for :func:`build`."""
    source = _read(file)
    return _mapping(source, _read("types.yml"), missing, twins="dynamic" in source and "index" not in source)


def build(missing: Collection[str] = (), *, index: str | None = None, stream: str | None = None) -> Templates:
    """Return everything that is put beside the pipelines.

    ``missing`` are mapping types that the server lacks (of :func:`mapping_types`); ``index`` and ``stream`` name the
    events' index and data stream instead of the defaults.
    """
    types = _read("types.yml")
    events = _read("events.yml")
    components: dict[str, dict[str, Any]] = {}
    for name, file in events["components"].items():
        source = _read(file)
        own = "dynamic" in source
        properties = _mapping(source, types, missing, twins=own)
        if own:  # the whole file is one object's: what it does not name is kept and not indexed
            for mapping in properties.values():
                mapping["dynamic"] = source["dynamic"]
        components[name] = stamp({"template": {"mappings": {"properties": properties}}}, source["description"])

    index_templates: dict[str, dict[str, Any]] = {}
    names: list[str] = []
    for name, entry in events["templates"].items():
        chosen = (stream if entry.get("data_stream") else index) or entry["names"][0]
        names.append(chosen)
        patterns = [chosen] if chosen in entry["names"] else [chosen, f"{chosen}-*"]
        if chosen in entry["names"]:
            patterns = entry.get("patterns", [chosen, f"{chosen}-*"])
        body: dict[str, Any] = {
            "index_patterns": patterns,
            "priority": entry["priority"],
            "composed_of": list(components),
            "template": {"settings": _settings(events["settings"]), "mappings": {"dynamic": events["dynamic"]}},
        }
        if entry.get("data_stream"):
            body["data_stream"] = {}
        index_templates[name] = stamp(body, entry["description"])

    kb = _read("kb.yml")
    mappings = {"dynamic": kb["dynamic"], "properties": _mapping(kb, types, missing, twins=False)}
    settings = _settings(kb["settings"])
    if ANALYSIS not in missing:
        settings["index"]["analysis"] = kb["analysis"]
    meta = {
        "managed_by": MANAGED_BY,
        "description": kb["description"],
        "digest": digest({"m": mappings, "s": settings}),
    }
    kb_body = {"settings": settings, "mappings": {**mappings, "_meta": meta}}
    return Templates(components, index_templates, kb["index"], kb_body, names[0], names[1])


def _settings(flat: Mapping[str, Any]) -> dict[str, Any]:
    """Return settings nested and as strings, the way both engines give them back."""
    nested: dict[str, Any] = {}
    for name, value in flat.items():
        *parents, leaf = name.split(".")
        at = nested
        for parent in parents:
            at = at.setdefault(parent, {})
        at[leaf] = value if isinstance(value, list) else str(value).lower() if isinstance(value, bool) else str(value)
    return nested


def probe() -> tuple[dict[str, Any], dict[str, Any]]:
    """Return a document that the pipeline must decode, and dotted fields of the result with their values."""
    source = _read("probe.yml")
    return source["document"], source["expect"]


def probes() -> list[dict[str, Any]]:
    """Return documents that hold an event of each kind, with every field between them that an event may get."""
    found: list[dict[str, Any]] = _read("probe.yml")["events"]
    return found


def missing_types(engine: Engine) -> frozenset[str]:
    """Return what the server lacks and there is a fallback for: mapping types, and :data:`ANALYSIS`.

    OpenSearch has the types, but its Dashboards do not know them.
    """
    kinds = mapping_types()
    if engine.product == "opensearch":
        missing = set(kinds)
    else:
        missing = {kind for kind in kinds if not _takes(engine, {"type": kind})}
    kb = _read("kb.yml")
    if not _takes(engine, _read("types.yml")["prose"]["prefer"], {"index": {"analysis": kb["analysis"]}}):
        missing.add(ANALYSIS)
    return frozenset(missing)


def _takes(engine: Engine, mapping: Mapping[str, Any], settings: Mapping[str, Any] | None = None) -> bool:
    """Say whether an index could have a field with this mapping."""
    body = {
        "index_patterns": ["allocfail-type-probe"],
        "priority": 2147483647,  # above everybody's, so that no other template is mixed in
        "template": {"settings": settings or {}, "mappings": {"properties": {"probe": mapping}}},
    }
    try:
        engine.request("POST", "/_index_template/_simulate", body)
    except EngineError as error:
        if error.status != 400:
            raise
        return False
    return True
