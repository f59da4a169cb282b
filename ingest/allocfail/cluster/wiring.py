"""Pointing indices, data streams and hook pipelines at the pipeline, and taking that back.

Each kind of wire is a class with ``wire`` and ``unwire`` side by side. What was wired is remembered in the cluster
(:mod:`allocfail.cluster.record`), so that what is taken back is that and no more.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any

from allocfail.cluster import templates as templates_
from allocfail.cluster.client import Engine, path
from allocfail.cluster.fit import Shape, lacking
from allocfail.cluster.managed import (
    CUSTOM,
    ENTRY,
    SETTINGS,
    called_pipelines,
    callers_of,
    index_users,
    is_managed,
    read_index_templates,
    read_pipelines,
    setting_of,
    target_of,
    with_digest,
)
from allocfail.cluster.record import Record, Wired, read_record, record_step
from allocfail.cluster.steps import Change, Request, Step, carry_out, diff
from allocfail.errors import AllocfailError, InputError, NotFoundError
from allocfail.painless.pipelines import dialect

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

__all__ = [
    "HookWire",
    "IndexWire",
    "Target",
    "TemplateWire",
    "Wires",
    "Wiring",
    "plan_wires",
    "resolve",
    "template_shape",
    "unwire",
    "unwire_recorded",
]

#: Tag of the processor that install adds to a hook pipeline.
_HOOK_TAG = "allocfail-hook"
#: Index settings by which no document can be put into an index.
_BLOCKS = ("index.blocks.write", "index.blocks.read_only", "index.blocks.read_only_allow_delete")
_FIELDS, _ECS = "allocfail-fields", "allocfail-ecs"


@dataclass(frozen=True)
class Wiring:
    """What is to be pointed at the pipeline."""

    indices: Sequence[str] = ()
    """Indices, data streams, aliases or patterns of such."""
    setting: str = "default"
    """``default`` or ``final``: which of an index's two pipelines."""
    hooks: Sequence[str] = ()
    """Pipelines that call the pipeline, such as ``logs@custom``."""


@dataclass(frozen=True)
class IndexWire:
    """An index whose setting names the pipeline."""

    name: str
    setting: str
    there: str | None
    """The pipeline that the setting names now."""

    def wire(self) -> Step:
        """Return the step that sets it."""
        if self.there == ENTRY:
            return Step(Change("index", self.name, "unchanged", f"{self.setting} is {ENTRY}"))
        change = Change("index", self.name, "updated", f"{self.setting} is {ENTRY}", self._diff({}, ENTRY))
        return Step(change, (Request("PUT", path(self.name, "_settings"), {self.setting: ENTRY}),))

    def unwire(self) -> Step | None:
        """Return the step that takes it back; None where the setting names nothing."""
        if self.there is None:
            return None
        if self.there != ENTRY:
            return Step(Change("index", self.name, "left", f"{self.setting} is {self.there} by now"))
        change = Change("index", self.name, "updated", f"{self.setting} taken back", self._diff(ENTRY, {}))
        return Step(change, (Request("PUT", path(self.name, "_settings"), {self.setting: None}),))

    def _diff(self, before: Any, after: Any) -> str:
        old, new = ({self.setting: value} if value else {} for value in (before, after))
        return diff(self.name, old, new)


