"""Pointing indices, data streams and hook pipelines at the pipeline, and taking that back.

What was wired is remembered in the cluster, so that what is taken back is that and no more.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any

from allocfail.cluster import mappings
from allocfail.cluster import templates as templates_
from allocfail.cluster.engine import Engine, EngineError, path
from allocfail.cluster.managed import (
    ENTRY,
    SETTINGS,
    Change,
    callers_of,
    calls,
    diff,
    index_users,
    is_ours,
    read_component,
    read_index_templates,
    read_pipelines,
    setting_of,
    signed,
    target_of,
)
from allocfail.errors import AllocfailError, InputError, NotFoundError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

__all__ = ["Plan", "Record", "Wiring", "plan_wiring", "read_record", "resolve", "take_back", "unwire", "wire"]

#: Component template whose ``_meta`` remembers what was wired.
_RECORD = "allocfail-wiring"
#: Tag of the processor that install adds to a hook pipeline.
_HOOK_TAG = "allocfail-hook"


@dataclass(frozen=True)
class Wiring:
    """What is to be pointed at the pipeline."""

    indices: Sequence[str] = ()
    """Indices, data streams, aliases or patterns of such."""
    setting: str = "default"
    """``default`` or ``final``: which of an index's two pipelines."""
    hooks: Sequence[str] = ()
    """Pipelines that call the pipeline, such as ``logs@custom``."""


@dataclass
class Record:
    """What install has wired, as ``_RECORD`` remembers it."""

    indices: dict[str, str] = field(default_factory=dict)
    """Name → setting, of indices that belong to no data stream."""
    streams: dict[str, str] = field(default_factory=dict)
    templates: dict[str, str] = field(default_factory=dict)
    """Index templates of those data streams."""
    hooks: list[str] = field(default_factory=list)

    @classmethod
    def of(cls, meta: Mapping[str, Any]) -> Record:
        """Return the record that :meth:`as_meta` wrote."""
        indices, streams, templates = (dict(meta.get(name, {})) for name in ("indices", "streams", "templates"))
        return cls(indices, streams, templates, list(meta.get("hooks", [])))

    def as_meta(self) -> dict[str, Any]:
        """Return the record as JSON."""
        return {
            "indices": dict(self.indices),
            "streams": dict(self.streams),
            "templates": dict(self.templates),
            "hooks": list(self.hooks),
        }


@dataclass
class Plan:
    """What wiring will do; made, and refused, before anything is written."""

    setting: str = "default"
    indices: dict[str, str | None] = field(default_factory=dict)
    """Concrete index → its pipeline so far."""
    backing: dict[str, str] = field(default_factory=dict)
    """Those of them that belong to a data stream → its name."""
    mappings: dict[str, Mapping[str, Any]] = field(default_factory=dict)
    templates: dict[str, Mapping[str, Any]] = field(default_factory=dict)
    """Index templates of the data streams named."""
    hooks: dict[str, Mapping[str, Any] | None] = field(default_factory=dict)


def read_record(engine: Engine) -> Record:
    """Return what is wired, an empty record where nothing is."""
    body = read_component(engine, _RECORD)
    return Record.of((body or {}).get("_meta", {}).get("wired", {}))


def _write_record(engine: Engine, record: Record, *, dry_run: bool) -> None:
    if dry_run:
        return
    target = path("_component_template", _RECORD)
    if record == Record():
        engine.request("DELETE", target, missing_ok=True)
        return
    body = templates_.stamp({"template": {}}, "What allocfail install has pointed at its pipeline")
    body["_meta"]["wired"] = record.as_meta()
    engine.request("PUT", target, body)


def resolve(engine: Engine, name: str) -> tuple[list[str], dict[str, str]]:
    """Return the concrete indices that a name stands for, and for those of data streams, whose they are.

    A pattern stands for open indices that are not hidden.
    """
    target = f"{path('_resolve', 'index', name)}?expand_wildcards=open"
    answer = engine.request("GET", target, missing_ok=True) or {}
    indices = {item["name"] for item in answer.get("indices", []) if not item.get("data_stream")}
    streams: dict[str, str] = {}
    for item in answer.get("aliases", []):
        indices.update([item["indices"]] if isinstance(item["indices"], str) else item["indices"])
    for item in answer.get("data_streams", []):
        backing = item["backing_indices"]
        streams.update(dict.fromkeys([backing] if isinstance(backing, str) else backing, item["name"]))
    return sorted(indices | set(streams)), streams


