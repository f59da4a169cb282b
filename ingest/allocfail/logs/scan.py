"""Finds the places of a log that may hold an event, at memory speed, and decodes only around them.

A log of gigabytes holds few events. Pieces that fit a core's cache are searched for a handful of byte strings
(``kb/facts/needles.yml``); around a hit the decoder is fed, from some lines in front of it until it has nothing open.
A large file is split among processes, each of which reports the events that begin in its parts, in order.

Nothing is imported here that a log without events does not need: start-up counts.
"""

from __future__ import annotations

import io
import os
import re
import stat
import sys
from typing import TYPE_CHECKING, NamedTuple, NoReturn, Protocol, TypeVar

from allocfail.errors import AllocfailError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

__all__ = ["Decoder", "Event", "Needles", "decode", "decode_chunks", "decode_file", "hits"]

#: Bytes searched at a time, to fit a core's second-level cache (1 MiB or more on servers) where the next needle and
#: the decoder find them again. 128 KiB to 512 KiB measured alike, 1 MiB slower; mapping the file was no faster, counts
#: as resident memory, and kills the process where a log is truncated meanwhile.
PIECE = 512 << 10
#: Hits in one piece that turn out to be none, above which the next set of needles is faster: looking at one takes a
#: quarter of a microsecond, searching a piece for one more needle nine.
VAIN = 100
#: Bytes behind a hit that confirming it may look at, and a few in front; pieces overlap by as much.
MARGIN = 256
#: What may belong to an event in front of its first needle: the line of suppressed callbacks, the top of a trace whose
#: header is lost, a header that a mailer wrapped.
LOOK_BACK_LINES = 64
LOOK_BACK = 64 << 10
#: How far the beginning of a hit's own line is looked for.
LINE = 1 << 20
#: Fed behind a hit in any case: what completes a wrapped line, "last message repeated N times".
LOOK_AHEAD = 4 << 10
#: The decoder is fed in slices, small ones first: most hits are no event.
SLICE_MIN = 8 << 10
SLICE_MAX = 128 << 10
#: An input up to this size, and as much of a stream, is decoded whole: text wrapped within a word may hold no needle.
WHOLE = 1 << 20
#: A file is split into tasks of this size; below two of them one process is faster.
TASK = 4 << 20
#: Decoding for a task begins this far in front of it, so that a dump that reaches into it is known as one.
WARM_UP = 256 << 10
#: Output that the parent holds of tasks whose turn has not come, of all workers together.
AHEAD = 16 << 20
#: Size asked for a pipe on standard input (the default is 64 KiB, the usual limit 1 MiB, which measured no faster).
PIPE = 512 << 10

#: Hits in a task up to which it is few events: the parent decodes those, so that not every worker imports a decoder.
FEW = 64
#: How many tasks a worker leaves to the parent.
LEFT = 8

_HEAD = 5  # of a message from a worker: one byte of kind, four of length
_OUTPUT, _DONE, _YOURS, _ERROR = 0, 1, 2, 3


class Event(Protocol):
    """What a decoder gives: anything that knows where it began."""

    @property
    def offset(self) -> int:
        """Byte offset of the event's first line."""


E_co = TypeVar("E_co", bound=Event, covariant=True)
E = TypeVar("E", bound=Event)


class Decoder(Protocol[E_co]):
    """What makes events of stretches of an input; see :func:`allocfail.logs.events`."""

    @property
    def oldest(self) -> int | None:
        """Offset of the oldest line that later lines may still make an event, or add to; None: nothing is open.

        Asked whenever a stretch's iterator is asked for more, when all but the last line of what it gave is decoded.
        """

    def decode(self, chunks: Iterator[bytes], offset: int) -> Iterator[E_co]:
        """Decode a stretch of whole lines, which begins at ``offset``; yield the events that its lines ended.

        Between stretches lines are left out in which there is nothing to find, and nothing was open.
        """

    def close(self) -> Iterable[E_co]:
        """Return the events that the end of the input ended."""


