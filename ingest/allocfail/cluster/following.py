"""Logs that grow, shipped as they do: each event once, completed where the end of the log had cut it.

Reading, decoding and sending take turns, so that nothing piles up while the cluster is slow. How far each log has come
is kept only when everything before that place is in the cluster.
"""

from __future__ import annotations

import time
from itertools import takewhile
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from allocfail.cluster.identity import Identity, Numbers
from allocfail.cluster.items import identify, item
from allocfail.cluster.ship import NotSentError
from allocfail.errors import InputError
from allocfail.logs.descriptors import Descriptors
from allocfail.logs.feed import Feed
from allocfail.logs.tail import Part, Stream, Tail, files_below, packing_of

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from allocfail.cluster.checkpoint import Checkpoint
    from allocfail.cluster.ship import Item, Shipper
    from allocfail.decoder.options import Options
    from allocfail.logs.events import Event

__all__ = ["Following", "Source"]

#: Seconds that an event is held for others to go with it.
_LINGER = 1.0
#: Seconds without a new line after which an event of a file that is still open is sent as it is.
_IDLE = 5.0
#: The same of a stream; what comes later completes the event.
_SILENCE = 1.0
#: Seconds between two looks at files in which there was nothing.
_LOOK = 0.25
#: Seconds between two looks for new files in a folder, and between two checkpoints.
_SELDOM = 1.0
#: Identities that are kept, to number the next event of the same.
_IDENTITIES = 64


class _Stopping(Protocol):
    @property
    def asked(self) -> bool: ...

    def sleep(self, seconds: float) -> None: ...


class Source:
    """One log that is followed."""

    def __init__(
        self, log: Tail | Stream, options: Options, host: str | None, state: dict[str, Any] | None = None
    ) -> None:
        """Take the log, and what :meth:`state` has returned where another run has been here."""
        self.log = log
        self._host = host
        self._feed = Feed(options, offset=log.offset if isinstance(log, Tail) else 0)
        self._resting = Numbers(_identities((state or {}).get("taken", [])))
        """Numbers as they were at the last quiet place."""
        self._numbers = Numbers(self._resting.last(_IDENTITIES))
        self._quiet = self._feed.quiet
        self._handed: list[Identity] = []
        """Identities that have been numbered since."""
        self._idle_since = time.monotonic()
        self._peeked = True
        """What is open has been sent as it is; nothing came since."""

    def read(self) -> list[Item] | None:
        """Read what is there, and return the events that it ended; None where nothing was there."""
        data = self.log.read()
        if not data:
            return None
        self._idle_since = time.monotonic()
        self._peeked = False
        items = []
        for event in self._feed.feed(data):
            self._handed.append(identify(event, self._host))
            items.append(self._item(event, self._numbers))
        self._settle()
        return items

    def _settle(self) -> None:
        """Take the numbers along to the last quiet place."""
        if self._feed.quiet == self._quiet:
            return
        self._quiet = self._feed.quiet
        still = len(self._feed.since_quiet)
        passed, self._handed = self._handed[: len(self._handed) - still], self._handed[len(self._handed) - still :]
        for known in passed:
            self._resting.take(known)
        if isinstance(self.log, Tail):
            self.log.needed = self._quiet

    def peek(self, *, now: bool = False) -> list[Item]:
        """Return the events that are still open, once nothing has come for a while, or ``now``."""
        pause = _SILENCE if isinstance(self.log, Stream) else _IDLE
        if self._peeked or not (now or time.monotonic() - self._idle_since >= pause):
            return []
        self._peeked = True
        numbers = Numbers(self._resting.last(Numbers.MOST))
        items = []
        for event, cut in self._feed.open():
            made = self._item(event, numbers)
            if cut:
                items.append(made)
        return items

    def _item(self, event: Event, numbers: Numbers) -> Item:
        made = item(event, numbers, self._place(event), self._host)
        made.again = isinstance(self.log, Tail)
        return made

    def _place(self, event: Event) -> str:
        """Put the file into an event's document, and return where it is for messages."""
        if isinstance(self.log, Stream):
            return f"{self.log.name}: the event at byte {event.offset}"
        path, offset = self.log.where(event.offset)
        log = event.document.setdefault("log", {})
        log["file"] = {"path": path}
        log["offset"] = offset
        return f"{path}: the event at byte {offset}"

    def state(self) -> dict[str, Any] | None:
        """Return what another run needs to go on from the last quiet place; None of a stream, which comes once."""
        if not isinstance(self.log, Tail):
            return None
        taken = [[*known, number] for known, number in self._resting.last(_IDENTITIES)]
        parts = [part.as_state() for part in self.log.parts]
        return {"parts": parts, "quiet": self._feed.quiet, "taken": taken}


def _identities(taken: Sequence[Sequence[Any]]) -> list[tuple[Identity, int]]:
    return [(Identity(*map(str, one[:4])), int(one[4])) for one in taken]


