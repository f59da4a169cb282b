"""The objects that install puts into a cluster: read, compared, signed, put and removed, the same on both products.

An object says of itself whose it is and carries a digest, by which a change made by hand is seen.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from allocfail.cluster import templates as templates_
from allocfail.cluster.client import Engine, path
from allocfail.cluster.retry import taking
from allocfail.cluster.steps import Change, Request, Step, diff
from allocfail.errors import AllocfailError
from allocfail.painless.pipelines import CUSTOM, ENTRY, dialect

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

__all__ = [
    "CUSTOM",
    "ENTRY",
    "SETTINGS",
    "called_pipelines",
    "callers_of",
    "delete_step",
    "index_users",
    "inner_first",
    "is_managed",
    "is_own_pipeline",
    "put_step",
    "read_component",
    "read_index_templates",
    "read_pipelines",
    "setting_of",
    "target_of",
    "was_edited",
    "with_digest",
]

#: Index settings that name a pipeline.
SETTINGS = {"default": "index.default_pipeline", "final": "index.final_pipeline"}
#: What a server adds to an object by itself.
_SERVER_KEYS = ("created_date", "created_date_millis", "modified_date", "modified_date_millis")
#: Sign in a pipeline's description of whose it is, where the product's pipelines take no ``_meta``.
_SIGN = " [managed by allocfail, digest "


def read_pipelines(engine: Engine) -> dict[str, dict[str, Any]]:
    """Return every pipeline of the cluster."""
    answer = engine.request("GET", "/_ingest/pipeline", missing_ok=True) or {}
    with taking(engine, "GET /_ingest/pipeline"):
        return {name: _bare(body) for name, body in answer.items()}


def read_component(engine: Engine, name: str) -> dict[str, Any] | None:
    """Return a component template as it was put, None where there is none."""
    answer = engine.request("GET", path("_component_template", name), missing_ok=True)
    with taking(engine, "GET /_component_template"):
        found = (answer or {}).get("component_templates") or []
        return _template(found[0]["component_template"]) if found else None


def read_index_templates(engine: Engine) -> dict[str, dict[str, Any]]:
    """Return every composable index template of the cluster, as it was put."""
    answer = engine.request("GET", "/_index_template", missing_ok=True) or {}
    with taking(engine, "GET /_index_template"):
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


def is_managed(body: Mapping[str, Any] | None) -> bool:
    """Whether an object says of itself that install made it."""
    if body is None:
        return False
    meta = body.get("_meta")
    if isinstance(meta, dict) and meta.get("managed_by") == templates_.MANAGED_BY:
        return True
    return _SIGN in str(body.get("description", ""))


def is_own_pipeline(name: str, body: Mapping[str, Any] | None) -> bool:
    """Whether a pipeline is one of allocfail's own, and not a hook that install made."""
    return (name == ENTRY or name.startswith(f"{ENTRY}-")) and is_managed(body)


def was_edited(body: Mapping[str, Any]) -> bool:
    """Whether somebody changed an object after install had put it."""
    meta = body.get("_meta")
    if isinstance(meta, dict) and "digest" in meta:
        return bool(meta["digest"] != templates_.digest(body))
    text, sign, rest = str(body.get("description", "")).partition(_SIGN)
    return bool(sign) and rest.rstrip("]") != templates_.digest({**body, "description": text})


def with_digest(engine: Engine, body: Mapping[str, Any]) -> dict[str, Any]:
    """Return a pipeline signed with its digest: in ``_meta``, or in words where the product's pipelines take none."""
    bare = {key: value for key, value in body.items() if key != "_meta"}
    bare["description"] = str(bare.get("description", "")).partition(_SIGN)[0]
    meta = {**(body.get("_meta") or {}), "managed_by": templates_.MANAGED_BY, "digest": templates_.digest(bare)}
    if dialect(engine.product, engine.version).takes_meta:
        return {**bare, "_meta": meta}
    return {**bare, "description": f"{bare['description']}{_SIGN}{meta['digest']}]"}


def _by_hand(before: Mapping[str, Any], after: Mapping[str, Any]) -> bool:
    """Whether a pipeline is one that `pipelines build` wrote and somebody put, where it could carry no ``_meta``."""
    text, sign, _ = str(after.get("description", "")).partition(_SIGN)
    return bool(sign and text) and before.get("description") == text


def called_pipelines(processors: Any, *, needed: bool = False) -> Iterator[str]:
    """Yield the ids of the pipelines that processors call, nested ones included; ``needed``: that must be there."""
    if isinstance(processors, list):
        for item in processors:
            yield from called_pipelines(item, needed=needed)
    elif isinstance(processors, dict):
        for name, value in processors.items():
            if (
                name == "pipeline"
                and isinstance(value, dict)
                and isinstance(value.get("name"), str)
                and not (needed and value.get("ignore_missing_pipeline") in {True, "true"})
            ):
                yield value["name"]
            yield from called_pipelines(value, needed=needed)


def inner_first(bodies: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """Return the ids so that every pipeline stands behind those it calls."""
    order: list[str] = []

    def visit(name: str, above: tuple[str, ...]) -> None:
        if name in order or name in above:
            return
        for inner in sorted(set(called_pipelines([bodies[name].get("processors"), bodies[name].get("on_failure")]))):
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
            for name in set(called_pipelines([body], needed=needed)) & names:
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


def target_of(kind: str, name: str) -> str:
    """Return the path of an object."""
    where = {"pipeline": ("_ingest", "pipeline"), "component template": ("_component_template",), "index": ()}
    return path(*where.get(kind, ("_index_template",)), name)


def put_step(kind: str, name: str, before: Any, after: Any) -> Step:
    """Return the step that puts an object unless it is there as it should be.

    Raises :class:`AllocfailError` where somebody else's object has that name.
    """
    if before == after:
        return Step(Change(kind, name, "unchanged"))
    if before is not None and not is_managed(before) and not _by_hand(before, after):
        raise AllocfailError(f"{kind} {name} is there and not allocfail's: rename or remove it first")
    note = "had been changed by hand" if before is not None and was_edited(before) else ""
    change = Change(kind, name, "created" if before is None else "updated", note, diff(name, before, after))
    return Step(change, (Request("PUT", target_of(kind, name), after),))


def delete_step(kind: str, name: str, body: Any) -> Step:
    """Return the step that removes an object that is ours and unedited; what others use is left by the server."""
    if body is None:
        return Step(Change(kind, name, "missing"))
    if not is_managed(body):
        return Step(Change(kind, name, "left", "not allocfail's"))
    if was_edited(body):
        return Step(Change(kind, name, "left", "changed by hand"))
    return Step(Change(kind, name, "removed"), (Request("DELETE", target_of(kind, name)),), refusable=True)
