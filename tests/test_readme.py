"""What the README and docs show is what happens: commands are run, blocks compared, links followed."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING

import pytest

from allocfail.articles import site
from allocfail.commands.cli import COMMANDS
from allocfail.logs import events as decoder
from pages import PAGES, ROOT, Command, commands, shell

if TYPE_CHECKING:
    from pathlib import Path

    from allocfail.cluster.client import Engine

pytest_plugins = ["cluster_fixtures"]

#: Where the README says the cluster is.
CLUSTER = "http://127.0.0.1:9200"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Return a folder that has the sample where the pages have it, so that nothing is written into the source tree."""
    (tmp_path / "samples").symlink_to(ROOT / "samples")
    return tmp_path


@pytest.mark.parametrize("command", commands(), ids=lambda command: f"{command.page.name}: {command.line[:60]}")
def test_shown_output_is_the_output(command: Command, folder: Path) -> None:
    done = shell(command.line, folder)
    assert done.stdout == command.output
    assert done.returncode == 0


def test_every_command_is_shown() -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    for name in COMMANDS:
        assert f"allocfail {name}" in text or (name == "demo" and "make demo" in text), name


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_what_a_page_links_to_is_there(page: Path) -> None:
    text = re.sub(r"^```.*?^```$", "", page.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
    links = re.findall(r"\]\(([^)#\s]+)(?:#[^)]*)?\)", re.sub(r"`[^`]*`", "", text))
    assert [link for link in links if "://" not in link and not (page.parent / link).exists()] == []
    names = re.findall(r"`((?:ingest|kb|pipelines|saved_searches|samples|docs)/[A-Za-z0-9_./-]+)`", text)
    assert [name for name in names if not (ROOT / name).exists()] == []


def test_number_of_pages_is_that_of_the_site() -> None:
    shown = [c.output for c in commands() if c.line.startswith("allocfail kb build")]
    assert shown == [f"build/kb: wrote {len(site.pages())} pages\n"]


def stale_rows() -> list[tuple[list[str], str]]:
    text = (ROOT / "docs/fingerprint.md").read_text(encoding="utf-8").partition("<!-- checked: stale -->")[2]
    rows = []
    for line in text.splitlines():
        if line.startswith("| `"):
            frames, site = line.split("|")[1:3]
            rows.append((frames.replace("`", "").split(), site.strip().strip("`")))
    return rows


@pytest.mark.parametrize(("frames", "site"), stale_rows())
def test_stale_frames_do_what_the_page_says(frames: list[str], site: str) -> None:
    lines = ["swapper: page allocation failure. order:1, mode:0x20"]
    lines += ["Pid: 0, comm: swapper Not tainted 2.6.32-431.el6.x86_64 #1", "Call Trace:"]
    lines += [f" [<ffffffff8112f{at:03x}>] ? {name}+0x10/0x100" for at, name in enumerate(frames)]
    [event] = decoder.decode_bytes("\n".join(lines).encode())
    own = event.document["allocfail"]
    assert own["site"] == site
    assert own["site_reliable"] is False


def test_page_has_the_rows() -> None:
    assert len(stale_rows()) == 5


def test_readme_on_a_cluster(cluster: Engine, folder: Path) -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8").partition("## In your own cluster")[2]
    cluster.request("PUT", "/app-logs", {"settings": {"number_of_replicas": 0}})
    ran: list[str] = []
    answers = []
    operations = (ROOT / "docs/operations.md").read_text(encoding="utf-8").partition("## Groups, by a search")[2]
    before, last, after = text.partition("To take it all out again")
    for language, body in re.findall(
        r"^```(sh|http)\n(.*?)^```$", before + operations + last + after, re.MULTILINE | re.DOTALL
    ):
        if language == "http":
            first, _, rest = body.partition("\n")
            method, target = first.split(" ")
            cluster.request("POST", "/_refresh")
            answers.append(cluster.request(method, target, json.loads(rest)))
            continue
        for line in filter(None, body.splitlines()):
            command = line.partition("  #")[0].strip()
            if command.startswith("export "):
                assert command == f"export ALLOCFAIL_URL={CLUSTER}"
                continue
            done = shell(command, folder, ALLOCFAIL_URL=cluster.where.url)
            assert done.returncode == 0, f"{command}\n{done.stdout}"
            ran.append(command)
    assert [line.split()[1] for line in ran] == ["install", "install", "status", "install", "ship", "uninstall"]
    indexed, groups = answers
    stored = cluster.request("GET", f"/app-logs/_doc/{indexed['_id']}")["_source"]
    assert stored["rule"]["id"] == "zone-reclaim-mode"
    assert stored["allocfail"]["gfp"]["name"] == "GFP_ATOMIC"
    [group] = groups["aggregations"]["groups"]["buckets"]
    assert (group["key"], group["doc_count"], group["hosts"]["value"]) == ("af1:bc6458438147253b", 2, 1)
    assert group["title"]["buckets"][0]["key"].startswith("page allocation failure: order 1")
    assert cluster.request("GET", "/_ingest/pipeline/allocfail", missing_ok=True) is None
