"""install, status, ship and uninstall as they are typed, with the real pipelines, on both engines."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest

from clusters import ROOTS, server
from products import Dashboards, Fronted, Product

if TYPE_CHECKING:
    from pathlib import Path

    from allocfail.cluster.client import Engine
    from clusters import Answer

pytest_plugins = ["cluster_fixtures"]

LOG = """\
Jan  2 03:04:05 web1 kernel: swapper: page allocation failure. order:1, mode:0x20
Jan  2 03:04:06 web1 kernel: nothing to see here
Jan  2 03:04:07 web1 kernel: swapper: page allocation failure. order:1, mode:0x20
"""


def run(*arguments: str, **environment: str) -> tuple[int, list[dict[str, Any]], str]:
    """Run the command; return its exit status, the objects it printed, and what it said on stderr."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith("ALLOCFAIL_")}
    done = subprocess.run(
        [sys.executable, "-m", "allocfail", *arguments],
        capture_output=True,
        check=False,
        text=True,
        env={**clean, **environment},
    )
    return done.returncode, [json.loads(line) for line in done.stdout.splitlines()], done.stderr


def words(rows: list[dict[str, Any]]) -> dict[str, str]:
    return {f"{row['kind']} {row['id']}": row["action"] for row in rows}


def test_the_whole_way(cluster: Engine, tmp_path: Path) -> None:
    url = cluster.where.url
    log = tmp_path / "kern.log"
    log.write_text(LOG)

    code, rows, _ = run("status", "--url", url)
    assert (code, {row["action"] for row in rows}) == (1, {"missing"})
    code, rows, _ = run("install", "--url", url, "--dry-run")
    assert (code, {row["action"] for row in rows}, {row["dry_run"] for row in rows}) == (0, {"created"}, {True})
    code, rows, _ = run("install", "--url", url)
    assert (code, {row["action"] for row in rows}) == (0, {"created"})
    assert [row["id"] for row in rows if row["kind"] == "pipeline"][-1] == "allocfail"
    code, rows, told = run("install", ALLOCFAIL_URL=url)
    assert (code, {row["action"] for row in rows}) == (0, {"unchanged"})
    assert told.splitlines()[0] == f"{len(rows)} unchanged"
    assert "give --kb-url, or run `allocfail kb publish" in told.splitlines()[1]

    code, rows, _ = run("status", "--url", url)
    assert (code, words(rows)["probe allocfail"]) == (0, "decoded")
    assert {row["action"] for row in rows} == {"current", "decoded", "unset"}

    cluster.request("PUT", "/app-lines", {})
    assert run("install", "--url", url, "--index", "app-lines")[0] == 0
    for line in LOG.splitlines():
        cluster.request("POST", "/app-lines/_doc?refresh=true", {"message": line})
    query = {
        "query": {"term": {"allocfail.fingerprint.header.text": "af1|page_allocation_failure|order=1|comm=swapper"}}
    }
    assert cluster.request("POST", "/app-lines/_count", query)["count"] == 2

    code, (shipped,), _ = run("ship", str(log), "--url", url)
    assert (code, shipped) == (0, {"indexed": 2, "completed": 0, "already_there": 0, "rejected": 0})
    cluster.request("POST", "/allocfail-events/_refresh")
    assert cluster.request("POST", "/allocfail-events/_count", query)["count"] == 2

    cluster.request("PUT", "/app-direct", {"settings": {"index.default_pipeline": "allocfail"}})
    code, rows, _ = run("uninstall", "--url", url, "--grace", "0.1")
    assert (code, words(rows)["pipeline allocfail"]) == (1, "left")
    cluster.request("DELETE", "/app-direct")
    code, rows, _ = run("uninstall", "--url", url, "--grace", "0.1")
    assert (code, words(rows)["pipeline allocfail"]) == (0, "removed")
    assert words(rows)["events allocfail-events"] == "left"
    assert cluster.request("GET", "/_ingest/pipeline/allocfail*", missing_ok=True) in (None, {})


def test_pipelines_that_were_put_by_hand_are_taken_over(cluster: Engine, tmp_path: Path) -> None:
    assert run("pipelines", "build", "--engine", cluster.product, "-o", str(tmp_path))[0] == 0
    for file in tmp_path.glob("*.json"):
        cluster.request("PUT", f"/_ingest/pipeline/{file.stem}", json.loads(file.read_text()))
    code, rows, _ = run("install", "--url", cluster.where.url)
    assert (code, words(rows)["pipeline allocfail"]) == (0, "updated")
    assert run("uninstall", "--url", cluster.where.url, "--grace", "0.1")[0] == 0


@pytest.mark.parametrize("command", [["install"], ["status"], ["uninstall"], ["ship", "-"]])
def test_a_cluster_that_is_down_is_one_line(command: list[str]) -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        url = f"http://me:tell-no1@127.0.0.1:{closed.getsockname()[1]}"
        code, rows, told = run(*command, "--url", url)
    assert (code, rows) == (1, [])
    assert told.startswith("allocfail: http://127.0.0.1:")
    assert told.endswith("nothing listens there (connection refused)\n")
    assert told.count("\n") == 1


