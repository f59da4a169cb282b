"""A readable report of a log's events: equal ones once, the answer first."""

from __future__ import annotations

import shutil
import sys
from typing import TYPE_CHECKING, Any, BinaryIO

from allocfail.report import event as said
from allocfail.report.event import Line
from allocfail.report.groups import MOST, Group, Groups
from allocfail.report.layout import laid_out

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["Reporter"]

_BLANK = Line("", "")


class Reporter:
    """Takes documents, prints groups."""

    def __init__(self, out: BinaryIO, *, served: bool, live: bool) -> None:
        """Begin a report.

        ``served``: the addresses of articles lead somewhere. ``live``: each group is printed when its first event is
        found, and how often it was seen is said at the end; else all is printed at the end.
        """
        self._out = out
        self._served = served
        self._live = live
        self._groups = Groups()
        terminal = sys.stdout.isatty()
        self._width = shutil.get_terminal_size().columns if terminal else None
        self._colour = terminal

    def add(self, document: dict[str, Any]) -> None:
        """Take one event."""
        group = self._groups.add(document)
        if group is not None and (self._live or len(self._groups.found) > MOST):
            self._block(group)

    def close(self) -> None:
        """Print what is left, how often each group was seen, and how many events there were."""
        again: list[Line] = []
        for group in self._groups.found.values():
            if not group.printed:
                self._block(group)
            elif group.count > 1:
                again += [Line("", group.headline, "title"), Line("seen", group.seen())]
                again += [Line("", f"{count} of them: {text}") for count, text in group.others()]
        if again:
            self._print([*again, _BLANK])
        if self._groups.events:
            self._print([Line("", self._groups.total(), "title")])

    def _block(self, group: Group) -> None:
        document = group.document
        lines = [*said.answer(document, group, served=self._served), _BLANK, *said.facts_of(document), _BLANK]
        self._print(lines)
        group.release(said.headline(document))

    def _print(self, lines: Iterable[Line]) -> None:
        text = laid_out(lines, width=self._width, colour=self._colour)
        self._out.write(text.encode(sys.stdout.encoding, sys.stdout.errors or "replace"))
        if self._live:
            self._out.flush()
