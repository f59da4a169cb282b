"""Documents as shippers really deliver them: enriched, with the host, the time and the proof that they carry."""

from __future__ import annotations

import datetime as dt
import json
from typing import TYPE_CHECKING, Any

import pytest
from click.testing import CliRunner

from allocfail.commands.decode import command
from allocfail.decoder.enrich import enrich
from allocfail.decoder.options import Options
from allocfail.logs.events import decode_bytes
from corpora import SHARED, at

if TYPE_CHECKING:
    from pathlib import Path

_PATH = SHARED / "carriers.ndjson"
ROWS = [json.loads(line) for line in _PATH.read_text(encoding="utf-8").splitlines()] if _PATH.is_file() else []
NOW = int(dt.datetime(2026, 11, 1, tzinfo=dt.UTC).timestamp()) * 1000
OPTIONS = Options(now=NOW, reference=NOW)

#: A map for a body is dropped by the exporter: no text at all.
TEXTLESS = {"otel-journald-ecs"}
#: No field of theirs, nor their text, names a host.
HOSTLESS = {
    "fluent-bit-kmsg",
    "rsyslog-imkmsg-all-json",
    "docker-json-file",
    "cloudwatch-opensearch",
    "netconsole-extended",
    "netconsole-basic",
    "otel-journald-bodymap",
}
#: journald says that the kernel's own transport carried it, and the identifier is the kernel's.
PROVEN = {
    "agent-journald",
    "filebeat-journald",
    "fluent-bit-systemd",
    "fluent-bit-systemd-stripped",
    "fluentd-systemd",
    "gcp-journald",
    "journalbeat",
    "logstash-journald",
    "otel-journald-bodymap",
    "otel-journald-none",
    "otel-journald-otel",
    "otel-journald-otel-8.16-flattened",
    "otel-journald-otel-mapped-proposed",
    "rsyslog-imjournal-all-json",
    "vector-journald",
}

pytestmark = pytest.mark.skipif(not ROWS, reason="NO CARRIERS: ../shared is not there, they were NOT tested")


def of(*parts: str) -> list[Any]:
    return [pytest.param(row, id=f"{row['carrier']}-{row['part']}") for row in ROWS if row["part"] in parts]


def hosts(document: dict[str, Any]) -> set[str]:
    named = [at(document, "host.hostname"), at(document, "log.syslog.hostname"), *(at(document, "related.hosts") or [])]
    return {host for host in named if host is not None}


@pytest.mark.parametrize("row", of("header", "header-original-kept"))
def test_a_header(row: dict[str, Any]) -> None:
    made = enrich(row["document"], OPTIONS)
    if row["carrier"] in TEXTLESS:
        assert made is None
        return
    assert made is not None
    own = made["allocfail"]
    assert (own["kind"], own["order"], own["gfp"]["mask"]) == ("page_allocation_failure", 2, "0xcc0")
    assert (own["complete"], own["incomplete_reason"]) == (False, "header only")
    assert made["process"]["name"] == "app"
    assert own["provenance"] == ("kernel" if row["carrier"] in PROVEN else "plausible")
    if row["carrier"] not in HOSTLESS:
        assert {"node7", "tablet3"} & hosts(made), made
    if not at(row["document"], "@timestamp"):
        assert str(made["@timestamp"]).startswith("2026-03-04T05:06:0") or own["time_source"] == "ingest"
    again = enrich(made, OPTIONS)
    assert again is None


@pytest.mark.parametrize("row", of("whole"))
def test_a_whole_dump(row: dict[str, Any]) -> None:
    made = enrich(row["document"], OPTIONS)
    assert made is not None
    own = made["allocfail"]
    assert (own["complete"], own["fingerprint"]["level"]) == (True, "trace")
    assert own["fingerprint"]["text"] == "af1|page_allocation_failure|order=2|ring_grow>demo_ioctl>sys_ioctl"
    assert own["trace"]["modules"] == ["demo"]
    assert own["memory"]["zones"][0]["name"] == "DMA32"
    assert (made["process"]["name"], made["process"]["pid"]) == ("app", 4242)


@pytest.mark.parametrize("row", of("frame", "record-of-three-lines", "header-partial-2", "header-fragment-2"))
def test_what_is_no_event_by_itself(row: dict[str, Any]) -> None:
    assert enrich(row["document"], OPTIONS) is None