@dataclass(frozen=True)
class TemplateWire:
    """Somebody's index template, with the pipeline among its settings and the fields among its components."""

    name: str
    setting: str
    body: Mapping[str, Any]
    ecs: bool = False
    """The ECS fields of an event are composed in too, before its own: what it says of a field itself wins."""

    def wire(self) -> Step:
        """Return the step that puts both in."""
        wired = self.wired()
        if wired == self.body or is_managed(self.body):
            own = "allocfail's own" if is_managed(self.body) else f"{self.setting} is {ENTRY}"
            return Step(Change("index template", self.name, "unchanged", own))
        return self._put(wired, f"{self.setting} is {ENTRY} for new indices")

    def unwire(self) -> Step | None:
        """Return the step that takes both out; None where neither is in."""
        bare = self._unwired()
        return None if bare == self.body else self._put(bare, f"{self.setting} taken back")

    def _put(self, body: dict[str, Any], note: str) -> Step:
        change = Change("index template", self.name, "updated", note, diff(self.name, self.body, body))
        return Step(change, (Request("PUT", path("_index_template", self.name), body),))

    def wired(self) -> dict[str, Any]:
        """Return the template as it is to be."""
        wired: dict[str, Any] = copy.deepcopy(dict(self.body))
        inner = wired.setdefault("template", {}).setdefault("settings", {})
        if setting_of(inner, self.setting) != ENTRY:
            inner.setdefault("index", {})[self.setting.removeprefix("index.")] = ENTRY
        composed = wired.setdefault("composed_of", [])
        if _FIELDS not in composed:
            composed.append(_FIELDS)
        if self.ecs and _ECS not in composed:
            composed.insert(0, _ECS)
        return wired

    def _unwired(self) -> dict[str, Any]:
        bare: dict[str, Any] = copy.deepcopy(dict(self.body))
        settings = (bare.get("template") or {}).get("settings") or {}
        if setting_of(settings, self.setting) == ENTRY:
            settings.pop(self.setting, None)
            inner = settings.get("index", {})
            inner.pop(self.setting.removeprefix("index."), None)
            if not inner:
                settings.pop("index", None)
            if not settings:
                bare["template"].pop("settings")
        if "composed_of" in bare:
            bare["composed_of"] = [name for name in bare["composed_of"] if name not in {_FIELDS, _ECS}]
        return bare


@dataclass(frozen=True)
class HookWire:
    """A pipeline that calls the entry last; everything else in it is kept."""

    name: str
    body: Mapping[str, Any] | None
    """As it is; None where it is not there."""

    @property
    def calls(self) -> bool:
        """Whether it calls the entry already."""
        return self.body is not None and ENTRY in set(called_pipelines([self.body]))

    def wire(self, engine: Engine) -> Step:
        """Return the step that adds the call."""
        if self.calls:
            return Step(Change("hook", self.name, "unchanged", f"calls {ENTRY}"))
        # A missing pipeline is no reason to lose a document; the products say so in different words.
        optional = dialect(engine.product, engine.version).optional
        call = {"pipeline": {"name": ENTRY, "tag": _HOOK_TAG, optional: True}}
        if self.body is None:
            return self._put(with_digest(engine, {"description": f"Calls {ENTRY}", "processors": [call]}), "created")
        return self._put({**self.body, "processors": [*self.body.get("processors", []), call]}, "updated")

    def unwire(self, engine: Engine, pipelines: Mapping[str, Mapping[str, Any]]) -> tuple[Step, dict[str, Any] | None]:
        """Return the step that takes install's call out, and the pipeline as it is then; None where it is gone.

        The pipeline goes where install made it, nothing else is in it, and nobody uses it.
        """
        if self.body is None:
            return Step(Change("hook", self.name, "missing")), None
        there = self.body.get("processors", [])
        kept = [item for item in there if not _is_hook_call(item)]
        if len(kept) == len(there):
            note = f"calls {ENTRY} by a processor that install did not add" if self.calls else "not wired"
            return Step(Change("hook", self.name, "left", note)), dict(self.body)
        used = callers_of(pipelines, {self.name}, needed=True)[self.name] or index_users(engine, {self.name})
        if not kept and is_managed(self.body) and not used:
            target = target_of("pipeline", self.name)
            return Step(Change("hook", self.name, "removed"), (Request("DELETE", target),)), None
        bare = {**self.body, "processors": kept}
        return self._put(bare, "updated", f"no longer calls {ENTRY}"), bare

    def _put(self, body: dict[str, Any], action: str, note: str = f"calls {ENTRY}") -> Step:
        change = Change("hook", self.name, action, note, diff(self.name, self.body, body))
        return Step(change, (Request("PUT", target_of("pipeline", self.name), body),))


def _is_hook_call(item: Any) -> bool:
    return isinstance(item, dict) and (item.get("pipeline") or {}).get("tag") == _HOOK_TAG


