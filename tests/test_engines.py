"""The harness itself: both engines run, can do what the pipelines need, and are what tests think they are."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

    from engines.harness import Engine

STARTER = """
import sys, time
from engines import harness
with harness.start_elasticsearch() as engine:
    print(engine.url, flush=True)
    time.sleep(300)
"""


def painless(engine: Engine, source: str) -> tuple[int, object]:
    return engine.request("POST", "/_scripts/painless/_execute", {"script": {"source": source}})


def test_each_engine_is_the_product_and_version_asked_for(engine: Engine) -> None:
    _, answer = engine.request("GET", "/")
    version = answer["version"]
    assert (version.get("distribution", "elasticsearch"), version["number"]) == {
        "opensearch": ("opensearch", "3.8.0"),
        "elasticsearch": ("elasticsearch", "9.4.3"),
    }[engine.product]


def test_painless_hashes_as_python_does(engine: Engine) -> None:
    digest = "ca978112ca1bbdcafac231b39a23dc4da786eff8147c4e72b9807785afee48bb"
    pipeline = {"processors": [{"script": {"source": "ctx.digest = ctx.text.sha256()"}}]}
    asked = {"pipeline": pipeline, "docs": [{"_source": {"text": "a"}}]}
    status, answer = engine.request("POST", "/_ingest/pipeline/_simulate", asked)
    assert (status, answer["docs"][0]["doc"]["_source"]["digest"]) == (200, digest)


def test_regular_expressions_are_off_where_a_test_wants_them_off(engine_without_regex: Engine) -> None:
    status, answer = painless(engine_without_regex, "return 'a' ==~ /a/")
    assert status == 400
    assert "Regexes are disabled" in str(answer)
    assert painless(engine_without_regex, "return 'a'") == (200, {"result": "a"})


def test_the_secured_engine_wants_a_password(elasticsearch_secured: Engine) -> None:
    assert elasticsearch_secured.url.startswith("https://")
    status, answer = elasticsearch_secured.request("GET", "/_security/_authenticate")
    assert (status, answer["roles"]) == (200, ["superuser"])
    stranger = type(elasticsearch_secured)(
        "elasticsearch", elasticsearch_secured.url, ca_file=elasticsearch_secured.ca_file
    )
    assert stranger.request("GET", "/")[0] == 401


@pytest.fixture
def reachable() -> Iterator[Path]:
    """Give a folder that another user may enter, which no folder of pytest's is: Elasticsearch does not run as root."""
    with tempfile.TemporaryDirectory(prefix="allocfail-ends-") as folder:
        Path(folder).chmod(0o755)
        yield Path(folder)


@pytest.mark.engine
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_no_end_of_the_test_run_leaves_an_elasticsearch(reachable: Path, number: signal.Signals) -> None:
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parent), "TMPDIR": str(reachable)}
    with subprocess.Popen(
        [sys.executable, "-c", STARTER], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env=environment
    ) as starter:
        assert starter.stdout is not None
        # Either it runs already, or it is still starting: both must end well.
        deadline = time.monotonic() + 60
        while not java_below(reachable):
            assert time.monotonic() < deadline
            time.sleep(0.1)
        starter.send_signal(number)
        starter.wait(60)
    deadline = time.monotonic() + 30
    while java_below(reachable) or list(reachable.iterdir()):
        assert time.monotonic() < deadline
        time.sleep(0.1)


def java_below(folder: Path) -> list[str]:
    """Return the processes whose environment speaks of the folder."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            environment, name = (process / "environ").read_bytes(), (process / "comm").read_text()
        except OSError:
            continue
        if str(folder).encode() in environment and name.strip() == "java":
            found.append(process.name)
    return found
