"""What install does to mappings beyond its own templates and the fields that an index lacks.

The events' index is made before the first event. In somebody's index, what panels count by gets the multi-field
`keyword`, the name that dynamic mapping gives it in a text field; and which ECS fields are text there is said.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from allocfail.cluster.client import path
from allocfail.cluster.errors import EngineError
from allocfail.cluster.steps import Change, Request, Step, diff

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from allocfail.cluster.client import Engine

__all__ = ["events_index_step", "is_empty", "second_name_steps", "second_names", "texts"]

_TEXT = frozenset({"text", "match_only_text"})


def second_name_steps(name: str, have: Mapping[str, Any], wanted: Mapping[str, Any]) -> Iterator[Step]:
    """Yield what is to be done with fields that an index maps already, ``have``, and ``wanted`` maps for events."""
    if missing := second_names(have, wanted):
        change = Change("multi-field", name, "updated", "what panels count by", diff(name, None, missing))
        yield Step(change, (Request("PUT", path(name, "_mapping"), {"properties": missing}),), refusable=True)
    if found := texts(have, wanted):
        note = f"text there, so that a term query finds nothing: {', '.join(found)}; dashboards and searches do without"
        yield Step(Change("text field", name, "left", note))


def second_names(have: Mapping[str, Any], wanted: Mapping[str, Any]) -> dict[str, Any]:
    """Return the fields of ``have`` that lack the multi-field `keyword` which ``wanted`` gives them, with it.

    All that a field's mapping says has to be said again, or the server refuses.
    """
    missing: dict[str, Any] = {}
    for name, mapping in wanted.items():
        there = have.get(name) or {}
        if "properties" in mapping:
            if inner := second_names(there.get("properties") or {}, mapping["properties"]):
                missing[name] = {"properties": inner}
            continue
        keyword, fields = mapping.get("fields", {}).get("keyword"), there.get("fields") or {}
        if keyword and there.get("type") in {"text", "keyword"} and "keyword" not in fields:
            missing[name] = {**there, "fields": {**fields, "keyword": keyword}}
    return missing


def texts(have: Mapping[str, Any], wanted: Mapping[str, Any], above: str = "") -> list[str]:
    """Return the dotted names of the fields that ``have`` maps as text and ``wanted`` as keyword."""
    found = []
    for name, mapping in wanted.items():
        there = have.get(name) or {}
        if "properties" in mapping and there.get("type") not in _TEXT:
            found += texts(there.get("properties") or {}, mapping["properties"], f"{above}{name}.")
        elif there.get("type") in _TEXT and mapping.get("type") not in _TEXT:
            found.append(above + name)
    return found


def events_index_step(engine: Engine, name: str) -> Step:
    """Return the step that makes the index of events where it is missing.

    Data views and panels then find its fields from the start.
    """
    if engine.request("GET", path(name), missing_ok=True) is not None:
        return Step(Change("index", name, "unchanged"))
    change = Change("index", name, "created", "for events", diff(name, None, {}))
    return Step(change, (Request("PUT", path(name)),), already="resource_already_exists_exception")


def is_empty(engine: Engine, name: str) -> bool:
    """Say whether an index holds no document; one that may not be looked into counts as holding some."""
    try:
        engine.request("POST", path(name, "_refresh"))
        return not engine.request("POST", path(name, "_count"), {"query": {"match_all": {}}})["count"]
    except EngineError as error:
        if error.status != 403:
            raise
        return False
