"""What passes by itself, and how long one waits for it: the same for both products, for reading and for writing."""

from __future__ import annotations

import time
from collections.abc import Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TypeVar

from allocfail.cluster.errors import AnswerError, EngineError, UnreachableError
from allocfail.cluster.statuses import passes

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from allocfail.cluster.client import Engine

__all__ = ["Patience", "answer", "is_busy", "is_passing", "passes", "taking"]

T = TypeVar("T")


def is_passing(error: EngineError) -> bool:
    """Whether a request that failed may do better later."""
    return isinstance(error, UnreachableError) or is_busy(error)


def is_busy(error: EngineError) -> bool:
    """Whether something answers, and may do better later."""
    return error.status is not None and passes(error.status)


def answer(engine: Engine, method: str, target: str, body: Any = None, *, missing_ok: bool = False) -> Any:
    """Send a request, and return its JSON object; None for 404 where ``missing_ok``. Raises :class:`EngineError`."""
    found = engine.request(method, target, body, missing_ok=missing_ok)
    if not isinstance(found, Mapping) and not (found is None and missing_ok):
        raise AnswerError(engine.where, f"{method} {target.partition('?')[0]}", "a list")
    return found


@contextmanager
def taking(engine: Engine, asked: str) -> Iterator[None]:
    """Take an answer to ``asked`` apart; what has another shape is an error that passes, as a proxy's answer does."""
    try:
        yield
    except (LookupError, TypeError, ValueError, AttributeError):
        raise AnswerError(engine.where, asked, "JSON of another shape") from None


class Patience:
    """How often something is tried again, and the pauses between: each twice the one before, up to a limit."""

    def __init__(
        self,
        *,
        retries: int | None = 8,
        pause: float = 1.0,
        longest_pause: float = 30.0,
        sleep: Callable[[float], None] = time.sleep,
        say: Callable[[str], object] | None = None,
        stopped: Callable[[], bool] = lambda: False,
    ) -> None:
        """Take the number of repeats (None: without end), seconds, who is told of each pause, and what ends it."""
        self.retries = retries
        self._pause = pause
        self._longest = longest_pause
        self._sleep = sleep
        self._say = say
        self._stopped = stopped

    def wait(self, attempt: int, reason: str) -> bool:
        """Say why, and wait before repeat number ``attempt``; False: it was tried often enough, or one is to stop."""
        if self._stopped() or (self.retries is not None and attempt > self.retries):
            return False
        seconds = min(self._longest, self._pause * 2 ** min(attempt - 1, 30))
        if self._say is not None:
            self._say(f"{reason}; trying again in {seconds:g} s")
        self._sleep(seconds)
        return True

    def insist(self, ask: Callable[[], T], *, may_pass: Callable[[EngineError], bool] = is_passing) -> T:
        """Return what ``ask`` returns, once it does; raises its error where that does not pass or does so too late."""
        attempt = 0
        while True:
            try:
                return ask()
            except EngineError as error:
                attempt += 1
                if not may_pass(error) or not self.wait(attempt, str(error)):
                    raise
