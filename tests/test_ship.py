"""Shipping: the same on both clients, nothing lost, nothing twice."""

from __future__ import annotations

import gzip
import json
import re
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest

from allocfail.cluster.client import Engine, connect, path
from allocfail.cluster.connection import connection
from allocfail.cluster.errors import EngineError
from allocfail.cluster.identity import Identity, Numbers, Relation, event_id, relation
from allocfail.cluster.install import install
from allocfail.cluster.items import identify
from allocfail.cluster.retry import Patience
from allocfail.cluster.ship import Item, Shipper
from allocfail.decoder.options import Options
from allocfail.errors import AllocfailError
from allocfail.logs.events import decode_bytes
from clusters import ROOTS, WANTED, server
from flaky import Flaky

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


def item(document: dict[str, Any]) -> Item:
    original = document["event"]["original"]
    stamp = str(document.get("@timestamp", ""))[5:19]
    return Item(Identity("web1", "", stamp, original.split("\n")[0]), document, f"-: {original[-9:]}")


def ship(cluster: Engine, events: list[dict[str, Any]], target: str = "allocfail-events", **how: Any) -> dict[str, Any]:
    said: list[str] = []
    shipper = Shipper(cluster, target, patience=Patience(sleep=lambda _: None), say=said.append, **how)
    done = shipper.send(item(document) for document in events)
    assert done.rejected == len(said)
    return {"indexed": done.indexed, "completed": done.completed, "already": done.already, "rejected": said}


def count(cluster: Engine, target: str) -> int:
    cluster.request("POST", path(target, "_refresh"))
    return int(cluster.request("GET", path(target, "_count"))["count"])


def test_the_id_is_of_what_happened_and_not_of_where_it_was_read() -> None:
    known = Identity("web1", "", "4711.123456", "a: page allocation failure: order:1")
    first = event_id(known, 0)
    assert re.fullmatch("[0-9a-f]{40}", first)
    others = [
        event_id(known, 1),
        event_id(known._replace(host="web2"), 0),
        event_id(known._replace(boot="5f1c"), 0),
        event_id(known._replace(moment="4711.123457"), 0),
        event_id(known._replace(first="b: page allocation failure: order:1"), 0),
    ]
    assert len({first, *others}) == 6


def test_a_journal_says_which_boot_it_was() -> None:
    def known(**more: str) -> Identity:
        fields = {"_TRANSPORT": "kernel", "_HOSTNAME": "web1", "_SOURCE_MONOTONIC_TIMESTAMP": "1000000"}
        entry = {"MESSAGE": "a: page allocation failure: order:1, mode:0x20", **fields, **more}
        (event,) = decode_bytes(json.dumps(entry).encode(), Options())
        return identify(event)

    assert known(_BOOT_ID="5f1c").boot == "5f1c"
    assert known(_BOOT_ID="5f1c") == known(_BOOT_ID="5f1c", __CURSOR="s=1;i=2")
    assert event_id(known(_BOOT_ID="5f1c"), 0) != event_id(known(_BOOT_ID="a0b3"), 0)
    assert known().boot == ""


def test_what_happened_twice_in_one_log_is_numbered() -> None:
    one, two = (Identity("web1", "", moment, "x") for moment in ("01-02T03:04:05", "01-02T03:04:06"))
    numbers = Numbers()
    assert [numbers.take(known) for known in (one, one, two, one)] == [0, 1, 0, 2]
    assert [Numbers(numbers.last(8)).take(known) for known in (one, two)] == [3, 1]