@pytest.mark.parametrize("product", ROOTS)
def test_a_refusal_is_one_line_without_the_secret(product: str) -> None:
    refused = {"error": {"type": "security_exception", "reason": "no key \x1b[0m tell-no1"}, "status": 403}
    with server(lambda _, target, __: (200, ROOTS[product]) if target == "/" else (403, refused)) as url:
        code, rows, told = run("install", "--url", url, ALLOCFAIL_API_KEY="id:tell-no1")
    assert (code, rows) == (1, [])
    assert "not allowed: no key [0m ***" in told
    assert told.count("\n") == 1
    assert "\x1b" not in told


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["install"], "Missing option '--url'"),
        (["install", "--url", "localhost"], "must look like http://HOST:PORT"),
        (["ship", "x", "--url", "http://h", "--index-name", "a", "--data-stream", "b"], "not both"),
        (["ship", "/nonexistent/log", "--url", "http://h"], "/nonexistent/log"),
    ],
)
def test_bad_usage(arguments: list[str], told: str) -> None:
    code, _, stderr = run(*arguments)
    assert code == 2
    assert told in stderr
    assert "Traceback" not in stderr


def test_alerts_are_installed_only_when_asked_for(cluster: Engine) -> None:
    alerting, pages, told = Product(ROOTS[cluster.product]), Dashboards(), Product(ROOTS[cluster.product])

    def page(method: str, target: str, body: bytes) -> Answer:
        return (told if "/api/alerting/" in target else pages)(method, target, body)

    with server(Fronted(cluster.where.url, alerting)) as url, server(page) as kibana:
        assert run("install", "--url", url)[0] == 0
        assert alerting.kept == {}
        code, rows, said = run("install", "--url", url, "--alerts")
        assert (code, len(alerting.kept)) == (0, 3), said
        kind = {"opensearch": "monitor", "elasticsearch": "watch"}[cluster.product]
        made = [row["action"] for row in rows if row["kind"] == kind]
        assert made == ["created"] * 3
        code, rows, said = run("install", "--url", url, "--alerts", "--dashboards-url", kibana)
        assert code == 0, said
        assert f"the dashboard is at {kibana}/app/dashboards#/view/allocfail-failures" in said
        assert "dashboard/allocfail-failures" in pages.kept
        made = [row["action"] for row in rows if row["kind"] in {"rule", "monitor"}]
        if cluster.product == "opensearch":
            assert (made, told.kept) == (["unchanged"] * 3, {})
        else:
            assert (made, len(told.kept)) == (["created"] * 3, 3)
        code, rows, said = run("install", "--url", url, "--alerts", "--dashboards-url", kibana)
        assert (code, {row["action"] for row in rows}) == (0, {"unchanged"}), said


def test_what_has_no_alerting_is_one_line(cluster: Engine) -> None:
    code, rows, said = run("install", "--url", cluster.where.url, "--alerts")
    assert code == 1
    assert {row["action"] for row in rows} == {"created"}, "everything else is there"
    [line] = [line for line in said.splitlines() if line.startswith("allocfail:")]
    assert "no handler found" in line
    assert run("status", "--url", cluster.where.url)[0] == 0


def test_published_articles_are_read_in_the_pages(cluster: Engine) -> None:
    url, there = cluster.where.url, Dashboards()
    with server(there) as pages:
        code, rows, said = run("kb", "publish", "--url", url, "--dashboards-url", f"{pages}/s/ops")
        assert code == 0, said
        assert words(rows)["saved object index-pattern/allocfail-kb"] == "created"
        assert set(there.kept) == {"index-pattern/allocfail-kb", "search/allocfail-articles"}
        assert run("kb", "publish", "--url", url, "--dashboards-url", f"{pages}/s/ops")[1:] != ([], "")
        assert len(there.imports) == 1, "nothing is sent again"

        assert run("install", "--url", url, "--dashboards-url", pages, "--space", "ops")[0] == 0
        view = json.loads(there.kept["index-pattern/allocfail-events"]["attributes"]["fieldFormatMap"])
        assert f"{pages}/s/ops/app/discover#/doc/allocfail-kb/" in json.dumps(view["rule.id"])
        # Where links lead now, everything that is there has to know.
        assert run("kb", "publish", "--url", url, "--dashboards-url", f"{pages}/s/ops/")[0] == 0
    code, rows, said = run("kb", "publish", "--url", url, "--dashboards-url", "http://127.0.0.1:1/kibana")
    assert code == 0
    assert "saved object" not in {row["kind"] for row in rows}
    assert said.count("links open there once `allocfail install --dashboards-url` has brought the data view") == 1
