"""Shippers: one definition of which lines belong together, and real log daemons that join by it."""

from __future__ import annotations

import json
import os
import re
import shutil
import socket
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yaml

import shipping
from allocfail.build import shippers
from allocfail.cluster.client import connect
from allocfail.cluster.connection import connection
from allocfail.content import content_path
from allocfail.logs.events import decode_bytes
from clusters import remove_all
from corpora import rows

if TYPE_CHECKING:
    from collections.abc import Iterator

    from allocfail.cluster.client import Engine
    from engines.harness import Engine as Server

ROOT = Path(__file__).parents[1]
SAMPLE = (ROOT / "samples/svn3-centos6.log").read_text(encoding="utf-8")
HEADER = "swapper: page allocation failure. order:1, mode:0x20"


def sample_lines() -> list[str]:
    """Return the lines of the sample's first event, without prefix."""
    lines = [line.partition(" kernel: ")[2] for line in SAMPLE.splitlines()]
    start = lines.index(HEADER)
    after = next(i for i in range(start + 1, len(lines)) if ": page allocation failure" in lines[i])
    return [line for line in lines[start:after] if line]


def patterns() -> tuple[re.Pattern[str], re.Pattern[str]]:
    definition = shippers.read()
    return re.compile("|".join(definition.first), re.ASCII), re.compile("|".join(definition.continuation), re.ASCII)


def joined(text: str) -> Iterator[str]:
    """Yield the documents that a shipper makes of a log by the definition."""
    first, continuation = patterns()
    document: list[str] = []
    for line in text.splitlines():
        if document and (first.search(line) or not continuation.search(line)):
            yield "\n".join(document)
            document = []
        document.append(line)
    if document:
        yield "\n".join(document)


def groups(text: str) -> list[str]:
    return [event.document["allocfail"]["fingerprint"]["id"] for event in decode_bytes(text.encode())]


def test_the_committed_configurations_are_those_of_the_definition() -> None:
    for name, text in shippers.generate().items():
        assert content_path(name).read_text(encoding="utf-8") == text, f"{name} is stale: run make generate"


@pytest.mark.parametrize("name", ["filebeat.yml", "elastic-agent.yml", "vector.yaml", "otel-collector.yaml"])
def test_a_configuration_in_yaml_holds_the_patterns_unchanged(name: str) -> None:
    first, continuation = patterns()
    text = json.dumps(yaml.safe_load(content_path(f"ingest/shippers/{name}").read_text(encoding="utf-8")))
    assert json.dumps(continuation.pattern)[1:-1] in text
    if name in {"vector.yaml", "otel-collector.yaml"}:
        assert json.dumps(first.pattern)[1:-1] in text


def test_no_first_line_of_a_dump_looks_like_a_continuation() -> None:
    """Shippers that know one pattern only would hang it on the line before."""
    first, continuation = patterns()
    seen = 0
    for row in [*rows("corpus"), *rows("corpus-new")]:
        for line in row["path"].read_text("utf-8", "replace").splitlines():
            if first.search(line) and not re.search(r"Out of memory: ", line):
                seen += 1
                assert not continuation.search(line), line
    if not seen:
        pytest.skip("../shared/corpus is missing: the definition was NOT tried on real logs")


def test_posix_patterns_take_the_same_lines() -> None:
    """As grep -E reads them, which is the C library that rsyslog uses."""
    lines = SAMPLE.splitlines()
    lines += [line for row in rows("corpus") for line in row["path"].read_text("utf-8", "replace").splitlines()]
    definition = shippers.read()
    environment = {**os.environ, "LC_ALL": "C.UTF-8"}
    for pattern in (*definition.first, *definition.continuation):
        command = ["grep", "-a", "-n", "-E", "-e", shippers.posix(pattern)]
        done = subprocess.run(
            command, input="\n".join(lines) + "\n", capture_output=True, text=True, check=False, env=environment
        )
        assert done.returncode in {0, 1}, done.stderr
        found = [int(line.partition(":")[0]) for line in done.stdout.splitlines()]
        wanted = [number for number, line in enumerate(lines, 1) if re.search(pattern, line, re.ASCII)]
        assert found == wanted, pattern


def test_dumps_of_real_logs_are_joined_as_they_are_decoded() -> None:
    """Figures of docs/shippers.md; logs that mail programs wrapped are left out, a shipper never sees them."""
    whole = same = files = 0
    for row in [*rows("corpus"), *rows("corpus-new")]:
        text = row["path"].read_bytes().decode("utf-8", "replace")
        wanted = groups(text)
        if not wanted or "wrap" in f"{row['log_format']} {row['notes']}".lower():
            continue
        files += 1
        got = [group for document in joined(text) for group in groups(document)]
        whole += len(wanted)
        for group in wanted:
            if group in got:
                got.remove(group)
                same += 1
    if not files:
        pytest.skip("../shared/corpus is missing: the definition was NOT tried on real logs")
    # What is left: words that stand between the lines of a dump, and lines that no list has.
    assert same / whole > 0.95, f"{same} of {whole} events in {files} files"


