"""Whether events will be taken where they are to be wired: by the mapping first, then by a real event."""

from __future__ import annotations

import re
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
#: What a document is kept by where the index wants it to say so.
_ROUTING = "allocfail-probe"
#: The limits of a mapping, in the words in which either product says that one is exceeded.
_LIMITS = {
    "mapping depth": "index.mapping.depth.limit",
    "total fields": "index.mapping.total_fields.limit",
    "Field name": "index.mapping.field_name_length.limit",
}
_limit_named = re.compile(r"index\.mapping\.[a-z_]+\.limit").search
_field_named = re.compile(r"\bfield \[([^\]]+)\]").search

__all__ = ["event_fields", "probe_steps", "require_fit"]


def event_fields(wanted: Wanted, components: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """Return the properties that wiring maps where they are missing.

    All of ``allocfail.*``, and of the ECS fields those that events get.
    """
    own, ecs = (
        components[name]["template"]["mappings"]["properties"] for name in ("allocfail-fields", "allocfail-ecs")
    )
    got = {dotted for event in wanted.written() for dotted in _paths(event, "")} - _THEIRS
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
        found = misfits(wanted.written(), target.shape.with_fields(_mapped(target, fields)))
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


def _mapped(target: Target, fields: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return those of the properties ``fields`` that wiring maps in a target."""
    return fields if target.ecs else {"allocfail": fields["allocfail"]}


def _fits_alone(target: Target, wanted: Wanted, fields: Mapping[str, Any]) -> bool:
    """Whether the fields of ``allocfail.*`` by themselves would be taken."""
    own = {"allocfail": fields["allocfail"]}
    return not misfits(wanted.written(("allocfail",)), target.shape.with_fields(own))


def probe_steps(
    targets: Iterable[Target], probes: Sequence[Mapping[str, Any]], only: Sequence[str] = ()
) -> Iterator[Step]:
    """Yield a step for each index and data stream that indexes the probes through the pipeline and removes them.

    ``only`` are the top-level fields that are written, for the advice; empty: all. The step raises
    :class:`AllocfailError` where a probe is refused. What may not be written to is left.
    """
    targets = list(targets)
    routed = {target.stream or target.name for target in targets if target.shape.is_routed}
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
            yield Step(change, look=_Probe(target, probes, only, routed=name in routed))
        else:
            yield Step(Change("probe", name, "left", "write-protected: checked against its mapping only"))


class _Probe:
    """Sends events into an index or data stream and takes them out again."""

    def __init__(
        self, target: Target, probes: Sequence[Mapping[str, Any]], only: Sequence[str], *, routed: bool
    ) -> None:
        """Take an index where documents go, the documents, the fields that are written, and whether to route them."""
        self._target = target
        self._name = target.stream or target.name
        self._probes = probes
        self._only = only
        self._routing = f"routing={_ROUTING}" if routed else ""

    def __call__(self, engine: Engine) -> str:
        """Return why nothing was sent, empty where all were taken."""
        stem = f"allocfail-probe-{uuid.uuid4().hex[:12]}"
        try:  # first whether they could be removed again
            self._remove(engine, self._target.name, stem)
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
                f"{self._name} refuses events: {error.reason.rstrip('.')}: {self._advice(error.reason)}; "
                "nothing was wired"
            ) from None
        finally:
            for index, identifier in sent:
                self._remove(engine, index, identifier)
        return ""

    def _advice(self, reason: str) -> str:
        """Return what its owner can do where an index refuses an event for a reason."""
        named = _limit_named(reason)
        limit = named[0] if named else next((limit for words, limit in _LIMITS.items() if words in reason), None)
        if limit is not None:
            return f"raise {limit}"
        field = found[1] if (found := _field_named(reason)) else ""
        if field in _THEIRS:
            return f"no log can be put there: map {field} as text"
        templates = " or its dynamic templates" if self._target.shape.mapping.get("dynamic_templates") else ""
        alone = ", or leave all fields but allocfail.* out with --only allocfail"
        return f"change its mapping{templates}{'' if self._only or field.startswith('allocfail') else alone}"

    def _remove(self, engine: Engine, index: str, identifier: str) -> None:
        target = path(index, "_doc", identifier)
        engine.request("DELETE", f"{target}?{self._routing}" if self._routing else target, missing_ok=True)

    def _send(self, engine: Engine, probe: Mapping[str, Any], identifier: str) -> tuple[str, str]:
        now = datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        query = "&".join(filter(None, (f"pipeline={ENTRY}", self._routing)))
        target = f"{path(self._name, '_create', identifier)}?{query}"
        answer = engine.request("PUT", target, {"@timestamp": now, **probe})
        return str(answer["_index"]), str(answer["_id"])
