"""Take out of a cluster what install put in, and leave what others use.

The order is that of install, backwards: what is wired is unwired first; a pipeline is removed only when nothing calls
it any more and no document has come through for a while.
"""

from __future__ import annotations

import time
from functools import cache
from typing import TYPE_CHECKING, Any

from allocfail.cluster import templates as templates_
from allocfail.cluster.client import Engine, path
from allocfail.cluster.managed import (
    ENTRY,
    called_pipelines,
    callers_of,
    delete_step,
    index_users,
    inner_first,
    is_managed,
    is_own_pipeline,
    read_component,
    read_index_templates,
    read_pipelines,
    was_edited,
)
from allocfail.cluster.mappings import is_empty
from allocfail.cluster.record import Record, read_record, record_step
from allocfail.cluster.steps import Change, Request, Step, carry_out
from allocfail.cluster.wiring import resolve, unwire_recorded

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

__all__ = ["uninstall"]


def uninstall(
    engine: Engine, *, grace: float = 2.0, delete_events: bool = False, dry_run: bool = False
) -> Iterator[Change]:
    """Take everything out that install put in, except what others use or have changed; yield what was done.

    ``grace`` is for how many seconds no document may have gone through a pipeline before it is removed.
    ``delete_events`` removes the events' index too, which is data and stays otherwise. An object that stays is a
    change with the action ``left`` and the reason. Raises :class:`EngineError` when the cluster refuses a step.
    """
    return carry_out(engine, _steps(engine, grace, delete_events=delete_events), dry_run=dry_run)


def _steps(engine: Engine, grace: float, *, delete_events: bool) -> Iterator[Step]:
    """Yield step after step; what comes later is looked up after what comes before was done."""
    record = read_record(engine)
    wired = record.wired
    gone = {f"index {name}" for name in wired.indices} | {f"index template {name}" for name in wired.templates}
    gone |= {f"index {index}" for stream in wired.streams for index in resolve(engine, stream)[0]}
    steps, hooks, _ = unwire_recorded(engine, wired, record)
    yield from steps
    if forget := record_step(record, Record()):
        yield forget
    pipelines = {name: body for name, body in {**read_pipelines(engine), **hooks}.items() if body is not None}
    yield from _pipeline_steps(engine, pipelines, gone, grace)
    yield from _template_steps(engine, delete_events=delete_events)


def _template_steps(engine: Engine, *, delete_events: bool) -> Iterator[Step]:
    """Yield the steps for templates, the articles, and the events."""
    made = templates_.build()
    templates = read_index_templates(engine)
    patterns: list[str] = []
    for name in made.index_templates:
        body = templates.get(name)
        if body is None:  # an uninstall before this one took it
            patterns += made.index_templates[name]["index_patterns"]
        elif is_managed(body) and delete_events and "data_stream" in body:  # in use it could not be removed
            yield from _delete_events(engine, body["index_patterns"])
        elif is_managed(body):
            patterns += body["index_patterns"]
        yield delete_step("index template", name, body)
    for name in made.components:
        yield delete_step("component template", name, read_component(engine, name))
    answer = engine.request("GET", path(made.kb_index), missing_ok=True)
    mapping = next(iter(answer.values()))["mappings"] if answer else None
    kb = {"_meta": {"managed_by": (mapping.get("_meta") or {}).get("managed_by")}} if mapping is not None else None
    yield delete_step("index", made.kb_index, kb)
    if delete_events:
        yield from _delete_events(engine, patterns)
    else:
        for name, is_stream in _events(engine, patterns).items():
            if not is_stream and is_empty(engine, name):
                yield Step(Change("events", name, "removed", "empty"), (Request("DELETE", path(name)),))
            else:
                yield Step(Change("events", name, "left", "your data: --delete-events removes it"))


def _delete_events(engine: Engine, patterns: Iterable[str]) -> Iterator[Step]:
    for name, is_stream in _events(engine, patterns).items():
        target = path("_data_stream", name) if is_stream else path(name)
        yield Step(Change("events", name, "removed"), (Request("DELETE", target),))


def _events(engine: Engine, patterns: Iterable[str]) -> dict[str, bool]:
    """Return the indices and data streams of these names, and which are the latter."""
    found: dict[str, bool] = {}
    for pattern in patterns:
        indices, streams = resolve(engine, pattern)
        found |= {streams.get(index, index): index in streams for index in indices}
    return dict(sorted(found.items()))


def _pipeline_steps(
    engine: Engine, pipelines: Mapping[str, Mapping[str, Any]], gone: set[str], grace: float
) -> Iterator[Step]:
    """Yield the steps that remove the pipelines nobody uses, callers before called.

    ``gone`` are users that are unwired by then, which in a dry run are there still.
    """
    ours = {name for name, body in pipelines.items() if is_own_pipeline(name, body)}
    if not ours:
        yield Step(Change("pipeline", ENTRY, "missing"))
        return
    reasons: dict[str, str] = {}
    callers, users = callers_of(pipelines, ours), index_users(engine, ours)
    for name in ours:
        who = [f"pipeline {caller}" for caller in callers[name]]
        who += [user for user in users.get(name, []) if user not in gone]
        if who:
            reasons[name] = f"used by {', '.join(sorted(who)[:5])}{' …' if len(who) > 5 else ''}"
        elif was_edited(pipelines[name]):
            reasons[name] = "changed by hand"
    order = list(reversed(inner_first({name: pipelines[name] for name in ours})))
    for name in order:  # what stays needs what it calls
        for inner in set(called_pipelines([pipelines[name]])) & ours if name in reasons else ():
            reasons.setdefault(inner, f"called by {name}")
    wait = _wait_once([name for name in order if name not in reasons], grace)
    for name in order:
        if name in reasons:
            yield Step(Change("pipeline", name, "left", reasons[name]))
        else:
            step = delete_step("pipeline", name, pipelines[name])
            yield Step(step.change, step.requests, look=wait, refusable=True)


def _wait_once(going: list[str], grace: float) -> Callable[[Engine], str]:
    """Return what waits, the first time it is called, for the last document; and says whether they go on coming."""

    @cache
    def wait(engine: Engine) -> str:
        busy = _quiet(engine, going, grace)
        return f"documents still come through ({busy} while waiting): a request names the pipeline" if busy else ""

    return wait


def _quiet(engine: Engine, names: Iterable[str], grace: float) -> int:
    """Wait until no document has gone through the pipelines for ``grace`` seconds; return how many still do.

    Requests that were under way when an index was unwired still name the pipeline, and a shipper may name it itself.
    Gives up after ten times ``grace``.
    """
    wanted = ",".join(f"nodes.*.ingest.pipelines.{name}.c*" for name in names)

    def seen() -> tuple[int, int]:
        nodes = (engine.request("GET", f"/_nodes/stats/ingest?filter_path={wanted}") or {}).get("nodes", {})
        stats = [one for node in nodes.values() for one in node.get("ingest", {}).get("pipelines", {}).values()]
        return sum(int(one.get("count", 0)) for one in stats), sum(int(one.get("current", 0)) for one in stats)

    count, running = seen()
    since, start, first = time.monotonic(), time.monotonic(), count
    while time.monotonic() - since < grace or running:
        if time.monotonic() - start > 10 * max(grace, 0.5):
            return max(1, count - first)
        time.sleep(min(0.25, max(grace / 4, 0.01)))
        now, running = seen()
        if now != count:
            count, since = now, time.monotonic()
    return 0
