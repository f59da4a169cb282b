"""What install was told and has done, remembered in the cluster for the next install, for status and uninstall."""

from __future__ import annotations

import copy
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from allocfail.cluster import templates as templates_
from allocfail.cluster.errors import EngineError
from allocfail.cluster.managed import read_component, target_of
from allocfail.cluster.steps import Change, Request, Step, diff

if TYPE_CHECKING:
    from collections.abc import Mapping

    from allocfail.cluster.client import Engine

__all__ = ["RECORD", "Record", "Wired", "kb_address", "read_record", "record_step"]

#: Component template whose ``_meta`` remembers it; no index template is composed of it.
RECORD = "allocfail-wiring"


@dataclass
class Wired:
    """What install has wired."""

    indices: dict[str, str] = field(default_factory=dict)
    """Name → setting, of indices that belong to no data stream."""
    streams: dict[str, str] = field(default_factory=dict)
    templates: dict[str, str] = field(default_factory=dict)
    """Index templates of those data streams."""
    hooks: list[str] = field(default_factory=list)


@dataclass
class Record:
    """What the cluster remembers of allocfail."""

    wired: Wired = field(default_factory=Wired)
    kb_url: str | None = None
    """Where links to articles lead; None where nobody has said."""
    only: tuple[str, ...] = ()
    """The top-level fields that are written; empty: all."""

    def copy(self) -> Record:
        """Return a record of its own."""
        return copy.deepcopy(self)

    @classmethod
    def of(cls, meta: Mapping[str, Any]) -> Record:
        """Return the record that :meth:`as_meta` wrote."""
        wired = meta.get("wired") or {}
        indices, streams, templates = (dict(wired.get(name, {})) for name in ("indices", "streams", "templates"))
        hooks = list(wired.get("hooks", []))
        return cls(Wired(indices, streams, templates, hooks), meta.get("kb_url"), tuple(meta.get("only") or ()))

    def as_meta(self) -> dict[str, Any]:
        """Return the record as JSON."""
        wired = self.wired
        meta: dict[str, Any] = {
            "wired": {
                "indices": wired.indices,
                "streams": wired.streams,
                "templates": wired.templates,
                "hooks": wired.hooks,
            }
        }
        if self.kb_url is not None:
            meta["kb_url"] = self.kb_url
        if self.only:
            meta["only"] = list(self.only)
        return copy.deepcopy(meta)


def read_record(engine: Engine) -> Record:
    """Return what the cluster remembers, an empty record where that is nothing."""
    return Record.of((read_component(engine, RECORD) or {}).get("_meta", {}))


def kb_address(engine: Engine) -> str | None:
    """Return where links to articles lead in this cluster; None where nobody has said, or it may not be read."""
    try:
        return read_record(engine).kb_url
    except EngineError as error:
        if error.status == 403:  # whoever may only write
            return None
        raise


def record_step(before: Record, after: Record) -> Step | None:
    """Return the step from one record to the other; an empty one is not kept."""
    if after == before:
        return None
    target = target_of("component template", RECORD)
    old = before.as_meta() if before != Record() else None
    if after == Record():
        return Step(Change("component template", RECORD, "removed"), (Request("DELETE", target),))
    body = templates_.stamp({"template": {}}, "What allocfail install was told, and what it has wired")
    body["_meta"] |= after.as_meta()
    action = "created" if old is None else "updated"
    change = Change("component template", RECORD, action, "what was told and wired", diff(RECORD, old, after.as_meta()))
    return Step(change, (Request("PUT", target, body),))
