"""What was indexed whole goes through the pipeline inside the cluster."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from typing import Any

import pytest

import swept
from allocfail.cluster import install as installing
from allocfail.cluster.backfill import Backfill
from allocfail.cluster.client import Engine, path
from allocfail.errors import AllocfailError
from allocfail.painless import pipelines
from clusters import ARTICLE, WANTED

pytest_plugins = ["cluster_fixtures"]

INDEX = "app-whole"


def whole(number: int) -> dict[str, Any]:
    (_, first), *_ = swept.lines_of([number])
    return {**first, "message": "\n".join(swept.text_of(number))}


@pytest.fixture
def ready(cluster: Engine) -> Engine:
    """Return a cluster with the real pipelines and an index of whole dumps and of other documents."""
    built = pipelines.build(cluster.product, kb_url="http://127.0.0.1")
    list(installing.install(cluster, installing.Wanted(built, [ARTICLE])))
    cluster.request("PUT", path(INDEX), swept.MAPPING)
    swept.put(cluster, INDEX, [(str(number), whole(number)) for number in range(20)])
    swept.put(cluster, INDEX, [(f"other-{n}", whole(0) | {"message": f"usb {n}: new device"}) for n in range(30)])
    return cluster


def run(*arguments: str) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run([sys.executable, "-m", "allocfail", *arguments], capture_output=True, check=False)


def test_whole_dumps_are_decoded_where_they_are(ready: Engine) -> None:
    command = ("backfill", INDEX, "--url", ready.where.url)
    dry = run(*command, "--dry-run")
    assert json.loads(dry.stdout) == {"would_go_through": 20}
    done = run(*command)
    assert (done.returncode, done.stderr) == (0, b"")
    assert json.loads(done.stdout) == {"found": 20, "sent_through": 20, "conflicts": 0, "failed": 0}
    found = swept.events(ready, INDEX)
    assert swept.counted(event for event in found if "allocfail" in event) == swept.once_each(range(20))
    assert sum("allocfail" not in event for event in found) == 30
    assert {event["_version"] for event in found if "allocfail" not in event} == {1}
    again = run(*command)
    assert json.loads(again.stdout) == {"found": 0, "sent_through": 0, "conflicts": 0, "failed": 0}


def test_only_a_span_of_time(ready: Engine) -> None:
    span = ("--since", "2026-03-04T05:00:05Z", "--until", "2026-03-04T05:00:08Z")
    done = run("backfill", INDEX, "--url", ready.where.url, *span)
    assert json.loads(done.stdout)["sent_through"] == 4


def test_what_cannot_be_written_is_named(ready: Engine) -> None:
    ready.request("PUT", path(INDEX, "_mapping"), {"dynamic": "strict"})
    done = run("backfill", INDEX, "--url", ready.where.url)
    assert done.returncode == 1
    assert json.loads(done.stdout)["failed"] > 0
    assert b"not written: app-whole/" in done.stderr


def test_a_task_that_is_asked_to_stop_is_cancelled(ready: Engine) -> None:
    backfill = Backfill(ready, [INDEX])
    begun = time.monotonic()
    filled = backfill.run(None, None, slices="1", rate=2.0, every=0.1, asked=lambda: True, sleep=time.sleep)
    assert filled.updated < 20
    assert time.monotonic() - begun < 60
    ready.request("POST", path(INDEX, "_refresh"))
    assert backfill.count() == 20 - filled.updated


def test_without_a_pipeline_nothing_is_begun(cluster: Engine) -> None:
    list(installing.install(cluster, WANTED))
    with pytest.raises(AllocfailError, match="there is no pipeline nope"):
        Backfill(cluster, ["*"], pipeline="nope")
    done = run("backfill", "nope", "--url", cluster.where.url)
    assert (done.returncode, done.stderr.count(b"\n")) == (1, 1)