class Needles(NamedTuple):
    """Byte strings to search for, and for some a pattern that has to match from a hit on."""

    sets: tuple[tuple[tuple[bytes, re.Pattern[bytes] | None], ...], ...]
    """Each finds every event; a later one has more strings and fewer hits in other lines."""

    @classmethod
    def of(cls, facts: Mapping[str, object]) -> Needles:
        """Make them of ``sets`` and ``confirm`` as in ``kb/facts/needles.yml``."""
        sets, confirm = facts["sets"], facts["confirm"]
        if not isinstance(sets, list) or not isinstance(confirm, dict):
            raise TypeError("needles.yml: sets is a list, confirm a mapping")
        patterns = {needle: re.compile(pattern.encode(), re.DOTALL) for needle, pattern in confirm.items()}
        return cls(tuple(tuple((needle.encode(), patterns.get(needle)) for needle in one) for one in sets))


class _Source:
    """A part of an input in a buffer, and the search through it."""

    def __init__(self, needles: Needles, size: int) -> None:
        import stringzilla  # noqa: PLC0415 - `gfp`, `kb` and the like must not pay for it

        self._search = stringzilla.find
        self._sets = needles.sets
        self._set = 0
        self._vain = 0
        """Hits in this piece that were none."""
        self._buffer = bytearray(size)
        self._view = memoryview(self._buffer)
        self._base = 0
        """Offset of the buffer's first byte in the input."""
        self._end = 0
        """Offset behind the last byte that the buffer holds."""
        self._floor = 0
        """Offset below which nothing can be read any more."""
        self._last = False
        """Whether the input ends there."""
        self._next: list[int] = []
        """For every needle its last hit found; it is the first behind every position searched from so far."""
        self._clear: list[int] = []
        """For every needle the offset up to which there is no other."""
        self.rewind()

    def rewind(self) -> None:
        """Make ready to search from an earlier position than before."""
        self._next = [-1] * len(self._sets[self._set])
        self._clear = [-1] * len(self._sets[self._set])

    def _fill(self, position: int) -> None:
        """Go on reading: afterwards more bytes from ``position`` on are there, or ``_last`` is set."""
        raise NotImplementedError

    def read(self, offset: int, size: int) -> bytes:
        """Return up to ``size`` bytes at ``offset``, at least a line of them unless the input ends; b"" at the end."""
        raise NotImplementedError

    def find(self, position: int, stop: int | None) -> int:
        """Return the offset of the first hit from ``position`` on that begins before ``stop``; -1 if there is none."""
        while stop is None or position < stop:
            position = max(position, self._floor)
            limit = self._end if self._last else self._end - MARGIN
            if self._base <= position < limit:
                if stop is not None and stop < limit:
                    limit = stop
                hit = self._first(position, limit)
                if hit < limit:
                    return hit
                position = limit
            elif self._last and position >= self._base:
                return -1
            else:
                if self._vain > VAIN and self._set + 1 < len(self._sets):
                    self._set += 1
                    self.rewind()
                self._vain = 0
                self._fill(position)
        return -1

    def _first(self, position: int, limit: int) -> int:
        """Return the first hit in the buffer from ``position`` on, ``limit`` where there is none before that."""
        base, held, search = self._base, self._end - self._base, self._search
        best = limit
        for number, (needle, confirm) in enumerate(self._sets[self._set]):
            hit = self._next[number]
            if hit < position:
                at = max(position, self._clear[number]) - base
                end = min(limit - base + len(needle) - 1, held)  # a hit may reach beyond the limit
                while at < end and (step := search(self._view[at:end], needle)) >= 0:
                    at += step
                    if confirm is None or confirm.match(self._buffer, at, held):
                        self._next[number] = hit = at + base
                        break
                    at += 1
                    self._vain += 1
                if hit < position:
                    self._clear[number] = limit
                    continue
            best = min(best, hit)
        return best

    def before(self, hit: int, floor: int) -> int:
        """Return where to begin so that the decoder sees the lines in front of ``hit``; not below ``floor``."""
        start = max(floor, hit - LOOK_BACK)
        text = self.read(start, hit - start)[: hit - start]
        cut = len(text)
        for _ in range(LOOK_BACK_LINES + 1):
            line = text.rfind(b"\n", 0, cut)
            if line < 0:
                break
            cut = line
        else:
            return start + cut + 1
        if start == floor:
            return floor
        cut = text.find(b"\n")
        if cut >= 0:
            return start + cut + 1
        # A very long line: a whole dump with escaped line ends, for example.
        start = max(floor, hit - LINE)
        text = self.read(start, hit - start)[: hit - start]
        return start + text.rfind(b"\n") + 1


