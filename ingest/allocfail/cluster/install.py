"""Install into a cluster, take out of it again, and say what is there.

Order is what keeps other people's documents safe. A pipeline is put after every pipeline that it calls, and wired to
indices after that; it is unwired before it is removed, and removed only when nothing calls it any more and no document
has come through for a while.
"""

from __future__ import annotations

import json
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from allocfail.cluster import mappings
from allocfail.cluster import templates as templates_
from allocfail.cluster.engine import Engine, EngineError, path
from allocfail.cluster.managed import (
    ENTRY,
    Change,
    callers_of,
    calls,
    delete_object,
    diff,
    index_users,
    inner_first,
    is_ours,
    is_own_pipeline,
    is_touched,
    put_object,
    read_component,
    read_index_templates,
    read_pipelines,
    signed,
)
from allocfail.cluster.wiring import Record, Wiring, plan_wiring, read_record, resolve, take_back, unwire, wire
from allocfail.errors import AllocfailError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

__all__ = ["ENTRY", "Change", "Wanted", "Wiring", "install", "status", "uninstall", "unwire"]


@dataclass(frozen=True)
class Wanted:
    """What a cluster is to hold."""

    pipelines: Mapping[str, Mapping[str, Any]]
    """Bodies by id, as :func:`allocfail.painless.pipelines.build` makes them."""
    articles: Sequence[Mapping[str, Any]] = ()
    """Documents of the knowledge base, each with an ``id``."""


def install(
    engine: Engine,
    wanted: Wanted,
    wiring: Wiring | None = None,
    *,
    index: str | None = None,
    stream: str | None = None,
    dry_run: bool = False,
) -> Iterator[Change]:
    """Bring a cluster to ``wanted`` and wire it; yield what was done with each object, as it is done.

    ``index`` and ``stream`` name the events' index and data stream; None keeps those of an earlier install. With
    ``dry_run`` nothing is written. Raises :class:`AllocfailError` on what stands in the way, before anything is
    changed where that can be known, and :class:`EngineError` when the cluster refuses a step.
    """
    present = read_pipelines(engine)
    index_templates = read_index_templates(engine)
    index, stream = _events_names(index_templates, index, stream)
    made = templates_.build(_missing_types(engine), index=index, stream=stream)
    plan = plan_wiring(engine, wiring or Wiring(), present, index_templates)

    for name, body in made.components.items():
        yield put_object(engine, "component template", name, read_component(engine, name), body, dry_run=dry_run)
    for name, body in made.index_templates.items():
        yield put_object(engine, "index template", name, index_templates.get(name), body, dry_run=dry_run)
    yield mappings.put_events_index(engine, made.events_index, dry_run=dry_run)
    yield from _put_articles(engine, made, wanted.articles, dry_run=dry_run)
    bodies = {name: signed(engine, body) for name, body in wanted.pipelines.items()}
    for name in inner_first(bodies):
        yield put_object(engine, "pipeline", name, present.get(name), bodies[name], dry_run=dry_run)
    yield from wire(engine, plan, made, dry_run=dry_run)
    # What an earlier version made and this one does not; the entry no longer calls it.
    stale = {name for name, body in present.items() if name not in bodies and is_own_pipeline(name, body)}
    users = callers_of(present | bodies, stale)
    for name in sorted(stale):
        if users[name]:
            yield Change(
                "pipeline", name, "left", f"no longer part of allocfail, but called by {', '.join(users[name])}"
            )
            continue
        if not dry_run:
            engine.request("DELETE", path("_ingest", "pipeline", name), missing_ok=True)
        yield Change("pipeline", name, "removed", "no longer part of allocfail")


def _events_names(present: Mapping[str, Any], index: str | None, stream: str | None) -> tuple[str | None, str | None]:
    """Return the names asked for, else those that an earlier install was asked for."""
    default = templates_.build()
    names: list[str | None] = []
    for name, given in (("allocfail-events", index), ("allocfail-events-stream", stream)):
        patterns = (present.get(name) or {}).get("index_patterns") or []
        known = default.index_templates[name]["index_patterns"]
        names.append(given or (patterns[0] if is_ours(present.get(name)) and patterns and patterns != known else None))
    return names[0], names[1]


def _missing_types(engine: Engine) -> frozenset[str]:
    """Return the mapping types, of those for which there is a fallback, that the server does not have.

    OpenSearch has them, but its Dashboards do not know them.
    """
    if engine.product == "opensearch":
        return templates_.mapping_types()
    missing = set()
    for kind in templates_.mapping_types():
        body = {
            "index_patterns": ["allocfail-type-probe"],
            "priority": 2147483647,  # above everybody's, so that no other template is mixed in
            "template": {"mappings": {"properties": {"probe": {"type": kind}}}},
        }
        try:
            engine.request("POST", "/_index_template/_simulate", body)
        except EngineError as error:
            if error.status != 400:
                raise
            missing.add(kind)
    return frozenset(missing)