def _stream_template(stream: str, templates: Mapping[str, Mapping[str, Any]]) -> str | None:
    """Return the name of the index template that makes a data stream's next backing index."""
    best: tuple[int, str] | None = None
    for name, body in templates.items():
        if "data_stream" not in body:
            continue
        if any(fnmatchcase(stream, str(pattern).replace("[", "[[]")) for pattern in body.get("index_patterns", [])):
            best = max(best or (-1, ""), (int(body.get("priority", 0)), name))
    return best[1] if best else None


def plan_wiring(
    engine: Engine,
    wiring: Wiring,
    pipelines: Mapping[str, Mapping[str, Any]],
    templates: Mapping[str, Mapping[str, Any]],
) -> Plan:
    """Look at everything that is to be wired, and refuse what must not be."""
    if wiring.setting not in SETTINGS:
        raise InputError("a pipeline is wired as default or as final")
    plan = Plan(wiring.setting)
    made = templates_.build()
    setting = SETTINGS[wiring.setting]
    advice = f"call the pipeline {ENTRY} from it (--hook)" + (
        " or use --as final" if wiring.setting == "default" else ""
    )
    for name in wiring.indices:
        indices, streams = resolve(engine, name)
        indices = [index for index in indices if index != made.kb_index]  # articles quote logs, they are none
        if not indices:
            raise NotFoundError(f"no index and no data stream is named {name}")
        plan.backing.update(streams)
        for stream in sorted(set(streams.values())):
            template = _stream_template(stream, templates)
            if template is None:
                continue
            body = templates[template]
            if not is_ours(body) and (body.get("_meta") or {}).get("managed") is True:
                raise AllocfailError(
                    f"data stream {stream}: the product manages its template {template} and would undo a change: "
                    f"use --hook with the custom pipeline it calls, such as {stream.split('-')[0]}@custom"
                )
            there = setting_of((body.get("template") or {}).get("settings") or {}, setting)
            if there not in {None, ENTRY}:
                raise AllocfailError(
                    f"index template {template} already names the {wiring.setting} pipeline {there}: {advice}"
                )
            plan.templates[template] = body
        for concrete in indices:
            answer = engine.request("GET", path(concrete))
            info = answer[concrete]
            there = setting_of(info["settings"], setting)
            if there not in {None, ENTRY}:
                raise AllocfailError(f"index {concrete} already has the {wiring.setting} pipeline {there}: {advice}")
            plan.indices[concrete] = there
            plan.mappings[concrete] = info.get("mappings") or {}
    for hook in wiring.hooks:
        if hook == ENTRY or hook.startswith(f"{ENTRY}-"):
            raise InputError(f"{hook} is a name that allocfail keeps for its own pipelines")
        plan.hooks[hook] = pipelines.get(hook)
    return plan


def wire(engine: Engine, plan: Plan, made: templates_.Templates, *, dry_run: bool) -> Iterator[Change]:
    """Point what the plan names at the pipeline; the pipelines are there already."""
    setting = SETTINGS[plan.setting]
    before = read_record(engine)
    after = Record.of(before.as_meta())
    for name, pipeline in plan.indices.items():
        if pipeline is None and name in plan.backing:
            after.streams[plan.backing[name]] = setting
        elif pipeline is None:
            after.indices[name] = setting
    for name, body in plan.templates.items():
        if not is_ours(body) and _wired_template(body, setting) != body:
            after.templates[name] = setting
    after.hooks += [
        name
        for name, body in plan.hooks.items()
        if name not in after.hooks and (body is None or ENTRY not in set(calls([body])))
    ]
    if after != before:
        # Written first: an interrupted install can be undone.
        _write_record(engine, after, dry_run=dry_run)

    for hook, there in plan.hooks.items():
        yield _add_hook(engine, hook, there, dry_run=dry_run)
    for name, body in plan.templates.items():
        wired = _wired_template(body, setting)
        if is_ours(body) or wired == body:
            yield Change(
                "index template", name, "unchanged", f"{setting} is {ENTRY}" if wired == body else "allocfail's own"
            )
            continue
        if not dry_run:
            engine.request("PUT", path("_index_template", name), wired)
        yield Change(
            "index template", name, "updated", f"{setting} is {ENTRY} for new indices", diff(name, body, wired)
        )
    fields, ecs = (
        made.components[name]["template"]["mappings"]["properties"] for name in ("allocfail-fields", "allocfail-ecs")
    )
    for name, pipeline in plan.indices.items():
        yield _add_fields(engine, name, plan.mappings[name], fields, dry_run=dry_run)
        yield from mappings.map_ecs(engine, name, plan.mappings[name], ecs, dry_run=dry_run)
        if pipeline == ENTRY:
            yield Change("index", name, "unchanged", f"{setting} is {ENTRY}")
            continue
        if not dry_run:
            engine.request("PUT", path(name, "_settings"), {setting: ENTRY})
        yield Change("index", name, "updated", f"{setting} is {ENTRY}", diff(name, {}, {setting: ENTRY}))