class _File(_Source):
    """A regular file: any part can be read again."""

    def __init__(self, needles: Needles, fd: int, size: int) -> None:
        super().__init__(needles, PIECE)
        self._fd = fd
        self._size = size
        self.progress: Callable[[int], object] | None = None

    def _fill(self, position: int) -> None:
        self._base = max(position - MARGIN, 0)
        got = os.preadv(self._fd, [self._view], self._base)
        self._end = min(self._base + got, self._size)
        self._last = got == 0 or self._end >= self._size
        if self.progress is not None:
            self.progress(self._base)

    def read(self, offset: int, size: int) -> bytes:
        return os.pread(self._fd, max(min(size, self._size - offset), 0), offset)


class _Stream(_Source):
    """Bytes that come once: the last of them are kept for looking back."""

    def __init__(self, needles: Needles, readinto: Callable[[memoryview], int]) -> None:
        super().__init__(needles, LINE + PIECE)
        self._readinto = readinto

    def _fill(self, position: int) -> None:
        used = self._end - self._base
        if used > len(self._buffer) - PIECE // 4:
            back = max(position - LOOK_BACK - self._base, 0)
            if self._buffer.find(b"\n", back, position - self._base) < 0:
                back = max(position - LINE - self._base, 0)  # a very long line
            self._buffer[: used - back] = self._view[back:used].tobytes()
            self._base = self._floor = self._base + back
            used -= back
        got = self._readinto(self._view[used : used + PIECE])
        self._end += got
        self._last = got == 0

    def read(self, offset: int, size: int) -> bytes:
        while True:
            begin = max(offset - self._base, 0)
            data = bytes(self._view[begin : min(begin + size, self._end - self._base)])
            if len(data) >= size or self._last or b"\n" in data:
                return data
            self._fill(offset)


def hits(path: str | os.PathLike[str], needles: Needles) -> Iterator[int]:
    """Yield the offset of every confirmed hit in a file, in order. Raises ``OSError``."""
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        source = _File(needles, fd, os.fstat(fd).st_size)
        hit = source.find(0, None)
        while hit >= 0:
            yield hit
            hit = source.find(hit + 1, None)
    finally:
        os.close(fd)


def _decode(
    source: _Source,
    decoder: Callable[[], Decoder[E]],
    *,
    begin: int = 0,
    start: int = 0,
    stop: int | None = None,
    whole: int = 0,
) -> Iterator[E]:
    """Yield the events that begin in ``start`` to ``stop`` (None: the end), as decoding all of the input would.

    Decoding begins at ``begin``; everything up to ``whole`` is fed, whether it holds needles or not.
    """
    source.rewind()
    beyond = None if stop is None else stop + LOOK_BACK
    if whole <= begin:
        # Most parts hold nothing: no decoder, and no warm-up, for those.
        if source.find(start, beyond) < 0:
            return
        source.rewind()
    stream = decoder()
    stretch = _Stretch(source, stream, begin=begin, stop=stop, whole=whole)
    while not stretch.ended:
        for event in stream.decode(stretch.chunks(), stretch.fed):
            if start <= event.offset and (stop is None or event.offset < stop):
                yield event
    for event in stream.close():
        if start <= event.offset and (stop is None or event.offset < stop):
            yield event


