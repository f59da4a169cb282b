"""Measures what the ingest pipelines cost on real engines: ``python bench/ingest.py`` (a part of ``make bench``).

A document without an event is the case that counts: everyone else's documents pay for it. Compared in the same run, in
turns: no pipeline, a bare ``contains`` guard, our pipeline, a Painless regular expression, and the groks that a user
would write. Each at its best of some rounds (CPU time: the mean), by the engine's own figure (``_nodes/stats/ingest``;
OpenSearch's is in a unit of its own, so ratios), by wall clock and by the engine's CPU time.
``ALLOCFAIL_TEST_OPENSEARCH`` and ``ALLOCFAIL_TEST_ELASTICSEARCH`` name running engines to measure instead of starting
some.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import sys
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))

import dumpgen
from allocfail.errors import AllocfailError
from allocfail.painless import pipelines
from dumpgen.logs import _noise
from engines import harness

INDEX = "allocfail-bench"
TAIL = r"page allocation failure(?:\.|:) order:%{INT:order}, mode:%{NOTSPACE:mode}"
SYSLOG = r"%{SYSLOGTIMESTAMP:ts} %{SYSLOGHOST:from} kernel: (?:\[%{SPACE}%{NUMBER:uptime}\] )?"


def _inner(condition: str) -> list[dict[str, Any]]:
    return [{"pipeline": {"name": "allocfail-event", "if": condition}}]


def _grok(pattern: str) -> list[dict[str, Any]]:
    return [{"grok": {"field": "message", "patterns": [pattern], "ignore_failure": True}}]


RIVALS: dict[str, list[dict[str, Any]]] = {
    "bare contains guard": _inner("ctx.message.contains('page allocation failure')"),
    "Painless regex": _inner("ctx.message =~ /page allocation failure/"),
    "naive grok": _grok("%{DATA:comm}: " + TAIL),
    "grok with syslog prefix": _grok(f"^{SYSLOG}%{{DATA:comm}}: {TAIL}"),
}


class Bench:
    """One engine, and what is measured on it."""

    def __init__(self, engine: harness.Engine) -> None:
        """Bring everything that takes turns to the engine."""
        self.engine = engine
        self.candidates = ["no pipeline", "bare contains guard", "allocfail"]
        for name, body in pipelines.build(engine.product).items():
            self.request("PUT", f"/_ingest/pipeline/{name}", body)
        for name, processors in RIVALS.items():
            status, _ = engine.request("PUT", f"/_ingest/pipeline/{_id(name)}", {"processors": processors})
            if status == 200 and name not in self.candidates:
                self.candidates.append(name)
        engine.request("DELETE", f"/{INDEX}")
        settings = {"number_of_replicas": 0, "number_of_shards": 1, "refresh_interval": "-1"}
        self.request("PUT", f"/{INDEX}", {"settings": settings, "mappings": {"enabled": False}})

    def request(self, method: str, path: str, body: object = None) -> Any:
        """Send a request that has to work."""
        status, answer = self.engine.request(method, path, body)
        if status not in (200, 201):
            sys.exit(f"bench: {method} {path}: {status} {str(answer)[:500]}")
        return answer

    def own(self, name: str) -> float:
        """Return the engine's own time for a pipeline, in its own unit."""
        nodes = self.request("GET", "/_nodes/stats/ingest?filter_path=nodes.*.ingest.pipelines")["nodes"]
        return float(sum(n["ingest"]["pipelines"].get(name, {}).get("time_in_millis", 0) for n in nodes.values()))

    def cpu(self) -> float:
        """Return the engine's CPU time in milliseconds."""
        nodes = self.request("GET", "/_nodes/stats/process?filter_path=nodes.*.process.cpu")["nodes"]
        return float(sum(n["process"]["cpu"]["total_in_millis"] for n in nodes.values()))

    def load(self, bulks: list[str], name: str) -> tuple[float, float, float]:
        """Index everything through a pipeline; return its own time, seconds by the clock, milliseconds of CPU."""
        parameter = "" if name == "no pipeline" else f"?pipeline={_id(name)}"
        own, cpu, begin = self.own(_id(name)), self.cpu(), time.perf_counter()
        for bulk in bulks:
            answer = self.request("POST", f"/{INDEX}/_bulk{parameter}", bulk)
            if answer["errors"]:
                sys.exit(f"bench: {name}: {str(answer)[:500]}")
        return self.own(_id(name)) - own, time.perf_counter() - begin, self.cpu() - cpu

    def compare(self, bulks: list[str], count: int, rounds: int) -> dict[str, tuple[float, float, float]]:
        """Return each candidate's best figures a document; the candidates take turns, in any order."""
        best: dict[str, tuple[float, float, float]] = {}
        order = random.Random(0)  # noqa: S311 - the order of turns
        for turn in range(rounds + 2):
            for name in order.sample(self.candidates, len(self.candidates)):
                found = self.load(bulks, name)
                if turn >= 2:  # the first two warm up
                    old = best.get(name, (float("inf"), float("inf"), 0.0))
                    # The engine refreshes its CPU time once a second: a mean, not the best.
                    best[name] = (min(found[0], old[0]), min(found[1], old[1]), old[2] + found[2] / rounds)
        figures = {name: best[name] for name in self.candidates}
        return {name: (a / count, b / count, c / count) for name, (a, b, c) in figures.items()}

    def clean(self) -> None:
        """Leave nothing behind."""
        for name in ("allocfail", "allocfail-event", *map(_id, RIVALS)):
            self.engine.request("DELETE", f"/_ingest/pipeline/{name}")
        self.engine.request("DELETE", f"/{INDEX}")