def _wired_template(body: Mapping[str, Any], setting: str) -> dict[str, Any]:
    """Return somebody's index template with the pipeline in its settings and the fields among its components."""
    wired: dict[str, Any] = json.loads(json.dumps(body))
    inner = wired.setdefault("template", {}).setdefault("settings", {})
    if setting_of(inner, setting) != ENTRY:
        inner.setdefault("index", {})[setting.removeprefix("index.")] = ENTRY
    composed = wired.setdefault("composed_of", [])
    if "allocfail-fields" not in composed:
        composed.append("allocfail-fields")
    return wired


def _unwired_template(body: Mapping[str, Any], setting: str) -> dict[str, Any]:
    """Undo :func:`_wired_template`."""
    bare: dict[str, Any] = json.loads(json.dumps(body))
    settings = (bare.get("template") or {}).get("settings") or {}
    if setting_of(settings, setting) == ENTRY:
        settings.pop(setting, None)
        inner = settings.get("index", {})
        inner.pop(setting.removeprefix("index."), None)
        if not inner:
            settings.pop("index", None)
        if not settings:
            bare["template"].pop("settings")
    if "allocfail-fields" in bare.get("composed_of", []):
        bare["composed_of"].remove("allocfail-fields")
    return bare


def _add_fields(
    engine: Engine, name: str, mapping: Mapping[str, Any], fields: Mapping[str, Any], *, dry_run: bool
) -> Change:
    """Map the fields below ``allocfail`` in somebody's index, so that they can be aggregated."""
    if not _lacks(mapping.get("properties") or {}, fields):
        return Change("mapping", name, "unchanged")
    change = Change("mapping", name, "updated", "fields of allocfail.*")
    if dry_run:
        return change
    try:
        engine.request("PUT", path(name, "_mapping"), {"properties": fields})
    except EngineError as error:
        if error.status != 400:
            raise
        return Change("mapping", name, "left", f"fields of allocfail.* are mapped in another way: {error.reason}")
    return change


def _lacks(have: Mapping[str, Any], fields: Mapping[str, Any]) -> bool:
    """Whether ``have`` lacks a field of ``fields``; how a field is mapped does not matter."""
    for name, wanted in fields.items():
        there = have.get(name)
        if there is None or _lacks(there.get("properties") or {}, wanted.get("properties") or {}):
            return True
    return False


def _add_hook(engine: Engine, name: str, body: Mapping[str, Any] | None, *, dry_run: bool) -> Change:
    """Make a pipeline call the entry last, and keep everything else in it."""
    if body is not None and ENTRY in set(calls([body])):
        return Change("hook", name, "unchanged", f"calls {ENTRY}")
    processor: dict[str, Any] = {"name": ENTRY, "tag": _HOOK_TAG}
    # A missing pipeline is no reason to lose a document; the two products say so in different words.
    processor["ignore_missing_pipeline" if engine.product == "elasticsearch" else "ignore_failure"] = True
    if body is None:
        hooked = signed(engine, {"description": f"Calls {ENTRY}", "processors": [{"pipeline": processor}]})
    else:
        hooked = {**body, "processors": [*body.get("processors", []), {"pipeline": processor}]}
    if not dry_run:
        engine.request("PUT", path("_ingest", "pipeline", name), hooked)
    action = "created" if body is None else "updated"
    return Change("hook", name, action, f"calls {ENTRY}", diff(name, body, hooked))


