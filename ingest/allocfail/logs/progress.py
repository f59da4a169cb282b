"""How far a long job is, with rate and time left, on a terminal."""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from types import TracebackType

    from rich.progress import Progress, TaskID

__all__ = ["Bar"]

#: Seconds before anything is shown: most jobs are done by then.
PATIENCE = 1.0
#: Seconds between two pictures.
PERIOD = 0.2


class Bar:
    """A line on standard error that says how many bytes of an input are done; use it in a ``with``.

    Shows nothing where standard error is no terminal, where standard output is the same terminal (the two would write
    over each other), and in the first second.
    """

    def __init__(self, title: str) -> None:
        """``title`` stands in front of the bar: the name of the file."""
        self._title = title
        self._next = time.monotonic() + PATIENCE if sys.stderr.isatty() and not sys.stdout.isatty() else float("inf")
        self._progress: Progress | None = None
        self._task: TaskID | None = None

    def __call__(self, done: int, total: int | None) -> None:
        """Say that ``done`` bytes of ``total`` (None: not known) are done."""
        now = time.monotonic()
        if now < self._next:
            return
        self._next = now + PERIOD
        if self._progress is None:
            self._begin()
        if self._progress is not None and self._task is not None:
            self._progress.update(self._task, completed=done, total=total)
            self._progress.refresh()

    def _begin(self) -> None:
        from rich import progress  # noqa: PLC0415 - slow to import, and seldom shown
        from rich.console import Console  # noqa: PLC0415 - as above
        from rich.markup import escape  # noqa: PLC0415 - as above

        title = "".join(c if c.isprintable() else "?" for c in self._title)
        columns = [
            progress.TextColumn(escape(title)),
            progress.BarColumn(),
            progress.DownloadColumn(),
            progress.TransferSpeedColumn(),
            progress.TimeRemainingColumn(),
        ]
        # Without a thread of its own: it would be there when processes are forked.
        self._progress = progress.Progress(
            *columns, console=Console(stderr=True), auto_refresh=False, transient=True, speed_estimate_period=10
        )
        self._progress.start()
        self._task = self._progress.add_task("", total=None)

    def __enter__(self) -> Self:
        """Begin."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Take the line away again."""
        if self._progress is not None:
            self._progress.stop()
