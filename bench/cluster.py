"""Measures sweep and ship on real engines: ``python bench/cluster.py`` (a part of ``make bench``).

Sweep beside a bare scan of the same index (a point in time, page by page, nothing done with it), ship beside a bare
bulk request of the documents that it makes; documents a second, and the peak memory of the process that does it.
``ALLOCFAIL_TEST_OPENSEARCH`` and ``ALLOCFAIL_TEST_ELASTICSEARCH`` name running engines to measure instead of starting
some.
"""

from __future__ import annotations

import argparse
import json
import random
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))

from ingest import engine_of

from allocfail.cluster.client import Engine, connect, path
from allocfail.cluster.connection import connection
from allocfail.cluster.install import Wanted, install
from allocfail.cluster.retry import Patience
from allocfail.cluster.search import Pace, Reader
from allocfail.errors import AllocfailError
from allocfail.logs.events import decode_bytes
from swept import MAPPING, lines_of

LINES, EVENTS, BARE = "allocfail-bench-lines", "allocfail-bench-events", "allocfail-bench-bare"


def documents(lines: int, dumps: int) -> Iterator[dict[str, Any]]:
    """Yield a log's lines as documents: some dumps among lines of services."""
    chance = random.Random(1)  # noqa: S311 - a log
    whole = [document for _, document in lines_of(range(dumps), hosts=50)]
    every = max(1, lines // max(1, len(whole)))
    for number in range(lines):
        at, rest = divmod(number, every)
        if rest == 0 and at < len(whole):
            yield whole[at]
        else:
            second = number * 86_400 // lines
            clock = f"{second // 3600:02}:{second // 60 % 60:02}:{second % 60:02}"
            yield {
                "@timestamp": f"2026-03-04T{clock}.{number % 1000:03}Z",
                "message": f"Mar  4 {clock} node{number % 50} app[{number % 999}]: request {chance.random()} took 3 ms",
                "host": {"name": f"node{number % 50}"},
                "log": {"offset": number * 100, "file": {"path": "/var/log/messages"}},
            }


def put(cluster: Engine, index: str, sources: Iterator[dict[str, Any]]) -> None:
    """Index documents in requests of 2,000."""
    actions: list[dict[str, Any]] = []
    for source in sources:
        actions.append({"_op_type": "index", "_index": index, "_source": source})
        if len(actions) == 2000:
            cluster.bulk(actions)
            actions = []
    if actions:
        cluster.bulk(actions)
    cluster.request("POST", path(index, "_refresh"))


def clean(cluster: Engine) -> None:
    """Leave nothing behind."""
    for index in (LINES, EVENTS, BARE):
        cluster.request("DELETE", path(index), missing_ok=True)


def timed(act: Callable[[], Any], rounds: int, between: Callable[[], Any] = lambda: None) -> float:
    """Return the seconds of the fastest run."""
    best = float("inf")
    for _ in range(rounds):
        between()
        begun = time.perf_counter()
        act()
        best = min(best, time.perf_counter() - begun)
    return best


def command(*arguments: str) -> tuple[dict[str, Any], int]:
    """Run allocfail; return the counts that it prints and the peak memory of all children so far, in kB."""
    done = subprocess.run([sys.executable, "-m", "allocfail", *arguments], capture_output=True, check=False)
    if done.returncode:
        raise AllocfailError(done.stderr.decode(errors="replace").strip())
    return json.loads(done.stdout), resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss


def measure_sweep(cluster: Engine, lines: int, dumps: int, rounds: int) -> None:
    """Print what sweeping costs beside reading."""
    cluster.request("PUT", path(LINES), MAPPING)
    put(cluster, LINES, documents(lines, dumps))

    def scan() -> None:
        with Reader(cluster, [LINES], pace=Pace(None), patience=Patience()) as reader:
            for _ in reader.pages({"match_all": {}}, []):
                pass

    with tempfile.TemporaryDirectory(prefix="allocfail-bench-") as folder:
        arguments = ["sweep", LINES, "--url", cluster.where.url, "--index-name", EVENTS, "--year", "2026"]
        arguments += ["--state", str(Path(folder) / "state")]
        counts, peak = command(*arguments)
        bare = timed(scan, rounds)
        again = timed(lambda: command(*arguments), rounds)
    print(f"  {lines} lines, {counts['events']} events in them, {counts['complete']} complete")
    print(f"  bare scan             {lines / bare:10.0f} documents a second")
    print(f"  sweep, start included {lines / again:10.0f} documents a second, {bare / again:.1f} x the scan")
    print(f"  sweep reads {counts['read']} documents for it; peak memory {peak // 1024} MB")


def measure_ship(cluster: Engine, dumps: int, rounds: int) -> None:
    """Print what shipping costs beside a bulk request of the same documents."""
    log = "".join(document["message"] + "\n" for _, document in lines_of(range(dumps), hosts=1)).encode()
    made = [event.document for event in decode_bytes(log)]

    def empty(index: str) -> Callable[[], None]:
        def act() -> None:
            cluster.request("DELETE", path(index), missing_ok=True)

        return act

    bare = timed(lambda: put(cluster, BARE, iter(made)), rounds, empty(BARE))
    with tempfile.TemporaryDirectory(prefix="allocfail-bench-") as folder:
        file = Path(folder) / "kern.log"
        file.write_bytes(log)
        arguments = ["ship", str(file), "--url", cluster.where.url, "--index-name", EVENTS, "--year", "2026"]
        first = timed(lambda: command(*arguments), rounds, empty(EVENTS))
        again = timed(lambda: command(*arguments), rounds)
        _, peak = command(*arguments)
    print(f"  {len(made)} events, {len(log) / 1e6:.1f} MB of log")
    print(f"  bare bulk             {len(made) / bare:10.0f} documents a second")
    print(f"  ship, start and decoding included {len(made) / first:10.0f}, {bare / first:.2f} x the bulk")
    print(f"  ship again, all there {len(made) / again:10.0f}; peak memory {peak // 1024} MB")


def main(arguments: list[str] | None = None) -> None:
    """Run on both engines; see ``--help``."""
    parser = argparse.ArgumentParser(prog="python bench/cluster.py", description="Measure sweep and ship.")
    parser.add_argument("--lines", type=int, default=200_000, help="documents that are swept (default: 200000)")
    parser.add_argument("--dumps", type=int, default=1_000, help="dumps in them (default: 1000)")
    parser.add_argument("--rounds", type=int, default=3, help="runs of each; the best counts (default: 3)")
    parser.add_argument("--product", choices=["opensearch", "elasticsearch"], help="only this one")
    options = parser.parse_args(arguments)
    for product in [options.product] if options.product else ["opensearch", "elasticsearch"]:
        try:
            with engine_of(product) as engine, connect(connection(engine.url)) as cluster:
                clean(cluster)
                list(install(cluster, Wanted({}, []), index=EVENTS))
                print(f"\n{product}: sweep")
                measure_sweep(cluster, options.lines, options.dumps, options.rounds)
                print(f"{product}: ship")
                measure_ship(cluster, options.dumps, options.rounds)
                clean(cluster)
        except AllocfailError as error:
            print(f"\n{product}: not measured: {error}")


if __name__ == "__main__":
    main()
