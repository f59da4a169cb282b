"""Saved objects: into Kibana or OpenSearch Dashboards and out again, over the import API that both kept.

What was imported last is remembered in the cluster, by its digest and the version that it had in the dashboards then.
An object is sent again only when it is another one here, or gone there; what somebody made of it meanwhile is kept, or
named (:mod:`allocfail.cluster.keeping`).
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field, replace
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any

from allocfail.cluster import saved_objects, templates
from allocfail.cluster.client import http_pool, path
from allocfail.cluster.errors import EngineError, api_error, unreachable
from allocfail.cluster.keeping import covers, digest_of, name_of, own_columns, readable, replaced, with_additions
from allocfail.cluster.managed import read_component
from allocfail.cluster.page_fields import fields_of
from allocfail.cluster.record import read_record
from allocfail.cluster.steps import Change, diff
from allocfail.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from allocfail.cluster.client import Engine
    from allocfail.cluster.connection import Connection

__all__ = [
    "Place",
    "address",
    "call",
    "events_patterns",
    "forget",
    "import_objects",
    "install_objects",
    "is_there",
    "patterns",
    "place",
    "publish_view",
    "remove_objects",
]

#: Each product wants a header of its own, and Kibana 9 one for what it deprecates; none minds the others'.
_HEADERS = {"kbn-xsrf": "true", "osd-xsrf": "true", "x-elastic-internal-origin": "allocfail"}
#: Component template whose ``_meta`` remembers what was imported.
RECORD = "allocfail-saved-objects"


@dataclass(frozen=True)
class Place:
    """Where saved objects are kept: the dashboards, and the space or tenant in them."""

    where: Connection
    headers: Mapping[str, str] = field(default_factory=dict)

    @property
    def key(self) -> str:
        """Return the name by which the record knows it."""
        return " ".join([self.where.url, *self.headers.values()])


def place(where: Connection, product: str, space: str | None = None) -> Place:
    """Return the place in the dashboards at ``where``: a space of Kibana's, or a tenant of OpenSearch Dashboards'.

    Raises :class:`InputError` for a name that is neither's.
    """
    if space is None:
        return Place(where)
    if not space.isprintable() or not space.isascii() or any(char in space for char in "/?#% ") or not space:
        raise InputError("--space wants the name of a Kibana space, or of a tenant of OpenSearch Dashboards")
    if product == "opensearch":
        return Place(where, {"securitytenant": space})
    return Place(where if space == "default" else replace(where, url=f"{where.url}/s/{space}"))


def address(there: Place) -> str:
    """Return the address of the dashboard that a person opens first."""
    return f"{there.where.url}/app/dashboards#/view/{saved_objects.OVERVIEW}"


def is_there(there: Place) -> bool:
    """Say whether the dashboard is among a place's objects."""
    return bool(_stored(there, [{"type": "dashboard", "id": saved_objects.OVERVIEW}]))


def patterns(base: str | None, names: Iterable[str]) -> list[str]:
    """Return a data view's index patterns: ``base`` (with commas; None: the default), and those of ``names`` besides.

    A name that one of the patterns matches already is left out.
    """
    found = saved_objects.titles() if base is None else [one.strip() for one in base.split(",") if one.strip()]
    if not found:
        raise InputError("--index-pattern names no index")
    for name in names:
        if not any(fnmatchcase(name, one.replace("[", "[[]")) for one in found):
            found.append(name)
    return found


def _wired(engine: Engine, indices: Sequence[str]) -> list[str]:
    """Return the names given now, and those wired before."""
    wired = read_record(engine).wired
    return [*indices, *wired.indices, *wired.streams]


def events_patterns(engine: Engine, base: str | None, indices: Sequence[str]) -> list[str]:
    """Return where events are to be looked for: :func:`patterns` with what is wired, ``indices`` included."""
    return patterns(base, _wired(engine, indices))


def install_objects(
    engine: Engine,
    there: Place,
    *,
    indices: Sequence[str] = (),
    pattern: str | None = None,
    kb_url: str | None = None,
    dry_run: bool = False,
) -> Iterator[Change]:
    """Import everything; the data view looks through ``pattern``, ``indices`` and what was wired before."""
    everywhere = events_patterns(engine, pattern, indices)
    wanted = saved_objects.build(engine.product, kb_url=kb_url, patterns=everywhere)
    found = fields_of(engine, _wired(engine, indices))
    yield from import_objects(there, wanted, engine, found=found, dry_run=dry_run)


