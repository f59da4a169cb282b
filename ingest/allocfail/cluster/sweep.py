"""Events assembled from what was indexed line by line.

One pass looks for documents in which an event begins, reads what stands around each in the same stream, assembles it
(:mod:`allocfail.cluster.assembled`), writes the events and marks the documents in which they begin. Ids are the events'
own, so a pass that is repeated changes nothing, and one that finds more lines completes the event.
"""

from __future__ import annotations

from collections import OrderedDict
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from allocfail import facts
from allocfail.cluster import lines as carriers
from allocfail.cluster.assembled import Assembled, assemble
from allocfail.cluster.lines import Line, Place
from allocfail.cluster.retry import Patience
from allocfail.cluster.search import Fields, Pace, Reader, beginnings, between, fields_of, indices_of
from allocfail.cluster.ship import Item
from allocfail.decoder.fields import at
from allocfail.decoder.options import Options
from allocfail.errors import AllocfailError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from allocfail.cluster.client import Engine
    from allocfail.cluster.search import Hit
    from allocfail.cluster.ship import Shipper

__all__ = ["Counts", "Sweep", "Window"]

#: Documents around one place that are looked at, at most.
_MOST_AROUND = 20_000
#: Documents with a line of the kernel's that are held where an index has no time to look around in.
_MOST_UNTIMED = 200_000
#: First lines that are remembered as settled, so that a pass does not settle them again.
_MOST_SETTLED = 50_000
#: A window grows until its last event has ended, to this many times its size.
_MOST_GROWTH = 8


@dataclass
class Counts:
    """What a sweep has done."""

    read: int = 0
    """Documents read, those around first lines included."""
    first_lines: int = 0
    whole: int = 0
    """Documents that hold a whole event by themselves, and have not been through the pipeline."""
    events: int = 0
    complete: int = 0
    marked: int = 0
    unmarked: int = 0
    """First lines whose document could not be updated."""


@dataclass(frozen=True)
class Window:
    """How far from a first line the other lines of its event are looked for, in seconds."""

    before: float = 5.0
    after: float = 60.0


@dataclass
class _Span:
    """A part of a stream around some first lines."""

    seeds: list[Line]
    begin: datetime | None
    end: datetime | None


@dataclass
class _Settled:
    """First lines that need no second look."""

    places: OrderedDict[Place, None] = field(default_factory=OrderedDict)

    def add(self, place: Place) -> None:
        self.places[place] = None
        if len(self.places) > _MOST_SETTLED:
            self.places.popitem(last=False)


