"""Shipping: the same on both clients, nothing lost, nothing twice."""

from __future__ import annotations

import gzip
import json
import re
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest

from allocfail.cluster.engine import Engine, EngineError, connect, connection, path
from allocfail.cluster.install import install
from allocfail.cluster.ship import Shipper, event_id
from allocfail.errors import AllocfailError
from clusters import ROOTS, WANTED, server

if TYPE_CHECKING:
    from pathlib import Path

pytest_plugins = ["cluster_fixtures"]

LOG = """\
Jan  2 03:04:05 web1 kernel: swapper: page allocation failure. order:1, mode:0x20
Jan  2 03:04:06 web1 kernel: nothing to see here
Jan  2 03:04:07 web1 kernel: swapper: page allocation failure. order:1, mode:0x20
"""


def event(number: int = 0, **more: Any) -> dict[str, Any]:
    return {
        "@timestamp": f"2026-01-02T03:04:{number % 60:02}.000Z",
        "event": {"original": f"a: page allocation failure {number}"},
        "host": {"hostname": "web1"},
        "allocfail": {"kind": "page_allocation_failure", "time_source": "log"},
        **more,
    }


def ship(cluster: Engine, events: list[dict[str, Any]], target: str = "allocfail-events", **how: Any) -> dict[str, Any]:
    shipper = Shipper(cluster, target, sleep=lambda _: None, **how)
    done = shipper.send((100 * at, document) for at, document in enumerate(events))
    return {"indexed": done.indexed, "already": done.already, "rejected": done.rejected}


def count(cluster: Engine, target: str) -> int:
    cluster.request("POST", path(target, "_refresh"))
    return int(cluster.request("GET", path(target, "_count"))["count"])


def test_the_id_is_the_events_own() -> None:
    first = event_id(event(1), 10)
    assert first == event_id(json.loads(json.dumps(event(1, log={"file": {"path": "/elsewhere"}}))), 10)
    assert re.fullmatch("[0-9a-f]{40}", first)
    others = [
        event_id(event(1), 11),
        event_id(event(2), 10),
        event_id(event(1, host={"hostname": "web2"}), 10),
        event_id(event(1) | {"@timestamp": "2026-01-03T03:04:01.000Z"}, 10),
    ]
    assert len({first, *others}) == 5
    # The year is a guess that a copied file's date moves, and a time of ingest is another one each time.
    assert first == event_id(event(1) | {"@timestamp": "2025-01-02T03:04:01.000Z"}, 10)
    untimed = {key: value for key, value in event(1).items() if key != "@timestamp"} | {"allocfail": {"kind": "x"}}
    assert event_id(untimed, 1) == event_id(untimed | {"@timestamp": "2026-01-01T00:00:00Z"}, 1)


def test_shipping_again_adds_what_is_missing(cluster: Engine) -> None:
    list(install(cluster, WANTED))
    events = [event(number) for number in range(1203)]
    assert ship(cluster, events[:700]) == {"indexed": 700, "already": 0, "rejected": []}
    assert ship(cluster, events) == {"indexed": 503, "already": 700, "rejected": []}
    assert count(cluster, "allocfail-events") == 1203


def test_a_missing_time_is_that_of_ingest(cluster: Engine) -> None:
    list(install(cluster, WANTED))
    untimed = {"event": {"original": "x"}, "allocfail": {"kind": "oom_kill"}}
    for expected in (1, 0):
        assert ship(cluster, [untimed])["indexed"] == expected
    count(cluster, "allocfail-events")
    (hit,) = cluster.request("GET", "/allocfail-events/_search")["hits"]["hits"]
    assert hit["_source"]["allocfail"] == {"kind": "oom_kill", "time_source": "ingest"}
    assert re.fullmatch(r"20\d\d-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", hit["_source"]["@timestamp"])
    assert "@timestamp" not in untimed


def test_a_rejected_document_is_named_and_the_others_are_indexed(cluster: Engine) -> None:
    list(install(cluster, WANTED))
    result = ship(cluster, [event(1), event(2, **{"@timestamp": "yesterday"}), event(3, message="lone \ud800 half")])
    assert result["indexed"] == 2
    (line,) = result["rejected"]
    assert re.match(r"-: the event at byte 100 \([0-9a-f]{40}\) was rejected: .*yesterday", line)
    assert line.isprintable()


def test_no_index_with_guessed_types(cluster: Engine) -> None:
    with pytest.raises(AllocfailError, match="run `allocfail install` first"):
        ship(cluster, [event()])
    assert cluster.request("GET", "/allocfail-events", missing_ok=True) is None


def test_data_stream_takes_each_event_once_across_its_indices(
    cluster: Engine,
    stream: str,
) -> None:
    events = [event(number) for number in range(5)]
    assert ship(cluster, events[:3], stream)["indexed"] == 3
    cluster.request("POST", path(stream, "_rollover"))
    assert ship(cluster, events, stream) == {"indexed": 2, "already": 3, "rejected": []}
    assert count(cluster, stream) == 6  # one was there before


