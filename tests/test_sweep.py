"""Sweeping real clusters: events of lines, once each, completed and never doubled."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from datetime import datetime
from typing import TYPE_CHECKING, Any

import pytest

import swept
from allocfail.cluster import search
from allocfail.cluster.client import Engine, connect, path
from allocfail.cluster.connection import connection
from allocfail.cluster.course import since
from allocfail.cluster.install import install
from allocfail.errors import InputError
from clusters import WANTED
from faults import Faults, proxy

if TYPE_CHECKING:
    from pathlib import Path

pytest_plugins = ["cluster_fixtures"]

INDEX = "app-lines"


@pytest.fixture
def ready(cluster: Engine) -> Engine:
    """Return a cluster with the events' templates and an index for lines."""
    list(install(cluster, WANTED))
    cluster.request("PUT", path(INDEX), swept.MAPPING)
    return cluster


def run(*arguments: str, **more: Any) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run([sys.executable, "-m", "allocfail", *arguments], capture_output=True, check=False, **more)


def test_events_of_lines_that_came_in_any_order(ready: Engine) -> None:
    documents = swept.lines_of(range(40))
    random.Random(7).shuffle(documents)
    swept.put(ready, INDEX, documents)
    made, shipper = swept.sweep(ready, INDEX)
    assert (made.counts.first_lines, made.counts.events, made.counts.complete) == (40, 40, 40)
    assert (shipper.done.indexed, made.counts.marked) == (40, 40)
    found = swept.events(ready)
    assert swept.counted(found) == swept.once_each(range(40))
    by_name = {event["process"]["name"]: event for event in found}
    event = by_name["task7"]
    assert event["allocfail"]["documents"] == [{"index": INDEX, "id": f"7-{at}"} for at in range(13)]
    assert event["log"] == {"file": {"path": "/var/log/kern.log"}, "offset": 70_000}
    assert event["host"]["hostname"] == "node1"
    assert event["@timestamp"] == "2026-03-04T05:00:07.000Z"
    header = ready.request("GET", path(INDEX, "_doc", "7-0"))["_source"]
    assert header["allocfail"] == {"assembled": {"id": event["_id"], "index": "allocfail-events"}}
    query = {"query": {"term": {"allocfail.documents.id": "7-5"}}}
    assert ready.request("POST", "/allocfail-events/_count", query)["count"] == 1


def test_sweeping_again_changes_nothing(ready: Engine) -> None:
    swept.put(ready, INDEX, swept.lines_of(range(12)))
    swept.sweep(ready, INDEX)
    before, lines = swept.events(ready), swept.events(ready, INDEX)
    _, shipper = swept.sweep(ready, INDEX)
    assert (shipper.done.indexed, shipper.done.completed, shipper.done.already) == (0, 0, 12)
    assert sorted(swept.events(ready), key=str) == sorted(before, key=str)
    assert sorted(swept.events(ready, INDEX), key=str) == sorted(lines, key=str)
    assert sum("allocfail" in line for line in lines) == 12


def test_a_later_line_completes_its_event(ready: Engine) -> None:
    documents = swept.lines_of(range(3))
    early = [row for row in documents if int(row[0].split("-")[1]) < 6]
    swept.put(ready, INDEX, early)
    made, _ = swept.sweep(ready, INDEX)
    assert (made.counts.events, made.counts.complete) == (3, 0)
    before = {event["_id"] for event in swept.events(ready)}
    swept.put(ready, INDEX, [row for row in documents if row not in early])
    _, shipper = swept.sweep(ready, INDEX)
    assert (shipper.done.indexed, shipper.done.completed) == (0, 3)
    found = swept.events(ready)
    assert {event["_id"] for event in found} == before
    assert swept.counted(found) == swept.once_each(range(3))
    assert all(event["allocfail"]["complete"] for event in found)
    # Lines that are gone again take nothing away.
    ready.request(
        "POST", f"{path(INDEX, '_delete_by_query')}?refresh=true", {"query": {"range": {"log.offset": {"gt": 20_500}}}}
    )
    _, shipper = swept.sweep(ready, INDEX)
    assert (shipper.done.completed, shipper.done.already) == (0, 3)


@pytest.mark.parametrize("kind", ["keyword", "unsearched", "subfield", "untimed"])
def test_whatever_the_mapping(ready: Engine, kind: str) -> None:
    documents = swept.lines_of(range(6))
    properties = json.loads(json.dumps(swept.MAPPING["mappings"]["properties"]))
    if kind == "keyword":
        properties["message"] = {"type": "keyword"}
    elif kind == "unsearched":
        properties["message"] = {"type": "text", "index": False}
    elif kind == "subfield":
        properties["message"] = {"type": "text", "index": False, "fields": {"keyword": {"type": "keyword"}}}
    else:
        del properties["@timestamp"]
        documents = [
            (identifier, {key: value for key, value in document.items() if key != "@timestamp"})
            for identifier, document in documents
        ]
    ready.request("PUT", "/app-other", {"mappings": {"dynamic": False, "properties": properties}})
    swept.put(ready, "app-other", documents)
    made, _ = swept.sweep(ready, "app-other")
    assert swept.counted(swept.events(ready)) == swept.once_each(range(6))
    said = " ".join(made.said)  # type: ignore[attr-defined]
    assert ("all its documents are read" in said) is (kind == "unsearched")
    assert ("no date field" in said) is (kind == "untimed")


