"""Saved objects: into Kibana or OpenSearch Dashboards and out again, over the import API that both kept."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from allocfail.cluster.client import http_pool, path
from allocfail.cluster.errors import EngineError, api_error, unreachable
from allocfail.cluster.steps import Change, diff
from allocfail.content import content_path
from allocfail.errors import AllocfailError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from allocfail.cluster.connection import Connection

__all__ = ["import_objects", "objects", "remove_objects"]

#: The generated file for each product.
_FILES = {"elasticsearch": "kibana.ndjson", "opensearch": "opensearch-dashboards.ndjson"}
#: Each product wants a header of its own; neither minds the other's.
_HEADERS = {"kbn-xsrf": "true", "osd-xsrf": "true"}


def objects(product: str) -> list[dict[str, Any]]:
    """Return the saved objects for the dashboards that belong to ``product``.

    Raises :class:`AllocfailError` where the generated file is not there.
    """
    file = content_path(f"saved_searches/generated/{_FILES[product]}")
    if not file.is_file():
        raise AllocfailError(f"saved_searches/generated/{_FILES[product]} is missing: it has not been generated")
    lines = file.read_text(encoding="utf-8").splitlines()
    return [item for item in map(json.loads, filter(None, lines)) if "id" in item and "type" in item]


def import_objects(where: Connection, wanted: list[dict[str, Any]], *, dry_run: bool = False) -> Iterator[Change]:
    """Import ``wanted`` in one request and yield what became of each; what is there already as wanted is not sent.

    Raises :class:`EngineError` when the dashboards refuse, :class:`allocfail.cluster.errors.UnreachableError`
    when they are not there.
    """
    changes = []
    merged = []
    for item in wanted:
        there = _stored(where, item)
        item = _with_patterns(item, there)  # noqa: PLW2901 - the same object, as it is to be
        merged.append(item)
        action = "created" if there is None else "unchanged" if _same(there, item) else "updated"
        name = f"{item['type']}/{item['id']}"
        old = None if there is None else {key: there["attributes"].get(key) for key in item["attributes"]}
        changes.append(Change("saved object", name, action, diff=diff(name, old, item["attributes"]) if old else ""))
    if not dry_run and any(change.action != "unchanged" for change in changes):
        _import(where, merged)
    yield from changes


def remove_objects(where: Connection, wanted: list[dict[str, Any]], *, dry_run: bool = False) -> Iterator[Change]:
    """Remove those of ``wanted`` that are there and unchanged, in reverse order; yield what became of each."""
    for item in reversed(wanted):
        name = f"{item['type']}/{item['id']}"
        there = _stored(where, item)
        if there is None:
            yield Change("saved object", name, "missing")
        elif not _same(there, _with_patterns(item, there)):
            yield Change("saved object", name, "left", "changed by hand")
        else:
            if not dry_run:
                _call(where, "DELETE", path("api", "saved_objects", item["type"], item["id"]) + "?force=true")
            yield Change("saved object", name, "removed")


def _with_patterns(item: dict[str, Any], there: dict[str, Any] | None) -> dict[str, Any]:
    """Return a data view with the index patterns that somebody has added to it since; anything else as it is."""
    if there is None or item["type"] != "index-pattern":
        return item
    known = item["attributes"]["title"].split(",")
    added = [name for name in str(there["attributes"].get("title", "")).split(",") if name and name not in known]
    return {**item, "attributes": {**item["attributes"], "title": ",".join(known + added)}}


def _stored(where: Connection, item: dict[str, Any]) -> dict[str, Any] | None:
    answer = _call(where, "GET", path("api", "saved_objects", item["type"], item["id"]), missing_ok=True)
    return answer if isinstance(answer, dict) and isinstance(answer.get("attributes"), dict) else None


def _same(there: dict[str, Any], wanted: dict[str, Any]) -> bool:
    """Whether a stored object has all that ``wanted`` has.

    The server adds attributes when it migrates an object, and fills a data view's list of fields when it is first used.
    """
    for name, value in wanted["attributes"].items():
        if wanted["type"] == "index-pattern" and name == "fields":
            continue
        if there["attributes"].get(name) != value:
            return False
    return sorted(map(_key, there.get("references", []))) == sorted(map(_key, wanted.get("references", [])))


def _key(reference: dict[str, Any]) -> tuple[str, ...]:
    return tuple(str(reference.get(name, "")) for name in ("name", "type", "id"))


def _import(where: Connection, wanted: list[dict[str, Any]]) -> None:
    text = "".join(json.dumps(item, separators=(",", ":")) + "\n" for item in wanted)
    form = {"file": ("allocfail.ndjson", text.encode(), "application/ndjson")}
    answer = _call(where, "POST", "/api/saved_objects/_import?overwrite=true", form=form)
    if not isinstance(answer, dict) or not answer.get("success"):
        errors = answer.get("errors", []) if isinstance(answer, dict) else []
        told = "; ".join(
            f"{error.get('type')}/{error.get('id')}: {(error.get('error') or {}).get('type', 'refused')}"
            for error in errors[:5]
        )
        raise EngineError(where.scrub(f"{where.url}: saved objects were not imported: {told or 'no reason given'}"))


def _call(
    where: Connection, method: str, target: str, *, form: dict[str, Any] | None = None, missing_ok: bool = False
) -> Any:
    import urllib3  # noqa: PLC0415 - only with dashboards

    headers = {**_HEADERS, **({"authorization": where.authorization} if where.authorization else {})}
    try:
        answer = http_pool(where).request(method, where.url + target, headers=headers, fields=form, redirect=False)
    except (urllib3.exceptions.HTTPError, OSError, UnicodeError) as error:
        raise unreachable(where, error) from None
    try:
        body = json.loads(answer.data)
    except ValueError:
        body = None
    if answer.status == 404 and missing_ok and isinstance(body, dict):
        return None
    if 300 <= answer.status < 400:  # to a log-in page
        raise api_error(where, 401, body, f"{method} {target.partition('?')[0]}")
    if not 200 <= answer.status < 300:
        raise api_error(where, answer.status, body, f"{method} {target.partition('?')[0]}")
    if body is None:
        raise EngineError(f"{where.url}: neither Kibana nor OpenSearch Dashboards answers there")
    return body
