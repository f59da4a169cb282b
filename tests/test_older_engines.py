"""Pipelines and templates by file, on older engines: they load, and an event of each kind is decoded and found."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from allocfail.cluster import templates
from allocfail.demo import artifacts
from engines import harness, older

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rich.console import Console

HERE = Path(__file__).parent / "engines"


@pytest.fixture(scope="module", params=sorted(older.RUNNERS))
def old(
    request: pytest.FixtureRequest, console: Console, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[harness.Engine]:
    java = older.java_17()
    if java is None:
        pytest.skip(f"no Java 17 found (JAVA_HOME, java on the path, /usr/lib/jvm): NOT tested on {request.param}")
    artifacts.fetch(artifacts.read_lock(HERE / f"{request.param}.lock"), console=console)
    with older.started(request.param, java, tmp_path_factory.mktemp(request.param)) as address:
        yield harness.Engine(request.param.partition("-")[0], address)


@pytest.mark.engine
def test_what_is_built_for_it_loads_and_decodes(old: harness.Engine, tmp_path: Path) -> None:
    _, answer = old.request("GET", "/")
    version = answer["version"]["number"]
    assert version in {"2.19.1", "7.10.2"}
    for what in ("templates", "pipelines"):
        command = [sys.executable, "-m", "allocfail", what, "build", "--engine", old.product, "--for", version]
        subprocess.run([*command, "-o", str(tmp_path / what)], check=True, capture_output=True)
    files = sorted((tmp_path / "templates").rglob("*.json"))
    if old.product == "elasticsearch":  # this build comes without data streams
        files = [file for file in files if file.stem != "allocfail-events-stream"]
    for file in [*files, *(tmp_path / "pipelines" / f"{name}.json" for name in ("allocfail-event", "allocfail"))]:
        target = (
            f"_ingest/pipeline/{file.stem}" if file.parent.name == "pipelines" else f"{file.parent.name}/{file.stem}"
        )
        status, told = old.request("PUT", f"/{target}", json.loads(file.read_text(encoding="utf-8")))
        assert (status, file.stem) == (200, file.stem), told
    for probe in templates.probes():
        status, told = old.request("POST", "/allocfail-events/_doc?pipeline=allocfail&refresh=true", probe)
        assert status == 201, told
    query = {"size": 0, "aggs": {"kinds": {"terms": {"field": "allocfail.kind"}}}}
    _, answer = old.request("POST", "/allocfail-events/_search", query)
    assert {one["key"]: one["doc_count"] for one in answer["aggregations"]["kinds"]["buckets"]} == {
        "oom_kill": 1,
        "page_allocation_failure": 1,
        "slab_allocation_failure": 1,
        "vmalloc_allocation_failure": 1,
    }
    status, told = old.request("POST", "/other/_doc/1?pipeline=allocfail&refresh=true", {"message": "all allocated"})
    assert status == 201, told
    assert old.request("GET", "/other/_doc/1")[1]["_source"] == {"message": "all allocated"}