def test_several_indices_at_once_and_the_events_themselves_are_left_out(ready: Engine) -> None:
    swept.put(ready, INDEX, swept.lines_of(range(4)))
    ready.request("PUT", "/app-second", swept.MAPPING)
    swept.put(ready, "app-second", swept.lines_of(range(4, 8)))
    for _ in range(2):
        swept.sweep(ready, "app-*", "allocfail-*", slices=3)
        assert swept.counted(swept.events(ready)) == swept.once_each(range(8))


def test_an_index_whose_time_is_no_date_does_not_stop_the_others(ready: Engine) -> None:
    swept.put(ready, INDEX, swept.lines_of(range(3)))
    as_text = {"mappings": {"properties": {"@timestamp": {"type": "text"}, "message": {"type": "text"}}}}
    ready.request("PUT", "/app-second", as_text)
    swept.put(ready, "app-second", swept.lines_of(range(3, 5)))
    made, _ = swept.sweep(ready, "app-*", slices=2)
    assert "no date field to look around in: all documents are read" in made.said  # type: ignore[attr-defined]
    assert swept.counted(swept.events(ready)) == swept.once_each(range(5))


def test_the_same_dump_in_two_files_is_one_event(ready: Engine) -> None:
    kern, messages = swept.lines_of([5]), swept.lines_of([5])
    for _, document in messages:
        document["log"] = {"offset": document["log"]["offset"] + 777, "file": {"path": "/var/log/messages"}}
    swept.put(ready, INDEX, kern)
    swept.put(ready, INDEX, [(f"m-{identifier}", document) for identifier, document in messages])
    made, shipper = swept.sweep(ready, INDEX)
    assert made.counts.events == 2
    assert (shipper.done.indexed, shipper.done.already) == (1, 1)
    assert swept.counted(swept.events(ready)) == swept.once_each([5])


def test_a_data_stream_is_swept_and_swept_into(cluster: Engine, stream: str) -> None:
    list(install(cluster, WANTED, stream=f"{stream}-events"))
    cluster.request("PUT", path(stream, "_mapping"), swept.MAPPING["mappings"])
    documents = swept.lines_of(range(4))
    for at, part in enumerate((documents[:30], documents[30:])):
        if at:
            cluster.request("POST", path(stream, "_rollover"))
        swept.put(cluster, stream, part)
    for expected in ((4, 0), (0, 4)):
        made, shipper = swept.sweep(cluster, stream, into=f"{stream}-events")
        assert (shipper.done.indexed, shipper.done.already) == expected
        assert made.counts.unmarked == 0
    assert swept.counted(swept.events(cluster, f"{stream}-events")) == swept.once_each(range(4))
    if cluster.product == "opensearch":
        cluster.request("DELETE", path("_data_stream", f"{stream}-events"))


def test_what_may_not_be_marked_is_said_once_and_swept_all_the_same(ready: Engine) -> None:
    swept.put(ready, INDEX, swept.lines_of(range(5)))
    ready.request("PUT", path(INDEX, "_mapping"), {"dynamic": "strict"})
    made, _ = swept.sweep(ready, INDEX)
    assert (made.counts.marked, made.counts.unmarked) == (0, 5)
    assert len([line for line in made.said if "could not be marked" in line]) == 1  # type: ignore[attr-defined]
    assert swept.counted(swept.events(ready)) == swept.once_each(range(5))


def test_whole_documents_are_for_the_backfill(ready: Engine) -> None:
    (_, document), *_ = swept.lines_of([1])
    swept.put(ready, INDEX, [("w", document | {"message": "\n".join(swept.text_of(1))}), *swept.lines_of([2])])
    made, _ = swept.sweep(ready, INDEX)
    assert (made.counts.whole, made.counts.events) == (1, 1)
    assert swept.counted(swept.events(ready)) == swept.once_each([2])


@pytest.mark.parametrize("seed", [1, 2])
def test_every_event_once_through_a_bad_network(ready: Engine, seed: int) -> None:
    swept.put(ready, INDEX, swept.lines_of(range(30)))
    faults = Faults(seed)
    with proxy(ready.where.url, faults) as url, connect(connection(url)) as through:
        made, _ = swept.sweep(through, INDEX, slices=2)
    assert sum(faults.seen.values()) > 3, faults.seen
    assert swept.counted(swept.events(ready)) == swept.once_each(range(30))
    assert made.counts.marked == 30