@dataclass(frozen=True)
class Target:
    """An index, or a template for the next one, as far as events have to fit into it."""

    kind: str
    """``index`` or ``index template``."""
    name: str
    shape: Shape
    """As it is before anything is wired."""
    writable: bool = True
    """Whether documents can be put into it: no block is on it."""
    stream: str | None = None
    """The data stream that it belongs to."""
    ecs: bool = True
    """Wiring maps the ECS fields of an event there too, and not only ``allocfail.*``."""

    def mapping_step(self, fields: Mapping[str, Any]) -> Step:
        """Return the step that maps those of the properties ``fields`` that the index does not map yet."""
        missing = lacking(self.shape.mapping.get("properties") or {}, fields)
        if not missing:
            return Step(Change("mapping", self.name, "unchanged"))
        change = Change("mapping", self.name, "updated", f"fields of {', '.join(sorted(missing))}")
        return Step(change, (Request("PUT", path(self.name, "_mapping"), {"properties": missing}),), refusable=True)


@dataclass
class Wires:
    """What wiring will do; made, and refused, before anything is written."""

    indices: list[IndexWire] = field(default_factory=list)
    templates: list[TemplateWire] = field(default_factory=list)
    hooks: list[HookWire] = field(default_factory=list)
    targets: list[Target] = field(default_factory=list)

    def recorded(self, record: Record) -> Record:
        """Return what the record is to say once all of this is wired; what was there before is nobody's wire."""
        after = record.copy()
        streams = {target.name: target.stream for target in self.targets if target.kind == "index"}
        for index in self.indices:
            if index.there is None and (stream := streams.get(index.name)):
                after.wired.streams[stream] = index.setting
            elif index.there is None:
                after.wired.indices[index.name] = index.setting
        for template in self.templates:
            if template.wire().requests:
                after.wired.templates[template.name] = template.setting
        after.wired.hooks += [one.name for one in self.hooks if not one.calls and one.name not in after.wired.hooks]
        return after

    def steps(self, engine: Engine) -> Iterator[Step]:
        """Yield the steps, hooks first and templates before indices, so that no index is made in between."""
        yield from (hook.wire(engine) for hook in self.hooks)
        yield from (template.wire() for template in self.templates)
        yield from (index.wire() for index in self.indices)


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


def template_shape(engine: Engine, template: str) -> Shape:
    """Return the shape that an index gets from an index template and its components."""
    made = engine.request("POST", path("_index_template", "_simulate", template))
    return Shape.of((made or {}).get("template") or {})


def plan_wires(
    engine: Engine,
    wiring: Wiring,
    pipelines: Mapping[str, Mapping[str, Any]],
    templates: Mapping[str, Mapping[str, Any]],
) -> Wires:
    """Look at everything that is to be wired, and refuse what must not be."""
    if wiring.setting not in SETTINGS:
        raise InputError("a pipeline is wired as default or as final")
    wires = Wires()
    for name in wiring.indices:
        _plan_index(engine, wires, name, wiring.setting, templates)
    for hook in wiring.hooks:
        if hook == ENTRY or hook.startswith(f"{ENTRY}-"):
            raise InputError(f"{hook} is a name that allocfail keeps for its own pipelines")
        if hook == CUSTOM:
            raise InputError(f"{hook} is called by {ENTRY}: it can't call it back")
        wires.hooks.append(HookWire(hook, pipelines.get(hook)))
    return wires