@pytest.mark.parametrize("row", of("header-partial-1", "header-fragment-1"))
def test_the_beginning_of_a_header_is_no_whole_header(row: dict[str, Any]) -> None:
    made = enrich(row["document"], OPTIONS)
    assert made is not None
    own = made["allocfail"]
    assert (own["complete"], own["incomplete_reason"]) == (False, "truncated")
    assert "gfp" not in own
    assert own["order"] == 2


@pytest.mark.parametrize("row", of("header", "whole"))
def test_decode_reads_the_same_documents_as_enrich(row: dict[str, Any]) -> None:
    line = json.dumps(row["document"]).encode()
    found = [event.document for event in decode_bytes(line, Options(reference=NOW))]
    made = enrich(row["document"], OPTIONS)
    assert len(found) == (0 if made is None else 1)
    for document in found:
        assert made is not None
        for path in (
            "allocfail.fingerprint.id",
            "process.name",
            "allocfail.complete",
            "allocfail.provenance",
            "allocfail.uptime",
        ):
            assert at(document, path) == at(made, path), path


LINES = [
    "[ 4711.123456] app: page allocation failure: order:2, mode:0xcc0(GFP_KERNEL), nodemask=(null)",
    "[ 4711.123478] CPU: 3 PID: 4242 Comm: app Not tainted 6.1.0 #1",
    "[ 4711.123497] Call Trace:",
    "[ 4711.123516]  dump_stack_lvl+0x5d/0x80",
    "[ 4711.123535]  warn_alloc+0x163/0x190",
    "[ 4711.123554]  __kmalloc+0xd51/0xd90",
    "[ 4711.123573]  ring_grow+0x8e/0x1f0 [demo]",
    "[ 4711.123592]  __x64_sys_ioctl+0x94/0xd0",
    "[ 4711.123611]  entry_SYSCALL_64_after_hwframe+0x76/0x7e",
]


@pytest.mark.parametrize("coding", ["utf-16", "utf-16-le", "utf-16-be"])
def test_a_log_in_utf_16(coding: str, tmp_path: Path) -> None:
    path = tmp_path / "dmesg.txt"
    path.write_bytes("\r\n".join([*LINES, ""]).encode(coding))
    result = CliRunner().invoke(command, ["--format", "ndjson", str(path)])
    (line,) = result.output.splitlines()
    assert json.loads(line)["allocfail"]["fingerprint"]["text"].endswith("|ring_grow>sys_ioctl")


@pytest.mark.parametrize("cut", [0, len("[ 4711.123456] ")])
def test_a_dump_whose_line_ends_became_blanks(cut: int) -> None:
    text = " ".join(line[cut:] for line in LINES)
    for made in (enrich({"message": text}, OPTIONS), decode_bytes(text.encode())[0].document):
        assert made is not None
        assert made["allocfail"]["complete"] is True
        assert made["allocfail"]["fingerprint"]["text"].endswith("|ring_grow>sys_ioctl")


def test_a_first_line_without_the_prefix_of_the_others() -> None:
    prefix = "Mar  4 05:06:07 node7 kernel: "
    for first in (LINES[0], LINES[0][15:]):
        text = "\n".join([first, *(prefix + line for line in LINES[1:])])
        made = enrich({"message": text}, OPTIONS)
        assert made is not None
        assert made["allocfail"]["fingerprint"]["level"] == "trace"
        assert made["host"]["hostname"] == "node7"
        assert made["@timestamp"] == "2026-03-04T05:06:07.000Z"
        assert made["allocfail"]["time_guessed"] == ["year", "zone"]


def test_fragments_of_one_record_are_joined() -> None:
    by_part = {
        (row["carrier"], row["part"]): row["document"]["message"] for row in ROWS if "message" in row["document"]
    }
    for carrier, first, second in (
        ("cri-raw-line", "header-partial-1", "header-partial-2"),
        ("netconsole-extended", "header-fragment-1", "header-fragment-2"),
    ):
        text = by_part[carrier, first] + "\n" + by_part[carrier, second] + "\n"
        (event,) = decode_bytes(text.encode())
        own = event.document["allocfail"]
        assert (own["gfp"]["mask"], own["mems_allowed"], own["incomplete_reason"]) == ("0xcc0", "0", "header only")
