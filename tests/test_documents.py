"""Documents that are filled: hosts, journals, and JSON that has to come back byte for byte."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import pytest

from allocfail.decoder.enrich import enrich
from allocfail.decoder.options import Options
from allocfail.logs.filter import enrich_line
from pieces import at

HEADER = "app: page allocation failure: order:1, mode:0xa20(GFP_ATOMIC), nodemask=(null)"
LINE = f"Feb 14 15:24:15 svn3 kernel: {HEADER}"
NOW = int(datetime(2024, 5, 6, 7, 8, 9, tzinfo=UTC).timestamp()) * 1000 + 123


def made(document: dict[str, Any]) -> dict[str, Any]:
    out = enrich(document, Options(year=2024, now=NOW))
    assert out is not None
    return out


@pytest.mark.parametrize("host", [{}, {"host": {"name": None}}, {"host": {"name": 7}}, {"host": {}}])
def test_a_document_without_a_host_s_name_takes_the_line_s(host: dict[str, Any]) -> None:
    out = made({"message": LINE, **host})
    assert at(out, "host.hostname") == "svn3"
    assert at(out, "log.syslog.hostname") is None
    assert at(out, "related.hosts") == ["svn3"]
    if host.get("host"):
        assert out["host"]["name"] == host["host"]["name"]


def test_the_collector_s_own_name_is_no_second_host() -> None:
    out = made({"message": LINE, "host": {"name": "svn3"}})
    assert at(out, "host.hostname") == "svn3"
    assert at(out, "log.syslog.hostname") is None


JOURNAL = {
    "MESSAGE": HEADER,
    "_HOSTNAME": "db7",
    "__REALTIME_TIMESTAMP": "1718520538783123",
    "_TRANSPORT": "kernel",
    "SYSLOG_IDENTIFIER": "kernel",
    "SYSLOG_FACILITY": "0",
}


def test_a_journal_s_document_says_host_time_and_who_wrote_it() -> None:
    out = made(JOURNAL)
    assert at(out, "host.hostname") == "db7"
    assert at(out, "related.hosts") == ["db7"]
    assert out["@timestamp"] == "2024-06-16T06:48:58.783Z"
    assert at(out, "allocfail.time_source") == "log"
    assert at(out, "allocfail.provenance") == "kernel"
    assert {key: out[key] for key in JOURNAL} == JOURNAL


def test_a_journal_s_text_beats_its_fields() -> None:
    out = made({**JOURNAL, "MESSAGE": LINE})
    assert at(out, "host.hostname") == "svn3"
    assert out["@timestamp"] == "2024-02-14T15:24:15.000Z"


@pytest.mark.parametrize(
    ("fields", "provenance"),
    [
        ({"_TRANSPORT": "syslog"}, "plausible"),
        ({"SYSLOG_IDENTIFIER": "app"}, "forged"),
        ({"_TRANSPORT": None}, "plausible"),
    ],
)
def test_a_journal_s_document_that_another_wrote(fields: dict[str, Any], provenance: str) -> None:
    assert at(made(JOURNAL | fields), "allocfail.provenance") == provenance


@pytest.mark.parametrize(("name", "value"), [("_HOSTNAME", 7), ("_HOSTNAME", ""), ("_HOSTNAME", None)])
def test_a_journal_s_field_of_another_type_is_no_host(name: str, value: Any) -> None:
    assert at(made(JOURNAL | {name: value}), "host.hostname") is None


@pytest.mark.parametrize("value", [7, "", "x", None, "99999999999999999999"])
def test_a_journal_s_time_that_is_none_leaves_that_of_ingest(value: Any) -> None:
    out = made(JOURNAL | {"__REALTIME_TIMESTAMP": value})
    assert out["@timestamp"] == "2024-05-06T07:08:09.123Z"
    assert at(out, "allocfail.time_source") == "ingest"


@pytest.mark.parametrize("control", ["\t", "\x01", "\x1b", "\x1f"])
def test_json_with_a_raw_control_character_passes_unchanged(control: str) -> None:
    line = b'{"message":"' + HEADER.encode() + control.encode() + b'"}\n'
    told: list[str] = []
    assert enrich_line(line, None, told.append) == line
    assert len(told) == 1
    assert "\n" not in told[0]


@pytest.mark.parametrize("end", [b"\n", b"\r\n", b""])
def test_a_line_keeps_its_end(end: bytes) -> None:
    line = json.dumps({"message": HEADER}).encode() + end
    out = enrich_line(line, Options(year=2024), pytest.fail)
    assert out.endswith(b"}" + end)
    assert json.loads(out)["allocfail"]["order"] == 1