class _Stretch:
    """Gives a decoder the lines around hits, stretch by stretch."""

    def __init__(self, source: _Source, decoder: Decoder[Event], *, begin: int, stop: int | None, whole: int) -> None:
        self._source = source
        self._decoder = decoder
        self._stop = stop
        self._need = whole
        """Offset up to which the decoder is fed, whatever it says."""
        self._position = begin
        """Offset of the next hit to look for."""
        self._size = SLICE_MAX if whole > begin else SLICE_MIN
        self.fed = begin
        """Offset behind what the decoder has had, or where the next stretch begins."""
        self.ended = False

    def chunks(self) -> Iterator[bytes]:
        """Yield pieces of whole lines until nothing is open, and no hit is near."""
        beyond = None if self._stop is None else self._stop + LOOK_BACK
        while True:
            if self.fed >= self._need:
                oldest = self._decoder.oldest
                if oldest is None:
                    # A line may have been completed by the one behind it only: hits in the last lines count again.
                    hit = self._source.find(max(self._position, self.fed - LOOK_AHEAD), beyond)
                    if hit < 0:
                        break
                    self._position = hit + 1
                    self._need = hit + LOOK_AHEAD
                    if hit >= self.fed and (lines := self._source.before(hit, self.fed)) > self.fed:
                        self.fed = lines
                        self._size = SLICE_MIN
                        return
                    continue
                if self._stop is not None and oldest >= self._stop and self.fed >= self._stop + LOOK_BACK:
                    break  # what is open begins in the next part, and is decoded there
            data = self._source.read(self.fed, self._size)
            if not data:
                break
            self._size = min(self._size * 2, SLICE_MAX)
            cut = data.rfind(b"\n") + 1
            if cut:
                data = data[:cut]
            self.fed += len(data)
            yield data
        self.ended = True


def decode(
    path: str,
    decoder: Callable[[], Decoder[E]],
    render: Callable[[E], bytes],
    needles: Needles,
    *,
    workers: int | None = None,
    progress: Callable[[int, int | None], object] | None = None,
) -> Iterator[bytes]:
    """Yield what ``render`` makes of every event of a log; ``-`` is standard input, and it may be compressed.

    Options and errors are those of :func:`decode_file`, and :class:`~allocfail.errors.InputError` for what cannot be
    read.
    """
    fd = _plain(path)
    if fd is not None:
        try:
            yield from decode_file(fd, decoder, render, needles, workers=workers, progress=progress)
        finally:
            if fd:
                os.close(fd)
        return
    readinto = None
    if path == "-":
        _widen(0)
        readinto = _standard_input()
    if readinto is None:
        from allocfail.logs import inputs  # noqa: PLC0415 - text that comes as it is does without

        readinto = _unpacked(inputs.open_input(path))
    source = _Stream(needles, readinto if progress is None else _counted(readinto, progress))
    yield from map(render, _decode(source, decoder, whole=WHOLE))


def _plain(path: str) -> int | None:
    """Open a regular file that begins with text; None for anything else, and what cannot be opened."""
    fd = 0
    try:
        if path != "-":
            fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        status = os.fstat(fd)
        if stat.S_ISREG(status.st_mode) and status.st_size:
            head = os.pread(fd, 6, os.lseek(fd, 0, os.SEEK_CUR))
            if _is_text(head):
                return fd
    except OSError:
        pass  # whoever opens it in the other way says what is wrong
    if fd:
        os.close(fd)
    return None


def _is_text(head: bytes) -> bool:
    """Whether an input begins with text: every compressed format has a byte among its first six that is none."""
    return bool(head) and all(0x20 <= byte < 0x7F or byte in b"\t\r\n\x1b" for byte in head)


def _standard_input() -> Callable[[memoryview], int] | None:
    """Return what reads standard input without a copy in between; None where it does not begin with text."""
    try:
        reader = sys.stdin.buffer
        if not isinstance(reader, io.BufferedReader):
            return None
        head = reader.peek(6)
        if not _is_text(head[:6]):
            return None
        ahead = memoryview(reader.read1(len(head)))
        fd = reader.fileno()
    except (AttributeError, OSError, ValueError):
        return None  # whoever opens it in the other way says what is wrong

    def readinto(buffer: memoryview) -> int:
        nonlocal ahead
        if not ahead:
            return os.readv(fd, [buffer])
        size = min(len(ahead), len(buffer))
        buffer[:size] = ahead[:size]
        ahead = ahead[size:]
        return size

    return readinto


