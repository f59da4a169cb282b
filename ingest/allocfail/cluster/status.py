"""Say what is installed in a cluster, whether it is current, and whether it works; writes nothing."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from allocfail.cluster import templates as templates_
from allocfail.cluster.client import Engine, path
from allocfail.cluster.fit import Shape, misfits
from allocfail.cluster.install import event_names
from allocfail.cluster.managed import (
    ENTRY,
    called_pipelines,
    index_users,
    inner_first,
    is_managed,
    read_component,
    read_index_templates,
    read_pipelines,
    was_edited,
    with_digest,
)
from allocfail.cluster.publishing import article_steps
from allocfail.cluster.record import Record, read_record
from allocfail.cluster.steps import Change, diff
from allocfail.cluster.wiring import template_shape
from allocfail.urls import DEFAULT_URL

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from allocfail.cluster.wanted import Wanted

__all__ = ["GOOD", "status"]

#: What is as it should be.
GOOD = frozenset({"current", "decoded", "set", "unset", "wired"})
#: What becomes of a step that install would do.
_WORDS = {"created": "missing", "updated": "outdated", "removed": "outdated", "unchanged": "current"}


def status(engine: Engine, wanted: Wanted) -> Iterator[Change]:
    """Compare a cluster with ``wanted``, list what is wired, and send a probe document through the pipeline.

    Yields ``current``, ``outdated``, ``changed`` (by hand), ``foreign`` or ``missing`` per object; ``wired`` per user
    of the pipeline, or ``refuses`` where an event would not be taken there; ``set`` or ``unset`` for where links
    lead; and ``decoded`` or ``failed`` for the probe.
    """
    present = read_pipelines(engine)
    index_templates = read_index_templates(engine)
    index, stream = event_names(index_templates, None, None)
    made = templates_.build(templates_.missing_types(engine), index=index, stream=stream)
    bodies = {name: with_digest(engine, body) for name, body in wanted.pipelines.items()}
    for name in inner_first(bodies):
        yield _compare("pipeline", name, present.get(name), bodies[name])
    for name, body in made.components.items():
        yield _compare("component template", name, read_component(engine, name), body)
    for name, body in made.index_templates.items():
        yield _compare("index template", name, index_templates.get(name), body)
    for step in article_steps(engine, made, wanted.articles):
        yield step.change._replace(action=_WORDS[step.change.action], diff="")
    if ENTRY in present:
        record = read_record(engine)
        yield from _told(record)
        events = wanted.written(record.only)  # as the pipelines that are there write them
        yield from _wired(engine, events, present, index_templates, set(bodies))
        yield _probe(engine)


def _told(record: Record) -> Iterator[Change]:
    """Yield what install was told."""
    if record.kb_url is None:
        note = "links lead to `allocfail kb serve` on the reader's own machine: install --kb-url, or kb publish"
        yield Change("links", DEFAULT_URL, "unset", note)
    else:
        yield Change("links", record.kb_url, "set", "where links to articles lead")
    if record.only:
        yield Change("fields", ", ".join(record.only), "set", "no other field is written (--only)")


def _wired(
    engine: Engine,
    events: Sequence[Mapping[str, Any]],
    present: Mapping[str, Mapping[str, Any]],
    templates: Mapping[str, Mapping[str, Any]],
    own: set[str],
) -> Iterator[Change]:
    """Yield who sends documents here, and whether events are taken there, or in the next index a template makes."""
    hooks = [name for name, body in present.items() if name not in own and ENTRY in set(called_pipelines([body]))]
    for name in hooks:
        yield Change("hook", name, "wired", f"calls {ENTRY}")
    for pipeline, users in index_users(engine, {ENTRY, *_reaching(present, set(hooks))}).items():
        for user in users:
            kind, _, name = user.rpartition(" ")
            refusal = next(
                filter(None, (_refusal(shape, events) for shape in _shapes(engine, kind, name, templates))), ""
            )
            if refusal:
                yield Change(kind, name, "refuses", refusal)
            else:
                yield Change(kind, name, "wired", f"uses {pipeline}")


def _reaching(present: Mapping[str, Mapping[str, Any]], hooks: set[str]) -> set[str]:
    """Return the pipelines by which a document comes to one of ``hooks``, those included."""
    reached = set(hooks)
    while more := {
        name for name, body in present.items() if name not in reached and reached & set(called_pipelines([body]))
    }:
        reached |= more
    return reached


def _shapes(engine: Engine, kind: str, name: str, templates: Mapping[str, Mapping[str, Any]]) -> Iterator[Shape]:
    """Yield the shapes of an index, or of the indices that a template makes; none where that is gone."""
    if kind == "index":
        for body in (engine.request("GET", path(name), missing_ok=True) or {}).values():
            yield Shape.of(body)
    elif kind == "legacy template":
        for body in (engine.request("GET", path("_template", name), missing_ok=True) or {}).values():
            yield Shape.of(body)
    else:
        for template, body in templates.items():
            if name == template if kind == "index template" else name in body.get("composed_of", []):
                yield template_shape(engine, template)


def _refusal(shape: Shape, events: Sequence[Mapping[str, Any]]) -> str:
    """Return by what an index would refuse an event, empty where by nothing."""
    found = misfits(events, shape)
    return f"{found[0]}: {found[0].remedy}" if found else ""


def _compare(kind: str, name: str, there: Any, wanted: Any) -> Change:
    if there is None:
        return Change(kind, name, "missing")
    if there == wanted:
        return Change(kind, name, "current", f"version {wanted['version']}" if "version" in wanted else "")
    if not is_managed(there):
        return Change(kind, name, "foreign", "not allocfail's", diff(name, there, wanted))
    if was_edited(there):
        return Change(kind, name, "changed", "by hand", diff(name, there, wanted))
    return Change(kind, name, "outdated", f"version {there.get('version', '?')}", diff(name, there, wanted))


def _probe(engine: Engine) -> Change:
    """Send a made-up header through ``_simulate`` and compare what must come out."""
    document, expect = templates_.probe()
    target = path("_ingest", "pipeline", ENTRY, "_simulate")
    answer = engine.request("POST", target, {"docs": [{"_index": "probe", "_id": "1", "_source": document}]})
    result = answer["docs"][0]
    if "doc" not in result:
        error = result.get("error") or {}
        return Change("probe", ENTRY, "failed", engine.where.scrub(str(error.get("reason", "no document came out"))))
    source = result["doc"]["_source"]
    for dotted, value in expect.items():
        found: Any = source
        for part in dotted.split("."):
            found = found.get(part) if isinstance(found, dict) else None
        if found != value:
            return Change(
                "probe",
                ENTRY,
                "failed",
                engine.where.scrub(f"{dotted} is {json.dumps(found)}, not {json.dumps(value)}"),
            )
    return Change("probe", ENTRY, "decoded", str(source.get("allocfail", {}).get("fingerprint", {}).get("id", "")))