@pytest.fixture(scope="module")
def cluster(opensearch_engine: Server) -> Iterator[Engine]:
    """Return an engine with the pipelines, and an index that nothing is wired to."""
    with connect(connection(opensearch_engine.url)) as cluster:
        remove_all(cluster)
        command = [sys.executable, "-m", "allocfail", "install", "--url", opensearch_engine.url]
        done = subprocess.run(command, check=False, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        yield cluster
        remove_all(cluster)


@pytest.fixture
def index(cluster: Engine) -> Iterator[None]:
    """Remove what a daemon indexed."""
    yield
    cluster.request("DELETE", "/kernel?ignore_unavailable=true")


def documents(cluster: Engine, count: int) -> list[dict[str, Any]]:
    """Return the documents of the index in order of the line they begin with, or nothing while they are too few."""
    cluster.request("POST", "/kernel/_refresh?ignore_unavailable=true")
    found = cluster.request("GET", "/kernel/_search?size=100&ignore_unavailable=true")["hits"]["hits"]
    sources = [hit["_source"] for hit in found]
    return sources if len(sources) >= count else []


#: What goes in: a line before, a dump, a line behind it, and a header that a program wrote to /dev/kmsg (facility 1).
def kernel_log() -> tuple[bytes, list[str]]:
    dump = sample_lines()
    lines = ["usb 1-1: new high-speed USB device", *dump, "eth0: link up"]
    log = [f"<4>[ 4711.{number:06d}] {line}\n" for number, line in enumerate(lines)]
    log.append("<12>evil: page allocation failure: order:3, mode:0x20\n")
    return "".join(log).encode(), dump


def judge(found: list[dict[str, Any]], dump: list[str]) -> None:
    """The dump is one document that is decoded whole; other lines are documents of their own."""
    (alone,) = decode_bytes("\n".join(dump).encode())
    (whole,) = [one for one in found if HEADER in one["message"]]
    assert whole["message"].count("\n") + 1 == len(dump)
    own, wanted = whole["allocfail"], alone.document["allocfail"]
    # All that the bare lines say, and who wrote them.
    unlike = {name: (value, own.get(name)) for name, value in wanted.items() if own.get(name) != value}
    assert unlike == {"provenance": ("plausible", "kernel")}
    assert whole["process"]["name"] == "swapper"
    assert whole["host"]["hostname"] == socket.gethostname()
    assert own["uptime"] == 4711.000001
    (evil,) = [one for one in found if "order:3" in one["message"]]
    assert evil["allocfail"]["provenance"] == "forged"
    others = [one for one in found if one is not whole and one is not evil]
    assert [("allocfail" in one, one["message"].count("\n")) for one in others] == [(False, 0)] * 2


@pytest.mark.slow
@pytest.mark.usefixtures("index")
def test_rsyslog_from_the_kernel_s_log_to_the_event(cluster: Engine, opensearch_url: str, tmp_path: Path) -> None:
    daemon = shipping.rsyslogd("imklog", "imfile", "omelasticsearch")
    kernel, log = tmp_path / "kmsg", tmp_path / "rsyslog.log"
    os.mkfifo(kernel)
    changes = {
        "/proc/kmsg": str(kernel),
        "/var/spool/rsyslog": str(tmp_path),
        'serverport="9200"': f'serverport="{opensearch_url.rpartition(":")[2]}"',
    }
    config = tmp_path / "rsyslog.conf"
    config.write_text(shipping.configuration("rsyslog.conf", changes), encoding="utf-8")
    text, dump = kernel_log()
    command = [str(daemon), "-n", "-f", str(config), "-i", str(tmp_path / "pid")]
    # Open for both, so that it never ends.
    with kernel.open("r+b", buffering=0) as end, shipping.running(command, log):
        end.write(text)
        judge(shipping.until(lambda: documents(cluster, 4), log), dump)


@pytest.mark.slow
@pytest.mark.usefixtures("index")
def test_syslog_ng_from_the_kernel_s_log_to_the_event(cluster: Engine, opensearch_url: str, tmp_path: Path) -> None:
    command, environment = shipping.syslog_ng()
    kernel, log = tmp_path / "kmsg", tmp_path / "syslog-ng.log"
    kernel.touch()
    changes = {
        "/proc/kmsg": str(kernel),
        "/var/spool/": f"{tmp_path}/",
        "http://127.0.0.1:9200": opensearch_url,
    }
    config = tmp_path / "syslog-ng.conf"
    config.write_text(shipping.configuration("syslog-ng.conf", changes), encoding="utf-8")
    command += ["-F", "-e", "--no-caps", "-f", str(config), "-R", str(tmp_path / "persist")]
    command += ["-p", str(tmp_path / "pid"), "-c", str(tmp_path / "ctl")]
    text, dump = kernel_log()
    with shipping.running(command, log, environment):
        kernel.write_bytes(text)
        judge(shipping.until(lambda: documents(cluster, 4), log), dump)


def rsyslog_with(action: str, tmp_path: Path) -> list[dict[str, Any]]:
    """Send two messages through rsyslog and an action; return the documents of ``out.ndjson``."""
    daemon = shipping.rsyslogd("imfile", "omprog", "mmexternal")
    source, log, out = tmp_path / "in.log", tmp_path / "rsyslog.log", tmp_path / "out.ndjson"
    source.write_text(f"nothing to see\n{HEADER}\n", encoding="utf-8")
    config = tmp_path / "rsyslog.conf"
    binary = f"{sys.executable} -m allocfail enrich"
    config.write_text(
        f"""global(workDirectory="{tmp_path}")
module(load="imfile")
module(load="omprog")
module(load="mmexternal")
template(name="json_line" type="string" string="{{\\"message\\":\\"%msg:::json%\\"}}\\n")
template(name="text" type="string" string="{{\\"message\\":\\"%msg:::json%\\",\\"set\\":%$!%}}\\n")
{action.format(binary=binary, out=out)}
input(type="imfile" file="{source}" tag="kernel")
""",
        encoding="utf-8",
    )
    command = [str(daemon), "-n", "-f", str(config), "-i", str(tmp_path / "pid")]

    def look() -> list[dict[str, Any]]:
        lines = out.read_text(encoding="utf-8").splitlines() if out.is_file() else []
        return [json.loads(line) for line in lines] if len(lines) >= 2 else []

    with shipping.running(command, log):
        return shipping.until(look, log)


@pytest.mark.slow
def test_rsyslog_s_omprog_confirms_every_document(tmp_path: Path) -> None:
    action = """action(type="omprog" confirmMessages="on" template="json_line"
       binary="{binary} --protocol confirm --output {out}")"""
    other, event = rsyslog_with(action, tmp_path)
    assert other == {"message": "nothing to see"}
    assert event["message"] == HEADER
    assert event["allocfail"]["gfp"]["mask"] == "0x20"


@pytest.mark.slow
def test_rsyslog_s_mmexternal_sets_what_an_event_adds(tmp_path: Path) -> None:
    action = """action(type="mmexternal" binary="{binary} --protocol mmexternal")
action(type="omfile" file="{out}" template="text")"""
    other, event = rsyslog_with(action, tmp_path)
    # An empty tree is written as an empty string.
    assert other["message"] == "nothing to see"
    assert "allocfail" not in other["set"]
    assert event["set"]["allocfail"]["kind"] == "page_allocation_failure"
    assert event["set"]["process"]["name"] == "swapper"


UNITS = sorted((ROOT / "ingest/units").glob("*.service"))


@pytest.mark.parametrize("unit", UNITS, ids=lambda unit: unit.name)
def test_a_unit_is_one_and_is_confined(unit: Path) -> None:
    if shutil.which("systemd-analyze") is None:
        shipping.missing("systemd-analyze")
    done = subprocess.run(["systemd-analyze", "verify", str(unit)], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    # Exposure in tenths, 100 at most; systemd calls up to 20 "OK" or better.
    limit = ["--offline=true", "--threshold=20", str(unit)]
    judged = subprocess.run(["systemd-analyze", "security", *limit], capture_output=True, text=True, check=False)
    assert judged.returncode == 0, judged.stdout + judged.stderr


@pytest.mark.parametrize("unit", UNITS, ids=lambda unit: unit.name)
def test_a_unit_starts_a_command_that_there_is(unit: Path) -> None:
    text = unit.read_text(encoding="utf-8").replace("\\\n", " ")
    (start,) = re.findall(r"^ExecStart=/usr/bin/env allocfail (.*)$", text, re.MULTILINE)
    words = start.split()
    command = words[: 2 if words[0] == "kb" else 1]
    done = subprocess.run(
        [sys.executable, "-m", "allocfail", *command, "--help"], capture_output=True, text=True, check=True
    )
    for option in (word for word in words if word.startswith("--")):
        assert f"{option} " in done.stdout