class Sweep:
    """Sweeps some indices into one target."""

    def __init__(
        self,
        engine: Engine,
        names: Sequence[str],
        shipper: Shipper | None,
        *,
        options: Options | None = None,
        window: Window | None = None,
        slices: int = 1,
        mark: bool = True,
        time_field: str | None = None,
        skip: Sequence[str] = (),
        pace: Pace | None = None,
        patience: Patience | None = None,
        say: Callable[[str], object] = lambda _: None,
        found: Callable[[Assembled], object] = lambda _: None,
        progress: Callable[[Counts, str], object] = lambda *_: None,
    ) -> None:
        """Take what is swept and where events go; without a shipper nothing is written (``found`` is told of each).

        ``skip`` are names that are not read, even where a pattern covers them: the events themselves, for one.
        """
        self.counts = Counts()
        self._engine = engine
        self._names = names
        self._shipper = shipper
        self._options = options or Options()
        self._window = window or Window()
        self._slices = slices
        self._mark = mark
        self._skip = skip
        self._pace = pace or Pace(None)
        self._patience = patience or Patience()
        self._say = say
        self._found = found
        self._progress = progress
        self._settled = _Settled()
        self._said: set[str] = set()
        self._time_field = time_field
        self._pending: list[tuple[Place, Item]] = []
        self._fields = Fields((), (), None, frozenset())

    # -- one pass ------------------------------------------------------------------------------------------------------

    def run(self, since: datetime | None, until: datetime | None, done: Callable[[datetime], object]) -> None:
        """Sweep what was logged from ``since`` to ``until`` (None: without a limit); call ``done`` with how far it is.

        When ``done`` is called everything before that time is in the target, acknowledged. Raises
        :class:`EngineError` where the cluster refuses, or stays away for longer than one waits.
        """
        names = self._concrete()
        while names:
            self._fields = self._ask_fields(names)
            together = [name for name in names if name not in self._fields.undated]
            names = [name for name in names if name in self._fields.undated]
            # Only once all are read is everything before a time in the target.
            self._pass(together, since, until, (lambda _: None) if names else done)

    def _pass(
        self,
        names: Sequence[str],
        since: datetime | None,
        until: datetime | None,
        done: Callable[[datetime], object],
    ) -> None:
        """Sweep indices that have one field of time in common, or none of which has one."""
        with Reader(self._engine, names, pace=self._pace, patience=self._patience) as reader:
            try:
                if self._fields.time is None:
                    self._say("no date field to look around in: all documents are read")
                    self._untimed(reader)
                else:
                    self._timed(reader, since, until, done)
            finally:
                self.counts.read += reader.read

    def _concrete(self) -> list[str]:
        left_out = set(self._patience.insist(lambda: indices_of(self._engine, [f"{name}*" for name in self._skip])))
        return [n for n in self._patience.insist(lambda: indices_of(self._engine, self._names)) if n not in left_out]

    def _ask_fields(self, names: Sequence[str]) -> Fields:
        known = facts.load()["carriers"]
        below = known["journal_below"]
        texts = list(facts.load()["containers"]["texts"])
        exact = [*facts.load()["containers"]["boots"], *known["join"]]
        exact += [f"{root}.{name}" for root in below for name in ("_BOOT_ID", "_HOSTNAME", "_TRANSPORT")]
        times = [self._time_field] if self._time_field else known["times"]
        fields = self._patience.insist(lambda: fields_of(self._engine, names, texts, times, exact))
        if self._time_field is not None and fields.time is None:
            raise AllocfailError(f"{self._time_field} is no date in {', '.join(names)}")
        for index in fields.unsearched:
            self._once(f"{index}: no field of it that holds a text can be searched: all its documents are read")
        return fields

    def _once(self, text: str, *, about: str = "") -> None:
        if (about or text) not in self._said:
            self._said.add(about or text)
            self._say(text)

    def _timed(
        self, reader: Reader, since: datetime | None, until: datetime | None, done: Callable[[datetime], object]
    ) -> None:
        query = beginnings(self._fields, since, until)
        # What has been decoded whole needs nothing; what is made of documents is an event already.
        query["bool"]["must_not"] = [
            {"term": {"allocfail.complete": True}},
            {"exists": {"field": "allocfail.documents.id"}},
        ]
        reached: list[datetime | None] = [since] * self._slices
        seeds = [self._seeds(reader, query, (part, self._slices)) for part in range(self._slices)]
        going = list(range(self._slices))
        with ThreadPoolExecutor(max_workers=self._slices) as pool:
            while going:
                # No part is more than a page ahead of the others: what is held is bounded.
                pages = list(pool.map(lambda part: next(seeds[part], None), going))
                begun: list[Line] = []
                for part, page in zip(tuple(going), pages, strict=True):
                    if page is None:
                        going.remove(part)
                        reached[part] = until or datetime.now(UTC)
                    else:
                        begun += page[0]
                        reached[part] = page[1] or reached[part]
                spans = self._spans(begun)
                for span, events in zip(spans, pool.map(lambda span: self._around(reader, span), spans), strict=True):
                    self._settle(span, events)
                self._acknowledge()
                times = [moment for moment in reached if moment is not None]
                if len(times) == len(reached):
                    done(min(times))
                self._progress(self.counts, min(times).isoformat(timespec="seconds") if times else "")

    def _untimed(self, reader: Reader) -> None:
        """Assemble an index without a date: all of its lines that may be the kernel's, at once."""
        lines: list[Line] = []
        for page in reader.pages({"match_all": {}}, []):
            lines += filter(carriers.is_kernels, (carriers.read(Place(hit.index, hit.id), hit.source) for hit in page))
            if len(lines) > _MOST_UNTIMED:
                raise AllocfailError(
                    f"{', '.join(self._names)}: more than {_MOST_UNTIMED} lines of a kernel's, and no date field "
                    "to part them by: index them with a time, or sweep a part of them"
                )
        seeds = [line for line in lines if carriers.may_begin(line) and not self._is_whole(line)]
        self.counts.first_lines += sum(bool(carriers.dumps_alone(seed)) for seed in seeds)
        self._settle(_Span(seeds, None, None), assemble(lines, self._options))
        self._acknowledge()

    def _sort(self) -> list[dict[str, Any]]:
        if self._fields.time is None:
            return []
        how = {"order": "asc", "numeric_type": "date", "missing": "_first", "unmapped_type": "date"}
        return [{self._fields.time: how}]

    def _seeds(
        self, reader: Reader, query: dict[str, Any], part: tuple[int, int]
    ) -> Iterator[tuple[list[Line], datetime | None]]:
        """Yield, page by page, the documents in which an event begins, and the time of the page's last document."""
        for page in reader.pages(query, self._sort(), part=part):
            seeds = [line for hit in page if (line := self._seed(hit)) is not None]
            yield seeds, _time(page[-1].sort[0])

    def _seed(self, hit: Hit) -> Line | None:
        place = Place(hit.index, hit.id)
        if place in self._settled.places or at(hit.source, "allocfail.documents") is not None:
            return None
        if at(hit.source, "allocfail.complete") is True:
            return None
        line = carriers.read(place, hit.source)
        if not carriers.may_begin(line):
            return None
        line.seconds = moment.timestamp() if hit.sort and (moment := _time(hit.sort[0])) else line.seconds
        return line

    # -- around first lines --------------------------------------------------------------------------------------------

    def _spans(self, seeds: list[Line]) -> list[_Span]:
        """Put first lines of one stream together whose surroundings overlap: they are read once."""
        found: list[_Span] = []
        before, after = timedelta(seconds=self._window.before), timedelta(seconds=self._window.after)
        last: dict[tuple[Any, ...], _Span] = {}
        for seed in sorted(seeds, key=lambda line: line.seconds or 0.0):
            if self._is_whole(seed):
                continue
            self.counts.first_lines += bool(carriers.dumps_alone(seed))
            if seed.seconds is None:
                found.append(_Span([seed], None, None))
                continue
            moment = datetime.fromtimestamp(seed.seconds, UTC)
            key = (seed.boot, self._narrow(seed))
            span = last.get(key)
            if span is not None and span.end is not None and moment - before <= span.end and len(span.seeds) < 200:
                span.seeds.append(seed)
                span.end = moment + after
            else:
                span = last[key] = _Span([seed], moment - before, moment + after)
                found.append(span)
        return found

    def _is_whole(self, seed: Line) -> bool:
        if seed.text.count("\n") < 2:
            return False
        events = list(assemble([seed], self._options))
        if not events or not all(event.complete for event in events):
            return False
        self.counts.whole += 1
        self._settled.add(seed.place)
        return True

    def _narrow(self, seed: Line) -> tuple[tuple[str, str], ...]:
        """Return what the lines around a first line can be looked up by."""
        exact = self._fields.exact
        terms: list[tuple[str, str]] = []
        for name, value in seed.join:
            field_name = next((known for known in (name, f"{name}.keyword") if known in exact), None)
            if field_name is not None and at(seed.source, name) is not None and len(value) < 256:
                terms.append((field_name, value))
        if seed.boot is not None:
            for name in facts.load()["containers"]["boots"]:
                field_name = next((known for known in (name, f"{name}.keyword") if known in exact), None)
                if field_name is not None and at(seed.source, name) == seed.boot:
                    terms.append((field_name, seed.boot))
        return tuple(terms)

    def _around(self, reader: Reader, span: _Span) -> list[Assembled]:
        """Return the events that are in the documents around first lines, whether they begin in one of them or not."""
        terms = [{"term": {name: value}} for name, value in self._narrow(span.seeds[0])]
        end = span.end
        for growth in range(1, _MOST_GROWTH + 1):
            within = between(self._fields, span.begin, end)
            query: dict[str, Any] = {"bool": {"filter": [*terms, *([within] if within is not None else [])]}}
            if not terms and within is None:
                query = {"match_all": {}}
            hits = [hit for page in reader.pages(query, self._sort(), most=_MOST_AROUND) for hit in page]
            lines = {(hit.index, hit.id): carriers.read(Place(hit.index, hit.id), hit.source) for hit in hits}
            found = list(assemble(lines.values(), self._options))
            if end is None or len(hits) >= _MOST_AROUND or not self._goes_on(found, hits, end):
                break
            end += timedelta(seconds=self._window.after * growth)
        return found

    def _goes_on(self, events: list[Assembled], hits: list[Hit], end: datetime) -> bool:
        """Whether an event reaches so close to the end of a window that it may go on behind it."""
        edge = end - timedelta(seconds=min(5.0, self._window.after / 4))
        late = {
            Place(hit.index, hit.id) for hit in hits if hit.sort and (moment := _time(hit.sort[0])) and moment >= edge
        }
        return any(not late.isdisjoint(event.places) for event in events)

    def _settle(self, span: _Span, events: Iterable[Assembled]) -> None:
        """Hand on the events that begin in a span's first lines."""
        wanted = {seed.place for seed in span.seeds}
        for event in events:
            if wanted.isdisjoint(event.places):
                continue
            if event.complete:
                for place in event.places:
                    if place in wanted:
                        self._settled.add(place)
            self.counts.events += 1
            self.counts.complete += event.complete
            self._found(event)
            if self._shipper is not None:
                self._hand_on(self._shipper, event)

    # -- writing -------------------------------------------------------------------------------------------------------

    def _hand_on(self, shipper: Shipper, event: Assembled) -> None:
        place = f"{event.header.index}: the event that begins in {event.header.id}"
        item = Item(event.known, event.document, place, number=event.number)
        self._pending.append((event.header, item))
        shipper.put(item)

    def _acknowledge(self) -> None:
        """Send what is held, then mark the first lines of what is there now."""
        if self._shipper is None:
            return
        self._shipper.flush()
        done = [(header, item) for header, item in self._pending if item.outcome != "rejected"]
        self._pending = []
        if self._mark:
            for start in range(0, len(done), 500):
                self._mark_headers(self._shipper, done[start : start + 500])

    def _mark_headers(self, shipper: Shipper, done: Sequence[tuple[Place, Item]]) -> None:
        actions = [
            {
                "_op_type": "update",
                "_index": header.index,
                "_id": header.id,
                "doc": {"allocfail": {"assembled": {"id": item.id, "index": item.index or shipper.target}}},
            }
            for header, item in done
        ]
        results = self._patience.insist(lambda: self._engine.bulk(actions))
        for (header, _), result in zip(done, results, strict=True):
            if 200 <= result.status < 300:
                self.counts.marked += 1
            else:
                self.counts.unmarked += 1
                said = (
                    f"{header.index}: a first line could not be marked: {result.reason} ({result.status} {result.kind})"
                )
                self._once(said, about=f"{header.index} {result.kind}")  # a reason may name the place in the document


def _time(value: Any) -> datetime | None:
    """Return the time of a sort value, milliseconds since 1970; None where the document has none."""
    if not isinstance(value, int | float) or not -62e12 < value < 253e12:
        return None
    return datetime.fromtimestamp(value / 1000, UTC)
