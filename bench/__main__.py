"""Measures searching and decoding against grep and ripgrep on this machine: ``python bench`` (``make bench``).

Every ratio is of two commands in the same run, each at its best of some rounds that take turns; nothing is asserted,
because the next machine differs. Real logs (``../shared/logs``) count, repeated to the size asked for with a dump in
every 50 MB; where they are absent, that is said, and a made one stands in. Big files are written to a temporary folder
and removed.
"""

from __future__ import annotations

import argparse
import os
import platform
import random
import shlex
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "tests"))

import cluster  # noqa: E402 - beside this file
import ingest  # noqa: E402

import dumpgen  # noqa: E402 - the generator of logs lives with the tests

#: Logs of machines and services, none of ours.
REAL = ROOT.parent / "shared" / "logs"
#: Bytes between two dumps of the big log.
EVERY = 50_000_000
PHRASE = "page allocation failure"
Command = list[str]


def main() -> None:
    """Run all measurements; see ``--help``."""
    parser = argparse.ArgumentParser(prog="python bench", description="Measure searching and decoding.")
    parser.add_argument("--size", type=float, default=1.0, metavar="GB", help="size of the big log (default: 1)")
    parser.add_argument("--dumps", type=int, default=2_000, help="dumps in the log of nothing else (default: 2000)")
    parser.add_argument("--rounds", type=int, default=3, help="runs of each command; the best counts (default: 3)")
    parser.add_argument("--memory", action="store_true", help="measure memory, too")
    parser.add_argument("--engines", action="store_true", help="measure pipelines, sweep and ship on real engines, too")
    parser.add_argument("--dir", type=Path, default=None, help="where to write (default: the temporary folder)")
    options = parser.parse_args()

    allocfail = [str(Path(sys.executable).with_name("allocfail"))]
    if not Path(allocfail[0]).exists():
        allocfail = [sys.executable, "-m", "allocfail"]
    decode = [*allocfail, "decode", "--format", "ndjson"]
    machine()
    with tempfile.TemporaryDirectory(prefix="allocfail-bench-", dir=options.dir) as folder:
        size = fitting(options.size, Path(folder))
        big, dumps = (Path(folder) / f"{name}.log" for name in ("big", "dumps"))
        kind = write_big(big, size)
        dumpgen.write_dumps(dumps, options.dumps)
        startup(allocfail, options.rounds)
        search(decode, big, options.rounds, kind)
        stream(decode, big, options.rounds)
        near(decode, Path(folder) / "near.log", size, options.rounds)
        dense(decode, dumps, options.dumps, options.rounds)
        if options.memory:
            memory(decode, big, dumps)
    if options.engines:
        ingest.main([])
        cluster.main([])