def publish_view(engine: Engine, there: Place, kb_url: str | None = None, *, dry_run: bool = False) -> Iterator[Change]:
    """Import what articles are read through: their data view and search, or everything where that is there already.

    What is there has addresses of articles in it, and is to lead where ``kb_url`` says.
    """
    if is_there(there):
        yield from install_objects(engine, there, kb_url=kb_url, dry_run=dry_run)
        return
    wanted = [
        item
        for item in saved_objects.build(engine.product, kb_url=kb_url, patterns=events_patterns(engine, None, ()))
        if item["id"] == saved_objects.ARTICLES
        or {reference["id"] for reference in item["references"]} == {saved_objects.ARTICLES}
    ]
    yield from import_objects(there, wanted, engine, dry_run=dry_run)


def import_objects(
    there: Place,
    wanted: Sequence[Mapping[str, Any]],
    engine: Engine | None = None,
    *,
    found: Sequence[Mapping[str, Any]] = (),
    dry_run: bool = False,
) -> Iterator[Change]:
    """Import what of ``wanted`` is new or another than last time, in one request, and yield what became of each.

    ``engine`` is where it is remembered; without one, objects are compared with what is there. ``found`` are
    descriptors of fields in the cluster. Raises :class:`EngineError` when the dashboards refuse,
    :class:`allocfail.cluster.errors.UnreachableError` when they are not there.
    """
    known = _read_imported(engine).get(there.key, {}) if engine is not None else {}
    stored = _stored(there, wanted)
    changes, sent = [], []
    for item in wanted:
        name = name_of(item)
        change, mine = _compared(item, stored.get(name), known.get(name, {}), found)
        changes.append(change)
        if change.action != "unchanged":
            sent.append(mine)
    if sent and not dry_run:
        _import(there, sent)
    if engine is not None and not dry_run:
        before = {name: str(one.get("version", "")) for name, one in known.items()}
        now = {name: str(one.get("version", "")) for name, one in _stored(there, sent).items()}
        imported = {
            name: {"digest": digest_of(item), "version": now.get(name) or before.get(name, "")}
            for name, item in ((name_of(item), item) for item in wanted)
        }
        if not imported.items() <= known.items():
            _write_imported(engine, there.key, {**known, **imported})
    yield from changes


def _compared(
    item: Mapping[str, Any],
    there: Mapping[str, Any] | None,
    known: Mapping[str, Any],
    found: Sequence[Mapping[str, Any]],
) -> tuple[Change, dict[str, Any]]:
    """Return what is to become of one object, and the object as it is sent: with what somebody added to it."""
    mine, name, notes = with_additions(item, there, found), name_of(item), []
    if there is None:
        return Change("saved object", name, "created"), mine
    if columns := own_columns(item, there, saved_objects.former_columns()):
        mine["attributes"] = {**mine["attributes"], "columns": columns, "sort": there["attributes"].get("sort", [])}
        notes.append(f"columns of your own kept: {', '.join(map(str, columns))}")
    if known.get("digest") == digest_of(item) or covers(there, mine):
        return Change("saved object", name, "unchanged", "; ".join(notes)), mine
    if known.get("version") != there.get("version") and (others := replaced(there, mine)):
        notes.append(f"another was there: {', '.join(others)} replaced")
    shown = readable(mine["attributes"])
    have = readable(there["attributes"])
    text = diff(name, {key: have.get(key) for key in shown}, shown)
    return Change("saved object", name, "updated", "; ".join(notes), text), mine


def remove_objects(
    there: Place, wanted: Sequence[Mapping[str, Any]], engine: Engine | None = None, *, dry_run: bool = False
) -> Iterator[Change]:
    """Remove those of ``wanted`` that nobody changed, in reverse order; yield what became of each."""
    known = _read_imported(engine).get(there.key, {}) if engine is not None else {}
    stored = _stored(there, wanted)
    for item in reversed(wanted):
        name = name_of(item)
        now = stored.get(name)
        if now is None:
            yield Change("saved object", name, "missing")
        elif known.get(name, {}).get("version") != now.get("version") and not covers(now, with_additions(item, now)):
            yield Change("saved object", name, "left", "changed by hand")
        else:
            if not dry_run:
                call(there, "DELETE", path("api", "saved_objects", item["type"], item["id"]) + "?force=true")
            yield Change("saved object", name, "removed")
    if engine is not None and known and not dry_run:
        _write_imported(engine, there.key, None)


