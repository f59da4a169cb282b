"""Whether events will be taken where they are to be wired: by the mapping first, then by a real event."""

from __future__ import annotations

import uuid
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from allocfail.cluster.client import Engine, path
from allocfail.cluster.errors import EngineError
from allocfail.cluster.fit import misfits
from allocfail.cluster.managed import ENTRY
from allocfail.cluster.steps import Change, Step
from allocfail.errors import AllocfailError

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence

    from allocfail.cluster.wanted import Wanted
    from allocfail.cluster.wiring import Target

#: What every document has before any event is read from it: how it is mapped is the index's owner's.
_THEIRS = frozenset({"message"})

__all__ = ["event_fields", "probe_steps", "require_fit"]


def event_fields(wanted: Wanted, components: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """Return the properties that wiring maps where they are missing.

    All of ``allocfail.*``, and of the ECS fields those that events get.
    """
    own, ecs = (
        components[name]["template"]["mappings"]["properties"] for name in ("allocfail-fields", "allocfail-ecs")
    )
    got = {dotted for event in wanted.events for dotted in _paths(event, "")} - _THEIRS
    chosen = {name: spec for name, spec in _chosen(ecs, got, "").items() if not wanted.only or name in wanted.only}
    return {**chosen, **own}


def _paths(value: Mapping[str, Any], above: str) -> Iterator[str]:
    for name, inner in value.items():
        yield f"{above}{name}"
        if isinstance(inner, dict):
            yield from _paths(inner, f"{above}{name}.")


def _chosen(properties: Mapping[str, Any], wanted: Collection[str], above: str) -> dict[str, Any]:
    out: dict[str, Any] = {}
    for name, spec in properties.items():
        if f"{above}{name}" in wanted:
            inner = spec.get("properties")
            out[name] = spec if inner is None else {**spec, "properties": _chosen(inner, wanted, f"{above}{name}.")}
    return out


def require_fit(targets: Iterable[Target], wanted: Wanted, fields: Mapping[str, Any]) -> None:
    """Raise :class:`AllocfailError` where an event would be refused by what is to be wired, once it is wired."""
    for target in targets:
        found = misfits(wanted.events, target.shape.with_fields(fields))
        if not found:
            continue
        more = f" (so are {', '.join(one.field for one in found[1:4])}{' …' if len(found) > 4 else ''})"
        remedy = f"{found[0].remedy}{', and so on' if len(found) > 1 else ''}"
        if not wanted.only and _fits_alone(target, wanted, fields):
            remedy += ", or leave all fields but allocfail.* out with --only allocfail"
        raise AllocfailError(
            f"{target.kind} {target.name} would refuse events: {found[0]}{more if len(found) > 1 else ''}: {remedy}; "
            "nothing was changed"
        )


def _fits_alone(target: Target, wanted: Wanted, fields: Mapping[str, Any]) -> bool:
    """Whether the fields of ``allocfail.*`` by themselves would be taken."""
    own = {"allocfail": fields["allocfail"]}
    return not misfits([{"allocfail": event["allocfail"]} for event in wanted.events], target.shape.with_fields(own))


def probe_steps(targets: Iterable[Target], probes: Sequence[Mapping[str, Any]]) -> Iterator[Step]:
    """Yield a step for each index and data stream that indexes the probes through the pipeline and removes them.

    The step raises :class:`AllocfailError` where one is refused. What may not be written to is left.
    """
    seen: set[str] = set()
    for target in targets:
        name = target.stream or target.name
        if target.kind != "index" or name in seen:
            continue
        if not target.writable and target.stream:
            continue  # an older index of a stream: another one takes the documents
        seen.add(name)
        if target.writable:
            change = Change("probe", name, "taken", "events were indexed and removed")
            yield Step(change, look=_Probe(name, target.name, probes))
        else:
            yield Step(Change("probe", name, "left", "write-protected: checked against its mapping only"))


class _Probe:
    """Sends events into an index or data stream and takes them out again."""

    def __init__(self, name: str, index: str, probes: Sequence[Mapping[str, Any]]) -> None:
        """Take where documents go, an index that they may end up in, and the documents."""
        self._name = name
        self._index = index
        self._probes = probes

    def __call__(self, engine: Engine) -> str:
        """Return why nothing was sent, empty where all were taken."""
        stem = f"allocfail-probe-{uuid.uuid4().hex[:12]}"
        try:  # first whether they could be removed again
            engine.request("DELETE", path(self._index, "_doc", stem), missing_ok=True)
        except EngineError as error:
            if error.status != 403:
                raise
            return "may not be written to with these credentials: checked against its mapping only"
        sent: list[tuple[str, str]] = []
        try:
            for number, probe in enumerate(self._probes):
                sent.append(self._send(engine, probe, f"{stem}-{number}"))
        except EngineError as error:
            if error.status == 403:
                return "may not be written to with these credentials: checked against its mapping only"
            if error.status != 400:
                raise
            raise AllocfailError(
                f"{self._name} refuses events: {error.reason}: change its mapping, or leave all fields but "
                "allocfail.* out with --only allocfail; nothing was wired"
            ) from None
        finally:
            for index, identifier in sent:
                engine.request("DELETE", path(index, "_doc", identifier), missing_ok=True)
        return ""

    def _send(self, engine: Engine, probe: Mapping[str, Any], identifier: str) -> tuple[str, str]:
        now = datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        target = f"{path(self._name, '_create', identifier)}?pipeline={ENTRY}"
        answer = engine.request("PUT", target, {"@timestamp": now, **probe})
        return str(answer["_index"]), str(answer["_id"])