class Flaky:
    """A server that refuses some requests, or some documents, and keeps the others."""

    def __init__(self, product: str, *answers: Any) -> None:
        self.product = product
        self.answers = list(answers)
        self.kept: dict[str, Any] = {}
        self.requests = 0

    def __call__(self, _: str, target: str, body: bytes) -> tuple[int, Any]:
        if target == "/":
            return 200, ROOTS[self.product]
        if not target.startswith("/_bulk"):
            return 200, {"indices": [{"name": "x"}], "aliases": [], "data_streams": []}
        self.requests += 1
        answer = self.answers.pop(0) if self.answers else 201
        if isinstance(answer, tuple):
            return answer
        lines = [json.loads(line) for line in body.splitlines()]
        items = []
        for at, (action, source) in enumerate(zip(lines[::2], lines[1::2], strict=True)):
            identifier = action["create"]["_id"]
            status = answer(at) if callable(answer) else answer
            if status == 201 and identifier in self.kept:
                status = 409
            item: dict[str, Any] = {"_id": identifier, "status": status}
            if status == 201:
                self.kept[identifier] = source
            else:
                item["error"] = {"type": "refused", "reason": "no"}
            items.append({"create": item})
        return 200, {"errors": True, "items": items}


@pytest.mark.parametrize("product", ROOTS)
@pytest.mark.parametrize(
    "passing", [(429, {}), (502, b"<html>"), (503, {"error": {"reason": "no master"}}), (504, b"")]
)
def test_a_passing_refusal_is_tried_again(product: str, passing: tuple[int, Any]) -> None:
    flaky = Flaky(product, passing, lambda at: 429 if at % 2 else 201, passing, 503)
    with server(flaky) as url, connect(connection(url)) as cluster:
        result = ship(cluster, [event(number) for number in range(10)], "x")
    assert result == {"indexed": 10, "already": 0, "rejected": []}
    assert (len(flaky.kept), flaky.requests) == (10, 5)


@pytest.mark.parametrize("product", ROOTS)
def test_an_answer_that_was_lost_makes_no_duplicate(product: str) -> None:
    flaky = Flaky(product)
    lost = [True]

    def answer(method: str, target: str, body: bytes) -> tuple[int, Any]:
        result = flaky(method, target, body)
        if target.startswith("/_bulk") and lost:
            lost.clear()
            return 504, b"gateway timeout"
        return result

    with server(answer) as url, connect(connection(url)) as cluster:
        assert ship(cluster, [event(1), event(2)], "x") == {"indexed": 0, "already": 2, "rejected": []}
    assert len(flaky.kept) == 2


@pytest.mark.parametrize("product", ROOTS)
def test_trying_again_is_bounded(product: str) -> None:
    pauses: list[float] = []
    flaky = Flaky(product, *[503] * 50)
    with server(flaky) as url, connect(connection(url)) as cluster:
        shipper = Shipper(cluster, "x", retries=4, pause=1.0, longest_pause=3.0, sleep=pauses.append)
        with pytest.raises(EngineError, match="2 events are not indexed: ship the log again"):
            shipper.send([(0, event(1)), (1, event(2))])
    assert pauses == [1.0, 2.0, 3.0, 3.0]
    assert flaky.requests == 5


@pytest.mark.parametrize("product", ROOTS)
def test_a_request_that_is_too_large_is_halved(product: str) -> None:
    flaky = Flaky(product, (413, b""), (413, b""), 201, (413, b""))
    with server(flaky) as url, connect(connection(url)) as cluster:
        result = ship(cluster, [event(number) for number in range(4)], "x")
    assert result["indexed"] == 3
    assert "larger than the server takes" in result["rejected"][0]


@pytest.mark.parametrize("product", ROOTS)
def test_who_may_not_write_is_told_once(product: str) -> None:
    with (
        server(Flaky(product, 403)) as url,
        connect(connection(url)) as cluster,
        pytest.raises(EngineError, match="not allowed to write to x"),
    ):
        ship(cluster, [event(1), event(2)], "x")


def run(*arguments: str, stdin: bytes = b"") -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(
        [sys.executable, "-m", "allocfail", *arguments], input=stdin, capture_output=True, check=False
    )


def test_the_command(cluster: Engine, tmp_path: Path) -> None:
    url = cluster.where.url
    log = tmp_path / "kern.log"
    log.write_text(LOG)
    packed = tmp_path / "kern.log.1.gz"
    packed.write_bytes(gzip.compress(LOG.encode()))
    assert run("ship", str(log), "--url", url).returncode == 1  # nothing installed

    list(install(cluster, WANTED))
    first = run("ship", str(log), "--url", url)
    assert (first.returncode, first.stderr) == (0, b"")
    assert json.loads(first.stdout) == {"indexed": 2, "already_there": 0, "rejected": 0}
    again = run("ship", str(packed), "--url", url)
    assert json.loads(again.stdout) == {"indexed": 0, "already_there": 2, "rejected": 0}
    piped = run("ship", "-", "--url", url, stdin=LOG.encode())
    assert json.loads(piped.stdout) == {"indexed": 0, "already_there": 2, "rejected": 0}
    assert count(cluster, "allocfail-events") == 2
    query = {
        "query": {"term": {"allocfail.fingerprint.header.text": "af1|page_allocation_failure|order=1|comm=swapper"}}
    }
    assert cluster.request("POST", "/allocfail-events/_count", query)["count"] == 2

    missing = run("ship", str(log), str(tmp_path / "nope"), "--url", url)
    assert missing.returncode == 2
    assert missing.stderr.count(b"\n") == 1
