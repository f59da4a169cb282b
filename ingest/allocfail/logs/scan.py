"""Finds the places of a log that may hold an event, at memory speed, and decodes only around them.

A log of gigabytes holds few events. Pieces that fit a core's cache are searched for a handful of byte strings
(``kb/facts/needles.yml``); around a hit the decoder is fed, from some lines in front of it until it has nothing open.
A large file is split among processes, each of which reports the events that begin in its parts, in order.

Nothing is imported here that a log without events does not need: start-up counts.
"""

from __future__ import annotations

import os
from itertools import islice
from typing import TYPE_CHECKING

from allocfail.logs import streams, stretches
from allocfail.logs.search import Needles
from allocfail.logs.sources import LOOK_BACK, FileSource, Found, StreamSource
from allocfail.logs.workers import fork_map, processors

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from allocfail.logs.stretches import Feed, L

    Progress = Callable[[int, int | None], object]

__all__ = ["Needles", "decode", "decode_chunks", "decode_file", "hits"]

#: An input up to this size is decoded whole, and as much of a stream that is shorter or slow: text that is wrapped
#: within a word may hold no needle.
WHOLE = 1 << 20
#: A file is split into tasks of this size; below two of them one process is faster.
TASK = 4 << 20
#: Decoding for a task begins this far in front of it, so that a dump that reaches into it is known as one.
WARM_UP = 256 << 10


def decode(
    path: str,
    feed: Callable[[], Feed[L]],
    render: Callable[[L], bytes],
    needles: Needles,
    *,
    workers: int | None = None,
    progress: Progress | None = None,
) -> Iterator[bytes]:
    """Yield what ``render`` makes of every event of a log; ``-`` is standard input, and it may be compressed.

    Options and errors are those of :func:`decode_file`, and :class:`~allocfail.errors.InputError` for what cannot be
    read. Of a pipe that gives nothing for a second, the events are yielded that have begun.
    """
    fd = streams.open_regular(path)
    if fd is not None:
        try:
            yield from decode_file(fd, feed, render, needles, workers=workers, progress=progress)
        finally:
            if fd:
                os.close(fd)
        return
    readinto = streams.open_stream(path)
    source = StreamSource(needles, readinto if progress is None else streams.counted(readinto, progress))
    yield from map(render, _decode_stream(source, feed))


def decode_chunks(chunks: Iterable[bytes], feed: Callable[[], Feed[L]], needles: Needles) -> Iterator[L]:
    """Yield the events of a log that comes in chunks of any size.

    ``feed`` makes a decoder; it is called once there may be something to decode.
    """
    return _decode_stream(StreamSource(needles, streams.unpacked(chunks)), feed)


def _decode_stream(source: StreamSource, feed: Callable[[], Feed[L]]) -> Iterator[L]:
    yield from stretches.decode_part(source, feed, whole=0 if source.exceeds(WHOLE) else WHOLE)


def decode_file(
    fd: int,
    feed: Callable[[], Feed[L]],
    render: Callable[[L], bytes],
    needles: Needles,
    *,
    workers: int | None = None,
    progress: Progress | None = None,
) -> Iterator[bytes]:
    """Yield what ``render`` makes of every event of an open regular file from its position on, in order.

    ``workers``: how many processes (default: as many as there are processors; one for a small file).
    ``feed`` and ``render`` run in them. ``progress`` is called with the bytes done so far and the bytes in all.
    Raises what those raise, :class:`~allocfail.errors.AllocfailError` where a worker fails in another way, and
    ``OSError``.
    """
    origin = os.lseek(fd, 0, os.SEEK_CUR)
    size = os.fstat(fd).st_size
    source = FileSource(needles, fd, size)

    def done(position: int) -> None:
        if progress is not None:
            progress(min(position, size) - origin, size - origin)

    tasks = range(origin, size, TASK)
    workers = min(workers or processors(), len(tasks))
    if workers < 2:
        source.progress = done
        whole = size if size - origin <= WHOLE else origin
        yield from map(render, stretches.decode_part(source, feed, begin=origin, start=origin, whole=whole))
        return

    def find(start: int, most: int) -> list[int] | None:
        source.rewind()
        found = list(islice(source.hits(start, start + TASK + LOOK_BACK), most + 1))
        if found:
            source.rewind()
            found += islice(source.hits(max(start - WARM_UP, origin), start), most + 1)
        return sorted(found) if len(found) <= most else None

    def work(start: int, found: Sequence[int] | None) -> Iterator[bytes]:
        stop = start + TASK if start + TASK < size else None
        begin = max(start - WARM_UP, origin)
        where = source if found is None else Found(source, found)
        return map(render, stretches.decode_part(where, feed, begin=begin, start=start, stop=stop))

    for task, output in fork_map(tasks, find, work, workers):
        if output is None:
            done(task + TASK)
        else:
            yield output


def hits(path: str | os.PathLike[str], needles: Needles) -> Iterator[int]:
    """Yield the offset of every confirmed hit in a file, in order. Raises ``OSError``."""
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        yield from FileSource(needles, fd, os.fstat(fd).st_size).hits(0, None)
    finally:
        os.close(fd)
