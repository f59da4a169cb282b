"""What somebody has made of a saved object since it was imported: told apart, kept, or named.

Kibana and OpenSearch Dashboards write into what they keep: a newer one migrates what it takes, a page that saves a data
view rewrites its fields and formats, and people choose columns of their own.
"""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

__all__ = ["covers", "digest_of", "name_of", "own_columns", "readable", "replaced", "with_additions"]

#: Attributes whose names end so are JSON in a text.
_JSON = ("JSON", "visState", "fields", "fieldFormatMap", "sourceFilters")


def name_of(item: Mapping[str, Any]) -> str:
    """Return an object's type and id as one word."""
    return f"{item['type']}/{item['id']}"


def readable(attributes: Mapping[str, Any]) -> dict[str, Any]:
    """Return attributes for comparing and showing.

    JSON is taken apart, a list of fields is their names, and what a page adds to a format by itself is left out.
    """
    made = {name: _parsed(name, value) for name, value in attributes.items()}
    if isinstance(made.get("fields"), list):
        made["fields"] = sorted(str(one.get("name")) for one in made["fields"] if isinstance(one, dict))
    formats = made.get("fieldFormatMap")
    if isinstance(formats, dict):
        made["fieldFormatMap"] = {name: _without_place(one) for name, one in formats.items()}
    return made


def _parsed(name: str, value: Any) -> Any:
    """Return an attribute's value, JSON taken apart; as it is where that fails."""
    if isinstance(value, dict):
        return readable(value)
    if not (isinstance(value, str) and name.endswith(_JSON)):
        return value
    try:
        return json.loads(value)
    except ValueError:
        return value


def _without_place(one: Any) -> Any:
    params = one.get("params") if isinstance(one, dict) else None
    if not isinstance(params, dict):
        return one
    return {**one, "params": {name: value for name, value in params.items() if name != "parsedUrl"}}


def digest_of(item: Mapping[str, Any]) -> str:
    """Return 16 hex digits that change when what an object says changes."""
    text = json.dumps([readable(item["attributes"]), item["references"]], sort_keys=True)
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:16]


def covers(there: Mapping[str, Any], wanted: Mapping[str, Any]) -> bool:
    """Whether the object that is there has all that ``wanted`` has."""
    references = [sorted(map(_reference, one.get("references", []))) for one in (there, wanted)]
    return references[0] == references[1] and not replaced(there, wanted)


def replaced(there: Mapping[str, Any], wanted: Mapping[str, Any]) -> list[str]:
    """Return the names of the attributes in which the object that is there lacks something of ``wanted``."""
    have = readable(there["attributes"])
    return [name for name, value in readable(wanted["attributes"]).items() if not _within(value, have.get(name))]


def _reference(one: Mapping[str, Any]) -> tuple[str, ...]:
    return tuple(str(one.get(name, "")) for name in ("name", "type", "id"))


def _within(wanted: Any, there: Any) -> bool:
    """Whether all of a JSON value is in another: objects may have more in them, and so may lists of plain values."""
    if isinstance(wanted, dict) and isinstance(there, dict):
        return all(_within(value, there.get(name)) for name, value in wanted.items())
    if isinstance(wanted, list) and isinstance(there, list):
        if any(isinstance(one, (dict, list)) for one in wanted):
            return len(wanted) == len(there) and all(map(_within, wanted, there))
        return all(one in there for one in wanted)
    return bool(wanted == there)


def own_columns(
    item: Mapping[str, Any], there: Mapping[str, Any], former: Mapping[str, Sequence[list[str]]]
) -> list[str]:
    """Return the columns of a saved search if they are somebody's own; ``former`` are those shipped earlier, by id."""
    columns = there["attributes"].get("columns")
    shipped = [item["attributes"].get("columns"), *former.get(item["id"], ())]
    return columns if item["type"] == "search" and isinstance(columns, list) and columns not in shipped else []


def with_additions(
    item: Mapping[str, Any], there: Mapping[str, Any] | None, found: Iterable[Mapping[str, Any]] = ()
) -> dict[str, Any]:
    """Return a data view with what was added to the one that is there; any other object as it is.

    Index patterns, fields and formats of ``there`` that are not in ``item``, and the descriptors ``found`` of fields in
    the cluster.
    """
    if item["type"] != "index-pattern":
        return dict(item)
    mine = item["attributes"]
    theirs = there["attributes"] if there else {}
    known = mine["title"].split(",")
    title = known + [one for one in str(theirs.get("title") or "").split(",") if one and one not in known]
    fields: dict[str, dict[str, Any]] = {one["name"]: one for one in json.loads(mine["fields"])}
    for one in found if "timeFieldName" in mine else ():
        fields[one["name"]] = _both(fields[one["name"]], one) if one["name"] in fields else dict(one)
    stored: Any = _parsed("fields", theirs.get("fields") or "[]")
    for one in stored if isinstance(stored, list) else ():  # also what somebody scripted
        ours = fields.setdefault(one["name"], one)
        fields[one["name"]] = {**ours, "count": one.get("count", 0)}  # what was chosen often, the page shows first
    kept = _parsed("fieldFormatMap", theirs.get("fieldFormatMap") or "{}")
    formats: dict[str, Any] = kept if isinstance(kept, dict) else {}
    formats = {**formats, **json.loads(mine["fieldFormatMap"])}
    more = {"title": ",".join(title), "fields": _text(list(fields.values())), "fieldFormatMap": _text(formats)}
    return {**item, "attributes": {**mine, **more}}


def _both(mine: Mapping[str, Any], found: Mapping[str, Any]) -> dict[str, Any]:
    """Return a field's descriptor as it is true of our mapping and of what was found in the cluster."""
    alike = {name: bool(mine[name] and found[name]) for name in ("searchable", "aggregatable", "readFromDocValues")}
    types = [*mine["esTypes"], *(kind for kind in found["esTypes"] if kind not in mine["esTypes"])]
    return {**mine, **alike, "esTypes": types}


def _text(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))
