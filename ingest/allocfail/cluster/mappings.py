"""What install does to mappings beyond its own templates: ECS fields in somebody's index, and the events' index.

An event brings ECS fields that the index may not map yet. Dynamic mapping would make them `text`, which no exact search
finds and nothing counts by; so they are mapped before the first event comes. What is mapped already stays as it is.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from allocfail.cluster.engine import EngineError, path
from allocfail.cluster.managed import Change, diff

if TYPE_CHECKING:
    from collections.abc import Mapping

    from allocfail.cluster.engine import Engine

__all__ = ["is_empty", "map_ecs", "put_events_index"]

#: What a document has before any event is read from it: the mapping of these is the index's owner's.
_SOURCE_FIELDS = frozenset({"@timestamp", "message"})
_TEXT = frozenset({"text", "match_only_text"})


def map_ecs(
    engine: Engine, name: str, have: Mapping[str, Any], wanted: Mapping[str, Any], *, dry_run: bool
) -> list[Change]:
    """Map the ECS fields of an event in index ``name`` where it does not have them; say what is mapped as text there.

    ``have`` is the index's mapping, ``wanted`` the properties of the component template of ECS fields.
    """
    lacking, texts = _compare(have.get("properties") or {}, wanted)
    changes = []
    if lacking:
        changes.append(_put(engine, name, lacking, dry_run=dry_run))
    else:
        changes.append(Change("ECS mapping", name, "unchanged"))
    if texts:
        note = f"text there, so that a term query finds nothing: {', '.join(texts)}; dashboards and searches do without"
        changes.append(Change("text mapping", name, "left", note))
    return changes


def _put(engine: Engine, name: str, lacking: dict[str, Any], *, dry_run: bool) -> Change:
    change = Change("ECS mapping", name, "updated", f"ECS fields of an event: {len(list(_leaves(lacking)))}")
    if dry_run:
        return change
    try:
        engine.request("PUT", path(name, "_mapping"), {"properties": lacking})
    except EngineError as error:
        if error.status != 400:
            raise
        return Change("ECS mapping", name, "left", f"the index takes no more fields: {error.reason}")
    return change


def _leaves(properties: Mapping[str, Any], above: str = "") -> list[str]:
    found = []
    for name, mapping in properties.items():
        inner = mapping.get("properties")
        found += [f"{above}{name}"] if inner is None else _leaves(inner, f"{above}{name}.")
    return found


def _compare(have: Mapping[str, Any], wanted: Mapping[str, Any], above: str = "") -> tuple[dict[str, Any], list[str]]:
    """Return the properties to add to ``have``, and the dotted names of keywords that it has as text.

    A field where ``wanted`` has an object, or the reverse, is left out: the server would refuse all of it.
    """
    lacking: dict[str, Any] = {}
    texts: list[str] = []
    for name, mapping in wanted.items():
        dotted, there = above + name, have.get(name)
        if dotted in _SOURCE_FIELDS:
            continue
        if there is None:
            lacking[name] = mapping
        elif "properties" in mapping:
            if there.get("type", "object") != "object":
                texts.append(dotted)
                continue
            inner, more = _compare(there.get("properties") or {}, mapping["properties"], f"{dotted}.")
            texts += more
            if inner:
                lacking[name] = {"properties": inner}
        elif "properties" not in there:
            if there.get("type") in _TEXT and mapping["type"] not in _TEXT:
                texts.append(dotted)
            keyword = mapping.get("fields", {}).get("keyword")
            if keyword and there.get("type") in {"text", "keyword"} and "keyword" not in there.get("fields", {}):
                lacking[name] = {**there, "fields": {**there.get("fields", {}), "keyword": keyword}}
    return lacking, texts


def put_events_index(engine: Engine, name: str, *, dry_run: bool) -> Change:
    """Make the index of events where it is missing, so that data views and panels find its fields from the start."""
    if engine.request("GET", path(name), missing_ok=True) is not None:
        return Change("index", name, "unchanged")
    if not dry_run:
        engine.request("PUT", path(name))
    return Change("index", name, "created", "for events", diff(name, None, {}))


def is_empty(engine: Engine, name: str) -> bool:
    """Say whether an index holds no document; one that may not be looked into counts as holding some."""
    try:
        engine.request("POST", path(name, "_refresh"))
        return not engine.request("POST", path(name, "_count"), {"query": {"match_all": {}}})["count"]
    except EngineError as error:
        if error.status != 403:
            raise
        return False
