"""Searching and decoding around hits gives what decoding every line would give, however the input is cut."""

from __future__ import annotations

import builtins
import bz2
import gzip
import io
import itertools
import json
import os
import random
import select
import signal
import subprocess
import sys
import threading
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

import real
from allocfail.content import content_path
from allocfail.errors import AllocfailError, InputError
from allocfail.logs import scan, search, sources, stretches, workers

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

CORPUS = Path(__file__).parents[1] / ".." / "shared" / "corpus"
NEEDLES = scan.Needles.of(yaml.safe_load(content_path("kb/facts/needles.yml").read_text(encoding="utf-8")))


def only(family: search.Family, number: int) -> search.Family:
    """A family with one of its ways; numbers beyond them count on in the families of the last."""
    way = family.ways[min(number, len(family.ways) - 1)]
    inner = max(number - len(family.ways) + 1, 0)
    return search.Family((search.Way(way.needles, tuple(only(one, inner) for one in way.families)),))


#: Each way by itself.
WAYS = [
    pytest.param(scan.Needles(tuple(only(family, number) for family in NEEDLES.families)), id=str(number))
    for number in range(4)
]


@dataclass
class Toy:
    """An event: a header, and the lines of its host behind it, until the host says `end` or is silent for 20 lines."""

    offset: int
    host: bytes
    silent: int = 0
    lines: list[bytes] = field(default_factory=list)
    closed: bool = False


class ToyDecoder:
    """Like the real one in what matters here: a context line in front, interleaved hosts, events in order, patience."""

    def __init__(self) -> None:
        self.queue: list[Toy] = []
        self.at = 0
        self.context: tuple[int, bytes, bytes] | None = None

    @property
    def oldest(self) -> int | None:
        return self.queue[0].offset if self.queue else None

    @property
    def begun(self) -> bool:
        return bool(self.queue)

    def decode(self, chunks: Iterable[bytes], offset: int) -> Iterator[Toy]:
        self.context = None
        self.at = offset
        held = partial = b""
        first = True
        for chunk in chunks:
            *lines, partial = (partial + chunk).split(b"\n")
            for line in lines:
                # A line behind, as what joins wrapped lines is.
                if not first:
                    yield from self.line(held)
                held, first = line, False
        for line in ([] if first else [held]) + ([partial] if partial else []):
            yield from self.line(line)

    def line(self, line: bytes) -> list[Toy]:
        host, _, text = line.partition(b" ")
        for event in self.queue:
            event.silent += 1
            if event.silent > 20:
                event.closed = True
        mine = next((e for e in reversed(self.queue) if e.host == host and not e.closed), None)
        if text.startswith(b"before"):
            self.context = (self.at, host, line)
        elif b"page allocation failure: order:" in text:
            event = Toy(self.at, host, lines=[line])
            if self.context is not None and self.context[1] == host:
                event.offset = self.context[0]
                event.lines.insert(0, self.context[2])
            self.context = None
            self.queue.append(event)
            self.queue.sort(key=lambda e: e.offset)
        elif mine is not None and text.startswith((b"body", b"end")):
            mine.silent = 0
            mine.lines.append(line)
            mine.closed = text == b"end"
        self.at += len(line) + 1
        return self.ready()

    def ready(self) -> list[Toy]:
        ready = []
        while self.queue and self.queue[0].closed:
            ready.append(self.queue.pop(0))
        return ready

    def close(self) -> list[Toy]:
        for event in self.queue:
            event.closed = True
        return self.ready()


def render(event: Toy) -> bytes:
    return b"%d %s" % (event.offset, b"|".join(event.lines))


def toys(data: bytes) -> list[Toy]:
    decoder = ToyDecoder()
    return [*decoder.decode([data], 0), *decoder.close()]


def everything(data: bytes) -> list[bytes]:
    return [render(e) for e in toys(data)]


def from_file(path: Path, **options: object) -> list[bytes]:
    fd = os.open(path, os.O_RDONLY)
    try:
        return list(scan.decode_file(fd, ToyDecoder, render, NEEDLES, **options))  # type: ignore[arg-type]
    finally:
        os.close(fd)