def _unpacked(chunks: Iterable[bytes]) -> Callable[[memoryview], int]:
    """Return what copies chunks into a buffer, as much as fits."""
    left = iter(chunks)
    ahead = memoryview(b"")

    def readinto(buffer: memoryview) -> int:
        nonlocal ahead
        while not ahead:
            chunk = next(left, None)
            if chunk is None:
                return 0
            ahead = memoryview(chunk)
        size = min(len(ahead), len(buffer))
        buffer[:size] = ahead[:size]
        ahead = ahead[size:]
        return size

    return readinto


def _counted(
    readinto: Callable[[memoryview], int], progress: Callable[[int, int | None], object]
) -> Callable[[memoryview], int]:
    done = 0

    def counted(buffer: memoryview) -> int:
        nonlocal done
        got = readinto(buffer)
        done += got
        progress(done, None)
        return got

    return counted


def decode_chunks(chunks: Iterable[bytes], decoder: Callable[[], Decoder[E]], needles: Needles) -> Iterator[E]:
    """Yield the events of a log that comes in chunks of any size.

    ``decoder`` makes a decoder; it is called once there may be something to decode.
    """
    return _decode(_Stream(needles, _unpacked(chunks)), decoder, whole=WHOLE)


def decode_file(
    fd: int,
    decoder: Callable[[], Decoder[E]],
    render: Callable[[E], bytes],
    needles: Needles,
    *,
    workers: int | None = None,
    progress: Callable[[int, int | None], object] | None = None,
) -> Iterator[bytes]:
    """Yield what ``render`` makes of every event of an open regular file from its position on, in order.

    ``workers``: how many processes (default: as many as there are processors; one for a small file).
    ``decoder`` and ``render`` run in them. ``progress`` is called with the bytes done so far and the bytes in all.
    Raises what those raise, :class:`AllocfailError` where a worker fails in another way, and ``OSError``.
    """
    origin = os.lseek(fd, 0, os.SEEK_CUR)
    size = os.fstat(fd).st_size
    tasks = range(origin, size, TASK)
    workers = min(workers or _processors(), len(tasks))
    source = _File(needles, fd, size)

    def work(start: int) -> Iterator[bytes]:
        stop = start + TASK if start + TASK < size else None
        begin = max(start - WARM_UP, origin)
        return map(render, _decode(source, decoder, begin=begin, start=start, stop=stop))

    def done(position: int) -> None:
        if progress is not None:
            progress(min(position, size) - origin, size - origin)

    if workers < 2:
        source.progress = done
        whole = size if size - origin <= WHOLE else origin
        yield from map(render, _decode(source, decoder, begin=origin, start=origin, whole=whole))
        return

    def count(start: int) -> int:
        source.rewind()
        stop = start + TASK + LOOK_BACK
        hit, found = source.find(start, stop), 0
        while hit >= 0 and found <= FEW:
            found += 1
            hit = source.find(hit + 1, stop)
        return found

    for task, output in _fork_map(tasks, count, work, workers):
        if output is None:
            done(task + TASK)
        else:
            yield output