def unwire(engine: Engine, wiring: Wiring, *, dry_run: bool = False) -> Iterator[Change]:
    """Take back the wiring of the indices, data streams and hooks named, and nothing else."""
    templates = read_index_templates(engine)
    record = read_record(engine)
    only = Record()
    for name in wiring.indices:
        indices, streams = resolve(engine, name)
        if not indices and name not in record.indices:
            raise NotFoundError(f"no index and no data stream is named {name}")
        for index in indices or [name]:
            for setting in SETTINGS.values():
                if _index_pipeline(engine, index, setting) == ENTRY:
                    only.indices[index] = setting
        for stream in set(streams.values()) & set(record.streams):
            only.streams[stream] = record.streams[stream]
            template = _stream_template(stream, templates)
            if template in record.templates:
                only.templates[template] = record.templates[template]
    only.hooks = list(wiring.hooks)
    yield from take_back(engine, only, record, dry_run=dry_run)


def take_back(engine: Engine, what: Record, record: Record, *, dry_run: bool) -> Iterator[Change]:
    """Take ``what`` back: templates first, so that no new index is wired meanwhile."""
    templates = read_index_templates(engine) if what.templates else {}
    for name, setting in what.templates.items():
        body = templates.get(name)
        bare = _unwired_template(body, setting) if body is not None else None
        if body is not None and bare != body:
            if not dry_run:
                engine.request("PUT", path("_index_template", name), bare)
            yield Change("index template", name, "updated", f"{setting} taken back", diff(name, body, bare))
        record.templates.pop(name, None)
    indices = dict(what.indices)
    for stream, setting in what.streams.items():  # it may have grown since
        indices.update(dict.fromkeys(resolve(engine, stream)[0], setting))
        record.streams.pop(stream, None)
    for name, setting in indices.items():
        there = _index_pipeline(engine, name, setting)
        if there == ENTRY:
            if not dry_run:
                engine.request("PUT", path(name, "_settings"), {setting: None})
            yield Change("index", name, "updated", f"{setting} taken back", diff(name, {setting: ENTRY}, {}))
        elif there is not None:
            yield Change("index", name, "left", f"{setting} is {there} by now")
        record.indices.pop(name, None)
    pipelines = read_pipelines(engine) if what.hooks else {}
    for name in what.hooks:
        yield _remove_hook(engine, name, pipelines, dry_run=dry_run)
        if name in record.hooks:
            record.hooks.remove(name)
    _write_record(engine, record, dry_run=dry_run)


def _index_pipeline(engine: Engine, index: str, setting: str) -> str | None:
    answer = engine.request("GET", f"{path(index, '_settings')}?flat_settings=true", missing_ok=True)
    return setting_of(answer[index]["settings"], setting) if answer else None


def _remove_hook(engine: Engine, name: str, pipelines: Mapping[str, Mapping[str, Any]], *, dry_run: bool) -> Change:
    """Take install's processor out of a pipeline; remove the pipeline if install made it and nothing else is in it."""
    body = pipelines.get(name)
    if body is None:
        return Change("hook", name, "missing")
    kept = [
        item
        for item in body.get("processors", [])
        if not (isinstance(item, dict) and (item.get("pipeline") or {}).get("tag") == _HOOK_TAG)
    ]
    if len(kept) == len(body.get("processors", [])):
        note = f"calls {ENTRY} by a processor that install did not add" if ENTRY in set(calls([body])) else "not wired"
        return Change("hook", name, "left", note)
    target = target_of("pipeline", name)
    if (
        not kept
        and is_ours(body)
        and not callers_of(pipelines, {name}, needed=True)[name]
        and not index_users(engine, {name})
    ):
        if not dry_run:
            engine.request("DELETE", target, missing_ok=True)
        return Change("hook", name, "removed")
    bare = {**body, "processors": kept}
    if not dry_run:
        engine.request("PUT", target, bare)
    return Change("hook", name, "updated", f"no longer calls {ENTRY}", diff(name, body, bare))