#: Small enough for a test's input to hold many of each; the proportions are the real ones.
SMALL = {
    search: {"PIECE": 1024, "VAIN": 3},
    sources: {"LOOK_BACK": 1024, "LOOK_BACK_LINES": 8, "LINE": 4096},
    stretches: {"LOOK_BACK": 1024, "LOOK_AHEAD": 256, "SLICE_MIN": 128, "SLICE_MAX": 512},
    scan: {"LOOK_BACK": 1024, "WHOLE": 64, "TASK": 8192, "WARM_UP": 4096},
    workers: {"AHEAD": 4096, "FEW": 2, "LEFT": 2},
}


@pytest.fixture(scope="module", autouse=True)
def _small() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        for module, values in SMALL.items():
            for name, value in values.items():
                patch.setattr(module, name, value)
        yield


def log(seed: int, lines: int, rate: float) -> bytes:
    """Write a log of several hosts; `rate` is the chance that a line begins an event."""
    random_ = random.Random(seed)
    out: list[bytes] = []
    waiting: list[list[bytes]] = []
    while len(out) < lines:
        host = b"h%d" % random_.randrange(6)
        if random_.random() < rate:
            event = [host + b" body %d" % n for n in range(random_.randrange(12))]
            header = host + b" swapper: page allocation failure: order:%d" % random_.randrange(9)
            event.insert(0, header)
            if random_.random() < 0.5:
                event.insert(0, host + b" before")
            if random_.random() < 0.7:
                event.append(host + b" end")
            waiting.append(event)
        if waiting and random_.random() < 0.8:
            # A context line and its header are neighbours; otherwise the hosts take turns.
            event = random_.choice(waiting)
            out.append(event.pop(0))
            if b"before" in out[-1]:
                out.append(event.pop(0))
            if not event:
                waiting.remove(event)
        else:
            word = random_.choice([b"alloc", b"allocated_at", b"Cannot allocate memory", b"oom-kill", b"x" * 90, b""])
            out.append(host + b" " + word * random_.choice([0, 0, 1]) + b"." * random_.randrange(80))
    return b"\n".join(out) + random_.choice([b"", b"\n"])


@pytest.mark.parametrize("rate", [0, 0.001, 0.01, 0.2])
@given(seed=st.integers(0, 2**32), workers=st.integers(1, 3))
@settings(max_examples=15, deadline=None)
def test_same_events_from_a_file_as_from_every_line(
    tmp_path_factory: pytest.TempPathFactory, rate: float, seed: int, workers: int
) -> None:
    data = log(seed, 1500, rate)
    path = tmp_path_factory.mktemp("scan") / "log"
    path.write_bytes(data)
    assert from_file(path, workers=workers) == everything(data)


