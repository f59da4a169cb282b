"""What is to be done to a cluster, as data: a dry run prints it, everything else carries it out."""

from __future__ import annotations

import difflib
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

from allocfail.cluster.errors import EngineError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from allocfail.cluster.client import Engine

__all__ = ["Change", "Request", "Step", "carry_out", "diff"]


class Change(NamedTuple):
    """What was done, or in a dry run would be done, with one object."""

    kind: str
    """``pipeline``, ``component template``, ``index template``, ``index``, ``article``, ``hook``, …"""
    id: str
    action: str
    """``created``, ``updated``, ``unchanged``, ``removed``, ``left``; ``status`` has words of its own."""
    note: str = ""
    diff: str = ""


class Request(NamedTuple):
    """One request that changes the cluster."""

    method: str
    path: str
    body: Any = None


@dataclass(frozen=True)
class Step:
    """One change, and the requests that bring it about; none where there is nothing to do."""

    change: Change
    requests: tuple[Request, ...] = ()
    documents: tuple[Mapping[str, Any], ...] = ()
    """Documents to write and to delete, as bulk helpers take them; sent in front of the requests."""
    look: Callable[[Engine], str] | None = None
    """Looks, right before the requests, whether they may be sent; returns why not, and the object is then left."""
    refusable: bool = False
    """The cluster may refuse (HTTP 400), because others use the object: it is then left, for the reason it gives."""
    already: str = ""
    """Type of the error that says somebody else has done the same meanwhile, which is as good."""


def carry_out(engine: Engine, steps: Iterable[Step], *, dry_run: bool) -> Iterator[Change]:
    """Do one step after another and yield what became of each; with ``dry_run`` only yield what would.

    Raises :class:`EngineError` where the cluster refuses; the steps before are done then.
    """
    for step in steps:
        yield step.change if dry_run else _do(engine, step)


def _do(engine: Engine, step: Step) -> Change:
    if step.look is not None and (reason := step.look(engine)):
        return step.change._replace(action="left", note=reason, diff="")
    if step.documents:
        for result in engine.bulk(step.documents):
            if not 200 <= result.status < 300 and result.status != 404:
                raise EngineError(f"{step.change.kind} {step.change.id}: {result.reason}", status=result.status)
    for request in step.requests:
        try:
            engine.request(request.method, request.path, request.body, missing_ok=request.method == "DELETE")
        except EngineError as error:
            if step.already and error.kind == step.already:
                continue
            if not step.refusable or error.status != 400:
                raise
            return step.change._replace(action="left", note=error.reason, diff="")
    return step.change


def diff(name: str, before: Any, after: Any) -> str:
    """Return a unified diff of two JSON values (None: not there), empty where they are equal.

    Texts of several lines, as a script's source, are compared line by line.
    """
    old, new = (
        [] if value is None else json.dumps(_lines(value), indent=2, sort_keys=True).splitlines()
        for value in (before, after)
    )
    return "\n".join(difflib.unified_diff(old, new, f"cluster/{name}", f"allocfail/{name}", lineterm="", n=2))


def _lines(value: Any) -> Any:
    """Return a JSON value with every text of several lines as a list of them."""
    if isinstance(value, dict):
        return {key: _lines(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [_lines(inner) for inner in value]
    return value.split("\n") if isinstance(value, str) and "\n" in value else value