def write_big(path: Path, size: int) -> str:
    """Write a log of about ``size`` bytes with a dump in every 50 MB; return of what kind its lines are."""
    logs = [log.read_bytes() for log in sorted(REAL.glob("*.log"))]
    if not logs:
        say(f"{REAL}: not there; a made log stands in, which says less")
        dumpgen.write_log(path, size, events=max(1, size // EVERY))
        return "made"
    block = b"".join(log if log.endswith(b"\n") else log + b"\n" for log in logs)
    chance = random.Random(1)  # noqa: S311 - a log
    written = due = 0
    with path.open("wb") as file:
        while written < size:
            if written >= due:
                written += file.write(dumpgen.generate(chance, prefix=None).text.encode())
                due += EVERY
            written += file.write(block)
    return f"{len(logs)} real logs"


def machine() -> None:
    """Print what all figures depend on."""
    model = next(
        (line.split(":", 1)[1].strip() for line in _lines("/proc/cpuinfo") if line.startswith("model name")), "?"
    )
    total = next((int(line.split()[1]) for line in _lines("/proc/meminfo") if line.startswith("MemTotal")), 0)
    cores = len(os.sched_getaffinity(0))
    print(
        f"machine: {model}, {cores} cores, {total / 2**20:.0f} GiB, {platform.release()}, load {os.getloadavg()[0]:.1f}"
    )
    print(f"python:  {platform.python_implementation()} {platform.python_version()}")
    for tool in ("grep", "rg"):
        if path := shutil.which(tool):
            version = subprocess.run([path, "--version"], capture_output=True, text=True, check=True).stdout
            print(f"{tool + ':':<8} {version.splitlines()[0]}")


def fitting(gigabytes: float, folder: Path) -> int:
    """Return the size asked for in bytes, or as much of it as disk and page cache hold."""
    wanted = int(gigabytes * 1e9)
    available = next(
        (int(x.split()[1]) * 1024 for x in _lines("/proc/meminfo") if x.startswith("MemAvailable")), wanted
    )
    size = min(wanted, shutil.disk_usage(folder).free // 2, available // 2)
    if size < wanted:
        say(f"{gigabytes} GB fit neither disk nor page cache twice: {size / 1e9:.1f} GB instead")
    return size


def startup(allocfail: Command, rounds: int) -> None:
    """Time a start that does nothing."""
    python, command = best([[sys.executable, "-c", "pass"], [*allocfail, "--help"]], rounds)
    print(f"\nstart-up: python {python * 1000:.0f} ms, allocfail --help {command * 1000:.0f} ms")


def search(decode: Command, big: Path, rounds: int, kind: str) -> None:
    """Time a warm log with few events, as a file."""
    size = big.stat().st_size
    with big.open("rb") as file:  # warm
        while file.read(1 << 24):
            pass
    commands = {"allocfail decode FILE": [*decode, str(big)], "grep -F -c": ["grep", "-F", "-c", PHRASE, str(big)]}
    if cores := os.sched_getaffinity(0):
        commands["allocfail, one core"] = ["taskset", "-c", str(min(cores)), *decode, str(big)]
    if shutil.which("rg"):
        commands["rg -F -c"] = ["rg", "-F", "-c", PHRASE, str(big)]
    times = dict(zip(commands, best(list(commands.values()), rounds), strict=True))
    report(f"file of {size / 1e9:.2f} GB, warm: {kind}", times, size, "allocfail decode FILE")


def stream(decode: Command, big: Path, rounds: int) -> None:
    """Time the same log through a pipe."""
    size = big.stat().st_size
    cat = f"cat {shlex.quote(str(big))} | "
    commands = {
        "cat | allocfail decode -": ["sh", "-c", cat + shlex.join([*decode, "-"])],
        "cat | grep -F -c": ["sh", "-c", cat + shlex.join(["grep", "-F", "-c", PHRASE])],
    }
    times = dict(zip(commands, best(list(commands.values()), rounds), strict=True))
    report(f"pipe of {size / 1e9:.1f} GB, warm", times, size, "cat | allocfail decode -")


def near(decode: Command, path: Path, size: int, rounds: int) -> None:
    """Time logs in which every line has the words of a header and none is one: of all such kinds, and of each alone."""
    print("\nfile of nothing but near-misses, warm: allocfail decode FILE is … times as fast as grep -F -c")
    for lines in (dumpgen.NEAR, *((line,) for line in dumpgen.NEAR)):
        block = dumpgen.near(lines)
        with path.open("wb") as file:
            for _ in range(size // len(block) + 1):
                file.write(block)
        ours, theirs = best([[*decode, str(path)], ["grep", "-F", "-c", PHRASE, str(path)]], rounds)
        print(f"  {theirs / ours:5.2f} {ours:7.3f} s  {'all of these' if len(lines) > 1 else lines[0]}")
    path.unlink()


def dense(decode: Command, dumps: Path, count: int, rounds: int) -> None:
    """Time a log of nothing but dumps, on one core and on all."""
    cores = sorted(os.sched_getaffinity(0))
    sets = [cores[:1], cores] if len(cores) > 1 else [cores]
    commands = [["taskset", "-c", ",".join(map(str, some)), *decode, str(dumps)] for some in sets]
    print(f"\nlog of {count} dumps, {dumps.stat().st_size / 1e6:.0f} MB")
    for some, seconds in zip(sets, best(commands, min(rounds, 3)), strict=True):
        print(f"  {len(some)} core{'s' * (len(some) > 1):<2} {seconds:8.2f} s {count / seconds:8.0f} dumps/s")


def memory(decode: Command, big: Path, dumps: Path) -> None:
    """Print the peak of private memory, of all processes together and of the largest, for inputs that could hurt."""
    print("\npeak private memory       all processes   largest")

    def one_line() -> Iterator[bytes]:
        for _ in range(100):
            yield b"page allocation failure: order:0 " * 31_775  # a megabyte a time, no line end

    def from_file(path: Path) -> Callable[[], Iterator[bytes]]:
        def chunks() -> Iterator[bytes]:
            with path.open("rb") as file:
                while data := file.read(1 << 20):
                    yield data

        return chunks

    for name, arguments, feed in (
        ("big log, file", [str(big)], None),
        ("dumps, file", [str(dumps)], None),
        ("dumps, pipe", ["-"], from_file(dumps)),
        ("one line of 100 MB, pipe", ["-"], one_line),
    ):
        total, largest = peak([*decode, *arguments], feed)
        print(f"  {name:<24} {total / 2**20:8.1f} MiB {largest / 2**20:8.1f} MiB")


def best(commands: list[Command], rounds: int) -> list[float]:
    """Return the best wall-clock time of each command in seconds; the commands take turns."""
    times = [float("inf")] * len(commands)
    for _ in range(rounds):
        for index, command in enumerate(commands):
            begin = time.perf_counter()
            # A file, not /dev/null: grep stops at the first match where nobody reads its output.
            with tempfile.TemporaryFile() as out:
                status = subprocess.run(command, stdout=out, stderr=subprocess.PIPE, check=False)
            times[index] = min(times[index], time.perf_counter() - begin)
            if status.returncode not in {0, 1}:  # 1: nothing found
                sys.exit(f"bench: {' '.join(command)}: exit {status.returncode}: {status.stderr.decode()[-300:]}")
    return times


def report(title: str, times: dict[str, float], size: int, ours: str) -> None:
    """Print a table: seconds, bytes a second, and how many times as fast as each of the others ours is."""
    print(f"\n{title}")
    for name, seconds in times.items():
        ratio = "" if name == ours else f"   {ours} is {seconds / times[ours]:.2f} times as fast"
        print(f"  {name:<26} {seconds:7.3f} s {size / seconds / 1e9:7.1f} GB/s{ratio}")


def peak(command: Command, feed: Callable[[], Iterator[bytes]] | None) -> tuple[int, int]:
    """Run a command and return the peaks of its private memory in bytes: of all its processes, of the largest one."""
    process = subprocess.Popen(command, stdin=subprocess.PIPE if feed else None, stdout=subprocess.DEVNULL)
    total = largest = 0
    with feeding(process, feed):
        while process.poll() is None:
            sizes = [private(pid) for pid in family(process.pid)]
            total = max(total, sum(sizes))
            largest = max(largest, *sizes)
            time.sleep(0.01)
    return total, largest


@contextmanager
def feeding(process: subprocess.Popen[bytes], feed: Callable[[], Iterator[bytes]] | None) -> Iterator[None]:
    """Write to a process from a thread."""
    if feed is None or process.stdin is None:
        yield
        return
    pipe = process.stdin

    def write() -> None:
        try:
            for data in feed():
                pipe.write(data)
            pipe.close()
        except BrokenPipeError:
            pass

    thread = threading.Thread(target=write)
    thread.start()
    try:
        yield
    finally:
        thread.join()


def family(pid: int) -> list[int]:
    """Return a process and all its descendants."""
    found = [pid]
    for one in found:
        for line in _lines(f"/proc/{one}/task/{one}/children"):
            found.extend(map(int, line.split()))
    return found


def private(pid: int) -> int:
    """Return the bytes of memory that only this process maps; mapped files that others may map don't count."""
    return sum(int(x.split()[1]) * 1024 for x in _lines(f"/proc/{pid}/smaps_rollup") if x.startswith("Private_"))


def say(text: str) -> None:
    """Tell a person what goes on."""
    print(text, file=sys.stderr)


def _lines(path: str) -> list[str]:
    try:
        return Path(path).read_text(encoding="utf-8").splitlines()
    except OSError:  # the process has ended
        return []


if __name__ == "__main__":
    main()