@pytest.mark.parametrize("rate", [0, 0.001, 0.05])
@given(seed=st.integers(0, 2**32), largest=st.sampled_from([1, 50, 5000]))
@settings(max_examples=15, deadline=None)
def test_same_events_from_a_stream_however_it_is_cut(rate: float, seed: int, largest: int) -> None:
    data = log(seed, 400, rate)
    random_ = random.Random(seed)
    cuts = sorted(random_.randrange(len(data)) for _ in range(len(data) // largest + 1))
    chunks = [data[a:b] for a, b in itertools.pairwise([0, *cuts, len(data)])]
    assert [render(e) for e in scan.decode_chunks(chunks, ToyDecoder, NEEDLES)] == everything(data)


@pytest.mark.parametrize("needles", WAYS)
def test_every_event_of_the_corpus_has_a_needle_near_its_first_line(needles: scan.Needles) -> None:
    if not CORPUS.is_dir():
        pytest.skip("the corpus is not there: ../shared/corpus")
    missed = []
    for case in real.rows():
        path = CORPUS / case["file"]
        lines = path.read_bytes().split(b"\n")
        starts = [0]
        for line in lines:
            starts.append(starts[-1] + len(line) + 1)
        found = list(scan.hits(path, needles))
        for event in case["events"]:
            if event["line"] is None:  # headless: the trace has it
                near = bool(found)
            else:
                # A header may be wrapped onto the next line.
                begin, end = starts[event["line"] - 1], starts[min(event["line"] + 1, len(lines))]
                near = any(begin <= hit < end for hit in found)
            if not near:
                missed.append((case["file"], event["line"], event["kind"]))
    assert not missed


@pytest.mark.parametrize("needles", WAYS)
@pytest.mark.parametrize(
    "text",
    [
        "swapper: page allocation failure. order:1, mode:0x20",
        "swapper:\u00a0page\u00a0allocation\u00a0failure:\u00a0order:1,\u00a0mode:0x20",
        "swapper: page allocation\n> > stalls for 10014ms, order:0",
        "page&nbsp;allocation&nbsp;&nbsp;&nbsp;failure:&nbsp;order:0",
        "page\\u00a0allocation\\u00a0failure:\\u00a0order:0",
        "SLUB: Unable to allocate memory on node -1, gfp=0x20(GFP_ATOMIC)",
        "SLUB: Unable to allocate memory on CPU 3 (of node 0) on node -1, gfp=0x820(GFP_ATOMIC)",
        "SLAB: Unable to allocate\r\nmemory on\r\nnode 0 (gfp=0x20)",
        "vmalloc: allocation failure, allocated 4096 of 8192 bytes",
        "qemu: vmalloc error: size 0, exceeds total pages, mode:0xcc0",
        "vmalloc_node_range for size 4096 failed: Address range restricted to 0x0 - 0x1",
        "vmap allocation for size 4096 failed: use vmalloc=<size> to increase size.",
        "vmap allocation failed: use vmalloc=<size> to increase size.",
        "java invoked oom-killer: gfp_mask=0xd0, order=0",
        "oom-killer: gfp_mask=0x1d2",
        " warn_alloc+0x89/0xba\n __alloc_pages_slowpath.constprop.0+0x1/0x2",
        " warn_alloc+0x89/0xba\n __vmalloc_area_node+0x1/0x2",
        " [<ffffffff8112c207>] ? __alloc_pages_nodemask+0x757/0x8d0\nMem-Info:\n",
    ],
)
def test_wordings_are_hit(text: str, needles: scan.Needles, tmp_path: Path) -> None:
    path = tmp_path / "log"
    path.write_bytes(b"x" * 5000 + b"\n" + text.encode() + b"\n" + b"y" * 5000)
    assert list(scan.hits(path, needles))


@pytest.mark.parametrize("needles", WAYS)
@pytest.mark.parametrize(
    "text",
    [
        "SELECT allocated_at FROM page",
        "malloc(): corrupted",
        "fork: Cannot allocate memory\nnext line",
        "x allocated y",
        "your order: 17 items",
    ],
)
def test_user_space_is_not(text: str, needles: scan.Needles, tmp_path: Path) -> None:
    path = tmp_path / "log"
    path.write_text(text * 100, encoding="utf-8")
    assert not list(scan.hits(path, needles))


@pytest.mark.parametrize("noise", ["cma_alloc: alloc failed\n", "SELECT allocated_at FROM page\n", "malloc\n"])
def test_many_vain_hits_bring_on_other_needles_and_the_same_events(noise: str, tmp_path: Path) -> None:
    path = tmp_path / "log"
    event = "h1 swapper: page allocation failure: order:1, mode:0x20\nh1 body\nh1 end\n"
    data = "".join(noise * count + event for count in (1, 50, 400, 3, 1000)).encode()
    path.write_bytes(data)
    assert from_file(path, workers=1) == everything(data)
    first = [data.index(b"alloc", data.index(b"swapper", at)) for at in (e.offset for e in toys(data))]
    lines = [data.count(b"\n", 0, hit) for hit in scan.hits(path, NEEDLES)]
    assert lines == [data.count(b"\n", 0, at) for at in first]


@pytest.mark.parametrize("at", range(1024 - search.MARGIN - 20, 1024 + 20, 3))
def test_a_hit_on_the_border_of_two_pieces(at: int, tmp_path: Path) -> None:
    path = tmp_path / "log"
    path.write_bytes(b"." * at + b"oom-killer: gfp_mask=0xd0 vmalloc error: size" + b"." * 3000)
    assert list(scan.hits(path, NEEDLES)) == [at, at + 28]


def test_a_line_of_many_pieces(tmp_path: Path) -> None:
    path = tmp_path / "log"
    data = b"h1 " + b"x" * 200_000 + b"\nh2 a: page allocation failure: order:0\nh2 end\n" + b"y" * 100_000
    path.write_bytes(data)
    assert from_file(path) == everything(data)


def test_output_larger_than_the_pipes_keeps_its_order(tmp_path: Path) -> None:
    path = tmp_path / "log"
    data = b"".join(b"h%d a: page allocation failure: order:0\n" % n for n in range(2000))
    path.write_bytes(data)
    fd = os.open(path, os.O_RDONLY)
    try:
        events = list(scan.decode_file(fd, ToyDecoder, lambda e: b"%d " % e.offset * 20_000, NEEDLES, workers=3))
    finally:
        os.close(fd)
    assert [int(e.split(b" ", 1)[0]) for e in events] == sorted(int(e.split()[0]) for e in everything(data))


@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize("error", [InputError("no such year"), ValueError("a bug"), OSError(5, "no")])
def test_what_goes_wrong_in_a_worker_is_raised_here(error: Exception, workers: int, tmp_path: Path) -> None:
    path = tmp_path / "log"
    path.write_bytes(log(1, 1500, 0.1))

    def fail(_: Toy) -> bytes:
        raise error

    fd = os.open(path, os.O_RDONLY)
    expected = type(error) if workers == 1 or not isinstance(error, ValueError) else AllocfailError
    with pytest.raises(expected, match=str(error.args[-1])):
        list(scan.decode_file(fd, ToyDecoder, fail, NEEDLES, workers=workers))
    os.close(fd)


def test_a_killed_worker_is_an_error_not_a_hang(tmp_path: Path) -> None:
    path = tmp_path / "log"
    path.write_bytes(log(1, 1500, 0.1))
    me = os.getpid()

    def die(_: Toy) -> bytes:
        if os.getpid() != me:
            os.kill(os.getpid(), 9)
        return b""

    fd = os.open(path, os.O_RDONLY)
    with pytest.raises(AllocfailError, match="worker process was killed"):
        list(scan.decode_file(fd, ToyDecoder, die, NEEDLES, workers=2))
    os.close(fd)


def test_leaving_early_leaves_no_process(tmp_path: Path) -> None:
    path = tmp_path / "log"
    path.write_bytes(log(1, 4000, 0.1))
    fd = os.open(path, os.O_RDONLY)
    before = children()
    events = scan.decode_file(fd, ToyDecoder, lambda e: b"x" * 100_000 + render(e), NEEDLES, workers=2)
    next(events)
    assert children() - before
    events.close()  # type: ignore[attr-defined]
    os.close(fd)
    assert not children() - before


def children() -> set[str]:
    """Return the processes that this one started; engines of other tests may be among them."""
    own = os.getpid()
    return set(Path(f"/proc/{own}/task/{own}/children").read_text().split())


@pytest.mark.parametrize("workers", [1, 2])
def test_progress_grows_up_to_the_size(workers: int, tmp_path: Path) -> None:
    path = tmp_path / "log"
    data = log(1, 2500, 0.001)
    path.write_bytes(data)
    seen: list[tuple[int, int | None]] = []
    list(scan.decode(str(path), ToyDecoder, render, NEEDLES, workers=workers, progress=lambda *x: seen.append(x)))
    assert {total for _, total in seen} == {len(data)}
    assert seen == sorted(seen)
    assert seen[-1][0] > len(data) * 0.9
    assert workers == 1 or seen[-1][0] == len(data)


#: A FIFO is opened, closed and opened again: where the writer ends in between, the reader waits for ever.
def test_a_fifo_is_opened_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "fifo"
    os.mkfifo(path)
    data = log(3, 50, 0.5)
    opened: list[Any] = []

    def counting(real: Callable[..., Any]) -> Callable[..., Any]:
        def open_(file: Any, *arguments: Any, **options: Any) -> Any:
            if str(file) == str(path):
                opened.append(file)
            return real(file, *arguments, **options)

        return open_

    # Both ends are held for a second, so that this test ends whatever the reader does.
    held = os.open(path, os.O_RDWR)
    assert os.write(held, data) == len(data)
    ending = threading.Timer(1, os.close, [held])
    for module, name in ((builtins, "open"), (io, "open"), (os, "open")):
        monkeypatch.setattr(module, name, counting(getattr(module, name)))
    ending.start()
    found = list(scan.decode(str(path), ToyDecoder, render, NEEDLES))
    ending.join()
    assert found == everything(data)
    assert len(opened) == 1


@pytest.mark.parametrize(
    "kind",
    [
        "file",
        "middle",
        "pipe",
        "gzip",
        "fifo",
    ],
)
def test_every_kind_of_input(kind: str, tmp_path: Path) -> None:
    data = log(3, 1500, 0.02)
    path = tmp_path / "log"
    path.write_bytes(gzip.compress(data) if kind == "gzip" else data)
    call = "t.scan.decode(sys.argv[1], t.ToyDecoder, t.render, t.NEEDLES)"
    program = [sys.executable, "-c", f"import sys, test_scan as t; [print(e.decode()) for e in {call}]"]
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parent)}
    expected = data
    if kind == "pipe":
        command = ["sh", "-c", 'cat "$0" | "$@" -', str(path), *program]
    elif kind == "fifo":
        os.mkfifo(tmp_path / "fifo")
        command = ["sh", "-c", 'cat "$0" > "$1" & f=$1; shift; "$@" "$f"', str(path), str(tmp_path / "fifo"), *program]
    elif kind == "middle":
        middle = data.index(b"\n", len(data) // 2) + 1
        expected = data[middle:]
        command = ["sh", "-c", '{ head -c "$1" > /dev/null; shift; "$@" -; } < "$0"', str(path), str(middle), *program]
    else:
        command = [*program, str(path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, env=environment, start_new_session=True) as process:
        try:
            output = process.communicate(timeout=30)[0].splitlines()
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)  # the reader too, which the shell does not take along
            raise
    assert process.returncode == 0
    if kind == "middle":  # offsets are those in the file
        output = [b"%d %s" % (int(e.split()[0]) - middle, e.split(b" ", 1)[1]) for e in output]
    assert output == everything(expected)


def test_a_pipe_that_pauses_gives_what_has_begun() -> None:
    header = b"Feb 14 15:25:15 h kernel: swapper: page allocation failure: order:%d, mode:0x20\n"
    command = [sys.executable, "-m", "allocfail", "decode", "-"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        for order, silent in ((1, b""), (2, b"Feb 14 15:25:15 h app: nothing\n" * 60_000)):
            process.stdin.write(silent + header % order)
            process.stdin.flush()
            assert select.select([process.stdout], [], [], 60)[0], "held back"
            assert json.loads(process.stdout.readline())["allocfail"]["order"] == order
        process.stdin.close()


@pytest.mark.parametrize(
    ("head", "tool"),
    [(bz2.compress(b"x" * 100), "bzcat"), (bz2.compress(b""), "bzcat"), (b"LPKSHHRH" + bytes(20), "journalctl --file")],
)
def test_what_another_program_has_to_open_is_said(head: bytes, tool: str, tmp_path: Path) -> None:
    path = tmp_path / "a log"
    path.write_bytes(head)
    with pytest.raises(InputError) as caught:
        list(scan.decode(str(path), ToyDecoder, render, NEEDLES))
    assert f"try: {tool} '{path}'" in str(caught.value)
    assert str(caught.value).endswith("| allocfail decode -")


def test_what_cannot_be_read_is_one_line(tmp_path: Path) -> None:
    for path in (tmp_path, tmp_path / "none"):
        with pytest.raises(InputError, match=path.name):
            list(scan.decode(str(path), ToyDecoder, render, NEEDLES))
    (tmp_path / "empty").touch()
    assert list(scan.decode(str(tmp_path / "empty"), ToyDecoder, render, NEEDLES)) == []


def test_importing_it_is_cheap() -> None:
    heavy = ["click", "yaml", "multiprocessing", "rich", "dataclasses", "json", "stringzilla", "hyperscan"]
    code = f"import sys, allocfail.logs.scan; print(*set({heavy}) & set(sys.modules))"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True, text=True)
    assert loaded.stdout.split() == []
