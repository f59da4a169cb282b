"""The objects that install puts into a cluster: read, compared, signed, put and removed, the same on both products.

An object says of itself whose it is and carries a digest, by which a change made by hand is seen.
"""

from __future__ import annotations

import difflib
import json
from typing import TYPE_CHECKING, Any, NamedTuple

from allocfail.cluster import templates as templates_
from allocfail.cluster.engine import Engine, EngineError, path
from allocfail.errors import AllocfailError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

__all__ = [
    "ENTRY",
    "SETTINGS",
    "Change",
    "callers_of",
    "calls",
    "delete_object",
    "diff",
    "index_users",
    "inner_first",
    "is_ours",
    "is_own_pipeline",
    "is_touched",
    "put_object",
    "read_component",
    "read_index_templates",
    "read_pipelines",
    "setting_of",
    "signed",
    "target_of",
]

#: Id of the pipeline that documents are sent to.
ENTRY = "allocfail"
#: Index settings that name a pipeline.
SETTINGS = {"default": "index.default_pipeline", "final": "index.final_pipeline"}
#: What a server adds to an object by itself.
_SERVER_KEYS = ("created_date", "created_date_millis", "modified_date", "modified_date_millis")
#: Sign in a pipeline's description of whose it is, where the product's pipelines take no ``_meta``.
_SIGN = " [managed by allocfail, digest "


class Change(NamedTuple):
    """What was done, or with ``dry_run`` would be done, with one object."""

    kind: str
    """``pipeline``, ``component template``, ``index template``, ``index``, ``article``, ``hook``, …"""
    id: str
    action: str
    """``created``, ``updated``, ``unchanged``, ``removed``, ``left``; see :func:`status` for what that one yields."""
    note: str = ""
    diff: str = ""


def read_pipelines(engine: Engine) -> dict[str, dict[str, Any]]:
    """Return every pipeline of the cluster."""
    answer = engine.request("GET", "/_ingest/pipeline", missing_ok=True) or {}
    return {name: _bare(body) for name, body in answer.items()}


def read_component(engine: Engine, name: str) -> dict[str, Any] | None:
    """Return a component template as it was put, None where there is none."""
    answer = engine.request("GET", path("_component_template", name), missing_ok=True)
    found = (answer or {}).get("component_templates") or []
    return _template(found[0]["component_template"]) if found else None


def read_index_templates(engine: Engine) -> dict[str, dict[str, Any]]:
    """Return every composable index template of the cluster, as it was put."""
    answer = engine.request("GET", "/_index_template", missing_ok=True) or {}
    return {item["name"]: _template(item["index_template"]) for item in answer.get("index_templates", [])}


def _bare(body: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in body.items() if key not in _SERVER_KEYS}


def _template(body: Mapping[str, Any]) -> dict[str, Any]:
    """Return a template without what a server adds: dates, empty parts, a data stream's defaults."""
    bare = _bare(body)
    if "data_stream" in bare:
        extra = {key: value for key, value in (bare["data_stream"] or {}).items() if value is True}
        bare["data_stream"] = extra
    inner = {key: value for key, value in (bare.get("template") or {}).items() if value != {}}
    if inner or "template" in bare:
        bare["template"] = inner
    return bare


def is_ours(body: Mapping[str, Any] | None) -> bool:
    """Whether an object says of itself that install made it."""
    if body is None:
        return False
    meta = body.get("_meta")
    if isinstance(meta, dict) and meta.get("managed_by") == templates_.MANAGED_BY:
        return True
    return _SIGN in str(body.get("description", ""))


def is_own_pipeline(name: str, body: Mapping[str, Any] | None) -> bool:
    """Whether a pipeline is one of allocfail's own, and not a hook that install made."""
    return (name == ENTRY or name.startswith(f"{ENTRY}-")) and is_ours(body)


def is_touched(body: Mapping[str, Any]) -> bool:
    """Whether somebody changed an object after install had put it."""
    meta = body.get("_meta")
    if isinstance(meta, dict) and "digest" in meta:
        return bool(meta["digest"] != templates_.digest(body))
    text, sign, rest = str(body.get("description", "")).partition(_SIGN)
    return bool(sign) and rest.rstrip("]") != templates_.digest({**body, "description": text})


def signed(engine: Engine, body: Mapping[str, Any]) -> dict[str, Any]:
    """Return a pipeline signed with its digest: in ``_meta``, or in words where the product's pipelines take none."""
    bare = {key: value for key, value in body.items() if key != "_meta"}
    bare["description"] = str(bare.get("description", "")).partition(_SIGN)[0]
    meta = {**(body.get("_meta") or {}), "managed_by": templates_.MANAGED_BY, "digest": templates_.digest(bare)}
    if engine.product == "elasticsearch":
        return {**bare, "_meta": meta}
    return {**bare, "description": f"{bare['description']}{_SIGN}{meta['digest']}]"}


def _by_hand(before: Mapping[str, Any], after: Mapping[str, Any]) -> bool:
    """Whether a pipeline is one that `pipelines build` wrote and somebody put, where it could carry no ``_meta``."""
    text, sign, _ = str(after.get("description", "")).partition(_SIGN)
    return bool(sign and text) and before.get("description") == text