@pytest.mark.parametrize(
    ("moment", "ours", "theirs", "expected"),
    [
        ("4711.123456", "a b c", "a b", Relation.MORE),
        ("4711.123456", "a b", "a b c", Relation.SAME),
        ("4711.123456", "a x", "a b", Relation.SAME),
        ("0.000000", "a x", "a b", Relation.OTHER),
        ("01-02T03:04:05", "a b c", "a b", Relation.MORE),
        ("01-02T03:04:05", "a b c", "a c", Relation.MORE),
        ("01-02T03:04:05", "a", "a b", Relation.SAME),
        ("01-02T03:04:05", "a b", "a b", Relation.SAME),
        ("01-02T03:04:05", "a x", "a b", Relation.OTHER),
        ("", "a x", "a b", Relation.OTHER),
    ],
)
def test_two_events_of_one_name(moment: str, ours: str, theirs: str, expected: Relation) -> None:
    assert relation(Identity("h", "", moment, "a"), ours.split(), theirs.split()) is expected


def test_shipping_again_adds_what_is_missing(cluster: Engine) -> None:
    list(install(cluster, WANTED))
    events = [event(number) for number in range(1203)]
    assert ship(cluster, events[:700]) == {"indexed": 700, "completed": 0, "already": 0, "rejected": []}
    assert ship(cluster, events) == {"indexed": 503, "completed": 0, "already": 700, "rejected": []}
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
    assert re.match(r"-: failure 2 \([0-9a-f]{40}\) was rejected: .*yesterday", line)
    assert line.isprintable()


def test_no_index_with_guessed_types(cluster: Engine) -> None:
    with pytest.raises(AllocfailError, match="run `allocfail install` first"):
        ship(cluster, [event()])
    assert cluster.request("GET", "/allocfail-events", missing_ok=True) is None


def test_no_index_that_only_has_a_field_of_ours(cluster: Engine) -> None:
    cluster.request("PUT", "/app-guessed", {})
    cluster.request("POST", "/app-guessed/_doc?refresh=true", {"allocfail": {"kind": "x", "order": 1}})
    with pytest.raises(AllocfailError, match="app-guessed has no mapping for the fields of an event"):
        ship(cluster, [event()], "app-guessed")
    assert count(cluster, "app-guessed") == 1


def test_data_stream_takes_each_event_once_across_its_indices(
    cluster: Engine,
    stream: str,
) -> None:
    events = [event(number) for number in range(5)]
    with pytest.raises(AllocfailError, match="no mapping for the fields of an event"):
        ship(cluster, events[:3], stream)
    keyword = {"type": "keyword"}
    own = {"kind": keyword, "order": {"type": "long"}, "fingerprint": {"properties": {"id": keyword}}}
    mapping = {"properties": {"allocfail": {"properties": own}}}
    cluster.request("PUT", path(stream, "_mapping"), mapping)
    template = cluster.request("GET", path("_index_template", stream))["index_templates"][0]["index_template"]
    template["template"]["mappings"] = mapping
    cluster.request(
        "PUT",
        path("_index_template", stream),
        {key: template[key] for key in ("index_patterns", "priority", "data_stream", "template")},
    )
    assert ship(cluster, events[:3], stream)["indexed"] == 3
    cluster.request("POST", path(stream, "_rollover"))
    assert ship(cluster, events, stream) == {"indexed": 2, "completed": 0, "already": 3, "rejected": []}
    assert count(cluster, stream) == 6  # one was there before


@pytest.mark.parametrize("product", ROOTS)
@pytest.mark.parametrize(
    "passing",
    [
        (408, {}),
        (429, {}),
        (500, {"error": {"type": "es_rejected_execution_exception", "reason": "full"}}),
        (502, b"<html>"),
        (503, {"error": {"reason": "no master"}}),
        (504, b""),
        (520, b"<html>"),
        (200, b"<html><body>Please log in</body></html>"),
        (200, {}),
        (200, {"took": 1, "errors": False}),
        (200, {"items": []}),
        (200, b'{"took":1,"items":[{"create":{"_id"'),
        (200, b""),
        (200, []),
    ],
)
def test_a_passing_refusal_is_tried_again(product: str, passing: tuple[int, Any]) -> None:
    flaky = Flaky(product, passing, lambda at: (429, 500)[at % 2] if at % 3 else 201, passing, 503)
    with server(flaky) as url, connect(connection(url)) as cluster:
        result = ship(cluster, [event(number) for number in range(10)], "x")
    assert result == {"indexed": 10, "completed": 0, "already": 0, "rejected": []}
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
        assert ship(cluster, [event(1), event(2)], "x") == {"indexed": 0, "completed": 0, "already": 2, "rejected": []}
    assert len(flaky.kept) == 2