def _put_articles(
    engine: Engine, made: templates_.Templates, articles: Sequence[Mapping[str, Any]], *, dry_run: bool
) -> Iterator[Change]:
    """Bring the index of articles up to date, a document each."""
    name = made.kb_index
    answer = engine.request("GET", path(name), missing_ok=True)
    there = next(iter(answer.values()), None) if answer else None
    have: dict[str, Any] = {}
    if there is None:
        if not dry_run:
            engine.request("PUT", path(name), made.kb_body)
        yield Change("index", name, "created", diff=diff(name, None, made.kb_body))
    else:
        meta = there["mappings"].get("_meta", {})
        if meta.get("managed_by") != templates_.MANAGED_BY:
            raise AllocfailError(f"index {name} is there and not allocfail's: rename or remove it first")
        have = _stored_articles(engine, name)
        if meta == made.kb_body["mappings"]["_meta"]:
            yield Change("index", name, "unchanged")
        else:
            if not dry_run:
                _replace_kb(engine, name, made.kb_body)
            have = {}
            yield Change("index", name, "updated", diff=diff(name, there["mappings"], made.kb_body["mappings"]))
    actions: list[dict[str, Any]] = []
    changes: list[Change] = []
    for article in articles:
        identifier = str(article["id"])
        before = have.pop(identifier, None)
        if before == article:
            changes.append(Change("article", identifier, "unchanged"))
            continue
        changes.append(
            Change(
                "article", identifier, "created" if before is None else "updated", "", diff(identifier, before, article)
            )
        )
        actions.append({"_op_type": "index", "_index": name, "_id": identifier, "_source": dict(article)})
    for identifier in have:
        actions.append({"_op_type": "delete", "_index": name, "_id": identifier})
        changes.append(Change("article", identifier, "removed"))
    if actions and not dry_run:
        for action, result in zip(actions, engine.bulk(actions), strict=True):
            if result.status >= 300 and not (action["_op_type"] == "delete" and result.status == 404):
                raise EngineError(f"article {action['_id']}: {result.reason} ({result.status} {result.kind})")
        engine.request("POST", path(name, "_refresh"))
    yield from changes


def _replace_kb(engine: Engine, name: str, body: Mapping[str, Any]) -> None:
    """Make the index anew: nobody's data but the articles, which come right after, is in it."""
    engine.request("DELETE", path(name), missing_ok=True)
    engine.request("PUT", path(name), body)


def _stored_articles(engine: Engine, name: str) -> dict[str, Any]:
    engine.request("POST", path(name, "_refresh"))
    answer = engine.request("POST", f"{path(name, '_search')}?size=1000", {"query": {"match_all": {}}})
    return {hit["_id"]: hit["_source"] for hit in answer["hits"]["hits"]}


def uninstall(
    engine: Engine, *, grace: float = 2.0, delete_events: bool = False, dry_run: bool = False
) -> Iterator[Change]:
    """Take everything out that install put in, except what others use or have changed; yield what was done.

    ``grace`` is for how many seconds no document may have gone through a pipeline before it is removed.
    ``delete_events`` removes the events' index too, which is data and stays otherwise. An object that stays is a
    change with the action ``left`` and the reason. Raises :class:`EngineError` when the cluster refuses a step.
    """
    record = read_record(engine)
    what = Record.of(record.as_meta())
    backing = [index for stream in what.streams for index in resolve(engine, stream)[0]]
    yield from take_back(engine, what, record, dry_run=dry_run)

    pipelines = read_pipelines(engine)
    if dry_run:  # as it would be by now
        for name in what.hooks:
            pipelines.pop(name, None)
    gone = {f"index {name}" for name in [*what.indices, *backing]} | {
        f"index template {name}" for name in what.templates
    }
    yield from _remove_pipelines(engine, pipelines, gone, grace=grace, dry_run=dry_run)

    made = templates_.build()
    templates = read_index_templates(engine)
    patterns: list[str] = []
    for name in made.index_templates:
        body = templates.get(name)
        if body is None:  # an uninstall before this one took it
            patterns += made.index_templates[name]["index_patterns"]
        elif is_ours(body) and delete_events and "data_stream" in body:  # a template in use could not be removed
            yield from _delete_events(engine, body["index_patterns"], dry_run=dry_run)
        elif is_ours(body):
            patterns += body["index_patterns"]
        yield delete_object(engine, "index template", name, path("_index_template", name), body, dry_run=dry_run)
    for name in made.components:
        target = path("_component_template", name)
        yield delete_object(engine, "component template", name, target, read_component(engine, name), dry_run=dry_run)
    answer = engine.request("GET", path(made.kb_index), missing_ok=True)
    mapping = next(iter(answer.values()))["mappings"] if answer else None
    body = {"_meta": {"managed_by": (mapping.get("_meta") or {}).get("managed_by")}} if mapping is not None else None
    yield delete_object(engine, "index", made.kb_index, path(made.kb_index), body, dry_run=dry_run)
    if delete_events:
        yield from _delete_events(engine, patterns, dry_run=dry_run)
    else:
        for pattern in patterns:
            indices, streams = resolve(engine, pattern)
            for name in sorted({streams.get(index, index) for index in indices}):
                if name not in streams.values() and mappings.is_empty(engine, name):
                    yield from _delete_events(engine, [name], dry_run=dry_run)
                    continue
                yield Change("events", name, "left", "your data: --delete-events removes it")


