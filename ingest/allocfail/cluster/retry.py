"""What passes by itself, and how long one waits for it: the same for both products, for reading and for writing."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, TypeVar

from allocfail.cluster.engine import EngineError, UnreachableError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from allocfail.cluster.engine import BulkResult, Engine

__all__ = ["Patience", "answer", "bulk", "is_passing", "passes"]

T = TypeVar("T")

#: Not implemented, and an HTTP version that is not spoken: these servers will not learn it.
_FINAL = frozenset({501, 505})


def passes(status: int) -> bool:
    """Whether a status is one that passes: too slow, too busy, or something in between has lost its server."""
    return status in {408, 425, 429} or (500 <= status < 600 and status not in _FINAL)


def is_passing(error: EngineError) -> bool:
    """Whether a request that failed may do better later."""
    return isinstance(error, UnreachableError) or (error.status is not None and passes(error.status))


def _unexpected(engine: Engine, asked: str) -> EngineError:
    """Return the error for an answer that is none of the product's, such as a proxy's page: it passes."""
    return EngineError(f"{engine.where.url}: {asked}: not the answer that was expected", status=502)


def answer(engine: Engine, method: str, target: str, body: Any = None, *, missing_ok: bool = False) -> Any:
    """Send a request, and return its JSON object; None for 404 where ``missing_ok``. Raises :class:`EngineError`."""
    asked = f"{method} {target.partition('?')[0]}"
    try:
        found = engine.request(method, target, body, missing_ok=missing_ok)
    except EngineError:
        raise
    except Exception:  # noqa: BLE001 - each client has errors of its own for an answer that is cut
        raise _unexpected(engine, asked) from None
    if not isinstance(found, Mapping) and not (found is None and missing_ok):
        raise _unexpected(engine, asked)
    return found


def bulk(engine: Engine, actions: Sequence[Mapping[str, Any]]) -> list[BulkResult]:
    """Send one bulk request; what is not an answer for each action is an error that passes."""
    try:
        return engine.bulk(actions)
    except EngineError as error:
        if error.status is None and not isinstance(error, UnreachableError):
            raise _unexpected(engine, "POST /_bulk") from None
        raise
    except Exception:  # noqa: BLE001 - both helpers take the shape of an answer for granted
        raise _unexpected(engine, "POST /_bulk") from None


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

    def insist(self, ask: Callable[[], T]) -> T:
        """Return what ``ask`` returns, once it does; raises its error where that does not pass or does so too late."""
        attempt = 0
        while True:
            try:
                return ask()
            except EngineError as error:
                attempt += 1
                if not is_passing(error) or not self.wait(attempt, str(error)):
                    raise
