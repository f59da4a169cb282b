"""Runs work in forked processes and gives what comes of it in order.

Processes and pipes rather than ``multiprocessing``, whose import alone takes as long as searching a tenth of a
gigabyte, and threads are no help: the search holds the interpreter's lock.
"""

from __future__ import annotations

import os
import select
from functools import partial
from typing import TYPE_CHECKING, NoReturn

from allocfail.errors import AllocfailError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    Find = Callable[[int, int], Sequence[int] | None]
    Work = Callable[[int, Sequence[int] | None], Iterator[bytes]]

__all__ = ["fork_map", "processors", "widen"]

#: Output that the parent holds of tasks whose turn has not come, of all workers together.
AHEAD = 16 << 20
#: Size asked for a pipe (the default is 64 KiB, the usual limit 1 MiB, which measured no faster).
PIPE = 512 << 10
#: Hits in a task up to which it is few events: the parent decodes those, so that not every worker imports a decoder.
FEW = 64
#: How many tasks a worker leaves to the parent; decoding as many takes about as long as the import.
LEFT = 16

_HEAD = 5  # of a message from a worker: one byte of kind, four of length
_OUTPUT, _DONE, _YOURS, _ERROR = 0, 1, 2, 3


def processors() -> int:
    """Return how many processors this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def widen(fd: int) -> None:
    """Make a pipe hold more, so that its two ends wake each other less often; does nothing to anything else."""
    try:
        import fcntl  # noqa: PLC0415 - only pipes need it

        fcntl.fcntl(fd, fcntl.F_SETPIPE_SZ, PIPE)
    except (ImportError, AttributeError, OSError):
        pass  # no pipe, no Linux, or above this user's limit: then it is slower


def fork_map(tasks: Sequence[int], find: Find, work: Work, workers: int) -> Iterator[tuple[int, bytes | None]]:
    """Run ``work`` for every task that ``find`` finds hits in, in forked processes; yield its output in order.

    ``find`` is called with a task, and with the number of hits beyond which it is to give up and return None; ``work``
    with a task, and with what was found. Behind a task's output comes None. Raises what ``work`` raised, and
    :class:`AllocfailError` where a worker fails in another way.
    """
    crew = _Crew()
    done = False
    try:
        for number in range(workers):
            crew.hire(partial(_serve, tasks[number::workers], find, work))
        for index, task in enumerate(tasks):
            while True:
                kind, data = crew.message(index % workers)
                if kind == _OUTPUT:
                    yield task, data
                    continue
                if kind == _ERROR:
                    raise _unpickled(data)
                if kind == _YOURS:
                    for output in work(task, list(map(int, data.split()))):
                        yield task, output
                yield task, None
                break
        done = True
    finally:
        crew.dismiss(kill=not done)


class _Crew:
    """The worker processes, and what they have said that was not asked for yet."""

    def __init__(self) -> None:
        self._children: list[int] = []
        self._pipes: list[int] = []
        self._buffers: list[bytearray] = []
        self._ended: set[int] = set()

    def hire(self, serve: Callable[[int], NoReturn]) -> None:
        """Start a worker, which is to write its messages to the pipe that ``serve`` is called with."""
        ours, theirs = os.pipe()
        self._pipes.append(ours)
        child = os.fork()
        if child == 0:
            for pipe in self._pipes:
                os.close(pipe)
            serve(theirs)
        self._children.append(child)
        os.close(theirs)
        widen(ours)
        self._buffers.append(bytearray())

    def message(self, worker: int) -> tuple[int, bytes]:
        """Return a worker's next message; what the others say meanwhile is kept."""
        while True:
            kind, data = _taken(self._buffers[worker])
            if kind >= 0:
                return kind, data
            if self._pipes[worker] in self._ended:
                raise AllocfailError("a worker process was killed")
            self._listen(worker)

    def _listen(self, worker: int) -> None:
        """Take what there is. Others than ``worker`` may run ahead, but not without bound."""
        bound = AHEAD // len(self._pipes)
        wanted = {
            pipe: buffer
            for number, (pipe, buffer) in enumerate(zip(self._pipes, self._buffers, strict=True))
            if pipe not in self._ended and (number == worker or len(buffer) < bound)
        }
        for pipe in select.select(list(wanted), [], [])[0]:
            data = os.read(pipe, PIPE)
            wanted[pipe] += data
            if not data:
                self._ended.add(pipe)

    def dismiss(self, *, kill: bool) -> None:
        """Wait for the workers to end."""
        for pipe in self._pipes:
            os.close(pipe)
        for child in self._children:
            if kill:
                os.kill(child, 15)  # SIGTERM; the number saves the import of signal
            os.waitpid(child, 0)


def _serve(tasks: Sequence[int], find: Find, work: Work, pipe: int) -> NoReturn:
    """Be a worker: send what ``work`` yields for each task, and never return."""
    left = LEFT
    try:
        for task in tasks:
            hits = find(task, FEW)
            if hits and left:
                left -= 1
                _send(pipe, _YOURS, b" ".join(b"%d" % hit for hit in hits))
                continue
            if hits is None or hits:
                for output in work(task, hits):
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


def _taken(buffer: bytearray) -> tuple[int, bytes]:
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
