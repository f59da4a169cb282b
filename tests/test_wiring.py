"""What install and wiring decide, on a cluster in memory; real engines are in ``test_install``."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from allocfail.cluster.install import install, status, uninstall
from allocfail.cluster.managed import ENTRY
from allocfail.cluster.wiring import Wiring, unwire
from clusters import PIPELINES, ROOTS, WANTED, actions, done
from fakecluster import fake

if TYPE_CHECKING:
    from collections.abc import Iterator

    from allocfail.cluster.engine import Engine
    from fakecluster import Fake

OWN = {"description": "ours", "version": 7, "processors": [{"set": {"field": "own", "value": 1}}]}


@pytest.fixture(params=ROOTS)
def both(request: pytest.FixtureRequest) -> Iterator[tuple[Fake, Engine]]:
    with fake(request.param) as pair:
        yield pair


def test_a_second_install_writes_nothing(both: tuple[Fake, Engine]) -> None:
    cluster, engine = both
    assert "created" in {change.action for change in install(engine, WANTED)}
    before, cluster.written = json.dumps(cluster.pipelines), []
    assert done(install(engine, WANTED)) == []
    assert cluster.written == []
    assert json.dumps(cluster.pipelines) == before


def test_a_dry_run_writes_nothing_and_says_what_an_install_does(both: tuple[Fake, Engine]) -> None:
    cluster, engine = both
    cluster.index("app-one")
    wiring = Wiring(["app-one"], hooks=["app-hook"])
    planned = actions(install(engine, WANTED, wiring, dry_run=True))
    assert cluster.written == []
    assert actions(install(engine, WANTED, wiring)) == planned


def test_a_caller_from_before_stays_byte_for_byte(both: tuple[Fake, Engine]) -> None:
    cluster, engine = both
    caller = {**OWN, "processors": [{"pipeline": {"name": ENTRY, "ignore_failure": True}}, *OWN["processors"]]}
    cluster.pipelines["app-caller"] = json.loads(json.dumps(caller))
    told = actions(install(engine, WANTED, Wiring(hooks=["app-caller"])))
    assert told["hook app-caller"] == "unchanged"
    assert json.dumps(cluster.pipelines["app-caller"]) == json.dumps(caller)
    told = actions(uninstall(engine, grace=0))
    assert "hook app-caller" not in told
    assert told[f"pipeline {ENTRY}"] == "left"
    assert json.dumps(cluster.pipelines["app-caller"]) == json.dumps(caller)


def test_a_hook_s_own_processors_come_back_as_they_were(both: tuple[Fake, Engine]) -> None:
    cluster, engine = both
    cluster.pipelines["logs@custom"] = json.loads(json.dumps(OWN))
    list(install(engine, WANTED, Wiring(hooks=["logs@custom"])))
    assert cluster.pipelines["logs@custom"]["processors"][0] == OWN["processors"][0]
    list(uninstall(engine, grace=0))
    assert cluster.pipelines == {"logs@custom": OWN}


def test_a_missing_pipeline_is_ignored_in_each_product_s_words(both: tuple[Fake, Engine]) -> None:
    cluster, engine = both
    list(install(engine, WANTED, Wiring(hooks=["app-hook"])))
    [processor] = cluster.pipelines["app-hook"]["processors"]
    option = {"elasticsearch": "ignore_missing_pipeline", "opensearch": "ignore_failure"}[cluster.product]
    called = processor["pipeline"]
    assert called["name"] == ENTRY
    assert {name for name, value in called.items() if value is True} == {option}


@pytest.mark.parametrize("setting", ["default", "final"])
def test_an_index_is_wired_and_unwired(both: tuple[Fake, Engine], setting: str) -> None:
    cluster, engine = both
    cluster.index("app-one", {"index": {"number_of_replicas": "0"}})
    cluster.index("app-two")
    list(install(engine, WANTED, Wiring(["app-*"], setting)))
    assert cluster.indices["app-one"]["settings"][f"index.{setting}_pipeline"] == ENTRY
    assert actions(unwire(engine, Wiring(["app-one"]))) == {"index app-one": "updated"}
    assert cluster.indices["app-one"]["settings"] == {"index.number_of_replicas": "0"}
    assert cluster.indices["app-two"]["settings"] == {f"index.{setting}_pipeline": ENTRY}
    list(uninstall(engine, grace=0))
    assert cluster.indices["app-two"]["settings"] == {}
    assert (cluster.pipelines, cluster.components, cluster.templates) == ({}, {}, {})


def test_status_says_who_is_wired(both: tuple[Fake, Engine]) -> None:
    cluster, engine = both
    cluster.index("app-one")
    cluster.pipelines["app-direct"] = {**OWN, "processors": [{"pipeline": {"name": ENTRY}}]}
    list(install(engine, WANTED, Wiring(["app-one"], hooks=["app-hook"])))
    cluster.pipelines["app-other"] = OWN
    lines = {(change.kind, change.id, change.action) for change in status(engine, WANTED)}
    wired = {line for line in lines if line[2] == "wired"}
    assert wired == {
        ("hook", "app-hook", "wired"),
        ("hook", "app-direct", "wired"),
        ("index", "app-one", "wired"),
    }
    assert ("probe", ENTRY, "decoded") in lines
    assert {line[2] for line in lines if line[0] == "pipeline"} == {"current"}


def test_status_tells_missing_outdated_changed_and_foreign(both: tuple[Fake, Engine]) -> None:
    cluster, engine = both

    def pipelines() -> dict[str, str]:
        return {change.id: change.action for change in status(engine, WANTED) if change.kind == "pipeline"}

    assert set(pipelines().values()) == {"missing"}
    list(install(engine, WANTED))
    newer: dict[str, Any] = json.loads(json.dumps(PIPELINES))
    newer["allocfail-inner"]["version"] = 2
    told = {c.id: c.action for c in status(engine, replace(WANTED, pipelines=newer)) if c.kind == "pipeline"}
    assert told == {"allocfail": "current", "allocfail-inner": "outdated"}
    cluster.pipelines["allocfail-inner"]["processors"] = []
    assert pipelines()["allocfail-inner"] == "changed"
    cluster.pipelines["allocfail-inner"] = OWN
    assert pipelines()["allocfail-inner"] == "foreign"