@pytest.mark.parametrize("product", ROOTS)
def test_trying_again_is_bounded(product: str) -> None:
    pauses: list[float] = []
    flaky = Flaky(product, *[503] * 50)
    with server(flaky) as url, connect(connection(url)) as cluster:
        said: list[str] = []
        patience = Patience(retries=4, pause=1.0, longest_pause=3.0, sleep=pauses.append, say=said.append)
        shipper = Shipper(cluster, "x", patience=patience)
        with pytest.raises(EngineError, match="2 events are not indexed: run the command again"):
            shipper.send([item(event(1)), item(event(2))])
    assert pauses == [1.0, 2.0, 3.0, 3.0]
    assert [line.rpartition("; ")[2] for line in said] == [f"trying again in {n} s" for n in (1, 2, 3, 3)]
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


@pytest.mark.parametrize("product", ROOTS)
def test_who_may_not_read_ships_all_the_same(product: str) -> None:
    """OpenSearch's security plugin refuses each document of a multi-get with a good status."""
    flaky = Flaky(product)
    refused = {"error": {"type": "security_exception", "reason": "no permissions for [indices:data/read/mget[shard]]"}}

    def answer(method: str, target: str, body: bytes) -> tuple[int, Any]:
        if target.startswith("/x/_mget"):
            return 200, {"docs": [{"_index": "x", "_id": one, **refused} for one in json.loads(body)["ids"]]}
        return flaky(method, target, body)

    with server(answer) as url, connect(connection(url)) as cluster:
        assert ship(cluster, [event(1), event(2)], "x")["indexed"] == 2
        again = ship(cluster, [event(1), event(2), event(3)], "x")
    assert again == {"indexed": 1, "completed": 0, "already": 2, "rejected": []}
    assert flaky.requests == 2


@pytest.mark.parametrize("product", ROOTS)
def test_what_is_said_to_be_there_and_is_not_found_ends(product: str) -> None:
    pauses: list[float] = []
    flaky = Flaky(product, *[409] * 50)
    with server(flaky) as url, connect(connection(url)) as cluster:
        patience = Patience(retries=3, pause=1.0, longest_pause=2.0, sleep=pauses.append)
        shipper = Shipper(cluster, "x", patience=patience)
        with pytest.raises(EngineError, match="said to be there, and not found; 1 events are not indexed"):
            shipper.send([item(event(1))])
    assert (pauses, flaky.requests) == ([1.0, 2.0, 2.0], 4)


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
    assert json.loads(first.stdout) == {"indexed": 2, "completed": 0, "already_there": 0, "rejected": 0}
    again = run("ship", str(packed), "--url", url)
    assert json.loads(again.stdout) == {"indexed": 0, "completed": 0, "already_there": 2, "rejected": 0}
    piped = run("ship", "-", "--url", url, stdin=LOG.encode())
    assert json.loads(piped.stdout) == {"indexed": 0, "completed": 0, "already_there": 2, "rejected": 0}
    assert count(cluster, "allocfail-events") == 2
    query = {
        "query": {"term": {"allocfail.fingerprint.header.text": "af1|page_allocation_failure|order=1|comm=swapper"}}
    }
    assert cluster.request("POST", "/allocfail-events/_count", query)["count"] == 2

    missing = run("ship", str(log), str(tmp_path / "nope"), "--url", url)
    assert missing.returncode == 2
    assert missing.stderr.count(b"\n") == 1
