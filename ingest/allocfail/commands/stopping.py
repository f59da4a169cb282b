"""Being asked to stop: what is held is still sent, and no wait outlasts the request by long."""

from __future__ import annotations

import signal
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Self

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import FrameType

__all__ = ["Stop"]

#: Seconds that a cluster gets to answer once one is asked to stop; service managers kill after some more.
_GRACE = 4.0


class _OverError(BaseException):
    """No errors of this world: the clients would take one for a connection that failed, and go on."""


class Stop:
    """Turns SIGTERM and SIGINT into a flag for as long as the block lasts; a second SIGINT interrupts at once."""

    def __init__(self) -> None:
        """Begin without a request."""
        self._event = threading.Event()
        self._before: dict[int, Any] = {}
        self._over = False
        self._waiting = False
        self.interrupted = False
        """Whether it was Ctrl-C."""

    def __enter__(self) -> Self:
        """Catch the signals."""
        for number in (signal.SIGTERM, signal.SIGINT):
            self._before[number] = signal.signal(number, self._asked)
        self._before[signal.SIGALRM] = signal.signal(signal.SIGALRM, self._end)
        return self

    def __exit__(self, *_: object) -> None:
        """Put back what was there."""
        signal.setitimer(signal.ITIMER_REAL, 0)
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _asked(self, number: int, _: FrameType | None) -> None:
        if number == signal.SIGINT:
            if self.interrupted:
                raise KeyboardInterrupt
            self.interrupted = True
        if not self._event.is_set():
            signal.setitimer(signal.ITIMER_REAL, _GRACE)
        self._event.set()

    def _end(self, _: int, __: FrameType | None) -> None:
        self._over = True
        if self._waiting:
            self._waiting = False
            self._give_up()

    def _give_up(self) -> None:
        if self._over:
            raise _OverError

    @contextmanager
    def waiting(self) -> Iterator[None]:
        """Wait for a cluster's answer within this; some seconds after one is asked to stop, that is over.

        Raises :class:`UnreachableError` then. What is not within it, such as writing a checkpoint, is never cut short.
        """
        from allocfail.cluster.errors import UnreachableError

        if threading.current_thread() is not threading.main_thread():  # signals are handled in that one alone
            yield
            return
        try:
            self._waiting = True
            self._give_up()
            yield
        except _OverError:
            raise UnreachableError("asked to stop, and the cluster does not answer") from None
        finally:
            self._waiting = False

    @property
    def asked(self) -> bool:
        """Whether it is time to stop."""
        return self._event.is_set()

    def sleep(self, seconds: float) -> None:
        """Wait, at most until it is time to stop."""
        self._event.wait(seconds)
