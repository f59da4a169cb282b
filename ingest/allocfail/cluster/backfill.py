"""What was indexed whole before the pipeline was there goes through it, inside the cluster.

``_update_by_query?pipeline=allocfail`` does the work; here its task is started, watched and, on request, cancelled.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from allocfail import facts
from allocfail.cluster.client import path
from allocfail.cluster.errors import EngineError
from allocfail.cluster.retry import Patience, answer
from allocfail.cluster.search import Fields, beginnings, fields_of, indices_of
from allocfail.errors import AllocfailError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from datetime import datetime

    from allocfail.cluster.client import Engine

__all__ = ["Backfill", "Filled"]

#: Reasons of documents that could not be written, of which so many are said.
_MOST_REASONS = 20
#: Documents of one step of the task, which is what engines take by default. They pause between steps, never in one: for
#: an even rate a step has what is allowed in a second.
_MOST_AT_ONCE = 1_000


@dataclass
class Filled:
    """What a backfill has done."""

    total: int = 0
    """Documents that may hold an event."""
    updated: int = 0
    conflicts: int = 0
    """Changed by somebody else meanwhile: they are left, and another backfill takes them."""
    failed: int = 0
    reasons: list[str] = field(default_factory=list)


class Backfill:
    """Sends documents of some indices through a pipeline."""

    def __init__(
        self,
        engine: Engine,
        names: Sequence[str],
        *,
        pipeline: str = "allocfail",
        time_field: str | None = None,
        skip: Sequence[str] = (),
        patience: Patience | None = None,
        say: Callable[[str], object] = lambda _: None,
    ) -> None:
        """Take the indices and the pipeline; ``skip`` are names that stay out, even where a pattern covers them.

        Raises :class:`AllocfailError` where the pipeline is not there, and where no index is.
        """
        self._engine = engine
        self._pipeline = pipeline
        self._patience = patience or Patience()
        self._say = say
        if answer(engine, "GET", path("_ingest", "pipeline", pipeline), missing_ok=True) is None:
            raise AllocfailError(f"there is no pipeline {pipeline}: run `allocfail install` first")
        left_out = set(indices_of(engine, [f"{name}*" for name in skip]))
        self._indices = [name for name in indices_of(engine, names) if name not in left_out]
        self._fields = self._ask_fields(time_field) if self._indices else Fields((), (), None, frozenset())

    def _ask_fields(self, time_field: str | None) -> Fields:
        known = facts.load()
        times = [time_field] if time_field is not None else known["carriers"]["times"]
        fields = fields_of(self._engine, self._indices, known["containers"]["texts"], times, [])
        if time_field is not None and fields.time is None:
            raise AllocfailError(f"{time_field} is no date in {', '.join(self._indices)}")
        for index in fields.unsearched:
            self._say(f"{index}: no field of it that holds a text can be searched: all its documents go through")
        return fields

    def query(self, since: datetime | None, until: datetime | None) -> dict[str, Any]:
        """Return the query for documents that may hold an event and have not been decoded."""
        query = beginnings(self._fields, since, until)
        query["bool"]["must_not"] = [{"exists": {"field": "allocfail.fingerprint.id"}}]
        return query

    def count(self, since: datetime | None = None, until: datetime | None = None) -> int:
        """Return how many documents would be sent through."""
        if not self._indices:
            return 0
        target = path(",".join(self._indices), "_count")
        return int(answer(self._engine, "POST", target, {"query": self.query(since, until)})["count"])

    def run(
        self,
        since: datetime | None,
        until: datetime | None,
        *,
        slices: str = "auto",
        rate: float | None = None,
        every: float = 1.0,
        asked: Callable[[], bool] = lambda: False,
        sleep: Callable[[float], None],
        progress: Callable[[Filled], object] = lambda _: None,
    ) -> Filled:
        """Start the task and stay with it to its end; ``asked`` says when to cancel it.

        ``rate`` is documents a second, ``every`` the seconds between two looks at the task. What was done until it is
        cancelled, or until the cluster goes away, stays done: another run takes the rest.
        """
        if not self._indices:
            return Filled()
        target = (
            f"{path(','.join(self._indices), '_update_by_query')}?pipeline={path(self._pipeline)[1:]}&conflicts=proceed"
            f"&wait_for_completion=false&slices={slices}&requests_per_second={rate if rate is not None else -1}"
            f"&scroll_size={_MOST_AT_ONCE if rate is None else min(_MOST_AT_ONCE, max(1, int(rate)))}"
        )
        task = str(answer(self._engine, "POST", target, {"query": self.query(since, until)})["task"])
        cancelled = False
        while True:
            state = self._patience.insist(lambda: answer(self._engine, "GET", path("_tasks", task)))
            if cancelled and state.get("completed"):
                # A search that was under way ends as an error, which is what was asked for.
                state.pop("error", None)
            filled = _filled(state)
            progress(filled)
            if state.get("completed"):
                return filled
            if asked() and not cancelled:
                answer(self._engine, "POST", path("_tasks", task, "_cancel"))
                self._say("asked to stop: the task is cancelled; what it has done stays done")
                cancelled = True
            sleep(0.1 if cancelled else every)


def _filled(state: dict[str, Any]) -> Filled:
    """Read what a task says of itself."""
    status = (state.get("task") or {}).get("status") or {}
    response = state.get("response") or {}
    error = state.get("error")
    if isinstance(error, dict) and not response:
        raise EngineError(f"the task failed: {error.get('reason', 'no reason given')} ({error.get('type', '')})")
    numbers = response or status
    filled = Filled(
        total=int(numbers.get("total", 0)),
        updated=int(numbers.get("updated", 0)),
        conflicts=int(numbers.get("version_conflicts", 0)),
    )
    for failure in response.get("failures") or []:
        if "cause" in failure and "id" in failure:
            filled.failed += 1
            cause = failure["cause"]
            if len(filled.reasons) < _MOST_REASONS:
                filled.reasons.append(
                    f"{failure.get('index')}/{failure['id']}: {cause.get('reason')} ({cause.get('type')})"
                )
        else:
            raise EngineError(f"the task failed: {(failure.get('reason') or {}).get('reason', failure)}")
    return filled