def _processors() -> int:
    """Return how many processors this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _widen(fd: int) -> None:
    """Make a pipe hold more, so that its two ends wake each other less often; does nothing to anything else."""
    try:
        import fcntl  # noqa: PLC0415 - only pipes need it

        fcntl.fcntl(fd, fcntl.F_SETPIPE_SZ, PIPE)
    except (ImportError, AttributeError, OSError):
        pass  # no pipe, no Linux, or above this user's limit: then it is slower


def _fork_map(
    tasks: Sequence[int], count: Callable[[int], int], work: Callable[[int], Iterator[bytes]], workers: int
) -> Iterator[tuple[int, bytes | None]]:
    """Run ``work`` for every task that ``count`` finds hits in, in forked processes; yield its output in order.

    Behind a task's output comes None. Processes and pipes rather than ``multiprocessing``, whose import alone takes as
    long as searching a tenth of a gigabyte, and threads are no help: the search holds the interpreter's lock.
    """
    import select  # noqa: PLC0415 - as above

    pipes: list[int] = []
    children: list[int] = []
    done = False
    try:
        for number in range(workers):
            ours, theirs = os.pipe()
            pipes.append(ours)
            child = os.fork()
            if child == 0:
                for pipe in pipes:
                    os.close(pipe)
                _serve(theirs, tasks[number::workers], count, work)
            children.append(child)
            os.close(theirs)
            _widen(ours)
        buffers = {pipe: bytearray() for pipe in pipes}
        ended: set[int] = set()
        for index, task in enumerate(tasks):
            turn = pipes[index % workers]
            while True:
                kind, data = _message(buffers[turn])
                if kind == _OUTPUT:
                    yield task, data
                elif kind in {_DONE, _YOURS}:
                    if kind == _YOURS:
                        for output in work(task):
                            yield task, output
                    yield task, None
                    break
                elif kind == _ERROR:
                    raise _unpickled(data)
                elif turn in ended:
                    raise AllocfailError("a worker process was killed")
                else:
                    # A worker whose turn it is not may run ahead, but not without bound.
                    wanted = [pipe for pipe in pipes if pipe == turn or len(buffers[pipe]) < AHEAD // workers]
                    for pipe in select.select([pipe for pipe in wanted if pipe not in ended], [], [])[0]:
                        data = os.read(pipe, PIPE)
                        buffers[pipe] += data
                        if not data:
                            ended.add(pipe)
        done = True
    finally:
        for pipe in pipes:
            os.close(pipe)
        for child in children:
            if not done:
                os.kill(child, 15)  # SIGTERM; the number saves the import of signal
            os.waitpid(child, 0)


def _serve(
    pipe: int, tasks: Sequence[int], count: Callable[[int], int], work: Callable[[int], Iterator[bytes]]
) -> NoReturn:
    """Be a worker: send what ``work`` yields for each task, and never return."""
    left = LEFT
    try:
        for task in tasks:
            found = count(task)
            if 0 < found <= FEW and left:
                left -= 1
                _send(pipe, _YOURS, b"")
                continue
            if found:
                for output in work(task):
                    _send(pipe, _OUTPUT, output)
            _send(pipe, _DONE, b"")
    except (KeyboardInterrupt, BrokenPipeError):
        pass  # the parent knows, or is gone
    except BaseException as error:  # noqa: BLE001 - the parent is to say it, whatever it is
        _send(pipe, _ERROR, _pickled(error))
    finally:
        os._exit(0)


def _send(pipe: int, kind: int, data: bytes) -> None:
    rest = memoryview(bytes([kind]) + len(data).to_bytes(_HEAD - 1, "little") + data)
    while rest:
        rest = rest[os.write(pipe, rest) :]


def _message(buffer: bytearray) -> tuple[int, bytes]:
    """Take the first message out of a buffer; the kind is -1 while it has not come whole."""
    size = _HEAD + int.from_bytes(buffer[1:_HEAD], "little")
    if len(buffer) < _HEAD or len(buffer) < size:
        return -1, b""
    kind, data = buffer[0], bytes(buffer[_HEAD:size])
    del buffer[:size]
    return kind, data


def _pickled(error: BaseException) -> bytes:
    import pickle  # noqa: PLC0415 - only after an error

    if isinstance(error, AllocfailError | OSError):
        return pickle.dumps(error)
    return pickle.dumps(AllocfailError(f"decoding failed: {error!r}"))


def _unpickled(data: bytes) -> Exception:
    import pickle  # noqa: PLC0415 - only after an error

    error = pickle.loads(data)  # noqa: S301 - from our own worker
    return error if isinstance(error, Exception) else AllocfailError("decoding failed")