def calls(processors: Any, *, needed: bool = False) -> Iterator[str]:
    """Yield the ids of the pipelines that processors call, nested ones included; ``needed``: that must be there."""
    if isinstance(processors, list):
        for item in processors:
            yield from calls(item, needed=needed)
    elif isinstance(processors, dict):
        for name, value in processors.items():
            if (
                name == "pipeline"
                and isinstance(value, dict)
                and isinstance(value.get("name"), str)
                and not (needed and value.get("ignore_missing_pipeline") in {True, "true"})
            ):
                yield value["name"]
            yield from calls(value, needed=needed)


def inner_first(bodies: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """Return the ids so that every pipeline stands behind those it calls."""
    order: list[str] = []

    def visit(name: str, above: tuple[str, ...]) -> None:
        if name in order or name in above:
            return
        for inner in sorted(set(calls([bodies[name].get("processors"), bodies[name].get("on_failure")]))):
            if inner in bodies:
                visit(inner, (*above, name))
        order.append(name)

    for name in sorted(bodies, key=lambda name: (name == ENTRY, name)):
        visit(name, ())
    return order


def setting_of(settings: Mapping[str, Any], name: str) -> str | None:
    """Return a pipeline setting's value from flat or nested settings; ``_none`` counts as not set."""
    value: Any = settings.get(name)
    if value is None:
        value = settings
        for part in name.split("."):
            value = value.get(part) if isinstance(value, dict) else None
    return None if value is None or value == "_none" else str(value)


def callers_of(
    pipelines: Mapping[str, Mapping[str, Any]], names: set[str], *, needed: bool = False
) -> dict[str, list[str]]:
    """Return, for each of ``names``, the pipelines outside ``names`` that call it.

    ``needed``: only those whose documents would fail without it.
    """
    users: dict[str, list[str]] = {name: [] for name in names}
    for caller, body in pipelines.items():
        if caller not in names:
            for name in set(calls([body], needed=needed)) & names:
                users[name].append(caller)
    return users


def index_users(engine: Engine, names: set[str]) -> dict[str, list[str]]:
    """Return, for each of ``names``, what makes indices use it: indices, index templates of both kinds, components."""
    users: dict[str, list[str]] = {}

    def note(where: str, settings: Mapping[str, Any]) -> None:
        for setting in SETTINGS.values():
            pipeline = setting_of(settings, setting)
            if pipeline in names:
                users.setdefault(str(pipeline), []).append(where)

    wanted = ",".join(f"*.settings.{setting}" for setting in SETTINGS.values())
    target = f"/_all/_settings?expand_wildcards=all&filter_path={wanted}"
    for index, body in (engine.request("GET", target) or {}).items():
        note(f"index {index}", body["settings"])
    for name, body in read_index_templates(engine).items():
        note(f"index template {name}", (body.get("template") or {}).get("settings") or {})
    answer = engine.request("GET", "/_component_template", missing_ok=True) or {}
    for item in answer.get("component_templates", []):
        note(f"component template {item['name']}", item["component_template"].get("template", {}).get("settings") or {})
    for name, body in (engine.request("GET", "/_template?flat_settings=true", missing_ok=True) or {}).items():
        note(f"legacy template {name}", body.get("settings") or {})
    return users


def diff(name: str, before: Any, after: Any) -> str:
    """Return a unified diff of two JSON values (None: not there), empty where they are equal.

    Texts of several lines, as a script's source, are compared line by line.
    """
    old, new = (
        [] if value is None else json.dumps(_lines(value), indent=2, sort_keys=True).splitlines()
        for value in (before, after)
    )
    return "\n".join(difflib.unified_diff(old, new, f"cluster/{name}", f"allocfail/{name}", lineterm="", n=2))


def _lines(value: Any) -> Any:
    """Return a JSON value with every text of several lines as a list of them."""
    if isinstance(value, dict):
        return {key: _lines(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [_lines(inner) for inner in value]
    return value.split("\n") if isinstance(value, str) and "\n" in value else value


def target_of(kind: str, name: str) -> str:
    """Return the path of an object."""
    where = {"pipeline": ("_ingest", "pipeline"), "component template": ("_component_template",)}
    return path(*where.get(kind, ("_index_template",)), name)


def put_object(engine: Engine, kind: str, name: str, before: Any, after: Any, *, dry_run: bool) -> Change:
    """Put an object unless it is there as it should be."""
    if before == after:
        return Change(kind, name, "unchanged")
    if before is not None and not is_ours(before) and not _by_hand(before, after):
        raise AllocfailError(f"{kind} {name} is there and not allocfail's: rename or remove it first")
    note = "had been changed by hand" if before is not None and is_touched(before) else ""
    change = Change(kind, name, "created" if before is None else "updated", note, diff(name, before, after))
    if not dry_run:
        engine.request("PUT", target_of(kind, name), after)
    return change


def delete_object(engine: Engine, kind: str, name: str, target: str, body: Any, *, dry_run: bool) -> Change:
    """Remove an object that is ours and unchanged; what the server keeps because others use it is left."""
    if body is None:
        return Change(kind, name, "missing")
    if not is_ours(body):
        return Change(kind, name, "left", "not allocfail's")
    if is_touched(body):
        return Change(kind, name, "left", "changed by hand")
    if not dry_run:
        try:
            engine.request("DELETE", target, missing_ok=True)
        except EngineError as error:
            if error.status != 400:
                raise
            return Change(kind, name, "left", error.reason)
    return Change(kind, name, "removed")
