"""Being asked to stop: what is held is still sent, and no wait outlasts the request."""

from __future__ import annotations

import signal
import threading
from typing import TYPE_CHECKING, Any, Self

if TYPE_CHECKING:
    from types import FrameType

__all__ = ["Stop"]


class Stop:
    """Turns SIGTERM and SIGINT into a flag for as long as the block lasts; a second SIGINT interrupts at once."""

    def __init__(self) -> None:
        """Begin without a request."""
        self._event = threading.Event()
        self._before: dict[int, Any] = {}
        self.interrupted = False
        """Whether it was Ctrl-C."""

    def __enter__(self) -> Self:
        """Catch the signals."""
        for number in (signal.SIGTERM, signal.SIGINT):
            self._before[number] = signal.signal(number, self._asked)
        return self

    def __exit__(self, *_: object) -> None:
        """Put back what was there."""
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _asked(self, number: int, _: FrameType | None) -> None:
        if number == signal.SIGINT:
            if self.interrupted:
                raise KeyboardInterrupt
            self.interrupted = True
        self._event.set()

    @property
    def asked(self) -> bool:
        """Whether it is time to stop."""
        return self._event.is_set()

    def sleep(self, seconds: float) -> None:
        """Wait, at most until it is time to stop."""
        self._event.wait(seconds)