def _id(name: str) -> str:
    return name if name == "allocfail" else f"bench-{name.replace(' ', '-').lower()}"


def bulks_of(texts: list[str], size: int = 5000) -> list[str]:
    """Return bulk bodies that index each text as a message."""
    rows = [json.dumps({"index": {}}) + "\n" + json.dumps({"message": text}) + "\n" for text in texts]
    return ["".join(rows[at : at + size]) for at in range(0, len(rows), size)]


def dump_of(lines: int) -> str:
    """Return a dump of about as many lines."""
    found = (
        dumpgen.generate(rng, kind="page", prefix="syslog_printk", mem=True).text
        for rng in map(random.Random, range(200))
    )
    return min(found, key=lambda text: abs(text.count("\n") - lines))


def measure(engine: harness.Engine, documents: int, rounds: int) -> None:
    """Print the table of one engine."""
    bench = Bench(engine)
    try:
        lines = _noise(random.Random(1), 140 * documents).decode().splitlines()  # noqa: S311 - a log
        texts = [line for line in lines if "alloc" not in line and "oom-kill" not in line][:documents]
        best = bench.compare(bulks_of(texts), len(texts), rounds)
        base, ours = best["bare contains guard"][0], best["allocfail"][0]
        elastic = engine.product == "elasticsearch"
        unit = "µs" if elastic else "units"
        print(f"\n{engine.product}: {len(texts)} documents without an event, each figure a document")
        print(f"  {'':<26}{'engine, ' + unit:>14} {'x guard':>8} {'x ours':>8} {'wall, µs':>10} {'CPU, µs':>10}")
        for name, (own, wall, cpu) in best.items():
            figure = f"{own * 1000:14.3f} {own / base:8.2f} {own / ours:8.2f}" if own else "-".rjust(14).ljust(32)
            print(f"  {name:<26}{figure} {wall * 1e6:10.2f} {cpu * 1000:10.2f}")
        dump = dump_of(110)
        count = 1000
        bench.candidates = ["no pipeline", "allocfail"]
        best = bench.compare(bulks_of([dump] * count, 250), count, max(rounds, 3))
        extra = (best["allocfail"][1] - best["no pipeline"][1]) * 1000
        lines = dump.count("\n")
        own = f", {best['allocfail'][0]:.2f} ms by the engine's own figure" if elastic else ""
        print(f"  a whole dump of {lines} lines, {len(dump) / 1000:.0f} kB: {extra:.2f} ms more by the clock{own}")
    finally:
        bench.clean()


@contextmanager
def engine_of(product: str) -> Iterator[harness.Engine]:
    """Yield the engine that the environment names, or start one."""
    url = os.environ.get(f"ALLOCFAIL_TEST_{product.upper()}")
    if url:
        yield harness.Engine(product, url.rstrip("/"))
        return
    start = harness.start_opensearch if product == "opensearch" else harness.start_elasticsearch
    with start() as engine:
        yield engine


def main(arguments: list[str] | None = None) -> None:
    """Run on both engines; see ``--help``."""
    parser = argparse.ArgumentParser(prog="python bench/ingest.py", description="Measure the ingest pipelines.")
    parser.add_argument("--documents", type=int, default=40_000, help="documents without an event (default: 40000)")
    parser.add_argument("--rounds", type=int, default=5, help="runs of each; the best counts (default: 5)")
    options = parser.parse_args(arguments)
    for product in ("opensearch", "elasticsearch"):
        try:
            with engine_of(product) as engine:
                measure(engine, options.documents, options.rounds)
        except AllocfailError as error:
            print(f"\n{product}: not measured: {error}")


if __name__ == "__main__":
    main()
