"""From when to when a sweep goes: once, or again and again, and on from where it was stopped."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Protocol

from allocfail.cluster.errors import EngineError
from allocfail.cluster.retry import is_passing
from allocfail.errors import InputError

if TYPE_CHECKING:
    from allocfail.cluster.checkpoint import Checkpoint
    from allocfail.cluster.sweep import Sweep

__all__ = ["Course", "since"]

#: How far behind what is settled each look of a following sweep begins: lines that came late complete their events.
LOOK_BACK = timedelta(minutes=10)

_SPAN = re.compile(r"([0-9]{1,6})([smhdw])").fullmatch
_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days", "w": "weeks"}


def since(text: str, now: datetime, *, option: str = "--since") -> datetime:
    """Return the time that ``24h``, ``2026-03-04`` or ``2026-03-04T05:06:07+01:00`` stand for; UTC unless it says.

    Raises :class:`InputError` for anything else.
    """
    if m := _SPAN(text.strip()):
        return now - timedelta(**{_UNITS[m[2]]: int(m[1])})
    try:
        moment = datetime.fromisoformat(text.strip())
    except ValueError:
        raise InputError(f"{option} {text}: write 90m, 24h, 7d, 2026-03-04 or 2026-03-04T05:06:07Z") from None
    return moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)


class _Stopping(Protocol):
    @property
    def asked(self) -> bool: ...

    def sleep(self, seconds: float) -> None: ...


class Course:
    """Runs a sweep, and keeps how far it has come."""

    def __init__(self, sweep: Sweep, kept: Checkpoint | None, *, since: str | None, settle: float) -> None:
        """Take the sweep, where its state is kept (None: nowhere), where it begins and how long lines take."""
        self._sweep = sweep
        self._kept = kept
        self._asked = since
        self._settle = timedelta(seconds=settle)
        self._state: dict[str, Any] = kept.load() if kept is not None else {}

    def _begin(self, *, goes_on: bool) -> datetime | None:
        """Return where to begin: behind what is done, where the last sweep was cut short or ``goes_on``."""
        reached = self._state.get("reached")
        if reached is not None:
            unfinished = not self._state.get("finished", True) and self._state.get("since") == self._asked
            if unfinished or (goes_on and self._asked is None):
                return datetime.fromisoformat(reached) - LOOK_BACK
        return since(self._asked, datetime.now(UTC)) if self._asked is not None else None

    def _done(self, moment: datetime, *, finished: bool = False) -> None:
        self._state = {"since": self._asked, "reached": moment.isoformat(), "finished": finished}
        if self._kept is not None:
            self._kept.save(self._state)

    def once(self) -> None:
        """Sweep what is there."""
        now = datetime.now(UTC)
        self._sweep.run(self._begin(goes_on=False), None, self._done)
        self._done(now, finished=True)

    def follow(self, every: float, stop: _Stopping) -> None:
        """Sweep what is there and what comes, look by look, until asked to stop; a cluster that is away is awaited."""
        begin = self._begin(goes_on=True)
        while not stop.asked:
            until = datetime.now(UTC) - self._settle
            try:
                self._sweep.run(begin, until, self._done)
            except EngineError as error:
                if stop.asked or not is_passing(error):
                    raise
            else:
                self._done(until)
                begin = until - LOOK_BACK
            stop.sleep(every)