def _plan_index(
    engine: Engine, wires: Wires, name: str, which: str, templates: Mapping[str, Mapping[str, Any]]
) -> None:
    setting = SETTINGS[which]
    advice = f"call the pipeline {ENTRY} from it (--hook)" + (" or use --as final" if which == "default" else "")
    if not name.strip():
        raise InputError("--index needs the name of an index or data stream")
    indices, streams = resolve(engine, name)
    indices = [index for index in indices if index != templates_.build().kb_index]  # articles quote logs, they are none
    if not indices:
        raise NotFoundError(f"no index and no data stream is named {name}")
    for stream in sorted(set(streams.values())):
        template = _stream_template(stream, templates)
        if template is None or any(one.name == template for one in wires.templates):
            continue
        body = templates[template]
        if not is_managed(body) and (body.get("_meta") or {}).get("managed") is True:
            raise AllocfailError(
                f"data stream {stream}: the product manages its template {template} and would undo a change: "
                f"use --hook with the custom pipeline it calls, such as {stream.split('-')[0]}@custom"
            )
        there = setting_of((body.get("template") or {}).get("settings") or {}, setting)
        if there not in {None, ENTRY}:
            raise AllocfailError(f"index template {template} already names the {which} pipeline {there}: {advice}")
        shape = template_shape(engine, template)
        ecs = templates_.build().components[_ECS]["template"]["mappings"]["properties"]
        composed = shape.strict or shape.takes(ecs)
        wires.templates.append(TemplateWire(template, setting, body, composed))
        wires.targets.append(Target("index template", template, shape, writable=False, ecs=composed))
    for concrete in indices:
        if any(one.name == concrete for one in wires.indices):
            continue
        info = engine.request("GET", path(concrete))[concrete]
        there = setting_of(info["settings"], setting)
        if there not in {None, ENTRY}:
            raise AllocfailError(f"index {concrete} already has the {which} pipeline {there}: {advice}")
        wires.indices.append(IndexWire(concrete, setting, there))
        writable = not any(
            _blocked(info["settings"], kind) for kind in ("write", "read_only", "read_only_allow_delete")
        )
        wires.targets.append(Target("index", concrete, Shape.of(info), writable, streams.get(concrete)))


def _blocked(settings: Mapping[str, Any], kind: str) -> bool:
    return setting_of(settings, f"index.blocks.{kind}") == "true"


def unwire(engine: Engine, wiring: Wiring, *, dry_run: bool = False) -> Iterator[Change]:
    """Take back the wiring of the indices, data streams and hooks named, and nothing else."""
    templates = read_index_templates(engine)
    record = read_record(engine)
    only = Wired(hooks=list(wiring.hooks))
    for name in wiring.indices:
        indices, streams = resolve(engine, name)
        if not indices and name not in record.wired.indices:
            raise NotFoundError(f"no index and no data stream is named {name}")
        for index in indices or [name]:
            for setting in SETTINGS.values():
                if _index_pipeline(engine, index, setting) == ENTRY:
                    only.indices[index] = setting
        for stream in set(streams.values()) & set(record.wired.streams):
            only.streams[stream] = record.wired.streams[stream]
            template = _stream_template(stream, templates)
            if template in record.wired.templates:
                only.templates[template] = record.wired.templates[template]
    steps, _, after = unwire_recorded(engine, only, record)
    if forget := record_step(record, after):
        steps.append(forget)
    return carry_out(engine, steps, dry_run=dry_run)


def unwire_recorded(
    engine: Engine, what: Wired, record: Record
) -> tuple[list[Step], dict[str, dict[str, Any] | None], Record]:
    """Return the steps that take ``what`` back, templates first, so that no new index is wired meanwhile.

    Returned too: the hook pipelines as they are then (None: gone), and the record as it is to be.
    """
    after = record.copy()
    steps: list[Step | None] = []
    templates = read_index_templates(engine) if what.templates else {}
    for name, setting in what.templates.items():
        if name in templates:
            steps.append(TemplateWire(name, setting, templates[name]).unwire())
        after.wired.templates.pop(name, None)
    indices = dict(what.indices)
    for stream, setting in what.streams.items():  # it may have grown since
        indices.update(dict.fromkeys(resolve(engine, stream)[0], setting))
        after.wired.streams.pop(stream, None)
    for name, setting in indices.items():
        steps.append(IndexWire(name, setting, _index_pipeline(engine, name, setting)).unwire())
        after.wired.indices.pop(name, None)
    pipelines = read_pipelines(engine) if what.hooks else {}
    hooks: dict[str, dict[str, Any] | None] = {}
    for name in what.hooks:
        step, hooks[name] = HookWire(name, pipelines.get(name)).unwire(engine, pipelines)
        steps.append(step)
        if name in after.wired.hooks:
            after.wired.hooks.remove(name)
    return [step for step in steps if step is not None], hooks, after


def _index_pipeline(engine: Engine, index: str, setting: str) -> str | None:
    answer = engine.request("GET", f"{path(index, '_settings')}?flat_settings=true", missing_ok=True)
    return setting_of(answer[index]["settings"], setting) if answer else None
