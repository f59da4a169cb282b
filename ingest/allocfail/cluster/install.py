"""Install into a cluster.

Order is what keeps other people's documents safe: everything is looked at, and refused, before anything is written; a
pipeline is put after every pipeline that it calls, and wired to indices after events have proved to be taken there.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from allocfail.cluster import templates as templates_
from allocfail.cluster.managed import (
    callers_of,
    inner_first,
    is_managed,
    is_own_pipeline,
    put_step,
    read_component,
    read_index_templates,
    read_pipelines,
    target_of,
    with_digest,
)
from allocfail.cluster.mappings import events_index_step, second_name_steps
from allocfail.cluster.probing import event_fields, probe_steps, require_fit
from allocfail.cluster.publishing import article_steps
from allocfail.cluster.record import read_record, record_step
from allocfail.cluster.steps import Change, Request, Step, carry_out
from allocfail.cluster.wanted import Wanted
from allocfail.cluster.wiring import Wires, Wiring, plan_wires
from allocfail.errors import AllocfailError
from allocfail.release import version_text

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from allocfail.cluster.client import Engine

__all__ = ["Wanted", "Wiring", "event_names", "install"]


def install(
    engine: Engine,
    wanted: Wanted,
    wiring: Wiring | None = None,
    *,
    index: str | None = None,
    stream: str | None = None,
    downgrade: bool = False,
    dry_run: bool = False,
) -> Iterator[Change]:
    """Bring a cluster to ``wanted`` and wire it; yield what was done with each object, as it is done.

    ``index`` and ``stream`` name the events' index and data stream; None keeps those of an earlier install.
    ``downgrade`` lets an older release replace what a newer one has put. With ``dry_run`` nothing is written. Raises
    :class:`AllocfailError` on what stands in the way, before anything is changed where that can be known, and
    :class:`EngineError` when the cluster refuses a step.
    """
    steps = _plan(engine, wanted, wiring or Wiring(), index=index, stream=stream, downgrade=downgrade)
    return carry_out(engine, steps, dry_run=dry_run)


def _plan(
    engine: Engine, wanted: Wanted, wiring: Wiring, *, index: str | None, stream: str | None, downgrade: bool
) -> list[Step]:
    present = read_pipelines(engine)
    index_templates = read_index_templates(engine)
    index, stream = event_names(index_templates, index, stream)
    made = templates_.build(templates_.missing_types(engine), index=index, stream=stream)
    components = {name: read_component(engine, name) for name in made.components}
    bodies = {name: with_digest(engine, body) for name, body in wanted.pipelines.items()}
    if not downgrade:
        _refuse_newer([*components.values(), *(index_templates.get(one) for one in made.index_templates)], made)
        _refuse_newer([body for name, body in present.items() if is_own_pipeline(name, body)], made)

    steps = [put_step("component template", name, components[name], body) for name, body in made.components.items()]
    steps += [
        put_step("index template", name, index_templates.get(name), body) for name, body in made.index_templates.items()
    ]
    steps.append(events_index_step(engine, made.events_index))
    steps += article_steps(engine, made, wanted.articles)
    steps += [put_step("pipeline", name, present.get(name), bodies[name]) for name in inner_first(bodies)]
    wires = plan_wires(engine, wiring, present, index_templates)
    steps += _wire_steps(engine, wanted, wires, made)
    return steps + list(_stale_steps(present, bodies))


def _refuse_newer(bodies: Iterable[Mapping[str, Any] | None], made: templates_.Templates) -> None:
    own = int(next(iter(made.components.values()))["version"])
    there = max((int(body.get("version", 0)) for body in bodies if body is not None and is_managed(body)), default=0)
    if there > own:
        raise AllocfailError(
            f"a newer allocfail ({version_text(there)}) has installed there, and this is {version_text(own)}: "
            "upgrade this one, or replace what is there with --downgrade"
        )


def _wire_steps(engine: Engine, wanted: Wanted, wires: Wires, made: templates_.Templates) -> list[Step]:
    """Return the steps that wire, after it was checked that what is to be wired takes events."""
    fields = event_fields(wanted, made.components)
    require_fit(wires.targets, wanted, fields)
    steps: list[Step] = []
    for target in wires.targets:
        if target.kind == "index":
            steps.append(target.mapping_step(fields))
            steps += second_name_steps(target.name, target.shape.mapping.get("properties") or {}, fields)
    wired = {one.name for one in wires.indices if not one.wire().requests}
    steps += probe_steps([target for target in wires.targets if target.name not in wired], wanted.probes, wanted.only)
    before = read_record(engine)
    after = wires.recorded(before)
    after.kb_url = wanted.kb_url or before.kb_url
    after.only = wanted.only
    if remember := record_step(before, after):
        steps.append(remember)  # before anything is wired: an interrupted install can be undone
    return [*steps, *wires.steps(engine)]


def _stale_steps(present: Mapping[str, Any], bodies: Mapping[str, Any]) -> Iterator[Step]:
    """Yield the steps that remove what an earlier version made and this one does not; the entry no longer calls it."""
    stale = {name for name, body in present.items() if name not in bodies and is_own_pipeline(name, body)}
    users = callers_of({**present, **bodies}, stale)
    for name in sorted(stale):
        if users[name]:
            note = f"no longer part of allocfail, but called by {', '.join(users[name])}"
            yield Step(Change("pipeline", name, "left", note))
        else:
            change = Change("pipeline", name, "removed", "no longer part of allocfail")
            yield Step(change, (Request("DELETE", target_of("pipeline", name)),))


def event_names(present: Mapping[str, Any], index: str | None, stream: str | None) -> tuple[str | None, str | None]:
    """Return the names asked for, else those that an earlier install was asked for."""
    default = templates_.build()
    names: list[str | None] = []
    for name, given in (("allocfail-events", index), ("allocfail-events-stream", stream)):
        patterns = (present.get(name) or {}).get("index_patterns") or []
        known = default.index_templates[name]["index_patterns"]
        kept = patterns[0] if is_managed(present.get(name)) and patterns and patterns != known else None
        names.append(given or kept)
    return names[0], names[1]