def test_a_point_in_time_that_is_lost_is_opened_again(ready: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(search, "PAGE", 7)
    swept.put(ready, INDEX, swept.lines_of(range(25)))
    pages: list[int] = []
    ask = search.Reader._page

    def lose(self: search.Reader, *arguments: Any) -> Any:
        pages.append(1)
        if len(pages) % 3 == 2:
            self.__exit__()
        return ask(self, *arguments)

    monkeypatch.setattr(search.Reader, "_page", lose)
    swept.sweep(ready, INDEX)
    assert len(pages) > 10
    assert swept.counted(swept.events(ready)) == swept.once_each(range(25))


def test_the_command(ready: Engine, tmp_path: Path) -> None:
    url, state = ready.where.url, str(tmp_path / "state.json")
    swept.put(ready, INDEX, swept.lines_of(range(3)))
    common = ("sweep", INDEX, "--url", url, "--state", state, "--year", "2026")
    dry = run(*common, "--dry-run")
    assert dry.returncode == 0, dry.stderr
    rows = [json.loads(line) for line in dry.stdout.splitlines()]
    assert swept.counted(rows) == swept.once_each(range(3))
    assert swept.events(ready) == []
    assert not (tmp_path / "state.json").exists()
    first = run(*common)
    assert json.loads(first.stdout)["indexed"] == 3, first.stderr
    assert json.loads((tmp_path / "state.json").read_text())["finished"] is True
    again = run(*common, "--since", "2026-03-04T05:00:02Z")
    assert json.loads(again.stdout)["already_there"] == 1
    assert run("sweep", "nope", "--url", url).returncode == 1
    assert run(*common, "--since", "gestern").returncode == 2
    (tmp_path / "state.json").write_text("{}{")
    broken = run(*common)
    assert (broken.returncode, broken.stderr.count(b"\n")) == (2, 1)


def test_following_takes_what_comes_and_stops_when_told(ready: Engine, tmp_path: Path) -> None:
    def now(documents: list[tuple[str, dict[str, Any]]]) -> list[tuple[str, dict[str, Any]]]:
        moment = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime())
        return [
            (name, document | {"@timestamp": f"{moment}.{at:03}Z"}) for at, (name, document) in enumerate(documents)
        ]

    first, late = swept.lines_of([1]), swept.lines_of([2])
    swept.put(ready, INDEX, now(first))
    command = [
        sys.executable,
        "-m",
        "allocfail",
        "sweep",
        INDEX,
        "--url",
        ready.where.url,
        "--follow",
        "--year",
        "2026",
    ]
    command += ["--every", "0.3", "--settle", "0", "--state", str(tmp_path / "state")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        try:
            _until(lambda: swept.counted(swept.events(ready)) == swept.once_each([1]))
            swept.put(ready, INDEX, now(late[:5]))
            _until(lambda: len(swept.events(ready)) == 2)
            swept.put(ready, INDEX, now(late[5:]))
            _until(lambda: swept.counted(swept.events(ready)) == swept.once_each([1, 2]))
        finally:
            process.send_signal(signal.SIGTERM)
        out, err = process.communicate(timeout=60)
    assert process.returncode == 0, err
    assert json.loads(out)["completed"] >= 1
    assert json.loads((tmp_path / "state").read_text())["reached"]


def _until(holds: Any, seconds: float = 90.0) -> None:
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.2)


def kill_and_repeat(command: list[str], seed: int, kills: int, longest: float) -> int:
    """Start a command, kill it after a random while, again and again, and let it end at last; return the kills."""
    chance = random.Random(seed)
    killed = 0
    for _ in range(kills):
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            process.wait(chance.uniform(0.2, longest))
        except subprocess.TimeoutExpired:
            killed += 1
        process.send_signal(signal.SIGKILL)
        process.wait()
    end = subprocess.run(command, capture_output=True, check=False)
    assert end.returncode == 0, end.stderr
    return killed


@pytest.mark.slow
def test_killed_at_random_every_event_is_there_once(ready: Engine, tmp_path: Path) -> None:
    kills = int(os.environ.get("ALLOCFAIL_KILLS", "4"))
    numbers = range(120)
    swept.put(ready, INDEX, swept.lines_of(numbers))
    command = [sys.executable, "-m", "allocfail", "sweep", INDEX, "--url", ready.where.url, "--year", "2026"]
    command += ["--state", str(tmp_path / "state"), "--rate", "1500"]
    assert kill_and_repeat(command, kills, kills, 4.0) > 0
    assert swept.counted(swept.events(ready)) == swept.once_each(numbers)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("90m", "2026-03-04T03:36:07+00:00"),
        ("24h", "2026-03-03T05:06:07+00:00"),
        ("2026-03-01", "2026-03-01T00:00:00+00:00"),
        ("2026-03-01T01:00:00+02:00", "2026-03-01T01:00:00+02:00"),
    ],
)
def test_since(text: str, expected: str) -> None:
    assert since(text, _moment("2026-03-04T05:06:07+00:00")) == _moment(expected)


@pytest.mark.parametrize("text", ["", "x", "24", "-1h", "1y", "2026-13-01", "9999999h"])
def test_since_what(text: str) -> None:
    with pytest.raises(InputError, match="write 90m, 24h"):
        since(text, _moment("2026-03-04T05:06:07+00:00"))


def _moment(text: str) -> datetime:
    return datetime.fromisoformat(text)