def _delete_events(engine: Engine, patterns: Iterable[str], *, dry_run: bool) -> Iterator[Change]:
    for pattern in patterns:
        indices, streams = resolve(engine, pattern)
        for name in sorted({streams.get(index, index) for index in indices}):
            if not dry_run:
                target = path("_data_stream", name) if name in streams.values() else path(name)
                engine.request("DELETE", target, missing_ok=True)
            yield Change("events", name, "removed")


def _remove_pipelines(
    engine: Engine, pipelines: Mapping[str, Mapping[str, Any]], gone: set[str], *, grace: float, dry_run: bool
) -> Iterator[Change]:
    """Remove the pipelines nobody uses, callers before called, after the last document has gone through.

    ``gone`` are users that in a dry run would have been unwired by now.
    """
    ours = {name for name, body in pipelines.items() if is_own_pipeline(name, body)}
    if not ours:
        yield Change("pipeline", ENTRY, "missing")
        return
    reasons: dict[str, str] = {}
    callers, users = callers_of(pipelines, ours), index_users(engine, ours)
    for name in ours:
        who = [f"pipeline {caller}" for caller in callers[name]]
        who += [user for user in users.get(name, []) if not (dry_run and user in gone)]
        if who:
            reasons[name] = f"used by {', '.join(sorted(who)[:5])}{' …' if len(who) > 5 else ''}"
        elif is_touched(pipelines[name]):
            reasons[name] = "changed by hand"
    order = list(reversed(inner_first({name: pipelines[name] for name in ours})))
    for name in order:  # what stays needs what it calls
        for inner in set(calls([pipelines[name]])) & ours if name in reasons else ():
            reasons.setdefault(inner, f"called by {name}")
    if (
        not dry_run
        and (going := [name for name in order if name not in reasons])
        and (busy := _quiet(engine, going, grace))
    ):
        for name in going:
            reasons[name] = f"documents still come through ({busy} while waiting): a request names the pipeline"
    for name in order:
        if name in reasons:
            yield Change("pipeline", name, "left", reasons[name])
            continue
        yield delete_object(
            engine, "pipeline", name, path("_ingest", "pipeline", name), pipelines[name], dry_run=dry_run
        )


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


def status(engine: Engine, wanted: Wanted) -> Iterator[Change]:
    """Compare a cluster with ``wanted``, list what is wired, and send a probe document through the pipeline.

    Yields ``current``, ``outdated``, ``changed`` (by hand), ``foreign`` or ``missing`` per object, ``wired`` per user
    of the pipeline, and ``decoded`` or ``failed`` for the probe. Writes nothing.
    """
    present = read_pipelines(engine)
    index_templates = read_index_templates(engine)
    index, stream = _events_names(index_templates, None, None)
    made = templates_.build(_missing_types(engine), index=index, stream=stream)
    bodies = {name: signed(engine, body) for name, body in wanted.pipelines.items()}
    for name in inner_first(bodies):
        yield _compare("pipeline", name, present.get(name), bodies[name])
    for name, body in made.components.items():
        yield _compare("component template", name, read_component(engine, name), body)
    for name, body in made.index_templates.items():
        yield _compare("index template", name, index_templates.get(name), body)
    for change in _put_articles(engine, made, wanted.articles, dry_run=True):
        words = {"created": "missing", "updated": "outdated", "removed": "outdated", "unchanged": "current"}
        yield change._replace(action=words[change.action], diff="")
    hooks = [name for name, body in present.items() if name not in bodies and ENTRY in set(calls([body]))]
    for name in hooks:
        yield Change("hook", name, "wired", f"calls {ENTRY}")
    for user in index_users(engine, {ENTRY}).get(ENTRY, []):
        kind, _, name = user.rpartition(" ")
        yield Change(kind, name, "wired", f"uses {ENTRY}")
    if ENTRY in present:
        yield _probe(engine)


def _compare(kind: str, name: str, there: Any, wanted: Any) -> Change:
    if there is None:
        return Change(kind, name, "missing")
    if there == wanted:
        return Change(kind, name, "current", f"version {wanted['version']}" if "version" in wanted else "")
    if not is_ours(there):
        return Change(kind, name, "foreign", "not allocfail's", diff(name, there, wanted))
    if is_touched(there):
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