class Following:
    """Follows files, the files of folders, and standard input."""

    def __init__(
        self,
        names: Sequence[str],
        shipper: Shipper,
        kept: Checkpoint | None,
        *,
        options: Callable[[str], Options],
        host: str | None = None,
        stream: Stream | None = None,
        say: Callable[[str], object] = lambda _: None,
    ) -> None:
        """Take what is followed, where it goes, and where it is kept how far each log has come.

        ``options`` makes the decoder's for a log; ``stream`` is standard input, where some of it has been read.
        """
        self._shipper = shipper
        self._kept = kept
        self._options = options
        self._host = host
        self._say = say
        self._state: dict[str, Any] = kept.load().get("logs", {}) if kept is not None else {}
        self._saved: dict[str, Any] = dict(self._state)
        self._said: set[str] = set()
        self._folders = [Path(name) for name in names if name != "-" and Path(name).is_dir()]
        self._sources: dict[str, Source] = {}
        self._descriptors = Descriptors()
        for name in names:
            if name == "-":
                self._sources[name] = Source(stream or Stream(0), options("-"), host)
            elif not Path(name).is_dir():
                self._add(Path(name), named=True)
        self._look_into_folders()

    def _add(self, path: Path, *, named: bool) -> None:
        name = str(path.resolve())
        if name in self._sources:
            return
        if (packed := packing_of(path)) is not None:
            if named and packed.name == "journal":
                raise InputError(f"{path}: {packed.said}; try: journalctl -k -o json -f | allocfail ship --follow -")
            if named:
                raise InputError(f"{path}: {packed.said}, and will not grow: ship it without --follow")
            return
        state = self._state.get(name, {})
        parts = [Part(*part) for part in state.get("parts", [])]
        tail = Tail(Path(name), parts=parts, offset=state.get("quiet", 0), descriptors=self._descriptors)
        if named and not path.exists():
            self._say(f"{path}: is not there yet")
        self._tell_lost(tail)
        self._sources[name] = Source(tail, self._options(name), self._host, state)

    def _tell_lost(self, log: Tail | Stream) -> None:
        if isinstance(log, Tail) and log.lost:
            log.lost = False
            self._say(f"{log.path}: the file that was read last is gone: what was written to it since may be missing")

    def _look_into_folders(self) -> None:
        for folder in self._folders:
            for path in files_below(folder):
                if str(path.resolve()) in self._sources or self._is_rotated(path):
                    continue
                try:
                    self._add(path, named=False)
                except InputError as error:
                    self._once(str(error))

    def _once(self, text: str) -> None:
        if text not in self._said:
            self._said.add(text)
            self._say(text)

    def _is_rotated(self, path: Path) -> bool:
        """Whether a file is one that a log was in under another name."""
        try:
            status = path.stat()
        except OSError:
            return True
        tails = [source.log for source in self._sources.values() if isinstance(source.log, Tail)]
        if any(tail.knows(status.st_dev, status.st_ino) for tail in tails):
            return True
        known = [part for state in self._state.values() for part in state.get("parts", [])]
        return str(path.resolve()) not in self._state and [status.st_dev, status.st_ino] in [part[:2] for part in known]

    def run(self, stop: _Stopping) -> None:
        """Follow until asked to stop, or until streams are all there is and they have ended; then send what is held.

        Raises :class:`NotSentError` where that cannot be sent, with what becomes of it.
        """
        try:
            self._run(stop)
        except NotSentError as error:
            raise NotSentError(error.why, error.items, self._becomes_of(error.items)) from None

    def _becomes_of(self, items: Sequence[Item]) -> str:
        """Say what becomes of events that could not be sent."""
        later = sum(item.again for item in items) if self._kept is not None else 0
        told = [f"{later} events will be sent at the next start"] if later else []
        if later < len(items):
            told.append(f"{len(items) - later} events are not indexed, and are not kept here")
        return "; ".join(told)

    def _read(self, source: Source) -> list[Item] | None:
        """Read a source; one that can no longer be read is told once, and looked at again: the others go on."""
        try:
            return source.read()
        except InputError as error:
            if isinstance(source.log, Stream) or not source.log.parts:
                raise
            self._once(str(error))
            return None

    def _put(self, items: Sequence[Item]) -> None:
        for at, one in enumerate(items):
            try:
                self._shipper.put(one)
            except NotSentError as error:
                raise NotSentError(error.why, [*error.items, *items[at:]]) from None

    def _run(self, stop: _Stopping) -> None:
        began: float | None = None
        looked = time.monotonic()
        while not stop.asked and not self._ended():
            moved = waited = False
            for source in takewhile(lambda _: not stop.asked, list(self._sources.values())):
                items = self._read(source)
                self._tell_lost(source.log)
                moved = moved or items is not None
                open_ones = source.peek() if items is None else []
                waited = waited or bool(open_ones)  # long enough already
                self._put(items or open_ones)
            now = time.monotonic()
            began = (began or now) if self._shipper.held else None
            if began is not None and (waited or now - began >= _LINGER):
                self._shipper.flush()
                began = None
            if now - looked >= _SELDOM:
                looked = now
                self._look_into_folders()
                self._save()
            if not moved:
                self._wait(stop)
        self.end()

    def _ended(self) -> bool:
        logs = [source.log for source in self._sources.values()]
        return not self._folders and all(isinstance(log, Stream) and log.ended for log in logs)

    def _wait(self, stop: _Stopping) -> None:
        streams = [source.log for source in self._sources.values() if isinstance(source.log, Stream)]
        if len(streams) == len(self._sources) == 1 and not streams[0].ended:
            streams[0].wait(_LOOK)
        else:
            stop.sleep(_LOOK)

    def end(self) -> None:
        """Send everything, the open events as they are."""
        for source in self._sources.values():
            self._put(source.peek(now=True))
        self._shipper.flush()
        self._save()

    def _save(self) -> None:
        """Keep how far the logs have come, if all events before are in the cluster."""
        if self._kept is None or self._shipper.held:
            return
        state = dict(self._state)
        state.update({name: now for name, source in self._sources.items() if (now := source.state()) is not None})
        if state != self._saved:
            self._kept.save({"logs": state})
            self._saved = state