def forget(engine: Engine, *, dry_run: bool = False) -> Iterator[Change]:
    """Remove the record of what was imported."""
    if read_component(engine, RECORD) is not None:
        if not dry_run:
            engine.request("DELETE", path("_component_template", RECORD), missing_ok=True)
        yield Change("component template", RECORD, "removed")


def _read_imported(engine: Engine) -> dict[str, Any]:
    """Return, by place and by object, the digest and version of what was imported last."""
    found: dict[str, Any] = (read_component(engine, RECORD) or {}).get("_meta", {}).get("imported", {})
    return found


def _write_imported(engine: Engine, key: str, imported: Mapping[str, Any] | None) -> None:
    every = {place: one for place, one in {**_read_imported(engine), key: imported}.items() if one}
    target = path("_component_template", RECORD)
    if not every:
        engine.request("DELETE", target, missing_ok=True)
        return
    body = templates.stamp({"template": {}}, "What allocfail install has imported into dashboards")
    body["_meta"]["imported"] = every
    engine.request("PUT", target, body)


def _stored(there: Place, wanted: Iterable[Mapping[str, Any]]) -> dict[str, dict[str, Any]]:
    """Return those of ``wanted`` that are there, by type and id."""
    asked = [{"type": item["type"], "id": item["id"]} for item in wanted]
    if not asked:
        return {}
    answer = call(there, "POST", "/api/saved_objects/_bulk_get", body=asked)
    found = answer.get("saved_objects") if isinstance(answer, dict) else None
    if not isinstance(found, list):
        raise EngineError(f"{there.where.url}: neither Kibana nor OpenSearch Dashboards answers there")
    return {name_of(item): item for item in found if isinstance(item.get("attributes"), dict) and "error" not in item}


def _import(there: Place, wanted: Iterable[Mapping[str, Any]]) -> None:
    text = "".join(json.dumps(item, separators=(",", ":")) + "\n" for item in wanted)
    form = {"file": ("allocfail.ndjson", text.encode(), "application/ndjson")}
    answer = call(there, "POST", "/api/saved_objects/_import?overwrite=true", form=form)
    if not isinstance(answer, dict) or not answer.get("success"):
        errors = answer.get("errors", []) if isinstance(answer, dict) else []
        told = "; ".join(
            f"{error.get('type')}/{error.get('id')}: {(error.get('error') or {}).get('type', 'refused')}"
            for error in errors[:5]
        )
        where = there.where
        raise EngineError(where.scrub(f"{where.url}: saved objects were not imported: {told or 'no reason given'}"))


def call(
    there: Place,
    method: str,
    target: str,
    *,
    form: dict[str, Any] | None = None,
    body: Any = None,
    missing_ok: bool = False,
) -> Any:
    """Send one request to the dashboards and return the JSON of its answer.

    ``missing_ok`` gives None for what is not there. Raises :class:`EngineError` for a refusal, and
    :class:`allocfail.cluster.errors.UnreachableError` where nobody answers.
    """
    import urllib3  # noqa: PLC0415 - only with dashboards

    where = there.where
    headers = {**_HEADERS, **there.headers}
    if where.authorization:
        headers["authorization"] = where.authorization
    sent: dict[str, Any] = {"fields": form}
    if body is not None:
        headers["content-type"] = "application/json"
        sent = {"body": json.dumps(body)}
    try:
        answer = http_pool(where).request(method, where.url + target, headers=headers, redirect=False, **sent)
    except (urllib3.exceptions.HTTPError, OSError, UnicodeError) as error:
        raise unreachable(where, error) from None
    try:
        told = json.loads(answer.data)
    except ValueError:
        told = None
    if answer.status == 404 and missing_ok and isinstance(told, dict):
        return None
    if answer.status == 204:
        return {}
    if 300 <= answer.status < 400:  # to a log-in page
        raise api_error(where, 401, told, f"{method} {target.partition('?')[0]}")
    if not 200 <= answer.status < 300:
        raise api_error(where, answer.status, told, f"{method} {target.partition('?')[0]}")
    if told is None:
        raise EngineError(f"{where.url}: neither Kibana nor OpenSearch Dashboards answers there")
    return told
